//! The end of the segments, where records are appended.

use std::sync::Arc;

use super::record::{Digest, Identity, Layer, Position};
use super::segment::{self, SegmentHeader};
use super::shared::{Counts, Shared};
use crate::store::Error;
use crate::store::disk::{DiskFile, Site};

/// Segments kept to be used again, at most.
const MAX_SPARE: usize = 2;

pub(crate) struct Journal {
    pub identity: Identity,
    /// The last record and where the next one goes.
    pub position: Position,
    file: Arc<dyn DiskFile>,
    len: u64,
    /// A number that no segment file has had.
    next_number: u64,
    spare: Vec<String>,
    /// The copy of the small tables that the current segment begins with, and after which record it was taken.
    kept: Kept,
}

/// A copy of the small tables as they were after a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub rows: Layer,
    pub copied: u64,
}

impl Journal {
    /// Goes on in a segment that is there.
    pub fn resume(
        shared: &Shared,
        identity: Identity,
        position: Position,
        file: Arc<dyn DiskFile>,
        kept: Kept,
    ) -> Result<Journal, Error> {
        let len = file.len()?;
        let (next_number, spare) = numbers(shared)?;
        Ok(Journal { identity, position, file, len, next_number, spare, kept })
    }

    /// Begins a first segment after `sequence`.
    pub fn begin(shared: &Shared, identity: Identity, sequence: u64, before: Digest) -> Result<Journal, Error> {
        let (next_number, mut spare) = numbers(shared)?;
        let position = Position { sequence, segment: 0, offset: 0, digest: before };
        let kept = Kept::default();
        let made = make(shared, &identity, &position, next_number, &mut spare, &kept, 0, false)?;
        let position = Position { segment: next_number, offset: made.offset, ..position };
        Ok(Journal { identity, position, file: made.file, len: made.len, next_number: next_number + 1, spare, kept })
    }

    pub fn fits(&self, record: u64) -> bool {
        self.position.offset + record <= self.len
    }

    pub fn offset_after(&self, record: &[u8]) -> u64 {
        self.position.offset + record.len() as u64
    }

    /// Begins a new segment after the last good record, with the small tables as they are now or, if they cannot be had, as
    /// the current segment has them. With `fence`, records behind that one in earlier segments are void
    /// once this returns.
    pub fn roll(&mut self, shared: &Shared, kept: Option<Layer>, record: u64, fence: bool) -> Result<(), Error> {
        let kept = match kept {
            Some(rows) => Kept { rows, copied: self.position.sequence },
            None => self.kept.clone(),
        };
        let number = self.next_number;
        // A number whose segment could not be made is not used again: it may be there in part.
        self.next_number += 1;
        let made = make(shared, &self.identity, &self.position, number, &mut self.spare, &kept, record, fence)?;
        self.file = made.file;
        self.len = made.len;
        self.position.segment = number;
        self.position.offset = made.offset;
        self.kept = kept;
        Ok(())
    }

    /// Writes a record at the end and makes it durable. After an error nothing more may be appended here.
    pub fn append(&self, shared: &Shared, record: &[u8]) -> Result<(), Error> {
        self.file.write_at(self.position.offset, record)?;
        self.file.sync(Site::Record)?;
        Counts::add(&shared.counts.syncs, 1);
        Counts::add(&shared.counts.records, 1);
        Counts::add(&shared.counts.record_bytes, record.len() as u64);
        Ok(())
    }

    /// Keeps a segment that holds nothing any more to be used again, or removes it.
    pub fn recycle(&mut self, shared: &Shared, number: u64) -> Result<(), Error> {
        let name = segment::name(number);
        if self.spare.len() >= MAX_SPARE || shared.is_low() {
            return Ok(shared.disk.remove(&name)?);
        }
        let spare = segment::spare(number);
        shared.disk.rename(&name, &spare)?;
        self.spare.push(spare);
        Ok(())
    }
}

/// The first number above all there are, and the segments kept to be used again.
fn numbers(shared: &Shared) -> Result<(u64, Vec<String>), Error> {
    let names = shared.disk.list()?;
    let mut highest = 0;
    let mut spare = Vec::new();
    for name in names {
        let spare_number = segment::spare_number(&name);
        highest = highest.max(segment::number(&name).or(spare_number).unwrap_or(0));
        if spare_number.is_some() {
            spare.push(name);
        }
    }
    Ok((highest + 1, spare))
}

struct Made {
    file: Arc<dyn DiskFile>,
    len: u64,
    offset: u64,
}

#[allow(clippy::too_many_arguments)] // the parts of a journal that may not exist yet
fn make(
    shared: &Shared,
    identity: &Identity,
    after: &Position,
    number: u64,
    spare: &mut Vec<String>,
    kept: &Kept,
    record: u64,
    fence: bool,
) -> Result<Made, Error> {
    let first = after.sequence + 1;
    let header = SegmentHeader {
        identity: *identity,
        number,
        first,
        before: after.digest,
        copy: kept.rows.clone(),
        copied: kept.copied,
    };
    let header = header.encode();
    let len = segment::size_for(header.len(), record, shared.options.segment_bytes);
    let name = segment::name(number);
    let disk = &shared.disk;
    let file = match spare.pop() {
        Some(old) => {
            disk.rename(&old, &name)?;
            disk.open(&name)?
        }
        None => disk.create(&name)?,
    };
    file.allocate(len)?;
    file.write_at(0, &header)?;
    if fence {
        file.sync(Site::Fence)?;
        Counts::add(&shared.counts.syncs, 1);
    }
    // Without a fence the header becomes durable with the first record.
    disk.sync_dir(Site::SegmentName)?;
    Counts::add(&shared.counts.syncs, 1);
    Ok(Made { len: file.len()?, offset: header.len() as u64, file })
}
