//! The machine: what an answer leads to, what the end of a job leads to, and what is due.

use std::collections::BTreeSet;

use crate::appliance::words;
use crate::appliance::words::sheet_hash;
use crate::base::{Mono, Random};
use crate::directory::{Address, normal_domain};
use crate::settings;

use super::answer::line;
use super::code::{self, Code};
use super::door::{Pause, Sessions, Token, Who};
use super::saved::{Admin, Domain, Origin, Person, Saved, Trouble};
use super::{
    Answer, Before, Clock, Facts, Internet, Job, Outcome, PieceState, Refusal, Relay, Secret, Sent, Step, Way,
};

/// RFC 8375: the domain of a home network, which nobody else has and no name server outside answers for. The administrator's
/// address is in it until there is a domain.
pub const HOME: &str = "home.arpa";
/// Words of the recovery sheet, 8 bits each.
const SHEET_WORDS: usize = 10;
/// Between two looks at the records while they are not all right.
const LOOK_AGAIN_MS: u64 = 30_000;

/// What has to be done before an answer is taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// It is in the state, which has to be kept now.
    Keep,
    /// The host has to do this first, and tell how it ended.
    Ask(Job),
}

/// What the end of a job led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The session of whoever answered, if it changed.
    pub token: Option<Token>,
    /// The same answer is to be given once more, now that the machine knows enough.
    pub again: bool,
    /// A person's first pass phrase, to be shown once.
    pub phrase: Option<(String, Secret)>,
}

#[derive(Clone)]
pub struct Wizard {
    pub(super) saved: Saved,
    sessions: Sessions,
    pub(super) pause: Pause,
    pub(super) running: BTreeSet<Step>,
    looked: Option<Mono>,
    /// Of the writing of records after which they were looked at.
    written: Option<u64>,
    /// Not kept: whoever loses it between making and confirming asks for a new one.
    sheet: Option<Sheet>,
}

#[derive(Clone)]
struct Sheet {
    words: Vec<&'static str>,
    asked: (usize, usize),
}

impl Wizard {
    /// From nothing.
    pub fn new(random: &dyn Random) -> Wizard {
        Wizard::resume(Saved::new(Code::new(random)), Mono(0))
    }

    /// From what was kept, whenever that was.
    pub fn resume(saved: Saved, now: Mono) -> Wizard {
        let pause = Pause::after_start(saved.wrong, now);
        Wizard {
            saved,
            sessions: Sessions::default(),
            pause,
            running: BTreeSet::new(),
            looked: None,
            written: None,
            sheet: None,
        }
    }

    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    pub fn who(&mut self, token: Option<&str>, now: Mono) -> Who {
        token.map_or(Who::Stranger, |token| self.sessions.who(token, now))
    }

    /// The folder was set up without us: by a `homepost.toml`, the command line, or by ourselves just before a cut.
    /// `hostname` and `address` are what it says now.
    pub fn adopt(&mut self, hostname: &str, address: &str) {
        if self.saved.admin.is_none() {
            let admin =
                Admin { name: String::new(), address: address.to_owned(), sheet: String::new(), confirmed: false };
            self.saved.admin = Some(admin);
            self.saved.coded = true;
            self.sessions.end_of_the_code();
            // Ours stays within the house until it has a name; every other one was given all that there is to ask.
            self.saved.finished = !hostname.ends_with(HOME);
        }
    }

    // ---- coming in

    /// The set-up code. Wrong tries are in the state, which is to be kept whatever the end is.
    pub fn try_code(&mut self, typed: &str, random: &dyn Random, now: Mono) -> Result<Token, Refusal> {
        if self.saved.admin.is_some() {
            return Err(Refusal::words(
                "This box has an administrator already. The code opens nothing any more; please sign in.",
            ));
        }
        self.not_too_soon("code", now)?;
        if self.saved.code.is(typed) {
            self.saved.wrong = 0;
            self.saved.coded = true;
            self.pause.right();
            return Ok(self.sessions.open(Who::AtTheBox, random, now));
        }
        self.saved.wrong += 1;
        if self.saved.wrong >= code::MOST {
            self.saved.code = Code::new(random);
            self.saved.changed += 1;
            self.saved.wrong = 0;
            self.pause.wrong_code(code::MOST, now);
            return Err(Refusal::field(
                "code",
                "That was wrong too often, so the code has changed. Please look at the screen again.",
            ));
        }
        self.pause.wrong_code(self.saved.wrong, now);
        let words = match (code::FREE.saturating_sub(self.saved.wrong), self.pause.left(now)) {
            (_, left) if left > 0 => {
                format!("That is not the code on the screen. The next try is possible in {}.", span(left))
            }
            (1, _) => "That is not the code on the screen. 1 try left.".to_owned(),
            (left, _) => format!("That is not the code on the screen. {left} tries left."),
        };
        Err(Refusal::field("code", words))
    }

    /// A session for whoever has typed the administrator's pass phrase. The host checks it, since hashes are its business.
    pub fn try_phrase(&mut self, phrase: &Secret, now: Mono) -> Result<Job, Refusal> {
        if self.saved.admin.is_none() {
            return Err(Refusal::words(
                "There is nobody yet who could sign in. Please begin with the code on the screen.",
            ));
        }
        self.not_too_soon("phrase", now)?;
        Ok(Job::Check { phrase: phrase.clone() })
    }

    /// With the words of the recovery sheet a new pass phrase is set.
    pub fn try_sheet(&mut self, typed: &str, phrase: &Secret, now: Mono) -> Result<Job, Refusal> {
        self.not_too_soon("words", now)?;
        let hash = sheet_hash(&words::normal(typed));
        let fits = self.saved.admin.as_ref().and_then(|admin| blake3::Hash::from_hex(&admin.sheet).ok());
        if fits != Some(hash) {
            self.pause.wrong_phrase(now);
            return Err(Refusal::field(
                "words",
                "These are not the words of the sheet. Please compare them one by one.",
            ));
        }
        Ok(Job::Change { phrase: phrase.clone() })
    }

    fn not_too_soon(&self, field: &'static str, now: Mono) -> Result<(), Refusal> {
        match self.pause.left(now) {
            0 => Ok(()),
            left => {
                Err(Refusal::field(field, format!("Too many wrong tries. The next one is possible in {}.", span(left))))
            }
        }
    }

    pub fn sign_out(&mut self, token: &str) {
        self.sessions.close(token);
    }

    // ---- answers

    /// Whether `who` may answer (W1). Errors: a sentence.
    pub fn may(&self, who: Who, answer: &Answer) -> Result<(), Refusal> {
        let no = |words: &str| Err(Refusal::words(words));
        if self.saved.finished {
            return no("The set-up is finished.");
        }
        match (who, self.saved.admin.is_some()) {
            (Who::Console | Who::Administrator, _) | (Who::AtTheBox, false) => Ok(()),
            (_, true) => no("Please sign in first."),
            (Who::Stranger, false) if matches!(answer, Answer::Language { .. }) => Ok(()),
            (Who::Stranger, false) => no("Please type the code from the screen first."),
        }
    }

    /// Takes an answer, or says why not. Nothing is changed by one that is refused.
    pub fn answer(&mut self, who: Who, answer: &Answer, random: &dyn Random) -> Result<Next, Refusal> {
        self.may(who, answer)?;
        match answer {
            Answer::Language { language, zone } => {
                let (language, zone) = (line("language", language)?, line("zone", zone)?);
                if zone.len() >= 64 || jiff::tz::TimeZone::get(&zone).is_err() {
                    return Err(Refusal::field("zone", "Choose a time zone from the list, as in Europe/Berlin."));
                }
                // Without one it stays what the household has.
                if !language.is_empty() {
                    self.saved.language = Some(language);
                }
                self.saved.zone = Some(zone);
            }
            Answer::Origin(Origin::New) => self.saved.origin = Some(Origin::New),
            Answer::Origin(Origin::Restore) => {
                self.nobody_yet()?;
                self.saved.origin = Some(Origin::Restore);
            }
            Answer::Restore { box_id, secret } => {
                self.nobody_yet()?;
                let words = line("secret", &secret.0)?;
                if words.is_empty() {
                    return Err(Refusal::field(
                        "secret",
                        "Type the ten words of the recovery sheet, or the pass phrase of the backup.",
                    ));
                }
                return Ok(Next::Ask(Job::Restore { box_id: box_id.clone(), secret: secret.clone() }));
            }
            Answer::You { name, local, phrase } => return self.you(name, local, phrase),
            Answer::NewSheet => self.new_sheet(random)?,
            Answer::Sheet { first, second } => return self.copied(first, second),
            Answer::Again(step) => self.again(*step)?,
            Answer::Domain { name, host, take_over } => return self.domain(name, host, *take_over),
            Answer::Authority { accepted, contact } => {
                self.own_domain()?;
                if !accepted {
                    return Err(Refusal::field(
                        "accepted",
                        "Without its terms accepted the authority vouches for nobody.",
                    ));
                }
                let contact = line("contact", contact)?;
                if !settings::fits("acme.contact", contact.as_str()) {
                    let words = "That is not a mail address. One looks like anna@smith.example.";
                    return Err(Refusal::field("contact", words));
                }
                return Ok(Next::Ask(Job::Authority { contact }));
            }
            Answer::Relay { relay, password } => {
                self.admin()?;
                return relayed(relay, password);
            }
            Answer::Method(new) => {
                let domain = self.own_domain()?.to_owned();
                return Ok(Next::Ask(Job::Method { domain, new: new.clone() }));
            }
            Answer::Write(wish) => {
                let domain = self.own_domain()?.to_owned();
                return Ok(Next::Ask(Job::Write { domain, wish: wish.clone() }));
            }
            Answer::HouseOnly => {
                self.admin()?;
                return Ok(Next::Ask(Job::House));
            }
            Answer::Later(step) => {
                self.saved.later.insert(*step);
            }
            Answer::Letter { to } => {
                let (domain, to) = (self.own_domain()?, line("to", to)?);
                let Ok(address) = Address::parse(&to) else {
                    let words = "That is not a mail address. One looks like anna@elsewhere.example.";
                    return Err(Refusal::field("to", words));
                };
                if address.domain() == domain {
                    let words = "That address is in this house, so its letters never leave it. Type one that you have elsewhere.";
                    return Err(Refusal::field("to", words));
                }
                return Ok(Next::Ask(Job::Letter { to: address.to_string() }));
            }
            Answer::Person { name, local, phrase } => {
                self.admin()?;
                if self.saved.domain.is_none() {
                    return Err(Refusal::words("First decide about your domain: their addresses are in it."));
                }
                let (name, local) = (person("name", name)?, local_part(local)?);
                return Ok(Next::Ask(Job::Person { name, local, phrase: phrase.clone() }));
            }
            Answer::Finish => {
                self.admin()?;
                if self.saved.domain.is_none() {
                    return Err(Refusal::words(
                        "One thing is still open: your domain. Choose one, or stay within the house.",
                    ));
                }
                self.saved.finished = true;
            }
        }
        Ok(Next::Keep)
    }

    /// A backup has people of its own.
    fn nobody_yet(&self) -> Result<(), Refusal> {
        match &self.saved.admin {
            None => Ok(()),
            Some(_) => Err(Refusal::field(
                "origin",
                "This box has an administrator already. A backup is put back into one that nobody has set up.",
            )),
        }
    }

    fn own_domain(&self) -> Result<&str, Refusal> {
        match &self.saved.domain {
            Some(Domain::Own { name, .. }) => Ok(name),
            _ => Err(Refusal::words("First decide about your domain.")),
        }
    }

    fn admin(&self) -> Result<&Admin, Refusal> {
        self.saved.admin.as_ref().ok_or_else(|| Refusal::words("First tell me who you are."))
    }

    fn you(&mut self, name: &str, local: &str, phrase: &Secret) -> Result<Next, Refusal> {
        if let Some(admin) = &self.saved.admin {
            return Err(Refusal::words(format!("{} is the administrator already.", admin.address)));
        }
        let (name, local) = (person("name", name)?, local_part(local)?);
        if phrase.0.is_empty() {
            return Err(Refusal::field(
                "phrase",
                "A pass phrase is needed: four or five words that only you put together.",
            ));
        }
        Ok(Next::Ask(Job::Found { name, local, phrase: phrase.clone() }))
    }

    fn new_sheet(&mut self, random: &dyn Random) -> Result<(), Refusal> {
        self.admin()?;
        let mut bytes = [0u8; SHEET_WORDS + 2];
        random.fill(&mut bytes);
        let (word_bytes, asked) = bytes.split_at(SHEET_WORDS);
        let words = words::of(word_bytes);
        let first = usize::from(asked[0]) % SHEET_WORDS;
        let second = (first + 1 + usize::from(asked[1]) % (SHEET_WORDS - 1)) % SHEET_WORDS;
        // One that somebody has on paper counts until the new one is on paper, too.
        if let Some(admin) = self.saved.admin.as_mut().filter(|admin| !admin.confirmed) {
            admin.sheet = sheet_hash(&words.join(" ")).to_hex().to_string();
        }
        self.sheet = Some(Sheet { words, asked: (first.min(second), first.max(second)) });
        Ok(())
    }

    /// Nobody was there to be shown the sheet, so there is none.
    pub(super) fn no_sheet(&mut self) {
        self.sheet = None;
        if let Some(admin) = &mut self.saved.admin {
            admin.sheet.clear();
        }
    }

    /// Whoever has copied the sheet knows two of its words.
    fn copied(&self, first: &str, second: &str) -> Result<Next, Refusal> {
        let Some(sheet) = &self.sheet else {
            return Err(Refusal::words("The sheet is not on this page any more. Please have a new one made."));
        };
        for (field, typed, at) in [("first", first, sheet.asked.0), ("second", second, sheet.asked.1)] {
            if words::normal(typed) != sheet.words[at] {
                return Err(Refusal::field(field, format!("That is not word {} of the sheet.", at + 1)));
            }
        }
        Ok(Next::Ask(Job::Seal { words: Secret(sheet.words.join(" ")) }))
    }

    /// The recovery sheet, while it is to be copied: its words, and which two are asked back (from 0).
    pub fn sheet(&self) -> Option<(&[&'static str], (usize, usize))> {
        self.sheet.as_ref().map(|sheet| (sheet.words.as_slice(), sheet.asked))
    }

    fn again(&mut self, step: Step) -> Result<(), Refusal> {
        match step {
            Step::Line => {}
            Step::Dns | Step::Certificate => drop(self.own_domain()?),
            _ => return Err(Refusal::words("There is nothing to do again in this step.")),
        }
        self.saved.asked.insert(step);
        self.saved.later.remove(&step);
        self.saved.trouble.remove(&step);
        Ok(())
    }

    fn domain(&mut self, name: &str, host: &str, take_over: bool) -> Result<Next, Refusal> {
        self.admin()?;
        let typed = line("name", name)?;
        let typed = typed.trim_start_matches('@').trim_end_matches('.');
        if typed.is_empty() {
            return Err(Refusal::field("name", "Type the name of your domain, as in smith.example."));
        }
        let no =
            || Refusal::field("name", format!("{typed} is not the name of a domain. One looks like smith.example."));
        let name = normal_domain(typed).map_err(|_| no())?;
        let within_home = name == HOME || name.ends_with(".home.arpa") || name.ends_with(".local");
        if !name.contains('.') || name.contains('_') || within_home || name.parse::<std::net::IpAddr>().is_ok() {
            return Err(no());
        }
        let host = line("host", host)?.to_ascii_lowercase();
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if host.is_empty() || host.len() > 63 || !host.chars().all(fine) || host.starts_with('-') || host.ends_with('-')
        {
            let words = "Use letters, digits and hyphens, as in mail.";
            return Err(Refusal::field("host", words));
        }
        match &self.saved.existing {
            Some((looked, existing)) if *looked == name => {
                let ours = format!("{host}.{name}");
                let elsewhere =
                    existing.mail.iter().find(|server| !server.trim_end_matches('.').eq_ignore_ascii_case(&ours));
                if let Some(server) = elsewhere
                    && !take_over
                {
                    let words = format!(
                        "{name} already gets mail at {server}. You can begin with mail.{name}, which disturbs nothing, or move \
                         everything here on a day you choose."
                    );
                    return Err(Refusal::field("take_over", words));
                }
                Ok(Next::Ask(Job::Name { domain: name, host }))
            }
            _ => Ok(Next::Ask(Job::LookUp { domain: name })),
        }
    }

    // ---- jobs

    /// How something that was asked has ended. Errors: what the person is told; the state is as before.
    pub fn told(&mut self, job: &Job, outcome: Outcome, random: &dyn Random, now: Mono) -> Result<Told, Refusal> {
        let mut told = Told::default();
        match (job, outcome) {
            (Job::Found { name, .. }, Outcome::Founded { address }) => {
                self.saved.admin = Some(Admin { name: name.clone(), address, sheet: String::new(), confirmed: false });
                self.new_sheet(random)?;
                // W1: a new session for whoever did it; all others have to sign in.
                self.sessions.end_of_the_code();
                told.token = Some(self.sessions.open(Who::Administrator, random, now));
            }
            (Job::Check { .. }, Outcome::Checked(true)) => {
                self.pause.right();
                told.token = Some(self.sessions.open(Who::Administrator, random, now));
            }
            (Job::Check { .. }, Outcome::Checked(false)) => {
                self.pause.wrong_phrase(now);
                let words = match self.pause.left(now) {
                    0 => "That is not the pass phrase.".to_owned(),
                    left => format!("That is not the pass phrase. The next try is possible in {}.", span(left)),
                };
                return Err(Refusal::field("phrase", words));
            }
            (Job::Change { .. }, Outcome::Changed) => {
                self.pause.right();
                self.sessions.close_all();
                told.token = Some(self.sessions.open(Who::Administrator, random, now));
            }
            (Job::Seal { words }, Outcome::Sealed) => {
                self.sheet = None;
                if let Some(admin) = &mut self.saved.admin {
                    admin.sheet = sheet_hash(&words.0).to_hex().to_string();
                    admin.confirmed = true;
                }
            }
            (Job::LookUp { domain }, Outcome::Existing(existing)) => {
                self.saved.existing = Some((domain.clone(), existing));
                told.again = true;
            }
            // Not knowing where mail goes today is no reason to stop: the records are looked at before anything is changed.
            (Job::LookUp { domain }, _) => {
                self.saved.existing = Some((domain.clone(), super::Existing::default()));
                told.again = true;
            }
            (Job::Name { domain, host }, Outcome::Named { address }) => {
                self.renamed(Some(address));
                self.saved.domain = Some(Domain::Own { name: domain.clone(), host: host.clone() });
            }
            (Job::House, Outcome::Named { address }) => {
                self.renamed(Some(address));
                self.saved.domain = Some(Domain::HouseOnly);
            }
            (Job::Person { name, .. }, Outcome::Added { address, phrase }) => {
                // The same one again, whose first pass phrase was not seen: the page was closed, or the power went.
                if self.saved.people.iter().all(|one| one.address != address) {
                    self.saved.people.push(Person { name: name.clone(), address: address.clone() });
                }
                self.saved.later.remove(&Step::Family);
                told.phrase = Some((address, phrase));
            }
            (Job::Letter { to }, Outcome::Posted { mark, at }) => {
                self.saved.out = Some(Sent { to: to.clone(), mark, at: at.seconds(), end: None });
            }
            (Job::Restore { .. }, Outcome::Asked) => {}
            (Job::Relay { .. }, Outcome::Relayed) | (Job::Method { .. } | Job::Write { .. }, Outcome::Asked) => {}
            (_, Outcome::Field { field, words }) => return Err(Refusal { field: Some(field), words }),
            (Job::Line { .. }, Outcome::Line(line)) => {
                self.ended(Step::Line);
                self.saved.line = Some(line);
            }
            (Job::Records { domain, .. }, Outcome::Records { pieces, at, advice }) => {
                self.ended(Step::Dns);
                self.looked = Some(now);
                // The domain may have been changed meanwhile.
                if matches!(&self.saved.domain, Some(Domain::Own { name, .. }) if name == domain) {
                    self.saved.records = pieces;
                    self.saved.advice = advice;
                    self.saved.looked = at.map(|at| at.seconds());
                }
            }
            (Job::Authority { .. }, Outcome::Asked) => {
                self.saved.later.remove(&Step::Certificate);
                self.saved.trouble.remove(&Step::Certificate);
            }
            (Job::Certificate { .. }, Outcome::Asked) => self.ended(Step::Certificate),
            (job, Outcome::NotYet(why)) => return self.failed(job, why, String::new(), true, now),
            (job, Outcome::Failed { why, next }) => return self.failed(job, why, next, false, now),
            (job, Outcome::Refused(why)) => {
                let field = match job {
                    Job::Found { .. } | Job::Change { .. } => Some("phrase"),
                    Job::Person { .. } => Some("local"),
                    Job::Name { .. } => Some("name"),
                    Job::Authority { .. } => Some("contact"),
                    _ => None,
                };
                if job.is_long() {
                    return self.failed(job, why, String::new(), false, now);
                }
                return Err(Refusal { field, words: capital(&why) });
            }
            // An end that does not belong to its beginning is a mistake of the host's.
            (job, _) => {
                let (why, next) = ("something went wrong inside homepost".to_owned(), "Please try again.".to_owned());
                return self.failed(job, why, next, false, now);
            }
        }
        Ok(told)
    }

    fn renamed(&mut self, address: Option<String>) {
        if let (Some(admin), Some(address)) = (&mut self.saved.admin, address) {
            let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
            admin.address = address;
            for person in &mut self.saved.people {
                if let Some((local, _)) = person.address.rsplit_once('@') {
                    person.address = format!("{local}@{domain}");
                }
            }
        }
        // What was found out for another name says nothing about this one.
        self.saved.records.clear();
        self.saved.advice.clear();
        self.saved.looked = None;
        self.looked = None;
        for step in [Step::Dns, Step::Certificate] {
            self.ended(step);
        }
    }

    fn ended(&mut self, step: Step) {
        self.running.remove(&step);
        self.saved.asked.remove(&step);
        self.saved.trouble.remove(&step);
    }

    fn failed(&mut self, job: &Job, why: String, next: String, not_yet: bool, now: Mono) -> Result<Told, Refusal> {
        let step = match job {
            Job::Line { .. } => Step::Line,
            Job::Records { .. } => Step::Dns,
            Job::Certificate { .. } => Step::Certificate,
            _ => return Err(Refusal::words(capital(&format!("{why}. {next}")).trim().to_owned())),
        };
        let times = self.saved.trouble.get(&step).map_or(0, |trouble| trouble.times) + 1;
        self.ended(step);
        if step == Step::Dns {
            self.looked = Some(now);
        }
        self.saved.trouble.insert(step, Trouble { why, next, not_yet, times });
        Ok(Told::default())
    }

    /// The long jobs that are to be begun now; each is then running until it is told how it ended.
    pub fn due(&mut self, facts: &Facts, now: Mono) -> Vec<Job> {
        if self.saved.finished {
            return Vec::new();
        }
        let mut jobs = Vec::new();
        if self.saved.asked.contains(&Step::Line) && facts.internet != Internet::No && self.running.insert(Step::Line) {
            let seen = self.saved.line.as_ref().and_then(|line| Some((line.address.clone()?, line.changed)));
            jobs.push(Job::Line { before: seen.map(|(address, changed)| Before { address, changed }) });
        }
        if let Some(Domain::Own { name, host }) = self.saved.domain.clone() {
            let not_yet = self.saved.trouble.get(&Step::Dns).is_some_and(|trouble| trouble.not_yet);
            let open = self.saved.records.is_empty() || self.saved.records.iter().any(|piece| !is_right(piece));
            let time = self.looked.is_none_or(|looked| now.since(looked) >= LOOK_AGAIN_MS);
            let wanted = self.saved.asked.contains(&Step::Dns) || (open && time && !not_yet);
            if wanted && self.running.insert(Step::Dns) {
                jobs.push(Job::Records { domain: name.clone(), host: host.clone() });
            }
            let trusted = facts.clock == Clock::Trusted;
            if self.saved.asked.contains(&Step::Certificate) && trusted && self.running.insert(Step::Certificate) {
                jobs.push(Job::Certificate { domain: name, host });
            }
        }
        jobs
    }

    /// Things that happen by themselves. Whether there is something new to keep.
    pub fn observe(&mut self, facts: &Facts) -> bool {
        if let Some(out) = self.saved.out.as_mut().filter(|out| out.end.is_none())
            && let Some(Way::Ended(end)) = facts.going.iter().find(|one| one.mark == out.mark).map(|one| &one.way)
        {
            out.end = Some(end.clone());
            return true;
        }
        if self.saved.letter.is_none() && self.saved.domain.is_some() && facts.letters > 0 {
            self.saved.letter = Some(facts.now.seconds());
            return true;
        }
        // What was written just now is looked at as everybody sees it.
        let work = facts.writing.as_ref().and_then(|writing| writing.work.as_ref());
        let written = work.filter(|work| work.wish.write && !work.is_running()).map(|work| work.id);
        if written.is_some() && written != self.written && self.own_domain().is_ok() && !self.saved.finished {
            self.written = written;
            self.saved.asked.insert(Step::Dns);
            return true;
        }
        false
    }
}

pub(super) fn is_right(piece: &super::Piece) -> bool {
    piece.withheld.is_some() || piece.state == PieceState::Right
}

fn relayed(relay: &Relay, password: &Secret) -> Result<Next, Refusal> {
    let relay = relay.checked(password)?;
    Ok(Next::Ask(Job::Relay { relay, password: password.clone() }))
}

fn person(field: &'static str, name: &str) -> Result<String, Refusal> {
    let name = line(field, name)?;
    if name.is_empty() || name.chars().count() > 80 {
        return Err(Refusal::field(field, "Type a name, as in Anna Smith."));
    }
    Ok(name)
}

/// What stands before the @, as it is kept.
fn local_part(local: &str) -> Result<String, Refusal> {
    let local = line("local", local)?;
    let local = local.trim_end_matches('@');
    if local.is_empty() || local.contains('@') {
        return Err(Refusal::field("local", "Type what is to stand before the @, as in anna."));
    }
    match Address::parse_new(&format!("{local}@{HOME}")) {
        Ok(address) => Ok(address.local().to_owned()),
        Err(_) => Err(Refusal::field("local", "Before the @, use letters, digits, hyphens and dots.")),
    }
}

/// Milliseconds for people.
pub fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        1 => "1 second".to_owned(),
        ..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// With a capital letter, unless it begins with a name that has none.
pub(super) fn capital(words: &str) -> String {
    let first = words.split_whitespace().next().unwrap_or("");
    if first.contains(['.', '@', '"']) {
        return words.to_owned();
    }
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
