//! Files as `age` writes and reads them (age-encryption.org/v1, C2SP age): sealed for an X25519 recipient or by a pass phrase,
//! written and read as streams.
//!
//! Why not the crate of that name: it brings 75 others with it (languages, elliptic curves, a second set of everything that
//! aws-lc-rs has), and what is needed of the format are these pages. The tests read what stock `age` wrote, and the end-to-end
//! tests have stock `age` read what this wrote.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::base::Random;

use super::bech32;

const VERSION: &str = "age-encryption.org/v1";
/// Payload is sealed in pieces of this many bytes.
const PIECE: usize = 64 << 10;
const TAG: usize = 16;
/// Longer headers are not ours, and no line in one is.
const HEADER_MOST: usize = 4096;

/// The work of a pass phrase: 2 to this power, 64 MiB of memory and about a second on a small box.
const WORK: u8 = 16;
/// More is refused: a file may come from anybody, and this is 256 MiB.
const WORK_MOST: u8 = 18;

/// Why a file does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is sealed for another key, or by another pass phrase.
    OtherKey,
    /// It is no age file, or not as it was written.
    Damaged,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Closed::OtherKey => "it is sealed with another key",
            Closed::Damaged => "it is damaged",
        })
    }
}

impl std::error::Error for Closed {}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, closed)
    }
}

/// A key that opens what is sealed for it. It has no `Debug`.
#[derive(Clone)]
pub struct Identity {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Identity {
    pub fn new(random: &dyn Random) -> Identity {
        loop {
            let mut secret = [0; 32];
            random.fill(&mut secret);
            if let Some(identity) = Identity::from_secret(secret) {
                return identity;
            }
        }
    }

    fn from_secret(secret: [u8; 32]) -> Option<Identity> {
        let key = PrivateKey::from_private_key(&X25519, &secret).ok()?;
        let public = key.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Identity { secret, public })
    }

    /// As `age -i` reads it from a file.
    pub fn text(&self) -> String {
        bech32::encode("age-secret-key-", &self.secret).to_ascii_uppercase()
    }

    /// From a key file: empty lines, lines that begin with `#`, and one key.
    pub fn read(text: &str) -> Option<Identity> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let secret = bech32::decode("age-secret-key-", lines.next()?)?;
        lines.next().is_none().then(|| Identity::from_secret(secret.try_into().ok()?)).flatten()
    }

    /// A secret for another purpose, from which this one cannot be told.
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.secret)
    }
}

/// Whom a file is sealed for.
pub enum Seal<'a> {
    For(&'a Identity),
    Phrase(&'a str),
}

/// Seals what is written to it; [`Sealing::end`] has to be called.
pub struct Sealing<W: Write> {
    out: W,
    key: LessSafeKey,
    piece: Vec<u8>,
    count: u64,
    /// A piece could not be written: nothing may follow, not even from a compressor that is dropped.
    failed: bool,
}

impl<W: Write> Sealing<W> {
    pub fn begin(mut out: W, seal: &Seal<'_>, random: &dyn Random) -> io::Result<Sealing<W>> {
        let (mut file_key, mut nonce) = ([0; 16], [0; 16]);
        random.fill(&mut file_key);
        random.fill(&mut nonce);
        let mut header = format!("{VERSION}\n");
        match seal {
            Seal::For(identity) => {
                let ephemeral = Identity::new(random);
                let wrap = shared(&ephemeral, &identity.public, &ephemeral.public, &identity.public)?;
                let body = wrap_key(&wrap, &file_key)?;
                header.push_str(&format!("-> X25519 {}\n{}\n", text(&ephemeral.public), text(&body)));
            }
            Seal::Phrase(phrase) => {
                let mut salt = [0; 16];
                random.fill(&mut salt);
                let body = wrap_key(&stretched(phrase, &salt, WORK)?, &file_key)?;
                header.push_str(&format!("-> scrypt {} {WORK}\n{}\n", text(&salt), text(&body)));
            }
        }
        header.push_str("---");
        let mac = hmac::sign(&header_key(&file_key)?, header.as_bytes());
        header.push_str(&format!(" {}\n", text(mac.as_ref())));
        out.write_all(header.as_bytes())?;
        out.write_all(&nonce)?;
        let piece = Vec::with_capacity(PIECE + TAG);
        Ok(Sealing { out, key: payload_key(&file_key, &nonce)?, piece, count: 0, failed: false })
    }

    /// Writes the last piece; without it the file does not open.
    pub fn end(mut self) -> io::Result<W> {
        self.flush_piece(true)?;
        Ok(self.out)
    }

    fn flush_piece(&mut self, last: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(io::Error::other("a piece before could not be written"));
        }
        self.key
            .seal_in_place_append_tag(nonce(self.count, last), Aad::empty(), &mut self.piece)
            .map_err(|_| io::Error::other("cannot encrypt"))?;
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        self.count += 1;
        self.failed = false;
        Ok(())
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece waits for what follows: the last one is marked, and never empty behind others.
        if self.failed || (self.piece.len() == PIECE && !bytes.is_empty()) {
            self.flush_piece(false)?;
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what is read through it. Errors are [`Closed`], inside [`io::Error`]; whoever reads must read to the end, where it
/// shows that nothing is missing.
pub struct Opening<R: Read> {
    input: R,
    key: LessSafeKey,
    /// Opened, and how much of it was handed out.
    piece: Vec<u8>,
    at: usize,
    /// The first byte of the next piece, read to know whether there is one.
    ahead: Option<u8>,
    count: u64,
    done: bool,
}

/// How a file is to be opened.
pub enum Key<'a> {
    Identity(&'a Identity),
    Phrase(&'a str),
}

impl<R: Read> Opening<R> {
    pub fn begin(mut input: R, key: &Key<'_>) -> io::Result<Opening<R>> {
        let file_key = open_header(&mut input, key)?;
        let mut nonce = [0; 16];
        fill(&mut input, &mut nonce)?;
        let mut first = [0; 1];
        fill(&mut input, &mut first)?;
        let key = payload_key(&file_key, &nonce)?;
        Ok(Opening { input, key, piece: Vec::new(), at: 0, ahead: Some(first[0]), count: 0, done: false })
    }

    fn next_piece(&mut self) -> io::Result<()> {
        self.piece.clear();
        self.at = 0;
        self.piece.extend(self.ahead.take());
        let room = (PIECE + TAG).saturating_sub(self.piece.len()) as u64;
        (&mut self.input).take(room).read_to_end(&mut self.piece)?;
        let mut next = Vec::new();
        (&mut self.input).take(1).read_to_end(&mut next)?;
        self.ahead = next.first().copied();
        let last = self.ahead.is_none();
        let opened = self
            .key
            .open_in_place(nonce(self.count, last), Aad::empty(), &mut self.piece)
            .map(|opened| opened.len())
            .map_err(|_| Closed::Damaged)?;
        if opened == 0 && self.count > 0 {
            return Err(Closed::Damaged.into());
        }
        self.piece.truncate(opened);
        self.count += 1;
        self.done = last;
        Ok(())
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.done || out.is_empty() {
                return Ok(0);
            }
            self.next_piece()?;
        }
        let here = self.piece.get(self.at..).unwrap_or_default();
        let taken = here.len().min(out.len());
        if let (Some(out), Some(here)) = (out.get_mut(..taken), here.get(..taken)) {
            out.copy_from_slice(here);
        }
        self.at += taken;
        Ok(taken)
    }
}

/// The file key, if one of the stanzas opens.
fn open_header(input: &mut impl Read, key: &Key<'_>) -> io::Result<[u8; 16]> {
    let mut header = Vec::new();
    let mut found: Option<[u8; 16]> = None;
    if line(input, &mut header)? != VERSION {
        return Err(Closed::Damaged.into());
    }
    let mut first = line(input, &mut header)?;
    loop {
        if let Some(mac) = first.strip_prefix("--- ") {
            let file_key = found.ok_or(Closed::OtherKey)?;
            let mac = bytes(mac).ok_or(Closed::Damaged)?;
            let signed = header.len() - first.len() - 1 + "---".len();
            let signed = header.get(..signed).unwrap_or_default();
            hmac::verify(&header_key(&file_key)?, signed, &mac).map_err(|_| Closed::Damaged)?;
            return Ok(file_key);
        }
        let args: Vec<String> = match first.strip_prefix("-> ") {
            Some(args) => args.split(' ').map(str::to_owned).collect(),
            None => return Err(Closed::Damaged.into()),
        };
        // Its body: full lines of 64 letters, and a shorter one.
        let mut body = String::new();
        loop {
            let part = line(input, &mut header)?;
            body.push_str(&part);
            if part.len() < 64 {
                break;
            }
        }
        if found.is_none() {
            found = open_stanza(&args, &body, key)?;
        }
        first = line(input, &mut header)?;
    }
}

fn open_stanza(args: &[String], body: &str, key: &Key<'_>) -> io::Result<Option<[u8; 16]>> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let body = bytes(body).ok_or(Closed::Damaged)?;
    match (args.as_slice(), key) {
        (["X25519", share], Key::Identity(identity)) => {
            let share: [u8; 32] = bytes(share).and_then(|share| share.try_into().ok()).ok_or(Closed::Damaged)?;
            Ok(unwrap_key(&shared(identity, &share, &share, &identity.public)?, body))
        }
        (["scrypt", salt, work], Key::Phrase(phrase)) => {
            let salt: [u8; 16] = bytes(salt).and_then(|salt| salt.try_into().ok()).ok_or(Closed::Damaged)?;
            let work: u8 = work.parse().map_err(|_| Closed::Damaged)?;
            if work == 0 || work > WORK_MOST {
                return Err(Closed::Damaged.into());
            }
            Ok(unwrap_key(&stretched(phrase, &salt, work)?, body))
        }
        _ => Ok(None),
    }
}

/// A line without its end; all of it goes to `header` as well.
fn line(input: &mut impl Read, header: &mut Vec<u8>) -> io::Result<String> {
    let from = header.len();
    loop {
        let mut byte = [0; 1];
        fill(input, &mut byte)?;
        header.push(byte[0]);
        if byte[0] == b'\n' {
            let line = header.get(from..header.len() - 1).unwrap_or_default().to_vec();
            return String::from_utf8(line).map_err(|_| Closed::Damaged.into());
        }
        if header.len() > HEADER_MOST {
            return Err(Closed::Damaged.into());
        }
    }
}

fn fill(input: &mut impl Read, out: &mut [u8]) -> io::Result<()> {
    input.read_exact(out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Closed::Damaged.into(),
        _ => error,
    })
}

fn text(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

fn nonce(count: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    if let Some(counter) = bytes.get_mut(3..11) {
        counter.copy_from_slice(&count.to_be_bytes());
    }
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn failed<E>(_: E) -> io::Error {
    io::Error::other("a cipher failed")
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> io::Result<[u8; 32]> {
    let mut out = [0; 32];
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
    salt.extract(secret).expand(&[info], hkdf::HKDF_SHA256).map_err(failed)?.fill(&mut out).map_err(failed)?;
    Ok(out)
}

fn cipher(key: &[u8; 32]) -> io::Result<LessSafeKey> {
    Ok(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).map_err(failed)?))
}

fn header_key(file_key: &[u8; 16]) -> io::Result<hmac::Key> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive(file_key, &[], b"header")?))
}

fn payload_key(file_key: &[u8; 16], nonce: &[u8; 16]) -> io::Result<LessSafeKey> {
    cipher(&derive(file_key, nonce, b"payload")?)
}

/// The key between two, as a stanza X25519 makes it.
fn shared(own: &Identity, other: &[u8; 32], share: &[u8; 32], recipient: &[u8; 32]) -> io::Result<[u8; 32]> {
    let key = PrivateKey::from_private_key(&X25519, &own.secret).map_err(failed)?;
    let salt = [share.as_slice(), recipient].concat();
    let other = UnparsedPublicKey::new(&X25519, other);
    agreement::agree(&key, other, io::Error::from(Closed::Damaged), |secret| {
        derive(secret, &salt, format!("{VERSION}/X25519").as_bytes())
    })
}

fn stretched(phrase: &str, salt: &[u8; 16], work: u8) -> io::Result<[u8; 32]> {
    let salt = [format!("{VERSION}/scrypt").as_bytes(), salt].concat();
    let mut out = [0; 32];
    let params = scrypt::Params::new(work, 8, 1).map_err(failed)?;
    scrypt::scrypt(phrase.as_bytes(), &salt, &params, &mut out).map_err(failed)?;
    Ok(out)
}

fn wrap_key(key: &[u8; 32], file_key: &[u8; 16]) -> io::Result<Vec<u8>> {
    let mut body = file_key.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    cipher(key)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut body).map_err(failed)?;
    Ok(body)
}

fn unwrap_key(key: &[u8; 32], mut body: Vec<u8>) -> Option<[u8; 16]> {
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let opened = cipher(key).ok()?.open_in_place(nonce, Aad::empty(), &mut body).ok()?;
    <[u8; 16]>::try_from(&*opened).ok()
}

/// All of a small file, sealed.
pub fn seal(bytes: &[u8], seal: &Seal<'_>, random: &dyn Random) -> io::Result<Vec<u8>> {
    let mut sealing = Sealing::begin(Vec::new(), seal, random)?;
    sealing.write_all(bytes)?;
    sealing.end()
}

/// All of a small file, opened.
pub fn open(bytes: &[u8], key: &Key<'_>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Opening::begin(bytes, key)?.read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
