//! The rows of tables Queue and QueueRecipients, as they lie on the disk: CBOR with numbered fields.

use minicbor::{Decode, Encode};

use super::spool::{self, Error};
use crate::store::Table;

/// Table Queue: a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct LetterRow {
    #[n(0)]
    pub blob: u64,
    #[n(1)]
    pub size: u64,
    /// Milliseconds since 1970.
    #[n(2)]
    pub queued: i64,
    /// The reverse path; `None` is the null path.
    #[n(3)]
    pub from: Option<String>,
    /// Who handed it in; `None` for what an alias sends on.
    #[n(4)]
    pub account: Option<u32>,
    #[n(5)]
    pub utf8: bool,
    #[n(6)]
    pub eight_bit: bool,
    /// RFC 3461 4.3: true is FULL, false is HDRS.
    #[n(7)]
    pub ret_full: Option<bool>,
    /// RFC 3461 4.4, decoded.
    #[n(8)]
    pub envid: Option<String>,
    /// Recipients still in the queue.
    #[n(9)]
    pub recipients: u32,
    /// RFC 8689: 1 only under TLS that is verified, 2 though TLS does not work; `None` where nothing was asked.
    #[n(10)]
    pub tls: Option<u8>,
    /// Whoever sent it from outside was proved to be who the reverse path names.
    #[n(11)]
    pub proven: Option<bool>,
    /// RFC 4865: when it was to leave, milliseconds since 1970.
    #[n(12)]
    pub release: Option<i64>,
    /// RFC 2852: when it is to be delivered by, milliseconds since 1970.
    #[n(13)]
    pub by: Option<i64>,
    /// And how: 1 it comes back then, 2 its sender hears of each server.
    #[n(14)]
    pub by_how: Option<u8>,
}

/// Values of [`RecipientRow::state`].
pub(super) const WAITING: u8 = 0;
pub(super) const HELD: u8 = 1;
pub(super) const LATER: u8 = 2;

/// Values of table QueueDue: what waits for its next attempt, and what waits for the time that its sender named.
pub(super) const ANY: &[u8] = b"";
pub(super) const APPOINTED: &[u8] = b"a";

/// Table QueueRecipients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct RecipientRow {
    #[n(0)]
    pub address: String,
    /// RFC 3461 4.1: 1 success, 2 failure, 4 delay; `None` where nothing was asked.
    #[n(1)]
    pub notify: Option<u8>,
    /// RFC 3461 4.2: kind and address, decoded.
    #[n(2)]
    pub orcpt: Option<(String, String)>,
    /// [`WAITING`], [`HELD`] or [`LATER`].
    #[n(3)]
    pub state: u8,
    /// When it is due next, milliseconds since 1970.
    #[n(4)]
    pub due: i64,
    #[n(5)]
    pub attempts: u32,
    /// What the last attempt was told, if it failed.
    #[n(6)]
    pub last: Option<String>,
    /// The sender has been told that it takes long.
    #[n(7)]
    pub told: Option<bool>,
}

/// Whether a value of a table of this folder (in table Meta: the totals) is the same when it is written and read again;
/// [`Error::Corrupt`] if it cannot be read. For tests that hand in any bytes.
pub fn reads_back(table: Table, value: &[u8]) -> Result<bool, Error> {
    fn twice<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq>(bytes: &[u8]) -> Result<bool, Error> {
        let row = spool::decode::<T>(bytes)?;
        Ok(spool::decode::<T>(&spool::encode(&row)?).as_ref() == Ok(&row))
    }
    match table {
        Table::Queue => twice::<LetterRow>(value),
        Table::QueueRecipients => twice::<RecipientRow>(value),
        Table::Meta => twice::<(u64, u64)>(value),
        other => Err(Error::Corrupt(format!("table {other:?} is not of this folder"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as version 1 wrote them: today's code must read them for ever.
    #[test]
    fn rows_of_version_1_can_be_read() {
        let letter = LetterRow {
            blob: 7,
            size: 1234,
            queued: 1_700_000_000_000,
            from: Some("a@b.test".into()),
            account: Some(1),
            utf8: false,
            eight_bit: true,
            ret_full: Some(false),
            envid: Some("e1".into()),
            recipients: 2,
            tls: None,
            proven: None,
            release: None,
            by: None,
            by_how: None,
        };
        let bytes = hex("8a071904d21b0000018bcfe5680068614062 2e7465737401f4f5f462653102");
        assert_eq!(minicbor::to_vec(&letter).unwrap(), bytes);
        assert_eq!(minicbor::decode::<LetterRow>(&bytes).unwrap(), letter);

        let recipient = RecipientRow {
            address: "c@d.test".into(),
            notify: Some(6),
            orcpt: Some(("rfc822".into(), "c@d.test".into())),
            state: 0,
            due: 5,
            attempts: 1,
            last: None,
            told: None,
        };
        let bytes = hex("86 68634064 2e74657374 06 82 66726663383232 68634064 2e74657374 00 05 01");
        assert_eq!(minicbor::to_vec(&recipient).unwrap(), bytes);
        assert_eq!(minicbor::decode::<RecipientRow>(&bytes).unwrap(), recipient);
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }
}
