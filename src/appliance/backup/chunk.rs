//! Rows cut into chunks where their keys say so, so that a change in one place leaves the others as they were.
//!
//! In a chunk a row is the length of its key (u32, big-endian), the key, the length of its value (u32), the value.

/// One key in this many begins a chunk, about.
const ROWS: u16 = 512;
/// A chunk that is longer ends, wherever it is.
const BYTES: usize = 256 << 10;
/// None is longer: one row more than that, and no row comes near this.
pub(super) const MOST: u64 = 64 << 20;

/// Whether a chunk begins with this key.
fn begins(key: &[u8]) -> bool {
    let hash = blake3::hash(key);
    let [first, second, ..] = hash.as_bytes();
    u16::from_be_bytes([*first, *second]).is_multiple_of(ROWS)
}

/// Gathers rows, and says when a chunk is full.
#[derive(Default)]
pub(super) struct Cutter {
    bytes: Vec<u8>,
    rows: u64,
}

impl Cutter {
    /// Adds a row. What is handed back is the chunk before it.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Option<(Vec<u8>, u64)> {
        let full = self.next(key);
        for field in [key, value] {
            self.bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
            self.bytes.extend_from_slice(field);
        }
        full
    }

    /// The same for a line of text.
    pub fn line(&mut self, key: &[u8], line: &str) -> Option<(Vec<u8>, u64)> {
        let full = self.next(key);
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        full
    }

    fn next(&mut self, key: &[u8]) -> Option<(Vec<u8>, u64)> {
        let full = if begins(key) || self.bytes.len() >= BYTES { self.end() } else { None };
        self.rows += 1;
        full
    }

    /// The last chunk; `None` if it is empty.
    pub fn end(&mut self) -> Option<(Vec<u8>, u64)> {
        let rows = std::mem::take(&mut self.rows);
        (rows > 0).then(|| (std::mem::take(&mut self.bytes), rows))
    }
}

/// The rows of a chunk; `None` if it is not one.
pub(super) fn rows(mut bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut field = || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        bytes = rest;
        Some((field.to_vec(), rest.is_empty()))
    };
    let mut rows = Vec::new();
    loop {
        let (key, _) = field()?;
        let (value, last) = field()?;
        rows.push((key, value));
        if last {
            return Some(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashSet};

    fn cut(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::default();
        let mut chunks: Vec<Vec<u8>> =
            rows.iter().filter_map(|(key, value)| cutter.row(key, value)).map(|(chunk, _)| chunk).collect();
        chunks.extend(cutter.end().map(|(chunk, _)| chunk));
        chunks
    }

    #[test]
    fn a_change_in_one_place_changes_one_chunk() {
        let mut all: BTreeMap<Vec<u8>, Vec<u8>> =
            (0..20_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![1; 40])).collect();
        let before: HashSet<Vec<u8>> = cut(&all).into_iter().collect();
        assert!((20..80).contains(&before.len()), "{}", before.len());
        all.insert(vec![0, 0, 9, 9, 9], vec![2]);
        all.remove(12_000u32.to_be_bytes().as_slice());
        let after: HashSet<Vec<u8>> = cut(&all).into_iter().collect();
        assert!(after.difference(&before).count() <= 4);
    }

    proptest! {
        #[test]
        fn rows_come_back(all: BTreeMap<Vec<u8>, Vec<u8>>) {
            let back: Vec<_> = cut(&all).iter().flat_map(|chunk| rows(chunk).unwrap()).collect();
            prop_assert_eq!(back, all.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn anything_else_is_no_chunk_and_no_panic(bytes: Vec<u8>) {
            let _ = rows(&bytes);
        }
    }
}
