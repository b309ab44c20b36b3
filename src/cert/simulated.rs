//! Years of a household's certificates, against an authority in simulated time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::base::{SeededRandom, Time};
use crate::net::Pair;
use crate::net::tls::self_signed;

use super::file::tests::Drawer;
use super::keeper::{Keeper, Next, Order, World};
use super::names::{Group, groups};
use super::obtain::{Authority, Ordered, Try, obtain};
use super::stage::Method;
use super::trouble::{Cause, Trouble};
use super::x509::facts;

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;
const START: Time = Time(1_796_000_000_000);
const DIRECTORY: &str = "https://ca.example.test/dir";

/// A chain as an authority would issue it: dated back by an hour, with an authority key identifier.
fn issue(names: &[String], now: Time, days: i64) -> Pair {
    let moment = |time: Time| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time.seconds() as u64);
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.distinguished_name.push(rcgen::DnType::OrganizationName, "Simulated");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    params.not_before = moment(now.plus_ms(-HOUR));
    params.not_after = moment(now.plus_ms(days * DAY - HOUR));
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, &rcgen::Issuer::new(root, root_key)).unwrap();
    Pair { chain: cert.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
}

/// What is wrong with a name at a time.
type Wrong = Box<dyn Fn(&str, Time) -> Option<Cause> + Send + Sync>;

struct Sky {
    days: i64,
    wrong: Wrong,
    now: Mutex<Time>,
    orders: Mutex<Vec<(Time, Vec<String>, Option<String>)>>,
    failures: Mutex<BTreeMap<String, Vec<Time>>>,
}

impl Authority for Sky {
    async fn order(&self, tries: &[Try], replaces: Option<&str>) -> Ordered {
        let now = *self.now.lock().unwrap();
        let names: Vec<String> = tries.iter().map(|one| one.name.clone()).collect();
        self.orders.lock().unwrap().push((now, names.clone(), replaces.map(str::to_owned)));
        if let Some(cause) = (self.wrong)("", now) {
            return Ordered::Failed(Trouble::new(cause, ""));
        }
        let mut bad = Vec::new();
        for one in tries {
            let Some(cause) = (self.wrong)(&one.name, now) else { continue };
            let mut failures = self.failures.lock().unwrap();
            let failed = failures.entry(one.name.clone()).or_default();
            failed.push(now);
            // C3, as Let's Encrypt has it.
            let within_an_hour = failed.iter().filter(|time| now.0 - time.0 < HOUR).count();
            assert!(within_an_hour <= 4, "{} is locked out", one.name);
            bad.push((one.name.clone(), Trouble::new(cause, "").by(one.method)));
        }
        if bad.is_empty() { Ordered::Issued(issue(&names, now, self.days)) } else { Ordered::Names(bad) }
    }
}

struct Home {
    drawer: Drawer,
    sky: Sky,
    random: SeededRandom,
    hostname: String,
    groups: Vec<Group>,
    now: Time,
    /// What went without a valid certificate, and when.
    bare: Vec<(Time, String)>,
}

impl Home {
    fn new(days: i64, wrong: impl Fn(&str, Time) -> Option<Cause> + Send + Sync + 'static) -> Home {
        let hostname = "mail.example.test".to_owned();
        Home {
            drawer: Drawer::default(),
            sky: Sky {
                days,
                wrong: Box::new(wrong),
                now: Mutex::new(START),
                orders: Mutex::default(),
                failures: Mutex::default(),
            },
            random: SeededRandom::new(days as u64),
            groups: groups(&hostname, &["example.test".to_owned()]),
            hostname,
            now: START,
            bare: Vec::new(),
        }
    }

    fn world(&self) -> World<'_> {
        World {
            now: self.now,
            trusted: true,
            random: &self.random,
            hostname: &self.hostname,
            groups: &self.groups,
            directory: Some(DIRECTORY),
        }
    }

    /// The notes are read anew each time, as after a power cut at every step.
    fn keeper(&self) -> Keeper<Drawer> {
        Keeper::open(Drawer(Mutex::new(self.drawer.0.lock().unwrap().clone())))
    }

    fn put_back(&self, keeper: &Keeper<Drawer>) {
        *self.drawer.0.lock().unwrap() = keeper.keep().0.lock().unwrap().clone();
    }

    async fn order(&self, keeper: &mut Keeper<Drawer>, order: &Order) {
        *self.sky.now.lock().unwrap() = self.now;
        let wanted = keeper.wanted(order, self.now, |_| vec![Method::TlsAlpn, Method::Http]);
        let outcome = obtain(&self.sky, None, wanted, order.replaces.as_deref()).await;
        keeper.settle(order, outcome, &self.world());
    }

    async fn play(&mut self, until: Time) {
        let mut steps = 0;
        while self.now < until {
            steps += 1;
            assert!(steps < 20_000, "it does not come on");
            let mut keeper = self.keeper();
            keeper.reconcile(&self.world());
            keeper.alarms(&self.world());
            let next = keeper.next(&self.world());
            match &next {
                Next::Order(order) => self.order(&mut keeper, order).await,
                Next::Ask { id, .. } => keeper.windowed(id, None, &self.world()),
                Next::Clock => panic!("the clock is right"),
                Next::Wait(_) => {}
            }
            self.put_back(&keeper);
            self.watch();
            if let Next::Wait(wait) = next {
                // At least once in six hours somebody looks.
                let six = self.now.plus_ms(6 * HOUR);
                self.now = wait.map_or(six, |wait| wait.min(six)).min(until);
            }
        }
    }

    fn serves(&self, name: &str) -> bool {
        self.keeper().pairs(&self.hostname, self.now).iter().any(|pair| {
            let facts = facts(&pair.chain).unwrap();
            facts.covers(name) && facts.life.from <= self.now && self.now < facts.life.until
        })
    }

    fn watch(&mut self) {
        if self.now > START.plus_ms(HOUR) {
            let names: Vec<String> = self.groups.iter().flat_map(|group| group.names.clone()).collect();
            let bare: Vec<String> = names.into_iter().filter(|name| !self.serves(name)).collect();
            self.bare.extend(bare.into_iter().map(|name| (self.now, name)));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.keeper().list(&self.world()).into_iter().map(|entry| entry.id).collect()
    }
}

#[tokio::test]
async fn lifetimes_of_90_64_and_6_days_go_on_for_a_year_without_a_gap() {
    for days in [90, 64, 6] {
        let mut home = Home::new(days, |_, _| None);
        home.play(START.plus_ms(370 * DAY)).await;
        assert!(home.bare.is_empty(), "{days}: {:?}", home.bare);
        let orders = home.sky.orders.lock().unwrap();
        assert!(orders[0].2.is_none(), "the first replaces nothing");
        assert!(orders.last().unwrap().2.is_some(), "a renewal says what it replaces");
        let least = (2 * 370 / days) as usize;
        assert!(orders.len() >= least && orders.len() <= least * 3, "{days}: {}", orders.len());
    }
}

/// C1, and what happens to the name: left out, tried alone with patience, got alone, and taken in again.
#[tokio::test]
async fn a_name_that_fails_is_left_out_tried_alone_and_taken_in_again() {
    let mended = START.plus_ms(20 * DAY);
    let mut home =
        Home::new(90, move |name, now| (name == "autoconfig.example.test" && now < mended).then_some(Cause::NoAddress));
    home.play(START.plus_ms(DAY)).await;
    assert!(home.serves("mail.example.test") && home.serves("mta-sts.example.test"));
    assert!(!home.serves("autoconfig.example.test"));
    let list = home.keeper().list(&home.world());
    let alone = list.iter().find(|entry| entry.id == "name-autoconfig.example.test").unwrap();
    assert!(alone.trouble.as_ref().unwrap().1.words("autoconfig.example.test").contains("no address in DNS"));
    assert!(alone.next.is_some());
    assert!(list.iter().all(|entry| entry.id.starts_with("name-") || entry.trouble.is_none()), "the others are well");

    home.play(mended.plus_ms(2 * DAY)).await;
    assert!(home.serves("autoconfig.example.test"), "soon after it was mended");
    let tries = home.sky.failures.lock().unwrap()["autoconfig.example.test"].len();
    assert!((20..250).contains(&tries), "tried with patience: {tries}");

    home.play(START.plus_ms(89 * DAY)).await;
    assert_eq!(home.ids(), ["host", "domain-example.test"], "with the next renewal it is among the others again");
    assert!(home.bare.iter().all(|(time, name)| name == "autoconfig.example.test" && *time < mended.plus_ms(DAY)));
}

#[tokio::test]
async fn a_host_whose_name_fails_does_not_stop_the_domains() {
    let mut home = Home::new(90, |name, _| (name == "mail.example.test").then_some(Cause::Unreachable));
    home.play(START.plus_ms(10 * DAY)).await;
    assert!(home.serves("mta-sts.example.test") && !home.serves("mail.example.test"));
    let tries = home.sky.failures.lock().unwrap()["mail.example.test"].len();
    assert!(tries > 40, "it goes on trying: {tries}");
}

#[tokio::test]
async fn an_authority_away_for_two_weeks_costs_nothing() {
    for days in [90, 64] {
        let from = START.plus_ms(days * DAY / 2);
        let to = from.plus_ms(14 * DAY);
        let mut home =
            Home::new(days, move |name, now| (name.is_empty() && from <= now && now < to).then_some(Cause::Away));
        home.play(START.plus_ms(200 * DAY)).await;
        assert!(home.bare.is_empty(), "{days}: {:?}", home.bare);
    }
}

#[tokio::test]
async fn a_domain_that_goes_takes_its_certificate_along_and_a_new_name_is_ordered_at_once() {
    let mut home = Home::new(90, |_, _| None);
    home.play(START.plus_ms(DAY)).await;
    assert_eq!(home.ids(), ["host", "domain-example.test"]);

    home.hostname = "post.example.test".to_owned();
    home.groups = groups(&home.hostname, &["example.test".to_owned(), "other.test".to_owned()]);
    home.play(START.plus_ms(DAY + HOUR)).await;
    assert!(home.serves("post.example.test") && home.serves("mta-sts.other.test"));

    home.groups = groups(&home.hostname, &["other.test".to_owned()]);
    home.play(START.plus_ms(DAY + 2 * HOUR)).await;
    assert!(!home.serves("mta-sts.example.test"));
    assert!(!home.drawer.0.lock().unwrap().contains_key("domain-example.test.pem"));
}

#[tokio::test]
async fn what_the_owner_brought_is_not_ordered_until_it_nears_its_end() {
    let mut home = Home::new(90, |_, _| None);
    let mut keeper = home.keeper();
    keeper.import(issue(&["*.example.test".to_owned()], START, 60), START).unwrap();
    // It is not for us to say whom it is from, but it must be whole.
    let other = self_signed(&["b.test".to_owned()]).unwrap();
    let torn = Pair { chain: issue(&["a.test".to_owned()], START, 60).chain, key: other.key };
    assert!(keeper.import(torn, START).is_err());
    home.put_back(&keeper);
    home.play(START.plus_ms(40 * DAY)).await;
    assert!(home.sky.orders.lock().unwrap().is_empty());
    assert!(home.bare.is_empty(), "{:?}", home.bare);
    // One that serves a part of a group's names does not have the rest ordered again and again.
    let mut keeper = home.keeper();
    keeper.remove("*.example.test").unwrap();
    let part = ["mta-sts.example.test".to_owned()];
    keeper.import(issue(&part, home.now, 60), home.now).unwrap();
    home.put_back(&keeper);
    home.play(home.now.plus_ms(DAY)).await;
    assert_eq!(home.sky.orders.lock().unwrap().len(), 2);
    home.bare.clear();
    home.play(START.plus_ms(110 * DAY)).await;
    assert!(home.bare.is_empty(), "{:?}", home.bare);
    let mut keeper = home.keeper();
    assert_eq!([(); 2].map(|()| keeper.remove("mta-sts.example.test")), [Ok(true), Ok(false)]);
}

#[tokio::test]
async fn the_owner_may_insist_but_not_so_often_that_the_authority_locks_the_name_out() {
    let mut home = Home::new(90, |name, _| (name == "mail.example.test").then_some(Cause::Unreachable));
    // C3: the authority of this test panics at the fifth failure in an hour.
    for minute in 0..180 {
        home.now = START.plus_ms(minute * 60_000);
        let mut keeper = home.keeper();
        keeper.reconcile(&home.world());
        let (orders, blocked) = keeper.asked(Some("mail.example.test"), true, &home.world());
        assert_eq!(orders.is_empty(), !blocked.is_empty(), "either it is tried or it is said why not");
        for order in orders {
            home.order(&mut keeper, &order).await;
        }
        home.put_back(&keeper);
    }
    assert!(home.sky.failures.lock().unwrap()["mail.example.test"].len() >= 9);
    // What is not due is not ordered unless that is said.
    home.play(START.plus_ms(DAY)).await;
    let mut keeper = home.keeper();
    assert!(keeper.asked(Some("mta-sts.example.test"), false, &home.world()).0.is_empty());
    let (forced, _) = keeper.asked(Some("mta-sts.example.test"), true, &home.world());
    assert_eq!(forced.len(), 1);
    assert!(!forced[0].rehearse && forced[0].replaces.is_some());
}

/// C4.
#[tokio::test]
async fn a_certificate_that_does_not_fit_is_not_taken() {
    struct Wrong;
    impl Authority for Wrong {
        async fn order(&self, _tries: &[Try], _replaces: Option<&str>) -> Ordered {
            Ordered::Issued(issue(&["other.test".to_owned()], START, 90))
        }
    }
    let home = Home::new(90, |_, _| None);
    let mut keeper = home.keeper();
    keeper.reconcile(&home.world());
    let Next::Order(order) = keeper.next(&home.world()) else { panic!() };
    let wanted = keeper.wanted(&order, home.now, |_| vec![Method::Http]);
    let outcome = obtain(&Wrong, None, wanted, None).await;
    let (changed, renewed) = keeper.settle(&order, outcome, &home.world());
    assert!(!changed && renewed.troubles[0].1.cause == Cause::Strange);
    assert!(keeper.pairs("mail.example.test", home.now).is_empty());
}
