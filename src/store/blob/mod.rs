//! Letters and scripts: bytes under a counter id, in the segments with the record that names them, or, when large, in a
//! file of their own that is durable before that record (P5).
//!
//! Does not know: what a letter says.
//!
//! Invariants:
//! - B1: bytes are read back only if they come to what the row says: length, and for whole reads by the checks BLAKE3.
//! - B2: bytes stay as long as a snapshot that may name them is open, or a [`Held`] made from one.
//! - B3: what waits for its transaction in memory is capped, all letters together; the rest waits in files.

mod arriving;
pub(crate) mod file;
pub(crate) mod frames;
mod held;
pub(crate) mod row;
mod sink;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{BlobId, Time};
use crate::store::data::room;
use crate::store::data::shared::{Home, Shared};
use crate::store::data::{Read, Snapshot};
use crate::store::{Error, Table};

use file::Index;
use frames::{FRAME, decode_frame};
use row::{BlobRow, Place};

pub use arriving::Arriving;
pub use held::{Held, Piece};
pub(crate) use sink::{Body, Naming};
pub use sink::{Sink, Staged};

/// What salvage needs to know of a letter when the index is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterHeader {
    /// Addresses of the accounts it belongs to.
    pub accounts: Vec<String>,
    pub received: Time,
}

/// A handle to the blob store.
#[derive(Clone)]
pub struct Blobs {
    pub(crate) shared: Arc<Shared>,
}

impl Blobs {
    /// Takes bytes that are at hand; what is large goes to a file of its own and is synced. [`Error::Full`] when there is no
    /// room for new letters.
    pub fn stage(&self, header: LetterHeader, bytes: &[u8]) -> Result<Staged, Error> {
        let mut sink = self.sink();
        sink.write(bytes)?;
        sink.finish(header, b"")
    }

    /// Takes bytes as they come.
    pub fn sink(&self) -> Sink {
        Sink::new(self.shared.clone())
    }

    /// Whether there is room for new letters: if not, SMTP answers 452 and APPEND is refused, while all else works.
    pub fn has_room(&self) -> bool {
        room::look_again(&self.shared);
        !self.shared.is_low()
    }

    /// Bytes `range` of a blob, cut at its end. Blocks on the disk. [`Error::Corrupt`] if there is no such blob (any more).
    pub fn read(&self, blob: BlobId, range: Range<u64>) -> Result<Bytes, Error> {
        self.read_in(&Snapshot::new(&self.shared)?, blob, range)
    }

    /// The same for a blob that `snapshot` names, even if it was let go since.
    pub fn read_in(&self, snapshot: &Snapshot, blob: BlobId, range: Range<u64>) -> Result<Bytes, Error> {
        let row = row(snapshot, blob)?.ok_or_else(|| Error::Corrupt(format!("there is no letter {blob}")))?;
        read_row(&self.shared, &row, range)
    }

    /// Length in bytes, or `None` if there is no such blob.
    pub fn len(&self, blob: BlobId) -> Result<Option<u64>, Error> {
        Ok(row(&Snapshot::new(&self.shared)?, blob)?.map(|row| row.len))
    }

    /// BLAKE3 of the bytes as they were taken, or `None` if there is no such blob.
    pub fn digest(&self, blob: BlobId) -> Result<Option<[u8; 32]>, Error> {
        Ok(row(&Snapshot::new(&self.shared)?, blob)?.map(|row| row.digest.into()))
    }
}

/// What a row of table Blobs says of a letter, wherever its bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// References.
    pub refs: u64,
    /// Bytes.
    pub len: u64,
    /// BLAKE3 of them.
    pub digest: [u8; 32],
}

/// Reads a row of table Blobs.
pub fn describe(value: &[u8]) -> Result<Described, Error> {
    BlobRow::decode(value).map(|row| Described { refs: row.refs, len: row.len, digest: row.digest.into() })
}

pub(crate) fn row(read: &dyn Read, blob: BlobId) -> Result<Option<BlobRow>, Error> {
    read.get(Table::Blobs, &blob.0.to_be_bytes())?.map(|bytes| BlobRow::decode(&bytes)).transpose()
}

/// The bytes `range` of the letter that a row describes. The caller holds a snapshot with that row.
pub(crate) fn read_row(shared: &Shared, row: &BlobRow, range: Range<u64>) -> Result<Bytes, Error> {
    let range = range.start..range.end.min(row.len);
    if range.start >= range.end {
        return Ok(Bytes::new());
    }
    match &row.place {
        Place::File { number } => {
            let (file, index) = letter_file(shared, *number)?;
            if index.len != row.len || index.digest != *row.digest {
                return Err(Error::Corrupt(format!("letter file {number:016x} holds another letter")));
            }
            Ok(index.read_range(&*file.file, range)?.into())
        }
        Place::Segment { segment, offset, frames } => {
            let first = (range.start / FRAME as u64) as usize;
            let last = ((range.end - 1) / FRAME as u64) as usize;
            if frames.len() as u64 != row.len.div_ceil(FRAME as u64) {
                return Err(Error::Corrupt("a letter has another number of frames than its length needs".into()));
            }
            let (before, wanted) = frames.split_at_checked(first).unwrap_or_default();
            let wanted = wanted.get(..=last - first).unwrap_or_default();
            let at = offset + before.iter().map(|frame| frame.stored_len() as u64).sum::<u64>();
            let mut stored = vec![0; wanted.iter().map(|frame| frame.stored_len()).sum()];
            shared.handles.get(&*shared.disk, Home::Segment(*segment))?.file.read_at(at, &mut stored)?;
            let mut out = Vec::with_capacity(wanted.len() * FRAME);
            let mut stored = stored.as_slice();
            for (index, frame) in wanted.iter().enumerate() {
                let raw = (row.len - ((first + index) * FRAME) as u64).min(FRAME as u64) as usize;
                let (this, rest) = stored.split_at_checked(frame.stored_len()).unwrap_or_default();
                decode_frame(*frame, this, raw, &mut out)?;
                stored = rest;
            }
            let skip = (range.start - (first * FRAME) as u64) as usize;
            Ok(Bytes::from(out).slice(skip..skip + (range.end - range.start) as usize))
        }
    }
}

type OpenLetter = (Arc<crate::store::data::shared::Open>, Arc<Index>);

fn letter_file(shared: &Shared, number: u64) -> Result<OpenLetter, Error> {
    let open = shared.handles.get(&*shared.disk, Home::File(number))?;
    if let Some(index) = open.index.get() {
        return Ok((open.clone(), index.clone()));
    }
    let index = Arc::new(Index::read(&*open.file)?);
    let index = open.index.get_or_init(|| index).clone();
    Ok((open, index))
}
