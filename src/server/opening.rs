//! Port 8080: a site behind it, until it is told to stop. The set-up and the rescue are such sites.

use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{error, info};

use crate::appliance::attached::Attached;
use crate::base::SystemClock;
use crate::net::{Caps, Certs, Common, Front, FrontLimits, Listener, Pair, Patience, Spec};
use crate::web::setup::{Answers, serve};

use super::control::short_path;

pub(super) const PORT: u16 = 8080;
/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(500);
/// Between two tries to open a port that was taken.
const AGAIN: Duration = Duration::from_secs(15);

pub(super) struct Opening {
    /// For the log.
    pub name: &'static str,
    /// A folder for two sockets.
    pub place: PathBuf,
    pub port: u16,
    pub bind: Option<IpAddr>,
}

impl Opening {
    /// Opens the port and serves until it is told to stop. Blocks.
    pub fn serve(&self, site: &Arc<impl Answers>, pair: &Pair, stop: &Arc<AtomicBool>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                error!(%error, "no runtime for the {} page", self.name);
                return;
            }
        };
        while !stop.load(Ordering::SeqCst) {
            match runtime.block_on(self.once(site, pair, stop)) {
                Ok(()) => return,
                Err(error) => error!("the {} page on port {} cannot be opened: {error}", self.name, self.port),
            }
            let _ = runtime.block_on(tokio::time::timeout(AGAIN, stopped(stop)));
        }
    }

    async fn once(&self, site: &Arc<impl Answers>, pair: &Pair, stop: &Arc<AtomicBool>) -> Result<(), String> {
        let pair = Pair { chain: pair.chain.clone(), key: pair.key.clone() };
        let config = Certs::new(&[pair]).and_then(|certs| certs.config()).map_err(|error| error.to_string())?;
        let (common, _ending) = Common::new(Arc::new(SystemClock::new()), Some(config));
        let mut behind = Vec::new();
        let mut held = Vec::new();
        let over = Arc::new(AtomicBool::new(false));
        let _ends = Ends(over.clone());
        for (name, secure) in [("plain.sock", false), ("tls.sock", true)] {
            let (path, keep) = short_path(&self.place.join(name)).map_err(|error| error.to_string())?;
            super::folder::remove(&path).map_err(|error| error.to_string())?;
            let listener = UnixListener::bind(&path).map_err(|error| error.to_string())?;
            let (site, over) = (site.clone(), over.clone());
            let run = move || {
                if let Err(error) = serve(&site, listener, secure, &over) {
                    error!("{error}");
                }
                // One that ends takes the other along, and both are opened anew.
                over.store(true, Ordering::SeqCst);
            };
            let thread = std::thread::Builder::new().name(format!("{} {name}", self.name));
            thread.spawn(run).map_err(|error| error.to_string())?;
            behind.push(path);
            held.push(keep);
        }
        let mut behind = behind.into_iter();
        let front = Front {
            plain: behind.next().unwrap_or_default(),
            tls: behind.next().unwrap_or_default(),
            near: Arc::new(|peer| attached().is_near(peer)),
            limits: FrontLimits::default(),
        };
        let spec = Spec {
            name: self.name.to_owned(),
            bind: self.bind,
            port: self.port,
            implicit_tls: false,
            caps: Caps { total: 48, per_address: 16, silent: 12 },
            patience: Patience::default(),
        };
        let listener = Listener::open(spec, common, front.handler()).map_err(|error| error.to_string())?;
        info!(listener = self.name, "listening on port {}", self.port);
        while !stop.load(Ordering::SeqCst) && !over.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
        let failed = !stop.load(Ordering::SeqCst);
        listener.close().await;
        drop(held);
        if failed { Err("it is not served any more".to_owned()) } else { Ok(()) }
    }
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends the threads of one opening of the page, however it ends.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Read anew for each connection: cables are plugged in and pulled out.
pub(super) fn attached() -> Attached {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    Attached::read(&read("/proc/net/route"), &read("/proc/net/ipv6_route"))
}
