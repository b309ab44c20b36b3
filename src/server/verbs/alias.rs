//! `alias add|list|delete`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::directory::manage::alias::{self, Alias};

use super::super::house::House;
use super::{Done, Error, Reply};

pub(super) fn add(house: &House, address: &str, targets: &[String]) -> Done {
    let (address, targets) = (address.to_owned(), targets.to_owned());
    let made = house.data.write_blocking(move |txn| alias::add(txn, &address, &targets).map_err(Error::from))?.value;
    Ok(Reply::done(format!("Mail to {} goes to {}.\n", made.address, made.targets.join(", ")), as_json(&made)))
}

pub(super) fn list(house: &House) -> Done {
    let all = alias::list(&house.data.read()?)?;
    let mut text = String::new();
    for alias in &all {
        let _ = writeln!(text, "{}  {}", alias.address, alias.targets.join(", "));
    }
    Ok(Reply::done(text, Value::Array(all.iter().map(as_json).collect())))
}

pub(super) fn delete(house: &House, address: &str) -> Done {
    let key = address.to_owned();
    house.data.write_blocking(move |txn| alias::delete(txn, &key).map_err(Error::from))?;
    Ok(Reply::done(format!("{address} is no alias any more.\n"), json!({ "alias": address })))
}

fn as_json(alias: &Alias) -> Value {
    json!({ "alias": alias.address, "targets": alias.targets })
}
