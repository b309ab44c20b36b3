//! What an internet line can do for mail: evidence in, one of four verdicts out, in words for the owner.
//!
//! Does not know: sockets, resolvers, clocks. Who gathers the evidence hands it in; what could not be measured is said to be
//! unknown, and never held against the line.

mod evidence;
mod verdict;

pub use evidence::{Attempt, End, Evidence, Inbound, Outbound, Ptr, is_shared, outbound};
pub use verdict::{Judged, Verdict, judge};
