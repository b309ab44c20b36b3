//! Letters on their way out: from what is due in the queue, over one connection after another, to what became of each
//! recipient.
//!
//! Invariants, cited by tests:
//! - R1: a recipient leaves the queue only in a transaction that writes down what became of it: delivered, or a notice to the
//!   sender in the same transaction.
//! - R2: one recipient is in one attempt at a time.
//! - R3: nothing is written to whom nobody has proved to be: a notice goes into an account of the household, or, where it was
//!   asked for, to a sender whom SPF has proved (`delivery/notice`).

mod convert;
mod dialogue;
mod families;
mod house;
mod route;
mod settle;
mod standing;
mod sts;
mod tls;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::base::{Clock, QueueId, Random};
use crate::directory;
use crate::mailauth::tlsrpt;
use crate::net::Roots;
use crate::net::dns::{Asker, Proven};
use crate::proto::smtp::Reply;
use crate::proto::smtp::client::{Login, Said};
use crate::queue::{self, Tls};
use crate::store::Data;
use crate::store::lookup::Lookup;

use families::Families;
use standing::{CROWD, Number, Standing};
use tls::Plan;

/// Recipients that are taken out of the queue at a time.
const BATCH: usize = 1000;
/// Recipients of one letter in one dialogue (RFC 5321 4.5.3.1.8: every server takes a hundred).
const TOGETHER: usize = 100;
/// Between two looks where nothing rings: a clock may have been set.
const LOOK: Duration = Duration::from_secs(60);
/// After the store or the resolver failed.
const BREATH: Duration = Duration::from_secs(10);

/// Rung when something is to be sent. Clones ring the same bell.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// How letters leave; asked for at each attempt, so that a change of the settings counts for the next one.
#[derive(Clone, Debug)]
pub struct Way {
    /// Our host name.
    pub hostname: String,
    /// Who is given letters instead of the domains' own servers; those for some domains go before one for all.
    pub relays: Vec<Relay>,
    /// False: nothing leaves.
    pub on: bool,
    /// The addresses that connections come from, one of each kind at most.
    pub source: Vec<IpAddr>,
    /// Of the domains' servers.
    pub port: u16,
    /// What the queue may hold.
    pub queue: queue::Limits,
    /// In all, and to one host.
    pub connections: usize,
    pub connections_to_one: usize,
}

/// A server of somebody else's that letters leave through.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Which of them it is.
    pub name: String,
    /// Lower case, A-labels; with a dot before it what is below it. `None`: for all.
    pub domains: Option<Vec<String>>,
    pub host: String,
    pub port: u16,
    /// TLS from the first byte; otherwise STARTTLS, without which nothing is said.
    pub implicit: bool,
    pub login: Option<Login>,
    /// The file with the root of its certificate; empty: those that browsers trust.
    pub trust: String,
}

impl Way {
    /// Where letters for a domain go: by the longest name that a relay has of it.
    fn to(&self, domain: &str) -> To {
        let domain = domain.to_lowercase();
        let name = idna::domain_to_ascii(&domain).unwrap_or_else(|_| domain.clone());
        let fits = |known: &String| match known.strip_prefix('.') {
            Some(_) => name.ends_with(known.as_str()) && name.len() > known.len(),
            None => name == *known,
        };
        let some = self.relays.iter().filter_map(|relay| {
            let longest = relay.domains.as_ref()?.iter().filter(|known| fits(known)).map(|known| known.len()).max()?;
            Some((longest, relay))
        });
        let best = some.max_by_key(|(longest, _)| *longest).map(|(_, relay)| relay);
        match best.or_else(|| self.relays.iter().find(|relay| relay.domains.is_none())) {
            Some(relay) => To::Relay(relay.name.clone()),
            None => To::Domain(domain),
        }
    }

    fn relay(&self, to: &To) -> Option<&Relay> {
        let To::Relay(name) = to else { return None };
        self.relays.iter().find(|relay| relay.name == *name)
    }
}

/// What [`Sender`] asks of who runs it.
pub trait World: Send + Sync + 'static {
    fn way(&self) -> Way;
    fn asker(&self) -> Asker;
    /// Looks names up with proof; `None` where that cannot be done.
    fn proven(&self) -> Option<Arc<Proven>>;
    /// Whom the certificates of domains' servers, and of those of their policies, may come from.
    fn roots(&self) -> Roots;
    /// What is kept for a while: the policies of domains (MTA-STS). May block on the disk.
    fn facts(&self) -> Arc<dyn Lookup>;
    /// How to do TLS with any server, and with a relay, whose certificate counts; its root as in [`Relay::trust`].
    fn opportunistic(&self) -> Option<crate::net::ClientTls>;
    fn verified(&self, trust: &str) -> Option<crate::net::ClientTls>;
    /// Whom a notice goes to that has no account of its own to go to.
    fn caretakers(&self) -> Vec<crate::base::AccountId>;
    /// What a session with a domain's server came to as far as TLS goes, for who writes reports of it (RFC 8460). Said in the
    /// middle of sending: to be taken in without waiting for anything.
    fn note(&self, outcome: tlsrpt::Outcome);
    /// What became of a recipient that leaves the queue, for who is waiting to hear it. Said before it is written down; to be taken in
    /// without waiting for anything.
    fn fate(&self, _fate: Fate) {}
}

/// What became of a recipient of a letter with an ENVID (RFC 3461 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub envid: String,
    pub address: String,
    /// Another server has it now; otherwise it never will.
    pub taken: bool,
    /// Who spoke, if somebody did.
    pub remote: Option<String>,
    /// It was encrypted on its way there.
    pub tls: bool,
    /// Their words, or ours.
    pub said: String,
}

/// Why a destination was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    said: Said,
    lasting: bool,
    /// Whose words they are, if somebody was reached.
    remote: Option<String>,
}

impl Trouble {
    fn later(status: (u8, u16, u16), words: String) -> Trouble {
        Trouble { said: Said { reply: Reply::new(451, status, words), own: true }, lasting: false, remote: None }
    }

    fn never(status: (u8, u16, u16), words: String) -> Trouble {
        Trouble { said: Said { reply: Reply::new(550, status, words), own: true }, lasting: true, remote: None }
    }

    /// RFC 8689 5.
    fn no_requiretls(server: &str) -> Trouble {
        let words = format!(
            "the letter is to travel only under encryption that cannot be listened to (REQUIRETLS), and {server} does not \
             promise that"
        );
        Trouble::never((5, 7, 30), words)
    }

    fn is_no_requiretls(&self) -> bool {
        self.said.reply.enhanced == Some((5, 7, 30))
    }
}

/// Whom a connection is to, and under what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    to: To,
    /// What the letters ask for: those that ask for more have a connection of their own.
    tls: Tls,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    /// Who lives here gets what had to wait for its time. First, since it needs no connection.
    House,
    /// Lower case.
    Domain(String),
    /// By its name.
    Relay(String),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.to {
            To::Domain(domain) => f.write_str(domain),
            To::House => f.write_str("this house"),
            To::Relay(name) if name.is_empty() => f.write_str("the relay"),
            To::Relay(name) => write!(f, "the relay {name}"),
        }
    }
}

/// One letter for one destination.
#[derive(Clone, Debug)]
struct Job {
    id: QueueId,
    /// Numbers of its recipients.
    recipients: Vec<u32>,
}

/// Sends what is due.
pub struct Sender<W> {
    data: Data,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    world: W,
    bell: Bell,
    state: Mutex<Going>,
    /// Room for letters that are converted.
    converting: Arc<Semaphore>,
}

#[derive(Default)]
struct Going {
    waiting: BTreeMap<Destination, VecDeque<Job>>,
    /// R2
    taken: HashSet<(QueueId, u32)>,
    /// Who works for each destination.
    open: BTreeMap<Destination, usize>,
    standing: Standing,
    families: Families,
}

impl<W: World> Sender<W> {
    pub fn new(data: Data, clock: Arc<dyn Clock>, random: Arc<dyn Random>, world: W, bell: Bell) -> Arc<Sender<W>> {
        let (state, converting) = (Mutex::default(), Arc::new(Semaphore::new(convert::AT_ONCE)));
        Arc::new(Sender { data, clock, random, world, bell, state, converting })
    }

    /// Until `stop` turns true; letters in hand are ended first, as far as the caller waits for it.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut workers = JoinSet::new();
        loop {
            let pause = match self.take_due().await {
                Ok(pause) => pause,
                Err(why) => {
                    warn!(why, "the queue cannot be read now");
                    BREATH
                }
            };
            self.begin_workers(&mut workers, &stop);
            tokio::select! {
                () = gone_down(&mut stop) => break,
                () = self.bell.0.notified() => {}
                Some(_) = workers.join_next(), if !workers.is_empty() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        while workers.join_next().await.is_some() {}
    }

    /// Puts what is due into the lines of its destinations. How long nothing more will be.
    async fn take_due(self: &Arc<Self>) -> Result<Duration, String> {
        let way = self.world.way();
        let (sender, on) = (self.clone(), way.on);
        let look = move || {
            let read = sender.data.read().map_err(|error| format!("{error:?}"))?;
            let now = (sender.clock.now(), sender.clock.trusted());
            let taken = sender.going().taken.clone();
            if taken.len() >= BATCH {
                return Ok::<_, String>((Vec::new(), None));
            }
            // Most of what waits is for few domains. `None`: it cannot be asked now.
            let known: RefCell<HashMap<String, Option<bool>>> = RefCell::default();
            let lives_here = |address: &str| {
                let key = domain_of(address).to_lowercase();
                let ask = || {
                    let home = directory::lives_here(&read, address);
                    home.inspect_err(|error| warn!(%error, "whether somebody lives here cannot be asked")).ok()
                };
                // RFC 5321 4.1.1.3: Postmaster has none.
                if key.is_empty() { ask() } else { *known.borrow_mut().entry(key).or_insert_with(ask) }
            };
            // Who lives here gets their letters though nothing is to leave.
            let stays = |id: QueueId, n: u32| {
                let address = queue::address(&read, id, n).ok().flatten();
                address.is_none_or(|address| lives_here(&address) != Some(true))
            };
            let skip = |id: QueueId, n: u32| taken.contains(&(id, n)) || !on && stays(id, n);
            let (due, next) = queue::due(&read, now, BATCH, &skip).map_err(|error| error.to_string())?;
            let with_home = |one: queue::Due| lives_here(&one.address).map(|home| (one, home));
            Ok((due.into_iter().filter_map(with_home).collect(), next))
        };
        let (due, next) = tokio::task::spawn_blocking(look).await.map_err(|_| "a mistake of ours".to_owned())??;
        let mut going = self.going();
        for (one, home) in due {
            let destination = match home {
                true => Destination { to: To::House, tls: Tls::Usual },
                false => Destination { to: way.to(domain_of(&one.address)), tls: one.tls },
            };
            if !going.taken.insert((one.id, one.n)) {
                continue;
            }
            let line = going.waiting.entry(destination).or_default();
            let together = line.iter_mut().find(|job| job.id == one.id && (home || job.recipients.len() < TOGETHER));
            match together {
                Some(job) => job.recipients.push(one.n),
                None => line.push_back(Job { id: one.id, recipients: vec![one.n] }),
            }
        }
        let until = next.map_or(u64::MAX, |next| u64::try_from(next.0.saturating_sub(self.clock.now().0)).unwrap_or(0));
        Ok(LOOK.min(Duration::from_millis(until.saturating_add(1))))
    }

    fn begin_workers(self: &Arc<Self>, workers: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let way = self.world.way();
        let mut going = self.going();
        let going = &mut *going;
        for (destination, line) in &going.waiting {
            if destination.to == To::House {
                let open = going.open.entry(destination.clone()).or_default();
                if *open == 0 && !line.is_empty() {
                    *open = 1;
                    let (open, stop) = (Open { sender: self.clone(), destination: destination.clone() }, stop.clone());
                    workers.spawn(async move { house::serve(&open.sender, &open.destination, &stop).await });
                }
                continue;
            }
            let connections = going.open.iter().filter(|(destination, _)| destination.to != To::House);
            let all: usize = connections.map(|(_, open)| open).sum();
            if all >= way.connections {
                break;
            }
            // A connection to its host takes them, or has to end first.
            if going.standing.is_parked(destination) {
                continue;
            }
            let open = going.open.entry(destination.clone()).or_default();
            let wanted =
                line.len().div_ceil(CROWD).min(way.connections_to_one).min(open.saturating_add(way.connections - all));
            for _ in *open..wanted {
                *open += 1;
                let (sender, destination, stop) = (self.clone(), destination.clone(), stop.clone());
                workers.spawn(async move {
                    let open = Open { sender, destination };
                    dialogue::serve(&open.sender, &open.destination, &stop).await;
                });
            }
        }
        going.open.retain(|_, open| *open > 0);
    }

    fn ended(&self, destination: &Destination) {
        let mut going = self.going();
        if let Some(open) = going.open.get_mut(destination) {
            *open = open.saturating_sub(1);
        }
        going.waiting.retain(|_, line| !line.is_empty());
    }

    /// The next letter for a destination.
    fn next(&self, destination: &Destination) -> Option<Job> {
        self.going().waiting.get_mut(destination)?.pop_front()
    }

    /// A place for a connection of a destination to a host; `None` where its letters go another way, or later. One letter of
    /// the destination's is in hand.
    fn place(&self, way: &Way, host: &str, destination: &Destination, plan: &Plan) -> Option<Number> {
        let mut going = self.going();
        let mut there = going.standing.at(host);
        there.insert(destination.clone());
        let waiting: usize = there.iter().filter_map(|one| going.waiting.get(one)).map(VecDeque::len).sum();
        going.standing.place(host, destination, plan, way.connections_to_one, waiting + 1)
    }

    /// The next letter for a connection: of its own destination's, else of one that it carries too. A letter to several domains
    /// comes once for each: servers that host thousands of domains take one of them in a transaction, and answer 451 to the
    /// recipients of the others (Google). `None`: it is over, and nobody counts on it any more.
    fn next_over(&self, number: Number, destination: &Destination) -> Option<(Job, Option<Plan>)> {
        if let Some(job) = self.next(destination) {
            return Some((job, None));
        }
        let mut going = self.going();
        let others = going.standing.others(number);
        let found =
            others.into_iter().find_map(|(other, plan)| Some((going.waiting.get_mut(&other)?.pop_front()?, plan)));
        if found.is_none() && going.standing.leave(number) {
            self.bell.ring();
        }
        found.map(|(job, plan)| (job, Some(plan)))
    }

    fn put_back(&self, destination: &Destination, job: Job) {
        self.going().waiting.entry(destination.clone()).or_default().push_front(job);
    }

    /// All that waits for a destination that cannot be reached now.
    fn drain(&self, destination: &Destination) -> Vec<Job> {
        self.going().waiting.get_mut(destination).map(std::mem::take).unwrap_or_default().into()
    }

    /// These recipients may be tried again.
    fn give_back(&self, job: &Job) {
        let mut going = self.going();
        for n in &job.recipients {
            going.taken.remove(&(job.id, *n));
        }
    }
}

impl<W> Sender<W> {
    /// A connection takes no more letters.
    fn left(&self, number: Number) {
        if self.going().standing.leave(number) {
            self.bell.ring();
        }
    }

    fn going(&self) -> MutexGuard<'_, Going> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections to a destination, given back however the work there ends.
struct Open<W: World> {
    sender: Arc<Sender<W>>,
    destination: Destination,
}

impl<W: World> Drop for Open<W> {
    fn drop(&mut self) {
        self.sender.ended(&self.destination);
    }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

async fn gone_down(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        debug!("nobody can say any more that it ends");
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(name: &str, domains: Option<&[&str]>) -> Relay {
        Relay {
            name: name.into(),
            domains: domains.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            host: "smtp.relay.test".into(),
            port: 465,
            implicit: true,
            login: None,
            trust: String::new(),
        }
    }

    fn to(relays: &[Relay], domain: &str) -> String {
        let (relays, hostname) = (relays.to_vec(), "mail.example.test".to_owned());
        let way = Way {
            hostname,
            relays,
            on: true,
            source: Vec::new(),
            port: 25,
            queue: queue::Limits::default(),
            connections: 20,
            connections_to_one: 4,
        };
        let to = way.to(domain);
        assert_eq!(way.relay(&to).is_some(), matches!(to, To::Relay(_)));
        Destination { to, tls: Tls::Usual }.to_string()
    }

    #[test]
    fn a_letter_goes_by_the_relay_that_knows_its_domain_best() {
        let work = relay("work", Some(&["work.test", ".work.test", "xn--mller-kva.test"]));
        let shop = relay("shop", Some(&[".shop.work.test", "work.test.test"]));
        let some = [work.clone(), shop.clone()];
        assert_eq!(to(&some, "Work.test"), "the relay work");
        assert_eq!(to(&some, "hr.work.test"), "the relay work");
        assert_eq!(to(&some, "a.shop.work.test"), "the relay shop");
        assert_eq!(to(&some, "m\u{fc}ller.test"), "the relay work");
        assert_eq!(to(&some, "network.test"), "network.test", "the end of a name is not a name");
        assert_eq!(to(&some, ".work.test"), ".work.test");
        assert_eq!(to(&some, "elsewhere.test"), "elsewhere.test");
        let all = [relay("", None), work, shop];
        assert_eq!(to(&all, "elsewhere.test"), "the relay");
        assert_eq!(to(&all, "work.test"), "the relay work");
        assert_eq!(to(&[relay("none", Some(&[]))], "work.test"), "work.test");
    }
}
