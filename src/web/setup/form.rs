//! What a form sends, and what a browser keeps: `application/x-www-form-urlencoded` and cookies.

use std::collections::BTreeMap;

/// G3: no form of ours has more.
const FIELDS: usize = 32;
pub(in crate::web) const BODY_BYTES: usize = 16 * 1024;

/// The fields by name; the first of a name counts. `None`: not a form, or too much of it.
pub(in crate::web) fn read(body: &[u8]) -> Option<BTreeMap<String, String>> {
    if body.len() > BODY_BYTES {
        return None;
    }
    let mut fields = BTreeMap::new();
    for pair in std::str::from_utf8(body).ok()?.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if fields.len() >= FIELDS {
            return None;
        }
        fields.entry(decode(name)?).or_insert(decode(value)?);
    }
    Some(fields)
}

fn decode(text: &str) -> Option<String> {
    percent_decode(&text.replace('+', " "))
}

/// RFC 3986 2.1. `None`: what it stands for is no text.
pub(in crate::web) fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// RFC 6265 5.4: `name=value; name=value`.
pub(in crate::web) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// For the fuzz target: any body is a form or none, within the limits, and its fields, sent anew, are the same. Panics where that
/// is not so.
#[doc(hidden)]
pub fn form_reads_back(body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    for name in ["hp-form", "t", ""] {
        assert!(cookie(&text, name).is_none_or(|value| text.contains(value)));
    }
    let Some(fields) = read(body) else { return };
    assert!(body.len() <= BODY_BYTES && fields.len() <= FIELDS);
    let sent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let again: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", sent(name), sent(value))).collect();
    let again = again.join("&");
    // An encoded byte is three: what was near the limit is over it now.
    if again.len() <= BODY_BYTES {
        assert_eq!(read(again.as_bytes()), Some(fields));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_once() {
        let fields = read(b"name=Anna+%C3%84rger&phrase=a%2Bb%26c%25&name=second&empty=&bare").unwrap();
        let get = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!(get("name"), Some("Anna Ärger"));
        assert_eq!(get("phrase"), Some("a+b&c%"));
        assert_eq!((get("empty"), get("bare"), get("other")), (Some(""), Some(""), None));
    }

    #[test]
    fn what_is_no_form_or_too_much_is_none() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"\xff=1"] {
            assert!(read(body).is_none(), "{body:?}");
        }
        assert!(read(&vec![b'a'; BODY_BYTES + 1]).is_none());
        let many: String = (0..=FIELDS).map(|n| format!("f{n}=1&")).collect();
        assert!(read(many.as_bytes()).is_none());
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        assert_eq!(cookie("xhp=1; hp=2;hp-form=3", "hp"), Some("2"));
        assert_eq!(cookie("xhp=1; hp=2;hp-form=3", "hp-form"), Some("3"));
        assert_eq!(cookie("", "hp"), None);
    }
}
