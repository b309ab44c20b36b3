//! Mailboxes, messages, flags, UIDs, threads, quota, search: what an account holds; `changes` is its log (P6).
//!
//! Does not know: sequence numbers, tags, JSON, response codes.
