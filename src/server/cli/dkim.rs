use clap::Subcommand;

use super::super::verbs::Request;

/// The keys that letters are signed with
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every key, and how far it is
    List { domain: Option<String> },
    /// New keys for a domain: they sign as soon as their records are seen in the DNS, and the old records stay for twelve days
    Rotate { domain: String },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::List { domain } => Request::DkimList { domain },
            What::Rotate { domain } => Request::DkimRotate { domain },
        }
    }
}
