//! One suite over all backends, and what only a file can suffer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Random, SeededRandom, Time};
use crate::store::disk::{Fault, SimDisk, SimOptions};

use super::expiring::Expiring;
use super::*;

const NOW: Time = Time(1_700_000_000_000);

fn in_ms(ms: i64) -> Time {
    NOW.plus_ms(ms)
}

/// Runs a test over every backend, each empty and with room for some hundred facts.
fn over_all(test: impl Fn(&str, &dyn Lookup)) {
    test("memory", &Expiring(memory::Memory::new(64 * 1024)));
    test("redb", &Expiring(redb::File::open(Arc::new(SimDisk::sound()), 200)));
    #[cfg(feature = "lookup-sled")]
    {
        let folder = tempfile::tempdir().unwrap();
        test("sled", &Expiring(sled::Sled::open(folder.path().join("facts"), 200)));
    }
}

fn keys(found: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<String> {
    found.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

/// L2.
#[test]
fn a_fact_is_there_until_it_expires() {
    over_all(|name, facts| {
        assert_eq!(facts.get(b"a", NOW), None, "{name}");
        facts.put(b"a", b"1", in_ms(100), NOW);
        facts.put(b"", b"empty key", in_ms(100), NOW);
        assert_eq!(facts.get(b"a", in_ms(99)), Some(b"1".to_vec()), "{name}");
        assert_eq!(facts.get(b"", NOW), Some(b"empty key".to_vec()), "{name}");
        assert_eq!(facts.get(b"a", in_ms(100)), None, "{name}");
        facts.put(b"a", b"2", in_ms(50), NOW);
        assert_eq!(facts.get(b"a", in_ms(60)), None, "{name}: the new one's time counts");
        facts.put(b"a", b"3", NOW, NOW);
        assert_eq!(facts.get(b"a", in_ms(-1)), None, "{name}: what is expired is not kept");
        facts.put(b"a", b"", in_ms(100), NOW);
        assert_eq!(facts.get(b"a", NOW), Some(Vec::new()), "{name}");
        facts.delete(b"a");
        facts.delete(b"a");
        assert_eq!(facts.get(b"a", NOW), None, "{name}");
    });
}

#[test]
fn a_counter_counts_within_its_window() {
    over_all(|name, facts| {
        assert_eq!(facts.add(b"c", 1, in_ms(100), NOW), 1, "{name}");
        assert_eq!(facts.add(b"c", 2, in_ms(500), in_ms(50)), 3, "{name}");
        assert_eq!(facts.add(b"c", -5, in_ms(500), in_ms(99)), -2, "{name}");
        assert_eq!(facts.add(b"c", 1, in_ms(500), in_ms(100)), 1, "{name}: the window ended when it was to end");
        assert_eq!(facts.add(b"c", i64::MAX, in_ms(500), in_ms(100)), i64::MAX, "{name}");
        facts.put(b"word", b"not a number", in_ms(100), NOW);
        assert_eq!(facts.add(b"word", 1, in_ms(100), NOW), 1, "{name}");
        assert_eq!(facts.add(b"past", 1, NOW, NOW), 1, "{name}");
        assert_eq!(facts.get(b"past", in_ms(-1)), None, "{name}");
    });
}

#[test]
fn a_scan_gives_a_prefix_in_order_and_in_pages() {
    over_all(|name, facts| {
        for key in ["b/3", "a/1", "b/1", "b", "b/2", "c/1", "b/old", "ba"] {
            facts.put(key.as_bytes(), b"x", if key == "b/old" { in_ms(1) } else { in_ms(100) }, NOW);
        }
        assert_eq!(keys(facts.scan(b"b/", b"", 10, in_ms(5))), ["b/1", "b/2", "b/3"], "{name}");
        assert_eq!(keys(facts.scan(b"b/", b"", 2, in_ms(5))), ["b/1", "b/2"], "{name}");
        assert_eq!(keys(facts.scan(b"b/", b"b/2", 2, in_ms(5))), ["b/3"], "{name}");
        assert_eq!(keys(facts.scan(b"b/", b"a/9", 1, in_ms(5))), ["b/1"], "{name}");
        assert_eq!(keys(facts.scan(b"b/", b"z", 10, in_ms(5))), [""; 0], "{name}");
        assert_eq!(facts.scan(b"", b"", 100, in_ms(5)).len(), 7, "{name}");
        assert_eq!(facts.scan(b"", b"", 0, in_ms(5)).len(), 0, "{name}");
        assert_eq!(facts.scan(b"b/", b"", 10, in_ms(100)).len(), 0, "{name}");
    });
}

#[test]
fn a_sweep_takes_what_expired_and_nothing_else() {
    over_all(|name, facts| {
        for n in 0..20u8 {
            facts.put(&[n], b"x", in_ms(i64::from(n)), in_ms(-1));
        }
        facts.put(&[0], b"renewed", in_ms(1000), NOW);
        facts.put(b"before 1970", b"x", Time(-5), Time(-10));
        assert_eq!(facts.sweep(5, in_ms(10)), 5, "{name}");
        assert_eq!(facts.sweep(100, in_ms(10)), 6, "{name}");
        assert_eq!(facts.sweep(100, in_ms(10)), 0, "{name}");
        assert_eq!(facts.sweep(0, in_ms(100)), 0, "{name}");
        // Looked at with an old clock, what was swept is really gone.
        assert_eq!(facts.scan(b"", b"", 100, Time(i64::MIN)).len(), 10, "{name}");
        assert_eq!(facts.get(&[0], in_ms(10)), Some(b"renewed".to_vec()), "{name}");
        facts.flush();
        assert_eq!(facts.get(&[11], in_ms(10)), Some(b"x".to_vec()), "{name}");
    });
}

/// L3.
#[test]
fn what_would_expire_first_makes_room() {
    over_all(|name, facts| {
        for n in 0..2000u32 {
            facts.put(&n.to_be_bytes(), b"x", in_ms(1_000_000 + i64::from(n)), NOW);
        }
        let left = facts.scan(b"", b"", 10_000, NOW);
        assert!((100..=500).contains(&left.len()), "{name}: {}", left.len());
        assert_eq!(left.last().unwrap().0, 1999u32.to_be_bytes(), "{name}");
        assert_eq!(left.first().unwrap().0, (2000 - left.len() as u32).to_be_bytes(), "{name}");
        facts.put(&vec![1; KEY_BYTES + 1], b"x", in_ms(100), NOW);
        facts.put(b"large", &vec![1; VALUE_BYTES + 1], in_ms(100), NOW);
        assert_eq!(facts.get(&vec![1; KEY_BYTES + 1], NOW), None, "{name}");
        assert_eq!(facts.get(b"large", NOW), None, "{name}");
        assert_eq!(facts.scan(b"", b"", 10_000, NOW), left, "{name}");
    });
}

/// A thousand random acts are answered as a plain map would answer them.
#[test]
fn random_acts_agree_with_a_plain_map() {
    over_all(|name, facts| {
        let random = SeededRandom::new(7);
        let pick = |n: u64| random.u64() % n;
        let mut model: BTreeMap<Vec<u8>, (Time, Vec<u8>)> = BTreeMap::new();
        for step in 0..1000 {
            let now = in_ms(step);
            let key = vec![pick(20) as u8];
            let expires = now.plus_ms(pick(100) as i64);
            model.retain(|_, (expires, _)| now < *expires);
            match pick(6) {
                0 => {
                    facts.delete(&key);
                    model.remove(&key);
                }
                1 => {
                    let value = vec![pick(256) as u8; pick(12) as usize];
                    facts.put(&key, &value, expires, now);
                    model.insert(key, (expires, value));
                }
                2 => {
                    let there = model
                        .get(&key)
                        .and_then(|(until, value)| Some((*until, <[u8; 8]>::try_from(&value[..]).ok()?)));
                    let (until, count) =
                        there.map_or((expires, 0), |(until, count)| (until, i64::from_be_bytes(count)));
                    assert_eq!(facts.add(&key, 3, expires, now), count + 3, "{name} {step}");
                    model.insert(key, (until, (count + 3).to_be_bytes().to_vec()));
                }
                3 => {
                    facts.sweep(pick(10) as usize, now);
                }
                _ => {
                    let expected =
                        model.get(&key).filter(|(expires, _)| now < *expires).map(|(_, value)| value.clone());
                    assert_eq!(facts.get(&key, now), expected, "{name} {step}");
                }
            }
        }
    });
}

#[test]
fn a_file_keeps_its_facts_over_a_clean_stop() {
    let disk = SimDisk::sound();
    let facts = file(Arc::new(disk.clone()));
    facts.put(b"a", b"1", in_ms(100), NOW);
    facts.flush();
    drop(facts);
    assert_eq!(file(Arc::new(disk)).get(b"a", NOW), Some(b"1".to_vec()));
}

/// L1: whatever the file is like, it opens and works.
#[test]
fn a_lost_or_damaged_file_means_starting_empty() {
    let disk = SimDisk::sound();
    let facts = file(Arc::new(disk.clone()));
    for n in 0..500u32 {
        facts.put(&n.to_be_bytes(), &[7; 100], in_ms(100), NOW);
    }
    facts.flush();
    drop(facts);
    let whole = Disk::open(&disk, redb::FILE).unwrap();
    let mut bytes = vec![0; whole.len().unwrap() as usize];
    whole.read_at(0, &mut bytes).unwrap();
    let with = |bytes: &[u8]| {
        let disk = SimDisk::sound();
        Disk::create(&disk, redb::FILE).unwrap().write_at(0, bytes).unwrap();
        let facts = file(Arc::new(disk));
        facts.get(&3u32.to_be_bytes(), NOW);
        facts.scan(b"", b"", 1000, NOW);
        facts.sweep(1000, NOW);
        facts.put(b"new", b"1", in_ms(100), NOW);
        assert_eq!(facts.get(b"new", NOW), Some(b"1".to_vec()));
        facts.scan(b"", b"", 1000, NOW).len()
    };
    assert_eq!(with(&bytes), 501, "the undamaged file");
    assert_eq!(with(b"not a database"), 1);
    assert_eq!(with(&[]), 1);
    for len in [1, 100, 4096, bytes.len() / 2] {
        assert_eq!(with(&bytes[..len]), 1, "cut to {len}");
    }
    let random = SeededRandom::new(3);
    for _ in 0..20 {
        let mut damaged = bytes.clone();
        for _ in 0..200 {
            let at = random.u64() as usize % damaged.len();
            damaged[at] ^= 0x55;
        }
        assert!(with(&damaged) >= 1);
    }
}

/// L1: a file that ended the process is not opened a second time.
#[test]
fn an_opening_that_did_not_return_means_starting_empty() {
    let disk = SimDisk::sound();
    let facts = file(Arc::new(disk.clone()));
    facts.put(b"a", b"1", in_ms(100), NOW);
    facts.flush();
    drop(facts);
    Disk::create(&disk, redb::OPENING).unwrap();
    let facts = file(Arc::new(disk.clone()));
    assert_eq!(facts.get(b"a", NOW), None);
    facts.put(b"a", b"2", in_ms(100), NOW);
    facts.flush();
    drop(facts);
    assert_eq!(file(Arc::new(disk)).get(b"a", NOW), Some(b"2".to_vec()));
}

/// L1: the n-th call of the disk fails, for every n, until a run passes untouched; and after a cut the file opens.
#[test]
fn whatever_call_of_the_disk_fails_facts_go_on() {
    let run = |fault: Option<(u64, Fault)>| {
        let disk = SimDisk::new(SimOptions { seed: fault.map_or(0, |(n, _)| n), ..SimOptions::default() });
        disk.plan(fault.as_slice());
        let facts = file(Arc::new(disk.clone()));
        for n in 0..50u32 {
            facts.put(&n.to_be_bytes(), &[7; 2000], in_ms(100), NOW);
            if facts.get(&n.to_be_bytes(), NOW).is_none() {
                // The one failure was met by the reading, and all is forgotten; but what comes next is kept.
                assert!(fault.is_some(), "{n}");
                facts.put(&n.to_be_bytes(), &[7; 2000], in_ms(100), NOW);
                assert_eq!(facts.get(&n.to_be_bytes(), NOW), Some(vec![7; 2000]), "{fault:?} {n}");
            }
            if n % 20 == 19 {
                facts.flush();
            }
        }
        let calls = disk.calls();
        drop(facts);
        disk.cut();
        disk.reboot();
        let facts = file(Arc::new(disk.clone()));
        facts.put(b"new", b"1", in_ms(100), NOW);
        assert_eq!(facts.get(b"new", NOW), Some(b"1".to_vec()), "{fault:?} after the cut");
        calls
    };
    let calls = run(None);
    assert!(calls > 20, "{calls}");
    for n in 1..=calls {
        run(Some((n, Fault::Eio)));
        run(Some((n, Fault::Enospc)));
    }
}

/// L1: without a disk there is memory.
#[test]
fn a_full_disk_does_not_matter() {
    let disk = SimDisk::sound();
    disk.set_capacity(Some(0));
    let facts = file(Arc::new(disk));
    facts.put(b"a", b"1", in_ms(100), NOW);
    assert_eq!(facts.get(b"a", NOW), Some(b"1".to_vec()));
}
