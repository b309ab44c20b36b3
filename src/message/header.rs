//! Header sections: fields found, unfolded, filtered. Works on raw bytes, CRLF or bare LF.

use std::borrow::Cow;

use super::structure::Text;

/// One field of a header section, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// All its bytes: name, colon, value with folds, line end.
    pub raw: &'a [u8],
    /// Behind the colon, folds and last line end included.
    pub raw_value: &'a [u8],
}

impl<'a> Field<'a> {
    /// True for this name, in any case (RFC 5322 1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Unfolded and trimmed.
    pub fn value(&self) -> Text<'a> {
        unfold(self.raw_value)
    }
}

/// The fields of a header section, in order; lines that are no field are skipped.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.rest.is_empty() {
            let (line, mut after) = split_line(self.rest);
            if is_empty_line(line) {
                self.rest = &[];
                return None;
            }
            let Some(name) = field_name(line) else {
                self.rest = after;
                continue;
            };
            // RFC 5322 2.2.3: lines that begin with white space go on with the field before.
            while matches!(after.first(), Some(b' ' | b'\t')) {
                after = split_line(after).1;
            }
            let raw = &self.rest[..self.rest.len() - after.len()];
            self.rest = after;
            let colon = memchr::memchr(b':', raw).unwrap_or(0);
            return Some(Field { name, raw, raw_value: &raw[colon + 1..] });
        }
        None
    }
}

/// The first field of that name.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

/// How many fields of that name there are (Received, against loops).
pub fn count(header: &[u8], name: &str) -> usize {
    fields(header).filter(|field| field.is(name)).count()
}

/// RFC 5322 2.2.3: line ends taken out, white space at both ends and NULs too.
pub fn unfold(value: &[u8]) -> Text<'_> {
    let value = trim(value);
    if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        Cow::Owned(value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n' | 0)).collect())
    } else {
        Cow::Borrowed(value)
    }
}

/// Where the header section of a message ends: behind its empty line, or 0 if the first line is no field at all (the
/// bytes are a body then; an mbox line `From …` before the fields is let pass).
pub fn end(bytes: &[u8]) -> usize {
    if !begins_with_field(bytes) {
        return 0;
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        rest = after;
        if is_empty_line(line) {
            break;
        }
    }
    bytes.len() - rest.len()
}

/// True if a header section starts here, be it an empty one. Whoever puts trace fields before a letter for which this is
/// false has to put an empty line between them.
pub fn begins_with_field(bytes: &[u8]) -> bool {
    let (line, _) = split_line(bytes);
    is_empty_line(line) || field_name(line).is_some() || line.starts_with(b"From ") || line.starts_with(b">From ")
}

/// RFC 9051 6.4.5.1, HEADER.FIELDS: the fields of these names (any case), as they came and in their order, then an
/// empty line.
pub fn only<N: AsRef<[u8]>>(header: &[u8], names: &[N]) -> Vec<u8> {
    filter(header, |name| names.iter().any(|wanted| wanted.as_ref().eq_ignore_ascii_case(name)))
}

/// RFC 9051 6.4.5.1, HEADER.FIELDS.NOT: all fields but these, then an empty line.
pub fn without<N: AsRef<[u8]>>(header: &[u8], names: &[N]) -> Vec<u8> {
    filter(header, |name| !names.iter().any(|unwanted| unwanted.as_ref().eq_ignore_ascii_case(name)))
}

fn filter(header: &[u8], keep: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(header).filter(|field| keep(field.name)) {
        out.extend_from_slice(field.raw);
        if !field.raw.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The first line with its line end, and what follows.
pub(super) fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => bytes.split_at(at + 1),
        None => (bytes, &[]),
    }
}

pub(super) fn is_empty_line(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

/// RFC 5322 2.2: printable ASCII but the colon; 4.5.8: white space may stand before the colon.
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let length = line.iter().position(|b| !matches!(b, 33..=57 | 59..=126))?;
    let (name, rest) = line.split_at(length);
    let colon = rest.iter().find(|b| !matches!(b, b' ' | b'\t'))?;
    (!name.is_empty() && *colon == b':').then_some(name)
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0);
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !blank(b)).map_or(start, |at| at + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"Received: from a\r\n by b\r\nfrom : Joe\r\nSubject:  Two\r\n\twords \r\nno field here\r\n\
        RECEIVED: x\r\n\r\nSubject: in the body\r\n";

    fn names(header: &[u8]) -> Vec<&[u8]> {
        fields(header).map(|f| f.name).collect()
    }

    #[test]
    fn fields_are_found_with_their_folds_and_lines_that_are_none_are_skipped() {
        assert_eq!(names(HEADER), [&b"Received"[..], b"from", b"Subject", b"RECEIVED"]);
        assert_eq!(&*find(HEADER, "subject").unwrap().value(), b"Two\twords");
        assert_eq!(&*find(HEADER, "FROM").unwrap().value(), b"Joe");
        assert_eq!(count(HEADER, "received"), 2);
        assert!(find(HEADER, "To").is_none());
    }

    #[test]
    fn bare_line_feeds_do_as_well() {
        let header = b"A: 1\n 2\nB: 3\n\nbody";
        assert_eq!(&*find(header, "a").unwrap().value(), b"1 2");
        assert_eq!(end(header), header.len() - 4);
    }

    #[test]
    fn a_text_without_header_is_all_body() {
        assert_eq!(end(b"Hello world\r\n\r\nA: b\r\n"), 0);
        assert_eq!(end(b"\r\nbody"), 2);
        assert_eq!(end(b"From x Sat Jan  3 01:05:34 1996\nA: b\n\nbody"), 38);
        assert_eq!(end(b"A: b"), 4);
        assert_eq!(end(b""), 0);
        assert!(!begins_with_field(b"Hello world\r\n"));
    }

    #[test]
    fn filtered_fields_keep_order_and_bytes_and_end_with_an_empty_line() {
        let raw = b"Received: from a\r\n by b\r\nRECEIVED: x\r\n\r\n";
        assert_eq!(only(HEADER, &["rEceived"]), raw);
        assert_eq!(without(HEADER, &["received", "subject"]), b"from : Joe\r\n\r\n");
        assert_eq!(only(HEADER, &["Nothing"]), b"\r\n");
        assert_eq!(only(b"A: b", &["A"]), b"A: b\r\n\r\n");
    }

    #[test]
    fn a_fold_of_white_space_alone_does_not_end_the_header() {
        let header = b"A: b\r\n \r\nC: d\r\n\r\n";
        assert_eq!(names(header), [&b"A"[..], b"C"]);
        assert_eq!(end(header), header.len());
    }

    #[test]
    fn unfolding_takes_out_line_ends_and_nuls() {
        assert_eq!(&*unfold(b" a\r\n b\0c\r\n"), b"a bc");
        assert_eq!(&*unfold(b" \r\n \r\n"), b"");
        assert!(matches!(unfold(b" plain \r\n"), Cow::Borrowed(b"plain")));
    }
}
