//! A question and its answer on the wire (RFC 1035 4), as far as [`Data`] goes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Data, Found, Kind};

const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
/// EDNS (RFC 6891).
const OPT: u16 = 41;
pub(super) const IN: u16 = 1;
pub(super) const HEADER: usize = 12;
/// The largest answer over UDP that passes everywhere whole.
pub(super) const UDP_ANSWER: u16 = 1232;
/// Records taken from one message.
const RECORDS: u16 = 200;

/// As a number on the wire.
pub(super) fn number_of(kind: Kind) -> u16 {
    match kind {
        Kind::A => 1,
        Kind::Ns => 2,
        Kind::Cname => CNAME,
        Kind::Ptr => 12,
        Kind::Mx => 15,
        Kind::Txt => 16,
        Kind::Aaaa => 28,
        Kind::Srv => 33,
        Kind::Tlsa => 52,
        Kind::Caa => 257,
    }
}

/// What one message answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub id: u16,
    /// RCODE; 0 is well, 3 is "no such name".
    pub code: u8,
    /// More was to be said than went into it.
    pub truncated: bool,
    /// AA: the server keeps the name itself, and did not hear it from others.
    pub own: bool,
    /// Name and type; `None` if the server did not repeat it.
    pub question: Option<(String, u16)>,
    pub answers: Vec<Found>,
    /// The bytes behind each of them, names in them compressed: texts have to be named to the byte (RFC 2136 2.5.4).
    pub raw: Vec<Vec<u8>>,
    /// Whether the answer has a SOA record: the name is a zone's.
    pub is_zone: bool,
    /// RFC 2308 5.
    pub negative_ttl: Option<u32>,
}

impl Response {
    /// There, or said not to be there.
    pub fn is_understood(&self) -> bool {
        matches!(self.code, 0 | 3)
    }

    /// RCODE in words (RFC 1035 4.1.1).
    pub fn code_words(&self) -> String {
        match self.code {
            1 => "it does not understand the question".to_owned(),
            2 => "it has a fault of its own (SERVFAIL)".to_owned(),
            4 => "it does not know how to answer (NOTIMP)".to_owned(),
            5 => "it refuses to answer (REFUSED): it does not keep this domain".to_owned(),
            code => format!("it answers with the error {code}"),
        }
    }
}

/// A question. `None`: the name is not one.
pub(super) fn question(id: u16, name: &str, kind: u16, recursion: bool) -> Option<Vec<u8>> {
    let flags: u16 = if recursion { 0x0100 } else { 0 };
    let mut out = Vec::with_capacity(64);
    [id, flags, 1, 0, 0, 1].iter().for_each(|word| out.extend(word.to_be_bytes()));
    out.extend(wire_name(name)?);
    [kind, IN].iter().for_each(|word| out.extend(word.to_be_bytes()));
    // The root, OPT, how much we take, then nothing more.
    out.push(0);
    [OPT, UDP_ANSWER, 0, 0, 0].iter().for_each(|word| out.extend(word.to_be_bytes()));
    Some(out)
}

/// A name as [`name`] gives it, on the wire; empty is the root. `None`: it is none.
pub(super) fn wire_name(name: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|_| !name.is_empty()) {
        let mut bytes = Vec::with_capacity(label.len());
        let mut rest = label.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if *byte != b'\\' {
                bytes.push(byte.to_ascii_lowercase());
                continue;
            }
            let (digits, after) = after.split_at_checked(3)?;
            bytes.push(std::str::from_utf8(digits).ok()?.parse().ok()?);
            rest = after;
        }
        out.push(u8::try_from(bytes.len()).ok().filter(|length| (1..=63).contains(length))?);
        out.extend(bytes);
    }
    out.push(0);
    (out.len() <= 255).then_some(out)
}

/// The data of a record on the wire, without compression. `None`: a name in it is none, or a text too long.
pub(super) fn wire_data(data: &Data) -> Option<Vec<u8>> {
    Some(match data {
        Data::A(address) => address.octets().to_vec(),
        Data::Aaaa(address) => address.octets().to_vec(),
        Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => wire_name(name)?,
        Data::Mx { priority, host } => [&priority.to_be_bytes()[..], &wire_name(host)?].concat(),
        Data::Txt(text) if text.is_empty() => vec![0],
        Data::Txt(text) => {
            // As everybody splits it: at 255 bytes (RFC 1035 3.3).
            let string = |part: &[u8]| [&[u8::try_from(part.len()).unwrap_or(u8::MAX)], part].concat();
            text.as_bytes().chunks(255).flat_map(string).collect()
        }
        Data::Srv { priority, weight, port, target } => {
            [&priority.to_be_bytes()[..], &weight.to_be_bytes(), &port.to_be_bytes(), &wire_name(target)?].concat()
        }
        Data::Tlsa { usage, selector, matching, data } => [&[*usage, *selector, *matching][..], data].concat(),
        Data::Caa { flags, tag, value } => {
            [&[*flags, u8::try_from(tag.len()).ok()?][..], tag.as_bytes(), value.as_bytes()].concat()
        }
    })
    .filter(|bytes| u16::try_from(bytes.len()).is_ok())
}

/// Reads a response. `None`: it is none, or broken.
pub(super) fn read(bytes: &[u8]) -> Option<Response> {
    let flags = u16_at(bytes, 2)?;
    // QR, and the opcode of a plain question.
    if flags & 0xf800 != 0x8000 {
        return None;
    }
    let mut out = Response {
        id: u16_at(bytes, 0)?,
        code: (flags & 0xf) as u8,
        truncated: flags & 0x0200 != 0,
        own: flags & 0x0400 != 0,
        ..Response::default()
    };
    let (questions, answers, authorities) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?, u16_at(bytes, 8)?);
    if questions > 1 {
        return None;
    }
    let mut at = HEADER;
    if questions == 1 {
        let (name, after) = name(bytes, at)?;
        out.question = Some((name, u16_at(bytes, after)?));
        at = after + 4;
    }
    // What is cut short is not read: it is asked for again.
    if out.truncated {
        return Some(out);
    }
    for n in 0..u32::from(answers.min(RECORDS)) + u32::from(authorities.min(RECORDS)) {
        let record = record(bytes, at)?;
        at = record.end;
        if n < u32::from(answers) {
            out.is_zone |= record.kind == SOA;
            if let Some(data) = data(bytes, &record) {
                out.raw.push(bytes.get(record.start..record.end)?.to_vec());
                out.answers.push(Found { name: record.name, ttl: record.ttl, data });
            }
        } else if record.kind == SOA {
            // MINIMUM is the last of its numbers.
            let minimum =
                record.end.checked_sub(4).filter(|at| *at >= record.start).and_then(|at| u32_at(bytes, at))?;
            out.negative_ttl = Some(minimum.min(record.ttl));
        }
    }
    Some(out)
}

pub(super) struct Raw {
    pub name: String,
    pub kind: u16,
    ttl: u32,
    /// Where its data lies.
    pub start: usize,
    pub end: usize,
}

pub(super) fn record(bytes: &[u8], at: usize) -> Option<Raw> {
    let (name, at) = name(bytes, at)?;
    let (kind, class, ttl) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?, u32_at(bytes, at + 4)?);
    let start = at + 10;
    let end = start + usize::from(u16_at(bytes, at + 8)?);
    bytes.get(start..end)?;
    // Of another class it is nothing we know. RFC 2181 8: a TTL with the top bit is 0.
    let kind = if class == IN { kind } else { 0 };
    Some(Raw { name, kind, ttl: if ttl > i32::MAX as u32 { 0 } else { ttl }, start, end })
}

/// `None`: of a type that mail does not need, or broken.
fn data(bytes: &[u8], record: &Raw) -> Option<Data> {
    let (start, end) = (record.start, record.end);
    let own = bytes.get(start..end)?;
    // A name that fills the rest of the record.
    let name_at = |at: usize| name(bytes, at).filter(|(_, after)| *after == end).map(|(name, _)| name);
    Some(match record.kind {
        1 => Data::A(Ipv4Addr::from(<[u8; 4]>::try_from(own).ok()?)),
        2 => Data::Ns(name_at(start)?),
        CNAME => Data::Cname(name_at(start)?),
        12 => Data::Ptr(name_at(start)?),
        15 => Data::Mx { priority: u16_at(own, 0)?, host: name_at(start + 2)? },
        16 => Data::Txt(strings(own)?),
        28 => Data::Aaaa(Ipv6Addr::from(<[u8; 16]>::try_from(own).ok()?)),
        33 => Data::Srv {
            priority: u16_at(own, 0)?,
            weight: u16_at(own, 2)?,
            port: u16_at(own, 4)?,
            target: name_at(start + 6)?,
        },
        52 => match own {
            [usage, selector, matching, data @ ..] => {
                Data::Tlsa { usage: *usage, selector: *selector, matching: *matching, data: data.to_vec() }
            }
            _ => return None,
        },
        // RFC 8659 4.1
        257 => {
            let (flags, length) = (*own.first()?, usize::from(*own.get(1)?));
            let (tag, value) = (own.get(2..2 + length)?, own.get(2 + length..)?);
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            Data::Caa { flags, tag: text(tag), value: text(value) }
        }
        _ => return None,
    })
}

/// The strings of a text, one after another.
fn strings(mut rest: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (string, after) = after.split_at_checked(usize::from(*length))?;
        out.extend(string);
        rest = after;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A name, perhaps compressed, in lower case, without the dot at its end and with what is not plain written as in a zone
/// file (`\046`); and where the message goes on after it.
pub(super) fn name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut out = String::new();
    let (mut at, mut after, mut wire) = (start, None, 1);
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => break,
            1..=63 => {
                wire += 1 + length;
                if wire > 255 {
                    return None;
                }
                if !out.is_empty() {
                    out.push('.');
                }
                for byte in bytes.get(at + 1..at + 1 + length)? {
                    match byte {
                        b'.' | b'\\' | 0..=b' ' | 127.. => out.push_str(&format!("\\{byte:03}")),
                        _ => out.push(char::from(byte.to_ascii_lowercase())),
                    }
                }
                at += 1 + length;
            }
            // RFC 1035 4.1.4: to a *prior* occurrence, so this comes to an end.
            0xc0.. => {
                let to = usize::from(u16_at(bytes, at)? & 0x3fff);
                after.get_or_insert(at + 2);
                if to >= at {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
    Some((out, after.unwrap_or(at + 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A response to `example.test MX`, its answer compressed, with a SOA in the authority section.
    fn response() -> Vec<u8> {
        let asked = question(7, "example.test", 15, false).unwrap();
        let mut out = vec![0, 7, 0x84, 0, 0, 1, 0, 1, 0, 1, 0, 0];
        out.extend(&asked[HEADER..asked.len() - 11]);
        out.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 9, 0, 10, 4, b'M', b'a', b'.', b'l', 0xc0, 12]);
        out.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 1, 0, 0, 24, 0xc0, 12, 0xc0, 12]);
        out.extend([0; 16]);
        out.extend(90_u32.to_be_bytes());
        out
    }

    #[test]
    fn a_response_is_read_with_its_compressed_names() {
        let read = read(&response()).unwrap();
        assert_eq!(read.question, Some(("example.test".into(), 15)));
        let data = Data::Mx { priority: 10, host: "ma\\046l.example.test".into() };
        assert_eq!(read.answers, [Found { name: "example.test".into(), ttl: 60, data }]);
        assert_eq!((read.id, read.code, read.is_zone, read.negative_ttl), (7, 0, false, Some(90)));
    }

    #[test]
    fn a_question_is_no_response_and_a_name_that_is_none_is_not_asked_for() {
        assert_eq!(read(&question(7, "example.test", 15, true).unwrap()), None);
        for name in ["a..b", &"x".repeat(64), &["abcdefg"; 40].join(".")] {
            assert_eq!(question(7, name, 1, true), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_points_at_itself_or_ahead_is_refused() {
        for to in [12, 13, 200] {
            let loops = [&[0, 7, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, to, 0, 15, 0, 1], &[0; 200][..]].concat();
            assert_eq!(read(&loops), None);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for data in [
            Data::A(Ipv4Addr::new(192, 0, 2, 1)),
            Data::Aaaa(Ipv6Addr::LOCALHOST),
            Data::Cname("a\\046b.example.test".into()),
            Data::Mx { priority: 10, host: "mail.example.test".into() },
            Data::Txt("x".repeat(600)),
            Data::Txt(String::new()),
            Data::Srv { priority: 0, weight: 0, port: 0, target: String::new() },
            Data::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] },
            Data::Caa { flags: 0, tag: "issue".into(), value: "ca.test; accounturi=https://ca.test/1".into() },
        ] {
            let (name, wire) = (wire_name("a.test").unwrap(), wire_data(&data).unwrap());
            let length = u16::try_from(wire.len()).unwrap().to_be_bytes();
            let mut message = [&[0, 7, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &name].concat();
            message.extend(number_of(data.kind()).to_be_bytes());
            message.extend([&[0, 1, 0, 0, 0, 60][..], &length, &wire].concat());
            let read = read(&message).unwrap();
            assert_eq!((&read.answers[0].data, &read.raw[0], read.own), (&data, &wire, true));
        }
    }

    proptest! {
        #[test]
        fn broken_messages_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..90_usize, byte: u8) {
            read(&bytes);
            let mut near = response();
            if let Some(one) = near.get_mut(at) {
                *one = byte;
            }
            for end in 0..near.len() {
                read(&near[..end]);
            }
            read(&near);
        }
    }
}
