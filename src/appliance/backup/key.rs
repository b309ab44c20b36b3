//! The box's key, and how it gets out of sealed copies.

use crate::appliance::words;
use crate::base::Random;
use crate::store::disk::Disk;

use super::age::{self, Identity, Key, Seal};
use super::{Error, archive, file};

/// What was typed: words of the recovery sheet or a pass phrase. It has no `Debug`.
#[derive(Clone)]
pub struct Secret(pub String);

/// What a copy of the key is sealed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sheet {
    /// The words of the recovery sheet, typed in any way that the words can be told from each other.
    Words,
    /// A pass phrase, as it was chosen.
    Phrase,
}

impl Sheet {
    pub fn kind(self) -> &'static str {
        match self {
            Sheet::Words => "words",
            Sheet::Phrase => "phrase",
        }
    }
}

/// All that a box has of keys for its backups. It has no `Debug`.
#[derive(Clone)]
pub struct Keys {
    /// 16 hexadecimal digits.
    pub box_id: String,
    pub identity: Identity,
    /// The key file, sealed.
    pub words: Option<Vec<u8>>,
    pub phrase: Option<Vec<u8>>,
}

impl Keys {
    pub fn new(random: &dyn Random) -> Keys {
        Keys { box_id: format!("{:016x}", random.u64()), identity: Identity::new(random), words: None, phrase: None }
    }

    /// Whether this may be the name of a box's folder.
    pub fn is_box_id(text: &str) -> bool {
        text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
    }

    /// The key, sealed so that `age -d` with this secret gives a key file. Takes a second on a small box.
    pub fn seal(&self, sheet: Sheet, secret: &Secret, random: &dyn Random) -> Result<Vec<u8>, Error> {
        Ok(age::seal(self.file().as_bytes(), &Seal::Phrase(&typed(sheet, secret)), random)?)
    }

    /// As `age -i` takes it.
    fn file(&self) -> String {
        format!("# the key of homepost's backups of box {}\n{}\n", self.box_id, self.identity.text())
    }

    pub fn copy(&self, sheet: Sheet) -> Option<&[u8]> {
        match sheet {
            Sheet::Words => self.words.as_deref(),
            Sheet::Phrase => self.phrase.as_deref(),
        }
    }
}

fn typed(sheet: Sheet, secret: &Secret) -> String {
    match sheet {
        Sheet::Words => words::normal(&secret.0),
        Sheet::Phrase => secret.0.clone(),
    }
}

/// Opens the key of an archive: by its words or by its pass phrase, whichever it is that was typed.
pub fn unlock(disk: &dyn Disk, box_id: &str, secret: &Secret) -> Result<Keys, Error> {
    let copies = archive::keys(disk)?;
    if copies.is_empty() {
        return Err(Error::Nothing);
    }
    let mut why = Error::OtherSecret;
    let mut found: Option<(Identity, Sheet)> = None;
    let mut sound: Option<&[u8]> = None;
    for (kind, bytes) in &copies {
        let sheet = if *kind == Sheet::Words.kind() { Sheet::Words } else { Sheet::Phrase };
        let opened = age::open(bytes, &Key::Phrase(&typed(sheet, secret)));
        match opened.map_err(|error| archive::in_file("a copy of the key", error)) {
            Ok(text) => {
                found = std::str::from_utf8(&text).ok().and_then(Identity::read).map(|identity| (identity, sheet));
                if found.is_some() {
                    sound = Some(bytes);
                    break;
                }
                why = Error::Damaged("a copy of the key".to_owned());
            }
            Err(Error::OtherKey) => {}
            Err(error @ Error::Damaged(_)) => why = error,
            Err(error) => return Err(error),
        }
    }
    let (identity, opened) = found.ok_or(why)?;
    // The copy that opened is good. Another one counts when it was written to its end: the next backup replaces what is there.
    let vouched = archive::vouched(disk)?;
    let of = |sheet: Sheet| match sound {
        Some(bytes) if sheet == opened => Some(bytes.to_vec()),
        _ => {
            let mut those = copies.iter().filter(|(kind, _)| *kind == sheet.kind());
            those.find(|(_, bytes)| vouched.contains(&file::sha256(bytes))).map(|(_, bytes)| bytes.clone())
        }
    };
    Ok(Keys { box_id: box_id.to_owned(), identity, words: of(Sheet::Words), phrase: of(Sheet::Phrase) })
}
