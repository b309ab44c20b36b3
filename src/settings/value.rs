//! The kinds of value a setting can have: how each is written, read and bounded.

use std::net::IpAddr;

use super::table::Kind;

/// A setting's value without its kind: what is read from a file, or handed to an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Switch(bool),
    /// A count, a port, a size in bytes or a time in milliseconds.
    Number(u64),
    Text(String),
}

impl From<bool> for Value {
    fn from(on: bool) -> Value {
        Value::Switch(on)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl Kind {
    /// What would be right, to follow "it must be".
    pub fn wanted(&self) -> String {
        match self {
            Kind::HostName => "a host name with a dot in it, such as \"mail.example.org\"".to_owned(),
            Kind::Switch { .. } => "true or false".to_owned(),
            Kind::Port { .. } => "a port number from 1 to 65535".to_owned(),
            Kind::Url => "an address like \"https://ca.example.org/directory\", or empty".to_owned(),
            Kind::MailAddress => "a mail address like \"anna@example.org\", or empty".to_owned(),
            Kind::Word => "one word of letters, digits, '.', '_' and '-', or empty".to_owned(),
            Kind::Line => "a text without blanks, or empty".to_owned(),
            Kind::Words { .. } => "words of plain characters with a space between them, or empty".to_owned(),
            Kind::Addresses => {
                "an IPv4 address, an IPv6 address, or both with a space between them, or empty".to_owned()
            }
            Kind::TimeZone => "the name of a time zone, such as \"Europe/Berlin\", or empty".to_owned(),
            Kind::File => "the path of a file within the data folder, or empty".to_owned(),
            Kind::Choice { of, .. } => {
                format!("one of {}", of.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", "))
            }
            Kind::Count { min, max, .. } => format!("a number from {min} to {max}"),
            Kind::Size { min, max, .. } => format!("a size from \"{}\" to \"{}\"", size(*min), size(*max)),
            Kind::Time { min, max, .. } => format!("a time from \"{}\" to \"{}\"", time(*min), time(*max)),
        }
    }

    /// Reads a value as TOML gave it. Errors: what it is, to stand before "it must be".
    pub(super) fn read(&self, given: &toml_edit::Value) -> Result<Value, String> {
        use toml_edit::Value as Toml;
        let number = |n: i64, min: u64, max: u64| match u64::try_from(n) {
            Ok(n) if (min..=max).contains(&n) => Ok(Value::Number(n)),
            _ => Err(n.to_string()),
        };
        match (self, given) {
            (Kind::HostName, Toml::String(text)) => {
                host_name(text.value()).map(Value::Text).ok_or_else(|| format!("\"{}\"", text.value().escape_default()))
            }
            (
                Kind::Url
                | Kind::MailAddress
                | Kind::Word
                | Kind::Line
                | Kind::Words { .. }
                | Kind::Addresses
                | Kind::TimeZone
                | Kind::File
                | Kind::Choice { .. },
                Toml::String(text),
            ) => {
                let text = text.value();
                let fine = match self {
                    Kind::Choice { of, .. } => of.contains(&text.as_str()),
                    _ => text.is_empty() || self.is_text(text),
                };
                if fine { Ok(Value::Text(text.clone())) } else { Err(format!("\"{}\"", text.escape_default())) }
            }
            (Kind::Switch { .. }, Toml::Boolean(on)) => Ok(Value::Switch(*on.value())),
            (Kind::Port { .. }, Toml::Integer(n)) => number(*n.value(), 1, 65535),
            (Kind::Count { min, max, .. }, Toml::Integer(n)) => number(*n.value(), *min, *max),
            (Kind::Size { min, max, .. }, Toml::Integer(n)) => number(*n.value(), *min, *max),
            (Kind::Size { min, max, .. }, Toml::String(text)) => within(text.value(), &SIZES, *min, *max),
            (Kind::Time { min, max, .. }, Toml::String(text)) => within(text.value(), &TIMES, *min, *max),
            (Kind::Time { .. }, Toml::Integer(n)) => Err(format!("{} without a unit", n.value())),
            (_, other) => Err(match other {
                Toml::String(_) => "text".to_owned(),
                Toml::Integer(_) | Toml::Float(_) => "a number".to_owned(),
                Toml::Boolean(on) => on.value().to_string(),
                Toml::Datetime(_) => "a date".to_owned(),
                Toml::Array(_) => "a list".to_owned(),
                Toml::InlineTable(_) => "a section".to_owned(),
            }),
        }
    }

    /// Whether a text that is not empty is of this kind. Each is one line at most.
    fn is_text(&self, text: &str) -> bool {
        const LIMIT: usize = 1000;
        let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        text.len() <= LIMIT
            && match self {
                Kind::Url => {
                    let place = text.strip_prefix("https://").and_then(|rest| rest.split('/').next());
                    visible && place.is_some_and(|place| !place.is_empty() && !place.contains(['@', '?', '#', '"']))
                }
                Kind::MailAddress => {
                    let parts = text.rsplit_once('@');
                    visible && parts.is_some_and(|(local, domain)| !local.is_empty() && host_name(domain).is_some())
                }
                Kind::Word => {
                    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
                }
                Kind::Line => visible,
                Kind::Words { .. } => text.split(' ').all(|word| {
                    !word.is_empty()
                        && word.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\')
                }),
                Kind::Addresses => {
                    let all: Vec<Option<IpAddr>> = text.split(' ').map(|word| word.parse().ok()).collect();
                    // One of a kind, and one that a connection can come from.
                    let fine = |address: IpAddr| !address.is_unspecified() && !address.is_multicast();
                    all.iter().all(|address| address.is_some_and(fine))
                        && (all.len() == 1
                            || (all.len() == 2
                                && all[0].is_some_and(|a| all[1].is_some_and(|b| a.is_ipv4() != b.is_ipv4()))))
                }
                Kind::TimeZone => text.len() < 64 && jiff::tz::TimeZone::get(text).is_ok(),
                Kind::File => {
                    let plain = |part: &str| !matches!(part, "" | "." | "..");
                    !text.chars().any(char::is_control) && text.split('/').all(plain)
                }
                _ => false,
            }
    }

    /// The value as a person would write it in the file. The kind decides the unit; bounds are checked when it is read.
    pub(super) fn write(&self, value: &Value) -> toml_edit::Value {
        match (self, value) {
            (Kind::Size { .. }, Value::Number(n)) => size(*n).into(),
            (Kind::Time { .. }, Value::Number(n)) => time(*n).into(),
            (_, Value::Number(n)) => i64::try_from(*n).unwrap_or(i64::MAX).into(),
            (_, Value::Switch(on)) => (*on).into(),
            (_, Value::Text(text)) => text.as_str().into(),
        }
    }

    /// What holds when the file says nothing; the host name has no default.
    pub fn default(&self) -> Option<Value> {
        match self {
            Kind::HostName => None,
            Kind::Switch { default } => Some(Value::Switch(*default)),
            Kind::Port { default } => Some(Value::Number(u64::from(*default))),
            Kind::Url | Kind::MailAddress | Kind::Word | Kind::Line | Kind::Addresses | Kind::TimeZone | Kind::File => {
                Some(Value::Text(String::new()))
            }
            Kind::Choice { default, .. } | Kind::Words { default } => Some(Value::Text((*default).to_owned())),
            Kind::Count { default, .. } | Kind::Size { default, .. } | Kind::Time { default, .. } => {
                Some(Value::Number(*default))
            }
        }
    }
}

const SIZES: [(&str, u64); 4] = [("bytes", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)];

/// `"50 MiB"`, `"50MiB"`: whole numbers only.
fn within(text: &str, units: &[(&str, u64)], min: u64, max: u64) -> Result<Value, String> {
    let shown = || format!("\"{}\"", text.escape_default());
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| format!("{} without a unit", shown()))?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let Some((_, scale)) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        return Err(format!("{} (its unit is none of {})", shown(), known.join(", ")));
    };
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(*scale)) {
        Some(n) if (min..=max).contains(&n) => Ok(Value::Number(n)),
        _ => Err(shown()),
    }
}

fn size(n: u64) -> String {
    in_unit(n, &SIZES)
}

fn time(n: u64) -> String {
    in_unit(n, &TIMES)
}

/// In the largest unit that divides it.
fn in_unit(n: u64, units: &[(&str, u64)]) -> String {
    let (name, scale) = units.iter().rev().find(|(_, scale)| n.is_multiple_of(*scale)).copied().unwrap_or(("", 1));
    format!("{} {name}", n / scale)
}

/// RFC 5321 2.3.5: a fully qualified name, of letters, digits and hyphens once it is in A-labels; lower case.
fn host_name(text: &str) -> Option<String> {
    let name = idna::domain_to_ascii_strict(text).ok()?;
    let labels_are_fine = name
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    let is_an_address = name.split('.').next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (name.contains('.') && labels_are_fine && !is_an_address).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Kind = Kind::Size { default: 1 << 20, min: 1 << 10, max: 1 << 30 };
    const TIME: Kind = Kind::Time { default: 1000, min: 1000, max: 3_600_000 };

    fn read(kind: Kind, toml: &str) -> Result<Value, String> {
        kind.read(&toml.parse().unwrap())
    }

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        assert_eq!(read(SIZE, "'50 MiB'"), Ok(Value::Number(50 << 20)));
        assert_eq!(read(SIZE, "'64kib'"), Ok(Value::Number(64 << 10)));
        assert_eq!(read(SIZE, "4096"), Ok(Value::Number(4096)));
        assert_eq!(read(TIME, "'5 min'"), Ok(Value::Number(300_000)));
        assert_eq!(read(SIZE, "'50 MB'"), Err("\"50 MB\" (its unit is none of bytes, KiB, MiB, GiB)".to_owned()));
        assert_eq!(read(TIME, "30"), Err("30 without a unit".to_owned()));
        assert_eq!(read(SIZE, "'99999999999999999999 GiB'"), Err("\"99999999999999999999 GiB\"".to_owned()));
        assert_eq!(read(SIZE, "''"), Err("\"\" without a unit".to_owned()));
        assert_eq!(read(SIZE, "-1"), Err("-1".to_owned()));
        assert_eq!(read(SIZE, "true"), Err("true".to_owned()));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for n in [1 << 10, 1500, 3 << 20, 1 << 30] {
            assert_eq!(SIZE.read(&SIZE.write(&Value::Number(n))), Ok(Value::Number(n)));
        }
        for n in [1000, 90_000, 3_600_000] {
            assert_eq!(TIME.read(&TIME.write(&Value::Number(n))), Ok(Value::Number(n)));
        }
    }

    #[test]
    fn a_host_name_is_qualified_and_no_ip_address() {
        assert_eq!(host_name("Mail.Example.TEST"), Some("mail.example.test".to_owned()));
        assert_eq!(host_name("post.müller.example"), Some("post.xn--mller-kva.example".to_owned()));
        for wrong in ["", "mail", "mail.", ".test", "192.0.2.1", "a b.test", "[::1]", "-a.test", "mail_1.test"] {
            assert_eq!(host_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn texts_are_of_their_kind_or_empty() {
        let fine = |kind: Kind, text: &str| read(kind, &format!("'{text}'")) == Ok(Value::Text(text.to_owned()));
        for kind in [Kind::Url, Kind::MailAddress, Kind::Word, Kind::Line, Kind::Addresses, Kind::TimeZone, Kind::File]
        {
            assert!(fine(kind, ""), "{kind:?}");
            assert!(!fine(kind, &"x".repeat(2000)), "{kind:?}");
            assert!(read(kind, "\"a\\nb\"").is_err(), "{kind:?}");
        }
        assert!(fine(Kind::Url, "https://ca.test:14000/dir") && !fine(Kind::Url, "http://ca.test/dir"));
        assert!(!fine(Kind::Url, "https:///dir") && !fine(Kind::Url, "https://a@ca.test/"));
        assert!(fine(Kind::MailAddress, "anna@example.test") && !fine(Kind::MailAddress, "anna"));
        assert!(fine(Kind::Word, "tls-server") && !fine(Kind::Word, "two words"));
        assert!(fine(Kind::Line, "[2001:db8::53]:5353,192.0.2.53") && !fine(Kind::Line, "a b"));
        for addresses in ["192.0.2.1", "2001:db8::1", "192.0.2.1 2001:db8::1", "2001:db8::1 192.0.2.1"] {
            assert!(fine(Kind::Addresses, addresses), "{addresses}");
        }
        for wrong in ["192.0.2.1 192.0.2.2", "eth0", "192.0.2", "0.0.0.0", "192.0.2.1 x", "192.0.2.1:25", "::1 ::2"] {
            assert!(!fine(Kind::Addresses, wrong), "{wrong}");
        }
        assert!(fine(Kind::TimeZone, "America/Argentina/Buenos_Aires") && !fine(Kind::TimeZone, "Europe/Nowhere"));
        assert!(fine(Kind::File, "my roots/ca.pem"));
        assert!(!fine(Kind::File, "/etc/ca.pem") && !fine(Kind::File, "../ca.pem"));
        let choice = Kind::Choice { default: "auto", of: &["auto", "dns-01"] };
        assert!(fine(choice, "dns-01"));
        assert_eq!(read(choice, "'dns'"), Err("\"dns\"".to_owned()));
        assert_eq!(choice.wanted(), "one of \"auto\", \"dns-01\"");
    }
}
