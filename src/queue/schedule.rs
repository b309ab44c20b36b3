//! When a recipient is tried again, and when no more: pure, so that a week of failures replays in a second.

use crate::base::Time;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// After the first attempt, the second, …; the last one holds for all that follow (RFC 5321 4.5.4.1: short at first).
const PAUSES: [i64; 8] = [2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];

/// When the sender is told that it takes long.
pub const DELAY_NOTICE: i64 = 4 * HOUR;

/// RFC 5321 4.5.4.1: the give-up time is four or five days.
pub const GIVE_UP: i64 = 5 * 24 * HOUR;

/// Attempts that five days have at least while the box is on. A box that was off for a week, or whose clock was wrong when
/// the letter came, has not tried five days long, whatever the clock says.
const FEWEST: u32 = 10;

/// RFC 2852: until when a letter is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    pub at: Time,
    /// It comes back then (mode R); otherwise its sender is told that it takes longer, and it goes on (mode N).
    pub returns: bool,
    /// Its sender hears of each server that it was handed to.
    pub trace: bool,
}

impl By {
    /// In whole seconds, as the next server is told (RFC 2852 4); below zero it is over.
    pub fn left(&self, now: Time) -> i64 {
        self.at.0.saturating_sub(now.0).div_euclid(1000)
    }

    /// It is to come back, and no server can be told to deliver it in less than a second.
    pub fn is_over(&self, now: Time) -> bool {
        self.returns && self.left(now) < 1
    }
}

/// What follows an attempt that failed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Again(Time),
    GiveUp,
    /// The time is over that its sender has set.
    Over,
}

/// After the attempt number `attempts` (from 1), of a letter that came at `queued`.
pub fn after_failure(queued: Time, attempts: u32, now: Time, by: Option<By>) -> Next {
    if by.is_some_and(|by| by.is_over(now)) {
        return Next::Over;
    }
    if attempts >= FEWEST && now.0.saturating_sub(queued.0) >= GIVE_UP {
        return Next::GiveUp;
    }
    let again = Time(now.0.saturating_add(pause(attempts)));
    // Whoever set a time hears then what it came to.
    let set = by.map(|by| by.at).filter(|at| *at > now);
    Next::Again(set.map_or(again, |at| at.min(again)))
}

fn pause(attempts: u32) -> i64 {
    let n = usize::try_from(attempts.max(1)).unwrap_or(usize::MAX).saturating_sub(1);
    PAUSES.get(n).copied().unwrap_or(4 * HOUR)
}

/// Whether what is due then is due now. A time farther away than any pause was written by a clock that was wrong, unless the
/// sender has `appointed` it.
pub fn is_due(due: Time, appointed: bool, now: Time) -> bool {
    due <= now || !appointed && due.0.saturating_sub(now.0) > 2 * PAUSES[PAUSES.len() - 1]
}

/// Whether the sender is to hear now that it takes long. They hear it once: at the time that they have set, if they have set one
/// to be told at (RFC 2852 4.1.4, mode N). One at which it comes back may be days away.
pub fn is_late(queued: Time, attempts: u32, now: Time, by: Option<By>) -> bool {
    match by {
        Some(by) if !by.returns => by.at <= now,
        _ => attempts >= 4 && now.0.saturating_sub(queued.0) >= DELAY_NOTICE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attempts of a letter whose recipient cannot be reached, in minutes after it came.
    fn replay(queued: Time, by: Option<By>) -> (Vec<i64>, Option<i64>) {
        let (mut now, mut attempts, mut at, mut late) = (queued, 0, Vec::new(), None);
        loop {
            attempts += 1;
            at.push((now.0 - queued.0) / MINUTE);
            if late.is_none() && is_late(queued, attempts, now, by) {
                late = Some((now.0 - queued.0) / MINUTE);
            }
            match after_failure(queued, attempts, now, by) {
                Next::Again(due) => {
                    assert!(!is_due(due, false, now) && is_due(due, false, due));
                    now = due;
                }
                Next::GiveUp | Next::Over => return (at, late),
            }
        }
    }

    #[test]
    fn five_days_of_failures() {
        let (at, late) = replay(Time(1_700_000_000_000), None);
        assert_eq!(at[..9], [0, 2, 7, 17, 32, 62, 122, 242, 482]);
        assert!(at[8..].windows(2).all(|two| two[1] - two[0] == 240));
        assert_eq!(at.last().map(|last| last / 60), Some(5 * 24));
        assert_eq!(late, Some(242));
    }

    /// RFC 2852 4: R ends at the time that was set, N tells then and goes on.
    #[test]
    fn a_time_that_the_sender_sets() {
        let came = Time(1_700_000_000_000);
        let by = |minutes: i64, returns| Some(By { at: Time(came.0 + minutes * MINUTE), returns, trace: false });
        assert_eq!(replay(came, by(20, true)), (vec![0, 2, 7, 17, 20], None));
        assert_eq!(replay(came, by(2 * 24 * 60, true)).1, Some(242), "as always, before it comes back");
        let (at, late) = replay(came, by(20, false));
        assert_eq!((at[..7].to_vec(), late), (vec![0, 2, 7, 17, 20, 50, 110], Some(20)));
        assert_eq!(at.last().map(|last| last / 60 / 24), Some(5));
        assert_eq!(replay(came, by(-1, false)).1, Some(0));
        assert_eq!(replay(came, by(6 * 60, false)).1, Some(6 * 60), "then, and not after four hours");
        let by = By { at: Time(came.0 + 1999), returns: true, trace: false };
        assert_eq!((by.left(came), by.is_over(came), by.is_over(Time(came.0 + 1000))), (1, false, true));
        assert!(!By { returns: false, ..by }.is_over(Time(came.0 + 9000)));
        assert_eq!(by.left(Time(came.0 + 9000)), -8);
    }

    #[test]
    fn a_clock_that_jumps_gives_nothing_up_and_holds_nothing_back() {
        let (came, now) = (Time(0), Time(1_800_000_000_000));
        // Came in 1970, tried now for the first time.
        assert_eq!(after_failure(came, 1, now, None), Next::Again(Time(now.0 + 2 * MINUTE)));
        assert!(matches!(after_failure(came, FEWEST, now, None), Next::GiveUp));
        // Written in the future, before the clock was put right.
        let in_a_year = Time(now.0 + 365 * 24 * HOUR);
        assert!(is_due(in_a_year, false, now) && !is_due(in_a_year, true, now) && is_due(in_a_year, true, in_a_year));
        assert!(!is_due(Time(now.0 + 4 * HOUR), false, now));
        assert_eq!(after_failure(now, u32::MAX, came, None), Next::Again(Time(4 * HOUR)));
    }
}
