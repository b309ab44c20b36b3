//! SMTP (RFC 5321): framing, grammar, replies, the session machine of the receiving side, and in `client` that of the sending
//! side.
//!
//! Does not know: clocks, users, stores, TLS objects, what is in a letter. Whom it takes mail for and whether a letter is
//! accepted it asks ([`Ask`]); which port offers what, in which order commands may come, and where a letter ends are its
//! own.
//!
//! Three layers, each in its own file: `frame` and `body` (lines; where a letter ends; what no letter may hold), `grammar`
//! (one line becomes a [`grammar::Command`]), `machine` (what may follow what).
//!
//! Invariants, cited by tests (besides S1 to S4):
//! - X1: a letter ends at CR LF `.` CR LF (or at the end of its last chunk) and nowhere else; one that holds a bare CR, a
//!   bare LF or a NUL is read to that end and refused whole, and nothing within it is ever taken for a command.
//! - X2: a letter is answered 2xx only with the reply that the host gave to [`Ask::Accept`] (P1).
//! - X3: AUTH is neither offered nor taken on port 25, and nowhere without TLS; the submission ports take no letter
//!   without it.
//! - X4: each command gets exactly one reply, in the order of the commands, or the connection ends.
//! - X5: what a reply says of the peer's own words cannot break the reply's lines.

mod ask;
mod body;
pub mod client;
mod frame;
pub mod grammar;
mod limits;
mod machine;
mod reply;

pub use ask::{Answer, Ask, Notice};
pub use grammar::{Address, BodyType, Forward, Hold, Mail, Notify, Orcpt, Rcpt, Ret};
pub use limits::{Config, HOLD_SECONDS, Limits, Port};
pub use machine::Machine;
pub use reply::Reply;
