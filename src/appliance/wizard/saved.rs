//! What is kept between answers: one versioned value, JSON, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Code, Piece, Sent, Step};

/// Older ones are read; each that ever was is a fixture of the tests.
const VERSION: u32 = 1;
/// A larger value was not written by us.
const BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    New,
    Restore,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    pub name: String,
    pub address: String,
    /// BLAKE3 of the recovery sheet's words, hex: 80 bits of randomness need no slow hash. Empty before there is a sheet.
    pub sheet: String,
    /// Two of its words were typed back.
    pub confirmed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    Own { name: String, host: String },
    HouseOnly,
}

impl Domain {
    /// The server's whole name.
    pub fn server(&self) -> Option<String> {
        match self {
            Domain::Own { name, host } => Some(format!("{host}.{name}")),
            Domain::HouseOnly => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub name: String,
    pub address: String,
}

/// What came of the line test, in words; which measurements it rests on stands beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// As on the page: "Direct in, relay out".
    pub verdict: String,
    pub headline: String,
    pub advice: String,
    /// What was measured: a question, how it came out (`done`, `wait`, `need`, `bad`), and the words for it.
    pub measured: Vec<(String, String, String)>,
    pub at: i64,
    /// How the world saw us.
    #[serde(default)]
    pub address: Option<String>,
    /// It was another one before.
    #[serde(default)]
    pub changed: bool,
}

/// How something that a job does ended without success, and when it may be tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub why: String,
    pub next: String,
    /// This version cannot do it: nothing to try again.
    pub not_yet: bool,
    /// How often in a row.
    pub times: u32,
}

/// Everything that an unfinished set-up is. Fields that other versions have are passed over: after an update that did not
/// last, the older one goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    version: u32,
    pub code: Code,
    /// How often the code was changed because of wrong tries.
    pub changed: u32,
    /// Wrong tries since the code is what it is (W4).
    pub wrong: u32,
    pub language: Option<String>,
    pub zone: Option<String>,
    /// The code was typed once.
    pub coded: bool,
    pub origin: Option<Origin>,
    pub admin: Option<Admin>,
    pub line: Option<Line>,
    pub existing: Option<(String, super::Existing)>,
    pub domain: Option<Domain>,
    pub records: Vec<Piece>,
    /// What was found of somebody else's beside them: paragraphs.
    #[serde(default)]
    pub advice: Vec<String>,
    /// Seconds since 1970.
    pub looked: Option<i64>,
    /// Letters there were when the ports opened, and when the first came after that.
    pub letter: Option<i64>,
    /// The last that was sent out to try it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<Sent>,
    pub people: Vec<Person>,
    /// What was put off.
    pub later: BTreeSet<Step>,
    /// What was asked for and has not ended: asked again after a restart.
    pub asked: BTreeSet<Step>,
    pub trouble: BTreeMap<Step, Trouble>,
    pub finished: bool,
}

impl Saved {
    pub fn new(code: Code) -> Saved {
        Saved {
            version: VERSION,
            code,
            changed: 0,
            wrong: 0,
            language: None,
            zone: None,
            coded: false,
            origin: None,
            admin: None,
            line: None,
            existing: None,
            domain: None,
            records: Vec::new(),
            advice: Vec::new(),
            looked: None,
            letter: None,
            out: None,
            people: Vec::new(),
            later: BTreeSet::new(),
            asked: BTreeSet::new(),
            trouble: BTreeMap::new(),
            finished: false,
        }
    }

    /// Errors: not ours, damaged, or of a newer version.
    pub fn read(bytes: &[u8]) -> Result<Saved, String> {
        if bytes.len() > BYTES {
            return Err("the state of the set-up is too large".to_owned());
        }
        let saved: Saved = serde_json::from_slice(bytes)
            .map_err(|error| format!("the state of the set-up cannot be read: {error}"))?;
        if saved.version != VERSION {
            return Err(format!(
                "the state of the set-up is of version {}, which this homepost does not know",
                saved.version
            ));
        }
        Ok(saved)
    }

    pub fn write(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: there is nothing that could not be written.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}
