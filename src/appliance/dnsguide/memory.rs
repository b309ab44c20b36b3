//! What homepost has written into the DNS of a domain, and what was there before: so that it never touches a record that is
//! somebody else's, and can put back what it found.
//!
//! The row is written before the records are, as if all were done, and again afterwards. A cut in between makes us take for
//! ours what we were about to write; it can never make us forget what is ours (G3).

use minicbor::{Decode, Encode};

use crate::net::dns::Data;
use crate::store::{self, Read, Table, Txn};

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub data: Data,
    #[n(2)]
    pub ttl: u32,
}

impl Entry {
    pub(super) fn is(&self, other: &Entry) -> bool {
        self.name == other.name && self.data == other.data
    }
}

/// A record that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Piece {
    #[n(0)]
    pub entry: Entry,
    /// Whether it is ours: once it is there, or until now.
    #[n(1)]
    pub ours: bool,
}

/// What one push does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Step {
    #[n(0)]
    pub added: Vec<Piece>,
    #[n(1)]
    pub removed: Vec<Piece>,
}

impl Step {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// This step and then another, as one: what its undoing has to bring back is what was there before both.
    fn then(&self, next: &Step) -> Step {
        let without = |all: &[Piece], others: &[Piece]| -> Vec<Piece> {
            all.iter().filter(|one| !others.iter().any(|other| other.entry.is(&one.entry))).cloned().collect()
        };
        let mut added = without(&self.added, &next.removed);
        added.extend(without(&without(&next.added, &added), &self.removed));
        let mut removed = without(&self.removed, &next.added);
        removed.extend(without(&without(&next.removed, &removed), &self.added));
        Step { added, removed }
    }
}

/// How it went with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    Done,
    /// Surely not.
    Not,
    Unknown,
}

/// Of one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Memory {
    /// What is there because of us; perhaps also what we meant to write and did not.
    #[n(0)]
    pub ours: Vec<Entry>,
    /// The last push, for its undoing.
    #[n(1)]
    pub step: Option<Step>,
    /// Whether it is not known how much of that was done.
    #[n(2)]
    pub open: bool,
}

impl Memory {
    pub fn load(read: &dyn Read, domain: &str) -> Result<Memory, store::Error> {
        match read.get(Table::DnsRecords, domain.as_bytes())? {
            None => Ok(Memory::default()),
            Some(bytes) => minicbor::decode(&bytes)
                .map_err(|_| store::Error::Corrupt(format!("what was written into the DNS of {domain}"))),
        }
    }

    pub fn save(&self, txn: &mut Txn<'_>, domain: &str) {
        // A vector takes everything.
        let bytes = minicbor::to_vec(self).unwrap_or_default();
        txn.put(Table::DnsRecords, domain.as_bytes(), bytes);
    }

    /// While a step is being done: it may be done, or not, or half.
    pub fn begin(&self, step: &Step) -> Memory {
        self.after(step, |_| Went::Unknown)
    }

    /// After a step, by how it went with each of its records.
    pub fn after(&self, step: &Step, went: impl Fn(&Entry) -> Went) -> Memory {
        let pick = |all: &[Piece], which: &dyn Fn(Went) -> bool| -> Vec<Piece> {
            all.iter().filter(|piece| which(went(&piece.entry))).cloned().collect()
        };
        let maybe = |went| went != Went::Not;
        let did = Step { added: pick(&step.added, &maybe), removed: pick(&step.removed, &maybe) };
        let gone = pick(&step.removed, &|went| went == Went::Done);
        let mut ours: Vec<Entry> = self.ours.clone();
        ours.retain(|entry| !gone.iter().any(|piece| piece.entry.is(entry)));
        for piece in did.added.iter().filter(|piece| piece.ours) {
            ours.retain(|entry| !entry.is(&piece.entry));
            ours.push(piece.entry.clone());
        }
        let unknown = step.added.iter().chain(&step.removed).any(|piece| went(&piece.entry) == Went::Unknown);
        let kept = self.step.clone().filter(|_| self.open);
        let step = match (did.is_empty(), kept) {
            (true, _) => self.step.clone(),
            (false, Some(first)) => Some(first.then(&did)),
            (false, None) => Some(did.clone()),
        };
        Memory { ours, step, open: unknown || (self.open && did.is_empty()) }
    }

    /// When everything is as it should be, whatever was unknown before.
    pub fn settled(mut self) -> Memory {
        self.open = false;
        self
    }

    /// After the undoing of the last push, by how it went with each record.
    pub fn undone(&self, step: &Step, went: impl Fn(&Entry) -> Went) -> Memory {
        let all_done = step.added.iter().chain(&step.removed).all(|piece| went(&piece.entry) == Went::Done);
        let ours = self.after(step, &went).ours;
        // As long as something is left, it can be tried again: what is done is not done twice.
        Memory { ours, step: if all_done { None } else { self.step.clone() }, open: self.open && !all_done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, text: &str) -> Entry {
        Entry { name: name.into(), data: Data::Txt(text.into()), ttl: 60 }
    }

    fn piece(text: &str, ours: bool) -> Piece {
        Piece { entry: entry("a", text), ours }
    }

    fn step(added: &[&str], removed: &[(&str, bool)]) -> Step {
        Step {
            added: added.iter().map(|text| piece(text, true)).collect(),
            removed: removed.iter().map(|(text, ours)| piece(text, *ours)).collect(),
        }
    }

    /// Version 1 as it lies on disk: these bytes must always be readable.
    #[test]
    fn a_row_of_version_1_is_read() {
        let memory = Memory::default().begin(&step(&["n"], &[("o", false)]));
        let bytes = minicbor::to_vec(&memory).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let version_1 =
            "8381836161820581616e183c8281828361618205816 16e183cf581828361618205816 16f183cf4f5".replace(' ', "");
        assert_eq!(hex, version_1);
        assert_eq!(minicbor::decode::<Memory>(&bytes).unwrap(), memory);
    }

    #[test]
    fn a_cut_never_makes_us_forget_what_is_ours() {
        let before = Memory { ours: vec![entry("a", "old")], ..Memory::default() };
        let change = step(&["new"], &[("old", true)]);
        let begun = before.begin(&change);
        // G3: whichever of the two is there, it is ours.
        assert!(begun.open && begun.ours.len() == 2);
        let after = before.after(&change, |_| Went::Done);
        assert_eq!(after, Memory { ours: vec![entry("a", "new")], step: Some(change.clone()), open: false });
        let refused = before.after(&change, |_| Went::Not);
        assert_eq!(refused, before, "nothing half remembered");
    }

    #[test]
    fn what_heals_a_cut_is_undone_together_with_what_was_cut() {
        let before = Memory { ours: vec![entry("a", "old")], ..Memory::default() };
        let cut = before.begin(&step(&["new", "second"], &[("old", true), ("foreign", false)]));
        // Half of it was done; the next push does the rest.
        let healed = cut.after(&step(&["second"], &[("old", true)]), |_| Went::Done);
        assert!(!healed.open);
        let back = healed.step.unwrap();
        let names = |all: &[Piece]| all.iter().map(|piece| piece.entry.data.value()).collect::<Vec<_>>();
        assert_eq!(
            (names(&back.added), names(&back.removed)),
            (vec!["new".into(), "second".into()], vec!["old".to_owned(), "foreign".to_owned()])
        );
    }

    #[test]
    fn there_and_back_is_nothing() {
        let there = step(&["new"], &[("old", true)]);
        let back = step(&["old"], &[("new", true)]);
        assert!(there.then(&back).is_empty());
        assert_eq!(there.then(&Step::default()), there);
    }

    #[test]
    fn after_an_undo_what_was_foreign_is_foreign_again() {
        let memory = Memory::default().after(&step(&["ours"], &[("foreign", false)]), |_| Went::Done);
        let undo = Step { added: vec![piece("foreign", false)], removed: vec![piece("ours", true)] };
        assert_eq!(memory.undone(&undo, |_| Went::Done), Memory::default());
        let failed = memory.undone(&undo, |_| Went::Not);
        assert_eq!((failed.step, failed.ours), (memory.step.clone(), memory.ours.clone()));
    }
}
