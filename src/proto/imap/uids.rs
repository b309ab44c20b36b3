//! Sets of UIDs as ranges: a mailbox without gaps is one range, however many messages it has.

use std::fmt;

use crate::base::Uid;

/// A set of UIDs: ascending ranges, both ends in, that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    pub const fn new() -> UidSet {
        UidSet { ranges: Vec::new() }
    }

    pub fn one(uid: Uid) -> UidSet {
        UidSet { ranges: vec![(uid.0, uid.0)] }
    }

    /// Both ends in, in either order.
    pub fn range(a: u32, b: u32) -> UidSet {
        UidSet { ranges: vec![(a.min(b), a.max(b))] }
    }

    /// From ranges in any order, overlapping or not.
    pub fn from_ranges(mut ranges: Vec<(u32, u32)>) -> UidSet {
        for range in &mut ranges {
            if range.0 > range.1 {
                *range = (range.1, range.0);
            }
        }
        ranges.sort_unstable();
        let mut set = UidSet { ranges: Vec::with_capacity(ranges.len()) };
        for (first, last) in ranges {
            set.push_range(first, last);
        }
        set
    }

    /// Adds one UID: cheap when they come ascending, as they do from a scan, and right in any order.
    pub fn push(&mut self, uid: Uid) {
        self.push_range(uid.0, uid.0);
    }

    /// Adds `first..=last`: cheap when it lies at or behind the end.
    pub fn push_range(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        match self.ranges.last_mut() {
            Some(end) if first >= end.0 => {
                if first <= end.1.saturating_add(1) {
                    end.1 = end.1.max(last);
                } else {
                    self.ranges.push((first, last));
                }
            }
            None => self.ranges.push((first, last)),
            Some(_) => {
                // Out of order: merge where it belongs.
                let from = self.ranges.partition_point(|range| range.1.saturating_add(1) < first);
                let to = self.ranges.partition_point(|range| range.0 <= last.saturating_add(1));
                let merged = self
                    .ranges
                    .get(from..to)
                    .into_iter()
                    .flatten()
                    .fold((first, last), |merged, range| (merged.0.min(range.0), merged.1.max(range.1)));
                self.ranges.splice(from..to, [merged]);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many UIDs.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.1 - range.0) + 1).sum()
    }

    pub fn contains(&self, uid: Uid) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < uid.0);
        self.ranges.get(at).is_some_and(|range| range.0 <= uid.0)
    }

    pub fn first(&self) -> Option<Uid> {
        self.ranges.first().map(|range| Uid(range.0))
    }

    pub fn last(&self) -> Option<Uid> {
        self.ranges.last().map(|range| Uid(range.1))
    }

    /// The ranges, both ends in, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Every UID, ascending. Ranges that come from a client may be as long as the number space: walk what is there, not
    /// this.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges.iter().flat_map(|range| (range.0..=range.1).map(Uid))
    }

    /// What is in either.
    pub fn union(&self, other: &UidSet) -> UidSet {
        if self.is_empty() {
            return other.clone();
        }
        let mut ranges = Vec::with_capacity(self.ranges.len() + other.ranges.len());
        ranges.extend_from_slice(&self.ranges);
        ranges.extend_from_slice(&other.ranges);
        UidSet::from_ranges(ranges)
    }

    /// What is in both.
    pub fn intersect(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (self.ranges.get(i), other.ranges.get(j)) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                out.push_range(first, last);
            }
            if a.1 <= b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        out
    }

    /// What is in this one and not in the other.
    pub fn minus(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        let mut j = 0;
        for &(first, last) in &self.ranges {
            let mut from = u64::from(first);
            while other.ranges.get(j).is_some_and(|hole| hole.1 < first) {
                j += 1;
            }
            let mut k = j;
            while let Some(&(hole_first, hole_last)) = other.ranges.get(k) {
                if hole_first > last {
                    break;
                }
                if u64::from(hole_first) > from {
                    out.push_range(from as u32, hole_first - 1);
                }
                from = u64::from(hole_last) + 1;
                k += 1;
            }
            if from <= u64::from(last) {
                out.push_range(from as u32, last);
            }
        }
        out
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> UidSet {
        let mut set = UidSet::new();
        for uid in uids {
            set.push(uid);
        }
        set
    }
}

/// As an IMAP sequence-set: `1:3,7`. Nothing for an empty set.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}:{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(numbers: &[u32]) -> UidSet {
        numbers.iter().map(|n| Uid(*n)).collect()
    }

    #[test]
    fn neighbours_become_one_range() {
        assert_eq!(set(&[1, 2, 3, 7, 5, 6]).to_string(), "1:3,5:7");
        assert_eq!(set(&[9, 1, 5, 4, 2, 3]).to_string(), "1:5,9");
        assert_eq!(UidSet::from_ranges(vec![(9, 4), (1, 2), (3, 3), (u32::MAX, 12)]).to_string(), "1:9,12:4294967295");
    }

    proptest! {
        #[test]
        fn sets_do_as_btree_sets_do(a in prop::collection::vec(1u32..60, 0..40), b in prop::collection::vec(1u32..60, 0..40)) {
            let (x, y) = (set(&a), set(&b));
            let (p, q): (BTreeSet<u32>, BTreeSet<u32>) = (a.into_iter().collect(), b.into_iter().collect());
            let numbers = |set: &UidSet| set.iter().map(|uid| uid.0).collect::<Vec<_>>();
            prop_assert_eq!(numbers(&x), p.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(&x.union(&y)), p.union(&q).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(&x.intersect(&y)), p.intersection(&q).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(&x.minus(&y)), p.difference(&q).copied().collect::<Vec<_>>());
            prop_assert_eq!(x.len(), p.len() as u64);
            for n in 0..61 {
                prop_assert_eq!(x.contains(Uid(n)), p.contains(&n));
            }
        }
    }
}
