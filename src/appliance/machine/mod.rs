//! The one door to the machine itself: its clock, its power, its console, its system slots.
//!
//! On a box there are two processes of the one binary. `homepost serve` talks to strangers and may do nothing to the
//! machine; `homepost machine` is root, talks to nobody but `serve`, and does what is on a short list of verbs
//! ([`Request`]). Between them is a Unix socket ([`door`]).
//!
//! [`Machine`] is that list as a trait: [`Real`] does it, [`Client`] has it done by the other process, [`Fake`] is for
//! tests. Off the box there is no socket, and [`Client`] says so where it is asked.
//!
//! Does not know: mail, settings, accounts, the network.
//!
//! Invariants, cited by tests:
//! - A1: what is not on the list is refused in words. No verb takes a path, a command or a piece of one.
//! - A2: only root and the user of the mail service are heard.
//! - A3: the clock is never set before the last time known, nor so far ahead that this would keep the right time out.
//!
//! A4 and A5 are about sticks ([`stick`]).

pub mod boot;
mod client;
pub mod door;
pub mod erase;
mod facts;
mod fake;
mod real;
mod slots;
pub mod start;
pub mod stick;
mod updating;

use serde::{Deserialize, Serialize};

use crate::base::Time;

pub use boot::Slot;
pub use client::Client;
pub use fake::{Act, Fake};
pub use real::{Real, leave_network, user};
pub use stick::Stick;
pub use updating::{Step, Update};

/// Whether the loader says that this start is a trial, whatever else can be found out.
pub fn is_trial_start() -> bool {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    facts::is_trial(&line, std::fs::read(TRYBOOT).ok().as_deref())
}

/// Of a Raspberry Pi's firmware.
const TRYBOOT: &str = "/proc/device-tree/chosen/bootloader/tryboot";

/// Where the socket is on a box.
pub const SOCKET: &str = "/run/homepost/machine.sock";

/// Lines that [`Machine::show`] takes at most, and characters a line.
pub const SHOWN_LINES: usize = 4;
pub const SHOWN_CHARACTERS: usize = 76;

pub trait Machine: Send + Sync {
    fn status(&self) -> Result<Status, Error>;
    /// Sets the clock of a box that has not been told the time by the network.
    fn set_clock(&self, to: Time) -> Result<(), Error>;
    /// Begins to end everything in order, and to start again. The answer comes before.
    fn reboot(&self) -> Result<(), Error>;
    fn power_off(&self) -> Result<(), Error>;
    /// Shows lines on the screen and the serial console, under the state, until others come; none takes them away.
    fn show(&self, lines: &[String]) -> Result<(), Error>;
    /// Has the firewall look again which ports are on.
    fn refresh_firewall(&self) -> Result<(), Error>;
    /// Whether this box should have the update that the mail service put down, and which version that is. A refusal says why
    /// not.
    fn check_update(&self) -> Result<String, Error>;
    /// Begins to write it to the slot that does not run; [`Status::update`] says how far that is. After it the next start is
    /// a trial.
    fn write_update(&self) -> Result<(), Error>;
    /// The system that runs, which is on trial, is the one that starts from now on.
    fn confirm_slot(&self) -> Result<(), Error>;
    /// Nothing waits for its trial any more, and one that failed is over.
    fn abandon_update(&self) -> Result<(), Error>;
    /// The USB sticks that are in.
    fn sticks(&self) -> Result<Vec<Stick>, Error>;
    /// What is on the stick labelled HOMEPOST is in [`stick::at`] from now on. To be said again every few minutes, as long as
    /// it is used.
    fn open_stick(&self) -> Result<(), Error>;
    /// It can be pulled out.
    fn close_stick(&self) -> Result<(), Error>;
    /// Empties the stick of this [`Stick::insertion`] and makes it one for homepost.
    fn prepare_stick(&self, insertion: u64) -> Result<(), Error>;
    /// Restarts, and makes the box as new on the way: nothing that it held is left ([`erase`]). A cut does not keep it from that.
    fn erase(&self) -> Result<(), Error>;
}

/// What the machine says of itself. What it does not know is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the running system.
    pub version: String,
    /// The slot it runs from: "a" or "b".
    pub slot: Option<String>,
    /// Whether the clock was set by the network since the start. Certificates and signatures are not judged by one that
    /// was not.
    pub clock_trusted: bool,
    /// Seconds since 1970: the time is not before this.
    pub clock_floor: i64,
    /// What keeps the box from serving mail, in words for its owner.
    pub problem: Option<String>,
    /// What its owner should know besides.
    pub notice: Option<String>,
    /// What the health check found last.
    pub health: Option<String>,
    /// By which it is reached; none of this machine alone.
    pub addresses: Vec<String>,
    /// The ports that the firewall lets in.
    pub open_ports: Vec<u16>,
    /// The data partition.
    pub disk: Option<Disk>,
    /// Since the start.
    pub uptime_seconds: u64,
    /// What is known of updates.
    #[serde(default)]
    pub update: Update,
}

impl Status {
    /// Whether the running system has yet to be confirmed.
    pub fn on_trial(&self) -> bool {
        self.update.trial.is_some() && self.running_slot() == self.update.trial
    }

    pub fn running_slot(&self) -> Option<Slot> {
        self.slot.as_deref().and_then(Slot::read)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

/// Why it was not done. Sentences for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such process: this is a computer like others.
    NoBox,
    /// It would be wrong.
    Refused(String),
    /// It did not work.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NoBox => {
                f.write_str("this is not a homepost box, so clock, power and disks are not homepost's to touch")
            }
            Error::Refused(words) | Error::Failed(words) => f.write_str(words),
        }
    }
}

/// The verbs, as they go over the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Status,
    SetClock { seconds: i64 },
    Reboot,
    PowerOff,
    Show { lines: Vec<String> },
    RefreshFirewall,
    CheckUpdate {},
    WriteUpdate {},
    ConfirmSlot {},
    AbandonUpdate {},
    Sticks {},
    OpenStick {},
    CloseStick {},
    PrepareStick { insertion: u64 },
    Erase {},
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Done,
    Version(String),
    Status(Box<Status>),
    Sticks(Vec<Stick>),
    Refused(String),
    Failed(String),
}

/// Does what a request asks, or says in words why not (A1).
fn answer(machine: &dyn Machine, request: &[u8]) -> Reply {
    let request = match serde_json::from_slice(request) {
        Ok(request) => request,
        Err(error) => return Reply::Refused(format!("the machine does not do that: {error}")),
    };
    let done = match request {
        Request::Status => return machine.status().map_or_else(refused, |status| Reply::Status(Box::new(status))),
        Request::SetClock { seconds } => machine.set_clock(Time::from_seconds(seconds)),
        Request::Reboot => machine.reboot(),
        Request::PowerOff => machine.power_off(),
        Request::Show { lines } => machine.show(&lines),
        Request::RefreshFirewall => machine.refresh_firewall(),
        Request::CheckUpdate {} => return machine.check_update().map_or_else(refused, Reply::Version),
        Request::WriteUpdate {} => machine.write_update(),
        Request::ConfirmSlot {} => machine.confirm_slot(),
        Request::AbandonUpdate {} => machine.abandon_update(),
        Request::Sticks {} => return machine.sticks().map_or_else(refused, Reply::Sticks),
        Request::OpenStick {} => machine.open_stick(),
        Request::CloseStick {} => machine.close_stick(),
        Request::PrepareStick { insertion } => machine.prepare_stick(insertion),
        Request::Erase {} => machine.erase(),
    };
    done.map_or_else(refused, |()| Reply::Done)
}

fn refused(error: Error) -> Reply {
    match error {
        Error::Refused(words) => Reply::Refused(words),
        Error::Failed(_) | Error::NoBox => Reply::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_the_list_is_refused_in_words_and_nothing_is_done() {
        let machine = Fake::default();
        for request in [
            &br#"{"verb":"run","command":"sh"}"#[..],
            br#"{"verb":"mount","device":"/dev/sda"}"#,
            br#"{"verb":"write-update","from":"/tmp/x"}"#,
            br#"{"verb":"show","lines":["x"],"to":"/etc/passwd"}"#,
            br#"{"verb":"open-stick","device":"/dev/sda1"}"#,
            br#"{"verb":"prepare-stick"}"#,
            br#"{"verb":"erase","folder":"/etc"}"#,
            br#"{"verb":"set-clock"}"#,
            br#"{"verb":"set-clock","seconds":"1"}"#,
            br#"{"verb":7}"#,
            b"\"status\"",
            b"[]",
            b"",
            b"\xff\xfe",
            &[b'['; 60_000],
        ] {
            let Reply::Refused(words) = answer(&machine, request) else { panic!("{request:?}") };
            assert!(words.starts_with("the machine does not do that: "), "{words}");
        }
        assert_eq!(machine.acts(), [], "A1");
    }

    #[test]
    fn each_verb_does_its_own_and_no_other() {
        let verbs: [(&[u8], Act); 12] = [
            (br#"{"verb":"set-clock","seconds":1800000000}"#, Act::SetClock(Time::from_seconds(1_800_000_000))),
            (br#"{"verb":"reboot"}"#, Act::Reboot),
            (br#"{"verb":"power-off"}"#, Act::PowerOff),
            (br#"{"verb":"show","lines":["code 1"]}"#, Act::Show(vec!["code 1".to_owned()])),
            (br#"{"verb":"refresh-firewall"}"#, Act::RefreshFirewall),
            (br#"{"verb":"write-update"}"#, Act::WriteUpdate),
            (br#"{"verb":"confirm-slot"}"#, Act::ConfirmSlot),
            (br#"{"verb":"abandon-update"}"#, Act::AbandonUpdate),
            (br#"{"verb":"open-stick"}"#, Act::OpenStick),
            (br#"{"verb":"close-stick"}"#, Act::CloseStick),
            (br#"{"verb":"prepare-stick","insertion":7}"#, Act::PrepareStick(7)),
            (br#"{"verb":"erase"}"#, Act::Erase),
        ];
        for (request, act) in verbs {
            let machine = Fake::default();
            assert_eq!(answer(&machine, request), Reply::Done);
            assert_eq!(machine.acts(), [act]);
        }
    }
}
