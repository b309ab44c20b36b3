use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::message::{Section, Structure};

/// Parses, checks M3 and M4, and hands the message out.
fn read(letter: &[u8]) -> Message<'_> {
    let message = parse(letter, &Limits::default()).expect("within the limits");
    assert_sound(letter, &message);
    message
}

fn assert_sound(letter: &[u8], message: &Message<'_>) {
    message.check().expect("places fit together");
    for (_, part) in message.body.walk() {
        let body = &letter[part.body_start as usize..part.end as usize];
        assert_eq!(part.lines, body.iter().filter(|b| **b == b'\n').count() as u64, "lines of {part:?}");
    }
    let stored = message.encode();
    let structure = Structure::decode(&stored).expect("M4");
    assert_eq!(structure.summary, message.summary);
    assert_eq!(structure.envelope().expect("M4"), message.envelope);
    assert_eq!(structure.body().expect("M4"), message.body);
}

/// As RFC 9051 7.5.2 shows it.
fn string(text: Option<&[u8]>) -> String {
    text.map_or("NIL".to_owned(), |text| format!("{:?}", String::from_utf8_lossy(text)))
}

fn shown_envelope(envelope: &Envelope<'_>) -> String {
    let list = |list: &[Address<'_>]| {
        let one = |a: &Address<'_>| {
            let fields = [&a.name, &a.adl, &a.mailbox, &a.host].map(|field| string(field.as_deref()));
            format!("({})", fields.join(" "))
        };
        if list.is_empty() { "NIL".to_owned() } else { format!("({})", list.iter().map(one).collect::<String>()) }
    };
    let text = |text: &Option<Text<'_>>| string(text.as_deref());
    let e = envelope;
    [
        text(&e.date),
        text(&e.subject),
        list(&e.from),
        list(e.sender()),
        list(e.reply_to()),
        list(&e.to),
        list(&e.cc),
        list(&e.bcc),
        text(&e.in_reply_to),
        text(&e.message_id),
    ]
    .join(" ")
}

fn shown_body(part: &Part<'_>) -> String {
    let mut out = String::from("(");
    if let Content::Multipart(children) = &part.content {
        out.extend(children.iter().map(shown_body));
        write!(out, " {})", string(Some(&part.subtype))).unwrap();
        return out;
    }
    let params: Vec<_> = part.params.iter().flat_map(|p| [string(Some(&p.name)), string(Some(&p.value))]).collect();
    let params = if params.is_empty() { "NIL".to_owned() } else { format!("({})", params.join(" ")) };
    let [kind, subtype, id, description, encoding] = [
        Some(&*part.kind),
        Some(&*part.subtype),
        part.id.as_deref(),
        part.description.as_deref(),
        Some(part.encoding()),
    ]
    .map(string);
    write!(out, "{kind} {subtype} {params} {id} {description} {encoding} {}", part.octets()).unwrap();
    if let Content::Message(inner) = &part.content {
        write!(out, " ({}) {}", shown_envelope(&inner.0), shown_body(&inner.1)).unwrap();
    }
    if part.is_kind("text") || matches!(part.content, Content::Message(_)) {
        write!(out, " {}", part.lines).unwrap();
    }
    out + ")"
}

/// `lines` lines, together of `octets` bytes.
fn filler(octets: usize, lines: usize) -> String {
    let last = octets - (lines - 1) * 4 - 2;
    "xx\r\n".repeat(lines - 1) + &"y".repeat(last) + "\r\n"
}

#[test]
fn the_envelope_and_body_of_rfc_9051_8() {
    let letter = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
        Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
        cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
        Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n\
        Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
        .to_owned()
        + &filler(3028, 92);
    let message = read(letter.as_bytes());
    let gray = r#"(("Terry Gray" NIL "gray" "cac.washington.edu"))"#;
    assert_eq!(
        shown_envelope(&message.envelope),
        format!(
            r#""Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" {gray} {gray} {gray} ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>""#
        )
    );
    assert_eq!(shown_body(&message.body), r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)"#);
    assert_eq!(message.summary.sent.unwrap().time.seconds(), 837_595_405);
    assert_eq!(message.summary.sent.unwrap().zone, -420);
    assert!(!message.summary.has_attachments);
}

#[test]
fn the_multipart_body_of_rfc_9051_7_5_2() {
    let letter = format!(
        "Content-Type: MULTIPART/MIXED; BOUNDARY=x\r\n\r\n--x\r\n\r\n{}\r\n--x\r\nContent-Type: TEXT/PLAIN; \
        CHARSET=US-ASCII;\r\n NAME=cc.diff\r\nContent-ID: <960723163407.20117h@cac.washington.edu>\r\n\
        Content-Description: Compiler\r\n  diff\r\nContent-Transfer-Encoding: BASE64\r\n\r\n{}\r\n--x--\r\n",
        filler(1152, 23),
        filler(4554, 73)
    );
    let message = read(letter.as_bytes());
    assert_eq!(
        shown_body(&message.body),
        r#"(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler  diff" "BASE64" 4554 73) "MIXED")"#
    );
    assert!(message.summary.has_attachments);
}

/// The tree RFC 9051 6.4.5.1 numbers its sections by; each leaf's text is its number.
const NUMBERED: &str = "Subject: all\nContent-Type: MULTIPART/MIXED; boundary=a\n\npreamble\n\
--a\nContent-Type: TEXT/PLAIN\n\n1\n\
--a\nContent-Type: APPLICATION/OCTET-STREAM\n\n2\n\
--a\nContent-Type: MESSAGE/RFC822\n\nSubject: three\nContent-Type: multipart/mixed; boundary=\"b b\"\n\n\
--b b\nX-Mime: 3.1\n\n3.1\n--b b\nContent-Type: APPLICATION/OCTET-STREAM\n\n3.2\n--b b--\n\
--a\nX-Mime: 4\nContent-Type: MULTIPART/MIXED; boundary=c\n\n\
--c\nX-Mime: 4.1\nContent-Type: IMAGE/GIF\n\n4.1\n\
--c\nContent-Type: MESSAGE/RFC822\n\nSubject: four two\nContent-Type: multipart/mixed; boundary=d\n\n\
--d\nContent-Type: TEXT/PLAIN\n\n4.2.1\n\
--d\nContent-Type: MULTIPART/ALTERNATIVE; boundary=e\n\n\
--e\nContent-Type: TEXT/PLAIN\n\n4.2.2.1\n--e\nContent-Type: TEXT/RICHTEXT\n\n4.2.2.2\n--e--\n--d--\n--c--\n--a--\nepilogue\n";

#[test]
fn sections_are_numbered_as_rfc_9051_6_4_5_1_says() {
    for letter in [NUMBERED.to_owned(), NUMBERED.replace('\n', "\r\n")] {
        let message = read(letter.as_bytes());
        let structure_bytes = message.encode();
        let structure = Structure::decode(&structure_bytes).unwrap();
        let get = |path: &[u32], section: Section| {
            let range = message.body.section(path, section);
            assert_eq!(structure.section(path, section).unwrap(), range);
            range.map(|range| letter[range.start as usize..range.end as usize].replace("\r\n", "\n"))
        };
        for leaf in ["1", "2", "3.1", "3.2", "4.1", "4.2.1", "4.2.2.1", "4.2.2.2"] {
            let path: Vec<u32> = leaf.split('.').map(|n| n.parse().unwrap()).collect();
            assert_eq!(get(&path, Section::Whole).as_deref(), Some(leaf));
            assert_eq!(get(&path, Section::Header), None);
            assert_eq!(get(&path, Section::Text), None);
            let deeper = [path, vec![1]].concat();
            assert_eq!(get(&deeper, Section::Whole), None, "{leaf}.1");
        }
        assert_eq!(get(&[], Section::Whole).as_deref(), Some(NUMBERED));
        let header = "Subject: all\nContent-Type: MULTIPART/MIXED; boundary=a\n\n";
        assert_eq!(get(&[], Section::Header).as_deref(), Some(header));
        assert_eq!(get(&[], Section::Text).as_deref(), NUMBERED.strip_prefix(header));
        assert_eq!(get(&[], Section::Mime), None);
        assert_eq!(get(&[3, 1], Section::Mime).as_deref(), Some("X-Mime: 3.1\n\n"));
        assert_eq!(get(&[4, 1], Section::Mime).as_deref(), Some("X-Mime: 4.1\nContent-Type: IMAGE/GIF\n\n"));
        let three = "Subject: three\nContent-Type: multipart/mixed; boundary=\"b b\"\n\n";
        assert_eq!(get(&[3], Section::Header).as_deref(), Some(three));
        assert_eq!(get(&[3], Section::Mime).as_deref(), Some("Content-Type: MESSAGE/RFC822\n\n"));
        let whole = get(&[3], Section::Whole).unwrap();
        assert_eq!(get(&[3], Section::Text).as_deref(), whole.strip_prefix(three));
        assert!(whole.ends_with("--b b--"));
        assert!(get(&[4, 2], Section::Header).unwrap().starts_with("Subject: four two\n"));
        assert!(get(&[4], Section::Whole).unwrap().starts_with("--c\n"));
        for missing in [&[0][..], &[5], &[3, 3], &[3, 0], &[4, 3], &[u32::MAX], &[4, 2, 3]] {
            assert_eq!(get(missing, Section::Whole), None, "{missing:?}");
        }
    }
}

#[test]
fn a_message_that_is_no_multipart_has_one_part() {
    let letter = b"Subject: x\r\n\r\nbody";
    let message = read(letter);
    assert_eq!(message.body.section(&[1], Section::Whole), Some(14..18));
    assert_eq!(message.body.section(&[1], Section::Mime), Some(0..14));
    assert_eq!(message.body.section(&[2], Section::Whole), None);
    assert_eq!(message.body.section(&[1, 1], Section::Whole), None);
    // A message within a message, both without multiparts: 1 is the inner one, 1.1 its text.
    let letter = b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ninner";
    let message = read(letter);
    assert_eq!(message.body.section(&[1], Section::Header), Some(32..46));
    assert_eq!(message.body.section(&[1, 1], Section::Whole), Some(46..51));
    assert_eq!(
        shown_body(&message.body),
        r#"("message" "rfc822" NIL NIL NIL "7BIT" 19 (NIL "y" NIL NIL NIL NIL NIL NIL NIL NIL) ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 5 0) 2)"#
    );
}

#[test]
fn broken_messages_yield_a_structure_anyway() {
    let plain = |octets: usize, lines: usize| {
        format!(r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" {octets} {lines})"#)
    };
    for (letter, expected) in [
        (&b""[..], plain(0, 0)),
        (b"\r\n", plain(0, 0)),
        (b"no header at all\r\n\r\nbody", plain(24, 2)),
        (b"Subject: only a header", plain(0, 0)),
        (b"Subject: x\r\nContent-Type: nonsense\r\n\r\nbody", plain(4, 0)),
        (b"\xff\xfe\0\x80", plain(4, 0)),
        // No boundary parameter, an empty one, one that never comes: the body is the one part.
        (b"Content-Type: multipart/mixed\r\n\r\n--x\r\n", format!("({} \"mixed\")", plain(5, 1))),
        (b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n", format!("({} \"mixed\")", plain(4, 1))),
        (b"Content-Type: multipart/mixed; boundary=z\r\n\r\nab\r\n", format!("({} \"mixed\")", plain(4, 1))),
        (b"Content-Type: multipart/mixed; boundary=z", format!("({} \"mixed\")", plain(0, 0))),
        // No end: the last part goes on to the end of the letter.
        (b"Content-Type: multipart/mixed; boundary=z\n\n--z\n\na\n--z\n\nb\nc\n", format!("({}{} \"mixed\")", plain(1, 0), plain(4, 2))),
        // A part cut short in its header, an empty one, and one right behind another.
        (b"Content-Type: multipart/x; boundary=z\n\n--z\nSubject: a\n--z\n--z\n\n--z--\n", format!("({}{}{} \"x\")", plain(0, 0), plain(0, 0), plain(0, 0))),
        // The header of a message within is cut short: its last line end is a line of the part it is in.
        (
            b"Content-Type: multipart/a; boundary=o\n\n--o\nContent-Type: message/rfc822\n\nSubject: y\n--o--\n",
            format!("((\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 11 (NIL \"y\" NIL NIL NIL NIL NIL NIL NIL NIL) {} 1) \"a\")", plain(0, 0)),
        ),
        // The inner multipart is not closed: the outer boundary closes it.
        (b"Content-Type: multipart/a; boundary=o\n\n--o\nContent-Type: multipart/b; boundary=i\n\n--i\n\nx\n--o\n\ny\n--o--\n", format!("(({} \"b\"){} \"a\")", plain(1, 0), plain(1, 0))),
        // The same boundary within: the innermost is meant.
        (b"Content-Type: multipart/a; boundary=o\n\n--o\nContent-Type: multipart/b; boundary=o\n\n--o\n\nx\n--o--\n--o--\n", format!("(({} \"b\") \"a\")", plain(1, 0))),
        // One boundary begins with the other.
        (b"Content-Type: multipart/a; boundary=o\n\n--o\nContent-Type: multipart/b; boundary=oo\n\n--oo\n\nx\n--oo\n\ny\n--oo--\n--o--\n", format!("(({}{} \"b\") \"a\")", plain(1, 0), plain(1, 0))),
        // Behind its closing delimiter a multipart has no more parts.
        (b"Content-Type: multipart/a; boundary=o\n\n--o\n\nx\n--o--\n\n--o\n\ny\n", format!("({} \"a\")", plain(1, 0))),
        (b"Content-Type: multipart/digest; boundary=o\n\n--o\n\nSubject: s\n\nt\n--o--\n", format!("((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 13 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) {} 2) \"digest\")", plain(1, 0))),
        (b"Content-Type: message/rfc822\n\n", format!("(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) {} 0)", plain(0, 0))),
    ] {
        assert_eq!(shown_body(&read(letter).body), expected, "{}", String::from_utf8_lossy(letter));
    }
}

#[test]
fn values_are_unfolded_and_else_as_they_came() {
    let letter =
        b"Subject: =?utf-8?q?a?=\r\n  =?utf-8?q?b?=\r\nDate:\r\nFROM: Gr\xfc\xdfe <a@b>\r\nTo: a@b\r\nTO: c@d\r\n\
        From: second@x\r\nSender: \r\nIn-Reply-To:  <x@y>\r\n\r\n";
    let message = read(letter);
    let envelope = &message.envelope;
    assert_eq!(envelope.subject.as_deref(), Some(&b"=?utf-8?q?a?=  =?utf-8?q?b?="[..]));
    assert_eq!(envelope.date.as_deref(), Some(&b""[..]));
    assert_eq!(envelope.from.len(), 1);
    assert_eq!(envelope.from[0].name.as_deref(), Some(&b"Gr\xfc\xdfe"[..]));
    assert_eq!(envelope.to.len(), 2);
    assert!(envelope.own_sender.is_empty() && envelope.sender() == envelope.from);
    assert_eq!(message.summary.sent, None);
}

#[test]
fn dispositions_languages_and_the_rest() {
    let message = read(
        b"Content-Type: Application/PDF; name*0=\"a b\"; name*1=c\r\nContent-Disposition: attachment; filename=x.pdf\r\n\
        Content-Language: en, de\r\nContent-Location: http://x/\r\nContent-MD5: Q2hlY2s=\r\n\
        Content-Transfer-Encoding: Base64 (really)\r\n\r\n",
    );
    let part = &message.body;
    assert_eq!((&*part.kind, &*part.subtype), (&b"Application"[..], &b"PDF"[..]));
    assert_eq!(part.param("NAME*1"), Some(&b"c"[..]));
    assert_eq!(part.disposition.as_ref().map(|d| &*d.kind), Some(&b"attachment"[..]));
    assert_eq!(part.language, [&b"en"[..], b"de"]);
    assert_eq!(part.location.as_deref(), Some(&b"http://x/"[..]));
    assert_eq!(part.md5.as_deref(), Some(&b"Q2hlY2s="[..]));
    assert_eq!(part.encoding(), b"Base64");
}

#[test]
fn attachments_are_what_a_reader_would_call_so() {
    for (header, expected) in [
        ("Content-Type: text/plain", false),
        ("Content-Type: text/html; name=x.html", true),
        ("Content-Type: text/plain; name=x\r\nContent-Disposition: inline", false),
        ("Content-Type: text/calendar", false),
        ("Content-Type: text/plain\r\nContent-Disposition: attachment", true),
        ("Content-Type: text/plain\r\nContent-Disposition: x; filename*=utf-8''a", true),
        ("Content-Type: application/pdf", true),
        ("Content-Type: image/png", true),
        ("Content-Type: image/png\r\nContent-Disposition: inline", false),
        ("Content-Type: application/pgp-signature; name=x", false),
        ("Content-Type: message/delivery-status", false),
        ("Content-Type: message/rfc822", true),
    ] {
        let letter = format!(
            "Content-Type: multipart/mixed; boundary=z\r\n\r\n--z\r\n\r\nx\r\n--z\r\n{header}\r\n\r\n--z--\r\n"
        );
        assert_eq!(read(letter.as_bytes()).summary.has_attachments, expected, "{header}");
    }
    let related = "Content-Type: multipart/related; boundary=z\r\n\r\n--z\r\n\r\nx\r\n--z\r\nContent-Type: image/png\r\n\r\n--z--\r\n";
    assert!(!read(related.as_bytes()).summary.has_attachments);
}

#[test]
fn what_goes_past_a_limit_is_refused_by_name() {
    let parts = |n: usize| {
        let mut letter = b"Content-Type: multipart/mixed; boundary=z\r\n\r\n".to_vec();
        letter.extend(b"--z\r\n\r\nx\r\n".repeat(n));
        letter
    };
    let refused = |letter: &[u8]| parse(letter, &Limits::default()).err();
    assert_eq!(read(&parts(9_999)).body.walk().len(), 10_000);
    assert_eq!(refused(&parts(10_000)), Some(Refused::TooManyParts));

    let multiparts = |n: usize| {
        let level = |n: usize| format!("Content-Type: multipart/mixed; boundary=b{n:05}\n\n--b{n:05}\n");
        (0..n).map(level).collect::<String>()
    };
    assert_eq!(refused(multiparts(99).as_bytes()), None);
    assert_eq!(refused(multiparts(100).as_bytes()), Some(Refused::TooDeep));
    assert_eq!(refused(multiparts(1_000).as_bytes()), Some(Refused::TooDeep));
    let messages = |n: usize| "Content-Type: message/rfc822\n\n".repeat(n);
    assert_eq!(read(messages(99).as_bytes()).body.walk().len(), 100);
    assert_eq!(refused(messages(1_000).as_bytes()), Some(Refused::TooDeep));

    let header = |n: usize| b"X: yyyyyyyyyyyy\n".repeat(n);
    assert_eq!(refused(&header(1 << 16)), None);
    assert_eq!(refused(&header((1 << 16) + 1)), Some(Refused::HeaderTooLarge));
    assert_eq!(refused(&header(50 << 16)), Some(Refused::HeaderTooLarge));
    let one_line = [b"X: ".to_vec(), vec![b'y'; 50 << 20]].concat();
    assert_eq!(refused(&one_line), Some(Refused::HeaderTooLarge));
    // Many part headers, each within the limit.
    let part = [b"--z\nX: ".to_vec(), vec![b'y'; 1 << 19], b"\n\n".to_vec()].concat();
    let many = [b"Content-Type: multipart/mixed; boundary=z\n\n".to_vec(), part.repeat(40)].concat();
    assert_eq!(refused(&many), Some(Refused::HeaderTooLarge));
}

#[test]
fn what_is_kept_of_a_stranger_is_bounded() {
    let letter = [b"To: ".to_vec(), b"a,".repeat(500_000), b"\r\n\r\n".to_vec()].concat();
    let message = parse(&letter, &Limits::default()).unwrap();
    assert_eq!(message.envelope.to.len(), MAX_ADDRESSES);
    assert!(message.encode().len() < letter.len());
}

/// Input on which a careless reader takes quadratic time: the test would not end.
#[test]
fn no_input_takes_long() {
    let nested = |n: usize| {
        let level = |n: usize| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n");
        (0..n).map(level).collect::<String>().into_bytes()
    };
    for piece in [&b"--\n"[..], b"--b", b"\n", b" \n", b"--b1\n--b2\n", b"a:\n"] {
        let pieces = piece.repeat(300_000 / piece.len());
        let _ = parse(&[nested(90), pieces.clone()].concat(), &Limits::default());
        let _ = parse(&pieces, &Limits::default());
    }
    for before in [&b"To: "[..], b"Content-Type: text/plain;", b"Subject: ", b"Date: "] {
        for piece in ["(", "\"", "<", "@", "\\", " ", " a", "a=", ";a =", ":", "[", "=?a?q?", ",", "<@:", "a:;"] {
            read(&[before, piece.repeat(100_000 / piece.len()).as_bytes()].concat());
        }
    }
}

#[test]
fn rows_of_other_versions_can_be_read() {
    // Version 1 as it was first written; these bytes never change.
    let letter = b"Date: Wed, 17 Jul 1996 02:23:25 -0700\r\nFrom: A <a@b>\r\nContent-Type: text/html\r\n\r\nx\r\n";
    assert_eq!(read(letter).encode(), FIRST_ROW);
    let structure = Structure::decode(FIRST_ROW).unwrap();
    assert_eq!(structure.body().unwrap().octets(), 3);
    // A later one with more of everything: version 9, a fifth element, unknown numbers in each map.
    let later = b"\x85\x09\xbf\x00\x05\x01\x02\x18\x63\x61x\xff\x47\xbf\x18\x63\x82\x01\x02\xff\x4c\xbf\x00\x00\x01\x02\x02\x03\x03\x01\x14\xf6\xff\xf6";
    let structure = Structure::decode(&later[..]).unwrap();
    assert_eq!((structure.summary.size, structure.summary.header_bytes), (5, 2));
    assert_eq!(structure.envelope().unwrap(), Envelope::default());
    assert_eq!(structure.body().unwrap().body_range(), 2..5);
}

const FIRST_ROW: &[u8] = b"\x84\x01\xbf\x00\x18T\x01\x18Q\x02\x82\x1b\x00\x00\x00\xc3\x04\x93\x9a\xc89\x01\xa3\xff\
    X-\
    \xbf\x00X\x1fWed, 17 Jul 1996 02:23:25 -0700\
    \x02\x81\x83AaAbAA\xff\
    W\xbf\x00\x00\x01\x18Q\x02\x03\x03\x01\x04\x82DtextDhtml\xff";

#[test]
fn damaged_rows_are_an_error_and_nothing_worse() {
    let row = read(NUMBERED.as_bytes()).encode();
    for length in 0..row.len() {
        let whole = Structure::decode(&row[..length]).and_then(|s| s.envelope().and(s.body()).map(drop));
        assert!(whole.is_err(), "{length}");
    }
    // Parts within parts without end, and lengths that lie.
    let deep = [b"\xa1\x0c\x81".repeat(5_000), vec![0xa0]].concat();
    let head = |body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&b"\x84\x01\xa0\x41\xa0\x59"[..], &length, body].concat()
    };
    assert!(Structure::decode(&head(&deep)).unwrap().body().is_err());
    assert!(Structure::decode(&head(b"\xa1\x0c\x9b\xff\xff\xff\xff\xff\xff\xff\xff")).unwrap().body().is_err());
}

proptest! {
    #[test]
    fn random_bytes_break_nothing(letter: Vec<u8>) {
        read(&letter);
    }

    #[test]
    fn mutated_messages_break_nothing(
        cuts in proptest::collection::vec((0usize..2_000, 0usize..40, "(\n|--a|--c\n|: |;|\"|<|@|\\\\|Content-Type: message/rfc822\n\n|\r|\u{0}|é|boundary=e){0,3}"), 0..12)
    ) {
        let mut letter = NUMBERED.as_bytes().to_vec();
        for (at, length, put) in cuts {
            let at = at % letter.len().max(1);
            let end = (at + length).min(letter.len());
            letter.splice(at.min(end)..end, put.into_bytes());
        }
        read(&letter);
    }

    #[test]
    fn random_rows_break_nothing(flips in proptest::collection::vec((0usize..2_000, any::<u8>()), 0..8), noise: Vec<u8>) {
        let mut row = read(NUMBERED.as_bytes()).encode();
        for (at, byte) in flips {
            let at = at % row.len();
            row[at] = byte;
        }
        for bytes in [&row, &noise] {
            if let Ok(structure) = Structure::decode(bytes) {
                let _ = structure.envelope();
                if let Ok(body) = structure.body() {
                    let _ = (body.check(), body.section(&[4, 2, 2, 1], Section::Whole));
                }
            }
        }
    }
}
