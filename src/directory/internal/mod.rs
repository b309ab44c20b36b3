//! People kept in the data store.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;

use crate::base::{AccountId, Clock, Random, Time};
use crate::store::{self, Data, Read, Table, Txn};

use super::dkim::NewKeys;
use super::manage::account::{NewAccount, Shown};
use super::manage::alias::Alias;
use super::manage::{account, alias, device, domain};
use super::row::{AccountRow, AddressRow, CredentialRow, decode};
use super::{Account, Address, Credential, Directory, Error, Pass, Resolution, StoredScram, password, resolve};

mod cache;
mod gate;

use cache::Cache;
use gate::Gate;

/// Who may not log in, and not stay either.
const SHUT: u32 = AccountRow::CLOSING | AccountRow::DISABLED | AccountRow::LEAVING;

/// Meta: what the salts of users that do not exist are made from. It outlives restarts, so that they do not change.
const SECRET: &[u8] = b"directory/secret";

/// The directory of this server; share it in an `Arc`.
pub struct Internal {
    data: Data,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Makes salts of users that do not exist.
    secret: hmac::Key,
    /// A hash that no password has.
    dummy: String,
    cache: Cache,
    gate: Gate,
    seen: Mutex<BTreeMap<String, Time>>,
    /// When which device logged in last, of those that did since the start.
    uses: Mutex<BTreeMap<(AccountId, u32), Time>>,
    /// Of these, what is in the store.
    noted: Mutex<BTreeMap<(AccountId, u32), Time>>,
}

impl Internal {
    /// Opens it, making its secret the first time.
    pub async fn open(data: Data, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Internal, Error> {
        let fresh = new_secret(random.as_ref());
        let secret = data.write(move |txn| secret_of(txn, &fresh)).await?.value;
        Internal::with(data, clock, random, &secret)
    }

    /// The same for callers without a runtime.
    pub fn open_blocking(data: Data, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Internal, Error> {
        let fresh = new_secret(random.as_ref());
        let secret = data.write_blocking(move |txn| secret_of(txn, &fresh))?.value;
        Internal::with(data, clock, random, &secret)
    }

    fn with(data: Data, clock: Arc<dyn Clock>, random: Arc<dyn Random>, secret: &[u8]) -> Result<Internal, Error> {
        Ok(Internal {
            dummy: password::dummy_hash(random.as_ref())?,
            cache: Cache::new(random.as_ref()),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            gate: Gate::new(),
            seen: Mutex::default(),
            uses: Mutex::default(),
            noted: Mutex::default(),
            data,
            clock,
            random,
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        act: impl Fn(&mut Txn<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        Ok(self.data.write(act).await?.value)
    }

    /// Whose mail programs have logged in since the start, and when each did first.
    pub fn seen(&self) -> Vec<(String, Time)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(address, at)| (address.clone(), *at)).collect()
    }

    /// Gives the domain as it is kept.
    pub async fn add_domain(&self, name: &str) -> Result<String, Error> {
        let (name, now) = (name.to_owned(), self.clock.now());
        let keys = NewKeys::make(self.random.as_ref(), now)?;
        self.write(move |txn| domain::add(txn, &name, &keys, now)).await
    }

    pub fn domains(&self) -> Result<Vec<String>, Error> {
        domain::list(&self.data.read()?)
    }

    pub async fn delete_domain(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |txn| domain::delete(txn, &name)).await
    }

    pub async fn add_account(&self, new: NewAccount, password: &str) -> Result<AccountId, Error> {
        let credential = self.credential(&new.address, password).await?;
        let now = self.clock.now();
        self.write(move |txn| account::add(txn, &new, &credential, now)).await
    }

    pub fn accounts(&self) -> Result<Vec<Shown>, Error> {
        account::list(&self.data.read()?)
    }

    pub fn show_account(&self, address: &str) -> Result<Shown, Error> {
        account::show(&self.data.read()?, address)
    }

    pub async fn set_password(&self, address: &str, password: &str) -> Result<AccountId, Error> {
        let credential = self.credential(address, password).await?;
        let address = address.to_owned();
        self.write(move |txn| account::set_password(txn, &address, &credential)).await
    }

    pub async fn set_quota(&self, address: &str, quota: Option<u64>) -> Result<AccountId, Error> {
        let address = address.to_owned();
        self.write(move |txn| account::set_quota(txn, &address, quota)).await
    }

    pub async fn set_disabled(&self, address: &str, disabled: bool) -> Result<AccountId, Error> {
        let address = address.to_owned();
        self.write(move |txn| account::set_disabled(txn, &address, disabled)).await
    }

    pub async fn set_administrator(&self, address: &str, administrator: bool) -> Result<AccountId, Error> {
        let address = address.to_owned();
        self.write(move |txn| account::set_administrator(txn, &address, administrator)).await
    }

    /// Begins to delete an account: see [`account::close`]. Then its mail goes, then [`Internal::remove_account`].
    pub async fn close_account(&self, address: &str) -> Result<AccountId, Error> {
        let address = address.to_owned();
        self.write(move |txn| account::close(txn, &address)).await
    }

    pub fn closing_accounts(&self) -> Result<Vec<AccountId>, Error> {
        account::closing(&self.data.read()?)
    }

    pub async fn remove_account(&self, id: AccountId) -> Result<(), Error> {
        self.write(move |txn| account::remove(txn, id)).await
    }

    pub async fn add_alias(&self, address: &str, targets: &[String]) -> Result<Alias, Error> {
        let (address, targets) = (address.to_owned(), targets.to_vec());
        self.write(move |txn| alias::add(txn, &address, &targets)).await
    }

    pub fn aliases(&self) -> Result<Vec<Alias>, Error> {
        alias::list(&self.data.read()?)
    }

    pub async fn delete_alias(&self, address: &str) -> Result<(), Error> {
        let address = address.to_owned();
        self.write(move |txn| alias::delete(txn, &address)).await
    }

    /// Who an account is at this moment, for pages that it signed in to. `None`: it may not log in (any more).
    pub fn standing(&self, id: AccountId) -> Result<Option<Standing>, Error> {
        let read = self.data.read()?;
        let Some(row) = resolve::account_row(&read, id)? else { return Ok(None) };
        if row.is(SHUT) {
            return Ok(None);
        }
        let Some(bytes) = read.get(Table::Credentials, &account::credential_key(id))? else { return Ok(None) };
        Ok(Some(Standing {
            id,
            administrator: row.is(AccountRow::ADMINISTRATOR),
            address: row.address,
            name: row.name,
            fingerprint: *blake3::hash(&bytes).as_bytes(),
        }))
    }

    /// The devices of an account, with what the store does not know yet of their log-ins.
    pub fn devices(&self, address: &str) -> Result<Vec<device::Device>, Error> {
        let read = self.data.read()?;
        let (account, _) = account::find(&read, address)?;
        let mut all = device::list(&read, address, self.clock.now())?;
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        for one in &mut all {
            one.used = uses.get(&(account, one.id)).copied().or(one.used);
        }
        Ok(all)
    }

    /// Writes down when devices logged in: a first log-in soon, later ones once an hour, or all `at_once`.
    pub fn note_devices(&self, at_once: bool) -> Result<(), Error> {
        const HOUR: i64 = 60 * 60 * 1000;
        let due: Vec<((AccountId, u32), Time)> = {
            let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |key: &(AccountId, u32), used: Time| {
                noted.get(key).is_none_or(|noted| if at_once { *noted != used } else { used.0 - noted.0 >= HOUR })
            };
            uses.iter().filter(|(key, used)| is_due(key, **used)).map(|(key, used)| (*key, *used)).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let rows = due.clone();
        self.data.write_blocking(move |txn| {
            rows.iter().try_for_each(|((account, id), used)| device::note(txn, *account, *id, *used))
        })?;
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).extend(due);
        Ok(())
    }

    /// What is kept of a new password, made behind the same gate as log-ins.
    async fn credential(&self, address: &str, password: &str) -> Result<Credential, Error> {
        let (address, password) = (address.to_owned(), password.to_owned());
        let (random, now) = (self.random.clone(), self.clock.now());
        let salt = account::salt(&self.data.read()?, &address).ok().flatten();
        self.gate.run(move || Credential::renewed(&address, &password, random.as_ref(), now, salt)).await?
    }

    /// The account that a log-in name means and what is kept of its password: the row, and the bytes it was read from.
    fn login(&self, user: &str) -> Result<Option<Login>, Error> {
        let Ok(address) = Address::parse(user) else { return Ok(None) };
        let read = self.data.read()?;
        let Some(AddressRow::Account(id)) = resolve::address_row(&read, &address.key())? else { return Ok(None) };
        let id = AccountId(id);
        let Some(row) = resolve::account_row(&read, id)? else { return Ok(None) };
        if row.is(SHUT) {
            return Ok(None);
        }
        let Some(bytes) = read.get(Table::Credentials, &account::credential_key(id))? else { return Ok(None) };
        let credential: CredentialRow = decode("a credential", &bytes)?;
        let fingerprint = *blake3::hash(&bytes).as_bytes();
        let pass = Pass { device: None, fingerprint };
        let account = Account { id, address: row.address, name: row.name, quota: row.quota, pass };
        Ok(Some(Login { account, credential, fingerprint }))
    }

    /// Keys that look like an account's, always the same for the same user, and that nothing verifies against (U1).
    fn fake_keys(&self, user: &str) -> StoredScram {
        let user = Address::parse(user).map(|address| address.key()).unwrap_or_else(|_| user.to_lowercase());
        let made = |what: &[u8]| {
            let mut context = hmac::Context::with_key(&self.secret);
            context.update(what);
            context.update(&[0]);
            context.update(user.as_bytes());
            password::bytes_32(context.sign().as_ref())
        };
        StoredScram {
            devices: Vec::new(),
            salt: made(b"salt").iter().take(password::SALT_BYTES).copied().collect(),
            iterations: password::ITERATIONS,
            stored_key: made(b"stored key"),
            server_key: made(b"server key"),
        }
    }
}

/// An account that may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub id: AccountId,
    pub address: String,
    pub name: Option<String>,
    pub administrator: bool,
    /// Of what is kept of the password: another password, another fingerprint.
    pub fingerprint: [u8; 32],
}

struct Login {
    account: Account,
    credential: CredentialRow,
    /// Of the credential's row: another password, another fingerprint.
    fingerprint: [u8; 32],
}

impl Directory for Internal {
    async fn resolve(&self, address: &str) -> Result<Resolution, Error> {
        resolve::resolve(&self.data.read()?, address)
    }

    fn remembers(&self, user: &str, password: &str) -> Option<Account> {
        let prepared = password::prepare(password)?;
        // A store that cannot be read is found out, and told, by whoever asks in earnest.
        let login = self.login(user).ok()??;
        let tag = self.cache.tag(user, &prepared);
        self.cache.knows(&tag, &login.fingerprint, self.clock.mono()).then_some(login.account)
    }

    async fn authenticate(&self, user: &str, password: &str) -> Result<Option<Account>, Error> {
        // Says nothing about the user, so it may be quick.
        let Some(prepared) = password::prepare(password) else { return Ok(None) };
        let login = self.login(user)?;
        let tag = self.cache.tag(user, &prepared);
        if let Some(login) = &login
            && self.cache.knows(&tag, &login.fingerprint, self.clock.mono())
        {
            return Ok(Some(login.account.clone()));
        }
        // U1: a user who is not there costs the same argon2.
        let phc = login.as_ref().map_or(&self.dummy, |login| &login.credential.argon2).clone();
        let right = self.gate.run(move || password::verify(&prepared, &phc)).await?;
        let Some(login) = login.filter(|_| right) else { return Ok(None) };
        // The wait may have been long: what changed meanwhile counts.
        match self.login(user)? {
            Some(now) if now.fingerprint == login.fingerprint => {
                self.cache.learn(tag, now.fingerprint, self.clock.mono());
                Ok(Some(now.account))
            }
            _ => Ok(None),
        }
    }

    async fn scram_keys(&self, user: &str) -> Result<StoredScram, Error> {
        // U1: made for every user, needed or not.
        let fake = self.fake_keys(user);
        Ok(match self.login(user)? {
            Some(Login { credential, account, .. }) => StoredScram {
                devices: device::keys(&self.data.read()?, account.id, &credential.salt, credential.iterations)?,
                salt: credential.salt,
                iterations: credential.iterations,
                stored_key: credential.stored_key,
                server_key: credential.server_key,
            },
            None => fake,
        })
    }

    fn account(&self, user: &str) -> impl Future<Output = Result<Option<Account>, Error>> + Send {
        let found = self.login(user).map(|login| login.map(|login| login.account));
        async move { found }
    }

    fn device(&self, user: &str, password: &str) -> Result<Option<(Account, u32)>, Error> {
        let Some(password) = device::Password::read(password) else { return Ok(None) };
        let Some(Login { mut account, .. }) = self.login(user)? else { return Ok(None) };
        let Some(device) = device::with_password(&self.data.read()?, account.id, &password)? else { return Ok(None) };
        let Some(pass) = self.pass(account.id, Some(device))? else { return Ok(None) };
        account.pass = pass;
        Ok(Some((account, device)))
    }

    fn pass(&self, account: AccountId, device: Option<u32>) -> Result<Option<Pass>, Error> {
        let read = self.data.read()?;
        if resolve::account_row(&read, account)?.is_none_or(|row| row.is(SHUT)) {
            return Ok(None);
        }
        let fingerprint = match device {
            None => read
                .get(Table::Credentials, &account::credential_key(account))?
                .map(|bytes| *blake3::hash(&bytes).as_bytes()),
            Some(id) => device::fingerprint(&read, account, id)?,
        };
        Ok(fingerprint.map(|fingerprint| Pass { device, fingerprint }))
    }

    fn device_has_logged_in(&self, account: AccountId, device: u32) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.insert((account, device), self.clock.now());
    }

    fn has_logged_in(&self, account: &Account) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(account.address.clone()).or_insert_with(|| self.clock.now());
    }

    async fn may_send_as(&self, account: AccountId, address: &str) -> Result<bool, Error> {
        Ok(match resolve::resolve(&self.data.read()?, address)? {
            Resolution::Local(local) | Resolution::Forward { local, .. } => {
                local.iter().any(|one| one.account == account)
            }
            Resolution::Unknown | Resolution::Remote => false,
        })
    }
}

fn new_secret(random: &dyn Random) -> Vec<u8> {
    let mut secret = vec![0u8; 32];
    random.fill(&mut secret);
    secret
}

fn secret_of(txn: &mut Txn<'_>, fresh: &[u8]) -> Result<Vec<u8>, store::Error> {
    if let Some(secret) = txn.get(Table::Meta, SECRET)? {
        return Ok(secret);
    }
    txn.put(Table::Meta, SECRET, fresh.to_vec());
    Ok(fresh.to_vec())
}

#[cfg(test)]
mod tests;
