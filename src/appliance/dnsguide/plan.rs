//! What a push would do: the records that should be there, held against those that are there and those that are ours.

use std::collections::BTreeMap;

use super::judge::{rival, shown};
use super::memory::{Entry, Memory, Piece, Step};
use super::{Record, is_in, mistakes};
use crate::net::dns::{Answers, Change, Data, Found, Kind};

/// What is to happen to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is there already, whoever wrote it.
    Keep,
    Add,
    /// Something else goes, and it comes in that place.
    Change,
    /// It is ours, and is not wanted any more.
    Remove,
    /// Something that is not ours is in its way.
    Conflict,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Keep => "keep",
            Action::Add => "add",
            Action::Change => "change",
            Action::Remove => "remove",
            Action::Conflict => "conflict",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    pub kind: Kind,
    pub action: Action,
    /// What should be there; `None` for [`Action::Remove`].
    pub want: Option<Piece>,
    /// What goes; of a [`Action::Conflict`], what is in the way and stays.
    pub old: Vec<Piece>,
    /// For the owner, of a conflict: what it is, and what to do. Else empty.
    pub words: String,
}

impl Line {
    /// How an owner names it to take it over: `example.org/MX`.
    pub fn handle(&self) -> String {
        format!("{}/{}", self.name, self.kind)
    }

    /// Whether something of it is to be written.
    pub fn is_acting(&self) -> bool {
        matches!(self.action, Action::Add | Action::Change | Action::Remove)
    }
}

/// What is there at the names that matter, as the servers say it; the same at all of them, or at some.
#[derive(Clone, Debug, Default)]
pub struct There(BTreeMap<String, Vec<Found>>);

impl There {
    /// `known` says of a record whether it is ours or wanted. What only a wildcard of the zone answers (RFC 4592) is not at
    /// the name, and is not in the way there. Errors: what nobody could be asked for, as the end of a sentence.
    pub fn from(answers: &Answers, known: impl Fn(&str, &Data) -> bool) -> Result<There, String> {
        let mut out: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for ((name, _), said) in answers {
            let mut all = said.iter().flatten().peekable();
            if all.peek().is_none() {
                return Err(said
                    .iter()
                    .find_map(|one| one.clone().err())
                    .unwrap_or_else(|| "it was not asked".to_owned()));
            }
            for found in all.flat_map(|answer| &answer.records).filter(|found| found.name == *name) {
                let here = out.entry(name.clone()).or_default();
                if !here.iter().any(|other| other.data == found.data) {
                    here.push(found.clone());
                }
            }
        }
        let wild: Vec<(String, Vec<Found>)> =
            out.iter().filter_map(|(name, all)| Some((name.strip_prefix("*.")?.to_owned(), all.clone()))).collect();
        out.retain(|name, all| {
            let covers = |zone: &str| name != zone && is_in(name, zone);
            all.retain(|found| {
                known(name, &found.data)
                    || !wild
                        .iter()
                        .any(|(zone, others)| covers(zone) && others.iter().any(|other| other.data == found.data))
            });
            !name.starts_with("*.")
        });
        Ok(There(out))
    }

    pub fn at(&self, name: &str) -> &[Found] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// What has to be asked to make a plan for these names and types within a domain.
pub fn look_for<'a>(domain: &str, all: impl Iterator<Item = (&'a str, Kind)>) -> Vec<(String, Kind)> {
    let mut out = Vec::new();
    for (name, kind) in all {
        let own: &[Kind] = &[kind];
        // Nothing may stand beside an alias.
        let kinds =
            if kind == Kind::Cname { &[Kind::Cname, Kind::A, Kind::Aaaa, Kind::Txt, Kind::Mx][..] } else { own };
        let mut above = name;
        out.extend(kinds.iter().map(|kind| (name.to_owned(), *kind)));
        while let Some((_, parent)) = above.split_once('.').filter(|(_, parent)| is_in(parent, domain)) {
            out.extend(kinds.iter().map(|kind| (format!("*.{parent}"), *kind)));
            above = parent;
        }
    }
    out.sort();
    out.dedup();
    out
}

/// The lines of a push, in the order of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub lines: Vec<Line>,
    /// Of each name and type that changes, all that is there.
    before: BTreeMap<(String, Kind), Vec<Found>>,
    /// What we wrote and somebody has taken away since.
    lost: Vec<Entry>,
}

/// What an owner takes over though it is not ours: `all`, or as [`Line::handle`].
#[derive(Clone, Debug, Default)]
pub struct TakeOver(Vec<String>);

impl TakeOver {
    pub fn new(all: &[String]) -> TakeOver {
        TakeOver(all.iter().map(|one| one.trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    fn has(&self, name: &str, kind: Kind) -> bool {
        let handle = format!("{name}/{kind}").to_ascii_lowercase();
        self.0.iter().any(|one| one == "all" || *one == handle)
    }
}

/// What has to be done so that the records of a domain are there. Nothing that is not ours ever goes, but what is taken over
/// (G4).
pub fn plan(domain: &str, records: &[Record], memory: &Memory, there: &There, take_over: &TakeOver) -> Plan {
    let here = records.iter().filter(|record| is_in(&record.name, domain));
    let wants: Vec<Piece> = here
        .clone()
        .filter(|record| record.is_for_publishing())
        .filter_map(|record| Some(Piece { entry: entry(record)?, ours: true }))
        .collect();
    // What is not known just now is no reason to take away what was.
    let unknown: Vec<(String, Kind)> = here
        .filter(|record| record.data.is_none())
        .flat_map(|record| {
            let kinds = if record.kind == Kind::A { vec![Kind::A, Kind::Aaaa] } else { vec![record.kind] };
            kinds.into_iter().map(|kind| (record.name.clone(), kind))
        })
        .collect();
    Maker { wants: &wants, ours: &memory.ours, unknown: &unknown, there, take_over }.plan()
}

/// What has to be done so that it is as it was before the last push: what that added goes, what it took comes back.
pub fn undo(memory: &Memory, there: &There, take_over: &TakeOver) -> Plan {
    let Some(step) = &memory.step else { return Plan::default() };
    let added: Vec<Entry> = step.added.iter().map(|piece| piece.entry.clone()).collect();
    Maker { wants: &step.removed, ours: &added, unknown: &[], there, take_over }.plan()
}

fn entry(record: &Record) -> Option<Entry> {
    Some(Entry { name: record.name.clone(), data: record.data.clone()?, ttl: record.ttl })
}

struct Maker<'a> {
    wants: &'a [Piece],
    ours: &'a [Entry],
    unknown: &'a [(String, Kind)],
    there: &'a There,
    take_over: &'a TakeOver,
}

impl Maker<'_> {
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        // What has been spoken for: it goes, or has to stay for now.
        let mut settled: Vec<Entry> = Vec::new();
        for want in self.wants {
            let line = self.line(want, &settled);
            settled.extend(line.old.iter().map(|piece| piece.entry.clone()));
            if line.action == Action::Conflict {
                // Then ours stays as well: half of a change is worse than none.
                settled.extend(self.rivals(want).filter(|found| self.is_ours(found)).map(as_entry));
            }
            plan.lines.push(line);
        }
        for entry in self.ours {
            let wanted =
                self.wants.iter().any(|want| want.entry.name == entry.name && same(&entry.data, &want.entry.data));
            let place = (entry.name.clone(), entry.data.kind());
            if wanted || settled.iter().any(|other| other.is(entry)) || self.unknown.contains(&place) {
                continue;
            }
            settled.push(entry.clone());
            let found = self.there.at(&entry.name).iter().find(|found| found.data == entry.data);
            match found {
                None => plan.lost.push(entry.clone()),
                Some(found) => plan.lines.push(Line {
                    name: entry.name.clone(),
                    kind: entry.data.kind(),
                    action: Action::Remove,
                    want: None,
                    old: vec![Piece { entry: as_entry(found), ours: true }],
                    words: String::new(),
                }),
            }
        }
        for line in &plan.lines {
            for entry in line.want.iter().chain(&line.old).map(|piece| &piece.entry) {
                let place = (entry.name.clone(), entry.data.kind());
                let all = self.there.at(&entry.name).iter().filter(|found| found.data.kind() == place.1);
                plan.before.entry(place.clone()).or_insert_with(|| all.cloned().collect());
            }
        }
        plan
    }

    fn line(&self, want: &Piece, settled: &[Entry]) -> Line {
        let (name, data) = (&want.entry.name, &want.entry.data);
        let right = self.there.at(name).iter().any(|found| same(&found.data, data));
        let (own, foreign): (Vec<&Found>, Vec<&Found>) = self.rivals(want).partition(|found| self.is_ours(found));
        let taken = self.take_over.has(name, data.kind());
        let old = |all: &[&Found], ours| -> Vec<Piece> {
            let fresh = all.iter().filter(|found| !settled.iter().any(|other| other.is(&as_entry(found))));
            fresh.map(|found| Piece { entry: as_entry(found), ours }).collect()
        };
        let (action, old, words) = if !foreign.is_empty() && !taken {
            (Action::Conflict, old(&foreign, false), in_the_way(want, &foreign))
        } else {
            let mut gone = old(&own, true);
            gone.extend(old(&foreign, false));
            let action = match (right, gone.is_empty()) {
                (true, true) => Action::Keep,
                (false, true) => Action::Add,
                (_, false) => Action::Change,
            };
            (action, gone, String::new())
        };
        Line { name: name.clone(), kind: data.kind(), action, want: Some(want.clone()), old, words }
    }

    /// What cannot stand beside it; what is wanted there itself can.
    fn rivals<'s>(&'s self, want: &'s Piece) -> impl Iterator<Item = &'s Found> {
        let (name, data) = (&want.entry.name, &want.entry.data);
        self.there.at(name).iter().filter(move |found| {
            let alias = |data: &Data| data.kind() == Kind::Cname;
            let against = match (alias(&found.data), alias(data)) {
                (false, true) | (true, false) => true,
                _ => found.data.kind() == data.kind() && rival(&found.data, data),
            };
            let wanted =
                self.wants.iter().any(|other| other.entry.name == *name && same(&found.data, &other.entry.data));
            against && !wanted
        })
    }

    fn is_ours(&self, found: &Found) -> bool {
        self.ours.iter().any(|entry| entry.name == found.name && entry.data == found.data)
    }
}

fn same(there: &Data, want: &Data) -> bool {
    there.kind() == want.kind() && mistakes::same(there, want)
}

fn as_entry(found: &Found) -> Entry {
    Entry { name: found.name.clone(), data: found.data.clone(), ttl: found.ttl }
}

fn in_the_way(want: &Piece, foreign: &[&Found]) -> String {
    let there = foreign.iter().map(|found| shown(&found.data)).collect::<Vec<_>>().join(", ");
    let name = &want.entry.name;
    let what = match &want.entry.data {
        data if data.kind() != Kind::Cname && foreign.iter().any(|found| found.data.kind() == Kind::Cname) => {
            format!("{name} is an alias of {there}, and beside an alias nothing else can stand")
        }
        Data::Cname(_) => format!("at {name} there is something else ({there}), and beside it no alias can stand"),
        Data::Mx { .. } => format!("mail for {name} is brought to {there} until now"),
        Data::Txt(text) if mistakes::version(text) == "v=spf1" => {
            format!("there is an SPF record already ({there}), and with two neither counts")
        }
        Data::Txt(text) if mistakes::version(text) == "v=dmarc1" => {
            format!("there is a DMARC record already ({there}), and with two neither counts")
        }
        _ => format!("there is another record of this kind: {there}"),
    };
    format!("{what}. homepost did not write that, and leaves it alone")
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_done(&self) -> bool {
        self.acting().next().is_none()
    }

    pub fn conflicts(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.action == Action::Conflict)
    }

    fn acting(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.is_acting())
    }

    fn coming<'s>(&'s self, line: &'s Line) -> Option<&'s Piece> {
        let want = line.want.as_ref()?;
        let place = (want.entry.name.clone(), want.entry.data.kind());
        // Only what is in its way goes, if it is there itself.
        let there = self.before.get(&place).is_some_and(|all| all.iter().any(|one| same(&one.data, &want.entry.data)));
        (!there).then_some(want)
    }

    pub fn step(&self) -> Step {
        let mut step = Step::default();
        for line in self.acting() {
            step.added.extend(self.coming(line).cloned());
            step.removed.extend(line.old.iter().cloned());
        }
        step
    }

    /// For a writer: one change for each name and type.
    pub fn changes(&self) -> Vec<Change> {
        let step = self.step();
        let mut out: Vec<Change> = Vec::new();
        let all = step.removed.iter().map(|piece| (piece, false)).chain(step.added.iter().map(|piece| (piece, true)));
        for (Piece { entry, .. }, comes) in all {
            let place = (entry.name.clone(), entry.data.kind());
            let at = out.iter().position(|change| (&change.name, change.kind) == (&place.0, place.1));
            let at = at.unwrap_or_else(|| {
                let before = self.before.get(&place).map(|all| all.iter().map(|found| found.data.clone()).collect());
                let (name, kind) = place.clone();
                out.push(Change { name, kind, before, remove: Vec::new(), add: Vec::new(), ttl: entry.ttl });
                out.len() - 1
            });
            let Some(change) = out.get_mut(at) else { continue };
            if comes {
                change.add.push(entry.data.clone());
            } else {
                change.remove.push(entry.data.clone());
            }
            // RFC 2181 5.2: all of one name and type have one TTL, and those of others keep theirs.
            let stays =
                self.before.get(&place).into_iter().flatten().filter(|found| !change.remove.contains(&found.data));
            change.ttl = stays.map(|found| found.ttl).min().unwrap_or(entry.ttl);
        }
        // Where they are done one after the other, a host has its address before mail is sent to it, and as long as it is.
        out.sort_by_key(|change| match (matches!(change.kind, Kind::A | Kind::Aaaa), change.add.is_empty()) {
            (true, false) => 0,
            (false, _) => 1,
            (true, true) => 2,
        });
        out
    }

    /// What is in the memory and nowhere else any more.
    pub fn forget(&self, mut memory: Memory) -> Memory {
        memory.ours.retain(|entry| !self.lost.iter().any(|lost| lost.is(entry)));
        memory
    }
}
