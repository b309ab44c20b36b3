//! What can be chosen when the stores are opened.

use std::sync::Arc;

use crate::base::{OsRandom, Random};

#[derive(Clone)]
pub struct Options {
    /// Store keys and file numbers come from it.
    pub random: Arc<dyn Random>,
    /// Usual length of a segment, in bytes.
    pub segment_bytes: u64,
    /// Bytes of records after which the rows are made durable in their own file.
    pub checkpoint_bytes: u64,
    /// Memory for the rows' pages, in bytes. A quarter of it may be changed pages before a checkpoint.
    pub cache_bytes: usize,
    /// Length of the file that keeps room for a segment and the worst checkpoint, in bytes; 0 for none.
    pub ballast_bytes: u64,
    /// Letters up to this length, in bytes, lie with their record; longer ones get a file.
    pub letter_bytes: usize,
    /// Bytes of letters that may wait in memory, all of them together; beyond it they go to files whatever their length.
    pub staged_bytes: usize,
    /// Closures in one group at most.
    pub group: usize,
    /// Bytes of letters after which a group takes no further closure.
    pub group_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        let cache_bytes = cache_for(memory_bytes());
        Options {
            random: Arc::new(OsRandom),
            segment_bytes: 8 << 20,
            checkpoint_bytes: 8 << 20,
            cache_bytes,
            // A checkpoint writes up to a quarter of the cache; what redb keeps of it beside comes on top.
            ballast_bytes: (8 << 20) + cache_bytes as u64 / 2,
            letter_bytes: 256 << 10,
            staged_bytes: 16 << 20,
            group: 256,
            group_bytes: 2 << 20,
        }
    }
}

/// A sixteenth of the machine's memory, from 16 to 128 MiB (redb's own default is 1 GiB).
fn cache_for(memory: Option<u64>) -> usize {
    let sixteenth = memory.unwrap_or(1 << 30) / 16;
    usize::try_from(sixteenth.clamp(16 << 20, 128 << 20)).unwrap_or(16 << 20)
}

/// The machine's memory in bytes.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_follows_the_memory_within_bounds() {
        assert_eq!(cache_for(Some(64 << 20)), 16 << 20);
        assert_eq!(cache_for(Some(1 << 30)), 64 << 20);
        assert_eq!(cache_for(Some(1 << 40)), 128 << 20);
    }
}
