//! What the IMAP machine asks of its host, what it is answered, and what it is told unasked.
//!
//! Everything here is in UIDs and modseqs: tags, sequence numbers, literals and response text stay in the machine. The
//! host knows which account is meant: it is the one whose [`Identity`](crate::proto::sasl::Identity) it gave last in
//! [`SaslAnswer::Accepted`]. Mailbox names are decoded UTF-8 with `/` between levels and without one at either end;
//! `INBOX`, in whatever case it came, arrives as `INBOX` (also as the first level of a longer name).
//!
//! Which answers fit which question stands at each [`Ask`]; besides those, every question but [`Ask::Sasl`] may be
//! answered with [`Answer::No`] or [`Answer::HangUp`], also as a later page. Only answers marked *pages* may come with
//! [`Part::More`](crate::proto::Part::More).

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{BlobId, MailboxId, ModSeq, Time, Uid};
use crate::message::Day;
use crate::proto::sasl::{SaslAnswer, SaslAsk};

use super::uids::UidSet;

/// A question. One is outstanding at a time (S1).
#[derive(Debug)]
pub enum Ask {
    /// A step of LOGIN or AUTHENTICATE → [`Answer::Sasl`]. After `Accepted` the host answers for that account.
    Sasl(SaslAsk),
    /// All mailboxes of the account, and names that are subscribed to without being there → [`Answer::Mailboxes`]
    /// (*pages*). The machine picks what the patterns want.
    List,
    /// Makes a mailbox, and the levels above it that are missing (RFC 9051 6.3.4) → [`Answer::Done`];
    /// [`No::AlreadyExists`], [`No::Cannot`].
    Create { name: String },
    /// RFC 9051 6.3.5 → [`Answer::Done`]; [`No::NonExistent`], [`No::Cannot`] for INBOX, [`No::HasChildren`] if it has no
    /// messages of its own and children.
    Delete { name: String },
    /// RFC 9051 6.3.6, with what is below; renaming INBOX moves its messages to a new mailbox → [`Answer::Done`];
    /// [`No::NonExistent`], [`No::AlreadyExists`], [`No::Cannot`].
    Rename { from: String, to: String },
    /// SUBSCRIBE (`on`) and UNSUBSCRIBE → [`Answer::Done`]. A name that is not there may be subscribed to.
    Subscribe { name: String, on: bool },
    /// → [`Answer::Status`]; [`No::NonExistent`]. What is not wanted may be left zero.
    Status { name: String, want: StatusWant },
    /// SELECT and EXAMINE → [`Answer::Selected`]; [`No::NonExistent`].
    Select { name: String, read_only: bool },
    /// What happened in the mailbox after `since`, which is the `upto` of the last such answer, or that of
    /// [`Selected`] → [`Answer::Changes`] (*pages*), or [`Answer::Gone`] when the mailbox was deleted. Asked after each
    /// command and for each [`Notice::Changed`], so "nothing" has to be cheap.
    Changes { mailbox: MailboxId, since: ModSeq },
    /// → [`Answer::Rows`] (*pages*), ascending by UID. UIDs that are no longer there are left out (RFC 2180 4.1.2). Until
    /// the next question the host keeps the bytes that a page announced, whatever becomes of the message.
    Fetch { mailbox: MailboxId, uids: UidSet, want: FetchWant },
    /// → [`Answer::Stored`] (*pages*) with the messages that are there, each with the flags it has now. UIDs that are no
    /// longer there are left out.
    Store { mailbox: MailboxId, uids: UidSet, mode: StoreMode, flags: Flags },
    /// All of them or none (RFC 9051 6.4.7) → [`Answer::Copied`]; [`No::NonExistent`] for `to`, [`No::OverQuota`].
    Copy { mailbox: MailboxId, uids: UidSet, to: String },
    /// RFC 6851 → [`Answer::Copied`] (*pages*: each says what has been moved for good); [`No::NonExistent`] for `to`.
    Move { mailbox: MailboxId, uids: UidSet, to: String },
    /// Removes messages with `\Deleted`, of these only if given (UID EXPUNGE) → [`Answer::Expunged`] (*pages*).
    Expunge { mailbox: MailboxId, only: Option<UidSet> },
    /// → [`Answer::Found`] (*pages*), ascending.
    Search { mailbox: MailboxId, key: SearchKey },
    /// May a message of this many bytes come into this mailbox? Asked before its literal is let in → [`Answer::Done`];
    /// [`No::NonExistent`], [`No::OverQuota`], [`No::TooBig`], [`No::Unavailable`].
    AppendCheck { name: String, size: u64 },
    /// Puts the body that just ended (see [`Output::BodyEnd`](crate::proto::Output::BodyEnd)) into a mailbox →
    /// [`Answer::Appended`]. `date` is what the client wants as INTERNALDATE; without it, now.
    Append { name: String, flags: Flags, date: Option<Time> },
}

/// An answer. What is said in it is durable: the machine turns it into OK as it is (P1).
#[derive(Debug)]
pub enum Answer {
    Sasl(SaslAnswer),
    Done,
    /// The command is refused.
    No(No),
    /// Close without another word: whether it was done is not known (`store::Error::Unknown`).
    HangUp,
    /// What the session was let in by is not good any more: BYE.
    Unwelcome,
    Mailboxes(Vec<MailboxRow>),
    Status(Status),
    Selected(Box<Selected>),
    Changes(Changes),
    /// The selected mailbox is no longer there.
    Gone,
    Rows(Vec<Row>),
    Stored(Stored),
    Copied(Copied),
    Expunged(Expunged),
    Found(UidSet),
    Appended {
        uid_validity: u32,
        uid: Uid,
    },
}

/// Why not. Each has its response code (RFC 9051 7.1, RFC 5530); the machine chooses the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// There is no such mailbox: NONEXISTENT, or TRYCREATE where a message was to be put into it.
    NonExistent,
    AlreadyExists,
    /// Never possible, and why, as one plain sentence without line ends: CANNOT.
    Cannot(&'static str),
    /// DELETE of a name that only has children: HASCHILDREN (RFC 9051).
    HasChildren,
    OverQuota,
    /// One message is larger than may be: TOOBIG.
    TooBig,
    /// Too many mailboxes, keywords, …: LIMIT.
    Limit,
    NoPerm,
    /// The world failed for now: UNAVAILABLE.
    Unavailable,
    /// We erred: SERVERBUG.
    ServerBug,
}

/// What is told unasked, while idling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something in the account changed, up to this modseq. Told at once if that is already beyond the `upto` last
    /// answered.
    Changed { upto: ModSeq },
    /// The server is going down: BYE.
    GoingDown,
    /// What the session was let in by is not good any more: BYE.
    Unwelcome,
}

/// System flags as bits, and keywords. `\Recent` does not exist here (RFC 9051 2.3.2 dropped it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub system: u8,
    /// Keywords as they are written (`$Forwarded`), without doubles in whatever case.
    pub keywords: Vec<Arc<str>>,
}

impl Flags {
    pub const SEEN: u8 = 1;
    pub const ANSWERED: u8 = 2;
    pub const FLAGGED: u8 = 4;
    pub const DELETED: u8 = 8;
    pub const DRAFT: u8 = 16;

    pub fn system(bits: u8) -> Flags {
        Flags { system: bits, keywords: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    Replace,
    Add,
    Remove,
}

/// RFC 6154 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
}

/// A line of LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRow {
    pub name: String,
    /// False for a level that is no mailbox (`\Noselect`), or a subscription to nothing.
    pub selectable: bool,
    /// False for a name that is only subscribed to: LSUB shows it, LIST does not.
    pub exists: bool,
    pub subscribed: bool,
    pub has_children: bool,
    pub special_use: Option<SpecialUse>,
}

/// Which of [`Status`] is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusWant {
    pub messages: bool,
    pub uid_next: bool,
    pub uid_validity: bool,
    pub unseen: bool,
    pub deleted: bool,
    /// Sum of all RFC822.SIZE.
    pub size: bool,
    /// Always answered with 0, in the machine.
    pub recent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub messages: u32,
    pub uid_next: u32,
    pub uid_validity: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    pub mailbox: MailboxId,
    pub uid_validity: u32,
    pub uid_next: u32,
    /// The account's modseq of the snapshot all this was read from; the next [`Ask::Changes`] asks from here.
    pub upto: ModSeq,
    /// All messages.
    pub uids: UidSet,
    pub first_unseen: Option<Uid>,
    /// Keywords in use in this mailbox.
    pub keywords: Vec<Arc<str>>,
    /// More keywords may be made.
    pub new_keywords: bool,
    /// The mailbox itself may not be written, whatever was asked.
    pub read_only: bool,
}

/// One page of what happened. A message may be in several; one that came and went in between may be in none or only in
/// `expunged`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub arrived: UidSet,
    pub expunged: UidSet,
    /// Messages whose flags changed, with the flags they have now.
    pub flags: Vec<FlagRow>,
    /// The modseq of the snapshot this was read from, the same on all pages of an answer. Not less than `since`.
    pub upto: ModSeq,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRow {
    pub uid: Uid,
    /// Of the last change to this message.
    pub modseq: ModSeq,
    pub flags: Flags,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub rows: Vec<StoredRow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    pub uid: Uid,
    /// Of the last change to this message: of this very change if `changed`.
    pub modseq: ModSeq,
    pub flags: Flags,
    /// False if it had these flags before.
    pub changed: bool,
}

/// RFC 4315 COPYUID: the n-th of `from` became the n-th of `to`, both ascending and equally many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Of the mailbox they are now in.
    pub uid_validity: u32,
    pub from: UidSet,
    pub to: UidSet,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expunged {
    pub uids: UidSet,
}

/// Which of [`Row`] is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchWant {
    pub flags: bool,
    pub internal_date: bool,
    pub size: bool,
    /// [`Row::structure`], for ENVELOPE, BODY and BODYSTRUCTURE.
    pub structure: bool,
    /// Answered one for one by [`Row::sections`].
    pub sections: Vec<Section>,
}

/// A message. What was not wanted is as in `Row::default()`.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub uid: Uid,
    pub modseq: ModSeq,
    pub flags: Flags,
    pub internal_date: Time,
    /// RFC822.SIZE in bytes: exactly what BODY[] sends.
    pub size: u64,
    /// The encoded [`Structure`](crate::message::Structure), as it is kept; the machine decodes what it shows.
    pub structure: Bytes,
    /// One for each wanted section, in that order.
    pub sections: Vec<SectionData>,
    /// What is kept of it cannot be read, and all but the UID is as in `Row::default()`: nothing of it is told.
    pub damaged: bool,
}

/// RFC 9051 6.4.5 section: which part, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from 1; empty is the message itself.
    pub part: Vec<u32>,
    pub what: SectionWhat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionWhat {
    /// BODY[] (header and text), or the body of a part as it is encoded.
    All,
    /// The header of the message, or of the message/rfc822 in the part, with the empty line that ends it.
    Header,
    /// These fields of that header in their order there, names compared without case, with an empty line at the end.
    HeaderFields(Vec<String>),
    /// All but these, in the same form.
    HeaderFieldsNot(Vec<String>),
    /// The text of the message, or of the message/rfc822 in the part.
    Text,
    /// The MIME header of the part, with the empty line that ends it.
    Mime,
}

/// A section of a message. The machine cuts partial fetches out of either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionData {
    /// There is no such part: NIL.
    None,
    /// These bytes of a blob, which the host has made sure are there.
    Blob { blob: BlobId, start: u64, end: u64 },
    /// Computed.
    Bytes(Bytes),
}

/// RFC 9051 6.4.4, with sequence numbers translated to UIDs and strings to UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    All,
    /// All of them; an empty list is [`SearchKey::All`].
    And(Vec<SearchKey>),
    Or(Box<SearchKey>, Box<SearchKey>),
    Not(Box<SearchKey>),
    Uids(UidSet),
    /// All of these bits of [`Flags::system`].
    Flag(u8),
    Keyword(String),
    /// INTERNALDATE, its day in UTC, compared.
    Internal(DayIs, Day),
    /// The Date field, its day as it is written there whatever the zone, compared.
    Sent(DayIs, Day),
    /// RFC822.SIZE greater than.
    Larger(u64),
    Smaller(u64),
    /// The text is in the named envelope field, decoded, without regard to case.
    From(String),
    To(String),
    Cc(String),
    Bcc(String),
    Subject(String),
    /// There is a field of this name whose decoded value has the text in it; an empty text matches every such field.
    Header(String, String),
    /// The text is in a text part, decoded, without regard to case.
    Body(String),
    /// In the header or the body.
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayIs {
    Before,
    On,
    /// On that day or later.
    Since,
}
