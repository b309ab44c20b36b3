//! What goes on beside the sessions: ending what a cut left half done, and sweeping.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info};

use crate::account as mailboxes;
use crate::directory::manage::account;
use crate::store::Error as StoreError;

use super::dns::tend;
use super::house::House;
use super::verbs::{delete_due, look_at_records, remove_closed};

/// Between two looks for something to sweep.
const SWEEP: Duration = Duration::from_secs(60);
/// The same while the disk is nearly full, so that deleting mail helps soon.
const LOW: Duration = Duration::from_secs(10);
/// Between two steps of a sweep that found something, so that it never stands in anybody's way for long.
const STEP: Duration = Duration::from_millis(200);

/// Facts that expired, taken away at a time.
const SWEPT: usize = 1000;

/// Until the records of the domains are looked at for the first time: whoever just started the server may be looking.
const FIRST_LOOK: Duration = Duration::from_secs(10 * 60);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(6 * 60 * 60);

/// Looks at the records of the domains now and then, and changes their keys when it is time. Runs until it is dropped.
pub(super) async fn watch(house: Arc<House>) {
    tokio::time::sleep(FIRST_LOOK).await;
    loop {
        if let Err(error) = blocking(&house, look_at_records).await {
            debug!(error, "the records cannot be looked at now");
        }
        if let Err(error) = blocking(&house, tend).await {
            error!(error, "keys that are to be changed for new ones stay for now");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs until it is dropped.
pub(super) async fn run(house: Arc<House>) {
    if let Err(error) = mailboxes::resume(&house.data).await {
        error!(%error, "what was half deleted cannot be ended now");
    }
    let resumed = blocking(&house, |house| {
        for id in account::closing(&house.data.read()?)? {
            info!(account = id.0, "going on with deleting an account");
            remove_closed(house, id)?;
        }
        Ok(())
    });
    if let Err(error) = resumed.await {
        error!(error, "an account that was being deleted cannot be ended now");
    }
    loop {
        if let Err(error) = blocking(&house, delete_due).await {
            error!(error, "an account whose time has come cannot be deleted now");
        }
        if let Err(error) = blocking(&house, |house| Ok(house.directory.note_devices(false)?)).await {
            debug!(error, "when devices logged in has to wait");
        }
        let forgotten = |house: &House| {
            while house.facts().sweep(SWEPT, house.clock.now()) == SWEPT {}
            Ok(())
        };
        if let Err(error) = blocking(&house, forgotten).await {
            debug!(error, "what has expired is kept for now");
        }
        let moved = blocking(&house, |house| Ok(house.data.compact()?)).await;
        let pause = match moved {
            Ok(true) => STEP,
            _ if !house.data.blobs().has_room() => LOW,
            Ok(false) => SWEEP,
            Err(error) => {
                debug!(error, "compaction has to wait");
                SWEEP
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn blocking<T, F>(house: &Arc<House>, work: F) -> Result<T, String>
where
    F: FnOnce(&House) -> Result<T, super::verbs::Error> + Send + 'static,
    T: Send + 'static,
{
    let house = house.clone();
    match tokio::task::spawn_blocking(move || work(&house)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(super::house::store_failed(&StoreError::Panicked("a task".to_owned()))),
    }
}
