//! DMARC aggregate reports: RFC 9990 3.1, and RFC 7489 7.2.3 and appendix C, whose element names are the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ROWS, Unread, domain, text, xml};

/// Different rows that are told apart while a report is read.
const DIFFERENT: usize = 5000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Who reports, as it calls itself.
    pub reporter: String,
    pub id: String,
    /// Seconds since 1970.
    pub begin: i64,
    pub end: i64,
    pub domain: String,
    /// What was published then: `none`, `quarantine`, `reject`.
    pub policy: String,
    /// Letters in all, and those that passed DMARC.
    pub letters: u64,
    pub passed: u64,
    /// Those that failed first, then by number.
    pub rows: Vec<Row>,
}

/// Letters from one address that fared alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub source: Option<IpAddr>,
    pub letters: u64,
    pub done: Disposition,
    /// Whether a signature, and the sending address, spoke for the domain.
    pub dkim: bool,
    pub spf: bool,
}

/// What was done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    #[default]
    Taken,
    Quarantined,
    Refused,
}

impl Row {
    pub fn passed(&self) -> bool {
        self.dkim || self.spf
    }
}

type Fate = (Option<IpAddr>, Disposition, bool, bool);

pub(super) fn read(bytes: &[u8]) -> Result<Aggregate, Unread> {
    let document = String::from_utf8_lossy(bytes);
    let mut report = Aggregate::default();
    let mut rows: BTreeMap<Fate, u64> = BTreeMap::new();
    let (mut source, mut count, mut done, mut dkim, mut spf) = (None, 0u64, Disposition::Taken, false, false);
    let (mut is_report, mut too_many) = (false, false);
    let walked = xml::walk(&document, |path, said| match path {
        ["feedback", "report_metadata", "org_name"] => report.reporter = text(said),
        ["feedback", "report_metadata", "report_id"] => report.id = text(said),
        ["feedback", "report_metadata", "date_range", "begin"] => report.begin = seconds(said),
        ["feedback", "report_metadata", "date_range", "end"] => report.end = seconds(said),
        ["feedback", "policy_published"] => is_report = true,
        ["feedback", "policy_published", "domain"] => report.domain = domain(said),
        ["feedback", "policy_published", "p"] => report.policy = text(said).to_ascii_lowercase(),
        ["feedback", "record", "row", "source_ip"] => source = said.parse().ok().map(|ip: IpAddr| ip.to_canonical()),
        ["feedback", "record", "row", "count"] => count = said.parse().unwrap_or(0),
        ["feedback", "record", "row", "policy_evaluated", "disposition"] => {
            done = match said.to_ascii_lowercase().as_str() {
                "quarantine" => Disposition::Quarantined,
                "reject" => Disposition::Refused,
                // `none`, and RFC 9990's `pass`.
                _ => Disposition::Taken,
            }
        }
        ["feedback", "record", "row", "policy_evaluated", "dkim"] => dkim = said.eq_ignore_ascii_case("pass"),
        ["feedback", "record", "row", "policy_evaluated", "spf"] => spf = said.eq_ignore_ascii_case("pass"),
        ["feedback", "record"] => {
            let fate = (source.take(), std::mem::take(&mut done), std::mem::take(&mut dkim), std::mem::take(&mut spf));
            let count = std::mem::take(&mut count);
            report.letters = report.letters.saturating_add(count);
            if fate.2 || fate.3 {
                report.passed = report.passed.saturating_add(count);
            }
            let room = rows.len() < DIFFERENT;
            match rows.get_mut(&fate) {
                Some(there) => *there = there.saturating_add(count),
                None if room => drop(rows.insert(fate, count)),
                None => too_many = true,
            }
        }
        _ => {}
    });
    walked.map_err(|_| Unread::Xml)?;
    if !is_report || report.domain.is_empty() {
        return Err(Unread::Xml);
    }
    if too_many {
        tracing::debug!("a report has more different rows than are told apart");
    }
    let row = |((source, done, dkim, spf), letters)| Row { source, letters, done, dkim, spf };
    report.rows = rows.into_iter().map(row).collect();
    report.rows.sort_by_key(|row| (row.passed(), std::cmp::Reverse(row.letters)));
    report.rows.truncate(ROWS);
    Ok(report)
}

/// Some write a fraction.
fn seconds(said: &str) -> i64 {
    said.split('.').next().unwrap_or_default().parse().unwrap_or(0)
}
