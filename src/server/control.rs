//! The control socket: how a command reaches the server that holds the folder.
//!
//! Unix stream socket, 0600, of the same user (or root). One request and one reply for a connection, each four bytes of
//! length (big-endian) and that much JSON.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::net::peer_uid;

use super::folder::remove;
use super::verbs::{Reply, Request};

const REQUEST_BYTES: u32 = 64 * 1024;
const REPLY_BYTES: u32 = 64 * 1024 * 1024;
/// For a request to arrive, or a reply to be taken; how long a verb takes is not limited.
const PATIENCE: Duration = Duration::from_secs(10);
/// Commands at once.
const AT_ONCE: usize = 16;

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
    let run = Arc::new(run);
    let busy = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        loop {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(100)); // no descriptors: not to spin
                continue;
            };
            if busy.fetch_add(1, Ordering::SeqCst) >= AT_ONCE {
                busy.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (run, done) = (run.clone(), busy.clone());
            let spawned = std::thread::Builder::new().name("command".to_owned()).spawn(move || {
                if let Err(error) = answer(stream, &*run) {
                    tracing::debug!(%error, "a command got no reply");
                }
                done.fetch_sub(1, Ordering::SeqCst);
            });
            if spawned.is_err() {
                busy.fetch_sub(1, Ordering::SeqCst);
            }
        }
    })?;
    Ok(())
}

fn answer(mut stream: UnixStream, run: &dyn Fn(Request) -> Reply) -> io::Result<()> {
    let uid = peer_uid(&stream)?;
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user's process"));
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = receive(&mut stream, REQUEST_BYTES)?;
    let reply = match serde_json::from_slice(&request) {
        Ok(request) => {
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(request)));
            ran.unwrap_or_else(|_| Reply::failed("a mistake of ours; the server's log says where"))
        }
        Err(_) => Reply::failed("the server does not know this command: is it of another version?"),
    };
    send(&mut stream, &serde_json::to_vec(&reply)?)
}

/// Has a running server do it. Errors: there is none, or it went away.
pub(super) fn call(path: &Path, request: &Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(&address(path)?.path)?;
    send(&mut stream, &serde_json::to_vec(request)?)?;
    Ok(serde_json::from_slice(&receive(&mut stream, REPLY_BYTES)?)?)
}

fn send(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(bytes)
}

fn receive(stream: &mut UnixStream, limit: u32) -> io::Result<Vec<u8>> {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
