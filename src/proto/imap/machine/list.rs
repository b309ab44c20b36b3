//! LIST and LSUB (RFC 9051 6.3.9, RFC 3501 6.3.9, RFC 6154).

use std::collections::BTreeSet;

use super::super::ask::{Answer, Ask, MailboxRow, SpecialUse};
use super::super::grammar::{ListArgs, names};
use super::super::response::{self, put};
use super::reply::{ok, refused, server_bug};
use super::{Imap, Job};
use crate::proto::Part;

pub(super) struct ListJob {
    args: ListArgs,
    /// LSUB: names above subscribed ones that were already shown.
    parents: BTreeSet<String>,
}

impl Imap {
    pub(super) fn list(&mut self, tag: Vec<u8>, args: ListArgs) {
        if args.delimiter {
            put(self.out.page(), "* LIST (\\Noselect) \"/\" \"\"\r\n");
            return self.finish(ok(&tag, "LIST completed"), true);
        }
        self.ask_for(tag, Job::List(ListJob { args, parents: BTreeSet::new() }), Ask::List);
    }

    pub(super) fn list_answered(&mut self, tag: Vec<u8>, mut job: ListJob, answer: Answer, part: Part) {
        let line = match answer {
            Answer::Mailboxes(rows) => {
                for row in &rows {
                    if job.args.lsub {
                        lsub_row(self.out.page(), &mut job, row);
                    } else {
                        list_row(self.out.page(), &job.args, row);
                    }
                }
                if part == Part::More {
                    self.doing = super::Doing::Asked { tag, job: Job::List(job) };
                    return;
                }
                ok(&tag, if job.args.lsub { "LSUB completed" } else { "LIST completed" })
            }
            Answer::No(why) => refused(&tag, &why),
            _ => server_bug(&tag),
        };
        self.asked = false;
        self.finish(line, true);
    }
}

fn wanted(args: &ListArgs, name: &str) -> bool {
    args.patterns.iter().any(|pattern| {
        names::matches(pattern, name) || (name == "INBOX" && names::matches(&pattern.to_ascii_uppercase(), name))
    })
}

fn list_row(out: &mut Vec<u8>, args: &ListArgs, row: &MailboxRow) {
    if !wanted(args, &row.name)
        || !(row.exists || args.only_subscribed)
        || (args.only_subscribed && !row.subscribed)
        || (args.only_special && row.special_use.is_none())
    {
        return;
    }
    let mut attributes = Vec::with_capacity(4);
    if !row.exists {
        attributes.push("\\NonExistent");
    } else if !row.selectable {
        attributes.push("\\Noselect");
    }
    attributes.push(if row.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
    if row.subscribed && (args.only_subscribed || args.return_subscribed) {
        attributes.push("\\Subscribed");
    }
    if let Some(use_) = row.special_use {
        attributes.push(special_use(use_));
    }
    write_row(out, "LIST", &attributes, &row.name);
}

/// RFC 3501 6.3.9: with `%`, a name that is not subscribed itself is shown with \Noselect if one below it is.
fn lsub_row(out: &mut Vec<u8>, job: &mut ListJob, row: &MailboxRow) {
    if !row.subscribed {
        return;
    }
    if wanted(&job.args, &row.name) {
        let attributes: &[&str] = if row.selectable && row.exists { &[] } else { &["\\Noselect"] };
        // Its parent's line may have come before, for another name below it.
        job.parents.insert(row.name.clone());
        return write_row(out, "LSUB", attributes, &row.name);
    }
    if !job.args.patterns.iter().any(|pattern| pattern.contains('%')) {
        return;
    }
    for (at, _) in row.name.match_indices('/') {
        let parent = row.name.get(..at).unwrap_or_default();
        if wanted(&job.args, parent) && job.parents.insert(parent.to_owned()) {
            write_row(out, "LSUB", &["\\Noselect"], parent);
        }
    }
}

fn write_row(out: &mut Vec<u8>, response: &str, attributes: &[&str], name: &str) {
    put(out, "* ");
    put(out, response);
    put(out, " (");
    put(out, &attributes.join(" "));
    put(out, ") \"/\" ");
    response::mailbox(out, name);
    put(out, "\r\n");
}

fn special_use(use_: SpecialUse) -> &'static str {
    match use_ {
        SpecialUse::All => "\\All",
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Flagged => "\\Flagged",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}
