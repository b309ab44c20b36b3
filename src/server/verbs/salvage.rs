//! `check --salvage`: makes the stores again from the letters, when the index is lost.
//!
//! The new stores are filled in a folder beside the old ones and take their place only when they are whole; the old ones
//! are kept under another name, and nothing in them is changed. After a cut it is started again from the beginning.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::account;
use crate::base::{Clock, SystemClock};
use crate::settings::Settings;
use crate::store::disk::RealDisk;

use super::super::folder::{Folder, about};
use super::super::house::open_data_in;
use super::{Done, Error, Reply};

pub(super) fn salvage(folder: &Folder) -> Done {
    let settings = Settings::load(folder.path())?;
    let old = folder.store();
    let new = folder.new_store();
    let words = |path: &Path, error: io::Error| Error::Words(about(path, error).to_string());
    folder.end_salvage().map_err(|error| words(&new, error))?;
    if !old.is_dir() {
        return Err(Error::Words(format!("{} is not there: there is nothing to salvage", old.display())));
    }
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|error| words(&new, error))?;
    }
    let from = RealDisk::open(&old).map_err(|error| words(&old, error))?;
    let data = open_data_in(&new, &settings)?;
    let salvaged = account::salvage(&from, &data, SystemClock::new().now());
    let closed = data.close();
    let salvaged = salvaged?;
    closed?;
    let kept = aside(folder);
    fs::rename(&old, &kept).map_err(|error| words(&old, error))?;
    folder.end_salvage().map_err(|error| words(&new, error))?;

    let mut text = format!(
        "{} letters of {} accounts are in their mailbox \"{}\". The old stores are kept in {}.\n",
        salvaged.letters,
        salvaged.accounts,
        account::RECOVERED,
        kept.display()
    );
    if salvaged.unowned > 0 {
        text.push_str(&format!("{} letters belong to no account any more.\n", salvaged.unowned));
    }
    for damage in &salvaged.damaged {
        text.push_str(&format!("could not be read: {damage}\n"));
    }
    let json = json!({
        "accounts": salvaged.accounts,
        "letters": salvaged.letters,
        "unowned": salvaged.unowned,
        "damaged": salvaged.damaged,
        "kept": kept,
    });
    Ok(Reply::done(text, json))
}

/// A name for the old stores that nothing has yet.
fn aside(folder: &Folder) -> PathBuf {
    let name = |n: u32| folder.path().join(format!("store.old-{n}"));
    (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
}
