//! Wall time and monotonic time, real and by hand.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// Wall time: milliseconds since 1970-01-01T00:00:00Z, may be negative. Only for what people or protocols read; it may
/// jump (a box without a clock chip starts in the past), so nothing is ordered by it and no id comes from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn from_seconds(seconds: i64) -> Time {
        Time(seconds.saturating_mul(1000))
    }

    pub fn plus_ms(self, ms: i64) -> Time {
        Time(self.0.saturating_add(ms))
    }
}

/// Monotonic time: milliseconds since the process started. Deadlines and time-outs are in it; it never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    pub fn plus_ms(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if `earlier` is later.
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Time;
    fn mono(&self) -> Mono;

    /// Whether wall time has been compared with the world's. While it has not (a box without a clock chip, before it reached
    /// a time server) it is only not too early: nothing may be called expired or not yet valid by it, and nothing may be
    /// promised by it. TLS to others, ACME and DNSSEC ask here first.
    fn trusted(&self) -> bool {
        true
    }
}

/// The machine's own clock.
pub struct SystemClock {
    start: Instant,
    trusted: fn() -> bool,
}

impl SystemClock {
    /// Of a machine whose operating system keeps the time.
    pub fn new() -> SystemClock {
        SystemClock::judged_by(|| true)
    }

    /// Of a machine that can tell whether its time was checked.
    #[allow(clippy::disallowed_methods)] // the one door to the system's clock
    pub fn judged_by(trusted: fn() -> bool) -> SystemClock {
        SystemClock { start: Instant::now(), trusted }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one door to the system's clock
    fn now(&self) -> Time {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Time(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }

    fn mono(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn trusted(&self) -> bool {
        (self.trusted)()
    }
}

/// A clock that moves only when told, for tests.
#[derive(Default)]
pub struct ManualClock {
    now: AtomicI64,
    mono: AtomicU64,
}

impl ManualClock {
    pub fn at(now: Time) -> ManualClock {
        ManualClock { now: AtomicI64::new(now.0), mono: AtomicU64::new(0) }
    }

    /// Moves wall and monotonic time forward together.
    pub fn advance_ms(&self, ms: u64) {
        self.mono.fetch_add(ms, Ordering::SeqCst);
        self.now.fetch_add(i64::try_from(ms).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets wall time alone, as a clock correction does.
    pub fn set(&self, now: Time) {
        self.now.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.now.load(Ordering::SeqCst))
    }

    fn mono(&self) -> Mono {
        Mono(self.mono.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_of_wall_time_leaves_deadlines_alone() {
        let clock = ManualClock::at(Time(0));
        clock.advance_ms(1500);
        clock.set(Time::from_seconds(1_700_000_000));
        assert_eq!(clock.mono(), Mono(1500));
        assert_eq!(clock.now().seconds(), 1_700_000_000);
    }

    #[test]
    fn seconds_before_1970_round_down() {
        assert_eq!(Time(-1).seconds(), -1);
        assert_eq!(Time(999).seconds(), 0);
    }
}
