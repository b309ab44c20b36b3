//! Facts with a date of expiry: reputation, greylist, rate counters, who was written to. All of it may be lost (P4).
//!
//! Does not know: what a fact means, the clock (time is handed in).
//!
//! Three backends behind one trait: [`file`] (redb, a file of its own), [`memory`], and with the feature `lookup-sled`
//! sled. What a fact is, when it is gone and how many there may be is written once, in `expiring.rs`; a backend only keeps
//! bytes. One suite, in `conformance.rs`, runs over all.
//!
//! Invariants, cited by tests:
//! - L1: nothing here fails. A file that is lost, damaged or on a full disk means starting empty, never an error and never
//!   a store that does not open (P9).
//! - L2: a fact is not seen from the moment it expires on, swept or not.
//! - L3: what strangers make it keep is bounded; what would expire first makes room (P7).

mod expiring;
mod memory;
mod redb;
#[cfg(feature = "lookup-sled")]
mod sled;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

use crate::base::Time;

use super::disk::Disk;

use expiring::Expiring;

/// Longer keys and values than these are not kept.
pub const KEY_BYTES: usize = 1024;
pub const VALUE_BYTES: usize = 64 * 1024;

/// Expiring facts. Every call may block on the disk for a moment; none waits for a sync of its own.
pub trait Lookup: Send + Sync + 'static {
    fn get(&self, key: &[u8], now: Time) -> Option<Vec<u8>>;

    /// Keeps a value until `expires`, in place of the one that was there.
    fn put(&self, key: &[u8], value: &[u8], expires: Time, now: Time);

    /// Adds to a counter and gives what it is then. A counter that was not there (or a value that is none) starts at 0 and
    /// lives until `expires`; one that was keeps its own time, so that a window of time ends when it was to end.
    fn add(&self, key: &[u8], by: i64, expires: Time, now: Time) -> i64;

    fn delete(&self, key: &[u8]);

    /// The facts whose keys begin with `prefix` and are greater than `after` (empty: from the first), in the order of
    /// their keys, at most `limit`.
    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize, now: Time) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Takes the room of facts that have expired, at most `limit` of them at a time; gives how many. To be called now and
    /// then, again at once while it gives `limit`.
    fn sweep(&self, limit: usize, now: Time) -> usize;

    /// Makes durable what is known now; for a clean stop.
    fn flush(&self);
}

/// Facts in `lookup.redb`. A cut forgets the newest of them; a file that does not open is begun anew.
pub fn file(disk: Arc<dyn Disk>) -> Arc<dyn Lookup> {
    Arc::new(Expiring(redb::File::open(disk, redb::ROWS)))
}

/// Facts in memory, at most `bytes` of them.
pub fn memory(bytes: usize) -> Arc<dyn Lookup> {
    Arc::new(Expiring(memory::Memory::new(bytes)))
}

/// Facts in memory over rows as they are given, for tests that hand in any bytes: first keys and facts, then due keys.
#[doc(hidden)]
pub fn memory_over(facts: &[(&[u8], &[u8])], due: &[&[u8]]) -> Arc<dyn Lookup> {
    use expiring::{Backend, Space};
    let memory = memory::Memory::new(1 << 20);
    let _ = memory.write(&|tables| {
        for (key, row) in facts {
            tables.set(Space::Facts, key, row)?;
        }
        due.iter().try_for_each(|key| tables.set(Space::Expiry, key, &[]))
    });
    Arc::new(Expiring(memory))
}

/// Facts in a folder of sled's.
#[cfg(feature = "lookup-sled")]
pub fn sled(folder: std::path::PathBuf) -> Arc<dyn Lookup> {
    Arc::new(Expiring(sled::Sled::open(folder, sled::ROWS)))
}
