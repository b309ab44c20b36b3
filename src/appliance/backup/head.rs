//! The head of a backup: a text that says all that belongs to it, read and written.
//!
//! One line each, fields separated by one space, so that people and `grep` can follow it:
//!
//! ```text
//! homepost-backup 1                                  format version
//! box BOX                                            whose it is
//! number N                                           of this backup; a later one has a higher number
//! time MS RFC3339                                    when it was made
//! holds everything | configuration
//! host NAME                                          the name the server goes by
//! by VERSION                                         which homepost made it
//! part NAME LEN SHA256 CONTENT                       a file of the archive that it needs
//! file DIGEST LEN PART PATH                          a file of the data folder
//! rows DIGEST LEN PART TABLE COUNT                   rows of a table, in the order of their keys
//! mail DIGEST LEN PART COUNT                         the readable list of messages, in this order
//! letters PART LIST COUNT DIGEST                     letters of a part, the file that lists them, digest of that list
//! mac HEX                                            over all lines before
//! ```
//!
//! DIGEST is BLAKE3, in hexadecimal, of a chunk of that name in the part. Lines that a later version adds are passed over; what
//! an older reader must not pass over raises the version.

use super::Error;
use super::age::Identity;
use super::file::{Part, hex};
use crate::base::Time;

pub const VERSION: u32 = 1;

const MAC: &str = "homepost backup 2026 head";

/// A piece of the content, by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub digest: [u8; 32],
    pub len: u64,
    /// In which part it lies.
    pub part: String,
}

/// Letters in a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letters {
    pub part: String,
    pub list: String,
    pub count: u64,
    pub digest: [u8; 32],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub box_id: String,
    pub number: u32,
    pub time: Time,
    /// False: only the configuration.
    pub everything: bool,
    pub host: String,
    pub by: String,
    pub parts: Vec<Part>,
    /// With the path in the data folder.
    pub files: Vec<(Chunk, String)>,
    /// With the name of the table and the number of rows.
    pub rows: Vec<(Chunk, String, u64)>,
    pub mail: Vec<(Chunk, u64)>,
    pub letters: Vec<Letters>,
}

impl Head {
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// Letters in all parts.
    pub fn letter_count(&self) -> u64 {
        self.letters.iter().map(|letters| letters.count).sum()
    }

    /// Messages in mailboxes.
    pub fn messages(&self) -> u64 {
        self.mail.iter().map(|(_, count)| count).sum()
    }

    pub fn encode(&self, identity: &Identity) -> String {
        let mut text = format!(
            "homepost-backup {VERSION}\nbox {}\nnumber {}\ntime {} {}\nholds {}\nhost {}\nby {}\n",
            self.box_id,
            self.number,
            self.time.0,
            date(self.time),
            if self.everything { "everything" } else { "configuration" },
            self.host,
            self.by
        );
        for part in &self.parts {
            text.push_str(&format!("part {} {} {} {}\n", part.name, part.len, part.sha256, part.content));
        }
        for (chunk, path) in &self.files {
            text.push_str(&format!("file {} {path}\n", fields(chunk)));
        }
        for (chunk, table, count) in &self.rows {
            text.push_str(&format!("rows {} {table} {count}\n", fields(chunk)));
        }
        for (chunk, count) in &self.mail {
            text.push_str(&format!("mail {} {count}\n", fields(chunk)));
        }
        for letters in &self.letters {
            let digest = hex(&letters.digest);
            text.push_str(&format!("letters {} {} {} {digest}\n", letters.part, letters.list, letters.count));
        }
        seal(text, identity)
    }

    pub fn decode(text: &[u8], identity: &Identity) -> Result<Head, Error> {
        let text = std::str::from_utf8(text).map_err(|_| damaged())?;
        let version = text.lines().next().and_then(|line| line.strip_prefix("homepost-backup "));
        match version.and_then(|version| version.parse::<u32>().ok()) {
            Some(version) if version > VERSION => return Err(Error::Newer),
            Some(_) => {}
            None => return Err(damaged()),
        }
        let mut head = Head::default();
        for line in sealed(text, identity).ok_or_else(damaged)?.lines().skip(1) {
            head.take(line).ok_or_else(damaged)?;
        }
        Ok(head)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (what, rest) = line.split_once(' ')?;
        let fields: Vec<&str> = rest.split(' ').collect();
        match (what, fields.as_slice()) {
            ("box", [id]) => self.box_id = (*id).to_owned(),
            ("number", [number]) => self.number = number.parse().ok()?,
            ("time", [ms, _]) => self.time = Time(ms.parse().ok()?),
            ("holds", [what]) => self.everything = *what == "everything",
            ("host", [name]) => self.host = (*name).to_owned(),
            ("by", _) => self.by = rest.to_owned(),
            ("part", [name, len, sha256, content]) => self.parts.push(Part {
                name: (*name).to_owned(),
                len: len.parse().ok()?,
                sha256: (*sha256).to_owned(),
                content: content.parse().ok()?,
            }),
            ("file", [digest, len, part, ..]) => {
                let path = rest.splitn(4, ' ').nth(3)?;
                self.files.push((chunk(digest, len, part)?, path.to_owned()));
            }
            ("rows", [digest, len, part, table, count]) => {
                self.rows.push((chunk(digest, len, part)?, (*table).to_owned(), count.parse().ok()?));
            }
            ("mail", [digest, len, part, count]) => {
                self.mail.push((chunk(digest, len, part)?, count.parse().ok()?));
            }
            ("letters", [part, list, count, digest]) => self.letters.push(Letters {
                part: (*part).to_owned(),
                list: (*list).to_owned(),
                count: count.parse().ok()?,
                digest: digest_of(digest)?,
            }),
            ("box" | "number" | "time" | "holds" | "host" | "part" | "file" | "rows" | "mail" | "letters", _) => {
                return None;
            }
            _ => {}
        }
        Some(())
    }
}

/// With a line at its end that only who has the key can make: what is sealed for a recipient could come from anybody who knows
/// it.
pub(super) fn seal(mut text: String, identity: &Identity) -> String {
    let mac = blake3::keyed_hash(&identity.derived(MAC), text.as_bytes());
    text.push_str(&format!("mac {}\n", mac.to_hex()));
    text
}

/// The lines before the last one, if that is theirs.
pub(super) fn sealed<'a>(text: &'a str, identity: &Identity) -> Option<&'a str> {
    let body = text.strip_suffix('\n')?;
    let at = body.rfind('\n')? + 1;
    let (lines, last) = (text.get(..at)?, body.get(at..)?);
    let mac = blake3::Hash::from_hex(last.strip_prefix("mac ")?).ok()?;
    // Compared in constant time.
    (blake3::keyed_hash(&identity.derived(MAC), lines.as_bytes()) == mac).then_some(lines)
}

fn fields(chunk: &Chunk) -> String {
    format!("{} {} {}", hex(&chunk.digest), chunk.len, chunk.part)
}

fn chunk(digest: &str, len: &str, part: &str) -> Option<Chunk> {
    Some(Chunk { digest: digest_of(digest)?, len: len.parse().ok()?, part: part.to_owned() })
}

pub(super) fn digest_of(hex: &str) -> Option<[u8; 32]> {
    Some(*blake3::Hash::from_hex(hex).ok()?.as_bytes())
}

/// A date for people.
pub(super) fn date(time: Time) -> String {
    let there = jiff::Timestamp::from_second(time.seconds());
    there.map_or_else(|_| time.seconds().to_string(), |there| there.to_string())
}

fn damaged() -> Error {
    Error::Damaged("the head of the backup".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    fn head() -> Head {
        let chunk = Chunk { digest: [7; 32], len: 5, part: "rows-00000001.tar.gz.age".to_owned() };
        Head {
            box_id: "0123456789abcdef".to_owned(),
            number: 1,
            time: Time(1_700_000_000_123),
            everything: true,
            host: "mail.example.test".to_owned(),
            by: "0.1.0".to_owned(),
            parts: vec![Part { name: chunk.part.clone(), len: 9, sha256: "ab".repeat(32), content: 12 }],
            files: vec![(chunk.clone(), "tls/my key.pem".to_owned())],
            rows: vec![(chunk.clone(), "accounts".to_owned(), 2)],
            mail: vec![(chunk.clone(), 3)],
            letters: vec![Letters { part: "l".to_owned(), list: "m".to_owned(), count: 4, digest: [9; 32] }],
        }
    }

    #[test]
    fn a_head_comes_back_for_who_has_the_key_only() {
        let random = SeededRandom::new(1);
        let (identity, other) = (Identity::new(&random), Identity::new(&random));
        let text = head().encode(&identity);
        assert_eq!(Head::decode(text.as_bytes(), &identity).unwrap(), head());
        assert!(Head::decode(text.as_bytes(), &other).is_err(), "somebody else's");
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert!(Head::decode(&changed, &identity).is_err(), "{at}");
            assert!(Head::decode(&text.as_bytes()[..at], &identity).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let identity = Identity::new(&SeededRandom::new(1));
        let later = head().encode(&identity).replacen("homepost-backup 1", "homepost-backup 2", 1);
        assert_eq!(Head::decode(later.as_bytes(), &identity), Err(Error::Newer));
        // What it adds without raising the version is passed over.
        let more = head().encode(&identity);
        let more = more.split("mac ").next().unwrap().to_owned() + "parity 1 2 3\n";
        assert_eq!(Head::decode(seal(more, &identity).as_bytes(), &identity).unwrap(), head());
    }
}
