//! Writing records: by a signed update at the name server itself, or through the interface of a DNS provider.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::{Clock, Random};

use super::provider::Provider;
use super::tsig::Algorithm;
use super::update::Updater;
use super::{Asker, Data, Kind};

/// What is to happen to the records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub kind: Kind,
    /// All that were there when this was decided; `None`: whatever is there may be. A server that can is told to do nothing
    /// if it is not so any more.
    pub before: Option<Vec<Data>>,
    /// Each by its value; others stay.
    pub remove: Vec<Data>,
    pub add: Vec<Data>,
    /// Of those that are added, in seconds.
    pub ttl: u32,
}

/// Why a change was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A sentence for the owner, or two: what it is, what to do.
    pub words: String,
    /// Whether surely nothing of it was done.
    pub certain: bool,
}

impl Fault {
    pub(super) fn sure(words: impl Into<String>) -> Fault {
        Fault { words: words.into(), certain: true }
    }

    pub(super) fn unsure(words: impl Into<String>) -> Fault {
        Fault { words: words.into(), certain: false }
    }
}

/// How records are written, and with what. It has no `Debug`: there are secrets in it.
#[derive(Clone)]
pub struct Credentials {
    /// `rfc2136`, or a provider of [`methods`].
    pub method: String,
    /// The address of the name server, or of a provider's interface in one's own house.
    pub server: String,
    /// Of a TSIG key.
    pub key_name: String,
    pub algorithm: String,
    /// As [`secrets_of`] lists them.
    pub secrets: Vec<String>,
}

/// The method that is no provider.
pub const RFC2136: &str = "rfc2136";

/// By which ways records can be written: the words for settings.
pub fn methods() -> impl Iterator<Item = &'static str> {
    std::iter::once(RFC2136).chain(Provider::ALL.iter().map(|(name, _)| *name))
}

/// What a method needs to know that nobody else may, in order. `None`: there is no such method.
pub fn secrets_of(method: &str) -> Option<&'static [&'static str]> {
    if method == RFC2136 {
        return Some(&["the secret of the TSIG key (base64)"]);
    }
    Provider::ALL.iter().find(|(name, _)| *name == method).map(|(_, secrets)| *secrets)
}

/// Writes records.
#[derive(Clone)]
pub struct Writer {
    way: Way,
    asker: Asker,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

#[derive(Clone)]
enum Way {
    Update(Box<Updater>),
    Provider(Arc<Provider>),
}

impl Writer {
    /// Asks nobody yet. Errors: a sentence on what is missing or wrong.
    pub fn new(
        credentials: &Credentials,
        asker: &Asker,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Writer, String> {
        let Credentials { method, server, key_name, algorithm, secrets } = credentials;
        let needed = secrets_of(method).ok_or_else(|| format!("{method} is no way to write records"))?;
        if secrets.len() != needed.len() || secrets.iter().any(String::is_empty) {
            return Err(format!("{method} needs {}", needed.join(", then ")));
        }
        let way = if method == RFC2136 {
            let address = address(server).ok_or("the name server's address is missing, as 192.0.2.53")?;
            let secret = secrets.first().and_then(|secret| STANDARD.decode(secret.trim()).ok());
            let secret = secret.ok_or("the secret of the TSIG key is not base64, as name servers write it")?;
            let algorithm = Algorithm::from_name(algorithm).ok_or("the algorithm of the TSIG key is not known")?;
            let updater = Updater::new(address, key_name, algorithm, &secret);
            Way::Update(Box::new(updater.ok_or("the name of the TSIG key is missing")?))
        } else {
            Way::Provider(Arc::new(Provider::new(method, server, secrets)?))
        };
        Ok(Writer { way, asker: asker.clone(), clock, random })
    }

    /// The server that knows the records best, if it is a name server: the one that is written to.
    pub fn server(&self) -> Option<SocketAddr> {
        match &self.way {
            Way::Update(updater) => Some(updater.server),
            Way::Provider(_) => None,
        }
    }

    /// Does the changes in a zone, and says of each how it went, in order. At a name server it is all or none.
    pub async fn write(&self, zone: &str, changes: &[Change]) -> Vec<Result<(), Fault>> {
        if changes.is_empty() {
            return Vec::new();
        }
        match &self.way {
            Way::Update(updater) => {
                let mut id = [0; 2];
                self.random.fill(&mut id);
                let (id, seconds) = (u16::from_be_bytes(id), self.clock.now().seconds());
                let done = updater.write(&self.asker, id, seconds, zone, changes).await;
                vec![done; changes.len()]
            }
            Way::Provider(provider) => provider.write(zone, changes).await,
        }
    }
}

/// `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353`.
pub fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.parse().map(|ip| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).ok()
}
