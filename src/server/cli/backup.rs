use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use crate::appliance::backup::Sheet;
use crate::appliance::words;
use crate::base::{OsRandom, Random};

use super::super::verbs::{Request, Secret};
use super::secret;

/// Backups: of everything, encrypted, in any folder
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a backup in a folder, in homepost-backup; only what is new since the last one is written
    Create {
        folder: PathBuf,
        /// Only settings, people and keys, no letters
        #[arg(long)]
        configuration: bool,
    },
    /// The backups in a folder
    List { folder: PathBuf },
    /// Read all of them again; exit status 0 only if everything is as it was written
    Verify {
        folder: PathBuf,
        #[command(flatten)]
        opened: Opened,
    },
    /// Put the newest backup back, into a data folder that is empty or not set up
    Restore {
        folder: PathBuf,
        #[command(flatten)]
        opened: Opened,
    },
    /// Back up to the stick in the box now; with a stick in, that goes on by itself every hour
    Now,
    /// When the last backup to a stick was made and read back, and whether the stick can be pulled out
    Status,
    /// Empty the stick in the box, and make it one for backups
    Prepare {
        /// Everything on the stick may go
        #[arg(long, required = true)]
        empty: bool,
    },
    /// Make a new recovery sheet: ten words that open the backups and replace a forgotten pass phrase, shown once
    Key {
        /// Have a pass phrase open them as well: read it from standard input, one line
        #[arg(long)]
        phrase_stdin: bool,
    },
}

#[derive(clap::Args)]
struct Opened {
    /// Read the words of the recovery sheet, or the pass phrase, from standard input, one line
    #[arg(long)]
    secret_stdin: bool,
    /// The same from a file
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    secret_file: Option<PathBuf>,
    /// Of which box, where there are several
    #[arg(long = "box", value_name = "ID")]
    box_id: Option<String>,
}

/// 80 bits, as on the sheet of the set-up.
const WORDS: usize = 10;

impl Args {
    pub fn request(self) -> Result<Request, String> {
        Ok(match self.what {
            What::Create { folder, configuration } => Request::BackupCreate { to: absolute(&folder)?, configuration },
            What::Now => Request::BackupNow,
            What::Status => Request::BackupStatus,
            What::Prepare { .. } => Request::BackupPrepare,
            What::List { folder } => Request::BackupList { from: absolute(&folder)? },
            What::Verify { folder, opened } => {
                let secret = opened.secret()?;
                Request::BackupVerify { from: absolute(&folder)?, box_id: opened.box_id, secret }
            }
            What::Restore { folder, opened } => {
                let words =
                    "the words of the recovery sheet or the pass phrase are needed: --secret-stdin, or --secret-file";
                let secret = opened.secret()?.ok_or(words)?;
                Request::BackupRestore { from: absolute(&folder)?, box_id: opened.box_id, secret }
            }
            What::Key { phrase_stdin: true } => Request::BackupKey { phrase: true, secret: secret("pass phrase")? },
            What::Key { phrase_stdin: false } => {
                let mut bytes = [0; WORDS];
                OsRandom.fill(&mut bytes);
                Request::BackupKey { phrase: false, secret: Secret(words::of(&bytes).join(" ")) }
            }
        })
    }
}

impl Opened {
    fn secret(&self) -> Result<Option<Secret>, String> {
        if self.secret_stdin {
            return secret("secret").map(Some);
        }
        let Some(path) = &self.secret_file else { return Ok(None) };
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() || text.len() > 4096 {
            return Err(format!("{}: one line is expected, and it is not there", path.display()));
        }
        Ok(Some(Secret(line.to_owned())))
    }
}

/// Who runs it may have another working folder.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// New words, for whoever asked for them; the server never says them. Whether there were any.
pub(super) fn show_words(request: &Request, json: bool) -> io::Result<bool> {
    let Request::BackupKey { phrase: false, secret } = request else { return Ok(false) };
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{:#}", json!({ "sheet": Sheet::Words.kind(), "words": secret.0 }))?,
        false => writeln!(out, "\n  {}\n", secret.0)?,
    }
    out.flush()?;
    Ok(true)
}
