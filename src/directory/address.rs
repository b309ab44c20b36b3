//! An address in the one form in which it is compared and kept (U3).

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::Error;

/// RFC 5321 4.5.3.1.1: octets of a local part.
const LOCAL_OCTETS: usize = 64;
/// RFC 5321 4.5.3.1.2: octets of a domain. DNS itself ends at 253 written ones.
const DOMAIN_OCTETS: usize = 253;
/// What a longer text is, it is no address; checked before anything is done with it.
const TEXT_OCTETS: usize = 1024;

/// `local@domain`: the local part unquoted, in NFC and lower case (ours are compared so; RFC 5321 2.4 leaves that to the
/// host of the domain), the domain lower case in A-labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: String,
    domain: String,
}

impl Address {
    /// Reads `local@domain`, quoted (`"j d"@example.org`) or not, in ASCII or UTF-8 (RFC 6531).
    /// Errors: [`Error::Unusable`] with the reason.
    pub fn parse(text: &str) -> Result<Address, Error> {
        let unusable = |why: &str| Error::Unusable(format!("{} is not an address: {why}", shown(text)));
        if text.len() > TEXT_OCTETS {
            return Err(unusable("it is too long"));
        }
        let (local, domain) = text.rsplit_once('@').ok_or_else(|| unusable("it has no @"))?;
        let local = unquoted(local).ok_or_else(|| unusable("the quotation marks before the @ do not close"))?;
        // Lower-casing can undo the normal form, so it comes between.
        let local: String = local.nfc().collect::<String>().to_lowercase().nfc().collect();
        if local.is_empty() {
            return Err(unusable("there is nothing before the @"));
        }
        if local.len() > LOCAL_OCTETS {
            return Err(unusable("what stands before the @ is longer than 64 bytes"));
        }
        if local.chars().any(char::is_control) {
            return Err(unusable("it has control characters"));
        }
        Ok(Address { local, domain: domain_of(domain).map_err(unusable)? })
    }

    /// The same, for an address that is to be made here: only letters, digits and `!#$%&'*+-/=?^_{|}~.` before the @, so
    /// that every mail program can write to it.
    pub fn parse_new(text: &str) -> Result<Address, Error> {
        let address = Address::parse(text)?;
        let fine = |c: char| is_atext(c) || c == '.' || (!c.is_ascii() && c.is_alphanumeric());
        let local = &address.local;
        if !local.chars().all(fine) || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(Error::Unusable(format!(
                "{} cannot be used: before the @, use letters, digits, -, _ and .",
                shown(text)
            )));
        }
        Ok(address)
    }

    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The key of its row.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// `alice+shop@` → `alice@` and `shop` (RFC 5233: the first + divides).
    pub(super) fn split_subaddress(&self) -> Option<(Address, String)> {
        let (user, detail) = self.local.split_once('+')?;
        (!user.is_empty()).then(|| (Address { local: user.to_owned(), domain: self.domain.clone() }, detail.to_owned()))
    }
}

impl fmt::Display for Address {
    /// As it stands in a command or a header: quoted where it must be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| is_atext(c) || c == '.' || !c.is_ascii();
        let local = &self.local;
        if local.chars().all(plain) && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..") {
            return write!(f, "{local}@{}", self.domain);
        }
        write!(f, "\"")?;
        for c in local.chars() {
            if matches!(c, '"' | '\\') {
                write!(f, "\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

/// A domain in the form of keys: lower case, A-labels. Errors: [`Error::Unusable`] with the reason.
pub fn normal_domain(text: &str) -> Result<String, Error> {
    let unusable = |why: &str| Error::Unusable(format!("{} is not a domain: {why}", shown(text)));
    if text.len() > TEXT_OCTETS {
        return Err(unusable("it is too long"));
    }
    domain_of(text).map_err(unusable)
}

fn domain_of(text: &str) -> Result<String, &'static str> {
    let name = idna::domain_to_ascii(text).map_err(|_| "its domain has characters that no domain has")?;
    if name.is_empty() {
        return Err("there is no domain");
    }
    if name.len() > DOMAIN_OCTETS {
        return Err("its domain is too long");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("a part of its domain is empty or longer than 63 bytes");
        }
        // The underscore stands in names of some hosts that mail is sent to all the same.
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return Err("its domain has characters that no domain has");
        }
    }
    Ok(name)
}

/// RFC 5322 3.2.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// RFC 5321 4.1.2 Quoted-string, or the text itself if it is not quoted.
fn unquoted(local: &str) -> Option<String> {
    let Some(inner) = local.strip_prefix('"') else { return Some(local.to_owned()) };
    let mut out = String::new();
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(out),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

/// For an error: short, and on one line.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        Address::parse(text).unwrap().key()
    }

    #[test]
    fn addresses_are_compared_in_one_form() {
        assert_eq!(key("Alice@Example.TEST"), "alice@example.test");
        assert_eq!(key("ÄNNE@Müller.example"), "änne@xn--mller-kva.example");
        assert_eq!(key("a\u{308}nne@xn--mller-kva.example"), "änne@xn--mller-kva.example");
        assert_eq!(key("\"alice\"@example.test"), "alice@example.test");
        assert_eq!(key("\"a@b \\\"c\"@example.test"), "a@b \"c@example.test");
        assert_eq!(key("a@host_1.example.test"), "a@host_1.example.test");
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        let long = format!("{}@example.test", "a".repeat(65));
        let long_domain = format!("a@{}test", "abcdefghi.".repeat(25));
        let huge = "@".repeat(1 << 20);
        for wrong in [
            "",
            "alice",
            "@example.test",
            "a@",
            "a@b..c",
            "a@[192.0.2.1]",
            "a@b c",
            "\"a@example.test",
            "\"a\"b@c",
            "a\r@b.c",
        ]
        .into_iter()
        .chain([&*long, &*long_domain, &*huge])
        {
            match Address::parse(wrong) {
                Err(Error::Unusable(why)) => assert!(why.len() < 600, "{why}"),
                other => panic!("{wrong:?}: {other:?}"),
            }
        }
        assert!(Address::parse(&format!("{}@example.test", "a".repeat(64))).is_ok());
    }

    #[test]
    fn new_addresses_are_such_that_everybody_can_write_to_them() {
        for fine in ["alice@example.test", "a.b-c_d+e@example.test", "änne@example.test", "李@example.test"] {
            assert!(Address::parse_new(fine).is_ok(), "{fine}");
        }
        for wrong in
            ["\"a b\"@example.test", ".a@example.test", "a..b@example.test", "a.@example.test", "a,b@example.test"]
        {
            assert!(Address::parse_new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["alice@example.test", "\"a b\"@example.test", "\"a\\\"\\\\\"@example.test", "\".a\"@example.test"]
        {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
        }
    }

    #[test]
    fn the_first_plus_divides() {
        let (user, detail) = Address::parse("alice+a+b@example.test").unwrap().split_subaddress().unwrap();
        assert_eq!((user.key().as_str(), detail.as_str()), ("alice@example.test", "a+b"));
        assert!(Address::parse("+a@example.test").unwrap().split_subaddress().is_none());
    }
}
