//! A household of its own for a test, set up and served by the binary alone, as its owner would.

#![allow(dead_code)] // each test file uses its own part of this

pub mod tls;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub const PASSWORD: &str = "correct horse 7";

pub struct Home {
    pub dir: TempDir,
    /// What HOMEPOST_LOG says to whatever runs here.
    pub level: Option<&'static str>,
}

impl Home {
    pub fn empty() -> Home {
        Home { dir: tempfile::tempdir().unwrap(), level: None }
    }

    pub fn set_up() -> Home {
        let home = Home::empty();
        let out = home.init();
        assert!(out.status.success(), "{}", err(&out));
        home
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn init(&self) -> Output {
        let args =
            "init --hostname mail.example.test --domain example.test --admin alice@example.test --password-stdin";
        self.run_with(args, PASSWORD)
    }

    pub fn run(&self, args: &str) -> Output {
        self.run_with(args, "")
    }

    /// Runs `homepost`, its arguments split at spaces, and says `input` on its stdin.
    pub fn run_with(&self, args: &str, input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = writeln!(child.stdin.take().unwrap(), "{input}"); // who does not read it has said why
        child.wait_with_output().unwrap()
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homepost"));
        command.args(args.split(' ')).arg("--data").arg(self.data()).env_remove("HOMEPOST_DATA");
        if let Some(level) = self.level {
            command.env("HOMEPOST_LOG", level);
        }
        command
    }

    pub fn json(&self, args: &str) -> Value {
        let out = self.run(&format!("{args} --json"));
        assert!(out.status.success(), "{args}: {}", err(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    pub fn ok(&self, args: &str) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args}: {}", err(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    pub fn fails(&self, args: &str) -> String {
        let out = self.run_with(args, "another good one 8");
        assert_eq!(out.status.code(), Some(1), "{args}: {out:?}");
        err(&out)
    }

    pub fn serve(&self) -> Server {
        Server::start(self, free_offset())
    }
}

/// Ends with the test, whatever happens to it.
pub struct Server {
    pub child: Child,
    lines: BufReader<std::process::ChildStdout>,
    pub offset: u16,
    log: PathBuf,
}

impl Server {
    pub fn start(home: &Home, offset: u16) -> Server {
        let log = home.dir.path().join("log");
        let mut command = home.command(&format!("serve --bind 127.0.0.1 --port-offset {offset}"));
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Server { child, lines, offset, log }
    }

    pub fn ready(mut self) -> Server {
        let line = self.line();
        if line != "ready\n" {
            panic!("{line}{}", self.log());
        }
        self
    }

    /// The same, after whatever it says before.
    pub fn until_ready(mut self) -> Server {
        loop {
            match self.line().as_str() {
                "ready\n" => return self,
                "" => panic!("it ended\n{}", self.log()),
                _ => {}
            }
        }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged this. A server that never does ends this by its test's time-out.
    pub fn logged(&self, words: &str) {
        for _ in 0..6000 {
            if self.log().contains(words) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("never logged `{words}`: {}", self.log());
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM; gives the exit status.
    pub fn end(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().unwrap().code()
    }

    pub fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", port + self.offset))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports of ours that nobody else uses now, in this process or beside it.
pub fn free_offset() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let offset = 20_000 + (std::process::id() % 97) as u16 * 400 + n % 50 * 8;
        let all = [25, 80, 143, 443, 465, 587, 993];
        if all.iter().all(|port| TcpListener::bind(("127.0.0.1", port + offset)).is_ok()) {
            return offset;
        }
    }
}

pub fn err(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}
