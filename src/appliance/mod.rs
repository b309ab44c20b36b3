//! The box: what a mail server needs to know of the machine it is, what it may do to it, and how its owner sets it up.
//!
//! `dnsguide` says which records a domain needs, and what is wrong with those that are there.
//! `machine` is the only door to disks, mounts, slots, power and clock: a process of its own, with a short list of verbs.
//! `update` is what may be believed of a file that says it is the next version. `sandbox` is what the kernel is told of a
//! process when it starts: what it will never do from then on. `wizard` is set-up as questions and answers; `linetest` judges
//! the internet line; `attached` reads which networks are at hand; `words` are what people compare and copy; `backup` copies
//! everything into an archive and puts it back; `writing` is what pages show of records that are written by themselves;
//! `forgotten` is what proves that somebody owns the box, and `rescue` what a box that serves no mail does for its owner.
//!
//! Does not know: HTML, protocols, mail.

pub mod attached;
pub mod backup;
pub mod dnsguide;
pub mod forgotten;
pub mod linetest;
pub mod machine;
pub mod rescue;
pub mod sandbox;
pub mod update;
pub mod wizard;
pub mod words;
pub mod writing;
