//! The set-up on 8080: binds the wizard to this folder, the pages to a port, and closes both when it is done.
//!
//! Threads of its own, with a runtime of their own: it answers also while nothing else does. What belongs to an unfinished
//! set-up lies in `setup/` of the data folder; a folder that has settings and no `setup/` is set up.

mod authority;
mod clerk;
mod file;
mod files;
mod letter;
mod line;
mod records;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::appliance::wizard::{Answer, Desk, Origin, Relay, Saved, Secret as Phrase, State, Step};
use crate::appliance::words;
use crate::base::{OsRandom, SystemClock};
use crate::net::tls::{self, fingerprint};
use crate::net::{Certs, Pair};
use crate::settings::Settings;
use crate::web::setup::{About, Site};

use super::doors::Shift;
use super::folder::Folder;
use super::languages;
use super::opening::{Opening, PORT};
use super::restoring::Restoring;
use super::serve::{Held, Told};
use super::verbs::{Reply, Secret, SetupAnswer};
use clerk::Clerk;
pub(super) use file::closed as file_closed;

/// Names that the set-up's own certificate is for, before there is a better one.
const NAMES: [&str; 3] = ["homepost.local", "homepost.home.arpa", "localhost"];
/// Between two looks for something to do.
const LOOK: Duration = Duration::from_millis(500);
/// For the last page to be read before the port closes.
const FAREWELL: Duration = Duration::from_secs(4);

/// Whether there is a set-up that is not finished.
pub(super) fn is_going_on(folder: &Folder) -> bool {
    files::path(folder, "state.json").exists()
}

pub(super) struct Setup {
    desk: Arc<Desk<Clerk>>,
    /// What a person at the console is told, one thing a line.
    pub greeting: String,
}

impl Setup {
    /// For a folder whose set-up is not finished; `None` for all others. Errors are the log's: whatever is wrong with the
    /// set-up, the rest of the server starts (P9).
    pub fn begin(
        folder: &Folder,
        held: &Held,
        tell: &mpsc::UnboundedSender<Told>,
        shift: Shift,
        restoring: &Arc<Restoring>,
    ) -> Option<Setup> {
        let Some(port) = PORT.checked_add(shift.offset) else {
            warn!("the set-up has no page: {PORT} + {} is no port", shift.offset);
            return None;
        };
        let kept = kept(folder);
        // Set-up that was finished has left nothing, whatever the house is called; a state that cannot be read is begun anew.
        if kept.is_none() && folder.is_set_up() && !files::path(folder, "state.json").exists() {
            if let Err(error) = files::end(folder) {
                warn!(%error, "what a set-up left behind cannot be removed");
            }
            return None;
        }
        let clock = Arc::new(SystemClock::new());
        let random = Arc::new(OsRandom);
        let clerk = Clerk::new(folder.clone(), held.clone(), tell.clone(), shift.offset, restoring.clone());
        let desk = match Desk::open(clerk, kept, clock.clone(), random.clone()) {
            Ok(desk) => Arc::new(desk),
            Err(error) => {
                error!("the set-up cannot be begun: {error}");
                return None;
            }
        };
        let saved = desk.saved();
        if saved.finished {
            end(folder, &saved);
            return None;
        }
        let pair = own_pair(folder).inspect_err(|error| error!("the set-up page has no HTTPS: {error}")).ok()?;
        let digest = fingerprint(&pair).ok()?;
        let six = words::of(&digest[..6]).join(" ");
        let shown = Shown { folder: folder.clone(), six: six.clone(), digest, port, last: Mutex::default() };
        shown.write(&desk.saved());
        let greeting = greeting(&desk, &shown, shift);
        let at = |port: u16| port.checked_add(shift.offset).unwrap_or(port);
        let defaults = Settings::new(NAMES[1]).map(|settings| settings.listeners).ok()?;
        let about = About { words: six, imaps: at(defaults.imaps.port), submissions: at(defaults.submissions.port) };
        let site = Arc::new(Site::new(desk.clone(), random, about, languages::load(folder)));
        let stop = Arc::new(AtomicBool::new(false));
        let (work_desk, work_stop) = (desk.clone(), stop.clone());
        let begun = std::thread::Builder::new()
            .name("set-up work".to_owned())
            .spawn(move || work(&work_desk, &shown, &work_stop));
        let folder = folder.clone();
        let begun = begun.and_then(|_| {
            let opening = Opening { name: "set-up", place: files::path(&folder, ""), port, bind: shift.bind };
            let pages = move || opening.serve(&site, &pair, &stop);
            std::thread::Builder::new().name("set-up".to_owned()).spawn(pages)
        });
        if let Err(error) = begun {
            error!(%error, "no thread for the set-up");
        }
        Some(Setup { desk, greeting })
    }

    /// Whether the mail ports may be open.
    pub fn ports_open(&self) -> bool {
        let saved = self.desk.saved();
        saved.finished || saved.domain.is_some()
    }

    /// Whether it was finished, by whomever.
    pub fn is_over(&self) -> bool {
        self.desk.saved().finished
    }

    /// `homepost setup`: an answer from the console, and how far the set-up is then.
    pub fn command(&self, answer: Option<&SetupAnswer>) -> Reply {
        let answer = match answer {
            None => None,
            Some(SetupAnswer::Domain { domain, host, take_over }) => {
                Some(Answer::Domain { name: domain.clone(), host: host.clone(), take_over: *take_over })
            }
            Some(SetupAnswer::Certificate { contact }) => {
                Some(Answer::Authority { accepted: true, contact: contact.clone() })
            }
            Some(SetupAnswer::Relay { host, port, tls, user, spf, password }) => {
                let (host, tls, user, spf) = (host.clone(), tls.clone(), user.clone(), spf.clone());
                let relay = Relay { host, port: *port, tls, user, spf, password: false };
                Some(Answer::Relay { relay, password: Phrase(password.0.clone()) })
            }
            Some(SetupAnswer::House) => Some(Answer::HouseOnly),
            Some(SetupAnswer::Again { step }) => Step::by_id(step).map(Answer::Again),
            Some(SetupAnswer::Finish) => Some(Answer::Finish),
        };
        if let Some(answer) = answer
            && let Err(refusal) = self.desk.console(&answer)
        {
            return Reply::failed(refusal.words);
        }
        let view = self.desk.look(None);
        let mut text = String::new();
        let mut rows = Vec::new();
        for (step, state) in &view.steps {
            let words = match state {
                State::Done(said) => said.clone().unwrap_or_else(|| "done".to_owned()),
                State::Waiting { on, .. } => format!("waits for {on}"),
                State::NeedsYou => "needs you".to_owned(),
                State::Failed { why, next } => format!("failed: {why} {next}"),
            };
            text.push_str(&format!("{:<12} {words}\n", step.id()));
            rows.push(json!({ "step": step.id(), "state": state.word(), "words": words }));
        }
        Reply::done(text, json!({ "finished": view.saved.finished, "steps": rows }))
    }

    /// `homepost init --from`: all answers of a file.
    pub fn file(&self, folder: &Folder, text: &Secret) -> Reply {
        if self.is_over() {
            return Reply::failed("the set-up is finished");
        }
        file::answered(&self.desk, folder, text)
    }

    /// The folder was set up by somebody else.
    pub fn adopt(&self) {
        self.desk.adopt();
    }
}

/// What an unfinished set-up has kept, if that can be read.
fn kept(folder: &Folder) -> Option<Saved> {
    let bytes = files::state(folder).unwrap_or_else(|error| {
        warn!(%error, "the state of the set-up cannot be read");
        None
    })?;
    Saved::read(&bytes).inspect_err(|error| warn!("{error}")).ok()
}

/// Everything of the set-up goes, but for the recovery sheet's hash. What cannot be done is tried again at the next start.
fn end(folder: &Folder, saved: &Saved) {
    let sheet = saved.admin.as_ref().map_or("", |admin| admin.sheet.as_str());
    let kept = if sheet.is_empty() { Ok(()) } else { folder.put_recovery(sheet) };
    if let Err(error) = kept.and_then(|()| files::end(folder)) {
        error!(%error, "what belongs to the set-up cannot be put away");
    }
}

/// The certificate of these pages: its own, so that its digest stays what the screen shows.
fn own_pair(folder: &Folder) -> Result<Pair, String> {
    // One that cannot be read is no reason to have no page (P9).
    if let Ok(Some(pair)) = files::pair(folder)
        && Certs::new(std::slice::from_ref(&pair)).is_ok()
    {
        return Ok(pair);
    }
    let pair = tls::self_signed(&NAMES.map(str::to_owned)).map_err(|error| error.to_string())?;
    files::put_pair(folder, &pair).map_err(|error| error.to_string())?;
    Ok(pair)
}

/// What the screen of the box shows, in a file: `code`, `words`, `digest`, `port`, and a `note`, one a line.
struct Shown {
    folder: Folder,
    six: String,
    digest: [u8; 32],
    port: u16,
    last: Mutex<String>,
}

impl Shown {
    fn write(&self, saved: &Saved) {
        let mut text = String::new();
        if saved.admin.is_none() {
            text.push_str(&format!("code {}\n", saved.code.shown()));
        }
        let digest: Vec<String> = self.digest.iter().map(|byte| format!("{byte:02X}")).collect();
        text.push_str(&format!("words {}\ndigest {}\nport {}\n", self.six, digest.join(":"), self.port));
        if saved.admin.is_some() {
            text.push_str("note Set-up has begun. It goes on with the administrator's pass phrase.\n");
        } else if saved.changed > 0 {
            text.push_str("note The code was typed wrong too often, so it has changed.\n");
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != text {
            match files::put_shown(&self.folder, &text) {
                Ok(()) => *last = text,
                Err(error) => warn!(%error, "what the screen is to show cannot be written"),
            }
        }
    }
}

fn greeting(desk: &Desk<Clerk>, shown: &Shown, shift: Shift) -> String {
    let saved = desk.saved();
    let hosts = match shift.bind {
        Some(address) => vec![address],
        None => {
            let mut all = clerk::own_addresses();
            all.push(IpAddr::from([127, 0, 0, 1]));
            all
        }
    };
    let hosts: Vec<String> = hosts
        .into_iter()
        .map(|host| match host {
            IpAddr::V4(four) => format!("http://{four}:{}/", shown.port),
            IpAddr::V6(six) => format!("http://[{six}]:{}/", shown.port),
        })
        .collect();
    let mut text = format!("Set it up in a browser:\n  {}\n", hosts.join("\n  "));
    match &saved.admin {
        None => text.push_str(&format!("  code {}\n", saved.code.shown())),
        Some(admin) => text.push_str(&format!("  sign in as {}\n", admin.address)),
    }
    text.push_str(&format!("  over https, the key of this box is: {}", shown.six));
    text
}

/// What is to be done behind the pages, until the set-up is done.
fn work(desk: &Arc<Desk<Clerk>>, shown: &Shown, stop: &AtomicBool) {
    loop {
        for job in desk.due() {
            let desk = desk.clone();
            let run = move || desk.run(&job);
            if let Err(error) = std::thread::Builder::new().name("set-up job".to_owned()).spawn(run) {
                error!(%error, "no thread for a job of the set-up");
            }
        }
        let saved = desk.saved();
        if saved.finished {
            // Who waits for a backup looks every few seconds whether it is back.
            let long = saved.origin == Some(Origin::Restore);
            std::thread::sleep(if long { FAREWELL * 5 } else { FAREWELL });
            stop.store(true, Ordering::SeqCst);
            std::thread::sleep(LOOK * 2);
            end(&shown.folder, &saved);
            info!("set-up is finished; its page is closed");
            return;
        }
        shown.write(&saved);
        std::thread::sleep(LOOK);
    }
}
