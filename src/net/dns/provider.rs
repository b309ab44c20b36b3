//! The interfaces of DNS providers, through the crate dns-update.
//!
//! It makes its HTTP client itself, which trusts the list of authorities that the machine has (the images bring one) and
//! takes no other; without one it panics. So that is looked for first, and said.

use std::time::Duration;

use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::{
    CAARecord, DnsRecord, DnsRecordType, DnsUpdater, Error, KeyValue, MXRecord, SRVRecord, TLSARecord, TlsaCertUsage,
    TlsaMatching, TlsaSelector,
};

use super::write::{Change, Fault};
use super::{Data, Kind};

/// For one request.
const REQUEST: Duration = Duration::from_secs(20);
/// For one change: several requests, and the pauses that a provider asks for.
const CHANGE: Duration = Duration::from_secs(240);
/// The longest words of a provider that are shown.
const WORDS: usize = 200;

const TOKEN: &[&str] = &["the API token"];

/// It has no `Debug`.
pub(super) struct Provider {
    name: String,
    updater: DnsUpdater,
    secrets: Vec<String>,
}

impl Provider {
    /// Each with what it needs.
    pub const ALL: &[(&str, &[&str])] = &[
        ("bunny", TOKEN),
        ("cloudflare", TOKEN),
        ("desec", TOKEN),
        ("digitalocean", TOKEN),
        ("domeneshop", &["the token", "the secret"]),
        ("gandi", &["the personal access token"]),
        ("hetzner", TOKEN),
        ("infomaniak", TOKEN),
        ("ionos", &["the API key (prefix.secret)"]),
        ("linode", TOKEN),
        ("ovh", &["the application key", "the application secret", "the consumer key"]),
        ("porkbun", &["the API key", "the secret API key"]),
        ("powerdns", &["the API key"]),
        ("route53", &["the access key id", "the secret access key"]),
        ("scaleway", &["the secret key"]),
        ("vultr", TOKEN),
    ];

    /// Errors: a sentence.
    pub fn new(name: &str, server: &str, secrets: &[String]) -> Result<Provider, String> {
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            return Err(format!(
                "{name} cannot be asked: this machine has no list of certificate authorities, so nobody could tell whether it \
                 is {name} that answers. Install the package ca-certificates"
            ));
        }
        let made = updater(name, server, secrets).ok_or_else(|| format!("{name} is no provider that is known here"))?;
        let updater = made.map_err(|error| format!("{name} cannot be used: {}", plain(&error)))?;
        Ok(Provider { name: name.to_owned(), updater, secrets: secrets.to_vec() })
    }

    /// One after the other. What the provider refuses keeps nothing else from being done; what keeps us from the provider
    /// does, and so is not tried again and again.
    pub async fn write(&self, zone: &str, changes: &[Change]) -> Vec<Result<(), Fault>> {
        let mut out = Vec::new();
        let mut barred: Option<String> = None;
        for change in changes {
            if let Some(words) = &barred {
                out.push(Err(Fault::sure(words.clone())));
                continue;
            }
            let done = match tokio::time::timeout(CHANGE, self.change(zone, change)).await {
                Ok(done) => done.map_err(|(error, begun)| (explain(&self.name, &error), begun)),
                Err(_) => Err((slow(&self.name), true)),
            };
            out.push(done.map_err(|(why, begun)| {
                let words = self.without_secrets(&why.words);
                if why.bars {
                    barred = Some(words.clone());
                }
                Fault { words, certain: !begun }
            }));
        }
        out
    }

    /// Errors: with whether something may have been done.
    async fn change(&self, zone: &str, change: &Change) -> Result<(), (Error, bool)> {
        let kind = kind_of(change.kind).ok_or((Error::BadRequest, false))?;
        let records = |all: &[Data]| all.iter().map(record_of).collect::<Option<Vec<_>>>();
        let (gone, come) = (records(&change.remove), records(&change.add));
        let (Some(gone), Some(come)) = (gone, come) else { return Err((Error::BadRequest, false)) };
        let name = change.name.as_str();
        let begun = !gone.is_empty();
        if begun {
            let done = self.updater.remove_from_rrset(name, kind, gone, zone).await;
            done.map_err(|error| {
                let unsure = maybe_done(&error);
                (error, unsure)
            })?;
        }
        if !come.is_empty() {
            let done = self.updater.add_to_rrset(name, kind, change.ttl, come, zone).await;
            done.map_err(|error| {
                let unsure = maybe_done(&error) || begun;
                (error, unsure)
            })?;
        }
        Ok(())
    }

    /// Whatever a library or a provider puts into its words.
    fn without_secrets(&self, words: &str) -> String {
        self.secrets
            .iter()
            .filter(|secret| secret.len() > 3)
            .fold(words.to_owned(), |all, secret| all.replace(secret, "…"))
    }
}

/// A provider that said no did nothing; also a request that was not answered may have been done.
fn maybe_done(error: &Error) -> bool {
    match error {
        Error::Unauthorized | Error::NotFound | Error::BadRequest | Error::Unsupported(_) | Error::Parse(_) => false,
        Error::Api(words) => !(words.starts_with("BadRequest") || words.starts_with("HTTP 4")),
        _ => true,
    }
}

fn updater(name: &str, server: &str, secrets: &[String]) -> Option<Result<DnsUpdater, Error>> {
    let (one, two) = (secrets.first()?, secrets.get(1).map_or("", String::as_str));
    let wait = Some(REQUEST);
    Some(match name {
        "bunny" => DnsUpdater::new_bunny(one, wait),
        "cloudflare" => DnsUpdater::new_cloudflare(one, wait),
        "desec" => DnsUpdater::new_desec(one, wait),
        "digitalocean" => DnsUpdater::new_digitalocean(one, wait),
        "domeneshop" => DnsUpdater::new_domeneshop(one, two, wait),
        "gandi" => DnsUpdater::new_gandiv5(one, wait),
        "hetzner" => DnsUpdater::new_hetzner(one, wait),
        "infomaniak" => DnsUpdater::new_infomaniak(one, wait),
        "ionos" => DnsUpdater::new_ionos(one, wait),
        "linode" => DnsUpdater::new_linode(one, wait),
        "ovh" => {
            let endpoint = if server.is_empty() { "ovh-eu" } else { server };
            match endpoint.parse::<OvhEndpoint>() {
                Ok(endpoint) => DnsUpdater::new_ovh(one, two, secrets.get(2)?, endpoint, wait),
                Err(error) => Err(error),
            }
        }
        "porkbun" => DnsUpdater::new_porkbun(one, two, wait),
        "powerdns" => {
            let endpoint = (!server.is_empty()).then_some(server);
            DnsUpdater::new_pdns(one, endpoint, None::<&str>, wait)
        }
        "route53" => DnsUpdater::new_route53(Route53Config {
            access_key_id: one.clone(),
            secret_access_key: two.to_owned(),
            session_token: None,
            region: None,
            hosted_zone_id: None,
            private_zone_only: None,
            endpoint: (!server.is_empty()).then(|| server.to_owned()),
        }),
        "scaleway" => DnsUpdater::new_scaleway(one, wait),
        "vultr" => DnsUpdater::new_vultr(one, wait),
        _ => return None,
    })
}

fn kind_of(kind: Kind) -> Option<DnsRecordType> {
    Some(match kind {
        Kind::A => DnsRecordType::A,
        Kind::Aaaa => DnsRecordType::AAAA,
        Kind::Cname => DnsRecordType::CNAME,
        Kind::Ns => DnsRecordType::NS,
        Kind::Mx => DnsRecordType::MX,
        Kind::Txt => DnsRecordType::TXT,
        Kind::Srv => DnsRecordType::SRV,
        Kind::Tlsa => DnsRecordType::TLSA,
        Kind::Caa => DnsRecordType::CAA,
        Kind::Ptr => return None,
    })
}

/// `None`: of a form that it does not know.
fn record_of(data: &Data) -> Option<DnsRecord> {
    let root = |name: &str| if name.is_empty() { ".".to_owned() } else { name.to_owned() };
    Some(match data {
        Data::A(address) => DnsRecord::A(*address),
        Data::Aaaa(address) => DnsRecord::AAAA(*address),
        Data::Cname(name) => DnsRecord::CNAME(name.clone()),
        Data::Ns(name) => DnsRecord::NS(name.clone()),
        Data::Mx { priority, host } => DnsRecord::MX(MXRecord { exchange: root(host), priority: *priority }),
        Data::Txt(text) => DnsRecord::TXT(text.clone()),
        Data::Srv { priority, weight, port, target } => {
            DnsRecord::SRV(SRVRecord { target: root(target), priority: *priority, weight: *weight, port: *port })
        }
        Data::Tlsa { usage, selector, matching, data } => DnsRecord::TLSA(TLSARecord {
            cert_usage: match usage {
                0 => TlsaCertUsage::PkixTa,
                1 => TlsaCertUsage::PkixEe,
                2 => TlsaCertUsage::DaneTa,
                3 => TlsaCertUsage::DaneEe,
                _ => return None,
            },
            selector: match selector {
                0 => TlsaSelector::Full,
                1 => TlsaSelector::Spki,
                _ => return None,
            },
            matching: match matching {
                0 => TlsaMatching::Raw,
                1 => TlsaMatching::Sha256,
                2 => TlsaMatching::Sha512,
                _ => return None,
            },
            cert_data: data.clone(),
        }),
        Data::Caa { flags, tag, value } => {
            let issuer_critical = flags & 0x80 != 0;
            let mut parts = value.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
            let options = parts.filter(|part| !part.is_empty()).map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                KeyValue { key: key.trim().to_owned(), value: value.trim().to_owned() }
            });
            DnsRecord::CAA(match tag.as_str() {
                "issue" => CAARecord::Issue { issuer_critical, name, options: options.collect() },
                "issuewild" => CAARecord::IssueWild { issuer_critical, name, options: options.collect() },
                "iodef" => CAARecord::Iodef { issuer_critical, url: value.clone() },
                _ => return None,
            })
        }
        Data::Ptr(_) => return None,
    })
}

/// A fault in words, and whether there is no use in asking the provider for anything else now.
#[derive(Debug, PartialEq, Eq)]
struct Why {
    words: String,
    bars: bool,
}

fn slow(name: &str) -> Why {
    Why { words: format!("{name} did not answer in time. Try again later"), bars: true }
}

/// What dns-update says when no request got through.
fn is_away(words: &str) -> bool {
    words.starts_with("Failed to send request")
}

fn explain(name: &str, error: &Error) -> Why {
    let token = || Why {
        words: format!(
            "{name} does not accept the token, or it may not change this domain: it is mistyped, revoked or for something \
             else. Make one that may edit the domain's DNS, and give that in its place"
        ),
        bars: true,
    };
    match error {
        Error::Unauthorized => token(),
        Error::Api(words) if is_away(words) => Why {
            words: format!(
                "{name} cannot be reached. Is the internet reached, and does {name} say on its pages that something is wrong? \
                 Then try again"
            ),
            bars: true,
        },
        // Some say 400 or 403 to a token that they do not know, each in its own words.
        Error::Api(words) if words.starts_with("HTTP 403") || speaks_of_token(words) => token(),
        Error::Api(words) if words.starts_with("HTTP 429") => {
            Why { words: format!("{name} wants fewer requests for a while. Try again in an hour"), bars: true }
        }
        Error::Api(words) if words.starts_with("HTTP 5") => {
            Why { words: format!("{name} has a fault of its own ({}). Try again later", short(words)), bars: true }
        }
        Error::NotFound => Why {
            words: format!("{name} does not know this domain: is it the right provider, and the right account there?"),
            bars: true,
        },
        Error::Api(words) if words.contains("zone found for") || words.contains("zone not found") => Why {
            words: format!("{name} does not know this domain ({}): is the token for the right account?", short(words)),
            bars: true,
        },
        Error::Unsupported(_) | Error::BadRequest => {
            Why { words: format!("{name} does not take records of this kind. Enter it on its pages"), bars: false }
        }
        other => Why { words: format!("{name} does not take it: {}", short(&plain(other))), bars: false },
    }
}

fn speaks_of_token(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let refused = words.starts_with("badrequest") || words.starts_with("http 4");
    refused
        && ["authenticat", "invalid request headers", "invalid api key", "invalid token", "access token", "api token"]
            .iter()
            .any(|part| words.contains(part))
}

fn plain(error: &Error) -> String {
    match error {
        Error::Protocol(words)
        | Error::Parse(words)
        | Error::Client(words)
        | Error::Response(words)
        | Error::Api(words)
        | Error::Serialize(words)
        | Error::Unsupported(words) => words.clone(),
        other => format!("{other:?}"),
    }
}

/// From outside: on one line, and not without end.
fn short(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_made_from_what_it_says_it_needs() {
        for (name, secrets) in Provider::ALL {
            let secrets: Vec<String> = secrets.iter().map(|_| "prefix.secret".to_owned()).collect();
            assert!(Provider::new(name, "", &secrets).is_ok(), "{name}");
        }
        assert!(Provider::new("nobody", "", &["x".into()]).is_err());
    }

    #[test]
    fn each_failure_has_its_words_and_only_a_refused_record_lets_the_others_go_on() {
        let api = |words: &str| Error::Api(words.into());
        for (error, part, bars) in [
            (Error::Unauthorized, "does not accept the token", true),
            (api("HTTP 403: forbidden"), "does not accept the token", true),
            (api("BadRequest {\"errors\":[{\"code\":6003,\"message\":\"Invalid request headers\"}]}"), "token", true),
            (api("Failed to send request to https://api.test/: connection refused"), "cannot be reached", true),
            (api("HTTP 503: upkeep"), "fault of its own", true),
            (api("HTTP 429"), "fewer requests", true),
            (Error::NotFound, "does not know this domain", true),
            (api("BadRequest SRV target . is not valid"), "does not take it", false),
            (Error::Unsupported("TLSA".into()), "this kind", false),
        ] {
            let why = explain("desec", &error);
            assert!(why.words.contains(part) && why.words.starts_with("desec "), "{error:?}: {}", why.words);
            assert_eq!(why.bars, bars, "{error:?}");
        }
        let long = explain("x", &api(&format!("BadRequest \n{}", "y".repeat(5000))));
        assert!(long.words.len() < 300 && !long.words.contains('\n'));
    }

    #[test]
    fn whether_something_was_done_is_known_only_from_a_clear_no() {
        let unsure = |error| maybe_done(&error);
        assert!(!unsure(Error::Unauthorized) && !unsure(Error::Api("BadRequest x".into())));
        assert!(unsure(Error::Api("Failed to send request to x: time".into())));
        assert!(unsure(Error::Api("HTTP 502".into())) && unsure(Error::Serialize("x".into())));
    }

    #[test]
    fn a_secret_in_somebody_s_words_is_not_passed_on() {
        let secrets = ["abcdefgh".to_owned()];
        let provider = Provider::new("desec", "", &secrets).unwrap();
        assert_eq!(provider.without_secrets("bad token abcdefgh!"), "bad token …!");
    }
}
