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
    /// Neither a policy that can be read nor anybody who wants reports: it has its place in the tree, and letters that it would
    /// speak for are judged by no DMARC at all (RFC 9989 4.10.1).
    pub silent: bool,
}

impl Record {
    /// `None`: not a DMARC record (RFC 9989 4.7: `v=` is the first tag).
    ///
    /// Of a `p`, `sp` or `np` that is not valid RFC 9989 says two things. 4.8 has each mistake passed over in favour of what the tag
    /// is when it is not there; 4.10.1 has the whole record be `p=none` where it asks for reports, else no DMARC for the letter. The
    /// second is the one about just this, and the milder one: it is done. So also where `p` is not there (4.7 would have it `none`).
    pub fn read(bytes: &[u8]) -> Option<Record> {
        let tags = Tags::read_what_can_be(bytes);
        if tags.first() != Some(("v", "DMARC1")) {
            return None;
        }
        let list = |name: &str| -> Vec<String> {
            let text = tags.get(name).unwrap_or_default();
            text.split(',').map(|uri| uri.trim().to_owned()).filter(|uri| is_uri(uri)).take(20).collect()
        };
        let (rua, ruf) = (list("rua"), list("ruf"));
        let policy = |name: &str| tags.get(name).map(Policy::read);
        let valid = match (policy("p"), policy("sp"), policy("np")) {
            (None | Some(None), ..) | (_, Some(None), _) | (.., Some(None)) => None,
            (Some(Some(p)), sp, np) => {
                let sp = sp.flatten().unwrap_or(p);
                Some((p, sp, np.flatten().unwrap_or(sp)))
            }
        };
        let (p, sp, np) = valid.unwrap_or((Policy::None, Policy::None, Policy::None));
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
            np,
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            psd: is("psd", "y").then_some(true).or(is("psd", "n").then_some(false)),
            testing: is("t", "y"),
            silent: valid.is_none() && rua.is_empty(),
            rua,
            ruf,
            fo: if options.is_empty() { vec!['0'] } else { options },
        })
    }
}

/// RFC 3986 3.1: a scheme, and something behind it.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme)
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic())
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
                    // Of several none counts, be it that only one of them can be read beyond its `v=` (RFC 9989 4.10, 2).
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
    let Some((place, record)) = walk.policy_record().filter(|(_, record)| !record.silent) else {
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
        const ADKIM: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=reject; adkim=s; aspf=r")];
        const ASPF: &[(&str, &str)] = &[("x.test", "v=DMARC1; p=reject; adkim=r; aspf=s")];
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
            ("an sp that nobody knows, with reports (4.10.1)", &[("x.test", "v=DMARC1; p=reject; sp=x; rua=mailto:a@x.test")], "x.test", &[], &[], Fail, None, "x.test"),
            ("an sp that nobody knows, without", &[("x.test", "v=DMARC1; p=reject; sp=x")], "a.x.test", &[], &[], Nothing, None, ""),
            ("an np that nobody knows, with reports", &[("x.test", "v=DMARC1; p=reject; np=x; rua=mailto:a@x.test")], "no.x.test", &[], &[], Fail, None, "x.test"),
            ("an np that nobody knows, without", &[("x.test", "v=DMARC1; p=reject; np=")], "x.test", &[], &[], Nothing, None, ""),
            ("neither p nor reports", &[("x.test", "v=DMARC1")], "x.test", &[], &[], Nothing, None, ""),
            ("reports to what is no URI", &[("x.test", "v=DMARC1; rua=:, x, 1a:b, mailto:")], "x.test", &[], &[], Nothing, None, ""),
            ("a record of nothing is the author's all the same (4.10.1)", &[("x.test", "v=DMARC1; p=reject"), ("a.x.test", "v=DMARC1; p=destroy")], "a.x.test", &[], &[], Nothing, None, ""),
            ("a record of nothing with psd=n cuts the tree (4.10, 2)", &[("x.test", "v=DMARC1; p=reject"), ("a.x.test", "v=DMARC1; psd=n"), ("b.a.x.test", "v=DMARC1; p=reject")], "b.a.x.test", &["x.test"], &[], Fail, Reject, "b.a.x.test"),
            ("two records, one of which says nothing, are none", &[("x.test", "v=DMARC1; p=reject"), ("x.test", "v=DMARC1; p=destroy")], "x.test", &[], &[], Nothing, None, ""),
            ("and above it one counts again", &[("a.x.test", "v=DMARC1"), ("a.x.test", "v=DMARC1; p=none"), ("x.test", "v=DMARC1; p=reject")], "a.x.test", &[], &[], Fail, Reject, "x.test"),
            ("v= has to come first, also behind what is no tag", &[("x.test", "hello; v=DMARC1; p=reject")], "x.test", &[], &[], Nothing, None, ""),
            ("and behind nothing", &[("x.test", "; v=DMARC1; p=reject")], "x.test", &[], &[], Nothing, None, ""),
            ("the version is told by its case, too (4.7)", &[("x.test", "v=dmarc1; p=reject")], "x.test", &[], &[], Nothing, None, ""),
            ("policies are not", &[("x.test", "v=DMARC1; p=REJECT; t=Y")], "x.test", &[], &[], Fail, Quarantine, "x.test"),
            ("nor alignment", &[("x.test", "v=DMARC1; p=Reject; adkim=S; aspf=S")], "x.test", &["a.x.test"], &["a.x.test"], Fail, Reject, "x.test"),
            ("nor psd", &[("x.test", "v=DMARC1; p=none"), ("a.x.test", "v=DMARC1; p=reject; psd=N")], "b.a.x.test", &["x.test"], &[], Fail, Reject, "a.x.test"),
            ("adkim=s alone: SPF of a name below", ADKIM, "x.test", &["a.x.test"], &[], Pass, Reject, "x.test"),
            ("adkim=s alone: DKIM of a name below", ADKIM, "x.test", &[], &["a.x.test"], Fail, Reject, "x.test"),
            ("aspf=s alone: SPF of a name below", ASPF, "x.test", &["a.x.test"], &[], Fail, Reject, "x.test"),
            ("aspf=s alone: DKIM of a name below", ASPF, "x.test", &[], &["a.x.test"], Pass, Reject, "x.test"),
            ("a name below with an organization of its own: DKIM (4.10.2)", CUT, "x.test", &[], &["c.a.x.test"], Fail, None, "x.test"),
            ("a name below with an organization of its own: SPF", CUT, "x.test", &["c.a.x.test"], &[], Fail, None, "x.test"),
            ("psd=n at the author: what is above is of another", CUT, "a.x.test", &["x.test"], &["b.x.test"], Fail, Reject, "a.x.test"),
            ("psd=n at the author: what is below is of the same", CUT, "a.x.test", &[], &["b.a.x.test"], Pass, Reject, "a.x.test"),
            ("psd=u says nothing", &[("x.test", "v=DMARC1; p=none"), ("a.x.test", "v=DMARC1; p=reject; psd=u")], "a.x.test", &["x.test"], &[], Pass, Reject, "a.x.test"),
            ("nor does a psd that nobody knows", &[("x.test", "v=DMARC1; p=none"), ("a.x.test", "v=DMARC1; p=reject; psd=q")], "a.x.test", &["x.test"], &[], Pass, Reject, "a.x.test"),
            ("t=y takes np one down", &[("x.test", "v=DMARC1; p=none; sp=none; np=reject; t=y")], "no.x.test", &[], &[], Fail, Quarantine, "x.test"),
            ("t=y takes sp one down", &[("x.test", "v=DMARC1; p=none; sp=reject; t=y")], "a.x.test", &[], &[], Fail, Quarantine, "x.test"),
            ("t=n takes nothing", &[("x.test", "v=DMARC1; p=reject; t=n")], "x.test", &[], &[], Fail, Reject, "x.test"),
            ("far below its record: ten labels", X, "1.2.3.4.5.6.7.8.x.test", &[], &["x.test"], Pass, None, "x.test"),
            ("seven labels", X, "1.2.3.4.5.x.test", &[], &["x.test"], Pass, None, "x.test"),
            ("eight labels", X, "1.2.3.4.5.6.x.test", &[], &["x.test"], Pass, None, "x.test"),
            ("nine labels", X, "1.2.3.4.5.6.7.x.test", &[], &["x.test"], Pass, None, "x.test"),
        ];
        for (what, records, author, spf, dkim, outcome, policy, place) in cases {
            let verdict = verdict(&zone(records), author, spf, dkim).await;
            let found = verdict.record.as_ref().map_or("", |(place, _)| place.as_str());
            assert_eq!((verdict.outcome, verdict.policy, found), (*outcome, *policy, *place), "{what}");
        }
        assert_eq!(cases.len(), 62);
    }

    /// RFC 9989 4.7, np, of names that do not exist (RFC 8020): one without addresses does, as long as anything is below it.
    #[tokio::test]
    async fn an_existing_name_below_has_sp_and_not_np() {
        let policy = async |records: &str, with: fn(Zone) -> Zone| {
            let zone = with(zone(&[("x.test", records)]));
            verdict(&zone, "a.x.test", &[], &[]).await.policy
        };
        let there: fn(Zone) -> Zone = |zone| zone.with_address("a.x.test", "192.0.2.1");
        let empty: fn(Zone) -> Zone = |zone| zone.with_address("b.a.x.test", "192.0.2.1");
        let gone: fn(Zone) -> Zone = |zone| zone;
        let dark: fn(Zone) -> Zone = |mut zone| {
            zone.dark.push("a.x.test".into());
            zone
        };
        let (harsh, mild) =
            ("v=DMARC1; p=none; sp=quarantine; np=reject", "v=DMARC1; p=none; sp=reject; np=quarantine");
        for (with, harsh_is, mild_is) in [
            (there, Policy::Quarantine, Policy::Reject),
            (empty, Policy::Quarantine, Policy::Reject),
            (gone, Policy::Reject, Policy::Quarantine),
            // Nobody knows: the milder one.
            (dark, Policy::Quarantine, Policy::Quarantine),
        ] {
            assert_eq!((policy(harsh, with).await, policy(mild, with).await), (harsh_is, mild_is));
        }
        assert_eq!(policy("v=DMARC1; p=none; sp=reject; np=none; t=y", there).await, Policy::Quarantine);
        assert_eq!(policy("v=DMARC1; p=reject; sp=none; np=quarantine; t=y", gone).await, Policy::None);
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

    /// RFC 9989 4.10: its example of thirteen labels, the lengths around the short cut, and one without end.
    #[tokio::test]
    async fn no_more_than_eight_questions_for_one_name() {
        struct Asked(std::sync::Mutex<Vec<String>>);
        impl Names for Asked {
            fn txt<'a>(&'a self, name: &'a str) -> crate::mailauth::names::Found<'a, Vec<u8>> {
                self.0.lock().unwrap().push(name.to_owned());
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
        let asked = async |name: &str| {
            let names = Asked(Default::default());
            assert!(Walk::from(&names, name).await.unwrap().found.is_empty());
            names.0.into_inner().unwrap()
        };
        let example = [
            "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com",
            "_dmarc.g.h.i.j.mail.example.com",
            "_dmarc.h.i.j.mail.example.com",
            "_dmarc.i.j.mail.example.com",
            "_dmarc.j.mail.example.com",
            "_dmarc.mail.example.com",
            "_dmarc.example.com",
            "_dmarc.com",
        ];
        assert_eq!(asked("a.b.c.d.e.f.g.h.i.j.mail.example.com").await, example);
        for (labels, lengths) in [
            (7, vec![7, 6, 5, 4, 3, 2, 1]),
            (8, vec![8, 7, 6, 5, 4, 3, 2, 1]),
            (9, vec![9, 7, 6, 5, 4, 3, 2, 1]),
            (100, vec![100, 7, 6, 5, 4, 3, 2, 1]),
        ] {
            let all: Vec<String> = (0..labels).map(|n| format!("l{n}")).collect();
            let wanted: Vec<String> =
                lengths.iter().map(|length| format!("_dmarc.{}", all[labels - length..].join("."))).collect();
            assert_eq!(asked(&all.join(".")).await, wanted, "{labels} labels");
        }
    }
}
