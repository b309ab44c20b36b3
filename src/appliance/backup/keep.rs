//! Which backups stay. Pure.

use std::collections::BTreeSet;

use crate::base::Time;

const HOUR: i64 = 3600;

/// How long a span is in seconds, and of how many of them one backup stays.
const SPANS: [(i64, usize); 4] = [(HOUR, 24), (24 * HOUR, 7), (7 * 24 * HOUR, 8), (28 * 24 * HOUR, 12)];

/// The numbers to keep, of backups, when they were made and whether they have everything. Those of the settings alone take no
/// place of those with the letters.
pub(super) fn keep_of_each(backups: &[(u32, Time, bool)]) -> BTreeSet<u32> {
    let of = |wanted: bool| {
        let those = backups.iter().filter(|(.., everything)| *everything == wanted);
        keep(&those.map(|(number, time, _)| (*number, *time)).collect::<Vec<_>>())
    };
    &of(true) | &of(false)
}

/// The numbers to keep, of backups and when they were made: the last of each of the last 24 hours in which there was one, of 7
/// days, 8 weeks and 12 times four weeks; and the newest two, whatever the clock said. Numbers order them, not times.
fn keep(backups: &[(u32, Time)]) -> BTreeSet<u32> {
    let mut newest: Vec<(u32, Time)> = backups.to_vec();
    newest.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut kept: BTreeSet<u32> = newest.iter().take(2).map(|(number, _)| *number).collect();
    for (span, most) in SPANS {
        let mut seen = BTreeSet::new();
        for (number, time) in &newest {
            if seen.len() == most {
                break;
            }
            if seen.insert(time.seconds().div_euclid(span)) {
                kept.insert(*number);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_year_of_hours_few_stay_and_they_thin_out() {
        let hours = 365 * 24;
        let all: Vec<(u32, Time)> = (0..hours).map(|n| (n as u32 + 1, Time::from_seconds(n * HOUR))).collect();
        let kept = keep(&all);
        assert!((40..=51).contains(&kept.len()), "{}", kept.len());
        let newest = hours as u32;
        assert!((newest - 23..=newest).all(|number| kept.contains(&number)), "each of the last 24 hours");
        let oldest = *kept.first().unwrap();
        assert!(newest - oldest > 24 * 28 * 10, "ten months back: {oldest}");
        // Done every hour, it comes to about the same as done once.
        let mut there: Vec<(u32, Time)> = Vec::new();
        for one in all {
            there.push(one);
            let kept = keep(&there);
            there.retain(|(number, _)| kept.contains(number));
        }
        assert!((40..=51).contains(&there.len()), "{}", there.len());
        assert!(newest - there[0].0 > 24 * 28 * 10);
    }

    #[test]
    fn hours_of_settings_alone_cost_no_backup_of_the_letters() {
        let mut all = vec![(1, Time::from_seconds(0), true), (2, Time::from_seconds(10), true)];
        all.extend((3..200u32).map(|n| (n, Time::from_seconds(i64::from(n) * HOUR), false)));
        let kept = keep_of_each(&all);
        assert!(kept.contains(&1) && kept.contains(&2));
        assert!(kept.len() < 60, "{}", kept.len());
    }

    #[test]
    fn a_clock_that_stands_in_1970_costs_no_new_backup() {
        let all = [(1, Time::from_seconds(1_700_000_000)), (2, Time(0)), (3, Time(0))];
        let kept = keep(&all);
        assert!(kept.contains(&3) && kept.contains(&2) && kept.contains(&1));
    }
}
