//! A client: any bytes. The machine never panics, keeps no more than it may, and says the same however they are cut.

use bytes::Bytes;
use homepost::base::{MailboxId, ModSeq, Mono, Uid};
use homepost::proto::imap::ask::{
    Answer, Ask, Changes, Copied, Expunged, FlagRow, Flags, MailboxRow, Row, SectionData, Selected, Status, Stored,
    StoredRow,
};
use homepost::proto::imap::{Config, Imap, Tls, UidSet};
use homepost::proto::sasl::{Identity, SaslAnswer, SaslAsk};
use homepost::proto::{Event, Output, Part, Secured, Session};

pub fn run(input: &[u8]) {
    let whole = talk(input, input.len().max(1));
    assert_eq!(whole, talk(input, 1), "byte by byte");
    assert_eq!(whole, talk(input, 7), "in pieces of seven");
}

fn talk(input: &[u8], piece: usize) -> Vec<u8> {
    let mut config = Config::new(Tls::Implicit);
    // Low limits, so that a small input can reach them.
    config.limits.command = 2048;
    config.limits.line = 1500;
    config.limits.literal = 1000;
    config.limits.command_before_login = 512;
    config.limits.message = 4096;
    let mut imap = Imap::new(config, Mono(0));
    imap.input(Mono(0), Event::Secured(Secured::default()));
    let mut talk = Talk { said: Vec::new(), closed: false, asked: 0 };
    talk.drive(&mut imap);
    for part in input.chunks(piece) {
        if talk.closed {
            break;
        }
        imap.input(Mono(0), Event::Bytes(Bytes::copy_from_slice(part)));
        talk.drive(&mut imap);
    }
    if !talk.closed {
        imap.input(Mono(0), Event::Eof);
        talk.drive(&mut imap);
    }
    assert!(talk.closed, "after the client has gone the connection ends");
    talk.said
}

struct Talk {
    said: Vec<u8>,
    closed: bool,
    asked: u64,
}

impl Talk {
    fn drive(&mut self, imap: &mut Imap) {
        while let Some(output) = imap.output() {
            assert!(!self.closed, "nothing comes after the end");
            match output {
                Output::Write(bytes) => self.said.extend_from_slice(&bytes),
                Output::SendBlob { range, .. } => self.said.extend(range.map(|_| b'b')),
                Output::Ask(ask) => {
                    self.asked += 1;
                    let answer = answer(ask, self.asked);
                    imap.input(Mono(0), Event::Answer(answer, Part::Last));
                }
                Output::BodyEnd => imap.input(Mono(0), Event::BodyStored(Ok(()))),
                Output::BodyChunk(_) | Output::BodyAbort | Output::StartTls => {}
                Output::SendDotted { .. } => panic!("that is SMTP's"),
                Output::Close => self.closed = true,
            }
        }
    }
}

/// Something that fits: five messages in a mailbox, in which something happens now and then.
fn answer(ask: Ask, n: u64) -> Answer {
    let there = UidSet::from_ranges(vec![(1, 3), (7, 8)]);
    let flags = Flags { system: n as u8 & 0x1f, keywords: vec!["$Work".into()] };
    match ask {
        Ask::Sasl(SaslAsk::Password { .. }) => {
            Answer::Sasl(SaslAnswer::Accepted(Identity { account: 1, address: "a@example.test".into() }))
        }
        Ask::Sasl(_) => Answer::Sasl(SaslAnswer::Rejected),
        Ask::List => Answer::Mailboxes(vec![MailboxRow {
            name: "a/b".into(),
            selectable: true,
            exists: true,
            subscribed: true,
            has_children: false,
            special_use: None,
        }]),
        Ask::Create { .. }
        | Ask::Delete { .. }
        | Ask::Rename { .. }
        | Ask::Subscribe { .. }
        | Ask::AppendCheck { .. } => Answer::Done,
        Ask::Status { .. } => Answer::Status(Status::default()),
        Ask::Select { .. } => Answer::Selected(Box::new(Selected {
            mailbox: MailboxId(1),
            uid_validity: 1,
            uid_next: 9,
            uids: there,
            ..Selected::default()
        })),
        Ask::Changes { .. } => Answer::Changes(Changes {
            arrived: if n.is_multiple_of(3) { UidSet::one(Uid(n as u32 + 9)) } else { UidSet::new() },
            expunged: if n.is_multiple_of(5) { UidSet::one(Uid(n as u32 % 9)) } else { UidSet::new() },
            flags: vec![FlagRow { uid: Uid(n as u32 % 9), modseq: ModSeq(n), flags }],
            upto: ModSeq(n),
        }),
        Ask::Fetch { uids, want, .. } => {
            let row = |uid| Row {
                uid,
                modseq: ModSeq(n),
                flags: flags.clone(),
                size: n,
                sections: vec![SectionData::Bytes(Bytes::from_static(b"section\r\n")); want.sections.len()],
                ..Row::default()
            };
            Answer::Rows(uids.intersect(&there).iter().map(row).collect())
        }
        Ask::Store { uids, .. } => {
            let row = |uid| StoredRow { uid, modseq: ModSeq(n), flags: flags.clone(), changed: n.is_multiple_of(2) };
            Answer::Stored(Stored { rows: uids.intersect(&there).iter().map(row).collect() })
        }
        Ask::Copy { uids, .. } | Ask::Move { uids, .. } => {
            let from = uids.intersect(&there);
            Answer::Copied(Copied { uid_validity: 2, to: from.clone(), from })
        }
        Ask::Expunge { only, .. } => Answer::Expunged(Expunged { uids: only.unwrap_or(UidSet::one(Uid(2))) }),
        Ask::Search { .. } => Answer::Found(there),
        Ask::Append { .. } => Answer::Appended { uid_validity: 1, uid: Uid(1) },
    }
}
