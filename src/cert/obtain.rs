//! One group's certificate, from the first rehearsal to the pair: which names are in it, and what became of the others (C1).

use std::collections::BTreeMap;
use std::future::Future;

use tracing::{info, warn};

use crate::net::Pair;
use crate::net::tls;

use super::stage::Method;
use super::trouble::{Cause, Trouble};
use super::x509;

/// A name in an order, and how it will be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    pub name: String,
    pub method: Method,
}

/// What an authority made of an order.
pub enum Ordered {
    Issued(Pair),
    /// These names stood in the way, each for its reason.
    Names(Vec<(String, Trouble)>),
    /// It failed as a whole.
    Failed(Trouble),
}

/// An ACME server, real or simulated.
pub trait Authority: Send + Sync {
    /// `replaces` is the certificate that will not be needed any more (RFC 9773 5).
    fn order(&self, tries: &[Try], replaces: Option<&str>) -> impl Future<Output = Ordered> + Send;
}

/// A name that is wanted, with the ways to prove it, the best first, and how many failures it may still cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub methods: Vec<Method>,
    pub failures_left: usize,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    pub(super) pair: Option<Pair>,
    /// Names that are not in the certificate, each with its reason.
    pub(super) left_out: Vec<(String, Trouble)>,
    /// Why there is no certificate at all.
    pub(super) trouble: Option<Trouble>,
    /// Names that the authority has seen fail, once for each time (C3).
    pub(super) failed: Vec<String>,
    /// How each name in the certificate was proven.
    pub(super) methods: BTreeMap<String, Method>,
}

impl Outcome {
    /// As a whole, before any name was looked at.
    pub fn failed(trouble: Trouble) -> Outcome {
        Outcome { trouble: Some(trouble), ..Outcome::default() }
    }
}

/// Orders a certificate for as many of the names as can be had. With a rehearsal, what fails there is not tried for real.
pub(super) async fn obtain<A: Authority>(
    authority: &A,
    rehearsal: Option<&A>,
    wanted: Vec<Wanted>,
    replaces: Option<&str>,
) -> Outcome {
    let mut run = Run { wanted, outcome: Outcome::default() };
    run.drop_those_without_a_way();
    if let Some(rehearsal) = rehearsal {
        run.rehearse(rehearsal).await;
    }
    run.order(authority, replaces).await;
    run.outcome
}

struct Run {
    wanted: Vec<Wanted>,
    outcome: Outcome,
}

impl Run {
    fn drop_those_without_a_way(&mut self) {
        let outcome = &mut self.outcome;
        self.wanted.retain(|wanted| {
            if wanted.methods.is_empty() {
                outcome.left_out.push((wanted.name.clone(), Trouble::new(Cause::NoMethod, "")));
            }
            !wanted.methods.is_empty()
        });
    }

    fn tries(&self) -> Vec<Try> {
        let one = |wanted: &Wanted| Some(Try { name: wanted.name.clone(), method: *wanted.methods.first()? });
        self.wanted.iter().filter_map(one).collect()
    }

    async fn rehearse<A: Authority>(&mut self, rehearsal: &A) {
        while !self.wanted.is_empty() {
            match rehearsal.order(&self.tries(), None).await {
                Ordered::Issued(_) => {
                    info!(names = self.words(), "the rehearsal of the certificate went well");
                    return;
                }
                // A stage that is closed for a day is no reason to go without a certificate.
                Ordered::Failed(trouble) => {
                    warn!(?trouble, "the certificate cannot be rehearsed");
                    return;
                }
                Ordered::Names(bad) => {
                    if !self.stumbled(bad, false) {
                        return;
                    }
                }
            }
        }
    }

    async fn order<A: Authority>(&mut self, authority: &A, replaces: Option<&str>) {
        while !self.wanted.is_empty() {
            let tries = self.tries();
            match authority.order(&tries, replaces).await {
                Ordered::Issued(pair) => {
                    match fits(&pair, &tries) {
                        Ok(()) => {
                            self.outcome.methods = tries.into_iter().map(|one| (one.name, one.method)).collect();
                            self.outcome.pair = Some(pair);
                        }
                        Err(why) => self.outcome.trouble = Some(Trouble::new(Cause::Strange, why)),
                    }
                    return;
                }
                Ordered::Failed(trouble) => {
                    self.outcome.trouble = Some(trouble);
                    return;
                }
                Ordered::Names(bad) => {
                    if !self.stumbled(bad, true) {
                        self.outcome.trouble =
                            Some(Trouble::new(Cause::Strange, "it refuses names that were not asked for"));
                        return;
                    }
                }
            }
        }
    }

    /// Each name that failed is tried in its next way, or left out. False if none of ours was among them.
    fn stumbled(&mut self, bad: Vec<(String, Trouble)>, counts: bool) -> bool {
        let mut any = false;
        for (name, trouble) in bad {
            let Some(at) = self.wanted.iter().position(|wanted| wanted.name == name) else { continue };
            any = true;
            let wanted = &mut self.wanted[at];
            warn!(name, cause = ?trouble.cause, detail = trouble.detail, "no certificate for this name");
            if counts && trouble.counts() {
                self.outcome.failed.push(name.clone());
                wanted.failures_left = wanted.failures_left.saturating_sub(1);
            }
            wanted.methods.remove(0);
            if !trouble.depends_on_method() || wanted.methods.is_empty() || wanted.failures_left == 0 {
                self.wanted.remove(at);
                // What was said of the way that is best is what the owner should mend.
                self.outcome.left_out.push((name, trouble));
            }
        }
        any
    }

    fn words(&self) -> String {
        self.wanted.iter().map(|wanted| wanted.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// C4.
fn fits(pair: &Pair, tries: &[Try]) -> Result<(), String> {
    tls::check(pair).map_err(|error| error.to_string())?;
    let facts = x509::facts(&pair.chain)?;
    match tries.iter().find(|one| !facts.covers(&one.name)) {
        Some(missing) => Err(format!("the certificate is not for {}", missing.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::net::tls::self_signed;

    /// Says for each try what is wrong with it, and counts the orders.
    struct Says(Box<dyn Fn(&Try) -> Option<Cause> + Send + Sync>, Mutex<Vec<Vec<Try>>>);

    impl Authority for Says {
        async fn order(&self, tries: &[Try], _replaces: Option<&str>) -> Ordered {
            self.1.lock().unwrap().push(tries.to_vec());
            let bad: Vec<_> = tries
                .iter()
                .filter_map(|one| Some((one.name.clone(), Trouble::new((self.0)(one)?, "").by(one.method))))
                .collect();
            if !bad.is_empty() {
                return Ordered::Names(bad);
            }
            let names: Vec<String> = tries.iter().map(|one| one.name.clone()).collect();
            Ordered::Issued(self_signed(&names).unwrap())
        }
    }

    fn says(what: impl Fn(&Try) -> Option<Cause> + Send + Sync + 'static) -> Says {
        Says(Box::new(what), Mutex::default())
    }

    fn wanted(names: &[&str]) -> Vec<Wanted> {
        let one = |name: &&str| Wanted {
            name: (*name).to_owned(),
            methods: vec![Method::TlsAlpn, Method::Http],
            failures_left: 4,
        };
        names.iter().map(one).collect()
    }

    fn left_out(outcome: &Outcome) -> Vec<(&str, Cause)> {
        outcome.left_out.iter().map(|(name, trouble)| (name.as_str(), trouble.cause)).collect()
    }

    #[tokio::test]
    async fn one_name_that_fails_does_not_sink_the_others() {
        let authority = says(|one| (one.name == "b.test").then_some(Cause::Caa));
        let outcome = obtain(&authority, None, wanted(&["a.test", "b.test", "c.test"]), None).await;
        let facts = x509::facts(&outcome.pair.as_ref().unwrap().chain).unwrap();
        assert_eq!(facts.names, ["a.test", "c.test"]);
        assert_eq!(left_out(&outcome), [("b.test", Cause::Caa)]);
        assert_eq!(outcome.failed, ["b.test"]);
        assert_eq!(authority.1.lock().unwrap().len(), 2, "CAA does not get better by another challenge");
    }

    #[tokio::test]
    async fn the_next_way_is_tried_before_a_name_is_left_out() {
        let authority = says(|one| (one.method == Method::TlsAlpn).then_some(Cause::Unreachable));
        let outcome = obtain(&authority, None, wanted(&["a.test"]), None).await;
        assert_eq!(outcome.methods["a.test"], Method::Http);
        assert_eq!(outcome.failed, ["a.test"]);
        // Not when the authority would lock the name out for it.
        let mut short = wanted(&["a.test"]);
        short[0].failures_left = 1;
        let outcome = obtain(&authority, None, short, None).await;
        assert!(outcome.pair.is_none());
        assert_eq!(left_out(&outcome), [("a.test", Cause::Unreachable)]);
    }

    #[tokio::test]
    async fn what_fails_in_the_rehearsal_is_not_tried_for_real() {
        let stage = says(|one| match one.name.as_str() {
            "b.test" => Some(Cause::NoAddress),
            _ => (one.method == Method::TlsAlpn).then_some(Cause::Unreachable),
        });
        let authority = says(|_| None);
        let outcome = obtain(&authority, Some(&stage), wanted(&["a.test", "b.test"]), None).await;
        assert!(outcome.pair.is_some() && outcome.failed.is_empty());
        assert_eq!(left_out(&outcome), [("b.test", Cause::NoAddress)]);
        let orders = authority.1.lock().unwrap();
        assert_eq!(orders.as_slice(), [vec![Try { name: "a.test".to_owned(), method: Method::Http }]]);
    }

    struct Fails(Cause);

    impl Authority for Fails {
        async fn order(&self, _tries: &[Try], _replaces: Option<&str>) -> Ordered {
            match self.0 {
                Cause::Strange => Ordered::Issued(self_signed(&["other.test".to_owned()]).unwrap()),
                Cause::Refused => Ordered::Names(vec![("other.test".to_owned(), Trouble::new(Cause::Refused, ""))]),
                cause => Ordered::Failed(Trouble::new(cause, "")),
            }
        }
    }

    #[tokio::test]
    async fn a_whole_order_that_fails_says_why_and_ends() {
        for cause in [Cause::Away, Cause::Limited, Cause::Strange, Cause::Refused] {
            let outcome = obtain(&Fails(cause), None, wanted(&["a.test"]), None).await;
            assert!(outcome.pair.is_none(), "{cause:?}");
            let trouble = outcome.trouble.unwrap();
            assert_eq!(trouble.cause, if cause == Cause::Refused { Cause::Strange } else { cause });
        }
        let mut without = wanted(&["a.test"]);
        without[0].methods.clear();
        let outcome = obtain(&Fails(Cause::Away), None, without, None).await;
        assert_eq!(left_out(&outcome), [("a.test", Cause::NoMethod)]);
        assert!(outcome.trouble.is_none());
    }
}
