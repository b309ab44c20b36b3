//! `reports list|show|send`: what others report about letters in our name, in plain words; and our own, sent now.
//!
//! The words are pure: a kept report in, sentences out.

use serde_json::{Value, json};

use crate::base::Time;
use crate::delivery::{Kept, Reports, Sent, What, report_day};
use crate::mailauth::report::{About, Aggregate, Disposition, Feedback, Report, Row, TlsReport};
use crate::message::date::{self, Date};

use super::super::dns::wait;
use super::super::house::House;
use super::super::reporting;
use super::{Done, Error, Reply};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Rows that get a sentence of their own.
const TOLD: usize = 5;
/// How long nothing may have failed before more is advised, and how many reports have to say so.
const CLEAN_DAYS: i64 = 14;
const CLEAN_REPORTS: usize = 3;

pub(super) fn list(house: &House) -> Done {
    let now = house.clock.now();
    let all = Reports::new(house.facts().clone()).list(now);
    let advice = advice(&all, now);
    let mut text: String = all.iter().map(|(id, kept)| as_text(*id, kept)).collect();
    if all.is_empty() {
        text.push_str("No reports have come yet. Others send them once a day, if letters in your name reached them.\n");
    }
    text.extend(advice.iter().map(|words| format!("{words}\n")));
    let reports: Vec<Value> = all.iter().map(|(id, kept)| as_json(*id, kept)).collect();
    Ok(Reply::done(text, json!({ "reports": reports, "advice": advice })))
}

pub(super) fn show(house: &House, id: &str) -> Done {
    let all = Reports::new(house.facts().clone()).list(house.clock.now());
    let found = all.iter().find(|(one, _)| name(*one) == id);
    let (id, kept) = found.ok_or_else(|| Error::Words(format!("there is no report {id}")))?;
    let mut text = as_text(*id, kept);
    if let What::Report(Report::Aggregate(report)) = &kept.what {
        for row in &report.rows {
            let yes = |one: bool| if one { "pass" } else { "fail" };
            let source = row.source.map_or_else(|| "?".to_owned(), |source| source.to_string());
            let (dkim, spf, done) = (yes(row.dkim), yes(row.spf), word(row.done));
            text.push_str(&format!("    {:>6}  {source}  dkim={dkim} spf={spf}  {done}\n", row.letters));
        }
    }
    Ok(Reply::done(text, as_json(*id, kept)))
}

/// Sends what is due, at once.
pub(super) fn send(house: &House, today: bool) -> Done {
    let office = reporting::office(house);
    let office = office.ok_or_else(|| Error::Words("there is no name server that could be asked".to_owned()))?;
    let before = report_day(house.clock.now()).saturating_add(i64::from(today));
    let reports = Reports::new(house.facts().clone());
    let failures = match house.settings.load().reports.failures {
        true => wait(reports.send_failures(&office))?,
        false => 0,
    };
    let Sent { reports, unwanted } = wait(reports.send(&office, before))?;
    let reports = reports + failures;
    house.bell.ring();
    let text = match reports {
        1 => "1 report is on its way.\n".to_owned(),
        n => format!("{n} reports are on their way.\n"),
    };
    Ok(Reply::done(text, json!({ "reports": reports, "unwanted": unwanted })))
}

/// The number of a report, as it is asked for.
fn name(id: u64) -> String {
    format!("{id:012x}")
}

fn as_text(id: u64, kept: &Kept) -> String {
    let mut text = format!("{}  {}\n", name(id), day(kept.received.div_euclid(1000)));
    text.extend(words(kept).into_iter().map(|words| format!("    {words}\n")));
    text
}

fn as_json(id: u64, kept: &Kept) -> Value {
    let (mut kind, mut reporter, mut domain) = ("unread", "", "");
    let (mut begin, mut end, mut letters, mut passed) = (None, None, 0, 0);
    let mut rows = Vec::new();
    if let What::Report(report) = &kept.what {
        domain = report.domain();
        match report {
            Report::Aggregate(report) => {
                (kind, reporter) = ("dmarc", &report.reporter);
                (begin, end) = (Some(report.begin), Some(report.end));
                (letters, passed) = (report.letters, report.passed);
                rows = report.rows.iter().map(row_json).collect();
            }
            Report::Tls(report) => {
                (kind, reporter) = ("tls", &report.reporter);
                (begin, end) = (Some(report.begin), Some(report.end));
                (letters, passed) = (report.good.saturating_add(report.failed), report.good);
            }
            Report::Feedback(report) => {
                kind = if report.about == About::AuthFailure { "failure" } else { "abuse" };
                (reporter, letters) = (&report.reporter, report.letters);
            }
        }
    }
    json!({
        "id": name(id),
        "kind": kind,
        "received": time(kept.received.div_euclid(1000)),
        "sender": kept.sender,
        "proven": kept.proven,
        "reporter": reporter,
        "domain": domain,
        "begin": begin.map(time),
        "end": end.map(time),
        "count": letters,
        "good": passed,
        "state": state(kept),
        "words": words(kept),
        "rows": rows,
    })
}

fn row_json(row: &Row) -> Value {
    json!({
        "source": row.source.map(|source| source.to_string()),
        "letters": row.letters,
        "done": word(row.done),
        "dkim": row.dkim,
        "spf": row.spf,
    })
}

fn word(done: Disposition) -> &'static str {
    match done {
        Disposition::Taken => "taken",
        Disposition::Quarantined => "quarantined",
        Disposition::Refused => "refused",
    }
}

/// `good`, `look` (somebody may want to), `unread`.
fn state(kept: &Kept) -> &'static str {
    match &kept.what {
        What::Report(Report::Aggregate(report)) if report.passed == report.letters => "good",
        What::Report(Report::Tls(report)) if report.failed == 0 => "good",
        What::Report(_) => "look",
        What::Unread(_) => "unread",
    }
}

fn words(kept: &Kept) -> Vec<String> {
    let mut words = match &kept.what {
        What::Report(Report::Aggregate(report)) => of_letters(report),
        What::Report(Report::Tls(report)) => of_connections(report),
        What::Report(Report::Feedback(report)) => of_one(report),
        What::Unread(_) => {
            vec!["A letter that says it is a report could not be read. It is with the postmaster's mail.".to_owned()]
        }
    };
    // N1
    if !kept.proven {
        words.push(match kept.sender.as_str() {
            "" => "It does not say who sent it: anybody could have.".to_owned(),
            sender => format!("It is not proven that {sender} sent this report."),
        });
    }
    words
}

fn of_letters(report: &Aggregate) -> Vec<String> {
    let Aggregate { domain, letters, passed, .. } = report;
    let (who, when) = (named(&report.reporter), day(report.begin));
    let failed = letters.saturating_sub(*passed);
    let mut words = vec![match (letters, failed) {
        (1, 0) => format!("On {when} {who} saw one letter from {domain}: it was proven to be yours."),
        (_, 0) => format!("On {when} {who} saw {letters} letters from {domain}: all were proven to be yours."),
        (1, _) => format!("On {when} {who} saw one letter from {domain}: it was not proven to be yours."),
        _ => format!(
            "On {when} {who} saw {letters} letters from {domain}: {passed} were proven to be yours, {failed} were not."
        ),
    }];
    let failing: Vec<&Row> = report.rows.iter().filter(|row| !row.passed()).collect();
    for row in failing.iter().take(TOLD) {
        let (source, count) = (row.source.map_or_else(|| "?".to_owned(), |source| source.to_string()), row.letters);
        words.push(match row.done {
            Disposition::Taken => format!(
                "{count} from {source} did not carry your signature: probably a forwarder, or somebody else in your name."
            ),
            Disposition::Quarantined => format!(
                "{count} from {source} did not carry your signature and went to Junk there: probably a forwarder, or \
                 somebody else in your name."
            ),
            Disposition::Refused => format!(
                "{count} from {source} did not carry your signature and were refused there: probably a forwarder, or \
                 somebody else in your name."
            ),
        });
    }
    if failing.len() > TOLD {
        words.push(format!("More came from {} other addresses.", failing.len() - TOLD));
    }
    words
}

fn of_connections(report: &TlsReport) -> Vec<String> {
    let TlsReport { domain, good, failed, .. } = report;
    let (who, when) = (named(&report.reporter), day(report.begin));
    let all = good.saturating_add(*failed);
    let mut words = vec![match failed {
        0 => format!(
            "On {when} {who} brought letters for {domain} over {all} connections: all were encrypted as they should be."
        ),
        _ => format!(
            "On {when} {who} tried {all} connections for {domain}: {failed} were not encrypted as they should be."
        ),
    }];
    for failure in report.failures.iter().take(TOLD) {
        let count = failure.connections;
        words.push(match failure.what.as_str() {
            "starttls-not-supported" => format!("{count} because encryption was not offered."),
            "certificate-host-mismatch" => format!("{count} because the certificate was for another name."),
            "certificate-expired" => format!("{count} because the certificate had run out."),
            "certificate-not-trusted" | "sts-webpki-invalid" => {
                format!("{count} because nobody vouches for the certificate.")
            }
            "tlsa-invalid" | "dnssec-invalid" | "dane-required" => {
                format!("{count} because the TLSA records in the DNS do not fit the certificate.")
            }
            "sts-policy-fetch-error" | "sts-policy-invalid" => {
                format!("{count} because the policy at mta-sts.{domain} could not be read.")
            }
            what => format!("{count} because of something else ({what})."),
        });
    }
    words
}

fn of_one(report: &Feedback) -> Vec<String> {
    let who = named(&report.reporter);
    let from = if report.from.is_empty() { &report.domain } else { &report.from };
    let source = report.source.map_or_else(|| "?".to_owned(), |source| source.to_string());
    vec![match report.about {
        About::Abuse | About::Fraud | About::Virus => {
            format!("Somebody at {who} called a letter from {from} junk. It came there from {source}.")
        }
        About::NotSpam => format!("Somebody at {who} said that a letter from {from} is no junk."),
        About::AuthFailure => {
            format!("{who} got a letter from {from} that was not proven to be yours. It came there from {source}.")
        }
        About::Other => format!("{who} has something to say about a letter from {from}."),
    }]
}

/// What somebody calls itself.
fn named(reporter: &str) -> &str {
    if reporter.is_empty() { "somebody" } else { reporter }
}

/// A policy is raised with the owner's consent, and not before it is known that nothing of the household's own would be lost.
fn advice(all: &[(u64, Kept)], now: Time) -> Vec<String> {
    let reports: Vec<&Aggregate> = all
        .iter()
        .filter(|(_, kept)| kept.proven)
        .filter_map(|(_, kept)| match &kept.what {
            What::Report(Report::Aggregate(report)) => Some(report),
            _ => None,
        })
        .collect();
    let mut domains: Vec<&str> = reports.iter().map(|report| report.domain.as_str()).collect();
    domains.sort_unstable();
    domains.dedup();
    let since = now.0.saturating_sub(CLEAN_DAYS * DAY_MS).div_euclid(1000);
    let mut out = Vec::new();
    for domain in domains {
        let of = || reports.iter().filter(|report| report.domain == domain);
        let recent: Vec<_> = of().filter(|report| report.end > since).collect();
        let is_old = of().any(|report| report.begin <= since);
        let is_clean = recent.len() >= CLEAN_REPORTS && recent.iter().all(|report| report.passed == report.letters);
        let newest = recent.iter().max_by_key(|report| report.end).map(|report| report.policy.as_str());
        match newest.filter(|_| is_old && is_clean) {
            Some("none") => out.push(format!(
                "For two weeks every letter from {domain} was proven to be yours. You can ask others to put aside what is \
                 not: write p=quarantine in its DMARC record."
            )),
            Some("quarantine") => out.push(format!(
                "For two weeks every letter from {domain} was proven to be yours. You can ask others to refuse what is \
                 not: write p=reject in its DMARC record."
            )),
            _ => {}
        }
    }
    out
}

/// `24 November 2026`, of seconds since 1970.
fn day(seconds: i64) -> String {
    let shown = time(seconds).parse::<jiff::Timestamp>();
    shown.map_or_else(|_| "?".to_owned(), |time| time.strftime("%-d %B %Y").to_string())
}

fn time(seconds: i64) -> String {
    // What a stranger wrote: no year of five digits.
    date::rfc3339(Date::utc(Time(seconds.clamp(0, 253_402_300_799).saturating_mul(1000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn report(begin: i64, policy: &str, rows: &[(u64, bool)]) -> Kept {
        let row = |(letters, good): &(u64, bool)| Row {
            source: Some("203.0.113.9".parse().unwrap()),
            letters: *letters,
            done: Disposition::Taken,
            dkim: *good,
            spf: false,
        };
        let sum = |good: bool| rows.iter().filter(|row| !good || row.1).map(|row| row.0).sum();
        let report = Aggregate {
            reporter: "google.com".into(),
            id: "1".into(),
            begin,
            end: begin + DAY,
            domain: "example.test".into(),
            policy: policy.into(),
            letters: sum(false),
            passed: sum(true),
            rows: rows.iter().map(row).collect(),
        };
        Kept {
            received: begin.saturating_mul(1000),
            sender: "google.com".into(),
            proven: true,
            what: What::Report(Report::Aggregate(report)),
        }
    }

    #[test]
    fn a_report_is_told_in_plain_words() {
        let said = words(&report(1_790_000_000, "none", &[(13, true), (1, false)]));
        assert_eq!(
            said,
            [
                "On 21 September 2026 google.com saw 14 letters from example.test: 13 were proven to be yours, 1 were not.",
                "1 from 203.0.113.9 did not carry your signature: probably a forwarder, or somebody else in your name."
            ]
        );
        let mut forged = report(1_790_000_000, "none", &[(13, true)]);
        forged.proven = false;
        assert_eq!(words(&forged).last().unwrap(), "It is not proven that google.com sent this report.");
    }

    #[test]
    fn times_of_strangers_are_shown_or_not() {
        for wild in [i64::MIN, -1, i64::MAX - DAY] {
            let _ = as_json(1, &report(wild, "none", &[]));
        }
    }

    #[test]
    fn a_stricter_policy_is_advised_after_two_clean_weeks_and_not_before() {
        let now = Time(1_790_000_000_000);
        let days = |days: i64, policy: &str, last: (u64, bool)| -> Vec<(u64, Kept)> {
            let mut all: Vec<_> =
                (1..=days).map(|ago| (0, report(now.0 / 1000 - ago * DAY, policy, &[(2, true)]))).collect();
            all.push((0, report(now.0 / 1000 - 2 * DAY, policy, &[last])));
            all
        };
        let clean = advice(&days(15, "none", (1, true)), now);
        assert!(matches!(clean.as_slice(), [one] if one.contains("p=quarantine in its DMARC record")));
        assert!(advice(&days(15, "quarantine", (1, true)), now)[0].contains("p=reject"));
        let none: [String; 0] = [];
        assert_eq!(advice(&days(15, "reject", (1, true)), now), none);
        assert_eq!(advice(&days(10, "none", (1, true)), now), none, "not long enough");
        assert_eq!(advice(&days(15, "none", (1, false)), now), none, "one failed");
        let mut forged = days(15, "none", (1, true));
        forged.iter_mut().for_each(|(_, kept)| kept.proven = false);
        assert_eq!(advice(&forged, now), none, "nobody knows who sent them");
    }
}
