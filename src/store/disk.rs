//! The disk, real and simulated. Being written.
