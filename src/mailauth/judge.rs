//! What is done with a letter, by what is known of its sender. Pure.

use super::dmarc::Policy;
use super::{Evidence, Outcome};

/// The household's own will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether what domains ask for is done; else it is only written down.
    pub obey: bool,
    /// Domains whose seals are believed (ARC): what they forward may have lost what spoke for it.
    pub forwarders: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Deliver,
    /// To Junk, with the reason in a few words.
    Junk(&'static str),
    /// In the session, before it is taken (P2): the domain that asks for it.
    Refuse(String),
}

/// RFC 9989 7.4 leaves the last word to who receives. Whatever is not known speaks for nobody and against nobody (H2).
pub fn judge(evidence: &Evidence, rules: &Rules) -> Action {
    if !rules.obey {
        return Action::Deliver;
    }
    let dmarc = &evidence.dmarc;
    if dmarc.malformed {
        return Action::Junk("it does not say plainly whom it is from");
    }
    if dmarc.outcome != Outcome::Fail || is_vouched_for(evidence, rules) {
        return Action::Deliver;
    }
    match dmarc.policy {
        Policy::None => Action::Deliver,
        Policy::Quarantine => Action::Junk("its author's domain asks for it"),
        Policy::Reject => Action::Refuse(dmarc.author.clone()),
    }
}

/// The chain of seals is whole, and a server that is believed found that DMARC passed; those behind it are believed too.
fn is_vouched_for(evidence: &Evidence, rules: &Rules) -> bool {
    let believed = |domain: &str| rules.forwarders.iter().any(|known| known.eq_ignore_ascii_case(domain));
    evidence.arc.outcome == Outcome::Pass
        && evidence.arc.seals.iter().take_while(|seal| believed(&seal.domain)).any(|seal| seal.dmarc_pass)
}
