//! Expiring facts that may be lost. Being written.
