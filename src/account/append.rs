//! A new letter in an account.

use crate::base::{AccountId, EmailId, MailboxId, ModSeq, ThreadId, Time, Uid};
use crate::store::Txn;

use super::{Error, Flags, Letter};

/// Into which mailbox, and with which flags.
#[derive(Clone, Debug)]
pub struct Place {
    pub mailbox: MailboxId,
    pub flags: Flags,
}

/// Where it came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub mailbox: MailboxId,
    pub uid_validity: u32,
    pub uid: Uid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub email: EmailId,
    pub thread: ThreadId,
    pub modseq: ModSeq,
    /// One for each place, in that order.
    pub places: Vec<Placed>,
}

/// Puts a letter into one account, in one or several mailboxes (one email, one reference to the bytes, one modseq).
///
/// `received` is the internal date, `now` when it is saved. With `quota` (bytes) given it is refused when the account
/// would hold more; delivery that already said yes passes `None`. Errors: [`Error::NoSuchAccount`],
/// [`Error::NoSuchMailbox`], [`Error::OverQuota`], [`Error::Limit`].
pub fn append(
    _txn: &mut Txn<'_>,
    _account: AccountId,
    _letter: &Letter,
    _places: &[Place],
    _received: Time,
    _now: Time,
    _quota: Option<u64>,
) -> Result<Appended, Error> {
    todo!()
}
