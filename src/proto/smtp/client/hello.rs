//! What a server says it can do (RFC 5321 4.1.1.1).

use super::super::Reply;

/// From its reply to EHLO. After HELO it can do nothing of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// As it calls itself.
    pub name: String,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 1870: offered, and the largest letter it takes, if it says so.
    pub size: Option<Option<u64>>,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 8689.
    pub requiretls: bool,
    /// RFC 2852: it keeps to times, of so many seconds at least.
    pub deliver_by: Option<i64>,
    /// RFC 4954, upper case.
    pub auth: Vec<String>,
}

impl Hello {
    pub(super) fn read(reply: &Reply) -> Hello {
        let mut hello = Hello::default();
        let mut lines = reply.text.iter();
        hello.name = lines.next().and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned();
        for line in lines {
            let line = line.to_ascii_uppercase();
            // `AUTH=LOGIN` is how servers before RFC 2554 said it.
            let line = line.replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_whitespace();
            match words.next().unwrap_or_default() {
                "PIPELINING" => hello.pipelining = true,
                "8BITMIME" => hello.eight_bit = true,
                "SMTPUTF8" => hello.utf8 = true,
                "CHUNKING" => hello.chunking = true,
                "DSN" => hello.dsn = true,
                "STARTTLS" => hello.starttls = true,
                // RFC 2852 3: none said is none asked for.
                "DELIVERBY" => hello.deliver_by = Some(words.next().and_then(|least| least.parse().ok()).unwrap_or(0)),
                "REQUIRETLS" => hello.requiretls = true,
                // RFC 1870 4: 0 is "no fixed limit".
                "SIZE" => {
                    let most = words.next().and_then(|most| most.parse().ok());
                    hello.size = Some(most.filter(|most| *most > 0));
                }
                "AUTH" => hello.auth.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        hello
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_known_in_any_case() {
        let text =
            ["mx.test at your service", "pipelining", "SIZE 1000", "AUTH PLAIN login", "AUTH=SCRAM-SHA-256", "X-ODD"];
        let reply = Reply { code: 250, enhanced: None, text: text.map(str::to_owned).to_vec() };
        let hello = Hello::read(&reply);
        assert_eq!(hello.name, "mx.test");
        assert!(hello.pipelining && !hello.chunking);
        assert_eq!(hello.size, Some(Some(1000)));
        assert_eq!(hello.auth, ["PLAIN", "LOGIN", "SCRAM-SHA-256"]);
        let reply = Reply { code: 250, enhanced: None, text: vec!["mx".into(), "SIZE 0".into()] };
        assert_eq!(Hello::read(&reply).size, Some(None));
    }
}
