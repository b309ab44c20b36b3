//! Facts in redb, in a file of their own: commits without a sync, made durable every so many, since the newest may be lost.

//!
//! A page that was altered on the disk can make redb panic, and panic again while the first panic drops its transaction,
//! which would end the process. So every page is checked when the file is opened, and what a panic has touched all the same
//! is leaked, never dropped.

use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, Table,
    TableDefinition, WriteTransaction,
};

use crate::store::disk::{Disk, DiskFile, Site};

use super::expiring::{Backend, Broken, Space, Tables, View, Visit};

pub(super) const FILE: &str = "lookup.redb";
/// Is there while the file is being opened; found at a start, it says that the last opening did not return.
pub(super) const OPENING: &str = "lookup.opening";

/// Facts at most; at some hundred bytes each a few hundred megabytes of the disk.
pub(super) const ROWS: u64 = 1_000_000;
/// The same while there is no disk and it is all in memory.
const ROWS_IN_MEMORY: u64 = 20_000;
const CACHE_BYTES: usize = 4 << 20;
/// After so many failures it stays in memory until the next start: each may have leaked what it touched.
const FAILURES: u32 = 8;
/// Writes between two durable commits: redb cannot use freed pages again before one.
const DURABLE_EVERY: u32 = 1000;

type Bytes = &'static [u8];
const FACTS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("facts");
const EXPIRY: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("expiry");

pub(super) struct File {
    disk: Arc<dyn Disk>,
    rows: u64,
    state: Mutex<State>,
}

struct State {
    /// `None` only if not even memory could be had.
    db: Option<Database>,
    rows: u64,
    since_durable: u32,
    failures: u32,
}

impl<E: Into<redb::Error>> From<E> for Broken {
    fn from(error: E) -> Broken {
        Broken::because(error.into().to_string())
    }
}

impl File {
    pub fn open(disk: Arc<dyn Disk>, rows: u64) -> File {
        let state = match existing(&disk) {
            Ok(Some(db)) => State { db: Some(db), rows, since_durable: 0, failures: 0 },
            Ok(None) => anew(&disk, rows),
            Err(why) => {
                tracing::warn!(why = %why.why, "{FILE} does not open; beginning anew");
                anew(&disk, rows)
            }
        };
        File { disk, rows, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file that is there, if it is whole.
fn existing(disk: &Arc<dyn Disk>) -> Result<Option<Database>, Broken> {
    let file = match disk.open(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Broken::because(error.to_string())),
    };
    // A file that ends the process must not do so at every start (P9).
    if let Err(error) = disk.create(OPENING) {
        return Err(Broken::because(format!("{OPENING}: {error}")));
    }
    let opened = begin(DiskBackend(file), true);
    let _ = disk.remove(OPENING);
    opened.map(Some)
}

/// An empty file in place of whatever is there, or else memory.
fn anew(disk: &Arc<dyn Disk>, rows: u64) -> State {
    let create = || {
        for name in [FILE, OPENING] {
            match disk.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Broken::because(error.to_string()));
                }
                _ => {}
            }
        }
        let file = disk.create(FILE).map_err(|error| Broken::because(error.to_string()))?;
        let db = begin(DiskBackend(file), false)?;
        disk.sync_dir(Site::Other).map_err(|error| Broken::because(error.to_string()))?;
        Ok(db)
    };
    match create() {
        Ok(db) => State { db: Some(db), rows, since_durable: 0, failures: 0 },
        Err(why) => {
            tracing::warn!(why = %why.why, "{FILE} cannot be made; keeping facts in memory until the next start");
            in_memory(rows)
        }
    }
}

fn in_memory(rows: u64) -> State {
    let db = begin(InMemoryBackend::new(), false).ok();
    State { db, rows: rows.min(ROWS_IN_MEMORY), since_durable: 0, failures: 0 }
}

fn begin(backend: impl StorageBackend, check: bool) -> Result<Database, Broken> {
    guarded(|| {
        let mut db = ManuallyDrop::new(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?);
        // Before anything is written: what was altered is found here, and not in the middle of a look-up.
        if check && !db.check_integrity()? {
            return Err(Broken::because("its pages are not what was written"));
        }
        let txn = ManuallyDrop::new(transaction(&db, true)?);
        txn.open_table(FACTS)?;
        txn.open_table(EXPIRY)?;
        ManuallyDrop::into_inner(txn).commit()?;
        Ok(ManuallyDrop::into_inner(db))
    })
}

/// Begins every write transaction there is: without a sync, or with one from which the next start is quick.
fn transaction(db: &Database, durable: bool) -> Result<WriteTransaction, Broken> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    txn.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
    Ok(txn)
}

fn guarded<T>(act: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(Broken { panicked: true, ..Broken::because("redb panicked") }))
}

impl Backend for File {
    fn read<T>(&self, act: &dyn Fn(&dyn View) -> Result<T, Broken>) -> Result<T, Broken> {
        let state = self.lock();
        let db = state.db.as_ref().ok_or_else(|| Broken::because("there is no database"))?;
        guarded(|| {
            let txn = db.begin_read()?;
            act(&Open { facts: txn.open_table(FACTS)?, expiry: txn.open_table(EXPIRY)?, rows: state.rows })
        })
    }

    fn write<T>(&self, act: &dyn Fn(&mut dyn Tables) -> Result<T, Broken>) -> Result<T, Broken> {
        let mut state = self.lock();
        let durable = state.since_durable >= DURABLE_EVERY;
        let rows = state.rows;
        let db = state.db.as_ref().ok_or_else(|| Broken::because("there is no database"))?;
        let done = guarded(|| {
            let txn = ManuallyDrop::new(transaction(db, durable)?);
            let mut open =
                ManuallyDrop::new(Open { facts: txn.open_table(FACTS)?, expiry: txn.open_table(EXPIRY)?, rows });
            let done = act(&mut *open);
            drop(ManuallyDrop::into_inner(open));
            let txn = ManuallyDrop::into_inner(txn);
            match done {
                Ok(done) => txn.commit().map(|()| done).map_err(Broken::from),
                Err(why) => txn.abort().map_err(Broken::from).and(Err(why)),
            }
        })?;
        state.since_durable = if durable { 0 } else { state.since_durable + 1 };
        Ok(done)
    }

    fn reset(&self, why: &Broken) {
        tracing::warn!(why = %why.why, "{FILE} failed; beginning anew");
        let mut state = self.lock();
        let broken = state.db.take();
        if why.panicked {
            std::mem::forget(broken);
        } else {
            let _ = guarded(|| {
                drop(broken);
                Ok(())
            });
        }
        let failures = state.failures + 1;
        *state = if failures < FAILURES { anew(&self.disk, self.rows) } else { in_memory(self.rows) };
        state.failures = failures;
    }

    fn flush(&self) -> Result<(), Broken> {
        let mut state = self.lock();
        let db = state.db.as_ref().ok_or_else(|| Broken::because("there is no database"))?;
        guarded(|| Ok(transaction(db, true)?.commit()?))?;
        state.since_durable = 0;
        Ok(())
    }
}

/// Both tables of one transaction.
struct Open<T> {
    facts: T,
    expiry: T,
    rows: u64,
}

impl<T: ReadableTable<Bytes, Bytes>> View for Open<T> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let table = match space {
            Space::Facts => &self.facts,
            Space::Expiry => &self.expiry,
        };
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn range(&self, space: Space, lo: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        let table = match space {
            Space::Facts => &self.facts,
            Space::Expiry => &self.expiry,
        };
        for row in table.range(lo..)? {
            let (key, value) = row?;
            if visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Tables for Open<Table<'_, Bytes, Bytes>> {
    fn set(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        match space {
            Space::Facts => self.facts.insert(key, value)?,
            Space::Expiry => self.expiry.insert(key, value)?,
        };
        Ok(())
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<(), Broken> {
        match space {
            Space::Facts => self.facts.remove(key)?,
            Space::Expiry => self.expiry.remove(key)?,
        };
        Ok(())
    }

    fn is_over_full(&self) -> Result<bool, Broken> {
        Ok(self.facts.len()? > self.rows)
    }
}

#[derive(Debug)]
struct DiskBackend(Arc<dyn DiskFile>);

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync(Site::Other)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
