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
    /// What was announced, in that order.
    order: Vec<(BlobId, Range<u64>)>,
}

/// Bytes of a letter, read.
pub struct Piece {
    pub blob: BlobId,
    pub range: Range<u64>,
    pub bytes: Bytes,
}

impl Held {
    /// Nothing yet, of what `snapshot` names.
    pub fn new(snapshot: &Snapshot) -> Held {
        Held { pin: snapshot.pin.clone(), rows: BTreeMap::new(), order: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds bytes of a letter of the same snapshot, and opens where they lie: when this has gone well they may be announced.
    /// [`Error::Corrupt`] if the letter is not there, or shorter. Blocks on the disk.
    pub fn keep(&mut self, snapshot: &Snapshot, blob: BlobId, range: Range<u64>) -> Result<(), Error> {
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
            Some(row) if row.len >= range.end => {
                if !range.is_empty() {
                    self.order.push((blob, range));
                }
                Ok(())
            }
            _ => Err(Error::Corrupt(format!("letter {blob} is shorter than {} bytes", range.end))),
        }
    }

    /// Where in the announcement exactly this was, not before `from`.
    pub fn position(&self, blob: BlobId, range: &Range<u64>, from: usize) -> Option<usize> {
        let rest = self.order.get(from..)?;
        Some(from + rest.iter().position(|announced| announced.0 == blob && announced.1 == *range)?)
    }

    /// What was announced from number `from` on, as long as it comes to `bytes` or less.
    pub fn next(&self, from: usize, bytes: u64) -> Range<usize> {
        let rest = self.order.get(from..).unwrap_or_default();
        let mut sum = 0;
        let fits = |(_, range): &&(BlobId, Range<u64>)| {
            sum += range.end - range.start;
            sum <= bytes
        };
        from..from + rest.iter().take_while(fits).count()
    }

    /// The bytes of these announcements. Blocks on the disk.
    pub fn read_all(&self, announced: Range<usize>) -> Result<Vec<Piece>, Error> {
        let announced = self.order.get(announced).unwrap_or_default();
        let read = |(blob, range): &(BlobId, Range<u64>)| {
            Ok(Piece { blob: *blob, range: range.clone(), bytes: self.read(*blob, range.clone())? })
        };
        announced.iter().map(read).collect()
    }

    /// Bytes `range` of a letter that was kept, cut at its end. Blocks on the disk.
    pub fn read(&self, blob: BlobId, range: Range<u64>) -> Result<Bytes, Error> {
        let row = self.rows.get(&blob).ok_or_else(|| Error::Corrupt(format!("letter {blob} is not held")))?;
        read_row(&self.pin.shared, row, range)
    }
}
