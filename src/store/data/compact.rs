//! Letters that are still wanted are moved out of segments that hold little else, one bounded step at a time: their copy and
//! the rows that point to it go out as one record, so the old place is wanted until the new one is durable.

use bytes::Bytes;

use super::engine::decode_alive;
use super::segment::{self, Walker};
use super::shared::Shared;
use super::txn::{NewLetter, Txn};
use super::{Order, READ_ALL, Snapshot};
use crate::store::blob::row::Place;
use crate::store::{Error, Read, Table, blob};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Bytes of letters that one step moves, about.
const STEP: usize = 1 << 20;

/// A letter as it lies, and where.
pub(crate) type Move = (NewLetter, Place);

/// What the next step moves: letters of the segment with the smallest part alive, if that is less than half.
pub(crate) fn plan(shared: &Arc<Shared>) -> Result<Vec<Move>, Error> {
    let snapshot = Snapshot::new(shared)?;
    let Some(number) = choose(shared, &snapshot)? else { return Ok(Vec::new()) };
    let mut moves = Vec::new();
    let mut bytes = 0;
    let Some(mut walker) = Walker::open(&*shared.disk, number)? else { return Ok(Vec::new()) };
    let first = walker.header.first;
    while let Some((at, record)) = walker.next_any()? {
        if record.sequence < first {
            continue;
        }
        for (start, letter) in record.letters {
            let place = Place::Segment { segment: number, offset: at + start as u64, frames: letter.frames.clone() };
            let row = blob::row(&snapshot, letter.blob)?;
            if row.is_some_and(|row| row.place == place) {
                bytes += letter.stored.len();
                moves.push((
                    NewLetter {
                        blob: letter.blob,
                        header: letter.header.to_vec(),
                        len: letter.len,
                        digest: letter.digest,
                        frames: letter.frames,
                        stored: Bytes::copy_from_slice(letter.stored),
                    },
                    place,
                ));
            }
        }
        if bytes >= STEP {
            break;
        }
    }
    Ok(moves)
}

fn choose(shared: &Shared, snapshot: &Snapshot) -> Result<Option<u64>, Error> {
    let current = snapshot.view.position()?.map_or(0, |position| position.segment);
    let mut rows = Vec::new();
    snapshot.scan(Table::Segments, READ_ALL.0, READ_ALL.1, Order::Forward, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    let mut best = None;
    for (key, value) in rows {
        let number = u64::from_be_bytes(key.try_into().map_err(|_| Error::Corrupt("a segment's key".into()))?);
        if number >= current {
            continue;
        }
        let len = shared.disk.open(&segment::name(number))?.len()?;
        let alive = decode_alive(&value)?;
        if alive.saturating_mul(2) < len && best.is_none_or(|(least, _)| alive * 1000 / len < least) {
            best = Some((alive * 1000 / len, number));
        }
    }
    Ok(best.map(|(_, number)| number))
}

/// Moves those of them that still lie where they did; how many.
pub(crate) fn relocate(txn: &mut Txn<'_>, moves: &[Move]) -> Result<usize, Error> {
    let mut moved = 0;
    for (letter, from) in moves {
        moved += usize::from(txn.relocate(letter.clone(), from)?);
    }
    Ok(moved)
}
