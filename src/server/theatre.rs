//! Where an authority looks for the answers to its challenges: the port of HTTPS, a port for HTTP that is open only then,
//! and the domain's DNS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tracing::{info, warn};

use crate::cert::{Answer, Cause, DnsWriter, Method, Stage, Trouble};
use crate::net::{Certs, Common, Handler, Listener, drive};
use crate::proto::http::{Machine, NoHost, Page, Pages, Request};
use crate::settings::Name;

use super::dns::Challenges;
use super::doors::{Shift, challenge_spec};
use super::house::House;

/// RFC 8555 8.3.
const PATH: &str = "/.well-known/acme-challenge/";

pub(super) struct Theatre {
    house: Arc<House>,
    certs: Arc<Certs>,
    common: Common,
    shift: Shift,
    /// Token → text, while an authority looks.
    tokens: Arc<Mutex<BTreeMap<String, String>>>,
    port: AsyncMutex<Option<Listener>>,
    challenges: Arc<Challenges>,
    writers: Vec<Arc<dyn DnsWriter>>,
}

impl Theatre {
    pub fn new(house: Arc<House>, certs: Arc<Certs>, common: Common, shift: Shift) -> Theatre {
        let challenges = Arc::new(Challenges::new(house.clone()));
        Theatre {
            house,
            certs,
            common,
            shift,
            tokens: Arc::default(),
            port: AsyncMutex::default(),
            writers: vec![challenges.clone()],
            challenges,
        }
    }

    /// Takes away what a cut has left in the DNS, beside everything else.
    pub fn clean(&self) {
        let challenges = self.challenges.clone();
        drop(tokio::spawn(async move { challenges.clean().await }));
    }

    /// The ways that may be tried for a name, the best first; with `only`, no other than that.
    pub fn open_ways(&self, name: &str, only: Option<Method>) -> Vec<Method> {
        self.methods(name).into_iter().filter(|method| only.is_none_or(|only| only == *method)).collect()
    }

    fn writer(&self, name: &str) -> Option<&Arc<dyn DnsWriter>> {
        self.writers.iter().find(|writer| writer.serves(name))
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn show_http(&self, answer: &Answer) -> Result<(), Trouble> {
        self.tokens().insert(answer.token.clone(), answer.text.clone());
        let mut port = self.port.lock().await;
        if port.is_some() {
            return Ok(());
        }
        let settings = self.house.settings.load();
        let fault = |why: String| Trouble::new(Cause::NoMethod, why);
        let spec =
            challenge_spec(&settings, self.shift).ok_or_else(|| fault("acme.http_port is no port".to_owned()))?;
        let number = spec.port;
        let listener = Listener::open(spec, self.common.clone(), self.handler())
            .map_err(|error| fault(format!("port {number} cannot be opened here: {error}")))?;
        info!("port {number} is open for the authority");
        *port = Some(listener);
        Ok(())
    }

    async fn hide_http(&self, answer: &Answer) {
        let empty = {
            let mut tokens = self.tokens();
            tokens.remove(&answer.token);
            tokens.is_empty()
        };
        if empty && let Some(listener) = self.port.lock().await.take() {
            listener.close().await;
            info!("the port for the authority is closed");
        }
    }

    /// The answers, and for everybody else the way to HTTPS.
    fn handler(&self) -> Handler {
        let settings = self.house.settings.load();
        let port = match settings.listeners.get(Name::Https).port.saturating_add(self.shift.offset) {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let (tokens, hostname) = (self.tokens.clone(), settings.hostname.clone());
        let pages: Pages = Arc::new(move |request: &Request| {
            if let Some(token) = request.target.strip_prefix(PATH) {
                let tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
                return tokens.get(token).map_or(Page::Nothing, |text| Page::Text(text.clone()));
            }
            // Only to ourselves, whatever host the request names.
            Page::Moved(format!("https://{hostname}{port}{}", request.target))
        });
        Arc::new(move |incoming| {
            let machine = Machine::new(pages.clone(), incoming.context.clock.mono());
            Box::pin(drive(incoming.stream, machine, NoHost, incoming.context))
        })
    }
}

impl Stage for Theatre {
    fn methods(&self, name: &str) -> Vec<Method> {
        let https = self.house.settings.load().listeners.get(Name::Https).on;
        let open = |method: &Method| match method {
            Method::Dns => self.writer(name).is_some(),
            Method::TlsAlpn => https,
            Method::Http => true,
        };
        Method::ALL.into_iter().filter(open).collect()
    }

    async fn show(&self, answer: &Answer) -> Result<(), Trouble> {
        match answer.method {
            Method::TlsAlpn => self
                .certs
                .put_challenge(&answer.name, &answer.digest)
                .map_err(|error| Trouble::new(Cause::NoMethod, error.to_string())),
            Method::Http => self.show_http(answer).await,
            Method::Dns => {
                let Some(writer) = self.writer(&answer.name) else { return Err(Trouble::new(Cause::NoMethod, "")) };
                let written = writer.set_txt(&record_of(&answer.name), &answer.record).await;
                written.map_err(|why| Trouble::new(Cause::Writer, why))
            }
        }
    }

    async fn hide(&self, answer: &Answer) {
        match answer.method {
            Method::TlsAlpn => self.certs.remove_challenge(&answer.name),
            Method::Http => self.hide_http(answer).await,
            Method::Dns => {
                let Some(writer) = self.writer(&answer.name) else { return };
                if let Err(why) = writer.remove_txt(&record_of(&answer.name), &answer.record).await {
                    warn!(name = answer.name, why, "the record for the authority stays in DNS");
                }
            }
        }
    }
}

/// RFC 8555 8.4.
fn record_of(name: &str) -> String {
    format!("_acme-challenge.{name}")
}
