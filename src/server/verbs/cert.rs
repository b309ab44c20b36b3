//! `cert list|renew|import|remove|account`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::base::Time;
use crate::cert::{Account, Alarm, Binding, Entry, Renewed, Source, facts};
use crate::message::Date;
use crate::message::date::{iso_minute, rfc3339};
use crate::net::Pair;

use super::super::house::House;
use super::{Done, Error, Reply, Secret};

pub(super) fn list(house: &House) -> Done {
    let mut text = String::new();
    let mut all = Vec::new();
    for entry in house.certificates.list(house)? {
        let _ = writeln!(text, "{}", entry.names.join(", "));
        match &entry.kept {
            Some((source, facts)) => {
                let how = match source {
                    Source::Imported => "imported, from",
                    Source::Authority => "from",
                };
                let _ = writeln!(text, "    {how} {}, until {}", facts.issuer, words(facts.life.until));
                let missing: Vec<&str> =
                    entry.names.iter().filter(|name| !facts.covers(name)).map(String::as_str).collect();
                if !missing.is_empty() {
                    let _ = writeln!(text, "    not yet for {}", missing.join(", "));
                }
            }
            None => text.push_str("    none from an authority yet; the server's own one serves\n"),
        }
        if let Some(next) = entry.next {
            let _ = writeln!(text, "    next try about {}", words(next));
        }
        if let Some(alarm) = entry.alarm {
            let _ = writeln!(text, "    {}", alarm_words(alarm));
        }
        if let Some((name, trouble)) = &entry.trouble {
            let _ = writeln!(text, "    last problem: {}", trouble.in_full(name));
        }
        all.push(json_of(&entry));
    }
    if let Some(own) = house.folder.pair().map_err(|error| error.to_string())?.and_then(|pair| facts(&pair.chain).ok())
    {
        let _ = writeln!(text, "all other names\n    the server's own certificate, until {}", words(own.life.until));
        all.push(json!({
            "group": "own", "names": own.names, "source": "own", "issuer": own.issuer, "serial": own.serial,
            "from": rfc3339(Date::utc(own.life.from)), "until": rfc3339(Date::utc(own.life.until)),
        }));
    }
    Ok(Reply::done(text, Value::Array(all)))
}

fn json_of(entry: &Entry) -> Value {
    let mut out = json!({
        "group": entry.id,
        "names": entry.names,
        "next": entry.next.map(|next| rfc3339(Date::utc(next))),
        "alarm": entry.alarm,
        "problem": entry.trouble.as_ref().map(|(name, trouble)| json!({
            "name": name,
            "cause": trouble.cause,
            "method": trouble.method,
            "words": trouble.words(name),
            "detail": trouble.detail,
            "until": trouble.until.map(|until| rfc3339(Date::utc(until))),
        })),
    });
    let source = match &entry.kept {
        None => Value::Null,
        Some((Source::Imported, _)) => json!("imported"),
        Some((Source::Authority, _)) => json!("authority"),
    };
    out["source"] = source;
    if let Some((_, facts)) = &entry.kept {
        out["covers"] = json!(facts.names);
        out["issuer"] = json!(facts.issuer);
        out["serial"] = json!(facts.serial);
        out["from"] = json!(rfc3339(Date::utc(facts.life.from)));
        out["until"] = json!(rfc3339(Date::utc(facts.life.until)));
    }
    out
}

fn alarm_words(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::Third => "a third of its time is left, or less",
        Alarm::Sixth => "WARNING: less than a sixth of its time is left",
        Alarm::Twelfth => "WARNING: it ends soon",
        Alarm::Ended => "WARNING: it has ended",
    }
}

fn words(time: Time) -> String {
    iso_minute(Date::utc(time))
}

/// Errors: there is no authority that could be asked.
pub(in super::super) fn may_renew(house: &House) -> Result<(), Error> {
    if house.settings.load().acme.directory.is_empty() {
        let why = "no authority is set: write its address as acme.directory into settings.toml, and reload the server";
        return Err(Error::Words(why.to_owned()));
    }
    Ok(())
}

pub(super) fn renew(house: &House, name: Option<&str>, force: bool) -> Done {
    may_renew(house)?;
    let name = name.map(str::to_ascii_lowercase);
    let known = house.certificates.list(house)?;
    if let Some(name) = &name
        && !known.iter().any(|entry| entry.id == *name || entry.names.contains(name))
    {
        let all: Vec<&str> = known.iter().flat_map(|entry| &entry.names).map(String::as_str).collect();
        return Err(Error::Words(format!("{name} needs no certificate here; these do: {}", all.join(", "))));
    }
    let done = house.certificates.renew(name.as_deref(), force)?;
    if done.is_empty() {
        let text = "Nothing is due. With --force it is renewed all the same, as often as the authority allows.\n";
        return Ok(Reply::done(text, json!([])));
    }
    let mut text = String::new();
    let mut problems = Vec::new();
    for one in &done {
        if let Some(until) = one.until {
            let _ = writeln!(text, "A new certificate for {} serves, until {}.", one.names.join(", "), words(until));
        }
        problems.extend(one.troubles.iter().map(|(name, trouble)| format!("{name}: {}", trouble.in_full(name))));
    }
    let json = Value::Array(done.iter().map(renewed).collect());
    Ok(Reply { text, json, error: (!problems.is_empty()).then(|| problems.join("\n")) })
}

fn renewed(one: &Renewed) -> Value {
    json!({
        "group": one.id,
        "names": one.names,
        "until": one.until.map(|until| rfc3339(Date::utc(until))),
        "problems": one.troubles.iter().map(|(name, trouble)| json!({
            "name": name, "cause": trouble.cause, "words": trouble.words(name), "detail": trouble.detail,
        })).collect::<Vec<_>>(),
    })
}

pub(super) fn import(house: &House, chain: &str, key: &Secret) -> Done {
    let pair = Pair { chain: chain.as_bytes().to_vec(), key: key.0.as_bytes().to_vec() };
    let facts = house.certificates.import(house, pair)?;
    let text = format!(
        "The certificate for {} serves, until {}. It cannot renew itself: bring the next one before.\n",
        facts.names.join(", "),
        words(facts.life.until)
    );
    let until = rfc3339(Date::utc(facts.life.until));
    Ok(Reply::done(
        text,
        json!({ "names": facts.names, "issuer": facts.issuer, "serial": facts.serial, "until": until }),
    ))
}

pub(super) fn remove(house: &House, name: &str) -> Done {
    let name = name.to_ascii_lowercase();
    if !house.certificates.remove(house, &name)? {
        return Err(Error::Words(format!("there is no imported certificate for {name}")));
    }
    Ok(Reply::done(format!("The imported certificate for {name} is removed.\n"), json!({ "name": name })))
}

/// Shows our account with the authority; with a binding, keeps it for the account that will be made.
pub(super) fn account(house: &House, binding: Option<&(String, Secret)>) -> Done {
    if let Some((id, key)) = binding {
        let binding = Binding::new(id, &key.0)?;
        house.certificates.drawer(|drawer| binding.keep(drawer))?;
        house.certificates.poke();
        return Ok(Reply::done("The key is kept, and used when the account is made.\n", json!({ "eab": id })));
    }
    let directory = house.settings.load().acme.directory.clone();
    let account = house.certificates.drawer(|drawer| Account::with(drawer, &directory));
    let text = match &account {
        _ if directory.is_empty() => "No authority is set (acme.directory in settings.toml).\n".to_owned(),
        Some(account) => format!("{directory}\n    account {}\n", account.uri),
        None => format!("{directory}\n    no account yet; it is made with the first certificate\n"),
    };
    Ok(Reply::done(text, json!({ "directory": directory, "account": account.map(|account| account.uri) })))
}
