//! Every sentence that a page can show has a phrase in every language that is built in.
//!
//! Sentences are taken from where they are written: the templates, and the string literals of the folders whose words reach a
//! page. What is for the log, the console or programs alone is listed in `languages/not-on-pages.txt`. What fails is printed
//! as it belongs into `src/web/language/de.txt`: the English line; the other goes under it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use homepost::web::language::Languages;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Whose words are shown on pages.
const FOLDERS: [&str; 27] = [
    "appliance/backup/mod.rs",
    "appliance/backup/restore.rs",
    "appliance/machine/start/told.rs",
    "appliance/machine/stick/mod.rs",
    "appliance/machine/updating.rs",
    "appliance/update",
    "appliance/wizard",
    "appliance/linetest",
    "appliance/rescue.rs",
    "appliance/dnsguide",
    "cert",
    "directory",
    "net/dns",
    "server/dns",
    "server/stick.rs",
    "server/house.rs",
    "server/rescue.rs",
    "server/restoring.rs",
    "server/setup",
    "server/verbs",
    "server/steward",
    "server/update",
    "web/admin",
    "web/devices",
    "web/rescue",
    "web/setup",
    "web/writing",
];

/// Their words are for the log, for programmers, or for a test.
const QUIET: [&str; 17] = [
    "trace",
    "debug",
    "info",
    "warn",
    "error",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "panic",
    "unreachable",
    "todo",
    "cfg",
    "include_str",
    "println",
    "eprintln",
];

/// What stands where a sentence has a gap: no word, and a number.
const SAMPLE: &str = "7";

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(path: &Path, end: &str, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, end, found));
    } else if path.extension().is_some_and(|extension| extension == end) {
        found.push(path.to_owned());
    }
}

/// The literals of a file that are sentences, with samples in their gaps.
#[derive(Default)]
struct Sentences(BTreeSet<String>);

impl Sentences {
    fn add(&mut self, text: &str) {
        let text = filled(text);
        let words =
            text.split_whitespace().filter(|word| word.chars().filter(|c| c.is_lowercase()).count() > 1).count();
        let sign = |c: char| "<>\\|$".contains(c) || c.is_control();
        if words > 1 && text.trim() == text && !text.contains(sign) {
            self.0.insert(text);
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.add(&text.value());
                    }
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
        }
    }
}

/// `{name}` and `{}` as they are when they are written out.
fn filled(format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if let Some(more) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            text.push(c);
            rest = more;
        } else if let (true, Some(end)) = (c == '{', rest.find('}')) {
            text.push_str(SAMPLE);
            rest = &rest[end + 1..];
        } else {
            text.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    text
}

impl<'ast> Visit<'ast> for Sentences {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(one) => &one.attrs,
            syn::Item::Fn(one) => &one.attrs,
            syn::Item::Impl(one) => &one.attrs,
            _ => return visit::visit_item(self, item),
        };
        let test = |one: &syn::Attribute| {
            let words = quote(one);
            words.contains("test")
        };
        if !attributes.iter().any(test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_macro(&mut self, one: &'ast syn::Macro) {
        let name = one.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if !QUIET.contains(&name.as_str()) {
            self.tokens(one.tokens.clone());
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method != "expect" {
            visit::visit_expr_method_call(self, call);
        }
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.add(&text.value());
    }
}

fn quote(attribute: &syn::Attribute) -> String {
    match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        meta => meta.path().segments.iter().map(|segment| segment.ident.to_string()).collect(),
    }
}

/// A template as a page: samples where it fills something in, and a break where it chooses.
fn page_of(template: &str) -> String {
    let mut page = String::new();
    let mut rest = template;
    let mut in_tag = false;
    while let Some(c) = rest.chars().next() {
        let end = |mark: &str| rest.find(mark).map(|at| at + mark.len());
        if let (true, Some(end)) = (rest.starts_with("{{"), end("}}")) {
            page.push_str(SAMPLE);
            rest = &rest[end..];
        } else if let (true, Some(end)) = (rest.starts_with("{%"), end("%}")) {
            page.push_str(if in_tag { "" } else { "<!-- -->" });
            rest = &rest[end..];
        } else {
            in_tag = (in_tag || c == '<') && c != '>';
            page.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    page
}

fn fail(code: &str, missing: &BTreeSet<String>) {
    let list: Vec<&str> = missing.iter().map(String::as_str).collect();
    assert!(missing.is_empty(), "{} have no phrase in {code}:\n\n{}\n", missing.len(), list.join("\n\n"));
}

/// What is built in, with the files as they are now: who adds phrases need not build anything.
fn languages() -> (Languages, Vec<String>) {
    let mut languages = Languages::built_in();
    let codes: Vec<String> = languages.choices().into_iter().skip(1).map(|(code, _)| code.to_owned()).collect();
    for code in &codes {
        let file = top().join(format!("src/web/language/{code}.txt"));
        assert_eq!(languages.add(code, &fs::read_to_string(file).unwrap()), [], "{code}");
    }
    (languages, codes)
}

#[test]
fn every_template_has_all_its_words_in_every_language() {
    let (languages, codes) = languages();
    let mut templates = Vec::new();
    files(&top().join("src/web"), "html", &mut templates);
    assert!(templates.len() > 40, "{templates:?}");
    for code in codes {
        let language = languages.of(&code).unwrap();
        let mut missing = BTreeSet::new();
        for template in &templates {
            let page = page_of(&fs::read_to_string(template).unwrap());
            let made = language.page(&format!("{page}<p>A sentence without a phrase</p>"));
            let all: BTreeSet<String> = made.missing.into_iter().collect();
            assert!(all.contains("A sentence without a phrase"), "{} is not well formed", template.display());
            missing.extend(all);
        }
        missing.remove("A sentence without a phrase");
        fail(&code, &missing);
    }
}

#[test]
fn every_sentence_of_the_code_behind_the_pages_has_a_phrase_in_every_language() {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        files(&top().join("src").join(folder), "rs", &mut sources);
    }
    let mut sentences = Sentences::default();
    for source in sources {
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        if name == "tests.rs" || name.ends_with("_tests.rs") || source.iter().any(|part| part == "api") {
            continue;
        }
        assert!(source.exists(), "{} is not there any more", source.display());
        sentences.visit_file(&syn::parse_file(&fs::read_to_string(&source).unwrap()).unwrap());
    }
    let listed = fs::read_to_string(top().join("tests/languages/not-on-pages.txt")).unwrap();
    let listed: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let gone: Vec<_> = listed.iter().filter(|line| !sentences.0.contains(**line)).collect();
    assert!(gone.is_empty(), "listed as not on pages, but nowhere in the code: {gone:#?}");
    let (languages, codes) = languages();
    for code in codes {
        let language = languages.of(&code).unwrap();
        let open = sentences.0.iter().filter(|text| !listed.contains(text.as_str()) && language.words(text).is_none());
        fail(&code, &open.cloned().collect());
    }
}
