//! What a certificate says of itself.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::base::Time;

use super::schedule::Lifetime;
use super::trouble::one_line;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// DNS names, lower case, without repetition.
    pub names: Vec<String>,
    /// The issuer's organisation, else its common name.
    pub issuer: String,
    pub life: Lifetime,
    pub self_signed: bool,
    /// RFC 9773 4.1: how the authority knows it; `None` without an authority key identifier.
    pub ari: Option<String>,
    /// Lower-case hexadecimal.
    pub serial: String,
}

/// Of the first certificate of a PEM chain. Errors: a sentence.
pub fn facts(chain: &[u8]) -> Result<Facts, String> {
    let first = CertificateDer::pem_slice_iter(chain)
        .next()
        .ok_or("the certificate file holds no certificate")?
        .map_err(|_| "the certificate file is not PEM")?;
    let (_, cert) = X509Certificate::from_der(&first).map_err(|_| "the certificate cannot be read")?;

    let mut names: Vec<String> = Vec::new();
    let mut key_id = None;
    for extension in cert.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(all) => {
                for name in &all.general_names {
                    if let GeneralName::DNSName(name) = name {
                        let name = name.to_ascii_lowercase();
                        if !names.contains(&name) {
                            names.push(name);
                        }
                    }
                }
            }
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                key_id = aki.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    let issuer = cert.issuer();
    let words = issuer.iter_organization().chain(issuer.iter_common_name()).find_map(|part| part.as_str().ok());
    let serial = cert.raw_serial();
    Ok(Facts {
        names,
        issuer: one_line(words.unwrap_or("")),
        life: Lifetime {
            from: Time::from_seconds(cert.validity().not_before.timestamp()),
            until: Time::from_seconds(cert.validity().not_after.timestamp()),
        },
        self_signed: cert.issuer().as_raw() == cert.subject().as_raw(),
        ari: key_id
            .map(|id| format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(id), BASE64_URL_SAFE_NO_PAD.encode(serial))),
        serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

impl Facts {
    /// Whether it is for this name (RFC 6125 6.4.3: a wildcard stands for the first label).
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            own == name
                || own.strip_prefix("*.").is_some_and(|rest| name.split_once('.').is_some_and(|(_, r)| r == rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::self_signed;

    #[test]
    fn a_certificate_is_read() {
        let pair = self_signed(&["Mail.example.test".to_owned(), "*.other.test".to_owned()]).unwrap();
        let facts = facts(&pair.chain).unwrap();
        assert_eq!(facts.names, ["mail.example.test", "*.other.test"]);
        assert!(facts.self_signed);
        assert_eq!(facts.life.from, Time::from_seconds(1_577_836_800));
        assert!(facts.covers("mail.example.test") && facts.covers("a.other.test"));
        assert!(!facts.covers("other.test") && !facts.covers("a.b.other.test") && !facts.covers("example.test"));
    }

    /// The example of RFC 9773 4.1: the two parts of the identifier are the key id and the serial as they stand in DER.
    #[test]
    fn the_identifier_for_renewals_is_made_of_key_id_and_serial() {
        let mut params = rcgen::CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::default();
        let id = [
            0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40, 0x41, 0xE1, 0xB3, 0x7B, 0x84, 0x7B, 0xA0, 0xAE, 0x2C, 0xDE, 0x01,
            0xC8, 0xD4,
        ];
        authority.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(id.to_vec());
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &issuer).unwrap().pem();
        let facts = facts(pem.as_bytes()).unwrap();
        assert_eq!(facts.ari.as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert!(!facts.self_signed);
    }

    #[test]
    fn junk_is_no_certificate() {
        assert!(facts(b"").is_err());
        assert!(facts(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
