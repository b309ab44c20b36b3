//! What must be true of the stores, looked at in one snapshot.
//!
//! - C1: the records of each segment follow one another, and those of the last end where the rows stand.
//! - C2: every letter's row has bytes, and they come to its BLAKE3.
//! - C3: a segment's row is the sum of what is alive in it, and none is missing.
//! - C4: letter files and rows name each other.
//! - C5: no blob has a number that the counter did not hand out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::engine::decode_alive;
use super::segment::{self, Walker};
use super::shared::Shared;
use super::txn::counter_key;
use super::{Order, READ_ALL, Snapshot};
use crate::base::BlobId;
use crate::store::blob::row::{BlobRow, Place};
use crate::store::blob::{self, read_row};
use crate::store::{Error, Read, Table};

/// Rows read at a time.
const BATCH: usize = 500;

pub(crate) fn check(shared: &Arc<Shared>) -> Result<Vec<String>, Error> {
    let snapshot = Snapshot::new(shared)?;
    let mut findings = Vec::new();
    let alive = letters(shared, &snapshot, &mut findings)?;
    sums(&snapshot, &alive, &mut findings)?;
    files(&snapshot, &mut findings)?;
    chain(shared, &snapshot, &alive, &mut findings)?;
    Ok(findings)
}

fn number(key: &[u8]) -> Result<u64, Error> {
    let bytes = key.try_into().map_err(|_| Error::Corrupt("a key is no number".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// All rows of a table, a batch at a time.
fn each(
    snapshot: &Snapshot,
    table: Table,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut from = Vec::new();
    loop {
        let mut rows = Vec::new();
        snapshot.scan(table, &from, READ_ALL.1, Order::Forward, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for (key, value) in &rows {
            visit(key, value)?;
        }
        let Some((last, _)) = rows.pop() else { return Ok(()) };
        from = last;
        from.push(0);
    }
}

/// C2 and C5; gives back the bytes alive in each segment.
fn letters(shared: &Shared, snapshot: &Snapshot, findings: &mut Vec<String>) -> Result<BTreeMap<u64, u64>, Error> {
    let mut alive = BTreeMap::new();
    let highest = match snapshot.get(Table::Meta, &counter_key("blob"))? {
        Some(bytes) => number(&bytes)?,
        None => 0,
    };
    each(snapshot, Table::Blobs, &mut |key, value| {
        let blob = BlobId(number(key)?);
        if blob.0 > highest {
            findings.push(format!("letter {blob} has a number that was never handed out"));
        }
        let row = match BlobRow::decode(value) {
            Ok(row) => row,
            Err(error) => {
                findings.push(format!("letter {blob}: {error}"));
                return Ok(());
            }
        };
        if row.refs == 0 {
            findings.push(format!("letter {blob} is there without a reference"));
        }
        match &row.place {
            Place::Segment { segment, .. } => *alive.entry(*segment).or_default() += row.place.stored_len(),
            Place::File { number } => {
                let named = snapshot.get(Table::LetterFiles, &number.to_be_bytes())?;
                if named.as_deref() != Some(key) {
                    findings.push(format!("letter {blob} lies in file {number:016x}, which is not known as its own"));
                }
            }
        }
        match read_row(shared, &row, 0..row.len) {
            Ok(bytes) if bytes.len() as u64 == row.len && *blake3::hash(&bytes).as_bytes() == *row.digest => {}
            Ok(_) => findings.push(format!("letter {blob} has other bytes than were stored")),
            Err(error) => findings.push(format!("letter {blob} cannot be read: {error}")),
        }
        Ok(())
    })?;
    Ok(alive)
}

/// C3.
fn sums(snapshot: &Snapshot, alive: &BTreeMap<u64, u64>, findings: &mut Vec<String>) -> Result<(), Error> {
    let mut said = BTreeMap::new();
    each(snapshot, Table::Segments, &mut |key, value| {
        said.insert(number(key)?, decode_alive(value)?);
        Ok(())
    })?;
    for number in said.keys().chain(alive.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (said, is) = (said.get(number).copied().unwrap_or(0), alive.get(number).copied().unwrap_or(0));
        if said != is {
            findings.push(format!("{} has {is} bytes alive, its row says {said}", segment::name(*number)));
        }
    }
    Ok(())
}

/// C4, the other way round.
fn files(snapshot: &Snapshot, findings: &mut Vec<String>) -> Result<(), Error> {
    each(snapshot, Table::LetterFiles, &mut |key, value| {
        let (file, blob) = (number(key)?, BlobId(number(value)?));
        let row = blob::row(snapshot, blob)?;
        if row.is_none_or(|row| row.place != Place::File { number: file }) {
            findings.push(format!("letter file {file:016x} is known as letter {blob}'s, which does not lie in it"));
        }
        Ok(())
    })
}

/// C1.
fn chain(
    shared: &Shared,
    snapshot: &Snapshot,
    alive: &BTreeMap<u64, u64>,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    let Some(end) = snapshot.view.position()? else {
        findings.push("the rows do not know how far they are".into());
        return Ok(());
    };
    let mut walkers = Vec::new();
    for number in segment::list(&*shared.disk)?.into_iter().filter(|number| *number <= end.segment) {
        match Walker::open(&*shared.disk, number) {
            Ok(Some(walker)) => walkers.push(walker),
            // Segments in which nothing is alive come and go while this runs.
            Ok(None) | Err(_) if !alive.contains_key(&number) && number != end.segment => {}
            Ok(None) => findings.push(format!("{} has a damaged header", segment::name(number))),
            Err(error) => findings.push(format!("{} cannot be read: {error}", segment::name(number))),
        }
    }
    let firsts: Vec<(u64, u64)> =
        walkers.iter().skip(1).map(|walker| (walker.header.number, walker.header.first)).collect();
    for (index, mut walker) in walkers.into_iter().enumerate() {
        let number = walker.header.number;
        let name = segment::name(number);
        let next = firsts.get(index);
        let mut sequence = walker.header.first - 1;
        let mut digest = walker.header.before;
        let until = next.map_or(end.sequence, |(_, first)| first - 1);
        while sequence < until.min(end.sequence) {
            let Some(record) = walker.next(sequence + 1, &digest)? else { break };
            (sequence, digest) = (record.sequence, record.digest);
        }
        // Whole segments between two may be gone; one right behind the other must follow it.
        let follows = match next {
            Some((after, _)) => *after != number + 1 || sequence == until,
            None => sequence == end.sequence && digest == end.digest,
        };
        let still_there = || Walker::open(&*shared.disk, number).is_ok_and(|walker| walker.is_some());
        if !follows && still_there() {
            findings.push(format!("{name} has a bad record after number {sequence}"));
        }
    }
    Ok(())
}
