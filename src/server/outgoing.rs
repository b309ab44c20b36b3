//! Letters for elsewhere leave: binds the sender to this house.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::base::AccountId;
use crate::delivery::Reports;
use crate::delivery::remote::{Fate, Relay, Sender, Way, World};
use crate::directory::manage::account;
use crate::mailauth::tlsrpt;
use crate::net::dns::{Asker, Proven};
use crate::net::{ClientTls, Roots};
use crate::proto::smtp::client::Login;
use crate::settings;
use crate::store::lookup::Lookup;

use super::certificates;
use super::dns::RESOLVERS;
use super::doors::Shift;
use super::folder;
use super::house::House;
use super::limits;
use super::relays::PASSWORD as RELAY_PASSWORD;

/// Of the servers that take a domain's mail (RFC 5321 4.5.4.2).
const SMTP: u16 = 25;
/// In all, and to one destination: a house has few letters at a time, and every server minds a crowd.
const CONNECTIONS: usize = 20;
const CONNECTIONS_TO_ONE: usize = 4;
/// A file of keys longer than this is none.
const KEY_BYTES: u64 = 64 * 1024;
/// A password file longer than this holds none.
const PASSWORD_BYTES: u64 = 4096;

/// With this the ENVID of a letter begins of which somebody at a page wants to know what becomes of it.
pub(super) const TRIAL: &str = "homepost-trial-";
/// Of the last of them it is known.
const FATES: usize = 8;

/// What became of trial letters, until the next start.
#[derive(Default)]
pub(super) struct Fates(Mutex<VecDeque<Fate>>);

impl Fates {
    pub fn all(&self) -> Vec<Fate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn take(&self, fate: Fate) {
        if !fate.envid.starts_with(TRIAL) {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(fate);
        while all.len() > FATES {
            all.pop_front();
        }
    }
}

/// Until `stop` turns true.
pub(super) async fn run(house: Arc<House>, shift: Shift, mut stop: watch::Receiver<bool>) {
    // Who serves this machine only (a trial, a test) sends nothing into the world.
    if shift.bind.is_some_and(|address| address.is_loopback()) {
        info!("bound to this machine, so letters for elsewhere wait in the queue");
        house.noted.bound();
        let _ = stop.wait_for(|stop| *stop).await;
        return;
    }
    let (data, clock, random) = (house.data.clone(), house.clock.clone(), house.random.clone());
    let bell = house.bell.clone();
    let facts = {
        let house = house.clone();
        let look = move || {
            bind_passwords(&house);
            house.facts().clone()
        };
        tokio::task::spawn_blocking(look).await
    };
    let Ok(facts) = facts else { return };
    let world =
        Outside { house, opportunistic: OnceLock::new(), proven: Mutex::default(), reports: Reports::new(facts) };
    Sender::new(data, clock, random, world, bell).run(stop).await;
}

struct Outside {
    house: Arc<House>,
    opportunistic: OnceLock<Option<ClientTls>>,
    proven: Mutex<Option<Prover>>,
    reports: Reports,
}

/// One that remembers, and what it was made from.
struct Prover {
    resolvers: String,
    anchor: String,
    /// `None`: nothing could be made of it.
    made: Option<Arc<Proven>>,
}

impl World for Outside {
    fn way(&self) -> Way {
        let settings = self.house.settings.load();
        let relay = |name: &str, domains: Option<Vec<String>>, relay: &settings::Relay| Relay {
            name: name.to_owned(),
            domains,
            host: relay.host.clone(),
            port: relay.port,
            implicit: relay.tls == "implicit",
            login: Some(&relay.user).filter(|user| !user.is_empty()).map(|user| Login {
                user: user.clone(),
                password: password(&self.house, name, relay),
                nonce: format!("{:016x}{:016x}", self.house.random.u64(), self.house.random.u64()),
            }),
            trust: relay.trust.clone(),
        };
        let some = settings.relays.iter().map(|one| relay(&one.name, Some(one.domains.clone()), &one.relay));
        let all = std::iter::once(relay("", None, &settings.relay));
        let relays = some.chain(all).filter(|relay| !relay.host.is_empty()).collect();
        let source: Vec<IpAddr> =
            settings.sending.source.split_whitespace().filter_map(|one| one.parse().ok()).collect();
        Way {
            hostname: settings.hostname.clone(),
            on: settings.sending.on,
            relays,
            source,
            port: SMTP,
            queue: limits::queue(&settings),
            connections: CONNECTIONS,
            connections_to_one: CONNECTIONS_TO_ONE,
        }
    }

    fn asker(&self) -> Asker {
        Asker::new(self.house.random.clone(), &std::fs::read_to_string(RESOLVERS).unwrap_or_default())
    }

    fn proven(&self) -> Option<Arc<Proven>> {
        let resolvers = std::fs::read_to_string(RESOLVERS).unwrap_or_default();
        let settings = self.house.settings.load();
        if !settings.sending.dane {
            return None;
        }
        let anchor = settings.sending.root_keys.clone();
        let mut kept = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.resolvers == resolvers && kept.anchor == anchor) {
            return kept.made.clone();
        }
        let made = root_keys(&self.house, &anchor)
            .and_then(|keys| Proven::new(&resolvers, keys.as_deref(), self.house.clock.clone()))
            .inspect_err(|error| warn!(error, "sending.root_keys: nothing is proven (DNSSEC), so there is no DANE"));
        let made = made.ok().map(Arc::new);
        *kept = Some(Prover { resolvers, anchor, made: made.clone() });
        made
    }

    fn roots(&self) -> Roots {
        let settings = self.house.settings.load();
        certificates::roots(&self.house, "sending.trust", &settings.sending.trust)
            .inspect_err(|error| warn!(error, "those that browsers trust count instead"))
            .unwrap_or(Roots::Public)
    }

    fn facts(&self) -> Arc<dyn Lookup> {
        self.house.facts().clone()
    }

    fn opportunistic(&self) -> Option<ClientTls> {
        let make = || ClientTls::opportunistic().inspect_err(|error| error!(%error, "letters leave without TLS")).ok();
        self.opportunistic.get_or_init(make).clone()
    }

    fn verified(&self, trust: &str) -> Option<ClientTls> {
        let roots = certificates::roots(&self.house, "the relay's `trust`", trust);
        let roots = roots.inspect_err(|error| warn!(error, "those that browsers trust count instead"));
        ClientTls::verified(&roots.unwrap_or(Roots::Public))
            .inspect_err(|error| error!(%error, "the relay's certificate cannot be checked"))
            .ok()
    }

    fn caretakers(&self) -> Vec<AccountId> {
        let people = self.house.data.read().ok().and_then(|read| account::list(&read).ok()).unwrap_or_default();
        let may = |one: &account::Shown| one.administrator && !one.disabled && !one.closing;
        people.iter().filter(|one| may(one)).map(|one| one.id).collect()
    }

    fn fate(&self, fate: Fate) {
        self.house.fates.take(fate);
    }

    fn note(&self, outcome: tlsrpt::Outcome) {
        let result = outcome.result.as_ref().map_or_else(|failure| failure.kind.word(), |()| "secured");
        debug!(domain = outcome.domain, policy = outcome.policy.kind.word(), mx = outcome.mx.as_deref(), result, "TLS");
        self.reports.count_session(&outcome);
    }
}

/// The keys of the root zone in a file of the data folder; `None` without one. Errors: a sentence.
fn root_keys(house: &House, file: &str) -> Result<Option<String>, String> {
    if file.is_empty() {
        return Ok(None);
    }
    let path = house.folder.path().join(file);
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|file| std::io::Read::read_to_string(&mut std::io::Read::take(file, KEY_BYTES), &mut text))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(text))
}

/// Where a relay's password is, by the relay's name.
fn password_file(name: &str) -> String {
    if name.is_empty() { RELAY_PASSWORD.to_owned() } else { format!("{RELAY_PASSWORD}-{name}") }
}

/// And whom it is for: no name has a dot in it.
fn bound_file(name: &str) -> String {
    format!("{}.for", password_file(name))
}

fn server(relay: &settings::Relay) -> String {
    format!("{}:{}", relay.host.to_ascii_lowercase(), relay.port)
}

/// What is kept of a relay's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptPassword {
    None,
    /// It was given for another server than the settings name now, which gets none of it.
    ForAnother,
    Kept,
}

pub(super) fn kept_password(house: &House, name: &str, relay: &settings::Relay) -> KeptPassword {
    let path = house.folder.path();
    match (path.join(password_file(name)).exists(), read_short(&path.join(bound_file(name)))) {
        (false, _) => KeptPassword::None,
        (true, Ok(bound)) if bound.trim() != server(relay) => KeptPassword::ForAnother,
        // Of a version that did not write it down; the next start does.
        (true, Err(error)) if error.kind() != std::io::ErrorKind::NotFound => KeptPassword::ForAnother,
        (true, _) => KeptPassword::Kept,
    }
}

/// Keeps it, for that server and no other.
pub(super) fn keep_password(
    house: &House,
    name: &str,
    relay: &settings::Relay,
    password: &str,
) -> Result<(), std::io::Error> {
    let path = house.folder.path();
    // A cut in between leaves none, which is said where one looks; never one for a server that it was not given for.
    folder::remove(&path.join(password_file(name)))?;
    folder::write(&path.join(bound_file(name)), server(relay).as_bytes())?;
    folder::write(&path.join(password_file(name)), password.as_bytes())
}

pub(super) fn forget_password(house: &House, name: &str) -> Result<(), std::io::Error> {
    let path = house.folder.path();
    folder::remove(&path.join(password_file(name)))?;
    folder::remove(&path.join(bound_file(name)))
}

/// What is kept of a relay's password, and whom it is for, as it lies there.
pub(super) fn kept_files(house: &House, name: &str) -> [Option<String>; 2] {
    [password_file(name), bound_file(name)].map(|file| read_short(&house.folder.path().join(file)).ok())
}

/// Puts that back, where something else came to nothing.
pub(super) fn put_files(house: &House, name: &str, files: &[Option<String>; 2]) {
    for (file, text) in [password_file(name), bound_file(name)].iter().zip(files) {
        let path = house.folder.path().join(file);
        let done = match text {
            Some(text) => folder::write(&path, text.as_bytes()),
            None => folder::remove(&path),
        };
        done.unwrap_or_else(|error| warn!(%error, "a relay's password cannot be put back"));
    }
}

/// Passwords of a version that did not write down whom they are for are for whom the settings name at this start.
fn bind_passwords(house: &House) {
    let (settings, path) = (house.settings.load(), house.folder.path());
    let some = settings.relays.iter().map(|one| (one.name.as_str(), &one.relay));
    for (name, relay) in some.chain([("", &settings.relay)]).filter(|(_, relay)| !relay.host.is_empty()) {
        let bound = path.join(bound_file(name));
        if path.join(password_file(name)).exists() && !bound.exists() {
            let written = folder::write(&bound, server(relay).as_bytes());
            written.unwrap_or_else(|error| warn!(%error, "whom a relay's password is for cannot be written down"));
        }
    }
}

/// Empty if it cannot be read, or is for another server: the relay then says that it is wrong.
fn password(house: &House, name: &str, relay: &settings::Relay) -> String {
    if kept_password(house, name, relay) == KeptPassword::ForAnother {
        warn!(relay = name, host = relay.host, "the relay's password was given for another server, so it is not sent");
        return String::new();
    }
    let read = read_short(&house.folder.path().join(password_file(name)));
    let text = read.inspect_err(|error| warn!(%error, "the relay's password cannot be read")).unwrap_or_default();
    text.trim_end_matches(['\r', '\n']).to_owned()
}

fn read_short(path: &std::path::Path) -> Result<String, std::io::Error> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, PASSWORD_BYTES), &mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::super::verbs::{self, Secret as Password};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_relays_password_goes_to_the_server_that_it_was_given_for_and_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(&dir.path().join("data"));
        folder.make().unwrap();
        let phrase = Password("river oak lantern moon".into());
        verbs::init(&folder, "mail.example.test", "example.test", "a@example.test", None, &phrase).unwrap();
        let house = House::open(&folder).unwrap();
        let relay = |host: &str, port| settings::Relay { host: host.into(), port, ..settings::Relay::default() };
        let first = relay("smtp.a.test", 465);
        let found =
            |name: &str, relay: &settings::Relay| (kept_password(&house, name, relay), password(&house, name, relay));
        assert_eq!(found("", &first), (KeptPassword::None, String::new()));
        keep_password(&house, "", &first, "s3cret").unwrap();
        for (other, kept, given) in [
            (&first, KeptPassword::Kept, "s3cret"),
            (&relay("SMTP.a.test", 465), KeptPassword::Kept, "s3cret"),
            (&relay("smtp.b.test", 465), KeptPassword::ForAnother, ""),
            (&relay("smtp.a.test", 587), KeptPassword::ForAnother, ""),
        ] {
            assert_eq!(found("", other), (kept, given.to_owned()), "{other:?}");
        }
        assert_eq!(found("office", &first).0, KeptPassword::None);
        // As a version before left it: for whom the settings name at the next start.
        std::fs::remove_file(folder.path().join(bound_file(""))).unwrap();
        crate::settings::edit::set(folder.path(), "relay.host", "smtp.a.test").unwrap();
        drop(house);
        let house = House::open(&folder).unwrap();
        bind_passwords(&house);
        assert_eq!(kept_password(&house, "", &first), KeptPassword::Kept);
        assert_eq!(kept_password(&house, "", &relay("smtp.b.test", 465)), KeptPassword::ForAnother);
        forget_password(&house, "").unwrap();
        assert_eq!(kept_password(&house, "", &first), KeptPassword::None);
    }
}
