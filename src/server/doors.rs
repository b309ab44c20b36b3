//! The listeners, as the settings want them: opened, closed and changed without touching anybody else's connection.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tracing::{error, info};

use crate::net::tls::{self, Unusable};
use crate::net::{Caps, Certs, Common, Ending, Listener, Pair, Patience, Spec};
use crate::settings::{Name, Settings};

use super::folder::Folder;
use super::house::House;
use super::sessions::Sessions;

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
}

impl Doors {
    pub fn new(house: &House, shift: Shift) -> Result<Doors, String> {
        let certs = certificates(house).map_err(|error| error.to_string())?;
        let config = certs.config().map_err(|error| error.to_string())?;
        let (common, ending) = Common::new(house.clock.clone(), Some(config));
        let sessions = Sessions::new(house, &ending.watch());
        Ok(Doors { shift, common, ending, certs, sessions, open: BTreeMap::new() })
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
            if self.open.get(&name).map(|(spec, _)| spec) == wanted.as_ref() {
                continue;
            }
            if let Some((_, old)) = self.open.remove(&name) {
                old.close().await;
                info!(listener = %name, "closed");
            }
            let Some(spec) = wanted else { continue };
            match Listener::open(spec.clone(), self.common.clone(), self.sessions.handler(name)) {
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

    pub fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// New limits and a new certificate; for whoever comes from now on.
    pub fn reload(&self, house: &House) -> Vec<String> {
        self.sessions.reload(house, &self.ending.watch());
        let swapped = match house.folder.pair() {
            Ok(Some(pair)) => self.certs.swap(&[pair]).map_err(|error| error.to_string()),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        let problem = swapped.err().map(|error| format!("the certificate stays as it is: {error}"));
        if let Some(problem) = &problem {
            error!("{problem}");
        }
        problem.into_iter().collect()
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

/// How many descriptors one listener's connections may take: strangers must not be able to take those that the stores
/// need. Half of a small limit, or 128, is kept back; the rest is shared evenly.
fn descriptors() -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let shared = limit - (limit / 2).min(128);
    usize::try_from(shared).unwrap_or(usize::MAX) / Name::ALL.len()
}

/// The certificate in the folder. One that is lost or damaged is no reason not to start (P9): then a new self-signed one
/// serves, which is kept only where there was none.
fn certificates(house: &House) -> Result<Arc<Certs>, Unusable> {
    let kept = match house.folder.pair() {
        Ok(Some(pair)) => Some(Certs::new(&[pair])),
        Ok(None) => None,
        Err(error) => Some(Err(Unusable(error.to_string()))),
    };
    match kept {
        Some(Ok(certs)) => Ok(certs),
        Some(Err(error)) => {
            error!(%error, "the certificate cannot be used; a self-signed one serves instead");
            Certs::new(&[fresh(house)?])
        }
        None => {
            let pair = fresh(house)?;
            keep(&house.folder, &pair);
            Certs::new(&[pair])
        }
    }
}

fn fresh(house: &House) -> Result<Pair, Unusable> {
    tls::self_signed(&[house.settings.load().hostname.clone()])
}

fn keep(folder: &Folder, pair: &Pair) {
    if let Err(error) = folder.put_pair(pair) {
        error!(%error, "the new certificate cannot be kept");
    }
}
