//! `homepost.toml`: the answers of a set-up without a browser, in one text.
//!
//! What it says becomes the same answers that the pages give, in the order of the pages, and nothing else. Each remembers its
//! lines, so that whoever wrote the file is told where it is wrong; the text itself is never quoted, since passwords are in it.

use serde::Deserialize;
use toml::Spanned;

use crate::directory::{Address, normal_domain};

use super::{Answer, HOME, Origin, Refusal, Relay, Secret};

/// An answer, and where in the file it is given.
#[derive(Clone, Debug)]
pub struct Given {
    pub answer: Answer,
    /// Of the whole answer, from 1.
    line: usize,
    /// Of its fields, as the machine calls them.
    fields: Vec<(&'static str, usize)>,
}

impl Given {
    /// A refusal with the line that it is about.
    pub fn wrong(&self, refusal: &Refusal) -> String {
        let field = refusal.field.and_then(|field| self.fields.iter().find(|(name, _)| *name == field));
        let hint = match refusal.field {
            Some("take_over") => {
                " In this file: existing-mail = \"trial\" begins with a subdomain, existing-mail = \"move\" prepares to move."
            }
            _ => "",
        };
        format!("line {}: {}{hint}", field.map_or(self.line, |(_, line)| *line), refusal.words)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Said {
    language: Option<Spanned<String>>,
    time_zone: Option<Spanned<String>>,
    hostname: Option<Spanned<String>>,
    domain: Option<Spanned<String>>,
    house_only: Option<Spanned<bool>>,
    existing_mail: Option<Spanned<Way>>,
    admin: Spanned<String>,
    name: Option<Spanned<String>>,
    password: Spanned<String>,
    relay: Option<Spanned<SaidRelay>>,
    certificate: Option<Spanned<SaidCertificate>>,
    #[serde(default)]
    family: Vec<Spanned<SaidPerson>>,
}

/// What is to be done with a domain that gets mail elsewhere today.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// Begin with a subdomain, which disturbs nothing.
    Trial,
    /// Take the domain itself; its owner changes the records on a day of their own.
    Move,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidRelay {
    host: Spanned<String>,
    port: Option<Spanned<u16>>,
    tls: Option<Spanned<Tls>>,
    user: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
    spf: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    Implicit,
    Starttls,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SaidCertificate {
    accept_terms: Spanned<bool>,
    contact: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidPerson {
    name: Spanned<String>,
    address: Spanned<String>,
    password: Spanned<String>,
}

/// The answers in a file; `languages` are the tags of those there are. Errors: the line, and what is wrong with it, without
/// the text.
pub fn read(text: &str, languages: &[&str]) -> Result<Vec<Given>, String> {
    // As some editors begin a file.
    let text = text.trim_start_matches('\u{feff}');
    let lines = Lines(text);
    let said: Said = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.of(span.start));
        format!("line {line}: {}", without_values(error.message()))
    })?;
    let mut all = Vec::new();
    let mut give = |answer, line, fields| all.push(Given { answer, line, fields });

    if let Some(language) = &said.language
        && !languages.contains(&language.get_ref().as_str())
    {
        return Err(lines.wrong(language, &format!("there are pages in: {}", languages.join(", "))));
    }
    if let Some(zone) = &said.time_zone {
        let language = said.language.as_ref().map_or_else(String::new, |language| language.get_ref().clone());
        give(Answer::Language { language, zone: zone.get_ref().clone() }, lines.at(zone), Vec::new());
    } else if let Some(language) = &said.language {
        return Err(lines.wrong(language, "with a language goes a time zone: time-zone = \"Europe/Berlin\""));
    }
    give(Answer::Origin(Origin::New), 1, Vec::new());

    let place = place(&said, &lines)?;
    let fields = vec![
        ("name", said.name.as_ref().map_or(lines.at(&said.admin), |name| lines.at(name))),
        ("local", lines.at(&said.admin)),
        ("phrase", lines.at(&said.password)),
    ];
    if said.password.get_ref().is_empty() {
        return Err(lines.wrong(&said.password, "the password is empty"));
    }
    let local = place.local(&said.admin, &lines)?;
    let mut taken = vec![as_kept(&local)];
    // Who gives no name is called by their address, as somebody who types it.
    let name = said.name.as_ref().map_or_else(|| local.clone(), |name| name.get_ref().clone());
    let phrase = Secret(said.password.get_ref().clone());
    give(Answer::You { name, local, phrase }, lines.at(&said.admin), fields);

    if let Some(relay) = &said.relay {
        let (line, relay) = (lines.at(relay), relay.get_ref());
        if relay.host.get_ref().trim().is_empty() {
            return Err(lines.wrong(&relay.host, "the relay has no name, as in smtp.provider.example"));
        }
        let tls = relay.tls.as_ref().map_or(Tls::Implicit, |tls| *tls.get_ref());
        let (word, usual) = match tls {
            Tls::Implicit => ("implicit", 465),
            Tls::Starttls => ("starttls", 587),
        };
        let text = |one: &Option<Spanned<String>>| one.as_ref().map_or_else(String::new, |one| one.get_ref().clone());
        let at = |one: &Option<Spanned<String>>| one.as_ref().map_or(line, |one| lines.at(one));
        let port = relay.port.as_ref().map_or(usual, |port| *port.get_ref());
        if let Some(zero) = relay.port.as_ref().filter(|port| *port.get_ref() == 0) {
            return Err(lines.wrong(zero, "a port is a number from 1 to 65535; relays use 465 or 587"));
        }
        let fields = vec![
            ("host", lines.at(&relay.host)),
            ("port", relay.port.as_ref().map_or(line, |port| lines.at(port))),
            ("tls", relay.tls.as_ref().map_or(line, |tls| lines.at(tls))),
            ("user", at(&relay.user)),
            ("password", at(&relay.password)),
            ("spf", at(&relay.spf)),
        ];
        let password = Secret(text(&relay.password));
        let (user, spf) = (text(&relay.user), text(&relay.spf));
        let relay =
            Relay { host: relay.host.get_ref().clone(), port, tls: word.to_owned(), user, spf, password: false };
        give(Answer::Relay { relay, password }, line, fields);
    }

    give(place.answer.clone(), place.line, place.fields.clone());

    if let Some(certificate) = &said.certificate {
        let (line, certificate) = (lines.at(certificate), certificate.get_ref());
        let contact = certificate.contact.as_ref();
        let fields = vec![
            ("accepted", lines.at(&certificate.accept_terms)),
            ("contact", contact.map_or(line, |contact| lines.at(contact))),
        ];
        let contact = contact.map_or_else(String::new, |contact| contact.get_ref().clone());
        give(Answer::Authority { accepted: *certificate.accept_terms.get_ref(), contact }, line, fields);
    }
    for person in &said.family {
        let (line, person) = (lines.at(person), person.get_ref());
        let fields = vec![
            ("name", lines.at(&person.name)),
            ("local", lines.at(&person.address)),
            ("phrase", lines.at(&person.password)),
        ];
        if person.password.get_ref().is_empty() {
            return Err(lines.wrong(&person.password, "the password is empty"));
        }
        let local = place.local(&person.address, &lines)?;
        if taken.contains(&as_kept(&local)) {
            return Err(lines.wrong(&person.address, "this address is somebody's already"));
        }
        taken.push(as_kept(&local));
        let phrase = Secret(person.password.get_ref().clone());
        give(Answer::Person { name: person.name.get_ref().clone(), local, phrase }, line, fields);
    }
    give(Answer::Finish, 1, Vec::new());
    Ok(all)
}

/// Where addresses are: what was said of the domain.
struct Place {
    answer: Answer,
    line: usize,
    fields: Vec<(&'static str, usize)>,
    /// What may stand behind the @.
    domains: Vec<String>,
}

fn place(said: &Said, lines: &Lines<'_>) -> Result<Place, String> {
    let house = said.house_only.as_ref().filter(|house| *house.get_ref());
    let Some(domain) = &said.domain else {
        let Some(house) = house else {
            return Err("line 1: missing field `domain` (or house-only = true, for a house without one)".to_owned());
        };
        let needless =
            said.hostname.as_ref().map(|one| one.span()).or(said.existing_mail.as_ref().map(|one| one.span()));
        if let Some(span) = needless.or(said.certificate.as_ref().map(|one| one.span())) {
            return Err(format!("line {}: that is for a domain, and there is none (house-only)", lines.of(span.start)));
        }
        let domains = vec![super::HOME.to_owned()];
        return Ok(Place { answer: Answer::HouseOnly, line: lines.at(house), fields: Vec::new(), domains });
    };
    if let Some(house) = house {
        return Err(lines.wrong(house, "either a domain, or house-only"));
    }
    let name = in_a_labels(domain.get_ref());
    let way = said.existing_mail.as_ref().map(|way| *way.get_ref());
    // Where the box gets its name: a trial disturbs no name of the domain itself.
    let (within, usual) = match way {
        Some(Way::Trial) => (format!("mail.{name}"), "post"),
        _ => (name.clone(), "mail"),
    };
    let host = match &said.hostname {
        None => usual.to_owned(),
        Some(hostname) => {
            let whole = in_a_labels(hostname.get_ref());
            let label = whole.strip_suffix(&within).and_then(|rest| rest.strip_suffix('.'));
            let label = label.filter(|label| !label.is_empty() && !label.contains('.'));
            let words = match way {
                Some(Way::Trial) => format!(
                    "existing-mail = \"trial\" begins with {within}, so the server's name is one word before that, as in \
                     {usual}.{within}"
                ),
                _ => format!("the server's name is one word before the domain, as in {usual}.{within}"),
            };
            label.ok_or_else(|| lines.wrong(hostname, &words))?.to_owned()
        }
    };
    let fields = vec![
        ("name", lines.at(domain)),
        ("host", said.hostname.as_ref().map_or(lines.at(domain), |hostname| lines.at(hostname))),
        ("take_over", lines.at(domain)),
    ];
    let mut domains = vec![name.clone()];
    let answer = match way {
        Some(Way::Trial) => {
            domains.push(within.clone());
            Answer::Domain { name: within, host, take_over: false }
        }
        _ => Answer::Domain { name, host, take_over: way.is_some() },
    };
    Ok(Place { answer, line: lines.at(domain), fields, domains })
}

impl Place {
    /// What stands before the @ of an address here, which may be all that is said.
    fn local(&self, address: &Spanned<String>, lines: &Lines<'_>) -> Result<String, String> {
        let text = address.get_ref().trim();
        match text.split_once('@') {
            None => Ok(text.to_owned()),
            Some((local, domain)) if self.domains.contains(&in_a_labels(domain)) => Ok(local.to_owned()),
            Some(_) => {
                Err(lines
                    .wrong(address, &format!("this address has to be in the domain {}", self.domains.join(" or "))))
            }
        }
    }
}

/// A name as the machine keeps it. One that cannot be a name stays as it is, and is refused there.
fn in_a_labels(name: &str) -> String {
    let name = name.trim().trim_start_matches('@').trim_end_matches('.');
    normal_domain(name).unwrap_or_else(|_| name.to_lowercase())
}

/// What stands before the @, so that one and the same is known again.
fn as_kept(local: &str) -> String {
    let address = Address::parse_new(&format!("{local}@{HOME}"));
    address.map_or_else(|_| local.to_lowercase(), |address| address.local().to_owned())
}

/// The text, to say in which line something stands.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn of(&self, at: usize) -> usize {
        self.0.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    fn at<T>(&self, one: &Spanned<T>) -> usize {
        self.of(one.span().start)
    }

    fn wrong<T>(&self, one: &Spanned<T>, words: &str) -> String {
        format!("line {}: {words}", self.at(one))
    }
}

/// "invalid type: integer `12345`, expected a string" quotes what may be a password. What is expected comes last, whatever words stand
/// in what is quoted.
fn without_values(message: &str) -> String {
    if !message.starts_with("invalid ") && !message.starts_with("unknown variant") {
        return message.to_owned();
    }
    match message.rsplit_once("expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "that cannot stand here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "hostname = \"mail.example.test\"\r\ndomain = \"example.test\"\r\nadmin = \
                        \"alice@example.test\"\r\npassword = \"correct horse 7\"\r\n";

    /// All that can be said, a line each.
    const ALL: &str = r#"language = "en"
time-zone = "Europe/Berlin"
hostname = "post.smith.example"
domain = "smith.example"
existing-mail = "move"
admin = "anna@smith.example"
name = "Anna Smith"
password = "river oak lantern moon"

[relay]
host = "smtp.provider.example"
tls = "starttls"
user = "anna"
password = "correct horse 7"
spf = "include:_spf.provider.example"

[certificate]
accept-terms = true
contact = "anna@elsewhere.example"

[[family]]
name = "Ben Smith"
address = "ben"
password = "otter lamp boat"

[[family]]
name = "Cleo"
address = "cleo@smith.example"
password = "another otter boat"
"#;

    fn answers(text: &str) -> Vec<Answer> {
        read(text, &["en"]).unwrap().into_iter().map(|given| given.answer).collect()
    }

    fn wrong(text: &str) -> String {
        read(text, &["en"]).map_or_else(|words| words, |given| format!("{given:?}"))
    }

    #[test]
    fn a_file_from_any_editor_is_read() {
        for text in [GOOD.to_owned(), format!("\u{feff}{GOOD}"), GOOD.replace("\r\n", "\n")] {
            let phrase = Secret("correct horse 7".into());
            let expected = [
                Answer::Origin(Origin::New),
                Answer::You { name: "alice".into(), local: "alice".into(), phrase },
                Answer::Domain { name: "example.test".into(), host: "mail".into(), take_over: false },
                Answer::Finish,
            ];
            assert_eq!(answers(&text), expected);
        }
    }

    #[test]
    fn everything_that_the_pages_can_say_can_be_said() {
        let secret = |text: &str| Secret(text.into());
        let relay = Relay {
            host: "smtp.provider.example".into(),
            port: 587,
            tls: "starttls".into(),
            user: "anna".into(),
            spf: "include:_spf.provider.example".into(),
            password: false,
        };
        let expected = [
            Answer::Language { language: "en".into(), zone: "Europe/Berlin".into() },
            Answer::Origin(Origin::New),
            Answer::You { name: "Anna Smith".into(), local: "anna".into(), phrase: secret("river oak lantern moon") },
            Answer::Relay { relay, password: secret("correct horse 7") },
            Answer::Domain { name: "smith.example".into(), host: "post".into(), take_over: true },
            Answer::Authority { accepted: true, contact: "anna@elsewhere.example".into() },
            Answer::Person { name: "Ben Smith".into(), local: "ben".into(), phrase: secret("otter lamp boat") },
            Answer::Person { name: "Cleo".into(), local: "cleo".into(), phrase: secret("another otter boat") },
            Answer::Finish,
        ];
        assert_eq!(answers(ALL), expected);
        let trial = ALL.replace("\"move\"", "\"trial\"");
        for (was, is, host) in
            [("hostname = \"post.smith.example\"\n", "", "post"), ("post.smith", "Box.mail.smith", "box")]
        {
            let (name, host) = ("mail.smith.example".to_owned(), host.to_owned());
            assert_eq!(answers(&trial.replace(was, is))[4], Answer::Domain { name, host, take_over: false });
        }
        let zone = "Europe/Berlin".to_owned();
        let without = answers(&ALL.replace("language = \"en\"\n", ""));
        assert_eq!(without[0], Answer::Language { language: String::new(), zone }, "nobody said that it is English");
        let house = answers("house-only = true\nadmin = \"anna@home.arpa\"\npassword = \"river oak lantern\"\n");
        assert_eq!(house[2..], [Answer::HouseOnly, Answer::Finish]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_what_stands_there() {
        assert!(wrong(&GOOD.replace("admin", "amdin")).contains("line 3: unknown field `amdin`"));
        assert!(wrong(&GOOD.replace("domain =", "# domain =")).contains("missing field `domain`"));
        assert!(wrong(&GOOD.replace("correct horse 7", "")).starts_with("line 4: the password is empty"));
        for torn in ["correct horse 7\r\n", "\"correct horse 7\r\n", "7041776\r\n", "[\"correct horse 7\"]\r\n"] {
            let words = wrong(&GOOD.replace("\"correct horse 7\"\r\n", torn));
            assert!(words.starts_with("line 4: ") && !words.contains("horse") && !words.contains("7041"), "{words}");
        }
        for (was, is, line, words) in [
            ("\"en\"", "\"xx\"", 1, "pages in: en"),
            ("time-zone", "# time-zone", 1, "goes a time zone"),
            ("post.smith", "post.miller", 3, "as in mail.smith.example"),
            ("post.smith", "a.b.smith", 3, "as in mail.smith.example"),
            ("\"move\"", "\"merge\"", 5, "expected `trial` or `move`"),
            ("anna@smith", "anna@miller", 6, "in the domain smith.example"),
            ("existing-mail", "house-only = true\nexisting-mail", 5, "either a domain, or house-only"),
            ("domain = \"smith.example\"", "house-only = true", 3, "there is none (house-only)"),
            ("tls = \"starttls\"", "tls = \"maybe\"", 12, "expected"),
            ("tls = \"starttls\"", "port = 0", 12, "from 1 to 65535"),
            ("tls = \"starttls\"", "port = 70000", 12, "expected"),
            ("tls = \"starttls\"", "prot = 587", 12, "unknown field `prot`"),
            ("accept-terms = true", "", 17, "missing field `accept-terms`"),
            ("address = \"ben\"", "address = \"ben@miller.example\"", 23, "in the domain smith.example"),
            ("otter lamp boat", "", 24, "the password is empty"),
            ("cleo@smith.example", "Ben", 28, "somebody's already"),
            ("address = \"ben\"", "address = \"Anna@smith.example\"", 23, "somebody's already"),
            ("\"move\"", "\"trial\"", 3, "as in post.mail.smith.example"),
        ] {
            let said = wrong(&ALL.replacen(was, is, 1));
            assert!(said.starts_with(&format!("line {line}: ")) && said.contains(words), "{is}: {said}");
        }
    }

    #[test]
    fn a_name_is_taken_as_it_is_kept_whatever_letters_it_is_written_in() {
        let text = ALL.replace("smith.example", "Müller.example").replace("post.M", "post.m");
        let given = answers(&text);
        let host = "post".to_owned();
        assert_eq!(given[4], Answer::Domain { name: "xn--mller-kva.example".into(), host, take_over: true });
        assert!(matches!(&given[7], Answer::Person { local, .. } if local == "cleo"), "{given:?}");
    }

    #[test]
    fn no_words_in_a_value_bring_the_value_out() {
        for message in [
            "invalid type: string \"my secret, expected by nobody\", expected a boolean",
            "unknown variant `my secret, expected by nobody`, expected `trial` or `move`",
            "unknown variant `my secret`, there are no variants",
        ] {
            let words = without_values(message);
            assert!(!words.contains("secret") && !words.contains("nobody"), "{words}");
        }
    }

    #[test]
    fn a_refusal_is_said_with_the_line_of_its_field() {
        let given = read(ALL, &["en"]).unwrap();
        let of = |n: usize, field: &'static str| given[n].wrong(&Refusal { field: Some(field), words: "No.".into() });
        assert_eq!(of(2, "phrase"), "line 8: No.");
        assert_eq!(of(3, "spf"), "line 15: No.");
        assert_eq!(of(4, "host"), "line 3: No.");
        assert_eq!(of(5, "accepted"), "line 18: No.");
        assert_eq!(of(7, "local"), "line 28: No.");
        assert!(of(4, "take_over").starts_with("line 4: No. In this file: existing-mail = \"trial\""));
        assert_eq!(given[6].wrong(&Refusal::words("No.")), "line 21: No.");
    }
}
