//! STORE: flags, in closures of at most a thousand messages.

use super::{Answered, Host, blocking, flags_in, flags_out};
use crate::account::{self, BATCH, Mode, view};
use crate::base::{MailboxId, Uid};
use crate::directory::Directory;
use crate::proto::imap::ask::{Flags, StoreMode, Stored, StoredRow};
use crate::proto::imap::{Answer, UidSet};

pub(super) struct Rest {
    mailbox: MailboxId,
    /// What is still to be changed.
    uids: Vec<Uid>,
    mode: Mode,
    flags: account::Flags,
}

impl<D: Directory> Host<D> {
    pub(super) async fn store(&mut self, mailbox: MailboxId, uids: UidSet, mode: StoreMode, flags: Flags) -> Answered {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let uids = blocking(move || view::uids(&data.read()?, account, mailbox, uids.ranges(), usize::MAX)).await?;
        let mode = match mode {
            StoreMode::Replace => Mode::Replace,
            StoreMode::Add => Mode::Add,
            StoreMode::Remove => Mode::Remove,
        };
        self.store_page(Rest { mailbox, uids, mode, flags: flags_in(&flags) }).await
    }

    pub(super) async fn store_page(&mut self, mut rest: Rest) -> Answered {
        let account = self.account()?;
        let later = rest.uids.split_off(rest.uids.len().min(BATCH));
        let now = std::mem::replace(&mut rest.uids, later);
        let (mailbox, mode, flags) = (rest.mailbox, rest.mode, rest.flags.clone());
        let stored = self
            .shared
            .data
            .write(move |txn| account::store(txn, account, mailbox, &now, mode, &flags))
            .await?
            .value
            .into_iter()
            .map(|row| StoredRow {
                uid: row.uid,
                modseq: row.modseq,
                flags: flags_out(row.flags),
                changed: row.changed,
            })
            .collect();
        let answer = Answer::Stored(Stored { rows: stored });
        let left = if rest.uids.is_empty() { super::Rest::Nothing } else { super::Rest::Store(rest) };
        Ok((answer, left))
    }
}
