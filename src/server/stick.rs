//! The stick in a box: a backup every hour by itself while one is in, and on a box that nobody has set up, a restore by itself.
//!
//! The stick is mounted only while it is read or written, so it can be pulled out at any other time; a pull in the middle
//! costs that backup, never one before (U1). What came of it lies in `backup/stick.json` of the data folder: when the last
//! one was made, when one was last read back and found whole, and what is wrong, in words.
//!
//! A restore begins only when the owner has put `homepost.toml` with `restore = "words, or pass phrase"` on the stick. What
//! came of it is in `homepost.txt` beside it. When it worked, `homepost.toml` is emptied and taken away, for the secret in it.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::appliance::backup::{self as archive, Made, Report};
use crate::appliance::machine::stick::{self, at, chosen};
use crate::appliance::machine::{Client, Machine, Stick};
use crate::appliance::wizard::{Offer, Offered};
use crate::base::Time;
use crate::store::disk::{Disk, DiskFile, RealDisk, Site};

use super::backup;
use super::folder::{Folder, write};
use super::house::House;
use super::mounted::{IN_USE, from_stick, still_in, with_stick};
use super::restoring::{self, Restoring};
use super::verbs::{Reply, Request, Secret};
use super::wish;

/// Between two looks whether a stick came or went.
const LOOK: Duration = Duration::from_secs(3);
/// The same where there is no such machine.
const NO_BOX: Duration = Duration::from_secs(600);
/// Boxes whose backups are offered.
const OFFERS: usize = 16;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// An archive up to this size is read back after each backup, a larger one once a day.
const SMALL_BYTES: u64 = 256 << 20;

/// The key is there without one only after a cut; nobody would ever get at such a backup.
const NO_SHEET: &str = "A stick is in, but nothing would open its backups: make a recovery sheet first, in the administration (or with homepost backup key).";

/// What is small is worth most.
const NO_ROOM: &str = "there is no room on the stick for all letters, not even without the older backups. The people, their passwords and the settings were saved. For the letters, use a larger stick.";

/// And where the letters are on it already, as they were.
const NO_MORE: &str = "there is no room on the stick for another backup, not even without the older ones. What is on it stays; for the letters since then, use a larger stick.";

const PULLED: &str = "the stick was pulled out before everything was written. What was there before is still on it.";

const STATE: &str = "backup/stick.json";
const TOLD: &str = "homepost.txt";
const ASKED: &str = "homepost.toml";
const ASKED_MOST: u64 = 64 * 1024;

/// What is known of backups to a stick. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Since when there could have been one.
    pub began: i64,
    /// The last try, and the stick's insertion then.
    pub tried: Option<i64>,
    pub insertion: Option<u64>,
    /// The last that was made, and how many messages are in it.
    pub made: Option<i64>,
    pub messages: u64,
    /// The last that was read back from end to end and found whole, and how many bytes that were.
    pub verified: Option<i64>,
    pub bytes: u64,
    /// Why the last try came to nothing: a sentence.
    pub problem: Option<String>,
    /// Files of older backups that the stick does not give back any more.
    pub damaged: u64,
    /// Letters that the box itself has lost, and that are not in the last one.
    pub lost: u64,
    /// How many seconds the last that was made took.
    pub took: Option<u64>,
    /// What was on the stick after that, the newest first.
    pub kept: Vec<OnStick>,
}

/// A backup on the stick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OnStick {
    pub number: u32,
    pub time: i64,
    pub everything: bool,
    pub letters: u64,
}

impl State {
    pub fn load(folder: &Folder) -> State {
        fs::read(folder.path().join(STATE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn keep(&self, folder: &Folder) {
        let path = folder.path().join(STATE);
        let made =
            path.parent().map_or(Ok(()), |folder| fs::DirBuilder::new().mode(0o700).recursive(true).create(folder));
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = made.and_then(|()| write(&path, &bytes)) {
            warn!(%error, "what is known of backups cannot be kept");
        }
    }
}

/// Whether it is time: at once when a stick was plugged in, then every hour, or every day where it has no room: to find that out all
/// letters are read. A clock that went back costs no backup.
fn due(state: &State, insertion: u64, now: i64) -> bool {
    let full = state.problem.as_deref().is_some_and(|words| [NO_ROOM, NO_MORE].contains(&words));
    let pause = if full { DAY } else { HOUR };
    state.insertion != Some(insertion) || state.tried.is_none_or(|tried| !(0..pause).contains(&(now - tried)))
}

/// Whether all of the archive should be read, after a backup.
fn to_verify(state: &State, now: i64) -> bool {
    state.bytes <= SMALL_BYTES || state.verified.is_none_or(|verified| !(0..DAY).contains(&(now - verified)))
}

/// Runs until it is dropped.
pub(super) async fn run(house: Arc<House>) {
    let mut state = State::load(&house.folder);
    if state.began == 0 && house.clock.trusted() {
        state.began = house.clock.now().seconds();
        state.keep(&house.folder);
    }
    loop {
        let own = house.clone();
        let pause = tokio::task::spawn_blocking(move || look(&own)).await.unwrap_or(NO_BOX);
        tokio::time::sleep(pause).await;
    }
}

fn look(house: &House) -> Duration {
    let sticks = match Client::new().sticks() {
        Ok(sticks) => sticks,
        Err(_) => return NO_BOX,
    };
    let Ok(one) = chosen(&sticks) else { return LOOK };
    if wish::look(one.insertion) {
        return NO_BOX;
    }
    if !has_sheet(&house.folder) {
        // No try, so that the first one follows the sheet at once.
        let mut state = State::load(&house.folder);
        if state.problem.as_deref() != Some(NO_SHEET) {
            warn!("no backup to the stick: {NO_SHEET}");
            state.problem = Some(NO_SHEET.to_owned());
            state.keep(&house.folder);
        }
        return LOOK;
    }
    if !due(&State::load(&house.folder), one.insertion, house.clock.now().seconds()) {
        return LOOK;
    }
    match back_up(house, one) {
        Ok(state) => info!(messages = state.messages, "backed up to the stick; it can be pulled out"),
        Err(words) => warn!("no backup to the stick: {words}"),
    }
    LOOK
}

pub(super) fn has_sheet(folder: &Folder) -> bool {
    // Where that cannot be told the backup says what is wrong.
    backup::keys(folder).map_or(true, |keys| keys.is_some_and(|keys| keys.words.is_some() || keys.phrase.is_some()))
}

/// One at a time.
static BUSY: Mutex<()> = Mutex::new(());

/// The backup that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// It is written, and now read back.
    pub reading: bool,
    pub since: Time,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

pub(super) fn running() -> Option<Running> {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_running(running: Option<Running>) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = running;
}

/// However it ends.
struct NoMore;

impl Drop for NoMore {
    fn drop(&mut self) {
        set_running(None);
    }
}

/// Begins one, and waits for its end, but not for longer than `patience`. Errors: why it came to nothing, or cannot begin.
pub(super) fn begin_backup(house: &Arc<House>, patience: Duration) -> Result<(), String> {
    if running().is_some() {
        return Ok(());
    }
    let (tell, told) = std::sync::mpsc::channel();
    let own = house.clone();
    let begun = std::thread::Builder::new().name("backup".to_owned()).spawn(move || {
        let _ = tell.send(back_up_now(&own).map(drop));
    });
    begun.map_err(|error| format!("the backup cannot be begun: {error}"))?;
    // What comes later stands on the page.
    told.recv_timeout(patience).unwrap_or(Ok(()))
}

/// Now, whenever the last one was. Blocks, and for long.
pub(super) fn back_up_now(house: &House) -> Result<State, String> {
    let sticks = Client::new().sticks().map_err(|error| error.to_string())?;
    back_up(house, chosen(&sticks)?)
}

fn back_up(house: &House, one: &Stick) -> Result<State, String> {
    let Ok(_busy) = BUSY.try_lock() else { return Err("a backup is being made right now".to_owned()) };
    let now = house.clock.now();
    let mut state = State::load(&house.folder);
    (state.tried, state.insertion) = (Some(now.seconds()), Some(one.insertion));
    set_running(Some(Running { reading: false, since: now }));
    let no_more = NoMore;
    let begun = house.clock.mono();
    let done = back_up_and_read(house, &mut state, now);
    if done.as_ref().is_err_and(|words| words == IN_USE) {
        // That says nothing of the stick.
        return Err(IN_USE.to_owned());
    }
    if done.is_ok() {
        state.took = Some(house.clock.mono().since(begun) / 1000);
    }
    drop(no_more);
    state.problem = done.as_ref().err().cloned();
    state.keep(&house.folder);
    done.map(|()| state)
}

fn back_up_and_read(house: &House, state: &mut State, now: Time) -> Result<(), String> {
    let keys = backup::keys(&house.folder)?;
    let Some(keys) = keys.filter(|keys| keys.words.is_some() || keys.phrase.is_some()) else {
        return Err(NO_SHEET.to_owned());
    };
    let reading = |reading| set_running(running().map(|running| Running { reading, ..running }));
    let write = |everything| {
        reading(false);
        with_stick(|| {
            // Of a stick that was pulled out everything is an error.
            let made = backup::back_up(house, &at(), everything)
                .or_else(|words| still_in(&at()).map_err(|_| PULLED.to_owned()).and(Err(words)))?;
            // Only to be shown.
            Ok::<_, String>((made, backup::kept(&at(), &keys.box_id).unwrap_or_default()))
        })?
    };
    // Mounted anew: what was written is else compared with what the kernel has still in memory of it.
    let read = || {
        reading(true);
        with_stick(|| {
            let (report, _) = backup::verify(&house.folder, &at(), Some(&keys.box_id), None)?;
            // Of a stick that was pulled out everything looks damaged.
            if !report.damaged.is_empty() {
                still_in(&at())?;
            }
            backup::mark(&house.folder, &at(), &report.damaged)?;
            Ok::<_, String>(report)
        })?
    };
    let full = archive::Error::Full.to_string();
    let (everything, written) = match write(true) {
        Err(words) if words == full => {
            let there = with_stick(|| backup::kept(&at(), &keys.box_id).unwrap_or_default())?;
            if there.iter().any(|one| one.everything) {
                return Err(NO_MORE.to_owned());
            }
            (false, write(false))
        }
        done => (true, done),
    };
    let (mut made, mut kept) = written?;
    if to_verify(state, now.seconds()) {
        let mut report = read()?;
        if (report.keys || !report.damaged.is_empty()) && whole(&report, &made).is_err() {
            warn!("the stick does not give back what was written to it; it is written again");
            (made, kept) = write(everything)?;
            report = read()?;
        }
        whole(&report, &made)?;
        (state.verified, state.bytes) = (Some(now.seconds()), report.bytes);
        state.damaged = report.damaged.len() as u64;
    }
    state.kept = kept;
    if !everything {
        return Err(NO_ROOM.to_owned());
    }
    (state.made, state.messages, state.lost) = (Some(now.seconds()), made.messages, made.unreadable);
    Ok(())
}

/// What was read back is what was written: all that the box itself has still. Older backups may be damaged.
fn whole(report: &Report, made: &Made) -> Result<(), String> {
    let missing = report.missing.get(&made.number).map_or(0, |missing| *missing as u64);
    let all_there = report.sound.contains(&made.number) && missing <= made.unreadable;
    match report.findings.first() {
        _ if all_there && !report.keys => Ok(()),
        None => Err("The backup was written, but cannot be read back. The stick is probably broken: try another one."
            .to_owned()),
        Some(finding) => Err(format!("The stick does not give back what was written to it: {finding}.")),
    }
}

// ---- on a box that nobody has set up

/// Looks for a stick that asks for a restore, and has it done by `run`, until `over`. For a thread of its own.
pub(super) fn wait_for_restore(over: impl Fn() -> bool, run: impl Fn(Request) -> Reply, restoring: &Restoring) {
    let mut seen = None;
    while !over() {
        let sticks = match Client::new().sticks() {
            Ok(sticks) => sticks,
            // On a box that has just started the other process may come later.
            Err(_) => {
                std::thread::sleep(LOOK);
                continue;
            }
        };
        match chosen(&sticks) {
            // Tried once; another try begins with pulling it out.
            Ok(one) if seen != Some(one.insertion) => {
                let Ok(_busy) = BUSY.try_lock() else {
                    std::thread::sleep(LOOK);
                    continue;
                };
                if wish::look(one.insertion) {
                    return;
                }
                seen = Some(one.insertion);
                restoring.offer(None);
                let looked = from_stick(|| {
                    restore(&at(), &run);
                    offers(&at())
                });
                let (backups, problem) = match looked {
                    Ok(backups) => (backups, None),
                    Err(words) => {
                        warn!("the stick cannot be used: {words}");
                        (Vec::new(), Some(words))
                    }
                };
                restoring.offer(Some(Offered { name: one.name.clone(), backups, problem }));
            }
            Ok(_) => {}
            Err(words) => {
                seen = None;
                let one = sticks.first();
                restoring.offer(one.map(|one| Offered {
                    name: one.name.clone(),
                    backups: Vec::new(),
                    problem: Some(words),
                }));
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// The newest backup of each box below a folder, as far as that can be said without a key.
fn offers(from: &Path) -> Vec<Offer> {
    let newest = |(box_id, path): (String, PathBuf)| {
        let all = archive::list(&RealDisk::read_only(&path).ok()?.at_most(archive::FILES_MOST)).ok()?;
        let newest = all.iter().find(|sums| sums.everything).or(all.first())?;
        Some(Offer { box_id, at: newest.time, letters: newest.everything.then_some(newest.letters) })
    };
    backup::boxes(from).unwrap_or_default().into_iter().take(OFFERS).filter_map(newest).collect()
}

/// Puts the backup on the stick back, because somebody at the page of the set-up asked for it; what came of it is written to the
/// stick, too. Blocks, and for long.
pub(super) fn put_back(box_id: Option<String>, secret: Secret, run: impl Fn(Request) -> Reply) -> Reply {
    let Ok(_busy) = BUSY.try_lock() else { return Reply::failed("the stick is in use just now; please try again") };
    let put = from_stick(|| {
        let done = run(Request::BackupRestore { from: at(), box_id, secret });
        tell(&at(), &told_of(&done));
        done
    });
    put.unwrap_or_else(Reply::failed)
}

/// What came of it, for the file on the stick: that can be found in any pocket, so nobody's address is in it.
fn told_of(reply: &Reply) -> String {
    if let Some(words) = &reply.error {
        let words = restoring::refused(words);
        return if restoring::is_here(&words) { words } else { format!("The backup was not put back: {words}") };
    }
    let held = reply.json["held"].as_array().map_or(0, Vec::len);
    let lines = reply.text.lines().take_while(|line| !line.starts_with("Letters that waited"));
    let mut text = lines.collect::<Vec<_>>().join("\r\n");
    if held > 0 {
        text.push_str(&format!(
            "\r\n{held} letters that waited to be sent are held, since they may have been sent meanwhile: the queue in the administration names them."
        ));
    }
    text
}

#[derive(Deserialize)]
struct Asked {
    restore: Option<String>,
    /// Which box's backup, where there are several.
    #[serde(rename = "box")]
    box_id: Option<String>,
}

fn restore(from: &Path, run: &impl Fn(Request) -> Reply) {
    let asked = match asked(from) {
        Ok(Some(asked)) => asked,
        Ok(None) => return,
        Err(words) => return tell(from, &words),
    };
    let Some(secret) = asked.restore else {
        return tell(
            from,
            "homepost.toml was read, but it does not say restore = \"the words of the recovery sheet, or the pass phrase\". Nothing was changed.",
        );
    };
    info!("a stick asks for its backup to be put back");
    let request = Request::BackupRestore { from: from.to_owned(), box_id: asked.box_id, secret: Secret(secret) };
    let reply = run(request);
    match &reply.error {
        Some(words) => {
            warn!("the backup was not put back: {words}");
            // What is here goes on by itself at the next start, and asks nobody for the secret again.
            let next = match restoring::is_here(words) {
                true => forget_secret(from),
                false => "Correct that, and plug the stick in again.",
            };
            tell(from, &format!("{} {next}", told_of(&reply)));
        }
        None => {
            info!("the backup on the stick was put back");
            let gone = forget_secret(from);
            tell(from, &format!("{}\r\n{gone}", told_of(&reply)));
        }
    }
}

fn asked(from: &Path) -> Result<Option<Asked>, String> {
    let path = from.join(ASKED);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("homepost.toml cannot be read: {error}.")),
        Ok(about) if about.len() > ASKED_MOST => return Err("homepost.toml is too long.".to_owned()),
        Ok(_) => {}
    }
    let text = fs::read_to_string(&path).map_err(|error| format!("homepost.toml cannot be read: {error}."))?;
    // Where it is wrong is not repeated: a secret stands there.
    toml::from_str(text.trim_start_matches('\u{feff}'))
        .map(Some)
        .map_err(|_| "homepost.toml cannot be understood. Nothing was changed.".to_owned())
}

fn forget_secret(from: &Path) -> &'static str {
    match remove_asked(from) {
        Ok(()) => "homepost.toml was removed, since a secret was in it.",
        Err(error) => {
            warn!(%error, "homepost.toml stays on the stick");
            "homepost.toml could not be removed, and a secret is in it: please delete it."
        }
    }
}

/// Over the bytes first: removing a file of a FAT leaves them where they are.
fn remove_asked(from: &Path) -> std::io::Result<()> {
    let disk = RealDisk::open(from)?.orderly()?;
    let file = disk.open(ASKED)?;
    let len = usize::try_from(file.len()?).unwrap_or(0);
    file.write_at(0, &vec![0; len])?;
    file.sync(Site::Other)?;
    disk.remove(ASKED)?;
    disk.sync_dir(Site::Other)
}

pub(super) fn tell(from: &Path, words: &str) {
    if let Err(error) = write_told(from, format!("{words}\r\n").as_bytes()) {
        warn!(%error, "the stick does not take homepost.txt");
    }
}

fn write_told(from: &Path, text: &[u8]) -> std::io::Result<()> {
    let disk = RealDisk::open(from)?.orderly()?;
    let write = |file: Arc<dyn DiskFile>| {
        file.write_at(0, text)?;
        file.set_len(text.len() as u64)?;
        file.sync(Site::Other)
    };
    // In the room that it has, if that is what it takes (K4).
    let block = disk.block()?.max(1);
    let fits = |file: &Arc<dyn DiskFile>| {
        std::io::Result::Ok(file.len()?.div_ceil(block) == (text.len() as u64).div_ceil(block))
    };
    if disk
        .open(TOLD)
        .and_then(|file| if fits(&file)? { write(file).map(|()| true) } else { Ok(false) })
        .unwrap_or(false)
    {
        return Ok(());
    }
    // None is there, or one that was being written when the stick was pulled out.
    match disk.remove(TOLD) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => disk.sync_dir(Site::Other)?,
    }
    disk.create(TOLD).and_then(write)?;
    disk.sync_dir(Site::Other)
}

/// Empties the one stick that is in, and makes it one for us.
pub(super) fn prepare() -> Result<String, String> {
    let machine = Client::new();
    let sticks = machine.sticks().map_err(|error| error.to_string())?;
    let [one] = sticks.as_slice() else {
        return Err(match sticks.len() {
            0 => "There is no USB stick.".to_owned(),
            _ => "There are several sticks. Please leave only that one in which is to be prepared.".to_owned(),
        });
    };
    machine.prepare_stick(one.insertion).map_err(|error| error.to_string())?;
    Ok(one.name.clone())
}

/// The one stick that could be emptied and prepared.
pub(super) fn to_prepare(sticks: &[Stick]) -> bool {
    use stick::State::{Blank, Foreign, OtherKind};
    matches!(sticks, [one] if matches!(one.state, Foreign | Blank | OtherKind(_)))
}

/// For `homepost backup status`: what is in, in words.
pub(super) fn stick_words() -> Option<String> {
    let sticks = Client::new().sticks().ok()?;
    Some(match chosen(&sticks) {
        Ok(one) if one.state == stick::State::Open => format!("The stick {} is in use: please leave it in.", one.name),
        Ok(one) => format!("The stick {} is in. It can be pulled out now.", one.name),
        Err(words) => words,
    })
}

/// Whether one for us is in; `None` where there is no such machine.
pub(super) fn is_in() -> Option<bool> {
    Client::new().sticks().ok().map(|sticks| chosen(&sticks).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_backup_is_due_when_a_stick_comes_and_every_hour() {
        let mut state = State::default();
        assert!(due(&state, 7, NOW));
        (state.tried, state.insertion) = (Some(NOW), Some(7));
        assert!(!due(&state, 7, NOW));
        assert!(!due(&state, 7, NOW + HOUR - 1));
        assert!(due(&state, 7, NOW + HOUR));
        assert!(due(&state, 8, NOW), "another one was plugged in");
        for words in [NO_ROOM, NO_MORE] {
            let full = State { problem: Some(words.to_owned()), ..state.clone() };
            assert!(!due(&full, 7, NOW + DAY - 1) && due(&full, 7, NOW + DAY) && due(&full, 8, NOW));
        }
        assert!(due(&state, 7, NOW - DAY), "the clock was wrong");
    }

    #[test]
    fn small_archives_are_read_back_each_time_and_large_ones_once_a_day() {
        let mut state = State { bytes: SMALL_BYTES, verified: Some(NOW), ..State::default() };
        assert!(to_verify(&state, NOW));
        state.bytes += 1;
        assert!(!to_verify(&state, NOW + DAY - 1));
        assert!(to_verify(&state, NOW + DAY));
        assert!(to_verify(&state, NOW - 1));
    }

    #[test]
    fn what_a_stick_asks_for_is_done_once_and_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        let told = || fs::read_to_string(here(TOLD)).unwrap();
        let no = |_: Request| -> Reply { panic!("nothing was asked for") };
        restore(folder.path(), &no);
        assert!(!here(TOLD).exists());
        for (text, words) in [("secret word =", "cannot be understood"), ("hostname = \"x\"", "does not say restore")] {
            fs::write(here(ASKED), text).unwrap();
            restore(folder.path(), &no);
            assert!(told().contains(words) && told().contains("Nothing was changed"), "{}", told());
            assert!(!told().contains("secret word"), "{}", told());
        }
        fs::write(here(ASKED), "\u{feff}restore = \"a b c\"\r\n").unwrap();
        let asked = Mutex::new(Vec::new());
        restore(folder.path(), &|request| {
            let Request::BackupRestore { secret, .. } = request else { panic!("another verb") };
            asked.lock().unwrap().push(secret.0);
            Reply::failed("these are not the words.")
        });
        assert!(told().contains("these are not the words. Nothing was changed."), "{}", told());
        assert!(here(ASKED).exists());
        let text = "Backup 3 is put back.\nLetters that waited to be sent are held:\n  7  from anna@x to ben@y\n";
        restore(folder.path(), &|_| Reply::done(text.to_owned(), serde_json::json!({ "held": [7] })));
        assert!(told().starts_with("Backup 3 is put back.\r\n1 letters that waited"), "{}", told());
        assert!(told().contains("homepost.toml was removed") && !told().contains('@'), "{}", told());
        assert!(!here(ASKED).exists());
        // One in which nothing can be written, as a stick that was pulled out may have it, is made anew.
        fs::remove_file(here(TOLD)).unwrap();
        std::os::unix::fs::symlink(TOLD, here(TOLD)).unwrap();
        tell(folder.path(), "It is told.");
        assert_eq!(told(), "It is told.\r\n");
        // What cannot be written to cannot be taken away, and its owner hears that.
        fs::create_dir(here(ASKED)).unwrap();
        assert!(remove_asked(folder.path()).is_err());
        assert_eq!(asked.into_inner().unwrap(), ["a b c"]);
    }
}
