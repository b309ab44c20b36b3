//! What belongs to an unfinished set-up, in `setup/` of the data folder: its state, the certificate of its pages, what the
//! screen is to show. One file lies beside: the hash of the recovery sheet, for whoever forgets the pass phrase later.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::net::Pair;

use super::super::folder::{Folder, read_pair, remove, write};

pub(super) fn path(folder: &Folder, name: &str) -> PathBuf {
    folder.path().join("setup").join(name)
}

fn put(folder: &Folder, name: &str, bytes: &[u8]) -> io::Result<()> {
    let inner = folder.path().join("setup");
    if !inner.is_dir() {
        DirBuilder::new().mode(0o700).create(&inner)?;
        File::open(folder.path())?.sync_all()?;
    }
    write(&inner.join(name), bytes)
}

/// `None` if there is no unfinished set-up.
pub(super) fn state(folder: &Folder) -> io::Result<Option<Vec<u8>>> {
    const LIMIT: u64 = 2 * 1024 * 1024;
    let mut bytes = Vec::new();
    match File::open(path(folder, "state.json")) {
        Ok(file) => file.take(LIMIT).read_to_end(&mut bytes).map(|_| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn put_state(folder: &Folder, bytes: &[u8]) -> io::Result<()> {
    put(folder, "state.json", bytes)
}

pub(super) fn pair(folder: &Folder) -> io::Result<Option<Pair>> {
    read_pair(&path(folder, "cert.pem"), &path(folder, "key.pem"))
}

pub(super) fn put_pair(folder: &Folder, pair: &Pair) -> io::Result<()> {
    put(folder, "key.pem", &pair.key)?;
    put(folder, "cert.pem", &pair.chain)
}

pub(super) fn put_shown(folder: &Folder, text: &str) -> io::Result<()> {
    put(folder, "shown", text.as_bytes())
}

/// The state goes last: a cut in between is gone on with at the next start.
pub(super) fn end(folder: &Folder) -> io::Result<()> {
    let inner: &Path = &folder.path().join("setup");
    if !inner.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(inner)? {
        let path = entry?.path();
        if path.file_name().is_none_or(|name| name != "state.json") {
            remove(&path)?;
        }
    }
    fs::remove_dir_all(inner)?;
    File::open(folder.path())?.sync_all()
}
