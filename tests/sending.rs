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
use homepost::directory::manage::account::NewAccount;
use homepost::directory::manage::{self, domain};
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
    /// Who keeps the house.
    keepers: Vec<AccountId>,
    /// Something may leave.
    on: bool,
}

impl World for Room {
    fn way(&self) -> Way {
        Way {
            hostname: "mail.example.test".into(),
            on: self.on,
            relays: Vec::new(),
            source: Vec::new(),
            port: self.port,
            queue: homepost::queue::Limits::default(),
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
        self.keepers.clone()
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
    send_from(now, data, disk, far, |data| rows(data, Table::QueueRecipients) == Some(0)).await.is_some()
}

/// Sends until it is done, or until the power goes; what is put off meanwhile is due at once. How many calls of the disk there had
/// been when it was seen to be done.
async fn send_until(data: &Data, disk: &SimDisk, far: &Far, is_done: impl Fn(&Data) -> bool) -> Option<u64> {
    send_from(NOW, data, disk, far, is_done).await
}

async fn send_from(now: Time, data: &Data, disk: &SimDisk, far: &Far, is_done: impl Fn(&Data) -> bool) -> Option<u64> {
    let world = Room { port: far.address.port(), keepers: Vec::new(), on: true };
    send_in(world, now, data, disk, is_done).await
}

async fn send_in(world: Room, now: Time, data: &Data, disk: &SimDisk, is_done: impl Fn(&Data) -> bool) -> Option<u64> {
    let (clock, bell) = (Arc::new(ManualClock::at(now)), Bell::default());
    let sender = Sender::new(data.clone(), clock.clone(), Arc::new(OsRandom), world, bell.clone());
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(sender.run(stopped));
    for look in 1..30_000 {
        if disk.is_dead() {
            task.abort();
            return None;
        }
        let calls = disk.calls();
        if is_done(data) {
            task.abort();
            return Some(calls);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        if look % 500 == 0 {
            clock.advance_ms(3 * 60_000);
            bell.ring();
        }
    }
    panic!("not done after a minute: {:?}", queue::list(&data.read().unwrap(), QueueId(0), 9));
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
/// where the first one's word was not on the disk yet: behind the call at which it was said, and not behind the one at which it was
/// seen to be written.
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
    // Each cut that led to a second copy, and how many calls there had been when the far end said its word.
    let mut twice: Vec<(u64, u64)> = Vec::new();
    for call in 1..200 {
        let disk = SimDisk::new(SimOptions { seed: call, ..SimOptions::default() });
        let data = open(&disk);
        queue_text(&data, &["anna", "nobody"], "Subject: x\r\n\r\n.\r\nx\r\n", release, None);
        let state = if release.is_some() { queue::State::Later } else { queue::State::Waiting };
        let entries = queue::list(&data.read().unwrap(), homepost::base::QueueId(0), 2).unwrap();
        assert!(entries[0].recipients.iter().all(|one| one.state == state));
        let begun = disk.calls();
        disk.plan(&[(call, Fault::Cut)]);
        let (watched, word_at) = (disk.clone(), Arc::new(AtomicU64::new(0)));
        let said_at = word_at.clone();
        let far = Far::begin(move || {
            let _ = said_at.compare_exchange(0, watched.calls() - begun + 1, Ordering::SeqCst, Ordering::SeqCst);
            TAKEN
        });
        let nothing_waits = |data: &Data| rows(data, Table::QueueRecipients) == Some(0);
        let whole = send_until(&data, &disk, &far, nothing_waits).await;
        let before = far.letters();
        drop(data);
        // Of calls beginning with 1, as of the plan.
        let word_at = word_at.load(Ordering::SeqCst).saturating_sub(1);
        if let Some(written_at) = whole.map(|calls| calls - begun) {
            assert_eq!((before, call > 1), (1, true), "call {call}");
            assert!(!twice.is_empty(), "no cut fell between the far end's word and the disk: the test shows nothing");
            for (cut, word_at) in &twice {
                assert!(
                    word_at < cut && *cut <= written_at,
                    "a second copy for a cut at {cut}: {word_at}, {written_at}"
                );
            }
            assert!(word_at > 0 && written_at - word_at < 60, "{word_at} to {written_at} is no short time");
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
        if far.letters() > 1 {
            twice.push((call, word_at));
        }
    }
    panic!("a letter takes more calls of the disk than anybody thought");
}

/// A letter that has been tried some times since it came, with one recipient.
fn queue_old(data: &Data, came: Time, tries: u32) {
    queue_text(data, &["anna"], "Subject: x\r\n\r\nx\r\n", None, None);
    let entry = queue::list(&data.read().unwrap(), QueueId(0), 1).unwrap().remove(0);
    let (n, staged) =
        (entry.recipients[0].n, data.blobs().stage(LetterHeader::default(), b"Subject: x\r\n\r\nx\r\n").unwrap());
    let letter = NewLetter {
        staged,
        from: entry.from.clone(),
        account: entry.account,
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
        tls: homepost::queue::Tls::Usual,
        proven: false,
        release: None,
        by: None,
    };
    let to = [NewRecipient { address: "anna@[127.0.0.1]".into(), notify: None, orcpt: None }];
    let first = entry.id;
    data.write_blocking(move |txn| -> Result<(), queue::Error> {
        queue::leave(txn, first, n)?;
        enqueue(txn, &letter, &to, came, Limits::default()).map(|_| ())
    })
    .unwrap();
    let entry = queue::list(&data.read().unwrap(), QueueId(0), 1).unwrap().remove(0);
    let (id, n) = (entry.id, entry.recipients[0].n);
    for _ in 0..tries {
        data.write_blocking(move |txn| queue::put_off(txn, id, n, came, "451", false)).unwrap();
    }
}

/// How often the one that waits was tried; `None`: it has left.
fn tried(data: &Data) -> Option<u32> {
    let entries = queue::list(&data.read().ok()?, QueueId(0), 1).ok()?;
    Some(entries.first()?.recipients[0].attempts)
}

/// R1: a notice and what it tells of are one step, at whichever call the power goes: of a letter that takes long, and of one that is
/// given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_at_any_call_tells_once_of_what_takes_long_and_of_what_is_given_up() {
    const HOUR: i64 = 3_600_000;
    // Nothing is given up that was tried less than ten times.
    for (age, tries, leaves) in [(5 * HOUR, 3, false), (6 * 24 * HOUR, 9, true)] {
        let is_done =
            move |data: &Data| if leaves { tried(data).is_none() } else { tried(data).is_some_and(|n| n > 3) };
        let (mut cuts, mut ended) = ([0, 0], false);
        for call in 1..200 {
            let disk = SimDisk::new(SimOptions { seed: call, ..SimOptions::default() });
            let data = open(&disk);
            queue_old(&data, Time(NOW.0 - age), tries);
            disk.plan(&[(call, Fault::Cut)]);
            let far = Far::begin(|| "451 4.3.2 not today");
            let whole = send_until(&data, &disk, &far, is_done).await.is_some();
            // Where it cannot be read the cut came after all.
            if whole && let Some(told) = rows(&data, Table::Messages) {
                assert_eq!(told, 1);
                ended = true;
                break;
            }
            drop(data);
            disk.reboot();
            let data = open(&disk);
            let done = is_done(&data);
            cuts[usize::from(done)] += 1;
            assert_eq!(rows(&data, Table::Messages), Some(usize::from(done)), "call {call}: told of what was done");
            assert!(send_until(&data, &disk, &far, is_done).await.is_some());
            assert_eq!(rows(&data, Table::Messages), Some(1), "call {call}: told once");
            assert_eq!(queue::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
            let told =
                queue::list(&data.read().unwrap(), QueueId(0), 1).unwrap().first().map(|one| one.recipients[0].told);
            assert_eq!(told, (!leaves).then_some(true), "call {call}");
        }
        assert!(ended && cuts[0] > 0, "{cuts:?}");
    }
}

/// P3, with two letters in one connection: each arrives, and one whose word was not said before the cut arrives once.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_at_any_call_between_two_letters_loses_neither() {
    let mut twice = 0;
    for call in 1..300 {
        let disk = SimDisk::new(SimOptions { seed: call, ..SimOptions::default() });
        let data = open(&disk);
        for n in 0..2 {
            queue_text(&data, &["anna"], &format!("Subject: x\r\n\r\nthe letter {n}\r\n"), None, None);
        }
        disk.plan(&[(call, Fault::Cut)]);
        let far = Far::begin(|| TAKEN);
        let copies = |far: &Far| {
            let lines = far.lines.lock().unwrap();
            [0, 1].map(|n| lines.iter().filter(|line| **line == format!("the letter {n}")).count())
        };
        let whole = send(&data, &disk, &far).await;
        drop(data);
        if whole {
            let lines = far.lines.lock().unwrap().clone();
            assert_eq!(lines.iter().filter(|line| line.starts_with("EHLO")).count(), 1, "one connection: {lines:?}");
            assert!(twice > 0, "the test shows nothing");
            return;
        }
        // What a peer hears when the power goes may still be on its way.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = copies(&far);
        disk.reboot();
        let data = open(&disk);
        let waiting = rows(&data, Table::QueueRecipients).unwrap();
        assert!(send(&data, &disk, &far).await);
        let after = copies(&far);
        assert_eq!(after[0] + after[1], before[0] + before[1] + waiting, "call {call}");
        for (before, after) in before.into_iter().zip(after) {
            assert!(after == 1 || (before == 1 && after == 2), "call {call}: {before}, {after}");
            twice += usize::from(after == 2);
        }
        assert_eq!(rows(&data, Table::Messages), Some(0));
        assert_eq!(queue::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
    }
    panic!("two letters take more calls of the disk than anybody thought");
}

/// P1, P3: one call of the disk fails, whichever it is: the letter arrives once, and its sender hears once of whom nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_anywhere_loses_nothing_and_sends_nothing_twice() {
    for call in 1..200 {
        let disk = SimDisk::new(SimOptions { seed: call, ..SimOptions::default() });
        let data = open(&disk);
        queue_letter(&data, &["anna", "nobody"]);
        let begun = disk.calls();
        disk.plan(&[(call, Fault::Eio)]);
        let far = Far::begin(|| TAKEN);
        assert!(send(&data, &disk, &far).await);
        assert_eq!((far.letters(), rows(&data, Table::Messages)), (1, Some(1)), "call {call}");
        assert_eq!(queue::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        if disk.calls() - begun < call {
            assert!(call > 3, "no call failed");
            return;
        }
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
    let world = Room { port: far.address.port(), keepers: Vec::new(), on: true };
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
    let world = Room { port: far.address.port(), keepers: Vec::new(), on: true };
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

/// A house with Anna, who administers it, Bob, and an address for both and somebody elsewhere; and a letter of Anna's whose time has
/// come, with notices asked for.
fn home_for_later(data: &Data, recipients: &[&str]) {
    let keys = NewKeys::make(&OsRandom, NOW).unwrap();
    let new = |address: &str| NewAccount {
        address: address.to_owned(),
        administrator: address.starts_with("anna"),
        ..NewAccount::default()
    };
    data.write_blocking(move |txn| -> Result<(), homepost::directory::Error> {
        domain::add(txn, "example.test", &keys, NOW)?;
        for person in ["anna@example.test", "bob@example.test"] {
            let id = manage::account::add_without_password(txn, &new(person), NOW)?;
            account::open(txn, id).map_err(|error| homepost::directory::Error::Unusable(error.to_string()))?;
        }
        let all = ["anna@example.test", "bob@example.test", AUNT].map(str::to_owned);
        manage::alias::add(txn, "all@example.test", &all).map(drop)
    })
    .unwrap();
    let letter = NewLetter {
        staged: data.blobs().stage(LetterHeader::default(), b"Subject: later\r\n\r\nx\r\n").unwrap(),
        from: Some("anna@example.test".into()),
        account: Some(PERSON),
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
        tls: homepost::queue::Tls::Usual,
        proven: false,
        release: Some(Time(NOW.0 - 1)),
        by: None,
    };
    let notify = Some(queue::Notify { success: true, failure: true, delay: false });
    let to = |local: &&str| {
        let address = if *local == "Postmaster" { (*local).to_owned() } else { format!("{local}@example.test") };
        NewRecipient { address, notify, orcpt: None }
    };
    let recipients: Vec<NewRecipient> = recipients.iter().map(to).collect();
    data.write_blocking(move |txn| enqueue(txn, &letter, &recipients, CAME, Limits::default())).unwrap();
}

const AUNT: &str = "aunt@elsewhere.test";

/// What still waits, and its recipients' last words.
fn waits(data: &Data) -> Option<Vec<(String, Option<String>)>> {
    let entries = queue::list(&data.read().ok()?, QueueId(0), 9).ok()?;
    Some(entries.into_iter().flat_map(|entry| entry.recipients).map(|one| (one.address, one.last)).collect())
}

/// Nothing but the copy for who lives elsewhere.
fn is_home(data: &Data) -> bool {
    waits(data).is_some_and(|waits| waits.iter().all(|(address, _)| address == AUNT))
}

/// The letters of an account, as (return path, subject).
fn inbox(data: &Data, account: AccountId) -> Vec<(String, String)> {
    let read = data.read().unwrap();
    let uids = account::view::all_uids(&read, account, account::INBOX, 100).unwrap();
    let text = |uid| {
        let message = account::view::message(&read, account, account::INBOX, uid).unwrap().unwrap();
        let email = account::view::email(&read, account, message.email).unwrap().unwrap();
        String::from_utf8(data.blobs().read(email.blob, 0..1 << 20).unwrap().to_vec()).unwrap()
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().to_owned()
    };
    uids.into_iter().map(text).map(|text| (field(&text, "Return-Path:"), field(&text, "Subject:"))).collect()
}

/// RFC 4865 of people of the house: each gets one, however many of the addresses are theirs, in the transaction in which it leaves the
/// queue; so wherever the power goes nothing is lost, and nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_to_come_later_to_this_house_comes_once_wherever_the_power_goes() {
    let bob = AccountId(PERSON.0 + 1);
    for call in 1..200 {
        let disk = SimDisk::new(SimOptions { seed: call, ..SimOptions::default() });
        let data = open(&disk);
        home_for_later(&data, &["bob", "all", "nobody"]);
        disk.plan(&[(call, Fault::Cut)]);
        let far = Far::begin(|| TAKEN);
        let whole = send_until(&data, &disk, &far, is_home).await.is_some() && !disk.is_dead();
        disk.cut();
        drop(data);
        disk.reboot();
        disk.plan(&[]);
        let data = open(&disk);
        assert!(send_until(&data, &disk, &far, is_home).await.is_some());
        let path = "<anna@example.test>".to_owned();
        assert_eq!(inbox(&data, bob), [(path.clone(), "later".to_owned())], "call {call}");
        let mut annas = inbox(&data, PERSON);
        annas.sort();
        let subjects: Vec<&str> = annas.iter().map(|(_, subject)| subject.as_str()).collect();
        // One of Bob's own address, one of the address of many, which no list's other members hear of again; one of nobody's.
        assert_eq!(
            subjects,
            ["Your letter could not be delivered", "Your letter was delivered", "Your letter was delivered", "later"],
            "call {call}"
        );
        assert_eq!(waits(&data).unwrap().len(), 1, "call {call}: hers");
        assert_eq!(far.letters(), 0);
        assert_eq!(queue::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        if whole {
            assert!(call > 1);
            return;
        }
    }
    panic!("a letter takes more calls of the disk than anybody thought");
}

/// RFC 3463 3.3: whose mailbox is full is tried again; but not for who gets the letter by another of their addresses.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_to_come_later_waits_for_room() {
    let bob = AccountId(PERSON.0 + 1);
    for (recipients, waits_first) in [(&["bob"][..], true), (&["bob", "all"][..], false)] {
        let disk = SimDisk::new(SimOptions::default());
        let data = open(&disk);
        home_for_later(&data, recipients);
        let quota = |octets| {
            let set =
                move |txn: &mut homepost::store::Txn<'_>| manage::account::set_quota(txn, "bob@example.test", octets);
            data.write_blocking(set).unwrap();
        };
        quota(Some(1));
        let far = Far::begin(|| TAKEN);
        let bobs = |data: &Data| waits(data)?.into_iter().find(|(address, _)| address.starts_with("bob"))?.1;
        if waits_first {
            assert!(send_until(&data, &disk, &far, |data| bobs(data).is_some()).await.is_some());
            assert_eq!(bobs(&data).unwrap(), "452 4.2.2 the mailbox of bob@example.test is full");
            assert_eq!(inbox(&data, bob).len(), 0);
            quota(None);
        }
        assert!(send_until(&data, &disk, &far, is_home).await.is_some());
        assert_eq!(inbox(&data, bob).len(), 1);
    }
}

/// What stays in the house does not leave it: it comes though nothing may leave. RFC 5321 4.1.1.3: Postmaster lives here, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_to_come_later_comes_though_nothing_leaves() {
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    home_for_later(&data, &["bob", "Postmaster"]);
    queue_letter(&data, &["anna"]);
    let world = Room { port: 1, keepers: Vec::new(), on: false };
    let only_one_waits = |data: &Data| waits(data).is_some_and(|waits| waits.len() == 1);
    assert!(send_in(world, NOW, &data, &disk, only_one_waits).await.is_some());
    assert_eq!(waits(&data).unwrap(), [("anna@[127.0.0.1]".to_owned(), None)]);
    assert_eq!(inbox(&data, AccountId(PERSON.0 + 1)).len(), 1);
    let mut subjects: Vec<String> = inbox(&data, PERSON).into_iter().map(|(_, subject)| subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["Your letter was delivered", "later"], "the notice names both");
}

/// A letter that cannot be read any more (a sector of the disk, a backup that had lost it) is tried for five days and then told of,
/// and no other waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_nobody_elses_letter_from_this_house() {
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    home_for_later(&data, &["bob"]);
    let blob = queue::list(&data.read().unwrap(), QueueId(0), 1).unwrap()[0].blob;
    data.write_blocking(move |txn| -> Result<(), homepost::store::Error> {
        txn.delete(Table::Blobs, &blob.0.to_be_bytes());
        Ok(())
    })
    .unwrap();
    let far = Far::begin(|| TAKEN);
    let tried = |data: &Data| waits(data).is_some_and(|waits| waits.iter().any(|(_, last)| last.is_some()));
    assert!(send_until(&data, &disk, &far, tried).await.is_some());
    let last = waits(&data).unwrap().remove(0).1.unwrap();
    assert!(last.starts_with("451 4.3.0 the letter cannot be brought now"), "{last}");
    let attempts = |data: &Data| {
        let entries = queue::list(&data.read().ok()?, QueueId(0), 9).ok()?;
        Some(entries.first()?.recipients.first()?.attempts)
    };
    // Every few hours, until its time is over and it was tried often enough.
    let mut now = NOW.plus_ms(6 * 24 * 3_600_000);
    while let Some(before) = attempts(&data) {
        now = now.plus_ms(5 * 3_600_000);
        assert!(send_from(now, &data, &disk, &far, |data| attempts(data) != Some(before)).await.is_some());
        assert!(before < 20);
    }
    assert_eq!(inbox(&data, PERSON).len(), 1, "the notice");
    assert_eq!(queue::list(&data.read().unwrap(), QueueId(0), 9).unwrap(), []);
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

/// What became of a letter that an address here sent on for somebody outside, and the notices that lay in the queue right then: to
/// whom, and whether they were from nobody and asked for nothing. With how many the keeper of the house got.
async fn sent_on(
    word: &'static str,
    proven: bool,
    notify: Option<queue::Notify>,
    keepers: Vec<AccountId>,
) -> (Vec<(String, bool)>, usize, Vec<String>) {
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    data.write_blocking(|txn| account::open(txn, PERSON)).map_err(|error: account::Error| error).unwrap();
    let letter = NewLetter {
        staged: data.blobs().stage(LetterHeader::default(), b"Subject: x\r\n\r\nx\r\n").unwrap(),
        from: Some("them@[127.0.0.1]".into()),
        account: None,
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
        tls: homepost::queue::Tls::Usual,
        proven,
        release: None,
        by: None,
    };
    let to = [NewRecipient { address: "friend@[127.0.0.1]".into(), notify, orcpt: None }];
    let came = Time(NOW.0 - 5 * 3_600_000);
    data.write_blocking(move |txn| enqueue(txn, &letter, &to, came, Limits::default())).unwrap();
    let first = |data: &Data| queue::list(&data.read().unwrap(), QueueId(0), 9).unwrap();
    let entry = first(&data).remove(0);
    let (id, n) = (entry.id, entry.recipients[0].n);
    // Late means that it was tried a few times.
    for _ in 0..3 {
        data.write_blocking(move |txn| queue::put_off(txn, id, n, came, "451", false)).unwrap();
    }
    // Whatever is told of it stands in the queue with what became of it: one transaction. The far end takes no notice either, and
    // says so only when the queue has been looked at.
    let (said, seen) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let looked_at = seen.clone();
    let far = Far::begin(move || {
        let is_notice = said.swap(true, Ordering::SeqCst);
        while is_notice && !looked_at.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        word
    });
    let world = Room { port: far.address.port(), keepers, on: true };
    let clock = Arc::new(ManualClock::at(NOW));
    let sender = Sender::new(data.clone(), clock, Arc::new(OsRandom), world, Bell::default());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(sender.run(stopped));
    let mut looks = 0;
    let notices: Vec<_> = loop {
        let mut entries = first(&data);
        let at = entries.iter().position(|one| one.id == id);
        if at.is_none_or(|at| entries.remove(at).recipients[0].attempts > 3) {
            break entries;
        }
        looks += 1;
        assert!(looks < 6_000, "not tried after a minute");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    seen.store(true, Ordering::SeqCst);
    let heard = |far: &Far| far.lines.lock().unwrap().iter().filter(|line| line.starts_with("RCPT")).count();
    while heard(&far) < 1 + notices.len() {
        looks += 1;
        assert!(looks < 6_000, "the notice is not sent after a minute");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    task.await.unwrap();
    let quiet = |one: &queue::Entry| {
        one.from.is_none() && !one.proven && one.recipients[0].notify == Some(queue::Notify::default())
    };
    let kept = rows(&data, Table::Messages).unwrap();
    let notices = notices.iter().map(|one| (one.recipients[0].address.clone(), quiet(one))).collect();
    let lines = far.lines.lock().unwrap().clone();
    (notices, kept, lines.into_iter().filter(|line| line.starts_with("MAIL") || line.starts_with("RCPT")).collect())
}

/// P7, RFC 3461 6.2: anybody can write anybody's address on an envelope. Of a letter that an alias sends on, a failure or a delay is
/// told to the reverse path only where SPF spoke for it, and NOTIFY asked; and the notice is from nobody.
#[tokio::test(flavor = "multi_thread")]
async fn no_notice_leaves_for_a_sender_who_was_not_proved_or_did_not_ask() {
    let notify = |success, failure, delay| Some(queue::Notify { success, failure, delay });
    for (word, asked, other) in [
        // The far end will not have it, or not yet; what asks to hear of that, and what asks for something else.
        ("550 5.7.1 no", notify(false, true, false), notify(true, false, true)),
        ("451 4.3.2 not today", notify(false, false, true), notify(true, true, false)),
    ] {
        for (proven, notify, leaves) in [
            (false, None, false),
            (false, asked, false),
            (true, None, false),
            (true, other, false),
            (true, notify(false, false, false), false),
            (true, asked, true),
        ] {
            let (notices, kept, lines) = sent_on(word, proven, notify, Vec::new()).await;
            let wanted: Vec<_> = leaves.then(|| ("them@[127.0.0.1]".to_owned(), true)).into_iter().collect();
            assert_eq!(notices, wanted, "{word}, proven: {proven}, {notify:?}");
            assert_eq!(kept, 0, "nobody of the house wrote it");
            let out =
                |line: &String| line.starts_with("MAIL FROM:<>") || line.starts_with("RCPT TO:<them@[127.0.0.1]>");
            assert_eq!(lines.iter().filter(|line| out(line)).count() >= 2, leaves, "{lines:?}");
            assert!(leaves || !lines.iter().any(out), "{lines:?}");
        }
        // Who keeps the house hears of it in any case, and that lets nothing out.
        let (notices, kept, _) = sent_on(word, false, asked, vec![PERSON]).await;
        assert_eq!((notices, kept), (Vec::new(), 1), "{word}");
    }
}

/// P3, P7: where notices have filled their part of the queue, a failure that has to be told keeps its recipient waiting, and is told
/// when there is room; it is not told to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_waits_until_there_is_room_to_tell_of_it() {
    let disk = SimDisk::new(SimOptions::default());
    let data = open(&disk);
    data.write_blocking(|txn| account::open(txn, PERSON)).map_err(|error: account::Error| error).unwrap();
    let letter = |release, proven| NewLetter {
        staged: data.blobs().stage(LetterHeader::default(), b"Subject: x\r\n\r\nx\r\n").unwrap(),
        from: Some("them@[127.0.0.1]".into()),
        account: None,
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
        tls: homepost::queue::Tls::Usual,
        proven,
        release,
        by: None,
    };
    let far_off = letter(Some(Time(NOW.0 + 30 * 86_400_000)), false);
    let failure = Some(queue::Notify { success: false, failure: true, delay: false });
    let to = |local: &str, notify| [NewRecipient { address: format!("{local}@[127.0.0.1]"), notify, orcpt: None }];
    // A tenth of what the queue holds.
    let room = usize::try_from(Limits::default().letters).unwrap() / 10;
    let others = to("later", None);
    data.write_blocking(move |txn| -> Result<(), queue::Error> {
        (0..room).try_for_each(|_| enqueue(txn, &far_off, &others, CAME, Limits::default()).map(|_| ()))
    })
    .unwrap();
    let (ours, nobody) = (letter(None, true), to("nobody", failure));
    data.write_blocking(move |txn| enqueue(txn, &ours, &nobody, CAME, Limits::default())).unwrap();
    let all = |data: &Data| queue::list(&data.read().unwrap(), QueueId(0), 2 * room).unwrap();
    let is_ours = |one: &&queue::Entry| one.recipients[0].notify == failure;
    let waits = |data: &Data| all(data).iter().find(is_ours).map(|one| one.recipients[0].clone());
    let far = Far::begin(|| TAKEN);
    assert!(send_until(&data, &disk, &far, |data| waits(data).is_none_or(|one| one.attempts > 0)).await.is_some());
    let (one, waiting) = (waits(&data).expect("it waits"), all(&data).iter().find(is_ours).unwrap().id);
    assert!(one.last.unwrap().contains("nobody") && one.due > NOW);
    assert!(!far.lines.lock().unwrap().iter().any(|line| line.starts_with("MAIL FROM:<>")));
    // Room for one.
    let entry = all(&data).into_iter().find(|one| one.release.is_some()).unwrap();
    let (id, n) = (entry.id, entry.recipients[0].n);
    data.write_blocking(move |txn| queue::leave(txn, id, n)).unwrap();
    data.write_blocking(move |txn| queue::retry(txn, waiting, NOW)).unwrap();
    assert!(send_until(&data, &disk, &far, |data| waits(data).is_none() && all(data).len() < room).await.is_some());
    let lines = far.lines.lock().unwrap().clone();
    assert!(lines.iter().any(|line| line.starts_with("MAIL FROM:<>")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("RCPT TO:<them@[127.0.0.1]>")), "{lines:?}");
}
