//! Mailboxes themselves: LIST, CREATE, DELETE, RENAME, SUBSCRIBE.

use super::{Host, blocking};
use crate::account::{self, Error, Renamed, SpecialUse, mailbox};
use crate::directory::Directory;
use crate::proto::imap::Answer;
use crate::proto::imap::ask;

impl<D: Directory> Host<D> {
    /// All names in one page: an account has at most a thousand.
    pub(super) async fn list(&mut self) -> Result<Answer, Error> {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        blocking(move || {
            let rows = mailbox::list(&data.read()?, account)?.into_iter().map(|listed| ask::MailboxRow {
                selectable: listed.mailbox.is_some(),
                exists: listed.exists,
                subscribed: listed.subscribed,
                has_children: listed.has_children,
                special_use: listed.special.map(special_use),
                name: listed.name,
            });
            Ok(Answer::Mailboxes(rows.collect()))
        })
        .await
    }

    pub(super) async fn create(&mut self, name: String) -> Result<Answer, Error> {
        let account = self.account()?;
        self.shared.data.write(move |txn| account::create(txn, account, &name)).await?;
        Ok(Answer::Done)
    }

    pub(super) async fn delete(&mut self, name: String) -> Result<Answer, Error> {
        account::delete_mailbox(&self.shared.data, self.account()?, name).await?;
        Ok(Answer::Done)
    }

    pub(super) async fn rename(&mut self, from: String, to: String) -> Result<Answer, Error> {
        let (account, now) = (self.account()?, self.now());
        let data = &self.shared.data;
        let renamed = data.write(move |txn| account::rename(txn, account, &from, &to, now)).await?;
        if let Renamed::Inbox { to, upto } = renamed.value {
            while data.write(move |txn| account::move_all(txn, account, to, upto, now)).await?.value {}
        }
        Ok(Answer::Done)
    }

    pub(super) async fn subscribe(&mut self, name: String, on: bool) -> Result<Answer, Error> {
        let account = self.account()?;
        self.shared.data.write(move |txn| account::subscribe(txn, account, &name, on)).await?;
        Ok(Answer::Done)
    }
}

/// RFC 6154 2.
fn special_use(special: SpecialUse) -> ask::SpecialUse {
    match special {
        SpecialUse::Drafts => ask::SpecialUse::Drafts,
        SpecialUse::Sent => ask::SpecialUse::Sent,
        SpecialUse::Junk => ask::SpecialUse::Junk,
        SpecialUse::Trash => ask::SpecialUse::Trash,
        SpecialUse::Archive => ask::SpecialUse::Archive,
    }
}
