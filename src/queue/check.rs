//! Whether the queue's rows agree with each other (Q1, Q2, Q3).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::row::{ANY, APPOINTED, HELD, LATER, LetterRow, RecipientRow};
use super::spool::{Error, decode, due_key, number, totals};
use crate::base::{QueueId, Time};
use crate::store::schema::Key;
use crate::store::{self, Order, Read, Table};

/// Letters and bytes.
#[derive(Default)]
struct Sums {
    letters: u64,
    bytes: u64,
}

/// Verifies every invariant of the queue on one snapshot; one sentence for each thing that is wrong.
pub fn check(read: &dyn Read) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    let mut sums = Sums::default();
    // How many recipients each letter says it has, less those found.
    let mut expected: BTreeMap<u64, i64> = BTreeMap::new();
    let mut blobs: Vec<(u64, u64)> = Vec::new();
    scan(read, Table::Queue, |key, value| {
        let id = number(key);
        match decode::<LetterRow>(value) {
            Ok(row) => {
                sums.letters += 1;
                sums.bytes = sums.bytes.saturating_add(row.size);
                if row.recipients == 0 {
                    wrong.push(format!("letter {id} is in the queue for nobody"));
                }
                expected.insert(id, i64::from(row.recipients));
                blobs.push((id, row.blob));
            }
            Err(error) => wrong.push(format!("letter {id} of the queue: {error}")),
        }
    })?;
    for (id, blob) in blobs {
        if read.get(Table::Blobs, Key::new().u64(blob).as_ref())?.is_none() {
            wrong.push(format!("the bytes of letter {id} of the queue are gone"));
        }
    }
    let mut waiting: BTreeMap<Vec<u8>, &[u8]> = BTreeMap::new();
    scan(read, Table::QueueRecipients, |key, value| {
        let id = number(key);
        let n = key.get(8..12).and_then(|n| n.try_into().ok()).map(u32::from_be_bytes);
        match (decode::<RecipientRow>(value), n) {
            (Ok(row), Some(n)) => {
                if row.state != HELD {
                    let mark = if row.state == LATER { APPOINTED } else { ANY };
                    waiting.insert(due_key(Time(row.due), QueueId(id), n).build(), mark);
                }
                *expected.entry(id).or_default() -= 1;
            }
            (Err(error), _) => wrong.push(format!("a recipient of letter {id} of the queue: {error}")),
            (Ok(_), None) => wrong.push(format!("a recipient of letter {id} of the queue has no number")),
        }
    })?;
    for (id, left) in expected.iter().filter(|(_, left)| **left != 0) {
        wrong.push(format!("letter {id} of the queue has {} recipients more or less than it says", left.abs()));
    }
    scan(read, Table::QueueDue, |key, mark| {
        if waiting.remove(key) != Some(mark) {
            wrong.push("something is due in the queue that does not wait".to_owned());
        }
    })?;
    if !waiting.is_empty() {
        wrong.push(format!("{} recipients wait in the queue and are never due", waiting.len()));
    }
    if totals(read)? != (sums.letters, sums.bytes) {
        wrong.push(format!("the queue holds {} letters of {} bytes, and says otherwise", sums.letters, sums.bytes));
    }
    Ok(wrong)
}

fn scan(read: &dyn Read, table: Table, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), store::Error> {
    read.scan(table, &[], &[0xff; 24], Order::Forward, &mut |key, value| {
        visit(key, value);
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::queue::{Limits, NewLetter, NewRecipient, enqueue};
    use crate::store::blob::LetterHeader;
    use crate::store::data::Options;
    use crate::store::disk::{SimDisk, SimOptions};
    use crate::store::{Data, Txn};

    /// What check says after `harm` was done in a transaction that is then undone.
    struct Said(Vec<String>);

    impl From<store::Error> for Said {
        fn from(error: store::Error) -> Said {
            panic!("{error:?}")
        }
    }

    #[test]
    fn each_harm_is_found() {
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
        assert_eq!(check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        let letter = NewLetter {
            staged: data.blobs().stage(LetterHeader::default(), b"x\r\n").unwrap(),
            from: None,
            account: None,
            utf8: false,
            eight_bit: false,
            ret_full: None,
            envid: None,
            tls: crate::queue::Tls::Usual,
            proven: false,
            release: None,
            by: None,
        };
        let to = |address: &str| NewRecipient { address: address.into(), notify: None, orcpt: None };
        let recipients = [to("a@out.test"), to("b@out.test")];
        let id = data
            .write_blocking(move |txn| enqueue(txn, &letter, &recipients, Time(5), Limits::default()))
            .unwrap()
            .value;
        assert_eq!(check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        let found = |harm: fn(&mut Txn<'_>, QueueId)| {
            let outcome = data.write_blocking(move |txn| -> Result<(), Said> {
                harm(txn, id);
                Err(Said(check(&*txn).unwrap()))
            });
            match outcome {
                Err(Said(wrong)) => wrong.len(),
                Ok(_) => 0,
            }
        };
        assert_eq!(found(|_, _| ()), 0);
        assert_eq!(found(|txn, id| txn.delete(Table::QueueDue, due_key(Time(5), id, 1).as_ref())), 1);
        assert_eq!(found(|txn, id| txn.put(Table::QueueDue, due_key(Time(6), id, 1).as_ref(), Vec::new())), 1);
        // A recipient that is gone is also due, and one that is missing.
        assert_eq!(found(|txn, id| txn.delete(Table::QueueRecipients, Key::new().u64(id.0).u32(0).as_ref())), 2);
        assert_eq!(found(|txn, id| txn.put(Table::Queue, Key::new().u64(id.0).as_ref(), vec![0xff])), 3);
    }
}
