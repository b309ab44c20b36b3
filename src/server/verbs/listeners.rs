//! `listeners [on|off NAME]`. The switch is a setting; a running server opens or closes the port before it replies.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cert::Method;
use crate::settings::{Name, edit};

use super::super::house::House;
use super::super::limits;
use super::{Done, Reply};

pub(super) fn list(house: &House) -> Done {
    let settings = house.settings.load();
    let mut text = String::new();
    let mut all: Vec<Value> = Vec::new();
    for (name, listener) in settings.listeners.all() {
        let state = if listener.on { "on" } else { "off" };
        let _ = writeln!(text, "{:<12} {:>5}  {state}", name.as_str(), listener.port);
        all.push(json!({ "name": name.as_str(), "port": listener.port, "on": listener.on }));
    }
    // Not to be switched: it listens only while an authority looks, but a firewall has to know of it.
    let config = limits::certificates(&settings);
    if config.directory.is_some() && config.method.is_none_or(|method| method == Method::Http) {
        let port = settings.acme.http_port;
        let _ = writeln!(text, "{:<12} {port:>5}  on (while an authority looks)", Method::Http.as_str());
        all.push(json!({ "name": Method::Http.as_str(), "port": port, "on": true }));
    }
    Ok(Reply::done(text, Value::Array(all)))
}

pub(super) fn switch(house: &House, name: &str, on: bool) -> Done {
    let name: Name = name.parse()?;
    let settings = edit::set(house.folder.path(), &name.switch_key(), on)?;
    let port = settings.listeners.get(name).port;
    house.settings.store(settings.into());
    let state = if on { "on" } else { "off" };
    Ok(Reply::done(
        format!("{name} (port {port}) is {state}.\n"),
        json!({ "name": name.as_str(), "port": port, "on": on }),
    ))
}
