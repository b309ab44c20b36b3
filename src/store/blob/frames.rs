//! Compression in independent frames of 64 KiB, so that a part of a letter is read without the rest.

use crate::store::Error;

/// Bytes of a letter in one frame; the last may have fewer.
pub(crate) const FRAME: usize = 64 * 1024;

/// Set in a frame's stored length when it is compressed (LZ4 block).
const COMPRESSED: u32 = 1 << 31;

/// The longest stored frame anything of ours writes.
const MAX_STORED: u32 = FRAME as u32;

/// One frame as it is stored: its stored length in bytes, with the highest bit telling whether it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub u32);

impl Frame {
    pub fn stored_len(self) -> usize {
        (self.0 & !COMPRESSED) as usize
    }

    fn is_compressed(self) -> bool {
        self.0 & COMPRESSED != 0
    }

    pub fn is_sound(self) -> bool {
        self.0 & !COMPRESSED <= MAX_STORED
    }
}

/// Appends one frame to `out`, compressed where that saves at least an eighth.
pub(crate) fn encode_frame(raw: &[u8], out: &mut Vec<u8>) -> Frame {
    debug_assert!(raw.len() <= FRAME);
    if raw.len() >= 128 {
        let start = out.len();
        out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        if let Ok(len) = lz4_flex::block::compress_into(raw, &mut out[start..])
            && len < raw.len() - raw.len() / 8
        {
            out.truncate(start + len);
            return Frame(len as u32 | COMPRESSED);
        }
        out.truncate(start);
    }
    out.extend_from_slice(raw);
    Frame(raw.len() as u32)
}

/// Cuts `raw` into frames one after another in `out`.
pub(crate) fn encode(raw: &[u8], out: &mut Vec<u8>) -> Vec<Frame> {
    raw.chunks(FRAME).map(|chunk| encode_frame(chunk, out)).collect()
}

/// Appends what a stored frame holds to `out`; `raw_len` is what it must come to.
pub(crate) fn decode_frame(frame: Frame, stored: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    if raw_len > FRAME {
        return Err(Error::Corrupt("a frame claims more than 64 KiB".into()));
    }
    if !frame.is_compressed() {
        if stored.len() != raw_len {
            return Err(Error::Corrupt("a frame has another length than its letter says".into()));
        }
        out.extend_from_slice(stored);
        return Ok(());
    }
    let start = out.len();
    out.resize(start + raw_len, 0);
    match lz4_flex::block::decompress_into(stored, &mut out[start..]) {
        Ok(len) if len == raw_len => Ok(()),
        _ => {
            out.truncate(start);
            Err(Error::Corrupt("a compressed frame does not open".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(raw: &[u8]) {
        let mut stored = Vec::new();
        let frames = encode(raw, &mut stored);
        let (mut out, mut at) = (Vec::new(), 0);
        for (frame, chunk) in frames.iter().zip(raw.chunks(FRAME)) {
            assert!(frame.is_sound());
            let end = at + frame.stored_len();
            decode_frame(*frame, &stored[at..end], chunk.len(), &mut out).unwrap();
            at = end;
        }
        assert_eq!((out.as_slice(), at), (raw, stored.len()));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(raw in proptest::collection::vec(any::<u8>(), 0..3000), times in 1usize..60) {
            round_trip(&raw.repeat(times));
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(stored in proptest::collection::vec(any::<u8>(), 0..300), len in 0usize..70_000, word: u32) {
            let _ = decode_frame(Frame(word), &stored, len, &mut Vec::new());
        }
    }

    #[test]
    fn text_shrinks_and_noise_is_left_alone() {
        let mut stored = Vec::new();
        encode(&b"Received: from mail.example.test ".repeat(1000), &mut stored);
        assert!(stored.len() < 3000);
        let noise = blake3::Hasher::new().finalize_xof().fill_to(1000);
        let mut stored = Vec::new();
        assert_eq!(encode(&noise, &mut stored), [Frame(1000)]);
    }

    trait FillTo {
        fn fill_to(self, len: usize) -> Vec<u8>;
    }

    impl FillTo for blake3::OutputReader {
        fn fill_to(mut self, len: usize) -> Vec<u8> {
            let mut out = vec![0; len];
            self.fill(&mut out);
            out
        }
    }
}
