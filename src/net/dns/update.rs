//! Records changed at the name server that keeps them (RFC 2136), signed with a key (RFC 8945).
//!
//! Our own and not dns-update's: there a change is two messages, between which a record is missing; nothing is asked to be
//! as it was when the owner looked; and of a refused signature one does not hear why. Here a whole plan is one message,
//! which the server does as a whole or not at all (RFC 2136 3.4.2.7).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::packet::{IN, SOA, number_of, u16_at, wire_data, wire_name};
use super::tsig::{Algorithm, Key, Signed};
use super::write::{Change, Fault};
use super::{Asker, Data, Kind};

/// For the connection, and for the answer: a server signs its zone anew before it answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// RFC 2136 2.4, 2.5.
const ANY: u16 = 255;
const NONE: u16 = 254;
const UPDATE: u16 = 5 << 11;

/// A server that takes updates, and the key for it. It has no `Debug`.
#[derive(Clone)]
pub(super) struct Updater {
    pub server: SocketAddr,
    key: Key,
}

impl Updater {
    /// `None`: the key's name is no name.
    pub fn new(server: SocketAddr, key_name: &str, algorithm: Algorithm, secret: &[u8]) -> Option<Updater> {
        Some(Updater { server, key: Key::new(key_name, algorithm, secret)? })
    }

    /// Does all the changes, or none. `seconds` is the time since 1970.
    pub async fn write(
        &self,
        asker: &Asker,
        id: u16,
        seconds: i64,
        zone: &str,
        changes: &[Change],
    ) -> Result<(), Fault> {
        let mut message = Message::default();
        for change in changes {
            let there = match &change.before {
                Some(before) if !before.is_empty() => self.as_before(asker, change, before).await?,
                _ => Vec::new(),
            };
            message.put(change, &there, changes).ok_or_else(|| {
                Fault::sure(format!("{} {} cannot be written: it is no name or value", change.name, change.kind))
            })?;
        }
        let bytes = message.bytes(id, zone).ok_or_else(|| Fault::sure(format!("{zone} is no zone")))?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        let (signed, mac) = self.key.sign(&bytes, seconds);
        let answer = self.exchange(&signed).await?;
        let place = format!("{} (zone {zone})", self.server);
        judge(&place, id, &answer, self.key.check(&mac, &answer, seconds), seconds)
    }

    /// The records as the server has them, to the byte; they must still say what they said when the plan was made.
    async fn as_before(&self, asker: &Asker, change: &Change, before: &[Data]) -> Result<Vec<(Data, Vec<u8>)>, Fault> {
        let now = asker.set(self.server, &change.name, change.kind).await;
        let now = now.map_err(|why| Fault::sure(format!("{} cannot be asked: {why}", self.server)))?;
        let sorted = |mut all: Vec<Data>| {
            all.sort();
            all.dedup();
            all
        };
        let said = now.iter().map(|(data, _)| data.clone()).collect();
        if sorted(said) == sorted(before.to_vec()) { Ok(now) } else { Err(meanwhile()) }
    }

    async fn exchange(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let server = self.server;
        let reach = timeout(PATIENCE, TcpStream::connect(server)).await;
        let mut stream = reach.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            Fault::sure(format!(
                "the name server {server} cannot be reached ({error}). Nothing was changed. Is it running, and does it take \
                 TCP on that port? Then try again"
            ))
        })?;
        let talk = async {
            let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
            let length = stream.read_u16().await?;
            let mut buffer = vec![0; usize::from(length)];
            stream.read_exact(&mut buffer).await?;
            Ok::<_, io::Error>(buffer)
        };
        timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            Fault::unsure(format!(
                "the name server {server} got the changes and did not answer ({error}); whether it did them will show. Try \
                 again in a minute: what is done is not done twice"
            ))
        })
    }
}

/// The sections of an update.
#[derive(Default)]
struct Message {
    prerequisites: Vec<Vec<u8>>,
    updates: Vec<Vec<u8>>,
}

impl Message {
    /// `None`: something is no name or value.
    fn put(&mut self, change: &Change, there: &[(Data, Vec<u8>)], all: &[Change]) -> Option<()> {
        let name = wire_name(&change.name).filter(|name| name.len() > 1)?;
        let kind = number_of(change.kind);
        let need = &mut self.prerequisites;
        match &change.before {
            None => {}
            // RFC 2136 2.4.5: beside an alias nothing stands, of whichever type; unless we take it away ourselves.
            Some(before) if before.is_empty() && change.kind == Kind::Cname && all_new(&change.name, all) => {
                need.push(record(&name, ANY, NONE, 0, &[]));
            }
            // 2.4.3
            Some(before) if before.is_empty() => need.push(record(&name, kind, NONE, 0, &[])),
            // 2.4.2
            Some(_) => need.extend(there.iter().map(|(_, raw)| record(&name, kind, IN, 0, raw))),
        }
        for data in &change.remove {
            let exact: Vec<&Vec<u8>> = there.iter().filter(|(there, _)| there == data).map(|(_, raw)| raw).collect();
            // 2.5.4
            match exact.as_slice() {
                [] => self.updates.push(record(&name, kind, NONE, 0, &wire_data(data)?)),
                several => self.updates.extend(several.iter().map(|raw| record(&name, kind, NONE, 0, raw))),
            }
        }
        // 2.5.1
        for data in &change.add {
            self.updates.push(record(&name, kind, IN, change.ttl, &wire_data(data)?));
        }
        Some(())
    }

    fn bytes(&self, id: u16, zone: &str) -> Option<Vec<u8>> {
        let zone = wire_name(zone).filter(|name| name.len() > 1)?;
        let counts = [1, self.prerequisites.len(), self.updates.len(), 0];
        let mut out = Vec::new();
        [id, UPDATE].iter().for_each(|word| out.extend(word.to_be_bytes()));
        for count in counts {
            out.extend(u16::try_from(count).ok()?.to_be_bytes());
        }
        out.extend(zone);
        [SOA, IN].iter().for_each(|word| out.extend(word.to_be_bytes()));
        // What goes comes before what comes: one cannot stand beside the other, where it is an alias.
        let (gone, come): (Vec<_>, Vec<_>) = self.updates.iter().partition(|record| is_removal(record));
        self.prerequisites.iter().chain(gone).chain(come).for_each(|record| out.extend(record));
        Some(out)
    }
}

/// Whether nothing is at the name, as far as these changes know.
fn all_new(name: &str, all: &[Change]) -> bool {
    all.iter().filter(|change| change.name == name).all(|change| change.before.as_ref().is_some_and(Vec::is_empty))
}

fn is_removal(record: &[u8]) -> bool {
    let Some((_, after)) = super::packet::name(record, 0) else { return false };
    u16_at(record, after + 2) == Some(NONE)
}

fn record(name: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    [kind, class].iter().for_each(|word| out.extend(word.to_be_bytes()));
    out.extend(ttl.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

fn meanwhile() -> Fault {
    Fault::sure("the records have changed since they were looked at. Nothing was changed: look again")
}

/// What an answer means (RFC 2136 2.2, RFC 8945 5.3).
fn judge(place: &str, id: u16, answer: &[u8], signed: Option<Signed>, now: u64) -> Result<(), Fault> {
    let broken = || Fault::unsure(format!("the name server {place} answers what cannot be used. Try again"));
    let flags = u16_at(answer, 2).filter(|_| u16_at(answer, 0) == Some(id)).ok_or_else(broken)?;
    let signed = signed.ok_or_else(broken)?;
    if flags & 0xf800 != 0x8000 | UPDATE {
        return Err(broken());
    }
    if let Signed::Refused { error, time } = signed {
        return Err(Fault::sure(signature(place, error, time, now)));
    }
    let words = match flags & 0xf {
        // Anybody could say so; only whoever has the key can sign it.
        0 if signed == Signed::Well => return Ok(()),
        0 => {
            return Err(Fault::unsure(format!(
                "the answer of the name server {place} is not signed with our key, so nobody knows whether it did what was \
                 asked. Is that the right server?"
            )));
        }
        1 => format!("the name server {place} does not understand the changes (FORMERR)"),
        2 => format!(
            "the name server {place} has a fault of its own (SERVFAIL); its log says which. Often it may not write the \
             folder of its zones"
        ),
        // 3, 6, 7, 8: something is there that was not, or the other way round.
        3 | 6 | 7 | 8 => return Err(meanwhile()),
        4 => format!("the name server {place} takes no changes this way (NOTIMP)"),
        5 => format!(
            "the name server {place} does not let this key change the zone (REFUSED): allow it there (in BIND allow-update \
             or update-policy), or see in its log which record it does not take"
        ),
        9 => format!(
            "the server {place} does not keep this zone (NOTAUTH): give the address of the zone's primary name server, and \
             see whether the zone is the right one"
        ),
        10 => format!("a name lies outside of the zone that {place} keeps (NOTZONE), so the zone is not the right one"),
        code => format!("the name server {place} answers with the error {code}"),
    };
    Err(Fault::sure(format!("{words}. Nothing was changed")))
}

/// RFC 8945 3, 5.2.
fn signature(place: &str, error: u16, time: Option<u64>, now: u64) -> String {
    match error {
        16 => format!(
            "the name server {place} does not take our signature (BADSIG): the secret is not the one it has. Nothing was \
             changed. Give the secret again"
        ),
        17 => format!(
            "the name server {place} does not know the key (BADKEY): its name or its algorithm is another there. Nothing was \
             changed. Compare the key's name and its algorithm with what stands there"
        ),
        18 => {
            let apart = time.map(|time| format!(" by {} s", time.abs_diff(now))).unwrap_or_default();
            format!(
                "the clocks of the name server {place} and of this machine differ{apart} (BADTIME). Nothing was changed. Set \
                 the clock, then try again"
            )
        }
        22 => format!("the name server {place} wants a longer signature (BADTRUNC). Nothing was changed"),
        error => format!("the name server {place} does not take our signature (error {error}). Nothing was changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, kind: Kind, before: Option<&[Data]>, remove: &[Data], add: &[Data]) -> Change {
        let before = before.map(<[Data]>::to_vec);
        Change { name: name.into(), kind, before, remove: remove.to_vec(), add: add.to_vec(), ttl: 60 }
    }

    fn txt(text: &str) -> Data {
        Data::Txt(text.into())
    }

    #[test]
    fn removals_go_to_the_byte_and_come_before_additions() {
        let (old, new) = (txt("ab"), txt("c"));
        let there = std::slice::from_ref(&old);
        let one = change("a.test", Kind::Txt, Some(there), there, &[new]);
        let mut message = Message::default();
        // As somebody else wrote it: in two strings.
        let raw = vec![1, b'a', 1, b'b'];
        message.put(&one, &[(old.clone(), raw.clone())], std::slice::from_ref(&one)).unwrap();
        let bytes = message.bytes(7, "a.test").unwrap();
        assert_eq!(&bytes[..12], [0, 7, 0x28, 0, 0, 1, 0, 1, 0, 2, 0, 0]);
        let name = wire_name("a.test").unwrap();
        let needed = record(&name, 16, IN, 0, &raw);
        let gone = record(&name, 16, NONE, 0, &raw);
        let come = record(&name, 16, IN, 60, &[1, b'c']);
        assert!(bytes.ends_with(&[needed, gone, come].concat()), "{bytes:?}");
    }

    #[test]
    fn an_alias_needs_a_name_that_is_free() {
        let alias = change("w.a.test", Kind::Cname, Some(&[]), &[], &[Data::Cname("m.a.test".into())]);
        let mut message = Message::default();
        message.put(&alias, &[], std::slice::from_ref(&alias)).unwrap();
        assert_eq!(message.prerequisites, [record(&wire_name("w.a.test").unwrap(), ANY, NONE, 0, &[])]);
        // In place of an address of ours.
        let address = Data::A([192, 0, 2, 1].into());
        let there = std::slice::from_ref(&address);
        let all = [alias, change("w.a.test", Kind::A, Some(there), there, &[])];
        let mut message = Message::default();
        message.put(&all[0], &[], &all).unwrap();
        assert_eq!(message.prerequisites, [record(&wire_name("w.a.test").unwrap(), 5, NONE, 0, &[])]);
    }

    #[test]
    fn each_refusal_has_its_words_and_says_that_nothing_was_changed() {
        let answer = |code: u8| vec![0, 7, 0xa8, code, 0, 0, 0, 0, 0, 0, 0, 0];
        let said = |code, signed| judge("192.0.2.53:53 (zone a.test)", 7, &answer(code), Some(signed), 1000);
        assert_eq!(said(0, Signed::Well), Ok(()));
        for (code, part) in [(2, "SERVFAIL"), (5, "REFUSED"), (9, "NOTAUTH"), (10, "NOTZONE"), (8, "look again")] {
            let fault = said(code, Signed::Well).unwrap_err();
            assert!(fault.words.contains(part) && fault.words.contains("Nothing was changed"), "{fault:?}");
            assert!(fault.certain);
        }
        for (error, time, part) in [(16, None, "secret"), (17, None, "algorithm"), (18, Some(4600), "clock by 3600 s")]
        {
            let fault = said(9, Signed::Refused { error, time }).unwrap_err();
            let words = fault
                .words
                .replace("clocks of the name server 192.0.2.53:53 (zone a.test) and of this machine differ", "clock");
            assert!(words.contains(part) && fault.certain, "{words}");
        }
        for signed in [Signed::Not, Signed::Badly] {
            assert!(!said(0, signed).unwrap_err().certain, "it may have been done");
        }
        assert!(
            !judge("x", 8, &answer(0), Some(Signed::Well), 0).unwrap_err().certain,
            "an answer to another question"
        );
    }
}
