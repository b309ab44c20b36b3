use clap::Subcommand;

use super::super::verbs::{AboutBox, Request};

/// What the box is and how it does; restart it, or switch it off
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// What it is and how it does
    Status,
    /// Restart it
    Reboot,
    /// Switch it off
    PowerOff,
    /// Make it as new: letters, people, settings and keys are overwritten and deleted, and nobody can bring them back
    Erase {
        /// Yes, everything
        #[arg(long, required = true)]
        yes: bool,
    },
}

impl Args {
    pub fn request(self) -> Request {
        let what = match self.what {
            None | Some(What::Status) => AboutBox::Status,
            Some(What::Reboot) => AboutBox::Reboot,
            Some(What::PowerOff) => AboutBox::PowerOff,
            Some(What::Erase { .. }) => AboutBox::Erase,
        };
        Request::Box { what }
    }
}
