//! Relays (smarthosts) that letters leave through, where the line cannot send them itself or a domain wants it so: their names in
//! the settings, their passwords in files of their own.

use crate::appliance::dnsguide;
use crate::appliance::wizard::{Refusal, Relay, Secret};
use crate::directory::normal_domain;
use crate::settings::{self, edit};

use super::house::House;
use super::outgoing::{KeptPassword, forget_password, keep_password, kept_password};

/// In the data folder, the owner's only (DESIGN section 6).
pub(super) const PASSWORD: &str = "relay-password";

/// The one for all letters.
pub(super) fn known(house: &House) -> Option<Relay> {
    let relay = house.settings.load().relay.clone();
    if relay.host.is_empty() {
        return None;
    }
    let password = kept_password(house, "", &relay) == KeptPassword::Kept;
    Some(Relay { host: relay.host, port: relay.port, tls: relay.tls, user: relay.user, spf: relay.spf, password })
}

/// Without a host there is no relay any more, and its password goes. An empty password leaves the one that is there. `domains`: whose
/// letters it takes, for one with a `name`. The settings that run are as before.
pub(super) fn keep(house: &House, name: &str, domains: &str, relay: &Relay, password: &Secret) -> Result<(), Refusal> {
    let path = house.folder.path();
    let refusal = |field, words: &str| Refusal { field: Some(field), words: words.to_owned() };
    let section = if name.is_empty() { "relay".to_owned() } else { format!("relays.{name}") };
    if !relay.spf.is_empty() && !dnsguide::is_mechanism(&relay.spf) {
        return Err(refusal("spf", "That is no part of an SPF record; one is include:_spf.provider.example."));
    }
    // The host is the switch: it goes first when everything is to go, and last when it comes.
    if relay.host.is_empty() {
        let gone = match name {
            "" => edit::set(path, "relay.host", "").map(drop),
            _ => edit::remove(path, &section).map(drop),
        };
        gone.map_err(|error| Refusal::words(error.to_string()))?;
        return forget_password(house, name)
            .map_err(|error| Refusal::words(format!("the password is still there: {error}")));
    }
    let domains: Vec<String> = domains
        .split([',', ' ', '\r', '\n', '\t'])
        .filter(|one| !one.is_empty())
        .map(|one| match one.strip_prefix('.') {
            Some(below) => normal_domain(below).map(|below| format!(".{below}")),
            None => normal_domain(one),
        })
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if !name.is_empty() {
        if domains.is_empty() {
            return Err(refusal(
                "domains",
                "Type the domains whose letters it takes, as in office.example school.example.",
            ));
        }
        let settings = house.settings.load();
        let mut others = settings.relays.iter().filter(|one| one.name != name && !one.relay.host.is_empty());
        if others.any(|one| one.domains.iter().any(|known| domains.contains(known))) {
            return Err(refusal("domains", "One of these domains has a relay already."));
        }
    }
    let known = settings::Relay { host: relay.host.clone(), port: relay.port, ..settings::Relay::default() };
    if !password.0.is_empty() {
        keep_password(house, name, &known, &password.0)
            .map_err(|error| Refusal::words(format!("the password cannot be kept: {error}")))?;
    } else if kept_password(house, name, &known) == KeptPassword::ForAnother {
        return Err(refusal(
            "password",
            "The password that is kept is for another server; type the one for this server.",
        ));
    }
    edit::set(path, &format!("{section}.port"), u64::from(relay.port))
        .map_err(|_| refusal("port", "A port is a number from 1 to 65535; relays use 465 or 587."))?;
    let mut fields = vec![("tls", &relay.tls), ("user", &relay.user), ("spf", &relay.spf)];
    let domains = domains.join(" ");
    if !name.is_empty() {
        fields.push(("domains", &domains));
    }
    fields.push(("host", &relay.host));
    for (field, value) in fields {
        edit::set(path, &format!("{section}.{field}"), value.as_str()).map_err(|_| refusal(field, wrong(field)))?;
    }
    Ok(())
}

fn wrong(field: &str) -> &'static str {
    match field {
        "host" => "That is not the name of a server. One looks like smtp.provider.example.",
        "user" => "A user name has no spaces in it.",
        "tls" => "Choose one of the two.",
        _ => "That cannot be used.",
    }
}
