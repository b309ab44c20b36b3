//! `dns check`: what needs the network.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use crate::appliance::dnsguide::{self, Facts, Record, State, Verdict};
use crate::net::dns::{Answers, Zone};

use super::super::super::dns::{asked_servers, asker, wait};
use super::super::super::house::House;
use super::super::{Done, Error, Reply};

pub(in super::super) fn check(house: &House, domain: &str, addresses: &[IpAddr], servers: &[SocketAddr]) -> Done {
    let facts = super::facts(house, domain, addresses)?;
    let records = dnsguide::records(&facts)?;
    let asker = asker(house);
    let own;
    let servers = if servers.is_empty() {
        own = asked_servers(house)?;
        &own
    } else {
        servers
    };
    let asked = wait(async {
        let zone = if servers.is_empty() {
            asker.zone_of(&facts.domain).await
        } else {
            asker.zone_at(&facts.domain, servers).await
        }?;
        let answers = asker.ask_all(&zone, &dnsguide::questions(&facts, &records)).await;
        Ok::<(Zone, Answers), String>((zone, answers))
    })?;
    let (zone, answers) = asked.map_err(|why| Error::Words(format!("cannot ask: {why}")))?;
    let judged: Vec<(&Record, Verdict)> = records
        .iter()
        .filter_map(|record| Some((record, dnsguide::judge(&facts, record, &zone.servers, &answers)?)))
        .collect();
    Ok(report(&facts, &zone, &judged, &answers))
}

fn report(facts: &Facts, zone: &Zone, judged: &[(&Record, Verdict)], answers: &Answers) -> Reply {
    let servers: Vec<&str> = zone.servers.iter().map(|server| server.name.as_str()).collect();
    let mut text = format!("{} as its name servers say it ({})\n\n", facts.domain, servers.join(", "));
    let mut list = Vec::new();
    for (record, verdict) in judged {
        let colon = if verdict.words.is_empty() { "" } else { ": " };
        let _ = writeln!(
            text,
            "{:<6} {}\n       {}{colon}{}",
            record.kind.as_str(),
            record.name,
            verdict.state.as_str(),
            verdict.words
        );
        if let Some(wait) = verdict.wait.filter(|_| verdict.state == State::Different) {
            let _ = writeln!(
                text,
                "       Once corrected, it may take up to {} until everybody sees it.",
                dnsguide::span(wait)
            );
        }
        list.push(json!({
            "name": record.name,
            "type": record.kind.as_str(),
            "value": record.data.as_ref().map(crate::net::dns::Data::value),
            "state": verdict.state.as_str(),
            "words": verdict.words,
            "found": verdict.found,
            "wait": verdict.wait,
        }));
    }
    let existing = dnsguide::existing(facts, answers);
    let advice = existing.as_ref().map(|existing| existing.advice(facts)).unwrap_or_default();
    for paragraph in &advice {
        let _ = writeln!(text, "\n{paragraph}");
    }
    let wrong = judged.iter().filter(|(_, verdict)| verdict.state != State::Right).count();
    let json = json!({
        "domain": facts.domain,
        "zone": zone.name,
        "servers": servers,
        "records": list,
        "existing": existing.map(|existing| json!({
            "hosts": existing.hosts,
            "provider": existing.provider,
            "spf": existing.spf.as_ref().map(|(there, _)| there),
            "merged-spf": existing.spf.as_ref().map(|(_, merged)| merged),
            "dmarc": existing.dmarc,
        })),
        "advice": advice,
    });
    let error = (wrong > 0).then(|| format!("{wrong} of {} records are not right yet", judged.len()));
    if error.is_none() {
        text.push_str("\nAll records are right.\n");
    }
    Reply { text, json, error }
}
