//! SMTP load: N connections, each sends its share of the mix, one transaction after another, commands pipelined.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::corpus;
use crate::imap::Imap;
use crate::wire::{Wire, connector};
use crate::{Args, quantile};

/// `smtp --addr A --rcpt R [--connections 1] [--messages 1000] [--seed 1] [--tls starttls|none]
/// [--imap A --user U --password P]`: the last three also measure when the letters are visible.
#[allow(clippy::disallowed_methods)] // it measures time
pub async fn run(args: &Args) -> Result<Value, String> {
    let addr = args.text("addr")?.to_owned();
    let rcpt = args.text("rcpt")?.to_owned();
    let connections = args.number("connections", 1)?.max(1);
    let messages = args.number("messages", 1000)?;
    let seed = args.number("seed", 1)?;
    let tls = args.text_or("tls", "starttls") == "starttls";

    let letters: Arc<Vec<corpus::Letter>> = Arc::new((0..messages).map(|n| corpus::letter(seed, n, &rcpt)).collect());
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
        expect(&mut wire, "220").await?;
        hello(&mut wire).await?;
        if tls {
            wire.send(b"STARTTLS\r\n").await?;
            expect(&mut wire, "220").await?;
            wire.secure(&connector).await?;
            hello(&mut wire).await?;
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
