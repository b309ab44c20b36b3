//! A sender: any bytes. The machine never panics, keeps no more than it may, and says and takes the same however they
//! are cut.

use bytes::Bytes;
use homepost::base::Mono;
use homepost::proto::sasl::{Identity, SaslAnswer, SaslAsk, ScramKeys};
use homepost::proto::smtp::{Answer, Ask, Config, Limits, Machine, Port, Reply};
use homepost::proto::{Event, Output, Part, Secured, Session};

// The first byte chooses the port.
pub fn run(input: &[u8]) {
    let Some((first, input)) = input.split_first() else { return };
    let port = [Port::Smtp, Port::Submissions, Port::Submission][usize::from(first % 3)];
    let whole = talk(port, input, input.len().max(1));
    assert_eq!(whole, talk(port, input, 1), "byte by byte");
    assert_eq!(whole, talk(port, input, 7), "in pieces of seven");
}

/// What was said, and the letters that were taken.
fn talk(port: Port, input: &[u8], piece: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    // Low limits, so that a small input can reach them.
    let limits = Limits {
        message_bytes: 2000,
        command_line_bytes: 200,
        header_bytes: 500,
        body_line_bytes: 300,
        recipients: 3,
        commands: 200,
        auth_delay_ms: 0,
        ..Limits::default()
    };
    let config = Config { port, hostname: "mail.example.test".into(), starttls: true, hold_until: None, limits };
    let mut machine = Machine::new(config, Mono(0));
    let mut talk = Talk::default();
    if port == Port::Submissions {
        machine.input(Mono(0), Event::Secured(Secured::default()));
    }
    talk.drive(&mut machine);
    for part in input.chunks(piece) {
        if talk.closed || talk.start_tls {
            break;
        }
        machine.input(Mono(0), Event::Bytes(Bytes::copy_from_slice(part)));
        talk.drive(&mut machine);
    }
    if talk.start_tls {
        // Whatever came behind the command is gone.
        machine.input(Mono(0), Event::Secured(Secured { exporter: Some(vec![7; 32]), ..Secured::default() }));
        talk.drive(&mut machine);
        machine.input(Mono(0), Event::Bytes(Bytes::from_static(b"EHLO x\r\n")));
        talk.drive(&mut machine);
    }
    if !talk.closed {
        machine.input(Mono(0), Event::Eof);
        talk.drive(&mut machine);
    }
    assert!(talk.closed, "after the sender has gone the connection ends");
    (talk.said, talk.taken)
}

#[derive(Default)]
struct Talk {
    said: Vec<u8>,
    taken: Vec<Vec<u8>>,
    body: Vec<u8>,
    closed: bool,
    start_tls: bool,
}

impl Talk {
    fn drive(&mut self, machine: &mut Machine) {
        loop {
            while let Some(output) = machine.output() {
                assert!(!self.closed, "nothing comes after the end");
                match output {
                    Output::Write(bytes) => self.said.extend_from_slice(&bytes),
                    Output::Ask(ask) => {
                        if matches!(ask, Ask::Accept { .. }) {
                            self.taken.push(std::mem::take(&mut self.body));
                        }
                        machine.input(Mono(0), Event::Answer(answer(ask), Part::Last));
                    }
                    Output::BodyChunk(bytes) => {
                        self.body.extend_from_slice(&bytes);
                        assert!(self.body.len() <= 2000, "the limit of a letter holds");
                    }
                    Output::BodyEnd => {
                        assert!(!has_bare(&self.body), "no letter holds a bare CR, a bare LF or a NUL");
                        machine.input(Mono(0), Event::BodyStored(Ok(())));
                    }
                    Output::BodyAbort => self.body.clear(),
                    Output::SendBlob { .. } | Output::SendDotted { .. } => panic!("SMTP sends no letters here"),
                    Output::StartTls => self.start_tls = true,
                    Output::Close => self.closed = true,
                }
            }
            // A refused log-in is answered when its delay is over, which is none here.
            match machine.deadline() {
                Some(deadline) if deadline == Mono(0) && !self.closed => machine.input(Mono(0), Event::Tick),
                _ => break,
            }
        }
    }
}

fn has_bare(letter: &[u8]) -> bool {
    let mut before = 0;
    let mut bare = false;
    for &byte in letter {
        bare |= byte == 0 || (byte == b'\n') != (before == b'\r');
        before = byte;
    }
    bare || before == b'\r'
}

/// A host that knows alice and nobody whose name begins with n.
fn answer(ask: Ask) -> Answer {
    match ask {
        Ask::Sasl(SaslAsk::Password { user, .. }) if user == "alice" => {
            Answer::Sasl(SaslAnswer::Accepted(Identity { account: 1, address: "alice@example.test".into() }))
        }
        Ask::Sasl(SaslAsk::Keys { .. }) => Answer::Sasl(SaslAnswer::Keys(ScramKeys {
            salt: vec![1; 16],
            iterations: 4096,
            stored_key: [2; 32],
            server_key: [3; 32],
            devices: Vec::new(),
            nonce: "nonce".into(),
        })),
        Ask::Sasl(_) => Answer::Sasl(SaslAnswer::Rejected),
        Ask::Rcpt(rcpt) if rcpt.to.to_string().starts_with('n') => Answer::Reply(Reply::new(550, (5, 1, 1), "Nobody")),
        Ask::Confirmed => Answer::Done,
        _ => Answer::Reply(Reply::new(250, (2, 0, 0), "OK")),
    }
}
