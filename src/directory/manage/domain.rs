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
