//! The site without a socket: names and headers.

use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt;

use super::host::asked;
use super::*;
use crate::base::{OsRandom, Time};
use crate::directory::dkim;
use crate::directory::manage::domain;
use crate::net::Connection;
use crate::store::data::Options;
use crate::store::disk::RealDisk;

fn domains() -> Vec<String> {
    vec!["example.test".to_owned(), "other.example".to_owned()]
}

fn is(host: &str) -> Option<Asked> {
    asked(host, "mail.example.test", &domains())
}

/// H1.
#[test]
fn only_names_of_ours_are_answered() {
    for host in [
        "mail.example.test",
        "MAIL.example.test:10443",
        "mail.example.test.",
        "192.168.1.20",
        "192.168.1.20:443",
        "127.0.0.1:18443",
        "[::1]:18443",
        "[fe80::1]",
        "localhost",
        "homepost.local",
    ] {
        assert_eq!(is(host), Some(Asked::House), "{host}");
    }
    assert_eq!(is("Example.Test"), Some(Asked::Domain("example.test".to_owned())));
    assert_eq!(is("autoconfig.other.example"), Some(Asked::Service(Service::Autoconfig, "other.example".to_owned())));
    assert_eq!(is("mta-sts.example.test:443"), Some(Asked::Service(Service::MtaSts, "example.test".to_owned())));
    for host in [
        "",
        ":443",
        "evil.example",
        "mail.example.test.evil.example",
        "www.example.test",
        "mta-sts.mail.example.test",
        "mta-sts.",
        "autoconfig.evil.example",
        "8.8.8.8",
        "[2a01:4f8::1]",
        "[::1",
        "[::1]x",
        "mail.example.test:x",
        "mail.example.test:443:1",
        "x@mail.example.test",
        "mail.example.test..",
    ] {
        assert_eq!(is(host), None, "{host}");
    }
}

struct Told {
    status: StatusCode,
    fields: http::HeaderMap,
}

impl Told {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Of `mail.example.test`, with the domain `example.test`.
pub(in crate::web) fn household() -> (tempfile::TempDir, Arc<Household>) {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(Arc::new(RealDisk::open(folder.path()).unwrap()), Options::default()).unwrap();
    let keys = dkim::NewKeys::make(&OsRandom, Time(0)).unwrap();
    data.write_blocking(move |txn| domain::add(txn, "example.test", &keys, Time(0))).unwrap();
    let settings = Settings::new("mail.example.test").unwrap();
    (folder, Arc::new(Household { data, settings: Arc::new(ArcSwap::from_pointee(settings)) }))
}

/// To the whole site of such a household, with no part of the house's own.
pub(in crate::web) async fn answered(household: &Arc<Household>, request: Request<Body>) -> (StatusCode, String) {
    let site = site::routes(household.clone(), crate::web::clients::part(household.clone()), Vec::new());
    let response = site.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Through a site with the programs' part, of which `/open` is one, and the house's, with `/own`.
async fn ask(household: &Arc<Household>, host: &[&str], target: &str, vouched: bool) -> Told {
    let programs = Part::new(Router::new().route("/open", get(async || "open")));
    let own = Part::new(Router::new().route("/own", get(async || ([("cache-control", "max-age=60")], "own"))));
    let site = site::routes(household.clone(), programs, vec![own]);
    let mut request = Request::builder().uri(target);
    for host in host {
        request = request.header("host", *host);
    }
    let local = "127.0.0.1:443".parse().unwrap();
    let request = request.extension(Connection { peer: local, local, id: 1, vouched }).body(Body::empty()).unwrap();
    let response = site.oneshot(request).await.unwrap();
    Told { status: response.status(), fields: response.headers().clone() }
}

/// H1, H2.
#[tokio::test]
async fn the_house_is_not_entered_by_the_names_for_programs() {
    let (_folder, household) = household();
    for (host, target, status) in [
        (&["mail.example.test"][..], "/own", 200),
        (&["192.168.1.20:8443"], "/own", 200),
        (&["mail.example.test"], "/open", 200),
        (&["mail.example.test"], "/", 200),
        (&["mail.example.test"], "/nowhere", 404),
        (&["autoconfig.example.test"], "/open", 200),
        (&["autoconfig.example.test"], "/own", 404),
        (&["autoconfig.example.test"], "/", 404),
        (&["example.test"], "/own", 404),
        (&["evil.example"], "/open", 421),
        (&["autoconfig.evil.example"], "/open", 421),
        (&[], "/own", 400),
        (&["mail.example.test", "mail.example.test"], "/own", 400),
        // What the request line says counts.
        (&["mail.example.test"], "https://evil.example/own", 421),
    ] {
        let told = ask(&household, host, target, true).await;
        assert_eq!(told.status.as_u16(), status, "{host:?} {target}");
    }
}

/// H3.
#[tokio::test]
async fn every_answer_is_dressed_and_only_a_good_certificate_is_insisted_on() {
    let (_folder, household) = household();
    for (host, target) in [("mail.example.test", "/own"), ("mail.example.test", "/nowhere"), ("evil.example", "/")] {
        let told = ask(&household, &[host], target, false).await;
        assert!(told.field("content-security-policy").contains("default-src 'none'"), "{host} {target}");
        assert!(told.field("content-security-policy").contains("frame-ancestors 'none'"), "{host} {target}");
        assert_eq!(told.field("x-content-type-options"), "nosniff");
        assert_eq!(told.field("referrer-policy"), "same-origin");
        assert_eq!(told.field("strict-transport-security"), "");
    }
    assert_eq!(ask(&household, &["mail.example.test"], "/own", false).await.field("cache-control"), "max-age=60");
    assert_eq!(ask(&household, &["mail.example.test"], "/", false).await.field("cache-control"), "no-store");
    let vouched = ask(&household, &["mail.example.test"], "/own", true).await;
    assert!(vouched.field("strict-transport-security").starts_with("max-age="));
}
