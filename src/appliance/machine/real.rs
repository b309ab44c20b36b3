//! The machine itself.
//!
//! It reads what the scripts of the box (`overlays/`) and the kernel write, and writes what those scripts look at:
//!
//! | file | who writes | what it holds |
//! |---|---|---|
//! | `/run/homepost/{clock,floor,problem,notice,health,open}` | the scripts | see `common.sh` |
//! | `/etc/homepost/built`, `/data/box/time` | image, `clock` | seconds that the time is not before |
//! | `/run/homepost/show` | we | lines for the console |
//! | `/run/homepost/doors` | we | a number; `watch` sets the firewall anew when it changes |
//! | `/run/homepost/trial` | we | there while this system is on trial: only the mail port is open, and it says 421 |
//! | `/run/homepost/tryboot` | we | there when the restart is to be a Raspberry Pi's trial (`stop` sees to it) |

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;
use rustix::time::{ClockId, Timespec};

use crate::base::Time;

use super::stick::{self, Stick, Sticks};
use super::updating::{self, Mount, Updating};
use super::{Disk, Error, Machine, SHOWN_CHARACTERS, SHOWN_LINES, Status, erase, facts};

/// As much of a file as is ever looked at.
const READ_BYTES: u64 = 256 * 1024;
/// How far after the last time known a clock may be set by hand. The floor follows the clock, so a time in the far future
/// would keep the right one out for good.
const AHEAD_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// Says that the next start is to be a trial, to who restarts the box (overlays/common/usr/lib/homepost/stop).
const TRYBOOT: &str = "run/homepost/tryboot";
/// What init understands (busybox): end everything in order, then this.
const REBOOT: Signal = Signal::TERM;
const POWER_OFF: Signal = Signal::USR2;

/// From the start of the machine until a system on trial has to be confirmed.
const TRIAL_SECONDS: u64 = 40 * 60;
/// Besides, for the copy of a large household's stores, on a slow card.
const COPY_SECONDS: u64 = 6 * 3600;
/// Between two looks at a trial.
const WATCH_SECONDS: u64 = 5;

/// What a trial may still take.
struct Limits {
    trial: u64,
    copy: u64,
}

impl Limits {
    /// Whether there is time for another look.
    fn left(&mut self, copying: bool) -> bool {
        let limit = if copying { &mut self.copy } else { &mut self.trial };
        *limit = limit.saturating_sub(WATCH_SECONDS);
        *limit > 0
    }
}

pub struct Real {
    root: PathBuf,
    acts: Acts,
    updating: Arc<Updating>,
    sticks: Arc<Sticks>,
}

/// What changes the machine, so that a test is no danger to the one it runs on.
struct Acts {
    set_time: fn(i64) -> io::Result<()>,
    tell_init: fn(Signal) -> io::Result<()>,
}

impl Real {
    /// `user`: the mail service's.
    pub fn new(user: u32) -> Real {
        let root = PathBuf::from("/");
        let updating = Arc::new(Updating::new(root.clone(), updating::Acts { mount: mount_at, unmount: unmount_from }));
        let sticks = Sticks::new(root.clone(), user, stick::Acts::real());
        Real { root, acts: Acts { set_time, tell_init }, updating, sticks }
    }

    /// Finds out what this start means for an update. A system on trial that is not confirmed in time has failed: a restart
    /// brings the one before.
    pub fn begin(&self) {
        self.updating.begin();
        if !self.updating.on_trial() {
            return;
        }
        let (updating, tell_init) = (self.updating.clone(), self.acts.tell_init);
        let (copying, copied) = (self.at("data/mail/before-update.new"), self.at("data/mail/before-update"));
        let mut limits = Limits { trial: TRIAL_SECONDS.saturating_sub(self.uptime()), copy: COPY_SECONDS };
        let watching = std::thread::Builder::new().name("trial".to_owned()).spawn(move || {
            while limits.left(copying.exists() && !copied.exists()) {
                std::thread::sleep(Duration::from_secs(WATCH_SECONDS));
                if !updating.on_trial() {
                    return;
                }
            }
            tracing::error!("this system was not confirmed in time; the one before starts again");
            let _ = tell_init(REBOOT);
        });
        if let Err(error) = watching {
            tracing::error!(%error, "nobody watches over the trial");
        }
    }

    fn uptime(&self) -> u64 {
        let uptime = self.read("proc/uptime").unwrap_or_default();
        uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What a file says, without the white space around it. `None` if there is no such file, or nothing in it.
    fn read(&self, path: &str) -> Option<String> {
        let mut text = Vec::new();
        fs::File::open(self.at(path)).ok()?.take(READ_BYTES).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn trusted(&self) -> bool {
        self.read("run/homepost/clock").as_deref() == Some("trusted")
    }

    fn floor(&self) -> i64 {
        let known =
            ["run/homepost/floor", "etc/homepost/built", "data/box/time"].map(|path| self.read(path)?.parse().ok());
        known.into_iter().flatten().max().unwrap_or(0)
    }

    /// The data partition; `None` while it is not mounted.
    fn disk(&self) -> Option<Disk> {
        let mounts = self.read("proc/self/mounts")?;
        let mounted = mounts.lines().any(|line| line.split(' ').nth(1) == Some("/data"));
        let room = mounted.then(|| rustix::fs::statvfs(self.at("data")).ok()).flatten()?;
        Some(Disk {
            total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        })
    }

    /// A file of this start's that need not be there.
    fn forget(&self, path: &str) {
        let _ = fs::remove_file(self.at(path));
    }

    /// Replaces a file for the scripts; they never see half of it.
    fn write(&self, path: &str, text: &str) -> Result<(), Error> {
        let path = self.at(path);
        let beside = path.with_extension("new");
        let done = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
        done.map_err(|error| failed(&path, &error))
    }
}

impl Machine for Real {
    fn status(&self) -> Result<Status, Error> {
        // Ours is a network without interfaces; the box's is that of the first process.
        let mut addresses = facts::addresses_v4(&self.read("proc/1/net/fib_trie").unwrap_or_default());
        addresses.extend(facts::addresses_v6(&self.read("proc/1/net/if_inet6").unwrap_or_default()));
        let open = self.read("run/homepost/open").unwrap_or_default();
        Ok(Status {
            version: self.updating.version().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            slot: facts::slot(&self.read("proc/cmdline").unwrap_or_default()),
            clock_trusted: self.trusted(),
            clock_floor: self.floor(),
            problem: self.read("run/homepost/problem"),
            notice: self.read("run/homepost/notice"),
            health: self.read("run/homepost/health"),
            addresses,
            open_ports: open.split_ascii_whitespace().filter_map(|port| port.parse().ok()).collect(),
            disk: self.disk(),
            uptime_seconds: self.uptime(),
            update: self.updating.shown(),
        })
    }

    fn set_clock(&self, to: Time) -> Result<(), Error> {
        if self.trusted() {
            return Err(Error::Refused("the clock is kept by the network, and right".to_owned()));
        }
        // A3
        let (floor, to) = (self.floor(), to.seconds());
        if to < floor {
            return Err(Error::Refused("that time is before the last one known".to_owned()));
        }
        if to > floor.saturating_add(AHEAD_SECONDS) {
            return Err(Error::Refused("that time is too far in the future".to_owned()));
        }
        (self.acts.set_time)(to).map_err(|error| Error::Failed(format!("the clock cannot be set: {error}")))
    }

    fn reboot(&self) -> Result<(), Error> {
        // GRUB needs no telling; to others it is a file that nobody looks at.
        match self.updating.shown().ready {
            Some(_) => {
                self.write(TRYBOOT, "")?;
                self.updating.goes_down();
            }
            // Of a restart that did not come, perhaps.
            None => self.forget(TRYBOOT),
        }
        (self.acts.tell_init)(REBOOT).map_err(|error| {
            self.forget(TRYBOOT);
            Error::Failed(format!("the restart cannot begin: {error}"))
        })
    }

    fn power_off(&self) -> Result<(), Error> {
        self.forget(TRYBOOT);
        (self.acts.tell_init)(POWER_OFF).map_err(|error| Error::Failed(format!("the power stays on: {error}")))
    }

    fn show(&self, lines: &[String]) -> Result<(), Error> {
        // A terminal obeys control characters, so there are none.
        let fits = |line: &String| line.chars().count() <= SHOWN_CHARACTERS && !line.chars().any(char::is_control);
        if lines.len() > SHOWN_LINES || !lines.iter().all(fits) {
            return Err(Error::Refused(format!(
                "the console shows {SHOWN_LINES} lines of {SHOWN_CHARACTERS} printable characters"
            )));
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write("run/homepost/show", &text)
    }

    fn refresh_firewall(&self) -> Result<(), Error> {
        let path = "run/homepost/doors";
        let last = self.read(path).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        self.write(path, &format!("{}\n", last.wrapping_add(1)))
    }

    fn check_update(&self) -> Result<String, Error> {
        Ok(self.updating.check()?.version.to_string())
    }

    fn write_update(&self) -> Result<(), Error> {
        self.updating.write()
    }

    fn confirm_slot(&self) -> Result<(), Error> {
        self.updating.confirm()?;
        self.refresh_firewall()
    }

    fn abandon_update(&self) -> Result<(), Error> {
        self.updating.abandon()
    }

    fn sticks(&self) -> Result<Vec<Stick>, Error> {
        Ok(self.sticks.all())
    }

    fn open_stick(&self) -> Result<(), Error> {
        self.sticks.open()
    }

    fn close_stick(&self) -> Result<(), Error> {
        self.sticks.close()
    }

    fn prepare_stick(&self, insertion: u64) -> Result<(), Error> {
        self.sticks.prepare(insertion)
    }

    fn erase(&self) -> Result<(), Error> {
        if self.status()?.on_trial() {
            return Err(Error::Refused(
                "a new version is being tried just now; please try again in an hour, or restart the box first"
                    .to_owned(),
            ));
        }
        let wished = self.updating.wish(erase::WISH).map_err(|error| {
            Error::Failed(format!("the wish cannot be written down ({error}), so nothing is deleted"))
        });
        // Whoever hears that nothing is deleted must not find everything deleted at a later start.
        wished.and_then(|()| self.reboot()).map_err(|why| match self.updating.no_wish(erase::WISH) {
            Ok(()) => why,
            Err(error) => Error::Failed(format!(
                "{why}; and the wish cannot be taken back ({error}), so the next start may delete everything"
            )),
        })
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("{}: {error}", path.display()))
}

fn set_time(seconds: i64) -> io::Result<()> {
    Ok(rustix::time::clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: 0 })?)
}

fn tell_init(what: Signal) -> io::Result<()> {
    Ok(rustix::process::kill_process(Pid::INIT, what)?)
}

fn mount_at(what: Mount, device: &Path, at: &Path) -> io::Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let (kind, flags, options) = match what {
        Mount::Look => (c"vfat", quiet | MountFlags::RDONLY, c"umask=077"),
        Mount::Boot => (c"vfat", quiet, c"umask=077"),
        Mount::System => (c"squashfs", quiet | MountFlags::RDONLY, c""),
    };
    // A script may have the same partition mounted for a moment, in another way.
    let mut tries = 0;
    loop {
        match mount(device, at, kind, flags, options) {
            Ok(()) => return Ok(()),
            Err(error) if tries == 20 => return Err(error.into()),
            Err(_) => tries += 1,
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn unmount_from(at: &Path) -> io::Result<()> {
    Ok(unmount(at, UnmountFlags::empty())?)
}

/// Leaves the network, if whoever started us did not see to that. `false`: there still is one; only the list of system
/// calls keeps us from it. Before any thread is started.
pub fn leave_network() -> bool {
    let there = || fs::read_to_string("/proc/self/net/dev").is_ok_and(|table| facts::has_network(&table));
    if there() {
        // The function is deprecated for a flag that could part threads from their files; this one does not.
        #[allow(deprecated)]
        let _ = rustix::thread::unshare(UnshareFlags::NEWNET);
    }
    !there()
}

/// The user id of the mail service: by name, as in `/etc/passwd`, or as a number.
pub fn user(name: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let table = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    facts::user(&table, name).ok_or_else(|| format!("there is no user {name} on this machine"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static DID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn did(what: String) -> io::Result<()> {
        DID.with_borrow_mut(|did| did.push(what));
        Ok(())
    }

    fn taken() -> Vec<String> {
        DID.with_borrow_mut(std::mem::take)
    }

    struct Stage {
        root: tempfile::TempDir,
        real: Real,
    }

    impl Stage {
        fn with(files: &[(&str, &str)]) -> Stage {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("run/homepost")).unwrap();
            for (name, text) in files {
                let path = root.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let acts = Acts {
                set_time: |seconds| did(format!("time {seconds}")),
                tell_init: |signal| did(format!("signal {}", signal.as_raw())),
            };
            let mounts = updating::Acts { mount: |_, _, _| Ok(()), unmount: |_| Ok(()) };
            let updating = Arc::new(Updating::new(root.path().to_owned(), mounts));
            let plugs = stick::Acts { mount: |_, _, _, _, _| Ok(()), unmount: |_, _| Ok(()) };
            let sticks = Sticks::new(root.path().to_owned(), 990, plugs);
            let real = Real { root: root.path().to_owned(), acts, updating, sticks };
            Stage { root, real }
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.root.path().join(path)).unwrap()
        }
    }

    /// Whoever hears that nothing is deleted must not find everything deleted at a later start.
    #[test]
    fn a_wish_that_is_not_granted_is_taken_back() {
        let mut here = Stage::with(&[
            ("proc/self/mountinfo", "20 1 254:2 / / ro - squashfs /dev/root ro\n"),
            ("sys/devices/vda/vda1/uevent", "DEVNAME=vda1\nPARTNAME=homepost-boot\n"),
            ("sys/devices/vda/vda2/uevent", "DEVNAME=vda2\nPARTNAME=homepost-a\n"),
        ]);
        let root = here.root.path().to_owned();
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        std::os::unix::fs::symlink("../../devices/vda/vda2", root.join("sys/dev/block/254:2")).unwrap();
        let wish = root.join("run/homepost/bootloader").join(erase::WISH);
        here.real.erase().unwrap();
        assert_eq!(fs::read_to_string(&wish).unwrap(), "1\n", "what the script of the box asks for");
        fs::remove_file(&wish).unwrap();
        here.real.acts.tell_init = |_| Err(io::Error::other("it does not listen"));
        assert!(here.real.erase().is_err() && !wish.exists());
        // Where even that fails, whoever asked hears what may come.
        fs::create_dir_all(wish.join("x")).unwrap();
        let Err(Error::Failed(words)) = here.real.erase() else { panic!() };
        assert!(words.contains("cannot be written down") && words.contains("the next start may delete"), "{words}");
    }

    #[test]
    fn a_trial_has_its_time_and_the_copy_before_it_another() {
        let looks = |copying: fn(u64) -> bool| {
            let mut limits = Limits { trial: TRIAL_SECONDS, copy: COPY_SECONDS };
            (0..).find(|look| !limits.left(copying(*look))).unwrap() * WATCH_SECONDS
        };
        assert_eq!(looks(|_| false), TRIAL_SECONDS - WATCH_SECONDS);
        assert_eq!(looks(|look| look < 720), 3600 + TRIAL_SECONDS - WATCH_SECONDS, "an hour of copying");
        assert_eq!(looks(|_| true), COPY_SECONDS - WATCH_SECONDS, "a copy that never ends");
    }

    #[test]
    fn status_is_what_scripts_and_kernel_wrote() {
        let full = Stage::with(&[
            ("proc/cmdline", "quiet homepost.slot=a\n"),
            ("proc/uptime", "12.34 5.0\n"),
            ("proc/1/net/fib_trie", "|-- 10.0.2.15\n /32 host LOCAL\n"),
            ("proc/self/mounts", "/dev/vda4 /data ext4 rw 0 0\n"),
            ("data/box/time", "1800000000\n"),
            ("etc/homepost/built", "1790000000\n"),
            ("run/homepost/clock", "trusted\n"),
            ("run/homepost/notice", "The data partition was repaired.\n"),
            ("run/homepost/open", "25 465 993\n"),
        ]);
        let status = full.real.status().unwrap();
        assert_eq!((status.slot.as_deref(), status.uptime_seconds), (Some("a"), 12));
        assert_eq!((status.clock_trusted, status.clock_floor), (true, 1_800_000_000));
        assert_eq!((status.problem, status.notice.as_deref()), (None, Some("The data partition was repaired.")));
        assert_eq!(status.addresses, ["10.0.2.15"]);
        assert_eq!(status.open_ports, [25, 465, 993]);
        assert!(status.disk.is_some_and(|disk| disk.total_bytes > 0));
        let empty = Stage::with(&[]).real.status().unwrap();
        assert_eq!(empty, Status { version: empty.version.clone(), ..Status::default() });
    }

    #[test]
    fn the_clock_goes_forward_from_the_last_time_known_and_not_too_far() {
        let floor = 1_800_000_000;
        let here = Stage::with(&[("data/box/time", "1800000000\n"), ("etc/homepost/built", "rubbish")]);
        let set = |seconds| here.real.set_clock(Time::from_seconds(seconds));
        for wrong in [floor - 1, 0, -1, i64::MIN, floor + AHEAD_SECONDS + 1, i64::MAX] {
            assert!(matches!(set(wrong), Err(Error::Refused(_))), "A3: {wrong}");
        }
        assert_eq!(taken(), Vec::<String>::new());
        set(floor).unwrap();
        set(floor + AHEAD_SECONDS).unwrap();
        assert_eq!(taken(), [format!("time {floor}"), format!("time {}", floor + AHEAD_SECONDS)]);
        let kept = Stage::with(&[("run/homepost/clock", "trusted\n")]);
        assert!(matches!(kept.real.set_clock(Time::from_seconds(floor)), Err(Error::Refused(_))));
    }

    #[test]
    fn init_is_told_what_it_understands() {
        let here = Stage::with(&[]);
        here.real.reboot().unwrap();
        here.real.power_off().unwrap();
        assert_eq!(taken(), ["signal 15", "signal 12"]);
    }

    #[test]
    fn the_console_shows_few_lines_and_no_control_characters() {
        let here = Stage::with(&[]);
        let show = |lines: &[&str]| here.real.show(&lines.iter().map(ToString::to_string).collect::<Vec<_>>());
        show(&["Code", "äöü €"]).unwrap();
        assert_eq!(here.read("run/homepost/show"), "Code\näöü €\n");
        for wrong in [&["a"; 5][..], &["\x1b[2J"], &["a\nb"], &["a\rb"], &["\u{9b}2J"], &[&"x".repeat(77)]] {
            assert!(matches!(show(wrong), Err(Error::Refused(_))), "{wrong:?}");
        }
        assert_eq!(here.read("run/homepost/show"), "Code\näöü €\n");
        show(&[]).unwrap();
        assert_eq!(here.read("run/homepost/show"), "");
    }

    #[test]
    fn the_firewall_is_asked_for_by_a_new_number() {
        let here = Stage::with(&[]);
        for number in ["1\n", "2\n", "3\n"] {
            here.real.refresh_firewall().unwrap();
            assert_eq!(here.read("run/homepost/doors"), number);
        }
    }
}
