//! A folder of the machine's file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Site};

/// A folder (mode 0700, files 0600).
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    handle: File,
    /// Files are opened for writing as well.
    writes: bool,
    /// Files it may have at most.
    most: usize,
    fat: Option<Arc<Fat>>,
}

/// The order that FAT does not keep by itself.
///
/// A file's entry in its folder and the chain of its clusters lie in two places, which reach the medium in any order. If power
/// goes between them there is an entry whose clusters are free. The next file gets them, and who removes the first one then
/// frees those of the second. So (K4)
/// - a name is durable, without clusters, before there is a chain; the chain before the entry names its beginning. Syncing a
///   folder writes the entries that were changed by names, then the chains of all files; syncing a file its own entry;
/// - an entry is gone for good before its chain is freed: a file without a name keeps its clusters while it is open.
///
/// When the kernel has put an entry into its buffers by itself, syncing the file passes over it: only syncing the whole
/// file system takes all that is in buffers.
#[derive(Debug)]
struct Fat {
    folder: File,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    removed: Vec<File>,
    /// What did not reach the medium then may never do so.
    failed: bool,
}

/// Removed files kept open at most: then the folder is synced in between.
const REMOVED_MOST: usize = 100;

/// Of `statfs(2)`.
const MSDOS_SUPER_MAGIC: i64 = 0x4d44;

impl Fat {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self) -> io::Result<()> {
        let mut waiting = self.waiting();
        if waiting.failed {
            return Err(io::Error::other("it could not be written to before"));
        }
        waiting.failed = true;
        self.folder.sync_all()?;
        *waiting = Waiting::default();
        Ok(())
    }

    fn removed(&self, file: File) -> io::Result<()> {
        let count = {
            let mut waiting = self.waiting();
            waiting.removed.push(file);
            waiting.removed.len()
        };
        if count < REMOVED_MOST { Ok(()) } else { self.sync() }
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.sync()?;
        file.sync_data()?;
        rustix::fs::syncfs(&self.folder)?;
        // That has the medium asked for everything, but not to put it down for good.
        self.sync()
    }
}

impl Drop for Fat {
    fn drop(&mut self) {
        // After an error on the way nobody has asked for it.
        if !self.waiting().removed.is_empty() {
            let _ = self.sync();
        }
    }
}

impl RealDisk {
    /// Opens the folder, making it (and those above it) when it is missing.
    pub fn open(folder: &Path) -> io::Result<RealDisk> {
        if !folder.is_dir() {
            let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
            let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // The folder's own name has to survive as well as what is in it; on FAT after its room (K4).
            let above = missing.last().and_then(|last| last.parent()).filter(|above| !above.as_os_str().is_empty());
            for path in missing.iter().copied().chain(above) {
                File::open(path)?.sync_all()?;
            }
        }
        RealDisk::of(folder, true)
    }

    /// Opens a folder that is there, of which nothing is changed: everything that would is an error.
    pub fn read_only(folder: &Path) -> io::Result<RealDisk> {
        RealDisk::of(folder, false)
    }

    fn of(folder: &Path, writes: bool) -> io::Result<RealDisk> {
        let handle = File::open(folder)?;
        Ok(RealDisk { folder: folder.to_path_buf(), handle, writes, most: usize::MAX, fat: None })
    }

    /// The same, but an error where there are more files: of a folder that a stranger may have filled.
    pub fn at_most(self, files: usize) -> RealDisk {
        RealDisk { most: files, ..self }
    }

    /// The same, and where it lies on FAT in an order that does no harm there (K4).
    pub fn orderly(self) -> io::Result<RealDisk> {
        // The type of this number is not the same everywhere.
        let kind = rustix::fs::fstatfs(&self.handle)?.f_type as i64;
        if kind == MSDOS_SUPER_MAGIC { self.on_fat() } else { Ok(self) }
    }

    fn on_fat(self) -> io::Result<RealDisk> {
        let fat = Fat { folder: self.handle.try_clone()?, waiting: Mutex::default() };
        Ok(RealDisk { fat: Some(Arc::new(fat)), ..self })
    }

    fn file(&self, file: File) -> Arc<dyn DiskFile> {
        Arc::new(RealFile { file, fat: self.fat.clone() })
    }

    fn may_write(&self) -> io::Result<()> {
        if self.writes { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a plain file name: {name:?}")));
        }
        Ok(self.folder.join(name))
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.may_write()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(name)?)?;
        if let Some(fat) = &self.fat {
            fat.sync()?;
        }
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(OpenOptions::new().read(true).write(self.writes).open(self.path(name)?)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        let path = self.path(name)?;
        let Some(fat) = &self.fat else { return fs::remove_file(path) };
        // One that cannot be opened can still be removed.
        let held = File::open(&path);
        fs::remove_file(&path)?;
        held.map_or(Ok(()), |file| fat.removed(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if names.len() == self.most {
                return Err(io::Error::other(format!("there are more than {} files in it", self.most)));
            }
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, _site: Site) -> io::Result<()> {
        match &self.fat {
            Some(fat) => fat.sync(),
            None => self.handle.sync_all(),
        }
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn block(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstatvfs(&self.handle)?.f_frsize)
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    fat: Option<Arc<Fat>>,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // A file system that cannot take room beforehand: a full disk then shows later, as a failed write.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(len),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        match &self.fat {
            Some(fat) => fat.sync_file(&self.file),
            None => self.file.sync_data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_read_what_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(&folder.path().join("a/b")).unwrap();
        let file = disk.create("letter").unwrap();
        file.allocate(4096).unwrap();
        file.write_at(5000, b"end").unwrap();
        file.sync(Site::Other).unwrap();
        disk.sync_dir(Site::Other).unwrap();
        assert_eq!(file.len().unwrap(), 5003);
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/b"), mode("a/b/letter")), (0o700, 0o600));
        assert_eq!(disk.list().unwrap(), ["letter"]);
        assert!(disk.create("letter").is_err());
        assert!(disk.create("../out").is_err());
    }

    #[test]
    fn a_folder_that_somebody_has_filled_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap().at_most(3);
        for name in ["a", "b", "c"] {
            disk.create(name).unwrap();
        }
        assert_eq!(disk.list().unwrap().len(), 3);
        disk.create("d").unwrap();
        assert_eq!(disk.list().unwrap_err().to_string(), "there are more than 3 files in it");
    }

    #[test]
    fn k4_what_is_removed_keeps_its_bytes_until_its_name_is_gone_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap().on_fat().unwrap();
        let held = || {
            let here = folder.path().canonicalize().unwrap();
            let handles =
                fs::read_dir("/proc/self/fd").unwrap().filter_map(|one| fs::read_link(one.unwrap().path()).ok());
            let gone = |path: &PathBuf| path.starts_with(&here) && path.to_string_lossy().ends_with(" (deleted)");
            handles.filter(gone).count()
        };
        for n in 0..REMOVED_MOST + 3 {
            disk.create(&n.to_string()).unwrap().write_at(0, b"x").unwrap();
        }
        disk.remove("0").unwrap();
        disk.remove("1").unwrap();
        assert_eq!((held(), disk.list().unwrap().len()), (2, REMOVED_MOST + 1));
        disk.sync_dir(Site::Archive).unwrap();
        assert_eq!(held(), 0);
        // Not as many as somebody likes.
        for n in 2..REMOVED_MOST + 3 {
            disk.remove(&n.to_string()).unwrap();
        }
        assert_eq!((held(), disk.list().unwrap().len()), (1, 0));
        // What is synced takes the others along.
        disk.create("last").unwrap().sync(Site::Archive).unwrap();
        assert_eq!(held(), 0);
        assert!(disk.remove("none").is_err());
        // Nobody asks for it after an error.
        disk.remove("last").unwrap();
        assert_eq!(held(), 1);
        drop(disk);
        assert_eq!(held(), 0);
        assert!(RealDisk::open(folder.path()).unwrap().orderly().unwrap().fat.is_none(), "no FAT");
    }

    #[test]
    fn a_folder_that_is_only_read_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        RealDisk::open(folder.path()).unwrap().create("letter").unwrap().write_at(0, b"x").unwrap();
        let disk = RealDisk::read_only(folder.path()).unwrap();
        let mut byte = [0];
        disk.open("letter").unwrap().read_at(0, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert!(disk.open("letter").unwrap().write_at(0, b"y").is_err());
        assert!(disk.create("other").is_err() && disk.remove("letter").is_err() && disk.rename("letter", "b").is_err());
        assert!(RealDisk::read_only(&folder.path().join("none")).is_err());
    }
}
