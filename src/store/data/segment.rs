//! Segment files: their header with the copy of the small tables, and walking through their records.

use std::sync::Arc;

use super::record::{self, ALIGN, Digest, HEADER, Identity, Layer, Reader, Record};
use crate::store::disk::{Disk, DiskFile, SECTOR};
use crate::store::{Error, Table};

const MAGIC: &[u8; 8] = b"HPSEGM\x00\x01";

/// Bytes before the copy of the small tables.
const FIXED: usize = 8 + 8 + 32 + 8 + 8 + 32 + 8 + 4;

/// The longest copy of the small tables that is believed when read.
const MAX_COPY: u32 = 256 << 20;

pub(crate) fn name(number: u64) -> String {
    format!("segment-{number:016x}")
}

/// A segment that holds nothing any more and is kept to be used again.
pub(crate) fn spare(number: u64) -> String {
    format!("spare-{number:016x}")
}

/// The number in a segment's file name.
pub(crate) fn number(name: &str) -> Option<u64> {
    counted(name, "segment-")
}

/// The number in a spare segment's file name.
pub(crate) fn spare_number(name: &str) -> Option<u64> {
    counted(name, "spare-")
}

/// A name that is not exactly as it would be made is a file of somebody else's. So is one with a number that no counting
/// leads to; were it taken for a segment, there would be no number for the next.
fn counted(name: &str, kind: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix(kind)?, 16).ok()?;
    (number < 1 << 63 && *name == format!("{kind}{number:016x}")).then_some(number)
}

/// Numbers of all segment files there are, ascending.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<u64>, Error> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The beginning of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub identity: Identity,
    pub number: u64,
    /// The sequence number of the first record in it. A record with this number, or a later one, in an earlier segment was
    /// never acknowledged and is void.
    pub first: u64,
    /// Digest of the record before the first.
    pub before: Digest,
    /// The tables that are kept in segments, as they were after the record `copied`.
    pub copy: Layer,
    pub copied: u64,
}

impl SegmentHeader {
    /// Encoded and padded to where the first record may start.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::new();
        record::encode_rows(&self.copy, &mut copy);
        let mut out = Vec::with_capacity(FIXED + copy.len() + 32);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.identity.epoch.to_be_bytes());
        out.extend_from_slice(&self.identity.key);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.before);
        out.extend_from_slice(&self.copied.to_be_bytes());
        out.extend_from_slice(&(copy.len() as u32).to_be_bytes());
        out.extend_from_slice(&copy);
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        out.resize(out.len().next_multiple_of(ALIGN as usize), 0);
        out
    }

    /// Reads the header of a segment file; with it where its first record starts. `None` if there is no whole header with
    /// this number.
    pub fn read(file: &dyn DiskFile, number: u64) -> Result<Option<(SegmentHeader, u64)>, Error> {
        let len = file.len()?;
        let mut fixed = vec![0; FIXED];
        if len < FIXED as u64 {
            return Ok(None);
        }
        file.read_at(0, &mut fixed)?;
        let mut reader = Reader(&fixed);
        if reader.take(8)? != MAGIC {
            return Ok(None);
        }
        let identity = Identity { epoch: reader.u64()?, key: reader.array()? };
        let (own, first, before) = (reader.u64()?, reader.u64()?, reader.array()?);
        let copied = reader.u64()?;
        let copy_len = reader.u32()?;
        let end = FIXED as u64 + u64::from(copy_len) + 32;
        if own != number || copy_len > MAX_COPY || end > len {
            return Ok(None);
        }
        let mut rest = vec![0; copy_len as usize + 32];
        file.read_at(FIXED as u64, &mut rest)?;
        let (copy, digest) = rest.split_at(copy_len as usize);
        if blake3::Hasher::new().update(&fixed).update(copy).finalize() != *digest {
            return Ok(None);
        }
        let mut reader = Reader(copy);
        let copy = record::decode_rows(&mut reader)?;
        reader.end()?;
        Ok(Some((SegmentHeader { identity, number, first, before, copy, copied }, end.next_multiple_of(ALIGN))))
    }
}

/// A segment being read record by record.
pub(crate) struct Walker {
    pub file: Arc<dyn DiskFile>,
    pub header: SegmentHeader,
    /// Where the next record is looked for.
    pub offset: u64,
    len: u64,
    /// The record last read.
    buffer: Vec<u8>,
}

impl Walker {
    /// Opens a segment; `None` if it has no whole header.
    pub fn open(disk: &dyn Disk, number: u64) -> Result<Option<Walker>, Error> {
        let file = disk.open(&name(number))?;
        let Some((header, offset)) = SegmentHeader::read(&*file, number)? else { return Ok(None) };
        let len = file.len()?;
        Ok(Some(Walker { file, header, offset, len, buffer: Vec::new() }))
    }

    /// Opens a segment whose header is lost, to look for records.
    pub fn headless(disk: &dyn Disk, number: u64, identity: &Identity) -> Result<Walker, Error> {
        let file = disk.open(&name(number))?;
        let len = file.len()?;
        let header =
            SegmentHeader { identity: *identity, number, first: 0, before: [0; 32], copy: Layer::new(), copied: 0 };
        Ok(Walker { file, header, offset: 0, len, buffer: Vec::new() })
    }

    /// The record at the offset if it is whole, has the number `sequence` and follows `before`; moves behind it.
    pub fn next(&mut self, sequence: u64, before: &Digest) -> Result<Option<Record<'_>>, Error> {
        if !self.load(self.offset)? {
            return Ok(None);
        }
        match record::decode(&self.header.identity, &self.buffer) {
            Some(read) => {
                let read = read?;
                if read.sequence != sequence || read.before != *before {
                    return Ok(None);
                }
                self.offset += read.padded;
                Ok(Some(read))
            }
            None => Ok(None),
        }
    }

    /// The next whole record of any number at or behind the offset, for salvage; moves behind it, also when it does not
    /// read ([`Error::Corrupt`]).
    pub fn next_any(&mut self) -> Result<Option<(u64, Record<'_>)>, Error> {
        while self.offset + HEADER as u64 <= self.len {
            let at = self.offset;
            if self.load(at)? && record::is_whole(&self.header.identity, &self.buffer) {
                let Some(read) = record::decode(&self.header.identity, &self.buffer) else { break };
                self.offset = at + self.buffer.len() as u64;
                return read.map(|read| Some((at, read)));
            }
            self.offset += ALIGN;
        }
        Ok(None)
    }

    /// Whether there is a whole record of any number, one that does not read included.
    pub fn has_any(mut self) -> Result<bool, Error> {
        match self.next_any() {
            Ok(found) => Ok(found.is_some()),
            Err(Error::Corrupt(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether a whole record with a number above `sequence` lies behind the offset: then what is at the offset is no torn
    /// tail, since nothing is written behind a record that is not durable.
    pub fn has_successor(&mut self, sequence: u64) -> Result<bool, Error> {
        let mut at = self.offset + ALIGN;
        while at + HEADER as u64 <= self.len {
            let sound = self.head(at)?.is_some_and(|head| head.sequence > sequence);
            if sound && self.load(at)? && record::is_whole(&self.header.identity, &self.buffer) {
                return Ok(true);
            }
            at += ALIGN;
        }
        Ok(false)
    }

    fn head(&self, at: u64) -> Result<Option<record::Head>, Error> {
        let mut bytes = [0; HEADER];
        if at + HEADER as u64 > self.len {
            return Ok(None);
        }
        self.file.read_at(at, &mut bytes)?;
        Ok(record::head(&self.header.identity, &bytes))
    }

    /// Loads the record at `at` as far as its header can be believed.
    fn load(&mut self, at: u64) -> Result<bool, Error> {
        let Some(head) = self.head(at)? else { return Ok(false) };
        let padded = ((HEADER + head.payload) as u64).next_multiple_of(ALIGN);
        if padded > self.len - at {
            return Ok(false);
        }
        self.buffer.resize(padded as usize, 0);
        self.file.read_at(at, &mut self.buffer)?;
        Ok(true)
    }
}

/// Bytes of a segment that hold `record` bytes at least, besides its header.
pub(crate) fn size_for(header: usize, record: u64, usual: u64) -> u64 {
    usual.max(header as u64 + record).next_multiple_of(SECTOR as u64 * 8)
}

/// The part of rows that segments keep a copy of.
pub(crate) fn kept() -> impl Iterator<Item = Table> {
    Table::ALL.into_iter().filter(|table| table.kept_in_segments())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::SimDisk;

    #[test]
    fn only_names_that_are_made_are_read() {
        assert_eq!(number(&name(0x1f)), Some(0x1f));
        assert_eq!(spare_number(&spare(7)), Some(7));
        for other in ["segment-1f", "segment-+00000000000001f", "segment-000000000000001F", "segment-ffffffffffffffff"]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_is_read_back_and_damage_to_it_is_noticed() {
        let disk = SimDisk::sound();
        let mut copy = Layer::new();
        copy.entry(Table::Accounts).or_default().insert(vec![0, 0, 0, 1], Some(b"alice".to_vec()));
        let identity = Identity { epoch: 5, key: [9; 32] };
        let header = SegmentHeader { identity, number: 3, first: 17, before: [1; 32], copy, copied: 16 };
        let bytes = header.encode();
        let file = disk.create(&name(3)).unwrap();
        file.write_at(0, &bytes).unwrap();
        assert_eq!(SegmentHeader::read(&*file, 3).unwrap(), Some((header, bytes.len() as u64)));
        assert_eq!(SegmentHeader::read(&*file, 4).unwrap(), None, "a file under another number");
        disk.damage(&name(3), FIXED + 8);
        assert_eq!(SegmentHeader::read(&*file, 3).unwrap(), None);
    }

    const IDENTITY: Identity = Identity { epoch: 5, key: [9; 32] };

    /// A segment with these records; with `headed` unset its header is damaged.
    fn segment(disk: &SimDisk, number: u64, headed: bool, records: Vec<Vec<u8>>) {
        let header =
            SegmentHeader { identity: IDENTITY, number, first: 1, before: [0; 32], copy: Layer::new(), copied: 0 };
        let mut bytes = header.encode();
        let mut before = [0; 32];
        for (mut record, sequence) in records.into_iter().zip(1..) {
            before = record::finish(&mut record, &IDENTITY, sequence, &before);
            bytes.extend(record);
        }
        disk.create(&name(number)).unwrap().write_at(0, &bytes).unwrap();
        if !headed {
            disk.damage(&name(number), 100);
        }
    }

    fn accounts(key: u8) -> Vec<u8> {
        let mut rows = Layer::new();
        rows.entry(Table::Accounts).or_default().insert(vec![key], Some(b"alice".to_vec()));
        let mut record = record::begin();
        record.extend_from_slice(&[0; 4]);
        record::encode_rows(&rows, &mut record);
        record
    }

    #[test]
    fn behind_a_record_that_does_not_read_salvage_goes_on() {
        let disk = SimDisk::sound();
        let mut unreadable = record::begin();
        unreadable.extend_from_slice(b"of another version");
        segment(&disk, 1, true, vec![accounts(1), unreadable, accounts(2)]);
        let mut found = Vec::new();
        let done = crate::store::data::salvage(&disk, &mut |row| {
            found.push(row);
            Ok(())
        });
        let done = done.unwrap();
        assert_eq!((done.rows, found.len(), done.damaged.len()), (2, 2, 1), "{:?}", done.damaged);
    }

    #[test]
    fn no_new_store_is_made_over_what_can_be_salvaged() {
        let open = |disk: &SimDisk| crate::store::Data::open(Arc::new(disk.clone()), Default::default());
        // The header that is whole has no records, the records have no header.
        let disk = SimDisk::sound();
        segment(&disk, 1, false, vec![accounts(1), accounts(2)]);
        segment(&disk, 2, true, vec![]);
        assert!(matches!(open(&disk).err(), Some(Error::Corrupt(_))));
        assert_eq!(list(&disk), Ok(vec![1, 2]));
        let disk = SimDisk::sound();
        disk.create("letter-0000000000000007").unwrap();
        assert!(matches!(open(&disk).err(), Some(Error::Corrupt(_))));
        // Headers alone are what a first start leaves that was cut short.
        let disk = SimDisk::sound();
        segment(&disk, 1, true, vec![]);
        assert!(open(&disk).is_ok());
    }
}
