//! What is counted for our own reports, day by day: a fact for each kind of fate, whose key says what it counts.
//!
//! | key | value |
//! |---|---|
//! | `report/dmarc/DAY/PLACE` 0 row | letters that fared so; PLACE is where the record is |
//! | `report/tls/DAY/DOMAIN` 0 row | sessions with its servers that went so |
//! | `report/policy/DAY/DOMAIN` 0 kind | the text of the policy that was kept to |
//! | `report/rows/KIND/DAY/DOMAIN`, `report/rows/KIND/DAY` | how many rows there are (N2) |
//! | `report/failure/DAY/PLACE` 0 number | a letter that failed, to be told of |
//! | `report/failures/DAY/PLACE`, `report/failures/DAY` | how many there were |
//! | `report/own/DAY/DOMAIN` | reports of ours to somebody there |

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::Time;
use crate::mailauth::report::{Counted, Failed, PolicyText, Session};
use crate::mailauth::{Action, Evidence, tlsrpt};
use crate::message::header;
use crate::store::lookup::{KEY_BYTES, Lookup};

use super::Reports;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A day that could not be reported by then is forgotten.
const KEPT_MS: i64 = 3 * DAY_MS;
/// Rows of one domain in one day, and of all.
pub(super) const ROWS_OF_ONE: i64 = 300;
const ROWS: i64 = 5000;
/// Lines of a policy that are kept, and of each.
/// Letters that failed and are told of each, of one domain in one day, and of all.
pub(super) const FAILURES_OF_ONE: i64 = 5;
const FAILURES: i64 = 50;
const LINES: usize = 40;
const LINE: usize = 255;

/// Days since 1970.
pub fn day(now: Time) -> i64 {
    now.0.div_euclid(DAY_MS)
}

/// What is known of one domain and day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gathered<T> {
    pub day: i64,
    pub domain: String,
    pub rows: Vec<(T, u64)>,
}

impl Reports {
    /// A letter that was judged. Waits for nothing: what is too much at once is not counted.
    pub(in super::super) fn count(&self, evidence: &Evidence, action: &Action, now: Time) {
        let Some((place, _)) = &evidence.dmarc.record else { return };
        let Some(mut row) = Counted::of(evidence, action) else { return };
        let place = place.clone();
        self.beside(move |lookup| {
            // A key has an end; what was signed how is what can be done without.
            while !add(lookup, "dmarc", &place, &row, now) && row.signatures.pop().is_some() {}
        });
    }

    /// A letter of whose failure its domain asks to be told (RFC 9991), while there are not too many of them.
    pub(in super::super) fn note_failure(
        &self,
        evidence: &Evidence,
        action: &Action,
        hostname: &str,
        from: &str,
        head: &[u8],
        now: Time,
    ) {
        let Some((place, _)) = &evidence.dmarc.record else { return };
        if is_automatic(head) {
            return;
        }
        let Some(failed) = Failed::of(evidence, action, hostname, from, head, now) else { return };
        let place = place.clone();
        self.beside(move |lookup| {
            let (day, until) = (day(now), Time(now.0.saturating_add(DAY_MS)));
            let of_domain = lookup.add(format!("report/failures/{day:08}/{place}").as_bytes(), 1, until, now);
            let fits = of_domain <= FAILURES_OF_ONE
                && lookup.add(format!("report/failures/{day:08}").as_bytes(), 1, until, now) <= FAILURES;
            if let (true, Ok(value)) = (fits, serde_json::to_vec(&failed)) {
                let key = format!("report/failure/{day:08}/{place}\0{of_domain:04}");
                lookup.put(key.as_bytes(), &value, until, now);
            }
        });
    }

    /// Letters that failed and have not been told of, by the domain that asks for it, each with what [`Reports::told`] wants.
    pub(super) fn failures(&self, now: Time) -> Vec<(String, Failed, Vec<u8>)> {
        let prefix = "report/failure/";
        let all = self.lookup.scan(prefix.as_bytes(), &[], 500, now).into_iter();
        all.filter_map(|(key, value)| {
            let (_, place, _) = parts(&key, prefix)?;
            Some((place.to_owned(), serde_json::from_slice(&value).ok()?, key.clone()))
        })
        .collect()
    }

    pub(super) fn told(&self, key: &[u8]) {
        self.lookup.delete(key);
    }

    /// A session of ours with somebody's server.
    pub fn count_session(&self, outcome: &tlsrpt::Outcome) {
        let (row, domain, now) = (Session::of(outcome), outcome.domain.clone(), outcome.at);
        let short = |lines: &[String]| lines.iter().take(LINES).map(|line| line.chars().take(LINE).collect()).collect();
        let text = PolicyText { strings: short(&outcome.policy.strings), mx: short(&outcome.policy.mx) };
        self.beside(move |lookup| {
            if !add(lookup, "tls", &domain, &row, now) {
                return;
            }
            if let (false, Ok(value)) = (text.strings.is_empty(), serde_json::to_vec(&text)) {
                let key = format!("report/policy/{:08}/{domain}\0{}", day(now), row.policy);
                lookup.put(key.as_bytes(), &value, Time(now.0.saturating_add(KEPT_MS)), now);
            }
        });
    }

    fn beside(&self, work: impl FnOnce(&dyn Lookup) + Send + 'static) {
        let Ok(place) = self.counting.clone().try_acquire_owned() else { return };
        let lookup = self.lookup.clone();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&*lookup);
        });
    }

    /// What was counted before a day, by day and domain.
    pub(super) fn gathered<T: DeserializeOwned>(&self, kind: &str, before: i64, now: Time) -> Vec<Gathered<T>> {
        let prefix = format!("report/{kind}/");
        let mut out: BTreeMap<(i64, String), Vec<(T, u64)>> = BTreeMap::new();
        let mut after = Vec::new();
        loop {
            let page = self.lookup.scan(prefix.as_bytes(), &after, 500, now);
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
            for (key, value) in page {
                let Some((day, domain, row)) = parts(&key, &prefix).filter(|(day, ..)| *day < before) else { continue };
                let (Ok(row), Ok(count)) = (serde_json::from_slice(row), <[u8; 8]>::try_from(value.as_slice())) else {
                    continue;
                };
                let count = u64::try_from(i64::from_be_bytes(count)).unwrap_or(0);
                out.entry((day, domain.to_owned())).or_default().push((row, count));
            }
        }
        out.into_iter().map(|((day, domain), rows)| Gathered { day, domain, rows }).collect()
    }

    /// Forgets a day of a domain.
    pub(super) fn forget(&self, kind: &str, day: i64, domain: &str, now: Time) {
        let prefix = format!("report/{kind}/{day:08}/{domain}\0");
        // More than there can be: a store that forgets nothing is none to wait for.
        for _ in 0..100 {
            let page = self.lookup.scan(prefix.as_bytes(), &[], 500, now);
            if page.is_empty() {
                break;
            }
            page.iter().for_each(|(key, _)| self.lookup.delete(key));
        }
        self.lookup.flush();
    }

    pub(super) fn policies(&self, day: i64, domain: &str, now: Time) -> Vec<(String, PolicyText)> {
        let prefix = format!("report/policy/{day:08}/{domain}\0");
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let kind = String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()?;
            Some((kind, serde_json::from_slice(&value).ok()?))
        };
        self.lookup.scan(prefix.as_bytes(), &[], 10, now).into_iter().filter_map(read).collect()
    }

    /// A report of ours leaves for somebody at `domain`: the session that brings it is none to report on.
    pub(super) fn note_own(&self, domain: &str, now: Time) {
        let key = format!("report/own/{:08}/{domain}", day(now));
        self.lookup.add(key.as_bytes(), 1, Time(now.0.saturating_add(KEPT_MS)), now);
    }

    pub(super) fn own(&self, day: i64, domain: &str, now: Time) -> u64 {
        let value = self.lookup.get(format!("report/own/{day:08}/{domain}").as_bytes(), now).unwrap_or_default();
        <[u8; 8]>::try_from(value.as_slice()).map_or(0, |count| u64::try_from(i64::from_be_bytes(count)).unwrap_or(0))
    }
}

/// Written by a program: a report, a notice, an answer (RFC 3834 5); nothing is told of those, or two servers would never end.
fn is_automatic(head: &[u8]) -> bool {
    let says = |name: &str| header::find(head, name).map(|field| field.value().to_ascii_lowercase());
    says("Auto-Submitted").is_some_and(|value| !value.trim_ascii().starts_with(b"no"))
        || says("Content-Type").is_some_and(|value| value.trim_ascii().starts_with(b"multipart/report"))
}

/// False: the row is too long.
pub(super) fn add(lookup: &dyn Lookup, kind: &str, domain: &str, row: &impl Serialize, now: Time) -> bool {
    let Ok(row) = serde_json::to_string(row) else { return true };
    let day = day(now);
    let key = format!("report/{kind}/{day:08}/{domain}\0{row}");
    if key.len() > KEY_BYTES {
        return false;
    }
    let until = Time(now.0.saturating_add(KEPT_MS));
    if lookup.add(key.as_bytes(), 1, until, now) == 1 {
        // N2: a new row, if there is room for one.
        let of_domain = lookup.add(format!("report/rows/{kind}/{day:08}/{domain}").as_bytes(), 1, until, now);
        if of_domain > ROWS_OF_ONE
            || lookup.add(format!("report/rows/{kind}/{day:08}").as_bytes(), 1, until, now) > ROWS
        {
            lookup.delete(key.as_bytes());
        }
    }
    true
}

fn parts<'a>(key: &'a [u8], prefix: &str) -> Option<(i64, &'a str, &'a [u8])> {
    let rest = key.get(prefix.len()..)?;
    let zero = rest.iter().position(|b| *b == 0)?;
    let (day, domain) = std::str::from_utf8(rest.get(..zero)?).ok()?.split_once('/')?;
    Some((day.parse().ok()?, domain, rest.get(zero + 1..)?))
}
