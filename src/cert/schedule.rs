//! When a certificate is ordered, and when it is tried again: pure, so that years of it can be played in a test.
//!
//! Nothing here counts in fixed days: lifetimes of authorities go from a year to six days, and will go on shrinking. All
//! times are wall time, since certificates are; so each is held against the clock anew, and a time that makes no sense any
//! more (the clock was corrected) is not waited for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Random, Time};

use super::trouble::{Cause, Trouble};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Before this the clock cannot be right: it is when this was written.
const BUILT: Time = Time(1_795_651_200_000); // 2026-11-26

/// Below this a lifetime is a short one, and half of it is kept as a reserve instead of a third.
const SHORT: i64 = 10 * DAY;
/// Nothing is waited for longer; a limit of an authority may be a week.
const FURTHEST: i64 = 8 * DAY;
/// The longest wait after a failure, however many there were.
const LONGEST: i64 = DAY;
/// The same while there is no certificate yet, or it has ended: somebody may be working on what is wrong.
const LONGEST_WITHOUT: i64 = 6 * HOUR;
/// No two tries come closer than this by themselves.
const SHORTEST: i64 = 10 * MINUTE;
/// Between two questions for the window when the authority does not say (RFC 9773 4.3.3: six hours).
const ASK_AGAIN: i64 = 6 * HOUR;

/// After a new certificate, whatever the authority's window says.
const QUIET: i64 = 6 * HOUR;

/// Failures of a name that an authority suffers in an hour (Let's Encrypt: 5), less one, since it may count otherwise (C3).
const FAILURES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    pub from: Time,
    pub until: Time,
}

impl Lifetime {
    /// Milliseconds; at least one, so that it can be divided by.
    fn length(self) -> i64 {
        (self.until.0.saturating_sub(self.from.0)).max(1)
    }

    /// How near the end is.
    pub fn near(self, now: Time) -> Option<Alarm> {
        let left = self.until.0.saturating_sub(now.0);
        let length = self.length();
        match left {
            left if left <= 0 => Some(Alarm::Ended),
            left if left <= length / 12 => Some(Alarm::Twelfth),
            left if left <= length / 6 => Some(Alarm::Sixth),
            left if left <= length / 3 => Some(Alarm::Third),
            _ => None,
        }
    }
}

/// When an authority suggests a renewal (RFC 9773 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub start: Time,
    pub end: Time,
}

/// How near the end is, without a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alarm {
    /// A third of the lifetime is left, or less.
    Third,
    Sixth,
    Twelfth,
    Ended,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Order,
    /// Ask the authority for its window, then look again.
    Ask,
    Wait(Time),
    /// Until the clock is right there is nothing that can be judged.
    Clock,
}

/// Of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    life: Option<Lifetime>,
    /// When it is to be renewed: by the authority's window, or by the share of the lifetime.
    due: Option<Time>,
    window: Option<Window>,
    /// No window leads before this: an authority that calls each new certificate overdue is not asked for one after another.
    earliest: Time,
    ask_at: Time,
    /// Since the last success.
    failures: u32,
    again_at: Time,
    alarmed: Option<Alarm>,
}

impl Plan {
    /// `asks` says whether the authority offers windows.
    pub fn next(&self, now: Time, asks: bool) -> Step {
        if now < BUILT || self.life.is_some_and(|life| now.0 < life.from.0.saturating_sub(DAY)) {
            return Step::Clock;
        }
        let again_at = sensible(self.again_at, now);
        let due = self.due_at();
        if due.is_none_or(|due| now >= due) {
            return if now >= again_at { Step::Order } else { Step::Wait(again_at) };
        }
        let due = due.unwrap_or(now);
        let ask_at = sensible(self.ask_at, now);
        match asks {
            true if now >= ask_at => Step::Ask,
            true => Step::Wait(due.min(ask_at)),
            false => Step::Wait(due),
        }
    }

    /// When the next order is, as far as one can tell; `None` without a certificate and without a failure: at once.
    pub fn expected(&self, now: Time) -> Option<Time> {
        let again_at = sensible(self.again_at, now);
        match self.due_at() {
            Some(due) => Some(due.max(again_at)),
            None if self.failures > 0 => Some(again_at),
            None => None,
        }
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whatever the window says, the last sixth is for trying again (C2).
    fn due_at(&self) -> Option<Time> {
        let life = self.life?;
        let latest = life.until.plus_ms(-life.length() / 6);
        Some(self.due.unwrap_or(latest).min(latest))
    }

    /// A new certificate is in use.
    pub fn succeeded(&mut self, life: Lifetime, now: Time, random: &dyn Random) {
        let length = life.length();
        // From 3/5 to 2/3 of a long life, from 2/5 to 1/2 of a short one: not everybody's at the same hour.
        let (from, to) = if length < SHORT { (length / 5 * 2, length / 2) } else { (length / 5 * 3, length / 3 * 2) };
        *self = Plan {
            life: Some(life),
            due: Some(life.from.plus_ms(between(from, to, random))),
            earliest: now.plus_ms((length / 20).min(QUIET)),
            ask_at: now,
            ..Plan::default()
        };
    }

    /// A certificate that is there already, as after a restart without our notes, or one that the owner brought.
    pub fn adopt(&mut self, life: Lifetime, now: Time, random: &dyn Random) {
        if self.life != Some(life) {
            self.succeeded(life, now, random);
        }
    }

    /// It is to be ordered as soon as that is allowed: its names are not the wanted ones any more.
    pub fn hurry(&mut self, now: Time) {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    /// The owner wants it now: what was waited for is over. The authority's own limits still hold (C3).
    pub fn force(&mut self, now: Time) {
        self.hurry(now);
        self.again_at = now;
    }

    /// There is no certificate any more.
    pub fn forget(&mut self) {
        *self = Plan { failures: self.failures, again_at: self.again_at, ..Plan::default() };
    }

    /// The authority's answer for its window: the point in it is chosen once, and again when it moved (RFC 9773 4.2: a
    /// uniformly random time within; one that is past means now). `next_ms` is when it wants to be asked again.
    pub fn windowed(&mut self, window: Window, next_ms: Option<i64>, now: Time, random: &dyn Random) {
        self.ask_at = now.plus_ms(next_ms.unwrap_or(ASK_AGAIN).clamp(MINUTE, DAY));
        let sound = window.start < window.end; // RFC 9773 4.2: else it is to be disregarded
        if sound && self.window != Some(window) {
            self.window = Some(window);
            let chosen = window.start.plus_ms(between(0, window.end.0.saturating_sub(window.start.0), random));
            self.due = Some(chosen.max(self.earliest));
        }
    }

    /// It could not be asked: what we had holds, and so does the share of the lifetime.
    pub fn not_windowed(&mut self, now: Time) {
        self.ask_at = now.plus_ms(ASK_AGAIN);
    }

    /// An order failed. Each failure doubles the wait, up to an eighth of what is left of the certificate's life (C2).
    pub fn failed(&mut self, trouble: &Trouble, now: Time, random: &dyn Random) {
        self.failures = self.failures.saturating_add(1);
        let first = match trouble.cause {
            Cause::Away | Cause::Clock | Cause::Strange => SHORTEST,
            Cause::Binding | Cause::Account | Cause::Refused | Cause::NoMethod => HOUR,
            _ => 15 * MINUTE,
        };
        let left = self.life.map_or(0, |life| life.until.0.saturating_sub(now.0));
        let longest = if left > 0 { (left / 8).clamp(SHORTEST, LONGEST) } else { LONGEST_WITHOUT };
        let wait = first.saturating_mul(1i64 << (self.failures - 1).min(16)).min(longest).max(SHORTEST);
        let mut again_at = now.plus_ms(between(wait / 10 * 9, wait / 10 * 11, random));
        if let Some(until) = trouble.until {
            // Not before it allows it, and not all at the first second.
            again_at = again_at.max(until.plus_ms(between(SECOND, 5 * MINUTE, random)));
        }
        // A stranger's word; and `sensible` takes what is further away for a wrong clock's.
        self.again_at = again_at.min(now.plus_ms(FURTHEST - HOUR));
    }

    /// An alarm that has not been raised yet for this certificate.
    pub fn alarm(&mut self, now: Time) -> Option<Alarm> {
        let alarm = self.near(now)?;
        if self.alarmed >= Some(alarm) {
            return None;
        }
        self.alarmed = Some(alarm);
        Some(alarm)
    }

    /// How near the end is.
    pub fn near(&self, now: Time) -> Option<Alarm> {
        self.life?.near(now)
    }
}

/// A time that is further away than we ever wait is left from a clock that was wrong.
fn sensible(time: Time, now: Time) -> Time {
    if time.0 > now.0.saturating_add(FURTHEST) { now } else { time }
}

fn between(from: i64, to: i64, random: &dyn Random) -> i64 {
    let span = u64::try_from(to.saturating_sub(from)).unwrap_or(0).saturating_add(1);
    from.saturating_add(i64::try_from(random.u64() % span).unwrap_or(0))
}

/// What failed lately, by name, whatever group it was tried in (C3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger(BTreeMap<String, Vec<Time>>);

impl Ledger {
    pub fn failed(&mut self, name: &str, now: Time) {
        self.tidy(now);
        self.0.entry(name.to_owned()).or_default().push(now);
    }

    /// When the name may be tried again; `None`: now.
    pub fn blocked(&self, name: &str, now: Time) -> Option<Time> {
        let mut recent: Vec<Time> = self.0.get(name)?.iter().copied().filter(|time| recent(*time, now)).collect();
        recent.sort();
        let which = recent.len().checked_sub(FAILURES)?;
        Some(recent.get(which)?.plus_ms(HOUR + MINUTE))
    }

    /// How many failures it may still have now.
    pub fn left(&self, name: &str, now: Time) -> usize {
        let recent = self.0.get(name).map_or(0, |times| times.iter().filter(|time| recent(**time, now)).count());
        FAILURES.saturating_sub(recent)
    }

    fn tidy(&mut self, now: Time) {
        self.0.retain(|_, times| {
            times.retain(|time| recent(*time, now));
            !times.is_empty()
        });
    }
}

fn recent(time: Time, now: Time) -> bool {
    time <= now && now.0.saturating_sub(time.0) <= HOUR + MINUTE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;
    use proptest::prelude::*;

    const START: Time = Time(BUILT.0 + DAY);

    fn away() -> Trouble {
        Trouble::new(Cause::Away, "")
    }

    /// An authority in simulated time.
    struct Sky {
        lifetime: i64,
        /// When it does not answer.
        outages: Vec<(Time, Time)>,
        /// What its window is for a certificate at a time, if it offers any.
        window: Option<Box<dyn Fn(Lifetime, Time) -> Window>>,
    }

    impl Sky {
        fn up(&self, now: Time) -> bool {
            !self.outages.iter().any(|(from, to)| (*from..*to).contains(&now))
        }

        /// Plays until `end`. Gives every certificate with the time it was renewed (or the end).
        fn play(&self, plan: &mut Plan, end: Time, random: &SeededRandom) -> Vec<(Lifetime, Time)> {
            let mut now = START;
            let mut out: Vec<(Lifetime, Time)> = Vec::new();
            let mut steps = 0;
            while now < end {
                steps += 1;
                assert!(steps < 200_000, "it does not come on");
                match plan.next(now, self.window.is_some()) {
                    Step::Order if self.up(now) => {
                        // Authorities date back by an hour.
                        let life = Lifetime { from: now.plus_ms(-HOUR), until: now.plus_ms(self.lifetime - HOUR) };
                        if let Some(last) = out.last_mut() {
                            last.1 = now;
                        }
                        plan.succeeded(life, now, random);
                        out.push((life, end));
                    }
                    Step::Order => plan.failed(&away(), now, random),
                    Step::Ask => match (&self.window, out.last()) {
                        (Some(window), Some((life, _))) if self.up(now) => {
                            plan.windowed(window(*life, now), None, now, random);
                        }
                        _ => plan.not_windowed(now),
                    },
                    Step::Wait(until) => {
                        assert!(until > now, "a wait for what is past");
                        now = until;
                    }
                    Step::Clock => panic!("the clock is right"),
                }
            }
            out
        }
    }

    fn sky(days: i64) -> Sky {
        Sky { lifetime: days * DAY, outages: Vec::new(), window: None }
    }

    #[test]
    fn an_authority_that_asks_for_a_month_of_patience_is_not_asked_at_once() {
        let random = SeededRandom::new(9);
        let mut plan = Plan::default();
        plan.failed(&Trouble { until: Some(START.plus_ms(30 * DAY)), ..away() }, START, &random);
        assert_eq!(sensible(plan.again_at, START), plan.again_at, "not taken for a wrong clock's");
        assert!(plan.again_at >= START.plus_ms(6 * DAY));
    }

    #[test]
    fn lifetimes_of_90_64_and_6_days_are_renewed_by_their_share() {
        for (days, least, most) in [(90, 2, 3), (64, 2, 3), (6, 1, 2)] {
            let random = SeededRandom::new(days as u64);
            let got = sky(days).play(&mut Plan::default(), START.plus_ms(720 * DAY), &random);
            let count = got.len() as i64;
            // Not much more often than needed.
            assert!(count <= 720 * (least + 3) / (days * (least)) + 2, "{days}: {count}");
            for (life, renewed) in &got[..got.len() - 1] {
                let left = (life.until.0 - renewed.0) as f64 / life.length() as f64;
                assert!(left > 1.0 / f64::from(most) - 0.01 && left < 0.61, "{days}: {left}");
            }
        }
    }

    #[test]
    fn the_times_of_renewal_are_spread() {
        let times: std::collections::BTreeSet<i64> = (0..50)
            .map(|seed| {
                let mut plan = Plan::default();
                let life = Lifetime { from: START, until: START.plus_ms(90 * DAY) };
                plan.succeeded(life, START, &SeededRandom::new(seed));
                plan.expected(START).unwrap().0 / HOUR
            })
            .collect();
        assert!(times.len() > 30, "{}", times.len());
    }

    #[test]
    fn a_window_is_kept_to_and_followed_when_it_moves() {
        let mut plan = Plan::default();
        let random = SeededRandom::new(1);
        let life = Lifetime { from: START, until: START.plus_ms(90 * DAY) };
        plan.succeeded(life, START, &random);
        assert_eq!(plan.next(START, true), Step::Ask);
        assert!(matches!(plan.next(START, false), Step::Wait(_)));

        let first = Window { start: START.plus_ms(50 * DAY), end: START.plus_ms(52 * DAY) };
        plan.windowed(first, Some(HOUR), START, &random);
        let due = plan.expected(START).unwrap();
        assert!(due >= first.start && due <= first.end);
        assert_eq!(plan.next(START, true), Step::Wait(START.plus_ms(HOUR)), "as often as it says");
        // The same window again does not draw another point.
        plan.windowed(first, None, START, &random);
        assert_eq!(plan.expected(START), Some(due));
        // It moves into the past: all certificates of a day are to be replaced.
        let now = START.plus_ms(3 * DAY);
        plan.windowed(Window { start: START, end: START.plus_ms(DAY) }, None, now, &random);
        assert_eq!(plan.next(now, true), Step::Order);
        // But not one new certificate after another, if it says so of each.
        plan.succeeded(life, START, &random);
        plan.windowed(Window { start: START.plus_ms(-DAY), end: START.plus_ms(-HOUR) }, None, START, &random);
        assert_eq!(plan.expected(START), Some(START.plus_ms(QUIET)));
        // One that ends before it starts is no window.
        plan.succeeded(life, START, &random);
        let share = plan.expected(START);
        plan.windowed(Window { start: first.end, end: first.start }, None, START, &random);
        assert_eq!(plan.expected(START), share);
        // One behind the end of the certificate does not lead there.
        plan.windowed(Window { start: life.until, end: life.until.plus_ms(DAY) }, None, START, &random);
        assert_eq!(plan.expected(START), Some(life.until.plus_ms(-15 * DAY)));
    }

    #[test]
    fn an_authority_away_for_two_weeks_costs_no_certificate_of_90_or_64_days() {
        for days in [90, 64] {
            let mut sky = sky(days);
            // It goes away at the very moment the first renewal is due.
            let begin = START.plus_ms(days * DAY / 5 * 3 - HOUR);
            sky.outages = vec![(begin, begin.plus_ms(14 * DAY))];
            let got = sky.play(&mut Plan::default(), START.plus_ms(200 * DAY), &SeededRandom::new(7));
            assert!(got.len() > 1);
            for (life, renewed) in &got[..got.len() - 1] {
                assert!(renewed < &life.until, "{days}");
            }
        }
        // Six days do not last for two weeks: then it is renewed soon after the authority is back.
        let mut sky = sky(6);
        let begin = START.plus_ms(2 * DAY);
        sky.outages = vec![(begin, begin.plus_ms(14 * DAY))];
        let got = sky.play(&mut Plan::default(), START.plus_ms(40 * DAY), &SeededRandom::new(7));
        let back = begin.plus_ms(14 * DAY);
        let (_, first) = got[0];
        assert!(first >= back && first <= back.plus_ms(LONGEST_WITHOUT / 10 * 11), "{:?}", first.0 - back.0);
    }

    #[test]
    fn a_clock_that_is_wrong_is_waited_for() {
        let mut plan = Plan::default();
        assert_eq!(plan.next(Time(0), true), Step::Clock);
        assert_eq!(plan.next(START, true), Step::Order);
        let life = Lifetime { from: START.plus_ms(30 * DAY), until: START.plus_ms(120 * DAY) };
        plan.succeeded(life, START, &SeededRandom::new(1));
        assert_eq!(plan.next(START, true), Step::Clock, "a certificate from the future");
        // A wait that was begun under a clock far ahead is not waited for.
        let mut plan = Plan::default();
        plan.failed(&away(), START.plus_ms(900 * DAY), &SeededRandom::new(1));
        assert_eq!(plan.next(START, true), Step::Order);
    }

    #[test]
    fn a_limit_is_waited_for_as_long_as_the_authority_says() {
        let mut plan = Plan::default();
        let until = START.plus_ms(7 * DAY);
        let limited = Trouble { until: Some(until), ..Trouble::new(Cause::Limited, "") };
        plan.failed(&limited, START, &SeededRandom::new(1));
        let Step::Wait(again) = plan.next(START, true) else { panic!() };
        assert!(again > until && again < until.plus_ms(HOUR));
        plan.force(START);
        assert_eq!(plan.next(START, true), Step::Order, "the owner may insist");
    }

    #[test]
    fn alarms_come_once_each_at_a_third_a_sixth_and_a_twelfth() {
        for days in [90, 64, 6] {
            let mut plan = Plan::default();
            let life = Lifetime { from: START, until: START.plus_ms(days * DAY) };
            plan.succeeded(life, START, &SeededRandom::new(1));
            let mut got = Vec::new();
            for hour in 0..days * 24 + 5 {
                let now = START.plus_ms(hour * HOUR);
                got.extend(plan.alarm(now).map(|alarm| (alarm, hour)));
            }
            let at = |share: i64| days * 24 - days * 24 / share;
            assert_eq!(
                got,
                [(Alarm::Third, at(3)), (Alarm::Sixth, at(6)), (Alarm::Twelfth, at(12)), (Alarm::Ended, days * 24)]
            );
        }
    }

    #[test]
    fn no_name_fails_more_than_four_times_in_an_hour() {
        let mut ledger = Ledger::default();
        let mut failed: Vec<Time> = Vec::new();
        // Somebody insists every minute for five hours.
        for minute in 0..300 {
            let now = START.plus_ms(minute * MINUTE);
            if ledger.blocked("a.test", now).is_none() {
                ledger.failed("a.test", now);
                failed.push(now);
            }
            assert!(failed.iter().filter(|time| now.0 - time.0 < HOUR).count() <= FAILURES);
        }
        assert!(failed.len() > 4 * FAILURES, "it goes on when it may: {}", failed.len());
        assert!(ledger.blocked("b.test", START).is_none(), "others are not concerned");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// C2. Within the time between due and end, an authority that is there for more than a sixth of what is left (and
        /// for more than a quarter of an hour) is always used.
        #[test]
        fn no_certificate_ends_where_a_renewal_was_possible(
            seed in any::<u64>(),
            lifetime in prop_oneof![Just(90), Just(64), Just(6), Just(45), 1i64..400],
            outages in proptest::collection::vec((0i64..24 * 300, 1i64..24 * 40), 0..30),
            windows in proptest::option::of((0i64..120, 0i64..40, 1i64..2000)),
        ) {
            // Short lives need not be played as long.
            let days = if lifetime < 10 { 60 } else { 400 };
            let random = SeededRandom::new(seed);
            let mut sky = sky(lifetime);
            sky.outages = outages.iter().map(|(at, long)| {
                let from = START.plus_ms(at * HOUR + 1);
                (from, from.plus_ms(long * HOUR))
            }).collect();
            sky.window = windows.map(|(percent, shift, every)| {
                Box::new(move |life: Lifetime, now: Time| {
                    // It moves every now and then, also beyond the end.
                    let turn = (now.0 / (every * HOUR)).rem_euclid(3) * shift;
                    let start = life.from.plus_ms(life.length() / 100 * (percent - turn));
                    Window { start, end: start.plus_ms(life.length() / 20) }
                }) as Box<dyn Fn(Lifetime, Time) -> Window>
            });
            let end = START.plus_ms(days * DAY);
            let got = sky.play(&mut Plan::default(), end, &random);
            for (life, renewed) in got {
                if life.until >= end || renewed <= life.until {
                    continue;
                }
                // It ended. When was it due at the latest, and how long was the authority there since?
                let due = life.until.plus_ms(-life.length() / 6);
                let mut edges = vec![due, life.until];
                for (from, to) in &sky.outages {
                    edges.extend([*from, *to].into_iter().filter(|edge| *edge > due && *edge < life.until));
                }
                edges.sort();
                let mut span: Option<Time> = None;
                for pair in edges.windows(2) {
                    if !sky.up(pair[0]) {
                        span = None;
                        continue;
                    }
                    let from = *span.get_or_insert(pair[0]);
                    let left = life.until.0 - from.0;
                    let there = pair[1].0 - from.0;
                    prop_assert!(there <= left / 6 + 15 * MINUTE, "{}: there for {there} of {left} ms", life.length());
                }
            }
        }
    }
}
