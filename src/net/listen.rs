//! Listeners: who may come in, how many at once, and what happens when the machine runs short.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::base::{Clock, Mono, counted};

use super::drive::{Context, End, Patience, TlsSide};

/// Connections waiting in the kernel to be accepted.
const BACKLOG: u32 = 1024;
/// After accept failed for want of something (descriptors, memory).
const PAUSE: Duration = Duration::from_millis(200);
/// Between two log lines about the same want.
const WARN_EVERY_MS: u64 = 60_000;

/// How many connections one listener holds (N5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub total: usize,
    /// From one IPv4 address or one IPv6 /64. This machine's own addresses are not counted.
    pub per_address: usize,
    /// That have not said anything yet; with one more the oldest of them is let go.
    pub silent: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { total: 1000, per_address: 100, silent: 200 }
    }
}

/// One listener: what it is called in the settings and the log, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    /// `None`: all addresses, IPv6 and IPv4, as far as the machine has them.
    pub bind: Option<IpAddr>,
    pub port: u16,
    pub implicit_tls: bool,
    pub caps: Caps,
    pub patience: Patience,
}

/// A connection that was let in.
pub struct Incoming {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// In the log, and in Received fields: this connection's number since the start.
    pub id: u64,
    pub context: Context,
}

pub type Session = Pin<Box<dyn Future<Output = End> + Send>>;

/// Makes the session of a connection: binds a machine and its host to [`drive`](super::drive::drive).
pub type Handler = Arc<dyn Fn(Incoming) -> Session + Send + Sync>;

/// What all listeners share.
#[derive(Clone)]
pub struct Common {
    pub clock: Arc<dyn Clock>,
    pub tls: Option<Arc<ServerConfig>>,
    stop: watch::Receiver<bool>,
    live: mpsc::Sender<()>,
    ids: Arc<AtomicU64>,
}

/// The end of all sessions.
pub struct Ending {
    stop: watch::Sender<bool>,
    live: mpsc::Receiver<()>,
}

impl Common {
    pub fn new(clock: Arc<dyn Clock>, tls: Option<Arc<ServerConfig>>) -> (Common, Ending) {
        let (stop_tx, stop) = watch::channel(false);
        let (live, live_rx) = mpsc::channel(1);
        let common = Common { clock, tls, stop, live, ids: Arc::new(AtomicU64::new(1)) };
        (common, Ending { stop: stop_tx, live: live_rx })
    }
}

impl Ending {
    /// Tells every session that the server is going down.
    pub fn announce(&self) {
        self.stop.send_replace(true);
    }

    /// The same, for hosts that want to know.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Resolves when every session has ended and every [`Common`] and [`Listener`] is dropped.
    pub async fn ended(&mut self) {
        while self.live.recv().await.is_some() {}
    }
}

/// An open listener. Dropping it stops accepting; sessions that stand go on.
pub struct Listener {
    accepting: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
}

impl Listener {
    /// Binds and starts accepting. Needs a tokio runtime.
    pub fn open(spec: Spec, common: Common, handler: Handler) -> io::Result<Listener> {
        let sockets = bind(spec.bind, spec.port)?;
        let addresses = sockets.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let door = Arc::new(Door { spec, common, handler, held: Mutex::default() });
        let accepting = sockets.into_iter().map(|socket| tokio::spawn(accept(socket, door.clone()))).collect();
        Ok(Listener { accepting, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, and resolves when the port is free again.
    pub async fn close(mut self) {
        for task in self.accepting.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.accepting {
            task.abort();
        }
    }
}

fn bind(to: Option<IpAddr>, port: u16) -> io::Result<Vec<TcpListener>> {
    match to {
        Some(ip) => Ok(vec![bind_one(SocketAddr::new(ip, port))?]),
        None => {
            let four = bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
            // Port 0 (tests) is to be the same one on both.
            let port = four.local_addr()?.port();
            match bind_one(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
                Ok(six) => Ok(vec![four, six]),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                Err(error) => {
                    debug!(%error, "no IPv6 here");
                    Ok(vec![four])
                }
            }
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        // Each family has its own socket, whatever the machine's default.
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

struct Door {
    spec: Spec,
    common: Common,
    handler: Handler,
    held: Mutex<Held>,
}

/// Who is inside.
#[derive(Default)]
struct Held {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Who has not said anything yet, oldest first.
    silent: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Door {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, or says which cap is in the way. The receiver hears when the place is needed for another.
    fn enter(self: &Arc<Door>, id: u64, peer: IpAddr) -> Result<(Place, oneshot::Receiver<()>), &'static str> {
        let caps = self.spec.caps;
        let counted = counted(peer);
        let mut held = self.held();
        if let Some(address) = counted
            && held.by_address.get(&address).copied().unwrap_or(0) >= caps.per_address
        {
            return Err("too many connections from this address");
        }
        // The oldest silent one makes room. Those on their way out still count for a moment, hence the slack.
        if held.silent.len() >= caps.silent || held.total >= caps.total {
            if held.total >= caps.total.saturating_add(caps.silent) {
                return Err("too many connections");
            }
            let Some((_, oldest)) = held.silent.pop_first() else { return Err("too many connections") };
            let _ = oldest.send(());
        }
        held.total += 1;
        if let Some(address) = counted {
            *held.by_address.entry(address).or_default() += 1;
        }
        let (evict, evicted) = oneshot::channel();
        held.silent.insert(id, evict);
        Ok((Place { door: self.clone(), id, counted }, evicted))
    }
}

/// A place inside, given back when dropped.
struct Place {
    door: Arc<Door>,
    id: u64,
    counted: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.door.held();
        held.total = held.total.saturating_sub(1);
        held.silent.remove(&self.id);
        if let Some(address) = self.counted
            && let Some(count) = held.by_address.get_mut(&address)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.by_address.remove(&address);
            }
        }
    }
}

async fn accept(socket: TcpListener, door: Arc<Door>) {
    let mut quiet_until = Mono(0);
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => admit(&door, stream, peer),
            Err(error) if concerns_one_peer(&error) => {}
            Err(error) => {
                // No descriptors, no memory: the connection stays in the backlog, so going round at once would spin.
                let now = door.common.clock.mono();
                if now >= quiet_until {
                    warn!(listener = door.spec.name, %error, "cannot accept for now");
                    quiet_until = now.plus_ms(WARN_EVERY_MS);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn admit(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    let common = &door.common;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let id = common.ids.fetch_add(1, Ordering::Relaxed);
    let (place, evicted) = match door.enter(id, peer.ip()) {
        Ok(entered) => entered,
        Err(why) => {
            debug!(listener = door.spec.name, %peer, why, "turned away");
            return;
        }
    };
    // Replies are gathered by the driver; waiting for more in the kernel would only delay them.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let awake = {
        let door = door.clone();
        Box::new(move || drop(door.held().silent.remove(&id)))
    };
    let context = Context {
        clock: common.clock.clone(),
        tls: common.tls.clone().map(TlsSide::Server),
        implicit_tls: door.spec.implicit_tls,
        patience: door.spec.patience,
        stop: common.stop.clone(),
        awake: Some(awake),
    };
    let span = info_span!("session", id, listener = door.spec.name, %peer);
    let live = common.live.clone();
    let handler = door.handler.clone();
    tokio::spawn(
        async move {
            let _held = (place, live);
            debug!("begins");
            let session = guarded(async move { handler(Incoming { stream, peer, local, id, context }).await });
            tokio::select! {
                end = session => match end {
                    Some(End::Stuck) => error!("the session neither wants nor waits for anything"),
                    Some(end) => debug!(?end, "ends"),
                    // N4. The panic hook has said where.
                    None => error!("the session failed by our mistake"),
                },
                () = told(evicted) => debug!("silent, and its place is needed"),
            }
        }
        .instrument(span),
    );
}

async fn told(evicted: oneshot::Receiver<()>) {
    if evicted.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Runs a session; `None` if it panicked (N4).
async fn guarded(session: impl Future<Output = End>) -> Option<End> {
    let mut session = Box::pin(session);
    let end = poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| session.as_mut().poll(cx)))
            .map_or(Poll::Ready(None), |polled| polled.map(Some))
    });
    end.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemClock;

    fn door(caps: Caps) -> Arc<Door> {
        let (common, _ending) = Common::new(Arc::new(SystemClock::new()), None);
        let spec = Spec {
            name: "toy".to_owned(),
            bind: None,
            port: 0,
            implicit_tls: false,
            caps,
            patience: Patience::default(),
        };
        let handler: Handler = Arc::new(|_| Box::pin(std::future::ready(End::Closed)));
        Arc::new(Door { spec, common, handler, held: Mutex::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_or_one_network_of_ipv6_has_its_cap_and_we_have_none() {
        let door = door(Caps { total: 100, per_address: 2, silent: 100 });
        let one = door.enter(1, ip("192.0.2.1")).unwrap();
        let _two = door.enter(2, ip("192.0.2.1")).unwrap();
        assert!(door.enter(3, ip("192.0.2.1")).is_err());
        let _other = door.enter(4, ip("192.0.2.2")).unwrap();
        drop(one);
        let _again = door.enter(5, ip("192.0.2.1")).unwrap();
        let _six = [door.enter(6, ip("2001:db8::1")).unwrap(), door.enter(7, ip("2001:db8::2")).unwrap()];
        assert!(door.enter(8, ip("2001:db8::3")).is_err(), "the same /64");
        let _next = door.enter(9, ip("2001:db8:0:1::3")).unwrap();
        let _own: Vec<_> = (10..20).map(|id| door.enter(id, ip("127.0.0.1")).unwrap()).collect();
    }

    #[test]
    fn a_full_house_lets_nobody_in_but_in_place_of_a_silent_one() {
        let door = door(Caps { total: 2, per_address: 10, silent: 5 });
        let (_one, _) = door.enter(1, ip("192.0.2.1")).unwrap();
        let (two, mut told) = door.enter(2, ip("192.0.2.2")).unwrap();
        door.held().silent.remove(&1); // it spoke
        let (_three, _) = door.enter(3, ip("192.0.2.3")).unwrap();
        assert_eq!(told.try_recv(), Ok(()), "the silent one is asked to go");
        drop(two);
        door.held().silent.remove(&3);
        assert!(door.enter(4, ip("192.0.2.4")).is_err());
        assert_eq!(door.held().total, 2);
    }

    #[test]
    fn nothing_is_left_of_who_has_gone() {
        let door = door(Caps::default());
        drop(door.enter(1, ip("192.0.2.1")).unwrap());
        let held = door.held();
        assert_eq!((held.total, held.by_address.len(), held.silent.len()), (0, 0, 0));
    }
}
