//! The four stores: *data* (rows: redb behind append-only segments), *blob* (letters: in the segments, large ones in
//! files), *lookup* (expiring facts that may be lost), *text* (later). DESIGN sections 2 and 3.
//!
//! Does not know: what a message, a mailbox or a user is. Rows are bytes to bytes; `schema.rs` lists every table.
//!
//! Invariants, cited by tests:
//! - D1: what [`Data::write`] returned survives any cut after it (P1); [`Durable`] can be made only by a flush.
//! - D2: a closure's writes are all there or none of them; an error or a panic undoes that closure alone.
//! - D3: blob before data (P5): a row never names bytes that are not durable.
//! - D4: a number once handed out by a counter is never handed out again (P8).
//! - D5: no state on disk, after any cut, keeps the stores from opening (P9).

pub mod blob;
pub mod data;
pub mod disk;
pub mod lookup;
pub mod schema;

pub use blob::{Arriving, Blobs, Held, Sink, Staged};
pub use data::{Committed, Data, Durable, Order, Read, Snapshot, Txn};
pub use schema::Table;

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No room: below the ballast, or the disk said so.
    Full,
    /// The disk failed; the store was fenced and is being reopened. Nothing of this closure is there.
    Disk(String),
    /// The outcome is not known yet (durable, but not applied): close without a reply.
    Unknown,
    /// The store is closing or fenced.
    Closed,
    /// A row or a letter is not what was written.
    Corrupt(String),
    /// The closure panicked; its writes were undone.
    Panicked(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Disk(error.to_string()),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Full => f.write_str("the disk is full"),
            Error::Disk(why) => write!(f, "the disk failed: {why}"),
            Error::Unknown => f.write_str("the outcome is not known yet"),
            Error::Closed => f.write_str("the store is closed"),
            Error::Corrupt(what) => write!(f, "the store is damaged: {what}"),
            Error::Panicked(what) => write!(f, "a transaction panicked: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl crate::base::Fault for Error {
    fn family(&self) -> crate::base::Family {
        match self {
            Error::Corrupt(_) | Error::Panicked(_) => crate::base::Family::Own,
            _ => crate::base::Family::World,
        }
    }
}
