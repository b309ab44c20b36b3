//! What a file said, as the typed struct that the rest of the program reads.

use std::collections::BTreeMap;

use super::table::{
    Acme, Checks, Dns, DomainRelay, ImapLimits, LISTED, Line, LoginLimits, OBEY, Relay, ReportsSent, Sending,
    SmtpLimits, StoreLimits, Strangers, Updates, find,
};
use super::value::Value;
use super::{Limits, Listener, Listeners, Settings};

fn domain_relay(name: &str, values: &BTreeMap<&'static str, Value>) -> DomainRelay {
    let values = Values { plain: values.clone(), ..Values::default() };
    let domain = |word: String| {
        let (dot, rest) = word.strip_prefix('.').map_or(("", word.as_str()), |rest| (".", rest));
        format!("{dot}{}", idna::domain_to_ascii(rest).unwrap_or_default().to_ascii_lowercase())
    };
    DomainRelay {
        name: name.to_owned(),
        domains: values.words("relays.office.domains").into_iter().map(domain).collect(),
        relay: Relay {
            host: values.text("relays.office.host"),
            port: values.port("relays.office.port"),
            tls: values.text("relays.office.tls"),
            user: values.text("relays.office.user"),
            spf: values.text("relays.office.spf"),
            trust: values.text("relays.office.trust"),
        },
    }
}

/// What a file said, checked, by key.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub plain: BTreeMap<&'static str, Value>,
    /// Of relays, by their names; the keys are those of the table.
    pub relays: BTreeMap<String, BTreeMap<&'static str, Value>>,
}

impl Values {
    fn value(&self, key: &str) -> Option<Value> {
        self.plain.get(key).cloned().or_else(|| find(key)?.kind.default())
    }

    pub fn number(&self, key: &str) -> u64 {
        match self.value(key) {
            Some(Value::Number(number)) => number,
            _ => 0, // a key of another kind: the tests walk all of them
        }
    }

    fn text(&self, key: &str) -> String {
        match self.value(key) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    fn words(&self, key: &str) -> Vec<String> {
        self.text(key).split_whitespace().map(str::to_owned).collect()
    }

    fn port(&self, key: &str) -> u16 {
        u16::try_from(self.number(key)).unwrap_or(0)
    }

    fn listener(&self, name: &str) -> Listener {
        Listener {
            on: self.value(&format!("listeners.{name}.on")) == Some(Value::Switch(true)),
            port: self.port(&format!("listeners.{name}.port")),
        }
    }

    /// `None` without a host name.
    pub fn settings(&self) -> Option<Settings> {
        let Some(Value::Text(hostname)) = self.value("hostname") else { return None };
        Some(Settings {
            hostname,
            time_zone: self.text("time_zone"),
            language: self.text("language").to_ascii_lowercase(),
            listeners: Listeners {
                smtp: self.listener("smtp"),
                submissions: self.listener("submissions"),
                submission: self.listener("submission"),
                imaps: self.listener("imaps"),
                imap: self.listener("imap"),
                https: self.listener("https"),
            },
            acme: Acme {
                directory: self.text("acme.directory"),
                staging: self.text("acme.staging"),
                offered: self.text("acme.offered"),
                contact: self.text("acme.contact"),
                challenge: self.text("acme.challenge"),
                http_port: self.port("acme.http_port"),
                profile: self.text("acme.profile"),
                root: self.text("acme.root"),
            },
            mta_sts_mode: self.text("mta_sts.mode"),
            checks: Checks {
                on: self.value("checks.on") == Some(Value::Switch(true)),
                obey: self.text("checks.dmarc") == OBEY[0],
                forwarders: self.words("checks.forwarders"),
                servers: self.words("checks.servers"),
                wait_ms: self.number("checks.wait"),
            },
            strangers: Strangers {
                lists: self.words("strangers.lists"),
                refuse: self.text("strangers.listed") == LISTED[0],
                greylist: self.value("strangers.greylist") == Some(Value::Switch(true)),
            },
            dns: Dns {
                method: self.text("dns.method"),
                server: self.text("dns.server"),
                key_name: self.text("dns.key_name"),
                algorithm: self.text("dns.algorithm"),
                zone: self.text("dns.zone").to_ascii_lowercase(),
                ask: self.text("dns.ask"),
            },
            relay: Relay {
                host: self.text("relay.host"),
                port: self.port("relay.port"),
                tls: self.text("relay.tls"),
                user: self.text("relay.user"),
                spf: self.text("relay.spf"),
                trust: self.text("relay.trust"),
            },
            relays: self.relays.iter().map(|(name, values)| domain_relay(name, values)).collect(),
            reports: ReportsSent {
                send: self.value("reports.send") == Some(Value::Switch(true)),
                failures: self.value("reports.failures") == Some(Value::Switch(true)),
            },
            update: Updates {
                url: self.text("update.url"),
                root: self.text("update.root"),
                install: self.value("update.install") == Some(Value::Switch(true)),
            },
            sending: Sending {
                on: self.value("sending.on") == Some(Value::Switch(true)),
                source: self.text("sending.source"),
                new_keys_after_days: self.number("sending.new_keys_after_days"),
                recipients_per_hour: self.number("sending.recipients_per_hour"),
                new_recipients_per_hour: self.number("sending.new_recipients_per_hour"),
                new_recipients_per_day: self.number("sending.new_recipients_per_day"),
                queue_letters: self.number("sending.queue_letters"),
                queue_bytes: self.number("sending.queue_size"),
                dane: self.value("sending.dane") == Some(Value::Switch(true)),
                trust: self.text("sending.trust"),
                root_keys: self.text("sending.root_keys"),
            },
            line: Line {
                targets: self.text("line.targets"),
                control: self.text("line.control"),
                mirror: Some(self.text("line.mirror"))
                    .filter(|name| !name.is_empty())
                    .unwrap_or_else(|| "myip.opendns.com".to_owned()),
                mirror_servers: self.text("line.mirror_servers"),
                lists: self.text("line.lists"),
                router: self.text("line.router"),
            },
            limits: Limits {
                smtp: SmtpLimits::from(self),
                imap: ImapLimits::from(self),
                login: LoginLimits::from(self),
                store: StoreLimits::from(self),
            },
        })
    }
}
