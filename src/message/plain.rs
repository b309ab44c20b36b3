//! A short letter in plain text that this box writes itself (RFC 5322).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::date::{self, Date};

/// Bytes of text in one encoded word (RFC 2047 2: 75 characters in all).
const WORD_BYTES: usize = 42;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// How the sender is called; may be empty.
    pub name: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub subject: &'a str,
    /// Without its angle brackets.
    pub id: &'a str,
    pub now: Date,
    /// Lines end with LF; none is longer than 998 bytes.
    pub text: &'a str,
}

impl Plain<'_> {
    /// With CRLF. Nothing in a field begins another one.
    pub fn build(&self) -> Vec<u8> {
        let fields = [
            format!("From: {}<{}>", phrase(self.name), clean(self.from)),
            format!("To: <{}>", clean(self.to)),
            format!("Subject: {}", unstructured(self.subject)),
            format!("Date: {}", date::rfc5322(self.now)),
            format!("Message-ID: <{}>", clean(self.id)),
            "MIME-Version: 1.0".to_owned(),
            "Content-Type: text/plain; charset=utf-8".to_owned(),
            // Every server takes it.
            "Content-Transfer-Encoding: base64".to_owned(),
        ];
        let mut out = String::new();
        for field in fields {
            out.push_str(&field);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        let body = STANDARD.encode(self.text.replace('\n', "\r\n"));
        for line in body.as_bytes().chunks(76) {
            out.push_str(&String::from_utf8_lossy(line));
            out.push_str("\r\n");
        }
        out.into_bytes()
    }
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A display name with the space behind it: quoted, or in encoded words.
fn phrase(name: &str) -> String {
    match clean(name).trim() {
        "" => String::new(),
        name if name.is_ascii() => format!("\"{}\" ", name.replace('\\', "\\\\").replace('"', "\\\"")),
        name => format!("{} ", encoded(name)),
    }
}

fn unstructured(text: &str) -> String {
    let text = clean(text);
    if text.is_ascii() { text } else { encoded(&text) }
}

/// RFC 2047, cut between characters.
fn encoded(text: &str) -> String {
    let mut words = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= WORD_BYTES => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Time;
    use crate::message::header;

    #[test]
    fn what_is_built_reads_as_it_was_meant_and_no_name_makes_a_field() {
        let long = "Ärztin mit einem sehr langen Namen, der in keine einzelne Zeile passt, weil er so lang ist";
        for (name, shown) in [
            ("Anna \"A\" Smith", "\"Anna \\\"A\\\" Smith\" <anna@smith.test>"),
            ("Anna\r\nBcc: eve@evil.example", "\"AnnaBcc: eve@evil.example\" <anna@smith.test>"),
            ("", "<anna@smith.test>"),
            (long, ""),
        ] {
            let letter = Plain {
                name,
                from: "anna@smith.test",
                to: "aunt@elsewhere.test",
                subject: "Grüße von der Box",
                id: "1@smith.test",
                now: Date::utc(Time::from_seconds(1_800_000_000)),
                text: "Hello.\nÄöü\n",
            };
            let text = String::from_utf8(letter.build()).unwrap();
            assert!(text.is_ascii() && !text.contains("\nBcc") && text.lines().all(|line| line.len() <= 120), "{text}");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let from = String::from_utf8(header::find(head.as_bytes(), "From").unwrap().value().to_vec()).unwrap();
            let decoded = |words: &str| {
                let words =
                    words.split_whitespace().filter_map(|word| word.strip_prefix("=?utf-8?B?")?.strip_suffix("?="));
                words.flat_map(|word| STANDARD.decode(word).unwrap()).collect::<Vec<u8>>()
            };
            match shown {
                "" => assert_eq!(decoded(&from), long.as_bytes(), "{from}"),
                shown => assert_eq!(from, shown),
            }
            let subject = header::find(head.as_bytes(), "Subject").unwrap().value().to_vec();
            assert_eq!(decoded(std::str::from_utf8(&subject).unwrap()), "Grüße von der Box".as_bytes());
            assert_eq!(STANDARD.decode(body.replace("\r\n", "")).unwrap(), "Hello.\r\nÄöü\r\n".as_bytes());
        }
    }
}
