//! Writing records into the DNS of our domains, and the memory of what was written.
//!
//! # For whoever shows it: the command line, a page
//!
//! | function | what it does |
//! |---|---|
//! | [`use_method`] | keeps how records are written, and the secret for it; [`Kept::of`] says what is kept, without the secret |
//! | [`plan`] | the difference: what a push would add, change, leave alone, and what is in its way. Writes nothing |
//! | [`push`] | the same, and then writes it, and looks whether it is there. [`Outcome::went`] says of each line how it went |
//! | [`plan_undo`], [`undo`] | the same for putting back what was there before the last push |
//! | [`shown`] | any of these four, in the shapes that pages, programs and `--json` share |
//! | [`begin`], [`writing`] | the same in the background, for who cannot wait, and how far it is |
//!
//! All of them block, for as long as name servers and a provider take (seconds, with some providers minutes): call them on
//! a thread of its own, never in a task. Errors are sentences for the owner. Pushes wait for each other. A conflict is no
//! error: its line says what is in the way and by which word ([`dnsguide::Line::handle`]) it can be taken over.
//!
//! The records of an authority (DNS-01) are written by [`Challenges`].

mod board;
mod challenge;
mod key;
mod push;
mod rotate;
mod shown;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;

use crate::appliance::dnsguide::{self, Facts, Memory, Plan, Record, TakeOver, There, is_in};
use crate::net::dns::{Asker, Writer, Zone, address};

use super::house::House;
use super::verbs::{Error, dns_facts};

pub(super) use board::{Board, PATIENCE, begin, writing};
pub(super) use challenge::Challenges;
pub(super) use key::{How, Kept, use_method};
use push::{Outcome, push, undo};
pub(super) use rotate::{tend, tend_one};
pub(super) use shown::shown;

/// Where this machine says which resolvers it uses (resolv.conf(5)).
pub(super) const RESOLVERS: &str = "/etc/resolv.conf";

/// What would change.
struct Difference {
    pub facts: Facts,
    pub records: Vec<Record>,
    pub zone: Zone,
    pub plan: Plan,
    memory: Memory,
    writer: Writer,
    asker: Asker,
}

/// The difference of a push. `addresses` as for the records.
fn plan(house: &House, domain: &str, addresses: &[IpAddr], take: &TakeOver) -> Result<Difference, Error> {
    look(house, domain, addresses, take, false)
}

/// The difference of an undo. Errors: also that there is nothing to undo.
fn plan_undo(house: &House, domain: &str, addresses: &[IpAddr], take: &TakeOver) -> Result<Difference, Error> {
    look(house, domain, addresses, take, true)
}

fn look(house: &House, domain: &str, addresses: &[IpAddr], take: &TakeOver, back: bool) -> Result<Difference, Error> {
    let facts = dns_facts(house, domain, addresses)?;
    let records = dnsguide::records(&facts)?;
    let memory = Memory::load(&house.data.read()?, &facts.domain)?;
    if back && memory.step.is_none() {
        let why = format!("nothing that homepost wrote into the DNS of {} is left to be undone", facts.domain);
        return Err(Error::Words(why));
    }
    let (asker, writer) = (asker(house), key::writer(house)?);
    let asked = wait(async {
        let zone = zone(house, &asker, &writer, &facts.domain).await?;
        let wanted = records.iter().map(|record| (record.name.as_str(), record.kind));
        let ours = memory.ours.iter().map(|entry| (entry.name.as_str(), entry.data.kind()));
        let step = memory.step.iter().flat_map(|step| step.added.iter().chain(&step.removed));
        let step = step.map(|piece| (piece.entry.name.as_str(), piece.entry.data.kind()));
        let all = wanted.chain(ours).chain(step).filter(|(name, _)| is_in(name, &facts.domain));
        let questions = dnsguide::look_for(&facts.domain, all);
        let answers = asker.ask_all(&zone, &questions).await;
        Ok::<_, String>((zone, answers))
    })?;
    let (zone, answers) = asked.map_err(|why| Error::Words(format!("cannot ask: {why}. Nothing was changed")))?;
    let known = |name: &str, data: &crate::net::dns::Data| {
        memory.ours.iter().any(|entry| entry.name == name && entry.data == *data)
            || records.iter().any(|record| record.name == name && record.data.as_ref() == Some(data))
    };
    let there = There::from(&answers, known);
    let there =
        there.map_err(|why| Error::Words(format!("the name servers cannot be asked: {why}. Nothing was changed")))?;
    let plan = if back {
        dnsguide::undo(&memory, &there, take)
    } else {
        dnsguide::plan(&facts.domain, &records, &memory, &there, take)
    };
    Ok(Difference { facts, records, zone, plan, memory, writer, asker })
}

pub(super) fn asker(house: &House) -> Asker {
    Asker::new(house.random.clone(), &resolvers())
}

/// What this machine says of its resolvers, as it is now.
pub(super) fn resolvers() -> String {
    std::fs::read_to_string(RESOLVERS).unwrap_or_default()
}

/// Runs on a thread of its own, whose time the network may take; the look-ups limit themselves.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Words(format!("cannot start: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

/// The servers of `dns.ask`; none: the domain's own are to be looked for. Errors: a word of it is no address.
pub(super) fn asked_servers(house: &House) -> Result<Vec<SocketAddr>, String> {
    let words = house.settings.load().dns.ask.clone();
    let each = words.split(',').filter(|word| !word.is_empty());
    each.map(|word| address(word).ok_or_else(|| format!("{word} is no address of a name server, as 192.0.2.53")))
        .collect()
}

/// The zone that a name is written in, with the servers that know best what is there now: the one that is written to,
/// where that is a name server.
async fn zone(house: &House, asker: &Asker, writer: &Writer, name: &str) -> Result<Zone, String> {
    let servers = match writer.server() {
        Some(server) => vec![server],
        None => asked_servers(house)?,
    };
    let mut zone = if servers.is_empty() { asker.zone_of(name).await } else { asker.zone_at(name, &servers).await }?;
    let given = &house.settings.load().dns.zone;
    if !given.is_empty() {
        if !is_in(name, given) {
            return Err(format!("{name} does not lie in the zone {given}, and only that is to be written"));
        }
        zone.name.clone_from(given);
    }
    Ok(zone)
}

/// The servers that everybody asks for a name.
async fn public_zone(house: &House, asker: &Asker, writer: &Writer, name: &str) -> Result<Zone, String> {
    let asked = asked_servers(house)?;
    if !asked.is_empty() {
        return asker.zone_at(name, &asked).await;
    }
    match (asker.zone_of(name).await, writer.server()) {
        // A name server that the world does not know yet, or never will.
        (Err(_), Some(server)) => asker.zone_at(name, &[server]).await,
        (found, _) => found,
    }
}

/// One at a time: a plan holds until it is done.
fn alone(house: &House) -> std::sync::MutexGuard<'_, ()> {
    house.dns.lock().unwrap_or_else(PoisonError::into_inner)
}
