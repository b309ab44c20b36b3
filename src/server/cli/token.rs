use clap::Subcommand;

use super::super::verbs::Request;

/// Tokens by which programs reach the interface under /api (made on the administration's page)
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every token, without what it says itself
    List,
    /// End a token
    Delete { id: u32 },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::List => Request::TokenList,
            What::Delete { id } => Request::TokenDelete { id },
        }
    }
}
