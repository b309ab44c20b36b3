//! The loop, over pipes and real sockets, with a toy machine: a line in, a line out.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::base::{BlobId, Mono, SystemClock};
use crate::proto::{BodyFault, Event, Host, Output, Part, Secured, Session};

use super::drive::{Context, End, Patience, TlsSide, drive};
use super::listen::{Caps, Common, Ending, Handler, Listener, Spec};
use super::tls::{Certs, Pair, self_signed};
use super::{is_public, outward_addresses};

/// Commands: `echo X`, `ask X`, `pages N`, `big N`, `blob N`, `body X`, `tick MS`, `idle`, `starttls`, `panic`, `quit`.
#[derive(Default)]
struct Toy {
    input: Vec<u8>,
    out: VecDeque<Output<String>>,
    asked: bool,
    idling: bool,
    handshake: bool,
    deadline: Option<Mono>,
    secured: Option<Secured>,
    /// Lines carried out, seen from outside.
    done: Arc<AtomicUsize>,
}

impl Toy {
    fn say(&mut self, text: impl Into<String>) {
        self.out.push_back(Output::Write(Bytes::from(text.into() + "\n")));
    }

    fn run(&mut self, now: Mono) {
        while !self.asked && !self.handshake {
            let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else { return };
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let number = rest.parse::<usize>().unwrap_or(0);
            self.done.fetch_add(1, Ordering::SeqCst);
            match word {
                "echo" => self.say(rest),
                "ask" | "pages" => {
                    self.asked = true;
                    self.out.push_back(Output::Ask(line));
                }
                "big" => self.say("x".repeat(number)),
                "blob" => self.out.push_back(Output::SendBlob { blob: BlobId(1), range: 0..number as u64 }),
                "body" => {
                    self.asked = true;
                    self.out.push_back(Output::BodyChunk(Bytes::from(rest.to_owned())));
                    self.out.push_back(Output::BodyEnd);
                }
                "half" => self.out.push_back(Output::BodyChunk(Bytes::from(rest.to_owned()))),
                "tick" => self.deadline = Some(now.plus_ms(number as u64)),
                "idle" => self.idling = true,
                "secret" => {
                    let exporter = self.secured.clone().and_then(|secured| secured.exporter);
                    self.say(format!("{exporter:?}"));
                }
                "starttls" => {
                    self.say("go");
                    self.handshake = true;
                    self.out.push_back(Output::StartTls);
                }
                "panic" => panic!("as told"),
                "quit" => {
                    self.say("bye");
                    self.out.push_back(Output::Close);
                }
                _ => self.say("what?"),
            }
        }
    }
}

impl Session for Toy {
    type Ask = String;
    type Answer = String;
    type Notice = String;

    fn input(&mut self, now: Mono, event: Event<String, String>) {
        match event {
            Event::Bytes(bytes) => self.input.extend_from_slice(&bytes),
            Event::Answer(answer, part) => {
                self.asked = part == Part::More;
                self.say(answer);
            }
            Event::Notice(notice) if notice == "going down" => {
                self.say("bye bye");
                self.out.push_back(Output::Close);
            }
            Event::Notice(notice) => {
                self.idling = false;
                self.say(notice);
            }
            Event::BodyStored(stored) => {
                self.asked = false;
                self.say(format!("{stored:?}"));
            }
            Event::Tick => {
                self.deadline = None;
                self.say("tick");
            }
            Event::Secured(secured) => {
                self.input.clear(); // S4
                self.handshake = false;
                self.say(format!("secured {}", secured.version));
                self.secured = Some(secured);
            }
            Event::Eof => {}
        }
        self.run(now);
    }

    fn output(&mut self) -> Option<Output<String>> {
        self.out.pop_front()
    }

    fn wants_input(&self) -> bool {
        !self.asked
    }

    fn wants_notice(&self) -> bool {
        self.idling
    }

    fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    fn going_down() -> Option<String> {
        Some("going down".to_owned())
    }
}

#[derive(Default)]
struct ToyHost {
    left: usize,
    body: Arc<Mutex<Vec<u8>>>,
    aborted: Arc<AtomicUsize>,
    /// Blob reads asked for.
    reads: Arc<Mutex<Vec<Range<u64>>>>,
    /// Bytes of the blob.
    blob: u64,
}

impl Host<Toy> for ToyHost {
    async fn ask(&mut self, ask: String) -> (String, Part) {
        tokio::task::yield_now().await;
        if let Some(number) = ask.strip_prefix("pages ") {
            self.left = number.parse().unwrap();
            return self.page();
        }
        (format!("answer to {ask}"), Part::Last)
    }

    async fn more(&mut self) -> (String, Part) {
        self.page()
    }

    async fn notice(&mut self) -> String {
        "news".to_owned()
    }

    async fn body_chunk(&mut self, chunk: Bytes) {
        self.body.lock().unwrap().extend_from_slice(&chunk);
    }

    async fn body_end(&mut self) -> Result<(), BodyFault> {
        Ok(())
    }

    fn body_abort(&mut self) {
        self.aborted.fetch_add(1, Ordering::SeqCst);
    }

    async fn blob(&mut self, _: BlobId, range: Range<u64>) -> Result<Bytes, BodyFault> {
        self.reads.lock().unwrap().push(range.clone());
        let end = range.end.min(self.blob);
        Ok(Bytes::from(vec![b'b'; usize::try_from(end.saturating_sub(range.start)).unwrap()]))
    }
}

impl ToyHost {
    fn page(&mut self) -> (String, Part) {
        self.left -= 1;
        (format!("{} left", self.left), if self.left == 0 { Part::Last } else { Part::More })
    }
}

/// A context, and what ends it.
fn context() -> (Context, watch::Sender<bool>) {
    let (stop_tx, stop) = watch::channel(false);
    let context = Context {
        clock: Arc::new(SystemClock::new()),
        tls: None,
        implicit_tls: false,
        patience: Patience::default(),
        stop,
        awake: None,
    };
    (context, stop_tx)
}

fn tls_context() -> (Context, watch::Sender<bool>, TlsConnector) {
    let (mut context, stop) = context();
    let (config, connector) = tls();
    context.tls = Some(TlsSide::Server(config));
    (context, stop, connector)
}

fn tls() -> (Arc<rustls::ServerConfig>, TlsConnector) {
    let pair = self_signed(&["mail.example.test".to_owned()]).unwrap();
    let connector = trusting(&pair, rustls::ALL_VERSIONS);
    (Certs::new(&[pair]).unwrap().config().unwrap(), connector)
}

pub(super) fn trusting(pair: &Pair, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pair.chain).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

/// Of a client that takes any certificate, also one whose extensions it does not know (RFC 8737 3).
pub(super) fn blind() -> ClientConfig {
    #[derive(Debug)]
    struct Blind;
    impl rustls::client::danger::ServerCertVerifier for Blind {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind))
        .with_no_client_auth()
}

pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from("mail.example.test").unwrap()
}

/// Says all of `script` at once, closes its side, and gives everything that came back.
async fn talk(script: &str, context: Context, host: ToyHost) -> (String, End) {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let session = tokio::spawn(drive(server, Toy::default(), host, context));
    client.write_all(script.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    (heard, session.await.unwrap())
}

#[tokio::test]
async fn questions_pages_bodies_and_notices_find_their_way() {
    let (context, _stop) = context();
    let host = ToyHost::default();
    let body = host.body.clone();
    let (heard, end) = talk("echo a\nask b\npages 3\nbody c\nidle\nquit\n", context, host).await;
    assert_eq!(heard, "a\nanswer to ask b\n2 left\n1 left\n0 left\nOk(())\nbye\n");
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(*body.lock().unwrap(), b"c");
}

#[tokio::test]
async fn a_peer_that_leaves_within_a_body_takes_it_along() {
    let (context, _stop) = context();
    let host = ToyHost::default();
    let aborted = host.aborted.clone();
    let (_, end) = talk("half a letter\n", context, host).await;
    assert!(matches!(end, End::Left), "{end:?}");
    assert_eq!(aborted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_notice_wakes_an_idle_session_and_a_deadline_ticks() {
    let (context, _stop) = context();
    let (client, server) = tokio::io::duplex(1024);
    tokio::spawn(drive(server, Toy::default(), ToyHost::default(), context));
    let mut client = BufReader::new(client);
    client.write_all(b"idle\n").await.unwrap();
    assert_eq!(line(&mut client).await, "news\n");
    client.write_all(b"tick 5\n").await.unwrap();
    assert_eq!(line(&mut client).await, "tick\n");
}

async fn line(client: &mut BufReader<impl AsyncRead + Unpin>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line
}

/// A stream that has everything to read at once, and keeps each write apart.
struct Scripted {
    input: Bytes,
    writes: Arc<Mutex<Vec<usize>>>,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = buffer.remaining().min(self.input.len());
        buffer.put_slice(&self.input.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, _: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.lock().unwrap().push(bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn replies_to_pipelined_commands_leave_in_one_piece_and_never_more_than_64_kib_wait() {
    let (context, _stop) = context();
    let writes = Arc::new(Mutex::new(Vec::new()));
    let input = Bytes::from("echo hello\n".repeat(50) + "quit\n");
    let end = drive(Scripted { input, writes: writes.clone() }, Toy::default(), ToyHost::default(), context).await;
    assert!(matches!(end, End::Closed));
    assert_eq!(*writes.lock().unwrap(), [50 * 6 + 4]);

    let (context, _stop) = self::context();
    let writes = Arc::new(Mutex::new(Vec::new()));
    let input = Bytes::from("big 999\n".repeat(1000) + "quit\n");
    drive(Scripted { input, writes: writes.clone() }, Toy::default(), ToyHost::default(), context).await;
    let writes = writes.lock().unwrap();
    assert_eq!(writes.iter().sum::<usize>(), 1_000_004);
    assert!(writes.iter().all(|n| *n <= 64 * 1024), "{writes:?}");
    assert!(writes.len() < 20, "{writes:?}");
}

#[tokio::test]
async fn a_blob_is_read_in_pieces_and_one_that_is_short_ends_the_connection() {
    let (context, _stop) = context();
    let host = ToyHost { blob: 600_000, ..ToyHost::default() };
    let reads = host.reads.clone();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let session = tokio::spawn(drive(server, Toy::default(), host, context));
    let mut client = BufReader::new(client);
    client.write_all(b"echo before\nblob 600000\necho after\nblob 600001\necho never\n").await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(matches!(session.await.unwrap(), End::BlobGone));
    let text = String::from_utf8(heard).unwrap();
    let first = text.strip_prefix("before\n").unwrap();
    assert_eq!(first.find("after"), Some(600_000));
    assert!(!text.contains("never"));
    assert_eq!(reads.lock().unwrap()[..3], [0..262_144, 262_144..524_288, 524_288..600_000]);
}

/// N1: the bytes behind STARTTLS are in the same segment as it; the session after the handshake never sees them.
#[tokio::test]
async fn what_was_smuggled_behind_starttls_never_counts() {
    let (context, _stop, connector) = tls_context();
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(drive(server, Toy::default(), ToyHost::default(), context));
    client.write_all(b"starttls\necho smuggled\n").await.unwrap();
    let mut go = [0u8; 3];
    client.read_exact(&mut go).await.unwrap();
    assert_eq!(&go, b"go\n");
    let mut client = BufReader::new(connector.connect(name(), client).await.unwrap());
    client.write_all(b"echo safe\n").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(line(&mut client).await, "secured TLSv1.3\n");
    assert_eq!(line(&mut client).await, "safe\n");
}

/// N1, the other half: bytes that reach us only after the machine asked for TLS fail the handshake.
#[tokio::test]
async fn what_comes_in_the_clear_after_starttls_fails_the_handshake() {
    let (context, _stop, _connector) = tls_context();
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let session = tokio::spawn(drive(server, Toy::default(), ToyHost::default(), context));
    client.write_all(b"starttls\n").await.unwrap();
    let mut go = [0u8; 3];
    client.read_exact(&mut go).await.unwrap();
    client.write_all(b"echo smuggled\n").await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.windows(8).any(|window| window == b"smuggled"));
    assert!(matches!(session.await.unwrap(), End::Broken(_)));
}

#[tokio::test]
async fn both_sides_export_the_same_secret_and_only_in_tls_1_3() {
    for (versions, version) in [(&[&rustls::version::TLS13], "TLSv1.3"), (&[&rustls::version::TLS12], "TLSv1.2")] {
        let pair = self_signed(&["mail.example.test".to_owned()]).unwrap();
        let connector = trusting(&pair, versions);
        let (mut context, _stop) = context();
        context.tls = Some(TlsSide::Server(Certs::new(&[pair]).unwrap().config().unwrap()));
        context.implicit_tls = true;
        let (client, server) = tokio::io::duplex(64 * 1024);
        tokio::spawn(drive(server, Toy::default(), ToyHost::default(), context));
        let mut client = connector.connect(name(), client).await.unwrap();
        client.write_all(b"secret\n").await.unwrap();
        client.flush().await.unwrap();
        let ours =
            client.get_ref().1.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
        let expected = (version == "TLSv1.3").then(|| ours.to_vec());
        let mut client = BufReader::new(client);
        assert_eq!(line(&mut client).await, format!("secured {version}\n"));
        assert_eq!(line(&mut client).await, format!("{expected:?}\n"));
    }
}

/// N2 and N3: no more commands are taken than their output fits, and in the end the peer is let go.
#[tokio::test]
async fn a_peer_that_does_not_read_is_not_read_and_let_go() {
    let (mut context, _stop) = context();
    context.patience.write_ms = 50;
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let toy = Toy::default();
    let done = toy.done.clone();
    let session = tokio::spawn(drive(server, toy, ToyHost::default(), context));
    // 20,000 commands of 9 bytes, each of which makes 10 KB. One read of ours is 16 KiB; there must be no second.
    let speaker = tokio::spawn(async move {
        let _ = client.write_all("big 9999\n".repeat(20_000).as_bytes()).await;
        client
    });
    assert!(matches!(session.await.unwrap(), End::NotReading));
    let done = done.load(Ordering::SeqCst);
    assert!((1..=16 * 1024 / 9).contains(&done), "{done}");
    drop(speaker.await);
}

#[tokio::test]
async fn a_peer_that_does_not_finish_its_handshake_is_let_go() {
    let (mut context, _stop, _connector) = tls_context();
    context.implicit_tls = true;
    context.patience.handshake_ms = 20;
    let (client, server): (DuplexStream, _) = tokio::io::duplex(1024);
    assert!(matches!(drive(server, Toy::default(), ToyHost::default(), context).await, End::NoHandshake));
    drop(client);
}

#[tokio::test]
async fn a_session_takes_its_leave_when_the_server_goes_down() {
    let (context, stop) = context();
    let (client, server) = tokio::io::duplex(1024);
    let session = tokio::spawn(drive(server, Toy::default(), ToyHost::default(), context));
    let mut client = BufReader::new(client);
    client.write_all(b"echo here\n").await.unwrap();
    assert_eq!(line(&mut client).await, "here\n");
    stop.send_replace(true);
    assert_eq!(line(&mut client).await, "bye bye\n");
    assert!(matches!(session.await.unwrap(), End::Closed));
}

// Real sockets.

fn handler() -> Handler {
    Arc::new(|incoming| Box::pin(drive(incoming.stream, Toy::default(), ToyHost::default(), incoming.context)))
}

fn open(caps: Caps, implicit_tls: bool) -> (Listener, SocketAddr, Ending, TlsConnector) {
    let (config, connector) = tls();
    let (common, ending) = Common::new(Arc::new(SystemClock::new()), Some(config));
    let spec = Spec {
        name: "toy".to_owned(),
        bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: 0,
        implicit_tls,
        caps,
        patience: Patience::default(),
    };
    let listener = Listener::open(spec, common, handler()).unwrap();
    let address = *listener.addresses().first().unwrap();
    (listener, address, ending, connector)
}

#[tokio::test]
async fn a_panic_ends_its_own_session_only() {
    let (_listener, address, _ending, _) = open(Caps::default(), false);
    let mut other = BufReader::new(TcpStream::connect(address).await.unwrap());
    other.write_all(b"echo one\n").await.unwrap();
    assert_eq!(line(&mut other).await, "one\n");
    let mut bad = TcpStream::connect(address).await.unwrap();
    bad.write_all(b"panic\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = bad.read_to_end(&mut rest).await; // a reset is as good
    assert!(rest.is_empty());
    other.write_all(b"echo two\n").await.unwrap();
    assert_eq!(line(&mut other).await, "two\n");
    let mut next = BufReader::new(TcpStream::connect(address).await.unwrap());
    next.write_all(b"echo three\n").await.unwrap();
    assert_eq!(line(&mut next).await, "three\n");
}

/// N5: a crowd that connects and says nothing does not keep out who does.
#[tokio::test]
async fn the_oldest_silent_one_makes_room() {
    let (_listener, address, _ending, _) = open(Caps { total: 3, per_address: 10, silent: 2 }, false);
    let mut first = BufReader::new(TcpStream::connect(address).await.unwrap());
    first.write_all(b"echo awake\n").await.unwrap();
    assert_eq!(line(&mut first).await, "awake\n");
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut last = BufReader::new(TcpStream::connect(address).await.unwrap());
    last.write_all(b"echo in\n").await.unwrap();
    assert_eq!(line(&mut last).await, "in\n");
    first.write_all(b"echo still\n").await.unwrap();
    assert_eq!(line(&mut first).await, "still\n");
    let mut rest = Vec::new();
    let _ = silent.remove(0).read_to_end(&mut rest).await; // let go: this ends
}

#[tokio::test]
async fn closing_a_listener_leaves_its_sessions_and_their_end_is_heard() {
    let (listener, address, mut ending, connector) = open(Caps::default(), true);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = BufReader::new(connector.connect(name(), stream).await.unwrap());
    assert_eq!(line(&mut client).await, "secured TLSv1.3\n");
    listener.close().await;
    assert!(TcpStream::connect(address).await.is_err());
    client.write_all(b"echo on\n").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(line(&mut client).await, "on\n");
    ending.announce();
    assert_eq!(line(&mut client).await, "bye bye\n");
    ending.ended().await;
}

#[tokio::test]
async fn waiting_for_a_notice_that_never_comes_costs_nothing_when_the_peer_speaks() {
    struct Silent(ToyHost);
    impl Host<Toy> for Silent {
        async fn ask(&mut self, ask: String) -> (String, Part) {
            Host::<Toy>::ask(&mut self.0, ask).await
        }
        async fn more(&mut self) -> (String, Part) {
            Host::<Toy>::more(&mut self.0).await
        }
        async fn notice(&mut self) -> String {
            pending().await
        }
        async fn body_chunk(&mut self, _: Bytes) {}
        async fn body_end(&mut self) -> Result<(), BodyFault> {
            Err(BodyFault::NotStored)
        }
        fn body_abort(&mut self) {}
        async fn blob(&mut self, _: BlobId, _: Range<u64>) -> Result<Bytes, BodyFault> {
            Err(BodyFault::NotStored)
        }
    }
    let (context, _stop) = context();
    let (client, server) = tokio::io::duplex(1024);
    tokio::spawn(drive(server, Toy::default(), Silent(ToyHost::default()), context));
    let mut client = BufReader::new(client);
    client.write_all(b"idle\necho a\n").await.unwrap();
    assert_eq!(line(&mut client).await, "a\n");
    client.write_all(b"echo b\n").await.unwrap();
    assert_eq!(line(&mut client).await, "b\n");
}

#[test]
fn addresses_of_a_house_are_not_the_worlds() {
    let public = |text: &str| is_public(text.parse().unwrap());
    for inside in [
        "10.1.2.3",
        "192.168.1.20",
        "172.16.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "169.254.1.1",
        "192.0.2.1",
        "0.0.0.0",
        "255.255.255.255",
        "::1",
        "fe80::1",
        "fd00::1",
        "2001:db8::1",
        "::ffff:192.0.2.1",
    ] {
        assert!(!public(inside), "{inside}");
    }
    for outside in ["8.8.8.8", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2a01:4f8::1", "2001:470::1"] {
        assert!(public(outside), "{outside}");
    }
    assert!(outward_addresses().into_iter().all(is_public));
}
