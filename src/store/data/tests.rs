//! The store as its users see it, on a sound disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::{BlobId, SeededRandom};
use crate::store::blob::LetterHeader;
use crate::store::disk::{RealDisk, SimDisk};

fn options() -> Options {
    Options {
        random: Arc::new(SeededRandom::new(1)),
        segment_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        cache_bytes: 4 << 20,
        ballast_bytes: 2 << 20,
        letter_bytes: 16 << 10,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> Data {
    Data::open(Arc::new(disk.clone()), options()).unwrap()
}

fn put(data: &Data, key: &'static [u8], value: &'static [u8]) {
    data.write_blocking(move |txn| {
        txn.put(Table::Messages, key, value.to_vec());
        Ok::<_, Error>(())
    })
    .unwrap();
}

fn all(read: &dyn Read, table: Table, order: Order) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    read.scan(table, READ_ALL.0, READ_ALL.1, order, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

fn letter(text: &str, len: usize) -> Vec<u8> {
    text.bytes().cycle().take(len).collect()
}

fn header() -> LetterHeader {
    LetterHeader { accounts: vec!["alice@example.test".into()], received: crate::base::Time(5) }
}

#[test]
fn what_was_written_is_there_after_closing_and_after_a_cut() {
    for close in [true, false] {
        let disk = SimDisk::sound();
        let data = open(&disk);
        put(&data, b"a", b"1");
        put(&data, b"b", b"2");
        if close {
            data.close().unwrap();
            assert_eq!(
                data.write_blocking(|_| Ok::<_, Error>(())).unwrap_err(),
                Error::Closed,
                "nothing is taken after the close"
            );
        } else {
            disk.cut();
        }
        disk.reboot();
        let data = open(&disk);
        assert_eq!(data.stats().replayed, if close { 0 } else { 2 });
        let rows = all(&data.read().unwrap(), Table::Messages, Order::Forward);
        assert_eq!(rows, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    }
}

#[test]
fn an_error_or_a_panic_undoes_that_closure_alone_and_gives_no_number_back() {
    let data = open(&SimDisk::sound());
    let next = |fail: u8| {
        data.write_blocking(move |txn| {
            let n = txn.next("uid")?;
            txn.put(Table::Messages, &[fail], vec![1]);
            match fail {
                1 => Err(Error::Corrupt("mine".into())),
                2 => panic!("on purpose"),
                _ => Ok(n),
            }
        })
        .map(|committed| committed.value)
    };
    assert_eq!(next(0), Ok(1));
    assert_eq!(next(1), Err(Error::Corrupt("mine".into())));
    assert_eq!(next(2), Err(Error::Panicked("on purpose".into())));
    assert_eq!(next(0), Ok(4));
    assert_eq!(all(&data.read().unwrap(), Table::Messages, Order::Forward).len(), 1);
}

#[test]
fn letters_small_and_large_come_back_whole_and_in_parts() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    let mut kept = Vec::new();
    for len in [0, 1, 2000, 16 << 10, 20_000, 65_536, 65_537, 300_000] {
        let body = letter("The quick brown fox. ", len);
        let mut sink = data.blobs().sink();
        for chunk in body.chunks(7000) {
            sink.write(chunk).unwrap();
        }
        assert_eq!(sink.bytes().unwrap(), body);
        let staged = sink.finish(header(), b"Received: here\r\n").unwrap();
        let whole = [b"Received: here\r\n".as_slice(), &body].concat();
        assert_eq!((staged.len(), staged.bytes().unwrap().as_ref()), (whole.len() as u64, whole.as_slice()));
        assert_eq!(staged.digest(), *blake3::hash(&whole).as_bytes());
        let blob = data.write_blocking(move |txn| txn.attach(&staged)).unwrap().value;
        kept.push((blob, whole));
    }
    for reopened in [false, true] {
        let data = if reopened {
            data.close().unwrap();
            disk.cut();
            disk.reboot();
            open(&disk)
        } else {
            data.clone()
        };
        for (blob, whole) in &kept {
            let len = whole.len() as u64;
            assert_eq!(data.blobs().len(*blob).unwrap(), Some(len));
            for (from, to) in [(0, len), (0, u64::MAX), (5, 20), (len - 1, len), (65_530, 65_560), (len, len + 9)] {
                let wanted = &whole[from.min(len) as usize..to.min(len).max(from.min(len)) as usize];
                assert_eq!(data.blobs().read(*blob, from..to).unwrap(), wanted, "{from}..{to} of {len}");
            }
        }
    }
    assert_eq!(data.blobs().len(BlobId(999)).unwrap_or(None), None);
}

#[test]
fn bytes_are_shared_within_a_transaction_and_go_with_the_last_reference() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    let files = || disk_files(&disk, "letter-");
    let staged = data.blobs().stage(header(), &letter("large ", 40_000)).unwrap();
    let again = staged.clone();
    let (a, b) =
        data.write_blocking(move |txn| Ok::<_, Error>((txn.attach(&again)?, txn.attach(&again)?))).unwrap().value;
    assert_eq!((a, files()), (b, 1));
    drop(staged);
    assert_eq!(files(), 1);
    data.write_blocking(move |txn| txn.release(a)).unwrap();
    assert_eq!(data.blobs().len(a).unwrap(), Some(40_000));
    let snapshot = data.read().unwrap();
    data.write_blocking(move |txn| txn.release(a)).unwrap();
    assert_eq!(data.blobs().len(a).unwrap(), None);
    assert_eq!(data.blobs().read_in(&snapshot, a, 0..5).unwrap(), b"large".as_slice(), "a snapshot keeps the bytes");
    drop(snapshot);
    put(&data, b"k", b"v");
    assert_eq!(
        data.write_blocking(move |txn| txn.release(a)).unwrap_err(),
        Error::Corrupt(format!("there is no letter {a}"))
    );
    put(&data, b"l", b"v");
    data.checkpoint().unwrap();
    assert_eq!(files(), 0);
    let unnamed = data.blobs().stage(header(), &letter("x", 40_000)).unwrap();
    assert_eq!(files(), 1);
    drop(unnamed);
    assert_eq!(files(), 0, "what nobody named is forgotten");
}

fn disk_files(disk: &SimDisk, prefix: &str) -> usize {
    disk.list().unwrap().iter().filter(|name| name.starts_with(prefix)).count()
}

#[test]
fn segments_without_anything_alive_are_used_again() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    for round in 0..60u32 {
        let staged = data.blobs().stage(header(), blake3_noise(round).as_slice()).unwrap();
        let blob = data.write_blocking(move |txn| txn.attach(&staged)).unwrap().value;
        data.write_blocking(move |txn| txn.release(blob)).unwrap();
    }
    data.checkpoint().unwrap();
    assert!(data.stats().record_bytes > 8 * (64 << 10));
    assert!(disk_files(&disk, "segment-") <= 2 && disk_files(&disk, "spare-") <= 2);
}

fn blake3_noise(seed: u32) -> Vec<u8> {
    let mut out = vec![0; 12_000];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut out);
    out
}

#[tokio::test]
async fn concurrent_writers_share_flushes_and_announcements_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(Arc::new(RealDisk::open(folder.path()).unwrap()), options()).unwrap();
    let mut heard = data.subscribe();
    let writes: Vec<_> = (0..200u64)
        .map(|n| {
            data.write(move |txn| {
                let modseq = txn.next("modseq")?;
                txn.put(Table::Changes, &n.to_be_bytes(), vec![]);
                txn.announce(AccountId(1), ModSeq(modseq));
                Ok::<_, Error>(modseq)
            })
        })
        .collect();
    for (write, n) in writes.into_iter().zip(1..) {
        assert_eq!(write.await.unwrap().value, n);
        assert_eq!(heard.recv().await.unwrap(), (AccountId(1), ModSeq(n)));
    }
    assert!(data.stats().records < 200, "200 closures that wait together need fewer flushes");
}

/// Twelve letters, of which two of three are let go; their bytes by id.
fn thinned(data: &Data) -> BTreeMap<BlobId, Vec<u8>> {
    let mut left = BTreeMap::new();
    for round in 0..24u32 {
        let bytes = if round % 5 == 4 { letter("large ", 40_000) } else { blake3_noise(round) };
        let staged = data.blobs().stage(header(), &bytes).unwrap();
        let blob = data.write_blocking(move |txn| txn.attach(&staged)).unwrap().value;
        if round % 3 == 0 {
            left.insert(blob, bytes);
        } else {
            data.write_blocking(move |txn| txn.release(blob)).unwrap();
        }
    }
    left
}

#[test]
fn compaction_moves_what_is_wanted_and_frees_the_rest() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    let left = thinned(&data);
    let before = disk_files(&disk, "segment-");
    while data.compact().unwrap() {}
    data.checkpoint().unwrap();
    assert!(disk_files(&disk, "segment-") < before);
    for (blob, bytes) in &left {
        assert_eq!(data.blobs().read(*blob, 0..u64::MAX).unwrap(), *bytes);
    }
    assert_eq!(data.check().unwrap(), [""; 0]);
}

#[test]
fn a_check_finds_a_damaged_letter_and_a_damaged_record() {
    for (what, offset) in [("segment-0000000000000001", 1500), ("letter-", 3000)] {
        let disk = SimDisk::sound();
        let data = open(&disk);
        let blobs: Vec<_> = [blake3_noise(1), letter("large ", 40_000)]
            .into_iter()
            .map(|bytes| {
                let staged = data.blobs().stage(header(), &bytes).unwrap();
                data.write_blocking(move |txn| txn.attach(&staged)).unwrap().value
            })
            .collect();
        assert_eq!(data.check().unwrap(), [""; 0]);
        let name = disk.list().unwrap().into_iter().find(|name| name.starts_with(what)).unwrap();
        disk.damage(&name, if what == "letter-" { 600 } else { offset });
        let found = data.check().unwrap();
        assert!(!found.is_empty(), "damage to {name}");
        assert!(
            found
                .iter()
                .all(|line| blobs.iter().any(|b| line.contains(&format!("letter {b} "))) || line.contains("record"))
        );
    }
}

#[test]
fn without_the_rows_every_letter_and_the_people_come_back() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    let account = |name: &'static str| {
        data.write_blocking(move |txn| {
            txn.put(Table::Accounts, name.as_bytes(), b"row of ".to_vec());
            Ok::<_, Error>(())
        })
        .unwrap();
    };
    account("alice");
    account("bob");
    let left = thinned(&data);
    data.write_blocking(|txn| {
        txn.delete(Table::Accounts, b"bob");
        Ok::<_, Error>(())
    })
    .unwrap();
    account("carol");
    data.compact().unwrap();
    data.close().unwrap();
    disk.remove("rows.redb").unwrap();
    assert!(matches!(Data::open(Arc::new(disk.clone()), options()), Err(Error::Corrupt(_))), "it needs salvage");
    let (mut people, mut letters) = (Vec::new(), Vec::new());
    let salvaged = salvage(&disk, &mut |found| {
        match found {
            Recovered::Row { key, .. } => people.push(String::from_utf8(key).unwrap()),
            Recovered::Letter { header: found, bytes } => {
                assert_eq!(found, header());
                letters.push(bytes.to_vec());
            }
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((people, salvaged.damaged), (vec!["alice".to_string(), "carol".to_string()], vec![]));
    let mut wanted: Vec<_> = left.into_values().collect();
    wanted.sort();
    letters.sort();
    assert_eq!(letters, wanted);
}

#[test]
fn rows_that_do_not_begin_as_rows_do_need_salvage_and_no_other_disk() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    put(&data, b"a", b"value");
    data.close().unwrap();
    drop(data);
    disk.damage("rows.redb", 0);
    let error = Data::open(Arc::new(disk), options()).err();
    assert!(matches!(error, Some(Error::Corrupt(_))), "{error:?}");
}

#[test]
fn a_bad_last_record_is_a_torn_tail_and_one_with_successors_is_corruption() {
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    for (damaged, opens) in [(2, true), (1, false)] {
        let disk = SimDisk::sound();
        let data = open(&disk);
        for key in keys {
            put(&data, key, b"value");
        }
        disk.cut();
        drop(data);
        disk.kill();
        // The header takes one sector, each of these records another.
        disk.damage("segment-0000000000000001", 512 * (1 + damaged) + 100);
        match Data::open(Arc::new(disk.clone()), options()) {
            Ok(data) => {
                assert!(opens);
                assert_eq!(all(&data.read().unwrap(), Table::Messages, Order::Forward).len(), damaged);
            }
            Err(error) => {
                assert!(!opens && matches!(error, Error::Corrupt(_)), "{error}");
            }
        }
    }
}

#[test]
fn a_panic_below_leaves_the_writer_serving() {
    let data = open(&SimDisk::sound());
    put(&data, b"a", b"1");
    let told = data.act(|_| -> Result<(), Error> { panic!("on purpose") });
    assert_eq!(told, Err(Error::Closed));
    put(&data, b"b", b"2");
    assert_eq!(all(&data.read().unwrap(), Table::Messages, Order::Forward).len(), 2);
    assert_eq!(data.stats().fences, 1);
}

#[test]
fn readers_survive_a_failed_read() {
    let disk = SimDisk::sound();
    let data = Data::open(Arc::new(disk.clone()), Options { cache_bytes: 0, ..options() }).unwrap();
    put(&data, b"a", b"1");
    data.checkpoint().unwrap();
    let mut failed = 0;
    for n in 1..12 {
        disk.plan(&[(n, crate::store::disk::Fault::Eio)]);
        failed += usize::from(data.read().and_then(|read| read.get(Table::Messages, b"a")).is_err());
        disk.plan(&[]);
        assert_eq!(data.read().unwrap().get(Table::Messages, b"a").unwrap(), Some(b"1".to_vec()), "call {n}");
    }
    assert!(failed > 0, "no read ever failed");
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Fail,
    Commit,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A transaction sees its own writes over those of its group over the rows, in both directions.
    #[test]
    fn scans_merge_all_layers(steps in proptest::collection::vec(prop_oneof![
        (any::<u8>(), any::<u8>()).prop_map(|(key, value)| Step::Put(key % 16, value)),
        any::<u8>().prop_map(|key| Step::Delete(key % 16)),
        Just(Step::Fail),
        Just(Step::Commit),
    ], 1..60), bounds: (u8, u8), stop in 1usize..20) {
        let (lo, hi) = (bounds.0 % 18, bounds.1 % 18);
        let mut engine = Engine::open(Arc::new(SimDisk::sound()), options()).unwrap();
        let mut model: BTreeMap<u8, u8> = BTreeMap::new();
        let mut group = txn::Group::new(engine.shared.rows.view().unwrap());
        let mut floors = Default::default();
        let mut closure: Vec<Step> = Vec::new();
        for step in steps.into_iter().chain([Step::Commit]) {
            if !matches!(step, Step::Fail | Step::Commit) {
                closure.push(step);
                continue;
            }
            let fail = matches!(step, Step::Fail);
            let mut after = model.clone();
            group.run(&mut floors, &mut |txn| {
                for step in closure.drain(..) {
                    match step {
                        Step::Put(key, value) => {
                            txn.put(Table::Messages, &[key], vec![value]);
                            after.insert(key, value);
                        }
                        Step::Delete(key) => {
                            txn.delete(Table::Messages, &[key]);
                            after.remove(&key);
                        }
                        _ => {}
                    }
                }
                for order in [Order::Forward, Order::Backward] {
                    let mut seen = Vec::new();
                    txn.scan(Table::Messages, &[lo], &[hi], order, &mut |key, value| {
                        seen.push((key[0], value[0]));
                        if seen.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    }).unwrap();
                    let mut wanted: Vec<_> =
                        after.iter().filter(|(key, _)| (lo..hi).contains(*key)).map(|(k, v)| (*k, *v)).collect();
                    if order == Order::Backward {
                        wanted.reverse();
                    }
                    wanted.truncate(stop);
                    assert_eq!(seen, wanted);
                }
                !fail
            });
            if !fail {
                model = after;
            }
            // Every other time the group goes out, so that rows, group and closure all hold some.
            if model.len().is_multiple_of(2) {
                let rows = std::mem::take(&mut group.writes.rows);
                engine.shared.rows.apply(&rows, &engine.position(), false).unwrap();
                group = txn::Group::new(engine.shared.rows.view().unwrap());
            }
        }
        engine.reap();
    }
}

/// Nothing of ours has to happen first: the room may be somebody else's doing.
#[test]
fn letters_are_taken_again_as_soon_as_there_is_room() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    disk.set_capacity(Some(12 << 20));
    let mut count = 0;
    let mut put = || {
        count += 1;
        let staged = data.blobs().stage(header(), &blake3_noise(count))?;
        data.write_blocking(move |txn| txn.attach(&staged)).map(drop)
    };
    while put().is_ok() {}
    assert!(!data.blobs().has_room());
    disk.set_capacity(None);
    assert!(data.blobs().has_room());
    put().unwrap();
}

/// Everything but new letters goes on when the disk is full, and new letters do as well once there is room again.
#[test]
fn a_full_disk_refuses_letters_and_serves_all_else() {
    let disk = SimDisk::sound();
    let data = open(&disk);
    disk.set_capacity(Some(12 << 20));
    let mut kept = Vec::new();
    let full = loop {
        let bytes = blake3_noise(kept.len() as u32);
        let taken = data.blobs().stage(header(), &bytes).and_then(|staged| {
            let key = (kept.len() as u32).to_be_bytes();
            data.write_blocking(move |txn| {
                let blob = txn.attach(&staged)?;
                txn.put(Table::Emails, &key, vec![1; 600]);
                Ok::<_, Error>(blob)
            })
        });
        match taken {
            Ok(committed) => kept.push((committed.value, bytes)),
            Err(error) => break error,
        }
        assert!(kept.len() < 2000, "the disk never filled");
    };
    assert_eq!(full, Error::Full);
    assert!(kept.len() > 20 && !data.blobs().has_room());
    // Not one more byte than there is now.
    let used = 12 << 20;
    disk.set_capacity(Some(used - disk.free().unwrap()));
    for round in 0..40u8 {
        put_row(&data, round);
    }
    let reads = |data: &Data, kept: &[(BlobId, Vec<u8>)]| {
        for (blob, bytes) in kept {
            assert_eq!(data.blobs().read(*blob, 0..u64::MAX).unwrap(), *bytes);
        }
    };
    reads(&data, &kept);
    // A cut in that state, and a start that may not take more room either.
    disk.cut();
    drop(data);
    disk.reboot();
    let data = open(&disk);
    reads(&data, &kept);
    let gone = kept.split_off(kept.len() / 4);
    for (blob, _) in gone {
        data.write_blocking(move |txn| txn.release(blob)).unwrap();
    }
    while data.compact().unwrap() {}
    data.compact().unwrap();
    reads(&data, &kept);
    assert!(data.blobs().has_room(), "deleting made room");
    let staged = data.blobs().stage(header(), b"welcome back").unwrap();
    data.write_blocking(move |txn| txn.attach(&staged)).unwrap();
    assert_eq!(data.check().unwrap(), [""; 0]);
}

fn put_row(data: &Data, n: u8) {
    data.write_blocking(move |txn| {
        txn.put(Table::Messages, &[n], vec![n; 100]);
        Ok::<_, Error>(())
    })
    .unwrap();
}
