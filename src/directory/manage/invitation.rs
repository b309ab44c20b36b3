//! Invitations: a link by which somebody chooses a pass phrase of her own, once, until a day that is not far away.
//!
//! Of the link's secret only a digest is kept. A newer link of an account takes the older one's place; a link is used up by
//! the transaction that sets the pass phrase.

use crate::base::{AccountId, Time};
use crate::store::schema::Key;
use crate::store::{Read, Table, Txn};

use super::super::row::{AccountRow, InvitationRow, decode, encode, number, rows};
use super::super::{Credential, Error, resolve};
use super::account::{self, Shown};

/// How long a link can be used.
pub const DAYS: i64 = 7;

/// What the secret of a link is known by. A secret has at least 128 random bits, so nothing slower is needed.
pub type Digest = [u8; 32];

pub fn digest(secret: &str) -> Digest {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// Makes a link for an account, whose pass phrase stays until the new one is chosen. Gives the time until which it holds.
pub fn add(txn: &mut Txn<'_>, address: &str, digest: &Digest, now: Time) -> Result<Time, Error> {
    let (id, row) = account::find(txn, address)?;
    if row.is(AccountRow::DISABLED | AccountRow::LEAVING) {
        return Err(Error::Unusable(format!("{} may not log in, so a link would open nothing", row.address)));
    }
    let until = now.plus_ms(DAYS * 24 * 3600 * 1000);
    let row = InvitationRow { digest: *digest, made: now.0, until: until.0 };
    txn.put(Table::Invitations, &key(id), encode(&row));
    Ok(until)
}

/// Whom a link is for. `None`: there is no such link, it is used up, or too old.
pub fn find(read: &dyn Read, digest: &Digest, now: Time) -> Result<Option<Shown>, Error> {
    for (id, row) in all(read)? {
        if row.digest == *digest && now.0 < row.until {
            let account = account::by_id(read, id)?;
            return Ok(account.filter(|account| !account.closing && !account.leaving() && !account.disabled));
        }
    }
    Ok(None)
}

/// Until when the account's link holds, if there is one.
pub fn open_until(read: &dyn Read, id: AccountId, now: Time) -> Result<Option<Time>, Error> {
    let Some(bytes) = read.get(Table::Invitations, &key(id))? else { return Ok(None) };
    let row: InvitationRow = decode("an invitation", &bytes)?;
    Ok((now.0 < row.until).then_some(Time(row.until)))
}

/// Sets the pass phrase and uses the link up. Errors: [`Error::NoSuchInvitation`].
pub fn accept(txn: &mut Txn<'_>, digest: &Digest, credential: &Credential, now: Time) -> Result<Shown, Error> {
    let account = find(txn, digest, now)?.ok_or(Error::NoSuchInvitation)?;
    account::set_password(txn, &account.address, credential)?;
    Ok(account)
}

/// A new pass phrase, or the account's end, is the end of its link.
pub(super) fn forget(txn: &mut Txn<'_>, id: AccountId) {
    txn.delete(Table::Invitations, &key(id));
}

fn all(read: &dyn Read) -> Result<Vec<(AccountId, InvitationRow)>, Error> {
    let whole = (&[][..], &resolve::END[..]);
    Ok(rows(read, Table::Invitations, whole, "an invitation", |key| number(key).map(AccountId))?)
}

fn key(id: AccountId) -> Vec<u8> {
    Key::new().u32(id.0).build()
}
