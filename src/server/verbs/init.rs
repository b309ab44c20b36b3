//! `init`: stores, a certificate, the domain, the first account; the settings last (V3). After a cut it can be run again.

use serde_json::json;

use crate::base::{Clock, OsRandom, SystemClock};
use crate::directory::dkim::NewKeys;
use crate::directory::manage::{account, domain};
use crate::directory::{self, Address, Credential};
use crate::net::tls;
use crate::settings::{Settings, edit};
use crate::{account as mailboxes, store};

use super::super::folder::Folder;
use super::super::house::open_data;
use super::{Done, Error, Reply, Secret};

pub(in super::super) fn init(
    folder: &Folder,
    hostname: &str,
    domain: &str,
    admin: &str,
    name: Option<&str>,
    password: &Secret,
) -> Done {
    if folder.is_set_up() {
        return Err(Error::Words(format!("{} is set up already", folder.path().display())));
    }
    // Everything that can be wrong is looked at before anything is made.
    let settings = Settings::new(hostname).map_err(|problems| {
        Error::Words(problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>().join("\n"))
    })?;
    let domain = directory::normal_domain(domain)?;
    let address = Address::parse_new(admin)?;
    if address.domain() != domain {
        return Err(Error::Words(format!("the first account's address has to be in the domain {domain}")));
    }
    let clock = SystemClock::new();
    let credential = Credential::new(&address.key(), &password.0, &OsRandom, clock.now())?;

    if folder.pair().map_err(|error| error.to_string())?.is_none() {
        let pair = tls::self_signed(std::slice::from_ref(&settings.hostname)).map_err(|error| error.to_string())?;
        folder.put_pair(&pair).map_err(|error| format!("the certificate cannot be kept: {error}"))?;
    }
    let data = open_data(folder, &settings)?;
    let people = people(&data, &domain, &address, name, credential, &clock);
    data.close()?;
    people?;
    edit::create(folder.path(), &settings.hostname)?;
    let words = format!(
        "{} is set up: {} takes mail for {domain}, {} is its administrator.\n",
        folder.path().display(),
        settings.hostname,
        address.key()
    );
    Ok(Reply::done(words, json!({ "hostname": settings.hostname, "domain": domain, "admin": address.key() })))
}

/// The domain and its administrator in one transaction.
fn people(
    data: &store::Data,
    domain_name: &str,
    address: &Address,
    name: Option<&str>,
    credential: Credential,
    clock: &SystemClock,
) -> Result<(), Error> {
    let (domain_name, key, now) = (domain_name.to_owned(), address.key(), clock.now());
    let keys = NewKeys::make(&OsRandom, now)?;
    let name = name.map(str::to_owned);
    let made = data.write_blocking(move |txn| {
        match domain::add(txn, &domain_name, &keys, now) {
            Ok(_) | Err(directory::Error::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let new =
            account::NewAccount { address: key.clone(), name: name.clone(), administrator: true, ..Default::default() };
        match account::add(txn, &new, &credential, now) {
            Ok(id) => mailboxes::open(txn, id)?,
            // A set-up that was cut off got this far: the password of this one counts.
            Err(directory::Error::Exists(_)) => {
                account::set_password(txn, &key, &credential)?;
                account::set_administrator(txn, &key, true)?;
            }
            Err(error) => return Err(error.into()),
        }
        // Who was named by a set-up that was cut off, under another address, administers nothing: nobody saw that it was done.
        for other in account::list(&*txn)?.into_iter().filter(|other| other.administrator && other.address != key) {
            account::set_administrator(txn, &other.address, false)?;
        }
        Ok::<(), Error>(())
    });
    made.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::manage::account::Shown;
    use crate::settings::FILE;
    use crate::store::Data;

    fn people_of(folder: &Folder) -> Vec<Shown> {
        let settings = Settings::load(folder.path()).unwrap();
        let data: Data = open_data(folder, &settings).unwrap();
        let people = account::list(&data.read().unwrap()).unwrap();
        data.close().unwrap();
        people
    }

    /// V3: the settings come last, so a set-up that was cut off before them begins anew, perhaps under another name.
    #[test]
    fn after_a_cut_there_is_one_administrator_whoever_was_named_before() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let password = Secret("river oak lantern moon".to_owned());
        let init = |admin: &str| init(&folder, "mail.example.test", "example.test", admin, None, &password).map(drop);
        init("ana@example.test").unwrap();
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        init("anna@example.test").unwrap();
        let administrators: Vec<String> =
            people_of(&folder).into_iter().filter(|one| one.administrator).map(|one| one.address).collect();
        assert_eq!(administrators, ["anna@example.test"]);
        // And the same one again, whose own first try was cut off after the other's.
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        init("ana@example.test").unwrap();
        let people = people_of(&folder);
        let is = |address: &str| people.iter().find(|one| one.address == address).unwrap().administrator;
        assert!(is("ana@example.test") && !is("anna@example.test"));
    }
}
