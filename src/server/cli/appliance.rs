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
}

impl Args {
    pub fn request(self) -> Request {
        let what = match self.what {
            None | Some(What::Status) => AboutBox::Status,
            Some(What::Reboot) => AboutBox::Reboot,
            Some(What::PowerOff) => AboutBox::PowerOff,
        };
        Request::Box { what }
    }
}
