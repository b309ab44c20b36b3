//! What the checks need of a letter: its header section, and the hashes of its body.

use std::collections::BTreeMap;

use crate::message::{address, header};

use super::canon::Form;
use super::names;

/// Signatures that are looked at; the rest of a letter that has more is not worth the work.
pub(super) const SIGNATURES: usize = 10;
/// Authors that are looked at.
const AUTHORS: usize = 50;

/// Read once from all its bytes, which are not needed any more afterwards.
#[derive(Clone, Debug)]
pub struct Letter {
    pub(super) header: Vec<u8>,
    simple: [u8; 32],
    relaxed: [u8; 32],
}

/// Who a letter says that it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The one domain that all authors are of.
    Domain(String),
    /// Authors of several domains: DMARC does not speak about these.
    Several,
    /// None, or more From fields than the one that RFC 5322 3.6 allows: which of them a reader sees nobody can tell.
    Malformed,
}

impl Letter {
    /// Hashes the body, if anything signs it.
    pub fn read(bytes: &[u8]) -> Letter {
        let (header, body) = bytes.split_at(header::end(bytes));
        let signed =
            header::fields(header).any(|field| field.is("DKIM-Signature") || field.is("ARC-Message-Signature"));
        let hash = |form: Form| if signed { form.body_hash(body) } else { [0; 32] };
        Letter { header: header.to_vec(), simple: hash(Form::Simple), relaxed: hash(Form::Relaxed) }
    }

    pub(super) fn body_hash(&self, form: Form) -> &[u8; 32] {
        match form {
            Form::Simple => &self.simple,
            Form::Relaxed => &self.relaxed,
        }
    }

    pub(super) fn author(&self) -> Author {
        let mut fields = header::fields(&self.header).filter(|field| field.is("From"));
        let (Some(field), None) = (fields.next(), fields.next()) else { return Author::Malformed };
        let mut domains: Vec<String> = Vec::new();
        let addresses = address::parse_list(field.raw_value, AUTHORS + 1);
        // Whoever is behind the last one that is looked at is an author as well.
        if addresses.len() > AUTHORS {
            return Author::Malformed;
        }
        for address in addresses {
            let Some(host) = address.host.as_deref().map(String::from_utf8_lossy) else { continue };
            match names::host(&host) {
                Some(host) if !domains.contains(&host) => domains.push(host),
                Some(_) => {}
                None => return Author::Malformed,
            }
        }
        match domains.len() {
            0 => Author::Malformed,
            1 => Author::Domain(domains.remove(0)),
            _ => Author::Several,
        }
    }
}

/// What a signature covers of the header section, in its canonical form (RFC 6376 3.7, 5.4.2): each name of `h=` takes the
/// lowest field of this name that none has taken before, and a name without one takes nothing.
pub(super) fn signed_fields(header: &[u8], names: &[&str], form: Form, out: &mut Vec<u8>) {
    let mut wanted: BTreeMap<Vec<u8>, Vec<&[u8]>> =
        names.iter().map(|name| (name.to_ascii_lowercase().into_bytes(), Vec::new())).collect();
    // Once through, since a stranger chooses how many there are of each.
    for field in header::fields(header) {
        if let Some(found) = wanted.get_mut(&field.name.to_ascii_lowercase()) {
            found.push(field.raw);
        }
    }
    for name in names {
        let lowest = wanted.get_mut(name.to_ascii_lowercase().as_bytes()).and_then(Vec::pop);
        if let Some(raw) = lowest {
            form.field(raw, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(header: &str) -> Author {
        Letter::read(format!("{header}\r\n\r\nx\r\n").as_bytes()).author()
    }

    #[test]
    fn one_author_domain_or_none() {
        let one = |name: &str| Author::Domain(name.to_owned());
        assert_eq!(author("From: \"a@evil.test\" <b@Example.TEST>"), one("example.test"));
        assert_eq!(author("From: a@x.test, b@x.test"), one("x.test"));
        assert_eq!(author("From: a@m\u{fc}ller.test"), one("xn--mller-kva.test"));
        assert_eq!(author("From: a@x.test, b@y.test"), Author::Several);
        for wrong in ["Subject: x", "From: a@x.test\r\nFrom: b@y.test", "From: nobody", "From: a@x..test", "From:"] {
            assert_eq!(author(wrong), Author::Malformed, "{wrong}");
        }
    }

    #[test]
    fn fields_are_taken_from_the_bottom_each_once() {
        let header = b"A: 1\r\nB: x\r\nA: 2\r\n\r\n";
        let signed = |names: &[&str]| {
            let mut out = Vec::new();
            signed_fields(header, names, Form::Relaxed, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(signed(&["a", "b", "A", "a"]), "a:2\r\nb:x\r\na:1\r\n");
        assert_eq!(signed(&["c", "B"]), "b:x\r\n");
    }
}
