//! What is shown of a domain whose records are written.

use crate::appliance::writing::{self, Difference, Place, Value, Work, Writing};
use crate::net::dns::RFC2136;
use crate::settings::DNS_METHODS;

use super::{sentence, title};

/// Ticks on one page; a form has room for no more. What is beyond them has its turn afterwards.
const TICKS: usize = 20;

pub(in super::super) struct Panel {
    /// Where its forms go.
    pub base: String,
    /// The page it belongs to.
    pub back: String,
    pub domain: String,
    pub method: String,
    /// In a sentence: "Hetzner", "the name server 192.0.2.53".
    pub by: String,
    pub ready: bool,
    pub undoable: bool,
    /// Value, words, whether it is the one.
    pub choices: Vec<(&'static str, &'static str, bool)>,
    /// What is going on.
    pub running: Option<&'static str>,
    /// Why nothing could be said.
    pub failed: Option<String>,
    pub shown: Option<Shown>,
}

/// A difference, or what came of it.
pub(in super::super) struct Shown {
    /// Of the work that it is the difference of.
    pub id: u64,
    pub undo: bool,
    /// It was to be written.
    pub wrote: bool,
    pub class: &'static str,
    pub pill: &'static str,
    pub headline: String,
    /// Whole sentences.
    pub words: Vec<String>,
    pub servers: String,
    pub to_write: usize,
    /// What is added, changed, taken away.
    pub rows: Vec<Row>,
    pub conflicts: Vec<Row>,
    pub kept: Vec<Row>,
}

pub(in super::super) struct Row {
    pub name: String,
    pub kind: String,
    pub class: &'static str,
    pub state: &'static str,
    pub comes: Option<String>,
    /// The value, and whose it is.
    pub goes: Vec<(String, &'static str)>,
    pub words: String,
    /// The name of its tick, and what it stands for.
    pub tick: Option<(String, String)>,
}

impl Panel {
    pub fn of(domain: &str, base: String, back: String, writing: &Writing) -> Panel {
        let method = &writing.method;
        let work = writing.work.as_ref().filter(|_| method.ready);
        let by = match method.method.as_str() {
            RFC2136 => format!("the name server {}", method.server),
            provider => title(provider).to_owned(),
        };
        Panel {
            base,
            back,
            domain: domain.to_owned(),
            method: if method.method.is_empty() { "none".to_owned() } else { method.method.clone() },
            by,
            ready: method.ready,
            undoable: writing.undoable,
            choices: choices().map(|one| (one, title(one), one == method.method)).collect(),
            running: work.filter(|work| work.is_running()).map(running),
            failed: work.and_then(|work| work.failed.as_deref()).map(|why| sentence(why, &method.method)),
            shown: work.and_then(|work| Some(Shown::of(work, work.difference.as_ref()?))),
        }
    }
}

impl Panel {
    /// There is nothing left to do here.
    pub fn is_over(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.class == "done")
    }
}

/// A name server of one's own is the last: few homes have one.
fn choices() -> impl Iterator<Item = &'static str> {
    let own = |one: &str| one == RFC2136;
    let all = DNS_METHODS.iter().filter(move |one| !own(one)).chain(DNS_METHODS.iter().filter(move |one| own(one)));
    all.copied()
}

fn running(work: &Work) -> &'static str {
    match (work.wish.write, work.wish.undo) {
        (false, _) => "I ask the name servers what is there, and compare. Nothing is written yet.",
        (true, false) => {
            "I write the records, and look whether they are there. With some providers that takes minutes."
        }
        (true, true) => "I put back what was there before. With some providers that takes minutes.",
    }
}

fn records(count: usize) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

impl Shown {
    fn of(work: &Work, all: &Difference) -> Shown {
        let (undo, wrote) = (work.wish.undo, work.wish.write);
        let of = |which: fn(&str) -> bool| all.lines.iter().filter(move |line| which(&line.action));
        let mut conflicts: Vec<Row> = of(|action| action == "conflict").map(|line| Row::of(line, all, undo)).collect();
        for (at, row) in conflicts.iter_mut().enumerate() {
            row.tick =
                row.tick.take().filter(|_| !wrote && at < TICKS).map(|(_, handle)| (format!("take-{at}"), handle));
        }
        let (class, pill, headline) = verdict(all, undo, wrote);
        let mut words: Vec<String> = all.faults.iter().map(|why| sentence(why, &all.method)).collect();
        if wrote && !all.unseen.is_empty() {
            words.push(format!(
                "Not every name server of the domain gives out {} yet. That is normal for some minutes; \"Look again\" says when \
                 they do.",
                if all.unseen.len() == 1 { "1 of them".to_owned() } else { format!("{} of them", all.unseen.len()) }
            ));
        }
        if wrote && all.conflicts > 0 {
            words.push(format!(
                "{} left alone, because something is in the way that homepost did not write.",
                if all.conflicts == 1 { "1 was".to_owned() } else { format!("{} were", all.conflicts) }
            ));
        }
        Shown {
            id: work.id,
            undo,
            wrote,
            class,
            pill,
            headline,
            words,
            servers: all.servers.join(", "),
            to_write: all.to_write,
            rows: of(|action| !matches!(action, "conflict" | "keep")).map(|line| Row::of(line, all, undo)).collect(),
            kept: of(|action| action == "keep").map(|line| Row::of(line, all, undo)).collect(),
            conflicts,
        }
    }
}

fn verdict(all: &Difference, undo: bool, wrote: bool) -> (&'static str, &'static str, String) {
    let done = if undo { "put back" } else { "written" };
    match (wrote, all.to_write) {
        (_, 0) if all.conflicts > 0 => ("need", "→ needs you", "Something else is in the way.".to_owned()),
        (_, 0) if undo => ("done", "✓ nothing to do", "There is nothing to put back.".to_owned()),
        (_, 0) => ("done", "✓ nothing to do", "Every record is there already.".to_owned()),
        (false, count) if undo => ("need", "→ not done yet", format!("{} to put back.", records(count))),
        (false, count) => ("need", "→ not written yet", format!("{} to write.", records(count))),
        (true, 1) if all.done == 1 => ("done", "✓ done", format!("The record is {done}.")),
        (true, count) if all.done == count => ("done", "✓ done", format!("All {count} records are {done}.")),
        (true, _) if all.done == 0 => ("bad", "✕ not done", format!("Nothing was {done}.")),
        (true, count) => ("bad", "✕ not all done", format!("{} of {count} records are {done}.", all.done)),
    }
}

impl Row {
    fn of(line: &writing::Line, all: &Difference, undo: bool) -> Row {
        let unseen = |place: &Place| place.name == line.name && place.kind == line.kind;
        let (class, state) = match (line.action.as_str(), line.done) {
            ("conflict", _) => ("need", "in the way"),
            ("keep", _) => ("done", "✓ stays as it is"),
            (_, Some(false)) => ("bad", "✕ not done"),
            (_, Some(true)) if all.unseen.iter().any(unseen) => ("wait", "… written, not seen everywhere yet"),
            (_, Some(true)) if undo => ("done", "✓ put back"),
            ("remove", Some(true)) => ("done", "✓ taken away"),
            (_, Some(true)) => ("done", "✓ written"),
            ("add", None) => ("need", "+ is added"),
            ("change", None) => ("need", "→ is changed"),
            (_, None) => ("need", "− is taken away"),
        };
        // A reason that is the same for all stands above them.
        let fault = line.fault.as_deref().filter(|_| all.faults.len() > 1);
        let words = [line.words.as_str(), fault.unwrap_or_default()];
        let words = words.iter().find(|words| !words.is_empty()).map(|words| sentence(words, &all.method));
        Row {
            name: line.name.clone(),
            kind: line.kind.clone(),
            class,
            state,
            comes: line.new.as_ref().map(|new| value(new, &line.kind)),
            goes: line
                .old
                .iter()
                .map(|old| (value(old, &line.kind), if old.ours { "" } else { "not homepost's" }))
                .collect(),
            words: words.unwrap_or_default(),
            tick: line.take_over.clone().map(|handle| (String::new(), handle)),
        }
    }
}

/// On one line, and not without end: of records of others too.
fn value(value: &Value, kind: &str) -> String {
    let kind = if value.kind == kind { String::new() } else { format!("{} ", value.kind) };
    let priority = value.priority.map(|priority| format!("{priority} ")).unwrap_or_default();
    let text = format!("{kind}{priority}{}", value.value);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(600).collect()
}
