//! `dkim list|rotate`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::base::Time;
use crate::directory::manage::domain as domains;
use crate::directory::rotation::{OVERLAP_MS, Rotated, Stage};
use crate::directory::{self, dkim, normal_domain};
use crate::message::date::{Date, iso_minute, rfc3339};

use super::super::dns::tend_one;
use super::super::house::House;
use super::{Done, Error, Reply};

pub(super) fn list(house: &House, domain: Option<&str>) -> Done {
    let read = house.data.read()?;
    let domains = match domain {
        Some(domain) => vec![ours(house, domain)?],
        None => domains::list(&read)?,
    };
    let mut text = String::new();
    let mut all = Vec::new();
    for domain in domains {
        let _ = writeln!(text, "{domain}");
        let public = dkim::list(&read, &domain)?;
        for key in dkim::standing(&read, &domain)? {
            let kind = public.iter().find(|one| one.selector == key.selector).map(|one| one.algorithm.tag());
            let until = (key.stage == Stage::Leaving).then(|| key.since.plus_ms(OVERLAP_MS));
            let words = words(key.stage, key.since, until);
            let _ = writeln!(text, "  {:<12} {:<8} {words}", key.selector, kind.unwrap_or("-"));
            all.push(json!({
                "domain": domain,
                "selector": key.selector,
                "algorithm": kind,
                "stage": key.stage.as_str(),
                "since": when(key.since),
                "until": until.map(when),
            }));
        }
    }
    Ok(Reply::done(text, Value::Array(all)))
}

fn words(stage: Stage, since: Time, until: Option<Time>) -> String {
    let since = minute(since);
    match stage {
        Stage::Coming => format!("waits since {since} until its record is in the DNS"),
        Stage::Signing => format!("signs since {since}"),
        Stage::Leaving => {
            format!("signs nothing any more; its record stays until {}", until.map(minute).unwrap_or_default())
        }
        Stage::Gone => format!("is gone since {since}; its record may be removed"),
    }
}

/// New keys, or those that are coming already: written where that is possible, looked for, and signed with if they are there.
pub(super) fn rotate(house: &House, domain: &str) -> Done {
    let domain = ours(house, domain)?;
    if domain == "home.arpa" || domain.ends_with(".home.arpa") {
        return Err(Error::Words(format!("{domain} stands in nobody's DNS, so its keys are as good as new ones")));
    }
    // How long old records stay is counted from now.
    if !house.clock.trusted() {
        return Err(Error::Words(
            "the clock has not been checked yet, so keys cannot be changed now; please try later".to_owned(),
        ));
    }
    let done = tend_one(house, &domain, house.clock.now(), true)?;
    let Rotated { made, signing, waiting, trouble, .. } = &done;
    let mut text = String::new();
    if !made.is_empty() {
        let _ = writeln!(text, "{domain} has new keys: {}.", made.join(", "));
    }
    if !signing.is_empty() {
        let _ = writeln!(
            text,
            "Their records are in the DNS: from now on letters are signed with {}. The records of the old ones stay for {} days, \
             for letters on their way.",
            signing.join(" and "),
            OVERLAP_MS / (24 * 3600 * 1000)
        );
    }
    if !waiting.is_empty() {
        let _ = writeln!(
            text,
            "They wait until their records are in the DNS, and until then the old ones sign: `homepost dns records {domain}` lists \
             them. It is looked for them by itself some times a day, and with this command at once."
        );
    }
    if let Some(trouble) = trouble {
        let end = if trouble.ends_with(['.', '?']) { "" } else { "." };
        let _ = writeln!(text, "The name servers: {trouble}{end}");
    }
    let json = json!({
        "domain": domain,
        "made": made,
        "signing": signing,
        "waiting": waiting,
        "retired": done.retired,
        "forgotten": done.forgotten,
        "trouble": trouble,
    });
    Ok(Reply::done(text, json))
}

fn ours(house: &House, domain: &str) -> Result<String, Error> {
    let domain = normal_domain(domain)?;
    if !domains::list(&house.data.read()?)?.contains(&domain) {
        return Err(directory::Error::NoSuchDomain(domain).into());
    }
    Ok(domain)
}

fn when(time: Time) -> String {
    rfc3339(Date::utc(time))
}

fn minute(time: Time) -> String {
    iso_minute(Date::utc(time))
}
