//! What an opened data folder is: settings, stores, people.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;

use crate::account::Overviews;
use crate::base::{Clock, OsRandom, Random, SystemClock, Time};
use crate::delivery::remote::Bell;
use crate::directory::{Internal, Throttle, dkim};
use crate::filter;
use crate::settings::Settings;
use crate::store::disk::RealDisk;
use crate::store::lookup::{self, Lookup};
use crate::store::{self, Data};

use super::certificates::Certificates;
use super::dns::Board;
use super::folder::Folder;
use super::limits;
use super::outgoing::Fates;
use super::time;
use super::verbs::{Error, Noted};

/// Opened by whoever has the lock (V1).
pub(super) struct House {
    pub folder: Folder,
    pub settings: Arc<ArcSwap<Settings>>,
    pub data: Data,
    pub directory: Arc<Internal>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Which strangers have come lately.
    pub strangers: filter::Memory,
    /// Who has guessed passwords lately, by whichever protocol.
    pub throttle: Throttle,
    /// What SELECT showed lately, for all sessions.
    pub overviews: Arc<Overviews>,
    pub certificates: Certificates,
    /// What was found out beside, for who asks what is wrong.
    pub noted: Noted,
    /// Held by whoever changes records in the DNS.
    pub dns: Mutex<()>,
    /// What was done to them last, for pages and programs.
    pub board: Board,
    /// Rung when there is something to send.
    pub bell: Bell,
    /// What became of letters that somebody at a page waits to hear of.
    pub fates: Fates,
    facts: Facts,
}

/// The store of facts that expire, opened when it is first asked for, since most commands never do.
#[derive(Clone)]
pub(super) struct Facts {
    folder: Folder,
    store: Arc<OnceLock<Arc<dyn Lookup>>>,
}

impl Facts {
    /// May block on the disk.
    pub fn get(&self) -> &Arc<dyn Lookup> {
        self.store.get_or_init(|| match RealDisk::open(&self.folder.store()) {
            Ok(disk) => lookup::file(Arc::new(disk)),
            Err(error) => {
                tracing::warn!(%error, "what is kept for a while only is kept in memory");
                lookup::memory(FACTS_BYTES)
            }
        })
    }
}

/// What expiring facts may take of the memory where their file cannot be had.
const FACTS_BYTES: usize = 4 << 20;

impl House {
    /// Errors: sentences for the owner.
    pub fn open(folder: &Folder) -> Result<House, String> {
        let settings = Settings::load(folder.path()).map_err(|error| error.to_string())?;
        let data = open_data(folder, &settings)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::judged_by(time::trusted));
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        if let Err(error) = make_missing_keys(&data, random.as_ref(), clock.now()) {
            tracing::warn!(%error, "a domain has no DKIM keys, and none could be made");
        }
        let directory = Internal::open_blocking(data.clone(), clock.clone(), random.clone());
        let directory = Arc::new(directory.map_err(|error| Error::from(error).to_string())?);
        let throttle = Throttle::new(settings.limits.login.failures_per_address);
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let certificates = Certificates::open(folder);
        let (folder, overviews) = (folder.clone(), Arc::default());
        let facts = Facts { folder: folder.clone(), store: Arc::default() };
        Ok(House {
            folder,
            settings,
            data,
            directory,
            clock,
            random,
            strangers: filter::Memory::default(),
            throttle,
            overviews,
            certificates,
            noted: Noted::default(),
            dns: Mutex::default(),
            board: Board::default(),
            bell: Bell::default(),
            fates: Fates::default(),
            facts,
        })
    }

    /// What may be forgotten (P4): counters, greylist, who was written to. May block on the disk.
    pub fn facts(&self) -> &Arc<dyn Lookup> {
        self.facts.get()
    }

    /// The same for who asks later.
    pub fn facts_later(&self) -> Facts {
        self.facts.clone()
    }

    /// Ends the stores, with a checkpoint.
    pub fn close(&self) -> Result<(), String> {
        if let Err(error) = self.directory.note_devices(true) {
            tracing::warn!(%error, "when devices logged in last is not written down");
        }
        if let Some(facts) = self.facts.store.get() {
            facts.flush();
        }
        self.data.close().map_err(|error| store_failed(&error))
    }
}

/// The stores of a folder, made if they are not there.
pub(super) fn open_data(folder: &Folder, settings: &Settings) -> Result<Data, String> {
    folder.end_salvage().map_err(|error| format!("{}: {error}", folder.path().display()))?;
    open_data_in(&folder.store(), settings)
}

pub(super) fn open_data_in(path: &Path, settings: &Settings) -> Result<Data, String> {
    let disk = RealDisk::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Data::open(Arc::new(disk), limits::store(settings)).map_err(|error| store_failed(&error))
}

/// Domains of a version before DKIM keys get theirs.
fn make_missing_keys(data: &Data, random: &dyn Random, now: Time) -> Result<(), Error> {
    for domain in dkim::without(&data.read()?)? {
        let keys = dkim::NewKeys::make(random, now)?;
        data.write_blocking(move |txn| dkim::add(txn, &domain, &keys).map_err(Error::from))?;
    }
    Ok(())
}

/// What a failed store means to the owner.
pub(super) fn store_failed(error: &store::Error) -> String {
    match error {
        store::Error::Full => "the disk is full".to_owned(),
        store::Error::Disk(what) => format!("the disk failed: {what}"),
        store::Error::Unknown => "the disk failed, and whether it was done will show at the next start".to_owned(),
        store::Error::Closed => "the stores are being closed".to_owned(),
        store::Error::Corrupt(what) => {
            format!("the stores are damaged ({what}); `homepost check --salvage` brings back what can be read")
        }
        store::Error::Panicked(what) => format!("a mistake of ours: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::manage::domain;
    use crate::settings::edit;
    use crate::store::schema::Key;
    use crate::store::{Read, Table};

    #[test]
    fn a_folder_of_a_version_without_keys_gets_them_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let settings = edit::create(dir.path(), "mail.example.test").unwrap();
        let data = open_data(&folder, &settings).unwrap();
        let keys = dkim::NewKeys::make(&OsRandom, Time(0)).unwrap();
        data.write_blocking(move |txn| {
            domain::add(txn, "example.test", &keys, Time(0))?;
            for selector in ["197001e", "197001r"] {
                let key = Key::new().text("example.test").u8(0).text(selector).build();
                assert!(txn.get(Table::DkimKeys, &key)?.is_some());
                txn.delete(Table::DkimKeys, &key);
            }
            Ok::<_, Error>(())
        })
        .unwrap();
        data.close().unwrap();

        let keys = || {
            let house = House::open(&folder).unwrap();
            let keys = dkim::list(&house.data.read().unwrap(), "example.test").unwrap();
            house.close().unwrap();
            keys
        };
        let made = keys();
        assert_eq!(made.len(), 2);
        assert_eq!(keys(), made, "kept from then on");
    }
}
