//! Segments that are not as they were written: opened (which applies their records again) and salvaged.
//!
//! The first byte picks what happens to them:
//! - 0 to 3: a store of some records is built, and the rest of the input is edits to its files (see [`edit`]). The rows'
//!   file is as it was before the first record, after the middle one, after the last, or lost. Records that no edit
//!   touched come back, and nothing comes back that was not written.
//! - 4: the input is turned into a segment whose header and records have good checksums, with any content.
//! - 5: the input is taken for whole files.
//!
//! Whatever it is, nothing panics or hangs, and a store that opens works. With the first byte's highest bit set that last
//! part is left out, which is most of the time it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use homepost::base::{AccountId, BlobId, Random, SeededRandom, Time};
use homepost::store::blob::LetterHeader;
use homepost::store::data::{self, Options, Recovered};
use homepost::store::disk::{Disk, SimDisk, Site};
use homepost::store::{Data, Error, Order, Read, Table};
use homepost::{account, queue};

pub fn run(input: &[u8]) {
    let Some((mode, input)) = input.split_first() else { return };
    let mut input = Input(input);
    let (disk, opened) = match (mode & 0x7f) % 6 {
        mode @ 0..=3 => edited(usize::from(mode), &mut input),
        4 => sealed(&mut input),
        _ => raw(&mut input),
    };
    if mode & 0x80 == 0 {
        return work(&disk, opened);
    }
    assert!(matches!(opened, Ok(_) | Err(Error::Corrupt(_))), "{:?}", opened.err());
    // A dead disk spares the end of the store its last checkpoint.
    disk.cut();
}

/// The input, taken piece by piece; at its end zeros come.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn short(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

// ---- the store that is edited ----

/// Records in it; record n is written by step n.
const STEPS: u64 = 15;
/// After this one the rows' file is kept as it is then.
const MIDDLE: u64 = 7;
/// The letter of step n, where it has one.
const LETTERS: [u64; 7] = [1, 2, 3, 5, 8, 10, 12];
/// It gets a file of its own.
const LARGE: u64 = 5;
/// Step and letter.
const RELEASES: [(u64, u64); 1] = [(7, 2)];

type Files = BTreeMap<String, Vec<u8>>;
type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

struct Base {
    /// All but the rows' file.
    files: Files,
    /// The rows' file before the first record, after the middle one and after the last.
    rows: [Vec<u8>; 3],
    /// The rows after each step, from 0 on.
    states: Vec<Rows>,
    records: Vec<Span>,
    /// Where the segments' headers end, their last record before, and the number up to which they have a copy.
    headers: BTreeMap<String, (usize, u64)>,
    letters: BTreeMap<u64, Vec<u8>>,
}

struct Span {
    file: String,
    start: usize,
    /// Behind its payload, and behind its padding.
    end: usize,
    padded: usize,
}

fn options(disk: &SimDisk) -> Options {
    Options {
        random: Arc::new(SeededRandom::new(disk.calls())),
        segment_bytes: 4096,
        checkpoint_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        ballast_bytes: 0,
        letter_bytes: 2048,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> Result<Data, Error> {
    let handle: Arc<dyn Disk> = Arc::new(disk.clone());
    Data::open(handle, options(disk))
}

fn letter(n: u64) -> Vec<u8> {
    let mut noise = vec![0; if n == LARGE { 3000 } else { 300 + 50 * n as usize }];
    SeededRandom::new(n).fill(&mut noise);
    let mut out = format!("Subject: letter {n}\r\n\r\n").into_bytes();
    out.extend(noise.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
    out.truncate(noise.len());
    out
}

fn header(n: u64) -> LetterHeader {
    LetterHeader { accounts: vec![format!("{n}@example.test")], received: Time(n as i64) }
}

/// What step n does to the rows, the row of its letter apart.
fn changes(n: u64) -> Vec<(Table, Vec<u8>, Option<Vec<u8>>)> {
    let mut out = vec![
        (Table::Accounts, vec![b'a', (n % 4) as u8], (n % 5 != 4).then(|| vec![n as u8; 40])),
        (Table::Messages, vec![b'm', (n % 3) as u8], Some(vec![n as u8; 20])),
    ];
    if let Some((_, letter)) = RELEASES.iter().find(|(step, _)| *step == n) {
        out.push((Table::Emails, letter.to_be_bytes().to_vec(), None));
    }
    out
}

fn build() -> Base {
    let disk = SimDisk::sound();
    let data = open(&disk).expect("an empty disk opens");
    let mut rows = vec![read(&disk, "rows.redb")];
    let mut states = vec![Rows::new()];
    for n in 1..=STEPS {
        let staged = LETTERS.contains(&n).then(|| data.blobs().stage(header(n), &letter(n)).expect("there is room"));
        let done = data.write_blocking(move |txn| {
            for (table, key, value) in changes(n) {
                if table == Table::Emails {
                    let blob = txn.get(table, &key)?.expect("the letter's row");
                    txn.release(BlobId(number(&blob)))?;
                }
                match value {
                    Some(value) => txn.put(table, &key, value),
                    None => txn.delete(table, &key),
                }
            }
            let blob = staged.as_ref().map(|staged| txn.attach(staged)).transpose()?;
            if let Some(blob) = blob {
                txn.put(Table::Emails, &n.to_be_bytes(), blob.0.to_be_bytes().to_vec());
            }
            Ok::<_, Error>(blob)
        });
        let blob = done.expect("a sound disk takes it").value;
        let mut state = states.last().cloned().unwrap_or_default();
        for (table, key, value) in changes(n) {
            match value {
                Some(value) => state.insert((table, key), value),
                None => state.remove(&(table, key)),
            };
        }
        if let Some(blob) = blob {
            state.insert((Table::Emails, n.to_be_bytes().to_vec()), blob.0.to_be_bytes().to_vec());
        }
        states.push(state);
        if n == MIDDLE || n == STEPS {
            data.checkpoint().expect("a sound disk takes it");
            rows.push(read(&disk, "rows.redb"));
        }
    }
    let mut files: Files = Disk::list(&disk).expect("it lists").into_iter().map(|name| (name, Vec::new())).collect();
    files.remove("rows.redb");
    for (name, bytes) in &mut files {
        *bytes = read(&disk, name);
    }
    drop(data);
    let (records, headers) = places(&files);
    assert_eq!(records.len() as u64, STEPS);
    assert!(headers.len() > 2 && files.keys().any(|name| name.starts_with("letter-")));
    let rows = rows.try_into().unwrap_or_else(|_| panic!("three states of the rows' file"));
    let letters = LETTERS.into_iter().map(|n| (n, letter(n))).collect();
    Base { files, rows, states, records, headers, letters }
}

/// Where the records lie, by the layout in `store/schema.rs`.
fn places(files: &Files) -> (Vec<Span>, BTreeMap<String, (usize, u64)>) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let mut records = BTreeMap::new();
    let mut headers = BTreeMap::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("segment-")) {
        headers.insert(name.clone(), (108 + number(&bytes[104..108]) as usize + 32, number(&bytes[96..104])));
        for start in (0..bytes.len()).step_by(512).filter(|start| bytes[*start..].starts_with(b"HPR1")) {
            let end = start + 88 + number(&bytes[start + 20..start + 24]) as usize;
            let span = Span { file: name.clone(), start, end, padded: end.next_multiple_of(512) };
            assert!(records.insert(number(&bytes[start + 12..start + 20]), span).is_none());
        }
    }
    (records.into_values().collect(), headers)
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(build)
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = Disk::open(disk, name).expect("it is there");
    let mut bytes = vec![0; file.len().expect("it has a length") as usize];
    file.read_at(0, &mut bytes).expect("it can be read");
    bytes
}

/// A disk with these files.
fn disk_of(files: &Files, rows: Option<&[u8]>) -> SimDisk {
    let disk = SimDisk::sound();
    let rows = rows.map(|rows| ("rows.redb", rows));
    for (name, bytes) in files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).chain(rows) {
        let file = disk.create(name).expect("no file has that name");
        file.set_len(bytes.len() as u64).expect("there is room");
        // Zeros are there already.
        for (at, block) in bytes.chunks(4096).enumerate().filter(|(_, block)| block.iter().any(|byte| *byte != 0)) {
            file.write_at(at as u64 * 4096, block).expect("there is room");
        }
        file.sync(Site::Other).expect("it syncs");
    }
    disk.sync_dir(Site::Other).expect("it syncs");
    disk
}

// ---- edits ----

fn edited(mode: usize, input: &mut Input<'_>) -> (SimDisk, Result<Data, Error>) {
    let base = base();
    let mut files = base.files.clone();
    let mut loose = false;
    for _ in 0..16 {
        if input.0.is_empty() {
            break;
        }
        loose |= edit(&mut files, input);
    }
    let after = After::new(base, &files, loose);
    let disk = disk_of(&files, base.rows.get(mode).map(Vec::as_slice));
    after.salvage(&disk);
    let saved = [0, MIDDLE, STEPS].get(mode).copied();
    let opened = open(&disk);
    after.opened(&opened, saved);
    (disk, opened)
}

/// One edit. True if it may have put a good record where none was.
fn edit(files: &mut Files, input: &mut Input<'_>) -> bool {
    let kind = input.byte() % 9;
    let names: Vec<String> = files.keys().cloned().collect();
    let pick = usize::from(input.byte());
    let Some(name) = names.get(pick % names.len().max(1)) else { return false };
    let whole = files.clone();
    let Some(bytes) = files.get_mut(name) else { return false };
    let at = input.short();
    let place = at % bytes.len().max(1);
    match kind {
        // Other bytes.
        0 => {
            let len = usize::from(input.byte());
            for (to, from) in bytes.iter_mut().skip(place).zip(input.take(len)) {
                *to = *from;
            }
        }
        // A bit or some.
        1 => {
            let by = input.byte();
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= by;
            }
        }
        2 => bytes.truncate(place),
        3 => {
            let len = usize::from(input.byte());
            bytes.extend_from_slice(input.take(len));
        }
        // Sectors that never reached the disk.
        4 => {
            let len = usize::from(input.byte()) % 9 * 512;
            bytes.iter_mut().skip(place / 512 * 512).take(len).for_each(|byte| *byte = 0);
        }
        5 => {
            let longer = bytes.len() + usize::from(input.byte()) * 512;
            bytes.resize(longer, 0);
        }
        6 => {
            files.remove(name);
        }
        // Sectors that went elsewhere.
        7 => {
            let from = usize::from(input.byte()) * 512;
            let len = usize::from(input.byte()) % 9 * 512;
            let other = names.get(pick / names.len() % names.len()).and_then(|name| whole.get(name));
            let from = other.and_then(|other| other.get(from..)).unwrap_or_default();
            for (to, from) in bytes.iter_mut().skip(place / 512 * 512).zip(from.iter().take(len)) {
                *to = *from;
            }
            return true;
        }
        // The same file under one more name.
        _ => {
            let bytes = bytes.clone();
            let number = match input.byte() {
                255 => u64::MAX,
                254 => u64::MAX - 1,
                number => u64::from(number),
            };
            let kinds = ["segment", "spare", "letter", "incoming"];
            let kind = kinds.get(at % 4).copied().unwrap_or_default();
            let other = if at & 4 == 0 { format!("{kind}-{number:016x}") } else { format!("{kind}-{number:x}") };
            files.entry(other).or_insert(bytes);
            return true;
        }
    }
    false
}

/// What the edits left.
struct After<'b> {
    base: &'b Base,
    /// Records, headers and files that are as they were.
    records: Vec<bool>,
    headers: BTreeSet<String>,
    files: BTreeSet<String>,
    unchanged: bool,
    /// Only the last record, or what lies behind it, was changed.
    torn: bool,
    /// Good records may stand in wrong places too.
    loose: bool,
}

impl After<'_> {
    fn new<'b>(base: &'b Base, files: &Files, loose: bool) -> After<'b> {
        let same = |name: &str, start: usize, end: usize| {
            let now = files.get(name).and_then(|bytes| bytes.get(start..end));
            now.is_some() && now == base.files.get(name).and_then(|bytes| bytes.get(start..end))
        };
        let has = |name: &str, len: usize| files.get(name).is_some_and(|bytes| bytes.len() >= len);
        let records: Vec<bool> = base
            .records
            .iter()
            .map(|record| same(&record.file, record.start, record.end) && has(&record.file, record.padded))
            .collect();
        let headers = base.headers.iter().filter(|(name, (end, _))| same(name, 0, *end));
        let headers = headers.map(|(name, _)| name.clone()).collect();
        let whole = base.files.iter().filter(|(name, bytes)| files.get(*name) == Some(bytes));
        let whole: BTreeSet<String> = whole.map(|(name, _)| name.clone()).collect();
        let unchanged = whole.len() == base.files.len() && files.len() == whole.len();
        let last = base.records.last().expect("there are records");
        let torn = !loose
            && files.keys().eq(base.files.keys())
            && base.files.keys().all(|name| *name == last.file || whole.contains(name))
            && same(&last.file, 0, last.start);
        After { base, records, headers, files: whole, unchanged, torn, loose }
    }

    fn record(&self, step: u64) -> bool {
        self.records.get(step as usize - 1).copied().unwrap_or(false)
    }

    fn letter_is_whole(&self, n: u64) -> bool {
        if n == LARGE { self.files.iter().any(|name| name.starts_with("letter-")) } else { self.record(n) }
    }

    fn salvage(&self, disk: &SimDisk) {
        let before = contents(disk);
        let mut rows = Rows::new();
        let mut letters: BTreeMap<u64, u64> = BTreeMap::new();
        let done = data::salvage(disk, &mut |found| {
            match found {
                Recovered::Row { table, key, value } => {
                    assert!(letters.is_empty(), "rows come first");
                    let known = self.base.states.iter().any(|rows| rows.get(&(table, key.clone())) == Some(&value));
                    assert!(known, "a row that was never written: {table:?} {key:?}");
                    assert!(rows.insert((table, key), value).is_none(), "a row comes once");
                }
                Recovered::Letter { header: of, bytes } => {
                    let n = of.received.0 as u64;
                    assert!(of == header(n) && self.base.letters.get(&n) == Some(&bytes.to_vec()), "nobody wrote {n}");
                    *letters.entry(n).or_default() += 1;
                }
            }
            Ok(())
        });
        let done = done.expect("the disk can be read");
        assert_eq!((done.rows, done.letters), (rows.len() as u64, letters.values().sum()));
        assert!(contents(disk) == before, "salvage changes nothing");
        if self.unchanged {
            assert!(done.damaged.is_empty(), "{:?}", done.damaged);
        }
        if self.headers.is_empty() {
            // Without any header nobody knows whose records they are.
            return;
        }
        for n in LETTERS {
            let release = RELEASES.iter().find(|(_, letter)| *letter == n).map(|(step, _)| *step);
            let deleted = release.is_some_and(|step| self.record(step));
            let came = letters.get(&n).copied().unwrap_or(0);
            if self.letter_is_whole(n) && release.is_none() {
                assert!(came == 1 || (came > 0 && self.loose), "letter {n} came {came} times");
            }
            if deleted || (!self.record(n) && n != LARGE && !self.loose) {
                assert_eq!(came, 0, "letter {n} is gone");
            }
        }
        let copied = self.base.headers.iter().filter(|(name, _)| self.headers.contains(*name));
        let copied = copied.map(|(_, (_, copied))| *copied).max().unwrap_or(0);
        for key in (0..4).map(|n| vec![b'a', n]) {
            let writer = (1..=STEPS).rev().find(|n| changes(*n).iter().any(|(_, changed, _)| *changed == key));
            let last = self.base.states.last().and_then(|rows| rows.get(&(Table::Accounts, key.clone())));
            if writer.is_some_and(|n| self.record(n) || copied >= n) {
                assert_eq!(rows.get(&(Table::Accounts, key.clone())), last, "row {key:?}");
            }
        }
    }

    /// How far the records can be followed.
    fn reach(&self, saved: u64) -> u64 {
        let whole = |n: &u64| {
            self.record(*n) && self.base.records.get(*n as usize - 1).is_some_and(|r| self.headers.contains(&r.file))
        };
        (saved + 1..=STEPS).take_while(whole).last().unwrap_or(saved)
    }

    /// `saved`: up to which record the rows' file has them; `None` without one.
    fn opened(&self, opened: &Result<Data, Error>, saved: Option<u64>) {
        let Some(saved) = saved else {
            if opened.is_ok() {
                let lost = (1..=STEPS).any(|n| self.record(n)) && !self.headers.is_empty();
                assert!(!lost, "a new store took the place of one that could be salvaged");
                assert!(!self.files.iter().any(|name| name.starts_with("letter-")), "a letter was swept away");
            }
            return;
        };
        if self.unchanged || self.torn {
            assert!(opened.is_ok(), "a torn tail keeps nothing from opening: {:?}", opened.as_ref().err());
        }
        if let Ok(data) = opened {
            let reached = self.reach(saved);
            // What follows at once may stand behind a damaged header alone, as a cut can leave it.
            let left = (reached + 2..=STEPS).find(|n| self.record(*n));
            assert_eq!(left, None, "a good record is passed over behind {reached}");
            let Some(state) = self.base.states.get(reached as usize) else { return };
            assert_eq!(&rows(data), state, "after record {reached}");
            let sound = data.check().is_ok_and(|findings| findings.is_empty());
            assert!(sound || !self.unchanged);
            for ((_, key), blob) in state.iter().filter(|((table, _), _)| *table == Table::Emails) {
                let (n, blob) = (number(key), BlobId(number(blob)));
                let bytes = data.blobs().read(blob, 0..u64::MAX);
                if sound || self.letter_is_whole(n) {
                    assert_eq!(bytes.as_deref().ok(), self.base.letters.get(&n).map(Vec::as_slice), "letter {n}");
                }
            }
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn contents(disk: &SimDisk) -> Files {
    let names = Disk::list(disk).expect("it lists");
    let names = names.into_iter().filter(|name| name != "rows.redb");
    names.map(|name| (name.clone(), read(disk, &name))).collect()
}

/// The rows of the tables that the steps write.
fn rows(data: &Data) -> Rows {
    let mut out = Rows::new();
    let snapshot = data.read().expect("an open store can be read");
    for table in [Table::Accounts, Table::Messages, Table::Emails] {
        let scanned = snapshot.scan(table, &[], &[0xff; 40], Order::Forward, &mut |key, value| {
            out.insert((table, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        });
        scanned.expect("an open store can be read");
    }
    out
}

/// A store that opened takes rows and letters, and still has them when it is opened again. One that did not open says
/// that it is damaged, and nothing else.
fn work(disk: &SimDisk, opened: Result<Data, Error>) {
    let data = match opened {
        Ok(data) => data,
        Err(Error::Corrupt(_)) => return,
        Err(error) => panic!("{error:?}"),
    };
    let _ = data.check();
    let _ = account::check_all(&data, true);
    let _ = data.read().map(|snapshot| queue::check(&snapshot).is_ok());
    let _ = data.compact();
    let staged = data.blobs().stage(header(99), &letter(99)).expect("there is room");
    let done = data.write_blocking(move |txn| {
        txn.put(Table::Messages, b"new", vec![1]);
        txn.attach(&staged)
    });
    match done {
        Ok(done) => {
            data.close().expect("it closes");
            drop(data);
            let data = open(disk).expect("it opens again");
            let snapshot = data.read().expect("it can be read");
            assert_eq!(snapshot.get(Table::Messages, b"new"), Ok(Some(vec![1])));
            let read = data.blobs().read_in(&snapshot, done.value, 0..u64::MAX);
            assert!(read.is_ok_and(|bytes| bytes == letter(99)));
        }
        // A counter in the rows that is none.
        Err(Error::Corrupt(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

// ---- good checksums, any content ----

fn sealed(input: &mut Input<'_>) -> (SimDisk, Result<Data, Error>) {
    let base = base();
    let (_, first) = base.files.iter().find(|(name, _)| name.starts_with("segment-")).expect("there is one");
    let mut head = first[..56].to_vec();
    let key: [u8; 32] = first[16..48].try_into().expect("32 bytes");
    let choice = input.byte();
    let copied = u64::from(choice >> 4);
    let len = input.short();
    let copy = if choice & 1 == 0 { list_of_rows(input, len) } else { input.take(len).to_vec() };
    head.extend_from_slice(&1u64.to_be_bytes());
    head.extend_from_slice(&[0; 32]);
    head.extend_from_slice(&copied.to_be_bytes());
    head.extend_from_slice(&(copy.len() as u32).to_be_bytes());
    head.extend_from_slice(&copy);
    let digest = blake3::hash(&head);
    head.extend_from_slice(digest.as_bytes());
    let mut segment = head;
    let mut before = [0; 32];
    let mut sequence = 0u64;
    while !input.0.is_empty() && sequence < 20 {
        segment.resize(segment.len().next_multiple_of(512), 0);
        sequence += 1;
        let choice = input.byte();
        let len = input.short();
        let payload = if choice & 1 == 0 {
            let mut payload = vec![0; 4];
            payload.extend(list_of_rows(input, len));
            payload
        } else {
            input.take(len).to_vec()
        };
        let mut record = b"HPR1".to_vec();
        record.extend_from_slice(&segment[8..16]);
        record.extend_from_slice(&sequence.to_be_bytes());
        record.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        record.extend_from_slice(&before);
        before = *blake3::Hasher::new_keyed(&key).update(&record).update(&payload).finalize().as_bytes();
        record.extend_from_slice(&before);
        record.extend_from_slice(&payload);
        segment.extend(record);
    }
    segment.resize(segment.len().next_multiple_of(4096), 0);
    let files = Files::from([(format!("segment-{:016x}", 1), segment)]);
    let disk = disk_of(&files, base.rows.first().map(Vec::as_slice));
    let found = data::salvage(&disk, &mut |_| Ok(()));
    found.expect("the disk can be read");
    let into = open(&SimDisk::sound()).expect("an empty disk opens");
    let _ = account::salvage(&disk, &into, Time(9));
    drop(into);
    let opened = open(&disk);
    if let Ok(data) = &opened {
        // Letters that rows name, wherever they are said to be.
        for blob in (1..10).map(BlobId) {
            let _ = (data.blobs().read(blob, 0..5), data.blobs().read(blob, 0..1 << 20), data.blobs().len(blob));
        }
        let snapshot = data.read().expect("an open store can be read");
        for account in (0..3).map(AccountId) {
            let _ = account::changes::account_since(&snapshot, account, homepost::base::ModSeq(0));
            let _ = account::mailbox::list(&snapshot, account);
        }
        let _ = queue::list(&snapshot, homepost::base::QueueId(0), 5);
        drop(snapshot);
    }
    (disk, opened)
}

/// A list of rows, well formed: table, length of the key, key, what the value is, length of the value, value.
fn list_of_rows(input: &mut Input<'_>, len: usize) -> Vec<u8> {
    let mut input = Input(input.take(len));
    let mut out = Vec::new();
    let mut count = 0u32;
    while !input.0.is_empty() {
        let table = Table::ALL[usize::from(input.byte()) % Table::ALL.len()];
        let key_len = usize::from(input.byte()) % 32;
        let key = input.take(key_len);
        out.push(table as u8);
        out.extend_from_slice(&(key.len() as u32).to_be_bytes());
        out.extend_from_slice(key);
        let value_len = input.byte();
        if value_len == 255 {
            out.extend_from_slice(&0u32.to_be_bytes());
        } else {
            let value = input.take(usize::from(value_len));
            out.extend_from_slice(&(value.len() as u32 + 1).to_be_bytes());
            out.extend_from_slice(value);
        }
        count += 1;
    }
    let mut list = count.to_be_bytes().to_vec();
    list.extend(out);
    list
}

// ---- whole files ----

fn raw(input: &mut Input<'_>) -> (SimDisk, Result<Data, Error>) {
    let base = base();
    let choice = input.byte();
    let mut files = Files::new();
    let names = ["segment-0000000000000001", "segment-0000000000000002", "letter-0000000000000007"];
    for name in names {
        let len = input.short();
        let mut bytes = input.take(len).to_vec();
        if choice & 4 != 0 {
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        files.insert(name.to_string(), bytes);
    }
    let rows = base.rows.get(usize::from(choice % 4)).map(Vec::as_slice);
    let disk = disk_of(&files, rows);
    let before = contents(&disk);
    data::salvage(&disk, &mut |_| Ok(())).expect("the disk can be read");
    assert!(contents(&disk) == before, "salvage changes nothing");
    let opened = open(&disk);
    (disk, opened)
}
