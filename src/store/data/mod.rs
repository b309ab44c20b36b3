//! Rows: one writer thread, many closures, one flush (DESIGN section 3).
//!
//! Does not know: what the rows mean. Being written; the names below are settled, so that the layers above can be built
//! on them.

use std::future::Future;
use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, ModSeq};

use super::Error;
use super::blob::{Blobs, Staged};
use super::schema::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Backward,
}

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

/// A consistent view. It pins pages: never hold one while waiting for a peer.
pub struct Snapshot(());

impl Read for Snapshot {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        todo!()
    }

    fn scan(
        &self,
        _: Table,
        _: &[u8],
        _: &[u8],
        _: Order,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        todo!()
    }
}

/// One closure's writes, seeing those of the closures before it.
pub struct Txn<'a>(std::marker::PhantomData<&'a ()>);

impl Read for Txn<'_> {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        todo!()
    }

    fn scan(
        &self,
        _: Table,
        _: &[u8],
        _: &[u8],
        _: Order,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        todo!()
    }
}

impl Txn<'_> {
    pub fn put(&mut self, _table: Table, _key: &[u8], _value: Vec<u8>) {
        todo!()
    }

    pub fn delete(&mut self, _table: Table, _key: &[u8]) {
        todo!()
    }

    /// The next number of a named counter; the first is 1.
    pub fn next(&mut self, _counter: &str) -> Result<u64, Error> {
        todo!()
    }

    /// Makes staged bytes part of this transaction, with one reference; a second time in one closure, one more.
    pub fn attach(&mut self, _staged: &Staged) -> Result<BlobId, Error> {
        todo!()
    }

    /// One more reference.
    pub fn hold(&mut self, _blob: BlobId) -> Result<(), Error> {
        todo!()
    }

    /// One reference less; at none the bytes go, once that is durable.
    pub fn release(&mut self, _blob: BlobId) -> Result<(), Error> {
        todo!()
    }

    /// Told to subscribers after the flush, in the order of commits (P6).
    pub fn announce(&mut self, _account: AccountId, _modseq: ModSeq) {
        todo!()
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

/// The data store; clones are handles to the same one.
#[derive(Clone)]
pub struct Data(());

impl Data {
    /// Runs the closure on the writer thread, and resolves after the flush. It may be run more than once.
    pub fn write<T, E, F>(&self, _closure: F) -> impl Future<Output = Result<Committed<T>, E>> + Send + use<T, E, F>
    where
        F: Fn(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        async { todo!() }
    }

    /// The same for callers without a runtime (the command line, tests); blocks the thread.
    pub fn write_blocking<T, E, F>(&self, _closure: F) -> Result<Committed<T>, E>
    where
        F: Fn(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        todo!()
    }

    pub fn read(&self) -> Result<Snapshot, Error> {
        todo!()
    }

    pub fn blobs(&self) -> &Blobs {
        todo!()
    }

    /// Announcements; one who lags reads the log, so a lost one is harmless.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<(AccountId, ModSeq)> {
        todo!()
    }
}
