//! How all our pages look: one style sheet, one mark. Nothing is fetched from elsewhere.

pub const STYLE: &str = include_str!("style.css");
pub const MARK: &str = include_str!("mark.svg");

/// A part of a sentence as one of its own: with a capital letter, unless it begins with a name or an address.
pub fn sentence(words: &str) -> String {
    let named = words.split(' ').next().is_some_and(|first| first.contains(['@', '.']));
    let mut chars = words.chars();
    let first = match chars.next() {
        Some(first) if !named => first.to_uppercase().collect(),
        Some(first) => first.to_string(),
        None => String::new(),
    };
    let end = if words.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

/// Of a reply that is not the last word (RFC 3463 3), for people. What ends with 5 is in no queue.
pub fn meaning(last: &str) -> &'static str {
    let status = last.split_whitespace().nth(1).unwrap_or("");
    let mut parts = status.split('.').skip(1).map(|part| part.parse::<u16>().unwrap_or(0));
    match (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) {
        (2, 2) => "The letter box there is full.",
        (1 | 2, _) => "Something about this address does not work there just now.",
        (4, 3) => "No name server said where letters have to go.",
        (4, _) => "The server there cannot be reached, or the line broke.",
        (7, _) => {
            "The server there does not take it from us yet: many let strangers wait at first, some do not trust the line or \
             its encryption."
        }
        _ => "The server there asks us to come again later.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_said_has_a_meaning() {
        for (last, part) in [
            ("450 4.7.1 greylisted", "strangers"),
            ("451 4.4.3 no server of far.test is known", "name server"),
            ("450 4.2.0 busy", "address"),
            ("421 4.0.0 later", "later"),
            ("", "later"),
            ("421 x.y", "later"),
        ] {
            assert!(meaning(last).contains(part), "{last}: {}", meaning(last));
        }
    }
}
