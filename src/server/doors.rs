//! The listeners, as the settings want them: opened, closed and changed without touching anybody else's connection.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit};
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::net::{Caps, Certs, Common, Ending, Https, HttpsLimits, Listener, Patience, Spec, while_closed};
use crate::settings::{Name, Settings};

use super::house::House;
use super::pages;
use super::serve::Told;
use super::sessions::Sessions;
use super::theatre::Theatre;

/// Where the ports are, beside the settings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shift {
    /// `None`: every address.
    pub bind: Option<IpAddr>,
    /// Added to each port: so no root is needed.
    pub offset: u16,
}

pub(super) struct Doors {
    shift: Shift,
    common: Common,
    ending: Ending,
    certs: Arc<Certs>,
    sessions: Arc<Sessions>,
    open: BTreeMap<Name, (Spec, Listener)>,
    /// Only this machine is let in: mail from elsewhere is asked to come again, the other ports are not there for others.
    closed: Arc<AtomicBool>,
}

impl Doors {
    pub fn new(house: &Arc<House>, tell: &mpsc::UnboundedSender<Told>, shift: Shift) -> Result<Doors, String> {
        let certs = house.certificates.serve(house)?;
        let config = certs.config().map_err(|error| error.to_string())?;
        let https = Https {
            site: pages::site(house, tell),
            tls: certs.https_config().map_err(|error| error.to_string())?,
            certs: certs.clone(),
            limits: HttpsLimits::default(),
        };
        let (common, ending) = Common::new(house.clock.clone(), Some(config));
        let sessions = Sessions::new(house, https, &ending.watch());
        Ok(Doors { shift, common, ending, certs, sessions, open: BTreeMap::new(), closed: Arc::default() })
    }

    /// Makes the listeners what the settings say. What cannot be opened is said, and left for the next time.
    pub async fn apply(&mut self, settings: &Settings) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, listener) in settings.listeners.all() {
            let wanted = match spec(settings, name, listener.port, self.shift) {
                Some(spec) if listener.on => Some(spec),
                None if listener.on => {
                    problems.push(format!("{name}: port {} + {} is no port", listener.port, self.shift.offset));
                    None
                }
                _ => None,
            };
            let wanted = wanted.map(|spec| self.kept_in(name, spec));
            if self.open.get(&name).map(|(spec, _)| spec) == wanted.as_ref() {
                continue;
            }
            if let Some((_, old)) = self.open.remove(&name) {
                old.close().await;
                info!(listener = %name, "closed");
            }
            let Some(spec) = wanted else { continue };
            let handler = match name {
                Name::Smtp => while_closed(self.closed.clone(), comes_again(settings), self.sessions.handler(name)),
                _ => self.sessions.handler(name),
            };
            match Listener::open(spec.clone(), self.common.clone(), handler) {
                Ok(listener) => {
                    let addresses = listener.addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
                    info!(listener = %name, "listening on {}", addresses.join(" and "));
                    self.open.insert(name, (spec, listener));
                }
                Err(error) => {
                    let problem = format!("{name}: port {} cannot be opened: {}", spec.port, why(&error));
                    error!("{problem}");
                    problems.push(problem);
                }
            }
        }
        problems
    }

    /// For the next [`Doors::apply`]: whether only this machine is let in.
    pub fn keep_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Release);
    }

    fn kept_in(&self, name: Name, spec: Spec) -> Spec {
        match name {
            Name::Smtp => spec,
            _ if !self.closed.load(Ordering::Acquire) => spec,
            _ => Spec { bind: Some(spec.bind.filter(IpAddr::is_loopback).unwrap_or(LOOPBACK)), ..spec },
        }
    }

    pub fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// New limits and a new certificate; for whoever comes from now on.
    pub fn reload(&self, house: &House) -> Vec<String> {
        self.sessions.reload(house, &self.ending.watch());
        // One that cannot be used is no reason to take away the one that serves.
        let usable = match house.folder.pair() {
            Ok(Some(pair)) => crate::net::tls::check(&pair).map_err(|error| error.to_string()),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        let problem = usable
            .and_then(|()| house.certificates.swap(house))
            .err()
            .map(|error| format!("the certificate stays as it is: {error}"));
        if let Some(problem) = &problem {
            error!("{problem}");
        }
        problem.into_iter().collect()
    }

    /// Where an authority looks for answers to its challenges. To be dropped before [`Doors::close`] can end.
    pub fn theatre(&self, house: &Arc<House>) -> Theatre {
        Theatre::new(house.clone(), self.certs.clone(), self.common.clone(), self.shift)
    }

    /// Stops accepting, lets sessions take their leave; resolves when the last has.
    pub async fn close(self) {
        let Doors { mut ending, open, common, sessions, .. } = self;
        for (_, listener) in open.into_values() {
            listener.close().await;
        }
        drop((common, sessions));
        ending.announce();
        ending.ended().await;
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// RFC 5321 3.1: the greeting of a server that takes nothing now; RFC 3463 3.4 for the second number.
fn comes_again(settings: &Settings) -> String {
    format!("421 4.3.2 {} is being updated, please try again later", settings.hostname)
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses it".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not open it (ports below 1024 are root's)".to_owned(),
        _ => error.to_string(),
    }
}

pub(super) fn spec(settings: &Settings, name: Name, port: u16, shift: Shift) -> Option<Spec> {
    let port = port.checked_add(shift.offset)?;
    let (total, per_address, silent, handshake_ms) = match name {
        Name::Smtp | Name::Submissions | Name::Submission => {
            let limits = &settings.limits.smtp;
            (limits.connections, limits.connections_per_address, limits.half_open, limits.handshake_ms)
        }
        Name::Imap | Name::Imaps => {
            let limits = &settings.limits.imap;
            (limits.connections, limits.connections_per_address, limits.half_open, limits.handshake_ms)
        }
        // A browser holds six, and a family may be behind one address.
        Name::Https => (200, 50, 100, settings.limits.smtp.handshake_ms),
    };
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(descriptors());
    Some(Spec {
        name: name.as_str().to_owned(),
        bind: shift.bind,
        port,
        implicit_tls: name.implicit_tls(),
        caps: Caps { total: number(total), per_address: number(per_address), silent: number(silent) },
        patience: Patience { handshake_ms, ..Patience::default() },
    })
}

/// The port of http-01, which is open only while an authority looks.
pub(super) fn challenge_spec(settings: &Settings, shift: Shift) -> Option<Spec> {
    Some(Spec {
        name: "http-01".to_owned(),
        bind: shift.bind,
        port: settings.acme.http_port.checked_add(shift.offset)?,
        implicit_tls: false,
        caps: Caps { total: 100.min(descriptors()), per_address: 20, silent: 50 },
        patience: Patience::default(),
    })
}

/// How many descriptors one listener's connections may take: strangers must not be able to take those that the stores
/// need. Half of a small limit, or 128, is kept back; the rest is shared evenly.
fn descriptors() -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let shared = limit - (limit / 2).min(128);
    usize::try_from(shared).unwrap_or(usize::MAX) / Name::ALL.len()
}
