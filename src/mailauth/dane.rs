//! What TLSA records say of a server's certificate (RFC 6698 2.1, RFC 7672 3.1): which of them can be used for mail, and
//! whether one fits.
//!
//! Does not know: whether they are proven (DNSSEC), what a chain of certificates is worth.

use aws_lc_rs::digest::{self, SHA256, SHA512};

/// Records of one server that are looked at (P7).
const RECORDS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// DANE-TA(2): an authority that the server's certificate comes from.
    Authority,
    /// DANE-EE(3): the server's own certificate.
    Own,
}

/// A record that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    pub usage: Usage,
    /// False: the whole certificate; true: its key (SubjectPublicKeyInfo).
    pub key: bool,
    pub matching: Matching,
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    Full,
    Sha256,
    Sha512,
}

impl Tlsa {
    /// `None`: it cannot be used for mail (RFC 7672 3.1.3: usages 0 and 1), is not understood, or is broken.
    pub fn new(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Option<Tlsa> {
        let usage = match usage {
            2 => Usage::Authority,
            3 => Usage::Own,
            _ => return None,
        };
        let key = match selector {
            0 => false,
            1 => true,
            _ => return None,
        };
        let matching = match (matching, data.len()) {
            (0, 1..) => Matching::Full,
            (1, 32) => Matching::Sha256,
            (2, 64) => Matching::Sha512,
            _ => return None,
        };
        Some(Tlsa { usage, key, matching, data: data.to_vec() })
    }

    /// Whether it names this certificate. `whole` and `key` are DER.
    pub fn fits(&self, whole: &[u8], key: &[u8]) -> bool {
        let named = if self.key { key } else { whole };
        match self.matching {
            Matching::Full => self.data == named,
            Matching::Sha256 => digest::digest(&SHA256, named).as_ref() == self.data,
            Matching::Sha512 => digest::digest(&SHA512, named).as_ref() == self.data,
        }
    }
}

/// Those that can be used, of usage, selector, matching type and data.
pub fn usable<'a>(records: impl IntoIterator<Item = (u8, u8, u8, &'a [u8])>) -> Vec<Tlsa> {
    let all = records.into_iter().take(RECORDS);
    all.filter_map(|(usage, selector, matching, data)| Tlsa::new(usage, selector, matching, data)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_fits_what_it_names_and_nothing_else() {
        let hash = |bytes: &[u8]| digest::digest(&SHA256, bytes).as_ref().to_vec();
        let long = |bytes: &[u8]| digest::digest(&SHA512, bytes).as_ref().to_vec();
        for (selector, matching, data) in [
            (0, 0, b"whole".to_vec()),
            (1, 0, b"key".to_vec()),
            (0, 1, hash(b"whole")),
            (1, 1, hash(b"key")),
            (0, 2, long(b"whole")),
            (1, 2, long(b"key")),
        ] {
            let record = Tlsa::new(3, selector, matching, &data).unwrap();
            assert!(record.fits(b"whole", b"key"), "{selector} {matching}");
            assert!(!record.fits(b"key", b"whole"), "{selector} {matching}");
        }
    }

    #[test]
    fn what_is_not_understood_cannot_be_used() {
        let digest = [7; 32];
        let all = [(0, 1, 1), (1, 1, 1), (3, 2, 1), (3, 1, 3), (3, 1, 2), (255, 0, 0)];
        assert_eq!(usable(all.map(|(usage, selector, matching)| (usage, selector, matching, &digest[..]))), []);
        assert_eq!(usable([(3, 0, 0, &[][..]), (2, 1, 1, &digest[..31])]), []);
        assert_eq!(usable([(0, 0, 1, &digest[..]), (2, 0, 1, &digest[..])]).len(), 1);
    }

    proptest! {
        #[test]
        fn any_record_does_no_harm(usage in 0..5_u8, selector in 0..3_u8, matching in 0..4_u8, data: Vec<u8>) {
            if let Some(record) = Tlsa::new(usage, selector, matching, &data) {
                record.fits(&data, &data);
            }
        }
    }
}
