//! The structure as it is kept with each email: CBOR, envelope and part tree decodable by themselves.
//!
//! `[version, summary, envelope, body]`, the last two as byte strings with a value each in them, so that either can be
//! stepped over. Summary, envelope and part are maps from field numbers to values; what is absent costs nothing, and a
//! number that is not known is skipped, so that rows written by a later version can be read. The numbers stand in the
//! code below and are never reused.
//!
//! - summary: 0 size, 1 header bytes, 2 sent (`[ms, zone]`), 3 has attachments.
//! - envelope: 0 date, 1 subject, 2 from, 3 sender, 4 reply-to, 5 to, 6 cc, 7 bcc, 8 in-reply-to, 9 message-id. An address
//!   list is an array of `[mailbox, host, name, adl]`, absent ones at the end left out, others null.
//! - part: 0 start, 1 header length, 2 body length, 3 lines, 4 `[type, subtype, name, value, …]` (absent: text/plain;
//!   charset=us-ascii), 5 id, 6 description, 7 encoding, 8 md5, 9 `[disposition, name, value, …]`, 10 languages,
//!   11 location, 12 child parts, 13 `[envelope, part]` of a message within.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode};

use super::date::Date;
use super::parse::{MAX_DEPTH, default_params, part_of};
use super::structure::{Address, Content, Disposition, Envelope, Message, Param, Part, Section, Summary, Text};
use crate::base::{Family, Fault, Time};

const VERSION: u8 = 1;

/// An encoded structure, opened: the summary is decoded, envelope and parts are when asked for. Borrows from the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure<'b> {
    pub summary: Summary,
    envelope: &'b [u8],
    body: &'b [u8],
}

/// The bytes are not an encoded structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(pub String);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stored structure of a message cannot be read: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

impl Fault for Corrupt {
    fn family(&self) -> Family {
        Family::Own
    }
}

impl From<decode::Error> for Corrupt {
    fn from(error: decode::Error) -> Corrupt {
        Corrupt(error.to_string())
    }
}

impl Message<'_> {
    /// The structure's bytes, to be kept beside the letter.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(4);
        out.number(VERSION.into());
        out.summary(&self.summary);
        let mut envelope = Writer::new();
        envelope.envelope(&self.envelope);
        out.bytes(&envelope.finish());
        let mut body = Writer::new();
        body.part(&self.body);
        out.bytes(&body.finish());
        out.finish()
    }
}

impl<'b> Structure<'b> {
    pub fn decode(bytes: &'b [u8]) -> Result<Structure<'b>, Corrupt> {
        let mut reader = Decoder::new(bytes);
        let length = reader.array()?;
        if length.is_none_or(|length| length < 4) || reader.u8()? == 0 {
            return Err(Corrupt("not a structure".to_owned()));
        }
        let summary = read_summary(&mut reader)?;
        Ok(Structure { summary, envelope: reader.bytes()?, body: reader.bytes()? })
    }

    pub fn envelope(&self) -> Result<Envelope<'b>, Corrupt> {
        Ok(read_envelope(&mut Decoder::new(self.envelope))?)
    }

    /// The root of the part tree.
    pub fn body(&self) -> Result<Part<'b>, Corrupt> {
        Ok(read_part(&mut Decoder::new(self.body))?)
    }

    /// Where a section lies in the letter; `Ok(None)` if there is no such section. `BODY[]`, `BODY[HEADER]` and
    /// `BODY[TEXT]` are answered from the summary alone.
    pub fn section(&self, path: &[u32], section: Section) -> Result<Option<Range<u64>>, Corrupt> {
        if path.is_empty() {
            return Ok(match section {
                Section::Whole => Some(0..self.summary.size),
                Section::Header => Some(0..self.summary.header_bytes),
                Section::Text => Some(self.summary.header_bytes..self.summary.size),
                Section::Mime => None,
            });
        }
        Ok(self.body()?.section(path, section))
    }
}

/// Writes to memory, which cannot fail: the results of the encoder are of no interest.
struct Writer(Encoder<Vec<u8>>);

impl Writer {
    fn new() -> Writer {
        Writer(Encoder::new(Vec::with_capacity(256)))
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_writer()
    }

    fn array(&mut self, length: usize) {
        let _ = self.0.array(length as u64);
    }

    fn number(&mut self, number: u64) {
        let _ = self.0.u64(number);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.bytes(bytes);
    }

    fn begin(&mut self) {
        let _ = self.0.begin_map();
    }

    fn end(&mut self) {
        let _ = self.0.end();
    }

    fn numbered(&mut self, key: u8, number: u64) {
        self.number(key.into());
        self.number(number);
    }

    fn text(&mut self, key: u8, text: &Option<Text<'_>>) {
        if let Some(text) = text {
            self.number(key.into());
            self.bytes(text);
        }
    }

    fn summary(&mut self, summary: &Summary) {
        self.begin();
        self.numbered(0, summary.size);
        self.numbered(1, summary.header_bytes);
        if let Some(sent) = summary.sent {
            self.number(2);
            self.array(2);
            let _ = self.0.i64(sent.time.0);
            let _ = self.0.i16(sent.zone);
        }
        if summary.has_attachments {
            self.numbered(3, 1);
        }
        self.end();
    }

    fn envelope(&mut self, envelope: &Envelope<'_>) {
        self.begin();
        self.text(0, &envelope.date);
        self.text(1, &envelope.subject);
        self.addresses(2, &envelope.from);
        self.addresses(3, &envelope.own_sender);
        self.addresses(4, &envelope.own_reply_to);
        self.addresses(5, &envelope.to);
        self.addresses(6, &envelope.cc);
        self.addresses(7, &envelope.bcc);
        self.text(8, &envelope.in_reply_to);
        self.text(9, &envelope.message_id);
        self.end();
    }

    fn addresses(&mut self, key: u8, list: &[Address<'_>]) {
        if list.is_empty() {
            return;
        }
        self.number(key.into());
        self.array(list.len());
        for address in list {
            let fields = [&address.mailbox, &address.host, &address.name, &address.adl];
            let length = fields.iter().rposition(|field| field.is_some()).map_or(0, |at| at + 1);
            self.array(length);
            for field in &fields[..length] {
                match field {
                    Some(text) => self.bytes(text),
                    None => {
                        let _ = self.0.null();
                    }
                }
            }
        }
    }

    fn params(&mut self, params: &[Param<'_>]) {
        for param in params {
            self.bytes(&param.name);
            self.bytes(&param.value);
        }
    }

    fn part(&mut self, part: &Part<'_>) {
        self.begin();
        self.numbered(0, part.start);
        self.numbered(1, part.body_start.saturating_sub(part.start));
        self.numbered(2, part.octets());
        self.numbered(3, part.lines);
        if *part.kind != *b"TEXT" || *part.subtype != *b"PLAIN" || part.params != default_params() {
            self.number(4);
            self.array(2 + 2 * part.params.len());
            self.bytes(&part.kind);
            self.bytes(&part.subtype);
            self.params(&part.params);
        }
        self.text(5, &part.id);
        self.text(6, &part.description);
        self.text(7, &part.own_encoding);
        self.text(8, &part.md5);
        if let Some(disposition) = &part.disposition {
            self.number(9);
            self.array(1 + 2 * disposition.params.len());
            self.bytes(&disposition.kind);
            self.params(&disposition.params);
        }
        if !part.language.is_empty() {
            self.number(10);
            self.array(part.language.len());
            for language in &part.language {
                self.bytes(language);
            }
        }
        self.text(11, &part.location);
        match &part.content {
            Content::Leaf => {}
            Content::Multipart(children) => {
                self.number(12);
                self.array(children.len());
                for child in children {
                    self.part(child);
                }
            }
            Content::Message(inner) => {
                self.number(13);
                self.array(2);
                self.envelope(&inner.0);
                self.part(&inner.1);
            }
        }
        self.end();
    }
}

type Read<T> = Result<T, decode::Error>;

/// Reads a map from numbers, calling for each number with the reader before its value.
fn read_map<'b>(reader: &mut Decoder<'b>, mut field: impl FnMut(u8, &mut Decoder<'b>) -> Read<()>) -> Read<()> {
    match reader.map()? {
        Some(length) => {
            for _ in 0..length {
                let key = reader.u8()?;
                field(key, reader)?;
            }
        }
        None => {
            while reader.datatype()? != Type::Break {
                let key = reader.u8()?;
                field(key, reader)?;
            }
            reader.skip()?;
        }
    }
    Ok(())
}

/// The length of an array; ours are all of definite length.
fn read_length(reader: &mut Decoder<'_>) -> Read<usize> {
    let at = reader.position();
    let length = reader.array()?.and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| decode::Error::message("array without a length").at(at))
}

/// Room for a list, whatever length damaged bytes claim.
fn room<T>(length: usize) -> Vec<T> {
    Vec::with_capacity(length.min(64))
}

fn read_text<'b>(reader: &mut Decoder<'b>) -> Read<Text<'b>> {
    Ok(Cow::Borrowed(reader.bytes()?))
}

fn read_summary(reader: &mut Decoder<'_>) -> Read<Summary> {
    let mut summary = Summary::default();
    read_map(reader, |key, reader| {
        match key {
            0 => summary.size = reader.u64()?,
            1 => summary.header_bytes = reader.u64()?,
            2 => {
                let extra = read_length(reader)?.checked_sub(2).ok_or_else(|| decode::Error::message("short date"))?;
                summary.sent = Some(Date { time: Time(reader.i64()?), zone: reader.i16()? });
                for _ in 0..extra {
                    reader.skip()?;
                }
            }
            3 => summary.has_attachments = reader.u8()? != 0,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(summary)
}

fn read_envelope<'b>(reader: &mut Decoder<'b>) -> Read<Envelope<'b>> {
    let mut envelope = Envelope::default();
    read_map(reader, |key, reader| {
        match key {
            0 => envelope.date = Some(read_text(reader)?),
            1 => envelope.subject = Some(read_text(reader)?),
            2 => envelope.from = read_addresses(reader)?,
            3 => envelope.own_sender = read_addresses(reader)?,
            4 => envelope.own_reply_to = read_addresses(reader)?,
            5 => envelope.to = read_addresses(reader)?,
            6 => envelope.cc = read_addresses(reader)?,
            7 => envelope.bcc = read_addresses(reader)?,
            8 => envelope.in_reply_to = Some(read_text(reader)?),
            9 => envelope.message_id = Some(read_text(reader)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(envelope)
}

fn read_addresses<'b>(reader: &mut Decoder<'b>) -> Read<Vec<Address<'b>>> {
    let length = read_length(reader)?;
    let mut out = room(length);
    for _ in 0..length {
        let mut address = Address::default();
        for at in 0..read_length(reader)? {
            let text = if reader.datatype()? == Type::Null {
                reader.null()?;
                None
            } else {
                Some(read_text(reader)?)
            };
            match at {
                0 => address.mailbox = text,
                1 => address.host = text,
                2 => address.name = text,
                3 => address.adl = text,
                _ => {}
            }
        }
        out.push(address);
    }
    Ok(out)
}

fn read_params<'b>(reader: &mut Decoder<'b>, length: usize) -> Read<Vec<Param<'b>>> {
    let mut out = room(length / 2);
    for _ in 0..length / 2 {
        out.push(Param { name: read_text(reader)?, value: read_text(reader)? });
    }
    Ok(out)
}

fn read_part<'b>(reader: &mut Decoder<'b>) -> Read<Part<'b>> {
    let mut part = part_of(Vec::new());
    read_part_into(&mut part, reader, 0)?;
    Ok(part)
}

/// Fills `part`, going down into its children: the functions on that way keep little on the stack.
fn read_part_into<'b>(part: &mut Part<'b>, reader: &mut Decoder<'b>, depth: usize) -> Read<()> {
    if depth > MAX_DEPTH {
        return Err(decode::Error::message("parts nested too deep"));
    }
    let mut read = PartRead { part, typed: false, header: 0, body: 0 };
    read_map(reader, |key, reader| match key {
        12 => read.children(reader, depth),
        13 => read.message(reader, depth),
        _ => read.field(key, reader),
    })?;
    read.finish();
    Ok(())
}

struct PartRead<'p, 'b> {
    part: &'p mut Part<'b>,
    typed: bool,
    header: u64,
    body: u64,
}

impl<'b> PartRead<'_, 'b> {
    fn field(&mut self, key: u8, reader: &mut Decoder<'b>) -> Read<()> {
        let part = &mut *self.part;
        match key {
            0 => part.start = reader.u64()?,
            1 => self.header = reader.u64()?,
            2 => self.body = reader.u64()?,
            3 => part.lines = reader.u64()?,
            4 => {
                let length = read_length(reader)?;
                part.kind = read_text(reader)?;
                part.subtype = read_text(reader)?;
                part.params = read_params(reader, length.saturating_sub(2))?;
                self.typed = true;
            }
            5 => part.id = Some(read_text(reader)?),
            6 => part.description = Some(read_text(reader)?),
            7 => part.own_encoding = Some(read_text(reader)?),
            8 => part.md5 = Some(read_text(reader)?),
            9 => {
                let length = read_length(reader)?;
                let kind = read_text(reader)?;
                part.disposition = Some(Disposition { kind, params: read_params(reader, length.saturating_sub(1))? });
            }
            10 => {
                let length = read_length(reader)?;
                part.language = room(length);
                for _ in 0..length {
                    part.language.push(read_text(reader)?);
                }
            }
            11 => part.location = Some(read_text(reader)?),
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn children(&mut self, reader: &mut Decoder<'b>, depth: usize) -> Read<()> {
        let length = read_length(reader)?;
        // Room for few: a part is large, and so would be what a lying length takes at each of many levels.
        let mut children = Vec::with_capacity(length.min(4));
        for at in 0..length {
            children.push(part_of(Vec::new()));
            if let Some(child) = children.get_mut(at) {
                read_part_into(child, reader, depth + 1)?;
            }
        }
        self.part.content = Content::Multipart(children);
        Ok(())
    }

    fn message(&mut self, reader: &mut Decoder<'b>, depth: usize) -> Read<()> {
        if read_length(reader)? != 2 {
            return Err(decode::Error::message("a message within is an envelope and a part"));
        }
        let mut inner = Box::new((read_envelope(reader)?, part_of(Vec::new())));
        read_part_into(&mut inner.1, reader, depth + 1)?;
        self.part.content = Content::Message(inner);
        Ok(())
    }

    fn finish(self) {
        let part = self.part;
        if !self.typed {
            part.params = default_params();
        }
        part.body_start = part.start.saturating_add(self.header);
        part.end = part.body_start.saturating_add(self.body);
    }
}
