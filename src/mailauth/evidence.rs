//! All that can be found out about a letter's sender, within a time.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::base::Time;

use super::arc::Chain;
use super::dmarc::{Verdict, Walk, Witness};
use super::letter::{Author, Letter};
use super::names::{self, Missing, Names, addresses};
use super::{Outcome, arc, dkim, dmarc, spf};

/// Names of an address that are looked at (RFC 8601 3 leaves it open).
const PEER_NAMES: usize = 5;

/// How a letter was handed in.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    pub peer: IpAddr,
    /// What the peer called itself.
    pub helo: &'a str,
    /// The reverse path; `None` is the null path.
    pub from: Option<&'a str>,
    /// `None`: the clock is not to be believed, and nothing is called expired.
    pub now: Option<Time>,
}

/// Pure data: for the header, the judge, the filter and the reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub host: Host,
    /// SPF of what the peer calls itself.
    pub helo: Sender,
    /// SPF of the reverse path; of the null path there is none of its own (RFC 7208 2.4).
    pub mail: Option<Sender>,
    /// Each signature, from the top.
    pub dkim: Vec<Signed>,
    pub arc: Chain,
    pub dmarc: Verdict,
}

/// RFC 8601 3: whether the address has a name that has the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub outcome: Outcome,
    pub address: IpAddr,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub outcome: Outcome,
    pub domain: String,
}

/// A signature, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub outcome: Outcome,
    pub reason: Option<&'static str>,
    pub domain: String,
    pub selector: String,
    pub algorithm: &'static str,
    /// The beginning of `b=`, to tell signatures of one domain apart (RFC 6008).
    pub prefix: String,
}

/// Asks the world about a letter, for `wait` at the most (H1).
pub async fn gather(names: &dyn Names, handed: Handed<'_>, letter: &Letter, wait: Duration) -> Evidence {
    // The last step needs the answers of the others.
    let first = wait.mul_f32(0.8);
    let author = letter.author();
    let (host, helo, mail, dkim, arc, walk) = tokio::join!(
        timeout(first, iprev(names, handed.peer)),
        timeout(first, helo(names, handed)),
        timeout(first, mail(names, handed)),
        dkim::verify(names, letter, handed.now, first),
        timeout(first, arc::verify(names, letter)),
        timeout(first, walk(names, &author)),
    );
    let unknown = |domain: &str| Sender { outcome: Outcome::TempError, domain: domain.to_owned() };
    let host = host.unwrap_or(Host { outcome: Outcome::TempError, address: handed.peer, name: None });
    let helo = helo.unwrap_or_else(|_| unknown(&helo_domain(handed)));
    let mail = mail.unwrap_or_else(|_| mail_domain(handed).map(|domain| unknown(&domain)));
    let arc = arc.unwrap_or_else(|_| Chain::unknown("a key could not be looked up in time"));
    let dmarc = match (&author, walk) {
        (Author::Domain(_), Ok(Some(Ok(walk)))) => {
            let witnesses = witnesses(&helo, mail.as_ref(), &dkim);
            let judged = timeout(wait.saturating_sub(first), dmarc::judge(names, &walk, &witnesses)).await;
            judged.unwrap_or_else(|_| not_known(&author))
        }
        (Author::Domain(_), _) => not_known(&author),
        // Nobody could say whose policy counts, and a second author is no way round the first one's.
        (Author::Several, _) => Verdict {
            malformed: true,
            ..Verdict::without(Outcome::None, "", Some("its authors are of several domains"))
        },
        (Author::Malformed, _) => Verdict {
            malformed: true,
            ..Verdict::without(Outcome::PermError, "", Some("it does not have one From field with an address"))
        },
    };
    Evidence { host, helo, mail, dkim, arc, dmarc }
}

fn not_known(author: &Author) -> Verdict {
    let domain = match author {
        Author::Domain(domain) => domain,
        _ => "",
    };
    Verdict::without(Outcome::TempError, domain, Some("the policy could not be looked up"))
}

async fn walk(names: &dyn Names, author: &Author) -> Option<Result<Walk, ()>> {
    match author {
        Author::Domain(domain) => Some(Walk::from(names, domain).await),
        _ => None,
    }
}

/// RFC 9989 4.10.2: SPF speaks for the domain of the reverse path, of the null path for what the peer calls itself.
fn witnesses(helo: &Sender, mail: Option<&Sender>, dkim: &[Signed]) -> Vec<Witness> {
    let spf = mail.unwrap_or(helo);
    let spf = names::host(&spf.domain).map(|domain| Witness { domain, outcome: spf.outcome, dkim: false });
    let dkim = dkim.iter().map(|signed| Witness { domain: signed.domain.clone(), outcome: signed.outcome, dkim: true });
    spf.into_iter().chain(dkim).collect()
}

fn helo_domain(handed: Handed<'_>) -> String {
    names::host(handed.helo).unwrap_or_else(|| handed.helo.to_owned())
}

fn mail_domain(handed: Handed<'_>) -> Option<String> {
    let (_, domain) = handed.from?.rsplit_once('@')?;
    Some(names::host(domain).unwrap_or_else(|| domain.to_owned()))
}

async fn helo(names: &dyn Names, handed: Handed<'_>) -> Sender {
    let domain = helo_domain(handed);
    let sender = format!("postmaster@{domain}");
    let asked = spf::Asked { peer: handed.peer, helo: &domain, sender: &sender, domain: &domain };
    let outcome = spf::check_host(names, asked).await;
    Sender { outcome, domain }
}

async fn mail(names: &dyn Names, handed: Handed<'_>) -> Option<Sender> {
    let (local, _) = handed.from?.rsplit_once('@')?;
    let domain = mail_domain(handed)?;
    let local = if local.is_empty() { "postmaster" } else { local };
    let (helo, sender) = (helo_domain(handed), format!("{local}@{domain}"));
    let asked = spf::Asked { peer: handed.peer, helo: &helo, sender: &sender, domain: &domain };
    let outcome = spf::check_host(names, asked).await;
    Some(Sender { outcome, domain })
}

async fn iprev(names: &dyn Names, peer: IpAddr) -> Host {
    let address = peer.to_canonical();
    let found = |outcome, name| Host { outcome, address, name };
    let listed = match names.ptr(address).await {
        Ok(listed) => listed,
        Err(Missing::Unknown) => return found(Outcome::TempError, None),
        // RFC 8601 2.7.3: without a name it fails.
        Err(Missing::NoName | Missing::NoData) => return found(Outcome::Fail, None),
    };
    let mut asked: Vec<names::Waiting<'_, _>> = Vec::new();
    for name in listed.into_iter().take(PEER_NAMES) {
        asked.push(Box::pin(async move {
            let found = addresses(names, &name, address).await;
            (name, found)
        }));
    }
    let mut outcome = Outcome::Fail;
    for (name, addresses) in names::together(asked).await {
        match addresses {
            Ok(addresses) if addresses.contains(&address) => return found(Outcome::Pass, names::host(&name)),
            Err(Missing::Unknown) => outcome = Outcome::TempError,
            _ => {}
        }
    }
    found(outcome, None)
}
