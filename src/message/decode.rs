//! From transferred to readable: transfer encodings, charsets, encoded words.

use std::borrow::Cow;

use super::structure::Part;

/// Undoes a Content-Transfer-Encoding (base64, quoted-printable; any other as it is). Lenient: what is no digit is
/// skipped. Never longer than the input.
pub fn transfer<'a>(_encoding: &[u8], _body: &'a [u8]) -> Cow<'a, [u8]> {
    todo!()
}

/// True if [`transfer`] knows the encoding; else BINARY answers UNKNOWN-CTE (RFC 9051 6.4.5).
pub fn knows_encoding(_encoding: &[u8]) -> bool {
    todo!()
}

/// To UTF-8, from the named charset; an unknown one is read as UTF-8, what is wrong in it replaced by U+FFFD.
pub fn charset<'a>(_name: &[u8], _bytes: &'a [u8]) -> Cow<'a, str> {
    todo!()
}

/// RFC 2047: an unfolded header value as people read it.
pub fn words(_value: &[u8]) -> String {
    todo!()
}

/// A text part as UTF-8 (transfer encoding and charset undone); HTML as text. `None` for parts that are no text.
/// `letter` is the whole letter.
pub fn text(_letter: &[u8], _part: &Part<'_>) -> Option<String> {
    todo!()
}
