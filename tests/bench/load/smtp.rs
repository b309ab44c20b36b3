//! SMTP load: N connections, each sends its share of the mix, one transaction after another, commands pipelined.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use homepost::mailauth::Key;
use serde_json::{Value, json};

use crate::corpus;
use crate::imap::Imap;
use crate::wire::{Wire, connector};
use crate::{Args, quantile};

/// `smtp --addr A --rcpt R [--connections 1] [--messages 1000] [--seed 1] [--tls starttls|implicit|none]
/// [--from A --size BYTES] [--sign-domain D --sign-selector S --sign-key FILE] [--login yes --user U --password P]
/// [--imap A --user U --password P]`: the last three also measure when the letters are visible. With `--from` all letters are
/// that person's and of that size, instead of the mix; `--sign-…` signs them (DKIM; the key is RSA, PKCS#8 DER).
#[allow(clippy::disallowed_methods)] // it measures time
pub async fn run(args: &Args) -> Result<Value, String> {
    let addr = args.text("addr")?.to_owned();
    let rcpt = args.text("rcpt")?.to_owned();
    let connections = args.number("connections", 1)?.max(1);
    let messages = args.number("messages", 1000)?;
    let seed = args.number("seed", 1)?;
    let tls = args.text_or("tls", "starttls").to_owned();
    let login = match args.text("login") {
        Ok(_) => Some(STANDARD.encode(format!("\0{}\0{}", args.text("user")?, args.text("password")?))),
        Err(_) => None,
    };

    let size = args.number("size", 10_000)? as usize;
    let mut letters: Vec<corpus::Letter> = match args.text("from") {
        Ok(from) => (0..messages).map(|n| corpus::plain(seed, n, from, &rcpt, size)).collect(),
        Err(_) => (0..messages).map(|n| corpus::letter(seed, n, &rcpt)).collect(),
    };
    if let Ok(domain) = args.text("sign-domain") {
        let path = args.text("sign-key")?;
        let der = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let key = Key::rsa(args.text("sign-selector")?, &der).ok_or("that is no RSA key in PKCS#8")?;
        for letter in &mut letters {
            letter.sign(domain, std::slice::from_ref(&key));
        }
    }
    let letters = Arc::new(letters);
    let bytes: usize = letters.iter().map(|letter| letter.bytes.len()).sum();
    let mut watcher = None;
    if let Ok(imap) = args.text("imap") {
        let mut imap = Imap::connect(imap).await?;
        imap.login(args.text("user")?, args.text("password")?).await?;
        let before = imap.messages("INBOX").await?;
        watcher = Some((imap, before));
    }

    let mut open = Vec::new();
    let connector = connector();
    for _ in 0..connections {
        let mut wire = Wire::connect(&addr).await?;
        if tls == "implicit" {
            wire.secure(&connector).await?;
        }
        expect(&mut wire, "220").await?;
        hello(&mut wire).await?;
        if tls == "starttls" {
            wire.send(b"STARTTLS\r\n").await?;
            expect(&mut wire, "220").await?;
            wire.secure(&connector).await?;
            hello(&mut wire).await?;
        }
        if let Some(login) = &login {
            wire.send(format!("AUTH PLAIN {login}\r\n").as_bytes()).await?;
            expect(&mut wire, "235").await?;
        }
        open.push(wire);
    }

    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut wire in open {
        let (letters, next, rcpt) = (letters.clone(), next.clone(), rcpt.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(letter) = letters.get(n as usize) else { break };
                let began = Instant::now();
                let envelope = format!("MAIL FROM:<{}>\r\nRCPT TO:<{rcpt}>\r\nDATA\r\n", letter.sender);
                wire.send(envelope.as_bytes()).await?;
                expect(&mut wire, "250").await?;
                expect(&mut wire, "250").await?;
                expect(&mut wire, "354").await?;
                wire.send(&letter.bytes).await?;
                wire.send(b".\r\n").await?;
                expect(&mut wire, "250").await?;
                took.push(began.elapsed().as_secs_f64() * 1000.0);
            }
            let _ = wire.send(b"QUIT\r\n").await;
            Ok::<Vec<f64>, String>(took)
        });
    }
    let visible = watcher.map(|(mut imap, before)| {
        tokio::spawn(async move {
            loop {
                if imap.messages("INBOX").await? >= before + messages {
                    return Ok::<f64, String>(start.elapsed().as_secs_f64());
                }
                if start.elapsed().as_secs() > 600 {
                    return Err("not visible after ten minutes".into());
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
    });
    let mut took = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.extend(done.map_err(|e| e.to_string())??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let visible = match visible {
        Some(task) => Some(task.await.map_err(|e| e.to_string())??),
        None => None,
    };
    Ok(json!({
        "messages": messages, "connections": connections, "bytes": bytes, "seconds": seconds,
        "per_second": messages as f64 / seconds,
        "visible_seconds": visible, "visible_per_second": visible.map(|s| messages as f64 / s),
        "ms_p50": quantile(&mut took, 0.5), "ms_p99": quantile(&mut took, 0.99), "ms_max": quantile(&mut took, 1.0),
    }))
}

async fn hello(wire: &mut Wire) -> Result<(), String> {
    wire.send(b"EHLO bench.example\r\n").await?;
    expect(wire, "250").await
}

/// Reads a whole reply and demands its code.
pub async fn expect(wire: &mut Wire, code: &str) -> Result<(), String> {
    loop {
        let line = wire.line().await?;
        if !line.starts_with(code) {
            return Err(format!("expected {code}, got {line}"));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
