//! A server that letters are brought to: any bytes. The client never panics, says and believes the same however they are
//! cut, sends no password before TLS, and believes no letter taken that was not; what the sender is told of it is a letter.

use bytes::Bytes;
use homepost::base::{BlobId, Mono, Time};
use homepost::message::dsn::{About, Kind, Notice};
use homepost::message::{self, date};
use homepost::proto::smtp::client::{Answer, Ask, Config, Letter, Login, Machine, Patience, Recipient, Tls, Verdict};
use homepost::proto::{Event, Output, Part, Secured, Session};

// The first byte chooses TLS, a log-in, and what the letter needs.
pub fn run(input: &[u8]) {
    let Some((first, input)) = input.split_first() else { return };
    let whole = talk(*first, input, input.len().max(1));
    assert_eq!(whole, talk(*first, input, 1), "byte by byte");
    assert_eq!(whole, talk(*first, input, 7), "in pieces of seven");
    for asked in whole.1 {
        if let Ask::Done { verdicts } = asked {
            notice(&verdicts);
        }
    }
}

fn talk(first: u8, input: &[u8], piece: usize) -> (Vec<u8>, Vec<Ask>) {
    let login = Login { user: "box".into(), password: "s3cret-and-long".into(), nonce: "n0nce".into() };
    let config = Config {
        helo: "mail.example.test".into(),
        tls: [Tls::Never, Tls::Offered, Tls::Needed][usize::from(first % 3)],
        login: (first & 8 != 0).then_some(login),
        patience: Patience::default(),
    };
    let mut talk = Talk {
        machine: Machine::new(config, Mono(0)),
        first,
        said: Vec::new(),
        asked: Vec::new(),
        secured: false,
        closed: false,
    };
    talk.drive();
    // What is behind a byte that no server says comes after TLS, if that began; what came before is forgotten then.
    let (clear, secret) = match input.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &input[..0]),
    };
    for (secured, said) in [(false, clear), (true, secret)] {
        for part in said.chunks(piece) {
            if talk.closed || talk.secured != secured {
                break;
            }
            talk.machine.input(Mono(0), Event::Bytes(Bytes::copy_from_slice(part)));
            talk.drive();
        }
    }
    if !talk.closed {
        talk.machine.input(Mono(0), Event::Eof);
        talk.drive();
    }
    assert!(talk.closed, "after the server has gone the connection ends");
    (talk.said, talk.asked)
}

struct Talk {
    machine: Machine,
    first: u8,
    said: Vec<u8>,
    asked: Vec<Ask>,
    secured: bool,
    closed: bool,
}

impl Talk {
    fn drive(&mut self) {
        while let Some(output) = self.machine.output() {
            assert!(!self.closed, "nothing comes after the end");
            match output {
                Output::Write(bytes) => {
                    assert!(self.secured || !bytes.starts_with(b"AUTH"), "a log-in in the clear");
                    self.said.extend_from_slice(&bytes);
                }
                Output::Ask(ask) => {
                    if let Ask::Done { verdicts } = &ask {
                        assert_eq!(verdicts.len(), 2, "a word for each recipient");
                        for verdict in verdicts {
                            match verdict {
                                Verdict::Sent(said) => assert!(said.reply.code / 100 == 2 && !said.own, "{said:?}"),
                                Verdict::Later(said) => assert!(said.own || said.reply.code / 100 != 2, "{said:?}"),
                                Verdict::Never(_) => {}
                            }
                        }
                    }
                    self.asked.push(ask);
                    let answer =
                        if self.asked.len() < 4 { Answer::Letter(letter(self.first)) } else { Answer::Nothing };
                    self.machine.input(Mono(0), Event::Answer(answer, Part::Last));
                }
                Output::SendBlob { range, .. } | Output::SendDotted { range, .. } => {
                    self.said.extend_from_slice(format!("[{} bytes]", range.end).as_bytes());
                }
                Output::StartTls => {
                    self.secured = true;
                    self.machine.input(Mono(0), Event::Secured(Secured::default()));
                }
                Output::Close => self.closed = true,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn letter(first: u8) -> Letter {
    let recipient = |address: &str| Recipient { address: address.into(), notify: None, orcpt: None };
    Letter {
        blob: BlobId(1),
        size: 100,
        from: Some("alice@example.test".into()),
        utf8: first & 16 != 0,
        eight_bit: first & 32 != 0,
        require_tls: first & 64 != 0,
        ret_full: None,
        envid: None,
        by: None,
        recipients: vec![recipient("bob@far.test"), recipient("carol@far.test")],
    }
}

/// The words of the other server stand in a letter that a program reads, and cannot get out of their place there.
fn notice(verdicts: &[Verdict]) {
    let words = verdicts.iter().map(|verdict| match verdict {
        Verdict::Sent(said) | Verdict::Later(said) | Verdict::Never(said) => said.reply.text.join("\n"),
    });
    let recipients: Vec<About> = words
        .map(|words| About {
            address: "bob@far.test".into(),
            original: None,
            status: (5, 0, 0),
            diagnostic: Some(words),
            own: false,
            remote: Some("mx.far.test".into()),
            until: None,
        })
        .collect();
    let now = date::Date::utc(Time::from_seconds(1_800_000_000));
    let letter = b"Subject: x\r\n\r\nbody\r\n";
    let notice = Notice {
        kind: Kind::Failed,
        hostname: "mail.example.test",
        to: "alice@example.test",
        now,
        arrived: now,
        envid: None,
        by: None,
        recipients: &recipients,
        full: None,
        passed_on: false,
        letter,
        chance: [1, 2],
    };
    let built = notice.build();
    let text = String::from_utf8_lossy(&built);
    assert_eq!(text.matches("\nFinal-Recipient:").count(), recipients.len(), "a recipient was made up: {text}");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
    message::parse(&built, &message::Limits::default()).expect("what we write we can read");
}
