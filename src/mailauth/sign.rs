//! Letters of our own, signed (RFC 6376 5): one signature for each key of the domain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::{Writable, Writer};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::base::Time;
use crate::message::header;

use super::canon::Form;
use super::letter::{Author, Letter, signed_fields};

/// Fields that are signed where they are there, and once more than they are there, so that nobody can add one (RFC 6376
/// 8.15).
const SEALED: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Reply-To",
    "Sender",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// Fields of lists, which are signed as they are.
const COVERED: &[&str] =
    &["List-Id", "List-Post", "List-Help", "List-Subscribe", "List-Unsubscribe", "List-Unsubscribe-Post"];
/// Fields of one letter that are signed.
const MOST: usize = 200;

/// A private key, ready to sign.
pub struct Key {
    selector: String,
    kind: Kind,
}

enum Kind {
    Ed25519(Ed25519Key),
    Rsa(RsaKey<Sha256>),
}

impl Key {
    /// PKCS#8 (DER). `None`: damaged.
    pub fn ed25519(selector: &str, pkcs8: &[u8]) -> Option<Key> {
        let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8).ok()?;
        Some(Key { selector: selector.to_owned(), kind: Kind::Ed25519(key) })
    }

    /// PKCS#8 (DER). `None`: damaged.
    pub fn rsa(selector: &str, pkcs8: &[u8]) -> Option<Key> {
        let key = RsaKey::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8))).ok()?;
        Some(Key { selector: selector.to_owned(), kind: Kind::Rsa(key) })
    }

    fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Ed25519(_) => "ed25519-sha256",
            Kind::Rsa(_) => "rsa-sha256",
        }
    }

    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Ed25519(key) => key.sign(Bytes(bytes)).ok(),
            Kind::Rsa(key) => key.sign(Bytes(bytes)).ok(),
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl Writable for Bytes<'_> {
    fn write(self, hasher: &mut impl Writer) {
        hasher.write(self.0);
    }
}

/// The domain whose keys sign a letter with this header section: its one author's.
pub fn signers_domain(head: &[u8]) -> Option<String> {
    match Letter::read(head).author() {
        Author::Domain(domain) => Some(domain),
        _ => None,
    }
}

/// The DKIM-Signature fields for a letter of this header section and body, to be put before its first field. `now` is left out
/// where the clock is not to be believed.
pub fn sign(head: &[u8], body: &[u8], domain: &str, keys: &[Key], now: Option<Time>) -> Vec<u8> {
    let names = names(head);
    let body_hash = STANDARD.encode(Form::Relaxed.body_hash(body));
    let mut fields = Vec::new();
    signed_fields(head, &names, Form::Relaxed, &mut fields);
    let mut out = Vec::new();
    for key in keys {
        let mut field = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={domain};\r\n\ts={};",
            key.algorithm(),
            key.selector
        );
        if let Some(now) = now {
            field.push_str(&format!(" t={};", now.seconds()));
        }
        field.push_str("\r\n\th=");
        folded(&names.join(":"), ':', &mut field);
        field.push_str(&format!(";\r\n\tbh={body_hash};\r\n\tb="));
        let mut signed = fields.clone();
        Form::Relaxed.field(field.as_bytes(), &mut signed);
        signed.truncate(signed.len() - 2); // without a line end (RFC 6376 3.7)
        let Some(signature) = key.sign(&signed) else { continue };
        let signature = STANDARD.encode(signature);
        for (n, piece) in signature.as_bytes().chunks(72).enumerate() {
            field.push_str(if n > 0 { "\r\n\t" } else { "" });
            field.push_str(&String::from_utf8_lossy(piece));
        }
        field.push_str("\r\n");
        out.extend_from_slice(field.as_bytes());
    }
    out
}

fn names(head: &[u8]) -> Vec<&'static str> {
    let mut out = Vec::new();
    for name in SEALED {
        let there = header::count(head, name).min(10);
        // Of what is not there only From and what readers show is kept from being added.
        let more = usize::from(there > 0 || matches!(*name, "From" | "To" | "Cc" | "Subject" | "Date" | "Reply-To"));
        out.extend(std::iter::repeat_n(*name, there + more));
    }
    for name in COVERED {
        out.extend(std::iter::repeat_n(*name, header::count(head, name).min(10)));
    }
    out.truncate(MOST);
    out
}

/// Lines of a readable length, broken behind `at`.
fn folded(text: &str, at: char, out: &mut String) {
    let mut length = 10;
    for piece in text.split_inclusive(at) {
        if length + piece.len() > 76 {
            out.push_str("\r\n\t ");
            length = 9;
        }
        out.push_str(piece);
        length += piece.len();
    }
}
