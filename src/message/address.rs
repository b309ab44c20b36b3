//! Address lists of RFC 5322 3.4 (obsolete forms too), as ENVELOPE wants them.

use super::structure::Address;

/// Reads the value of an address field, unfolded or not. What cannot be read as an address is kept as a mailbox without
/// a name and with an empty host, so that a reader sees something.
pub fn parse_list(_value: &[u8]) -> Vec<Address<'_>> {
    todo!()
}
