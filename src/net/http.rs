//! The HTTP client: one request, one answer, over TLS, with a limit on everything the other side can make grow.
//!
//! A connection each time: what asks this way asks seldom, and a connection that nobody keeps cannot go stale.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::dial::root_store;
use super::outward::is_public;
use super::tls::{TlsFault, Unusable, fault};

/// For one address to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// For the whole request.
const WHOLE: Duration = Duration::from_secs(60);
/// The longest answer that is read, unless it is said otherwise.
const BODY_BYTES: usize = 1024 * 1024;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 6;

/// Whom the other side's certificate may come from.
pub enum Roots {
    /// What browsers trust.
    Public,
    /// These, PEM, and no others.
    Only(Vec<u8>),
}

/// Why there is no answer. The texts are for the log and for an owner who wants to know more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// It is no https address.
    Address(String),
    /// The name has no address, or nobody could be asked for it.
    Name(String),
    /// No address of it lets us connect.
    Connect(String),
    /// It has no address outside of a house, and no other is dialled ([`HttpClient::outward`]).
    Inside,
    /// Its certificate is not valid now: more often our clock is wrong than theirs.
    Time(String),
    /// Its certificate comes from nobody we know, or is for another name.
    Untrusted(String),
    /// The connection broke, or what came was no HTTP.
    Broken(String),
    Slow,
    /// More bytes than these.
    TooLong(usize),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Address(what) => write!(f, "{what} is no https address"),
            HttpError::Name(what) => write!(f, "the name cannot be looked up: {what}"),
            HttpError::Connect(what) => write!(f, "no connection: {what}"),
            HttpError::Inside => f.write_str("the name has no public address"),
            HttpError::Time(what) => write!(f, "its certificate is not valid at this time: {what}"),
            HttpError::Untrusted(what) => write!(f, "its certificate is not trusted: {what}"),
            HttpError::Broken(what) => write!(f, "the connection broke: {what}"),
            HttpError::Slow => f.write_str("no answer in time"),
            HttpError::TooLong(limit) => write!(f, "the answer is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for HttpError {}

/// Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    tls: TlsConnector,
    limit: usize,
    outward: bool,
}

impl HttpClient {
    /// Errors: the roots are no certificates.
    pub fn new(roots: &Roots) -> Result<HttpClient, Unusable> {
        let store = root_store(roots)?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Unusable(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(HttpClient { tls: TlsConnector::from(Arc::new(config)), limit: BODY_BYTES, outward: false })
    }

    /// Reads no answer that is longer.
    pub fn with_limit(self, bytes: usize) -> HttpClient {
        HttpClient { limit: bytes, ..self }
    }

    /// Dials public addresses only: for addresses that a stranger has named, who is to learn nothing of what is in the house.
    pub fn outward(self) -> HttpClient {
        HttpClient { outward: true, ..self }
    }

    /// Sends a request to an `https` address. Redirects are not followed.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Boxed: a handshake and a request are a large future for whoever waits on it.
        match timeout(WHOLE, Box::pin(self.exchange(request))).await {
            Ok(done) => done,
            Err(_) => Err(HttpError::Slow),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (host, port) = place(request.uri())?;
        let name = ServerName::try_from(host.clone()).map_err(|_| HttpError::Address(host.clone()))?;
        let stream = connect(&host, port, self.outward).await?;
        let tls = self.tls.connect(name, stream).await.map_err(|error| tls_fault(&error))?;
        let broken = |error: hyper::Error| HttpError::Broken(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
        let (mut parts, body) = request.into_parts();
        // RFC 3986 3.2.2: an IPv6 address stands in brackets.
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let authority = if port == 443 { host } else { format!("{host}:{port}") };
        let authority = HeaderValue::from_str(&authority).map_err(|_| HttpError::Address(authority))?;
        parts.headers.insert(HOST, authority);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|_| HttpError::Address(path.to_owned()))?;
        let answer = async {
            let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await.map_err(broken)?;
            let (parts, body) = response.into_parts();
            match Limited::new(body, self.limit).collect().await {
                Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLong(self.limit)),
                Err(error) => Err(HttpError::Broken(error.to_string())),
            }
        };
        beside(connection, answer).await
    }
}

/// The answer, with the connection driven beside it.
async fn beside<T>(connection: impl Future<Output = hyper::Result<()>>, answer: impl Future<Output = T>) -> T {
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = &mut connection => {}
    }
    // All has been read (or will never be): the answer knows which.
    answer.await
}

fn place(uri: &Uri) -> Result<(String, u16), HttpError> {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Ok((host, uri.port_u16().unwrap_or(443)))
        }
        _ => Err(HttpError::Address(uri.to_string())),
    }
}

async fn connect(host: &str, port: u16, outward: bool) -> Result<TcpStream, HttpError> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| HttpError::Name(error.to_string()))?;
    let mut last = HttpError::Name("it has no address".to_owned());
    for address in found.take(ADDRESSES) {
        // Of the very address that is dialled: a name can answer twice and differently.
        if outward && !is_public(address.ip()) {
            last = HttpError::Inside;
            continue;
        }
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = HttpError::Connect(format!("{address}: {error}")),
            Err(_) => last = HttpError::Connect(format!("{address} does not answer")),
        }
    }
    Err(last)
}

fn tls_fault(error: &std::io::Error) -> HttpError {
    match fault(error) {
        TlsFault::Time => HttpError::Time(error.to_string()),
        TlsFault::Name | TlsFault::Untrusted => HttpError::Untrusted(error.to_string()),
        TlsFault::Other => HttpError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::{Certs, Pair, self_signed};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// A server for one connection that answers with these bytes; gives its port.
    async fn server(pair: Pair, answer: Vec<u8>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Certs::new(&[pair]).unwrap().config().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = TlsAcceptor::from(config).accept(stream).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tls.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with("GET /x?y HTTP/1.1\r\n") && head.contains("host: localhost:"), "{head}");
            let _ = tls.write_all(&answer).await;
            let _ = tls.shutdown().await;
        });
        port
    }

    async fn get(pair: Pair, root: Vec<u8>, answer: &[u8]) -> Result<Response<Bytes>, HttpError> {
        let port = server(pair, answer.to_vec()).await;
        let client = HttpClient::new(&Roots::Only(root)).unwrap();
        client.send(Request::get(format!("https://localhost:{port}/x?y")).body(Bytes::new()).unwrap()).await
    }

    fn localhost() -> (Pair, Vec<u8>) {
        let pair = self_signed(&["localhost".to_owned()]).unwrap();
        let root = pair.chain.clone();
        (pair, root)
    }

    #[tokio::test]
    async fn an_answer_is_read_with_its_length_or_to_its_end() {
        for answer in [&b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nhi"[..], b"HTTP/1.1 201 Made\r\n\r\nhi"] {
            let (pair, root) = localhost();
            let got = get(pair, root, answer).await.unwrap();
            assert_eq!((got.status().as_u16(), &got.body()[..]), (201, &b"hi"[..]));
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_kept() {
        let (pair, root) = localhost();
        let long = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; BODY_BYTES + 1]].concat();
        assert_eq!(get(pair, root, &long).await.unwrap_err(), HttpError::TooLong(BODY_BYTES));
    }

    #[tokio::test]
    async fn a_stranger_s_certificate_is_told_from_a_broken_line() {
        let (pair, _) = localhost();
        let (_, other) = localhost();
        assert!(matches!(get(pair, other, b"").await, Err(HttpError::Untrusted(_))));
        let (pair, root) = localhost();
        assert!(matches!(get(pair, root, b"what").await, Err(HttpError::Broken(_))));
        let client = HttpClient::new(&Roots::Public).unwrap();
        let plain = Request::get("http://localhost/").body(Bytes::new()).unwrap();
        assert!(matches!(client.send(plain).await, Err(HttpError::Address(_))));
    }

    #[tokio::test]
    async fn who_is_sent_outward_dials_nobody_in_the_house() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = HttpClient::new(&Roots::Public).unwrap().outward();
        for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            let request = Request::get(format!("https://{host}:{port}/")).body(Bytes::new()).unwrap();
            assert_eq!(client.send(request).await.unwrap_err(), HttpError::Inside, "{host}");
        }
        assert!(timeout(Duration::from_millis(200), listener.accept()).await.is_err());
    }

    #[test]
    fn roots_that_are_none_are_refused() {
        assert!(HttpClient::new(&Roots::Only(b"junk".to_vec())).is_err());
        assert!(HttpClient::new(&Roots::Only(Vec::new())).is_err());
    }
}
