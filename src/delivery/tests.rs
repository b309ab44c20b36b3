//! Letters through the door, on a simulated disk.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::account;
use crate::base::{AccountId, Clock, Family, Fault, ManualClock, QueueId, SeededRandom, Time};
use crate::directory::LocalRecipient;
use crate::directory::dkim;
use crate::directory::manage::domain;
use crate::mailauth::{self, Found, Missing, Names, Rules};
use crate::message;
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
            listed: false,
        },
        from: Some("a@out.test".into()),
        recipients,
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
        require_tls: false,
        release: None,
        by: None,
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

/// A DNS with one policy, and nothing that speaks for anybody.
struct Policy(&'static str);

impl Names for Policy {
    fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>> {
        let policy = format!("v=DMARC1; p={}", self.0).into_bytes();
        Box::pin(std::future::ready(if name == "_dmarc.out.test" { Ok(vec![policy]) } else { Err(Missing::NoName) }))
    }

    fn a<'a>(&'a self, _: &'a str) -> Found<'a, IpAddr> {
        Box::pin(std::future::ready(Err(Missing::NoName)))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.a(name)
    }

    fn mx<'a>(&'a self, _: &'a str) -> Found<'a, String> {
        Box::pin(std::future::ready(Err(Missing::NoName)))
    }

    fn ptr(&self, _: IpAddr) -> Found<'_, String> {
        Box::pin(std::future::ready(Err(Missing::Unknown)))
    }
}

fn checked_by(house: House, policy: &'static str) -> House {
    let names: Arc<dyn Names> = Arc::new(Policy(policy));
    let rules = Rules { obey: true, forwarders: Vec::new() };
    let checks =
        Checks { names: Arc::new(move || Some(names.clone())), wait: Duration::from_secs(20), rules, failures: false };
    House { intake: house.intake.with_checks(Some(checks)), ..house }
}

fn in_junk(house: &House, account: u32) -> u32 {
    let read = house.data.read().unwrap();
    account::mailbox::special(&read, AccountId(account), account::SpecialUse::Junk).unwrap().unwrap().messages
}

#[tokio::test]
async fn a_letter_that_nobody_speaks_for_is_refused_or_lies_in_junk_as_its_domain_asks() {
    let house = checked_by(house(), "reject");
    let outcome = house.take(envelope(vec![to(&[1], &[])]), LETTER).await;
    let Outcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert_eq!((why.clone(), why.family()), (Refusal::Unauthentic("out.test".into()), Family::Peer));
    assert_eq!(house.messages(1), 0);

    let house = checked_by(house, "quarantine");
    ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    assert_eq!((house.messages(1), in_junk(&house, 1)), (1, 1));
    let stored = String::from_utf8(house.newest()).unwrap();
    let (first, rest) = stored.split_once("Authentication-Results: mail.example.test;\r\n").unwrap();
    assert!(first.starts_with("Return-Path:") && !first.contains("Received:"), "{stored}");
    assert!(rest.contains("dmarc=fail") && rest.contains("\r\nReceived-SPF: none ("), "{stored}");
    assert!(stored.ends_with(std::str::from_utf8(LETTER).unwrap()));

    let mut own = envelope(vec![to(&[1], &[])]);
    own.origin.peer = "::ffff:127.0.0.1".parse().unwrap();
    ticket(house.take(own, &[LETTER, b"x\r\n"].concat()).await);
    assert!(!house.newest().windows(12).any(|part| part == b"Received-SPF"), "this machine is not asked about");
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

/// N1: the letter is in the mailbox, whatever is in it, and what is kept says that nobody is known to have sent it.
#[tokio::test]
async fn a_report_to_the_postmaster_is_read_beside_its_delivery() {
    let house = checked_by(house(), "none");
    let reports = Reports::new(crate::store::lookup::memory(1 << 20));
    let house = House { intake: house.intake.clone().reading(reports.clone()), ..house };
    let report = |body: &str| {
        let head =
            "From: a@out.test\r\nSubject: Report Domain: example.test Report-ID: <1>\r\nContent-Type: text/xml\r\n\r\n";
        format!("{head}{body}").into_bytes()
    };
    let good = "<feedback><policy_published><domain>example.test</domain></policy_published></feedback>";
    let mut postmaster = to(&[1], &[]);
    postmaster.address = "PostMaster@example.test".into();
    for (n, body) in [good, "<feedback>"].into_iter().enumerate() {
        ticket(house.take(envelope(vec![postmaster.clone()]), &report(body)).await);
        // To somebody else it is a letter like any other; and a letter is no report.
        ticket(house.take(envelope(vec![to(&[1], &[])]), &report(body)).await);
        ticket(house.take(envelope(vec![postmaster.clone()]), &[LETTER, body.as_bytes()].concat()).await);
        assert_eq!(house.messages(1), 3 * (n as u64 + 1));
    }
    let mut kept = Vec::new();
    for _ in 0..500 {
        kept = reports.list(house.clock.now()).into_iter().map(|(_, kept)| kept).collect();
        if kept.len() > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|kept| kept.sender == "out.test" && !kept.proven), "{kept:?}");
    let of = |what: &What| matches!(what, What::Report(report) if report.domain() == "example.test");
    assert!(kept.iter().any(|kept| of(&kept.what)) && kept.iter().any(|kept| kept.what == What::Unread("xml".into())));
}

/// L3: the DNS says something else when the letter is presented again; the peer is told what it did not hear the first time.
#[tokio::test]
async fn what_was_taken_is_not_refused_when_it_is_presented_again() {
    let house = checked_by(house(), "none");
    let first = ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    let house = checked_by(house, "reject");
    let again = ticket(house.take(envelope(vec![to(&[1], &[])]), LETTER).await);
    assert_eq!((first.clone(), house.messages(1)), (again, 1));
    // Once its word was heard it is a new letter, and one that nobody speaks for.
    house.intake.confirm(first);
    let outcome = house.take(envelope(vec![to(&[1], &[])]), LETTER).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::Unauthentic(_))), "{outcome:?}");
    assert_eq!(house.messages(1), 1);
}

#[tokio::test]
async fn nobody_writes_results_in_our_name() {
    let house = house();
    let forged = [b"Authentication-Results: (x)\r\n MAIL.example.test; dkim=pass\r\n", LETTER].concat();
    ticket(house.take(envelope(vec![to(&[1], &["c@else.test"])]), &forged).await);
    ticket(house.take(envelope(vec![to(&[], &["c@else.test"])]), &forged).await);
    let letters = house.letters();
    assert_eq!(letters.len(), 3);
    for letter in letters {
        let text = String::from_utf8(letter).unwrap();
        assert!(!text.contains("dkim=pass") && text.ends_with(std::str::from_utf8(LETTER).unwrap()), "{text}");
    }
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_household_sends_is_signed_with_both_keys_of_its_domain() {
    let house = house();
    let keys = dkim::NewKeys::make(&SeededRandom::new(3), house.clock.now()).unwrap();
    house.data.write_blocking(move |txn| domain::add(txn, "example.test", &keys, Time(0))).unwrap();
    let mut mine = envelope(vec![to(&[2], &["c@else.test"])]);
    (mine.origin.account, mine.from) = (Some(AccountId(1)), Some("p1@example.test".into()));
    let letter = b"From: p1@example.test\r\nSubject: x\r\n\r\nhello\r\n";
    ticket(house.take(mine.clone(), letter).await);
    for letter in house.letters() {
        let text = String::from_utf8(letter).unwrap();
        let (trace, rest) = text.split_once("DKIM-Signature: ").unwrap();
        assert!(trace.contains("Received: by"), "below our own trace: {text}");
        assert!(rest.contains("a=ed25519-sha256; c=relaxed/relaxed; d=example.test;\r\n\ts=202311e;"), "{text}");
        assert!(rest.contains("a=rsa-sha256; c=relaxed/relaxed; d=example.test;\r\n\ts=202311r;"), "{text}");
        assert!(rest.contains("t=1700000000;") && !rest.contains("; l="), "{text}");
    }
    // In a name that is not ours: not by us.
    ticket(house.take(mine, LETTER).await);
    assert!(!house.newest().windows(4).any(|part| part == b"DKIM"));
}

/// A DNS of texts.
struct Texts(Vec<(String, String)>);

impl Texts {
    fn of(name: &str, text: &str) -> Texts {
        Texts(vec![(name.into(), text.into())])
    }
}

impl Names for Texts {
    fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>> {
        let found = self.0.iter().find(|(known, _)| known == name).map(|(_, text)| vec![text.clone().into_bytes()]);
        Box::pin(std::future::ready(found.ok_or(Missing::NoName)))
    }

    fn a<'a>(&'a self, _: &'a str) -> Found<'a, IpAddr> {
        Box::pin(std::future::ready(Err(Missing::NoName)))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.a(name)
    }

    fn mx<'a>(&'a self, _: &'a str) -> Found<'a, String> {
        Box::pin(std::future::ready(Err(Missing::NoName)))
    }

    fn ptr(&self, _: IpAddr) -> Found<'_, String> {
        Box::pin(std::future::ready(Err(Missing::Unknown)))
    }
}

fn asks(mut recipient: Recipient, address: &str, success: bool) -> Recipient {
    recipient.address = address.into();
    recipient.dsn.notify = Some(queue::Notify { success, failure: true, delay: false });
    recipient.dsn.orcpt = Some(("rfc822".into(), format!("x-{address}")));
    recipient
}

/// L8. RFC 3461 4.1, 5.2.7.2 and 5.2.7.3.
#[tokio::test]
async fn who_has_logged_in_is_told_of_what_was_delivered_as_it_was_asked() {
    let house = house();
    let mut mine = envelope(vec![
        asks(to(&[2], &[]), "here@example.test", true),
        asks(to(&[2], &[]), "silent@example.test", false),
        asks(to(&[2], &["c@else.test"]), "family@example.test", true),
        asks(to(&[], &["d@else.test"]), "moved@example.test", true),
    ]);
    (mine.origin.account, mine.from) = (Some(AccountId(1)), Some("p1@example.test".into()));
    mine.envid = Some("e17".into());
    ticket(house.take(mine.clone(), LETTER).await);
    assert_eq!((house.messages(1), house.messages(2)), (2, 1));
    let texts: Vec<String> = house.letters().into_iter().map(|letter| String::from_utf8(letter).unwrap()).collect();
    let with = |action: &str| {
        let found: Vec<&String> =
            texts.iter().filter(|text| text.contains(&format!("\r\nAction: {action}\r\n"))).collect();
        assert_eq!(found.len(), 1, "{action}: {texts:?}");
        found[0].clone()
    };
    let delivered = with("delivered");
    assert!(delivered.starts_with("Return-Path: <>\r\n") && delivered.contains("\r\nOriginal-Envelope-Id: e17\r\n"));
    let status = "Original-Recipient: rfc822; x-here@example.test\r\nFinal-Recipient: rfc822; here@example.test\r\n\
                  Action: delivered\r\nStatus: 2.1.5\r\n";
    assert!(delivered.contains(status), "{delivered}");
    assert!(!delivered.contains("silent@") && !delivered.contains("how are you"), "{delivered}");
    let expanded = with("expanded");
    assert!(expanded.contains("family@example.test") && !expanded.contains("c@else.test"), "{expanded}");
    let queued = queue::list(&house.data.read().unwrap(), QueueId(0), 10).unwrap();
    assert_eq!(queued.len(), 1);
    let notify = |n: usize| queued[0].recipients[n].notify.unwrap();
    assert!(!notify(0).success && notify(0).failure, "who was told is not told again by the next server");
    assert!(notify(1).success, "one address for another: the next server tells");
    // P3: what is presented again is told of once.
    ticket(house.take(mine, LETTER).await);
    assert_eq!((house.messages(1), house.messages(2)), (2, 1));
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

/// L8, P2: anybody can write anybody's address into MAIL FROM.
#[tokio::test]
async fn a_sender_from_outside_is_told_only_where_spf_proves_them() {
    let names: Arc<dyn Names> = Arc::new(Texts::of("out.test", "v=spf1 ip4:192.0.2.9 -all"));
    let rules = Rules { obey: true, forwarders: Vec::new() };
    let checks =
        Checks { names: Arc::new(move || Some(names.clone())), wait: Duration::from_secs(20), rules, failures: false };
    let house = house();
    let house = House { intake: house.intake.with_checks(Some(checks)), ..house };
    let queued = |house: &House| queue::list(&house.data.read().unwrap(), QueueId(0), 10).unwrap();
    let theirs = envelope(vec![asks(to(&[1], &[]), "here@example.test", true)]);

    let mut forged = theirs.clone();
    forged.origin.peer = "192.0.2.10".parse().unwrap();
    ticket(house.take(forged, LETTER).await);
    let mut listed = theirs.clone();
    listed.origin.listed = true;
    ticket(house.take(listed, &[LETTER, b"1\r\n"].concat()).await);
    let mut nobody = theirs.clone();
    nobody.from = None;
    ticket(house.take(nobody, &[LETTER, b"2\r\n"].concat()).await);
    ticket(house.take(envelope(vec![asks(to(&[1], &[]), "here@example.test", false)]), LETTER).await);
    assert_eq!((house.messages(1), queued(&house)), (4, Vec::new()));

    ticket(house.take(theirs, &[LETTER, b"3\r\n"].concat()).await);
    let queued = queued(&house);
    assert_eq!((house.messages(1), queued.len()), (5, 1));
    let (notice, to) = (&queued[0], &queued[0].recipients[0]);
    assert_eq!((notice.from.clone(), to.address.as_str()), (None, "a@out.test"));
    assert_eq!(to.notify, Some(queue::Notify::default()), "NEVER: no notice of a notice");
    let text = String::from_utf8(house.data.blobs().read(notice.blob, 0..1 << 20).unwrap().to_vec()).unwrap();
    assert!(text.contains("\r\nFinal-Recipient: rfc822; here@example.test\r\nAction: delivered\r\n"), "{text}");
    assert_eq!(house.data.check().unwrap(), Vec::<String>::new());
}

/// RFC 6376 5.3: what is encoded otherwise on its way needs signatures of its own.
#[tokio::test]
async fn a_letter_that_is_converted_on_its_way_is_signed_again_and_verifies() {
    let house = house();
    let keys = dkim::NewKeys::make(&SeededRandom::new(3), house.clock.now()).unwrap();
    house.data.write_blocking(move |txn| domain::add(txn, "example.test", &keys, Time(0))).unwrap();
    let listed = dkim::list(&house.data.read().unwrap(), "example.test").unwrap();
    let record = |key: &dkim::PublicKey| {
        let text = format!("v=DKIM1; k={}; h=sha256; p={}", key.algorithm.tag(), key.public);
        (format!("{}._domainkey.example.test", key.selector), text)
    };
    let names = Texts(listed.iter().map(record).collect());
    let mut mine = envelope(vec![to(&[], &["c@else.test"])]);
    (mine.origin.account, mine.from, mine.eight_bit) = (Some(AccountId(1)), Some("p1@example.test".into()), true);
    let letter = "From: p1@example.test\r\nSubject: x\r\nDKIM-Signature: v=1; d=else.test; b=x\r\nMIME-Version: 1.0\r\n\
                  Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nsch\u{f6}n\r\n";
    ticket(house.take(mine, letter.as_bytes()).await);
    let outcomes = async |letter: &[u8]| {
        let now = Some(house.clock.now());
        let handed = mailauth::Handed { peer: "192.0.2.9".parse().unwrap(), helo: "x", from: None, now };
        let evidence = mailauth::gather(&names, handed, &mailauth::Letter::read(letter), Duration::from_secs(20)).await;
        evidence
            .dkim
            .iter()
            .filter(|signed| signed.domain == "example.test")
            .map(|signed| signed.outcome)
            .collect::<Vec<_>>()
    };
    use mailauth::Outcome::{Fail, Pass};
    let stored = house.newest();
    assert_eq!(outcomes(&stored).await, [Pass, Pass]);
    let converted = message::convert::seven_bit(&stored, &message::Limits::default()).unwrap();
    assert_eq!(outcomes(&converted).await, [Fail, Fail]);
    let signed = checks::sign_again(&house.data, converted, Some(house.clock.now()));
    assert_eq!(outcomes(&signed).await, [Pass, Pass], "{}", String::from_utf8_lossy(&signed));
    let text = String::from_utf8(signed).unwrap();
    assert!(
        text.starts_with("Delivered-To: ") && text.contains("d=else.test") && text.ends_with("sch=C3=B6n\r\n"),
        "{text}"
    );
}
