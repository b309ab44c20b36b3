//! What is being done to records in the background, for whoever cannot wait: a page, a program.
//!
//! In memory only. What was written is remembered by the data folder; a start forgets no more than words.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::appliance::dnsguide::Memory;
use crate::appliance::writing::{Difference, Line, Wish, Work, Writing};
use crate::base::Time;
use crate::message::date::{Date, rfc3339};

use super::super::house::House;
use super::super::verbs::{self, Error, Request};
use super::{Kept, shown};

/// How long somebody at a page waits before it shows that something is going on.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(2);

/// Why a page's plan is not written.
pub(super) const OTHER: &str = "what was shown is not what counts any more, and nothing was written; look again";

/// What was done last for each domain.
#[derive(Default)]
pub(in super::super) struct Board {
    all: Mutex<Notes>,
    ended: Condvar,
}

#[derive(Default)]
struct Notes {
    last: u64,
    works: BTreeMap<String, Work>,
}

impl Board {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, domain: &str) -> Option<Work> {
        self.notes().works.get(domain).cloned()
    }

    /// What was planned by another method says nothing any more; that goes for a look that is still going on.
    pub fn forget(&self) {
        self.notes().works.retain(|_, work| work.is_running() && work.wish.write);
        self.ended.notify_all();
    }

    /// Also gives what was shown, if no more than that is to be written.
    fn begin(&self, domain: &str, wish: Wish, now: Time) -> Result<(Work, Option<Vec<Line>>), Error> {
        let mut notes = self.notes();
        let last = notes.works.get(domain);
        if last.is_some_and(Work::is_running) {
            return Err(Error::Words(format!(
                "the records of {domain} are being looked at or written just now; wait until that is done"
            )));
        }
        let seen = match wish.seen.filter(|_| wish.write) {
            None => None,
            Some(id) => {
                let shown = last.filter(|work| work.id == id && work.wish.undo == wish.undo && !work.wish.write);
                let shown = shown.and_then(|work| work.difference.as_ref()).map(|shown| shown.lines.clone());
                Some(shown.ok_or_else(|| Error::Words(OTHER.to_owned()))?)
            }
        };
        // Also after a start another one than any that a page still shows.
        notes.last = (notes.last + 1).max(u64::try_from(now.seconds()).unwrap_or(0).saturating_mul(1000));
        let work =
            Work { id: notes.last, wish, begun: rfc3339(Date::utc(now)), ended: None, difference: None, failed: None };
        notes.works.insert(domain.to_owned(), work.clone());
        Ok((work, seen))
    }

    /// What was forgotten meanwhile stays forgotten.
    fn end(&self, domain: &str, id: u64, now: Time, came: Result<Difference, String>) {
        if let Some(work) = self.notes().works.get_mut(domain).filter(|work| work.id == id) {
            work.ended = Some(rfc3339(Date::utc(now)));
            match came {
                Ok(difference) => work.difference = Some(difference),
                Err(why) => work.failed = Some(why),
            }
        }
        self.ended.notify_all();
    }

    /// Until it has ended, but no longer than this.
    fn wait(&self, domain: &str, patience: Duration) -> Option<Work> {
        let running = |notes: &mut Notes| notes.works.get(domain).is_some_and(Work::is_running);
        let waited = self.ended.wait_timeout_while(self.notes(), patience, running);
        let (notes, _) = waited.unwrap_or_else(PoisonError::into_inner);
        notes.works.get(domain).cloned()
    }
}

/// All of a domain.
pub(in super::super) fn writing(house: &House, domain: &str) -> Result<Writing, Error> {
    let undoable = Memory::load(&house.data.read()?, domain)?.step.is_some();
    Ok(Writing { method: Kept::of(house).method(), undoable, work: house.board.of(domain) })
}

/// Begins it on a thread of its own, and waits for as long as `patience` lasts. Errors: something is being done for this
/// domain already.
pub(in super::super) fn begin(house: &Arc<House>, domain: &str, wish: Wish, patience: Duration) -> Result<Work, Error> {
    let (work, seen) = house.board.begin(domain, wish, house.clock.now())?;
    let (of, name, begun) = (house.clone(), domain.to_owned(), work.clone());
    let thread = std::thread::Builder::new().name("records".to_owned());
    let spawned = thread.spawn(move || run(&of, &name, &begun, seen.as_deref()));
    if let Err(error) = spawned {
        error!(%error, "no thread to write records");
        house.board.end(domain, work.id, house.clock.now(), Err("this box is too busy just now. Try again".to_owned()));
    }
    Ok(house.board.wait(domain, patience).unwrap_or(work))
}

fn run(house: &House, domain: &str, work: &Work, seen: Option<&[Line]>) {
    let wish = &work.wish;
    // A mistake of ours must not leave it running for ever.
    let came = catch_unwind(AssertUnwindSafe(|| shown(house, domain, &[], wish, seen)));
    let came = came.unwrap_or_else(|_| Err(Error::Words("something went wrong inside homepost".to_owned())));
    let came = came.map_err(|error| error.to_string());
    match &came {
        Ok(done) if wish.write => info!(domain, done = done.done, of = done.to_write, "records are written"),
        Err(why) => warn!(domain, why, "records"),
        Ok(_) => {}
    }
    let wrote = wish.write && came.as_ref().is_ok_and(|done| done.done > 0);
    house.board.end(domain, work.id, house.clock.now(), came);
    if wrote {
        // For whoever asks what is wrong: it is another answer now.
        let asked = Request::DnsCheck { domain: domain.to_owned(), addresses: Vec::new(), servers: Vec::new() };
        drop(verbs::run(house, &asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_for_a_domain_and_who_waits_is_told() {
        let board = Board::default();
        let (write, now) = (Wish { write: true, ..Wish::default() }, Time::from_seconds(0));
        let first = board.begin("a.test", write.clone(), now).unwrap().0;
        assert!(board.begin("a.test", write.clone(), now).unwrap_err().to_string().contains("just now"));
        let other = board.begin("b.test", Wish::default(), now).unwrap().0;
        assert_ne!(first.id, other.id);
        assert!(board.wait("a.test", Duration::from_millis(1)).unwrap().is_running());
        board.forget();
        assert!(board.of("a.test").is_some(), "what runs is not forgotten");
        std::thread::scope(|scope| {
            scope.spawn(|| board.end("a.test", first.id, now, Err("the world".to_owned())));
            let ended = board.wait("a.test", Duration::from_secs(60)).unwrap();
            assert_eq!((ended.failed.as_deref(), ended.id), (Some("the world"), first.id));
        });
        let again = board.begin("a.test", write, now).unwrap().0;
        assert!(again.failed.is_none());
        board.end("a.test", again.id, now, Ok(Difference::default()));
        board.forget();
        assert!(board.of("a.test").is_none());
    }

    #[test]
    fn a_look_that_began_before_the_method_changed_says_nothing_after_it() {
        let (board, now) = (Board::default(), Time::from_seconds(0));
        let old = board.begin("a.test", Wish::default(), now).unwrap().0;
        board.forget();
        let new = board.begin("a.test", Wish::default(), now).unwrap().0;
        board.end("a.test", old.id, now, Ok(Difference::default()));
        assert!(board.of("a.test").unwrap().is_running(), "the look by the new method goes on");
        board.end("a.test", new.id, now, Err("no".to_owned()));
        assert_eq!(board.of("a.test").unwrap().failed.as_deref(), Some("no"));
    }

    #[test]
    fn a_page_writes_what_it_showed_and_nothing_else() {
        let (board, now) = (Board::default(), Time::from_seconds(1_800_000_000));
        let write = |seen| Wish { write: true, seen: Some(seen), ..Wish::default() };
        let refused = |wish| board.begin("a.test", wish, now).unwrap_err().to_string();
        assert_eq!(refused(write(0)), OTHER);
        let look = board.begin("a.test", Wish::default(), now).unwrap().0;
        assert!(look.id > 1_000_000_000, "after a start no number comes again");
        board.end("a.test", look.id, now, Ok(Difference::default()));
        assert_eq!(refused(write(look.id - 1)), OTHER);
        assert_eq!(refused(Wish { undo: true, ..write(look.id) }), OTHER, "an undo was not shown");
        let (wrote, seen) = board.begin("a.test", write(look.id), now).unwrap();
        assert_eq!(seen, Some(Vec::new()));
        board.end("a.test", wrote.id, now, Ok(Difference::default()));
        assert_eq!((refused(write(look.id)).as_str(), refused(write(wrote.id)).as_str()), (OTHER, OTHER), "once");
        assert_eq!(board.begin("a.test", Wish { write: true, ..Wish::default() }, now).unwrap().1, None);
    }
}
