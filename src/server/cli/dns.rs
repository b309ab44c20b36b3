use std::net::{IpAddr, SocketAddr};

use clap::{Subcommand, ValueEnum};

use crate::appliance::writing::Wish;

use super::super::dns::How;
use super::super::verbs::{DnsForm, Request};
use super::secret;

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
    /// Say how records are written: rfc2136, or the name of a DNS provider; without a method, show what is set. The pages can
    /// do it too: "Write the records" at the domain
    Use {
        /// none, rfc2136, cloudflare, desec, digitalocean, gandi, hetzner, ovh, porkbun, route53, …
        method: Option<String>,
        /// With rfc2136 the primary name server, with powerdns its interface
        #[arg(long, value_name = "IP[:PORT]|URL", requires = "method")]
        server: Option<String>,
        /// With rfc2136 the name of the TSIG key
        #[arg(long, value_name = "NAME", requires = "method")]
        key_name: Option<String>,
        /// With rfc2136 the algorithm of the TSIG key
        #[arg(long, value_name = "hmac-sha256", requires = "method")]
        algorithm: Option<String>,
        /// The zone that is written, if it is not found by itself
        #[arg(long, value_name = "DOMAIN", requires = "method")]
        zone: Option<String>,
        /// Ask these name servers whether records are there, with commas between, instead of the domain's own
        #[arg(long, value_name = "IP[:PORT]", requires = "method")]
        ask: Option<String>,
        /// Read the secret from standard input, one line; where there are several, with blanks between
        #[arg(long, requires = "method")]
        secret_stdin: bool,
    },
    /// Show what would be written into the DNS of a domain, and with --yes write it. Only what homepost has written itself
    /// is changed or removed. The pages can do it too
    Push {
        domain: String,
        /// As for records
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<IpAddr>,
        /// Put ours in the place of a record that is not homepost's, as example.org/MX; or all
        #[arg(long = "take-over", value_name = "NAME/TYPE")]
        take_over: Vec<String>,
        /// Put back what was there before the last push
        #[arg(long)]
        undo: bool,
        /// Write it
        #[arg(long, conflicts_with = "dry_run")]
        yes: bool,
        /// Only show it, which is what happens without --yes
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Whole,
    Records,
}

impl Args {
    pub fn request(self) -> Result<Request, String> {
        Ok(match self.what {
            What::Records { domain, addresses, zone, relative } => {
                let zone = zone.map(|form| match form {
                    Form::Whole => DnsForm::Whole,
                    Form::Records => DnsForm::Records,
                });
                Request::DnsRecords { domain, addresses, zone, relative }
            }
            What::Check { domain, addresses, servers } => Request::DnsCheck { domain, addresses, servers },
            What::Use { method: None, .. } => Request::DnsUse { how: None },
            What::Use { method: Some(method), server, key_name, algorithm, zone, ask, secret_stdin } => {
                let secret = secret_stdin.then(|| secret("secret")).transpose()?;
                Request::DnsUse { how: Some(How { method, server, key_name, algorithm, zone, ask, secret }) }
            }
            What::Push { domain, addresses, take_over, undo, yes, dry_run: _ } => {
                Request::DnsPush { domain, addresses, wish: Wish { write: yes, undo, take_over, seen: None } }
            }
        })
    }
}

/// An address, with port 53 if it says none.
fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).map_err(|_| "a server is an address, as in 192.0.2.53 or 192.0.2.53:5353".to_owned())
}
