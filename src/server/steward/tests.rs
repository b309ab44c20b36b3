//! The administration on a house of its own, without sockets: pages, interface, verbs and stores are the real ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use http::StatusCode;
use tempfile::TempDir;

use super::*;
use crate::appliance::machine::{Act, Fake};
use crate::appliance::words;
use crate::server::folder::Folder;
use crate::store::Txn;
use crate::store::blob::LetterHeader;
use crate::web::admin::play::{Counter, Seen};

const HOST: &str = "mail.example.test";
const ALICE: &str = "alice@example.test";
const BEN: &str = "ben@example.test";
const AT_HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const PHRASE: &str = "river oak lantern moon";

struct Home {
    house: Arc<House>,
    counter: Counter,
    machine: Arc<Fake>,
    _dir: TempDir,
}

/// With alice, who administers it, and ben.
fn home(settings: &[(&str, u64)]) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(&dir.path().join("data"));
    folder.make().unwrap();
    verbs::init(&folder, HOST, "example.test", ALICE, Some("Alice"), &Password(PHRASE.into())).unwrap();
    for (key, value) in settings {
        crate::settings::edit::set(folder.path(), key, *value).unwrap();
    }
    let house = Arc::new(House::open(&folder).unwrap());
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Told::Changed(reply) | Told::Opened(reply) | Told::Named(reply)) = told.recv().await {
            let _ = reply.send(Vec::new());
        }
    });
    let request = Request::AccountAdd {
        address: BEN.into(),
        name: Some("Ben".into()),
        quota: None,
        password: Password(PHRASE.into()),
    };
    assert_eq!(verbs::run(&house, &request).error, None);
    let machine = Arc::new(Fake::default());
    let steward = Arc::new(Steward::new(house.clone(), machine.clone(), tell));
    let languages = crate::web::language::built_in();
    let counter = Counter::new(steward, house.clock.clone(), house.random.clone(), languages);
    Home { house, counter, machine, _dir: dir }
}

/// Keeps cookies and form tokens as a browser does.
struct Browser<'a> {
    home: &'a Home,
    peer: IpAddr,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Home {
    fn browser(&self) -> Browser<'_> {
        Browser { home: self, peer: AT_HOME, cookies: Mutex::default() }
    }

    async fn program(&self, method: &str, path: &str, token: &str, body: &str) -> Seen {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.counter.ask(AT_HOME, method, path, &headers, body).await
    }

    fn token(&self, scope: &str) -> String {
        let secret = format!("homepost_{scope:0>64}");
        let request = Request::TokenAdd {
            address: ALICE.into(),
            name: scope.into(),
            scope: scope.into(),
            days: 1,
            token: Password(secret.clone()),
        };
        assert_eq!(verbs::run(&self.house, &request).error, None);
        secret
    }
}

impl Browser<'_> {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let cookies = {
            let cookies = self.cookies.lock().unwrap();
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
        };
        let mut all = vec![("host", HOST), ("cookie", &*cookies)];
        all.extend(headers);
        let seen = self.home.counter.ask(self.peer, method, path, &all, body).await;
        for cookie in &seen.cookies {
            assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict") || cookie.contains("Max-Age=0"));
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        seen
    }

    async fn get(&self, path: &str) -> Seen {
        self.send("GET", path, &[], "").await
    }

    /// The token that stands on a page.
    async fn form_token(&self, page: &str) -> String {
        let page = self.get(page).await.body;
        page.split("name=\"t\" value=\"").nth(1).map(|rest| rest.chars().take(32).collect()).unwrap_or_default()
    }

    async fn post(&self, page: &str, fields: &[(&str, &str)]) -> Seen {
        let token = self.form_token(page).await;
        self.submit(page, &token, fields, &[("origin", &format!("https://{HOST}"))]).await
    }

    async fn submit(&self, path: &str, token: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Seen {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let mut body = format!("t={token}");
        for (name, value) in fields {
            body.push_str(&format!("&{name}={}", encode(value)));
        }
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        self.send("POST", path, &all, &body).await
    }

    async fn sign_in(&self, address: &str, phrase: &str) -> u16 {
        self.post("/sign-in", &[("address", address), ("phrase", phrase)]).await.status
    }
}

const PAGES: [&str; 10] = [
    "/admin",
    "/admin/people",
    "/admin/aliases",
    "/admin/domains",
    "/admin/ports",
    "/admin/certificates",
    "/admin/queue",
    "/admin/reports",
    "/admin/queue/1",
    "/admin/programs",
];

#[tokio::test(flavor = "multi_thread")]
async fn m2_who_is_no_administrator_reaches_her_own_page_and_nothing_else() {
    let home = home(&[]);
    let (stranger, ben, alice) = (home.browser(), home.browser(), home.browser());
    assert_eq!(ben.sign_in(BEN, PHRASE).await, 303);
    assert_eq!(alice.sign_in(ALICE, PHRASE).await, 303);
    assert_eq!(ben.get("/").await.place, "/me");
    assert_eq!(alice.get("/").await.place, "/admin");
    let more = [
        "/admin/people/alice@example.test",
        "/admin/domains/example.test",
        "/admin/nothing",
        "/admin/certificates/asked",
    ];
    for path in PAGES.into_iter().chain(more) {
        let seen = stranger.get(path).await;
        assert_eq!((seen.status, seen.place.as_str()), (303, "/sign-in"), "{path}");
        assert_eq!(ben.get(path).await.status, 403, "{path}");
        let own = ben.form_token("/me").await;
        for what in ["", "delete", "administrator", "phrase", "link"] {
            let posted = ben.submit(path, &own, &[("do", what), ("address", ALICE)], &[]).await;
            assert_eq!(posted.status, 403, "{path} {what}");
            assert!(!posted.body.contains("secret"), "{path} {what}");
        }
        let theirs = stranger.form_token("/sign-in").await;
        assert_eq!(stranger.submit(path, &theirs, &[("do", "delete")], &[]).await.status, 403, "{path}");
        assert_eq!(
            alice.get(path).await.status,
            if path.ends_with("nothing") || path.ends_with("/1") { 404 } else { 200 },
            "{path}"
        );
    }
    let me = ben.get("/me").await;
    assert!(me.status == 200 && me.body.contains(BEN) && !me.body.contains("/admin"), "{}", me.body);
    assert_eq!(stranger.send("DELETE", "/admin", &[], "").await.status, 405);
    for path in ["/api/people", "/api/tokens", "/api"] {
        let answer = home.counter.ask(AT_HOME, "GET", path, &[], "").await;
        assert!([401, 404].contains(&answer.status), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_a_forged_form_changes_nothing() {
    let home = home(&[]);
    let alice = home.browser();
    assert_eq!(alice.sign_in(ALICE, PHRASE).await, 303);
    let token = alice.form_token("/admin/aliases").await;
    let fields = [("do", "add"), ("alias", "info@example.test"), ("targets", BEN)];
    let other = home.browser().form_token("/sign-in").await;
    let origin = format!("https://{HOST}");
    let cases: [(&str, &[(&str, &str)]); 6] = [
        (&token, &[("origin", "https://evil.example")]),
        (&token, &[("origin", "null")]),
        (&token, &[("origin", "http://mail.example.test")]),
        (&token, &[("origin", &origin), ("sec-fetch-site", "cross-site")]),
        (&other, &[("origin", &origin)]),
        ("", &[("origin", &origin)]),
    ];
    for (token, headers) in cases {
        assert_eq!(alice.submit("/admin/aliases", token, &fields, headers).await.status, 403, "{headers:?}");
    }
    // A browser that has the session, and not the cookie that the token belongs to.
    let mut only_session = home.browser();
    let session = alice.cookies.lock().unwrap()["__Host-hp-session"].clone();
    only_session.cookies = Mutex::new([("__Host-hp-session".to_owned(), session)].into());
    assert_eq!(only_session.submit("/admin/aliases", &token, &fields, &[("origin", &origin)]).await.status, 403);
    assert_eq!(home.house_aliases(), "");
    // M4
    let broken = [("do", "add"), ("alias", "in\nfo@example.test"), ("targets", BEN)];
    assert_eq!(alice.submit("/admin/aliases", &token, &broken, &[("origin", &origin)]).await.status, 400);
    let long = "x".repeat(20_000);
    assert_eq!(alice.submit("/admin/aliases", &token, &[("alias", &long)], &[]).await.status, 413);
    let lines =
        [("do", "add"), ("alias", "info@example.test"), ("targets", "ben@example.test\r\nalice@example.test\r\n")];
    assert_eq!(alice.submit("/admin/aliases", &token, &lines, &[("origin", &origin)]).await.status, 303);
    assert_eq!(home.house_aliases(), "info@example.test  ben@example.test, alice@example.test\n");
}

impl Home {
    fn house_aliases(&self) -> String {
        verbs::run(&self.house, &Request::AliasList).text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_invited_chooses_a_pass_phrase_once_and_comes_in() {
    let home = home(&[]);
    let alice = home.browser();
    alice.sign_in(ALICE, PHRASE).await;
    let asked = [("local", "carol"), ("domain", "example.test"), ("name", "Carol <b>"), ("quota", "500")];
    let shown = alice.post("/admin/people", &asked).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let link = shown.body.split(&format!("https://{HOST}/invitation/")).nth(1).unwrap()[..40].to_owned();
    let page = alice.get("/admin/people/carol@example.test").await.body;
    assert!(page.contains("invited, until") && page.contains("value=\"500\"") && !page.contains(&link), "M5");
    assert!(page.contains("Carol &#60;b&#62;"), "{page}");
    let path = format!("/invitation/{link}");
    let carol = home.browser();
    assert_eq!(carol.get("/invitation/00000000000000000000000000000000000000000").await.status, 404);
    assert!(carol.get(&path).await.body.contains("Your address is <b translate=\"no\">carol@example.test</b>"));
    let chosen = |one, two| [("phrase", one), ("phrase2", two)];
    assert_eq!(carol.post(&path, &chosen("short", "short")).await.status, 422);
    let page = carol.post(&path, &chosen("moss and fern", "moss or fern")).await;
    assert!(page.status == 422 && page.body.contains("not the same") && !page.body.contains("moss"));
    assert_eq!(carol.post(&path, &chosen("moss and fern", "moss and fern")).await.status, 200);
    assert_eq!(carol.get(&path).await.status, 404, "once");
    assert_eq!(carol.sign_in("carol@example.test", "moss and fern").await, 303);
    assert_eq!(carol.get("/admin").await.status, 403);

    // Her sessions end with her pass phrase, whoever changes it (M3), but not the browser she changes it in.
    let second = home.browser();
    assert_eq!(second.sign_in("carol@example.test", "moss and fern").await, 303);
    let change = [("phrase-now", "moss and fern"), ("phrase", "stone and stream"), ("phrase2", "stone and stream")];
    let wrong = [("phrase-now", "moss"), ("phrase", "stone and stream"), ("phrase2", "stone and stream")];
    assert_eq!(carol.post("/me", &wrong).await.status, 422);
    let changed = carol.post("/me", &change).await;
    assert_eq!((changed.status, changed.place.as_str()), (303, "/me/changed"));
    assert!(carol.get("/me/changed").await.body.contains("is changed"));
    assert_eq!(second.get("/me").await.place, "/sign-in");
    let shown = alice.post("/admin/people/carol@example.test", &[("do", "phrase")]).await.body;
    let phrase = shown.split("role=\"group\"").nth(1).unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(carol.get("/me").await.place, "/sign-in");
    assert_eq!(carol.sign_in("carol@example.test", &phrase).await, 303);
    // And when she is to go; kept after all, she comes in as before.
    alice.post("/admin/people/carol@example.test", &[("do", "delete")]).await;
    assert_eq!(carol.get("/me").await.place, "/sign-in");
    assert_eq!(carol.sign_in("carol@example.test", &phrase).await, 422);
    alice.post("/admin/people/carol@example.test", &[("do", "keep")]).await;
    assert_eq!(carol.sign_in("carol@example.test", &phrase).await, 303);
    assert_eq!(carol.submit("/sign-out", "", &[], &[]).await.status, 403);
    let token = carol.form_token("/me").await;
    assert_eq!(carol.submit("/sign-out", &token, &[], &[]).await.place, "/sign-in");
    assert_eq!(carol.get("/me").await.place, "/sign-in");
    let refused = alice.post("/admin/people/alice@example.test", &[("do", "delete")]).await;
    assert!(refused.status == 422 && refused.body.contains("only administrator"), "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_administers_and_forgot_shows_the_sheet_or_the_screen() {
    let home = home(&[]);
    let browser = home.browser();
    assert!(browser.get("/sign-in").await.body.contains("href=\"/forgotten\""));
    let prove = |address, proof| [("do", "prove"), ("address", address), ("proof", proof)];
    let chosen = [("phrase", "moss and fern"), ("phrase2", "moss and fern")];
    let no = browser.post("/forgotten", &prove(ALICE, "acorn actor album")).await;
    assert!(
        no.status == 422 && no.body.contains("neither the words") && no.body.contains("alice@"),
        "there is no sheet"
    );

    home.house.folder.put_recovery(words::sheet_hash("acorn actor album").to_hex().as_str()).unwrap();
    assert_eq!(browser.post("/forgotten", &prove(BEN, "acorn actor album")).await.status, 422, "no administrator");
    assert_eq!(browser.post("/forgotten", &prove("nobody@example.test", "acorn actor album")).await.status, 422);
    let yes = browser.post("/forgotten", &prove(ALICE, " Acorn actor,  ALBUM")).await;
    assert!(yes.status == 303 && yes.place.starts_with("/invitation/"), "{} {}", yes.status, yes.body);
    assert_eq!(browser.post(&yes.place, &chosen).await.status, 200);
    assert_eq!(browser.sign_in(ALICE, PHRASE).await, 422);
    assert_eq!(browser.sign_in(ALICE, "moss and fern").await, 303);
    assert_eq!(browser.get("/admin").await.status, 200, "still an administrator");

    // The code is for who stands before the box.
    let mut stranger = home.browser();
    stranger.peer = "93.184.216.34".parse().unwrap();
    let no = stranger.post("/forgotten", &[("do", "show")]).await;
    assert!(no.status == 422 && no.body.contains("in the same house"), "{}", no.body);
    assert_eq!(home.machine.acts(), []);
    let near = home.browser();
    let shown = near.post("/forgotten", &[("do", "show")]).await;
    assert!(shown.status == 200 && shown.body.contains("on the screen"), "{}", shown.body);
    let acts = home.machine.acts();
    let Some(Act::Show(lines)) = acts.last() else { panic!("{acts:?}") };
    let code = lines[0].rsplit(' ').next().unwrap();
    assert!(!shown.body.contains(code), "the page does not know it");
    let yes = near.post("/forgotten", &prove(ALICE, code)).await;
    assert!(yes.place.starts_with("/invitation/"), "{} {}", yes.status, yes.body);
    assert_eq!(near.post("/forgotten", &prove(ALICE, code)).await.status, 422, "once");

    // Who guesses waits, and is told how long.
    for _ in 0..4 {
        near.post("/forgotten", &prove(ALICE, "AAAA-AAAA")).await;
    }
    let slow = near.post("/forgotten", &prove(ALICE, "acorn actor album")).await;
    assert!(slow.status == 503 && slow.body.contains("Too many wrong tries"), "{} {}", slow.status, slow.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slow_for_who_guesses_and_for_nobody_else() {
    let home = home(&[("limits.login.failures_per_address", 2)]);
    let (mut guesser, ben) = (home.browser(), home.browser());
    guesser.peer = "198.51.100.7".parse().unwrap();
    let since = |began| home.house.clock.mono().since(began);
    let began = home.house.clock.mono();
    for _ in 0..3 {
        assert_eq!(guesser.sign_in(BEN, "not that one").await, 422);
    }
    assert!(since(began) >= 3000, "each refusal takes a second");
    let began = home.house.clock.mono();
    assert_eq!(guesser.sign_in(BEN, PHRASE).await, 303, "the right one is looked at in its turn");
    assert!(since(began) >= 1500, "{}", since(began));
    let began = home.house.clock.mono();
    assert_eq!(ben.sign_in(BEN, PHRASE).await, 303);
    assert!(since(began) < 1500, "{}", since(began));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_port_of_the_page_itself_has_to_be_meant() {
    let home = home(&[]);
    let alice = home.browser();
    alice.sign_in(ALICE, PHRASE).await;
    let page = alice.post("/admin/ports", &[("port", "https"), ("on", "no")]).await;
    assert!(page.status == 200 && page.body.contains("through this port"), "{}", page.body);
    assert!(home.house.settings.load().listeners.https.on);
    assert_eq!(alice.post("/admin/ports", &[("port", "imap"), ("on", "yes")]).await.status, 303);
    assert!(home.house.settings.load().listeners.imap.on);
    let sure = [("port", "https"), ("on", "no"), ("sure", "yes")];
    assert_eq!(alice.post("/admin/ports", &sure).await.status, 303);
    assert!(!home.house.settings.load().listeners.https.on);
    let all = home.token("all");
    assert_eq!(home.program("PUT", "/api/ports/https", &all, r#"{"on":true}"#).await.status, 200);
    assert_eq!(home.program("PUT", "/api/ports/https", &all, r#"{"on":false}"#).await.status, 409);
    assert_eq!(home.program("PUT", "/api/ports/https", &all, r#"{"on":false,"sure":true}"#).await.status, 200);
    assert_eq!(home.program("PUT", "/api/ports/pop9", &all, r#"{"on":true}"#).await.status, 404);
    // Nobody is told that an authority is asked when there is none.
    let asked = alice.post("/admin/certificates", &[("do", "renew")]).await;
    assert!(asked.status == 422 && asked.body.contains("No authority is set"), "{}", asked.body);
    assert_eq!(home.program("POST", "/api/certificates/renewal", &all, "{}").await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_what_their_token_allows_and_are_told_why_not() {
    let home = home(&[]);
    let (look, all) = (home.token("read"), home.token("all"));
    let people = home.program("GET", "/api/people", &look, "").await;
    assert_eq!((people.status, people.kind.as_str()), (200, "application/json"));
    assert!(people.body.contains(BEN) && !people.body.contains("argon"), "{}", people.body);
    let new = r#"{"domain":"other.test"}"#;
    for (method, path, token, body, status) in [
        ("POST", "/api/domains", "", new, 401),
        ("POST", "/api/domains", "homepost_wrong", new, 401),
        ("POST", "/api/domains", &*look, new, 403),
        ("POST", "/api/domains", &*all, "{", 400),
        ("POST", "/api/domains", &*all, "[]", 400),
        ("POST", "/api/domains", &*all, r#"{"domain":"oth\ner.test"}"#, 400),
        ("POST", "/api/domains", &*all, r#"{"domain":"other.test","more":1}"#, 422),
        ("POST", "/api/domains", &*all, r#"{"domain":"no domain"}"#, 422),
        ("POST", "/api/domains", &*all, new, 201),
        ("POST", "/api/domains", &*all, new, 409),
        ("PATCH", "/api/domains", &*all, new, 405),
        ("DELETE", "/api/domains/other.test", &*all, "", 204),
        ("DELETE", "/api/domains/other.test", &*all, "", 404),
        ("DELETE", "/api/domains/example.test", &*all, "", 409),
        ("GET", "/api/people/nobody%40example.test", &*look, "", 404),
        ("GET", "/api/people/ben%0a%40example.test", &*look, "", 404),
        ("GET", "/api/people/BEN%40example.test", &*look, "", 200),
        ("GET", "/api/nothing", &*look, "", 404),
    ] {
        let answer = home.program(method, path, token, body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        if status >= 400 {
            assert_eq!(answer.kind, "application/problem+json");
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(
                (problem["status"].as_u64(), problem["type"].as_str()),
                (Some(status.into()), Some("about:blank"))
            );
            assert!(!problem["detail"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(home.program("POST", "/api/domains", &all, &"x".repeat(70_000)).await.status, 413);
    let bearer = format!("Bearer {all}");
    let plain = home.counter.ask(AT_HOME, "POST", "/api/domains", &[("authorization", &*bearer)], new).await;
    assert_eq!(plain.status, 415);
    // Revoked, it opens nothing; nor when its owner administers no more.
    let id = home.program("GET", "/api/tokens", &look, "").await.body;
    let tokens: Value = serde_json::from_str(&id).unwrap();
    assert!(!id.contains(&look) && tokens.as_array().unwrap().len() == 2, "{id}");
    let first = tokens[0]["id"].as_u64().unwrap();
    assert_eq!(home.program("DELETE", &format!("/api/tokens/{first}"), &all, "").await.status, 204);
    assert_eq!(home.program("GET", "/api/people", &look, "").await.status, 401);
    let role = |who: &str, on: bool| {
        let (path, body) = (format!("/api/people/{who}/role"), format!("{{\"administrator\":{on}}}"));
        async {
            let (path, body) = (path, body);
            home.program("PUT", &path, &all, &body).await.status
        }
    };
    assert_eq!((role(BEN, true).await, role(ALICE, false).await, role(ALICE, true).await), (200, 200, 401));
}

impl Home {
    /// A letter for elsewhere, which nobody sends here.
    fn waits(&self) -> u64 {
        self.waits_for(None, None)
    }

    fn waits_for(&self, account: Option<crate::base::AccountId>, release: Option<crate::base::Time>) -> u64 {
        let letter = queue::NewLetter {
            staged: self.house.data.blobs().stage(LetterHeader::default(), b"Subject: x\r\n\r\nx\r\n").unwrap(),
            from: Some(BEN.into()),
            account,
            utf8: false,
            eight_bit: false,
            ret_full: None,
            envid: None,
            tls: queue::Tls::Usual,
            proven: false,
            release,
            by: None,
        };
        let to = queue::NewRecipient { address: "<aunt>@far.test".into(), notify: None, orcpt: None };
        let now = self.house.clock.now();
        let put = move |txn: &mut Txn<'_>| {
            queue::enqueue(txn, &letter, std::slice::from_ref(&to), now, queue::Limits::default())
        };
        self.house.data.write_blocking(put).unwrap().value.0
    }
}

/// A thief's appointed letters do not outlast the pass phrase that was stolen, nor the account.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_leave_later_is_held_and_named_when_the_account_changes_hands() {
    let home = home(&[]);
    let run = |request| {
        let reply = verbs::run(&home.house, &request);
        assert_eq!(reply.error, None);
        reply
    };
    let ben = run(Request::AccountShow { address: BEN.into() }).json["id"].as_u64().unwrap();
    let account = crate::base::AccountId(u32::try_from(ben).unwrap());
    let later = || home.waits_for(Some(account), Some(home.house.clock.now().plus_ms(3_600_000)));
    let state = |id| verbs::run(&home.house, &Request::QueueShow { id }).json["recipients"][0]["state"].clone();
    let inbox = |address: &str| run(Request::AccountShow { address: address.into() }).json["messages"].clone();
    let (first, plain) = (later(), home.waits_for(Some(account), None));
    assert_eq!((state(first), state(plain)), ("later".into(), "waiting".into()));
    let password = Password("another river oak lantern".into());
    let reply = run(Request::AccountPassword { address: BEN.into(), password, own: true });
    assert!(reply.text.contains("are held: 1"), "{}", reply.text);
    assert_eq!((state(first), state(plain)), ("held".into(), "waiting".into()));
    assert_eq!((inbox(BEN), inbox(ALICE)), (1.into(), 0.into()), "whom ben writes to is his business");
    let second = later();
    run(Request::AccountLeave { address: BEN.into() });
    assert_eq!((state(second), inbox(BEN), inbox(ALICE)), ("held".into(), 2.into(), 1.into()));
    run(Request::AccountDelete { address: BEN.into() });
    assert_eq!((state(first), state(second), state(plain)), (Value::Null, Value::Null, "waiting".into()));
    assert_eq!(verbs::run(&home.house, &Request::Check).error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_sent_is_shown_and_handled_on_its_page_and_by_programs() {
    let home = home(&[]);
    let (alice, look, all) = (home.browser(), home.token("read"), home.token("all"));
    alice.sign_in(ALICE, PHRASE).await;
    let id = home.waits();
    let (page, of) = (format!("/admin/queue/{id}"), format!("/api/queue/{id}"));
    let list = alice.get("/admin/queue").await.body;
    assert!(
        list.contains(&page) && list.contains("&#60;aunt&#62;@far.test") && list.contains("not tried yet"),
        "{list}"
    );
    let state = || verbs::run(&home.house, &Request::QueueShow { id }).json["recipients"][0]["state"].clone();
    assert_eq!(alice.post(&page, &[("do", "hold")]).await.place, page);
    assert_eq!(state(), "held");
    let held = alice.post(&page, &[("do", "retry")]).await;
    assert!(held.status == 422 && held.body.contains("release it first"), "{}", held.body);
    assert_eq!(home.program("POST", &format!("{of}/retry"), &all, "").await.status, 409);
    assert_eq!(home.program("POST", &format!("{of}/release"), &look, "").await.status, 403);
    assert_eq!(home.program("POST", &format!("{of}/release"), &all, "").await.status, 204);
    assert_eq!(state(), "waiting");
    assert!(home.program("GET", &of, &look, "").await.body.contains("far.test"));
    assert_eq!(alice.post("/admin/queue", &[("do", "hold")]).await.place, "/admin/queue");
    assert_eq!((state().as_str(), home.waits()), (Some("held"), id + 1));

    // One that is gone by mistake does not come back.
    let sure = alice.post(&page, &[("do", "cancel")]).await;
    assert!(sure.status == 200 && sure.body.contains("Cancel this letter?"), "{}", sure.body);
    assert_eq!(alice.post("/admin/queue", &[("do", "cancel"), ("sure", "yes")]).await.status, 422);
    assert_eq!(state(), "held");
    assert_eq!(alice.post(&page, &[("do", "cancel"), ("sure", "yes")]).await.place, "/admin/queue");
    assert_eq!(alice.get(&page).await.status, 404);
    assert_eq!(alice.post(&format!("/admin/queue/{}", id + 1), &[("do", "burn")]).await.status, 422);
    assert_eq!(home.program("GET", &of, &all, "").await.status, 404);
    assert_eq!(home.program("DELETE", &format!("/api/queue/{}", id + 1), &all, "").await.status, 204);
    assert_eq!(home.program("DELETE", &format!("/api/queue/{}", id + 1), &all, "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_nothing_leaves_is_said_where_one_looks_for_it() {
    let home = home(&[]);
    let alice = home.browser();
    alice.sign_in(ALICE, PHRASE).await;
    let said = || async {
        [alice.get("/admin/queue").await, alice.get("/admin").await].map(|page| page.body.contains("Nothing leaves"))
    };
    assert_eq!(said().await, [false, false]);
    let settings = crate::settings::edit::set(home.house.folder.path(), "sending.on", false).unwrap();
    home.house.settings.store(settings.into());
    assert_eq!(said().await, [true, false], "nothing is wrong as long as nothing waits");
    let id = home.waits();
    assert_eq!(said().await, [true, true]);
    assert!(alice.get(&format!("/admin/queue/{id}")).await.body.contains("sending is switched off"));
}

/// The document is made of the same table as the routes; here it is held against what is answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_document_has_is_there_and_what_it_has_not_is_not() {
    let home = home(&[]);
    let all = home.token("all");
    let document = home.program("GET", "/api/openapi.json", "", "").await;
    let document: Value = serde_json::from_str(&document.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    for (path, here) in document["paths"].as_object().unwrap() {
        let filled = path.replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let operation = &here[method.to_ascii_lowercase()];
            // Without a token, so that nothing is done.
            let status = home.program(method, &filled, "", "").await.status;
            let expected = match (operation.is_null(), path.as_str()) {
                (true, _) => StatusCode::METHOD_NOT_ALLOWED,
                (false, "/api/openapi.json") => StatusCode::OK,
                (false, _) => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(status, expected.as_u16(), "{method} {path}");
            if !operation.is_null() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            }
        }
    }
    assert!(ids.len() > 20, "{ids:?}");
    assert_eq!(home.program("GET", "/api/people/a/b/c", &all, "").await.status, 404);
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#/").skip(1) {
        let place = part.split('"').next().unwrap();
        assert!(document.pointer(&format!("/{place}")).is_some(), "{place} is named and not there");
    }
}

/// U7, to its end: when the time has come the account goes as by `account delete`, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_kept_is_deleted_when_the_time_has_come() {
    let home = home(&[]);
    let all = home.token("all");
    let path = format!("/api/people/{BEN}");
    assert_eq!(home.program("DELETE", &path, &all, "").await.status, 200);
    assert_eq!(home.program("DELETE", &path, &all, "").await.status, 422, "already");
    verbs::delete_due(&home.house).unwrap();
    let seen: Value = serde_json::from_str(&home.program("GET", &path, &all, "").await.body).unwrap();
    let leaves: jiff::Timestamp = seen["leaves"].as_str().unwrap().parse().unwrap();
    let days = (leaves.as_second() - home.house.clock.now().seconds()) as f64 / 86_400.0;
    assert!(days > 13.9 && days < 14.1, "{days}");
    // As if it had been asked for two weeks ago.
    home.house
        .data
        .write_blocking(|txn| {
            crate::directory::manage::account::stay(txn, BEN)?;
            crate::directory::manage::account::leave(txn, BEN, crate::base::Time(0)).map_err(verbs::Error::from)
        })
        .unwrap();
    verbs::delete_due(&home.house).unwrap();
    assert_eq!(home.program("GET", &path, &all, "").await.status, 404);
    assert_eq!(verbs::run(&home.house, &Request::Check).error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_from_the_page_and_no_secret_comes_back() {
    const SECRET: &str = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyB5ZXM=";
    let home = home(&[]);
    let alice = home.browser();
    alice.sign_in(ALICE, PHRASE).await;
    let (base, domain) = ("/admin/domains/example.test/writing", "/admin/domains/example.test");
    assert!(alice.get(domain).await.body.contains(base));
    let page = alice.get(base).await;
    assert!(page.status == 200 && page.body.contains("Who keeps the DNS of your domain?"), "{}", page.body);
    assert_eq!(alice.get("/admin/domains/other.test/writing").await.status, 404);
    assert_eq!(alice.get(&format!("{base}/nobody")).await.status, 404);
    let chosen = alice.post(base, &[("do", "choose"), ("method", "rfc2136")]).await;
    assert_eq!((chosen.status, chosen.place.as_str()), (303, "/admin/domains/example.test/writing/rfc2136"));
    let form = format!("{base}/rfc2136");
    // Nobody listens there.
    let fields = [("server", "127.0.0.1:1"), ("key_name", "home"), ("algorithm", "hmac-sha256"), ("secret1", SECRET)];
    let but = |name: &'static str, value: &'static str| {
        fields.map(|(field, typed)| if field == name { (field, value) } else { (field, typed) })
    };
    for (name, value, part) in [
        ("server", "over there", "id=\"server-wrong\""),
        ("key_name", "", "id=\"key_name-wrong\""),
        ("secret1", "", "id=\"secret1-wrong\""),
        ("secret1", "no!base64", "not base64"),
    ] {
        let page = alice.post(&form, &but(name, value)).await;
        assert!(page.status == 422 && page.body.contains(part), "{name} {value}: {}", page.body);
        assert!(!page.body.contains(SECRET) && !page.body.contains("no!base64"), "{name}");
    }
    let token = alice.form_token(&form).await;
    let origin = format!("https://{HOST}");
    for (name, value) in [("server", "127.0.0.1\r\n"), ("key_name", "a\0b"), ("secret1", "a\nb")] {
        let sent = alice.submit(&form, &token, &but(name, value), &[("origin", &origin)]).await;
        assert_eq!(sent.status, 400, "M4: {name}");
    }
    assert_eq!(alice.submit(&form, &token, &fields, &[("origin", "https://evil.example")]).await.status, 403, "M1");
    assert!(!home.house.folder.path().join("dns-key.json").exists());

    let kept = alice.post(&form, &fields).await;
    assert_eq!((kept.status, kept.place.as_str()), (303, base));
    let page = loop {
        let page = alice.get(base).await.body;
        if !page.contains("<progress") {
            break page;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(page.contains("Cannot ask") && page.contains("Nothing was changed."), "{page}");
    let look = home.token("read");
    let said = [
        page,
        alice.get(&form).await.body,
        home.program("GET", "/api/dns", &look, "").await.body,
        home.program("GET", "/api/domains/example.test/writing", &look, "").await.body,
        std::fs::read_to_string(home.house.folder.path().join("settings.toml")).unwrap(),
    ];
    for said in said {
        assert!(said.contains("rfc2136") && !said.contains(SECRET), "{said}");
    }
    let set = r#"{"method":"none"}"#;
    assert_eq!(home.program("PUT", "/api/dns", &look, set).await.status, 403);
    let odd = r#"{"method":"desec","secrets":["a b"]}"#;
    assert_eq!(home.program("PUT", "/api/dns", &home.token("all"), odd).await.status, 422);
    assert_eq!(alice.post(base, &[("do", "choose"), ("method", "none")]).await.status, 303);
    assert!(!home.house.folder.path().join("dns-key.json").exists(), "by hand: the key goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_backups_says_how_it_is_and_what_to_do_next() {
    use crate::appliance::machine::Stick;
    use crate::appliance::machine::stick::State as Seen;
    let home = home(&[]);
    let alice = home.browser();
    alice.sign_in(ALICE, PHRASE).await;
    let page = async || alice.get("/admin/backup").await.body;
    let stick =
        |state| Stick { insertion: 1, name: "Acme Stick".into(), label: None, bytes: 1 << 30, writable: true, state };
    let now = home.house.clock.now().seconds();
    let keep = |state: stick::State| {
        std::fs::create_dir_all(home.house.folder.path().join("backup")).unwrap();
        let path = home.house.folder.path().join("backup/stick.json");
        std::fs::write(path, serde_json::to_vec(&state).unwrap()).unwrap();
    };

    // Nothing yet, and nothing in.
    let body = page().await;
    assert!(body.contains("… no backup yet") && body.contains("make a recovery sheet first"), "{body}");
    assert!(body.contains("Plug in a USB stick") && !body.contains("Back up now"), "{body}");
    home.machine.set_sticks(vec![stick(Seen::Foreign)]);
    let body = page().await;
    assert!(body.contains("not labelled HOMEPOST") && body.contains("Empty this stick"), "{body}");
    assert!(alice.post("/admin/backup", &[("do", "prepare")]).await.body.contains("Are you sure?"));
    assert_eq!(home.machine.acts(), [], "it has to be meant");

    // A sheet counts when two of its words were typed back.
    let made = alice.post("/admin/backup", &[("do", "sheet")]).await;
    assert_eq!((made.status, &*made.place), (303, "/admin/backup/sheet"));
    let sheet = alice.get("/admin/backup/sheet").await.body;
    let words: Vec<&str> =
        sheet.split("<li><span class=\"mono\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(words.len(), 10, "{sheet}");
    let asked = |field: &str| {
        let label = sheet.split(&format!("for=\"{field}\">Word ")).nth(1).unwrap();
        let number: usize = label.split('<').next().unwrap().parse().unwrap();
        words[number - 1]
    };
    let typed = [("first", asked("first")), ("second", asked("second")), ("phrase", "not that one")];
    let wrong = alice.post("/admin/backup/sheet", &typed).await;
    assert!(wrong.status == 422 && wrong.body.contains("That is not your pass phrase"), "{}", wrong.body);
    let wrong = [("first", "nothing"), ("second", asked("second")), ("phrase", PHRASE)];
    let wrong = alice.post("/admin/backup/sheet", &wrong).await;
    assert!(wrong.status == 422 && wrong.body.contains("That is not word"), "{} {}", wrong.status, wrong.body);
    assert!(!stick::has_sheet(&home.house.folder) && home.house.folder.recovery().unwrap().is_none());
    let typed = [("first", asked("first")), ("second", asked("second")), ("phrase", PHRASE)];
    assert_eq!(alice.post("/admin/backup/sheet", &typed).await.status, 303);
    assert!(stick::has_sheet(&home.house.folder));
    let hash = home.house.folder.recovery().unwrap().unwrap();
    assert_eq!(hash, words::sheet_hash(&words.join(" ")).to_hex().as_str(), "it replaces a pass phrase as well");
    assert_eq!(alice.get("/admin/backup/sheet").await.status, 303, "they are shown only once");

    // Fine: the stick is in.
    home.machine.set_sticks(vec![stick(Seen::Ready)]);
    let on_stick = stick::OnStick { number: 7, time: now - 60, everything: true, letters: 41 };
    let fine = stick::State {
        began: now - 7 * 86_400,
        made: Some(now - 60),
        verified: Some(now - 60),
        messages: 41,
        kept: vec![on_stick],
        ..stick::State::default()
    };
    keep(fine.clone());
    let body = page().await;
    assert!(body.contains("✓ last backup") && body.contains("everything, 41 letters"), "{body}");
    assert!(body.contains("Acme Stick") && body.contains("homepost-backup/") && body.contains("Back up now"), "{body}");

    // Old, and wrong.
    keep(stick::State { made: Some(now - 5 * 86_400), ..fine.clone() });
    home.machine.set_sticks(Vec::new());
    let body = page().await;
    assert!(body.contains("→ last backup") && body.contains("The last backup is 5 days old."), "{body}");
    keep(stick::State { problem: Some("there is no room left where the backup is to be".into()), ..fine.clone() });
    let body = page().await;
    assert!(body.contains("✕ the last one did not work") && body.contains("no room left"), "{body}");

    // Programs get the same.
    let known = home.program("GET", "/api/backup", &home.token("read"), "").await;
    let json: Value = serde_json::from_str(&known.body).unwrap();
    assert_eq!(
        (&json["state"], &json["kept"][0]["letters"], &json["sheet"]),
        (&"wrong".into(), &41.into(), &true.into())
    );
    assert_eq!(home.program("POST", "/api/backup", &home.token("read"), "").await.status, 403);
    let ben = home.browser();
    ben.sign_in(BEN, PHRASE).await;
    assert_eq!(ben.get("/admin/backup").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_kept_and_taken_away_on_their_page_and_no_password_comes_back() {
    let home = home(&[]);
    let (alice, all) = (home.browser(), home.token("all"));
    alice.sign_in(ALICE, PHRASE).await;
    let page = "/admin/sending";
    let list = || async { home.program("GET", "/api/relays", &all, "").await.body };
    assert!(alice.get(page).await.body.contains("straight to the servers of those they are for"));
    let office = |domains: &'static str, host: &'static str, secret: &'static str| {
        let user = if secret.is_empty() { "" } else { "us" };
        let known = [("form", "new"), ("do", "keep"), ("name", "office"), ("domains", domains), ("host", host)];
        [&known[..], &[("port", "465"), ("tls", "starttls"), ("user", user), ("secret", secret)]].concat()
    };
    let with = |mut fields: Vec<(&'static str, &'static str)>, name: &str, value: &'static str| {
        fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
        fields
    };
    for (fields, words) in [
        (office("x@office.test", "smtp.office.test", ""), "Type the domains"),
        (office("office.test", "smtp office", ""), "That is not the name of a server"),
        (office("office.test", "", ""), "That is not the name of a server"),
        (with(office("office.test", "a.test", ""), "name", "o/../x"), "Give it a short name"),
        (with(office("office.test", "a.test", ""), "port", "0"), "A port is a number"),
    ] {
        let seen = alice.post(page, &fields).await;
        assert!(seen.status == 422 && seen.body.contains(words), "{words}: {}", seen.body);
        assert!(seen.body.contains("<details open>"), "where it was typed");
        assert_eq!(list().await, "[]");
    }
    let fields = office("office.test .office.test", "smtp.office.test", "s3cret-phrase");
    assert_eq!(alice.post(page, &fields).await.place, page);
    let relay = &home.house.settings.load().relays[0].clone();
    assert_eq!((relay.name.as_str(), relay.relay.tls.as_str()), ("office", "starttls"));
    assert_eq!(relay.domains, ["office.test", ".office.test"]);
    let seen = alice.get(page).await.body;
    assert!(seen.contains("smtp.office.test:465") && seen.contains("has its password"), "{seen}");
    assert!(!seen.contains("s3cret") && !list().await.contains("s3cret"));
    let twice = alice.post(page, &fields).await;
    assert!(twice.body.contains("There is a relay of that name already."), "{}", twice.body);
    // The password was for that server.
    let change = [
        ("form", "for-office"),
        ("do", "keep"),
        ("domains", "office.test"),
        ("host", "other.test"),
        ("port", "465"),
        ("user", "us"),
    ];
    let other = alice.post(page, &change).await;
    assert!(other.body.contains("The password that is kept is for another server"), "{}", other.body);
    let school = r#"{"domains":["office.test"],"host":"smtp.school.test"}"#;
    let refused = home.program("PUT", "/api/relays/school", &all, school).await;
    assert!(
        refused.status == 422 && refused.body.contains("One of these domains has a relay already."),
        "{}",
        refused.body
    );
    // No name reaches a file that is not its own, and what is refused leaves nothing.
    let bound = || std::fs::read_to_string(home.house.folder.path().join("relay-password-office.for")).unwrap();
    let before = bound();
    let long = "x".repeat(33);
    for name in ["office.for", "x%2F..%2Fy", &long] {
        let evil = r#"{"domains":["zz.test"],"host":"x.test","user":"u","password":"evil.test:465"}"#;
        let refused = home.program("PUT", &format!("/api/relays/{name}"), &all, evil).await;
        assert!(refused.status == 422 && refused.body.contains("Give it a short name"), "{name}: {}", refused.body);
    }
    for body in [
        r#"{"domains":["b.test"],"host":"b.test","tls":"ssl","user":"u","password":"x"}"#,
        r#"{"domains":["b.test"],"host":"b.test","port":0,"user":"u","password":"x"}"#,
        r#"{"domains":["b.test"],"host":".","user":"u","password":"x"}"#,
        r#"{"domains":[],"host":"b.test","user":"u","password":"x"}"#,
    ] {
        assert_eq!(home.program("PUT", "/api/relays/office", &all, body).await.status, 422, "{body}");
    }
    assert_eq!((bound(), home.house.settings.load().relays[0].clone()), (before.clone(), relay.clone()));
    // Where the settings cannot be written the password stays with the server that it was given for.
    let (folder, secret) = (home.house.folder.path(), "relay-password-office");
    std::fs::create_dir(folder.join("settings.toml.new")).unwrap();
    let moved = r#"{"domains":["office.test"],"host":"b.test","user":"u","password":"another"}"#;
    assert_eq!(home.program("PUT", "/api/relays/office", &all, moved).await.status, 422);
    assert_eq!(
        (bound(), std::fs::read_to_string(folder.join(secret)).unwrap()),
        (before.clone(), "s3cret-phrase".into())
    );
    std::fs::remove_dir(folder.join("settings.toml.new")).unwrap();
    // A domain named twice is one; a server that asks for no log-in gets no password.
    let open = r#"{"domains":["office.test","OFFICE.test"],"host":"open.test"}"#;
    assert_eq!(home.program("PUT", "/api/relays/office", &all, open).await.status, 204);
    assert_eq!(home.house.settings.load().relays[0].domains, ["office.test"]);
    assert!(!home.house.folder.path().join("relay-password-office").exists());
    let everything = r#"{"host":"smtp.relay.test","spf":"include:_spf.relay.test"}"#;
    assert_eq!(home.program("PUT", "/api/relay", &all, everything).await.status, 204);
    assert!(alice.get(page).await.body.contains("Letters leave through a relay."));
    assert_eq!(home.house.settings.load().relay.host, "smtp.relay.test");
    assert_eq!(alice.post(page, &[("form", "all"), ("do", "remove")]).await.place, page);
    assert_eq!(alice.post(page, &[("form", "for-office"), ("do", "remove")]).await.place, page);
    assert_eq!(list().await, "[]");
    let left = std::fs::read_dir(home.house.folder.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("relay-password")), "{left:?}");
    let text = std::fs::read_to_string(home.house.folder.path().join("settings.toml")).unwrap();
    assert!(!text.contains("\n[relays.office]") && !text.contains("s3cret"), "{text}");
    assert_eq!(home.program("PUT", "/api/relays/office", &all, r#"{"host":""}"#).await.status, 404);
}
