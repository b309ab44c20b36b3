//! What is still to be sent: the spool of letters for elsewhere, and what each recipient waits for.
//!
//! Does not know: SMTP, who may send, where a domain's mail goes.
//!
//! Invariants, cited by tests:
//! - Q1: a recipient is in exactly one state of [`State`], and each function names the one it leaves and the one it reaches.
//! - Q2: a letter is in the queue as long as it has a recipient there, and holds its bytes as long.
//! - Q3: the queue has a limit, and so has what an account may have waiting for a time that it named; past it a letter is refused
//!   before it is acknowledged (P7).

mod check;
mod moves;
mod restore;
mod row;
pub mod schedule;
mod spool;

pub use check::check;
pub use moves::{
    Appointed, Due, MOST_APPOINTED, address, appointed, arrive, cancel, due, hold, leave, put_off, release, retry,
    withdraw,
};
pub use restore::{is_total, returned};
#[doc(hidden)]
pub use row::reads_back;
pub use spool::{Entry, Error, Limits, NewLetter, NewRecipient, Notify, Recipient, State, Tls, enqueue, find, list};
