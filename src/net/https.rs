//! HTTPS, served: TLS, then HTTP/1.1 by hyper, with a limit on all that a stranger can make take time or room. What is
//! answered is a [`Site`]'s.
//!
//! A connection that has not asked for anything yet counts as silent (N5), whether its handshake is done or not: a browser
//! that comes gets the place of one that only waits.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Limited;
use hyper::body::Incoming as Received;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::drive::{End, gone_down};
use super::listen::{Handler, Incoming};
use super::tls::{ACME_TLS, Certs, TlsConfig};

/// What is asked for and answered over HTTPS. Handlers find a [`Connection`] among a request's extensions.
#[derive(Clone)]
pub struct Site(Router);

impl Site {
    pub fn new(router: Router) -> Site {
        Site(router)
    }
}

/// What a handler may know of the connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Its number since the start, as in the log.
    pub id: u64,
    /// Whether somebody else than this server vouches for the certificate that was shown.
    pub vouched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpsLimits {
    /// For the head of a request to be there whole, counted from the end of the one before: so also how long a connection
    /// may be idle.
    pub head: Duration,
    /// For the body to come and the answer to be made.
    pub whole: Duration,
    /// Bytes of a head, with its request line; at least 8 KiB.
    pub head_bytes: usize,
    /// How many fields a head may have.
    pub fields: usize,
    /// Bytes of a body. Who answers may allow less.
    pub body_bytes: usize,
}

impl Default for HttpsLimits {
    fn default() -> HttpsLimits {
        HttpsLimits {
            head: Duration::from_secs(20),
            whole: Duration::from_secs(60),
            head_bytes: 16 * 1024,
            fields: 64,
            body_bytes: 1024 * 1024,
        }
    }
}

/// HTTPS as a listener serves it.
#[derive(Clone)]
pub struct Https {
    pub site: Site,
    /// Whose [`Certs::https_config`] the next is.
    pub certs: Arc<Certs>,
    pub tls: TlsConfig,
    pub limits: HttpsLimits,
}

impl Https {
    pub fn handler(self) -> Handler {
        let https = Arc::new(self);
        Arc::new(move |incoming| {
            let https = https.clone();
            Box::pin(async move { https.serve(incoming).await })
        })
    }

    async fn serve(&self, incoming: Incoming) -> End {
        let Incoming { stream, peer, local, id, context } = incoming;
        let patience = context.patience;
        let handshake = TlsAcceptor::from(self.tls.clone()).accept(stream);
        let mut stream = match timeout(Duration::from_millis(patience.handshake_ms), handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return End::Broken(error),
            Err(_) => return End::NoHandshake,
        };
        let (_, tls) = stream.get_ref();
        // RFC 8737 3: the connection is for the handshake alone.
        if tls.alpn_protocol() == Some(ACME_TLS) {
            let _ = timeout(Duration::from_secs(5), stream.shutdown()).await;
            return End::Closed;
        }
        let connection = Connection { peer, local, id, vouched: self.certs.vouched(tls.server_name()) };
        let stop = context.stop;
        let awake = Arc::new(Mutex::new(context.awake));
        let service = service_fn(move |request: Request<Received>| {
            if let Some(awake) = awake.lock().unwrap_or_else(PoisonError::into_inner).take() {
                awake();
            }
            answer(self.site.0.clone(), request, connection, self.limits)
        });
        let stream = TokioIo::new(Patient::new(stream, Duration::from_millis(patience.write_ms)));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_header_size(self.limits.head_bytes)
            .max_headers(self.limits.fields)
            .max_buf_size(64 * 1024)
            .serve_connection(stream, service);
        until_the_end(served, stop).await
    }
}

/// A request that is being answered when the server goes down is answered still; there is no other after it.
async fn until_the_end<S, I>(served: http1::Connection<I, S>, mut stop: tokio::sync::watch::Receiver<bool>) -> End
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Received, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut served = std::pin::pin!(served);
    let (done, down) = tokio::select! {
        done = served.as_mut() => (done, false),
        () = gone_down(&mut stop) => {
            served.as_mut().graceful_shutdown();
            (served.await, true)
        }
    };
    match done {
        Ok(()) if down => End::GoingDown,
        Ok(()) => End::Closed,
        Err(error) if error.is_incomplete_message() => End::Left,
        Err(error) if error.is_timeout() => End::Closed,
        Err(error) => End::Broken(io::Error::other(error)),
    }
}

async fn answer(
    site: Router,
    request: Request<Received>,
    connection: Connection,
    limits: HttpsLimits,
) -> Result<Response<Body>, Infallible> {
    // The length that was announced.
    if hyper::body::Body::size_hint(request.body()).lower() > limits.body_bytes as u64 {
        return Ok(last(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let mut request = request.map(|body| Body::new(Limited::new(body, limits.body_bytes)));
    request.extensions_mut().insert(connection);
    match timeout(limits.whole, site.oneshot(request)).await {
        Ok(answered) => answered,
        Err(_) => Ok(last(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// After this answer the connection ends.
fn last(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A stream that fails when the other side does not take what is written to it (N3).
struct Patient<S> {
    stream: S,
    limit: Duration,
    /// While something waits to be written.
    late: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, limit: Duration) -> Patient<S> {
        Patient { stream, limit, late: None }
    }

    fn watched<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.late = None;
            return polled;
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        ready!(late.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watched(cx, polled)
    }
}
