//! Protocols as machines: grammar, framing, replies and states, without sockets.
//!
//! Does not know: clocks, users, stores, TLS objects. A machine is handed bytes, answers and time, and hands out bytes,
//! questions and a deadline; `net/drive` is the only loop that turns one, and the binding of each protocol (`smtp`,
//! `imap`, …) answers its questions as a [`Host`].
//!
//! Invariants, cited by tests:
//! - S1: at most one question is outstanding; answers of several pages end with [`Part::Last`].
//! - S2: the output does not depend on how the input was cut into pieces.
//! - S3: a machine's memory is bounded, whatever the peer sends (P7).
//! - S4: bytes that came before TLS started never count after it.

use std::future::Future;
use std::ops::Range;

use bytes::Bytes;

use crate::base::{BlobId, Mono};

pub mod http;
pub mod imap;
pub mod sasl;
pub mod smtp;

/// One side of one connection, without the connection.
pub trait Session: Send {
    /// What the machine wants to know or have done.
    type Ask: Send + std::fmt::Debug;
    /// What it is told, in one or more parts.
    type Answer: Send + std::fmt::Debug;
    /// What it is told unasked (new mail while idling, the server is going down).
    type Notice: Send + std::fmt::Debug;

    /// Feeds one event. `now` never goes back.
    fn input(&mut self, now: Mono, event: Event<Self::Answer, Self::Notice>);

    /// The next thing to do, until `None`. After [`Output::Ask`] there is nothing more until it was answered.
    fn output(&mut self) -> Option<Output<Self::Ask>>;

    /// False while a question is outstanding or enough input waits: the driver then does not read from the peer.
    fn wants_input(&self) -> bool;

    /// True while a [`Event::Notice`] would be used (IMAP IDLE); the driver then waits on [`Host::notice`] too.
    fn wants_notice(&self) -> bool {
        false
    }

    /// When to call with [`Event::Tick`] if nothing else happens before.
    fn deadline(&self) -> Option<Mono>;

    /// The notice that says the server is going down. It may come at any time, whatever [`Session::wants_notice`] says;
    /// the machine then takes its leave (SMTP 421, IMAP BYE) and closes, now or after the command in progress. A machine
    /// without such a notice is closed as soon as it waits for the peer.
    fn going_down() -> Option<Self::Notice>
    where
        Self: Sized,
    {
        None
    }
}

#[derive(Debug)]
pub enum Event<A, N> {
    /// From the peer.
    Bytes(Bytes),
    Answer(A, Part),
    Notice(N),
    /// Answers [`Output::BodyEnd`]: the whole body is with the host (not yet durable), or why it is not.
    BodyStored(Result<(), BodyFault>),
    /// The deadline passed.
    Tick,
    /// TLS is up, either because [`Output::StartTls`] asked or because the port is an implicit TLS one (then it is the
    /// first event).
    Secured(Secured),
    /// The peer closed its side.
    Eof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    More,
    Last,
}

/// What is known of the TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// As in `TLSv1.3`.
    pub version: String,
    pub cipher: String,
    /// RFC 9266 `tls-exporter`, for TLS 1.3.
    pub exporter: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// No room, or the disk failed: answered as a failure of the world.
    NotStored,
}

#[derive(Debug)]
pub enum Output<Q> {
    /// To the peer.
    Write(Bytes),
    Ask(Q),
    /// Part of a body (SMTP message after undotting, IMAP APPEND literal), at most 64 KiB.
    BodyChunk(Bytes),
    /// The body is complete; answered by [`Event::BodyStored`].
    BodyEnd,
    /// The body will not be used: forget its chunks. Not answered.
    BodyAbort,
    /// To the peer, this range of bytes of a blob. If it cannot be read whole the driver closes the connection, since the
    /// length is already announced.
    SendBlob {
        blob: BlobId,
        range: Range<u64>,
    },
    /// The same, as the lines of a letter after DATA (RFC 5321 4.5.2): a line that begins with a full stop gets another one,
    /// and the last line is ended if it is not.
    SendDotted {
        blob: BlobId,
        range: Range<u64>,
    },
    /// After what was written before is flushed, do this side's part of a TLS handshake, drop any plain bytes that were
    /// already received, and tell with [`Event::Secured`].
    StartTls,
    /// Flush, then close.
    Close,
}

/// Answers a machine's questions: written once for each protocol, by its binding.
pub trait Host<S: Session>: Send {
    fn ask(&mut self, ask: S::Ask) -> impl Future<Output = (S::Answer, Part)> + Send;

    /// The next page, asked for when the one before was written out, while the part was [`Part::More`].
    fn more(&mut self) -> impl Future<Output = (S::Answer, Part)> + Send;

    /// Waits for something to tell unasked; must be safe to drop and call again.
    fn notice(&mut self) -> impl Future<Output = S::Notice> + Send;

    fn body_chunk(&mut self, chunk: Bytes) -> impl Future<Output = ()> + Send;
    fn body_end(&mut self) -> impl Future<Output = Result<(), BodyFault>> + Send;
    fn body_abort(&mut self);

    /// Reads part of a blob; the driver asks for at most 256 KiB at a time.
    fn blob(&mut self, blob: BlobId, range: Range<u64>) -> impl Future<Output = Result<Bytes, BodyFault>> + Send;
}
