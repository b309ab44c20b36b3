//! EXPUNGE and UID EXPUNGE, in closures of at most a thousand messages.

use super::{Answered, Host, blocking, set};
use crate::account::{self, BATCH, Which, view};
use crate::base::{MailboxId, Uid};
use crate::directory::Directory;
use crate::proto::imap::ask::Expunged;
use crate::proto::imap::{Answer, UidSet};

pub(super) struct Rest {
    mailbox: MailboxId,
    uids: Vec<Uid>,
}

impl<D: Directory> Host<D> {
    pub(super) async fn expunge(&mut self, mailbox: MailboxId, only: Option<UidSet>) -> Answered {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let uids = blocking(move || {
            let all = [(1, u32::MAX)];
            let ranges = only.as_ref().map_or(&all[..], UidSet::ranges);
            view::deleted(&data.read()?, account, mailbox, ranges, usize::MAX)
        })
        .await?;
        self.expunge_page(Rest { mailbox, uids }).await
    }

    pub(super) async fn expunge_page(&mut self, mut rest: Rest) -> Answered {
        let account = self.account()?;
        if rest.uids.is_empty() {
            // Nothing to do is no reason to write.
            return Ok((Answer::Expunged(Expunged::default()), super::Rest::Nothing));
        }
        let later = rest.uids.split_off(rest.uids.len().min(BATCH));
        let batch = std::mem::replace(&mut rest.uids, later);
        let mailbox = rest.mailbox;
        let gone =
            self.shared.data.write(move |txn| account::expunge(txn, account, mailbox, &batch, Which::Deleted)).await?;
        let answer = Answer::Expunged(Expunged { uids: set(&gone.value) });
        let left = if rest.uids.is_empty() { super::Rest::Nothing } else { super::Rest::Expunge(rest) };
        Ok((answer, left))
    }
}
