//! Who somebody at the page is: sessions, and the pauses after wrong tries.

use std::fmt;

use crate::base::{Mono, Random};

use super::code::pause_ms;

/// What lets a browser come back: 128 random bits, hex, for a cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    // W5.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Stranger,
    /// Typed the code of the screen. Means nothing any more once there is an administrator (W1).
    AtTheBox,
    Administrator,
    /// The command line, or a file on the boot partition: whoever can write there can do everything anyway.
    Console,
}

const SESSIONS: usize = 16;
/// Without a sign of life.
const IDLE_MS: u64 = 2 * 60 * 60 * 1000;

#[derive(Clone)]
struct Session {
    /// Of the token; a copy of our memory opens nothing.
    hash: blake3::Hash,
    who: Who,
    last: Mono,
}

/// Sessions live in memory: after a restart one signs in again, and finds everything as it was.
#[derive(Clone, Default)]
pub(super) struct Sessions(Vec<Session>);

impl Sessions {
    pub fn open(&mut self, who: Who, random: &dyn Random, now: Mono) -> Token {
        let mut bytes = [0u8; 16];
        random.fill(&mut bytes);
        let token = Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        if self.0.len() >= SESSIONS
            && let Some(oldest) = self.0.iter().enumerate().min_by_key(|(_, session)| session.last).map(|(at, _)| at)
        {
            self.0.swap_remove(oldest);
        }
        self.0.push(Session { hash: blake3::hash(token.0.as_bytes()), who, last: now });
        token
    }

    /// Also a sign of life.
    pub fn who(&mut self, token: &str, now: Mono) -> Who {
        self.0.retain(|session| now.since(session.last) < IDLE_MS);
        let hash = blake3::hash(token.as_bytes());
        match self.0.iter_mut().find(|session| session.hash == hash) {
            Some(session) => {
                session.last = now;
                session.who
            }
            None => Who::Stranger,
        }
    }

    /// W1: everybody who came by the code is a stranger again.
    pub fn end_of_the_code(&mut self) {
        self.0.retain(|session| session.who == Who::Administrator);
    }

    pub fn close(&mut self, token: &str) {
        let hash = blake3::hash(token.as_bytes());
        self.0.retain(|session| session.hash != hash);
    }

    /// After the pass phrase has changed nobody stays in by the old one.
    pub fn close_all(&mut self) {
        self.0.clear();
    }
}

/// W4: one for everybody, whatever address a try comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Pause {
    until: Mono,
    /// Pass phrases tried in vain, since the start.
    pub phrases: u32,
}

/// A household that forgot its pass phrase is not to be kept out for long; two argon2 a minute are no danger.
const LONGEST_FOR_PHRASES_MS: u64 = 60_000;

impl Pause {
    /// After a start: those who were waiting wait again.
    pub fn after_start(wrong: u32, now: Mono) -> Pause {
        Pause { until: now.plus_ms(pause_ms(wrong)), phrases: 0 }
    }

    /// Milliseconds until the next try is looked at.
    pub fn left(&self, now: Mono) -> u64 {
        self.until.since(now)
    }

    pub fn wrong_code(&mut self, wrong: u32, now: Mono) {
        self.until = now.plus_ms(pause_ms(wrong));
    }

    pub fn wrong_phrase(&mut self, now: Mono) {
        self.phrases = self.phrases.saturating_add(1);
        self.until = now.plus_ms(pause_ms(self.phrases).min(LONGEST_FOR_PHRASES_MS));
    }

    pub fn right(&mut self) {
        *self = Pause::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    #[test]
    fn a_session_ends_after_silence_or_when_too_many_came_after_it() {
        let random = SeededRandom::new(1);
        let mut sessions = Sessions::default();
        let first = sessions.open(Who::AtTheBox, &random, Mono(0));
        assert_eq!(sessions.who(first.text(), Mono(IDLE_MS - 1)), Who::AtTheBox);
        assert_eq!(sessions.who(first.text(), Mono(2 * IDLE_MS - 2)), Who::AtTheBox, "it was seen in between");
        assert_eq!(sessions.who(first.text(), Mono(4 * IDLE_MS)), Who::Stranger);
        let second = sessions.open(Who::AtTheBox, &random, Mono(4 * IDLE_MS));
        for n in 1..=SESSIONS as u64 {
            sessions.open(Who::AtTheBox, &random, Mono(4 * IDLE_MS + n));
        }
        assert_eq!(sessions.who(second.text(), Mono(4 * IDLE_MS + 99)), Who::Stranger);
        assert_eq!(sessions.0.len(), SESSIONS);
    }

    #[test]
    fn a_made_up_token_is_a_stranger() {
        let mut sessions = Sessions::default();
        sessions.open(Who::Administrator, &SeededRandom::new(1), Mono(0));
        assert_eq!(sessions.who("", Mono(0)), Who::Stranger);
        assert_eq!(sessions.who(&"0".repeat(32), Mono(0)), Who::Stranger);
    }
}
