//! Paths and mailboxes (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// RFC 5321 4.5.3.1.1 to 3, in octets.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_PATH: usize = 254;

/// A mailbox, taken apart. Its text form (`Display`) quotes the local part only where it must, so that two spellings of
/// one mailbox have one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Unquoted; no controls. UTF-8 beyond ASCII only after SMTPUTF8.
    pub local: String,
    /// As written: a name, or an address literal with its brackets.
    pub domain: String,
}

impl Address {
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.local.is_empty() && self.local.chars().all(is_dot_atom) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

/// Whom a letter is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// RFC 5321 4.5.1: `<postmaster>` without a domain, in any case.
    Postmaster,
    Address(Address),
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forward::Postmaster => f.write_str("postmaster"),
            Forward::Address(address) => address.fmt(f),
        }
    }
}

/// `<>` or `<mailbox>`, and what follows it. `None` is the null path.
pub(super) fn reverse_path(text: &str) -> Option<(Option<Address>, &str)> {
    match text.strip_prefix("<>") {
        Some(rest) => Some((None, rest)),
        None => path(text).map(|(address, rest)| (Some(address), rest)),
    }
}

/// `<mailbox>` or `<postmaster>`, and what follows it.
pub(super) fn forward_path(text: &str) -> Option<(Forward, &str)> {
    let postmaster = "<postmaster>";
    match text.get(..postmaster.len()) {
        Some(start) if start.eq_ignore_ascii_case(postmaster) => {
            Some((Forward::Postmaster, text.get(postmaster.len()..).unwrap_or_default()))
        }
        _ => path(text).map(|(address, rest)| (Forward::Address(address), rest)),
    }
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`.
fn path(text: &str) -> Option<(Address, &str)> {
    let mut inner = text.strip_prefix('<')?;
    // RFC 5321 4.1.1.3 and appendix C: a source route is accepted and ignored.
    if inner.starts_with('@') {
        let (route, rest) = inner.split_once(':')?;
        let hosts = route.split(',').all(|host| host.strip_prefix('@').is_some_and(is_domain));
        inner = if hosts { rest } else { return None };
    }
    let (address, rest) = mailbox(inner)?;
    let rest = rest.strip_prefix('>')?;
    (address.local.len() + 1 + address.domain.len() <= MAX_PATH).then_some((address, rest))
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )`, and what follows it.
fn mailbox(text: &str) -> Option<(Address, &str)> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = text.find(|c| !is_dot_atom(c)).unwrap_or(text.len());
            let (local, rest) = text.split_at(end);
            (local.to_owned(), rest)
        }
    };
    let rest = rest.strip_prefix('@')?;
    let end = match rest.strip_prefix('[') {
        Some(literal) => literal.find(']')? + 2,
        None => rest.find(['>', ' ']).unwrap_or(rest.len()),
    };
    let (domain, rest) = rest.split_at_checked(end)?;
    let known = if domain.starts_with('[') { is_literal(domain) } else { is_domain(domain) };
    let fits = !local.is_empty() && local.len() <= MAX_LOCAL && known;
    fits.then(|| (Address { local, domain: domain.to_owned() }, rest))
}

/// `Quoted-string` behind its first quote: its content, and what follows its last. RFC 5321 4.1.2: printable ASCII and
/// blanks, a backslash before any of them.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let c = match c {
            '"' => return Some((content, text.get(at + 1..)?)),
            '\\' => chars.next()?.1,
            c => c,
        };
        if c.is_control() {
            return None;
        }
        content.push(c);
    }
    None
}

/// RFC 5321 4.1.2, Dot-string, as one set of characters. quirk_dots: dots at an end or beside each other are let through,
/// since Japanese mobile carriers gave out such addresses until 2009 and they still write (`a..b.@docomo.ne.jp`).
fn is_dot_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// RFC 5321 4.1.2, Domain; U-labels too (RFC 6531 3.3). quirk_underscore: machines named `my_host` write bounces and
/// reports.
fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63 * 4
            && (!label.is_ascii() || label.len() <= 63)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || (!c.is_ascii() && c.is_alphanumeric()))
    };
    domain.len() <= MAX_DOMAIN && domain.split('.').all(label)
}

/// RFC 5321 4.1.3: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
fn is_literal(literal: &str) -> bool {
    let Some(inner) = literal.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return false;
    };
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        path(text).filter(|(_, rest)| rest.is_empty()).map(|(address, _)| address.to_string())
    }

    #[test]
    fn mailboxes_rfc5321_4_1_2() {
        for (text, form) in [
            ("<Smith@bar.com>", "Smith@bar.com"),
            ("<@hosta.int,@jkl.org:userc@d.bar.org>", "userc@d.bar.org"),
            ("<\"Joe.\\,Smith\"@x.y>", "\"Joe.,Smith\"@x.y"),
            ("<\"smith\"@x.y>", "smith@x.y"),
            ("<\"a\\\"b\\\\c d>\"@x.y>", "\"a\\\"b\\\\c d>\"@x.y"),
            ("<\"<>@\"@x.y>", "\"<>@\"@x.y"),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
            ("<a+b=c@x-y.example>", "a+b=c@x-y.example"),
            ("<a..b.@docomo.ne.jp>", "a..b.@docomo.ne.jp"),
            ("<root@my_host.example>", "root@my_host.example"),
            ("<jos\u{e9}@b\u{fc}cher.example>", "jos\u{e9}@b\u{fc}cher.example"),
        ] {
            assert_eq!(read(text).as_deref(), Some(form), "{text}");
        }
    }

    #[test]
    fn what_is_no_mailbox() {
        let long_local = format!("<{}@x.y>", "a".repeat(65));
        let long_domain = format!("<a@{}x>", "abcdefg.".repeat(32));
        for text in [
            "",
            "<",
            "<a",
            "<a>",
            "<a@>",
            "<@x.y>",
            "a@b",
            "<a@b",
            "<a b@c>",
            "<a@b c>",
            "<a@b.>",
            "<a@.b>",
            "<a@-b>",
            "<a@b->",
            "<\"a@b>",
            "<\"\"@b>",
            "<a@[1.2.3]>",
            "<a@[::1]>",
            "<a@[IPv6:1.2.3.4]>",
            "<a@[IPv6:::1>",
            "<a@b>>",
            "<<a@b>>",
            "<\"a\u{1}b\"@c>",
            "<\"a\\\u{7f}b\"@c>",
            "<@a:>",
            "<@a,b:c@d>",
            "<a\u{85}@b>",
            &long_local,
            &long_domain,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn special_paths() {
        assert_eq!(reverse_path("<> SIZE=1"), Some((None, " SIZE=1")));
        assert_eq!(forward_path("<PostMaster>"), Some((Forward::Postmaster, "")));
        assert_eq!(forward_path("<>"), None);
        assert_eq!(forward_path("<webmaster>"), None);
    }
}
