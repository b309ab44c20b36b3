//! RCPT: whose address it is, and whether they have room.

use super::accept::refusal;
use super::{Host, Shared, too_often, try_later};
use crate::account::{self, quota};
use crate::delivery::{Count, Dsn, Recipient, Target};
use crate::directory::{Directory, Resolution};
use crate::filter::Said;
use crate::proto::smtp::{Forward, Rcpt, Reply};
use crate::queue;

/// RFC 5321 4.5.1: whoever is refused may say so to postmaster, from wherever.
fn is_postmaster(to: &Forward) -> bool {
    match to {
        Forward::Postmaster => true,
        Forward::Address(to) => to.local.eq_ignore_ascii_case("postmaster"),
    }
}

impl<D: Directory> Host<D> {
    pub(super) async fn rcpt(&mut self, rcpt: Rcpt) -> Reply {
        let address = rcpt.to.to_string();
        let is_postmaster = is_postmaster(&rcpt.to);
        if !is_postmaster && self.guard().is_some_and(|guard| !guard.may_ask(self.peer, &*self.shared.clock)) {
            return too_often("Too many of those you asked for do not live here; please come again in an hour");
        }
        let target = match self.shared.directory.resolve(&address).await {
            Ok(Resolution::Local(local)) => Target { local, outside: Vec::new() },
            Ok(Resolution::Forward { local, outside }) => Target { local, outside },
            Ok(Resolution::Remote) if self.who.is_some() => {
                Target { local: Vec::new(), outside: vec![address.clone()] }
            }
            // M2
            Ok(Resolution::Remote) => {
                self.asked_for_nobody();
                return Reply::new(
                    550,
                    (5, 7, 1),
                    format!("{address} is not an address of this server, and it passes nothing on"),
                );
            }
            Ok(Resolution::Unknown) => {
                self.asked_for_nobody();
                return Reply::new(550, (5, 1, 1), format!("There is no {address} here"));
            }
            Err(error) => return try_later(&error),
        };
        if !is_postmaster && let Some(refused) = self.meet(&rcpt.to).await {
            return refused;
        }
        let mut leaving = Count::default();
        if let Some(who) = self.who.as_ref().filter(|_| !target.outside.is_empty()) {
            let Shared { intake, hostname, limits, .. } = &*self.shared;
            match intake.may_write_to(who.id, &target.outside, self.leaving, hostname, limits).await {
                Ok(more) => leaving = more,
                Err(why) => return refusal(&why),
            }
        }
        let announced = self.mail.as_ref().and_then(|mail| mail.size).unwrap_or_default();
        match self.room(&target, announced) {
            Ok(()) => {}
            Err(account::Error::OverQuota) => {
                return Reply::new(452, (4, 2, 2), format!("The mailbox of {address} is full; please try again later"));
            }
            // Deleted between the two look-ups.
            Err(account::Error::NoSuchAccount) => {
                return Reply::new(550, (5, 1, 1), format!("There is no {address} here"));
            }
            Err(error) => return try_later(&error),
        }
        let dsn = Dsn {
            notify: rcpt.notify.map(|notify| queue::Notify {
                success: notify.success,
                failure: notify.failure,
                delay: notify.delay,
            }),
            orcpt: rcpt.orcpt.map(|orcpt| (orcpt.kind, orcpt.address)),
        };
        self.leaving = Count { all: self.leaving.all + leaving.all, new: self.leaving.new + leaving.new };
        self.recipients.push(Recipient { address, target, dsn });
        Reply::new(250, (2, 1, 5), "Recipient noted")
    }

    fn asked_for_nobody(&self) {
        if let Some(guard) = self.guard() {
            guard.asked_for_nobody(self.peer, &*self.shared.clock);
        }
    }

    /// What a stranger has to go through for an address of ours; the refusal, if there is one.
    async fn meet(&mut self, to: &Forward) -> Option<Reply> {
        let guard = self.guard()?.clone();
        let clock = self.shared.clock.clone();
        if self.listed.is_none() {
            self.listed = Some(guard.listed(self.peer, &*clock).await);
        }
        if let (Some(Some(hit)), true) = (&self.listed, guard.refuse) {
            tracing::info!(list = hit.list, peer = %self.peer, "a server on a block list is turned away");
            let said = if hit.words.is_empty() { String::new() } else { format!(" ({})", hit.words) };
            // RFC 5782 3 asks for words that lead to the list.
            let words = format!(
                "{} is on the block list {}{said}; postmaster here can still be written to",
                self.peer, hit.list
            );
            return Some(Reply::new(550, (5, 7, 1), words));
        }
        let from = self.mail.as_ref().and_then(|mail| mail.from.as_ref()).map(ToString::to_string);
        match guard.greets(self.peer, from.as_deref(), &to.to_string(), &*clock).await {
            Said::Welcome => None,
            // RFC 6647 5: 4xx, so that the sender comes again by itself.
            Said::ComeAgain(ms) => {
                let words = format!("Your server is new here; please come again in {} seconds", ms.div_ceil(1000));
                Some(Reply::new(451, (4, 7, 1), words))
            }
        }
    }

    /// A letter of `size` octets (0: not announced) fits into one of the accounts at least, or goes elsewhere as well: who
    /// is full must not keep a letter from the others behind an alias. A full account is refused here and not later: once
    /// a letter is there it is welcome, even if it is one too much (DESIGN section 4).
    fn room(&self, target: &Target, size: u64) -> Result<(), account::Error> {
        let local = &target.local;
        let Some(first) = local.first().filter(|_| target.outside.is_empty()) else { return Ok(()) };
        let read = self.shared.data.read()?;
        let mut outcome = quota::check(&read, first.account, size.max(1), first.quota);
        for other in local.iter().skip(1) {
            if outcome.is_ok() {
                break;
            }
            outcome = quota::check(&read, other.account, size.max(1), other.quota);
        }
        outcome
    }
}
