//! redb over our disk: the one place that opens it, begins its transactions and knows its errors.

use std::cell::OnceCell;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition,
    TableError, WriteTransaction,
};

use super::Order;
use super::record::{Identity, Layer, Position, Reader};
use crate::store::disk::{DiskFile, Site};
use crate::store::{Error, Table};

pub(crate) const FILE: &str = "rows.redb";

type Bytes = &'static [u8];
type Definition = TableDefinition<'static, Bytes, Bytes>;

/// What the store keeps for itself: who it is, and how far the records are applied.
const STATE: Definition = TableDefinition::new("state");
const IDENTITY: &[u8] = b"identity";
const POSITION: &[u8] = b"position";

fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// A database that may be away while it is reopened.
pub(crate) struct Rows {
    db: Mutex<Option<Arc<Database>>>,
    pub written: Arc<AtomicU64>,
    /// Set by any failure: redb refuses everything after one, until it is opened again.
    failed: Arc<AtomicBool>,
}

impl Rows {
    pub fn closed() -> Rows {
        Rows { db: Mutex::new(None), written: Arc::default(), failed: Arc::default() }
    }

    /// Whether something failed since the database was opened.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.db.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Opens the file, or makes a database of an empty one.
    pub fn open(&self, file: Arc<dyn DiskFile>, cache_bytes: usize) -> Result<(), Error> {
        self.failed.store(false, Ordering::Relaxed);
        let backend = Backend { file, written: self.written.clone(), failed: self.failed.clone() };
        // redb may panic on a file that was altered behind its back; that is one more way of not opening.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)
        }));
        let db = match opened {
            Ok(opened) => opened.map_err(database)?,
            Err(_) => return Err(Error::Corrupt("the rows' file does not open".into())),
        };
        *self.lock() = Some(Arc::new(db));
        Ok(())
    }

    /// Drops the database. Transactions applied but not yet durable become so if the file can still be written.
    pub fn close(&self) -> Result<(), Error> {
        let Some(db) = self.lock().take() else { return Ok(()) };
        match Arc::try_unwrap(db) {
            Ok(db) => db.close().map_err(database),
            Err(_) => Ok(()),
        }
    }

    fn db(&self) -> Result<Arc<Database>, Error> {
        self.lock().clone().ok_or(Error::Closed)
    }

    pub fn view(&self) -> Result<View, Error> {
        // Begun under the lock, so that `close` never meets a reader that is just starting.
        let guard = self.lock();
        let db = guard.as_ref().ok_or(Error::Closed)?;
        let transaction = db.begin_read().map_err(|error| transaction(&error))?;
        Ok(View { transaction, tables: Default::default() })
    }

    /// Begins every write transaction there is: without a flush, or with one from which the next start is quick. (redb's
    /// own default is a flush after which the next start reads the whole file.)
    fn begin(db: &Database, durable: bool) -> Result<WriteTransaction, Error> {
        let mut txn = db.begin_write().map_err(|error| transaction(&error))?;
        txn.set_quick_repair(true);
        txn.set_durability(if durable { Durability::Immediate } else { Durability::None })
            .map_err(|error| Error::Disk(error.to_string()))?;
        Ok(txn)
    }

    /// Writes the rows and how far the records are applied with them.
    pub fn apply(&self, rows: &Layer, position: &Position, durable: bool) -> Result<(), Error> {
        let db = self.db()?;
        let txn = Rows::begin(&db, durable)?;
        write(&txn, rows)?;
        put(&txn, STATE, POSITION, &position.encode())?;
        txn.commit().map_err(|error| Error::from_redb(error.into()))
    }

    /// Makes a new database this store's own.
    pub fn create(&self, identity: &Identity, rows: &Layer, position: &Position) -> Result<(), Error> {
        let db = self.db()?;
        let txn = Rows::begin(&db, true)?;
        for table in Table::ALL {
            txn.open_table(definition(table)).map_err(|error| Error::from_redb(error.into()))?;
        }
        write(&txn, rows)?;
        let mut bytes = identity.epoch.to_be_bytes().to_vec();
        bytes.extend_from_slice(&identity.key);
        put(&txn, STATE, IDENTITY, &bytes)?;
        put(&txn, STATE, POSITION, &position.encode())?;
        txn.commit().map_err(|error| Error::from_redb(error.into()))
    }
}

fn put(txn: &WriteTransaction, table: Definition, key: &[u8], value: &[u8]) -> Result<(), Error> {
    let mut table = txn.open_table(table).map_err(|error| Error::from_redb(error.into()))?;
    table.insert(key, value).map_err(|error| Error::from_redb(error.into()))?;
    Ok(())
}

fn write(txn: &WriteTransaction, rows: &Layer) -> Result<(), Error> {
    for (name, rows) in rows {
        let mut table = txn.open_table(definition(*name)).map_err(|error| Error::from_redb(error.into()))?;
        for (key, value) in rows {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice()).map(|_| ()),
                None => table.remove(key.as_slice()).map(|_| ()),
            }
            .map_err(|error| Error::from_redb(error.into()))?;
        }
    }
    Ok(())
}

fn database(error: redb::DatabaseError) -> Error {
    Error::from_redb(error.into())
}

fn transaction(error: &redb::TransactionError) -> Error {
    Error::Disk(error.to_string())
}

impl Error {
    pub(crate) fn from_redb(error: redb::Error) -> Error {
        match error {
            // What redb says of a file that does not begin as its own do: nothing that another disk would mend.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Error::Corrupt(error.to_string()),
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(what) => Error::Corrupt(what),
            redb::Error::DatabaseClosed => Error::Closed,
            other => Error::Disk(other.to_string()),
        }
    }
}

/// A consistent view of the rows.
pub(crate) struct View {
    transaction: ReadTransaction,
    /// By table number; `None` inside if the database does not have that table yet.
    tables: [OnceCell<Option<ReadOnlyTable<Bytes, Bytes>>>; 32],
}

impl View {
    fn table(&self, table: Table) -> Result<Option<&ReadOnlyTable<Bytes, Bytes>>, Error> {
        let Some(cell) = self.tables.get(table as usize) else {
            return Err(Error::Corrupt(format!("no place for table {table:?}")));
        };
        if cell.get().is_none() {
            let opened = match self.transaction.open_table(definition(table)) {
                Ok(opened) => Some(opened),
                Err(TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(Error::from_redb(error.into())),
            };
            let _ = cell.set(opened);
        }
        Ok(cell.get().and_then(Option::as_ref))
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table(table)? else { return Ok(None) };
        let found = table.get(key).map_err(|error| Error::from_redb(error.into()))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    pub fn scan(
        &self,
        table: Table,
        lo: &[u8],
        hi: &[u8],
        order: Order,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let Some(table) = self.table(table)? else { return Ok(()) };
        if lo >= hi {
            return Ok(());
        }
        let mut range = table.range(lo..hi).map_err(|error| Error::from_redb(error.into()))?;
        loop {
            let row = match order {
                Order::Forward => range.next(),
                Order::Backward => range.next_back(),
            };
            let Some(row) = row else { return Ok(()) };
            let (key, value) = row.map_err(|error| Error::from_redb(error.into()))?;
            if visit(key.value(), value.value()).is_break() {
                return Ok(());
            }
        }
    }

    fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let table = match self.transaction.open_table(STATE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(Error::from_redb(error.into())),
        };
        let found = table.get(key).map_err(|error| Error::from_redb(error.into()))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// Who this store is; `None` for a database that was never finished.
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        let Some(bytes) = self.state(IDENTITY)? else { return Ok(None) };
        let mut reader = Reader(&bytes);
        Ok(Some(Identity { epoch: reader.u64()?, key: reader.array()? }))
    }

    pub fn position(&self) -> Result<Option<Position>, Error> {
        self.state(POSITION)?.map(|bytes| Position::decode(&bytes)).transpose()
    }
}

/// A file of ours as redb wants it. Locks are not its business: one lock on the folder decides who opens the stores.
struct Backend {
    file: Arc<dyn DiskFile>,
    written: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Backend {
    fn note<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.file.read_at(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync(Site::Rows))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.note(self.file.write_at(offset, data))
    }
}
