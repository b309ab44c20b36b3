//! Backups on simulated disks: cut at every call, one bit flipped anywhere, a full stick; and what comes back.

mod household;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use homepost::account::{self, Flags, INBOX, Which};
use homepost::appliance::backup::{self, Error, Keys, Made, Secret, Sheet, Source};
use homepost::base::{SeededRandom, Time, Uid};
use homepost::directory::manage::{self, account::NewAccount};
use homepost::directory::{Credential, dkim};
use homepost::queue;
use homepost::store::blob::LetterHeader;
use homepost::store::data::Options;
use homepost::store::disk::{Disk, Fault, RealDisk, SimDisk, SimOptions, Site};
use homepost::store::{Data, Order, Read, Table};
use household::*;

const WORDS: &str = "apple river lamp oak tulip moon finch goat kite plum";

fn house() -> Data {
    house_on(&SimDisk::sound())
}

fn house_on(disk: &SimDisk) -> Data {
    let data = open(disk).expect("a sound disk opens");
    let now = Time(1);
    let credential = Credential::new("alice@example.test", "correct horse battery", &SeededRandom::new(1), now);
    let credential = credential.expect("it can be used");
    let keys = dkim::NewKeys::make(&SeededRandom::new(2), now).expect("they can be made");
    data.write_blocking(move |txn| {
        manage::domain::add(txn, "example.test", &keys, now)?;
        let new = NewAccount { address: "alice@example.test".to_owned(), ..NewAccount::default() };
        let id = manage::account::add(txn, &new, &credential, now)?;
        account::open(txn, id).map_err(|error| homepost::directory::Error::Unusable(error.to_string()))
    })
    .expect("the house is set up");
    data
}

fn keys() -> Keys {
    let random = SeededRandom::new(3);
    let mut keys = Keys::new(&random);
    // Sealing takes its time on purpose: once for all tests of a thread.
    keys.words = Some(keys.seal(Sheet::Words, &Secret(WORDS.to_owned()), &random).expect("it is sealed"));
    keys
}

fn files() -> Vec<(String, Vec<u8>)> {
    vec![
        ("settings.toml".to_owned(), b"hostname = \"mail.example.test\"\n".to_vec()),
        ("tls/key.pem".to_owned(), vec![7; 90]),
    ]
}

fn create_at(disk: &SimDisk, data: &Data, keys: &Keys, at: Time) -> Result<Made, Error> {
    let files = files();
    let source = Source { data, files: &files, host: "mail.example.test" };
    backup::create(disk, &source, keys, true, at, &SeededRandom::new(disk.calls()))
}

fn create(disk: &SimDisk, data: &Data, keys: &Keys) -> Result<Made, Error> {
    create_at(disk, data, keys, Time(1_700_000_000_000))
}

/// What is put back of the newest backup.
fn restored(disk: &dyn Disk, keys: &Keys) -> Result<(Data, backup::Restored), Error> {
    let head = backup::newest(disk, &keys.identity)?.ok_or(Error::Nothing)?;
    // After a call, so that it draws other numbers than the store it stands for.
    let target = SimDisk::sound();
    Disk::list(&target).expect("it lists");
    let into = open(&target).expect("an empty disk opens");
    let done = backup::fill(disk, &head, &keys.identity, &into, &mut |_, _, _| {})?;
    Ok((into, done))
}

fn assert_same(before: &Data, after: &Data) {
    let ((old, modseq), (new, new_modseq)) = (look(before), look(after));
    let jump = new_modseq.0 - modseq.0;
    assert!(jump >= 1 << 20, "U4: {jump}");
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    for (name, old) in &old {
        let new = &new[name];
        assert_eq!(u64::from(new.uid_next), u64::from(old.uid_next) + jump, "U4, {name}");
        assert_eq!(new.messages.len(), old.messages.len());
        for (uid, message) in &old.messages {
            assert_eq!(new.messages[uid], SeenMessage { modseq: new_modseq, ..message.clone() }, "{name} {uid}");
        }
    }
    assert_sound(after);
    assert_eq!(after.check().unwrap(), Vec::<String>::new());
    assert_eq!(queue::check(&after.read().unwrap()).unwrap(), Vec::<String>::new());
}

fn content(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &String| {
        let file = Disk::open(disk, name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    Disk::list(disk).unwrap().into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Another disk with the same files.
fn copied(base: &SimDisk, seed: u64) -> SimDisk {
    let disk = SimDisk::new(SimOptions { seed, ..SimOptions::default() });
    for (name, bytes) in content(base) {
        let file = disk.create(&name).unwrap();
        file.write_at(0, &bytes).unwrap();
        file.sync(Site::Archive).unwrap();
    }
    disk.sync_dir(Site::Archive).unwrap();
    disk
}

fn fill_house(data: &Data, letters: std::ops::Range<u64>) {
    for n in letters {
        deliver(data, n, INBOX, Flags::system(n as u8 % 32)).expect("it is delivered");
    }
}

#[test]
fn everything_comes_back_under_a_new_epoch_and_queued_mail_is_held() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    fill_house(&data, 0..60);
    let club = data.write_blocking(|txn| account::create(txn, ALICE, "Club/2026")).unwrap().value;
    data.write_blocking(move |txn| account::copy(txn, ALICE, INBOX, &[Uid(3), Uid(4)], club, Time(9)).map(drop))
        .unwrap();
    data.write_blocking(|txn| account::expunge(txn, ALICE, INBOX, &[Uid(1)], Which::Any)).unwrap();
    let staged = data.blobs().stage(LetterHeader::default(), b"Subject: out\r\n\r\nx\r\n").unwrap();
    let new = queue::NewLetter {
        staged,
        from: Some("alice@example.test".to_owned()),
        account: Some(ALICE),
        utf8: false,
        eight_bit: false,
        ret_full: None,
        envid: None,
        tls: queue::Tls::Usual,
        proven: true,
        release: None,
        by: None,
    };
    let to = [queue::NewRecipient { address: "bob@far.test".to_owned(), notify: None, orcpt: None }];
    data.write_blocking(move |txn| queue::enqueue(txn, &new, &to, Time(5), queue::Limits::default())).unwrap();

    let made = create(&disk, &data, &keys).unwrap();
    assert_eq!((made.number, made.messages, made.new_letters), (1, 61, 60), "59 letters and one in the queue");
    let before = content(&disk);
    let (after, done) = restored(&disk, &keys).unwrap();
    assert_eq!(content(&disk), before, "U5");
    assert_eq!((done.accounts, done.letters, done.missing), (1, 60, 0));
    assert_eq!(done.files, files());
    assert_same(&data, &after);
    assert_ne!(data.epoch().unwrap(), after.epoch().unwrap());
    let rows = |data: &Data, table| {
        let mut rows = Vec::new();
        let snapshot = data.read().unwrap();
        let scanned = snapshot.scan(table, &[], &[0xff; 64], Order::Forward, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        scanned.map(|()| rows).unwrap()
    };
    for table in
        [Table::Accounts, Table::Addresses, Table::Credentials, Table::Domains, Table::DkimKeys, Table::Threads]
    {
        assert!(!rows(&data, table).is_empty(), "{table:?}");
        assert_eq!(rows(&after, table), rows(&data, table), "{table:?}");
    }
    let dkim = |data: &Data| dkim::list(&data.read().unwrap(), "example.test").unwrap();
    assert_eq!(dkim(&after), dkim(&data));
    let held = queue::list(&after.read().unwrap(), homepost::base::QueueId(0), 9).unwrap();
    assert_eq!(held.len(), 1);
    assert!(held[0].recipients.iter().all(|one| one.state == queue::State::Held));
    // P8: a new letter's UID, and ids of everything, are above what the old store could have given out.
    let appended = deliver(&after, 500, INBOX, Flags::default()).unwrap();
    assert!(appended.places[0].uid.0 > 1 << 20);
    let next = after.write_blocking(|txn| txn.next("uidvalidity")).map(|done| done.value);
    assert!(next.is_ok());
    assert_sound(&after);
}

#[test]
fn a_second_backup_writes_only_what_is_new() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    fill_house(&data, 0..200);
    let first = create(&disk, &data, &keys).unwrap();
    let again = create(&disk, &data, &keys).unwrap();
    assert_eq!((again.new_letters, again.letters), (0, first.letters));
    assert!(again.written * 5 < first.written, "{} of {}", again.written, first.written);
    fill_house(&data, 200..201);
    assert_eq!(create(&disk, &data, &keys).unwrap().new_letters, 1);
    assert_same(&data, &restored(&disk, &keys).unwrap().0);
    // Nearly all goes, and so do the files that hold it, once no backup that is kept asks for it.
    let gone: Vec<Uid> = uids(&data, INBOX).into_iter().filter(|uid| uid.0 > 5).collect();
    data.write_blocking(move |txn| account::expunge(txn, ALICE, INBOX, &gone, Which::Any)).unwrap();
    let full: usize = content(&disk).values().map(Vec::len).sum();
    for day in 1..40 {
        create_at(&disk, &data, &keys, Time(1_700_000_000_000 + day * 600_000)).unwrap();
    }
    let small: usize = content(&disk).values().map(Vec::len).sum();
    assert!(small < full, "{small} of {full}");
    assert_same(&data, &restored(&disk, &keys).unwrap().0);
    assert!(backup::verify(&disk, Some(&keys.identity)).unwrap().findings.is_empty());
}

/// U1: cut at every call; what was there before is whole, and the next run ends well.
#[test]
fn after_a_cut_at_any_call_the_backup_before_can_be_restored() {
    let keys = keys();
    let data = house();
    fill_house(&data, 0..20);
    let base = SimDisk::sound();
    create(&base, &data, &keys).unwrap();
    fill_house(&data, 20..24);
    let mut n = 0;
    loop {
        n += 1;
        let disk = copied(&base, n);
        disk.plan(&[(n, Fault::Cut)]);
        let made = create(&disk, &data, &keys);
        if made.is_ok() {
            assert!(n > 50, "{n}");
            break;
        }
        disk.reboot();
        disk.plan(&[]);
        let head = backup::newest(&disk, &keys.identity).unwrap().expect("one is there");
        assert!(head.number == 1 || head.number == 2);
        let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
        assert!(report.sound.contains(&head.number), "cut {n}: {report:?}");
        let (after, done) = restored(&disk, &keys).unwrap_or_else(|error| panic!("cut {n}: {error}"));
        assert_eq!(done.letters, if head.number == 1 { 20 } else { 24 });
        if n.is_multiple_of(7) {
            assert_sound(&after);
            // What was written before the cut is used, and nothing is left behind.
            create(&disk, &data, &keys).unwrap_or_else(|error| panic!("after cut {n}: {error}"));
            let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
            assert_eq!(report.findings, Vec::<String>::new(), "after cut {n}");
            let listed = backup::list(&disk).unwrap();
            let named: usize = listed
                .iter()
                .flat_map(|sums| &sums.files)
                .map(|(name, _)| name)
                .collect::<std::collections::BTreeSet<_>>()
                .len();
            assert_eq!(Disk::list(&disk).unwrap().len(), named + listed.len() + 3, "after cut {n}");
        }
    }
}

/// U2: a flipped bit in any file, anywhere, is found.
#[test]
fn a_flipped_bit_in_each_of_a_thousand_archives_is_found() {
    let keys = keys();
    let data = house();
    fill_house(&data, 0..8);
    let disk = SimDisk::sound();
    create(&disk, &data, &keys).unwrap();
    fill_house(&data, 8..12);
    create(&disk, &data, &keys).unwrap();
    assert_eq!(backup::verify(&disk, Some(&keys.identity)).unwrap().findings, Vec::<String>::new());
    let there = content(&disk);
    let all: usize = there.values().map(Vec::len).sum();
    let mut dice = Dice(seed(11));
    for _ in 0..1000 {
        let (mut at, bit) = (dice.below(all), dice.below(8));
        let (name, bytes) = there
            .iter()
            .find(|(_, bytes)| {
                let here = at < bytes.len();
                if !here {
                    at -= bytes.len();
                }
                here
            })
            .unwrap();
        let file = Disk::open(&disk, name).unwrap();
        file.write_at(at as u64, &[bytes[at] ^ 1 << bit]).unwrap();
        // Without the key as well: stock tools find the same.
        let report = backup::verify(&disk, None).unwrap();
        assert!(!report.findings.is_empty(), "byte {at} of {name}, bit {bit}");
        file.write_at(at as u64, &[bytes[at]]).unwrap();
    }
    assert!(backup::verify(&disk, None).unwrap().findings.is_empty());
}

/// U2: who can make new sums, but has not the key, changes nothing unseen; and a restore stops at the first thing that is wrong.
#[test]
fn what_was_tampered_with_is_not_put_back() {
    let keys = keys();
    let data = house();
    fill_house(&data, 0..8);
    let disk = SimDisk::sound();
    create(&disk, &data, &keys).unwrap();
    for (name, bytes) in content(&disk).iter().filter(|(name, _)| name.ends_with(".age") && !name.starts_with("key-")) {
        let file = Disk::open(&disk, name).unwrap();
        // A damaged file of letters costs its letters, and nothing of it comes back; all else is nothing without its rows.
        let costs = |how: &str| match restored(&disk, &keys) {
            Ok((after, done)) => {
                assert!(name.starts_with("letters-"), "{name} {how}: put back");
                assert_eq!((done.letters, done.missing, done.damaged, done.accounts), (0, 8, 1, 1), "{name} {how}");
                let row =
                    |key: &[u8]| after.blobs().len(homepost::base::BlobId(u64::from_be_bytes(key.try_into().unwrap())));
                let mut letters = 0;
                let count = &mut |key: &[u8], _: &[u8]| {
                    letters += usize::from(row(key).unwrap().is_some());
                    ControlFlow::Continue(())
                };
                after.read().unwrap().scan(Table::Blobs, &[], &[0xff; 9], Order::Forward, count).unwrap();
                assert_eq!(letters, 0, "U2");
            }
            Err(error) => {
                assert!(!name.starts_with("letters-") && matches!(error, Error::Damaged(_)), "{name}: {error}")
            }
        };
        file.write_at(bytes.len() as u64 / 2, &[bytes[bytes.len() / 2] ^ 1]).unwrap();
        costs("changed");
        file.write_at(0, bytes).unwrap();
        file.set_len(bytes.len() as u64 - 1).unwrap();
        costs("cut short");
        file.write_at(0, bytes).unwrap();
    }
    assert!(restored(&disk, &keys).is_ok());
    assert!(matches!(backup::newest(&disk, &Keys::new(&SeededRandom::new(9)).identity), Err(Error::OtherKey)));
    let wrong = backup::unlock(&disk, &keys.box_id, &Secret("apple river".to_owned())).map(|_| ());
    assert_eq!(wrong, Err(Error::OtherSecret));
    let opened = backup::unlock(&disk, &keys.box_id, &Secret(WORDS.to_uppercase().replace(' ', "-"))).unwrap();
    assert_eq!(opened.identity.text(), keys.identity.text());
}

#[test]
fn on_a_full_stick_the_oldest_goes_first_and_the_last_good_one_never() {
    let keys = keys();
    let data = house();
    fill_house(&data, 0..20);
    let disk = SimDisk::sound();
    let at = |hour: i64| Time(1_700_000_000_000 + hour * 3_600_000);
    create_at(&disk, &data, &keys, at(0)).unwrap();
    create_at(&disk, &data, &keys, at(1)).unwrap();
    create_at(&disk, &data, &keys, at(2)).unwrap();
    fill_house(&data, 20..22);
    disk.set_capacity(Some(taken(&disk) + 24_000));
    let made = create_at(&disk, &data, &keys, at(3)).unwrap();
    assert!(made.removed > 0 && backup::list(&disk).unwrap()[0].number == made.number);
    let there = backup::list(&disk).unwrap();
    assert!(there.len() < 4);
    assert!(restored(&disk, &keys).is_ok());
}

fn taken(disk: &SimDisk) -> u64 {
    content(disk).values().map(|bytes| bytes.len().div_ceil(4096) as u64 * 4096).sum()
}

fn hour(n: i64) -> Time {
    Time(1_700_000_000_000 + n * 3_600_000)
}

/// Backups of five hours; half of the letters of the first four are in none but those.
fn five_backups() -> (Data, Keys, SimDisk) {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    for n in 0..4 {
        fill_house(&data, n * 34..n * 34 + 34);
        create_at(&disk, &data, &keys, hour(n as i64)).unwrap();
    }
    let gone: Vec<Uid> = uids(&data, INBOX).into_iter().filter(|uid| uid.0 <= 68).collect();
    data.write_blocking(move |txn| account::expunge(txn, ALICE, INBOX, &gone, Which::Any)).unwrap();
    create_at(&disk, &data, &keys, hour(4)).unwrap();
    (data, keys, disk)
}

/// With any room, from none to enough: either a backup is made, or all that was there is as it was.
#[test]
fn a_stick_on_which_there_can_be_no_room_loses_nothing_for_it() {
    let (data, keys, base) = five_backups();
    fill_house(&data, 200..370);
    let mut full = 0;
    let mut removed = BTreeSet::new();
    for blocks in 0..40 {
        let disk = copied(&base, blocks);
        let before = content(&disk);
        disk.set_capacity(Some(taken(&disk) + blocks * 4096));
        match create_at(&disk, &data, &keys, hour(5)) {
            Ok(made) => {
                assert_eq!(restored(&disk, &keys).unwrap().1.letters, 238);
                assert!(backup::verify(&disk, Some(&keys.identity)).unwrap().findings.is_empty());
                assert!(removed.first().is_none_or(|fewest| made.removed <= *fewest), "more room, and more went");
                removed.insert(made.removed);
                // The oldest went, and no more than had to.
                let left: Vec<u32> = backup::list(&disk).unwrap().iter().map(|sums| sums.number).collect();
                assert_eq!(left, (1 + made.removed as u32..=6).rev().collect::<Vec<_>>(), "with {blocks} blocks");
            }
            Err(error) => {
                assert_eq!(error, Error::Full);
                assert!(content(&disk) == before, "with {blocks} blocks something changed");
                assert!(removed.is_empty(), "more room is no less");
                full += 1;
            }
        }
    }
    assert!(full > 0 && removed.contains(&0) && removed.len() > 2, "{full}, {removed:?}");
    // More letters than the stick has room for: nothing is written that would have to go again.
    let (data, disk) = (house(), copied(&base, 1));
    fill_house(&data, 0..3000);
    let (before, room) = (content(&disk), taken(&disk) + 40 * 4096);
    disk.set_capacity(Some(room));
    assert_eq!(create_at(&disk, &data, &keys, hour(5)), Err(Error::Full));
    assert!(content(&disk) == before);
}

/// What no backup names makes room before any backup does.
#[test]
fn what_a_torn_backup_left_behind_goes_before_one_that_is_whole() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    let at = |hour: i64| Time(1_700_000_000_000 + hour * 3_600_000);
    fill_house(&data, 0..34);
    create_at(&disk, &data, &keys, at(0)).unwrap();
    fill_house(&data, 34..400);
    create_at(&disk, &data, &keys, at(1)).unwrap();
    // Its sums are torn, so that nothing of it goes by itself; and its letters are deleted since.
    let file = Disk::open(&disk, "head-00000002.sha256").unwrap();
    file.set_len(file.len().unwrap() - 9).unwrap();
    let gone: Vec<Uid> = uids(&data, INBOX).into_iter().filter(|uid| uid.0 > 34).collect();
    data.write_blocking(move |txn| account::expunge(txn, ALICE, INBOX, &gone, Which::Any)).unwrap();
    fill_house(&data, 500..534);
    disk.set_capacity(Some(taken(&disk)));
    let made = create_at(&disk, &data, &keys, at(2)).unwrap();
    assert_eq!(made.removed, 0);
    let left: Vec<u32> = backup::list(&disk).unwrap().iter().map(|sums| sums.number).collect();
    assert_eq!(left, [made.number, 1]);
    assert_eq!(restored(&disk, &keys).unwrap().1.letters, 68);
}

/// What a backup that was cut off has left behind is used, and none goes that need not.
#[test]
fn a_backup_that_was_cut_off_is_ended_in_the_room_that_it_left() {
    let (data, keys, base) = (house(), keys(), SimDisk::sound());
    let at = |hour: i64| Time(1_700_000_000_000 + hour * 3_600_000);
    for hour in 0..3 {
        fill_house(&data, hour * 34..hour * 34 + 34);
        create_at(&base, &data, &keys, at(hour as i64)).unwrap();
    }
    // A megabyte, in far less.
    fill_house(&data, 200..700);
    let all = copied(&base, 1);
    let before = all.calls();
    create_at(&all, &data, &keys, at(3)).unwrap();
    let (room, calls) = (taken(&all), all.calls() - before);
    let mut ended = 0;
    for n in (calls / 2..calls).step_by(2) {
        let disk = copied(&base, n);
        disk.plan(&[(n, Fault::Cut)]);
        if create_at(&disk, &data, &keys, at(3)).is_ok() {
            continue;
        }
        disk.reboot();
        disk.plan(&[]);
        disk.set_capacity(Some(room + 5 * 4096));
        // The cut may have come when it was there already.
        let there = backup::list(&disk).unwrap().len();
        let made = create_at(&disk, &data, &keys, at(4)).unwrap_or_else(|error| panic!("cut at {n}: {error}"));
        assert_eq!((made.removed, backup::list(&disk).unwrap().len()), (0, there + 1), "cut at {n}");
        assert_eq!(restored(&disk, &keys).unwrap().1.letters, 602);
        ended += 1;
    }
    assert!(ended > 3, "{ended}");
}

/// As it is asked, so it is answered: neither a cut nor an error while room is looked for, and made, costs the last backup.
#[test]
fn a_cut_or_an_error_while_room_is_made_costs_only_what_had_to_go() {
    let (data, keys, base) = five_backups();
    fill_house(&data, 200..234);
    // The most room with which some have to go.
    let tried = (1..40).rev().find_map(|blocks| {
        let disk = copied(&base, 1);
        disk.set_capacity(Some(taken(&disk) + blocks * 4096));
        let made = create_at(&disk, &data, &keys, hour(5)).ok()?;
        (made.removed > 0).then_some((blocks, made.removed))
    });
    let (blocks, went) = tried.expect("with little room some have to go");
    let room = taken(&base) + blocks * 4096;
    for fault in [Fault::Cut, Fault::Eio] {
        let mut n = 1;
        loop {
            let disk = copied(&base, n);
            disk.set_capacity(Some(room));
            disk.plan(&[(n, fault)]);
            let made = create_at(&disk, &data, &keys, hour(5));
            let is_over = disk.calls() < n;
            disk.reboot();
            disk.plan(&[]);
            let head = backup::newest(&disk, &keys.identity).unwrap().expect("one is there");
            assert!(head.number >= 5, "{fault:?} {n}");
            assert!(made.is_err() || head.number > 5, "{fault:?} {n}");
            // No other goes than has to; where a file cannot be read once, more has to be written, and room made for it.
            let went = went + usize::from(fault == Fault::Eio);
            let left = backup::list(&disk).unwrap().len();
            assert!(left >= 5 - went + usize::from(head.number > 5), "{fault:?} {n}: {left}, {went}, {made:?}");
            let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
            assert!(report.sound.contains(&head.number), "{fault:?} {n}: {report:?}");
            if is_over {
                break;
            }
            n += 3;
        }
        assert!(n > 60, "{n}");
    }
}

/// On a card that is dying.
#[test]
fn a_letter_that_cannot_be_read_costs_no_other_and_is_tried_again() {
    let (own, keys, disk) = (SimDisk::sound(), keys(), SimDisk::sound());
    let data = house_on(&own);
    fill_house(&data, 0..8);
    // The rows are in memory; the first call is a letter's.
    own.plan(&[(1, Fault::Eio)]);
    let made = create(&disk, &data, &keys).unwrap();
    assert_eq!((made.unreadable, made.new_letters), (1, 7));
    let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
    assert_eq!((report.missing.get(&1), report.damaged.len(), report.findings.len()), (Some(&1), 0, 1));
    assert_eq!(report.sound, [1], "all that it has can be put back");
    let (_, done) = restored(&disk, &keys).unwrap();
    assert_eq!((done.letters, done.missing, done.damaged), (7, 1, 0));
    let made = create(&disk, &data, &keys).unwrap();
    assert_eq!((made.unreadable, made.new_letters), (0, 1));
}

/// However many backups of the settings come after it, on a disk as full as can be.
#[test]
fn the_last_backup_with_the_letters_outlives_those_without() {
    let keys = keys();
    let data = house();
    fill_house(&data, 0..8);
    let disk = SimDisk::sound();
    let at = |hour: i64| Time(1_700_000_000_000 + hour * 3_600_000);
    create_at(&disk, &data, &keys, at(0)).unwrap();
    let settings = |hour| {
        let source = backup::Source { data: &data, files: &files(), host: "mail.example.test" };
        backup::create(&disk, &source, &keys, false, at(hour), &SeededRandom::new(hour as u64))
    };
    for hour in 1..60 {
        settings(hour).unwrap();
    }
    assert_eq!(backup::list(&disk).unwrap().iter().filter(|sums| sums.everything).count(), 1);
    disk.set_capacity(Some(taken(&disk)));
    for hour in 60..70 {
        let _ = settings(hour);
    }
    let (_, done) = restored(&disk, &keys).unwrap();
    assert_eq!((done.letters, done.missing), (8, 0), "it is what is put back");
}

/// A box without a battery thinks it is 1970 until somebody tells it the time: the last backup is the last that was made.
#[test]
fn a_clock_in_1970_makes_no_backup_older_than_it_is() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    for (n, at) in [Time(1_700_000_000_000), Time(0), Time(1_700_000_100_000), Time(60_000)].into_iter().enumerate() {
        let n = n as u64;
        fill_house(&data, n * 5..n * 5 + 5);
        create_at(&disk, &data, &keys, at).unwrap();
        let (_, done) = restored(&disk, &keys).unwrap();
        assert_eq!((done.letters, done.missing, done.damaged), (n * 5 + 5, 0, 0), "at {}", at.0);
        assert!(backup::verify(&disk, Some(&keys.identity)).unwrap().findings.is_empty());
    }
}

/// A stick that loses what was written to it: what is known to be damaged is written once more, and nothing builds on it.
#[test]
fn what_a_stick_has_lost_is_written_again() {
    let (data, keys, base) = (house(), keys(), SimDisk::sound());
    for letters in [0..20, 20..40] {
        fill_house(&data, letters);
        create(&base, &data, &keys).unwrap();
    }
    let head = backup::newest(&base, &keys.identity).unwrap().unwrap();
    for lost in head.parts.iter().map(|part| part.name.clone()) {
        let disk = SimDisk::sound();
        for (name, mut bytes) in content(&base) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= u8::from(name == lost);
            let file = disk.create(&name).unwrap();
            file.write_at(0, &bytes).unwrap();
            file.sync(Site::Archive).unwrap();
        }
        disk.sync_dir(Site::Archive).unwrap();
        let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
        assert_eq!(report.damaged, BTreeSet::from([lost.clone()]));
        assert!(!report.sound.contains(&2));
        backup::mark(&disk, &report.damaged).unwrap();
        // And not only once.
        for _ in 0..2 {
            let made = create(&disk, &data, &keys).unwrap();
            let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
            assert!(report.sound.contains(&made.number), "{lost}: {report:?}");
            let (after, done) = restored(&disk, &keys).unwrap();
            assert_eq!((done.letters, done.missing, done.damaged), (40, 0, 0), "{lost}");
            assert_same(&data, &after);
        }
        backup::mark(&disk, &BTreeSet::new()).unwrap();
        assert!(!Disk::list(&disk).unwrap().iter().any(|name| name.starts_with("damaged-")));
    }
}

/// U1: what is damaged is said, or was said, whatever becomes of the saying; the backups stay as they are.
#[test]
fn a_cut_or_an_error_while_damage_is_marked_costs_no_backup() {
    let (data, keys, base) = (house(), keys(), SimDisk::sound());
    fill_house(&data, 0..20);
    create(&base, &data, &keys).unwrap();
    backup::mark(&base, &BTreeSet::from(["rows-00000009.tar.gz.age".to_owned()])).unwrap();
    let found = BTreeSet::from([backup::newest(&base, &keys.identity).unwrap().unwrap().letters[0].part.clone()]);
    for fault in [Fault::Cut, Fault::Eio] {
        let mut failed = 0;
        for n in 1.. {
            let disk = copied(&base, n);
            disk.plan(&[(n, fault)]);
            let marked = backup::mark(&disk, &found);
            disk.reboot();
            disk.plan(&[]);
            assert_eq!(backup::verify(&disk, Some(&keys.identity)).unwrap().sound, [1], "{fault:?} {n}");
            match marked {
                Ok(()) => {
                    // Nothing builds on that file, so its letters are written once more.
                    assert_eq!(create(&disk, &data, &keys).unwrap().new_letters, 20, "{fault:?} {n}");
                    // Reading what was said before may fail, too; then it is said again.
                    if disk.calls() > 0 && n > 20 {
                        break;
                    }
                }
                Err(_) => failed += 1,
            }
        }
        assert!(failed > 3, "{fault:?}: {failed}");
    }
}

/// A stick that wears out says that it cannot read: that is damage of one file, as long as others can be read.
#[test]
fn what_cannot_be_read_is_damaged_and_hides_nothing_else() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    for letters in [0..20, 20..40] {
        fill_house(&data, letters);
        create(&disk, &data, &keys).unwrap();
    }
    let before = disk.calls();
    assert!(backup::verify(&disk, Some(&keys.identity)).unwrap().findings.is_empty());
    let calls = disk.calls() - before;
    let (mut found, mut damaged) = (0, 0);
    for n in 1..=calls {
        disk.plan(&[(n, Fault::Eio)]);
        // Before anything could be read that cannot be told from a stick that is gone.
        let Ok(report) = backup::verify(&disk, Some(&keys.identity)) else { continue };
        assert!(!report.findings.is_empty(), "call {n}");
        found += 1;
        damaged += usize::from(!report.damaged.is_empty());
    }
    assert!(found + 12 > calls && damaged * 2 > calls as usize, "{found} and {damaged} of {calls}");
    disk.plan(&[]);
}

/// Where there is no room, what names a damaged file goes first, and the last that names none never.
#[test]
fn a_full_stick_that_wears_out_keeps_the_last_backup_that_is_whole() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    let at = |hour: i64| Time(1_700_000_000_000 + hour * 3_600_000);
    for hour in 0..3 {
        fill_house(&data, hour * 20..hour * 20 + 20);
        create_at(&disk, &data, &keys, at(hour as i64)).unwrap();
    }
    let head = backup::newest(&disk, &keys.identity).unwrap().unwrap();
    // A file that only the newest has.
    let own = head.letters.iter().map(|letters| letters.part.clone()).max().unwrap();
    backup::mark(&disk, &BTreeSet::from([own.clone()])).unwrap();
    fill_house(&data, 1000..1040);
    let names = |sums: &backup::Sums| sums.files.iter().any(|(name, _)| *name == own);
    // The last that names no damaged file outlives the one that does, which is newer.
    let mut seen = BTreeSet::new();
    for blocks in 0..30 {
        let disk = copied(&disk, blocks);
        disk.set_capacity(Some(taken(&disk) + blocks * 4096));
        let made = create_at(&disk, &data, &keys, at(4));
        let left = backup::list(&disk).unwrap();
        let left: Vec<_> = left.iter().map(|sums| (sums.number, names(sums))).collect();
        match made {
            Ok(_) => assert!(left[0].0 > 3 && !left[0].1 && left.contains(&(2, false)), "{left:?}"),
            Err(error) => {
                assert_eq!((error, left.as_slice()), (Error::Full, [(3, true), (2, false), (1, false)].as_slice()))
            }
        }
        seen.insert(left);
    }
    assert!(seen.iter().any(|left| left.len() == 2 && left[0].0 > 3), "{seen:?}");
}

/// P8: two boxes, one backup.
#[test]
fn what_is_put_back_twice_gives_out_different_numbers() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    fill_house(&data, 0..3);
    create(&disk, &data, &keys).unwrap();
    let next = |seed| {
        let options = Options { random: std::sync::Arc::new(SeededRandom::new(seed)), ..Options::default() };
        let into = Data::open(std::sync::Arc::new(SimDisk::sound()), options).unwrap();
        let head = backup::newest(&disk, &keys.identity).unwrap().unwrap();
        backup::fill(&disk, &head, &keys.identity, &into, &mut |_, _, _| {}).unwrap();
        deliver(&into, 500, INBOX, Flags::default()).unwrap().places[0].uid.0
    };
    let (one, other) = (next(1), next(2));
    assert!(one > 1 << 20 && other > 1 << 20 && one.abs_diff(other) > 1000, "{one} {other}");
}

#[test]
fn without_words_or_a_phrase_there_is_no_backup() {
    let (data, disk) = (house(), SimDisk::sound());
    assert_eq!(create(&disk, &data, &Keys::new(&SeededRandom::new(1))), Err(Error::NoSheet));
    assert!(Disk::list(&disk).unwrap().is_empty());
    assert_eq!(backup::verify(&disk, None), Err(Error::Nothing));
}

/// A restore that was cut off goes on in the same store with what is there.
#[test]
fn a_restore_that_stopped_half_way_goes_on() {
    let (data, keys, disk) = (house(), keys(), SimDisk::sound());
    fill_house(&data, 0..300);
    create(&disk, &data, &keys).unwrap();
    let head = backup::newest(&disk, &keys.identity).unwrap().unwrap();
    let target = SimDisk::sound();
    let mut n = 40;
    let mut stopped = 0;
    let into = loop {
        let into = open(&target).unwrap();
        target.plan(&[(n, Fault::Cut)]);
        let done = backup::fill(&disk, &head, &keys.identity, &into, &mut |_, _, _| {});
        if done.is_ok() {
            target.plan(&[]);
            break into;
        }
        stopped += 1;
        drop(into);
        target.reboot();
        target.plan(&[]);
        n = n * 3 / 2;
    };
    assert!(stopped > 1, "{stopped}");
    assert_same(&data, &into);
}

/// A stick that is pulled out, at any call: then nothing of it counts. What is damaged for good costs its own letters only.
#[test]
fn a_stick_that_is_pulled_out_gives_no_house_without_letters() {
    let (data, keys, base) = (house(), keys(), SimDisk::sound());
    for letters in [0..20, 20..40, 40..60] {
        fill_house(&data, letters);
        create(&base, &data, &keys).unwrap();
    }
    let stick = || copied(&base, 1);
    let mut pulled = 0;
    for n in 1.. {
        let disk = stick();
        let head = backup::newest(&disk, &keys.identity).unwrap().unwrap();
        disk.plan(&[(n, Fault::Cut)]);
        let into = open(&SimDisk::sound()).unwrap();
        match backup::fill(&disk, &head, &keys.identity, &into, &mut |_, _, _| {}) {
            Err(Error::Disk(_)) => pulled += 1,
            Err(error) => panic!("pulled out at {n}: {error}"),
            Ok(restored) => {
                assert_eq!((restored.letters, restored.damaged, disk.is_dead()), (60, 0, false), "call {n}");
                break;
            }
        }
    }
    assert!(pulled > 20, "{pulled}");
    let disk = stick();
    let head = backup::newest(&disk, &keys.identity).unwrap().unwrap();
    Disk::remove(&disk, &head.letters[1].part).unwrap();
    let restored = backup::fill(&disk, &head, &keys.identity, &open(&SimDisk::sound()).unwrap(), &mut |_, _, _| {});
    let restored = restored.unwrap();
    assert_eq!((restored.letters, restored.missing, restored.damaged), (40, 20, 1));
}

/// Whatever the format becomes, this is read: 3 letters, made by version 1 of it.
#[test]
fn an_archive_of_version_1_can_be_restored() {
    const BOX: &str = "4d016be808ca51ae";
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backup/version-1/homepost-backup");
    let disk = RealDisk::read_only(&folder.join(BOX)).unwrap();
    let words = "blossom orchard bucket winter pencil brick lilac turtle marble lagoon";
    let keys = backup::unlock(&disk, BOX, &Secret(words.to_owned())).unwrap();
    let report = backup::verify(&disk, Some(&keys.identity)).unwrap();
    assert_eq!((report.findings, report.sound), (vec![], vec![1]));
    let (after, done) = restored(&disk, &keys).unwrap();
    assert_eq!((done.accounts, done.letters), (2, 3));
    assert!(done.files.iter().any(|(path, bytes)| path == "settings.toml" && !bytes.is_empty()));
    let (boxes, _) = look(&after);
    let inbox = &boxes["INBOX"].messages;
    assert_eq!(inbox.keys().collect::<Vec<_>>(), [&1, &2]);
    assert_eq!(
        (inbox[&2].system, inbox[&2].keywords.as_slice()),
        (Flags::SEEN | Flags::FLAGGED, ["$Label1".to_owned()].as_slice())
    );
    assert_eq!(boxes["Club/2026"].messages.len(), 1);
    assert_sound(&after);
}
