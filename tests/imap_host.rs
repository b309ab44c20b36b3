//! The IMAP machine and its host together, over a store on a simulated disk, without sockets: what a client types and
//! what it reads.

mod household;

use std::sync::Arc;

use bytes::Bytes;
use homepost::account::{self, Flags, INBOX};
use homepost::base::{AccountId, ManualClock, Mono, SeededRandom, Time};
use homepost::directory::{self, Account, Directory, Resolution, StoredScram};
use homepost::imap::{Host, Shared};
use homepost::message::Limits;
use homepost::proto::imap::{Config, Imap, Tls};
use homepost::proto::{self, BodyFault, Event, Output, Part, Secured, Session};
use homepost::store::Data;
use homepost::store::disk::SimDisk;
use household::*;

/// One person, whose password is known.
struct House;

impl Directory for House {
    async fn resolve(&self, _: &str) -> Result<Resolution, directory::Error> {
        Ok(Resolution::Unknown)
    }

    async fn authenticate(&self, user: &str, password: &str) -> Result<Option<Account>, directory::Error> {
        let known = user == "alice@example.test" && password == "correct horse";
        Ok(known.then(|| Account { id: ALICE, address: user.to_owned(), name: None, quota: Some(1 << 20) }))
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
}

impl Client {
    fn new(data: &Data) -> (Client, tokio::sync::watch::Sender<bool>) {
        let (stop, going_down) = tokio::sync::watch::channel(false);
        let shared = Shared {
            data: data.clone(),
            directory: Arc::new(House),
            clock: Arc::new(ManualClock::at(Time::from_seconds(1_800_000_000))),
            random: Arc::new(SeededRandom::new(1)),
            limits: Limits::default(),
            append_bytes: 1 << 20,
            refusal_ms: 0,
            going_down,
        };
        let machine = Imap::new(Config::new(Tls::Implicit), Mono(0));
        (Client { machine, host: Host::new(Arc::new(shared)), closed: false }, stop)
    }

    /// Sends bytes and reads all there is to read.
    async fn say(&mut self, bytes: &str) -> String {
        self.machine.input(Mono(1), Event::Bytes(Bytes::copy_from_slice(bytes.as_bytes())));
        self.read().await
    }

    async fn read(&mut self) -> String {
        let host = &mut self.host;
        let mut out = Vec::new();
        let mut more = false;
        loop {
            match self.machine.output() {
                Some(Output::Write(bytes)) => out.extend_from_slice(&bytes),
                Some(Output::Ask(ask)) => {
                    let (answer, part) = proto::Host::<Imap>::ask(host, ask).await;
                    more = part == Part::More;
                    self.machine.input(Mono(2), Event::Answer(answer, part));
                }
                Some(Output::BodyChunk(chunk)) => proto::Host::<Imap>::body_chunk(host, chunk).await,
                Some(Output::BodyEnd) => {
                    let stored: Result<(), BodyFault> = proto::Host::<Imap>::body_end(host).await;
                    self.machine.input(Mono(2), Event::BodyStored(stored));
                }
                Some(Output::BodyAbort) => proto::Host::<Imap>::body_abort(host),
                Some(Output::SendBlob { blob, range }) => {
                    out.extend_from_slice(&proto::Host::<Imap>::blob(host, blob, range).await.expect("it can be read"));
                }
                Some(Output::Close) => self.closed = true,
                Some(Output::StartTls) => panic!("TLS is there from the start"),
                None if more => {
                    let (answer, part) = proto::Host::<Imap>::more(host).await;
                    more = part == Part::More;
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
