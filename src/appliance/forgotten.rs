//! An administrator who has forgotten the pass phrase: what proves who it is, and how often that may be tried.
//!
//! There are two proofs, and either makes a link by which a new pass phrase is chosen (as an invitation is): the words of the
//! recovery sheet that the set-up gave out, of which a hash lies in the data folder; and a code on the screen of the box, which
//! says that somebody stands before it. A code holds ten minutes and five tries; it is shown only when somebody in the same
//! house asks for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{Mono, Random};

use super::machine::{self, Machine};
use super::wizard::{Code, pause_ms};
use super::words;

/// How long a code holds, and how many wrong ones may be typed.
const CODE_MS: u64 = 10 * 60_000;
const CODE_TRIES: u32 = 5;

/// Wrong tries so far, of everybody together, and what came of it.
#[derive(Default)]
pub struct Forgotten(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    wrong: u32,
    until: Mono,
    shown: Option<Shown>,
}

struct Shown {
    code: Code,
    until: Mono,
    tries: u32,
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    Right,
    Wrong,
    /// Nothing was looked at; milliseconds until something is.
    TooSoon(u64),
}

impl Forgotten {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a new code on the console, and what it is for; the one before opens nothing any more. Errors: the machine's sentence.
    pub fn show(
        &self,
        what: &str,
        machine: &dyn Machine,
        random: &dyn Random,
        now: Mono,
    ) -> Result<(), machine::Error> {
        let code = Code::new(random);
        let lines = [format!("{what}: {}", code.shown()), "It holds for ten minutes.".to_owned()];
        machine.show(&lines)?;
        self.inner().shown = Some(Shown { code, until: now.plus_ms(CODE_MS), tries: 0 });
        Ok(())
    }

    /// Compares what was typed with the code on the screen and with the sheet of this hash (hex), if there are such.
    pub fn looks(&self, typed: &str, sheet: Option<&str>, machine: &dyn Machine, now: Mono) -> Tried {
        let mut inner = self.inner();
        if let left @ 1.. = inner.until.since(now) {
            return Tried::TooSoon(left);
        }
        let of_sheet = sheet
            .and_then(|hex| blake3::Hash::from_hex(hex.trim()).ok())
            .is_some_and(|hash| words::sheet_hash(&words::normal(typed)) == hash);
        let of_code = inner.shown.as_ref().is_some_and(|shown| shown.until.since(now) > 0 && shown.code.is(typed));
        if of_sheet || of_code {
            if inner.shown.take().is_some() {
                // Used up: the screen need not go on saying it.
                let _ = machine.show(&[]);
            }
            inner.wrong = 0;
            return Tried::Right;
        }
        if inner.shown.as_mut().is_some_and(|shown| {
            shown.tries += 1;
            shown.tries >= CODE_TRIES || shown.until.since(now) == 0
        }) {
            inner.shown = None;
            let _ = machine.show(&[]);
        }
        inner.wrong = inner.wrong.saturating_add(1);
        inner.until = now.plus_ms(pause_ms(inner.wrong));
        Tried::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::machine::{Act, Fake};
    use crate::base::SeededRandom;

    const NOW: Mono = Mono(1_000_000);

    /// The code on the screen.
    fn shown(fake: &Fake) -> String {
        let Some(Act::Show(lines)) = fake.acts().last().cloned() else { panic!("{:?}", fake.acts()) };
        lines[0].rsplit(' ').next().unwrap().to_owned()
    }

    #[test]
    fn the_words_of_the_sheet_are_right_however_they_are_written() {
        let (forgotten, fake) = (Forgotten::default(), Fake::default());
        let hash = words::sheet_hash("acorn actor album").to_hex().to_string();
        let looks = |typed| forgotten.looks(typed, Some(&hash), &fake, NOW);
        assert_eq!(looks("Acorn, actor\n  ALBUM"), Tried::Right);
        for typed in ["", "acorn actor", "acorn album actor"] {
            assert_eq!(looks(typed), Tried::Wrong, "{typed}");
        }
        assert_eq!(forgotten.looks("acorn actor album", None, &fake, NOW), Tried::Wrong, "there was no sheet");
        assert_eq!(fake.acts(), [], "the screen has nothing to do with it");
    }

    #[test]
    fn a_code_opens_once_and_for_ten_minutes() {
        let (forgotten, fake, random) = (Forgotten::default(), Fake::default(), SeededRandom::new(3));
        assert_eq!(forgotten.looks("7K4P-XQM3", None, &fake, NOW), Tried::Wrong, "none was shown");
        forgotten.show("Code", &fake, &random, NOW).unwrap();
        let code = shown(&fake);
        assert_eq!(forgotten.looks(&code.to_lowercase(), None, &fake, NOW.plus_ms(CODE_MS - 1)), Tried::Right);
        assert_eq!(fake.acts().last(), Some(&Act::Show(Vec::new())), "it is gone from the screen");
        assert_eq!(forgotten.looks(&code, None, &fake, NOW), Tried::Wrong, "it was used");
        forgotten.show("Code", &fake, &random, NOW).unwrap();
        assert_eq!(forgotten.looks(&shown(&fake), None, &fake, NOW.plus_ms(CODE_MS)), Tried::Wrong, "too late");
    }

    #[test]
    fn who_guesses_loses_the_code_and_then_waits() {
        let (forgotten, fake, random) = (Forgotten::default(), Fake::default(), SeededRandom::new(4));
        forgotten.show("Code", &fake, &random, NOW).unwrap();
        let code = shown(&fake);
        for _ in 0..CODE_TRIES {
            assert_eq!(forgotten.looks("AAAA-AAAA", None, &fake, NOW), Tried::Wrong);
        }
        let Tried::TooSoon(left) = forgotten.looks(&code, None, &fake, NOW) else { panic!() };
        assert!((25_000..=30_000).contains(&left), "{left}");
        assert_eq!(
            forgotten.looks(&code, None, &fake, NOW.plus_ms(left)),
            Tried::Wrong,
            "the code went with the fifth"
        );
        forgotten.show("Code", &fake, &random, NOW).unwrap();
        let later = NOW.plus_ms(10 * left);
        assert_eq!(forgotten.looks(&shown(&fake), None, &fake, later), Tried::Right, "a new one, after the pause");
    }

    #[test]
    fn off_the_box_there_is_no_screen() {
        let folder = tempfile::tempdir().unwrap();
        let none = machine::Client::at(folder.path().join("none/sock"));
        let forgotten = Forgotten::default();
        assert_eq!(forgotten.show("Code", &none, &SeededRandom::new(1), NOW), Err(machine::Error::NoBox));
        assert!(forgotten.inner().shown.is_none());
    }
}
