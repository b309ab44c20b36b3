//! What the settings mean to those who keep to them. Every setting is passed on here or in `doors` (its test goes through
//! the table), and nowhere else; the transcripts play with what these make.

use std::time::Duration;

use crate::cert;
use crate::delivery;
use crate::directory::Throttle;
use crate::filter;
use crate::mailauth::Rules;
use crate::message;
use crate::proto::imap::{Config as ImapConfig, Tls};
use crate::proto::smtp::{Config as SmtpConfig, Limits as SmtpLimits, Port};
use crate::queue;
use crate::settings::Settings;
use crate::store::data::Options;

/// Milliseconds that the first refused log-in of a connection waits.
pub(super) const REFUSAL_MS: u64 = 1000;

/// Of an IMAP session.
pub fn imap(settings: &Settings, tls: Tls) -> ImapConfig {
    let ours = &settings.limits.imap;
    let mut config = ImapConfig::new(tls);
    let limits = &mut config.limits;
    limits.command = bytes(ours.command_bytes);
    limits.line = bytes(ours.line_bytes);
    limits.literal = ours.literal_bytes;
    limits.message = ours.append_bytes;
    limits.login_failures = number(settings.limits.login.failures);
    limits.bad_commands = number(ours.errors);
    limits.login_ms = ours.login_ms;
    limits.login_idle_ms = limits.login_idle_ms.min(ours.login_ms);
    limits.idle_ms = ours.idle_ms;
    config
}

/// Of an SMTP session. There is a certificate, so STARTTLS is offered.
pub fn smtp(settings: &Settings, port: Port) -> SmtpConfig {
    let ours = &settings.limits.smtp;
    let limits = SmtpLimits {
        message_bytes: ours.message_bytes,
        command_line_bytes: bytes(ours.command_line_bytes),
        header_bytes: ours.header_bytes,
        body_line_bytes: ours.body_line_bytes,
        recipients: ours.recipients,
        errors: ours.errors,
        commands: ours.commands,
        auth_failures: settings.limits.login.failures,
        auth_delay_ms: REFUSAL_MS,
        command_ms: ours.command_ms,
        data_block_ms: ours.data_block_ms,
        message_ms: ours.message_ms,
    };
    SmtpConfig { port, hostname: settings.hostname.as_str().into(), starttls: true, hold_until: None, limits }
}

/// Of a letter, by whichever door it comes.
pub fn letter(settings: &Settings) -> message::Limits {
    let smtp = &settings.limits.smtp;
    message::Limits {
        header_bytes: smtp.header_bytes,
        parts: number(smtp.parts),
        depth: number(smtp.depth),
        ..message::Limits::default()
    }
}

/// Of what is handed in over SMTP.
pub fn delivery(settings: &Settings) -> delivery::Limits {
    delivery::Limits {
        message: letter(settings),
        received: bytes(settings.limits.smtp.received_count),
        rates: delivery::Rates {
            hour: settings.sending.recipients_per_hour,
            new_hour: settings.sending.new_recipients_per_hour,
            new_day: settings.sending.new_recipients_per_day,
        },
        queue: queue(settings),
        ..delivery::Limits::default()
    }
}

/// Of letters for elsewhere.
pub(super) fn queue(settings: &Settings) -> queue::Limits {
    queue::Limits { letters: settings.sending.queue_letters, bytes: settings.sending.queue_bytes }
}

/// Of what strangers hand in. `None`: nothing is checked.
pub(super) fn checks(settings: &Settings) -> Option<(Rules, Duration)> {
    let checks = &settings.checks;
    let rules = Rules { obey: checks.obey, forwarders: checks.forwarders.clone() };
    checks.on.then_some((rules, Duration::from_millis(checks.wait_ms)))
}

/// Of strangers: how often they may come, block lists, whether who is on one is refused, greylisting.
pub(super) fn strangers(settings: &Settings) -> (filter::Limits, Vec<String>, bool, bool) {
    let (ours, smtp) = (&settings.strangers, &settings.limits.smtp);
    let pace = filter::Limits {
        connections: smtp.connections_per_minute,
        commands: smtp.commands_per_minute,
        unknown: smtp.unknown_recipients,
    };
    (pace, ours.lists.clone(), ours.refuse, ours.greylist)
}

/// Of who guesses passwords.
fn free_guesses(settings: &Settings) -> u64 {
    settings.limits.login.failures_per_address
}

/// What is known of those who guess, under the settings' limit.
pub(super) fn throttle(known: &Throttle, settings: &Settings) -> Throttle {
    known.with(free_guesses(settings))
}

/// Of certificates from an authority. The file of its root is read when it is needed.
pub(super) fn certificates(settings: &Settings) -> cert::Config {
    let acme = &settings.acme;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    cert::Config {
        directory: some(&acme.directory),
        staging: some(&acme.staging),
        contact: some(&acme.contact),
        method: cert::Method::ALL.into_iter().find(|method| method.as_str() == acme.challenge),
        profile: some(&acme.profile),
    }
}

/// Of the stores.
pub(super) fn store(settings: &Settings) -> Options {
    let limits = &settings.limits.store;
    Options {
        checkpoint_bytes: limits.checkpoint_bytes,
        staged_bytes: bytes(limits.body_memory_bytes),
        ..Options::default()
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::dnsguide::policy;
    use crate::server::doors::{Shift, challenge_spec, spec};
    use crate::settings::{Kind, SECTIONS};

    /// All that the server is made of, as far as settings have a say in it.
    fn passed_on(settings: &Settings) -> String {
        let doors = settings.listeners.all().map(|(name, listener)| {
            let spec = spec(settings, name, listener.port, Shift::default());
            (listener.on, spec)
        });
        let store = store(settings);
        format!(
            "{:?}",
            (
                doors,
                imap(settings, Tls::Implicit),
                smtp(settings, Port::Smtp),
                (delivery(settings), checks(settings), &settings.checks.servers, strangers(settings)),
                free_guesses(settings),
                (store.checkpoint_bytes, store.staged_bytes),
                (policy::of(settings), &settings.relay, &settings.relays),
                (&settings.sending, &settings.reports, &settings.line, &settings.update),
                (
                    certificates(settings),
                    challenge_spec(settings, Shift::default()),
                    &settings.acme.root,
                    &settings.acme.offered
                ),
                // Handed on whole, by `dns`; and to the pages.
                (&settings.dns, &settings.time_zone, &settings.language),
            )
        )
    }

    #[test]
    fn every_setting_reaches_somebody() {
        let settings = |line: &str| Settings::parse(&format!("hostname = \"mail.example.test\"\n{line}")).unwrap();
        let usual = passed_on(&settings(""));
        assert_eq!(passed_on(&settings("")), usual);
        for def in SECTIONS.iter().flat_map(|section| section.settings) {
            let other = match def.kind {
                Kind::HostName => {
                    let renamed = Settings::parse("hostname = \"other.example.test\"").unwrap();
                    assert_ne!(passed_on(&renamed), usual);
                    continue;
                }
                Kind::Url => "\"https://ca.example.test/dir\"".to_owned(),
                Kind::MailAddress => "\"anna@example.test\"".to_owned(),
                Kind::Word | Kind::Line | Kind::File | Kind::Words { .. } => "\"word\"".to_owned(),
                Kind::Addresses => "\"192.0.2.1\"".to_owned(),
                Kind::TimeZone => "\"Europe/Berlin\"".to_owned(),
                Kind::Choice { of, .. } => format!("\"{}\"", of[of.len() - 1]),
                Kind::Switch { default } => (!default).to_string(),
                Kind::Port { default } => (default + 1).to_string(),
                Kind::Count { default, min, max } | Kind::Size { default, min, max } => {
                    (if default == min { max } else { min }).to_string()
                }
                Kind::Time { default, min, max } => {
                    format!("\"{} s\"", (if default == min { max } else { min }) / 1000)
                }
            };
            assert_ne!(passed_on(&settings(&format!("{} = {other}", def.key))), usual, "{} has no effect", def.key);
        }
    }
}
