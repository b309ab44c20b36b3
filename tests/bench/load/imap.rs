//! IMAP load: whole commands timed from the first byte sent to the tagged answer.

use std::time::Instant;

use serde_json::{Value, json};

use crate::corpus;
use crate::smtp::expect;
use crate::wire::{Wire, connector};
use crate::{Args, quantile};

pub struct Imap {
    wire: Wire,
    tag: u64,
}

/// What came back for one command.
pub struct Answer {
    pub bytes: u64,
    pub untagged: u64,
    /// The untagged lines, when they were asked for.
    pub lines: Vec<String>,
}

impl Imap {
    /// Implicit TLS.
    pub async fn connect(addr: &str) -> Result<Imap, String> {
        let mut wire = Wire::connect(addr).await?;
        wire.secure(&connector()).await?;
        let greeting = wire.line().await?;
        if !greeting.starts_with("* OK") {
            return Err(format!("greeting: {greeting}"));
        }
        Ok(Imap { wire, tag: 0 })
    }

    pub async fn login(&mut self, user: &str, password: &str) -> Result<(), String> {
        self.command(&format!("LOGIN \"{user}\" \"{password}\""), false).await.map(drop)
    }

    pub async fn command(&mut self, words: &str, keep: bool) -> Result<Answer, String> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        self.wire.send(format!("{tag}{words}\r\n").as_bytes()).await?;
        self.finish(&tag, words, keep).await
    }

    async fn finish(&mut self, tag: &str, words: &str, keep: bool) -> Result<Answer, String> {
        let mut answer = Answer { bytes: 0, untagged: 0, lines: Vec::new() };
        loop {
            let line = self.wire.line().await?;
            answer.bytes += line.len() as u64 + 2;
            if let Some(rest) = line.strip_prefix(tag) {
                if rest.starts_with("OK") {
                    return Ok(answer);
                }
                return Err(format!("{words}: {rest}"));
            }
            if line.starts_with("* ") {
                answer.untagged += 1;
            }
            if let Some(n) = literal(&line) {
                self.wire.skip(n).await?;
                answer.bytes += n as u64;
            }
            if keep {
                answer.lines.push(line);
            }
        }
    }

    /// STATUS MESSAGES of a mailbox.
    pub async fn messages(&mut self, mailbox: &str) -> Result<u64, String> {
        let answer = self.command(&format!("STATUS \"{mailbox}\" (MESSAGES)"), true).await?;
        answer
            .lines
            .iter()
            .find_map(|line| line.split("MESSAGES ").nth(1)?.trim_end_matches(')').split(' ').next()?.parse().ok())
            .ok_or_else(|| "no STATUS answer".into())
    }

    async fn append(&mut self, mailbox: &str, letter: &[u8]) -> Result<(), String> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        let head = format!("{tag}APPEND \"{mailbox}\" (\\Seen) {{{}}}\r\n", letter.len());
        self.wire.send(head.as_bytes()).await?;
        let line = self.wire.line().await?;
        if !line.starts_with('+') {
            return Err(format!("APPEND: {line}"));
        }
        self.wire.send(letter).await?;
        self.wire.send(b"\r\n").await?;
        self.finish(&tag, "APPEND", false).await.map(drop)
    }
}

fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

async fn open(args: &Args) -> Result<Imap, String> {
    let mut imap = Imap::connect(args.text("addr")?).await?;
    imap.login(args.text("user")?, args.text("password")?).await?;
    Ok(imap)
}

/// `imap --addr A --user U --password P --commands "SELECT INBOX|FETCH 1:* FLAGS|…" [--repeat 5]`: each command `repeat`
/// times, in order, the median reported; a command that begins with `!` is sent once and not timed.
#[allow(clippy::disallowed_methods)] // it measures time
pub async fn run(args: &Args) -> Result<Value, String> {
    let mut imap = open(args).await?;
    let repeat = args.number("repeat", 5)?.max(1);
    let mut rows = Vec::new();
    for command in args.text("commands")?.split('|') {
        if let Some(quiet) = command.strip_prefix('!') {
            imap.command(quiet, false).await?;
            continue;
        }
        let (mut took, mut bytes, mut untagged) = (Vec::new(), 0, 0);
        for _ in 0..repeat {
            let began = Instant::now();
            let answer = imap.command(command, false).await?;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
            (bytes, untagged) = (answer.bytes, answer.untagged);
        }
        let first = took[0];
        let median = quantile(&mut took, 0.5);
        rows.push(json!({ "command": command, "ms": median, "first_ms": first, "bytes": bytes, "untagged": untagged,
            "mb_per_second": bytes as f64 / 1_000.0 / median }));
    }
    Ok(json!(rows))
}

/// `append --addr A --user U --password P [--mailbox INBOX] [--messages 200]`: letters of the mix, one after another.
#[allow(clippy::disallowed_methods)] // it measures time
pub async fn append(args: &Args) -> Result<Value, String> {
    let mut imap = open(args).await?;
    let messages = args.number("messages", 200)?;
    let seed = args.number("seed", 7)?;
    let mailbox = args.text_or("mailbox", "INBOX");
    let letters: Vec<_> = (0..messages).map(|n| corpus::letter(seed, n, args.text_or("user", "x")).bytes).collect();
    let began = Instant::now();
    for letter in &letters {
        imap.append(mailbox, letter).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({ "messages": messages, "seconds": seconds, "per_second": messages as f64 / seconds }))
}

/// `notify --addr A --user U --password P --smtp A --rcpt R [--messages 50]`: from the 250 to EXISTS on a connection that
/// idles; negative when EXISTS was read first.
#[allow(clippy::disallowed_methods)] // it measures time
pub async fn notify(args: &Args) -> Result<Value, String> {
    let mut imap = open(args).await?;
    imap.command("SELECT INBOX", false).await?;
    imap.wire.send(b"i1 IDLE\r\n").await?;
    let line = imap.wire.line().await?;
    if !line.starts_with('+') {
        return Err(format!("IDLE: {line}"));
    }
    let messages = args.number("messages", 50)?;
    let rcpt = args.text("rcpt")?.to_owned();
    let smtp = args.text("smtp")?.to_owned();
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            match imap.wire.line().await {
                Ok(line) if line.ends_with("EXISTS") => {
                    if told.send(Instant::now()).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    let mut wire = Wire::connect(&smtp).await?;
    expect(&mut wire, "220").await?;
    wire.send(b"EHLO bench.example\r\n").await?;
    expect(&mut wire, "250").await?;
    let mut took = Vec::new();
    for n in 0..messages {
        let letter = corpus::letter(args.number("seed", 11)?, n, &rcpt);
        wire.send(format!("MAIL FROM:<{}>\r\nRCPT TO:<{rcpt}>\r\nDATA\r\n", letter.sender).as_bytes()).await?;
        for code in ["250", "250", "354"] {
            expect(&mut wire, code).await?;
        }
        wire.send(&letter.bytes).await?;
        wire.send(b".\r\n").await?;
        expect(&mut wire, "250").await?;
        let answered = Instant::now();
        let exists = tokio::time::timeout(std::time::Duration::from_secs(40), tell.recv())
            .await
            .map_err(|_| "no EXISTS within 40 s")?
            .ok_or("the idling connection closed")?;
        let ms = exists.saturating_duration_since(answered).as_secs_f64() * 1000.0
            - answered.saturating_duration_since(exists).as_secs_f64() * 1000.0;
        took.push(ms);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let _ = wire.send(b"QUIT\r\n").await;
    Ok(json!({ "messages": messages, "ms_p50": quantile(&mut took, 0.5), "ms_p99": quantile(&mut took, 0.99) }))
}

/// `hold --addr A --user U --password P [--connections 50] [--mailbox INBOX]`: opens that many, selects and idles, prints
/// `held` and waits until standard input ends.
pub async fn hold(args: &Args) -> Result<Value, String> {
    let connections = args.number("connections", 50)?;
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut imap = open(args).await?;
        imap.command(&format!("SELECT \"{}\"", args.text_or("mailbox", "INBOX")), false).await?;
        imap.wire.send(b"i1 IDLE\r\n").await?;
        imap.wire.line().await?;
        held.push(imap);
    }
    println!("held");
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
    Ok(json!({ "connections": held.len() }))
}
