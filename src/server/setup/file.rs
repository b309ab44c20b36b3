//! `homepost.toml`, given to the set-up: the one that a running server has open, or one that is opened for it.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use crate::appliance::wizard::{Desk, Domain, Given, Host, State, Step, read_file};
use crate::base::{OsRandom, SystemClock};

use super::super::doors::Shift;
use super::super::folder::Folder;
use super::super::house::House;
use super::super::languages;
use super::super::restoring::Restoring;
use super::super::serve::Held;
use super::super::verbs::{Reply, Secret};
use super::clerk::Clerk;

/// Gives the answers to this set-up.
pub(super) fn answered<H: Host>(desk: &Desk<H>, folder: &Folder, text: &Secret) -> Reply {
    let done = given(folder, text).and_then(|given| desk.file(&given));
    match done {
        Ok(()) => told(desk, folder),
        Err(words) => Reply::failed(words),
    }
}

fn given(folder: &Folder, text: &Secret) -> Result<Vec<Given>, String> {
    let languages = languages::load(folder);
    let tags: Vec<&str> = languages.choices().into_iter().map(|(code, _)| code).collect();
    read_file(&text.0, &tags)
}

/// The same while no server runs; whoever calls has the lock on the folder.
pub(in super::super) fn closed(folder: &Folder, text: &Secret) -> Reply {
    // Nothing is made because of a file that cannot be read.
    if let Err(words) = given(folder, text) {
        return Reply::failed(words);
    }
    let kept = super::kept(folder);
    if kept.is_none() && folder.is_set_up() {
        return set_up_already(folder);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Reply::failed(format!("cannot start: {error}")),
    };
    let _within = runtime.enter();
    let held = Held::default();
    if folder.is_set_up() {
        match House::open(folder) {
            Ok(house) => *held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Arc::new(house)),
            Err(error) => return Reply::failed(error),
        }
    }
    // Nobody opens doors here: `serve` does, which comes later.
    let (tell, _) = mpsc::unbounded_channel();
    let restoring = Restoring::new(folder, &held, &tell, Shift::default());
    let clerk = Clerk::new(folder.clone(), held.clone(), tell, 0, restoring);
    let reply = match Desk::open(clerk, kept, Arc::new(SystemClock::new()), Arc::new(OsRandom)) {
        // The power went between its end and this: who gave the file did not hear of it.
        Ok(desk) if desk.saved().finished => {
            let reply = told(&desk, folder);
            super::end(folder, &desk.saved());
            reply
        }
        Ok(desk) => {
            let reply = answered(&desk, folder, text);
            let saved = desk.saved();
            if saved.finished {
                super::end(folder, &saved);
            }
            reply
        }
        Err(error) => Reply::failed(format!("the set-up cannot be begun: {error}")),
    };
    let house = held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match house.map_or(Ok(()), |house| house.close()) {
        Err(error) if reply.error.is_none() => Reply { error: Some(error), ..reply },
        _ => reply,
    }
}

fn set_up_already(folder: &Folder) -> Reply {
    Reply::failed(format!("{} is set up already", folder.path().display()))
}

/// Who and where, and what is still waited for: that goes on by itself.
fn told<H: Host>(desk: &Desk<H>, folder: &Folder) -> Reply {
    let view = desk.look(None);
    let admin = view.saved.admin.as_ref().map_or("", |admin| admin.address.as_str());
    let path = folder.path().display();
    let (mut words, hostname, domain) = match &view.saved.domain {
        Some(own @ Domain::Own { name, .. }) => {
            let hostname = own.server().unwrap_or_default();
            let words = format!("{path} is set up: {hostname} takes mail for {name}, {admin} is its administrator.\n");
            (words, Some(hostname), Some(name.clone()))
        }
        _ => (format!("{path} is set up within the house: {admin} is its administrator.\n"), None, None),
    };
    let mut waiting = Vec::new();
    for (step, state) in &view.steps {
        if let (Step::Dns | Step::Certificate, State::Waiting { on, .. }) = (step, state) {
            words.push_str(&format!("{}: waits for {on}.\n", step.title()));
            waiting.push(json!({ "step": step.id(), "on": on }));
        }
    }
    Reply::done(words, json!({ "hostname": hostname, "domain": domain, "admin": admin, "waiting": waiting }))
}
