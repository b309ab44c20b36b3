//! A transcript, read: its directives and its steps (tests/transcripts/README.md is the grammar).

/// One file.
#[derive(Debug, Default)]
pub struct Script {
    pub listeners: Vec<(usize, String)>,
    pub accounts: Vec<Account>,
    pub domains: Vec<String>,
    /// An address and what it stands for.
    pub aliases: Vec<(String, Vec<String>)>,
    pub limits: Vec<(String, String)>,
    /// Why it is not played over sockets.
    pub machine_only: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub struct Account {
    pub address: String,
    pub password: String,
    pub quota: Option<u64>,
}

#[derive(Debug)]
pub struct Step {
    pub line: usize,
    /// 1 for the first connection.
    pub conn: usize,
    pub does: Does,
}

#[derive(Debug)]
pub enum Does {
    Send { text: String, how: Sends },
    Expect { text: String, how: Expects },
    Closed,
    Silent,
    Tls,
    Close,
    Wait { ms: u64 },
    Deliver { address: String, message: Vec<u8> },
    Append { address: String, mailbox: String, flags: Vec<String>, message: Vec<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    Line,
    Raw,
    Message,
    MessageRaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    Line,
    Raw,
    AnyOrder,
    Until,
    Not,
}

const LISTENERS: [&str; 5] = ["smtp", "submissions", "submission", "imaps", "imap"];

/// `folder` is the protocol's, which names the listener when the file does not.
pub fn parse(text: &str, folder: &str) -> Result<Script, String> {
    let mut script = Script::default();
    // Where `M:` lines go while a directive collects them.
    let mut collecting = false;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let at = |error: String| format!("line {line}: {error}");
        if raw.trim().is_empty() {
            continue;
        }
        if let Some(comment) = raw.strip_prefix('#') {
            collecting = directive(&mut script, line, comment.trim()).map_err(at)?;
            continue;
        }
        let (word, rest) = raw.split_once(':').ok_or_else(|| at(format!("no `word:` here: {raw}")))?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest).to_string();
        let (word, conn) = numbered(word);
        let does = match word.as_str() {
            "M" | "M-RAW" if collecting => {
                let mut bytes = if word == "M" { rest.into_bytes() } else { unescape(&rest).map_err(at)? };
                if word == "M" {
                    bytes.extend_from_slice(b"\r\n");
                }
                match script.steps.last_mut().map(|step| &mut step.does) {
                    Some(Does::Deliver { message, .. } | Does::Append { message, .. }) => message.extend(bytes),
                    _ => return Err(at("no message begins here".into())),
                }
                continue;
            }
            "C" => Does::Send { text: rest, how: Sends::Line },
            "C-RAW" => Does::Send { text: rest, how: Sends::Raw },
            "M" => Does::Send { text: rest, how: Sends::Message },
            "M-RAW" => Does::Send { text: rest, how: Sends::MessageRaw },
            "S" => Does::Expect { text: rest, how: Expects::Line },
            "S-RAW" => Does::Expect { text: rest, how: Expects::Raw },
            "S~" => Does::Expect { text: rest, how: Expects::AnyOrder },
            "S-UNTIL" => Does::Expect { text: rest, how: Expects::Until },
            "S-NOT" => Does::Expect { text: rest, how: Expects::Not },
            "S-CLOSED" => Does::Closed,
            "S-SILENT" => Does::Silent,
            "TLS" => Does::Tls,
            "CLOSE" => Does::Close,
            "T" => Does::Wait { ms: duration(&rest).ok_or_else(|| at(format!("no duration: {rest}")))? },
            _ => return Err(at(format!("unknown word `{word}`"))),
        };
        collecting = false;
        script.steps.push(Step { line, conn, does });
    }
    if script.accounts.is_empty() {
        script.accounts.push(Account {
            address: "alice@example.test".into(),
            password: "wonderland".into(),
            quota: None,
        });
    }
    if !script.listeners.iter().any(|(conn, _)| *conn == 1) {
        let name = if folder == "imap" { "imaps" } else { "smtp" };
        script.listeners.push((1, name.to_string()));
    }
    if !script.steps.iter().any(|step| matches!(step.does, Does::Expect { .. } | Does::Closed)) {
        return Err("nothing is expected of the server: it could not fail".into());
    }
    Ok(script)
}

impl Script {
    /// What a connection connects to; further ones go where the first one did unless the file says.
    pub fn listener(&self, conn: usize) -> &str {
        let of = |want: usize| self.listeners.iter().find(|(conn, _)| *conn == want).map(|(_, name)| name.as_str());
        of(conn).or_else(|| of(1)).unwrap_or("smtp")
    }

    pub fn moves_the_clock(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.does, Does::Wait { .. }))
    }
}

/// True when `M:` lines may follow.
fn directive(script: &mut Script, line: usize, comment: &str) -> Result<bool, String> {
    let Some((word, rest)) = comment.split_once(':') else { return Ok(false) };
    if word.is_empty() || !word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Ok(false);
    }
    let words: Vec<String> = rest.split_whitespace().map(String::from).collect();
    let need = |n: usize| if words.len() >= n { Ok(()) } else { Err(format!("`{word}:` needs more words")) };
    let (name, conn) = numbered_directive(word);
    match name {
        "listener" => {
            need(1)?;
            if !LISTENERS.contains(&words[0].as_str()) {
                return Err(format!("no listener `{}`; there are {}", words[0], LISTENERS.join(", ")));
            }
            script.listeners.push((conn, words[0].clone()));
        }
        "account" => {
            need(2)?;
            let quota = match words.get(2).map(String::as_str) {
                None => None,
                Some("quota") => {
                    Some(words.get(3).and_then(|n| n.parse().ok()).ok_or("`quota` needs a number of bytes")?)
                }
                Some(other) => return Err(format!("unknown word `{other}` after the password")),
            };
            script.accounts.push(Account { address: words[0].clone(), password: words[1].clone(), quota });
        }
        "domain" => {
            need(1)?;
            script.domains.push(words[0].clone());
        }
        "alias" => {
            need(2)?;
            script.aliases.push((words[0].clone(), words[1..].to_vec()));
        }
        "limit" => {
            need(2)?;
            script.limits.push((words[0].clone(), words[1..].join(" ")));
        }
        "only" => {
            need(3)?;
            if words[0] != "machine" || !matches!(words[1].as_str(), "-" | "–" | "—") {
                return Err("it is `# only: machine - why`".into());
            }
            script.machine_only = Some(words[2..].join(" "));
        }
        "deliver" => {
            need(1)?;
            let does = Does::Deliver { address: words[0].clone(), message: Vec::new() };
            script.steps.push(Step { line, conn: 1, does });
            return Ok(true);
        }
        "append" => {
            need(2)?;
            let does = Does::Append {
                address: words[0].clone(),
                mailbox: words[1].clone(),
                flags: words[2..].to_vec(),
                message: Vec::new(),
            };
            script.steps.push(Step { line, conn: 1, does });
            return Ok(true);
        }
        _ => return Err(format!("`# {word}:` is no directive (a comment must not begin with a word and a colon)")),
    }
    Ok(false)
}

fn numbered_directive(word: &str) -> (&str, usize) {
    match word.strip_suffix(|c: char| ('2'..='9').contains(&c)) {
        Some(name) => (name, usize::from(word.as_bytes()[word.len() - 1] - b'0')),
        None => (word, 1),
    }
}

/// `S2-UNTIL` is `S-UNTIL` of the second connection.
fn numbered(word: &str) -> (String, usize) {
    let head_end = word.find(['-', '~']).unwrap_or(word.len());
    let (head, tail) = word.split_at(head_end);
    let (head, conn) = numbered_directive(head);
    (format!("{head}{tail}"), conn)
}

/// `+31m` in milliseconds.
fn duration(text: &str) -> Option<u64> {
    let text = text.trim().strip_prefix('+')?;
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// `\r \n \t \0 \\ \xHH`, and `\(text*1000)`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let next = *bytes.get(at + 1).ok_or("a `\\` at the end")?;
        at += 2;
        match next {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = text.get(at..at + 2).ok_or("`\\x` needs two digits")?;
                out.push(u8::from_str_radix(digits, 16).map_err(|_| format!("`\\x{digits}` is no byte"))?);
                at += 2;
            }
            b'(' => {
                let end = at + text[at..].find(')').ok_or("`\\(` without `)`")?;
                let (what, times) = text[at..end].rsplit_once('*').ok_or("`\\(text*times)` without `*`")?;
                let times: usize = times.parse().map_err(|_| format!("`{times}` is no number"))?;
                out.extend(unescape(what)?.repeat(times));
                at = end + 1;
            }
            other => return Err(format!("`\\{}` means nothing", other as char)),
        }
    }
    Ok(out)
}
