//! How far one gets from here: to a port, to a mail server's first word, to what the router says of itself.
//!
//! Each look takes its time and no more; none sends more than it takes to be answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// What came of trying to reach a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// This machine has no way there.
    NoRoute,
    /// Nothing came back in time.
    Silence,
    /// The connection was refused, or cut before a word.
    Refused,
    /// It opened. The first line that came, without its line end; empty if none was waited for.
    Spoke(String),
}

/// The longest first line that is read: RFC 5321 4.5.3.1.5 allows 512.
const LINE: u64 = 512;

/// Whether a connection opens.
pub async fn knock(to: SocketAddr, patience: Duration) -> Met {
    match timeout(patience, TcpStream::connect(to)).await {
        Ok(Ok(_)) => Met::Spoke(String::new()),
        Ok(Err(error)) => refused(&error),
        Err(_) => Met::Silence,
    }
}

/// Connects and waits for the greeting (RFC 5321 3.1); then takes leave.
pub async fn greeting(to: SocketAddr, patience: Duration) -> Met {
    let talk = async {
        let mut stream = TcpStream::connect(to).await?;
        let mut line = Vec::new();
        while !line.ends_with(b"\n") && line.len() < LINE as usize {
            match stream.read_u8().await {
                Ok(byte) => line.push(byte),
                Err(_) if line.is_empty() => return Err(io::ErrorKind::ConnectionReset.into()),
                Err(_) => break,
            }
        }
        // Good manners; nothing hangs on it.
        let _ = stream.write_all(b"QUIT\r\n").await;
        Ok::<_, io::Error>(line)
    };
    match timeout(patience, talk).await {
        Ok(Ok(line)) => Met::Spoke(String::from_utf8_lossy(&line).trim_end().to_owned()),
        Ok(Err(error)) => refused(&error),
        Err(_) => Met::Silence,
    }
}

fn refused(error: &io::Error) -> Met {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Met::NoRoute,
        // Nobody on the last stretch has that address: as good as silence, and some routers say it in their provider's name.
        io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Met::Silence,
        _ => Met::Refused,
    }
}

/// One turn of a conversation in lines: what is said, and how the answer has to begin. A reply of several lines (RFC 5321
/// 4.2.1) ends with the one that has no hyphen after its code.
pub struct Turn {
    pub say: String,
    pub expect: &'static str,
}

/// Talks to a server of this very machine, whose certificate is therefore not looked at. Errors: what it said instead, or
/// why nothing came, in words.
pub async fn talk(to: SocketAddr, tls: bool, turns: &[Turn], patience: Duration) -> Result<(), String> {
    let all = async {
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        if !tls {
            return turn_by_turn(stream, turns).await;
        }
        let config = super::dial::any_certificate(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?;
        let name = rustls::pki_types::ServerName::from(to.ip());
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        turn_by_turn(stream, turns).await
    };
    timeout(patience, all).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

async fn turn_by_turn<S>(mut stream: S, turns: &[Turn]) -> Result<(), String>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    for turn in turns {
        stream.write_all(turn.say.as_bytes()).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") && line.len() < LINE as usize {
                line.push(stream.read_u8().await.map_err(|error| error.to_string())?);
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !line.starts_with(turn.expect) {
                return Err(format!("it said {line:?}"));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
    }
    Ok(())
}

/// Where routers answer NAT-PMP (RFC 6886 3.1), and those that speak PCP as well.
pub const NAT_PMP: u16 = 5351;

/// The address that a router has on its outer side, as it says itself (RFC 6886 3.2). `None`: it does not say.
pub async fn outer_address(router: SocketAddr, patience: Duration) -> Option<Ipv4Addr> {
    let ask = async {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).await.ok()?;
        // From here on the system takes datagrams of this router alone.
        socket.connect(router).await.ok()?;
        let mut answer = [0u8; 16];
        for _ in 0..3 {
            // Version 0, operation 0: a question for the address, which changes nothing.
            socket.send(&[0, 0]).await.ok()?;
            if let Ok(read) = timeout(patience / 4, socket.recv(&mut answer)).await {
                let answer = answer.get(..read.ok()?)?;
                return outer(answer);
            }
        }
        None
    };
    timeout(patience, ask).await.ok().flatten()
}

/// Version, operation with the highest bit set, result (two bytes, 0 is success), seconds (four), address.
fn outer(answer: &[u8]) -> Option<Ipv4Addr> {
    match answer {
        [0, 128, 0, 0, _, _, _, _, a, b, c, d] => Some(Ipv4Addr::new(*a, *b, *c, *d)).filter(|a| !a.is_unspecified()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    async fn server(first: Option<&'static [u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            match first {
                Some(first) => {
                    let _ = stream.write_all(first).await;
                    let _ = stream.read(&mut [0; 64]).await;
                }
                None => std::future::pending().await,
            }
        });
        at
    }

    #[tokio::test]
    async fn a_greeting_a_refusal_silence_and_a_closed_port_are_told_apart() {
        assert_eq!(greeting(server(Some(b"220 mx ready\r\n")).await, SOON).await, Met::Spoke("220 mx ready".into()));
        assert_eq!(
            greeting(server(Some(b"554 go away")).await, SOON).await,
            Met::Silence,
            "half a line is no word yet"
        );
        assert_eq!(greeting(server(Some(b"")).await, Duration::from_millis(200)).await, Met::Silence);
        assert_eq!(greeting(server(None).await, Duration::from_millis(200)).await, Met::Silence);
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        assert_eq!(greeting(closed, SOON).await, Met::Refused);
        assert_eq!(knock(closed, SOON).await, Met::Refused);
        assert_eq!(knock(server(None).await, SOON).await, Met::Spoke(String::new()));
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let at = server(Some(&[b'x'; 4096])).await;
        let Met::Spoke(line) = greeting(at, SOON).await else { panic!("it spoke") };
        assert_eq!(line.len(), 512);
    }

    #[test]
    fn only_a_router_s_success_is_an_address() {
        let good = [0, 128, 0, 0, 0, 0, 0, 9, 100, 64, 1, 2];
        assert_eq!(outer(&good), Some(Ipv4Addr::new(100, 64, 1, 2)));
        for (at, byte) in [(0, 2), (1, 0), (3, 3)] {
            let mut wrong = good;
            wrong[at] = byte;
            assert_eq!(outer(&wrong), None);
        }
        assert_eq!(outer(&good[..11]), None);
        assert_eq!(outer(&[0, 128, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]), None);
    }

    #[tokio::test]
    async fn a_router_is_asked_and_a_silent_one_not_waited_for() {
        let router = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = router.local_addr().unwrap();
        assert_eq!(outer_address(at, Duration::from_millis(300)).await, None);
        tokio::spawn(async move {
            let mut question = [0; 8];
            loop {
                let (read, from) = router.recv_from(&mut question).await.unwrap();
                assert_eq!(&question[..read], [0, 0]);
                router.send_to(&[0, 128, 0, 0, 0, 0, 0, 1, 10, 0, 0, 2], from).await.unwrap();
            }
        });
        assert_eq!(outer_address(at, SOON).await, Some(Ipv4Addr::new(10, 0, 0, 2)));
    }
}
