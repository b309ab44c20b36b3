//! Nothing acknowledged is lost and nothing seen is taken back, wherever the disk fails or the power goes.
//!
//! A fixed run of deliveries, flag changes, moves, copies, expunges, mailboxes made and deleted, checkpoints and
//! compaction is played once on a sound disk, and how the account looks after each step is kept. Then it is played again
//! and again, with a fault at the n-th call to the disk for every n, and for many of them another fault during the
//! recovery. After each restart every invariant has to hold, and the account has to look as it did after the last
//! acknowledged step, or after the one that was under way; UIDs and modseqs are part of how it looks, so none can come
//! twice. Then the run goes on from there.
//!
//! The control runs leave out one kind of sync each, and have to find a loss.

mod household;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use homepost::account::{self, Error, Flags, INBOX, Mode, Which, mailbox, view};
use homepost::base::{MailboxId, ModSeq, Time, Uid};
use homepost::store::disk::{Fault, SimDisk, SimOptions, Site};
use homepost::store::{self, Data};
use household::*;

/// Steps of the run.
const STEPS: usize = 62;
/// Steps taken after a restart.
const AFTER: usize = 4;

/// Times that compaction had something to do.
static MOVED: AtomicU64 = AtomicU64::new(0);

type Look = (BTreeMap<String, Seen>, ModSeq);

/// What goes wrong, counted in calls to the disk from the first step on, and from the reopening on.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    faults: Vec<(u64, Fault)>,
    again: Vec<(u64, Fault)>,
    ignored: Option<Site>,
    /// The power goes as soon as a step was refused: then it may not be there afterwards.
    cut_when_refused: bool,
    /// At the first restart only the process died: what it wrote is still there, synced or not.
    process_only: bool,
    /// After the restart somebody looks, and the power goes: what was seen must still be there.
    cut_when_seen: bool,
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_goes() {
    let seed = seed(0x5eed);
    let (looks, calls) = rehearse(seed);
    for n in 1..=calls {
        // Every third time the power goes again while the store recovers.
        let again = if n % 3 == 0 { vec![(1 + n % 41, Fault::Cut)] } else { Vec::new() };
        let plan = Plan {
            seed: seed ^ n,
            faults: vec![(n, Fault::Cut)],
            again,
            ignored: None,
            cut_when_refused: false,
            process_only: n % 4 == 0,
            cut_when_seen: n % 2 == 0,
        };
        play_well(&plan, seed, &looks);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_disk_fails_or_is_full() {
    let seed = seed(0x5eed);
    let (looks, calls) = rehearse(seed);
    for n in 1..=calls {
        let fault = if n % 2 == 0 { Fault::Eio } else { Fault::Enospc };
        // The power goes soon after: while the store is fenced, or when it believes to have come back.
        let mut faults = vec![(n, fault)];
        if n % 3 != 0 {
            faults.push((n + 1 + n % 29, Fault::Cut));
        }
        let again = if n % 5 == 0 { vec![(1 + n % 37, Fault::Eio)] } else { Vec::new() };
        let plan = Plan {
            seed: seed ^ n,
            faults,
            again,
            ignored: None,
            cut_when_refused: n % 3 == 0,
            process_only: n % 4 == 1,
            cut_when_seen: n % 5 < 2,
        };
        play_well(&plan, seed, &looks);
    }
}

#[test]
fn without_any_one_of_the_syncs_a_loss_is_found() {
    let seed = seed(0x5eed);
    let (looks, calls) = rehearse(seed);
    for site in Site::NEEDED {
        let mut runs = 0;
        let found = (1..=calls).rev().chain(1..=calls).enumerate().any(|(round, n)| {
            runs += 1;
            let fault = if round % 2 == 0 { Fault::Cut } else { Fault::Eio };
            let cut_when_refused = round % 3 != 2;
            let mut faults = vec![(n, fault)];
            if !cut_when_refused {
                faults.push((n + 1 + round as u64 % 31, Fault::Cut));
            }
            let again = vec![(1 + round as u64 % 43, Fault::Cut)];
            let plan = Plan {
                seed: seed ^ (round as u64),
                faults,
                again: if round % 2 == 0 { Vec::new() } else { again },
                ignored: Some(site),
                cut_when_refused,
                process_only: round % 4 < 2,
                cut_when_seen: round % 3 == 0,
            };
            std::panic::catch_unwind(AssertUnwindSafe(|| play(&plan, seed, &looks))).is_ok_and(|run| run.is_err())
        });
        assert!(
            found,
            "without the sync {site:?} nothing was lost in any run: is it needed, or does the test not look?"
        );
    }
}

/// Plays the run on a sound disk: how the account looks before the first step and after each, and the calls it took.
fn rehearse(seed: u64) -> (Vec<Look>, u64) {
    let disk = SimDisk::sound();
    let data = fresh(&disk);
    let mut looks = vec![look(&data)];
    // Looking reads the disk too, so the calls of the run alone are counted apart.
    let mut calls = 0;
    for n in 0..STEPS {
        let before = disk.calls();
        step(&data, seed, n).expect("nothing goes wrong");
        calls += disk.calls() - before;
        looks.push(look(&data));
    }
    assert_sound(&data);
    // The run has to see what it is for.
    let stats = data.stats();
    eprintln!("{calls} calls to the disk, {stats:?}");
    assert!(MOVED.load(Ordering::Relaxed) > 0, "no letter was moved out of a segment");
    assert!(stats.checkpoints >= 3 && stats.letter_file_bytes > 0 && stats.records >= STEPS as u64 / 3);
    (looks, calls)
}

fn play_well(plan: &Plan, seed: u64, looks: &[Look]) {
    if let Err(what) = play(plan, seed, looks) {
        panic!("{what}\nwith HOMEPOST_SEED={seed} and {plan:?}");
    }
}

/// Plays the run with the faults of a plan. An error says what was lost or taken back.
fn play(plan: &Plan, seed: u64, looks: &[Look]) -> Result<(), String> {
    let disk = SimDisk::new(SimOptions { seed: plan.seed, ignored: plan.ignored, ..SimOptions::default() });
    let mut data = fresh(&disk);
    let mut validities = Validities::default();
    validities.see(&data)?;
    disk.plan(&plan.faults);
    let mut done = 0;
    let mut tries = 0;
    // How far the step under way may have come.
    let mut pending = 1;
    while done < STEPS {
        match step(&data, seed, done) {
            Ok(()) => {
                done += 1;
                tries = 0;
            }
            Err(_) if disk.is_dead() => break,
            // Perhaps there, perhaps not: as a client whose connection closed, look again.
            Err(Error::Store(store::Error::Unknown | store::Error::Closed)) => break,
            Err(Error::Store(_)) if plan.cut_when_refused => {
                disk.cut();
                pending = 0;
                break;
            }
            // Refused: it must not be there. The store comes back, so try again.
            Err(Error::Store(_)) if tries < 20 => tries += 1,
            Err(error) => return Err(format!("step {done} is refused for good: {error}")),
        }
    }
    drop(data);
    if plan.process_only {
        disk.kill();
    } else {
        restart(&disk);
    }
    disk.plan(&plan.again);
    data = match open(&disk) {
        Ok(data) if !disk.is_dead() => {
            disk.plan(&[]);
            data
        }
        other => {
            drop(other);
            restart(&disk);
            disk.plan(&[]);
            open(&disk).map_err(|error| format!("after step {done} the store does not open: {error}"))?
        }
    };
    let mut done = sound(&data, looks, done, (done + pending).min(STEPS))?;
    validities.see(&data)?;
    if plan.cut_when_seen {
        disk.cut();
        drop(data);
        disk.reboot();
        data = open(&disk).map_err(|error| format!("after what was seen the store does not open: {error}"))?;
        sound(&data, looks, done, done).map_err(|what| format!("what was seen is taken back: {what}"))?;
    }
    for _ in 0..AFTER.min(STEPS - done) {
        step(&data, seed, done).map_err(|error| format!("step {done} after the restart: {error}"))?;
        done += 1;
    }
    validities.see(&data)?;
    sound(&data, looks, done, done).map(|_| ())
}

fn restart(disk: &SimDisk) {
    if disk.is_dead() { disk.reboot() } else { disk.kill() }
}

/// Every invariant holds, and the account looks as after one of the steps `from..=to`; which one.
fn sound(data: &Data, looks: &[Look], from: usize, to: usize) -> Result<usize, String> {
    let findings = account::check_all(data, false).map_err(|error| format!("the check fails: {error}"))?;
    if !findings.is_empty() {
        return Err(findings.join("\n"));
    }
    let findings = data.check().map_err(|error| format!("the store's check fails: {error}"))?;
    if !findings.is_empty() {
        return Err(findings.join("\n"));
    }
    let now = std::panic::catch_unwind(AssertUnwindSafe(|| look(data))).map_err(|_| "a letter cannot be read")?;
    // A checkpoint changes nothing, so the later of two that look the same is right as well as the first.
    let found = (from..=to).rev().find(|n| looks.get(*n) == Some(&now));
    found.ok_or_else(|| {
        let like = looks.iter().position(|look| *look == now);
        format!("the account does not look as after step {from} to {to}, but as after {like:?}")
    })
}

/// UIDVALIDITY of each mailbox ever seen.
#[derive(Default)]
struct Validities(BTreeMap<MailboxId, u32>);

impl Validities {
    fn see(&mut self, data: &Data) -> Result<(), String> {
        let snapshot = data.read().map_err(|error| error.to_string())?;
        for mailbox in mailbox::all(&snapshot, ALICE).map_err(|error| error.to_string())? {
            let known = *self.0.entry(mailbox.id).or_insert(mailbox.uid_validity);
            let others = self.0.iter().filter(|(id, validity)| **id != mailbox.id && **validity == known).count();
            if known != mailbox.uid_validity || others > 0 {
                return Err(format!("UIDVALIDITY {known} of mailbox {} was given out twice or changed", mailbox.id));
            }
        }
        Ok(())
    }
}

/// The n-th step of the run; what it does follows from the seed and from how the account looks.
fn step(data: &Data, seed: u64, n: usize) -> Result<(), Error> {
    let mut dice = Dice(seed.wrapping_add(n as u64 * 7919));
    let snapshot = data.read()?;
    let boxes = mailbox::all(&snapshot, ALICE)?;
    let at = if dice.below(3) == 0 { dice.pick(&boxes).map_or(INBOX, |m| m.id) } else { INBOX };
    let to = dice.pick(&boxes).map_or(INBOX, |m| m.id);
    let there = view::all_uids(&snapshot, ALICE, at, usize::MAX)?;
    let mut uids: Vec<Uid> = (0..dice.below(4)).filter_map(|_| dice.pick(&there)).collect();
    uids.sort();
    uids.dedup();
    drop(snapshot);
    let now = Time(n as i64);
    if n % 15 == 14 {
        // Letters still wanted move together, what nobody wants goes.
        while data.compact()? {
            MOVED.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(());
    }
    if n % 15 == 7 {
        return Ok(data.checkpoint()?);
    }
    // The large letters come whatever the dice say, so that each seed sees files of their own.
    let act = if n % 17 == 16 { 0 } else { dice.below(16) };
    match act {
        0..=6 => {
            let flags = Flags { system: dice.below(32) as u8, keywords: vec!["$Work".into()] };
            deliver(data, n as u64, at, flags).map(|_| ())
        }
        7 | 8 => {
            let flags = Flags { system: Flags::DELETED | dice.below(4) as u8, keywords: vec!["later".into()] };
            let mode = dice.pick(&[Mode::Add, Mode::Add, Mode::Replace, Mode::Remove]).unwrap_or(Mode::Add);
            data.write_blocking(move |txn| account::store(txn, ALICE, at, &uids, mode, &flags)).map(|_| ())
        }
        9 => data.write_blocking(move |txn| account::copy(txn, ALICE, at, &uids, to, now)).map(|_| ()),
        10 | 11 => data.write_blocking(move |txn| account::move_to(txn, ALICE, at, &uids, to, now)).map(|_| ()),
        12 | 13 => {
            let half: Vec<Uid> = there.iter().copied().step_by(2).collect();
            data.write_blocking(move |txn| account::expunge(txn, ALICE, at, &half, Which::Any)).map(|_| ())
        }
        14 => {
            let name = format!("Box {}", dice.below(3));
            let is_there = boxes.iter().any(|m| m.name == name);
            data.write_blocking(move |txn| {
                if is_there {
                    account::delete(txn, ALICE, &name).map(|_| ())
                } else {
                    account::create(txn, ALICE, &name).map(|_| ())
                }
            })
            .map(|_| ())
        }
        _ => Ok(data.checkpoint()?),
    }
}
