//! One connection after another to one destination, and what its host tells the machine.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::base::BlobId;
use crate::mailauth::tlsrpt::{self, FailureKind};
use crate::net::{ClientTls, Context, End, NoWay, Patience, TlsFault, TlsSide, dial, drive, fault};
use crate::proto::smtp::Notify;
use crate::proto::smtp::client::{
    Answer, Ask, Config, Failure, GoingDown, Hello, Letter, Login, Machine, Patience as Waits, Recipient, Said, Tls,
    Verdict,
};
use crate::proto::{self, BodyFault, Part, Secured};
use crate::queue::{self, Entry, State};

use super::{Job, Sender, Trouble, Way, World, route, settle};

/// For one address to answer.
const CONNECT: Duration = Duration::from_secs(30);
/// Letters over one connection.
const LETTERS: usize = 100;

/// Sends what waits for a destination, until nothing does or it cannot be reached.
pub(super) async fn serve<W: World>(sender: &Arc<Sender<W>>, destination: &str, stop: &watch::Receiver<bool>) {
    while let Some(first) = sender.next(destination) {
        if *stop.borrow() {
            return sender.give_back(&first);
        }
        let way = sender.world.way();
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
            served: 0,
            failed: None,
        };
        let trouble = match reach(&way, destination, &mut host).await {
            Ok(()) => continue,
            Err(trouble) => trouble,
        };
        info!(destination, why = trouble.said.reply.text.join(" "), "nothing can be sent there now");
        // Whatever waits for it has met the same.
        for job in host.next.into_iter().chain(sender.drain(destination)) {
            settle::all(sender, &way, &job, &trouble).await;
            sender.give_back(&job);
        }
    }
}

/// Finds a server of the destination that takes letters, and gives it some. Errors: none does.
async fn reach<W: World>(way: &Way, destination: &str, host: &mut Host<'_, W>) -> Result<(), Trouble> {
    let sender = host.sender.clone();
    let asker = sender.world.asker();
    let names = match &way.relay {
        Some(relay) => vec![relay.host.clone()],
        None => route::hosts(&asker, sender.random.as_ref(), destination, &way.hostname).await?,
    };
    let mut last = None;
    for name in names {
        let addresses = match route::addresses(&asker, &name).await {
            Ok(addresses) => addresses,
            Err(trouble) => {
                // A host that is not there says nothing of the others.
                last = Some(worse(last, trouble));
                continue;
            }
        };
        for address in addresses {
            match talk(way, &name, address, host).await {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    debug!(host = name, %address, why = trouble.said.reply.text.join(" "), "that way did not work");
                    last = Some(worse(last, trouble));
                }
            }
        }
    }
    let mut trouble = last.unwrap_or_else(|| Trouble::later((4, 4, 3), format!("no server of {destination} is known")));
    // A relay that refuses us is the owner's to put right; letters wait for it.
    if way.relay.is_some() {
        trouble.lasting = false;
    }
    Err(trouble)
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
async fn talk<W: World>(way: &Way, name: &str, address: IpAddr, host: &mut Host<'_, W>) -> Result<(), Trouble> {
    let (port, login, first) = match &way.relay {
        Some(relay) => (relay.port, relay.login.clone(), if relay.implicit { Tls::Implicit } else { Tls::Needed }),
        None => (way.port, None, Tls::Offered),
    };
    match once(way, name, SocketAddr::new(address, port), login.clone(), first, host).await {
        Err((_, true)) if first == Tls::Offered => {
            debug!(host = name, %address, "TLS does not work with it; once more without");
            once(way, name, SocketAddr::new(address, port), login, Tls::Never, host)
                .await
                .map_err(|(trouble, _)| trouble)
        }
        done => done.map_err(|(trouble, _)| trouble),
    }
}

/// Errors: with whether TLS was what did not work.
async fn once<W: World>(
    way: &Way,
    name: &str,
    to: SocketAddr,
    login: Option<Login>,
    tls: Tls,
    host: &mut Host<'_, W>,
) -> Result<(), (Trouble, bool)> {
    let sender = host.sender.clone();
    let stream = dial(to, &way.source, CONNECT).await.map_err(|no| {
        let words = match no {
            NoWay::Unreachable => format!("there is no way to {name} ({})", to.ip()),
            NoWay::Silent => format!("{name} ({}) does not answer", to.ip()),
            NoWay::Refused(why) => format!("{name} ({}) cannot be reached: {why}", to.ip()),
        };
        (Trouble::later((4, 4, 1), words), false)
    })?;
    let side = match tls {
        Tls::Never => None,
        Tls::Offered => sender.world.opportunistic(),
        Tls::Needed | Tls::Implicit => sender.world.verified(),
    };
    let side: Option<ClientTls> = side.and_then(|side| side.to(name).or_else(|_| side.to("localhost")).ok());
    let tls = if side.is_none() && tls == Tls::Offered { Tls::Never } else { tls };
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
    let sending = stream.local_addr().ok().map(|own| own.ip());
    host.remote = name.to_owned();
    host.served = 0;
    host.failed = None;
    host.hello = Hello::default();
    host.secured = None;
    host.greeted = false;
    let end = drive(stream, machine, &mut *host, context).await;
    let failed = host.failed.take();
    if way.relay.is_none()
        && tls != Tls::Never
        && let Some(result) = result(host, failed.as_ref(), &end)
    {
        let domain = idna::domain_to_ascii(host.destination).unwrap_or_default();
        let (mx, policy) = (Some(name.to_owned()), tlsrpt::Policy::none());
        let at = sender.clock.now();
        sender.world.note(tlsrpt::Outcome { at, domain, policy, mx, receiving: Some(to.ip()), sending, result });
    }
    let trouble = match (&failed, &end) {
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

/// What a session came to as far as TLS goes. `None`: it never came so far.
fn result<W>(host: &Host<'_, W>, failed: Option<&Failure>, end: &End) -> Option<Result<(), tlsrpt::Failure>> {
    if host.secured.is_some() {
        return Some(Ok(()));
    }
    if host.greeted && host.secured.is_none() && failed.is_none_or(|failed| failed.at_tls) && !host.hello.starttls {
        return Some(Err(FailureKind::StartTlsNotSupported.because("STARTTLS is not offered")));
    }
    match (failed, end) {
        (Some(failed), _) if failed.at_tls => {
            Some(Err(FailureKind::ValidationFailure.because(failed.said.reply.text.join(" "))))
        }
        (None, End::NoTls(error)) => {
            let kind = match fault(error) {
                TlsFault::Time => FailureKind::CertificateExpired,
                TlsFault::Name => FailureKind::CertificateHostMismatch,
                TlsFault::Untrusted => FailureKind::CertificateNotTrusted,
                TlsFault::Other => FailureKind::ValidationFailure,
            };
            Some(Err(kind.because(error.to_string())))
        }
        (None, End::NoHandshake) => Some(Err(FailureKind::ValidationFailure.because("the handshake does not end"))),
        _ => None,
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
}

/// Gives the machine letters, and writes down what became of them.
struct Host<'a, W> {
    sender: Arc<Sender<W>>,
    destination: &'a str,
    remote: String,
    stop: watch::Receiver<bool>,
    hand: Option<Hand>,
    next: Option<Job>,
    hello: Hello,
    secured: Option<Secured>,
    /// It was ready for letters.
    greeted: bool,
    /// Letters with verdicts, over this connection.
    served: usize,
    failed: Option<Failure>,
}

impl<W: World> Host<'_, W> {
    async fn next_letter(&mut self) -> Answer {
        loop {
            if *self.stop.borrow() || self.served >= LETTERS {
                return Answer::Nothing;
            }
            let Some(job) = self.next.take().or_else(|| self.sender.next(self.destination)) else {
                return Answer::Nothing;
            };
            let sender = self.sender.clone();
            let id = job.id;
            let found = tokio::task::spawn_blocking(move || {
                let read = sender.data.read().ok()?;
                queue::find(&read, id).ok()?
            });
            match found.await.ok().flatten() {
                Some(entry) => {
                    let letter = letter(&entry, &job);
                    if letter.recipients.is_empty() {
                        self.sender.give_back(&job);
                        continue;
                    }
                    self.hand = Some(Hand { job, entry });
                    return Answer::Letter(letter);
                }
                // Cancelled meanwhile.
                None => self.sender.give_back(&job),
            }
        }
    }

    async fn done(&mut self, verdicts: Vec<Verdict>) {
        self.served += 1;
        let Some(Hand { job, entry }) = self.hand.take() else { return };
        let way = self.sender.world.way();
        let waiting = still_waiting(&entry, &job);
        let outcomes: Vec<settle::Outcome> = waiting
            .iter()
            .zip(verdicts)
            .map(|(recipient, verdict)| settle::Outcome {
                n: recipient.n,
                verdict,
                remote: Some(self.remote.clone()),
                tells: self.hello.dsn,
            })
            .collect();
        let secured = self.secured.as_ref().map_or("none", |secured| secured.version.as_str());
        info!(letter = %entry.id, host = self.remote, tls = secured, recipients = outcomes.len(), "sent, or told why not");
        settle::write(&self.sender, &way, &entry, outcomes).await;
        self.sender.give_back(&job);
    }
}

/// Those of a letter's recipients that a job is for, and that still wait.
fn still_waiting<'a>(entry: &'a Entry, job: &Job) -> Vec<&'a queue::Recipient> {
    let waits = |one: &&queue::Recipient| one.state == State::Waiting && job.recipients.contains(&one.n);
    entry.recipients.iter().filter(waits).collect()
}

fn letter(entry: &Entry, job: &Job) -> Letter {
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
        ret_full: entry.ret_full,
        envid: entry.envid.clone(),
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
                self.next_letter().await
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
        let blobs = self.sender.data.blobs().clone();
        let read = tokio::task::spawn_blocking(move || blobs.read(blob, range));
        read.await.ok().and_then(Result::ok).ok_or(BodyFault::NotStored)
    }
}

/// A verdict on all recipients, in the words of what kept us.
pub(super) fn verdict(trouble: &Trouble) -> Verdict {
    let said = Said { reply: trouble.said.reply.clone(), own: trouble.said.own };
    if trouble.lasting { Verdict::Never(said) } else { Verdict::Later(said) }
}
