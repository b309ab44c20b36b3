//! SEARCH: the machine's key as the account's query, answered page by page.

use super::{Answered, Host, blocking, set};
use crate::account::search::{self, Program, Query, When};
use crate::base::{MailboxId, Uid};
use crate::directory::Directory;
use crate::proto::imap::Answer;
use crate::proto::imap::ask::{DayIs, SearchKey};

pub(super) struct Rest {
    mailbox: MailboxId,
    program: Program,
    from: Uid,
}

impl Rest {
    pub fn new(mailbox: MailboxId, key: &SearchKey) -> Rest {
        Rest { mailbox, program: Program::new(&query(key)), from: Uid(0) }
    }
}

impl<D: Directory> Host<D> {
    pub(super) async fn search(&mut self, rest: Rest) -> Answered {
        let (data, account) = (self.shared.data.clone(), self.account()?);
        let (found, mut rest) = blocking(move || {
            let found = search::page(&data.read()?, data.blobs(), account, rest.mailbox, &rest.program, rest.from)?;
            Ok((found, rest))
        })
        .await?;
        let answer = Answer::Found(set(&found.uids));
        match found.next {
            Some(next) => {
                rest.from = next;
                Ok((answer, super::Rest::Search(rest)))
            }
            None => Ok((answer, super::Rest::Nothing)),
        }
    }
}

fn query(key: &SearchKey) -> Query {
    match key {
        SearchKey::All => Query::And(Vec::new()),
        SearchKey::And(keys) => Query::And(keys.iter().map(query).collect()),
        SearchKey::Or(a, b) => Query::Or(Box::new(query(a)), Box::new(query(b))),
        SearchKey::Not(key) => Query::Not(Box::new(query(key))),
        SearchKey::Uids(uids) => Query::Uids(uids.ranges().to_vec()),
        SearchKey::Flag(bits) => Query::System(*bits),
        SearchKey::Keyword(keyword) => Query::Keyword(keyword.clone()),
        SearchKey::Internal(is, day) => Query::Received(when(*is), *day),
        SearchKey::Sent(is, day) => Query::Sent(when(*is), *day),
        SearchKey::Larger(size) => Query::Larger(*size),
        SearchKey::Smaller(size) => Query::Smaller(*size),
        SearchKey::From(text) => Query::From(text.clone()),
        SearchKey::To(text) => Query::To(text.clone()),
        SearchKey::Cc(text) => Query::Cc(text.clone()),
        SearchKey::Bcc(text) => Query::Bcc(text.clone()),
        SearchKey::Subject(text) => Query::Subject(text.clone()),
        SearchKey::Header(name, text) => Query::Header(name.clone(), text.clone()),
        SearchKey::Body(text) => Query::Body(text.clone()),
        SearchKey::Text(text) => Query::Text(text.clone()),
    }
}

fn when(is: DayIs) -> When {
    match is {
        DayIs::Before => When::Before,
        DayIs::On => When::On,
        DayIs::Since => When::Since,
    }
}
