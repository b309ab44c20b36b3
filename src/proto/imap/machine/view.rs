//! The selected mailbox as this client knows it.

use std::sync::Arc;

use super::super::ask::Flags;
use super::super::grammar::set::{Seq, SeqSet};
use super::super::uids::UidSet;
use crate::base::{MailboxId, ModSeq, Uid};

pub(super) struct View {
    pub mailbox: MailboxId,
    pub read_only: bool,
    /// Which message has which number: I1.
    pub numbers: Numbering,
    /// Expunged by others, not told yet: still numbered.
    pub gone: UidSet,
    /// Everything up to here was told or is in `gone`.
    pub upto: ModSeq,
    /// Changes of this connection since `upto`, already told.
    pub own: Vec<ModSeq>,
    /// Flags the client was told of with FLAGS.
    pub keywords: Vec<Arc<str>>,
    pub new_keywords: bool,
}

impl View {
    pub fn note_own(&mut self, modseq: ModSeq) {
        if self.own.last() != Some(&modseq) {
            self.own.push(modseq);
        }
    }

    /// Adds keywords that the client has not been told of; true if there were any.
    pub fn learn(&mut self, flags: &Flags) -> bool {
        let mut new = false;
        for keyword in &flags.keywords {
            if !self.keywords.iter().any(|known| known == keyword) {
                self.keywords.push(keyword.clone());
                new = true;
            }
        }
        new
    }
}

/// Sequence numbers: the n-th of the UIDs, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbering {
    spans: Vec<Span>,
}

/// UIDs without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u32,
    last: u32,
    /// How many messages come before it.
    before: u32,
}

impl Span {
    /// How many messages there are up to its end.
    fn through(&self) -> u32 {
        self.before + (self.last - self.first) + 1
    }
}

impl Numbering {
    pub fn new(uids: &UidSet) -> Numbering {
        let mut before = 0u32;
        let spans = uids
            .ranges()
            .iter()
            .map(|&(first, last)| {
                let span = Span { first, last, before };
                before = before.saturating_add((last - first).saturating_add(1));
                span
            })
            .collect();
        Numbering { spans }
    }

    pub fn count(&self) -> u32 {
        self.spans.last().map_or(0, Span::through)
    }

    pub fn last_uid(&self) -> u32 {
        self.spans.last().map_or(0, |span| span.last)
    }

    pub fn seq(&self, uid: Uid) -> Option<u32> {
        let at = self.spans.partition_point(|span| span.last < uid.0);
        self.spans.get(at).filter(|span| span.first <= uid.0).map(|span| span.before + (uid.0 - span.first) + 1)
    }

    pub fn uids(&self) -> UidSet {
        UidSet::from_ranges(self.spans.iter().map(|span| (span.first, span.last)).collect())
    }

    /// Adds new messages at the end; others cannot come (RFC 9051 2.3.1.1: UIDs only grow).
    pub fn append(&mut self, uids: &UidSet) {
        for &(first, last) in uids.ranges() {
            let known = self.last_uid();
            if last <= known {
                continue;
            }
            let first = first.max(known + 1);
            let before = self.count();
            match self.spans.last_mut() {
                Some(span) if span.last + 1 == first => span.last = last,
                _ => self.spans.push(Span { first, last, before }),
            }
        }
    }

    pub fn remove(&mut self, uids: &UidSet) {
        *self = Numbering::new(&self.uids().minus(uids));
    }

    /// The UIDs behind a set of UIDs as the client wrote it: those that there are.
    pub fn known(&self, set: &SeqSet) -> UidSet {
        let largest = self.last_uid();
        let ranges = set.0.iter().map(|(a, b)| (a.or(largest), b.or(largest))).collect();
        self.among(&UidSet::from_ranges(ranges))
    }

    /// Those of these UIDs that there are. Looks only at where they are, not at the whole mailbox.
    pub fn among(&self, uids: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        for &(first, last) in uids.ranges() {
            let from = self.spans.partition_point(|span| span.last < first);
            let spans = self.spans.get(from..).unwrap_or_default().iter();
            for span in spans.take_while(|span| span.first <= last) {
                out.push_range(span.first.max(first), span.last.min(last));
            }
        }
        out
    }

    /// The UIDs behind sequence numbers; `None` if one is larger than the number of messages (RFC 9051 9, seq-number:
    /// BAD). `*` in an empty mailbox is nothing rather than an error (quirk_star_in_empty: clients that do not look at
    /// EXISTS before `1:*`).
    pub fn numbered(&self, set: &SeqSet) -> Option<UidSet> {
        let count = self.count();
        let mut ranges = Vec::new();
        for &(a, b) in &set.0 {
            if count == 0 && (a == Seq::Star || b == Seq::Star) {
                continue;
            }
            let (a, b) = (a.or(count), b.or(count));
            let (first, last) = (a.min(b), a.max(b));
            if last > count {
                return None;
            }
            let mut at = self.spans.partition_point(|span| span.through() < first);
            while let Some(span) = self.spans.get(at).filter(|span| span.before < last) {
                let from = span.first + first.saturating_sub(span.before + 1);
                let to = span.first + (last - span.before - 1).min(span.last - span.first);
                ranges.push((from, to));
                at += 1;
            }
        }
        Some(UidSet::from_ranges(ranges))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(numbers: &[u32]) -> UidSet {
        numbers.iter().map(|n| Uid(*n)).collect()
    }

    #[test]
    fn numbers_beyond_the_last_message_are_an_error_except_a_star_in_nothing() {
        let numbers = Numbering::new(&set(&[4, 5, 9]));
        let n = |a, b| SeqSet(vec![(a, b)]);
        assert_eq!(numbers.numbered(&n(Seq::N(1), Seq::N(4))), None);
        assert_eq!(numbers.numbered(&n(Seq::Star, Seq::N(2))), Some(set(&[5, 9])));
        assert_eq!(numbers.known(&n(Seq::N(100), Seq::Star)), set(&[9]));
        assert_eq!(Numbering::default().numbered(&n(Seq::N(1), Seq::Star)), Some(UidSet::new()));
        assert_eq!(Numbering::default().numbered(&n(Seq::N(1), Seq::N(1))), None);
    }

    proptest! {
        #[test]
        fn numbering_is_the_place_in_the_list(
            uids in prop::collection::btree_set(1u32..200, 0..80),
            gone in prop::collection::btree_set(1u32..200, 0..40),
            new in prop::collection::btree_set(1u32..300, 0..20),
            a in 1u32..100, b in 1u32..100,
        ) {
            let mut list: Vec<u32> = uids.iter().copied().filter(|uid| !gone.contains(uid)).collect();
            let mut numbers = Numbering::new(&set(&uids.iter().copied().collect::<Vec<_>>()));
            numbers.remove(&set(&gone.iter().copied().collect::<Vec<_>>()));
            numbers.append(&set(&new.iter().copied().collect::<Vec<_>>()));
            let last = list.last().copied().unwrap_or(0);
            list.extend(new.iter().copied().filter(|uid| *uid > last));
            prop_assert_eq!(numbers.count() as usize, list.len());
            for (i, uid) in list.iter().enumerate() {
                prop_assert_eq!(numbers.seq(Uid(*uid)), Some(i as u32 + 1));
            }
            let some = set(&[a, b, a + 7]).union(&UidSet::range(a, b));
            prop_assert_eq!(numbers.among(&some), some.intersect(&numbers.uids()));
            let (first, last) = (a.min(b) as usize, a.max(b) as usize);
            let want = list.get(first - 1..last).map(set);
            prop_assert_eq!(numbers.numbered(&SeqSet(vec![(Seq::N(a), Seq::N(b))])), want);
        }
    }
}
