//! `domain add|list|delete`.

use serde_json::json;

use crate::directory::dkim::NewKeys;
use crate::directory::manage::domain;

use super::super::house::House;
use super::{Done, Error, Reply};

pub(super) fn add(house: &House, name: &str) -> Done {
    let (name, now) = (name.to_owned(), house.clock.now());
    let keys = NewKeys::make(house.random.as_ref(), now)?;
    let made = house.data.write_blocking(move |txn| domain::add(txn, &name, &keys, now).map_err(Error::from))?.value;
    Ok(Reply::done(format!("Mail for {made} is taken.\n"), json!({ "domain": made })))
}

pub(super) fn list(house: &House) -> Done {
    let all = domain::list(&house.data.read()?)?;
    let text = all.iter().map(|name| format!("{name}\n")).collect::<String>();
    Ok(Reply::done(text, json!(all.iter().map(|name| json!({ "domain": name })).collect::<Vec<_>>())))
}

pub(super) fn delete(house: &House, name: &str) -> Done {
    let key = name.to_owned();
    house.data.write_blocking(move |txn| domain::delete(txn, &key).map_err(Error::from))?;
    Ok(Reply::done(format!("{name} is no domain of this server any more.\n"), json!({ "domain": name })))
}
