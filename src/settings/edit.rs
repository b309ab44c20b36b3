//! Changing the file as a careful person would: one value, everything else as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::value::Value;
use super::{Error, FILE, Problem, Settings, default_file, load_text, read};

/// Only the owner of the folder may read it (DESIGN section 6).
const MODE: u32 = 0o600;

/// Writes the first settings of a folder, durably. Errors: the host name cannot be used, or the file exists already.
pub fn create(folder: &Path, hostname: &str) -> Result<Settings, Error> {
    let text = default_file(hostname);
    let settings = Settings::parse(&text).map_err(Error::Wrong)?;
    let path = folder.join(FILE);
    if path.exists() {
        return Err(Error::Io(path, io::ErrorKind::AlreadyExists.into()));
    }
    replace(folder, &text)?;
    Ok(settings)
}

/// Changes one setting, as in `set(folder, "listeners.imap.on", true)`, and gives the settings as they are then. The
/// change is durable. Errors: no such key, a value out of its bounds, or a file that was or would be wrong.
pub fn set(folder: &Path, key: &str, value: impl Into<Value>) -> Result<Settings, Error> {
    set_all(folder, &[(key, value.into())])
}

/// Changes several at once, or none.
pub fn set_all(folder: &Path, changes: &[(&str, Value)]) -> Result<Settings, Error> {
    changed(folder, &|text| with(text, changes))
}

/// What [`set_all`] would say, and nothing is changed.
pub fn would_be(folder: &Path, changes: &[(&str, Value)]) -> Result<Settings, Error> {
    let new = with(&load_text(folder)?, changes).map_err(Error::Wrong)?;
    Settings::parse(&new).map_err(Error::Wrong)
}

/// Who changes the file reads it first, and has one name for the new one: one after another.
static TURN: Mutex<()> = Mutex::new(());

fn changed(folder: &Path, change: &dyn Fn(&str) -> Result<String, Vec<Problem>>) -> Result<Settings, Error> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let old = load_text(folder)?;
    let new = change(&old).map_err(Error::Wrong)?;
    let settings = Settings::parse(&new).map_err(Error::Wrong)?;
    if new != old {
        replace(folder, &new)?;
    }
    Ok(settings)
}

/// Takes a section out, as in `remove(folder, "relays.school")`, and what stands in it; else as [`set`]. One that is not there needs
/// nothing.
pub fn remove(folder: &Path, section: &str) -> Result<Settings, Error> {
    changed(folder, &|text| without(text, section))
}

fn without(text: &str, section: &str) -> Result<String, Vec<Problem>> {
    Settings::parse(text)?;
    let whole = |what: String| vec![Problem { line: None, key: section.to_owned(), what }];
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| whole(error.to_string()))?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    let (path, name) = section.rsplit_once('.').unwrap_or(("", section));
    for step in path.split('.').filter(|step| !step.is_empty()) {
        match table.get_mut(step).and_then(Item::as_table_like_mut) {
            Some(inner) => table = inner,
            None => return Ok(text.to_owned()),
        }
    }
    table.remove(name);
    Ok(document.to_string())
}

/// The text with some settings changed.
fn with(text: &str, changes: &[(&str, Value)]) -> Result<String, Vec<Problem>> {
    // A file with mistakes is not touched: its owner is in the middle of something.
    Settings::parse(text)?;
    let whole = |what: String| vec![Problem { line: None, key: String::new(), what }];
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| whole(error.to_string()))?;
    for (key, value) in changes {
        put(&mut document, key, value)?;
    }
    Ok(document.to_string())
}

fn put(document: &mut DocumentMut, key: &str, value: &Value) -> Result<(), Vec<Problem>> {
    let value = read::check(key, value).map_err(|problem| vec![problem])?;
    let whole = |what: String| vec![Problem { line: None, key: key.to_owned(), what }];
    let mut table: &mut dyn TableLike = document.as_table_mut();
    let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
    let steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).collect();
    for (at, step) in steps.iter().enumerate() {
        if table.get(step).is_none() {
            let mut section = Table::new();
            section.set_implicit(at + 1 < steps.len());
            table.insert(step, Item::Table(section));
        }
        table = table
            .get_mut(step)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| whole(format!("`{path}` is not a section")))?;
    }
    match table.get_mut(name) {
        Some(Item::Value(there)) => {
            // What stands before and behind the value (its comment) belongs to the line.
            let decor = there.decor().clone();
            *there = value;
            *there.decor_mut() = decor;
        }
        _ => {
            table.insert(name, Item::Value(value));
        }
    }
    Ok(())
}

/// T3: written beside, synced, renamed over, and the folder synced.
fn replace(folder: &Path, text: &str) -> Result<(), Error> {
    let path = folder.join(FILE);
    let beside = folder.join(format!("{FILE}.new"));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
        // A left-over of another mode keeps it when it is opened.
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Error::Io(path.clone(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str = "\
# mine
hostname = 'mail.example.test' # our name

[listeners.imap] # old phones
on = false   # until 2027
[limits.smtp]
# message_size = \"50 MiB\"
";

    #[test]
    fn a_section_goes_with_all_that_is_in_it_and_nothing_else() {
        let relays = "hostname = 'mail.example.test' # our name\n\n# the office\n[relays.work]\nhost = 'a.test'\ndomains = 'x.test'\n\n\
                      # the school\n[relays.school]\nhost = 'b.test' # theirs\ndomains = 'y.test'\n";
        let folder = folder(relays);
        let left = remove(folder.path(), "relays.work").unwrap();
        assert_eq!(left.relays.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["school"]);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(
            text.starts_with("hostname = 'mail.example.test' # our name\n") && text.ends_with("domains = 'y.test'\n"),
            "{text}"
        );
        assert!(
            text.contains("# the school\n[relays.school]\nhost = 'b.test' # theirs\n") && !text.contains("work"),
            "{text}"
        );
        remove(folder.path(), "relays.nobody").unwrap();
        remove(folder.path(), "nothing.at.all").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
    }

    fn folder(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        folder
    }

    fn text(folder: &tempfile::TempDir) -> String {
        fs::read_to_string(folder.path().join(FILE)).unwrap()
    }

    #[test]
    fn a_change_keeps_comments_and_every_other_line() {
        let folder = folder(MINE);
        let settings = set(folder.path(), "listeners.imap.on", true).unwrap();
        assert!(settings.listeners.imap.on);
        assert_eq!(text(&folder), MINE.replace("on = false ", "on = true "));
        assert_eq!(Settings::load(folder.path()).unwrap(), settings);
    }

    #[test]
    fn a_setting_that_was_not_there_comes_into_its_section() {
        let folder = folder(MINE);
        set(folder.path(), "limits.smtp.message_size", 10 * 1024 * 1024).unwrap();
        set(folder.path(), "limits.imap.idle_timeout", "45 min").unwrap();
        let settings = set(folder.path(), "listeners.imaps.port", 1993).unwrap();
        assert_eq!(settings.limits.smtp.message_bytes, 10 << 20);
        assert_eq!(settings.limits.imap.idle_ms, 45 * 60_000);
        assert_eq!(settings.listeners.imaps.port, 1993);
        let text = text(&folder);
        for line in MINE.lines() {
            assert!(text.lines().any(|new| new == line), "{line} is gone from\n{text}");
        }
        assert!(text.contains("message_size = \"10 MiB\"\n"), "{text}");
        assert!(text.contains("[limits.imap]\nidle_timeout = \"45 min\"\n"), "{text}");
    }

    #[test]
    fn inline_sections_are_edited_in_place() {
        let folder = folder("hostname = 'mail.example.test'\nlisteners = { imap = { on = false } } # few\n");
        set(folder.path(), "listeners.imap.on", true).unwrap();
        set(folder.path(), "listeners.smtp.on", false).unwrap();
        let settings = Settings::load(folder.path()).unwrap();
        assert!(settings.listeners.imap.on && !settings.listeners.smtp.on);
        assert!(text(&folder).contains("# few"));
    }

    #[test]
    fn an_edit_that_would_be_wrong_changes_nothing() {
        let folder = folder(MINE);
        let wrong = set(folder.path(), "listeners.imap.onn", true).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "settings.toml: `listeners.imap.onn` is not a setting; did you mean `listeners.imap.on`?"
        );
        assert!(set(folder.path(), "listeners.imap.on", "true").is_err());
        assert!(set(folder.path(), "listeners.imap.port", 70_000).is_err());
        assert!(set(folder.path(), "listeners", true).is_err());
        set(folder.path(), "listeners.imap.port", 25).unwrap();
        assert!(set(folder.path(), "listeners.imap.on", true).is_err(), "the port is taken");
        assert_eq!(text(&folder), MINE.replace("2027\n", "2027\nport = 25\n"));
    }

    #[test]
    fn the_file_is_the_owners_alone_and_no_second_one_is_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("settings.toml.new"), "left over from a cut").unwrap();
        create(folder.path(), "mail.example.test").unwrap();
        assert!(matches!(create(folder.path(), "other.example.test"), Err(Error::Io(..))));
        set(folder.path(), "hostname", "post.example.test").unwrap();
        assert_eq!(Settings::load(folder.path()).unwrap().hostname, "post.example.test");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_with_its_name() {
        let folder = folder(MINE);
        fs::create_dir(folder.path().join("settings.toml.new")).unwrap();
        let error = set(folder.path(), "listeners.imap.on", true).unwrap_err();
        assert!(matches!(error, Error::Io(..)) && error.to_string().contains(FILE), "{error}");
        assert_eq!(text(&folder), MINE);
    }
}
