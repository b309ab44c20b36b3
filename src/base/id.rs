//! Ids. Each is a number that is given out once and never again for something else (P8).

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $of:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $of);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A person's (or group's) account.
    AccountId, u32);
id!(
    /// A mailbox, within its account; survives renaming.
    MailboxId, u32);
id!(
    /// RFC 9051 2.3.1.1: a message's number within its mailbox, never zero.
    Uid, u32);
id!(
    /// RFC 7162: one number per committed change of an account, shared by all its mailboxes.
    ModSeq, u64);
id!(
    /// The bytes of a letter or script in the blob store.
    BlobId, u64);
id!(
    /// A message within its account, whatever mailboxes it is in (RFC 8474 EMAILID, RFC 8621 Email).
    EmailId, u64);
id!(
    /// A conversation within its account.
    ThreadId, u64);
id!(
    /// A message in the outgoing queue.
    QueueId, u64);
