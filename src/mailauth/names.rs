//! The questions that checks ask of the DNS, and the answers they understand.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The name is not there, nor anything below it (RFC 8020).
    NoName,
    /// The name is there and has nothing of this kind.
    NoData,
    /// It could not be found out now.
    Unknown,
}

pub type Found<'a, T> = Pin<Box<dyn Future<Output = Result<Vec<T>, Missing>> + Send + 'a>>;

/// Somebody who asks the DNS. Names are without the dot at the end, in any case. An answer is never empty.
pub trait Names: Send + Sync {
    /// Each record as one string of bytes (RFC 7208 3.3, RFC 6376 3.6.2.2).
    fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>>;

    fn a<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr>;

    fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr>;

    /// Hosts, the preferred first.
    fn mx<'a>(&'a self, name: &'a str) -> Found<'a, String>;

    /// The names of an address.
    fn ptr(&self, address: IpAddr) -> Found<'_, String>;
}

/// The addresses of a name, of the same kind as `like`.
pub(super) async fn addresses(names: &dyn Names, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, Missing> {
    if !is_askable(name) {
        return Err(Missing::NoName);
    }
    match like {
        IpAddr::V4(_) => names.a(name).await,
        IpAddr::V6(_) => names.aaaa(name).await,
    }
}

/// RFC 1035 2.3.4: no label is empty or longer than 63, no name longer than 253.
pub(super) fn is_askable(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.len() <= 63)
}

/// Octets of a name in UTF-8.
const LONGEST: usize = 1024;

/// A name as it is compared and asked for: lower case, without the dot at the end, with A-labels (RFC 5890). `None`: not a
/// name.
pub fn host(name: &str) -> Option<String> {
    let name = name.trim().strip_suffix('.').unwrap_or(name.trim());
    // P7: 253 octets of A-labels are never more than this, and turning a long one into them takes long.
    if name.len() > LONGEST {
        return None;
    }
    let name = match name.is_ascii() {
        true => name.to_ascii_lowercase(),
        false => idna::domain_to_ascii(name).ok()?,
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (plain && is_askable(&name)).then_some(name)
}

/// True if `name` is `domain` or lies below it. Both in lower case.
pub(super) fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Work that has not been done yet.
pub(super) type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Waits for all of them at once.
pub(super) async fn together<T>(waiting: Vec<Waiting<'_, T>>) -> Vec<T> {
    let mut slots: Vec<_> = waiting.into_iter().map(|future| (Some(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, value) in &mut slots {
            if let Some(running) = future {
                match running.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => (*value, *future) = (Some(done), None),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    slots.into_iter().filter_map(|(_, value)| value).collect()
}

#[cfg(test)]
pub(crate) mod fake {
    use std::collections::BTreeMap;

    use super::*;

    /// A DNS in memory: a name that is not in it does not exist.
    #[derive(Clone, Debug, Default)]
    pub struct Zone {
        pub txt: BTreeMap<String, Result<Vec<Vec<u8>>, Missing>>,
        pub addresses: BTreeMap<String, Vec<IpAddr>>,
        pub mx: BTreeMap<String, Vec<String>>,
        pub ptr: BTreeMap<IpAddr, Vec<String>>,
        /// Asked for this or anything below it, nobody answers, ever.
        pub silent: Vec<String>,
        /// Whether these have addresses cannot be found out.
        pub dark: Vec<String>,
    }

    impl Zone {
        pub fn with_txt(mut self, name: &str, text: &str) -> Zone {
            let records = self.txt.entry(name.to_owned()).or_insert_with(|| Ok(Vec::new()));
            if let Ok(records) = records {
                records.push(text.as_bytes().to_vec());
            }
            self
        }

        pub fn with_address(mut self, name: &str, address: &str) -> Zone {
            self.addresses.entry(name.to_owned()).or_default().push(address.parse().unwrap());
            self
        }

        fn missing(&self, name: &str) -> Missing {
            let there = self.txt.keys().chain(self.addresses.keys()).chain(self.mx.keys());
            let mut there = there.filter(|other| is_within(other, name));
            if there.next().is_some() { Missing::NoData } else { Missing::NoName }
        }

        fn found<'a, T: Clone + Send + 'a>(&'a self, name: &str, records: Option<Vec<T>>) -> Found<'a, T> {
            let name = name.to_ascii_lowercase();
            let silent = self.silent.iter().any(|silent| is_within(&name, silent));
            let answer = records.filter(|records| !records.is_empty()).ok_or_else(|| self.missing(&name));
            Box::pin(async move { if silent { std::future::pending().await } else { answer } })
        }

        fn of_kind(&self, name: &str, v4: bool) -> Option<Vec<IpAddr>> {
            let all = self.addresses.get(&name.to_ascii_lowercase())?;
            Some(all.iter().copied().filter(|address| address.is_ipv4() == v4).collect())
        }
    }

    impl Names for Zone {
        fn txt<'a>(&'a self, name: &'a str) -> Found<'a, Vec<u8>> {
            match self.txt.get(&name.to_ascii_lowercase()) {
                Some(Err(missing)) => Box::pin(std::future::ready(Err(*missing))),
                Some(Ok(records)) => self.found(name, Some(records.clone())),
                None => self.found(name, None),
            }
        }

        fn a<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
            if self.dark.iter().any(|dark| dark == name) {
                return Box::pin(std::future::ready(Err(Missing::Unknown)));
            }
            self.found(name, self.of_kind(name, true))
        }

        fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
            self.found(name, self.of_kind(name, false))
        }

        fn mx<'a>(&'a self, name: &'a str) -> Found<'a, String> {
            self.found(name, self.mx.get(&name.to_ascii_lowercase()).cloned())
        }

        fn ptr(&self, address: IpAddr) -> Found<'_, String> {
            self.found("arpa", self.ptr.get(&address).cloned())
        }
    }
}
