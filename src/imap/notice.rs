//! What is told unasked: that something changed (IDLE), that the log-in is not good any more, or that the server is going down.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Host;
use crate::account::Watcher;
use crate::base::{AccountId, ModSeq};
use crate::directory::{self, Directory};
use crate::proto::imap::Notice;

impl<D: Directory> Host<D> {
    /// May be dropped and called again: all it knows between two calls is the watcher, which reads the ledger anew.
    pub(super) async fn next_notice(&mut self) -> Notice {
        let mut going_down = self.shared.going_down.clone();
        let Some(who) = self.who.as_ref() else {
            // Nobody has logged in: only the end of the server is news.
            let _ = going_down.wait_for(|down| *down).await;
            return Notice::GoingDown;
        };
        let data = &self.shared.data;
        let watcher = self.watcher.get_or_insert_with(|| Watcher::new(data, who.id));
        let seen = self.seen;
        let announced = data.subscribe();
        tokio::select! {
            biased;
            // The sender is gone when the server is.
            _ = going_down.wait_for(|down| *down) => Notice::GoingDown,
            () = sent_away(&*self.shared.directory, who, announced) => Notice::Unwelcome,
            changed = watcher.beyond(seen) => match changed {
                Ok(upto) => Notice::Changed { upto },
                // The account or the store is gone.
                Err(_) => Notice::GoingDown,
            },
        }
    }
}

/// Until the log-in is not good any more (H5). Announcements only wake it; what is true it asks the directory, and the first
/// time when it already hears them.
async fn sent_away<D: Directory>(
    directory: &D,
    who: &directory::Account,
    mut announced: Receiver<(AccountId, ModSeq)>,
) {
    while directory.may_stay(who) {
        loop {
            match announced.recv().await {
                Ok((account, _)) if account != who.id => {}
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                // The store closes, and the server with it.
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}
