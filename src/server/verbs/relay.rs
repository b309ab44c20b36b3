//! `relay list|password`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::settings::Relay;

use super::super::house::House;
use super::super::outgoing::{KeptPassword, keep_password, kept_password};
use super::{Done, Error, Reply, Secret};

pub(super) fn list(house: &House) -> Done {
    let (mut text, mut all) = (String::new(), Vec::new());
    for (name, domains, relay) in known(house) {
        let kept = kept_password(house, &name, &relay);
        let takes = match &domains {
            None => "everything".to_owned(),
            Some(domains) if domains.is_empty() => "nothing (it names no domains)".to_owned(),
            Some(domains) => domains.join(", "),
        };
        let user = match (relay.user.as_str(), kept) {
            ("", _) => "without a user name".to_owned(),
            (user, KeptPassword::Kept) => format!("as {user}"),
            (user, KeptPassword::ForAnother) => {
                format!("as {user}, whose password was given for another server (homepost relay password {name})")
            }
            (user, KeptPassword::None) => {
                format!("as {user}, whose password is missing (homepost relay password {name})")
            }
        };
        let shown = if name.is_empty() { "-" } else { &name };
        let _ = writeln!(text, "{shown}  {}:{} {}  {}: {takes}", relay.host, relay.port, relay.tls, user.trim_end());
        all.push(json!({
            "name": name,
            "host": relay.host,
            "port": relay.port,
            "tls": relay.tls,
            "user": relay.user,
            "password": kept == KeptPassword::Kept,
            "spf": relay.spf,
            "domains": domains,
        }));
    }
    if all.is_empty() {
        text.push_str("Letters go to the domains' own servers.\n");
    }
    Ok(Reply::done(text, Value::Array(all)))
}

/// Keeps the password that this server logs in with there, and nowhere else.
pub(super) fn password(house: &House, name: Option<&str>, password: &Secret) -> Done {
    let name = name.unwrap_or_default();
    let Some((_, _, relay)) = known(house).into_iter().find(|(known, _, _)| known == name) else {
        let words = if name.is_empty() { "relay.host names no relay" } else { "the settings name no such relay" };
        return Err(Error::Words(format!("{words}; homepost relay list shows those that there are")));
    };
    keep_password(house, name, &relay, &password.0)
        .map_err(|error| Error::Words(format!("the password cannot be kept: {error}")))?;
    Ok(Reply::done("It counts from the next attempt on.\n", Value::Null))
}

/// Name, domains (`None` for all), and how it is reached.
fn known(house: &House) -> Vec<(String, Option<Vec<String>>, Relay)> {
    let settings = house.settings.load();
    let all = std::iter::once((String::new(), None, settings.relay.clone()));
    let some = settings.relays.iter().map(|one| (one.name.clone(), Some(one.domains.clone()), one.relay.clone()));
    all.chain(some).filter(|(_, _, relay)| !relay.host.is_empty()).collect()
}
