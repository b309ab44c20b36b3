//! Relays (smarthosts) that letters leave through, where the line cannot send them itself or a domain wants it so: their names in
//! the settings, their passwords in files of their own.

use std::sync::{Mutex, PoisonError};

use crate::appliance::wizard::{Refusal, Relay, Secret};
use crate::directory::normal_domain;
use crate::settings::{self, Value, edit};

use super::house::House;
use super::outgoing::{KeptPassword, forget_password, keep_password, kept_files, kept_password, put_files};

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

/// Who keeps one looks at what there is first.
static TURN: Mutex<()> = Mutex::new(());

/// Without a host there is no relay any more, and its password goes. An empty password leaves the one that is there. `domains`: whose
/// letters it takes, for one with a `name`. `relay` was [checked](Relay::checked). All of it or nothing; the settings that run are as
/// before.
pub(super) fn keep(house: &House, name: &str, domains: &str, relay: &Relay, password: &Secret) -> Result<(), Refusal> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = house.folder.path();
    let refusal = |field, words: &str| Refusal { field: Some(field), words: words.to_owned() };
    // It is part of the names of files.
    if !name.is_empty() && !settings::is_relay_name(name) {
        return Err(refusal("name", "Give it a short name of letters and digits, as in office."));
    }
    let section = if name.is_empty() { "relay".to_owned() } else { format!("relays.{name}") };
    let forget = || {
        forget_password(house, name).map_err(|error| Refusal::words(format!("the password is still there: {error}")))
    };
    if relay.host.is_empty() {
        let gone = match name {
            "" => edit::set(path, "relay.host", ""),
            _ => edit::remove(path, &section),
        };
        gone.map_err(|error| Refusal::words(error.to_string()))?;
        return forget();
    }
    let domains = match name {
        "" => Vec::new(),
        _ => domains_of(domains).ok_or_else(|| {
            refusal("domains", "Type the domains whose letters it takes, as in office.example school.example.")
        })?,
    };
    let now = settings::Settings::load(path).map_err(|error| Refusal::words(error.to_string()))?;
    let mut others = now.relays.iter().filter(|one| one.name != name && !one.relay.host.is_empty());
    if others.any(|one| one.domains.iter().any(|known| domains.contains(known))) {
        return Err(refusal("domains", "One of these domains has a relay already."));
    }
    let known = settings::Relay { host: relay.host.clone(), port: relay.port, ..settings::Relay::default() };
    let logs_in = !relay.user.is_empty();
    if logs_in && password.0.is_empty() && kept_password(house, name, &known) == KeptPassword::ForAnother {
        return Err(refusal(
            "password",
            "The password that is kept is for another server; type the one for this server.",
        ));
    }
    let mut values = vec![("port", Value::from(u64::from(relay.port)))];
    let texts = [("tls", &relay.tls), ("user", &relay.user), ("spf", &relay.spf), ("host", &relay.host)];
    values.extend(texts.map(|(field, text)| (field, Value::from(text.as_str()))));
    if !name.is_empty() {
        values.push(("domains", Value::from(domains.join(" ").as_str())));
    }
    let keys: Vec<String> = values.iter().map(|(field, _)| format!("{section}.{field}")).collect();
    let changes: Vec<(&str, Value)> = keys.iter().zip(values).map(|(key, (_, value))| (key.as_str(), value)).collect();
    edit::would_be(path, &changes).map_err(|error| Refusal::words(error.to_string()))?;
    // The password is for the new server only, and the old one gets none meanwhile.
    let before = kept_files(house, name);
    let kept = match (logs_in, password.0.is_empty()) {
        (false, _) => forget(),
        (true, true) => Ok(()),
        (true, false) => keep_password(house, name, &known, &password.0)
            .map_err(|error| Refusal::words(format!("the password cannot be kept: {error}"))),
    };
    let written =
        kept.and_then(|()| edit::set_all(path, &changes).map(drop).map_err(|error| Refusal::words(error.to_string())));
    written.inspect_err(|_| put_files(house, name, &before))
}

/// Lower case, A-labels, each once. `None`: there is none, or something else between them.
fn domains_of(text: &str) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for one in text.split([',', ' ', '\r', '\n', '\t']).filter(|one| !one.is_empty()) {
        let domain = match one.strip_prefix('.') {
            Some(below) => format!(".{}", normal_domain(below).ok()?),
            None => normal_domain(one).ok()?,
        };
        if !out.contains(&domain) {
            out.push(domain);
        }
    }
    (!out.is_empty()).then_some(out)
}
