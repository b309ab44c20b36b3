//! What the writer, the readers and the blob store have in common.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::options::Options;
use super::rows::Rows;
use super::segment;
use crate::base::{AccountId, ModSeq};
use crate::store::Error;
use crate::store::blob::file::{self, Index};
use crate::store::disk::{Disk, DiskFile};

/// Open files kept at most.
const MAX_HANDLES: usize = 256;

pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub options: Options,
    pub rows: Rows,
    pub pins: Pins,
    pub handles: Handles,
    pub counts: Counts,
    /// Too little room for new letters.
    pub low: AtomicBool,
    /// Held while the ballast is made or given back.
    pub room: Mutex<()>,
    /// Bytes of letters in memory that no transaction has taken yet.
    pub staged_bytes: AtomicUsize,
    /// Numbers of letter files that somebody still may name.
    pub live_files: Mutex<HashSet<u64>>,
    /// Leads the rows back after a failure; set once the writer runs.
    pub heal: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub announce: tokio::sync::broadcast::Sender<(AccountId, ModSeq)>,
}

impl Shared {
    pub fn new(disk: Arc<dyn Disk>, options: Options) -> Shared {
        Shared {
            disk,
            options,
            rows: Rows::closed(),
            pins: Pins::default(),
            handles: Handles::default(),
            counts: Counts::default(),
            low: AtomicBool::new(false),
            room: Mutex::new(()),
            staged_bytes: AtomicUsize::new(0),
            live_files: Mutex::default(),
            heal: OnceLock::new(),
            announce: tokio::sync::broadcast::channel(1024).0,
        }
    }

    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    pub fn live_files(&self) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.live_files)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Which states are being looked at: bytes deleted after the oldest of them must stay.
#[derive(Default)]
pub(crate) struct Pins {
    held: Mutex<BTreeMap<u64, usize>>,
    /// The number of the last record that is visible.
    pub visible: AtomicU64,
}

impl Pins {
    fn pin(&self) -> u64 {
        let mut held = lock(&self.held);
        let at = self.visible.load(Ordering::SeqCst);
        *held.entry(at).or_default() += 1;
        at
    }

    fn unpin(&self, at: u64) {
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                held.remove(&at);
            }
        }
    }

    /// Whether nobody looks at a state before record `sequence`.
    pub fn passed(&self, sequence: u64) -> bool {
        lock(&self.held).first_key_value().is_none_or(|(oldest, _)| *oldest >= sequence)
    }
}

/// Somebody looks at the state that is visible now: until this is dropped, bytes of letters that are deleted later stay.
pub(crate) struct Pin {
    pub shared: Arc<Shared>,
    at: u64,
}

impl Pin {
    pub fn new(shared: &Arc<Shared>) -> Pin {
        Pin { at: shared.pins.pin(), shared: shared.clone() }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.pins.unpin(self.at);
    }
}

/// A file that letters are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Home {
    Segment(u64),
    File(u64),
}

impl Home {
    pub fn name(self) -> String {
        match self {
            Home::Segment(number) => segment::name(number),
            Home::File(number) => file::name(number),
        }
    }
}

/// An open file, and for a letter file its index once it was read.
pub(crate) struct Open {
    pub file: Arc<dyn DiskFile>,
    pub index: OnceLock<Arc<Index>>,
}

/// Files kept open for reading.
#[derive(Default)]
pub(crate) struct Handles {
    open: Mutex<HashMap<Home, Arc<Open>>>,
}

impl Handles {
    pub fn get(&self, disk: &dyn Disk, home: Home) -> Result<Arc<Open>, Error> {
        if let Some(open) = lock(&self.open).get(&home) {
            return Ok(open.clone());
        }
        let file = disk.open(&home.name()).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Corrupt(format!("{} is missing", home.name())),
            _ => Error::from(error),
        })?;
        let open = Arc::new(Open { file, index: OnceLock::new() });
        let mut all = lock(&self.open);
        if all.len() >= MAX_HANDLES {
            // Which half goes matters little: opening again costs microseconds.
            let mut keep = false;
            all.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        all.insert(home, open.clone());
        Ok(open)
    }

    pub fn forget(&self, home: Home) {
        lock(&self.open).remove(&home);
    }
}

/// Counts since the store was opened.
#[derive(Default)]
pub(crate) struct Counts {
    pub syncs: AtomicU64,
    pub records: AtomicU64,
    pub record_bytes: AtomicU64,
    pub letter_file_bytes: AtomicU64,
    pub closures: AtomicU64,
    pub checkpoints: AtomicU64,
    pub fences: AtomicU64,
    pub replayed: AtomicU64,
}

impl Counts {
    pub fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_the_oldest_who_looks() {
        let pins = Pins::default();
        pins.visible.store(5, Ordering::SeqCst);
        let old = pins.pin();
        pins.visible.store(9, Ordering::SeqCst);
        let new = pins.pin();
        assert!(pins.passed(5) && !pins.passed(6));
        pins.unpin(old);
        assert!(pins.passed(9) && !pins.passed(10));
        pins.unpin(new);
        assert!(pins.passed(100));
    }
}
