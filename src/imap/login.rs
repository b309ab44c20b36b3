//! LOGIN and AUTHENTICATE: who it is, asked of the directory.

use std::time::Duration;

use super::{Host, Shared};
use crate::directory::{Directory, login};
use crate::proto::sasl::{SaslAnswer, SaslAsk};

impl<D: Directory> Host<D> {
    pub(super) async fn sasl(&mut self, step: SaslAsk) -> SaslAnswer {
        let (answer, account) = {
            let Shared { directory, random, throttle, clock, .. } = &*self.shared;
            login::answer_program(&**directory, &**random, throttle, &**clock, self.peer, step).await
        };
        if account.is_some() {
            self.watcher = None;
            self.who = account;
        }
        if answer == SaslAnswer::Rejected {
            // Guessing passwords takes longer with each wrong one.
            let wait = self.shared.refusal_ms.saturating_mul(1 << self.refused.min(3));
            self.refused = self.refused.saturating_add(1);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        answer
    }
}
