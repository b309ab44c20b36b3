//! A list of 256 words, one for each byte: what people compare, copy and type without a mistake.
//!
//! Short, plain, no two that sound or look the same, none that anybody would rather not read out to a grandmother.

/// In the order of the alphabet; the place of a word is its byte.
pub const WORDS: [&str; 256] = [
    "acorn", "actor", "album", "alley", "amber", "anchor", "ankle", "apple", "april", "apron", "arch", "arrow",
    "atlas", "attic", "badge", "bagel", "baker", "bamboo", "banjo", "barn", "basil", "basket", "beach", "beetle",
    "bell", "berry", "bicycle", "bird", "biscuit", "blanket", "blossom", "boat", "bonfire", "bottle", "bread",
    "breeze", "brick", "bridge", "broom", "brush", "bucket", "button", "cabin", "cactus", "camel", "candle", "canoe",
    "carpet", "carrot", "castle", "cedar", "cello", "chalk", "cherry", "chess", "chimney", "cider", "circus", "clay",
    "clock", "cloud", "clover", "cobalt", "cocoa", "comet", "copper", "coral", "cotton", "cousin", "crayon", "cricket",
    "crown", "curtain", "daisy", "dancer", "desert", "diary", "dolphin", "donkey", "dragon", "drawer", "drum", "eagle",
    "easel", "echo", "elbow", "ember", "engine", "evening", "fabric", "falcon", "feather", "fennel", "ferry", "fiddle",
    "field", "finch", "flame", "flute", "forest", "fossil", "fox", "garden", "garlic", "ginger", "glacier", "globe",
    "glove", "goat", "granite", "grape", "guitar", "hammer", "harbor", "harvest", "hazel", "hedge", "helmet", "heron",
    "hill", "honey", "horse", "hotel", "island", "ivory", "jacket", "jigsaw", "jungle", "keyring", "kitchen", "kite",
    "koala", "ladder", "lagoon", "lamp", "lantern", "laurel", "lemon", "lettuce", "library", "lilac", "lizard",
    "lobster", "lotus", "magnet", "mango", "maple", "marble", "market", "meadow", "melon", "mill", "mint", "mirror",
    "mitten", "moon", "mosaic", "muffin", "museum", "napkin", "needle", "nest", "nickel", "noodle", "north", "nutmeg",
    "oak", "oasis", "oboe", "ocean", "olive", "onion", "opal", "orange", "orchard", "otter", "owl", "oyster", "paddle",
    "palace", "paper", "parrot", "peach", "pebble", "pencil", "pepper", "piano", "pillow", "pine", "planet", "plum",
    "pocket", "poem", "pony", "poplar", "potato", "pumpkin", "quartz", "quill", "rabbit", "radio", "rain", "raven",
    "ribbon", "river", "robin", "rocket", "rope", "rose", "saddle", "sailor", "salmon", "sandal", "saturn", "scarf",
    "school", "seal", "shell", "silver", "sketch", "slipper", "snow", "sofa", "spoon", "spring", "squash", "stamp",
    "stone", "summer", "sunset", "swan", "table", "teapot", "thimble", "tiger", "toast", "tomato", "torch", "train",
    "tulip", "tunnel", "turtle", "valley", "vanilla", "velvet", "violin", "walnut", "water", "whale", "wheat",
    "willow", "window", "winter", "wool", "yellow", "zebra",
];

/// One word for each byte.
pub fn of(bytes: &[u8]) -> Vec<&'static str> {
    bytes.iter().map(|byte| WORDS[usize::from(*byte)]).collect()
}

/// What a recovery sheet is known by; of its words as [`normal`] gives them. 80 bits of randomness need no slow hash.
pub fn sheet_hash(words: &str) -> blake3::Hash {
    blake3::derive_key("homepost 2026 recovery sheet", words.as_bytes()).into()
}

/// What was typed, as the words are written: lower case, one space between two.
pub fn normal(text: &str) -> String {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_sorted_short_and_differ_in_their_first_four_letters_or_length() {
        for pair in WORDS.windows(2) {
            assert!(pair[0] < pair[1], "{} {}", pair[0], pair[1]);
        }
        assert!(WORDS.iter().all(|word| (3..=7).contains(&word.len()) && word.chars().all(|c| c.is_ascii_lowercase())));
        let mut heads = std::collections::BTreeSet::new();
        for word in WORDS {
            assert!(heads.insert(&word[..word.len().min(4)]), "{word} begins like another");
        }
    }

    #[test]
    fn typing_is_forgiven() {
        assert_eq!(normal("  Apple-river\nLAMP, "), "apple river lamp");
    }
}
