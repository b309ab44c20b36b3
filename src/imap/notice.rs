//! What is told unasked: that something changed (IDLE), or that the server is going down.

use super::Host;
use crate::account::Watcher;
use crate::directory::Directory;
use crate::proto::imap::Notice;

impl<D: Directory> Host<D> {
    /// May be dropped and called again: all it knows between two calls is the watcher, which reads the ledger anew.
    pub(super) async fn next_notice(&mut self) -> Notice {
        let mut going_down = self.shared.going_down.clone();
        let Ok(account) = self.account() else {
            // Nobody has logged in: only the end of the server is news.
            let _ = going_down.wait_for(|down| *down).await;
            return Notice::GoingDown;
        };
        let data = &self.shared.data;
        let watcher = self.watcher.get_or_insert_with(|| Watcher::new(data, account));
        let seen = self.seen;
        tokio::select! {
            biased;
            // The sender is gone when the server is.
            _ = going_down.wait_for(|down| *down) => Notice::GoingDown,
            changed = watcher.beyond(seen) => match changed {
                Ok(upto) => Notice::Changed { upto },
                // The account or the store is gone.
                Err(_) => Notice::GoingDown,
            },
        }
    }
}
