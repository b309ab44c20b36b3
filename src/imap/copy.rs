//! COPY, all or nothing, and MOVE, in closures of at most a thousand messages.

use super::{Answered, Host, blocking, set};
use crate::account::{self, BATCH, Error, MAX_COPY, mailbox, view};
use crate::base::{MailboxId, Uid};
use crate::directory::Directory;
use crate::proto::imap::ask;
use crate::proto::imap::{Answer, UidSet};

pub(super) struct Rest {
    from: MailboxId,
    uids: Vec<Uid>,
    to: MailboxId,
}

impl<D: Directory> Host<D> {
    pub(super) async fn copy(&mut self, from: MailboxId, uids: UidSet, to: String) -> Result<Answer, Error> {
        let (account, now) = (self.account()?, self.now());
        // One more than may be copied, so that too many are refused and not cut.
        let rest = self.whither(from, uids, to, MAX_COPY + 1).await?;
        let (uids, to) = (rest.uids, rest.to);
        let copied = self.shared.data.write(move |txn| account::copy(txn, account, from, &uids, to, now)).await?;
        Ok(Answer::Copied(copied_out(&copied.value)))
    }

    pub(super) async fn move_to(&mut self, from: MailboxId, uids: UidSet, to: String) -> Answered {
        let rest = self.whither(from, uids, to, usize::MAX).await?;
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
    async fn whither(&mut self, from: MailboxId, uids: UidSet, to: String, limit: usize) -> Result<Rest, Error> {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        blocking(move || {
            let snapshot = data.read()?;
            let to = mailbox::find(&snapshot, account, &to)?.ok_or(Error::NoSuchMailbox)?.id;
            Ok(Rest { from, uids: view::uids(&snapshot, account, from, uids.ranges(), limit)?, to })
        })
        .await
    }
}

fn copied_out(copied: &account::Copied) -> ask::Copied {
    ask::Copied {
        uid_validity: copied.uid_validity,
        from: set(&copied.pairs.iter().map(|pair| pair.0).collect::<Vec<_>>()),
        to: set(&copied.pairs.iter().map(|pair| pair.1).collect::<Vec<_>>()),
    }
}
