//! Notices (RFC 3464) on their way: into an account of the household, or out to a sender who was proved to be.
//!
//! Who that is: RFC 3461 wants its notices sent to the reverse path, and anybody can write anybody's address there. So a
//! notice leaves only for what was asked for by NOTIFY, and only where SPF passed for the reverse path itself: its domain
//! names the very server that handed the letter in (RFC 7208 2.6.3). A signature (DKIM) is not enough, aligned or not: whoever
//! once got a signed letter can hand it in again, and have us write to its author as often as they please.

use crate::account::{self, Letter, Place};
use crate::base::{AccountId, Time};
use crate::mailauth::{Evidence, Outcome};
use crate::message::date::Date;
use crate::message::dsn::{About, Kind, Notice};
use crate::message::{self, convert, header, trace};
use crate::queue::{self, NewLetter, NewRecipient, Notify};
use crate::store::blob::LetterHeader;
use crate::store::{self, Data, Txn};

use super::checks;
use super::envelope::{Envelope, Recipient, Target};

/// A notice that is staged, and whose it is.
#[derive(Clone)]
pub(super) enum Parcel {
    Into(AccountId, Letter),
    Out(Box<NewLetter>, NewRecipient),
}

/// Where a notice goes.
pub(super) struct Ways<'a> {
    pub accounts: &'a [AccountId],
    /// To the sender, elsewhere.
    pub out: bool,
}

/// RFC 7208 2.6.3: the server that handed the letter in is one of the reverse path's domain.
pub(super) fn is_proven(evidence: &Evidence) -> bool {
    evidence.mail.as_ref().is_some_and(|mail| mail.outcome == Outcome::Pass)
}

/// Writes a notice down where a transaction can take it. `now` with whether it is to be believed. Blocks on the disk.
pub(super) fn stage(
    data: &Data,
    notice: &Notice<'_>,
    ways: &Ways<'_>,
    (now, trusted): (Time, bool),
) -> Result<Vec<Parcel>, store::Error> {
    let mut text = notice.build();
    // A letter within a letter may be one part too deep, or one too many: then its header alone goes back.
    if message::parse(&text, &message::Limits::default()).is_err() {
        text = Notice { full: Some(false), ..notice.clone() }.build();
    }
    let mut parcels = Vec::new();
    if !ways.accounts.is_empty() {
        let header = LetterHeader { accounts: vec![notice.to.to_owned()], received: now };
        let staged = data.blobs().stage(header, &[trace::return_path("").as_slice(), &text].concat())?;
        match Letter::read(staged, &message::Limits::default()) {
            Ok(letter) => parcels.extend(ways.accounts.iter().map(|account| Parcel::Into(*account, letter.clone()))),
            Err(error) => tracing::error!(%error, "a notice of ours is no letter"),
        }
    }
    if ways.out {
        // In seven bits from the beginning: what is converted on its way out (RFC 6152 3) has no valid signature any more, and is
        // signed again only for people of the house.
        let text = match text.is_ascii() {
            true => text,
            false => convert::seven_bit(&text, &message::Limits::default()).unwrap_or(text),
        };
        let (head, body) = text.split_at(header::end(&text));
        let signed = checks::signatures(data, head, body, trusted.then_some(now));
        let header = LetterHeader { accounts: Vec::new(), received: now };
        let letter = NewLetter {
            staged: data.blobs().stage(header, &[signed.as_slice(), &text].concat())?,
            // RFC 3461 6.2: a notice is from nobody, and asks for none.
            from: None,
            account: None,
            utf8: !head.is_ascii() || !notice.to.is_ascii(),
            eight_bit: !text.is_ascii(),
            ret_full: None,
            envid: None,
            tls: queue::Tls::Usual,
            proven: false,
            release: None,
            by: None,
        };
        let to = NewRecipient { address: notice.to.to_owned(), notify: Some(Notify::default()), orcpt: None };
        parcels.push(Parcel::Out(Box::new(letter), to));
    }
    Ok(parcels)
}

/// How much of the queue notices may find full, so that whoever has us write them fills no more of it (P7).
fn share(limits: queue::Limits) -> queue::Limits {
    queue::Limits { letters: limits.letters.div_ceil(10), bytes: limits.bytes.div_ceil(10) }
}

/// Into the INBOX, however full it is; an account that went meanwhile needs no notice. Or into the queue, and nowhere where
/// a good part of that is full: a notice is worth no letter. Whether there was room.
pub(super) fn put<E>(txn: &mut Txn<'_>, parcel: &Parcel, now: Time, limits: queue::Limits) -> Result<bool, E>
where
    E: From<account::Error> + From<queue::Error>,
{
    match parcel {
        Parcel::Into(account, letter) => {
            let place = Place { mailbox: account::INBOX, flags: account::Flags::default() };
            match account::append(txn, *account, letter, &[place], now, now, None) {
                Ok(_) | Err(account::Error::NoSuchAccount | account::Error::NoSuchMailbox) => Ok(true),
                Err(error @ account::Error::Store(_)) => Err(error.into()),
                // An account that is damaged keeps nobody else's letter.
                Err(error) => {
                    tracing::error!(%error, account = account.0, "a notice cannot be put into an account");
                    Ok(true)
                }
            }
        }
        Parcel::Out(letter, to) => match queue::enqueue(txn, letter, std::slice::from_ref(to), now, share(limits)) {
            Ok(_) => Ok(true),
            Err(queue::Error::Full) => Ok(false),
            Err(error) => Err(error.into()),
        },
    }
}

/// What a recipient's copy comes to in the transaction that takes it, where its sender wants to hear that it went well
/// (RFC 3461 4.1). `None`: whoever sends it on says so.
pub(super) fn success(target: &Target) -> Option<Kind> {
    match (target.local.len(), target.outside.len()) {
        (0, 0) => None,
        (_, 0) => Some(Kind::Delivered),
        // RFC 3461 5.2.7.2: one address for another is the same recipient.
        (0, 1) => None,
        _ => Some(Kind::Expanded),
    }
}

/// RFC 3461 5.2.7.3: whoever was told that an address was delivered to is not told again by each that it stands for.
pub(super) fn passed_on(notify: Option<Notify>, target: &Target) -> Option<Notify> {
    let notify = notify?;
    Some(if success(target).is_some() { Notify { success: false, ..notify } } else { notify })
}

/// The notices that a letter leads to by being taken, with what of it they give back.
pub(super) struct Facts<'a> {
    pub hostname: &'a str,
    pub now: Time,
    /// Whether `now` is to be believed.
    pub trusted: bool,
    pub chance: [u64; 4],
    pub head: &'a [u8],
    /// As [`is_proven`] found.
    pub proven: bool,
}

/// Blocks on the disk.
pub(super) fn of_success(data: &Data, envelope: &Envelope, facts: &Facts<'_>) -> Result<Vec<Parcel>, store::Error> {
    let accounts: Vec<AccountId> = envelope.origin.account.into_iter().collect();
    let out = accounts.is_empty() && facts.proven;
    // What waits for its time has come nowhere yet.
    if envelope.release.is_some() {
        return Ok(Vec::new());
    }
    let Some(to) = envelope.from.as_deref().filter(|_| out || !accounts.is_empty()) else { return Ok(Vec::new()) };
    let mut parcels = Vec::new();
    for (kind, chance) in [Kind::Delivered, Kind::Expanded].into_iter().zip(facts.chance.chunks_exact(2)) {
        let asked = |one: &&Recipient| one.dsn.notify.is_some_and(|notify| notify.success);
        let about = |one: &Recipient| About {
            address: one.address.clone(),
            original: one.dsn.orcpt.clone(),
            // RFC 3463 3.2: an address that is valid.
            status: (2, 1, 5),
            diagnostic: None,
            own: true,
            remote: None,
            until: None,
        };
        let those = envelope.recipients.iter().filter(asked).filter(|one| success(&one.target) == Some(kind));
        let recipients: Vec<About> = those.map(about).collect();
        if recipients.is_empty() {
            continue;
        }
        let notice = Notice {
            kind,
            hostname: facts.hostname,
            to,
            now: Date::utc(facts.now),
            arrived: Date::utc(facts.now),
            envid: envelope.envid.as_deref(),
            by: envelope.by.map(|by| Date::utc(by.at)),
            recipients: &recipients,
            full: envelope.ret_full,
            passed_on: false,
            letter: facts.head,
            chance: [chance[0], chance[1]],
        };
        parcels.extend(stage(data, &notice, &Ways { accounts: &accounts, out }, (facts.now, facts.trusted))?);
    }
    Ok(parcels)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::data::Options;
    use crate::store::disk::{SimDisk, SimOptions};

    #[derive(Debug)]
    enum Stop {
        Account(#[allow(dead_code)] account::Error),
        Queue(#[allow(dead_code)] queue::Error),
        Store(#[allow(dead_code)] store::Error),
    }

    impl From<account::Error> for Stop {
        fn from(error: account::Error) -> Stop {
            Stop::Account(error)
        }
    }

    impl From<queue::Error> for Stop {
        fn from(error: queue::Error) -> Stop {
            Stop::Queue(error)
        }
    }

    impl From<store::Error> for Stop {
        fn from(error: store::Error) -> Stop {
            Stop::Store(error)
        }
    }

    /// RFC 6152 3: nobody signs it again on its way out.
    #[test]
    fn a_notice_leaves_in_seven_bits() {
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
        let about = About {
            address: "b@far.test".to_owned(),
            original: None,
            status: (5, 1, 1),
            own: true,
            diagnostic: None,
            remote: None,
            until: None,
        };
        let letter = "Subject: =?utf-8?q?gr=C3=BCn?=\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsch\u{f6}n\r\n";
        let notice = Notice {
            kind: Kind::Failed,
            hostname: "mail.example.test",
            to: "a@far.test",
            now: Date::utc(Time(0)),
            arrived: Date::utc(Time(0)),
            envid: None,
            by: None,
            recipients: &[about],
            full: Some(true),
            passed_on: false,
            letter: letter.as_bytes(),
            chance: [1, 2],
        };
        assert!(!notice.build().is_ascii());
        let parcels = stage(&data, &notice, &Ways { accounts: &[], out: true }, (Time(0), true)).unwrap();
        let [Parcel::Out(letter, to)] = parcels.as_slice() else { panic!("one parcel") };
        let (letter, to) = (letter.clone(), to.clone());
        assert!(!letter.eight_bit);
        let put = move |txn: &mut Txn<'_>| {
            queue::enqueue(txn, &letter, std::slice::from_ref(&to), Time(0), queue::Limits::default())
        };
        data.write_blocking(put).unwrap();
        let entry = queue::list(&data.read().unwrap(), crate::base::QueueId(0), 1).unwrap().remove(0);
        assert!(data.blobs().read(entry.blob, 0..entry.size).unwrap().is_ascii());
    }

    /// P7: whoever has us write notices that nobody takes leaves the household its queue.
    #[test]
    fn notices_fill_no_more_than_a_tenth_of_the_queue() {
        let data = Data::open(Arc::new(SimDisk::new(SimOptions::default())), Options::default()).unwrap();
        let limits = queue::Limits { letters: 100, bytes: 1 << 20 };
        let letter = |proven| NewLetter {
            staged: data.blobs().stage(LetterHeader::default(), b"x\r\n").unwrap(),
            from: None,
            account: None,
            utf8: false,
            eight_bit: false,
            ret_full: None,
            envid: None,
            tls: queue::Tls::Usual,
            proven,
            release: None,
            by: None,
        };
        let to = NewRecipient { address: "a@x.test".to_owned(), notify: None, orcpt: None };
        for _ in 0..30 {
            let parcel = Parcel::Out(Box::new(letter(false)), to.clone());
            data.write_blocking(move |txn| put::<Stop>(txn, &parcel, Time(0), limits)).unwrap();
        }
        let queued = || queue::list(&data.read().unwrap(), crate::base::QueueId(0), 1000).unwrap().len();
        assert_eq!(queued(), 10);
        let (own, to) = (letter(true), to.clone());
        data.write_blocking(move |txn| queue::enqueue(txn, &own, std::slice::from_ref(&to), Time(0), limits)).unwrap();
        assert_eq!(queued(), 11, "a letter of the household's finds room");
    }
}
