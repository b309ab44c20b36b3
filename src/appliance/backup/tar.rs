//! The least of tar (POSIX ustar): plain files with short names, as any `tar` reads them.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;

pub(super) struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Writer<W> {
        Writer { out }
    }

    /// Begins a file; exactly `len` bytes have to be written next, then [`Writer::pad`]. `mtime` is seconds since 1970.
    pub fn begin(&mut self, name: &str, len: u64, mtime: i64) -> io::Result<&mut W> {
        let mut block = [0u8; BLOCK];
        let mut put = |at: usize, text: &str| {
            if let Some(field) = block.get_mut(at..at + text.len()) {
                field.copy_from_slice(text.as_bytes());
            }
        };
        // The most that 11 octal digits can say, and names without a prefix.
        if name.len() > 100 || len > 0o77_777_777_777 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too large for a tar entry"));
        }
        put(0, name);
        put(100, "0000600\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{len:011o}\0"));
        put(136, &format!("{:011o}\0", mtime.clamp(0, 0o77_777_777_777)));
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        if let Some(field) = block.get_mut(148..156) {
            field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        self.out.write_all(&block)?;
        Ok(&mut self.out)
    }

    /// Ends a file of `len` bytes.
    pub fn pad(&mut self, len: u64) -> io::Result<()> {
        self.out.write_all(&[0; BLOCK][..padding(len)])
    }

    pub fn end(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }
}

fn padding(len: u64) -> usize {
    (BLOCK - (len % BLOCK as u64) as usize) % BLOCK
}

/// Reads what [`Writer`] wrote.
pub(super) struct Reader<R: Read> {
    input: R,
    /// Bytes of this file, and zeros behind it, not read yet.
    left: u64,
    padding: usize,
}

impl<R: Read> Reader<R> {
    pub fn new(input: R) -> Reader<R> {
        Reader { input, left: 0, padding: 0 }
    }

    /// The next file's name and length; `None` at the end, where all that follows was read as well, so that nothing of what
    /// lies below (the end of gzip, of age) stays unchecked.
    pub fn next(&mut self) -> io::Result<Option<(String, u64)>> {
        let rest = self.left + self.padding as u64;
        if io::copy(&mut (&mut self.input).take(rest), &mut io::sink())? != rest {
            return Err(damaged());
        }
        let mut block = [0u8; BLOCK];
        self.input.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            io::copy(&mut self.input, &mut io::sink())?;
            (self.left, self.padding) = (0, 0);
            return Ok(None);
        }
        let sum: u32 =
            block.iter().enumerate().map(|(n, b)| u32::from(if (148..156).contains(&n) { b' ' } else { *b })).sum();
        if octal(block.get(148..156)) != Some(u64::from(sum)) || block.get(257..262) != Some(b"ustar") {
            return Err(damaged());
        }
        let name = block.split(|byte| *byte == 0).next().and_then(|name| name.get(..name.len().min(100)));
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(damaged)?.to_owned();
        let len = octal(block.get(124..136)).ok_or_else(damaged)?;
        (self.left, self.padding) = (len, padding(len));
        Ok(Some((name, len)))
    }

    /// All of this file; an error if it is longer than `most`.
    pub fn whole(&mut self, most: u64) -> io::Result<Vec<u8>> {
        if self.left > most {
            return Err(damaged());
        }
        let mut out = Vec::with_capacity(self.left as usize);
        self.read_to_end(&mut out)?;
        if self.left > 0 { Err(damaged()) } else { Ok(out) }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.input.read(out.get_mut(..most).unwrap_or_default())?;
        self.left -= read as u64;
        Ok(read)
    }
}

fn octal(field: Option<&[u8]>) -> Option<u64> {
    let text = std::str::from_utf8(field?).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_and_damage_is_an_error() {
        let mut writer = Writer::new(Vec::new());
        for len in [0usize, 1, 511, 512, 513, 5000] {
            let name = format!("letters/{len}");
            writer.begin(&name, len as u64, 1_700_000_000).unwrap().write_all(&vec![7; len]).unwrap();
            writer.pad(len as u64).unwrap();
        }
        let bytes = writer.end().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut reader = Reader::new(bytes.as_slice());
        let mut found = Vec::new();
        while let Some((name, len)) = reader.next().unwrap() {
            // Every second one is passed over.
            if found.len() % 2 == 0 {
                assert_eq!(reader.whole(5000).unwrap(), vec![7; len as usize]);
            }
            found.push(name);
        }
        assert_eq!(found, ["letters/0", "letters/1", "letters/511", "letters/512", "letters/513", "letters/5000"]);
        let mut flipped = bytes.clone();
        flipped[3] ^= 1;
        assert!(Reader::new(flipped.as_slice()).next().is_err());
        let mut cut = Reader::new(&bytes[..bytes.len() - 1600]);
        while let Ok(Some(_)) = cut.next() {}
        assert!(cut.next().is_err());
    }
}
