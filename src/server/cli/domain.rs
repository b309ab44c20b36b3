use clap::Subcommand;

use super::super::verbs::Request;

/// Domains that mail is taken for
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Take mail for a domain
    Add { domain: String },
    /// Every domain
    List,
    /// Take no more mail for a domain without addresses
    Delete { domain: String },
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::Add { domain } => Request::DomainAdd { domain },
            What::List => Request::DomainList,
            What::Delete { domain } => Request::DomainDelete { domain },
        }
    }
}
