//! From transferred to readable: transfer encodings, charsets, encoded words.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;

use super::structure::Part;

/// Undoes a Content-Transfer-Encoding (base64, quoted-printable; any other as it is). Lenient: what is no digit is
/// skipped. Never longer than the input.
pub fn transfer<'a>(encoding: &[u8], body: &'a [u8]) -> Cow<'a, [u8]> {
    if encoding.eq_ignore_ascii_case(b"base64") {
        Cow::Owned(base64(body))
    } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
        Cow::Owned(quoted_printable(body, false))
    } else {
        Cow::Borrowed(body)
    }
}

/// True if [`transfer`] knows the encoding; else BINARY answers UNKNOWN-CTE (RFC 9051 6.4.5).
pub fn knows_encoding(encoding: &[u8]) -> bool {
    [&b"7bit"[..], b"8bit", b"binary", b"base64", b"quoted-printable"]
        .iter()
        .any(|known| encoding.eq_ignore_ascii_case(known))
}

/// RFC 2045 6.8. Padding ends a group, so that pieces encoded one by one and put together are read too.
fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for &b in text {
        let digit = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                (bits, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

/// RFC 2045 6.7; in encoded words (RFC 2047 4.2) an underscore is a space.
fn quoted_printable(text: &[u8], word: bool) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    // Behind the last byte that white space at the end of a line may be cut back to (rule 3).
    let mut kept = 0;
    while let Some(&b) = text.get(at) {
        match b {
            b'=' => {
                if let (Some(high), Some(low)) = (hex(text.get(at + 1)), hex(text.get(at + 2))) {
                    out.push((high << 4 | low) as u8);
                    kept = out.len();
                    at += 3;
                    continue;
                }
                // Rule 5: a soft line break, white space before the line end being padding.
                let blank = text[at + 1..].iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r'));
                match blank.map(|blank| (at + 1 + blank, text[at + 1 + blank])) {
                    Some((end, b'\n')) => at = end + 1,
                    None => at = text.len(),
                    Some((end, _)) => {
                        out.extend_from_slice(&text[at..end]);
                        at = end;
                    }
                }
                kept = out.len();
                continue;
            }
            b'_' if word => out.push(b' '),
            b'\r' if text.get(at + 1) == Some(&b'\n') => {}
            b'\n' => {
                out.truncate(kept);
                if at > 0 && text[at - 1] == b'\r' {
                    out.push(b'\r');
                }
                out.push(b'\n');
                kept = out.len();
            }
            b' ' | b'\t' if !word => {
                out.push(b);
                at += 1;
                continue;
            }
            _ => {
                out.push(b);
                kept = out.len();
            }
        }
        at += 1;
    }
    out
}

/// To UTF-8, from the named charset; an unknown one is read as UTF-8, or as windows-1252 if it is none.
pub fn charset<'a>(name: &[u8], bytes: &'a [u8]) -> Cow<'a, str> {
    let unnamed = name.is_empty() || name.eq_ignore_ascii_case(b"us-ascii");
    if unnamed || name.eq_ignore_ascii_case(b"utf-8") {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Cow::Borrowed(text);
        }
        if !unnamed {
            return String::from_utf8_lossy(bytes);
        }
    } else if let Some(decode) = charset_decoder(name) {
        return Cow::Owned(decode(bytes));
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    match charset_decoder(b"windows-1252") {
        Some(decode) => Cow::Owned(decode(bytes)),
        None => String::from_utf8_lossy(bytes),
    }
}

/// RFC 2047: an unfolded header value as people read it. White space between encoded words is no part of the text (6.2);
/// neighbours of one charset are joined before they are decoded, since some mailers cut characters in two.
pub fn words(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut pending: Option<(&[u8], Vec<u8>)> = None;
    let mut plain = 0;
    let mut at = 0;
    let flush = |out: &mut String, pending: &mut Option<(&[u8], Vec<u8>)>| {
        if let Some((name, bytes)) = pending.take() {
            out.push_str(&charset(name, &bytes));
        }
    };
    while let Some(found) = memchr::memmem::find(&value[at..], b"=?") {
        let start = at + found;
        let Some((name, bytes, length)) = encoded_word(&value[start..]) else {
            at = start + 2;
            continue;
        };
        let between = &value[plain..start];
        let blank = between.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
        if pending.is_none() || !blank {
            flush(&mut out, &mut pending);
            out.push_str(&charset(b"", between));
        }
        match &mut pending {
            Some((before, joined)) if before.eq_ignore_ascii_case(name) => joined.extend(bytes),
            _ => {
                flush(&mut out, &mut pending);
                pending = Some((name, bytes));
            }
        }
        at = start + length;
        plain = at;
    }
    flush(&mut out, &mut pending);
    out.push_str(&charset(b"", &value[plain..]));
    out
}

/// `=?charset*language?B or Q?text?=` at the start of `text`: charset, bytes, length.
fn encoded_word(text: &[u8]) -> Option<(&[u8], Vec<u8>, usize)> {
    // 2047 asks for at most 75 characters in all; much longer ones are seen.
    const LONGEST: usize = 1000;
    let text = text.get(..LONGEST).unwrap_or(text);
    let after = text.strip_prefix(b"=?")?;
    let name_length = after.iter().take(60).position(|b| *b == b'?')?;
    let (name, after) = (&after[..name_length], &after[name_length + 1..]);
    let (encoding, after) = after.split_first()?;
    let after = after.strip_prefix(b"?")?;
    let length = memchr::memmem::find(after, b"?=")?;
    // A Q word may not hold a question mark, but `?=3D` at its end is seen: the text then goes on after it.
    let encoded = &after[..length];
    let bytes = match encoding {
        b'B' | b'b' => base64(encoded),
        b'Q' | b'q' => quoted_printable(encoded, true),
        _ => return None,
    };
    let name = name.split(|b| *b == b'*').next().unwrap_or_default();
    if name.is_empty() || name.iter().any(|b| b.is_ascii_whitespace()) {
        return None;
    }
    Some((name, bytes, text.len() - after.len() + length + 2))
}

/// A text part as UTF-8 (transfer encoding and charset undone); HTML as text. `None` for parts that are no text.
/// `letter` is the whole letter.
pub fn text(letter: &[u8], part: &Part<'_>) -> Option<String> {
    if !part.is_kind("text") {
        return None;
    }
    let range = usize::try_from(part.body_start).ok()?..usize::try_from(part.end).ok()?;
    let bytes = transfer(part.encoding(), letter.get(range)?);
    let text = charset(part.param("charset").unwrap_or_default(), &bytes);
    if part.subtype.eq_ignore_ascii_case(b"html") { Some(html_to_text(&text)) } else { Some(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_encodings() {
        for (encoding, body, expected) in [
            ("base64", &b"SGVs\r\nbG8="[..], &b"Hello"[..]),
            ("BASE64", b"SGVsbG8=SGVsbG8=", b"HelloHello"),
            ("base64", b"*S G V s", b"Hel"),
            ("quoted-printable", b"a=3Db =C3=BC\r\n", b"a=b \xc3\xbc\r\n"),
            ("quoted-printable", b"soft=\r\nbreak= \r\n!", b"softbreak!"),
            ("quoted-printable", b"trailing  \t\r\nend=20\r\n", b"trailing\r\nend \r\n"),
            ("quoted-printable", b"bare  \nfeed=\nx", b"bare\nfeedx"),
            ("quoted-printable", b"=3 =zz =", b"=3 =zz "),
            ("8bit", b"=3D", b"=3D"),
            ("x-uuencode", b"=3D", b"=3D"),
        ] {
            let decoded = transfer(encoding.as_bytes(), body);
            assert_eq!(&*decoded, expected, "{encoding} {}", String::from_utf8_lossy(body));
            assert!(decoded.len() <= body.len());
        }
        assert!(knows_encoding(b"7Bit") && !knows_encoding(b"x-uuencode"));
    }

    #[test]
    fn encoded_words_of_rfc_2047_8() {
        for (value, expected) in [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            ("=?utf-8?q?=C3?= =?UTF-8?q?=BC?=", "ü"),
            ("=?utf-8*de?q?=C3=BC?=", "ü"),
            ("x =?utf-8?z?a?= =?=?=? y", "x =?utf-8?z?a?= =?=?=? y"),
            ("plain ü", "plain ü"),
            ("=?x-unknown?q?a=FC?=", "aü"),
            ("", ""),
        ] {
            assert_eq!(words(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(words(b"caf\xe9"), "café");
    }

    #[test]
    fn many_false_starts_take_no_long_time() {
        let value = b"=?a".repeat(300_000);
        assert_eq!(words(&value).len(), value.len());
    }

    proptest::proptest! {
        #[test]
        fn nothing_breaks_it(bytes: Vec<u8>, name: Vec<u8>) {
            for encoding in ["base64", "quoted-printable"] {
                proptest::prop_assert!(transfer(encoding.as_bytes(), &bytes).len() <= bytes.len());
            }
            let _ = (words(&bytes), charset(&name, &bytes));
        }

        #[test]
        fn no_html_breaks_it(html in "(<|>|/|!|--|&|;|#|x|a|br|style|script| |\\n|é|head|p){0,40}") {
            let _ = html_to_text(&html);
        }
    }
}
