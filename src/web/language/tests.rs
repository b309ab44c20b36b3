//! Phrases and pages without a server.

use proptest::prelude::*;

use super::*;
use crate::base::{Clock, SystemClock};

const FILE: &str = "\
# for people
Language: Tongue

Go on
VORAN

{} has a letter box.
KASTEN {}!

See {link}, then {what} <here>.
DANN {what}: {link} <\"da\">

waits for {what:words}
WARTET {what:words}

the clock
UHR

Delete {}
WEG {}

{n:number} of {m:number} are right
{m}/{n} GUT
";

fn tongue() -> Language {
    let mut language = Language::new("xx");
    assert_eq!(language.read(FILE), []);
    language
}

fn page(html: &str) -> String {
    tongue().page(html).html
}

#[test]
fn texts_and_what_is_read_aloud_are_translated_and_nothing_else_is() {
    let made = page(
        "<!doctype html>\n<html lang=\"en\"><p class=\"Go on\">\n  Go\n on </p><input type=\"submit\" value=\"Go on\">\
         <input value=\"Go on\" placeholder=\"Go on\"><button name=\"do\" value=\"Go on\" aria-label=\"Delete a &#38; b\">Go on</button>\
         <img alt='Go on'><img alt=\"Go on\"></html>",
    );
    assert_eq!(
        made,
        "<!doctype html>\n<html lang=\"xx\"><p class=\"Go on\">\n  VORAN </p><input type=\"submit\" value=\"VORAN\">\
         <input value=\"Go on\" placeholder=\"VORAN\"><button name=\"do\" value=\"Go on\" aria-label=\"WEG a &#38; b\">VORAN</button>\
         <img alt='Go on'><img alt=\"VORAN\"></html>"
    );
}

/// L3
#[test]
fn what_is_not_for_translation_stays() {
    for kept in [
        "<p translate=\"no\">Go on <b>Go on</b></p>",
        "<code>Go on</code>",
        "<textarea>Go on</textarea>",
        "<script>if (a < b) \"Go on\"</script>",
        "<option lang=\"fr\">Go on</option>",
        "<select><option>Go on</option></select>",
        "<svg><text>Go on</text></svg>",
        "<!-- Go on -->",
        "<p>anna@go.example · 192.0.2.1, MX 10</p>",
    ] {
        assert_eq!(page(kept), kept);
        assert_eq!(tongue().page(kept).missing, Vec::<String>::new());
    }
    assert_eq!(page("<option value=\"a\">Go on</option>"), "<option value=\"a\">VORAN</option>");
    assert_eq!(page("<p translate=\"no\">Go on</p><p>Go on</p>"), "<p translate=\"no\">Go on</p><p>VORAN</p>");
}

#[test]
fn a_sentence_with_elements_in_it_is_one_and_they_may_change_places() {
    assert_eq!(
        page("<p>See <a href=\"/x\">Go on</a>, then <b translate=\"no\">Go on</b> &lt;here&gt;.</p>"),
        "<p>DANN <b translate=\"no\">Go on</b>: <a href=\"/x\">VORAN</a> &#60;&#34;da&#34;&#62;</p>"
    );
    // Without a phrase for the whole, its parts are looked up.
    assert_eq!(page("<p><span>✓ Go on</span> Go on</p>"), "<p><span>✓ VORAN</span> VORAN</p>");
}

#[test]
fn sentences_signs_numbers_and_titles_are_put_together() {
    let words = |text: &str| tongue().words(text);
    assert_eq!(words("Anna Smith has a letter box.").as_deref(), Some("KASTEN Anna Smith!"));
    assert_eq!(words("Ben has a letter box. Anna has a letter box.").as_deref(), Some("KASTEN Ben! KASTEN Anna!"));
    assert_eq!(words("→ waits for the clock").as_deref(), Some("→ WARTET UHR"));
    assert_eq!(words("Go on · mail.smith.example").as_deref(), Some("VORAN · mail.smith.example"));
    assert_eq!(words("3 of 12 are right").as_deref(), Some("12/3 GUT"));
    assert_eq!(words("Go on; the clock; x.example").as_deref(), Some("VORAN; UHR; x.example"));
    assert_eq!(
        words("A; b has a letter box.").as_deref(),
        Some("KASTEN A; b!"),
        "what is in a gap takes nothing apart"
    );
    assert_eq!(words("Waits for the clock.").as_deref(), Some("WARTET UHR."));
    assert_eq!(words("The clock.").as_deref(), Some("UHR."), "a part of a sentence that stands alone");
    for none in ["three of 12 are right", "waits for nobody", "Go on.. Go", "has a letter box."] {
        assert_eq!(words(none), None, "{none}");
    }
}

#[test]
fn what_has_no_phrase_stays_and_says_that_it_is_english() {
    let made = tongue()
        .page("<p>Go away</p><p>Go on <b>Go away</b></p><p><i>x</i> Nobody <b>Go on</b></p><img alt=\"Go away\">");
    assert_eq!(
        made.html,
        "<p lang=\"en\">Go away</p><p>VORAN <b lang=\"en\">Go away</b></p><p><i lang=\"en\">x</i> <span lang=\"en\">Nobody</span> \
         <b>VORAN</b></p><img alt=\"Go away\" lang=\"en\">"
    );
    assert_eq!(made.missing, ["Go away", "Go away", "x", "Nobody", "Go away"]);
    // Names have a phrase or not.
    assert_eq!(tongue().page("<i lang=\"\">Lima</i>").missing, Vec::<String>::new());
}

#[test]
fn what_is_not_well_formed_comes_back_as_it_is() {
    for html in ["<p>Go on", "<p>Go on</b>", "Go on</p>", "<p", "<!-- Go on", "<p title=\"Go on>", "< >Go on"] {
        assert_eq!(page(html), html);
    }
}

/// L4
#[test]
fn a_broken_file_costs_what_is_broken() {
    let mut language = Language::new("xx");
    let faults = language.read(
        "Go on\nVORAN\n\nalone\n\n{a} of {b}\n{a} {c}\n\n{a} of\n{a} {a}\n\n{} {\nx\n\n{}{}x\n{}{}x\n\n{x:verb} a\nb\n\nEnd\nENDE\nlast",
    );
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let lines: Vec<&str> = shown.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["line 4", "line 6", "line 9", "line 12", "line 15", "line 18", "line 23"], "{shown:#?}");
    assert_eq!(language.words("Go on").as_deref(), Some("VORAN"));
    assert_eq!(language.words("End").as_deref(), Some("ENDE"));
    assert!(!Language::new("xx").read(&"x".repeat(2 << 20)).is_empty());
}

#[test]
fn what_is_built_in_has_no_fault_and_knows_dates() {
    let mut languages = Languages::built_in();
    for (code, text) in BUILT_IN {
        assert_eq!(languages.add(code, text), [], "{code}");
    }
    let words = |text: &str| languages.words("de", text);
    assert_eq!(words("3 December 2026"), "3. Dezember 2026");
    assert_eq!(words("Until 3 March 2027, 14:05 UTC."), "Bis 3. März 2027, 14:05 UTC.");
    assert_eq!(
        words("waits for your records, until about 27 November, 13:00"),
        "wartet auf Ihre Einträge, bis etwa 27. November, 13:00"
    );
    assert_eq!(
        words("Since Thu, 26 Nov 2026 12:00:00 +0000, 712 KiB"),
        "Seit Do, 26. Nov. 2026, 12:00:00 +0000, 712 KiB"
    );
}

#[test]
fn the_first_language_that_is_wanted_and_that_there_is() {
    let mut languages = Languages::built_in();
    assert_eq!(languages.add("pt-br", "Language: Português\nGo on\nContinuar"), []);
    let pick = |wanted: &[&str], accepted: &str| languages.pick(wanted, accepted).to_owned();
    assert_eq!(pick(&["", "de"], "pt-BR"), "de");
    assert_eq!(pick(&["en", "de"], "de"), "en");
    assert_eq!(pick(&["xx", ""], "fr, de-AT;q=0.7, pt-BR;q=0.9"), "pt-br");
    assert_eq!(pick(&[], "de-CH"), "de");
    assert_eq!(pick(&[], "en-US,de;q=0.9"), "en");
    for none in ["", "fr", "de;q=0", "de;q=2", "*", ";;;,,,q=", "de;q=0.12345"] {
        assert_eq!(pick(&[], none), "en", "{none}");
    }
    assert_eq!(languages.choices(), [("en", "English"), ("de", "Deutsch"), ("pt-br", "Português")]);
    for code in ["", "../x", "EN", "deutsch", "d", "de-"] {
        assert!(!languages.add(code, "Go on\nx").is_empty(), "{code}");
    }
}

/// Tags with what may differ taken out: words that are shown, and the mark of English.
fn tags(html: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut spans = 0;
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag ends");
        if tag == "span lang=\"en\"" {
            spans += 1;
            continue;
        }
        let mut tag = tag.replace(" lang=\"en\"", "");
        for shown in ["aria-label=\"", "title=\"", "placeholder=\""] {
            if let Some((before, value)) = tag.clone().split_once(shown) {
                let (_, behind) = value.split_once('"').expect("a value ends");
                tag = format!("{before}{shown}\"{behind}");
            }
        }
        all.push(tag);
    }
    for _ in 0..spans {
        let at = all.iter().rposition(|tag| tag == "/span").expect("each has an end");
        all.remove(at);
    }
    all.sort();
    all
}

fn escaped(text: &str) -> String {
    let mut html = String::new();
    page::escape(text, &mut html);
    html
}

fn texts(html: &str) -> String {
    html.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]

    /// L1: names of strangers, in all places where pages have names.
    #[test]
    fn no_name_becomes_markup(name in "[a-zA-Z{}<>&\"'=/ .·✓\u{fffc}\u{a0}\n]{0,40}|( has a letter box\\.| · |Go on|<b>|&#60;|\\{x\\}){0,6}") {
        let name = escaped(&name);
        let html = format!(
            "<html lang=\"xx\"><title>{name} · Go on</title><p>{name} has a letter box.</p><p>waits for {name}</p>\
             <p>See <a href=\"/{name}\">{name}</a>, then {name} &#60;here&#62;.</p><b translate=\"no\">{name}</b>\
             <button value=\"{name}\" aria-label=\"Delete {name}\">{name}</button><input value=\"{name}\" placeholder=\"{name}\">\
             <p>{name} <i>{name}</i> {name}</p></html>"
        );
        let made = page(&html);
        prop_assert_eq!(tags(&made), tags(&html));
        prop_assert!(!texts(&made).contains('>') && !texts(&made).contains('"'), "{}", made);
        let kept = format!("<b translate=\"no\">{name}</b>");
        prop_assert!(made.contains(&kept));
        let sent = format!("value=\"{name}\"");
        prop_assert!(made.contains(&sent));
        for language in Languages::built_in().all {
            prop_assert_eq!(tags(&language.page(&html.replace("lang=\"xx\"", "")).html), tags(&html.replace("lang=\"xx\"", "")));
        }
    }

    #[test]
    fn nothing_at_all_makes_it_stumble(html in "(<p>|</p>|<b|>|\"|=|<!--|-->|<script>|</script>|&#x|;|Go on|\u{fffc}| |<option|/>){0,40}") {
        let made = tongue().page(&html);
        prop_assert!(made.html.len() <= 40 * html.len() + 40);
    }

    #[test]
    fn no_file_makes_it_stumble(file in "(\\{|\\}|a|:words|:number|\n|#| |Language:|\u{fffc}){0,60}", text in "[a {}#\n.]{0,30}") {
        let mut language = Language::new("xx");
        language.read(&file);
        language.words(&text);
        language.page(&format!("<p>{}</p>", escaped(&text)));
    }
}

/// L2. The limit is far above what it takes; what grows with the square would need hours.
#[test]
fn what_strangers_write_costs_no_more_than_its_length() {
    let languages = Languages::built_in();
    let clock = SystemClock::new();
    let started = clock.mono();
    for piece in [
        " · ",
        "waits for ",
        "the clock. ",
        "A has a letter box. ",
        "<b>x</b> y ",
        "&#38;",
        "✓ ",
        ", until about ",
        "<p>a</p>",
        "{",
        "1 ",
    ] {
        let long = piece.repeat((1 << 18) / piece.len());
        let many = format!("<p>{}</p>", piece.repeat(2400 / piece.len())).repeat(10);
        for html in [format!("<p>{long}</p>"), many] {
            let made = languages.page("de", html);
            assert!(!made.is_empty());
        }
    }
    let took = clock.mono().0 - started.0;
    assert!(took < 120_000, "{took} ms");
}
