//! APPEND (RFC 9051 6.3.12, APPENDUID of RFC 4315): the message goes to the host as it comes.

use super::super::ask::{Answer, Ask, No};
use super::super::framing::{Frame, Literal};
use super::super::grammar::append::AppendHead;
use super::super::grammar::{Bad, Read};
use super::super::response::put;
use super::reply::{bad, no, ok, refused, refused_target, server_bug};
use super::{Doing, Imap, Job, State};
use crate::proto::{BodyFault, Output};

pub(super) struct Incoming {
    head: AppendHead,
    /// It has a NUL in it (RFC 9051 9: a literal is CHAR8s).
    nul: bool,
}

impl Imap {
    pub(super) fn append(&mut self, tag: Vec<u8>, head: Read<AppendHead>, literal: Literal) {
        if matches!(self.state, State::NotAuthenticated) {
            return self.refuse_literal(bad(Some(&tag), "Please log in first"));
        }
        let head = match head {
            Ok(head) => head,
            Err(Bad::Syntax(why)) => return self.refuse_literal(bad(Some(&tag), why)),
            Err(_) => return self.refuse_literal(server_bug(&tag)),
        };
        if self.too_eager(literal) {
            self.refuse_literal(bad(Some(&tag), "[TOOBIG] Larger literals have to wait for the go-ahead"));
        } else if literal.size == 0 {
            self.refuse_literal(no(&tag, "[CANNOT] The message is empty"));
        } else if literal.size > self.config.limits.message {
            self.refuse_literal(refused(&tag, &No::TooBig));
        } else {
            let ask = Ask::AppendCheck { name: head.name.clone(), size: literal.size };
            self.ask_for(tag, Job::AppendCheck(Box::new(head), literal), ask);
        }
    }

    pub(super) fn append_checked(&mut self, head: AppendHead, literal: Literal, answer: Answer) {
        match answer {
            Answer::Done => {
                if literal.sync {
                    put(self.out.page(), "+ Go ahead\r\n");
                }
                self.framing.stream_literal();
                self.doing = Doing::Appending(Incoming { head, nul: false });
            }
            Answer::No(why) => self.refuse_literal(refused_target(&head.tag, &why)),
            _ => self.refuse_literal(server_bug(&head.tag)),
        }
    }

    pub(super) fn append_frame(&mut self, frame: Frame) {
        let Doing::Appending(mut incoming) = std::mem::replace(&mut self.doing, Doing::Ready) else { return };
        let why = match frame {
            Frame::Chunk(chunk) => {
                incoming.nul |= chunk.contains(&0);
                if !incoming.nul {
                    self.out.push(Output::BodyChunk(chunk));
                }
                self.doing = Doing::Appending(incoming);
                return;
            }
            Frame::Command(rest) if rest.is_empty() && !incoming.nul => {
                self.out.push(Output::BodyEnd);
                self.asked = true;
                self.doing = Doing::AppendEnd(incoming.head);
                return;
            }
            Frame::Command(rest) if rest.is_empty() => {
                self.out.push(Output::BodyAbort);
                return self.finish(no(&incoming.head.tag, "[CANNOT] The message has a NUL in it"), true);
            }
            Frame::Literal(_) => {
                // RFC 3502 is not announced.
                self.out.push(Output::BodyAbort);
                return self.refuse_literal(bad(Some(&incoming.head.tag), "One message at a time"));
            }
            Frame::Flood => {
                self.out.push(Output::BodyAbort);
                return self.bye("[TOOBIG] The literal is too large");
            }
            Frame::Command(_) | Frame::TooLong(_) => "There is more than the command takes",
        };
        self.out.push(Output::BodyAbort);
        self.bad(Some(&incoming.head.tag), why);
    }

    pub(super) fn append_stored(&mut self, stored: Result<(), BodyFault>) {
        let Doing::AppendEnd(head) = std::mem::replace(&mut self.doing, Doing::Ready) else { return };
        match stored {
            Ok(()) => {
                let ask = Ask::Append { name: head.name, flags: head.flags, date: head.date };
                self.ask_for(head.tag, Job::Append, ask);
            }
            Err(BodyFault::NotStored) => self.finish(refused(&head.tag, &No::Unavailable), true),
        }
    }

    pub(super) fn append_answered(&mut self, tag: Vec<u8>, answer: Answer) {
        let line = match answer {
            Answer::Appended { uid_validity, uid } => {
                ok(&tag, &format!("[APPENDUID {uid_validity} {uid}] APPEND completed"))
            }
            Answer::No(why) => refused_target(&tag, &why),
            _ => server_bug(&tag),
        };
        self.finish(line, true);
    }
}
