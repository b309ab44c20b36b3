//! Which names need a certificate, and which of them share one.

use std::collections::BTreeSet;

/// Names that share a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Names the group in files and on the command line: `host`, `domain-example.org`, and for a name that failed in its
    /// group and is tried alone `name-autoconfig.example.org`.
    pub id: String,
    /// In A-labels, lower case; never empty.
    pub names: Vec<String>,
}

/// What mail programs and other servers look for below a domain: RFC 8461 3.3, Thunderbird's autoconfig, Outlook's
/// autodiscover, draft-ietf-mailmaint-pacc.
const BELOW: [&str; 4] = ["mta-sts", "autoconfig", "autodiscover", "ua-auto-config"];

/// The group of the host comes first: without it no mail program connects. Then one for each domain.
pub fn groups(hostname: &str, domains: &[String]) -> Vec<Group> {
    let mut seen = BTreeSet::from([hostname.to_owned()]);
    let mut groups = vec![Group { id: HOST.to_owned(), names: vec![hostname.to_owned()] }];
    for domain in domains {
        let names: Vec<String> =
            BELOW.iter().map(|below| format!("{below}.{domain}")).filter(|name| seen.insert(name.clone())).collect();
        if !names.is_empty() {
            groups.push(Group { id: format!("domain-{domain}"), names });
        }
    }
    groups
}

pub(super) const HOST: &str = "host";

/// A name that is tried by itself.
pub(super) fn alone(name: &str) -> Group {
    Group { id: format!("{ALONE}{name}"), names: vec![name.to_owned()] }
}

pub(super) const ALONE: &str = "name-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_its_own_group_and_each_domain_one() {
        let got = groups("mail.example.test", &["example.test".to_owned(), "other.test".to_owned()]);
        assert_eq!(got.len(), 3);
        assert_eq!(got[0], Group { id: "host".to_owned(), names: vec!["mail.example.test".to_owned()] });
        assert_eq!(got[1].id, "domain-example.test");
        assert_eq!(got[1].names[0], "mta-sts.example.test");
        assert_eq!(got[2].names[3], "ua-auto-config.other.test");
    }

    #[test]
    fn no_name_is_in_two_groups() {
        let got = groups("mta-sts.example.test", &["example.test".to_owned(), "example.test".to_owned()]);
        let all: Vec<&String> = got.iter().flat_map(|group| &group.names).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(got[1].names.len(), 3);
    }
}
