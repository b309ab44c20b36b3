//! Failure reports of our own (RFC 6591, RFC 9991): a letter in a domain's name that nothing of it spoke for, told to that domain
//! with what was found out and the letter's header. Whether one is asked for is decided here, whether it leaves elsewhere.

use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::Time;
use crate::mailauth::dmarc::Record;
use crate::mailauth::{Action, Evidence, Outcome, authentication_results};
use crate::message::date::{self, Date};

/// Of a header that goes back; what is longer is cut at the end of a line.
pub const HEAD_BYTES: usize = 16 * 1024;

/// A letter that failed, as it is kept until it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub source: IpAddr,
    /// The reverse path; empty for the null path.
    pub from: String,
    /// Milliseconds since 1970.
    pub arrived: i64,
    /// RFC 6591 3.2.2: `delivered`, `spam` or `reject`.
    pub result: String,
    /// Whether a signature, and the sending address, spoke for the author's domain.
    pub dkim: bool,
    pub spf: bool,
    /// Domain and selector of the first signature.
    pub signature: Option<(String, String)>,
    /// The field Authentication-Results, as it stands on top of the letter here.
    pub found: String,
    /// The letter's header as it came.
    pub head: String,
}

impl Failed {
    /// `None`: the domain asks for no report of such a letter.
    pub fn of(
        evidence: &Evidence,
        action: &Action,
        hostname: &str,
        from: &str,
        head: &[u8],
        now: Time,
    ) -> Option<Failed> {
        let (_, record) = evidence.dmarc.record.as_ref()?;
        if !is_asked_for(record, evidence) {
            return None;
        }
        let result = match action {
            Action::Deliver => "delivered",
            Action::Junk(_) => "spam",
            Action::Refuse(_) => "reject",
        };
        let signature = evidence.dkim.first().map(|one| (one.domain.clone(), one.selector.clone()));
        let found = String::from_utf8_lossy(&authentication_results(evidence, hostname)).into_owned();
        Some(Failed {
            source: evidence.host.address,
            from: from.to_owned(),
            arrived: now.0,
            result: result.to_owned(),
            dkim: evidence.dmarc.dkim,
            spf: evidence.dmarc.spf,
            signature,
            found,
            head: short(head),
        })
    }
}

/// RFC 9991 3: what `fo` says; without it letters that nothing speaks for.
fn is_asked_for(record: &Record, evidence: &Evidence) -> bool {
    let dmarc = &evidence.dmarc;
    if record.ruf.is_empty() || !matches!(dmarc.outcome, Outcome::Pass | Outcome::Fail) {
        return false;
    }
    let failed = |outcome| matches!(outcome, Outcome::Fail | Outcome::SoftFail | Outcome::PermError);
    record.fo.iter().any(|option| match option {
        '0' => !dmarc.dkim && !dmarc.spf,
        '1' => !dmarc.dkim || !dmarc.spf,
        'd' => evidence.dkim.iter().any(|one| failed(one.outcome)),
        's' => evidence.mail.as_ref().is_some_and(|mail| failed(mail.outcome)),
        _ => false,
    })
}

fn short(head: &[u8]) -> String {
    let cut = head.get(..HEAD_BYTES).map_or(head, |start| {
        let end = start.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        start.get(..end).unwrap_or_default()
    });
    String::from_utf8_lossy(cut).into_owned()
}

/// Who writes a failure report, and to whom.
pub struct Writer<'a> {
    /// In whose name we report.
    pub reporter: &'a str,
    pub hostname: &'a str,
    pub to: &'a str,
    /// The domain that asked for it.
    pub domain: &'a str,
    pub now: Date,
    /// Makes a boundary that nothing within can look like.
    pub chance: [u64; 2],
}

/// All of it, its lines ended by CR LF.
pub fn failure_letter(writer: &Writer<'_>, failed: &Failed) -> Vec<u8> {
    let Writer { reporter, hostname, to, domain, now, chance } = writer;
    let boundary = format!("={:016x}{:016x}=", chance[0], chance[1]);
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&text.replace(['\r', '\n'], " "));
        out.push_str("\r\n");
    };
    line(&format!("From: \"Mail server {hostname}\" <postmaster@{reporter}>"));
    line(&format!("To: <{to}>"));
    line(&format!("Subject: A letter in the name of {domain} that failed its checks"));
    line(&format!("Date: {}", date::rfc5322(*now)));
    line(&format!("Message-ID: <{:016x}.{:016x}@{hostname}>", chance[1], chance[0]));
    line("Auto-Submitted: auto-generated");
    line("MIME-Version: 1.0");
    line("Content-Type: multipart/report; report-type=feedback-report;");
    line(&format!(" boundary=\"{boundary}\""));
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: text/plain; charset=us-ascii");
    line("");
    line(&format!("A letter in the name of {domain} came from {} and failed checks that {domain}", failed.source));
    line("asks to be told of (DMARC). Below is what was found out, and the header of the letter.");
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: message/feedback-report");
    line("");
    line("Feedback-Type: auth-failure");
    line("Version: 1");
    line(&format!("User-Agent: homepost/{}", env!("CARGO_PKG_VERSION")));
    line("Auth-Failure: dmarc");
    // RFC 9991 4: what spoke for the author's domain.
    line(&format!("Identity-Alignment: {}", alignment(failed)));
    for part in failed.found.lines() {
        line(part);
    }
    line(&format!("Reported-Domain: {domain}"));
    line(&format!("Reporting-MTA: dns; {hostname}"));
    line(&format!("Source-IP: {}", failed.source));
    line(&format!("Original-Mail-From: <{}>", ascii(&failed.from)));
    line(&format!("Arrival-Date: {}", date::rfc5322(Date::utc(Time(failed.arrived)))));
    line(&format!("Delivery-Result: {}", failed.result));
    if let Some((signer, selector)) = &failed.signature {
        line(&format!("DKIM-Domain: {}", ascii(signer)));
        line(&format!("DKIM-Selector: {}", ascii(selector)));
    }
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: text/rfc822-headers");
    if !failed.head.is_ascii() {
        line("Content-Transfer-Encoding: 8bit");
    }
    line("");
    for part in failed.head.lines().take_while(|part| !part.trim_end().is_empty()) {
        line(part.trim_end_matches('\r'));
    }
    line("");
    line(&format!("--{boundary}--"));
    out.into_bytes()
}

fn alignment(failed: &Failed) -> &'static str {
    match (failed.dkim, failed.spf) {
        (true, true) => "dkim, spf",
        (true, false) => "dkim",
        (false, true) => "spf",
        (false, false) => "none",
    }
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_graphic() {
            out.push(c);
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
    out
}
