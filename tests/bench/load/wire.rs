//! A connection, plain or TLS, read by lines and by bytes. Certificates are not checked: the servers are our own.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

pub fn connector() -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Wire {
    pub async fn connect(addr: &str) -> Result<Wire, String> {
        let stream = TcpStream::connect(addr).await.map_err(|e| format!("{addr}: {e}"))?;
        stream.set_nodelay(true).map_err(text)?;
        Ok(Wire { stream: Stream::Plain(stream), buffer: Vec::new(), start: 0 })
    }

    pub async fn secure(&mut self, connector: &TlsConnector) -> Result<(), String> {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err("already TLS".into());
        };
        let name = ServerName::try_from("mail.example.test").map_err(text)?;
        self.stream = Stream::Tls(Box::new(connector.connect(name, stream).await.map_err(text)?));
        self.buffer.clear();
        self.start = 0;
        Ok(())
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes).await.map_err(text),
            Stream::Tls(stream) => {
                stream.write_all(bytes).await.map_err(text)?;
                stream.flush().await.map_err(text)
            }
            Stream::Gone => Err("no connection".into()),
        }
    }

    async fn fill(&mut self) -> Result<usize, String> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(65_536);
        let got = match &mut self.stream {
            Stream::Plain(stream) => stream.read_buf(&mut self.buffer).await.map_err(text)?,
            Stream::Tls(stream) => stream.read_buf(&mut self.buffer).await.map_err(text)?,
            Stream::Gone => 0,
        };
        if got == 0 { Err("closed by the server".into()) } else { Ok(got) }
    }

    /// The next line without its line end.
    pub async fn line(&mut self) -> Result<String, String> {
        let mut looked = self.start;
        loop {
            if let Some(at) = self.buffer[looked..].iter().position(|b| *b == b'\n') {
                let end = looked + at;
                let line = String::from_utf8_lossy(&self.buffer[self.start..end]).trim_end_matches('\r').to_owned();
                self.start = end + 1;
                return Ok(line);
            }
            let offset = self.buffer.len() - self.start;
            self.fill().await?;
            looked = self.start + offset;
        }
    }

    /// Skips bytes without keeping them.
    pub async fn skip(&mut self, mut n: usize) -> Result<(), String> {
        loop {
            let have = self.buffer.len() - self.start;
            let take = have.min(n);
            self.start += take;
            n -= take;
            if n == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }
}
