//! Who runs a verb: we ourselves with the lock on the folder, or whoever has it, over the control socket.

use std::io::ErrorKind;
use std::time::Duration;

use crate::base::{Clock, SystemClock};

use super::super::backup;
use super::super::control;
use super::super::folder::Folder;
use super::super::house::House;
use super::super::update;
use super::super::verbs::{self, Reply, Request};

/// For a server that is starting or ending, or another command, to let us in.
const PATIENCE_MS: u64 = 15_000;

pub(super) fn reach(folder: &Folder, request: &Request) -> Result<Reply, String> {
    if let Some(reply) = verbs::run_beside(folder, request) {
        return Ok(reply);
    }
    let path = folder.path().display();
    if matches!(request, Request::Init { .. } | Request::InitFrom { .. } | Request::BackupRestore { .. }) {
        folder.make().map_err(|error| format!("{path}: {error}"))?;
    } else if !folder.path().is_dir() {
        return Err(format!("{path} does not exist; `homepost init` makes it"));
    }
    let clock = SystemClock::new();
    loop {
        if let Some(_lock) = folder.lock().map_err(|error| format!("{path}: {error}"))? {
            return Ok(here(folder, request));
        }
        match control::call(&folder.socket(), request) {
            Ok(reply) => return Ok(reply),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                if clock.mono().0 > PATIENCE_MS {
                    return Err(format!("another homepost has {path} open, and does not answer"));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(format!("the server did not answer: {error}")),
        }
    }
}

fn here(folder: &Folder, request: &Request) -> Reply {
    if let Err(error) = update::may_open(folder) {
        return Reply::failed(error);
    }
    if let Err(error) = backup::end_restore(folder) {
        return Reply::failed(error);
    }
    if let Some(reply) = verbs::run_closed(folder, request) {
        return reply;
    }
    match House::open(folder) {
        Ok(house) => {
            let reply = verbs::run(&house, request);
            match house.close() {
                Err(error) if reply.error.is_none() => Reply { error: Some(error), ..reply },
                _ => reply,
            }
        }
        Err(error) => Reply::failed(error),
    }
}
