//! SASL on the server's side (RFC 4422): PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677), as machines.
//!
//! Does not know: users, where passwords are kept, which protocol carries the exchange, base64 framing of it.

/// What a mechanism needs to know.
#[derive(Clone, PartialEq, Eq)]
pub enum SaslAsk {
    /// Is this the password? `authzid` is empty or equal to `user`.
    Password { user: String, password: String },
    /// The keys of SCRAM-SHA-256; unknown users get a stable fake.
    Keys { user: String },
    /// The exchange has ended: `proved` says whether the client knows the keys. Answered with Accepted or Rejected.
    Verdict { user: String, proved: bool },
}

impl std::fmt::Debug for SaslAsk {
    // Secrets never appear in output (DESIGN section 6).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaslAsk::Password { user, .. } => write!(f, "Password {{ user: {user:?} }}"),
            SaslAsk::Keys { user } => write!(f, "Keys {{ user: {user:?} }}"),
            SaslAsk::Verdict { user, proved } => write!(f, "Verdict {{ user: {user:?}, proved: {proved} }}"),
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
    /// Fresh for this exchange: printable ASCII without comma.
    pub nonce: String,
}
