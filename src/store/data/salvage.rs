//! When the rows' file is lost or does not open: what the segments and letter files tell by themselves.
//!
//! Nothing is changed. The caller is handed rows of the small tables, newest wins, then every letter that is not known to be
//! deleted, and writes both into a new store in another folder. A letter whose deletion was recorded in a segment that is
//! gone since may come back; none that is there is left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::record::{Layer, Letter};
use super::segment::{self, Walker};
use crate::store::blob::LetterHeader;
use crate::store::blob::file::{self, Index};
use crate::store::blob::frames::{FRAME, decode_frame};
use crate::store::blob::row::{BlobRow, Place, decode_header};
use crate::store::disk::Disk;
use crate::store::{Error, Table};

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// A row of a table that `kept_in_segments`. All rows come before the first letter.
    Row {
        table: Table,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Letter {
        header: LetterHeader,
        bytes: Bytes,
    },
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    pub rows: u64,
    pub letters: u64,
    /// What was there and could not be read.
    pub damaged: Vec<String>,
}

/// Hands over everything that can be found. Stops with the error of `visit`, or when the folder cannot be read at all.
pub fn salvage(disk: &dyn Disk, visit: &mut dyn FnMut(Recovered) -> Result<(), Error>) -> Result<Salvaged, Error> {
    let mut salvaged = Salvaged::default();
    let mut known = gather(disk, &mut salvaged)?;
    for (table, rows) in std::mem::take(&mut known.kept) {
        for (key, value) in rows {
            if let Some(value) = value {
                visit(Recovered::Row { table, key, value })?;
                salvaged.rows += 1;
            }
        }
    }
    for (number, wanted) in &known.wanted {
        let Ok(Some(mut walker)) = known.walker(disk, *number) else { continue };
        loop {
            let (at, record) = match walker.next_any() {
                Ok(Some(found)) => found,
                // Spoken of already.
                Err(Error::Corrupt(_)) => continue,
                Ok(None) | Err(_) => break,
            };
            for (start, letter) in record.letters {
                if !wanted.contains(&(at + start as u64)) {
                    continue;
                }
                match read(&letter) {
                    Ok((header, bytes)) => {
                        visit(Recovered::Letter { header, bytes })?;
                        salvaged.letters += 1;
                    }
                    Err(error) => salvaged.damaged.push(format!("letter {}: {error}", letter.blob)),
                }
            }
        }
    }
    for name in disk.list()? {
        let Some(number) = file::number(&name).filter(|number| !known.deleted_files.contains(number)) else { continue };
        match read_file(disk, number) {
            Ok((header, bytes)) => {
                visit(Recovered::Letter { header, bytes })?;
                salvaged.letters += 1;
            }
            Err(error) => salvaged.damaged.push(format!("{name}: {error}")),
        }
    }
    Ok(salvaged)
}

/// What all segments together say.
struct Known {
    kept: Layer,
    /// By segment: where the letters to be handed over start.
    wanted: BTreeMap<u64, HashSet<u64>>,
    deleted_files: HashSet<u64>,
    identity: Option<super::record::Identity>,
}

impl Known {
    /// Opens a segment, one with a damaged header as well if another tells whose it must be.
    fn walker(&self, disk: &dyn Disk, number: u64) -> Result<Option<Walker>, Error> {
        open(disk, number, self.identity.as_ref())
    }
}

fn open(disk: &dyn Disk, number: u64, identity: Option<&super::record::Identity>) -> Result<Option<Walker>, Error> {
    if let Some(walker) = Walker::open(disk, number)? {
        return Ok(Some(walker));
    }
    identity.map(|identity| Walker::headless(disk, number, identity)).transpose()
}

/// What is known of one letter.
#[derive(Default)]
struct Seen {
    /// Number of the record that spoke of it last, and where it then was, if anywhere.
    last: (u64, Option<Place>),
    /// Segment and start of every copy.
    copies: Vec<(u64, u64)>,
}

fn gather(disk: &dyn Disk, salvaged: &mut Salvaged) -> Result<Known, Error> {
    let numbers = segment::list(disk)?;
    let mut firsts = BTreeMap::new();
    let mut identity = None;
    let (mut kept, mut copied) = (Layer::new(), 0);
    for number in &numbers {
        match Walker::open(disk, *number) {
            Ok(Some(walker)) => {
                firsts.insert(*number, walker.header.first);
                identity = Some(walker.header.identity);
                if walker.header.copied >= copied {
                    (kept, copied) = (walker.header.copy, walker.header.copied);
                }
            }
            Ok(None) => salvaged.damaged.push(format!("{} has no whole header", segment::name(*number))),
            Err(error) => salvaged.damaged.push(format!("{}: {error}", segment::name(*number))),
        }
    }
    let mut newer: BTreeMap<(Table, Vec<u8>), (u64, Option<Vec<u8>>)> = BTreeMap::new();
    let mut seen: HashMap<u64, Seen> = HashMap::new();
    let mut file_of: HashMap<u64, u64> = HashMap::new();
    for number in numbers {
        let Ok(Some(mut walker)) = open(disk, number, identity.as_ref()) else { continue };
        let first = walker.header.first;
        // What a later segment begins with again was declared void here.
        let end = firsts.range(number + 1..).map(|(_, first)| *first).min().unwrap_or(u64::MAX);
        loop {
            let (at, record) = match walker.next_any() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    salvaged.damaged.push(format!("{}: {error}", segment::name(number)));
                    // A record that does not read (a later version's?) is no reason to leave those behind it.
                    if matches!(error, Error::Corrupt(_)) { continue } else { break }
                }
            };
            if record.sequence < first || record.sequence >= end {
                continue;
            }
            let sequence = record.sequence;
            for (start, letter) in &record.letters {
                seen.entry(letter.blob.0).or_default().copies.push((number, at + *start as u64));
            }
            for (table, rows) in record.rows {
                for (key, value) in rows {
                    if table == Table::Blobs {
                        note_blob(&mut seen, &mut file_of, sequence, &key, value.as_deref());
                    } else if table.kept_in_segments() && sequence > copied {
                        let row = newer.entry((table, key)).or_default();
                        if sequence >= row.0 {
                            *row = (sequence, value);
                        }
                    }
                }
            }
        }
    }
    for ((table, key), (_, value)) in newer {
        kept.entry(table).or_default().insert(key, value);
    }
    let mut wanted: BTreeMap<u64, HashSet<u64>> = BTreeMap::new();
    for seen in seen.values() {
        // The copy that the last row names if it is there, else any.
        let copy = match &seen.last {
            (sequence, None) if *sequence > 0 => None,
            (_, Some(Place::Segment { segment, offset, .. })) => {
                seen.copies.iter().find(|copy| **copy == (*segment, *offset)).or(seen.copies.last())
            }
            _ => seen.copies.last(),
        };
        if let Some((number, start)) = copy {
            wanted.entry(*number).or_default().insert(*start);
        }
    }
    let gone = |blob: &u64| seen.get(blob).is_some_and(|seen| seen.last.0 > 0 && seen.last.1.is_none());
    let deleted_files = file_of.iter().filter(|(_, blob)| gone(blob)).map(|(file, _)| *file).collect();
    Ok(Known { kept, wanted, deleted_files, identity })
}

fn note_blob(
    seen: &mut HashMap<u64, Seen>,
    file_of: &mut HashMap<u64, u64>,
    sequence: u64,
    key: &[u8],
    value: Option<&[u8]>,
) {
    let Ok(blob) = key.try_into().map(u64::from_be_bytes) else { return };
    let place = match value.map(BlobRow::decode) {
        None => None,
        Some(Ok(row)) => Some(row.place),
        // A row that does not read is no deletion.
        Some(Err(_)) => return,
    };
    if let Some(Place::File { number }) = &place {
        file_of.insert(*number, blob);
    }
    let seen = seen.entry(blob).or_default();
    if sequence >= seen.last.0 {
        seen.last = (sequence, place);
    }
}

fn read(letter: &Letter<'_>) -> Result<(LetterHeader, Bytes), Error> {
    let mut raw = Vec::new();
    let mut stored = letter.stored;
    for (index, frame) in letter.frames.iter().enumerate() {
        let (this, rest) = stored.split_at_checked(frame.stored_len()).unwrap_or_default();
        let left = letter.len.saturating_sub((index * FRAME) as u64);
        decode_frame(*frame, this, left.min(FRAME as u64) as usize, &mut raw)?;
        stored = rest;
    }
    // Letters and headers are covered by the record's checksum; this one finds a mistake of ours.
    if *blake3::hash(&raw).as_bytes() != letter.digest {
        return Err(Error::Corrupt("its bytes are not those that were stored".into()));
    }
    Ok((decode_header(letter.header)?, raw.into()))
}

fn read_file(disk: &dyn Disk, number: u64) -> Result<(LetterHeader, Bytes), Error> {
    let file = disk.open(&file::name(number))?;
    let index = Index::read(&*file)?;
    let bytes = index.read_range(&*file, 0..index.len)?;
    if *blake3::hash(&bytes).as_bytes() != index.digest {
        return Err(Error::Corrupt("its bytes are not those that were stored".into()));
    }
    Ok((index.header, bytes.into()))
}
