//! What becomes of the queue's rows when they are put back from a backup: everything is held. What was waiting then may have been
//! sent since, and nobody would like to send it twice without being asked.

use super::row::{HELD, RecipientRow};
use super::spool::{Error, TOTALS, decode, encode};
use crate::store::Table;

/// What goes into the new store for a row of this folder's tables; `None` for those that go: nothing is due.
pub fn returned(table: Table, value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    match table {
        Table::QueueDue => Ok(None),
        Table::QueueRecipients => {
            let row: RecipientRow = decode(value)?;
            encode(&RecipientRow { state: HELD, ..row }).map(Some)
        }
        _ => Ok(Some(value.to_vec())),
    }
}

/// Whether this row of table Meta counts what the queue holds.
pub fn is_total(key: &[u8]) -> bool {
    key == TOTALS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::row::WAITING;

    #[test]
    fn what_waited_is_held_and_nothing_is_due() {
        let row =
            RecipientRow { address: "a@b.test".into(), state: WAITING, due: 5, attempts: 2, ..Default::default() };
        let returned = returned(Table::QueueRecipients, &encode(&row).unwrap()).unwrap().unwrap();
        assert_eq!(decode::<RecipientRow>(&returned).unwrap(), RecipientRow { state: HELD, ..row });
        assert_eq!(super::returned(Table::QueueDue, b"").unwrap(), None);
    }
}
