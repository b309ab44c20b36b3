//! People, addresses, domains and credentials; [`internal`] keeps them in the data store, other kinds come later behind
//! the same trait.
//!
//! Does not know: protocols, mailboxes, messages.
//!
//! Invariants, cited by tests:
//! - U1: whether a user exists cannot be told from a log-in's answer or its time.
//! - U2: a secret appears in no log, no `--json`, no panic.
//! - U3: an address is one thing: an account's own, or an alias. Keys are lower case, NFC, with the domain in A-labels.
//! - U4: an alias points to what exists when it is written, and forgets what is deleted; none leads to itself.
//! - U5: an account that is being closed takes no mail and lets nobody in, from the transaction that began it.
//! - U8: a device's password opens mail, and none of the pages.
//! - U9: a session stays only as long as what let it in ([`Pass`]) is still good, and whoever waits is woken when that may have
//!   changed.
//! - U6: a domain has DKIM keys from the transaction that made it, and they go with it.
//! - U10: a domain always has a key of each kind that signs, and none signs before its record was seen.
//! - U7: an account that is to be deleted lets nobody in from that moment, and takes mail until the deletion begins: taken
//!   back before, it lacks nothing.

use std::fmt;
use std::future::Future;

use crate::base::{AccountId, Family, Fault};
use crate::store;

mod address;
pub mod dkim;
pub mod internal;
pub mod login;
pub mod manage;
mod password;
mod resolve;
pub mod rotation;
mod row;
mod throttle;

pub use address::{Address, normal_domain};
pub use internal::Internal;
pub use password::{Credential, PASSWORD_RULE, fits as fits_password};
pub use resolve::{lives_here, resolve};
#[doc(hidden)]
pub use row::reads_back;
pub use throttle::Throttle;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Store(store::Error),
    NoSuchAccount(String),
    NoSuchDomain(String),
    NoSuchAlias(String),
    /// The link was never made, is used up, or too old.
    NoSuchInvitation,
    NoSuchToken(u32),
    Exists(String),
    /// Not an address, domain or password that can be used; the sentence says why.
    Unusable(String),
    /// The domain still has addresses, or is still pointed to; the sentence names one.
    InUse(String),
    /// Too many log-ins wait to be checked: the world failed for now.
    Busy,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store(error) => write!(f, "the store failed: {error:?}"),
            Error::NoSuchAccount(address) => write!(f, "there is no account {address}"),
            Error::NoSuchDomain(domain) => write!(f, "{domain} is not a domain of this server"),
            Error::NoSuchAlias(address) => write!(f, "there is no alias {address}"),
            Error::NoSuchInvitation => f.write_str("this link has been used already, or it is too old"),
            Error::NoSuchToken(id) => write!(f, "there is no token {id}"),
            Error::Exists(name) => write!(f, "{name} exists already"),
            Error::Unusable(sentence) | Error::InUse(sentence) => f.write_str(sentence),
            Error::Busy => f.write_str("too many log-ins wait to be checked"),
        }
    }
}

impl std::error::Error for Error {}

impl Fault for Error {
    fn family(&self) -> Family {
        match self {
            Error::Store(store::Error::Corrupt(_) | store::Error::Panicked(_)) => Family::Own,
            Error::Store(_) | Error::Busy => Family::World,
            _ => Family::Peer,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::Store(error)
    }
}

/// What an address in RCPT is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// These accounts, each with the subaddress (`alice+shop@` → `shop`) if there is one.
    Local(Vec<LocalRecipient>),
    /// An alias that (also) points outside: these accounts, which may be none, and these addresses elsewhere, at least one.
    Forward { local: Vec<LocalRecipient>, outside: Vec<String> },
    /// The domain is ours, the address is nobody's: 550 5.1.1.
    Unknown,
    /// The domain is not ours: only for who has logged in.
    Remote,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRecipient {
    pub account: AccountId,
    /// The account's own address.
    pub address: String,
    pub subaddress: Option<String>,
    /// Bytes the account may use; `None` is without limit.
    pub quota: Option<u64>,
}

/// An account as log-in sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub address: String,
    pub name: Option<String>,
    pub quota: Option<u64>,
    pub pass: Pass,
}

/// What let a session in: the pass phrase as it was then, or a device's password. Another pass phrase is another one (U9).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    device: Option<u32>,
    fingerprint: [u8; 32],
}

/// RFC 5802 3, SHA-256, as stored beside the argon2id hash.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredScram {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
    /// Those of its devices, made with the same salt.
    pub devices: Vec<DeviceKeys>,
}

/// A device's half of [`StoredScram`].
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    pub device: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

/// Where people are looked up.
pub trait Directory: Send + Sync + 'static {
    fn resolve(&self, address: &str) -> impl Future<Output = Result<Resolution, Error>> + Send;

    /// `None`: refused, whatever the reason (U1). At most two argon2 run at once; a success is cached under a key made at
    /// start.
    fn authenticate(&self, user: &str, password: &str) -> impl Future<Output = Result<Option<Account>, Error>> + Send;

    /// The same without asking anything that takes time: `None` is no refusal, only not known.
    fn remembers(&self, user: &str, password: &str) -> Option<Account> {
        let _ = (user, password);
        None
    }

    /// Unknown users get a stable fake salt (U1); such keys never verify.
    fn scram_keys(&self, user: &str) -> impl Future<Output = Result<StoredScram, Error>> + Send;

    /// The account with this address (or log-in name), if it may log in.
    fn account(&self, user: &str) -> impl Future<Output = Result<Option<Account>, Error>> + Send;

    /// The account and its device whose password this is; cheap, whoever asks.
    fn device(&self, user: &str, password: &str) -> Result<Option<(Account, u32)>, Error> {
        let _ = (user, password);
        Ok(None)
    }

    /// The same account's device has logged in just now.
    fn device_has_logged_in(&self, _account: AccountId, _device: u32) {}

    /// What lets an account in now, by its pass phrase or as this device. `None`: nothing does (any more).
    fn pass(&self, account: AccountId, device: Option<u32>) -> Result<Option<Pass>, Error> {
        let _ = (account, device);
        Ok(Some(Pass::default()))
    }

    /// U9. A store that cannot be read ends nobody's session: whoever asks for something is told.
    fn may_stay(&self, account: &Account) -> bool {
        self.pass(account.id, account.pass.device).map_or(true, |pass| pass == Some(account.pass))
    }

    /// A mail program has logged in to this account just now.
    fn has_logged_in(&self, _account: &Account) {}

    /// May this account write as `address`? As every address whose mail it gets: its own, its aliases, its subaddresses.
    fn may_send_as(&self, account: AccountId, address: &str) -> impl Future<Output = Result<bool, Error>> + Send;
}

impl fmt::Debug for StoredScram {
    // U2: the keys stay inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredScram {{ iterations: {} }}", self.iterations)
    }
}

impl fmt::Debug for Pass {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass {{ device: {:?} }}", self.device)
    }
}

impl fmt::Debug for DeviceKeys {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys {{ device: {} }}", self.device)
    }
}
