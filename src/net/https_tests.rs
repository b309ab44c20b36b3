//! HTTPS over real sockets: what a browser does, and what a stranger may not.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::base::SystemClock;

use super::drive::Patience;
use super::https::{Connection, Https, HttpsLimits, Site};
use super::listen::{Caps, Common, Ending, Listener, Spec};
use super::tests::{name, trusting};
use super::tls::{Certs, Pair, self_signed};

/// For what must happen; a busy machine may take long.
const SURELY: Duration = Duration::from_secs(30);

struct World {
    listener: Listener,
    ending: Ending,
    connector: TlsConnector,
    certs: Arc<Certs>,
}

fn site() -> Site {
    Site::new(
        Router::new()
            .route("/", get(async || "here"))
            .route("/who", get(async |Extension(who): Extension<Connection>| format!("{who:?}")))
            .route("/echo", post(async |body: Bytes| body))
            .route(
                "/slow",
                get(async || {
                    sleep(Duration::from_millis(500)).await;
                    "at last"
                }),
            )
            .route("/never", get(std::future::pending::<()>))
            .route("/panic", get(async || -> &'static str { panic!("as told") }))
            .route("/big", get(async || "x".repeat(64 << 20))),
    )
}

fn quick() -> HttpsLimits {
    HttpsLimits {
        head: Duration::from_millis(300),
        whole: Duration::from_millis(600),
        body_bytes: 1000,
        ..HttpsLimits::default()
    }
}

fn patient() -> HttpsLimits {
    HttpsLimits { head: SURELY, whole: SURELY, ..quick() }
}

fn open(limits: HttpsLimits, caps: Caps, patience: Patience) -> World {
    let pair = self_signed(&["mail.example.test".to_owned()]).unwrap();
    open_with(pair, limits, caps, patience)
}

fn open_with(pair: Pair, limits: HttpsLimits, caps: Caps, patience: Patience) -> World {
    let connector = trusting(&pair, rustls::ALL_VERSIONS);
    let certs = Certs::new(&[pair]).unwrap();
    let https = Https { site: site(), tls: certs.https_config().unwrap(), certs: certs.clone(), limits };
    let (common, ending) = Common::new(Arc::new(SystemClock::new()), None);
    let bind = Some("127.0.0.1".parse().unwrap());
    let spec = Spec { name: "https".to_owned(), bind, port: 0, implicit_tls: true, caps, patience };
    let listener = Listener::open(spec, common, https.handler()).unwrap();
    World { listener, ending, connector, certs }
}

fn usual(limits: HttpsLimits) -> World {
    open(limits, Caps::default(), Patience::default())
}

impl World {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.listener.addresses()[0]).await.unwrap()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connector.connect(name(), self.tcp().await).await.unwrap()
    }

    async fn say(&self, words: &str) -> String {
        let mut client = self.connect().await;
        client.write_all(words.as_bytes()).await.unwrap();
        rest(&mut client).await
    }
}

/// All that comes until the other side ends the connection, which it has to.
async fn rest(client: &mut TlsStream<TcpStream>) -> String {
    let mut heard = Vec::new();
    let read = timeout(SURELY, client.read_to_end(&mut heard)).await.expect("the connection ends");
    // Whether with a word or not is no matter here.
    drop(read);
    String::from_utf8_lossy(&heard).into_owned()
}

async fn until(client: &mut TlsStream<TcpStream>, words: &str) -> String {
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(words) {
        let read = timeout(SURELY, client.read_buf(&mut heard)).await.expect("an answer").unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn requests_behind_one_another_are_answered_in_their_order() {
    let world = usual(patient());
    let many = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\noneGET / HTTP/1.1\r\nHost: x\r\n\r\n\
                GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let heard = world.say(many).await;
    let at = |words: &str| heard.find(words).unwrap_or_else(|| panic!("{words} in {heard}"));
    assert!(at("one") < at("here") && at("here") < at("404 Not Found"), "{heard}");

    let mut client = world.connect().await;
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(until(&mut client, "here").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn a_head_that_is_slow_or_never_ends_is_not_waited_for() {
    let world = usual(quick());
    assert_eq!(world.say("").await, "", "nothing was asked");
    let half = world.say("GET / HTTP/1.1\r\nHost: x\r\n").await;
    assert!(!half.contains("200 OK"), "{half}");

    // One byte at a time, each well within the limit.
    let mut client = world.connect().await;
    let dripping = async {
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n"
        {
            if client.write_all(&[*byte]).await.is_err() {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    };
    let refused = timeout(SURELY, dripping).await.unwrap();
    assert!(refused || !rest(&mut client).await.contains("200 OK"));

    let world = usual(patient());
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(70_000));
    assert!(world.say(&long).await.starts_with("HTTP/1.1 431 "));
    let fields = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert!(world.say(&fields).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_body_that_is_slow_or_too_long_is_not_waited_for() {
    let world = usual(quick());
    let slow = world.say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let never = world.say("GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(never.starts_with("HTTP/1.1 408 "), "{never}");

    let world = usual(patient());
    let fits = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{}",
        "z".repeat(1000)
    );
    assert!(world.say(&fits).await.ends_with(&"z".repeat(1000)));
    let announced = world.say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n").await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    let chunk = format!("258\r\n{}\r\n", "z".repeat(600));
    let pieces = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let pieces = world.say(&pieces).await;
    assert!(pieces.starts_with("HTTP/1.1 413 "), "{pieces}");
}

/// N3.
#[tokio::test]
async fn who_does_not_take_the_answer_is_let_go() {
    let world = open(patient(), Caps::default(), Patience { write_ms: 300, ..Patience::default() });
    let mut client = world.connect().await;
    client.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // Nothing is read meanwhile.
    sleep(Duration::from_secs(2)).await;
    let mut heard = 0;
    let mut some = vec![0u8; 1 << 20];
    while let Ok(Ok(read @ 1..)) = timeout(SURELY, client.read(&mut some)).await {
        heard += read;
    }
    assert!(heard < 64 << 20, "{heard}");
}

/// N5: a handshake alone does not keep a place.
#[tokio::test]
async fn who_asks_gets_the_place_of_who_only_waits() {
    let world = open(patient(), Caps { total: 4, per_address: 10, silent: 3 }, Patience::default());
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(world.connect().await);
    }
    let mut browser = world.connect().await;
    browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut browser, "here").await;
    for _ in 0..8 {
        waiting.push(world.connect().await);
    }
    browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut browser, "here").await;
    assert_eq!(rest(&mut waiting[0]).await, "");
}

/// N4.
#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let world = usual(patient());
    let mut other = world.connect().await;
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut other, "here").await;
    assert_eq!(world.say("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await, "");
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut other, "here").await;
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_answered() {
    let World { listener, mut ending, connector, .. } = usual(patient());
    let address = listener.addresses()[0];
    let connect = async || connector.connect(name(), TcpStream::connect(address).await.unwrap()).await.unwrap();
    let (mut idle, mut busy) = (connect().await, connect().await);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut idle, "here").await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    listener.close().await;
    ending.announce();
    assert_eq!(rest(&mut idle).await, "");
    let last = rest(&mut busy).await;
    assert!(last.contains("at last") && !last.contains("here"), "{last}");
    timeout(SURELY, ending.ended()).await.unwrap();
}

/// RFC 8737 3.
#[tokio::test]
async fn an_authority_that_looks_gets_its_certificate_and_nothing_else() {
    let world = usual(patient());
    world.certs.put_challenge("mail.example.test", &[7; 32]).unwrap();
    let mut config = super::tests::blind();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let mut looking = connector.connect(name(), world.tcp().await).await.unwrap();
    let shown = looking.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let (_, shown) = x509_parser::parse_x509_certificate(&shown).unwrap();
    assert!(shown.extensions().iter().any(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31"), "{shown:?}");
    let _ = looking.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(rest(&mut looking).await, "");
    assert!(world.say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.contains("here"));
}

#[tokio::test]
async fn who_asks_is_known_and_whether_anybody_vouches_for_us() {
    let ask = "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let own = usual(patient()).say(ask).await;
    assert!(own.contains("vouched: false") && own.contains("peer: 127.0.0.1:"), "{own}");

    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name = rcgen::DistinguishedName::new();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Authority");
    let issuer = rcgen::Issuer::new(authority, rcgen::KeyPair::generate().unwrap());
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["mail.example.test".to_owned()]).unwrap();
    let leaf = params.signed_by(&leaf_key, &issuer).unwrap();
    let pair = Pair { chain: leaf.pem().into_bytes(), key: leaf_key.serialize_pem().into_bytes() };
    let connector = TlsConnector::from(Arc::new(super::tests::blind()));
    let world = open_with(pair, patient(), Caps::default(), Patience::default());
    let world = World { connector, ..world };
    assert!(world.say(ask).await.contains("vouched: true"));
}
