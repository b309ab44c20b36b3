//! The two processes together, as real ones: `homepost box` asks `serve`, and that asks `homepost machine`.
//!
//! Nothing here restarts anything: `homepost machine` would tell init of the machine that the tests run on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homepost::base::{Clock, SystemClock};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn homepost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homepost"));
    command.env("HOMEPOST_DATA", folder.join("data")).env("HOMEPOST_MACHINE", socket(folder));
    command.env_remove("HOMEPOST_LOG");
    command
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("run/machine.sock")
}

/// `homepost machine`, with this test as its mail service.
fn machine(folder: &Path) -> Ended {
    let own = rustix::process::geteuid().as_raw().to_string();
    fs::create_dir_all(folder.join("run")).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = homepost(folder);
    command.args(["machine", "--user", &own, "--socket"]).arg(socket(folder));
    let child = Ended(command.stderr(log).stdin(Stdio::null()).spawn().unwrap());
    let clock = SystemClock::new();
    while !fs::read_to_string(folder.join("log")).unwrap().contains("is open") {
        assert!(clock.mono().0 < 60_000, "{}", fs::read_to_string(folder.join("log")).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn asked(folder: &Path, words: &[&str]) -> (bool, String) {
    let out = homepost(folder).args(words).output().unwrap();
    (out.status.success(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

fn field(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut rows = text.lines().filter_map(|line| line.split_once(":\t"));
    rows.find(|(key, _)| *key == name).unwrap().1.to_owned()
}

#[test]
fn off_the_box_serve_runs_alone_and_says_so_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    for words in [&["box"][..], &["box", "reboot"], &["box", "power-off"]] {
        let (ok, text) = asked(folder.path(), words);
        assert!(!ok && text.contains("this is not a homepost box"), "{text}");
    }
    let (ok, text) = asked(folder.path(), &["box", "mount"]);
    assert!(!ok && text.contains("unrecognized subcommand"), "{text}");
}

#[test]
fn the_machine_answers_the_sandboxed_mail_service() {
    let folder = tempfile::tempdir().unwrap();
    let first = machine(folder.path());
    // An empty folder: the box is asked for before there is a household, too.
    let mut serve = homepost(folder.path());
    let mut child = Ended(
        serve
            .args(["serve", "--bind", "127.0.0.1", "--port-offset", "30000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("is empty"), "{line}");
    let (ok, text) = asked(folder.path(), &["box", "--json"]);
    assert!(ok, "{text}");
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime_seconds"].as_u64().unwrap() > 0);
    // The machine left, its socket stayed.
    drop(first);
    let (ok, text) = asked(folder.path(), &["box"]);
    assert!(!ok && text.contains("does not answer"), "{text}");
    // It comes back, as init would have it, and serve finds it.
    let _again = machine(folder.path());
    let (ok, text) = asked(folder.path(), &["box"]);
    assert!(ok && text.contains("version"), "{text}");
}

#[test]
fn the_machine_itself_gave_up_what_its_verbs_do_not_need() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    let pid = machine.0.id();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(field(pid, "NoNewPrivs"), "1");
    if log.contains("system calls are not restricted") {
        eprintln!("skipped: this kernel cannot restrict system calls");
    } else {
        assert_eq!(field(pid, "Seccomp"), "2", "{log}");
    }
    // CAP_SYS_TIME, CAP_SYS_ADMIN (mounts), CAP_DAC_READ_SEARCH (an update that the mail service put down)
    let needed = 1 << 25 | 1 << 21 | 1 << 2;
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&field(pid, set), 16).unwrap() & !needed, 0, "{set}");
    }
    if log.contains("has a network") {
        eprintln!("skipped: this user may not leave the network");
        return;
    }
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(network(&pid.to_string()), network("self"));
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    assert_eq!(table.lines().count(), 3, "two lines of head and lo:\n{table}");
}
