//! Facts in sled. Its last release is from 2021, which is why it keeps nothing but what may be lost. It has its own way to
//! the disk, beside `store::disk`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sled::{Config, Db, Tree};

use super::expiring::{Backend, Broken, Space, Tables, View, Visit};

/// Facts at most.
pub(super) const ROWS: u64 = 1_000_000;
/// Its least is 256 bytes; its default is 1 GiB.
const CACHE_BYTES: u64 = 16 << 20;

pub(super) struct Sled {
    folder: PathBuf,
    state: Mutex<State>,
    limit: u64,
}

struct State {
    /// `None` only if sled opens nowhere.
    open: Option<Open>,
}

struct Open {
    db: Db,
    facts: Tree,
    expiry: Tree,
    /// sled counts its rows by reading all of them, so they are counted here.
    rows: u64,
    limit: u64,
}

impl Sled {
    pub fn open(folder: PathBuf, limit: u64) -> Sled {
        let open = match begin(Config::new().path(&folder), limit) {
            Ok(open) => Some(open),
            Err(why) => {
                tracing::warn!(why = %why.why, "the facts in sled do not open; beginning anew");
                anew(&folder, limit)
            }
        };
        Sled { folder, state: Mutex::new(State { open }), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(config: Config, limit: u64) -> Result<Open, Broken> {
    guarded(|| {
        let db = config.cache_capacity(CACHE_BYTES).open().map_err(broken)?;
        let facts = db.open_tree("facts").map_err(broken)?;
        let expiry = db.open_tree("expiry").map_err(broken)?;
        let mut rows = 0;
        for row in facts.iter() {
            row.map_err(broken)?;
            rows += 1;
        }
        Ok(Open { db, facts, expiry, rows, limit })
    })
}

/// An empty folder in place of whatever is there, or else a temporary one.
fn anew(folder: &PathBuf, limit: u64) -> Option<Open> {
    let _ = if folder.is_dir() { std::fs::remove_dir_all(folder) } else { std::fs::remove_file(folder) };
    begin(Config::new().path(folder), limit).or_else(|_| begin(Config::new().temporary(true), limit)).ok()
}

fn broken(error: sled::Error) -> Broken {
    Broken::because(error.to_string())
}

fn guarded<T>(act: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(Broken { panicked: true, ..Broken::because("sled panicked") }))
}

impl Backend for Sled {
    fn read<T>(&self, act: &dyn Fn(&dyn View) -> Result<T, Broken>) -> Result<T, Broken> {
        let state = self.lock();
        let open = state.open.as_ref().ok_or_else(|| Broken::because("there is no database"))?;
        guarded(|| act(open))
    }

    fn write<T>(&self, act: &dyn Fn(&mut dyn Tables) -> Result<T, Broken>) -> Result<T, Broken> {
        let mut state = self.lock();
        let open = state.open.as_mut().ok_or_else(|| Broken::because("there is no database"))?;
        guarded(|| act(open))
    }

    fn reset(&self, why: &Broken) {
        tracing::warn!(why = %why.why, "the facts in sled failed; beginning anew");
        let mut state = self.lock();
        // Its folder is locked until the old handle is gone.
        state.open = None;
        state.open = anew(&self.folder, self.limit);
    }

    fn flush(&self) -> Result<(), Broken> {
        let state = self.lock();
        let open = state.open.as_ref().ok_or_else(|| Broken::because("there is no database"))?;
        guarded(|| open.db.flush().map(|_| ()).map_err(broken))
    }
}

impl Open {
    fn tree(&self, space: Space) -> &Tree {
        match space {
            Space::Facts => &self.facts,
            Space::Expiry => &self.expiry,
        }
    }
}

impl View for Open {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        Ok(self.tree(space).get(key).map_err(broken)?.map(|value| value.to_vec()))
    }

    fn range(&self, space: Space, lo: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken> {
        for row in self.tree(space).range(lo..) {
            let (key, value) = row.map_err(broken)?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Tables for Open {
    fn set(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        let old = self.tree(space).insert(key, value).map_err(broken)?;
        if space == Space::Facts && old.is_none() {
            self.rows += 1;
        }
        Ok(())
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Result<(), Broken> {
        let old = self.tree(space).remove(key).map_err(broken)?;
        if space == Space::Facts && old.is_some() {
            self.rows = self.rows.saturating_sub(1);
        }
        Ok(())
    }

    fn is_over_full(&self) -> Result<bool, Broken> {
        Ok(self.rows > self.limit)
    }
}
