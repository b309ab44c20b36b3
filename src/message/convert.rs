//! Letters for servers that take seven bits only (RFC 6152 3): what is in them is encoded part by part (RFC 2045 6), so that
//! whoever reads them decodes the same octets.
//!
//! What is signed or encrypted stays as it is (RFC 1847 2.1: not one octet may change), and so a letter with such a part that
//! needs more than seven bits cannot be converted. Nor can one whose header sections need more (RFC 6531 asks for SMTPUTF8).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header;
use super::limits::{Limits, Refused};
use super::parse::parse;
use super::structure::{Content, Part};

/// RFC 5321 4.5.3.1.6, without the line end.
const LINE: usize = 998;
/// RFC 2045 6.7 (5), with the `=` at the end.
const QUOTED_LINE: usize = 76;
/// Octets that make a line of base64 (RFC 2045 6.8).
const BASE64_LINE: usize = 57;
/// Octets of a text that is quoted whatever is in it.
const SHORT: usize = 100;
/// Without a charset of its own (RFC 1428 3).
const UNKNOWN: &str = "Content-Type: text/plain; charset=unknown-8bit\r\n";

/// Why a letter cannot be sent with seven bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cannot {
    /// A part that is signed or encrypted needs more.
    Signed,
    /// A header section needs more.
    Header,
    /// A part is in an encoding already, and needs more all the same.
    Encoded,
    /// Its parts are not what they say they are.
    Shape,
    /// A limit of [`Limits`] is passed.
    Limit(Refused),
}

impl fmt::Display for Cannot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cannot::Signed => "what is signed or encrypted in it must not be changed",
            Cannot::Header => "there are characters beyond ASCII in its header",
            Cannot::Encoded => "what is encoded in it breaks its encoding's rules",
            Cannot::Shape => "its parts cannot be told apart",
            Cannot::Limit(_) => "it goes past a limit",
        })
    }
}

/// The letter in lines of at most 998 octets of ASCII, each decoded part of which is what it was.
pub fn seven_bit(letter: &[u8], limits: &Limits) -> Result<Vec<u8>, Cannot> {
    let message = parse(letter, limits).map_err(Cannot::Limit)?;
    let mut writer = Writer { letter, out: Vec::with_capacity(letter.len() + letter.len() / 4) };
    writer.part(&message.body, true)?;
    if is_plain(&writer.out) { Ok(writer.out) } else { Err(Cannot::Shape) }
}

struct Writer<'a> {
    letter: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn bytes(&self, from: u64, to: u64) -> &'a [u8] {
        let (from, to) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(usize::MAX));
        self.letter.get(from..to).unwrap_or_default()
    }

    /// `root`: of the letter, or of one within. As deep as [`Limits`] let the parser go.
    fn part(&mut self, part: &Part<'_>, root: bool) -> Result<(), Cannot> {
        let whole = self.bytes(part.start, part.end);
        let sealed = part.is("multipart", "signed") || part.is("multipart", "encrypted");
        if is_plain(whole) && (sealed || !says_more(part)) {
            self.out.extend_from_slice(whole);
            return Ok(());
        }
        if sealed {
            return Err(Cannot::Signed);
        }
        match &part.content {
            Content::Leaf => self.leaf(part, root),
            Content::Multipart(children) => {
                // RFC 2045 6.4: of what is in it only the parts are encoded, never the whole.
                self.header(part, "7bit", root)?;
                let mut at = part.body_start;
                for child in children {
                    // Without a delimiter before it, it is no part but the body.
                    if child.start == at {
                        return Err(Cannot::Shape);
                    }
                    self.between(at, child.start)?;
                    self.part(child, false)?;
                    at = child.end;
                }
                self.between(at, part.end)
            }
            Content::Message(inner) => {
                // RFC 2046 5.2.1: never encoded itself.
                if is_encoding(part, b"base64") || is_encoding(part, b"quoted-printable") {
                    return Err(Cannot::Encoded);
                }
                self.header(part, "7bit", root)?;
                let within = &inner.1;
                self.between(part.body_start, within.start)?;
                self.part(within, true)?;
                self.between(within.end, part.end)
            }
        }
    }

    fn leaf(&mut self, part: &Part<'_>, root: bool) -> Result<(), Cannot> {
        let raw = [&b"7bit"[..], b"8bit", b"binary"].iter().any(|one| is_encoding(part, one));
        if !raw || part.is("message", "partial") || part.is("message", "rfc822") || part.is("message", "external-body")
        {
            return Err(Cannot::Encoded);
        }
        let body = self.bytes(part.body_start, part.end);
        if is_plain(body) {
            self.header(part, "7bit", root)?;
            self.out.extend_from_slice(body);
            return Ok(());
        }
        let is_text = part.is_kind("text") || part.is_kind("message");
        let escaped = body.iter().filter(|b| !matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n')).count();
        // Quoted, an octet takes three; in base64 three take four. Of a short text it is worth more that it can be read.
        if is_text && escaped.saturating_mul(6) <= body.len().saturating_add(SHORT) {
            self.header(part, "quoted-printable", root)?;
            quoted_printable(body, &mut self.out);
            if root && !body.ends_with(b"\r\n") {
                self.out.extend_from_slice(b"=\r\n");
            }
        } else {
            self.header(part, "base64", root)?;
            for (n, line) in body.chunks(BASE64_LINE).enumerate() {
                if n > 0 {
                    self.out.extend_from_slice(b"\r\n");
                }
                self.out.extend_from_slice(STANDARD.encode(line).as_bytes());
            }
            if root {
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// The part's header section with another transfer encoding, and with what that makes necessary.
    fn header(&mut self, part: &Part<'_>, encoding: &str, root: bool) -> Result<(), Cannot> {
        let head = self.bytes(part.start, part.body_start);
        if !is_plain(head) {
            return Err(Cannot::Header);
        }
        for field in header::fields(head).filter(|field| !field.is("Content-Transfer-Encoding")) {
            self.out.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                self.out.extend_from_slice(b"\r\n");
            }
        }
        if root && header::find(head, "MIME-Version").is_none() {
            self.out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        if encoding != "7bit" && part.is("text", "plain") && header::find(head, "Content-Type").is_none() {
            self.out.extend_from_slice(UNKNOWN.as_bytes());
        }
        self.out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes());
        Ok(())
    }

    /// What stands before, between and behind the parts: delimiters, and words that nobody is shown (RFC 2046 5.1.1).
    fn between(&mut self, from: u64, to: u64) -> Result<(), Cannot> {
        let mut rest = self.bytes(from, to);
        while !rest.is_empty() {
            let (line, after) = header::split_line(rest);
            rest = after;
            if is_plain(line) {
                self.out.extend_from_slice(line);
            } else if line.starts_with(b"--") {
                return Err(Cannot::Shape);
            } else {
                self.out.extend(line.iter().map(|b| if matches!(b, 1..=127) { *b } else { b'?' }));
            }
        }
        Ok(())
    }
}

fn is_encoding(part: &Part<'_>, name: &[u8]) -> bool {
    part.encoding().eq_ignore_ascii_case(name)
}

/// Whether it, or a part of it, is said to need more than seven bits.
fn says_more(part: &Part<'_>) -> bool {
    let own = is_encoding(part, b"8bit") || is_encoding(part, b"binary");
    own || match &part.content {
        Content::Leaf => false,
        Content::Multipart(children) => children.iter().any(says_more),
        Content::Message(inner) => says_more(&inner.1),
    }
}

/// RFC 2045 2.7: seven bits, no NUL, and lines that are not too long.
fn is_plain(bytes: &[u8]) -> bool {
    let short = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).len() <= LINE;
    bytes.iter().all(|b| matches!(b, 1..=127)) && bytes.split(|b| *b == b'\n').all(short)
}

/// RFC 2045 6.7. Nothing at the start of a line looks like a delimiter, the end of a letter or the beginning of one.
fn quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    let mut column = 0;
    while !rest.is_empty() {
        let (whole, after) = header::split_line(rest);
        rest = after;
        let (line, end) = match whole.strip_suffix(b"\r\n") {
            Some(line) => (line, true),
            None => (whole, false),
        };
        for (n, b) in line.iter().enumerate() {
            let last = n + 1 == line.len();
            let literal = |column: usize| match b {
                b' ' | b'\t' => !last,
                b'=' => false,
                b'-' | b'.' | b'F' => column > 0,
                b'!'..=b'~' => true,
                _ => false,
            };
            if column + if literal(column) { 1 } else { 3 } >= QUOTED_LINE {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if literal(column) {
                out.push(*b);
                column += 1;
            } else {
                out.extend_from_slice(format!("={b:02X}").as_bytes());
                column += 3;
            }
        }
        if end {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::decode;

    /// The decoded bodies of all leaves, with their types.
    fn leaves(letter: &[u8]) -> Vec<(String, Vec<u8>)> {
        fn walk(letter: &[u8], part: &Part<'_>, out: &mut Vec<(String, Vec<u8>)>) {
            match &part.content {
                Content::Leaf => {
                    let body = &letter[part.body_start as usize..part.end as usize];
                    let kind = String::from_utf8_lossy(&part.kind).to_lowercase();
                    out.push((kind, decode::transfer(part.encoding(), body).into_owned()));
                }
                Content::Multipart(children) => children.iter().for_each(|child| walk(letter, child, out)),
                Content::Message(inner) => walk(letter, &inner.1, out),
            }
        }
        let mut out = Vec::new();
        walk(letter, &parse(letter, &Limits::default()).unwrap().body, &mut out);
        out
    }

    fn converted(letter: &[u8]) -> String {
        let out = seven_bit(letter, &Limits::default()).unwrap();
        assert_eq!(leaves(&out), leaves(letter), "{}", String::from_utf8_lossy(&out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_part_gets_what_it_needs_and_what_holds_it_says_seven_bits() {
        let letter = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
            vor\u{e4}b\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nsch\u{f6}n = gut \r\n\
            -- \r\n.\r\nFrom here\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: application/x; a=b\r\nContent-Transfer-Encoding: binary\r\n\r\n\u{e4}\r\n\
            --b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: within\r\n\r\n\u{fc}ber alles Ma\u{df}\r\n--b--\r\n";
        let text = converted(letter.as_bytes());
        assert!(text.starts_with("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n\r\nvor??b\r\n--b\r\n"), "{text}");
        assert!(text.contains("Encoding: quoted-printable\r\n\r\nsch=C3=B6n =3D gut=20\r\n=2D-=20\r\n=2E\r\n=46rom here\r\n--b\r\n\r\nplain\r\n"), "{text}");
        assert!(
            text.contains(
                "Content-Type: application/x; a=b\r\nContent-Transfer-Encoding: base64\r\n\r\nw6Q=\r\n--b\r\n"
            ),
            "{text}"
        );
        assert!(text.contains("message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: within\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"), "{text}");
        // What needs nothing stays as it is.
        let plain = b"Subject: x\r\n\r\nhello\r\n";
        assert_eq!(converted(plain).as_bytes(), plain);
        let long = ["Subject: x\r\n\r\n", &"x".repeat(3000), "\r\n"].concat();
        assert!(converted(long.as_bytes()).contains("quoted-printable"));
    }

    #[test]
    fn what_is_signed_or_cannot_be_told_apart_is_not_touched() {
        let of = |text: &str| seven_bit(text.as_bytes(), &Limits::default());
        let signed = |text: &str| {
            format!(
                "Content-Type: multipart/mixed; boundary=a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--a\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\
                     Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n--a--\r\n"
            )
        };
        assert_eq!(of(&signed("\u{e4}")), Err(Cannot::Signed));
        let plain = signed("a");
        let (inner, out) = (plain.split_once("--a\r\n").unwrap().1, String::from_utf8(of(&plain).unwrap()).unwrap());
        assert!(
            out.ends_with(inner)
                && out.contains("boundary=a\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n"),
            "{out}"
        );
        assert_eq!(of("Subject: \u{e4}\r\n\r\nx\r\n"), Err(Cannot::Header));
        assert_eq!(of("Content-Transfer-Encoding: base64\r\n\r\n\u{e4}\r\n"), Err(Cannot::Encoded));
        assert_eq!(of("Content-Type: multipart/mixed\r\n\r\n\u{e4}\r\n"), Err(Cannot::Shape));
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(200);
        assert_eq!(of(&format!("{deep}\u{e4}")), Err(Cannot::Limit(Refused::TooDeep)));
    }

    /// A letter of nested parts; each boundary is its own.
    fn part(depth: u32) -> BoxedStrategy<Vec<u8>> {
        let body = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[a-zäöü =.\r\n-]{0,2000}".prop_map(String::into_bytes),
            "(\r\n|[-. F=]|ü){0,60}".prop_map(String::into_bytes),
        ];
        let kind = prop_oneof![Just("text/plain"), Just("application/octet-stream"), Just("message/delivery-status")];
        let encoding = prop_oneof![
            Just(""),
            Just("Content-Transfer-Encoding: 8bit\r\n"),
            Just("content-transfer-encoding: BINARY\r\n")
        ];
        let leaf = (kind, encoding, body).prop_map(|(kind, encoding, body)| {
            [format!("Content-Type: {kind}\r\n{encoding}\r\n").into_bytes(), body].concat()
        });
        if depth == 0 {
            return leaf.boxed();
        }
        let many = (any::<u64>(), proptest::collection::vec(part(depth - 1), 1..4)).prop_map(|(n, parts)| {
            let mut out = format!("Content-Type: multipart/mixed; boundary=\"={n:x}\"\r\n\r\nprä\r\n").into_bytes();
            for part in parts {
                out.extend_from_slice(format!("\r\n--={n:x}\r\n").as_bytes());
                out.extend_from_slice(&part);
            }
            out.extend_from_slice(format!("\r\n--={n:x}--\r\n").as_bytes());
            out
        });
        let within = part(depth - 1).prop_map(|inner| [&b"Content-Type: message/rfc822\r\n\r\n"[..], &inner].concat());
        prop_oneof![leaf, many, within].boxed()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_decoded_is_what_was_there(letter in part(3)) {
            let out = seven_bit(&letter, &Limits::default()).unwrap();
            prop_assert!(out.iter().all(|b| matches!(b, 1..=127)));
            prop_assert!(out.split(|b| *b == b'\n').all(|line| line.len() <= 999));
            prop_assert_eq!(leaves(&out), leaves(&letter));
            prop_assert_eq!(seven_bit(&out, &Limits::default()).unwrap(), out);
        }
    }
}
