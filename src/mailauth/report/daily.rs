//! Our own reports of a day: what letters in a domain's name came to (RFC 9990), and what connections to its servers came to
//! (RFC 8460). Counted elsewhere, written here.

use std::net::IpAddr;

use mail_auth::report as library;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::Time;
use crate::mailauth::dmarc::{Policy, Record};
use crate::mailauth::tlsrpt;
use crate::mailauth::{Action, Evidence, Outcome};
use crate::message::date::{self, Date};

use super::{Disposition, text};

/// Signatures of one letter that are reported.
const SIGNATURES: usize = 4;
pub const DAY: i64 = 24 * 60 * 60;

/// Letters that fared alike: what is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    #[serde(rename = "i")]
    pub source: IpAddr,
    #[serde(rename = "d")]
    pub done: Disposition,
    /// Whether a signature, and the sending address, spoke for the author's domain.
    #[serde(rename = "k")]
    pub dkim: bool,
    #[serde(rename = "s")]
    pub spf: bool,
    /// It failed, and was taken because somebody who is trusted vouched for it.
    #[serde(rename = "v")]
    pub vouched: bool,
    #[serde(rename = "a")]
    pub author: String,
    /// The domain of the reverse path; empty for the null path.
    #[serde(rename = "f")]
    pub from: String,
    /// Domain, selector, result.
    #[serde(rename = "g")]
    pub signatures: Vec<(String, String, String)>,
    /// Domain, result.
    #[serde(rename = "m")]
    pub sender: (String, String),
}

impl Counted {
    /// `None`: the author's domain asks for no reports, or nothing was found out.
    pub fn of(evidence: &Evidence, action: &Action) -> Option<Counted> {
        let dmarc = &evidence.dmarc;
        let (_, record) = dmarc.record.as_ref()?;
        if record.rua.is_empty() || !matches!(dmarc.outcome, Outcome::Pass | Outcome::Fail) {
            return None;
        }
        let done = match action {
            Action::Deliver => Disposition::Taken,
            Action::Junk(_) => Disposition::Quarantined,
            Action::Refuse(_) => Disposition::Refused,
        };
        let signature =
            |one: &crate::mailauth::Signed| (text(&one.domain), text(&one.selector), one.outcome.word().to_owned());
        let sender = evidence.mail.as_ref().unwrap_or(&evidence.helo);
        Some(Counted {
            source: evidence.host.address.to_canonical(),
            done,
            dkim: dmarc.dkim,
            spf: dmarc.spf,
            vouched: dmarc.outcome == Outcome::Fail && done == Disposition::Taken && dmarc.policy != Policy::None,
            author: text(&dmarc.author),
            from: evidence.mail.as_ref().map(|mail| text(&mail.domain)).unwrap_or_default(),
            signatures: evidence.dkim.iter().take(SIGNATURES).map(signature).collect(),
            sender: (text(&sender.domain), sender.outcome.word().to_owned()),
        })
    }
}

/// Whose report it is, and of which time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// The domain of ours that reports, and whom to ask.
    pub reporter: String,
    pub contact: String,
    pub hostname: String,
    /// What it is about.
    pub domain: String,
    pub id: String,
    /// Seconds since 1970, both within.
    pub begin: i64,
    pub end: i64,
}

/// RFC 9990 3.1, with what the domain publishes now.
pub fn aggregate(heading: &Heading, record: &Record, rows: &[(Counted, u64)]) -> String {
    let mut report = library::Report::new()
        .with_version(1.0)
        .with_org_name(&heading.reporter)
        .with_email(&heading.contact)
        .with_report_id(&heading.id)
        .with_date_range_begin(heading.begin.max(0).cast_unsigned())
        .with_date_range_end(heading.end.max(0).cast_unsigned())
        .with_domain(&heading.domain)
        .with_p(policy(record.p))
        .with_sp(policy(record.sp))
        .with_np(policy(record.np))
        .with_adkim(alignment(record.strict_dkim))
        .with_aspf(alignment(record.strict_spf))
        .with_testing(record.testing)
        .with_discovery_method(library::Discovery::Treewalk)
        .with_generator("homepost");
    for (row, count) in rows {
        report.add_record(record_of(row, *count));
    }
    report.to_xml()
}

fn record_of(row: &Counted, count: u64) -> library::Record {
    let result = |one: bool| if one { library::DmarcResult::Pass } else { library::DmarcResult::Fail };
    let mut record = library::Record::new();
    record.row.source_ip = Some(row.source);
    record.row.count = u32::try_from(count).unwrap_or(u32::MAX);
    let evaluated = &mut record.row.policy_evaluated;
    evaluated.disposition = match row.done {
        Disposition::Taken if row.dkim || row.spf => library::ActionDisposition::Pass,
        Disposition::Taken => library::ActionDisposition::None,
        Disposition::Quarantined => library::ActionDisposition::Quarantine,
        Disposition::Refused => library::ActionDisposition::Reject,
    };
    (evaluated.dkim, evaluated.spf) = (result(row.dkim), result(row.spf));
    if row.vouched {
        let type_ = library::PolicyOverride::TrustedForwarder;
        evaluated.reason.push(library::PolicyOverrideReason { type_, comment: None });
    }
    record.identifiers.header_from = row.author.clone();
    record.identifiers.envelope_from = row.from.clone();
    for (domain, selector, result) in &row.signatures {
        record.auth_results.dkim.push(library::DKIMAuthResult {
            domain: domain.clone(),
            selector: selector.clone(),
            result: match result.as_str() {
                "pass" => library::DkimResult::Pass,
                "fail" => library::DkimResult::Fail,
                "policy" => library::DkimResult::Policy,
                "neutral" => library::DkimResult::Neutral,
                "temperror" => library::DkimResult::TempError,
                "permerror" => library::DkimResult::PermError,
                _ => library::DkimResult::None,
            },
            human_result: None,
        });
    }
    record.auth_results.spf.push(library::SPFAuthResult {
        domain: row.sender.0.clone(),
        scope: library::SPFDomainScope::MailFrom,
        result: match row.sender.1.as_str() {
            "pass" => library::SpfResult::Pass,
            "fail" => library::SpfResult::Fail,
            "softfail" => library::SpfResult::SoftFail,
            "neutral" => library::SpfResult::Neutral,
            "temperror" => library::SpfResult::TempError,
            "permerror" => library::SpfResult::PermError,
            _ => library::SpfResult::None,
        },
        human_result: None,
    });
    record
}

fn policy(policy: Policy) -> library::Disposition {
    match policy {
        Policy::None => library::Disposition::None,
        Policy::Quarantine => library::Disposition::Quarantine,
        Policy::Reject => library::Disposition::Reject,
    }
}

fn alignment(strict: bool) -> library::Alignment {
    if strict { library::Alignment::Strict } else { library::Alignment::Relaxed }
}

/// Sessions that fared alike (RFC 8460 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `policy-type`.
    #[serde(rename = "p")]
    pub policy: String,
    /// `result-type`; `None`: it was safe.
    #[serde(rename = "r")]
    pub failed: Option<String>,
    #[serde(rename = "w")]
    pub words: Option<String>,
    #[serde(rename = "m")]
    pub mx: Option<String>,
    #[serde(rename = "t")]
    pub receiving: Option<IpAddr>,
    #[serde(rename = "f")]
    pub sending: Option<IpAddr>,
}

impl Session {
    pub fn of(outcome: &tlsrpt::Outcome) -> Session {
        let failure = outcome.result.as_ref().err();
        Session {
            policy: outcome.policy.kind.word().to_owned(),
            failed: failure.map(|failure| failure.kind.word().to_owned()),
            words: failure.and_then(|failure| failure.words.as_deref()).map(text),
            // What went well is only counted.
            mx: failure.and(outcome.mx.as_deref()).map(text),
            receiving: failure.and(outcome.receiving),
            sending: failure.and(outcome.sending),
        }
    }
}

/// What a policy said: `policy-string` and `mx-host`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    pub strings: Vec<String>,
    pub mx: Vec<String>,
}

/// RFC 8460 4.4. `policies` gives the text of each policy-type.
pub fn tls(heading: &Heading, policies: &[(String, PolicyText)], rows: &[(Session, u64)]) -> String {
    let mut kinds: Vec<&str> = rows.iter().map(|(row, _)| row.policy.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of = |kind: &str| -> Value {
        let mine = || rows.iter().filter(|(row, _)| row.policy == kind);
        let sum =
            |failed: bool| -> u64 { mine().filter(|(row, _)| row.failed.is_some() == failed).map(|(_, n)| n).sum() };
        let known = policies.iter().find(|(name, _)| name == kind).map(|(_, known)| known.clone()).unwrap_or_default();
        let mut policy = json!({ "policy-type": kind, "policy-domain": heading.domain });
        if !known.strings.is_empty() {
            policy["policy-string"] = json!(known.strings);
        }
        if !known.mx.is_empty() {
            policy["mx-host"] = json!(known.mx);
        }
        let details: Vec<Value> = mine()
            .filter_map(|(row, count)| {
                let mut detail = json!({ "result-type": row.failed.as_ref()?, "failed-session-count": count });
                let mut add = |name: &str, value: Option<String>| {
                    if let Some(value) = value {
                        detail[name] = Value::String(value);
                    }
                };
                add("sending-mta-ip", row.sending.map(|ip| ip.to_string()));
                add("receiving-mx-hostname", row.mx.clone());
                add("receiving-ip", row.receiving.map(|ip| ip.to_string()));
                add("failure-reason-code", row.words.clone());
                Some(detail)
            })
            .collect();
        let mut out = json!({
            "policy": policy,
            "summary": { "total-successful-session-count": sum(false), "total-failure-session-count": sum(true) },
        });
        if !details.is_empty() {
            out["failure-details"] = Value::Array(details);
        }
        out
    };
    let time = |seconds: i64| date::rfc3339(Date::utc(Time(seconds.saturating_mul(1000))));
    json!({
        "organization-name": heading.reporter,
        "date-range": { "start-datetime": time(heading.begin), "end-datetime": time(heading.end) },
        "contact-info": heading.contact,
        "report-id": heading.id,
        "policies": kinds.into_iter().map(of).collect::<Vec<_>>(),
    })
    .to_string()
}
