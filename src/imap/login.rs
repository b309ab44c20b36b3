//! LOGIN and AUTHENTICATE: who it is, asked of the directory.

use std::time::Duration;

use super::Host;
use crate::directory::{self, Directory};
use crate::proto::sasl::{self, Identity, SaslAnswer, SaslAsk, ScramKeys};

impl<D: Directory> Host<D> {
    pub(super) async fn sasl(&mut self, step: SaslAsk) -> SaslAnswer {
        match step {
            SaslAsk::Password { user, password } => {
                let found = self.shared.directory.authenticate(&user, &password).await;
                self.verdict(found).await
            }
            SaslAsk::Keys { user } => match self.shared.directory.scram_keys(&user).await {
                Ok(keys) => {
                    let mut nonce = [0u8; 18];
                    self.shared.random.fill(&mut nonce);
                    SaslAnswer::Keys(ScramKeys {
                        salt: keys.salt,
                        iterations: keys.iterations,
                        stored_key: keys.stored_key,
                        server_key: keys.server_key,
                        nonce: sasl::encode(&nonce),
                    })
                }
                Err(_) => SaslAnswer::Unavailable,
            },
            SaslAsk::Verdict { user, proved: true } => {
                let found = self.shared.directory.account(&user).await;
                self.verdict(found).await
            }
            SaslAsk::Verdict { proved: false, .. } => self.verdict(Ok(None)).await,
        }
    }

    async fn verdict(&mut self, found: Result<Option<directory::Account>, directory::Error>) -> SaslAnswer {
        match found {
            Ok(Some(account)) => {
                let who = Identity { account: account.id.0, address: account.address.clone() };
                self.watcher = None;
                self.who = Some(account);
                SaslAnswer::Accepted(who)
            }
            Ok(None) => {
                // Guessing passwords takes longer with each wrong one.
                let wait = self.shared.refusal_ms.saturating_mul(1 << self.refused.min(3));
                self.refused = self.refused.saturating_add(1);
                tokio::time::sleep(Duration::from_millis(wait)).await;
                SaslAnswer::Rejected
            }
            Err(_) => SaslAnswer::Unavailable,
        }
    }
}
