//! The household as pages and programs see it: what can be asked and done, with typed answers. The server implements it by
//! the verbs of the command line, so that whoever asks gets the same.
//!
//! Most of these wait for the disk, some for the network: they run on threads that may.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::appliance::wizard::{Refusal, Relay as NewRelay, Secret as Kept};
use crate::appliance::writing::{Method, NewMethod, Wish, Work, Writing};

/// A pass phrase, link or token on its way to its hash. It has no `Debug`.
#[derive(Clone)]
pub struct Secret(pub String);

/// Why it was not done, each with a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such thing.
    Missing(String),
    /// It is there already, or in use.
    Conflict(String),
    /// It cannot be used as it is.
    Refused(String),
    /// Not now.
    Unavailable(String),
    /// A mistake of ours. The sentence is for the log.
    Own(String),
}

/// An account that may sign in, at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub id: u32,
    pub address: String,
    pub name: Option<String>,
    pub administrator: bool,
    /// Another pass phrase, another fingerprint.
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Person {
    pub id: u32,
    pub address: String,
    pub name: Option<String>,
    /// Bytes; `None` is without limit.
    pub quota: Option<u64>,
    pub administrator: bool,
    pub disabled: bool,
    /// Seconds since 1970.
    pub created: i64,
    pub messages: u64,
    pub bytes: u64,
    pub has_password: bool,
    /// When it will be deleted (RFC 3339).
    pub leaves: Option<String>,
    /// Since when it may send nothing to other servers, having written to too many (RFC 3339).
    pub stopped: Option<String>,
    /// Until when its link holds (RFC 3339).
    pub invited_until: Option<String>,
}

/// A link that was made: until when it holds (RFC 3339), and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub address: String,
    pub until: String,
    #[serde(default)]
    pub link: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub alias: String,
    pub targets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    pub domain: String,
}

/// A record that a domain needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub relative: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    pub priority: Option<u16>,
    pub value: Option<String>,
    pub parts: Option<Vec<String>>,
    pub ttl: u32,
    pub purpose: String,
    pub publish: bool,
    pub reason: Option<String>,
}

/// What the domain's own name servers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub domain: String,
    pub zone: String,
    pub servers: Vec<String>,
    pub records: Vec<CheckedRecord>,
    pub advice: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedRecord {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub value: Option<String>,
    pub state: String,
    pub words: String,
    pub found: Vec<String>,
    /// Seconds.
    pub wait: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub name: String,
    pub port: u16,
    pub on: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub group: String,
    pub names: Vec<String>,
    /// `own`, `imported`, `authority`, or none yet.
    pub source: Option<String>,
    #[serde(default)]
    pub issuer: Option<String>,
    /// RFC 3339, as the two below.
    #[serde(default)]
    pub until: Option<String>,
    #[serde(default)]
    pub next: Option<String>,
    #[serde(default)]
    pub covers: Option<Vec<String>>,
    #[serde(default)]
    pub problem: Option<CertificateProblem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateProblem {
    pub name: String,
    pub words: String,
    pub until: Option<String>,
}

/// A letter that is still to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub id: u64,
    pub from: Option<String>,
    pub size: u64,
    /// RFC 5322.
    pub queued: String,
    pub recipients: Vec<Recipient>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub address: String,
    pub state: String,
    /// RFC 5322.
    pub due: String,
    pub attempts: u32,
    pub last: Option<String>,
}

/// What others report about letters in our name, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    pub reports: Vec<Report>,
    /// Sentences.
    pub advice: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub id: String,
    /// `dmarc`, `tls`, `failure`, `abuse`, `unread`.
    pub kind: String,
    /// RFC 3339, as `begin` and `end`.
    pub received: String,
    /// The domain that the letter says it is from, and whether that is proven.
    pub sender: String,
    pub proven: bool,
    /// Who reports, as it calls itself.
    pub reporter: String,
    pub domain: String,
    pub begin: Option<String>,
    pub end: Option<String>,
    /// Letters or connections, and how many of them were as they should be.
    pub count: u64,
    pub good: u64,
    /// `good`, `look`, `unread`.
    pub state: String,
    /// Sentences.
    pub words: Vec<String>,
    pub rows: Vec<ReportRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRow {
    pub source: Option<String>,
    pub letters: u64,
    /// `taken`, `quarantined`, `refused`.
    pub done: String,
    pub dkim: bool,
    pub spf: bool,
}

/// How it stands with the system's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    pub version: String,
    /// It has yet to be confirmed.
    pub on_trial: bool,
    /// While one is being brought here, or written.
    pub now: Option<UpdateNow>,
    /// The version that waits for the next start.
    pub ready: Option<String>,
    pub last: Option<UpdateLast>,
    /// Where new versions are looked for.
    pub url: Option<String>,
    /// What is found there is put on the box without being asked.
    pub by_itself: bool,
    /// RFC 3339.
    pub looked: Option<String>,
    /// The newest first.
    pub offers: Vec<Offered>,
    /// Why nobody knows: a sentence.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateNow {
    /// A sentence.
    pub words: String,
    pub percent: u8,
}

/// What became of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateLast {
    pub failed: bool,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    pub version: String,
    /// `url` or `stick`.
    pub source: String,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: u32,
    pub name: String,
    /// In whose name it acts.
    pub account: String,
    /// `read` or `all`.
    pub scope: String,
    /// RFC 3339.
    pub created: String,
    pub until: String,
}

/// Who asks with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The administrator in whose name it acts.
    pub address: String,
    /// Whether it may change things.
    pub all: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub about: String,
    /// Which domain, if it is about one.
    pub subject: Option<String>,
    /// `bad`, `needs-you`, `waiting`.
    pub state: String,
    pub words: String,
    pub next: String,
}

/// A mail program of somebody, with a password of its own. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    pub id: u32,
    pub name: String,
    pub created: String,
    /// When it logged in last.
    pub used: Option<String>,
    /// Until when its profile can be fetched.
    pub waits_until: Option<String>,
}

/// What is known of backups to a stick. Times are RFC 3339.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    /// This is a box, which looks for sticks by itself. Elsewhere its owner sees to backups by the command line.
    pub by_itself: bool,
    /// There are words or a pass phrase that open the backups.
    pub sheet: bool,
    /// The name of the stick that is in, if there is one of any kind.
    pub stick: Option<String>,
    /// Why that is not used, in a sentence; or `null`: backups go to it, or there is none.
    pub unused: Option<String>,
    /// It holds nothing that is known, or things of somebody else's: it can be emptied, and made one for backups.
    pub can_be_prepared: bool,
    /// Where backups are on it.
    pub folder: Option<String>,
    /// What is being done since when, and how many seconds all of it took the last time.
    pub running: Option<RunningBackup>,
    /// When the last was made, how many letters are in it, and when one was last read back from end to end.
    pub made: Option<String>,
    pub messages: u64,
    pub verified: Option<String>,
    /// `nothing`, `fine`, `warning`, `wrong`.
    pub state: String,
    /// What is wrong, and what to do: sentences.
    pub words: Option<String>,
    pub next: Option<String>,
    /// What was on the stick last, the newest first.
    pub kept: Vec<KeptBackup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningBackup {
    /// `writing`, `reading`.
    pub step: String,
    pub since: String,
    pub last_seconds: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBackup {
    pub number: u32,
    pub time: String,
    /// All letters, and not the settings alone.
    pub everything: bool,
    pub letters: u64,
}

/// New words, before they count.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSheet {
    pub words: Vec<&'static str>,
    /// The two that are asked back (from 0).
    pub asked: (usize, usize),
}

/// What can be done with what is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Retry,
    Hold,
    Release,
    /// Nobody is told.
    Cancel,
}

pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A server of somebody else's that letters leave through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Empty for the one that takes all letters.
    pub name: String,
    /// Whose letters it takes; `None` is everybody's.
    pub domains: Option<Vec<String>>,
    pub host: String,
    pub port: u16,
    /// `implicit` or `starttls`.
    pub tls: String,
    pub user: String,
    /// There is one for this server.
    pub password: bool,
    /// What stands for it in SPF records.
    pub spf: String,
}

pub trait Household: Send + Sync + 'static {
    /// By which mail programs and people reach us.
    fn hostname(&self) -> String;
    /// In which times are shown; empty: universal time.
    fn time_zone(&self) -> String;
    /// In which the household's pages are, as `de`; empty: what each browser asks for.
    fn language(&self) -> String;

    /// `None`: refused, whatever the reason. Who guesses waits, by address. A password of a device signs nobody in here.
    fn sign_in(&self, peer: IpAddr, address: String, phrase: Secret) -> Later<'_, Result<Option<Standing>, Error>>;
    /// Makes a link by which an administrator chooses a new pass phrase, for whoever has the words of the recovery sheet or the
    /// code that is on the screen. `None`: it is neither, or not an administrator's address. [`Error::Unavailable`]: who has
    /// tried many times waits.
    fn recover(&self, address: &str, proof: &Secret) -> Result<Option<Secret>, Error>;
    /// Shows a code on the screen of the box. [`Error::Refused`]: there is none.
    fn show_code(&self) -> Result<(), Error>;
    /// The box restarts, and nothing is left of what it held. [`Error::Refused`]: this is no box.
    fn erase(&self) -> Result<(), Error>;
    /// `None`: it may not sign in (any more).
    fn standing(&self, id: u32) -> Result<Option<Standing>, Error>;

    fn people(&self) -> Result<Vec<Person>, Error>;
    fn person(&self, address: &str) -> Result<Person, Error>;
    /// With a pass phrase that others chose.
    fn add(&self, address: &str, name: Option<&str>, quota: Option<u64>, phrase: &Secret) -> Result<(), Error>;
    fn invite(&self, address: &str, name: Option<&str>, quota: Option<u64>) -> Result<Link, Error>;
    fn link(&self, address: &str) -> Result<Link, Error>;
    /// For whom a link is.
    fn invited(&self, link: &Secret) -> Result<Option<Person>, Error>;
    /// Gives the address.
    fn accept(&self, link: &Secret, phrase: &Secret) -> Result<String, Error>;
    fn set_phrase(&self, address: &str, phrase: &Secret) -> Result<(), Error>;

    /// The same by its owner: an account that may not send still may not.
    fn change_phrase(&self, address: &str, phrase: &Secret) -> Result<(), Error>;
    fn set_quota(&self, address: &str, quota: Option<u64>) -> Result<(), Error>;
    fn set_administrator(&self, address: &str, on: bool) -> Result<(), Error>;
    fn leave(&self, address: &str) -> Result<(), Error>;
    fn keep(&self, address: &str) -> Result<(), Error>;
    /// It may send again.
    fn resume(&self, address: &str) -> Result<(), Error>;

    fn aliases(&self) -> Result<Vec<Alias>, Error>;
    fn add_alias(&self, alias: &str, targets: &[String]) -> Result<Alias, Error>;
    fn delete_alias(&self, alias: &str) -> Result<(), Error>;

    fn domains(&self) -> Result<Vec<Domain>, Error>;
    fn add_domain(&self, domain: &str) -> Result<Domain, Error>;
    fn delete_domain(&self, domain: &str) -> Result<(), Error>;
    fn records(&self, domain: &str) -> Result<Vec<Record>, Error>;
    /// Asks the domain's name servers; takes some seconds.
    fn check(&self, domain: &str) -> Result<Checked, Error>;

    /// How records are written.
    fn method(&self) -> Result<Method, Error>;
    /// Asks nobody: whether a secret is taken shows with the first look.
    fn set_method(&self, new: &NewMethod) -> Result<Method, Error>;
    /// What is being done, or was done last, for a domain.
    fn writing(&self, domain: &str) -> Result<Writing, Error>;
    /// Goes on by itself; waits for two seconds at most.
    fn begin_writing(&self, domain: &str, wish: Wish) -> Result<Work, Error>;

    fn ports(&self) -> Result<Vec<Port>, Error>;
    /// Beside the port as it is then, what did not work.
    fn switch(&self, port: &str, on: bool) -> Result<(Port, Option<String>), Error>;

    fn certificates(&self) -> Result<Vec<Certificate>, Error>;
    /// Errors: there is no authority that could be asked.
    fn may_renew(&self) -> Result<(), Error>;
    /// Asks the authority; may take minutes. What comes of it is in [`Household::certificates`].
    fn renew(&self, name: Option<&str>) -> Result<(), Error>;

    /// Somebody's mail programs.
    fn devices(&self, address: &str) -> Result<Vec<Device>, Error>;
    /// Gives its password.
    fn add_device(&self, address: &str, name: &str) -> Result<Secret, Error>;
    /// Gives the link by which it fetches its profile.
    fn link_device(&self, address: &str, name: &str) -> Result<Secret, Error>;
    fn remove_device(&self, address: &str, id: u32) -> Result<(), Error>;

    /// The oldest first, a thousand at most.
    fn queue(&self) -> Result<Vec<Letter>, Error>;
    fn letter(&self, id: u64) -> Result<Letter, Error>;
    /// Does it to this letter, or to every one. Errors: it is not there, or nothing of it is in a state for that.
    fn act(&self, what: Act, id: Option<u64>) -> Result<(), Error>;
    fn relays(&self) -> Result<Vec<Relay>, Error>;
    /// Keeps one with a name for these domains, or the one without a name for all letters; without a host it goes. An empty password
    /// leaves the one that is there. What is wrong with it, if something is.
    fn keep_relay(
        &self,
        name: &str,
        domains: &str,
        relay: &NewRelay,
        password: &Kept,
    ) -> Result<Option<Refusal>, Error>;
    /// Why nothing leaves at all, in a sentence, if that is so.
    fn standstill(&self) -> Option<String>;
    fn reports(&self) -> Result<Reports, Error>;
    fn problems(&self) -> Result<Vec<Problem>, Error>;

    fn updates(&self) -> Result<Updates, Error>;
    /// Looks now; may take a minute. That a server could not be asked is in the answer.
    fn check_updates(&self) -> Result<Updates, Error>;
    /// Begins; what becomes of it is in [`Household::updates`].
    fn install_update(&self, version: &str) -> Result<(), Error>;
    fn backups(&self) -> Result<Backups, Error>;
    /// Backs up to the stick; waits for two seconds at most, and then goes on by itself.
    fn back_up(&self) -> Result<(), Error>;
    /// Empties the stick that is in, and makes it one for backups.
    fn prepare_stick(&self) -> Result<(), Error>;
    /// Makes new words for a recovery sheet. They count when [`Household::take_sheet`] was given two of them.
    fn new_sheet(&self) -> NewSheet;
    /// Those that were made last and do not count yet.
    fn sheet(&self) -> Option<NewSheet>;
    /// Whether both fit; if so, the words take the place of those before.
    fn take_sheet(&self, first: &str, second: &str) -> Result<(bool, bool), Error>;

    fn tokens(&self) -> Result<Vec<Token>, Error>;
    fn add_token(&self, address: &str, name: &str, scope: &str, days: u32, token: &Secret) -> Result<Token, Error>;
    fn delete_token(&self, id: u32) -> Result<(), Error>;
    /// The token, and in whose name it acts. `None`: it opens nothing (any more).
    fn bearer(&self, token: &Secret) -> Result<Option<Bearer>, Error>;
}
