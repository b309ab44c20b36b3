//! `device add|link|list|remove`: mail programs with passwords of their own.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::directory::manage::device::{self, Device, NewDevice, Password};
use crate::directory::manage::invitation::digest;
use crate::message::date::{Date, iso_minute, rfc3339};
use crate::settings::Settings;

use super::super::house::House;
use super::{Done, Error, Reply, Secret};

/// The password was made by whoever asks, so that no reply holds it (V2).
pub(super) fn add(house: &House, address: &str, name: &str, secret: &Secret) -> Done {
    let password = Password::read(&secret.0);
    let password = password.ok_or_else(|| Error::Words("this is not a password as devices have them".to_owned()))?;
    let new = NewDevice::prepare(&house.data.read()?, address, name, &password, house.clock.now())?;
    let made = house.data.write_blocking(move |txn| device::add(txn, &new).map_err(Error::from))?.value;
    Ok(Reply::done(format!("{}\n", line(&made)), as_json(&made)))
}

/// A device whose password goes to it in a profile, which is fetched by the link with this secret.
pub(super) fn link(house: &House, address: &str, name: &str, link: &Secret) -> Done {
    // Who could choose short ones could guess them.
    if link.0.len() < 32 {
        return Err(Error::Words("this link is too short".to_owned()));
    }
    let (address, name, digest) = (address.to_owned(), name.to_owned(), digest(&link.0));
    let now = house.clock.now();
    let made = house
        .data
        .write_blocking(move |txn| device::add_with_link(txn, &address, &name, &digest, now).map_err(Error::from))?
        .value;
    Ok(Reply::done(format!("{}\n", line(&made)), as_json(&made)))
}

pub(super) fn list(house: &House, address: &str) -> Done {
    let all = house.directory.devices(address)?;
    let text = all.iter().fold(String::new(), |mut text, one| {
        let _ = writeln!(text, "{}", line(one));
        text
    });
    Ok(Reply::done(text, Value::Array(all.iter().map(as_json).collect())))
}

pub(super) fn remove(house: &House, address: &str, id: u32) -> Done {
    let address = address.to_owned();
    let gone = house.data.write_blocking(move |txn| device::remove(txn, &address, id).map_err(Error::from))?.value;
    Ok(Reply::done(format!("{} cannot log in any more.\n", gone.name), as_json(&gone)))
}

/// Where the link with this secret leads.
pub(in super::super) fn profile_link_of(settings: &Settings, link: &Secret) -> String {
    let port = match settings.listeners.https.port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    format!("https://{}{port}{}{}", settings.hostname, crate::web::devices::PROFILE, link.0)
}

fn line(one: &Device) -> String {
    let state = match (one.used, one.waits) {
        (Some(used), _) => format!("last used {}", iso_minute(Date::utc(used))),
        (None, Some(until)) => format!("its profile waits until {}", iso_minute(Date::utc(until))),
        (None, None) => "has not logged in yet".to_owned(),
    };
    format!("{}  {}  since {}  {state}", one.id, one.name, iso_minute(Date::utc(one.made)))
}

fn as_json(one: &Device) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "created": rfc3339(Date::utc(one.made)),
        "used": one.used.map(|used| rfc3339(Date::utc(used))),
        "waits-until": one.waits.map(|until| rfc3339(Date::utc(until))),
    })
}
