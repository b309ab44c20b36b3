//! Numbers, strings and names as the grammar has them (RFC 9051 9).

use super::super::grammar::names;
use super::super::grammar::reader::is_atom;

/// Longer strings go as literals.
const MAX_QUOTED: usize = 1000;

pub(in crate::proto::imap) fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

pub(in crate::proto::imap) fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (n % 10) as u8;
        }
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// nstring: NIL, quoted if that can hold it, else a literal. NUL, which no literal may have, becomes `?`.
pub(in crate::proto::imap) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        None => put(out, "NIL"),
        Some(text) => string(out, text),
    }
}

pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    // Quoted strings are 7-bit for rev1 clients (RFC 3501 9, QUOTED-CHAR).
    let plain = text.iter().all(|byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~' | b'\t'));
    if plain && text.len() <= MAX_QUOTED {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else if text.len() <= MAX_QUOTED && text.iter().all(|byte| !matches!(byte, 0 | b'\r' | b'\n' | 0x80..)) {
        out.push(b'"');
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    } else {
        out.push(b'{');
        number(out, text.len() as u64);
        put(out, "}\r\n");
        out.extend(text.iter().map(|byte| if *byte == 0 { b'?' } else { *byte }));
    }
}

/// A mailbox name in modified UTF-7, as an atom if it can be one.
pub(in crate::proto::imap) fn mailbox(out: &mut Vec<u8>, name: &str) {
    let wire = names::encode(name);
    if is_atom(wire.as_bytes()) && !wire.eq_ignore_ascii_case("NIL") {
        put(out, &wire);
    } else {
        string(out, wire.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> String {
        let mut out = Vec::new();
        nstring(&mut out, Some(text));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings_take_the_form_that_holds_them() {
        assert_eq!(written(b""), "\"\"");
        assert_eq!(written(b"a b"), "\"a b\"");
        assert_eq!(written(b"a\"b\\c"), "\"a\\\"b\\\\c\"");
        assert_eq!(written("ü".as_bytes()), "{2}\r\nü");
        assert_eq!(written(b"a\r\nb"), "{4}\r\na\r\nb");
        assert_eq!(written(b"\0"), "{1}\r\n?");
        assert!(written(&[b'x'; 1001]).starts_with("{1001}\r\n"));
    }

    #[test]
    fn numbers_and_names() {
        let mut out = Vec::new();
        number(&mut out, 0);
        out.push(b' ');
        number(&mut out, u64::MAX);
        out.push(b' ');
        mailbox(&mut out, "nil");
        out.push(b' ');
        mailbox(&mut out, "Entwürfe");
        out.push(b' ');
        mailbox(&mut out, "a b");
        assert_eq!(String::from_utf8_lossy(&out), "0 18446744073709551615 \"nil\" Entw&APw-rfe \"a b\"");
    }
}
