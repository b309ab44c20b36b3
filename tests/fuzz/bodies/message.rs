//! A letter: any bytes. What is read fits together, reads back from its stored form, and can be searched.

use homepost::message::{Limits, Needle, Structure, date, decode, header, parse, thread_keys};

pub fn run(letter: &[u8]) {
    // Low limits, so that a small input can reach them.
    let limits = Limits { header_bytes: 4096, all_header_bytes: 8192, parts: 30, depth: 12 };
    let Ok(message) = parse(letter, &limits) else { return };
    message.check().expect("places fit together");
    let stored = message.encode();
    let structure = Structure::decode(&stored).expect("what was stored reads back");
    assert_eq!(structure.summary, message.summary);
    assert_eq!(structure.envelope().expect("what was stored reads back"), message.envelope);
    assert_eq!(structure.body().expect("what was stored reads back"), message.body);

    let head = &letter[..header::end(letter)];
    assert_eq!(head.len() as u64, message.summary.header_bytes);
    let _ = thread_keys(head);
    for field in header::fields(head) {
        let _ = (decode::words(&field.value()), date::parse(field.raw_value));
    }
    let _ = Needle::new("needle").in_text(letter, &message.body);
    // The letter's bytes taken for a stored row.
    if let Ok(structure) = Structure::decode(letter) {
        let _ = (structure.envelope(), structure.body().map(|body| body.check()));
    }
}
