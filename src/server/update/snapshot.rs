//! The stores as they were before a new version opened them, so that going back to the old version loses nothing.
//!
//! | what is there | what it means |
//! |---|---|
//! | `before-update.new` | being taken; worth nothing |
//! | `before-update` | whole; `of` in it is the slot on trial that it was taken for |
//! | `before-update.gone` | done with |
//!
//! Each change of meaning is one rename. Large letters are files that are never written again, so those are linked; all else
//! is copied: a link to a segment would see what the new version writes to it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::appliance::machine::Slot;
use crate::settings;

use super::super::folder::{Folder, remove};

/// What stays free on the disk beside the copy.
const LEFT_BYTES: u64 = 64 << 20;
/// What goes with the stores: settings, certificates, keys.
const BESIDE: [&str; 2] = [settings::FILE, "tls"];

#[derive(Clone)]
pub(super) struct Snapshot(PathBuf);

impl Snapshot {
    pub fn of(folder: &Folder) -> Snapshot {
        Snapshot(folder.path().to_owned())
    }

    /// The slot whose trial it was taken for; `None`: there is none.
    pub fn slot(&self) -> Option<Slot> {
        Slot::read(fs::read_to_string(self.at("before-update/of")).ok()?.trim())
    }

    /// Errors, in words: there is not enough room for one.
    pub fn room(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("the room on the disk cannot be told: {error}");
        let needed = size(&self.at("store")).map_err(failed)?;
        let disk = rustix::fs::statvfs(&self.0).map_err(|error| failed(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if needed.saturating_add(LEFT_BYTES) <= free {
            return Ok(());
        }
        let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
        Err(format!(
            "while a new version is tried, the mail is kept twice: that takes {} MB, and {} MB are free",
            megabytes(needed.saturating_add(LEFT_BYTES)),
            megabytes(free)
        ))
    }

    /// Before anything of the new version opened the stores. A whole one of the same trial stays as it is: by then the stores
    /// may be the new version's.
    pub fn take(&self, slot: Slot) -> Result<(), String> {
        if self.slot() == Some(slot) {
            return Ok(());
        }
        self.room()?;
        self.copy_all(slot).map_err(|error| format!("the mail cannot be kept twice for the trial: {error}"))
    }

    fn copy_all(&self, slot: Slot) -> io::Result<()> {
        let to = self.at("before-update.new");
        remove_all(&to)?;
        make(&to)?;
        copy(&self.at("store"), &to.join("store"))?;
        for name in BESIDE {
            copy(&self.at(name), &to.join(name))?;
        }
        let of = to.join("of");
        fs::write(&of, slot.as_str())?;
        File::open(&of)?.sync_all()?;
        File::open(&to)?.sync_all()?;
        fs::rename(&to, self.at("before-update"))?;
        self.sync()
    }

    /// Puts everything back. Can be cut at any point and done again.
    pub fn restore(&self) -> io::Result<()> {
        for name in ["store", BESIDE[1]] {
            let (kept, here, undone) = (self.at("before-update").join(name), self.at(name), self.at("undone"));
            if !kept.exists() {
                continue;
            }
            if here.exists() {
                remove_all(&undone)?;
                fs::rename(&here, &undone)?;
                self.sync()?;
            }
            fs::rename(&kept, &here)?;
            self.sync()?;
        }
        let kept = self.at("before-update").join(BESIDE[0]);
        if kept.exists() {
            fs::rename(kept, self.at(BESIDE[0]))?;
        }
        self.discard()?;
        self.clear()
    }

    /// It is not needed any more, from the moment this returns; [`Snapshot::clear`] takes it off the disk.
    pub fn discard(&self) -> io::Result<()> {
        let (here, gone) = (self.at("before-update"), self.at("before-update.gone"));
        if here.exists() {
            remove_all(&gone)?;
            fs::rename(here, gone)?;
        }
        self.sync()
    }

    pub fn clear(&self) -> io::Result<()> {
        for name in ["before-update.gone", "before-update.new", "undone"] {
            remove_all(&self.at(name))?;
        }
        Ok(())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// A file that is made anew when it is missing, or was never whole.
fn passes(name: &str) -> bool {
    name == "ballast" || ["spare-", "incoming-"].iter().any(|begin| name.starts_with(begin))
}

fn is_linked(name: &str) -> bool {
    name.starts_with("letter-")
}

/// What a copy takes.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !passes(&name) && !is_linked(&name) {
            let facts = entry.metadata()?;
            bytes += facts.len().max(facts.blocks() * 512);
        }
    }
    Ok(bytes)
}

/// A file, or a folder and what is in it. What is not there is not copied.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let facts = match fs::symlink_metadata(from) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if facts.is_file() {
        fs::copy(from, to)?;
        return File::open(to)?.sync_all();
    }
    if !facts.is_dir() {
        return Ok(());
    }
    make(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let (from, to, name) = (from.join(&name), to.join(&name), name.to_string_lossy());
        match (passes(&name), is_linked(&name)) {
            (true, _) => {}
            (_, true) => fs::hard_link(from, to)?,
            _ => copy(&from, &to)?,
        }
    }
    File::open(to)?.sync_all()
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}

fn remove_all(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { remove(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder, Snapshot) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        fs::create_dir(folder.store()).unwrap();
        for (name, text) in [
            ("rows.redb", "old rows"),
            ("segment-0000000000000001", "old records"),
            ("letter-0000000000000001", "a large letter"),
            ("spare-0000000000000002", "nothing"),
            ("ballast", "nothing"),
        ] {
            fs::write(folder.store().join(name), text).unwrap();
        }
        fs::write(dir.path().join(settings::FILE), "old settings").unwrap();
        let snapshot = Snapshot::of(&folder);
        (dir, folder, snapshot)
    }

    /// The new version at work.
    fn change(folder: &Folder) {
        fs::write(folder.store().join("rows.redb"), "new rows").unwrap();
        fs::write(folder.store().join("segment-0000000000000001"), "new records").unwrap();
        fs::remove_file(folder.store().join("letter-0000000000000001")).unwrap();
        fs::write(folder.path().join(settings::FILE), "new settings").unwrap();
    }

    fn is_old(folder: &Folder) {
        let text = |name: &str| fs::read_to_string(folder.store().join(name)).unwrap();
        assert_eq!(text("rows.redb"), "old rows");
        assert_eq!(text("segment-0000000000000001"), "old records");
        assert_eq!(text("letter-0000000000000001"), "a large letter");
        assert_eq!(fs::read_to_string(folder.path().join(settings::FILE)).unwrap(), "old settings");
    }

    #[test]
    fn what_a_new_version_did_is_undone() {
        let (dir, folder, snapshot) = folder();
        assert_eq!(snapshot.slot(), None);
        snapshot.take(Slot::B).unwrap();
        assert_eq!(snapshot.slot(), Some(Slot::B));
        change(&folder);
        // The same trial, after the service was started again: what is kept stays what it was.
        snapshot.take(Slot::B).unwrap();
        snapshot.restore().unwrap();
        is_old(&folder);
        assert_eq!(snapshot.slot(), None);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    /// A cut after each of the renames of a restore.
    #[test]
    fn a_restore_that_was_cut_is_ended_by_the_next() {
        for done in 0..3 {
            let (_dir, folder, snapshot) = folder();
            snapshot.take(Slot::B).unwrap();
            change(&folder);
            if done > 0 {
                fs::rename(folder.store(), snapshot.at("undone")).unwrap();
            }
            if done > 1 {
                fs::rename(snapshot.at("before-update/store"), folder.store()).unwrap();
            }
            snapshot.restore().unwrap();
            is_old(&folder);
        }
    }

    #[test]
    fn half_a_snapshot_is_none_and_one_that_is_discarded_is_none() {
        let (_dir, _folder, snapshot) = folder();
        fs::create_dir(snapshot.at("before-update.new")).unwrap();
        fs::write(snapshot.at("before-update.new/of"), "b").unwrap();
        assert_eq!(snapshot.slot(), None);
        snapshot.take(Slot::A).unwrap();
        snapshot.discard().unwrap();
        assert_eq!(snapshot.slot(), None);
        snapshot.clear().unwrap();
    }
}
