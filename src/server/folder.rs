//! The data folder: its lock, its modes, and the files in it that are not a store's.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cert::Keep;
use crate::net::Pair;

/// The path of a data folder, whoever holds it.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

const RECOVERY: &str = "recovery";

/// Who has this may open the stores (V1). Given back when dropped, also by a kill.
pub(super) struct Lock(#[allow(dead_code)] File);

impl Folder {
    pub fn new(path: &Path) -> Folder {
        Folder(path.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where salvage makes new stores. They are whole before the old ones move aside.
    pub fn new_store(&self) -> PathBuf {
        self.0.join("store.new")
    }

    /// Puts the new stores into the old ones' place, which has to be empty. When a cut came between the two moves this
    /// ends the second: there are new stores and no others only then.
    pub fn end_salvage(&self) -> io::Result<()> {
        if !self.store().exists() && self.new_store().exists() {
            fs::rename(self.new_store(), self.store())?;
            File::open(&self.0)?.sync_all()?;
        }
        Ok(())
    }

    /// The hash (hex) of the recovery sheet that the set-up gave out, if it did.
    pub fn recovery(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.0.join(RECOVERY)) {
            Ok(hash) => Ok(Some(hash)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn put_recovery(&self, hash: &str) -> io::Result<()> {
        write(&self.0.join(RECOVERY), hash.as_bytes())
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    fn ready(&self) -> PathBuf {
        self.0.join("ready")
    }

    /// Makes the folder if it is not there, and keeps others out of it (V2).
    pub fn make(&self) -> io::Result<()> {
        if !self.0.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        }
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))
    }

    /// `None` if another process has it. The file stays; only the lock on it says anything.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether `init` was done to its end (V3).
    pub fn is_set_up(&self) -> bool {
        self.0.join(crate::settings::FILE).exists()
    }

    /// The file that says whether mail ports are open (V4).
    pub fn set_ready(&self, ready: bool) {
        let done = if ready { write(&self.ready(), b"") } else { remove(&self.ready()) };
        if let Err(error) = done {
            tracing::warn!(%error, "cannot say in the data folder that the server is ready");
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready().exists()
    }

    /// The certificate that the server made for itself, and its key. `None` if there is none yet.
    pub fn pair(&self) -> io::Result<Option<Pair>> {
        read_pair(&self.0.join("tls/cert.pem"), &self.0.join("tls/key.pem"))
    }

    pub fn put_pair(&self, pair: &Pair) -> io::Result<()> {
        let folder = self.0.join("tls");
        if !folder.is_dir() {
            DirBuilder::new().mode(0o700).create(&folder)?;
        }
        // Half a pair is none, and then a new one is made; a key and a certificate that do not fit would stay.
        remove(&folder.join("cert.pem"))?;
        write(&folder.join("key.pem"), &pair.key)?;
        write(&folder.join("cert.pem"), &pair.chain)
    }
}

/// `tls/` in the data folder, for certificates, keys and accounts.
pub(super) struct Drawer(PathBuf);

impl Folder {
    pub fn drawer(&self) -> Drawer {
        Drawer(self.0.join("tls"))
    }
}

impl Keep for Drawer {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.0.is_dir() {
            DirBuilder::new().mode(0o700).create(&self.0)?;
        }
        write(&self.0.join(name), bytes)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove(&self.0.join(name))?;
        match File::open(&self.0) {
            Ok(folder) => folder.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// Replaces a file so that after any cut it is the old one or the new one, whole.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// A certificate and its key; `None` if one of them is not there.
pub(super) fn read_pair(chain: &Path, key: &Path) -> io::Result<Option<Pair>> {
    match (fs::read(chain), fs::read(key)) {
        (Ok(chain), Ok(key)) => Ok(Some(Pair { chain, key })),
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        (Err(error), _) => Err(about(chain, error)),
        (_, Err(error)) => Err(about(key, error)),
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The same error, with the path in its words.
pub(super) fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_lock_is_one_and_comes_back_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(&dir.path().join("data"));
        folder.make().unwrap();
        let lock = folder.lock().unwrap();
        assert!(lock.is_some());
        assert!(folder.lock().unwrap().is_none(), "V1");
        drop(lock);
        assert!(folder.lock().unwrap().is_some());
        assert_eq!(mode(&dir.path().join("data")), 0o700);
        assert_eq!(mode(&dir.path().join("data/lock")), 0o600);
    }

    #[test]
    fn a_salvage_cut_off_between_its_two_moves_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        fs::create_dir(folder.new_store()).unwrap();
        fs::create_dir(folder.store()).unwrap();
        folder.end_salvage().unwrap();
        assert!(folder.new_store().exists(), "not whole yet, as far as anybody knows");
        fs::remove_dir(folder.store()).unwrap();
        folder.end_salvage().unwrap();
        assert!(folder.store().exists() && !folder.new_store().exists());
    }

    #[test]
    fn a_certificate_is_kept_with_its_key_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(folder.pair().unwrap().is_none());
        folder.put_pair(&Pair { chain: b"chain".to_vec(), key: b"key".to_vec() }).unwrap();
        let pair = folder.pair().unwrap().unwrap();
        assert_eq!((pair.chain, pair.key), (b"chain".to_vec(), b"key".to_vec()));
        assert_eq!(mode(&dir.path().join("tls")), 0o700);
        assert_eq!(mode(&dir.path().join("tls/key.pem")), 0o600);
    }

    #[test]
    fn what_is_kept_beside_the_certificate_is_the_owner_s_only() {
        let dir = tempfile::tempdir().unwrap();
        let drawer = Folder::new(dir.path()).drawer();
        assert!(drawer.list().unwrap().is_empty() && drawer.read("host.pem").unwrap().is_none());
        drawer.write("host.pem", b"secret").unwrap();
        assert_eq!(drawer.read("host.pem").unwrap().unwrap(), b"secret");
        assert_eq!(mode(&dir.path().join("tls")), 0o700);
        assert_eq!(mode(&dir.path().join("tls/host.pem")), 0o600);
        assert_eq!(drawer.list().unwrap(), ["host.pem"]);
        drawer.remove("host.pem").unwrap();
        drawer.remove("host.pem").unwrap();
        assert!(drawer.list().unwrap().is_empty());
    }
}
