//! Into the accounts of the household.

use crate::account::{self, Letter, Place};
use crate::base::{AccountId, Time};
use crate::store::Txn;

use super::envelope::Envelope;

/// The accounts that get a copy, each once, however many of its addresses were named.
pub(super) fn accounts(envelope: &Envelope) -> Vec<(AccountId, String)> {
    let mut found: Vec<(AccountId, String)> = Vec::new();
    for local in envelope.recipients.iter().flat_map(|recipient| &recipient.target.local) {
        if !found.iter().any(|(account, _)| *account == local.account) {
            found.push((local.account, local.address.clone()));
        }
    }
    found
}

/// Puts the letter into each account's INBOX. Quota was asked at RCPT; by now the letter is welcome (DESIGN section 4).
pub(super) fn put(
    txn: &mut Txn<'_>,
    accounts: &[(AccountId, String)],
    letter: &Letter,
    now: Time,
) -> Result<(), account::Error> {
    for (account, _) in accounts {
        let place = Place { mailbox: account::INBOX, flags: account::Flags::default() };
        account::append(txn, *account, letter, &[place], now, now, None)?;
    }
    Ok(())
}
