//! Connections that we open to speak a line protocol: where to, and how TLS is done on our side.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::http::Roots;
use super::tls::Unusable;

/// How we do TLS with a server. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl ClientTls {
    pub(super) fn of(config: ClientConfig) -> Result<ClientTls, Unusable> {
        Ok(ClientTls { config: Arc::new(config), name: server_name("localhost")? })
    }

    /// The same way, with a server of this name. Errors: it is no name.
    pub fn to(&self, name: &str) -> Result<ClientTls, Unusable> {
        let name = server_name(name)?;
        Ok(ClientTls { config: self.config.clone(), name })
    }

    /// Encryption against who listens only: whatever certificate there is will do (RFC 7435 3).
    pub fn opportunistic() -> Result<ClientTls, Unusable> {
        let config = any_certificate(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        Ok(ClientTls { config: Arc::new(config), name: server_name("localhost")? })
    }

    /// The certificate has to be for the server's name, and from one of the roots.
    pub fn verified(roots: &Roots) -> Result<ClientTls, Unusable> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Unusable(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(root_store(roots)?)
            .with_no_client_auth();
        Ok(ClientTls { config: Arc::new(config), name: server_name("localhost")? })
    }
}

/// For who takes every certificate whose key its owner has.
pub fn any_certificate(versions: &[&'static SupportedProtocolVersion]) -> Result<ClientConfig, Unusable> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| Unusable(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth())
}

fn server_name(name: &str) -> Result<ServerName<'static>, Unusable> {
    ServerName::try_from(name.to_owned()).map_err(|_| Unusable(format!("{name} is not the name of a server")))
}

/// Errors: the roots are no certificates.
pub(super) fn root_store(roots: &Roots) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Public => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::Only(pem) => {
            for root in CertificateDer::pem_slice_iter(pem) {
                let root = root.map_err(|_| Unusable("the root certificate is not PEM".to_owned()))?;
                store.add(root).map_err(|error| Unusable(format!("a root certificate cannot be used: {error}")))?;
            }
            if store.is_empty() {
                return Err(Unusable("the file of root certificates holds none".to_owned()));
            }
        }
    }
    Ok(store)
}

/// See [`any_certificate`].
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a connection does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWay {
    /// This machine has no way to addresses of this kind (no IPv6, no network).
    Unreachable,
    /// It has no such address to leave from.
    NotHere(IpAddr),
    /// Nothing came back in time.
    Silent,
    /// The end of a sentence.
    Refused(String),
}

/// Opens a connection, from the address of its kind in `source` if there is one.
pub async fn dial(to: SocketAddr, source: &[IpAddr], patience: Duration) -> Result<TcpStream, NoWay> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| NoWay::Refused(error.to_string()))?;
    if let Some(source) = source.iter().find(|source| source.is_ipv4() == to.is_ipv4()) {
        socket.bind(SocketAddr::new(*source, 0)).map_err(|_| NoWay::NotHere(*source))?;
    }
    let opened = socket.connect(to);
    match timeout(patience, opened).await {
        Ok(Ok(stream)) => {
            // Commands leave when the machine has said all it has to say; waiting for more would only delay them.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => match error.kind() {
            std::io::ErrorKind::NetworkUnreachable
            | std::io::ErrorKind::HostUnreachable
            | std::io::ErrorKind::AddrNotAvailable => Err(NoWay::Unreachable),
            _ => Err(NoWay::Refused(error.to_string())),
        },
        Err(_) => Err(NoWay::Silent),
    }
}
