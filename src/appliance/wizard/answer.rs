//! What a person can say to the wizard, and what it says when it does not take an answer.

use std::fmt;

use crate::appliance::writing::{NewMethod, Wish};

use super::{Origin, Relay, Step};

/// A pass phrase on its way to its hash. It has no `Debug` (W5).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A language's tag and a time zone's name, as in `en` and `Europe/Berlin`. An empty tag leaves the language as it is.
    Language {
        language: String,
        zone: String,
    },
    Origin(Origin),
    /// Put the backup on the stick back: that of this box, where there are several. `secret` is the words of its recovery sheet, or its
    /// pass phrase.
    Restore {
        box_id: Option<String>,
        secret: Secret,
    },
    /// `local` is what stands before the @.
    You {
        name: String,
        local: String,
        phrase: Secret,
    },
    /// The two words of the recovery sheet that were asked back.
    Sheet {
        first: String,
        second: String,
    },
    NewSheet,
    /// Measure the line, look at the records, ask for the certificate: now, or once more.
    Again(Step),
    /// `host` is what stands before the domain in the server's name: `mail`. `take_over` is said where the domain already gets
    /// mail elsewhere.
    Domain {
        name: String,
        host: String,
        take_over: bool,
    },
    HouseOnly,
    /// Letters are to leave through this relay; without a host through none. An empty password leaves the one that is there.
    Relay {
        relay: Relay,
        password: Secret,
    },
    /// The authority for certificates may be asked: its terms are accepted, and it may write to `contact`, if that is not
    /// empty.
    Authority {
        accepted: bool,
        contact: String,
    },
    /// How records are written from now on.
    Method(NewMethod),
    /// Look what would be written into the DNS of the domain, write it, or put it back.
    Write(Wish),
    /// Go on without this step for now; it stays what it is.
    Later(Step),
    /// Send a letter to this address, to see whether it gets there.
    Letter {
        to: String,
    },
    /// Without a phrase one is made, and shown once.
    Person {
        name: String,
        local: String,
        phrase: Secret,
    },
    Finish,
}

impl Answer {
    /// A domain that gets mail elsewhere is not disturbed: its subdomain `mail` is ours, and the box gets a name in that.
    pub fn trial(domain: &str) -> Answer {
        Answer::Domain { name: format!("mail.{}", domain.trim()), host: "post".to_owned(), take_over: false }
    }
}

/// Why an answer was not taken, in a sentence for whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field it is about, as the form calls it.
    pub field: Option<&'static str>,
    pub words: String,
}

impl Refusal {
    pub(super) fn field(field: &'static str, words: impl Into<String>) -> Refusal {
        Refusal { field: Some(field), words: words.into() }
    }

    pub fn words(words: impl Into<String>) -> Refusal {
        Refusal { field: None, words: words.into() }
    }
}

/// Longer than any field that a person fills in.
const FIELD_BYTES: usize = 1024;

/// One line of text from a form. CR, LF, NUL and every other control character are refused, not removed: whoever sends them
/// means something else than a name.
pub(super) fn line(field: &'static str, text: &str) -> Result<String, Refusal> {
    if text.len() > FIELD_BYTES {
        return Err(Refusal::field(field, "That is too long."));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::field(
            field,
            "There is a line break or another control character in it; please type it anew.",
        ));
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused_wherever_they_stand() {
        for text in ["a\r\nb", "a\nb", "a\0b", "\rab", "ab\n", "a\u{85}b", "a\u{7f}"] {
            assert!(line("name", text).is_err(), "{text:?}");
        }
        assert_eq!(line("name", "  Anna Smith ").as_deref(), Ok("Anna Smith"));
        assert!(line("name", &"x".repeat(FIELD_BYTES + 1)).is_err());
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        let answer = Answer::You { name: "Anna".into(), local: "anna".into(), phrase: Secret("river oak".into()) };
        assert!(!format!("{answer:?}").contains("river"));
    }
}
