//! COPY, all or nothing, and MOVE, in closures of at most a thousand messages.
//!
//! RFC 9051 6.4.7 wants a COPY that fails to leave nothing behind. Up to [`MAX_COPY`] messages are one transaction, so that
//! holds over a power cut too. More of them (a whole mailbox put into the archive) would keep everybody else's mail
//! waiting for as long, so they go in closures of a thousand, and what was copied is taken back when a later closure
//! fails. Copies of a COPY that was never answered OK are left only by a power cut in between, by a server that is ended
//! in between, and by a store that fails in taking them back too.

use super::{Answered, Host, blocking, set};
use crate::account::{self, BATCH, Copied, Error, MAX_COPY, Which, mailbox, view};
use crate::base::{AccountId, MailboxId, Time, Uid};
use crate::directory::Directory;
use crate::proto::imap::ask;
use crate::proto::imap::{Answer, UidSet};
use crate::store::{self, Data};

pub(super) struct Rest {
    from: MailboxId,
    uids: Vec<Uid>,
    to: MailboxId,
}

impl<D: Directory> Host<D> {
    pub(super) async fn copy(&mut self, from: MailboxId, uids: UidSet, to: String) -> Result<Answer, Error> {
        let (account, now) = (self.account()?, self.now());
        let rest = self.whither(from, uids, to).await?;
        let at_once = if rest.uids.len() > MAX_COPY { BATCH } else { MAX_COPY };
        let copying = copy_all(self.shared.data.clone(), account, rest, now, at_once);
        // A task of its own: what has begun comes to its end, or is taken back, also when the client leaves meanwhile.
        let copied = tokio::spawn(copying).await;
        let copied = copied.map_err(|error| Error::Store(store::Error::Panicked(error.to_string())))??;
        Ok(Answer::Copied(copied_out(&copied)))
    }

    pub(super) async fn move_to(&mut self, from: MailboxId, uids: UidSet, to: String) -> Answered {
        let rest = self.whither(from, uids, to).await?;
        self.move_page(rest).await
    }

    pub(super) async fn move_page(&mut self, mut rest: Rest) -> Answered {
        let (account, now) = (self.account()?, self.now());
        let later = rest.uids.split_off(rest.uids.len().min(BATCH));
        let batch = std::mem::replace(&mut rest.uids, later);
        let (from, to) = (rest.from, rest.to);
        let moved = self.shared.data.write(move |txn| account::move_to(txn, account, from, &batch, to, now)).await?;
        let answer = Answer::Copied(copied_out(&moved.value));
        let left = if rest.uids.is_empty() { super::Rest::Nothing } else { super::Rest::Move(rest) };
        Ok((answer, left))
    }

    /// The messages that are there, and the mailbox they are to go to.
    async fn whither(&mut self, from: MailboxId, uids: UidSet, to: String) -> Result<Rest, Error> {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        blocking(move || {
            let snapshot = data.read()?;
            let to = mailbox::find(&snapshot, account, &to)?.ok_or(Error::NoSuchMailbox)?.id;
            Ok(Rest { from, uids: view::uids(&snapshot, account, from, uids.ranges(), usize::MAX)?, to })
        })
        .await
    }
}

/// Copies in closures of `at_once` messages; with an error nothing stays copied.
async fn copy_all(data: Data, account: AccountId, rest: Rest, now: Time, at_once: usize) -> Result<Copied, Error> {
    let Rest { from, uids, to } = rest;
    let mut all = Copied::default();
    for some in uids.chunks(at_once) {
        let some = some.to_vec();
        match data.write(move |txn| account::copy(txn, account, from, &some, to, now)).await {
            Ok(copied) => {
                all.uid_validity = copied.value.uid_validity;
                all.pairs.extend(copied.value.pairs);
            }
            Err(error) => {
                take_back(&data, account, to, &all).await;
                return Err(error);
            }
        }
    }
    Ok(all)
}

/// The copies go again; their UIDs are not used a second time (P8).
async fn take_back(data: &Data, account: AccountId, mailbox: MailboxId, copied: &Copied) {
    for some in copied.pairs.chunks(BATCH) {
        let uids: Vec<Uid> = some.iter().map(|(_, new)| *new).collect();
        let gone = data.write(move |txn| account::expunge(txn, account, mailbox, &uids, Which::Any)).await;
        if let Err(error) = gone {
            tracing::warn!(%error, "a COPY failed, and what it had copied could not be taken back");
            return;
        }
    }
}

fn copied_out(copied: &Copied) -> ask::Copied {
    ask::Copied {
        uid_validity: copied.uid_validity,
        from: set(&copied.pairs.iter().map(|pair| pair.0).collect::<Vec<_>>()),
        to: set(&copied.pairs.iter().map(|pair| pair.1).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::{Flags, INBOX, Letter, Place};
    use crate::message::Limits;
    use crate::store::Table;
    use crate::store::blob::LetterHeader;
    use crate::store::data::Options;
    use crate::store::disk::SimDisk;

    const ALICE: AccountId = AccountId(1);

    /// An account with `n` messages in its INBOX.
    fn house(n: usize) -> Data {
        let options = Options { ballast_bytes: 0, cache_bytes: 4 << 20, ..Options::default() };
        let data = Data::open(Arc::new(SimDisk::sound()), options).unwrap();
        data.write_blocking(|txn| {
            txn.put(Table::Accounts, &ALICE.0.to_be_bytes(), Vec::new());
            account::open(txn, ALICE)
        })
        .unwrap();
        let header = LetterHeader { accounts: vec!["alice@example.test".to_owned()], received: Time(0) };
        let staged = data.blobs().stage(header, b"Subject: x\r\n\r\nx\r\n").unwrap();
        let letter = Letter::read(staged, &Limits::default()).unwrap();
        data.write_blocking(move |txn| {
            let places = vec![Place { mailbox: INBOX, flags: Flags::default() }; n];
            account::append(txn, ALICE, &letter, &places, Time(0), Time(0), None)
        })
        .unwrap();
        data
    }

    fn archive(data: &Data) -> account::Mailbox {
        mailbox::find(&data.read().unwrap(), ALICE, "Archive").unwrap().unwrap()
    }

    #[tokio::test]
    async fn many_are_copied_in_parts_and_told_as_one() {
        let data = house(7);
        let to = archive(&data).id;
        let rest = Rest { from: INBOX, uids: (1..=7).map(Uid).collect(), to };
        let copied = copy_all(data.clone(), ALICE, rest, Time(1), 3).await.unwrap();
        assert_eq!(copied.pairs, (1..=7).map(|n| (Uid(n), Uid(n))).collect::<Vec<_>>());
        assert_eq!((archive(&data).messages, archive(&data).uid_validity), (7, copied.uid_validity));
        assert_eq!(account::check_all(&data, true).unwrap(), [""; 0]);
    }

    /// RFC 9051 6.4.7: the mailbox is as it was, but for its UIDNEXT.
    #[tokio::test]
    async fn what_was_copied_is_taken_back_when_the_rest_cannot_be() {
        // One message may be in 500 places, so the last third of the copies does not fit.
        let data = house(300);
        let to = archive(&data).id;
        let rest = Rest { from: INBOX, uids: (1..=300).map(Uid).collect(), to };
        let refused = copy_all(data.clone(), ALICE, rest, Time(1), 90).await;
        assert!(matches!(refused, Err(Error::Limit(_))), "{refused:?}");
        let after = archive(&data);
        assert_eq!((after.messages, after.uid_next), (0, 181));
        assert_eq!(account::check_all(&data, true).unwrap(), [""; 0]);
    }
}
