//! Status responses (RFC 9051 7.1) and their codes (RFC 5530).

use super::super::ask::No;

pub(super) fn ok(tag: &[u8], text: &str) -> Vec<u8> {
    line(tag, "OK", text)
}

pub(super) fn no(tag: &[u8], text: &str) -> Vec<u8> {
    line(tag, "NO", text)
}

/// Without a tag that can be read, untagged (RFC 9051 7.1.3).
pub(super) fn bad(tag: Option<&[u8]>, text: &str) -> Vec<u8> {
    line(tag.unwrap_or(b"*"), "BAD", text)
}

pub(super) fn untagged(text: &str) -> Vec<u8> {
    [b"* ", text.as_bytes(), b"\r\n"].concat()
}

/// Why the host refused.
pub(super) fn refused(tag: &[u8], why: &No) -> Vec<u8> {
    no(tag, &words(why))
}

/// The same where a message was to come into the mailbox (RFC 9051 6.3.12, 6.4.7: TRYCREATE).
pub(super) fn refused_target(tag: &[u8], why: &No) -> Vec<u8> {
    match why {
        No::NonExistent => no(tag, "[TRYCREATE] There is no such mailbox"),
        why => refused(tag, why),
    }
}

/// An answer that does not fit its question: our mistake.
pub(super) fn server_bug(tag: &[u8]) -> Vec<u8> {
    refused(tag, &No::ServerBug)
}

fn words(why: &No) -> String {
    let text = match why {
        No::NonExistent => "[NONEXISTENT] There is no such mailbox",
        No::AlreadyExists => "[ALREADYEXISTS] There is already a mailbox of this name",
        No::Cannot(why) => return format!("[CANNOT] {why}"),
        No::HasChildren => "[HASCHILDREN] The mailbox has others below it",
        No::OverQuota => "[OVERQUOTA] The account is full",
        No::TooBig => "[TOOBIG] The message is too large",
        No::Limit => "[LIMIT] There are too many of these",
        No::NoPerm => "[NOPERM] This is not allowed",
        No::Unavailable => "[UNAVAILABLE] This cannot be done now, please try again later",
        No::ServerBug => "[SERVERBUG] Something went wrong here",
    };
    text.to_owned()
}

fn line(tag: &[u8], status: &str, text: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(tag.len() + text.len() + 8);
    line.extend_from_slice(tag);
    line.push(b' ');
    line.extend_from_slice(status.as_bytes());
    line.push(b' ');
    line.extend_from_slice(text.as_bytes());
    line.extend_from_slice(b"\r\n");
    line
}
