//! Reports of our own leave once a day: binds `delivery::Reports` to this house.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::delivery::{Office, Poster, Reports, is_time_for_reports, report_day};
use crate::directory::manage::domain;
use crate::mailauth::Names;
use crate::net::dns::{Resolver, address};
use crate::net::{HttpClient, Roots};

use super::certificates::roots;
use super::dns::resolvers;
use super::doors::Shift;
use super::house::House;
use super::limits;

/// Between two looks at the clock; and, in looks, between two syncs of what was counted.
const LOOK: Duration = Duration::from_secs(10 * 60);
const LOOKS_A_SYNC: u32 = 6;
const HTTPS: u16 = 443;

/// Until `stop` turns true.
pub(super) async fn run(house: Arc<House>, shift: Shift, mut stop: watch::Receiver<bool>) {
    // As letters: who serves this machine only sends nothing into the world.
    if shift.bind.is_some_and(|address| address.is_loopback()) {
        return;
    }
    let mut looks = 0u32;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_A_SYNC) {
            let house = house.clone();
            let _ = tokio::task::spawn_blocking(move || house.facts().flush()).await;
        }
        let now = house.clock.now();
        if house.settings.load().reports.failures {
            let made = {
                let house = house.clone();
                tokio::task::spawn_blocking(move || (office(&house), Reports::new(house.facts().clone()))).await
            };
            if let Ok((Some(office), reports)) = made
                && reports.send_failures(&office).await > 0
            {
                house.bell.ring();
            }
        }
        if !house.settings.load().reports.send
            || !house.clock.trusted()
            || !is_time_for_reports(now, own_number(&house))
        {
            continue;
        }
        let made = {
            let house = house.clone();
            tokio::task::spawn_blocking(move || (office(&house), Reports::new(house.facts().clone()))).await
        };
        let Ok((Some(office), reports)) = made else { continue };
        let sent = reports.send(&office, report_day(now)).await;
        if sent.reports > 0 {
            info!(reports = sent.reports, "reports of what others sent leave");
            house.bell.ring();
        }
    }
}

/// Blocks on the disk. `None`: there is nobody to ask, or no domain.
pub(super) fn office(house: &House) -> Option<Office> {
    let settings = house.settings.load();
    let servers: Vec<_> = settings.checks.servers.iter().filter_map(|server| address(server)).collect();
    let own = if servers.is_empty() { resolvers() } else { String::new() };
    let names: Arc<dyn Names> = Arc::new(Resolver::new(&servers, &own, house.clock.clone())?);
    let domains = house.data.read().ok().and_then(|read| domain::list(&read).ok())?;
    Some(Office {
        data: house.data.clone(),
        clock: house.clock.clone(),
        random: house.random.clone(),
        poster: poster(house),
        queue: limits::queue(&settings),
        names,
        hostname: settings.hostname.clone(),
        domains,
    })
}

/// A number that stays the house's own.
fn own_number(house: &House) -> u64 {
    let digest = blake3::hash(house.settings.load().hostname.as_bytes());
    digest.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// RFC 8460 5.4. A stranger names the address: nothing within the household's own network is asked for.
fn poster(house: &House) -> Option<Poster> {
    let settings = house.settings.load();
    // As for the policies of domains.
    let roots = roots(house, "sending.trust", &settings.sending.trust)
        .inspect_err(|error| warn!(error, "those that browsers trust count instead"))
        .unwrap_or(Roots::Public);
    let client = HttpClient::new(&roots);
    let client = client.inspect_err(|error| warn!(%error, "no report leaves over HTTPS")).ok()?.outward();
    Some(Arc::new(move |address: String, packed: Vec<u8>| {
        let client = client.clone();
        Box::pin(async move {
            let Some(uri) = place(&address) else { return false };
            let host = uri.host().unwrap_or_default().to_owned();
            let request =
                Request::post(uri).header("Content-Type", "application/tlsrpt+gzip").body(Bytes::from(packed));
            let Ok(request) = request else { return false };
            match client.send(request).await {
                Ok(response) => response.status().is_success(),
                Err(error) => {
                    info!(host, %error, "a report was not taken over HTTPS");
                    false
                }
            }
        })
    }))
}

/// Where reports are taken: at the port of HTTPS, since what is at another a stranger may want to know.
fn place(address: &str) -> Option<Uri> {
    let uri: Uri = address.parse().ok()?;
    uri.host()?;
    (uri.port_u16().unwrap_or(HTTPS) == HTTPS && uri.scheme_str() == Some("https")).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_goes_to_the_port_of_https_only() {
        for address in ["https://a.test/x?y", "https://a.test:443/x", "HTTPS://a.test"] {
            assert!(place(address).is_some(), "{address}");
        }
        for address in ["https://a.test:8443/x", "https://a.test:25", "http://a.test/x", "/x", "mailto:x@a.test", ""] {
            assert!(place(address).is_none(), "{address}");
        }
    }
}
