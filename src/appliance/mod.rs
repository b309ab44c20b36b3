//! The box: what a mail server needs to know of the machine it is, and what it may do to it.
//!
//! `dnsguide` says which records a domain needs, and what is wrong with those that are there.
//! `machine` is the only door to disks, mounts, slots, power and clock: a process of its own, with a short list of verbs.
//! `sandbox` is what the kernel is told of a process when it starts: what it will never do from then on.
//!
//! Does not know: HTML, protocols, mail.

pub mod dnsguide;
pub mod machine;
pub mod sandbox;
