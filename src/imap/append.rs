//! APPEND: the letter comes in chunks, is staged and read, and then put into its mailbox.

use super::{Host, blocking, flags_in};
use crate::account::{self, Error, Letter, Place, mailbox, quota};
use crate::base::Time;
use crate::directory::Directory;
use crate::proto::BodyFault;
use crate::proto::imap::Answer;
use crate::proto::imap::ask::{Flags, No};
use crate::store;
use crate::store::blob::LetterHeader;

impl<D: Directory> Host<D> {
    pub(super) async fn append_check(&mut self, name: String, size: u64) -> Result<Answer, Error> {
        if size > self.shared.append_bytes {
            return Ok(Answer::No(No::TooBig));
        }
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let limit = self.who.as_ref().and_then(|who| who.quota);
        blocking(move || {
            if !data.blobs().has_room() {
                return Err(Error::Store(store::Error::Full));
            }
            let snapshot = data.read()?;
            mailbox::find(&snapshot, account, &name)?.ok_or(Error::NoSuchMailbox)?;
            quota::check(&snapshot, account, size, limit)?;
            Ok(Answer::Done)
        })
        .await
    }

    pub(super) async fn append(&mut self, name: String, flags: Flags, date: Option<Time>) -> Result<Answer, Error> {
        let (account, now) = (self.account()?, self.now());
        let Some(letter) = self.letter.take().transpose()? else { return Ok(Answer::No(No::ServerBug)) };
        let limit = self.who.as_ref().and_then(|who| who.quota);
        let flags = flags_in(&flags);
        let appended = self
            .shared
            .data
            .write(move |txn| {
                let mailbox = mailbox::find(&*txn, account, &name)?.ok_or(Error::NoSuchMailbox)?.id;
                let places = [Place { mailbox, flags: flags.clone() }];
                account::append(txn, account, &letter, &places, date.unwrap_or(now), now, limit)
            })
            .await?
            .value;
        match appended.places.first() {
            Some(placed) => Ok(Answer::Appended { uid_validity: placed.uid_validity, uid: placed.uid }),
            None => Ok(Answer::No(No::ServerBug)),
        }
    }

    /// Makes the letter ready: its bytes are staged and its structure is read. That it goes past a limit is told by the
    /// answer to the question that follows.
    pub(super) async fn end_body(&mut self) -> Result<(), BodyFault> {
        let accounts = self.who.iter().map(|who| who.address.clone()).collect();
        let header = LetterHeader { accounts, received: self.now() };
        let limits = self.shared.limits.clone();
        let letter = match self.body.end(self.shared.data.blobs()) {
            Ok(sink) => blocking(move || Letter::read(sink.finish(header, &[])?, &limits)).await,
            Err(error) => Err(error.into()),
        };
        match self.letter.insert(letter) {
            Err(Error::Store(_)) => Err(BodyFault::NotStored),
            _ => Ok(()),
        }
    }
}
