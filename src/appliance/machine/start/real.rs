//! The board itself: the kernel's tables, and the programs that the system brings.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::super::erase::{self, WISH};
use super::super::{facts, slots};
use super::{ASKED, Board, Place, Step, TOLD, To, Wish, table};

const STATE: &str = "run/homepost";
const BOOT: &str = "run/homepost/boot";
const MAIL: &str = "data/mail";
const DATA: &str = "homepost-data";
const USER: &str = "homepost";
/// A file of the kernel's or of the boot partition, as far as it is read.
const MOST: u64 = 64 << 10;
const SECTOR: u64 = 512;
/// Of a repair, the last lines.
const LINES: usize = 5;
/// From here on e2fsck left errors behind, or could not do what it should (e2fsck(8)).
const LEFT: i32 = 4;

/// The machine below `root`: `/`, but for tests.
pub struct Real {
    root: PathBuf,
}

impl Default for Real {
    fn default() -> Real {
        Real { root: PathBuf::from("/") }
    }
}

/// A program of the system, by its name, or by its path where busybox has a lesser one. Its words go to the kernel's log.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    for stream in [Command::stdout, Command::stderr] {
        let log = OpenOptions::new().write(true).open("/dev/kmsg");
        stream(&mut command, log.map_or_else(|_| Stdio::null(), Stdio::from));
    }
    command
}

fn worked(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

/// What mount(2) says of a disk that is write-protected.
fn is_protected(error: Errno) -> bool {
    matches!(error, Errno::ACCESS | Errno::ROFS)
}

/// What e2fsck says by how it ends: whole, or repaired.
fn repaired(status: ExitStatus) -> bool {
    status.code().is_some_and(|code| code < LEFT)
}

fn small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

fn number<T: std::str::FromStr>(path: &Path) -> io::Result<T> {
    let text = small(path)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, path.display().to_string()))
}

/// What set-up said, as it goes on in a sentence.
fn sentences(done: &Output) -> Result<String, String> {
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    let (out, err) = (lines(&done.stdout), lines(&done.stderr));
    if done.status.success() {
        let set_up = format!("/{MAIL} is set up");
        let all = out.iter().chain(&err).map(|line| match line.strip_prefix(&set_up) {
            Some(rest) => format!("homepost is set up{rest}"),
            None => line.clone(),
        });
        return Ok(all.collect::<Vec<_>>().join(" "));
    }
    let why = err.first().or(out.first()).map(String::as_str).unwrap_or("it ended without a word");
    Err(why.strip_prefix("homepost: ").unwrap_or(why).trim_end_matches('.').to_owned())
}

impl Real {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn boot(&self, name: &str) -> PathBuf {
        self.at(BOOT).join(name)
    }

    fn device(&self, name: &str) -> PathBuf {
        self.at("dev").join(name)
    }

    /// A whole file, or the one before.
    fn put(&self, name: &str, words: &str) -> io::Result<()> {
        let (new, path) = (self.at(STATE).join(format!("{name}.new")), self.at(STATE).join(name));
        fs::write(&new, format!("{words}\n"))?;
        fs::rename(new, path)
    }

    fn print(&self, to: &str, words: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.at(to))?.write_all(format!("homepost: {words}\n").as_bytes())
    }

    /// A whole file, and the log whether that is there or not.
    fn note(&self, name: &str, words: &str) -> io::Result<()> {
        let kept = self.put(name, words);
        self.print("dev/kmsg", words).and(kept)
    }

    fn sync_boot(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(self.at(BOOT))?)?)
    }

    /// The partition of this name of the kernel's.
    fn measured(&self, name: &str) -> io::Result<Place> {
        // A link into /sys/devices/…/DISK/PARTITION.
        let here = fs::canonicalize(self.at("sys/class/block").join(name))?;
        let above = here.parent().ok_or(io::ErrorKind::NotFound)?;
        let disk = above.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Place {
            name: name.to_owned(),
            disk,
            number: number(&here.join("partition"))?,
            start: number(&here.join("start"))?,
            size: number(&here.join("size"))?,
            disk_size: number(&above.join("size"))?,
        })
    }
}

impl Board for Real {
    fn begins(&mut self, step: Step) {
        let _ = self.put("step", step.sentence());
    }

    fn tell(&mut self, to: To, words: &str) {
        // Where nothing can be said nothing else can be done about it.
        let _ = match to {
            To::Console => self.print("dev/console", words),
            To::Log => self.print("dev/kmsg", words),
            // One does not take the place of another.
            To::Notice => {
                let before = small(&self.at(STATE).join("notice")).unwrap_or_default();
                self.note("notice", format!("{} {words}", before.trim()).trim())
            }
            To::Problem => self.note("problem", words),
        };
    }

    fn place(&mut self) -> io::Result<Option<Place>> {
        let Some(device) = slots::partition(&self.root, DATA) else { return Ok(None) };
        let name = device.file_name().unwrap_or_default().to_string_lossy();
        self.measured(&name).map(Some)
    }

    fn table_is_whole(&mut self, place: &Place) -> io::Result<bool> {
        table::is_whole(&self.device(&place.disk))
    }

    fn mend_table(&mut self, place: &Place) -> io::Result<()> {
        // Whatever is changed, both are written; this is called so already.
        let number = place.number.to_string();
        let options = ["-q", "--no-reread", "--no-tell-kernel", "--part-label"];
        worked(program("sfdisk").args(options).arg(self.device(&place.disk)).args([&number, DATA]))
    }

    fn move_copy(&mut self, place: &Place) -> io::Result<()> {
        let options = ["-q", "--no-reread", "--no-tell-kernel", "--relocate", "gpt-bak-std"];
        worked(program("sfdisk").args(options).arg(self.device(&place.disk)))
    }

    fn grow(&mut self, place: &Place) -> io::Result<()> {
        let options = ["-q", "--no-reread", "--no-tell-kernel", "-N", &place.number.to_string()];
        let mut sfdisk = program("sfdisk").args(options).arg(self.device(&place.disk)).stdin(Stdio::piped()).spawn()?;
        let told = sfdisk.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b",+\n"));
        let status = sfdisk.wait()?;
        told?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
    }

    fn reread(&mut self, place: &Place) -> io::Result<Place> {
        worked(program("partx").args(["-u", "--nr", &place.number.to_string()]).arg(self.device(&place.disk)))?;
        self.measured(&place.name)
    }

    fn check(&mut self, place: &Place, all: bool) -> io::Result<bool> {
        let mut command = program("e2fsck");
        command.arg(if all { "-y" } else { "-p" }).arg(self.device(&place.name));
        // A repair says much, of which the end is worth keeping.
        let said = self.at(STATE).join("repair");
        if all {
            let file = File::create(&said)?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        let status = command.status()?;
        if all {
            let text = String::from_utf8_lossy(&fs::read(&said).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            for line in lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default() {
                self.tell(To::Log, line);
            }
            // It can be long, and there is little room for what has to be said yet.
            let _ = fs::remove_file(&said);
        }
        Ok(repaired(status))
    }

    fn mount(&mut self, place: &Place) -> io::Result<()> {
        let flags = MountFlags::NOATIME | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let opened = |flags| mount(self.device(&place.name), self.at("data"), c"ext4", flags, c"");
        match opened(flags) {
            // A disk that lets nobody write any more: what is on it can be read still.
            Err(error) if is_protected(error) => {
                opened(flags | MountFlags::RDONLY)?;
                self.tell(To::Log, "the disk is write-protected");
                Ok(())
            }
            done => Ok(done?),
        }
    }

    fn unmount(&mut self) -> io::Result<()> {
        Ok(unmount(self.at("data"), UnmountFlags::empty())?)
    }

    fn extend(&mut self, place: &Place) -> io::Result<()> {
        worked(program("resize2fs").arg(self.device(&place.name)))
    }

    fn empty(&mut self) -> io::Result<bool> {
        let mut last = None;
        let data = self.at("data");
        let erased = erase::empty(&data, &mut |step, percent| {
            if last.replace((step, percent / 10)) != Some((step, percent / 10)) {
                let _ = self.print("dev/console", &format!("{} {percent} %", step.sentence()));
            }
        })?;
        let words = format!("{} files are overwritten, {} MB.", erased.files, erased.bytes / 1_000_000);
        self.tell(To::Console, &words);
        if erased.failed > 0 {
            self.tell(To::Log, &format!("{} files could not be overwritten", erased.failed));
        }
        Ok(erased.failed == 0)
    }

    fn wipe(&mut self, place: &Place) -> io::Result<()> {
        let mut last = 0;
        erase::wipe(&self.device(&place.name), place.size.saturating_mul(SECTOR), &mut |percent| {
            if percent != last {
                let _ = self.print("dev/console", &format!("{percent} % are overwritten"));
            }
            last = percent;
        })
    }

    fn make(&mut self, place: &Place) -> io::Result<()> {
        // Tells the disk to forget what was there (discard), where it knows how.
        let options = ["-q", "-F", "-t", "ext4", "-L", DATA, "-b", "4096", "-m", "1", "-J", "size=16"];
        worked(program("/sbin/mke2fs").args(options).arg(self.device(&place.name)))
    }

    fn folders(&mut self) -> io::Result<()> {
        let mail = self.at(MAIL);
        // After a power cut it is still there, from before.
        let _ = fs::remove_file(mail.join("ready"));
        let table = small(&self.at("etc/passwd"))?;
        let made = [MAIL, "data/box"].into_iter().try_for_each(|folder| {
            fs::create_dir_all(self.at(folder))?;
            fs::set_permissions(self.at(folder), Permissions::from_mode(0o700))
        });
        let (user, group) = facts::user(&table, USER).zip(facts::group(&table, USER)).ok_or(io::ErrorKind::NotFound)?;
        match made.and_then(|()| chown(&mail, Some(user), Some(group))) {
            // It cannot be written to, and can be read.
            Err(error) if mail.is_dir() => {
                self.tell(To::Log, &format!("the folders: {error}"));
                Ok(())
            }
            done => done,
        }
    }

    fn clock(&mut self) -> io::Result<()> {
        worked(program("/usr/lib/homepost/clock").arg("floor"))
    }

    fn open_boot(&mut self) -> io::Result<()> {
        let device = slots::partition(&self.root, "homepost-boot").ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir_all(self.at(BOOT))?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        Ok(mount(device, self.at(BOOT), c"vfat", flags, c"umask=077")?)
    }

    fn close_boot(&mut self) {
        if let Err(error) = unmount(self.at(BOOT), UnmountFlags::empty()) {
            self.tell(To::Log, &format!("the boot partition: {error}"));
        }
    }

    fn let_write(&mut self, yes: bool) -> io::Result<()> {
        let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let flags = if yes { quiet } else { quiet | MountFlags::RDONLY };
        Ok(mount_remount(self.at(BOOT), flags, c"")?)
    }

    fn wish(&mut self) -> io::Result<Wish> {
        match small(&self.boot(WISH)) {
            Ok(text) if text.trim_end_matches('\n') == "1" => Ok(Wish::Whole),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Wish::None),
            Ok(_) | Err(_) => Ok(Wish::Torn),
        }
    }

    fn touch_wish(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.boot(WISH))?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now })?;
        file.sync_all()
    }

    fn remove_wish(&mut self) -> io::Result<()> {
        fs::remove_file(self.boot(WISH))?;
        self.sync_boot()
    }

    fn forget(&mut self, name: &str) -> io::Result<()> {
        let path = self.boot(name);
        match fs::metadata(&path) {
            Ok(about) => erase::overwrite(&path, about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_asked(&mut self) -> io::Result<bool> {
        self.boot(ASKED).try_exists()
    }

    fn is_set_up(&mut self) -> io::Result<bool> {
        let mail = self.at(MAIL);
        Ok(mail.join("settings.toml").try_exists()? && !mail.join("setup/state.json").try_exists()?)
    }

    fn set_up(&mut self) -> Result<String, String> {
        let mut command = program("/usr/sbin/setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs", "--bounding-set=-all"]);
        command.args(["/usr/bin/homepost", "init", "--data"]).arg(self.at(MAIL)).args(["--from", "-"]);
        let asked = File::open(self.boot(ASKED)).map_err(|error| error.to_string())?;
        command.stdin(asked).stdout(Stdio::piped()).stderr(Stdio::piped());
        sentences(&command.output().map_err(|error| error.to_string())?)
    }

    fn answer(&mut self, words: &str) -> io::Result<()> {
        fs::write(self.boot(TOLD), format!("{words}\r\n"))?;
        self.sync_boot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::process::ExitStatusExt;

    fn root() -> (tempfile::TempDir, Real) {
        let folder = tempfile::tempdir().unwrap();
        let real = Real { root: folder.path().to_owned() };
        for path in [STATE, BOOT, "dev", "proc/self", "sys/dev/block", "sys/class/block", "data", "etc"] {
            fs::create_dir_all(real.at(path)).unwrap();
        }
        for path in ["dev/console", "dev/kmsg"] {
            fs::write(real.at(path), "").unwrap();
        }
        (folder, real)
    }

    #[test]
    fn the_data_partition_is_described_as_the_kernel_has_it() {
        let (_folder, mut real) = root();
        assert_eq!(real.place().unwrap(), None);
        let disk = real.at("sys/devices/pci/mmcblk0");
        for (number, name) in [(2, "homepost-a"), (4, "homepost-data")] {
            let part = disk.join(format!("mmcblk0p{number}"));
            fs::create_dir_all(&part).unwrap();
            let facts = format!("MAJOR=179\nDEVNAME=mmcblk0p{number}\nPARTN={number}\nPARTNAME={name}\n");
            for (file, text) in [
                ("uevent", facts.as_str()),
                ("partition", &format!("{number}\n")),
                ("start", "2048\n"),
                ("size", "77\n"),
            ] {
                fs::write(part.join(file), text).unwrap();
            }
            symlink(&part, real.at("sys/class/block").join(format!("mmcblk0p{number}"))).unwrap();
        }
        fs::write(disk.join("size"), "99999\n").unwrap();
        symlink(disk.join("mmcblk0p2"), real.at("sys/dev/block/179:2")).unwrap();
        fs::write(real.at("proc/self/mountinfo"), "20 1 179:2 / / ro - squashfs /dev/root ro\n").unwrap();
        let place = real.place().unwrap().unwrap();
        assert_eq!((place.name.as_str(), place.disk.as_str()), ("mmcblk0p4", "mmcblk0"));
        assert_eq!((place.number, place.start, place.size, place.disk_size), (4, 2048, 77, 99_999));
        fs::write(disk.join("mmcblk0p4/size"), "x").unwrap();
        assert!(real.place().is_err());
    }

    #[test]
    fn a_wish_counts_when_it_is_whole() {
        let (_folder, mut real) = root();
        assert_eq!(real.wish().unwrap(), Wish::None);
        for (text, wish) in [("", Wish::Torn), ("1", Wish::Whole), ("1\n", Wish::Whole), ("\0\0", Wish::Torn)] {
            fs::write(real.boot(WISH), text).unwrap();
            assert_eq!(real.wish().unwrap(), wish, "{text:?}");
        }
        real.touch_wish().unwrap();
        assert_eq!(fs::read(real.boot(WISH)).unwrap(), b"\0\0");
        real.remove_wish().unwrap();
        assert_eq!(real.wish().unwrap(), Wish::None);
        assert!(real.touch_wish().is_err() && real.remove_wish().is_err());
    }

    #[test]
    fn a_secret_is_gone_and_the_answer_lies_beside() {
        let (folder, mut real) = root();
        fs::write(real.boot(ASKED), "password = \"secret\"").unwrap();
        fs::hard_link(real.boot(ASKED), folder.path().join("other")).unwrap();
        assert!(real.is_asked().unwrap());
        real.forget(ASKED).unwrap();
        real.forget(ASKED).unwrap();
        assert!(!real.is_asked().unwrap());
        assert!(fs::read(folder.path().join("other")).unwrap().iter().all(|byte| *byte == 0));
        real.answer("It is done.").unwrap();
        assert_eq!(fs::read_to_string(real.boot(TOLD)).unwrap(), "It is done.\r\n");
    }

    #[test]
    fn what_is_set_up_is_told_from_what_was_begun() {
        let (_folder, mut real) = root();
        assert!(!real.is_set_up().unwrap());
        fs::create_dir_all(real.at("data/mail/setup")).unwrap();
        fs::write(real.at("data/mail/setup/state.json"), "{}").unwrap();
        fs::write(real.at("data/mail/settings.toml"), "").unwrap();
        assert!(!real.is_set_up().unwrap());
        fs::remove_file(real.at("data/mail/setup/state.json")).unwrap();
        assert!(real.is_set_up().unwrap());
    }

    #[test]
    fn what_set_up_said_becomes_sentences() {
        let output = |code: i32, stdout: &str, stderr: &str| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        assert_eq!(
            sentences(&output(0, "/data/mail is set up for a.test.\nOpen it.\n", "")),
            Ok("homepost is set up for a.test. Open it.".to_owned())
        );
        assert_eq!(sentences(&output(1, "", "homepost: no domain.\nmore\n")), Err("no domain".to_owned()));
        assert_eq!(sentences(&output(9, "", "")), Err("it ended without a word".to_owned()));
    }

    #[test]
    fn what_is_told_lies_where_the_others_look() {
        let (_folder, mut real) = root();
        let state = |name: &str| fs::read_to_string(real.at(STATE).join(name)).unwrap_or_default();
        let mut other = Real { root: real.root.clone() };
        other.tell(To::Problem, "It is broken.");
        other.tell(To::Notice, "It is odd.");
        other.tell(To::Notice, "It is old.");
        other.begins(Step::Grow);
        assert_eq!(
            (state("problem"), state("notice"), state("step")),
            (
                "It is broken.\n".to_owned(),
                "It is odd. It is old.\n".to_owned(),
                format!("{}\n", Step::Grow.sentence())
            )
        );
        real.tell(To::Console, "hello");
        assert_eq!(fs::read_to_string(real.at("dev/console")).unwrap(), "homepost: hello\n");
    }

    #[test]
    fn how_a_program_ended_is_heard() {
        assert!(worked(&mut program("true")).is_ok());
        assert!(worked(&mut program("false")).is_err());
        assert!(worked(&mut program("there-is-no-such-program")).is_err());
        // As e2fsck(8) has it; who was killed repaired nothing.
        let ended: Vec<i32> = (0..256).filter(|code| repaired(ExitStatus::from_raw(code << 8))).collect();
        assert_eq!(ended, [0, 1, 2, 3]);
        assert!(!repaired(ExitStatus::from_raw(9)));
        assert!(is_protected(Errno::ACCESS) && is_protected(Errno::ROFS) && !is_protected(Errno::IO));
    }
}
