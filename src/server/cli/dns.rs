use std::net::{IpAddr, SocketAddr};

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
    /// Ask the domain's own name servers, and say what is right, what is missing and what is wrong
    Check {
        domain: String,
        /// As for records
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<IpAddr>,
        /// Ask these servers instead of looking for the domain's own
        #[arg(long = "server", value_name = "IP[:PORT]", value_parser = server)]
        servers: Vec<SocketAddr>,
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
            What::Check { domain, addresses, servers } => Request::DnsCheck { domain, addresses, servers },
        }
    }
}

/// An address, with port 53 if it says none.
fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).map_err(|_| "a server is an address, as in 192.0.2.53 or 192.0.2.53:5353".to_owned())
}
