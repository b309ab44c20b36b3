//! The records by which an authority sees that a name is ours (DNS-01), written where all others are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use crate::appliance::dnsguide::is_in;
use crate::cert::{DnsWriter, Written};
use crate::net::dns::{Asker, Change, Data, Kind, Writer, Zone};
use crate::store::schema::Key;
use crate::store::{Order, Read, Table};

use super::super::house::House;
use super::super::verbs::Error;
use super::key::{self, Kept};
use super::{asker, public_zone, zone};

/// For all name servers of a zone to give out a new record; a provider's take a minute or two.
const VISIBLE: Duration = Duration::from_secs(300);
const BETWEEN: Duration = Duration::from_secs(2);
/// Of a record that is there for minutes.
const TTL: u32 = 60;
/// Left-overs that are taken away at a start; the next start takes the next ones.
const LEFT: usize = 100;

/// Writes and removes them. A record is remembered before it is written and forgotten after it is gone, so what a cut leaves
/// behind is taken away at the next start.
pub(in super::super) struct Challenges {
    house: Arc<House>,
}

impl Challenges {
    pub fn new(house: Arc<House>) -> Challenges {
        Challenges { house }
    }

    /// Takes away what is left from before this start. Errors are logged: nobody waits for it.
    pub async fn clean(&self) {
        let left = match tokio::task::block_in_place(|| self.remembered()) {
            Ok(left) => left,
            Err(error) => return warn!(%error, "records for the authority that were left behind are not known"),
        };
        for (name, value) in left {
            match self.remove(&name, &value).await {
                Ok(()) => info!(name, "a record for the authority that was left behind is taken away"),
                Err(why) => warn!(name, why, "a record for the authority that was left behind stays for now"),
            }
        }
    }

    fn remembered(&self) -> Result<Vec<(String, String)>, crate::store::Error> {
        let mut out = Vec::new();
        let read = self.house.data.read()?;
        read.scan(Table::DnsChallenges, &[], &[0xff], Order::Forward, &mut |key, _| {
            let text = String::from_utf8_lossy(key);
            if let Some((name, value)) = text.split_once('\0') {
                out.push((name.to_owned(), value.to_owned()));
            }
            if out.len() < LEFT { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
        })?;
        Ok(out)
    }

    async fn remember(&self, name: &str, value: &str, there: bool) -> Result<(), String> {
        let key = Key::new().text(name).u8(0).text(value).build();
        let done = self.house.data.write(move |txn| {
            if there {
                txn.put(Table::DnsChallenges, &key, Vec::new());
            } else {
                txn.delete(Table::DnsChallenges, &key);
            }
            Ok::<_, Error>(())
        });
        done.await.map(drop).map_err(|error| error.to_string())
    }

    fn means(&self) -> Result<(Asker, Writer), String> {
        Ok((asker(&self.house), tokio::task::block_in_place(|| key::writer(&self.house))?))
    }

    async fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let (asker, writer) = self.means()?;
        let zone = zone(&self.house, &asker, &writer, name).await?;
        self.remember(name, value, true).await?;
        write(&writer, &zone, name, value, true).await?;
        let public = public_zone(&self.house, &asker, &writer, name).await?;
        let began = self.house.clock.mono();
        loop {
            let Some(waiting) = unseen(&asker, &public, name, value).await else { return Ok(()) };
            if self.house.clock.mono().since(began) > VISIBLE.as_millis() as u64 {
                return Err(format!(
                    "the record for the authority is written, and after {} minutes not all of the domain's name servers give \
                     it out: {waiting}",
                    VISIBLE.as_secs() / 60
                ));
            }
            sleep(BETWEEN).await;
        }
    }

    async fn remove(&self, name: &str, value: &str) -> Result<(), String> {
        let (asker, writer) = self.means()?;
        let zone = zone(&self.house, &asker, &writer, name).await?;
        write(&writer, &zone, name, value, false).await?;
        self.remember(name, value, false).await
    }
}

async fn write(writer: &Writer, zone: &Zone, name: &str, value: &str, comes: bool) -> Result<(), String> {
    let data = vec![Data::Txt(value.to_owned())];
    let (add, remove) = if comes { (data, Vec::new()) } else { (Vec::new(), data) };
    let change = Change { name: name.to_owned(), kind: Kind::Txt, before: None, remove, add, ttl: TTL };
    let done = writer.write(&zone.name, &[change]).await;
    done.into_iter().collect::<Result<(), _>>().map_err(|fault| fault.words)
}

/// The first server that does not give it out, in words.
async fn unseen(asker: &Asker, zone: &Zone, name: &str, value: &str) -> Option<String> {
    let answers = asker.ask_all(zone, &[(name.to_owned(), Kind::Txt)]).await;
    let said = answers.into_values().next().unwrap_or_default();
    let wanted = Data::Txt(value.to_owned());
    for (at, server) in zone.servers.iter().enumerate() {
        match said.get(at) {
            Some(Ok(answer)) if answer.records.iter().any(|found| found.data == wanted) => {}
            Some(Err(why)) => return Some(format!("{}: {why}", server.name)),
            _ => return Some(format!("{} does not have it", server.name)),
        }
    }
    None
}

impl DnsWriter for Challenges {
    fn serves(&self, name: &str) -> bool {
        let kept = tokio::task::block_in_place(|| Kept::of(&self.house));
        kept.is_ready() && (kept.dns.zone.is_empty() || is_in(name, &kept.dns.zone))
    }

    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> Written<'a> {
        Box::pin(self.set(name, value))
    }

    fn remove_txt<'a>(&'a self, name: &'a str, value: &'a str) -> Written<'a> {
        Box::pin(self.remove(name, value))
    }
}
