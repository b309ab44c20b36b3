//! The household for the pages and programs on 443: each wish is a verb of the command line, run on this house.

mod backups;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::appliance::forgotten::{Forgotten, Tried};
use crate::appliance::machine::Machine;
use crate::appliance::wizard::{Refusal, Relay as NewRelay, Secret as Kept, span};
use crate::appliance::writing::{Method, NewMethod, Wish, Work, Writing};
use crate::base::{AccountId, Family, QueueId};
use crate::directory::manage::{device, invitation, token};
use crate::directory::{self, login};
use crate::proto::sasl::{SaslAnswer, SaslAsk};
use crate::queue;
use crate::settings::Settings;
use crate::web::admin::{
    Act, Alias, Backups, Bearer, Certificate, Checked, Device, Domain, Error, Household, Later, Letter, Link, NewSheet,
    Person, Port, Problem, Record, Relay, Reports, Secret, Standing, Token, Updates,
};

use super::dns::{self, How};
use super::house::House;
use super::limits;
use super::relays;
use super::serve::Told;
use super::stick;
use super::verbs::{self, QueueAct, Reply, Request, Secret as Password, link_of, new_link, profile_link_of};

/// A page that takes longer says what is being done.
const BACKUP_PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Steward {
    house: Arc<House>,
    tell: mpsc::UnboundedSender<Told>,
    forgotten: Forgotten,
    sheets: backups::Sheets,
    machine: Arc<dyn Machine>,
}

impl Steward {
    pub fn new(house: Arc<House>, machine: Arc<dyn Machine>, tell: mpsc::UnboundedSender<Told>) -> Steward {
        Steward { house, tell, forgotten: Forgotten::default(), sheets: backups::Sheets::default(), machine }
    }

    /// Runs a verb, and gives its reply as it is for scripts.
    fn run(&self, request: Request) -> Result<Reply, Error> {
        let reply = verbs::attempt(&self.house, &request).map_err(error_of)?;
        match (&reply.error, reply.json.is_null()) {
            (Some(error), true) => Err(Error::Refused(error.clone())),
            // There is something to show all the same.
            _ => Ok(reply),
        }
    }

    fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        read(self.run(request)?.json)
    }

    fn tell(&self, request: Request) -> Result<(), Error> {
        self.run(request).map(drop)
    }

    fn standing_of(&self, id: AccountId) -> Result<Option<Standing>, Error> {
        let standing = self.house.directory.standing(id).map_err(|error| error_of(error.into()))?;
        Ok(standing.map(|standing| Standing {
            id: standing.id.0,
            address: standing.address,
            name: standing.name,
            administrator: standing.administrator,
            fingerprint: standing.fingerprint,
        }))
    }

    /// A reply that holds everything but the link itself, and that.
    fn linked(&self, request: Request, link: &Password) -> Result<Link, Error> {
        let mut made: Link = self.ask(request)?;
        made.link = link_of(&self.house.settings.load(), link);
        Ok(made)
    }
}

fn read<T: DeserializeOwned>(json: Value) -> Result<T, Error> {
    serde_json::from_value(json).map_err(|error| Error::Own(format!("a verb's reply is not as it should be: {error}")))
}

/// Whose fault it is, as far as a page or a program has to know.
fn error_of(error: verbs::Error) -> Error {
    use directory::Error as Of;
    let words = error.to_string();
    match (&error, error.family()) {
        (_, Family::Own) => Error::Own(words),
        (_, Family::World) => Error::Unavailable(words),
        (verbs::Error::Directory(of), Family::Peer) => match of {
            Of::NoSuchAccount(_)
            | Of::NoSuchDomain(_)
            | Of::NoSuchAlias(_)
            | Of::NoSuchInvitation
            | Of::NoSuchToken(_) => Error::Missing(words),
            Of::Exists(_) | Of::InUse(_) => Error::Conflict(words),
            _ => Error::Refused(words),
        },
        _ => Error::Refused(words),
    }
}

impl Household for Steward {
    fn language(&self) -> String {
        self.house.settings.load().language.clone()
    }

    fn hostname(&self) -> String {
        self.house.settings.load().hostname.clone()
    }

    fn time_zone(&self) -> String {
        self.house.settings.load().time_zone.clone()
    }

    fn sign_in(&self, peer: IpAddr, address: String, phrase: Secret) -> Later<'_, Result<Option<Standing>, Error>> {
        Box::pin(async move {
            let house = &self.house;
            let throttle = limits::throttle(&house.throttle, &house.settings.load());
            let question = SaslAsk::Password { user: address, password: phrase.0 };
            let answered =
                login::answer(&*house.directory, &*house.random, &throttle, &*house.clock, peer, question).await;
            match answered {
                (SaslAnswer::Accepted(_), Some(account)) => self.standing_of(account.id),
                (SaslAnswer::Unavailable, _) => Err(Error::Unavailable(
                    "Too many log-ins wait to be checked. Please try again in a minute.".to_owned(),
                )),
                _ => {
                    tokio::time::sleep(Duration::from_millis(limits::REFUSAL_MS)).await;
                    Ok(None)
                }
            }
        })
    }

    fn recover(&self, address: &str, proof: &Secret) -> Result<Option<Secret>, Error> {
        let sheet = self.house.folder.recovery().map_err(|error| Error::Own(format!("recovery: {error}")))?;
        match self.forgotten.looks(&proof.0, sheet.as_deref(), &*self.machine, self.house.clock.mono()) {
            Tried::TooSoon(left) => {
                return Err(Error::Unavailable(format!(
                    "Too many wrong tries. The next one is possible in {}.",
                    span(left)
                )));
            }
            Tried::Wrong => return Ok(None),
            Tried::Right => {}
        }
        tracing::warn!("somebody proved to be the administrator, and may choose a new pass phrase");
        match self.person(address) {
            Ok(person) if person.administrator && !person.disabled => {
                let link = new_link(&*self.house.random);
                self.run(Request::AccountLink { address: person.address, link: link.clone() })?;
                Ok(Some(Secret(link.0)))
            }
            Ok(_) | Err(Error::Missing(_) | Error::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn show_code(&self) -> Result<(), Error> {
        use crate::appliance::machine::Error as Of;
        let shown = self.forgotten.show(
            "Code for a new pass phrase",
            &*self.machine,
            &*self.house.random,
            self.house.clock.mono(),
        );
        shown.map_err(|error| match error {
            Of::NoBox => Error::Refused(
                "This is a computer with other things on it, so homepost has no screen here. Who may use its command line sets a \
                 new pass phrase with: homepost account password"
                    .to_owned(),
            ),
            Of::Refused(words) | Of::Failed(words) => Error::Unavailable(words),
        })
    }

    fn erase(&self) -> Result<(), Error> {
        self.machine.erase().map_err(|error| Error::Refused(error.to_string()))
    }

    fn standing(&self, id: u32) -> Result<Option<Standing>, Error> {
        self.standing_of(AccountId(id))
    }

    fn people(&self) -> Result<Vec<Person>, Error> {
        self.ask(Request::AccountList)
    }

    fn person(&self, address: &str) -> Result<Person, Error> {
        self.ask(Request::AccountShow { address: address.to_owned() })
    }

    fn add(&self, address: &str, name: Option<&str>, quota: Option<u64>, phrase: &Secret) -> Result<(), Error> {
        let (address, name) = (address.to_owned(), name.map(str::to_owned));
        self.tell(Request::AccountAdd { address, name, quota, password: Password(phrase.0.clone()) })
    }

    fn invite(&self, address: &str, name: Option<&str>, quota: Option<u64>) -> Result<Link, Error> {
        let link = new_link(&*self.house.random);
        let (address, name) = (address.to_owned(), name.map(str::to_owned));
        self.linked(Request::AccountInvite { address, name, quota, link: link.clone() }, &link)
    }

    fn link(&self, address: &str) -> Result<Link, Error> {
        let link = new_link(&*self.house.random);
        self.linked(Request::AccountLink { address: address.to_owned(), link: link.clone() }, &link)
    }

    fn invited(&self, link: &Secret) -> Result<Option<Person>, Error> {
        let find = || {
            let read = self.house.data.read()?;
            Ok(invitation::find(&read, &invitation::digest(&link.0), self.house.clock.now())?)
        };
        find().map_err(error_of)?.map(|shown| self.person(&shown.address)).transpose()
    }

    fn accept(&self, link: &Secret, phrase: &Secret) -> Result<String, Error> {
        let (link, password) = (Password(link.0.clone()), Password(phrase.0.clone()));
        let reply = self.run(Request::AccountAccept { link, password })?;
        read(reply.json["address"].clone())
    }

    fn set_phrase(&self, address: &str, phrase: &Secret) -> Result<(), Error> {
        let password = Password(phrase.0.clone());
        self.tell(Request::AccountPassword { address: address.to_owned(), password, own: false })
    }

    fn change_phrase(&self, address: &str, phrase: &Secret) -> Result<(), Error> {
        let password = Password(phrase.0.clone());
        self.tell(Request::AccountPassword { address: address.to_owned(), password, own: true })
    }

    fn set_quota(&self, address: &str, quota: Option<u64>) -> Result<(), Error> {
        self.tell(Request::AccountQuota { address: address.to_owned(), quota })
    }

    fn set_administrator(&self, address: &str, on: bool) -> Result<(), Error> {
        self.tell(Request::AccountAdministrator { address: address.to_owned(), on })
    }

    fn leave(&self, address: &str) -> Result<(), Error> {
        self.tell(Request::AccountLeave { address: address.to_owned() })
    }

    fn keep(&self, address: &str) -> Result<(), Error> {
        self.tell(Request::AccountKeep { address: address.to_owned() })
    }

    fn resume(&self, address: &str) -> Result<(), Error> {
        self.tell(Request::AccountResume { address: address.to_owned() })
    }

    fn aliases(&self) -> Result<Vec<Alias>, Error> {
        self.ask(Request::AliasList)
    }

    fn add_alias(&self, alias: &str, targets: &[String]) -> Result<Alias, Error> {
        self.ask(Request::AliasAdd { alias: alias.to_owned(), targets: targets.to_vec() })
    }

    fn delete_alias(&self, alias: &str) -> Result<(), Error> {
        self.tell(Request::AliasDelete { alias: alias.to_owned() })
    }

    fn domains(&self) -> Result<Vec<Domain>, Error> {
        self.ask(Request::DomainList)
    }

    fn add_domain(&self, domain: &str) -> Result<Domain, Error> {
        self.ask(Request::DomainAdd { domain: domain.to_owned() })
    }

    fn delete_domain(&self, domain: &str) -> Result<(), Error> {
        self.tell(Request::DomainDelete { domain: domain.to_owned() })
    }

    fn records(&self, domain: &str) -> Result<Vec<Record>, Error> {
        self.known(domain)?;
        let domain = domain.to_owned();
        self.ask(Request::DnsRecords { domain, addresses: Vec::new(), zone: None, relative: false })
    }

    fn check(&self, domain: &str) -> Result<Checked, Error> {
        self.known(domain)?;
        let domain = domain.to_owned();
        self.ask(Request::DnsCheck { domain, addresses: Vec::new(), servers: Vec::new() }).map_err(
            |error| match error {
                // It is the network that is asked, and that fails.
                Error::Refused(words) => Error::Unavailable(words),
                other => other,
            },
        )
    }

    fn method(&self) -> Result<Method, Error> {
        Ok(dns::Kept::of(&self.house).method())
    }

    fn set_method(&self, new: &NewMethod) -> Result<Method, Error> {
        Ok(dns::use_method(&self.house, &How::of(new).map_err(error_of)?).map_err(error_of)?.method())
    }

    fn writing(&self, domain: &str) -> Result<Writing, Error> {
        self.known(domain)?;
        dns::writing(&self.house, domain).map_err(error_of)
    }

    fn begin_writing(&self, domain: &str, wish: Wish) -> Result<Work, Error> {
        self.known(domain)?;
        let begun = dns::begin(&self.house, domain, wish, dns::PATIENCE);
        begun.map_err(|error| Error::Conflict(error.to_string()))
    }

    fn ports(&self) -> Result<Vec<Port>, Error> {
        self.ask(Request::Listeners)
    }

    fn switch(&self, port: &str, on: bool) -> Result<(Port, Option<String>), Error> {
        let port = self.ask(Request::ListenersSwitch { name: port.to_owned(), on })?;
        // Done when the main loop has done it.
        let (sender, receiver) = oneshot::channel();
        let problems = match self.tell.send(Told::Changed(sender)) {
            Ok(()) => receiver.blocking_recv().unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Ok((port, (!problems.is_empty()).then(|| problems.join("; "))))
    }

    fn relays(&self) -> Result<Vec<Relay>, Error> {
        self.ask(Request::RelayList)
    }

    fn keep_relay(
        &self,
        name: &str,
        domains: &str,
        relay: &NewRelay,
        password: &Kept,
    ) -> Result<Option<Refusal>, Error> {
        let relay = match relay.checked(password) {
            Ok(relay) => relay,
            Err(refusal) => return Ok(Some(refusal)),
        };
        if relay.host.is_empty() && !self.relays()?.iter().any(|known| known.name == name) {
            return Err(Error::Missing("there is no such relay".to_owned()));
        }
        let refused = relays::keep(&self.house, name, domains, &relay, password).err();
        // Whatever was kept counts from the next attempt on.
        let settings =
            Settings::load(self.house.folder.path()).map_err(|error| Error::Unavailable(error.to_string()))?;
        self.house.settings.store(settings.into());
        self.house.bell.ring();
        Ok(refused)
    }

    fn certificates(&self) -> Result<Vec<Certificate>, Error> {
        self.ask(Request::CertList)
    }

    fn may_renew(&self) -> Result<(), Error> {
        verbs::may_renew(&self.house).map_err(error_of)
    }

    fn renew(&self, name: Option<&str>) -> Result<(), Error> {
        self.tell(Request::CertRenew { name: name.map(str::to_owned), force: true })
    }

    fn devices(&self, address: &str) -> Result<Vec<Device>, Error> {
        self.ask(Request::DeviceList { address: address.to_owned() })
    }

    fn add_device(&self, address: &str, name: &str) -> Result<Secret, Error> {
        let password = device::Password::make(&*self.house.random).shown().to_owned();
        let (address, name) = (address.to_owned(), name.to_owned());
        self.tell(Request::DeviceAdd { address, name, password: Password(password.clone()) })?;
        Ok(Secret(password))
    }

    fn link_device(&self, address: &str, name: &str) -> Result<Secret, Error> {
        let link = new_link(&*self.house.random);
        let (address, name) = (address.to_owned(), name.to_owned());
        self.tell(Request::DeviceLink { address, name, link: link.clone() })?;
        Ok(Secret(profile_link_of(&self.house.settings.load(), &link)))
    }

    fn remove_device(&self, address: &str, id: u32) -> Result<(), Error> {
        self.tell(Request::DeviceRemove { address: address.to_owned(), id })
    }

    fn queue(&self) -> Result<Vec<Letter>, Error> {
        self.ask(Request::QueueList)
    }

    fn reports(&self) -> Result<Reports, Error> {
        self.ask(Request::ReportsList)
    }

    fn letter(&self, id: u64) -> Result<Letter, Error> {
        self.ask(Request::QueueShow { id }).map_err(|error| self.letter_gone(id, error))
    }

    fn act(&self, what: Act, id: Option<u64>) -> Result<(), Error> {
        let what = match what {
            Act::Retry => QueueAct::Retry,
            Act::Hold => QueueAct::Hold,
            Act::Release => QueueAct::Release,
            Act::Cancel => QueueAct::Cancel,
        };
        self.tell(Request::QueueDo { what, id }).map_err(|error| match id {
            Some(id) => self.letter_gone(id, error),
            None => error,
        })
    }

    fn standstill(&self) -> Option<String> {
        self.house.noted.keeps_all(&self.house).map(str::to_owned)
    }

    fn problems(&self) -> Result<Vec<Problem>, Error> {
        self.ask(Request::Problems)
    }

    fn updates(&self) -> Result<Updates, Error> {
        self.ask(Request::UpdateList)
    }

    fn check_updates(&self) -> Result<Updates, Error> {
        // That a server could not be asked is in what is shown then.
        let looked = self.tell(Request::UpdateCheck);
        let shown = self.updates()?;
        match looked {
            Err(error) if shown.problem.is_none() => Err(error),
            _ => Ok(shown),
        }
    }

    fn install_update(&self, version: &str) -> Result<(), Error> {
        self.tell(Request::UpdateInstall { version: Some(version.to_owned()) })
    }

    fn backups(&self) -> Result<Backups, Error> {
        backups::known(&self.house, &*self.machine)
    }

    fn back_up(&self) -> Result<(), Error> {
        stick::begin_backup(&self.house, BACKUP_PATIENCE).map_err(Error::Unavailable)
    }

    fn prepare_stick(&self) -> Result<(), Error> {
        self.tell(Request::BackupPrepare)
    }

    fn new_sheet(&self) -> NewSheet {
        self.sheets.make(&*self.house.random)
    }

    fn sheet(&self) -> Option<NewSheet> {
        self.sheets.made()
    }

    fn take_sheet(&self, first: &str, second: &str) -> Result<(bool, bool), Error> {
        self.sheets.take(&self.house, first, second)
    }

    fn tokens(&self) -> Result<Vec<Token>, Error> {
        self.ask(Request::TokenList)
    }

    fn add_token(&self, address: &str, name: &str, scope: &str, days: u32, token: &Secret) -> Result<Token, Error> {
        let (address, name, scope) = (address.to_owned(), name.to_owned(), scope.to_owned());
        self.ask(Request::TokenAdd { address, name, scope, days, token: Password(token.0.clone()) })
    }

    fn delete_token(&self, id: u32) -> Result<(), Error> {
        self.tell(Request::TokenDelete { id })
    }

    fn bearer(&self, secret: &Secret) -> Result<Option<Bearer>, Error> {
        let find = || {
            let read = self.house.data.read()?;
            Ok(token::find(&read, &invitation::digest(&secret.0), self.house.clock.now())?)
        };
        let found = find().map_err(error_of)?;
        Ok(found.map(|(token, owner)| Bearer { address: owner.address, all: token.scope == token::Scope::All }))
    }
}

impl Steward {
    /// A letter that is not there is one thing, one of which that cannot be done another.
    fn letter_gone(&self, id: u64, error: Error) -> Error {
        let Error::Refused(words) = error else { return error };
        let there = self.house.data.read().ok().and_then(|read| queue::find(&read, QueueId(id)).ok().flatten());
        match there {
            Some(_) => Error::Conflict(words),
            None => Error::Missing(words),
        }
    }

    /// A domain that is not there is one thing, one of which nothing can be said another.
    fn known(&self, domain: &str) -> Result<(), Error> {
        let known = self.domains()?.into_iter().any(|one| one.domain == domain);
        known.then_some(()).ok_or_else(|| Error::Missing(format!("{domain} is not a domain of this server")))
    }
}

#[cfg(test)]
mod tests;
