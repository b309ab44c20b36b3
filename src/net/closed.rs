//! A door that is closed for a while: whoever comes from elsewhere is told so, in one line, and this machine itself is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::drive::End;
use super::listen::Handler;

/// For one line to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// `inside` for everybody while `closed` is false. `line` is without its end.
pub fn while_closed(closed: Arc<AtomicBool>, line: String, inside: Handler) -> Handler {
    let line: Arc<str> = format!("{line}\r\n").into();
    Arc::new(move |mut incoming| {
        if !closed.load(Ordering::Acquire) || incoming.peer.ip().to_canonical().is_loopback() {
            return inside(incoming);
        }
        let line = line.clone();
        Box::pin(async move {
            let told = async {
                incoming.stream.write_all(line.as_bytes()).await?;
                incoming.stream.shutdown().await
            };
            match timeout(PATIENCE, told).await {
                Ok(Err(error)) => End::Broken(error),
                _ => End::Closed,
            }
        })
    })
}
