//! The machine alone, with a host that says yes. What it says must not depend on how the input was cut (S2).

use proptest::prelude::*;

use super::*;
use crate::proto::sasl::{SaslAnswer, SaslAsk};

/// A machine, a clock, and a host that knows `alice` with the password `secret`.
struct Bench {
    machine: Machine,
    now: Mono,
    said: Vec<u8>,
    asked: Vec<Ask>,
    /// Bodies that were ended, and the one that is coming.
    bodies: Vec<Vec<u8>>,
    body: Vec<u8>,
    aborts: usize,
    start_tls: bool,
    closed: bool,
    /// Commands are.
    too_much: bool,
}

fn config(port: Port) -> Config {
    Config { port, hostname: "mail.example.test".into(), starttls: true, hold_until: None, limits: Limits::default() }
}

impl Bench {
    fn new(config: Config) -> Bench {
        let mut bench = Bench {
            machine: Machine::new(config, Mono(0)),
            now: Mono(0),
            said: Vec::new(),
            asked: Vec::new(),
            bodies: Vec::new(),
            body: Vec::new(),
            aborts: 0,
            start_tls: false,
            closed: false,
            too_much: false,
        };
        bench.pump();
        bench
    }

    /// Greeted, on port 25.
    fn greeted() -> Bench {
        let mut bench = Bench::new(config(Port::Smtp));
        bench.feed(b"EHLO client.example\r\n", 100);
        bench.said.clear();
        bench
    }

    /// Behind TLS, on port 465.
    fn submissions() -> Bench {
        let mut bench = Bench::new(config(Port::Submissions));
        assert!(bench.said.is_empty());
        bench.secure();
        bench.feed(b"EHLO client.example\r\n", 100);
        bench.said.clear();
        bench
    }

    fn secure(&mut self) {
        self.start_tls = false;
        self.event(Event::Secured(Secured::default()));
    }

    fn event(&mut self, event: Event<Answer, Notice>) {
        self.machine.input(self.now, event);
        self.pump();
    }

    fn feed(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.event(Event::Bytes(Bytes::copy_from_slice(piece)));
            // S3: what is kept is bounded by a piece and a line.
            assert!(self.machine.input.len() <= size + AUTH_LINE);
        }
    }

    fn tick_after(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.event(Event::Tick);
    }

    fn pump(&mut self) {
        while let Some(output) = self.machine.output() {
            assert!(!self.closed, "nothing comes behind the end");
            match output {
                Output::Write(bytes) => self.said.extend_from_slice(&bytes),
                Output::Ask(ask) => {
                    let answer = match ask {
                        Ask::Commands { .. } if self.too_much => Answer::Reply(Reply::new(421, (4, 7, 0), "Too much")),
                        _ => answer(&ask, self.body.len()),
                    };
                    self.asked.push(ask);
                    assert!(self.machine.output().is_none(), "S1");
                    assert!(!self.machine.wants_input());
                    self.machine.input(self.now, Event::Answer(answer, Part::Last));
                }
                Output::BodyChunk(bytes) => {
                    assert!(bytes.len() <= 64 << 10);
                    self.body.extend_from_slice(&bytes);
                }
                Output::BodyEnd => {
                    self.bodies.push(std::mem::take(&mut self.body));
                    self.machine.input(self.now, Event::BodyStored(Ok(())));
                }
                Output::BodyAbort => {
                    self.body.clear();
                    self.aborts += 1;
                }
                Output::SendBlob { .. } | Output::SendDotted { .. } => panic!("no blobs here"),
                Output::StartTls => self.start_tls = true,
                Output::Close => self.closed = true,
            }
        }
    }

    /// What was said since the last time.
    fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.said)).unwrap()
    }

    /// The codes of the last lines.
    fn codes(&mut self) -> Vec<u16> {
        self.said()
            .lines()
            .filter(|line| line.as_bytes().get(3) == Some(&b' '))
            .map(|line| line[..3].parse().unwrap())
            .collect()
    }
}

fn answer(ask: &Ask, _: usize) -> Answer {
    match ask {
        Ask::Rcpt(rcpt) if rcpt.to.to_string().starts_with("nobody") => {
            Answer::Reply(Reply::new(550, (5, 1, 1), "Nobody"))
        }
        Ask::Sasl(SaslAsk::Password { user, password }) if user == "alice" && password == "secret" => {
            Answer::Sasl(SaslAnswer::Accepted(Identity { account: 1, address: "alice@example.test".into() }))
        }
        Ask::Sasl(_) => Answer::Sasl(SaslAnswer::Rejected),
        Ask::Confirmed => Answer::Done,
        _ => Answer::Reply(Reply::new(250, (2, 0, 0), "OK")),
    }
}

const HEAD: &str = "MAIL FROM:<a@b.c>\r\nRCPT TO:<alice@example.test>\r\n";

#[test]
fn rfc5321_d1_in_all_cuts() {
    let input = "EHLO bar.com\r\nMAIL FROM:<Smith@bar.com>\r\nRCPT TO:<Jones@foo.com>\r\nRCPT TO:<nobody@foo.com>\r\nDATA\r\n\
                 From: x\r\n\r\nBlah\r\n..etc.\r\n.\r\nQUIT\r\n";
    let mut whole = None;
    for size in [10_000, 7, 1] {
        let mut bench = Bench::new(config(Port::Smtp));
        bench.feed(input.as_bytes(), size);
        assert!(bench.closed);
        assert_eq!(bench.bodies, [b"From: x\r\n\r\nBlah\r\n.etc.\r\n"]);
        let said = bench.said();
        assert_eq!(*whole.get_or_insert(said.clone()), said, "in pieces of {size}");
    }
    let said = whole.unwrap();
    assert!(said.starts_with("220 mail.example.test ESMTP homepost\r\n250-mail.example.test\r\n250-PIPELINING\r\n"));
    assert!(said.ends_with(
        "354 Go ahead; end with CR LF . CR LF\r\n250 2.0.0 OK\r\n221 2.0.0 mail.example.test says good bye\r\n"
    ));
    assert!(!said.contains("AUTH"), "X3");
}

#[test]
fn x1_smuggled_commands_are_never_seen() {
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r", "\r\n.\r", "\r\n\0.\r\n", "\r\r\n.\r\r\n"] {
        for size in [10_000, 7, 1] {
            let mut bench = Bench::greeted();
            let input = format!(
                "{HEAD}DATA\r\nA: b\r\n\r\nhello{end}MAIL FROM:<evil@b.c>\r\nRCPT TO:<x@y>\r\nDATA\r\nforged\r\n.\r\nNOOP\r\n"
            );
            bench.feed(input.as_bytes(), size);
            assert_eq!(bench.codes(), [250, 250, 354, 554, 250], "{end:?} in pieces of {size}");
            assert!(bench.bodies.is_empty() && bench.body.is_empty() && bench.aborts == 1);
            assert_eq!(bench.asked.iter().filter(|ask| matches!(ask, Ask::Mail(_))).count(), 1);
        }
    }
}

#[test]
fn a_look_alike_end_and_silence_is_answered() {
    let mut bench = Bench::greeted();
    bench.feed(format!("{HEAD}DATA\r\nhello\n.\n").as_bytes(), 7);
    assert_eq!(bench.codes(), [250, 250, 354]);
    bench.tick_after(LOOK_ALIKE_MS);
    assert_eq!(bench.codes(), [554, 421]);
    assert!(bench.closed);
}

#[test]
fn a_bare_lf_among_commands_ends_the_session() {
    let mut bench = Bench::greeted();
    bench.feed(b"NOOP\nMAIL FROM:<a@b.c>\r\n", 100);
    assert_eq!(bench.codes(), [501, 421]);
    assert!(bench.closed && !bench.asked.iter().any(|ask| matches!(ask, Ask::Mail(_))));
    let mut bench = Bench::greeted();
    bench.feed(b"NO\rOP\r\nNO\0OP\r\nNOOP\r\n", 100);
    assert_eq!(bench.codes(), [501, 501, 250]);
}

#[test]
fn s4_what_came_before_tls_is_dropped() {
    for size in [10_000, 1] {
        let mut bench = Bench::greeted();
        bench.feed(b"STARTTLS\r\nMAIL FROM:<evil@b.c>\r\nEHLO evil\r\nQU", size);
        assert_eq!(bench.said(), "220 2.0.0 Go ahead\r\n");
        assert!(bench.start_tls && !bench.machine.wants_input());
        bench.secure();
        assert_eq!(bench.said(), "");
        // RFC 3207 4.2: the greeting is forgotten too.
        bench.feed(b"MAIL FROM:<a@b.c>\r\nEHLO x\r\nSTARTTLS\r\n", size);
        let said = bench.said();
        assert!(said.starts_with("503 5.5.1") && said.ends_with("503 5.5.1 TLS is up already\r\n"), "{said}");
        assert!(!said.contains("STARTTLS"));
        let hellos: Vec<_> = bench.asked.iter().filter(|ask| matches!(ask, Ask::Hello { .. })).collect();
        assert_eq!(hellos.len(), 2);
    }
}

#[test]
fn x3_who_may_log_in_and_who_must() {
    let mut bench = Bench::greeted();
    bench.feed(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nSTARTTLS\r\n", 100);
    assert_eq!(bench.codes(), [502, 220]);
    bench.secure();
    bench.feed(b"EHLO x\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", 100);
    assert_eq!(bench.codes(), [250, 502]);

    let mut bench = Bench::new(config(Port::Submission));
    bench.feed(b"EHLO x\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<a@b.c>\r\n", 100);
    assert_eq!(bench.codes(), [220, 250, 538, 530]);

    let mut bench = Bench::submissions();
    bench.feed(b"MAIL FROM:<a@b.c>\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<a@b.c>\r\n", 100);
    assert_eq!(bench.codes(), [530, 235, 250]);
    assert!(bench.machine.who.is_some());
}

#[test]
fn auth_exchanges_rfc4954() {
    let mut bench = Bench::submissions();
    bench.feed(b"AUTH LOGIN\r\n*\r\nAUTH FOO\r\nAUTH PLAIN\r\nnot base64\r\nAUTH PLAIN =\r\n", 7);
    assert_eq!(bench.codes(), [334, 501, 504, 334, 501, 501]);
    bench.feed(b"AUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\nAUTH LOGIN\r\n", 7);
    assert_eq!(bench.said(), "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 Welcome\r\n503 5.5.1 Not now\r\n");
}

#[test]
fn failed_log_ins_are_answered_later_and_later() {
    let mut bench = Bench::submissions();
    for (delay, codes) in [(1000, vec![535]), (2000, vec![535]), (4000, vec![535, 421])] {
        bench.feed(b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n", 100);
        assert_eq!(bench.machine.deadline(), Some(bench.now.plus_ms(delay)));
        bench.tick_after(delay - 1);
        assert_eq!(bench.codes(), [] as [u16; 0]);
        bench.tick_after(1);
        assert_eq!(bench.codes(), codes);
    }
    assert!(bench.closed);
}

#[test]
fn chunks_rfc3030() {
    for size in [10_000, 7, 1] {
        let mut bench = Bench::greeted();
        bench.feed(
            format!("{HEAD}BDAT 6\r\nA: b\r\nBDAT 0\r\nNOOP\r\nBDAT 3\r\n\r\n.BDAT 2 LAST\r\n\r\nMAIL FROM:<>\r\n")
                .as_bytes(),
            size,
        );
        assert_eq!(bench.codes(), [250, 250, 250, 250, 250, 250, 250, 250], "in pieces of {size}");
        assert_eq!(bench.bodies, [b"A: b\r\n\r\n.\r\n"]);
    }
    // Refused chunks are skipped, and the rest of the letter with them.
    let mut bench = Bench::greeted();
    bench.feed(
        b"BDAT 6\r\nQUIT\r\nMAIL FROM:<a@b.c>\r\nBDAT 6 LAST\r\nQUIT\r\nRCPT TO:<nobody@b.c>\r\nBDAT 6\r\nQUIT\r\n",
        100,
    );
    assert_eq!(bench.codes(), [503, 250, 503, 550, 554]);
    bench.feed(b"RSET\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nBDAT 3\r\na\nbBDAT 6\r\nQUIT\r\nDATA\r\nRSET\r\n", 3);
    assert_eq!(bench.codes(), [250, 250, 250, 554, 503, 503, 250]);
    assert_eq!(bench.aborts, 1);
    let mut bench = Bench::greeted();
    bench.feed(format!("{HEAD}BDAT 1\r\n\rBDAT 1\r\n\nDATA\r\nRCPT TO:<a@b.c>\r\nBDAT 1 LAST\r\n\r").as_bytes(), 1);
    assert_eq!(bench.codes(), [250, 250, 250, 250, 503, 503, 554]);
    assert_eq!((bench.bodies.len(), bench.aborts), (0, 1));
    // A size that is none: what follows could be anything.
    bench.feed(b"BDAT x\r\nQUIT\r\n", 100);
    assert_eq!(bench.codes(), [501, 421]);
}

#[test]
fn order_of_commands() {
    let mut bench = Bench::new(config(Port::Smtp));
    bench.feed(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\nNOOP\r\nRSET\r\nVRFY x\r\nHELP\r\n", 100);
    assert_eq!(bench.codes(), [220, 503, 503, 503, 250, 250, 252, 214]);
    bench.feed(b"HELO x\r\nMAIL FROM:<a@b.c> SIZE=1\r\nMAIL FROM:<a@b.c>\r\nMAIL FROM:<>\r\nDATA\r\nRCPT TO:<nobody@b.c>\r\nDATA\r\n", 100);
    assert_eq!(bench.codes(), [250, 555, 250, 503, 503, 550, 554]);
    let mut bench = Bench::greeted();
    bench.feed(b"MAIL FROM:<a@b.c>\r\nEHLO x\r\nRCPT TO:<a@b.c>\r\nMAIL FROM:<a@b.c> SIZE=99999999\r\n", 100);
    assert_eq!(bench.codes(), [250, 250, 503, 552]);
}

#[test]
fn limits_are_told() {
    let mut config = config(Port::Smtp);
    config.limits = Limits { recipients: 2, errors: 3, command_line_bytes: 60, message_bytes: 50, ..Limits::default() };
    let mut bench = Bench::new(config.clone());
    bench.feed(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nRCPT TO:<c@b.c>\r\nDATA\r\n", 7);
    assert_eq!(bench.codes(), [220, 250, 250, 250, 250, 452, 354]);
    bench.feed(&[b"\r\n".as_slice(), &b"abcdefg\r\n".repeat(6), b".\r\n"].concat(), 7);
    assert_eq!(bench.codes(), [552]);
    bench.feed(&[b"NOOP ".as_slice(), &b"x".repeat(100), b"\r\nNOOP\r\nFOO\r\n"].concat(), 7);
    assert_eq!(bench.codes(), [500, 250, 500, 421]);
    assert!(bench.closed);

    let mut bench = Bench::new(config.clone());
    bench.feed(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n", 100);
    bench.feed(&b"abcdefg\r\n".repeat(20), 7);
    assert!(bench.closed, "far beyond the limit nothing more is read");
    config.limits.commands = 3;
    let mut bench = Bench::new(config);
    bench.feed(b"NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n", 100);
    assert_eq!(bench.codes(), [220, 250, 250, 250, 421]);
}

#[test]
fn time_outs_rfc5321_4_5_3_2() {
    let mut bench = Bench::greeted();
    bench.feed(b"NO", 100);
    bench.tick_after(299_999);
    assert!(!bench.closed);
    bench.tick_after(1);
    assert_eq!(bench.codes(), [421]);
    assert!(bench.closed);
    let mut bench = Bench::greeted();
    bench.feed(format!("{HEAD}DATA\r\nx").as_bytes(), 100);
    bench.said.clear();
    bench.tick_after(179_999);
    bench.feed(b"x", 1);
    bench.tick_after(179_999);
    assert!(!bench.closed);
    bench.tick_after(1);
    assert_eq!(bench.codes(), [421]);
    assert_eq!(bench.aborts, 1);
}

#[test]
fn the_host_learns_that_its_250_was_read() {
    let confirmed = |bench: &Bench| bench.asked.iter().filter(|ask| **ask == Ask::Confirmed).count();
    let mut bench = Bench::greeted();
    bench.feed(format!("{HEAD}DATA\r\nx\r\n.\r\nNOOP\r\n").as_bytes(), 10_000);
    assert_eq!(confirmed(&bench), 0, "sent before our reply was");
    bench.feed(b"NOOP\r\n", 100);
    bench.feed(b"NOOP\r\n", 100);
    assert_eq!((confirmed(&bench), bench.codes()), (1, vec![250, 250, 354, 250, 250, 250, 250]));
    bench.feed(format!("{HEAD}DATA\r\nx\r\n.\r\n").as_bytes(), 10_000);
    bench.event(Event::Eof);
    assert!(bench.closed);
    assert_eq!(confirmed(&bench), 1);
}

#[test]
fn the_host_hears_how_many_commands_a_stranger_gives() {
    let counted = |bench: &Bench| {
        let of = |ask: &Ask| if let Ask::Commands { count } = ask { *count } else { 0 };
        bench.asked.iter().map(of).sum::<u64>()
    };
    let noops = "NOOP\r\nWHAT\r\nRSET\r\nVRFY x\r\n".repeat(2) + &"NOOP\r\n".repeat(100);
    for size in [10_000, 7] {
        let mut bench = Bench::greeted();
        bench.feed(noops.as_bytes(), size);
        assert_eq!(counted(&bench), 100, "the EHLO is one, eight are behind the last twenty");
        let codes = bench.codes();
        assert_eq!(codes.len(), 108, "each line is answered once");
        assert_eq!(codes.iter().filter(|code| **code == 500).count(), 2);
    }
    let mut bench = Bench::new(config(Port::Submission));
    bench.feed(noops.as_bytes(), 10_000);
    assert_eq!(counted(&bench), 0);
    let mut bench = Bench::greeted();
    bench.too_much = true;
    bench.feed(noops.as_bytes(), 10_000);
    assert!(bench.closed);
    assert_eq!(bench.codes().last(), Some(&421));
}

#[test]
fn the_end_of_a_session() {
    let mut bench = Bench::greeted();
    bench.feed(format!("{HEAD}DATA\r\nx").as_bytes(), 100);
    bench.event(Event::Eof);
    assert!(bench.closed && bench.aborts == 1);
    let mut bench = Bench::greeted();
    bench.event(Event::Notice(Notice::Closing));
    assert_eq!(bench.codes(), [421]);
    // A letter that is coming is taken first.
    let mut bench = Bench::greeted();
    bench.feed(format!("{HEAD}DATA\r\nx").as_bytes(), 100);
    bench.event(Event::Notice(Notice::Closing));
    assert_eq!(bench.codes(), [250, 250, 354]);
    bench.feed(b"\r\n.\r\n", 100);
    assert_eq!(bench.codes(), [250, 421]);
    let mut bench = Bench::greeted();
    bench.feed(b"QUIT\r\nNOOP\r\n", 100);
    assert_eq!(bench.codes(), [221]);
}

/// The tenth mistake and one that closes by itself: the session ends once.
#[test]
fn nothing_is_said_behind_the_last_word() {
    let mut config = config(Port::Smtp);
    config.limits.errors = 1;
    let mut bench = Bench::new(config);
    bench.feed(b"BDAT x\r\n", 100);
    assert_eq!(bench.codes(), [220, 501, 421]);
    assert!(bench.closed && bench.machine.output().is_none());
    bench.machine.input(bench.now, Event::Tick);
    assert!(bench.machine.output().is_none());
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec![
            "EHLO x\r\n",
            "HELO x\r\n",
            "MAIL FROM:<a@b.c>\r\n",
            "RCPT TO:<a@b.c>\r\n",
            "RCPT TO:<nobody@b.c>\r\n",
            "DATA\r\n",
            ".\r\n",
            "BDAT 3\r\n",
            "BDAT 3 LAST\r\n",
            "RSET\r\n",
            "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
            "AUTH LOGIN\r\n",
            "STARTTLS\r\n",
            "\r\n",
            "\n",
            "\r",
            ".",
            "abc",
            "*\r\n",
            "A: b\r\n",
            "QUIT\r\n",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn s2_s3_random_sessions(words in prop::collection::vec(words(), 0..40), port in 0usize..2, size in 1usize..20) {
        let input = words.concat();
        let run = |size: usize| {
            let mut config = config([Port::Smtp, Port::Submissions][port]);
            config.limits.auth_delay_ms = 0;
            let mut bench = Bench::new(config);
            if port == 1 {
                bench.secure();
            }
            for piece in input.chunks(size) {
                bench.event(Event::Bytes(Bytes::copy_from_slice(piece)));
                if matches!(bench.machine.stage, Stage::Slow { .. }) {
                    bench.tick_after(0);
                }
                if bench.start_tls {
                    break;
                }
            }
            let finished = bench.bodies.clone();
            (bench.said(), finished, bench.closed, bench.start_tls)
        };
        prop_assert_eq!(run(size), run(10_000));
    }
}
