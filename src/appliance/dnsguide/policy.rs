//! The MTA-STS policy of a domain (RFC 8461 3.2), and the number by which its record says that it has changed.

use blake3::Hasher;

use crate::settings::Settings;

/// What senders are told to do when the way here cannot be secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Deliver all the same, and report. Where every policy begins.
    #[default]
    Testing,
    Enforce,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    /// The hosts that the MX records name.
    pub hosts: Vec<String>,
    /// For how long it may be remembered, in seconds.
    pub max_age: u32,
}

/// The policy of every domain of this household.
pub fn of(settings: &Settings) -> Policy {
    let mode = match settings.mta_sts_mode.as_str() {
        "enforce" => Mode::Enforce,
        "none" => Mode::None,
        _ => Mode::Testing,
    };
    Policy::of(&settings.hostname, mode)
}

impl Policy {
    /// The policy of a domain that gets its mail at `host` alone. It is remembered for a day while it is tried (a mistake
    /// is over by tomorrow), then for weeks, as RFC 8461 3.2 recommends.
    pub fn of(host: &str, mode: Mode) -> Policy {
        let max_age = if mode == Mode::Enforce { 14 * 86_400 } else { 86_400 };
        Policy { mode, hosts: vec![host.to_owned()], max_age }
    }

    /// The document that is served at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`.
    pub fn text(&self) -> String {
        let mode = match self.mode {
            Mode::Testing => "testing",
            Mode::Enforce => "enforce",
            Mode::None => "none",
        };
        let hosts: String = self.hosts.iter().map(|host| format!("mx: {host}\r\n")).collect();
        format!("version: STSv1\r\nmode: {mode}\r\n{hosts}max_age: {}\r\n", self.max_age)
    }

    /// RFC 8461 3.1: at most 32 letters and digits, another one for each policy.
    pub fn id(&self) -> String {
        let mut hasher = Hasher::new();
        hasher.update(self.text().as_bytes());
        let mut number = [0u8; 8];
        hasher.finalize_xof().fill(&mut number);
        u64::from_be_bytes(number).to_string()
    }
}
