//! What a message consists of: summary, envelope, part tree, and where each section of it lies in the letter's bytes.

use std::borrow::Cow;
use std::ops::Range;

use super::date::Date;

/// Octets of a header value: unfolded, trimmed, NUL-free, and otherwise as they came (encoded words not decoded, 8-bit
/// bytes kept). Usually UTF-8 or ASCII, but that is the sender's word, not ours.
pub type Text<'a> = Cow<'a, [u8]>;

/// A message as read by [`parse`](super::parse); borrows from the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub summary: Summary,
    pub envelope: Envelope<'a>,
    /// The root of the part tree: its header is the message's header.
    pub body: Part<'a>,
}

/// Small facts about a message, decoded without envelope or parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the letter (RFC822.SIZE).
    pub size: u64,
    /// Bytes of its header section, the empty line included: the body starts here.
    pub header_bytes: u64,
    /// From its Date field, if there is one that can be read.
    pub sent: Option<Date>,
    /// A part that a reader would call an attachment: disposition attachment, or a file name, or neither text nor an
    /// inline image.
    pub has_attachments: bool,
}

/// RFC 9051 7.5.2, ENVELOPE. A field that is not there is `None` (or an empty list); one that is there and empty is an
/// empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub date: Option<Text<'a>>,
    pub subject: Option<Text<'a>>,
    pub from: Vec<Address<'a>>,
    /// As in the message; [`Envelope::sender`] is what ENVELOPE shows.
    pub own_sender: Vec<Address<'a>>,
    /// As in the message; [`Envelope::reply_to`] is what ENVELOPE shows.
    pub own_reply_to: Vec<Address<'a>>,
    pub to: Vec<Address<'a>>,
    pub cc: Vec<Address<'a>>,
    pub bcc: Vec<Address<'a>>,
    pub in_reply_to: Option<Text<'a>>,
    pub message_id: Option<Text<'a>>,
}

impl Message<'_> {
    /// Whether all places fit together (M3), and with the summary.
    pub fn check(&self) -> Result<(), &'static str> {
        let root = &self.body;
        if root.start != 0 || root.end != self.summary.size || root.body_start != self.summary.header_bytes {
            return Err("the root part is not the letter");
        }
        root.check()
    }
}

impl<'a> Envelope<'a> {
    /// RFC 9051 7.5.2: an absent or empty Sender is the same as From.
    pub fn sender(&self) -> &[Address<'a>] {
        if self.own_sender.is_empty() { &self.from } else { &self.own_sender }
    }

    /// RFC 9051 7.5.2: an absent or empty Reply-To is the same as From.
    pub fn reply_to(&self) -> &[Address<'a>] {
        if self.own_reply_to.is_empty() { &self.from } else { &self.own_reply_to }
    }
}

/// RFC 9051 7.5.2, address structure. Without a host it marks a group: with a mailbox (the group's name) its start,
/// without one its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// Display name, quotes removed; encoded words as they came.
    pub name: Option<Text<'a>>,
    /// The source route of RFC 822 (`@a,@b`), if anybody still writes one.
    pub adl: Option<Text<'a>>,
    pub mailbox: Option<Text<'a>>,
    pub host: Option<Text<'a>>,
}

impl Address<'_> {
    pub fn is_group_start(&self) -> bool {
        self.host.is_none() && self.mailbox.is_some()
    }

    pub fn is_group_end(&self) -> bool {
        self.host.is_none() && self.mailbox.is_none()
    }
}

/// A parameter of a Content-Type or Content-Disposition: name, value (unquoted), in the order written, RFC 2231 pieces
/// as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    pub name: Text<'a>,
    pub value: Text<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition<'a> {
    /// `attachment`, `inline` or whatever was written.
    pub kind: Text<'a>,
    pub params: Vec<Param<'a>>,
}

/// One part of the tree. All offsets count from the first byte of the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// First byte of its header section.
    pub start: u64,
    /// First byte of its body: the header section, its empty line included, ends here.
    pub body_start: u64,
    /// Behind the last byte of its body (the line end before a boundary belongs to the boundary).
    pub end: u64,
    /// Line ends in the body.
    pub lines: u64,
    /// Media type and subtype as written; `TEXT` and `PLAIN` where nothing usable was.
    pub kind: Text<'a>,
    pub subtype: Text<'a>,
    pub params: Vec<Param<'a>>,
    /// Content-ID.
    pub id: Option<Text<'a>>,
    pub description: Option<Text<'a>>,
    /// Content-Transfer-Encoding, if written; see [`Part::encoding`].
    pub own_encoding: Option<Text<'a>>,
    pub md5: Option<Text<'a>>,
    pub disposition: Option<Disposition<'a>>,
    pub language: Vec<Text<'a>>,
    pub location: Option<Text<'a>>,
    pub content: Content<'a>,
}

/// What is in a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    Leaf,
    /// Of a `multipart/*`; never empty (a multipart without any boundary has its body as its one part).
    Multipart(Vec<Part<'a>>),
    /// Of a `message/rfc822` or `message/global`: its envelope and its root part, which lies in the body.
    Message(Box<(Envelope<'a>, Part<'a>)>),
}

/// What of a part is asked for (RFC 9051 6.4.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// `BODY[]`, `BODY[1.2]`.
    Whole,
    /// `HEADER` (and what `HEADER.FIELDS` filters): of the message, or of a message/rfc822 part.
    Header,
    /// `TEXT`: of the message, or of a message/rfc822 part.
    Text,
    /// `MIME`: the header of a part; needs a path.
    Mime,
}

impl<'a> Part<'a> {
    /// Bytes of the body as transferred (the octets of BODYSTRUCTURE).
    pub fn octets(&self) -> u64 {
        self.end.saturating_sub(self.body_start)
    }

    pub fn header_range(&self) -> Range<u64> {
        self.start..self.body_start
    }

    pub fn body_range(&self) -> Range<u64> {
        self.body_start..self.end
    }

    /// The transfer encoding, `7BIT` if none was written (RFC 2045 6.1).
    pub fn encoding(&self) -> &[u8] {
        self.own_encoding.as_deref().unwrap_or(b"7BIT")
    }

    /// True for this media type, in any case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    /// The value of a Content-Type parameter, found in any case.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        find_param(&self.params, name)
    }

    /// The part at a path of numbers from 1, this being the root of a message (RFC 9051 6.4.5.1: a message that is not a
    /// multipart has just part 1, its body).
    pub fn at(&self, path: &[u32]) -> Option<&Part<'a>> {
        let (&first, rest) = path.split_first()?;
        let mut part = self.numbered(first)?;
        for &n in rest {
            part = match &part.content {
                Content::Leaf => return None,
                Content::Multipart(_) => part.numbered(n)?,
                Content::Message(inner) => inner.1.numbered(n)?,
            };
        }
        Some(part)
    }

    /// Child `n` of a multipart; of anything else, itself as 1.
    fn numbered(&self, n: u32) -> Option<&Part<'a>> {
        match &self.content {
            Content::Multipart(children) => children.get(usize::try_from(n.checked_sub(1)?).ok()?),
            _ if n == 1 => Some(self),
            _ => None,
        }
    }

    /// Where a section of the message lies in the letter, this being its root; `None` if there is no such section.
    pub fn section(&self, path: &[u32], section: Section) -> Option<Range<u64>> {
        if path.is_empty() {
            return match section {
                Section::Whole => Some(self.start..self.end),
                Section::Header => Some(self.header_range()),
                Section::Text => Some(self.body_range()),
                Section::Mime => None,
            };
        }
        let part = self.at(path)?;
        match (section, &part.content) {
            (Section::Whole, _) => Some(part.body_range()),
            (Section::Mime, _) => Some(part.header_range()),
            (Section::Header, Content::Message(inner)) => Some(inner.1.header_range()),
            (Section::Text, Content::Message(inner)) => Some(inner.1.body_range()),
            _ => None,
        }
    }

    /// Whether the places of this part and all below it fit together (M3).
    pub fn check(&self) -> Result<(), &'static str> {
        for (_, part) in self.walk() {
            if part.start > part.body_start || part.body_start > part.end {
                return Err("a part's header, body and end are out of order");
            }
            if part.lines > part.octets() {
                return Err("a part has more lines than bytes");
            }
            let mut free = part.body_start;
            let children = match &part.content {
                Content::Leaf => continue,
                Content::Multipart(children) => children.as_slice(),
                Content::Message(inner) => std::slice::from_ref(&inner.1),
            };
            if children.is_empty() {
                return Err("a multipart without parts");
            }
            for child in children {
                if child.start < free || child.end > part.end {
                    return Err("a part lies outside its parent or over its neighbour");
                }
                free = child.end;
            }
        }
        Ok(())
    }

    /// This part and all below it, in the order of their bytes, with how deep each lies (0 for this one).
    pub fn walk(&self) -> Vec<(usize, &Part<'a>)> {
        let mut out = Vec::new();
        let mut stack = vec![(0, self)];
        while let Some((depth, part)) = stack.pop() {
            out.push((depth, part));
            match &part.content {
                Content::Leaf => {}
                Content::Multipart(children) => stack.extend(children.iter().rev().map(|child| (depth + 1, child))),
                Content::Message(inner) => stack.push((depth + 1, &inner.1)),
            }
        }
        out
    }
}

/// The value of the first parameter of that name, found in any case.
pub(super) fn find_param<'p>(params: &'p [Param<'_>], name: &str) -> Option<&'p [u8]> {
    params.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes())).map(|p| &*p.value)
}
