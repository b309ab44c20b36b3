//! A message read and built: headers, addresses, dates, part tree, envelope, body structure, text (over mail-parser).
//!
//! A letter is read once, by [`parse`], when it comes in; what readers ask for again and again (envelope, body structure,
//! where each part lies) is kept beside it as a small encoded [`Structure`]. The bytes of the letter are never changed,
//! and nothing is kept that is not in them: the structure can be made again at any time.
//!
//! Does not know: mailboxes, UIDs, protocols, stores. Charset tables and HTML to text are mail-parser's; no type of it
//! shows in a public signature here.
//!
//! Invariants, cited by tests:
//! - M1: no bytes make anything here panic, and the work is linear in their number (times the depth limit at most).
//! - M2: what a stranger can grow (header sections, parts, depth, addresses kept) has a limit, and passing it is a named
//!   [`Refused`] (P7). Everything below the limits yields a structure, however broken.
//! - M3: every range lies in the letter, a part's header is followed by its body, children lie in their parent's body, in
//!   order, without overlap.
//! - M4: `Structure::decode(&message.encode())` gives back what was encoded; unknown fields of later versions are skipped.
//!
//! Of reports, RFC 3464 (delivery status) is in `dsn`; RFC 8098 and RFC 5965 will have a file each beside it.

pub mod address;
pub mod convert;
pub mod date;
pub mod decode;
pub mod dsn;
pub mod encode;
pub mod header;
mod limits;
mod mime;
mod parse;
pub mod plain;
pub mod search;
mod stored;
mod structure;
pub mod thread;
pub mod trace;

pub use date::{Date, Day};
pub use limits::{Limits, Refused};
pub use parse::parse;
pub use search::Needle;
pub use stored::{Corrupt, Structure};
pub use structure::{Address, Content, Disposition, Envelope, Message, Param, Part, Section, Summary, Text};
pub use thread::{ThreadKeys, thread_keys};
