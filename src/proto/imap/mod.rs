//! IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051): framing, grammar, responses, the session machine.
//!
//! Does not know: clocks, users, stores, TLS objects, what is in a mailbox. What it wants to know of accounts it asks in
//! UIDs and modseqs ([`Ask`]); tags, sequence numbers, literals and response text are its own.
//!
//! Invariants, cited by tests (besides S1 to S4):
//! - I1: a sequence number means the same message to both sides: EXPUNGE and EXISTS are told only where RFC 9051 5.5 and
//!   7.5.1 allow, and until then the numbering stands as the client knows it.
//! - I2: a command is answered OK only after the host's answer to it (P1).
//! - I3: no password is taken without TLS.
//! - I4: each command gets exactly one tagged answer, in the order of the commands, or the connection ends.

pub mod ask;
mod framing;
mod grammar;
mod machine;
mod response;
mod uids;

pub use ask::{Answer, Ask, Notice};
pub use machine::{Config, Imap, Limits, Literals, Tls};
pub use uids::UidSet;
