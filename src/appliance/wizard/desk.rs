//! Where the machine meets the world: keeps first, shows then (W2), one answer after the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{Clock as BaseClock, Random};

use super::door::{Token, Who};
use super::machine::{Next, Wizard};
use super::saved::{Domain, Saved};
use super::{Answer, Facts, Given, Job, Outcome, Refusal, Secret, State, Step};

/// What the wizard stands on. Its methods may take their time, and are called one at a time, but for the long jobs.
pub trait Host: Send + Sync + 'static {
    /// Durably, before it returns; what was there before stays if it fails. Errors: a sentence for the owner.
    fn keep(&self, saved: &Saved) -> Result<(), String>;
    fn facts(&self) -> Facts;
    fn run(&self, job: &Job) -> Outcome;
    /// The host name and the administrator's address of a folder that is set up.
    fn household(&self) -> Option<(String, String)>;
    /// The records of our domain as a zone file, with names in full or relative to it. `None`: there is none to be had.
    fn zone(&self, _domain: &str, _relative: bool) -> Option<String> {
        None
    }
}

pub struct Desk<H> {
    wizard: Mutex<Wizard>,
    /// Held from an answer to its end.
    answering: Mutex<()>,
    host: H,
    clock: Arc<dyn BaseClock>,
    random: Arc<dyn Random>,
}

/// What an answer led to, besides being taken.
#[derive(Debug, Default)]
pub struct Said {
    /// A new session for whoever gave it.
    pub token: Option<Token>,
    /// Somebody's address and first pass phrase, to be shown once.
    pub phrase: Option<(String, Secret)>,
}

/// All that a page can show to `who`.
pub struct View {
    pub who: Who,
    pub saved: Saved,
    pub facts: Facts,
    pub steps: Vec<(Step, State)>,
    /// Where to go on.
    pub step: Step,
    /// Words of the recovery sheet and the two that are asked back (from 0): for the administrator only.
    pub sheet: Option<(Vec<&'static str>, (usize, usize))>,
}

impl View {
    pub fn state(&self, step: Step) -> &State {
        self.steps.iter().find(|(one, _)| *one == step).map_or(&State::NeedsYou, |(_, state)| state)
    }
}

impl<H: Host> Desk<H> {
    /// `kept` is what the host has kept, if anything. Errors: it cannot keep anything.
    pub fn open(
        host: H,
        kept: Option<Saved>,
        clock: Arc<dyn BaseClock>,
        random: Arc<dyn Random>,
    ) -> Result<Desk<H>, String> {
        let mut wizard = match kept {
            Some(saved) => Wizard::resume(saved, clock.mono()),
            None => Wizard::new(&*random),
        };
        if let Some((hostname, address)) = host.household() {
            wizard.adopt(&hostname, &address);
        }
        host.keep(wizard.saved())?;
        Ok(Desk { wizard: Mutex::new(wizard), answering: Mutex::default(), host, clock, random })
    }

    pub fn host(&self) -> &H {
        &self.host
    }

    fn wizard(&self) -> MutexGuard<'_, Wizard> {
        self.wizard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answering(&self) -> MutexGuard<'_, ()> {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn saved(&self) -> Saved {
        self.wizard().saved().clone()
    }

    pub fn who(&self, token: Option<&str>) -> Who {
        self.wizard().who(token, self.clock.mono())
    }

    pub fn look(&self, token: Option<&str>) -> View {
        let facts = self.host.facts();
        let mut wizard = self.wizard();
        let who = wizard.who(token, self.clock.mono());
        let sheet = match who {
            Who::Administrator => wizard.sheet().map(|(words, asked)| (words.to_vec(), asked)),
            _ => None,
        };
        let steps = wizard.steps(&facts);
        let step = wizard.current(&facts);
        View { who, saved: wizard.saved().clone(), facts, steps, step, sheet }
    }

    /// The zone file of the domain, for the administrator.
    pub fn zone(&self, token: Option<&str>, relative: bool) -> Option<(String, String)> {
        let Some(Domain::Own { name, .. }) = self.saved().domain else { return None };
        if self.who(token) != Who::Administrator {
            return None;
        }
        let text = self.host.zone(&name, relative)?;
        Some((name, text))
    }

    /// The state as `change` makes it, kept and then shown. What it returns is returned, also when that is a refusal: then the
    /// change (a counted try) is kept all the same.
    fn change<T>(&self, change: impl FnOnce(&mut Wizard) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut next = self.wizard().clone();
        let before = next.saved().clone();
        let done = change(&mut next);
        if *next.saved() != before {
            let kept = self.host.keep(next.saved());
            // W4: a wrong try that could not be kept is counted all the same, as long as we run.
            if let Err(error) = kept
                && done.is_ok()
            {
                let words = format!("This could not be kept ({error}), so it does not count. Please try again.");
                return Err(Refusal::words(words));
            }
        }
        // Sessions that were looked at meanwhile were only touched.
        *self.wizard() = next;
        done
    }

    pub fn code(&self, typed: &str) -> Result<Token, Refusal> {
        let _one = self.answering();
        self.change(|wizard| wizard.try_code(typed, &*self.random, self.clock.mono()))
    }

    pub fn sign_in(&self, phrase: &Secret) -> Result<Token, Refusal> {
        let _one = self.answering();
        let job = self.wizard().try_phrase(phrase, self.clock.mono())?;
        self.session(&job)
    }

    /// A new pass phrase by the words of the recovery sheet.
    pub fn recover(&self, words: &str, phrase: &Secret) -> Result<Token, Refusal> {
        let _one = self.answering();
        let job = self.change(|wizard| wizard.try_sheet(words, phrase, self.clock.mono()))?;
        self.session(&job)
    }

    fn session(&self, job: &Job) -> Result<Token, Refusal> {
        let outcome = self.host.run(job);
        let told = self.change(|wizard| wizard.told(job, outcome, &*self.random, self.clock.mono()))?;
        told.token.ok_or_else(|| Refusal::words("Please sign in."))
    }

    pub fn sign_out(&self, token: &str) {
        let _one = self.answering();
        self.wizard().sign_out(token);
    }

    /// Takes an answer from whoever has this session.
    pub fn say(&self, token: Option<&str>, answer: &Answer) -> Result<Said, Refusal> {
        let _one = self.answering();
        let who = self.who(token);
        self.take(who, answer)
    }

    /// From the command line, or from a file on the boot partition.
    pub fn console(&self, answer: &Answer) -> Result<Said, Refusal> {
        let _one = self.answering();
        self.take(Who::Console, answer)
    }

    /// All answers of a file, one after the other, as far as they are not given yet. Errors: a sentence with the line; what was
    /// taken before it stays, and the same file, put right, goes on from there.
    pub fn file(&self, given: &[Given]) -> Result<(), String> {
        let wizard = self.wizard().clone();
        wizard.rehearse(given, &*self.random)?;
        for one in given {
            let done = match (&one.answer, one.is_said(&self.saved())) {
                (Answer::You { phrase, .. }, true) => self.phrase_of_now(phrase),
                (_, true) => Ok(()),
                (answer, false) => self.console(answer).map(drop),
            };
            done.map_err(|refusal| one.wrong(&refusal))?;
        }
        Ok(())
    }

    /// The administrator was made before, by the same file perhaps, which says another pass phrase now.
    fn phrase_of_now(&self, phrase: &Secret) -> Result<(), Refusal> {
        let _one = self.answering();
        self.wizard().may(Who::Console, &Answer::Finish)?;
        if self.host.run(&Job::Check { phrase: phrase.clone() }) == Outcome::Checked(true) {
            return Ok(());
        }
        self.session(&Job::Change { phrase: phrase.clone() }).map(drop)
    }

    fn take(&self, who: Who, answer: &Answer) -> Result<Said, Refusal> {
        let mut said = Said::default();
        // One look-up and the answer itself: more would be a machine that goes round in circles.
        for _ in 0..3 {
            let next = self.change(|wizard| wizard.answer(who, answer, &*self.random))?;
            let Next::Ask(job) = next else { return Ok(said) };
            let outcome = self.host.run(&job);
            let told = self.change(|wizard| {
                let told = wizard.told(&job, outcome, &*self.random, self.clock.mono())?;
                if who == Who::Console && matches!(job, Job::Found { .. }) {
                    wizard.no_sheet();
                }
                Ok(told)
            })?;
            said.token = told.token.or(said.token);
            said.phrase = told.phrase.or(said.phrase);
            if !told.again {
                return Ok(said);
            }
        }
        Ok(said)
    }

    /// Somebody else has set the folder up: the command line, or a file.
    pub fn adopt(&self) {
        let _one = self.answering();
        if let Some((hostname, address)) = self.host.household() {
            let done = self.change(|wizard| {
                wizard.adopt(&hostname, &address);
                Ok(())
            });
            drop(done); // what could not be kept is found out again at the next start
        }
    }

    /// The long jobs that are to be run now, each on a thread of its own; [`Desk::ended`] is told how they ended.
    pub fn due(&self) -> Vec<Job> {
        let facts = self.host.facts();
        let _one = self.answering();
        let observed = self.change(|wizard| {
            wizard.observe(&facts);
            Ok(())
        });
        drop(observed); // it will be seen again
        self.wizard().due(&facts, self.clock.mono())
    }

    /// Runs a long job; with others beside it.
    pub fn run(&self, job: &Job) {
        let outcome = self.host.run(job);
        let _one = self.answering();
        let done = self.change(|wizard| wizard.told(job, outcome.clone(), &*self.random, self.clock.mono()));
        if done.is_err() {
            // It could not be kept. Shown all the same: it is only what was found out, and will be found out again.
            drop(self.wizard().told(job, outcome, &*self.random, self.clock.mono()));
        }
    }
}

#[cfg(test)]
impl<H: Host> Desk<H> {
    pub(super) fn wizard_for_tests(&self) -> MutexGuard<'_, Wizard> {
        self.wizard()
    }
}
