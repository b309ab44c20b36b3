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

/// Longer than the answers of the largest family.
const LIMIT: u64 = 64 * 1024;

/// The text of a `homepost.toml`, which the set-up reads.
fn read(path: &Path) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        whole(std::io::stdin().lock(), &mut text)
    } else {
        whole(std::fs::File::open(path).map_err(fault)?, &mut text)
    };
    match taken.map_err(fault)? {
        true => Ok(text),
        false => Err(format!("{} is longer than {} KiB, and no answers of a set-up are", path.display(), LIMIT >> 10)),
    }
}

/// `false`: there is more of it. Half of a file could be another file.
fn whole(from: impl Read, text: &mut String) -> std::io::Result<bool> {
    let mut bytes = Vec::new();
    from.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Ok(false);
    }
    text.push_str(std::str::from_utf8(&bytes).map_err(|_| std::io::Error::other("it is no text in UTF-8"))?);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("homepost.toml");
        let most = usize::try_from(LIMIT).unwrap();
        std::fs::write(&path, vec![b'#'; most]).unwrap();
        assert_eq!(read(&path).unwrap().len(), most);
        std::fs::write(&path, vec![b'#'; most + 1]).unwrap();
        assert!(read(&path).unwrap_err().contains("longer than 64 KiB"));
        std::fs::write(&path, b"name = \"\xff\"").unwrap();
        assert!(read(&path).unwrap_err().contains("UTF-8"));
    }
}
