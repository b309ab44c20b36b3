//! People, addresses, domains and credentials; `internal` keeps them in the data store, other kinds come later behind the
//! same trait.
//!
//! Does not know: protocols, mailboxes, messages.
//!
//! Invariants, cited by tests:
//! - U1: whether a user exists cannot be told from a log-in's answer or its time.
//! - U2: a secret appears in no log, no `--json`, no panic.

use std::future::Future;

use crate::base::AccountId;
use crate::store;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Store(store::Error),
    NoSuchAccount(String),
    NoSuchDomain(String),
    NoSuchAlias(String),
    Exists(String),
    /// Not an address, domain or password that can be used; the sentence says why.
    Unusable(String),
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
}

/// RFC 5802 3, SHA-256, as stored beside the argon2id hash.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredScram {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

/// Where people are looked up.
pub trait Directory: Send + Sync + 'static {
    fn resolve(&self, address: &str) -> impl Future<Output = Result<Resolution, Error>> + Send;

    /// `None`: refused, whatever the reason (U1). At most two argon2 run at once; a success is cached under a key made at
    /// start.
    fn authenticate(&self, user: &str, password: &str) -> impl Future<Output = Result<Option<Account>, Error>> + Send;

    /// Unknown users get a stable fake salt (U1); such keys never verify.
    fn scram_keys(&self, user: &str) -> impl Future<Output = Result<StoredScram, Error>> + Send;

    /// The account with this address (or log-in name), if it may log in.
    fn account(&self, user: &str) -> impl Future<Output = Result<Option<Account>, Error>> + Send;

    /// May this account write as `address`? Its own, its aliases, its subaddresses.
    fn may_send_as(&self, account: AccountId, address: &str) -> impl Future<Output = Result<bool, Error>> + Send;
}
