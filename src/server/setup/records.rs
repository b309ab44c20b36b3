//! The records of a domain, as the pages of the set-up show them: which they are, and what its own name servers say of them;
//! and where its mail goes today.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use tracing::warn;

use crate::appliance::dnsguide::{self, Record};
use crate::appliance::wizard::{Existing, Outcome, Piece, PieceState};
use crate::base::{OsRandom, Time};
use crate::net::dns::{Asker, Data, Kind};

use super::super::house::House;
use super::super::verbs::{self, Error, Request, dns_facts};

/// Where this machine says which resolvers it uses (resolv.conf(5)).
const RESOLVERS: &str = "/etc/resolv.conf";
/// Somebody waits at a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// By the same look as `homepost dns check`.
pub(super) fn records(house: &House, domain: &str, now: Time) -> Result<Outcome, Error> {
    let facts = dns_facts(house, domain, &[])?;
    let all = dnsguide::records(&facts)?;
    let request = Request::DnsCheck { domain: domain.to_owned(), addresses: Vec::new(), servers: Vec::new() };
    let reply = verbs::run(house, &request);
    let judged = reply.json["records"].as_array().cloned();
    let why = reply.error.unwrap_or_default();
    let pieces = all.iter().map(|record| {
        let state = match &judged {
            Some(judged) => state(judged, record, now),
            None => PieceState::CannotAsk { why: why.trim_start_matches("cannot ask: ").to_owned() },
        };
        piece(record, &facts.domain, state)
    });
    let advice = reply.json["advice"].as_array().into_iter().flatten();
    let advice = advice.filter_map(|words| words.as_str().map(str::to_owned)).collect();
    Ok(Outcome::Records { pieces: pieces.collect(), at: Some(now), advice })
}

/// All of them in one file, for a provider's importer.
pub(super) fn zone(house: &House, domain: &str, relative: bool) -> Option<String> {
    let zone = Some(verbs::DnsForm::Records);
    let request = Request::DnsRecords { domain: domain.to_owned(), addresses: Vec::new(), zone, relative };
    let reply = verbs::run(house, &request);
    if let Some(error) = &reply.error {
        warn!(error, "the zone file cannot be written");
    }
    reply.json["zone"].as_str().map(str::to_owned)
}

fn state(judged: &[Value], record: &Record, now: Time) -> PieceState {
    let value = record.data.as_ref().map(Data::value);
    let found = judged.iter().find(|one| {
        one["name"] == record.name.as_str()
            && one["type"] == record.kind.as_str()
            && one["value"].as_str() == value.as_deref()
    });
    let Some(found) = found else { return PieceState::Unknown };
    let words = found["words"].as_str().unwrap_or_default().to_owned();
    match found["state"].as_str() {
        Some("right") => PieceState::Right,
        Some("not there yet") => {
            let wait = found["wait"].as_i64();
            PieceState::NotYet { until: wait.map(|wait| now.seconds().saturating_add(wait)) }
        }
        Some("different") => PieceState::Different { found: words },
        Some("answers differ") => PieceState::Differing,
        _ => PieceState::CannotAsk { why: words },
    }
}

fn piece(record: &Record, domain: &str, state: PieceState) -> Piece {
    let parts = match &record.data {
        Some(Data::Txt(text)) => dnsguide::split_text(text),
        _ => Vec::new(),
    };
    let full_name = format!("{}.", record.name);
    let unknown = record.data.is_none().then(|| "Its value is not known yet.".to_owned());
    Piece {
        name: record.relative(domain).unwrap_or_else(|| full_name.clone()),
        full_name,
        kind: record.kind.to_string(),
        priority: record.data.as_ref().and_then(Data::priority),
        value: record.data.as_ref().map_or_else(|| "?".to_owned(), Data::value),
        parts: parts.into_iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect(),
        purpose: record.purpose.clone(),
        withheld: record.withheld.clone().or(unknown),
        state,
    }
}

/// Where mail for a domain goes that is not ours yet. Errors: nobody could be asked in time.
pub(super) async fn existing(domain: &str) -> Result<Existing, String> {
    let asker = Asker::new(Arc::new(OsRandom), &std::fs::read_to_string(RESOLVERS).unwrap_or_default());
    let asked = timeout(PATIENCE, async {
        let zone = asker.zone_of(domain).await?;
        Ok::<_, String>(asker.ask_all(&zone, &[(domain.to_owned(), Kind::Mx)]).await)
    });
    let answers = asked.await.map_err(|_| "its name servers did not answer in time".to_owned())??;
    let mut hosts: Vec<(u16, String)> = Vec::new();
    for answer in answers.into_values().flatten().flatten() {
        for found in answer.records {
            // RFC 7505: a lone "." takes no mail at all.
            if let Data::Mx { priority, host } = found.data
                && !host.is_empty()
            {
                hosts.push((priority, host));
            }
        }
    }
    hosts.sort();
    hosts.dedup();
    Ok(Existing { mail: hosts.into_iter().map(|(_, host)| host).collect() })
}
