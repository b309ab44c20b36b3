//! One closure's writes over those of its group over the rows as they are.

use std::collections::HashMap;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use super::record::Layer;
use super::rows::View;
use super::{Order, Read};
use crate::base::{AccountId, BlobId, ModSeq};
use crate::store::blob::frames::Frame;
use crate::store::blob::row::{BlobRow, Place};
use crate::store::blob::{self, Body, Naming, Staged};
use crate::store::{Error, Table};

/// A letter that the record being made will hold.
#[derive(Clone)]
pub(crate) struct NewLetter {
    pub blob: BlobId,
    pub header: Vec<u8>,
    pub len: u64,
    pub digest: [u8; 32],
    pub frames: Vec<Frame>,
    pub stored: bytes::Bytes,
}

/// What closures have staged.
#[derive(Default)]
pub(crate) struct Writes {
    pub rows: Layer,
    pub letters: Vec<NewLetter>,
    pub attached: HashMap<usize, (Staged, BlobId)>,
    /// Places that nothing refers to any more.
    pub freed: Vec<Place>,
    pub announcements: Vec<(AccountId, ModSeq)>,
}

impl Writes {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn absorb(&mut self, mut other: Writes) {
        for (table, mut rows) in other.rows {
            self.rows.entry(table).or_default().append(&mut rows);
        }
        self.letters.append(&mut other.letters);
        self.attached.extend(other.attached);
        self.freed.append(&mut other.freed);
        self.announcements.append(&mut other.announcements);
    }
}

/// The writes of closures that will go out as one record.
pub(crate) struct Group {
    pub base: View,
    pub writes: Writes,
}

impl Group {
    pub fn new(base: View) -> Group {
        Group { base, writes: Writes::default() }
    }

    /// Runs one closure. What it staged is kept if it says so.
    pub fn run(&mut self, floors: &mut HashMap<String, u64>, closure: &mut dyn FnMut(&mut Txn<'_>) -> bool) {
        let mut txn = Txn { group: self, own: Writes::default(), floors };
        if closure(&mut txn) {
            let own = txn.own;
            self.writes.absorb(own);
        }
    }
}

/// One closure's writes, seeing those of the closures before it.
pub struct Txn<'a> {
    group: &'a Group,
    own: Writes,
    /// The highest numbers handed out, whatever became of the closures that took them.
    floors: &'a mut HashMap<String, u64>,
}

fn staged<'a>(rows: &'a Layer, table: Table, key: &[u8]) -> Option<&'a Option<Vec<u8>>> {
    rows.get(&table)?.get(key)
}

impl Read for Txn<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match staged(&self.own.rows, table, key).or_else(|| staged(&self.group.writes.rows, table, key)) {
            Some(value) => Ok(value.clone()),
            None => self.group.base.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        lo: &[u8],
        hi: &[u8],
        order: Order,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if lo >= hi {
            return Ok(());
        }
        let own = layer(&self.own.rows, table, lo, hi, order).peekable();
        let before = layer(&self.group.writes.rows, table, lo, hi, order).peekable();
        let mut over = Merged { own, before, order }.peekable();
        let mut stopped = false;
        self.group.base.scan(table, lo, hi, order, &mut |key, value| {
            while let Some((staged, _)) = over.peek() {
                if comes_before(key, staged, order) {
                    break;
                }
                let same = staged.as_slice() == key;
                if let Some((staged, Some(value))) = over.next()
                    && visit(staged, value).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
                if same {
                    return ControlFlow::Continue(());
                }
            }
            let flow = visit(key, value);
            stopped = flow.is_break();
            flow
        })?;
        if !stopped {
            for (key, value) in over {
                if let Some(value) = value
                    && visit(key, value).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Whether `key` is met strictly before `other`.
fn comes_before(key: &[u8], other: &[u8], order: Order) -> bool {
    match order {
        Order::Forward => key < other,
        Order::Backward => key > other,
    }
}

type Row<'a> = (&'a Vec<u8>, &'a Option<Vec<u8>>);
type Rows<'a> = Box<dyn Iterator<Item = Row<'a>> + 'a>;

fn layer<'a>(rows: &'a Layer, table: Table, lo: &[u8], hi: &[u8], order: Order) -> Rows<'a> {
    let Some(rows) = rows.get(&table) else { return Box::new(std::iter::empty()) };
    let range = rows.range::<[u8], _>((Bound::Included(lo), Bound::Excluded(hi)));
    match order {
        Order::Forward => Box::new(range),
        Order::Backward => Box::new(range.rev()),
    }
}

/// Two layers as one, the closure's own over the group's.
struct Merged<'a> {
    own: Peekable<Rows<'a>>,
    before: Peekable<Rows<'a>>,
    order: Order,
}

impl<'a> Iterator for Merged<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        match (self.own.peek(), self.before.peek()) {
            (Some((own, _)), Some((before, _))) => {
                if own == before {
                    self.before.next();
                    self.own.next()
                } else if comes_before(own, before, self.order) {
                    self.own.next()
                } else {
                    self.before.next()
                }
            }
            (Some(_), None) => self.own.next(),
            (None, _) => self.before.next(),
        }
    }
}

impl Txn<'_> {
    pub fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.own.rows.entry(table).or_default().insert(key.to_vec(), Some(value));
    }

    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.own.rows.entry(table).or_default().insert(key.to_vec(), None);
    }

    /// The next number of a named counter; the first is 1. Not even a closure that is undone gives its numbers back.
    pub fn next(&mut self, counter: &str) -> Result<u64, Error> {
        let key = counter_key(counter);
        let stored = match self.get(Table::Meta, &key)? {
            None => 0,
            Some(bytes) => u64::from_be_bytes(
                bytes.try_into().map_err(|_| Error::Corrupt(format!("counter {counter} is no number")))?,
            ),
        };
        let floor = self.floors.get(counter).copied().unwrap_or(0);
        let next = stored
            .max(floor)
            .checked_add(1)
            .ok_or_else(|| Error::Corrupt(format!("counter {counter} is at its end")))?;
        self.floors.insert(counter.to_string(), next);
        self.put(Table::Meta, &key, next.to_be_bytes().to_vec());
        Ok(next)
    }

    /// Makes staged bytes part of this transaction, with one reference; a second time, one more. [`Error::Corrupt`] if it
    /// was named before, let go since, and its bytes are gone.
    pub fn attach(&mut self, staged: &Staged) -> Result<BlobId, Error> {
        let named = match self.attached(staged) {
            Some(blob) => Some(blob),
            None => match staged.naming() {
                Naming::Named(blob) => Some(blob),
                Naming::Free => None,
                // The transaction that named it has an outcome nobody knows yet; it may well be there.
                Naming::Claimed => return Err(Error::Unknown),
            },
        };
        if let Some(blob) = named {
            if blob::row(self, blob)?.is_some() {
                self.hold(blob)?;
                return Ok(blob);
            }
            if matches!(staged.body(), Body::File { .. }) {
                return Err(Error::Corrupt("a staged letter was let go before it was named again".into()));
            }
        }
        let blob = BlobId(self.next("blob")?);
        self.name(staged, blob, 1);
        Ok(blob)
    }

    /// The letter that this group has made of the staged bytes.
    fn attached(&self, staged: &Staged) -> Option<BlobId> {
        let id = staged.identity();
        let found = self.own.attached.get(&id).or_else(|| self.group.writes.attached.get(&id));
        found.map(|(_, blob)| *blob)
    }

    fn name(&mut self, staged: &Staged, blob: BlobId, refs: u64) {
        let place = match staged.body() {
            Body::Memory { header, stored, frames, .. } => {
                self.own.letters.push(NewLetter {
                    blob,
                    header: header.clone(),
                    len: staged.len(),
                    digest: staged.digest(),
                    frames: frames.clone(),
                    stored: stored.clone(),
                });
                Place::pending(frames.clone())
            }
            Body::File { number, .. } => {
                self.put(Table::LetterFiles, &number.to_be_bytes(), blob.0.to_be_bytes().to_vec());
                Place::File { number: *number }
            }
        };
        let row = BlobRow { refs, len: staged.len(), digest: staged.digest().into(), place };
        self.put(Table::Blobs, &blob.0.to_be_bytes(), row.encode());
        self.own.attached.insert(staged.identity(), (staged.clone(), blob));
    }

    /// Makes staged bytes a letter with a given id and number of references: how a restore puts back what rows name already. Does
    /// nothing if that id is taken. [`Error::Corrupt`] if the bytes belong to a letter by now.
    pub fn put_back(&mut self, staged: &Staged, blob: BlobId, refs: u64) -> Result<(), Error> {
        if blob::row(self, blob)?.is_some() {
            return Ok(());
        }
        if !matches!(staged.naming(), Naming::Free) || self.attached(staged).is_some() {
            return Err(Error::Corrupt("a staged letter is put back twice".into()));
        }
        self.name(staged, blob, refs);
        Ok(())
    }

    /// One more reference. [`Error::Corrupt`] if there is no such blob.
    pub fn hold(&mut self, blob: BlobId) -> Result<(), Error> {
        let mut row = self.blob(blob)?;
        row.refs += 1;
        self.put(Table::Blobs, &blob.0.to_be_bytes(), row.encode());
        Ok(())
    }

    /// One reference less; at none the bytes go, once that is durable. [`Error::Corrupt`] if there is no such blob.
    pub fn release(&mut self, blob: BlobId) -> Result<(), Error> {
        let mut row = self.blob(blob)?;
        row.refs = row.refs.saturating_sub(1);
        if row.refs > 0 {
            self.put(Table::Blobs, &blob.0.to_be_bytes(), row.encode());
            return Ok(());
        }
        self.delete(Table::Blobs, &blob.0.to_be_bytes());
        if let Place::File { number } = &row.place {
            self.delete(Table::LetterFiles, &number.to_be_bytes());
        }
        self.own.freed.push(row.place);
        Ok(())
    }

    fn blob(&self, blob: BlobId) -> Result<BlobRow, Error> {
        blob::row(self, blob)?.ok_or_else(|| Error::Corrupt(format!("there is no letter {blob}")))
    }

    /// Moves a letter's bytes into the record being made, if it still lies at `from`; for compaction.
    pub(crate) fn relocate(&mut self, letter: NewLetter, from: &Place) -> Result<bool, Error> {
        let Some(mut row) = blob::row(self, letter.blob)? else { return Ok(false) };
        if row.place != *from {
            return Ok(false);
        }
        let key = letter.blob.0.to_be_bytes();
        let place = Place::pending(letter.frames.clone());
        self.own.freed.push(std::mem::replace(&mut row.place, place));
        self.put(Table::Blobs, &key, row.encode());
        self.own.letters.push(letter);
        Ok(true)
    }

    /// Told to subscribers after the flush, in the order of commits (P6).
    pub fn announce(&mut self, account: AccountId, modseq: ModSeq) {
        self.own.announcements.push((account, modseq));
    }
}

pub(crate) fn counter_key(counter: &str) -> Vec<u8> {
    format!("counter/{counter}").into_bytes()
}
