//! Backups, for the pages and programs: what is known of them, and a new recovery sheet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::appliance::backup::FOLDER;
use crate::appliance::machine::Machine;
use crate::appliance::machine::stick::chosen;
use crate::appliance::words;
use crate::base::{Random, Time};
use crate::message::date::{self, Date};
use crate::web::admin::{Backups, Error, KeptBackup, NewSheet, RunningBackup};

use super::super::backup;
use super::super::house::House;
use super::super::stick;
use super::super::verbs::nag;

/// 80 bits, as on the sheet of the set-up.
const WORDS: usize = 10;

/// Words that were made and do not count yet. They are kept nowhere else: after a restart new ones are made.
#[derive(Default)]
pub(super) struct Sheets(Mutex<Option<NewSheet>>);

impl Sheets {
    fn held(&self) -> MutexGuard<'_, Option<NewSheet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn make(&self, random: &dyn Random) -> NewSheet {
        let mut bytes = [0u8; WORDS + 2];
        random.fill(&mut bytes);
        let (word_bytes, asked) = bytes.split_at(WORDS);
        let first = usize::from(asked[0]) % WORDS;
        let second = (first + 1 + usize::from(asked[1]) % (WORDS - 1)) % WORDS;
        let sheet = NewSheet { words: words::of(word_bytes), asked: (first.min(second), first.max(second)) };
        *self.held() = Some(sheet.clone());
        sheet
    }

    pub fn made(&self) -> Option<NewSheet> {
        self.held().clone()
    }

    /// Whether both words fit; if so, the sheet takes the place of the one before.
    pub fn take(&self, house: &House, first: &str, second: &str) -> Result<(bool, bool), Error> {
        // Held to the end: of two at once one counts.
        let mut held = self.held();
        let Some(sheet) = held.as_ref() else {
            return Err(Error::Refused(
                "The sheet is not on this page any more. Please have a new one made.".to_owned(),
            ));
        };
        let fits = |typed: &str, at: usize| sheet.words.get(at).is_some_and(|word| *word == words::normal(typed));
        let fits = (fits(first, sheet.asked.0), fits(second, sheet.asked.1));
        if fits == (true, true) {
            backup::new_sheet(&house.folder, &sheet.words.join(" ")).map_err(Error::Unavailable)?;
            *held = None;
        }
        Ok(fits)
    }
}

/// What is known, with the stick as it is now.
pub(super) fn known(house: &House, machine: &dyn Machine) -> Result<Backups, Error> {
    let state = stick::State::load(&house.folder);
    let sticks = machine.sticks().ok();
    let chosen = sticks.as_ref().map(|sticks| chosen(sticks));
    let in_it = matches!(chosen, Some(Ok(_)));
    let sheet = stick::has_sheet(&house.folder);
    let nagging = nag(&state, in_it, house.clock.now().seconds());
    let nagging = if sticks.is_some() { nagging } else { None };
    let at = |seconds: i64| date::rfc3339(Date::utc(Time::from_seconds(seconds)));
    let box_id = backup::keys(&house.folder).ok().flatten().map(|keys| keys.box_id);
    let step = |running: stick::Running| RunningBackup {
        step: if running.reading { "reading" } else { "writing" }.to_owned(),
        since: date::rfc3339(Date::utc(running.since)),
        last_seconds: state.took,
    };
    Ok(Backups {
        by_itself: sticks.is_some(),
        sheet,
        stick: sticks.as_ref().and_then(|sticks| Some(sticks.first()?.name.clone())),
        unused: match (&chosen, &sticks) {
            (Some(Err(words)), Some(sticks)) if !sticks.is_empty() => Some(words.clone()),
            _ => None,
        },
        can_be_prepared: sticks.as_ref().is_some_and(|sticks| stick::to_prepare(sticks)),
        folder: box_id.map(|box_id| format!("{FOLDER}/{box_id}")),
        running: stick::running().map(step),
        made: state.made.map(at),
        messages: state.messages,
        verified: state.verified.map(at),
        state: match (&state.problem, state.made, &nagging) {
            (Some(_), ..) => "wrong",
            (None, _, Some(_)) => "warning",
            (None, None, None) => "nothing",
            (None, Some(_), None) => "fine",
        }
        .to_owned(),
        words: nagging.as_ref().map(|(words, _)| words.clone()),
        next: nagging.map(|(_, next)| next.to_owned()),
        kept: (state.kept.iter())
            .map(|one| KeptBackup {
                number: one.number,
                time: at(one.time),
                everything: one.everything,
                letters: one.letters,
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    #[test]
    fn of_a_new_sheet_two_different_words_are_asked_back() {
        let sheets = Sheets::default();
        for seed in 0..50 {
            let sheet = sheets.make(&SeededRandom::new(seed));
            assert_eq!(sheet.words.len(), WORDS);
            assert!(sheet.asked.0 < sheet.asked.1 && sheet.asked.1 < WORDS, "{:?}", sheet.asked);
        }
    }
}
