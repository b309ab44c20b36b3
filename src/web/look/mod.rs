//! How all our pages look: one style sheet, one mark. Nothing is fetched from elsewhere.

pub const STYLE: &str = include_str!("style.css");
pub const MARK: &str = include_str!("mark.svg");
