use clap::Subcommand;

use super::super::verbs::Request;

/// Addresses whose mail goes to other addresses
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an alias; @DOMAIN catches what no other address of the domain takes
    Add {
        alias: String,
        /// Where its mail goes
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// Every alias
    List,
    /// Delete an alias
    Delete { alias: String },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::Add { alias, targets } => Request::AliasAdd { alias, targets },
            What::List => Request::AliasList,
            What::Delete { alias } => Request::AliasDelete { alias },
        }
    }
}
