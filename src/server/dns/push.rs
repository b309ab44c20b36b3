//! Doing a plan: remembered before, written, remembered again, looked at.

use std::net::IpAddr;
use std::time::Duration;

use crate::appliance::dnsguide::{self, Entry, Memory, Step, TakeOver, Went};
use crate::appliance::writing;
use crate::net::dns::{Change, Fault, Kind};

use super::super::house::House;
use super::super::verbs::Error;
use super::board::OTHER;
use super::shown::was_shown;
use super::{Difference, alone, look, public_zone, wait};

/// Looks after a push, until everybody sees it.
const LOOKS: u32 = 8;
const BETWEEN: Duration = Duration::from_secs(1);

/// What was done.
pub(in super::super) struct Outcome {
    pub difference: Difference,
    /// Of each line of the plan that was to be done, by its place: `None`, or why it was not.
    pub went: Vec<(usize, Option<String>)>,
    /// Names and types that were written and that the domain's name servers do not all give out yet.
    pub unseen: Vec<(String, Kind)>,
    /// It was written, and could not be remembered: why.
    pub forgotten: Option<String>,
}

impl Outcome {
    /// Why it was not done, each reason once.
    pub fn faults(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for why in self.went.iter().filter_map(|(_, why)| why.as_ref()).chain(&self.forgotten) {
            if !out.contains(why) {
                out.push(why.clone());
            }
        }
        out
    }
}

/// Writes what is missing or different; if it is not among what was `seen`, nothing. Errors: nothing could be planned, and nothing
/// was changed.
pub(in super::super) fn push(
    house: &House,
    domain: &str,
    addresses: &[IpAddr],
    take: &TakeOver,
    seen: Option<&[writing::Line]>,
) -> Result<Outcome, Error> {
    run(house, domain, addresses, take, false, seen, false)
}

/// Writes what is missing or different of a domain's DKIM keys, and nothing else. An undo is of the owner's last push, as it was
/// before. Gives why something was not done, each reason once.
pub(super) fn push_keys(house: &House, domain: &str) -> Result<Vec<String>, Error> {
    Ok(run(house, domain, &[], &TakeOver::default(), false, None, true)?.faults())
}

/// Puts back what was there before the last push.
pub(in super::super) fn undo(
    house: &House,
    domain: &str,
    addresses: &[IpAddr],
    take: &TakeOver,
    seen: Option<&[writing::Line]>,
) -> Result<Outcome, Error> {
    run(house, domain, addresses, take, true, seen, false)
}

fn run(
    house: &House,
    domain: &str,
    addresses: &[IpAddr],
    take: &TakeOver,
    back: bool,
    seen: Option<&[writing::Line]>,
    keys_only: bool,
) -> Result<Outcome, Error> {
    let _alone = alone(house);
    let mut difference = look(house, domain, addresses, take, back)?;
    if keys_only {
        let keys = format!("._domainkey.{}", difference.facts.domain);
        difference.plan.lines.retain(|line| line.name.ends_with(&keys));
    }
    // Somebody may have changed the DNS since, and what goes was agreed to by nobody.
    if let Some(seen) = seen
        && difference.plan.lines.iter().any(|line| line.is_acting() && !was_shown(line, seen))
    {
        return Err(Error::Words(OTHER.to_owned()));
    }
    let (step, changes) = (difference.plan.step(), difference.plan.changes());
    let domain = difference.facts.domain.clone();
    let before = difference.memory.clone();
    // What nobody asked for is nothing that an owner would undo.
    let undo_stays = |memory: Memory| match keys_only {
        true => Memory { step: before.step.clone(), open: before.open, ..memory },
        false => memory,
    };
    if changes.is_empty() {
        // An undo of which something is in the way is not over.
        let over = back && difference.plan.conflicts().next().is_none();
        let settled = if keys_only {
            before.clone()
        } else if over {
            before.undone(&Step::default(), |_| Went::Done)
        } else {
            before.settled()
        };
        let settled = difference.plan.forget(settled);
        if settled != difference.memory {
            keep(house, &domain, settled)?;
        }
        return Ok(Outcome { difference, went: Vec::new(), unseen: Vec::new(), forgotten: None });
    }
    // Before: whenever the power goes from here on, what is ours is known as ours (G3).
    keep(house, &domain, undo_stays(before.begin(&step)))?;
    let done = wait(difference.writer.write(&difference.zone.name, &changes))?;
    let fault = |entry: &Entry| fault_of(&changes, &done, entry);
    let went = |entry: &Entry| match fault(entry) {
        None => Went::Done,
        Some(fault) if fault.certain => Went::Not,
        Some(_) => Went::Unknown,
    };
    let after = match back {
        true if difference.plan.conflicts().next().is_some() => {
            Memory { step: before.step.clone(), ..before.undone(&step, went) }
        }
        true => before.undone(&step, went),
        false => undo_stays(before.after(&step, went)),
    };
    // Only where all is as it should be is it known that what is missing is gone: a wrong server has nothing of ours.
    let after = if done.iter().all(Result::is_ok) { difference.plan.forget(after) } else { after };
    // What is written is written, and said to be. What was remembered before still knows it as ours, perhaps.
    let forgotten =
        keep(house, &domain, after).err().map(|error| format!("what was written cannot be kept in mind: {error}"));
    let acting = difference.plan.lines.iter().enumerate().filter(|(_, line)| line.is_acting());
    let went: Vec<(usize, Option<String>)> = acting
        .map(|(at, line)| {
            let mut all = line.want.iter().chain(&line.old).map(|piece| &piece.entry);
            (at, all.find_map(fault).map(|fault| fault.words.clone()))
        })
        .collect();
    let unseen = if back || keys_only { Vec::new() } else { unseen(house, &difference, &went) };
    Ok(Outcome { difference, went, unseen, forgotten })
}

fn keep(house: &House, domain: &str, memory: Memory) -> Result<(), Error> {
    let domain = domain.to_owned();
    house.data.write_blocking(move |txn| {
        memory.save(txn, &domain);
        Ok::<_, Error>(())
    })?;
    Ok(())
}

/// Of the change that a record was part of.
fn fault_of<'a>(changes: &[Change], done: &'a [Result<(), Fault>], entry: &Entry) -> Option<&'a Fault> {
    let place = (entry.name.as_str(), entry.data.kind());
    let at = changes.iter().position(|change| (change.name.as_str(), change.kind) == place)?;
    done.get(at)?.as_ref().err()
}

/// Looks at the domain's name servers, as `dns check` does, for what was written. Where one cannot look nothing was seen.
fn unseen(house: &House, done: &Difference, went: &[(usize, Option<String>)]) -> Vec<(String, Kind)> {
    let written: Vec<(String, Kind)> = went
        .iter()
        .filter(|(_, why)| why.is_none())
        .filter_map(|(at, _)| done.plan.lines.get(*at))
        .filter(|line| line.want.is_some())
        .map(|line| (line.name.clone(), line.kind))
        .collect();
    let records: Vec<_> = done
        .records
        .iter()
        .filter(|record| written.contains(&(record.name.clone(), record.kind)) && record.is_for_publishing())
        .cloned()
        .collect();
    if records.is_empty() {
        return Vec::new();
    }
    let questions = dnsguide::questions(&done.facts, &records);
    let all = written.clone();
    let looked = wait(async {
        let Ok(zone) = public_zone(house, &done.asker, &done.writer, &done.facts.domain).await else { return written };
        let mut unseen = written;
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            let answers = done.asker.ask_all(&zone, &questions).await;
            unseen = records
                .iter()
                .filter(|record| {
                    let verdict = dnsguide::judge(&done.facts, record, &zone.servers, &answers);
                    verdict.is_some_and(|verdict| verdict.state != dnsguide::State::Right)
                })
                .map(|record| (record.name.clone(), record.kind))
                .collect();
            if unseen.is_empty() {
                break;
            }
        }
        unseen
    });
    looked.unwrap_or(all)
}
