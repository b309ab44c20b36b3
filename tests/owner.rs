//! What an owner may count on beyond the single verbs: a settings file edited by hand, certificates that change, output
//! that scripts can rely on, and secrets that show nowhere.

mod home;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

use home::tls::{self, Lines};
use home::*;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

/// A letter from elsewhere, over port 25 in the clear.
fn deliver(server: &Server, to: &str) {
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
    say("MAIL FROM:<bob@there.test>\r\n", "250");
    say(&format!("RCPT TO:<{to}>\r\n"), "250");
    say("DATA\r\n", "354");
    say("Subject: letter\r\n\r\ntext\r\n.\r\n", "250");
    say("QUIT\r\n", "221");
}

#[test]
fn a_settings_file_keeps_its_comments_and_a_mistake_in_it_names_its_line() {
    let home = Home::set_up();
    let file = home.data().join("settings.toml");
    let made = fs::read_to_string(&file).unwrap();
    let own = made.replacen("hostname", "# Written by hand: ask Bob before this changes.\nhostname", 1);
    assert_ne!(own, made);
    fs::write(&file, &own).unwrap();
    home.ok("listeners on imap");
    let after = fs::read_to_string(&file).unwrap();
    let changed: Vec<_> = own.lines().zip(after.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(changed.len(), 1, "one line changes: {changed:?}");
    assert!(changed[0].0.contains("on = false") && changed[0].1.contains("on = true"), "{changed:?}");
    assert_eq!(own.lines().count(), after.lines().count());

    let mistaken = after.replacen("# message_size = ", "mesage_size = ", 1);
    let line = 1 + mistaken.lines().position(|line| line.starts_with("mesage_size")).unwrap();
    fs::write(&file, &mistaken).unwrap();
    let said = format!("settings.toml line {line}: `limits.smtp.mesage_size` is not a setting; did you mean");
    let serve = format!("serve --bind 127.0.0.1 --port-offset {}", free_offset());
    for args in ["account list", "listeners off imap", &serve] {
        let error = home.fails(args);
        assert!(error.contains(&said) && error.contains("`limits.smtp.message_size`"), "{args}: {error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), mistaken, "nothing is changed in a file that is not understood");

    // A server that runs says the same in its log, and goes on with what it had.
    fs::write(&file, &after).unwrap();
    let server = home.serve().ready();
    fs::write(&file, &mistaken).unwrap();
    server.signal("-HUP");
    server.logged(&said);
    assert!(home.fails("listeners off imap").contains(&said));
    server.connect(143).unwrap();
    fs::write(&file, &after).unwrap();
    home.ok("listeners off imap");
    assert!(server.connect(143).is_err());
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_limit_that_is_changed_holds_for_who_comes_after_the_reload() {
    let home = Home::set_up();
    let server = home.serve().ready();
    let size = |server: &Server| {
        let mut smtp = BufReader::new(server.connect(25).unwrap());
        smtp.get_mut().write_all(b"EHLO there.test\r\n").unwrap();
        let mut lines = smtp.lines().map(Result::unwrap);
        lines.find(|line| line.contains("SIZE ")).unwrap()
    };
    assert!(size(&server).ends_with("SIZE 52428800"));
    let file = home.data().join("settings.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("# message_size = \"50 MiB\"", "message_size = \"1 MiB\"", 1)).unwrap();
    server.signal("-HUP");
    server.logged("reloaded");
    assert!(size(&server).ends_with("SIZE 1048576"));
    assert_eq!(server.end(), Some(0));
}

fn reads_mail(server: &Server, config: &Arc<ClientConfig>) -> Lines {
    let mut lines = Lines::new(server.connect(993).unwrap(), config);
    assert!(lines.line().starts_with("* OK"));
    lines
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_a_new_certificate_drops_no_connection() {
    let home = Home::set_up();
    let other = Home::set_up();
    let server = home.serve().ready();
    let (old, new) = (tls::config(&[&TLS12]), tls::config(&[&TLS13]));
    let mut standing = [reads_mail(&server, &old), reads_mail(&server, &new)];
    assert_eq!([standing[0].version(), standing[1].version()], ["TLSv1_2", "TLSv1_3"]);
    let first = standing[0].certificate();
    assert_eq!(standing[1].certificate(), first);

    // One that cannot be used changes nothing.
    let pair = ["cert.pem", "key.pem"];
    let here = |name: &str| home.data().join("tls").join(name);
    let kept = fs::read(here("key.pem")).unwrap();
    fs::copy(other.data().join("tls/key.pem"), here("key.pem")).unwrap();
    server.signal("-HUP");
    server.logged("the certificate stays as it is");
    assert_eq!(reads_mail(&server, &new).certificate(), first);
    fs::write(here("key.pem"), kept).unwrap();

    for name in pair {
        fs::copy(other.data().join("tls").join(name), here(name)).unwrap();
    }
    server.signal("-HUP");
    let second = loop {
        let second = reads_mail(&server, &new).certificate();
        if second != first {
            break second;
        }
    };
    assert_eq!(reads_mail(&server, &old).certificate(), second);
    let mut submissions = Lines::new(server.connect(465).unwrap(), &new);
    assert!(submissions.line().starts_with("220"));
    assert_eq!(submissions.certificate(), second);
    for lines in &mut standing {
        let heard = lines.ask(&format!("a LOGIN alice@example.test \"{PASSWORD}\""), "a ");
        assert!(heard.contains("a OK"), "{heard}");
        assert!(lines.ask("b SELECT INBOX", "b ").contains("b OK"));
        assert_eq!(lines.certificate(), first);
    }
    assert_eq!(server.end(), Some(0));
}

/// The names in an object, or in the first object of a list, in the order of the alphabet.
fn names(value: &Value) -> Vec<&str> {
    let object = value.as_array().map_or(value, |all| &all[0]);
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Scripts read this: a name may be added, none may go or change what it means.
#[test]
fn json_is_what_scripts_were_promised() {
    let home = Home::empty();
    let json = |args: &str| {
        let out = home.run_with(&format!("{args} --json"), PASSWORD);
        assert!(out.status.success(), "{args}: {}", err(&out));
        serde_json::from_slice::<Value>(&out.stdout).unwrap()
    };
    assert_eq!(
        json("init --hostname mail.example.test --domain example.test --admin alice@example.test --password-stdin"),
        json!({ "hostname": "mail.example.test", "domain": "example.test", "admin": "alice@example.test" })
    );
    assert_eq!(json("domain add Other.test"), json!({ "domain": "other.test" }));
    assert_eq!(json("domain list"), json!([{ "domain": "example.test" }, { "domain": "other.test" }]));
    let bob = json!({ "address": "bob@other.test" });
    assert_eq!(json("account add bob@other.test --password-stdin --name Bob --quota 1MiB"), bob);
    assert_eq!(json("account password bob@other.test --password-stdin"), bob);
    let mut shown = json("account show bob@other.test");
    assert!(shown["created"].as_i64().is_some_and(|seconds| seconds > 1_700_000_000), "{shown}");
    shown["created"] = Value::Null;
    assert_eq!(
        shown,
        json!({
            "id": 2, "address": "bob@other.test", "name": "Bob", "quota": 1 << 20, "administrator": false,
            "disabled": false, "created": null, "messages": 0, "bytes": 0,
            "has-password": true, "invited-until": null, "leaves": null, "stopped": null,
        })
    );
    let all = json("account list");
    assert_eq!((names(&all), all.as_array().unwrap().len()), (names(&shown), 2));
    assert_eq!(json("account quota bob@other.test none"), json!({ "address": "bob@other.test", "quota": null }));
    let away = json!({ "alias": "away@other.test", "targets": ["carol@far.test"] });
    assert_eq!(json("alias add away@other.test carol@far.test"), away);
    assert_eq!(json("alias list"), json!([away]));

    assert_eq!(json("listeners on imap"), json!({ "name": "imap", "port": 143, "on": true }));
    let listeners = json("listeners");
    let listener = |name: &str, port: u16, on: bool| json!({ "name": name, "port": port, "on": on });
    assert_eq!(
        listeners,
        json!([
            listener("smtp", 25, true),
            listener("submissions", 465, true),
            listener("submission", 587, false),
            listener("imaps", 993, true),
            listener("imap", 143, true),
            listener("https", 443, true),
        ])
    );

    assert_eq!(json("queue list"), json!([]));
    let server = home.serve().ready();
    deliver(&server, "away@other.test");
    let queue = json("queue list");
    assert_eq!(names(&queue), ["account", "from", "id", "queued", "recipients", "size"]);
    assert_eq!(names(&queue[0]["recipients"]), ["address", "attempts", "due", "last", "state"]);
    assert_eq!(queue[0]["from"], "bob@there.test");
    assert_eq!(queue[0]["recipients"][0]["address"], "carol@far.test");
    assert_eq!(queue[0]["recipients"][0]["state"], "waiting");
    assert_eq!(json("check"), json!({ "accounts": 2, "findings": [] }));
    assert_eq!(server.end(), Some(0));

    assert_eq!(json("alias delete away@other.test"), json!({ "alias": "away@other.test" }));
    assert_eq!(json("account delete bob@other.test"), bob);
    assert_eq!(json("domain delete other.test"), json!({ "domain": "other.test" }));
    let salvaged = json("check --salvage");
    assert_eq!(names(&salvaged), ["accounts", "damaged", "kept", "letters", "unowned"]);

    // What fails says so in words on stderr, and nothing that could be taken for a result.
    let out = home.run("account show nobody@example.test --json");
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(1), b"".as_slice()));
}

/// U2, V2: no output, log line or settings file holds a password, what is kept of it, or a key; not at the chattiest
/// level, not of log-ins that fail.
#[test]
fn secrets_show_nowhere() {
    const FIRST: &str = "Zebra-Quartz-88";
    const SECOND: &str = "Yonder-Violin-77";
    const GUESS: &str = "Wrong-Walrus-66";
    let mut home = Home::empty();
    home.level = Some("trace");
    let mut seen = String::new();
    let mut run = |args: &str, input: &str, code: i32| {
        let out = home.run_with(args, input);
        assert_eq!(out.status.code(), Some(code), "{args}: {}", err(&out));
        seen.push_str(&format!("{args}\n{}{}", String::from_utf8_lossy(&out.stdout), err(&out)));
    };
    run(
        "init --hostname mail.example.test --domain example.test --admin alice@example.test --password-stdin",
        FIRST,
        0,
    );
    let server = home.serve().ready();
    run("account add bob@example.test --password-stdin --json", FIRST, 0);
    run("account password bob@example.test --password-stdin", SECOND, 0);
    run("account add alice@example.test --password-stdin", GUESS, 1);
    run("account add carol@nowhere.test --password-stdin --json", GUESS, 1);
    run("account password nobody@example.test --password-stdin", GUESS, 1);
    for args in ["account list", "account show bob@example.test", "listeners", "check", "queue list", "domain list"] {
        run(args, "", 0);
        run(&format!("{args} --json"), "", 0);
    }
    let plain = |user: &str, password: &str| homepost::proto::sasl::encode(format!("\0{user}\0{password}").as_bytes());
    let config = tls::config(rustls::ALL_VERSIONS);
    let mut imap = reads_mail(&server, &config);
    assert!(imap.ask(&format!("a LOGIN alice@example.test {GUESS}"), "a ").contains("a NO"));
    assert!(imap.ask(&format!("a LOGIN alice@example.test {GUESS} x"), "a ").contains("a BAD"));
    assert!(imap.ask(&format!("a AUTHENTICATE PLAIN {}", plain("alice@example.test", FIRST)), "a ").contains("a OK"));
    let mut imap = reads_mail(&server, &config);
    assert!(imap.ask(&format!("a LOGIN bob@example.test {SECOND}"), "a ").contains("a OK"));
    let mut smtp = Lines::new(server.connect(465).unwrap(), &config);
    smtp.ask("EHLO x.test", "250 ");
    assert!(smtp.ask(&format!("AUTH PLAIN {}", plain("bob@example.test", GUESS)), "535").contains("535"));
    assert!(smtp.ask(&format!("AUTH PLAIN {}", plain("bob@example.test", SECOND)), "235").contains("235"));
    assert_eq!(server.end(), Some(0));
    let log = fs::read_to_string(home.dir.path().join("log")).unwrap();
    assert!(log.contains("TRACE") && log.contains("submissions"), "it is chatty, and these sessions are in it: {log}");
    seen.push_str(&log);
    seen.push_str(&fs::read_to_string(home.data().join("settings.toml")).unwrap());

    // What is kept of the passwords, as it lies on the disk: so the right thing is looked for.
    let mut kept = Vec::new();
    for entry in fs::read_dir(home.data().join("store")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let text: String = bytes.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { ' ' }).collect();
        let words = text.split(' ').filter_map(|word| word.find("$argon2id$").map(|at| word[at..].to_owned()));
        kept.extend(words);
    }
    assert!(kept.len() >= 2, "{kept:?}");
    let hash = |phc: &String| phc.rsplit('$').next().unwrap().chars().take(40).collect::<String>();
    let key = fs::read_to_string(home.data().join("tls/key.pem")).unwrap();
    let key = key.lines().nth(1).unwrap().to_owned();
    assert!(key.len() > 20, "{key}");
    let mut secrets = vec![FIRST.to_owned(), SECOND.to_owned(), GUESS.to_owned(), "argon2id".to_owned(), key];
    secrets.extend(kept.iter().map(hash));
    for password in [FIRST, SECOND, GUESS] {
        secrets.extend(["alice@example.test", "bob@example.test"].map(|user| plain(user, password)));
        secrets.push(homepost::proto::sasl::encode(password.as_bytes()));
    }
    secrets.push("PRIVATE KEY".to_owned());
    for secret in &secrets {
        assert!(secret.len() >= 8, "{secret} would be found anywhere");
        let at = seen.find(secret.as_str());
        assert!(at.is_none(), "{secret} shows: …{}", &seen[at.unwrap().saturating_sub(200)..][..250]);
    }
}
