//! What a session is made with: which port it serves, and how much a stranger may ask of it.

use std::sync::Arc;

use crate::base::Time;

/// How long a letter may be held before it leaves (RFC 4865), in seconds.
pub const HOLD_SECONDS: u32 = 366 * 24 * 60 * 60;

/// Which of the three doors. It decides who may come in and what is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// 25: mail from other servers to local recipients; no AUTH, no relaying.
    Smtp,
    /// 465: mail from our own people, TLS from the first byte (RFC 8314 3.3).
    Submissions,
    /// 587: mail from our own people, STARTTLS first (RFC 6409).
    Submission,
}

impl Port {
    /// RFC 6409: only who has logged in may send.
    pub fn is_submission(self) -> bool {
        self != Port::Smtp
    }
}

/// Sizes in bytes, times in milliseconds. The numbers are settings; these are their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A letter, undotted.
    pub message_bytes: u64,
    /// A command line with its CR LF. RFC 5321 4.5.3.1.4 asks for 512 and more with parameters.
    pub command_line_bytes: usize,
    /// A letter's header section.
    pub header_bytes: u64,
    /// A line of a letter, without its CR LF. RFC 5321 4.5.3.1.6 asks for 1000, and real mail has longer ones.
    pub body_line_bytes: u64,
    /// Accepted recipients of one letter (RFC 5321 4.5.3.1.8: at least 100).
    pub recipients: u64,
    /// Commands answered 5xx.
    pub errors: u64,
    /// Commands of one connection.
    pub commands: u64,
    /// Failed log-ins of one connection.
    pub auth_failures: u64,
    /// The first failed log-in is answered this late; each further one twice as late as the one before.
    pub auth_delay_ms: u64,
    /// RFC 5321 4.5.3.2.7: at least 5 minutes for the next command.
    pub command_ms: u64,
    /// RFC 5321 4.5.3.2.5: 3 minutes for the next piece of a letter.
    pub data_block_ms: u64,
    /// One letter, from its first byte to its last.
    pub message_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes: 50 << 20,
            command_line_bytes: 4096,
            header_bytes: 1 << 20,
            body_line_bytes: 64 << 10,
            recipients: 100,
            errors: 10,
            commands: 10_000,
            auth_failures: 3,
            auth_delay_ms: 1000,
            command_ms: 5 * 60_000,
            data_block_ms: 3 * 60_000,
            message_ms: 60 * 60_000,
        }
    }
}

/// Shared by all sessions of one listener.
#[derive(Clone, Debug)]
pub struct Config {
    pub port: Port,
    /// Our own name, as greeted with.
    pub hostname: Arc<str>,
    /// Whether STARTTLS can be offered (there is a certificate).
    pub starttls: bool,
    /// RFC 4865: until when letters may be held. `None`: not offered, since nobody here knows the date.
    pub hold_until: Option<Time>,
    pub limits: Limits,
}
