//! Every setting defined once: name, type, default, help, check. `settings.toml` in the data folder.
//!
//! [`table`] is the one list; reading, checking, the default file, the reference text and the typed [`Settings`] are all
//! derived from it. Accounts, domains and keys are data, not settings (DESIGN section 7).
//!
//! Does not know: who reads a setting, sockets, mail.
//!
//! Invariants, cited by tests:
//! - T1: a file that was accepted gives every setting a value within its bounds; one that was not says each thing that is
//!   wrong, with its line, its key and what would be right.
//! - T2: an edit leaves every other line of the file as it was, and never leaves a file behind that would not be accepted.
//! - T3: after any cut the file is the old one or the new one, whole.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub mod edit;
mod help;
mod nearest;
mod read;
mod table;
mod value;
mod values;

pub use help::{default_file, reference};
pub use table::{
    Acme, Checks, DNS_METHODS, Def, Dns, DomainRelay, ImapLimits, Kind, Line, LoginLimits, Relay, ReportsSent,
    SECTIONS, Section, Sending, SmtpLimits, StoreLimits, Strangers, Updates, is_relay_name,
};
pub use value::Value;

/// Whether this may stand there.
pub fn fits(key: &str, value: impl Into<Value>) -> bool {
    read::check(key, &value.into()).is_ok()
}

/// The file's name in the data folder.
pub const FILE: &str = "settings.toml";

/// A larger file than this was not written by a person, and is not read.
const FILE_BYTES: u64 = 1024 * 1024;

/// All settings, each within its bounds (T1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name the server goes by, lower case, in A-labels.
    pub hostname: String,
    /// In which times are shown, as `Europe/Berlin`; empty: universal time.
    pub time_zone: String,
    /// Of the household, as `de`; empty for none.
    pub language: String,
    pub listeners: Listeners,
    pub acme: Acme,
    /// `testing`, `enforce` or `none` (RFC 8461 5).
    pub mta_sts_mode: String,
    pub checks: Checks,
    pub strangers: Strangers,
    pub dns: Dns,
    pub relay: Relay,
    /// By their names.
    pub relays: Vec<DomainRelay>,
    pub sending: Sending,
    pub reports: ReportsSent,
    pub update: table::Updates,
    pub line: Line,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub smtp: SmtpLimits,
    pub imap: ImapLimits,
    pub login: LoginLimits,
    pub store: StoreLimits,
}

/// The doors that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Mail from other servers, STARTTLS.
    Smtp,
    /// Submission, TLS from the first byte.
    Submissions,
    /// Submission, STARTTLS.
    Submission,
    /// IMAP, TLS from the first byte.
    Imaps,
    /// IMAP, STARTTLS.
    Imap,
    /// HTTP over TLS, and the challenges of an authority.
    Https,
}

impl Name {
    pub const ALL: [Name; 6] = [Name::Smtp, Name::Submissions, Name::Submission, Name::Imaps, Name::Imap, Name::Https];

    /// As written in the file: `smtp`, `submissions`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Name::Smtp => "smtp",
            Name::Submissions => "submissions",
            Name::Submission => "submission",
            Name::Imaps => "imaps",
            Name::Imap => "imap",
            Name::Https => "https",
        }
    }

    /// Whether TLS starts with the first byte.
    pub fn implicit_tls(self) -> bool {
        matches!(self, Name::Submissions | Name::Imaps | Name::Https)
    }

    /// The key of its switch, for [`edit::set`].
    pub fn switch_key(self) -> String {
        format!("listeners.{}.on", self.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Name {
    type Err = String;

    /// Errors: a sentence that names the nearest listener.
    fn from_str(text: &str) -> Result<Name, String> {
        Name::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let names = Name::ALL.map(Name::as_str);
            match nearest::nearest(text, names) {
                Some(near) => format!("`{text}` is not a listener; did you mean `{near}`?"),
                None => format!("`{text}` is not a listener; there are {}", names.join(", ")),
            }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub on: bool,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listeners {
    pub smtp: Listener,
    pub submissions: Listener,
    pub submission: Listener,
    pub imaps: Listener,
    pub imap: Listener,
    pub https: Listener,
}

impl Listeners {
    pub fn get(&self, name: Name) -> Listener {
        match name {
            Name::Smtp => self.smtp,
            Name::Submissions => self.submissions,
            Name::Submission => self.submission,
            Name::Imaps => self.imaps,
            Name::Imap => self.imap,
            Name::Https => self.https,
        }
    }

    /// Each with its name, in the order of [`Name::ALL`].
    pub fn all(&self) -> [(Name, Listener); 6] {
        Name::ALL.map(|name| (name, self.get(name)))
    }
}

/// One thing that is wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; `None` when what is wrong is that something is not there.
    pub line: Option<usize>,
    /// As in `limits.smtp.message_size`; empty when the file as a whole cannot be read.
    pub key: String,
    /// A sentence: what is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{FILE} line {line}: {}", self.what),
            None => write!(f, "{FILE}: {}", self.what),
        }
    }
}

/// Why settings could not be read or changed.
#[derive(Debug)]
pub enum Error {
    /// There is no such file: the folder was never set up.
    Missing(PathBuf),
    Io(PathBuf, io::Error),
    Wrong(Vec<Problem>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(path) => write!(f, "{} does not exist; `homepost init` makes it", path.display()),
            Error::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Error::Wrong(problems) => {
                for (n, problem) in problems.iter().enumerate() {
                    if n > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

impl Settings {
    /// Reads the text of a settings file. Errors: everything that is wrong, in the order of the lines.
    pub fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
        read::settings(text)
    }

    /// Reads `settings.toml` in the data folder.
    pub fn load(folder: &Path) -> Result<Settings, Error> {
        Settings::parse(&load_text(folder)?).map_err(Error::Wrong)
    }

    /// What a new file for this host name says. Errors: the host name cannot be used.
    pub fn new(hostname: &str) -> Result<Settings, Vec<Problem>> {
        Settings::parse(&default_file(hostname))
    }
}

fn load_text(folder: &Path) -> Result<String, Error> {
    let path = folder.join(FILE);
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing(path)),
        Err(error) => return Err(Error::Io(path, error)),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(FILE_BYTES + 1).read_to_end(&mut bytes) {
        return Err(Error::Io(path, error));
    }
    if bytes.len() as u64 > FILE_BYTES {
        let what = format!("the file is longer than {FILE_BYTES} bytes");
        return Err(Error::Wrong(vec![Problem { line: None, key: String::new(), what }]));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        let what = "this line is not UTF-8 text; save the file as UTF-8".to_owned();
        Error::Wrong(vec![Problem { line: Some(line), key: String::new(), what }])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_never_set_up_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Settings::load(folder.path()), Err(Error::Missing(_))));
    }

    #[test]
    fn a_file_in_another_encoding_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), b"# caf\xc3\xa9\nhostname = \"caf\xe9.test\"\n").unwrap();
        let error = Settings::load(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("settings.toml line 2: "), "{error}");
    }

    #[test]
    fn a_listener_misspelt_is_answered_with_the_nearest() {
        assert_eq!("imaps".parse(), Ok(Name::Imaps));
        assert_eq!("imap s".parse::<Name>(), Err("`imap s` is not a listener; did you mean `imaps`?".to_owned()));
        assert!("pop".parse::<Name>().unwrap_err().contains("there are smtp, submissions"));
    }
}
