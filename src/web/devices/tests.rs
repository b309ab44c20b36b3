//! Links and profiles, without a socket.

use axum::body::Body;
use http::Request;
use tower::ServiceExt;

use super::*;
use crate::base::{AccountId, OsRandom, SeededRandom, SystemClock, Time};
use crate::directory::Credential;
use crate::directory::manage::account::{self, NewAccount};
use crate::directory::manage::device::{add_with_link, list};
use crate::web::home::tests::household;

struct Fixed(std::sync::Mutex<Time>);

impl Clock for Fixed {
    fn now(&self) -> Time {
        *self.0.lock().unwrap()
    }

    fn mono(&self) -> crate::base::Mono {
        SystemClock::new().mono()
    }

    fn trusted(&self) -> bool {
        true
    }
}

const ANNA: &str = "anna@example.test";

struct World {
    _folder: tempfile::TempDir,
    household: Arc<Household>,
    clock: Arc<Fixed>,
    site: Router,
}

fn world() -> World {
    let (folder, household) = household();
    let credential = Credential::new(ANNA, "correct horse battery", &OsRandom, Time(0)).unwrap();
    let new = NewAccount { address: ANNA.into(), name: Some("Anna <& Co>".into()), ..NewAccount::default() };
    let added: AccountId =
        household.data.write_blocking(move |txn| account::add(txn, &new, &credential, Time(0))).unwrap().value;
    assert_eq!(added.0, 1);
    let clock = Arc::new(Fixed(std::sync::Mutex::new(Time(1_000_000))));
    let desk = Desk {
        household: household.clone(),
        clock: clock.clone(),
        random: Arc::new(SeededRandom::new(5)),
        sign: Arc::new(|content| Ok([b"signed:", content].concat())),
    };
    World { _folder: folder, household, clock, site: part(desk).into_router() }
}

impl World {
    fn link(&self, secret: &str) {
        let (digest, now) = (digest(secret), self.clock.now());
        let add = move |txn: &mut crate::store::Txn<'_>| add_with_link(txn, ANNA, "Anna's phone", &digest, now);
        self.household.data.write_blocking(add).unwrap();
    }

    async fn ask(&self, method: &str, secret: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(format!("{PROFILE}{secret}")).body(Body::empty()).unwrap();
        let response = self.site.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// D1.
#[tokio::test]
async fn a_link_gives_one_profile_within_its_time() {
    let world = world();
    world.link("one");
    world.link("two");
    assert_eq!(world.ask("GET", "three").await.0, 404);
    assert_eq!(world.ask("HEAD", "one").await.0, 204, "looking uses nothing up");
    let (status, text) = world.ask("GET", "one").await;
    assert_eq!(status, 200);
    assert!(text.starts_with("signed:<?xml"), "{text}");
    assert!(text.contains("<key>EmailAccountName</key><string>Anna &lt;&amp; Co&gt;</string>"), "{text}");
    let password = text.split_once("<key>IncomingPassword</key><string>").unwrap().1.split_once('<').unwrap().0;
    let read = world.household.data.read().unwrap();
    assert!(Password::read(password).is_some_and(|read| read.shown() == password), "{password}");
    drop(read);
    assert_eq!(world.ask("GET", "one").await.0, 404, "it is used up");

    let now = world.clock.now();
    *world.clock.0.lock().unwrap() = now.plus_ms(device::LINK_MS);
    assert_eq!(world.ask("GET", "two").await.0, 404, "it is too old");
    let there = list(&world.household.data.read().unwrap(), ANNA, world.clock.now()).unwrap();
    assert_eq!(there.len(), 1, "what waited in vain is not shown");
    assert_eq!((there[0].name.as_str(), there[0].waits, there[0].used), ("Anna's phone", None, None));
}

#[tokio::test]
async fn who_may_not_log_in_any_more_gets_no_profile() {
    let world = world();
    world.link("one");
    let leave = |txn: &mut crate::store::Txn<'_>| account::set_disabled(txn, ANNA, true);
    world.household.data.write_blocking(leave).unwrap();
    assert_eq!(world.ask("GET", "one").await.0, 404);
}

#[test]
fn a_link_is_drawn() {
    let picture = qr("https://mail.example.test/devices/profile/0123456789abcdef").unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("<path"), "{picture}");
    assert!(!picture.contains("href"), "it needs nothing from elsewhere");
    assert_eq!(qr(&"x".repeat(10_000)), None);
}
