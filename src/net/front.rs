//! A listener in front of an HTTP server that has no time-outs, no limits and no TLS of its own: it lets in only who is near,
//! speaks TLS where the first byte is a TLS hello, and passes on one request of each connection, whole, checked and of bounded
//! size. The server behind would believe any length, take any number of fields and read ahead as far as anybody sends. What
//! comes through goes on to one of two Unix sockets, so that the server behind knows which of the two it was.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::drive::{End, TlsSide};
use super::listen::{Handler, Incoming};

/// RFC 8446 5.1: a record of type handshake.
const TLS_HELLO: u8 = 0x16;

#[derive(Clone)]
pub struct Front {
    pub plain: PathBuf,
    pub tls: PathBuf,
    pub near: Near,
    pub limits: FrontLimits,
}

/// Whether a peer is on a network that this machine is directly attached to.
pub type Near = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub struct FrontLimits {
    /// From the first byte of a connection to its last, both ways.
    pub whole: Duration,
    /// For the first byte to come, and for what is written to be taken.
    pub idle: Duration,
    /// For a request to be there whole, and for the next byte of the reply: the server behind may think that long.
    pub silence: Duration,
    /// The longest head of a request, with its request line.
    pub head: usize,
    /// The longest body of a request.
    pub body: usize,
}

impl Default for FrontLimits {
    fn default() -> FrontLimits {
        FrontLimits {
            whole: Duration::from_secs(300),
            idle: Duration::from_secs(20),
            silence: Duration::from_secs(90),
            head: 16 * 1024,
            body: 32 * 1024,
        }
    }
}

impl Front {
    pub fn handler(self) -> Handler {
        let front = Arc::new(self);
        Arc::new(move |incoming| {
            let front = front.clone();
            Box::pin(async move {
                let limit = front.limits.whole;
                timeout(limit, front.pass(incoming)).await.unwrap_or(End::NotReading)
            })
        })
    }

    async fn pass(&self, incoming: Incoming) -> End {
        let Incoming { stream, peer, context, .. } = incoming;
        if !(self.near)(peer.ip()) {
            return End::Closed;
        }
        let mut first = [0u8; 1];
        match timeout(self.limits.idle, stream.peek(&mut first)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) => return End::Left,
            Ok(Err(error)) => return End::Broken(error),
            Err(_) => return End::NoHandshake,
        }
        if let Some(awake) = context.awake {
            awake();
        }
        let done = if first[0] == TLS_HELLO {
            let Some(TlsSide::Server(config)) = context.tls else { return End::Closed };
            let handshake = TlsAcceptor::from(config).accept(stream);
            match timeout(Duration::from_millis(context.patience.handshake_ms), handshake).await {
                Ok(Ok(stream)) => self.through(stream, &self.tls).await,
                Ok(Err(error)) => return End::Broken(error),
                Err(_) => return End::NoHandshake,
            }
        } else {
            self.through(stream, &self.plain).await
        };
        match done {
            Ok(()) => End::Closed,
            Err(error) => End::Broken(error),
        }
    }

    async fn through(&self, mut peer: impl AsyncRead + AsyncWrite + Unpin, behind: &Path) -> io::Result<()> {
        let limits = &self.limits;
        let request = match timeout(limits.silence, read(&mut peer, limits)).await.map_err(late)?? {
            Ok(request) => request,
            Err(refusal) => {
                let reply = format!("HTTP/1.1 {refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                timeout(limits.idle, peer.write_all(reply.as_bytes())).await.map_err(late)??;
                return timeout(limits.idle, peer.shutdown()).await.map_err(late)?;
            }
        };
        let mut server = UnixStream::connect(behind).await?;
        timeout(limits.idle, server.write_all(&request)).await.map_err(late)??;
        pass_back(server, peer, limits).await
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// The reply, with a word in it that there will be no other on this connection.
async fn pass_back(mut from: UnixStream, mut to: impl AsyncWrite + Unpin, limits: &FrontLimits) -> io::Result<()> {
    let mut buffer = vec![0u8; 16 * 1024];
    let mut first = true;
    loop {
        let read = timeout(limits.silence, from.read(&mut buffer)).await.map_err(late)??;
        if read == 0 {
            return timeout(limits.idle, to.shutdown()).await.map_err(late)?;
        }
        let piece = &buffer[..read];
        let line = if std::mem::take(&mut first) { piece.windows(2).position(|two| two == b"\r\n") } else { None };
        let (status, rest) = piece.split_at(line.map_or(0, |at| at + 2));
        let close: &[u8] = if line.is_some() { b"Connection: close\r\n" } else { b"" };
        for part in [status, close, rest] {
            timeout(limits.idle, to.write_all(part)).await.map_err(late)??;
        }
        timeout(limits.idle, to.flush()).await.map_err(late)??;
    }
}

/// One request, whole, as the last of its connection; or why there is none, as a status line has it.
async fn read(from: &mut (impl AsyncRead + Unpin), limits: &FrontLimits) -> io::Result<Result<Vec<u8>, &'static str>> {
    let mut got: Vec<u8> = Vec::new();
    let mut some = [0u8; 4096];
    let end = loop {
        // A part of the last three bytes may belong to the empty line.
        let seen = got.len().saturating_sub(3);
        let read = from.read(&mut some).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        got.extend_from_slice(&some[..read]);
        if let Some(at) = got[seen..].windows(4).position(|four| four == b"\r\n\r\n") {
            break seen + at + 4;
        }
        if got.len() >= limits.head {
            return Ok(Err("431 Request Header Fields Too Large"));
        }
    };
    let length = match body_length(&got[..end], limits) {
        Ok(length) => length,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // What else is there would be another request; it is not passed on.
    got.truncate(end + length);
    while got.len() < end + length {
        let missing = some.len().min(end + length - got.len());
        let read = from.read(&mut some[..missing]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        got.extend_from_slice(&some[..read]);
    }
    // The first of these fields counts behind.
    let fields = got.windows(2).position(|two| two == b"\r\n").map_or(end, |at| at + 2);
    got.splice(fields..fields, *b"Connection: close\r\n");
    Ok(Ok(got))
}

/// RFC 9112 6: how long the body is, where that is said in one way only.
fn body_length(head: &[u8], limits: &FrontLimits) -> Result<usize, &'static str> {
    const BAD: &str = "400 Bad Request";
    /// Browsers send about twenty.
    const FIELDS: usize = 100;
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut length = None;
    for (count, line) in head.split("\r\n").skip(1).filter(|line| !line.is_empty()).enumerate() {
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        if count >= FIELDS {
            return Err("431 Request Header Fields Too Large");
        }
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" | "upgrade" | "expect" => return Err("501 Not Implemented"),
            "content-length" => {
                let value = value.trim();
                if length.is_some() || value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(BAD);
                }
                length = match value.parse() {
                    Ok(number) if number <= limits.body => Some(number),
                    _ => return Err("413 Content Too Large"),
                };
            }
            // RFC 9112 5.1: no space before the colon.
            name if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace()) => return Err(BAD),
            _ => {}
        }
    }
    Ok(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on of this, cut into pieces of so many bytes.
    fn passed(input: &[u8], piece: usize) -> io::Result<Result<Vec<u8>, &'static str>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut peer, mut from) = tokio::io::duplex(piece);
            let input = input.to_vec();
            let writing = tokio::spawn(async move {
                let _ = peer.write_all(&input).await;
            });
            let done = read(&mut from, &FrontLimits::default()).await;
            drop(from);
            writing.await.unwrap();
            done
        })
    }

    #[test]
    fn one_request_is_passed_on_whole_and_nothing_behind_it() {
        for piece in [1, 7, 5000] {
            let two = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
            assert_eq!(
                String::from_utf8(passed(two, piece).unwrap().unwrap()).unwrap(),
                "POST /a HTTP/1.1\r\nConnection: close\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            );
        }
        let got = passed(b"GET / HTTP/1.1\r\n\r\n", 100).unwrap().unwrap();
        assert_eq!(got, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn what_would_hurt_the_server_behind_is_refused() {
        let with = |field: &str| passed(format!("POST / HTTP/1.1\r\n{field}\r\n\r\n").as_bytes(), 100_000).unwrap();
        for length in ["9223372036854775807", "18446744073709551615", "99999999999999999999999", "32769"] {
            assert_eq!(with(&format!("Content-Length: {length}")), Err("413 Content Too Large"), "{length}");
        }
        for field in
            ["Content-Length: -1", "Content-Length:", "Content-Length: 1\r\nContent-Length: 1", "x", " : y", "Host : y"]
        {
            assert_eq!(with(field), Err("400 Bad Request"), "{field}");
        }
        for field in ["Transfer-Encoding: chunked", "upgrade: h2c", "Expect: 100-continue"] {
            assert_eq!(with(field), Err("501 Not Implemented"), "{field}");
        }
        assert_eq!(with(&"a:b\r\n".repeat(101)), Err("431 Request Header Fields Too Large"));
        assert_eq!(with(&format!("a: {}", "x".repeat(20_000))), Err("431 Request Header Fields Too Large"));
        assert!(passed(b"GET / HTTP/1.1\r\nHost", 100).is_err(), "half a request is none");
    }
}
