//! Set-up as questions and answers: what is asked, in which order, what follows from an answer, who may give it.
//!
//! [`Wizard`] is a pure machine. Answers, facts and the ends of jobs go in; what is to be kept and what is to be asked of the
//! world come out. [`Desk`] is the one place where it meets its [`Host`]: it keeps first and shows then, so that what
//! a person has seen answered is still answered after a power cut. Pages, command line, `homepost.toml` and tests drive the
//! same machine.
//!
//! Does not know: HTML, sockets, files, clocks, stores.
//!
//! Invariants, cited by tests:
//! - W1: from the moment the administrator exists the code opens nothing; the rest needs that person's session.
//! - W2: nothing is shown as answered before the host has kept it.
//! - W3: waiting never stands in the way of what does not depend on it.
//! - W4: wrong tries slow down for everybody together, and a restart is no way round it.
//! - W5: no secret is in what [`Wizard::steps`] says, in a [`Refusal`], or in a `Debug`.

mod answer;
mod code;
mod desk;
mod door;
mod facts;
mod file;
mod job;
mod machine;
mod rehearsal;
mod relay;
mod saved;
mod states;
mod step;
mod trial;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Refusal, Secret};
pub use code::{Code, pause_ms};
pub use desk::{Desk, Host, Said, View};
pub use door::{Token, Who};
pub use facts::{Authority, Clock, Facts, Internet, Offer, Offered, PuttingBack, Relay, Seen, Vouched, Vouching};
pub use file::{Given, read as read_file};
pub use job::{Before, Existing, Job, Outcome, Piece, PieceState};
pub use machine::{HOME, Wizard, span};
pub use saved::{Admin, Domain, Line, Origin, Person, Saved};
pub use step::{State, Step};
pub use trial::{Arrived, End, Found, Going, Sent, Way};
