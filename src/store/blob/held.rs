//! Letters that were promised to somebody: they stay readable after the snapshot that named them, whoever lets them go.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::row::{BlobRow, Place};
use super::{letter_file, read_row, row};
use crate::base::BlobId;
use crate::store::Error;
use crate::store::data::Snapshot;
use crate::store::data::shared::{Home, Pin};

/// The bytes of chosen letters, as one snapshot named them. Unlike the snapshot it pins no pages, only what is deleted on
/// the disk meanwhile: it may be held while they are sent to a peer, and should go as soon as they are.
pub struct Held {
    pin: Arc<Pin>,
    rows: BTreeMap<BlobId, BlobRow>,
}

impl Held {
    /// Nothing yet, of what `snapshot` names.
    pub fn new(snapshot: &Snapshot) -> Held {
        Held { pin: snapshot.pin.clone(), rows: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a letter of the same snapshot, and opens where its bytes lie: when this has gone well, `len` bytes of it may be
    /// announced. [`Error::Corrupt`] if it is not there, or shorter. Blocks on the disk.
    pub fn keep(&mut self, snapshot: &Snapshot, blob: BlobId, len: u64) -> Result<(), Error> {
        if !self.rows.contains_key(&blob) {
            let row = row(snapshot, blob)?.ok_or_else(|| Error::Corrupt(format!("there is no letter {blob}")))?;
            let shared = &self.pin.shared;
            match row.place {
                Place::Segment { segment, .. } => drop(shared.handles.get(&*shared.disk, Home::Segment(segment))?),
                Place::File { number } => drop(letter_file(shared, number)?),
            }
            self.rows.insert(blob, row);
        }
        match self.rows.get(&blob) {
            Some(row) if row.len >= len => Ok(()),
            _ => Err(Error::Corrupt(format!("letter {blob} is shorter than {len} bytes"))),
        }
    }

    /// Bytes `range` of a letter that was kept, cut at its end. Blocks on the disk.
    pub fn read(&self, blob: BlobId, range: Range<u64>) -> Result<Bytes, Error> {
        let row = self.rows.get(&blob).ok_or_else(|| Error::Corrupt(format!("letter {blob} is not held")))?;
        read_row(&self.pin.shared, row, range)
    }
}
