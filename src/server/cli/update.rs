use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::appliance::update::{Keys, Package, keys};

/// The box's own updates
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
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
    /// Words for people and for programs.
    pub fn inspect(&self) -> Result<(String, Value), String> {
        let What::Inspect { file, keys: list } = &self.what;
        let list = list.clone().unwrap_or_else(|| Path::new("/").join(keys::FILE));
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
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
