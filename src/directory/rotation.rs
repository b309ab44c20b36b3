//! When a domain's DKIM keys are changed for new ones, and how far that is: what is due is pure, from what is kept of the keys
//! and the time; the DNS is handed in.
//!
//! A pair of keys comes, signs, leaves, and is gone:
//!
//! | stage | its record | it signs | until |
//! |---|---|---|---|
//! | coming | is to be published | no | both records were seen at the domain's own name servers |
//! | signing | is published | yes | another pair has come, after `interval` |
//! | leaving | is published | no | [`OVERLAP_MS`]: letters it signed are on their way |
//! | gone | is to be withdrawn | no, it is destroyed | its record is not there any more |
//!
//! Each step is one transaction, and what is due is told from the rows alone: whenever the power is cut, it goes on from there.

use crate::base::{Random, Time};
use crate::store::Data;

use super::Error;
use super::dkim::{self, NewKeys};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// How long a letter may wait in a queue before it is given up (ours waits as long), and a week for those who read late.
pub const OVERLAP_MS: i64 = (5 + 7) * DAY_MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Coming,
    Signing,
    Leaving,
    Gone,
}

impl Stage {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Coming => "coming",
            Stage::Signing => "signing",
            Stage::Leaving => "leaving",
            Stage::Gone => "gone",
        }
    }

    pub(super) fn of(number: Option<u8>) -> Stage {
        match number {
            Some(1) => Stage::Coming,
            Some(2) => Stage::Leaving,
            Some(3) => Stage::Gone,
            // Keys of before there were stages.
            _ => Stage::Signing,
        }
    }

    pub(super) fn number(self) -> Option<u8> {
        match self {
            Stage::Signing => None,
            Stage::Coming => Some(1),
            Stage::Leaving => Some(2),
            Stage::Gone => Some(3),
        }
    }
}

/// A key as far as its time goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub selector: String,
    pub stage: Stage,
    /// In this stage.
    pub since: Time,
}

/// What is to be done now; the selectors are those of the keys it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A new pair.
    Make,
    /// Its records published; when all were seen, the pair signs.
    Publish(Vec<String>),
    /// They are needed no more: the keys are destroyed.
    Retire(Vec<String>),
    /// Their records withdrawn; those that are not there any more are forgotten.
    Withdraw(Vec<String>),
}

/// All that is due for one domain. `interval_ms` is how long a pair signs; `None`: until somebody asks for another.
pub fn due(keys: &[Standing], interval_ms: Option<i64>, now: Time) -> Vec<Due> {
    let of = |stage: Stage, due: &dyn Fn(&Standing) -> bool| -> Vec<String> {
        keys.iter().filter(|key| key.stage == stage && due(key)).map(|key| key.selector.clone()).collect()
    };
    let mut out = Vec::new();
    let coming = of(Stage::Coming, &|_| true);
    let old = |key: &Standing| interval_ms.is_some_and(|interval| key.since.plus_ms(interval) <= now);
    if !coming.is_empty() {
        out.push(Due::Publish(coming));
    } else if !of(Stage::Signing, &old).is_empty() {
        out.push(Due::Make);
    }
    let retire = of(Stage::Leaving, &|key| key.since.plus_ms(OVERLAP_MS) <= now);
    if !retire.is_empty() {
        out.push(Due::Retire(retire));
    }
    let gone = of(Stage::Gone, &|_| true);
    if !gone.is_empty() {
        out.push(Due::Withdraw(gone));
    }
    out
}

/// The domain's DNS, as far as keys are concerned. Blocks for as long as name servers take. Errors: the end of a sentence.
pub trait World {
    /// Makes the records of the domain's keys what they should be, where that can be done by itself; else does nothing.
    fn write(&self, domain: &str) -> Result<(), String>;
    /// Whether the records of all these keys are right at the domain's own name servers.
    fn are_there(&self, domain: &str, selectors: &[String]) -> Result<bool, String>;
    /// Those of which no record is there any more.
    fn absent(&self, domain: &str, selectors: &[String]) -> Result<Vec<String>, String>;
}

/// What was done for one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    pub made: Vec<String>,
    /// Sign from now on.
    pub signing: Vec<String>,
    /// Wait until their records are in the DNS.
    pub waiting: Vec<String>,
    pub retired: Vec<String>,
    pub forgotten: Vec<String>,
    /// Why records could not be written or looked at.
    pub trouble: Option<String>,
}

/// Does what is due for a domain. `anew`: with a new pair in any case, or with the one that is coming already.
pub fn tend(
    data: &Data,
    world: &dyn World,
    random: &dyn Random,
    domain: &str,
    interval_ms: Option<i64>,
    now: Time,
    anew: bool,
) -> Result<Rotated, Error> {
    let mut done = Rotated::default();
    let standing = dkim::standing(&data.read()?, domain)?;
    let mut all = due(&standing, interval_ms, now);
    if anew && !all.iter().any(|one| matches!(one, Due::Make | Due::Publish(_))) {
        all.insert(0, Due::Make);
    }
    for one in all {
        let key = domain.to_owned();
        match one {
            Due::Make => {
                let taken: Vec<String> = standing.iter().map(|key| key.selector.clone()).collect();
                let keys = NewKeys::make_beside(random, now, &taken)?;
                let made = data.write_blocking(move |txn| dkim::add_coming(txn, &key, &keys, now))?.value;
                done.made.clone_from(&made);
                publish(data, world, domain, made, now, &mut done)?;
            }
            Due::Publish(selectors) => publish(data, world, domain, selectors, now, &mut done)?,
            Due::Retire(selectors) => {
                let leaving = selectors.clone();
                data.write_blocking(move |txn| dkim::retire(txn, &key, &leaving, now))?;
                withdraw(data, world, domain, &selectors, &mut done)?;
                done.retired = selectors;
            }
            Due::Withdraw(selectors) => withdraw(data, world, domain, &selectors, &mut done)?,
        }
    }
    Ok(done)
}

fn publish(
    data: &Data,
    world: &dyn World,
    domain: &str,
    selectors: Vec<String>,
    now: Time,
    done: &mut Rotated,
) -> Result<(), Error> {
    // Whoever writes records by hand may have done so, whatever became of writing them here.
    let written = world.write(domain);
    match world.are_there(domain, &selectors) {
        Ok(true) => {
            let (key, coming) = (domain.to_owned(), selectors.clone());
            data.write_blocking(move |txn| dkim::switch(txn, &key, &coming, now))?;
            done.signing = selectors;
            return Ok(());
        }
        Ok(false) => done.trouble = done.trouble.take().or(written.err()),
        Err(why) => done.trouble = done.trouble.take().or(written.err()).or(Some(why)),
    }
    done.waiting = selectors;
    Ok(())
}

fn withdraw(
    data: &Data,
    world: &dyn World,
    domain: &str,
    selectors: &[String],
    done: &mut Rotated,
) -> Result<(), Error> {
    let written = world.write(domain);
    match world.absent(domain, selectors) {
        Ok(absent) if !absent.is_empty() => {
            let (key, gone) = (domain.to_owned(), absent.clone());
            data.write_blocking(move |txn| dkim::forget(txn, &key, &gone))?;
            done.forgotten = absent;
        }
        Ok(_) => done.trouble = done.trouble.take().or(written.err()),
        Err(why) => done.trouble = done.trouble.take().or(written.err()).or(Some(why)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::base::SeededRandom;
    use crate::directory::manage::domain;
    use crate::store::data::Options;
    use crate::store::disk::{SimDisk, SimOptions};

    const D: &str = "example.test";

    fn data() -> Data {
        let options = Options { ballast_bytes: 0, ..Options::default() };
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), options).unwrap();
        let keys = NewKeys::make(&SeededRandom::new(1), Time(0)).unwrap();
        data.write_blocking(move |txn| domain::add(txn, D, &keys, Time(0))).unwrap();
        data
    }

    /// A DNS that is written by us, or by an owner who is told what to write; and that is down at times.
    struct Zone<'d> {
        data: &'d Data,
        records: RefCell<BTreeSet<String>>,
        automatic: bool,
        down: Cell<bool>,
    }

    impl Zone<'_> {
        fn set_right(&self) {
            let wanted = dkim::list(&self.data.read().unwrap(), D).unwrap();
            *self.records.borrow_mut() = wanted.into_iter().map(|key| key.selector).collect();
        }
    }

    impl World for Zone<'_> {
        fn write(&self, _: &str) -> Result<(), String> {
            if self.automatic {
                if self.down.get() {
                    return Err("down".into());
                }
                self.set_right();
            }
            Ok(())
        }

        fn are_there(&self, _: &str, selectors: &[String]) -> Result<bool, String> {
            match self.down.get() {
                true => Err("down".into()),
                false => Ok(selectors.iter().all(|one| self.records.borrow().contains(one))),
            }
        }

        fn absent(&self, _: &str, selectors: &[String]) -> Result<Vec<String>, String> {
            match self.down.get() {
                true => Err("down".into()),
                false => Ok(selectors.iter().filter(|one| !self.records.borrow().contains(*one)).cloned().collect()),
            }
        }
    }

    fn signing(data: &Data) -> Vec<String> {
        dkim::private(&data.read().unwrap(), D).unwrap().into_iter().map(|key| key.selector).collect()
    }

    /// Two years, four looks a day: whatever signs has its record in the DNS, and has it for as long as letters are on their way.
    fn years(automatic: bool) -> (usize, Vec<Standing>) {
        let data = data();
        let zone = Zone { data: &data, records: RefCell::default(), automatic, down: Cell::new(false) };
        zone.set_right();
        let random = SeededRandom::new(7);
        let mut signed: Vec<(Time, Vec<String>)> = Vec::new();
        let mut pairs = BTreeSet::new();
        for look in 0..2 * 365 * 4i64 {
            let now = Time(look * DAY_MS / 4);
            zone.down.set(look % 97 < 20);
            // The owner sits down every third week.
            if !automatic && look % 84 == 0 {
                zone.set_right();
            }
            tend(&data, &zone, &random, D, Some(180 * DAY_MS), now, false).unwrap();
            let keys = signing(&data);
            assert_eq!(keys.len(), 2, "U10: one of each kind, day {}", look / 4);
            pairs.insert(keys.clone());
            signed.push((now, keys));
            signed.retain(|(then, _)| then.plus_ms(OVERLAP_MS - DAY_MS) > now);
            for (then, keys) in &signed {
                let there = keys.iter().all(|key| zone.records.borrow().contains(key));
                assert!(there, "signed on day {}, looked up on day {}", then.0 / DAY_MS, look / 4);
            }
            assert!(dkim::standing(&data.read().unwrap(), D).unwrap().len() <= 6);
        }
        assert_eq!(dkim::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        assert_eq!(data.check().unwrap(), Vec::<String>::new());
        (pairs.len(), dkim::standing(&data.read().unwrap(), D).unwrap())
    }

    #[test]
    fn keys_change_by_themselves_where_records_can_be_written_and_nothing_signs_without_its_record() {
        let (pairs, left) = years(true);
        assert_eq!(pairs, 5, "every 180 days");
        assert!(left.iter().all(|key| key.stage == Stage::Signing || key.stage == Stage::Leaving), "{left:?}");
    }

    #[test]
    fn and_by_an_owner_who_writes_them_every_third_week() {
        let (pairs, _) = years(false);
        assert!((4..=5).contains(&pairs), "{pairs}");
    }

    #[test]
    fn a_cut_at_any_step_is_gone_on_from() {
        let data = data();
        let zone = Zone { data: &data, records: RefCell::default(), automatic: true, down: Cell::new(false) };
        zone.set_right();
        let random = SeededRandom::new(7);
        let go = |now: Time, anew: bool| tend(&data, &zone, &random, D, None, now, anew).unwrap();
        assert_eq!(go(Time(400 * DAY_MS), false), Rotated::default(), "without an interval only when it is asked for");
        // Made, and then the power goes: the rows say what is due.
        let keys = NewKeys::make_beside(&random, Time(DAY_MS), &[]).unwrap();
        let made = data.write_blocking(move |txn| dkim::add_coming(txn, D, &keys, Time(DAY_MS))).unwrap().value;
        assert_eq!(made, ["19700102e", "19700102r"]);
        let done = go(Time(2 * DAY_MS), true);
        assert_eq!((done.made.len(), &done.signing), (0, &made), "with the pair that is there");
        assert_eq!(signing(&data), made);
        // A pair of which one half was seen only.
        let keys = NewKeys::make_beside(&random, Time(DAY_MS), &made).unwrap();
        let again = data.write_blocking(move |txn| dkim::add_coming(txn, D, &keys, Time(DAY_MS))).unwrap().value;
        assert_eq!(again, ["19700102e2", "19700102r2"]);
        let half = vec![again[0].clone()];
        data.write_blocking(move |txn| dkim::switch(txn, D, &half, Time(3 * DAY_MS))).unwrap();
        assert_eq!(signing(&data), made, "U10");
        // The first ones left on day 2. Their keys are destroyed, and the power goes before the records do.
        let first: Vec<String> = vec!["197001e".into(), "197001r".into()];
        let later = Time(2 * DAY_MS).plus_ms(OVERLAP_MS);
        data.write_blocking({
            let first = first.clone();
            move |txn| dkim::retire(txn, D, &first, later)
        })
        .unwrap();
        assert!(zone.records.borrow().contains("197001e"));
        let done = go(later, false);
        assert_eq!(done.forgotten, first);
        assert!(!zone.records.borrow().contains("197001e"));
        assert_eq!(signing(&data), again, "and what was coming came");
    }
}
