//! What the wizard asks for, done to this folder: by the same verbs as the command line's.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::account as mailboxes;
use crate::appliance::attached::own_addresses as own;
use crate::appliance::backup::{Secret as Opens, Sheet};
use crate::appliance::wizard::{
    Clock as ClockState, Facts, HOME, Host, Internet, Job, Outcome, Refusal, Saved, Secret, Seen,
};
use crate::appliance::words;
use crate::appliance::writing::Wish;
use crate::base::{Clock, OsRandom, Random, SystemClock, Time};
use crate::directory::Directory;
use crate::directory::dkim::NewKeys;
use crate::directory::manage::account::{self, Shown};
use crate::directory::manage::domain;
use crate::net::tls;
use crate::settings::{Settings, edit};
use crate::web::look::sentence;

use super::super::backup;
use super::super::dns::{self, How};
use super::super::folder::Folder;
use super::super::house::House;
use super::super::relays;
use super::super::restoring::{self, Restoring};
use super::super::serve::{Held, Told};
use super::super::stick;
use super::super::verbs::{self, Error, Request, Secret as Password};

/// 2025-01-01: a clock before it was never set.
const NEVER_SET: i64 = 1_735_689_600;
/// A page that takes longer shows how far it is.
const SOON: Duration = Duration::from_secs(2);
/// Of a person's first pass phrase: 40 bits, and log-ins are slowed down.
const PHRASE_WORDS: usize = 5;

pub(in super::super) struct Clerk {
    folder: Folder,
    held: Held,
    tell: mpsc::UnboundedSender<Told>,
    runtime: tokio::runtime::Handle,
    clock: SystemClock,
    /// Added to each port.
    offset: u16,
    measuring: super::line::Progress,
    restoring: Arc<Restoring>,
}

impl Clerk {
    /// Within the server's runtime.
    pub fn new(
        folder: Folder,
        held: Held,
        tell: mpsc::UnboundedSender<Told>,
        offset: u16,
        restoring: Arc<Restoring>,
    ) -> Clerk {
        let (runtime, clock) = (tokio::runtime::Handle::current(), SystemClock::new());
        Clerk { folder, held, tell, runtime, clock, offset, measuring: Arc::default(), restoring }
    }

    fn house(&self) -> Option<Arc<House>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn found(&self, name: &str, local: &str, phrase: &Secret) -> Outcome {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Outcome::Refused("this box has an administrator already".to_owned());
        }
        if self.restoring.running().is_some() {
            return Outcome::Refused("a backup is being put back just now".to_owned());
        }
        if self.folder.is_set_up() {
            return self.opened(&mut held, phrase);
        }
        let address = format!("{local}@{HOME}");
        let (hostname, password) = (format!("homepost.{HOME}"), Password(phrase.0.clone()));
        if let Err(error) = verbs::init(&self.folder, &hostname, HOME, &address, Some(name), &password) {
            return Outcome::Refused(error.to_string());
        }
        match House::open(&self.folder) {
            Ok(house) => *held = Some(Arc::new(house)),
            Err(error) => return failed(error),
        }
        Outcome::Founded { address }
    }

    /// Begins it. What goes wrong soon (the words are not the ones) is said at once, what comes later by the facts.
    fn put_back(&self, box_id: &Option<String>, secret: &Secret) -> Outcome {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (restoring, box_id, secret) = (self.restoring.clone(), box_id.clone(), Password(secret.0.clone()));
        let begun = std::thread::Builder::new().name("restore".to_owned()).spawn(move || {
            let _ = sender.send(stick::put_back(box_id, secret, |request| restoring.run(&request)).error);
        });
        if let Err(error) = begun {
            return failed(error.to_string());
        }
        match receiver.recv_timeout(SOON) {
            Ok(Some(error)) => Outcome::Field { field: "secret", words: restoring::refused(&sentence(&error)) },
            _ => Outcome::Asked,
        }
    }

    /// The household's language, for the pages that come after the set-up.
    fn speak(&self, language: &str) {
        let Some(house) = self.house().filter(|house| house.settings.load().language != language) else { return };
        match edit::set(self.folder.path(), "language", language) {
            Ok(settings) => house.settings.store(settings.into()),
            Err(error) => warn!(%error, "the household's language is not in the settings"),
        }
    }

    /// Everything was made, and then the stores could not be opened: whoever answered then answers again. The administrator
    /// stays who it is, and has the pass phrase of now.
    fn opened(&self, held: &mut Option<Arc<House>>, phrase: &Secret) -> Outcome {
        let house = match House::open(&self.folder) {
            Ok(house) => Arc::new(house),
            Err(error) => return failed(error),
        };
        let admin = match self.admin(&house) {
            Ok(Some(admin)) => admin,
            Ok(None) => return failed("there is no administrator".to_owned()),
            Err(error) => return failed(error.to_string()),
        };
        let request = Request::AccountPassword {
            address: admin.address.clone(),
            password: Password(phrase.0.clone()),
            own: false,
        };
        if let Some(error) = verbs::run(&house, &request).error {
            return Outcome::Refused(error);
        }
        *held = Some(house);
        Outcome::Founded { address: admin.address }
    }

    /// Whether this is somebody who was added here and has not come in yet: whose first pass phrase may have been lost on its
    /// way to the page.
    fn waits(&self, house: &House, address: &str, name: &str) -> bool {
        let all = house.data.read().map_err(Error::from).and_then(|read| Ok(account::list(&read)?)).unwrap_or_default();
        let seen = house.directory.seen().iter().any(|(seen, _)| seen == address);
        let same = |shown: &Shown| shown.address == address && shown.name.as_deref() == Some(name);
        !seen && all.iter().any(|shown| same(shown) && !shown.administrator && !shown.closing)
    }

    /// Takes mail for this domain from now on, and has the doors opened.
    fn name(&self, house: &House, admin: &Shown, domain_name: &str, host: &str) -> Result<Outcome, Error> {
        let from = admin.address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
        let (to, now) = (domain_name.to_owned(), house.clock.now());
        let keys = NewKeys::make(house.random.as_ref(), now)?;
        house.data.write_blocking(move |txn| domain::rename(txn, &from, &to, &keys, now).map_err(Error::from))?;
        let hostname = format!("{host}.{domain_name}");
        if house.settings.load().hostname != hostname {
            let pair = tls::self_signed(std::slice::from_ref(&hostname)).map_err(|error| error.to_string())?;
            self.folder.put_pair(&pair).map_err(|error| format!("the certificate cannot be kept: {error}"))?;
            house.settings.store(edit::set(self.folder.path(), "hostname", hostname.as_str())?.into());
        }
        self.open();
        Ok(Outcome::Named { address: self.admin(house)?.map(|admin| admin.address).unwrap_or_default() })
    }

    /// A port that is taken is tried again by the main loop; the log says so.
    fn open(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.tell.send(Told::Named(sender)).is_ok()
            && let Ok(problems) = receiver.blocking_recv()
        {
            for problem in problems {
                error!("{problem}");
            }
        }
    }

    /// The settings as they are written now. What it gives is how that went wrong.
    fn reread(&self, house: &House) -> Option<Outcome> {
        match Settings::load(self.folder.path()) {
            Ok(settings) => {
                house.settings.store(settings.into());
                None
            }
            Err(error) => Some(failed(error.to_string())),
        }
    }

    fn admin(&self, house: &House) -> Result<Option<Shown>, Error> {
        let all = account::list(&house.data.read()?)?;
        Ok(all.into_iter().find(|shown| shown.administrator && !shown.closing))
    }

    fn with_house(&self, job: &Job) -> Outcome {
        let Some(house) = self.house() else { return Outcome::Refused("first tell me who you are".to_owned()) };
        let admin = match self.admin(&house) {
            Ok(Some(admin)) => admin,
            Ok(None) => return failed("there is no administrator".to_owned()),
            Err(error) => return failed(error.to_string()),
        };
        match job {
            Job::Check { phrase } => {
                let checked = self.runtime.block_on(house.directory.authenticate(&admin.address, &phrase.0));
                match checked {
                    Ok(account) => Outcome::Checked(account.is_some()),
                    Err(error) => failed(error.to_string()),
                }
            }
            Job::Change { phrase } => {
                let request = Request::AccountPassword {
                    address: admin.address,
                    password: Password(phrase.0.clone()),
                    own: false,
                };
                verbs::run(&house, &request).error.map_or(Outcome::Changed, Outcome::Refused)
            }
            Job::Seal { words } => match backup::set_sheet(&self.folder, Sheet::Words, &Opens(words.0.clone())) {
                Ok(()) => Outcome::Sealed,
                Err(error) => failed(error),
            },
            Job::Name { domain, host } => {
                self.name(&house, &admin, domain, host).unwrap_or_else(|error| Outcome::Refused(error.to_string()))
            }
            Job::Records { domain, .. } => super::records::records(&house, domain, self.clock.now())
                .unwrap_or_else(|error| failed(error.to_string())),
            Job::Relay { relay, password } => match relays::keep(&house, "", "", relay, password) {
                Ok(()) => self.reread(&house).unwrap_or(Outcome::Relayed),
                Err(Refusal { field: Some(field), words }) => Outcome::Field { field, words },
                Err(Refusal { field: None, words }) => failed(words),
            },
            Job::Line { before } => {
                // As they are written now: before the doors are open nobody reads them anew.
                let settings = Settings::load(self.folder.path()).map_or_else(|_| house.settings.load_full(), Arc::new);
                let smtp = &settings.listeners.smtp;
                let port = smtp.port.checked_add(self.offset).filter(|_| smtp.on && self.folder.is_ready());
                let now = self.clock.now();
                let measured =
                    self.runtime.block_on(super::line::measure(&settings, port, before.as_ref(), &self.measuring, now));
                *self.measuring.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Outcome::Line(measured)
            }
            Job::Authority { contact } => match super::authority::accept(&house, contact) {
                Ok(()) => {
                    let failed = self.reread(&house);
                    self.open();
                    failed.unwrap_or(Outcome::Asked)
                }
                Err(why) => Outcome::Refused(why),
            },
            Job::Letter { to } => super::letter::post(&house, &self.runtime, &admin, to)
                .unwrap_or_else(|error| Outcome::Refused(error.to_string())),
            Job::Certificate { .. } => super::authority::again(&house, self.clock.now()),
            Job::Method { domain, new } => match How::of(new).and_then(|how| dns::use_method(&house, &how)) {
                Ok(kept) => {
                    if kept.is_ready() {
                        // It is kept. If something else is going on, the page shows that.
                        drop(begun(&house, domain, &Wish::default()));
                    }
                    Outcome::Asked
                }
                Err(error) => Outcome::Refused(error.to_string()),
            },
            Job::Write { domain, wish } => begun(&house, domain, wish),
            Job::House => {
                self.open();
                Outcome::Named { address: admin.address }
            }
            Job::Person { name, local, phrase } => {
                let mut bytes = [0u8; PHRASE_WORDS];
                OsRandom.fill(&mut bytes);
                let made = || words::of(&bytes).join("-");
                let phrase = if phrase.0.is_empty() { made() } else { phrase.0.clone() };
                let domain = admin.address.rsplit_once('@').map_or("", |(_, domain)| domain);
                let address = format!("{local}@{domain}");
                let password = Password(phrase.clone());
                let request = if self.waits(&house, &address, name) {
                    Request::AccountPassword { address: address.clone(), password, own: false }
                } else {
                    Request::AccountAdd { address: address.clone(), name: Some(name.clone()), quota: None, password }
                };
                match verbs::run(&house, &request).error {
                    None => Outcome::Added { address, phrase: Secret(phrase) },
                    Some(error) => Outcome::Refused(error),
                }
            }
            _ => Outcome::NotYet("this version of homepost cannot do that".to_owned()),
        }
    }

    fn mail(&self, facts: &mut Facts) -> Result<(), Error> {
        let Some(house) = self.house() else { return Ok(()) };
        let Some(admin) = self.admin(&house)? else { return Ok(()) };
        facts.letters = mailboxes::quota::usage(&house.data.read()?, admin.id).unwrap_or_default().emails;
        if facts.letters > 0 {
            facts.arrived = super::letter::arrived(&house, admin.id)?;
        }
        facts.going = super::letter::going(&house)?;
        facts.standstill = house.noted.keeps_all(&house).map(str::to_owned);
        let settings = house.settings.load();
        let domain = admin.address.rsplit_once('@').map_or("", |(_, domain)| domain);
        facts.writing = if domain == HOME { None } else { Some(dns::writing(&house, domain)?) };
        facts.relay = relays::known(&house);
        facts.plan = super::line::plan(&settings.line);
        facts.measuring = self.measuring.lock().unwrap_or_else(PoisonError::into_inner).clone();
        facts.authority = Some(super::authority::known(&house)?);
        facts.seen = house.directory.seen().into_iter().map(|(address, at)| Seen { address, at }).collect();
        Ok(())
    }
}

impl Host for Clerk {
    fn keep(&self, saved: &Saved) -> Result<(), String> {
        super::files::put_state(&self.folder, &saved.write()).map_err(|error| error.to_string())?;
        // What was chosen counts on when the state of the set-up is gone.
        if let (Some(house), Some(zone)) = (self.house(), &saved.zone)
            && house.settings.load().time_zone != *zone
        {
            // A file that its owner is just changing keeps nothing else from being kept; it is tried again at the next answer.
            match edit::set(self.folder.path(), "time_zone", zone.as_str()) {
                Ok(settings) => house.settings.store(settings.into()),
                Err(error) => warn!(%error, "the time zone is not in the settings yet"),
            }
        }
        // Who has not said one yet has perhaps set one.
        if let Some(language) = &saved.language {
            self.speak(language);
        }
        Ok(())
    }

    fn facts(&self) -> Facts {
        let now = self.clock.now();
        let mut facts = Facts::at(now);
        facts.clock = clock_state(now);
        facts.addresses = own_addresses();
        facts.stick = self.restoring.offered();
        facts.restoring = self.restoring.running();
        facts.not_restored = self.restoring.failed().map(|error| restoring::refused(&sentence(&error)));
        facts.internet = if super::super::opening::attached().way_out { Internet::Unknown } else { Internet::No };
        if let Err(error) = self.mail(&mut facts) {
            warn!(%error, "the set-up cannot look into the mailbox");
        }
        facts
    }

    fn run(&self, job: &Job) -> Outcome {
        match job {
            Job::Found { name, local, phrase } => self.found(name, local, phrase),
            Job::Restore { box_id, secret } => self.put_back(box_id, secret),
            Job::LookUp { domain } => match self.runtime.block_on(super::records::existing(domain)) {
                Ok(existing) => Outcome::Existing(existing),
                Err(why) => failed(why),
            },
            _ => self.with_house(job),
        }
    }

    fn zone(&self, domain: &str, relative: bool) -> Option<String> {
        super::records::zone(&*self.house()?, domain, relative)
    }

    fn household(&self) -> Option<(String, String)> {
        let house = self.house()?;
        let admin = self.admin(&house).ok().flatten()?;
        Some((house.settings.load().hostname.clone(), admin.address))
    }
}

fn begun(house: &Arc<House>, domain: &str, wish: &Wish) -> Outcome {
    match dns::begin(house, domain, wish.clone(), dns::PATIENCE) {
        Ok(_) => Outcome::Asked,
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

fn failed(why: String) -> Outcome {
    Outcome::Failed { why, next: "Please try again.".to_owned() }
}

/// On a box its own word counts; elsewhere a clock that was ever set.
fn clock_state(now: Time) -> ClockState {
    if super::super::time::trusted() && now.seconds() >= NEVER_SET {
        ClockState::Trusted
    } else {
        ClockState::Unchecked
    }
}

/// The machine's own addresses in the house.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    own(&read("/proc/net/fib_trie"), &read("/proc/net/if_inet6"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::wizard::Code;
    use crate::server::doors::Shift;

    /// The stores could not be opened the first time: the same answer again is taken, with the pass phrase of now.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_founded_a_house_that_did_not_open_can_answer_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let dir_path = dir.path().to_owned();
        let (tell, _told) = mpsc::unbounded_channel();
        let held = Held::default();
        let restoring = Restoring::new(&folder, &held, &tell, Shift::default());
        let clerk = Clerk::new(folder.clone(), held, tell, 0, restoring);
        tokio::task::spawn_blocking(move || {
            let first = Password("river oak lantern moon".to_owned());
            verbs::init(&folder, "homepost.home.arpa", HOME, "anna@home.arpa", Some("Anna"), &first).unwrap();
            let second = Secret("another phrase of mine".to_owned());
            let outcome = clerk.found("Anna", "ann", &second);
            assert_eq!(outcome, Outcome::Founded { address: "anna@home.arpa".to_owned() });
            let checked = clerk.run(&Job::Check { phrase: second });
            assert_eq!(checked, Outcome::Checked(true));
            let mut saved = Saved::new(Code::new(&OsRandom));
            saved.zone = Some("Europe/Berlin".to_owned());
            clerk.keep(&saved).unwrap();
            assert_eq!(Settings::load(folder.path()).unwrap().time_zone, "Europe/Berlin", "where the family lives");
            assert!(matches!(clerk.found("Eve", "eve", &Secret("x".into())), Outcome::Refused(_)), "there is a house");
            let sheet = "acorn actor album alley amber anchor ankle apple april apron";
            assert_eq!(clerk.run(&Job::Seal { words: Secret(sheet.to_owned()) }), Outcome::Sealed);
            let stick = tempfile::tempdir().unwrap();
            let house = clerk.house().unwrap();
            let made = backup::back_up(&house, stick.path(), true).unwrap();
            let opens = |words: &str| {
                let secret = Opens(words.to_owned());
                backup::verify(&house.folder, stick.path(), None, Some(&secret)).map(|(report, _)| report.sound)
            };
            assert_eq!(opens(sheet).unwrap(), [made.number]);
            assert!(opens("acorn actor album alley amber anchor ankle apple april zebra").is_err());
            for file in ["box", "key", "key-words.age"] {
                let bytes = std::fs::read(dir_path.join("backup").join(file)).unwrap();
                assert!(!String::from_utf8_lossy(&bytes).contains("acorn"), "{file} has the words in the clear");
            }
            house.close().unwrap();
        })
        .await
        .unwrap();
    }
}
