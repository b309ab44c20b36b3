//! Log-ins that were right a while ago: a mail program that comes every minute does not cost an argon2 each time.
//!
//! What is kept is an HMAC of user and password under a key made at start, never either of them; and the fingerprint of the
//! credential's row, so that a new password, or an account made anew, makes it worthless at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;

use crate::base::{Mono, Random};

use super::super::password;

const ROWS: usize = 1024;
const AGE_MS: u64 = 60 * 60 * 1000;

pub(super) struct Cache {
    key: hmac::Key,
    rows: Mutex<HashMap<[u8; 32], Row>>,
}

struct Row {
    fingerprint: [u8; 32],
    until: Mono,
}

impl Cache {
    pub fn new(random: &dyn Random) -> Cache {
        let mut key = [0u8; 32];
        random.fill(&mut key);
        Cache { key: hmac::Key::new(hmac::HMAC_SHA256, &key), rows: Mutex::new(HashMap::new()) }
    }

    pub fn tag(&self, user: &str, prepared: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // The length keeps `ab` + `c` and `a` + `bc` apart.
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(prepared.as_bytes());
        password::bytes_32(context.sign().as_ref())
    }

    pub fn knows(&self, tag: &[u8; 32], fingerprint: &[u8; 32], now: Mono) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        match rows.get(tag) {
            Some(row) if now < row.until && row.fingerprint == *fingerprint => true,
            Some(_) => {
                rows.remove(tag);
                false
            }
            None => false,
        }
    }

    pub fn learn(&self, tag: [u8; 32], fingerprint: [u8; 32], now: Mono) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= ROWS {
            rows.retain(|_, row| now < row.until);
        }
        if rows.len() >= ROWS
            && let Some(oldest) = rows.iter().min_by_key(|(_, row)| row.until).map(|(tag, _)| *tag)
        {
            rows.remove(&oldest);
        }
        rows.insert(tag, Row { fingerprint, until: now.plus_ms(AGE_MS) });
    }
}

#[cfg(test)]
mod tests {
    use crate::base::SeededRandom;

    use super::*;

    #[test]
    fn what_was_right_is_known_until_it_is_old_or_the_password_changes() {
        let cache = Cache::new(&SeededRandom::new(1));
        let tag = cache.tag("a", "bc");
        assert_ne!(tag, cache.tag("ab", "c"));
        assert_ne!(tag, Cache::new(&SeededRandom::new(2)).tag("a", "bc"));
        cache.learn(tag, [1; 32], Mono(0));
        assert!(cache.knows(&tag, &[1; 32], Mono(AGE_MS - 1)));
        assert!(!cache.knows(&tag, &[1; 32], Mono(AGE_MS)));
        cache.learn(tag, [1; 32], Mono(0));
        assert!(!cache.knows(&tag, &[2; 32], Mono(1)));
        assert!(!cache.knows(&tag, &[1; 32], Mono(1)), "it was dropped");
    }

    #[test]
    fn the_oldest_makes_room() {
        let cache = Cache::new(&SeededRandom::new(1));
        let tag = |n: usize| cache.tag("a", &n.to_string());
        for n in 0..ROWS + 10 {
            cache.learn(tag(n), [1; 32], Mono(n as u64));
        }
        assert_eq!(cache.rows.lock().unwrap().len(), ROWS);
        assert!(!cache.knows(&tag(9), &[1; 32], Mono(2000)));
        assert!(cache.knows(&tag(10), &[1; 32], Mono(2000)));
    }
}
