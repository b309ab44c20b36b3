//! A relay (smarthost) as somebody types it.

use crate::appliance::dnsguide;
use crate::directory::normal_domain;
use crate::settings;

use super::answer::line;
use super::{Refusal, Relay, Secret};

impl Relay {
    /// Everything on one line, and no password without somebody whose it is. Without a host it is none.
    pub fn checked(&self, password: &Secret) -> Result<Relay, Refusal> {
        let relay = Relay {
            host: line("host", &self.host)?.trim_end_matches('.').to_ascii_lowercase(),
            user: line("user", &self.user)?,
            spf: line("spf", &self.spf)?,
            ..self.clone()
        };
        let none = self.host.trim().is_empty();
        if !none && (relay.host.is_empty() || normal_domain(&relay.host).is_err()) {
            return Err(Refusal::field(
                "host",
                "That is not the name of a server. One looks like smtp.provider.example.",
            ));
        }
        if relay.user.chars().any(char::is_whitespace) || !settings::fits("relay.user", relay.user.as_str()) {
            return Err(Refusal::field("user", "A user name has no spaces in it."));
        }
        if !relay.spf.is_empty() && !dnsguide::is_mechanism(&relay.spf) {
            let words = "That is no part of an SPF record; one is include:_spf.provider.example.";
            return Err(Refusal::field("spf", words));
        }
        if !password.0.is_empty() && relay.user.is_empty() {
            return Err(Refusal::field("user", "A password belongs to a user name; please type it too."));
        }
        // Line breaks would end a command of the dialogue (RFC 4954).
        if password.0.len() > 512 || password.0.chars().any(char::is_control) {
            return Err(Refusal::field("password", "There is a control character in it, or it is too long."));
        }
        if !none && relay.port == 0 {
            return Err(Refusal::field("port", "A port is a number from 1 to 65535; relays use 465 or 587."));
        }
        if !none && !settings::fits("relay.tls", relay.tls.as_str()) {
            return Err(Refusal::field("tls", "Choose one of the two."));
        }
        Ok(relay)
    }
}
