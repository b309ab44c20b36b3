//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 9051 6.3).

use super::super::ask::{Answer, Ask, No, StatusWant};
use super::super::grammar::{StatusItem, names};
use super::super::response::{self, number, put};
use super::reply::{ok, refused, server_bug};
use super::{After, Imap, Job};

pub(super) struct StatusJob {
    name: String,
    items: Vec<StatusItem>,
}

impl Imap {
    pub(super) fn create(&mut self, tag: Vec<u8>, name: String) {
        // RFC 9051 6.3.4: a separator at the end only says that others will be made below.
        let name = match name.strip_suffix('/') {
            Some(name) => name.to_owned(),
            None => name,
        };
        if self.usable(&tag, &name) {
            self.ask_for(tag, Job::Plain { done: "CREATE completed" }, Ask::Create { name });
        }
    }

    pub(super) fn delete(&mut self, tag: Vec<u8>, name: String) {
        self.ask_for(tag, Job::Delete, Ask::Delete { name });
    }

    pub(super) fn rename(&mut self, tag: Vec<u8>, from: String, to: String) {
        if self.usable(&tag, &to) {
            self.ask_for(tag, Job::Plain { done: "RENAME completed" }, Ask::Rename { from, to });
        }
    }

    pub(super) fn subscribe(&mut self, tag: Vec<u8>, name: String, on: bool) {
        // A name that no mailbox could have is not remembered; it may well be forgotten.
        if !on || self.usable(&tag, &name) {
            let done = if on { "SUBSCRIBE completed" } else { "UNSUBSCRIBE completed" };
            self.ask_for(tag, Job::Plain { done }, Ask::Subscribe { name, on });
        }
    }

    fn usable(&mut self, tag: &[u8], name: &str) -> bool {
        match names::unusable(name) {
            None => true,
            Some(why) => {
                let line = refused(tag, &No::Cannot(why));
                self.finish(line, true);
                false
            }
        }
    }

    pub(super) fn plain_answered(&mut self, tag: Vec<u8>, done: &str, answer: Answer) {
        let line = match answer {
            Answer::Done => ok(&tag, done),
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.finish(line, true);
    }

    pub(super) fn delete_answered(&mut self, tag: Vec<u8>, answer: Answer) {
        match answer {
            Answer::Done => self.sync(After::Deleted(ok(&tag, "DELETE completed")), true),
            other => self.plain_answered(tag, "", other),
        }
    }

    pub(super) fn status(&mut self, tag: Vec<u8>, name: String, items: Vec<StatusItem>) {
        let wants = |item| items.contains(&item);
        let want = StatusWant {
            messages: wants(StatusItem::Messages),
            uid_next: wants(StatusItem::UidNext),
            uid_validity: wants(StatusItem::UidValidity),
            unseen: wants(StatusItem::Unseen),
            deleted: wants(StatusItem::Deleted),
            size: wants(StatusItem::Size),
            recent: wants(StatusItem::Recent),
        };
        let ask = Ask::Status { name: name.clone(), want };
        self.ask_for(tag, Job::Status(StatusJob { name, items }), ask);
    }

    pub(super) fn status_answered(&mut self, tag: Vec<u8>, job: StatusJob, answer: Answer) {
        let line = match answer {
            Answer::Status(status) => {
                let out = self.out.page();
                put(out, "* STATUS ");
                response::mailbox(out, &job.name);
                for (n, item) in job.items.iter().enumerate() {
                    put(out, if n == 0 { " (" } else { " " });
                    let (name, value) = match item {
                        StatusItem::Messages => ("MESSAGES ", u64::from(status.messages)),
                        StatusItem::Recent => ("RECENT ", 0),
                        StatusItem::UidNext => ("UIDNEXT ", u64::from(status.uid_next)),
                        StatusItem::UidValidity => ("UIDVALIDITY ", u64::from(status.uid_validity)),
                        StatusItem::Unseen => ("UNSEEN ", u64::from(status.unseen)),
                        StatusItem::Deleted => ("DELETED ", u64::from(status.deleted)),
                        StatusItem::Size => ("SIZE ", status.size),
                    };
                    put(out, name);
                    number(out, value);
                }
                put(out, ")\r\n");
                ok(&tag, "STATUS completed")
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.finish(line, true);
    }
}
