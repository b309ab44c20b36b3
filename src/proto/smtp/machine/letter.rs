//! A letter's text: DATA (RFC 5321 4.1.1.4) and BDAT (RFC 3030).

use bytes::{Buf, BytesMut};

use crate::base::Mono;
use crate::proto::Output;
use crate::proto::smtp::body::{Content, Dots, Fault};
use crate::proto::smtp::limits::Limits;
use crate::proto::smtp::reply::Reply;

use super::{Asking, LOOK_ALIKE_MS, Machine, Stage};

/// The most that leaves in one [`Output::BodyChunk`].
const CHUNK: usize = 64 << 10;
/// Octets of a BDAT that is no chatter.
const PIECE: u64 = 1024;

/// What was begun by MAIL.
pub(super) struct Letter {
    pub(super) utf8: bool,
    /// RCPT came, whatever was answered.
    pub(super) named_recipients: bool,
    /// Those that were accepted.
    pub(super) recipients: u64,
    /// Its text comes by BDAT, and this much is known of it.
    pub(super) chunks: Option<Chunks>,
}

pub(super) enum Chunks {
    Going(Box<Content>, Mono),
    /// RFC 3030 2: once a chunk was refused the letter is, and only RSET helps.
    Refused,
}

impl Letter {
    pub(super) fn new(utf8: bool) -> Letter {
        Letter { utf8, named_recipients: false, recipients: 0, chunks: None }
    }
}

/// How long a letter has been coming.
struct Pace {
    begun: Mono,
    touched: Mono,
}

impl Pace {
    fn deadline(&self, limits: &Limits) -> Mono {
        self.touched.plus_ms(limits.data_block_ms).min(self.begun.plus_ms(limits.message_ms))
    }
}

/// Behind 354.
pub(super) struct Data {
    dots: Dots,
    content: Box<Content>,
    pace: Pace,
}

impl Data {
    pub(super) fn touched(&mut self, now: Mono) {
        self.pace.touched = now;
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Mono {
        let deadline = self.pace.deadline(limits);
        match self.looks_ended() {
            Some(_) => deadline.min(self.pace.touched.plus_ms(LOOK_ALIKE_MS)),
            None => deadline,
        }
    }

    pub(super) fn looks_ended(&self) -> Option<Fault> {
        self.content.fault.filter(|_| self.dots.looks_ended())
    }
}

/// Within a chunk.
pub(super) struct Chunk {
    left: u64,
    last: bool,
    size: u64,
    /// What becomes of the bytes: checked and stored, or only skipped and answered with this.
    fate: Fate,
    pace: Pace,
}

enum Fate {
    Take(Box<Content>),
    Skip(Reply),
}

impl Chunk {
    pub(super) fn touched(&mut self, now: Mono) {
        self.pace.touched = now;
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Mono {
        self.pace.deadline(limits)
    }
}

impl Machine {
    /// RFC 5321 3.3, 4.1.1.4.
    pub(super) fn data(&mut self) {
        match &self.letter {
            None => return self.error(Reply::new(503, (5, 5, 1), "Say MAIL first")),
            // RFC 3030 2.
            Some(Letter { chunks: Some(_), .. }) => {
                return self.error(Reply::new(503, (5, 5, 1), "The letter comes in chunks"));
            }
            Some(letter) if letter.recipients == 0 => {
                let reply = no_recipients(letter);
                return self.error(reply);
            }
            Some(_) => {}
        }
        self.say(Reply::plain(354, "Go ahead; end with CR LF . CR LF"));
        self.stage = Stage::Data(Data {
            dots: Dots::new(),
            content: Box::new(Content::new(self.limits())),
            pace: Pace { begun: self.now, touched: self.now },
        });
    }

    /// Takes what there is of the letter; false if more must come.
    pub(super) fn next_data(&mut self) -> bool {
        let Stage::Data(data) = &mut self.stage else {
            return true;
        };
        if self.input.is_empty() {
            return false;
        }
        let mut out = BytesMut::new();
        let ended = data.dots.take(&mut self.input, &mut data.content, &mut out);
        if ended {
            data.content.finish();
        }
        let (fault, hopeless) = (data.content.fault, data.content.is_hopeless());
        self.body(out, fault);
        match fault {
            None if ended => self.body_end(),
            Some(fault) if ended => {
                self.abandon_letter();
                self.stage = Stage::Command;
                self.expect_command();
                self.error(fault.reply());
            }
            Some(fault) if hopeless => self.give_up(fault),
            _ => return false,
        }
        true
    }

    /// RFC 3030 2: the bytes follow whatever the answer will be.
    pub(super) fn bdat(&mut self, size: u64, last: bool) {
        let mut begun = self.now;
        let fate = match &mut self.letter {
            None => Fate::Skip(Reply::new(503, (5, 5, 1), "Say MAIL first")),
            Some(letter) if letter.recipients == 0 => Fate::Skip(no_recipients(letter)),
            // Refused until the chunk turns out to be good.
            Some(letter) => match letter.chunks.replace(Chunks::Refused) {
                None => Fate::Take(Box::new(Content::new(&self.config.limits))),
                Some(Chunks::Going(content, since)) => {
                    begun = since;
                    Fate::Take(content)
                }
                Some(Chunks::Refused) => Fate::Skip(Reply::new(503, (5, 5, 1), "The letter was refused; say RSET")),
            },
        };
        // Bytes that are only to be skipped are skipped up to a measure.
        if size / 2 > self.limits().message_bytes {
            return self.give_up(Fault::TooLarge);
        }
        // It carries a good piece of a letter: who sends a long one in pieces does not talk too much.
        if matches!(fate, Fate::Take(_)) && size >= PIECE {
            self.uncounted = self.uncounted.saturating_sub(1);
        }
        let pace = Pace { begun, touched: self.now };
        self.stage = Stage::Bdat(Chunk { left: size, last, size, fate, pace });
    }

    /// Takes what there is of the chunk; false if more must come.
    pub(super) fn next_chunk(&mut self) -> bool {
        let Stage::Bdat(chunk) = &mut self.stage else {
            return true;
        };
        let take = self.input.len().min(usize::try_from(chunk.left).unwrap_or(usize::MAX));
        if take == 0 && chunk.left > 0 {
            return false;
        }
        chunk.left -= take as u64;
        let ended = chunk.left == 0;
        let mut out = BytesMut::new();
        let mut fault = None;
        if let Fate::Take(content) = &mut chunk.fate {
            content.take(self.input.get(..take).unwrap_or_default(), &mut out);
            if ended && chunk.last {
                content.finish();
            }
            fault = content.fault;
        }
        self.input.advance(take);
        self.body(out, fault);
        if !ended {
            return false;
        }
        let Stage::Bdat(chunk) = std::mem::replace(&mut self.stage, Stage::Command) else {
            return true;
        };
        self.expect_command();
        match (chunk.fate, fault) {
            (Fate::Skip(reply), _) => self.error(reply),
            (Fate::Take(_), Some(fault)) => {
                self.flush();
                self.out.push_back(Output::BodyAbort);
                if chunk.last {
                    self.letter = None;
                }
                self.error(fault.reply());
            }
            (Fate::Take(_), None) if chunk.last => self.body_end(),
            (Fate::Take(content), None) => {
                if let Some(letter) = &mut self.letter {
                    letter.chunks = Some(Chunks::Going(content, chunk.pace.begun));
                }
                self.say(Reply::new(250, (2, 0, 0), format!("{} octets taken", chunk.size)));
            }
        }
        true
    }

    /// Hands bytes on, as long as nothing is wrong with the letter.
    fn body(&mut self, out: BytesMut, fault: Option<Fault>) {
        let mut out = out.freeze();
        if fault.is_some() || out.is_empty() {
            return;
        }
        self.flush();
        while !out.is_empty() {
            let chunk = out.split_to(out.len().min(CHUNK));
            self.out.push_back(Output::BodyChunk(chunk));
        }
    }

    fn body_end(&mut self) {
        self.flush();
        self.out.push_back(Output::BodyEnd);
        self.stage = Stage::Asking(Asking::Stored);
    }

    /// So much came, or is announced, that waiting for the end is not worth it.
    fn give_up(&mut self, fault: Fault) {
        self.say(fault.reply());
        self.part(Reply::new(421, (4, 7, 0), format!("{} closes the connection", self.config.hostname)));
    }

    /// Forgets the letter, and what the host has of it.
    pub(super) fn abandon_letter(&mut self) {
        let going = matches!(self.letter, Some(Letter { chunks: Some(Chunks::Going(..)), .. }));
        if self.letter.take().is_some() && (going || matches!(self.stage, Stage::Data(_) | Stage::Bdat(_))) {
            self.flush();
            self.out.push_back(Output::BodyAbort);
        }
    }
}

/// RFC 5321 3.3: 554 when recipients were named and none was accepted, 503 when none was named.
fn no_recipients(letter: &Letter) -> Reply {
    if letter.named_recipients {
        Reply::new(554, (5, 5, 1), "No valid recipients")
    } else {
        Reply::new(503, (5, 5, 1), "Say RCPT first")
    }
}
