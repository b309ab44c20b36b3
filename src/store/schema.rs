//! Every table of the data store on one page, and how keys and values are laid out.
//!
//! Keys are fields one after another, numbers big-endian, so that key order is meaning; a text field is last, or ends with
//! a zero byte. Values are CBOR (minicbor, numbered fields, so that old rows read with new code); the type of each value
//! lives with its owner, named below.

/// A table of the data store. The number is part of the format on disk: never reused, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// name → bytes. Store epoch, format version, counters (`counter/NAME` → u64).
    Meta = 1,
    /// domain name (lower case, A-labels) → `directory` DomainRow.
    Domains = 2,
    /// account u32 → `directory` AccountRow (address, name, quota, disabled).
    Accounts = 3,
    /// address, lower case → `directory` AddressRow: the account or alias targets. `@domain` is the catch-all.
    Addresses = 4,
    /// account u32, kind u8 → `directory` CredentialRow (argon2id hash, SCRAM keys). Secret.
    Credentials = 5,
    /// account u32, mailbox u32 → `account` MailboxRow.
    Mailboxes = 6,
    /// account u32, mailbox u32, uid u32 → `account` MessageRow (email, flags, modseq, dates, size).
    Messages = 7,
    /// account u32, email u64 → `account` EmailRow (blob, parsed structure, in which mailboxes).
    Emails = 8,
    /// account u32, modseq u64 → `account` ChangeRow: what that change touched (P6).
    Changes = 9,
    /// account u32 → `account` LedgerRow: highest modseq, bytes and messages used, next ids.
    Ledger = 10,
    /// queue id u64 → `queue` MessageRow.
    Queue = 11,
    /// queue id u64, recipient u32 → `queue` RecipientRow.
    QueueRecipients = 12,
    /// due time i64 (offset to be unsigned), queue id u64, recipient u32 → nothing. What is due when.
    QueueDue = 13,
    /// digest of peer, envelope and body → time: a 250 whose reading was never confirmed (P3).
    Unconfirmed = 14,
    /// account u32, Message-ID digest u64, email u64 → thread u64.
    Threads = 15,
    /// blob u64 → `store` place of the bytes, references, length, BLAKE3.
    Blobs = 16,
    /// segment u64 → `store` bytes alive in it.
    Segments = 17,
    /// number of a large letter's file u64 → blob u64.
    LetterFiles = 18,
}

impl Table {
    pub const ALL: [Table; 18] = [
        Table::Meta,
        Table::Domains,
        Table::Accounts,
        Table::Addresses,
        Table::Credentials,
        Table::Mailboxes,
        Table::Messages,
        Table::Emails,
        Table::Changes,
        Table::Ledger,
        Table::Queue,
        Table::QueueRecipients,
        Table::QueueDue,
        Table::Unconfirmed,
        Table::Threads,
        Table::Blobs,
        Table::Segments,
        Table::LetterFiles,
    ];

    /// The table with this number.
    pub fn from_number(number: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|table| *table as u8 == number)
    }

    /// Its name in the rows' file; as fixed as the number.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Domains => "domains",
            Table::Accounts => "accounts",
            Table::Addresses => "addresses",
            Table::Credentials => "credentials",
            Table::Mailboxes => "mailboxes",
            Table::Messages => "messages",
            Table::Emails => "emails",
            Table::Changes => "changes",
            Table::Ledger => "ledger",
            Table::Queue => "queue",
            Table::QueueRecipients => "queue_recipients",
            Table::QueueDue => "queue_due",
            Table::Unconfirmed => "unconfirmed",
            Table::Threads => "threads",
            Table::Blobs => "blobs",
            Table::Segments => "segments",
            Table::LetterFiles => "letter_files",
        }
    }

    /// Small tables without which letters would be nobody's: each new segment begins with a copy of them, so that
    /// salvage can put the people back when the index is lost.
    pub fn kept_in_segments(self) -> bool {
        matches!(self, Table::Domains | Table::Accounts | Table::Addresses | Table::Credentials | Table::Mailboxes)
    }
}

/// Builds a key field by field.
#[derive(Clone, Debug, Default)]
pub struct Key(Vec<u8>);

impl Key {
    pub fn new() -> Key {
        Key(Vec::with_capacity(16))
    }

    pub fn u8(mut self, n: u8) -> Key {
        self.0.push(n);
        self
    }

    pub fn u32(mut self, n: u32) -> Key {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    pub fn u64(mut self, n: u64) -> Key {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    pub fn text(mut self, text: &str) -> Key {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// The first key after all keys that begin with this one (the `hi` of a scan over a prefix).
    pub fn after(mut self) -> Vec<u8> {
        while let Some(last) = self.0.pop() {
            if last != 0xff {
                self.0.push(last + 1);
                return self.0;
            }
        }
        vec![0xff; 32]
    }

    pub fn build(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
