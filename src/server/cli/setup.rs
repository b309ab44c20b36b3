use clap::{Subcommand, ValueEnum};

use super::super::verbs::{Request, SetupAnswer};

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

impl Args {
    pub fn request(self) -> Request {
        let answer = self.answer.map(|given| match given {
            Given::Domain { domain, host, take_over } => SetupAnswer::Domain { domain, host, take_over },
            Given::Certificate { contact, .. } => SetupAnswer::Certificate { contact },
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
        });
        Request::Setup { answer }
    }
}
