//! The store without threads: commits groups, takes checkpoints, fences itself when the disk fails. The writer thread drives
//! it; crash tests drive it directly.
//!
//! States: *open*, or *fenced* with what has to be done before it serves again. Every way from one to the other is in
//! `recover`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::journal::Journal;
use super::record::{self, Layer, Letter, Position};
use super::room;
use super::shared::{Counts, Home, Shared};
use super::txn::{Group, Txn, Writes};
use super::{Options, replay, segment};
use crate::store::blob::row::{BlobRow, Place};
use crate::store::blob::{Naming, file};
use crate::store::disk::Disk;
use crate::store::{Error, Table};

/// A closure that waits for its group.
pub(crate) trait Job: Send {
    /// Runs it; true if what it staged is to be kept.
    fn run(&mut self, txn: &mut Txn<'_>) -> bool;

    /// Tells whoever waits: the group is durable, or what became of it.
    fn finish(self: Box<Self>, outcome: Result<(), Error>);

    /// Bytes of letters it brings, for the size of groups.
    fn weight(&self) -> usize {
        0
    }
}

pub(crate) struct Engine {
    pub shared: Arc<Shared>,
    journal: Journal,
    state: State,
    floors: HashMap<String, u64>,
    /// Bytes of records since the rows were last durable in their own file.
    unsaved: u64,
    touched: Touched,
    /// Where the rows' own file stands durably.
    saved: Position,
    /// Bytes that go once nobody looks at a state before the record of that number.
    doomed: Vec<(u64, Home)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The rows have to be reopened and the records applied again.
    Reopen,
    /// Before that, a new segment has to declare void what follows the last good record.
    Void,
}

/// Why a group did not become visible.
enum Failed {
    /// Nothing of it is there, nor ever will be.
    Void(Error),
    /// It is durable, or may be; nobody may be told anything.
    Unknown,
}

impl Engine {
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Engine, Error> {
        let shared = Arc::new(Shared::new(disk, options));
        let opened = replay::open(&shared).or_else(|error| {
            // Replay may need the room that was kept for it.
            shared.rows.close().ok();
            if room::release(&shared) && error == Error::Full { replay::open(&shared) } else { Err(error) }
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                shared.rows.close().ok();
                return Err(error);
            }
        };
        let mut engine = Engine {
            journal: opened.journal,
            state: State::Open,
            floors: HashMap::new(),
            unsaved: opened.unsaved,
            touched: opened.touched,
            saved: opened.saved,
            doomed: Vec::new(),
            shared,
        };
        engine.show();
        room::refresh(&engine.shared);
        // What follows is tidying: the store is open whether it succeeds or not.
        if engine.sweep().is_ok() {
            engine.maintain();
        }
        Ok(engine)
    }

    /// Makes what is committed visible to readers.
    fn show(&self) {
        self.shared.pins.visible.store(self.journal.position.sequence, Ordering::SeqCst);
    }

    /// Runs the jobs one after another, makes what they staged durable with one flush, and tells them.
    pub fn commit_group(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if self.recover().is_err() {
            return finish(jobs, &Err(Error::Closed));
        }
        let mut group = match self.shared.rows.view() {
            Ok(base) => Group::new(base),
            Err(error) => return finish(jobs, &Err(error)),
        };
        for job in &mut jobs {
            group.run(&mut self.floors, &mut |txn| job.run(txn));
        }
        Counts::add(&self.shared.counts.closures, jobs.len() as u64);
        if self.shared.rows.has_failed() {
            // Some closure may have missed rows. Nothing was written yet, so nothing of the group is there.
            self.state = State::Reopen;
            let _ = self.recover();
            return finish(jobs, &Err(Error::Disk("the rows could not be read".into())));
        }
        if group.writes.is_empty() {
            return finish(jobs, &Ok(()));
        }
        for (staged, _) in group.writes.attached.values() {
            staged.set_naming(Naming::Claimed);
        }
        let committed = self.commit(&mut group);
        let Group { base, writes } = group;
        drop(base);
        match committed {
            Ok(()) => {
                for (staged, blob) in writes.attached.values() {
                    staged.set_naming(Naming::Named(*blob));
                }
                finish(jobs, &Ok(()));
                for announcement in writes.announcements {
                    // Nobody listening is no error: they read the log.
                    let _ = self.shared.announce.send(announcement);
                }
                self.maintain();
            }
            Err(Failed::Void(error)) => {
                for (staged, _) in writes.attached.values() {
                    staged.set_naming(Naming::Free);
                }
                finish(jobs, &Err(error));
            }
            Err(Failed::Unknown) => finish(jobs, &Err(Error::Unknown)),
        }
    }

    fn commit(&mut self, group: &mut Group) -> Result<(), Failed> {
        let freed = std::mem::take(&mut group.writes.freed);
        let bound = bound(&group.writes);
        if !self.journal.fits(bound) {
            let made = self.kept_rows(group).and_then(|kept| self.new_segment(kept, bound));
            if let Err(error) = made {
                return Err(self.fence(error));
            }
        }
        let (bytes, position) = match self.lay_out(group, &freed) {
            Ok(laid) => laid,
            // Nothing was written yet, so nothing needs to be declared void.
            Err(error) => return Err(Failed::Void(error)),
        };
        if let Err(error) = self.journal.append(&self.shared, &bytes) {
            return Err(self.fence(error));
        }
        // From here on it is durable, and nothing that fails may say otherwise.
        self.journal.position = position;
        self.unsaved += bytes.len() as u64;
        self.touched.note(&group.writes.rows);
        if self.shared.rows.apply(&group.writes.rows, &position, false).is_err() {
            self.state = State::Reopen;
            Counts::add(&self.shared.counts.fences, 1);
            // Applied again from the segment it is committed like any other; else the outcome stays open.
            self.recover().map_err(|_| Failed::Unknown)?;
        }
        self.show();
        for place in freed {
            if let Place::File { number } = place {
                self.doomed.push((position.sequence, Home::File(number)));
            }
        }
        Ok(())
    }

    /// The record of a group, and where the one after it will go. Gives the letters their places.
    fn lay_out(&self, group: &mut Group, freed: &[Place]) -> Result<(Vec<u8>, Position), Error> {
        let at = self.journal.position;
        let mut alive: HashMap<u64, i64> = HashMap::new();
        for place in freed {
            // Segment 0: it was to go into this very record, and does not.
            if let Place::Segment { segment, .. } = place
                && *segment != 0
            {
                *alive.entry(*segment).or_default() -= place.stored_len() as i64;
            }
        }
        let mut bytes = record::begin();
        let count_at = bytes.len();
        bytes.extend_from_slice(&0u32.to_be_bytes());
        let mut count = 0u32;
        for letter in std::mem::take(&mut group.writes.letters) {
            let key = letter.blob.0.to_be_bytes();
            let rows = group.writes.rows.entry(Table::Blobs).or_default();
            let Some(Some(row)) = rows.get(key.as_slice()) else { continue };
            let mut row = BlobRow::decode(row)?;
            let start = Letter {
                blob: letter.blob,
                header: &letter.header,
                len: letter.len,
                digest: letter.digest,
                frames: letter.frames.clone(),
                stored: &letter.stored,
            }
            .encode(&mut bytes);
            count += 1;
            row.place = Place::Segment { segment: at.segment, offset: at.offset + start as u64, frames: letter.frames };
            *alive.entry(at.segment).or_default() += row.place.stored_len() as i64;
            rows.insert(key.to_vec(), Some(row.encode()));
        }
        bytes[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        for (segment, change) in alive {
            let key = segment.to_be_bytes();
            let before = group.base.get(Table::Segments, &key)?.map_or(Ok(0), |bytes| decode_alive(&bytes))?;
            let after = before.saturating_add_signed(change);
            let row = (after > 0).then(|| after.to_be_bytes().to_vec());
            group.writes.rows.entry(Table::Segments).or_default().insert(key.to_vec(), row);
        }
        record::encode_rows(&group.writes.rows, &mut bytes);
        let sequence = at.sequence + 1;
        let digest = record::finish(&mut bytes, &self.journal.identity, sequence, &at.digest);
        let offset = self.journal.offset_after(&bytes);
        Ok((bytes, Position { sequence, segment: at.segment, offset, digest }))
    }

    /// The tables that a new segment begins with, as they are before the group.
    fn kept_rows(&self, group: &Group) -> Result<Layer, Error> {
        replay::kept_rows(&group.base)
    }

    fn new_segment(&mut self, kept: Layer, record: u64) -> Result<(), Error> {
        match self.journal.roll(&self.shared, Some(kept.clone()), record, false) {
            Err(Error::Full) if room::release(&self.shared) => {
                self.journal.roll(&self.shared, Some(kept), record, false)
            }
            rolled => rolled,
        }
    }

    /// An append or a sync failed: what is behind the last good record must never count. Nobody is answered before that is
    /// durable.
    fn fence(&mut self, error: Error) -> Failed {
        self.state = State::Void;
        Counts::add(&self.shared.counts.fences, 1);
        if error == Error::Full {
            room::release(&self.shared);
        }
        match self.recover() {
            Ok(()) => Failed::Void(error),
            Err(_) if self.state == State::Void => Failed::Unknown,
            // Declared void, though the rows are not back yet.
            Err(_) => Failed::Void(error),
        }
    }

    /// Leads a fenced store back to serving.
    pub fn recover(&mut self) -> Result<(), Error> {
        if self.state == State::Open && self.shared.rows.has_failed() {
            self.state = State::Reopen;
        }
        if self.state == State::Open {
            return Ok(());
        }
        let kept = self.shared.rows.view().and_then(|view| replay::kept_rows(&view)).ok();
        // redb is dropped before anything else is applied; what is pending in it is of good records only.
        let _ = self.shared.rows.close();
        let again = |error: &Error| *error == Error::Full && room::release(&self.shared);
        if self.state == State::Void {
            let mut rolled = self.journal.roll(&self.shared, kept.clone(), 0, true);
            if rolled.as_ref().is_err_and(again) {
                rolled = self.journal.roll(&self.shared, kept, 0, true);
            }
            rolled?;
            self.state = State::Reopen;
        }
        let mut opened = replay::reopen(&self.shared, &self.journal);
        if opened.as_ref().is_err_and(|error| *error == Error::Full && room::release(&self.shared)) {
            let _ = self.shared.rows.close();
            opened = replay::reopen(&self.shared, &self.journal);
        }
        match opened {
            Ok(opened) => {
                self.unsaved = opened.unsaved;
                self.touched = opened.touched;
                self.saved = opened.saved;
                self.state = State::Open;
                self.show();
                Ok(())
            }
            Err(error) => {
                let _ = self.shared.rows.close();
                Err(error)
            }
        }
    }

    /// Something broke in the middle of a step. Whatever lies behind the last record known to be good is void before anything
    /// else is written.
    pub fn distrust(&mut self) {
        self.state = State::Void;
        Counts::add(&self.shared.counts.fences, 1);
    }

    /// After each group: a checkpoint if one is due, and bytes that may go.
    fn maintain(&mut self) {
        let options = &self.shared.options;
        if self.unsaved >= options.checkpoint_bytes || self.touched.bytes() >= options.cache_bytes / 4 {
            let _ = self.checkpoint();
        }
        self.reap();
    }

    pub fn is_low(&self) -> bool {
        self.shared.is_low()
    }

    /// Makes the rows durable in their own file, so that nothing before needs to be replayed.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        self.recover()?;
        if self.saved == self.journal.position {
            return Ok(());
        }
        if let Err(error) = self.shared.rows.apply(&Layer::new(), &self.journal.position, true) {
            if error == Error::Full {
                room::release(&self.shared);
            }
            self.state = State::Reopen;
            Counts::add(&self.shared.counts.fences, 1);
            self.recover()?;
            return Err(error);
        }
        Counts::add(&self.shared.counts.checkpoints, 1);
        self.saved = self.journal.position;
        self.unsaved = 0;
        self.touched = Touched::default();
        room::refresh(&self.shared);
        self.doom_segments()
    }

    /// Segments before the checkpoint in which nothing is alive can go.
    fn doom_segments(&mut self) -> Result<(), Error> {
        let view = self.shared.rows.view()?;
        for number in segment::list(&*self.shared.disk)? {
            let home = Home::Segment(number);
            let needed = number >= self.saved.segment || view.get(Table::Segments, &number.to_be_bytes())?.is_some();
            if !needed && !self.doomed.iter().any(|(_, doomed)| *doomed == home) {
                self.doomed.push((self.saved.sequence, home));
            }
        }
        Ok(())
    }

    /// Removes what is doomed and looked at by nobody. What cannot be removed now is found again when the store opens.
    pub fn reap(&mut self) {
        if self.doomed.is_empty() {
            return;
        }
        let doomed = std::mem::take(&mut self.doomed);
        let (gone, kept) = doomed.into_iter().partition(|(sequence, _)| self.shared.pins.passed(*sequence));
        self.doomed = kept;
        let gone: Vec<(u64, Home)> = gone;
        for (_, home) in gone {
            self.shared.handles.forget(home);
            let _ = match home {
                Home::Segment(number) => self.journal.recycle(&self.shared, number),
                Home::File(number) => self.shared.disk.remove(&file::name(number)).map_err(Error::from),
            };
        }
    }

    /// Removes files of letters that no row names and nobody can name any more.
    pub fn sweep(&mut self) -> Result<(), Error> {
        let names = self.shared.disk.list()?;
        let mut orphans = Vec::new();
        for name in names {
            if let Some(number) = file::number(&name)
                && !self.shared.live_files().contains(&number)
                && !self.doomed.iter().any(|(_, home)| *home == Home::File(number))
            {
                orphans.push(number);
            }
        }
        // Looked at after the names were listed and found not alive: whoever named one has committed by now.
        let view = self.shared.rows.view()?;
        for number in orphans {
            if view.get(Table::LetterFiles, &number.to_be_bytes())?.is_none() {
                self.shared.disk.remove(&file::name(number))?;
            }
        }
        Ok(())
    }

    /// A checkpoint, and the end.
    pub fn close(&mut self) -> Result<(), Error> {
        self.checkpoint()?;
        self.reap();
        self.shared.rows.close()
    }

    #[cfg(test)]
    #[cfg(test)]
    pub fn position(&self) -> Position {
        self.journal.position
    }
}

fn finish(jobs: Vec<Box<dyn Job>>, outcome: &Result<(), Error>) {
    for job in jobs {
        job.finish(outcome.clone());
    }
}

/// Bytes that the record of these writes cannot exceed: places take a few bytes more once they are known.
fn bound(writes: &Writes) -> u64 {
    let letters: usize = writes
        .letters
        .iter()
        .map(|letter| 128 + letter.header.len() + letter.frames.len() * 4 + letter.stored.len() + 32)
        .sum();
    let segments = 64 * (writes.freed.len() + writes.letters.len() + 1);
    (record::HEADER + letters + record::rows_len(&writes.rows) + segments) as u64 + record::ALIGN
}

pub(crate) fn decode_alive(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt("a segment's row is no number".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// An estimate of the pages changed since the last checkpoint: rows with neighbouring keys share one.
#[derive(Default)]
pub(crate) struct Touched(std::collections::HashSet<(Table, Vec<u8>)>);

/// Bytes that one touched neighbourhood is taken for: its page, and a share of those above it.
const NEIGHBOURHOOD: usize = 5 * 1024;

impl Touched {
    pub fn note(&mut self, rows: &Layer) {
        for (table, rows) in rows {
            for key in rows.keys() {
                let mut place = key.clone();
                // 32 neighbours of about 100 bytes make a page.
                if let Some(last) = place.last_mut() {
                    *last >>= 5;
                }
                self.0.insert((*table, place));
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.0.len() * NEIGHBOURHOOD
    }
}
