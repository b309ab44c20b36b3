//! Every table of the data store on one page, and the whole format on disk.
//!
//! # The folder
//!
//! One flat folder, mode 0700, files 0600. `NNNN` is a number in 16 hexadecimal digits.
//!
//! | file | what it is |
//! |---|---|
//! | `rows.redb` | the tables below in redb, as they were at the last checkpoint, and the table `state` |
//! | `segment-NNNN` | records: what was committed, in order, with the letters that belong to it |
//! | `letter-NNNN` | one large letter; the number is random |
//! | `spare-NNNN` | a segment that holds nothing any more, kept to be used again |
//! | `incoming-NNNN` | a large letter being written; removed when the store opens |
//! | `ballast` | room that is given back when the disk is full |
//!
//! All numbers are big-endian. A *list* is its count (u32) and its items; *bytes* are their length (u32) and themselves.
//!
//! # Rows
//!
//! Keys are fields one after another, numbers big-endian, so that key order is meaning; a text field is last, or ends with
//! a zero byte. Values are CBOR (minicbor, numbered fields, so that old rows read with new code); the type of each value
//! lives with its owner, named at its table. redb's own table `state` has two rows: `identity` (epoch u64, key of 32 bytes)
//! and `position` (number of the last record applied u64, its segment u64, the offset behind it u64, its digest of 32 bytes).
//! Each group of writes changes `position` in the same transaction, so what is to be replayed is always what lies behind it.
//!
//! # Segments
//!
//! | field of the header | bytes |
//! |---|---|
//! | `HPSEGM`, 0, version 1 | 8 |
//! | epoch of the store | 8 |
//! | key of the checksums | 32 |
//! | number of the segment, as in its name | 8 |
//! | number of its first record | 8 |
//! | digest of the record before that | 32 |
//! | number of the record after which the copy was taken | 8 |
//! | length of the copy | 4 |
//! | copy: list of rows of the tables that are kept in segments | |
//! | BLAKE3 of all before | 32 |
//!
//! Zeros follow to a multiple of 512, then records, each at a multiple of 512, then what the file held before or zeros. A
//! record with the number of a later segment's first record, or a higher one, is void: its flush failed and nobody was told.
//!
//! | field of a record | bytes |
//! |---|---|
//! | `HPR1` | 4 |
//! | epoch of the store | 8 |
//! | number: one more than the record before | 8 |
//! | length of the payload | 4 |
//! | digest of the record before | 32 |
//! | its own digest: BLAKE3, keyed, of the fields above and the payload | 32 |
//! | payload: list of letters, list of rows | |
//!
//! A row is: table u8, key bytes, then u32 0 for a deletion, or the value's length + 1 (u32) and the value. A letter is: blob
//! u64, letter header bytes (CBOR: accounts, time of arrival), length u64, BLAKE3 (32), list of frames (u32 each), and the
//! frames' bytes one after another.
//!
//! *Frames* are 64 KiB of a letter each, the last may be shorter, compressed each by itself (an LZ4 block) or not at all. The
//! u32 of a frame is the length of what is stored, with the highest bit set if it is compressed.
//!
//! A bad record at the end is a torn tail: it was never acknowledged, and the next one is written over it. A bad record with
//! a good one of a higher number behind it is corruption: the store does not open, and `salvage` reads what there is.
//!
//! # Letter files
//!
//! `HPLETT`, 0, version 1; where the index starts u64; its length u32; its BLAKE3 (32); frames from byte 512 on; the index:
//! letter header bytes, length u64, BLAKE3 (32), list of frames in reading order, each as where it starts u64, its length
//! uncompressed u32, and the frame's u32. (What belongs before the body is known last, so its frames lie last.)

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
    /// account u32, email u64, part u8 → part 0: `account` EmailRow (blob, size, date, thread, in which mailboxes); part 1:
    /// the encoded `message` Structure.
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
    /// blob u64 → `store` BlobRow: references, length, BLAKE3, and the place: segment, offset, frames; or a file.
    Blobs = 16,
    /// segment u64 → bytes of letters in it that rows still name, u64. No row: none.
    Segments = 17,
    /// number of a large letter's file u64 → blob u64.
    LetterFiles = 18,
    /// domain, 0, selector → `directory` DkimRow: both halves of a key that signs the domain's letters. Secret.
    DkimKeys = 19,
    /// account u32 → `directory` InvitationRow: a link by which its pass phrase can be chosen once (a digest of it, until when).
    Invitations = 20,
    /// token u32 → `directory` TokenRow: what a program may do in an administrator's name (a digest, a name, until when).
    ApiTokens = 21,
    /// domain → `appliance::dnsguide` Memory: what we wrote into its DNS, and what was there before the last time.
    DnsRecords = 22,
    /// name, 0, value → nothing. A record for an authority (DNS-01) that is in the DNS, or may be.
    DnsChallenges = 23,
    /// account u32, device u32 → `directory` DeviceRow: a password of its own (a digest, SCRAM keys), or the digest of a link by
    /// which it is fetched. Secret.
    Devices = 24,
}

impl Table {
    pub const ALL: [Table; 24] = [
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
        Table::DkimKeys,
        Table::Invitations,
        Table::ApiTokens,
        Table::DnsRecords,
        Table::DnsChallenges,
        Table::Devices,
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
            Table::DkimKeys => "dkim_keys",
            Table::Invitations => "invitations",
            Table::ApiTokens => "api_tokens",
            Table::DnsRecords => "dns_records",
            Table::DnsChallenges => "dns_challenges",
            Table::Devices => "devices",
        }
    }

    /// Small tables without which letters would be nobody's, or the records in the DNS would be wrong: each new segment
    /// begins with a copy of them, so that salvage can put the people back when the index is lost.
    pub fn kept_in_segments(self) -> bool {
        matches!(
            self,
            Table::Domains
                | Table::Accounts
                | Table::Addresses
                | Table::Credentials
                | Table::Mailboxes
                | Table::DkimKeys
                | Table::DnsRecords
        )
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
