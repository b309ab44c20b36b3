//! Substrings as IMAP SEARCH looks for them: decoded on both sides, in any case (RFC 9051 6.4.4).

use unicode_normalization::UnicodeNormalization;

use super::decode;
use super::header;
use super::structure::{Content, Part};

/// A string to look for, folded once: decomposed and without case, as i;unicode-casemap asks (RFC 5051 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    pub fn new(text: &str) -> Needle {
        Needle(fold(text))
    }

    /// An empty needle is in everything (RFC 9051 6.4.4, HEADER).
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_empty() || fold(text).contains(&self.0)
    }

    /// HEADER: in a field of that name (any case) of the header section, decoded. An empty needle asks whether there is
    /// such a field.
    pub fn in_header(&self, header: &[u8], name: &str) -> bool {
        header::fields(header)
            .filter(|field| field.is(name))
            .any(|field| self.0.is_empty() || self.is_in(&decode::words(&field.value())))
    }

    /// BODY: in a text part, decoded, or in the header of a message within. `root` is the root part of the letter.
    pub fn in_body(&self, letter: &[u8], root: &Part<'_>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        root.walk().into_iter().any(|(_, part)| match &part.content {
            Content::Leaf => decode::text(letter, part).is_some_and(|text| self.is_in(&text)),
            Content::Multipart(_) => false,
            Content::Message(inner) => self.in_any_field(letter, &inner.1),
        })
    }

    /// TEXT: in any header field (name and colon included) or in the body.
    pub fn in_text(&self, letter: &[u8], root: &Part<'_>) -> bool {
        self.0.is_empty() || self.in_any_field(letter, root) || self.in_body(letter, root)
    }

    fn in_any_field(&self, letter: &[u8], part: &Part<'_>) -> bool {
        let range = part.header_range();
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) else { return false };
        header::fields(letter.get(start..end).unwrap_or_default()).any(|field| {
            let name = String::from_utf8_lossy(field.name);
            self.is_in(&format!("{name}: {}", decode::words(&field.value())))
        })
    }
}

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // By way of upper case, so that ß is ss and both forms of sigma are one.
    text.nfkd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Limits, parse};

    const LETTER: &[u8] = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus\r\n K\u{f6}ln\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsch=F6n =\r\nweit\r\n\
        --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+PGI+VG9tJmFtcDtKZXJyeTwvYj48L3A+\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner one\r\n\r\ninner text\r\n\
        --b\r\nContent-Type: application/octet-stream\r\n\r\nbinary secret\r\n--b--\r\n"
        .as_bytes();

    #[test]
    fn what_is_seen_is_found_however_it_was_encoded() {
        let message = parse(LETTER, &Limits::default()).unwrap();
        let body = |needle: &str| Needle::new(needle).in_body(LETTER, &message.body);
        for needle in ["SCHÖN WEIT", "tom&jerry", "inner one", "INNER TEXT", ""] {
            assert!(body(needle), "{needle}");
        }
        for needle in ["Grüße", "PHA+", "binary secret", "=F6", "text/html"] {
            assert!(!body(needle), "{needle}");
        }
        let text = |needle: &str| Needle::new(needle).in_text(LETTER, &message.body);
        assert!(text("grüsse aus köln") && text("subject: GR") && text("schön") && !text("binary secret"));
    }

    #[test]
    fn composed_or_not_and_in_any_case_it_is_the_same_word() {
        for (needle, text) in
            [("CAF\u{c9}", "cafe\u{301}s"), ("STRASSE", "die Straße"), ("ΟΔΟΣ", "οδος"), ("ﬁsh", "FISH")]
        {
            assert!(Needle::new(needle).is_in(text), "{needle} in {text}");
        }
        assert!(!Needle::new("stra\u{df}e").is_in("strae"));
    }

    #[test]
    fn header_fields_by_name() {
        let found = |needle: &str, name: &str| Needle::new(needle).in_header(LETTER, name);
        assert!(found("GRÜSSE", "subject") && found("", "SUBJECT"));
        assert!(!found("", "Cc") && !found("inner", "Subject"));
    }
}
