//! Letters through the door, on a simulated disk.

use std::sync::Arc;

use super::*;
use crate::account;
use crate::base::{AccountId, Clock, Family, Fault, ManualClock, QueueId, SeededRandom, Time};
use crate::directory::LocalRecipient;
use crate::queue;
use crate::store::data::Options;
use crate::store::disk::{SimDisk, SimOptions};
use crate::store::{Data, Read};

const LETTER: &[u8] = b"From: a@out.test\r\nTo: b@example.test\r\nSubject: hello\r\n\r\nhow are you\r\n";

struct House {
    data: Data,
    clock: Arc<ManualClock>,
    intake: Intake,
}

fn house() -> House {
    let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
    data.write_blocking(|txn| {
        account::open(txn, AccountId(1))?;
        account::open(txn, AccountId(2))
    })
    .map_err(|error: account::Error| error)
    .unwrap();
    let clock = Arc::new(ManualClock::at(Time::from_seconds(1_700_000_000)));
    let intake = Intake::new(data.clone(), clock.clone(), Arc::new(SeededRandom::new(1)));
    House { data, clock, intake }
}

fn local(account: u32) -> LocalRecipient {
    LocalRecipient {
        account: AccountId(account),
        address: format!("p{account}@example.test"),
        subaddress: None,
        quota: None,
    }
}

fn to(accounts: &[u32], outside: &[&str]) -> Recipient {
    Recipient {
        address: format!("r{}@example.test", accounts.len()),
        target: Target {
            local: accounts.iter().map(|n| local(*n)).collect(),
            outside: outside.iter().map(|address| (*address).to_owned()).collect(),
        },
        dsn: Dsn::default(),
    }
}

fn envelope(recipients: Vec<Recipient>) -> Envelope {
    Envelope {
        origin: Origin {
            peer: "192.0.2.9".parse().unwrap(),
            helo: "out.test".into(),
            with: "ESMTPS",
            tls: None,
            account: None,
        },
        from: Some("a@out.test".into()),
        recipients,
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
    }
}

impl House {
    async fn take(&self, envelope: Envelope, bytes: &[u8]) -> Outcome {
        let mut sink = self.data.blobs().sink();
        sink.write(bytes).unwrap();
        self.intake.take(envelope, sink, "mail.example.test", &Limits::default()).await
    }

    fn messages(&self, account: u32) -> u64 {
        account::quota::usage(&self.data.read().unwrap(), AccountId(account)).unwrap().emails
    }

    /// All letters that are kept, in the order in which they were named.
    fn letters(&self) -> Vec<Vec<u8>> {
        let mut ids = Vec::new();
        let read = self.data.read().unwrap();
        let visit = &mut |key: &[u8], _: &[u8]| {
            ids.push(u64::from_be_bytes(key.try_into().unwrap()));
            std::ops::ControlFlow::Continue(())
        };
        read.scan(crate::store::Table::Blobs, &[], &[0xff; 9], crate::store::Order::Forward, visit).unwrap();
        let read = |id| self.data.blobs().read(crate::base::BlobId(id), 0..1 << 20).unwrap().to_vec();
        ids.into_iter().map(read).collect()
    }

    fn newest(&self) -> Vec<u8> {
        self.letters().pop().unwrap()
    }
}

fn ticket(outcome: Outcome) -> Ticket {
    match outcome {
        Outcome::Taken { ticket, .. } => ticket,
        other => panic!("not taken: {other:?}"),
    }
}

#[tokio::test]
async fn one_letter_for_several_is_one_letter_and_each_gets_it_once() {
    let house = house();
    ticket(house.take(envelope(vec![to(&[1, 2], &[]), to(&[1], &["c@else.test"])]), LETTER).await);
    assert_eq!((house.messages(1), house.messages(2)), (1, 1));
    let queued = queue::list(&house.data.read().unwrap(), QueueId(0), 10).unwrap();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].recipients[0].address, "c@else.test");
    let stored = String::from_utf8(house.letters().remove(0)).unwrap();
    assert!(stored.starts_with("Return-Path: <a@out.test>\r\nReceived: from out.test ([192.0.2.9])"), "{stored}");
    assert!(stored.ends_with(std::str::from_utf8(LETTER).unwrap()));
    assert!(!stored.contains("Delivered-To"), "one recipient must not learn of another: {stored}");
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_letter_presented_again_comes_once_until_the_answer_was_read() {
    let house = house();
    let first = ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    assert_eq!(house.messages(1), 1, "presented again after an answer that nobody read");

    let other = [LETTER, b"and more\r\n"].concat();
    ticket(house.take(envelope(vec![to(&[1], &[])]), &other).await);
    assert_eq!(house.messages(1), 2, "another letter is another letter");

    house.intake.confirm(first);
    ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    assert_eq!(house.messages(1), 3, "the answer was read: the sender means it twice");

    house.clock.advance_ms(25 * 60 * 60 * 1000);
    ticket(house.take(envelope(vec![to(&[1], &[])]), &other).await);
    assert_eq!(house.messages(1), 4, "a day later it is a new letter");
    assert!(house.clock.now() > Time(0));
}

#[tokio::test]
async fn a_letter_that_goes_round_is_refused() {
    let house = house();
    let traces = "Received: by x; Tue, 24 Nov 2026 10:00:00 +0000\r\n".repeat(101);
    let outcome = house.take(envelope(vec![to(&[1], &[])]), &[traces.as_bytes(), LETTER].concat()).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::Loop)), "{outcome:?}");

    // What an alias sends on carries our own trace when it comes back.
    let back = [b"Delivered-To: R0@example.test\r\n", LETTER].concat();
    let outcome = house.take(envelope(vec![to(&[], &["c@else.test"])]), &back).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::Loop)), "{outcome:?}");
    assert!(queue::list(&house.data.read().unwrap(), QueueId(0), 10).unwrap().is_empty());
}

#[tokio::test]
async fn all_or_nothing_when_a_recipient_went_away() {
    let house = house();
    let outcome = house.take(envelope(vec![to(&[1], &["c@else.test"]), to(&[77], &[])]), LETTER).await;
    let Outcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why.family(), Family::World);
    assert_eq!(house.messages(1), 0);
    assert!(queue::list(&house.data.read().unwrap(), QueueId(0), 10).unwrap().is_empty());
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn where_a_member_of_the_household_is_stays_unsaid() {
    let house = house();
    let mut from_home = envelope(vec![to(&[2], &[])]);
    from_home.origin.account = Some(AccountId(1));
    from_home.origin.with = "ESMTPSA";
    ticket(house.take(from_home, LETTER).await);
    let stored = String::from_utf8(house.newest()).unwrap();
    assert!(!stored.contains("192.0.2.9") && !stored.contains("out.test ("), "{stored}");
    assert!(stored.contains("with ESMTPSA"), "{stored}");
    assert!(stored.contains("Delivered-To: r1@example.test\r\n"), "{stored}");
}

#[tokio::test]
async fn too_many_parts_are_the_senders_fault() {
    let house = house();
    let mut bytes = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    for _ in 0..10_001 {
        bytes.extend_from_slice(b"--b\r\n\r\nx\r\n");
    }
    let outcome = house.take(envelope(vec![to(&[1], &[])]), &bytes).await;
    let Outcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why.family(), Family::Peer);
    assert_eq!(house.messages(1), 0);
}

#[tokio::test]
async fn what_leaves_has_no_return_path_and_the_same_bytes() {
    let house = house();
    ticket(house.take(envelope(vec![to(&[1], &["c@else.test"]), to(&[2], &[])]), LETTER).await);
    ticket(house.take(envelope(vec![to(&[], &["d@else.test"])]), LETTER).await);
    let queued = queue::list(&house.data.read().unwrap(), QueueId(0), 10).unwrap();
    assert_eq!(queued.len(), 2);
    for letter in queued {
        let bytes = house.data.blobs().read(letter.blob, 0..1 << 20).unwrap();
        assert_eq!(bytes.len() as u64, letter.size);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(!text.contains("Return-Path") && text.contains("Received: from out.test"), "{text}");
        assert!(text.ends_with(std::str::from_utf8(LETTER).unwrap()));
    }
    assert_eq!((house.messages(1), house.messages(2)), (1, 1));
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn trace_fields_make_no_fields_of_a_body() {
    let house = house();
    ticket(house.take(envelope(vec![to(&[1], &[])]), b"hello, world\r\nX-Evil: 1\r\n").await);
    let stored = house.newest();
    assert!(stored.ends_with(b"+0000\r\n\r\nhello, world\r\nX-Evil: 1\r\n"), "{}", String::from_utf8_lossy(&stored));
}

#[tokio::test]
async fn refused_for_want_of_room_only_if_nobody_has_any() {
    let house = house();
    let small = |account| {
        let mut to = to(&[account], &[]);
        to.target.local[0].quota = Some(10);
        to
    };
    let outcome = house.take(envelope(vec![small(1), small(2)]), LETTER).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::OverQuota)), "{outcome:?}");
    assert_eq!((house.messages(1), house.messages(2)), (0, 0));
    ticket(house.take(envelope(vec![small(1), to(&[2], &[])]), LETTER).await);
    assert_eq!((house.messages(1), house.messages(2)), (1, 1), "accepted for one is accepted for all");
}

#[tokio::test]
async fn letters_that_nobody_confirms_are_forgotten_after_a_day() {
    let house = house();
    let rows = || {
        let mut rows = 0;
        let visit = &mut |_: &[u8], _: &[u8]| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        };
        let read = house.data.read().unwrap();
        read.scan(crate::store::Table::Unconfirmed, &[], &[0xff; 33], crate::store::Order::Forward, visit).unwrap();
        rows
    };
    for n in 0..5 {
        let letter = format!("Subject: {n}\r\n\r\nx\r\n");
        ticket(house.take(envelope(vec![to(&[1], &[])]), letter.as_bytes()).await);
    }
    assert_eq!(rows(), 5);
    house.clock.advance_ms(25 * 60 * 60 * 1000);
    ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    assert_eq!(rows(), 1);
}
