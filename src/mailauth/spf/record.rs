//! SPF records, read (RFC 7208 4.6.1, 12). A record that is wrong anywhere is wrong as a whole.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::mailauth::Outcome;

/// A record whose every term was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) directives: Vec<(Outcome, Mechanism)>,
    pub(super) redirect: Option<Spec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(Spec),
    A(Option<Spec>, Prefixes),
    Mx(Option<Spec>, Prefixes),
    Ptr(Option<Spec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Spec),
}

/// How many bits of an address count, of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

/// A `domain-spec`: text with macros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Macro {
        /// In lower case.
        letter: char,
        /// Written large: what it stands for is escaped as in a URL.
        escaped: bool,
        /// 0: all parts.
        keep: usize,
        reverse: bool,
        /// Empty: dots.
        delimiters: String,
    },
}

/// True for a TXT record that is an SPF record at all (RFC 7208 4.5).
pub(super) fn is_spf(bytes: &[u8]) -> bool {
    let (version, rest) = bytes.split_at(bytes.len().min(6));
    version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
}

impl Record {
    /// `None`: a syntax error somewhere, which makes the result permerror.
    pub fn read(bytes: &[u8]) -> Option<Record> {
        if !is_spf(bytes) || !bytes.is_ascii() {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let mut record = Record { directives: Vec::new(), redirect: None };
        let mut explained = false;
        for term in text.get(6..)?.split(' ').filter(|term| !term.is_empty()) {
            match modifier(term) {
                Some((name, value)) if name.eq_ignore_ascii_case("redirect") => {
                    // RFC 7208 6: at most once.
                    if record.redirect.replace(spec(value)?).is_some() {
                        return None;
                    }
                }
                Some((name, value)) if name.eq_ignore_ascii_case("exp") => {
                    spec(value)?;
                    if std::mem::replace(&mut explained, true) {
                        return None;
                    }
                }
                // Modifiers that nobody knows are passed over, as long as they are written well.
                Some((_, value)) => drop(macro_string(value, true)?),
                None => record.directives.push(directive(term)?),
            }
        }
        Some(record)
    }
}

/// `name=value`, where no colon or slash stands before the `=`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let at = term.find([':', '/', '='])?;
    let (name, value) = term.split_at(at);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (value.starts_with('=') && is_name).then(|| (name, &value[1..]))
}

fn directive(term: &str) -> Option<(Outcome, Mechanism)> {
    let (outcome, term) = match term.as_bytes().first()? {
        b'+' => (Outcome::Pass, &term[1..]),
        b'-' => (Outcome::Fail, &term[1..]),
        b'~' => (Outcome::SoftFail, &term[1..]),
        b'?' => (Outcome::Neutral, &term[1..]),
        _ => (Outcome::Pass, term),
    };
    let (name, rest) = term.split_at(term.find([':', '/']).unwrap_or(term.len()));
    let name = name.to_ascii_lowercase();
    let argument = rest.strip_prefix(':');
    let mechanism = match name.as_str() {
        "all" => rest.is_empty().then_some(Mechanism::All)?,
        "include" => Mechanism::Include(spec(argument?)?),
        "exists" => Mechanism::Exists(spec(argument?)?),
        "a" | "mx" => {
            let (target, prefixes) = dual_prefixes(rest)?;
            let target = match target {
                "" => None,
                target => Some(spec(target.strip_prefix(':')?)?),
            };
            if name == "a" { Mechanism::A(target, prefixes) } else { Mechanism::Mx(target, prefixes) }
        }
        "ptr" => match rest {
            "" => Mechanism::Ptr(None),
            _ => Mechanism::Ptr(Some(spec(argument?)?)),
        },
        "ip4" => {
            let (address, length) = with_length(argument?, 32)?;
            Mechanism::Ip4(address.parse().ok()?, length)
        }
        "ip6" => {
            let (address, length) = with_length(argument?, 128)?;
            Mechanism::Ip6(address.parse().ok()?, length)
        }
        _ => return None,
    };
    Some((outcome, mechanism))
}

fn with_length(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        None => Some((text, most)),
        Some((address, digits)) => Some((address, length(digits, most)?)),
    }
}

/// `:domain`, and behind it `/24`, `//64` or `/24//64`.
fn dual_prefixes(text: &str) -> Option<(&str, Prefixes)> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut text = text;
    if let Some((before, digits)) = text.rsplit_once("//")
        && is_number(digits)
    {
        prefixes.v6 = length(digits, 128)?;
        text = before;
    }
    if let Some((before, digits)) = text.rsplit_once('/')
        && is_number(digits)
        && !before.ends_with('/')
    {
        prefixes.v4 = length(digits, 32)?;
        text = before;
    }
    Some((text, prefixes))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn length(digits: &str, most: u8) -> Option<u8> {
    let plain = is_number(digits) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|length| plain && *length <= most)
}

/// RFC 7208 7.1: a `domain-spec`, which ends with a macro or with a label that could be a top-level domain.
fn spec(text: &str) -> Option<Spec> {
    let pieces = macro_string(text, false)?;
    match pieces.last()? {
        Piece::Macro { .. } => {}
        Piece::Text(text) => {
            let text = text.strip_suffix('.').unwrap_or(text);
            let (_, label) = text.rsplit_once('.')?;
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let ends = !label.starts_with('-') && !label.ends_with('-');
            if label.is_empty() || !inner || !ends || label.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
        }
    }
    Some(Spec(pieces))
}

/// RFC 7208 7.1. `c`, `r` and `t` are for explanations only.
fn macro_string(text: &str, explaining: bool) -> Option<Vec<Piece>> {
    let mut out = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first != '%' {
            if !first.is_ascii_graphic() {
                return None;
            }
            plain.push(first);
            continue;
        }
        let second = rest.chars().next()?;
        rest = &rest[second.len_utf8()..];
        match second {
            '%' => plain.push('%'),
            '_' => plain.push(' '),
            '-' => plain.push_str("%20"),
            '{' => {
                let (inner, after) = rest.split_once('}')?;
                rest = after;
                if !plain.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut plain)));
                }
                out.push(one_macro(inner, explaining)?);
            }
            _ => return None,
        }
    }
    if !plain.is_empty() {
        out.push(Piece::Text(plain));
    }
    Some(out)
}

fn one_macro(inner: &str, explaining: bool) -> Option<Piece> {
    let first = inner.chars().next()?;
    let letter = first.to_ascii_lowercase();
    let known = if explaining { "slodiphvcrt" } else { "slodiphv" };
    if !known.contains(letter) {
        return None;
    }
    let rest = &inner[1..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = rest.split_at(digits);
    let keep = match digits {
        "" => 0,
        // More parts than any name has are all of them.
        digits => digits.parse::<usize>().unwrap_or(usize::MAX),
    };
    if !digits.is_empty() && keep == 0 {
        return None;
    }
    let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(delimiters) => (true, delimiters),
        None => (false, rest),
    };
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    let escaped = first.is_ascii_uppercase();
    Some(Piece::Macro { letter, escaped, keep, reverse, delimiters: delimiters.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_right_and_records_that_are_not() {
        for fine in [
            "v=spf1",
            "V=SPF1 -ALL",
            "v=spf1  a:x.test/24//64 mx//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?ptr exists:%{ir}.x.test ~all",
            "v=spf1 redirect=_spf.%{d2} moo.cow-far_out=man:dog/cat",
            "v=spf1 include:x.test. exp=%{l1r+-}.x.test",
            "v=spf1 a:foo:bar/baz.example.com",
        ] {
            assert!(Record::read(fine.as_bytes()).is_some(), "{fine}");
        }
        for wrong in [
            "v=spf10",
            "v=spf1 a:x.test/33",
            "v=spf1 a/024",
            "v=spf1 ip4:192.0.2",
            "v=spf1 ip4:1.2.3.4/33",
            "v=spf1 all:x.test",
            "v=spf1 include",
            "v=spf1 include:x.123",
            "v=spf1 exists:%{c}.x.test",
            "v=spf1 a:%{d0}.x.test",
            "v=spf1 redirect=a.test redirect=b.test",
            "v=spf1 exp=a.test exp=b.test",
            "v=spf1 a:%{d",
            "v=spf1 foo",
            "v=spf1 mx:",
            "v=spf1 x=%x",
            "v=spf1 a:\u{fc}.test",
        ] {
            assert_eq!(Record::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
