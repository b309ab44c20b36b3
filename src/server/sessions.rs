//! Binds each listener's machine to its host: what happens to a connection that was let in.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::delivery::{Checks, Intake, Reports};
use crate::directory::Internal;
use crate::filter::Guard;
use crate::imap;
use crate::mailauth::Names;
use crate::net::dns::{self, Resolver};
use crate::net::{Handler, Https, drive};
use crate::proto::imap::{Config as ImapConfig, Imap, Tls};
use crate::proto::smtp::{Config as SmtpConfig, HOLD_SECONDS, Machine as Smtp, Port};
use crate::settings::{Name, Settings};
use crate::smtp;

use super::dns::resolvers;
use super::house::House;
use super::limits;

/// What sessions share, made anew when the settings change; those that stand keep what they began with.
pub(super) struct Sessions {
    imap: ArcSwap<(ImapConfig, Arc<imap::Shared<Internal>>)>,
    smtp: ArcSwap<(SmtpConfig, Arc<smtp::Shared<Internal>>)>,
    intake: Intake,
    https: Https,
}

impl Sessions {
    pub fn new(house: &House, https: Https, stop: &watch::Receiver<bool>) -> Arc<Sessions> {
        let settings = house.settings.load();
        let intake = Intake::new(house.data.clone(), house.clock.clone(), house.random.clone());
        let facts = house.facts().clone();
        let intake = intake.ringing(house.bell.clone()).remembering(facts.clone()).reading(Reports::new(facts));
        Arc::new(Sessions {
            imap: ArcSwap::from_pointee(imap_parts(house, &settings, stop)),
            smtp: ArcSwap::from_pointee(smtp_parts(house, &settings, &intake, stop)),
            intake,
            https,
        })
    }

    pub fn reload(&self, house: &House, stop: &watch::Receiver<bool>) {
        let settings = house.settings.load();
        self.imap.store(Arc::new(imap_parts(house, &settings, stop)));
        self.smtp.store(Arc::new(smtp_parts(house, &settings, &self.intake, stop)));
    }

    pub fn handler(self: &Arc<Sessions>, name: Name) -> Handler {
        let sessions = self.clone();
        match name {
            Name::Imap | Name::Imaps => Arc::new(move |incoming| {
                let (config, shared) = &**sessions.imap.load();
                let mut config = config.clone();
                config.tls = if name.implicit_tls() { Tls::Implicit } else { Tls::StartTls };
                let machine = Imap::new(config, incoming.context.clock.mono());
                let host = imap::Host::new(shared.clone(), incoming.peer.ip());
                Box::pin(drive(incoming.stream, machine, host, incoming.context))
            }),
            Name::Smtp => sessions.smtp_handler(Port::Smtp),
            Name::Submissions => sessions.smtp_handler(Port::Submissions),
            Name::Submission => sessions.smtp_handler(Port::Submission),
            Name::Https => sessions.https.clone().handler(),
        }
    }

    fn smtp_handler(self: Arc<Sessions>, port: Port) -> Handler {
        Arc::new(move |incoming| {
            let (config, shared) = &**self.smtp.load();
            let mut config = config.clone();
            config.port = port;
            config.starttls = incoming.context.tls.is_some();
            let clock = &incoming.context.clock;
            config.hold_until = clock.trusted().then(|| clock.now().plus_ms(i64::from(HOLD_SECONDS) * 1000));
            let machine = Smtp::new(config, incoming.context.clock.mono());
            let host = smtp::Host::new(shared.clone(), incoming.peer.ip());
            let host = if port == Port::Smtp { host.from_outside() } else { host };
            Box::pin(drive(incoming.stream, machine, host, incoming.context))
        })
    }
}

fn imap_parts(
    house: &House,
    settings: &Settings,
    stop: &watch::Receiver<bool>,
) -> (ImapConfig, Arc<imap::Shared<Internal>>) {
    let shared = imap::Shared {
        data: house.data.clone(),
        directory: house.directory.clone(),
        clock: house.clock.clone(),
        random: house.random.clone(),
        throttle: limits::throttle(&house.throttle, settings),
        overviews: house.overviews.clone(),
        limits: limits::letter(settings),
        append_bytes: settings.limits.imap.append_bytes,
        refusal_ms: limits::REFUSAL_MS,
        going_down: stop.clone(),
    };
    (limits::imap(settings, Tls::Implicit), Arc::new(shared))
}

type Asked = Arc<dyn Fn() -> Option<Arc<dyn Names>> + Send + Sync>;

/// Asks the resolvers of the settings, or those that this machine has at the time: a router may tell it others.
fn names(house: &House, settings: &Settings) -> Asked {
    let servers: Vec<_> = settings.checks.servers.iter().filter_map(|server| dns::address(server)).collect();
    let clock = house.clock.clone();
    let last: Mutex<Option<(String, Arc<Resolver>)>> = Mutex::default();
    Arc::new(move || -> Option<Arc<dyn Names>> {
        let now = if servers.is_empty() { resolvers() } else { String::new() };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(known, _)| *known != now) {
            let resolver = Arc::new(Resolver::new(&servers, &now, clock.clone())?);
            *last = Some((now, resolver));
        }
        last.as_ref().map(|(_, resolver)| resolver.clone() as Arc<dyn Names>)
    })
}

/// What strangers have to go through.
fn guard(house: &House, settings: &Settings, names: Asked) -> Guard {
    let (pace, lists, refuse, greylist) = limits::strangers(settings);
    let facts = house.facts_later();
    Guard {
        memory: house.strangers.clone(),
        limits: pace,
        lists,
        refuse,
        greylist: greylist.then(|| Arc::new(move || facts.get().clone()) as _),
        names,
    }
}

fn smtp_parts(
    house: &House,
    settings: &Settings,
    intake: &Intake,
    stop: &watch::Receiver<bool>,
) -> (SmtpConfig, Arc<smtp::Shared<Internal>>) {
    let names = names(house, settings);
    let checks = limits::checks(settings).map(|(rules, wait)| Checks {
        names: names.clone(),
        wait,
        rules,
        failures: settings.reports.failures,
    });
    let shared = smtp::Shared {
        data: house.data.clone(),
        directory: house.directory.clone(),
        intake: intake.with_checks(checks),
        clock: house.clock.clone(),
        random: house.random.clone(),
        throttle: limits::throttle(&house.throttle, settings),
        hostname: settings.hostname.clone(),
        limits: limits::delivery(settings),
        guard: Some(guard(house, settings, names)),
        going_down: stop.clone(),
    };
    (limits::smtp(settings, Port::Smtp), Arc::new(shared))
}
