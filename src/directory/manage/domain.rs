//! Domains of ours.

use std::ops::ControlFlow;

use crate::base::Time;
use crate::store::{Order, Read, Table, Txn};

use super::super::row::{AddressRow, DomainRow, encode};
use super::super::{Error, dkim, normal_domain, resolve};

/// Gives the domain as it is kept (lower case, A-labels), with its keys (U6).
pub fn add(txn: &mut Txn<'_>, domain: &str, keys: &dkim::NewKeys, now: Time) -> Result<String, Error> {
    let domain = normal_domain(domain)?;
    // RFC 5321 2.3.5: a name others can find.
    if !domain.contains('.') || domain.contains('_') {
        return Err(Error::Unusable(format!("{domain} cannot be used: a domain is a name such as example.org")));
    }
    if resolve::is_ours(txn, &domain)? {
        return Err(Error::Exists(domain));
    }
    txn.put(Table::Domains, domain.as_bytes(), encode(&DomainRow { created: now.0 }));
    dkim::add(txn, &domain, keys)?;
    Ok(domain)
}

/// Moves everything that is in one domain of ours into another, which is made (with these keys) if it is not there: accounts, aliases, the
/// catch-all, and what points to them. Afterwards the first is no domain of ours any more. Gives the domain as it is kept.
/// Errors: [`Error::Exists`] if an address would be there twice.
pub fn rename(txn: &mut Txn<'_>, from: &str, to: &str, keys: &dkim::NewKeys, now: Time) -> Result<String, Error> {
    let from = normal_domain(from)?;
    if !resolve::is_ours(txn, &from)? {
        return Err(Error::NoSuchDomain(from));
    }
    let to = match add(txn, to, keys, now) {
        Ok(made) => made,
        Err(Error::Exists(there)) => there,
        Err(error) => return Err(error),
    };
    if from == to {
        return Ok(to);
    }
    let moved = |address: &str| match address.rsplit_once('@') {
        Some((local, home)) if home == from => Some(format!("{local}@{to}")),
        _ => None,
    };
    let mut all = Vec::new();
    super::each_address(txn, &mut |key, row| {
        all.push((key.to_owned(), row));
        ControlFlow::Continue(())
    })?;
    for (key, row) in all {
        let row = match row {
            AddressRow::Alias(targets) => {
                AddressRow::Alias(targets.into_iter().map(|target| moved(&target).unwrap_or(target)).collect())
            }
            account => account,
        };
        match moved(&key) {
            Some(new) => {
                if resolve::address_row(txn, &new)?.is_some() {
                    return Err(Error::Exists(new));
                }
                txn.delete(Table::Addresses, key.as_bytes());
                super::put_address(txn, &new, &row);
            }
            None => super::put_address(txn, &key, &row),
        }
    }
    let mut accounts = Vec::new();
    resolve::each_account(txn, &mut |id, row| {
        accounts.push((id, row));
        ControlFlow::Continue(())
    })?;
    for (id, mut row) in accounts {
        if let Some(new) = moved(&row.address) {
            row.address = new;
            txn.put(Table::Accounts, &resolve::account_key(id), encode(&row));
        }
    }
    txn.delete(Table::Domains, from.as_bytes());
    dkim::remove(txn, &from)?;
    Ok(to)
}

/// In the order of the alphabet.
pub fn list(read: &dyn Read) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    read.scan(Table::Domains, &[], &resolve::END, Order::Forward, &mut |key, _| {
        out.push(String::from_utf8_lossy(key).into_owned());
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// Errors: [`Error::InUse`] while an address is in it, or an alias elsewhere points into it.
pub fn delete(txn: &mut Txn<'_>, domain: &str) -> Result<(), Error> {
    let domain = normal_domain(domain)?;
    if !resolve::is_ours(txn, &domain)? {
        return Err(Error::NoSuchDomain(domain));
    }
    let is_in = |address: &str| address.rsplit_once('@').is_some_and(|(_, home)| home == domain);
    let mut user = None;
    super::each_address(txn, &mut |key, row| {
        let what = match &row {
            _ if is_in(key) && key.starts_with('@') => Some(format!("its catch-all {key}")),
            AddressRow::Account(_) if is_in(key) => Some(format!("the account {key}")),
            AddressRow::Alias(_) if is_in(key) => Some(format!("the alias {key}")),
            AddressRow::Alias(targets) if targets.iter().any(|target| is_in(target)) => {
                Some(format!("the alias {key}, which points into it"))
            }
            _ => None,
        };
        match what {
            Some(what) => {
                user = Some(what);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    })?;
    if let Some(user) = user {
        return Err(Error::InUse(format!("{domain} cannot be deleted yet: delete {user} first")));
    }
    txn.delete(Table::Domains, domain.as_bytes());
    dkim::remove(txn, &domain)?;
    Ok(())
}
