use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::appliance::machine::{Client, Machine};
use crate::appliance::update::{Keys, MOST_BYTES, Package, keys};

use super::super::folder::Folder;
use super::super::update;
use super::super::verbs::Request;

/// The box's own updates
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// How it stands with updates
    Status,
    /// Look whether there is a newer version: at update.url of the settings, and on a stick labelled HOMEPOST
    Check,
    /// What was found when somebody looked last
    List,
    /// Have the running server put an update on this box, and restart into it: a file, or what was found
    Install {
        file: Option<PathBuf>,
        /// Of what was found, another than the newest
        #[arg(long, conflicts_with = "file")]
        version: Option<String>,
    },
    /// What is in an update file, and whether it is whole and signed
    Inspect {
        file: PathBuf,
        /// Whom to believe, instead of whom this system believes
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
}

/// A list of keys longer than this is none.
const KEYS_BYTES: u64 = 64 * 1024;

impl Args {
    /// What the server is asked, for the commands that are its; `None`: for [`Args::run`].
    pub fn request(&self) -> Option<Request> {
        match &self.what {
            What::Check => Some(Request::UpdateCheck),
            What::List => Some(Request::UpdateList),
            What::Install { file: None, version } => Some(Request::UpdateInstall { version: version.clone() }),
            _ => None,
        }
    }

    /// Words for people and for programs.
    pub fn run(&self, folder: Option<&Folder>) -> Result<(String, Value), String> {
        let folder = || folder.ok_or_else(|| "which data folder? Say --data DIR, or set HOMEPOST_DATA.".to_owned());
        match &self.what {
            What::Status => status(folder()?),
            What::Check | What::List | What::Install { file: None, .. } => Err("nothing was done".to_owned()),
            What::Install { file: Some(file), .. } => {
                let folder = folder()?;
                Client::new().status().map_err(|error| error.to_string())?;
                update::offer(folder, file, MOST_BYTES)?;
                Ok((
                    "The update is being looked at; `homepost update status` says what becomes of it.\n".to_owned(),
                    Value::Null,
                ))
            }
            What::Inspect { file, keys } => inspect(file, keys.as_ref()),
        }
    }
}

fn status(folder: &Folder) -> Result<(String, Value), String> {
    let status = Client::new().status().map_err(|error| error.to_string())?;
    let said = update::said(folder);
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    let on_trial = if status.on_trial() { ", on trial" } else { "" };
    line("version", &format!("{}{on_trial}", status.version));
    if let Some(step) = status.update.step {
        line("now", &format!("{} {} %", step.sentence(), status.update.percent));
    }
    if let Some(ready) = status.update.ready {
        line("ready", &format!("{ready}, tried at the next start"));
    }
    if let Some(said) = &said {
        line("last", &said.words);
    }
    let json =
        json!({ "version": status.version, "on_trial": status.on_trial(), "update": status.update, "last": said });
    Ok((text, json))
}

fn inspect(file: &Path, list: Option<&PathBuf>) -> Result<(String, Value), String> {
    let list = list.cloned().unwrap_or_else(|| Path::new("/").join(keys::FILE));
    let mut text = String::new();
    open(&list)?.take(KEYS_BYTES).read_to_string(&mut text).map_err(|error| about(&list, &error))?;
    let keys = Keys::read(&text).map_err(|refusal| refusal.to_string())?;
    let package = Package::open(BufReader::new(open(file)?), &keys).map_err(|refusal| refusal.to_string())?;
    let signer = package.signer.clone();
    let manifest = package.copy(|_| Ok(())).map_err(|refusal| refusal.to_string())?;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("version", &manifest.version.to_string());
    line("board", &manifest.board);
    line("from", &format!("{} and later", manifest.minimum));
    line("size", &format!("{} MB", manifest.bytes.div_ceil(1_000_000)));
    line("signed", &format!("with {signer}"));
    let json = json!({
        "version": manifest.version, "board": manifest.board, "minimum": manifest.minimum, "built": manifest.built,
        "bytes": manifest.bytes, "signer": signer,
    });
    Ok((text, json))
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
