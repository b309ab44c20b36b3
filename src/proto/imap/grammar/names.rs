//! Mailbox names: modified UTF-7 on the wire (RFC 3501 5.1.3), UTF-8 with `/` inside.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::reader::{Bad, Read};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Bytes of a name, decoded.
const MAX_NAME: usize = 1000;
const MAX_LEVELS: usize = 32;

/// Decodes modified UTF-7; `None` if it is none. Bytes over 127 are taken as UTF-8 (RFC 9051 5.1), which no rev1 client
/// sends and every rev2 client does.
pub(in crate::proto::imap) fn decode(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (code, after) = shifted.split_once('-')?;
        if code.is_empty() {
            out.push('&');
        } else {
            let units = BASE64.decode(code).ok()?;
            let (pairs, []) = units.as_chunks::<2>() else { return None };
            for unit in char::decode_utf16(pairs.iter().map(|pair| u16::from_be_bytes(*pair))) {
                out.push(unit.ok()?);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Encodes into modified UTF-7.
pub(in crate::proto::imap) fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            unshift(&mut out, &mut shifted);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shifted.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    unshift(&mut out, &mut shifted);
    out
}

fn unshift(out: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        out.push('&');
        BASE64.encode_string(&*shifted, out);
        out.push('-');
        shifted.clear();
    }
}

/// A name as a client gives it, for the host: decoded, INBOX in upper case.
pub(in crate::proto::imap) fn mailbox(bytes: &[u8]) -> Read<String> {
    Ok(inbox(decode(bytes).ok_or(Bad::Syntax("A mailbox name is not modified UTF-7"))?))
}

/// RFC 9051 5.1: INBOX is in any case; so is the level that others are below.
pub(in crate::proto::imap) fn inbox(name: String) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("INBOX") {
        return format!("INBOX{}", name.get(first.len()..).unwrap_or_default());
    }
    name
}

/// Why a mailbox may not be made under this name.
pub(in crate::proto::imap) fn unusable(name: &str) -> Option<&'static str> {
    if name.len() > MAX_NAME || name.split('/').count() > MAX_LEVELS {
        Some("The mailbox name is too long")
    } else if name.split('/').any(str::is_empty) {
        Some("A level of the mailbox name is empty")
    } else if name.chars().any(char::is_control) {
        Some("The mailbox name has control characters")
    } else if name.contains(['*', '%']) {
        Some("The mailbox name has wildcards")
    } else {
        None
    }
}

/// LIST's wildcards (RFC 9051 6.3.9): `*` is anything, `%` anything within a level. Takes time in proportion to both
/// lengths multiplied, whatever the pattern.
pub(in crate::proto::imap) fn matches(pattern: &str, name: &str) -> bool {
    // One row of the usual table: row[i] says whether the pattern so far matches the first i bytes of the name.
    let name = name.as_bytes();
    let mut row = vec![false; name.len() + 1];
    if let Some(start) = row.first_mut() {
        *start = true;
    }
    for wanted in pattern.bytes() {
        let mut before = false;
        let mut reached = false;
        for (i, cell) in row.iter_mut().enumerate() {
            let was = *cell;
            let byte = i.checked_sub(1).and_then(|at| name.get(at).copied());
            *cell = match wanted {
                b'*' => was || reached,
                b'%' => was || (reached && byte != Some(b'/')),
                _ => before && byte == Some(wanted),
            };
            reached = *cell;
            before = was;
        }
    }
    row.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc_3501_5_1_3_examples() {
        let name = "~peter/mail/台北/日本語";
        assert_eq!(encode(name), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(), Some(name));
        assert_eq!(decode(b"Tom &- Jerry").as_deref(), Some("Tom & Jerry"));
        assert_eq!(encode("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
        for bad in [b"&".as_slice(), b"&U", b"&U-", b"&2AA-", b"&AAAA====-", b"\xff"] {
            assert_eq!(decode(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn inbox_is_in_any_case_and_other_names_are_not() {
        assert_eq!(mailbox(b"inBox").as_deref(), Ok("INBOX"));
        assert_eq!(mailbox(b"inbox/Work").as_deref(), Ok("INBOX/Work"));
        assert_eq!(mailbox(b"inboxes").as_deref(), Ok("inboxes"));
    }

    #[test]
    fn wildcards() {
        for (pattern, name, yes) in [
            ("*", "a/b", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("a*c", "abbbc", true),
            ("a%c", "ab/c", false),
            ("a*/%", "a/b/c", true),
            ("", "", true),
            ("", "a", false),
            ("INBOX", "INBOX", true),
            ("%b*d", "ab/cd", true),
            ("*%*%*%x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back(name in "[ -~éüñ日本語台北😀]{0,40}") {
            let wire = encode(&name);
            prop_assert!(wire.is_ascii());
            prop_assert_eq!(decode(wire.as_bytes()), Some(name));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(name) = decode(&bytes) {
                prop_assert_eq!(decode(encode(&name).as_bytes()), Some(name));
            }
        }
    }
}
