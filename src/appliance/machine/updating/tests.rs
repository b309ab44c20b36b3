use std::cell::Cell;
use std::os::unix::fs::symlink;

use super::*;
use crate::appliance::update::package::made;

thread_local! {
    /// How many mounts still work: each stands for a cut before it.
    static MOUNTS: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// A machine in a folder: the disk vda with its partitions, of which the boot one is a folder too.
struct Stage {
    root: tempfile::TempDir,
}

fn mount(what: Mount, device: &Path, at: &Path) -> io::Result<()> {
    let left = MOUNTS.get();
    MOUNTS.set(left.saturating_sub(1));
    if left == 0 {
        return Err(io::Error::other("cut"));
    }
    if matches!(what, Mount::Look | Mount::Boot) {
        fs::remove_dir(at)?;
        symlink(device, at)?;
    }
    Ok(())
}

fn unmount(at: &Path) -> io::Result<()> {
    if at.is_symlink() { fs::remove_file(at) } else { Ok(()) }
}

impl Stage {
    fn new() -> Stage {
        MOUNTS.set(u32::MAX);
        let stage = Stage { root: tempfile::tempdir().unwrap() };
        for (number, name) in [(1, "boot"), (2, "a"), (3, "b"), (4, "data")] {
            let part = format!("sys/devices/vda/vda{number}/uevent");
            stage.put(&part, format!("DEVNAME=vda{number}\nPARTNAME=homepost-{name}\n").as_bytes());
        }
        stage.put("dev/vda1/EFI/BOOT/grub.cfg", b"");
        stage.put("dev/vda2", &[0; 40_000]);
        stage.put("dev/vda3", &[0; 40_000]);
        fs::create_dir_all(stage.at("sys/dev/block")).unwrap();
        fs::create_dir_all(stage.at("data/box")).unwrap();
        fs::create_dir_all(stage.at("run/homepost")).unwrap();
        stage.put("etc/os-release", b"ID=homepost\nVERSION_ID=1.0.0\nVARIANT_ID=pc\n");
        stage.put(keys::FILE, made::keys(1).as_bytes());
        stage.runs(Slot::A, "first");
        stage
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), bytes).unwrap();
    }

    /// The machine was started from that slot; each start has a name of its own.
    fn runs(&self, slot: Slot, boot: &str) {
        let number = if slot == Slot::A { 2 } else { 3 };
        self.put("proc/cmdline", format!("quiet homepost.slot={}\n", slot.as_str()).as_bytes());
        self.put("proc/sys/kernel/random/boot_id", boot.as_bytes());
        self.put("proc/self/mountinfo", format!("20 1 254:{number} / / ro - squashfs /dev/root ro\n").as_bytes());
        let link = self.at(&format!("sys/dev/block/254:{number}"));
        if !link.is_symlink() {
            symlink(format!("../../devices/vda/vda{number}"), link).unwrap();
        }
    }

    fn offer(&self, seed: u8, version: &str, board: &str) -> Vec<u8> {
        let system: Vec<u8> = (0..30_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
        self.put(
            "data/mail/update/offered.hpu",
            &made::packed(seed, &made::manifest(version, board, &system), &system),
        );
        system
    }

    /// The process, started.
    fn updating(&self) -> Arc<Updating> {
        let updating = Updating::new(self.root.path().to_owned(), Acts { mount, unmount });
        updating.begin();
        Arc::new(updating)
    }

    fn loader(&self) -> State {
        boot::control(&self.at("dev/vda1")).unwrap().state()
    }

    /// What grub.cfg does when it starts the slot on trial.
    fn tried(&self) {
        let file = self.at("dev/vda1/EFI/BOOT/grubenv");
        let text = String::from_utf8(fs::read(&file).unwrap()).unwrap();
        fs::write(file, text.replace("tried=0", "tried=1")).unwrap();
    }
}

const FRESH: State = State { confirmed: Slot::A, trial: None, tried: false };

#[test]
fn an_update_is_written_read_again_and_has_its_trial_next() {
    let stage = Stage::new();
    let system = stage.offer(1, "1.0.1", "pc");
    let updating = stage.updating();
    assert_eq!(updating.check().unwrap().version, Version(1, 0, 1));
    updating.run(Slot::B);
    let shown = updating.shown();
    assert_eq!((shown.ready, shown.trial, shown.failed), (Some(Version(1, 0, 1)), Some(Slot::B), false), "{shown:?}");
    assert_eq!(fs::read(stage.at("dev/vda3")).unwrap()[..system.len()], system);
    assert_eq!(fs::read(stage.at("dev/vda2")).unwrap(), [0; 40_000], "the one that runs");
    assert_eq!(stage.loader(), State { trial: Some(Slot::B), ..FRESH });
    assert_eq!(stage.updating().shown().ready, Some(Version(1, 0, 1)), "also when the process is started anew");
}

#[test]
fn the_system_that_runs_is_the_confirmed_one_before_the_other_is_written_over() {
    let stage = Stage::new();
    // The loader could not read a, which is confirmed, and started b.
    stage.runs(Slot::B, "second");
    stage.offer(1, "1.0.1", "pc");
    // Cut while the new system is mounted: written, and not yet on trial.
    let updating = stage.updating();
    MOUNTS.set(1);
    updating.run(Slot::A);
    assert!(updating.shown().failed);
    assert_eq!(stage.loader(), State { confirmed: Slot::B, trial: None, tried: false });
    MOUNTS.set(u32::MAX);
    updating.run(Slot::A);
    assert_eq!(stage.loader(), State { confirmed: Slot::B, trial: Some(Slot::A), tried: false });
}

#[test]
fn a_system_on_trial_never_writes_over_the_one_it_would_fall_back_to() {
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    let updating = stage.updating();
    // Which was not to be read when the process started.
    boot::control(&stage.at("dev/vda1")).unwrap().set_trial(Slot::B).unwrap();
    stage.runs(Slot::B, "second");
    updating.run(Slot::A);
    assert!(updating.shown().said.unwrap().contains("on trial"));
    assert_eq!(fs::read(stage.at("dev/vda2")).unwrap(), [0; 40_000]);
    assert_eq!(stage.loader(), State { trial: Some(Slot::B), ..FRESH });
}

#[test]
fn what_is_not_for_this_box_changes_nothing() {
    for (seed, version, board, words) in [
        (2, "1.0.1", "pc", "is not signed"),
        (1, "0.9.9", "pc", "older than 1.0.0"),
        (1, "1.0.0", "pc", "runs already"),
        (1, "1.0.1", "pi", "another kind of box"),
    ] {
        let stage = Stage::new();
        stage.offer(seed, version, board);
        let updating = stage.updating();
        let Err(Error::Refused(said)) = updating.check() else { panic!("{words}") };
        assert!(said.contains(words), "{said}");
        updating.run(Slot::B);
        let shown = updating.shown();
        assert!(shown.failed && shown.said.as_ref().unwrap().contains(words), "{shown:?}");
        assert_eq!(fs::read(stage.at("dev/vda3")).unwrap(), [0; 40_000]);
        assert_eq!(stage.loader(), FRESH);
    }
    let stage = Stage::new();
    let mut file = fs::read({
        stage.offer(1, "1.0.1", "pc");
        stage.at("data/mail/update/offered.hpu")
    })
    .unwrap();
    *file.last_mut().unwrap() ^= 1;
    stage.put("data/mail/update/offered.hpu", &file);
    let updating = stage.updating();
    updating.run(Slot::B);
    assert!(updating.shown().said.unwrap().contains("damaged"));
    assert_eq!(stage.loader(), FRESH, "a half-written system is never tried");
}

#[test]
fn no_link_and_no_pipe_is_followed() {
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    fs::rename(stage.at("data/mail/update"), stage.at("elsewhere")).unwrap();
    symlink(stage.at("elsewhere"), stage.at("data/mail/update")).unwrap();
    assert!(stage.updating().check().is_err(), "a folder that is a link");
    fs::remove_file(stage.at("data/mail/update")).unwrap();
    fs::create_dir(stage.at("data/mail/update")).unwrap();
    symlink(stage.at("elsewhere/offered.hpu"), stage.at("data/mail/update/offered.hpu")).unwrap();
    assert!(stage.updating().check().is_err(), "a file that is a link");
    fs::remove_file(stage.at("data/mail/update/offered.hpu")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(stage.at("data/mail/update/offered.hpu")).status().unwrap();
    assert!(made.success());
    assert!(stage.updating().check().is_err(), "a pipe");
}

/// A cut before any of the boot partition's mounts, and one in the middle of the slot: nothing is on trial but what is whole.
#[test]
fn whatever_is_cut_the_next_start_is_the_good_slot_s_and_the_next_update_works() {
    let mut cuts = 0;
    loop {
        let stage = Stage::new();
        let system = stage.offer(1, "1.0.1", "pc");
        let updating = stage.updating();
        MOUNTS.set(cuts);
        updating.run(Slot::B);
        let whole = updating.shown().ready.is_some();
        MOUNTS.set(u32::MAX);
        if whole {
            assert_eq!(stage.loader(), State { trial: Some(Slot::B), ..FRESH });
            break;
        }
        assert_eq!(stage.loader(), FRESH, "{cuts}");
        stage.runs(Slot::A, "second");
        let updating = stage.updating();
        updating.run(Slot::B);
        assert_eq!(updating.shown().ready, Some(Version(1, 0, 1)), "{cuts}");
        assert_eq!(fs::read(stage.at("dev/vda3")).unwrap()[..system.len()], system);
        cuts += 1;
    }
    assert_eq!(cuts, 4, "clear, boot files (partition and system), trial");

    // The power goes while the slot is written: only the record tells.
    let stage = Stage::new();
    let record = Record {
        step: Step::Write,
        slot: Slot::B,
        version: Version(1, 0, 1),
        from: Version(1, 0, 0),
        boot: "first".to_owned(),
        tried: false,
    };
    stage.updating().put_record(&record).unwrap();
    stage.runs(Slot::A, "second");
    let shown = stage.updating().shown();
    assert!(shown.failed && shown.said.unwrap().contains("broken off"));
    assert_eq!(stage.updating().shown().said, None, "it is said once");
}

#[test]
fn a_trial_is_confirmed_or_it_is_over() {
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    stage.updating().run(Slot::B);
    // It is started, and works.
    stage.tried();
    stage.runs(Slot::B, "second");
    let updating = stage.updating();
    assert!(updating.on_trial() && stage.at(ON_TRIAL).exists());
    assert!(matches!(updating.write(), Err(Error::Refused(_))) && matches!(updating.abandon(), Err(Error::Refused(_))));
    updating.confirm().unwrap();
    assert_eq!(stage.loader(), State { confirmed: Slot::B, trial: None, tried: false });
    assert!(!updating.on_trial() && !stage.at(ON_TRIAL).exists());
    assert!(matches!(updating.confirm(), Err(Error::Refused(_))));

    // It is started, and does not.
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    stage.updating().run(Slot::B);
    stage.tried();
    stage.runs(Slot::A, "third");
    let updating = stage.updating();
    let shown = updating.shown();
    assert!(shown.failed && shown.said.unwrap().contains("1.0.1 did not work here"));
    assert!(matches!(updating.confirm(), Err(Error::Refused(_))), "not this one");
    updating.abandon().unwrap();
    assert_eq!(stage.loader(), FRESH);
    assert_eq!(stage.updating().shown().said, None);
}

/// The power goes before the restart into it.
#[test]
fn a_version_that_was_not_started_is_not_said_to_have_failed() {
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    stage.updating().run(Slot::B);
    stage.runs(Slot::A, "second");
    let shown = stage.updating().shown();
    assert_eq!(shown.ready, None);
    assert!(shown.failed && shown.said.unwrap().contains("1.0.1 was not tried"));
    // One that the machine restarted into has it in its record; so has one that was started.
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    let updating = stage.updating();
    updating.goes_down();
    updating.run(Slot::B);
    updating.goes_down();
    assert_eq!(stage.updating().shown().ready, Some(Version(1, 0, 1)));
    stage.runs(Slot::A, "second");
    assert!(stage.updating().shown().said.unwrap().contains("did not work here"));
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    stage.updating().run(Slot::B);
    stage.runs(Slot::B, "second");
    assert!(stage.updating().on_trial());
    stage.runs(Slot::A, "third");
    assert!(stage.updating().shown().said.unwrap().contains("did not work here"));
}

/// The loader says that it is one, and what it reads cannot be read any more.
#[test]
fn a_trial_is_one_also_where_only_the_loader_s_word_is_left() {
    let on_trial = |break_it: &dyn Fn(&Stage), word: &dyn Fn(&Stage)| {
        let stage = Stage::new();
        stage.offer(1, "1.0.1", "pc");
        stage.updating().run(Slot::B);
        stage.runs(Slot::B, "second");
        word(&stage);
        break_it(&stage);
        let updating = stage.updating();
        MOUNTS.set(u32::MAX);
        let told = stage.at(ON_TRIAL).exists();
        assert_eq!(updating.on_trial(), told);
        if told {
            updating.confirm().unwrap();
            assert_eq!(stage.loader(), State { confirmed: Slot::B, trial: None, tried: false });
            // Passed in this life, whatever can be read of it.
            for break_it in [&(|_: &Stage| {}) as &dyn Fn(&Stage), break_it] {
                break_it(&stage);
                let again = stage.updating();
                assert_eq!((again.on_trial(), again.shown().confirmed), (false, Some(Slot::B)));
                MOUNTS.set(u32::MAX);
            }
        }
        told
    };
    let line = |stage: &Stage| stage.put("proc/cmdline", b"quiet homepost.slot=b homepost.trial=1\n");
    let tree = |stage: &Stage| stage.put("proc/device-tree/chosen/bootloader/tryboot", &[0, 0, 0, 1]);
    let no_mount = |_: &Stage| MOUNTS.set(0);
    let torn = |stage: &Stage| stage.put("dev/vda1/EFI/BOOT/grubenv", b"torn");
    for word in [&line as &dyn Fn(&Stage), &tree] {
        assert!(on_trial(&no_mount, word));
        assert!(on_trial(&torn, word));
        assert!(on_trial(&|_| {}, word));
    }
    assert!(!on_trial(&no_mount, &|_| {}));
}

/// A byte in the last piece, behind a head that is whole.
#[test]
fn a_damaged_update_costs_not_even_the_idle_system() {
    let stage = Stage::new();
    stage.offer(1, "1.0.1", "pc");
    let path = stage.at("data/mail/update/offered.hpu");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    let updating = stage.updating();
    assert!(updating.check().is_ok(), "its head says nothing of it");
    updating.run(Slot::B);
    assert!(updating.shown().failed);
    assert_eq!(fs::read(stage.at("dev/vda3")).unwrap(), [0; 40_000]);
    assert_eq!((stage.loader(), stage.at(RECORD).exists()), (FRESH, false));
}

#[test]
fn what_a_start_means() {
    let record = |step, slot| {
        Some(Record {
            step,
            slot,
            version: Version(1, 0, 1),
            from: Version(1, 0, 0),
            boot: "then".to_owned(),
            tried: true,
        })
    };
    let untried = record(Step::Trial, Slot::B).map(|record| Record { tried: false, ..record });
    let state = |trial, tried| State { confirmed: Slot::A, trial, tried };
    for (record, state, running, boot, wanted) in [
        (None, state(None, false), Slot::A, "now", Story::Nothing),
        (record(Step::Trial, Slot::B), state(Some(Slot::B), true), Slot::B, "now", Story::OnTrial),
        (None, state(Some(Slot::B), true), Slot::B, "now", Story::OnTrial),
        (record(Step::Trial, Slot::B), state(Some(Slot::B), false), Slot::A, "then", Story::Ready),
        (record(Step::Trial, Slot::B), state(Some(Slot::B), false), Slot::A, "now", Story::FellBack),
        (record(Step::Trial, Slot::B), state(Some(Slot::B), true), Slot::A, "now", Story::FellBack),
        (None, state(Some(Slot::B), true), Slot::A, "now", Story::FellBack),
        (record(Step::Write, Slot::B), state(None, false), Slot::A, "now", Story::BrokenOff),
        (record(Step::Trial, Slot::B), state(None, false), Slot::A, "now", Story::BrokenOff),
        (
            record(Step::Trial, Slot::B),
            State { confirmed: Slot::B, ..state(None, false) },
            Slot::B,
            "now",
            Story::Confirmed,
        ),
        (record(Step::Trial, Slot::B), state(None, false), Slot::B, "now", Story::BrokenOff),
        // A Raspberry Pi does not say whether it was tried; GRUB does.
        (untried.clone(), state(Some(Slot::B), false), Slot::A, "now", Story::NotTried),
        (untried.clone(), state(Some(Slot::B), true), Slot::A, "now", Story::FellBack),
        (untried, state(Some(Slot::B), false), Slot::A, "then", Story::Ready),
    ] {
        assert_eq!(story(record.as_ref(), state, running, boot), wanted, "{record:?} {state:?} {running:?} {boot}");
    }
}
