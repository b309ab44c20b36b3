use super::super::verbs::Request;
use super::{Stdin, password};

/// Set up a data folder: stores, keys, a self-signed certificate, the domain, the first account
#[derive(clap::Args)]
pub(super) struct Args {
    /// The name the server goes by, as in mail.example.org
    #[arg(long, value_name = "NAME")]
    hostname: String,
    /// The domain it takes mail for, as in example.org
    #[arg(long, value_name = "DOMAIN")]
    domain: String,
    /// The first account, which may change everything
    #[arg(long, value_name = "EMAIL")]
    admin: String,
    #[command(flatten)]
    _stdin: Stdin,
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        let password = password()?;
        Ok(Request::Init { hostname: self.hostname, domain: self.domain, admin: self.admin, password })
    }
}
