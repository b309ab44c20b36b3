use clap::{Subcommand, ValueEnum};

use super::super::verbs::{Request, Secret, SetupAnswer};
use super::password;

/// How far the set-up in the browser is, and its answers without a browser; the server has to run
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    answer: Option<Given>,
}

#[derive(Subcommand)]
enum Given {
    /// Take mail for this domain
    Domain {
        domain: String,
        /// What stands before the domain in the server's name
        #[arg(long, value_name = "NAME", default_value = "mail")]
        host: String,
        /// Also if the domain gets mail elsewhere today
        #[arg(long)]
        take_over: bool,
    },
    /// Accept the terms of the authority for certificates, and have them fetched
    Certificate {
        /// You have read its terms of service and accept them
        #[arg(long, required = true)]
        accept_terms: bool,
        /// A mail address that the authority may write to
        #[arg(long, value_name = "ADDRESS", default_value = "")]
        contact: String,
    },
    /// Send letters out through this server of a provider
    Relay {
        #[arg(required_unless_present = "none")]
        host: Option<String>,
        /// 465, or 587 with starttls, if nothing is said
        #[arg(long)]
        port: Option<std::num::NonZeroU16>,
        /// Encrypted from the first byte, or after STARTTLS
        #[arg(long, value_enum, default_value = "implicit")]
        tls: Tls,
        /// The user name there
        #[arg(long, value_name = "NAME", default_value = "")]
        user: String,
        /// Read the password there from standard input, one line; without it the one that is there stays
        #[arg(long, requires = "user")]
        password_stdin: bool,
        /// What stands for it in an SPF record, as include:_spf.provider.example
        #[arg(long, value_name = "MECHANISM", default_value = "")]
        spf: String,
        /// Through none any more
        #[arg(long, conflicts_with_all = ["host", "port", "user", "password_stdin", "spf"])]
        none: bool,
    },
    /// Stay within the house for now
    House,
    /// Measure the line, look at the records, or ask for the certificate, once more
    Again { step: Again },
    /// Close the set-up for good
    Finish,
}

#[derive(Clone, Copy, ValueEnum)]
enum Again {
    Line,
    Dns,
    Certificate,
}

#[derive(Clone, Copy, ValueEnum)]
enum Tls {
    Implicit,
    Starttls,
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        let Some(given) = self.answer else { return Ok(Request::Setup { answer: None }) };
        let answer = match given {
            Given::Domain { domain, host, take_over } => SetupAnswer::Domain { domain, host, take_over },
            Given::Certificate { contact, .. } => SetupAnswer::Certificate { contact },
            Given::Relay { host, port, tls, user, password_stdin, spf, .. } => {
                let (word, usual) = match tls {
                    Tls::Implicit => ("implicit", 465),
                    Tls::Starttls => ("starttls", 587),
                };
                let password = if password_stdin { password()? } else { Secret(String::new()) };
                let (host, port) = (host.unwrap_or_default(), port.map_or(usual, std::num::NonZeroU16::get));
                SetupAnswer::Relay { host, port, tls: word.to_owned(), user, spf, password }
            }
            Given::House => SetupAnswer::House,
            Given::Again { step } => {
                let step = match step {
                    Again::Line => "line",
                    Again::Dns => "dns",
                    Again::Certificate => "certificate",
                };
                SetupAnswer::Again { step: step.to_owned() }
            }
            Given::Finish => SetupAnswer::Finish,
        };
        Ok(Request::Setup { answer: Some(answer) })
    }
}
