//! A disk in memory that breaks on purpose, always in the same way for the same seed.
//!
//! Every call is numbered. The n-th can be made to fail, or to be the moment of a power cut: from then on every call fails
//! until [`SimDisk::reboot`], which decides sector by sector and name by name what of the unsynced state survived.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, SECTOR, Site};

/// What happens at a numbered call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails; a write may be there in part.
    Eio,
    /// The call fails for want of room, if it is one that takes room.
    Enospc,
    /// The power goes.
    Cut,
}

#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    /// Decides what survives a cut.
    pub seed: u64,
    /// What happens at which call (the first is 1).
    pub faults: Vec<(u64, Fault)>,
    /// Syncs of this kind do nothing: a control run, in which a loss must be found.
    pub ignored: Option<Site>,
    /// Room in bytes; `None` is without end.
    pub capacity: Option<u64>,
}

/// Room is taken in pieces of this many bytes.
const BLOCK: usize = 4096;

/// A simulated disk; clones are handles to the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Sim>>);

struct Sim {
    options: SimOptions,
    random: u64,
    calls: u64,
    dead: bool,
    /// Counts reboots: handles opened before one are dead.
    life: u64,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the folder, in order.
    pending: Vec<NameChange>,
}

#[derive(Clone)]
struct NameChange {
    removed: Option<String>,
    set: Option<(String, u64)>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// By block: whether its room is taken. The others are holes.
    blocks: Vec<bool>,
    taken: usize,
    durable_len: usize,
    /// What unsynced sectors held when they were last durable.
    before: BTreeMap<usize, Vec<u8>>,
    /// The same for sectors whose sync failed: the machine takes them for written, so that no later sync writes them, unless
    /// they are changed again.
    forgotten: BTreeMap<usize, Vec<u8>>,
}

enum Kind {
    Read,
    Grow,
    Change,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    pub fn new(options: SimOptions) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Sim {
            random: options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            options,
            calls: 0,
            dead: false,
            life: 0,
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
        })))
    }

    /// A disk on which nothing goes wrong.
    pub fn sound() -> SimDisk {
        SimDisk::new(SimOptions::default())
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Whether the power has gone.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// From now on these faults, counted from the calls made so far.
    pub fn plan(&self, faults: &[(u64, Fault)]) {
        let mut sim = self.lock();
        let calls = sim.calls;
        sim.options.faults = faults.iter().map(|&(n, fault)| (calls.saturating_add(n), fault)).collect();
    }

    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock().options.capacity = capacity;
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.lock().dead = true;
    }

    /// The power comes back after a cut: unsynced sectors, lengths and names survived or not, as the seed decides.
    pub fn reboot(&self) {
        self.lock().reboot();
    }

    /// After [`SimDisk::cut`], instead of a reboot: only the process died, and all that was written is still there to be read,
    /// synced or not. (What had the disk open must be dropped between the two, as a process that dies is.)
    pub fn kill(&self) {
        let mut sim = self.lock();
        sim.dead = false;
        sim.life += 1;
    }

    /// Changes one byte where nobody looks, for tests of corruption.
    pub fn damage(&self, name: &str, offset: usize) {
        let mut sim = self.lock();
        if let Some(&id) = sim.names.get(name)
            && let Some(byte) = sim.files.get_mut(&id).and_then(|file| file.bytes.get_mut(offset))
        {
            *byte ^= 0x40;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Sim {
    fn coin(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) & 1 == 1
    }

    /// Numbers a call; the fault of an `Ok` call that must take effect in part is given back.
    fn enter(&mut self, kind: Kind) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(eio());
        }
        self.calls += 1;
        let calls = self.calls;
        match self.options.faults.iter().find(|(n, _)| *n == calls).map(|(_, fault)| *fault) {
            Some(Fault::Cut) => {
                self.dead = true;
                Ok(Some(Fault::Cut))
            }
            Some(Fault::Enospc) if matches!(kind, Kind::Grow) => Err(enospc()),
            Some(Fault::Enospc) | None => Ok(None),
            Some(Fault::Eio) => Ok(Some(Fault::Eio)),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|file| (file.taken * BLOCK) as u64).sum()
    }

    /// Takes the room of a file's bytes from `start` to `end`.
    fn take_room(&mut self, id: u64, start: usize, end: usize) -> io::Result<()> {
        let used = self.used();
        let capacity = self.options.capacity;
        let file = self.files.get_mut(&id).ok_or_else(not_found)?;
        let wanted = start / BLOCK..end.div_ceil(BLOCK);
        let more = wanted.clone().filter(|block| !file.blocks.get(*block).copied().unwrap_or(false)).count();
        if more > 0 && capacity.is_some_and(|capacity| used + (more * BLOCK) as u64 > capacity) {
            return Err(enospc());
        }
        if file.blocks.len() < wanted.end {
            file.blocks.resize(wanted.end, false);
        }
        file.blocks[wanted].fill(true);
        file.taken += more;
        Ok(())
    }

    fn reboot(&mut self) {
        let ids: Vec<u64> = self.files.keys().copied().collect();
        for id in ids {
            let Some(mut file) = self.files.remove(&id) else { continue };
            if file.bytes.len() != file.durable_len && self.coin() {
                file.resize(file.durable_len);
            }
            let mut unsynced = std::mem::take(&mut file.forgotten);
            unsynced.append(&mut file.before);
            for (sector, before) in unsynced {
                if self.coin() {
                    continue;
                }
                let start = sector * SECTOR;
                for (at, byte) in before.into_iter().enumerate() {
                    if let Some(place) = file.bytes.get_mut(start + at) {
                        *place = byte;
                    }
                }
            }
            file.before.clear();
            file.durable_len = file.bytes.len();
            self.files.insert(id, file);
        }
        let mut names = std::mem::take(&mut self.durable_names);
        for change in std::mem::take(&mut self.pending) {
            if self.coin() {
                change.apply(&mut names);
            }
        }
        self.files.retain(|id, _| names.values().any(|named| named == id));
        self.names = names.clone();
        self.durable_names = names;
        self.dead = false;
        self.life += 1;
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(removed) = &self.removed {
            names.remove(removed);
        }
        if let Some((name, id)) = &self.set {
            names.insert(name.clone(), *id);
        }
    }
}

impl Content {
    /// Keeps what the sectors from `start` to `end` hold, unless they are unsynced already.
    fn keep(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let from = sector * SECTOR;
            if self.before.contains_key(&sector) {
                continue;
            }
            if let Some(old) = self.forgotten.remove(&sector) {
                self.before.insert(sector, old);
                continue;
            }
            let mut old = vec![0u8; SECTOR];
            if from < self.bytes.len() {
                let to = (from + SECTOR).min(self.bytes.len());
                old[..to - from].copy_from_slice(&self.bytes[from..to]);
            }
            self.before.insert(sector, old);
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.keep(offset, offset + bytes.len());
        if self.bytes.len() < offset + bytes.len() {
            self.bytes.resize(offset + bytes.len(), 0);
        }
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn resize(&mut self, len: usize) {
        if len < self.bytes.len() {
            self.keep(len, self.bytes.len());
        }
        self.bytes.resize(len, 0);
        for freed in self.blocks.drain(len.div_ceil(BLOCK).min(self.blocks.len())..) {
            self.taken -= usize::from(freed);
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut sim = self.lock();
        let fault = sim.enter(Kind::Grow)?;
        if fault == Some(Fault::Eio) {
            return Err(eio());
        }
        if sim.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let id = sim.next_file;
        sim.next_file += 1;
        sim.files.insert(id, Content::default());
        sim.change(NameChange { removed: None, set: Some((name.to_string(), id)) });
        if fault.is_some() {
            return Err(eio());
        }
        Ok(Arc::new(SimFile { disk: self.clone(), id, life: sim.life }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut sim = self.lock();
        if sim.enter(Kind::Read)?.is_some() {
            return Err(eio());
        }
        let id = *sim.names.get(name).ok_or_else(not_found)?;
        Ok(Arc::new(SimFile { disk: self.clone(), id, life: sim.life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut sim = self.lock();
        let fault = sim.enter(Kind::Change)?;
        if fault == Some(Fault::Eio) {
            return Err(eio());
        }
        let id = *sim.names.get(from).ok_or_else(not_found)?;
        sim.change(NameChange { removed: Some(from.to_string()), set: Some((to.to_string(), id)) });
        if fault.is_some() { Err(eio()) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut sim = self.lock();
        let fault = sim.enter(Kind::Change)?;
        if fault == Some(Fault::Eio) {
            return Err(eio());
        }
        if !sim.names.contains_key(name) {
            return Err(not_found());
        }
        sim.change(NameChange { removed: Some(name.to_string()), set: None });
        if fault.is_some() { Err(eio()) } else { Ok(()) }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut sim = self.lock();
        if sim.enter(Kind::Read)?.is_some() {
            return Err(eio());
        }
        Ok(sim.names.keys().cloned().collect())
    }

    fn sync_dir(&self, site: Site) -> io::Result<()> {
        let mut sim = self.lock();
        if sim.enter(Kind::Change)?.is_some() {
            return Err(eio());
        }
        if sim.options.ignored != Some(site) {
            sim.pending.clear();
            sim.durable_names = sim.names.clone();
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let mut sim = self.lock();
        if sim.enter(Kind::Read)?.is_some() {
            return Err(eio());
        }
        Ok(sim.options.capacity.map_or(1 << 40, |capacity| capacity.saturating_sub(sim.used())))
    }

    fn block(&self) -> io::Result<u64> {
        Ok(BLOCK as u64)
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
    life: u64,
}

impl SimFile {
    fn with<T>(&self, kind: Kind, act: impl FnOnce(&mut Sim, u64, Option<Fault>) -> io::Result<T>) -> io::Result<T> {
        let mut sim = self.disk.lock();
        if sim.life != self.life {
            return Err(eio());
        }
        let fault = sim.enter(kind)?;
        let done = act(&mut sim, self.id, fault)?;
        if fault.is_some() { Err(eio()) } else { Ok(done) }
    }
}

impl Sim {
    fn file(&mut self, id: u64) -> io::Result<&mut Content> {
        self.files.get_mut(&id).ok_or_else(not_found)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(Kind::Read, |sim, id, _| Ok(sim.file(id)?.bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(Kind::Read, |sim, id, _| {
            // As on any disk, nothing can be read anywhere.
            if out.is_empty() {
                return Ok(());
            }
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let end = start.saturating_add(out.len());
            let bytes = sim.file(id)?.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(Kind::Grow, |sim, id, fault| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            sim.take_room(id, start, start + bytes.len())?;
            // A write that fails may have been done in part.
            let bytes = if fault == Some(Fault::Eio) { &bytes[..bytes.len() / 2] } else { bytes };
            sim.file(id)?.write(start, bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(Kind::Grow, |sim, id, fault| {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            if fault != Some(Fault::Eio) {
                sim.file(id)?.resize(len);
            }
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(Kind::Grow, |sim, id, fault| {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            if sim.file(id)?.bytes.len() < len && fault != Some(Fault::Eio) {
                sim.take_room(id, 0, len)?;
                sim.file(id)?.resize(len);
            }
            Ok(())
        })
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        self.with(Kind::Change, |sim, id, fault| {
            // A sync that fails has made nothing sure, and one that the cut interrupts neither.
            if fault == Some(Fault::Eio) {
                let file = sim.file(id)?;
                file.forgotten.append(&mut file.before);
            } else if fault.is_none() && sim.options.ignored != Some(site) {
                let file = sim.file(id)?;
                file.before.clear();
                file.durable_len = file.bytes.len();
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivors(seed: u64, site: Site, ignored: Option<Site>) -> Option<Vec<u8>> {
        let disk = SimDisk::new(SimOptions { seed, ignored, ..SimOptions::default() });
        let file = disk.create("a").unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync(site).unwrap();
        disk.sync_dir(site).unwrap();
        file.write_at(0, &[2; 2048]).unwrap();
        disk.cut();
        assert!(file.len().is_err());
        disk.reboot();
        assert!(file.len().is_err(), "a handle from before the cut is dead");
        let file = disk.open("a").ok()?;
        let mut out = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(0, &mut out).unwrap();
        Some(out)
    }

    #[test]
    fn synced_bytes_survive_and_later_ones_sector_by_sector() {
        let mut mixed = false;
        for seed in 0..20 {
            let bytes = survivors(seed, Site::Other, None).unwrap();
            assert_eq!(bytes.len(), 2048);
            assert!(bytes.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0] && *byte != 0)));
            mixed |= bytes[0] != bytes[512] || bytes[512] != bytes[1024];
            assert_eq!(Some(bytes), survivors(seed, Site::Other, None), "the same seed gives the same disk");
        }
        assert!(mixed);
    }

    #[test]
    fn a_sync_taken_away_loses_names_and_bytes() {
        let runs: Vec<_> = (0..20).map(|seed| survivors(seed, Site::Record, Some(Site::Record))).collect();
        assert!(runs.iter().any(Option::is_none));
        assert!(runs.iter().flatten().any(|bytes| bytes.is_empty() || bytes.contains(&0)));
    }

    #[test]
    fn a_sync_after_a_failed_one_saves_only_what_was_written_again() {
        let lost = (0..20).any(|seed| {
            let disk = SimDisk::new(SimOptions { seed, faults: vec![(4, Fault::Eio)], ..Default::default() });
            let file = disk.create("a").unwrap();
            disk.sync_dir(Site::Other).unwrap();
            file.write_at(0, &[1; 1024]).unwrap();
            assert!(file.sync(Site::Other).is_err());
            file.write_at(512, &[1; 512]).unwrap();
            file.sync(Site::Other).unwrap();
            disk.cut();
            disk.reboot();
            let mut out = [0; 1024];
            disk.open("a").unwrap().read_at(0, &mut out).unwrap();
            assert_eq!(out[512..], [1; 512]);
            out[0] == 0
        });
        assert!(lost);
    }

    #[test]
    fn the_nth_call_fails_and_no_other() {
        let disk = SimDisk::new(SimOptions { faults: vec![(2, Fault::Enospc), (4, Fault::Eio)], ..Default::default() });
        let file = disk.create("a").unwrap();
        assert_eq!(file.write_at(0, b"x").unwrap_err().raw_os_error(), Some(28));
        file.write_at(0, b"x").unwrap();
        assert_eq!(file.sync(Site::Other).unwrap_err().raw_os_error(), Some(5));
        file.sync(Site::Other).unwrap();
    }
}
