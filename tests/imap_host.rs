//! The IMAP machine and its host together, over a store on a simulated disk, without sockets: what a client types and
//! what it reads.

mod household;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use homepost::account::{self, Flags, INBOX, Which};
use homepost::base::{AccountId, BlobId, ManualClock, Mono, SeededRandom, Time};
use homepost::directory::{self, Account, Directory, Resolution, StoredScram};
use homepost::imap::{Host, Shared};
use homepost::message::Limits;
use homepost::proto::imap::{Config, Imap, Tls};
use homepost::proto::{self, BodyFault, Event, Output, Part, Secured, Session};
use homepost::store::Data;
use homepost::store::disk::{Disk, SimDisk};
use household::*;

/// One person, whose password is known.
struct House;

impl Directory for House {
    async fn resolve(&self, _: &str) -> Result<Resolution, directory::Error> {
        Ok(Resolution::Unknown)
    }

    async fn authenticate(&self, user: &str, password: &str) -> Result<Option<Account>, directory::Error> {
        let known = user == "alice@example.test" && password == "correct horse";
        Ok(known.then(|| Account {
            id: ALICE,
            address: user.to_owned(),
            name: None,
            quota: Some(1 << 20),
            pass: directory::Pass::default(),
        }))
    }

    async fn scram_keys(&self, user: &str) -> Result<StoredScram, directory::Error> {
        Err(directory::Error::NoSuchAccount(user.to_owned()))
    }

    async fn account(&self, _: &str) -> Result<Option<Account>, directory::Error> {
        Ok(None)
    }

    async fn may_send_as(&self, _: AccountId, _: &str) -> Result<bool, directory::Error> {
        Ok(false)
    }
}

struct Client {
    machine: Imap,
    host: Host<House>,
    closed: bool,
    /// The last answer was not the last of its question.
    more: bool,
    /// Reading stops before the bytes of each letter; those that are next.
    stops: bool,
    next: Option<(BlobId, Range<u64>)>,
}

impl Client {
    fn new(data: &Data) -> (Client, tokio::sync::watch::Sender<bool>) {
        let (stop, going_down) = tokio::sync::watch::channel(false);
        let shared = Shared {
            data: data.clone(),
            directory: Arc::new(House),
            clock: Arc::new(ManualClock::at(Time::from_seconds(1_800_000_000))),
            random: Arc::new(SeededRandom::new(1)),
            throttle: directory::Throttle::new(10),
            overviews: Arc::default(),
            limits: Limits::default(),
            append_bytes: 1 << 20,
            refusal_ms: 0,
            going_down,
        };
        let machine = Imap::new(Config::new(Tls::Implicit), Mono(0));
        (
            Client {
                machine,
                host: Host::new(Arc::new(shared), [127, 0, 0, 1].into()),
                closed: false,
                more: false,
                stops: false,
                next: None,
            },
            stop,
        )
    }

    /// Sends bytes and reads all there is to read.
    async fn say(&mut self, bytes: &str) -> String {
        self.machine.input(Mono(1), Event::Bytes(Bytes::copy_from_slice(bytes.as_bytes())));
        self.read().await
    }

    async fn read(&mut self) -> String {
        let host = &mut self.host;
        let mut out = Vec::new();
        if let Some((blob, range)) = self.next.take() {
            out.extend_from_slice(&proto::Host::<Imap>::blob(host, blob, range).await.expect("it can be read"));
        }
        loop {
            match self.machine.output() {
                Some(Output::Write(bytes)) => out.extend_from_slice(&bytes),
                Some(Output::Ask(ask)) => {
                    let (answer, part) = proto::Host::<Imap>::ask(host, ask).await;
                    self.more = part == Part::More;
                    self.machine.input(Mono(2), Event::Answer(answer, part));
                }
                Some(Output::BodyChunk(chunk)) => proto::Host::<Imap>::body_chunk(host, chunk).await,
                Some(Output::BodyEnd) => {
                    let stored: Result<(), BodyFault> = proto::Host::<Imap>::body_end(host).await;
                    self.machine.input(Mono(2), Event::BodyStored(stored));
                }
                Some(Output::BodyAbort) => proto::Host::<Imap>::body_abort(host),
                Some(Output::SendBlob { blob, range }) if self.stops => {
                    self.next = Some((blob, range));
                    return String::from_utf8_lossy(&out).into_owned();
                }
                Some(Output::SendBlob { blob, range }) => {
                    out.extend_from_slice(&proto::Host::<Imap>::blob(host, blob, range).await.expect("it can be read"));
                }
                Some(Output::SendDotted { .. }) => panic!("that is SMTP's"),
                Some(Output::Close) => self.closed = true,
                Some(Output::StartTls) => panic!("TLS is there from the start"),
                None if self.more => {
                    let (answer, part) = proto::Host::<Imap>::more(host).await;
                    self.more = part == Part::More;
                    self.machine.input(Mono(2), Event::Answer(answer, part));
                }
                None => return String::from_utf8_lossy(&out).into_owned(),
            }
        }
    }

    /// A client that has logged in and selected INBOX.
    async fn inside(data: &Data) -> (Client, tokio::sync::watch::Sender<bool>) {
        let (mut client, stop) = Client::new(data);
        client.machine.input(Mono(0), Event::Secured(Secured::default()));
        assert!(client.read().await.starts_with("* OK"));
        let told = client.say("a LOGIN alice@example.test \"correct horse\"\r\n").await;
        assert!(told.contains("a OK"), "{told}");
        let told = client.say("b SELECT INBOX\r\n").await;
        assert!(told.contains("b OK [READ-WRITE]"), "{told}");
        (client, stop)
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

#[test]
fn a_wrong_password_is_refused() {
    run(async {
        let data = fresh(&SimDisk::sound());
        let (mut client, _stop) = Client::new(&data);
        client.machine.input(Mono(0), Event::Secured(Secured::default()));
        client.read().await;
        let told = client.say("a LOGIN alice@example.test wrong\r\n").await;
        assert!(told.contains("a NO [AUTHENTICATIONFAILED]"), "{told}");
    });
}

#[test]
fn what_was_delivered_is_read_back_byte_for_byte() {
    run(async {
        let data = fresh(&SimDisk::sound());
        for n in [1, 16] {
            deliver(&data, n, INBOX, Flags::default()).expect("it is delivered");
        }
        let (mut client, _stop) = Client::inside(&data).await;
        for (uid, n) in [(1, 1), (2, 16)] {
            let bytes = String::from_utf8(letter(n)).expect("it is text");
            let told = client.say(&format!("c UID FETCH {uid} (BODY.PEEK[])\r\n")).await;
            assert!(told.contains(&format!("{{{}}}\r\n{bytes}", bytes.len())), "{told}");
        }
        let told = client
            .say("d FETCH 1 (RFC822.SIZE ENVELOPE BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[TEXT]<0.6>)\r\n")
            .await;
        assert!(told.contains("\"Letter 1\"") && told.contains("Subject: Letter 1\r\n\r\n"), "{told}");
        assert!(told.contains("{6}\r\nLine 0"), "{told}");
        let told = client.say("e FETCH 1 BODY[]\r\n").await;
        assert!(told.contains("\\Seen"), "BODY[] sets it: {told}");
        assert_sound(&data);
    });
}

#[test]
fn appended_flagged_copied_moved_expunged() {
    run(async {
        let data = fresh(&SimDisk::sound());
        let (mut client, _stop) = Client::inside(&data).await;
        let text = String::from_utf8(letter(1)).expect("it is text");
        let told = client.say(&format!("a APPEND INBOX (\\Flagged $Work) {{{}}}\r\n", text.len())).await;
        assert!(told.starts_with("+"), "{told}");
        let told = client.say(&format!("{text}\r\n")).await;
        assert!(told.contains("APPENDUID 1 1]") && told.contains("* 1 EXISTS"), "{told}");
        let told = client.say("b STORE 1 +FLAGS (\\Seen later)\r\n").await;
        assert!(told.contains("$Work") && told.contains("later") && told.contains("\\Flagged"), "{told}");
        let told = client.say("c COPY 1 Archive\r\n").await;
        assert!(told.contains("[COPYUID 6 1 1]"), "{told}");
        let told = client.say("d COPY 1 Nowhere\r\n").await;
        assert!(told.contains("d NO [TRYCREATE]"), "{told}");
        let told = client.say("e MOVE 1 Trash\r\n").await;
        assert!(told.contains("[COPYUID 5 1 1]") && told.contains("* 1 EXPUNGE"), "{told}");
        let told = client.say("f STATUS Trash (MESSAGES UNSEEN UIDNEXT SIZE)\r\n").await;
        assert!(told.contains("MESSAGES 1") && told.contains("UIDNEXT 2") && told.contains("UNSEEN 0"), "{told}");
        client.say("g SELECT Trash\r\n").await;
        let told = client.say("h SEARCH SUBJECT \"letter\" KEYWORD later FROM bob TEXT matters\r\n").await;
        assert!(told.contains("* SEARCH 1"), "{told}");
        let told = client.say("i STORE 1 +FLAGS.SILENT (\\Deleted)\r\nj EXPUNGE\r\n").await;
        assert!(told.contains("* 1 EXPUNGE") && told.contains("j OK"), "{told}");
        let told = client.say("k APPEND INBOX {2000000}\r\n").await;
        assert!(told.contains("k NO [TOOBIG]") || told.contains("k NO [OVERQUOTA]"), "{told}");
        assert_sound(&data);
    });
}

#[test]
fn mailboxes_are_made_renamed_listed_and_deleted() {
    run(async {
        let data = fresh(&SimDisk::sound());
        let (mut client, _stop) = Client::inside(&data).await;
        assert!(client.say("a CREATE Club/2026\r\n").await.contains("a OK"));
        assert!(client.say("b RENAME Club Verein\r\n").await.contains("b OK"));
        let told = client.say("c LIST \"\" *\r\n").await;
        assert!(told.contains("Verein/2026") && !told.contains("Club") && told.contains("\\Sent"), "{told}");
        assert!(client.say("d DELETE Verein\r\n").await.contains("d OK"));
        let told = client.say("e LIST \"\" Verein*\r\n").await;
        assert!(told.contains("\\Noselect") || told.contains("\\NonExistent"), "{told}");
        assert!(client.say("f DELETE INBOX\r\n").await.contains("f NO [CANNOT]"));
        assert!(client.say("g SELECT Nowhere\r\n").await.contains("g NO"));
        assert_sound(&data);
    });
}

#[test]
fn a_long_mailbox_is_answered_in_pages_without_a_gap() {
    run(async {
        let data = fresh(&SimDisk::sound());
        let one = staged(&data, &letter(1)).expect("it is staged");
        data.write_blocking(move |txn| {
            let places: Vec<_> = (0..450).map(|_| account::Place { mailbox: INBOX, flags: Flags::default() }).collect();
            account::append(txn, ALICE, &one, &places, Time(0), Time(0), None)
        })
        .expect("it is delivered");
        for _ in 0..3 {
            let letters: Vec<_> = (0..2).map(|n| staged(&data, &letter(n)).expect("it is staged")).collect();
            data.write_blocking(move |txn| {
                for letter in &letters {
                    let places: Vec<_> =
                        (0..450).map(|_| account::Place { mailbox: INBOX, flags: Flags::default() }).collect();
                    account::append(txn, ALICE, letter, &places, Time(0), Time(0), None)?;
                }
                Ok::<_, account::Error>(())
            })
            .expect("they are delivered");
        }
        let (mut client, _stop) = Client::inside(&data).await;
        let told = client.say("a UID FETCH 1:* (FLAGS)\r\n").await;
        assert_eq!(told.matches(" FETCH (").count(), 450 * 7);
        let told = client.say("b UID FETCH 1:* (ENVELOPE)\r\n").await;
        assert_eq!(told.matches(" FETCH (").count(), 450 * 7);
        // Everything to the archive, as people do once a year.
        assert!(client.say("m CREATE Kept\r\n").await.contains("m OK"));
        let told = client.say("n MOVE 1:* Kept\r\n").await;
        assert!(told.contains("[COPYUID ") && told.contains("n OK"), "{}", &told[told.len() - 200..]);
        assert_eq!(told.matches(" EXPUNGE\r\n").count(), 450 * 7);
        assert!(client.say("o STATUS INBOX (MESSAGES)\r\n").await.contains("(MESSAGES 0)"));
        assert!(client.say("p SELECT Kept\r\n").await.contains(&format!("* {} EXISTS", 450 * 7)));
        let told = client.say("c STORE 1:* +FLAGS (\\Deleted)\r\n").await;
        assert_eq!(told.matches(" FETCH (").count(), 450 * 7);
        let told = client.say("d UID SEARCH DELETED TEXT matters\r\n").await;
        assert!(told.contains("d OK"), "{told}");
        let told = client.say("e EXPUNGE\r\n").await;
        assert_eq!(told.matches(" EXPUNGE\r\n").count(), 450 * 7);
        assert_sound(&data);
    });
}

#[test]
fn idle_is_told_of_what_another_session_does() {
    run(async {
        let data = fresh(&SimDisk::sound());
        let (mut client, stop) = Client::inside(&data).await;
        assert!(client.say("a IDLE\r\n").await.starts_with("+"));
        assert!(client.machine.wants_notice());
        deliver(&data, 1, INBOX, Flags::default()).expect("it is delivered");
        let notice = proto::Host::<Imap>::notice(&mut client.host).await;
        client.machine.input(Mono(3), Event::Notice(notice));
        assert!(client.read().await.contains("* 1 EXISTS"));
        stop.send(true).expect("somebody listens");
        let notice = proto::Host::<Imap>::notice(&mut client.host).await;
        client.machine.input(Mono(4), Event::Notice(notice));
        assert!(client.read().await.contains("* BYE"));
        assert!(client.closed);
    });
}

/// Deletes messages for good, and does as much else as it takes for their place on the disk to be used again.
async fn expunge(data: &Data, other: &mut Client, set: &str) {
    let told = other.say(&format!("x UID STORE {set} +FLAGS.SILENT (\\Deleted)\r\nx UID EXPUNGE {set}\r\n")).await;
    assert!(told.contains(" EXPUNGE\r\n") && told.contains("x OK"), "{told}");
    let archive = find(data, "Archive").id;
    for n in 100..200 {
        let uid = deliver(data, n, archive, Flags::default()).expect("it is delivered").places[0].uid;
        data.write_blocking(move |txn| account::expunge(txn, ALICE, archive, &[uid], Which::Any)).expect("it goes");
    }
    data.checkpoint().expect("the disk is sound");
    for _ in 0..5 {
        data.compact().expect("the disk is sound");
    }
}

/// Names of the files of large letters.
fn files(disk: &SimDisk) -> Vec<String> {
    disk.list().expect("the disk is sound").into_iter().filter(|name| name.starts_with("letter-")).collect()
}

/// RFC 3501 7.4.1, RFC 2180 4.1.1.
#[test]
fn what_fetch_announced_comes_whole_though_another_session_expunges_it() {
    run(async {
        let disk = SimDisk::sound();
        let data = fresh(&disk);
        // The second has a file of its own.
        for n in [1, 16, 2] {
            deliver(&data, n, INBOX, Flags::default()).expect("it is delivered");
        }
        let large = files(&disk);
        let (mut client, _stop) = Client::inside(&data).await;
        let (mut other, _other_stop) = Client::inside(&data).await;
        client.stops = true;
        let mut told = client.say("f FETCH 1:3 (BODY.PEEK[])\r\n").await;
        assert!(told.starts_with("* 1 FETCH (BODY[] {") && told.ends_with("}\r\n"), "{told}");
        client.stops = false;
        expunge(&data, &mut other, "1:3").await;
        assert!(files(&disk).contains(&large[0]), "it waits for its reader");
        told += &client.read().await;
        for n in [1, 16, 2] {
            let bytes = String::from_utf8(letter(n)).expect("it is text");
            assert!(told.contains(&format!("BODY[] {{{}}}\r\n{bytes})\r\n", bytes.len())), "letter {n}: {told}");
        }
        assert!(told.contains("f OK") && !told.contains("EXPUNGE"), "{told}");
        let told = client.say("g NOOP\r\n").await;
        assert_eq!(told.matches(" EXPUNGE\r\n").count(), 3, "{told}");
        // Nothing is held for longer than that.
        data.compact().expect("the disk is sound");
        assert_eq!(files(&disk), [""; 0]);
        assert_sound(&data);
    });
}

/// RFC 2180 4.1.2, RFC 5530 3: what was gone before its row was read.
#[test]
fn what_is_gone_before_its_row_is_left_out_and_said_so() {
    run(async {
        let data = fresh(&SimDisk::sound());
        for n in 1..=120 {
            deliver(&data, n % 16, INBOX, Flags::default()).expect("it is delivered");
        }
        let (mut client, _stop) = Client::inside(&data).await;
        let (mut other, _other_stop) = Client::inside(&data).await;
        client.stops = true;
        let mut told = client.say("f FETCH 1:* (UID BODY.PEEK[])\r\n").await;
        client.stops = false;
        expunge(&data, &mut other, "10,110").await;
        told += &client.read().await;
        assert_eq!(told.matches(" FETCH (UID ").count(), 119, "the first page was announced, the second has one less");
        assert!(told.contains("* 10 FETCH (UID 10 ") && !told.contains("(UID 110 "), "{told}");
        assert!(told.contains("f NO [EXPUNGEISSUED]") && !told.contains(" EXPUNGE\r\n"), "{told}");
        assert!(client.say("g NOOP\r\n").await.contains("* 10 EXPUNGE\r\n* 109 EXPUNGE\r\n"));
        assert_sound(&data);
    });
}

/// What is read ahead of the peer is what it asked for, with large letters, small ones and pieces among them.
#[test]
fn letters_come_in_their_order_whole_and_in_pieces() {
    run(async {
        let data = fresh(&SimDisk::sound());
        let numbers: Vec<u64> = (0..130).map(|n| if n % 40 == 7 { 16 } else { n % 16 }).collect();
        for n in &numbers {
            deliver(&data, *n, INBOX, Flags::default()).expect("it is delivered");
        }
        let (mut client, _stop) = Client::inside(&data).await;
        let whole: Vec<String> = numbers.iter().map(|n| String::from_utf8(letter(*n)).expect("it is text")).collect();
        let told = client.say("f FETCH 1:* BODY.PEEK[]\r\n").await;
        let rows = whole.iter().enumerate();
        let rows = rows.map(|(at, text)| format!("* {} FETCH (BODY[] {{{}}}\r\n{text})\r\n", at + 1, text.len()));
        assert!(told.starts_with(&rows.collect::<String>()), "the letters as they are");
        // The same twice in a row, a piece, and the whole.
        let told = client.say("g FETCH 6:10 (BODY.PEEK[]<3.50> BODY.PEEK[] BODY.PEEK[TEXT])\r\n").await;
        for (at, text) in whole.iter().enumerate().skip(5).take(5) {
            let (_, body) = text.split_once("\r\n\r\n").expect("it has a body");
            let piece = &text[3..53];
            let row = format!(
                "* {} FETCH (BODY[]<3> {{50}}\r\n{piece} BODY[] {{{}}}\r\n{text} BODY[TEXT] {{{}}}\r\n{body})\r\n",
                at + 1,
                text.len(),
                body.len()
            );
            assert!(told.contains(&row), "message {}", at + 1);
        }
        assert!(told.contains("g OK"));
    });
}

#[test]
fn a_damaged_letter_is_not_announced_and_keeps_no_other_from_being_read() {
    run(async {
        let disk = SimDisk::sound();
        let data = fresh(&disk);
        for n in [1, 16, 2] {
            deliver(&data, n, INBOX, Flags::default()).expect("it is delivered");
        }
        data.close().expect("the disk is sound");
        disk.damage(&files(&disk)[0], 20);
        let data = open(&disk).expect("it opens all the same");
        let (mut client, _stop) = Client::inside(&data).await;
        let told = client.say("f FETCH 1:3 (UID BODY.PEEK[])\r\n").await;
        for (uid, n) in [(1, 1), (3, 2)] {
            let bytes = String::from_utf8(letter(n)).expect("it is text");
            assert!(told.contains(&format!("(UID {uid} BODY[] {{{}}}\r\n{bytes})\r\n", bytes.len())), "{told}");
        }
        assert!(!told.contains("* 2 FETCH") && told.contains("f NO [SERVERBUG]"), "{told}");
        let told = client.say("g FETCH 2 (FLAGS ENVELOPE)\r\n").await;
        assert!(told.contains("\"Letter 16\"") && told.contains("g OK"), "what is known of it is told: {told}");
    });
}

#[test]
fn a_letter_that_found_no_room_does_not_stand_in_the_way_of_the_next() {
    run(async {
        let disk = SimDisk::sound();
        let data = fresh(&disk);
        let (mut client, _stop) = Client::inside(&data).await;
        let text = String::from_utf8(letter(16)).expect("it is text");
        let append = format!("a APPEND INBOX {{{}}}\r\n", text.len());
        assert!(client.say(&append).await.starts_with("+"));
        disk.set_capacity(Some(0));
        let told = client.say(&format!("{text}\r\n")).await;
        assert!(told.contains("a NO [UNAVAILABLE]"), "{told}");
        disk.set_capacity(None);
        assert!(client.say(&append).await.starts_with("+"));
        let told = client.say(&format!("{text}\r\n")).await;
        assert!(told.contains("a OK [APPENDUID 1 1]"), "{told}");
        assert_sound(&data);
    });
}
