//! Accounts. Deleting one has two ends: [`close`] takes its address, its password and its place in aliases at once, the
//! layer above removes its mail in steps, and [`remove`] takes the last row. What a cut left half done is in [`closing`].

use std::ops::ControlFlow;

use crate::base::{AccountId, ModSeq, Time};
use crate::store::schema::{Key, Table};
use crate::store::{Read, Txn};

use super::super::row::{AccountRow, AddressRow, CredentialRow, encode};
use super::super::{Address, Credential, Error, resolve};

/// A name for people is at most as long as this, in bytes.
const NAME_BYTES: usize = 256;

/// What a new account is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAccount {
    pub address: String,
    /// For people, as in "Alice Example".
    pub name: Option<String>,
    /// Bytes; `None` is without limit.
    pub quota: Option<u64>,
    pub administrator: bool,
}

/// An account as its administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub id: AccountId,
    pub address: String,
    pub name: Option<String>,
    pub quota: Option<u64>,
    pub administrator: bool,
    pub disabled: bool,
    pub closing: bool,
    /// When its deletion begins, unless it is taken back.
    pub leaves: Option<Time>,
    /// Since when none of its letters leaves the house, because it wrote to too many.
    pub stopped: Option<Time>,
    /// How often it was let go on after that.
    pub season: u32,
    pub created: Time,
    /// Whether a pass phrase was ever chosen; who was invited has none at first.
    pub has_password: bool,
}

impl Shown {
    /// U7
    pub fn leaving(&self) -> bool {
        self.leaves.is_some()
    }
}

pub fn add(txn: &mut Txn<'_>, new: &NewAccount, credential: &Credential, now: Time) -> Result<AccountId, Error> {
    let id = add_without_password(txn, new, now)?;
    txn.put(Table::Credentials, &credential_key(id), encode(&credential.0));
    Ok(id)
}

/// An account that takes mail, and that nobody can log in to before a pass phrase is chosen.
pub fn add_without_password(txn: &mut Txn<'_>, new: &NewAccount, now: Time) -> Result<AccountId, Error> {
    let address = Address::parse_new(&new.address)?;
    if !resolve::is_ours(txn, address.domain())? {
        return Err(Error::NoSuchDomain(address.domain().to_owned()));
    }
    let key = address.key();
    if resolve::address_row(txn, &key)?.is_some() {
        return Err(Error::Exists(key));
    }
    let name = new.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    if name.as_ref().is_some_and(|name| name.len() > NAME_BYTES || name.chars().any(char::is_control)) {
        return Err(Error::Unusable("the name is too long or has control characters".into()));
    }
    let number = txn.next("account")?;
    let id =
        u32::try_from(number).map(AccountId).map_err(|_| Error::Unusable("all account numbers are used up".into()))?;
    let roles = if new.administrator { AccountRow::ADMINISTRATOR } else { 0 };
    let address = key.clone();
    let row = AccountRow {
        address,
        name,
        quota: new.quota,
        roles,
        created: now.0,
        leaves: None,
        stopped: None,
        season: None,
    };
    put(txn, id, &row);
    super::put_address(txn, &key, &AddressRow::Account(id.0));
    Ok(id)
}

/// In the order of their ids.
pub fn list(read: &dyn Read) -> Result<Vec<Shown>, Error> {
    let mut out = Vec::new();
    resolve::each_account(read, &mut |id, row| {
        out.push(shown(id, row));
        ControlFlow::Continue(())
    })?;
    for one in &mut out {
        one.has_password = has_password(read, one.id)?;
    }
    Ok(out)
}

/// The account with this address of its own.
pub fn show(read: &dyn Read, address: &str) -> Result<Shown, Error> {
    let (id, row) = find(read, address)?;
    Ok(Shown { has_password: has_password(read, id)?, ..shown(id, row) })
}

pub fn by_id(read: &dyn Read, id: AccountId) -> Result<Option<Shown>, Error> {
    let Some(row) = resolve::account_row(read, id)? else { return Ok(None) };
    Ok(Some(Shown { has_password: has_password(read, id)?, ..shown(id, row) }))
}

/// The salt of its SCRAM keys, which a new pass phrase keeps: the keys of its devices stand on it too.
pub fn salt(read: &dyn Read, address: &str) -> Result<Option<Vec<u8>>, Error> {
    let (id, _) = find(read, address)?;
    let Some(bytes) = read.get(Table::Credentials, &credential_key(id))? else { return Ok(None) };
    let credential: CredentialRow = super::super::row::decode("a credential", &bytes)?;
    Ok(Some(credential.salt))
}

fn has_password(read: &dyn Read, id: AccountId) -> Result<bool, Error> {
    Ok(read.get(Table::Credentials, &credential_key(id))?.is_some())
}

/// The same by whoever administers: who had stolen the old one is out, so an account that was stopped for it may send again.
pub fn set_password(txn: &mut Txn<'_>, address: &str, credential: &Credential) -> Result<AccountId, Error> {
    if find(txn, address)?.1.stopped.is_some() {
        resume_sending(txn, address)?;
    }
    change_password(txn, address, credential)
}

/// From now on the old one is worth nothing, and connections that it let in end (U9). An account that was stopped stays so: who
/// knows the old one may be the one who stole it.
pub fn change_password(txn: &mut Txn<'_>, address: &str, credential: &Credential) -> Result<AccountId, Error> {
    let (id, _) = find(txn, address)?;
    txn.put(Table::Credentials, &credential_key(id), encode(&credential.0));
    super::invitation::forget(txn, id);
    wake(txn, id);
    Ok(id)
}

/// From now on none of its letters leaves the house. False: so it was already, or the account is gone.
pub fn stop_sending(txn: &mut Txn<'_>, id: AccountId, now: Time) -> Result<bool, Error> {
    let Some(mut row) = resolve::account_row(txn, id)?.filter(|row| row.stopped.is_none()) else { return Ok(false) };
    row.stopped = Some(now.0);
    put(txn, id, &row);
    Ok(true)
}

/// It may send again, and what it sends is counted anew.
pub fn resume_sending(txn: &mut Txn<'_>, address: &str) -> Result<AccountId, Error> {
    let (id, mut row) = find(txn, address)?;
    row.stopped = None;
    row.season = Some(row.season.unwrap_or(0).wrapping_add(1));
    put(txn, id, &row);
    Ok(id)
}

/// Bytes; `None` is without limit.
pub fn set_quota(txn: &mut Txn<'_>, address: &str, quota: Option<u64>) -> Result<AccountId, Error> {
    let (id, mut row) = find(txn, address)?;
    row.quota = quota;
    put(txn, id, &row);
    Ok(id)
}

/// A disabled account takes mail, and nobody can log in to it.
pub fn set_disabled(txn: &mut Txn<'_>, address: &str, disabled: bool) -> Result<AccountId, Error> {
    set_role(txn, address, AccountRow::DISABLED, disabled)
}

/// Errors: it is the last one that can administer, or one that nobody can log in to.
pub fn set_administrator(txn: &mut Txn<'_>, address: &str, administrator: bool) -> Result<AccountId, Error> {
    let there = show(txn, address)?;
    if administrator && (!there.has_password || there.disabled || there.leaving()) {
        return Err(Error::Unusable(format!("nobody can log in as {} now, so it cannot administer", there.address)));
    }
    set_role(txn, address, AccountRow::ADMINISTRATOR, administrator)
}

/// U7: from now on nobody may log in, and at `at` the deletion is to begin. Errors: it is the last one that can administer.
pub fn leave(txn: &mut Txn<'_>, address: &str, at: Time) -> Result<AccountId, Error> {
    let (id, mut row) = find(txn, address)?;
    if row.is(AccountRow::LEAVING) {
        return Err(Error::Unusable(format!("{} is to be deleted already", row.address)));
    }
    let administered = administers(&row);
    row.roles |= AccountRow::LEAVING;
    row.leaves = Some(at.0);
    put(txn, id, &row);
    if administered {
        someone_administers(txn, &row)?;
    }
    super::invitation::forget(txn, id);
    Ok(id)
}

/// Takes [`leave`] back: the account is as it was before.
pub fn stay(txn: &mut Txn<'_>, address: &str) -> Result<AccountId, Error> {
    let (id, mut row) = find(txn, address)?;
    if !row.is(AccountRow::LEAVING) {
        return Err(Error::Unusable(format!("{} is not to be deleted", row.address)));
    }
    row.roles &= !AccountRow::LEAVING;
    row.leaves = None;
    put(txn, id, &row);
    Ok(id)
}

/// The addresses of accounts whose time has come.
pub fn to_be_deleted(read: &dyn Read, now: Time) -> Result<Vec<String>, Error> {
    let all = list(read)?.into_iter();
    let due = all.filter(|account| !account.closing && account.leaves.is_some_and(|at| at <= now));
    Ok(due.map(|account| account.address).collect())
}

/// Begins the deletion (U5): address, password and aliases go now. Errors: it is the last one that can administer.
pub fn close(txn: &mut Txn<'_>, address: &str) -> Result<AccountId, Error> {
    let id = set_role(txn, address, AccountRow::CLOSING, true)?;
    let Some(row) = resolve::account_row(txn, id)? else { return Err(Error::NoSuchAccount(address.to_owned())) };
    txn.delete(Table::Addresses, row.address.as_bytes());
    txn.delete(Table::Credentials, &credential_key(id));
    super::forget_target(txn, &row.address)?;
    super::invitation::forget(txn, id);
    super::token::forget(txn, id)?;
    super::device::forget(txn, id)?;
    Ok(id)
}

/// Accounts whose deletion has begun, to be gone on with.
pub fn closing(read: &dyn Read) -> Result<Vec<AccountId>, Error> {
    Ok(list(read)?.into_iter().filter(|account| account.closing).map(|account| account.id).collect())
}

/// The last step of a deletion, when its mail is gone. Does nothing for an account that is not there any more.
pub fn remove(txn: &mut Txn<'_>, id: AccountId) -> Result<(), Error> {
    match resolve::account_row(txn, id)? {
        Some(row) if !row.is(AccountRow::CLOSING) => {
            Err(Error::InUse(format!("{} cannot be removed: it was not closed before", row.address)))
        }
        Some(_) => {
            txn.delete(Table::Accounts, &resolve::account_key(id));
            Ok(())
        }
        None => Ok(()),
    }
}

fn set_role(txn: &mut Txn<'_>, address: &str, role: u32, on: bool) -> Result<AccountId, Error> {
    let (id, mut row) = find(txn, address)?;
    let administered = administers(&row);
    row.roles = if on { row.roles | role } else { row.roles & !role };
    put(txn, id, &row);
    if administered && !administers(&row) {
        someone_administers(txn, &row)?;
    }
    Ok(id)
}

fn administers(row: &AccountRow) -> bool {
    row.is(AccountRow::ADMINISTRATOR) && !row.is(AccountRow::CLOSING | AccountRow::DISABLED | AccountRow::LEAVING)
}

/// Asked after the change: an error undoes it with its transaction.
fn someone_administers(read: &dyn Read, changed: &AccountRow) -> Result<(), Error> {
    let mut someone = false;
    resolve::each_account(read, &mut |_, row| {
        someone = administers(&row);
        if someone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match someone {
        true => Ok(()),
        false => Err(Error::Unusable(format!("{} is the only administrator; make another one first", changed.address))),
    }
}

fn put(txn: &mut Txn<'_>, id: AccountId, row: &AccountRow) {
    txn.put(Table::Accounts, &resolve::account_key(id), encode(row));
    if row.is(AccountRow::CLOSING | AccountRow::DISABLED | AccountRow::LEAVING) {
        wake(txn, id);
    }
}

/// U9: the account's sessions look whether they may stay. It is no change of its mail, so no modseq is above it.
pub(super) fn wake(txn: &mut Txn<'_>, id: AccountId) {
    txn.announce(id, ModSeq(0));
}

pub(in super::super) fn credential_key(id: AccountId) -> Vec<u8> {
    Key::new().u32(id.0).u8(CredentialRow::PASSWORD).build()
}

/// By its own address; one that is closing has none any more.
pub(in super::super) fn find(read: &dyn Read, address: &str) -> Result<(AccountId, AccountRow), Error> {
    let key = Address::parse(address)?.key();
    let Some(AddressRow::Account(id)) = resolve::address_row(read, &key)? else {
        return Err(Error::NoSuchAccount(key));
    };
    let id = AccountId(id);
    let row = resolve::account_row(read, id)?.filter(|row| !row.is(AccountRow::CLOSING));
    row.map(|row| (id, row)).ok_or(Error::NoSuchAccount(key))
}

fn shown(id: AccountId, row: AccountRow) -> Shown {
    Shown {
        id,
        administrator: row.is(AccountRow::ADMINISTRATOR),
        disabled: row.is(AccountRow::DISABLED),
        closing: row.is(AccountRow::CLOSING),
        stopped: row.stopped.map(Time),
        season: row.season.unwrap_or(0),
        leaves: row.leaves.filter(|_| row.is(AccountRow::LEAVING)).map(Time),
        created: Time(row.created),
        has_password: false,
        address: row.address,
        name: row.name,
        quota: row.quota,
    }
}
