use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::super::verbs::{Request, Secret};
use super::secret;

/// Certificates: those from an authority, and your own
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every certificate: names, issuer, until when, next renewal, last problem
    List,
    /// Order now what is due or has failed
    Renew {
        /// Only for this name
        name: Option<String>,
        /// Also what is not due
        #[arg(long)]
        force: bool,
    },
    /// Use a certificate of your own
    Import {
        /// The certificate and what leads to its root, PEM
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// Its key, PEM, without a password
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Remove an imported certificate
    Remove { name: String },
    /// The account with the authority; with a key id, keep the key that binds it to yours (EAB)
    Account {
        /// As the authority gave it; its key is read from standard input, one line
        #[arg(long, value_name = "ID")]
        eab_key_id: Option<String>,
    },
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        Ok(match self.what {
            What::List => Request::CertList,
            What::Renew { name, force } => Request::CertRenew { name, force },
            What::Import { chain, key } => Request::CertImport { chain: read(&chain)?, key: Secret(read(&key)?) },
            What::Remove { name } => Request::CertRemove { name },
            What::Account { eab_key_id: None } => Request::CertAccount { binding: None },
            What::Account { eab_key_id: Some(id) } => Request::CertAccount { binding: Some((id, secret("key")?)) },
        })
    }
}

/// A request has 64 KiB, and both files and their quoting have to fit.
fn read(path: &Path) -> Result<String, String> {
    const LIMIT: u64 = 24 * 1024;
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    std::fs::File::open(path).map_err(fault)?.take(LIMIT + 1).read_to_string(&mut text).map_err(fault)?;
    if text.len() as u64 > LIMIT {
        return Err(format!("{} is longer than a certificate chain", path.display()));
    }
    Ok(text)
}
