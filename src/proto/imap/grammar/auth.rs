//! LOGIN, AUTHENTICATE (with RFC 4959's initial response), ENABLE, ID.

use super::reader::{Bad, Read, Reader};
use super::{Command, Secret};

pub(super) fn login(r: &mut Reader<'_>) -> Read<Command> {
    let user = r.astring()?.into_owned();
    r.space()?;
    let password = Secret(r.astring()?.into_owned());
    Ok(Command::Login { user, password })
}

/// The initial response is kept in base64; `=` is an empty one (RFC 4959 3).
pub(super) fn authenticate(r: &mut Reader<'_>) -> Read<Command> {
    let mechanism = r.keyword()?;
    let initial = if r.eat(b' ') {
        let coded = r.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        if coded.is_empty() {
            return Err(Bad::Syntax("The initial response is not base64"));
        }
        Some(Secret(coded.to_vec()))
    } else {
        None
    };
    Ok(Command::Authenticate { mechanism, initial })
}

/// RFC 9051 6.3.1. Nothing can be enabled yet, so the names are read and forgotten.
pub(super) fn enable(r: &mut Reader<'_>) -> Read<Command> {
    loop {
        r.atom()?;
        if !r.eat(b' ') {
            return Ok(Command::Enable);
        }
    }
}

/// RFC 2971 3.3: at most 30 fields, 30 and 1,024 octets.
pub(super) fn id(r: &mut Reader<'_>) -> Read<Command> {
    if r.eat_word("NIL") {
        return Ok(Command::Id);
    }
    let fields = r.list(60, |r| {
        let long = r.nstring()?.is_some_and(|text| text.len() > 1024);
        if long { Err(Bad::Syntax("An ID value is too long")) } else { Ok(()) }
    })?;
    if fields.len() % 2 == 0 { Ok(Command::Id) } else { Err(Bad::Syntax("An ID field has no value")) }
}
