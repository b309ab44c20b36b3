//! Accounts by themselves: every operation, and many of them at random against a simple model.

mod household;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use homepost::account::{
    self, Error, Flags, INBOX, Mode, Overviews, Renamed, SpecialUse, Which, changes, mailbox, view,
};
use homepost::base::{MailboxId, ModSeq, Time, Uid};
use homepost::store::Data;
use homepost::store::disk::SimDisk;
use household::*;

fn flags(system: u8, keywords: &[&str]) -> Flags {
    Flags { system, keywords: keywords.iter().map(|k| Arc::from(*k)).collect() }
}

fn create(data: &Data, name: &str) -> Result<MailboxId, Error> {
    let name = name.to_owned();
    Ok(data.write_blocking(move |txn| account::create(txn, ALICE, &name))?.value)
}

fn delete(data: &Data, name: &str) -> Result<(), Error> {
    let name = name.to_owned();
    let left = data.write_blocking(move |txn| account::delete(txn, ALICE, &name))?.value;
    if let Some(id) = left {
        while data.write_blocking(move |txn| account::clear(txn, ALICE, id))?.value {}
    }
    Ok(())
}

fn rename(data: &Data, from: &str, to: &str) -> Result<Renamed, Error> {
    let (from, to) = (from.to_owned(), to.to_owned());
    Ok(data.write_blocking(move |txn| account::rename(txn, ALICE, &from, &to, Time(9)))?.value)
}

fn store(data: &Data, at: MailboxId, uids: &[Uid], mode: Mode, flags: Flags) -> Result<Vec<account::Flagged>, Error> {
    let uids = uids.to_vec();
    Ok(data.write_blocking(move |txn| account::store(txn, ALICE, at, &uids, mode, &flags))?.value)
}

fn copy(data: &Data, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Vec<(Uid, Uid)>, Error> {
    let uids = uids.to_vec();
    Ok(data.write_blocking(move |txn| account::copy(txn, ALICE, from, &uids, to, Time(9)))?.value.pairs)
}

fn move_to(data: &Data, from: MailboxId, uids: &[Uid], to: MailboxId) -> Result<Vec<(Uid, Uid)>, Error> {
    let uids = uids.to_vec();
    Ok(data.write_blocking(move |txn| account::move_to(txn, ALICE, from, &uids, to, Time(9)))?.value.pairs)
}

fn expunge(data: &Data, at: MailboxId, uids: &[Uid], which: Which) -> Result<Vec<Uid>, Error> {
    let uids = uids.to_vec();
    Ok(data.write_blocking(move |txn| account::expunge(txn, ALICE, at, &uids, which))?.value)
}

fn names(data: &Data) -> Vec<String> {
    let snapshot = data.read().unwrap();
    mailbox::list(&snapshot, ALICE).unwrap().into_iter().filter(|l| l.mailbox.is_some()).map(|l| l.name).collect()
}

#[test]
fn a_new_account_has_inbox_and_the_special_mailboxes() {
    let data = fresh(&SimDisk::sound());
    assert_eq!(names(&data), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    assert_eq!(find(&data, "inbox").id, INBOX);
    for special in SpecialUse::ALL {
        let found = mailbox::special(&data.read().unwrap(), ALICE, special).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.subscribed), (special.name(), true));
    }
    assert_sound(&data);
}

#[test]
fn a_letter_in_two_mailboxes_is_one_email_and_counts_once() {
    let data = fresh(&SimDisk::sound());
    let archive = find(&data, "Archive").id;
    let first = deliver(&data, 1, INBOX, flags(Flags::SEEN, &["$Work"])).unwrap();
    let pairs = copy(&data, INBOX, &[Uid(1), Uid(7)], archive).unwrap();
    assert_eq!(pairs, [(Uid(1), Uid(1))], "a UID that is not there is left out");
    let snapshot = data.read().unwrap();
    let copied = view::message(&snapshot, ALICE, archive, Uid(1)).unwrap().unwrap();
    assert_eq!((copied.email, copied.flags.clone()), (first.email, flags(Flags::SEEN, &["$Work"])));
    assert_eq!(copied.received, Time(1000));
    assert_eq!(account::quota::usage(&snapshot, ALICE).unwrap().bytes, letter(1).len() as u64);
    drop(snapshot);
    // The last placement takes the bytes with it.
    assert_eq!(expunge(&data, INBOX, &[Uid(1)], Which::Any).unwrap(), [Uid(1)]);
    assert_eq!(account::quota::usage(&data.read().unwrap(), ALICE).unwrap().emails, 1);
    assert_sound(&data);
    expunge(&data, archive, &[Uid(1)], Which::Any).unwrap();
    assert_eq!(account::quota::usage(&data.read().unwrap(), ALICE).unwrap(), account::quota::Usage::default());
    assert_sound(&data);
}

#[test]
fn expunge_takes_only_what_is_deleted_now() {
    let data = fresh(&SimDisk::sound());
    for n in 0..3 {
        deliver(&data, n, INBOX, flags(0, &[])).unwrap();
    }
    store(&data, INBOX, &[Uid(1), Uid(3)], Mode::Add, flags(Flags::DELETED, &[])).unwrap();
    store(&data, INBOX, &[Uid(3)], Mode::Remove, flags(Flags::DELETED, &[])).unwrap();
    assert_eq!(expunge(&data, INBOX, &[Uid(1), Uid(2), Uid(3)], Which::Deleted).unwrap(), [Uid(1)]);
    assert_eq!(uids(&data, INBOX), [Uid(2), Uid(3)]);
    assert_sound(&data);
}

#[test]
fn a_move_keeps_the_email_and_gives_a_new_uid() {
    let data = fresh(&SimDisk::sound());
    let trash = find(&data, "Trash").id;
    let email = deliver(&data, 1, INBOX, flags(Flags::FLAGGED, &["a", "b"])).unwrap().email;
    assert_eq!(move_to(&data, INBOX, &[Uid(1)], trash).unwrap(), [(Uid(1), Uid(1))]);
    let moved = view::message(&data.read().unwrap(), ALICE, trash, Uid(1)).unwrap().unwrap();
    assert_eq!((moved.email, moved.flags), (email, flags(Flags::FLAGGED, &["a", "b"])));
    // Into the mailbox it is in: RFC 6851 3.3 has nothing against it.
    assert_eq!(move_to(&data, trash, &[Uid(1)], trash).unwrap(), [(Uid(1), Uid(2))]);
    assert_eq!(uids(&data, trash), [Uid(2)]);
    assert_sound(&data);
}

#[test]
fn a_flag_that_was_there_is_no_change() {
    let data = fresh(&SimDisk::sound());
    deliver(&data, 1, INBOX, flags(Flags::SEEN, &["x"])).unwrap();
    let before = changes::modseq(&data.read().unwrap(), ALICE).unwrap();
    let told = store(&data, INBOX, &[Uid(1)], Mode::Add, flags(Flags::SEEN, &["X"])).unwrap();
    assert!(!told[0].changed);
    assert_eq!(changes::modseq(&data.read().unwrap(), ALICE).unwrap(), before, "and takes no modseq");
    let told = store(&data, INBOX, &[Uid(1)], Mode::Replace, flags(Flags::DRAFT, &["y"])).unwrap();
    assert_eq!((told[0].changed, told[0].flags.clone()), (true, flags(Flags::DRAFT, &["y"])));
    assert_eq!(told[0].modseq, ModSeq(before.0 + 1));
    assert_sound(&data);
}

#[test]
fn over_quota_is_refused_and_leaves_nothing() {
    let data = fresh(&SimDisk::sound());
    let room = letter(1).len() as u64;
    let put = |n: u64| {
        let letter = staged(&data, &letter(n)).unwrap();
        data.write_blocking(move |txn| {
            let places = [account::Place { mailbox: INBOX, flags: Flags::default() }];
            account::append(txn, ALICE, &letter, &places, Time(0), Time(0), Some(room))
        })
    };
    assert!(put(1).is_ok());
    assert!(matches!(put(2), Err(Error::OverQuota)));
    assert_eq!(find(&data, "INBOX").messages, 1);
    assert_sound(&data);
}

#[test]
fn names_come_with_the_levels_above_them() {
    let data = fresh(&SimDisk::sound());
    create(&data, "a/b/c/").unwrap();
    assert!(names(&data).starts_with(&["Archive".to_owned()]));
    assert!(["a", "a/b", "a/b/c"].iter().all(|name| names(&data).contains(&(*name).to_owned())));
    assert_eq!(create(&data, "a/b"), Err(Error::MailboxExists));
    assert_eq!(create(&data, "Inbox"), Err(Error::MailboxExists));
    // A mailbox deleted from above others leaves a level that is none (RFC 9051 6.3.5).
    delete(&data, "a/b").unwrap();
    let listed = mailbox::list(&data.read().unwrap(), ALICE).unwrap();
    let level = listed.iter().find(|l| l.name == "a/b").unwrap();
    assert_eq!((level.mailbox, level.exists, level.has_children), (None, true, true));
    assert_eq!(delete(&data, "a/b"), Err(Error::HasChildren));
    delete(&data, "a/b/c").unwrap();
    assert_eq!(delete(&data, "a/b"), Err(Error::NoSuchMailbox));
    assert!(matches!(delete(&data, "INBOX"), Err(Error::Cannot(_))));
    assert_sound(&data);
}

#[test]
fn a_mailbox_made_again_has_another_uidvalidity_and_id() {
    let data = fresh(&SimDisk::sound());
    let first = create(&data, "Club").unwrap();
    deliver(&data, 1, first, flags(0, &[])).unwrap();
    let validity = find(&data, "Club").uid_validity;
    delete(&data, "Club").unwrap();
    let second = create(&data, "Club").unwrap();
    assert_ne!(first, second);
    assert!(find(&data, "Club").uid_validity > validity);
    assert_eq!(find(&data, "Club").messages, 0);
    assert_sound(&data);
}

#[test]
fn renaming_carries_what_is_below_and_keeps_uids() {
    let data = fresh(&SimDisk::sound());
    let club = create(&data, "Club").unwrap();
    create(&data, "Club/2026").unwrap();
    deliver(&data, 1, club, flags(0, &[])).unwrap();
    let validity = find(&data, "Club").uid_validity;
    assert_eq!(rename(&data, "Club", "Old/Club"), Ok(Renamed::Done));
    assert!(names(&data).contains(&"Old/Club/2026".to_owned()) && names(&data).contains(&"Old".to_owned()));
    let moved = find(&data, "Old/Club");
    assert_eq!((moved.id, moved.uid_validity, moved.messages), (club, validity, 1));
    assert!(matches!(rename(&data, "Old", "Old/Club/x"), Err(Error::Cannot(_))));
    assert_eq!(rename(&data, "Old/Club", "Sent"), Err(Error::MailboxExists));
    assert_eq!(rename(&data, "Nothing", "Else"), Err(Error::NoSuchMailbox));
    assert_sound(&data);
}

#[test]
fn renaming_inbox_moves_its_messages_and_it_stays() {
    let data = fresh(&SimDisk::sound());
    for n in 0..5 {
        deliver(&data, n, INBOX, flags(0, &[])).unwrap();
    }
    let Ok(Renamed::Inbox { to, upto }) = rename(&data, "inbox", "Kept/Here") else { panic!("it is INBOX") };
    while data.write_blocking(move |txn| account::move_all(txn, ALICE, to, upto, Time(9))).unwrap().value {}
    assert_eq!((find(&data, "INBOX").messages, find(&data, "INBOX").uid_next), (0, 6));
    assert_eq!(find(&data, "Kept/Here").messages, 5);
    assert_sound(&data);
}

#[test]
fn subscriptions_outlive_their_mailbox() {
    let data = fresh(&SimDisk::sound());
    let subscribe = |name: &'static str, on: bool| {
        data.write_blocking(move |txn| account::subscribe(txn, ALICE, name, on)).map(|done| done.value)
    };
    let subscribed = |name: &str| {
        let listed = mailbox::list(&data.read().unwrap(), ALICE).unwrap();
        listed.into_iter().find(|l| l.name == name).map(|l| (l.subscribed, l.exists))
    };
    create(&data, "Club").unwrap();
    subscribe("Club", true).unwrap();
    delete(&data, "Club").unwrap();
    assert_eq!(subscribed("Club"), Some((true, false)), "RFC 9051 6.3.7");
    create(&data, "Club").unwrap();
    assert_eq!(subscribed("Club"), Some((true, true)));
    subscribe("Club", false).unwrap();
    assert_eq!(subscribed("Club"), Some((false, true)));
    subscribe("Nowhere", true).unwrap();
    subscribe("Nowhere", false).unwrap();
    assert_eq!(subscribed("Nowhere"), None);
    assert_sound(&data);
}

#[test]
fn answers_join_the_thread_of_what_they_answer() {
    let data = fresh(&SimDisk::sound());
    let root = deliver(&data, 1, INBOX, flags(0, &[])).unwrap().thread;
    // The third refers to the first.
    assert_eq!(deliver(&data, 3, INBOX, flags(0, &[])).unwrap().thread, root);
    assert_ne!(deliver(&data, 4, INBOX, flags(0, &[])).unwrap().thread, root);
    // The twelfth and the thirty-ninth both refer to letters that never came, each to its own.
    assert_ne!(deliver(&data, 12, INBOX, flags(0, &[])).unwrap().thread, root);
    assert_sound(&data);
}

#[test]
fn a_closed_account_goes_to_its_last_row() {
    let data = fresh(&SimDisk::sound());
    for n in 0..20 {
        deliver(&data, n, INBOX, flags(0, &[])).unwrap();
    }
    data.write_blocking(|txn| {
        txn.delete(homepost::store::Table::Accounts, &ALICE.0.to_be_bytes());
        account::close(txn, ALICE)
    })
    .unwrap();
    assert!(matches!(deliver(&data, 99, INBOX, flags(0, &[])), Err(Error::NoSuchAccount)));
    while data.write_blocking(|txn| account::remove(txn, ALICE)).unwrap().value {}
    assert!(account::accounts(&data.read().unwrap()).unwrap().is_empty());
    assert_sound(&data);
}

#[test]
fn a_watcher_wakes_for_its_account_and_never_before_it_is_there() {
    let data = fresh(&SimDisk::sound());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let since = changes::modseq(&data.read().unwrap(), ALICE).unwrap();
    let mut watcher = account::Watcher::new(&data, ALICE);
    let other = data.clone();
    let writer = std::thread::spawn(move || deliver(&other, 1, INBOX, Flags::default()).unwrap().modseq);
    let told = runtime.block_on(watcher.beyond(since)).unwrap();
    assert_eq!(changes::since(&data.read().unwrap(), ALICE, INBOX, since).unwrap().arrived, [Uid(1)]);
    assert_eq!(told, writer.join().unwrap());
    // What is already there is told at once.
    assert_eq!(runtime.block_on(watcher.beyond(since)), Ok(told));
}

/// What the model knows of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    letter: u64,
    system: u8,
    keywords: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Model {
    name: String,
    validity: u32,
    next: u32,
    messages: BTreeMap<u32, Known>,
}

/// A client that follows a mailbox through the log alone.
#[derive(Clone, Debug, Default)]
struct Follower {
    upto: ModSeq,
    messages: BTreeMap<u32, Flags>,
}

struct World {
    data: Data,
    dice: Dice,
    letters: u64,
    model: BTreeMap<MailboxId, Model>,
    followers: BTreeMap<MailboxId, Follower>,
    /// Which letter each UID of each UIDVALIDITY ever stood for (P8).
    given: BTreeMap<(u32, u32), u64>,
    modseq: ModSeq,
    overviews: Overviews,
}

const KEYWORDS: [&str; 6] = ["$Forwarded", "$Junk", "work", "home", "later", "x"];

#[test]
fn many_operations_at_random_do_as_the_model_does() {
    let seed = seed(0x00c0_ffee);
    let disk = SimDisk::sound();
    let data = fresh(&disk);
    let mut world = World {
        dice: Dice(seed),
        letters: 0,
        model: BTreeMap::new(),
        followers: BTreeMap::new(),
        given: BTreeMap::new(),
        modseq: ModSeq(0),
        overviews: Overviews::default(),
        data,
    };
    for mailbox in mailbox::all(&world.data.read().unwrap(), ALICE).unwrap() {
        world.adopt(mailbox.id);
    }
    for step in 0..2000 {
        world.step();
        world.overlook();
        if step % 25 == 24 {
            world.follow();
        }
        if step % 150 == 149 {
            world.compare();
            assert_sound(&world.data);
            // The store is opened again, as after a stop.
            let World { data, .. } = &world;
            let closed = data.clone();
            world.data = reopen(closed, &disk);
            world.compare();
        }
    }
    world.follow();
    world.compare();
    assert_sound(&world.data);
}

fn reopen(data: Data, disk: &SimDisk) -> Data {
    data.close().unwrap();
    drop(data);
    open(disk).unwrap()
}

impl World {
    /// What is kept of one mailbox, however old, and brought up to date, is what going over it now shows.
    fn overlook(&mut self) {
        let ids: Vec<MailboxId> = self.model.keys().copied().collect();
        let id = self.dice.pick(&ids).unwrap();
        let snapshot = self.data.read().unwrap();
        let row = mailbox::get(&snapshot, ALICE, id).unwrap();
        let overview = self.overviews.of(&snapshot, ALICE, &row).unwrap();
        let uids: Vec<u32> = overview.ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
        let model = &self.model[&id].messages;
        assert_eq!(uids, model.keys().copied().collect::<Vec<u32>>());
        let unseen = model.iter().find(|(_, known)| known.system & Flags::SEEN == 0).map(|(uid, _)| Uid(*uid));
        assert_eq!(overview.first_unseen, unseen, "mailbox {id}");
        assert!(overview.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "as few ranges as can be");
    }

    fn adopt(&mut self, id: MailboxId) {
        let row = mailbox::get(&self.data.read().unwrap(), ALICE, id).unwrap();
        assert!(self.model.values().all(|m| m.validity != row.uid_validity), "UIDVALIDITY is new");
        let model = Model { name: row.name, validity: row.uid_validity, next: 1, messages: BTreeMap::new() };
        assert!(self.model.insert(id, model).is_none(), "ids are new");
        self.followers.insert(id, Follower::default());
    }

    fn arrive(&mut self, mailbox: MailboxId, uid: Uid, known: Known) {
        let model = self.model.get_mut(&mailbox).unwrap();
        assert_eq!(uid.0, model.next, "UIDs grow by one");
        model.next += 1;
        let before = self.given.insert((model.validity, uid.0), known.letter);
        assert_eq!(before, None, "a UID is given once");
        model.messages.insert(uid.0, known);
    }

    fn some_uids(&mut self, mailbox: MailboxId) -> Vec<Uid> {
        let there: Vec<u32> = self.model[&mailbox].messages.keys().copied().collect();
        let mut uids: Vec<Uid> = (0..self.dice.below(6)).filter_map(|_| self.dice.pick(&there)).map(Uid).collect();
        uids.sort();
        uids.dedup();
        uids
    }

    fn some_flags(&mut self) -> Flags {
        let mut words: Vec<&str> = (0..self.dice.below(3)).filter_map(|_| self.dice.pick(&KEYWORDS)).collect();
        words.sort();
        words.dedup();
        flags(self.dice.below(32) as u8, &words)
    }

    fn step(&mut self) {
        let ids: Vec<MailboxId> = self.model.keys().copied().collect();
        let at = self.dice.pick(&ids).unwrap();
        let to = self.dice.pick(&ids).unwrap();
        match self.dice.below(20) {
            0..=6 => {
                let n = self.letters;
                self.letters += 1;
                let flags = self.some_flags();
                let done = deliver(&self.data, n, at, flags.clone()).unwrap();
                assert!(done.modseq > self.modseq, "modseqs grow");
                self.modseq = done.modseq;
                let keywords = flags.keywords.iter().map(|k| k.to_string()).collect();
                self.arrive(at, done.places[0].uid, Known { letter: n, system: flags.system, keywords });
            }
            7..=10 => {
                let uids = self.some_uids(at);
                let flags = self.some_flags();
                let mode = self.dice.pick(&[Mode::Replace, Mode::Add, Mode::Remove]).unwrap();
                let told = store(&self.data, at, &uids, mode, flags.clone()).unwrap();
                assert_eq!(told.len(), uids.len());
                for uid in uids {
                    let known = self.model.get_mut(&at).unwrap().messages.get_mut(&uid.0).unwrap();
                    let words = flags.keywords.iter().map(|k| k.to_string());
                    match mode {
                        Mode::Replace => {
                            known.system = flags.system;
                            known.keywords = words.collect();
                        }
                        Mode::Add => {
                            known.system |= flags.system;
                            known.keywords.extend(words);
                        }
                        Mode::Remove => {
                            known.system &= !flags.system;
                            words.for_each(|word| {
                                known.keywords.remove(&word);
                            });
                        }
                    }
                }
            }
            11 | 12 => {
                let uids = self.some_uids(at);
                for (from, new) in copy(&self.data, at, &uids, to).unwrap() {
                    let known = self.model[&at].messages[&from.0].clone();
                    self.arrive(to, new, known);
                }
            }
            13 | 14 => {
                let uids = self.some_uids(at);
                for (from, new) in move_to(&self.data, at, &uids, to).unwrap() {
                    let known = self.model.get_mut(&at).unwrap().messages.remove(&from.0).unwrap();
                    self.arrive(to, new, known);
                }
            }
            15 | 16 => {
                let uids = self.some_uids(at);
                let model = self.model.get_mut(&at).unwrap();
                let deleted: Vec<Uid> =
                    uids.iter().copied().filter(|u| model.messages[&u.0].system & Flags::DELETED != 0).collect();
                for uid in &deleted {
                    model.messages.remove(&uid.0);
                }
                assert_eq!(expunge(&self.data, at, &uids, Which::Deleted).unwrap(), deleted);
            }
            17 => {
                let n = self.dice.below(12);
                if let Ok(id) = create(&self.data, &format!("Box {n}")) {
                    self.adopt(id);
                }
            }
            18 => {
                let name = self.model[&at].name.clone();
                if name.starts_with("Box") && self.dice.below(3) == 0 {
                    delete(&self.data, &name).unwrap();
                    self.model.remove(&at);
                    self.followers.remove(&at);
                }
            }
            _ => {
                let (name, n) = (self.model[&at].name.clone(), self.dice.below(12));
                if name.starts_with("Box") && rename(&self.data, &name, &format!("Box {n}")).is_ok() {
                    self.model.get_mut(&at).unwrap().name = format!("Box {n}");
                }
            }
        }
    }

    /// Lets every follower read what happened, and compares.
    fn follow(&mut self) {
        let snapshot = self.data.read().unwrap();
        for (id, follower) in &mut self.followers {
            let told = changes::since(&snapshot, ALICE, *id, follower.upto).unwrap();
            assert!(told.complete && told.upto >= follower.upto);
            for uid in &told.expunged {
                follower.messages.remove(&uid.0);
            }
            for uid in told.arrived.iter().chain(&told.flags) {
                let message = view::message(&snapshot, ALICE, *id, *uid).unwrap().expect("it is there");
                follower.messages.insert(uid.0, message.flags);
            }
            follower.upto = told.upto;
            let model = &self.model[id];
            assert!(follower.messages.keys().eq(model.messages.keys()), "the log tells what came and went");
            for (uid, flags) in &follower.messages {
                assert_eq!(flags.system, model.messages[uid].system, "the log tells of flags");
            }
        }
    }

    fn compare(&self) {
        let snapshot = self.data.read().unwrap();
        let all = mailbox::all(&snapshot, ALICE).unwrap();
        assert!(all.iter().map(|m| m.id).eq(self.model.keys().copied()));
        for row in all {
            let model = &self.model[&row.id];
            assert_eq!((&row.name, row.uid_validity, row.uid_next), (&model.name, model.validity, model.next));
            let unseen = model.messages.values().filter(|m| m.system & Flags::SEEN == 0).count();
            assert_eq!((row.messages as usize, row.unseen as usize), (model.messages.len(), unseen));
            let page = view::messages(&snapshot, ALICE, row.id, &[(1, u32::MAX)], Uid(0), usize::MAX).unwrap();
            assert!(page.messages.iter().map(|m| m.uid.0).eq(model.messages.keys().copied()));
            for message in page.messages {
                let known = &model.messages[&message.uid.0];
                let keywords: BTreeSet<String> = message.flags.keywords.iter().map(|k| k.to_string()).collect();
                assert_eq!((message.flags.system, &keywords), (known.system, &known.keywords));
                let email = view::email(&snapshot, ALICE, message.email).unwrap().unwrap();
                assert_eq!(self.data.blobs().read(email.blob, 0..email.size).unwrap(), letter(known.letter));
            }
        }
    }
}
