//! One record of a segment: a group's rows, and the letters that belong to them (layout: `store/schema.rs`).

use std::collections::BTreeMap;

use crate::base::BlobId;
use crate::store::blob::frames::Frame;
use crate::store::{Error, Table};

/// Records begin at multiples of this, so that none shares a disk sector with one that is already durable.
pub(crate) const ALIGN: u64 = 512;

pub(crate) const MAGIC: u32 = 0x4850_5231; // "HPR1"

/// Bytes before a record's payload.
pub(crate) const HEADER: usize = 4 + 8 + 8 + 4 + 32 + 32;

/// The longest payload that is believed when read.
pub(crate) const MAX_PAYLOAD: u32 = 256 << 20;

pub(crate) type Digest = [u8; 32];

/// Rows by table and key; `None` deletes.
pub(crate) type Layer = BTreeMap<Table, BTreeMap<Vec<u8>, Option<Vec<u8>>>>;

/// What makes a record this store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub epoch: u64,
    /// Keys the checksums, so that a letter cannot pass for a record.
    pub key: [u8; 32],
}

/// Where the next record goes, and what it must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of the last record, 0 before the first.
    pub sequence: u64,
    pub segment: u64,
    /// Where in the segment the next record starts.
    pub offset: u64,
    /// Digest of the last record.
    pub digest: Digest,
}

impl Position {
    pub const ENCODED: usize = 8 + 8 + 8 + 32;

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Position::ENCODED);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.segment.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Position, Error> {
        let mut reader = Reader(bytes);
        let position = Position {
            sequence: reader.u64()?,
            segment: reader.u64()?,
            offset: reader.u64()?,
            digest: reader.array()?,
        };
        reader.end()?;
        Ok(position)
    }
}

/// A letter as it lies in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter<'a> {
    pub blob: BlobId,
    /// CBOR of the `LetterHeader`.
    pub header: &'a [u8],
    /// Length of the bytes as taken.
    pub len: u64,
    pub digest: Digest,
    pub frames: Vec<Frame>,
    /// The frames, one after another.
    pub stored: &'a [u8],
}

impl Letter<'_> {
    /// Appends it; gives back where in `out` the first frame starts.
    pub fn encode(&self, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(&self.blob.0.to_be_bytes());
        out.extend_from_slice(&(self.header.len() as u32).to_be_bytes());
        out.extend_from_slice(self.header);
        out.extend_from_slice(&self.len.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&(self.frames.len() as u32).to_be_bytes());
        for frame in &self.frames {
            out.extend_from_slice(&frame.0.to_be_bytes());
        }
        let at = out.len();
        out.extend_from_slice(self.stored);
        at
    }
}

/// A record as read.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub sequence: u64,
    pub before: Digest,
    pub digest: Digest,
    /// The letters, each with where its first frame starts, counted from the start of the record.
    pub letters: Vec<(usize, Letter<'a>)>,
    pub rows: Layer,
    /// Length with its padding.
    pub padded: u64,
}

/// Begins a record; what follows in the buffer is its payload.
pub(crate) fn begin() -> Vec<u8> {
    vec![0; HEADER]
}

pub(crate) fn encode_rows(rows: &Layer, out: &mut Vec<u8>) {
    let count: usize = rows.values().map(BTreeMap::len).sum();
    out.extend_from_slice(&(count as u32).to_be_bytes());
    for (table, rows) in rows {
        for (key, value) in rows {
            out.push(*table as u8);
            out.extend_from_slice(&(key.len() as u32).to_be_bytes());
            out.extend_from_slice(key);
            match value {
                None => out.extend_from_slice(&0u32.to_be_bytes()),
                Some(value) => {
                    out.extend_from_slice(&(value.len() as u32 + 1).to_be_bytes());
                    out.extend_from_slice(value);
                }
            }
        }
    }
}

/// How many bytes `encode_rows` would write.
pub(crate) fn rows_len(rows: &Layer) -> usize {
    let row = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| 9 + key.len() + value.as_ref().map_or(0, Vec::len);
    4 + rows.values().flat_map(|rows| rows.iter().map(row)).sum::<usize>()
}

/// Writes the header and the padding; gives back the record's digest.
pub(crate) fn finish(record: &mut Vec<u8>, identity: &Identity, sequence: u64, before: &Digest) -> Digest {
    let payload = (record.len() - HEADER) as u32;
    let mut head = Vec::with_capacity(HEADER);
    head.extend_from_slice(&MAGIC.to_be_bytes());
    head.extend_from_slice(&identity.epoch.to_be_bytes());
    head.extend_from_slice(&sequence.to_be_bytes());
    head.extend_from_slice(&payload.to_be_bytes());
    head.extend_from_slice(before);
    let digest = checksum(identity, &head, &record[HEADER..]);
    record[..head.len()].copy_from_slice(&head);
    record[head.len()..HEADER].copy_from_slice(&digest);
    record.resize(record.len().next_multiple_of(ALIGN as usize), 0);
    digest
}

fn checksum(identity: &Identity, head: &[u8], payload: &[u8]) -> Digest {
    *blake3::Hasher::new_keyed(&identity.key).update(head).update(payload).finalize().as_bytes()
}

/// What a record's header says, before its payload is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub sequence: u64,
    pub payload: usize,
    before: Digest,
    digest: Digest,
}

/// Reads a header; `None` if it is none of this store's.
pub(crate) fn head(identity: &Identity, bytes: &[u8]) -> Option<Head> {
    let mut reader = Reader(bytes);
    let (magic, epoch, sequence) = (reader.u32().ok()?, reader.u64().ok()?, reader.u64().ok()?);
    let payload = reader.u32().ok()?;
    let (before, digest) = (reader.array().ok()?, reader.array().ok()?);
    let ours = magic == MAGIC && epoch == identity.epoch && payload <= MAX_PAYLOAD;
    ours.then_some(Head { sequence, payload: payload as usize, before, digest })
}

/// Whether the record at the start of `bytes` is whole.
pub(crate) fn is_whole(identity: &Identity, bytes: &[u8]) -> bool {
    head(identity, bytes).is_some_and(|head| {
        bytes.get(HEADER..HEADER + head.payload).is_some_and(|payload| {
            // The checksum stands last in the header and covers the rest of it.
            checksum(identity, &bytes[..HEADER - 32], payload) == head.digest
        })
    })
}

/// Reads the record at the start of `bytes`; `None` if there is no whole one.
pub(crate) fn decode<'a>(identity: &Identity, bytes: &'a [u8]) -> Option<Result<Record<'a>, Error>> {
    if !is_whole(identity, bytes) {
        return None;
    }
    let head = head(identity, bytes)?;
    let record = payload(&bytes[HEADER..HEADER + head.payload]).map(|(letters, rows)| Record {
        sequence: head.sequence,
        before: head.before,
        digest: head.digest,
        letters,
        rows,
        padded: ((HEADER + head.payload) as u64).next_multiple_of(ALIGN),
    });
    Some(record)
}

/// The letters and rows of a payload.
pub(crate) type Payload<'a> = (Vec<(usize, Letter<'a>)>, Layer);

pub(crate) fn payload(bytes: &[u8]) -> Result<Payload<'_>, Error> {
    let mut reader = Reader(bytes);
    let mut letters = Vec::new();
    for _ in 0..reader.u32()? {
        let blob = BlobId(reader.u64()?);
        let header_len = reader.u32()? as usize;
        let header = reader.take(header_len)?;
        let len = reader.u64()?;
        let digest = reader.array()?;
        let mut frames = Vec::new();
        for _ in 0..reader.u32()? {
            let frame = Frame(reader.u32()?);
            if !frame.is_sound() {
                return Err(Error::Corrupt("a record has a frame that is too long".into()));
            }
            frames.push(frame);
        }
        let at = HEADER + bytes.len() - reader.0.len();
        let stored = reader.take(frames.iter().map(|frame| frame.stored_len()).sum())?;
        letters.push((at, Letter { blob, header, len, digest, frames, stored }));
    }
    let rows = decode_rows(&mut reader)?;
    reader.end()?;
    Ok((letters, rows))
}

pub(crate) fn decode_rows(reader: &mut Reader<'_>) -> Result<Layer, Error> {
    let mut rows = Layer::new();
    for _ in 0..reader.u32()? {
        let number = reader.array::<1>()?[0];
        let table = Table::from_number(number).ok_or_else(|| Error::Corrupt(format!("there is no table {number}")))?;
        let key_len = reader.u32()? as usize;
        let key = reader.take(key_len)?.to_vec();
        let value = match reader.u32()? {
            0 => None,
            len => Some(reader.take(len as usize - 1)?.to_vec()),
        };
        rows.entry(table).or_default().insert(key, value);
    }
    Ok(rows)
}

/// Takes fields off the front of bytes that may be damaged.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| Error::Corrupt("bytes end too early".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Corrupt("bytes are left over".into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> impl Strategy<Value = Layer> {
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        let table = proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..20), value, 1..5);
        proptest::collection::btree_map(proptest::sample::select(&Table::ALL[..]), table, 0..4)
    }

    proptest! {
        #[test]
        fn records_round_trip_and_every_flipped_bit_is_noticed(
            rows in rows(), stored in proptest::collection::vec(any::<u8>(), 0..200), epoch: u64, sequence: u64,
            key: [u8; 32], before: [u8; 32], flip: proptest::sample::Index,
        ) {
            let identity = Identity { epoch, key };
            let mut bytes = begin();
            bytes.extend_from_slice(&1u32.to_be_bytes());
            let letter = Letter {
                blob: BlobId(7), header: b"head", len: 9, digest: [3; 32], frames: vec![Frame(stored.len() as u32)],
                stored: &stored,
            };
            let at = letter.encode(&mut bytes);
            let rows_at = bytes.len();
            encode_rows(&rows, &mut bytes);
            prop_assert_eq!(bytes.len() - rows_at, rows_len(&rows));
            let len = bytes.len();
            let digest = finish(&mut bytes, &identity, sequence, &before);
            prop_assert_eq!(bytes.len() as u64 % ALIGN, 0);
            let record = decode(&identity, &bytes).unwrap().unwrap();
            prop_assert_eq!((record.sequence, record.before, record.digest), (sequence, before, digest));
            prop_assert_eq!(record.padded, bytes.len() as u64);
            prop_assert_eq!(&record.letters, &[(at, letter)]);
            prop_assert_eq!(&record.rows, &rows);
            bytes[flip.index(len)] ^= 4;
            prop_assert!(decode(&identity, &bytes).is_none());
        }

        #[test]
        fn damaged_payloads_are_errors_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = payload(&bytes);
        }
    }
}
