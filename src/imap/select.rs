//! SELECT, EXAMINE and STATUS, and what has happened since.

use super::{Answered, Host, blocking, flags_out, set};
use crate::account::{self, Error, changes, mailbox, view};
use crate::base::{MailboxId, ModSeq, Uid};
use crate::directory::Directory;
use crate::proto::imap::ask::{Changes, FlagRow, Selected, Status};
use crate::proto::imap::{Answer, UidSet};

/// Messages in one page of changed flags.
const PAGE: usize = 1000;

/// Messages whose flags are still to be told.
pub(super) struct Rest {
    mailbox: MailboxId,
    flags: Vec<(u32, u32)>,
    from: Uid,
    upto: ModSeq,
}

impl<D: Directory> Host<D> {
    pub(super) async fn status(&mut self, name: String) -> Result<Answer, Error> {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        blocking(move || {
            let mailbox = mailbox::find(&data.read()?, account, &name)?.ok_or(Error::NoSuchMailbox)?;
            Ok(Answer::Status(Status {
                messages: mailbox.messages,
                uid_next: mailbox.uid_next,
                uid_validity: mailbox.uid_validity,
                unseen: mailbox.unseen,
                deleted: mailbox.deleted,
                size: mailbox.bytes,
            }))
        })
        .await
    }

    pub(super) async fn select(&mut self, name: String, _read_only: bool) -> Result<Answer, Error> {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let overviews = self.shared.overviews.clone();
        let selected = blocking(move || {
            let snapshot = data.read()?;
            let mailbox = mailbox::find(&snapshot, account, &name)?.ok_or(Error::NoSuchMailbox)?;
            let overview = overviews.of(&snapshot, account, &mailbox)?;
            Ok(Selected {
                mailbox: mailbox.id,
                uid_validity: mailbox.uid_validity,
                uid_next: mailbox.uid_next,
                upto: changes::modseq(&snapshot, account)?,
                uids: UidSet::from_ranges(overview.ranges.clone()),
                first_unseen: overview.first_unseen,
                new_keywords: mailbox.keywords.len() < account::MAX_KEYWORDS,
                keywords: mailbox.keywords,
                read_only: false,
            })
        })
        .await?;
        self.seen = selected.upto;
        Ok(Answer::Selected(Box::new(selected)))
    }

    pub(super) async fn changes(&mut self, mailbox: MailboxId, since: ModSeq) -> Answered {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        // Two rows say that nothing happened, which is what mostly did: no thread is changed for that.
        let found = changes::since(&data.read()?, account, mailbox, since);
        let found = match found {
            Err(Error::NoSuchMailbox) => return Ok((Answer::Gone, super::Rest::Nothing)),
            other => other?,
        };
        if !found.complete {
            // The log no longer reaches back to where this session stands: it has to begin anew.
            return Ok((Answer::HangUp, super::Rest::Nothing));
        }
        self.seen = found.upto;
        let first = Changes {
            arrived: set(&found.arrived),
            expunged: set(&found.expunged),
            flags: Vec::new(),
            upto: found.upto,
        };
        if found.flags.is_empty() {
            return Ok((Answer::Changes(first), super::Rest::Nothing));
        }
        let flags = set(&found.flags).ranges().to_vec();
        let rest = Rest { mailbox, flags, from: Uid(0), upto: found.upto };
        let (answer, rest) = self.changes_page(rest).await?;
        match answer {
            Answer::Changes(page) => Ok((Answer::Changes(Changes { flags: page.flags, ..first }), rest)),
            other => Ok((other, rest)),
        }
    }

    pub(super) async fn changes_page(&mut self, mut rest: Rest) -> Answered {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let found = blocking(move || {
            let page = view::messages(&data.read()?, account, rest.mailbox, &rest.flags, rest.from, PAGE)?;
            Ok((page, rest))
        })
        .await;
        let page = match found {
            Err(Error::NoSuchMailbox) => return Ok((Answer::Gone, super::Rest::Nothing)),
            Err(error) => return Err(error),
            Ok((page, back)) => {
                rest = back;
                page
            }
        };
        let flags = page.messages.into_iter();
        let flags = flags.map(|m| FlagRow { uid: m.uid, modseq: m.modseq, flags: flags_out(m.flags) }).collect();
        let answer = Answer::Changes(Changes { flags, upto: rest.upto, ..Changes::default() });
        match page.next {
            Some(next) => {
                rest.from = next;
                Ok((answer, super::Rest::Changes(rest)))
            }
            None => Ok((answer, super::Rest::Nothing)),
        }
    }
}
