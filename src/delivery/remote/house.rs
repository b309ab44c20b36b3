//! Letters in the queue for people of this house: they waited for the time that their sender named (RFC 4865), or the domain came
//! here while they waited. They arrive in the transaction in which they leave the queue (R1).

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::account::{self, Letter, Place, quota};
use crate::base::Time;
use crate::delivery::envelope::Target;
use crate::delivery::{checks, notice};
use crate::directory::{self, LocalRecipient, Resolution};
use crate::message::{self, header, trace};
use crate::proto::smtp::Reply;
use crate::proto::smtp::client::{Said, Verdict};
use crate::queue::schedule::GIVE_UP;
use crate::queue::{self, Entry, NewLetter, NewRecipient};
use crate::store::blob::LetterHeader;
use crate::store::{self, Txn};

use super::settle::{self, Here, Outcome, Stop, Written};
use super::{Destination, Job, Sender, Trouble, World, dialogue};

/// It was measured when it was taken; what stands on top of it now is ours.
const MEASURED: message::Limits =
    message::Limits { header_bytes: u64::MAX, all_header_bytes: u64::MAX, parts: u32::MAX, depth: 1000 };

/// Of a letter that is read, in octets at a time.
const PIECE: u64 = 1 << 20;

/// Brings what waits for this house, one after another since each is in memory whole, until nothing does.
pub(super) async fn serve<W: World>(sender: &Arc<Sender<W>>, destination: &Destination, stop: &watch::Receiver<bool>) {
    while let Some(job) = sender.next(destination) {
        if *stop.borrow() {
            return sender.give_back(&job);
        }
        if let Err(why) = bring(sender, &job).await {
            warn!(letter = %job.id, why, "a letter for this house cannot be brought now");
            tokio::time::sleep(super::BREATH).await;
        }
        sender.give_back(&job);
    }
}

/// Where each recipient's copy goes.
#[derive(Clone, Default)]
pub(super) struct Arrivals(Vec<Arrival>);

#[derive(Clone)]
struct Arrival {
    n: u32,
    local: Vec<LocalRecipient>,
    /// What an alias sends on.
    onward: Vec<NewRecipient>,
}

/// Errors: a sentence; nothing was changed.
async fn bring<W: World>(sender: &Arc<Sender<W>>, job: &Job) -> Result<(), String> {
    let way = sender.world.way();
    let (finder, wanted) = (sender.clone(), job.clone());
    let found = tokio::task::spawn_blocking(move || find(&finder, &wanted)).await;
    let Some((entry, outcomes, arrivals)) = found.map_err(|_| "a mistake of ours".to_owned())?? else { return Ok(()) };
    match settle::write(sender, &way, &entry, outcomes, Some(&arrivals)).await {
        Written::Done => info!(letter = %entry.id, "a letter whose time has come is brought to this house"),
        // It may be read, or they may be back, when it is tried again; and in the end the sender is told.
        Written::Not(why) => {
            warn!(letter = %entry.id, why, "a letter cannot be brought to this house");
            let trouble = Trouble::later((4, 3, 0), format!("the letter cannot be brought now: {why}"));
            settle::all(sender, &way, job, &trouble).await;
        }
    }
    Ok(())
}

/// Who the recipients are, and whether they have room. `None`: the letter is not there any more. Blocks on the disk.
fn find<W: World>(sender: &Sender<W>, job: &Job) -> Result<Option<(Entry, Vec<Outcome>, Arrivals)>, String> {
    let read = sender.data.read().map_err(|error| format!("{error:?}"))?;
    let Some(entry) = queue::find(&read, job.id).map_err(|error| error.to_string())? else { return Ok(None) };
    // RFC 2852 4.2: mode R, and nobody was there in time.
    let too_late = entry.by.is_some_and(|by| by.returns && by.is_over(sender.clock.now()));
    let (mut outcomes, mut arrivals, mut full) = (Vec::new(), Arrivals::default(), Vec::new());
    let outcome = |n, verdict, here| Outcome {
        n,
        verdict,
        remote: None,
        tls: false,
        tells: false,
        keeps_time: true,
        here: Some(Here(here)),
    };
    let said = |code, enhanced, words: String| Said { reply: Reply::new(code, enhanced, words), own: true };
    let delivered = || Verdict::Sent(said(250, (2, 1, 5), "delivered".to_owned()));
    for recipient in dialogue::still_waiting(&entry, job) {
        let (n, address) = (recipient.n, &recipient.address);
        let found = directory::resolve(&read, address).map_err(|error| error.to_string())?;
        let target = match found {
            Resolution::Local(local) => Target { local, outside: Vec::new() },
            Resolution::Forward { local, outside } => Target { local, outside },
            Resolution::Unknown => Target::default(),
            // The domain has left: its letters go there.
            Resolution::Remote => continue,
        };
        if target.local.is_empty() && target.outside.is_empty() {
            let nobody = Verdict::Never(said(550, (5, 1, 1), format!("there is no {address} here")));
            outcomes.push(outcome(n, nobody, None));
        } else if too_late {
            let late = Verdict::Never(said(550, (5, 4, 7), "the time that its sender has set is over".to_owned()));
            outcomes.push(outcome(n, late, None));
        } else if has_room(&read, &target, entry.size).map_err(|error| error.to_string())? {
            outcomes.push(outcome(n, delivered(), notice::success(&target)));
            let notify = notice::passed_on(recipient.notify, &target);
            let onward = |address| NewRecipient { address, notify, orcpt: recipient.orcpt.clone() };
            let (local, onward) = (target.local, target.outside.into_iter().map(onward).collect());
            arrivals.0.push(Arrival { n, local, onward });
        } else {
            full.push((n, address, target));
        }
    }
    for (n, address, target) in full {
        let served = |local: &LocalRecipient| {
            arrivals.0.iter().flat_map(|one| &one.local).any(|other| other.account == local.account)
        };
        // By another of its addresses it gets the letter all the same, and one is enough.
        if target.local.iter().all(served) {
            outcomes.push(outcome(n, delivered(), notice::success(&target)));
            arrivals.0.push(Arrival { n, local: Vec::new(), onward: Vec::new() });
        } else {
            let later = Verdict::Later(said(452, (4, 2, 2), format!("the mailbox of {address} is full")));
            outcomes.push(outcome(n, later, None));
        }
    }
    Ok((!outcomes.is_empty()).then_some((entry, outcomes, arrivals)))
}

/// As at RCPT: in one of the accounts at least, or it goes elsewhere as well.
fn has_room(read: &dyn store::Read, target: &Target, size: u64) -> Result<bool, account::Error> {
    if !target.outside.is_empty() {
        return Ok(true);
    }
    for local in &target.local {
        match quota::check(read, local.account, size, local.quota) {
            Ok(()) => return Ok(true),
            Err(account::Error::OverQuota | account::Error::NoSuchAccount) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Copies that a transaction can take.
pub(super) struct Staged {
    arrivals: Arrivals,
    /// For accounts of ours.
    here: Option<Letter>,
    /// What aliases send on.
    pub onward: Option<NewLetter>,
}

/// Errors: a sentence.
pub(super) async fn stage<W: World>(
    sender: &Arc<Sender<W>>,
    entry: &Entry,
    arrivals: &Arrivals,
    now: Time,
) -> Result<Staged, String> {
    let (sender, entry, arrivals) = (sender.clone(), entry.clone(), arrivals.clone());
    let make = move || -> Result<Staged, account::Error> {
        let stays = arrivals.0.iter().any(|one| !one.local.is_empty());
        let leaves = arrivals.0.iter().any(|one| !one.onward.is_empty());
        let blobs = sender.data.blobs();
        // RFC 5321 4.4: the last server's to write.
        let on_top = trace::return_path(entry.from.as_deref().unwrap_or_default());
        let mut whole = Vec::new();
        if stays || leaves {
            whole.reserve_exact(on_top.len() + usize::try_from(entry.size).unwrap_or_default());
            whole.extend_from_slice(&on_top);
            let mut at = 0;
            while at < entry.size {
                let end = entry.size.min(at + PIECE);
                whole.extend_from_slice(&blobs.read(entry.blob, at..end)?);
                at = end;
            }
        }
        let onward = match leaves {
            true => {
                let letter = whole.get(on_top.len()..).unwrap_or_default();
                // The keys that signed it may be gone, as of all that has waited for long.
                let old = entry.account.is_some() && now.0.saturating_sub(entry.queued.0) >= GIVE_UP;
                let (head, body) = letter.split_at(header::end(letter));
                let when = sender.clock.trusted().then_some(now);
                let fresh = if old { checks::signed_again(&sender.data, head, body, when) } else { None };
                let header = LetterHeader { accounts: Vec::new(), received: now };
                let staged = match fresh {
                    Some(head) => blobs.stage(header, &[head.as_slice(), body].concat())?,
                    None => blobs.stage(header, letter)?,
                };
                Some(NewLetter {
                    staged,
                    from: entry.from.clone(),
                    account: entry.account,
                    utf8: entry.utf8,
                    eight_bit: entry.eight_bit,
                    ret_full: entry.ret_full,
                    envid: entry.envid.clone(),
                    tls: entry.tls,
                    proven: entry.proven,
                    release: None,
                    by: entry.by,
                })
            }
            false => None,
        };
        let here = match stays {
            true => {
                let accounts =
                    arrivals.0.iter().flat_map(|one| &one.local).map(|local| local.address.clone()).collect();
                let staged = blobs.stage(LetterHeader { accounts, received: now }, &whole)?;
                drop(whole);
                Some(Letter::read(staged, &MEASURED)?)
            }
            false => None,
        };
        Ok(Staged { here, onward, arrivals })
    };
    let made = tokio::task::spawn_blocking(make).await.map_err(|_| "a mistake of ours".to_owned())?;
    made.map_err(|error| error.to_string())
}

impl Staged {
    /// Each account gets one, however many of its addresses were named. `left`: the recipients that leave the queue now.
    pub(super) fn put(&self, txn: &mut Txn<'_>, left: &[u32], now: Time) -> Result<(), Stop> {
        // Nobody else's queue pays for it: what was taken is passed on.
        const NO_LIMIT: queue::Limits = queue::Limits { letters: u64::MAX, bytes: u64::MAX };
        let (mut served, mut onward) = (Vec::new(), Vec::<NewRecipient>::new());
        for arrival in self.arrivals.0.iter().filter(|one| left.contains(&one.n)) {
            for local in &arrival.local {
                if let (Some(letter), false) = (&self.here, served.contains(&local.account)) {
                    let place = Place { mailbox: account::INBOX, flags: account::Flags::default() };
                    account::append(txn, local.account, letter, &[place], now, now, None)?;
                    served.push(local.account);
                }
            }
            for one in &arrival.onward {
                if !onward.iter().any(|other| other.address.eq_ignore_ascii_case(&one.address)) {
                    onward.push(one.clone());
                }
            }
        }
        if let (Some(letter), false) = (&self.onward, onward.is_empty()) {
            queue::enqueue(txn, letter, &onward, now, NO_LIMIT)?;
        }
        Ok(())
    }
}
