//! What can go wrong with an authority, and what the owner is told: what it is, what it means, what to do.

use serde::{Deserialize, Serialize};

use crate::base::Time;
use crate::message::date::{Date, iso_minute};

use super::stage::Method;

/// The longest text of an authority that is kept.
const DETAIL: usize = 300;

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub cause: Cause,
    /// How it was tried, where that matters.
    pub method: Option<Method>,
    /// In the authority's own words, or the system's; bounded, one line. For those who want to know more.
    pub detail: String,
    /// When it makes sense to try again, as far as the authority said.
    pub until: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A CAA record of the domain names other authorities.
    Caa,
    /// The authority could not connect to the port of the challenge.
    Unreachable,
    /// It found something, but not our answer.
    WrongAnswer,
    /// The name does not exist, or has no address.
    NoAddress,
    /// The domain's name servers do not answer, or answer wrongly.
    DnsBroken,
    /// Too many of something; it wants us to wait.
    Limited,
    /// The authority cannot be reached, or does not work.
    Away,
    /// It can be reached, but its own certificate is not one we trust.
    Untrusted,
    /// Our clock is wrong.
    Clock,
    /// It wants an account that was made with it before (EAB), or did not accept ours.
    Binding,
    /// It does not accept our account.
    Account,
    /// It does not issue for this name, whatever we do.
    Refused,
    /// There is no way to prove that the name is ours.
    NoMethod,
    /// The record for DNS-01 cannot be written.
    Writer,
    /// What it sent cannot be used.
    Strange,
}

impl Trouble {
    pub fn new(cause: Cause, detail: impl AsRef<str>) -> Trouble {
        Trouble { cause, method: None, detail: one_line(detail.as_ref()), until: None }
    }

    pub fn by(self, method: Method) -> Trouble {
        Trouble { method: Some(method), ..self }
    }

    /// Whether the authority counts it against the name (C3).
    pub fn counts(&self) -> bool {
        matches!(self.cause, Cause::Caa | Cause::Unreachable | Cause::WrongAnswer | Cause::NoAddress | Cause::DnsBroken)
    }

    /// Whether another way of proving may work where this one did not.
    pub fn depends_on_method(&self) -> bool {
        matches!(
            self.cause,
            Cause::Unreachable
                | Cause::WrongAnswer
                | Cause::NoAddress
                | Cause::DnsBroken
                | Cause::NoMethod
                | Cause::Writer
        )
    }

    /// Whole sentences for the owner. `name` is what the certificate is for.
    pub fn words(&self, name: &str) -> String {
        let port = match self.method {
            Some(Method::Http) => 80,
            _ => 443,
        };
        match self.cause {
            Cause::Caa => format!(
                "A CAA record of the domain forbids this authority to issue for {name}. Add the authority to the CAA record \
                 where your domain's DNS is managed, or remove the record."
            ),
            Cause::Unreachable => format!(
                "The authority could not reach {name} on port {port} from outside. Forward port {port} in the router to this \
                 box, and check that the address record of {name} is the address of your line."
            ),
            Cause::WrongAnswer if self.method == Some(Method::Dns) => format!(
                "The authority does not see the TXT record _acme-challenge.{name} as it should be. DNS may need some minutes; \
                 check that the domain's name servers are those we write to."
            ),
            Cause::WrongAnswer => format!(
                "Another machine answers for {name} on port {port}: its address record points to a wrong address, or the \
                 router sends port {port} elsewhere."
            ),
            Cause::NoAddress => format!(
                "{name} has no address in DNS. Add the record that the DNS page shows, and wait until the domain's name \
                 servers give it out."
            ),
            Cause::DnsBroken => format!(
                "The name servers of the domain do not answer rightly for {name}. If it uses DNSSEC, check that its DS record \
                 fits; else ask whoever runs its DNS."
            ),
            Cause::Limited => match self.until {
                Some(until) => format!(
                    "There were too many tries for {name} lately; the next is possible at {}. Nothing needs to be done.",
                    iso_minute(Date::utc(until))
                ),
                None => format!("There were too many tries for {name} lately, so the next one waits. Nothing needs to be done."),
            },
            Cause::Away => "The authority cannot be reached, or has a fault. It is tried again by itself; if everything else \
                            on the internet works from here, only they can mend it."
                .to_owned(),
            Cause::Untrusted => "What answers in the authority's place does not have its certificate. If it is an authority of \
                                 your own, give its root certificate as acme.root; else something between it and this box \
                                 reads along."
                .to_owned(),
            Cause::Clock => "The clock of this box is wrong, so no certificate can be judged. It is tried again when the clock \
                             is right."
                .to_owned(),
            Cause::Binding => "The authority only serves those who have an account with it. Take the key id and the key from \
                               its web page, and give them with `homepost cert account --eab-key-id ID`; if you did, it did \
                               not accept them."
                .to_owned(),
            Cause::Account => "The authority does not accept our account. Read what it says; it may want its terms confirmed \
                               or the contact address changed."
                .to_owned(),
            Cause::Refused => format!("The authority does not issue certificates for {name}."),
            Cause::NoMethod => format!(
                "There is no way to prove that {name} is yours: open port 443 or 80, or give access to the domain's DNS."
            ),
            Cause::Writer => format!(
                "The record that proves that {name} is yours could not be written where the domain's DNS is managed. Check \
                 the access that you gave."
            ),
            Cause::Strange => "The authority answered with something that cannot be used. It is tried again later.".to_owned(),
        }
    }

    /// The words, and behind them what the authority said.
    pub fn in_full(&self, name: &str) -> String {
        let words = self.words(name);
        if self.detail.is_empty() { words } else { format!("{words} (More exactly: {})", self.detail) }
    }
}

/// Bounded, without line breaks or control characters: it came from outside.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if out.len() + word.len() > DETAIL {
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Cause; 15] = [
        Cause::Caa,
        Cause::Unreachable,
        Cause::WrongAnswer,
        Cause::NoAddress,
        Cause::DnsBroken,
        Cause::Limited,
        Cause::Away,
        Cause::Untrusted,
        Cause::Clock,
        Cause::Binding,
        Cause::Account,
        Cause::Refused,
        Cause::NoMethod,
        Cause::Writer,
        Cause::Strange,
    ];

    #[test]
    fn each_cause_has_its_own_plain_sentences() {
        let mut seen = std::collections::BTreeSet::new();
        for cause in ALL {
            let words = Trouble::new(cause, "").words("mail.example.test");
            assert!(words.ends_with('.') && !words.contains('\n') && !words.contains("  "), "{words}");
            assert!(!words.contains("urn:") && !words.contains("API"), "{words}");
            assert!(seen.insert(words.clone()), "{words}");
        }
    }

    #[test]
    fn the_port_and_the_time_are_named() {
        let closed = Trouble::new(Cause::Unreachable, "x").by(Method::Http);
        assert!(closed.words("a.test").contains("port 80 "), "{}", closed.words("a.test"));
        assert!(closed.by(Method::TlsAlpn).words("a.test").contains("port 443 "));
        let limited = Trouble { until: Some(Time::from_seconds(1_795_000_000)), ..Trouble::new(Cause::Limited, "") };
        assert!(limited.words("a.test").contains("at 2026-11-18 11:06 UTC"), "{}", limited.words("a.test"));
    }

    #[test]
    fn what_a_stranger_says_stays_one_short_line() {
        assert_eq!(one_line("a\r\nb\x1b[31m\tc"), "a b [31m c");
        assert!(one_line(&"long ".repeat(1000)).len() < DETAIL + 10);
        assert!(one_line(&"x".repeat(100_000)).len() < 10);
    }
}
