//! Passwords: how they are prepared, what a new one must be, and what is kept of one.
//!
//! argon2id with OWASP's 19 MiB, 2 passes, 1 lane: two at once take 38 MiB, which the smallest box has, and each some 20 to
//! 60 ms. SCRAM cannot be served from it, so its keys stand beside; their iterations are counted by the client's processor
//! at each log-in, which is why they are no more than a phone does unnoticed (RFC 7677 4: at least 4,096).

use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use aws_lc_rs::{digest, hmac, pbkdf2};
use unicode_normalization::UnicodeNormalization;

use crate::base::{Random, Time};

use super::row::CredentialRow;
use super::{Error, StoredScram};

/// What a new password must be, in words for its owner.
pub const PASSWORD_RULE: &str = "A password has at least 8 characters, 5 of them different, and at most 256 bytes. It is \
                                 not a plain sequence (12345678, abcdefgh), not one of the most common passwords, and not \
                                 the address or a part of it with digits behind it.";

const CHARACTERS: usize = 8;
const DIFFERENT: usize = 5;
const BYTES: usize = 256;
/// Nobody's password is longer, so nothing is spent on it.
const LOGIN_BYTES: usize = 1024;

/// A hash says itself what it costs to check it. One that asks for more than this is a damaged row, which must not take
/// all memory there is (in KiB), or all time.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 32;
const MOST_LANES: u32 = 16;

pub(super) const ITERATIONS: u32 = 20_000;
pub(super) const SALT_BYTES: usize = 16;

/// Of the lists of leaked passwords, the ones that would pass the other rules.
const COMMON: [&str; 40] = [
    "password",
    "passw0rd",
    "qwertyuiop",
    "qwerty123",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "zaq12wsx",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "welcome1",
    "letmein1",
    "letmein123",
    "admin123",
    "administrator",
    "starwars",
    "whatever",
    "computer",
    "michelle",
    "jennifer",
    "corvette",
    "changeme",
    "asdfghjkl",
    "asdf1234",
    "qwer1234",
    "q1w2e3r4",
    "1234qwer",
    "password1",
    "password12",
    "password123",
    "passwort",
    "passwort1",
    "passwort123",
    "motdepasse",
    "hallo123",
];

/// What is kept of a password, before it is an account's. Made outside a transaction, since it takes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential(pub(super) CredentialRow);

impl Credential {
    /// For a new password of `address` (which it must not resemble). Takes some 50 ms and 19 MiB.
    /// Errors: [`Error::Unusable`] with what is wrong with it.
    pub fn new(address: &str, password: &str, random: &dyn Random, now: Time) -> Result<Credential, Error> {
        Credential::renewed(address, password, random, now, None)
    }

    /// The same for an account that had one: with its [salt](super::manage::account::salt).
    pub fn renewed(
        address: &str,
        password: &str,
        random: &dyn Random,
        now: Time,
        salt: Option<Vec<u8>>,
    ) -> Result<Credential, Error> {
        let password = check_new(address, password)?;
        let mut salts = [0u8; 2 * SALT_BYTES];
        random.fill(&mut salts);
        let (argon_salt, scram_salt) = salts.split_at(SALT_BYTES);
        let scram = scram_of(&password, salt.unwrap_or_else(|| scram_salt.to_vec()), ITERATIONS);
        Ok(Credential(CredentialRow {
            argon2: hash(&password, argon_salt)?,
            salt: scram.salt,
            iterations: scram.iterations,
            stored_key: scram.stored_key,
            server_key: scram.server_key,
            set: now.0,
        }))
    }
}

/// The form that is hashed: SASLprep (RFC 4013, as RFC 5802 2.2 wants); what that cannot prepare (an emoji, say) in NFC.
/// `None`: empty, or longer than any password.
pub(super) fn prepare(password: &str) -> Option<String> {
    if password.is_empty() || password.len() > LOGIN_BYTES {
        return None;
    }
    let prepared = match stringprep::saslprep(password) {
        Ok(prepared) => prepared.into_owned(),
        Err(_) => password.nfc().collect(),
    };
    (!prepared.is_empty()).then_some(prepared)
}

/// Whether this may be the password of this address. Errors: why not, without the password (U2).
pub fn fits(address: &str, password: &str) -> Result<(), Error> {
    check_new(address, password).map(drop)
}

/// [`PASSWORD_RULE`]. Gives the prepared form.
fn check_new(address: &str, password: &str) -> Result<String, Error> {
    let no = |why: &str| Err(Error::Unusable(format!("this password cannot be used: {why}. {PASSWORD_RULE}")));
    let Some(prepared) = prepare(password) else {
        return no(if password.is_empty() { "it is empty" } else { "it is too long" });
    };
    if prepared.len() > BYTES {
        return no("it is too long");
    }
    if prepared.chars().any(char::is_control) {
        return no("it has control characters (a line break?)");
    }
    let chars: Vec<char> = prepared.chars().collect();
    if chars.len() < CHARACTERS {
        return no("it is too short");
    }
    let mut different = chars.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT {
        return no("it has too few different characters");
    }
    let steps = |by: i64| {
        chars.iter().zip(chars.iter().skip(1)).all(|(a, b)| i64::from(u32::from(*b)) - i64::from(u32::from(*a)) == by)
    };
    // 1234567890 wraps at its end.
    if steps(1) || steps(-1) || "01234567890123456789".contains(&prepared) || "98765432109876543210".contains(&prepared)
    {
        return no("it is a plain sequence");
    }
    let lower = prepared.to_lowercase();
    if COMMON.contains(&lower.as_str()) {
        return no("it is one of the most common ones");
    }
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '!');
    let address = address.to_lowercase();
    let (local, domain) = address.split_once('@').unwrap_or((&address, ""));
    if [address.as_str(), local, domain].contains(&lower.as_str())
        || (!word.is_empty() && [local, domain].contains(&word))
    {
        return no("it is the address");
    }
    Ok(prepared)
}

fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

fn hash(prepared: &str, salt: &[u8]) -> Result<String, Error> {
    hasher()
        .hash_password_with_salt(prepared.as_bytes(), salt)
        .map(|hash| hash.to_string())
        .map_err(|error| Error::Unusable(format!("this password cannot be hashed: {error}")))
}

/// Whether `prepared` is the password of a PHC string. Takes as long whether it is or not.
pub(super) fn verify(prepared: &str, phc: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else { return false };
    let bearable = Params::try_from(&hash).is_ok_and(|params| {
        params.m_cost() <= MOST_MEMORY && params.t_cost() <= MOST_PASSES && params.p_cost() <= MOST_LANES
    });
    bearable && hasher().verify_password(prepared.as_bytes(), &hash).is_ok()
}

/// A hash that no password has, for users that do not exist (U1): checking it costs what a real one costs.
pub(super) fn dummy_hash(random: &dyn Random) -> Result<String, Error> {
    let mut secret = [0u8; 32];
    random.fill(&mut secret);
    let password: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut salt = [0u8; SALT_BYTES];
    random.fill(&mut salt);
    hash(&password, &salt)
}

/// RFC 5802 3: SaltedPassword, ClientKey, StoredKey, ServerKey.
pub(super) fn scram_of(prepared: &str, salt: Vec<u8>, iterations: u32) -> StoredScram {
    let mut salted = [0u8; 32];
    let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, prepared.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    StoredScram {
        devices: Vec::new(),
        salt,
        iterations,
        stored_key: bytes_32(stored_key.as_ref()),
        server_key: bytes_32(server_key.as_ref()),
    }
}

/// SHA-256 and its HMAC are 32 bytes.
pub(super) fn bytes_32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use crate::base::SeededRandom;

    use super::*;

    fn new(password: &str) -> Result<Credential, Error> {
        Credential::new("alice@example.test", password, &SeededRandom::new(1), Time(5))
    }

    #[test]
    fn a_password_is_known_again_and_another_is_not() {
        let Credential(row) = new("correct horse battery").unwrap();
        assert!(row.argon2.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", row.argon2);
        assert!(verify("correct horse battery", &row.argon2));
        assert!(!verify("correct horse batterie", &row.argon2));
        assert!(!verify("correct horse battery", &dummy_hash(&SeededRandom::new(2)).unwrap()));
        assert!(!verify("x", "not a hash"));
        assert!(row.iterations >= 4096 && row.salt.len() == SALT_BYTES);
    }

    #[test]
    fn a_damaged_hash_takes_neither_all_memory_nor_all_time() {
        let Credential(row) = new("correct horse battery").unwrap();
        for (from, to) in [("m=19456", "m=4294967295"), ("t=2", "t=4294967295"), ("p=1", "p=1000")] {
            let damaged = row.argon2.replace(from, to);
            assert_ne!(damaged, row.argon2);
            assert!(PasswordHash::new(&damaged).is_ok_and(|hash| Params::try_from(&hash).is_ok()), "{damaged}");
            assert!(!verify("correct horse battery", &damaged));
        }
    }

    /// The example exchange of RFC 7677 3, proved from the stored key as a server does it.
    #[test]
    fn scram_keys_prove_the_example_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = scram_of("pencil", salt, 4096);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let auth =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &keys.stored_key), auth.as_bytes());
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), keys.stored_key);
        let server = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &keys.server_key), auth.as_bytes());
        assert_eq!(STANDARD.encode(server.as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn forms_of_one_password_are_one() {
        assert_eq!(prepare("ｐassword\u{ad}"), Some("password".into()));
        assert_eq!(prepare("a\u{308}"), prepare("ä"));
        assert_eq!(prepare("a\u{a0}b"), Some("a b".into()));
        assert!(prepare("🔑🔑").is_some());
        assert_eq!(prepare(""), None);
        assert_eq!(prepare("\u{ad}"), None);
        assert_eq!(prepare(&"a".repeat(1 << 20)), None);
    }

    #[test]
    fn a_new_password_keeps_the_rule() {
        let long = "ab1".repeat(100);
        for weak in [
            "",
            "short 1",
            "aaaaaaaaaaaa",
            "abababab",
            "12345678",
            "1234567890",
            "hgfedcba",
            "Password1",
            "passw0rd",
            "alice@example.test",
            "Alice2026",
            "example.test1!",
            "a good one\n but not",
            &long,
        ] {
            match check_new("alice@example.test", weak) {
                Err(Error::Unusable(why)) => {
                    let why = why.replace(PASSWORD_RULE, "");
                    assert!(weak.is_empty() || !why.contains(weak), "U2: {why}");
                }
                other => panic!("{weak:?}: {other:?}"),
            }
        }
        for fine in ["correct horse battery", "alice likes tea", "Zwölf Boxkämpfer", "x7#kQ2pl", "🔑🔒🗝️🚪🏠abcde"]
        {
            assert!(check_new("alice@example.test", fine).is_ok(), "{fine}");
        }
    }
}
