//! The machine, seen from the mail service: every verb goes over the socket.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::Time;
use crate::net::local;

use super::{Error, Machine, Reply, Request, SOCKET, Status, Stick};

const REPLY_BYTES: u32 = 256 * 1024;
/// For a verb to be done.
const PATIENCE: Duration = Duration::from_secs(30);
/// A slow stick takes its time to be emptied, and to be closed.
const STICK_PATIENCE: Duration = Duration::from_secs(300);

/// Asks `homepost machine`, anew each time: it may come, go and come back. It blocks for [`PATIENCE`] at most, or
/// [`STICK_PATIENCE`].
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Where the socket is on a box, unless HOMEPOST_MACHINE names another.
    pub fn new() -> Client {
        let socket = std::env::var_os("HOMEPOST_MACHINE").map_or_else(|| PathBuf::from(SOCKET), PathBuf::from);
        Client { socket }
    }

    pub fn at(socket: impl Into<PathBuf>) -> Client {
        Client { socket: socket.into() }
    }

    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        // On a box that has just started the folder is there before the socket is.
        let no_box = || !self.socket.parent().is_some_and(Path::is_dir);
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound if no_box() => Error::NoBox,
            ErrorKind::UnexpectedEof | ErrorKind::PermissionDenied | ErrorKind::ConnectionReset => {
                Error::Failed(format!("the machine's own service does not listen to this user ({error})"))
            }
            _ => Error::Failed(format!("the machine's own service does not answer: {error}")),
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        let patience = match request {
            // What is asked of slow media, and must not be thought to have failed while it goes on.
            Request::OpenStick {} | Request::CloseStick {} | Request::PrepareStick { .. } | Request::Erase {} => {
                STICK_PATIENCE
            }
            _ => PATIENCE,
        };
        stream.set_read_timeout(Some(patience)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let request = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        let reply = local::ask(&mut stream, &request, REPLY_BYTES).map_err(failed)?;
        serde_json::from_slice(&reply).map_err(|error| failed(error.into()))
    }

    fn have_done(&self, request: &Request) -> Result<(), Error> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(not_done(other)),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}

fn not_done(reply: Reply) -> Error {
    match reply {
        Reply::Refused(words) => Error::Refused(words),
        Reply::Failed(words) => Error::Failed(words),
        Reply::Done | Reply::Version(_) | Reply::Status(_) | Reply::Sticks(_) => {
            Error::Failed("the machine's own service is of another version".to_owned())
        }
    }
}

impl Machine for Client {
    fn status(&self) -> Result<Status, Error> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(*status),
            other => Err(not_done(other)),
        }
    }

    fn set_clock(&self, to: Time) -> Result<(), Error> {
        self.have_done(&Request::SetClock { seconds: to.seconds() })
    }

    fn reboot(&self) -> Result<(), Error> {
        self.have_done(&Request::Reboot)
    }

    fn power_off(&self) -> Result<(), Error> {
        self.have_done(&Request::PowerOff)
    }

    fn show(&self, lines: &[String]) -> Result<(), Error> {
        self.have_done(&Request::Show { lines: lines.to_vec() })
    }

    fn refresh_firewall(&self) -> Result<(), Error> {
        self.have_done(&Request::RefreshFirewall)
    }

    fn check_update(&self) -> Result<String, Error> {
        match self.ask(&Request::CheckUpdate {})? {
            Reply::Version(version) => Ok(version),
            other => Err(not_done(other)),
        }
    }

    fn sticks(&self) -> Result<Vec<Stick>, Error> {
        match self.ask(&Request::Sticks {})? {
            Reply::Sticks(sticks) => Ok(sticks),
            other => Err(not_done(other)),
        }
    }

    fn write_update(&self) -> Result<(), Error> {
        self.have_done(&Request::WriteUpdate {})
    }

    fn confirm_slot(&self) -> Result<(), Error> {
        self.have_done(&Request::ConfirmSlot {})
    }

    fn abandon_update(&self) -> Result<(), Error> {
        self.have_done(&Request::AbandonUpdate {})
    }

    fn open_stick(&self) -> Result<(), Error> {
        self.have_done(&Request::OpenStick {})
    }

    fn close_stick(&self) -> Result<(), Error> {
        self.have_done(&Request::CloseStick {})
    }

    fn prepare_stick(&self, insertion: u64) -> Result<(), Error> {
        self.have_done(&Request::PrepareStick { insertion })
    }

    fn erase(&self) -> Result<(), Error> {
        self.have_done(&Request::Erase {})
    }
}
