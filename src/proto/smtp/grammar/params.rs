//! MAIL and RCPT with their parameters: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY, ORCPT
//! (RFC 3461), AUTH (RFC 4954), REQUIRETLS (RFC 8689), HOLDFOR, HOLDUNTIL
//! (RFC 4865), BY (RFC 2852).

use super::super::reply::Reply;
use super::address::{Address, Forward, forward_path, reverse_path};
use super::number;
use crate::base::Time;
use crate::message::date::parse_rfc3339;

/// RFC 3461 4.4 and 4.2, in characters of what was sent.
const MAX_ENVID: usize = 100;
const MAX_ORCPT: usize = 500;

/// MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// `None` is the null path `<>`.
    pub from: Option<Address>,
    /// What the client thinks the letter's size is.
    pub size: Option<u64>,
    pub body: Option<BodyType>,
    pub utf8: bool,
    pub ret: Option<Ret>,
    /// Decoded; printable ASCII.
    pub envid: Option<String>,
    /// RFC 8689.
    pub require_tls: bool,
    pub hold: Option<Hold>,
    pub by: Option<By>,
    /// Whether any parameter was there (RFC 5321 4.1.1.11: only after EHLO).
    pub extended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    SevenBit,
    EightBitMime,
}

/// RFC 2852 4: within what time a letter is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    pub seconds: i64,
    /// Mode R; otherwise N.
    pub returns: bool,
    pub trace: bool,
}

/// RFC 4865 4: when it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// In so many seconds.
    For(u32),
    Until(Time),
}

/// What a bounce is to give back (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    Full,
    Headers,
}

/// RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    pub to: Forward,
    pub notify: Option<Notify>,
    pub orcpt: Option<Orcpt>,
    pub extended: bool,
}

/// RFC 3461 4.1. All three false is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

/// RFC 3461 4.2: the recipient as the sender first wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orcpt {
    /// As in `rfc822`, lower case.
    pub kind: String,
    /// Decoded. UTF-8 beyond ASCII only for the kind `utf-8` (RFC 6533 3).
    pub address: String,
}

pub(super) fn mail(argument: &str) -> Result<Mail, Reply> {
    let text = after(argument, "FROM:").ok_or_else(|| Reply::new(501, (5, 5, 4), "MAIL FROM:<address> is the form"))?;
    let (from, rest) =
        reverse_path(text).ok_or_else(|| Reply::new(501, (5, 1, 7), "The sender's address is malformed"))?;
    let mut mail = Mail { from, ..Mail::default() };
    let mut auth = false;
    for (name, value) in parameters(rest)? {
        mail.extended = true;
        match (name.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => once(&mut mail.size, number(value))?,
            ("BODY", Some(value)) => once(
                &mut mail.body,
                match value.to_ascii_uppercase().as_str() {
                    "7BIT" => Some(BodyType::SevenBit),
                    "8BITMIME" => Some(BodyType::EightBitMime),
                    _ => None,
                },
            )?,
            ("SMTPUTF8", None) if !mail.utf8 => mail.utf8 = true,
            ("RET", Some(value)) => once(
                &mut mail.ret,
                match value.to_ascii_uppercase().as_str() {
                    "FULL" => Some(Ret::Full),
                    "HDRS" => Some(Ret::Headers),
                    _ => None,
                },
            )?,
            ("ENVID", Some(value)) => {
                let envid = if value.len() <= MAX_ENVID { xtext(value) } else { None };
                once(&mut mail.envid, envid.filter(|text| text.bytes().all(|b| matches!(b, b' '..=b'~'))))?;
            }
            ("REQUIRETLS", None) if !mail.require_tls => mail.require_tls = true,
            // RFC 4865 4: the one or the other.
            ("HOLDFOR", Some(value)) => once(&mut mail.hold, hold_for(value))?,
            ("HOLDUNTIL", Some(value)) => once(&mut mail.hold, parse_rfc3339(value).map(Hold::Until))?,
            ("BY", Some(value)) => once(&mut mail.by, by(value))?,
            // RFC 4954 5: who submitted it first, in the word of a peer whom we do not trust that far: read, not kept.
            ("AUTH", Some(value)) if !auth && xtext(value).is_some() => auth = true,
            (
                "SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "REQUIRETLS" | "AUTH" | "HOLDFOR" | "HOLDUNTIL" | "BY",
                _,
            ) => {
                return Err(malformed());
            }
            _ => return Err(unknown()),
        }
    }
    // RFC 6531 3.4: such an address needs the parameter.
    if !mail.utf8 && mail.from.as_ref().is_some_and(|from| !from.is_ascii()) {
        return Err(Reply::new(550, (5, 6, 7), "An address beyond ASCII needs SMTPUTF8"));
    }
    Ok(mail)
}

pub(super) fn rcpt(argument: &str) -> Result<Rcpt, Reply> {
    let text = after(argument, "TO:").ok_or_else(|| Reply::new(501, (5, 5, 4), "RCPT TO:<address> is the form"))?;
    let (to, rest) =
        forward_path(text).ok_or_else(|| Reply::new(501, (5, 1, 3), "The recipient's address is malformed"))?;
    let mut rcpt = Rcpt { to, notify: None, orcpt: None, extended: false };
    for (name, value) in parameters(rest)? {
        rcpt.extended = true;
        match (name.to_ascii_uppercase().as_str(), value) {
            ("NOTIFY", Some(value)) => once(&mut rcpt.notify, notify(value))?,
            ("ORCPT", Some(value)) => once(&mut rcpt.orcpt, orcpt(value))?,
            ("NOTIFY" | "ORCPT", None) => return Err(malformed()),
            _ => return Err(unknown()),
        }
    }
    Ok(rcpt)
}

/// The text behind `FROM:` or `TO:`. quirk_space_before_path: RFC 5321 3.3 allows no blank behind the colon, and many
/// scripts and devices send one.
fn after<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

type Parameter<'a> = (&'a str, Option<&'a str>);

/// RFC 5321 4.1.2: `esmtp-keyword ["=" esmtp-value]`, each behind a blank.
fn parameters(rest: &str) -> Result<Vec<Parameter<'_>>, Reply> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(malformed());
    }
    rest.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let valued = value.is_none_or(|value| !value.is_empty() && !value.chars().any(|c| c.is_control()));
            if named && valued { Ok((name, value)) } else { Err(malformed()) }
        })
        .collect()
}

/// A parameter that may come once and must have a sense.
fn once<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), Reply> {
    match value {
        Some(value) if slot.is_none() => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(malformed()),
    }
}

fn malformed() -> Reply {
    Reply::new(501, (5, 5, 4), "A parameter is malformed")
}

/// RFC 5321 4.1.1.11.
fn unknown() -> Reply {
    Reply::new(555, (5, 5, 4), "A parameter is not known here")
}

/// RFC 2852 4: `["-" / "+"] 1*9DIGIT ";" ("N" / "R") ["T"]`. What is to come back needs a time that is not over.
fn by(value: &str) -> Option<By> {
    let (time, how) = value.split_once(';')?;
    let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size: i64 = digits.parse().ok()?;
    let seconds = if time.starts_with('-') { -size } else { size };
    let (returns, trace) = match how.to_ascii_uppercase().as_str() {
        "N" => (false, false),
        "NT" => (false, true),
        "R" => (true, false),
        "RT" => (true, true),
        _ => return None,
    };
    (!returns || seconds > 0).then_some(By { seconds, returns, trace })
}

/// RFC 4865 4: one to nine digits, the first of which is no zero.
fn hold_for(value: &str) -> Option<Hold> {
    let digits = value.len() <= 9 && value.bytes().all(|b| b.is_ascii_digit()) && !value.starts_with('0');
    if digits { value.parse().ok().map(Hold::For) } else { None }
}

/// RFC 3461 4.1: NEVER alone, or a list of the others.
fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// RFC 3461 4.2: `addr-type ";" xtext`. RFC 6533 3: with the kind `utf-8` it may be UTF-8 as it is.
fn orcpt(value: &str) -> Option<Orcpt> {
    if value.len() > MAX_ORCPT {
        return None;
    }
    let (kind, address) = value.split_once(';')?;
    let named = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let kind = kind.to_ascii_lowercase();
    let address = xtext(address)?;
    let clean =
        !address.is_empty() && !address.chars().any(|c| c.is_control()) && (address.is_ascii() || kind == "utf-8");
    (named && clean).then_some(Orcpt { kind, address })
}

/// RFC 3461 4: `+XX` is an octet, in upper case hexadecimal digits; `+` and `=` do not stand for themselves.
fn xtext(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        octets.push(match b {
            b'+' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'=' => return None,
            b => b,
        });
    }
    String::from_utf8(octets).ok()
}

fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_with_all_its_parameters() {
        let mail = mail("FROM:<a@b.c> SIZE=1000 body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B314159 AUTH=<>").unwrap();
        assert_eq!(mail.from.map(|from| from.to_string()).as_deref(), Some("a@b.c"));
        assert_eq!((mail.size, mail.body, mail.utf8), (Some(1000), Some(BodyType::EightBitMime), true));
        assert_eq!((mail.ret, mail.envid.as_deref()), (Some(Ret::Headers), Some("QQ+314159")));
    }

    #[test]
    fn quirk_space_before_path() {
        assert!(mail("FROM: <a@b.c>").is_ok());
        assert!(rcpt("to: <a@b.c>").is_ok());
    }

    #[test]
    fn a_time_to_be_delivered_by() {
        let by = |value: &str| mail(&format!("FROM:<a@b.c> BY={value}")).unwrap().by.unwrap();
        assert_eq!(by("+120;rt"), By { seconds: 120, returns: true, trace: true });
        assert_eq!(by("-5;N"), By { seconds: -5, returns: false, trace: false });
        assert_eq!(by("0;NT"), By { seconds: 0, returns: false, trace: true });
    }

    #[test]
    fn rcpt_with_all_its_parameters() {
        let found = rcpt("TO:<a@b.c> NOTIFY=SUCCESS,delay ORCPT=RFC822;Bob+20Smith@b.c").unwrap();
        assert_eq!(found.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!(found.orcpt, Some(Orcpt { kind: "rfc822".into(), address: "Bob Smith@b.c".into() }));
        assert_eq!(rcpt("TO:<a@b.c> NOTIFY=NEVER").unwrap().notify, Some(Notify::default()));
    }

    #[test]
    fn wrong_parameters_are_told() {
        for (argument, code) in [
            ("FROM:<a@b.c> SIZE", 501),
            ("FROM:<a@b.c> SIZE=", 501),
            ("FROM:<a@b.c> SIZE=1 SIZE=1", 501),
            ("FROM:<a@b.c> SIZE=-1", 501),
            ("FROM:<a@b.c>SIZE=1", 501),
            ("FROM:<a@b.c> BODY=BINARYMIME", 501),
            ("FROM:<a@b.c> SMTPUTF8=1", 501),
            ("FROM:<a@b.c> REQUIRETLS=1", 501),
            ("FROM:<a@b.c> REQUIRETLS REQUIRETLS", 501),
            ("FROM:<a@b.c> HOLDFOR", 501),
            ("FROM:<a@b.c> HOLDFOR=0", 501),
            ("FROM:<a@b.c> HOLDFOR=-5", 501),
            ("FROM:<a@b.c> HOLDFOR=1234567890", 501),
            ("FROM:<a@b.c> HOLDUNTIL=tomorrow", 501),
            ("FROM:<a@b.c> HOLDFOR=5 HOLDFOR=5", 501),
            ("FROM:<a@b.c> HOLDFOR=5 HOLDUNTIL=2026-11-18T11:06:40Z", 501),
            ("FROM:<a@b.c> BY=0;R", 501),
            ("FROM:<a@b.c> BY=-1;R", 501),
            ("FROM:<a@b.c> BY=1234567890;N", 501),
            ("FROM:<a@b.c> BY=5", 501),
            ("FROM:<a@b.c> BY=;R", 501),
            ("FROM:<a@b.c> BY=5;X", 501),
            ("FROM:<a@b.c> BY=+-5;N", 501),
            ("FROM:<a@b.c> BY=5;R BY=5;R", 501),
            ("FROM:<a@b.c> ENVID=a+2", 501),
            ("FROM:<a@b.c> ENVID=a+0A", 501),
            ("FROM:<a@b.c> RET=SOME", 501),
            ("FROM:<a@b.c> X-FOO=1", 555),
            ("FROM:<j\u{e9}@b.c>", 550),
            ("FROM:a@b.c", 501),
            ("TO:<a@b.c>", 501),
        ] {
            assert_eq!(mail(argument).expect_err(argument).code, code, "{argument}");
        }
        for (argument, code) in [
            ("TO:<a@b.c> NOTIFY=NEVER,SUCCESS", 501),
            ("TO:<a@b.c> NOTIFY=", 501),
            ("TO:<a@b.c> ORCPT=a@b.c", 501),
            ("TO:<a@b.c> ORCPT=rfc822;", 501),
            ("TO:<a@b.c> ORCPT=rfc822;a+0Db", 501),
            ("TO:<a@b.c> SIZE=1", 555),
            ("TO:<>", 501),
        ] {
            assert_eq!(rcpt(argument).expect_err(argument).code, code, "{argument}");
        }
    }
}
