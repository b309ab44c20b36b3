//! Greylisting: whoever was never here is asked to come again (RFC 6647). Who does not keep a queue does not.

use std::net::IpAddr;

use crate::base::{Time, counted};
use crate::store::lookup::Lookup;

/// RFC 6647 5: from one minute to a day, and the shorter the better.
const WAIT_MS: u64 = 5 * 60_000;
/// Whoever has not come again by then begins anew.
const WINDOW_MS: u64 = 24 * 60 * 60_000;
/// Who kept a queue once is let in for so long, and again from each letter on.
const KNOWN_MS: u64 = 36 * 24 * 60 * 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Welcome,
    /// Milliseconds until it is let in.
    ComeAgain(u64),
}

/// A key of fixed length, whatever strangers send.
fn key(kind: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    [kind.as_bytes(), &hasher.finalize().as_bytes()[..16]].concat()
}

/// The network: servers of one sender take turns (RFC 6647 5).
fn network(peer: IpAddr) -> Option<Vec<u8>> {
    Some(match counted(peer)? {
        IpAddr::V4(four) => four.octets()[..3].to_vec(),
        IpAddr::V6(six) => six.octets()[..8].to_vec(),
    })
}

/// May block on the disk. What was forgotten means waiting once more.
pub fn ask(facts: &dyn Lookup, peer: IpAddr, from: &str, to: &str, now: Time) -> Said {
    let Some(network) = network(peer) else { return Said::Welcome };
    let known = key("grey/known/", &[&network]);
    let later = |ms: u64| Time(now.0.saturating_add_unsigned(ms));
    if facts.get(&known, now).is_some() {
        facts.put(&known, &[], later(KNOWN_MS), now);
        return Said::Welcome;
    }
    let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
    let first = key("grey/first/", &[&network, from.as_bytes(), to.as_bytes()]);
    let seen = facts.get(&first, now).and_then(|value| Some(i64::from_be_bytes(value.try_into().ok()?)));
    match seen {
        // A clock that was put back must not keep anybody out.
        Some(at) if now.0 >= at.saturating_add_unsigned(WAIT_MS) || now.0 < at => {
            facts.delete(&first);
            facts.put(&known, &[], later(KNOWN_MS), now);
            Said::Welcome
        }
        Some(at) => Said::ComeAgain(at.saturating_add_unsigned(WAIT_MS).abs_diff(now.0)),
        None => {
            facts.put(&first, &now.0.to_be_bytes(), later(WINDOW_MS), now);
            Said::ComeAgain(WAIT_MS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lookup::memory;

    #[test]
    fn who_comes_again_is_let_in_and_stays_known() {
        let facts = memory(1 << 20);
        let ask = |peer: &str, from: &str, at: u64| {
            ask(&*facts, peer.parse().unwrap(), from, "alice@example.test", Time(1_000_000 + at as i64))
        };
        assert_eq!(ask("203.0.113.7", "bob@elsewhere.test", 0), Said::ComeAgain(WAIT_MS));
        assert_eq!(ask("203.0.113.7", "bob@elsewhere.test", 1000), Said::ComeAgain(WAIT_MS - 1000), "too soon");
        assert_eq!(ask("203.0.113.7", "eve@elsewhere.test", WAIT_MS), Said::ComeAgain(WAIT_MS), "another letter");
        assert_eq!(ask("198.51.100.7", "bob@elsewhere.test", WAIT_MS), Said::ComeAgain(WAIT_MS), "somebody else");
        assert_eq!(ask("203.0.113.9", "BOB@elsewhere.test", WAIT_MS), Said::Welcome, "another server of the same");
        assert_eq!(
            ask("203.0.113.7", "eve@elsewhere.test", WAIT_MS + 1),
            Said::Welcome,
            "it keeps a queue, that is known"
        );
        let later = WAIT_MS + KNOWN_MS;
        assert_eq!(ask("203.0.113.7", "new@elsewhere.test", later), Said::Welcome, "known from the last letter on");
        assert_eq!(ask("203.0.113.7", "new@elsewhere.test", later + KNOWN_MS), Said::ComeAgain(WAIT_MS), "forgotten");
    }

    #[test]
    fn whoever_comes_back_too_late_begins_anew_and_this_machine_never_waits() {
        let facts = memory(1 << 20);
        let ask = |peer: &str, at: u64| ask(&*facts, peer.parse().unwrap(), "b@x.test", "a@y.test", Time(at as i64));
        assert_eq!(ask("2001:db8::1", 0), Said::ComeAgain(WAIT_MS));
        assert_eq!(ask("2001:db8::1", WINDOW_MS), Said::ComeAgain(WAIT_MS));
        assert_eq!(ask("127.0.0.1", 0), Said::Welcome);
    }
}
