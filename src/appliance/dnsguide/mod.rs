//! The records that a domain needs in the DNS so that mail for it finds this server, is believed, and is set up in mail
//! programs by itself: which they are, what each one is for, and how they are written down.
//!
//! Pure: facts and answers go in, records, words and zone files come out. Does not know: sockets, how a record is
//! asked for, and who looks at it. `gather` alone touches the store, for whoever needs it.
//!
//! Invariants, cited by tests:
//! - G1: a name or a value with a line break, a zero byte or another control character is refused, and what is written
//!   into a zone file reads back as it was.
//! - G2: a record that must not be published yet says so itself, with the reason, and stands in a zone file only as a
//!   comment.
//! - G3: what homepost has written is never forgotten, whenever the power is cut.
//! - G4: a plan removes no record that homepost did not write, unless its owner takes it over by name.

mod existing;
mod facts;
mod gather;
mod judge;
mod memory;
mod mistakes;
pub mod pacc;
mod plan;
pub mod policy;
mod records;
mod spf;
mod zone;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::net::dns::{Data, Kind};

pub use existing::{Existing, existing};
pub use facts::{Account, Certificate, Dmarc, Facts, Key, Outbound, Service};
pub use gather::{gather, services};
pub use judge::{State, Verdict, judge, questions, shown as shown_data, span};
pub use memory::{Entry, Memory, Piece, Step, Went};
pub use plan::{Action, Line, Plan, TakeOver, There, look_for, plan, undo};
pub use records::records;
pub use zone::{Head, Names, split_text, zone_file};

/// A record as it should be, with what one has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In full, without the dot at its end.
    pub name: String,
    pub kind: Kind,
    /// `None`: it is not known yet.
    pub data: Option<Data>,
    /// Seconds.
    pub ttl: u32,
    /// One sentence for the owner: what it does, and what breaks without it.
    pub purpose: String,
    /// Why it is not to be published, or not yet (G2).
    pub withheld: Option<String>,
}

impl Record {
    pub fn is_for_publishing(&self) -> bool {
        self.withheld.is_none() && self.data.is_some()
    }

    /// The name as it is typed at a provider that adds the domain by itself: `@` for the domain. `None`: it is not in the
    /// domain.
    pub fn relative(&self, domain: &str) -> Option<String> {
        relative(&self.name, domain)
    }
}

/// Why records cannot be made or written: one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn relative(name: &str, domain: &str) -> Option<String> {
    if name == domain {
        return Some("@".to_owned());
    }
    name.strip_suffix(domain)?.strip_suffix('.').map(str::to_owned)
}

/// Whether this can stand in an SPF record for a relay: `include:_spf.provider.example`, `ip4:192.0.2.7`.
pub fn is_mechanism(text: &str) -> bool {
    spf::check_mechanism(text).is_ok()
}

/// Whether `name` is `domain` or lies in it; `notexample.org` does not lie in `example.org`.
pub fn is_in(name: &str, domain: &str) -> bool {
    relative(name, domain).is_some()
}

/// G1: lower case letters, digits, `-` and `_`, in labels of 1 to 63 bytes, 253 in all.
fn check_name(name: &str) -> Result<(), Refused> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Refused(format!("{} cannot stand in the DNS: it is not a name", shown(name))))
}

/// G1, for the names and texts within a record.
fn check_data(data: &Data) -> Result<(), Refused> {
    match data {
        Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) | Data::Mx { host: name, .. } => check_name(name),
        Data::Srv { target, .. } if target.is_empty() => Ok(()),
        Data::Srv { target, .. } => check_name(target),
        Data::Txt(text) => check_text(text),
        Data::Caa { tag, value, .. } => {
            if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Refused(format!("{} is no tag of a CAA record", shown(tag))));
            }
            check_text(value)
        }
        Data::A(_) | Data::Aaaa(_) | Data::Tlsa { .. } => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), Refused> {
    // 65,535 bytes are the most a record can carry; none of ours is near it, and no server takes such a one.
    if text.len() > 4096 {
        return Err(Refused(format!("{} cannot stand in the DNS: it is too long", shown(text))));
    }
    if text.chars().any(char::is_control) {
        return Err(Refused(format!("{} cannot stand in the DNS: it has a line break in it", shown(text))));
    }
    Ok(())
}

/// For an error: short, and on one line.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    short.escape_debug().to_string()
}
