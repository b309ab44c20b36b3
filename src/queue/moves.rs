//! From one state into another, each in one durable act of whoever commits the transaction. A recipient that is not there
//! any more, or not in the state that is left, is left alone: somebody else was quicker.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::base::{AccountId, BlobId, QueueId, Time};
use crate::store::schema::Key;
use crate::store::{Order, Read, Table, Txn};

use super::row::{ANY, APPOINTED, HELD, LATER, LetterRow, RecipientRow, WAITING};
use super::schedule;
use super::spool::{Error, Tls, decode, due_key, encode, number, put_totals, totals};

/// A recipient whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub id: QueueId,
    /// Which of the letter's recipients.
    pub n: u32,
    pub address: String,
    /// As its letter asks.
    pub tls: Tls,
}

/// Recipients who wait, or were to be sent later, and whose time has come, longest ago first, without those that `skip` names;
/// at most `most`. And when the next one's time comes, if all of these are named. A time that a sender named has not come while
/// `now` is not to be `believed`.
pub fn due(
    read: &dyn Read,
    (now, believed): (Time, bool),
    most: usize,
    skip: &dyn Fn(QueueId, u32) -> bool,
) -> Result<(Vec<Due>, Option<Time>), Error> {
    let mut found: Vec<(QueueId, u32)> = Vec::new();
    let mut next = None;
    let mut look = |key: &[u8], mark: &[u8], until_first: bool| {
        if found.len() >= most {
            return ControlFlow::Break(());
        }
        let Some((due, id, n)) = split(key) else { return ControlFlow::Continue(()) };
        let appointed = mark != ANY;
        if appointed && !believed {
            return ControlFlow::Continue(());
        }
        if !schedule::is_due(due, appointed, now) {
            if until_first {
                next = Some(due);
            }
            // One that is meant to be far away says nothing of the others there.
            return if appointed && !until_first { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        }
        if !skip(id, n) && !found.contains(&(id, n)) {
            found.push((id, n));
        }
        ControlFlow::Continue(())
    };
    read.scan(Table::QueueDue, &[], &[0xff; 24], Order::Forward, &mut |key, mark| look(key, mark, true))?;
    // Times that no clock of ours can have meant lie at the end.
    read.scan(Table::QueueDue, &[], &[0xff; 24], Order::Backward, &mut |key, mark| look(key, mark, false))?;
    let mut out = Vec::new();
    // Those of one letter mostly stand together.
    let mut known: Option<(QueueId, Tls)> = None;
    for (id, n) in found {
        if let Some(row) = recipient(read, id, n)? {
            let tls = match known {
                Some((known, tls)) if known == id => tls,
                _ => letter_tls(read, id)?,
            };
            known = Some((id, tls));
            out.push(Due { id, n, address: row.address, tls });
        }
    }
    Ok((out, next))
}

fn letter_tls(read: &dyn Read, id: QueueId) -> Result<Tls, Error> {
    let row = read.get(Table::Queue, Key::new().u64(id.0).as_ref())?;
    let row = row.map(|value| decode::<LetterRow>(&value)).transpose()?;
    Ok(Tls::from_number(row.and_then(|row| row.tls)))
}

/// Waiting, later, or held while it was being sent → nothing: delivered, or given up and bounced in the same transaction.
pub fn leave(txn: &mut Txn<'_>, id: QueueId, n: u32) -> Result<bool, Error> {
    match recipient(txn, id, n)? {
        Some(row) => remove(txn, id, n, &row).map(|()| true),
        None => Ok(false),
    }
}

/// Waiting or later → nothing, since it has arrived in this house in the same transaction.
pub fn arrive(txn: &mut Txn<'_>, id: QueueId, n: u32) -> Result<bool, Error> {
    match recipient(txn, id, n)?.filter(|row| row.state != HELD) {
        Some(row) => remove(txn, id, n, &row).map(|()| true),
        None => Ok(false),
    }
}

/// To whom a recipient's copy goes, while it is in the queue.
pub fn address(read: &dyn Read, id: QueueId, n: u32) -> Result<Option<String>, Error> {
    Ok(recipient(read, id, n)?.map(|row| row.address))
}

/// Waiting, later or held → nothing, since nobody wants it sent any more.
pub fn cancel(txn: &mut Txn<'_>, id: QueueId) -> Result<u32, Error> {
    each(txn, id, |txn, n, row| remove(txn, id, n, &row).map(|()| true))
}

/// Waiting or later → waiting, after an attempt that failed for now. `told`: the sender hears of the delay in the same transaction.
pub fn put_off(txn: &mut Txn<'_>, id: QueueId, n: u32, due: Time, last: &str, told: bool) -> Result<bool, Error> {
    let Some(mut row) = recipient(txn, id, n)?.filter(|row| row.state != HELD) else { return Ok(false) };
    txn.delete(Table::QueueDue, due_key(Time(row.due), id, n).as_ref());
    row.state = WAITING;
    row.attempts = row.attempts.saturating_add(1);
    row.due = due.0;
    row.last = Some(last.to_owned());
    row.told = (row.told == Some(true) || told).then_some(true);
    txn.put(Table::QueueDue, due_key(due, id, n).as_ref(), Vec::new());
    put(txn, id, n, &row).map(|()| true)
}

/// Waiting → waiting, due at once. How many recipients it was.
pub fn retry(txn: &mut Txn<'_>, id: QueueId, now: Time) -> Result<u32, Error> {
    each(txn, id, |txn, n, mut row| {
        if row.state != WAITING {
            return Ok(false);
        }
        txn.delete(Table::QueueDue, due_key(Time(row.due), id, n).as_ref());
        row.due = now.0;
        txn.put(Table::QueueDue, due_key(now, id, n).as_ref(), Vec::new());
        put(txn, id, n, &row).map(|()| true)
    })
}

/// Waiting or later → held: nothing becomes of it until it is released.
pub fn hold(txn: &mut Txn<'_>, id: QueueId) -> Result<u32, Error> {
    each(txn, id, |txn, n, mut row| {
        if row.state == HELD {
            return Ok(false);
        }
        txn.delete(Table::QueueDue, due_key(Time(row.due), id, n).as_ref());
        row.state = HELD;
        put(txn, id, n, &row).map(|()| true)
    })
}

/// What becomes of letters that their sender wants to leave later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appointed {
    /// They leave at their time.
    Kept,
    /// They leave now.
    Dropped,
}

/// Held → waiting, due at once; or later, where the sender's time is kept and has not come. Later → waiting, due at once, where
/// it is dropped.
pub fn release(txn: &mut Txn<'_>, id: QueueId, now: Time, appointed: Appointed) -> Result<u32, Error> {
    let key = Key::new().u64(id.0);
    let Some(value) = txn.get(Table::Queue, key.as_ref())? else { return Ok(0) };
    let mut letter: LetterRow = decode(&value)?;
    let time = letter.release.filter(|time| *time > now.0);
    let kept = time.filter(|_| appointed == Appointed::Kept);
    let (state, due, mark) = kept.map_or((WAITING, now, ANY), |time| (LATER, Time(time), APPOINTED));
    let changed = each(txn, id, |txn, n, mut row| {
        if row.state == WAITING || row.state == state {
            return Ok(false);
        }
        txn.delete(Table::QueueDue, due_key(Time(row.due), id, n).as_ref());
        (row.state, row.due) = (state, due.0);
        txn.put(Table::QueueDue, due_key(due, id, n).as_ref(), mark.to_vec());
        put(txn, id, n, &row).map(|()| true)
    })?;
    if changed > 0 && time.is_some() && kept.is_none() {
        // Its patience begins here, not at a time that nobody waits for any more.
        letter.release = Some(now.0);
        txn.put(Table::Queue, key.as_ref(), encode(&letter)?);
    }
    Ok(changed)
}

/// Letters an account may have waiting for the time that it named (P7): a family's Christmas cards, and no stock of a thief's.
pub const MOST_APPOINTED: usize = 100;

/// The letters of an account that wait for the time that it named.
pub fn appointed(read: &dyn Read, account: AccountId) -> Result<Vec<QueueId>, Error> {
    let mut ids = BTreeSet::new();
    read.scan(Table::QueueDue, &[], &[0xff; 24], Order::Forward, &mut |key, mark| {
        ids.extend(split(key).filter(|_| mark == APPOINTED).map(|(_, id, _)| id));
        ControlFlow::Continue(())
    })?;
    let mut out = Vec::new();
    for id in ids {
        let row = read.get(Table::Queue, Key::new().u64(id.0).as_ref())?;
        let row = row.map(|value| decode::<LetterRow>(&value)).transpose()?;
        out.extend(row.filter(|row| row.account == Some(account.0)).map(|_| id));
    }
    Ok(out)
}

/// Later or held → nothing, of a letter that nobody will ever release. How many recipients it was.
pub fn withdraw(txn: &mut Txn<'_>, id: QueueId) -> Result<u32, Error> {
    each(txn, id, |txn, n, row| match row.state {
        WAITING => Ok(false),
        _ => remove(txn, id, n, &row).map(|()| true),
    })
}

fn each(
    txn: &mut Txn<'_>,
    id: QueueId,
    mut change: impl FnMut(&mut Txn<'_>, u32, RecipientRow) -> Result<bool, Error>,
) -> Result<u32, Error> {
    let prefix = Key::new().u64(id.0);
    let mut rows = Vec::new();
    txn.scan(Table::QueueRecipients, prefix.as_ref(), &prefix.clone().after(), Order::Forward, &mut |key, value| {
        rows.push((key.get(8..12).and_then(|n| n.try_into().ok()).map(u32::from_be_bytes), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    let mut changed = 0;
    for (n, value) in rows {
        let n = n.ok_or_else(|| Error::Corrupt("a recipient without a number".into()))?;
        changed += u32::from(change(txn, n, decode(&value)?)?);
    }
    Ok(changed)
}

fn remove(txn: &mut Txn<'_>, id: QueueId, n: u32, row: &RecipientRow) -> Result<(), Error> {
    txn.delete(Table::QueueRecipients, Key::new().u64(id.0).u32(n).as_ref());
    txn.delete(Table::QueueDue, due_key(Time(row.due), id, n).as_ref());
    let key = Key::new().u64(id.0);
    let value = txn.get(Table::Queue, key.as_ref())?;
    let value = value.ok_or_else(|| Error::Corrupt(format!("a recipient of letter {id}, which is not there")))?;
    let mut letter: LetterRow = decode(&value)?;
    letter.recipients = letter.recipients.saturating_sub(1);
    if letter.recipients > 0 {
        txn.put(Table::Queue, key.as_ref(), encode(&letter)?);
        return Ok(());
    }
    // Q2
    txn.delete(Table::Queue, key.as_ref());
    // What came back from a damaged backup without its bytes can be told of and taken away all the same.
    if txn.get(Table::Blobs, Key::new().u64(letter.blob).as_ref())?.is_some() {
        txn.release(BlobId(letter.blob))?;
    }
    let (letters, bytes) = totals(txn)?;
    put_totals(txn, letters.saturating_sub(1), bytes.saturating_sub(letter.size))
}

fn recipient(read: &dyn Read, id: QueueId, n: u32) -> Result<Option<RecipientRow>, Error> {
    let value = read.get(Table::QueueRecipients, Key::new().u64(id.0).u32(n).as_ref())?;
    value.map(|value| decode(&value)).transpose()
}

fn put(txn: &mut Txn<'_>, id: QueueId, n: u32, row: &RecipientRow) -> Result<(), Error> {
    txn.put(Table::QueueRecipients, Key::new().u64(id.0).u32(n).as_ref(), encode(row)?);
    Ok(())
}

/// What [`due_key`] made.
fn split(key: &[u8]) -> Option<(Time, QueueId, u32)> {
    let due = (number(key.get(..8)?) ^ (1 << 63)) as i64;
    let n = u32::from_be_bytes(key.get(16..20)?.try_into().ok()?);
    Some((Time(due), QueueId(number(key.get(8..16)?)), n))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::queue::{Limits, NewLetter, NewRecipient, State, check, enqueue, find};
    use crate::store::Data;
    use crate::store::blob::LetterHeader;
    use crate::store::data::Options;
    use crate::store::disk::{SimDisk, SimOptions};

    const NOW: Time = Time(1_800_000_000_000);

    fn queued(addresses: &[&str]) -> (Data, QueueId) {
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
        let id = add(&data, addresses, NOW);
        (data, id)
    }

    fn add(data: &Data, addresses: &[&str], now: Time) -> QueueId {
        add_for(data, addresses, now, None)
    }

    fn add_for(data: &Data, addresses: &[&str], now: Time, release: Option<Time>) -> QueueId {
        let letter = letter(data, release);
        let to = |address: &&str| NewRecipient { address: (*address).into(), notify: None, orcpt: None };
        let recipients: Vec<NewRecipient> = addresses.iter().map(to).collect();
        data.write_blocking(move |txn| enqueue(txn, &letter, &recipients, now, Limits::default())).unwrap().value
    }

    fn letter(data: &Data, release: Option<Time>) -> NewLetter {
        NewLetter {
            staged: data.blobs().stage(LetterHeader::default(), b"Subject: x\r\n\r\nx\r\n").unwrap(),
            from: None,
            account: None,
            utf8: false,
            eight_bit: false,
            ret_full: None,
            envid: None,
            tls: crate::queue::Tls::Usual,
            proven: false,
            release,
            by: None,
        }
    }

    fn does<T: Send + 'static>(data: &Data, act: impl Fn(&mut Txn<'_>) -> Result<T, Error> + Send + 'static) -> T {
        let value = data.write_blocking(act).unwrap().value;
        assert_eq!(check(&data.read().unwrap()).unwrap(), Vec::<String>::new(), "Q1, Q2, Q3");
        value
    }

    fn waiting(data: &Data, now: Time) -> Vec<String> {
        let (found, _) = due(&data.read().unwrap(), (now, true), 100, &|_, _| false).unwrap();
        found.into_iter().map(|due| due.address).collect()
    }

    #[test]
    fn each_state_is_left_for_the_one_that_is_named() {
        let (data, id) = queued(&["a@x.test", "b@x.test", "c@y.test"]);
        assert_eq!(waiting(&data, NOW), ["a@x.test", "b@x.test", "c@y.test"]);
        assert!(does(&data, move |txn| leave(txn, id, 1)));
        assert!(!does(&data, move |txn| leave(txn, id, 1)), "it is gone");
        let later = Time(NOW.0 + 120_000);
        assert!(does(&data, move |txn| put_off(txn, id, 0, later, "451 busy", false)));
        assert_eq!(waiting(&data, NOW), ["c@y.test"]);
        let (_, next) = due(&data.read().unwrap(), (NOW, true), 100, &|_, n| n == 2).unwrap();
        assert_eq!(next, Some(later));
        assert_eq!(waiting(&data, later), ["c@y.test", "a@x.test"]);
        let entry = find(&data.read().unwrap(), id).unwrap().unwrap();
        assert_eq!((entry.recipients[0].attempts, entry.recipients[0].last.as_deref()), (1, Some("451 busy")));

        assert_eq!(does(&data, move |txn| hold(txn, id)), 2);
        assert!(waiting(&data, later).is_empty());
        assert!(!does(&data, move |txn| put_off(txn, id, 0, later, "x", false)));
        assert_eq!(does(&data, move |txn| retry(txn, id, NOW)), 0);
        assert!(find(&data.read().unwrap(), id).unwrap().unwrap().recipients.iter().all(|r| r.state == State::Held));
        assert_eq!(does(&data, move |txn| release(txn, id, NOW, Appointed::Kept)), 2);
        assert!(does(&data, move |txn| put_off(txn, id, 0, later, "451 busy", true)));
        assert_eq!(does(&data, move |txn| retry(txn, id, NOW)), 2);
        assert_eq!(waiting(&data, NOW).len(), 2);
        assert!(find(&data.read().unwrap(), id).unwrap().unwrap().recipients[0].told);

        // Held while it was on its way: what the far end said counts.
        assert_eq!(does(&data, move |txn| hold(txn, id)), 2);
        assert!(does(&data, move |txn| leave(txn, id, 0)));

        let blob = find(&data.read().unwrap(), id).unwrap().unwrap().blob;
        assert_eq!(does(&data, move |txn| cancel(txn, id)), 1);
        assert_eq!(find(&data.read().unwrap(), id).unwrap(), None);
        assert!(data.blobs().read(blob, 0..1).is_err(), "Q2");
    }

    /// Q3, for one account.
    #[test]
    fn an_account_has_a_hundred_letters_waiting_for_their_time_and_no_more() {
        let (data, _) = queued(&["first@x.test"]);
        let later = |account: u32, release: i64| {
            let mut letter = letter(&data, Some(Time(NOW.0 + release)));
            letter.account = Some(AccountId(account));
            let to = NewRecipient { address: "a@x.test".into(), notify: None, orcpt: None };
            let put = move |txn: &mut Txn<'_>| enqueue(txn, &letter, &[to.clone(), to.clone()], NOW, Limits::default());
            data.write_blocking(put).map(|done| done.value)
        };
        let ids: Vec<QueueId> = (1..=100).map(|n| later(1, n * 1000).unwrap()).collect();
        assert_eq!(later(1, 5), Err(Error::Appointed));
        assert!(later(2, 5).is_ok() && later(1, 0).is_ok() && later(1, -5).is_ok(), "another's, and what leaves now");
        let of = |account| appointed(&data.read().unwrap(), AccountId(account)).unwrap();
        assert_eq!((of(1), of(2).len()), (ids.clone(), 1));
        let (first, second) = (ids[0], ids[1]);
        assert_eq!(does(&data, move |txn| hold(txn, first)), 2);
        assert!(later(1, 5).is_ok() && later(1, 5).is_err());
        // Nobody will release what is held of an account that is gone; what is on its way goes on.
        assert!(does(&data, move |txn| put_off(txn, second, 0, NOW, "451 busy", false)));
        assert_eq!(
            (does(&data, move |txn| withdraw(txn, first)), does(&data, move |txn| withdraw(txn, second))),
            (2, 1)
        );
        assert_eq!(find(&data.read().unwrap(), first).unwrap(), None);
        assert_eq!(find(&data.read().unwrap(), second).unwrap().unwrap().recipients.len(), 1);
    }

    /// RFC 4865: not before its time, however far away that is, and then like any other.
    #[test]
    fn what_is_to_leave_later_leaves_then_or_when_somebody_says_so() {
        let (data, _) = queued(&["first@x.test"]);
        let christmas = Time(NOW.0 + 200 * 24 * 3_600_000);
        let id = add_for(&data, &["a@x.test", "b@x.test"], NOW, Some(christmas));
        add_for(&data, &["past@x.test"], NOW, Some(Time(NOW.0 - 1)));
        // Written while the clock was wrong by years, and behind what is meant to be there.
        add(&data, &["odd@x.test"], Time(NOW.0 - 1 + 190 * 24 * 3_600_000));
        let states = || -> Vec<State> {
            find(&data.read().unwrap(), id).unwrap().unwrap().recipients.iter().map(|one| one.state).collect()
        };
        assert_eq!(waiting(&data, NOW), ["first@x.test", "past@x.test", "odd@x.test"]);
        assert_eq!((states(), does(&data, move |txn| retry(txn, id, NOW))), (vec![State::Later; 2], 0));
        let (_, next) = due(&data.read().unwrap(), (NOW, true), 100, &|other, _| other != id).unwrap();
        assert_eq!(next, Some(christmas));
        assert!(waiting(&data, Time(christmas.0 - 1)).iter().all(|address| !address.starts_with("a@")));
        assert!(waiting(&data, christmas).contains(&"a@x.test".to_owned()));
        let again = Time(christmas.0 + 120_000);
        assert!(does(&data, move |txn| put_off(txn, id, 0, again, "451 busy", false)));
        assert_eq!(states(), [State::Waiting, State::Later]);
        assert_eq!(find(&data.read().unwrap(), id).unwrap().unwrap().since(), christmas);
        // A clock that nobody believes brings no such time.
        let (found, _) = due(&data.read().unwrap(), (christmas, false), 100, &|_, _| false).unwrap();
        assert!(!found.is_empty() && found.iter().all(|one| one.address != "b@x.test"));

        // Whoever releases everything that is held leaves the senders their times.
        assert_eq!(does(&data, move |txn| hold(txn, id)), 2);
        assert_eq!(does(&data, move |txn| release(txn, id, NOW, Appointed::Kept)), 2);
        assert_eq!(does(&data, move |txn| release(txn, id, NOW, Appointed::Kept)), 0);
        assert_eq!(states(), [State::Later; 2]);
        assert!(!waiting(&data, NOW).contains(&"b@x.test".to_owned()));
        assert!(waiting(&data, christmas).contains(&"b@x.test".to_owned()));
        assert_eq!(check::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        // Who names the letter means it, and its patience begins then.
        assert_eq!(does(&data, move |txn| release(txn, id, NOW, Appointed::Dropped)), 2);
        assert!(waiting(&data, NOW).contains(&"b@x.test".to_owned()));
        assert_eq!(find(&data.read().unwrap(), id).unwrap().unwrap().since(), NOW);
        let other = add_for(&data, &["c@x.test"], NOW, Some(christmas));
        assert_eq!(does(&data, move |txn| release(txn, other, NOW, Appointed::Dropped)), 1);
        assert_eq!(check::check(&data.read().unwrap()).unwrap(), Vec::<String>::new());
        let third = add_for(&data, &["d@x.test"], NOW, Some(christmas));
        assert_eq!(does(&data, move |txn| cancel(txn, third)), 1);
        assert!(
            waiting(&data, NOW).contains(&"c@x.test".to_owned())
                && !waiting(&data, christmas).contains(&"d@x.test".to_owned())
        );
    }

    #[test]
    fn the_longest_wait_comes_first_and_no_more_than_asked_for() {
        let (data, _) = queued(&["late@x.test"]);
        add(&data, &["early@x.test"], Time(NOW.0 - 5));
        let (found, _) = due(&data.read().unwrap(), (NOW, true), 1, &|_, _| false).unwrap();
        assert_eq!(found[0].address, "early@x.test");
        // Written while the clock was wrong by years.
        add(&data, &["odd@x.test"], Time(NOW.0 * 2));
        assert_eq!(waiting(&data, NOW), ["early@x.test", "late@x.test", "odd@x.test"]);
    }
}
