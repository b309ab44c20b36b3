//! Commands: from the bytes of one, gathered by framing, to a [`Command`].
//!
//! Does not know: states. Whether a command may be used now is for the machine to say.

pub(super) mod append;
mod auth;
pub(super) mod fetch;
mod flags;
mod mailbox;
pub(super) mod names;
pub(super) mod reader;
pub(super) mod search;
pub(super) mod set;

pub(super) use mailbox::ListArgs;
pub(super) use reader::{Bad, Read};

use reader::Reader;

use super::ask::{Flags, StoreMode};
use fetch::FetchItem;
use search::SearchArgs;
use set::SeqSet;

#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Capability,
    Noop,
    Logout,
    Id,
    StartTls,
    Login { user: Vec<u8>, password: Secret },
    Authenticate { mechanism: String, initial: Option<Secret> },
    Enable,
    Select { name: String, read_only: bool },
    Create { name: String },
    Delete { name: String },
    Rename { from: String, to: String },
    Subscribe { name: String, on: bool },
    List(ListArgs),
    Namespace,
    Status { name: String, items: Vec<StatusItem> },
    Idle,
    Check,
    Close,
    Unselect,
    Expunge,
    UidExpunge { uids: SeqSet },
    Search(SearchArgs),
    Fetch { uid: bool, set: SeqSet, items: Vec<FetchItem> },
    Store { uid: bool, set: SeqSet, mode: StoreMode, silent: bool, flags: Flags },
    Copy { uid: bool, set: SeqSet, to: String },
    Move { uid: bool, set: SeqSet, to: String },
}

/// Bytes that no `Debug` shows.
#[derive(PartialEq)]
pub(super) struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
}

/// A tag, if there is one, and the command behind it.
pub(super) fn parse(line: &[u8]) -> (Option<Vec<u8>>, Read<Command>) {
    let mut r = Reader::new(line);
    let Ok(tag) = r.tag() else { return (None, Err(Bad::Syntax("A command begins with a tag"))) };
    if r.peek() != Some(b' ') && !r.rest().is_empty() {
        return (None, Err(Bad::Syntax("A command begins with a tag")));
    }
    (Some(tag.to_vec()), r.space().and_then(|()| command(&mut r)))
}

/// The tag alone, for a command that cannot be read whole.
pub(super) fn tag_of(line: &[u8]) -> Option<Vec<u8>> {
    let mut r = Reader::new(line);
    let tag = r.tag().ok()?.to_vec();
    r.eat(b' ').then_some(tag)
}

fn command(r: &mut Reader<'_>) -> Read<Command> {
    let name = r.keyword().map_err(|_| Bad::Syntax("A command is missing"))?;
    let command = match name.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge,
        other => {
            if r.peek() != Some(b' ') {
                return Err(Bad::Syntax(if KNOWN.contains(&other) {
                    "The command takes more than that"
                } else {
                    "Unknown command"
                }));
            }
            r.space()?;
            match other {
                "ID" => auth::id(r)?,
                "LOGIN" => auth::login(r)?,
                "AUTHENTICATE" => auth::authenticate(r)?,
                "ENABLE" => auth::enable(r)?,
                "SELECT" => Command::Select { name: mailbox::name(r)?, read_only: false },
                "EXAMINE" => Command::Select { name: mailbox::name(r)?, read_only: true },
                "CREATE" => Command::Create { name: mailbox::name(r)? },
                "DELETE" => Command::Delete { name: mailbox::name(r)? },
                "RENAME" => mailbox::rename(r)?,
                "SUBSCRIBE" => Command::Subscribe { name: mailbox::name(r)?, on: true },
                "UNSUBSCRIBE" => Command::Subscribe { name: mailbox::name(r)?, on: false },
                "LIST" => Command::List(mailbox::list(r)?),
                "LSUB" => Command::List(mailbox::lsub(r)?),
                "STATUS" => mailbox::status(r)?,
                "UID" => return uid_command(r),
                other => message_command(other, false, r)?,
            }
        }
    };
    r.end()?;
    Ok(command)
}

const KNOWN: [&str; 21] = [
    "ID",
    "LOGIN",
    "AUTHENTICATE",
    "ENABLE",
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "STATUS",
    "APPEND",
    "SEARCH",
    "FETCH",
    "STORE",
    "COPY",
    "MOVE",
    "UID",
];

fn uid_command(r: &mut Reader<'_>) -> Read<Command> {
    let name = r.keyword()?;
    r.space()?;
    let command = match name.as_str() {
        "EXPUNGE" => Command::UidExpunge { uids: set::seq_set(r)? },
        other => message_command(other, true, r)?,
    };
    r.end()?;
    Ok(command)
}

/// RFC 9051 6.4.9: the commands that also come with UID before them.
fn message_command(name: &str, uid: bool, r: &mut Reader<'_>) -> Read<Command> {
    if name == "SEARCH" {
        return Ok(Command::Search(search::search(uid, r)?));
    }
    if !matches!(name, "FETCH" | "STORE" | "COPY" | "MOVE") {
        // APPEND is read where its literal is announced; without one it is wrong.
        return Err(Bad::Syntax(if name == "APPEND" { "APPEND without a message" } else { "Unknown command" }));
    }
    let set = set::seq_set(r)?;
    r.space()?;
    match name {
        "FETCH" => Ok(Command::Fetch { uid, set, items: fetch::items(r)? }),
        "STORE" => {
            let (mode, silent) = flags::store_mode(r)?;
            Ok(Command::Store { uid, set, mode, silent, flags: flags::flags(r)? })
        }
        "COPY" => Ok(Command::Copy { uid, set, to: mailbox::name(r)? }),
        _ => Ok(Command::Move { uid, set, to: mailbox::name(r)? }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok(line: &str) -> Command {
        match parse(line.as_bytes()) {
            (Some(_), Ok(command)) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_without_and_with_arguments() {
        assert_eq!(ok("a1 noop"), Command::Noop);
        assert_eq!(ok("a1 NOOP "), Command::Noop);
        assert_eq!(ok("a SELECT inbox"), Command::Select { name: "INBOX".into(), read_only: false });
        assert_eq!(ok("a EXAMINE \"a b\""), Command::Select { name: "a b".into(), read_only: true });
        assert_eq!(ok("a RENAME {1}\r\na b"), Command::Rename { from: "a".into(), to: "b".into() });
        assert_eq!(ok("a ENABLE CONDSTORE X"), Command::Enable);
        assert_eq!(ok("a ID (\"name\" \"x\" \"os\" NIL)"), Command::Id);
        assert_eq!(
            ok("a status inbox (messages UNSEEN)"),
            Command::Status { name: "INBOX".into(), items: vec![StatusItem::Messages, StatusItem::Unseen] }
        );
    }

    #[test]
    fn wrong_commands_keep_their_tag() {
        for line in [
            "a FOO",
            "a FOO BAR",
            "a SELECT",
            "a NOOP x",
            "a ",
            "a",
            "a UID FOO 1",
            "a FETCH 0 FLAGS",
            "a FETCH 1,, FLAGS",
            "a LOGIN x",
            "a STATUS x ()",
            "a STATUS x (FOO)",
            "a SELECT &x",
            "a APPEND x",
            "a STORE 1 FLAGS",
            "a STORE 1 +FLAGS.LOUD (x)",
        ] {
            let (tag, command) = parse(line.as_bytes());
            assert_eq!(tag.as_deref(), Some(b"a".as_slice()), "{line}");
            assert!(matches!(command, Err(Bad::Syntax(_))), "{line}: {command:?}");
        }
        for line in ["", " ", "+ x", "\"a\" x", "* NOOP"] {
            assert_eq!(parse(line.as_bytes()).0, None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn nothing_like_a_command_panics(line in "a (UID )?(FETCH|SEARCH|STORE|LIST|STATUS|ID|APPEND|COPY) [ -~]{0,60}(\\{[0-9]{1,3}\\+?\\}\r\n[ -~]{0,20})?") {
            let _ = parse(line.as_bytes());
            let _ = append::head(line.as_bytes());
        }
    }
}
