//! The certificates of a running server: which ones serve, and the task that keeps them from ending.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::base::Time;
use crate::cert::{
    Alarm, Cause, Config, Entry, Facts, Group, Keep, Keeper, Means, Next, Order, Outcome, Renewed, Trouble, World,
    facts, groups,
};
use crate::directory::manage::domain;
use crate::net::tls::{self, Unusable};
use crate::net::{Certs, Pair, Roots};

use super::folder::{Drawer, Folder};
use super::house::House;
use super::limits;
use super::theatre::Theatre;

/// Between two looks at the clock, whatever comes next: it may have been corrected.
const LOOK: i64 = 60 * 60 * 1000;
/// The same while the clock is wrong, or something of ours failed.
const SOON: Duration = Duration::from_secs(60);
/// An order may have been under way.
const AFTER_PANIC: Duration = Duration::from_secs(60 * 60);
/// What a certificate, its key and the notes about it take at most.
const ROOM: usize = 64 * 1024;

/// What commands ask of the task.
enum Asked {
    /// Look again: something changed.
    Look,
    Renew {
        name: Option<String>,
        force: bool,
        reply: oneshot::Sender<Vec<Renewed>>,
    },
}

/// Of one data folder, whether it serves or not.
pub(super) struct Certificates {
    keeper: Mutex<Keeper<Drawer>>,
    served: OnceLock<Arc<Certs>>,
    ask: Mutex<Option<mpsc::UnboundedSender<Asked>>>,
}

/// What the house says just now, for a [`World`].
struct Now {
    time: Time,
    trusted: bool,
    hostname: String,
    groups: Vec<Group>,
    config: Config,
}

impl Now {
    fn of(house: &House) -> Result<Now, String> {
        let settings = house.settings.load();
        let read = house.data.read().map_err(|error| super::house::store_failed(&error))?;
        let domains = domain::list(&read).map_err(|error| error.to_string())?;
        Ok(Now {
            time: house.clock.now(),
            trusted: house.clock.trusted(),
            groups: groups(&settings.hostname, &domains),
            hostname: settings.hostname.clone(),
            config: limits::certificates(&settings),
        })
    }

    fn world<'a>(&'a self, house: &'a House) -> World<'a> {
        World {
            now: self.time,
            trusted: self.trusted,
            random: &*house.random,
            hostname: &self.hostname,
            groups: &self.groups,
            directory: self.config.directory.as_deref(),
        }
    }
}

impl Certificates {
    pub fn open(folder: &Folder) -> Certificates {
        let keeper = Mutex::new(Keeper::open(folder.drawer()));
        Certificates { keeper, served: OnceLock::new(), ask: Mutex::default() }
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper<Drawer>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these serve.
    pub fn serve(&self, house: &House) -> Result<Arc<Certs>, String> {
        let certs = Certs::new(&self.pairs(house)?).map_err(|error| error.to_string())?;
        Ok(self.served.get_or_init(|| certs).clone())
    }

    /// Those that are kept now, for whoever comes from now on.
    pub fn swap(&self, house: &House) -> Result<(), String> {
        let Some(served) = self.served.get() else { return Ok(()) };
        served.swap(&self.pairs(house)?).map_err(|error| error.to_string())
    }

    /// All that serve, the one that the server made for itself last.
    fn pairs(&self, house: &House) -> Result<Vec<Pair>, String> {
        let hostname = house.settings.load().hostname.clone();
        let mut pairs = self.keeper().pairs(&hostname, house.clock.now());
        pairs.push(own(&house.folder, &hostname).map_err(|error| error.to_string())?);
        Ok(pairs)
    }

    /// What other servers are shown under the server's own name, as PEM, with its issuers.
    pub fn chain(&self, house: &House) -> Result<Option<Vec<u8>>, String> {
        if let Some(pair) = self.kept_for_host(house) {
            return Ok(Some(pair.chain));
        }
        let own = house.folder.pair().map_err(|error| error.to_string())?;
        Ok(own.map(|pair| pair.chain))
    }

    /// The certificate under the server's own name, with its key.
    pub fn of_host(&self, house: &House) -> Result<Pair, String> {
        if let Some(pair) = self.kept_for_host(house) {
            return Ok(pair);
        }
        own(&house.folder, &house.settings.load().hostname).map_err(|error| error.to_string())
    }

    fn kept_for_host(&self, house: &House) -> Option<Pair> {
        let hostname = house.settings.load().hostname.clone();
        let kept = self.keeper().pairs(&hostname, house.clock.now());
        kept.into_iter().find(|pair| facts(&pair.chain).is_ok_and(|facts| facts.covers(&hostname)))
    }

    pub fn poke(&self) {
        self.tell(Asked::Look);
    }

    fn tell(&self, asked: Asked) -> bool {
        let ask = self.ask.lock().unwrap_or_else(PoisonError::into_inner);
        ask.as_ref().is_some_and(|ask| ask.send(asked).is_ok())
    }

    // ---- for commands

    pub fn list(&self, house: &House) -> Result<Vec<Entry>, String> {
        let now = Now::of(house)?;
        Ok(self.keeper().list(&now.world(house)))
    }

    /// Waits for the authority. Errors: sentences.
    pub fn renew(&self, name: Option<&str>, force: bool) -> Result<Vec<Renewed>, String> {
        let (reply, replied) = oneshot::channel();
        if !self.tell(Asked::Renew { name: name.map(str::to_owned), force, reply }) {
            return Err("the server has to run for that: an authority looks at its ports".to_owned());
        }
        replied.blocking_recv().map_err(|_| "the server is ending".to_owned())
    }

    pub fn import(&self, house: &House, pair: Pair) -> Result<Facts, String> {
        let facts = self.keeper().import(pair, house.clock.now())?;
        self.swap(house)?;
        self.poke();
        Ok(facts)
    }

    pub fn remove(&self, house: &House, name: &str) -> Result<bool, String> {
        let removed = self.keeper().remove(name)?;
        self.swap(house)?;
        self.poke();
        Ok(removed)
    }

    /// Does something with the drawer, for secrets that go into it.
    pub fn drawer<T>(&self, work: impl FnOnce(&Drawer) -> T) -> T {
        work(self.keeper().keep())
    }
}

/// The certificate that the server made for itself. One that is lost or damaged is no reason not to start (P9): then a new
/// one serves, which is kept only where there was none.
fn own(folder: &Folder, hostname: &str) -> Result<Pair, Unusable> {
    let kept = match folder.pair() {
        Ok(kept) => kept.map(|pair| tls::check(&pair).map(|()| pair)),
        Err(error) => Some(Err(Unusable(error.to_string()))),
    };
    match kept {
        Some(Ok(pair)) => Ok(pair),
        Some(Err(error)) => {
            error!(%error, "the certificate cannot be used; a self-signed one serves instead");
            tls::self_signed(&[hostname.to_owned()])
        }
        None => {
            let pair = tls::self_signed(&[hostname.to_owned()])?;
            if let Err(error) = folder.put_pair(&pair) {
                error!(%error, "the new certificate cannot be kept");
            }
            Ok(pair)
        }
    }
}

/// Keeps the certificates from ending, until it is dropped.
pub(super) async fn run(house: Arc<House>, theatre: Theatre) {
    let theatre = Arc::new(theatre);
    theatre.clean();
    loop {
        // A mistake of ours must not be the end of all renewals, nor ask the authority over and over.
        let mut one = JoinSet::new();
        one.spawn(keep(house.clone(), theatre.clone()));
        match one.join_next().await {
            Some(Err(error)) if error.is_panic() => error!(%error, "a mistake of ours; certificates have to wait"),
            _ => return,
        }
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

async fn keep(house: Arc<House>, theatre: Arc<Theatre>) {
    let (ask, mut asked) = mpsc::unbounded_channel();
    *house.certificates.ask.lock().unwrap_or_else(PoisonError::into_inner) = Some(ask);
    let task = Task { house, theatre };
    loop {
        let pause = match task.look().await {
            Ok(pause) => pause,
            Err(error) => {
                error!(error, "certificates have to wait");
                SOON
            }
        };
        let told = tokio::select! {
            told = asked.recv() => told,
            () = tokio::time::sleep(pause) => continue,
        };
        match told {
            None => return,
            Some(Asked::Look) => {}
            Some(Asked::Renew { name, force, reply }) => {
                let done = task.renew(name.as_deref(), force).await.unwrap_or_else(|error| {
                    error!(error, "certificates cannot be renewed now");
                    Vec::new()
                });
                let _ = reply.send(done);
            }
        }
    }
}

struct Task {
    house: Arc<House>,
    theatre: Arc<Theatre>,
}

impl Task {
    fn certificates(&self) -> &Certificates {
        &self.house.certificates
    }

    fn now(&self) -> Result<Now, String> {
        tokio::task::block_in_place(|| Now::of(&self.house))
    }

    /// Does what is due, one thing after the other, and says how long there is nothing.
    async fn look(&self) -> Result<Duration, String> {
        loop {
            let now = self.now()?;
            let next = self.prepare(&now)?;
            match next {
                Next::Order(order) => drop(self.order(&order, &now.config).await?),
                Next::Ask { id, ari } => self.ask(&id, &ari, &now.config).await?,
                Next::Clock => {
                    warn!("the clock is wrong; certificates have to wait");
                    return Ok(SOON);
                }
                Next::Wait(until) => {
                    let wait = until.map_or(LOOK, |until| until.0.saturating_sub(now.time.0)).clamp(1000, LOOK);
                    return Ok(Duration::from_millis(wait.unsigned_abs()));
                }
            }
        }
    }

    fn prepare(&self, now: &Now) -> Result<Next, String> {
        let world = now.world(&self.house);
        let (went, alarms, next) = {
            let mut keeper = self.certificates().keeper();
            (keeper.reconcile(&world), keeper.alarms(&world), keeper.next(&world))
        };
        if went {
            self.certificates().swap(&self.house)?;
        }
        for (group, alarm, days) in alarms {
            match alarm {
                Alarm::Ended => error!(group, "its certificate has ended, and there is no new one"),
                _ => error!(group, days, "its certificate is near its end, and there is no new one"),
            }
        }
        Ok(next)
    }

    async fn renew(&self, name: Option<&str>, force: bool) -> Result<Vec<Renewed>, String> {
        let now = self.now()?;
        self.prepare(&now)?;
        let (orders, mut done) = self.certificates().keeper().asked(name, force, &now.world(&self.house));
        if !now.trusted {
            let trouble = Trouble::new(Cause::Clock, "it has not been compared with a time server's yet");
            let one = |order: Order| Renewed {
                troubles: order.names.first().map(|name| (name.clone(), trouble.clone())).into_iter().collect(),
                id: order.id,
                names: Vec::new(),
                until: None,
            };
            return Ok(orders.into_iter().map(one).collect());
        }
        for order in orders {
            done.push(self.order(&order, &now.config).await?);
        }
        Ok(done)
    }

    async fn order(&self, order: &Order, config: &Config) -> Result<Renewed, String> {
        info!(group = order.id, names = order.names.join(" "), "ordering a certificate");
        let drawer = self.house.folder.drawer();
        // One that cannot be kept would be ordered again and again, until the authority has had enough (C3).
        tokio::task::block_in_place(|| drawer.write("room", &[0; ROOM]).and_then(|()| drawer.remove("room")))
            .map_err(|error| format!("there is no room to keep a certificate: {error}"))?;
        let wanted = {
            let keeper = self.certificates().keeper();
            keeper.wanted(order, self.house.clock.now(), |name| self.theatre.open_ways(name, config.method))
        };
        let outcome = match self.roots() {
            Ok(roots) => {
                let means = self.means(config, &roots, &drawer);
                means.fetch(wanted, order.replaces.as_deref(), order.rehearse).await
            }
            Err(why) => Outcome::failed(Trouble::new(Cause::Untrusted, why)),
        };
        let now = self.now()?;
        let (changed, renewed) = {
            let mut keeper = self.certificates().keeper();
            tokio::task::block_in_place(|| keeper.settle(order, outcome, &now.world(&self.house)))
        };
        if changed {
            self.certificates().swap(&self.house)?;
        }
        Ok(renewed)
    }

    async fn ask(&self, id: &str, ari: &str, config: &Config) -> Result<(), String> {
        let drawer = self.house.folder.drawer();
        let roots = self.roots()?;
        let window = self.means(config, &roots, &drawer).window(ari).await.unwrap_or_else(|trouble| {
            info!(id, ?trouble, "the authority does not say when to renew");
            None
        });
        let now = self.now()?;
        self.certificates().keeper().windowed(id, window, &now.world(&self.house));
        Ok(())
    }

    fn means<'a>(&'a self, config: &'a Config, roots: &'a Roots, drawer: &'a Drawer) -> Means<'a, Theatre> {
        Means { config, roots, keep: drawer, stage: &*self.theatre, clock: self.house.clock.clone() }
    }

    fn roots(&self) -> Result<Roots, String> {
        roots(&self.house, "acme.root", &self.house.settings.load().acme.root)
    }
}

/// The roots in a file of the data folder; without one those that browsers trust. Errors: a sentence that names the setting.
pub(super) fn roots(house: &House, setting: &str, file: &str) -> Result<Roots, String> {
    if file.is_empty() {
        return Ok(Roots::Public);
    }
    let path = house.folder.path().join(file);
    // A person's file: a megabyte is more than all roots there are.
    let fault = |error: std::io::Error| format!("{setting}: {}: {error}", path.display());
    let mut pem = Vec::new();
    let file = std::fs::File::open(&path).map_err(fault)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, 1 << 20), &mut pem).map_err(fault)?;
    Ok(Roots::Only(pem))
}
