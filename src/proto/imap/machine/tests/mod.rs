//! The machine by itself: conversations with a host in memory, each with the input whole, in pieces of seven bytes and
//! byte by byte.

mod fake;
mod talks;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Config, Imap, Literals, Tls};
use crate::base::{ModSeq, Mono};
use crate::proto::imap::Notice;
use crate::proto::{Event, Output, Part, Secured, Session};
use fake::{Fake, World};

/// A client, the machine, and its host.
struct Wire {
    imap: Imap,
    host: Fake,
    now: Mono,
    /// Bytes to the client that were not looked at yet.
    said: Vec<u8>,
    closed: bool,
    /// More of the answer is to be asked for.
    more: bool,
}

impl Wire {
    fn new(tls: Tls, world: Rc<RefCell<World>>) -> Wire {
        Wire::with(Config::new(tls), world)
    }

    fn with(config: Config, world: Rc<RefCell<World>>) -> Wire {
        let tls = config.tls;
        let mut wire = Wire {
            imap: Imap::new(config, Mono(0)),
            host: Fake::new(world),
            now: Mono(0),
            said: Vec::new(),
            closed: false,
            more: false,
        };
        if tls == Tls::Implicit {
            wire.event(Event::Secured(secured()));
        }
        wire.drive();
        wire
    }

    fn event(&mut self, event: Event<super::Answer, Notice>) {
        self.imap.input(self.now, event);
        self.drive();
    }

    fn drive(&mut self) {
        loop {
            let Some(output) = self.imap.output() else {
                if !self.more {
                    return;
                }
                let (answer, part) = self.host.more();
                self.more = part == Part::More;
                self.imap.input(self.now, Event::Answer(answer, part));
                continue;
            };
            assert!(!self.closed, "nothing comes after Close: {output:?}");
            match output {
                Output::Write(bytes) => {
                    assert!(bytes.len() <= 64 * 1024 + 16);
                    self.said.extend_from_slice(&bytes);
                }
                Output::Ask(ask) => {
                    assert!(!self.more, "one question at a time (S1)");
                    let (answer, part) = self.host.ask(ask);
                    self.more = part == Part::More;
                    self.imap.input(self.now, Event::Answer(answer, part));
                }
                Output::BodyChunk(chunk) => self.host.chunk(&chunk),
                Output::BodyEnd => {
                    let stored = self.host.end();
                    self.imap.input(self.now, Event::BodyStored(stored));
                }
                Output::BodyAbort => self.host.abort(),
                Output::SendBlob { blob, range } => self.said.extend_from_slice(&self.host.blob(blob, range)),
                Output::SendDotted { .. } => panic!("that is SMTP's"),
                Output::StartTls => {}
                Output::Close => self.closed = true,
            }
        }
    }

    fn send(&mut self, bytes: &[u8], piece: usize) {
        for part in bytes.chunks(piece.max(1)) {
            if self.closed {
                return;
            }
            // Nothing is with the host here: a machine that then does not read waits for ever.
            assert!(self.imap.wants_input() || matches!(self.imap.doing, super::Doing::Handshake { .. }));
            self.event(Event::Bytes(Bytes::copy_from_slice(part)));
        }
    }

    /// As the driver does while the machine wants notices.
    fn notify(&mut self) {
        let upto = ModSeq(self.host.world.borrow().modseq);
        if self.imap.wants_notice() {
            self.event(Event::Notice(Notice::Changed { upto }));
        }
    }

    fn tick_until(&mut self, until: Mono) {
        while let Some(deadline) = self.imap.deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline;
            self.event(Event::Tick);
        }
        self.now = until;
    }
}

fn secured() -> Secured {
    Secured { version: "TLSv1.3".into(), cipher: "test".into(), exporter: None }
}

/// Plays a conversation in the form of tests/transcripts/README.md (`C:`, `C-RAW:`, `S:`, `M:` and `{#}`, `S-CLOSED:`,
/// `TLS:`, `CLOSE:`, `T:` in minutes, other connections by number), three times.
fn play(script: &str) {
    for piece in [usize::MAX, 7, 1] {
        Player::new(piece).play(script);
    }
}

struct Player {
    piece: usize,
    world: Rc<RefCell<World>>,
    wires: Vec<Option<Wire>>,
    tls: Tls,
}

impl Player {
    fn new(piece: usize) -> Player {
        Player {
            piece,
            world: Rc::new(RefCell::new(World::new())),
            wires: (0..10).map(|_| None).collect(),
            tls: Tls::Implicit,
        }
    }

    fn wire(&mut self, n: usize) -> &mut Wire {
        let (tls, world) = (self.tls, self.world.clone());
        self.wires[n].get_or_insert_with(|| Wire::new(tls, world))
    }

    fn play(&mut self, script: &str) {
        let lines: Vec<&str> = script.lines().map(str::trim_start).collect();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            at += 1;
            if *line == "# listener: imap" {
                self.tls = Tls::StartTls;
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(':').expect("a word and a colon");
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let n = word.chars().find(char::is_ascii_digit).map_or(1, |digit| digit as usize - '0' as usize);
            let word = word.replace(char::is_numeric, "");
            let (piece, context) = (self.piece, format!("line {at}: {line} (pieces of {})", self.piece));
            match word.as_str() {
                "C" | "M" => {
                    let body: Vec<&str> = lines[at..].iter().take_while(|l| l.starts_with("M:")).copied().collect();
                    let size: usize = body.iter().map(|line| line["M:".len()..].trim_start().len() + 2).sum();
                    let text = rest.replace("{{#}", &format!("{{{size}")).replace("{#}", &size.to_string());
                    self.wire(n).send(format!("{text}\r\n").as_bytes(), piece);
                }
                "C-RAW" => {
                    let text = rest.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
                    self.wire(n).send(text.as_bytes(), piece);
                }
                "S" => {
                    let wire = self.wire(n);
                    wire.notify();
                    let Some(end) = wire.said.windows(2).position(|pair| pair == b"\r\n") else {
                        panic!("{context}: only {:?}", String::from_utf8_lossy(&wire.said));
                    };
                    let said: Vec<u8> = wire.said.drain(..end + 2).collect();
                    let said = String::from_utf8_lossy(&said[..end]).into_owned();
                    match rest.strip_suffix('*') {
                        Some(start) => assert!(said.starts_with(start), "{context}: {said}"),
                        None => assert_eq!(said, rest, "{context}"),
                    }
                }
                "S-SILENT" => {
                    let wire = self.wire(n);
                    wire.notify();
                    assert_eq!(String::from_utf8_lossy(&wire.said), "", "{context}");
                }
                "S-CLOSED" => assert!(self.wire(n).closed, "{context}"),
                "TLS" => self.wire(n).event(Event::Secured(secured())),
                "CLOSE" => self.wire(n).event(Event::Eof),
                "T" => {
                    let minutes: u64 = rest.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("minutes");
                    let wire = self.wire(n);
                    let until = wire.now.plus_ms(minutes * 60_000);
                    wire.tick_until(until);
                }
                "WORLD" => {
                    let mut world = self.world.borrow_mut();
                    match rest {
                        "full" => world.full = true,
                        "down" => world.down = true,
                        other => panic!("{other}"),
                    }
                }
                other => panic!("{context}: {other}"),
            }
        }
        for (n, wire) in self.wires.iter().enumerate() {
            if let Some(wire) = wire {
                assert_eq!(String::from_utf8_lossy(&wire.said), "", "left unread by {n} (pieces of {})", self.piece);
            }
        }
    }
}

/// RFC 7888 5: with LITERAL- only up to 4096 bytes come without waiting. What a client sends all the same is skipped, and
/// a literal that waits may be as large as ever.
#[test]
fn literal_minus_lets_only_small_literals_come_without_waiting() {
    let letter = |size: usize| format!("Subject: x\r\n\r\n{}", "y".repeat(size - 14));
    for piece in [usize::MAX, 7, 1] {
        let config = Config { literals: Literals::Minus, ..Config::new(Tls::Implicit) };
        let mut wire = Wire::with(config, Rc::new(RefCell::new(World::new())));
        let mut talk = |text: String| {
            wire.send(text.as_bytes(), piece);
            String::from_utf8(std::mem::take(&mut wire.said)).unwrap()
        };
        assert!(talk(String::new()).starts_with("* OK [CAPABILITY IMAP4rev1 LITERAL- "));
        assert!(talk("a LOGIN {5+}\r\nalice {10+}\r\nwonderland\r\n".into()).starts_with("a OK "));
        assert!(talk(format!("b CREATE {{4096+}}\r\n{}\r\n", "x".repeat(4096))).starts_with("b NO "));
        let told = talk(format!("c CREATE {{4097+}}\r\n{}\r\nd NOOP\r\n", "x".repeat(4097)));
        assert!(told.starts_with("c BAD [TOOBIG] ") && told.contains("\r\nd OK "), "{told}");
        assert!(talk("e CREATE {4097}\r\n".into()).starts_with("+ "));
        assert!(talk(format!("{}\r\n", "x".repeat(4097))).starts_with("e NO "));
        let told = talk(format!("f APPEND INBOX {{4096+}}\r\n{}\r\n", letter(4096)));
        assert!(told.starts_with("f OK [APPENDUID "), "{told}");
        let told = talk(format!("g APPEND INBOX {{4097+}}\r\n{}\r\nh NOOP\r\n", letter(4097)));
        assert!(told.starts_with("g BAD [TOOBIG] ") && told.contains("\r\nh OK "), "{told}");
        assert!(talk("i APPEND INBOX {4097}\r\n".into()).starts_with("+ "));
        assert!(talk(format!("{}\r\n", letter(4097))).starts_with("i OK [APPENDUID "));
    }
}

/// Commands that get a machine into its corners when put together at random.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "a LOGIN alice wonderland\r\n", "b SELECT INBOX\r\n", "c FETCH 1:* (FLAGS BODY[] ENVELOPE)\r\n", "d IDLE\r\n", "DONE\r\n",
            "e APPEND INBOX {10}\r\n", "e APPEND INBOX {10+}\r\n0123456789\r\n", "e APPEND INBOX {10+}\r\n01234567\09\r\n",
            "f STORE 1 +FLAGS (\\Deleted x)\r\n", "g EXPUNGE\r\n", "h UID SEARCH RETURN (ALL COUNT) NOT 1\r\n", "i CLOSE\r\n",
            "j AUTHENTICATE PLAIN\r\n", "*\r\n", "k MOVE 1 Trash\r\n", "l COPY 1:* Junk\r\n", "m LIST \"\" *\r\n", "n LOGIN {5}\r\n",
            "o NOOP\r\n", "p LOGOUT\r\n", "{3+}\r\n", "\r\n", " ", "(", "q DELETE Junk\r\n", "r CREATE x\r\n", "s {9999999}\r\n",
            "t STATUS INBOX (MESSAGES)\r\n", "u UID FETCH * BODY[1.HEADER.FIELDS (x)]<1.2>\r\n", "v UNSELECT\r\n", "w NOOP {99999999999+}\r\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ]
}

proptest! {
    /// S2, S3 and that nothing a client sends makes the machine panic.
    #[test]
    fn whatever_comes_the_answer_does_not_depend_on_how_it_was_cut(fragments in prop::collection::vec(fragment(), 0..30)) {
        let input = fragments.concat();
        let mut said = Vec::new();
        for piece in [usize::MAX, 7, 1] {
            let mut world = World::new();
            for n in 0..3 {
                let body = format!("Subject: {n}\r\n\r\nText\r\n");
                world.append("INBOX", body.into(), Default::default(), Default::default());
            }
            let mut wire = Wire::new(Tls::Implicit, Rc::new(RefCell::new(world)));
            wire.send(&input, piece);
            if !wire.closed {
                wire.event(Event::Eof);
            }
            prop_assert!(wire.closed);
            prop_assert!(wire.imap.framing.waiting() <= input.len());
            said.push(String::from_utf8_lossy(&wire.said).into_owned());
        }
        prop_assert_eq!(&said[0], &said[1]);
        prop_assert_eq!(&said[0], &said[2]);
    }
}
