//! The mix of letters: 60 % of 2 KB, 30 % of 20 KB, 10 % of 200 KB (28 KB on average), from 200 sender domains.

use homepost::mailauth::{Key, sign};

const WORDS: [&str; 48] = [
    "the",
    "letter",
    "garden",
    "from",
    "morning",
    "and",
    "your",
    "window",
    "summer",
    "we",
    "train",
    "of",
    "photograph",
    "with",
    "kitchen",
    "school",
    "a",
    "doctor",
    "invoice",
    "to",
    "neighbour",
    "holiday",
    "for",
    "bread",
    "winter",
    "is",
    "grandmother",
    "bicycle",
    "on",
    "Thursday",
    "appointment",
    "not",
    "recipe",
    "music",
    "this",
    "lesson",
    "house",
    "birthday",
    "in",
    "ticket",
    "journey",
    "that",
    "harbour",
    "weather",
    "you",
    "concert",
    "insurance",
    "it",
];

/// A small reproducible sequence (xorshift).
pub struct Sequence(u64);

impl Sequence {
    pub fn new(seed: u64) -> Sequence {
        Sequence(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

pub struct Letter {
    pub sender: String,
    /// With CRLF line ends, no line begins with a dot.
    pub bytes: Vec<u8>,
}

impl Letter {
    /// Puts a DKIM-Signature before it.
    pub fn sign(&mut self, domain: &str, keys: &[Key]) {
        let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return };
        let mut signed = sign(&self.bytes[..at + 2], &self.bytes[at + 4..], domain, keys, None);
        signed.extend_from_slice(&self.bytes);
        self.bytes = signed;
    }
}

/// Letter number `n` of `seed` by one person, of one part and about `size` bytes.
pub fn plain(seed: u64, n: u64, from: &str, to: &str, size: usize) -> Letter {
    let mut random = Sequence::new(seed ^ (n.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    let mut text = format!(
        "From: Some Body <{from}>\r\nTo: <{to}>\r\nSubject: {} {} number {n}\r\nMessage-ID: <{n}.{seed}@bench.example>\r\n\
         Date: Tue, 24 Nov 2026 10:{:02}:{:02} +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
        word(&mut random),
        word(&mut random),
        n / 60 % 60,
        n % 60
    );
    prose(&mut text, &mut random, size);
    Letter { sender: from.to_owned(), bytes: text.into_bytes() }
}

/// Letter number `n` of the mix of `seed`: always the same bytes for the same two numbers.
pub fn letter(seed: u64, n: u64, to: &str) -> Letter {
    let mut random = Sequence::new(seed ^ (n.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    random.next();
    let size = match random.next() % 10 {
        0..=5 => 2_000,
        6..=8 => 20_000,
        _ => 200_000,
    };
    let sender = format!("sender{}@domain{}.example", random.next() % 20, random.next() % 200);
    let mut text = format!(
        "From: Some Body <{sender}>\r\nTo: <{to}>\r\nSubject: {} {} {} number {n}\r\nMessage-ID: <{n}.{seed}@bench.example>\r\n\
         Date: Tue, 24 Nov 2026 10:{:02}:{:02} +0000\r\nMIME-Version: 1.0\r\n",
        word(&mut random),
        word(&mut random),
        word(&mut random),
        n / 60 % 60,
        n % 60
    );
    if size < 200_000 {
        text.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
        prose(&mut text, &mut random, size);
    } else {
        text.push_str("Content-Type: multipart/mixed; boundary=\"b0unda7y\"\r\n\r\n--b0unda7y\r\nContent-Type: text/plain\r\n\r\n");
        prose(&mut text, &mut random, 3_000);
        text.push_str(
            "\r\n--b0unda7y\r\nContent-Type: image/jpeg; name=\"photo.jpg\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"photo.jpg\"\r\n\r\n",
        );
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        while text.len() < size {
            for _ in 0..8 {
                let mut bits = random.next();
                for _ in 0..9 {
                    text.push(ALPHABET[(bits & 63) as usize] as char);
                    bits >>= 6;
                }
            }
            text.push_str("\r\n");
        }
        text.push_str("--b0unda7y--\r\n");
    }
    Letter { sender, bytes: text.into_bytes() }
}

fn word(random: &mut Sequence) -> &'static str {
    WORDS[(random.next() % WORDS.len() as u64) as usize]
}

fn prose(text: &mut String, random: &mut Sequence, until: usize) {
    let end = text.len() + until;
    let mut column = 0;
    while text.len() < end {
        let next = word(random);
        if column + next.len() > 72 {
            text.push_str("\r\n");
            column = 0;
        }
        text.push_str(next);
        text.push(' ');
        column += next.len() + 1;
    }
    text.push_str("\r\n");
}
