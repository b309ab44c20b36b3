//! Accounts: mailboxes, messages, flags, UIDs, threads, quota, search, and the log of what changed.
//!
//! Everything that writes takes `&mut Txn` and leaves committing to its outermost caller; everything that reads takes a
//! [`Read`](crate::store::Read), so that it works on a snapshot and inside a transaction alike. Functions that take a list
//! of UIDs expect at most [`BATCH`] of them (the caller cuts); only [`copy`] takes more, since it is all or nothing.
//!
//! Does not know: sequence numbers, tags, JSON, response codes, who may log in, what a session is.
//!
//! Invariants, verified by [`check`] and cited by tests:
//! - A1: a mailbox's `uid_next` is above every UID in it, and UIDs grow in the order in which messages came.
//! - A2: UIDs, modseqs, mailbox, email and thread ids, and UIDVALIDITY values are never given out twice (P8): they come
//!   from counters that only grow, also when what they named is deleted and made again under the same name.
//! - A3: a mailbox's counts (messages, unseen, deleted, bytes, uses of each keyword) equal its rows.
//! - A4: each message row names an email that names it back, and each placement of an email is a message row.
//! - A5: an email has at least one placement; with the last one it goes, and the letter's bytes with it.
//! - A6: each email's blob is there with the email's size, and its structure can be decoded and has that size.
//! - A7: the ledger's bytes and messages equal the sums over the emails.
//! - A8: each committed change has one modseq and one row in the log, without a gap from the log's floor to the ledger's
//!   modseq; no row carries a modseq above the ledger's (P6).
//! - A9: each account has an INBOX, mailbox 1, which cannot be deleted; no two mailboxes have the same name.
//! - A10: what is shown of a thread can be found by its keys: each email's thread rows are there, and no others.

mod append;
mod change;
pub mod changes;
mod check;
mod copy;
mod delete;
mod expunge;
mod flags;
mod letter;
pub mod mailbox;
pub mod name;
mod overview;
pub mod quota;
mod rename;
mod restore;
mod rows;
mod salvage;
pub mod search;
mod thread;
pub mod view;

pub use append::{Appended, Place, Placed, append};
pub use changes::Watcher;
pub use check::{check, check_all};
pub use copy::{Copied, MAX_COPY, copy, move_to};
pub use delete::{accounts, clear, close, delete, delete_mailbox, remove, remove_account, resume};
pub use expunge::{Which, expunge};
pub use flags::{Flagged, Flags, MAX_KEYWORDS, Mode, store};
pub use letter::Letter;
pub use mailbox::{Listed, MAX_MAILBOXES, Mailbox, SpecialUse, create, open, subscribe};
pub use overview::{Overview, Overviews};
pub use rename::{Renamed, move_all, rename};
pub use restore::{Filed, Owners, Renewal, filed, owners, reopen};
#[doc(hidden)]
pub use rows::reads_back;
pub use salvage::{RECOVERED, Salvaged, salvage};
pub use view::{Email, Message, Page};

use crate::base::{Family, Fault, MailboxId};
use crate::message;
use crate::store;

/// Rows one closure changes at most (DESIGN section 3).
pub const BATCH: usize = 1000;

/// INBOX of every account (A9).
pub const INBOX: MailboxId = MailboxId(1);

/// Mailboxes one email may lie in, or times in one.
pub const MAX_PLACES: usize = 500;

/// Why an account could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Store(store::Error),
    /// There is no such account, or it is being deleted.
    NoSuchAccount,
    NoSuchMailbox,
    MailboxExists,
    /// Never possible, and why, as one plain sentence.
    Cannot(&'static str),
    /// The name only stands above others (RFC 9051 6.3.5).
    HasChildren,
    OverQuota,
    /// More than an account may have of something (P7), which the words name.
    Limit(&'static str),
    /// The letter goes past the limits of [`message::Limits`].
    Refused(message::Refused),
    /// A row is not what was written.
    Corrupt(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Store(error) => write!(f, "the store failed: {error:?}"),
            Error::NoSuchAccount => f.write_str("there is no such account"),
            Error::NoSuchMailbox => f.write_str("there is no such mailbox"),
            Error::MailboxExists => f.write_str("there is a mailbox of that name already"),
            Error::Cannot(why) => f.write_str(why),
            Error::HasChildren => f.write_str("the name has other mailboxes below it and none of its own"),
            Error::OverQuota => f.write_str("the account has no room left"),
            Error::Limit(what) => write!(f, "too many {what}"),
            Error::Refused(why) => write!(f, "{why}"),
            Error::Corrupt(what) => write!(f, "a stored row cannot be read: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Fault for Error {
    fn family(&self) -> Family {
        match self {
            Error::Store(store::Error::Corrupt(_) | store::Error::Panicked(_)) | Error::Corrupt(_) => Family::Own,
            Error::Store(_) => Family::World,
            _ => Family::Peer,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::Store(error)
    }
}

impl From<message::Refused> for Error {
    fn from(error: message::Refused) -> Error {
        Error::Refused(error)
    }
}
