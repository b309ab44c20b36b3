//! `dns records|check|use|push`; what needs the network is in `live` and `push`.

mod live;
mod push;

use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::appliance::dnsguide::{self, Account, Facts, Head, Names, Record, Refused};
use crate::cert;
use crate::net::{self, dns::Data};
use crate::settings::Settings;

use super::super::house::House;
use super::{Done, Error, Reply};

pub(super) use live::check;
pub(super) use push::{push, use_method};

/// How a zone file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Form {
    /// With SOA and NS, as a name server loads it.
    Whole,
    /// The records alone, for a provider's importer.
    Records,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Words(refused.0)
    }
}

pub(super) fn records(house: &House, domain: &str, addresses: &[IpAddr], zone: Option<Form>, relative: bool) -> Done {
    let facts = facts(house, domain, addresses)?;
    let all = dnsguide::records(&facts)?;
    if let Some(form) = zone {
        let names = if relative { Names::Relative } else { Names::Full };
        let serial = u32::try_from(house.clock.now().seconds()).unwrap_or(1);
        let head = Head { servers: vec![facts.host.clone()], serial };
        let head = (form == Form::Whole).then_some(&head);
        let file = dnsguide::zone_file(&facts.domain, &all, names, head)?;
        return Ok(Reply::done(file.clone(), json!({ "zone": file })));
    }
    let mut text = format!("Records of {}, whose mail is at {}\n", facts.domain, facts.host);
    for record in &all {
        show(&mut text, record, &facts.domain);
    }
    let list = all.iter().map(|record| object(record, &facts.domain)).collect();
    Ok(Reply::done(text, Value::Array(list)))
}

/// The facts of a domain as far as this house knows them. `addresses` come from whoever asks; without them the addresses of
/// this machine count, if the world can reach such.
pub(in super::super) fn facts(house: &House, domain: &str, addresses: &[IpAddr]) -> Result<Facts, Error> {
    let own;
    let addresses = if addresses.is_empty() {
        own = net::outward_addresses();
        &own
    } else {
        addresses
    };
    let chain = house.certificates.chain(house)?;
    let settings = house.settings.load();
    let authorities = authorities(house, &settings);
    Ok(dnsguide::gather(&house.data.read()?, &settings, chain.as_deref(), domain, addresses, &authorities)?)
}

/// Those with whom we have an account, and whose name in CAA records is known. Where it is rehearsed first, that has to go on
/// working too.
fn authorities(house: &House, settings: &Settings) -> Vec<Account> {
    [&settings.acme.directory, &settings.acme.staging]
        .into_iter()
        .filter(|directory| !directory.is_empty())
        .filter_map(|directory| {
            let authority = cert::caa_name(directory)?;
            let account = house.certificates.drawer(|drawer| cert::Account::with(drawer, directory))?;
            Some(Account { authority: authority.to_owned(), uri: account.uri })
        })
        .collect()
}

fn show(text: &mut String, record: &Record, domain: &str) {
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<9} {value}");
    };
    line("", "");
    match record.relative(domain).filter(|relative| relative != "@") {
        Some(relative) => line("name", &format!("{relative}   (in full: {}.)", record.name)),
        None if record.name == domain => line("name", &format!("@   (in full: {}.)", record.name)),
        None => line("name", &format!("{}.   (not in {domain})", record.name)),
    }
    line("type", record.kind.as_str());
    if let Some(priority) = record.data.as_ref().and_then(Data::priority) {
        line("priority", &priority.to_string());
    }
    line("value", &record.data.as_ref().map_or("?".to_owned(), Data::value));
    if let Some(parts) = parts(record) {
        line("in parts", &parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(" "));
    }
    line("ttl", &record.ttl.to_string());
    line("what for", &record.purpose);
    if let Some(reason) = &record.withheld {
        line("publish", &format!("no: {reason}"));
    }
}

/// A text that is too long for one string, as panels want it that do not split it themselves.
fn parts(record: &Record) -> Option<Vec<String>> {
    let Some(Data::Txt(text)) = &record.data else { return None };
    let parts = dnsguide::split_text(text);
    (parts.len() > 1).then(|| parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect())
}

fn object(record: &Record, domain: &str) -> Value {
    json!({
        "name": record.name,
        "relative": record.relative(domain),
        "type": record.kind.as_str(),
        "priority": record.data.as_ref().and_then(Data::priority),
        "value": record.data.as_ref().map(Data::value),
        "parts": parts(record),
        "ttl": record.ttl,
        "purpose": record.purpose,
        "publish": record.is_for_publishing(),
        "reason": record.withheld,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OsRandom;
    use crate::cert::Keep;
    use crate::directory::dkim;
    use crate::directory::manage::domain;
    use crate::server::folder::Folder;
    use crate::settings::edit;

    /// RFC 8657: with a record for the authority's account alone, the rehearsal with another account would be refused.
    #[test]
    fn the_accounts_with_authorities_are_in_the_records_those_of_a_rehearsal_too() {
        const REAL: &str = "https://acme-v02.api.letsencrypt.org/directory";
        const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        edit::create(dir.path(), "mail.example.test").unwrap();
        let house = House::open(&folder).unwrap();
        let (keys, now) = (dkim::NewKeys::make(&OsRandom, house.clock.now()).unwrap(), house.clock.now());
        house
            .data
            .write_blocking(move |txn| domain::add(txn, "example.test", &keys, now).map_err(Error::from))
            .unwrap();
        let issued = || {
            let records = records(&house, "example.test", &[], None, false).unwrap();
            let caa = records.json.as_array().unwrap().iter().filter(|record| record["type"] == "CAA");
            caa.map(|record| record["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut settings = Settings::clone(&house.settings.load());
        (settings.acme.directory, settings.acme.staging) = (REAL.to_owned(), STAGING.to_owned());
        house.settings.store(std::sync::Arc::new(settings.clone()));
        assert_eq!(issued(), Vec::<String>::new(), "there is no account yet");
        for (directory, uri) in [(REAL, "https://real.test/acct/1"), (STAGING, "https://staging.test/acct/2")] {
            let name = format!("account-{}.json", &blake3::hash(directory.as_bytes()).to_hex()[..16]);
            let account = json!({ "id": uri, "key_pkcs8": "secret" }).to_string();
            house.certificates.drawer(|drawer| drawer.write(&name, account.as_bytes())).unwrap();
        }
        assert_eq!(
            issued(),
            [
                "0 issue \"letsencrypt.org; accounturi=https://real.test/acct/1\"",
                "0 issue \"letsencrypt.org; accounturi=https://staging.test/acct/2\"",
            ]
        );
        settings.acme.directory = "https://ca.example.test/dir".to_owned();
        house.settings.store(std::sync::Arc::new(settings));
        assert_eq!(issued().len(), 1, "how this one is named there is not known");
        house.close().unwrap();
    }
}
