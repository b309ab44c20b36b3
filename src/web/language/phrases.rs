//! The phrases of a language: its text file, and how a phrase is found.
//!
//! The file is UTF-8. A line that begins with `#` is for people. The first other line is `Language:` with the name that the
//! language has in itself. Then come pairs of lines, an English phrase and under it the same in the language; empty lines
//! between pairs are as you like.
//!
//! ```text
//! {} has a letter box.
//! {} hat ein Postfach.
//!
//! waits for {what:words}, until about {when}
//! wartet auf {what:words}, bis etwa {when}
//! ```
//!
//! `{}` or `{name}` is a gap: a name, a number, or a part of the sentence that is bold or a link. What is in it stays as it is
//! (a bold part is looked up by itself). `{name:words}` stands for words that are looked up by themselves, `{name:number}` for a
//! number. Both lines of a pair have the same gaps; those with names may change places.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

/// More is not a file of phrases.
const FILE_BYTES: usize = 1 << 20;
const PHRASES: usize = 20_000;
const LINE_BYTES: usize = 4000;
const GAPS: usize = 8;
/// A longer text has no phrase with gaps; the longest that is written here has a fifth of it.
const TEXT_BYTES: usize = 2500;
/// Bytes that are not in gaps, of a phrase whose gap may hold more than one sentence.
const FIXED_ACROSS: usize = 24;
/// Words within words within a phrase.
const DEPTH: u8 = 4;
/// Bytes that may be looked at for each byte of a text.
const FUEL: usize = 1000;
/// Sentences of one text that are looked at one by one.
const SENTENCES: usize = 12;

/// Stands in a text for an element, so that a sentence with a link in it is one.
pub(super) const ELEMENT: char = '\u{fffc}';

/// What is wrong with a line of a language's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    pub words: String,
}

impl Fault {
    pub(super) fn whole(words: &str) -> Fault {
        Fault { line: 0, words: words.to_owned() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.words),
            line => write!(f, "line {line}: {}", self.words),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Number,
    Words,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fixed(String),
    /// By its place in the English phrase.
    Gap(usize, Kind),
}

/// A phrase with gaps.
#[derive(Clone, Debug)]
struct Pattern {
    english: Vec<Part>,
    other: Vec<Part>,
    /// Bytes that are not in gaps: who has more of them fits better.
    fixed: usize,
}

/// What a text becomes: words of the language, or a piece of what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Words(String),
    /// Bytes of the text that was looked up.
    Kept(usize, usize),
}

/// A language that pages can be shown in.
#[derive(Clone, Debug)]
pub struct Language {
    code: String,
    name: String,
    exact: HashMap<String, String>,
    /// Phrases with gaps by their first word, the one with the most fixed bytes first; those that begin with a gap are under the
    /// empty word.
    patterns: HashMap<String, Vec<Pattern>>,
    count: usize,
}

impl Language {
    pub(super) fn new(code: &str) -> Language {
        Language {
            code: code.to_owned(),
            name: code.to_owned(),
            exact: HashMap::new(),
            patterns: HashMap::new(),
            count: 0,
        }
    }

    pub fn code(&self) -> &str {
        &self.code
    }

    /// As it calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// L4: what cannot be used is left out and said.
    pub(super) fn read(&mut self, text: &str) -> Vec<Fault> {
        if text.len() > FILE_BYTES {
            return vec![Fault::whole("the file is too long for phrases")];
        }
        let mut faults = Vec::new();
        let mut open: Option<(usize, String)> = None;
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            if line.is_empty() {
                if let Some((at, english)) = open.take() {
                    faults.push(Fault { line: at + 1, words: format!("`{}` has no line under it", short(&english)) });
                }
                continue;
            }
            if open.is_none()
                && let Some(name) = line.strip_prefix("Language:")
            {
                self.name = name.trim().chars().take(40).collect();
                continue;
            }
            match open.take() {
                None => open = Some((at, line.to_owned())),
                Some((from, english)) => {
                    if let Err(words) = self.pair(&english, line) {
                        faults.push(Fault { line: from + 1, words });
                    }
                }
            }
        }
        if let Some((at, english)) = open {
            faults.push(Fault { line: at + 1, words: format!("`{}` has no line under it", short(&english)) });
        }
        for patterns in self.patterns.values_mut() {
            patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.fixed));
        }
        faults
    }

    fn pair(&mut self, english: &str, other: &str) -> Result<(), String> {
        if english.len() > LINE_BYTES || other.len() > LINE_BYTES {
            return Err("a line is too long".to_owned());
        }
        if self.count >= PHRASES {
            return Err("there are too many phrases".to_owned());
        }
        if english.contains(ELEMENT) || other.contains(ELEMENT) {
            return Err("there is a sign in it that stands for no letter".to_owned());
        }
        let mut names: Vec<(String, Kind)> = Vec::new();
        let from = parts(english, &mut names, true)?;
        let to = parts(other, &mut names, false)?;
        let mut places: Vec<usize> = to.iter().filter_map(gap).collect();
        places.sort_unstable();
        if places != (0..names.len()).collect::<Vec<_>>() {
            return Err(format!("the two lines of `{}` do not have the same gaps", short(english)));
        }
        self.count += 1;
        if names.is_empty() {
            self.exact.insert(fixed_of(&from), fixed_of(&to));
            return Ok(());
        }
        if from.windows(2).any(|two| two.iter().all(|part| matches!(part, Part::Gap(..)))) {
            return Err(format!("two gaps of `{}` have nothing between them", short(english)));
        }
        let fixed = from.iter().map(|part| if let Part::Fixed(text) = part { text.len() } else { 0 }).sum();
        // Only what is not just anything says that a phrase fits.
        if fixed_of(&from).trim().is_empty() && names.iter().all(|(_, kind)| *kind == Kind::Any) {
            return Err(format!("`{}` is nothing but gaps", short(english)));
        }
        let bucket = match from.first() {
            // A word that goes on in a gap is not known whole.
            Some(Part::Fixed(text)) => text.split_once(' ').map_or("", |(word, _)| word).to_owned(),
            _ => String::new(),
        };
        let patterns = self.patterns.entry(bucket).or_default();
        patterns.retain(|pattern| pattern.english != from);
        patterns.push(Pattern { english: from, other: to, fixed });
        Ok(())
    }

    /// A sentence that stands alone. `None`: there is no phrase for it.
    pub fn words(&self, sentence: &str) -> Option<String> {
        let text = plain(sentence);
        let pieces = self.look_up(&text)?;
        Some(pieces.iter().map(|piece| piece.of(&text)).collect())
    }

    /// What a text becomes. White space is single spaces in it, and none at its ends. `None`: some of it has no phrase.
    pub(super) fn look_up(&self, text: &str) -> Option<Vec<Piece>> {
        if text.len() > TEXT_BYTES {
            return is_name(text).then(|| vec![Piece::Kept(0, text.len())]);
        }
        let search = Search { language: self, fuel: Cell::new(FUEL * (text.len() + 100)) };
        search.found(text, 0, DEPTH)
    }
}

/// One look-up. What it may cost grows with the text and with nothing else (L2): when the fuel is used up there is no phrase.
struct Search<'a> {
    language: &'a Language,
    fuel: Cell<usize>,
}

impl Search<'_> {
    /// False when there is none left.
    fn burn(&self, bytes: usize) -> bool {
        match self.fuel.get().checked_sub(bytes) {
            Some(left) => self.fuel.set(left),
            None => self.fuel.set(0),
        }
        self.fuel.get() > 0
    }

    /// `base` is where the text begins in what was asked.
    fn found(&self, text: &str, base: usize, depth: u8) -> Option<Vec<Piece>> {
        if let Some(words) = self.language.exact.get(text) {
            return Some(vec![Piece::Words(words.clone())]);
        }
        if is_name(text) {
            return Some(vec![Piece::Kept(base, base + text.len())]);
        }
        if depth == 0 || !self.burn(text.len()) {
            return None;
        }
        self.by_pattern(text, base, depth, false)
            .or_else(|| self.as_sentence(text, base, depth))
            .or_else(|| self.by_sentences(text, base, depth))
            .or_else(|| self.by_pattern(text, base, depth, true))
            .or_else(|| self.by_parts(text, base, depth))
    }

    /// `across`: a gap may hold more than one sentence. Mostly it does by mistake, when two sentences stand one after the other.
    fn by_pattern(&self, text: &str, base: usize, depth: u8, across: bool) -> Option<Vec<Piece>> {
        let word = text.split_once(' ').map_or("", |(word, _)| word);
        let mut buckets = vec![self.language.patterns.get(word)];
        if !word.is_empty() {
            buckets.push(self.language.patterns.get(""));
        }
        let mut all: Vec<&Pattern> = buckets.into_iter().flatten().flatten().collect();
        all.sort_by_key(|pattern| std::cmp::Reverse(pattern.fixed));
        for pattern in all {
            if !self.burn(8 + text.len() / 8) {
                return None;
            }
            let Some(gaps) = pattern.fits(text).or_else(|| pattern.fits_backwards(text)) else { continue };
            let within = |(from, to): &(usize, usize)| text.get(*from..*to).unwrap_or("");
            // What is looked up by itself may be as long as it is.
            let kinds = pattern
                .english
                .iter()
                .filter_map(|part| if let Part::Gap(_, kind) = part { Some(*kind) } else { None });
            let several =
                |(gap, kind): (&(usize, usize), Kind)| kind != Kind::Words && sentence_end(within(gap), 0).is_some();
            // A word or two around anything would fit too much.
            if gaps.iter().zip(kinds).any(several) && !(across && pattern.fixed >= FIXED_ACROSS) {
                continue;
            }
            let mut pieces = Vec::new();
            let complete = pattern.other.iter().all(|part| match part {
                Part::Fixed(words) => {
                    pieces.push(Piece::Words(words.clone()));
                    true
                }
                Part::Gap(at, kind) => {
                    let Some((from, to)) = gaps.get(*at) else { return false };
                    let inner = within(&(*from, *to));
                    match kind {
                        Kind::Words if !inner.contains(ELEMENT) => {
                            match self.found(inner, base + from, depth.saturating_sub(1)) {
                                Some(more) => {
                                    pieces.extend(more);
                                    true
                                }
                                None => false,
                            }
                        }
                        _ => {
                            pieces.push(Piece::Kept(base + from, base + to));
                            true
                        }
                    }
                }
            });
            if complete {
                return Some(pieces);
            }
        }
        None
    }

    /// Several phrases one after the other, as many sentences in each as can be.
    fn by_sentences(&self, text: &str, base: usize, depth: u8) -> Option<Vec<Piece>> {
        let mut starts = vec![0];
        while let Some(next) = sentence_end(text, *starts.last()?) {
            starts.push(next);
            if starts.len() > SENTENCES {
                return None;
            }
        }
        if starts.len() < 2 {
            return None;
        }
        starts.push(text.len());
        let mut pieces = Vec::new();
        let mut at = 0;
        while at + 1 < starts.len() {
            let from = *starts.get(at)?;
            // The whole was looked at already.
            let last = if at == 0 { starts.len() - 2 } else { starts.len() - 1 };
            let (end, found) = (at + 1..=last).rev().find_map(|end| {
                let part = text.get(from..*starts.get(end)?)?.trim_end();
                let found = self.language.exact.get(part).map(|words| vec![Piece::Words(words.clone())]);
                let found = found.or_else(|| self.by_pattern(part, base + from, depth.saturating_sub(1), end > at + 1));
                let found = found.or_else(|| self.as_sentence(part, base + from, depth.saturating_sub(1)));
                found.map(|found| (end, found))
            })?;
            if !pieces.is_empty() {
                pieces.push(Piece::Words(" ".to_owned()));
            }
            pieces.extend(found);
            at = end;
        }
        Some(pieces)
    }

    /// A part of a sentence that was made one of its own, with a capital letter or a full stop.
    fn as_sentence(&self, text: &str, base: usize, depth: u8) -> Option<Vec<Piece>> {
        let (inner, first) = (text.strip_suffix('.').unwrap_or(text), text.chars().next()?);
        if inner == text && !first.is_ascii_uppercase() {
            return None;
        }
        // As many bytes as before, so that places stay what they are.
        let lower = if first.is_ascii_uppercase() {
            format!("{}{}", first.to_ascii_lowercase(), inner.get(1..)?)
        } else {
            inner.to_owned()
        };
        let exact = self.language.exact.get(&lower).map(|words| vec![Piece::Words(words.clone())]);
        let mut pieces = exact.or_else(|| self.by_pattern(&lower, base, depth, false))?;
        if let (Some(Piece::Words(words)), true) = (pieces.first_mut(), first.is_ascii_uppercase()) {
            let mut chars = words.chars();
            *words = chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default();
        }
        let ends = matches!(pieces.last(), Some(Piece::Words(words)) if words.ends_with(['.', '!', '?']));
        if inner != text && !ends {
            pieces.push(Piece::Words(".".to_owned()));
        }
        Some(pieces)
    }

    /// A sign before or behind the words, or several with a dot or a semicolon between them.
    fn by_parts(&self, text: &str, base: usize, depth: u8) -> Option<Vec<Piece>> {
        for between in [" · ", "; "] {
            let Some((first, rest)) = text.split_once(between) else { continue };
            let Some(mut pieces) = self.found(first, base, depth.saturating_sub(1)) else { continue };
            let behind = first.len() + between.len();
            if let Some(more) = self.found(rest, base + behind, depth.saturating_sub(1)) {
                pieces.push(Piece::Words(between.to_owned()));
                pieces.extend(more);
                return Some(pieces);
            }
        }
        let sign = |c: char| "✓→…✕!?()[]·:,;. ".contains(c);
        let from = text.len() - text.trim_start_matches(sign).len();
        let to = text.trim_end_matches(sign).len();
        if from >= to || (from == 0 && to == text.len()) {
            return None;
        }
        let around = |pieces: &mut Vec<Piece>, from: usize, to: usize| {
            if from < to {
                pieces.push(Piece::Kept(base + from, base + to));
            }
        };
        let mut pieces = Vec::new();
        // With the end first: a sentence keeps its own.
        for (from, to) in [(from, text.len()), (0, to), (from, to)] {
            let Some(inner) = text.get(from..to).filter(|inner| inner.len() < text.len()) else { continue };
            if let Some(found) = self.found(inner, base + from, depth.saturating_sub(1)) {
                around(&mut pieces, 0, from);
                pieces.extend(found);
                around(&mut pieces, to, text.len());
                return Some(pieces);
            }
        }
        None
    }
}

impl Piece {
    pub(super) fn of<'a>(&'a self, text: &'a str) -> &'a str {
        match self {
            Piece::Words(words) => words,
            Piece::Kept(from, to) => text.get(*from..*to).unwrap_or(""),
        }
    }
}

impl Pattern {
    /// Where the gaps are, if it fits. Each fixed piece is taken where it comes first, so that every byte is looked at once for
    /// each piece (L2); the last one stands at the end.
    fn fits(&self, text: &str) -> Option<Vec<(usize, usize)>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        let mut open: Option<(usize, Kind)> = None;
        let last = self.english.len().checked_sub(1)?;
        for (place, part) in self.english.iter().enumerate() {
            match part {
                Part::Gap(_, kind) => open = Some((at, *kind)),
                Part::Fixed(fixed) => {
                    let rest = text.get(at..)?;
                    let found = match (open, place == last) {
                        (None, _) => rest.starts_with(fixed.as_str()).then_some(0)?,
                        (Some(_), true) => rest.ends_with(fixed.as_str()).then(|| rest.len() - fixed.len())?,
                        (Some(_), false) => rest.find(fixed.as_str())?,
                    };
                    if let Some((from, kind)) = open.take() {
                        gaps.push(filled(text, from, at + found, kind)?);
                    }
                    at += found + fixed.len();
                    if place == last && at != text.len() {
                        return None;
                    }
                }
            }
        }
        if let Some((from, kind)) = open {
            gaps.push(filled(text, from, text.len(), kind)?);
        }
        Some(gaps)
    }

    /// The same with each fixed piece where it comes last: a number behind a date is the last one.
    fn fits_backwards(&self, text: &str) -> Option<Vec<(usize, usize)>> {
        let mut gaps = Vec::new();
        let mut at = text.len();
        let mut open: Option<(usize, Kind)> = None;
        for (place, part) in self.english.iter().enumerate().rev() {
            match part {
                Part::Gap(_, kind) => open = Some((at, *kind)),
                Part::Fixed(fixed) => {
                    let rest = text.get(..at)?;
                    let found = match (open, place) {
                        (None, _) => rest.ends_with(fixed.as_str()).then(|| rest.len() - fixed.len())?,
                        (Some(_), 0) => rest.starts_with(fixed.as_str()).then_some(0)?,
                        (Some(_), _) => rest.rfind(fixed.as_str())?,
                    };
                    if let Some((to, kind)) = open.take() {
                        gaps.push(filled(text, found + fixed.len(), to, kind)?);
                    }
                    at = found;
                    if place == 0 && at != 0 {
                        return None;
                    }
                }
            }
        }
        if let Some((to, kind)) = open {
            gaps.push(filled(text, 0, to, kind)?);
        }
        gaps.reverse();
        Some(gaps)
    }
}

fn filled(text: &str, from: usize, to: usize, kind: Kind) -> Option<(usize, usize)> {
    let inner = text.get(from..to).filter(|inner| !inner.trim().is_empty())?;
    let number = || inner.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b','));
    (kind != Kind::Number || number()).then_some((from, to))
}

fn gap(part: &Part) -> Option<usize> {
    if let Part::Gap(at, _) = part { Some(*at) } else { None }
}

fn fixed_of(parts: &[Part]) -> String {
    parts.iter().map(|part| if let Part::Fixed(text) = part { text.as_str() } else { "" }).collect()
}

/// A line of the file in its parts. The English one makes the names, the other one uses them. `{{` and `}}` are braces.
fn parts(line: &str, names: &mut Vec<(String, Kind)>, makes: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut fixed = String::new();
    let mut unnamed = 0;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(more) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            fixed.push(c);
            rest = more;
            continue;
        }
        if c != '{' {
            fixed.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (name, more) =
            rest[1..].split_once('}').ok_or_else(|| format!("a gap of `{}` does not end", short(line)))?;
        rest = more;
        let (name, kind) = name.split_once(':').unwrap_or((name, ""));
        let kind = match kind {
            "" => Kind::Any,
            "words" => Kind::Words,
            "number" => Kind::Number,
            other => return Err(format!("`{}` is no kind of gap; there are words and number", short(other))),
        };
        let name = if name.is_empty() {
            unnamed += 1;
            format!(" {unnamed}")
        } else {
            name.to_owned()
        };
        if !fixed.is_empty() {
            parts.push(Part::Fixed(std::mem::take(&mut fixed)));
        }
        let known = names.iter().position(|(one, _)| *one == name);
        let at = match (known, makes) {
            (None, true) if names.len() < GAPS => {
                names.push((name, kind));
                names.len() - 1
            }
            (Some(at), false) => at,
            (None, false) => return Err(format!("the gap {{{}}} is not in the line above", name.trim())),
            _ => return Err(format!("`{}` has a gap twice, or too many", short(line))),
        };
        let kind = names.get(at).map_or(Kind::Any, |(_, kind)| *kind);
        parts.push(Part::Gap(at, kind));
    }
    if !fixed.is_empty() {
        parts.push(Part::Fixed(fixed));
    }
    Ok(parts)
}

/// Where the next sentence begins.
fn sentence_end(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    for (at, end) in rest.match_indices(['.', '!', '?']) {
        let behind = &rest[at + end.len()..];
        // A quotation mark or a bracket may close behind it.
        let closed = behind.trim_start_matches(['"', '”', ')']);
        let Some(next) = closed.strip_prefix(' ') else { continue };
        if next.chars().next().is_some_and(|c| c.is_uppercase() || c == ELEMENT || c.is_ascii_digit()) {
            return Some(from + rest.len() - next.len());
        }
    }
    None
}

/// White space as a browser shows it.
pub(super) fn plain(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is no word of any language: numbers, signs, addresses, names of hosts, abbreviations in capitals.
pub(super) fn is_name(text: &str) -> bool {
    text.split_ascii_whitespace().all(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        let capitals = || word.chars().count() > 1 && word.chars().all(|c| !c.is_lowercase());
        let sign = || word.chars().any(|c| "@.:/_=".contains(c) || c.is_ascii_digit());
        !word.chars().any(char::is_alphabetic) || capitals() || sign()
    })
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
