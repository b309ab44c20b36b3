use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::verbs::{Request, Secret};
use super::password;

/// Set up a data folder: stores, keys, a self-signed certificate, the domain, the first account
#[derive(clap::Args)]
pub(super) struct Args {
    /// The name the server goes by, as in mail.example.org
    #[arg(long, value_name = "NAME", required_unless_present = "from")]
    hostname: Option<String>,
    /// The domain it takes mail for, as in example.org
    #[arg(long, value_name = "DOMAIN", required_unless_present = "from")]
    domain: Option<String>,
    /// The first account, which may change everything
    #[arg(long, value_name = "EMAIL", required_unless_present = "from")]
    admin: Option<String>,
    /// The administrator's name, as in "Anna Smith"
    #[arg(long)]
    name: Option<String>,
    /// Read the password from standard input, one line
    #[arg(long, required_unless_present = "from")]
    password_stdin: bool,
    /// Take all answers of the set-up from a file instead, lines like domain = "example.org" (README.md lists them all); "-" is
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hostname", "domain", "admin", "name", "password_stdin"])]
    from: Option<PathBuf>,
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        if let Some(path) = self.from {
            return Ok(Request::InitFrom { text: Secret(read(&path)?) });
        }
        let (Some(hostname), Some(domain), Some(admin)) = (self.hostname, self.domain, self.admin) else {
            return Err("a host name, a domain and an administrator are needed".to_owned());
        };
        Ok(Request::Init { hostname, domain, admin, name: self.name, password: password()? })
    }
}

/// The text of a `homepost.toml`, which the set-up reads.
fn read(path: &Path) -> Result<String, String> {
    const LIMIT: u64 = 64 * 1024;
    let fault = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        std::io::stdin().lock().take(LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).map_err(fault)?.take(LIMIT).read_to_string(&mut text)
    };
    taken.map_err(fault)?;
    Ok(text)
}
