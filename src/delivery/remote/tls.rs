//! What TLS with one server of a domain has to be like, by what the domain has said (DANE before MTA-STS, RFC 8461 2) and
//! what the letter asks for (RFC 8689); and what became of it, in words.

use std::sync::Arc;

use tracing::warn;

use crate::mailauth::dane::{self, Tlsa};
use crate::mailauth::sts::{Mode, Policy};
use crate::mailauth::tlsrpt::{self, Failure, FailureKind, PolicyKind};
use crate::net::dns::{Data, Doubt, Kind};
use crate::net::{ClientTls, End, Seen, TlsFault, fault};
use crate::proto::smtp::client;
use crate::queue::Tls;

use super::route::{Addresses, Names, Site};
use super::{Sender, Trouble, World, sts};

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Whose mail it is.
    pub domain: String,
    pub how: How,
    /// For the report.
    pub policy: tlsrpt::Policy,
    /// Whom TLS is spoken with.
    pub server: String,
    /// Who wants what, as the beginning of a sentence.
    wants: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// In the clear, where TLS does not work.
    Offered,
    /// The same, with an eye on the certificate.
    Watched,
    /// TLS, whatever the certificate is.
    Encrypted,
    /// A certificate for the server's name, from whom browsers trust.
    Verified,
    /// The same, or the relay's own root.
    Relay { trust: String },
    /// One that the records name.
    Dane { records: Vec<Tlsa>, names: Vec<String> },
}

impl Plan {
    /// `trust` as in [`super::Relay::trust`].
    pub fn relay(host: &str, trust: &str) -> Plan {
        let (domain, policy, wants) = (String::new(), tlsrpt::Policy::none(), String::new());
        Plan { domain, how: How::Relay { trust: trust.to_owned() }, policy, server: host.to_owned(), wants }
    }

    /// Not without TLS.
    pub fn is_strict(&self) -> bool {
        !matches!(self.how, How::Offered | How::Watched)
    }

    /// Whether a connection to the same host by that plan is all that this one wants. The relay's are its own.
    pub fn is_fulfilled_by(&self, that: &Plan) -> bool {
        match (&self.how, &that.how) {
            (How::Relay { .. }, _) | (_, How::Relay { .. }) => false,
            (How::Offered, _) => true,
            (How::Encrypted, _) => that.is_strict(),
            (How::Watched, how) => *how == How::Watched,
            (How::Verified, how) => *how == How::Verified && self.server == that.server,
            // RFC 7672 3.1.1: for a server's own key its name does not count, and else one of the names is the domain's.
            (How::Dane { records, .. }, How::Dane { records: others, .. }) => {
                records == others
                    && self.server == that.server
                    && records.iter().all(|record| record.usage == dane::Usage::Own)
            }
            (How::Dane { .. }, _) => false,
        }
    }

    /// `None`: it cannot be done here at all.
    pub fn side<W: World>(&self, world: &W) -> Option<(ClientTls, Option<Seen>)> {
        let (side, seen) = match &self.how {
            How::Offered | How::Encrypted => (world.opportunistic()?, None),
            How::Watched => match ClientTls::watching(&world.roots()) {
                Ok((side, seen)) => (side, Some(seen)),
                // Nobody asks for more than encryption.
                Err(error) => {
                    warn!(%error, "sending.trust: certificates cannot be watched");
                    (world.opportunistic()?, None)
                }
            },
            How::Verified => (ClientTls::verified(&world.roots()).ok()?, None),
            How::Relay { trust } => (world.verified(trust)?, None),
            How::Dane { records, names } => (ClientTls::dane(records.clone(), names).ok()?, None),
        };
        let strict = self.is_strict();
        let named = side.to(&self.server).or_else(|error| if strict { Err(error) } else { side.to("localhost") });
        Some((named.ok()?, seen))
    }

    /// Why a letter waits, of who wanted more than there was.
    pub fn trouble(&self, failure: &Failure, trouble: Trouble) -> Trouble {
        if !self.is_strict() || self.wants.is_empty() {
            return trouble;
        }
        let server = &self.server;
        let said = match failure.kind {
            FailureKind::StartTlsNotSupported => format!("its server {server} offers no encryption"),
            FailureKind::CertificateExpired => format!("the certificate of its server {server} is not valid now"),
            FailureKind::CertificateHostMismatch => {
                format!("the certificate of its server {server} is for another name")
            }
            FailureKind::CertificateNotTrusted => {
                format!("the certificate of its server {server} comes from nobody who is trusted")
            }
            FailureKind::TlsaInvalid => {
                format!("the certificate of its server {server} is not the one that the DNS names")
            }
            _ => format!("there is no encryption with its server {server}"),
        };
        let detail = if failure.kind == FailureKind::StartTlsNotSupported { 10 } else { 5 };
        Trouble::later((4, 7, detail), format!("{}, and {said}", self.wants))
    }
}

/// What a domain's records ask of a session with one of its hosts. Errors: no session with it.
pub(super) async fn plan<W: World>(
    sender: &Arc<Sender<W>>,
    names: &Names,
    site: &Site,
    policy: Option<&Policy>,
    host: &str,
    found: &Addresses,
    letter: Tls,
) -> Result<Plan, Trouble> {
    let domain = &site.domain;
    let (mut how, mut reported, mut server) = (How::Offered, tlsrpt::Policy::none(), host.to_owned());
    let mut wants = String::new();
    // RFC 8689 3: such a letter is to arrive, whatever its domain says.
    if letter == Tls::NotRequired {
        return Ok(Plan { domain: domain.clone(), how, policy: reported, server, wants });
    }
    let mut named = false;
    // RFC 7672 2.2: each step from the domain to its server's address has to be signed.
    let records = match site.proven && found.proven {
        true => tlsa(sender, names, site, host, found).await?,
        false => None,
    };
    let is_there = records.is_some();
    if let Some((base, records)) = records {
        wants = format!("{domain} wants encryption that cannot be listened to (DANE)");
        reported = tlsrpt::Policy {
            kind: PolicyKind::Tlsa,
            strings: records.iter().map(Data::value).collect(),
            mx: Vec::new(),
        };
        let usable = dane::usable(records.iter().filter_map(|record| match record {
            Data::Tlsa { usage, selector, matching, data } => Some((*usage, *selector, *matching, &data[..])),
            _ => None,
        }));
        // RFC 7672 2.2: records that nobody can use ask for TLS all the same. 3.2.2: names that may stand in a certificate.
        how = match usable.is_empty() {
            true => How::Encrypted,
            false => How::Dane { records: usable, names: vec![base.clone(), host.to_owned(), domain.clone()] },
        };
        server = base;
    }
    // RFC 8461 2: DANE counts before it; where there is nothing that DANE could check, the policy does.
    if let Some(policy) = policy.filter(|policy| !is_there || (how == How::Encrypted && policy.mode == Mode::Enforce)) {
        reported = sts::reported(Some(policy));
        named = policy.names(host);
        if !named {
            let failure = FailureKind::ValidationFailure.because("the MX record names a host that the policy does not");
            note(sender, domain, reported.clone(), Some(host), Err(failure));
        }
        wants = format!("{domain} wants encryption that cannot be listened to (MTA-STS)");
        host.clone_into(&mut server);
        how = match (policy.mode, named) {
            (Mode::Enforce, true) => How::Verified,
            (Mode::Enforce, false) => {
                let words = format!("{wants}, and its server {host} is not one that its policy names");
                return Err(Trouble::later((4, 7, 5), words));
            }
            (_, true) => How::Watched,
            (_, false) => {
                reported = tlsrpt::Policy::none();
                How::Offered
            }
        };
    }
    // RFC 8689 4.2.1: DANE; or a certificate for a name that was not put in by somebody on the way.
    if letter == Tls::Required && !matches!(how, How::Dane { .. }) {
        if !(site.proven || named || !site.by_mx) {
            if names.is_undated() {
                let words = "the letter is to leave only under encryption that cannot be listened to (REQUIRETLS), and without \
                             the date nothing can be proven (DNSSEC)";
                return Err(Trouble::later((4, 7, 5), words.to_owned()));
            }
            let words = format!(
                "the letter is to leave only under encryption that cannot be listened to (REQUIRETLS), and nothing vouches for \
                 the servers of {domain}"
            );
            return Err(Trouble::never((5, 7, 30), words));
        }
        how = How::Verified;
        wants = "the letter is to leave only under encryption that cannot be listened to (REQUIRETLS)".to_owned();
    }
    Ok(Plan { domain: domain.clone(), how, policy: reported, server, wants })
}

/// The records of a host whose address is proven, and the name they were found at. `None`: there are none, or nothing proves
/// them. Errors: whether there are is not known, so the host cannot be used now (RFC 7672 2.1.2).
async fn tlsa<W: World>(
    sender: &Arc<Sender<W>>,
    names: &Names,
    site: &Site,
    host: &str,
    found: &Addresses,
) -> Result<Option<(String, Vec<Data>)>, Trouble> {
    // RFC 7672 2.2.2: where its alias leads first, then its own name.
    let mut bases = vec![found.canonical.clone()];
    if found.canonical != host {
        bases.push(host.to_owned());
    }
    for base in bases {
        let port = sender.world.way().port;
        match names.look(&format!("_{port}._tcp.{base}"), Kind::Tlsa).await {
            Ok(records) if records.proven && !records.data.is_empty() => return Ok(Some((base, records.data))),
            Ok(_) => {}
            Err(doubt) => {
                if doubt == Doubt::Bogus {
                    let policy = tlsrpt::Policy { kind: PolicyKind::Tlsa, strings: Vec::new(), mx: Vec::new() };
                    let failure = FailureKind::DnssecInvalid.because(doubt.to_string());
                    note(sender, &site.domain, policy, Some(host), Err(failure));
                }
                let words = format!(
                    "whether {} wants encryption that cannot be listened to (DANE) cannot be found out for its server \
                     {host}: {doubt}",
                    site.domain
                );
                return Err(Trouble::later((4, 7, 5), words));
            }
        }
    }
    Ok(None)
}

/// Of a server that was not spoken to, or of a domain none of whose was.
pub(super) fn note<W: World>(
    sender: &Arc<Sender<W>>,
    domain: &str,
    policy: tlsrpt::Policy,
    host: Option<&str>,
    result: Result<(), Failure>,
) {
    let (at, domain, mx) = (sender.clock.now(), domain.to_owned(), host.map(str::to_owned));
    sender.world.note(tlsrpt::Outcome { at, domain, policy, mx, receiving: None, sending: None, result });
}

/// What a report says of a domain whose servers could not be found out.
pub(super) fn bogus(trouble: &Trouble) -> Option<Failure> {
    let words = trouble.said.reply.text.join(" ");
    words.contains("(DNSSEC)").then(|| FailureKind::DnssecInvalid.because(words))
}

/// What is known of a session that has ended.
pub(super) struct Session<'a> {
    pub plan: &'a Plan,
    pub seen: Option<Seen>,
    pub secured: bool,
    /// The server was ready for letters, though not under TLS.
    pub plain: bool,
    pub failed: Option<&'a client::Failure>,
    pub end: &'a End,
}

/// What a session came to as far as TLS goes. `None`: it did not come so far.
pub(super) fn result(session: &Session<'_>) -> Option<Result<(), Failure>> {
    if session.secured {
        // Who asks for no certificate is told of none, whatever another domain on the connection wants to see.
        if session.plan.how != How::Watched {
            return Some(Ok(()));
        }
        let shown = session.seen.as_ref()?.get().unwrap_or(Ok(()));
        return Some(shown.map_err(|fault| kind(session.plan, fault).because("the certificate")));
    }
    let not_offered =
        session.failed.is_some_and(|failed| failed.at_tls && failed.said.reply.enhanced == Some((4, 7, 10)));
    if session.plain || not_offered {
        return Some(Err(FailureKind::StartTlsNotSupported.because("STARTTLS is not offered")));
    }
    match (session.failed, session.end) {
        (Some(failed), _) if failed.at_tls => {
            Some(Err(FailureKind::ValidationFailure.because(failed.said.reply.text.join(" "))))
        }
        (None, End::NoTls(error)) => Some(Err(kind(session.plan, fault(error)).because(error.to_string()))),
        (None, End::NoHandshake) => Some(Err(FailureKind::ValidationFailure.because("the handshake does not end"))),
        _ => None,
    }
}

fn kind(plan: &Plan, fault: TlsFault) -> FailureKind {
    match fault {
        TlsFault::Time => FailureKind::CertificateExpired,
        TlsFault::Name => FailureKind::CertificateHostMismatch,
        TlsFault::Untrusted if matches!(plan.how, How::Dane { .. }) => FailureKind::TlsaInvalid,
        TlsFault::Untrusted => FailureKind::CertificateNotTrusted,
        TlsFault::Other => FailureKind::ValidationFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Roots;
    use crate::store::lookup::{self, Lookup};

    /// A house whose file of roots is broken.
    struct Room;

    impl World for Room {
        fn way(&self) -> crate::delivery::remote::Way {
            unreachable!("nothing is sent")
        }

        fn asker(&self) -> crate::net::dns::Asker {
            unreachable!("nobody is asked")
        }

        fn proven(&self) -> Option<Arc<crate::net::dns::Proven>> {
            None
        }

        fn roots(&self) -> Roots {
            Roots::Only(b"junk".to_vec())
        }

        fn facts(&self) -> Arc<dyn Lookup> {
            lookup::memory(1 << 20)
        }

        fn opportunistic(&self) -> Option<ClientTls> {
            ClientTls::opportunistic().ok()
        }

        fn verified(&self, _: &str) -> Option<ClientTls> {
            None
        }

        fn caretakers(&self) -> Vec<crate::base::AccountId> {
            Vec::new()
        }

        fn note(&self, _: tlsrpt::Outcome) {}
    }

    #[test]
    fn a_domain_that_asks_for_no_certificate_is_told_of_none() {
        let of = |how| {
            let plan = Plan { how, ..Plan::relay("mx.a.test", "") };
            let seen = Some(Seen::of(Err(TlsFault::Name)));
            result(&Session { plan: &plan, seen, secured: true, plain: false, failed: None, end: &End::Closed })
                .unwrap()
        };
        assert!(of(How::Watched).is_err());
        assert_eq!(of(How::Offered), Ok(()), "over the connection that is watched for another domain");
    }

    #[test]
    fn without_roots_to_watch_with_there_is_encryption_and_no_word_on_the_certificate() {
        let plan = |how| Plan { how, ..Plan::relay("mx.a.test", "") };
        let watched = plan(How::Watched);
        let (_, seen) = watched.side(&Room).unwrap();
        assert!(seen.is_none());
        let session = |plan| Session { plan, seen: None, secured: true, plain: false, failed: None, end: &End::Closed };
        assert_eq!(result(&session(&watched)), None);
        assert!(plan(How::Verified).side(&Room).is_none(), "who wants a certificate gets nothing less");
    }
}
