//! Making, changing and deleting domains, accounts and aliases. Each function works on a transaction, so that several can
//! be one act; [`super::Internal`] wraps each in one of its own.

pub mod account;
pub mod alias;
pub mod device;
pub mod domain;
pub mod invitation;
pub mod token;

use std::ops::ControlFlow;

use crate::store::{self, Order, Read, Table, Txn};

use super::row::{AddressRow, decode, encode};

/// All addresses in the order of their keys, until `visit` breaks.
fn each_address(
    read: &dyn Read,
    visit: &mut dyn FnMut(&str, AddressRow) -> ControlFlow<()>,
) -> Result<(), store::Error> {
    let mut wrong = None;
    read.scan(Table::Addresses, &[], &super::resolve::END, Order::Forward, &mut |key, value| {
        let text = std::str::from_utf8(key).map_err(|_| store::Error::Corrupt("an address's key".into()));
        match text.and_then(|text| Ok((text, decode(text, value)?))) {
            Ok((text, row)) => visit(text, row),
            Err(error) => {
                wrong = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    wrong.map_or(Ok(()), Err)
}

fn put_address(txn: &mut Txn<'_>, key: &str, row: &AddressRow) {
    txn.put(Table::Addresses, key.as_bytes(), encode(row));
}

/// U4: takes an address that goes (and its subaddresses) out of every alias; an alias without targets goes with it.
fn forget_target(txn: &mut Txn<'_>, gone: &str) -> Result<(), store::Error> {
    let mut gone = vec![gone.to_owned()];
    while let Some(address) = gone.pop() {
        let mut changed = Vec::new();
        each_address(txn, &mut |key, row| {
            if let AddressRow::Alias(mut targets) = row {
                let before = targets.len();
                targets.retain(|target| !is_or_under(target, &address));
                if targets.len() < before {
                    changed.push((key.to_owned(), targets));
                }
            }
            ControlFlow::Continue(())
        })?;
        for (key, targets) in changed {
            if targets.is_empty() {
                txn.delete(Table::Addresses, key.as_bytes());
                gone.push(key);
            } else {
                put_address(txn, &key, &AddressRow::Alias(targets));
            }
        }
    }
    Ok(())
}

/// `alice@…` itself, or `alice+x@…`.
fn is_or_under(target: &str, address: &str) -> bool {
    if target == address {
        return true;
    }
    let (Some((local, domain)), Some((user, home))) = (target.rsplit_once('@'), address.rsplit_once('@')) else {
        return false;
    };
    domain == home && !user.is_empty() && local.strip_prefix(user).is_some_and(|rest| rest.starts_with('+'))
}
