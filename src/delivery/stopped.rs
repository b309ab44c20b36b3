//! What happens when an account writes to too many: it waits, or is stopped, and those who can do something are told, once, by
//! a letter in their inbox.

use crate::account::{self, Letter, Place};
use crate::base::{AccountId, QueueId, Time};
use crate::directory;
use crate::directory::manage::account::{self as people, Shown};
use crate::message::date::{self, Date};
use crate::message::{self, encode, trace};
use crate::queue;
use crate::store::blob::LetterHeader;
use crate::store::{self, Data, Txn};

use super::allowance::Over;

/// What a letter of ours is made with.
#[derive(Clone)]
pub(super) struct Pen {
    /// Ours.
    pub hostname: String,
    pub now: Time,
    pub chance: [u64; 2],
}

impl Pen {
    /// A letter to people of the house, staged. Blocks on the disk.
    pub(super) fn stage(
        &self,
        data: &Data,
        to: &[String],
        (subject, words): &(String, String),
    ) -> Result<Letter, account::Error> {
        let Pen { hostname, chance, .. } = self;
        let to_field = to.iter().map(|one| encode::mailbox(None, one)).collect::<Vec<_>>().join(",\r\n ");
        let head = format!(
            "From: \"Mail server {hostname}\" <mailer-daemon@{hostname}>\r\nTo: {to_field}\r\nSubject: {}\r\nDate: {}\r\n\
             Message-ID: <{:016x}{:016x}@{hostname}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            subject,
            date::rfc5322(Date::utc(self.now)),
            chance[0],
            chance[1],
        );
        let body = words.replace('\n', "\r\n");
        let header = LetterHeader { accounts: to.to_vec(), received: self.now };
        let bytes = [trace::return_path(""), head.into_bytes(), body.into_bytes()].concat();
        Letter::read(data.blobs().stage(header, &bytes)?, &message::Limits::default())
    }
}

/// Puts a letter of ours into an INBOX, however full it is. An account that went meanwhile needs none.
pub(super) fn put(txn: &mut Txn<'_>, account: AccountId, letter: &Letter, now: Time) -> Result<(), account::Error> {
    let place = Place { mailbox: account::INBOX, flags: account::Flags::default() };
    match account::append(txn, account, letter, &[place], now, now, None) {
        Ok(_) | Err(account::Error::NoSuchAccount | account::Error::NoSuchMailbox) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The account itself, and who administers.
pub(super) fn who_is_told(data: &Data, account: AccountId) -> Result<Vec<Shown>, directory::Error> {
    let mut all = people::list(&data.read()?)?;
    all.retain(|one| !one.closing && (one.id == account || (one.administrator && !one.disabled)));
    Ok(all)
}

/// What they are told.
pub(super) fn words(address: &str, over: Over, now: Time) -> (String, String) {
    let when = date::iso_minute(Date::utc(now));
    let (subject, happened) = match over {
        Over::NewDay(most) => (
            format!("{address} may send nothing to other servers any more"),
            format!(
                "The account {address} has written to more than {most} people within a day whom it had never written to before. \
                 Since {when} none of its letters leaves this house; those that were waiting to leave are held in the queue.\n"
            ),
        ),
        Over::NewHour(most) => (
            format!("{address} has to wait before it may write to more people"),
            format!(
                "The account {address} has tried to write to more than {most} people within an hour whom it had never written to \
                 before. At {when} letters to more of them were refused; within the hour it may go on.\n"
            ),
        ),
        Over::Hour(most) => (
            format!("{address} has to wait before it may send more"),
            format!(
                "The account {address} has tried to write to more than {most} people within an hour. At {when} letters to more of \
                 them were refused; within the hour it may go on.\n"
            ),
        ),
    };
    let end = match over {
        Over::NewDay(_) => "when the administrator does so, it may send again by itself",
        _ => "whoever has the old one is shut out by that",
    };
    let words = format!(
        "{happened}\n\
         If you know what these letters are, all is well: the administrator lets the account go on at once with\n\
         \n    homepost account resume {address}\n\n\
         If not, somebody else knows its pass phrase, or one of its devices sends by itself. Choose a new pass phrase for it: {end}. \
         Look at its devices too, and remove those that nobody knows.\n"
    );
    (subject, words)
}

impl From<account::Error> for Stop {
    fn from(error: account::Error) -> Stop {
        Stop(error.to_string())
    }
}

impl From<directory::Error> for Stop {
    fn from(error: directory::Error) -> Stop {
        Stop(error.to_string())
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Stop {
        Stop(format!("{error:?}"))
    }
}

/// Why nothing was written; a sentence.
pub(super) struct Stop(pub String);

/// Writes it down and tells: an account that is stopped already was told of. What it has in the queue is held. Blocks on the
/// disk.
pub(super) fn stop_and_tell(data: &Data, account: AccountId, over: Over, pen: &Pen) -> Result<(), Stop> {
    let now = pen.now;
    // By itself and first: a letter that cannot be put must not keep it from being so.
    if matches!(over, Over::NewDay(_)) {
        let stopped = data.write_blocking(move |txn| people::stop_sending(txn, account, now).map_err(Stop::from))?;
        if !stopped.value {
            return Ok(());
        }
        if let Err(Stop(why)) = hold_queued(data, account) {
            tracing::error!(why, "what a stopped account has in the queue cannot be held");
        }
    }
    let told = who_is_told(data, account)?;
    let Some(whose) = told.iter().find(|one| one.id == account) else { return Ok(()) };
    let addresses: Vec<String> = told.iter().map(|one| one.address.clone()).collect();
    let letter = pen.stage(data, &addresses, &words(&whose.address, over, now))?;
    let ids: Vec<AccountId> = told.iter().map(|one| one.id).collect();
    data.write_blocking(move |txn| -> Result<(), Stop> {
        for id in &ids {
            put(txn, *id, &letter, now)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Why letters that were to leave later are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The account has a new pass phrase.
    NewPhrase,
    /// It is to be deleted then.
    Leaves(Time),
}

/// The letters of an account that wait for a time which it named are held, in the transaction of whoever changes the account: with
/// them a thief would outlast the pass phrase that was stolen. They stay until somebody releases or cancels them.
pub fn hold_appointed(txn: &mut Txn<'_>, account: AccountId) -> Result<Vec<QueueId>, queue::Error> {
    let ids = queue::appointed(txn, account)?;
    for id in &ids {
        queue::hold(txn, *id)?;
    }
    Ok(ids)
}

/// Names them to the account, and where it is to be deleted to who administers, by a letter in the inbox. Blocks on the disk.
/// Errors: a sentence.
pub fn tell_of_held(
    data: &Data,
    account: AccountId,
    held: &[QueueId],
    why: Why,
    hostname: &str,
    (now, chance): (Time, [u64; 2]),
) -> Result<(), String> {
    let pen = Pen { hostname: hostname.to_owned(), now, chance };
    tell(data, account, held, why, &pen).map_err(|Stop(why)| why)
}

fn tell(data: &Data, account: AccountId, held: &[QueueId], why: Why, pen: &Pen) -> Result<(), Stop> {
    let mut told = who_is_told(data, account)?;
    let Some(address) = told.iter().find(|one| one.id == account).map(|one| one.address.clone()) else { return Ok(()) };
    // Whom somebody writes to is nobody else's business while they are there.
    told.retain(|one| one.id == account || matches!(why, Why::Leaves(_)));
    let mut lines = String::new();
    let read = data.read()?;
    for id in held {
        let Some(entry) = queue::find(&read, *id).map_err(|error| Stop(error.to_string()))? else { continue };
        let to: Vec<&str> = entry.recipients.iter().map(|one| one.address.as_str()).collect();
        let when = entry.release.map(|time| date::iso_minute(Date::utc(time))).unwrap_or_default();
        lines.push_str(&format!("    {id}  {when}  to {}\n", to.join(", ")));
    }
    drop(read);
    let letter = pen.stage(
        data,
        &told.iter().map(|one| one.address.clone()).collect::<Vec<_>>(),
        &words_of_held(&address, &lines, why),
    )?;
    let (ids, now): (Vec<AccountId>, Time) = (told.iter().map(|one| one.id).collect(), pen.now);
    data.write_blocking(move |txn| -> Result<(), Stop> {
        for id in &ids {
            put(txn, *id, &letter, now)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn words_of_held(address: &str, lines: &str, why: Why) -> (String, String) {
    let (subject, happened) = match why {
        Why::NewPhrase => (
            format!("Letters of {address} that were to leave later are held"),
            format!(
                "{address} has a new pass phrase. Whoever knew the old one may have handed in letters that were to leave later, so \
                 these are held in the queue of this server, and none leaves by itself:\n"
            ),
        ),
        Why::Leaves(at) => (
            format!("Letters of {address} that were to leave later are held"),
            format!(
                "{address} is to be deleted on {}. Letters of it that were to leave later are held in the queue of this server; on \
                 that day they go with the account:\n",
                date::iso_minute(Date::utc(at))
            ),
        ),
    };
    let words = format!(
        "{happened}\n{lines}\n\
         The administrator lets all that are held leave at their times with\n\
         \n    homepost queue release --all\n\n\
         one of them at once with `homepost queue release NUMBER`, and takes one back with `homepost queue cancel NUMBER`. The page \
         of the queue does the same.\n"
    );
    (subject, words)
}

/// Letters looked at in one step.
const STEP: usize = 100;

/// They stay until somebody releases or cancels them: whoever lets the account go on has not read them.
fn hold_queued(data: &Data, account: AccountId) -> Result<(), Stop> {
    let mut from = QueueId(0);
    loop {
        let entries = queue::list(&data.read()?, from, STEP).map_err(|error| Stop(error.to_string()))?;
        let Some(last) = entries.last() else { return Ok(()) };
        from = QueueId(last.id.0.saturating_add(1));
        let ids: Vec<QueueId> =
            entries.iter().filter(|entry| entry.account == Some(account)).map(|entry| entry.id).collect();
        if ids.is_empty() {
            continue;
        }
        data.write_blocking(move |txn| -> Result<(), Stop> {
            for id in &ids {
                queue::hold(txn, *id).map_err(|error| Stop(error.to_string()))?;
            }
            Ok(())
        })?;
    }
}
