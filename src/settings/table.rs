//! The one list of settings. A row here is all it takes: the file, its checks, its help and the typed struct follow.

use super::values::Values;

/// What a value may be, and what it is when the file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has no default: the file must say it.
    HostName,
    Switch {
        default: bool,
    },
    Port {
        default: u16,
    },
    /// An https address; empty for none.
    Url,
    /// A mail address; empty for none.
    MailAddress,
    /// One word, of letters, digits, `.`, `_`, `-`; empty for none.
    Word,
    /// Whatever can be seen, without blanks, up to 1000 bytes; empty for none.
    Line,
    /// Words of visible characters, with a space between them: names of hosts with or without a port, and the like.
    Words {
        default: &'static str,
    },
    /// Addresses of this machine, one of a kind (IPv4, IPv6) at most; empty for none.
    Addresses,
    /// A name of the time zone database, as `Europe/Berlin`; empty for none.
    TimeZone,
    /// A file by its path within the data folder (the server can read no others); empty for none.
    File,
    /// One of these words.
    Choice {
        default: &'static str,
        of: &'static [&'static str],
    },
    /// How many of something.
    Count {
        default: u64,
        min: u64,
        max: u64,
    },
    /// Bytes; written with a unit, as `"50 MiB"`.
    Size {
        default: u64,
        min: u64,
        max: u64,
    },
    /// Milliseconds; written with a unit, as `"5 min"`.
    Time {
        default: u64,
        min: u64,
        max: u64,
    },
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Def {
    /// With its section, as in `limits.smtp.message_size`.
    pub key: &'static str,
    pub kind: Kind,
    /// One or two sentences for the owner.
    pub help: &'static str,
}

impl Def {
    /// The key within its section.
    pub fn name(&self) -> &'static str {
        self.key.rsplit_once('.').map_or(self.key, |(_, name)| name)
    }
}

/// Settings that stand together under one heading.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// As in `limits.smtp`; empty for what stands at the top of the file.
    pub path: &'static str,
    pub about: &'static str,
    /// Whether a new file says the defaults openly, or as comments.
    pub shown: bool,
    pub settings: &'static [Def],
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

const fn count(default: u64, min: u64, max: u64) -> Kind {
    Kind::Count { default, min, max }
}

const fn size(default: u64, min: u64, max: u64) -> Kind {
    Kind::Size { default, min, max }
}

const fn time(default: u64, min: u64, max: u64) -> Kind {
    Kind::Time { default, min, max }
}

macro_rules! listener {
    ($name:literal, $on:literal, $port:literal, $about:literal) => {
        Section {
            path: concat!("listeners.", $name),
            about: $about,
            shown: true,
            settings: &[
                Def {
                    key: concat!("listeners.", $name, ".on"),
                    kind: Kind::Switch { default: $on },
                    help: "Whether it is open.",
                },
                Def {
                    key: concat!("listeners.", $name, ".port"),
                    kind: Kind::Port { default: $port },
                    help: "The TCP port.",
                },
            ],
        }
    };
}

macro_rules! section {
    ($struct:ident, $path:literal, $about:literal, $($field:ident: $name:literal = $kind:expr, $help:literal;)*) => {
        #[doc = $about]
        #[doc = "\n\nSizes in bytes, times in milliseconds."]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $struct {
            $(#[doc = $help] pub $field: u64,)*
        }

        impl $struct {
            const SECTION: Section = Section {
                path: $path,
                about: $about,
                shown: false,
                settings: &[$(Def { key: concat!($path, ".", $name), kind: $kind, help: $help },)*],
            };

            pub(super) fn from(values: &Values) -> $struct {
                $struct { $($field: values.number(concat!($path, ".", $name)),)* }
            }
        }

        impl Default for $struct {
            /// What holds when the file says nothing.
            fn default() -> $struct {
                $struct::from(&Values::default())
            }
        }
    };
}

const TOP: Section = Section {
    path: "",
    about: "",
    shown: true,
    settings: &[
        Def {
            key: "hostname",
            kind: Kind::HostName,
            help: "The name this server goes by among other mail servers. Its DNS address record and the MX records of your \
                   domains point to it, and so should the reverse record of its IP address.",
        },
        Def {
            key: "time_zone",
            kind: Kind::TimeZone,
            help: "Where the household lives, as Europe/Berlin: in this time zone the pages show times. The set-up asks for it. \
                   Empty: universal time.",
        },
        Def {
            key: "language",
            kind: Kind::Word,
            help: "The household's language, as en or de: its pages are in it for who has not chosen another. Empty: in what \
                   each browser asks for.",
        },
    ],
};

/// What a certificate's names are proven with; the first leaves it to us.
pub(super) const CHALLENGES: &[&str] = &["auto", "dns-01", "tls-alpn-01", "http-01"];

const ACME: Section = Section {
    path: "acme",
    about: "Certificates from an authority, fetched and renewed by themselves. Without them mail programs warn of an unknown \
            server, and the certificate is one the server made for itself.",
    shown: true,
    settings: &[
        Def {
            key: "acme.directory",
            kind: Kind::Url,
            help: "The authority's ACME directory, as https://acme-v02.api.letsencrypt.org/directory (with it you accept its \
                   terms of service). Empty: no authority is asked.",
        },
        Def {
            key: "acme.staging",
            kind: Kind::Url,
            help: "Another directory at which everything is rehearsed first, so that a mistake does not use up what the \
                   authority allows in an hour; as https://acme-staging-v02.api.letsencrypt.org/directory. Empty: no rehearsal.",
        },
        Def {
            key: "acme.offered",
            kind: Kind::Url,
            help: "The directory of the authority that the set-up page offers; nobody is asked there before its terms are \
                   accepted. Empty: Let's Encrypt.",
        },
        Def {
            key: "acme.contact",
            kind: Kind::MailAddress,
            help: "A mail address that the authority may write to. It need not have one.",
        },
        Def {
            key: "acme.challenge",
            kind: Kind::Choice { default: "auto", of: CHALLENGES },
            help: "How the authority sees that a name is yours: dns-01 by a record in DNS, tls-alpn-01 on the port of HTTPS, \
                   http-01 on the port below. auto: whatever works.",
        },
        Def {
            key: "acme.http_port",
            kind: Kind::Port { default: 80 },
            help: "The port of http-01. It is open only while an authority looks.",
        },
        Def {
            key: "acme.profile",
            kind: Kind::Word,
            help: "A kind of certificate that the authority offers, as shortlived. Empty: its usual kind.",
        },
        Def {
            key: "acme.root",
            kind: Kind::File,
            help: "For an authority of your own: the file (PEM) with the root certificate of its directory's server, by its \
                   path within the data folder. Empty: those that browsers trust.",
        },
    ],
};

/// By which ways records can be written; the first is by none. Those that a name stands for are in `net::dns`.
pub const DNS_METHODS: &[&str] = &[
    "none",
    "rfc2136",
    "bunny",
    "cloudflare",
    "desec",
    "digitalocean",
    "domeneshop",
    "gandi",
    "hetzner",
    "infomaniak",
    "ionos",
    "linode",
    "ovh",
    "porkbun",
    "powerdns",
    "route53",
    "scaleway",
    "vultr",
];

/// Without those that are weak or cut short.
const TSIG_ALGORITHMS: &[&str] = &["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

const DNS: Section = Section {
    path: "dns",
    about: "Writing the records of your domains by itself (homepost dns push), and proving them to an authority by a record. \
            homepost dns use sets this; the secret that it takes is not in this file.",
    shown: true,
    settings: &[
        Def {
            key: "dns.method",
            kind: Kind::Choice { default: "none", of: DNS_METHODS },
            help: "How records are written: rfc2136 at a name server that takes signed updates, or through the interface of a \
                   provider. none: you enter them yourself.",
        },
        Def {
            key: "dns.server",
            kind: Kind::Line,
            help: "With rfc2136 the address of the primary name server, as 192.0.2.53 or 192.0.2.53:5353. With powerdns the \
                   address of its interface, as http://192.0.2.53:8081. Else empty.",
        },
        Def { key: "dns.key_name", kind: Kind::Line, help: "With rfc2136 the name of the TSIG key." },
        Def {
            key: "dns.algorithm",
            kind: Kind::Choice { default: "hmac-sha256", of: TSIG_ALGORITHMS },
            help: "With rfc2136 the algorithm of the TSIG key.",
        },
        Def {
            key: "dns.zone",
            kind: Kind::Word,
            help: "The zone that the records lie in, if it is not found by itself. Domains outside of it are not written then.",
        },
        Def {
            key: "dns.ask",
            kind: Kind::Line,
            help: "Name servers that are asked whether records are there, in place of those that the internet names for the \
                   domain; several with commas between them. Empty: the domain's own.",
        },
    ],
};

/// How records are written, but for the secret. Empty texts stand for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// One of [`DNS_METHODS`].
    pub method: String,
    pub server: String,
    pub key_name: String,
    pub algorithm: String,
    pub zone: String,
    pub ask: String,
}

/// Certificates from an authority. Empty texts stand for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acme {
    pub directory: String,
    pub staging: String,
    pub offered: String,
    pub contact: String,
    /// `auto`, `dns-01`, `tls-alpn-01` or `http-01`.
    pub challenge: String,
    pub http_port: u16,
    pub profile: String,
    pub root: String,
}

/// What others are told to do when the way here cannot be secured; the first is where every household begins.
pub(super) const POLICIES: &[&str] = &["testing", "enforce", "none"];

/// What the line test asks, and whom.
const LINE: Section = Section {
    path: "line",
    about: "Whom the set-up asks when it measures the internet line. Nobody is asked before somebody presses the button there.",
    shown: false,
    settings: &[
        Def {
            key: "line.targets",
            kind: Kind::Words {
                default: "gmail-smtp-in.l.google.com mx01.mail.icloud.com in1-smtp.messagingengine.com",
            },
            help: "Mail servers of several owners, to see whether letters get out: each is greeted on port 25 (or another, as \
                   host:port) and gets no letter.",
        },
        Def {
            key: "line.control",
            kind: Kind::Words { default: "acme-v02.api.letsencrypt.org one.one.one.one" },
            help: "Servers that are reached on port 443 wherever there is an internet, to tell a blocked port from a dead line.",
        },
        Def {
            key: "line.mirror",
            kind: Kind::Word,
            help: "A name whose address is that of whoever asks for it. Empty: myip.opendns.com.",
        },
        Def {
            key: "line.mirror_servers",
            kind: Kind::Words { default: "208.67.222.222 2620:119:35::35" },
            help: "The name servers that answer so, by their addresses, one of each kind.",
        },
        Def {
            key: "line.lists",
            kind: Kind::Words { default: "zen.spamhaus.org bl.spamcop.net" },
            help: "Block lists that are asked for the address of the line.",
        },
        Def {
            key: "line.router",
            kind: Kind::Words { default: "" },
            help: "Where the router answers questions for its outer address (NAT-PMP). Empty: where the way out begins.",
        },
    ],
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub targets: String,
    pub control: String,
    pub mirror: String,
    pub mirror_servers: String,
    pub lists: String,
    pub router: String,
}

pub(super) const RELAY_TLS: &[&str] = &["implicit", "starttls"];

const RELAY: Section = Section {
    path: "relay",
    about: "A server of somebody else's (a smarthost) that letters leave through, where the line cannot send them itself. Its \
            password is not here: the set-up page keeps it in a file of its own.",
    shown: true,
    settings: &[
        Def { key: "relay.host", kind: Kind::Words { default: "" }, help: "Its name. Empty: no relay." },
        Def { key: "relay.port", kind: Kind::Port { default: 465 }, help: "Its port, 465 or 587." },
        Def {
            key: "relay.tls",
            kind: Kind::Choice { default: "implicit", of: RELAY_TLS },
            help: "implicit: encrypted from the first byte, as on 465. starttls: encrypted after the greeting, as on 587.",
        },
        Def {
            key: "relay.user",
            kind: Kind::Words { default: "" },
            help: "The user name there. Empty: it wants none.",
        },
        Def {
            key: "relay.spf",
            kind: Kind::Words { default: "" },
            help: "What stands for it in SPF records, as include:_spf.provider.example. Empty: not known.",
        },
        Def {
            key: "relay.trust",
            kind: Kind::File,
            help: "For a relay of your own: the file (PEM) with the root of its certificate, by its path within the data \
                   folder. Empty: those that browsers trust.",
        },
    ],
};

/// Stands for the name that the owner gives a relay.
const OFFICE: &str = "office";

const RELAYS: Section = Section {
    path: "relays.office",
    about: "A relay for letters to some domains only, such as the office's, which goes before [relay] and the domains' own servers. \
            For each more such relay write another section, named as you like: [relays.school]. The password is kept by \
            `homepost relay password office`.",
    shown: true,
    settings: &[
        Def { key: "relays.office.host", kind: Kind::Words { default: "" }, help: "Its name. Empty: no relay." },
        Def {
            key: "relays.office.domains",
            kind: Kind::Words { default: "" },
            help: "Where letters go that it takes: example.org is that domain, .example.org is all below it.",
        },
        Def { key: "relays.office.port", kind: Kind::Port { default: 465 }, help: "Its port, 465 or 587." },
        Def {
            key: "relays.office.tls",
            kind: Kind::Choice { default: "implicit", of: RELAY_TLS },
            help: "implicit or starttls, as of [relay].",
        },
        Def {
            key: "relays.office.user",
            kind: Kind::Words { default: "" },
            help: "The user name there. Empty: it wants none.",
        },
        Def {
            key: "relays.office.spf",
            kind: Kind::Words { default: "" },
            help: "What stands for it in SPF records, as include:_spf.provider.example. Empty: nothing, since those it takes letters \
                   for do not look.",
        },
        Def {
            key: "relays.office.trust",
            kind: Kind::File,
            help: "The file (PEM) with the root of its certificate, as of [relay].",
        },
    ],
};

/// The name in a key such as `relays.school.host`, and the key as the table has it.
pub(super) fn relay_name(key: &str) -> Option<(&str, String)> {
    let rest = key.strip_prefix("relays.")?;
    let (name, field) = rest.split_once('.').unwrap_or((rest, ""));
    let known = if field.is_empty() { format!("relays.{OFFICE}") } else { format!("relays.{OFFICE}.{field}") };
    Some((name, known))
}

/// Whether a relay may be called that: it is part of a file's name.
pub fn is_relay_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=32).contains(&name.len()) && name.bytes().all(plain)
}

const SENDING: Section = Section {
    path: "sending",
    about: "Letters for elsewhere.",
    shown: true,
    settings: &[
        Def {
            key: "sending.on",
            kind: Kind::Switch { default: true },
            help: "false: they wait in the queue, and nothing leaves.",
        },
        Def {
            key: "sending.source",
            kind: Kind::Addresses,
            help: "The addresses of this machine that they leave from, where it has several: an IPv4, an IPv6, or both. Empty: \
                   the system chooses.",
        },
        Def {
            key: "sending.new_keys_after_days",
            kind: count(180, 0, 3650),
            help: "After how many days a domain gets new DKIM keys by itself. The old ones sign until the records of the new ones are \
                   in the DNS. 0: only when `homepost dkim rotate` is given.",
        },
        Def {
            key: "sending.recipients_per_hour",
            kind: count(200, 1, 1_000_000),
            help: "To how many people elsewhere one account may write within an hour.",
        },
        Def {
            key: "sending.new_recipients_per_hour",
            kind: count(50, 1, 1_000_000),
            help: "To how many of them it may write whom it has not written to in the last half year. Who has stolen a pass phrase \
                   writes to thousands; the parents of a class are fewer than this.",
        },
        Def {
            key: "sending.new_recipients_per_day",
            kind: count(100, 1, 1_000_000),
            help: "The same within a day. Whoever goes past it sends nothing more until a new pass phrase is chosen, or the \
                   administrator lets the account go on.",
        },
        Def {
            key: "sending.queue_letters",
            kind: count(10_000, 100, 1_000_000),
            help: "How many letters may wait to be sent. Past it a letter is refused for now, and the mail program keeps it.",
        },
        Def {
            key: "sending.queue_size",
            kind: size(4 * GIB, 100 * MIB, 1024 * GIB),
            help: "How large they may be together.",
        },
        Def {
            key: "sending.dane",
            kind: Kind::Switch { default: true },
            help: "Whether encryption is demanded where domains ask for it in signed records (DANE, DNSSEC). false, if the line's \
                   name servers spoil those: then nothing is proven, and MTA-STS counts alone.",
        },
        Def {
            key: "sending.trust",
            kind: Kind::File,
            help: "Whom the certificates of other domains' servers may come from, where domains want them checked (MTA-STS): a \
                   file of roots (PEM), by its path within the data folder. Empty: those that browsers trust.",
        },
        Def {
            key: "sending.root_keys",
            kind: Kind::File,
            help: "What proves what the DNS says (DNSSEC, for DANE): a file with the keys of the root zone (DNSKEY records as in \
                   a zone file), by its path within the data folder. Empty: those of the internet.",
        },
    ],
};

const REPORTS: Section = Section {
    path: "reports",
    about: "Reports to other domains.",
    shown: true,
    settings: &[
        Def {
            key: "reports.send",
            kind: Kind::Switch { default: true },
            help: "Once a day, to each domain that asks for it: how many letters in its name came from where and whether they were \
                   proven to be its own (DMARC), and whether letters to it left encrypted (TLS-RPT). No letter's text, subject or \
                   address is in them.",
        },
        Def {
            key: "reports.failures",
            kind: Kind::Switch { default: false },
            help: "Of letters in a domain's name that failed its checks, to that domain if it asks for it: where each came from, and \
                   its header, with subject and addresses, but no text (DMARC failure reports). A few a day for each domain. \
                   Off, since they tell of other people's letters.",
        },
    ],
};

const UPDATE: Section = Section {
    path: "update",
    about: "New versions of the box's system.",
    shown: true,
    settings: &[
        Def {
            key: "update.url",
            kind: Kind::Url,
            help: "Where new versions are published: the folder that holds homepost-BOARD.head, as https://updates.example.org/homepost. \
                   Once a day the box looks there whether there is a newer one. Whoever runs that server cannot put anything on \
                   the box that is not signed by whom the box believes. Empty: nobody is asked.",
        },
        Def {
            key: "update.root",
            kind: Kind::File,
            help: "For a server of your own: the file (PEM) with the root certificate of where new versions are published, by its \
                   path within the data folder. Empty: those that browsers trust.",
        },
        Def {
            key: "update.install",
            kind: Kind::Switch { default: false },
            help: "A newer version that is found at update.url is put on the box by itself. The box restarts for it, and goes back \
                   by itself to the version before when the new one does not work. Off: somebody has to say so.",
        },
    ],
};

/// Where new versions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    pub url: String,
    pub root: String,
    /// By itself.
    pub install: bool,
}

/// What is reported to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportsSent {
    pub send: bool,
    /// Letters that failed, each.
    pub failures: bool,
}

/// How letters leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    pub on: bool,
    pub source: String,
    /// DKIM keys; 0: never.
    pub new_keys_after_days: u64,
    /// Of one account: people elsewhere that it writes to.
    pub recipients_per_hour: u64,
    pub new_recipients_per_hour: u64,
    pub new_recipients_per_day: u64,
    /// Of the queue.
    pub queue_letters: u64,
    pub queue_bytes: u64,
    pub dane: bool,
    pub trust: String,
    pub root_keys: String,
}

/// Without a host there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    pub host: String,
    pub port: u16,
    /// `implicit` or `starttls`.
    pub tls: String,
    pub user: String,
    pub spf: String,
    pub trust: String,
}

/// A relay for letters to some domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainRelay {
    /// As its section is called.
    pub name: String,
    /// Lower case, A-labels; with a dot before it what is below it.
    pub domains: Vec<String>,
    pub relay: Relay,
}

/// What domains ask for is done, or only written down.
pub(super) const OBEY: &[&str] = &["obey", "note"];

const CHECKS: Section = Section {
    path: "checks",
    about: "Who stands behind a letter from outside: SPF, DKIM, ARC and DMARC, asked while the sender waits. What is found stands \
            on top of each letter (Authentication-Results). Your own programs and devices that log in are not checked.",
    shown: true,
    settings: &[
        Def { key: "checks.on", kind: Kind::Switch { default: true }, help: "Whether letters are checked." },
        Def {
            key: "checks.dmarc",
            kind: Kind::Choice { default: "obey", of: OBEY },
            help: "obey: a letter that its own domain does not speak for is refused or put into Junk, as that domain asks. note: \
                   it is only written down.",
        },
        Def {
            key: "checks.forwarders",
            kind: Kind::Words { default: "" },
            help: "Domains of mailing lists and forwarders that you trust, as lists.example.org: when they have sealed a letter \
                   (ARC) and say that it was right when it came to them, it is let in, although they have changed it.",
        },
        Def {
            key: "checks.servers",
            kind: Kind::Words { default: "" },
            help: "Name servers that are asked, by their addresses, with or without a port. Empty: those that this machine uses.",
        },
        Def {
            key: "checks.wait",
            kind: time(20 * SECOND, SECOND, MINUTE),
            help: "How long all checks of one letter may take. What is not known then does not count against it.",
        },
    ],
};

/// Empty texts stand for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    pub on: bool,
    /// Whether what domains ask for is done.
    pub obey: bool,
    pub forwarders: Vec<String>,
    pub servers: Vec<String>,
    pub wait_ms: u64,
}

/// What is done with who is on a block list.
pub(super) const LISTED: &[&str] = &["refuse", "junk"];

const STRANGERS: Section = Section {
    path: "strangers",
    about: "What other mail servers have to go through before their letters are looked at. Your own programs and devices, and \
            all in the same house, do not.",
    shown: true,
    settings: &[
        Def {
            key: "strangers.lists",
            kind: Kind::Words { default: "zen.spamhaus.org" },
            help: "Block lists that are asked for the address of each server that brings mail, with spaces between them. One that \
                   does not answer lists nobody. Empty: none.",
        },
        Def {
            key: "strangers.listed",
            kind: Kind::Choice { default: "refuse", of: LISTED },
            help: "refuse: a server that is on one of them cannot bring mail but to postmaster, and whoever wrote hears why. junk: \
                   what it brings is put into Junk.",
        },
        Def {
            key: "strangers.greylist",
            kind: Kind::Switch { default: false },
            help: "Whether servers that were never here are asked to come again in five minutes. Most of those that send spam do \
                   not; a first letter from a good one is late.",
        },
    ],
};

/// How strangers are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strangers {
    pub lists: Vec<String>,
    /// Who is on one of them is refused; else what they bring is junk.
    pub refuse: bool,
    pub greylist: bool,
}

const MTA_STS: Section = Section {
    path: "mta_sts",
    about: "What other servers are told about mail to you: that it has to come encrypted, to a server with the right name.",
    shown: true,
    settings: &[Def {
        key: "mta_sts.mode",
        kind: Kind::Choice { default: "testing", of: POLICIES },
        help: "testing: others bring mail all the same, and report what would have gone wrong. enforce: they bring no mail \
               rather than over a way that somebody else could listen to; only for when the certificate is from an authority \
               and the reports are good. none: as if there were no rule. Each change changes the record _mta-sts.",
    }],
};

section! { SmtpLimits, "limits.smtp", "How much a stranger may ask of the ports that take mail.",
    message_bytes: "message_size" = size(50 * MIB, 64 * KIB, GIB),
        "The largest letter that is taken. Attachments grow by a third on their way, so 50 MiB carries files of 36 MiB.";
    command_line_bytes: "command_line_size" = size(4 * KIB, 512, 64 * KIB), "The longest command line.";
    header_bytes: "header_size" = size(MIB, 64 * KIB, 16 * MIB), "The longest header section of a letter.";
    body_line_bytes: "body_line_size" = size(64 * KIB, 1000, MIB), "The longest line within a letter.";
    parts: "parts" = count(10_000, 100, 100_000), "How many parts (texts, pictures, attachments) a letter may have.";
    depth: "depth" = count(100, 10, 1000), "How deep parts may lie within parts.";
    recipients: "recipients" = count(100, 100, 10_000), "How many recipients a letter may have at a time.";
    received_count: "received_count" = count(100, 30, 1000),
        "A letter that has passed through more servers than this is going round in circles, and is refused.";
    errors: "errors" = count(10, 1, 1000), "How many mistakes the other side may make before the connection is closed.";
    commands: "commands" = count(10_000, 100, 10_000_000), "How many commands a connection may send.";
    command_ms: "command_timeout" = time(5 * MINUTE, SECOND, HOUR), "How long to wait for the next command.";
    data_block_ms: "data_timeout" = time(3 * MINUTE, SECOND, HOUR), "How long to wait for the next piece of a letter.";
    message_ms: "message_timeout" = time(HOUR, MINUTE, 24 * HOUR), "How long one letter may take from its first byte to its last.";
    handshake_ms: "handshake_timeout" = time(MINUTE, SECOND, 10 * MINUTE), "How long securing the connection may take.";
    connections: "connections" = count(500, 10, 100_000), "How many connections may be open at once in all.";
    connections_per_address: "connections_per_address" = count(50, 1, 100_000),
        "How many of them may come from one IP address (of IPv6, one /64 network).";
    half_open: "half_open" = count(200, 5, 100_000),
        "How many of them may be unfinished: not secured yet, or not yet past their greeting.";
    connections_per_minute: "connections_per_minute" = count(60, 1, 100_000),
        "How often one IP address (of IPv6, one /64 network) may come to port 25 within a minute. Who comes more often is \
         asked to come again later.";
    commands_per_minute: "commands_per_minute" = count(1000, 100, 10_000_000),
        "How many commands such an address may give to port 25 within a minute, on all its connections together. A letter takes \
         about five.";
    unknown_recipients: "unknown_recipients" = count(20, 1, 100_000),
        "How many people who do not live here one such address may ask for within an hour, before it is asked to come again \
         later.";
}

section! { ImapLimits, "limits.imap", "How much a mail program may ask of the ports that show mail.",
    append_bytes: "append_size" = size(50 * MIB, 64 * KIB, GIB), "The largest letter that a mail program may file.";
    literal_bytes: "literal_size" = size(64 * KIB, KIB, 16 * MIB), "The longest piece of counted text within a command.";
    line_bytes: "line_size" = size(64 * KIB, 8 * KIB, MIB), "The longest line of a command.";
    command_bytes: "command_size" = size(MIB, 64 * KIB, 64 * MIB), "The longest command, all its pieces together.";
    errors: "errors" = count(20, 1, 1000), "How many commands that make no sense before the connection is closed.";
    idle_ms: "idle_timeout" = time(30 * MINUTE, 30 * MINUTE, 24 * HOUR), "How long a program that has logged in may be silent.";
    login_ms: "login_timeout" = time(2 * MINUTE, 10 * SECOND, HOUR), "How long it may take to log in.";
    handshake_ms: "handshake_timeout" = time(MINUTE, SECOND, 10 * MINUTE), "How long securing the connection may take.";
    connections: "connections" = count(1000, 10, 100_000), "How many connections may be open at once in all.";
    connections_per_address: "connections_per_address" = count(200, 1, 100_000),
        "How many of them may come from one IP address (of IPv6, one /64 network).";
    half_open: "half_open" = count(200, 5, 100_000), "How many of them may be unfinished: not secured yet.";
}

section! { LoginLimits, "limits.login", "How often somebody may try to log in, to read mail or to send it.",
    failures: "failures" = count(3, 1, 100), "How many wrong passwords before the connection is closed.";
    failures_per_address: "failures_per_address" = count(10, 1, 10_000),
        "How many wrong passwords may come from one IP address (of IPv6, one /64 network) before further log-ins from there \
         have to wait. A quarter of an hour without one, and it is forgotten.";
}

section! { StoreLimits, "limits.store", "How the disk and the memory are used.",
    checkpoint_bytes: "checkpoint_size" = size(8 * MIB, MIB, GIB),
        "How much is written to the journal before it is folded into the database. More spares an SD card and makes the \
         start after a power cut longer.";
    body_memory_bytes: "body_memory" = size(32 * MIB, MIB, 16 * GIB),
        "How much memory all letters that are just coming in may take together; beyond it they wait in files.";
}

/// Every section, in the order of the file.
pub const SECTIONS: [Section; 22] = [
    TOP,
    listener!("smtp", true, 25, "Mail from other servers. Without it you only get mail from yourself."),
    listener!("submissions", true, 465, "Mail that your own mail programs send, encrypted from the first byte."),
    listener!("submission", false, 587, "The same for older mail programs, which begin in the clear and then encrypt."),
    listener!("imaps", true, 993, "Reading mail with a mail program, encrypted from the first byte."),
    listener!("imap", false, 143, "The same for older mail programs, which begin in the clear and then encrypt."),
    listener!(
        "https",
        true,
        443,
        "Where mail programs find their settings, and an authority sees that the server's name is yours; later also the web pages."
    ),
    ACME,
    MTA_STS,
    CHECKS,
    STRANGERS,
    DNS,
    RELAY,
    RELAYS,
    SENDING,
    REPORTS,
    LINE,
    UPDATE,
    SmtpLimits::SECTION,
    ImapLimits::SECTION,
    LoginLimits::SECTION,
    StoreLimits::SECTION,
];

/// Every setting.
pub(super) fn defs() -> impl Iterator<Item = &'static Def> {
    const ALL: &[Section] = &SECTIONS;
    ALL.iter().flat_map(|section| section.settings.iter())
}

pub(super) fn find(key: &str) -> Option<&'static Def> {
    let known = relay_name(key).map(|(_, known)| known);
    let key = known.as_deref().unwrap_or(key);
    defs().find(|def| def.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn each_key_stands_once_in_its_own_section_with_a_default_within_its_bounds() {
        let mut seen = std::collections::BTreeSet::new();
        for section in &SECTIONS {
            for def in section.settings {
                assert!(seen.insert(def.key), "{} twice", def.key);
                let expected = if section.path.is_empty() {
                    def.name().to_owned()
                } else {
                    format!("{}.{}", section.path, def.name())
                };
                assert_eq!(def.key, expected);
                assert!(def.help.ends_with('.'), "{}", def.key);
                if let Some(value) = def.kind.default() {
                    assert_eq!(def.kind.read(&def.kind.write(&value)), Ok(value), "{}", def.key);
                }
            }
        }
    }

    /// The typed fields are read from the keys they say they are: a mistyped kind would come out as 0.
    #[test]
    fn no_limit_is_zero_by_default() {
        let shown = format!("{:?}", Settings::new("mail.example.test").unwrap());
        assert!(!shown.contains(": 0"), "{shown}");
        assert!(shown.contains("message_bytes: 52428800"), "{shown}");
    }
}
