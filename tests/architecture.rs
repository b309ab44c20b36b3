//! Keeps the map true: who may name whom, and what may be named where.
//!
//! Two tables, [`RANKS`] and [`ONLY_HERE`]. Every path in every file under `src` is read with syn, made absolute, and held
//! against both. The rules are themselves tested with planted violations below, so that none of them can fall asleep.

#[path = "architecture/paths.rs"]
mod paths;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use paths::{Mention, mentions};

/// A module may name only modules of a lower rank; those of one rank are strangers.
const RANKS: &[(u8, &[&str])] = &[
    (0, &["base"]),
    (1, &["message"]),
    (2, &["proto", "sieve", "mailauth"]),
    (3, &["store", "net"]),
    (4, &["settings"]),
    (5, &["directory", "cert"]),
    (6, &["account"]),
    (7, &["queue", "filter"]),
    (8, &["delivery"]),
    (9, &["appliance"]),
    (10, &["smtp", "imap", "pop3", "managesieve", "jmap"]),
    (11, &["web"]),
    (12, &["server"]),
];

/// Inside `proto` the protocols are strangers too; this one serves them all.
const PROTO_SHARED: &str = "sasl";

struct Only {
    /// Paths that begin like one of these; a last segment ending in `*` stands for every crate that begins so.
    what: &'static [&'static str],
    /// Paths with these segments anywhere (two segments: one after the other), whatever stands before.
    parts: &'static [&'static str],
    /// The folders that may.
    here: &'static [&'static str],
    why: &'static str,
}

const ONLY_HERE: &[Only] = &[
    Only {
        what: &["redb"],
        parts: &["redb"],
        here: &["store/data", "store/lookup"],
        why: "rows are reached through store::Data and store::lookup, so that nothing of redb shows through",
    },
    Only {
        what: &["tantivy"],
        parts: &["tantivy"],
        here: &["store/text"],
        why: "the index is reached through store::text, and can be thrown away",
    },
    Only {
        what: &["sled"],
        parts: &[],
        here: &["store/lookup"],
        why: "sled keeps only what may be lost: the lookup store's second backend",
    },
    Only {
        what: &["std::fs", "tokio::fs", "rustix::fs", "std::os::unix::fs"],
        parts: &[],
        here: &["store", "settings", "appliance/machine", "server"],
        why: "files are touched where a cut of the power is thought of and tested",
    },
    Only {
        what: &[
            "tokio::net",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "rustix::net",
            "socket2",
            "if_addrs",
        ],
        parts: &[],
        here: &["net"],
        why: "sockets belong to the one loop that drives any session machine",
    },
    Only {
        what: &["rustls", "tokio_rustls"],
        parts: &["rustls", "tokio_rustls"],
        here: &["net", "cert", "directory"],
        why: "TLS is made in net (its types also in cert and directory)",
    },
    Only {
        what: &["hyper", "hyper_util"],
        parts: &["hyper"],
        here: &["net", "web", "cert"],
        why: "HTTP is spoken in net and web (and through instant-acme in cert)",
    },
    Only { what: &["axum"], parts: &["axum"], here: &["net", "web"], why: "HTTP is spoken in net and web" },
    Only {
        what: &["tiny_http"],
        parts: &["tiny_http"],
        here: &["web/setup"],
        why: "it has no time-outs: only the set-up page on 8080 uses it",
    },
    Only {
        what: &["hickory*"],
        parts: &["hickory*"],
        here: &["net/dns", "mailauth"],
        why: "names are resolved in net/dns; mailauth is handed a resolver",
    },
    Only {
        what: &["dns_update"],
        parts: &[],
        here: &["net/dns"],
        why: "records are written through net::dns::Writer, whoever keeps them",
    },
    Only {
        what: &["landlock", "seccompiler", "libc"],
        parts: &[],
        here: &["appliance/sandbox"],
        why: "what a process gives up stands on one page; everything else of the system is reached through rustix",
    },
    Only {
        what: &["getrandom", "rand", "rand_core", "aws_lc_rs::rand"],
        parts: &[
            "SystemTime::now",
            "Instant::now",
            "Utc::now",
            "Local::now",
            "OffsetDateTime::now_utc",
            "OsRng",
            "SysRng",
            "SystemRandom",
            "RandomState::new",
        ],
        here: &["base"],
        why: "time and randomness are handed in (base::Clock, base::Random), so that a bad night is a seed that replays",
    },
];

#[test]
fn every_path_keeps_to_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = crates(&fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml"));
    let mut files = Vec::new();
    gather(&root.join("src"), &mut files);
    assert!(files.len() > 20, "only {} files found under src", files.len());

    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in &files {
        let source = fs::read_to_string(file).expect("a readable source file");
        let name = file.strip_prefix(root).expect("under the root").to_string_lossy().replace('\\', "/");
        let (found, violations) = judge(&name, &source, &crates);
        seen += found;
        wrong.extend(violations);
    }
    assert!(seen > 1_000, "only {seen} paths found: the reader has gone blind");
    assert!(wrong.is_empty(), "{} breach(es) of the map:\n\n{}\n", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_module_of_the_crate_has_a_rank() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(root).expect("src") {
        let name = entry.expect("an entry").file_name().to_string_lossy().trim_end_matches(".rs").to_string();
        if !matches!(name.as_str(), "lib" | "main" | "bin") {
            assert!(rank(&name).is_some(), "src/{name} has no rank: give it a place in RANKS, and in src/lib.rs");
        }
    }
}

/// How many paths were read, and what is wrong with some of them.
fn judge(name: &str, source: &str, crates: &BTreeSet<String>) -> (usize, Vec<String>) {
    let module = module_of(name);
    let found = match mentions(source, &module, crates) {
        Ok(found) => found,
        Err(error) => return (0, vec![format!("{name}:{}: cannot be read: {error}", error.span().start().line)]),
    };
    let mut wrong = BTreeSet::new();
    for mention in &found {
        for (rule, why) in [layer(name, mention), evasion(mention)].into_iter().flatten() {
            wrong.insert((mention.line, format!("{rule}\n    {why}")));
        }
        for only in ONLY_HERE {
            if only.names(&mention.path, &mention.module) && !only.allows(name) {
                wrong.insert((
                    mention.line,
                    format!(
                        "names `{}`, which only {} may\n    {}",
                        mention.path.join("::"),
                        only.here.join(", "),
                        only.why
                    ),
                ));
            }
        }
    }
    (found.len(), wrong.into_iter().map(|(line, words)| format!("{name}:{line}: {words}")).collect())
}

/// The first table.
fn layer(name: &str, mention: &Mention) -> Option<(String, String)> {
    if mention.path.first().is_none_or(|first| first != "crate") {
        return None;
    }
    let to = mention.path.get(1)?;
    // `main.rs` belongs to the server; `lib.rs` only declares.
    let from = match name {
        "src/main.rs" => "server",
        "src/lib.rs" => return None,
        _ => mention.module.first()?.as_str(),
    };
    let whole = mention.path.join("::");
    if from == to {
        return strangers_in_proto(mention);
    }
    let Some(to_rank) = rank(to) else {
        return Some((
            format!("names `{whole}`, and `{to}` is not on the map"),
            "the crate's root holds only the modules of RANKS".to_string(),
        ));
    };
    let from_rank = rank(from)?;
    if to_rank < from_rank {
        return None;
    }
    let relation = if to_rank == from_rank { "a stranger of the same rank" } else { "of a higher rank" };
    Some((
        format!("`{from}` (rank {from_rank}) names `{whole}`, {relation} ({to_rank})"),
        "a module may name only modules of a lower rank; see the map in src/lib.rs".to_string(),
    ))
}

fn strangers_in_proto(mention: &Mention) -> Option<(String, String)> {
    let from = mention.module.get(1)?;
    let to = mention.path.get(2)?;
    // `crate::proto::Session` is proto itself; a protocol is a module, in lower case.
    let is_module = to.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_child = mention.path.len() > 3 || is_module;
    if mention.module[0] != "proto" || from == to || !is_module || !is_child || to == PROTO_SHARED {
        return None;
    }
    Some((
        format!("`proto::{from}` names `{}`", mention.path.join("::")),
        format!("protocols are strangers to each other; they share only `proto::{PROTO_SHARED}` and `proto` itself"),
    ))
}

/// What would lead this test astray.
fn evasion(mention: &Mention) -> Option<(String, String)> {
    let [only] = mention.path.as_slice() else { return None };
    matches!(only.as_str(), "include" | "attr path")
        .then(|| (format!("uses `{only}`"), "files stand where their module says, or no map can be kept".to_string()))
}

impl Only {
    fn names(&self, path: &[String], module: &[String]) -> bool {
        // Our own module of that name (`store::lookup::sled`) is not the crate, and is judged by where it stands.
        let ours = path.first().is_some_and(|first| first == "crate");
        let own = ours && path.len() > 1 && module.first() == path.get(1);
        self.what.iter().any(|what| {
            let what: Vec<&str> = what.split("::").collect();
            path.len() >= what.len() && what.iter().zip(path).all(|(want, got)| same(want, got))
        }) || self.parts.iter().any(|part| {
            let part: Vec<&str> = part.split("::").collect();
            let one = part.len() == 1;
            // A single name deep in a path of ours is a re-export (`crate::store::redb::Error`).
            let applies = !one || (ours && !own) || part[0].chars().next().is_some_and(char::is_uppercase);
            applies && path.windows(part.len()).any(|window| part.iter().zip(window).all(|(want, got)| same(want, got)))
        })
    }

    fn allows(&self, name: &str) -> bool {
        let place = name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let place = if place == "main" { "server" } else { place };
        self.here.iter().any(|here| place == *here || place.starts_with(&format!("{here}/")))
    }
}

fn same(want: &str, got: &str) -> bool {
    match want.strip_suffix('*') {
        Some(start) => got.starts_with(start),
        None => want == got,
    }
}

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(_, modules)| modules.contains(&module)).map(|(rank, _)| *rank)
}

/// `src/store/data/mod.rs` is the module `store::data`.
fn module_of(name: &str) -> Vec<String> {
    let place = name.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = place.split('/').map(String::from).collect();
    if parts.last().is_some_and(|last| last == "mod") || matches!(place, "lib" | "main") {
        parts.pop();
    }
    parts
}

/// The names by which other crates can be named: std's and those of Cargo.toml.
fn crates(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let mut names: BTreeSet<String> = ["std", "core", "alloc"].map(String::from).into();
    for table in ["dependencies", "dev-dependencies"] {
        let table = manifest.get(table).and_then(|table| table.as_table()).expect("a table of dependencies");
        names.extend(table.keys().map(|name| name.replace('-', "_")));
    }
    // Ours stand here too when Cargo.toml does not name them yet, so that the planted violations mean what they say.
    for only in ONLY_HERE {
        names.extend(only.what.iter().filter_map(|what| what.split("::").next()).map(String::from));
    }
    names.extend(["hickory_resolver", "hickory_proto", "mail_auth"].map(String::from));
    names
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            gather(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

// ---- the rules, held against what they must catch and what they must let pass ----

fn breaches(name: &str, source: &str) -> Vec<String> {
    judge(name, source, &crates(include_str!("../Cargo.toml"))).1
}

#[track_caller]
fn caught(name: &str, source: &str) {
    let wrong = breaches(name, source);
    assert!(!wrong.is_empty(), "not caught in {name}: {source}");
    assert!(wrong.iter().all(|words| words.starts_with(&format!("{name}:"))), "{wrong:?}");
}

#[track_caller]
fn passes(name: &str, source: &str) {
    let wrong = breaches(name, source);
    assert!(wrong.is_empty(), "caught in {name}: {wrong:?}\n{source}");
}

#[test]
fn a_higher_rank_is_caught_however_it_is_written() {
    for source in [
        "use crate::account::Mailbox;",
        "use crate::{base::Time, account::Mailbox};",
        "use crate::account::{self as a, Mailbox};",
        "use crate::account as folders; fn f() { folders::open() }",
        "use super::account::Mailbox;",
        "use super::super::account::Mailbox;",
        "use homepost::account::Mailbox;",
        "pub use crate::account;",
        "use crate as root; fn f() { root::account::open() }",
        "use crate::*; fn f() { account::open() }",
        "fn f() { crate::account::open() }",
        "fn f() { g(crate::account::open) }",
        "fn f(_: crate::account::Mailbox) {}",
        "fn f() -> Option<Vec<crate::account::Mailbox>> { None }",
        "struct S { m: Box<dyn crate::account::Keep> }",
        "impl crate::account::Keep for S {}",
        "fn f<T: crate::account::Keep>() {}",
        "fn f() { let _ = <crate::account::Mailbox as Default>::default(); }",
        "fn f() { let _ = <crate::account::Mailbox>::new(); }",
        "fn f() { println!(\"{}\", crate::account::count()); }",
        "fn f() { tokio::select! { _ = async { super::super::account::wait().await } => {} } }",
        "fn f() { crate::account::log!(1); }",
        "macro_rules! m { () => { $crate::account::open() } }",
        "#[derive(crate::account::Row)] struct S;",
        "fn f() { use crate::account::open; open() }",
        "mod inner { use crate::account::open; }",
        "mod inner { fn f() { super::super::super::account::open() } }",
        "fn f(m: u8) { match m { crate::account::TOP => {} _ => {} } }",
        "#[cfg(test)] mod tests { use crate::account::Mailbox; }",
    ] {
        let deep = source.contains("super::super");
        caught(if deep { "src/store/data/mod.rs" } else { "src/store/mod.rs" }, source);
    }
}

#[test]
fn each_rank_may_name_what_is_below_and_nothing_else() {
    for (from_rank, froms) in RANKS {
        for from in *froms {
            for (to_rank, tos) in RANKS {
                for to in *tos {
                    let (name, source) = (format!("src/{from}/thing.rs"), format!("use crate::{to}::Thing;"));
                    if to_rank < from_rank || to == from {
                        passes(&name, &source);
                    } else {
                        caught(&name, &source);
                    }
                }
            }
        }
    }
}

#[test]
fn a_breach_says_where_what_and_why() {
    let wrong = breaches("src/smtp/rcpt.rs", "\n\nuse crate::imap::Fetch;\n");
    assert_eq!(wrong.len(), 1);
    assert!(
        wrong[0].starts_with("src/smtp/rcpt.rs:3: `smtp` (rank 10) names `crate::imap::Fetch`, a stranger"),
        "{wrong:?}"
    );
    let wrong = breaches("src/delivery/intake.rs", "fn f() {\n    std::fs::read(\"x\");\n}\n");
    assert!(wrong[0].starts_with("src/delivery/intake.rs:2: names `std::fs::read`, which only store, "), "{wrong:?}");
}

#[test]
fn protocols_share_only_sasl() {
    caught("src/proto/smtp/mod.rs", "use crate::proto::imap::Ask;");
    caught("src/proto/smtp/mod.rs", "use super::imap::Ask;");
    caught("src/proto/smtp/grammar/path.rs", "use super::super::super::imap;");
    caught("src/proto/sasl/plain.rs", "use crate::proto::smtp::Machine;");
    passes(
        "src/proto/smtp/mod.rs",
        "use crate::proto::sasl::SaslAsk; use super::{Session, Event}; use crate::base::Mono;",
    );
    passes("src/proto/imap/mod.rs", "use super::imap::ask::Ask; pub use ask::Answer; mod ask;");
    passes("src/proto/mod.rs", "pub mod imap; pub mod smtp;");
}

#[test]
fn nothing_names_the_server_and_main_may() {
    caught("src/web/mod.rs", "use crate::server::run;");
    passes("src/main.rs", "fn main() { homepost::server::main() }");
    passes(
        "src/main.rs",
        "#[cfg(feature = \"mimalloc\")] #[global_allocator] static A: mimalloc::MiMalloc = mimalloc::MiMalloc;",
    );
    caught("src/main.rs", "fn main() { homepost::unknown::main() }");
    caught("src/account/mod.rs", "fn f() { crate::helper() }");
}

#[test]
fn each_guarded_name_is_caught_outside_its_folder_and_passes_inside() {
    let plain = [
        ("use redb::Database;", "src/store/data/engine.rs"),
        ("use redb::Database;", "src/store/lookup/redb.rs"),
        ("use tantivy::Index;", "src/store/text/mod.rs"),
        ("use sled::Db;", "src/store/lookup/sled.rs"),
        ("use std::fs;", "src/store/disk.rs"),
        ("use std::fs::File;", "src/settings/file.rs"),
        ("use std::{fs, io};", "src/appliance/machine/real.rs"),
        ("fn f() { std::fs::read(\"x\"); }", "src/server/cli/init.rs"),
        ("use tokio::fs;", "src/store/disk.rs"),
        ("use std::os::unix::fs::PermissionsExt;", "src/store/disk.rs"),
        ("use tokio::net::TcpStream;", "src/net/listen.rs"),
        ("use tokio::{net::UnixListener, io};", "src/net/listen.rs"),
        ("fn f() { std::net::TcpListener::bind(\"x\"); }", "src/net/listen.rs"),
        ("use rustls::ServerConfig;", "src/net/tls.rs"),
        ("use tokio_rustls::TlsAcceptor;", "src/net/tls.rs"),
        ("use rustls::pki_types::CertificateDer;", "src/cert/mod.rs"),
        ("use rustls::ClientConfig;", "src/directory/ldap.rs"),
        ("use hyper::Request;", "src/net/http.rs"),
        ("use hyper::Request;", "src/cert/acme.rs"),
        ("use axum::Router;", "src/web/mod.rs"),
        ("use tiny_http::Server;", "src/web/setup/mod.rs"),
        ("use hickory_resolver::Resolver;", "src/net/dns/mod.rs"),
        ("use hickory_proto::rr::Name;", "src/mailauth/mod.rs"),
        ("use dns_update::DnsUpdater;", "src/net/dns/provider.rs"),
        ("use landlock::Ruleset;", "src/appliance/sandbox/files.rs"),
        ("use seccompiler::SeccompFilter;", "src/appliance/sandbox/calls.rs"),
        ("fn f() { libc::SYS_read; }", "src/appliance/sandbox/calls.rs"),
        ("use std::time::Instant; fn f() { Instant::now(); }", "src/base/clock.rs"),
        ("fn f() { std::time::SystemTime::now(); }", "src/base/clock.rs"),
        ("use std::time::SystemTime as T; fn f() { T::now(); }", "src/base/clock.rs"),
        ("fn f() { tokio::time::Instant::now(); }", "src/base/clock.rs"),
        ("use std::time::*; fn f() { Instant::now(); }", "src/base/clock.rs"),
        ("fn f() { <std::time::Instant>::now(); }", "src/base/clock.rs"),
        ("fn f() -> Option<std::time::Instant> { None.or_else(|| g(std::time::Instant::now)) }", "src/base/clock.rs"),
        ("fn f() { getrandom::fill(&mut []); }", "src/base/random.rs"),
        ("use aws_lc_rs::rand::SystemRandom;", "src/base/random.rs"),
        ("fn f() { dbg!(argon2::password_hash::rand_core::OsRng); }", "src/base/random.rs"),
    ];
    for (source, home) in plain {
        caught("src/delivery/intake.rs", source);
        passes(home, source);
    }
    // Every line of the table is held against something above.
    for only in ONLY_HERE {
        let tried = plain
            .iter()
            .any(|(source, _)| breaches("src/delivery/intake.rs", source).iter().any(|words| words.contains(only.why)));
        assert!(tried, "no planted breach for {:?}", only.what);
    }
}

#[test]
fn guarded_names_are_caught_however_they_are_written() {
    for source in [
        "extern crate redb;",
        "extern crate redb as db;",
        "use redb as db;",
        "use ::redb::Database;",
        "use tokio as t; fn f() { t::fs::read(\"x\"); }",
        "use std as s; fn f() { s::fs::read(\"x\"); }",
        "use crate::store::data::redb::Database;",
        "fn f() { assert!(std::fs::exists(\"x\")); }",
        "fn f() { r#std::r#fs::read(\"x\"); }",
        "macro_rules! m { ($e:expr) => { use std::{io, fs}; } }",
        "fn f() { async { ::std::fs::read(\"x\") }; }",
    ] {
        caught("src/delivery/intake.rs", source);
    }
    // Farther down than where it may be.
    caught("src/store/blob.rs", "use redb::Database;");
    caught("src/web/mod.rs", "use tiny_http::Server;");
    caught("src/net/mod.rs", "use hickory_resolver::Resolver;");
    caught("src/appliance/backup.rs", "use std::fs;");
}

#[test]
fn what_only_looks_alike_passes() {
    passes("src/store/lookup/mod.rs", "mod sled; pub use sled::Sled;");
    passes("src/smtp/mod.rs", "use std::net::IpAddr; use std::time::{Duration, Instant, SystemTime};");
    passes("src/smtp/mod.rs", "mod fs; use fs::x; fn f() { now(); clock.now(); base::now(); }");
    passes(
        "src/message/mod.rs",
        "/// As std::fs::File and crate::server would.\n// crate::server\nfn f() { g(\"std::fs\"); }",
    );
    passes("src/imap/mod.rs", "use tokio::time::sleep; use tokio::io::AsyncReadExt; use crate::account::Changes;");
}

#[test]
fn files_stand_where_their_module_says() {
    caught("src/store/mod.rs", "#[path = \"../server/mod.rs\"] mod server;");
    caught("src/store/mod.rs", "include!(\"other.rs\");");
}
