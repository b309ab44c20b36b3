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
