//! APPEND, read where its message is announced: the message itself never comes here.

use super::super::ask::Flags;
use super::reader::{Bad, Read, Reader};
use super::{flags, names};
use crate::base::Time;
use crate::message::date;

#[derive(Debug, PartialEq)]
pub(in crate::proto::imap) struct AppendHead {
    pub tag: Vec<u8>,
    pub name: String,
    pub flags: Flags,
    pub date: Option<Time>,
}

/// Reads a command as gathered up to and with the announcement of a literal. `None`: this literal is not the message of
/// an APPEND, but an ordinary string.
pub(in crate::proto::imap) fn head(gathered: &[u8]) -> Option<(Vec<u8>, Read<AppendHead>)> {
    let mut r = Reader::new(gathered);
    let tag = r.tag().ok()?.to_vec();
    if !r.eat_word(" APPEND ") {
        return None;
    }
    match arguments(&mut r, tag.clone()) {
        Err(Bad::Open) => None,
        read => Some((tag, read)),
    }
}

fn arguments(r: &mut Reader<'_>, tag: Vec<u8>) -> Read<AppendHead> {
    let name = names::mailbox(&r.astring()?)?;
    r.space()?;
    let mut head = AppendHead { tag, name, flags: Flags::default(), date: None };
    if r.peek() == Some(b'(') {
        head.flags = flags::flags(r)?;
        r.space()?;
    }
    if r.peek() == Some(b'"') {
        let text = r.string()?;
        head.date = Some(date::parse_imap(&text).ok_or(Bad::Syntax("The date of APPEND is wrong"))?.time);
        r.space()?;
    }
    // RFC 3516's literal8 (`~{n}`) is not announced.
    match r.peek() {
        Some(b'{') if !r.rest().contains(&b'\n') => Ok(head),
        _ => Err(Bad::Syntax("APPEND wants a mailbox, flags, a date and a literal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_literal_is_the_message() {
        assert_eq!(head(b"a APPEND {5}"), None);
        assert_eq!(head(b"a LOGIN {5}"), None);
        let read = head(b"a APPEND {5}\r\nInbox (\\Seen) {310+}");
        assert!(matches!(&read, Some((_, Ok(head))) if head.name == "INBOX" && head.flags.system == Flags::SEEN));
        for bad in [
            b"a APPEND x (\\Seen {10}".as_slice(),
            b"a APPEND x ~{10}",
            b"a APPEND x UTF8 (~{10}",
            b"a APPEND {1}\r\nx y{3}",
        ] {
            assert!(matches!(head(bad), Some((_, Err(Bad::Syntax(_))))), "{}", String::from_utf8_lossy(bad));
        }
    }
}
