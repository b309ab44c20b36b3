//! One command line becomes a [`Command`] (RFC 5321 4.1.1 and the extensions' own parameters), or the reply that says why
//! it does not. Whether a command may come now is not asked here.

mod address;
mod params;

pub use address::{Address, Forward};
pub use params::{BodyType, Hold, Mail, Notify, Orcpt, Rcpt, Ret};

use super::reply::Reply;

/// RFC 5321 4.5.3.1.2: a domain has at most 255 octets, and names in HELO are taken to be no longer.
const MAX_NAME: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    Mail(Mail),
    Rcpt(Rcpt),
    Data,
    /// RFC 3030 2: so many bytes follow.
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    /// RFC 4954 4. The initial response is still base64, or `=`.
    Auth {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
}

/// Reads a line without its CR LF. Verbs are known in any case (RFC 5321 2.4); blanks at the end are ignored.
pub fn command(line: &[u8]) -> Result<Command<'_>, Reply> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Err(Reply::new(500, (5, 5, 2), "The command is not UTF-8"));
    };
    let text = text.trim_end_matches([' ', '\t']);
    let (verb, argument) = match text.split_once(' ') {
        Some((verb, argument)) => (verb, argument.trim_start_matches(' ')),
        None => (text, ""),
    };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" => name(argument).map(Command::Ehlo),
        "HELO" => name(argument).map(Command::Helo),
        "MAIL" => params::mail(argument).map(Command::Mail),
        "RCPT" => params::rcpt(argument).map(Command::Rcpt),
        "DATA" => bare(Command::Data, argument),
        "BDAT" => bdat(argument),
        "RSET" => bare(Command::Rset, argument),
        "QUIT" => bare(Command::Quit, argument),
        "STARTTLS" => bare(Command::StartTls, argument),
        // RFC 5321 4.1.1.9 and 4.1.1.8: a string may follow.
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if !argument.is_empty() => Ok(Command::Vrfy),
        "EXPN" if !argument.is_empty() => Ok(Command::Expn),
        "VRFY" | "EXPN" => Err(Reply::new(501, (5, 5, 4), "Whom?")),
        "AUTH" => auth(argument),
        _ => Err(Reply::new(500, (5, 5, 2), "Command not known")),
    }
}

/// RFC 5321 4.1.1.1. The name is only the peer's word, so anything printable without blanks is taken: real clients say
/// names with underscores, or none that exist.
fn name(argument: &str) -> Result<&str, Reply> {
    if argument.is_empty() {
        return Err(Reply::new(501, (5, 5, 4), "Your host name is missing"));
    }
    if argument.len() > MAX_NAME || !argument.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Reply::new(501, (5, 5, 4), "That is not a host name"));
    }
    Ok(argument)
}

/// RFC 5321 4.3.2: a parameter where none is allowed is 501.
fn bare<'a>(command: Command<'a>, argument: &str) -> Result<Command<'a>, Reply> {
    if argument.is_empty() { Ok(command) } else { Err(Reply::new(501, (5, 5, 4), "Nothing may follow this command")) }
}

/// RFC 3030 2: `BDAT SP chunk-size [SP "LAST"]`.
fn bdat(argument: &str) -> Result<Command<'_>, Reply> {
    let malformed = || Reply::new(501, (5, 5, 4), "BDAT takes a size and perhaps LAST");
    let (size, last) = match argument.split_once(' ') {
        Some((size, last)) if last.trim_start_matches(' ').eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return Err(malformed()),
        None => (argument, false),
    };
    let size = number(size).ok_or_else(malformed)?;
    Ok(Command::Bdat { size, last })
}

/// RFC 4954 4: `AUTH SP sasl-mech [SP initial-response]`.
fn auth(argument: &str) -> Result<Command<'_>, Reply> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Command::Auth { mechanism, initial }),
        _ => Err(Reply::new(501, (5, 5, 4), "AUTH takes a mechanism and perhaps a first response")),
    }
}

/// 1 to 20 digits; more than fits is as large as can be (RFC 1870 4: the value may be any number).
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(line: &str) -> u16 {
        command(line.as_bytes()).expect_err(line).code
    }

    #[test]
    fn verbs_are_known_in_any_case() {
        assert_eq!(command(b"ehlo client.example"), Ok(Command::Ehlo("client.example")));
        assert_eq!(command(b"EHLO  [192.0.2.1] "), Ok(Command::Ehlo("[192.0.2.1]")));
        assert_eq!(command(b"Quit"), Ok(Command::Quit));
        assert_eq!(command(b"noop what ever"), Ok(Command::Noop));
        assert_eq!(command(b"auth plain ="), Ok(Command::Auth { mechanism: "plain", initial: Some("=") }));
        assert_eq!(command(b"BDAT 86 last"), Ok(Command::Bdat { size: 86, last: true }));
        assert_eq!(command(b"BDAT 0"), Ok(Command::Bdat { size: 0, last: false }));
    }

    #[test]
    fn malformed_commands_are_told() {
        for line in ["", "WIZ", "EHLOx a", "MAIL", "\u{e4}hlo a"] {
            assert_eq!(code(line) / 10, 50, "{line}");
        }
        for line in [
            "EHLO",
            "HELO ",
            "EHLO a b",
            "EHLO \u{e4}",
            "DATA now",
            "RSET x",
            "QUIT 1",
            "STARTTLS please",
            "BDAT",
            "BDAT x",
            "BDAT -1",
            "BDAT 1 LAS",
            "BDAT 1 LAST 2",
            "AUTH",
            "AUTH a b c",
            "VRFY",
            "BDAT 123456789012345678901",
        ] {
            assert_eq!(code(line), 501, "{line}");
        }
        assert_eq!(command(b"\xff").expect_err("not UTF-8").code, 500);
    }

    proptest! {
        #[test]
        fn no_line_panics(verb in 0usize..5, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            let verb = ["MAIL FROM:<", "RCPT TO:<", "AUTH ", "BDAT ", ""][verb];
            let _ = command(&[verb.as_bytes(), &rest].concat());
        }

        #[test]
        fn no_path_panics(rest in "[<>@\"\\\\\\[\\]:. a-c=+A-F0-9ä]{0,40}") {
            let _ = command(format!("MAIL FROM:{rest}").as_bytes());
            let _ = command(format!("RCPT TO:{rest}").as_bytes());
        }
    }
}
