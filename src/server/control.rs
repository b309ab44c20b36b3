//! The control socket: how a command reaches the server that holds the folder.
//!
//! Unix stream socket, 0600, for the same user (or root): one request and one reply for a connection, as JSON
//! (`net::local`).

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::local::{self, Limits};

use super::folder::remove;
use super::verbs::{Reply, Request};

const LIMITS: Limits = Limits { request_bytes: 64 * 1024, patience: Duration::from_secs(10), at_once: 16 };
const REPLY_BYTES: u32 = 64 * 1024 * 1024;

/// An address the kernel can take: those are 107 bytes at most, whatever the folder's path.
struct Address {
    path: PathBuf,
    _folder: Option<std::fs::File>,
}

fn address(path: &Path) -> io::Result<Address> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if path.as_os_str().len() > 100 => {
            let folder = std::fs::File::open(parent)?;
            let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
            Ok(Address { path, _folder: Some(folder) })
        }
        _ => Ok(Address { path: path.to_owned(), _folder: None }),
    }
}

/// A path that the kernel can take for a Unix socket, and what has to be kept while it is used.
pub(super) fn short_path(path: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    address(path).map(|address| (address.path, address._folder))
}

/// Accepts commands on a thread of its own until the process ends, each answered by `run` on a thread of its own. The lock
/// on the folder must be held: a socket that is there is a dead server's.
pub(super) fn listen<F>(path: &Path, run: F) -> io::Result<()>
where
    F: Fn(Request) -> Reply + Send + Sync + 'static,
{
    remove(path)?;
    // Made 0600 by the process's umask already; the folder is 0700 besides.
    let listener = UnixListener::bind(&address(path)?.path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let own = rustix::process::geteuid().as_raw();
        local::serve(&listener, LIMITS, move |uid| uid == 0 || uid == own, move |request| answer(&request, &run))
    })?;
    Ok(())
}

fn answer(request: &[u8], run: &dyn Fn(Request) -> Reply) -> Vec<u8> {
    let reply = match serde_json::from_slice(request) {
        Ok(request) => {
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(request)));
            ran.unwrap_or_else(|_| Reply::failed("a mistake of ours; the server's log says where"))
        }
        Err(_) => Reply::failed("the server does not know this command: is it of another version?"),
    };
    serde_json::to_vec(&reply).unwrap_or_default()
}

/// Has a running server do it. Errors: there is none, or it went away.
pub(super) fn call(path: &Path, request: &Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(&address(path)?.path)?;
    let reply = local::ask(&mut stream, &serde_json::to_vec(request)?, REPLY_BYTES)?;
    Ok(serde_json::from_slice(&reply)?)
}
