//! Which letters lie in which file: each file of letters has a list beside it, sealed like it.
//!
//! First a line `part NAME LEN SHA256 CONTENT` as in a head, then one for each letter: digest, length, time of arrival in
//! milliseconds, addresses of the accounts it belongs to, comma between two; last the line that only who has the key can make.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::age::{self, Identity, Key};
use super::archive;
use super::file::{self, Part, hex};
use super::{Error, head};
use crate::account::Owners;
use crate::base::Time;
use crate::store::disk::Disk;

/// A list of a file of letters; 32 MB of the smallest there are come to less.
const LIST_MOST: u64 = 64 << 20;
/// A file below this is small, and so many of them are made one.
const SMALL: u64 = 4 << 20;
const MANY: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub digest: [u8; 32],
    pub len: u64,
    pub owners: Owners,
}

pub(super) fn encode(part: &Part, entries: &[Entry], identity: &Identity) -> String {
    let mut text = format!("part {} {} {} {}\n", part.name, part.len, part.sha256, part.content);
    for entry in entries {
        let owners = entry.owners.accounts.join(",");
        text.push_str(&format!("{} {} {} {owners}\n", hex(&entry.digest), entry.len, entry.owners.received.0));
    }
    head::seal(text, identity)
}

pub(super) fn decode(text: &[u8], identity: &Identity) -> Option<(Part, Vec<Entry>)> {
    let text = head::sealed(std::str::from_utf8(text).ok()?, identity)?;
    let mut lines = text.lines();
    let fields: Vec<&str> = lines.next()?.split(' ').collect();
    let ["part", name, len, sha256, content] = fields.as_slice() else { return None };
    let (len, content) = (len.parse().ok()?, content.parse().ok()?);
    let part = Part { name: (*name).to_owned(), len, sha256: (*sha256).to_owned(), content };
    Some((part, lines.map(entry).collect::<Option<_>>()?))
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(4, ' ');
    let (digest, len, received) = (fields.next()?, fields.next()?, fields.next()?);
    let accounts = fields.next()?.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    let owners = Owners { accounts, received: Time(received.parse().ok()?) };
    Some(Entry { digest: head::digest_of(digest)?, len: len.parse().ok()?, owners })
}

/// Reads a list file: what it says, its own sums, and the digest of its text.
pub(super) fn read(
    disk: &dyn Disk,
    name: &str,
    identity: &Identity,
) -> Result<(Part, Vec<Entry>, Part, [u8; 32]), Error> {
    let bytes = file::read(disk, name, LIST_MOST).map_err(|error| archive::in_file(name, error))?;
    let text = age::open(&bytes, &Key::Identity(identity)).map_err(|error| archive::in_file(name, error))?;
    let (part, entries) = decode(&text, identity).ok_or_else(|| Error::Damaged(name.to_owned()))?;
    let own = Part { name: name.to_owned(), len: bytes.len() as u64, sha256: file::sha256(&bytes), content: 0 };
    Ok((part, entries, own, *blake3::hash(&text).as_bytes()))
}

struct Pack {
    part: Part,
    list: Part,
    digest: [u8; 32],
    count: u64,
    bytes: u64,
    given_up: bool,
}

/// What letters an archive has.
#[derive(Default)]
pub(super) struct Known {
    packs: Vec<Pack>,
    letters: HashMap<[u8; 32], u32>,
    unreadable: HashSet<[u8; 32]>,
}

impl Known {
    /// By all lists that are whole and whose file is there at its full length, and not known to be damaged.
    pub fn read(
        disk: &dyn Disk,
        names: &[String],
        damaged: &BTreeSet<String>,
        identity: &Identity,
    ) -> Result<Known, Error> {
        let mut known = Known::default();
        let lists = names.iter().filter(|name| name.starts_with("letters-") && name.ends_with(".list.age"));
        let mut lists: Vec<&String> = lists.filter(|name| !damaged.contains(*name)).collect();
        // Of two that have a letter the later one counts.
        lists.sort_unstable();
        for name in lists {
            match read(disk, name, identity) {
                Ok((part, ..)) if damaged.contains(&part.name) => {}
                Ok((part, entries, list, digest)) if archive::list_name(&part.name) == *name => {
                    let len = disk.open(&part.name).and_then(|file| file.len());
                    if len.is_ok_and(|len| len == part.len) {
                        known.add(part, list, digest, entries);
                    }
                }
                // Written again.
                Ok(_) | Err(Error::Damaged(_) | Error::OtherKey | Error::Disk(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(known)
    }

    pub fn add(&mut self, part: Part, list: Part, digest: [u8; 32], entries: Vec<Entry>) {
        let index = self.packs.len() as u32;
        let (count, bytes) = (entries.len() as u64, entries.iter().map(|entry| entry.len).sum());
        self.letters.extend(entries.into_iter().map(|entry| (entry.digest, index)));
        self.packs.push(Pack { part, list, digest, count, bytes, given_up: false });
    }

    pub fn pack_of(&self, digest: &[u8; 32]) -> Option<u32> {
        self.letters.get(digest).copied()
    }

    pub fn is_unreadable(&self, digest: &[u8; 32]) -> bool {
        self.unreadable.contains(digest)
    }

    pub fn unreadable(&mut self, digest: [u8; 32]) {
        self.unreadable.insert(digest);
    }

    /// Forgets files of which less than half is wanted, and small ones when they are many: what is wanted of them is written
    /// again, from the store, into new ones. `wanted` is bytes by file.
    pub fn give_up(&mut self, wanted: &HashMap<u32, u64>) {
        let small = self.packs.iter().filter(|pack| pack.part.len < SMALL).count();
        for (index, pack) in self.packs.iter_mut().enumerate() {
            let wanted = wanted.get(&(index as u32)).copied().unwrap_or(0);
            pack.given_up = wanted.saturating_mul(2) < pack.bytes.max(1) || (small > MANY && pack.part.len < SMALL);
        }
        let packs = &self.packs;
        self.letters.retain(|_, index| packs.get(*index as usize).is_some_and(|pack| !pack.given_up));
    }

    /// The files in use: their parts, digest of the list, letters.
    pub fn kept(&self) -> impl Iterator<Item = (Part, Part, [u8; 32], u64)> + '_ {
        let kept = self.packs.iter().filter(|pack| !pack.given_up);
        kept.map(|pack| (pack.part.clone(), pack.list.clone(), pack.digest, pack.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    #[test]
    fn lists_come_back_whole_or_not_at_all() {
        let identity = Identity::new(&SeededRandom::new(1));
        let part = Part { name: "letters-x".to_owned(), len: 5, sha256: "ab".to_owned(), content: 9 };
        let owners = Owners { accounts: vec!["a@b.test".to_owned(), "c@b.test".to_owned()], received: Time(-5) };
        let entries = vec![
            Entry { digest: [1; 32], len: 3, owners },
            Entry { digest: [2; 32], len: 0, owners: Owners::default() },
        ];
        let text = encode(&part, &entries, &identity);
        assert_eq!(decode(text.as_bytes(), &identity), Some((part, entries)));
        for at in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..at], &identity), None);
        }
    }

    fn known(lens: &[u64]) -> Known {
        let mut known = Known::default();
        for (n, len) in lens.iter().enumerate() {
            let part = Part { name: format!("{n}"), len: *len, sha256: String::new(), content: *len };
            let entry = Entry { digest: [n as u8; 32], len: *len, owners: Owners::default() };
            known.add(part.clone(), part, [0; 32], vec![entry]);
        }
        known
    }

    #[test]
    fn what_is_hardly_wanted_is_given_up() {
        let mut two = known(&[20 << 20, 20 << 20]);
        two.give_up(&HashMap::from([(0, 20 << 20), (1, 9 << 20)]));
        assert_eq!(two.kept().count(), 1);
        assert_eq!((two.pack_of(&[0; 32]), two.pack_of(&[1; 32])), (Some(0), None));
    }

    #[test]
    fn many_small_files_become_one() {
        let wanted = |n: u32| (0..n).map(|n| (n, 100)).collect();
        let mut few = known(&[100; 16]);
        few.give_up(&wanted(16));
        assert_eq!(few.kept().count(), 16);
        let mut many = known(&[100; 17]);
        many.give_up(&wanted(17));
        assert_eq!(many.kept().count(), 0);
    }
}
