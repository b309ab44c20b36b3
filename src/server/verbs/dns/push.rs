//! `dns use` and `dns push`: the words around `server/dns`.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::appliance::dnsguide::{Action, Line, Piece, TakeOver, shown_data};

use super::super::super::dns::{self, Difference, How, Kept, Outcome};
use super::super::super::house::House;
use super::super::{Done, Reply};

/// Keeps how records are written; without a method it says what is kept.
pub(in super::super) fn use_method(house: &House, how: Option<&How>) -> Done {
    let kept = match how {
        Some(how) => dns::use_method(house, how)?,
        None => Kept::of(house),
    };
    let Kept { dns, secret } = &kept;
    let text = match (dns.method.as_str(), secret) {
        ("none", _) => "Records are not written by themselves: you enter them where your domain is kept.\n".to_owned(),
        (method, true) => {
            format!("Records are written by {method}. `homepost dns push DOMAIN` shows what would change.\n")
        }
        (method, false) => format!(
            "Records are to be written by {method}, but its secret is not there: homepost dns use {method} --secret-stdin\n"
        ),
    };
    let json = json!({
        "method": dns.method, "server": dns.server, "key-name": dns.key_name, "algorithm": dns.algorithm,
        "zone": dns.zone, "ask": dns.ask, "secret": secret, "ready": kept.is_ready(),
    });
    Ok(Reply::done(text, json))
}

pub(in super::super) fn push(
    house: &House,
    domain: &str,
    addresses: &[IpAddr],
    take_over: &[String],
    write: bool,
    back: bool,
) -> Done {
    let take = TakeOver::new(take_over);
    if !write {
        let difference = match back {
            true => dns::plan_undo(house, domain, addresses, &take),
            false => dns::plan(house, domain, addresses, &take),
        }?;
        return Ok(shown(house, &difference, None, back));
    }
    let outcome = match back {
        true => dns::undo(house, domain, addresses, &take),
        false => dns::push(house, domain, addresses, &take),
    }?;
    Ok(shown(house, &outcome.difference, Some(&outcome), back))
}

fn shown(house: &House, difference: &Difference, outcome: Option<&Outcome>, back: bool) -> Reply {
    let Difference { facts, zone, plan, .. } = difference;
    let method = house.settings.load().dns.method.clone();
    let servers: Vec<&str> = zone.servers.iter().map(|server| server.name.as_str()).collect();
    let what = if back { "Taking back the last push" } else { "Records" };
    let mut text =
        format!("{what} of {} (zone {}, by {method}, as {} says it)\n\n", facts.domain, zone.name, servers.join(", "));
    let mut list = Vec::new();
    for (at, line) in plan.lines.iter().enumerate() {
        let went = outcome.and_then(|outcome| outcome.went.iter().find(|(place, _)| *place == at));
        let fault = went.and_then(|(_, why)| why.as_deref());
        if line.action != Action::Keep {
            in_words(&mut text, line, fault);
        }
        list.push(object(line, went.map(|(_, why)| why.is_none()), fault));
    }
    let kept = plan.lines.iter().filter(|line| line.action == Action::Keep).count();
    if kept > 0 {
        let _ = writeln!(text, "{kept} of {} are there already and stay as they are.", plan.lines.len());
    }
    let (done, faults) = outcome.map_or((0, Vec::new()), |outcome| {
        (outcome.went.iter().filter(|(_, why)| why.is_none()).count(), outcome.faults())
    });
    let acting = plan.lines.iter().filter(|line| line.is_acting()).count();
    let flag = if back { " --undo" } else { "" };
    text.push_str(&match outcome {
        _ if acting == 0 => "There is nothing to write.\n".to_owned(),
        None => format!("Nothing is written yet. To write it: homepost dns push {}{flag} --yes\n", facts.domain),
        Some(_) => format!("{done} of {acting} are written.\n"),
    });
    let unseen = outcome.map(|outcome| outcome.unseen.as_slice()).unwrap_or_default();
    if !unseen.is_empty() {
        let names: Vec<String> = unseen.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let _ = writeln!(
            text,
            "Not all of the domain's name servers give out these yet; homepost dns check {} says when: {}",
            facts.domain,
            names.join(", ")
        );
    }
    let json = json!({
        "domain": facts.domain,
        "zone": zone.name,
        "method": method,
        "servers": servers,
        "written": outcome.is_some() && acting > 0 && faults.is_empty(),
        "to-write": acting,
        "done": done,
        "conflicts": plan.conflicts().count(),
        "lines": list,
        "faults": faults,
        "unseen": unseen.iter().map(|(name, kind)| json!({ "name": name, "type": kind.as_str() })).collect::<Vec<_>>(),
    });
    let mut error = faults;
    let conflicts = plan.conflicts().count();
    if outcome.is_some() && conflicts > 0 {
        let of = plan.lines.len();
        error.push(format!(
            "{conflicts} of {of} records are not written: something that is not homepost's is in their way"
        ));
    }
    Reply { text, json, error: (!error.is_empty()).then(|| error.join("\n")) }
}

fn in_words(text: &mut String, line: &Line, fault: Option<&str>) {
    let word = if line.action == Action::Conflict { "in the way" } else { line.action.as_str() };
    let new = line.want.as_ref().map(value).unwrap_or_default();
    let _ = writeln!(text, "{word:<10} {:<6} {}", line.kind.as_str(), line.name);
    if !new.is_empty() {
        let _ = writeln!(text, "           {new}");
    }
    if line.action != Action::Conflict {
        for old in &line.old {
            let whose = if old.ours { "" } else { ", not homepost's" };
            let kind = old.entry.data.kind();
            let kind = if kind == line.kind { String::new() } else { format!("{kind} ") };
            let _ = writeln!(text, "           goes: {kind}{}{whose}", value(old));
        }
    }
    if !line.words.is_empty() {
        let _ = writeln!(text, "           {}", line.words);
    }
    if let Some(fault) = fault {
        let _ = writeln!(text, "           NOT DONE: {fault}");
    }
}

/// Of records of others too: on one line, and not without end.
fn value(piece: &Piece) -> String {
    shown_data(&piece.entry.data)
}

fn object(line: &Line, done: Option<bool>, fault: Option<&str>) -> Value {
    let record = |piece: &Piece| {
        json!({
            "type": piece.entry.data.kind().as_str(),
            "priority": piece.entry.data.priority(),
            "value": piece.entry.data.value(),
            "ttl": piece.entry.ttl,
            "ours": piece.ours,
        })
    };
    json!({
        "name": line.name,
        "type": line.kind.as_str(),
        "action": line.action.as_str(),
        "new": line.want.as_ref().map(record),
        "old": line.old.iter().map(record).collect::<Vec<_>>(),
        "words": line.words,
        "take-over": (line.action == Action::Conflict).then(|| line.handle()),
        "done": done,
        "fault": fault,
    })
}
