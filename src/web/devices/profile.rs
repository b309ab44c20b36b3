//! The profile (Apple's Configuration Profile Reference, `com.apple.mail.managed`), a property list in XML.

use std::fmt::Write;

use crate::base::Random;
use crate::directory::manage::device::{Linked, Password};
use crate::web::clients::{Kind, Way, escaped};

enum Value<'a> {
    Text(&'a str),
    Number(u16),
    Yes(bool),
}

pub(super) fn written(linked: &Linked, host: &str, ways: &[Way], password: &Password, random: &dyn Random) -> String {
    use Value::{Number, Text, Yes};
    let address = linked.address.as_str();
    let owner = linked.owner.as_deref().unwrap_or(address);
    let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain);
    // The first of each kind is the best.
    let way = |kind: Kind| ways.iter().find(|way| way.kind == kind);
    let identifier = format!("homepost.{host}.device-{}", linked.device.id);
    let mut mail = vec![("PayloadType", Text("com.apple.mail.managed")), ("PayloadVersion", Number(1))];
    let (own_id, mail_id, mail_identifier) = (uuid(random), uuid(random), format!("{identifier}.mail"));
    mail.extend([
        ("PayloadIdentifier", Text(&mail_identifier)),
        ("PayloadUUID", Text(&mail_id)),
        ("PayloadDisplayName", Text(address)),
        ("EmailAccountDescription", Text(address)),
        ("EmailAccountName", Text(owner)),
        ("EmailAccountType", Text("EmailTypeIMAP")),
        ("EmailAddress", Text(address)),
    ]);
    if let Some(way) = way(Kind::Imap) {
        mail.extend([
            ("IncomingMailServerAuthentication", Text("EmailAuthPassword")),
            ("IncomingMailServerHostName", Text(host)),
            ("IncomingMailServerPortNumber", Number(way.port)),
            ("IncomingMailServerUseSSL", Yes(true)),
            ("IncomingMailServerUsername", Text(address)),
            ("IncomingPassword", Text(password.shown())),
        ]);
    }
    if let Some(way) = way(Kind::Smtp) {
        mail.extend([
            ("OutgoingMailServerAuthentication", Text("EmailAuthPassword")),
            ("OutgoingMailServerHostName", Text(host)),
            ("OutgoingMailServerPortNumber", Number(way.port)),
            ("OutgoingMailServerUseSSL", Yes(true)),
            ("OutgoingMailServerUsername", Text(address)),
            ("OutgoingPasswordSameAsIncomingPassword", Yes(true)),
        ]);
    }
    let name = format!("Mail of {address}");
    let about = format!("Sets up mail of {address} on this device, with a password of its own.");
    let own = [
        ("PayloadType", Text("Configuration")),
        ("PayloadVersion", Number(1)),
        ("PayloadIdentifier", Text(&identifier)),
        ("PayloadUUID", Text(&own_id)),
        ("PayloadDisplayName", Text(&name)),
        ("PayloadDescription", Text(&about)),
        ("PayloadOrganization", Text(domain)),
        ("PayloadRemovalDisallowed", Yes(false)),
    ];
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n",
    );
    members(&mut out, &own);
    out.push_str("<key>PayloadContent</key>\n<array>\n<dict>\n");
    members(&mut out, &mail);
    out.push_str("</dict>\n</array>\n</dict>\n</plist>\n");
    out
}

fn members(out: &mut String, list: &[(&str, Value<'_>)]) {
    for (key, value) in list {
        let _ = match value {
            Value::Text(text) => writeln!(out, "<key>{key}</key><string>{}</string>", escaped(text)),
            Value::Number(number) => writeln!(out, "<key>{key}</key><integer>{number}</integer>"),
            Value::Yes(yes) => writeln!(out, "<key>{key}</key><{yes}/>"),
        };
    }
}

/// RFC 9562 5.4.
fn uuid(random: &dyn Random) -> String {
    let mut bytes = [0u8; 16];
    random.fill(&mut bytes);
    let number = u128::from_be_bytes(bytes) & !(0xf << 76) | (4 << 76);
    let number = number & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{number:032X}");
    let mut parts = Vec::new();
    let mut at = 0;
    for length in [8, 4, 4, 4, 12] {
        parts.push(hex.get(at..at + length).unwrap_or_default());
        at += length;
    }
    parts.join("-")
}
