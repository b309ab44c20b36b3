//! What a domain asks of those who send letters to it: the record and the policy of MTA-STS (RFC 8461 3.1, 3.2, 4.1), read.
//!
//! Does not know: where they come from, how long ago, what is done with them.

/// RFC 8461 3.2: in seconds.
const LONGEST: u32 = 31_557_600;
/// Lines and patterns of one policy that are read (P7).
const LINES: usize = 1000;
const PATTERNS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only to servers that the policy names, under TLS with a certificate for their name.
    Enforce,
    /// Report what would have been kept back, and deliver.
    Testing,
    None,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    /// In seconds, a year at most.
    pub max_age: u32,
    /// Names of hosts in lower case, or `*.` and a name.
    pub mx: Vec<String>,
    /// Its lines, for reports.
    pub lines: Vec<String>,
}

impl Policy {
    /// Reads a policy. Errors: what is wrong with it, as the end of a sentence.
    pub fn read(text: &str) -> Result<Policy, String> {
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = Vec::new();
        let mut lines = Vec::new();
        for line in text.split('\n').take(LINES) {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or("a line of it has no colon")?;
            let (key, value) = (key.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
            if value.chars().any(char::is_control) {
                return Err("it has characters in it that cannot be seen".into());
            }
            lines.push(format!("{key}: {value}"));
            // RFC 8461 3.2: of what stands there twice the first counts, and what nobody knows is passed over.
            let first = match key {
                "version" => &mut version,
                "mode" => &mut mode,
                "max_age" => &mut max_age,
                "mx" if mx.len() < PATTERNS => {
                    mx.push(pattern(value).ok_or_else(|| format!("{value:?} is no name of a host"))?);
                    continue;
                }
                _ => continue,
            };
            first.get_or_insert(value);
        }
        if version != Some("STSv1") {
            return Err("its version is not STSv1".into());
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err("it has no mode that is known".into()),
        };
        let digits = max_age.filter(|age| (1..=10).contains(&age.len()) && age.bytes().all(|b| b.is_ascii_digit()));
        let max_age = digits.and_then(|age| age.parse::<u64>().ok()).ok_or("it does not say how long it counts")?;
        if mx.is_empty() && mode != Mode::None {
            return Err("it names no host".into());
        }
        let max_age = u32::try_from(max_age).unwrap_or(LONGEST).min(LONGEST);
        Ok(Policy { mode, max_age, mx, lines })
    }

    /// Its text, without what is passed over.
    pub fn short(&self) -> String {
        let mx: String = self.mx.iter().map(|host| format!("mx: {host}\n")).collect();
        format!("version: STSv1\nmode: {}\n{mx}max_age: {}\n", self.mode.word(), self.max_age)
    }

    /// Whether a host of the domain's MX records is one of those that the policy names (RFC 8461 4.1). `host` in lower case,
    /// without the dot at its end.
    pub fn names(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            // A star is one label, and that a whole one.
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => host == pattern,
        })
    }
}

/// `None`: it is none.
fn pattern(value: &str) -> Option<String> {
    let (star, name) = value.strip_prefix("*.").map_or(("", value), |name| ("*.", name));
    Some(format!("{star}{}", super::host(name)?))
}

/// The `id` of the domain's record, from the texts at `_mta-sts`. `None`: there is none, or more than one (RFC 8461 3.1).
pub fn id<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut records = texts.into_iter().filter(|text| {
        let rest = text.strip_prefix("v=STSv1");
        rest.is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
    });
    let record = records.next()?;
    if records.next().is_some() {
        return None;
    }
    let fields = record.split(';').filter_map(|field| field.split_once('='));
    let mut ids = fields.filter(|(key, _)| key.trim() == "id").map(|(_, value)| value.trim());
    let id = ids.next()?;
    let fits = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_policy_is_read_with_either_line_end_and_in_any_order() {
        for end in ["\r\n", "\n"] {
            let text =
                ["version: STSv1", "max_age:604800 ", "mx: mail.Example.com", "mx:*.example.net", "mode: enforce", ""];
            let policy = Policy::read(&text.join(end)).unwrap();
            assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
            assert_eq!(policy.mx, ["mail.example.com", "*.example.net"]);
            assert_eq!(policy.lines[1], "max_age: 604800");
        }
    }

    #[test]
    fn what_counts_is_the_first_and_what_is_unknown_is_passed_over() {
        let policy =
            Policy::read("version: STSv1\nmode: none\nmode: enforce\nfuture: x\nmax_age: 9999999999\n").unwrap();
        assert_eq!((policy.mode, policy.max_age, policy.mx.len()), (Mode::None, LONGEST, 0));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_a_word_why() {
        for (text, why) in [
            ("", "version"),
            ("version: STSv2\nmode: none\nmax_age: 1\n", "version"),
            ("version: STSv1\nmode: strict\nmax_age: 1\n", "mode"),
            ("version: STSv1\nmode: none\n", "how long"),
            ("version: STSv1\nmode: none\nmax_age: -1\n", "how long"),
            ("version: STSv1\nmode: none\nmax_age: 12345678901\n", "how long"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\n", "no host"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: a b\n", "no name of a host"),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: *.*.a.test\n", "no name of a host"),
            ("<html>", "colon"),
        ] {
            let said = Policy::read(text).unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_star_is_one_label() {
        let policy =
            Policy::read("version: STSv1\nmode: enforce\nmax_age: 1\nmx: *.example.net\nmx: mx.example.com\n").unwrap();
        for (host, fits) in [
            ("a.example.net", true),
            ("mx.example.com", true),
            ("example.net", false),
            ("a.b.example.net", false),
            (".example.net", false),
            ("aexample.net", false),
            ("b.mx.example.com", false),
        ] {
            assert_eq!(policy.names(host), fits, "{host}");
        }
    }

    #[test]
    fn of_records_there_is_one_or_none() {
        assert_eq!(id(["v=STSv1; id=20160831085700Z;"]), Some("20160831085700Z".into()));
        assert_eq!(id(["v=spf1 -all", "v=STSv1 ;id=a"]), Some("a".into()));
        assert_eq!(id(["v=STSv1; id=1;", "v=STSv1; id=2;"]), None);
        for none in ["v=STSv12; id=1;", "id=1; v=STSv1", "v=STSv1", "v=STSv1; id=;", "v=STSv1; id=a-b", "v=STSv1; x=1"]
        {
            assert_eq!(id([none]), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_strangers_write_does_no_harm(text in "(version: STSv1\n)?(mode: (none|enforce)\n)?\\PC{0,80}") {
            let _ = Policy::read(&text);
            let _ = id([text.as_str()]);
        }
    }
}
