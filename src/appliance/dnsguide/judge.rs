//! What the name servers say, held against what they should say, in words.

use std::net::IpAddr;

use super::facts::Facts;
use super::{Record, mistakes};
use crate::net::dns::{Answer, Answers, Data, Found, Kind, Server};

/// Of one record. As the words of a page: `right`, `not there yet`, `different`, `answers differ`, `cannot ask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Right,
    Missing,
    Different,
    /// The servers do not agree.
    Differ,
    /// No server could be asked.
    Unasked,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Right => "right",
            State::Missing => "not there yet",
            State::Different => "different",
            State::Differ => "answers differ",
            State::Unasked => "cannot ask",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    /// One or two sentences for the owner; empty when all is right.
    pub words: String,
    /// The values that are there, each once.
    pub found: Vec<String>,
    /// For how many seconds others may still believe what was there until now.
    pub wait: Option<u32>,
}

/// What has to be asked to judge these records, and to see what is at the domain already.
pub fn questions(facts: &Facts, records: &[Record]) -> Vec<(String, Kind)> {
    let domain = &facts.domain;
    let mut out =
        vec![(domain.clone(), Kind::Mx), (domain.clone(), Kind::Txt), (format!("_dmarc.{domain}"), Kind::Txt)];
    for record in records.iter().filter(|record| asked_for(facts, record)) {
        out.push((record.name.clone(), record.kind));
        if record.is_for_publishing() && record.name.len() + domain.len() < 250 {
            out.push((doubled(&record.name, domain), record.kind));
        }
        if record.kind == Kind::Cname {
            out.push((record.name.clone(), Kind::A));
        }
    }
    out.sort();
    out.dedup();
    out
}

/// Records of other zones are not these servers' to answer.
fn asked_for(facts: &Facts, record: &Record) -> bool {
    record.relative(&facts.domain).is_some() && (record.is_for_publishing() || record.kind == Kind::A)
}

fn doubled(name: &str, domain: &str) -> String {
    format!("{name}.{domain}")
}

/// `None` for a record that is not to be published, or lies in another zone. `servers` as they were asked.
pub fn judge(facts: &Facts, record: &Record, servers: &[Server], answers: &Answers) -> Option<Verdict> {
    if !record.is_for_publishing() || record.relative(&facts.domain).is_none() {
        return None;
    }
    let mut silent = Vec::new();
    let mut said: Vec<(&str, Verdict)> = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        match look(answers, &record.name, record.kind, at) {
            Some(Ok(answer)) => {
                let case = Case { facts, record, answers, at };
                said.push((server.name.as_str(), case.judge(answer)));
            }
            Some(Err(why)) => silent.push(format!("{}: {why}", server.name)),
            None => silent.push(format!("{}: it was not asked", server.name)),
        }
    }
    let Some((_, first)) = said.first().cloned() else {
        let words = silent.join("; ");
        return Some(Verdict { state: State::Unasked, words, found: Vec::new(), wait: None });
    };
    let mut verdict = first.clone();
    if said.iter().any(|(_, other)| other.state != first.state || other.found != first.found) {
        let each: Vec<String> = said.iter().map(|(name, one)| format!("{name}: {}", brief(one))).collect();
        let mut found: Vec<String> = said.iter().flat_map(|(_, one)| one.found.iter().cloned()).collect();
        found.sort();
        found.dedup();
        verdict = Verdict {
            state: State::Differ,
            words: format!(
                "{}. Your name servers tell each other in a while; if it lasts for hours, ask your DNS provider.",
                each.join("; ")
            ),
            found,
            wait: said.iter().filter_map(|(_, one)| one.wait).max(),
        };
    }
    if !silent.is_empty() && verdict.state != State::Right {
        verdict.words.push_str(&format!(" ({} could not be asked)", silent.join("; ")));
    }
    Some(verdict)
}

fn brief(verdict: &Verdict) -> String {
    if verdict.found.is_empty() { verdict.state.as_str().to_owned() } else { verdict.found.join(", ") }
}

fn look<'a>(answers: &'a Answers, name: &str, kind: Kind, at: usize) -> Option<&'a Result<Answer, String>> {
    answers.get(&(name.to_owned(), kind))?.get(at)
}

/// One record at one server.
struct Case<'a> {
    facts: &'a Facts,
    record: &'a Record,
    answers: &'a Answers,
    at: usize,
}

impl Case<'_> {
    fn judge(&self, answer: &Answer) -> Verdict {
        let Some(want) = &self.record.data else { return different(&[], "it is not known what it should be".into()) };
        let here: Vec<&Found> = answer.records.iter().filter(|found| found.name == self.record.name).collect();
        if let Some(cname) = here.iter().find(|found| found.data.kind() == Kind::Cname && want.kind() != Kind::Cname) {
            return different(
                &[*cname],
                format!(
                    "there is a CNAME to {} at this name, and beside a CNAME nothing else can stand: take it away",
                    cname.data.value()
                ),
            );
        }
        let all: Vec<&Found> = here.into_iter().filter(|found| found.data.kind() == want.kind()).collect();
        let rivals: Vec<&Found> = all
            .iter()
            .copied()
            .filter(|found| !mistakes::same(&found.data, want) && rival(&found.data, want))
            .collect();
        let right = all.iter().any(|found| mistakes::same(&found.data, want));
        match (right, rivals.is_empty()) {
            (true, true) => {
                let found = all.iter().filter(|found| mistakes::same(&found.data, want));
                let found = found.map(|found| found.data.value()).collect();
                Verdict { state: State::Right, words: String::new(), found, wait: None }
            }
            (true, false) => different(&rivals, self.beside(want, &rivals)),
            (false, false) => different(&rivals, mistakes::words(&self.facts.domain, want, &all, &rivals)),
            (false, true) => match mistakes::pieces(want, &all) {
                Some(words) => different(&all, words),
                None => self.missing(want, answer.negative_ttl),
            },
        }
    }

    /// It is there, and so is what it cannot stand beside.
    fn beside(&self, want: &Data, rivals: &[&Found]) -> String {
        let others = rivals.iter().map(|found| shown(&found.data)).collect::<Vec<_>>().join(", ");
        match want {
            Data::Mx { .. } => format!("it is there, but mail is brought to others too: {others}. Take those away"),
            Data::Txt(text) if text.starts_with("v=spf1") => {
                format!("there are two SPF records, and with two neither counts; leave one. The other is: {others}")
            }
            Data::Txt(_) => format!("there is a second record of this kind, and with two neither counts: {others}"),
            _ => format!("it is there, and beside it what does not belong there: {others}"),
        }
    }

    fn missing(&self, want: &Data, negative_ttl: Option<u32>) -> Verdict {
        let (name, domain) = (&self.record.name, &self.facts.domain);
        if let Some(Ok(answer)) = look(self.answers, &doubled(name, domain), want.kind(), self.at)
            && let Some(found) = answer.records.iter().find(|found| mistakes::same(&found.data, want))
        {
            let relative = self.record.relative(domain).unwrap_or_default();
            return different(
                &[found],
                format!(
                    "it stands at {}: your provider adds the domain by itself, so as the name enter only {relative}",
                    found.name
                ),
            );
        }
        if want.kind() == Kind::Cname
            && let Some(Ok(answer)) = look(self.answers, name, Kind::A, self.at)
        {
            let there: Vec<&Found> = answer.records.iter().filter(|found| found.name == *name).collect();
            if let Some(found) = there.iter().find(|found| found.data.kind() == Kind::A) {
                let ip = match found.data {
                    Data::A(v4) => Some(IpAddr::V4(v4)),
                    _ => None,
                };
                let words = match ip.and_then(mistakes::proxy) {
                    Some(proxy) => mistakes::proxied(proxy),
                    None => format!(
                        "there is an address ({}) in place of the CNAME; with the CNAME it follows the server by itself",
                        found.data.value()
                    ),
                };
                return different(&there, words);
            }
        }
        let words = match negative_ttl {
            Some(wait) => {
                format!("That is normal at first; others may remember for up to {} that it is not there.", span(wait))
            }
            None => "That is normal at first.".to_owned(),
        };
        Verdict { state: State::Missing, words, found: Vec::new(), wait: negative_ttl }
    }
}

/// Whether what is there and what should be there cannot both be.
pub(super) fn rival(there: &Data, want: &Data) -> bool {
    match (there, want) {
        (Data::Txt(there), Data::Txt(want)) => mistakes::version(there) == mistakes::version(want),
        (Data::Caa { .. }, _) | (Data::Tlsa { .. }, _) => false,
        _ => true,
    }
}

fn different(found: &[&Found], words: String) -> Verdict {
    let wait = found.iter().map(|found| found.ttl).max();
    let mut values: Vec<String> = found.iter().map(|found| shown(&found.data)).collect();
    values.sort();
    Verdict { state: State::Different, words, found: values, wait }
}

/// From outside: on one line, and not without end.
pub fn shown(data: &Data) -> String {
    let priority = data.priority().map(|priority| format!("{priority} ")).unwrap_or_default();
    let clean = format!("{priority}{}", data.value());
    clean.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(600).collect()
}

/// A time as people say it, rounded up.
pub fn span(seconds: u32) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        5401..=129_600 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}
