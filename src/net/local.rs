//! Unix sockets between processes of ours: one request and one reply for a connection, each four bytes of length
//! (big-endian) and that many bytes.
//!
//! Invariants, cited by tests:
//! - L1: whose process it is, the kernel says (SO_PEERCRED). Nothing is read of one that may not ask.
//! - L2: requests, replies, their time and their number at once have a limit.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What whoever asks may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest request.
    pub request_bytes: u32,
    /// For a request to arrive, or a reply to be taken; how long the answer takes is not limited.
    pub patience: Duration,
    /// Requests at once.
    pub at_once: usize,
}

/// The user id of the process at the other end of a Unix socket (SO_PEERCRED).
pub fn peer_uid(socket: impl std::os::fd::AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Accepts for ever, on this thread; each request is answered on a thread of its own. `may` is told the peer's user id.
/// A panic in `answer` ends that request only.
pub fn serve<M, A>(listener: &UnixListener, limits: Limits, may: M, answer: A) -> !
where
    M: Fn(u32) -> bool + Send + Sync + 'static,
    A: Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
{
    let held = Arc::new((may, answer));
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(100)); // no descriptors: not to spin
            continue;
        };
        if busy.fetch_add(1, Ordering::SeqCst) >= limits.at_once {
            busy.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let place = Place(busy.clone());
        let held = held.clone();
        // Without a thread the place is given back by dropping it.
        let _ = std::thread::Builder::new().name("request".to_owned()).spawn(move || {
            let _place = place;
            if let Err(error) = one(stream, limits, &held.0, &held.1) {
                tracing::debug!(%error, "a request got no reply");
            }
        });
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn one(
    mut stream: UnixStream,
    limits: Limits,
    may: &dyn Fn(u32) -> bool,
    answer: &dyn Fn(Vec<u8>) -> Vec<u8>,
) -> io::Result<()> {
    if !may(peer_uid(&stream)?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user's process"));
    }
    stream.set_read_timeout(Some(limits.patience))?;
    stream.set_write_timeout(Some(limits.patience))?;
    let request = receive(&mut stream, limits.request_bytes)?;
    send(&mut stream, &answer(request))
}

/// Sends a request and waits for its reply of at most `reply_bytes`. Time-outs are the stream's.
pub fn ask(stream: &mut UnixStream, request: &[u8], reply_bytes: u32) -> io::Result<Vec<u8>> {
    send(stream, request)?;
    receive(stream, reply_bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { request_bytes: 100, patience: Duration::from_millis(500), at_once: 2 };
    /// For who asks again before the thread of the last request has ended.
    const ROOMY: Limits = Limits { at_once: 20, ..LIMITS };

    struct Socket {
        folder: tempfile::TempDir,
    }

    impl Socket {
        /// Answers with the request turned round; the word "fall" makes it panic.
        fn open(may: fn(u32) -> bool) -> Socket {
            Socket::limited(LIMITS, may)
        }

        fn limited(limits: Limits, may: fn(u32) -> bool) -> Socket {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("s")).unwrap();
            std::thread::spawn(move || {
                serve(&listener, limits, may, |mut request: Vec<u8>| {
                    assert!(request != b"fall", "asked for");
                    request.reverse();
                    request
                })
            });
            Socket { folder }
        }

        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(self.folder.path().join("s")).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        }

        fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
            ask(&mut self.connect(), request, 100)
        }
    }

    #[test]
    fn a_request_gets_its_reply_and_a_panic_hurts_nobody_else() {
        let socket = Socket::limited(ROOMY, |_| true);
        for _ in 0..5 {
            assert_eq!(socket.ask(b"abc").unwrap(), b"cba");
            assert!(socket.ask(b"fall").is_err());
        }
    }

    #[test]
    fn who_may_not_ask_hears_nothing() {
        let socket = Socket::open(|_| false);
        assert!(socket.ask(b"abc").is_err(), "L1");
        let own = Socket::open(|uid| uid == rustix::process::geteuid().as_raw());
        assert_eq!(own.ask(b"abc").unwrap(), b"cba");
    }

    #[test]
    fn too_long_cut_off_and_silent_requests_are_let_go() {
        let socket = Socket::open(|_| true);
        assert!(socket.ask(&[b'x'; 101]).is_err(), "L2: length");
        assert_eq!(socket.ask(&[b'x'; 100]).unwrap().len(), 100);
        let mut cut = socket.connect();
        cut.write_all(&[0, 0, 0, 9, b'x']).unwrap();
        cut.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(cut.read(&mut [0; 9]).unwrap(), 0);
        let mut silent = socket.connect();
        assert_eq!(silent.read(&mut [0; 9]).unwrap(), 0, "L2: time");
    }

    #[test]
    fn no_more_than_so_many_at_once() {
        let socket = Socket::open(|_| true);
        let _held = [socket.connect(), socket.connect()];
        std::thread::sleep(Duration::from_millis(100));
        assert!(socket.ask(b"abc").is_err(), "L2: number");
        std::thread::sleep(LIMITS.patience * 3);
        assert_eq!(socket.ask(b"abc").unwrap(), b"cba", "places come back");
    }
}
