//! The command line, as an owner or a script sees it: exit status, words, files and their modes, with a server and without.

mod home;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use home::*;
use serde_json::Value;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_file_sets_up_what_the_words_would_and_its_mistakes_are_said() {
    let home = Home::empty();
    let file = "hostname = 'mail.example.test'\ndomain = 'example.test'\nadmin = 'alice@example.test'";
    let out = home.run_with("init --from -", &format!("{file}\npasword = '{PASSWORD}'"));
    assert_eq!(out.status.code(), Some(1));
    assert!(err(&out).contains("pasword") && !err(&out).contains(PASSWORD), "{}", err(&out));
    let out = home.run_with("init --from -", &format!("{file}\npassword = '{PASSWORD}'"));
    assert!(out.status.success(), "{}", err(&out));
    let path = home.dir.path().join("homepost.toml");
    fs::write(&path, format!("{file}\npassword = '{PASSWORD}'\n")).unwrap();
    assert!(home.fails(&format!("init --from {}", path.display())).contains("set up already"));
    assert!(home.ok("account list").contains("alice@example.test"));
    assert!(!home.data().join("setup").exists(), "nothing is left of the set-up");
    // The power went behind the last step, before its own state was put away: who gave the file hears that it was taken.
    fs::create_dir(home.data().join("setup")).unwrap();
    let state = r#"{"version": 1, "code": "D9YLPA7F", "changed": 0, "wrong": 0, "language": null, "zone": null, "coded": true,
        "origin": "new", "admin": {"name": "", "address": "alice@example.test", "sheet": "", "confirmed": false}, "line": null,
        "existing": null, "domain": null, "records": [], "advice": [], "looked": null, "letter": null, "people": [],
        "later": [], "asked": [], "trouble": {}, "finished": true}"#;
    fs::write(home.data().join("setup/state.json"), state).unwrap();
    assert!(home.ok(&format!("init --from {}", path.display())).contains("is set up"));
    assert!(!home.data().join("setup").exists(), "the state of a finished set-up stays");
    home.ok("check");
}

#[test]
fn usage_that_is_not_understood_is_status_2() {
    let home = Home::empty();
    for args in ["", "fly", "account add a@example.test", "init --hostname x", "listeners up imap"] {
        let out = home.run(args);
        assert_eq!(out.status.code(), Some(2), "{args}: {out:?}");
        assert!(out.stdout.is_empty());
    }
    let none = Command::new(env!("CARGO_BIN_EXE_homepost")).arg("check").env_remove("HOMEPOST_DATA").output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(err(&none).contains("--data"));
    let version = Command::new(env!("CARGO_BIN_EXE_homepost")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("homepost {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_not_set_up_says_so() {
    let home = Home::empty();
    assert!(home.fails("account list").contains("does not exist"));
    fs::create_dir(home.data()).unwrap();
    assert!(home.fails("account list").contains("homepost init"));
}

#[test]
fn init_looks_at_everything_before_it_makes_anything() {
    let home = Home::empty();
    let init = |args: &str, password: &str| {
        let out = home.run_with(&format!("init --password-stdin {args}"), password);
        assert_eq!(out.status.code(), Some(1), "{args}: {out:?}");
        assert!(!home.data().join("settings.toml").exists());
        assert!(!home.data().join("store").exists());
        err(&out)
    };
    init("--hostname mail --domain example.test --admin alice@example.test", PASSWORD);
    init("--hostname mail.example.test --domain ex..test --admin alice@example.test", PASSWORD);
    init("--hostname mail.example.test --domain example.test --admin alice", PASSWORD);
    let other = init("--hostname mail.example.test --domain example.test --admin alice@other.test", PASSWORD);
    assert!(other.contains("example.test"), "{other}");
    init("--hostname mail.example.test --domain example.test --admin alice@example.test", "short");
    init("--hostname mail.example.test --domain example.test --admin alice@example.test", "");
    let out = home.init();
    assert!(out.status.success(), "{}", err(&out));
    assert!(err(&home.init()).contains("already"));
}

/// V2: everything in the folder is the owner's alone, whatever the umask was.
#[test]
fn nobody_else_can_read_the_folder() {
    let home = Home::set_up();
    let server = home.serve().ready();
    assert_eq!(mode(&home.data()), 0o700);
    let mut folders = vec![home.data()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_dir = path.is_dir();
            assert_eq!(mode(&path), if is_dir { 0o700 } else { 0o600 }, "{}", path.display());
            seen += 1;
            if is_dir {
                folders.push(path);
            }
        }
    }
    assert!(seen > 7, "{seen}");
    assert_eq!(server.end(), Some(0));
}

/// Every verb does the same through the socket of a server and by itself.
#[test]
fn verbs_work_with_a_server_and_without() {
    let home = Home::set_up();
    verbs(&home);
    let server = home.serve().ready();
    verbs(&home);
    assert_eq!(server.end(), Some(0));
    assert!(!home.data().join("control.sock").exists());
    assert!(home.ok("check").contains("well"));
}

fn verbs(home: &Home) {
    home.ok("domain add other.test");
    assert_eq!(home.ok("domain list"), "example.test\nother.test\n");
    assert!(home.fails("domain add other.test").contains("exists already"));

    let added = home.run_with("account add bob@other.test --password-stdin --name Bob --quota 5GiB", "tr0ub4dor & 3");
    assert!(added.status.success(), "{}", err(&added));
    assert!(home.fails("account add bob@other.test --password-stdin").contains("exists already"));
    assert!(home.fails("account add bob@nowhere.test --password-stdin").contains("nowhere.test"));
    let all = home.json("account list");
    assert_eq!(all[0]["address"], "alice@example.test");
    assert_eq!(all[0]["administrator"], true);
    assert_eq!(all[1]["quota"], 5_u64 << 30);
    assert!(home.ok("account list").contains("bob@other.test"));
    let bob = home.json("account show bob@other.test");
    assert_eq!((&bob["name"], &bob["messages"]), (&Value::from("Bob"), &Value::from(0)));
    assert!(!bob.to_string().contains("argon2"), "V2");

    // Who is invited has no password before the link was used; who is to be deleted later can be kept.
    let invited = home.json("account invite carol@other.test --name Carol");
    let link = invited["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with("https://mail.example.test/invitation/") && link.len() > 70, "{link}");
    let carol = home.json("account show carol@other.test");
    assert_eq!((&carol["has-password"], carol["invited-until"].is_string()), (&Value::from(false), true));
    assert!(!carol.to_string().contains(link.rsplit('/').next().unwrap()), "V2");
    assert!(home.fails("account administrator carol@other.test yes").contains("nobody can log in"));
    assert_ne!(home.json("account link carol@other.test")["link"], link.as_str());
    home.ok("account delete carol@other.test --later");
    assert!(home.ok("account list").contains("to be deleted on"));
    assert!(home.json("account show carol@other.test")["leaves"].is_string());
    assert!(home.fails("account link carol@other.test").contains("may not log in"));
    home.ok("account keep carol@other.test");
    assert!(home.fails("account keep carol@other.test").contains("is not to be deleted"));
    home.ok("account administrator bob@other.test yes");
    home.ok("account administrator bob@other.test no");
    assert!(home.fails("account administrator alice@example.test no").contains("only administrator"));
    home.ok("account delete carol@other.test");
    assert_eq!(home.json("token list"), Value::Array(Vec::new()));
    assert!(home.fails("token delete 7").contains("no token 7"));
    let problems = home.ok("problems");
    assert!(problems.contains("example.test have not been looked at"), "{problems}");
    home.ok("account quota bob@other.test none");
    assert_eq!(home.json("account show bob@other.test")["quota"], Value::Null);
    let changed = home.run_with("account password bob@other.test --password-stdin", "a new and good one");
    assert!(changed.status.success(), "{}", err(&changed));
    assert!(home.fails("account password carol@other.test --password-stdin").contains("carol@other.test"));

    home.ok("alias add sales@other.test bob@other.test alice@example.test");
    let aliases = home.json("alias list");
    assert_eq!(aliases[0]["alias"], "sales@other.test");
    assert_eq!(aliases[0]["targets"].as_array().unwrap().len(), 2);
    assert!(home.fails("domain delete other.test").contains("other.test"));
    home.ok("alias delete sales@other.test");
    assert!(home.fails("alias delete sales@other.test").contains("sales@other.test"));

    assert!(home.ok("check").contains("2 accounts"));
    assert_eq!(home.json("check")["findings"], Value::Array(Vec::new()));
    home.ok("account delete bob@other.test");
    assert!(home.fails("account show bob@other.test").contains("bob@other.test"));
    home.ok("domain delete other.test");
    assert_eq!(home.ok("domain list"), "example.test\n");
    assert!(home.fails("listeners on imapz").contains("imaps"));
}

#[test]
fn the_folder_may_come_from_the_environment() {
    let home = Home::set_up();
    let mut command = Command::new(env!("CARGO_BIN_EXE_homepost"));
    let out = command.args(["domain", "list"]).env("HOMEPOST_DATA", home.data()).output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "example.test\n");
}

/// V4, and the switch of a listener while others' connections stand.
#[test]
fn ports_open_and_close_while_the_server_runs() {
    let home = Home::set_up();
    let ready = home.data().join("ready");
    let server = home.serve().ready();
    assert!(ready.exists());
    server.connect(993).unwrap();
    assert!(server.connect(143).is_err());
    home.ok("listeners on imap");
    let stands = server.connect(143).unwrap();
    let mut greeting = String::new();
    let mut stands = BufReader::new(stands);
    stands.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("* OK"), "{greeting}");
    home.ok("listeners off imap");
    assert!(server.connect(143).is_err());
    let imap = home.json("listeners").as_array().unwrap().iter().find(|one| one["name"] == "imap").cloned().unwrap();
    assert_eq!(imap["on"], false);
    // The connection that stands is none of its business.
    stands.get_mut().write_all(b"a noop\r\n").unwrap();
    let mut reply = String::new();
    stands.read_line(&mut reply).unwrap();
    assert!(reply.starts_with("a OK"), "{reply}");
    server.signal("-TERM");
    let mut rest = String::new();
    stands.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("* BYE"), "{rest}");
    assert_eq!(server.end(), Some(0));
    assert!(!ready.exists());
}

/// SIGHUP reads the file again; one with a mistake changes nothing.
#[test]
fn a_hangup_reloads() {
    let home = Home::set_up();
    let server = home.serve().ready();
    let file = home.data().join("settings.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}\nnonsense = 1\n")).unwrap();
    server.signal("-HUP");
    home.ok("domain list"); // still there
    fs::write(&file, before.replacen("port = 993", "port = 994", 1)).unwrap();
    server.signal("-HUP");
    // The signal has no reply, so what it does is waited for; a server that does nothing ends this by its test's time-out.
    while server.connect(994).is_err() {
        std::thread::yield_now();
    }
    assert!(server.connect(993).is_err());
    assert_eq!(server.end(), Some(0));
}

#[test]
fn an_empty_folder_opens_no_port_and_waits_for_its_set_up() {
    let home = Home::empty();
    let mut server = home.serve();
    assert!(server.line().contains("no mail port is open"));
    assert!(server.line().contains("homepost init"));
    assert!(server.connect(993).is_err());
    assert!(!home.data().join("ready").exists());
    assert!(home.fails("account list").contains("homepost init"));
    let out = home.init();
    assert!(out.status.success(), "{}", err(&out));
    let server = server.until_ready();
    server.connect(993).unwrap();
    assert_eq!(home.json("account list").as_array().unwrap().len(), 1);
    assert!(err(&home.init()).contains("already"));
    assert_eq!(server.end(), Some(0));

    let home = Home::empty();
    let mut waiting = home.serve();
    waiting.line();
    assert_eq!(waiting.end(), Some(0), "it ends cleanly before its set-up too");
}

/// V1.
#[test]
fn a_second_server_is_turned_away_and_a_killed_one_leaves_no_lock() {
    let home = Home::set_up();
    let mut first = home.serve().ready();
    let second = home.run(&format!("serve --bind 127.0.0.1 --port-offset {}", free_offset()));
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains("another homepost"), "{}", err(&second));
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(home.ok("domain list"), "example.test\n");
    let again = home.serve().ready();
    assert_eq!(again.end(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = Home::set_up();
    let offset = free_offset();
    let taken: Vec<_> =
        [25, 443, 465, 993].iter().map(|port| TcpListener::bind(("127.0.0.1", port + offset)).unwrap()).collect();
    let out = home.run(&format!("serve --bind 127.0.0.1 --port-offset {offset}"));
    assert_eq!(out.status.code(), Some(1));
    assert!(err(&out).contains(&(993 + offset).to_string()), "{}", err(&out));
    drop(taken);
}

#[test]
fn a_lost_certificate_does_not_keep_the_server_from_starting() {
    let home = Home::set_up();
    fs::remove_dir_all(home.data().join("tls")).unwrap();
    let server = home.serve().ready();
    server.connect(993).unwrap();
    assert!(home.data().join("tls/cert.pem").exists());
    assert_eq!(server.end(), Some(0));
    fs::write(home.data().join("tls/key.pem"), "junk").unwrap();
    let server = home.serve().ready();
    server.connect(993).unwrap();
    assert_eq!(server.end(), Some(0));
}

/// The letters come back under their accounts, which can log in as before; the old stores are kept.
#[test]
fn salvage_brings_people_and_letters_back_when_the_index_is_lost() {
    let home = Home::set_up();
    let server = home.serve().ready();
    let mut smtp = BufReader::new(server.connect(25).unwrap());
    let mut say = |words: &str, code: &str| {
        smtp.get_mut().write_all(words.as_bytes()).unwrap();
        let mut line = String::new();
        while line.as_bytes().get(3) != Some(&b' ') {
            line.clear();
            smtp.read_line(&mut line).unwrap();
        }
        assert!(line.starts_with(code), "{words}: {line}");
    };
    say("", "220");
    say("EHLO there.test\r\n", "250");
    for n in 0..3 {
        say("MAIL FROM:<bob@there.test>\r\n", "250");
        say("RCPT TO:<alice@example.test>\r\n", "250");
        say("DATA\r\n", "354");
        say(&format!("Subject: letter {n}\r\n\r\ntext\r\n.\r\n"), "250");
    }
    assert!(home.fails("check --salvage").contains("stop the server"));
    assert_eq!(server.end(), Some(0));

    fs::remove_file(home.data().join("store/rows.redb")).unwrap();
    assert!(home.fails("account list").contains("--salvage"));
    let out = home.ok("check --salvage");
    assert!(out.starts_with("3 letters of 1 accounts"), "{out}");
    assert!(home.data().join("store.old-1").is_dir());
    assert!(!home.data().join("store.new").exists());
    assert!(home.ok("check").contains("well"));
    let shown = home.ok("account show alice@example.test");
    assert!(shown.contains("messages   3") && shown.contains("Recovered"), "{shown}");
    let server = home.serve().ready();
    assert_eq!(server.end(), Some(0));
}
