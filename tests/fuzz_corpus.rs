//! Each fuzz target over its corpus: what was found once is not found again. (`make fuzz` looks for more.)

use std::fs;
use std::panic;
use std::path::Path;

#[path = "fuzz/bodies/dns.rs"]
mod dns;
#[path = "fuzz/bodies/form.rs"]
mod form;
#[path = "fuzz/bodies/imap.rs"]
mod imap;
#[path = "fuzz/bodies/mailauth.rs"]
mod mailauth;
#[path = "fuzz/bodies/message.rs"]
mod message;
#[path = "fuzz/bodies/notice.rs"]
mod notice;
#[path = "fuzz/bodies/replies.rs"]
mod replies;
#[path = "fuzz/bodies/reports.rs"]
mod reports;
#[path = "fuzz/bodies/segments.rs"]
mod segments;
#[path = "fuzz/bodies/smtp.rs"]
mod smtp;
#[path = "fuzz/bodies/stored.rs"]
mod stored;
#[path = "fuzz/bodies/xml.rs"]
mod xml;
#[path = "fuzz/bodies/zone.rs"]
mod zone;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    assert!(!names.is_empty(), "{} is empty", folder.display());
    names.retain(|name| {
        let input = fs::read(name).expect("a readable file");
        panic::catch_unwind(|| run(&input)).is_err()
    });
    assert!(names.is_empty(), "these fail: {names:?}");
}

#[test]
fn imap_answers_its_corpus() {
    replay("imap", imap::run);
}

#[test]
fn mailauth_understands_its_corpus() {
    replay("mailauth", mailauth::run);
}

#[test]
fn message_reads_its_corpus() {
    replay("message", message::run);
}

#[test]
fn notices_of_the_corpus_are_letters() {
    replay("notice", notice::run);
}

#[test]
fn replies_are_understood_as_they_are_meant() {
    replay("replies", replies::run);
}

#[test]
fn dns_answers_are_read() {
    replay("dns", dns::run);
}

#[test]
fn smtp_answers_its_corpus() {
    replay("smtp", smtp::run);
}

#[test]
fn stored_refuses_or_keeps_its_corpus() {
    replay("stored", stored::run);
}

#[test]
fn segments_recovers_its_corpus() {
    replay("segments", segments::run);
}

#[test]
fn forms_of_the_corpus_read_back() {
    replay("form", form::run);
}

#[test]
fn xml_of_the_corpus_reads_back() {
    replay("xml", xml::run);
}

#[test]
fn reports_of_the_corpus_are_read_or_refused() {
    replay("reports", reports::run);
}

#[test]
fn records_of_the_corpus_read_back() {
    replay("zone", zone::run);
}
