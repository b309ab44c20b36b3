//! `queue list|show|retry|hold|release|cancel`: what is still to be sent.

use serde_json::{Value, json};

use crate::base::{QueueId, Time};
use crate::message::date::{self, Date};
use crate::queue::{self, Entry, State};

use super::super::house::House;
use super::{Done, Error, QueueAct, Reply};

/// Letters shown at most; the queue itself has a limit too.
const MOST: usize = 1000;

pub(super) fn list(house: &House) -> Done {
    let read = house.data.read()?;
    let entries = queue::list(&read, QueueId(0), MOST).map_err(|error| Error::Words(error.to_string()))?;
    let text = match entries.as_slice() {
        [] => "Nothing waits to be sent.\n".to_owned(),
        _ => {
            let all = house.noted.keeps_all(house).map(|words| format!("{words}\n")).unwrap_or_default();
            all + &entries.iter().map(as_text).collect::<String>()
        }
    };
    Ok(Reply::done(text, Value::Array(entries.iter().map(as_json).collect())))
}

pub(super) fn show(house: &House, id: u64) -> Done {
    let read = house.data.read()?;
    let found = queue::find(&read, QueueId(id)).map_err(|error| Error::Words(error.to_string()))?;
    let entry = found.ok_or_else(|| gone(id))?;
    Ok(Reply::done(as_text(&entry), as_json(&entry)))
}

/// Nothing that can be done to no recipient at all is an error: the letter went while somebody was typing.
pub(super) fn act(house: &House, what: QueueAct, id: Option<u64>) -> Done {
    let ids = match id {
        Some(id) => vec![QueueId(id)],
        None => {
            let read = house.data.read()?;
            let all = queue::list(&read, QueueId(0), usize::MAX).map_err(|error| Error::Words(error.to_string()))?;
            all.into_iter().map(|entry| entry.id).collect()
        }
    };
    let now = house.clock.now();
    // Whoever names a letter that is to leave later means it; of all that are held those keep their time.
    let appointed = if id.is_some() { queue::Appointed::Dropped } else { queue::Appointed::Kept };
    let mut letters = 0;
    // A letter each, so that no transaction grows with the queue.
    for one in ids {
        let done = house.data.write_blocking(move |txn| match what {
            QueueAct::Retry => queue::retry(txn, one, now),
            QueueAct::Hold => queue::hold(txn, one),
            QueueAct::Release => queue::release(txn, one, now, appointed),
            QueueAct::Cancel => queue::cancel(txn, one),
        });
        letters += u64::from(done.map_err(|error| Error::Words(error.to_string()))?.value > 0);
    }
    if let (Some(id), 0) = (id, letters) {
        let read = house.data.read()?;
        let there = queue::find(&read, QueueId(id)).map_err(|error| Error::Words(error.to_string()))?.is_some();
        return Err(match what {
            _ if !there => gone(id),
            QueueAct::Release => Error::Words(format!("letter {id} is not held")),
            _ => Error::Words(format!("letter {id} is held: release it first")),
        });
    }
    house.bell.ring();
    let word = match what {
        QueueAct::Retry => "tried again now",
        QueueAct::Hold => "held",
        QueueAct::Release => "released",
        QueueAct::Cancel => "cancelled; nobody is told",
    };
    let text = match letters {
        1 => format!("1 letter is {word}.\n"),
        n => format!("{n} letters are {word}.\n"),
    };
    Ok(Reply::done(text, json!({ "letters": letters })))
}

fn gone(id: u64) -> Error {
    Error::Words(format!("there is no letter {id} in the queue: it was sent, given back, or never there"))
}

fn as_text(entry: &Entry) -> String {
    let from = entry.from.as_deref().unwrap_or("<>");
    let mut text = format!("{}  {}  {} bytes  from {from}\n", entry.id, when(entry.queued), entry.size);
    for recipient in &entry.recipients {
        let last = recipient.last.as_deref().map(|last| format!(": {last}")).unwrap_or_default();
        let next = match recipient.state {
            State::Waiting => format!(", next try {}", when(recipient.due)),
            State::Held => String::new(),
            State::Later => format!(", leaves {}", when(recipient.due)),
        };
        text.push_str(&format!("    to {}  {}{next}{last}\n", recipient.address, word(recipient.state)));
    }
    text
}

fn as_json(entry: &Entry) -> Value {
    let recipients: Vec<Value> = entry
        .recipients
        .iter()
        .map(|recipient| {
            json!({
                "address": recipient.address,
                "state": word(recipient.state),
                "due": when(recipient.due),
                "attempts": recipient.attempts,
                "last": recipient.last,
            })
        })
        .collect();
    json!({
        "id": entry.id.0,
        "from": entry.from,
        "account": entry.account.map(|account| account.0),
        "size": entry.size,
        "queued": when(entry.queued),
        "recipients": recipients,
    })
}

fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Held => "held",
        State::Later => "later",
    }
}

fn when(time: Time) -> String {
    date::rfc5322(Date::utc(time))
}
