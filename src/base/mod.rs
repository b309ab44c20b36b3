//! What everything stands on: clock, randomness, ids, and the three error families.
//!
//! Does not know: mail, the network, the disk. This is the only folder that may read the system's clock or its
//! randomness; everything above is handed a [`Clock`] or a [`Random`], so that a bad night is a seed that replays.

mod clock;
mod fault;
mod id;
mod peer;
mod random;

pub use clock::{Clock, ManualClock, Mono, SystemClock, Time};
pub use fault::{Family, Fault};
pub use id::{AccountId, BlobId, EmailId, MailboxId, ModSeq, QueueId, ThreadId, Uid};
pub use peer::counted;
pub use random::{OsRandom, Random, SeededRandom};
