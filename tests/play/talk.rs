//! Plays a script over any kind of connection.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::matching::{Taken, fill, fits};
use super::script::{Does, Expects, Script, Sends, Step, unescape};

/// One connection, seen from the client. Reading blocks until it is there, or until waiting makes no sense any more.
pub trait Talk {
    /// Sends this, cut as this stage cuts.
    fn send(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// The next line with its line end, or what there is when no more comes.
    fn line(&mut self) -> Result<Vec<u8>, Quiet>;
    /// This many bytes.
    fn exact(&mut self, length: usize) -> Result<Vec<u8>, Quiet>;
    /// What has been said and not been read once the server has nothing more to do. A stage that cannot know when that is
    /// gives what is there.
    fn unread(&mut self) -> Vec<u8>;
    fn start_tls(&mut self) -> Result<(), String>;
    /// The client closes its side.
    fn close(&mut self);
}

/// Nothing more comes; what came of it.
#[derive(Debug)]
pub enum Quiet {
    Closed(Vec<u8>),
    Silent(Vec<u8>),
}

/// Where connections come from.
pub trait Stage {
    fn open(&mut self, listener: &str) -> Result<Box<dyn Talk>, String>;
    fn wait(&mut self, ms: u64) -> Result<(), String>;
}

/// The name that the server is set up with.
pub const HOST: &str = "mail.example.test";

/// An error says the line, and what was expected and what came.
pub fn play(script: &Script, stage: &mut dyn Stage) -> Result<(), String> {
    let mut player = Player { script, stage, talks: BTreeMap::new(), taken: HashMap::new(), seen: Vec::new() };
    player.taken.insert("host".into(), HOST.into());
    match player.run() {
        Ok(()) => Ok(()),
        Err((line, error)) => {
            let mut words = format!("line {line}: {error}");
            for (conn, said) in player.seen.iter().rev().take(8).rev() {
                let _ = write!(words, "\n      before, on {conn}: {}", shown(said));
            }
            Err(words)
        }
    }
}

struct Player<'a> {
    script: &'a Script,
    stage: &'a mut dyn Stage,
    talks: BTreeMap<usize, Box<dyn Talk>>,
    taken: Taken,
    /// The lines read so far, for whoever looks at a failure.
    seen: Vec<(usize, Vec<u8>)>,
}

type Played = Result<(), (usize, String)>;

impl Player<'_> {
    fn run(&mut self) -> Played {
        let steps = &self.script.steps;
        let mut at = 0;
        while at < steps.len() {
            at = self.step(steps, at)?;
        }
        let last = steps.last().map_or(0, |step| step.line);
        for conn in self.talks.keys().copied().collect::<Vec<_>>() {
            self.nothing_unread(conn, last)?;
        }
        Ok(())
    }

    /// Plays the step, and those that belong to it; says where to go on.
    fn step(&mut self, steps: &[Step], at: usize) -> Result<usize, (usize, String)> {
        let step = &steps[at];
        let line = step.line;
        let fail = |error: String| (line, error);
        match &step.does {
            Does::Send { .. } => return self.send_group(steps, at),
            Does::Expect { how: Expects::AnyOrder, .. } => return self.any_order(steps, at),
            Does::Expect { how: Expects::Not, .. } => return self.until(steps, at),
            Does::Expect { how: Expects::Until, .. } => return self.until(steps, at),
            Does::Expect { text, how: Expects::Line } => {
                let got = self.read_line(step.conn, line, text)?;
                if !fits(text, &got, &mut self.taken).map_err(fail)? {
                    return Err(fail(self.differs(text, &got)));
                }
            }
            Does::Expect { text, how: Expects::Raw } => {
                let want = unescape(text).map_err(fail)?;
                let got = match self.talk(step.conn, line)?.exact(want.len()) {
                    Ok(got) => got,
                    Err(quiet) => return Err(fail(quiet.words(text))),
                };
                if got != want {
                    return Err(fail(format!("expected {}\n           got {}", shown(&want), shown(&got))));
                }
            }
            Does::Closed => match self.talk(step.conn, line)?.line() {
                Err(Quiet::Closed(rest)) if rest.is_empty() => {}
                Err(Quiet::Closed(rest)) => return Err(fail(format!("closed, but before that: {}", shown(&rest)))),
                Err(Quiet::Silent(_)) => return Err(fail("expected the server to close; it does not".into())),
                Ok(got) => return Err(fail(format!("expected the server to close\n           got {}", shown(&got)))),
            },
            Does::Silent => self.nothing_unread(step.conn, line)?,
            Does::Tls => {
                self.nothing_unread(step.conn, line)?;
                self.talk(step.conn, line)?.start_tls().map_err(fail)?;
            }
            Does::Close => self.talk(step.conn, line)?.close(),
            Does::Wait { ms } => self.stage.wait(*ms).map_err(fail)?,
            Does::Deliver { address, message } => self.deliver(address, message).map_err(fail)?,
            Does::Append { address, mailbox, flags, message } => {
                self.append(address, mailbox, flags, message).map_err(fail)?;
            }
        }
        Ok(at + 1)
    }

    fn talk(&mut self, conn: usize, line: usize) -> Result<&mut dyn Talk, (usize, String)> {
        if !self.talks.contains_key(&conn) {
            let talk = self.stage.open(self.script.listener(conn)).map_err(|error| (line, error))?;
            self.talks.insert(conn, talk);
        }
        match self.talks.get_mut(&conn) {
            Some(talk) => Ok(talk.as_mut()),
            None => Err((line, "no such connection".into())),
        }
    }

    /// Consecutive lines of one client go out in one piece. Nothing may be unread by then.
    fn send_group(&mut self, steps: &[Step], start: usize) -> Result<usize, (usize, String)> {
        let conn = steps[start].conn;
        let line = steps[start].line;
        self.nothing_unread(conn, line)?;
        let mut bytes = Vec::new();
        let mut at = start;
        while let Some(Step { conn: of, does: Does::Send { .. }, .. }) = steps.get(at)
            && *of == conn
        {
            bytes.extend(self.said(steps, at).map_err(|error| (steps[at].line, error))?);
            at += 1;
        }
        self.talk(conn, line)?.send(&bytes).map_err(|error| (line, error))?;
        Ok(at)
    }

    fn said(&self, steps: &[Step], at: usize) -> Result<Vec<u8>, String> {
        let Does::Send { text, how } = &steps[at].does else { return Ok(Vec::new()) };
        let raw = matches!(how, Sends::Raw | Sends::MessageRaw);
        let plain = if raw { unescape(text)? } else { text.clone().into_bytes() };
        let mut bytes = match how {
            Sends::Line | Sends::Raw => fill(&plain, &self.taken, self.count(steps, at)?)?,
            Sends::Message | Sends::MessageRaw => fill(&plain, &self.taken, None)?,
        };
        if !raw {
            bytes.extend_from_slice(b"\r\n");
        }
        Ok(bytes)
    }

    /// How many bytes the next block of `M:` lines of this connection has.
    fn count(&self, steps: &[Step], at: usize) -> Result<Option<usize>, String> {
        let Does::Send { text, .. } = &steps[at].does else { return Ok(None) };
        if !text.contains("{#}") {
            return Ok(None);
        }
        let conn = steps[at].conn;
        let is_message = |step: &Step| {
            step.conn == conn && matches!(step.does, Does::Send { how: Sends::Message | Sends::MessageRaw, .. })
        };
        let Some(first) = (at + 1..steps.len()).find(|i| is_message(&steps[*i])) else { return Ok(None) };
        let mut sum = 0;
        for i in (first..steps.len()).take_while(|i| is_message(&steps[*i])) {
            sum += self.said(steps, i)?.len();
        }
        Ok(Some(sum))
    }

    fn read_line(&mut self, conn: usize, line: usize, want: &str) -> Result<Vec<u8>, (usize, String)> {
        match self.talk(conn, line)?.line() {
            Ok(got) => {
                self.seen.push((conn, got.clone()));
                match got.strip_suffix(b"\r\n") {
                    Some(got) => Ok(got.to_vec()),
                    None => Err((line, format!("a line that does not end in CRLF: {}", shown(&got)))),
                }
            }
            Err(quiet) => Err((line, quiet.words(want))),
        }
    }

    fn any_order(&mut self, steps: &[Step], start: usize) -> Result<usize, (usize, String)> {
        let conn = steps[start].conn;
        let mut want: Vec<(usize, &str)> = steps[start..]
            .iter()
            .map_while(|step| match &step.does {
                Does::Expect { text, how: Expects::AnyOrder } if step.conn == conn => Some((step.line, text.as_str())),
                _ => None,
            })
            .collect();
        let end = start + want.len();
        while let Some((line, text)) = want.first().copied() {
            let got = self.read_line(conn, line, text)?;
            let mut hit = None;
            for (index, (line, text)) in want.iter().enumerate() {
                if fits(text, &got, &mut self.taken).map_err(|error| (*line, error))? {
                    hit = Some(index);
                    break;
                }
            }
            match hit {
                Some(index) => drop(want.remove(index)),
                None => {
                    return Err((line, format!("{}\n           (or another of its group)", self.differs(text, &got))));
                }
            }
        }
        Ok(end)
    }

    fn until(&mut self, steps: &[Step], start: usize) -> Result<usize, (usize, String)> {
        let conn = steps[start].conn;
        let mut not = Vec::new();
        let mut at = start;
        while let Some(Step { line, does: Does::Expect { text, how: Expects::Not }, .. }) = steps.get(at) {
            not.push((*line, text));
            at += 1;
        }
        let Some(Step { line, does: Does::Expect { text, how: Expects::Until }, .. }) = steps.get(at) else {
            return Err((steps[start].line, "S-NOT without an S-UNTIL after it".into()));
        };
        loop {
            let got = self.read_line(conn, *line, text)?;
            if fits(text, &got, &mut self.taken).map_err(|error| (*line, error))? {
                return Ok(at + 1);
            }
            for (line, text) in &not {
                if fits(text, &got, &mut self.taken.clone()).map_err(|error| (*line, error))? {
                    return Err((*line, format!("must not come, but came: {}", shown(&got))));
                }
            }
        }
    }

    fn nothing_unread(&mut self, conn: usize, line: usize) -> Played {
        if !self.talks.contains_key(&conn) {
            return Ok(());
        }
        let unread = self.talk(conn, line)?.unread();
        if unread.is_empty() { Ok(()) } else { Err((line, format!("said, and not expected: {}", shown(&unread)))) }
    }

    fn differs(&self, want: &str, got: &[u8]) -> String {
        let mut words = format!("expected {want}\n           got {}", shown(got));
        for (name, value) in &self.taken {
            if want.contains(&format!("{{{name}}}")) {
                let _ = write!(words, "\n           {{{name}}} is {}", shown(value));
            }
        }
        words
    }

    /// As another server would.
    fn deliver(&mut self, address: &str, message: &[u8]) -> Result<(), String> {
        let mut talk = self.stage.open("smtp")?;
        let mut data = Vec::new();
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.first() == Some(&b'.') {
                data.push(b'.');
            }
            data.extend_from_slice(line);
        }
        data.extend_from_slice(b".\r\n");
        let rcpt = format!("RCPT TO:<{address}>\r\n");
        let dialogue: [(&[u8], &str); 6] = [
            (b"", "220"),
            (b"EHLO client.example.net\r\n", "250"),
            (b"MAIL FROM:<sender@example.net>\r\n", "250"),
            (rcpt.as_bytes(), "250"),
            (b"DATA\r\n", "354"),
            (&data, "250"),
        ];
        for (say, want) in dialogue {
            if !say.is_empty() {
                talk.send(say)?;
            }
            loop {
                let got = talk.line().map_err(|quiet| format!("while delivering: {}", quiet.words(want)))?;
                if !got.starts_with(want.as_bytes()) {
                    return Err(format!("while delivering: expected {want}, got {}", shown(&got)));
                }
                if got.get(3) != Some(&b'-') {
                    break;
                }
            }
        }
        talk.close();
        Ok(())
    }

    /// As another client of the same person would.
    fn append(&mut self, address: &str, mailbox: &str, flags: &[String], message: &[u8]) -> Result<(), String> {
        let account = self.script.accounts.iter().find(|account| account.address == address);
        let password = &account.ok_or_else(|| format!("no `# account: {address}`"))?.password;
        let mut talk = self.stage.open("imaps")?;
        let mut append = format!("a3 APPEND {mailbox} ({}) {{{}+}}\r\n", flags.join(" "), message.len()).into_bytes();
        append.extend_from_slice(message);
        append.extend_from_slice(b"\r\n");
        let dialogue: [(Vec<u8>, &str, bool); 4] = [
            (Vec::new(), "* OK", true),
            (format!("a1 LOGIN {address} {password}\r\n").into_bytes(), "a1 ", true),
            (format!("a2 CREATE {mailbox}\r\n").into_bytes(), "a2 ", false),
            (append, "a3 ", true),
        ];
        for (say, want, ok) in dialogue {
            if !say.is_empty() {
                talk.send(&say)?;
            }
            loop {
                let got = talk.line().map_err(|quiet| format!("while appending: {}", quiet.words(want)))?;
                if got.starts_with(want.as_bytes()) {
                    if ok && !want.starts_with('*') && !got[want.len()..].starts_with(b"OK") {
                        return Err(format!("while appending: got {}", shown(&got)));
                    }
                    break;
                }
            }
        }
        talk.close();
        Ok(())
    }
}

impl Quiet {
    fn words(&self, want: &str) -> String {
        match self {
            Quiet::Closed(rest) if rest.is_empty() => format!("expected {want}\n           got nothing: closed"),
            Quiet::Silent(rest) if rest.is_empty() => format!("expected {want}\n           got nothing"),
            Quiet::Closed(rest) | Quiet::Silent(rest) => {
                format!("expected {want}\n           got only {}", shown(rest))
            }
        }
    }
}

/// Bytes as one can read them, not more than fit a screen.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes.iter().take(400) {
        match byte {
            b'\r' => out.push_str("\\r"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(*byte as char),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    if bytes.len() > 400 {
        let _ = write!(out, "… ({} bytes)", bytes.len());
    }
    out
}
