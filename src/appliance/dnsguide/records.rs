//! The list of records, in the order in which they are shown (PRODUCT section 5).

use std::net::IpAddr;

use super::facts::{Account, Certificate, Facts, Outbound};
use super::{Record, Refused, check_data, check_name, spf};
use crate::net::dns::{Data, Kind};
use crate::net::tls::Digests;

const TTL: u32 = 3600;
/// Of the host's addresses, which change at many homes.
const ADDRESS_TTL: u32 = 300;

/// All records of a domain. Errors: a fact that no record can be made of (G1), in a sentence.
pub fn records(facts: &Facts) -> Result<Vec<Record>, Refused> {
    check_name(&facts.host)?;
    check_name(&facts.domain)?;
    let mut list = List { facts, out: Vec::new() };
    list.mail();
    list.keys();
    list.senders()?;
    list.transport();
    list.programs();
    list.tlsa();
    list.document();
    list.authority()?;
    list.addresses();
    for record in &list.out {
        check_name(&record.name)?;
        record.data.as_ref().map_or(Ok(()), check_data)?;
    }
    Ok(list.out)
}

struct List<'f> {
    facts: &'f Facts,
    out: Vec<Record>,
}

impl List<'_> {
    /// A name within the domain.
    fn at(&self, label: &str) -> String {
        format!("{label}.{}", self.facts.domain)
    }

    fn put(&mut self, name: String, data: Data, purpose: impl Into<String>, withheld: Option<String>) {
        let ttl = if matches!(data.kind(), Kind::A | Kind::Aaaa) { ADDRESS_TTL } else { TTL };
        let (kind, data, purpose) = (data.kind(), Some(data), purpose.into());
        self.out.push(Record { name, kind, data, ttl, purpose, withheld });
    }

    fn text(&mut self, name: String, text: String, purpose: impl Into<String>) {
        self.put(name, Data::Txt(text), purpose, None);
    }

    /// A host whose own name this is has an address there, and beside a CNAME nothing else may stand (RFC 1034 3.6.2).
    fn alias(&mut self, name: String, purpose: impl Into<String>) {
        if name != self.facts.host {
            self.put(name, Data::Cname(self.facts.host.clone()), purpose, None);
        }
    }

    fn mail(&mut self) {
        let Facts { host, domain, .. } = self.facts;
        self.put(
            domain.clone(),
            Data::Mx { priority: 10, host: host.clone() },
            format!("Says that mail for {domain} is to be brought to {host}; without it no mail arrives."),
            None,
        );
    }

    fn keys(&mut self) {
        for key in &self.facts.keys {
            let name = self.at(&format!("{}._domainkey", key.selector));
            let words = if key.leaving {
                "The public key of letters that were signed until lately and are still on their way; without it they look \
                 forged."
            } else if key.algorithm == "rsa" {
                "The public key that proves your letters genuine (RSA, which every server understands); without it many \
                 servers put them into the junk folder or refuse them."
            } else {
                "The public key that proves your letters genuine by the newer, shorter signature (Ed25519); without it \
                 only the older kind can be checked."
            };
            // RFC 6376 3.6.1, RFC 8463.
            self.text(name, format!("v=DKIM1; k={}; h=sha256; p={}", key.algorithm, key.public), words);
        }
    }

    fn senders(&mut self) -> Result<(), Refused> {
        let Facts { host, domain, host_here, outbound, .. } = self.facts;
        // Two SPF records at one name make each other worthless (RFC 7208 4.5); the domain's covers the host as well.
        if *host_here && host != domain {
            self.text(
                host.clone(),
                spf::of_host(),
                format!(
                    "Lists who may greet and send notices as {host}: this server alone; without it such notices are \
                     trusted less."
                ),
            );
        }
        let withheld = (*outbound == Outbound::UnknownRelay).then(|| {
            "letters leave through your provider's server, and the part of the record that stands for it is not known; \
             without that part others would refuse your letters"
                .to_owned()
        });
        self.put(
            domain.clone(),
            Data::Txt(spf::of_domain(self.facts)?),
            format!(
                "Lists the servers that may send mail as {domain}; without it your letters are trusted less, and \
                 strangers can more easily pretend to be you."
            ),
            withheld,
        );
        let reports = format!("mailto:postmaster@{domain}");
        self.text(
            self.at("_dmarc"),
            format!("v=DMARC1; p={}; rua={reports}; ruf={reports}", self.facts.dmarc.as_str()),
            format!(
                "Asks other servers what to do with letters that only claim to be from {domain}, and to report them; \
                 without it large providers refuse or mistrust your mail."
            ),
        );
        Ok(())
    }

    fn transport(&mut self) {
        self.alias(
            self.at("mta-sts"),
            "The place where other servers fetch your rule that mail to you has to be encrypted; without it they do not \
             find the rule.",
        );
        self.text(
            self.at("_mta-sts"),
            format!("v=STSv1; id={}", self.facts.policy.id()),
            "Says that there is such a rule, and with a new number that it has changed; without it mail to you can be \
             read on its way by whoever sits in between.",
        );
        self.text(
            self.at("_smtp._tls"),
            format!("v=TLSRPTv1; rua=mailto:postmaster@{}", self.facts.domain),
            "Asks other servers to report when they could not bring mail to you encrypted; without it you do not hear \
             of it.",
        );
    }

    fn programs(&mut self) {
        for (service, port) in &self.facts.services {
            let name = self.at(&format!("_{}._tcp", service.as_str()));
            let (data, words) = match port {
                Some(port) => (
                    Data::Srv { priority: 0, weight: 1, port: *port, target: self.facts.host.clone() },
                    format!(
                        "Tells mail programs where they find the service for {}; without it some ask for a server name.",
                        service.words()
                    ),
                ),
                // RFC 2782: a target of "." says that the service is not there.
                None => (
                    Data::Srv { priority: 0, weight: 0, port: 0, target: String::new() },
                    format!(
                        "Tells mail programs that the service for {} is not offered here; without it some try it and \
                         make people wait.",
                        service.words()
                    ),
                ),
            };
            self.put(name, data, words, None);
        }
        self.alias(
            self.at("autoconfig"),
            "The place where Thunderbird and others find their settings; without it people have to type server names.",
        );
        self.alias(self.at("autodiscover"), "The same for Outlook; without it people have to type server names.");
    }

    fn tlsa(&mut self) {
        let Facts { host, host_here, certificate, .. } = self.facts;
        let Some(certificate) = certificate.as_ref().filter(|_| *host_here) else { return };
        let name = format!("_25._tcp.{host}");
        let purpose = "Fixes which certificate this server shows to other servers (DANE), so that nobody can stand in \
                       between; without it MTA-STS does nearly the same.";
        for (usage, digests) in [(3, &certificate.own), (2, &certificate.issuer)] {
            for (selector, matching, data) in forms(digests) {
                let data = Data::Tlsa { usage, selector, matching, data: data.to_vec() };
                let withheld = self.withheld(certificate, (usage, selector, matching));
                self.put(name.clone(), data, purpose, withheld);
            }
        }
        if let Some(next) = &certificate.next_key {
            let data = Data::Tlsa { usage: 3, selector: 1, matching: 1, data: next.clone() };
            let withheld = self.withheld(certificate, (3, 1, 1));
            self.put(name, data, format!("{purpose} This one is of the key that comes next."), withheld);
        }
    }

    /// RFC 7671 8: a record that does not fit the certificate keeps all mail out, so only the form that outlives a renewal
    /// is published, and only where it is looked at.
    fn withheld(&self, certificate: &Certificate, form: (u8, u8, u8)) -> Option<String> {
        let reason = if form != (3, 1, 1) {
            "the form 3 1 1 says all that is needed, and this one would be wrong after the next renewal"
        } else if self.facts.signed != Some(true) {
            "the domain is not known to be signed with DNSSEC, and without that nobody looks at this record"
        } else if !certificate.key_kept && certificate.next_key.is_none() {
            "the next certificate has another key, and with the old record other servers would bring no mail"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }

    fn document(&mut self) {
        self.alias(
            self.at("ua-auto-config"),
            "The place where Apple's and other new mail programs find their settings; without it people have to type \
             server names.",
        );
        if let Some(digest) = &self.facts.pacc {
            // draft-ietf-mailmaint-pacc-04
            self.text(
                self.at("_ua-auto-config"),
                format!("v=UAAC1; a=sha256; d={digest}"),
                "Proves that these settings are yours; without it, or with an old one, programs do not use them.",
            );
        }
    }

    fn authority(&mut self) -> Result<(), Refused> {
        for account in &self.facts.authorities {
            self.account(account)?;
        }
        Ok(())
    }

    fn account(&mut self, account: &Account) -> Result<(), Refused> {
        // RFC 8657 3: the parameter's value is printable and has no semicolon.
        let fine =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b';');
        if !fine(&account.authority) || !fine(&account.uri) || account.uri.contains(['"', '\\']) {
            return Err(Refused(format!("{} cannot stand in a CAA record", super::shown(&account.uri))));
        }
        let value = format!("{}; accounturi={}", account.authority, account.uri);
        self.put(
            self.facts.domain.clone(),
            Data::Caa { flags: 0, tag: "issue".to_owned(), value },
            "Says that only this server may get certificates for the domain, and only by its account with this authority; without it \
             any authority may issue one to whoever can trick it.",
            None,
        );
        Ok(())
    }

    fn addresses(&mut self) {
        let Facts { host, host_here, addresses, .. } = self.facts;
        if !*host_here {
            return;
        }
        let purpose = |kind: &str| {
            format!(
                "The {kind} address under which the world reaches {host}; without any address record no mail arrives."
            )
        };
        for address in addresses {
            let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            self.put(host.clone(), Data::address(*address), purpose(kind), None);
        }
        if addresses.is_empty() {
            self.out.push(Record {
                name: host.clone(),
                kind: Kind::A,
                data: None,
                ttl: ADDRESS_TTL,
                purpose: purpose("IPv4"),
                withheld: Some("the address under which the world reaches this house is not known yet".to_owned()),
            });
        }
        for address in addresses {
            self.put(
                reverse(*address),
                Data::Ptr(host.clone()),
                format!(
                    "Says that {address} is {host}; without it many servers take no mail from here. Whoever gives you the \
                     address has to set it."
                ),
                Some("it is not in your domain: your internet provider sets it, on a page of its own or when asked".to_owned()),
            );
        }
    }
}

/// Selector, matching type and data of the four forms (RFC 6698 2.1.2, 2.1.3).
fn forms(digests: &Digests) -> [(u8, u8, &[u8]); 4] {
    [
        (0, 1, &digests.whole_sha256),
        (0, 2, &digests.whole_sha512),
        (1, 1, &digests.key_sha256),
        (1, 2, &digests.key_sha512),
    ]
}

/// The name at which an address says who it is (RFC 1035 3.5, RFC 3596 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles: String =
                v6.octets().iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 0xf, byte >> 4)).collect();
            format!("{nibbles}ip6.arpa")
        }
    }
}
