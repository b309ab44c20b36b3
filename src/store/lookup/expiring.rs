//! What a fact is, over any backend that keeps bytes in two ordered spaces.
//!
//! `Facts`: key → expiry (8 bytes) and value. `Expiry`: expiry and key → nothing, in the order in which facts go. An entry
//! of `Expiry` counts only if the fact has that very expiry, so that a backend without transactions over both is enough.

use std::ops::ControlFlow;

use crate::base::Time;

use super::{KEY_BYTES, Lookup, VALUE_BYTES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Facts,
    Expiry,
}

/// Why a backend cannot go on with what it has; it is begun anew (L1).
#[derive(Debug)]
pub(super) struct Broken {
    pub why: String,
    /// What panicked may not even be dropped without panicking again.
    pub panicked: bool,
}

impl Broken {
    pub fn because(why: impl Into<String>) -> Broken {
        Broken { why: why.into(), panicked: false }
    }
}

/// Is shown a key and its value, and says whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

pub(super) trait View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Broken>;

    /// Keys from `lo` on, in their order, until `visit` breaks.
    fn range(&self, space: Space, lo: &[u8], visit: &mut Visit<'_>) -> Result<(), Broken>;
}

pub(super) trait Tables: View {
    fn set(&mut self, space: Space, key: &[u8], value: &[u8]) -> Result<(), Broken>;
    fn delete(&mut self, space: Space, key: &[u8]) -> Result<(), Broken>;

    /// Whether it keeps more than it should.
    fn is_over_full(&self) -> Result<bool, Broken>;
}

pub(super) trait Backend: Send + Sync + 'static {
    fn read<T>(&self, act: &dyn Fn(&dyn View) -> Result<T, Broken>) -> Result<T, Broken>;

    /// All of what `act` does is seen, or none of it.
    fn write<T>(&self, act: &dyn Fn(&mut dyn Tables) -> Result<T, Broken>) -> Result<T, Broken>;

    /// Forgets everything and begins anew, wherever that is possible.
    fn reset(&self, why: &Broken);

    fn flush(&self) -> Result<(), Broken>;
}

/// How many facts a single new one may displace. More than one, so that a bound that was lowered is reached in the end.
const DISPLACED: usize = 8;

pub(super) struct Expiring<B>(pub B);

impl<B: Backend> Expiring<B> {
    /// L1: what fails is tried once more on an empty store.
    fn read<T: Default>(&self, act: impl Fn(&dyn View) -> Result<T, Broken>) -> T {
        self.0.read(&act).unwrap_or_else(|why| {
            self.0.reset(&why);
            T::default()
        })
    }

    fn write<T: Default>(&self, act: impl Fn(&mut dyn Tables) -> Result<T, Broken>) -> T {
        match self.0.write(&act) {
            Ok(done) => done,
            Err(why) => {
                self.0.reset(&why);
                self.0.write(&act).unwrap_or_default()
            }
        }
    }
}

impl<B: Backend> Lookup for Expiring<B> {
    fn get(&self, key: &[u8], now: Time) -> Option<Vec<u8>> {
        if key.len() > KEY_BYTES {
            return None;
        }
        self.read(|view| Ok(fact(view, key)?.filter(|(expires, _)| now < *expires).map(|(_, value)| value)))
    }

    fn put(&self, key: &[u8], value: &[u8], expires: Time, now: Time) {
        if key.len() > KEY_BYTES || value.len() > VALUE_BYTES {
            return;
        }
        self.write(|tables| {
            forget(tables, key)?;
            if now < expires { keep(tables, key, value, expires) } else { Ok(()) }
        });
    }

    fn add(&self, key: &[u8], by: i64, expires: Time, now: Time) -> i64 {
        if key.len() > KEY_BYTES {
            return by;
        }
        self.write(|tables| {
            let there = fact(tables, key)?.filter(|(expires, _)| now < *expires);
            let (count, expires) = match there {
                Some((until, value)) => match <[u8; 8]>::try_from(value.as_slice()) {
                    Ok(count) => (i64::from_be_bytes(count), until),
                    Err(_) => (0, expires),
                },
                None => (0, expires),
            };
            let count = count.saturating_add(by);
            forget(tables, key)?;
            if now < expires {
                keep(tables, key, &count.to_be_bytes(), expires)?;
            }
            Ok(count)
        })
    }

    fn delete(&self, key: &[u8]) {
        if key.len() <= KEY_BYTES {
            self.write(|tables| forget(tables, key));
        }
    }

    fn scan(&self, prefix: &[u8], after: &[u8], limit: usize, now: Time) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.read(|view| {
            let mut found = Vec::new();
            if limit == 0 {
                return Ok(found);
            }
            view.range(Space::Facts, prefix.max(after), &mut |key, row| {
                if !key.starts_with(prefix) {
                    return ControlFlow::Break(());
                }
                let is_next = after.is_empty() || key > after;
                if let Some((_, value)) = split(row).filter(|(expires, _)| is_next && now < *expires) {
                    found.push((key.to_vec(), value.to_vec()));
                }
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            Ok(found)
        })
    }

    fn sweep(&self, limit: usize, now: Time) -> usize {
        self.write(|tables| {
            let due = first_due(tables, limit, Some(now))?;
            for (expires, key) in &due {
                drop_due(tables, *expires, key)?;
            }
            Ok(due.len())
        })
    }

    fn flush(&self) {
        if let Err(why) = self.0.flush() {
            self.0.reset(&why);
        }
    }
}

/// A fact as it lies there, expired or not.
fn fact<V: View + ?Sized>(view: &V, key: &[u8]) -> Result<Option<(Time, Vec<u8>)>, Broken> {
    match view.get(Space::Facts, key)? {
        None => Ok(None),
        Some(row) => match split(&row) {
            Some((expires, value)) => Ok(Some((expires, value.to_vec()))),
            None => Err(Broken::because("a fact without its expiry")),
        },
    }
}

fn split(row: &[u8]) -> Option<(Time, &[u8])> {
    let (expires, value) = row.split_first_chunk::<8>()?;
    Some((Time(i64::from_be_bytes(*expires)), value))
}

/// Later is greater, also across 1970.
fn ordered(expires: Time) -> [u8; 8] {
    (expires.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn due_key(expires: Time, key: &[u8]) -> Vec<u8> {
    [ordered(expires).as_slice(), key].concat()
}

fn keep(tables: &mut dyn Tables, key: &[u8], value: &[u8], expires: Time) -> Result<(), Broken> {
    tables.set(Space::Facts, key, &[expires.0.to_be_bytes().as_slice(), value].concat())?;
    tables.set(Space::Expiry, &due_key(expires, key), &[])?;
    // L3. The new fact itself may be the one that goes first.
    for _ in 0..DISPLACED {
        if !tables.is_over_full()? {
            break;
        }
        for (expires, key) in first_due(tables, 1, None)? {
            drop_due(tables, expires, &key)?;
        }
    }
    Ok(())
}

fn forget(tables: &mut dyn Tables, key: &[u8]) -> Result<(), Broken> {
    if let Some((expires, _)) = fact(tables, key)? {
        tables.delete(Space::Expiry, &due_key(expires, key))?;
        tables.delete(Space::Facts, key)?;
    }
    Ok(())
}

/// The facts that go first; of those only the ones that are gone by `now`, if it is given.
fn first_due(tables: &dyn Tables, limit: usize, now: Option<Time>) -> Result<Vec<(Time, Vec<u8>)>, Broken> {
    let mut due = Vec::new();
    if limit == 0 {
        return Ok(due);
    }
    tables.range(Space::Expiry, &[], &mut |row, _| {
        if let Some((expires, key)) = row.split_first_chunk::<8>() {
            let expires = Time((u64::from_be_bytes(*expires) ^ (1 << 63)).cast_signed());
            if now.is_some_and(|now| now < expires) {
                return ControlFlow::Break(());
            }
            due.push((expires, key.to_vec()));
        }
        if due.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(due)
}

fn drop_due(tables: &mut dyn Tables, expires: Time, key: &[u8]) -> Result<(), Broken> {
    tables.delete(Space::Expiry, &due_key(expires, key))?;
    if fact(tables, key)?.is_some_and(|(now, _)| now == expires) {
        tables.delete(Space::Facts, key)?;
    }
    Ok(())
}
