//! What servers on the way have sealed (RFC 8617).

use crate::message::header::{self, Field};

use super::Outcome;
use super::canon::Form;
use super::dkim::{Key, Signature, Why, algorithm, bytes, own_field, place};
use super::letter::Letter;
use super::names::Names;
use super::results;
use super::tags::Tags;

/// RFC 8617 5.1.1.1: longer chains need not be looked at.
const SETS: usize = 50;
/// Keys that are asked for, one chain; a chain with more servers is nobody's.
const ASKED: usize = 10;

/// A chain of seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub outcome: Outcome,
    pub reason: Option<&'static str>,
    /// Who sealed it, the newest first.
    pub seals: Vec<Seal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub domain: String,
    pub selector: String,
    /// That server found that DMARC passed.
    pub dmarc_pass: bool,
}

impl Chain {
    pub(super) fn none() -> Chain {
        Chain { outcome: Outcome::None, reason: None, seals: Vec::new() }
    }

    pub(super) fn unknown(why: &'static str) -> Chain {
        Chain { outcome: Outcome::TempError, reason: Some(why), seals: Vec::new() }
    }
}

struct Set<'a> {
    results: Field<'a>,
    message: Field<'a>,
    seal: Field<'a>,
}

const fn fail(why: &'static str) -> Why {
    (Outcome::Fail, why)
}

/// RFC 8617 5.2.
pub(super) async fn verify(names: &dyn Names, letter: &Letter) -> Chain {
    match try_verify(names, letter).await {
        Ok(chain) => chain,
        Err((outcome, why)) => Chain {
            // Of a chain there is no permanent error, only one that fails (RFC 8617 4.4).
            outcome: if outcome == Outcome::TempError { outcome } else { Outcome::Fail },
            reason: Some(why),
            seals: Vec::new(),
        },
    }
}

async fn try_verify(names: &dyn Names, letter: &Letter) -> Result<Chain, Why> {
    let Some(sets) = sets(&letter.header)? else { return Ok(Chain::none()) };
    let mut seals = Vec::new();
    for (n, set) in sets.iter().enumerate() {
        let tags = Tags::read(set.seal.raw_value).ok_or(fail("a seal is no tag list"))?;
        // 5.1.1: the first says that there was none before it, the others that what was there passed.
        let expected = if n == 0 { "none" } else { "pass" };
        if tags.packed("cv").as_deref() != Some(expected) || tags.get("h").is_some() {
            return Err(fail("a server on the way found the chain broken"));
        }
        let (domain, selector) = place(&tags)?;
        let dmarc_pass = results::says_dmarc_pass(&set.results.value());
        seals.push(Seal { domain, selector, dmarc_pass });
    }
    seals.reverse();
    let Some(newest) = sets.last() else { return Ok(Chain::none()) };
    Signature::read(newest.message.raw_value, false)?.verify(names, letter, newest.message.raw, None).await?;

    for last in (0..sets.len()).rev() {
        let tags = Tags::read(sets[last].seal.raw_value).ok_or(fail("a seal is no tag list"))?;
        let (domain, selector) = place(&tags)?;
        let mut signed = Vec::new();
        for (n, set) in sets.iter().take(last + 1).enumerate() {
            Form::Relaxed.field(set.results.raw, &mut signed);
            Form::Relaxed.field(set.message.raw, &mut signed);
            if n == last {
                own_field(set.seal.raw, Form::Relaxed, &mut signed);
            } else {
                Form::Relaxed.field(set.seal.raw, &mut signed);
            }
        }
        let key = Key::of(names, &selector, &domain).await?;
        key.verify(&signed, &bytes(&tags, "b")?, algorithm(&tags)?)?;
    }
    Ok(Chain { outcome: Outcome::Pass, reason: None, seals })
}

/// The sets in their order, each of them whole. `None`: there is no chain.
fn sets(header: &[u8]) -> Result<Option<Vec<Set<'_>>>, Why> {
    let of = |name: &str| -> Result<Vec<(usize, Field<'_>)>, Why> {
        let mut found = Vec::new();
        for field in header::fields(header).filter(|field| field.is(name)).take(SETS + 1) {
            found.push((instance(&field).ok_or(fail("a part of the chain has no number"))?, field));
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found)
    };
    let (results, messages, seals) = (of("ARC-Authentication-Results")?, of("ARC-Message-Signature")?, of("ARC-Seal")?);
    if results.is_empty() && messages.is_empty() && seals.is_empty() {
        return Ok(None);
    }
    if seals.len() > ASKED {
        return Err(fail("the chain is too long"));
    }
    let whole = |parts: &[(usize, Field<'_>)]| {
        parts.len() == seals.len() && parts.iter().enumerate().all(|(n, (number, _))| n + 1 == *number)
    };
    if !whole(&results) || !whole(&messages) || !whole(&seals) {
        return Err(fail("the chain is incomplete"));
    }
    let parts = results.into_iter().zip(messages).zip(seals);
    Ok(Some(parts.map(|(((_, results), (_, message)), (_, seal))| Set { results, message, seal }).collect()))
}

/// `i=`, which of the results stands before all else and is no tag list (RFC 8617 4.1.1).
fn instance(field: &Field<'_>) -> Option<usize> {
    let value = field.value();
    let text = if field.is("ARC-Authentication-Results") {
        let (first, _) = std::str::from_utf8(&value).ok()?.split_once(';')?;
        first.trim().strip_prefix('i')?.trim().strip_prefix('=')?.trim().to_owned()
    } else {
        Tags::read(&value)?.packed("i")?
    };
    text.parse().ok().filter(|number| (1..=SETS).contains(number))
}
