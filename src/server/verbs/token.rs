//! `token list|delete`, and how a page makes one: tokens by which programs reach the interface under /api.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::directory::manage::account;
use crate::directory::manage::invitation::digest;
use crate::directory::manage::token::{self, NewToken, Token};
use crate::message::date::{Date, iso_minute, rfc3339};

use super::super::house::House;
use super::{Done, Error, Reply, Secret};

/// The token itself was made by whoever asks, so that no reply holds it (V2).
pub(super) fn add(house: &House, address: &str, name: &str, scope: &str, days: u32, secret: &Secret) -> Done {
    // Who could choose short ones could guess them.
    if secret.0.len() < 32 {
        return Err(Error::Words("this token is too short".to_owned()));
    }
    let new = NewToken { address: address.to_owned(), name: name.to_owned(), scope: scope.parse()?, days };
    let (digest, now) = (digest(&secret.0), house.clock.now());
    let made = house.data.write_blocking(move |txn| token::add(txn, &new, &digest, now).map_err(Error::from))?.value;
    Ok(Reply::done(format!("{}\n", line(&made, address)), as_json(&made, address)))
}

pub(super) fn list(house: &House) -> Done {
    let read = house.data.read()?;
    let now = house.clock.now();
    let mut text = String::new();
    let mut all = Vec::new();
    for one in token::list(&read)?.into_iter().filter(|one| one.until > now) {
        let owner = account::by_id(&read, one.account)?.map(|owner| owner.address).unwrap_or_default();
        let _ = writeln!(text, "{}", line(&one, &owner));
        all.push(as_json(&one, &owner));
    }
    Ok(Reply::done(text, Value::Array(all)))
}

pub(super) fn delete(house: &House, id: u32) -> Done {
    house.data.write_blocking(move |txn| token::delete(txn, id).map_err(Error::from))?;
    Ok(Reply::done(format!("Token {id} opens nothing any more.\n"), json!({ "id": id })))
}

fn line(one: &Token, owner: &str) -> String {
    format!("{}  {}  {owner}  may {}  until {}", one.id, one.name, one.scope.as_str(), iso_minute(Date::utc(one.until)))
}

fn as_json(one: &Token, owner: &str) -> Value {
    json!({
        "id": one.id,
        "name": one.name,
        "account": owner,
        "scope": one.scope.as_str(),
        "created": rfc3339(Date::utc(one.made)),
        "until": rfc3339(Date::utc(one.until)),
    })
}
