//! A difference and how it went, in the shapes of `appliance/writing`.

use std::net::IpAddr;

use crate::appliance::dnsguide::{Action, Line, Piece, TakeOver};
use crate::appliance::writing::{self, Place, Value, Wish};

use super::super::house::House;
use super::super::verbs::Error;
use super::{Difference, Outcome, plan, plan_undo, push, undo};

/// Does what is wished; of a writing no more than `seen`, if that is given. Errors: nothing could be planned, and nothing was
/// changed.
pub(in super::super) fn shown(
    house: &House,
    domain: &str,
    addresses: &[IpAddr],
    wish: &Wish,
    seen: Option<&[writing::Line]>,
) -> Result<writing::Difference, Error> {
    let take = TakeOver::new(&wish.take_over);
    if wish.write {
        let outcome = match wish.undo {
            true => undo(house, domain, addresses, &take, seen),
            false => push(house, domain, addresses, &take, seen),
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

/// Whether a line that is to be done now was shown: the same comes, and nothing goes that was not said to go or to be in the
/// way.
pub(super) fn was_shown(line: &Line, seen: &[writing::Line]) -> bool {
    let same = |one: &Value, other: &Value| {
        (&one.kind, one.priority, &one.value) == (&other.kind, other.priority, &other.value)
    };
    let now = row(line, None);
    seen.iter().filter(|one| one.name == now.name && one.kind == now.kind && one.action != Action::Keep.as_str()).any(
        |one| {
            let conflict = one.action == Action::Conflict.as_str();
            let comes = match (&now.new, &one.new) {
                (None, None) => true,
                (Some(now), Some(shown)) => same(now, shown),
                _ => false,
            };
            // Of a conflict only what others wrote is shown; ours goes with it.
            comes && now.old.iter().all(|old| (conflict && old.ours) || one.old.iter().any(|shown| same(old, shown)))
        },
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::dnsguide::Entry;
    use crate::net::dns::{Data, Kind};

    fn mx(action: Action, want: Option<&str>, old: &[(&str, bool)]) -> Line {
        let piece = |target: &str, ours| {
            let data = Data::Mx { priority: 10, host: target.to_owned() };
            Piece { entry: Entry { name: "a.test".to_owned(), data, ttl: 60 }, ours }
        };
        Line {
            name: "a.test".to_owned(),
            kind: Kind::Mx,
            action,
            want: want.map(|want| piece(want, true)),
            old: old.iter().map(|(old, ours)| piece(old, *ours)).collect(),
            words: String::new(),
        }
    }

    #[test]
    fn only_what_was_shown_counts_as_shown() {
        let seen = |line: &Line| [row(line, None)];
        let add = mx(Action::Add, Some("mail.a.test"), &[]);
        let conflict = mx(Action::Conflict, Some("mail.a.test"), &[("foreign.test", false)]);
        let change = |old: &[(&str, bool)]| mx(Action::Change, Some("mail.a.test"), old);
        assert!(was_shown(&add, &seen(&add)));
        assert!(was_shown(&change(&[("foreign.test", false)]), &seen(&conflict)));
        assert!(was_shown(&change(&[("old.a.test", true), ("foreign.test", false)]), &seen(&conflict)));
        let remove = mx(Action::Remove, None, &[("old.a.test", true)]);
        assert!(was_shown(&remove, &seen(&remove)));
        for (now, shown) in [
            (&add, &mx(Action::Keep, Some("mail.a.test"), &[])),
            (&add, &mx(Action::Add, Some("post.a.test"), &[])),
            (&change(&[("other.test", false)]), &conflict),
            (&change(&[("other.test", false)]), &add),
            (&change(&[("old.a.test", true)]), &add),
            (&remove, &add),
            (&remove, &mx(Action::Remove, None, &[("older.a.test", true)])),
        ] {
            assert!(!was_shown(now, &seen(shown)), "{now:?} after {shown:?}");
        }
    }
}
