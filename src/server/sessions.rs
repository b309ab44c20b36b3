//! Binds each listener's machine to its host: what happens to a connection that was let in.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::delivery::{self, Intake};
use crate::directory::Internal;
use crate::imap;
use crate::message::Limits;
use crate::net::{Handler, drive};
use crate::proto;
use crate::proto::imap::{Config as ImapConfig, Imap, Tls};
use crate::proto::smtp::{Config as SmtpConfig, Machine as Smtp, Port};
use crate::settings::{Name, Settings};
use crate::smtp;

use super::house::House;

/// Milliseconds that the first refused log-in of a connection waits.
const REFUSAL_MS: u64 = 1000;

/// What sessions share, made anew when the settings change; those that stand keep what they began with.
pub(super) struct Sessions {
    imap: ArcSwap<(ImapConfig, Arc<imap::Shared<Internal>>)>,
    smtp: ArcSwap<(SmtpConfig, Arc<smtp::Shared<Internal>>)>,
    intake: Intake,
}

impl Sessions {
    pub fn new(house: &House, stop: &watch::Receiver<bool>) -> Arc<Sessions> {
        let settings = house.settings.load();
        let intake = Intake::new(house.data.clone(), house.clock.clone(), house.random.clone());
        Arc::new(Sessions {
            imap: ArcSwap::from_pointee(imap_parts(house, &settings, stop)),
            smtp: ArcSwap::from_pointee(smtp_parts(house, &settings, &intake, stop)),
            intake,
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
                let host = imap::Host::new(shared.clone());
                Box::pin(drive(incoming.stream, machine, host, incoming.context))
            }),
            Name::Smtp => sessions.smtp_handler(Port::Smtp),
            Name::Submissions => sessions.smtp_handler(Port::Submissions),
            Name::Submission => sessions.smtp_handler(Port::Submission),
        }
    }

    fn smtp_handler(self: Arc<Sessions>, port: Port) -> Handler {
        Arc::new(move |incoming| {
            let (config, shared) = &**self.smtp.load();
            let mut config = config.clone();
            config.port = port;
            config.starttls = incoming.context.tls.is_some();
            let machine = Smtp::new(config, incoming.context.clock.mono());
            let host = smtp::Host::new(shared.clone(), incoming.peer.ip());
            Box::pin(drive(incoming.stream, machine, host, incoming.context))
        })
    }
}

fn letter_limits(settings: &Settings) -> Limits {
    let smtp = &settings.limits.smtp;
    Limits {
        header_bytes: smtp.header_bytes,
        parts: u32::try_from(smtp.parts).unwrap_or(u32::MAX),
        depth: u32::try_from(smtp.depth).unwrap_or(u32::MAX),
        ..Limits::default()
    }
}

fn imap_parts(
    house: &House,
    settings: &Settings,
    stop: &watch::Receiver<bool>,
) -> (ImapConfig, Arc<imap::Shared<Internal>>) {
    let limits = &settings.limits.imap;
    let mut config = ImapConfig::new(Tls::Implicit);
    config.limits.command = usize::try_from(limits.command_bytes).unwrap_or(usize::MAX);
    config.limits.message = limits.append_bytes;
    config.limits.login_failures = u32::try_from(limits.auth_failures).unwrap_or(u32::MAX);
    config.limits.bad_commands = u32::try_from(limits.errors).unwrap_or(u32::MAX);
    config.limits.login_ms = limits.login_ms;
    config.limits.login_idle_ms = config.limits.login_idle_ms.min(limits.login_ms);
    config.limits.idle_ms = limits.idle_ms;
    let shared = imap::Shared {
        data: house.data.clone(),
        directory: house.directory.clone(),
        clock: house.clock.clone(),
        random: house.random.clone(),
        limits: letter_limits(settings),
        append_bytes: limits.append_bytes,
        refusal_ms: REFUSAL_MS,
        going_down: stop.clone(),
    };
    (config, Arc::new(shared))
}

fn smtp_parts(
    house: &House,
    settings: &Settings,
    intake: &Intake,
    stop: &watch::Receiver<bool>,
) -> (SmtpConfig, Arc<smtp::Shared<Internal>>) {
    let ours = &settings.limits.smtp;
    let limits = proto::smtp::Limits {
        message_bytes: ours.message_bytes,
        command_line_bytes: usize::try_from(ours.command_line_bytes).unwrap_or(usize::MAX),
        header_bytes: ours.header_bytes,
        body_line_bytes: ours.body_line_bytes,
        recipients: ours.recipients,
        errors: ours.errors,
        commands: ours.commands,
        auth_delay_ms: REFUSAL_MS,
        command_ms: ours.command_ms,
        data_block_ms: ours.data_block_ms,
        message_ms: ours.message_ms,
        ..proto::smtp::Limits::default()
    };
    let config = SmtpConfig { port: Port::Smtp, hostname: settings.hostname.as_str().into(), starttls: true, limits };
    let shared = smtp::Shared {
        data: house.data.clone(),
        directory: house.directory.clone(),
        intake: intake.clone(),
        random: house.random.clone(),
        hostname: settings.hostname.clone(),
        limits: delivery::Limits {
            message: letter_limits(settings),
            received: usize::try_from(ours.received_count).unwrap_or(usize::MAX),
            ..delivery::Limits::default()
        },
        going_down: stop.clone(),
    };
    (config, Arc::new(shared))
}
