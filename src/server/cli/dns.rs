use std::net::IpAddr;

use clap::{Subcommand, ValueEnum};

use super::super::verbs::{DnsForm, Request};

/// The records that a domain needs in the DNS
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the records of a domain, with what each one is for
    Records {
        domain: String,
        /// An address under which the world reaches this server; may be given for IPv4 and for IPv6
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<IpAddr>,
        /// Write a zone file instead: whole, for a name server of your own, or the records alone, for a provider's importer
        #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "whole")]
        zone: Option<Form>,
        /// In the zone file, write names without the domain
        #[arg(long, requires = "zone")]
        relative: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Whole,
    Records,
}

impl Args {
    pub fn request(self) -> Request {
        match self.what {
            What::Records { domain, addresses, zone, relative } => {
                let zone = zone.map(|form| match form {
                    Form::Whole => DnsForm::Whole,
                    Form::Records => DnsForm::Records,
                });
                Request::DnsRecords { domain, addresses, zone, relative }
            }
        }
    }
}
