//! Whose updates are believed: a file in the system itself, one line a key: `ed25519 BASE64 whose it is`.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Refusal;

/// Where they are on a box.
pub const FILE: &str = "etc/homepost/update-keys";

const KEYS: usize = 8;
const KEY_BYTES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Vec<(Vec<u8>, String)>);

impl Keys {
    /// From the text of the file. A line that cannot be read makes the whole useless: half a list would be a surprise.
    pub fn read(text: &str) -> Result<Keys, Refusal> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Option<Vec<_>> = lines.map(key).collect();
        match keys {
            Some(keys) if (1..=KEYS).contains(&keys.len()) => Ok(Keys(keys)),
            _ => Err(Refusal::NoKeys),
        }
    }

    /// Whose signature it is; `None`: nobody's that we know.
    pub fn signer(&self, message: &[u8], signature: &[u8]) -> Option<&str> {
        let good = |key: &[u8]| UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok();
        self.0.iter().find(|(key, _)| good(key)).map(|(_, whose)| whose.as_str())
    }
}

fn key(line: &str) -> Option<(Vec<u8>, String)> {
    let mut words = line.splitn(3, ' ');
    let (kind, key) = (words.next()?, words.next()?);
    let key = STANDARD.decode(key).ok().filter(|key| key.len() == KEY_BYTES)?;
    (kind == "ed25519").then(|| (key, words.next().unwrap_or("no name").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let one = format!("ed25519 {} one of ours", STANDARD.encode([7; 32]));
        let keys = Keys::read(&format!("# whom we believe\n\n{one}\n{one}\n")).unwrap();
        assert_eq!(keys.0[0], (vec![7; 32], "one of ours".to_owned()));
        for wrong in ["", "# none\n", "ed25519 short x\n", &one.replace("ed25519", "rsa"), &format!("{one}\nrubbish\n")]
        {
            assert_eq!(Keys::read(wrong), Err(Refusal::NoKeys), "{wrong}");
        }
        assert_eq!(Keys::read(&format!("{one}\n").repeat(KEYS + 1)), Err(Refusal::NoKeys));
    }
}
