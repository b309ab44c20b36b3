//! The stick, mounted for as long as something is done with it, and for one at a time: who is done has it unmounted.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use crate::appliance::machine::stick::{at, chosen};
use crate::appliance::machine::{Client, Machine};

/// Between two times of telling the machine that the stick is still used.
const STILL: Duration = Duration::from_secs(30);
/// For one who uses it to be done.
const TURN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

pub(super) const IN_USE: &str = "the stick is in use just now; please try again";

/// Whose turn it is has the stick of this insertion.
static USED: Mutex<()> = Mutex::new(());
static INSERTION: Mutex<Option<u64>> = Mutex::new(None);

fn insertion() -> MutexGuard<'static, Option<u64>> {
    INSERTION.lock().unwrap_or_else(PoisonError::into_inner)
}

fn turn() -> Result<MutexGuard<'static, ()>, String> {
    let mut left = TURN;
    loop {
        match USED.try_lock() {
            Ok(turn) => return Ok(turn),
            Err(TryLockError::Poisoned(turn)) => return Ok(turn.into_inner()),
            Err(TryLockError::WouldBlock) if left.is_zero() => return Err(IN_USE.to_owned()),
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(PAUSE);
                left = left.saturating_sub(PAUSE);
            }
        }
    }
}

/// Tells the machine that the stick is used, for as long as it lives.
struct Telling {
    used: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Telling {
    fn begin() -> Telling {
        let used = Arc::new(AtomicBool::new(true));
        let still = used.clone();
        let tell = move || {
            let machine = Client::new();
            while still.load(Ordering::Relaxed) {
                std::thread::park_timeout(STILL);
                if still.load(Ordering::Relaxed) && machine.open_stick().is_err() {
                    // Pulled out: whoever writes to it finds out.
                    return;
                }
            }
        };
        Telling { used, thread: std::thread::Builder::new().name("stick".to_owned()).spawn(tell).ok() }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.used.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // So that it does not open the stick after it was closed.
            let _ = thread.join();
        }
    }
}

/// Does something with the stick mounted, and has it unmounted again. Errors: sentences, also of what was written and could not be
/// let go: then it may not be there.
pub(super) fn with_stick<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let (done, closed) = mounted(work)?;
    closed.map(|()| done)
}

/// The same, where what was done counts in any case: it was read only, or is synced already.
pub(super) fn from_stick<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let (done, closed) = mounted(work)?;
    if let Err(words) = closed {
        warn!("the stick could not be let go as it should: {words}");
    }
    Ok(done)
}

fn mounted<T>(work: impl FnOnce() -> T) -> Result<(T, Result<(), String>), String> {
    let _turn = turn()?;
    let machine = Client::new();
    machine.open_stick().map_err(|error| error.to_string())?;
    *insertion() = now_in();
    let telling = Telling::begin();
    let done = work();
    drop(telling);
    Ok((done, machine.close_stick().map_err(|error| error.to_string())))
}

fn now_in() -> Option<u64> {
    Client::new().sticks().ok().and_then(|sticks| chosen(&sticks).ok().map(|one| one.insertion))
}

/// Whether the stick that something is read from was not pulled out since it was mounted; elsewhere than on a stick that is not
/// asked. Errors: a sentence.
pub(super) fn still_in(from: &Path) -> Result<(), String> {
    if !from.starts_with(at()) || (now_in().is_some() && now_in() == *insertion()) {
        return Ok(());
    }
    Err("the stick was pulled out before everything was read".to_owned())
}
