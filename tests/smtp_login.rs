//! SCRAM-SHA-256 on a submission port, from the client's first word to the 235: the machine, its host, and the keys that
//! the directory made from the password. A transcript cannot say it, since each answer depends on the one before. And
//! what comes in that way for elsewhere, as it lies in the queue.

mod scram;

use std::sync::Arc;

use bytes::Bytes;
use homepost::account;
use homepost::base::{Clock, ManualClock, QueueId, SeededRandom, Time};
use homepost::delivery::{self, Intake};
use homepost::directory::manage::account::NewAccount;
use homepost::directory::{Internal, Throttle};
use homepost::proto::sasl::{decode, encode};
use homepost::proto::smtp::{Config, Limits, Machine, Port};
use homepost::proto::{Event, Host, Output, Secured, Session};
use homepost::queue::{self, Notify};
use homepost::smtp;
use homepost::store::Data;
use homepost::store::data::Options;
use homepost::store::disk::{SimDisk, SimOptions};
use scram::prove;

const PASSWORD: &str = "curiouser and curiouser";

struct Client {
    machine: Machine,
    host: smtp::Host<Internal>,
    clock: Arc<ManualClock>,
    data: Data,
    directory: Arc<Internal>,
    closed: bool,
}

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
        let directory = Arc::new(directory);
        let (_, going_down) = tokio::sync::watch::channel(false);
        let shared = smtp::Shared {
            intake: Intake::new(data.clone(), clock.clone(), random.clone()),
            data: data.clone(),
            directory: directory.clone(),
            clock: clock.clone(),
            random,
            throttle: Throttle::new(10),
            hostname: "mail.example.test".into(),
            limits: delivery::Limits::default(),
            going_down,
        };
        let config = Config {
            port: Port::Submissions,
            hostname: "mail.example.test".into(),
            starttls: false,
            limits: Limits::default(),
        };
        let mut client = Client {
            machine: Machine::new(config, clock.mono()),
            host: smtp::Host::new(Arc::new(shared), [127, 0, 0, 1].into()),
            clock,
            data,
            directory,
            closed: false,
        };
        client.machine.input(client.clock.mono(), Event::Secured(Secured { exporter, ..Secured::default() }));
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
                    let (answer, part) = Host::<Machine>::ask(&mut self.host, ask).await;
                    self.machine.input(self.clock.mono(), Event::Answer(answer, part));
                }
                Output::BodyChunk(chunk) => Host::<Machine>::body_chunk(&mut self.host, chunk).await,
                Output::BodyEnd => {
                    let stored = Host::<Machine>::body_end(&mut self.host).await;
                    self.machine.input(self.clock.mono(), Event::BodyStored(stored));
                }
                Output::BodyAbort => Host::<Machine>::body_abort(&mut self.host),
                Output::Close => self.closed = true,
                other => panic!("not asked for: {other:?}"),
            }
        }
        String::from_utf8(said).unwrap()
    }
}

fn challenge(reply: &str) -> String {
    let text = reply.strip_prefix("334 ").and_then(|text| text.strip_suffix("\r\n"));
    let text = text.unwrap_or_else(|| panic!("a challenge: {reply:?}"));
    String::from_utf8(decode(text.as_bytes()).unwrap()).unwrap()
}

/// One exchange; gives the reply to the client's proof, and to what follows it.
async fn exchange(client: &mut Client, mechanism: &str, header: &str, binding: &[u8], password: &str) -> String {
    let bare = "n=alice@example.test,r=fyko+d2lbbFgONRv9qkxdawL";
    let first = encode(format!("{header}{bare}").as_bytes());
    let server_first = challenge(&client.say(&format!("AUTH {mechanism} {first}")).await);
    assert!(server_first.starts_with("r=fyko+d2lbbFgONRv9qkxdawL"));
    let (last, expected) = prove(password, binding, bare, &server_first);
    let reply = client.say(&encode(last.as_bytes())).await;
    if !reply.starts_with("334") {
        return reply;
    }
    assert_eq!(challenge(&reply), expected, "the server knows the keys too");
    client.say("").await
}

#[tokio::test]
async fn the_right_password_is_let_in() {
    let mut client = Client::new(None).await;
    assert!(!client.say("EHLO x").await.contains("PLUS"));
    assert_eq!(exchange(&mut client, "SCRAM-SHA-256", "n,,", b"n,,", PASSWORD).await, "235 2.7.0 Welcome\r\n");
    assert!(client.say("MAIL FROM:<alice@example.test>").await.starts_with("250"));
}

#[tokio::test]
async fn the_channel_is_bound_rfc9266() {
    let mut client = Client::new(Some(b"exported".to_vec())).await;
    assert!(client.say("EHLO x").await.contains(" SCRAM-SHA-256-PLUS\r\n"));
    let header = "p=tls-exporter,,";
    let other = exchange(&mut client, "SCRAM-SHA-256-PLUS", header, b"p=tls-exporter,,another", PASSWORD).await;
    assert_eq!(other, "", "refused, and told later");
    client.clock.advance_ms(1000);
    client.machine.input(client.clock.mono(), Event::Tick);
    assert!(client.heard().await.starts_with("535 5.7.8"));
    let ours = exchange(&mut client, "SCRAM-SHA-256-PLUS", header, b"p=tls-exporter,,exported", PASSWORD).await;
    assert_eq!(ours, "235 2.7.0 Welcome\r\n");
}

#[tokio::test]
async fn a_wrong_password_is_not() {
    let mut client = Client::new(None).await;
    client.say("EHLO x").await;
    assert_eq!(exchange(&mut client, "SCRAM-SHA-256", "n,,", b"n,,", "curiouser").await, "");
    client.clock.advance_ms(1000);
    client.machine.input(client.clock.mono(), Event::Tick);
    assert!(client.heard().await.starts_with("535 5.7.8"));
    assert!(client.say("MAIL FROM:<alice@example.test>").await.starts_with("530"));
}

/// RFC 3461 4: kept for whoever sends the letter on, as they were given.
#[tokio::test]
async fn what_was_asked_about_notices_lies_in_the_queue() {
    let mut client = Client::new(None).await;
    client.say("EHLO client.test").await;
    let plain = encode(format!("\0alice@example.test\0{PASSWORD}").as_bytes());
    assert!(client.say(&format!("AUTH PLAIN {plain}")).await.starts_with("235"));
    for (line, code) in [
        ("MAIL FROM:<alice@example.test> BODY=8BITMIME RET=HDRS ENVID=QQ+2B314", "250"),
        ("RCPT TO:<bob@far.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2B@Far.TEST", "250"),
        ("RCPT TO:<carol@far.test> NOTIFY=NEVER", "250"),
        ("RCPT TO:<dave@far.test>", "250"),
        ("DATA", "354"),
        ("Subject: x\r\n\r\ntext\r\n.", "250"),
    ] {
        let told = client.say(line).await;
        assert!(told.starts_with(code), "{line}: {told}");
    }
    let queued = queue::list(&client.data.read().unwrap(), QueueId(0), 10).unwrap();
    let [letter] = queued.as_slice() else { panic!("{queued:?}") };
    assert_eq!(letter.from.as_deref(), Some("alice@example.test"));
    assert_eq!((letter.eight_bit, letter.utf8, letter.ret_full), (true, false, Some(false)));
    assert_eq!(letter.envid.as_deref(), Some("QQ+314"));
    let asked: Vec<_> = letter.recipients.iter().map(|to| (to.notify, to.orcpt.clone())).collect();
    let some = Notify { success: true, delay: true, failure: false };
    let original = ("rfc822".to_owned(), "Bob+@Far.TEST".to_owned());
    assert_eq!(asked, [(Some(some), Some(original)), (Some(Notify::default()), None), (None, None)]);
}

/// M4: at whatever step of a letter the password changes, the letter is not taken, and the session ends.
#[tokio::test]
async fn a_session_ends_with_the_password_that_let_it_in() {
    const STEPS: [&str; 4] =
        ["MAIL FROM:<alice@example.test>", "RCPT TO:<bob@far.test>", "DATA", "Subject: x\r\n\r\ntext\r\n."];
    for changes_before in [0, 1, 2, 3] {
        let mut client = Client::new(None).await;
        client.say("EHLO client.test").await;
        let plain = encode(format!("\0alice@example.test\0{PASSWORD}").as_bytes());
        assert!(client.say(&format!("AUTH PLAIN {plain}")).await.starts_with("235"));
        let mut told = String::new();
        for (at, line) in STEPS.iter().enumerate() {
            if at == changes_before {
                client.directory.set_password("alice@example.test", "quite another one").await.unwrap();
            }
            told = client.say(line).await;
            if client.closed {
                break;
            }
        }
        assert!(told.starts_with("421 4.7.0 This log-in has ended") && client.closed, "{changes_before}: {told}");
        assert!(queue::list(&client.data.read().unwrap(), QueueId(0), 10).unwrap().is_empty());
    }
}
