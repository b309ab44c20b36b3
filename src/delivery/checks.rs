//! Who stands behind a letter from outside, asked before it is taken; and letters of the household signed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Clock, Time};
use crate::directory::dkim;
use crate::mailauth::{self, Action, Evidence, Handed, Letter, Names, Rules, Tags};
use crate::message::header;
use crate::store::Data;

use super::envelope::Envelope;
use super::reports::Reports;

/// How letters of strangers are checked.
#[derive(Clone)]
pub struct Checks {
    /// Whom to ask, as it is now: the resolvers of a machine change.
    pub names: Arc<dyn Fn() -> Option<Arc<dyn Names>> + Send + Sync>,
    pub wait: Duration,
    pub rules: Rules,
    /// Whether domains that ask for it are told of each letter that failed.
    pub failures: bool,
}

/// A letter that was checked.
pub(super) struct Checked {
    pub evidence: Evidence,
    /// A letter that asks to be put aside, and why.
    pub junk: Option<&'static str>,
    /// Authentication-Results and Received-SPF.
    pub fields: Vec<u8>,
}

/// Checks are for strangers: not for who has logged in, nor for this machine itself.
pub(super) fn are_for(envelope: &Envelope) -> bool {
    envelope.origin.account.is_none() && !is_own(envelope.origin.peer)
}

fn is_own(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

impl Checks {
    /// `Err`: the domain that asks for the letter to be refused.
    pub(super) async fn check(
        &self,
        envelope: &Envelope,
        letter: &Letter,
        head: &[u8],
        hostname: &str,
        clock: &dyn Clock,
        reports: Option<&Reports>,
    ) -> Result<Option<Checked>, String> {
        let Some(names) = (self.names)() else { return Ok(None) };
        let handed = Handed {
            peer: envelope.origin.peer,
            helo: &envelope.origin.helo,
            from: envelope.from.as_deref(),
            now: clock.trusted().then(|| clock.now()),
        };
        let evidence = mailauth::gather(&*names, handed, letter, self.wait).await;
        let action = mailauth::judge(&evidence, &self.rules);
        if let Some(reports) = reports {
            reports.count(&evidence, &action, clock.now());
            // A letter from nobody tells of another one; a report about it would be an answer to a report.
            if let (true, Some(from)) = (self.failures, envelope.from.as_deref()) {
                reports.note_failure(&evidence, &action, hostname, from, head, clock.now());
            }
        }
        let junk = match action {
            Action::Deliver => None,
            Action::Junk(why) => Some(why),
            Action::Refuse(domain) => return Err(domain),
        };
        let fields = [
            mailauth::authentication_results(&evidence, hostname),
            mailauth::received_spf(&evidence, handed, hostname),
        ]
        .concat();
        Ok(Some(Checked { evidence, junk, fields }))
    }
}

/// The DKIM-Signature fields of a letter that somebody of the household hands in; empty where its author's domain is not
/// ours. A key that cannot be read costs its signature, never the letter.
pub(super) fn signatures(data: &Data, head: &[u8], body: &[u8], now: Option<Time>) -> Vec<u8> {
    let Some(domain) = mailauth::signers_domain(head) else { return Vec::new() };
    let keys = data.read().map_err(|error| error.into()).and_then(|read| dkim::private(&read, &domain));
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => {
            tracing::error!(%error, "a letter goes without signatures");
            return Vec::new();
        }
    };
    let keys: Vec<mailauth::Key> = keys
        .iter()
        .filter_map(|key| match key.algorithm {
            dkim::Algorithm::Ed25519 => mailauth::Key::ed25519(&key.selector, &key.pkcs8),
            dkim::Algorithm::Rsa => mailauth::Key::rsa(&key.selector, &key.pkcs8),
        })
        .collect();
    mailauth::sign(head, body, &domain, &keys, now)
}

/// A letter of the household's whose body has become another on its way out, with new signatures in the place of ours. Where
/// there are no keys any more it goes without: a signature that does not verify is worth less than none.
pub(super) fn sign_again(data: &Data, letter: Vec<u8>, now: Option<Time>) -> Vec<u8> {
    let (head, body) = letter.split_at(header::end(&letter));
    match signed_again(data, head, body, now) {
        Some(head) => [&head, body].concat(),
        None => letter,
    }
}

/// The header section of such a letter. `None`: it has no signature of ours.
pub(super) fn signed_again(data: &Data, head: &[u8], body: &[u8], now: Option<Time>) -> Option<Vec<u8>> {
    let domain = mailauth::signers_domain(head)?;
    let is_ours = |field: &header::Field<'_>| {
        let by = |value: &[u8]| Tags::read_what_can_be(value).get("d").is_some_and(|d| d.eq_ignore_ascii_case(&domain));
        field.is("DKIM-Signature") && by(&field.value())
    };
    let fields: Vec<header::Field<'_>> = header::fields(head).collect();
    let first = fields.iter().position(is_ours)?;
    let (above, below) = fields.split_at(first);
    let above: Vec<u8> = above.iter().flat_map(|field| field.raw).copied().collect();
    let mut below: Vec<u8> =
        below.iter().filter(|field| !is_ours(field)).flat_map(|field| field.raw).copied().collect();
    below.extend_from_slice(b"\r\n");
    let signed = signatures(data, &[above.as_slice(), &below].concat(), body, now);
    Some([above.as_slice(), &signed, &below].concat())
}
