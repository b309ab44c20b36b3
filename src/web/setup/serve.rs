//! The one place that knows tiny_http. In front of it stands `net/front`, which has the time-outs that it lacks.

use std::io::{Cursor, Read};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response, Server, StatusCode};
use tracing::{debug, warn};

use super::form::BODY_BYTES;
use super::site::{Answers, Asked, Reply};

/// Requests that are answered at once; the listener in front holds fewer connections than that, and each brings one.
const AT_ONCE: usize = 64;
const LOOK_UP: Duration = Duration::from_millis(500);

/// Answers what comes on this listener until `stop` is true. `secure`: it came by TLS. Blocks; run it on a thread of its own.
/// Errors: a sentence.
pub fn serve(site: &Arc<impl Answers>, listener: UnixListener, secure: bool, stop: &AtomicBool) -> Result<(), String> {
    let server =
        Server::from_listener(listener, None).map_err(|error| format!("the page cannot be served: {error}"))?;
    let busy = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::SeqCst) {
        let request = match server.recv_timeout(LOOK_UP) {
            Ok(Some(request)) => request,
            Ok(None) => continue,
            Err(error) => return Err(format!("the page is not served any more: {error}")),
        };
        if busy.load(Ordering::SeqCst) >= AT_ONCE {
            drop(request);
            continue;
        }
        let (site, place) = (site.clone(), Place::take(&busy));
        let spawned = std::thread::Builder::new().name("set-up page".to_owned()).spawn(move || {
            let _place = place;
            answer(&*site, request, secure);
        });
        if let Err(error) = spawned {
            warn!(%error, "no thread for a page");
        }
    }
    Ok(())
}

/// Given back when it is dropped, also by a panic.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(busy: &Arc<AtomicUsize>) -> Place {
        busy.fetch_add(1, Ordering::SeqCst);
        Place(busy.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answer(site: &impl Answers, mut request: Request, secure: bool) {
    let header = |request: &Request, name: &'static str| {
        let found = request.headers().iter().find(|header| header.field.equiv(name));
        found.map(|header| header.value.as_str().to_owned())
    };
    let post = match request.method() {
        Method::Get | Method::Head => false,
        Method::Post => true,
        _ => {
            let reply = site.words(
                405,
                &header(&request, "Accept-Language").unwrap_or_default(),
                "This page is only read and filled in.",
            );
            return respond(request, reply);
        }
    };
    let mut body = Vec::new();
    if post {
        // One more than may be, so that too much can be told from enough.
        let most = BODY_BYTES as u64 + 1;
        if request.body_length().is_some_and(|length| length as u64 >= most) {
            let reply = site.words(413, &header(&request, "Accept-Language").unwrap_or_default(), "That is too long.");
            return respond(request, reply);
        }
        if let Err(error) = request.as_reader().take(most).read_to_end(&mut body) {
            debug!(%error, "a form did not arrive");
            return;
        }
    }
    let asked = Asked {
        post,
        path: request.url().to_owned(),
        host: header(&request, "Host").unwrap_or_default(),
        origin: header(&request, "Origin"),
        cookie: header(&request, "Cookie").unwrap_or_default(),
        language: header(&request, "Accept-Language").unwrap_or_default(),
        body,
        secure,
    };
    // A mistake of ours is one page's, not the thread's that counts.
    let reply = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| site.reply(&asked)));
    respond(
        request,
        reply.unwrap_or_else(|_| Reply::words(500, "Something went wrong inside homepost. Please try again.")),
    );
}

fn respond(request: Request, reply: Reply) {
    let Reply { status, headers, body } = reply;
    let length = body.len();
    let headers: Vec<Header> = headers
        .into_iter()
        .filter_map(|(name, value)| Header::from_bytes(name.as_bytes(), value.as_bytes()).ok())
        .collect();
    let response = Response::new(StatusCode(status), headers, Cursor::new(body), Some(length), None);
    if let Err(error) = request.respond(response) {
        debug!(%error, "a page was not taken");
    }
}
