//! A SASL exchange's questions, answered from the directory: the same for every protocol.

use crate::base::Random;
use crate::proto::sasl::{self, Identity, SaslAnswer, SaslAsk, ScramKeys};

use super::{Account, Directory, Error};

/// Answers one question. With [`SaslAnswer::Accepted`] comes the account. How long a refusal takes is the caller's.
pub async fn answer<D: Directory>(
    directory: &D,
    random: &dyn Random,
    question: SaslAsk,
) -> (SaslAnswer, Option<Account>) {
    let found = match question {
        SaslAsk::Password { user, password } => directory.authenticate(&user, &password).await,
        SaslAsk::Keys { user } => return (keys(directory, random, &user).await, None),
        SaslAsk::Verdict { user, proved: true } => directory.account(&user).await,
        SaslAsk::Verdict { proved: false, .. } => Ok(None),
    };
    match found {
        Ok(Some(account)) => {
            let who = Identity { account: account.id.0, address: account.address.clone() };
            (SaslAnswer::Accepted(who), Some(account))
        }
        Ok(None) => (SaslAnswer::Rejected, None),
        Err(error) => (unavailable(&error), None),
    }
}

async fn keys<D: Directory>(directory: &D, random: &dyn Random, user: &str) -> SaslAnswer {
    match directory.scram_keys(user).await {
        Ok(keys) => {
            let mut nonce = [0u8; 18];
            random.fill(&mut nonce);
            SaslAnswer::Keys(ScramKeys {
                salt: keys.salt,
                iterations: keys.iterations,
                stored_key: keys.stored_key,
                server_key: keys.server_key,
                nonce: sasl::encode(&nonce),
            })
        }
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &Error) -> SaslAnswer {
    tracing::warn!(%error, "a log-in could not be checked");
    SaslAnswer::Unavailable
}
