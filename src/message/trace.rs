//! The trace a letter gets on its way in: Received and Return-Path (RFC 5321 4.4).

use std::net::IpAddr;

use super::date::{self, Date};

/// Folded before it gets longer, where there is white space (RFC 5322 2.1.1).
const LINE: usize = 78;

/// What a Received field tells. Everything from the peer is cleaned here: no line ends, no controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// What the peer said in EHLO; `None` when there was no session (a letter of our own).
    pub helo: Option<&'a str>,
    /// Its address, and its name if the reverse look-up was confirmed.
    pub peer: Option<IpAddr>,
    pub peer_name: Option<&'a str>,
    /// Our host name.
    pub by: &'a str,
    /// RFC 3848 and 6531: `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPSA`, `UTF8SMTPS`, `LMTP`.
    pub with: &'a str,
    /// As in `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    pub tls: Option<&'a str>,
    /// The session's or transaction's id.
    pub id: &'a str,
    /// The recipient, when there is just one (RFC 5321 7.6: never several).
    pub recipient: Option<&'a str>,
    pub date: Date,
}

impl Received<'_> {
    /// `Received: …` folded, with its CRLF.
    pub fn field(&self) -> Vec<u8> {
        let mut words = vec!["Received:".to_owned()];
        if let Some(helo) = self.helo {
            words.push(format!("from {}", clean(helo)));
            // RFC 5321 4.1.3 and 4.4, TCP-info: the address as it is, whatever the peer calls itself.
            let literal = self.peer.map(|peer| match peer.to_canonical() {
                IpAddr::V4(peer) => format!("[{peer}]"),
                IpAddr::V6(peer) => format!("[IPv6:{peer}]"),
            });
            match (self.peer_name.map(clean), literal) {
                (Some(name), Some(literal)) => words.push(format!("({name} {literal})")),
                (None, Some(literal)) => words.push(format!("({literal})")),
                _ => {}
            }
        }
        words.push(format!("by {}", clean(self.by)));
        if let Some(tls) = self.tls {
            words.push(format!("({})", tls.split_whitespace().map(clean).collect::<Vec<_>>().join(" ")));
        }
        words.push(format!("with {}", clean(self.with)));
        words.push(format!("id {}", clean(self.id)));
        if let Some(recipient) = self.recipient {
            words.push(format!("for <{}>", path(recipient)));
        }
        if let Some(last) = words.last_mut() {
            last.push(';');
        }
        words.push(date::rfc5322(self.date));
        folded(&words)
    }
}

/// `Return-Path: <a@b>` with its CRLF; an empty path is `<>`.
pub fn return_path(path: &str) -> Vec<u8> {
    format!("Return-Path: <{}>\r\n", self::path(path)).into_bytes()
}

/// An address as it was given (RFC 5321 4.4: the reverse path itself). Within quotes all but controls stays, since there it opens and
/// closes nothing; what is no address is cleaned like any other word.
fn path(address: &str) -> String {
    let mut out = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in address.chars() {
        match c {
            c if c.is_control() => return clean(address),
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            // RFC 5321 4.1.2: the local part as a whole, or nothing of it.
            '"' if quoted || out.is_empty() => quoted = !quoted,
            _ if quoted => {}
            '"' | '(' | ')' | '<' | '>' | ';' | '\\' => return clean(address),
            c if c.is_whitespace() => return clean(address),
            _ => {}
        }
        out.push(c);
    }
    if quoted || out.chars().count() > 320 { clean(address) } else { out }
}

/// A peer's word as one word: white space, controls, and what would open or close something become question marks.
fn clean(word: &str) -> String {
    word.chars()
        .take(320)
        .map(|c| match c {
            '(' | ')' | '<' | '>' | ';' | '\\' | '"' => '?',
            c if c.is_control() || c.is_whitespace() => '?',
            c => c,
        })
        .collect()
}

fn folded(words: &[String]) -> Vec<u8> {
    let mut out = String::new();
    let mut length = 0;
    for word in words {
        if length > 0 && length + 1 + word.len() > LINE {
            out.push_str("\r\n\t");
            length = 8;
        } else if length > 0 {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += word.len();
    }
    out.push_str("\r\n");
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Time;
    use crate::message::header;

    fn received<'a>() -> Received<'a> {
        Received {
            helo: Some("mail.example.org"),
            peer: Some("192.0.2.1".parse().unwrap()),
            peer_name: Some("out.example.org"),
            by: "mx.example.test",
            with: "ESMTPS",
            tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384"),
            id: "4f2a",
            recipient: Some("alice@example.test"),
            date: Date { time: Time(837_596_665_000), zone: 0 },
        }
    }

    #[test]
    fn a_received_field_is_folded_and_ends_with_its_date() {
        let field = String::from_utf8(received().field()).unwrap();
        assert_eq!(
            field,
            "Received: from mail.example.org (out.example.org [192.0.2.1])\r\n\
             \tby mx.example.test (TLSv1.3 TLS_AES_256_GCM_SHA384) with ESMTPS\r\n\
             \tid 4f2a for <alice@example.test>; Wed, 17 Jul 1996 09:44:25 +0000\r\n"
        );
        assert_eq!(header::count(field.as_bytes(), "received"), 1);
    }

    #[test]
    fn a_letter_of_our_own_and_an_ipv6_peer() {
        let own = Received { helo: None, tls: None, recipient: None, ..received() };
        assert!(own.field().starts_with(b"Received: by mx.example.test with ESMTPS id 4f2a;"));
        let six = Received { peer: Some("2001:db8::1".parse().unwrap()), peer_name: None, ..received() };
        assert!(String::from_utf8(six.field()).unwrap().contains("([IPv6:2001:db8::1])"));
    }

    #[test]
    fn a_peer_cannot_write_fields_of_its_own() {
        let evil = "x)\r\nX-Evil: 1\r\n\r\n;";
        let field = Received { helo: Some(evil), recipient: Some(evil), id: evil, ..received() }.field();
        assert_eq!(header::fields(&field).count(), 1);
        assert_eq!(header::end(&field), field.len());
        assert_eq!(return_path("a@b\r\nX: y"), b"Return-Path: <a@b??X:?y>\r\n");
        assert_eq!(return_path(""), b"Return-Path: <>\r\n");
    }

    /// RFC 5321 4.4: what is within quotes is the sender's, and leads nowhere.
    #[test]
    fn a_quoted_local_part_stays_as_it_is_and_within_its_brackets() {
        for (given, shown) in [
            ("\"bob smith\"@far.example", "\"bob smith\"@far.example"),
            ("\"a> b;(\\\"@x\"@far.example", "\"a> b;(\\\"@x\"@far.example"),
            ("\"a\\\\\"@far.example", "\"a\\\\\"@far.example"),
            // None that RFC 5321 knows.
            ("\"a> b;(\"@x\"@far.example", "?a??b???@x?@far.example"),
            ("a\"b c\"@far.example", "a?b?c?@far.example"),
            ("\"a\\\"@far.example", "?a??@far.example"),
            ("\"a\r\nX: y\"@far.example", "?a??X:?y?@far.example"),
            ("a>;(b@far.example", "a???b@far.example"),
        ] {
            assert_eq!(String::from_utf8(return_path(given)).unwrap(), format!("Return-Path: <{shown}>\r\n"));
            let field = String::from_utf8(Received { recipient: Some(given), ..received() }.field()).unwrap();
            assert!(field.contains(&format!("for <{shown}>;")), "{field}");
        }
        let field = Received { helo: Some("a);by=x;\""), ..received() }.field();
        assert!(field.starts_with(b"Received: from a??by=x?? (out"), "{}", String::from_utf8_lossy(&field));
    }
}
