//! Opening: which records the rows do not have yet, where the segments end, and what to make of a bad record.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::engine::Touched;
use super::journal::{Journal, Kept};
use super::record::{Digest, Identity, Layer, Position};
use super::rows::{self, View};
use super::segment::{self, Walker};
use super::shared::{Counts, Shared};
use super::txn::counter_key;
use super::{Order, READ_ALL};
use crate::store::blob::file;
use crate::store::disk::{DiskFile, Site};
use crate::store::{Error, Table};

/// Bytes of records that are applied in one transaction.
const BATCH: u64 = 1 << 20;

pub(crate) struct Opened {
    pub journal: Journal,
    pub unsaved: u64,
    pub touched: Touched,
    pub saved: Position,
}

/// Opens the stores, or makes them in an empty folder.
pub(crate) fn open(shared: &Arc<Shared>) -> Result<Opened, Error> {
    let (identity, saved) = open_rows(shared)?;
    // First look, then believe: what stands last may be in the machine's memory only, left by a process that died, perhaps
    // after a sync that failed. What is written again is synced for certain.
    let walked = walk(shared, &identity, &saved, &mut |_, _, _| Ok(()))?;
    if let Some(file) = &walked.file {
        let mut from = walked.end.offset;
        if let Some(last) = walked.last.as_ref().filter(|last| last.segment == walked.end.segment) {
            from = last.offset;
        }
        if from == walked.first {
            from = 0;
        }
        let mut bytes = vec![0; usize::try_from(walked.end.offset - from).unwrap_or(0)];
        file.read_at(from, &mut bytes)?;
        file.write_at(from, &bytes)?;
        file.sync(Site::Replay)?;
        shared.disk.sync_dir(Site::Replay)?;
        Counts::add(&shared.counts.syncs, 2);
    }
    let (unsaved, touched) = apply(shared, &identity, &saved, &walked.end)?;
    remove_leftovers(shared, &walked)?;
    let journal = match walked.file {
        Some(file) => Journal::resume(shared, identity, walked.end, file, walked.kept)?,
        None => Journal::begin(shared, identity, walked.end.sequence, walked.end.digest)?,
    };
    Ok(Opened { journal, unsaved, touched, saved })
}

pub(crate) struct Reopened {
    pub unsaved: u64,
    pub touched: Touched,
    pub saved: Position,
}

/// Opens the rows again after a failure and applies what the journal has beyond them.
pub(crate) fn reopen(shared: &Arc<Shared>, journal: &Journal) -> Result<Reopened, Error> {
    shared.rows.open(shared.disk.open(rows::FILE)?, shared.options.cache_bytes)?;
    let view = shared.rows.view()?;
    let identity = view.identity()?;
    let saved = view.position()?.filter(|_| identity == Some(journal.identity));
    drop(view);
    let saved = saved.ok_or_else(|| Error::Corrupt("the rows are another store's".into()))?;
    let (unsaved, touched) = apply(shared, &journal.identity, &saved, &journal.position)?;
    Ok(Reopened { unsaved, touched, saved })
}

/// Opens the rows' file. One that was never finished is made anew, as long as no segment has a record.
fn open_rows(shared: &Arc<Shared>) -> Result<(Identity, Position), Error> {
    let opened = match shared.disk.open(rows::FILE) {
        Ok(file) => match shared.rows.open(file, shared.options.cache_bytes) {
            Ok(()) => state(shared),
            Err(error) => Err(error),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    };
    match opened {
        Ok(Some(state)) => return Ok(state),
        // The disk may do better next time; nothing is made anew for that.
        Err(Error::Full) => return Err(Error::Full),
        Err(error) if any_record(shared)? => return Err(error),
        Ok(None) if any_record(shared)? => return Err(Error::Corrupt("the rows' file is missing".into())),
        Ok(None) | Err(_) => {}
    }
    let _ = shared.rows.close();
    for name in shared.disk.list()? {
        if name == rows::FILE || segment::number(&name).is_some() {
            shared.disk.remove(&name)?;
        }
    }
    shared.rows.open(shared.disk.create(rows::FILE)?, shared.options.cache_bytes)?;
    let mut key = [0; 32];
    shared.options.random.fill(&mut key);
    let identity = Identity { epoch: shared.options.random.u64(), key };
    let position = Position { sequence: 0, segment: 0, offset: 0, digest: [0; 32] };
    let mut rows = Layer::new();
    let meta = rows.entry(Table::Meta).or_default();
    meta.insert(b"epoch".to_vec(), Some(identity.epoch.to_be_bytes().to_vec()));
    meta.insert(b"format".to_vec(), Some(1u64.to_be_bytes().to_vec()));
    meta.insert(counter_key("blob"), Some(0u64.to_be_bytes().to_vec()));
    shared.rows.create(&identity, &rows, &position)?;
    Ok((identity, position))
}

fn state(shared: &Shared) -> Result<Option<(Identity, Position)>, Error> {
    let view = shared.rows.view()?;
    Ok(view.identity()?.zip(view.position()?))
}

/// Whether there is a letter file, or any segment has a whole record: then the store was in use.
fn any_record(shared: &Shared) -> Result<bool, Error> {
    // The rows' file is durable before the first letter is let in.
    if shared.disk.list()?.iter().any(|name| file::number(name).is_some()) {
        return Ok(true);
    }
    let mut identity = None;
    let mut headless = Vec::new();
    for number in segment::list(&*shared.disk)? {
        match Walker::open(&*shared.disk, number)? {
            Some(walker) => {
                identity = Some(walker.header.identity);
                if walker.has_any()? {
                    return Ok(true);
                }
            }
            None => headless.push(number),
        }
    }
    // Records of a segment with a damaged header can be salvaged as long as another tells whose they are.
    let Some(identity) = identity else { return Ok(false) };
    for number in headless {
        if Walker::headless(&*shared.disk, number, &identity)?.has_any()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last record met.
struct Last {
    segment: u64,
    offset: u64,
}

struct Walked {
    end: Position,
    /// The segment that `end` is in; `None` if there is none yet.
    file: Option<Arc<dyn DiskFile>>,
    /// Where the first record of that segment is or will be.
    first: u64,
    kept: Kept,
    last: Option<Last>,
    /// Segment files without a whole header or a record of worth.
    garbage: Vec<u64>,
}

/// Meets the records behind `from` in order, to the last good one.
fn walk(
    shared: &Shared,
    identity: &Identity,
    from: &Position,
    meet: &mut dyn FnMut(Layer, Position, u64) -> Result<(), Error>,
) -> Result<Walked, Error> {
    let mut walkers = Vec::new();
    let mut garbage = Vec::new();
    for number in segment::list(&*shared.disk)? {
        if number < from.segment {
            continue;
        }
        match Walker::open(&*shared.disk, number)?.filter(|walker| walker.header.identity == *identity) {
            Some(walker) => walkers.push(walker),
            None => garbage.push(number),
        }
    }
    if from.sequence > 0 && walkers.first().is_none_or(|first| first.header.number != from.segment) {
        return Err(Error::Corrupt(format!("{} is missing or damaged", segment::name(from.segment))));
    }
    let limits: Vec<(u64, Digest)> =
        walkers.iter().skip(1).map(|walker| (walker.header.first, walker.header.before)).collect();
    let mut walked = Walked { end: *from, file: None, first: 0, kept: Kept::default(), last: None, garbage };
    for (index, mut walker) in walkers.into_iter().enumerate() {
        let number = walker.header.number;
        walked.first = walker.offset;
        if index == 0 && from.sequence > 0 {
            walker.offset = from.offset;
        } else if walker.header.first != walked.end.sequence + 1 || walker.header.before != walked.end.digest {
            return Err(Error::Corrupt(format!("{} does not follow the one before", segment::name(number))));
        }
        let limit = limits.get(index).map(|(first, _)| *first);
        walked.end.segment = number;
        walked.end.offset = walker.offset;
        while limit.is_none_or(|first| walked.end.sequence + 1 < first) {
            let offset = walker.offset;
            let (sequence, digest) = (walked.end.sequence + 1, walked.end.digest);
            let Some(record) = walker.next(sequence, &digest)? else { break };
            let (digest, rows, padded) = (record.digest, record.rows, record.padded);
            walked.end = Position { sequence, segment: number, offset: offset + padded, digest };
            walked.last = Some(Last { segment: number, offset });
            meet(rows, walked.end, padded)?;
        }
        if limit.is_none() && walker.has_successor(walked.end.sequence)? {
            let name = segment::name(number);
            return Err(Error::Corrupt(format!("{name} has good records behind a bad one at {}", walked.end.offset)));
        }
        walked.kept = Kept { rows: walker.header.copy, copied: walker.header.copied };
        walked.file = Some(walker.file);
    }
    for number in walked.garbage.iter().filter(|number| **number > walked.end.segment) {
        // Header and first record become durable together, so a first record alone is a torn tail; a second is not. (Files
        // before the last good header hold nothing of worth: what belongs to the chain was met.)
        if Walker::headless(&*shared.disk, *number, identity)?.has_successor(walked.end.sequence + 1)? {
            return Err(Error::Corrupt(format!("{} has records but no header", segment::name(*number))));
        }
    }
    Ok(walked)
}

/// Applies the records behind `saved` up to `end`, which must be there.
fn apply(shared: &Shared, identity: &Identity, saved: &Position, end: &Position) -> Result<(u64, Touched), Error> {
    let mut unsaved = 0;
    let mut touched = Touched::default();
    let mut batch = Layer::new();
    let mut batched = 0;
    let mut reached = *saved;
    let walked = walk(shared, identity, saved, &mut |rows, position, bytes| {
        if position.sequence > end.sequence {
            return Ok(());
        }
        Counts::add(&shared.counts.replayed, 1);
        touched.note(&rows);
        for (table, mut rows) in rows {
            batch.entry(table).or_default().append(&mut rows);
        }
        unsaved += bytes;
        batched += bytes;
        reached = position;
        if batched >= BATCH {
            shared.rows.apply(&batch, &reached, false)?;
            batch.clear();
            batched = 0;
        }
        Ok(())
    })?;
    if walked.end.sequence != end.sequence || walked.end.digest != end.digest {
        return Err(Error::Corrupt(format!(
            "the segments end at record {}, not at {}",
            walked.end.sequence, end.sequence
        )));
    }
    if batched > 0 {
        shared.rows.apply(&batch, &reached, false)?;
    }
    Ok((unsaved, touched))
}

/// Removes files that a cut left half made.
fn remove_leftovers(shared: &Shared, walked: &Walked) -> Result<(), Error> {
    for number in &walked.garbage {
        shared.disk.remove(&segment::name(*number))?;
    }
    for name in shared.disk.list()? {
        if file::is_incoming(&name) {
            shared.disk.remove(&name)?;
        }
    }
    Ok(())
}

/// The tables that segments keep a copy of.
pub(crate) fn kept_rows(view: &View) -> Result<Layer, Error> {
    let mut kept = Layer::new();
    for table in segment::kept() {
        let rows = kept.entry(table).or_default();
        view.scan(table, READ_ALL.0, READ_ALL.1, Order::Forward, &mut |key, value| {
            rows.insert(key.to_vec(), Some(value.to_vec()));
            ControlFlow::Continue(())
        })?;
    }
    Ok(kept)
}
