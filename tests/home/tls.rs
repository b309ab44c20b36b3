//! TLS as a client that trusts whoever answers.

#![allow(dead_code)] // each test file uses its own part of this

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};

/// A client that speaks these versions only.
pub fn config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    // The certificate is the server's own, so there is nobody to vouch for it.
    let mut config = homepost::net::dial::any_certificate(versions).expect("versions that there are");
    // A resumed session shows the certificate of the first one.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// A connection that speaks TLS, read line by line.
pub struct Lines {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Lines {
    pub fn new(stream: TcpStream, config: &Arc<ClientConfig>) -> Lines {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let name = ServerName::try_from("mail.example.test").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Lines { stream: BufReader::new(stream) }
    }

    pub fn version(&self) -> String {
        format!("{:?}", self.stream.get_ref().conn.protocol_version().unwrap())
    }

    pub fn certificate(&self) -> Vec<u8> {
        self.stream.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    pub fn say(&mut self, words: &str) {
        self.stream.get_mut().write_all(format!("{words}\r\n").as_bytes()).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// Says this; gives everything up to the line that begins with `until`.
    pub fn ask(&mut self, words: &str, until: &str) -> String {
        self.say(words);
        let mut heard = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "{words}: it hung up after {heard}");
            heard.push_str(&line);
            if line.starts_with(until) {
                return heard;
            }
        }
    }
}
