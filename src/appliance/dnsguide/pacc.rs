//! The document by which Apple's and other new mail programs set themselves up (draft-ietf-mailmaint-pacc-04), and the
//! digest of it that a record vouches with. Both come from here, since a program that finds them differ uses neither.

use aws_lc_rs::digest::{SHA256, digest as hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::facts::Service;
use super::gather::services;
use crate::settings::{Name, Settings};

/// How many characters a provider's name may have.
const NAME: usize = 60;

/// The document of a domain of ours; the same bytes as long as the settings are the same. `None`: it cannot be fetched, or
/// there is nothing in it, since it names no ports: a service on another one than its own cannot stand there.
pub fn document(settings: &Settings, domain: &str) -> Option<String> {
    if !settings.listeners.get(Name::Https).on {
        return None;
    }
    let open = services(settings);
    let at = |service: Service, port: u16| open.contains(&(service, Some(port)));
    let host = json!({ "host": settings.hostname });
    let mut protocols = Vec::new();
    if at(Service::Imaps, 993) {
        protocols.push(("imap", &host));
    }
    if at(Service::Submissions, 465) {
        // Until its third version the draft said smtp; a program passes over what it does not know.
        protocols.extend([("smtp", &host), ("submit", &host)]);
    }
    if protocols.is_empty() {
        return None;
    }
    let name: String = domain.chars().take(NAME).collect();
    // By hand, so that the order is ours.
    let members = |list: &[(&str, &Value)]| {
        list.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",")
    };
    Some(format!(
        "{{\"protocols\":{{{}}},\"authentication\":{{\"password\":true}},\"info\":{{\"provider\":{}}}}}\n",
        members(&protocols),
        json!({ "name": name })
    ))
}

/// As it stands in the record: base64 of the SHA-256 of the document's bytes.
pub fn digest(document: &str) -> String {
    STANDARD.encode(hash(&SHA256, document.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_is_open_on_its_own_port_and_is_the_same_each_time() {
        let settings = |more: &str| Settings::parse(&format!("hostname = \"mail.example.test\"\n{more}")).unwrap();
        let usual = document(&settings(""), "example.test").unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&usual).unwrap(),
            json!({
                "protocols": {
                    "imap": { "host": "mail.example.test" },
                    "smtp": { "host": "mail.example.test" },
                    "submit": { "host": "mail.example.test" },
                },
                "authentication": { "password": true },
                "info": { "provider": { "name": "example.test" } },
            })
        );
        assert_eq!(document(&settings(""), "example.test").as_ref(), Some(&usual));
        // As `printf … | openssl sha256 -binary | base64` says it of the same bytes.
        assert_eq!(digest("{}\n"), "yj0WO6sFU4GCciYUBWjzvvfqrBh869doeOC2Pp5EI1Y=");
        assert_eq!(document(&settings("listeners.https.on = false"), "example.test"), None);
        let moved = document(&settings("listeners.imaps.port = 1993"), "example.test").unwrap();
        assert!(!moved.contains("imap") && digest(&moved) != digest(&usual), "{moved}");
        let none = "listeners.imaps.on = false\nlisteners.submissions.port = 1465";
        assert_eq!(document(&settings(none), "example.test"), None);
        let long = format!("{}.example.test", "a".repeat(60));
        let long: Value = serde_json::from_str(&document(&settings(""), &long).unwrap()).unwrap();
        assert_eq!(long["info"]["provider"]["name"].as_str().unwrap().len(), NAME);
    }
}
