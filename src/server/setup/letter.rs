//! The trial letters of the set-up: one is sent out as an account's letters are, and what is known of it and of the one that came
//! in is looked up in the queue, in what the sender told, and on top of the letter.

use std::net::{IpAddr, Ipv4Addr};

use tokio::runtime::Handle;

use crate::account as mailboxes;
use crate::appliance::wizard::{Arrived, End, Found, Going, Outcome, Way};
use crate::base::{AccountId, MailboxId, QueueId, Uid};
use crate::delivery::{self, Dsn, Envelope, Intake, Limits, Origin, Recipient, Target};
use crate::directory::manage::account::Shown;
use crate::message::date::Date;
use crate::message::plain::Plain;
use crate::message::{decode, header};
use crate::queue::{self, Notify};

use super::super::house::House;
use super::super::languages;
use super::super::outgoing::TRIAL;
use super::super::verbs::Error;

/// Letters of the queue that are looked through.
const QUEUE_MOST: usize = 100;
const LETTERS_MOST: usize = 1000;
/// Of a letter: what stands on top is ours.
const HEAD_BYTES: u64 = 16 * 1024;

const SUBJECT: &str = "A first letter from your own mail server";
const TEXT: &str = "This letter was sent to try whether letters of this house reach you. Nobody needs to do anything. If it lies among \
                    the spam, say that it is none: then the next ones are believed more easily.";

/// Errors, also in what it gives: a sentence.
pub(super) fn post(house: &House, runtime: &Handle, admin: &Shown, to: &str) -> Result<Outcome, Error> {
    let (now, chance) = (house.clock.now(), house.random.u64());
    let mark = format!("{TRIAL}{chance:016x}");
    let settings = house.settings.load();
    let languages = languages::load(&house.folder);
    let text = languages.words(&settings.language, TEXT);
    let domain = admin.address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let letter = Plain {
        name: admin.name.as_deref().unwrap_or(""),
        from: &admin.address,
        to,
        subject: &languages.words(&settings.language, SUBJECT),
        id: &format!("{chance:016x}@{domain}"),
        now: Date::utc(now),
        text: &format!("{text}\n"),
    };
    let mut sink = house.data.blobs().sink();
    sink.write(&letter.build())?;
    // What becomes of it is on the page; a notice would look as if somebody had written.
    let dsn = Dsn { notify: Some(Notify::default()), orcpt: None };
    let envelope = Envelope {
        origin: Origin {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: settings.hostname.clone(),
            with: "HTTP",
            tls: None,
            account: Some(admin.id),
            listed: false,
        },
        from: Some(admin.address.clone()),
        recipients: vec![Recipient {
            address: to.to_owned(),
            target: Target { local: Vec::new(), outside: vec![to.to_owned()] },
            dsn,
        }],
        utf8: !to.is_ascii(),
        eight_bit: false,
        ret_full: None,
        envid: Some(mark.clone()),
        require_tls: false,
        release: None,
        by: None,
    };
    let intake = Intake::new(house.data.clone(), house.clock.clone(), house.random.clone()).ringing(house.bell.clone());
    let intake = intake.remembering(house.facts().clone());
    let taken = runtime.block_on(intake.take(envelope, sink, &settings.hostname, &Limits::default()));
    Ok(match taken {
        delivery::Outcome::Taken { .. } => Outcome::Posted { mark, at: now },
        _ => Outcome::Refused("the letter could not be put into the queue. Please try again".to_owned()),
    })
}

/// Where the trial letters are that went out.
pub(super) fn going(house: &House) -> Result<Vec<Going>, Error> {
    let ended = house.fates.all().into_iter().map(|fate| {
        let end = match (fate.taken, fate.remote) {
            (true, host) => End::Taken { host: host.unwrap_or_default(), tls: fate.tls, said: fate.said },
            (false, host) => End::Refused { host, said: fate.said },
        };
        Going { mark: fate.envid, way: Way::Ended(end) }
    });
    let mut all: Vec<Going> = ended.collect();
    let entries = queue::list(&house.data.read()?, QueueId(0), QUEUE_MOST);
    for entry in entries.map_err(|error| Error::Words(error.to_string()))? {
        let Some(mark) = entry.envid.filter(|envid| envid.starts_with(TRIAL)) else { continue };
        if let Some(one) = entry.recipients.first()
            && all.iter().all(|going| going.mark != mark)
        {
            all.push(Going { mark, way: Way::Waits { said: one.last.clone(), next: one.due } });
        }
    }
    Ok(all)
}

/// The last letter from outside, in the inbox or put aside.
pub(super) fn arrived(house: &House, account: AccountId) -> Result<Option<Arrived>, Error> {
    let read = house.data.read()?;
    let hostname = house.settings.load().hostname.clone();
    let inbox = mailboxes::mailbox::find(&read, account, "INBOX")?;
    let junk = mailboxes::mailbox::special(&read, account, mailboxes::SpecialUse::Junk)?;
    for (mailbox, is_junk) in [(inbox, false), (junk, true)] {
        let Some(mailbox) = mailbox else { continue };
        let uids = mailboxes::view::all_uids(&read, account, mailbox.id, LETTERS_MOST)?;
        for uid in uids.into_iter().rev().take(10) {
            let head = head(house, account, mailbox.id, uid)?;
            if let Some(arrived) = head.and_then(|head| found(&head, &hostname, is_junk)) {
                return Ok(Some(arrived));
            }
        }
    }
    Ok(None)
}

fn head(house: &House, account: AccountId, mailbox: MailboxId, uid: Uid) -> Result<Option<Vec<u8>>, Error> {
    let read = house.data.read()?;
    let Some(message) = mailboxes::view::message(&read, account, mailbox, uid)? else { return Ok(None) };
    let Some(email) = mailboxes::view::email(&read, account, message.email)? else { return Ok(None) };
    let bytes = house.data.blobs().read(email.blob, 0..HEAD_BYTES.min(email.size))?;
    Ok(Some(bytes.to_vec()))
}

/// `None`: it was not checked, since it came from within, or checks are off.
fn found(head: &[u8], hostname: &str, junk: bool) -> Option<Arrived> {
    let text = |field: header::Field<'_>| String::from_utf8_lossy(&field.value()).into_owned();
    let ours = |value: &str| value.split(';').next().is_some_and(|who| who.trim().eq_ignore_ascii_case(hostname));
    let results =
        header::fields(head).filter(|field| field.is("Authentication-Results")).map(text).find(|value| ours(value))?;
    let received = header::find(head, "Received").map(text).unwrap_or_default();
    let with = received.split_whitespace().skip_while(|word| *word != "with").nth(1).unwrap_or("");
    let from = header::find(head, "From").map(|field| decode::words(&field.value())).unwrap_or_default();
    Some(Arrived {
        from,
        junk,
        // RFC 3848
        tls: with.contains("MTPS"),
        spf: result(&results, "spf", &["smtp.mailfrom", "smtp.helo"]),
        dkim: result(&results, "dkim", &["header.d"]),
        dmarc: result(&results, "dmarc", &["header.from"]),
    })
}

/// Of several results of a method the one that counts most: what passed, then the one about what comes first in `about`.
fn result(results: &str, method: &str, about: &[&str]) -> Found {
    let mut found: Option<(usize, Found)> = None;
    for part in without_comments(results).split(';').skip(1) {
        let mut words = part.split_whitespace();
        let Some(result) = words.next().and_then(|first| first.strip_prefix(method)?.strip_prefix('=')) else {
            continue;
        };
        let property = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((about.iter().position(|one| *one == name)?, value.trim_matches('"').to_owned()))
        };
        let (rank, domain) = words.filter_map(property).min().unwrap_or((about.len(), String::new()));
        let rank = if result == "pass" && method == "dkim" { 0 } else { rank + 1 };
        if found.as_ref().is_none_or(|(least, _)| rank < *least) {
            found = Some((rank, Found { result: result.to_owned(), domain }));
        }
    }
    found.map(|(_, found)| found).unwrap_or_default()
}

fn without_comments(text: &str) -> String {
    let mut depth = 0usize;
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Authentication-Results: mail.smith.test;\r\n\tiprev=fail policy.iprev=192.0.2.7;\r\n\tspf=none \
                        smtp.helo=out.elsewhere.test;\r\n\tspf=pass smtp.mailfrom=elsewhere.test;\r\n\tdkim=fail (bad) \
                        header.d=list.test;\r\n\tdkim=pass header.d=elsewhere.test header.s=s;\r\n\tdmarc=pass (p=none of \
                        elsewhere.test; asked for: none) header.from=elsewhere.test\r\nReceived: from out.elsewhere.test \
                        ([192.0.2.7]) by mail.smith.test (TLSv1.3 X) with ESMTPS id 1; Thu, 26 Nov 2026 22:00:00 +0000\r\nFrom: \
                        =?utf-8?B?VGFudGU=?= <aunt@elsewhere.test>\r\n\r\n";

    #[test]
    fn what_was_written_on_top_of_a_letter_is_read() {
        let arrived = found(HEAD.as_bytes(), "mail.smith.test", false).unwrap();
        let of = |found: &Found| (found.result.clone(), found.domain.clone());
        let pass = ("pass".to_owned(), "elsewhere.test".to_owned());
        assert_eq!([of(&arrived.spf), of(&arrived.dkim), of(&arrived.dmarc)], [pass.clone(), pass.clone(), pass]);
        assert_eq!((arrived.tls, arrived.from.as_str()), (true, "Tante <aunt@elsewhere.test>"));
        let plain = HEAD.replace("with ESMTPS", "with ESMTP").replace("spf=pass", "spf=softfail");
        let arrived = found(plain.as_bytes(), "mail.smith.test", true).unwrap();
        assert_eq!((arrived.tls, arrived.junk, arrived.spf.result.as_str()), (false, true, "softfail"));
        let unsigned = HEAD.replace("dkim=fail (bad) header.d=list.test", "dkim=none").replace("dkim=pass", "x=pass");
        assert_eq!(found(unsigned.as_bytes(), "mail.smith.test", false).unwrap().dkim.result, "none");
        assert_eq!(found(HEAD.as_bytes(), "mail.other.test", false), None, "somebody else's word");
        assert_eq!(found(b"From: a@b.test\r\n\r\n", "mail.smith.test", false), None);
    }
}
