//! Each fuzz target over its corpus: what was found once is not found again. (`make fuzz` looks for more.)

use std::fs;
use std::path::Path;

#[path = "fuzz/bodies/imap.rs"]
mod imap;
#[path = "fuzz/bodies/message.rs"]
mod message;
#[path = "fuzz/bodies/smtp.rs"]
mod smtp;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    assert!(!names.is_empty(), "{} is empty", folder.display());
    for name in names {
        println!("{}", name.display());
        run(&fs::read(&name).expect("a readable file"));
    }
}

#[test]
fn imap_answers_its_corpus() {
    replay("imap", imap::run);
}

#[test]
fn message_reads_its_corpus() {
    replay("message", message::run);
}

#[test]
fn smtp_answers_its_corpus() {
    replay("smtp", smtp::run);
}
