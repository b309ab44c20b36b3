//! Rows: one writer thread, many closures, one flush (DESIGN section 3).
//!
//! Does not know: what the rows mean.
//!
//! An acknowledgement rests on the segments: a group's writes and the letters that belong to them go out as one checked
//! record in one append and one sync (`journal`); then they are applied to redb without a flush (`rows`), and become
//! visible. What redb lacks after a cut is applied again from the segments (`replay`). `engine` puts these together without
//! a thread, `writer` is the thread around it.

mod check;
mod compact;
mod engine;
mod journal;
mod options;
pub(crate) mod record;
mod replay;
pub(crate) mod room;
mod rows;
mod salvage;
mod segment;
pub(crate) mod shared;
mod stored;
mod txn;
mod writer;

use std::future::Future;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::{AccountId, ModSeq};

use super::Error;
use super::blob::Blobs;
use super::disk::Disk;
use super::schema::Table;

use engine::{Engine, Job};
use rows::View;
use shared::{Pin, Shared};
use writer::{Message, Writer};

pub use options::Options;
pub use salvage::{Recovered, Salvaged, salvage};
#[doc(hidden)]
pub use stored::{Stored, reads_back};
pub use txn::Txn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Backward,
}

/// Bounds of a scan over a whole table: no key of ours is that long and that high.
pub(crate) const READ_ALL: (&[u8], &[u8]) = (&[], &[0xff; 64]);

/// A view of the rows: a snapshot, or a transaction that sees its own writes.
pub trait Read {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Visits the rows with `lo <= key < hi` in key order, or from the end, until `visit` breaks.
    fn scan(
        &self,
        table: Table,
        lo: &[u8],
        hi: &[u8],
        order: Order,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error>;
}

/// A consistent view. It pins pages, and the bytes of letters it names: never hold one while waiting for a peer. (What is
/// to be sent to one is kept by [`Held`](super::blob::Held), which pins no pages.)
pub struct Snapshot {
    view: View,
    pub(crate) pin: Arc<Pin>,
}

impl Snapshot {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Snapshot, Error> {
        let mut view = Snapshot::pinned(shared);
        let away = matches!(view, Err(Error::Closed)) || shared.rows.has_failed();
        if away && let Some(heal) = shared.heal.get() {
            // The rows are being opened again, or have to be: that is the writer's work, and it is waited for.
            heal();
            view = Snapshot::pinned(shared);
        }
        view
    }

    fn pinned(shared: &Arc<Shared>) -> Result<Snapshot, Error> {
        // Pinned first: what is committed between the two lines is seen, and the pin is only older than need be.
        let pin = Arc::new(Pin::new(shared));
        Ok(Snapshot { view: shared.rows.view()?, pin })
    }
}

impl Read for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.view.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        lo: &[u8],
        hi: &[u8],
        order: Order,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.view.scan(table, lo, hi, order, visit)
    }
}

/// A witness that a commit was flushed: replies that acknowledge are made from it (P1).
#[derive(Clone, Copy, Debug)]
pub struct Durable(());

#[derive(Clone, Copy, Debug)]
pub struct Committed<T> {
    pub value: T,
    pub durable: Durable,
}

/// What the store did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Syncs of segments, letter files and the folder (those of the rows' own file come on top, with each checkpoint).
    pub syncs: u64,
    pub closures: u64,
    pub records: u64,
    /// Bytes appended to segments.
    pub record_bytes: u64,
    /// Bytes written to files of large letters.
    pub letter_file_bytes: u64,
    /// Bytes written to the rows' own file.
    pub row_bytes: u64,
    pub checkpoints: u64,
    /// Times the disk failed and the store reopened itself.
    pub fences: u64,
    /// Records applied again when opening.
    pub replayed: u64,
}

/// The data store; clones are handles to the same one.
#[derive(Clone)]
pub struct Data {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: Blobs,
    writer: Writer,
}

impl Data {
    /// Opens the stores in a folder, making them if it is empty. [`Error::Corrupt`] if they need salvage.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Data, Error> {
        let engine = Engine::open(disk, options)?;
        let blobs = Blobs { shared: engine.shared.clone() };
        let data = Data { inner: Arc::new(Inner { blobs, writer: Writer::start(engine)? }) };
        let inner = Arc::downgrade(&data.inner);
        let _ = data.inner.blobs.shared.heal.set(Box::new(move || {
            if let Some(inner) = inner.upgrade()
                && !inner.writer.is_this_thread()
            {
                let _ = Data { inner }.act(Engine::recover);
            }
        }));
        Ok(data)
    }

    /// Runs the closure on the writer thread, and resolves after the flush. It may be run more than once. It is on its way
    /// when this returns: dropping the future does not call it back.
    pub fn write<T, E, F>(&self, closure: F) -> impl Future<Output = Result<Committed<T>, E>> + Send + use<T, E, F>
    where
        F: Fn(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(closure, move |outcome| {
            let _ = sender.send(outcome);
        });
        // Dropped without a word it may have been durable already.
        async move { receiver.await.unwrap_or_else(|_| Err(Error::Unknown.into())) }
    }

    /// The same for callers without a runtime (the command line, tests); blocks the thread.
    pub fn write_blocking<T, E, F>(&self, closure: F) -> Result<Committed<T>, E>
    where
        F: Fn(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.submit(closure, move |outcome| {
            let _ = sender.send(outcome);
        });
        receiver.recv().unwrap_or_else(|_| Err(Error::Unknown.into()))
    }

    fn submit<T, E, F>(&self, closure: F, tell: impl FnOnce(Result<Committed<T>, E>) + Send + 'static)
    where
        F: Fn(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let job = Closure { closure, outcome: None, tell };
        if let Err(Message::Job(job)) = self.inner.writer.send(Message::Job(Box::new(job))) {
            job.finish(Err(Error::Closed));
        }
    }

    pub fn read(&self) -> Result<Snapshot, Error> {
        Snapshot::new(&self.inner.blobs.shared)
    }

    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// Announcements; one who lags reads the log, so a lost one is harmless.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<(AccountId, ModSeq)> {
        self.inner.blobs.shared.announce.subscribe()
    }

    /// The number that tells this store from any other, and from itself before a restore.
    pub fn epoch(&self) -> Result<u64, Error> {
        let bytes = self.read()?.get(Table::Meta, b"epoch")?.and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_be_bytes).ok_or_else(|| Error::Corrupt("the store has no epoch".into()))
    }

    /// Makes the rows durable in their own file. Needed before a backup; otherwise it happens by itself, by size.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.act(Engine::checkpoint)
    }

    /// One bounded step of getting rid of what nobody wants: forgotten files are removed, and letters still wanted move out of
    /// a segment that holds little else. True if it moved any, so that another step may be worth it.
    pub fn compact(&self) -> Result<bool, Error> {
        self.act(|engine| {
            // Bytes go once it is durable that nobody wants them. With little room that does not wait for its usual size.
            if engine.is_low() {
                engine.checkpoint()?;
            }
            engine.reap();
            engine.sweep()
        })?;
        let moves = compact::plan(&self.inner.blobs.shared)?;
        if moves.is_empty() {
            return Ok(false);
        }
        Ok(self.write_blocking(move |txn| compact::relocate(txn, &moves))?.value > 0)
    }

    /// Looks for what is not as it was written: the chain of records, the bytes of every letter, the counts. Works on a
    /// snapshot beside the running store, and reads everything. An empty list is a sound store.
    pub fn check(&self) -> Result<Vec<String>, Error> {
        check::check(&self.inner.blobs.shared)
    }

    /// Ends the store after what was handed to it, with a checkpoint. Writes after that are refused.
    pub fn close(&self) -> Result<(), Error> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let told = move |outcome| {
            let _ = sender.send(outcome);
        };
        if self.inner.writer.send(Message::Close(Box::new(told))).is_err() {
            return Ok(());
        }
        let outcome = receiver.recv().unwrap_or(Err(Error::Closed));
        self.inner.writer.stop();
        outcome
    }

    pub fn stats(&self) -> Stats {
        let shared = &self.inner.blobs.shared;
        let counts = &shared.counts;
        Stats {
            syncs: counts.syncs.load(Ordering::Relaxed),
            closures: counts.closures.load(Ordering::Relaxed),
            records: counts.records.load(Ordering::Relaxed),
            record_bytes: counts.record_bytes.load(Ordering::Relaxed),
            letter_file_bytes: counts.letter_file_bytes.load(Ordering::Relaxed),
            row_bytes: shared.rows.written.load(Ordering::Relaxed),
            checkpoints: counts.checkpoints.load(Ordering::Relaxed),
            fences: counts.fences.load(Ordering::Relaxed),
            replayed: counts.replayed.load(Ordering::Relaxed),
        }
    }

    /// Runs something on the writer thread between two groups.
    fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let act = move |engine: &mut Engine| {
            let _ = sender.send(act(engine));
        };
        self.inner.writer.send(Message::Act(Box::new(act))).map_err(|_| Error::Closed)?;
        receiver.recv().unwrap_or(Err(Error::Closed))
    }
}

/// A caller's closure on its way.
struct Closure<T, E, F, S> {
    closure: F,
    outcome: Option<Result<T, E>>,
    tell: S,
}

impl<T, E, F, S> Job for Closure<T, E, F, S>
where
    F: Fn(&mut Txn<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
    S: FnOnce(Result<Committed<T>, E>) + Send,
{
    fn run(&mut self, txn: &mut Txn<'_>) -> bool {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| (self.closure)(txn)));
        let outcome = outcome.unwrap_or_else(|panic| Err(Error::Panicked(words(&*panic)).into()));
        self.outcome.insert(outcome).is_ok()
    }

    fn finish(self: Box<Self>, outcome: Result<(), Error>) {
        let told = match (outcome, self.outcome) {
            (Ok(()), Some(own)) => own.map(|value| Committed { value, durable: Durable(()) }),
            (Ok(()), None) => Err(Error::Closed.into()),
            (Err(error), _) => Err(error.into()),
        };
        (self.tell)(told);
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".into())
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
