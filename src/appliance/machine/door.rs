//! The socket through which the mail service asks the machine.
//!
//! It belongs to the user of the mail service, 0600, so that nobody else can connect; who connects is looked at besides
//! (A2). One request and one reply for a connection, as JSON (`net::local`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::net::local::{self, Limits};

use super::{Machine, answer};

const LIMITS: Limits = Limits { request_bytes: 64 * 1024, patience: Duration::from_secs(10), at_once: 8 };

/// Makes the socket, in place of one that a dead process left. Only `user` (and root) can connect to it.
pub fn open(socket: &Path, user: u32) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // 0600 from the first moment on, by the process's umask.
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    chown(socket, Some(user), None)?;
    Ok(listener)
}

/// Answers for ever.
pub fn serve(listener: &UnixListener, user: u32, machine: Arc<dyn Machine>) -> ! {
    let may = move |uid: u32| {
        let may = uid == 0 || uid == user;
        if !may {
            warn!(uid, "another user's process asked");
        }
        may
    };
    local::serve(listener, LIMITS, may, move |request| {
        let reply = answer(&*machine, &request);
        // What was asked is on the list, or not worth repeating; it holds no secret but what `show` shows.
        match serde_json::from_slice(&request) {
            Ok(super::Request::Status | super::Request::Sticks {} | super::Request::OpenStick {}) => {}
            Ok(super::Request::Show { .. }) => info!("show: {}", word(&reply)),
            Ok(request) => info!("{request:?}: {}", word(&reply)),
            Err(_) => info!("something that is not on the list: refused"),
        }
        serde_json::to_vec(&reply).unwrap_or_default()
    })
}

fn word(reply: &super::Reply) -> &str {
    match reply {
        super::Reply::Done | super::Reply::Version(_) | super::Reply::Status(_) | super::Reply::Sticks(_) => "done",
        super::Reply::Refused(words) | super::Reply::Failed(words) => words,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    use super::super::{Client, Error, Fake, Status};
    use super::*;
    use crate::base::Time;

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn opened(user: u32) -> (tempfile::TempDir, PathBuf, Arc<Fake>) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let socket = folder.path().join("machine.sock");
        let listener = open(&socket, user).unwrap();
        let fake = Arc::new(Fake::default());
        let machine = fake.clone();
        std::thread::spawn(move || serve(&listener, user, machine));
        (folder, socket, fake)
    }

    #[test]
    fn the_client_has_it_done_on_the_other_side() {
        let (_folder, socket, fake) = opened(own());
        let client = Client::at(&socket);
        let status = Status { slot: Some("a".to_owned()), clock_trusted: true, ..Status::default() };
        fake.set_status(status.clone());
        assert_eq!(client.status(), Ok(status));
        client.set_clock(Time::from_seconds(5)).unwrap();
        client.show(&["a".to_owned()]).unwrap();
        client.refresh_firewall().unwrap();
        client.reboot().unwrap();
        client.power_off().unwrap();
        assert_eq!(fake.acts().len(), 5);
    }

    #[test]
    fn without_a_box_the_client_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Client::at(folder.path().join("none/sock")).status(), Err(Error::NoBox));
        // A socket that nobody listens on any more is a box in trouble.
        let socket = folder.path().join("dead");
        drop(UnixListener::bind(&socket).unwrap());
        assert!(matches!(Client::at(&socket).status(), Err(Error::Failed(_))));
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_is_its_users_only() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        drop(open(&socket, own()).unwrap());
        drop(open(&socket, own()).unwrap());
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn bad_frames_are_let_go_and_do_nothing() {
        let (_folder, socket, fake) = opened(own());
        for frame in [&[0xff; 4][..], &[0, 1, 0, 1], b"GET / HTTP/1.0\r\n\r\n"] {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(frame).unwrap();
            // Closed, or reset since bytes of ours were not read.
            assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "{frame:?}");
        }
        assert_eq!(fake.acts(), []);
        assert!(Client::at(&socket).status().is_ok());
    }

    /// A2, both halves: another user cannot connect; and if the modes let it, it is not heard.
    #[test]
    fn another_user_is_not_heard() {
        if own() != 0 {
            eprintln!("skipped: only root can be another user");
            return;
        }
        let (folder, socket, fake) = opened(991);
        let ask = |uid: &str| {
            let script = "import socket, struct, sys\n\
                          s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect(sys.argv[1])\n\
                          b = b'{\"verb\":\"reboot\"}'; s.sendall(struct.pack('>I', len(b)) + b); print(b''.join(iter(lambda: s.recv(100), b'')))";
            let mut words = std::process::Command::new("setpriv");
            words
                .args(["--reuid", uid, "--clear-groups", "/usr/bin/python3", "-c", script])
                .arg(&socket)
                .output()
                .unwrap()
        };
        let text = |out: &std::process::Output| format!("{}{}", out.status, String::from_utf8_lossy(&out.stdout));
        let stranger = ask("992");
        assert!(!stranger.status.success(), "{}", text(&stranger));
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
        let stranger = ask("992");
        assert!(!text(&stranger).contains("done"), "{}", text(&stranger));
        assert_eq!(fake.acts(), [], "A2");
        let user = ask("991");
        assert!(text(&user).contains("done"), "{}", text(&user));
        assert_eq!(fake.acts().len(), 1);
        drop(folder);
    }
}
