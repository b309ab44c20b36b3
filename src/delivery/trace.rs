//! What is written on top of a letter (RFC 5321 4.4), and the loops that others' traces give away (RFC 5321 6.3).

use crate::base::Time;
use crate::message::date::Date;
use crate::message::{header, trace};

use super::envelope::Envelope;

/// Fields that others have made for a letter.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    /// What was found out about it: above Received (RFC 8601 4, RFC 7208 9.1).
    pub found: Vec<u8>,
    /// Our signatures: below it, since each server adds one.
    pub signed: Vec<u8>,
}

/// What stands on top of a copy.
pub(super) struct Trace {
    /// In accounts of ours.
    pub(super) local: Vec<u8>,
    /// On its way elsewhere: without Return-Path, which is the last server's to write (RFC 5321 4.4).
    pub(super) outside: Vec<u8>,
}

/// Return-Path, Delivered-To where there is one recipient (several would tell each of the others), Received. A letter
/// whose `head` is empty gets an empty line between, so that none of its lines becomes one.
pub(super) fn fields(envelope: &Envelope, hostname: &str, id: &str, now: Time, head: &[u8], made: &Made) -> Trace {
    let origin = &envelope.origin;
    let one = match envelope.recipients.as_slice() {
        [only] => Some(only.address.as_str()),
        _ => None,
    };
    let mut out = Vec::new();
    if let Some(address) = one {
        let address: String = address.chars().filter(|c| !c.is_control()).collect();
        out.extend_from_slice(format!("Delivered-To: {address}\r\n").as_bytes());
    }
    // Who has logged in writes from home, and home's address is nobody's business.
    let stranger = origin.account.is_none();
    let received = trace::Received {
        helo: stranger.then_some(origin.helo.as_str()),
        peer: stranger.then_some(origin.peer),
        peer_name: None,
        by: hostname,
        with: origin.with,
        tls: origin.tls.as_deref(),
        id,
        recipient: one,
        date: Date::utc(now),
    };
    out.extend_from_slice(&made.found);
    out.extend_from_slice(&received.field());
    out.extend_from_slice(&made.signed);
    if !header::begins_with_field(head) {
        out.extend_from_slice(b"\r\n");
    }
    let return_path = trace::return_path(envelope.from.as_deref().unwrap_or_default());
    Trace { local: [return_path.as_slice(), &out].concat(), outside: out }
}

/// RFC 5321 6.3: more Received fields than any honest way has, or, for what would leave again, our own Delivered-To.
pub(super) fn loops(envelope: &Envelope, head: &[u8], received: usize) -> bool {
    if header::count(head, "Received") > received {
        return true;
    }
    envelope.origin.account.is_none()
        && envelope.recipients.iter().filter(|recipient| !recipient.target.outside.is_empty()).any(|recipient| {
            header::fields(head).any(|field| {
                field.is("Delivered-To")
                    && String::from_utf8_lossy(&field.value()).trim().eq_ignore_ascii_case(&recipient.address)
            })
        })
}
