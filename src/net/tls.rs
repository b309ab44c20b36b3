//! TLS on the server's side: one configuration for all listeners, certificates chosen by name and swapped in place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ::aws_lc_rs::digest;
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ConnectionCommon, ServerConfig};

use crate::proto::Secured;

/// A way of speaking TLS, for those who hand it on and look no further.
pub type TlsConfig = Arc<ServerConfig>;

/// A certificate chain and its key, both PEM.
pub struct Pair {
    pub chain: Vec<u8>,
    /// Secret.
    pub key: Vec<u8>,
}

/// Why a certificate or key cannot be used, as a plain sentence without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// What is wrong with a server's certificate, or with its TLS altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// Not valid now.
    Time,
    /// For another name.
    Name,
    /// From nobody who is trusted.
    Untrusted,
    /// No handshake.
    Other,
}

/// Why a handshake failed.
pub fn fault(error: &std::io::Error) -> TlsFault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or(TlsFault::Other, fault_of)
}

pub(super) fn fault_of(error: &rustls::Error) -> TlsFault {
    let rustls::Error::InvalidCertificate(why) = error else { return TlsFault::Other };
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::Time,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::Name,
        _ => TlsFault::Untrusted,
    }
}

/// RFC 8737 6.2: what an authority offers, alone, when it comes to look at the answer to its challenge.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates in use. A swap touches new handshakes only; connections that stand go on.
pub struct Certs {
    kept: ArcSwap<Vec<Arc<CertifiedKey>>>,
    /// Answers to `acme-tls/1`, by name. They are for nobody else.
    challenges: ArcSwap<BTreeMap<String, Arc<CertifiedKey>>>,
}

impl Certs {
    /// The first pair serves whoever names no name, or one that none of the others is for.
    pub fn new(pairs: &[Pair]) -> Result<Arc<Certs>, Unusable> {
        Ok(Arc::new(Certs { kept: ArcSwap::from_pointee(load(pairs)?), challenges: ArcSwap::default() }))
    }

    /// All or nothing: with an error the old ones stay.
    pub fn swap(&self, pairs: &[Pair]) -> Result<(), Unusable> {
        self.kept.store(Arc::new(load(pairs)?));
        Ok(())
    }

    /// TLS 1.2 and 1.3 with these certificates. Resumption is by tickets, so that idle peers cost no memory.
    pub fn config(self: &Arc<Certs>) -> Result<Arc<ServerConfig>, Unusable> {
        Ok(Arc::new(self.plain_config()?))
    }

    /// The same for the port of HTTPS: it speaks HTTP/1.1, and answers the challenges of an authority.
    pub fn https_config(self: &Arc<Certs>) -> Result<Arc<ServerConfig>, Unusable> {
        let mut config = self.plain_config()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        Ok(Arc::new(config))
    }

    /// From now on an authority that looks at `name` finds this digest (RFC 8737 3).
    pub fn put_challenge(&self, name: &str, digest: &[u8; 32]) -> Result<(), Unusable> {
        let key = Arc::new(challenge_key(name, digest)?);
        self.challenges.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.insert(name.to_ascii_lowercase(), key.clone());
            new
        });
        Ok(())
    }

    pub fn remove_challenge(&self, name: &str) {
        self.challenges.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.remove(&name.to_ascii_lowercase());
            new
        });
    }

    fn plain_config(self: &Arc<Certs>) -> Result<ServerConfig, Unusable> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Unusable(format!("TLS cannot be set up: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| Unusable(format!("TLS tickets cannot be set up: {error}")))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }

    /// Whether the certificate that whoever names `name` is shown comes from somebody else than itself.
    pub(super) fn vouched(&self, name: Option<&str>) -> bool {
        let Some(chosen) = self.choose(name) else { return false };
        let Ok(own) = chosen.end_entity_cert() else { return false };
        x509_parser::parse_x509_certificate(own)
            .is_ok_and(|(_, own)| own.tbs_certificate.issuer.as_raw() != own.tbs_certificate.subject.as_raw())
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let kept = self.kept.load();
        if kept.len() > 1
            && let Some(name) = name.and_then(|name| ServerName::try_from(name).ok())
            && let Some(fit) = kept.iter().find(|key| is_for(key, &name))
        {
            return Some(fit.clone());
        }
        kept.first().cloned()
    }
}

impl ResolvesServerCert for Certs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_TLS)) {
            return self.challenges.load().get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        self.choose(hello.server_name())
    }
}

impl fmt::Debug for Certs {
    // Keys never appear in output (DESIGN section 6).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certs({})", self.kept.load().len())
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|cert| rustls::client::verify_server_name(&cert, name).is_ok())
}

fn load(pairs: &[Pair]) -> Result<Vec<Arc<CertifiedKey>>, Unusable> {
    if pairs.is_empty() {
        return Err(Unusable("there is no certificate".to_owned()));
    }
    let provider = aws_lc_rs::default_provider();
    pairs
        .iter()
        .map(|pair| {
            let chain = CertificateDer::pem_slice_iter(&pair.chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| Unusable("the certificate file is not PEM".to_owned()))?;
            if chain.is_empty() {
                return Err(Unusable("the certificate file holds no certificate".to_owned()));
            }
            let key = PrivateKeyDer::from_pem_slice(&pair.key)
                .map_err(|_| Unusable("the key file holds no PEM private key".to_owned()))?;
            // Also compares the key with the certificate's.
            CertifiedKey::from_der(chain, key, &provider)
                .map(Arc::new)
                .map_err(|error| Unusable(format!("the certificate and its key cannot be used: {error}")))
        })
        .collect()
}

/// Digests of a certificate: whole, and of its SubjectPublicKeyInfo alone (RFC 6698 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub whole_sha256: Vec<u8>,
    pub whole_sha512: Vec<u8>,
    pub key_sha256: Vec<u8>,
    pub key_sha512: Vec<u8>,
}

/// Of each certificate of a chain (PEM), the server's own first.
pub fn digests(chain: &[u8]) -> Result<Vec<Digests>, Unusable> {
    let unusable = || Unusable("the certificate file holds something that is no certificate".to_owned());
    let hash = |algorithm, bytes: &[u8]| digest::digest(algorithm, bytes).as_ref().to_vec();
    CertificateDer::pem_slice_iter(chain)
        .map(|der| {
            let der = der.map_err(|_| unusable())?;
            let key = ParsedCertificate::try_from(&der).map_err(|_| unusable())?.subject_public_key_info();
            Ok(Digests {
                whole_sha256: hash(&digest::SHA256, &der),
                whole_sha512: hash(&digest::SHA512, &der),
                key_sha256: hash(&digest::SHA256, &key),
                key_sha512: hash(&digest::SHA512, &key),
            })
        })
        .collect()
}

/// Makes a key (ECDSA P-256) and a certificate for these names that nobody but itself vouches for. It is valid from 2020,
/// since a box without a clock chip may start in the past, to the end of 2049 (RFC 5280 4.1.2.5: the last year that
/// every reader understands as UTCTime).
pub fn self_signed(names: &[String]) -> Result<Pair, Unusable> {
    let fault = |error: rcgen::Error| Unusable(format!("a certificate cannot be made: {error}"));
    let key = rcgen::KeyPair::generate().map_err(fault)?;
    let mut params = rcgen::CertificateParams::new(names.to_vec()).map_err(fault)?;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        params.distinguished_name.push(rcgen::DnType::CommonName, name.as_str());
    }
    let cert = params.self_signed(&key).map_err(fault)?;
    Ok(Pair { chain: cert.pem().into_bytes(), key: key.serialize_pem().into_bytes() })
}

/// RFC 8737 3: self-signed, for this one name, with the digest in a critical extension. Which is why it is not compared with
/// its key, as others are: what reads certificates for that refuses critical extensions that it does not know.
fn challenge_key(name: &str, digest: &[u8; 32]) -> Result<CertifiedKey, Unusable> {
    let fault = |error: &dyn fmt::Display| Unusable(format!("the answer to a challenge cannot be made: {error}"));
    let key = rcgen::KeyPair::generate().map_err(|error| fault(&error))?;
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).map_err(|error| fault(&error))?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    params.distinguished_name = rcgen::DistinguishedName::new();
    let cert = params.self_signed(&key).map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| fault(&error))?;
    let signing = aws_lc_rs::default_provider().key_provider.load_private_key(key).map_err(|error| fault(&error))?;
    Ok(CertifiedKey::new(vec![cert.der().clone()], signing))
}

/// Whether the chain and the key can be used, and belong together.
pub fn check(pair: &Pair) -> Result<(), Unusable> {
    load(std::slice::from_ref(pair)).map(drop)
}

/// SHA-256 of the certificate that a pair begins with, as browsers show it. Errors: it is none.
pub fn fingerprint(pair: &Pair) -> Result<[u8; 32], Unusable> {
    let first = CertificateDer::pem_slice_iter(&pair.chain).next().and_then(Result::ok);
    let first = first.ok_or_else(|| Unusable("the certificate file holds no certificate".to_owned()))?;
    let digest = aws_lc_rs_digest(&first);
    <[u8; 32]>::try_from(digest.as_ref()).map_err(|_| Unusable("a digest of the wrong length".to_owned()))
}

fn aws_lc_rs_digest(bytes: &[u8]) -> ::aws_lc_rs::digest::Digest {
    ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes)
}

/// What the session machine is told of a finished handshake.
pub(super) fn describe<D>(connection: &ConnectionCommon<D>) -> Secured {
    let version = connection.protocol_version();
    let exporter = (version == Some(rustls::ProtocolVersion::TLSv1_3))
        .then(|| {
            // RFC 9266 2: label EXPORTER-Channel-Binding, an empty context, 32 bytes.
            connection.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(&[])).ok()
        })
        .flatten();
    Secured {
        version: match version {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            _ => String::new(),
        },
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(|name| name.replacen("TLS13_", "TLS_", 1)))
            .unwrap_or_default(),
        exporter: exporter.map(|bytes| bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_chosen_by_name_and_the_first_serves_the_rest() {
        let one = self_signed(&["mail.example.test".to_owned()]).unwrap();
        let two = self_signed(&["other.example.test".to_owned()]).unwrap();
        let certs = Certs::new(&[one, two]).unwrap();
        let first = certs.choose(None).unwrap().end_entity_cert().unwrap().to_vec();
        let other = certs.choose(Some("other.example.test")).unwrap().end_entity_cert().unwrap().to_vec();
        assert_ne!(first, other);
        assert_eq!(certs.choose(Some("unknown.test")).unwrap().end_entity_cert().unwrap().to_vec(), first);
        assert_eq!(certs.choose(Some("mail.example.test")).unwrap().end_entity_cert().unwrap().to_vec(), first);
    }

    #[test]
    fn a_bad_swap_leaves_what_is_there() {
        let certs = Certs::new(&[self_signed(&["a.test".to_owned()]).unwrap()]).unwrap();
        let before = certs.choose(None).unwrap();
        let chain = self_signed(&["b.test".to_owned()]).unwrap().chain;
        let key = self_signed(&["c.test".to_owned()]).unwrap().key;
        assert!(certs.swap(&[Pair { chain, key }]).is_err(), "a key that is not the certificate's");
        assert!(certs.swap(&[Pair { chain: b"junk".to_vec(), key: b"junk".to_vec() }]).is_err());
        assert!(certs.swap(&[]).is_err());
        assert!(Arc::ptr_eq(&before, &certs.choose(None).unwrap()));
        certs.swap(&[self_signed(&["b.test".to_owned()]).unwrap()]).unwrap();
        assert!(!Arc::ptr_eq(&before, &certs.choose(None).unwrap()));
    }

    #[test]
    fn keys_do_not_appear_in_debug_output() {
        let certs = Certs::new(&[self_signed(&["a.test".to_owned()]).unwrap()]).unwrap();
        assert_eq!(format!("{certs:?}"), "Certs(1)");
    }
}
