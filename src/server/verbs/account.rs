//! `account add|list|show|password|quota|delete|resume`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::account as mailboxes;
use crate::account::quota::Usage;
use crate::base::{AccountId, QueueId, Random, Time};
use crate::delivery::{self, WhyHeld};
use crate::directory::manage::account::{self, NewAccount, Shown};
use crate::directory::manage::invitation;
use crate::directory::{self, Credential};
use crate::message::date::{Date, iso_minute, rfc3339};
use crate::queue;
use crate::settings::Settings;
use crate::store::{Snapshot, Txn};

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
        all.push(as_json(&shown, usage, until(house, &snapshot, &shown)?));
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
    if let Some(since) = shown.stopped {
        let _ = writeln!(text, "sending    stopped on {}: it wrote to too many", minute(since));
    }
    let _ = writeln!(text, "messages   {}", usage.emails);
    let _ = writeln!(text, "size       {}", size(usage.bytes));
    let _ = writeln!(text, "quota      {}", shown.quota.map_or_else(|| "none".to_owned(), size));
    for mailbox in mailboxes::mailbox::list(&snapshot, shown.id)?.into_iter().filter(|mailbox| mailbox.exists) {
        let _ = writeln!(text, "mailbox    {}", mailbox.name);
    }
    let until = until(house, &snapshot, &shown)?;
    if let Some(at) = shown.leaves {
        let _ = writeln!(text, "deletion   {}", minute(at));
    }
    if let Some(until) = until {
        let _ = writeln!(text, "invited    until {}", minute(until));
    }
    Ok(Reply::done(text, as_json(&shown, usage, until)))
}

/// `own`: by the account's owner, who says the old one beforehand.
pub(super) fn password(house: &House, address: &str, password: &Secret, own: bool) -> Done {
    // So that a mistyped address is not answered with what is wrong with the password.
    let shown = account::show(&house.data.read()?, address)?;
    let salt = account::salt(&house.data.read()?, &shown.address)?;
    let credential = Credential::renewed(&shown.address, &password.0, &*house.random, house.clock.now(), salt)?;
    let address = shown.address.clone();
    let set = if own { account::change_password } else { account::set_password };
    let done = house.data.write_blocking(move |txn| {
        let id = set(txn, &address, &credential)?;
        hold_appointed(txn, id)
    })?;
    let held = told_of_held(house, shown.id, &done.value, WhyHeld::NewPhrase);
    Ok(Reply::done(format!("{} has a new password.\n{held}", shown.address), json!({ "address": shown.address })))
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

/// Between the wish to delete an account and its deletion.
const GRACE_DAYS: i64 = 14;

/// Deletes it in some days: from now on nobody may log in, and mail is still taken, so that nothing is missing if the
/// owner thinks better of it.
pub(super) fn leave(house: &House, address: &str) -> Done {
    let (key, at) = (address.to_owned(), house.clock.now().plus_ms(GRACE_DAYS * 24 * 3600 * 1000));
    let done = house.data.write_blocking(move |txn| {
        let id = account::leave(txn, &key, at)?;
        Ok::<_, Error>((id, hold_appointed(txn, id)?))
    })?;
    let (id, held) = done.value;
    let held = told_of_held(house, id, &held, WhyHeld::Leaves(at));
    let words = format!(
        "{address} will be deleted on {}, with all its mail. Until then nobody can log in, mail still arrives, and it can \
         be kept.\n{held}",
        iso_minute(Date::utc(at))
    );
    Ok(Reply::done(words, json!({ "address": address, "leaves": when(at) })))
}

pub(super) fn keep(house: &House, address: &str) -> Done {
    let key = address.to_owned();
    house.data.write_blocking(move |txn| account::stay(txn, &key).map_err(Error::from))?;
    Ok(Reply::done(format!("{address} stays, as it was.\n"), json!({ "address": address })))
}

pub(super) fn resume(house: &House, address: &str) -> Done {
    let key = address.to_owned();
    house.data.write_blocking(move |txn| account::resume_sending(txn, &key).map_err(Error::from))?;
    let words = format!("{address} may send, and what it sends is counted anew.\n");
    Ok(Reply::done(words, json!({ "address": address })))
}

/// Deletes those whose time has come. A clock that nobody checked deletes nothing.
pub(in super::super) fn delete_due(house: &House) -> Result<(), Error> {
    if !house.clock.trusted() {
        return Ok(());
    }
    for address in account::to_be_deleted(&house.data.read()?, house.clock.now())? {
        tracing::info!(address, "the time of an account that was to be deleted has come");
        delete(house, &address)?;
    }
    Ok(())
}

pub(super) fn administrator(house: &House, address: &str, on: bool) -> Done {
    let key = address.to_owned();
    house.data.write_blocking(move |txn| account::set_administrator(txn, &key, on).map_err(Error::from))?;
    let words = if on { "can administer this server now" } else { "administers this server no more" };
    Ok(Reply::done(format!("{address} {words}.\n"), json!({ "address": address, "administrator": on })))
}

/// An account that takes mail from now on, and a link by which its owner chooses the pass phrase. The link's secret was made
/// by whoever asks, so that no reply holds it (V2).
pub(super) fn invite(house: &House, address: &str, name: Option<&str>, quota: Option<u64>, link: &Secret) -> Done {
    let digest = digest_of(link)?;
    let now = house.clock.now();
    let new = NewAccount { address: address.to_owned(), name: name.map(str::to_owned), quota, ..NewAccount::default() };
    let made = house.data.write_blocking(move |txn| {
        let id = account::add_without_password(txn, &new, now)?;
        mailboxes::open(txn, id)?;
        let until = invitation::add(txn, &new.address, &digest, now)?;
        Ok::<_, Error>((id, until))
    })?;
    let (id, until) = made.value;
    let shown = account::by_id(&house.data.read()?, id)?;
    let address = shown.map_or_else(|| address.to_owned(), |shown| shown.address);
    Ok(Reply::done(
        format!("{address} can receive mail. By the link its owner chooses a pass phrase, until {}.\n", minute(until)),
        json!({ "address": address, "until": when(until) }),
    ))
}

/// A link by which an account's owner chooses a new pass phrase; until then the old one holds.
pub(super) fn link(house: &House, address: &str, link: &Secret) -> Done {
    let (key, digest, now) = (address.to_owned(), digest_of(link)?, house.clock.now());
    let made = house.data.write_blocking(move |txn| invitation::add(txn, &key, &digest, now).map_err(Error::from))?;
    let until = made.value;
    Ok(Reply::done(
        format!("By the link the owner of {address} chooses a new pass phrase, until {}.\n", minute(until)),
        json!({ "address": address, "until": when(until) }),
    ))
}

pub(super) fn accept(house: &House, link: &Secret, password: &Secret) -> Done {
    let (digest, now) = (digest_of(link)?, house.clock.now());
    // First, so that nobody is told what is wrong with a pass phrase who has no link.
    let there = invitation::find(&house.data.read()?, &digest, now)?.ok_or(directory::Error::NoSuchInvitation)?;
    let salt = account::salt(&house.data.read()?, &there.address)?;
    let credential = Credential::renewed(&there.address, &password.0, &*house.random, now, salt)?;
    let done = house.data.write_blocking(move |txn| {
        let accepted = invitation::accept(txn, &digest, &credential, now)?;
        let held = hold_appointed(txn, accepted.id)?;
        Ok::<_, Error>((accepted, held))
    })?;
    let (accepted, held) = done.value;
    let held = told_of_held(house, accepted.id, &held, WhyHeld::NewPhrase);
    let address = accepted.address;
    Ok(Reply::done(format!("{address} can log in.\n{held}"), json!({ "address": address })))
}

/// The secret of a new link: 160 bits.
pub(in super::super) fn new_link(random: &dyn Random) -> Secret {
    let mut bytes = [0u8; 20];
    random.fill(&mut bytes);
    Secret(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where it leads.
pub(in super::super) fn link_of(settings: &Settings, link: &Secret) -> String {
    let port = match settings.listeners.https.port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    format!("https://{}{port}/invitation/{}", settings.hostname, link.0)
}

/// Who could choose short secrets could guess them.
fn digest_of(link: &Secret) -> Result<invitation::Digest, Error> {
    if link.0.len() < 32 {
        return Err(Error::Directory(directory::Error::NoSuchInvitation));
    }
    Ok(invitation::digest(&link.0))
}

fn when(time: Time) -> String {
    rfc3339(Date::utc(time))
}

fn minute(time: Time) -> String {
    iso_minute(Date::utc(time))
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

fn hold_appointed(txn: &mut Txn<'_>, id: AccountId) -> Result<Vec<QueueId>, Error> {
    delivery::hold_appointed(txn, id).map_err(|error| Error::Words(error.to_string()))
}

/// For the reply; empty where there are none.
fn told_of_held(house: &House, id: AccountId, held: &[QueueId], why: WhyHeld) -> String {
    if held.is_empty() {
        return String::new();
    }
    let hostname = house.settings.load().hostname.clone();
    let moment = (house.clock.now(), [house.random.u64(), house.random.u64()]);
    if let Err(why) = delivery::tell_of_held(&house.data, id, held, why, &hostname, moment) {
        tracing::error!(why, "that letters are held cannot be told now");
    }
    format!("Letters of it that were to leave later are held: {} (homepost queue list).\n", held.len())
}

/// What a closed account has in the queue and nobody will ever release goes; what is on its way goes on.
fn withdraw(house: &House, account: AccountId) -> Result<(), Error> {
    let entries = queue::list(&house.data.read()?, QueueId(0), usize::MAX);
    let entries = entries.map_err(|error| Error::Words(error.to_string()))?;
    for entry in entries.into_iter().filter(|entry| entry.account == Some(account)) {
        let done = house.data.write_blocking(move |txn| queue::withdraw(txn, entry.id));
        if done.map_err(|error| Error::Words(error.to_string()))?.value > 0 {
            tracing::info!(letter = %entry.id, "a letter that was held or to leave later goes with its account");
        }
    }
    Ok(())
}

/// Removes what is left of a closed account.
pub(in super::super) fn remove_closed(house: &House, id: AccountId) -> Result<(), Error> {
    withdraw(house, id)?;
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
    if shown.stopped.is_some() {
        line.push_str("  sending stopped");
    }
    if let Some(at) = shown.leaves {
        let _ = write!(line, "  to be deleted on {}", minute(at));
    } else if !shown.has_password {
        line.push_str("  has no password yet");
    }
    line
}

/// Until when its link holds.
fn until(house: &House, snapshot: &Snapshot, shown: &Shown) -> Result<Option<Time>, Error> {
    Ok(invitation::open_until(snapshot, shown.id, house.clock.now())?)
}

fn as_json(shown: &Shown, usage: Usage, invited: Option<Time>) -> Value {
    json!({
        "id": shown.id.0,
        "address": shown.address,
        "name": shown.name,
        "quota": shown.quota,
        "administrator": shown.administrator,
        "disabled": shown.disabled,
        "created": shown.created.seconds(),
        "has-password": shown.has_password,
        "leaves": shown.leaves.map(when),
        "stopped": shown.stopped.map(when),
        "invited-until": invited.map(when),
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
