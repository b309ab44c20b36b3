//! Content signed with a certificate of ours, as CMS SignedData (RFC 5652 5) with the content inside: what Apple devices want
//! of a profile that they are to call verified.

use aws_lc_rs::digest::{self, SHA256, SHA384};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::net::Pair;

// Object identifiers, as DER has them.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const OID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const OID_SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const ZERO: u8 = 0xa0;

/// The content with the signature and the whole chain around it, DER. Errors: sentences; the key is of a kind that has no
/// place there.
pub fn signed(content: &[u8], pair: &Pair) -> Result<Vec<u8>, String> {
    let chain = CertificateDer::pem_slice_iter(&pair.chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| "the certificate is not PEM")?;
    let own = chain.first().ok_or("there is no certificate")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(own).map_err(|_| "the certificate cannot be read")?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| "the key is not PEM")?;
    let key = default_provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    let offered = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    let signer = key.choose_scheme(&offered).ok_or("a key of this kind signs no profile")?;
    let (hash, hash_id, by) = match signer.scheme() {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (&SHA256, OID_SHA256, sequence(&[&tlv(OID, ECDSA_SHA256)])),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (&SHA384, OID_SHA384, sequence(&[&tlv(OID, ECDSA_SHA384)])),
        // RFC 4055 5: with NULL.
        _ => (&SHA256, OID_SHA256, sequence(&[&tlv(OID, RSA_SHA256), &[0x05, 0x00]])),
    };
    let hash_id = sequence(&[&tlv(OID, hash_id)]);
    let digest = digest::digest(hash, content);

    let attribute = |id: &[u8], value: &[u8]| sequence(&[&tlv(OID, id), &tlv(SET, value)]);
    let mut attributes =
        [attribute(CONTENT_TYPE, &tlv(OID, DATA)), attribute(MESSAGE_DIGEST, &tlv(OCTETS, digest.as_ref()))];
    // X.690 11.6: the parts of a set are in the order of their encodings.
    attributes.sort();
    let attributes = attributes.concat();
    // RFC 5652 5.4: signed as a set, whatever its tag is where it stands.
    let signature = signer.sign(&tlv(SET, &attributes)).map_err(|error| error.to_string())?;

    let tbs = &parsed.tbs_certificate;
    let whose = sequence(&[tbs.issuer.as_raw(), &tlv(INTEGER, tbs.raw_serial())]);
    let version = tlv(INTEGER, &[1]);
    let signer = sequence(&[&version, &whose, &hash_id, &tlv(ZERO, &attributes), &by, &tlv(OCTETS, &signature)]);
    let inside = sequence(&[&tlv(OID, DATA), &tlv(ZERO, &tlv(OCTETS, content))]);
    let certificates: Vec<u8> = chain.iter().flat_map(|one| one.iter().copied()).collect();
    let data = sequence(&[&version, &tlv(SET, &hash_id), &inside, &tlv(ZERO, &certificates), &tlv(SET, &signer)]);
    Ok(sequence(&[&tlv(OID, SIGNED_DATA), &tlv(ZERO, &data)]))
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = value.len().to_be_bytes();
    match u8::try_from(value.len()) {
        Ok(short @ ..0x80) => out.push(short),
        _ => {
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            let length = length.get(zeros..).unwrap_or_default();
            // A usize has at most eight.
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
            out.extend_from_slice(length);
        }
    }
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is around the content, and that it is whole; whether a stranger's program believes the signature is seen end to
    /// end, with openssl.
    #[test]
    fn lengths_are_as_der_has_them() {
        assert_eq!(tlv(4, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(tlv(4, &[7; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(tlv(4, &[7; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[7; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
        let pair = crate::net::tls::self_signed(&["mail.example.test".to_owned()]).unwrap();
        let content = vec![b'x'; 70_000];
        let made = signed(&content, &pair).unwrap();
        // How long a signature is differs from one to the next.
        let length = u32::try_from(made.len() - 5).unwrap().to_be_bytes();
        assert_eq!((&made[..2], &made[2..5]), (&[0x30, 0x83][..], &length[1..]));
        assert!(made.windows(100).any(|some| some == &content[..100]));
        assert_ne!(signed(b"other", &pair).unwrap(), made);
        assert!(signed(&content, &Pair { chain: b"none".to_vec(), key: pair.key.clone() }).is_err());
    }
}
