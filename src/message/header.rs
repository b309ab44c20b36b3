//! Header sections: fields found, unfolded, filtered. Works on raw bytes, CRLF or bare LF.

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
        let _ = self.rest;
        todo!()
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
pub fn unfold(_value: &[u8]) -> Text<'_> {
    todo!()
}

/// Where the header section of a message ends: behind its empty line, or 0 if the first line is no field at all.
pub fn end(_bytes: &[u8]) -> usize {
    todo!()
}

/// RFC 9051 6.4.5.1, HEADER.FIELDS: the fields of these names (any case), as they came and in their order, then an
/// empty line.
pub fn only<N: AsRef<[u8]>>(_header: &[u8], _names: &[N]) -> Vec<u8> {
    todo!()
}

/// RFC 9051 6.4.5.1, HEADER.FIELDS.NOT: all fields but these, then an empty line.
pub fn without<N: AsRef<[u8]>>(_header: &[u8], _names: &[N]) -> Vec<u8> {
    todo!()
}
