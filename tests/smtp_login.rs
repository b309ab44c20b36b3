//! SCRAM-SHA-256 on a submission port, from the client's first word to the 235: the machine, its host, and the keys that
//! the directory made from the password. A transcript cannot say it, since each answer depends on the one before. And
//! what comes in that way for elsewhere, as it lies in the queue.

mod scram;

use std::sync::Arc;

use bytes::Bytes;
use homepost::account;
use homepost::base::{Clock, ManualClock, QueueId, SeededRandom, SystemClock, Time};
use homepost::delivery::{self, Intake};
use homepost::directory::manage::{self, account::NewAccount};
use homepost::directory::{Credential, Internal, Throttle};
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
        Client::at(exporter, true).await
    }

    /// `trusted`: the time of its clock was compared with the world's.
    async fn at(exporter: Option<Vec<u8>>, trusted: bool) -> Client {
        let clock = Arc::new(ManualClock::at(Time::from_seconds(1_700_000_000)));
        let unchecked: Arc<dyn Clock> = Arc::new(SystemClock::judged_by(|| false));
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
            clock: if trusted { clock.clone() } else { unchecked },
            random,
            throttle: Throttle::new(10),
            hostname: "mail.example.test".into(),
            limits: delivery::Limits::default(),
            guard: None,
            going_down,
        };
        let config = Config {
            port: Port::Submissions,
            hostname: "mail.example.test".into(),
            starttls: false,
            hold_until: Some(Time::from_seconds(1_800_000_000)),
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

/// Nothing is promised by a clock that nobody has checked (RFC 4865, 2852).
#[tokio::test]
async fn times_are_taken_where_the_time_is_known() {
    for (trusted, code) in [(true, "250"), (false, "455 4.3.2")] {
        let mut client = Client::at(None, trusted).await;
        client.say("EHLO client.test").await;
        let plain = encode(format!("\0alice@example.test\0{PASSWORD}").as_bytes());
        assert!(client.say(&format!("AUTH PLAIN {plain}")).await.starts_with("235"));
        for time in ["HOLDFOR=60", "BY=60;R"] {
            let told = client.say(&format!("MAIL FROM:<alice@example.test> {time}")).await;
            assert!(told.starts_with(code), "{time}: {told}");
            client.say("RSET").await;
        }
        assert!(client.say("MAIL FROM:<alice@example.test>").await.starts_with("250"));
    }
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

async fn logged_in() -> Client {
    let mut client = Client::new(None).await;
    client.say("EHLO client.test").await;
    let plain = encode(format!("\0alice@example.test\0{PASSWORD}").as_bytes());
    assert!(client.say(&format!("AUTH PLAIN {plain}")).await.starts_with("235"));
    client
}

impl Client {
    /// Begins a letter to each in turn; gives how many were taken, and what was said to the first that was not.
    async fn address(&mut self, people: impl Iterator<Item = String>) -> (usize, String) {
        assert!(self.say("RSET").await.starts_with("250"));
        assert!(self.say("MAIL FROM:<alice@example.test>").await.starts_with("250"));
        let mut taken = 0;
        for one in people {
            let told = self.say(&format!("RCPT TO:<{one}>")).await;
            if !told.starts_with("250") {
                return (taken, told);
            }
            taken += 1;
        }
        (taken, String::new())
    }

    async fn send(&mut self) -> String {
        assert!(self.say("DATA").await.starts_with("354"));
        self.say("Subject: x\r\n\r\ntext\r\n.").await
    }

    fn inbox(&self) -> u64 {
        let alice = self.directory.show_account("alice@example.test").unwrap().id;
        account::quota::usage(&self.data.read().unwrap(), alice).unwrap().emails
    }

    fn stopped(&self) -> bool {
        self.directory.show_account("alice@example.test").unwrap().stopped.is_some()
    }
}

fn strangers(from: usize) -> impl Iterator<Item = String> {
    (from..from + 1000).map(|n| format!("stranger{n}@far.test"))
}

/// A stolen pass phrase: who writes to ever more strangers has to wait, and then is stopped; each is told of once. A new pass
/// phrase, or the administrator, lets the account go on.
#[tokio::test]
async fn an_account_that_writes_to_too_many_strangers_is_stopped_and_told() {
    const HOUR_MS: u64 = 3_600_000;
    let mut client = logged_in().await;
    let (taken, told) = client.address(strangers(0)).await;
    assert_eq!(taken, 50);
    assert!(told.starts_with("450 4.7.1 This account writes to more than 50 people at once whom"), "{told}");
    assert_eq!(client.inbox(), 1, "it is told");
    assert!(client.send().await.starts_with("250"), "to those that were taken");
    for _ in 0..3 {
        let (taken, told) = client.address(strangers(100)).await;
        assert!(taken == 0 && told.starts_with("450 4.7.1"), "{taken} {told}");
    }
    let (taken, _) = client.address(strangers(0).take(50)).await;
    assert_eq!((taken, client.inbox(), client.stopped()), (50, 1, false), "whom it knows; told once");
    client.clock.advance_ms(HOUR_MS);
    let (taken, told) = client.address(strangers(200)).await;
    assert!(taken == 50 && told.starts_with("450 4.7.1"), "{taken} {told}");
    assert!(client.send().await.starts_with("250"));
    client.clock.advance_ms(HOUR_MS);
    let (taken, told) = client.address(strangers(300)).await;
    assert!(
        taken == 0 && told.starts_with("550 5.7.1 This account has written to so many strangers"),
        "{taken} {told}"
    );
    assert_eq!((client.inbox(), client.stopped()), (2, true));
    let waiting = queue::list(&client.data.read().unwrap(), QueueId(0), 1000).unwrap();
    let mut states = waiting.iter().flat_map(|entry| &entry.recipients).map(|recipient| recipient.state);
    assert!(
        waiting.len() == 2 && states.all(|state| state == queue::State::Held),
        "what it wrote before is held: {waiting:?}"
    );
    for who in ["stranger1@far.test", "stranger301@far.test"] {
        let (_, told) = client.address([who.to_owned()].into_iter()).await;
        assert!(told.starts_with("550 5.7.1"), "{told}");
    }
    let (taken, told) = client.address(["alice@example.test".to_owned()].into_iter()).await;
    assert_eq!((taken, told.as_str(), client.inbox()), (1, "", 2), "within the house it may write");

    let go_on = |txn: &mut homepost::store::Txn<'_>| manage::account::resume_sending(txn, "alice@example.test");
    client.data.write(go_on).await.unwrap();
    let (taken, told) = client.address(strangers(300)).await;
    assert!(taken == 50 && told.starts_with("450"), "counted anew: {taken} {told}");
    let alice = client.directory.show_account("alice@example.test").unwrap().id;
    client.data.write(move |txn| manage::account::stop_sending(txn, alice, Time(1))).await.unwrap();
    assert!(client.stopped());
    let own =
        Credential::renewed("alice@example.test", "whoever knew it", &SeededRandom::new(7), Time(2), None).unwrap();
    let change =
        move |txn: &mut homepost::store::Txn<'_>| manage::account::change_password(txn, "alice@example.test", &own);
    client.data.write(change).await.unwrap();
    assert!(client.stopped(), "who knows the pass phrase may be the one who stole it");
    client.directory.set_password("alice@example.test", "quite another one").await.unwrap();
    assert!(!client.stopped(), "whoever had the old one is out");
    assert_eq!(queue::list(&client.data.read().unwrap(), QueueId(0), 1000).unwrap().len(), 2);
    assert_eq!(client.data.check().unwrap(), Vec::<String>::new());
}

/// RFC 6409 8: what leaves is whole, says nothing of where it was sent from, and nobody learns of a blind copy.
#[tokio::test]
async fn what_is_submitted_leaves_put_right() {
    let mut client = logged_in().await;
    client.address(["bob@far.test".to_owned(), "eve@far.test".to_owned()].into_iter()).await;
    assert!(client.say("DATA").await.starts_with("354"));
    let letter = "To: bob@far.test\r\nBCC:\r\n eve@far.test\r\nSubject: x\r\n\r\nBcc: the body stays\r\n.";
    assert!(client.say(letter).await.starts_with("250"));
    let queued = queue::list(&client.data.read().unwrap(), QueueId(0), 10).unwrap();
    let bytes = client.data.blobs().read(queued[0].blob, 0..queued[0].size).unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.starts_with("Received: by mail.example.test () with ESMTPSA id "), "{text}");
    assert!(!text.contains("127.0.0.1") && !text.contains("client.test") && !text.contains("eve"), "{text}");
    let (trace, rest) = text.split_once("From: ").unwrap();
    assert_eq!(trace.matches("DKIM-Signature:").count(), 2, "signed as it leaves: {text}");
    let whole: String = trace.split_whitespace().collect();
    assert!(whole.contains("h=From:From:To:To:Cc:Subject:Subject:Date:Date:Message-ID:Message-ID"), "{trace}");
    let (added, rest) = rest.split_once("To: bob@far.test\r\nSubject: x\r\n\r\nBcc: the body stays\r\n").unwrap();
    assert_eq!(rest, "");
    let lines: Vec<&str> = added.split("\r\n").collect();
    assert_eq!(lines[..2], ["<alice@example.test>", "Date: Tue, 14 Nov 2023 22:13:20 +0000"]);
    assert!(lines[2].starts_with("Message-ID: <") && lines[2].ends_with("@example.test>"), "{added}");
}

/// Whose names a letter carries is looked for in as much of it as a header may have, so a longer one is refused.
#[tokio::test]
async fn nobody_hides_an_author_behind_what_is_taken_out() {
    let mut client = logged_in().await;
    client.address(["alice@example.test".to_owned()].into_iter()).await;
    assert!(client.say("DATA").await.starts_with("354"));
    let long = format!(" {},\r\n", "x@far.test, ".repeat(70)).repeat(1500);
    let letter = format!(">From x\r\nBcc:\r\n{long}From: ben@far.test\r\n\r\nforged\r\n.");
    assert!(letter.len() > 1 << 20);
    let told = client.say(&letter).await;
    assert!(told.starts_with("552 5.3.4"), "{told}");
    assert_eq!(client.inbox(), 0);
}
