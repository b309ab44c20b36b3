//! The authority for certificates, as the set-up shows it: whose it is, whether it may be asked, and what it said of each
//! name.

use crate::appliance::wizard::{Authority, Outcome, Vouched, Vouching};
use crate::base::Time;
use crate::cert::{Cause, Entry, Trouble};
use crate::settings::{self, Acme, edit};

use super::super::house::House;

/// RFC 8555's first, free, and the one that all programs trust.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where it lets one rehearse.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// What is known without asking anybody.
pub(super) fn known(house: &House) -> Result<Authority, String> {
    let acme = house.settings.load().acme.clone();
    let (name, terms) = named(directory(&acme));
    let now = house.clock.now();
    let names = house.certificates.list(house)?.iter().flat_map(|entry| vouched(entry, now)).collect();
    Ok(Authority { name, terms, on: !acme.directory.is_empty(), contact: acme.contact, names })
}

fn directory(acme: &Acme) -> &str {
    [acme.directory.as_str(), acme.offered.as_str()].into_iter().find(|url| !url.is_empty()).unwrap_or(DIRECTORY)
}

/// For people, and where its terms are.
fn named(directory: &str) -> (String, String) {
    if directory == DIRECTORY || directory == STAGING {
        return ("Let's Encrypt".to_owned(), "letsencrypt.org/repository".to_owned());
    }
    let rest = directory.trim_start_matches("https://");
    let host = rest.split(['/', ':']).next().unwrap_or(rest).to_owned();
    let terms = rest.to_owned();
    (host, terms)
}

/// The names of one certificate that is there or wanted.
fn vouched(entry: &Entry, now: Time) -> Vec<Vouched> {
    let one = |name: &String| {
        let state = match (&entry.kept, &entry.trouble) {
            (Some((_, facts)), _) if facts.covers(name) && facts.life.until > now => {
                Vouching::Done { issuer: facts.issuer.clone(), until: facts.life.until }
            }
            (_, Some((about, trouble))) => failed(name, about, trouble, entry.next),
            (_, None) => Vouching::Waiting { why: String::new(), until: entry.next },
        };
        Vouched { name: name.clone(), state }
    };
    entry.names.iter().map(one).collect()
}

/// `about` is the name that the trouble is said of; the others in its order waited for it, or had the same.
fn failed(name: &str, about: &str, trouble: &Trouble, next: Option<Time>) -> Vouching {
    let why = trouble.words(if is_of_the_name(trouble.cause) { about } else { name });
    if name != about && is_of_the_name(trouble.cause) {
        return Vouching::Waiting {
            why: format!("It is asked for together with {about}, which does not work yet."),
            until: next,
        };
    }
    match trouble.cause {
        // Nobody in the house can do anything about these.
        Cause::Limited | Cause::Away | Cause::Clock | Cause::Strange => {
            Vouching::Waiting { why, until: next.max(trouble.until) }
        }
        _ => Vouching::NeedsYou { why, again: next },
    }
}

fn is_of_the_name(cause: Cause) -> bool {
    match cause {
        Cause::Caa
        | Cause::Unreachable
        | Cause::WrongAnswer
        | Cause::NoAddress
        | Cause::DnsBroken
        | Cause::Refused
        | Cause::NoMethod
        | Cause::Writer => true,
        Cause::Limited
        | Cause::Away
        | Cause::Untrusted
        | Cause::Clock
        | Cause::Binding
        | Cause::Account
        | Cause::Strange => false,
    }
}

/// The terms were accepted: from the next look at the settings on it is asked. What the owner wrote there stays. Errors:
/// sentences.
pub(super) fn accept(house: &House, contact: &str) -> Result<(), String> {
    let acme = house.settings.load().acme.clone();
    let folder = house.folder.path();
    let set = |key: &str, value: &str| edit::set(folder, key, value).map_err(|error| error.to_string());
    if !contact.is_empty() {
        edit::set(folder, "acme.contact", contact).map_err(|error| match error {
            settings::Error::Wrong(_) => "that is not a mail address; one looks like anna@smith.example".to_owned(),
            other => other.to_string(),
        })?;
    }
    if acme.directory.is_empty() {
        let directory = directory(&acme).to_owned();
        if directory == DIRECTORY && acme.staging.is_empty() {
            set("acme.staging", STAGING)?;
        }
        // Last: with it everything is switched on.
        set("acme.directory", &directory)?;
    }
    Ok(())
}

/// Asks once more for what is missing, as far as the authority's limits let us; waits for it.
pub(super) fn again(house: &House, now: Time) -> Outcome {
    let none = "no authority is asked yet".to_owned();
    if house.settings.load().acme.directory.is_empty() {
        return Outcome::Failed { why: none, next: "First accept its terms.".to_owned() };
    }
    let entries = match house.certificates.list(house) {
        Ok(entries) => entries,
        Err(why) => return Outcome::Failed { why, next: "Please try again in a minute.".to_owned() },
    };
    let mut early = None;
    for entry in entries.iter().filter(|entry| is_missing(entry, now)) {
        // C3: while it said that we ask too often, asking is what would make it worse.
        if let Some((name, trouble)) = entry.trouble.as_ref().filter(|(_, trouble)| is_too_early(trouble, now)) {
            early = Some(trouble.words(name));
            continue;
        }
        match house.certificates.renew(Some(&entry.id), false) {
            Ok(renewed) => {
                // What it said of each name is with the names; only what was not even asked is news.
                let troubles = renewed.iter().flat_map(|one| &one.troubles);
                early = troubles
                    .filter(|(_, trouble)| is_too_early(trouble, now))
                    .map(|(name, trouble)| trouble.words(name))
                    .next()
                    .or(early);
            }
            Err(why) => return Outcome::Failed { why, next: "Please try again in a minute.".to_owned() },
        }
    }
    early.map_or(Outcome::Asked, |why| Outcome::Failed { why, next: String::new() })
}

fn is_missing(entry: &Entry, now: Time) -> bool {
    let kept = entry.kept.as_ref().filter(|(_, facts)| facts.life.until > now);
    kept.is_none_or(|(_, facts)| entry.names.iter().any(|name| !facts.covers(name)))
}

fn is_too_early(trouble: &Trouble, now: Time) -> bool {
    trouble.cause == Cause::Limited && trouble.until.is_some_and(|until| until > now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::Method;

    fn entry(trouble: Option<(&str, Trouble)>) -> Entry {
        Entry {
            id: "domain-smith.test".into(),
            names: vec!["mta-sts.smith.test".into(), "autoconfig.smith.test".into()],
            kept: None,
            next: Some(Time(5000)),
            alarm: None,
            trouble: trouble.map(|(name, trouble)| (name.to_owned(), trouble)),
        }
    }

    #[test]
    fn who_is_asked_stands_in_the_settings_or_is_let_s_encrypt() {
        let mut acme = Acme::default();
        assert_eq!(named(directory(&acme)).0, "Let's Encrypt");
        acme.offered = "https://ca.house.test:14000/dir".into();
        assert_eq!(named(directory(&acme)), ("ca.house.test".into(), "ca.house.test:14000/dir".into()));
        acme.directory = STAGING.into();
        assert_eq!(named(directory(&acme)).1, "letsencrypt.org/repository");
    }

    #[test]
    fn what_the_owner_can_do_something_about_needs_the_owner_and_the_rest_waits() {
        let state = |cause| {
            let trouble = Trouble::new(cause, "x").by(Method::Http);
            vouched(&entry(Some(("mta-sts.smith.test", trouble))), Time(0)).remove(0).state
        };
        for (cause, part) in [
            (Cause::Caa, "CAA record of the domain forbids"),
            (Cause::Unreachable, "on port 80 from outside"),
            (Cause::Untrusted, "acme.root"),
            (Cause::Binding, "--eab-key-id"),
            (Cause::Refused, "does not issue"),
        ] {
            match state(cause) {
                Vouching::NeedsYou { why, again: Some(Time(5000)) } => assert!(why.contains(part), "{why}"),
                other => panic!("{cause:?}: {other:?}"),
            }
        }
        for (cause, part) in [
            (Cause::Limited, "too many tries"),
            (Cause::Away, "cannot be reached"),
            (Cause::Clock, "clock of this box is wrong"),
        ] {
            match state(cause) {
                Vouching::Waiting { why, until: Some(Time(5000)) } => assert!(why.contains(part), "{why}"),
                other => panic!("{cause:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_name_that_fails_is_not_laid_at_another_s_door() {
        let got = vouched(&entry(Some(("mta-sts.smith.test", Trouble::new(Cause::Caa, "")))), Time(0));
        assert!(matches!(got[0].state, Vouching::NeedsYou { .. }), "{got:?}");
        match &got[1].state {
            Vouching::Waiting { why, .. } => assert!(why.contains("together with mta-sts.smith.test"), "{why}"),
            other => panic!("{other:?}"),
        }
        let got = vouched(&entry(None), Time(0));
        assert_eq!(got[1].state, Vouching::Waiting { why: String::new(), until: Some(Time(5000)) });
    }
}
