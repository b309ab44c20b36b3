//! Messages signed with a key that both sides have (TSIG, RFC 8945).

use aws_lc_rs::hmac;

use super::packet::{self, HEADER, u16_at, wire_name};

const TSIG: u16 = 250;
const ANY: u16 = 255;
/// Seconds by which two clocks may differ (RFC 8945 10).
const FUDGE: u16 = 300;

/// How a message is signed (RFC 8945 6); those that are weak or cut short are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 4] = [Algorithm::Sha224, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// As name servers write it: `hmac-sha256`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha224 => "hmac-sha224",
            Algorithm::Sha256 => "hmac-sha256",
            Algorithm::Sha384 => "hmac-sha384",
            Algorithm::Sha512 => "hmac-sha512",
        }
    }

    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha224 => hmac::HMAC_SHA224,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A key with its name. It has no `Debug`.
#[derive(Clone)]
pub(super) struct Key {
    name: Vec<u8>,
    algorithm: Vec<u8>,
    key: hmac::Key,
}

/// What a response's signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// It comes from whoever has the key, and answers this request.
    Well,
    /// There is none.
    Not,
    /// There is one, and it is not right.
    Badly,
    /// The server does not take ours, and says why: a number (RFC 8945 3), and what time it has if it is that.
    Refused { error: u16, time: Option<u64> },
}

impl Key {
    /// `None`: the name is none.
    pub fn new(name: &str, algorithm: Algorithm, secret: &[u8]) -> Option<Key> {
        let name = wire_name(name.trim_end_matches('.')).filter(|name| name.len() > 1)?;
        let key = hmac::Key::new(algorithm.hmac(), secret);
        Some(Key { name, algorithm: wire_name(algorithm.as_str())?, key })
    }

    /// Signs a message that has no signature yet. Gives it with the signature, and what the response is checked with.
    pub fn sign(&self, message: &[u8], seconds: u64) -> (Vec<u8>, Vec<u8>) {
        let variables = self.variables(seconds, FUDGE, 0, &[]);
        let mac = hmac::sign(&self.key, &[message, &variables].concat()).as_ref().to_vec();
        let mut data = self.algorithm.clone();
        data.extend(&seconds.to_be_bytes()[2..]);
        data.extend(FUDGE.to_be_bytes());
        data.extend((mac.len() as u16).to_be_bytes());
        data.extend(&mac);
        data.extend(message.get(..2).unwrap_or_default());
        data.extend([0; 4]);
        let mut out = message.to_vec();
        // ARCOUNT
        let additional = u16_at(message, 10).unwrap_or(0) + 1;
        if let Some(count) = out.get_mut(10..12) {
            count.copy_from_slice(&additional.to_be_bytes());
        }
        out.extend(&self.name);
        [TSIG, ANY, 0, 0, data.len() as u16].iter().for_each(|word| out.extend(word.to_be_bytes()));
        out.extend(data);
        (out, mac)
    }

    /// What is signed beside the message (RFC 8945 4.3.3).
    fn variables(&self, seconds: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
        let mut out = self.name.clone();
        [ANY, 0, 0].iter().for_each(|word| out.extend(word.to_be_bytes()));
        out.extend(&self.algorithm);
        out.extend(&seconds.to_be_bytes()[2..]);
        [fudge, error, other.len() as u16].iter().for_each(|word| out.extend(word.to_be_bytes()));
        out.extend(other);
        out
    }

    /// Checks a response against the request's signature. `None`: it is no message.
    pub fn check(&self, request: &[u8], message: &[u8], now: u64) -> Option<Signed> {
        let mut at = HEADER;
        for _ in 0..u16_at(message, 4)? {
            at = packet::name(message, at)?.1 + 4;
        }
        let records = u32::from(u16_at(message, 6)?) + u32::from(u16_at(message, 8)?) + u32::from(u16_at(message, 10)?);
        let mut last = None;
        for _ in 0..records {
            let (_, after) = packet::name(message, at)?;
            let record = (at, after, packet::record(message, at)?);
            at = record.2.end;
            last = Some(record);
        }
        // It is the last of the additional records, or there is none (RFC 8945 5.1).
        let additional = u16_at(message, 10)?;
        let Some((start, after, record)) =
            last.filter(|(_, after, _)| additional > 0 && u16_at(message, *after) == Some(TSIG))
        else {
            return Some(Signed::Not);
        };
        let (_, mut at) = packet::name(message, record.start)?;
        let seconds = message.get(at..at + 6)?.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let (fudge, length) = (u16_at(message, at + 6)?, usize::from(u16_at(message, at + 8)?));
        let mac = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        let (id, error) = (message.get(at..at + 2)?, u16_at(message, at + 2)?);
        let other = message.get(at + 6..at + 6 + usize::from(u16_at(message, at + 4)?))?;
        // What is not signed itself has one value (RFC 8945 4.2).
        let form = u16_at(message, after + 2)? == ANY
            && packet::u32_at(message, after + 4)? == 0
            && at + 6 + other.len() == record.end
            && record.end == message.len();
        if error != 0 {
            let time = <[u8; 6]>::try_from(other).ok();
            let time = time.map(|bytes| bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)));
            return Some(Signed::Refused { error, time });
        }
        let own_name = packet::name(message, start)?.0;
        let same = form
            && wire_name(&own_name).is_some_and(|name| name == self.name)
            && packet::name(message, record.start).and_then(|(name, _)| wire_name(&name)).as_ref()
                == Some(&self.algorithm);
        // As it was before it was signed: without this record, under the id it was given then.
        let mut bare = message.get(..start)?.to_vec();
        bare.get_mut(..2)?.copy_from_slice(id);
        bare.get_mut(10..12)?.copy_from_slice(&(additional - 1).to_be_bytes());
        let variables = self.variables(seconds, fudge, error, other);
        let all = [&(request.len() as u16).to_be_bytes()[..], request, &bare, &variables].concat();
        let well = same && hmac::verify(&self.key, &all, mac).is_ok() && now.abs_diff(seconds) <= u64::from(FUDGE);
        Some(if well { Signed::Well } else { Signed::Badly })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn key(secret: &[u8]) -> Key {
        Key::new("Home.Key.", Algorithm::Sha256, secret).unwrap()
    }

    fn message(id: u8) -> Vec<u8> {
        vec![0, id, 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    /// A response as a server signs it.
    fn response(key: &Key, request: &[u8]) -> Vec<u8> {
        let bare = message(7);
        let variables = key.variables(NOW, FUDGE, 0, &[]);
        let all = [&(request.len() as u16).to_be_bytes()[..], request, &bare, &variables].concat();
        let mac = hmac::sign(&key.key, &all);
        let (mut signed, own) = key.sign(&bare, NOW);
        let at = signed.windows(own.len()).position(|part| part == own).unwrap();
        signed[at..at + own.len()].copy_from_slice(mac.as_ref());
        signed
    }

    proptest::proptest! {
        #[test]
        fn broken_messages_do_no_harm(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            at in 0..120_usize,
            byte: u8,
        ) {
            let key = key(b"a");
            key.check(b"", &bytes, NOW);
            let (_, request) = key.sign(&message(7), NOW);
            let mut near = response(&key, &request);
            let length = near.len();
            let before = std::mem::replace(&mut near[at % length], byte);
            let well = key.check(&request, &near, NOW) == Some(Signed::Well);
            // Names are the same in capitals (RFC 8945 4.3.3), and the id is checked elsewhere; else each byte counts.
            let alike = before.eq_ignore_ascii_case(&byte) || at % length < 2;
            proptest::prop_assert!(!well || alike, "{at} {before} {byte}");
        }
    }

    #[test]
    fn a_response_counts_only_with_the_key_for_this_request_now_and_unchanged() {
        let key_a = key(b"a");
        let (_, request) = key_a.sign(&message(7), NOW);
        let good = response(&key_a, &request);
        assert_eq!(key_a.check(&request, &good, NOW), Some(Signed::Well));
        assert_eq!(key(b"b").check(&request, &good, NOW), Some(Signed::Badly), "another key");
        assert_eq!(key_a.check(b"another", &good, NOW), Some(Signed::Badly), "another request");
        assert_eq!(key_a.check(&request, &good, NOW + 3600), Some(Signed::Badly), "an hour ago");
        let mut changed = good.clone();
        changed[3] = 5;
        assert_eq!(key_a.check(&request, &changed, NOW), Some(Signed::Badly), "another answer");
        assert_eq!(key_a.check(&request, &message(7), NOW), Some(Signed::Not));
        for end in 0..good.len() {
            assert_ne!(key_a.check(&request, &good[..end], NOW), Some(Signed::Well));
        }
    }
}
