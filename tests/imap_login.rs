//! SCRAM-SHA-256 over IMAP, from the client's first word to the tagged OK: the machine, its host, and the keys that the
//! directory made from the password. A transcript cannot say it, since each answer depends on the one before.

mod scram;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use homepost::account;
use homepost::base::{Clock, ManualClock, SeededRandom, Time};
use homepost::directory::manage::account::NewAccount;
use homepost::directory::manage::device::{self, NewDevice, Password};
use homepost::directory::{Error, Internal, Throttle};
use homepost::imap;
use homepost::message;
use homepost::proto::imap::{Config, Imap, Tls};
use homepost::proto::sasl::{decode, encode};
use homepost::proto::{Event, Host, Output, Secured, Session};
use homepost::store::Data;
use homepost::store::data::Options;
use homepost::store::disk::{SimDisk, SimOptions};
use scram::prove;

const PASSWORD: &str = "curiouser and curiouser";
const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

struct Client {
    machine: Imap,
    host: imap::Host<Internal>,
    clock: Arc<ManualClock>,
    shared: Arc<imap::Shared<Internal>>,
    closed: bool,
    /// While it is there the server is not going down.
    stop: Arc<tokio::sync::watch::Sender<bool>>,
}

/// A stranger's address.
const USER: &str = "alice@example.test";
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Client {
    async fn new(exporter: Option<Vec<u8>>) -> Client {
        let clock = Arc::new(ManualClock::at(Time::from_seconds(1_700_000_000)));
        let random = Arc::new(SeededRandom::new(3));
        let options = Options { random: random.clone(), ballast_bytes: 0, ..Options::default() };
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), options).unwrap();
        let directory = Internal::open(data.clone(), clock.clone(), random.clone()).await.unwrap();
        directory.add_domain("example.test").await.unwrap();
        let alice = NewAccount { address: "alice@example.test".into(), ..NewAccount::default() };
        let id = directory.add_account(alice, PASSWORD).await.unwrap();
        data.write(move |txn| account::open(txn, id)).await.map_err(|error: account::Error| error).unwrap();
        let (stop, going_down) = tokio::sync::watch::channel(false);
        let stop = Arc::new(stop);
        let shared = imap::Shared {
            data,
            directory: Arc::new(directory),
            clock: clock.clone(),
            random,
            throttle: Throttle::new(10),
            overviews: Arc::default(),
            limits: message::Limits::default(),
            append_bytes: 1 << 20,
            refusal_ms: 0,
            going_down,
        };
        let shared = Arc::new(shared);
        let mut client = Client {
            machine: Imap::new(Config::new(Tls::Implicit), clock.mono()),
            host: imap::Host::new(shared.clone(), PEER),
            clock,
            shared,
            closed: false,
            stop,
        };
        let plus = exporter.is_some();
        client.machine.input(client.clock.mono(), Event::Secured(Secured { exporter, ..Secured::default() }));
        let greeting = client.heard().await;
        assert!(greeting.contains(" AUTH=SCRAM-SHA-256") && greeting.contains("-256-PLUS") == plus, "{greeting}");
        client
    }

    /// Another connection to the same server.
    async fn again(&self) -> Client {
        let machine = Imap::new(Config::new(Tls::Implicit), self.clock.mono());
        let (host, shared) = (imap::Host::new(self.shared.clone(), PEER), self.shared.clone());
        let mut client =
            Client { machine, host, clock: self.clock.clone(), shared, closed: false, stop: self.stop.clone() };
        client.machine.input(client.clock.mono(), Event::Secured(Secured::default()));
        client.heard().await;
        client
    }

    /// Says a line; gives what is answered.
    async fn say(&mut self, line: &str) -> String {
        let bytes = Bytes::from(format!("{line}\r\n"));
        self.machine.input(self.clock.mono(), Event::Bytes(bytes));
        self.heard().await
    }

    async fn heard(&mut self) -> String {
        let mut said = Vec::new();
        while let Some(output) = self.machine.output() {
            match output {
                Output::Write(bytes) => said.extend_from_slice(&bytes),
                Output::Ask(ask) => {
                    let (answer, part) = Host::<Imap>::ask(&mut self.host, ask).await;
                    self.machine.input(self.clock.mono(), Event::Answer(answer, part));
                }
                Output::Close => self.closed = true,
                other => panic!("not while logging in: {other:?}"),
            }
        }
        String::from_utf8(said).unwrap()
    }

    /// One exchange, with an initial response (RFC 4959) or without; gives what the last of it is answered.
    async fn exchange(&mut self, mechanism: &str, early: bool, header: &str, binding: &[u8], password: &str) -> String {
        let bare = format!("n=alice@example.test,r={NONCE}");
        let first = encode(format!("{header}{bare}").as_bytes());
        let reply = if early {
            self.say(&format!("a AUTHENTICATE {mechanism} {first}")).await
        } else {
            // RFC 9051 6.2.2: an empty challenge asks for what the client says first.
            assert_eq!(self.say(&format!("a AUTHENTICATE {mechanism}")).await, "+ \r\n");
            self.say(&first).await
        };
        let server_first = challenge(&reply);
        assert!(server_first.starts_with(&format!("r={NONCE}")), "{server_first}");
        let (last, expected) = prove(password, binding, &bare, &server_first);
        let reply = self.say(&encode(last.as_bytes())).await;
        if !reply.starts_with('+') {
            return reply;
        }
        assert_eq!(challenge(&reply), expected, "the server knows the keys too");
        self.say("").await
    }
}

fn challenge(reply: &str) -> String {
    let text = reply.strip_prefix("+ ").and_then(|text| text.strip_suffix("\r\n"));
    let text = text.unwrap_or_else(|| panic!("a challenge: {reply:?}"));
    String::from_utf8(decode(text.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_right_password_is_let_in() {
    for early in [true, false] {
        let mut client = Client::new(None).await;
        let told = client.exchange("SCRAM-SHA-256", early, "n,,", b"n,,", PASSWORD).await;
        assert!(told.starts_with("a OK [CAPABILITY "), "{told}");
        assert!(client.say("b SELECT INBOX").await.contains("b OK [READ-WRITE]"));
    }
}

#[tokio::test]
async fn the_channel_is_bound_rfc9266() {
    let mut client = Client::new(Some(b"exported".to_vec())).await;
    let header = "p=tls-exporter,,";
    let told = client.exchange("SCRAM-SHA-256-PLUS", true, header, b"p=tls-exporter,,another", PASSWORD).await;
    assert!(told.starts_with("a NO [AUTHENTICATIONFAILED]"), "{told}");
    let told = client.exchange("SCRAM-SHA-256-PLUS", true, header, b"p=tls-exporter,,exported", PASSWORD).await;
    assert!(told.starts_with("a OK "), "{told}");
}

/// RFC 5802 6: a client that could bind says so; that it was offered nothing to bind to is somebody's work in between.
#[tokio::test]
async fn a_downgrade_is_noticed() {
    let mut client = Client::new(Some(b"exported".to_vec())).await;
    let first = encode(format!("y,,n=alice@example.test,r={NONCE}").as_bytes());
    let told = client.say(&format!("a AUTHENTICATE SCRAM-SHA-256 {first}")).await;
    assert!(!told.starts_with('+') && !told.starts_with("a OK"), "{told}");
}

/// A device's password proves itself beside the pass phrase, under the same salt.
#[tokio::test]
async fn a_device_is_let_in_by_a_password_of_its_own() {
    let mut client = Client::new(None).await;
    let shared = client.shared.clone();
    let password = Password::make(shared.random.as_ref());
    let made = {
        let read = shared.data.read().unwrap();
        NewDevice::prepare(&read, "alice@example.test", "phone", &password, client.clock.now()).unwrap()
    };
    shared.data.write(move |txn| device::add(txn, &made)).await.map_err(|error: Error| error).unwrap();
    assert_eq!(shared.directory.devices("alice@example.test").unwrap()[0].used, None);
    let told = client.exchange("SCRAM-SHA-256", true, "n,,", b"n,,", password.shown()).await;
    assert!(told.starts_with("a OK "), "{told}");
    assert_eq!(shared.directory.devices("alice@example.test").unwrap()[0].used, Some(client.clock.now()));
    let told = client.again().await.exchange("SCRAM-SHA-256", true, "n,,", b"n,,", PASSWORD).await;
    assert!(told.starts_with("a OK "), "{told}");
}

#[tokio::test]
async fn a_wrong_password_is_not() {
    let mut client = Client::new(None).await;
    let told = client.exchange("SCRAM-SHA-256", true, "n,,", b"n,,", "curiouser").await;
    assert!(told.starts_with("a NO [AUTHENTICATIONFAILED]"), "{told}");
    assert!(client.say("b SELECT INBOX").await.starts_with("b BAD"));
}

/// Guesses from one address stand in one line, over all its connections; what is known to be right passes them.
#[tokio::test]
async fn who_guesses_waits_and_the_family_does_not() {
    let right = format!("a LOGIN alice@example.test \"{PASSWORD}\"");
    let mut client = Client::new(None).await;
    for _ in 0..9 {
        client.shared.throttle.failed(PEER, USER, client.clock.mono());
    }
    let told = client.say("a LOGIN alice@example.test guess").await;
    assert!(told.starts_with("a NO [AUTHENTICATIONFAILED]"), "{told}");
    // Others of this address have taken all turns there are.
    while client.shared.throttle.wait(PEER, USER, client.clock.mono()).is_some() {}
    let told = client.say("a LOGIN alice@example.test guess").await;
    assert!(told.starts_with("a NO [UNAVAILABLE]"), "{told}");
    let told = client.again().await.say(&right).await;
    assert!(told.starts_with("a NO [UNAVAILABLE]"), "right or wrong, it is not looked at: {told}");

    let mut client = Client::new(None).await;
    assert!(client.say(&right).await.starts_with("a OK"));
    let mut client = client.again().await;
    for _ in 0..10 {
        client.shared.throttle.failed(PEER, USER, client.clock.mono());
    }
    while client.shared.throttle.wait(PEER, USER, client.clock.mono()).is_some() {}
    assert!(client.say(&right).await.starts_with("a OK"), "it was right a while ago");
}

const ALICE: &str = "alice@example.test";
const BYE: &str = "* BYE This log-in has ended";

/// H5: whatever happens to the log-in, the next command that asks for something is told BYE, and nothing is done for it.
#[tokio::test]
async fn a_session_ends_with_what_let_it_in() {
    for what in ["password", "device", "disabled", "leaves", "closed"] {
        let mut client = Client::new(None).await;
        let (shared, now) = (client.shared.clone(), client.clock.now());
        let phone = Password::make(shared.random.as_ref());
        let made = NewDevice::prepare(&shared.data.read().unwrap(), ALICE, "phone", &phone, now).unwrap();
        let device =
            shared.data.write(move |txn| device::add(txn, &made)).await.map_err(|error: Error| error).unwrap().value;
        let bob = NewAccount { address: "bob@example.test".into(), administrator: true, ..NewAccount::default() };
        shared.directory.add_account(bob, "another pass phrase").await.unwrap();
        let mut by_phone = client.again().await;
        assert!(client.say(&format!("a LOGIN {ALICE} \"{PASSWORD}\"")).await.starts_with("a OK"));
        assert!(by_phone.exchange("SCRAM-SHA-256", true, "n,,", b"n,,", phone.shown()).await.starts_with("a OK"));
        for one in [&mut client, &mut by_phone] {
            assert!(one.say("b SELECT INBOX").await.contains("b OK"));
        }
        shared.directory.note_devices(true).unwrap();
        assert!(by_phone.say("c NOOP").await.starts_with("c OK"), "that it logged in is no other password");
        match what {
            "password" => drop(shared.directory.set_password(ALICE, "quite another one").await.unwrap()),
            "device" => {
                let gone = shared.data.write(move |txn| device::remove(txn, ALICE, device.id)).await;
                drop(gone.map_err(|error: Error| error).unwrap());
            }
            "disabled" => drop(shared.directory.set_disabled(ALICE, true).await.unwrap()),
            "leaves" => {
                let left =
                    shared.data.write(move |txn| homepost::directory::manage::account::leave(txn, ALICE, now)).await;
                let _ = left.map_err(|error: Error| error).unwrap();
            }
            _ => drop(shared.directory.close_account(ALICE).await.unwrap()),
        }
        // The pass phrase and each device's password are apart.
        let (ends, by_phone_ends) = (what != "device", what != "password");
        for (one, ends) in [(&mut client, ends), (&mut by_phone, by_phone_ends)] {
            let told = one.say("d CREATE late").await;
            assert_eq!((told.starts_with(BYE), one.closed), (ends, ends), "{what}: {told}");
        }
    }
}

/// H5: who idles is told without asking, and who has nothing to do with it is not.
#[tokio::test]
async fn idle_ends_with_what_let_it_in() {
    let mut client = Client::new(None).await;
    let shared = client.shared.clone();
    assert!(client.say(&format!("a LOGIN {ALICE} \"{PASSWORD}\"")).await.starts_with("a OK"));
    client.say("b SELECT INBOX").await;
    assert!(client.say("c IDLE").await.starts_with("+ "));
    let bob = NewAccount { address: "bob@example.test".into(), ..NewAccount::default() };
    shared.directory.add_account(bob, "another pass phrase").await.unwrap();
    {
        let notice = Host::<Imap>::notice(&mut client.host);
        tokio::pin!(notice);
        let waits = std::time::Duration::from_millis(50);
        shared.directory.set_password("bob@example.test", "yet another phrase").await.unwrap();
        assert!(tokio::time::timeout(waits, &mut notice).await.is_err(), "it was another's");
        shared.directory.set_password(ALICE, "quite another one").await.unwrap();
        let told = tokio::time::timeout(std::time::Duration::from_secs(20), notice).await.expect("it is woken");
        client.machine.input(client.clock.mono(), Event::Notice(told));
    }
    let told = client.heard().await;
    assert!(told.starts_with(BYE) && client.closed, "{told}");
}
