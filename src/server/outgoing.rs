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
use super::house::House;
use super::setup::RELAY_PASSWORD;

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
        tokio::task::spawn_blocking(move || house.facts().clone()).await
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
                password: password(&self.house, &password_file(name)),
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
pub(super) fn password_file(name: &str) -> String {
    if name.is_empty() { RELAY_PASSWORD.to_owned() } else { format!("{RELAY_PASSWORD}-{name}") }
}

/// Empty if it cannot be read: the relay then says that it is wrong.
fn password(house: &House, file: &str) -> String {
    let path = house.folder.path().join(file);
    let mut text = String::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| std::io::Read::read_to_string(&mut std::io::Read::take(file, PASSWORD_BYTES), &mut text));
    if let Err(error) = read {
        warn!(%error, "the relay's password cannot be read");
    }
    text.trim_end_matches(['\r', '\n']).to_owned()
}
