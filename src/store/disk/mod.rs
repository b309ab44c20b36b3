//! The disk below the stores: one flat folder of files, real ([`RealDisk`]) or simulated ([`SimDisk`]).
//!
//! Does not know: what the files mean. What it promises is as little as a disk does:
//! - K1: bytes and lengths survive a cut once [`DiskFile::sync`] of that file returned.
//! - K2: a name created, renamed or removed is so after a cut once [`Disk::sync_dir`] returned.
//! - K3: what was not synced may survive all the same, sector by sector (512 bytes), in any order.
//! - K4: on FAT, [`RealDisk::orderly`] has no file lose its bytes to another one by a cut (`real.rs`).

mod real;
mod sim;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk, SimOptions};

/// What survives or not as one piece, in bytes.
pub const SECTOR: usize = 512;

/// Why a sync is made. Each place in the code that syncs has its own, so that a test can take one away and must then find
/// a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The record of a group of writes: what an acknowledgement rests on.
    Record,
    /// The name of a new segment.
    SegmentName,
    /// The segment that declares an unsynced record void.
    Fence,
    /// The last record found when the store opens, written again.
    Replay,
    /// A large letter's bytes.
    Letter,
    /// A large letter's name.
    LetterName,
    /// The rows' own file, synced by redb.
    Rows,
    /// A file of a backup, or its name.
    Archive,
    /// Anything whose loss is harmless.
    Other,
}

impl Site {
    /// Those without which something acknowledged can be lost.
    pub const NEEDED: [Site; 7] =
        [Site::Record, Site::SegmentName, Site::Fence, Site::Replay, Site::Letter, Site::LetterName, Site::Rows];
}

/// A folder of files. Names are plain file names without a slash.
pub trait Disk: Debug + Send + Sync {
    /// Makes an empty file (mode 0600), open for reading and writing; an error if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name; what had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals durable.
    fn sync_dir(&self, site: Site) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free(&self) -> io::Result<u64>;

    /// Bytes that a file takes at a time.
    fn block(&self) -> io::Result<u64>;
}

/// An open file; it stays readable when its name is removed.
#[allow(clippy::len_without_is_empty)] // emptiness is no question here, and len can fail
pub trait DiskFile: Debug + Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;

    /// Fills `out`; `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes`; beyond the end the file grows.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file or extends it with zeros that take no room.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Extends the file to `len` with zeros whose room is taken now. Never shortens.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length durable (fdatasync).
    fn sync(&self, site: Site) -> io::Result<()>;
}
