//! Who is signed in, in which browser. In memory: after a restart one signs in again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{Mono, Random};

use super::household::Standing;

/// Without a sign of life.
const IDLE_MS: u64 = 60 * 60 * 1000;
/// However busy it is.
const LONGEST_MS: u64 = 12 * 60 * 60 * 1000;
/// Of one account, and of all (P7); the one that has been quiet longest makes room.
const OF_ONE: usize = 16;
const ALL: usize = 512;

struct Session {
    account: u32,
    /// Of the pass phrase it was opened with (M3).
    fingerprint: [u8; 32],
    opened: Mono,
    last: Mono,
}

/// By the digest of what the browser has: a copy of our memory opens nothing.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

fn digest(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

impl Sessions {
    fn rows(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what the browser is to keep: 256 random bits, hex.
    pub fn open(&self, who: &Standing, random: &dyn Random, now: Mono) -> String {
        let mut bytes = [0u8; 32];
        random.fill(&mut bytes);
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut rows = self.rows();
        rows.retain(|_, session| session.is_alive(now));
        make_room(&mut rows, OF_ONE, |session| session.account == who.id);
        make_room(&mut rows, ALL, |_| true);
        let session = Session { account: who.id, fingerprint: who.fingerprint, opened: now, last: now };
        rows.insert(digest(&token), session);
        token
    }

    /// The account and its fingerprint at that time; also a sign of life.
    pub fn find(&self, token: &str, now: Mono) -> Option<(u32, [u8; 32])> {
        let key = digest(token);
        let mut rows = self.rows();
        let session = rows.get_mut(&key)?;
        if !session.is_alive(now) {
            rows.remove(&key);
            return None;
        }
        session.last = now;
        Some((session.account, session.fingerprint))
    }

    pub fn close(&self, token: &str) {
        self.rows().remove(&digest(token));
    }
}

impl Session {
    fn is_alive(&self, now: Mono) -> bool {
        now.since(self.last) < IDLE_MS && now.since(self.opened) < LONGEST_MS
    }
}

fn make_room(rows: &mut HashMap<[u8; 32], Session>, most: usize, of: impl Fn(&Session) -> bool) {
    while rows.values().filter(|session| of(session)).count() >= most {
        let oldest = rows.iter().filter(|(_, session)| of(session)).min_by_key(|(_, session)| session.last);
        let Some(oldest) = oldest.map(|(key, _)| *key) else { return };
        rows.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    fn who(id: u32) -> Standing {
        Standing { id, address: String::new(), name: None, administrator: false, fingerprint: [7; 32] }
    }

    #[test]
    fn a_session_ends_after_silence_and_after_half_a_day() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(1));
        let quiet = sessions.open(&who(1), &random, Mono(0));
        let busy = sessions.open(&who(1), &random, Mono(0));
        assert_eq!(sessions.find(&quiet, Mono(IDLE_MS - 1)), Some((1, [7; 32])));
        assert_eq!(sessions.find(&quiet, Mono(2 * IDLE_MS)), None);
        let mut now = 0;
        while now + IDLE_MS / 2 < LONGEST_MS {
            now += IDLE_MS / 2;
            assert!(sessions.find(&busy, Mono(now)).is_some() || now >= LONGEST_MS, "{now}");
        }
        assert_eq!(sessions.find(&busy, Mono(LONGEST_MS)), None);
        assert_eq!(sessions.find("", Mono(0)), None);
    }

    #[test]
    fn too_many_push_out_the_quietest_of_the_same_person_first() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(1));
        let other = sessions.open(&who(2), &random, Mono(0));
        let first = sessions.open(&who(1), &random, Mono(1));
        let second = sessions.open(&who(1), &random, Mono(2));
        for n in 0..OF_ONE as u64 - 1 {
            sessions.open(&who(1), &random, Mono(10 + n));
        }
        assert_eq!(sessions.find(&first, Mono(99)), None);
        assert!(sessions.find(&second, Mono(99)).is_some() && sessions.find(&other, Mono(99)).is_some());
        for n in 0..2 * ALL as u32 {
            sessions.open(&who(100 + n), &random, Mono(200));
        }
        assert_eq!(sessions.rows().len(), ALL);
        sessions.close(&other);
    }
}
