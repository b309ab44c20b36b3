//! DKIM keys changed for new ones (`directory/rotation.rs` says when): their records written where that is possible, looked for at
//! the domain's own name servers in any case, and only then signed with.

use crate::appliance::dnsguide::{self, Record, State};
use crate::base::Time;
use crate::directory::manage::domain as domains;
use crate::directory::rotation::{self, Rotated, World};
use crate::net::dns::{Answer, Answers, Kind, Zone};

use super::super::house::House;
use super::super::verbs::{Error, dns_facts};
use super::push::push_keys;
use super::{Kept, asked_servers, asker, wait};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Whatever is due for any domain. A clock that nobody checked changes no keys.
pub(in super::super) fn tend(house: &House) -> Result<(), Error> {
    if !house.clock.trusted() {
        return Ok(());
    }
    for domain in domains::list(&house.data.read()?)? {
        // A house's own name stands in nobody's DNS (RFC 8375).
        if domain == "home.arpa" || domain.ends_with(".home.arpa") {
            continue;
        }
        let done = tend_one(house, &domain, house.clock.now(), false)?;
        if done != Rotated::default() {
            tracing::info!(domain, ?done, "DKIM keys");
        }
    }
    Ok(())
}

/// The same for one domain. `anew`: with a new pair in any case, or with the one that is coming already.
pub(in super::super) fn tend_one(house: &House, domain: &str, now: Time, anew: bool) -> Result<Rotated, Error> {
    let days = house.settings.load().sending.new_keys_after_days;
    let interval = i64::try_from(days).ok().filter(|days| *days > 0).map(|days| days.saturating_mul(DAY_MS));
    let data = &house.data;
    Ok(rotation::tend(data, &Dns { house }, house.random.as_ref(), domain, interval, now, anew)?)
}

struct Dns<'h> {
    house: &'h House,
}

impl World for Dns<'_> {
    /// What else the domain lacks is the owner's to agree to, and stays as it is.
    fn write(&self, domain: &str) -> Result<(), String> {
        if !Kept::of(self.house).is_ready() {
            return Ok(());
        }
        let faults = push_keys(self.house, domain).map_err(|error| error.to_string())?;
        faults.into_iter().next().map_or(Ok(()), Err)
    }

    fn are_there(&self, domain: &str, selectors: &[String]) -> Result<bool, String> {
        let facts = dns_facts(self.house, domain, &[]).map_err(|error| error.to_string())?;
        let mut records: Vec<Record> = dnsguide::records(&facts).map_err(|error| error.to_string())?;
        records.retain(|record| selectors.iter().any(|selector| record.name == name(selector, &facts.domain)));
        let (zone, answers) = ask(self.house, &facts.domain, &dnsguide::questions(&facts, &records))?;
        let right = |record: &Record| {
            let verdict = dnsguide::judge(&facts, record, &zone.servers, &answers);
            verdict.is_some_and(|verdict| verdict.state == State::Right)
        };
        Ok(records.len() == selectors.len() && records.iter().all(right))
    }

    fn absent(&self, domain: &str, selectors: &[String]) -> Result<Vec<String>, String> {
        let questions: Vec<(String, Kind)> =
            selectors.iter().map(|selector| (name(selector, domain), Kind::Txt)).collect();
        let (_, answers) = ask(self.house, domain, &questions)?;
        let none = |selector: &&String| {
            let said = answers.get(&(name(selector, domain), Kind::Txt));
            let empty = |one: &Result<Answer, String>| one.as_ref().is_ok_and(|answer| answer.records.is_empty());
            said.is_some_and(|all| !all.is_empty() && all.iter().all(empty))
        };
        Ok(selectors.iter().filter(none).cloned().collect())
    }
}

fn name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

fn ask(house: &House, domain: &str, questions: &[(String, Kind)]) -> Result<(Zone, Answers), String> {
    let asker = asker(house);
    let looked = wait(async {
        // Those that the world asks, never the one that was written to in their place: what is signed with is what others see.
        let zone = match asked_servers(house)? {
            servers if servers.is_empty() => asker.zone_of(domain).await?,
            servers => asker.zone_at(domain, &servers).await?,
        };
        let answers = asker.ask_all(&zone, questions).await;
        Ok::<_, String>((zone, answers))
    });
    looked.map_err(|error| error.to_string())?
}
