//! The only loop: turns any session machine, over any stream of bytes.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tracing::{debug, trace};

use crate::base::{BlobId, Clock, Mono};
use crate::proto::{Event, Host, Output, Part, Session};

use super::dial::ClientTls;
use super::tls::describe;
use super::wire::Wire;

/// Output gathered before it is written (N2).
const GATHER: usize = 64 * 1024;
/// Bytes of a blob asked for at a time.
const BLOB_READ: u64 = 256 * 1024;

/// How long a peer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a whole TLS handshake.
    pub handshake_ms: u64,
    /// To take the next 64 KiB or less that we write.
    pub write_ms: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { handshake_ms: 30_000, write_ms: 120_000 }
    }
}

/// Which side of a handshake is ours, and how we do it.
#[derive(Clone)]
pub enum TlsSide {
    Server(Arc<ServerConfig>),
    Client(ClientTls),
}

/// What a session is driven with.
pub struct Context {
    pub clock: Arc<dyn Clock>,
    /// For STARTTLS and implicit TLS.
    pub tls: Option<TlsSide>,
    /// The port is a TLS one: the handshake comes before the first word.
    pub implicit_tls: bool,
    pub patience: Patience,
    /// Turns true when the server is going down.
    pub stop: watch::Receiver<bool>,
    /// Called once, when the peer has shown that it is there: it sent something, or finished its handshake.
    pub awake: Option<Box<dyn FnOnce() + Send>>,
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The machine closed.
    Closed,
    /// The peer went away.
    Left,
    /// The connection broke, or TLS failed.
    Broken(io::Error),
    /// The peer did not read what was written to it (N3).
    NotReading,
    /// The TLS handshake was not finished in time (N3).
    NoHandshake,
    /// There is no TLS with the server that we spoke to.
    NoTls(io::Error),
    /// A blob whose length was announced could not be read whole.
    BlobGone,
    /// The machine neither wants anything nor waits for anything: our mistake.
    Stuck,
    /// The server is going down, and the machine had no word for it.
    GoingDown,
}

/// Drives `session` over `stream` until either side ends it. Dropping the future drops the connection.
pub async fn drive<T, S, H>(stream: T, session: S, host: H, context: Context) -> End
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
    S: Session,
    H: Host<S>,
{
    let mut driver = Driver {
        wire: Wire::Plain(stream),
        session,
        host,
        context,
        out: Vec::new(),
        more: false,
        eof: false,
        told: false,
        body: false,
    };
    let end = match driver.run().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    if driver.body {
        driver.host.body_abort();
    }
    trace!(?end, "driver ends");
    end
}

struct Driver<T, S, H> {
    wire: Wire<T>,
    session: S,
    host: H,
    context: Context,
    /// Written by the machine, not yet by us.
    out: Vec<u8>,
    /// The last answer was not the last of its question.
    more: bool,
    /// The peer closed its side.
    eof: bool,
    /// The machine was told that the server is going down.
    told: bool,
    /// The host holds a part of a body.
    body: bool,
}

enum Woke<N> {
    Read(io::Result<Bytes>),
    Notice(N),
    Deadline,
    GoingDown,
}

impl<T, S, H> Driver<T, S, H>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
    S: Session,
    H: Host<S>,
{
    /// Never returns well: an `Err` is how the session ended.
    async fn run(&mut self) -> Result<Infallible, End> {
        if self.context.implicit_tls {
            self.secure().await?;
        }
        loop {
            self.carry_out().await?;
            if self.more {
                let answer = Box::pin(self.host.more());
                let answer = while_flushing(&mut self.wire, &mut self.out, self.context.patience, answer).await?;
                self.answered(answer);
                continue;
            }
            // Replies to what came in one piece leave in one piece (RFC 2920 3.2). They leave before more is read, so that
            // a machine may take what comes next for a sign that they were read.
            self.flush().await?;
            self.out = Vec::new();
            match self.wait().await? {
                Woke::Read(read) => self.take(read)?,
                Woke::Notice(notice) => self.input(Event::Notice(notice)),
                Woke::Deadline => self.input(Event::Tick),
                Woke::GoingDown => {
                    self.told = true;
                    match S::going_down() {
                        Some(notice) => self.input(Event::Notice(notice)),
                        None => {
                            self.close().await;
                            return Err(End::GoingDown);
                        }
                    }
                }
            }
        }
    }

    /// Does what the machine says until it has nothing more to say.
    async fn carry_out(&mut self) -> Result<(), End> {
        while let Some(output) = self.session.output() {
            match output {
                Output::Write(bytes) => {
                    self.out.extend_from_slice(&bytes);
                    self.spill().await?;
                }
                Output::Ask(ask) => {
                    // Boxed: what an answer needs while it is made must not be kept while the connection is idle.
                    let answer = Box::pin(self.host.ask(ask));
                    let answer = while_flushing(&mut self.wire, &mut self.out, self.context.patience, answer).await?;
                    self.answered(answer);
                }
                Output::BodyChunk(chunk) => {
                    self.body = true;
                    Box::pin(self.host.body_chunk(chunk)).await;
                }
                Output::BodyEnd => {
                    self.body = false;
                    let stored = Box::pin(self.host.body_end()).await;
                    self.input(Event::BodyStored(stored));
                }
                Output::BodyAbort => {
                    self.body = false;
                    self.host.body_abort();
                }
                Output::SendBlob { blob, range } => Box::pin(self.send_blob(blob, range, None)).await?,
                Output::SendDotted { blob, range } => {
                    let mut dots = Dots::default();
                    Box::pin(self.send_blob(blob, range, Some(&mut dots))).await?;
                    self.out.extend_from_slice(dots.end());
                }
                Output::StartTls => {
                    self.flush().await?;
                    self.secure().await?;
                }
                Output::Close => {
                    let flushed = self.flush().await;
                    self.close().await;
                    return Err(flushed.err().unwrap_or(if self.eof { End::Left } else { End::Closed }));
                }
            }
        }
        Ok(())
    }

    fn input(&mut self, event: Event<S::Answer, S::Notice>) {
        let now = self.context.clock.mono();
        self.session.input(now, event);
    }

    fn answered(&mut self, (answer, part): (S::Answer, Part)) {
        self.more = part == Part::More;
        self.input(Event::Answer(answer, part));
    }

    fn reading(&self) -> bool {
        !self.eof && self.session.wants_input()
    }

    fn take(&mut self, read: io::Result<Bytes>) -> Result<(), End> {
        let bytes = match read {
            Ok(bytes) => bytes,
            // A TLS peer that goes without close_notify only ends its own input (RFC 8446 6.1): as any end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Bytes::new(),
            Err(error) => return Err(End::Broken(error)),
        };
        if bytes.is_empty() {
            self.eof = true;
            self.input(Event::Eof);
        } else {
            self.awake();
            self.input(Event::Bytes(bytes));
        }
        Ok(())
    }

    fn awake(&mut self) {
        if let Some(awake) = self.context.awake.take() {
            awake();
        }
    }

    /// Waits for the first of: bytes, a notice, the machine's deadline, the end of the server.
    async fn wait(&mut self) -> Result<Woke<S::Notice>, End> {
        let reading = self.reading();
        let noticing = self.session.wants_notice();
        let deadline = self.session.deadline();
        if self.eof {
            // The machine knows, and had nothing more to say.
            self.close().await;
            return Err(End::Left);
        }
        if !reading && !noticing && deadline.is_none() {
            return Err(End::Stuck);
        }
        let Driver { wire, host, context, told, .. } = self;
        let mut notice = noticing.then(|| Box::pin(host.notice()));
        let stop = &mut context.stop;
        let clock = &context.clock;
        Ok(tokio::select! {
            biased;
            () = gone_down(stop), if !*told => Woke::GoingDown,
            read = poll_fn(|cx| wire.poll_some(cx)), if reading => Woke::Read(read),
            notice = poll_fn(|cx| match notice.as_mut() {
                Some(notice) => notice.as_mut().poll(cx),
                None => Poll::Pending,
            }), if noticing => Woke::Notice(notice),
            () = passed(clock, deadline), if deadline.is_some() => Woke::Deadline,
        })
    }

    /// Our side of a handshake, in place.
    async fn secure(&mut self) -> Result<(), End> {
        let Wire::Plain(plain) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(End::Broken(io::Error::other("TLS within TLS")));
        };
        let patience = Duration::from_millis(self.context.patience.handshake_ms);
        // N1: nothing that was read in the clear is kept here, so the handshake starts with what the peer sends now; bytes
        // smuggled behind STARTTLS that are still in the socket are taken for a handshake, and fail it.
        let (tls, secured) = match self.context.tls.clone() {
            None => return Err(End::Broken(io::Error::other("TLS without a certificate"))),
            Some(TlsSide::Server(config)) => {
                let handshake = Box::pin(timeout(patience, TlsAcceptor::from(config).accept(plain)));
                let tls = handshake.await.map_err(|_| End::NoHandshake)?.map_err(End::Broken)?;
                let secured = describe(tls.get_ref().1);
                (TlsStream::Server(tls), secured)
            }
            Some(TlsSide::Client(ClientTls { config, name })) => {
                let handshake = Box::pin(timeout(patience, TlsConnector::from(config).connect(name, plain)));
                let tls = handshake.await.map_err(|_| End::NoHandshake)?.map_err(End::NoTls)?;
                let secured = describe(tls.get_ref().1);
                (TlsStream::Client(tls), secured)
            }
        };
        debug!(version = secured.version, cipher = secured.cipher, "TLS is up");
        self.wire = Wire::Tls(Box::new(tls));
        self.awake();
        self.input(Event::Secured(secured));
        Ok(())
    }

    async fn send_blob(&mut self, blob: BlobId, range: Range<u64>, mut dots: Option<&mut Dots>) -> Result<(), End> {
        let mut at = range.start;
        while at < range.end {
            let until = range.end.min(at.saturating_add(BLOB_READ));
            let read = Box::pin(self.host.blob(blob, at..until));
            let bytes = while_flushing(&mut self.wire, &mut self.out, self.context.patience, read).await?;
            let Ok(bytes) = bytes else { return Err(End::BlobGone) };
            if bytes.len() as u64 != until - at {
                return Err(End::BlobGone);
            }
            at = until;
            let bytes = match &mut dots {
                Some(dots) => dots.put(&bytes),
                None => bytes,
            };
            if self.out.len() + bytes.len() <= GATHER {
                self.out.extend_from_slice(&bytes);
            } else {
                self.flush().await?;
                for piece in bytes.chunks(GATHER) {
                    write_out(&mut self.wire, piece, self.context.patience).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is too much to gather, in whole pieces; the rest may still be joined by more.
    async fn spill(&mut self) -> Result<(), End> {
        let whole = self.out.len() - self.out.len() % GATHER;
        if whole > 0 {
            let rest = self.out.split_off(whole);
            self.flush().await?;
            self.out = rest;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        flush(&mut self.wire, &mut self.out, self.context.patience).await
    }

    /// Ends the connection politely, without waiting long for it.
    async fn close(&mut self) {
        let polite = poll_fn(|cx| self.wire.poll_shutdown(cx));
        let _ = timeout(Duration::from_secs(5), polite).await;
    }
}

/// The lines of a letter on their way out (RFC 5321 4.5.2).
#[derive(Default)]
struct Dots {
    /// The last byte of what came before, and the one before it; nothing at the beginning.
    last: [Option<u8>; 2],
}

impl Dots {
    fn put(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len() + 16);
        for byte in bytes {
            let begins = matches!(self.last, [None, None] | [Some(b'\r'), Some(b'\n')]);
            if begins && *byte == b'.' {
                out.push(b'.');
            }
            out.push(*byte);
            self.last = [self.last[1], Some(*byte)];
        }
        out.into()
    }

    /// What is missing for the last line to be one.
    fn end(&self) -> &'static [u8] {
        match self.last {
            [_, None] | [Some(b'\r'), Some(b'\n')] => b"",
            _ => b"\r\n",
        }
    }
}

/// Waits for what the host makes; if it is not there at once, what was gathered is written meanwhile.
async fn while_flushing<T, F>(
    wire: &mut Wire<T>,
    out: &mut Vec<u8>,
    patience: Patience,
    mut made: Pin<Box<F>>,
) -> Result<F::Output, End>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future,
{
    let first = poll_fn(|cx| match made.as_mut().poll(cx) {
        Poll::Ready(made) => Poll::Ready(Some(made)),
        Poll::Pending => Poll::Ready(None),
    })
    .await;
    if let Some(made) = first {
        return Ok(made);
    }
    if out.is_empty() {
        return Ok(made.await);
    }
    let (flushed, made) = tokio::join!(flush(wire, out, patience), made);
    flushed.map(|()| made)
}

async fn flush<T>(wire: &mut Wire<T>, out: &mut Vec<u8>, patience: Patience) -> Result<(), End>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    if !out.is_empty() {
        for piece in out.chunks(GATHER) {
            write_out(wire, piece, patience).await?;
        }
        out.clear();
    }
    Ok(())
}

/// Writes at most 64 KiB, through to the socket, in the time allowed (N3).
async fn write_out<T>(wire: &mut Wire<T>, mut bytes: &[u8], patience: Patience) -> Result<(), End>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let written = timeout(Duration::from_millis(patience.write_ms), async {
        while bytes.has_remaining() {
            let n = poll_fn(|cx| wire.poll_write(cx, bytes)).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes.advance(n);
        }
        poll_fn(|cx| wire.poll_flush(cx)).await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::Broken(error)),
        Err(_) => Err(End::NotReading),
    }
}

/// Resolves when `deadline` has passed on this clock.
async fn passed(clock: &Arc<dyn Clock>, deadline: Option<Mono>) {
    let Some(deadline) = deadline else { return };
    loop {
        let left = deadline.since(clock.mono());
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(left)).await;
    }
}

/// Resolves when the server is going down; never if nobody can say so any more.
pub(super) async fn gone_down(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::Dots;

    #[test]
    fn lines_that_begin_with_a_stop_get_another_however_they_are_cut() {
        for (text, dotted) in [
            (".", "..\r\n"),
            ("", ""),
            ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n"),
            ("a.b\r\n\r\n.", "a.b\r\n\r\n..\r\n"),
            ("x", "x\r\n"),
        ] {
            for cut in 0..=text.len() {
                let mut dots = Dots::default();
                let mut out = dots.put(&text.as_bytes()[..cut]).to_vec();
                out.extend_from_slice(&dots.put(&text.as_bytes()[cut..]));
                out.extend_from_slice(dots.end());
                assert_eq!(String::from_utf8(out).unwrap(), dotted, "{text:?} at {cut}");
            }
        }
    }
}
