use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

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
    /// Read all four from a file instead, lines like hostname = "mail.example.org" (hostname, domain, admin, password, and name if you like);
    /// "-" is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hostname", "domain", "admin", "name", "password_stdin"])]
    from: Option<PathBuf>,
}

/// What `homepost.toml` says, the file that sets up a box without a screen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    hostname: String,
    domain: String,
    admin: String,
    name: Option<String>,
    password: String,
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        if let Some(path) = self.from {
            let said = read(&path)?;
            let password = Secret(said.password.clone());
            let Said { hostname, domain, admin, name, .. } = said;
            return Ok(Request::Init { hostname, domain, admin, name, password });
        }
        let (Some(hostname), Some(domain), Some(admin)) = (self.hostname, self.domain, self.admin) else {
            return Err("a host name, a domain and an administrator are needed".to_owned());
        };
        Ok(Request::Init { hostname, domain, admin, name: self.name, password: password()? })
    }
}

fn read(path: &Path) -> Result<Said, String> {
    const LIMIT: u64 = 64 * 1024;
    let fault = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        std::io::stdin().lock().take(LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).map_err(fault)?.take(LIMIT).read_to_string(&mut text)
    };
    taken.map_err(fault)?;
    said(&text)
}

/// The error says where and what, and never quotes the file: the line may be the one with the password.
fn said(text: &str) -> Result<Said, String> {
    let said: Said = toml::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
        format!("line {line}: {}", error.message())
    })?;
    if said.password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "hostname = \"mail.example.test\"\r\ndomain = \"example.test\"\r\nadmin = \
                        \"alice@example.test\"\r\npassword = \"correct horse 7\"\r\n";

    fn wrong(text: &str) -> String {
        match said(text) {
            Ok(_) => String::new(),
            Err(words) => words,
        }
    }

    #[test]
    fn a_file_from_any_editor_is_read() {
        for text in [GOOD.to_owned(), format!("\u{feff}{GOOD}"), GOOD.replace("\r\n", "\n")] {
            let said = said(&text).unwrap();
            assert_eq!((said.hostname.as_str(), said.password.as_str()), ("mail.example.test", "correct horse 7"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_password() {
        assert!(wrong(&GOOD.replace("admin", "amdin")).contains("unknown field `amdin`"));
        assert!(wrong(&GOOD.replace("domain =", "# domain =")).contains("missing field `domain`"));
        assert!(wrong(&GOOD.replace("correct horse 7", "")).contains("empty"));
        let torn = wrong(&GOOD.replace("horse 7\"", "horse 7"));
        assert!(torn.starts_with("line 4:") && !torn.contains("horse"), "{torn}");
    }
}
