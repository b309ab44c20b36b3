//! The commands about mailboxes: names, LIST and LSUB, STATUS.

use super::reader::{Bad, Read, Reader};
use super::{Command, StatusItem, names};

/// LIST or LSUB.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::proto::imap) struct ListArgs {
    /// Reference and pattern put together (RFC 9051 6.3.9), decoded.
    pub patterns: Vec<String>,
    /// The plain `LIST "" ""`: asks for the hierarchy delimiter.
    pub delimiter: bool,
    pub lsub: bool,
    /// RFC 5258 SUBSCRIBED and RFC 6154 SPECIAL-USE, before the reference.
    pub only_subscribed: bool,
    pub only_special: bool,
    pub return_subscribed: bool,
}

pub(super) fn name(r: &mut Reader<'_>) -> Read<String> {
    names::mailbox(&r.astring()?)
}

pub(super) fn rename(r: &mut Reader<'_>) -> Read<Command> {
    let from = name(r)?;
    r.space()?;
    Ok(Command::Rename { from, to: name(r)? })
}

pub(super) fn list(r: &mut Reader<'_>) -> Read<ListArgs> {
    let mut args = ListArgs::default();
    if r.peek() == Some(b'(') {
        let options = r.list(10, Reader::keyword)?;
        for option in options {
            match option.as_str() {
                "SUBSCRIBED" => args.only_subscribed = true,
                "SPECIAL-USE" => args.only_special = true,
                // There are no other servers here.
                "REMOTE" => {}
                _ => return Err(Bad::Syntax("Unknown LIST selection option")),
            }
        }
        r.space()?;
    }
    let reference = names::decode(&r.astring()?).ok_or(Bad::Syntax("The reference is not modified UTF-7"))?;
    r.space()?;
    let patterns = if r.peek() == Some(b'(') { r.list(100, pattern)? } else { vec![pattern(r)?] };
    args.delimiter = patterns.iter().all(String::is_empty);
    args.patterns = patterns.into_iter().map(|pattern| names::inbox(format!("{reference}{pattern}"))).collect();
    if r.eat_word(" RETURN ") {
        for option in r.list(10, Reader::keyword)? {
            match option.as_str() {
                "SUBSCRIBED" => args.return_subscribed = true,
                // Always returned.
                "SPECIAL-USE" | "CHILDREN" => {}
                _ => return Err(Bad::Syntax("Unknown LIST return option")),
            }
        }
    }
    Ok(args)
}

pub(super) fn lsub(r: &mut Reader<'_>) -> Read<ListArgs> {
    let reference = names::decode(&r.astring()?).ok_or(Bad::Syntax("The reference is not modified UTF-7"))?;
    r.space()?;
    let pattern = pattern(r)?;
    Ok(ListArgs { patterns: vec![names::inbox(format!("{reference}{pattern}"))], lsub: true, ..ListArgs::default() })
}

fn pattern(r: &mut Reader<'_>) -> Read<String> {
    let bytes = r.pattern()?;
    if bytes.len() > 1000 {
        return Err(Bad::Syntax("A mailbox pattern is too long"));
    }
    names::decode(&bytes).ok_or(Bad::Syntax("A mailbox pattern is not modified UTF-7"))
}

/// RFC 9051 6.3.11; DELETED and SIZE are of RFC 9051, RECENT of RFC 3501.
pub(super) fn status(r: &mut Reader<'_>) -> Read<Command> {
    let name = name(r)?;
    r.space()?;
    let items = r.list(10, |r| match r.keyword()?.as_str() {
        "MESSAGES" => Ok(StatusItem::Messages),
        "RECENT" => Ok(StatusItem::Recent),
        "UIDNEXT" => Ok(StatusItem::UidNext),
        "UIDVALIDITY" => Ok(StatusItem::UidValidity),
        "UNSEEN" => Ok(StatusItem::Unseen),
        "DELETED" => Ok(StatusItem::Deleted),
        "SIZE" => Ok(StatusItem::Size),
        _ => Err(Bad::Syntax("Unknown STATUS item")),
    })?;
    if items.is_empty() { Err(Bad::Syntax("No STATUS item is asked for")) } else { Ok(Command::Status { name, items }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Read<ListArgs> {
        let mut r = Reader::new(args.as_bytes());
        let args = list(&mut r)?;
        r.end()?;
        Ok(args)
    }

    #[test]
    fn list_in_its_forms() {
        let patterns = |args: &str| read(args).map(|args| args.patterns);
        assert_eq!(patterns("\"\" *"), Ok(vec!["*".to_owned()]));
        assert_eq!(patterns("a/ \"%\""), Ok(vec!["a/%".to_owned()]));
        assert_eq!(patterns("\"\" (inbox \"b%\")"), Ok(vec!["INBOX".to_owned(), "b%".to_owned()]));
        assert!(read("\"\" \"\"").is_ok_and(|args| args.delimiter));
        assert!(read("(SUBSCRIBED) \"\" * RETURN (CHILDREN SPECIAL-USE)").is_ok_and(|args| args.only_subscribed));
        for bad in ["\"\"", "(FOO) \"\" *", "\"\" * RETURN (FOO)", "\"\" * RETURN", "\"\" &"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
