//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677): the client proves that it knows the password and never says it.
//!
//! Since neither SMTP nor IMAP can send data along with success, the server's signature goes out as a last challenge and
//! the client answers it with an empty message (RFC 4422 5, RFC 4954 4).

use aws_lc_rs::{digest, hmac};
use subtle::ConstantTimeEq;

use super::{Failure, Identity, Proof, SaslAnswer, SaslAsk, ScramKeys, Step, decode, encode};

/// Octets of the client's nonce; RFC 5802 5.1 sets no bound, real ones have 24.
const MAX_NONCE: usize = 256;

pub(super) struct Scram {
    plus: bool,
    exporter: Option<Vec<u8>>,
    state: State,
}

enum State {
    First,
    Keys { first: ClientFirst },
    Final { first: ClientFirst, keys: ScramKeys, nonce: String, server_first: String },
    Verdict { signature: Vec<u8>, proved: Option<Proof> },
    Signed { who: Identity },
    Over,
}

struct ClientFirst {
    /// As sent, up to and with its second comma.
    gs2_header: Vec<u8>,
    /// `p=tls-exporter`: the exporter's value belongs behind the header in `c=`.
    binds: bool,
    /// What follows the header.
    bare: String,
    user: String,
    nonce: String,
}

impl Scram {
    pub(super) fn start(plus: bool, exporter: Option<&[u8]>) -> Scram {
        Scram { plus, exporter: exporter.map(<[u8]>::to_vec), state: State::First }
    }

    pub(super) fn input(&mut self, message: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => match self.client_first(message) {
                Ok(first) => {
                    let user = first.user.clone();
                    self.state = State::Keys { first };
                    Step::Ask(SaslAsk::Keys { user })
                }
                Err(failure) => Step::Failed(failure),
            },
            State::Final { first, keys, nonce, server_first } => {
                let Some(last) = ClientFinal::read(message) else {
                    return Step::Failed(Failure::Malformed);
                };
                // RFC 5802 3: AuthMessage, and what is computed from it.
                let auth = [first.bare.as_str(), &server_first, last.without_proof].join(",");
                let knows = |stored_key: &[u8; 32]| {
                    let client_signature = sign(stored_key, auth.as_bytes());
                    let client_key: Vec<u8> = last.proof.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
                    digest::digest(&digest::SHA256, &client_key).as_ref().ct_eq(stored_key)
                };
                let own = std::iter::once((Proof::Account, &keys.stored_key, &keys.server_key));
                let devices = keys.devices.iter();
                let devices = devices.map(|one| (Proof::Device(one.device), &one.stored_key, &one.server_key));
                let mut found = None;
                for (proof, stored_key, server_key) in own.chain(devices) {
                    if bool::from(knows(stored_key)) {
                        found = Some((proof, server_key));
                    }
                }
                let binding = self.binding(&first).ct_eq(&last.binding);
                let holds = bool::from(binding) && last.nonce == nonce;
                let (proved, server_key) = match found {
                    Some((proof, server_key)) if holds => (Some(proof), server_key),
                    _ => (None, &keys.server_key),
                };
                let signature = sign(server_key, auth.as_bytes());
                self.state = State::Verdict { signature, proved };
                Step::Ask(SaslAsk::Verdict { user: first.user, proved })
            }
            // The client has seen our signature and agrees; RFC 5802 says it sends nothing more.
            State::Signed { who } if message.is_empty() => Step::Done(who),
            _ => Step::Failed(Failure::Malformed),
        }
    }

    pub(super) fn answer(&mut self, answer: SaslAnswer) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::Keys { first }, SaslAnswer::Keys(keys)) => {
                let nonce = format!("{}{}", first.nonce, keys.nonce);
                let server_first = format!("r={nonce},s={},i={}", encode(&keys.salt), keys.iterations);
                let challenge = server_first.clone().into_bytes();
                self.state = State::Final { first, keys, nonce, server_first };
                Step::Challenge(challenge)
            }
            // A1: even an Accepted does not help who has not proved it.
            (State::Verdict { signature, proved: Some(_) }, SaslAnswer::Accepted(who)) => {
                self.state = State::Signed { who };
                Step::Challenge(format!("v={}", encode(&signature)).into_bytes())
            }
            (State::Verdict { proved: None, .. }, SaslAnswer::Accepted(_)) => Step::Failed(Failure::Rejected),
            _ => Step::Failed(Failure::Unavailable),
        }
    }

    /// RFC 5802 7: `gs2-cbind-flag "," [authzid] "," [reserved-mext] username "," nonce ["," extensions]`.
    fn client_first(&self, message: &[u8]) -> Result<ClientFirst, Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Failure::Malformed);
        };
        let binds = match (flag, self.plus) {
            ("n", false) => false,
            // RFC 5802 6: the client could bind but believes that we cannot. If we offered it, somebody changed our offer.
            ("y", false) if self.exporter.is_none() => false,
            ("y", false) => return Err(Failure::Rejected),
            ("p=tls-exporter", true) if self.exporter.is_some() => true,
            (flag, true) if flag.starts_with("p=") => return Err(Failure::Rejected),
            _ => return Err(Failure::Malformed),
        };
        let mut attributes = bare.split(',');
        // RFC 5802 5.1: a mandatory extension (m=) is one that we do not know.
        let user = attributes.next().and_then(|a| a.strip_prefix("n=")).and_then(saslname).ok_or(Failure::Malformed)?;
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r=")).ok_or(Failure::Malformed)?;
        if nonce.is_empty() || nonce.len() > MAX_NONCE || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::Malformed);
        }
        if !authzid.is_empty() {
            let name = authzid.strip_prefix("a=").and_then(saslname).ok_or(Failure::Malformed)?;
            if name != user {
                return Err(Failure::Rejected);
            }
        }
        let gs2_header = message.get(..message.len() - bare.len()).unwrap_or_default().to_vec();
        Ok(ClientFirst { gs2_header, binds, bare: bare.to_owned(), nonce: nonce.to_owned(), user })
    }

    /// RFC 5802 5.1, `c=`: the header as it came and, if the client binds, the channel's own value.
    fn binding(&self, first: &ClientFirst) -> Vec<u8> {
        let mut binding = first.gs2_header.clone();
        if first.binds {
            binding.extend_from_slice(self.exporter.as_deref().unwrap_or_default());
        }
        binding
    }
}

/// RFC 5802 7: `channel-binding "," nonce ["," extensions] "," proof`.
struct ClientFinal<'a> {
    binding: Vec<u8>,
    nonce: &'a str,
    without_proof: &'a str,
    proof: [u8; 32],
}

impl<'a> ClientFinal<'a> {
    fn read(message: &'a [u8]) -> Option<ClientFinal<'a>> {
        let text = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = decode(attributes.next()?.strip_prefix("c=")?.as_bytes())?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let proof = decode(proof.as_bytes())?.try_into().ok()?;
        Some(ClientFinal { binding, nonce, without_proof, proof })
    }
}

/// RFC 5802 5.1: `=2C` is a comma, `=3D` an equals sign, and any other `=` is an error.
fn saslname(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (plain, rest) =
            if let Some(rest) = part.strip_prefix("2C") { (',', rest) } else { ('=', part.strip_prefix("3D")?) };
        name.push(plain);
        name.push_str(rest);
    }
    super::name(name.as_bytes())
}

pub(super) fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::{DeviceKeys, Mechanism, Sasl, tests::alice};
    use super::*;

    /// RFC 7677 3: user `user`, password `pencil`, 4096 iterations.
    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn keys(password: &str) -> ScramKeys {
        let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = [0u8; 32];
        let rounds = std::num::NonZeroU32::new(4096).unwrap();
        aws_lc_rs::pbkdf2::derive(
            aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        let client_key = sign(&salted, b"Client Key");
        ScramKeys {
            salt,
            iterations: 4096,
            stored_key: digest::digest(&digest::SHA256, &client_key).as_ref().try_into().unwrap(),
            server_key: sign(&salted, b"Server Key").try_into().unwrap(),
            devices: Vec::new(),
            nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
        }
    }

    /// With the keys of devices beside the account's own, each proves itself, and another password none of them.
    #[test]
    fn whose_password_it_was_is_known() {
        let mut known = keys("pencil");
        for (device, password) in [(7, "brush"), (9, "chalk")] {
            let ScramKeys { stored_key, server_key, .. } = keys(password);
            known.devices.push(DeviceKeys { device, stored_key, server_key });
        }
        for (password, proof) in [
            ("pencil", Some(Proof::Account)),
            ("brush", Some(Proof::Device(7))),
            ("chalk", Some(Proof::Device(9))),
            ("ink", None),
        ] {
            let (mut sasl, _) = Sasl::start(Mechanism::ScramSha256, Some(FIRST), None);
            assert_eq!(sasl.answer(SaslAnswer::Keys(known.clone())), Step::Challenge(SERVER_FIRST.into()));
            let last = client_final(b"n,,", "n=user,r=rOprNGfwEbeRWgbNEkqO", SERVER_FIRST, password);
            let asked = sasl.input(last.as_bytes());
            assert_eq!(asked, Step::Ask(SaslAsk::Verdict { user: "user".into(), proved: proof }), "{password}");
            let Step::Challenge(signature) = sasl.answer(SaslAnswer::Accepted(alice())) else {
                assert_eq!(proof, None);
                continue;
            };
            // What a client checks: that we know what only who keeps this password can know.
            let auth = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{SERVER_FIRST},{}", last.rsplit_once(",p=").unwrap().0);
            let expected = sign(&keys(password).server_key, auth.as_bytes());
            assert_eq!(signature, format!("v={}", encode(&expected)).into_bytes(), "{password}");
        }
    }

    /// What an honest client would send last.
    fn client_final(gs2: &[u8], bare: &str, server_first: &str, password: &str) -> String {
        let nonce = server_first.split(',').next().unwrap();
        let without = format!("c={},{nonce}", encode(gs2));
        let mut salted = [0u8; 32];
        let rounds = std::num::NonZeroU32::new(4096).unwrap();
        let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        aws_lc_rs::pbkdf2::derive(
            aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        let key = sign(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &key);
        let signature = sign(stored.as_ref(), format!("{bare},{server_first},{without}").as_bytes());
        let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        format!("{without},p={}", encode(&proof))
    }

    fn asked_keys() -> Step {
        Step::Ask(SaslAsk::Keys { user: "user".into() })
    }

    fn verdict(proved: bool) -> Step {
        Step::Ask(SaslAsk::Verdict { user: "user".into(), proved: proved.then_some(Proof::Account) })
    }

    #[test]
    fn rfc7677_3_example() {
        let (mut sasl, step) = Sasl::start(Mechanism::ScramSha256, Some(FIRST), None);
        assert_eq!(step, asked_keys());
        assert_eq!(sasl.answer(SaslAnswer::Keys(keys("pencil"))), Step::Challenge(SERVER_FIRST.into()));
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(sasl.input(last), verdict(true));
        assert_eq!(sasl.answer(SaslAnswer::Accepted(alice())), Step::Challenge(SERVER_FINAL.into()));
        assert_eq!(sasl.input(b""), Step::Done(alice()));
    }

    #[test]
    fn a_wrong_password_does_not_pass_even_when_the_host_says_so() {
        let (mut sasl, _) = Sasl::start(Mechanism::ScramSha256, Some(FIRST), None);
        sasl.answer(SaslAnswer::Keys(keys("pencil")));
        let last = client_final(b"n,,", "n=user,r=rOprNGfwEbeRWgbNEkqO", SERVER_FIRST, "pen");
        assert_eq!(sasl.input(last.as_bytes()), verdict(false));
        assert_eq!(sasl.answer(SaslAnswer::Accepted(alice())), Step::Failed(Failure::Rejected));
    }

    #[test]
    fn another_nonce_or_another_header_does_not_pass() {
        for (gs2, server_first) in
            [(&b"y,,"[..], SERVER_FIRST.to_owned()), (b"n,,", SERVER_FIRST.replace("hNlF", "hNlG"))]
        {
            let (mut sasl, _) = Sasl::start(Mechanism::ScramSha256, Some(FIRST), None);
            sasl.answer(SaslAnswer::Keys(keys("pencil")));
            let last = client_final(gs2, "n=user,r=rOprNGfwEbeRWgbNEkqO", &server_first, "pencil");
            assert_eq!(sasl.input(last.as_bytes()), verdict(false));
        }
    }

    #[test]
    fn plus_binds_the_channel_rfc9266() {
        for (exporter, proved) in [(&b"this channel"[..], true), (b"another one", false)] {
            let first = b"p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO";
            let (mut sasl, step) = Sasl::start(Mechanism::ScramSha256Plus, Some(first), Some(exporter));
            assert_eq!(step, asked_keys());
            sasl.answer(SaslAnswer::Keys(keys("pencil")));
            let gs2 = b"p=tls-exporter,,this channel";
            let last = client_final(gs2, "n=user,r=rOprNGfwEbeRWgbNEkqO", SERVER_FIRST, "pencil");
            assert_eq!(sasl.input(last.as_bytes()), verdict(proved));
        }
    }

    #[test]
    fn flags_that_do_not_fit_are_refused_rfc5802_6() {
        let start = |mechanism, flag: &str, exporter: Option<&[u8]>| {
            Sasl::start(mechanism, Some(format!("{flag},,n=user,r=abc").as_bytes()), exporter).1
        };
        let (plain, plus) = (Mechanism::ScramSha256, Mechanism::ScramSha256Plus);
        assert_eq!(start(plain, "y", None), asked_keys());
        assert_eq!(start(plain, "y", Some(b"x")), Step::Failed(Failure::Rejected));
        assert_eq!(start(plain, "n", Some(b"x")), asked_keys());
        assert_eq!(start(plus, "n", Some(b"x")), Step::Failed(Failure::Malformed));
        assert_eq!(start(plus, "p=tls-unique", Some(b"x")), Step::Failed(Failure::Rejected));
        assert_eq!(start(plus, "p=tls-exporter", None), Step::Failed(Failure::Rejected));
        assert_eq!(start(plain, "p=tls-exporter", Some(b"x")), Step::Failed(Failure::Malformed));
    }

    #[test]
    fn names_are_decoded_rfc5802_5_1() {
        assert_eq!(saslname("a=2Cb=3Dc").as_deref(), Some("a,b=c"));
        assert_eq!(saslname("a=2cb"), None);
        assert_eq!(saslname("a="), None);
        assert_eq!(saslname(""), None);
        for broken in
            [&b"n,"[..], b"n,,", b"n,,n=,r=x", b"n,,m=x,n=user,r=x", b"n,,n=user", b"n,,n=user,r=", b"n,,n=us\0er,r=x"]
        {
            let step = Sasl::start(Mechanism::ScramSha256, Some(broken), None).1;
            assert_eq!(step, Step::Failed(Failure::Malformed), "{broken:?}");
        }
        let other = Sasl::start(Mechanism::ScramSha256, Some(b"n,a=root,n=user,r=x"), None).1;
        assert_eq!(other, Step::Failed(Failure::Rejected));
    }
}
