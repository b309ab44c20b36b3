//! SASL (RFC 4422): PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677), as machines: [`Sasl`] on the server's side, [`Client`]
//! on the other.
//!
//! Does not know: users, where passwords are kept, which protocol carries the exchange. Messages go in and out as raw
//! octets; the line that carries them is the protocol's, [`encode`] and [`decode`] are the one base64 for all of them,
//! and cancelling (`*`) is dropping the machine. Names and passwords are handed on as the client sent them (UTF-8);
//! preparing them (RFC 4013) is the directory's, which also made the keys.
//!
//! Invariants, cited by tests:
//! - A1: nobody is [`Step::Done`] without an answer [`SaslAnswer::Accepted`] to a question of this machine.
//! - A2: what the client sends is refused above [`MAX_MESSAGE`] octets, and nothing it sends panics (P7).

mod base64;
mod client;
mod login;
mod plain;
mod scram;

pub use base64::{decode, encode};
pub use client::{Client, Fault};

/// Octets of one message of the client, before base64. RFC 4954 4 asks for lines of 12,288, and no mechanism here needs
/// them.
pub const MAX_MESSAGE: usize = 4096;

/// Octets of a user name, and of a password. RFC 4616 2 lets each have 255 characters.
const MAX_FIELD: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    ScramSha256,
    /// With channel binding `tls-exporter` (RFC 9266); to be offered only when the connection has an exporter.
    ScramSha256Plus,
}

impl Mechanism {
    /// By its name in any case (protocols compare case-insensitively).
    pub fn from_name(name: &[u8]) -> Option<Mechanism> {
        [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus]
            .into_iter()
            .find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }
}

/// What comes next in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the client, base64 in its line (an empty challenge too); its reply goes to [`Sasl::input`].
    Challenge(Vec<u8>),
    /// To the host; its answer goes to [`Sasl::answer`].
    Ask(SaslAsk),
    /// It is over, and this is who it is.
    Done(Identity),
    /// It is over.
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not what the mechanism's grammar allows: SMTP 501 5.5.2, IMAP BAD.
    Malformed,
    /// Wrong user, password, proof, channel binding: SMTP 535 5.7.8, IMAP NO [AUTHENTICATIONFAILED].
    Rejected,
    /// Cannot be told now: SMTP 454 4.7.0, IMAP NO [UNAVAILABLE].
    Unavailable,
}

/// One exchange. After [`Step::Done`] or [`Step::Failed`] it is used up, and answers `Failed(Malformed)`.
pub struct Sasl(State);

enum State {
    Plain(plain::Plain),
    Login(login::Login),
    Scram(Box<scram::Scram>),
    Over,
}

impl Sasl {
    /// Begins an exchange. `initial` is the initial response if one came with the command (an empty one, `=`, is
    /// `Some(b"")`). `exporter` is the TLS exporter value if SCRAM-SHA-256-PLUS was offered on this connection, and only
    /// then: RFC 5802 6 has a client that was not offered it refused if we say that we did.
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, exporter: Option<&[u8]>) -> (Sasl, Step) {
        let (state, first) = match mechanism {
            Mechanism::Plain => (State::Plain(plain::Plain::default()), Vec::new()),
            Mechanism::Login => {
                let (login, challenge) = login::Login::start();
                (State::Login(login), challenge)
            }
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                let plus = mechanism == Mechanism::ScramSha256Plus;
                (State::Scram(Box::new(scram::Scram::start(plus, exporter))), Vec::new())
            }
        };
        let mut sasl = Sasl(state);
        let step = match initial {
            Some(message) => sasl.input(message),
            None => Step::Challenge(first),
        };
        (sasl, step)
    }

    /// The client's reply to the last challenge, decoded.
    pub fn input(&mut self, message: &[u8]) -> Step {
        let step = if message.len() > MAX_MESSAGE {
            Step::Failed(Failure::Malformed)
        } else {
            match &mut self.0 {
                State::Plain(plain) => plain.input(message),
                State::Login(login) => login.input(message),
                State::Scram(scram) => scram.input(message),
                State::Over => Step::Failed(Failure::Malformed),
            }
        };
        self.settle(step)
    }

    /// The host's answer to the last question.
    pub fn answer(&mut self, answer: SaslAnswer) -> Step {
        let step = match (&mut self.0, answer) {
            (_, SaslAnswer::Unavailable) => Step::Failed(Failure::Unavailable),
            (_, SaslAnswer::Rejected) => Step::Failed(Failure::Rejected),
            (State::Scram(scram), answer) => scram.answer(answer),
            (State::Plain(plain::Plain { asked: true }), SaslAnswer::Accepted(who)) => Step::Done(who),
            (State::Login(login::Login::Asked), SaslAnswer::Accepted(who)) => Step::Done(who),
            // An answer to something that was not asked.
            _ => Step::Failed(Failure::Unavailable),
        };
        self.settle(step)
    }

    fn settle(&mut self, step: Step) -> Step {
        if matches!(step, Step::Done(_) | Step::Failed(_)) {
            self.0 = State::Over;
        }
        step
    }
}

/// A user name: as [`field`], and without control characters, which RFC 8265 3.3 has in no name. They would end up wherever a name
/// is written down.
fn name(bytes: &[u8]) -> Option<String> {
    field(bytes).filter(|name| !name.contains(char::is_control))
}

/// A user name or password: UTF-8, not empty, without NUL, and short enough.
fn field(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.len() <= MAX_FIELD && !text.contains('\0')).then(|| text.to_owned())
}

/// What a mechanism needs to know.
#[derive(Clone, PartialEq, Eq)]
pub enum SaslAsk {
    /// Is this the password? `authzid` is empty or equal to `user`.
    Password { user: String, password: String },
    /// The keys of SCRAM-SHA-256; unknown users get a stable fake.
    Keys { user: String },
    /// The exchange has ended: `proved` says whose keys the client knows, if any. Answered with Accepted or Rejected.
    Verdict { user: String, proved: Option<Proof> },
}

/// With which keys somebody proved who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Account,
    Device(u32),
}

impl std::fmt::Debug for SaslAsk {
    // Secrets never appear in output (DESIGN section 6).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaslAsk::Password { user, .. } => write!(f, "Password {{ user: {user:?} }}"),
            SaslAsk::Keys { user } => write!(f, "Keys {{ user: {user:?} }}"),
            SaslAsk::Verdict { user, proved } => write!(f, "Verdict {{ user: {user:?}, proved: {proved:?} }}"),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum SaslAnswer {
    Accepted(Identity),
    Rejected,
    /// Cannot be told now (the world failed).
    Unavailable,
    Keys(ScramKeys),
}

impl std::fmt::Debug for SaslAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaslAnswer::Accepted(who) => write!(f, "Accepted({who:?})"),
            SaslAnswer::Rejected => write!(f, "Rejected"),
            SaslAnswer::Unavailable => write!(f, "Unavailable"),
            SaslAnswer::Keys(_) => write!(f, "Keys"),
        }
    }
}

/// Who has logged in. The machine carries it as it was given; only the host gives it meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub account: u32,
    /// The account's own address.
    pub address: String,
}

/// RFC 5802 3, with SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
    /// Others of the same account, made with the same salt: who knows one of them proves it too.
    pub devices: Vec<DeviceKeys>,
    /// Fresh for this exchange: printable ASCII without comma.
    pub nonce: String,
}

#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    pub device: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn alice() -> Identity {
        Identity { account: 7, address: "alice@example.test".into() }
    }

    const MALFORMED: Step = Step::Failed(Failure::Malformed);

    fn password(user: &str, password: &str) -> Step {
        Step::Ask(SaslAsk::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Mechanism::from_name(b"scram-sha-256"), Some(Mechanism::ScramSha256));
        assert_eq!(Mechanism::from_name(b"SCRAM-SHA-256-PLUS"), Some(Mechanism::ScramSha256Plus));
        assert_eq!(Mechanism::from_name(b"PLAINER"), None);
        assert_eq!(Mechanism::from_name(b""), None);
    }

    #[test]
    fn plain_rfc4616_4_with_and_without_initial_response() {
        let (mut sasl, step) = Sasl::start(Mechanism::Plain, Some(b"\0tim\0tanstaaftanstaaf"), None);
        assert_eq!(step, password("tim", "tanstaaftanstaaf"));
        assert_eq!(sasl.answer(SaslAnswer::Accepted(alice())), Step::Done(alice()));
        // A1: it is used up.
        assert_eq!(sasl.answer(SaslAnswer::Accepted(alice())), Step::Failed(Failure::Unavailable));

        let (mut sasl, step) = Sasl::start(Mechanism::Plain, None, None);
        assert_eq!(step, Step::Challenge(Vec::new()));
        assert_eq!(sasl.input(b"tim\0tim\0pass word"), password("tim", "pass word"));
        assert_eq!(sasl.answer(SaslAnswer::Rejected), Step::Failed(Failure::Rejected));
    }

    #[test]
    fn plain_refuses_other_identities_and_broken_messages() {
        let other = Sasl::start(Mechanism::Plain, Some(b"Ursel\0Kurt\0xipj3plmq"), None).1;
        assert_eq!(other, Step::Failed(Failure::Rejected));
        for broken in
            [&b""[..], b"\0", b"\0tim", b"\0tim\0", b"\0\0pass", b"tim\0pass", b"\0tim\0pa\0ss", b"\0t\xffm\0x"]
        {
            let step = Sasl::start(Mechanism::Plain, Some(broken), None).1;
            assert_eq!(step, Step::Failed(Failure::Malformed), "{broken:?}");
        }
        let long = [b"\0tim\0".as_slice(), &vec![b'x'; MAX_MESSAGE]].concat();
        assert_eq!(Sasl::start(Mechanism::Plain, Some(&long), None).1, Step::Failed(Failure::Malformed));
    }

    /// RFC 8265 3.3: no name has a control character; of passwords nothing but NUL is refused (RFC 4616 2).
    #[test]
    fn a_name_with_control_characters_is_none_in_any_mechanism() {
        for name in ["ti\rm", "ti\nm", "tim\r\nRCPT TO:<x@y>", "\ttim", "tim\x7f", "tim\u{85}"] {
            let plain = Sasl::start(Mechanism::Plain, Some(format!("\0{name}\0pass").as_bytes()), None).1;
            let login = Sasl::start(Mechanism::Login, Some(name.as_bytes()), None).1;
            let scram = Sasl::start(Mechanism::ScramSha256, Some(format!("n,,n={name},r=x").as_bytes()), None).1;
            assert_eq!((plain, login, scram), (MALFORMED, MALFORMED, MALFORMED), "{name:?}");
        }
        let login = Sasl::start(Mechanism::Login, Some(b"ti\0m"), None).1;
        assert_eq!(login, MALFORMED);
        let (_, step) = Sasl::start(Mechanism::Plain, Some(b"\0tim\0pass\tword"), None);
        assert_eq!(step, password("tim", "pass\tword"));
    }

    #[test]
    fn login_asks_for_two_lines() {
        let (mut sasl, step) = Sasl::start(Mechanism::Login, None, None);
        assert_eq!(step, Step::Challenge(b"Username:".to_vec()));
        assert_eq!(sasl.input(b"alice"), Step::Challenge(b"Password:".to_vec()));
        assert_eq!(sasl.input(b"secret"), password("alice", "secret"));
        assert_eq!(sasl.answer(SaslAnswer::Accepted(alice())), Step::Done(alice()));

        // Some clients send the name as initial response.
        let (mut sasl, step) = Sasl::start(Mechanism::Login, Some(b"alice"), None);
        assert_eq!(step, Step::Challenge(b"Password:".to_vec()));
        // A1: an answer before the question does not let anybody in.
        assert_eq!(sasl.answer(SaslAnswer::Accepted(alice())), Step::Failed(Failure::Unavailable));
    }

    proptest! {
        #[test]
        fn nothing_a_client_sends_panics(
            mechanism in 0usize..4,
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5),
        ) {
            let mechanism = [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus][mechanism];
            let (mut sasl, mut step) = Sasl::start(mechanism, None, Some(b"exporter"));
            for message in messages {
                step = match step {
                    Step::Challenge(_) => sasl.input(&message),
                    Step::Ask(_) => sasl.answer(SaslAnswer::Rejected),
                    Step::Done(_) => return Err(TestCaseError::fail("A1")),
                    Step::Failed(_) => break,
                };
            }
        }
    }
}
