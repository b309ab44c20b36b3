//! Reads every letter of `tests/fixtures/message`, and of the folder that HOMEPOST_CORPUS names (any depth; `make test`
//! gives it the mail it fetches): nothing panics, all places fit together, what is stored reads back.

use std::path::{Path, PathBuf};

use homepost::message::{Limits, Needle, Section, Structure, date, decode, header, parse, thread_keys};

fn letters(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                out.push(entry.path());
            }
        }
    }
    out.sort();
    out
}

fn check(letter: &[u8], name: &str) {
    let message = match parse(letter, &Limits::default()) {
        Ok(message) => message,
        Err(refused) => panic!("{name}: {refused}"),
    };
    message.check().unwrap_or_else(|why| panic!("{name}: {why}"));
    let stored = message.encode();
    assert!(stored.len() < letter.len() + 200, "{name}: the structure is larger than the letter");
    let structure = Structure::decode(&stored).unwrap();
    assert_eq!(structure.summary, message.summary, "{name}");
    assert_eq!(structure.envelope().unwrap(), message.envelope, "{name}");
    assert_eq!(structure.body().unwrap(), message.body, "{name}");
    assert_eq!(header::end(letter) as u64, message.summary.header_bytes, "{name}");
    assert_eq!(structure.section(&[], Section::Whole).unwrap(), Some(0..letter.len() as u64), "{name}");
    assert!(structure.section(&[1], Section::Whole).unwrap().is_some(), "{name}");

    let head = &letter[..header::end(letter)];
    let fields = header::fields(head).map(|field| field.raw.len()).sum::<usize>();
    assert!(fields <= head.len(), "{name}");
    let none: [&str; 0] = [];
    assert_eq!(header::only(head, &none), b"\r\n", "{name}");
    assert_eq!(header::fields(&header::without(head, &none)).count(), header::fields(head).count(), "{name}");
    if let Some(sent) = message.summary.sent {
        assert_eq!(date::parse_imap(date::imap(sent).as_bytes()).map(|date| date.day()), Some(sent.day()), "{name}");
    }
    let _ = thread_keys(head);
    for (_, part) in message.body.walk() {
        if let Some(text) = decode::text(letter, part) {
            let word: String = text.split_whitespace().next().unwrap_or_default().chars().take(20).collect();
            assert!(Needle::new(&word).in_text(letter, &message.body), "{name}: {word}");
        }
    }
}

#[test]
fn every_letter_reads_and_its_structure_reads_back() {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/message"))];
    folders.extend(std::env::var_os("HOMEPOST_CORPUS").map(PathBuf::from));
    let mut count = 0;
    for path in folders.iter().flat_map(|folder| letters(folder)) {
        let letter = std::fs::read(&path).unwrap();
        check(&letter, &path.display().to_string());
        // The same with every line end the other way.
        let text: Vec<u8> = letter.iter().copied().filter(|b| *b != b'\r').collect();
        check(&text, &format!("{} with bare line feeds", path.display()));
        count += 1;
    }
    assert!(count >= 5, "{count} letters read");
}
