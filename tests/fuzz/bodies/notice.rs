//! Notices of letters that any sender wrote, to any recipient, with any words of the other server: each is a report of three parts whose
//! fields are ours, in lines that travel; and whatever letter it is, with seven bits it says the same or stays.

use homepost::base::Time;
use homepost::message::dsn::{About, Kind, Notice};
use homepost::message::{self, Content, Limits, convert, date, header};

const FIELDS: [&str; 10] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
];
const STATUS: [&str; 11] = [
    "Reporting-MTA",
    "Original-Envelope-Id",
    "Arrival-Date",
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
];

// A byte of choices, six words of strangers, each up to a NUL, and the letter.
pub fn run(input: &[u8]) {
    let Some((first, input)) = input.split_first() else { return };
    let mut words = input.splitn(7, |byte| *byte == 0);
    let mut word = || String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let (to, envid, kind, original, address, said) = (word(), word(), word(), word(), word(), word());
    let letter = words.next().unwrap_or_default();
    let now = date::Date::utc(Time(1_800_000_000_000));
    let about = About {
        address,
        original: (first & 1 != 0).then_some((kind, original)),
        status: (5, 1, 1),
        diagnostic: Some(said),
        own: first & 2 != 0,
        remote: Some("mx.far.test".into()),
        until: (first & 4 != 0).then_some(now),
    };
    let kinds = [Kind::Failed, Kind::Failed, Kind::Delayed, Kind::Relayed, Kind::Delivered, Kind::Expanded];
    // As in earnest: a boundary that nobody knows.
    let chance = blake3::hash(input);
    let half = |at: usize| u64::from_le_bytes(chance.as_bytes()[at..at + 8].try_into().expect("eight bytes"));
    let notice = Notice {
        kind: kinds[usize::from(first >> 3) % kinds.len()],
        hostname: "mail.example.test",
        to: &to,
        now,
        arrived: now,
        envid: Some(&envid),
        recipients: &[about.clone(), about],
        full: None,
        by: None,
        passed_on: first & 128 != 0,
        letter,
        chance: [half(0), half(8)],
    };
    is_a_report(&notice.build(), &notice);
    is_a_report(&Notice { full: Some(false), ..notice.clone() }.build(), &notice);
    seven_bits(letter);
}

fn is_a_report(bytes: &[u8], notice: &Notice<'_>) {
    let head = &bytes[..header::end(bytes)];
    for field in header::fields(head) {
        assert!(FIELDS.iter().any(|name| field.is(name)), "a field of a stranger's");
    }
    assert_eq!(header::count(head, "To"), 1);
    let boundary = format!("--={:016x}{:016x}=", notice.chance[0], notice.chance[1]);
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let at: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].starts_with(boundary.as_bytes())).collect();
    assert_eq!(at.len(), 4, "three parts");
    // What is before the letter is ours.
    for line in &lines[..at[2]] {
        assert!(line.len() <= 998, "a line of {} octets", line.len());
        let text = std::str::from_utf8(line).expect("UTF-8");
        assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
    }
    let status = &lines[at[1]..at[2]];
    let global = status[1].ends_with(b"global-delivery-status");
    for line in &status[4..] {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_ours = line.is_empty() || line[0] == b' ' || STATUS.iter().any(|one| one.as_bytes() == name);
        assert!(is_ours, "{}", String::from_utf8_lossy(line));
        assert!(global || line.is_ascii());
    }
    // One letter within another may go past a limit that it kept alone.
    let Ok(message) = message::parse(bytes, &Limits::default()) else {
        assert!(lines[at[2] + 1].starts_with(b"Content-Type: message/"), "a header alone is always read");
        return;
    };
    let Content::Multipart(parts) = &message.body.content else { panic!("no parts") };
    assert_eq!(parts.len(), 3);
    assert!(parts[0].is("text", "plain"));
}

/// RFC 6152 3.
fn seven_bits(letter: &[u8]) {
    let Ok(converted) = convert::seven_bit(letter, &Limits::default()) else { return };
    assert!(converted.is_ascii() && !converted.contains(&0));
    assert!(converted.split(|byte| *byte == b'\n').all(|line| line.len() <= 999));
    let again = convert::seven_bit(&converted, &Limits::default()).expect("seven bits are seven bits");
    assert_eq!(again, converted, "what has seven bits stays");
}
