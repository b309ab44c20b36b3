//! Load generator of the benchmarks: SMTP and IMAP clients that cost little enough not to be what is measured.
//!
//! usage: `load COMMAND --key value …`, one JSON object on standard output. `bench.py` runs it against homepost and its
//! peers in turn; by hand: `cargo run --release --example load -- smtp --addr 127.0.0.1:10025 --rcpt alice@example.test`.

mod corpus;
mod imap;
mod smtp;
mod store;
mod wire;

use std::collections::HashMap;

/// The arguments, as `--key value`.
pub struct Args(HashMap<String, String>);

impl Args {
    fn read(words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut map = HashMap::new();
        let mut words = words;
        while let Some(word) = words.next() {
            let key = word.strip_prefix("--").ok_or_else(|| format!("expected --key, not {word}"))?.to_owned();
            let value = words.next().ok_or_else(|| format!("--{key} needs a value"))?;
            map.insert(key, value);
        }
        Ok(Args(map))
    }

    pub fn text(&self, key: &str) -> Result<&str, String> {
        self.0.get(key).map(String::as_str).ok_or_else(|| format!("--{key} is missing"))
    }

    pub fn text_or<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.0.get(key).map_or(default, String::as_str)
    }

    pub fn number(&self, key: &str, default: u64) -> Result<u64, String> {
        match self.0.get(key) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("--{key} takes a number, not {value}")),
        }
    }
}

/// The value at a share (0.0 to 1.0) of the sorted samples.
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    samples.sort_by(f64::total_cmp);
    let at = ((samples.len() - 1) as f64 * share).round() as usize;
    samples[at.min(samples.len() - 1)]
}

fn main() {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = Args::read(words).and_then(|args| {
        runtime.block_on(async {
            match command.as_str() {
                "smtp" => smtp::run(&args).await,
                "imap" => imap::run(&args).await,
                "append" => imap::append(&args).await,
                "notify" => imap::notify(&args).await,
                "hold" => imap::hold(&args).await,
                "store" => store::run(&args),
                other => Err(format!("unknown command {other}: smtp, imap, append, notify, hold, store")),
            }
        })
    });
    match outcome {
        Ok(json) => println!("{json}"),
        Err(error) => {
            eprintln!("load: {error}");
            std::process::exit(1);
        }
    }
}
