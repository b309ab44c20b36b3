//! homepost: a mail server for one household.
//!
//! The modules below stand in layer order. A module may name only modules of a lower rank, and modules of one rank are
//! strangers to each other; `tests/architecture.rs` keeps that true. What each one is for, and what it does *not* know,
//! stands at the top of its `mod.rs`.

#![forbid(unsafe_code)]

// rank 0: clock, randomness, ids, the three error families.
pub mod base;
// rank 1: a message read and built.
pub mod message;
// rank 2: grammar, framing, replies and session machines.
pub mod proto;
// rank 2: who stands behind a letter.
pub mod mailauth;
// rank 3: tables, segments, blobs, look-up facts, the disk.
pub mod store;
// rank 3: listeners, TLS, the loop that drives a machine.
pub mod net;
// rank 4: every setting, once.
pub mod settings;
// rank 5: people, addresses, domains, credentials.
pub mod directory;
// rank 5: certificates, kept and renewed; the talk with an authority.
pub mod cert;
// rank 6: mailboxes, messages, flags, UIDs, the change log.
pub mod account;
// rank 7: what is still to be sent; what strangers have to go through.
pub mod filter;
pub mod queue;
// rank 8: accept or refuse a letter, and put it where it belongs.
pub mod delivery;
// rank 9: the machine we are, what a process of it gives up, and how its owner sets it up.
pub mod appliance;
// rank 10: what this server answers, one folder per protocol.
pub mod imap;
pub mod smtp;
// rank 11: what is asked for on 443, and the set-up pages on 8080.
pub mod web;
// rank 12: wiring and the command line.
pub mod server;
