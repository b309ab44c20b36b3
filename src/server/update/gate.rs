//! The health gate: what a new version has to do before it is confirmed. Everything is asked as a client would, over the ports,
//! from this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::account;
use crate::base::AccountId;
use crate::directory::manage;
use crate::message::date::{self, Date};
use crate::net::probe::{self, Turn};
use crate::queue;
use crate::settings::{Name, Settings};

use super::super::doors::Shift;
use super::super::house::House;

/// For one conversation; a Raspberry Pi that just started is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than the letter is.
const LETTER_BYTES: u64 = 4096;

/// Errors: what does not work, in words.
pub(super) async fn pass(house: &Arc<House>, shift: Shift, version: &str) -> Result<(), String> {
    let settings = house.settings.load_full();
    for (name, listener) in settings.listeners.all() {
        if listener.on {
            let to = address(listener.port, shift).ok_or_else(|| format!("{name}: no such port"))?;
            let turns = greeting(name, &settings);
            probe::talk(to, name.implicit_tls(), &turns, PATIENCE).await.map_err(|why| format!("{name}: {why}"))?;
            info!("{name} answers");
        }
    }
    if settings.listeners.smtp.on {
        letter(house, &settings, shift, version).await?;
        info!("a letter arrived");
    }
    let own = house.clone();
    let findings = tokio::task::spawn_blocking(move || stores(&own)).await;
    let findings = findings.unwrap_or_else(|_| Err("the check of the stores fell".to_owned()))?;
    match findings.first() {
        None => Ok(()),
        Some(first) => Err(format!("the stores are not as they should be: {first}")),
    }
}

fn address(port: u16, shift: Shift) -> Option<SocketAddr> {
    let here = shift.bind.filter(IpAddr::is_loopback).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Some(SocketAddr::new(here, port.checked_add(shift.offset)?))
}

fn greeting(name: Name, settings: &Settings) -> Vec<Turn> {
    let turn = |say: String, expect| Turn { say, expect };
    match name {
        Name::Smtp | Name::Submission | Name::Submissions => vec![
            turn(String::new(), "220"),
            turn(format!("EHLO {}\r\n", settings.hostname), "250"),
            turn("QUIT\r\n".to_owned(), "221"),
        ],
        Name::Imap | Name::Imaps => vec![turn(String::new(), "* OK"), turn("a LOGOUT\r\n".to_owned(), "* BYE")],
        Name::Https => {
            vec![turn(
                format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", settings.hostname),
                "HTTP/1.1 ",
            )]
        }
    }
}

/// To an administrator, for whom it is the news as well. A full mailbox says nothing against a version.
async fn letter(house: &Arc<House>, settings: &Settings, shift: Shift, version: &str) -> Result<(), String> {
    let Some((id, to)) = in_store(house, reader).await? else {
        info!("no mailbox has room for a letter, so none is tried");
        return Ok(());
    };
    let before = in_store(house, move |house| change(house, id)).await?;
    let host = &settings.hostname;
    let date = date::rfc5322(Date::utc(house.clock.now()));
    let text = format!(
        "Date: {date}\r\nFrom: homepost <postmaster@{host}>\r\nTo: <{to}>\r\nSubject: Your homepost was updated\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Version {version} was put on your homepost, and works: this letter came by it.\r\n.\r\n"
    );
    let turn = |say: String, expect| Turn { say, expect };
    let turns = [
        turn(String::new(), "220"),
        turn(format!("EHLO {host}\r\n"), "250"),
        turn("MAIL FROM:<>\r\n".to_owned(), "250"),
        turn(format!("RCPT TO:<{to}>\r\n"), "250"),
        turn("DATA\r\n".to_owned(), "354"),
        turn(text, "250"),
        turn("QUIT\r\n".to_owned(), "221"),
    ];
    let smtp = address(settings.listeners.smtp.port, shift).ok_or("smtp: no such port")?;
    probe::talk(smtp, false, &turns, PATIENCE).await.map_err(|why| format!("a letter to {to} is not taken: {why}"))?;
    // The 250 came after its commit.
    let after = in_store(house, move |house| change(house, id)).await?;
    if after > before { Ok(()) } else { Err(format!("a letter to {to} was taken and did not arrive")) }
}

/// Whose mailbox has room for the letter: an administrator, if one has.
fn reader(house: &House) -> Result<Option<(AccountId, String)>, String> {
    let read = house.data.read().map_err(|error| error.to_string())?;
    let mut all = manage::account::list(&read).map_err(|error| error.to_string())?;
    all.retain(|one| !one.disabled && !one.closing);
    all.sort_by_key(|one| !one.administrator);
    let room = |id, quota| account::quota::check(&read, id, LETTER_BYTES, quota).is_ok();
    Ok(all.into_iter().find(|one| room(one.id, one.quota)).map(|one| (one.id, one.address)))
}

/// The last change of any mailbox.
fn change(house: &House, id: AccountId) -> Result<u64, String> {
    let read = house.data.read().map_err(|error| error.to_string())?;
    let all = account::mailbox::all(&read, id).map_err(|error| error.to_string())?;
    Ok(all.into_iter().map(|mailbox| mailbox.modseq.0).max().unwrap_or(0))
}

fn stores(house: &House) -> Result<Vec<String>, String> {
    let mut findings: Vec<String> = Vec::new();
    let data = house.data.check().map_err(|error| error.to_string())?;
    findings.extend(data.iter().map(ToString::to_string));
    let accounts = account::check_all(&house.data, false).map_err(|error| error.to_string())?;
    findings.extend(accounts.iter().map(ToString::to_string));
    let read = house.data.read().map_err(|error| error.to_string())?;
    findings.extend(queue::check(&read).map_err(|error| error.to_string())?.iter().map(ToString::to_string));
    Ok(findings)
}

async fn in_store<T, F>(house: &Arc<House>, work: F) -> Result<T, String>
where
    F: FnOnce(&House) -> Result<T, String> + Send + 'static,
    T: Send + 'static,
{
    let house = house.clone();
    tokio::task::spawn_blocking(move || work(&house)).await.unwrap_or_else(|_| Err("a mistake of ours".to_owned()))
}
