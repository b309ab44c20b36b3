//! What a domain asks for when nothing speaks for a letter in its name (RFC 9989).
//!
//! The tree walk and the judgement are pure but for the look-ups, which go through [`Names`].

use super::Outcome;
use super::names::{Missing, Names, is_within};
use super::tags::Tags;

/// RFC 9989 4.10: no more queries than this for one name.
const QUERIES: usize = 8;

/// What is asked to be done with a letter that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    None,
    Quarantine,
    Reject,
}

impl Policy {
    pub fn word(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn read(text: &str) -> Option<Policy> {
        [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|one| text.eq_ignore_ascii_case(one.word()))
    }

    /// RFC 9989 4.7, `t=y`: one step less than what is written.
    fn tested(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            Policy::Quarantine | Policy::None => Policy::None,
        }
    }
}

/// A record at `_dmarc.` of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub p: Policy,
    pub sp: Policy,
    pub np: Policy,
    /// Strict alignment, of DKIM and of SPF.
    pub strict_dkim: bool,
    pub strict_spf: bool,
    /// `psd=y` is true, `psd=n` is false.
    pub psd: Option<bool>,
    pub testing: bool,
    /// Where reports go, as written.
    pub rua: Vec<String>,
    pub ruf: Vec<String>,
    /// RFC 9991 3: of which letters failure reports are wanted.
    pub fo: Vec<char>,
}

impl Record {
    /// `None`: not a DMARC record, or one that says nothing (RFC 9989 4.7, 4.10.1).
    pub fn read(bytes: &[u8]) -> Option<Record> {
        let tags = Tags::read_what_can_be(bytes);
        if tags.first() != Some(("v", "DMARC1")) {
            return None;
        }
        let list = |name: &str| -> Vec<String> {
            let text = tags.get(name).unwrap_or_default();
            text.split(',').map(|uri| uri.trim().to_owned()).filter(|uri| uri.contains(':')).take(20).collect()
        };
        let (rua, ruf) = (list("rua"), list("ruf"));
        let policy = |name: &str| tags.get(name).and_then(Policy::read);
        // Without a policy that is understood there is one only for who wants reports.
        let p = match policy("p") {
            Some(policy) => policy,
            None if !rua.is_empty() => Policy::None,
            None => return None,
        };
        let sp = policy("sp").unwrap_or(p);
        let options: Vec<char> = tags
            .get("fo")
            .unwrap_or_default()
            .split(':')
            .filter_map(|option| match option.trim() {
                "0" => Some('0'),
                "1" => Some('1'),
                "d" | "D" => Some('d'),
                "s" | "S" => Some('s'),
                _ => None,
            })
            .take(8)
            .collect();
        let is = |name: &str, value: &str| tags.get(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
        Some(Record {
            p,
            sp,
            np: policy("np").unwrap_or(sp),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            psd: is("psd", "y").then_some(true).or(is("psd", "n").then_some(false)),
            testing: is("t", "y"),
            rua,
            ruf,
            fo: if options.is_empty() { vec!['0'] } else { options },
        })
    }
}

/// What a walk from a name up the tree found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    start: String,
    /// From the longest name to the shortest.
    found: Vec<(String, Record)>,
    /// The name it began with has a record, and what is above it could not be found out: which names are of one
    /// organization with it is not known.
    open: bool,
}

impl Walk {
    /// RFC 9989 4.10. `Err`: it could not be found out.
    pub async fn from(names: &dyn Names, start: &str) -> Result<Walk, ()> {
        let mut walk = Walk { start: start.to_owned(), found: Vec::new(), open: false };
        let mut name = start;
        for _ in 0..QUERIES {
            match names.txt(&format!("_dmarc.{name}")).await {
                Ok(records) => {
                    let mut records = records.iter().filter_map(|record| Record::read(record));
                    // Of several none counts.
                    if let (Some(record), None) = (records.next(), records.next()) {
                        let ends = record.psd.is_some();
                        walk.found.push((name.to_owned(), record));
                        if ends {
                            break;
                        }
                    }
                }
                Err(Missing::NoName | Missing::NoData) => {}
                // RFC 9989 4.10.1: its own record speaks for a name, whatever stands above.
                Err(Missing::Unknown) if walk.found.first().is_some_and(|(first, _)| first == start) => {
                    walk.open = true;
                    break;
                }
                Err(Missing::Unknown) => return Err(()),
            }
            // From a long name straight to seven labels, then one less each time.
            let labels = name.split('.').count();
            let drop = if labels >= 8 { labels - 7 } else { 1 };
            match name.splitn(drop + 1, '.').nth(drop) {
                Some(shorter) => name = shorter,
                None => break,
            }
        }
        Ok(walk)
    }

    /// RFC 9989 4.10.2: the domain that all names below it belong to.
    pub fn organization(&self) -> &str {
        if let Some((name, _)) = self.found.iter().find(|(_, record)| record.psd == Some(false)) {
            return name;
        }
        let suffix = self.found.iter().find(|(name, record)| record.psd == Some(true) && *name != self.start);
        if let Some((suffix, _)) = suffix {
            // One label below the public suffix.
            let above = self.start.len().saturating_sub(suffix.len() + 1);
            let below = self.start.get(..above).unwrap_or_default();
            return self.start.get(below.rfind('.').map_or(0, |at| at + 1)..).unwrap_or(&self.start);
        }
        self.found.last().map_or(&self.start, |(name, _)| name)
    }

    /// The record that speaks for the name the walk began with: its own, its organization's, its public suffix's (RFC 9989
    /// 4.10.1).
    fn policy_record(&self) -> Option<&(String, Record)> {
        let at = |wanted: &str| self.found.iter().find(|(name, _)| name == wanted);
        let suffix = || self.found.iter().find(|(_, record)| record.psd == Some(true));
        at(&self.start).or_else(|| at(self.organization())).or_else(suffix)
    }
}

/// What DMARC says of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub reason: Option<&'static str>,
    /// The author's domain; empty if there is not just one.
    pub author: String,
    /// What is asked for, `t=y` already taken off.
    pub policy: Policy,
    /// Where the record is, and what it says.
    pub record: Option<(String, Record)>,
    /// Whether a signature, and the sending address, speaks for the author.
    pub dkim: bool,
    pub spf: bool,
    /// A From field that readers could be misled by.
    pub malformed: bool,
}

impl Verdict {
    pub(super) fn without(outcome: Outcome, author: &str, reason: Option<&'static str>) -> Verdict {
        let (author, policy) = (author.to_owned(), Policy::None);
        Verdict { outcome, reason, author, policy, record: None, dkim: false, spf: false, malformed: false }
    }
}

/// A domain that was checked, and whether it speaks for the letter, or could not be asked.
pub(super) struct Witness {
    pub domain: String,
    pub outcome: Outcome,
    pub dkim: bool,
}

/// RFC 9989 5.3.
pub(super) async fn judge(names: &dyn Names, walk: &Walk, witnesses: &[Witness]) -> Verdict {
    let author = walk.start.as_str();
    let Some((place, record)) = walk.policy_record() else {
        return Verdict::without(Outcome::None, author, None);
    };
    let (mut dkim, mut spf, mut unknown) = (false, false, false);
    for witness in witnesses {
        if !matches!(witness.outcome, Outcome::Pass | Outcome::TempError) {
            continue;
        }
        let strict = if witness.dkim { record.strict_dkim } else { record.strict_spf };
        match is_aligned(names, walk, &witness.domain, strict).await {
            Ok(true) if witness.outcome == Outcome::Pass && witness.dkim => dkim = true,
            Ok(true) if witness.outcome == Outcome::Pass => spf = true,
            Ok(false) => {}
            // RFC 9989 5.3.6: what could have passed has not failed.
            Ok(true) | Err(()) => unknown = true,
        }
    }
    let written = if *place == author {
        record.p
    } else if record.np == record.sp {
        record.sp
    } else {
        // RFC 9989 4.7, np: of names that do not exist (RFC 8020).
        match names.a(author).await {
            Err(Missing::NoName) => record.np,
            Err(Missing::Unknown) => record.np.min(record.sp),
            Ok(_) | Err(Missing::NoData) => record.sp,
        }
    };
    let policy = if record.testing { written.tested() } else { written };
    let (outcome, reason) = match (dkim || spf, unknown) {
        (true, _) => (Outcome::Pass, None),
        (false, true) => (Outcome::TempError, Some("what could speak for it was not to be found out")),
        (false, false) => (Outcome::Fail, None),
    };
    let record = Some((place.clone(), record.clone()));
    Verdict { outcome, reason, author: author.to_owned(), policy, record, dkim, spf, malformed: false }
}

/// RFC 9989 4.10.2
async fn is_aligned(names: &dyn Names, author: &Walk, domain: &str, strict: bool) -> Result<bool, ()> {
    if domain == author.start {
        return Ok(true);
    }
    if author.open && !strict {
        // It may be another part of the same organization, unless nothing but the root is above both.
        let top = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        return if top(domain) == top(&author.start) { Err(()) } else { Ok(false) };
    }
    // Only what lies within the author's organization can have the same one.
    if strict || !is_within(domain, author.organization()) {
        return Ok(false);
    }
    let other = Walk::from(names, domain).await?;
    if other.open { Err(()) } else { Ok(other.organization() == author.organization()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailauth::names::fake::Zone;

    fn zone(records: &[(&str, &str)]) -> Zone {
        records.iter().fold(Zone::default(), |zone, (name, text)| zone.with_txt(&format!("_dmarc.{name}"), text))
    }

    async fn verdict(zone: &Zone, author: &str, spf: &[&str], dkim: &[&str]) -> Verdict {
        let walk = Walk::from(zone, author).await.unwrap();
        let witness =
            |dkim| move |domain: &&str| Witness { domain: (*domain).to_owned(), outcome: Outcome::Pass, dkim };
        let witnesses: Vec<Witness> = spf.iter().map(witness(false)).chain(dkim.iter().map(witness(true))).collect();
        judge(zone, &walk, &witnesses).await
    }

    /// Records; author; SPF and DKIM domains that passed; result; policy; where the record was.
    type Case<'a> =
        (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a [&'a str], &'a [&'a str], Outcome, Policy, &'a str);

    #[tokio::test]
    #[rustfmt::skip]
    async fn the_table() {
        use Outcome::{Fail, None as Nothing, Pass};
        use Policy::{None, Quarantine, Reject};
        const X: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=reject; sp=quarantine; np=none")];
        const NP: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=none; sp=quarantine; np=reject")];
        const STRICT: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=reject; adkim=s; aspf=s")];
        const PSD: &[(&str, &str)] = &[("bank", "v=DMARC1; p=reject; psd=y"), ("y.bank", "v=DMARC1; p=none")];
        const BARE: &[(&str, &str)] = &[("bank", "v=DMARC1; p=reject; psd=y")];
        const CUT: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=none"), ("a.x.test", "v=DMARC1; p=reject; psd=n")];
        const BOTH: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=reject"), ("x.test", "v=DMARC1; p=none")];
        let cases: &[Case<'_>] = &[
            ("no record", &[], "x.test", &["x.test"], &["x.test"], Nothing, None, ""),
            ("own record, nothing speaks for it", X, "x.test", &[], &[], Fail, Reject, "x.test"),
            ("SPF of the same name", X, "x.test", &["x.test"], &[], Pass, Reject, "x.test"),
            ("DKIM of a name below (4.10.2)", X, "x.test", &[], &["m.x.test"], Pass, Reject, "x.test"),
            ("DKIM of somebody else", X, "x.test", &["y.test"], &["x.test.y.test", "ax.test"], Fail, Reject, "x.test"),
            ("a name below its record, sp", &[("x.test", "v=DMARC1; p=reject; sp=none")], "a.x.test", &[], &[], Fail, None, "x.test"),
            ("sp is p without it", &[("x.test", "v=DMARC1; p=quarantine")], "a.x.test", &[], &[], Fail, Quarantine, "x.test"),
            ("np of a name that does not exist", NP, "no.x.test", &[], &[], Fail, Reject, "x.test"),
            ("sister names are one organization", X, "a.x.test", &["b.x.test"], &[], Pass, None, "x.test"),
            ("strict: the same name", STRICT, "x.test", &["x.test"], &[], Pass, Reject, "x.test"),
            ("strict: a name below", STRICT, "x.test", &["a.x.test"], &["b.x.test"], Fail, Reject, "x.test"),
            ("t=y takes reject one down", &[("x.test", "v=DMARC1; p=reject; t=y")], "x.test", &[], &[], Fail, Quarantine, "x.test"),
            ("t=y takes quarantine one down", &[("x.test", "v=DMARC1; p=quarantine; t=y")], "x.test", &[], &[], Fail, None, "x.test"),
            ("the own record before the suffix's", PSD, "y.bank", &[], &[], Fail, None, "y.bank"),
            ("the suffix's for who has none", PSD, "z.bank", &[], &[], Fail, Reject, "bank"),
            ("one organization for each name below a suffix", BARE, "a.z.bank", &["b.z.bank"], &[], Pass, Reject, "bank"),
            ("names below a suffix are strangers", BARE, "a.z.bank", &["y.bank"], &[], Fail, Reject, "bank"),
            ("a suffix that writes itself", BARE, "bank", &[], &[], Fail, Reject, "bank"),
            ("psd=n cuts the tree", CUT, "b.a.x.test", &["x.test"], &[], Fail, Reject, "a.x.test"),
            ("psd=n: within it", CUT, "b.a.x.test", &["c.a.x.test"], &[], Pass, Reject, "a.x.test"),
            ("the longest name is asked whole, then seven labels", &[("3.4.5.6.7.8.x.test", "v=DMARC1; p=none"), ("4.5.6.7.8.x.test", "v=DMARC1; p=reject")], "1.2.3.4.5.6.7.8.x.test", &[], &[], Fail, Reject, "4.5.6.7.8.x.test"),
            ("the shortest name is the organization", &[("a.x.test", "v=DMARC1; p=none"), ("x.test", "v=DMARC1; p=reject")], "b.a.x.test", &["x.test"], &[], Pass, Reject, "x.test"),
            ("two records are none", BOTH, "x.test", &[], &[], Nothing, None, ""),
            ("other text beside it does not hurt", &[("x.test", "v=spf1 -all"), ("x.test", "v=DMARC1; p=reject")], "x.test", &[], &[], Fail, Reject, "x.test"),
            ("no p but reports are none", &[("x.test", "v=DMARC1; rua=mailto:a@x.test")], "x.test", &[], &[], Fail, None, "x.test"),
            ("a p that nobody knows, with reports", &[("x.test", "v=DMARC1; p=destroy; rua=mailto:a@x.test")], "x.test", &[], &[], Fail, None, "x.test"),
            ("a p that nobody knows, without", &[("x.test", "v=DMARC1; p=destroy")], "x.test", &[], &[], Nothing, None, ""),
            ("v= has to come first", &[("x.test", "p=reject; v=DMARC1")], "x.test", &[], &[], Nothing, None, ""),
            ("pct is not asked any more", &[("x.test", "v=DMARC1; p=reject; pct=0")], "x.test", &[], &[], Fail, Reject, "x.test"),
            ("an sp that nobody knows is as if it were not there", &[("x.test", "v=DMARC1; p=reject; sp=x")], "a.x.test", &[], &[], Fail, Reject, "x.test"),
        ];
        for (what, records, author, spf, dkim, outcome, policy, place) in cases {
            let verdict = verdict(&zone(records), author, spf, dkim).await;
            let found = verdict.record.as_ref().map_or("", |(place, _)| place.as_str());
            assert_eq!((verdict.outcome, verdict.policy, found), (*outcome, *policy, *place), "{what}");
        }
        assert_eq!(cases.len(), 30);
    }

    #[tokio::test]
    async fn an_existing_name_below_has_sp_and_not_np() {
        let zone =
            zone(&[("x.test", "v=DMARC1; p=none; sp=quarantine; np=reject")]).with_address("a.x.test", "192.0.2.1");
        assert_eq!(verdict(&zone, "a.x.test", &[], &[]).await.policy, Policy::Quarantine);
    }

    #[tokio::test]
    async fn what_cannot_be_found_out_fails_nobody() {
        let mut zone = zone(&[("x.test", "v=DMARC1; p=reject")]);
        let walk = Walk::from(&zone, "x.test").await.unwrap();
        let unknown = |domain: &str| [Witness { domain: domain.into(), outcome: Outcome::TempError, dkim: true }];
        assert_eq!(judge(&zone, &walk, &unknown("x.test")).await.outcome, Outcome::TempError);
        assert_eq!(judge(&zone, &walk, &unknown("y.test")).await.outcome, Outcome::Fail);
        zone.txt.insert("_dmarc.m.x.test".into(), Err(Missing::Unknown));
        let pass = [Witness { domain: "m.x.test".into(), outcome: Outcome::Pass, dkim: true }];
        assert_eq!(judge(&zone, &walk, &pass).await.outcome, Outcome::TempError);
        assert!(Walk::from(&zone, "m.x.test").await.is_err());
    }

    #[tokio::test]
    async fn an_own_record_counts_though_nothing_above_it_answers() {
        let mut zone =
            zone(&[("x.test", "v=DMARC1; p=reject"), ("m.x.test", "v=DMARC1; p=none"), ("y.test", "v=DMARC1; p=none")]);
        zone.txt.insert("_dmarc.test".into(), Err(Missing::Unknown));
        let outcome = async |spf: &[&str], dkim: &[&str]| {
            let verdict = verdict(&zone, "x.test", spf, dkim).await;
            assert_eq!(verdict.policy, Policy::Reject);
            verdict.outcome
        };
        assert_eq!(outcome(&["x.test"], &[]).await, Outcome::Pass, "the same name");
        assert_eq!(outcome(&["x.example"], &["y.invalid"]).await, Outcome::Fail, "nothing in common");
        assert_eq!(outcome(&[], &[]).await, Outcome::Fail, "nothing speaks for it");
        assert_eq!(outcome(&[], &["m.x.test"]).await, Outcome::TempError, "perhaps of one organization");
        assert_eq!(outcome(&["y.test"], &[]).await, Outcome::TempError);
        // Seen from a name that is asked about, above which it is dark.
        let other = Walk::from(&zone, "m.x.test").await.unwrap();
        assert!(other.open);
    }

    #[tokio::test]
    async fn no_more_than_eight_questions_for_one_name() {
        struct Counting(std::sync::atomic::AtomicUsize);
        impl Names for Counting {
            fn txt<'a>(&'a self, _: &'a str) -> crate::mailauth::names::Found<'a, Vec<u8>> {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Box::pin(std::future::ready(Err(Missing::NoName)))
            }
            fn a<'a>(&'a self, _: &'a str) -> crate::mailauth::names::Found<'a, std::net::IpAddr> {
                unreachable!()
            }
            fn aaaa<'a>(&'a self, _: &'a str) -> crate::mailauth::names::Found<'a, std::net::IpAddr> {
                unreachable!()
            }
            fn mx<'a>(&'a self, _: &'a str) -> crate::mailauth::names::Found<'a, String> {
                unreachable!()
            }
            fn ptr(&self, _: std::net::IpAddr) -> crate::mailauth::names::Found<'_, String> {
                unreachable!()
            }
        }
        let names = Counting(Default::default());
        let long = vec!["a"; 100].join(".");
        assert!(Walk::from(&names, &long).await.unwrap().found.is_empty());
        assert_eq!(names.0.load(std::sync::atomic::Ordering::SeqCst), 8);
    }
}
