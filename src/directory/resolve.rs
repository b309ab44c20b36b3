//! What an address is to us: itself, without its subaddress, the administrator's duty, the catch-all, in this order.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::base::AccountId;
use crate::store::schema::{Key, Table};
use crate::store::{self, Read};

use super::address::Address;
use super::row::{AccountRow, AddressRow, DomainRow, decode};
use super::{Error, LocalRecipient, Resolution};

/// Aliases within aliases; what lies deeper is nobody.
const DEPTH: usize = 10;
/// Addresses that one may stand for, all its aliases followed (P7).
const TARGETS: usize = 1000;
/// The first key behind every row of a table keyed by text or by a number.
pub(super) const END: [u8; 32] = [0xff; 32];

/// Looks an address up as RCPT gives it.
pub fn resolve(read: &dyn Read, address: &str) -> Result<Resolution, Error> {
    let Ok(parsed) = Address::parse(address) else {
        // RFC 5321 4.1.1.3: <Postmaster> stands without a domain.
        if address.eq_ignore_ascii_case("postmaster") {
            let first = administrator(read)?.map(|(id, row)| recipient(id, &row, None));
            return Ok(first.map_or(Resolution::Unknown, |first| Resolution::Local(vec![first])));
        }
        // An address literal is a host, and not this one's name.
        let literal = address.ends_with(']') && address.contains("@[");
        return Ok(if literal { Resolution::Remote } else { Resolution::Unknown });
    };
    if !is_ours(read, parsed.domain())? {
        return Ok(Resolution::Remote);
    }
    let mut found = Found::default();
    found.follow(read, &parsed, None, DEPTH)?;
    Ok(if !found.outside.is_empty() {
        Resolution::Forward { local: found.local, outside: found.outside }
    } else if found.local.is_empty() {
        Resolution::Unknown
    } else {
        Resolution::Local(found.local)
    })
}

/// Whether the domain of an address is one of ours.
pub fn lives_here(read: &dyn Read, address: &str) -> Result<bool, Error> {
    match Address::parse(address) {
        Ok(parsed) => Ok(is_ours(read, parsed.domain())?),
        // RFC 5321 4.1.1.3
        Err(_) => Ok(address.eq_ignore_ascii_case("postmaster")),
    }
}

#[derive(Default)]
struct Found {
    local: Vec<LocalRecipient>,
    outside: Vec<String>,
    visited: BTreeSet<String>,
}

impl Found {
    /// Follows an address of ours. `detail` is the subaddress under which an alias on the way was written to.
    fn follow(&mut self, read: &dyn Read, address: &Address, detail: Option<&str>, depth: usize) -> Result<(), Error> {
        if depth == 0 || self.visited.len() >= TARGETS || !self.visited.insert(address.key()) {
            return Ok(());
        }
        if let Some(row) = address_row(read, &address.key())? {
            return self.take(read, row, detail, depth);
        }
        // The exact address comes first: alice+shop@ may be somebody's own.
        if let Some((user, sub)) = address.split_subaddress()
            && let Some(row) = address_row(read, &user.key())?
        {
            return self.take(read, row, Some(&sub), depth);
        }
        // RFC 5321 4.5.1 and RFC 2142: these reach a person, whatever else is set up.
        if matches!(address.local(), "postmaster" | "abuse")
            && let Some((id, row)) = administrator(read)?
        {
            self.add(id, &row, detail);
            return Ok(());
        }
        match address_row(read, &format!("@{}", address.domain()))? {
            Some(row) => self.take(read, row, None, depth),
            None => Ok(()),
        }
    }

    fn take(&mut self, read: &dyn Read, row: AddressRow, detail: Option<&str>, depth: usize) -> Result<(), Error> {
        match row {
            AddressRow::Account(id) => {
                let id = AccountId(id);
                if let Some(row) = account_row(read, id)?.filter(|row| !row.is(AccountRow::CLOSING)) {
                    self.add(id, &row, detail);
                }
            }
            AddressRow::Alias(targets) => {
                for target in targets {
                    let Ok(parsed) = Address::parse(&target) else { continue };
                    if is_ours(read, parsed.domain())? {
                        self.follow(read, &parsed, detail, depth - 1)?;
                    } else if !self.outside.contains(&target) && self.outside.len() < TARGETS {
                        self.outside.push(target);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, id: AccountId, row: &AccountRow, detail: Option<&str>) {
        if !self.local.iter().any(|there| there.account == id) {
            self.local.push(recipient(id, row, detail));
        }
    }
}

fn recipient(account: AccountId, row: &AccountRow, detail: Option<&str>) -> LocalRecipient {
    LocalRecipient { account, address: row.address.clone(), subaddress: detail.map(str::to_owned), quota: row.quota }
}

pub(super) fn is_ours(read: &dyn Read, domain: &str) -> Result<bool, store::Error> {
    Ok(domain_row(read, domain)?.is_some())
}

pub(super) fn domain_row(read: &dyn Read, domain: &str) -> Result<Option<DomainRow>, store::Error> {
    read.get(Table::Domains, domain.as_bytes())?.map(|bytes| decode(domain, &bytes)).transpose()
}

pub(super) fn address_row(read: &dyn Read, key: &str) -> Result<Option<AddressRow>, store::Error> {
    read.get(Table::Addresses, key.as_bytes())?.map(|bytes| decode(key, &bytes)).transpose()
}

pub(super) fn account_key(id: AccountId) -> Vec<u8> {
    Key::new().u32(id.0).build()
}

pub(super) fn account_row(read: &dyn Read, id: AccountId) -> Result<Option<AccountRow>, store::Error> {
    read.get(Table::Accounts, &account_key(id))?.map(|bytes| decode("an account", &bytes)).transpose()
}

/// All accounts in the order of their ids, until `visit` breaks.
pub(super) fn each_account(
    read: &dyn Read,
    visit: &mut dyn FnMut(AccountId, AccountRow) -> ControlFlow<()>,
) -> Result<(), store::Error> {
    let mut wrong = None;
    read.scan(Table::Accounts, &[], &END, store::Order::Forward, &mut |key, value| {
        let id = key.try_into().map(u32::from_be_bytes).map_err(|_| store::Error::Corrupt("an account's key".into()));
        match id.and_then(|id| Ok((AccountId(id), decode("an account", value)?))) {
            Ok((id, row)) => visit(id, row),
            Err(error) => {
                wrong = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    wrong.map_or(Ok(()), Err)
}

/// The first account that administers and is not on its way out.
pub(super) fn administrator(read: &dyn Read) -> Result<Option<(AccountId, AccountRow)>, store::Error> {
    let mut first = None;
    each_account(read, &mut |id, row| {
        if row.is(AccountRow::ADMINISTRATOR) && !row.is(AccountRow::CLOSING) {
            first = Some((id, row));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(first)
}
