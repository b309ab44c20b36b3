//! The few words of HTTP/1.1 (RFC 9112) that port 80 needs: one request a connection, answered at once from its path.
//!
//! Does not know: bodies, pages with state, TLS. What the household sees in a browser is `web`'s.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{BlobId, Mono};

use super::{BodyFault, Event, Host, Output, Part, Session};

/// The longest request head that is read.
const HEAD_BYTES: usize = 8 * 1024;
/// For the whole request head to arrive.
const PATIENCE_MS: u64 = 10_000;

/// What was asked for: the request line and the Host field, nothing else of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As in `/.well-known/acme-challenge/x`, with its query; only visible ASCII.
    pub target: String,
    /// Without a port, lower case; `None` unless it looks like a host name.
    pub host: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// 200, plain text.
    Text(String),
    /// 301, to this address. Only visible ASCII may be in it.
    Moved(String),
    /// 404.
    Nothing,
}

/// Makes the page of a request. Called for strangers: must be quick and must not fail.
pub type Pages = Arc<dyn Fn(&Request) -> Page + Send + Sync>;

pub struct Machine {
    pages: Pages,
    head: Vec<u8>,
    out: VecDeque<Output<Infallible>>,
    deadline: Mono,
    done: bool,
}

impl Machine {
    pub fn new(pages: Pages, now: Mono) -> Machine {
        Machine { pages, head: Vec::new(), out: VecDeque::new(), deadline: now.plus_ms(PATIENCE_MS), done: false }
    }

    fn end(&mut self, reply: Option<String>) {
        self.done = true;
        self.head = Vec::new();
        self.out.extend(reply.map(|reply| Output::Write(Bytes::from(reply))));
        self.out.push_back(Output::Close);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // A part of the last three bytes may belong to the empty line.
        let from = self.head.len().saturating_sub(3);
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let ended = self.head[from..].windows(4).any(|four| four == b"\r\n\r\n");
        if ended {
            let reply = answer(&self.head, &self.pages);
            self.end(Some(reply));
        } else if self.head.len() >= HEAD_BYTES {
            self.end(Some(reply(431, "Request Header Fields Too Large", "", "", true)));
        }
    }
}

impl Session for Machine {
    type Ask = Infallible;
    type Answer = Infallible;
    type Notice = Infallible;

    fn input(&mut self, _now: Mono, event: Event<Infallible, Infallible>) {
        match event {
            _ if self.done => {}
            Event::Bytes(bytes) => self.bytes(&bytes),
            Event::Eof | Event::Tick => self.end(None),
            Event::Secured(_) | Event::BodyStored(_) => {}
            Event::Answer(never, _) | Event::Notice(never) => match never {},
        }
    }

    fn output(&mut self) -> Option<Output<Infallible>> {
        self.out.pop_front()
    }

    fn wants_input(&self) -> bool {
        !self.done
    }

    fn deadline(&self) -> Option<Mono> {
        (!self.done).then_some(self.deadline)
    }
}

/// The machine asks nothing.
pub struct NoHost;

impl Host<Machine> for NoHost {
    async fn ask(&mut self, ask: Infallible) -> (Infallible, Part) {
        match ask {}
    }

    async fn more(&mut self) -> (Infallible, Part) {
        pending().await
    }

    async fn notice(&mut self) -> Infallible {
        pending().await
    }

    async fn body_chunk(&mut self, _chunk: Bytes) {}

    async fn body_end(&mut self) -> Result<(), BodyFault> {
        Err(BodyFault::NotStored)
    }

    fn body_abort(&mut self) {}

    async fn blob(&mut self, _blob: BlobId, _range: Range<u64>) -> Result<Bytes, BodyFault> {
        Err(BodyFault::NotStored)
    }
}

fn answer(head: &[u8], pages: &Pages) -> String {
    let Some((method, request)) = parse(head) else { return reply(400, "Bad Request", "", "", true) };
    let with_body = method != "HEAD";
    if !matches!(method, "GET" | "HEAD") {
        return reply(405, "Method Not Allowed", "Allow: GET, HEAD\r\n", "", true);
    }
    match pages(&request) {
        Page::Text(text) => reply(200, "OK", "Content-Type: text/plain; charset=utf-8\r\n", &text, with_body),
        Page::Moved(to) if to.bytes().all(visible) => {
            reply(301, "Moved Permanently", &format!("Location: {to}\r\n"), "", with_body)
        }
        Page::Moved(_) | Page::Nothing => reply(404, "Not Found", "", "", with_body),
    }
}

fn reply(status: u16, words: &str, fields: &str, body: &str, with_body: bool) -> String {
    let length = body.len();
    let shown = if with_body { body } else { "" };
    format!("HTTP/1.1 {status} {words}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{shown}")
}

fn visible(byte: u8) -> bool {
    (0x21..=0x7e).contains(&byte)
}

/// RFC 9112 3: method, target, version, each once, one space between; then the fields.
fn parse(head: &[u8]) -> Option<(&str, Request)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    if !target.bytes().all(visible) {
        return None;
    }
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then_some(value.trim())
    });
    let host = hosts.next();
    if hosts.next().is_some() {
        return None; // RFC 9112 3.2: more than one Host field is a bad request
    }
    Some((method, Request { target: target.to_owned(), host: host.and_then(host_name) }))
}

fn host_name(value: &str) -> Option<String> {
    let name = value.split(':').next()?.trim_end_matches('.');
    let fine = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    fine.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Arc::new(|request: &Request| match request.target.as_str() {
            "/token" => Page::Text("token.thumb".to_owned()),
            "/bad" => Page::Moved("https://a.test/\r\nSet-Cookie: x".to_owned()),
            "/nothing" => Page::Nothing,
            target => Page::Moved(format!("https://{}{target}", request.host.as_deref().unwrap_or("none.test"))),
        })
    }

    /// What is written for this input, cut into pieces of so many bytes.
    fn talk(input: &[u8], piece: usize) -> String {
        let mut machine = Machine::new(pages(), Mono(0));
        let mut out = String::new();
        for piece in input.chunks(piece) {
            machine.input(Mono(0), Event::Bytes(Bytes::copy_from_slice(piece)));
            while let Some(output) = machine.output() {
                match output {
                    Output::Write(bytes) => out.push_str(std::str::from_utf8(&bytes).unwrap()),
                    Output::Close => return out,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(machine.wants_input());
        out
    }

    #[test]
    fn a_request_is_answered_however_it_is_cut() {
        for piece in [1, 7, 1000] {
            let got = talk(b"GET /token HTTP/1.1\r\nHost: A.test:80\r\n\r\n", piece);
            assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\ntoken.thumb"), "{got}");
            let got = talk(b"GET /x?y HTTP/1.1\r\nhOst: A.test:80\r\n\r\n", piece);
            assert!(got.contains("\r\nLocation: https://a.test/x?y\r\n"), "{got}");
        }
        let head = talk(b"HEAD /token HTTP/1.0\r\n\r\n", 1000);
        assert!(head.contains("Content-Length: 11\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn what_is_no_request_is_refused_and_nothing_of_it_comes_back() {
        for (wrong, status) in [
            (&b"\r\n\r\n"[..], "400"),
            (b"GET /a b HTTP/1.1\r\n\r\n", "400"),
            (b"GET http://other.test/ HTTP/1.1\r\n\r\n", "400"),
            (b"GET / HTTP/2\r\n\r\n", "400"),
            (b"GET /\x01 HTTP/1.1\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", "400"),
            (b"POST / HTTP/1.1\r\n\r\n", "405"),
            (b"GET /nothing HTTP/1.1\r\n\r\n", "404"),
            (b"GET /bad HTTP/1.1\r\n\r\n", "404"),
        ] {
            let got = talk(wrong, 1000);
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        }
        let got = talk(b"GET / HTTP/1.1\r\nHost: evil.test/\"<>\r\n\r\n", 1000);
        assert!(got.contains("Location: https://none.test/\r\n"), "{got}");
    }

    #[test]
    fn a_long_head_and_a_slow_peer_are_let_go() {
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 2 * HEAD_BYTES]].concat();
        assert!(talk(&long, 1000).starts_with("HTTP/1.1 431 "));
        let mut machine = Machine::new(pages(), Mono(5));
        assert_eq!(machine.deadline(), Some(Mono(5 + PATIENCE_MS)));
        machine.input(Mono(5 + PATIENCE_MS), Event::Tick);
        assert!(matches!(machine.output(), Some(Output::Close)));
        assert!(!machine.wants_input());
    }
}
