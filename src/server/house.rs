//! What an opened data folder is: settings, stores, people.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::account::Overviews;
use crate::base::{Clock, OsRandom, Random, SystemClock};
use crate::directory::Internal;
use crate::settings::Settings;
use crate::store::disk::RealDisk;
use crate::store::{self, Data};

use super::folder::Folder;
use super::limits;
use super::verbs::Error;

/// Opened by whoever has the lock (V1).
pub(super) struct House {
    pub folder: Folder,
    pub settings: ArcSwap<Settings>,
    pub data: Data,
    pub directory: Arc<Internal>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// What SELECT showed lately, for all sessions.
    pub overviews: Arc<Overviews>,
}

impl House {
    /// Errors: sentences for the owner.
    pub fn open(folder: &Folder) -> Result<House, String> {
        let settings = Settings::load(folder.path()).map_err(|error| error.to_string())?;
        let data = open_data(folder, &settings)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let directory = Internal::open_blocking(data.clone(), clock.clone(), random.clone());
        let directory = Arc::new(directory.map_err(|error| Error::from(error).to_string())?);
        let settings = ArcSwap::from_pointee(settings);
        Ok(House { folder: folder.clone(), settings, data, directory, clock, random, overviews: Arc::default() })
    }

    /// Ends the stores, with a checkpoint.
    pub fn close(&self) -> Result<(), String> {
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
