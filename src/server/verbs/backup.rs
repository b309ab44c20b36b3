//! `backup`: makes, lists and reads archives, puts one back, and decides what opens them.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::appliance::backup::{self as archive, Secret as Opens, Sheet, Step};
use crate::base::{QueueId, Time};
use crate::message::date::{self, Date};
use crate::queue;
use crate::settings::Settings;
use crate::store::disk::RealDisk;

use super::super::backup;
use super::super::folder::Folder;
use super::super::house::{House, open_data, store_failed};
use super::super::stick;
use super::{Done, Error, Reply, Secret, nag};

/// Held letters that are named.
const NAMED: usize = 100;

pub(super) fn create(house: &House, to: &Path, configuration: bool) -> Done {
    let made = backup::back_up(house, to, !configuration)?;
    let mut text = if made.everything {
        format!(
            "Backup {} is made: {} messages, {} letters, {} of them new; {} KB written.\n",
            made.number,
            made.messages,
            made.letters,
            made.new_letters,
            made.written.div_ceil(1024)
        )
    } else {
        let kb = made.written.div_ceil(1024);
        format!("Backup {} is made, of the settings, people and keys, without letters; {kb} KB written.\n", made.number)
    };
    if made.removed > 0 {
        let _ = writeln!(text, "{} older backups made room.", made.removed);
    }
    let json = json!({
        "number": made.number,
        "everything": made.everything,
        "messages": made.messages,
        "letters": made.letters,
        "new_letters": made.new_letters,
        "written": made.written,
        "removed": made.removed,
        "unreadable": made.unreadable,
    });
    let error = (made.unreadable > 0)
        .then(|| format!("{} letters are damaged and not in it; `homepost check` says which", made.unreadable));
    Ok(Reply { text, json, error })
}

/// Needs neither key nor stores.
pub(in super::super) fn list(from: &Path) -> Done {
    let (mut text, mut all) = (String::new(), Vec::new());
    for (name, path) in backup::boxes(from)? {
        let disk = RealDisk::read_only(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for sums in archive::list(&disk).map_err(|error| error.to_string())? {
            let holds = match sums.everything {
                true => format!("everything, {} letters", sums.letters),
                false => "settings, people and keys".to_owned(),
            };
            let _ = writeln!(text, "{name}  {:>4}  {}  {holds}", sums.number, date(sums.time));
            all.push(json!({
                "box": name,
                "number": sums.number,
                "time": sums.time.seconds(),
                "everything": sums.everything,
                "letters": sums.letters,
            }));
        }
    }
    if all.is_empty() {
        text = "There is no whole backup here.\n".to_owned();
    }
    Ok(Reply::done(text, json!(all)))
}

pub(in super::super) fn verify(folder: &Folder, from: &Path, box_id: Option<&str>, secret: Option<&Secret>) -> Done {
    let secret = secret.map(|secret| Opens(secret.0.clone()));
    let (report, opened) = backup::verify(folder, from, box_id, secret.as_ref())?;
    let mut text: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    let (files, mb) = (report.files, report.bytes.div_ceil(1 << 20));
    match report.sound.as_slice() {
        [] => text.push_str("No backup here is sound.\n"),
        [newest, ..] => {
            let count = report.sound.len();
            let _ = writeln!(text, "{count} backups are sound, the newest is {newest}: {files} files, {mb} MB read.");
            if !opened {
                text.push_str("Only the sums were compared, since the key is not at hand (--secret-stdin).\n");
            }
        }
    }
    let json = json!({
        "findings": report.findings,
        "sound": report.sound,
        "files": report.files,
        "bytes": report.bytes,
        "opened": opened,
    });
    let count = report.findings.len();
    let error = (count > 0).then(|| format!("{count} things are not as they should be"));
    Ok(Reply { text, json, error })
}

/// `over`: in place of what cannot be opened any more. `tell` hears of each step, and how much of how much is done.
pub(in super::super) fn restore(
    folder: &Folder,
    from: &Path,
    box_id: Option<&str>,
    secret: &Secret,
    over: bool,
    tell: &mut dyn FnMut(Step, u64, u64),
) -> Done {
    let opens = Opens(secret.0.clone());
    let (head, restored) = backup::restore(folder, from, box_id, &opens, over, tell)?;
    let mut text = format!(
        "Backup {} of {} is put back: {} accounts, {} letters.\n",
        head.number,
        date(head.time),
        restored.accounts,
        restored.letters
    );
    if restored.damaged > 0 {
        let (missing, damaged) = (restored.missing, restored.damaged);
        let _ = writeln!(text, "{missing} letters could not be put back: {damaged} files of the backup are damaged.");
    } else if restored.missing > 0 {
        let _ =
            writeln!(text, "{} letters are missing: they were damaged before the backup was made.", restored.missing);
    }
    // All is back; not to be able to name them is no reason to say that it is not.
    let held = held(folder).unwrap_or_else(|error| {
        let _ = writeln!(text, "Which letters waited to be sent cannot be told now: {error}.");
        Vec::new()
    });
    if !held.is_empty() {
        text.push_str("Letters that waited to be sent are held, since they may have been sent meanwhile:\n");
    }
    for entry in &held {
        let to: Vec<&str> = entry.recipients.iter().map(|one| one.address.as_str()).collect();
        let from = entry.from.as_deref().unwrap_or("a notice");
        let _ = writeln!(text, "  {}  from {from} to {}", entry.id.0, to.join(", "));
    }
    if !held.is_empty() {
        text.push_str("`homepost queue release` sends them, `homepost queue cancel` does not.\n");
    }
    let json = json!({
        "number": head.number,
        "time": head.time.seconds(),
        "accounts": restored.accounts,
        "letters": restored.letters,
        "missing": restored.missing,
        "damaged": restored.damaged,
        "held": held.iter().map(|entry| entry.id.0).collect::<Vec<_>>(),
    });
    Ok(Reply::done(text, json))
}

/// What waits in the queue of a folder that was restored just now.
fn held(folder: &Folder) -> Result<Vec<queue::Entry>, Error> {
    let settings = Settings::load(folder.path())?;
    let data = open_data(folder, &settings)?;
    let listed = queue::list(&data.read()?, QueueId(0), NAMED).map_err(|error| Error::Words(error.to_string()));
    data.close().map_err(|error| store_failed(&error))?;
    listed
}

/// To the stick.
pub(super) fn now(house: &House) -> Done {
    stick::back_up_now(house)?;
    status(house)
}

/// What is known of backups to sticks, and what is in.
pub(super) fn status(house: &House) -> Done {
    let state = stick::State::load(&house.folder);
    let at = |time: Option<i64>| time.map_or("never".to_owned(), |time| date(Time::from_seconds(time)));
    let mut text = format!(
        "Last backup to a stick: {}.\nLast read back and found whole: {}.\n",
        at(state.made),
        at(state.verified)
    );
    let nagging = nag::nag(&state, stick::is_in() == Some(true), house.clock.now().seconds());
    if let Some((words, next)) = &nagging {
        let _ = writeln!(text, "{words} {next}");
    }
    let words = stick::stick_words();
    if let Some(words) = &words {
        let _ = writeln!(text, "{words}");
    }
    let json = json!({
        "made": state.made,
        "messages": state.messages,
        "verified": state.verified,
        "problem": state.problem,
        "wrong": nagging.map(|(words, _)| words),
        "stick": words,
    });
    Ok(Reply::done(text, json))
}

/// Whatever was on the stick is gone.
pub(super) fn prepare() -> Done {
    let name = stick::prepare()?;
    let text = format!("The stick {name} is prepared: the first backup begins by itself.\n");
    Ok(Reply::done(text, json!({ "stick": name })))
}

/// What opens this box's backups from the next one on.
pub(super) fn key(folder: &Folder, phrase: bool, secret: &Secret) -> Done {
    let sheet = if phrase { Sheet::Phrase } else { Sheet::Words };
    match sheet {
        Sheet::Phrase => backup::set_sheet(folder, sheet, &Opens(secret.0.clone()))?,
        Sheet::Words => backup::new_sheet(folder, &secret.0)?,
    }
    let text = match sheet {
        Sheet::Phrase => "This pass phrase opens the backups, from the next one on.\n",
        Sheet::Words => {
            "These words open the backups, from the next one on, and replace a forgotten pass phrase. Write them down: they are \
             not shown again. The sheet that there was before can go.\n"
        }
    };
    Ok(Reply::done(text, json!({ "sheet": sheet.kind() })))
}

fn date(time: Time) -> String {
    date::rfc3339(Date::utc(time))
}
