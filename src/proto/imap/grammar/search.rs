//! SEARCH (RFC 9051 6.4.4) with RETURN (RFC 4731).

use super::super::ask::{DayIs, Flags, SearchKey};
use super::reader::{Bad, Read, Reader, utf8};
use super::set::{SeqSet, seq_set};
use crate::message::date;

/// NOT, OR and parentheses within each other.
const MAX_DEPTH: usize = 50;

#[derive(Debug, PartialEq)]
pub(in crate::proto::imap) struct SearchArgs {
    pub uid: bool,
    /// `None` without RETURN: SEARCH is answered. With it ESEARCH.
    pub wanted: Option<Wanted>,
    pub key: Key,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proto::imap) struct Wanted {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
}

/// A search program as written: sequence numbers still to be translated.
#[derive(Debug, PartialEq)]
pub(in crate::proto::imap) enum Key {
    Seqs(SeqSet),
    Uids(SeqSet),
    And(Vec<Key>),
    Or(Box<Key>, Box<Key>),
    Not(Box<Key>),
    Is(SearchKey),
}

pub(super) fn search(uid: bool, r: &mut Reader<'_>) -> Read<SearchArgs> {
    let mut wanted = None;
    if r.eat_word("RETURN ") {
        let mut result = Wanted::default();
        for option in r.list(10, Reader::keyword)? {
            match option.as_str() {
                "MIN" => result.min = true,
                "MAX" => result.max = true,
                "ALL" => result.all = true,
                "COUNT" => result.count = true,
                _ => return Err(Bad::Syntax("Unknown SEARCH return option")),
            }
        }
        if result == Wanted::default() {
            // RFC 4731 3.1: an empty list is ALL.
            result.all = true;
        }
        wanted = Some(result);
        r.space()?;
    }
    if r.eat_word("CHARSET ") {
        let charset = r.astring()?;
        if !charset.eq_ignore_ascii_case(b"UTF-8") && !charset.eq_ignore_ascii_case(b"US-ASCII") {
            return Err(Bad::Charset);
        }
        r.space()?;
    }
    let mut keys = vec![key(r, 0)?];
    while r.eat(b' ') {
        if r.rest().is_empty() {
            break;
        }
        keys.push(key(r, 0)?);
    }
    Ok(SearchArgs { uid, wanted, key: all_of(keys) })
}

fn all_of(mut keys: Vec<Key>) -> Key {
    match keys.pop() {
        Some(only) if keys.is_empty() => only,
        Some(last) => {
            keys.push(last);
            Key::And(keys)
        }
        None => Key::Is(SearchKey::All),
    }
}

fn key(r: &mut Reader<'_>, depth: usize) -> Read<Key> {
    if depth > MAX_DEPTH {
        return Err(Bad::Syntax("The search is nested too deeply"));
    }
    match r.peek() {
        Some(b'(') => {
            let keys = r.list(usize::MAX, |r| key(r, depth + 1))?;
            return if keys.is_empty() { Err(Bad::Syntax("Empty parentheses in a search")) } else { Ok(all_of(keys)) };
        }
        Some(b'0'..=b'9' | b'*') => return Ok(Key::Seqs(seq_set(r)?)),
        _ => {}
    }
    let name = r.keyword()?;
    let has = |bit| Ok(Key::Is(SearchKey::Flag(bit)));
    let lacks = |bit| Ok(Key::Is(not(SearchKey::Flag(bit))));
    match name.as_str() {
        // \Recent is never set here (RFC 9051 Appendix E): all messages are old.
        "ALL" | "OLD" => Ok(Key::Is(SearchKey::All)),
        "NEW" | "RECENT" => Ok(Key::Is(not(SearchKey::All))),
        "ANSWERED" => has(Flags::ANSWERED),
        "DELETED" => has(Flags::DELETED),
        "DRAFT" => has(Flags::DRAFT),
        "FLAGGED" => has(Flags::FLAGGED),
        "SEEN" => has(Flags::SEEN),
        "UNANSWERED" => lacks(Flags::ANSWERED),
        "UNDELETED" => lacks(Flags::DELETED),
        "UNDRAFT" => lacks(Flags::DRAFT),
        "UNFLAGGED" => lacks(Flags::FLAGGED),
        "UNSEEN" => lacks(Flags::SEEN),
        other => {
            r.space()?;
            with_argument(other, r, depth)
        }
    }
}

fn with_argument(name: &str, r: &mut Reader<'_>, depth: usize) -> Read<Key> {
    Ok(Key::Is(match name {
        "NOT" => return Ok(Key::Not(Box::new(key(r, depth + 1)?))),
        "OR" => {
            let left = key(r, depth + 1)?;
            r.space()?;
            return Ok(Key::Or(Box::new(left), Box::new(key(r, depth + 1)?)));
        }
        "UID" => return Ok(Key::Uids(seq_set(r)?)),
        "KEYWORD" => SearchKey::Keyword(keyword(r)?),
        "UNKEYWORD" => not(SearchKey::Keyword(keyword(r)?)),
        "BEFORE" => SearchKey::Internal(DayIs::Before, day(r)?),
        "ON" => SearchKey::Internal(DayIs::On, day(r)?),
        "SINCE" => SearchKey::Internal(DayIs::Since, day(r)?),
        "SENTBEFORE" => SearchKey::Sent(DayIs::Before, day(r)?),
        "SENTON" => SearchKey::Sent(DayIs::On, day(r)?),
        "SENTSINCE" => SearchKey::Sent(DayIs::Since, day(r)?),
        "LARGER" => SearchKey::Larger(r.number64()?),
        "SMALLER" => SearchKey::Smaller(r.number64()?),
        "FROM" => SearchKey::From(text(r)?),
        "TO" => SearchKey::To(text(r)?),
        "CC" => SearchKey::Cc(text(r)?),
        "BCC" => SearchKey::Bcc(text(r)?),
        "SUBJECT" => SearchKey::Subject(text(r)?),
        "BODY" => SearchKey::Body(text(r)?),
        "TEXT" => SearchKey::Text(text(r)?),
        "HEADER" => {
            let field = text(r)?;
            r.space()?;
            SearchKey::Header(field, text(r)?)
        }
        _ => return Err(Bad::Syntax("Unknown search key")),
    }))
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

fn text(r: &mut Reader<'_>) -> Read<String> {
    utf8(r.astring()?)
}

fn keyword(r: &mut Reader<'_>) -> Read<String> {
    Ok(String::from_utf8_lossy(r.atom()?).into_owned())
}

fn day(r: &mut Reader<'_>) -> Read<crate::message::Day> {
    date::parse_imap_day(&r.astring()?).ok_or(Bad::Syntax("A date is wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read<SearchArgs> {
        let mut r = Reader::new(text.as_bytes());
        let args = search(false, &mut r)?;
        r.end()?;
        Ok(args)
    }

    #[test]
    fn programs() {
        let flagged = || Key::Is(SearchKey::Flag(Flags::FLAGGED));
        assert_eq!(read("FLAGGED").map(|args| args.key), Ok(flagged()));
        assert_eq!(
            read("flagged NOT FROM \"Smith\"").map(|args| args.key),
            Ok(Key::And(vec![flagged(), Key::Not(Box::new(Key::Is(SearchKey::From("Smith".into()))))]))
        );
        assert_eq!(
            read("OR FLAGGED (LARGER 5 FLAGGED)").map(|args| args.key),
            Ok(Key::Or(Box::new(flagged()), Box::new(Key::And(vec![Key::Is(SearchKey::Larger(5)), flagged()]))))
        );
        assert!(matches!(read("CHARSET utf-8 TEXT {4}\r\nXö¢").map(|args| args.key), Err(Bad::Syntax(_))));
        assert_eq!(
            read("CHARSET UTF-8 TEXT {3}\r\nXö").map(|args| args.key),
            Ok(Key::Is(SearchKey::Text("Xö".into())))
        );
        assert_eq!(read("CHARSET KOI8-R ALL"), Err(Bad::Charset));
        assert_eq!(read("RETURN () ALL").map(|args| args.wanted.map(|w| w.all)), Ok(Some(true)));
        assert_eq!(read("RETURN (MIN COUNT) 1:*").map(|args| args.wanted.map(|w| w.all)), Ok(Some(false)));
    }

    #[test]
    fn nesting_has_a_limit() {
        assert!(read(&format!("{}SEEN", "NOT ".repeat(40))).is_ok());
        assert!(read(&format!("{}SEEN", "NOT ".repeat(10_000))).is_err());
        assert!(read(&"(".repeat(10_000)).is_err());
        for bad in ["", "()", "FOO", "OR SEEN", "NOT", "FROM", "RETURN (SAVE) ALL", "SEEN  SEEN"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
