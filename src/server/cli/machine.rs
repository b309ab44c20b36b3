use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use crate::appliance::machine::{self, Real, SOCKET, door, start};
use crate::appliance::sandbox;

/// Do to the box what the mail service may not, when it asks (init starts this as root)
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where the mail service asks
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// Who may ask besides root: the user of the mail service, by name or number
    #[arg(long, value_name = "USER", default_value = "homepost")]
    user: String,
    /// Make the data partition of a box ready and do what lies on its boot partition, and nothing else (init does this first)
    #[arg(long, hide = true)]
    start: bool,
}

impl Args {
    /// Does not come back, unless it cannot begin.
    pub fn run(&self) -> Result<(), String> {
        if self.start {
            let served = start::run(&mut start::Real::default());
            return if served { Ok(()) } else { Err("no mail can be served".to_owned()) };
        }
        let user = machine::user(&self.user)?;
        if !machine::leave_network() {
            warn!("this process has a network, and may not leave it; it opens no socket there");
        }
        let listener = open(&self.socket, user)?;
        // Before any thread is started (X1).
        let report = sandbox::machine();
        info!("{} is open; given up: {}", self.socket.display(), report.done.join(", "));
        for missing in report.missing {
            warn!("not given up: {missing}");
        }
        let machine = Real::new(user);
        machine.begin();
        door::serve(&listener, user, Arc::new(machine))
    }
}

fn open(socket: &Path, user: u32) -> Result<std::os::unix::net::UnixListener, String> {
    door::open(socket, user).map_err(|error| format!("{}: {error}", socket.display()))
}
