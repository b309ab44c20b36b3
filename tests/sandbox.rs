//! What a process gave up is tried: each act once without the sandbox, where it works, and once within, where it is refused
//! or is the end of the process. Then the real server is looked at from outside.
//!
//! Each act runs in a process of its own: this same program, told by [`ACT`] what to do.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use homepost::appliance::sandbox;
use homepost::base::{Clock, SystemClock};

const ACT: &str = "HOMEPOST_TEST_ACT";
const WITHIN: &str = "HOMEPOST_TEST_WITHIN";
const FOLDER: &str = "HOMEPOST_TEST_FOLDER";

/// What became of an act.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Worked,
    Refused,
    /// By the kernel, for a system call.
    Killed,
}
use End::{Killed, Refused, Worked};

/// The other side of [`run`]; without an act there is nothing to do.
#[test]
fn act() {
    let (Ok(act), Ok(within), Ok(folder)) = (std::env::var(ACT), std::env::var(WITHIN), std::env::var(FOLDER)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let (tell, told) = std::sync::mpsc::channel();
    let (done, ended) = std::sync::mpsc::channel();
    let early = act.clone();
    let beside = folder.clone();
    std::thread::spawn(move || {
        if told.recv().is_ok() {
            let _ = done.send(perform(early.trim_start_matches("early "), &beside));
        }
    });
    let report = match within.as_str() {
        "serve" => sandbox::serve(&folder.join("data"), &[]),
        "machine" => sandbox::machine(),
        _ => sandbox::Report::default(),
    };
    for missing in report.missing {
        println!("\nMISSING {missing}");
    }
    let done = match act.split_once(' ') {
        Some(("early", _)) => {
            tell.send(()).unwrap();
            ended.recv().unwrap()
        }
        Some(("late", act)) => {
            let (act, folder) = (act.to_owned(), folder.clone());
            std::thread::spawn(move || perform(&act, &folder)).join().unwrap()
        }
        _ => perform(&act, &folder),
    };
    println!("\nACT {}", if done { "worked" } else { "refused" });
}

/// Whether it worked.
#[allow(unsafe_code)] // there is no safe way to do what must not be done
fn perform(act: &str, folder: &Path) -> bool {
    let outside = folder.join("outside");
    match act {
        "read in the folder" => fs::read(folder.join("data/letter")).is_ok(),
        "write in the folder" => {
            let new = folder.join("data/new");
            fs::write(&new, "x").is_ok() && fs::rename(&new, folder.join("data/sub/newer")).is_ok()
        }
        "read outside" => fs::read(outside.join("letter")).is_ok(),
        "list outside" => fs::read_dir(&outside).is_ok(),
        "write outside" => fs::write(outside.join("letter"), "x").is_ok(),
        "make outside" => fs::create_dir(outside.join("new")).is_ok(),
        "remove outside" => fs::remove_file(outside.join("letter")).is_ok(),
        "read the system's files" => fs::read("/etc/passwd").is_ok(),
        "read how names are looked up" => fs::read("/etc/resolv.conf").is_ok(),
        "read how much memory there is" => fs::read("/proc/meminfo").is_ok(),
        "random bytes" => fs::File::open("/dev/urandom").is_ok(),
        "start a thread" => std::thread::spawn(|| 1).join().is_ok(),
        "start a program" => Command::new("/bin/true").status().is_ok_and(|status| status.success()),
        "become a program" => {
            let _ = Command::new("/bin/true").exec();
            false
        }
        "give a file away" => std::os::unix::fs::chown(folder.join("data/letter"), Some(1), None).is_ok(),
        "listen on the network" => std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
        "listen on a path" => std::os::unix::net::UnixListener::bind(folder.join("data/s")).is_ok(),
        "fork" => match unsafe { libc::fork() } {
            0 => unsafe { libc::_exit(0) },
            pid => pid > 0 && unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } == pid,
        },
        "run data" => unsafe {
            let both = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), 4096, both, flags, -1, 0) != libc::MAP_FAILED
        },
        // What matters of these is that the process ends: as root they would work, and as nobody they do no harm.
        "look into a process" => called(unsafe { libc::ptrace(libc::PTRACE_CONT, 0, 0, 0) }),
        "mount" => called(unsafe { libc::mount(c"x".as_ptr(), c"/".as_ptr(), c"x".as_ptr(), 0, std::ptr::null()) }),
        "change who we are" => called(unsafe { libc::setuid(libc::getuid()) }),
        "a key" => called(unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) }),
        "a program for the kernel" => called(unsafe { libc::syscall(libc::SYS_bpf, 99, 0, 0) }),
        "a module for the kernel" => called(unsafe { libc::syscall(libc::SYS_delete_module, c"".as_ptr(), 0) }),
        "faults in user space" => called(unsafe { libc::syscall(libc::SYS_userfaultfd, -1) }),
        "the clock" => called(unsafe { libc::syscall(libc::SYS_clock_settime, 9999, 0) }),
        _ => panic!("unknown act: {act}"),
    }
}

/// The call came back, with whatever.
fn called<T>(_: T) -> bool {
    true
}

/// What becomes of `act` within a sandbox ("serve", "machine"), or without one (""). `None`, with a word, where this
/// kernel cannot have the sandbox.
fn run(act: &str, within: &str) -> Option<End> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data/sub", "outside"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for name in ["data/letter", "outside/letter"] {
        fs::write(folder.path().join(name), "letter").unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "act", "--nocapture", "--test-threads=1"]);
    let out = command.env(ACT, act).env(WITHIN, within).env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let mut missing = text.lines().filter_map(|line| line.strip_prefix("MISSING "));
    if let Some(missing) = missing.next() {
        eprintln!("skipped, since it cannot be had here: {missing}");
        return None;
    }
    Some(end(act, &out, &text))
}

fn end(act: &str, out: &Output, text: &str) -> End {
    if out.status.signal() == Some(libc::SIGSYS) {
        return Killed;
    }
    assert!(out.status.success(), "{act}: {out:?}");
    match text.lines().find_map(|line| line.strip_prefix("ACT ")) {
        Some("worked") => Worked,
        Some("refused") => Refused,
        // /bin/true took the place of the test.
        None if act.ends_with("become a program") => Worked,
        _ => panic!("{act}: {out:?}"),
    }
}

#[track_caller]
fn only_within(within: &str, act: &str, end: End) {
    assert_eq!(run(act, ""), Some(Worked), "without a sandbox: {act}");
    if let Some(found) = run(act, within) {
        assert_eq!(found, end, "within: {act}");
    }
}

#[test]
fn serve_can_do_what_a_mail_server_does() {
    for act in [
        "read in the folder",
        "write in the folder",
        "read how names are looked up",
        "read how much memory there is",
        "random bytes",
        "start a thread",
        "listen on the network",
        "listen on a path",
    ] {
        if let Some(found) = run(act, "serve") {
            assert_eq!(found, Worked, "{act}");
        }
    }
}

#[test]
fn serve_reaches_no_file_outside_its_folder() {
    for act in ["read outside", "list outside", "write outside", "make outside", "remove outside"] {
        only_within("serve", act, Refused);
    }
    only_within("serve", "read the system's files", Refused);
    // X1: also on a thread that was started later.
    only_within("serve", "late read outside", Refused);
}

#[test]
fn serve_starts_nothing_and_runs_no_data() {
    only_within("serve", "start a program", Refused);
    only_within("serve", "fork", Refused);
    only_within("serve", "run data", Refused);
}

#[test]
fn serve_ends_at_what_only_an_intruder_would_do() {
    for act in [
        "become a program",
        "look into a process",
        "mount",
        "change who we are",
        "a key",
        "a program for the kernel",
        "a module for the kernel",
        "faults in user space",
        "the clock",
    ] {
        only_within("serve", act, Killed);
    }
    // X1: on every thread, whether it was started before or after.
    only_within("serve", "early look into a process", Killed);
    only_within("serve", "late look into a process", Killed);
}

#[test]
fn root_is_not_root_any_more() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root has powers to lose");
        return;
    }
    only_within("serve", "give a file away", Refused);
    only_within("machine", "give a file away", Refused);
}

#[test]
fn machine_has_no_network_and_starts_nothing() {
    only_within("machine", "listen on the network", Refused);
    only_within("machine", "fork", Refused);
    only_within("machine", "become a program", Killed);
    only_within("machine", "look into a process", Killed);
    only_within("machine", "a module for the kernel", Killed);
    // It mounts slots, the boot partition and sticks.
    for act in ["listen on a path", "start a thread", "read outside", "the clock", "mount"] {
        assert_ne!(run(act, "machine"), Some(Killed), "{act}");
    }
}

// ---- the real server, from outside

struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut init = homepost(folder.path());
        init.args(["init", "--hostname", "mail.example.test", "--domain", "example.test"]);
        init.args(["--admin", "alice@example.test", "--password-stdin"]).stdin(Stdio::piped());
        let mut child = init.stdout(Stdio::null()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "correct horse 7").unwrap();
        assert!(child.wait().unwrap().success());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut serve = homepost(folder.path());
        serve.args(["serve", "--bind", "127.0.0.1", "--port-offset"]).arg(free_offset().to_string());
        let mut child = serve.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = Server { child, folder };
        assert_eq!(line, "ready\n", "{}", server.log());
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Reads the settings and the certificate again; gives what the log says of it.
    fn reload(&self) -> String {
        let before = self.log();
        let sent = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let clock = SystemClock::new();
        loop {
            let log = self.log()[before.len()..].to_owned();
            if log.contains("reloaded") || clock.mono().0 > 60_000 {
                return log;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn homepost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homepost"));
    command.arg("--data").arg(folder.join("data")).env_remove("HOMEPOST_LOG");
    command
}

/// An offset at which the ports are free.
fn free_offset() -> u16 {
    for _ in 0..100 {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = probe.local_addr().unwrap().port();
        let offset = base.checked_sub(25).filter(|offset| offset.checked_add(993).is_some());
        let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if let Some(offset) = offset.filter(|offset| [465, 587, 993].iter().all(|port| free(offset + port))) {
            return offset;
        }
    }
    panic!("no free ports");
}

fn status(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| line.split_once(":\t")).map(|(key, value)| (key.into(), value.into())).collect()
}

#[test]
fn every_thread_of_the_server_gave_up_the_same() {
    let server = Server::start();
    let log = server.log();
    let tasks: Vec<_> = fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap().collect();
    assert!(tasks.len() > 3, "{tasks:?}");
    for task in tasks {
        let status = status(&task.unwrap().path().join("status"));
        let name = &status["Name"];
        assert_eq!(status["NoNewPrivs"], "1", "{name}");
        if log.contains("system calls are not restricted") {
            eprintln!("skipped: this kernel cannot restrict system calls");
        } else {
            assert_eq!(status["Seccomp"], "2", "{name}: {log}");
        }
        let low_ports = 1 << 10;
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status[set], 16).unwrap() & !low_ports, 0, "{name}: {set}");
        }
    }
}

/// The one thing that a server reads from a path of somebody's choice, if a link leads it there.
#[test]
fn a_certificate_that_is_a_link_out_of_the_folder_is_not_read() {
    let server = Server::start();
    if server.log().contains("not given up: this kernel") {
        eprintln!("skipped: this kernel has no Landlock");
        return;
    }
    let log = server.reload();
    assert!(!log.contains("certificate"), "{log}");
    let certificate = server.folder.path().join("data/tls/cert.pem");
    let inside = server.folder.path().join("data/tls/other.pem");
    fs::rename(&certificate, &inside).unwrap();
    std::os::unix::fs::symlink(&inside, &certificate).unwrap();
    let log = server.reload();
    assert!(!log.contains("certificate"), "within the folder a link is as good as a file: {log}");
    fs::remove_file(&certificate).unwrap();
    let outside = server.folder.path().join("cert.pem");
    fs::rename(&inside, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &certificate).unwrap();
    let log = server.reload();
    assert!(log.contains("the certificate stays as it is"), "{log}");
    assert!(log.contains("Permission denied"), "{log}");
}
