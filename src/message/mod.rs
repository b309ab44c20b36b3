//! A message read and built: headers, addresses, dates, part tree, envelope, body structure, text (over mail-parser).
//!
//! Does not know: mailboxes, UIDs, protocols, stores.
