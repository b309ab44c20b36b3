//! Backups: an archive of letters, rows and settings in any folder, encrypted, and what is put back from it.
//!
//! The archive is a flat folder of files (`archive.rs` lists them) on a disk from which little is asked: no modes, no links, no
//! renames, no difference of case, names in ASCII, files far below 4 GB. A backup is a *head* and the files it names; those that did
//! not change since the last one are named again, not written again. Everything is sealed in age's format for the box's key,
//! which lies beside, sealed by the words of the recovery sheet and by a pass phrase; so who has the words needs nothing but
//! stock tools (`readme.txt` says how, and a test does what it says).
//!
//! Does not know: where the folder is, what a stick is, when a backup is due; what a row means (its owner says).
//!
//! Invariants, cited by tests:
//! - U1: after a cut at any call the backups that were there before are whole.
//! - U2: no bit of a backup can change without `verify` finding it; nothing unchecked is put back.
//! - U3: a backup is one state of the store, which is not stopped for it.
//! - U4: what is put back has no number that may have been given out since (P8).
//! - U5: an archive is never changed by reading it.

pub mod age;
mod archive;
mod bech32;
mod chunk;
mod create;
mod file;
mod head;
mod keep;
mod key;
mod packs;
mod rehearsal;
mod restore;
mod room;
mod rows;
mod tar;
mod verify;

pub use archive::{FILES_MOST, Sums, list, mark, newest};
pub use create::{Made, Source, create};
pub use head::{Head, VERSION};
pub use key::{Keys, Secret, Sheet, unlock};
pub use restore::{Restored, Step, fill};
pub use verify::{Report, verify};

use std::io;

use crate::{account, queue, store};

/// The folder in a target, below it one for each box.
pub const FOLDER: &str = "homepost-backup";

/// Why a backup was not made or not put back: each one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The disk of the archive has no room.
    Full,
    /// The disk of the archive failed.
    Disk(String),
    /// There is no whole backup.
    Nothing,
    /// No words and no pass phrase were chosen yet.
    NoSheet,
    /// What is there is sealed with another key.
    OtherKey,
    /// The words or the pass phrase are not the ones.
    OtherSecret,
    /// Made by a later version.
    Newer,
    /// A file is not as it was written.
    Damaged(String),
    Store(store::Error),
    /// A row of our own cannot be read.
    Rows(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Full => f.write_str("there is no room left where the backup is to be"),
            Error::Disk(why) => write!(f, "where the backup is cannot be read or written: {why}"),
            Error::Nothing => f.write_str("there is no backup here"),
            Error::NoSheet => f.write_str("a backup needs a recovery sheet first: `homepost backup key` makes one"),
            Error::OtherKey => f.write_str("this backup is another box's: the key does not open it"),
            Error::OtherSecret => {
                f.write_str("these are not the words of the recovery sheet, and not the pass phrase of the backup")
            }
            Error::Newer => f.write_str("this backup was made by a later version: update homepost first"),
            Error::Damaged(what) => write!(f, "the backup is damaged: {what} is not as it was written"),
            Error::Store(error) => write!(f, "the store: {error}"),
            Error::Rows(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Something about one file; the others may be as they should be.
    fn is_of_a_file(&self) -> bool {
        matches!(self, Error::Damaged(_) | Error::OtherKey | Error::Disk(_))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Error::Full,
            _ => Error::Disk(error.to_string()),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::Store(error)
    }
}

impl From<account::Error> for Error {
    fn from(error: account::Error) -> Error {
        match error {
            account::Error::Store(error) => Error::Store(error),
            other => Error::Rows(other.to_string()),
        }
    }
}

impl From<queue::Error> for Error {
    fn from(error: queue::Error) -> Error {
        match error {
            queue::Error::Store(error) => Error::Store(error),
            other => Error::Rows(other.to_string()),
        }
    }
}
