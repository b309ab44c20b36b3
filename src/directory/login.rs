//! A SASL exchange's questions, answered from the directory: the same for every protocol.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{Clock, Random};
use crate::proto::sasl::{self, Identity, Proof, SaslAnswer, SaslAsk, ScramKeys};

use super::{Account, DeviceKeys, Directory, Error, Throttle};

/// The same for a mail program, which may also have the password of a device (U8).
pub async fn answer_program<D: Directory>(
    directory: &D,
    random: &dyn Random,
    throttle: &Throttle,
    clock: &dyn Clock,
    peer: IpAddr,
    question: SaslAsk,
) -> (SaslAnswer, Option<Account>) {
    match &question {
        SaslAsk::Password { user, password } => {
            if throttle.may_be_quick(peer, user, clock.mono())
                && let Ok(Some((account, device))) = directory.device(user, password)
                && throttle.is_welcome(peer, user, account.id, clock.mono())
            {
                return device_accepted(directory, throttle, clock, peer, account, device);
            }
        }
        SaslAsk::Keys { user } => return (keys(directory, random, user, true).await, None),
        SaslAsk::Verdict { .. } => {}
    }
    answer_any(directory, random, throttle, clock, peer, question, true).await
}

fn device_accepted<D: Directory>(
    directory: &D,
    throttle: &Throttle,
    clock: &dyn Clock,
    peer: IpAddr,
    mut account: Account,
    device: u32,
) -> (SaslAnswer, Option<Account>) {
    // One that has just been removed is let in, and finds with its first command that it may not stay.
    account.pass = directory.pass(account.id, Some(device)).ok().flatten().unwrap_or_default();
    throttle.succeeded(peer, account.id, clock.mono());
    directory.device_has_logged_in(account.id, device);
    accepted(directory, account)
}

/// Answers one question of this peer, about people and their pass phrases. With [`SaslAnswer::Accepted`] comes the account. An address that has guessed often
/// waits its turn first; how long a refusal takes beyond that is the caller's.
pub async fn answer<D: Directory>(
    directory: &D,
    random: &dyn Random,
    throttle: &Throttle,
    clock: &dyn Clock,
    peer: IpAddr,
    question: SaslAsk,
) -> (SaslAnswer, Option<Account>) {
    answer_any(directory, random, throttle, clock, peer, question, false).await
}

async fn answer_any<D: Directory>(
    directory: &D,
    random: &dyn Random,
    throttle: &Throttle,
    clock: &dyn Clock,
    peer: IpAddr,
    question: SaslAsk,
    program: bool,
) -> (SaslAnswer, Option<Account>) {
    if let SaslAsk::Password { user, password } = &question
        && throttle.may_be_quick(peer, user, clock.mono())
        && let Some(account) = directory.remembers(user, password)
        && throttle.is_welcome(peer, user, account.id, clock.mono())
    {
        throttle.succeeded(peer, account.id, clock.mono());
        return accepted(directory, account);
    }
    let user = match &question {
        SaslAsk::Password { user, .. } | SaslAsk::Keys { user } | SaslAsk::Verdict { user, .. } => user.clone(),
    };
    if !matches!(question, SaslAsk::Keys { .. }) {
        match throttle.wait(peer, &user, clock.mono()) {
            Some(0) => {}
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => return (SaslAnswer::Unavailable, None),
        }
    }
    let found = match question {
        SaslAsk::Password { user, password } => {
            if program && let Ok(Some((account, device))) = directory.device(&user, &password) {
                return device_accepted(directory, throttle, clock, peer, account, device);
            }
            directory.authenticate(&user, &password).await
        }
        SaslAsk::Keys { user } => return (keys(directory, random, &user, false).await, None),
        SaslAsk::Verdict { user, proved: Some(by) } => match (directory.account(&user).await, by) {
            (Ok(Some(account)), Proof::Device(device)) => {
                return device_accepted(directory, throttle, clock, peer, account, device);
            }
            (found, _) => found,
        },
        SaslAsk::Verdict { proved: None, .. } => Ok(None),
    };
    match found {
        Ok(Some(account)) => {
            throttle.succeeded(peer, account.id, clock.mono());
            accepted(directory, account)
        }
        Ok(None) => {
            throttle.failed(peer, &user, clock.mono());
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

/// Those of devices only for who may log in by them.
async fn keys<D: Directory>(directory: &D, random: &dyn Random, user: &str, program: bool) -> SaslAnswer {
    match directory.scram_keys(user).await {
        Ok(keys) => {
            let mut nonce = [0u8; 18];
            random.fill(&mut nonce);
            SaslAnswer::Keys(ScramKeys {
                salt: keys.salt,
                iterations: keys.iterations,
                stored_key: keys.stored_key,
                server_key: keys.server_key,
                devices: keys.devices.into_iter().filter(|_| program).map(of_device).collect(),
                nonce: sasl::encode(&nonce),
            })
        }
        Err(error) => unavailable(&error),
    }
}

fn of_device(keys: DeviceKeys) -> sasl::DeviceKeys {
    sasl::DeviceKeys { device: keys.device, stored_key: keys.stored_key, server_key: keys.server_key }
}

fn unavailable(error: &Error) -> SaslAnswer {
    tracing::warn!(%error, "a log-in could not be checked");
    SaslAnswer::Unavailable
}
