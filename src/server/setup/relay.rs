//! The relay (smarthost) that letters are to leave through, where the line cannot send them itself: its name in the settings,
//! its password in a file of its own.

use crate::appliance::dnsguide;
use crate::appliance::wizard::{Relay, Secret};
use crate::settings::{self, edit};

use super::super::house::House;
use super::super::outgoing::{KeptPassword, forget_password, keep_password, kept_password};

/// In the data folder, the owner's only (DESIGN section 6).
pub(in crate::server) const PASSWORD: &str = "relay-password";

pub(super) fn known(house: &House) -> Option<Relay> {
    let relay = house.settings.load().relay.clone();
    if relay.host.is_empty() {
        return None;
    }
    let password = kept_password(house, "", &relay) == KeptPassword::Kept;
    Some(Relay { host: relay.host, port: relay.port, tls: relay.tls, user: relay.user, spf: relay.spf, password })
}

/// Without a host there is no relay any more, and its password goes. An empty password leaves the one that is there. Errors:
/// the field, and a sentence.
pub(super) fn keep(house: &House, relay: &Relay, password: &Secret) -> Result<(), (Option<&'static str>, String)> {
    let path = house.folder.path();
    let failed = |why: String| (None, why);
    if !relay.spf.is_empty() && !dnsguide::is_mechanism(&relay.spf) {
        let words = "That is no part of an SPF record; one is include:_spf.provider.example.".to_owned();
        return Err((Some("spf"), words));
    }
    // The host is the switch: it goes first when everything is to go, and last when it comes.
    if relay.host.is_empty() {
        edit::set(path, "relay.host", "").map_err(|error| failed(error.to_string()))?;
        return forget_password(house, "").map_err(|error| failed(format!("the password is still there: {error}")));
    }
    let known = settings::Relay { host: relay.host.clone(), port: relay.port, ..settings::Relay::default() };
    if !password.0.is_empty() {
        keep_password(house, "", &known, &password.0)
            .map_err(|error| failed(format!("the password cannot be kept: {error}")))?;
    } else if kept_password(house, "", &known) == KeptPassword::ForAnother {
        let words = "The password that is kept is for another server; type the one for this server.".to_owned();
        return Err((Some("password"), words));
    }
    let fields: [(&'static str, &str, &str); 4] = [
        ("tls", "relay.tls", &relay.tls),
        ("user", "relay.user", &relay.user),
        ("spf", "relay.spf", &relay.spf),
        ("host", "relay.host", &relay.host),
    ];
    edit::set(path, "relay.port", u64::from(relay.port))
        .map_err(|_| (Some("port"), "A port is a number from 1 to 65535; relays use 465 or 587.".to_owned()))?;
    for (field, key, value) in fields {
        edit::set(path, key, value).map_err(|_| (Some(field), wrong(field).to_owned()))?;
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
