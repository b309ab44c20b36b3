//! Aliases: an address that stands for others, ours or outside; `@domain` for all that nobody has (the catch-all).

use std::ops::ControlFlow;

use crate::store::{Read, Table, Txn};

use super::super::row::AddressRow;
use super::super::{Address, Error, Resolution, normal_domain, resolve};

/// Addresses of one alias (P7).
const TARGETS: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub address: String,
    pub targets: Vec<String>,
}

/// Makes an alias, or adds targets to one that is there. A target of ours must reach somebody, and not through the alias
/// itself.
pub fn add(txn: &mut Txn<'_>, alias: &str, targets: &[String]) -> Result<Alias, Error> {
    let (key, domain) = key_of(alias)?;
    if !resolve::is_ours(txn, &domain)? {
        return Err(Error::NoSuchDomain(domain));
    }
    let mut all = match resolve::address_row(txn, &key)? {
        None => Vec::new(),
        Some(AddressRow::Alias(there)) => there,
        Some(AddressRow::Account(_)) => return Err(Error::Exists(key)),
    };
    for target in targets {
        let target = Address::parse(target)?;
        if resolve::is_ours(txn, target.domain())? {
            if resolve::resolve(txn, &target.to_string())? == Resolution::Unknown {
                return Err(Error::NoSuchAccount(target.key()));
            }
            if super::is_or_under(&target.key(), &key) || leads_to(txn, &target, &key)? {
                return Err(Error::Unusable(format!("{key} would lead to itself through {}", target.key())));
            }
        }
        // Outside, the case of the local part may matter (RFC 5321 2.4), but so it was never told apart in practice.
        let target = target.to_string();
        if !all.contains(&target) {
            all.push(target);
        }
    }
    if all.is_empty() {
        return Err(Error::Unusable(format!("{key} needs an address to point to")));
    }
    if all.len() > TARGETS {
        return Err(Error::Unusable(format!("{key} would point to more than {TARGETS} addresses")));
    }
    super::put_address(txn, &key, &AddressRow::Alias(all.clone()));
    Ok(Alias { address: key, targets: all })
}

/// In the order of the alphabet, catch-alls first.
pub fn list(read: &dyn Read) -> Result<Vec<Alias>, Error> {
    let mut out = Vec::new();
    super::each_address(read, &mut |key, row| {
        if let AddressRow::Alias(targets) = row {
            out.push(Alias { address: key.to_owned(), targets });
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// Deletes an alias, and takes it out of others that pointed to it (U4).
pub fn delete(txn: &mut Txn<'_>, alias: &str) -> Result<(), Error> {
    let (key, _) = key_of(alias)?;
    match resolve::address_row(txn, &key)? {
        Some(AddressRow::Alias(_)) => {
            txn.delete(Table::Addresses, key.as_bytes());
            super::forget_target(txn, &key)?;
            Ok(())
        }
        _ => Err(Error::NoSuchAlias(key)),
    }
}

/// The key of an alias, and its domain.
fn key_of(alias: &str) -> Result<(String, String), Error> {
    match alias.strip_prefix('@') {
        Some(domain) => normal_domain(domain).map(|domain| (format!("@{domain}"), domain)),
        None => Address::parse_new(alias).map(|address| (address.key(), address.domain().to_owned())),
    }
}

/// Whether following `from` comes upon the alias `key`. Each alias was made without a circle, so this ends; the depth is a
/// second lock.
fn leads_to(read: &dyn Read, from: &Address, key: &str) -> Result<bool, Error> {
    let mut waiting = vec![from.clone()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(address) = waiting.pop() {
        if !seen.insert(address.key()) {
            continue;
        }
        let catch_all = format!("@{}", address.domain());
        let user = address.split_subaddress().map(|(user, _)| user.key());
        let mut row = None;
        for step in [Some(address.key()), user, Some(catch_all)].into_iter().flatten() {
            if step == key {
                return Ok(true);
            }
            row = resolve::address_row(read, &step)?;
            if row.is_some() {
                break;
            }
        }
        if let Some(AddressRow::Alias(targets)) = row {
            waiting.extend(targets.iter().filter_map(|target| Address::parse(target).ok()));
        }
    }
    Ok(false)
}
