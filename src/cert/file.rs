//! The certificates that are kept, one file for each with its key, and in which order they serve.

use std::io;

use tracing::error;

use crate::base::Time;
use crate::net::Pair;
use crate::net::tls;

use super::names::{ALONE, HOST};
use super::x509::{self, Facts};

/// A place for small files: certificates, keys, accounts, notes. Names are plain file names.
pub trait Keep: Send + Sync {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// After any cut it is the old file or the new one, whole; nobody but the owner can read it.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Also when it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    fn list(&self) -> io::Result<Vec<String>>;
}

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The owner brought it.
    Imported,
    /// From an authority, by ACME.
    Authority,
}

/// One that can be used.
pub struct Kept {
    /// The group's id; of an imported one `import-` and its first name.
    pub id: String,
    pub source: Source,
    pub facts: Facts,
    pub(super) pair: Pair,
}

const IMPORT: &str = "import-";
const ENDING: &str = ".pem";

/// All of them. One that is damaged is said, and is as if it were not there (P9).
pub(super) fn all(keep: &dyn Keep) -> Vec<Kept> {
    let names = keep.list().unwrap_or_else(|error| {
        error!(%error, "the certificates cannot be listed");
        Vec::new()
    });
    let mut kept = Vec::new();
    for name in names {
        let Some(id) = name.strip_suffix(ENDING).filter(|id| is_id(id)) else { continue };
        match read(keep, id) {
            Ok(Some(one)) => kept.push(one),
            Ok(None) => {}
            Err(error) => error!(file = name, error, "a certificate cannot be used"),
        }
    }
    kept.sort_by(|a, b| a.id.cmp(&b.id));
    kept
}

fn is_id(id: &str) -> bool {
    id == HOST || [IMPORT, ALONE, "domain-"].iter().any(|start| id.starts_with(start))
}

pub(super) fn read(keep: &dyn Keep, id: &str) -> Result<Option<Kept>, String> {
    let Some(bytes) = keep.read(&format!("{id}{ENDING}")).map_err(|error| error.to_string())? else { return Ok(None) };
    let pair = Pair { chain: bytes.clone(), key: bytes };
    tls::check(&pair).map_err(|error| error.to_string())?;
    let facts = x509::facts(&pair.chain)?;
    let source = if id.starts_with(IMPORT) { Source::Imported } else { Source::Authority };
    Ok(Some(Kept { id: id.to_owned(), source, facts, pair }))
}

/// Chain and key in one file, so that no cut can part them.
pub(super) fn put(keep: &dyn Keep, id: &str, pair: &Pair) -> Result<(), String> {
    let mut bytes = pair.chain.clone();
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&pair.key);
    keep.write(&format!("{id}{ENDING}"), &bytes).map_err(|error| format!("the certificate cannot be kept: {error}"))
}

pub(super) fn try_remove(keep: &dyn Keep, id: &str) -> io::Result<()> {
    keep.remove(&format!("{id}{ENDING}"))
}

pub(super) fn remove(keep: &dyn Keep, id: &str) {
    if let Err(error) = try_remove(keep, id) {
        error!(id, %error, "a certificate that is not needed any more cannot be removed");
    }
}

/// What the owner brought, if it can serve. Errors: sentences.
pub(super) fn check_import(pair: &Pair, now: Time) -> Result<(String, Facts), String> {
    tls::check(pair).map_err(|error| error.to_string())?;
    let facts = x509::facts(&pair.chain)?;
    let Some(first) = facts.names.first() else {
        return Err("the certificate is for no DNS name; today's mail programs look at nothing else".to_owned());
    };
    // From outside, and to become a file's name.
    if !first.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'*' | b'_')) {
        return Err("the certificate's first name is no DNS name".to_owned());
    }
    if facts.life.until <= now {
        return Err("the certificate has ended".to_owned());
    }
    let first = first.trim_start_matches("*.");
    Ok((format!("{IMPORT}{first}"), facts))
}

/// The order in which they serve: the first that is for a name serves it, and the very first whoever names none. So: those
/// that have not ended, the owner's own before the authority's, the latest end first; and the host's at the top.
pub(super) fn in_order<'k>(kept: &'k [Kept], hostname: &str, now: Time) -> Vec<&'k Kept> {
    let mut order: Vec<&Kept> = kept.iter().collect();
    order.sort_by_key(|one| (one.facts.life.until <= now, one.source, std::cmp::Reverse(one.facts.life.until)));
    if let Some(at) = order.iter().position(|one| one.facts.covers(hostname)) {
        let host = order.remove(at);
        order.insert(0, host);
    }
    order
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::net::tls::self_signed;

    /// In memory.
    #[derive(Default)]
    pub struct Drawer(pub Mutex<BTreeMap<String, Vec<u8>>>);

    impl Keep for Drawer {
        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }

        fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }

        fn list(&self) -> io::Result<Vec<String>> {
            Ok(self.0.lock().unwrap().keys().cloned().collect())
        }
    }

    const NOW: Time = Time(1_795_700_000_000);

    fn pair(name: &str) -> Pair {
        self_signed(&[name.to_owned()]).unwrap()
    }

    #[test]
    fn a_pair_is_kept_in_one_file_and_a_damaged_one_is_passed_over() {
        let drawer = Drawer::default();
        put(&drawer, "host", &pair("mail.example.test")).unwrap();
        put(&drawer, "domain-example.test", &pair("mta-sts.example.test")).unwrap();
        drawer.write("domain-torn.test.pem", b"-----BEGIN").unwrap();
        drawer.write("cert.pem", b"not ours to read").unwrap();
        let kept = all(&drawer);
        assert_eq!(kept.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["domain-example.test", "host"]);
        assert_eq!(kept[1].facts.names, ["mail.example.test"]);
        // C4: the key of another is not taken.
        let (one, two) = (pair("a.test"), pair("b.test"));
        put(&drawer, "host", &Pair { chain: one.chain, key: two.key }).unwrap();
        assert_eq!(all(&drawer).len(), 1);
    }

    #[test]
    fn what_the_owner_brings_is_looked_at() {
        let (id, facts) = check_import(&pair("*.example.test"), NOW).unwrap();
        assert_eq!((id.as_str(), facts.names.len()), ("import-example.test", 1));
        assert!(check_import(&pair("a.test"), Time(i64::MAX)).unwrap_err().contains("ended"));
        assert!(check_import(&self_signed(&[]).unwrap(), NOW).unwrap_err().contains("no DNS name"));
        let (one, two) = (pair("a.test"), pair("b.test"));
        assert!(check_import(&Pair { chain: one.chain, key: two.key }, NOW).is_err());
        assert!(check_import(&pair("..%2f.test"), NOW).is_err());
    }

    #[test]
    fn the_host_s_serves_whoever_names_nobody() {
        let drawer = Drawer::default();
        put(&drawer, "domain-example.test", &pair("mta-sts.example.test")).unwrap();
        put(&drawer, "host", &pair("mail.example.test")).unwrap();
        put(&drawer, "import-mail.example.test", &pair("mail.example.test")).unwrap();
        let kept = all(&drawer);
        let ids: Vec<&str> = in_order(&kept, "mail.example.test", NOW).iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["import-mail.example.test", "domain-example.test", "host"]);
        let ids: Vec<&str> = in_order(&kept, "mta-sts.example.test", NOW).iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids[0], "domain-example.test");
    }
}
