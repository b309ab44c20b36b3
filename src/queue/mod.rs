//! What is still to be sent: spool, schedule, retry.
//!
//! Does not know: SMTP.
