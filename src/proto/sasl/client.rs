//! The client's side, for a server that we log in to: SCRAM-SHA-256 (RFC 7677), PLAIN (RFC 4616), LOGIN.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use subtle::ConstantTimeEq;

use super::scram::sign;
use super::{Mechanism, decode, encode};

/// Rounds that a server may ask of us. RFC 7677 4 has 4,096 at least; what is above costs us seconds.
const ROUNDS: std::ops::RangeInclusive<u32> = 4_096..=600_000;

/// Why it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server's words fit no exchange.
    Malformed,
    /// The server does not know the password itself (RFC 5802 5: it has to prove that it does).
    Impostor,
}

/// One exchange. Secrets in it are dropped with it.
pub struct Client {
    mechanism: Mechanism,
    user: String,
    password: String,
    nonce: String,
    state: State,
}

enum State {
    First,
    /// LOGIN: the password is next.
    Second,
    /// SCRAM: what the server has to prove.
    Signature(Vec<u8>),
    Done,
}

impl Client {
    /// With channel binding there is nothing here; `nonce` is fresh and printable. The first response goes along with the
    /// command, where there is one.
    pub fn start(mechanism: Mechanism, user: &str, password: &str, nonce: &str) -> (Client, Option<Vec<u8>>) {
        let mut client = Client {
            mechanism,
            user: user.to_owned(),
            password: password.to_owned(),
            nonce: nonce.to_owned(),
            state: State::First,
        };
        let first = match mechanism {
            Mechanism::Plain => {
                client.state = State::Done;
                Some(format!("\0{user}\0{password}").into_bytes())
            }
            Mechanism::Login => None,
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => Some(format!("n,,{}", client.bare()).into_bytes()),
        };
        (client, first)
    }

    /// What to answer to a challenge.
    pub fn input(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Fault> {
        match (std::mem::replace(&mut self.state, State::Done), self.mechanism) {
            // Whatever its two prompts say (`Username:`, `User Name`, …), they come in this order.
            (State::First, Mechanism::Login) => {
                self.state = State::Second;
                Ok(self.user.clone().into_bytes())
            }
            (State::Second, _) => Ok(self.password.clone().into_bytes()),
            (State::First, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus) => self.prove(challenge),
            (State::Signature(expected), _) => {
                let text = std::str::from_utf8(challenge).map_err(|_| Fault::Malformed)?;
                let said = text.split(',').next().and_then(|v| v.strip_prefix("v=")).ok_or(Fault::Malformed)?;
                let said = decode(said.as_bytes()).ok_or(Fault::Malformed)?;
                if bool::from(said.ct_eq(&expected)) { Ok(Vec::new()) } else { Err(Fault::Impostor) }
            }
            _ => Err(Fault::Malformed),
        }
    }

    /// Whether all was said that the mechanism has to say; success before that is none (RFC 5802 5).
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// RFC 5802 7: `client-first-message-bare`.
    fn bare(&self) -> String {
        let name = self.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={name},r={}", self.nonce)
    }

    /// RFC 5802 3.
    fn prove(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Fault> {
        let first = std::str::from_utf8(challenge).map_err(|_| Fault::Malformed)?;
        let mut attributes = first.split(',');
        let mut next = |name: &str| attributes.next().and_then(|a| a.strip_prefix(name)).ok_or(Fault::Malformed);
        let (nonce, salt, rounds) = (next("r=")?, next("s=")?, next("i=")?);
        let salt = decode(salt.as_bytes()).filter(|salt| !salt.is_empty()).ok_or(Fault::Malformed)?;
        let rounds: u32 = rounds.parse().map_err(|_| Fault::Malformed)?;
        let ours = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        let rounds = NonZeroU32::new(rounds).filter(|rounds| ours && ROUNDS.contains(&rounds.get()));
        let rounds = rounds.ok_or(Fault::Malformed)?;
        // RFC 5802 2.2: prepared, where it can be.
        let password = stringprep::saslprep(&self.password).unwrap_or_else(|_| self.password.as_str().into());
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        // `biws` is `n,,`.
        let without_proof = format!("c=biws,r={nonce}");
        let auth = [self.bare().as_str(), first, &without_proof].join(",");
        let signature = sign(stored_key.as_ref(), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        self.state = State::Signature(sign(&sign(&salted, b"Server Key"), auth.as_bytes()));
        Ok(format!("{without_proof},p={}", encode(&proof)).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

    #[test]
    fn the_example_of_rfc_7677_comes_out() {
        let (mut client, first) = Client::start(Mechanism::ScramSha256, "user", "pencil", NONCE);
        assert_eq!(first.unwrap(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let said = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(client.input(said).unwrap(), expected.as_bytes());
        assert!(!client.is_done(), "the server has proved nothing yet");
        assert_eq!(client.input(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap(), b"");
        assert!(client.is_done());
    }

    #[test]
    fn a_server_without_the_keys_or_with_another_nonce_is_found() {
        let said = format!("r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let start = || Client::start(Mechanism::ScramSha256, "user", "pencil", NONCE).0;
        let mut client = start();
        client.input(said.as_bytes()).unwrap();
        assert_eq!(client.input(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Err(Fault::Impostor));
        let wrong = ["", "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=x"];
        let few = [
            format!("r={NONCE},s=eA==,i=4096"),
            format!("r={NONCE}x,s=eA==,i=1"),
            format!("r={NONCE}x,s=eA==,i=999999999"),
        ];
        for said in wrong.iter().map(|text| (*text).to_owned()).chain(few) {
            assert_eq!(start().input(said.as_bytes()), Err(Fault::Malformed), "{said}");
        }
    }

    #[test]
    fn names_and_passwords_are_said_as_the_mechanism_has_them() {
        let (client, first) = Client::start(Mechanism::Plain, "anna", "s p", NONCE);
        assert_eq!((first.unwrap().as_slice(), client.is_done()), (&b"\0anna\0s p"[..], true));
        let (mut client, first) = Client::start(Mechanism::Login, "anna", "s p", NONCE);
        assert_eq!(first, None);
        assert_eq!(client.input(b"Username:").unwrap(), b"anna");
        assert_eq!(client.input(b"Password:").unwrap(), b"s p");
        assert_eq!(client.input(b"More?"), Err(Fault::Malformed));
        let (_, first) = Client::start(Mechanism::ScramSha256, "a=b,c", "x", NONCE);
        assert!(first.unwrap().starts_with(b"n,,n=a=3Db=2Cc,r="));
    }
}
