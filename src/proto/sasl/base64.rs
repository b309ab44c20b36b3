//! Base64 as SASL lines carry it: RFC 4648 4, with padding, without blanks or line ends, and canonical (the bits behind
//! the last octet are zero), so that one message has one form.

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;

pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// `None` if it is not canonical base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_10_vectors_and_nothing_looser() {
        for (octets, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(octets.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(octets.as_bytes()));
        }
        for loose in ["Zg", "Zg=", "Zh==", "Zm9v\r\n", " Zm9v", "Zm9v====", "Zg==Zg==", "Zm-_", "="] {
            assert_eq!(decode(loose.as_bytes()), None, "{loose:?}");
        }
    }
}
