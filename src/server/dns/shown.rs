//! A difference and how it went, in the shapes of `appliance/writing`.

use std::net::IpAddr;

use crate::appliance::dnsguide::{Action, Line, Piece, TakeOver};
use crate::appliance::writing::{self, Place, Value, Wish};

use super::super::house::House;
use super::super::verbs::Error;
use super::{Difference, Outcome, plan, plan_undo, push, undo};

/// Does what is wished. Errors: nothing could be planned, and nothing was changed.
pub(in super::super) fn shown(
    house: &House,
    domain: &str,
    addresses: &[IpAddr],
    wish: &Wish,
) -> Result<writing::Difference, Error> {
    let take = TakeOver::new(&wish.take_over);
    if wish.write {
        let outcome = match wish.undo {
            true => undo(house, domain, addresses, &take),
            false => push(house, domain, addresses, &take),
        }?;
        return Ok(all(house, &outcome.difference, Some(&outcome)));
    }
    let difference = match wish.undo {
        true => plan_undo(house, domain, addresses, &take),
        false => plan(house, domain, addresses, &take),
    }?;
    Ok(all(house, &difference, None))
}

fn all(house: &House, difference: &Difference, outcome: Option<&Outcome>) -> writing::Difference {
    let Difference { facts, zone, plan, .. } = difference;
    let lines = plan.lines.iter().enumerate().map(|(at, line)| {
        let went = outcome.and_then(|outcome| outcome.went.iter().find(|(place, _)| *place == at));
        row(line, went.map(|(_, why)| why.as_deref()))
    });
    let lines: Vec<writing::Line> = lines.collect();
    let to_write = plan.lines.iter().filter(|line| line.is_acting()).count();
    let faults = outcome.map(Outcome::faults).unwrap_or_default();
    let unseen = outcome.map(|outcome| outcome.unseen.as_slice()).unwrap_or_default();
    writing::Difference {
        domain: facts.domain.clone(),
        zone: zone.name.clone(),
        method: house.settings.load().dns.method.clone(),
        servers: zone.servers.iter().map(|server| server.name.clone()).collect(),
        written: outcome.is_some() && to_write > 0 && faults.is_empty(),
        to_write,
        done: lines.iter().filter(|line| line.done == Some(true)).count(),
        conflicts: plan.conflicts().count(),
        lines,
        faults,
        unseen: unseen.iter().map(|(name, kind)| Place { name: name.clone(), kind: kind.to_string() }).collect(),
    }
}

/// `went`: whether it was to be done, and why it was not.
fn row(line: &Line, went: Option<Option<&str>>) -> writing::Line {
    writing::Line {
        name: line.name.clone(),
        kind: line.kind.to_string(),
        action: line.action.as_str().to_owned(),
        new: line.want.as_ref().map(value),
        old: line.old.iter().map(value).collect(),
        words: line.words.clone(),
        take_over: (line.action == Action::Conflict).then(|| line.handle()),
        done: went.map(|why| why.is_none()),
        fault: went.flatten().map(str::to_owned),
    }
}

fn value(piece: &Piece) -> Value {
    Value {
        kind: piece.entry.data.kind().to_string(),
        priority: piece.entry.data.priority(),
        value: piece.entry.data.value(),
        ttl: piece.entry.ttl,
        ours: piece.ours,
    }
}
