//! `update`: what there is, what becomes of it, and that it be put on the box.

use std::fmt::Write as _;

use serde_json::json;

use crate::appliance::machine::{Client, Error as Unwilling, Machine};
use crate::appliance::update::Version;
use crate::base::Time;
use crate::message::date::{self, Date};

use super::super::house::House;
use super::super::update::offers::{self, Offers, Source};
use super::super::update::said;
use super::{Done, Error, Reply};

pub(super) fn check(house: &House) -> Done {
    let found = offers::look(house).map_err(Error::Words)?;
    let problem = found.problem.clone();
    let mut reply = told(house, &found)?;
    // Pages show it; whoever waits for the command's end is told by that.
    reply.error = problem;
    Ok(reply)
}

pub(super) fn list(house: &House) -> Done {
    told(house, &Offers::load(&house.folder))
}

pub(super) fn install(house: &House, version: Option<&str>) -> Done {
    let version = version.map(str::parse::<Version>).transpose().map_err(|error| Error::Words(error.to_owned()))?;
    let version = offers::begin(house, version).map_err(Error::Words)?;
    let json = json!({ "version": version });
    Ok(Reply::done(
        format!("Version {version} is being put on this box; `homepost update status` says what becomes of it.\n"),
        json,
    ))
}

fn told(house: &House, found: &Offers) -> Done {
    let settings = house.settings.load();
    let (status, no_box) = match Client::new().status() {
        Ok(status) => (status, None),
        Err(error @ Unwilling::NoBox) => (crate::appliance::machine::Status::default(), Some(error.to_string())),
        Err(error) => return Err(Error::Words(error.to_string())),
    };
    let version = if no_box.is_some() { env!("CARGO_PKG_VERSION").to_owned() } else { status.version.clone() };
    // What was found before this version came is no news.
    let runs: Option<Version> = version.parse().ok();
    let offers: Vec<_> = found.offers.iter().filter(|one| runs.is_none_or(|runs| one.version > runs)).collect();
    let now = match (offers::bringing(), status.update.step) {
        (Some(one), _) => Some((format!("Version {} is being fetched.", one.version), one.percent)),
        (None, Some(step)) => Some((step.sentence().to_owned(), status.update.percent)),
        (None, None) => None,
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("version", &version);
    if let Some(words) = &no_box {
        line("box", words);
    }
    if let Some((words, percent)) = &now {
        line("now", &format!("{words} {percent} %"));
    }
    for one in &offers {
        let place = match one.source {
            Source::Url => settings.update.url.as_str(),
            Source::Stick => "the stick",
        };
        line("newer", &format!("{}, {} MB, on {place}", one.version, one.bytes.div_ceil(1_000_000)));
    }
    match found.looked {
        Some(_) if offers.is_empty() && found.problem.is_none() => line("newer", "none was found"),
        None => line("newer", "nobody has looked yet: homepost update check"),
        _ => {}
    }
    let last = said(&house.folder);
    if let Some(last) = &last {
        line("last", &last.words);
    }
    let looked = found.looked.map(|seconds| date::rfc3339(Date::utc(Time::from_seconds(seconds))));
    let offers: Vec<_> = offers
        .into_iter()
        .map(|one| json!({ "version": one.version, "source": one.source, "bytes": one.bytes }))
        .collect();
    let url = (!settings.update.url.is_empty()).then(|| settings.update.url.clone());
    let json = json!({
        "version": version,
        "on_trial": status.on_trial(),
        "now": now.map(|(words, percent)| json!({ "words": words, "percent": percent })),
        "ready": status.update.ready,
        "last": last,
        "url": url,
        "by_itself": settings.update.install,
        "looked": looked,
        "offers": offers,
        "problem": no_box.or_else(|| found.problem.clone()),
    });
    Ok(Reply::done(text, json))
}
