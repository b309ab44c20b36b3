//! `dns use` and `dns push`: the words around `server/dns`.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::json;

use crate::appliance::writing::{Difference, Line, Value, Wish};

use super::super::super::dns::{self, How, Kept};
use super::super::super::house::House;
use super::super::{Done, Error, Reply};

/// Keeps how records are written; without a method it says what is kept.
pub(in super::super) fn use_method(house: &House, how: Option<&How>) -> Done {
    let kept = match how {
        Some(how) => dns::use_method(house, how).map_err(|error| match how.secret {
            None if how.method != "none" => hinted(&error, "--secret-stdin takes a secret"),
            _ => error,
        })?,
        None => Kept::of(house),
    };
    let method = kept.method();
    let text = match (method.method.as_str(), method.secret) {
        ("none", _) => "Records are not written by themselves: you enter them where your domain is kept.\n".to_owned(),
        (method, true) => {
            format!("Records are written by {method}. `homepost dns push DOMAIN` shows what would change.\n")
        }
        (method, false) => format!(
            "Records are to be written by {method}, but its secret is not there: homepost dns use {method} --secret-stdin\n"
        ),
    };
    Ok(Reply::done(text, json!(method)))
}

/// The same, and which command helps.
fn hinted(error: &Error, hint: &str) -> Error {
    Error::Words(format!("{error} ({hint})"))
}

pub(in super::super) fn push(house: &House, domain: &str, addresses: &[IpAddr], wish: &Wish) -> Done {
    let done = dns::shown(house, domain, addresses, wish, None);
    let done = done.map_err(|error| match Kept::of(house).is_ready() {
        true => error,
        false => {
            hinted(&error, "homepost dns use METHOD --secret-stdin says how; rfc2136, or the name of your DNS provider")
        }
    })?;
    Ok(reply(&done, wish))
}

fn reply(all: &Difference, wish: &Wish) -> Reply {
    let Difference { domain, zone, method, servers, lines, to_write, done, conflicts, .. } = all;
    let what = if wish.undo { "Taking back the last push" } else { "Records" };
    let mut text = format!("{what} of {domain} (zone {zone}, by {method}, as {} says it)\n\n", servers.join(", "));
    for line in lines.iter().filter(|line| line.action != "keep") {
        in_words(&mut text, line);
    }
    let kept = lines.iter().filter(|line| line.action == "keep").count();
    if kept > 0 {
        let _ = writeln!(text, "{kept} of {} are there already and stay as they are.", lines.len());
    }
    let flag = if wish.undo { " --undo" } else { "" };
    text.push_str(&match wish.write {
        _ if *to_write == 0 => "There is nothing to write.\n".to_owned(),
        false => format!("Nothing is written yet. To write it: homepost dns push {domain}{flag} --yes\n"),
        true => format!("{done} of {to_write} are written.\n"),
    });
    if !all.unseen.is_empty() {
        let names: Vec<String> = all.unseen.iter().map(|place| format!("{} {}", place.name, place.kind)).collect();
        let _ = writeln!(
            text,
            "Not all of the domain's name servers give out these yet; homepost dns check {domain} says when: {}",
            names.join(", ")
        );
    }
    let mut error = all.faults.clone();
    if !error.is_empty() {
        error.push(format!("If the secret or the server is to be another: homepost dns use {method} --secret-stdin"));
    }
    if wish.write && *conflicts > 0 {
        error.push(format!(
            "{conflicts} of {} records are not written: something that is not homepost's is in their way",
            lines.len()
        ));
    }
    Reply { text, json: json!(all), error: (!error.is_empty()).then(|| error.join("\n")) }
}

fn in_words(text: &mut String, line: &Line) {
    let conflict = line.action == "conflict";
    let word = if conflict { "in the way" } else { line.action.as_str() };
    let _ = writeln!(text, "{word:<10} {:<6} {}", line.kind, line.name);
    if let Some(new) = &line.new {
        let _ = writeln!(text, "           {}", value(new));
    }
    if !conflict {
        for old in &line.old {
            let whose = if old.ours { "" } else { ", not homepost's" };
            let kind = if old.kind == line.kind { String::new() } else { format!("{} ", old.kind) };
            let _ = writeln!(text, "           goes: {kind}{}{whose}", value(old));
        }
    }
    if !line.words.is_empty() {
        let _ = writeln!(text, "           {}", line.words);
    }
    if let Some(handle) = &line.take_over {
        let _ = writeln!(
            text,
            "           To put ours in its place: --take-over {handle} (what was there is kept for --undo)"
        );
    }
    if let Some(fault) = &line.fault {
        let _ = writeln!(text, "           NOT DONE: {fault}");
    }
}

/// Of records of others too: on one line, and not without end.
fn value(value: &Value) -> String {
    let priority = value.priority.map(|priority| format!("{priority} ")).unwrap_or_default();
    let text = format!("{priority}{}", value.value);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(600).collect()
}
