//! Delivery status notices (RFC 3464 in the multipart/report of RFC 6522): what a sender is told of a letter that did not
//! arrive, or not yet, or, where that was asked for, that it did.

use super::date::{self, Date};
use super::header;

/// Whole letters up to this size are given back where nobody asked for less; of longer ones the header.
const WHOLE: usize = 50 * 1024;
/// Octets of a line of ours, after which it is continued on another (RFC 5322 2.1.1 has 998).
const LINE: usize = 900;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Failed,
    Delayed,
    /// It was handed to a server that will say nothing more (RFC 3461 4.1, 5.2.2).
    Relayed,
    /// It lies in a mailbox (RFC 3464 2.3.3).
    Delivered,
    /// It was delivered to an address that stands for several, and goes on to them (RFC 3461 5.2.7.3).
    Expanded,
}

/// What is said of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub address: String,
    /// RFC 3461 4.2: kind and address.
    pub original: Option<(String, String)>,
    /// RFC 3463.
    pub status: (u8, u16, u16),
    /// The words of the other server, as it said them, or ours.
    pub diagnostic: Option<String>,
    pub own: bool,
    /// The other server.
    pub remote: Option<String>,
    /// Until when it is tried again.
    pub until: Option<Date>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    pub kind: Kind,
    /// Ours.
    pub hostname: &'a str,
    /// The sender.
    pub to: &'a str,
    pub now: Date,
    pub arrived: Date,
    pub envid: Option<&'a str>,
    /// RFC 2852 5: when it was to be delivered by.
    pub by: Option<Date>,
    pub recipients: &'a [About],
    /// RFC 3461 4.3; `None`: whatever fits.
    pub full: Option<bool>,
    /// Whoever reads this did not write it: an address here passes on what comes for it.
    pub passed_on: bool,
    /// The letter.
    pub letter: &'a [u8],
    /// Two numbers made by chance: nothing in a letter can be made to look like a boundary.
    pub chance: [u64; 2],
}

impl Notice<'_> {
    /// The whole letter, its lines ended by CR LF.
    pub fn build(&self) -> Vec<u8> {
        let head = self.letter.get(..header::end(self.letter)).unwrap_or_default();
        let whole = self.full.unwrap_or(self.letter.len() <= WHOLE) && self.kind == Kind::Failed;
        let boundary = format!("={:016x}{:016x}=", self.chance[0], self.chance[1]);
        let mut out = Vec::new();
        let mut line = |text: String| {
            let text = text.replace(|c: char| c.is_control(), " ");
            let mut rest = text.as_str();
            while rest.len() > LINE {
                let (now, later) = rest.split_at(rest.floor_char_boundary(LINE));
                out.extend_from_slice(now.as_bytes());
                out.extend_from_slice(b"\r\n ");
                rest = later;
            }
            out.extend_from_slice(rest.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        line(format!("From: \"Mail server {}\" <mailer-daemon@{}>", self.hostname, self.hostname));
        line(format!("To: <{}>", self.to));
        line(format!("Subject: {}", self.subject()));
        line(format!("Date: {}", date::rfc5322(self.now)));
        line(format!("Message-ID: <{:016x}.{:016x}@{}>", self.chance[1], self.chance[0], self.hostname));
        if let Some(id) = header::find(head, "Message-ID") {
            let id = String::from_utf8_lossy(&id.value()).trim().to_owned();
            let within = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or_default();
            if !within.is_empty()
                && id.len() < 500
                && within.bytes().all(|b| b.is_ascii_graphic() && !b"<>".contains(&b))
            {
                line(format!("In-Reply-To: {id}"));
                line(format!("References: {id}"));
            }
        }
        // RFC 3834 5: nobody's machine is to answer this.
        line("Auto-Submitted: auto-replied".to_owned());
        line("MIME-Version: 1.0".to_owned());
        line("Content-Type: multipart/report; report-type=delivery-status;".to_owned());
        line(format!(" boundary=\"{boundary}\""));
        line(String::new());
        line(format!("--{boundary}"));
        line("Content-Type: text/plain; charset=utf-8".to_owned());
        line("Content-Transfer-Encoding: 8bit".to_owned());
        line(String::new());
        self.words(&mut line);
        line(String::new());
        line(format!("--{boundary}"));
        // RFC 6533 4: addresses beyond ASCII need the other type; RFC 3464 2.1: this one is in seven bits.
        let (kind, encoding) =
            if self.is_global() { ("global-delivery-status", "8bit") } else { ("delivery-status", "7bit") };
        line(format!("Content-Type: message/{kind}"));
        line(format!("Content-Transfer-Encoding: {encoding}"));
        line(String::new());
        self.status(&mut line);
        line(String::new());
        line(format!("--{boundary}"));
        let given = if whole { self.letter } else { head };
        // RFC 6532 3.7, RFC 6533 6: a header in UTF-8 makes another type of it.
        let is_utf8 = !head.is_ascii() && std::str::from_utf8(head).is_ok();
        let kind = match (whole, is_utf8) {
            (true, false) => "message/rfc822",
            (true, true) => "message/global",
            (false, false) => "text/rfc822-headers",
            (false, true) => "message/global-headers",
        };
        line(format!("Content-Type: {kind}"));
        line(format!("Content-Transfer-Encoding: {}", if given.is_ascii() { "7bit" } else { "8bit" }));
        line(String::new());
        out.extend_from_slice(given);
        if !given.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }

    /// RFC 6533 3: whether an address in the status is written in UTF-8.
    fn is_global(&self) -> bool {
        let original = |about: &About| about.original.as_ref().is_none_or(|(_, address)| address.is_ascii());
        !self.recipients.iter().all(|about| about.address.is_ascii() && original(about))
    }

    fn subject(&self) -> &'static str {
        match self.kind {
            Kind::Failed => "Your letter could not be delivered",
            Kind::Delayed => "Your letter is still on its way",
            Kind::Relayed => "Your letter was handed on",
            Kind::Delivered | Kind::Expanded => "Your letter was delivered",
        }
    }

    fn words(&self, line: &mut impl FnMut(String)) {
        let head = self.letter.get(..header::end(self.letter)).unwrap_or_default();
        let subject = header::find(head, "Subject").map(|field| {
            let decoded = super::decode::words(&field.value());
            seen(&decoded).chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        });
        let whose = if self.passed_on { "A letter that an address here passes on," } else { "Your letter" };
        let what = match subject.as_deref().map(str::trim) {
            Some(subject) if !subject.is_empty() => format!("{whose} \u{201c}{subject}\u{201d}"),
            _ => whose.to_owned(),
        };
        let arrived = date::rfc5322(self.arrived);
        match self.kind {
            Kind::Failed => line(format!("{what} of {arrived} was not delivered to:")),
            Kind::Delayed => {
                line(format!("{what} of {arrived} has not been delivered yet to:"));
            }
            Kind::Relayed => line(format!("{what} of {arrived} was handed on for:")),
            Kind::Delivered | Kind::Expanded => line(format!("{what} of {arrived} was delivered to:")),
        }
        for about in self.recipients {
            line(String::new());
            line(format!("  {}", seen(&about.address)));
            match self.kind {
                Kind::Relayed => line("  Its server took the letter. More is not known here.".to_owned()),
                Kind::Delivered => line("  It lies in the mailbox.".to_owned()),
                Kind::Expanded => {
                    line("  The address stands for several, and the letter was sent on to them.".to_owned());
                }
                _ => line(format!("  {}", meaning(about.status))),
            }
            if let Some(said) = &about.diagnostic {
                let said = seen(said);
                match about.remote.as_deref().filter(|_| !about.own) {
                    Some(remote) => line(format!("  What {remote} said: {said}")),
                    None => line(format!("  What was found: {said}")),
                }
            }
            if let Some(until) = about.until {
                line(format!("  It is tried again by itself until {}.", date::rfc5322(until)));
            }
        }
        line(String::new());
        match self.kind {
            Kind::Failed => line("It will not be tried again. The letter, or its beginning, is attached.".to_owned()),
            Kind::Delayed => line("You need not do anything, and need not send it again.".to_owned()),
            Kind::Relayed | Kind::Delivered | Kind::Expanded => {}
        }
    }

    /// RFC 3464 2.2 and 2.3.
    fn status(&self, line: &mut impl FnMut(String)) {
        let global = self.is_global();
        let mut line = |text: String| line(if global { text } else { seven_bits(&text) });
        line(format!("Reporting-MTA: dns; {}", self.hostname));
        if let Some(envid) = self.envid {
            line(format!("Original-Envelope-Id: {envid}"));
        }
        line(format!("Arrival-Date: {}", date::rfc5322(self.arrived)));
        if let Some(by) = self.by {
            line(format!("Deliver-By-Date: {}", date::rfc5322(by)));
        }
        let action = match self.kind {
            Kind::Failed => "failed",
            Kind::Delayed => "delayed",
            Kind::Relayed => "relayed",
            Kind::Delivered => "delivered",
            Kind::Expanded => "expanded",
        };
        for about in self.recipients {
            line(String::new());
            if let Some((kind, address)) = &about.original {
                line(format!("Original-Recipient: {kind}; {address}"));
            }
            let kind = if about.address.is_ascii() { "rfc822" } else { "utf-8" };
            line(format!("Final-Recipient: {kind}; {}", about.address));
            line(format!("Action: {action}"));
            let (class, subject, detail) = about.status;
            line(format!("Status: {class}.{subject}.{detail}"));
            if let Some(remote) = &about.remote {
                line(format!("Remote-MTA: dns; {remote}"));
            }
            // RFC 3464 2.3.6: the words of the other side only.
            if let Some(said) = about.diagnostic.as_ref().filter(|_| !about.own) {
                line(format!("Diagnostic-Code: smtp; {said}"));
            }
            line(format!("Last-Attempt-Date: {}", date::rfc5322(self.now)));
            if let Some(until) = about.until {
                line(format!("Will-Retry-Until: {}", date::rfc5322(until)));
            }
        }
    }
}

/// RFC 6533 3, as in utf-8-addr-unitext: what is not ASCII by its number.
fn seven_bits(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) }).collect()
}

/// As people read it: strangers write subjects, addresses and replies.
fn seen(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c)).collect()
}

/// Characters that turn the order of the others round, or part lines where none are.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a status means to somebody who wrote a letter (RFC 3463 3).
fn meaning((class, subject, detail): (u8, u16, u16)) -> &'static str {
    match (class, subject, detail) {
        (_, 1, 1 | 6) => "There is no such address. Look whether it is spelled right.",
        (_, 1, 2 | 10) => "The part behind the @ is no domain that takes mail. Look whether it is spelled right.",
        (_, 1, 3) => "That is not how an address looks.",
        (_, 2, 1) => "That mailbox is switched off.",
        (_, 2, 2) => "That mailbox is full.",
        (_, 2, 3) | (_, 3, 4) => "The letter is larger than that server takes.",
        (_, 4, 6) => "The way there leads back to this box.",
        (4, 4, _) | (5, 4, 1..=5) => "Its server could not be reached.",
        (5, 4, 7) => "Its server could not be given the letter in time.",
        (_, 6, 3 | 7) => "Its server cannot handle the characters in this letter or its addresses.",
        (4, 7, _) => "Its server does not want the letter now.",
        (5, 7, _) => "Its server refuses letters like this one, or letters from here.",
        (4, _, _) => "Its server cannot take the letter now.",
        (2, _, _) => "It was handed on.",
        _ => "Its server refused the letter.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Time;
    use crate::message::{Content, Limits, parse};

    const LETTER: &[u8] = b"From: anna@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.test>\r\n\r\nhello\r\n";

    fn about(address: &str) -> About {
        About {
            address: address.into(),
            original: Some(("rfc822".into(), "B@out.test".into())),
            status: (5, 1, 1),
            diagnostic: Some("550 5.1.1 nobody\r\nhere".into()),
            own: false,
            remote: Some("mx.out.test".into()),
            until: None,
        }
    }

    fn notice<'a>(kind: Kind, recipients: &'a [About], letter: &'a [u8]) -> Notice<'a> {
        Notice {
            kind,
            hostname: "mail.example.test",
            to: "anna@example.test",
            now: Date::utc(Time(1_800_000_000_000)),
            arrived: Date::utc(Time(1_799_999_000_000)),
            envid: Some("e1"),
            by: None,
            recipients,
            full: None,
            passed_on: false,
            letter,
            chance: [1, 2],
        }
    }

    /// Strangers write subjects, addresses and replies.
    #[test]
    fn what_strangers_write_turns_no_line_of_the_words_round() {
        let mut one = about("b\u{202e}x@out.test");
        one.diagnostic = Some("550 \u{2066}no\u{202e}".into());
        let letter = "Subject: a\u{202e}b\r\n\r\nx\r\n";
        let text = String::from_utf8(notice(Kind::Failed, &[one], letter.as_bytes()).build()).unwrap();
        let words = text.split("\r\nContent-Type: message/").next().unwrap();
        assert!(words.contains("\u{201c}ab\u{201d}") && words.contains("  bx@out.test"), "{words}");
        assert!(words.contains("said: 550 no\r\n") && !words.contains(is_unseen), "{words}");
    }

    #[test]
    fn a_notice_is_a_report_that_mail_programs_read() {
        let recipients = [about("b@out.test"), about("c@out.test")];
        let bytes = notice(Kind::Failed, &recipients, LETTER).build();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains("Your letter \u{201c}Gr\u{fc}\u{df}e\u{201d}"), "{text}");
        assert!(text.contains("There is no such address"), "{text}");
        assert!(text.contains("\r\nFinal-Recipient: rfc822; b@out.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.out.test\r\n"));
        assert!(text.contains("\r\nDiagnostic-Code: smtp; 550 5.1.1 nobody  here\r\n"), "no line of another's: {text}");
        assert!(text.contains("\r\nIn-Reply-To: <1@example.test>\r\n"));
        assert!(text.contains("\r\nhello\r\n"));
        let message = parse(&bytes, &Limits::default()).unwrap();
        let Content::Multipart(parts) = &message.body.content else { panic!("{text}") };
        assert!(
            parts[0].is("text", "plain")
                && parts[1].is("message", "delivery-status")
                && parts[2].is("message", "rfc822")
        );
    }

    #[test]
    fn no_more_is_given_back_than_was_asked_for_or_fits() {
        let recipients = [about("b@out.test")];
        let mut less = notice(Kind::Failed, &recipients, LETTER);
        less.full = Some(false);
        let long = [LETTER, &vec![b'x'; WHOLE]].concat();
        for text in [
            less.build(),
            notice(Kind::Delayed, &recipients, LETTER).build(),
            notice(Kind::Failed, &recipients, &long).build(),
        ] {
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("text/rfc822-headers") && !text.contains("hello"), "{text}");
        }
    }

    /// Each part's type, its encoding, and its body.
    fn parts(bytes: &[u8]) -> Vec<(String, String, String)> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let boundary = text.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        let (delimiter, end) = (format!("\r\n--{boundary}\r\n"), format!("\r\n--{boundary}--\r\n"));
        let inside = text.strip_suffix(&end).unwrap();
        let part = |part: &str| {
            let (head, body) = part.split_once("\r\n\r\n").unwrap();
            let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
            (value("Content-Type: "), value("Content-Transfer-Encoding: "), body.to_owned())
        };
        inside.split(&delimiter).skip(1).map(part).collect()
    }

    /// RFC 6533: the status is in seven bits where each address is, whatever the other side said; a header in UTF-8 has its own types.
    #[test]
    fn what_is_beyond_ascii_has_the_types_of_rfc_6533() {
        let plain = about("b@out.test");
        let said = About { diagnostic: Some("550 nobody h\u{e9}re".into()), ..plain.clone() };
        let original = Some(("utf-8".to_owned(), "gr\u{fc}n@out.test".to_owned()));
        let asked = About { original, diagnostic: Some("550 h\u{e9}re".into()), ..plain.clone() };
        let coded = About { original: Some(("utf-8".into(), "gr\\x{FC}n@out.test".into())), ..plain.clone() };
        for (about, kind, encoding, shown) in [
            (plain, "message/delivery-status", "7bit", "Diagnostic-Code: smtp; 550 5.1.1 nobody  here\r\n"),
            (said, "message/delivery-status", "7bit", "Diagnostic-Code: smtp; 550 nobody h\\x{E9}re\r\n"),
            (
                asked.clone(),
                "message/global-delivery-status",
                "8bit",
                "Original-Recipient: utf-8; gr\u{fc}n@out.test\r\n",
            ),
            (asked, "message/global-delivery-status", "8bit", "Diagnostic-Code: smtp; 550 h\u{e9}re\r\n"),
            (coded, "message/delivery-status", "7bit", "Original-Recipient: utf-8; gr\\x{FC}n@out.test\r\n"),
        ] {
            let parts = parts(&notice(Kind::Failed, &[about], LETTER).build());
            assert_eq!((parts[1].0.as_str(), parts[1].1.as_str()), (kind, encoding), "{parts:?}");
            assert!(parts[1].2.contains(shown), "{}", parts[1].2);
            assert_eq!(parts[1].2.is_ascii(), encoding == "7bit");
        }
        let utf8 = "Subject: Gr\u{fc}\u{df}e\r\n\r\nhello\r\n".as_bytes();
        for (letter, whole, head) in [
            (LETTER, "message/rfc822", "text/rfc822-headers"),
            (utf8, "message/global", "message/global-headers"),
            // No UTF-8: what such a letter is nobody knows.
            (b"Subject: Gr\xfc\r\n\r\nhello\r\n", "message/rfc822", "text/rfc822-headers"),
        ] {
            let recipients = [about("b@out.test")];
            let mut notice = notice(Kind::Failed, &recipients, letter);
            let kind = |notice: &Notice<'_>| (parts(&notice.build())[2].0.clone(), parts(&notice.build())[2].1.clone());
            let encoding = if letter.is_ascii() { "7bit" } else { "8bit" };
            assert_eq!(kind(&notice), (whole.to_owned(), encoding.to_owned()));
            notice.full = Some(false);
            assert_eq!(kind(&notice), (head.to_owned(), encoding.to_owned()));
        }
    }

    /// What others wrote stands in its place, in one line, and leads nobody's eye astray.
    #[test]
    fn nothing_of_a_letter_or_a_reply_writes_a_field_of_a_notice() {
        let evil = "x\r\nX-Evil: 1\r\n\r\n--=00000000000000010000000000000002=--\r\n";
        let about = About {
            address: format!("b@{evil}"),
            original: Some((evil.into(), evil.into())),
            diagnostic: Some(format!("{evil}{}", "\u{fc}\0\x7f".repeat(1000))),
            remote: Some(evil.into()),
            ..about("b@out.test")
        };
        let letter = "Subject: =?utf-8?q?a=0D=0AX-Evil:_1=E2=80=AE=E2=80=A8b?=\r\nMessage-ID: <1@x> <2@x>\r\n\r\n";
        let recipients = [about];
        for kind in [Kind::Failed, Kind::Delayed, Kind::Relayed, Kind::Delivered, Kind::Expanded] {
            let mut notice = notice(kind, &recipients, letter.as_bytes());
            notice.envid = Some(evil);
            let bytes = notice.build();
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.lines().all(|line| line.len() <= 998 && !line.starts_with("X-Evil")), "{text}");
            assert!(!text.replace("\r\n", "").contains(|c: char| c.is_control() || is_unseen(c)), "{text}");
            assert_eq!(parts(&bytes).len(), 3, "{text}");
            assert!(text.contains("\u{201c}aX-Evil: 1b\u{201d}"), "{text}");
            assert_eq!(header::count(&bytes, "In-Reply-To") + header::count(&bytes, "References"), 0);
        }
        for id in ["<a>b>", "<>", "<1@x>\u{202e}>", "<a b>", "<a<b>", "a@b"] {
            let letter = format!("Message-ID: {id}\r\n\r\n");
            let bytes = notice(Kind::Failed, &recipients, letter.as_bytes()).build();
            assert_eq!(header::count(&bytes, "In-Reply-To"), 0, "{id}");
        }
    }

    #[test]
    fn addresses_beyond_ascii_have_their_own_type() {
        let recipients = [about("b\u{fc}@out.test")];
        let text = String::from_utf8(notice(Kind::Delayed, &recipients, b"no header").build()).unwrap();
        assert!(
            text.contains("message/global-delivery-status")
                && text.contains("Final-Recipient: utf-8; b\u{fc}@out.test")
        );
    }
}
