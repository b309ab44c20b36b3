//! The format against what stock age 1.1.1 wrote, and against every kind of damage.

use super::*;
use crate::base::SeededRandom;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const KEY_FILE: &str = "# created: 2026-11-27T02:22:27Z\n\
     # public key: age140t9epc7dfrktvrrqxmwrayahgkucx73mfs0899zypxmkgr62qqqata0ym\n\
     AGE-SECRET-KEY-18E3CRAWVEQGR0QW2YRPPHYJ882YD7WS48SH2QVLAL99FAHPASUXQR9T8GJ\n";
const FOR_KEY: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBvZ3A2cDE1cnR2aTM3UkhQRm1QK0tNTTE4WFdYRWZpcDFjajdBemJyalc0 \
     ClovTFVLTXR1SFY2TGppYXEzT2VhUDlaTlppYUdBaW1CdE5TaGNSOVd4b3cKLS0tIFlCbHVSS21hWGVYSmsyeHg2bk5TNGc0aWUx \
     ZkJxTjdteEIyenhyYkNudU0K1USh7xamLHujGn9o9208mI4BQqzLHCpxwmN8tfd+bBmAfkzjia0s8aZ1IGDMMg==";
const BY_PHRASE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBoZzFZaStvRU9aUkZRSkNEN3hBZWdBIDE4CnRKRVlIdlpleUxHa3RHVmE5 \
     SmpHVXg0TitqTVE4MmptNjJ1Q0NJUTBtWWcKLS0tIDdhYUJENzNpM0s5VDJSKzZLWi9GM2Q2QXNQcGEvL0ZIVEVOL0k2VWZzSjAK \
     m2rg08WLsLvnLGGyrNl8gwDdFXWeWcSbGRhzxLd5/hSFTXlB82d61bX3pTMtHA==";

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text.replace(' ', "")).unwrap()
}

fn opened_as(bytes: &[u8], key: &Key<'_>) -> Result<Vec<u8>, Closed> {
    open(bytes, key).map_err(|error| *error.get_ref().and_then(|inner| inner.downcast_ref::<Closed>()).unwrap())
}

#[test]
fn what_age_wrote_is_read() {
    let identity = Identity::read(KEY_FILE).unwrap();
    assert!(KEY_FILE.contains(&identity.text()));
    assert!(KEY_FILE.contains(&super::bech32::encode("age", &identity.public)));
    assert_eq!(open(&decoded(FOR_KEY), &Key::Identity(&identity)).unwrap(), b"river oak lamp");
    let sealed = decoded(BY_PHRASE);
    assert_eq!(open(&sealed, &Key::Phrase("apple river lamp")).unwrap(), b"river oak lamp");
    assert_eq!(opened_as(&sealed, &Key::Phrase("apple river lamb")), Err(Closed::OtherKey));
    assert_eq!(opened_as(&sealed, &Key::Identity(&identity)), Err(Closed::OtherKey));
}

#[test]
fn a_key_file_has_one_key() {
    assert!(Identity::read("").is_none());
    assert!(Identity::read(&format!("{KEY_FILE}{}\n", Identity::new(&SeededRandom::new(1)).text())).is_none());
    assert!(Identity::read(&KEY_FILE.replace("E3CRAW", "E3CRAV")).is_none());
}

#[test]
fn every_length_around_a_piece_comes_back() {
    let random = SeededRandom::new(7);
    let identity = Identity::new(&random);
    for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 5] {
        let bytes = vec![b'x'; len];
        let sealed = seal(&bytes, &Seal::For(&identity), &random).unwrap();
        assert!(open(&sealed, &Key::Identity(&identity)).unwrap() == bytes, "{len}");
        // Cut at a piece's end, which is where a reader without a mark for the last one would see nothing missing.
        if len > PIECE {
            let cut = sealed.len() - (len % PIECE + TAG);
            assert_eq!(opened_as(&sealed[..cut], &Key::Identity(&identity)), Err(Closed::Damaged), "{len}");
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let random = SeededRandom::new(8);
    let identity = Identity::new(&random);
    let sealed = seal(b"a short letter", &Seal::For(&identity), &random).unwrap();
    for at in 0..sealed.len() {
        assert!(open(&sealed[..at], &Key::Identity(&identity)).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            assert!(open(&flipped, &Key::Identity(&identity)).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn work_that_would_take_all_memory_is_refused() {
    let random = SeededRandom::new(9);
    let sealed = seal(b"x", &Seal::Phrase("p"), &random).unwrap();
    let text = String::from_utf8_lossy(&sealed[..100]).into_owned();
    let at = text.find(&format!(" {WORK}\n")).unwrap();
    let mut heavy = sealed.clone();
    heavy[at + 1..at + 3].copy_from_slice(b"30");
    assert_eq!(opened_as(&heavy, &Key::Phrase("p")), Err(Closed::Damaged));
}

proptest! {
    #[test]
    fn anything_else_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
        let identity = Identity::new(&SeededRandom::new(1));
        let with_start = [format!("{VERSION}\n-> X25519 ").into_bytes(), bytes.clone()].concat();
        prop_assert!(open(&bytes, &Key::Identity(&identity)).is_err());
        prop_assert!(open(&with_start, &Key::Identity(&identity)).is_err());
    }
}

/// A stick that becomes full: the compressor above writes once more when it is dropped.
#[test]
fn after_a_piece_that_could_not_be_written_nothing_more_is() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let identity = Identity::new(&SeededRandom::new(1));
    for room in [300, 70_000, 140_000] {
        let random = SeededRandom::new(2);
        let sealing = Sealing::begin(Full(room), &Seal::For(&identity), &random).unwrap();
        let mut packed = flate2::write::GzEncoder::new(sealing, flate2::Compression::new(0));
        let failed = packed.write_all(&vec![7; 1 << 20]).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        assert!(packed.write_all(&[7; 1 << 17]).is_err());
        drop(packed);
    }
}
