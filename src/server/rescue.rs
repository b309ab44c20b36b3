//! `rescue`: the page for a box that cannot serve mail. Binds `appliance/rescue` to this folder, the machine and the stick.
//!
//! It opens no stores until it is asked to, and then with the lock (V1): the mail service goes on trying to start meanwhile, and
//! gets its turn again when that is over.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::appliance::backup::Step;
use crate::appliance::machine::stick::{at, chosen};
use crate::appliance::machine::{Client, Error, Machine};
use crate::appliance::rescue::{Act, Desk, Host, Offers};
use crate::appliance::sandbox;
use crate::base::{OsRandom, SystemClock};
use crate::net::{mdns, tls};
use crate::settings::Settings;
use crate::web::look::sentence;
use crate::web::rescue::Site;

use super::doors::Shift;
use super::folder::{Folder, Lock};
use super::house::House;
use super::languages;
use super::mounted::from_stick;
use super::opening::{Opening, PORT};
use super::restoring;
use super::verbs::{self, Request, Secret};
use super::wish;

/// For the mail service's own try to end.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
/// Between two looks for a stick.
const STICKS: Duration = Duration::from_secs(5);
const RESCUING: &str = "rescuing";
/// Names that the page's own certificate is for.
const NAMES: [&str; 2] = ["homepost.local", "localhost"];

struct Helper {
    folder: Folder,
    machine: Client,
    /// There while the stores are ours.
    marker: PathBuf,
    /// Set where nothing else starts the machine again.
    stop: Arc<AtomicBool>,
}

/// Serves the page until SIGTERM. Errors: sentences.
pub(super) fn rescue(folder: &Folder, shift: Shift, name: Option<mdns::Name>) -> Result<(), String> {
    let port = PORT.checked_add(shift.offset).ok_or_else(|| format!("{PORT} + {} is no port", shift.offset))?;
    let place = Place::new()?;
    let languages = languages::load(folder);
    let language = Settings::load(folder.path()).map(|settings| settings.language).unwrap_or_default();
    // Before any thread is started (X1). Where the data partition is missing there is no folder, and none is made.
    let data = if folder.path().is_dir() { folder.path() } else { place.0.as_path() };
    let report = sandbox::serve(data, std::slice::from_ref(&place.0));
    info!("this process gave up everything else: {}", report.done.join(", "));
    for missing in report.missing {
        warn!("not given up: {missing}");
    }
    let pair = tls::self_signed(&NAMES.map(str::to_owned)).map_err(|error| error.to_string())?;
    let stop = Arc::new(AtomicBool::new(false));
    let random = Arc::new(OsRandom);
    let helper =
        Helper { folder: folder.clone(), machine: Client::new(), marker: place.0.join(RESCUING), stop: stop.clone() };
    let desk = Arc::new(Desk::new(helper, Arc::new(SystemClock::new()), random.clone()));
    let site = Arc::new(Site::new(desk, random, languages, language));
    if let Err(error) = std::thread::Builder::new().name("stick".to_owned()).spawn(look_for_wishes) {
        warn!(%error, "no stick can make this box as new");
    }
    let ending = stop.clone();
    let signals = std::thread::Builder::new().name("signals".to_owned()).spawn(move || attend(name, &ending));
    signals.map_err(|error| format!("cannot start: {error}"))?;
    Opening { name: "rescue", place: place.0.clone(), port, bind: shift.bind }.serve(&site, &pair, &stop);
    Ok(())
}

/// Answers for the name, until a signal comes or it is over.
fn attend(name: Option<mdns::Name>, stop: &AtomicBool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let _announced = name.map(super::serve::announce);
        let Ok(mut term) = signal(SignalKind::terminate()) else { return };
        let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// For ever: whoever cannot reach the page can still plug in a stick that asks for the box to be made as new.
fn look_for_wishes() {
    loop {
        if let Ok(sticks) = Client::new().sticks()
            && let Ok(one) = chosen(&sticks)
        {
            let _ = wish::look(one.insertion);
        }
        std::thread::sleep(STICKS);
    }
}

/// A folder of its own for two sockets, where the data partition may be gone. It goes when this does.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Place, String> {
        let path = std::env::temp_dir().join(format!("homepost-rescue-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Place(path)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The stores are ours. Meanwhile the file says so to the scripts of the box: a mail service that does not answer is no reason then
/// to restart it. It is not on the disk, which may fail just now, and is gone when this process is.
struct Ours {
    _lock: Lock,
    file: PathBuf,
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl Helper {
    fn lock(&self) -> Result<Ours, String> {
        let mut left = PATIENCE;
        loop {
            match self.folder.lock() {
                Ok(Some(lock)) => {
                    if let Err(error) = fs::write(&self.marker, b"") {
                        warn!(%error, "nobody is told that the stores are in use");
                    }
                    return Ok(Ours { _lock: lock, file: self.marker.clone() });
                }
                Ok(None) if left > LOOK => {
                    std::thread::sleep(LOOK);
                    left -= LOOK;
                }
                Ok(None) => return Err("The mail service is using the disk right now. Please try again.".to_owned()),
                Err(error) => return Err(format!("The disk cannot be used: {error}.")),
            }
        }
    }

    fn salvage(&self) -> Result<String, String> {
        let _lock = self.lock()?;
        let reply = verbs::run_closed(&self.folder, &Request::CheckSalvage);
        let reply = reply.ok_or_else(|| "That is not possible here.".to_owned())?;
        if let Some(words) = reply.error {
            return Err(words);
        }
        let count = |name: &str| reply.json.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let damaged = reply.json.get("damaged").and_then(|all| all.as_array()).map_or(0, Vec::len);
        let mut words = format!("{} letters of {} people are back.", count("letters"), count("accounts"));
        if damaged > 0 {
            words.push_str(&format!(" {damaged} places of the disk could not be read."));
        }
        Ok(words)
    }

    fn restore(&self, secret: &str, tell: &dyn Fn(&str)) -> Result<String, String> {
        let _lock = self.lock()?;
        let secret = Secret(secret.to_owned());
        let own = super::backup::keys(&self.folder).ok().flatten().map(|keys| keys.box_id);
        let put = from_stick(|| {
            let boxes = super::backup::boxes(&at())?;
            if boxes.is_empty() {
                return Err("There is no backup on this stick.".to_owned());
            }
            // Where there are several, its own.
            let box_id = own.as_deref().filter(|own| boxes.iter().any(|(name, _)| name == own));
            let mut last = None;
            let mut told = |step: Step, _, _| {
                if last.replace(step) != Some(step) {
                    tell(step.sentence());
                }
            };
            verbs::backup::restore(&self.folder, &at(), box_id, &secret, true, &mut told)
                .map_err(|error| restoring::refused(&sentence(&error.to_string())))
        });
        let reply = put??;
        let count = |name: &str| reply.json.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let mut words =
            format!("The backup is put back: {} letters of {} people.", count("letters"), count("accounts"));
        let held = reply.json.get("held").and_then(|all| all.as_array()).map_or(0, Vec::len);
        if held > 0 {
            words.push_str(&format!(
                " {held} letters that waited to be sent are held; the page \"Queue\" shows them and lets them go."
            ));
        }
        Ok(words)
    }
}

impl Host for Helper {
    fn machine(&self) -> &dyn Machine {
        &self.machine
    }

    fn problem(&self) -> String {
        match self.machine.status() {
            Ok(status) => status.problem.unwrap_or_else(|| "Nothing is known to be wrong.".to_owned()),
            // On another computer, whose owner started this by hand.
            Err(Error::NoBox) => match self.folder.lock() {
                Ok(Some(_lock)) => match House::open(&self.folder) {
                    Ok(house) => {
                        let _ = house.close();
                        "Nothing is known to be wrong.".to_owned()
                    }
                    Err(words) => words,
                },
                Ok(None) => "Nothing is known to be wrong.".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }

    fn sheet(&self) -> Option<String> {
        self.folder.recovery().ok().flatten()
    }

    fn offers(&self) -> Offers {
        let there = self.folder.path().is_dir();
        let sticks = self.machine.sticks().map_err(|error| error.to_string());
        let stick = sticks.and_then(|sticks| chosen(&sticks).map(|one| one.name.clone()));
        let stick = if there {
            stick
        } else {
            Err("As long as the disk cannot be used, no backup can be put back.".to_owned())
        };
        Offers {
            salvage: there && self.folder.store().is_dir(),
            no_stick: stick.clone().err().unwrap_or_default(),
            restore: stick.ok(),
            erase: self.machine.status().is_ok(),
        }
    }

    fn act(&self, act: &Act, tell: &dyn Fn(&str)) -> Result<String, String> {
        match act {
            Act::Restart => Ok("The box starts again.".to_owned()),
            Act::Salvage => self.salvage(),
            Act::Restore(secret) => self.restore(secret, tell),
            Act::Erase => Ok("The box starts again, and everything on it is deleted.".to_owned()),
        }
    }

    fn restart(&self, act: &Act) -> Result<(), String> {
        if *act == Act::Erase {
            return self.machine.erase().map_err(|error| error.to_string());
        }
        match self.machine.reboot() {
            // There whoever started us starts the server again.
            Err(Error::NoBox) => {
                self.stop.store(true, Ordering::SeqCst);
                Ok(())
            }
            done => done.map_err(|error| error.to_string()),
        }
    }
}
