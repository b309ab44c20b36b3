//! Facts in memory: for a box without a disk to spare, and for tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::expiring::{Backend, Broken, Space, Tables, View, Visit};

/// What a row costs beside its bytes, about.
const ROW_BYTES: usize = 64;

pub(super) struct Memory {
    rows: Mutex<Rows>,
    bytes: usize,
}

#[derive(Default)]
struct Rows {
    facts: BTreeMap<Vec<u8>, Vec<u8>>,
    expiry: BTreeMap<Vec<u8>, Vec<u8>>,
    used: usize,
    bytes: usize,
}

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        Memory { rows: Mutex::new(Rows { bytes, ..Rows::default() }), bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn space(&self, space: Space) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        match space {
            Space::Facts => &self.facts,
            Space::Expiry => &self.expiry,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        match space {
            Space::Facts => &mut self.facts,
            Space::Expiry => &mut self.expiry,
        }
    }
}

impl View for Rows {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        Ok(self.space(space).get(key).cloned())
    }

    fn range(&self, space: Space, lo: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        for (key, value) in self.space(space).range::<[u8], _>((Bound::Included(lo), Bound::Unbounded)) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Tables for Rows {
    fn set(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.delete(space, key)?;
        self.space_mut(space).insert(key.to_vec(), value.to_vec());
        self.used += ROW_BYTES + key.len() + value.len();
        Ok(())
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<(), Broken> {
        if let Some(value) = self.space_mut(space).remove(key) {
            self.used = self.used.saturating_sub(ROW_BYTES + key.len() + value.len());
        }
        Ok(())
    }

    fn is_over_full(&self) -> Result<bool, Broken> {
        Ok(self.used > self.bytes)
    }
}

impl Backend for Memory {
    fn read<T>(&self, act: &dyn Fn(&dyn View) -> Result<T, Broken>) -> Result<T, Broken> {
        act(&*self.lock())
    }

    fn write<T>(&self, act: &dyn Fn(&mut dyn Tables) -> Result<T, Broken>) -> Result<T, Broken> {
        act(&mut *self.lock())
    }

    fn reset(&self, why: &Broken) {
        tracing::warn!(why = %why.why, "forgetting what was looked up");
        *self.lock() = Rows { bytes: self.bytes, ..Rows::default() };
    }

    fn flush(&self) -> Result<(), Broken> {
        Ok(())
    }
}
