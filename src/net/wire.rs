//! A connection that starts in the clear or under TLS, and may change once.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

/// Bytes asked for at a time: a TLS record's worth.
const READ: usize = 16 * 1024;

pub(super) enum Wire<T> {
    Plain(T),
    Tls(Box<TlsStream<T>>),
    /// Between the two; what is asked of it fails.
    Gone,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// What is there to read; empty at the end. The space it is read into lives on the stack of this call only, so that
    /// an idle connection holds no buffer of ours.
    pub(super) fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(match self {
            Wire::Plain(plain) => Pin::new(plain).poll_read(cx, &mut buffer),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, &mut buffer),
            Wire::Gone => Poll::Ready(Err(gone())),
        })?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Wire::Plain(plain) => Pin::new(plain).poll_write(cx, bytes),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
            Wire::Gone => Poll::Ready(Err(gone())),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(plain) => Pin::new(plain).poll_flush(cx),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            Wire::Gone => Poll::Ready(Err(gone())),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(plain) => Pin::new(plain).poll_shutdown(cx),
            Wire::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
            Wire::Gone => Poll::Ready(Ok(())),
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
