//! Reads a letter: one pass over its lines, a stack of open parts, no copies but of folded values.

use std::borrow::Cow;

use super::address;
use super::date;
use super::header::{self, Field};
use super::limits::{Limits, Refused};
use super::mime;
use super::structure::{Address, Content, Disposition, Envelope, Message, Param, Part, Summary, Text, find_param};

/// Nesting that is refused whatever the limits say: trees are walked by recursion when they are stored and shown.
pub(super) const MAX_DEPTH: usize = 128;
/// Of a boundary only so many bytes are compared; RFC 2046 5.1.1 allows 70.
const MAX_BOUNDARY: usize = 256;
/// Addresses kept of one message, in all its envelopes.
const MAX_ADDRESSES: usize = 20_000;

/// Reads a message (CRLF or bare LF). Anything within the limits yields a structure: a text without a header is a body, a
/// multipart without its boundary has its body as one part, a part that never ends goes on to the end of its parent.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Message<'a>, Refused> {
    let reader = Reader {
        bytes,
        at: 0,
        newlines: 0,
        limits,
        parts: 0,
        header_bytes: 0,
        addresses: MAX_ADDRESSES,
        open: Vec::new(),
        waiting: Vec::new(),
        sent: None,
        done: None,
    };
    reader.message()
}

/// A part whose end is not reached yet.
struct Open<'a> {
    part: Part<'a>,
    /// Line ends before its body.
    newlines: u64,
    holds: Holds<'a>,
}

enum Holds<'a> {
    Nothing,
    /// `boundary` is empty if there is none, or no more after its closing delimiter.
    Parts {
        boundary: Text<'a>,
        children: Vec<Part<'a>>,
        digest: bool,
    },
    Message {
        envelope: Box<Envelope<'a>>,
        root: Option<Box<Part<'a>>>,
    },
}

/// A line that is a boundary of an open multipart.
struct Delimiter {
    /// Which of the open parts.
    index: usize,
    closes: bool,
    line: usize,
    next: usize,
}

struct Reader<'a, 'l> {
    bytes: &'a [u8],
    /// Always the start of a line.
    at: usize,
    /// Line ends before `at`.
    newlines: u64,
    limits: &'l Limits,
    parts: u32,
    header_bytes: u64,
    addresses: usize,
    open: Vec<Open<'a>>,
    /// Those of the open parts that wait for a boundary, in the order of their boundaries, then from outer to inner.
    waiting: Vec<(Text<'a>, usize)>,
    sent: Option<date::Date>,
    done: Option<Part<'a>>,
}

impl<'a> Reader<'a, '_> {
    fn message(mut self) -> Result<Message<'a>, Refused> {
        let envelope = self.open_part(true, false)?.unwrap_or_default();
        loop {
            // A message within begins where the body of its part does.
            while let Some(Open { holds: Holds::Message { .. }, .. }) = self.open.last() {
                let inner = self.open_part(true, false)?.unwrap_or_default();
                let holder = self.open.len().checked_sub(2).and_then(|at| self.open.get_mut(at));
                if let Some(Open { holds: Holds::Message { envelope, .. }, .. }) = holder {
                    **envelope = inner;
                }
            }
            let Some(delimiter) = self.seek() else {
                self.close_above(0, self.bytes.len(), self.newlines)?;
                break;
            };
            let (end, newlines) = self.before_line_end(delimiter.line);
            self.close_above(delimiter.index + 1, end, newlines)?;
            self.step_to(delimiter.next);
            if let Some(Open { holds: Holds::Parts { boundary, digest, .. }, .. }) = self.open.get_mut(delimiter.index)
            {
                if delimiter.closes {
                    *boundary = Cow::Borrowed(b"");
                    self.sort_boundaries();
                } else {
                    let digest = *digest;
                    self.open_part(false, digest)?;
                }
            }
        }
        let body = self.done.take().unwrap_or_else(|| plain_part(0, 0, 0, 0));
        let summary = Summary {
            size: self.bytes.len() as u64,
            header_bytes: body.body_start,
            sent: self.sent,
            has_attachments: has_attachments(&body),
        };
        Ok(Message { summary, envelope, body })
    }

    /// Reads the header section at the current place and opens the part it describes. The envelope is read for messages.
    fn open_part(&mut self, message: bool, in_digest: bool) -> Result<Option<Envelope<'a>>, Refused> {
        self.count_part()?;
        let start = self.at;
        self.skip_header()?;
        let header = &self.bytes[start..self.at];
        let mut part = plain_part(start, self.at, self.at, 0);
        let mut envelope = message.then(Envelope::default);
        let mut typed = false;
        for field in header::fields(header) {
            let taken = match &mut envelope {
                Some(envelope) => self.envelope_field(&field, envelope, start == 0),
                None => false,
            };
            if !taken {
                part_field(&field, &mut part, &mut typed);
            }
        }
        if !typed && in_digest {
            // RFC 2046 5.1.5
            part.kind = Cow::Borrowed(b"MESSAGE");
            part.subtype = Cow::Borrowed(b"RFC822");
            part.params = Vec::new();
        }
        let holds = if part.is_kind("multipart") {
            let boundary = find_boundary(&part.params);
            Holds::Parts { boundary, children: Vec::new(), digest: part.subtype.eq_ignore_ascii_case(b"digest") }
        } else if part.is("message", "rfc822") || part.is("message", "global") {
            Holds::Message { envelope: Box::default(), root: None }
        } else {
            Holds::Nothing
        };
        if self.open.len() >= MAX_DEPTH.min(self.limits.depth as usize) {
            return Err(Refused::TooDeep);
        }
        let waits = matches!(&holds, Holds::Parts { boundary, .. } if !boundary.is_empty());
        self.open.push(Open { part, newlines: self.newlines, holds });
        if waits {
            self.sort_boundaries();
        }
        Ok(envelope)
    }

    fn count_part(&mut self) -> Result<(), Refused> {
        self.parts += 1;
        if self.parts > self.limits.parts { Err(Refused::TooManyParts) } else { Ok(()) }
    }

    /// Goes behind the header section: its empty line, or the boundary or end of the letter that cuts it short.
    fn skip_header(&mut self) -> Result<(), Refused> {
        let start = self.at;
        if header::begins_with_field(&self.bytes[start..]) {
            while let Some((line, next)) = self.line() {
                if self.delimiter(line, next).is_some() {
                    break;
                }
                self.step_to(next);
                if (self.at - start) as u64 > self.limits.header_bytes {
                    return Err(Refused::HeaderTooLarge);
                }
                if header::is_empty_line(line) {
                    break;
                }
            }
        }
        self.header_bytes += (self.at - start) as u64;
        if self.header_bytes > self.limits.all_header_bytes { Err(Refused::HeaderTooLarge) } else { Ok(()) }
    }

    /// The line at the current place and where the next one starts.
    fn line(&self) -> Option<(&'a [u8], usize)> {
        let (line, _) = header::split_line(&self.bytes[self.at..]);
        (!line.is_empty()).then_some((line, self.at + line.len()))
    }

    /// On to the next line.
    fn step_to(&mut self, next: usize) {
        if next > self.at {
            self.newlines += u64::from(self.bytes[next - 1] == b'\n');
            self.at = next;
        }
    }

    /// Goes on to the next delimiter line, or to the end.
    fn seek(&mut self) -> Option<Delimiter> {
        while let Some((line, next)) = self.line() {
            if let Some(delimiter) = self.delimiter(line, next) {
                return Some(delimiter);
            }
            self.step_to(next);
        }
        None
    }

    /// RFC 2046 5.1.1: two hyphens and the boundary at the beginning of a line; what follows on the line is let pass, as
    /// the RFC asks. When boundaries of several open multiparts fit, the longest is meant, then the innermost.
    fn delimiter(&self, line: &[u8], next: usize) -> Option<Delimiter> {
        let line = line.strip_prefix(b"--")?;
        // The last boundary that does not sort behind `rest` is the longest that fits; or else no other that fits is longer
        // than what both have in common. Each round takes something off the line, so that short lines have few of them.
        let mut rest = line;
        loop {
            let after = self.waiting.partition_point(|(boundary, _)| **boundary <= *rest);
            let (boundary, index) = self.waiting.get(after.checked_sub(1)?)?;
            if line.starts_with(boundary) {
                let closes = line[boundary.len()..].starts_with(b"--");
                return Some(Delimiter { index: *index, closes, line: self.at, next });
            }
            let common = boundary.iter().zip(rest).take_while(|(a, b)| a == b).count();
            rest = &rest[..common];
        }
    }

    /// To be called when boundaries came or went; that happens at most twice for each part.
    fn sort_boundaries(&mut self) {
        self.waiting.clear();
        for (index, open) in self.open.iter().enumerate() {
            if let Holds::Parts { boundary, .. } = &open.holds
                && !boundary.is_empty()
            {
                self.waiting.push((boundary.clone(), index));
            }
        }
        self.waiting.sort_unstable();
    }

    /// RFC 2046 5.1.1: the line end before a delimiter belongs to it. The place before it, and the line ends up to there;
    /// the current place is the delimiter's line.
    fn before_line_end(&self, line: usize) -> (usize, u64) {
        match &self.bytes[..line] {
            [.., b'\r', b'\n'] => (line - 2, self.newlines - 1),
            [.., b'\n'] => (line - 1, self.newlines - 1),
            _ => (line, self.newlines),
        }
    }

    /// Closes all open parts from `index` on, which end at `end`, or with their header if that goes further.
    fn close_above(&mut self, index: usize, end: usize, mut newlines: u64) -> Result<(), Refused> {
        let mut end = end as u64;
        while self.open.len() > index {
            let Some(Open { mut part, newlines: before, holds }) = self.open.pop() else { break };
            if part.body_start > end {
                (end, newlines) = (part.body_start, before);
            }
            part.end = end;
            part.lines = newlines.saturating_sub(before);
            part.content = match holds {
                Holds::Nothing => Content::Leaf,
                Holds::Parts { mut children, .. } => {
                    if children.is_empty() {
                        self.count_part()?;
                        let body = usize::try_from(part.body_start).unwrap_or(usize::MAX);
                        let stop = usize::try_from(end).unwrap_or(usize::MAX);
                        children.push(plain_part(body, body, stop, part.lines));
                    }
                    Content::Multipart(children)
                }
                Holds::Message { envelope, root } => match root {
                    Some(root) => Content::Message(Box::new((*envelope, *root))),
                    None => Content::Leaf,
                },
            };
            match self.open.last_mut() {
                Some(Open { holds: Holds::Parts { children, .. }, .. }) => children.push(part),
                Some(Open { holds: Holds::Message { root, .. }, .. }) => *root = Some(Box::new(part)),
                _ => self.done = Some(part),
            }
        }
        if self.waiting.iter().any(|(_, waiting)| *waiting >= index) {
            self.sort_boundaries();
        }
        Ok(())
    }

    /// True if the field was one of the envelope's. Of fields that should stand once the first counts (RFC 5322 3.6);
    /// recipients of all To, Cc and Bcc fields are taken together, so that none is hidden.
    fn envelope_field(&mut self, field: &Field<'a>, envelope: &mut Envelope<'a>, outermost: bool) -> bool {
        let name = field.name;
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        match name.len() {
            2 if is("To") => self.add(field, &mut envelope.to),
            2 if is("Cc") => self.add(field, &mut envelope.cc),
            3 if is("Bcc") => self.add(field, &mut envelope.bcc),
            4 if is("Date") => {
                if outermost && self.sent.is_none() {
                    self.sent = date::parse(field.raw_value);
                }
                first(&mut envelope.date, field);
            }
            4 if is("From") => self.first(field, &mut envelope.from),
            6 if is("Sender") => self.first(field, &mut envelope.own_sender),
            7 if is("Subject") => first(&mut envelope.subject, field),
            8 if is("Reply-To") => self.first(field, &mut envelope.own_reply_to),
            10 if is("Message-ID") => first(&mut envelope.message_id, field),
            11 if is("In-Reply-To") => first(&mut envelope.in_reply_to, field),
            _ => return false,
        }
        true
    }

    fn first(&mut self, field: &Field<'a>, into: &mut Vec<Address<'a>>) {
        if into.is_empty() {
            self.add(field, into);
        }
    }

    fn add(&mut self, field: &Field<'a>, into: &mut Vec<Address<'a>>) {
        let mut more = address::parse_list(field.raw_value, self.addresses);
        self.addresses = self.addresses.saturating_sub(more.len());
        if into.is_empty() {
            *into = more;
        } else {
            into.append(&mut more);
        }
    }
}

fn first<'a>(into: &mut Option<Text<'a>>, field: &Field<'a>) {
    if into.is_none() {
        *into = Some(field.value());
    }
}

/// Takes over a field that describes the part itself.
fn part_field<'a>(field: &Field<'a>, part: &mut Part<'a>, typed: &mut bool) {
    if !field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-")) {
        return;
    }
    if field.is("Content-Type") && !*typed {
        if let Some((kind, subtype, params)) = mime::content_type(field.raw_value) {
            (part.kind, part.subtype, part.params) = (kind, subtype, params);
            *typed = true;
        }
    } else if field.is("Content-Transfer-Encoding") && part.own_encoding.is_none() {
        part.own_encoding = mime::first_word(field.raw_value);
    } else if field.is("Content-Disposition") && part.disposition.is_none() {
        part.disposition = mime::disposition(field.raw_value).map(|(kind, params)| Disposition { kind, params });
    } else if field.is("Content-ID") {
        first(&mut part.id, field);
    } else if field.is("Content-Description") {
        first(&mut part.description, field);
    } else if field.is("Content-MD5") {
        first(&mut part.md5, field);
    } else if field.is("Content-Location") {
        first(&mut part.location, field);
    } else if field.is("Content-Language") && part.language.is_empty() {
        part.language = mime::languages(field.raw_value);
    }
}

/// RFC 2045 5.2: what a part is when nothing (or nothing that can be read) says so.
pub(super) fn plain_part<'a>(start: usize, body_start: usize, end: usize, lines: u64) -> Part<'a> {
    Part { start: start as u64, body_start: body_start as u64, end: end as u64, lines, ..part_of(default_params()) }
}

/// A text/plain part with these parameters, still of no place and size.
pub(super) fn part_of(params: Vec<Param<'_>>) -> Part<'_> {
    Part {
        start: 0,
        body_start: 0,
        end: 0,
        lines: 0,
        kind: Cow::Borrowed(b"TEXT"),
        subtype: Cow::Borrowed(b"PLAIN"),
        params,
        id: None,
        description: None,
        own_encoding: None,
        md5: None,
        disposition: None,
        language: Vec::new(),
        location: None,
        content: Content::Leaf,
    }
}

pub(super) fn default_params<'a>() -> Vec<Param<'a>> {
    vec![Param { name: Cow::Borrowed(b"CHARSET"), value: Cow::Borrowed(b"US-ASCII") }]
}

fn find_boundary<'a>(params: &[Param<'a>]) -> Text<'a> {
    let boundary = params.iter().find(|param| param.name.eq_ignore_ascii_case(b"boundary"));
    match boundary.map(|param| param.value.clone()) {
        // RFC 2046 5.1.1: a boundary does not end with white space.
        Some(Cow::Borrowed(value)) => Cow::Borrowed(cut(value)),
        Some(Cow::Owned(value)) => Cow::Owned(cut(&value).to_vec()),
        None => Cow::Borrowed(b""),
    }
}

fn cut(boundary: &[u8]) -> &[u8] {
    let boundary = boundary.get(..MAX_BOUNDARY).unwrap_or(boundary);
    let end = boundary.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
    &boundary[..end]
}

/// See [`Summary::has_attachments`].
fn has_attachments(root: &Part<'_>) -> bool {
    // With each part, whether it lies in a multipart/related (its images belong to the text then).
    let mut stack = vec![(root, false)];
    while let Some((part, related)) = stack.pop() {
        match &part.content {
            Content::Multipart(children) => {
                let related = part.subtype.eq_ignore_ascii_case(b"related");
                stack.extend(children.iter().map(|child| (child, related)));
            }
            _ if is_attachment(part, related) => return true,
            _ => {}
        }
    }
    false
}

/// Parts that belong to the machinery of a message rather than to what its writer attached.
const MACHINERY: [(&str, &str); 8] = [
    ("application", "pgp-signature"),
    ("application", "pgp-encrypted"),
    ("application", "pkcs7-signature"),
    ("application", "x-pkcs7-signature"),
    ("message", "delivery-status"),
    ("message", "global-delivery-status"),
    ("message", "disposition-notification"),
    ("message", "feedback-report"),
];

fn is_attachment(part: &Part<'_>, related: bool) -> bool {
    let is = |kind: &str| part.disposition.as_ref().is_some_and(|d| d.kind.eq_ignore_ascii_case(kind.as_bytes()));
    if is("attachment") {
        return true;
    }
    if part.is_kind("text") {
        let named = |params: &[Param<'_>], name: &str| {
            find_param(params, name).or_else(|| find_param(params, &format!("{name}*"))).is_some()
        };
        let disposed = part.disposition.as_ref().is_some_and(|d| named(&d.params, "filename"));
        return !is("inline") && (disposed || named(&part.params, "name"));
    }
    if part.is_kind("image") && (related || is("inline")) || (related && part.id.is_some()) {
        return false;
    }
    !MACHINERY.iter().any(|(kind, subtype)| part.is(kind, subtype))
}

#[cfg(test)]
mod tests;
