//! A letter's way in: [`Intake`] accepts or refuses it, `local` puts it into accounts, what is for elsewhere goes to the
//! queue; all of it in one transaction, before anybody is told that it was taken (P1, P2, P3).
//!
//! Before that `checks` asks who stands behind a letter from outside, and signs what the household sends, after `submission`
//! has put it right. After it, `reports` reads what others report about letters in our name.
//!
//! Does not know: by which protocol a letter was handed in, and in whose words its refusal is said.
//!
//! Invariants, cited by tests:
//! - L1: [`Outcome::Taken`] can be made only from a [`Durable`](crate::store::Durable).
//! - L2: one transaction holds all that a letter leads to: every recipient's copy and every row of the queue, or nothing.
//! - L3: the same peer, envelope and bytes, presented again within a day after an unconfirmed acceptance, are accepted
//!   and not delivered twice.
//! - L5: what the household sends carries no Bcc and nothing of where it was sent from, and is signed as it leaves.
//! - L6: an account writes to no more people elsewhere than [`Rates`] allows; who went past what a day allows sends nothing
//!   until it is let go on, and is told of once.
//! - L8: a notice that a letter was delivered is in the transaction that delivers it, and leaves the house only for a sender
//!   whom SPF proves.
//! - L7: what looks like junk is not passed on: other servers would take us for who sent it.
//! - L4: mail of someone who has not logged in never leaves for an address that none of our aliases names.

mod allowance;
mod checks;
mod envelope;
mod intake;
mod local;
mod notice;
pub mod remote;
mod reports;
mod seen;
mod stopped;
mod submission;
mod trace;

#[cfg(test)]
mod tests;

pub use allowance::{Count, Over, Rates};
pub use checks::Checks;
pub use envelope::{Dsn, Envelope, Origin, Recipient, Target};
pub use intake::{Intake, Limits, Outcome, Refusal, Ticket};
pub use reports::{Kept, Office, Poster, Reports, Sent, What, day as report_day, is_time as is_time_for_reports};
pub use stopped::{Why as WhyHeld, hold_appointed, tell_of_held};
pub use submission::{Claim, claims};
