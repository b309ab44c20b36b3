//! `queue list`: what is still to be sent.

use serde_json::{Value, json};

use crate::base::{QueueId, Time};
use crate::message::date::{self, Date};
use crate::queue::{self, Entry, State};

use super::super::house::House;
use super::{Done, Error, Reply};

/// Letters shown at most; the queue itself has a limit too.
const MOST: usize = 1000;

pub(super) fn list(house: &House) -> Done {
    let read = house.data.read()?;
    let entries = queue::list(&read, QueueId(0), MOST).map_err(|error| Error::Words(error.to_string()))?;
    let text = match entries.as_slice() {
        [] => "Nothing waits to be sent.\n".to_owned(),
        _ => entries.iter().map(as_text).collect(),
    };
    Ok(Reply::done(text, Value::Array(entries.iter().map(as_json).collect())))
}

fn as_text(entry: &Entry) -> String {
    let from = entry.from.as_deref().unwrap_or("<>");
    let mut text = format!("{}  {}  {} bytes  from {from}\n", entry.id, when(entry.queued), entry.size);
    for recipient in &entry.recipients {
        let last = recipient.last.as_deref().map(|last| format!(": {last}")).unwrap_or_default();
        text.push_str(&format!(
            "    to {}  {}, next try {}{last}\n",
            recipient.address,
            word(recipient.state),
            when(recipient.due)
        ));
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
    }
}

fn when(time: Time) -> String {
    date::rfc5322(Date::utc(time))
}
