//! Pages in the language of who reads them: whole pages go in in English, and come out in another language.
//!
//! A language is a text file of phrases ([`phrases`] has its format): those in this folder are in the binary, others come from
//! `languages/` of the data folder. No page and no sentence elsewhere knows that there is more than English; what has no
//! phrase stays English. Console and command line are English.
//!
//! Does not know: what a page is about, files, requests.
//!
//! Invariants, cited by tests:
//! - L1: whatever people or strangers put on a page, a translated page has the same elements with the same attributes, but for
//!   words that are shown and `lang`; no text becomes markup.
//! - L2: the time is linear in the page, whatever is on it.
//! - L3: what has `translate="no"`, what is code, and what a form sends is never changed.
//! - L4: a language's file that is broken costs the phrases that are broken and nothing else.

mod page;
mod phrases;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use page::Page;
pub use phrases::{Fault, Language};

/// What all pages are written in.
pub const ENGLISH: &str = "en";

const BUILT_IN: [(&str, &str); 1] = [("de", include_str!("de.txt"))];
/// More than that is no list to choose from.
const LANGUAGES: usize = 64;
/// Of an Accept-Language field, what is looked at.
const ACCEPTED_BYTES: usize = 512;

/// All languages that pages can be shown in.
#[derive(Clone, Debug)]
pub struct Languages {
    all: Vec<Language>,
}

impl Languages {
    pub fn built_in() -> Languages {
        let mut languages = Languages { all: Vec::new() };
        for (code, text) in BUILT_IN {
            // Tests keep them free of faults.
            languages.add(code, text);
        }
        languages
    }

    /// Phrases of a language, new or not; what was there before gives way to what is new. `code` is a language's tag, as in
    /// `de` or `pt-br`. Gives what is wrong with the text, which is left out.
    pub fn add(&mut self, code: &str, text: &str) -> Vec<Fault> {
        let code = code.to_ascii_lowercase();
        if !is_code(&code) || code == ENGLISH {
            return vec![Fault::whole("the file is not called by a language's tag, as de.txt is")];
        }
        let at = match self.all.iter().position(|language| language.code() == code) {
            Some(at) => at,
            None if self.all.len() >= LANGUAGES => return vec![Fault::whole("there are too many languages already")],
            None => {
                self.all.push(Language::new(&code));
                self.all.sort_by(|one, other| one.code().cmp(other.code()));
                match self.all.iter().position(|language| language.code() == code) {
                    Some(at) => at,
                    None => return Vec::new(),
                }
            }
        };
        self.all.get_mut(at).map(|language| language.read(text)).unwrap_or_default()
    }

    /// Tag and name of each, as it calls itself.
    pub fn choices(&self) -> Vec<(&str, &str)> {
        let others = self.all.iter().map(|language| (language.code(), language.name()));
        std::iter::once((ENGLISH, "English")).chain(others).collect()
    }

    pub fn has(&self, code: &str) -> bool {
        code == ENGLISH || self.of(code).is_some()
    }

    /// `None`: as it is written, in English.
    pub fn of(&self, code: &str) -> Option<&Language> {
        self.all.iter().find(|language| language.code() == code)
    }

    /// The first that somebody wants and that there is. `wanted`: tags of choices that were made, the strongest first, empty
    /// where none was; `accepted`: what the browser says (Accept-Language, RFC 9110 12.5.4), for who chose nothing.
    pub fn pick(&self, wanted: &[&str], accepted: &str) -> &str {
        let find = |tag: &str| self.choices().into_iter().map(|(code, _)| code).find(|code| *code == tag);
        if let Some(code) = wanted.iter().find_map(|tag| find(tag)) {
            return code;
        }
        let mut ranked: Vec<(u32, String)> = Vec::new();
        let end =
            (0..=accepted.len().min(ACCEPTED_BYTES)).rev().find(|end| accepted.is_char_boundary(*end)).unwrap_or(0);
        for one in accepted[..end].split(',') {
            let mut parts = one.split(';');
            let tag = parts.next().unwrap_or("").trim().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(Some(1000), thousandths);
            if let Some(weight) = weight.filter(|weight| *weight > 0) {
                ranked.push((weight, tag));
            }
        }
        ranked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        // RFC 4647 3.4: a tag that there is not is looked for without its end.
        let found = ranked.iter().find_map(|(_, tag)| find(tag).or_else(|| find(tag.split('-').next().unwrap_or(""))));
        found.unwrap_or(ENGLISH)
    }

    /// A page in that language, or as it is.
    pub fn page(&self, code: &str, html: String) -> String {
        match self.of(code) {
            Some(language) => language.page(&html).html,
            None => html,
        }
    }

    /// A sentence that stands alone, not in HTML.
    pub fn words(&self, code: &str, sentence: &str) -> String {
        self.of(code).and_then(|language| language.words(sentence)).unwrap_or_else(|| sentence.to_owned())
    }
}

/// For who needs no more than what is built in.
pub fn built_in() -> Arc<Languages> {
    Arc::new(Languages::built_in())
}

/// For tests: what of a page has no phrase in some language that is built in.
#[cfg(test)]
pub(crate) fn missing(html: &str) -> Vec<String> {
    let languages = Languages::built_in();
    languages.all.iter().flat_map(|language| language.page(html).missing).collect()
}

/// A tag that can be a file's name: `de`, `pt-br`, `sr-latn`.
fn is_code(code: &str) -> bool {
    let mut parts = code.split('-');
    let first = parts.next().unwrap_or("");
    let fine =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (2..=3).contains(&first.len()) && code.len() <= 16 && fine(first) && parts.all(fine)
}

/// RFC 9110 12.4.2: `0.8` is 800.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    Some((whole * 1000 + part).min(1000))
}
