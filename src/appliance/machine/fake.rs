//! A machine for tests: it remembers what it was asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::Time;

use super::{Error, Machine, Status, Stick, Update};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    SetClock(Time),
    Reboot,
    PowerOff,
    Show(Vec<String>),
    RefreshFirewall,
    WriteUpdate,
    ConfirmSlot,
    AbandonUpdate,
    OpenStick,
    CloseStick,
    PrepareStick(u64),
    Erase,
}

/// Does nothing, and says what [`Fake::set_status`] told it to.
#[derive(Default)]
pub struct Fake(Mutex<(Status, Vec<Act>)>, Mutex<Vec<Stick>>);

impl Fake {
    pub fn set_status(&self, status: Status) {
        self.held().0 = status;
    }

    pub fn set_sticks(&self, sticks: Vec<Stick>) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = sticks;
    }

    /// What was asked of it so far.
    pub fn acts(&self) -> Vec<Act> {
        self.held().1.clone()
    }

    fn held(&self) -> MutexGuard<'_, (Status, Vec<Act>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn did(&self, act: Act) -> Result<(), Error> {
        self.held().1.push(act);
        Ok(())
    }
}

impl Machine for Fake {
    fn status(&self) -> Result<Status, Error> {
        Ok(self.held().0.clone())
    }

    fn set_clock(&self, to: Time) -> Result<(), Error> {
        self.did(Act::SetClock(to))
    }

    fn reboot(&self) -> Result<(), Error> {
        self.did(Act::Reboot)
    }

    fn power_off(&self) -> Result<(), Error> {
        self.did(Act::PowerOff)
    }

    fn show(&self, lines: &[String]) -> Result<(), Error> {
        self.did(Act::Show(lines.to_vec()))
    }

    fn refresh_firewall(&self) -> Result<(), Error> {
        self.did(Act::RefreshFirewall)
    }

    fn check_update(&self) -> Result<String, Error> {
        Err(Error::Refused("there is no update".to_owned()))
    }

    fn write_update(&self) -> Result<(), Error> {
        self.did(Act::WriteUpdate)
    }

    fn confirm_slot(&self) -> Result<(), Error> {
        let running = self.held().0.running_slot();
        self.held().0.update = Update { confirmed: running, ..Update::default() };
        self.did(Act::ConfirmSlot)
    }

    fn abandon_update(&self) -> Result<(), Error> {
        self.held().0.update.trial = None;
        self.did(Act::AbandonUpdate)
    }

    fn sticks(&self) -> Result<Vec<Stick>, Error> {
        Ok(self.1.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn open_stick(&self) -> Result<(), Error> {
        self.did(Act::OpenStick)
    }

    fn close_stick(&self) -> Result<(), Error> {
        self.did(Act::CloseStick)
    }

    fn prepare_stick(&self, insertion: u64) -> Result<(), Error> {
        self.did(Act::PrepareStick(insertion))
    }

    fn erase(&self) -> Result<(), Error> {
        self.did(Act::Erase)
    }
}
