//! What each step is in, in words.

use crate::base::Time;

use super::machine::{Wizard, is_right};
use super::saved::Domain;
use super::{Authority, Clock, Facts, Internet, Origin, PieceState, State, Step, Vouching};

impl Wizard {
    pub fn steps(&self, facts: &Facts) -> Vec<(Step, State)> {
        Step::ALL.into_iter().map(|step| (step, self.state(step, facts))).collect()
    }

    /// The first step that needs somebody and was not put off; at the end, the last.
    pub fn current(&self, facts: &Facts) -> Step {
        let open = |step: &Step| {
            let needs = matches!(self.state(*step, facts), State::NeedsYou | State::Failed { .. });
            needs && !self.saved.later.contains(step)
        };
        Step::ALL.into_iter().find(open).unwrap_or(Step::Done)
    }

    pub fn state(&self, step: Step, facts: &Facts) -> State {
        let saved = &self.saved;
        match step {
            Step::Language => saved.zone.as_ref().map_or(State::NeedsYou, |zone| State::done(zone.clone())),
            Step::Code if saved.coded => State::Done(None),
            Step::Code => State::NeedsYou,
            Step::Origin => match saved.origin {
                Some(Origin::New) => State::done("new"),
                Some(Origin::Restore) if saved.admin.is_some() => State::done("restored"),
                Some(Origin::Restore) if facts.restoring.is_some() => State::waiting("the backup"),
                Some(Origin::Restore) => State::NeedsYou,
                None if saved.admin.is_some() => State::done("new"),
                None => State::NeedsYou,
            },
            Step::Network => network(facts),
            Step::You => match &saved.admin {
                Some(admin) if admin.confirmed => State::done(admin.address.clone()),
                _ => State::NeedsYou,
            },
            Step::Line => self.line(facts),
            Step::Domain => match &saved.domain {
                Some(Domain::Own { name, .. }) => State::done(name.clone()),
                Some(Domain::HouseOnly) => State::done("in the house only"),
                None => State::NeedsYou,
            },
            Step::Dns => self.names(facts),
            Step::Certificate => self.certificate(facts),
            Step::Letter => match (saved.letter, &saved.domain) {
                (Some(_), _) => State::Done(None),
                (None, None) => State::waiting("your domain"),
                (None, Some(_)) => State::waiting("a letter to you"),
            },
            Step::Family => match (saved.people.len(), &saved.domain) {
                (_, None) => State::waiting("your domain"),
                (0, _) => State::NeedsYou,
                (1, _) => State::done("1 person"),
                (count, _) => State::done(format!("{count} people")),
            },
            Step::Devices => match (facts.seen.is_empty(), &saved.domain) {
                (false, _) => State::done("signed in"),
                (true, None) => State::waiting("your domain"),
                (true, Some(_)) => State::waiting("a device that signs in"),
            },
            Step::Done if saved.finished => State::Done(None),
            Step::Done => State::NeedsYou,
        }
    }

    fn line(&self, facts: &Facts) -> State {
        let asked = self.saved.asked.contains(&Step::Line);
        if asked && facts.internet == Internet::No {
            return State::waiting("the internet");
        }
        if asked || self.running.contains(&Step::Line) {
            return State::Waiting { on: "the measurement".into(), until: Some(facts.now.plus_ms(120_000)) };
        }
        match (self.trouble(Step::Line), &self.saved.line) {
            (Some(trouble), _) => trouble,
            (None, Some(line)) => State::done(line.verdict.clone()),
            (None, None) => State::NeedsYou,
        }
    }

    fn names(&self, facts: &Facts) -> State {
        match &self.saved.domain {
            None => return State::waiting("your domain"),
            Some(Domain::HouseOnly) => return State::done("not needed in the house"),
            Some(Domain::Own { .. }) => {}
        }
        if let Some(trouble) = self.trouble(Step::Dns) {
            return trouble;
        }
        let records = &self.saved.records;
        let right = records.iter().filter(|piece| is_right(piece)).count();
        if records.is_empty() {
            return match facts.internet {
                Internet::No => State::waiting("the internet"),
                _ => State::waiting("the domain's name servers"),
            };
        }
        if right == records.len() {
            return State::done(format!("{right} of {right} right"));
        }
        let different = records.iter().filter(|piece| matches!(piece.state, PieceState::Different { .. })).count();
        if different > 0 {
            return State::NeedsYou;
        }
        let until = records.iter().filter_map(|piece| match piece.state {
            PieceState::NotYet { until } => until,
            _ => None,
        });
        State::Waiting { on: "your records".into(), until: until.max().map(Time::from_seconds) }
    }

    fn certificate(&self, facts: &Facts) -> State {
        match &self.saved.domain {
            None => return State::waiting("your domain"),
            Some(Domain::HouseOnly) => return State::done("its own, for the house"),
            Some(Domain::Own { .. }) => {}
        }
        let asked = self.saved.asked.contains(&Step::Certificate);
        let authority = facts.authority.as_ref().filter(|authority| authority.on);
        if facts.clock == Clock::Unchecked && (asked || authority.is_some()) {
            return State::waiting("the clock");
        }
        let Some(authority) = authority else { return State::NeedsYou };
        if asked || self.running.contains(&Step::Certificate) {
            return State::Waiting { on: "the authority".into(), until: Some(facts.now.plus_ms(120_000)) };
        }
        vouched(authority, facts)
    }

    fn trouble(&self, step: Step) -> Option<State> {
        let trouble = self.saved.trouble.get(&step)?;
        Some(match trouble.not_yet {
            true => State::waiting("a later version of homepost"),
            false => State::Failed { why: trouble.why.clone(), next: trouble.next.clone() },
        })
    }
}

/// One name that fails is no reason to call the others undone, nor to hide that it fails.
fn vouched(authority: &Authority, facts: &Facts) -> State {
    let names = &authority.names;
    let done: Vec<&str> = names
        .iter()
        .filter_map(|name| match &name.state {
            Vouching::Done { issuer, .. } => Some(issuer.as_str()),
            _ => None,
        })
        .collect();
    if let (Some(issuer), true) = (done.first(), done.len() == names.len()) {
        return State::done((*issuer).to_owned());
    }
    if names.iter().any(|name| matches!(name.state, Vouching::NeedsYou { .. })) {
        return State::NeedsYou;
    }
    let until = names.iter().filter_map(|name| match name.state {
        Vouching::Waiting { until, .. } => until,
        _ => None,
    });
    State::Waiting { on: "the authority".into(), until: until.max().or(Some(facts.now.plus_ms(120_000))) }
}

fn network(facts: &Facts) -> State {
    if facts.addresses.is_empty() {
        return State::waiting("an address from your router");
    }
    match (facts.clock, facts.internet) {
        (_, Internet::No) => State::waiting("the internet"),
        (Clock::Unchecked, _) => State::waiting("the right time"),
        (Clock::Trusted, _) => State::Done(None),
    }
}
