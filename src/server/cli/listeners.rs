use clap::Subcommand;

use super::super::verbs::Request;

/// The ports that are open; with on or off, opens or closes one
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Open a port
    On { name: String },
    /// Close a port
    Off { name: String },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            None => Request::Listeners,
            Some(What::On { name }) => Request::ListenersSwitch { name, on: true },
            Some(What::Off { name }) => Request::ListenersSwitch { name, on: false },
        }
    }
}
