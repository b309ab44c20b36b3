//! Multicast DNS on the wire (RFC 1035 4, RFC 6762 18): what of a message concerns a host name, and the messages we send.

use std::net::IpAddr;

use super::Name;

pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
const NSEC: u16 = 47;
const ANY: u16 = 255;
const IN: u16 = 1;
/// RFC 6762 5.4 and 10.2: in a question "answer me alone", in a record "forget what you knew under this name".
const TOP_BIT: u16 = 0x8000;
/// RFC 6762 10: records that contain a host name or its address live two minutes.
pub(super) const TTL_S: u32 = 120;
/// RFC 6762 6.7: what an ordinary resolver may remember, since it hears of no change.
const LEGACY_TTL_S: u32 = 10;
const HEADER: usize = 12;
/// More of either in one message is nobody's question.
const MOST_QUESTIONS: u16 = 64;
const MOST_RECORDS: u16 = 256;

/// What one message says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub id: u16,
    pub response: bool,
    pub questions: Vec<Question>,
    pub answers: Vec<Address>,
    pub authorities: Vec<Address>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub name: Name,
    pub kind: u16,
    /// The peer would rather be answered alone (QU).
    pub alone: bool,
}

impl Question {
    /// Whether the kind asks for an address of that kind.
    pub fn wants(&self, kind: u16) -> bool {
        self.kind == kind || self.kind == ANY
    }
}

/// An A or AAAA record; the others do not concern us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub name: Name,
    pub ttl_s: u32,
    pub address: IpAddr,
}

/// Reads a message, or nothing when it is none. Questions of other classes than IN and records of other types than A and
/// AAAA are left out.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let id = number(bytes, 0)?;
    let flags = number(bytes, 2)?;
    // RFC 6762 18.3, 18.11: other opcodes and error codes are ignored.
    if flags & 0x780f != 0 {
        return None;
    }
    let (questions, answers, authorities) = (number(bytes, 4)?, number(bytes, 6)?, number(bytes, 8)?);
    if questions > MOST_QUESTIONS || answers.max(authorities) > MOST_RECORDS {
        return None;
    }
    let mut message = Message { id, response: flags & 0x8000 != 0, ..Message::default() };
    let mut at = HEADER;
    for _ in 0..questions {
        let (name, after) = name(bytes, at)?;
        let (kind, class) = (number(bytes, after)?, number(bytes, after + 2)?);
        at = after + 4;
        if class & !TOP_BIT == IN || class & !TOP_BIT == ANY {
            message.questions.push(Question { name, kind, alone: class & TOP_BIT != 0 });
        }
    }
    for (count, list) in [(answers, &mut message.answers), (authorities, &mut message.authorities)] {
        for _ in 0..count {
            let (record, after) = record(bytes, at)?;
            at = after;
            list.extend(record);
        }
    }
    Some(message)
}

fn record(bytes: &[u8], at: usize) -> Option<(Option<Address>, usize)> {
    let (name, at) = name(bytes, at)?;
    let (kind, class) = (number(bytes, at)?, number(bytes, at + 2)?);
    let ttl_s = u32::from(number(bytes, at + 4)?) << 16 | u32::from(number(bytes, at + 6)?);
    let start = at + 10;
    let end = start + usize::from(number(bytes, at + 8)?);
    let data = bytes.get(start..end)?;
    let address = match kind {
        _ if class & !TOP_BIT != IN => None,
        A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    };
    Some((address.map(|address| Address { name, ttl_s, address }), end))
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A name, perhaps compressed, and where the message goes on after it.
fn name(bytes: &[u8], start: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::new();
    let mut at = start;
    let mut after = None;
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => break,
            1..=63 => {
                let end = at + 1 + usize::from(length);
                wire.push(length);
                wire.extend(bytes.get(at + 1..end)?.iter().map(u8::to_ascii_lowercase));
                if wire.len() > 254 {
                    return None;
                }
                at = end;
            }
            // RFC 1035 4.1.4: to a *prior* occurrence, so this comes to an end.
            0xc0.. => {
                let to = usize::from(number(bytes, at)? & 0x3fff);
                after.get_or_insert(at + 2);
                if to >= at {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
    wire.push(0);
    Some((Name(wire), after.unwrap_or(at + 1)))
}

/// Who gets an answer, which decides its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// By multicast, or alone to a peer that speaks multicast DNS.
    Multicast,
    /// RFC 6762 6.7: to an ordinary resolver, with its id and its question.
    Legacy { id: u16, kind: u16 },
}

/// An answer with `addresses`, `more` beside them, and, when `none_else`, that there is nothing but these
/// (RFC 6762 6.1: a peer that asks for what we do not have need not wait).
pub(super) fn answer(name: &Name, form: Form, addresses: &[IpAddr], more: &[IpAddr], none_else: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let (id, questions) = match form {
        Form::Multicast => (0, 0),
        Form::Legacy { id, .. } => (id, 1),
    };
    let extra = more.len() + usize::from(none_else);
    head(&mut out, id, 0x8400, [questions, addresses.len(), 0, extra]);
    if let Form::Legacy { kind, .. } = form {
        question(&mut out, name, kind, 0);
    }
    let (flush, ttl_s) = match form {
        Form::Multicast => (TOP_BIT, TTL_S),
        Form::Legacy { .. } => (0, LEGACY_TTL_S),
    };
    for one in addresses.iter().chain(more) {
        put(&mut out, name, *one, IN | flush, ttl_s);
    }
    if none_else {
        let all = || addresses.iter().chain(more);
        nsec(&mut out, name, flush, ttl_s, all().any(IpAddr::is_ipv4), all().any(IpAddr::is_ipv6));
    }
    out
}

/// RFC 6762 8.1: "does anybody have this name? I would like it, with these addresses".
pub(super) fn probe(name: &Name, addresses: &[IpAddr]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    head(&mut out, 0, 0, [1, 0, addresses.len(), 0]);
    // Not QU: other programs on this machine may hold the port too, and would get our answer.
    question(&mut out, name, ANY, 0);
    for one in addresses {
        put(&mut out, name, *one, IN, TTL_S);
    }
    out
}

fn head(out: &mut Vec<u8>, id: u16, flags: u16, counts: [usize; 4]) {
    out.extend(id.to_be_bytes());
    out.extend(flags.to_be_bytes());
    for count in counts {
        out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
    }
}

fn question(out: &mut Vec<u8>, name: &Name, kind: u16, class: u16) {
    out.extend(&name.0);
    out.extend(kind.to_be_bytes());
    out.extend((IN | class).to_be_bytes());
}

fn put(out: &mut Vec<u8>, name: &Name, address: IpAddr, class: u16, ttl_s: u32) {
    let (kind, data) = data(address);
    fields(out, name, kind, class, ttl_s, &data);
}

fn fields(out: &mut Vec<u8>, name: &Name, kind: u16, class: u16, ttl_s: u32, data: &[u8]) {
    out.extend(&name.0);
    out.extend(kind.to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(ttl_s.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(data);
}

/// Type and data of an address record; their order decides between two who probe at once (RFC 6762 8.2).
pub(super) fn data(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(four) => (A, four.octets().to_vec()),
        IpAddr::V6(six) => (AAAA, six.octets().to_vec()),
    }
}

/// RFC 6762 6.1: the restricted form, one block of the bitmap.
fn nsec(out: &mut Vec<u8>, name: &Name, flush: u16, ttl_s: u32, four: bool, six: bool) {
    let mut bitmap = [0u8; 4];
    for (kind, there) in [(A, four), (AAAA, six)] {
        if there {
            bitmap[usize::from(kind / 8)] |= 0x80 >> (kind % 8);
        }
    }
    let mut data = name.0.clone();
    data.extend([0, 4]);
    data.extend(bitmap);
    fields(out, name, NSEC, IN | flush, ttl_s, &data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host() -> Name {
        Name::new("homepost.local").unwrap()
    }

    fn both() -> Vec<IpAddr> {
        vec!["192.0.2.7".parse().unwrap(), "fe80::1".parse().unwrap()]
    }

    #[test]
    fn what_we_write_we_read() {
        let message = read(&answer(&host(), Form::Multicast, &both(), &[], false)).unwrap();
        assert!(message.response && message.questions.is_empty());
        assert_eq!(message.answers.iter().map(|one| one.address).collect::<Vec<_>>(), both());
        assert!(message.answers.iter().all(|one| one.name == host() && one.ttl_s == TTL_S));

        let message = read(&probe(&host(), &both())).unwrap();
        assert!(!message.response);
        assert_eq!(message.questions, [Question { name: host(), kind: ANY, alone: false }]);
        assert_eq!(message.authorities.len(), 2);
    }

    #[test]
    fn an_ordinary_resolver_gets_its_id_and_question_back() {
        let bytes = answer(&host(), Form::Legacy { id: 7, kind: A }, &both()[..1], &[], false);
        let message = read(&bytes).unwrap();
        assert_eq!((message.id, message.questions.len(), message.answers[0].ttl_s), (7, 1, LEGACY_TTL_S));
        // The class of the record, without the bit that such a resolver does not know.
        let class = bytes.len() - 4 - 2 - 4 - 2;
        assert_eq!(number(&bytes, class), Some(IN));
    }

    #[test]
    fn names_are_read_in_any_case_and_compressed() {
        let mut bytes = Vec::new();
        head(&mut bytes, 0, 0, [2, 0, 0, 0]);
        bytes.extend(b"\x08HomePost\x05LOCAL\x00");
        bytes.extend([0, 1, 0x80, 1]);
        bytes.extend([0xc0, 12, 0, 28, 0, 1]);
        let message = read(&bytes).unwrap();
        assert_eq!(message.questions[0], Question { name: host(), kind: A, alone: true });
        assert_eq!(message.questions[1], Question { name: host(), kind: AAAA, alone: false });
    }

    #[test]
    fn a_name_that_points_at_itself_or_ahead_is_no_name() {
        for pointer in [12u8, 14, 200] {
            let mut bytes = Vec::new();
            head(&mut bytes, 0, 0, [1, 0, 0, 0]);
            bytes.extend([0xc0, pointer, 0, 1, 0, 1]);
            assert_eq!(read(&bytes), None);
        }
    }

    #[test]
    fn more_than_anybody_asks_at_once_is_not_read() {
        let mut bytes = Vec::new();
        head(&mut bytes, 0, 0, [65, 0, 0, 0]);
        for _ in 0..65 {
            question(&mut bytes, &host(), A, 0);
        }
        assert_eq!(read(&bytes), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn whatever_becomes_of_a_message_is_read_or_not(at in 0usize..100, to in any::<u8>(), end in 0usize..200) {
            let mut bytes = answer(&host(), Form::Legacy { id: 1, kind: ANY }, &both(), &both(), true);
            let at = at % bytes.len();
            bytes[at] = to;
            bytes.truncate(end);
            let _ = read(&bytes);
        }
    }
}
