//! The player, held against conversations with a server that is a list of answers: each of its words must be able to fail.

use std::collections::{HashMap, VecDeque};

use super::matching::{fill, fits};
use super::script::{parse, unescape};
use super::talk::{Quiet, Stage, Talk, play};
use super::{Case, script};

/// Answers each piece of input with the next of its lines; knows nothing of any protocol.
struct Parrot(VecDeque<&'static str>);

impl Stage for Parrot {
    fn open(&mut self, _: &str) -> Result<Box<dyn Talk>, String> {
        let greeting = self.0.pop_front().unwrap_or("");
        Ok(Box::new(Bird { out: greeting.into(), rest: std::mem::take(&mut self.0) }))
    }

    fn wait(&mut self, _: u64) -> Result<(), String> {
        Ok(())
    }
}

struct Bird {
    out: Vec<u8>,
    rest: VecDeque<&'static str>,
}

impl Bird {
    fn quiet(&mut self) -> Quiet {
        let rest = std::mem::take(&mut self.out);
        if self.rest.is_empty() { Quiet::Closed(rest) } else { Quiet::Silent(rest) }
    }
}

impl Talk for Bird {
    fn send(&mut self, _: &[u8]) -> Result<(), String> {
        self.out.extend(self.rest.pop_front().unwrap_or("").bytes());
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>, Quiet> {
        match self.out.iter().position(|b| *b == b'\n') {
            Some(end) => Ok(self.out.drain(..=end).collect()),
            None => Err(self.quiet()),
        }
    }

    fn exact(&mut self, length: usize) -> Result<Vec<u8>, Quiet> {
        if self.out.len() >= length { Ok(self.out.drain(..length).collect()) } else { Err(self.quiet()) }
    }

    fn unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn start_tls(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn close(&mut self) {}
}

fn played(text: &str, answers: &[&'static str]) -> Result<(), String> {
    let script: script::Script = parse(text, "imap")?;
    play(&script, &mut Parrot(answers.iter().copied().collect()))
}

fn case(name: &str, run: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Case {
    Case { name: format!("player::{name}"), run: Box::new(run) }
}

fn must(what: bool, words: &str) -> Result<(), String> {
    if what { Ok(()) } else { Err(words.to_string()) }
}

pub fn cases() -> Vec<Case> {
    vec![
        case("lines-must-be-equal", || {
            played("S: one\nC: x\nS: two", &["one\r\n", "two\r\n"])?;
            let wrong = played("S: one\nC: x\nS: two", &["one\r\n", "twos\r\n"]);
            let words = wrong.err().ok_or("another line passed")?;
            must(words.contains("line 3") && words.contains("expected two") && words.contains("got twos"), &words)?;
            must(played("S: one", &["One\r\n"]).is_err(), "another case passed")?;
            must(played("S: one", &["one\n"]).is_err(), "a bare LF passed")
        }),
        case("a-star-is-any-rest", || {
            played("S: one*\nC: x\nS: two*", &["one and more\r\n", "two\r\n"])?;
            must(played("S: one*", &["on\r\n"]).is_err(), "a shorter line passed")
        }),
        case("what-is-left-unread-fails", || {
            must(played("S: one", &["one\r\ntwo\r\n"]).is_err(), "an extra line at the end passed")?;
            must(played("S: one\nC: x\nS: two", &["one\r\nmore\r\n", "two\r\n"]).is_err(), "an extra line passed")?;
            must(played("S: one\nS-SILENT:", &["one\r\nmore\r\n", "x"]).is_err(), "S-SILENT heard something and passed")
        }),
        case("captures-bind-once", || {
            played("S: a {x} b\nC: {x}\nS: {x}", &["a 17 b\r\n", "17\r\n"])?;
            must(played("S: a {x} b\nC: x\nS: {x}", &["a 17 b\r\n", "18\r\n"]).is_err(), "another value passed")?;
            must(played("S: {x}", &["\r\n"]).is_err(), "an empty capture passed")?;
            must(played("S: a\nC: {nobody}\nS: b", &["a\r\n", "b\r\n"]).is_err(), "an unknown name was sent")?;
            let mut taken = HashMap::new();
            must(fits("[UID {v} {u}] ok {{n}}*", b"[UID 5 6] ok {310}", &mut taken)?, "no fit")?;
            must(taken["v"] == b"5" && taken["u"] == b"6" && taken["n"] == b"310", "wrong captures")?;
            must(fits("{a}-{b}", b"one-two", &mut HashMap::new())?, "no way back")
        }),
        case("literals-are-themselves", || {
            must(fill(b"a {310} {#} {{#}+}", &HashMap::new(), Some(7))? == b"a {310} 7 {7+}", "fill")?;
            must(fill(b"{#}", &HashMap::new(), None).is_err(), "a count of nothing")?;
            must(fill(b"{b64:\\0a\\0b}", &HashMap::new(), None)? == b"AGEAYg==", "base64")
        }),
        case("any-order-is-of-its-group-only", || {
            played("S~: a\nS~: b\nS: c", &["b\r\na\r\nc\r\n"])?;
            must(played("S~: a\nS~: b\nS: c", &["b\r\nc\r\na\r\n"]).is_err(), "another order passed")?;
            must(played("S~: a\nS~: b", &["a\r\na\r\n"]).is_err(), "twice the same passed")
        }),
        case("until-and-not", || {
            played("S-UNTIL: c*", &["a\r\nb\r\nc\r\n"])?;
            must(played("S-NOT: b*\nS-UNTIL: c", &["a\r\nb\r\nc\r\n"]).is_err(), "what must not come passed")?;
            must(played("S-UNTIL: d", &["a\r\nb\r\n"]).is_err(), "what never came passed")
        }),
        case("raw-is-to-the-byte", || {
            played("S-RAW: a\\x2a\\r\\n", &["a*\r\n"])?;
            must(played("S-RAW: a\\x2a\\r\\n", &["ab\r\n"]).is_err(), "another byte passed")?;
            must(unescape("\\(ab*3)\\t")? == b"ababab\t", "repeats")?;
            must(unescape("\\q").is_err() && unescape("\\xg0").is_err(), "nonsense was understood")
        }),
        case("closing-is-told-from-silence", || {
            played("S: a\nC: x\nS-CLOSED:", &["a\r\n", ""])?;
            must(played("S: a\nS-CLOSED:", &["a\r\n", "more"]).is_err(), "silence passed for closing")?;
            must(played("S: a\nC: x\nS-CLOSED:", &["a\r\n", "bye\r\n"]).is_err(), "a last word passed for closing")
        }),
        case("files-with-mistakes-are-not-played", || {
            for text in [
                "S: a\nX: b",
                "S: a\n# listner: imap",
                "S: a\n# listener: imapx",
                "C: only",
                "S: a\nT: 3m",
                "no colon",
                "# only: machine\nS: a",
                "# account: alice@example.test\nS: a",
            ] {
                must(parse(text, "imap").is_err(), &format!("was understood: {text}"))?;
            }
            let script = parse("# a comment\n# RFC 9051 6.3: with a colon\n# listener2: imap\nC2: x\nS: a", "imap")?;
            must(script.listener(1) == "imaps" && script.listener(2) == "imap", "listeners")?;
            must(script.steps[0].conn == 2 && script.steps[1].conn == 1, "connections")
        }),
    ]
}
