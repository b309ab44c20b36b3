//! What a connection is told when it begins.

/// How TLS comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Port 993: before the greeting.
    Implicit,
    /// Port 143: by STARTTLS; before it nobody can log in.
    StartTls,
}

/// RFC 7888: literals that the client sends without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literals {
    /// LITERAL+: of any size.
    Plus,
    /// LITERAL-: up to 4,096 bytes.
    Minus,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub tls: Tls,
    pub literals: Literals,
    pub limits: Limits,
}

impl Config {
    pub fn new(tls: Tls) -> Config {
        Config { tls, literals: Literals::Plus, limits: Limits::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one command with its literals, the message of APPEND left out.
    pub command: usize,
    /// Bytes of one line of it, without its line end.
    pub line: usize,
    /// Bytes of one literal in it.
    pub literal: u64,
    /// The most that any of these may be while nobody is logged in.
    pub command_before_login: usize,
    /// Bytes of a message in APPEND.
    pub message: u64,
    /// Log-ins that may fail on one connection.
    pub login_failures: u32,
    /// Commands in a row that cannot be read.
    pub bad_commands: u32,
    /// Silence before log-in, and all the time it may take.
    pub login_idle_ms: u64,
    pub login_ms: u64,
    /// Silence after log-in, also in IDLE (RFC 9051 5.4: at least 30 minutes).
    pub idle_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            command: 64 * 1024,
            line: 64 * 1024,
            literal: 64 * 1024,
            command_before_login: 8 * 1024,
            message: 50 * 1024 * 1024,
            login_failures: 3,
            bad_commands: 20,
            login_idle_ms: 60_000,
            login_ms: 180_000,
            idle_ms: 30 * 60_000,
        }
    }
}
