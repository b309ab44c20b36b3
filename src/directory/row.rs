//! The rows of people, as CBOR arrays with numbered fields: an old row is read by new code, its missing fields as `None`
//! or their default. Field numbers are never given out again.

use std::fmt;
use std::ops::ControlFlow;

use minicbor::{CborLen, Decode, Encode};

use crate::store;

/// A domain of ours. Key: the domain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct DomainRow {
    /// Milliseconds since 1970.
    #[n(0)]
    pub created: i64,
}

/// Key: account u32.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct AccountRow {
    #[n(0)]
    pub address: String,
    #[n(1)]
    pub name: Option<String>,
    /// Bytes; `None` is without limit.
    #[n(2)]
    pub quota: Option<u64>,
    /// Bits: see the constants.
    #[n(3)]
    pub roles: u32,
    /// Milliseconds since 1970.
    #[n(4)]
    pub created: i64,
    /// With [`AccountRow::LEAVING`]: when the deletion begins. Milliseconds since 1970.
    #[n(5)]
    pub leaves: Option<i64>,
    /// Since when none of its letters leaves the house, because it wrote to too many. Milliseconds since 1970.
    #[n(6)]
    pub stopped: Option<i64>,
    /// How often it was let go on: what it sends is counted anew in each season.
    #[n(7)]
    pub season: Option<u32>,
}

impl AccountRow {
    pub const ADMINISTRATOR: u32 = 1;
    /// May not log in; still takes mail.
    pub const DISABLED: u32 = 2;
    /// Being deleted (U5): takes no mail, may not log in, its rows go step by step.
    pub const CLOSING: u32 = 4;
    /// To be deleted at a time that is known, and to be taken back until then (U7): still takes mail, may not log in.
    pub const LEAVING: u32 = 8;

    pub fn is(&self, role: u32) -> bool {
        self.roles & role != 0
    }
}

/// What an address is. Key: the address, or `@domain` for the catch-all.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub enum AddressRow {
    /// An account's own.
    #[n(0)]
    Account(#[n(0)] u32),
    /// Addresses, ours or outside.
    #[n(1)]
    Alias(#[n(0)] Vec<String>),
}

/// Key: account u32, kind u8. Kind 1 is the account's password.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct CredentialRow {
    /// argon2id, as a PHC string.
    #[n(0)]
    pub argon2: String,
    /// RFC 5802 3, for SCRAM-SHA-256.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub salt: Vec<u8>,
    #[n(2)]
    pub iterations: u32,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub stored_key: [u8; 32],
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub server_key: [u8; 32],
    /// Milliseconds since 1970.
    #[n(5)]
    pub set: i64,
}

impl CredentialRow {
    pub const PASSWORD: u8 = 1;
}

impl fmt::Debug for CredentialRow {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialRow {{ set: {} }}", self.set)
    }
}

/// Key: domain, 0, selector.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct DkimRow {
    /// See the constants.
    #[n(0)]
    pub algorithm: u8,
    /// Milliseconds since 1970.
    #[n(1)]
    pub created: i64,
    /// PKCS#8, DER. Secret.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub private: Vec<u8>,
    /// As the record publishes it: the 32 bytes of Ed25519, or RSA's SubjectPublicKeyInfo, DER.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub public: Vec<u8>,
    /// `None`: it signs. 1: it comes. 2: it leaves. 3: it is gone, and its private half empty.
    #[n(4)]
    pub stage: Option<u8>,
    /// Since when, in milliseconds since 1970; `None`: since it was made.
    #[n(5)]
    pub since: Option<i64>,
}

impl DkimRow {
    pub const ED25519: u8 = 1;
    /// 2048 bits.
    pub const RSA: u8 = 2;
}

impl fmt::Debug for DkimRow {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DkimRow {{ algorithm: {}, created: {} }}", self.algorithm, self.created)
    }
}

/// A link by which somebody chooses a pass phrase. Key: account u32.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct InvitationRow {
    /// BLAKE3 of the link's secret.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// Milliseconds since 1970.
    #[n(1)]
    pub made: i64,
    #[n(2)]
    pub until: i64,
}

impl fmt::Debug for InvitationRow {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvitationRow {{ until: {} }}", self.until)
    }
}

/// A token for programs. Key: token u32.
#[derive(Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct TokenRow {
    /// Of the administrator in whose name it acts.
    #[n(0)]
    pub account: u32,
    #[n(1)]
    pub name: String,
    /// BLAKE3 of the token.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// See the constants.
    #[n(3)]
    pub scope: u8,
    /// Milliseconds since 1970.
    #[n(4)]
    pub made: i64,
    #[n(5)]
    pub until: i64,
}

impl TokenRow {
    pub const READ: u8 = 1;
    pub const ALL: u8 = 2;
}

impl fmt::Debug for TokenRow {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenRow {{ name: {:?}, until: {} }}", self.name, self.until)
    }
}

/// A device with a password of its own. Key: account u32, device u32.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct DeviceRow {
    #[n(0)]
    pub name: String,
    /// Milliseconds since 1970.
    #[n(1)]
    pub made: i64,
    #[n(2)]
    pub used: Option<i64>,
    /// BLAKE3 of the password as it is shown; `None` while it is not fetched.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: Option<[u8; 32]>,
    /// RFC 5802 3, for SCRAM-SHA-256; salt and iterations are those of the pass phrase.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub salt: Vec<u8>,
    #[n(5)]
    pub iterations: u32,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    pub stored_key: [u8; 32],
    #[n(7)]
    #[cbor(with = "minicbor::bytes")]
    pub server_key: [u8; 32],
    /// BLAKE3 of the secret of the link by which it is fetched, until it is.
    #[n(8)]
    #[cbor(with = "minicbor::bytes")]
    pub link: Option<[u8; 32]>,
    /// With the link: until when.
    #[n(9)]
    pub until: i64,
}

impl fmt::Debug for DeviceRow {
    // U2
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceRow {{ name: {:?}, made: {} }}", self.name, self.made)
    }
}

pub fn encode<T: Encode<()>>(row: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // A Vec takes everything, so there is no error to have.
    let _ = minicbor::encode(row, &mut out);
    out
}

pub fn decode<T: for<'b> Decode<'b, ()>>(what: &str, bytes: &[u8]) -> Result<T, store::Error> {
    minicbor::decode(bytes).map_err(|error| store::Error::Corrupt(format!("the row of {what}: {error}")))
}

/// The rows of a table from one key to another, each with what `id` makes of its key; `what` names one of them in errors.
pub fn rows<K, T: for<'b> Decode<'b, ()>>(
    read: &dyn store::Read,
    table: store::Table,
    (from, to): (&[u8], &[u8]),
    what: &str,
    id: impl Fn(&[u8]) -> Option<K>,
) -> Result<Vec<(K, T)>, store::Error> {
    let mut out = Vec::new();
    let mut wrong = None;
    read.scan(table, from, to, store::Order::Forward, &mut |key, value| {
        let id = id(key).ok_or_else(|| store::Error::Corrupt(format!("the key of {what}")));
        match id.and_then(|id| Ok((id, decode(what, value)?))) {
            Ok(one) => {
                out.push(one);
                ControlFlow::Continue(())
            }
            Err(error) => {
                wrong = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    wrong.map_or(Ok(out), Err)
}

/// A key that is one number.
pub fn number(key: &[u8]) -> Option<u32> {
    key.try_into().ok().map(u32::from_be_bytes)
}

/// Whether a value of a table of this folder is the same when it is written and read again;
/// [`store::Error::Corrupt`] if it cannot be read. For tests that hand in any bytes.
pub fn reads_back(table: store::Table, value: &[u8]) -> Result<bool, store::Error> {
    fn twice<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq>(bytes: &[u8]) -> Result<bool, store::Error> {
        let row = decode::<T>("value", bytes)?;
        Ok(decode::<T>("value", &encode(&row)).as_ref() == Ok(&row))
    }
    match table {
        store::Table::Domains => twice::<DomainRow>(value),
        store::Table::Accounts => twice::<AccountRow>(value),
        store::Table::Addresses => twice::<AddressRow>(value),
        store::Table::Credentials => twice::<CredentialRow>(value),
        store::Table::DkimKeys => twice::<DkimRow>(value),
        store::Table::Invitations => twice::<InvitationRow>(value),
        store::Table::ApiTokens => twice::<TokenRow>(value),
        store::Table::Devices => twice::<DeviceRow>(value),
        other => Err(store::Error::Corrupt(format!("table {other:?} is not of this folder"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    fn check<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + fmt::Debug>(row: T, version_1: &str) {
        let hex: String = encode(&row).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, version_1);
        assert_eq!(decode::<T>("test", &unhex(version_1)).unwrap(), row);
        for cut in 0..version_1.len() / 2 {
            assert!(decode::<T>("test", &unhex(version_1)[..cut]).is_err());
        }
    }

    /// Version 1 as it lies on disk since the first release: these bytes must always be readable.
    #[test]
    fn rows_of_version_1_are_read() {
        check(DomainRow { created: 1_700_000_000_000 }, "811b0000018bcfe56800");
        check(
            AccountRow {
                address: "alice@example.test".into(),
                name: Some("Alice".into()),
                quota: Some(1 << 30),
                roles: AccountRow::ADMINISTRATOR,
                created: 1_700_000_000_000,
                leaves: None,
                stopped: None,
                season: None,
            },
            "8572616c696365406578616d706c652e7465737465416c6963651a40000000011b0000018bcfe56800",
        );
        check(
            AccountRow {
                address: "b@example.test".into(),
                name: None,
                quota: None,
                roles: 0,
                created: 0,
                leaves: None,
                stopped: None,
                season: None,
            },
            "856e62406578616d706c652e74657374f6f60000",
        );
        check(AddressRow::Account(7), "82008107");
        check(
            AddressRow::Alias(vec!["a@b.test".into(), "c@d.test".into()]),
            "8201818268614062 2e7465737468634064 2e74657374".replace(' ', "").as_str(),
        );
        check(
            CredentialRow {
                argon2: "$argon2id$".into(),
                salt: vec![1; 4],
                iterations: 20_000,
                stored_key: [2; 32],
                server_key: [3; 32],
                set: 5,
            },
            &format!("866a246172676f6e32696424440101010119 4e205820{}5820{}05", "02".repeat(32), "03".repeat(32))
                .replace(' ', ""),
        );
        check(
            DkimRow {
                algorithm: DkimRow::ED25519,
                created: 1_700_000_000_000,
                private: vec![4; 3],
                public: vec![5; 2],
                stage: None,
                since: None,
            },
            "84011b0000018bcfe5680043040404420505",
        );
        check(
            DkimRow {
                algorithm: DkimRow::RSA,
                created: 1,
                private: Vec::new(),
                public: vec![5; 2],
                stage: Some(3),
                since: Some(6),
            },
            "860201404205050306",
        );
        check(
            AccountRow {
                address: "b@example.test".into(),
                name: None,
                quota: None,
                roles: AccountRow::LEAVING,
                created: 0,
                leaves: Some(5),
                stopped: None,
                season: None,
            },
            "866e62406578616d706c652e74657374f6f6080005",
        );
        check(
            AccountRow {
                address: "b@example.test".into(),
                name: None,
                quota: None,
                roles: 0,
                created: 0,
                leaves: None,
                stopped: Some(5),
                season: Some(2),
            },
            "886e62406578616d706c652e74657374f6f60000f60502",
        );
        check(InvitationRow { digest: [6; 32], made: 1, until: 2 }, &format!("835820{}0102", "06".repeat(32)));
        check(
            TokenRow { account: 7, name: "n".into(), digest: [6; 32], scope: TokenRow::READ, made: 1, until: 2 },
            &format!("8607616e5820{}010102", "06".repeat(32)),
        );
        check(
            DeviceRow {
                name: "n".into(),
                made: 1,
                used: Some(2),
                digest: Some([6; 32]),
                salt: vec![1; 2],
                iterations: 3,
                stored_key: [4; 32],
                server_key: [5; 32],
                link: None,
                until: 0,
            },
            &format!("8a616e01025820{}420101035820{}5820{}f600", "06".repeat(32), "04".repeat(32), "05".repeat(32)),
        );
    }

    /// What a later version adds at the end does not hinder this one (a roll-back of an update).
    #[test]
    fn a_field_that_is_not_known_yet_is_passed_over() {
        assert_eq!(decode::<DomainRow>("test", &[0x82, 0x05, 0x63, b'n', b'e', b'w']), Ok(DomainRow { created: 5 }));
    }

    #[test]
    fn a_credential_shows_nothing() {
        let row = CredentialRow {
            argon2: "$argon2id$secret".into(),
            salt: b"salty".to_vec(),
            iterations: 1,
            stored_key: [7; 32],
            server_key: [7; 32],
            set: 0,
        };
        assert_eq!(format!("{row:?}"), "CredentialRow { set: 0 }");
    }
}
