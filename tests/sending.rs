//! Letters to a server made of lines, from stores whose disk fails.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use homepost::account;
use homepost::base::{AccountId, Clock, ManualClock, OsRandom, QueueId, Time};
use homepost::delivery::remote::{Bell, Sender, Way, World};
use homepost::directory::dkim::NewKeys;
use homepost::directory::manage::domain;
use homepost::net::ClientTls;
use homepost::net::dns::Asker;
use homepost::queue::schedule::By;
use homepost::queue::{self, Limits, NewLetter, NewRecipient, enqueue};
use homepost::store::blob::LetterHeader;
use homepost::store::data::Options;
use homepost::store::disk::{Fault, SimDisk, SimOptions};
use homepost::store::schema::Key;
use homepost::store::{Data, Order, Read, Table};

const NOW: Time = Time(1_800_000_000_000);
const CAME: Time = Time(NOW.0 - 3_600_000);
const PERSON: AccountId = AccountId(1);
/// Calls of the disk that fail one after another.
const FAILING: u64 = 12;
const TAKEN: &str = "250 taken";

/// Knows nobody whose address begins with `no`, and says of each letter what it is told to say.
struct Far {
    address: SocketAddr,
    letters: Arc<AtomicUsize>,
    /// What they said, line by line.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Far {
    fn begin(word: impl Fn() -> &'static str + Send + Sync + 'static) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = Far { address: listener.local_addr().unwrap(), letters: Arc::default(), lines: Arc::default() };
        let (letters, heard, word) = (far.letters.clone(), far.lines.clone(), Arc::new(word));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (letters, heard, word) = (letters.clone(), heard.clone(), word.clone());
                std::thread::spawn(move || talk(stream, &letters, &heard, word.as_ref()));
            }
        });
        far
    }

    fn letters(&self) -> usize {
        self.letters.load(Ordering::SeqCst)
    }
}

fn talk(
    mut stream: TcpStream,
    letters: &AtomicUsize,
    heard: &Mutex<Vec<String>>,
    word: &impl Fn() -> &'static str,
) -> Option<()> {
    let lines = BufReader::new(stream.try_clone().ok()?).lines();
    stream.write_all(b"220 far.test\r\n").ok()?;
    let mut body = false;
    for line in lines {
        let line = line.ok()?;
        heard.lock().unwrap().push(line.clone());
        let reply = match line.get(..4).unwrap_or(&line) {
            "." if body => {
                body = false;
                let word = word();
                letters.fetch_add(usize::from(word == TAKEN), Ordering::SeqCst);
                word
            }
            _ if body => continue,
            "DATA" => {
                body = true;
                "354 go on"
            }
            "RCPT" if line.contains("<no") => "550 5.1.1 nobody",
            "QUIT" => return stream.write_all(b"221 bye\r\n").ok(),
            _ => "250 ok",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
    }
    None
}

struct Room {
    port: u16,
}

impl World for Room {
    fn way(&self) -> Way {
        Way {
            hostname: "mail.example.test".into(),
            on: true,
            relays: Vec::new(),
            source: Vec::new(),
            port: self.port,
            connections: 4,
            connections_to_one: 1,
        }
    }

    fn asker(&self) -> Asker {
        Asker::new(Arc::new(OsRandom), "")
    }

    fn proven(&self) -> Option<Arc<homepost::net::dns::Proven>> {
        None
    }

    fn roots(&self) -> homepost::net::Roots {
        homepost::net::Roots::Public
    }

    fn facts(&self) -> Arc<dyn homepost::store::lookup::Lookup> {
        homepost::store::lookup::memory(1 << 20)
    }

    fn opportunistic(&self) -> Option<ClientTls> {
        None
    }

    fn verified(&self, _: &str) -> Option<ClientTls> {
        None
    }

    fn caretakers(&self) -> Vec<AccountId> {
        Vec::new()
    }

    fn note(&self, _: homepost::mailauth::tlsrpt::Outcome) {}
}

fn open(disk: &SimDisk) -> Data {
    Data::open(Arc::new(disk.clone()), Options::default()).unwrap()
}

fn queue_letter(data: &Data, recipients: &[&str]) {
    queue_text(data, recipients, "Subject: x\r\n\r\n.\r\nx\r\n", None, None);
}

fn queue_text(data: &Data, recipients: &[&str], text: &str, release: Option<Time>, by: Option<By>) {
    data.write_blocking(|txn| account::open(txn, PERSON)).map_err(|error: account::Error| error).unwrap();
    let letter = NewLetter {
        staged: data.blobs().stage(LetterHeader::default(), text.as_bytes()).unwrap(),
        from: Some("anna@example.test".into()),
        account: Some(PERSON),
        utf8: false,
        eight_bit: !text.is_ascii(),
        ret_full: None,
        envid: None,
        tls: homepost::queue::Tls::Usual,
        proven: false,
        release,
        by,
    };
    let to = |local: &&str| NewRecipient { address: format!("{local}@[127.0.0.1]"), notify: None, orcpt: None };
    let recipients: Vec<NewRecipient> = recipients.iter().map(to).collect();
    data.write_blocking(move |txn| enqueue(txn, &letter, &recipients, CAME, Limits::default())).unwrap();
}

fn rows(data: &Data, table: Table) -> Option<usize> {
    let (read, mut rows) = (data.read().ok()?, 0);
    let from = if table == Table::Messages { Key::new().u32(PERSON.0).build() } else { Vec::new() };
    let scanned = read.scan(table, &from, &[0xff; 24], Order::Forward, &mut |_, _| {
        rows += 1;
        ControlFlow::Continue(())
    });
    scanned.ok().map(|()| rows)
}

/// Sends until nothing waits, or until the power goes. Whether it came to an end.
async fn send(data: &Data, disk: &SimDisk, far: &Far) -> bool {
    send_at(NOW, data, disk, far).await
}

async fn send_at(now: Time, data: &Data, disk: &SimDisk, far: &Far) -> bool {
    let clock = Arc::new(ManualClock::at(now));
    let world = Room { port: far.address.port() };
    let sender = Sender::new(data.clone(), clock, Arc::new(OsRandom), world, Bell::default());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(sender.run(stopped));
    for _ in 0..6_000 {
        if disk.is_dead() {
            task.abort();
            return false;
        }
        if rows(data, Table::QueueRecipients) == Some(0) {
            stop.send(true).unwrap();
            task.await.unwrap();
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not sent after a minute");
}

/// P1, P3: a word that cannot be written down is kept until it can, and nobody gets the letter again meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_when_the_word_comes_means_no_second_copy() {
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    queue_letter(&data, &["anna", "nobody"]);
    let (failing, at) = (disk.clone(), Arc::new(AtomicU64::new(0)));
    let began = at.clone();
    let far = Far::begin(move || {
        began.store(failing.calls(), Ordering::SeqCst);
        failing.plan(&(1..=FAILING).map(|call| (call, Fault::Eio)).collect::<Vec<_>>());
        TAKEN
    });
    assert!(send(&data, &disk, &far).await);
    assert!(disk.calls() > at.load(Ordering::SeqCst) + FAILING, "the disk has not failed");
    assert_eq!(far.letters(), 1);
    assert_eq!(rows(&data, Table::Messages), Some(1), "the notice of whom the far end did not know");
    assert_eq!(queue::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
}

/// The power goes at each call of the disk: nothing is lost, every recipient is told of once, and there is a second copy only
/// where the first one's word was not on the disk yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_at_any_call_loses_nothing_and_tells_once() {
    cut_at_any_call(None).await;
}

/// The same of one whose sender named the time (RFC 4865), which has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_at_any_call_loses_nothing_of_what_was_to_leave_later() {
    cut_at_any_call(Some(Time(NOW.0 - 1))).await;
}

async fn cut_at_any_call(release: Option<Time>) {
    let mut twice = 0;
    for call in 1..200 {
        let disk = SimDisk::new(SimOptions { seed: call, ..SimOptions::default() });
        let data = open(&disk);
        queue_text(&data, &["anna", "nobody"], "Subject: x\r\n\r\n.\r\nx\r\n", release, None);
        let state = if release.is_some() { queue::State::Later } else { queue::State::Waiting };
        let entries = queue::list(&data.read().unwrap(), homepost::base::QueueId(0), 2).unwrap();
        assert!(entries[0].recipients.iter().all(|one| one.state == state));
        disk.plan(&[(call, Fault::Cut)]);
        let far = Far::begin(|| TAKEN);
        let whole = send(&data, &disk, &far).await;
        let before = far.letters();
        drop(data);
        if whole {
            assert_eq!((before, call > 1), (1, true), "call {call}");
            assert!(twice > 0, "no cut fell between the far end's word and the disk: the test shows nothing");
            return;
        }
        disk.reboot();
        let data = open(&disk);
        let waited = rows(&data, Table::QueueRecipients).unwrap() > 0;
        assert!(send(&data, &disk, &far).await);
        assert_eq!(far.letters(), before + usize::from(waited), "call {call}");
        assert!(far.letters() > 0, "call {call}: lost");
        assert_eq!(rows(&data, Table::Messages), Some(1), "call {call}: told once");
        assert_eq!(queue::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        twice += usize::from(far.letters() > 1);
    }
    panic!("a letter takes more calls of the disk than anybody thought");
}

/// RFC 6152 3: a server that offers nothing gets the same letter in seven bits; one that cannot be converted comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_eight_bits_is_converted_for_who_takes_seven_or_comes_back() {
    let head = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: ";
    for (text, goes) in [
        (format!("{head}text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nsch\u{f6}n\r\n"), true),
        (format!("{head}multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nsch\u{f6}n\r\n--b--\r\n"), false),
    ] {
        let disk = SimDisk::new(SimOptions::default());
        let data = open(&disk);
        queue_text(&data, &["anna"], &text, None, None);
        let far = Far::begin(|| TAKEN);
        assert!(send(&data, &disk, &far).await);
        let lines = far.lines.lock().unwrap().clone();
        assert_eq!(
            (far.letters(), rows(&data, Table::Messages)),
            (usize::from(goes), Some(usize::from(!goes))),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.is_ascii() && !line.contains("BODY=")), "{lines:?}");
        assert_eq!(lines.iter().any(|line| line == "sch=C3=B6n"), goes, "{lines:?}");
    }
}

/// What we cannot read now says nothing of the letter: it waits, and does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_to_be_converted_waits() {
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    let text = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsch\u{f6}n\r\n";
    queue_text(&data, &["anna"], text, None, None);
    // The rows are in memory; the first call is the letter's.
    disk.plan(&[(1, Fault::Eio)]);
    let far = Far::begin(|| TAKEN);
    let world = Room { port: far.address.port() };
    let clock = Arc::new(ManualClock::at(NOW));
    let sender = Sender::new(data.clone(), clock, Arc::new(OsRandom), world, Bell::default());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(sender.run(stopped));
    let recipient = || queue::list(&data.read().unwrap(), QueueId(0), 1).unwrap()[0].recipients[0].clone();
    for _ in 0..6_000 {
        if recipient().attempts > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let last = recipient().last.unwrap();
    assert!(last.contains("could not be converted now"), "{last}");
    assert_eq!((far.letters(), rows(&data, Table::Messages)), (0, Some(0)), "nobody is told, and nothing came");
    stop.send(true).unwrap();
    task.await.unwrap();
}

/// A host that says 4xx for a day, with the clock moved: it is asked when the schedule says and not between, the sender is told once
/// that it takes long, and then the letter is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_busy_for_a_day_is_asked_now_and_then_and_gets_the_letter_once() {
    const MINUTE: i64 = 60_000;
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    queue_letter(&data, &["anna"]);
    let busy = Arc::new(AtomicBool::new(true));
    let says = busy.clone();
    let far = Far::begin(move || if says.load(Ordering::SeqCst) { "451 4.3.2 not today" } else { TAKEN });
    let (clock, bell) = (Arc::new(ManualClock::at(NOW)), Bell::default());
    let world = Room { port: far.address.port() };
    let sender = Sender::new(data.clone(), clock.clone(), Arc::new(OsRandom), world, bell.clone());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(sender.run(stopped));
    let waiting =
        || queue::list(&data.read().unwrap(), QueueId(0), 1).unwrap().pop().map(|mut one| one.recipients.remove(0));
    let (mut asked_at, mut told_at) = (Vec::new(), None);
    for attempt in 1.. {
        let mut looks = 0;
        let recipient = loop {
            match waiting() {
                Some(recipient) if recipient.attempts < attempt => {}
                other => break other,
            }
            looks += 1;
            assert!(looks < 6_000, "not asked again after a minute");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let minutes = (clock.now().0 - NOW.0) / MINUTE;
        asked_at.push(minutes);
        if rows(&data, Table::Messages) == Some(1) && told_at.is_none() {
            told_at = Some(minutes);
        }
        let Some(recipient) = recipient else { break };
        assert_eq!(recipient.last.as_deref(), Some("451 4.3.2 not today"));
        assert_eq!(far.letters(), 0);
        busy.store(minutes < 24 * 60, Ordering::SeqCst);
        // A moment before its time it is not asked.
        clock.advance_ms(u64::try_from(recipient.due.0 - clock.now().0 - 1).unwrap());
        bell.ring();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(waiting().map(|one| one.attempts), Some(attempt));
        clock.advance_ms(1);
        bell.ring();
    }
    let day = [0, 2, 7, 17, 32, 62, 122, 242, 482, 722, 962, 1202, 1442, 1682];
    assert_eq!(asked_at, day);
    assert_eq!(told_at, Some(242), "after four hours");
    assert_eq!((far.letters(), rows(&data, Table::Messages)), (1, Some(1)));
    stop.send(true).unwrap();
    task.await.unwrap();
}

/// RFC 2852 4: with mode R a letter comes back when its time is over, and where a server does not offer to keep to it; with N it
/// goes, and its sender hears that nobody answers for the time from there on.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_be_delivered_by_is_kept_to_or_told_of() {
    for (returns, seconds, goes, words) in [
        (true, 600, false, "Status: 5.3.3"),
        (true, -5, false, "Status: 5.4.7"),
        (false, 600, true, "Action: relayed"),
        (false, -5, true, "Action: relayed"),
    ] {
        let disk = SimDisk::new(SimOptions::default());
        let data = open(&disk);
        let by = By { at: Time(NOW.0 + seconds * 1000), returns, trace: false };
        queue_text(&data, &["anna"], "Subject: x\r\n\r\nx\r\n", None, Some(by));
        let far = Far::begin(|| TAKEN);
        assert!(send(&data, &disk, &far).await);
        let lines = far.lines.lock().unwrap().clone();
        assert_eq!(far.letters(), usize::from(goes), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains(" BY=")), "{lines:?}");
        let mut ids = Vec::new();
        let read = data.read().unwrap();
        read.scan(Table::Blobs, &[], &[0xff; 9], Order::Forward, &mut |key, _| {
            ids.push(u64::from_be_bytes(key.try_into().unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(ids.len(), 1, "the notice");
        let notice = data.blobs().read(homepost::base::BlobId(ids[0]), 0..1 << 20).unwrap();
        let notice = String::from_utf8(notice.to_vec()).unwrap();
        assert!(notice.contains(words) && notice.contains("\r\nDeliver-By-Date: "), "{notice}");
    }
}

/// The keys of a domain change after half a year, and a letter may be appointed for a year from now, or be held: what has waited for
/// long is signed when it leaves, and what leaves at once as it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_for_long_is_signed_by_the_keys_of_today() {
    let text = "Received: by mail.example.test\r\nDKIM-Signature: v=1; a=ed25519-sha256; d=example.test; s=old; c=relaxed/relaxed;\r\n \
                h=from; bh=x; b=y\r\nFrom: anna@example.test\r\nSubject: x\r\n\r\nbody line\r\n";
    for (days, again) in [(4, false), (6, true)] {
        let disk = SimDisk::new(SimOptions::default());
        let data = open(&disk);
        let keys = NewKeys::make(&OsRandom, NOW).unwrap();
        data.write_blocking(move |txn| domain::add(txn, "example.test", &keys, NOW)).unwrap();
        queue_text(&data, &["anna"], text, None, None);
        let far = Far::begin(|| TAKEN);
        assert!(send_at(CAME.plus_ms(days * 24 * 3_600_000), &data, &disk, &far).await);
        let lines = far.lines.lock().unwrap().clone();
        let signed = lines.iter().filter(|line| line.starts_with("DKIM-Signature:")).count();
        assert_eq!(
            (signed, lines.iter().any(|line| line.contains("s=old;"))),
            if again { (2, false) } else { (1, true) }
        );
        let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
        assert!(at("Received:") < at("DKIM-Signature:") && at("DKIM-Signature:") < at("From:"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| *line == "body line").count(), 1, "{lines:?}");
    }
}
