//! Newer versions that could be put on this box: at `update.url`, and on a stick.
//!
//! | what is there | what it means |
//! |---|---|
//! | `update/offers.json` | what was found when somebody looked last |
//! | `update/fetched.part` | of a version that is being fetched; used again after a restart |
//!
//! Looking changes nothing. What is found is put on the box when somebody says so, or by itself where `update.install` says
//! so; then once for each version, so that one that does not work here is not tried day after day.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::appliance::machine::stick::{at, chosen};
use crate::appliance::machine::{Client, Machine};
use crate::appliance::update::{HEAD_BYTES, Keys, Manifest, Package, Refusal, Running, Version, judge, keys};
use crate::net::Roots;

use super::super::certificates::roots;
use super::super::folder::{Folder, write};
use super::super::house::House;
use super::super::mounted::from_stick;
use super::fetch::{Head, Place};
use super::{drawer, make_drawer, offer, offered, say};

/// Between two looks at `update.url`.
const DAY: i64 = 24 * 3600;
/// The same after one that did not work.
const HOUR: i64 = 3600;
/// Files on a stick that are looked at.
const FILES: usize = 64;
/// What stays free on the disk beside an update.
const LEFT_BYTES: u64 = 64 << 20;
/// A file of the system longer than this is none.
const TEXT_BYTES: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Source {
    Url,
    Stick,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Offer {
    pub version: Version,
    pub source: Source,
    /// Of the system.
    pub bytes: u64,
    /// On the stick.
    #[serde(default)]
    pub file: Option<String>,
}

/// What was found. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Offers {
    pub looked: Option<i64>,
    /// The newest first.
    pub offers: Vec<Offer>,
    /// Why `update.url` could not be asked: a sentence.
    pub problem: Option<String>,
    /// What was handed over to be put on the box by itself last.
    #[serde(default)]
    pub by_itself: Option<Version>,
}

impl Offers {
    pub fn load(folder: &Folder) -> Offers {
        let bytes = fs::read(path(folder)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn keep(&self, folder: &Folder) {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = make_drawer(folder).and_then(|()| write(&path(folder), &bytes)) {
            warn!("what was found of updates cannot be written down: {error}");
        }
    }
}

fn path(folder: &Folder) -> PathBuf {
    drawer(folder).join("offers.json")
}

/// What is only to be read as long as this process has more than the data folder.
struct System {
    board: Option<String>,
    keys: Option<String>,
}

static SYSTEM: OnceLock<System> = OnceLock::new();

/// Of the system that runs. HOMEPOST_SYSTEM names another folder than `/`, for tests.
fn system() -> &'static System {
    SYSTEM.get_or_init(|| {
        let root = std::env::var_os("HOMEPOST_SYSTEM").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let text = |path: &str| {
            let mut text = String::new();
            let file = fs::File::open(root.join(path)).ok()?;
            std::io::Read::read_to_string(&mut std::io::Read::take(file, TEXT_BYTES), &mut text).ok()?;
            Some(text)
        };
        let told = text("etc/os-release").unwrap_or_default();
        let board = told.lines().find_map(|line| line.strip_prefix("VARIANT_ID=")).map(str::to_owned);
        System { board, keys: text(keys::FILE) }
    })
}

/// Before this process gives up all but the data folder.
pub(super) fn remember_system() {
    system();
}

/// What runs here, and whom it believes. Errors: sentences.
fn here() -> Result<(Running, Keys), String> {
    let status = Client::new().status().map_err(|error| error.to_string())?;
    let unknown = || "this system does not say what it is".to_owned();
    let version = status.version.parse().map_err(|_| unknown())?;
    let board = system().board.clone().ok_or_else(unknown)?;
    let keys = Keys::read(system().keys.as_deref().unwrap_or_default()).map_err(|refusal| refusal.to_string())?;
    // How much a slot holds is the machine's to judge.
    Ok((Running { version, board, slot_bytes: u64::MAX }, keys))
}

/// Looks at `update.url` and at the stick. Blocks. Errors: sentences; that a server cannot be asked is none.
pub(in super::super) fn look(house: &House) -> Result<Offers, String> {
    let (running, keys) = here()?;
    let mut found = Offers { looked: Some(house.clock.now().seconds()), ..Offers::load(&house.folder) };
    (found.offers, found.problem) = (Vec::new(), None);
    match published(house, &running, &keys) {
        Ok(None) => {}
        Ok(Some(head)) => match judge(&head.manifest, &running) {
            Ok(()) => found.offers.push(offer_of(&head.manifest, Source::Url, None)),
            // Nothing newer is no problem.
            Err(Refusal::Same(_) | Refusal::Older { .. }) => {}
            Err(refusal) => found.problem = Some(refusal.to_string()),
        },
        Err(words) => found.problem = Some(words),
    }
    let sticks = Client::new().sticks().unwrap_or_default();
    if chosen(&sticks).is_ok() {
        match from_stick(|| on_stick(&at(), &running, &keys)) {
            Ok(offers) => found.offers.extend(offers),
            Err(words) => warn!("the stick cannot be looked at: {words}"),
        }
    }
    found.offers.sort_by_key(|one| std::cmp::Reverse(one.version));
    found.keep(&house.folder);
    Ok(found)
}

fn offer_of(manifest: &Manifest, source: Source, file: Option<String>) -> Offer {
    Offer { version: manifest.version, source, bytes: manifest.bytes, file }
}

/// What is newer there, by its head alone: the whole is looked at when it is wanted.
fn on_stick(folder: &Path, running: &Running, keys: &Keys) -> Vec<Offer> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names =
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.to_ascii_lowercase().ends_with(".hpu"));
    let mut offers: Vec<Offer> = Vec::new();
    for name in names.take(FILES) {
        let Ok(file) = fs::File::open(folder.join(&name)) else { continue };
        match Package::open(file, keys).and_then(|package| judge(&package.manifest, running).map(|()| package.manifest))
        {
            Ok(manifest) => offers.push(offer_of(&manifest, Source::Stick, Some(name))),
            Err(refusal) => info!("{name} on the stick: {refusal}"),
        }
    }
    offers
}

/// `None`: no place is named.
fn published(house: &House, running: &Running, keys: &Keys) -> Result<Option<Head>, String> {
    let Some(place) = place(house)? else { return Ok(None) };
    waited(place.head(&running.board, keys))?.map(Some)
}

fn place(house: &House) -> Result<Option<Place>, String> {
    let settings = house.settings.load();
    if settings.update.url.is_empty() {
        return Ok(None);
    }
    let roots: Roots = roots(house, "update.root", &settings.update.root)?;
    Place::new(&settings.update.url, &roots).map(Some)
}

/// On a thread that may block.
fn waited<F: Future>(work: F) -> Result<F::Output, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| format!("cannot begin: {error}"))?.block_on(work))
}

/// One that is being brought here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Bringing {
    pub version: Version,
    pub percent: u8,
}

static BRINGING: Mutex<Option<Bringing>> = Mutex::new(None);

pub(in super::super) fn bringing() -> Option<Bringing> {
    *BRINGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_bringing(now: Option<Bringing>) {
    *BRINGING.lock().unwrap_or_else(PoisonError::into_inner) = now;
}

/// Begins to put a version on the box that was found; without a version the newest. What becomes of it is said. Errors:
/// sentences.
pub(in super::super) fn begin(house: &House, version: Option<Version>) -> Result<Version, String> {
    begin_and(house, version, |_, _| ())
}

/// `handed_over` hears when the machine has it: what comes to nothing before is tried again.
fn begin_and(
    house: &House,
    version: Option<Version>,
    handed_over: impl FnOnce(&Folder, Version) + Send + 'static,
) -> Result<Version, String> {
    let (running, keys) = here()?;
    let found = Offers::load(&house.folder).offers;
    let wanted = found.into_iter().find(|one| version.is_none_or(|version| one.version == version));
    let offer_ = wanted.ok_or_else(|| match version {
        Some(version) => format!("version {version} was not found when somebody looked last"),
        None => "no newer version was found when somebody looked last".to_owned(),
    })?;
    room(&house.folder, offer_.bytes)?;
    let place = place(house)?;
    {
        let mut now = BRINGING.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_some() || offered(&house.folder).exists() {
            return Err("an update is on its way already".to_owned());
        }
        *now = Some(Bringing { version: offer_.version, percent: 0 });
    }
    let (folder, version) = (house.folder.clone(), offer_.version);
    let work = move || {
        match bring(&folder, place, &offer_, &running, &keys) {
            Ok(()) => handed_over(&folder, version),
            Err(words) => {
                warn!("no update: {words}");
                say(&folder, true, &words);
            }
        }
        set_bringing(None);
    };
    let begun = std::thread::Builder::new().name("update".to_owned()).spawn(work);
    if let Err(error) = begun {
        set_bringing(None);
        return Err(format!("the update cannot begin: {error}"));
    }
    Ok(version)
}

fn room(folder: &Folder, bytes: u64) -> Result<(), String> {
    let disk =
        rustix::fs::statvfs(folder.path()).map_err(|error| format!("the room on the disk cannot be told: {error}"))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if bytes.saturating_add(LEFT_BYTES) <= free {
        return Ok(());
    }
    Err(format!("there is not enough room on the disk for the update, which has {} MB", bytes.div_ceil(1_000_000)))
}

/// Until it lies where the machine looks for it.
fn bring(folder: &Folder, place: Option<Place>, offer_: &Offer, running: &Running, keys: &Keys) -> Result<(), String> {
    match (offer_.source, &offer_.file, place) {
        (Source::Stick, Some(name), _) => from_stick(|| offer(folder, &at().join(name), offer_.bytes + HEAD_BYTES))?,
        (Source::Url, _, Some(place)) => {
            let part = drawer(folder).join("fetched.part");
            make_drawer(folder).map_err(|error| error.to_string())?;
            let fetched = async {
                let head = place.head(&running.board, keys).await?;
                judge(&head.manifest, running).map_err(|refusal| refusal.to_string())?;
                let version = head.manifest.version;
                // Nobody said yes to that one.
                if version != offer_.version {
                    return Err(format!("version {version} is published now: please look again"));
                }
                place.system(&head, &part, |percent| set_bringing(Some(Bringing { version, percent }))).await
            };
            waited(fetched)??;
            fs::rename(&part, offered(folder)).map_err(|error| format!("the update cannot be kept: {error}"))
        }
        _ => Err("the place where the update was found is not named any more".to_owned()),
    }
}

/// Once a day, where a place is named: looks, and begins where the settings say so.
pub(super) fn by_itself(house: &House) {
    let settings = house.settings.load();
    let now = house.clock.now().seconds();
    let last = Offers::load(&house.folder);
    if settings.update.url.is_empty() || !house.clock.trusted() || !due(&last, now) {
        return;
    }
    let found = match look(house) {
        Ok(found) => found,
        Err(words) => {
            Offers { looked: Some(now), problem: Some(words), ..last }.keep(&house.folder);
            return;
        }
    };
    if let Some(words) = &found.problem {
        warn!("new versions cannot be looked for: {words}");
    }
    let Some(newest) = found.offers.iter().find(|one| one.source == Source::Url).map(|one| one.version) else { return };
    if !settings.update.install || found.by_itself == Some(newest) {
        return;
    }
    let once = |folder: &Folder, version| {
        Offers { by_itself: Some(version), ..Offers::load(folder) }.keep(folder);
    };
    match begin_and(house, Some(newest), once) {
        Ok(version) => info!("version {version} is put on this box, as update.install says"),
        Err(words) => warn!("no update: {words}"),
    }
}

/// A clock that went back costs no look.
fn due(last: &Offers, now: i64) -> bool {
    let pause = if last.problem.is_some() { HOUR } else { DAY };
    last.looked.is_none_or(|looked| !(0..pause).contains(&(now - looked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::update::package::made;

    #[test]
    fn of_what_is_on_a_stick_only_what_this_box_should_have_is_offered() {
        let dir = tempfile::tempdir().unwrap();
        let system = vec![7; 5000];
        for (name, seed, version, board) in [
            ("newer.hpu", 1, "1.2.0", "pc"),
            ("NEWEST.HPU", 1, "1.3.0", "pc"),
            ("older.hpu", 1, "0.9.0", "pc"),
            ("foreign.hpu", 2, "1.4.0", "pc"),
            ("other.hpu", 1, "1.5.0", "pi"),
            ("newer.txt", 1, "1.6.0", "pc"),
        ] {
            fs::write(dir.path().join(name), made::packed(seed, &made::manifest(version, board, &system), &system))
                .unwrap();
        }
        fs::write(dir.path().join("nothing.hpu"), "").unwrap();
        fs::create_dir(dir.path().join("folder.hpu")).unwrap();
        let running = Running { version: Version(1, 1, 0), board: "pc".to_owned(), slot_bytes: u64::MAX };
        let mut offers = on_stick(dir.path(), &running, &Keys::read(&made::keys(1)).unwrap());
        offers.sort_by_key(|one| one.version);
        let found: Vec<(String, Option<&str>)> =
            offers.iter().map(|one| (one.version.to_string(), one.file.as_deref())).collect();
        assert_eq!(found, [("1.2.0".to_owned(), Some("newer.hpu")), ("1.3.0".to_owned(), Some("NEWEST.HPU"))]);
    }

    #[test]
    fn there_is_a_look_a_day_and_one_an_hour_after_one_that_did_not_work() {
        let mut last = Offers::default();
        assert!(due(&last, 5));
        last.looked = Some(1_000_000);
        assert!(!due(&last, 1_000_000 + DAY - 1) && due(&last, 1_000_000 + DAY) && due(&last, 999_999));
        last.problem = Some("no answer".to_owned());
        assert!(!due(&last, 1_000_000 + HOUR - 1) && due(&last, 1_000_000 + HOUR));
    }
}
