//! What the command line can do to a data folder: one verb a file, the same on either side of the control socket.
//!
//! A reply has words for people and JSON for scripts; neither holds a secret (V2).

mod account;
mod alias;
mod appliance;
pub(super) mod backup;
mod cert;
mod check;
mod device;
mod dkim;
mod dns;
mod domain;
mod init;
mod listeners;
mod nag;
mod problems;
mod queue;
mod relay;
mod reports;
mod salvage;
mod token;
mod update;

pub(super) use account::{delete_due, link_of, new_link, remove_closed};
pub(super) use cert::may_renew;
pub(super) use device::profile_link_of;
pub(super) use dns::Form as DnsForm;
pub(super) use dns::facts as dns_facts;
pub(super) use init::init;
pub(super) use nag::nag;
pub(super) use problems::{Noted, look_at_records};

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::account as mailboxes;
use crate::appliance::backup::Step;
use crate::appliance::writing::Wish;
use crate::base::{Family, Fault};
use crate::directory;
use crate::settings;
use crate::store;

use super::dns::How;
use super::folder::Folder;
use super::house::{House, store_failed};

/// A password on its way from stdin to its hash. It has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret(pub String);

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Request {
    Init {
        hostname: String,
        domain: String,
        admin: String,
        name: Option<String>,
        password: Secret,
    },
    /// All that a `homepost.toml` says.
    InitFrom {
        text: Secret,
    },
    AccountAdd {
        address: String,
        name: Option<String>,
        quota: Option<u64>,
        password: Secret,
    },
    AccountList,
    AccountShow {
        address: String,
    },
    AccountPassword {
        address: String,
        password: Secret,
        /// By its owner.
        #[serde(default)]
        own: bool,
    },
    AccountQuota {
        address: String,
        quota: Option<u64>,
    },
    AccountDelete {
        address: String,
    },
    /// Deletes it later; until then it can be kept.
    AccountLeave {
        address: String,
    },
    AccountKeep {
        address: String,
    },
    /// It was stopped for writing to too many, and may send again.
    AccountResume {
        address: String,
    },
    AccountAdministrator {
        address: String,
        on: bool,
    },
    /// A new account, whose owner chooses the pass phrase by the link with this secret.
    AccountInvite {
        address: String,
        name: Option<String>,
        quota: Option<u64>,
        link: Secret,
    },
    AccountLink {
        address: String,
        link: Secret,
    },
    AccountAccept {
        link: Secret,
        password: Secret,
    },
    AliasAdd {
        alias: String,
        targets: Vec<String>,
    },
    AliasList,
    AliasDelete {
        alias: String,
    },
    DeviceAdd {
        address: String,
        name: String,
        password: Secret,
    },
    DeviceLink {
        address: String,
        name: String,
        link: Secret,
    },
    DeviceList {
        address: String,
    },
    DeviceRemove {
        address: String,
        id: u32,
    },
    DomainAdd {
        domain: String,
    },
    DomainList,
    DomainDelete {
        domain: String,
    },
    DnsRecords {
        domain: String,
        addresses: Vec<IpAddr>,
        zone: Option<DnsForm>,
        relative: bool,
    },
    DnsCheck {
        domain: String,
        addresses: Vec<IpAddr>,
        servers: Vec<SocketAddr>,
    },
    /// Without a domain, of all.
    DkimList {
        domain: Option<String>,
    },
    DkimRotate {
        domain: String,
    },
    DnsUse {
        how: Option<How>,
    },
    DnsPush {
        domain: String,
        addresses: Vec<IpAddr>,
        wish: Wish,
    },
    CertList,
    CertRenew {
        name: Option<String>,
        force: bool,
    },
    CertImport {
        chain: String,
        key: Secret,
    },
    CertRemove {
        name: String,
    },
    CertAccount {
        binding: Option<(String, Secret)>,
    },
    QueueList,
    QueueShow {
        id: u64,
    },
    /// Without a number, everything.
    QueueDo {
        what: QueueAct,
        id: Option<u64>,
    },
    RelayList,
    /// Without a name, of the one for everything.
    RelayPassword {
        name: Option<String>,
        password: Secret,
    },
    ReportsList,
    ReportsShow {
        id: String,
    },
    ReportsSend {
        today: bool,
    },
    TokenAdd {
        address: String,
        name: String,
        scope: String,
        days: u32,
        token: Secret,
    },
    TokenList,
    TokenDelete {
        id: u32,
    },
    Problems,
    Listeners,
    ListenersSwitch {
        name: String,
        on: bool,
    },
    Check,
    CheckSalvage,
    BackupCreate {
        to: PathBuf,
        configuration: bool,
    },
    BackupList {
        from: PathBuf,
    },
    BackupVerify {
        from: PathBuf,
        box_id: Option<String>,
        secret: Option<Secret>,
    },
    BackupRestore {
        from: PathBuf,
        box_id: Option<String>,
        secret: Secret,
    },
    /// To the stick, now.
    BackupNow,
    /// What is known of backups to sticks.
    BackupStatus,
    /// Empties the stick that is in.
    BackupPrepare,
    /// Ten words, or a phrase.
    BackupKey {
        phrase: bool,
        secret: Secret,
    },
    /// Looks whether there is a newer version, at `update.url` and on the stick.
    UpdateCheck,
    /// What was found then, and how it stands.
    UpdateList,
    /// Puts one on the box that was found; without a version the newest.
    UpdateInstall {
        version: Option<String>,
    },
    Box {
        what: AboutBox,
    },
    Setup {
        answer: Option<SetupAnswer>,
    },
}

impl Request {
    /// What may be asked while nothing may be changed.
    pub fn only_looks(&self) -> bool {
        matches!(
            self,
            Request::Listeners
                | Request::Check
                | Request::Problems
                | Request::AccountList
                | Request::DomainList
                | Request::CertList
                | Request::QueueList
                | Request::BackupStatus
                | Request::UpdateList
                | Request::Box { what: AboutBox::Status }
        )
    }
}

/// What can be done with a letter in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum QueueAct {
    Retry,
    Hold,
    Release,
    Cancel,
}

/// What the console can say to a set-up that is going on; without it the reply says how far that is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum SetupAnswer {
    Domain {
        domain: String,
        host: String,
        take_over: bool,
    },
    Certificate {
        contact: String,
    },
    /// Without a host: none any more. An empty password leaves the one that is there.
    Relay {
        host: String,
        port: u16,
        tls: String,
        user: String,
        spf: String,
        password: Secret,
    },
    House,
    Again {
        step: String,
    },
    Finish,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AboutBox {
    Status,
    Reboot,
    PowerOff,
    /// Makes it as new.
    Erase,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// For people: whole lines, or nothing.
    pub text: String,
    /// For scripts.
    pub json: Value,
    /// Why it was not done, or what does not hold: exit status 1.
    pub error: Option<String>,
}

impl Reply {
    pub fn done(text: impl Into<String>, json: Value) -> Reply {
        Reply { text: text.into(), json, error: None }
    }

    pub fn failed(error: impl Into<String>) -> Reply {
        Reply { text: String::new(), json: Value::Null, error: Some(error.into()) }
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Reply {
        Reply::failed(error.to_string())
    }
}

/// Why a verb was not done.
#[derive(Debug)]
pub(super) enum Error {
    Directory(directory::Error),
    Mailboxes(mailboxes::Error),
    /// The store failed.
    Store(store::Error),
    Words(String),
}

impl Error {
    /// Whose fault it is; what only has words is the fault of who asked.
    pub fn family(&self) -> Family {
        match self {
            Error::Directory(error) => error.family(),
            Error::Mailboxes(error) => error.family(),
            Error::Store(store::Error::Corrupt(_) | store::Error::Panicked(_)) => Family::Own,
            Error::Store(_) => Family::World,
            Error::Words(_) => Family::Peer,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Directory(directory::Error::Store(error)) | Error::Mailboxes(mailboxes::Error::Store(error)) => {
                f.write_str(&store_failed(error))
            }
            Error::Store(error) => f.write_str(&store_failed(error)),
            Error::Directory(error) => error.fmt(f),
            Error::Mailboxes(error) => error.fmt(f),
            Error::Words(words) => f.write_str(words),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::Store(error)
    }
}

impl From<directory::Error> for Error {
    fn from(error: directory::Error) -> Error {
        Error::Directory(error)
    }
}

impl From<mailboxes::Error> for Error {
    fn from(error: mailboxes::Error) -> Error {
        Error::Mailboxes(error)
    }
}

impl From<settings::Error> for Error {
    fn from(error: settings::Error) -> Error {
        Error::Words(error.to_string())
    }
}

impl From<String> for Error {
    fn from(words: String) -> Error {
        Error::Words(words)
    }
}

type Done = Result<Reply, Error>;

/// Puts a backup back, and says how far it is. Blocks, and for long.
pub(super) fn restore(
    folder: &Folder,
    from: &Path,
    box_id: Option<&str>,
    secret: &Secret,
    tell: &mut dyn FnMut(Step, u64, u64),
) -> Reply {
    backup::restore(folder, from, box_id, secret, false, tell).unwrap_or_else(Reply::from)
}

/// The verbs that run without opened stores; `None` for the others.
pub(super) fn run_closed(folder: &Folder, request: &Request) -> Option<Reply> {
    let done = match request {
        Request::Box { what } => appliance::run(*what),
        Request::Init { hostname, domain, admin, name, password } => {
            init::init(folder, hostname, domain, admin, name.as_deref(), password)
        }
        Request::InitFrom { text } => return Some(super::setup::file_closed(folder, text)),
        Request::Setup { .. } => Err(Error::Words("no set-up is going on: `homepost serve` begins one".to_owned())),
        Request::CheckSalvage => salvage::salvage(folder),
        Request::BackupList { .. } | Request::BackupVerify { .. } => return run_beside(folder, request),
        Request::BackupRestore { from, box_id, secret } => {
            backup::restore(folder, from, box_id.as_deref(), secret, false, &mut |_, _, _| ())
        }
        _ if !folder.is_set_up() => {
            let path = folder.path().display();
            Err(Error::Words(format!("{path} is not set up yet; `homepost init` does it")))
        }
        _ => return None,
    };
    Some(done.unwrap_or_else(Reply::from))
}

/// The verbs that touch nothing, and need no lock; `None` for the others.
pub(super) fn run_beside(folder: &Folder, request: &Request) -> Option<Reply> {
    let done = match request {
        Request::BackupList { from } => backup::list(from),
        Request::BackupVerify { from, box_id, secret } => {
            backup::verify(folder, from, box_id.as_deref(), secret.as_ref())
        }
        _ => return None,
    };
    Some(done.unwrap_or_else(Reply::from))
}

/// Runs a verb on an open house.
pub(super) fn run(house: &House, request: &Request) -> Reply {
    attempt(house, request).unwrap_or_else(Reply::from)
}

/// The same for who has to know whose fault it is.
pub(super) fn attempt(house: &House, request: &Request) -> Done {
    let done = match request {
        Request::Init { .. } | Request::InitFrom { .. } | Request::BackupRestore { .. } => {
            Err(Error::Words(format!("{} is set up already", house.folder.path().display())))
        }
        Request::AccountAdd { address, name, quota, password } => {
            account::add(house, address, name.as_deref(), *quota, password)
        }
        Request::AccountList => account::list(house),
        Request::AccountShow { address } => account::show(house, address),
        Request::AccountPassword { address, password, own } => account::password(house, address, password, *own),
        Request::AccountQuota { address, quota } => account::quota(house, address, *quota),
        Request::AccountDelete { address } => account::delete(house, address),
        Request::AccountLeave { address } => account::leave(house, address),
        Request::AccountKeep { address } => account::keep(house, address),
        Request::AccountResume { address } => account::resume(house, address),
        Request::AccountAdministrator { address, on } => account::administrator(house, address, *on),
        Request::AccountInvite { address, name, quota, link } => {
            account::invite(house, address, name.as_deref(), *quota, link)
        }
        Request::AccountLink { address, link } => account::link(house, address, link),
        Request::AccountAccept { link, password } => account::accept(house, link, password),
        Request::AliasAdd { alias, targets } => alias::add(house, alias, targets),
        Request::AliasList => alias::list(house),
        Request::AliasDelete { alias } => alias::delete(house, alias),
        Request::DeviceAdd { address, name, password } => device::add(house, address, name, password),
        Request::DeviceLink { address, name, link } => device::link(house, address, name, link),
        Request::DeviceList { address } => device::list(house, address),
        Request::DeviceRemove { address, id } => device::remove(house, address, *id),
        Request::DomainAdd { domain } => domain::add(house, domain),
        Request::DomainList => domain::list(house),
        Request::DomainDelete { domain } => domain::delete(house, domain),
        Request::DnsRecords { domain, addresses, zone, relative } => {
            dns::records(house, domain, addresses, *zone, *relative)
        }
        Request::DnsCheck { domain, addresses, servers } => dns::check(house, domain, addresses, servers),
        Request::DkimList { domain } => dkim::list(house, domain.as_deref()),
        Request::DkimRotate { domain } => dkim::rotate(house, domain),
        Request::DnsUse { how } => dns::use_method(house, how.as_ref()),
        Request::DnsPush { domain, addresses, wish } => dns::push(house, domain, addresses, wish),
        Request::CertList => cert::list(house),
        Request::CertRenew { name, force } => cert::renew(house, name.as_deref(), *force),
        Request::CertImport { chain, key } => cert::import(house, chain, key),
        Request::CertRemove { name } => cert::remove(house, name),
        Request::CertAccount { binding } => cert::account(house, binding.as_ref()),
        Request::QueueList => queue::list(house),
        Request::QueueShow { id } => queue::show(house, *id),
        Request::QueueDo { what, id } => queue::act(house, *what, *id),
        Request::RelayList => relay::list(house),
        Request::RelayPassword { name, password } => relay::password(house, name.as_deref(), password),
        Request::ReportsList => reports::list(house),
        Request::ReportsShow { id } => reports::show(house, id),
        Request::ReportsSend { today } => reports::send(house, *today),
        Request::TokenAdd { address, name, scope, days, token } => {
            token::add(house, address, name, scope, *days, token)
        }
        Request::TokenList => token::list(house),
        Request::TokenDelete { id } => token::delete(house, *id),
        Request::Problems => problems::list(house),
        Request::Listeners => listeners::list(house),
        Request::ListenersSwitch { name, on } => listeners::switch(house, name, *on),
        Request::Check => check::check(house),
        Request::BackupCreate { to, configuration } => backup::create(house, to, *configuration),
        Request::BackupNow => backup::now(house),
        Request::BackupStatus => backup::status(house),
        Request::BackupPrepare => backup::prepare(),
        Request::BackupKey { phrase, secret } => backup::key(&house.folder, *phrase, secret),
        Request::BackupList { .. } | Request::BackupVerify { .. } => {
            return run_beside(&house.folder, request).map_or_else(|| Ok(Reply::failed("nothing was done")), Ok);
        }
        Request::Setup { .. } => Err(Error::Words("no set-up is going on".to_owned())),
        Request::UpdateCheck => update::check(house),
        Request::UpdateList => update::list(house),
        Request::UpdateInstall { version } => update::install(house, version.as_deref()),
        Request::Box { what } => appliance::run(*what),
        Request::CheckSalvage => Err(Error::Words("salvage works on closed stores: stop the server first".to_owned())),
    };
    if let (Request::DnsCheck { .. }, Ok(reply)) = (request, &done) {
        house.noted.records(house.clock.now(), &reply.json);
    }
    // A domain more or less changes which names need a certificate.
    if done.is_ok() && matches!(request, Request::DomainAdd { .. } | Request::DomainDelete { .. }) {
        house.certificates.poke();
    }
    done
}
