//! A stored value: any bytes, given to the decoder that the first byte picks. Either it is refused, or it is the same
//! when it was written and read again.

use homepost::base::Time;
use homepost::message::{Message, Structure};
use homepost::store::Table;
use homepost::store::data::Stored;
use homepost::store::lookup;
use homepost::{account, directory, queue, store};

pub fn run(input: &[u8]) {
    let Some((first, value)) = input.split_first() else { return };
    let own = |what| store::data::reads_back(what, value);
    let account = |table| account::reads_back(table, value);
    let directory = |table| directory::reads_back(table, value);
    let queue = |table| queue::reads_back(table, value);
    let same = match first % 24 {
        0 => account(Table::Ledger).ok(),
        1 => account(Table::Mailboxes).ok(),
        2 => account(Table::Messages).ok(),
        3 => account(Table::Emails).ok(),
        4 => account(Table::Changes).ok(),
        5 => directory(Table::Domains).ok(),
        6 => directory(Table::Accounts).ok(),
        7 => directory(Table::Addresses).ok(),
        8 => directory(Table::Credentials).ok(),
        9 => queue(Table::Queue).ok(),
        10 => queue(Table::QueueRecipients).ok(),
        11 => queue(Table::Meta).ok(),
        12 => own(Stored::Blob).ok(),
        13 => own(Stored::Alive).ok(),
        14 => own(Stored::Position).ok(),
        15 => own(Stored::LetterHeader).ok(),
        16 => own(Stored::LetterIndex).ok(),
        17 => own(Stored::Copy).ok(),
        18 => own(Stored::Payload).ok(),
        20 => directory(Table::DkimKeys).ok(),
        21 => directory(Table::Invitations).ok(),
        22 => directory(Table::ApiTokens).ok(),
        23 => directory(Table::Devices).ok(),
        _ => match value.split_first() {
            Some((0, value)) => structure(value),
            Some((_, value)) => facts(value),
            None => None,
        },
    };
    assert_ne!(same, Some(false), "written and read again it is something else");
}

/// What is kept of a letter beside it.
fn structure(value: &[u8]) -> Option<bool> {
    let read = Structure::decode(value).ok()?;
    let (envelope, body) = (read.envelope(), read.body());
    let (Ok(envelope), Ok(body)) = (envelope, body) else { return None };
    let _ = (body.check(), body.at(&[1, 2, 1]));
    let message = Message { summary: read.summary, envelope, body };
    let stored = message.encode();
    let again = Structure::decode(&stored).ok()?;
    let same = again.summary == message.summary
        && again.envelope().as_ref() == Ok(&message.envelope)
        && again.body().as_ref() == Ok(&message.body);
    Some(same)
}

/// The look-up store over whatever a damaged file may hold: nothing there fails, and what is put in comes out.
fn facts(value: &[u8]) -> Option<bool> {
    let mut pieces = value.split(|byte| *byte == b'|');
    let mut keys = Vec::new();
    let mut facts = Vec::new();
    let mut due = Vec::new();
    while let Some(key) = pieces.next() {
        let row = pieces.next().unwrap_or_default();
        if row.first() == Some(&b'-') {
            due.push(key);
        } else {
            facts.push((key, row));
        }
        keys.push(key);
    }
    let lookup = lookup::memory_over(&facts, &due);
    let now = Time(0x3030_3030_3030_3030);
    for key in &keys {
        let _ = lookup.get(key, now);
        let _ = lookup.add(key, i64::MAX, Time(i64::MAX), now);
        let _ = lookup.scan(key, b"", 3, now);
    }
    let _ = lookup.sweep(2, now);
    for key in &keys {
        lookup.put(key, b"new", Time(i64::MAX), now);
        if lookup.get(key, now).as_deref() != Some(b"new") {
            return Some(key.len() > lookup::KEY_BYTES);
        }
        if lookup.add(key, 5, Time(i64::MAX), now) != 5 || lookup.add(key, -7, Time(i64::MAX), now) != -2 {
            return Some(false);
        }
    }
    while lookup.sweep(2, now) > 0 {}
    let kept = lookup.scan(b"", b"", usize::MAX, now).len();
    for key in &keys {
        lookup.delete(key);
        if lookup.get(key, now).is_some() {
            return Some(false);
        }
    }
    Some(lookup.scan(b"", b"", usize::MAX, now).len() <= kept)
}
