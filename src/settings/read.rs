//! From text to [`Settings`], or to everything that is wrong with it.

use toml_edit::{Document, Item, TableLike, TomlError};

use super::nearest::nearest;
use super::table;
use super::value::Value;
use super::values::Values;
use super::{Name, Problem, Settings};

/// A file with more mistakes than this shows the first of them.
const PROBLEMS: usize = 100;

pub(super) fn settings(text: &str) -> Result<Settings, Vec<Problem>> {
    let document = Document::parse(text).map_err(|error| vec![syntax(text, &error)])?;
    let mut reader =
        Reader { text, values: Values::default(), places: Vec::new(), relays: Vec::new(), problems: Vec::new() };
    reader.section("", document.as_table());
    reader.together();
    reader.finish()
}

struct Reader<'a> {
    text: &'a str,
    values: Values,
    /// The line of each key that was read.
    places: Vec<(&'static str, usize)>,
    /// The same of relays with names of their own.
    relays: Vec<(String, usize)>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn section(&mut self, path: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            if self.problems.len() >= PROBLEMS {
                return;
            }
            let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let span = table.key(name).and_then(|key| key.span()).or_else(|| item.span());
            let line = span.map(|span| line_of(self.text, span.start));
            let relay = table::relay_name(&key);
            let known = relay.as_ref().map_or(key.as_str(), |(_, known)| known);
            if path == "relays" && !table::is_relay_name(name) {
                let what = format!(
                    "`{}` cannot be the name of a relay; it must be one of letters, digits, '-' and '_', up to 32 of them",
                    name.chars().take(100).collect::<String>().escape_default()
                );
                self.wrong(line, key, what);
            } else if let Some(def) = table::find(&key) {
                let given = item.as_value().ok_or_else(|| "a section".to_owned());
                match given.and_then(|value| def.kind.read(value)) {
                    Ok(value) => match relay {
                        Some((name, _)) => {
                            self.values.relays.entry(name.to_owned()).or_default().insert(def.key, value);
                            self.relays.extend(line.map(|line| (key, line)));
                        }
                        None => {
                            self.values.plain.insert(def.key, value);
                            self.places.extend(line.map(|line| (def.key, line)));
                        }
                    },
                    Err(is) => {
                        let what = format!("`{key}` is {is}; it must be {}", def.kind.wanted());
                        self.wrong(line, key, what);
                    }
                }
            } else if names_under(known).next().is_none() {
                let known_path = table::relay_name(path).map_or(path.to_owned(), |(_, known)| known);
                let what = unknown(&known_path, name, &key, matches!(item, Item::Table(_)));
                self.wrong(line, key, what);
            } else if let Some(inner) = item.as_table_like() {
                self.section(&key, inner);
            } else {
                let names: Vec<&str> = names_under(known).collect();
                let what =
                    format!("`{key}` is a section, not a value: write [{key}] and below it {}", names.join(", "));
                self.wrong(line, key, what);
            }
        }
    }

    /// What each setting alone cannot tell.
    fn together(&mut self) {
        let Some(settings) = self.values.settings() else {
            if !self.problems.iter().any(|problem| problem.key == "hostname") {
                let what =
                    "`hostname` is missing: write hostname = \"mail.example.org\" (the name of this server) above the \
                            first section"
                        .to_owned();
                self.wrong(None, "hostname".to_owned(), what);
            }
            return;
        };
        for (at, later) in Name::ALL.iter().enumerate() {
            let clash = Name::ALL.iter().take(at).find(|earlier| {
                let (a, b) = (settings.listeners.get(**earlier), settings.listeners.get(*later));
                a.on && b.on && a.port == b.port
            });
            if let Some(earlier) = clash {
                let key = format!("listeners.{later}.port");
                let port = settings.listeners.get(*later).port;
                let what = format!(
                    "`{key}` is {port}, which `listeners.{earlier}` has already; give one of them another port or switch it off"
                );
                let line = self.line(&key).or_else(|| self.line(&format!("listeners.{earlier}.port")));
                self.wrong(line, key, what);
            }
        }
        self.relays_apart(&settings);
        let smtp = &settings.limits.smtp;
        let imap = &settings.limits.imap;
        let pairs = [
            ("limits.smtp.header_size", smtp.header_bytes, "limits.smtp.message_size", smtp.message_bytes),
            (
                "limits.smtp.connections_per_address",
                smtp.connections_per_address,
                "limits.smtp.connections",
                smtp.connections,
            ),
            ("limits.smtp.half_open", smtp.half_open, "limits.smtp.connections", smtp.connections),
            (
                "limits.imap.connections_per_address",
                imap.connections_per_address,
                "limits.imap.connections",
                imap.connections,
            ),
            ("limits.imap.half_open", imap.half_open, "limits.imap.connections", imap.connections),
        ];
        for (small, small_value, large, large_value) in pairs {
            // A default that is above a smaller total does no harm; what the owner wrote should mean something.
            if small_value > large_value && self.line(small).is_some() {
                let what = format!("`{small}` is more than `{large}`; it must not be");
                self.wrong(self.line(small), small.to_owned(), what);
            }
        }
    }

    /// One domain's letters go one way.
    fn relays_apart(&mut self, settings: &Settings) {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for relay in settings.relays.iter().filter(|relay| !relay.relay.host.is_empty()) {
            let key = format!("relays.{}.domains", relay.name);
            let line = self.relays.iter().find(|(known, _)| *known == key).map(|(_, line)| *line);
            for domain in &relay.domains {
                if domain.trim_start_matches('.').is_empty() {
                    let what = format!("`{key}` has a word in it that is no name of a domain");
                    self.wrong(line, key.clone(), what);
                } else if let Some((_, first)) = seen.iter().find(|(known, _)| known == domain) {
                    let what = format!("`{key}` names {domain}, which `relays.{first}.domains` has already");
                    self.wrong(line, key.clone(), what);
                }
                seen.push((domain, &relay.name));
            }
        }
    }

    fn line(&self, key: &str) -> Option<usize> {
        self.places.iter().find(|(known, _)| *known == key).map(|(_, line)| *line)
    }

    fn wrong(&mut self, line: Option<usize>, key: String, what: String) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(Problem { line, key, what });
        }
    }

    fn finish(mut self) -> Result<Settings, Vec<Problem>> {
        match self.values.settings() {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => {
                self.problems.sort_by_key(|problem| problem.line);
                Err(self.problems)
            }
        }
    }
}

/// Says that there is no such key, and which one may have been meant: one near by its spelling in the same section, or
/// one of the same name in another.
fn unknown(path: &str, name: &str, key: &str, is_section: bool) -> String {
    let shown: String = key.chars().take(100).collect();
    let is_not = format!("`{shown}` is not a {}", if is_section { "section" } else { "setting" });
    if let Some(near) = nearest(name, names_under(path)) {
        let near = if path.is_empty() { near.to_owned() } else { format!("{path}.{near}") };
        return format!("{is_not}; did you mean `{near}`?");
    }
    if let Some(def) = table::defs().find(|def| def.name() == name) {
        return format!("{is_not}; did you mean `{}`?", def.key);
    }
    let mut names: Vec<&str> = names_under(path).collect();
    names.dedup();
    match path {
        "" => format!("{is_not}; at the top of the file there are {}", names.join(", ")),
        _ => format!("{is_not}; in [{path}] there are {}", names.join(", ")),
    }
}

/// The names that may stand directly in a section, in the order of the table; neighbours may repeat.
fn names_under(path: &str) -> impl Iterator<Item = &'static str> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let mut last = "";
    table::defs().filter_map(move |def| {
        let name = def.key.strip_prefix(prefix.as_str())?.split('.').next()?;
        let is_new = name != last;
        last = name;
        is_new.then_some(name)
    })
}

fn syntax(text: &str, error: &TomlError) -> Problem {
    let line = error.span().map(|span| line_of(text, span.start));
    let what = format!("this is not TOML: {}", error.message().trim().replace('\n', ", "));
    Problem { line, key: String::new(), what }
}

/// The line, counted from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Checks a value for an edit. Errors: the sentence that a file with it would be answered with.
pub(super) fn check(key: &str, value: &Value) -> Result<toml_edit::Value, Problem> {
    let problem = |what| Problem { line: None, key: key.to_owned(), what };
    let Some(def) = table::find(key) else {
        let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
        return Err(problem(unknown(path, name, key, false)));
    };
    let written = def.kind.write(value);
    def.kind
        .read(&written)
        .map_err(|is| problem(format!("`{key}` is {is}; it must be {}", def.kind.wanted())))
        .map(|_| written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_have_names_of_their_own_and_no_domain_in_common() {
        let file = |more: &str| format!("hostname = 'mail.example.test'\n{more}");
        let parsed = Settings::parse(&file(
            "[relays.work]\nhost = 'smtp.work.test'\nport = 587\ntls = 'starttls'\ndomains = 'Work.test .work.test'\n\
             [relays.school]\nhost = 'smtp.school.test'\ndomains = 'School.test'\n",
        ))
        .unwrap();
        let told: Vec<_> = parsed
            .relays
            .iter()
            .map(|one| (one.name.as_str(), one.relay.port, one.relay.tls.as_str(), one.domains.join(" ")))
            .collect();
        assert_eq!(
            told,
            [
                ("school", 465, "implicit", "school.test".to_owned()),
                ("work", 587, "starttls", "work.test .work.test".to_owned())
            ]
        );
        let wrong = |more: &str| {
            let problems = settings(&file(more)).unwrap_err();
            let problem = problems.first().unwrap();
            (problem.line, problem.what.clone())
        };
        let twice =
            "[relays.a]\nhost = 'a.test'\ndomains = 'x.test'\n[relays.b]\nhost = 'b.test'\ndomains = 'y.test X.test'\n";
        assert_eq!(
            wrong(twice),
            (Some(7), "`relays.b.domains` names x.test, which `relays.a.domains` has already".to_owned())
        );
        assert_eq!(wrong("[relays.work]\nhots = 'x'\n").0, Some(3));
        assert!(wrong("[relays.work]\nhots = 'x'\n").1.contains("did you mean `relays.office.host`?"));
        assert!(wrong("[relays.'../x']\nhost = 'x'\n").1.contains("cannot be the name of a relay"));
        assert!(wrong("[relays.work]\nport = 0\n").1.contains("`relays.work.port` is 0"));
        assert!(wrong("[relays]\nwork = 'x'\n").1.contains("`relays.work` is a section"));
    }

    /// The problems of a file with a good host name in line 1.
    fn problems(rest: &str) -> Vec<String> {
        match Settings::parse(&format!("hostname = 'mail.example.test'\n{rest}")) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn settings_may_be_written_in_any_of_tomls_ways() {
        let a = Settings::parse("hostname='m.example.test'\n[listeners.imap]\non=true\nport=1143").unwrap();
        let b = Settings::parse("hostname='m.example.test'\nlisteners.imap.on=true\nlisteners.imap.port=1143").unwrap();
        let c = Settings::parse("hostname='m.example.test'\nlisteners = { imap = { on=true, port=1143 } }").unwrap();
        assert_eq!(a, b);
        assert_eq!(a, c);
        assert!(a.listeners.imap.on && a.listeners.imap.port == 1143);
        assert_eq!(a.limits.smtp.message_bytes, 50 * 1024 * 1024);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        assert_eq!(
            problems("[listeners.smtp]\nprot = 25"),
            ["settings.toml line 3: `listeners.smtp.prot` is not a setting; did you mean `listeners.smtp.port`?"]
        );
        assert_eq!(
            problems("[lisener.smtp]\nport = 25"),
            ["settings.toml line 2: `lisener` is not a section; did you mean `listeners`?"]
        );
        assert_eq!(
            problems("message_size = '1 MiB'"),
            ["settings.toml line 2: `message_size` is not a setting; did you mean `limits.smtp.message_size`?"]
        );
        assert_eq!(
            problems("colour = 1"),
            [
                "settings.toml line 2: `colour` is not a setting; at the top of the file there are hostname, time_zone, language, listeners, acme, mta_sts, checks, strangers, dns, relay, relays, sending, reports, line, update, limits"
            ]
        );
    }

    #[test]
    fn wrong_types_and_values_say_what_would_be_right() {
        assert_eq!(
            problems("[listeners.smtp]\non = 'yes'\nport = 0\n[limits.smtp]\nrecipients = 5\ndata_timeout = 3"),
            [
                "settings.toml line 3: `listeners.smtp.on` is text; it must be true or false",
                "settings.toml line 4: `listeners.smtp.port` is 0; it must be a port number from 1 to 65535",
                "settings.toml line 6: `limits.smtp.recipients` is 5; it must be a number from 100 to 10000",
                "settings.toml line 7: `limits.smtp.data_timeout` is 3 without a unit; it must be a time from \"1 s\" to \
                 \"1 h\"",
            ]
        );
        assert_eq!(
            problems("limits = 3"),
            [
                "settings.toml line 2: `limits` is a section, not a value: write [limits] and below it smtp, imap, login, store"
            ]
        );
        assert_eq!(
            problems("[[listeners]]\nsmtp = 3"),
            ["settings.toml line 2: `listeners` is a section, not a value: write [listeners] and below it smtp, \
              submissions, submission, imaps, imap, https"]
        );
    }

    #[test]
    fn two_open_listeners_do_not_share_a_port() {
        let both = "[listeners.imap]\non = true\nport = 993";
        assert_eq!(
            problems(both),
            [
                "settings.toml line 4: `listeners.imap.port` is 993, which `listeners.imaps` has already; give one of them \
              another port or switch it off"
            ]
        );
        assert!(problems(&both.replace("true", "false")).is_empty());
    }

    #[test]
    fn the_host_name_is_the_one_thing_that_must_be_said() {
        let missing = Settings::parse("").unwrap_err();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].to_string().starts_with("settings.toml: `hostname` is missing: write "), "{}", missing[0]);
        let wrong = Settings::parse("\nhostname = 'mail'").unwrap_err();
        assert_eq!(
            wrong.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["settings.toml line 2: `hostname` is \"mail\"; it must be a host name with a dot in it, such as \
              \"mail.example.org\""]
        );
    }

    #[test]
    fn limits_that_contradict_each_other_are_told() {
        assert_eq!(
            problems("[limits.imap]\nconnections = 20\nconnections_per_address = 30"),
            [
                "settings.toml line 4: `limits.imap.connections_per_address` is more than `limits.imap.connections`; it must \
              not be"
            ]
        );
        assert!(problems("[limits.imap]\nconnections = 20").is_empty());
    }

    #[test]
    fn what_is_not_toml_names_its_line() {
        let text = problems("[listeners.smtp\non = true");
        assert_eq!(text.len(), 1);
        assert!(text[0].starts_with("settings.toml line 2: this is not TOML: "), "{}", text[0]);
        let text = problems("hostname = 'twice.example.test'");
        assert!(text[0].starts_with("settings.toml line 2: this is not TOML: "), "{}", text[0]);
    }

    #[test]
    fn a_file_full_of_mistakes_shows_a_bounded_number() {
        let many: String = (0..5000).map(|n| format!("zzzzzzz{n} = 1\n")).collect();
        assert_eq!(problems(&many).len(), PROBLEMS);
    }
}
