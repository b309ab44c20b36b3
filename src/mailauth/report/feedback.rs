//! Feedback reports (RFC 5965): somebody called a letter of ours junk, or it failed its checks (RFC 6591, RFC 9991).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::message::{date, header};

use super::{Unread, domain, text};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    pub about: About,
    /// The server that reports.
    pub reporter: String,
    pub domain: String,
    /// Where the letter came from.
    pub source: Option<IpAddr>,
    /// The reverse path of the letter.
    pub from: String,
    /// When it arrived there, seconds since 1970; 0 if that is not said.
    pub arrived: i64,
    /// What failed (RFC 6591 3.3): `dmarc`, `spf`, `signature`, …
    pub failed: String,
    /// Letters it stands for.
    pub letters: u64,
}

/// RFC 5965 7.3 and RFC 6591.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    Abuse,
    Fraud,
    Virus,
    NotSpam,
    AuthFailure,
    #[default]
    Other,
}

/// The body of a `message/feedback-report`: fields like a header's.
pub(super) fn read(bytes: &[u8]) -> Result<Feedback, Unread> {
    let mut out = Feedback { letters: 1, ..Feedback::default() };
    let mut said = false;
    for field in header::fields(bytes).take(200) {
        let value = field.value();
        let value = String::from_utf8_lossy(&value);
        let value = value.trim();
        if field.is("Feedback-Type") {
            said = true;
            out.about = match value.to_ascii_lowercase().as_str() {
                "abuse" => About::Abuse,
                "fraud" => About::Fraud,
                "virus" => About::Virus,
                "not-spam" => About::NotSpam,
                "auth-failure" => About::AuthFailure,
                _ => About::Other,
            };
        } else if field.is("Reporting-MTA") {
            out.reporter = domain(value.rsplit(';').next().unwrap_or_default().trim());
        } else if field.is("Reported-Domain") {
            out.domain = domain(value);
        } else if field.is("Source-IP") {
            let first = value.split_whitespace().next().unwrap_or_default();
            out.source = first.parse().ok().map(|ip: IpAddr| ip.to_canonical());
        } else if field.is("Original-Mail-From") {
            out.from = text(value.trim_matches(['<', '>']));
        } else if field.is("Arrival-Date") || field.is("Received-Date") {
            out.arrived = date::parse(value.as_bytes()).map_or(0, |date| date.time.0.div_euclid(1000));
        } else if field.is("Auth-Failure") {
            out.failed = text(value).to_ascii_lowercase();
        } else if field.is("Incidents") {
            out.letters = value.parse().unwrap_or(1);
        }
    }
    if out.domain.is_empty() {
        out.domain = out.from.rsplit_once('@').map(|(_, of)| domain(of)).unwrap_or_default();
    }
    if said { Ok(out) } else { Err(Unread::Feedback) }
}
