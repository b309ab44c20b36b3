//! `intake` (accept or refuse), `local` (into accounts), `remote` (later).
//!
//! Does not know: by which protocol a letter was handed in.
