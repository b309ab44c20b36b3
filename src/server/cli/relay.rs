use clap::Subcommand;

use super::super::verbs::Request;
use super::password;

/// Servers of somebody else's that letters leave through
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every relay of the settings, and what it takes
    List,
    /// Keep the password for a relay, from standard input, one line
    Password {
        /// As its section is called: office for [relays.office]; without it the one for everything, [relay]
        name: Option<String>,
    },
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        Ok(match self.what {
            What::List => Request::RelayList,
            What::Password { name } => Request::RelayPassword { name, password: password()? },
        })
    }
}
