//! Everything a program can ask and do, in one table.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::appliance::wizard::{Relay as NewRelay, Secret as Kept};
use crate::appliance::writing::{NewMethod, Wish};

use super::super::household::{Act, Error, Household, Secret};
use super::super::pages::cuts_off;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Anybody,
    /// Any token that holds.
    Read,
    /// One that may change things.
    All,
}

/// What came with a request: the values in its path, in their order, and its body.
pub(super) struct Call {
    pub values: Vec<String>,
    pub body: Value,
}

pub(super) enum Outcome {
    Is(Value),
    /// There is nothing more to say.
    Done,
    /// A certificate is to be asked for, which goes on by itself.
    Renew(Option<String>),
}

type Ran = Result<Outcome, Error>;

pub(super) struct Operation {
    pub method: &'static str,
    /// With `{names}` of values.
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    pub access: Access,
    /// Names of schemas.
    pub body: Option<&'static str>,
    pub answer: Option<Answers>,
    pub status: StatusCode,
    pub run: fn(&dyn Household, &Call) -> Ran,
}

/// The schema of an answer.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    One(&'static str),
    Many(&'static str),
}

impl Operation {
    /// The values in this path, if it is one of this operation.
    pub fn fits(&self, path: &[String]) -> Option<Vec<String>> {
        let ours: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        if ours.len() != path.len() {
            return None;
        }
        let mut values = Vec::new();
        for (ours, theirs) in ours.into_iter().zip(path) {
            if ours.starts_with('{') {
                values.push(theirs.clone());
            } else if ours != theirs {
                return None;
            }
        }
        Some(values)
    }

    /// The names of its values.
    pub fn names(&self) -> Vec<&'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
    }
}

impl Call {
    fn value(&self, at: usize) -> &str {
        self.values.get(at).map_or("", String::as_str)
    }

    /// The number of a letter, from the path.
    fn letter(&self) -> Result<u64, Error> {
        let id = self.value(0);
        id.parse().map_err(|_| Error::Missing(format!("there is no letter {id} in the queue")))
    }

    /// The body as the operation wants it. A member that is not known is a mistake of who asks.
    fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        T::deserialize(&self.body).map_err(|error| Error::Refused(format!("the body does not fit: {error}")))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    address: String,
    name: Option<String>,
    quota: Option<u64>,
    phrase: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrase {
    phrase: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    quota: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    administrator: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAlias {
    alias: String,
    targets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDomain {
    domain: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Way {
    method: String,
    server: Option<String>,
    key_name: Option<String>,
    algorithm: Option<String>,
    zone: Option<String>,
    ask: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
}

impl From<Way> for NewMethod {
    fn from(way: Way) -> NewMethod {
        let Way { method, server, key_name, algorithm, zone, ask, secrets } = way;
        let secrets = secrets.into_iter().map(Kept).collect();
        NewMethod { method, server, key_name, algorithm, zone, ask, secrets }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Looked {
    #[serde(default)]
    undo: bool,
    #[serde(default)]
    take_over: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Push {
    #[serde(default)]
    take_over: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
    #[serde(default)]
    sure: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Install {
    version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelayWanted {
    #[serde(default)]
    domains: Vec<String>,
    host: String,
    port: Option<u16>,
    tls: Option<String>,
    user: Option<String>,
    password: Option<String>,
    spf: Option<String>,
}

fn keep_relay(house: &dyn Household, name: &str, wanted: RelayWanted) -> Ran {
    let RelayWanted { domains, host, port, tls, user, password, spf } = wanted;
    let tls = tls.unwrap_or_else(|| "implicit".to_owned());
    let port = port.unwrap_or(if tls == "starttls" { 587 } else { 465 });
    let relay =
        NewRelay { host, port, tls, user: user.unwrap_or_default(), spf: spf.unwrap_or_default(), password: false };
    match house.keep_relay(name, &domains.join(" "), &relay, &Kept(password.unwrap_or_default()))? {
        None => Ok(Outcome::Done),
        Some(refusal) => Err(Error::Refused(match refusal.field {
            Some(field) => format!("{field}: {}", refusal.words),
            None => refusal.words,
        })),
    }
}

fn is(value: impl serde::Serialize) -> Ran {
    serde_json::to_value(value).map(Outcome::Is).map_err(|error| Error::Own(error.to_string()))
}

fn done(nothing: Result<(), Error>) -> Ran {
    nothing.map(|()| Outcome::Done)
}

macro_rules! operation {
    ($method:literal $path:literal $id:literal $access:ident $summary:literal, $body:expr => $status:ident $answer:expr, $run:expr) => {
        Operation {
            method: $method,
            path: $path,
            id: $id,
            summary: $summary,
            access: Access::$access,
            body: $body,
            answer: $answer,
            status: StatusCode::$status,
            run: $run,
        }
    };
}

use Answers::{Many, One};

#[rustfmt::skip] // a table
pub(super) const OPERATIONS: &[Operation] = &[
    operation!("GET" "/api/openapi.json" "document" Anybody "This document.",
        None => OK Some(One("Document")), |_, _| Ok(Outcome::Done)),
    operation!("GET" "/api/problems" "problems" Read "What is wrong right now, in plain words.",
        None => OK Some(Many("Problem")), |house, _| is(house.problems()?)),

    operation!("GET" "/api/people" "people" Read "Everybody who has an account.",
        None => OK Some(Many("Person")), |house, _| is(house.people()?)),
    operation!("POST" "/api/people" "invite" All "Makes an account: with a pass phrase, or with a link by which its owner chooses one.",
        Some("NewPerson") => CREATED Some(One("Added")), |house, call| {
            let new: NewPerson = call.read()?;
            let name = new.name.as_deref();
            match new.phrase {
                Some(phrase) => {
                    house.add(&new.address, name, new.quota, &Secret(phrase))?;
                    is(json!({ "address": house.person(&new.address)?.address, "until": null, "link": null }))
                }
                None => is(house.invite(&new.address, name, new.quota)?),
            }
        }),
    operation!("GET" "/api/people/{address}" "person" Read "One account.",
        None => OK Some(One("Person")), |house, call| is(house.person(call.value(0))?)),
    operation!("DELETE" "/api/people/{address}" "leave" All "Deletes an account in two weeks; until then it can be kept.",
        None => OK Some(One("Person")), |house, call| {
            house.leave(call.value(0))?;
            is(house.person(call.value(0))?)
        }),
    operation!("POST" "/api/people/{address}/keep" "keep" All "Keeps an account that was to be deleted.",
        None => OK Some(One("Person")), |house, call| {
            house.keep(call.value(0))?;
            is(house.person(call.value(0))?)
        }),
    operation!("POST" "/api/people/{address}/resume" "resume" All "Lets an account send again that was stopped because it wrote to too many people.",
        None => OK Some(One("Person")), |house, call| {
            house.resume(call.value(0))?;
            is(house.person(call.value(0))?)
        }),
    operation!("POST" "/api/people/{address}/link" "link" All "Makes a link by which the account's owner chooses a new pass phrase.",
        None => CREATED Some(One("Link")), |house, call| is(house.link(call.value(0))?)),
    operation!("PUT" "/api/people/{address}/phrase" "set-phrase" All "Sets an account's pass phrase.",
        Some("Phrase") => NO_CONTENT None, |house, call| {
            let Phrase { phrase } = call.read()?;
            done(house.set_phrase(call.value(0), &Secret(phrase)))
        }),
    operation!("PUT" "/api/people/{address}/quota" "set-quota" All "Sets how many bytes an account may keep; null is no limit.",
        Some("Quota") => OK Some(One("Person")), |house, call| {
            let Quota { quota } = call.read()?;
            house.set_quota(call.value(0), quota)?;
            is(house.person(call.value(0))?)
        }),
    operation!("PUT" "/api/people/{address}/role" "set-role" All "Makes an account an administrator, or one no more.",
        Some("Role") => OK Some(One("Person")), |house, call| {
            let Role { administrator } = call.read()?;
            house.set_administrator(call.value(0), administrator)?;
            is(house.person(call.value(0))?)
        }),

    operation!("GET" "/api/people/{address}/devices" "devices" Read "Somebody's mail programs that have a password of their own.",
        None => OK Some(Many("Device")), |house, call| is(house.devices(call.value(0))?)),
    operation!("POST" "/api/people/{address}/devices" "add-device" All "Makes a password for one device alone; it is said only in this answer.",
        Some("NewDevice") => CREATED Some(One("AddedDevice")), |house, call| {
            let NewDevice { name } = call.read()?;
            let secret = house.add_device(call.value(0), &name)?;
            is(json!({ "name": name.trim(), "password": secret.0 }))
        }),
    operation!("DELETE" "/api/people/{address}/devices/{id}" "remove-device" All "Takes a device's password away.",
        None => NO_CONTENT None, |house, call| {
            let missing = || Error::Missing(format!("there is no device {}", call.value(1)));
            let id = call.value(1).parse().map_err(|_| missing())?;
            if !house.devices(call.value(0))?.iter().any(|device| device.id == id) {
                return Err(missing());
            }
            done(house.remove_device(call.value(0), id))
        }),

    operation!("GET" "/api/aliases" "aliases" Read "Addresses whose mail goes to others.",
        None => OK Some(Many("Alias")), |house, _| is(house.aliases()?)),
    operation!("POST" "/api/aliases" "add-alias" All "Makes an alias, or adds targets to one.",
        Some("Alias") => CREATED Some(One("Alias")), |house, call| {
            let NewAlias { alias, targets } = call.read()?;
            is(house.add_alias(&alias, &targets)?)
        }),
    operation!("DELETE" "/api/aliases/{address}" "delete-alias" All "Deletes an alias.",
        None => NO_CONTENT None, |house, call| done(house.delete_alias(call.value(0)))),

    operation!("GET" "/api/domains" "domains" Read "The domains whose mail is taken.",
        None => OK Some(Many("Domain")), |house, _| is(house.domains()?)),
    operation!("POST" "/api/domains" "add-domain" All "Takes the mail of a domain from now on.",
        Some("Domain") => CREATED Some(One("Domain")), |house, call| {
            let NewDomain { domain } = call.read()?;
            is(house.add_domain(&domain)?)
        }),
    operation!("DELETE" "/api/domains/{domain}" "delete-domain" All "Takes the mail of a domain no more; no address may be in it.",
        None => NO_CONTENT None, |house, call| done(house.delete_domain(call.value(0)))),
    operation!("GET" "/api/domains/{domain}/records" "records" Read "The records that a domain needs.",
        None => OK Some(Many("Record")), |house, call| is(house.records(call.value(0))?)),
    operation!("GET" "/api/domains/{domain}/check" "check" Read "What the domain's own name servers say; takes some seconds.",
        None => OK Some(One("Checked")), |house, call| is(house.check(call.value(0))?)),

    operation!("GET" "/api/dns" "dns-method" Read "How records are written, and whether there is a secret for it.",
        None => OK Some(One("Method")), |house, _| is(house.method()?)),
    operation!("PUT" "/api/dns" "set-dns-method" All "Sets how records are written: `none`, `rfc2136`, or a provider. What is left out stays as it is.",
        Some("NewMethod") => OK Some(One("Method")), |house, call| is(house.set_method(&call.read::<Way>()?.into())?)),
    operation!("GET" "/api/domains/{domain}/writing" "writing" Read "What is being done to the records of a domain, or was done last.",
        None => OK Some(One("Writing")), |house, call| is(house.writing(call.value(0))?)),
    operation!("POST" "/api/domains/{domain}/plan" "plan" Read "Looks what would be written, or with `undo` put back; changes nothing. What comes of it is in the writing.",
        Some("Plan") => ACCEPTED Some(One("Work")), |house, call| {
            let Looked { undo, take_over } = call.read()?;
            is(house.begin_writing(call.value(0), Wish { write: false, undo, take_over, seen: None })?)
        }),
    operation!("POST" "/api/domains/{domain}/push" "push" All "Writes what is missing or different; of what is not ours only what is named in `take-over` goes.",
        Some("Push") => ACCEPTED Some(One("Work")), |house, call| {
            let Push { take_over } = call.read()?;
            is(house.begin_writing(call.value(0), Wish { write: true, undo: false, take_over, seen: None })?)
        }),
    operation!("POST" "/api/domains/{domain}/undo" "undo" All "Puts back what was there before the last writing.",
        Some("Push") => ACCEPTED Some(One("Work")), |house, call| {
            let Push { take_over } = call.read()?;
            is(house.begin_writing(call.value(0), Wish { write: true, undo: true, take_over, seen: None })?)
        }),

    operation!("GET" "/api/ports" "ports" Read "The ports, and which are open.",
        None => OK Some(Many("Port")), |house, _| is(house.ports()?)),
    operation!("PUT" "/api/ports/{name}" "switch" All "Opens or closes a port. For the one this is asked through, `sure` has to be true.",
        Some("Switch") => OK Some(One("Port")), |house, call| {
            let Switch { on, sure } = call.read()?;
            let port = house.ports()?.into_iter().find(|port| port.name == call.value(0));
            let port = port.ok_or_else(|| Error::Missing(format!("there is no port called {}", call.value(0))))?;
            if !on && !sure && cuts_off(&port) {
                return Err(Error::Conflict("this is asked through that port: say that you are sure".to_owned()));
            }
            match house.switch(&port.name, on)? {
                (port, None) => is(port),
                (_, Some(problem)) => Err(Error::Unavailable(problem)),
            }
        }),

    operation!("GET" "/api/certificates" "certificates" Read "The certificates, and how they are renewed.",
        None => OK Some(Many("Certificate")), |house, _| is(house.certificates()?)),
    operation!("POST" "/api/certificates/renewal" "renew" All "Asks the authority now; what comes of it is seen in the certificates.",
        Some("Renewal") => ACCEPTED Some(One("Asked")), |house, call| {
            let Renewal { name } = call.read()?;
            house.may_renew()?;
            let known = |name: &str| Ok(house.certificates()?.iter().any(|one| one.group == name || one.names.iter().any(|other| other == name)));
            match name {
                Some(name) if !known(&name)? => Err(Error::Missing(format!("{name} needs no certificate here"))),
                name => Ok(Outcome::Renew(name)),
            }
        }),

    operation!("GET" "/api/queue" "queue" Read "Letters that are still to be sent.",
        None => OK Some(Many("Letter")), |house, _| is(house.queue()?)),
    operation!("GET" "/api/queue/{id}" "letter" Read "A letter that is still to be sent, with what was said of it last.",
        None => OK Some(One("Letter")), |house, call| is(house.letter(call.letter()?)?)),
    operation!("DELETE" "/api/queue/{id}" "cancel-letter" All "Sends it to nobody who has not got it yet. Nobody is told.",
        None => NO_CONTENT None, |house, call| done(house.act(Act::Cancel, Some(call.letter()?)))),
    operation!("POST" "/api/queue/{id}/retry" "retry-letter" All "Tries it now, before its time. What comes of it is seen in the queue.",
        None => NO_CONTENT None, |house, call| done(house.act(Act::Retry, Some(call.letter()?)))),
    operation!("POST" "/api/queue/{id}/hold" "hold-letter" All "Keeps it from being sent, and from being given back, until it is released.",
        None => NO_CONTENT None, |house, call| done(house.act(Act::Hold, Some(call.letter()?)))),
    operation!("POST" "/api/queue/{id}/release" "release-letter" All "Lets a letter go that was held.",
        None => NO_CONTENT None, |house, call| done(house.act(Act::Release, Some(call.letter()?)))),

    operation!("GET" "/api/relays" "relays" Read "Servers of others that letters leave through: the one without a name takes all letters, the others those to some domains.",
        None => OK Some(Many("Relay")), |house, _| is(house.relays()?)),
    operation!("PUT" "/api/relay" "set-relay" All "Letters leave through this one, which takes all that no other relay takes. Without a host they go to the domains' own servers again.",
        Some("NewRelay") => NO_CONTENT None, |house, call| keep_relay(house, "", call.read()?)),
    operation!("PUT" "/api/relays/{name}" "set-relay-for" All "Letters to some domains leave through this one. Without a host it goes. Without a password the one that is there stays.",
        Some("NewRelay") => NO_CONTENT None, |house, call| keep_relay(house, call.value(0), call.read()?)),

    operation!("GET" "/api/reports" "reports" Read "What other servers report about letters in the household's name, the newest first, and what follows from it.",
        None => OK Some(One("Reports")), |house, _| is(house.reports()?)),

    operation!("GET" "/api/updates" "updates" Read "The version of the system, what is newer, and what is being done about it.",
        None => OK Some(One("Updates")), |house, _| is(house.updates()?)),
    operation!("POST" "/api/updates/check" "check-updates" All "Looks for newer versions now: where they are published, and on the stick.",
        None => OK Some(One("Updates")), |house, _| is(house.check_updates()?)),
    operation!("POST" "/api/updates/install" "install-update" All "Puts a version on the box that was found; what becomes of it is seen in the updates. The box restarts for it.",
        Some("Install") => NO_CONTENT None, |house, call| {
            let Install { version } = call.read()?;
            done(house.install_update(&version))
        }),
    operation!("GET" "/api/backup" "backups" Read "Backups to the stick: when the last was made and read back, what is on the stick, and what is wrong.",
        None => OK Some(One("Backups")), |house, _| is(house.backups()?)),
    operation!("POST" "/api/backup" "back-up" All "Backs up to the stick now. What comes of it is seen in the backups.",
        None => ACCEPTED Some(One("Backups")), |house, _| {
            house.back_up()?;
            is(house.backups()?)
        }),

    operation!("GET" "/api/tokens" "tokens" Read "The tokens that hold, without what they say themselves.",
        None => OK Some(Many("Token")), |house, _| is(house.tokens()?)),
    operation!("DELETE" "/api/tokens/{id}" "delete-token" All "Revokes a token.",
        None => NO_CONTENT None, |house, call| {
            let missing = || Error::Missing(format!("there is no token {}", call.value(0)));
            done(house.delete_token(call.value(0).parse().map_err(|_| missing())?))
        }),
];
