//! Who may ask: the name we are asked by, and whether a form comes from one of our pages.

use std::net::IpAddr;

use crate::base::Random;

/// Names under which a home router may know the box; none of them can belong to a stranger on the internet.
pub(in crate::web) const NAMES: [&str; 9] = [
    "localhost",
    "homepost",
    "homepost.local",
    "homepost.lan",
    "homepost.home",
    "homepost.home.arpa",
    "homepost.internal",
    "homepost.localdomain",
    "homepost.fritz.box",
];

/// G1: whether a Host header names this box: by an address, by one of the names above, or by the name it was given.
/// A page elsewhere that makes its own name point to us (DNS rebinding) still says its own name here.
pub(in crate::web) fn is_ours(host: &str, given: Option<&str>) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || is_port(port) => return is_address(address),
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5 => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    is_address(&name) || NAMES.contains(&name.as_str()) || given.is_some_and(|given| given.eq_ignore_ascii_case(&name))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()))
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// G2, first half: browsers say where a form was sent from. Those that say nothing have to show the token all the same.
pub(in crate::web) fn same_origin(origin: Option<&str>, host: &str, secure: bool) -> bool {
    let scheme = if secure { "https" } else { "http" };
    origin.is_none_or(|origin| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
}

/// G2, second half: each browser has a random cookie, and its forms have the keyed hash of it. A page elsewhere knows neither.
pub(in crate::web) struct Forms {
    key: [u8; 32],
}

impl Forms {
    pub fn new(random: &dyn Random) -> Forms {
        let mut key = [0u8; 32];
        random.fill(&mut key);
        Forms { key }
    }

    pub fn fresh(random: &dyn Random) -> String {
        let mut bytes = [0u8; 16];
        random.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn token(&self, cookie: &str) -> String {
        let hash = blake3::keyed_hash(&self.key, cookie.as_bytes()).to_hex();
        hash.chars().take(32).collect()
    }

    pub fn fits(&self, cookie: &str, token: &str) -> bool {
        // Hashed again, so that the comparison's time says nothing.
        is_cookie(cookie) && blake3::hash(self.token(cookie).as_bytes()) == blake3::hash(token.as_bytes())
    }
}

/// As [`Forms::fresh`] makes them.
pub(in crate::web) fn is_cookie(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SeededRandom;

    #[test]
    fn only_this_boxs_names_are_ours() {
        for host in [
            "192.168.1.20:8080",
            "192.168.1.20",
            "[2001:db8::5]:8080",
            "[fe80::1]",
            "localhost:18080",
            "HOMEPOST.local:8080",
            "homepost.",
            "mail.smith.example:8080",
        ] {
            assert!(is_ours(host, Some("mail.smith.example")), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "homepost.local.evil.example",
            "homepost.evil.example",
            "192.168.1.20.evil.example",
            "[evil.example]:8080",
            "[::1]x",
            "localhost:80:80",
            "localhost:",
            "user@localhost",
            "mail.smith.example.evil.example",
            "localhost:999999",
        ] {
            // A port that is missing behind its colon is a browser's mistake, not an attack.
            assert!(host == "localhost:" || !is_ours(host, Some("mail.smith.example")), "{host}");
        }
        assert!(!is_ours("mail.smith.example:8080", None));
    }

    #[test]
    fn a_form_is_sent_from_this_site() {
        assert!(same_origin(Some("http://192.168.1.20:8080"), "192.168.1.20:8080", false));
        assert!(same_origin(None, "192.168.1.20:8080", false));
        for (origin, secure) in [
            ("null", false),
            ("http://evil.example", false),
            ("https://192.168.1.20:8080", false),
            ("http://192.168.1.20:8080", true),
            ("http://192.168.1.20", false),
        ] {
            assert!(!same_origin(Some(origin), "192.168.1.20:8080", secure), "{origin}");
        }
    }

    #[test]
    fn a_token_belongs_to_its_cookie_and_its_server() {
        let random = SeededRandom::new(3);
        let forms = Forms::new(&random);
        let (one, two) = (Forms::fresh(&random), Forms::fresh(&random));
        assert!(forms.fits(&one, &forms.token(&one)));
        assert!(!forms.fits(&two, &forms.token(&one)));
        assert!(!forms.fits(&one, ""));
        assert!(!forms.fits("", &forms.token("")));
        assert!(!Forms::new(&random).fits(&one, &forms.token(&one)));
    }
}
