//! The set-up code: made once, shown on the box, asked by the page; and what wrong tries lead to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::Random;

/// No two of these look the same on a screen across the room, and none is another one written badly: without 0 O, 1 I, 5 S,
/// 8 B, 2 Z, 6 G, U V.
const LETTERS: &[u8; 24] = b"ACDEFGHJKLMNPQRTVWXY3479";
const LENGTH: usize = 8;

/// Wrong tries before the first pause, and before the code is changed.
pub(super) const FREE: u32 = 5;
pub(super) const MOST: u32 = 50;
const FIRST_PAUSE_MS: u64 = 30_000;
const LAST_PAUSE_MS: u64 = 15 * 60_000;

/// Eight characters, 36 bits: with 50 tries the chance to guess it is one in two thousand million.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code(String);

impl Code {
    pub fn new(random: &dyn Random) -> Code {
        let mut code = String::with_capacity(LENGTH);
        while code.len() < LENGTH {
            let mut byte = [0u8; 1];
            random.fill(&mut byte);
            // 240 is the largest multiple of 24 in a byte: above it some letters would be likelier.
            if byte[0] < 240 {
                code.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
            }
        }
        Code(code)
    }

    /// With a dash in the middle, as it is shown.
    pub fn shown(&self) -> String {
        let (left, right) = self.0.split_at(self.0.len().min(LENGTH / 2));
        format!("{left}-{right}")
    }

    /// Small letters, dashes and spaces are forgiven. The time it takes says nothing about the code.
    pub fn is(&self, typed: &str) -> bool {
        let typed: String =
            typed.chars().filter(char::is_ascii_alphanumeric).take(LENGTH + 1).collect::<String>().to_ascii_uppercase();
        blake3::hash(typed.as_bytes()) == blake3::hash(self.0.as_bytes())
    }
}

impl fmt::Debug for Code {
    // W5.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// How long after the `wrong`th wrong try nothing is looked at: 30 s after the fifth, then twice as long each time.
pub fn pause_ms(wrong: u32) -> u64 {
    let Some(over) = wrong.checked_sub(FREE) else { return 0 };
    FIRST_PAUSE_MS.saturating_mul(1u64 << over.min(20)).min(LAST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    #[test]
    fn a_code_has_eight_letters_without_look_alikes() {
        let random = SeededRandom::new(7);
        for _ in 0..200 {
            let shown = Code::new(&random).shown();
            assert_eq!(shown.len(), 9);
            assert!(shown.chars().all(|c| c == '-' || LETTERS.contains(&(c as u8))), "{shown}");
        }
    }

    #[test]
    fn typing_is_forgiven_and_nothing_else() {
        let code = Code("7K4PXQM3".to_owned());
        for typed in ["7K4P-XQM3", "7k4pxqm3", " 7K4P XQM3 "] {
            assert!(code.is(typed), "{typed}");
        }
        for typed in ["", "7K4PXQM", "7K4PXQM33", "7K4PXQM4", "7K4PXQMé"] {
            assert!(!code.is(typed), "{typed}");
        }
    }

    #[test]
    fn pauses_begin_with_the_fifth_and_end_at_a_quarter_of_an_hour() {
        let pauses: Vec<u64> = (0..=12).map(|wrong| pause_ms(wrong) / 1000).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]);
        assert_eq!(pause_ms(u32::MAX), LAST_PAUSE_MS);
    }
}
