//! The rows of this folder's tables, as they lie on the disk: CBOR arrays with numbered fields. A later version may add
//! fields at the end, with a default; no number ever changes its meaning. The tests keep rows as version 1 wrote them.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::base::{AccountId, EmailId, MailboxId, ModSeq, Uid};
use crate::store::Table;
use crate::store::schema::Key;

use super::Error;

/// Messages and emails that one change touches at most; the largest copy touches far fewer.
const MAX_CHANGED: u64 = 1 << 20;

/// Table Ledger: what an account has used and the last number of each kind it has given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct LedgerRow {
    /// Of the last change; 0 before the first.
    #[n(0)]
    pub modseq: u64,
    /// The log has every change above this one.
    #[n(1)]
    pub floor: u64,
    #[n(2)]
    pub last_mailbox: u32,
    #[n(3)]
    pub last_email: u64,
    #[n(4)]
    pub last_thread: u64,
    /// Of all emails, each once whatever mailboxes it is in.
    #[n(5)]
    pub bytes: u64,
    #[n(6)]
    pub emails: u64,
    /// It is being deleted: nothing is let in any more.
    #[n(7)]
    pub closing: bool,
}

/// What a row of table Mailboxes stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Kind {
    #[default]
    #[n(0)]
    Mailbox,
    /// A name subscribed to without being there (RFC 9051 6.3.7).
    #[n(1)]
    Subscription,
    /// Deleted; its messages are on their way out. Nobody sees it.
    #[n(2)]
    Leaving,
}

/// Table Mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct MailboxRow {
    #[n(0)]
    pub kind: Kind,
    /// From the top, levels separated by `/`, NFC.
    #[n(1)]
    pub name: String,
    #[n(2)]
    pub uid_validity: u32,
    #[n(3)]
    pub uid_next: u32,
    /// Of the last change in it.
    #[n(4)]
    pub modseq: u64,
    /// Code of [`SpecialUse`](super::SpecialUse), 0 for none.
    #[n(5)]
    pub special: u8,
    #[n(6)]
    pub subscribed: bool,
    #[n(7)]
    pub messages: u32,
    #[n(8)]
    pub unseen: u32,
    #[n(9)]
    pub deleted: u32,
    #[n(10)]
    pub bytes: u64,
    /// Bit n of a message's keywords is slot n here.
    #[n(11)]
    pub keywords: Vec<KeywordSlot>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct KeywordSlot {
    #[n(0)]
    pub name: String,
    /// Messages that have it; at 0 the slot may be given to another keyword.
    #[n(1)]
    pub uses: u32,
}

/// Table Messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct MessageRow {
    #[n(0)]
    pub email: u64,
    /// Bits of [`Flags`](super::Flags).
    #[n(1)]
    pub system: u8,
    /// Keywords 0 to 63, then 64 to 127, of the mailbox.
    #[n(2)]
    pub keywords_low: u64,
    #[n(3)]
    pub keywords_high: u64,
    #[n(4)]
    pub modseq: u64,
    /// Internal date, milliseconds since 1970.
    #[n(5)]
    pub received: i64,
    /// When it came into this mailbox (RFC 8514), milliseconds since 1970.
    #[n(6)]
    pub saved: i64,
    #[n(7)]
    pub size: u64,
}

impl MessageRow {
    pub fn keywords(&self) -> u128 {
        u128::from(self.keywords_high) << 64 | u128::from(self.keywords_low)
    }

    pub fn set_keywords(&mut self, bits: u128) {
        self.keywords_low = bits as u64;
        self.keywords_high = (bits >> 64) as u64;
    }
}

/// Table Emails, part 0. (Part 1 is the encoded structure as it is, in a row of its own beside this one, so that moving
/// a message about does not write it again.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct EmailRow {
    #[n(0)]
    pub blob: u64,
    #[n(1)]
    pub size: u64,
    #[n(2)]
    pub received: i64,
    #[n(3)]
    pub thread: u64,
    #[n(4)]
    pub places: Vec<PlaceRow>,
    /// Under which digests it stands in table Threads.
    #[n(5)]
    pub thread_keys: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) struct PlaceRow {
    #[n(0)]
    pub mailbox: u32,
    #[n(1)]
    pub uid: u32,
}

/// Table Changes: what one change touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct ChangeRow {
    /// Mailboxes in which messages changed, ascending.
    #[n(0)]
    pub messages: Vec<MessageChanges>,
    /// Mailboxes that changed themselves.
    #[n(1)]
    pub mailboxes: Vec<MailboxChange>,
    /// Emails that are new, and those that are gone.
    #[n(2)]
    pub created: Ranges64,
    #[n(3)]
    pub destroyed: Ranges64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct MessageChanges {
    #[n(0)]
    pub mailbox: u32,
    #[n(1)]
    pub arrived: Ranges,
    #[n(2)]
    pub flags: Ranges,
    #[n(3)]
    pub expunged: Ranges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct MailboxChange {
    #[n(0)]
    pub mailbox: u32,
    #[n(1)]
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum What {
    #[n(0)]
    Created,
    #[n(1)]
    Renamed,
    #[n(2)]
    Deleted,
    #[n(3)]
    Subscription,
}

macro_rules! ranges {
    ($(#[$doc:meta])* $name:ident, $of:ty, $read:ident, $write:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(super) struct $name(pub Vec<($of, $of)>);

        impl $name {
            /// Adds one number: cheap when they come ascending, right in any order.
            pub fn push(&mut self, n: $of) {
                match self.0.last_mut() {
                    Some(last) if last.1.checked_add(1) == Some(n) => last.1 = n,
                    Some(last) if n > last.1 => self.0.push((n, n)),
                    None => self.0.push((n, n)),
                    Some(_) => {
                        let at = self.0.partition_point(|range| range.1 < n);
                        if self.0.get(at).is_some_and(|range| range.0 <= n) {
                            return;
                        }
                        self.0.insert(at, (n, n));
                    }
                }
            }

            /// How many numbers they hold.
            fn numbers(&self) -> u64 {
                self.0.iter().fold(0u64, |sum, range| {
                    let more = u64::from(range.1 - range.0).saturating_add(1);
                    sum.saturating_add(more)
                })
            }

            pub fn iter(&self) -> impl Iterator<Item = $of> + '_ {
                self.0.iter().flat_map(|range| range.0..=range.1)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.array(self.0.len() as u64 * 2)?;
                for range in &self.0 {
                    e.$write(range.0)?.$write(range.1)?;
                }
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bad = || minicbor::decode::Error::message("ranges are pairs of numbers");
                let fields = d.array()?.ok_or_else(bad)?;
                let mut ranges = Vec::new();
                for _ in 0..fields / 2 {
                    ranges.push((d.$read()?, d.$read()?));
                }
                if fields % 2 != 0 || ranges.iter().any(|range| range.0 > range.1) {
                    return Err(bad());
                }
                Ok($name(ranges))
            }
        }
    };
}

ranges!(
    /// UIDs as ascending ranges, both ends in; on the disk a flat list of first and last.
    Ranges, u32, u32, u32);
ranges!(
    /// The same for email ids.
    Ranges64, u64, u64, u64);

pub(super) fn encode<T: Encode<()>>(row: &T) -> Vec<u8> {
    // Writing into a vector cannot fail.
    minicbor::to_vec(row).unwrap_or_default()
}

pub(super) fn decode<'b, T: Decode<'b, ()>>(what: &'static str, bytes: &'b [u8]) -> Result<T, Error> {
    minicbor::decode(bytes).map_err(|error| Error::Corrupt(format!("{what}: {error}")))
}

/// Whether a value of a table of this folder (an email's: part 0) is the same when it is written and read again;
/// [`Error::Corrupt`] if it cannot be read. For tests that hand in any bytes.
pub fn reads_back(table: Table, value: &[u8]) -> Result<bool, Error> {
    fn twice<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq>(bytes: &[u8]) -> Result<bool, Error> {
        let row = decode::<T>("value", bytes)?;
        Ok(decode::<T>("value", &encode(&row)).as_ref() == Ok(&row))
    }
    match table {
        Table::Ledger => twice::<LedgerRow>(value),
        Table::Mailboxes => twice::<MailboxRow>(value),
        Table::Messages => twice::<MessageRow>(value),
        Table::Emails => twice::<EmailRow>(value),
        Table::Changes => {
            let row = decode_change(value)?;
            Ok(decode_change(&encode(&row)).as_ref() == Ok(&row))
        }
        other => Err(Error::Corrupt(format!("table {other:?} is not of this folder"))),
    }
}

/// Whoever reads the log goes through every number in its ranges, so a row that claims more than any change touches is
/// not believed: one damaged byte can make a range as long as all numbers there are.
pub(super) fn decode_change(bytes: &[u8]) -> Result<ChangeRow, Error> {
    let row = decode::<ChangeRow>("change", bytes)?;
    let uids = row.messages.iter().flat_map(|of| [&of.arrived, &of.flags, &of.expunged]);
    let numbers = uids.fold(0u64, |sum, ranges| sum.saturating_add(ranges.numbers()));
    let numbers = numbers.saturating_add(row.created.numbers()).saturating_add(row.destroyed.numbers());
    if numbers > MAX_CHANGED {
        return Err(Error::Corrupt(format!("change: it claims to touch {numbers} messages")));
    }
    Ok(row)
}

// Keys, as store/schema.rs lays them out.

pub(super) fn account_key(account: AccountId) -> Key {
    Key::new().u32(account.0)
}

pub(super) fn mailbox_key(account: AccountId, mailbox: MailboxId) -> Key {
    account_key(account).u32(mailbox.0)
}

pub(super) fn message_key(account: AccountId, mailbox: MailboxId, uid: Uid) -> Key {
    mailbox_key(account, mailbox).u32(uid.0)
}

pub(super) fn email_key(account: AccountId, email: EmailId) -> Key {
    account_key(account).u64(email.0).u8(0)
}

pub(super) fn structure_key(account: AccountId, email: EmailId) -> Key {
    account_key(account).u64(email.0).u8(1)
}

pub(super) fn change_key(account: AccountId, modseq: ModSeq) -> Key {
    account_key(account).u64(modseq.0)
}

pub(super) fn thread_key(account: AccountId, digest: u64, email: EmailId) -> Key {
    account_key(account).u64(digest).u64(email.0)
}

/// The number of 4 bytes at `at` of a key.
pub(super) fn u32_at(key: &[u8], at: usize) -> Result<u32, Error> {
    key.get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes)
        .ok_or_else(|| Error::Corrupt(format!("a key of {} bytes is too short", key.len())))
}

/// The number of 8 bytes at `at` of a key.
pub(super) fn u64_at(key: &[u8], at: usize) -> Result<u64, Error> {
    key.get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| Error::Corrupt(format!("a key of {} bytes is too short", key.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[n * 2..n * 2 + 2], 16).unwrap()).collect()
    }

    /// What version 1 wrote reads as what it meant, and is still written so.
    fn version_1<T>(row: T, written: &str)
    where
        T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + std::fmt::Debug,
    {
        assert_eq!(hex(&encode(&row)), written);
        assert_eq!(decode::<T>("row", &bytes(written)), Ok(row));
    }

    #[test]
    fn rows_are_as_version_1_wrote_them() {
        version_1(
            LedgerRow {
                modseq: 300,
                floor: 2,
                last_mailbox: 7,
                last_email: 70_000,
                last_thread: 5,
                bytes: 1 << 33,
                emails: 9,
                closing: false,
            },
            "8819012c02071a00011170051b000000020000000009f4",
        );
        version_1(
            MailboxRow {
                kind: Kind::Mailbox,
                name: "Entw\u{fc}rfe".to_owned(),
                uid_validity: 12,
                uid_next: 4,
                modseq: 299,
                special: 1,
                subscribed: true,
                messages: 3,
                unseen: 2,
                deleted: 1,
                bytes: 4000,
                keywords: vec![KeywordSlot { name: "$Forwarded".to_owned(), uses: 1 }],
            },
            "8c0069456e7477c3bc7266650c0419012b01f5030201190fa081826a24466f7277617264656401",
        );
        version_1(
            MailboxRow { kind: Kind::Subscription, name: "gone".to_owned(), subscribed: true, ..MailboxRow::default() },
            "8c0164676f6e6500000000f50000000080",
        );
        let mut message = MessageRow {
            email: 70_000,
            system: 9,
            modseq: 299,
            received: -1,
            saved: 1_800_000_000_000,
            size: 1333,
            ..MessageRow::default()
        };
        message.set_keywords(1 | 1 << 64);
        version_1(message, "881a0001117009010119012b201b000001a3185c5000190535");
        version_1(
            EmailRow {
                blob: 5,
                size: 1333,
                received: -1,
                thread: 4,
                places: vec![PlaceRow { mailbox: 1, uid: 3 }, PlaceRow { mailbox: 6, uid: 1 }],
                thread_keys: vec![0xdead_beef_0000_0001],
            },
            "8605190535200482820103820601811bdeadbeef00000001",
        );
        let mut uids = Ranges::default();
        for uid in [1, 2, 3, 9] {
            uids.push(uid);
        }
        version_1(
            ChangeRow {
                messages: vec![MessageChanges { mailbox: 1, arrived: uids, ..MessageChanges::default() }],
                mailboxes: vec![MailboxChange { mailbox: 6, what: What::Renamed }],
                created: Ranges64(vec![(1, 4)]),
                destroyed: Ranges64::default(),
            },
            "84818401840103090980808182060182010480",
        );
    }

    #[test]
    fn a_row_with_fields_of_a_later_version_is_read() {
        // A place with a third field.
        assert_eq!(decode("place", &[0x83, 1, 3, 0xf5]), Ok(PlaceRow { mailbox: 1, uid: 3 }));
    }

    #[test]
    fn ranges_take_numbers_in_any_order() {
        let mut ranges = Ranges::default();
        for n in [5, 6, 1, 2, 6, 5, 9] {
            ranges.push(n);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [1, 2, 5, 6, 9]);
        assert!(decode::<Ranges>("ranges", &[0x83, 1, 2, 3]).is_err(), "three numbers are no pairs");
        assert!(decode::<Ranges>("ranges", &[0x82, 2, 1]).is_err(), "a range that ends before it begins");
    }

    #[test]
    fn a_change_that_claims_to_touch_everything_is_not_believed() {
        let row = |created, flags| {
            let of = |mailbox| MessageChanges { mailbox, flags: Ranges(vec![flags]), ..MessageChanges::default() };
            encode(&ChangeRow {
                messages: vec![of(1), of(2)],
                created: Ranges64(vec![created]),
                ..ChangeRow::default()
            })
        };
        assert!(decode_change(&row((1, 4), (1, 25_000))).is_ok());
        assert!(decode_change(&row((0, u64::MAX), (1, 9))).is_err());
        assert!(decode_change(&row((1, 4), (1, 600_000))).is_err(), "it is the sum that counts");
    }

    #[test]
    fn no_bytes_make_a_decoder_panic() {
        let mut seed = 7u64;
        for len in 0..400 {
            let noise: Vec<u8> = (0..len % 40)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 56) as u8
                })
                .collect();
            let _ = decode::<LedgerRow>("ledger", &noise);
            let _ = decode::<MailboxRow>("mailbox", &noise);
            let _ = decode::<EmailRow>("email", &noise);
            let _ = decode::<ChangeRow>("change", &noise);
        }
    }
}
