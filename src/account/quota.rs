//! How much an account holds and may hold.

use crate::base::AccountId;
use crate::store::Read;

use super::{Error, change};

/// What an account holds: each email once, in however many mailboxes it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    pub emails: u64,
}

/// Errors: [`Error::NoSuchAccount`].
pub fn usage(read: &dyn Read, account: AccountId) -> Result<Usage, Error> {
    let ledger = change::ledger(read, account)?.filter(|ledger| !ledger.closing).ok_or(Error::NoSuchAccount)?;
    Ok(Usage { bytes: ledger.bytes, emails: ledger.emails })
}

/// May a letter of `size` bytes come in? Errors: [`Error::OverQuota`], [`Error::NoSuchAccount`].
pub fn check(read: &dyn Read, account: AccountId, size: u64, quota: Option<u64>) -> Result<(), Error> {
    admit(usage(read, account)?.bytes, size, quota)
}

/// The rule itself: what is there and what comes may not be more than the quota.
pub(super) fn admit(used: u64, size: u64, quota: Option<u64>) -> Result<(), Error> {
    match quota {
        Some(quota) if used.saturating_add(size) > quota => Err(Error::OverQuota),
        _ => Ok(()),
    }
}
