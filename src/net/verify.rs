//! Certificates of servers, checked in other ways than browsers do it.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::mailauth::dane::{Matching, Tlsa, Usage};

use super::dial::{ClientTls, root_store};
use super::http::Roots;
use super::tls::{TlsFault, Unusable, fault_of};

/// Certificates of one chain that are looked at for an authority (P7).
const CHAIN: usize = 10;

/// What the one server that was spoken to showed. `None`: it did not come so far.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Option<Result<(), TlsFault>>>>);

impl Seen {
    #[cfg(test)]
    pub fn of(result: Result<(), TlsFault>) -> Seen {
        Seen(Arc::new(Mutex::new(Some(result))))
    }

    pub fn get(&self) -> Option<Result<(), TlsFault>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientTls {
    /// Takes every certificate, and notes whether it is for the server's name and from one of the roots. For one connection.
    pub fn watching(roots: &Roots) -> Result<(ClientTls, Seen), Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(root_store(roots)?), provider.clone())
            .build()
            .map_err(|error| Unusable(format!("the root certificates cannot be used: {error}")))?;
        let seen = Seen::default();
        let way = Way::Watching { usual, seen: seen.clone() };
        Ok((ClientTls::by(provider, way)?, seen))
    }

    /// The certificate has to be one that the TLSA records name (RFC 7672 3.1): proven ones, that can be used. With usage 2 it
    /// has to be for one of `names` too. For one connection.
    pub fn dane(records: Vec<Tlsa>, names: &[String]) -> Result<ClientTls, Unusable> {
        let names = names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
        ClientTls::by(Arc::new(aws_lc_rs::default_provider()), Way::Dane { records, names })
    }

    fn by(provider: Arc<CryptoProvider>, way: Way) -> Result<ClientTls, Unusable> {
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Unusable(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { provider, way }))
            .with_no_client_auth();
        // What is resumed is not checked again.
        config.resumption = Resumption::disabled();
        ClientTls::of(config)
    }
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Watching { usual: Arc<WebPkiServerVerifier>, seen: Seen },
    Dane { records: Vec<Tlsa>, names: Vec<ServerName<'static>> },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.way {
            Way::Watching { usual, seen } => {
                let found = usual.verify_server_cert(own, others, name, ocsp, now);
                let found = found.map(|_| ()).map_err(|error| fault_of(&error));
                *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            }
            Way::Dane { records, names } => self.dane(records, names, own, others, now)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Verifier {
    fn dane(
        &self,
        records: &[Tlsa],
        names: &[ServerName<'static>],
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(own)?;
        // RFC 7672 3.1.1: neither the name nor the date in it counts.
        let key = parsed.subject_public_key_info();
        if records.iter().any(|record| record.usage == Usage::Own && record.fits(own, &key)) {
            return Ok(());
        }
        // RFC 7672 3.1.2
        let mut roots = RootCertStore::empty();
        let authorities = || records.iter().filter(|record| record.usage == Usage::Authority);
        for other in others.iter().take(CHAIN) {
            let Ok(parsed) = ParsedCertificate::try_from(other) else { continue };
            let key = parsed.subject_public_key_info();
            if authorities().any(|record| record.fits(other, &key)) {
                let _ = roots.add(other.clone().into_owned());
            }
        }
        // A record that is the authority itself serves though the server does not show it.
        for record in authorities().filter(|record| record.matching == Matching::Full && !record.key) {
            let _ = roots.add(CertificateDer::from(record.data.clone()));
        }
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, others, now, algorithms)?;
        if names.iter().any(|name| verify_server_name(&parsed, name).is_ok()) {
            return Ok(());
        }
        Err(CertificateError::NotValidForName.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::mailauth::dane;
    use crate::net::tls::{digests, self_signed};

    /// A certificate of `mx.test`, shown to somebody who wants what these records say, in the year 2100.
    fn shown(records: &[(u8, u8, u8, &[u8])]) -> Result<(), TlsFault> {
        let pair = self_signed(&["mx.test".to_owned()]).unwrap();
        let own = CertificateDer::from_pem_slice(&pair.chain).unwrap();
        let digests = digests(&pair.chain).unwrap().remove(0);
        // `key` stands for the digest of the key that is made here.
        let records = records.iter().map(|(usage, selector, matching, data)| {
            (*usage, *selector, *matching, if *data == b"key" { &digests.key_sha256[..] } else { *data })
        });
        let way = Way::Dane { records: dane::usable(records), names: Vec::new() };
        let verifier = Verifier { provider: Arc::new(aws_lc_rs::default_provider()), way };
        let name = ServerName::try_from("other.test").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(4_102_444_800));
        verifier.verify_server_cert(&own, &[], &name, &[], now).map(|_| ()).map_err(|error| fault_of(&error))
    }

    /// RFC 7672 3.1.1
    #[test]
    fn a_record_of_the_server_s_own_key_counts_though_name_and_date_do_not_fit() {
        assert_eq!(shown(&[(3, 1, 1, b"key")]), Ok(()));
        assert_eq!(shown(&[(3, 1, 1, &[7; 32]), (3, 1, 1, b"key")]), Ok(()), "one of several");
    }

    #[test]
    fn any_other_record_is_no_proof() {
        assert_eq!(shown(&[(3, 1, 1, &[7; 32])]), Err(TlsFault::Untrusted));
        assert_eq!(shown(&[(3, 0, 1, b"key")]), Err(TlsFault::Untrusted), "of the key, not of the certificate");
        assert_eq!(shown(&[(2, 1, 1, b"key")]), Err(TlsFault::Untrusted), "no authority is shown");
    }
}
