//! Letters that somebody of the household hands in, before they are signed: whose names they may carry (RFC 6409 6.1), and
//! what their header lacks (RFC 6409 8).

use crate::base::Time;
use crate::message::date::{self, Date};
use crate::message::{Text, address, encode, header};

use super::intake::Refusal;

/// Authors that are looked at; a letter with more is refused.
const AUTHORS: usize = 50;
/// Fields that say who wrote a letter or sent it on (RFC 5322 3.6.2, 3.6.6).
const SAYING: [&str; 4] = ["From", "Sender", "Resent-From", "Resent-Sender"];
/// Fields that are for nobody's eyes (RFC 5322 3.6.3), or another server's to write (RFC 5321 4.4).
const UNSAID: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];

/// An address that a letter says it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub field: &'static str,
    pub address: String,
}

/// Every address in a letter's From, Sender and their Resent- kin, each once. Whoever asks refuses those that are not the
/// sender's own. Errors: [`Refusal::Author`], when it cannot be told who a reader would take for the author.
pub fn claims(head: &[u8]) -> Result<Vec<Claim>, Refusal> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut authors = 0;
    for found in header::fields(head) {
        let Some(field) = SAYING.into_iter().find(|name| found.is(name)) else { continue };
        if found.value().is_empty() {
            continue; // as good as missing
        }
        if field == "From" {
            authors += 1;
        }
        if !is_plain(found.raw_value) {
            return Err(Refusal::Author(format!(
                "{field}: of the letter holds more than one address where one has its place"
            )));
        }
        let addresses = address::parse_list(found.raw_value, AUTHORS + 1);
        let mut mailboxes = addresses.iter().filter(|one| !one.is_group_start() && !one.is_group_end()).peekable();
        if mailboxes.peek().is_none() {
            return Err(Refusal::Author(format!("{field}: of the letter names no address")));
        }
        for one in mailboxes {
            let text =
                |part: &Option<Text<'_>>| String::from_utf8_lossy(part.as_deref().unwrap_or_default()).into_owned();
            let (local, host) = (text(&one.mailbox), text(&one.host));
            if host.is_empty() || local.is_empty() {
                return Err(Refusal::Author(format!(
                    "{field}: of the letter names {local}{host}, which is no address"
                )));
            }
            let claim = Claim { field, address: format!("{local}@{host}") };
            if !claims.contains(&claim) {
                claims.push(claim);
            }
            // RFC 5322 3.6.2 has no limit; whoever is behind the last one that is looked at is an author as well.
            if claims.len() > AUTHORS {
                return Err(Refusal::Author(format!("the letter says that more than {AUTHORS} people wrote it")));
            }
        }
    }
    // RFC 5322 3.6: one; which of several a reader sees nobody can tell, and no signature covers it.
    match authors {
        0 | 1 => Ok(claims),
        _ => Err(Refusal::Author("the letter has several From: fields".into())),
    }
}

/// RFC 5322 3.4: behind the address between `<` and `>` comes the next one, or nothing. Readers differ in what they take
/// anything else for, so whoever wrote `<anna@home.test> <ben@home.test>` is nobody that can be told.
fn is_plain(value: &[u8]) -> bool {
    let (mut quoted, mut escaped, mut comments, mut angled, mut closed) = (false, false, 0u32, false, false);
    for &byte in value {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match byte {
            b'\\' if quoted || comments > 0 => escaped = true,
            b'"' if comments == 0 => {
                if closed {
                    return false;
                }
                quoted = !quoted;
            }
            _ if quoted => {}
            b'(' => comments += 1,
            b')' if comments > 0 => comments -= 1,
            _ if comments > 0 => {}
            b'<' if angled || closed => return false,
            b'<' => angled = true,
            b'>' if angled => (angled, closed) = (false, true),
            b',' | b';' if !angled => closed = false,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if closed => return false,
            _ => {}
        }
    }
    true
}

/// What a letter is put right with.
pub(super) struct Facts<'a> {
    pub now: Time,
    /// Whose letter it is: address, and name for people. `None`: not known, and then no From is made up.
    pub author: Option<(&'a str, Option<&'a str>)>,
    /// Ours, for a letter that names no domain.
    pub hostname: &'a str,
    /// For Message-ID: chance alone, so that it tells neither the time nor the machine.
    pub chance: [u64; 2],
}

/// RFC 6409 8.2, 8.3: a header section without Bcc, with From, Date and Message-ID. `None`: it is right as it is. `head` may
/// be empty, for a letter that is all body.
pub(super) fn put_right(head: &[u8], facts: &Facts<'_>) -> Option<Vec<u8>> {
    let says = |name: &str| header::fields(head).any(|field| field.is(name) && !field.value().is_empty());
    let dated = header::find(head, "Date").is_some_and(|field| date::parse(field.raw_value).is_some());
    let (named, identified) = (says("From"), says("Message-ID"));
    let mut added = String::new();
    if let Some((address, name)) = facts.author.filter(|_| !named) {
        added.push_str(&format!("From: {}\r\n", encode::mailbox(name, address)));
    }
    if !dated {
        added.push_str(&format!("Date: {}\r\n", date::rfc5322(Date::utc(facts.now))));
    }
    if !identified {
        let domain = domain(head, facts);
        added.push_str(&format!("Message-ID: <{:016x}{:016x}@{domain}>\r\n", facts.chance[0], facts.chance[1]));
    }
    let goes = |field: &header::Field<'_>| {
        UNSAID.iter().any(|name| field.is(name))
            || (field.is("From") && !named && facts.author.is_some())
            || (field.is("Date") && !dated)
            || (field.is("Message-ID") && !identified)
    };
    let envelope_line = head.starts_with(b"From ") || head.starts_with(b">From ");
    if added.is_empty() && !envelope_line && !header::fields(head).any(|field| goes(&field)) {
        return None;
    }
    let mut out = added.into_bytes();
    // A line of mbox's is no field, and would stand in the middle of them; with it goes what is folded behind it, which would
    // become part of what stands before.
    let mut rest = head;
    if envelope_line {
        rest = behind_line(rest);
        while matches!(rest.first(), Some(b' ' | b'\t')) {
            rest = behind_line(rest);
        }
    }
    for field in header::fields(rest).filter(goes).map(|field| field.raw).collect::<Vec<_>>() {
        // Each is a piece of what is left, in its order.
        let at = field.as_ptr() as usize - rest.as_ptr() as usize;
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + field.len()..];
    }
    out.extend_from_slice(rest);
    if head.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    Some(out)
}

fn behind_line(bytes: &[u8]) -> &[u8] {
    bytes.splitn(2, |b| *b == b'\n').nth(1).unwrap_or_default()
}

/// The author's domain.
fn domain(head: &[u8], facts: &Facts<'_>) -> String {
    let from =
        header::fields(head).filter(|field| field.is("From")).flat_map(|field| address::parse_list(field.raw_value, 1));
    let said = from.filter_map(|one| one.host).map(|host| String::from_utf8_lossy(&host).into_owned()).next();
    let ours = || facts.author.and_then(|(address, _)| address.rsplit_once('@')).map(|(_, domain)| domain.to_owned());
    let fits = |domain: &String| !domain.is_empty() && domain.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    said.filter(fits).or_else(ours).filter(fits).unwrap_or_else(|| facts.hostname.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(head: &str) -> Option<String> {
        let facts = Facts {
            now: Time::from_seconds(1_700_000_000),
            author: Some(("anna@example.test", Some("Anna \"A\" M\u{fc}ller"))),
            hostname: "mail.example.test",
            chance: [1, 2],
        };
        put_right(head.as_bytes(), &facts).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    const WHOLE: &str =
        "From: anna@home.test\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\nMessage-ID: <1@home.test>\r\n";
    const ID: &str = "Message-ID: <00000000000000010000000000000002@";
    const DATE: &str = "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n";

    #[test]
    fn a_whole_header_stays_as_it_is() {
        assert_eq!(right(&format!("{WHOLE}To: b@x.test\r\nno field here\r\n\r\n")), None);
    }

    #[test]
    fn what_is_missing_or_empty_is_added() {
        assert_eq!(
            right("From: a@Home.test\r\nSubject: x\r\n\r\n").unwrap(),
            format!("{DATE}{ID}Home.test>\r\nFrom: a@Home.test\r\nSubject: x\r\n\r\n")
        );
        let from = "From: =?utf-8?b?QW5uYSAiQSIgTcO8bGxlcg==?= <anna@example.test>\r\n";
        for bare in
            ["\r\n", "", "Date:\r\nMessage-id: \r\n \r\nFrom:\r\n\r\n", "date: yesterday\r\nDate: tomorrow\r\n\r\n"]
        {
            assert_eq!(right(bare).unwrap(), format!("{from}{DATE}{ID}example.test>\r\n\r\n"), "{bare:?}");
        }
    }

    #[test]
    fn blind_copies_go_with_their_folds_and_nothing_else_does() {
        let blind = "BCC: eve@x.test,\r\n\tmallory@x.test\r\nTo: b@x.test\r\nbcc :\r\n x@y.test\r\nResent-Bcc: z@y.test\r\nX-Bcc: kept\r\n\r\n";
        assert_eq!(
            right(&format!("Return-Path: <q@y.test>\r\n{WHOLE}{blind}")).unwrap(),
            format!("{WHOLE}To: b@x.test\r\nX-Bcc: kept\r\n\r\n")
        );
        let mbox = format!("From x Sat Jan  3 01:05:34 1996\r\n{WHOLE}\r\n");
        assert_eq!(right(&mbox).unwrap(), format!("{WHOLE}\r\n"));
        let folded = "From x\r\n , ben@home.test\r\n\tand more\r\nSubject: x\r\n\r\n";
        let got = right(folded).unwrap();
        assert!(got.ends_with("example.test>\r\nSubject: x\r\n\r\n") && !got.contains("ben@"), "{got}");
    }

    #[test]
    fn an_id_has_the_domain_of_the_author_or_ours() {
        for (from, domain) in
            [("a@[192.0.2.1]", "example.test"), ("a@home.test, b@y.test", "home.test"), ("\"x\" <a@b.test>", "b.test")]
        {
            let got = right(&format!("From: {from}\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\n")).unwrap();
            assert!(got.starts_with(&format!("{ID}{domain}>\r\nFrom:")), "{got}");
        }
    }

    fn claimed(head: &str) -> Result<Vec<String>, Refusal> {
        let claims = claims(head.as_bytes())?;
        Ok(claims.into_iter().map(|claim| format!("{} {}", claim.field, claim.address)).collect())
    }

    #[test]
    fn every_address_of_who_wrote_or_sent_it_is_named() {
        let head = "FROM: \"b@x.test\" <a@x.test> (c@x.test),\r\n\td@y.test, a@x.test\r\nsender : e@z.test\r\nResent-From: g: f@z.test;\r\nTo: q@q.test\r\n\r\nFrom: body@x.test\r\n";
        assert_eq!(
            claimed(head).unwrap(),
            ["From a@x.test", "From d@y.test", "Sender e@z.test", "Resent-From f@z.test"]
        );
        assert_eq!(claimed("Subject: x\r\nFrom:\r\n\r\n").unwrap(), [""; 0]);
        for wrong in [
            "From: root\r\n",
            "From: a@x.test\r\nfrom: b@x.test\r\n",
            "From: ,;\r\n",
            "From: nobody:;\r\n",
            "From: <a@x.test> <b@y.test>\r\n",
            "From: <a@x.test> b@y.test\r\n",
            "From: Anna <a@x.test> \"b@y.test\"\r\n",
            "From: <a@x.test <b@y.test>>\r\n",
            &format!("From: {}\r\n", (0..60).map(|n| format!("a{n}@x.test,")).collect::<String>()),
        ] {
            assert!(matches!(claimed(wrong), Err(Refusal::Author(_))), "{wrong}");
        }
    }
}
