//! A disk that takes what is written as another one would, without changing that one: to see whether there is room.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::disk::{Disk, DiskFile, Site};

/// Files of the other one can be read, new ones are only measured.
#[derive(Debug)]
pub(super) struct Rehearsal<'a> {
    under: &'a dyn Disk,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    free: u64,
    block: u64,
    /// Names below which are not there any more.
    gone: HashSet<String>,
    new: HashMap<String, Arc<Measured>>,
}

impl State {
    fn taken(&self, len: u64) -> u64 {
        len.div_ceil(self.block).saturating_mul(self.block)
    }
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Rehearsal<'a> {
    pub fn of(under: &'a dyn Disk) -> io::Result<Rehearsal<'a>> {
        let (free, block) = (under.free()?, under.block()?.max(1));
        let state = State { free, block, gone: HashSet::new(), new: HashMap::new() };
        Ok(Rehearsal { under, state: Arc::new(Mutex::new(state)) })
    }

    /// New files that are there now.
    pub fn created(&self) -> u64 {
        locked(&self.state).new.len() as u64
    }
}

impl Disk for Rehearsal<'_> {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let below = self.under.list()?.iter().any(|there| there == name);
        let mut state = locked(&self.state);
        if state.new.contains_key(name) || (below && !state.gone.contains(name)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(Measured { len: Mutex::new(0), state: self.state.clone() });
        state.new.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = locked(&self.state);
        match state.new.get(name) {
            Some(file) => Ok(file.clone()),
            None if state.gone.contains(name) => Err(io::ErrorKind::NotFound.into()),
            None => Ok(Arc::new(Unchanged(self.under.open(name)?))),
        }
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let len = self.open(name)?.len()?;
        let mut state = locked(&self.state);
        state.free = state.free.saturating_add(state.taken(len));
        if state.new.remove(name).is_none() {
            state.gone.insert(name.to_owned());
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let below = self.under.list()?;
        let state = locked(&self.state);
        let there = below.into_iter().filter(|name| !state.gone.contains(name));
        Ok(there.chain(state.new.keys().cloned()).collect())
    }

    fn sync_dir(&self, _: Site) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(locked(&self.state).free)
    }

    fn block(&self) -> io::Result<u64> {
        Ok(locked(&self.state).block)
    }
}

/// A new file, of which nothing is kept but its length.
#[derive(Debug)]
struct Measured {
    len: Mutex<u64>,
    state: Arc<Mutex<State>>,
}

impl Measured {
    fn grow(&self, to: u64) -> io::Result<()> {
        let (mut len, mut state) = (locked(&self.len), locked(&self.state));
        let more = state.taken(to).saturating_sub(state.taken(*len));
        state.free = state.free.checked_sub(more).ok_or(io::ErrorKind::StorageFull)?;
        *len = to.max(*len);
        Ok(())
    }
}

impl DiskFile for Measured {
    fn len(&self) -> io::Result<u64> {
        Ok(*locked(&self.len))
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.grow(offset.saturating_add(bytes.len() as u64))
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.grow(len)
    }

    fn sync(&self, _: Site) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the disk below, to be read only.
#[derive(Debug)]
struct Unchanged(Arc<dyn DiskFile>);

impl DiskFile for Unchanged {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self, _: Site) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{SimDisk, SimOptions};

    #[test]
    fn what_is_tried_changes_nothing_and_takes_the_room_that_it_would() {
        let disk = SimDisk::new(SimOptions { capacity: Some(64 << 10), ..SimOptions::default() });
        let old = disk.create("old").unwrap();
        old.write_at(0, &[7; 9000]).unwrap();
        let tried = |disk: &dyn Disk| {
            disk.remove("old").unwrap();
            assert_eq!(disk.open("old").unwrap_err().kind(), io::ErrorKind::NotFound);
            for (name, len) in [("one", 1), ("two", 8192), ("three", 40_000)] {
                disk.create(name).unwrap().write_at(0, &vec![1; len]).unwrap();
                assert_eq!(disk.create(name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            }
            disk.remove("two").unwrap();
            let mut names = disk.list().unwrap();
            names.sort();
            let full = disk.create("four").unwrap().write_at(0, &[1; 40_000]).unwrap_err();
            (names, full.kind(), disk.free().unwrap())
        };
        let before = disk.free().unwrap();
        let rehearsal = Rehearsal::of(&disk).unwrap();
        let mut read = [0; 2];
        rehearsal.open("old").unwrap().read_at(8998, &mut read).unwrap();
        assert_eq!(read, [7; 2]);
        assert!(rehearsal.open("old").unwrap().write_at(0, &[1]).is_err());
        let found = tried(&rehearsal);
        assert_eq!((disk.free().unwrap(), disk.list().unwrap()), (before, vec!["old".to_owned()]));
        assert_eq!(found, tried(&disk));
        assert_eq!(found.0, ["one", "three"]);
    }
}
