//! Reports that others send about letters in our name, read: DMARC aggregate reports (RFC 9990, RFC 7489 7.2), TLS reports
//! (RFC 8460), abuse and failure reports (RFC 5965, RFC 6591, RFC 9991). And all but the abuse reports of our own, written.
//!
//! Pure: a letter goes in, a short summary comes out. mail-auth reads the same, but unpacks and keeps whatever it is given;
//! here every step has a limit, and what is kept is a few kilobytes however long the report was.
//!
//! Does not know: whether a report is true. Anybody can write one; who keeps it writes down who sent it.
//!
//! Invariants, cited by tests:
//! - E1: no bytes make anything here panic; what is unpacked, the elements, the depth and what is kept are limited (P7).
//! - E2: every text that is kept is one line without control characters, and short.

mod aggregate;
mod daily;
mod failure;
mod feedback;
mod find;
mod letter;
mod places;
mod tls;
mod unpack;
mod xml;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use aggregate::{Aggregate, Disposition, Row};
pub use daily::{Counted, DAY, Heading, PolicyText, Session, aggregate, tls};
pub use failure::{Failed, HEAD_BYTES, Writer, failure_letter};
pub use feedback::{About, Feedback};
pub use find::{claims, find};
pub use letter::{Carries, gzip, letter};
pub use places::{Place, places, record, tls as tls_places, wants};
pub use tls::{TlsFailure, TlsReport};

/// A letter longer than this is not looked at.
pub const LETTER_BYTES: usize = 10 << 20;
/// An unpacked report longer than this is not read.
const UNPACKED_BYTES: usize = 10 << 20;
/// Rows that are kept of one report; what the others counted is in its sums.
const ROWS: usize = 100;
/// Of a text that is kept.
const TEXT: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Report {
    Aggregate(Aggregate),
    Tls(TlsReport),
    Feedback(Feedback),
}

impl Report {
    /// The domain of ours that it is about, in lower case; empty if it does not say.
    pub fn domain(&self) -> &str {
        match self {
            Report::Aggregate(report) => &report.domain,
            Report::Tls(report) => &report.domain,
            Report::Feedback(report) => &report.domain,
        }
    }
}

/// Why something that says it is a report could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than a report can be.
    TooLong,
    /// What is packed does not unpack.
    Packed,
    /// It is no XML, or none of a report.
    Xml,
    /// It is no JSON, or none of a report.
    Json,
    /// It does not say what it is about.
    Feedback,
    /// The letter itself cannot be taken apart.
    Letter,
}

impl Unread {
    pub fn word(self) -> &'static str {
        match self {
            Unread::TooLong => "too-long",
            Unread::Packed => "packed",
            Unread::Xml => "xml",
            Unread::Json => "json",
            Unread::Feedback => "feedback",
            Unread::Letter => "letter",
        }
    }
}

/// E2
fn text(raw: &str) -> String {
    let line = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(TEXT).collect()
}

/// A domain as it is compared.
fn domain(raw: &str) -> String {
    text(raw).trim_end_matches('.').to_ascii_lowercase()
}

/// Any bytes; for the fuzzer.
#[doc(hidden)]
pub fn reads_anything(input: &[u8]) {
    for place in places(String::from_utf8_lossy(input).split(',')) {
        match place {
            Place::Mail { address, domain, .. } => {
                assert!(address.ends_with(&format!("@{domain}")) && address.bytes().all(|b| b.is_ascii_graphic()));
                assert!(address.len() <= 254 && !address.contains(['<', '>', '"', '(', ',', ';']));
            }
            Place::Https(uri) => assert!(uri.len() <= 1024 && uri.bytes().all(|b| b.is_ascii_graphic())),
        }
    }
    let _ = find(input);
    let _ = aggregate::read(input);
    let _ = tls::read(input);
    let _ = feedback::read(input);
    if let Ok(unpacked) = unpack::unpack(input) {
        assert!(unpacked.len() <= UNPACKED_BYTES);
    }
}
