//! Into the accounts of the household.

use crate::account::{self, Letter, Place, SpecialUse, mailbox, quota};
use crate::base::Time;
use crate::directory::LocalRecipient;
use crate::store::Txn;

use super::envelope::Envelope;

/// The accounts that get a copy now, each once, however many of its addresses were named.
pub(super) fn accounts(envelope: &Envelope) -> Vec<LocalRecipient> {
    // RFC 4865: they get it when its time has come.
    if envelope.release.is_some() {
        return Vec::new();
    }
    let mut found: Vec<LocalRecipient> = Vec::new();
    for local in envelope.recipients.iter().flat_map(|recipient| &recipient.target.local) {
        if !found.iter().any(|other| other.account == local.account) {
            found.push(local.clone());
        }
    }
    found
}

/// Puts the letter into each account's INBOX, or into Junk where there is one and it belongs there. Whether there is room was asked at RCPT, when the letter's size need not
/// have been known: now it is, and if no account has room for it, and nothing goes elsewhere, the letter is refused. If
/// one has, all take it, since a letter is accepted or refused whole (DESIGN section 4).
pub(super) fn put(
    txn: &mut Txn<'_>,
    accounts: &[LocalRecipient],
    letter: &Letter,
    junk: bool,
    leaves: bool,
    now: Time,
) -> Result<(), account::Error> {
    let mut room = leaves || accounts.is_empty();
    for local in accounts {
        match quota::check(&*txn, local.account, letter.size(), local.quota) {
            Ok(()) => room = true,
            Err(account::Error::OverQuota) => {}
            Err(error) => return Err(error),
        }
    }
    if !room {
        return Err(account::Error::OverQuota);
    }
    for local in accounts {
        let aside = match junk {
            true => mailbox::special(&*txn, local.account, SpecialUse::Junk)?,
            false => None,
        };
        let place = Place { mailbox: aside.map_or(account::INBOX, |junk| junk.id), flags: account::Flags::default() };
        account::append(txn, local.account, letter, &[place], now, now, None)?;
    }
    Ok(())
}
