//! A SASL exchange's questions, answered from the directory: the same for every protocol.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{Clock, Random};
use crate::proto::sasl::{self, Identity, SaslAnswer, SaslAsk, ScramKeys};

use super::{Account, Directory, Error, Throttle};

/// Answers one question of this peer. With [`SaslAnswer::Accepted`] comes the account. An address that has guessed often
/// waits its turn first; how long a refusal takes beyond that is the caller's.
pub async fn answer<D: Directory>(
    directory: &D,
    random: &dyn Random,
    throttle: &Throttle,
    clock: &dyn Clock,
    peer: IpAddr,
    question: SaslAsk,
) -> (SaslAnswer, Option<Account>) {
    if let SaslAsk::Password { user, password } = &question
        && throttle.may_be_quick(peer, clock.mono())
        && let Some(account) = directory.remembers(user, password)
        && throttle.is_welcome(peer, account.id, clock.mono())
    {
        throttle.succeeded(peer, account.id, clock.mono());
        return accepted(directory, account);
    }
    if !matches!(question, SaslAsk::Keys { .. }) {
        match throttle.wait(peer, clock.mono()) {
            Some(0) => {}
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => return (SaslAnswer::Unavailable, None),
        }
    }
    let found = match question {
        SaslAsk::Password { user, password } => directory.authenticate(&user, &password).await,
        SaslAsk::Keys { user } => return (keys(directory, random, &user).await, None),
        SaslAsk::Verdict { user, proved: true } => directory.account(&user).await,
        SaslAsk::Verdict { proved: false, .. } => Ok(None),
    };
    match found {
        Ok(Some(account)) => {
            throttle.succeeded(peer, account.id, clock.mono());
            accepted(directory, account)
        }
        Ok(None) => {
            throttle.failed(peer, clock.mono());
            (SaslAnswer::Rejected, None)
        }
        Err(error) => (unavailable(&error), None),
    }
}

fn accepted<D: Directory>(directory: &D, account: Account) -> (SaslAnswer, Option<Account>) {
    directory.has_logged_in(&account);
    let who = Identity { account: account.id.0, address: account.address.clone() };
    (SaslAnswer::Accepted(who), Some(account))
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
