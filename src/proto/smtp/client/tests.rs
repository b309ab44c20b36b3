//! Dialogues with a server that is made of lines.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::base::Mono;
use crate::proto::{Event, Output, Part, Session};

const LETTER: &str = "Subject: x\r\n\r\n.\r\n";

struct Talk {
    machine: Machine,
    now: Mono,
    said: String,
    asked: Vec<Ask>,
    letters: Vec<Letter>,
    closed: bool,
    /// Bytes of a piece.
    piece: usize,
}

impl Talk {
    fn new(config: Config, letters: Vec<Letter>) -> Talk {
        let machine = Machine::new(config, Mono(0));
        Talk {
            machine,
            now: Mono(0),
            said: String::new(),
            asked: Vec::new(),
            letters,
            closed: false,
            piece: usize::MAX,
        }
    }

    fn drive(&mut self) {
        while let Some(output) = self.machine.output() {
            assert!(!self.closed, "nothing comes after the end");
            match output {
                Output::Write(bytes) => self.said.push_str(std::str::from_utf8(&bytes).unwrap()),
                Output::Ask(ask) => {
                    self.asked.push(ask);
                    let next =
                        if self.letters.is_empty() { Answer::Nothing } else { Answer::Letter(self.letters.remove(0)) };
                    self.machine.input(self.now, Event::Answer(next, Part::Last));
                }
                Output::SendBlob { range, .. } => self.said.push_str(&format!("[{} bytes]\r\n", range.end)),
                Output::SendDotted { range, .. } => self.said.push_str(&format!("[{} bytes dotted]\r\n", range.end)),
                Output::StartTls => {
                    self.said.push_str("[TLS]\r\n");
                    let secured = Secured { version: "TLSv1.3".into(), ..Secured::default() };
                    self.machine.input(self.now, Event::Secured(secured));
                }
                Output::Close => self.closed = true,
                other => panic!("{other:?}"),
            }
        }
    }

    /// What we say to these lines of the server.
    fn hear(&mut self, lines: &str) -> String {
        self.said.clear();
        for piece in lines.as_bytes().chunks(self.piece) {
            self.machine.input(self.now, Event::Bytes(Bytes::copy_from_slice(piece)));
            self.drive();
        }
        std::mem::take(&mut self.said).replace("\r\n", "\n")
    }

    fn verdicts(&self) -> Vec<String> {
        let done = self.asked.iter().filter_map(|ask| match ask {
            Ask::Done { verdicts } => Some(verdicts.iter().map(word)),
            _ => None,
        });
        done.flatten().collect()
    }
}

fn word(verdict: &Verdict) -> String {
    let (word, said) = match verdict {
        Verdict::Sent(said) => ("sent", said),
        Verdict::Later(said) => ("later", said),
        Verdict::Never(said) => ("never", said),
    };
    let own = if said.own { " (ours)" } else { "" };
    format!("{word} {}{own}", said.reply.code)
}

fn config() -> Config {
    Config { helo: "mail.example.test".into(), tls: Tls::Offered, login: None, patience: Patience::default() }
}

fn to(recipients: &[&str]) -> Letter {
    let recipient = |address: &&str| Recipient { address: (*address).into(), notify: None, orcpt: None };
    Letter {
        blob: BlobId(1),
        size: LETTER.len() as u64,
        from: Some("anna@example.test".into()),
        utf8: false,
        eight_bit: false,
        require_tls: false,
        ret_full: None,
        envid: None,
        by: None,
        recipients: recipients.iter().map(recipient).collect(),
    }
}

#[test]
fn a_letter_goes_under_tls_in_one_round_where_the_server_can() {
    let mut talk = Talk::new(config(), vec![to(&["b@out.test", "c@out.test"]), to(&["d@out.test"])]);
    assert_eq!(talk.hear("220 mx ESMTP\r\n"), "EHLO mail.example.test\n");
    // Y3: what comes behind the 220 of STARTTLS is forgotten.
    assert_eq!(talk.hear("250-mx\r\n250 STARTTLS\r\n"), "STARTTLS\n");
    assert_eq!(talk.hear("220 go\r\n250-evil\r\n250 PIPELINING\r\n"), "[TLS]\nEHLO mail.example.test\n");
    let said = talk.hear("250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 CHUNKING\r\n");
    assert_eq!(said, "MAIL FROM:<anna@example.test> SIZE=17\nRCPT TO:<b@out.test>\nRCPT TO:<c@out.test>\n");
    assert_eq!(talk.hear("250 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n"), "BDAT 17 LAST\n[17 bytes]\n");
    assert_eq!(talk.hear("250 2.0.0 queued\r\n"), "MAIL FROM:<anna@example.test> SIZE=17\nRCPT TO:<d@out.test>\n");
    assert_eq!(talk.verdicts(), ["sent 250", "never 550"]);
    assert_eq!(talk.hear("250 ok\r\n452 full\r\n"), "QUIT\n");
    assert_eq!(talk.hear("221 bye\r\n"), "");
    assert_eq!(talk.verdicts(), ["sent 250", "never 550", "later 452"]);
    assert!(talk.closed);
    let Ask::Ready { hello, secured } = &talk.asked[0] else { panic!() };
    assert!(hello.chunking && secured.is_some());
}

#[test]
fn an_old_server_gets_one_command_at_a_time_and_dots() {
    let mut talk = Talk::new(config(), vec![to(&["b@out.test", "c@out.test"]), to(&["b@out.test"])]);
    talk.piece = 1;
    assert_eq!(talk.hear("220-hello\r\n220 mx\r\n"), "EHLO mail.example.test\n");
    assert_eq!(talk.hear("502 what\r\n"), "HELO mail.example.test\n");
    assert_eq!(talk.hear("250 mx\r\n"), "MAIL FROM:<anna@example.test>\n");
    assert_eq!(talk.hear("250 ok\r\n"), "RCPT TO:<b@out.test>\n");
    assert_eq!(talk.hear("250 ok\r\n"), "RCPT TO:<c@out.test>\n");
    assert_eq!(talk.hear("250 ok\r\n"), "DATA\n");
    assert_eq!(talk.hear("354 go\r\n"), "[17 bytes dotted]\n.\n");
    assert_eq!(talk.hear("554 5.7.1 no\r\n"), "MAIL FROM:<anna@example.test>\n");
    assert_eq!(talk.verdicts(), ["never 554", "never 554"]);
    // Y1: nobody counts as sent to whose letter was not taken; and what was begun is taken back before the next.
    assert_eq!(talk.hear("250 ok\r\n"), "RCPT TO:<b@out.test>\n");
    assert_eq!(talk.hear("250 ok\r\n"), "DATA\n");
    talk.letters.push(to(&["e@out.test"]));
    assert_eq!(talk.hear("451 disk\r\n"), "RSET\n");
    assert_eq!(talk.hear("250 ok\r\n"), "MAIL FROM:<anna@example.test>\n");
    assert_eq!(talk.verdicts()[2..], ["later 451"]);
    assert_eq!(talk.hear("550 not you\r\n"), "QUIT\n");
    assert_eq!(talk.verdicts()[3..], ["never 550"]);
}

#[test]
fn what_the_server_cannot_take_is_not_offered() {
    let mut talk = Talk::new(config(), Vec::new());
    let mut letters =
        vec![to(&["b@out.test"]), to(&["b@out.test"]), to(&["b@out.test"]), to(&["b@\u{fc}.test", "c@out.test"])];
    letters[0].size = 11;
    letters[1].utf8 = true;
    letters[2].eight_bit = true;
    letters.push(to(&["b@out.test>\r\nRSET", "b b@out.test", "\"b b\"@out.test"]));
    talk.letters = letters;
    talk.hear("220 mx\r\n");
    let said = talk.hear("250-mx\r\n250 SIZE 10\r\n");
    assert_eq!(said, "QUIT\n", "nothing was said of any");
    assert_eq!(talk.verdicts().len(), 1 + 1 + 1 + 2 + 3);

    let mut talk =
        Talk::new(config(), vec![to(&["b@out.test>\r\nRSET", "b b@out.test", "\"b b\"@out.test", "@\u{fc}.test"])]);
    talk.hear("220 mx\r\n");
    talk.hear("250 mx\r\n");
    // Y4
    assert_eq!(talk.hear("250 ok\r\n"), "RCPT TO:<\"b b\"@out.test>\n");
}

#[test]
fn notices_are_asked_for_where_the_server_knows_them() {
    let mut letter = to(&["b@out.test", "c@out.test"]);
    letter.ret_full = Some(false);
    letter.envid = Some("a+b=c d".into());
    letter.eight_bit = true;
    letter.recipients[0].notify = Some(crate::proto::smtp::Notify { success: true, failure: true, delay: false });
    letter.recipients[0].orcpt = Some(("rfc822".into(), "B+x@out.test".into()));
    letter.recipients[1].notify = Some(crate::proto::smtp::Notify::default());
    let mut talk = Talk::new(config(), vec![letter]);
    talk.hear("220 mx\r\n");
    assert_eq!(
        talk.hear("250-mx\r\n250-DSN\r\n250-8BITMIME\r\n250 PIPELINING\r\n"),
        "MAIL FROM:<anna@example.test> BODY=8BITMIME RET=HDRS ENVID=a+2Bb+3Dc+20d\n\
         RCPT TO:<b@out.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B+2Bx@out.test\nRCPT TO:<c@out.test> NOTIFY=NEVER\n"
    );
}

#[test]
fn passwords_are_said_under_tls_only() {
    let login = Login { user: "anna".into(), password: "s3cret".into(), nonce: "n".into() };
    for (tls, offer, said) in [
        (Tls::Offered, "250 AUTH PLAIN", ""),
        (Tls::Needed, "250 AUTH PLAIN", ""),
        (Tls::Offered, "250-STARTTLS\r\n250 AUTH PLAIN", "STARTTLS\n"),
    ] {
        let mut talk = Talk::new(Config { tls, login: Some(login.clone()), ..config() }, vec![to(&["b@out.test"])]);
        talk.hear("220 mx\r\n");
        assert_eq!(talk.hear(&format!("250-mx\r\n{offer}\r\n")), said);
        if said.is_empty() {
            assert!(matches!(talk.asked[..], [Ask::Failed(_)]), "{:?}", talk.asked);
        }
    }
    for (offer, first, then) in [
        ("AUTH PLAIN LOGIN", "AUTH PLAIN AGFubmEAczNjcmV0\n", None),
        (
            "AUTH LOGIN",
            "AUTH LOGIN\n",
            Some(("334 VXNlcm5hbWU6\r\n", "YW5uYQ==\n", "334 UGFzc3dvcmQ6\r\n", "czNjcmV0\n")),
        ),
    ] {
        let mut talk = Talk::new(Config { login: Some(login.clone()), ..config() }, vec![to(&["b@out.test"])]);
        talk.hear("220 mx\r\n");
        talk.hear("250-mx\r\n250 STARTTLS\r\n");
        talk.hear("220 go\r\n");
        assert_eq!(talk.hear(&format!("250-mx\r\n250 {offer}\r\n")), first);
        if let Some((one, user, two, password)) = then {
            assert_eq!(talk.hear(one), user);
            assert_eq!(talk.hear(two), password);
        }
        assert_eq!(talk.hear("235 welcome\r\n"), "MAIL FROM:<anna@example.test>\n");
    }
    let mut talk = Talk::new(Config { login: Some(login), ..config() }, vec![to(&["b@out.test"])]);
    talk.hear("220 mx\r\n");
    talk.hear("250-mx\r\n250 STARTTLS\r\n");
    talk.hear("220 go\r\n");
    assert!(talk.hear("250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n").starts_with("AUTH SCRAM-SHA-256 "));
    talk.hear("535 5.7.8 wrong\r\n");
    let Some(Ask::Failed(failure)) = talk.asked.last() else { panic!("{:?}", talk.asked) };
    assert!(failure.lasting && failure.said.reply.code == 535);
}

#[test]
fn servers_that_end_it_or_say_nothing_are_left() {
    let failed = |talk: &Talk| match talk.asked.last() {
        Some(Ask::Failed(failure)) => Some((failure.said.reply.code, failure.lasting, failure.at_tls)),
        _ => None,
    };
    for (lines, expected) in [
        ("554 no mail from you\r\n", (554, false, false)),
        ("521 never\r\n", (521, true, false)),
        ("220 mx\r\n421 too busy\r\n", (421, false, false)),
        ("220 mx\r\n250 STARTTLS\r\n250 x\r\n", (421, false, false)),
        ("hello\r\n", (451, false, false)),
        ("220 mx\r\n250-mx\r\n250 STARTTLS\r\n454 not now\r\n", (454, false, true)),
    ] {
        let mut talk = Talk::new(config(), vec![to(&["b@out.test"])]);
        talk.hear(lines);
        if failed(&talk).is_none() {
            talk.hear("421 going\r\n");
        }
        assert_eq!(failed(&talk), Some(expected), "{lines}");
        assert!(talk.closed);
    }
    let mut talk = Talk::new(Config { tls: Tls::Needed, ..config() }, vec![to(&["b@out.test"])]);
    talk.hear("220 mx\r\n250 mx\r\n");
    assert_eq!(failed(&talk), Some((451, false, true)));

    // Each wait has an end, and behind a letter it begins when the letter is out.
    let mut talk = Talk::new(config(), vec![to(&["b@out.test"])]);
    talk.hear("220 mx\r\n");
    talk.hear("250-mx\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n");
    talk.now = Mono(3_600_000);
    talk.machine.input(talk.now, Event::Tick);
    talk.drive();
    assert_eq!(failed(&talk), None);
    talk.now = talk.machine.deadline().unwrap();
    assert_eq!(talk.now, Mono(3_600_000 + 600_000));
    talk.machine.input(talk.now, Event::Tick);
    talk.drive();
    assert_eq!(failed(&talk), Some((451, false, false)));

    let mut talk = Talk::new(config(), vec![to(&["b@out.test"])]);
    talk.hear("220 mx\r\n");
    talk.machine.input(talk.now, Event::Eof);
    talk.drive();
    assert_eq!(failed(&talk), Some((451, false, false)));
}

proptest! {
    /// S1, S2, S3: whatever a server says, the machine neither panics nor says more than one thing at a time.
    #[test]
    fn any_server_is_survived(lines in proptest::collection::vec((200u16..560, any::<bool>(), "[ -~]{0,20}"), 0..40), piece in 1usize..50) {
        let text: String = lines.iter().map(|(code, more, text)| format!("{code}{}{text}\r\n", if *more { "-" } else { " " })).collect();
        let mut whole = Talk::new(config(), vec![to(&["b@out.test", "c@out.test"]), to(&["d@out.test"])]);
        let mut cut = Talk::new(config(), vec![to(&["b@out.test", "c@out.test"]), to(&["d@out.test"])]);
        cut.piece = piece;
        let (said, again) = (whole.hear(&text), cut.hear(&text));
        prop_assert_eq!(said, again);
        prop_assert_eq!(whole.asked, cut.asked);
    }
}

/// RFC 8689 4.2.1: under TLS and where it is promised, or not at all.
#[test]
fn a_letter_that_is_to_stay_under_tls_goes_where_that_is_promised_or_nowhere() {
    for (offers, goes) in [("250-mx\r\n250 REQUIRETLS\r\n", true), ("250 mx\r\n", false)] {
        let letter = Letter { require_tls: true, ..to(&["b@out.test"]) };
        let mut talk = Talk::new(config(), vec![letter]);
        talk.hear("220 mx\r\n");
        talk.hear("250-mx\r\n250 STARTTLS\r\n");
        talk.hear("220 go\r\n");
        let said = talk.hear(offers);
        assert_eq!(said.starts_with("MAIL FROM:<anna@example.test> REQUIRETLS\n"), goes, "{said}");
        assert_eq!(talk.verdicts(), if goes { vec![] } else { vec!["never 550 (ours)".to_owned()] });
    }
    let mut talk = Talk::new(config(), vec![Letter { require_tls: true, ..to(&["b@out.test"]) }]);
    talk.hear("220 mx\r\n");
    assert_eq!(talk.hear("250-mx\r\n250 REQUIRETLS\r\n"), "QUIT\n", "in the clear nothing is promised");
}

/// RFC 2852 4.
#[test]
fn a_time_is_handed_on_to_who_offers_to_keep_it_only() {
    for (offers, says) in [("250-mx\r\n250 DELIVERBY 240\r\n", true), ("250 mx\r\n", false)] {
        let letter = Letter { by: Some("300;RT".into()), ..to(&["b@out.test"]) };
        let mut talk = Talk::new(config(), vec![letter]);
        talk.hear("220 mx\r\n");
        let said = talk.hear(offers);
        assert_eq!(said, format!("MAIL FROM:<anna@example.test>{}\n", if says { " BY=300;RT" } else { "" }));
    }
}
