//! Log lines on stderr, chosen by `HOMEPOST_LOG` (as in `info,homepost::net=debug`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging, for the whole process; `default` is the level when nothing is chosen.
pub(super) fn start(default: &str) {
    let chosen = std::env::var("HOMEPOST_LOG").ok();
    let filter = EnvFilter::try_new(chosen.as_deref().unwrap_or(default)).unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = std::io::stderr().is_terminal();
    let done =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
    drop(done); // only tests start it twice
    // A panic is our mistake; it is logged once, within the session's span, and nobody else is hurt (net N4, store D2).
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("");
        tracing::error!(at, "panic: {what}");
    }));
}
