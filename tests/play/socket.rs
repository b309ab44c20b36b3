//! The real binary, over TCP and TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::script::Script;
use super::talk::{HOST, Quiet, Stage, Talk};
use super::tls;
use super::world::settings_text;

/// As in `machine.rs`: only what hangs gets here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server process of its own, with a data folder of its own.
pub struct Server {
    child: Child,
    offset: u16,
    tls: Arc<ClientConfig>,
    _folder: tempfile::TempDir,
}

fn homepost(words: &[&str], folder: &Path, input: &str) -> Result<(), String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_homepost"))
        .args(words)
        .arg("--data")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output().map_err(|error| error.to_string())?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("homepost {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr))),
    }
}

impl Server {
    pub fn start(script: &Script) -> Result<Server, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data = folder.path().join("data");
        let (first, others) = script.accounts.split_first().ok_or("no account")?;
        let init =
            ["init", "--hostname", HOST, "--domain", "example.test", "--admin", &first.address, "--password-stdin"];
        homepost(&init, &data, &format!("{}\n", first.password))?;
        for domain in &script.domains {
            homepost(&["domain", "add", domain], &data, "")?;
        }
        for account in others {
            homepost(
                &["account", "add", &account.address, "--password-stdin"],
                &data,
                &format!("{}\n", account.password),
            )?;
        }
        for account in &script.accounts {
            if let Some(quota) = account.quota {
                homepost(&["account", "quota", &account.address, &quota.to_string()], &data, "")?;
            }
        }
        for (address, targets) in &script.aliases {
            let mut words = vec!["alias", "add", address.as_str()];
            words.extend(targets.iter().map(String::as_str));
            homepost(&words, &data, "")?;
        }
        std::fs::write(data.join("settings.toml"), settings_text(script)).map_err(|error| error.to_string())?;
        let tls = tls::config(rustls::ALL_VERSIONS);
        for _ in 0..20 {
            let offset = free_offset()?;
            let mut child = serve(&data, offset, &folder.path().join("log"))?;
            if ready(&mut child, &data)? {
                return Ok(Server { child, offset, tls, _folder: folder });
            }
            // Another process took a port between looking and listening.
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        Err(format!("the server does not start: {log}"))
    }
}

fn serve(data: &Path, offset: u16, log: &PathBuf) -> Result<Child, String> {
    let log = std::fs::File::create(log).map_err(|error| error.to_string())?;
    Command::new(env!("CARGO_BIN_EXE_homepost"))
        .args(["serve", "--bind", "127.0.0.1", "--port-offset", &offset.to_string(), "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())
}

/// False when it ended instead.
fn ready(child: &mut Child, data: &Path) -> Result<bool, String> {
    for _ in 0..3_000 {
        if data.join("ready").exists() {
            return Ok(true);
        }
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    Err("the server is not ready after half a minute".into())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An offset at which none of our ports is taken; each is tried by one test process only once.
fn free_offset() -> Result<u16, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 11_000 + (std::process::id() % 40) as u16 * 1_000;
    for _ in 0..400 {
        // 25 and 143, 465, 587, 993 of neighbours do not meet.
        let offset = base + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        let free = [25, 143, 465, 587, 993].iter().all(|port| TcpListener::bind(("127.0.0.1", offset + port)).is_ok());
        if free {
            return Ok(offset);
        }
    }
    Err("no free ports".into())
}

impl Stage for Server {
    fn open(&mut self, listener: &str) -> Result<Box<dyn Talk>, String> {
        let (port, implicit) = match listener {
            "smtp" => (25, false),
            "submissions" => (465, true),
            "submission" => (587, false),
            "imaps" => (993, true),
            "imap" => (143, false),
            other => return Err(format!("no listener `{other}`")),
        };
        let stream = TcpStream::connect(("127.0.0.1", self.offset + port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut client = Client { wire: Wire::Plain(stream), read: Vec::new(), tls: self.tls.clone() };
        if implicit {
            client.start_tls()?;
        }
        Ok(Box::new(client))
    }

    fn wait(&mut self, _: u64) -> Result<(), String> {
        Err("time cannot be moved over sockets".into())
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

struct Client {
    wire: Wire,
    read: Vec<u8>,
    tls: Arc<ClientConfig>,
}

impl Client {
    fn socket(&self) -> Option<&TcpStream> {
        match &self.wire {
            Wire::Plain(stream) => Some(stream),
            Wire::Tls(stream) => Some(&stream.sock),
            Wire::Gone => None,
        }
    }

    /// Reads on until `enough` says how many bytes to take.
    fn take(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> Result<Vec<u8>, Quiet> {
        loop {
            if let Some(length) = enough(&self.read) {
                return Ok(self.read.drain(..length).collect());
            }
            let mut buffer = [0u8; 16 * 1024];
            let got = match &mut self.wire {
                Wire::Plain(stream) => stream.read(&mut buffer),
                Wire::Tls(stream) => stream.read(&mut buffer),
                Wire::Gone => Ok(0),
            };
            match got {
                Ok(0) => return Err(Quiet::Closed(std::mem::take(&mut self.read))),
                Ok(n) => self.read.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return Err(Quiet::Silent(std::mem::take(&mut self.read)));
                }
                Err(_) => return Err(Quiet::Closed(std::mem::take(&mut self.read))),
            }
        }
    }
}

impl Talk for Client {
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        // What a closed connection has to say is read, not heard when writing.
        let _ = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Gone => Ok(()),
        };
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>, Quiet> {
        self.take(|read| read.iter().position(|b| *b == b'\n').map(|at| at + 1))
    }

    fn exact(&mut self, length: usize) -> Result<Vec<u8>, Quiet> {
        self.take(|read| (read.len() >= length).then_some(length))
    }

    fn unread(&mut self) -> Vec<u8> {
        // What is there already; what is still on its way is found by the next thing that is read.
        if let Some(socket) = self.socket() {
            let _ = socket.set_read_timeout(Some(Duration::from_millis(1)));
        }
        let rest = match self.take(|_| None) {
            Err(Quiet::Closed(rest) | Quiet::Silent(rest)) => rest,
            Ok(rest) => rest,
        };
        if let Some(socket) = self.socket() {
            let _ = socket.set_read_timeout(Some(PATIENCE));
        }
        rest
    }

    fn start_tls(&mut self) -> Result<(), String> {
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err("TLS is up already".into());
        };
        let name = ServerName::try_from(HOST).map_err(|error| error.to_string())?;
        let session = ClientConnection::new(self.tls.clone(), name).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| format!("TLS: {error}"))?;
        }
        self.wire = Wire::Tls(Box::new(stream));
        Ok(())
    }

    fn close(&mut self) {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        if let Some(socket) = self.socket() {
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
    }
}
