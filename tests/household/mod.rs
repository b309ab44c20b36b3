//! What the tests of accounts share: a store on a simulated disk, letters, and how a whole account looks.

#![allow(dead_code)] // each test file uses its own part of this

use std::collections::BTreeMap;
use std::sync::Arc;

use homepost::account::{self, Flags, Letter, Place, changes, mailbox, view};
use homepost::base::{AccountId, MailboxId, ModSeq, SeededRandom, Time, Uid};
use homepost::message::Limits;
use homepost::store::blob::LetterHeader;
use homepost::store::data::Options;
use homepost::store::disk::{Disk, SimDisk};
use homepost::store::{self, Data, Table};

pub const ALICE: AccountId = AccountId(1);

/// The seed of this run: `HOMEPOST_SEED` replays one.
pub fn seed(default: u64) -> u64 {
    let seed = std::env::var("HOMEPOST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    eprintln!("replay with HOMEPOST_SEED={seed}");
    seed
}

/// A reproducible sequence (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % (n.max(1) as u64)) as usize
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }
}

/// Small segments and checkpoints, so that a short test sees many of each.
pub fn options(seed: u64) -> Options {
    Options {
        random: Arc::new(SeededRandom::new(seed)),
        segment_bytes: 16 << 10,
        checkpoint_bytes: 48 << 10,
        cache_bytes: 4 << 20,
        ballast_bytes: 0,
        letter_bytes: 8 << 10,
        ..Options::default()
    }
}

pub fn open(disk: &SimDisk) -> Result<Data, store::Error> {
    // Each opening draws other numbers, and the same ones when the run is replayed.
    let options = options(disk.calls());
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Data::open(disk, options)
}

/// A store with one account.
pub fn fresh(disk: &SimDisk) -> Data {
    let data = open(disk).expect("a sound disk opens");
    data.write_blocking(|txn| {
        // What the directory writes is not looked into here.
        txn.put(Table::Accounts, &ALICE.0.to_be_bytes(), Vec::new());
        account::open(txn, ALICE)
    })
    .expect("an account opens");
    data
}

/// The n-th letter: of about 300 bytes, each 17th of 40 KB (which gets a file of its own). Each third answers another.
pub fn letter(n: u64) -> Vec<u8> {
    let mut out = format!(
        "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: Letter {n}\r\n\
         Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{n}@example.test>\r\n"
    );
    if n.is_multiple_of(3) && n > 0 {
        out.push_str(&format!("References: <{}@example.test>\r\n", n / 2));
    }
    out.push_str("\r\n");
    let lines = if n % 17 == 16 { 600 } else { 3 };
    for line in 0..lines {
        out.push_str(&format!("Line {line} of letter {n}, which says nothing that matters to anybody.\r\n"));
    }
    out.into_bytes()
}

pub fn staged(data: &Data, bytes: &[u8]) -> Result<Letter, account::Error> {
    let header = LetterHeader { accounts: vec!["alice@example.test".to_owned()], received: Time(0) };
    Letter::read(data.blobs().stage(header, bytes)?, &Limits::default())
}

/// Delivers the n-th letter.
pub fn deliver(data: &Data, n: u64, mailbox: MailboxId, flags: Flags) -> Result<account::Appended, account::Error> {
    let letter = staged(data, &letter(n))?;
    let done = data.write_blocking(move |txn| {
        let places = [Place { mailbox, flags: flags.clone() }];
        account::append(txn, ALICE, &letter, &places, Time(n as i64 * 1000), Time(n as i64 * 1000 + 5), None)
    })?;
    Ok(done.value)
}

pub fn uids(data: &Data, mailbox: MailboxId) -> Vec<Uid> {
    view::all_uids(&data.read().expect("reads"), ALICE, mailbox, usize::MAX).expect("reads")
}

pub fn find(data: &Data, name: &str) -> mailbox::Mailbox {
    mailbox::find(&data.read().expect("reads"), ALICE, name).expect("reads").expect("is there")
}

/// Nothing that [`account::check_all`] finds.
pub fn assert_sound(data: &Data) {
    let findings = account::check_all(data, true).expect("can be read");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A mailbox as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub uid_next: u32,
    pub messages: BTreeMap<u32, SeenMessage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenMessage {
    /// Digest of the letter's bytes.
    pub letter: [u8; 32],
    pub system: u8,
    pub keywords: Vec<String>,
    pub modseq: ModSeq,
}

/// The whole account as clients see it, by the names of its mailboxes, and its modseq.
pub fn look(data: &Data) -> (BTreeMap<String, Seen>, ModSeq) {
    let snapshot = data.read().expect("reads");
    let mut out = BTreeMap::new();
    for mailbox in mailbox::all(&snapshot, ALICE).expect("reads") {
        let page = view::messages(&snapshot, ALICE, mailbox.id, &[(1, u32::MAX)], Uid(0), usize::MAX).expect("reads");
        let messages = page.messages.into_iter().map(|message| {
            let email = view::email(&snapshot, ALICE, message.email).expect("reads").expect("is there");
            let bytes = data.blobs().read(email.blob, 0..u64::MAX).expect("its bytes are there");
            let mut keywords: Vec<String> = message.flags.keywords.iter().map(|k| k.to_string()).collect();
            keywords.sort();
            let seen = SeenMessage {
                letter: *blake3::hash(&bytes).as_bytes(),
                system: message.flags.system,
                keywords,
                modseq: message.modseq,
            };
            (message.uid.0, seen)
        });
        out.insert(mailbox.name.clone(), Seen { uid_next: mailbox.uid_next, messages: messages.collect() });
    }
    (out, changes::modseq(&snapshot, ALICE).expect("reads"))
}
