//! RFC 9051 9 sequence-set.

use super::reader::{Bad, Read, Reader};

/// A set of sequence numbers or of UIDs, as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::imap) struct SeqSet(pub Vec<(Seq, Seq)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::imap) enum Seq {
    N(u32),
    /// The largest in use.
    Star,
}

impl Seq {
    pub fn or(self, largest: u32) -> u32 {
        match self {
            Seq::N(n) => n,
            Seq::Star => largest,
        }
    }
}

pub(super) fn seq_set(r: &mut Reader<'_>) -> Read<SeqSet> {
    let mut ranges = Vec::new();
    loop {
        let first = seq(r)?;
        let last = if r.eat(b':') { seq(r)? } else { first };
        ranges.push((first, last));
        if !r.eat(b',') {
            return Ok(SeqSet(ranges));
        }
    }
}

fn seq(r: &mut Reader<'_>) -> Read<Seq> {
    if r.eat(b'*') {
        return Ok(Seq::Star);
    }
    r.nz_number().map(Seq::N).map_err(|_| Bad::Syntax("A sequence set is wrong"))
}
