//! TLS reports (RFC 8460 4.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ROWS, Unread, domain, text};

/// As JSON; they are short, and what serde makes of one is some times its size.
const JSON_BYTES: usize = 2 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsReport {
    /// Who reports, as it calls itself.
    pub reporter: String,
    pub id: String,
    /// Seconds since 1970.
    pub begin: i64,
    pub end: i64,
    pub domain: String,
    /// Connections that were safe, and those that were not.
    pub good: u64,
    pub failed: u64,
    /// The most frequent first.
    pub failures: Vec<TlsFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFailure {
    /// As RFC 8460 4.3 calls it: `certificate-expired`, …
    pub what: String,
    /// The server that was talked to.
    pub host: String,
    pub connections: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    organization_name: Option<String>,
    #[serde(default)]
    report_id: Option<String>,
    date_range: Range,
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Range {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    policy: Details,
    summary: Summary,
    #[serde(default)]
    failure_details: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Details {
    #[serde(default)]
    policy_domain: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    #[serde(default)]
    total_successful_session_count: Option<u64>,
    #[serde(default)]
    total_failure_session_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Failure {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    receiving_mx_hostname: Option<String>,
    #[serde(default)]
    failed_session_count: Option<u64>,
}

/// serde_json goes 128 deep and no further.
pub(super) fn read(bytes: &[u8]) -> Result<TlsReport, Unread> {
    if bytes.len() > JSON_BYTES {
        return Err(Unread::TooLong);
    }
    let read: Document = serde_json::from_slice(bytes).map_err(|_| Unread::Json)?;
    let mut report = TlsReport {
        reporter: text(&read.organization_name.unwrap_or_default()),
        id: text(&read.report_id.unwrap_or_default()),
        begin: seconds(&read.date_range.start_datetime),
        end: seconds(&read.date_range.end_datetime),
        ..TlsReport::default()
    };
    let mut failures: BTreeMap<(String, String), u64> = BTreeMap::new();
    for policy in read.policies {
        if report.domain.is_empty() {
            report.domain = domain(&policy.policy.policy_domain.unwrap_or_default());
        }
        let add = |sum: &mut u64, more: Option<u64>| *sum = sum.saturating_add(more.unwrap_or(0));
        add(&mut report.good, policy.summary.total_successful_session_count);
        add(&mut report.failed, policy.summary.total_failure_session_count);
        for failure in policy.failure_details.unwrap_or_default() {
            let what = text(&failure.result_type.unwrap_or_default());
            let host = domain(&failure.receiving_mx_hostname.unwrap_or_default());
            add(failures.entry((what, host)).or_default(), failure.failed_session_count);
        }
    }
    if report.domain.is_empty() {
        return Err(Unread::Json);
    }
    let failure = |((what, host), connections)| TlsFailure { what, host, connections };
    report.failures = failures.into_iter().map(failure).collect();
    report.failures.sort_by_key(|failure| std::cmp::Reverse(failure.connections));
    report.failures.truncate(ROWS);
    Ok(report)
}

fn seconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second())
}
