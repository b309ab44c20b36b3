//! The MIME fields of a part's header (RFC 2045, 2183, 3282): values that are a word with parameters behind it.

use std::borrow::Cow;

use super::header::unfold;
use super::structure::{Param, Text};

/// Parameters kept of one field; more than any honest field has.
const MAX_PARAMS: usize = 100;
/// Languages kept of one Content-Language.
const MAX_LANGUAGES: usize = 100;

/// `type/subtype; name=value; …` (RFC 2045 5.1). `None` if there is no type that can be read (5.2: text/plain then).
pub(super) fn content_type(value: &[u8]) -> Option<(Text<'_>, Text<'_>, Vec<Param<'_>>)> {
    let mut scanner = Scanner { rest: value };
    scanner.blank();
    let kind = scanner.word()?;
    scanner.blank();
    let subtype = if scanner.take(b'/') {
        scanner.blank();
        scanner.word()?
    } else if kind.eq_ignore_ascii_case(b"text") {
        Cow::Borrowed(&b"PLAIN"[..]) // quirk_type_without_subtype: old mailers write `Content-Type: text`
    } else {
        return None;
    };
    Some((kind, subtype, scanner.params()))
}

/// `attachment; filename=…` (RFC 2183 2).
pub(super) fn disposition(value: &[u8]) -> Option<(Text<'_>, Vec<Param<'_>>)> {
    let mut scanner = Scanner { rest: value };
    scanner.blank();
    let kind = scanner.word()?;
    Some((kind, scanner.params()))
}

/// The first word: a transfer encoding (RFC 2045 6.1).
pub(super) fn first_word(value: &[u8]) -> Option<Text<'_>> {
    let mut scanner = Scanner { rest: value };
    scanner.blank();
    scanner.word()
}

/// `en, de` (RFC 3282 2).
pub(super) fn languages(value: &[u8]) -> Vec<Text<'_>> {
    let mut scanner = Scanner { rest: value };
    let mut out = Vec::new();
    while out.len() < MAX_LANGUAGES {
        scanner.blank();
        match scanner.word() {
            Some(word) => out.push(word),
            None if scanner.rest.is_empty() => break,
            None => scanner.skip(1),
        }
    }
    out
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.rest.first() == Some(&byte);
        if there {
            self.skip(1);
        }
        there
    }

    /// White space and comments.
    fn blank(&mut self) {
        let mut depth = 0usize;
        let mut escaped = false;
        let length = self.rest.iter().position(|&b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' if depth > 0 => escaped = true,
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                _ if depth > 0 || is_blank(b) => {}
                _ => return true,
            }
            false
        });
        self.skip(length.unwrap_or(self.rest.len()));
    }

    /// A token, read leniently: up to white space or what separates.
    fn word(&mut self) -> Option<Text<'a>> {
        if self.rest.first() == Some(&b'"') {
            return Some(self.quoted()).filter(|text| !text.is_empty());
        }
        let length = self
            .rest
            .iter()
            .position(|&b| is_blank(b) || matches!(b, b'/' | b';' | b'=' | b',' | b'(' | b'"'))
            .unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        self.skip(length);
        (!word.is_empty()).then_some(Cow::Borrowed(word))
    }

    fn quoted(&mut self) -> Text<'a> {
        self.skip(1);
        let mut escaped = false;
        let mut plain = true;
        let end = self.rest.iter().position(|&b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' => (escaped, plain) = (true, false),
                b'"' => return true,
                b'\r' | b'\n' | 0 => plain = false,
                _ => {}
            }
            false
        });
        let inner = &self.rest[..end.unwrap_or(self.rest.len())];
        self.skip(inner.len() + 1);
        if plain {
            return Cow::Borrowed(inner);
        }
        let mut out = Vec::with_capacity(inner.len());
        let mut escaped = false;
        for &b in inner {
            match b {
                b'\\' if !escaped => escaped = true,
                b'\r' | b'\n' | 0 => {}
                _ => {
                    escaped = false;
                    out.push(b);
                }
            }
        }
        Cow::Owned(out)
    }

    /// `; name=value` again and again, up to the end.
    fn params(&mut self) -> Vec<Param<'a>> {
        let mut out = Vec::new();
        while out.len() < MAX_PARAMS {
            self.blank();
            if self.rest.is_empty() {
                break;
            }
            let Some(name) = self.word() else {
                self.skip(1);
                continue;
            };
            self.blank();
            if !self.take(b'=') {
                continue;
            }
            self.blank();
            let value = if self.rest.first() == Some(&b'"') { self.quoted() } else { self.bare_value() };
            out.push(Param { name, value });
        }
        out
    }

    /// A value without quotes. `filename=my file (1).pdf` is no legal value, but is meant: it goes on to the semicolon,
    /// unless behind some white space a comment or the next `name=` begins.
    fn bare_value(&mut self) -> Text<'a> {
        let mut at = 0;
        while let Some(&b) = self.rest.get(at) {
            if b == b';' {
                break;
            }
            if !is_blank(b) {
                at += 1;
                continue;
            }
            let blank = self.rest[at..].iter().position(|&b| !is_blank(b)).unwrap_or(self.rest.len() - at);
            let next = &self.rest[at + blank..];
            let word = next.iter().position(|&b| is_blank(b) || matches!(b, b';' | b'=' | b'(')).unwrap_or(next.len());
            if next.is_empty() || matches!(next.first(), Some(b'(' | b';')) || next.get(word) == Some(&b'=') {
                break;
            }
            at += blank + word;
        }
        let value = &self.rest[..at];
        self.skip(at);
        unfold(value)
    }
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &[u8]) -> String {
        let Some((kind, subtype, params)) = content_type(value) else { return "none".to_owned() };
        let text = |t: &Text<'_>| String::from_utf8_lossy(t).into_owned();
        let params: Vec<_> = params.iter().map(|p| format!(" {}={}", text(&p.name), text(&p.value))).collect();
        format!("{}/{}{}", text(&kind), text(&subtype), params.concat())
    }

    #[test]
    fn types_and_parameters() {
        for (value, expected) in [
            (&b" text/plain"[..], "text/plain"),
            (b"text/plain; charset=us-ascii (Plain text)", "text/plain charset=us-ascii"),
            (b"text/plain; charset=\"us-ascii\"", "text/plain charset=us-ascii"),
            (b"multipart/mixed;\r\n\tboundary=\"a \\\"b\\\" (c)\"", "multipart/mixed boundary=a \"b\" (c)"),
            (b"Image/JPEG; name=my file (1).jpg ; x=y", "Image/JPEG name=my file x=y"),
            (b"image/jpeg; name=file(1).jpg", "image/jpeg name=file(1).jpg"),
            (b"text/plain; charset=utf-8 format=flowed", "text/plain charset=utf-8 format=flowed"),
            (b"application/x; name*0*=utf-8''a%20; name*1=b", "application/x name*0*=utf-8''a%20 name*1=b"),
            (b"text", "text/PLAIN"),
            (b"text; charset=x", "text/PLAIN charset=x"),
            (b"nonsense", "none"),
            (b"", "none"),
            (b"/plain", "none"),
            (b"text/", "none"),
            (b"text/plain;;; =x; a; b=", "text/plain b="),
            (b"text/plain; a=\"never closed", "text/plain a=never closed"),
            (b"( comment ( nested ) ) text / plain", "text/plain"),
        ] {
            assert_eq!(shown(value), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn languages_are_a_list() {
        assert_eq!(languages(b"en, de (Deutsch) ,fr"), [&b"en"[..], b"de", b"fr"]);
        assert!(languages(b" ,, ").is_empty());
    }

    #[test]
    fn a_stranger_cannot_grow_the_parameters() {
        let value = [b"a/b".to_vec(), b";a=b".repeat(100_000)].concat();
        assert_eq!(content_type(&value).unwrap().2.len(), MAX_PARAMS);
    }
}
