//! What is kept, what is wanted, and what comes next: the whole of it without a network, so that it can be simulated.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::base::{Random, Time};
use crate::net::Pair;

use super::file::{self, Keep, Kept, Source};
use super::names::{ALONE, Group, alone};
use super::obtain::{Outcome, Wanted};
use super::schedule::{Alarm, Step, Window};
use super::stage::Method;
use super::state::{self, State};
use super::trouble::{Cause, Trouble};
use super::x509::{self, Facts};

/// What holds outside, each time something is asked of the keeper.
pub struct World<'a> {
    pub now: Time,
    /// Whether `now` can be believed.
    pub trusted: bool,
    pub random: &'a dyn Random,
    pub hostname: &'a str,
    /// The groups that need a certificate; see [`super::groups`].
    pub groups: &'a [Group],
    /// Where certificates are ordered; `None`: nowhere.
    pub directory: Option<&'a str>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Order(Order),
    /// Ask for the window of this group's certificate.
    Ask {
        id: String,
        ari: String,
    },
    /// `None`: until something changes.
    Wait(Option<Time>),
    /// The clock is wrong.
    Clock,
}

/// What to order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: String,
    pub names: Vec<String>,
    /// The certificate that it will replace, as the authority knows it.
    pub replaces: Option<String>,
    /// Whether it is worth a rehearsal: the same names were not ordered there before, or that failed.
    pub rehearse: bool,
}

/// What an order by the owner came to, for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub id: String,
    pub names: Vec<String>,
    pub until: Option<Time>,
    /// What went wrong, each with its name.
    pub troubles: Vec<(String, Trouble)>,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    /// That are wanted.
    pub names: Vec<String>,
    /// What serves them; `None`: the self-signed one does.
    pub kept: Option<(Source, Facts)>,
    /// `None` where nothing is ordered, or at once.
    pub next: Option<Time>,
    pub alarm: Option<Alarm>,
    pub trouble: Option<(String, Trouble)>,
}

pub struct Keeper<K> {
    keep: K,
    state: State,
    kept: Vec<Kept>,
}

impl<K: Keep> Keeper<K> {
    pub fn open(keep: K) -> Keeper<K> {
        let (state, kept) = (state::load(&keep), file::all(&keep));
        Keeper { keep, state, kept }
    }

    pub fn keep(&self) -> &K {
        &self.keep
    }

    /// The pairs in the order in which they serve. May be empty.
    pub fn pairs(&self, hostname: &str, now: Time) -> Vec<Pair> {
        let copy = |one: &Kept| Pair { chain: one.pair.chain.clone(), key: one.pair.key.clone() };
        file::in_order(&self.kept, hostname, now).into_iter().map(copy).collect()
    }

    /// Brings the notes into line with what is wanted. True if certificates went.
    pub fn reconcile(&mut self, world: &World<'_>) -> bool {
        let Some(directory) = world.directory else { return false };
        let before = self.state.clone();
        let wanted = |name: &str| world.groups.iter().any(|group| group.names.iter().any(|own| own == name));
        let is_wanted = |id: &str| match id.strip_prefix(ALONE) {
            Some(name) => wanted(name),
            None => world.groups.iter().any(|group| group.id == id),
        };
        self.state.groups.retain(|id, _| is_wanted(id));
        let mut went = false;
        let keep = &self.keep;
        self.kept.retain(|one| {
            let stays = one.source == Source::Imported || is_wanted(&one.id);
            if !stays {
                info!(id = one.id, "a certificate is not needed any more");
                file::remove(keep, &one.id);
                went = true;
            }
            stays
        });
        let alone_now: Vec<String> =
            self.state.groups.keys().filter_map(|id| id.strip_prefix(ALONE)).map(str::to_owned).collect();
        for group in world.groups {
            // Only what would be ordered can be missing, or it would be ordered for ever.
            let names = self.names(group, world);
            let kept = self.kept.iter().find(|one| one.id == group.id);
            let missing =
                kept.is_some_and(|kept| names.iter().any(|name| !kept.facts.covers(name) && !alone_now.contains(name)));
            let life = kept.map(|kept| kept.facts.life);
            let state = self.state.groups.entry(group.id.clone()).or_default();
            match life {
                Some(life) => state.plan.adopt(life, world.now, world.random),
                None => state.plan.forget(),
            }
            // A name came in, or the host has another; or the owner chose another authority.
            if life.is_some() && (missing || (!state.directory.is_empty() && state.directory != directory)) {
                state.plan.hurry(world.now);
            }
        }
        for (id, state) in self.state.groups.iter_mut().filter(|(id, _)| id.starts_with(ALONE)) {
            match self.kept.iter().find(|one| one.id == *id) {
                Some(kept) => state.plan.adopt(kept.facts.life, world.now, world.random),
                None => state.plan.forget(),
            }
        }
        if self.state != before {
            state::store(&self.keep, &self.state);
        }
        went
    }

    /// What to do now, and if nothing, until when. Call [`Keeper::reconcile`] before.
    pub fn next(&self, world: &World<'_>) -> Next {
        if world.directory.is_none() {
            return Next::Wait(None);
        }
        if !world.trusted {
            return Next::Clock;
        }
        let mut until: Option<Time> = None;
        for group in self.groups(world) {
            let names = self.names(&group, world);
            let Some(state) = self.state.groups.get(&group.id).filter(|_| !names.is_empty()) else { continue };
            let ari = self.kept(&group.id).and_then(|kept| kept.facts.ari.clone());
            match state.plan.next(world.now, ari.is_some()) {
                Step::Clock => return Next::Clock,
                Step::Order => return Next::Order(self.order(&group, names, world)),
                Step::Ask => {
                    if let Some(ari) = ari {
                        return Next::Ask { id: group.id, ari };
                    }
                }
                Step::Wait(time) => until = Some(until.map_or(time, |until| until.min(time))),
            }
        }
        Next::Wait(until)
    }

    /// What the owner wants ordered: all groups that this word names, or all there are. Those that are due are meant, and
    /// with `force` the others too. Beside the orders, names that may not be tried yet (C3).
    pub fn asked(&mut self, word: Option<&str>, force: bool, world: &World<'_>) -> (Vec<Order>, Vec<Renewed>) {
        let (mut orders, mut blocked) = (Vec::new(), Vec::new());
        for group in self.groups(world) {
            if word.is_some_and(|word| group.id != word && !group.names.iter().any(|name| name == word)) {
                continue;
            }
            let names = self.names(&group, world);
            let early = |name: &String| Some((name.clone(), too_early(self.state.ledger.blocked(name, world.now)?)));
            let troubles: Vec<_> = group.names.iter().filter_map(early).collect();
            if !troubles.is_empty() {
                blocked.push(Renewed { id: group.id.clone(), names: Vec::new(), until: None, troubles });
            }
            let Some(state) = self.state.groups.get_mut(&group.id).filter(|_| !names.is_empty()) else { continue };
            let waits = state.plan.failures() > 0 || self.kept.iter().all(|one| one.id != group.id);
            if force || waits {
                state.plan.force(world.now);
            }
            if matches!(state.plan.next(world.now, false), Step::Order) {
                orders.push(self.order(&group, names, world));
            }
        }
        (orders, blocked)
    }

    /// The names with the ways to prove them.
    pub fn wanted(&self, order: &Order, now: Time, methods: impl Fn(&str) -> Vec<Method>) -> Vec<Wanted> {
        let worked = self.state.groups.get(&order.id).map(|state| &state.methods);
        let one = |name: &String| {
            let mut methods = methods(name);
            // What worked last comes first.
            let best = worked.and_then(|worked| worked.get(name)).copied();
            methods.sort_by_key(|method| Some(*method) != best);
            Wanted { name: name.clone(), methods, failures_left: self.state.ledger.left(name, now) }
        };
        order.names.iter().map(one).collect()
    }

    /// Keeps what came of an order. True if there is a new certificate to serve.
    pub fn settle(&mut self, order: &Order, outcome: Outcome, world: &World<'_>) -> (bool, Renewed) {
        let now = world.now;
        for name in &outcome.failed {
            self.state.ledger.failed(name, now);
        }
        let mut renewed =
            Renewed { id: order.id.clone(), names: Vec::new(), until: None, troubles: outcome.left_out.clone() };
        let kept = outcome.pair.map(|pair| self.put(&order.id, pair));
        let state = self.state.groups.entry(order.id.clone()).or_default();
        state.tried_at = Some(now);
        let changed = match kept {
            Some(Ok(facts)) => {
                state.plan.succeeded(facts.life, now, world.random);
                state.trouble = None;
                state.directory = world.directory.unwrap_or_default().to_owned();
                state.methods = outcome.methods;
                (renewed.names, renewed.until) = (facts.names.clone(), Some(facts.life.until));
                info!(names = facts.names.join(" "), issuer = facts.issuer, "a new certificate serves");
                self.part(&order.id, &facts, &outcome.left_out, world);
                true
            }
            other => {
                let whole = match other {
                    Some(Err(why)) => Some(Trouble::new(Cause::Strange, why)),
                    _ => outcome.trouble,
                };
                let first = order.names.first().cloned().unwrap_or_default();
                let trouble = whole.map(|trouble| (first, trouble));
                renewed.troubles.extend(trouble.clone());
                let trouble = trouble.or_else(|| outcome.left_out.into_iter().next());
                if let Some((name, trouble)) = &trouble {
                    state.plan.failed(trouble, now, world.random);
                    warn!(group = order.id, name, cause = ?trouble.cause, "no new certificate");
                }
                state.trouble = trouble;
                false
            }
        };
        state::store(&self.keep, &self.state);
        (changed, renewed)
    }

    /// C1: names that were left out become groups of their own; those that came back need none any more.
    fn part(&mut self, id: &str, facts: &Facts, left_out: &[(String, Trouble)], world: &World<'_>) {
        if id.starts_with(ALONE) {
            return;
        }
        for name in &facts.names {
            let own = alone(name).id;
            if self.state.groups.remove(&own).is_some() {
                self.kept.retain(|one| one.id != own);
                file::remove(&self.keep, &own);
            }
        }
        for (name, trouble) in left_out {
            let state = self.state.groups.entry(alone(name).id).or_default();
            state.plan.failed(trouble, world.now, world.random);
            state.trouble = Some((name.clone(), trouble.clone()));
            state.tried_at = Some(world.now);
        }
    }

    fn put(&mut self, id: &str, pair: Pair) -> Result<Facts, String> {
        let facts = x509::facts(&pair.chain)?;
        file::put(&self.keep, id, &pair)?;
        self.kept.retain(|one| one.id != id);
        self.kept.push(Kept { id: id.to_owned(), source: Source::Authority, facts: facts.clone(), pair });
        Ok(facts)
    }

    pub fn windowed(&mut self, id: &str, window: Option<(Window, i64)>, world: &World<'_>) {
        let Some(state) = self.state.groups.get_mut(id) else { return };
        match window {
            Some((window, again)) => state.plan.windowed(window, Some(again), world.now, world.random),
            None => state.plan.not_windowed(world.now),
        }
        state::store(&self.keep, &self.state);
    }

    /// Alarms that are new, each with the group and how many days are left.
    pub fn alarms(&mut self, world: &World<'_>) -> Vec<(String, Alarm, i64)> {
        let mut out = Vec::new();
        for (id, state) in &mut self.state.groups {
            let Some(kept) = self.kept.iter().find(|one| one.id == *id) else { continue };
            if let Some(alarm) = state.plan.alarm(world.now) {
                let left = kept.facts.life.until.0.saturating_sub(world.now.0).div_euclid(86_400_000);
                out.push((id.clone(), alarm, left));
            }
        }
        if !out.is_empty() {
            state::store(&self.keep, &self.state);
        }
        out
    }

    /// Takes in what the owner brought. Errors: sentences.
    pub fn import(&mut self, pair: Pair, now: Time) -> Result<Facts, String> {
        let (id, facts) = file::check_import(&pair, now)?;
        file::put(&self.keep, &id, &pair)?;
        self.kept.retain(|one| one.id != id);
        self.kept.push(Kept { id, source: Source::Imported, facts: facts.clone(), pair });
        Ok(facts)
    }

    /// Removes what the owner brought. False if there is none of that name. Errors: sentences; then it is still there.
    pub fn remove(&mut self, word: &str) -> Result<bool, String> {
        let fits = |one: &Kept| {
            one.source == Source::Imported && (one.id == word || one.facts.names.iter().any(|name| name == word))
        };
        for one in self.kept.iter().filter(|one| fits(one)) {
            file::try_remove(&self.keep, &one.id).map_err(|error| format!("it cannot be removed: {error}"))?;
        }
        let before = self.kept.len();
        self.kept.retain(|one| !fits(one));
        Ok(self.kept.len() != before)
    }

    pub fn list(&self, world: &World<'_>) -> Vec<Entry> {
        let mut out = Vec::new();
        for group in self.groups(world) {
            let state = self.state.groups.get(&group.id);
            let names = self.names(&group, world);
            let kept = self.kept(&group.id);
            if names.is_empty() && kept.is_none() {
                continue;
            }
            out.push(Entry {
                kept: kept.map(|one| (one.source, one.facts.clone())),
                next: state.filter(|_| world.directory.is_some()).and_then(|state| state.plan.expected(world.now)),
                alarm: state.and_then(|state| state.plan.near(world.now)).filter(|_| kept.is_some()),
                trouble: state.and_then(|state| state.trouble.clone()),
                names: if names.is_empty() { group.names } else { names },
                id: group.id,
            });
        }
        for one in self.kept.iter().filter(|one| one.source == Source::Imported) {
            out.push(Entry {
                id: one.id.clone(),
                names: one.facts.names.clone(),
                kept: Some((one.source, one.facts.clone())),
                next: None,
                alarm: near(&one.facts, world.now),
                trouble: None,
            });
        }
        out
    }

    fn order(&self, group: &Group, names: Vec<String>, world: &World<'_>) -> Order {
        let kept = self.kept(&group.id);
        let state = self.state.groups.get(&group.id);
        let here = state.is_some_and(|state| Some(state.directory.as_str()) == world.directory);
        let smooth = here
            && state.is_some_and(|state| state.plan.failures() == 0)
            && kept.is_some_and(|kept| names.iter().all(|name| kept.facts.covers(name)));
        Order {
            id: group.id.clone(),
            names,
            replaces: kept.filter(|_| here).and_then(|kept| kept.facts.ari.clone()),
            rehearse: !smooth,
        }
    }

    fn kept(&self, id: &str) -> Option<&Kept> {
        self.kept.iter().find(|one| one.id == id)
    }

    /// The wanted groups, and those of names that are tried alone.
    fn groups(&self, world: &World<'_>) -> Vec<Group> {
        let alone = self.state.groups.keys().filter_map(|id| id.strip_prefix(ALONE)).map(alone);
        world.groups.iter().cloned().chain(alone).collect()
    }

    /// What is to be ordered for a group: without names that fail (they are tried alone), that may not be tried now (C3), or
    /// that a certificate of the owner's serves.
    fn names(&self, group: &Group, world: &World<'_>) -> Vec<String> {
        let mut served: BTreeMap<&str, bool> = BTreeMap::new();
        for one in self.kept.iter().filter(|one| one.source == Source::Imported) {
            if near(&one.facts, world.now) >= Some(Alarm::Sixth) {
                continue; // it cannot be renewed, so we help out
            }
            served.extend(group.names.iter().filter(|name| one.facts.covers(name)).map(|name| (name.as_str(), true)));
        }
        let free = |name: &&String| {
            let id = alone(name).id;
            let fails = id != group.id && self.state.groups.contains_key(&id) && self.kept(&id).is_none();
            !fails && !served.contains_key(name.as_str()) && self.state.ledger.blocked(name, world.now).is_none()
        };
        group.names.iter().filter(free).cloned().collect()
    }
}

fn too_early(until: Time) -> Trouble {
    Trouble { until: Some(until), ..Trouble::new(Cause::Limited, "it failed several times within an hour") }
}

fn near(facts: &Facts, now: Time) -> Option<Alarm> {
    facts.life.near(now)
}
