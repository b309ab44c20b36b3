//! A listener in front of an HTTP server that has no time-outs and no TLS of its own: it lets in only who is near, speaks TLS
//! where the first byte is a TLS hello, and ends what takes too long or sends too much. What comes through goes on to one of
//! two Unix sockets, so that the server behind knows which of the two it was.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::drive::End;
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
    /// For the next byte of either side: the server behind may think that long, and a request take that long.
    pub silence: Duration,
    /// What a peer may send on one connection.
    pub bytes: u64,
}

impl Default for FrontLimits {
    fn default() -> FrontLimits {
        FrontLimits {
            whole: Duration::from_secs(300),
            idle: Duration::from_secs(20),
            silence: Duration::from_secs(90),
            bytes: 1024 * 1024,
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
            let Some(config) = context.tls else { return End::Closed };
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

    async fn through(&self, peer: impl AsyncRead + AsyncWrite, behind: &Path) -> io::Result<()> {
        let (from_peer, to_peer) = tokio::io::split(peer);
        let (from_server, to_server) = UnixStream::connect(behind).await?.into_split();
        // Whichever ends first ends both: a peer that has gone wants no reply, a server that has closed reads no more.
        tokio::select! {
            done = copy(from_peer, to_server, &self.limits, self.limits.bytes) => done,
            done = copy(from_server, to_peer, &self.limits, u64::MAX) => done,
        }
    }
}

async fn copy(from: impl AsyncRead, to: impl AsyncWrite, limits: &FrontLimits, most: u64) -> io::Result<()> {
    tokio::pin!(from, to);
    let mut buffer = vec![0u8; 16 * 1024];
    let mut passed = 0u64;
    loop {
        let read = timeout(limits.silence, from.read(&mut buffer)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if read == 0 {
            return to.shutdown().await;
        }
        passed += read as u64;
        if passed > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        timeout(limits.idle, to.write_all(&buffer[..read])).await.map_err(|_| io::ErrorKind::TimedOut)??;
        timeout(limits.idle, to.flush()).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}
