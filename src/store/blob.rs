//! Letters and scripts: bytes under a counter id. Being written; the names are settled.

use std::ops::Range;

use bytes::Bytes;

use crate::base::{BlobId, Time};

use super::Error;

/// What salvage needs to know of a letter when the index is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterHeader {
    /// Addresses of the accounts it belongs to.
    pub accounts: Vec<String>,
    pub received: Time,
}

/// A handle to the blob store.
#[derive(Clone)]
pub struct Blobs(());

impl Blobs {
    /// Takes bytes that are at hand; what is large goes to a file of its own and is synced.
    pub fn stage(&self, _header: LetterHeader, _bytes: &[u8]) -> Result<Staged, Error> {
        todo!()
    }

    /// Takes bytes as they come.
    pub fn sink(&self) -> Sink {
        todo!()
    }

    /// Bytes `range` of a blob, cut at its end. Blocks on the disk.
    pub fn read(&self, _blob: BlobId, _range: Range<u64>) -> Result<Bytes, Error> {
        todo!()
    }

    /// Length in bytes, or `None` if there is no such blob.
    pub fn len(&self, _blob: BlobId) -> Result<Option<u64>, Error> {
        todo!()
    }
}

/// A body on its way in: in memory up to 256 KiB (all of them together capped), then in a file.
pub struct Sink(());

impl Sink {
    pub fn write(&mut self, _chunk: &[u8]) -> Result<(), Error> {
        todo!()
    }

    pub fn len(&self) -> u64 {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it with `prefix` (trace header fields, known only now) before what was written. A file is synced here.
    pub fn finish(self, _header: LetterHeader, _prefix: &[u8]) -> Result<Staged, Error> {
        todo!()
    }

    /// All bytes written so far, for parsing before the end.
    pub fn bytes(&self) -> Result<Bytes, Error> {
        todo!()
    }
}

/// Bytes that wait for a transaction to name them; dropped unnamed, they are forgotten. Cheap to clone.
#[derive(Clone)]
pub struct Staged(());

impl Staged {
    pub fn len(&self) -> u64 {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// BLAKE3 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        todo!()
    }

    /// The bytes themselves, uncompressed.
    pub fn bytes(&self) -> Result<Bytes, Error> {
        todo!()
    }
}
