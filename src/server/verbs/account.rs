//! `account add|list|show|password|quota|delete`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::account as mailboxes;
use crate::account::quota::Usage;
use crate::base::AccountId;
use crate::directory::Credential;
use crate::directory::manage::account::{self, NewAccount, Shown};

use super::super::house::House;
use super::{Done, Error, Reply, Secret};

pub(super) fn add(house: &House, address: &str, name: Option<&str>, quota: Option<u64>, password: &Secret) -> Done {
    let now = house.clock.now();
    let credential = Credential::new(address, &password.0, &*house.random, now)?;
    let new = NewAccount { address: address.to_owned(), name: name.map(str::to_owned), quota, ..NewAccount::default() };
    let id = house.data.write_blocking(move |txn| {
        let id = account::add(txn, &new, &credential, now)?;
        mailboxes::open(txn, id)?;
        Ok::<_, Error>(id)
    })?;
    let shown = account::list(&house.data.read()?)?.into_iter().find(|shown| shown.id == id.value);
    let address = shown.map_or_else(|| address.to_owned(), |shown| shown.address);
    Ok(Reply::done(format!("{address} can receive mail and log in.\n"), json!({ "address": address })))
}

pub(super) fn list(house: &House) -> Done {
    let snapshot = house.data.read()?;
    let mut text = String::new();
    let mut all = Vec::new();
    for shown in account::list(&snapshot)?.into_iter().filter(|shown| !shown.closing) {
        let usage = mailboxes::quota::usage(&snapshot, shown.id).unwrap_or_default();
        let _ = writeln!(text, "{}", line(&shown, usage));
        all.push(as_json(&shown, usage));
    }
    Ok(Reply::done(text, Value::Array(all)))
}

pub(super) fn show(house: &House, address: &str) -> Done {
    let snapshot = house.data.read()?;
    let shown = account::show(&snapshot, address)?;
    let usage = mailboxes::quota::usage(&snapshot, shown.id).unwrap_or_default();
    let mut text = String::new();
    let _ = writeln!(text, "address    {}", shown.address);
    if let Some(name) = &shown.name {
        let _ = writeln!(text, "name       {name}");
    }
    let _ = writeln!(text, "role       {}", if shown.administrator { "administrator" } else { "user" });
    if shown.disabled {
        let _ = writeln!(text, "log-in     switched off");
    }
    let _ = writeln!(text, "messages   {}", usage.emails);
    let _ = writeln!(text, "size       {}", size(usage.bytes));
    let _ = writeln!(text, "quota      {}", shown.quota.map_or_else(|| "none".to_owned(), size));
    for mailbox in mailboxes::mailbox::list(&snapshot, shown.id)?.into_iter().filter(|mailbox| mailbox.exists) {
        let _ = writeln!(text, "mailbox    {}", mailbox.name);
    }
    Ok(Reply::done(text, as_json(&shown, usage)))
}

pub(super) fn password(house: &House, address: &str, password: &Secret) -> Done {
    // So that a mistyped address is not answered with what is wrong with the password.
    let shown = account::show(&house.data.read()?, address)?;
    let credential = Credential::new(&shown.address, &password.0, &*house.random, house.clock.now())?;
    let address = shown.address.clone();
    house.data.write_blocking(move |txn| account::set_password(txn, &address, &credential).map_err(Error::from))?;
    Ok(Reply::done(format!("{} has a new password.\n", shown.address), json!({ "address": shown.address })))
}

pub(super) fn quota(house: &House, address: &str, quota: Option<u64>) -> Done {
    let key = address.to_owned();
    house.data.write_blocking(move |txn| account::set_quota(txn, &key, quota).map_err(Error::from))?;
    let shown = account::show(&house.data.read()?, address)?;
    let words = match quota {
        Some(quota) => format!("{} may keep {}.\n", shown.address, size(quota)),
        None => format!("{} has no quota.\n", shown.address),
    };
    Ok(Reply::done(words, json!({ "address": shown.address, "quota": quota })))
}

/// Takes the account out of sight in one act, then its mail in steps; what is cut off, the next start goes on with.
pub(super) fn delete(house: &House, address: &str) -> Done {
    let key = address.to_owned();
    let closed = house.data.write_blocking(move |txn| {
        let id = account::close(txn, &key)?;
        match mailboxes::close(txn, id) {
            Ok(()) | Err(mailboxes::Error::NoSuchAccount) => Ok(id),
            Err(error) => Err(Error::from(error)),
        }
    })?;
    remove_closed(house, closed.value)?;
    Ok(Reply::done(format!("{address} is deleted, with all its mail.\n"), json!({ "address": address })))
}

/// Removes what is left of a closed account.
pub(in super::super) fn remove_closed(house: &House, id: AccountId) -> Result<(), Error> {
    while house.data.write_blocking(move |txn| mailboxes::remove(txn, id))?.value {}
    house.data.write_blocking(move |txn| account::remove(txn, id).map_err(Error::from))?;
    Ok(())
}

fn line(shown: &Shown, usage: Usage) -> String {
    let mut line = format!("{}  {} messages, {}", shown.address, usage.emails, size(usage.bytes));
    if let Some(quota) = shown.quota {
        let _ = write!(line, " of {}", size(quota));
    }
    if shown.administrator {
        line.push_str("  administrator");
    }
    if shown.disabled {
        line.push_str("  log-in switched off");
    }
    line
}

fn as_json(shown: &Shown, usage: Usage) -> Value {
    json!({
        "id": shown.id.0,
        "address": shown.address,
        "name": shown.name,
        "quota": shown.quota,
        "administrator": shown.administrator,
        "disabled": shown.disabled,
        "created": shown.created.seconds(),
        "messages": usage.emails,
        "bytes": usage.bytes,
    })
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.into_iter().skip(1) {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_read_well() {
        assert_eq!(super::size(0), "0 bytes");
        assert_eq!(super::size(1023), "1023 bytes");
        assert_eq!(super::size(1536), "1.5 KiB");
        assert_eq!(super::size(5 << 30), "5.0 GiB");
        assert_eq!(super::size(u64::MAX), "16777216.0 TiB");
    }
}
