//! What strangers have to go through before what they bring is looked at: how often they come, block lists, greylisting.
//! What is spam comes later.
//!
//! Does not know: where mail comes from or goes, in whose words a refusal is said, accounts.
//!
//! Invariants, cited by tests:
//! - F1: whatever is not known (a list that does not answer, a fact that was forgotten) speaks against nobody.
//! - F2: who keeps knocking is asked to come again (4xx), so a letter of somebody else behind the same address is late at
//!   most; only a block list says no.

mod greylist;
mod lists;
mod pace;

use std::net::IpAddr;
use std::sync::Arc;

use crate::base::Clock;
use crate::mailauth::Names;
use crate::store::lookup::Lookup;

pub use greylist::Said;
pub use lists::{Hit, Listing, Lists, listing, question};
pub use pace::{Limits, Pace};

/// What is known of strangers: kept while the server runs, whatever its settings become. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pace: Pace,
    lists: Arc<Lists>,
}

/// How strangers are met.
#[derive(Clone)]
pub struct Guard {
    pub memory: Memory,
    pub limits: Limits,
    /// Block lists that are asked, by their names.
    pub lists: Vec<String>,
    /// Who is on one of them is refused; else what they bring is junk.
    pub refuse: bool,
    /// Where first letters have to come again: the facts that say who did. Opening them may block on the disk.
    pub greylist: Option<Arc<dyn Fn() -> Arc<dyn Lookup> + Send + Sync>>,
    /// Whom to ask, as it is now.
    pub names: Arc<dyn Fn() -> Option<Arc<dyn Names>> + Send + Sync>,
}

impl Guard {
    /// A connection; false if the address has come too often.
    pub fn came(&self, peer: IpAddr, clock: &dyn Clock) -> bool {
        is_near(peer) || self.memory.pace.came(peer, self.limits, clock.mono())
    }

    /// So many commands more; false if they are too many.
    pub fn said(&self, peer: IpAddr, commands: u64, clock: &dyn Clock) -> bool {
        is_near(peer) || self.memory.pace.said(peer, commands, self.limits, clock.mono())
    }

    /// False if the address has asked for too many that do not live here.
    pub fn may_ask(&self, peer: IpAddr, clock: &dyn Clock) -> bool {
        is_near(peer) || self.memory.pace.may_ask(peer, self.limits, clock.mono())
    }

    pub fn asked_for_nobody(&self, peer: IpAddr, clock: &dyn Clock) {
        self.memory.pace.asked_for_nobody(peer, clock.mono());
    }

    /// The list that names the address, if one does.
    pub async fn listed(&self, peer: IpAddr, clock: &dyn Clock) -> Option<Hit> {
        if self.lists.is_empty() || is_near(peer) {
            return None;
        }
        let names = (self.names)()?;
        self.memory.lists.look(&*names, &self.lists, peer, clock.mono()).await
    }

    /// Whether the first letter of this kind is taken now.
    pub async fn greets(&self, peer: IpAddr, from: Option<&str>, to: &str, clock: &dyn Clock) -> Said {
        let Some(open) = self.greylist.clone().filter(|_| !is_near(peer)) else { return Said::Welcome };
        let (from, to, now) = (from.unwrap_or_default().to_owned(), to.to_owned(), clock.now());
        let asked = tokio::task::spawn_blocking(move || greylist::ask(&*open(), peer, &from, &to, now));
        // F1
        asked.await.unwrap_or(Said::Welcome)
    }
}

/// This machine, or one of the same house: no list knows these addresses. A router or a tunnel that writes its own address over
/// the sender's makes one of all the world, and nobody may be kept out for what somebody else did (F2).
fn is_near(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(four) => four.is_loopback() || four.is_private() || four.is_link_local(),
        IpAddr::V6(six) => six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local(),
    }
}
