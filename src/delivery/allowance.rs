//! How many people elsewhere an account may write to. Whoever has stolen a pass phrase writes to thousands that the account has
//! never written to before; a household does not. So those are counted apart, and soon they are too many.
//!
//! The counts are facts that expire (P4): lost, they begin at nothing, and everybody is new again. What was decided from them,
//! that an account may send no more, lies with the account.

use std::sync::Arc;

use crate::base::{AccountId, Time};
use crate::store::lookup::Lookup;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Whom an account has written to within this time it knows.
const KNOWN_MS: i64 = 180 * DAY_MS;

/// What one account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Recipients elsewhere within an hour, whoever they are.
    pub hour: u64,
    /// Of these, ones it does not know yet.
    pub new_hour: u64,
    /// And within a day; going past this stops it.
    pub new_day: u64,
}

impl Default for Rates {
    /// A letter to a whole class of parents goes out at once, and with all of a household's Christmas letters the day is not
    /// full. Who sends spam has use for thousands.
    fn default() -> Rates {
        Rates { hour: 200, new_hour: 50, new_day: 100 }
    }
}

/// Which limit was reached, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Hour(u64),
    NewHour(u64),
    /// It is more than waiting: the account is stopped.
    NewDay(u64),
}

/// Recipients elsewhere: all of them, and the new ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub all: u64,
    pub new: u64,
}

/// Whose counts they are: with the season, since they begin anew when an account is let go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub account: AccountId,
    pub season: u32,
}

#[derive(Clone)]
pub(super) struct Allowance(pub Arc<dyn Lookup>);

/// What is counted, and how long a count lasts from its first.
const COUNTS: [(u8, i64); 3] = [(b'h', HOUR_MS), (b'n', HOUR_MS), (b'd', DAY_MS)];

impl Allowance {
    pub fn is_new(&self, whose: Whose, address: &str, now: Time) -> bool {
        self.0.get(&known(whose, address), now).is_none()
    }

    pub fn count(&self, whose: Whose, addresses: &[String], now: Time) -> Count {
        let new = addresses.iter().filter(|address| self.is_new(whose, address, now)).count() as u64;
        Count { all: addresses.len() as u64, new }
    }

    /// Whether `more` would be too many; counts nothing.
    pub fn would(&self, whose: Whose, more: Count, rates: &Rates, now: Time) -> Option<Over> {
        let so_far = COUNTS.map(|(kind, _)| self.0.get(&key(kind, whose), now).map_or(0, number));
        judge(so_far, more, rates)
    }

    /// Counts a letter's recipients, unless they are too many.
    pub fn spend(&self, whose: Whose, more: Count, rates: &Rates, now: Time) -> Option<Over> {
        // Counted first and then looked at, so that letters that come at once do not all find room for themselves.
        let after = self.change(whose, more, 1, now);
        let so_far =
            [after[0] - more.all.min(after[0]), after[1] - more.new.min(after[1]), after[2] - more.new.min(after[2])];
        let over = judge(so_far, more, rates);
        if over.is_some() {
            self.change(whose, more, -1, now);
        }
        over
    }

    /// Of a letter that was not taken after all.
    pub fn give_back(&self, whose: Whose, count: Count, now: Time) {
        self.change(whose, count, -1, now);
    }

    fn change(&self, whose: Whose, by: Count, sign: i64, now: Time) -> [u64; 3] {
        let amounts = [by.all, by.new, by.new];
        let mut after = [0; 3];
        for (((kind, lasts), amount), after) in COUNTS.into_iter().zip(amounts).zip(&mut after) {
            let amount = sign.saturating_mul(i64::try_from(amount).unwrap_or(i64::MAX));
            let count = self.0.add(&key(kind, whose), amount, now.plus_ms(lasts), now);
            *after = u64::try_from(count).unwrap_or(0);
        }
        after
    }

    /// It has written to them: they are not new any more.
    pub fn learn(&self, whose: Whose, addresses: &[String], now: Time) {
        for address in addresses {
            self.0.put(&known(whose, address), &[], now.plus_ms(KNOWN_MS), now);
        }
    }

    /// True once a day: somebody is to be told that an account has to wait.
    pub fn is_to_be_told(&self, whose: Whose, now: Time) -> bool {
        self.0.add(&key(b't', whose), 1, now.plus_ms(DAY_MS), now) == 1
    }
}

fn judge(so_far: [u64; 3], more: Count, rates: &Rates) -> Option<Over> {
    let [hour, new_hour, new_day] = so_far;
    if hour.saturating_add(more.all) > rates.hour && more.all > 0 {
        return Some(Over::Hour(rates.hour));
    }
    if more.new == 0 {
        return None;
    }
    // Many at once may be a mistake; many hour after hour are none.
    if new_hour.saturating_add(more.new) > rates.new_hour {
        return Some(Over::NewHour(rates.new_hour));
    }
    (new_day.saturating_add(more.new) > rates.new_day).then_some(Over::NewDay(rates.new_day))
}

fn number(value: Vec<u8>) -> u64 {
    let count = <[u8; 8]>::try_from(value.as_slice()).map_or(0, i64::from_be_bytes);
    u64::try_from(count).unwrap_or(0)
}

fn key(kind: u8, whose: Whose) -> Vec<u8> {
    [b"sent/", &[kind][..], &whose.account.0.to_be_bytes(), &whose.season.to_be_bytes()].concat()
}

/// In whatever season: whom it knows it goes on to know. Without the address itself, which is nobody's business here.
fn known(whose: Whose, address: &str) -> Vec<u8> {
    let digest = blake3::hash(address.to_lowercase().as_bytes());
    [b"sent/k", &whose.account.0.to_be_bytes()[..], &digest.as_bytes()[..16]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lookup;

    const WHO: Whose = Whose { account: AccountId(7), season: 0 };
    const RATES: Rates = Rates { hour: 6, new_hour: 3, new_day: 5 };

    fn people(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|n| format!("p{n}@else.test")).collect()
    }

    /// Sends to each in turn; gives how many went, and what stopped it.
    fn send(allowance: &Allowance, whose: Whose, addresses: &[String], now: Time) -> (usize, Option<Over>) {
        for (n, address) in addresses.iter().enumerate() {
            let one = std::slice::from_ref(address);
            let count = allowance.count(whose, one, now);
            let asked = allowance.would(whose, count, &RATES, now);
            let over = allowance.spend(whose, count, &RATES, now);
            assert_eq!(asked, over, "what RCPT says is what the letter finds");
            if over.is_some() {
                return (n, over);
            }
            allowance.learn(whose, one, now);
        }
        (addresses.len(), None)
    }

    #[test]
    fn strangers_are_few_an_hour_and_fewer_a_day_and_friends_are_many() {
        let allowance = Allowance(lookup::memory(1 << 20));
        let at = |minutes: i64| Time(minutes * 60_000 + 1);
        assert_eq!(send(&allowance, WHO, &people(0, 10), at(0)), (3, Some(Over::NewHour(3))));
        assert_eq!(send(&allowance, WHO, &people(0, 3), at(1)), (3, None), "they are known now");
        assert_eq!(send(&allowance, WHO, &people(0, 3), at(2)), (0, Some(Over::Hour(6))));
        assert_eq!(send(&allowance, WHO, &people(10, 20), at(61)), (2, Some(Over::NewDay(5))));
        assert_eq!(send(&allowance, WHO, &["P0@ELSE.test".into()], at(62)), (1, None), "friends go on");
        let other = Whose { account: AccountId(8), season: 0 };
        assert_eq!(send(&allowance, other, &people(0, 2), at(62)), (2, None), "each for itself");
        let next = Whose { season: 1, ..WHO };
        assert_eq!(
            send(&allowance, next, &people(30, 40), at(63)),
            (3, Some(Over::NewHour(3))),
            "let go on: counted anew"
        );
        assert_eq!(
            send(&allowance, WHO, &people(50, 60), at(24 * 60 + 1)),
            (3, Some(Over::NewHour(3))),
            "the next day"
        );
        assert_eq!(send(&allowance, WHO, &people(0, 1), at(181 * 24 * 60)), (1, None));
        assert!(allowance.is_new(WHO, "p1@else.test", at(181 * 24 * 60)), "forgotten after half a year");
    }

    #[test]
    fn what_is_refused_or_not_taken_does_not_count() {
        let allowance = Allowance(lookup::memory(1 << 20));
        let now = Time(1);
        let many = allowance.count(WHO, &people(0, 4), now);
        assert_eq!(many, Count { all: 4, new: 4 });
        for _ in 0..5 {
            assert_eq!(allowance.spend(WHO, many, &RATES, now), Some(Over::NewHour(3)));
        }
        let few = Count { all: 3, new: 3 };
        assert_eq!(allowance.spend(WHO, few, &RATES, now), None);
        allowance.give_back(WHO, few, now);
        assert_eq!(allowance.spend(WHO, few, &RATES, now), None);
        assert!(allowance.is_to_be_told(WHO, now) && !allowance.is_to_be_told(WHO, now));
        assert!(allowance.is_to_be_told(WHO, now.plus_ms(DAY_MS)));
    }
}
