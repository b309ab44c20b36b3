//! Words of ours in a header field.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Octets of text in one encoded word: with its frame it stays within the 75 of RFC 2047 2.
const WORD: usize = 42;

/// `Anna Example <anna@example.test>` as it stands in From or To, folded between encoded words where it is long. Controls in
/// either are left out.
pub fn mailbox(name: Option<&str>, address: &str) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let address: String = clean(address).chars().filter(|c| !matches!(c, '<' | '>')).collect();
    let name = name.map(clean).unwrap_or_default();
    match name.trim() {
        "" => format!("<{address}>"),
        name if !name.is_ascii() => format!("{} <{address}>", words(name)),
        name if name.chars().all(|c| c.is_ascii_alphanumeric() || " -_".contains(c)) => format!("{name} <{address}>"),
        name => format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// RFC 2047 5 (3): a phrase of encoded words, each of whole characters.
pub fn words(text: &str) -> String {
    let mut pieces = vec![String::new()];
    for c in text.chars() {
        if let Some(last) = pieces.last_mut() {
            if last.len() + c.len_utf8() > WORD {
                pieces.push(c.to_string());
            } else {
                last.push(c);
            }
        }
    }
    let words = pieces.iter().map(|piece| format!("=?utf-8?b?{}?=", STANDARD.encode(piece)));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{address, decode};

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for name in
            ["Anna Example", "O'Neil, \"Jo\" \\", "J\u{f6}rg", &"\u{1f600}\u{e9}a".repeat(30), "a@b.test <c@d.test>"]
        {
            let field = mailbox(Some(name), "a@x.test");
            assert!(field.split("\r\n").all(|line| line.len() <= 76 + 12), "{field}");
            let list = address::parse_list(field.as_bytes(), 10);
            assert_eq!(list.len(), 1, "{field}");
            assert_eq!(decode::words(list[0].name.as_deref().unwrap()), name, "{field}");
            assert_eq!(list[0].host.as_deref(), Some(&b"x.test"[..]));
        }
        assert_eq!(mailbox(Some("x\r\nBcc: y"), "a@x.test\r\n"), "\"xBcc: y\" <a@x.test>");
        assert_eq!(mailbox(None, "a@x.test"), "<a@x.test>");
    }
}
