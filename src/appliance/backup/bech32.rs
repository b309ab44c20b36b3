//! Bech32 (BIP 173) as age writes its keys: without the limit on length, all letters in one case.

/// Five bits a letter, in this order.
const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const SUM: usize = 6;

/// `prefix`, `1`, the bytes and their sum, in lower case.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut fives = regroup(bytes, 8, 5, true).unwrap_or_default();
    let mut summed = spread(prefix);
    summed.extend_from_slice(&fives);
    summed.extend_from_slice(&[0; SUM]);
    let sum = polymod(&summed) ^ 1;
    fives.extend((0..SUM).map(|n| (sum >> (5 * (SUM - 1 - n)) & 31) as u8));
    let letters = fives.iter().filter_map(|five| LETTERS.get(usize::from(*five)).map(|letter| char::from(*letter)));
    format!("{prefix}1{}", letters.collect::<String>())
}

/// The bytes of a text with this prefix, in either case; `None` if it is not one.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let lower = text.to_ascii_lowercase();
    if lower != text && text.to_ascii_uppercase() != text {
        return None;
    }
    let letters = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let fives: Vec<u8> = letters
        .bytes()
        .map(|letter| LETTERS.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok()))
        .collect::<Option<_>>()?;
    let mut summed = spread(prefix);
    summed.extend_from_slice(&fives);
    if polymod(&summed) != 1 {
        return None;
    }
    regroup(fives.get(..fives.len().checked_sub(SUM)?)?, 5, 8, false)
}

fn spread(prefix: &str) -> Vec<u8> {
    let high = prefix.bytes().map(|letter| letter >> 5);
    high.chain([0]).chain(prefix.bytes().map(|letter| letter & 31)).collect()
}

fn polymod(fives: &[u8]) -> u32 {
    let generator = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    fives.iter().fold(1u32, |sum, five| {
        let top = sum >> 25;
        let sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(*five);
        generator.iter().enumerate().fold(sum, |sum, (n, g)| if top >> n & 1 == 1 { sum ^ g } else { sum })
    })
}

/// Bits taken `from` at a time and given `to` at a time. Without padding, what is left over has to be zero and short.
fn regroup(bytes: &[u8], from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
    let (mut held, mut bits, mut out) = (0u32, 0, Vec::new());
    for byte in bytes {
        held = held << from | u32::from(*byte);
        bits += from;
        while bits >= to {
            bits -= to;
            out.push((held >> bits & ((1 << to) - 1)) as u8);
        }
        held &= (1 << bits) - 1;
    }
    if pad {
        if bits > 0 {
            out.push((held << (to - bits)) as u8 & ((1 << to) - 1) as u8);
        }
        return Some(out);
    }
    (bits < from && held == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_standard_are_read() {
        // BIP 173, test vectors.
        assert_eq!(decode("a", "A12UEL5L"), Some(Vec::new()));
        assert_eq!(decode("a", "a12uel5l"), Some(Vec::new()));
        assert_eq!(
            decode("split", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w").map(|b| b.len()),
            Some(30)
        );
        assert_eq!(
            decode("split", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e2w"),
            None,
            "a wrong sum"
        );
        assert_eq!(decode("a", "A12uel5l"), None, "two cases");
        assert_eq!(decode("b", "a12uel5l"), None, "another prefix");
    }

    proptest::proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let text = encode("age-secret-key-", &bytes);
            proptest::prop_assert_eq!(decode("age-secret-key-", &text), Some(bytes.clone()));
            proptest::prop_assert_eq!(decode("age-secret-key-", &text.to_ascii_uppercase()), Some(bytes));
        }
    }
}
