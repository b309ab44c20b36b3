//! How records are written: the settings of `[dns]`, and the secret, which lies in a file of its own.

use std::io;

use serde::{Deserialize, Serialize};

use crate::appliance::writing::{Method, NewMethod};
use crate::net::dns::{Credentials, RFC2136, Writer, secrets_of};
use crate::settings::{Dns, edit};

use super::super::folder::{Folder, remove, write};
use super::super::house::House;
use super::super::verbs::{Error, Secret};
use super::asker;

const FILE: &str = "dns-key.json";

/// The secrets, for the method that they were given for. It has no `Debug`.
#[derive(Serialize, Deserialize)]
struct Keys {
    method: String,
    secrets: Vec<String>,
}

impl Keys {
    fn read(folder: &Folder) -> Option<Keys> {
        let bytes = std::fs::read(folder.path().join(FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// How records are to be written from now on. `None` leaves a setting as it is.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(in super::super) struct How {
    /// `none`, or one of [`crate::settings::DNS_METHODS`].
    pub method: String,
    pub server: Option<String>,
    pub key_name: Option<String>,
    pub algorithm: Option<String>,
    pub zone: Option<String>,
    pub ask: Option<String>,
    /// One line: what [`secrets_of`] lists, with blanks between. `None`: the one that is kept.
    pub secret: Option<Secret>,
}

impl How {
    /// As it was filled in on a page, or sent by a program. Errors: a secret that is none.
    pub fn of(new: &NewMethod) -> Result<How, Error> {
        let NewMethod { method, server, key_name, algorithm, zone, ask, secrets } = new.clone();
        // Those of one method are kept as words of one line.
        if secrets
            .iter()
            .any(|secret| secret.0.is_empty() || secret.0.contains(|c: char| c.is_whitespace() || c.is_control()))
        {
            return Err(Error::Words("a secret is one word, without blanks".to_owned()));
        }
        let words: Vec<String> = secrets.into_iter().map(|secret| secret.0).collect();
        let secret = (!words.is_empty()).then(|| Secret(words.join(" ")));
        Ok(How { method, server, key_name, algorithm, zone, ask, secret })
    }
}

/// What is kept, as far as it may be seen.
pub(in super::super) struct Kept {
    pub dns: Dns,
    /// Whether there is a secret for this method.
    pub secret: bool,
}

impl Kept {
    /// For those who look at it.
    pub fn method(&self) -> Method {
        let Dns { method, server, key_name, algorithm, zone, ask } = self.dns.clone();
        Method { method, server, key_name, algorithm, zone, ask, secret: self.secret, ready: self.is_ready() }
    }

    pub fn of(house: &House) -> Kept {
        let dns = house.settings.load().dns.clone();
        let secret = Keys::read(&house.folder).is_some_and(|keys| keys.method == dns.method);
        Kept { dns, secret }
    }

    /// Whether records can be written, as far as one can tell without asking anybody.
    pub fn is_ready(&self) -> bool {
        self.dns.method != "none" && self.secret
    }
}

/// Keeps a method and its secret. Asks nobody: whether a provider takes the secret shows with the first plan or push.
/// Errors: what is missing or wrong; then everything is as it was.
pub(in super::super) fn use_method(house: &House, how: &How) -> Result<Kept, Error> {
    let mut dns = house.settings.load().dns.clone();
    let method = how.method.as_str();
    let changes = [
        ("dns.server", &how.server, &mut dns.server),
        ("dns.key_name", &how.key_name, &mut dns.key_name),
        ("dns.algorithm", &how.algorithm, &mut dns.algorithm),
        ("dns.zone", &how.zone, &mut dns.zone),
        ("dns.ask", &how.ask, &mut dns.ask),
    ];
    let mut to_set: Vec<(&str, String)> = Vec::new();
    for (key, new, field) in changes {
        if let Some(new) = new {
            field.clone_from(new);
            to_set.push((key, new.clone()));
        }
    }
    dns.method = method.to_owned();
    to_set.push(("dns.method", method.to_owned()));
    let path = house.folder.path().join(FILE);
    let fault = |error: io::Error| Error::Words(format!("{}: {error}", path.display()));
    if method == "none" {
        let settings = set_all(house, &to_set)?;
        remove(&path).map_err(fault)?;
        house.settings.store(settings.into());
        house.board.forget();
        return Ok(Kept::of(house));
    }
    let needed = secrets_of(method).ok_or_else(|| {
        let all = crate::settings::DNS_METHODS.join(", ");
        Error::Words(format!("{method} is no way to write records; there are {all}"))
    })?;
    let secrets: Vec<String> = match &how.secret {
        Some(secret) => secret.0.split_whitespace().map(str::to_owned).collect(),
        None => Keys::read(&house.folder)
            .filter(|keys| keys.method == method)
            .map(|keys| keys.secrets)
            .ok_or_else(|| Error::Words(format!("{method} needs {}", needed.join(", then "))))?,
    };
    if secrets.len() != needed.len() {
        return Err(Error::Words(format!(
            "{method} needs {}, in one line with a blank between; that were {} words",
            needed.join(", then "),
            secrets.len()
        )));
    }
    // Complete and of the right form, before anything is kept.
    Writer::new(&credentials(&dns, secrets.clone()), &asker(house), house.clock.clone(), house.random.clone())?;
    // The secret first: one without its settings is not used, since it says for which method it is.
    let keys = Keys { method: method.to_owned(), secrets };
    write(&path, &serde_json::to_vec(&keys).unwrap_or_default()).map_err(fault)?;
    let settings = set_all(house, &to_set)?;
    house.settings.store(settings.into());
    house.certificates.poke();
    house.board.forget();
    Ok(Kept::of(house))
}

/// One after the other, the method last.
fn set_all(house: &House, all: &[(&str, String)]) -> Result<crate::settings::Settings, Error> {
    let mut last = (**house.settings.load()).clone();
    for (key, value) in all {
        last = edit::set(house.folder.path(), key, value.as_str())?;
    }
    Ok(last)
}

fn credentials(dns: &Dns, secrets: Vec<String>) -> Credentials {
    Credentials {
        method: dns.method.clone(),
        server: dns.server.clone(),
        key_name: dns.key_name.clone(),
        algorithm: dns.algorithm.clone(),
        secrets,
    }
}

/// What writes. Errors: what is missing.
pub(super) fn writer(house: &House) -> Result<Writer, String> {
    let dns = house.settings.load().dns.clone();
    if dns.method == "none" {
        return Err("nobody has said yet how records are written".to_owned());
    }
    let keys = Keys::read(&house.folder).filter(|keys| keys.method == dns.method).ok_or_else(|| {
        let what = if dns.method == RFC2136 { "the secret of the TSIG key" } else { "the token" };
        format!("{what} for {} is not there; give it again", dns.method)
    })?;
    Writer::new(&credentials(&dns, keys.secrets), &asker(house), house.clock.clone(), house.random.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::methods;
    use crate::settings::DNS_METHODS;

    #[test]
    fn what_settings_offer_is_what_can_write() {
        let all: Vec<&str> = std::iter::once("none").chain(methods()).collect();
        assert_eq!(all, DNS_METHODS);
    }

    fn house(folder: &Folder) -> House {
        edit::create(folder.path(), "mail.example.test").unwrap();
        House::open(folder).unwrap()
    }

    fn how(method: &str, secret: Option<&str>) -> How {
        let secret = secret.map(|secret| Secret(secret.to_owned()));
        How { method: method.to_owned(), secret, ..How::default() }
    }

    #[test]
    fn a_secret_counts_for_its_method_only_and_what_is_incomplete_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let house = house(&folder);
        let said = |how: &How| use_method(&house, how).map(|_| ()).unwrap_err().to_string();
        assert!(said(&how("desec", None)).contains("needs the API token"));
        assert!(said(&how("ovh", Some("one two"))).contains("were 2 words"));
        assert!(said(&how("nobody", Some("x"))).contains("no way to write records"));
        assert!(said(&how("rfc2136", Some("c2VjcmV0"))).contains("name server's address"));
        assert!(!folder.path().join(FILE).exists() && !Kept::of(&house).is_ready());
        assert!(use_method(&house, &how("desec", Some("abc"))).unwrap().is_ready());
        let server =
            How { server: Some("192.0.2.53".into()), key_name: Some("k".into()), ..how("rfc2136", Some("no!base64")) };
        assert!(said(&server).contains("base64"));
        assert!(writer(&house).is_ok(), "as it was");
        edit::set(folder.path(), "dns.method", "hetzner").unwrap();
        house.settings.store(crate::settings::Settings::load(folder.path()).unwrap().into());
        assert!(!Kept::of(&house).is_ready(), "the token of another provider");
        assert!(!use_method(&house, &how("none", None)).unwrap().is_ready());
        assert!(!folder.path().join(FILE).exists());
        house.close().unwrap();
    }
}
