//! One connection after another to one destination, and what its host tells the machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::base::{BlobId, Time};
use crate::mailauth::sts::Mode;
use crate::mailauth::tlsrpt;
use crate::net::{Context, End, NoWay, Patience, TlsSide, dial, drive, is_public};
use crate::proto::smtp::Notify;
use crate::proto::smtp::client::{
    Answer, Ask, Config, Failure, GoingDown, Hello, Letter, Login, Machine, Patience as Waits, Recipient, Said, Tls,
    Verdict,
};
use crate::proto::{self, BodyFault, Part, Secured};
use crate::queue::{self, Entry, State};

use super::convert::{self, Converted};
use super::families::{Family, Tried};
use super::standing::Number;
use super::tls::{self, How, Plan};
use super::{Destination, Job, Sender, To, Trouble, Way, World, route, settle, sts};

/// For one address to answer.
const CONNECT: Duration = Duration::from_secs(30);
/// Letters over one connection.
const LETTERS: usize = 100;

/// Sends what waits for a destination, until nothing does or it cannot be reached.
pub(super) async fn serve<W: World>(sender: &Arc<Sender<W>>, destination: &Destination, stop: &watch::Receiver<bool>) {
    while let Some(first) = sender.next(destination) {
        if *stop.borrow() {
            return sender.give_back(&first);
        }
        let way = sender.world.way();
        // The settings have changed: they find their way anew.
        if matches!(destination.to, To::Relay(_)) && way.relay(&destination.to).is_none() {
            for job in std::iter::once(first).chain(sender.drain(destination)) {
                sender.give_back(&job);
            }
            sender.bell.ring();
            return;
        }
        let mut host = Host {
            sender: sender.clone(),
            destination,
            remote: String::new(),
            stop: stop.clone(),
            hand: None,
            next: Some(first),
            hello: Hello::default(),
            secured: None,
            greeted: false,
            lacks: false,
            served: 0,
            failed: None,
            connected: false,
            took: false,
            place: None,
            carried: Vec::new(),
        };
        let reached = reach(&way, destination, &mut host).await;
        host.leave();
        let trouble = match reached {
            Ok(true) => continue,
            // Another connection to its host takes them, or there is no room there until one ends.
            Ok(false) => {
                if let Some(next) = host.next.take() {
                    sender.put_back(destination, next);
                }
                return;
            }
            Err(trouble) => trouble,
        };
        info!(%destination, why = trouble.said.reply.text.join(" "), "nothing can be sent there now");
        // Whatever waits for it has met the same.
        for job in host.next.take().into_iter().chain(sender.drain(destination)) {
            settle::all(sender, &way, &job, &trouble).await;
            sender.give_back(&job);
        }
    }
}

/// Finds a server of the destination that takes letters, and gives it some. False: it has no room for another connection, or
/// one that stands will do. Errors: none takes any.
async fn reach<W: World>(way: &Way, destination: &Destination, host: &mut Host<'_, W>) -> Result<bool, Trouble> {
    let sender = host.sender.clone();
    let asker = sender.world.asker();
    let domain = match &destination.to {
        To::Domain(domain) => domain,
        To::Relay(_) | To::House => "",
    };
    if let Some(relay) = way.relay(&destination.to) {
        let names = route::Names::new(asker, None).await?;
        let found = route::addresses(&names, &relay.host).await;
        let plan = Plan::relay(&relay.host, &relay.trust);
        if !host.take_place(way, &relay.host, &plan) {
            return Ok(false);
        }
        let done = match found {
            Ok(found) => talk_to_any(way, &plan, &relay.host, &found.all, host).await.map(|()| true),
            Err(trouble) => Err(trouble),
        };
        // A relay that refuses us is the owner's to put right; letters wait for it.
        return done.map_err(|trouble| Trouble { lasting: trouble.lasting && trouble.is_no_requiretls(), ..trouble });
    }
    let names = route::Names::new(asker, sender.world.proven()).await?;
    let mut site = match route::site(&names, sender.random.as_ref(), domain, &way.hostname).await {
        Ok(site) => site,
        Err(trouble) => {
            // Who is not believed to say where a domain's mail goes (RFC 8460 4.3).
            let told = destination.tls != queue::Tls::NotRequired;
            if let Some(failure) = tls::bogus(&trouble).filter(|_| told) {
                let domain = idna::domain_to_ascii(domain).unwrap_or_default();
                tls::note(&sender, &domain, tlsrpt::Policy::none(), None, Err(failure));
            }
            return Err(trouble);
        }
    };
    let wanted = destination.tls != queue::Tls::NotRequired && !site.domain.starts_with('[');
    let policy = if wanted { sts::policy(&sender, &names, &site.domain).await } else { None };
    let policy = policy.filter(|policy| policy.mode != Mode::None);
    // RFC 5321 5.1: of those that are as good as one another any will do, so one to which a connection stands does best.
    let known =
        sender.going().standing.known(site.best()).and_then(|known| site.hosts.iter().position(|one| one == known));
    if let Some(at) = known {
        site.hosts.swap(0, at);
    }
    let mut last = None;
    for name in &site.hosts {
        let found = match route::addresses(&names, name).await {
            Ok(found) => found,
            Err(trouble) => {
                // A host that is not there says nothing of the others.
                last = Some(worse(last, trouble));
                continue;
            }
        };
        let plan = match tls::plan(&sender, &names, &site, policy.as_ref(), name, &found, destination.tls).await {
            Ok(plan) => plan,
            Err(trouble) => {
                last = Some(worse(last, trouble));
                continue;
            }
        };
        if !host.take_place(way, name, &plan) {
            return Ok(false);
        }
        match talk_to_any(way, &plan, name, &found.all, host).await {
            Ok(()) => return Ok(true),
            Err(trouble) => last = Some(worse(last, trouble)),
        }
    }
    Err(last.unwrap_or_else(|| Trouble::later((4, 4, 3), format!("no server of {destination} is known"))))
}

/// The addresses of one server, one after another.
async fn talk_to_any<W: World>(
    way: &Way,
    plan: &Plan,
    name: &str,
    addresses: &[IpAddr],
    host: &mut Host<'_, W>,
) -> Result<(), Trouble> {
    let (sender, mut tried, mut last, mut done) = (host.sender.clone(), Tried::default(), None, false);
    // Of the first address of each kind that did not connect.
    let mut silent: BTreeMap<Family, Trouble> = BTreeMap::new();
    let ordered = sender.going().families.order(name, addresses, sender.clock.mono());
    for address in ordered {
        (host.connected, host.took) = (false, false);
        let talked = talk(way, plan, name, address, host).await;
        tried.add(address, host.connected);
        if host.took {
            tried.took(address);
        }
        match talked {
            Ok(()) => {
                done = true;
                break;
            }
            Err(trouble) => {
                debug!(host = name, %address, why = trouble.said.reply.text.join(" "), "that way did not work");
                if !host.connected {
                    silent.entry(Family::of(address)).or_insert_with(|| trouble.clone());
                }
                last = Some(worse(last, trouble));
            }
        }
    }
    let broken = sender.going().families.learn(name, &tried, sender.clock.mono());
    if let Some(family) = broken {
        warn!(%family, "no connection of this kind works from here, and the other does: it is tried last for half an hour");
    }
    if done {
        return Ok(());
    }
    // Both have failed: that is told of each.
    if let (Some(last), 2) = (&mut last, silent.len())
        && tried.is_silent()
    {
        let words: Vec<String> = silent.values().map(|trouble| trouble.said.reply.text.join(" ")).collect();
        last.said.reply.text = vec![words.join("; ")];
    }
    Err(last.unwrap_or_else(|| Trouble::later((4, 4, 3), format!("{name} has no address"))))
}

/// What counts of two troubles: one that may pass, before one that will not.
fn worse(one: Option<Trouble>, other: Trouble) -> Trouble {
    match one {
        Some(one) if !one.lasting && other.lasting => one,
        _ => other,
    }
}

/// Speaks with one address, in the clear if TLS with it does not work and nothing asks for it. `Ok`: it took letters, or was
/// ready to.
async fn talk<W: World>(
    way: &Way,
    plan: &Plan,
    name: &str,
    address: IpAddr,
    host: &mut Host<'_, W>,
) -> Result<(), Trouble> {
    let relay = way.relay(&host.destination.to);
    let (port, login) = relay.map_or((way.port, None), |relay| (relay.port, relay.login.clone()));
    let first = match relay {
        Some(relay) if relay.implicit => Tls::Implicit,
        _ if plan.is_strict() => Tls::Needed,
        _ => Tls::Offered,
    };
    match once(way, plan, name, SocketAddr::new(address, port), login.clone(), first, host).await {
        Err((_, true)) if first == Tls::Offered => {
            debug!(host = name, %address, "TLS does not work with it; once more without");
            once(way, plan, name, SocketAddr::new(address, port), login, Tls::Never, host)
                .await
                .map_err(|(trouble, _)| trouble)
        }
        done => done.map_err(|(trouble, _)| trouble),
    }
}

/// Errors: with whether TLS was what did not work.
async fn once<W: World>(
    way: &Way,
    plan: &Plan,
    name: &str,
    to: SocketAddr,
    login: Option<Login>,
    tls: Tls,
    host: &mut Host<'_, W>,
) -> Result<(), (Trouble, bool)> {
    let sender = host.sender.clone();
    let side = if tls == Tls::Never { None } else { plan.side(&sender.world) };
    if side.is_none() && plan.is_strict() {
        return Err((Trouble::later((4, 7, 5), format!("encryption with {name} cannot be set up here")), false));
    }
    let stream = dial(to, &way.source, CONNECT).await.map_err(|no| {
        let words = match no {
            NoWay::Unreachable => format!("there is no way to {name} ({})", to.ip()),
            NoWay::NotHere(source) => {
                format!(
                    "this machine does not have the address {source}, which letters are to leave from (sending.source)"
                )
            }
            NoWay::Silent => format!("{name} ({}) does not answer", to.ip()),
            NoWay::Refused(why) => format!("{name} ({}) cannot be reached: {why}", to.ip()),
        };
        (Trouble::later((4, 4, 1), words), false)
    })?;
    host.connected = true;
    let (side, seen) = side.unzip();
    let tls = if side.is_none() { Tls::Never } else { tls };
    let mono = sender.clock.mono();
    let machine = Machine::new(Config { helo: way.hostname.clone(), tls, login, patience: Waits::default() }, mono);
    let context = Context {
        clock: sender.clock.clone(),
        tls: side.map(TlsSide::Client),
        implicit_tls: tls == Tls::Implicit,
        patience: Patience::default(),
        stop: host.stop.clone(),
        awake: None,
    };
    // Behind a router that translates, ours says nothing to who gets the report, and something of the house.
    let sending = stream.local_addr().ok().map(|own| own.ip()).filter(|own| is_public(*own));
    host.remote = name.to_owned();
    host.served = 0;
    host.failed = None;
    host.hello = Hello::default();
    host.secured = None;
    host.greeted = false;
    host.lacks = false;
    host.carried.clear();
    let end = drive(stream, machine, &mut *host, context).await;
    let failed = host.failed.take();
    let seen = seen.flatten();
    let result = |plan: &Plan| match tls {
        Tls::Never => None,
        _ => tls::result(&tls::Session {
            plan,
            seen: seen.clone(),
            secured: host.secured.is_some(),
            plain: host.greeted && host.secured.is_none(),
            failed: failed.as_ref(),
            end: &end,
        }),
    };
    let mut trouble = match (&failed, &end) {
        (Some(failure), _) => Some((trouble(name, failure), failure.at_tls)),
        (None, End::NoTls(error)) => {
            Some((Trouble::later((4, 7, 5), format!("there is no TLS with {name}: {error}")), true))
        }
        (None, End::NoHandshake) => Some((Trouble::later((4, 7, 5), format!("there is no TLS with {name}")), true)),
        (None, End::Closed | End::Left) => None,
        (None, other) => {
            Some((Trouble::later((4, 4, 2), format!("the connection to {name} broke ({})", word(other))), false))
        }
    };
    if host.lacks {
        trouble = Some((Trouble::no_requiretls(name), false));
    }
    let came_to = result(plan);
    if let (Some(Err(failure)), Some((told, _))) = (&came_to, &mut trouble) {
        *told = plan.trouble(failure, told.clone());
    }
    // A relay, and an address in place of a domain, get no reports; nor is anything told of letters that arrive whatever
    // is wrong with TLS, such as reports: two servers that report on one another's reports would never end.
    let told = host.destination.tls != queue::Tls::NotRequired;
    for plan in std::iter::once(plan).chain(&host.carried) {
        if told
            && !matches!(plan.how, How::Relay { .. })
            && !plan.domain.starts_with('[')
            && let Some(result) = result(plan)
        {
            let (domain, mx, policy) = (plan.domain.clone(), Some(name.to_owned()), plan.policy.clone());
            let (at, receiving) = (sender.clock.now(), Some(to.ip()));
            sender.world.note(tlsrpt::Outcome { at, domain, policy, mx, receiving, sending, result });
        }
    }
    // A letter that was in hand is tried again, not at once and not at another of its servers: whether this one has taken it
    // is not known.
    if let Some(hand) = host.hand.take() {
        let trouble = trouble.as_ref().map(|(trouble, _)| trouble.clone());
        let trouble = trouble.unwrap_or_else(|| Trouble::later((4, 4, 2), format!("{name} closed the connection")));
        settle::all(&sender, way, &hand.job, &Trouble { lasting: false, ..trouble }).await;
        sender.give_back(&hand.job);
        return Ok(());
    }
    match trouble {
        Some(trouble) if host.served == 0 => Err(trouble),
        // It took some; the next ones get a connection of their own.
        _ => {
            if let Some(next) = host.next.take() {
                sender.put_back(host.destination, next);
            }
            Ok(())
        }
    }
}

fn trouble(name: &str, failure: &Failure) -> Trouble {
    let remote = (!failure.said.own).then(|| name.to_owned());
    Trouble { said: failure.said.clone(), lasting: failure.lasting, remote }
}

fn word(end: &End) -> String {
    match end {
        End::Broken(error) => error.to_string(),
        End::NotReading => "it does not read".to_owned(),
        End::BlobGone => "the letter could not be read here".to_owned(),
        End::GoingDown => "this server is ending".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The letter that the machine has.
struct Hand {
    job: Job,
    entry: Entry,
    /// What is sent in its place.
    converted: Option<Converted>,
}

/// Gives the machine letters, and writes down what became of them.
struct Host<'a, W> {
    sender: Arc<Sender<W>>,
    destination: &'a Destination,
    remote: String,
    stop: watch::Receiver<bool>,
    hand: Option<Hand>,
    next: Option<Job>,
    hello: Hello,
    secured: Option<Secured>,
    /// It was ready for letters.
    greeted: bool,
    /// It does not offer what these letters ask for (RFC 8689).
    lacks: bool,
    /// Letters with verdicts, over this connection.
    served: usize,
    failed: Option<Failure>,
    /// The address that is tried now could be connected to.
    connected: bool,
    /// And it took a letter.
    took: bool,
    /// Among the connections to the host that is tried now.
    place: Option<Number>,
    /// What other domains want whose letters went over this connection too.
    carried: Vec<Plan>,
}

impl<W> Drop for Host<'_, W> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<W> Host<'_, W> {
    fn leave(&mut self) {
        if let Some(number) = self.place.take() {
            self.sender.left(number);
        }
    }

    fn carry(&mut self, plan: Plan) {
        if self.carried.iter().all(|known| known.domain != plan.domain) {
            self.carried.push(plan);
        }
    }
}

impl<W: World> Host<'_, W> {
    /// False: there is none, and the letters are somebody else's to send, or wait.
    fn take_place(&mut self, way: &Way, name: &str, plan: &Plan) -> bool {
        self.leave();
        self.place = self.sender.place(way, name, self.destination, plan);
        self.place.is_some()
    }

    async fn next_letter(&mut self) -> Answer {
        let answer = self.look_for_letter().await;
        if matches!(answer, Answer::Nothing) {
            // Whoever counts on this connection finds another.
            self.leave();
        }
        answer
    }

    async fn look_for_letter(&mut self) -> Answer {
        loop {
            let Some(number) = self.place.filter(|_| !*self.stop.borrow() && self.served < LETTERS) else {
                return Answer::Nothing;
            };
            let next = match self.next.take() {
                Some(job) => Some((job, None)),
                None => self.sender.next_over(number, self.destination),
            };
            let Some((job, plan)) = next else { return Answer::Nothing };
            plan.into_iter().for_each(|plan| self.carry(plan));
            let sender = self.sender.clone();
            let id = job.id;
            let found = tokio::task::spawn_blocking(move || {
                let read = sender.data.read().ok()?;
                queue::find(&read, id).ok()?
            });
            match found.await.ok().flatten() {
                Some(entry) => {
                    let mut letter = letter(&entry, &job, self.sender.clock.now());
                    if letter.recipients.is_empty() {
                        self.sender.give_back(&job);
                        continue;
                    }
                    if let Some(trouble) = self.out_of_time(&entry) {
                        settle::all(&self.sender, &self.sender.world.way(), &job, &trouble).await;
                        self.sender.give_back(&job);
                        continue;
                    }
                    let eight_bit = letter.eight_bit && !self.hello.eight_bit;
                    let made = match eight_bit {
                        true => convert::seven_bit(&self.sender, &entry).await,
                        false => convert::fresh(&self.sender, &entry).await,
                    };
                    let converted = match made {
                        Ok(converted) => converted,
                        Err(trouble) => {
                            settle::all(&self.sender, &self.sender.world.way(), &job, &trouble).await;
                            self.sender.give_back(&job);
                            continue;
                        }
                    };
                    if let Some(converted) = &converted {
                        letter.eight_bit &= !eight_bit;
                        letter.size = converted.len(entry.size);
                    }
                    self.hand = Some(Hand { job, entry, converted });
                    return Answer::Letter(letter);
                }
                // Cancelled meanwhile.
                None => self.sender.give_back(&job),
            }
        }
    }

    /// RFC 2852 4: a letter that is to come back goes neither too late nor to a server that would not send it back.
    fn out_of_time(&self, entry: &Entry) -> Option<Trouble> {
        let by = entry.by?;
        if by.is_over(self.sender.clock.now()) {
            return Some(Trouble::never((5, 4, 7), "the time is over that its sender has set for it".to_owned()));
        }
        let remote = &self.remote;
        match self.hello.deliver_by {
            _ if !by.returns => None,
            None => {
                let words = format!("{remote} does not promise to deliver it within the time that its sender has set");
                Some(Trouble::never((5, 3, 3), words))
            }
            Some(least) if by.left(self.sender.clock.now()) < least => {
                let words =
                    format!("less is left of the time that its sender has set than {remote} needs ({least} seconds)");
                Some(Trouble::never((5, 4, 7), words))
            }
            Some(_) => None,
        }
    }

    async fn done(&mut self, verdicts: Vec<Verdict>) {
        self.served += 1;
        let Some(Hand { job, entry, .. }) = self.hand.take() else { return };
        self.took |= verdicts.iter().any(|verdict| matches!(verdict, Verdict::Sent(_)));
        let way = self.sender.world.way();
        let waiting = still_waiting(&entry, &job);
        let outcomes: Vec<settle::Outcome> = waiting
            .iter()
            .zip(verdicts)
            .map(|(recipient, verdict)| settle::Outcome {
                n: recipient.n,
                verdict,
                remote: Some(self.remote.clone()),
                tls: self.secured.is_some(),
                tells: self.hello.dsn,
                keeps_time: self.hello.deliver_by.is_some(),
                here: None,
            })
            .collect();
        let secured = self.secured.as_ref().map_or("none", |secured| secured.version.as_str());
        info!(letter = %entry.id, host = self.remote, tls = secured, recipients = outcomes.len(), "sent, or told why not");
        settle::write(&self.sender, &way, &entry, outcomes, None).await;
        self.sender.give_back(&job);
    }
}

/// Those of a letter's recipients that a job is for, and that still wait.
pub(super) fn still_waiting<'a>(entry: &'a Entry, job: &Job) -> Vec<&'a queue::Recipient> {
    let waits = |one: &&queue::Recipient| one.state != State::Held && job.recipients.contains(&one.n);
    entry.recipients.iter().filter(waits).collect()
}

fn letter(entry: &Entry, job: &Job, now: Time) -> Letter {
    let recipients = still_waiting(entry, job).into_iter().map(|one| Recipient {
        address: one.address.clone(),
        notify: one.notify.map(|notify| Notify {
            success: notify.success,
            failure: notify.failure,
            delay: notify.delay,
        }),
        orcpt: one.orcpt.clone(),
    });
    Letter {
        blob: entry.blob,
        size: entry.size,
        from: entry.from.clone(),
        utf8: entry.utf8,
        eight_bit: entry.eight_bit,
        require_tls: entry.tls == queue::Tls::Required,
        ret_full: entry.ret_full,
        envid: entry.envid.clone(),
        by: entry.by.map(|by| {
            // RFC 2852 4: nine digits at the most.
            let left = by.left(now).clamp(-999_999_999, 999_999_999);
            format!("{left};{}{}", if by.returns { 'R' } else { 'N' }, if by.trace { "T" } else { "" })
        }),
        recipients: recipients.collect(),
    }
}

impl<W: World> proto::Host<Machine> for &mut Host<'_, W> {
    async fn ask(&mut self, ask: Ask) -> (Answer, Part) {
        let answer = match ask {
            Ask::Ready { hello, secured } => {
                self.hello = hello;
                self.secured = secured;
                self.greeted = true;
                self.lacks =
                    self.destination.tls == queue::Tls::Required && !(self.hello.requiretls && self.secured.is_some());
                if self.lacks {
                    // The place is kept: the host's next address may do what this one does not.
                    Answer::Nothing
                } else {
                    self.next_letter().await
                }
            }
            Ask::Done { verdicts } => {
                self.done(verdicts).await;
                self.next_letter().await
            }
            Ask::Failed(failure) => {
                self.failed = Some(failure);
                Answer::Nothing
            }
        };
        (answer, Part::Last)
    }

    async fn more(&mut self) -> (Answer, Part) {
        (Answer::Nothing, Part::Last)
    }

    async fn notice(&mut self) -> GoingDown {
        std::future::pending().await
    }

    async fn body_chunk(&mut self, _: Bytes) {}

    async fn body_end(&mut self) -> Result<(), BodyFault> {
        Err(BodyFault::NotStored)
    }

    fn body_abort(&mut self) {}

    async fn blob(&mut self, blob: BlobId, range: Range<u64>) -> Result<Bytes, BodyFault> {
        let converted = self.hand.as_ref().and_then(|hand| hand.converted.as_ref());
        let (first, range) = converted.map_or((Bytes::new(), Some(range.clone())), |made| made.piece(range));
        let Some(range) = range else { return Ok(first) };
        let blobs = self.sender.data.blobs().clone();
        let read = tokio::task::spawn_blocking(move || blobs.read(blob, range));
        let rest = read.await.ok().and_then(Result::ok).ok_or(BodyFault::NotStored)?;
        Ok(if first.is_empty() { rest } else { [first, rest].concat().into() })
    }
}

/// A verdict on all recipients, in the words of what kept us.
pub(super) fn verdict(trouble: &Trouble) -> Verdict {
    let said = Said { reply: trouble.said.reply.clone(), own: trouble.said.own };
    if trouble.lasting { Verdict::Never(said) } else { Verdict::Later(said) }
}
