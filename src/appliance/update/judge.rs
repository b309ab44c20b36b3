//! Whether this box should have an update (U2). Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Manifest, Refusal};

/// Three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pub u32, pub u32, pub u32);

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Version, &'static str> {
        // `parse` would take a plus sign, and zeros before.
        let number = |text: &str| {
            let plain = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
            (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
        };
        let mut parts = text.split('.').map(number);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) => Ok(Version(major, minor, patch)),
            _ => Err("a version is three numbers with dots between"),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Version, &'static str> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub version: Version,
    pub board: String,
    /// What a slot holds, in bytes.
    pub slot_bytes: u64,
}

/// The same version again is a refusal too, since there is nothing to do.
pub fn judge(manifest: &Manifest, here: &Running) -> Result<(), Refusal> {
    let (offered, runs) = (manifest.version, here.version);
    if manifest.board != here.board {
        return Err(Refusal::OtherBoard { wanted: manifest.board.clone(), here: here.board.clone() });
    }
    if offered == runs {
        return Err(Refusal::Same(runs));
    }
    if offered < runs {
        return Err(Refusal::Older { offered, runs });
    }
    if runs < manifest.minimum {
        return Err(Refusal::TooOldStart { runs, minimum: manifest.minimum });
    }
    if manifest.bytes > here.slot_bytes {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_plain_numbers_and_have_an_order() {
        let version = |text: &str| text.parse::<Version>();
        assert_eq!(version("0.10.2"), Ok(Version(0, 10, 2)));
        assert!(version("0.10.2") > version("0.9.30"));
        for wrong in
            ["", "1", "1.2", "1.2.3.4", "1.2.", "+1.2.3", "1.02.3", "1.2.3-rc1", "1.2.9999999", " 1.2.3", "1.2.x"]
        {
            assert!(version(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Version(1, 0, 20).to_string(), "1.0.20");
    }

    #[test]
    fn each_reason_to_refuse_has_its_own_word() {
        let manifest = |version: &str, minimum: &str, board: &str, bytes| Manifest {
            what: super::super::package::WHAT.to_owned(),
            format: 1,
            version: version.parse().unwrap(),
            board: board.to_owned(),
            minimum: minimum.parse().unwrap(),
            built: 0,
            bytes,
            piece_bytes: 1 << 20,
            sha256: Vec::new(),
        };
        let here = Running { version: Version(1, 2, 3), board: "pc".to_owned(), slot_bytes: 100 };
        assert_eq!(judge(&manifest("1.2.4", "1.0.0", "pc", 100), &here), Ok(()));
        assert!(matches!(judge(&manifest("1.2.4", "1.0.0", "pi", 1), &here), Err(Refusal::OtherBoard { .. })), "U2");
        assert_eq!(judge(&manifest("1.2.3", "1.0.0", "pc", 1), &here), Err(Refusal::Same(here.version)));
        assert!(matches!(judge(&manifest("1.2.2", "1.0.0", "pc", 1), &here), Err(Refusal::Older { .. })), "U2");
        assert!(matches!(judge(&manifest("2.0.0", "1.2.4", "pc", 1), &here), Err(Refusal::TooOldStart { .. })), "U2");
        assert_eq!(judge(&manifest("1.2.4", "1.0.0", "pc", 101), &here), Err(Refusal::TooLarge));
    }
}
