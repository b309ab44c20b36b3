//! Listeners, TLS, and the one loop that drives any session machine.
//!
//! Does not know: mail.
