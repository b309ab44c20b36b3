//! What is counted leaves once, to who wants it, and nothing of it grows without end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::count::{FAILURES_OF_ONE, ROWS_OF_ONE};
use super::*;
use crate::base::{Clock, ManualClock, QueueId, SeededRandom};
use crate::directory::dkim;
use crate::directory::manage::domain;
use crate::mailauth::report::Counted;
use crate::mailauth::{Action, DmarcRecord, Found, Missing, Names, tlsrpt};
use crate::queue;
use crate::store::data::Options;
use crate::store::disk::{SimDisk, SimOptions};
use crate::store::{Data, lookup};

struct Texts(BTreeMap<&'static str, &'static str>);

impl Names for Texts {
    fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>> {
        let found = self.0.get(name).map(|text| vec![text.as_bytes().to_vec()]);
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
        Box::pin(std::future::ready(Err(Missing::NoName)))
    }
}

const NOON: i64 = 1_790_000_000_000;

fn office(texts: &[(&'static str, &'static str)]) -> (Reports, Office) {
    let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
    let random = Arc::new(SeededRandom::new(3));
    let clock = Arc::new(ManualClock::at(Time(NOON)));
    let keys = dkim::NewKeys::make(&*random, clock.now()).unwrap();
    data.write_blocking(move |txn| domain::add(txn, "example.test", &keys, Time(0))).unwrap();
    let names = Arc::new(Texts(texts.iter().copied().collect()));
    let (hostname, domains) = ("mail.example.test".to_owned(), vec!["example.test".to_owned()]);
    let queue = crate::queue::Limits::default();
    let office = Office { data, clock, random, names, poster: None, queue, hostname, domains };
    (Reports::new(lookup::memory(4 << 20)), office)
}

fn evidence(source: &str, author: &str, place: &str, record: &str) -> Evidence {
    let sender = || crate::mailauth::Sender { outcome: Outcome::Pass, domain: author.to_owned() };
    Evidence {
        host: crate::mailauth::Host { outcome: Outcome::Pass, address: source.parse().unwrap(), name: None },
        helo: sender(),
        mail: Some(sender()),
        dkim: Vec::new(),
        arc: crate::mailauth::Chain { outcome: Outcome::None, reason: None, seals: Vec::new() },
        dmarc: crate::mailauth::Verdict {
            outcome: Outcome::Pass,
            reason: None,
            author: author.to_owned(),
            policy: crate::mailauth::Policy::None,
            record: Some((place.to_owned(), DmarcRecord::read(record.as_bytes()).unwrap())),
            dkim: false,
            spf: true,
            malformed: false,
        },
    }
}

async fn settled<T: serde::de::DeserializeOwned>(reports: &Reports, kind: &str, letters: u64) -> usize {
    for _ in 0..1000 {
        let all = reports.gathered::<T>(kind, i64::MAX, Time(NOON));
        let rows: Vec<u64> = all.iter().flat_map(|one| &one.rows).map(|(_, count)| *count).collect();
        if rows.iter().sum::<u64>() >= letters {
            return rows.len();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not counted");
}

const ASKS: &str = "v=DMARC1; p=none; rua=mailto:d@x.test,mailto:d@other.test,mailto:tiny@x.test!10";

#[tokio::test]
async fn a_day_is_reported_once_to_who_wants_it() {
    let (reports, office) =
        office(&[("_dmarc.x.test", ASKS), ("_dmarc.example.test", "v=DMARC1; p=none; rua=mailto:d@x.test")]);
    for _ in 0..2 {
        reports.count(&evidence("192.0.2.1", "a.x.test", "x.test", ASKS), &Action::Deliver, Time(NOON));
    }
    reports.count(&evidence("192.0.2.2", "x.test", "x.test", ASKS), &Action::Junk(""), Time(NOON));
    reports.count(&evidence("192.0.2.3", "example.test", "example.test", ASKS), &Action::Deliver, Time(NOON));
    reports.count(&evidence("192.0.2.3", "y.test", "y.test", "v=DMARC1; p=none"), &Action::Deliver, Time(NOON));
    assert_eq!(
        settled::<Counted>(&reports, "dmarc", 4).await,
        3,
        "the same twice is one row, and y.test asks for nothing"
    );

    let today = day(Time(NOON));
    assert_eq!(reports.send(&office, today).await, Sent::default(), "the day is not over");
    let sent = reports.send(&office, today + 1).await;
    // d@other.test has not said that it wants any, tiny@x.test takes ten bytes, and what is in our own name stays here.
    assert_eq!(sent, Sent { reports: 1, unwanted: 1 });
    assert_eq!(reports.send(&office, today + 1).await, Sent::default());

    let read = office.data.read().unwrap();
    let queued = queue::list(&read, QueueId(0), 10).unwrap();
    let [letter] = queued.as_slice() else { panic!("{queued:?}") };
    assert_eq!((letter.from.as_deref(), letter.recipients[0].address.as_str()), (None, "d@x.test"));
    let text = office.data.blobs().read(letter.blob, 0..letter.size).unwrap().to_vec();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches("DKIM-Signature:").count(), 2, "{text}");
    assert!(
        text.contains("\r\nFrom: \"Mail server mail.example.test\" <postmaster@example.test>\r\nTo: <d@x.test>\r\n"),
        "{text}"
    );
    assert!(text.contains("filename=\"example.test!x.test!1789948800!1790000000.xml.gz\""), "{text}");
    // We read what we write.
    let Ok(Some(Report::Aggregate(read))) = report::find(text.as_bytes()) else { panic!("{text}") };
    assert_eq!((read.letters, read.passed, read.rows.len(), read.domain.as_str()), (3, 3, 2, "x.test"));
    assert!(report::claims(text.as_bytes()), "so that nobody reports on it");
}

/// N2
#[tokio::test]
async fn rows_of_one_domain_have_a_number() {
    let (reports, _) = office(&[]);
    let lookup = reports.lookup.clone();
    let row = |n: i64| {
        let source = format!("2001:db8::{n:x}");
        Counted::of(&evidence(&source, "x.test", "x.test", ASKS), &Action::Deliver).unwrap()
    };
    for n in 0..ROWS_OF_ONE + 50 {
        assert!(super::count::add(&*lookup, "dmarc", "x.test", &row(n), Time(NOON)));
    }
    assert_eq!(settled::<Counted>(&reports, "dmarc", 1).await, usize::try_from(ROWS_OF_ONE).unwrap());
}

#[tokio::test]
async fn sessions_are_reported_unless_they_only_brought_reports() {
    let (reports, office) = office(&[("_smtp._tls.x.test", "v=TLSRPTv1; rua=mailto:t@x.test")]);
    let outcome = |result: Result<(), tlsrpt::Failure>| tlsrpt::Outcome {
        at: Time(NOON),
        domain: "x.test".into(),
        policy: tlsrpt::Policy {
            kind: tlsrpt::PolicyKind::Sts,
            strings: vec!["version: STSv1".into()],
            mx: vec!["*.x.test".into()],
        },
        mx: Some("mx.x.test".into()),
        receiving: Some("192.0.2.25".parse().unwrap()),
        sending: None,
        result,
    };
    reports.count_session(&outcome(Ok(())));
    settled::<crate::mailauth::report::Session>(&reports, "tls", 1).await;
    reports.note_own("x.test", Time(NOON));
    let today = day(Time(NOON));
    assert_eq!(
        reports.send(&office, today + 1).await,
        Sent { reports: 0, unwanted: 1 },
        "the session brought a report"
    );

    reports.count_session(&outcome(Ok(())));
    reports.count_session(&outcome(Err(tlsrpt::FailureKind::CertificateExpired.because("yesterday"))));
    settled::<crate::mailauth::report::Session>(&reports, "tls", 2).await;
    let now = office.clock.now();
    let own = reports.own(day(now), "x.test", now);
    assert_eq!(reports.send(&office, today + 1).await, Sent { reports: 1, unwanted: 0 });
    assert_eq!(reports.own(day(now), "x.test", now), own, "sessions that bring such reports are not counted at all");
    let read = office.data.read().unwrap();
    let queued = queue::list(&read, QueueId(0), 10).unwrap();
    let text = office.data.blobs().read(queued[0].blob, 0..queued[0].size).unwrap().to_vec();
    let Ok(Some(Report::Tls(read))) = report::find(&text) else { panic!("{}", String::from_utf8_lossy(&text)) };
    assert_eq!((read.good, read.failed, read.domain.as_str()), (1, 1, "x.test"));
    assert_eq!((read.failures[0].what.as_str(), read.failures[0].host.as_str()), ("certificate-expired", "mx.x.test"));
}

#[test]
fn each_house_has_its_own_time_of_the_night() {
    let at = |hour: i64| Time(NOON - NOON.rem_euclid(86_400_000) + hour * 3_600_000);
    assert!(is_time(at(0), 0) && !is_time(at(0), 1));
    assert!((0..1000u64).all(|own| is_time(at(6), own.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
}

const TELLS: &str = "v=DMARC1; p=none; ruf=mailto:f@x.test,mailto:f@other.test";
const HEAD: &[u8] = b"From: Boss <boss@x.test>\r\nSubject: =?utf-8?q?pay?=\r\n now\r\n\r\n";

fn failed(record: &str) -> Evidence {
    let mut evidence = evidence("192.0.2.9", "x.test", "x.test", record);
    (evidence.dmarc.outcome, evidence.dmarc.spf) = (Outcome::Fail, false);
    evidence
}

#[tokio::test]
async fn letters_that_failed_are_told_of_by_their_header_to_who_wants_it_and_not_many_of_them() {
    let (reports, office) = office(&[("_dmarc.x.test", TELLS), ("_dmarc.other.test", "v=DMARC1; p=none")]);
    let note = |record: &str, head: &[u8]| {
        let action = Action::Junk("");
        reports.note_failure(&failed(record), &action, "mail.example.test", "b@spam.test", head, Time(NOON));
    };
    note(ASKS, HEAD);
    note(TELLS, b"Auto-Submitted: auto-replied\r\n\r\n");
    note(TELLS, b"Content-Type: Multipart/Report; report-type=feedback-report\r\n\r\n");
    let counter = format!("report/failures/{:08}/x.test", day(Time(NOON)));
    let counted = || reports.lookup.get(counter.as_bytes(), Time(NOON));
    for n in 1..=FAILURES_OF_ONE + 3 {
        note(TELLS, HEAD);
        for _ in 0..1000 {
            if counted() == Some(n.to_be_bytes().to_vec()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(counted(), Some((FAILURES_OF_ONE + 3).to_be_bytes().to_vec()));
    // f@other.test has not said that it wants any.
    assert_eq!(reports.send_failures(&office).await, FAILURES_OF_ONE.cast_unsigned());
    assert_eq!(reports.send_failures(&office).await, 0, "each once");

    let queued = queue::list(&office.data.read().unwrap(), QueueId(0), 10).unwrap();
    assert!(queued.iter().all(|one| one.from.is_none() && one.recipients[0].address == "f@x.test"), "{queued:?}");
    let letter = &queued[0];
    let text = office.data.blobs().read(letter.blob, 0..letter.size).unwrap().to_vec();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches("DKIM-Signature:").count(), 2, "{text}");
    for part in [
        "\r\nAuth-Failure: dmarc\r\nIdentity-Alignment: none\r\nAuthentication-Results: mail.example.test;\r\n\t",
        "\r\nSource-IP: 192.0.2.9\r\nOriginal-Mail-From: <b@spam.test>\r\n",
        "\r\nDelivery-Result: spam\r\n",
        "\r\n\r\nFrom: Boss <boss@x.test>\r\nSubject: =?utf-8?q?pay?=\r\n now\r\n\r\n--",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // We read what we write.
    let Ok(Some(Report::Feedback(read))) = report::find(text.as_bytes()) else { panic!("{text}") };
    assert_eq!(
        (read.about, read.failed.as_str(), read.domain.as_str()),
        (report::About::AuthFailure, "dmarc", "x.test")
    );
    assert_eq!((read.source, read.from.as_str()), (Some("192.0.2.9".parse().unwrap()), "b@spam.test"));
    assert!(report::claims(text.as_bytes()), "so that nobody reports on it");
}

/// RFC 9991 3
#[test]
fn a_domain_is_told_of_what_it_asks_for() {
    let asked = |fo: &str, change: &dyn Fn(&mut Evidence)| {
        let mut evidence = failed(&format!("v=DMARC1; p=none; ruf=mailto:f@x.test{fo}"));
        change(&mut evidence);
        let failed = report::Failed::of(&evidence, &Action::Deliver, "mail.example.test", "", HEAD, Time(NOON));
        failed.is_some()
    };
    let nothing = |_: &mut Evidence| ();
    let spf = |evidence: &mut Evidence| (evidence.dmarc.outcome, evidence.dmarc.spf) = (Outcome::Pass, true);
    let bad_spf = |evidence: &mut Evidence| {
        spf(evidence);
        evidence.mail.as_mut().unwrap().outcome = Outcome::SoftFail;
    };
    let unknown = |evidence: &mut Evidence| evidence.dmarc.outcome = Outcome::TempError;
    for (fo, change, expected) in [
        ("", &nothing as &dyn Fn(&mut Evidence), true),
        ("; fo=0", &nothing, true),
        ("; fo=x", &nothing, true),
        ("", &spf, false),
        ("; fo=1", &spf, true),
        ("; fo=0:1", &spf, true),
        ("; fo=s", &spf, false),
        ("; fo=s", &bad_spf, true),
        ("; fo=d", &bad_spf, false),
        ("; fo=1", &unknown, false),
    ] {
        assert_eq!(asked(fo, change), expected, "{fo}");
    }
    // A header is cut at the end of a line.
    let long = [b"Subject: x\r\n".as_slice(), &b"X: y\r\n".repeat(10_000)].concat();
    let kept = report::Failed::of(&failed(TELLS), &Action::Deliver, "a.test", "", &long, Time(NOON)).unwrap().head;
    assert!(kept.len() <= report::HEAD_BYTES && kept.ends_with("X: y\r\n"), "{}", kept.len());
}
