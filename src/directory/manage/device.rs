//! Passwords of devices: each mail program has one of its own beside the pass phrase, which it never sees. It opens mail and
//! nothing else, and goes without the others.
//!
//! They are made here and shown once, random and long, so that what is kept of one may be cheap to check. A device may also
//! begin without: with a link, by which it fetches a profile that has its password in it, once and soon.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::base::{AccountId, Random, Time};
use crate::store::schema::Key;
use crate::store::{Read, Table, Txn};

use super::super::password::scram_of;
use super::super::row::{self, AccountRow, CredentialRow, DeviceRow, decode, encode};
use super::super::{DeviceKeys, Error};
use super::account::{self, credential_key, wake};
use super::invitation::{Digest, digest};

/// Of one account (P7).
pub const MOST: usize = 32;
const NAME_BYTES: usize = 64;
/// How long a link for a profile can be used, in milliseconds.
pub const LINK_MS: i64 = 10 * 60 * 1000;

/// Without those that are taken for others.
const LETTERS: &[u8; 24] = b"abcdefghijkmnpqrstuvwxyz";
/// In groups of four: 24 to the power of 20 are 91 bits.
const LENGTH: usize = 20;
const GROUP: usize = 4;

/// A device's password as it is shown, in groups: `abcd-efgh-ijkm-npqr-stuv`. It has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn make(random: &dyn Random) -> Password {
        let mut letters = Vec::with_capacity(LENGTH);
        while letters.len() < LENGTH {
            let mut bytes = [0u8; 32];
            random.fill(&mut bytes);
            // Only whole turns, or some letters would be likelier than others.
            let fair = bytes.into_iter().filter(|byte| usize::from(*byte) < 240);
            letters.extend(fair.filter_map(|byte| LETTERS.get(usize::from(byte) % LETTERS.len())));
        }
        letters.truncate(LENGTH);
        Password(grouped(&letters))
    }

    /// As somebody may type or paste it: with or without the hyphens, in any case. `None`: it is no such password.
    pub fn read(text: &str) -> Option<Password> {
        // Nobody's is much longer; the rest is looked at by nobody.
        if text.len() > 4 * LENGTH {
            return None;
        }
        let letters: Vec<u8> =
            text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')).map(|byte| byte.to_ascii_lowercase()).collect();
        let fits = letters.len() == LENGTH && letters.iter().all(|byte| LETTERS.contains(byte));
        fits.then(|| Password(grouped(&letters)))
    }

    /// To be shown once, or put into a profile.
    pub fn shown(&self) -> &str {
        &self.0
    }
}

fn grouped(letters: &[u8]) -> String {
    letters.chunks(GROUP).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
}

/// A device as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: u32,
    pub name: String,
    pub made: Time,
    /// When it last logged in, give or take an hour.
    pub used: Option<Time>,
    /// It waits for its profile to be fetched until then.
    pub waits: Option<Time>,
}

/// What is kept of a password, before it is a device's. Made outside a transaction, since it takes its time.
#[derive(Clone)]
pub struct NewDevice {
    address: String,
    name: String,
    keys: Keys,
    now: Time,
}

#[derive(Clone)]
struct Keys {
    digest: Digest,
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Keys {
    /// RFC 5802: the salt is said before it is known which password the other side has, so all of an account share one.
    fn of(read: &dyn Read, id: AccountId, password: &Password) -> Result<Keys, Error> {
        let bytes = read.get(Table::Credentials, &credential_key(id))?;
        let bytes = bytes.ok_or_else(|| Error::Unusable("it has no pass phrase yet; that comes first".into()))?;
        let credential: CredentialRow = decode("a credential", &bytes)?;
        let scram = scram_of(password.shown(), credential.salt, credential.iterations);
        Ok(Keys {
            digest: digest(password.shown()),
            salt: scram.salt,
            iterations: scram.iterations,
            stored_key: scram.stored_key,
            server_key: scram.server_key,
        })
    }

    fn put_into(&self, row: &mut DeviceRow) {
        row.digest = Some(self.digest);
        row.salt = self.salt.clone();
        row.iterations = self.iterations;
        row.stored_key = self.stored_key;
        row.server_key = self.server_key;
        row.link = None;
    }
}

impl NewDevice {
    pub fn prepare(
        read: &dyn Read,
        address: &str,
        name: &str,
        password: &Password,
        now: Time,
    ) -> Result<NewDevice, Error> {
        let (id, _) = account::find(read, address)?;
        let keys = Keys::of(read, id, password)?;
        Ok(NewDevice { address: address.to_owned(), name: fit_name(name)?, keys, now })
    }
}

pub fn add(txn: &mut Txn<'_>, new: &NewDevice) -> Result<Device, Error> {
    let (account, id, mut row) = fresh(txn, &new.address, &new.name, new.now)?;
    new.keys.put_into(&mut row);
    txn.put(Table::Devices, &key(account, id), encode(&row));
    Ok(shown(id, row))
}

/// A device that fetches its profile, and with it its password, by a link with this secret's digest, within [`LINK_MS`].
pub fn add_with_link(txn: &mut Txn<'_>, address: &str, name: &str, link: &Digest, now: Time) -> Result<Device, Error> {
    let name = fit_name(name)?;
    let (account, id, mut row) = fresh(txn, address, &name, now)?;
    if txn.get(Table::Credentials, &credential_key(account))?.is_none() {
        return Err(Error::Unusable("it has no pass phrase yet; that comes first".into()));
    }
    row.link = Some(*link);
    row.until = now.0.saturating_add(LINK_MS);
    txn.put(Table::Devices, &key(account, id), encode(&row));
    Ok(shown(id, row))
}

/// A row for one more device of an account that may log in; what waited in vain makes room.
fn fresh(txn: &mut Txn<'_>, address: &str, name: &str, now: Time) -> Result<(AccountId, u32, DeviceRow), Error> {
    let (account, row) = account::find(txn, address)?;
    if row.is(AccountRow::DISABLED | AccountRow::LEAVING) {
        return Err(Error::Unusable(format!("{} may not log in, so a device would not either", row.address)));
    }
    let mut there = 0;
    for (id, row) in rows(txn, account)? {
        if row.link.is_some() && row.until <= now.0 {
            txn.delete(Table::Devices, &key(account, id));
        } else {
            there += 1;
        }
    }
    if there >= MOST {
        return Err(Error::Unusable(format!("there are {MOST} devices already; remove one first")));
    }
    let number = txn.next("device")?;
    let id = u32::try_from(number).map_err(|_| Error::Unusable("all device numbers are used up".into()))?;
    Ok((account, id, DeviceRow { name: name.to_owned(), made: now.0, ..DeviceRow::default() }))
}

fn fit_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Error::Unusable("a device has a name of at most 64 bytes, on one line".into()));
    }
    Ok(name.to_owned())
}

/// What a link was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    pub account: AccountId,
    /// The account's own address.
    pub address: String,
    pub owner: Option<String>,
    pub device: Device,
}

/// `None`: there is no such link, it is used up, too old, or its owner may not log in (any more).
pub fn linked(read: &dyn Read, link: &Digest, now: Time) -> Result<Option<Linked>, Error> {
    let Some((account, id, row)) = find_link(read, link, now)? else { return Ok(None) };
    let owner = account::by_id(read, account)?;
    let owner = owner.filter(|owner| !owner.closing && !owner.disabled && !owner.leaving() && owner.has_password);
    Ok(owner.map(|owner| Linked { account, address: owner.address, owner: owner.name, device: shown(id, row) }))
}

/// What is kept of the password that the device of a link is to have, before it is.
#[derive(Clone)]
pub struct Fetched {
    keys: Keys,
    link: Digest,
}

impl Fetched {
    pub fn prepare(read: &dyn Read, linked: &Linked, link: &Digest, password: &Password) -> Result<Fetched, Error> {
        Ok(Fetched { keys: Keys::of(read, linked.account, password)?, link: *link })
    }
}

/// Gives the device of a link its password, and uses the link up. Errors: [`Error::NoSuchInvitation`].
pub fn fetch(txn: &mut Txn<'_>, fetched: &Fetched, now: Time) -> Result<Linked, Error> {
    let linked = linked(txn, &fetched.link, now)?.ok_or(Error::NoSuchInvitation)?;
    let (account, id, mut row) = find_link(txn, &fetched.link, now)?.ok_or(Error::NoSuchInvitation)?;
    fetched.keys.put_into(&mut row);
    txn.put(Table::Devices, &key(account, id), encode(&row));
    Ok(linked)
}

fn find_link(read: &dyn Read, link: &Digest, now: Time) -> Result<Option<(AccountId, u32, DeviceRow)>, Error> {
    let all = all(read, &[], &super::super::resolve::END)?;
    let found = all.into_iter().find(|(_, row)| row.link.as_ref() == Some(link) && now.0 < row.until);
    Ok(found.map(|((account, id), row)| (account, id, row)))
}

/// In the order in which they were made; without those that waited in vain.
pub fn list(read: &dyn Read, address: &str, now: Time) -> Result<Vec<Device>, Error> {
    let (account, _) = account::find(read, address)?;
    let rows = rows(read, account)?.into_iter();
    Ok(rows.filter(|(_, row)| row.link.is_none() || now.0 < row.until).map(|(id, row)| shown(id, row)).collect())
}

/// From now on it cannot log in, and its connections end (U9).
pub fn remove(txn: &mut Txn<'_>, address: &str, id: u32) -> Result<Device, Error> {
    let (account, _) = account::find(txn, address)?;
    let Some(row) = row(txn, account, id)? else {
        return Err(Error::Unusable(format!("there is no device {id} of {address}")));
    };
    txn.delete(Table::Devices, &key(account, id));
    wake(txn, account);
    Ok(shown(id, row))
}

/// Those of an account that goes.
pub(super) fn forget(txn: &mut Txn<'_>, account: AccountId) -> Result<(), Error> {
    for (id, _) in rows(txn, account)? {
        txn.delete(Table::Devices, &key(account, id));
    }
    Ok(())
}

/// Notes when it logged in. Does nothing for one that is gone.
pub(in super::super) fn note(txn: &mut Txn<'_>, account: AccountId, id: u32, used: Time) -> Result<(), Error> {
    if let Some(mut row) = row(txn, account, id)? {
        row.used = Some(used.0);
        txn.put(Table::Devices, &key(account, id), encode(&row));
    }
    Ok(())
}

/// The device of an account whose password this is.
pub(in super::super) fn with_password(
    read: &dyn Read,
    account: AccountId,
    password: &Password,
) -> Result<Option<u32>, Error> {
    let wanted = digest(password.shown());
    let mut found = None;
    for (id, row) in rows(read, account)? {
        if row.digest.is_some_and(|digest| bool::from(digest.ct_eq(&wanted))) {
            found = Some(id);
        }
    }
    Ok(found)
}

/// Of its password; `None`: it has none, or is gone.
pub(in super::super) fn fingerprint(read: &dyn Read, account: AccountId, id: u32) -> Result<Option<[u8; 32]>, Error> {
    Ok(row(read, account, id)?.and_then(|row| row.digest))
}

/// Of those whose keys were made with this salt: no others can be proved under it.
pub(in super::super) fn keys(
    read: &dyn Read,
    account: AccountId,
    salt: &[u8],
    iterations: u32,
) -> Result<Vec<DeviceKeys>, Error> {
    let rows = rows(read, account)?.into_iter();
    let fits = rows.filter(|(_, row)| row.digest.is_some() && row.salt == salt && row.iterations == iterations);
    let keys = fits.map(|(device, row)| DeviceKeys { device, stored_key: row.stored_key, server_key: row.server_key });
    Ok(keys.collect())
}

fn shown(id: u32, row: DeviceRow) -> Device {
    Device {
        id,
        name: row.name,
        made: Time(row.made),
        used: row.used.map(Time),
        waits: row.link.map(|_| Time(row.until)),
    }
}

fn row(read: &dyn Read, account: AccountId, id: u32) -> Result<Option<DeviceRow>, Error> {
    let Some(bytes) = read.get(Table::Devices, &key(account, id))? else { return Ok(None) };
    Ok(Some(decode("a device", &bytes)?))
}

fn rows(read: &dyn Read, account: AccountId) -> Result<Vec<(u32, DeviceRow)>, Error> {
    let (from, to) = (Key::new().u32(account.0).build(), Key::new().u32(account.0).u32(u32::MAX).build());
    Ok(all(read, &from, &to)?.into_iter().map(|((_, id), row)| (id, row)).collect())
}

fn all(read: &dyn Read, from: &[u8], to: &[u8]) -> Result<Vec<((AccountId, u32), DeviceRow)>, Error> {
    Ok(row::rows(read, Table::Devices, (from, to), "a device", |key| {
        let (account, id) = key.split_first_chunk::<4>()?;
        Some((AccountId(u32::from_be_bytes(*account)), row::number(id)?))
    })?)
}

fn key(account: AccountId, id: u32) -> Vec<u8> {
    Key::new().u32(account.0).u32(id).build()
}

impl fmt::Debug for NewDevice {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewDevice {{ name: {:?} }}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::SeededRandom;

    use super::*;

    #[test]
    fn a_password_is_read_however_it_is_typed_and_no_two_are_alike() {
        let random = SeededRandom::new(7);
        let one = Password::make(&random);
        assert_eq!(one.shown().len(), LENGTH + LENGTH / GROUP - 1, "{}", one.shown());
        assert!(one.shown().split('-').all(|group| group.len() == GROUP));
        for typed in [
            one.shown().to_owned(),
            one.shown().replace('-', ""),
            one.shown().replace('-', " ").to_uppercase(),
            format!(" {} ", one.shown()),
        ] {
            assert!(Password::read(&typed) == Some(one.clone()), "{typed}");
        }
        let other = Password::make(&random);
        assert_ne!(one.shown(), other.shown());
        for not in
            ["", "abcd", "correct horse battery", &one.shown()[1..], &format!("{}a", one.shown()), &"a".repeat(1000)]
        {
            assert!(Password::read(not).is_none(), "{not}");
        }
        let many: String = (0..200).map(|_| Password::make(&random).shown().replace('-', "")).collect();
        for letter in LETTERS {
            let count = many.bytes().filter(|byte| byte == letter).count();
            assert!((90..260).contains(&count), "{} {count}", char::from(*letter));
        }
    }
}
