//! Who stands behind a letter: iprev (RFC 8601 3), SPF (RFC 7208), DKIM (RFC 6376, 8301, 8463), ARC (RFC 8617) and DMARC
//! (RFC 9989) verified; letters of our own signed; the results written down and forged ones taken away (RFC 8601, RFC 7208 9).
//!
//! [`gather`] asks the world and gives [`Evidence`]; [`judge`] is pure and says what is done.
//!
//! Does not know: sockets and name servers (it is handed [`Names`]), accounts, whose letter it is.
//!
//! Invariants, cited by tests:
//! - H1: evidence is there within its time, whoever does not answer; what is not known then is `temperror`.
//! - H2: nothing is refused or put aside for what could not be found out.
//! - H3: no field that claims to be ours survives on a letter from outside, however it is folded or commented.
//! - H4: nothing of a stranger's becomes more than a value within a field that we write.

mod arc;
mod canon;
pub mod dane;
mod dkim;
mod dmarc;
mod evidence;
mod judge;
mod letter;
mod names;
pub mod report;
mod results;
mod sign;
mod spf;
pub mod sts;
mod tags;
pub mod tlsrpt;

#[cfg(test)]
mod tests;

pub use arc::{Chain, Seal};
pub use dmarc::{Policy, Record as DmarcRecord, Verdict};
pub use evidence::{Evidence, Handed, Host, Sender, Signed, gather};
pub use judge::{Action, Rules, judge};
pub use letter::Letter;
#[cfg(test)]
pub(crate) use names::fake;
pub use names::{Found, Missing, Names, host};
pub use results::{authentication_results, is_forged, received_spf, without_forged};
pub use sign::{Key, sign, signers_domain};
pub use spf::{Asked, Record as SpfRecord, check_host};
pub use tags::Tags;

/// What a check came to (RFC 8601 2.7; not each check knows each of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    None,
    Pass,
    Fail,
    SoftFail,
    Neutral,
    Policy,
    TempError,
    PermError,
}

impl Outcome {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::Neutral => "neutral",
            Outcome::Policy => "policy",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}
