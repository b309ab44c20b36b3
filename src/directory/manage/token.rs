//! Tokens of the interface for programs: each has a name, an end, and what it may do; of the token itself a digest is kept.

use crate::base::{AccountId, Time};
use crate::store::schema::Key;
use crate::store::{Read, Table, Txn};

use super::super::row::{TokenRow, encode, number, rows};
use super::super::{Error, resolve};
use super::account::{self, Shown};
use super::invitation::Digest;

/// Tokens of the household (P7).
const MOST: usize = 100;
const NAME_BYTES: usize = 64;
/// The longest life.
pub const DAYS: u32 = 366;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Looks at everything, and changes nothing.
    Read,
    All,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::All => "all",
        }
    }

    fn number(self) -> u8 {
        match self {
            Scope::Read => TokenRow::READ,
            Scope::All => TokenRow::ALL,
        }
    }

    /// What a later version may add is no more than reading here.
    fn of(number: u8) -> Scope {
        if number == TokenRow::ALL { Scope::All } else { Scope::Read }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        match text {
            "read" => Ok(Scope::Read),
            "all" => Ok(Scope::All),
            _ => Err("a token may do `read` or `all`".to_owned()),
        }
    }
}

/// A token as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: u32,
    pub account: AccountId,
    pub name: String,
    pub scope: Scope,
    pub made: Time,
    pub until: Time,
}

/// What a new token is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Of the administrator for whom it speaks.
    pub address: String,
    pub name: String,
    pub scope: Scope,
    pub days: u32,
}

pub fn add(txn: &mut Txn<'_>, new: &NewToken, digest: &Digest, now: Time) -> Result<Token, Error> {
    let owner = account::show(txn, &new.address)?;
    if !may(&owner) {
        return Err(Error::Unusable(format!("{} is no administrator, so a token would open nothing", owner.address)));
    }
    let name = new.name.trim();
    if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Error::Unusable("a token has a name of at most 64 bytes, on one line".into()));
    }
    if new.days == 0 || new.days > DAYS {
        return Err(Error::Unusable(format!("a token holds for 1 to {DAYS} days")));
    }
    let all = list(txn)?;
    // What is over makes room.
    for old in all.iter().filter(|token| token.until <= now) {
        txn.delete(Table::ApiTokens, &key(old.id));
    }
    if all.iter().filter(|token| token.until > now).count() >= MOST {
        return Err(Error::Unusable(format!("there are {MOST} tokens already; revoke one first")));
    }
    let number = txn.next("token")?;
    let id = u32::try_from(number).map_err(|_| Error::Unusable("all token numbers are used up".into()))?;
    let until = now.plus_ms(i64::from(new.days) * 24 * 3600 * 1000);
    let row = TokenRow {
        account: owner.id.0,
        name: name.to_owned(),
        digest: *digest,
        scope: new.scope.number(),
        made: now.0,
        until: until.0,
    };
    txn.put(Table::ApiTokens, &key(id), encode(&row));
    Ok(shown(id, row))
}

/// In the order in which they were made.
pub fn list(read: &dyn Read) -> Result<Vec<Token>, Error> {
    Ok(all(read)?.into_iter().map(|(id, row)| shown(id, row)).collect())
}

/// The token with this digest, and for whom it speaks. `None`: there is none, it is over, or its owner administers no more.
pub fn find(read: &dyn Read, digest: &Digest, now: Time) -> Result<Option<(Token, Shown)>, Error> {
    let Some((id, row)) = all(read)?.into_iter().find(|(_, row)| row.digest == *digest && now.0 < row.until) else {
        return Ok(None);
    };
    let owner = account::by_id(read, AccountId(row.account))?.filter(may);
    Ok(owner.map(|owner| (shown(id, row), owner)))
}

pub fn delete(txn: &mut Txn<'_>, id: u32) -> Result<(), Error> {
    if txn.get(Table::ApiTokens, &key(id))?.is_none() {
        return Err(Error::NoSuchToken(id));
    }
    txn.delete(Table::ApiTokens, &key(id));
    Ok(())
}

/// Those of an account that goes.
pub(super) fn forget(txn: &mut Txn<'_>, account: AccountId) -> Result<(), Error> {
    for token in list(txn)?.into_iter().filter(|token| token.account == account) {
        txn.delete(Table::ApiTokens, &key(token.id));
    }
    Ok(())
}

fn may(owner: &Shown) -> bool {
    owner.administrator && !owner.closing && !owner.disabled && !owner.leaving()
}

fn shown(id: u32, row: TokenRow) -> Token {
    Token {
        id,
        account: AccountId(row.account),
        name: row.name,
        scope: Scope::of(row.scope),
        made: Time(row.made),
        until: Time(row.until),
    }
}

fn all(read: &dyn Read) -> Result<Vec<(u32, TokenRow)>, Error> {
    Ok(rows(read, Table::ApiTokens, (&[], &resolve::END), "a token", number)?)
}

fn key(id: u32) -> Vec<u8> {
    Key::new().u32(id).build()
}
