//! The queue as its pages show it: what waits, for what, what the far end said, and what can be done.

use std::sync::Arc;

use http::StatusCode;

use crate::web::look;

use super::draw::{Frame, LetterPage, Queue, Times, draw, size};
use super::household::{Act, Error, Letter, Recipient};
use super::pages::{Again, Done, field, status_of, times};
use super::site::{Answer, Site};
use super::visit::{Fields, Visit};

const BASE: &str = "/admin/queue";
/// Letters on the page, the oldest first; the number of all stands above them.
const MOST_LETTERS: usize = 100;
/// Recipients of a letter in the list. Its own page has them all.
const MOST_RECIPIENTS: usize = 5;
/// Who has waited longer than this should be looked at, as `problems` says.
const STUCK_SECONDS: i64 = 4 * 3600;

/// A letter as it is shown.
pub(super) struct Waiting {
    pub id: u64,
    pub from: Option<String>,
    pub since: String,
    pub size: String,
    pub to: Vec<Shown>,
    /// How many more there are than `to`.
    pub more: usize,
    /// Something of it can be tried or held.
    pub waits: bool,
    /// Something of it is held until somebody releases it.
    pub held: bool,
    /// Something of it is to leave at a time that its sender chose.
    pub later: bool,
}

pub(super) struct Shown {
    pub address: String,
    pub class: &'static str,
    pub state: String,
    /// What it means that the far end said that.
    pub meaning: &'static str,
    /// What it said.
    pub last: Option<String>,
    pub attempts: u32,
}

impl Waiting {
    fn of(letter: Letter, most: usize, now: i64, times: &Times) -> Waiting {
        let is = |state: &str| letter.recipients.iter().any(|one| one.state == state);
        let late = Times::seconds(&letter.queued).is_some_and(|since| now.saturating_sub(since) > STUCK_SECONDS);
        Waiting {
            id: letter.id,
            from: letter.from,
            since: times.minute(&letter.queued),
            size: size(letter.size),
            waits: is("waiting"),
            held: is("held"),
            later: is("later"),
            more: letter.recipients.len().saturating_sub(most),
            to: letter.recipients.into_iter().take(most).map(|one| Shown::of(one, late, times)).collect(),
        }
    }
}

impl Shown {
    fn of(one: Recipient, late: bool, times: &Times) -> Shown {
        let due = times.minute(&one.due);
        let (class, state) = match (one.state.as_str(), one.attempts) {
            ("held", _) => ("need", "→ held until somebody releases it".to_owned()),
            ("later", _) => ("wait", format!("… leaves {due}, as its sender wants it")),
            (_, 0) => ("wait", "… not tried yet".to_owned()),
            (_, _) if late => ("bad", format!("✕ not taken for hours; next try {due}")),
            (_, _) => ("wait", format!("… not taken yet; next try {due}")),
        };
        let meaning = one.last.as_deref().map_or("", look::meaning);
        Shown { address: one.address, class, state, meaning, last: one.last, attempts: one.attempts }
    }
}

pub(super) async fn list(site: &Arc<Site>, visit: &Visit, again: Again<'_>) -> Done {
    let (letters, why) = site.ask(|household| Ok((household.queue()?, household.standstill()))).await?;
    let (all, times, now) = (letters.len(), times(site), site.clock.now().seconds());
    let letters: Vec<Waiting> =
        letters.into_iter().map(|letter| Waiting::of(letter, MOST_RECIPIENTS, now, &times)).collect();
    let (waits, held) = (letters.iter().any(|one| one.waits), letters.iter().any(|one| one.held));
    let letters = letters.into_iter().take(MOST_LETTERS).collect();
    let frame = Frame::new(site, visit, "Queue", BASE).with(again);
    Ok(draw(&Queue { frame, letters, all, why, waits, held }, status_of(again)))
}

pub(super) async fn letter(site: &Arc<Site>, visit: &Visit, id: &str, again: Again<'_>) -> Done {
    let (id, why) = (number(id)?, site.ask(|household| Ok(household.standstill())).await?);
    let found = match site.ask(move |household| household.letter(id)).await {
        Ok(letter) => Some(Waiting::of(letter, usize::MAX, site.clock.now().seconds(), &times(site))),
        Err(Error::Missing(_)) => None,
        Err(error) => return Err(error),
    };
    let status = if found.is_none() { StatusCode::NOT_FOUND } else { status_of(again) };
    // Of a letter that is gone nothing else needs to be said.
    let again = again.filter(|_| found.is_some());
    let frame = Frame::new(site, visit, "A letter in the queue", BASE).with(again);
    Ok(draw(&LetterPage { frame, letter: found, why, sure: false }, status))
}

/// A form was filled in. What takes a letter away has to be meant.
pub(super) async fn act(site: &Arc<Site>, visit: &Visit, id: Option<&str>, fields: &Fields) -> Done {
    let act = match field(fields, "do") {
        "retry" => Act::Retry,
        "hold" => Act::Hold,
        "release" => Act::Release,
        "cancel" => Act::Cancel,
        _ => return Err(Error::Refused("nothing can be done of that name".to_owned())),
    };
    let Some(id) = id else {
        if act == Act::Cancel {
            return Err(Error::Refused("letters are cancelled one by one".to_owned()));
        }
        site.ask(move |household| household.act(act, None)).await?;
        return Ok(Answer::To(BASE.to_owned()));
    };
    let id = number(id)?;
    if act == Act::Cancel && field(fields, "sure") != "yes" {
        let (letter, why) = site.ask(move |household| Ok((household.letter(id)?, household.standstill()))).await?;
        let letter = Some(Waiting::of(letter, usize::MAX, site.clock.now().seconds(), &times(site)));
        let frame = Frame::new(site, visit, "Are you sure?", BASE);
        return Ok(draw(&LetterPage { frame, letter, why, sure: true }, StatusCode::OK));
    }
    site.ask(move |household| household.act(act, Some(id))).await?;
    Ok(Answer::To(if act == Act::Cancel { BASE.to_owned() } else { format!("{BASE}/{id}") }))
}

fn number(id: &str) -> Result<u64, Error> {
    id.parse().map_err(|_| Error::Missing("there is no such letter".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(state: &str, attempts: u32, last: Option<&str>) -> Recipient {
        let due = "Thu, 26 Nov 2026 22:10:00 +0000".to_owned();
        let (address, state, last) = ("a@far.test".to_owned(), state.to_owned(), last.map(str::to_owned));
        Recipient { address, state, due, attempts, last }
    }

    #[test]
    fn each_recipient_is_in_one_of_the_states_that_people_know() {
        let times = Times::of("Europe/Berlin");
        let queued = "Thu, 26 Nov 2026 18:00:00 +0000".to_owned();
        let since = Times::seconds(&queued).unwrap();
        let recipients = vec![
            recipient("waiting", 0, None),
            recipient("waiting", 1, Some("451 4.4.1 mx.far.test (192.0.2.7) does not answer")),
            recipient("held", 3, Some("452 4.2.2 full")),
            recipient("later", 0, None),
        ];
        let letter = Letter { id: 7, from: None, size: 2048, queued, recipients };
        let shown = |now| Waiting::of(letter.clone(), 2, now, &times);
        let now = shown(since + STUCK_SECONDS);
        assert_eq!((now.waits, now.held, now.to.len(), now.more, now.size.as_str()), (true, true, 2, 2, "2.0 KiB"));
        assert_eq!((now.to[0].class, now.to[0].state.as_str()), ("wait", "… not tried yet"));
        assert_eq!(now.to[1].state, "… not taken yet; next try 26 November 2026, 23:10 CET");
        assert!(now.to[1].meaning.contains("cannot be reached"));
        let later = Waiting::of(letter.clone(), 9, since + STUCK_SECONDS + 1, &times);
        let classes: Vec<&str> = later.to.iter().map(|one| one.class).collect();
        assert_eq!(classes, ["wait", "bad", "need", "wait"]);
        assert_eq!(later.to[3].state, "… leaves 26 November 2026, 23:10 CET, as its sender wants it");
        assert!(later.to[2].meaning.contains("full"));
    }
}
