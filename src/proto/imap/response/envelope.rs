//! ENVELOPE (RFC 9051 7.5.2).

use super::text::{nstring, put};
use crate::message::{Address, Envelope};

pub(in crate::proto::imap) fn envelope(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    nstring(out, envelope.subject.as_deref());
    for list in [&envelope.from, envelope.sender(), envelope.reply_to(), &envelope.to, &envelope.cc, &envelope.bcc] {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[Address<'_>]) {
    if list.is_empty() {
        return put(out, "NIL");
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        nstring(out, address.name.as_deref());
        out.push(b' ');
        nstring(out, address.adl.as_deref());
        out.push(b' ');
        nstring(out, address.mailbox.as_deref());
        out.push(b' ');
        nstring(out, address.host.as_deref());
        out.push(b')');
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9051_7_5_2_example() {
        let text = |text: &'static str| Some(text.as_bytes().into());
        let address = |name: Option<&'static str>, mailbox: &'static str, host: &'static str| Address {
            name: name.map(|name| name.as_bytes().into()),
            adl: None,
            mailbox: text(mailbox),
            host: text(host),
        };
        let example = Envelope {
            date: text("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)"),
            subject: text("IMAP4rev2 WG mtg summary and minutes"),
            from: vec![address(Some("Terry Gray"), "gray", "cac.washington.edu")],
            to: vec![address(None, "imap", "cac.washington.edu")],
            cc: vec![
                address(None, "minutes", "CNRI.Reston.VA.US"),
                address(Some("John Klensin"), "KLENSIN", "MIT.EDU"),
            ],
            message_id: text("<B27397-0100000@cac.washington.ed>"),
            ..Envelope::default()
        };
        let mut out = Vec::new();
        envelope(&mut out, &example);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
             ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
             \"<B27397-0100000@cac.washington.ed>\")"
        );
    }
}
