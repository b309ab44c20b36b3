use clap::Subcommand;

use super::super::verbs::Request;

/// Mail that is still to be sent
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every letter and who has yet to get it
    List,
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::List => Request::QueueList,
        }
    }
}
