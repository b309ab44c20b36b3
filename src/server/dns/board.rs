//! What is being done to records in the background, for whoever cannot wait: a page, a program.
//!
//! In memory only. What was written is remembered by the data folder; a start forgets no more than words.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::appliance::dnsguide::Memory;
use crate::appliance::writing::{Difference, Wish, Work, Writing};
use crate::base::Time;
use crate::message::date::{Date, rfc3339};

use super::super::house::House;
use super::super::verbs::{self, Error, Request};
use super::{Kept, shown};

/// How long somebody at a page waits before it shows that something is going on.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(2);

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

    /// What was planned by another method says nothing any more.
    pub fn forget(&self) {
        self.notes().works.retain(|_, work| work.is_running());
    }

    fn begin(&self, domain: &str, wish: Wish, now: Time) -> Result<Work, Error> {
        let mut notes = self.notes();
        if notes.works.get(domain).is_some_and(Work::is_running) {
            return Err(Error::Words(format!(
                "the records of {domain} are being looked at or written just now; wait until that is done"
            )));
        }
        notes.last += 1;
        let work =
            Work { id: notes.last, wish, begun: rfc3339(Date::utc(now)), ended: None, difference: None, failed: None };
        notes.works.insert(domain.to_owned(), work.clone());
        Ok(work)
    }

    fn end(&self, domain: &str, now: Time, came: Result<Difference, String>) {
        if let Some(work) = self.notes().works.get_mut(domain) {
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
    let work = house.board.begin(domain, wish.clone(), house.clock.now())?;
    let (of, name) = (house.clone(), domain.to_owned());
    let spawned = std::thread::Builder::new().name("records".to_owned()).spawn(move || run(&of, &name, &wish));
    if let Err(error) = spawned {
        error!(%error, "no thread to write records");
        house.board.end(domain, house.clock.now(), Err("this box is too busy just now. Try again".to_owned()));
    }
    Ok(house.board.wait(domain, patience).unwrap_or(work))
}

fn run(house: &House, domain: &str, wish: &Wish) {
    // A mistake of ours must not leave it running for ever.
    let came = catch_unwind(AssertUnwindSafe(|| shown(house, domain, &[], wish)));
    let came = came.unwrap_or_else(|_| Err(Error::Words("something went wrong inside homepost".to_owned())));
    let came = came.map_err(|error| error.to_string());
    match &came {
        Ok(done) if wish.write => info!(domain, done = done.done, of = done.to_write, "records are written"),
        Err(why) => warn!(domain, why, "records"),
        Ok(_) => {}
    }
    let wrote = wish.write && came.as_ref().is_ok_and(|done| done.done > 0);
    house.board.end(domain, house.clock.now(), came);
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
        let first = board.begin("a.test", write.clone(), now).unwrap();
        assert!(board.begin("a.test", write.clone(), now).unwrap_err().to_string().contains("just now"));
        let other = board.begin("b.test", Wish::default(), now).unwrap();
        assert_ne!(first.id, other.id);
        assert!(board.wait("a.test", Duration::from_millis(1)).unwrap().is_running());
        board.forget();
        assert!(board.of("a.test").is_some(), "what runs is not forgotten");
        std::thread::scope(|scope| {
            scope.spawn(|| board.end("a.test", now, Err("the world".to_owned())));
            let ended = board.wait("a.test", Duration::from_secs(60)).unwrap();
            assert_eq!((ended.failed.as_deref(), ended.id), (Some("the world"), first.id));
        });
        assert!(board.begin("a.test", write, now).unwrap().failed.is_none());
        board.end("a.test", now, Ok(Difference::default()));
        board.forget();
        assert!(board.of("a.test").is_none());
    }
}
