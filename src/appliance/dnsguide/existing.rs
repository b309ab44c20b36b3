//! What a domain has for mail already, and the safe ways on from there.

use super::facts::Facts;
use super::judge::span;
use super::{mistakes, spf};
use crate::net::dns::{Answers, Data, Kind};

/// Mail that is somebody else's until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The hosts that get the mail, best first, without ours.
    pub hosts: Vec<String>,
    /// Whose they are, if they are of a large provider.
    pub provider: Option<&'static str>,
    /// How long others remember them, in seconds.
    pub ttl: u32,
    /// The SPF record that is there, and one that names this server as well.
    pub spf: Option<(String, String)>,
    /// The DMARC record that is there.
    pub dmarc: Option<String>,
}

/// `None`: nothing of anybody else's is there, as far as the servers say.
pub fn existing(facts: &Facts, answers: &Answers) -> Option<Existing> {
    let domain = &facts.domain;
    let at = |name: &str, kind| {
        let all = answers.get(&(name.to_owned(), kind)).into_iter().flatten().flatten();
        all.flat_map(|answer| answer.records.iter()).filter(move |found| found.data.kind() == kind)
    };
    let mut hosts = Vec::new();
    let mut ttl = 0;
    for found in at(domain, Kind::Mx) {
        // RFC 7505: a lone "." takes no mail at all.
        if let Data::Mx { priority, host } = &found.data
            && *host != facts.host
            && !host.is_empty()
        {
            hosts.push((*priority, host.clone()));
            ttl = ttl.max(found.ttl);
        }
    }
    hosts.sort();
    hosts.dedup();
    let texts = |name: &str, version: &str| {
        at(name, Kind::Txt).find_map(|found| match &found.data {
            Data::Txt(text) if mistakes::version(text) == version => Some(text.clone()),
            _ => None,
        })
    };
    let own = spf::of_domain(facts).unwrap_or_default();
    let spf = texts(domain, "v=spf1").filter(|there| *there != own);
    let spf = spf.and_then(|there| spf::merged(&there, facts).map(|merged| (there, merged)));
    let dmarc = texts(&format!("_dmarc.{domain}"), "v=dmarc1")
        .filter(|text| !text.contains(&format!("mailto:postmaster@{domain}")));
    if hosts.is_empty() && spf.is_none() && dmarc.is_none() {
        return None;
    }
    let provider = hosts.iter().find_map(|(_, host)| provider(host));
    Some(Existing { hosts: hosts.into_iter().map(|(_, host)| host).collect(), provider, ttl, spf, dmarc })
}

impl Existing {
    /// What it means and what one can do, one paragraph each.
    pub fn advice(&self, facts: &Facts) -> Vec<String> {
        let Facts { domain, host, .. } = facts;
        let mut out = Vec::new();
        if !self.hosts.is_empty() {
            let who =
                self.provider.map_or_else(|| self.hosts.join(", "), |who| format!("{who} ({})", self.hosts.join(", ")));
            let wait = span(self.ttl);
            out.push(format!("{domain} already gets its mail at {who}. Nothing of that is changed by itself."));
            out.push(format!(
                "To try first: take a subdomain such as post.{domain} (homepost domain add post.{domain}) and enter its \
                 records; mail for {domain} stays where it is."
            ));
            out.push(format!(
                "To move on a day of your choice: a day before, set the TTL of the MX records to 300 (now {wait}); enter \
                 all other records; on the day, put the MX record to {host} in place of the old ones, and leave the old \
                 provider running for {wait} and then some days more."
            ));
        }
        if let Some((there, merged)) = &self.spf {
            let count = spf::lookups(merged);
            let many = if count > 10 {
                format!(
                    " It then needs {count} look-ups, and more than 10 make it worthless: leave out what you no longer use."
                )
            } else {
                String::new()
            };
            out.push(format!(
                "There is an SPF record ({there}). There may be only one, so do not add a second; to let both send, change \
                 it into: {merged}{many}"
            ));
        }
        if let Some(there) = &self.dmarc {
            out.push(format!(
                "There is a DMARC record ({there}). It may stay as it is while others send for you; when only this server \
                 does, put the one from the list in its place."
            ));
        }
        out
    }
}

fn provider(host: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 18] = [
        ("google.com", "Google"),
        ("googlemail.com", "Google"),
        ("outlook.com", "Microsoft"),
        ("icloud.com", "Apple iCloud"),
        ("messagingengine.com", "Fastmail"),
        ("protonmail.ch", "Proton"),
        ("zoho.com", "Zoho"),
        ("zoho.eu", "Zoho"),
        ("yahoodns.net", "Yahoo"),
        ("mailbox.org", "mailbox.org"),
        ("posteo.de", "Posteo"),
        ("migadu.com", "Migadu"),
        ("kundenserver.de", "IONOS"),
        ("ionos.com", "IONOS"),
        ("ovh.net", "OVH"),
        ("gandi.net", "Gandi"),
        ("your-server.de", "Hetzner"),
        ("infomaniak.ch", "Infomaniak"),
    ];
    KNOWN.iter().find(|(end, _)| super::is_in(host, end)).map(|(_, who)| *who)
}
