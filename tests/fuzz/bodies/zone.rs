//! Records of any names and texts, written as a zone file: they are refused, or each is one line that reads back as it was
//! (RFC 1035 5.1), and none is a line of somebody else's making.

use homepost::appliance::dnsguide::{Head, Names, Record, zone_file};
use homepost::net::dns::{Data, Kind};

const DOMAIN: &str = "example.test";

/// Records lie between bytes of 0xff. In each: what kind, then the name up to 0xfe, and the rest is its text.
pub fn run(input: &[u8]) {
    let records: Vec<Record> = input.split(|byte| *byte == 0xff).take(40).filter_map(record).collect();
    let servers = records.iter().take(2).map(|record| record.name.clone()).collect();
    let head = Head { servers, serial: 7 };
    for names in [Names::Full, Names::Relative] {
        for head in [None, Some(&head)] {
            let Ok(file) = zone_file(DOMAIN, &records, names, head) else { continue };
            let mut lines = file.lines().filter(|line| !line.starts_with(';') && !line.starts_with('$'));
            if let Some(head) = head {
                for _ in 0..=head.servers.len() {
                    let line = lines.next().expect("SOA and NS");
                    assert!(line.contains(" IN SOA ") || line.contains(" IN NS "), "{line}");
                }
            }
            for record in records.iter().filter(|record| record.is_for_publishing() && is_in(&record.name)) {
                let line = lines.next().expect("a line for each record");
                same(line, record);
            }
            assert_eq!(lines.next(), None, "a line that nobody asked for");
            assert!(!file.contains('\r') && file.bytes().all(|byte| byte == b'\n' || byte >= b' '), "{file:?}");
        }
    }
}

fn record(bytes: &[u8]) -> Option<Record> {
    let (kind, rest) = bytes.split_first()?;
    let at = rest.iter().position(|byte| *byte == 0xfe).unwrap_or(0);
    let (name, text) = rest.split_at(at);
    let (name, text) = (String::from_utf8_lossy(name), String::from_utf8_lossy(text.get(1..).unwrap_or_default()));
    // Some names are in the domain, or there would be little to read.
    let name = match kind & 0x40 {
        0 if name.is_empty() => DOMAIN.to_owned(),
        0 => format!("{name}.{DOMAIN}"),
        _ => name.into_owned(),
    };
    let host = || text.trim_end_matches('.').to_owned();
    let data = match kind & 7 {
        0 => Data::Mx { priority: 10, host: host() },
        1 => Data::Srv { priority: 0, weight: 1, port: 993, target: host() },
        2 => Data::Cname(host()),
        3 => Data::Caa { flags: 0, tag: text.chars().take(5).collect(), value: text.chars().skip(5).collect() },
        _ => Data::Txt(text.clone().into_owned()),
    };
    let withheld = (kind & 0x20 != 0).then(|| text.into_owned());
    let kind_of = match data {
        Data::Mx { .. } => Kind::Mx,
        Data::Srv { .. } => Kind::Srv,
        Data::Cname(_) => Kind::Cname,
        Data::Caa { .. } => Kind::Caa,
        _ => Kind::Txt,
    };
    let data = (kind & 0x10 == 0).then_some(data);
    Some(Record { name, kind: kind_of, data, ttl: 3600, purpose: String::new(), withheld })
}

fn is_in(name: &str) -> bool {
    name == DOMAIN || name.strip_suffix(DOMAIN).is_some_and(|before| before.ends_with('.'))
}

/// By a reader of its own, which knows quotes, both kinds of escapes, and what ends a record.
fn same(line: &str, record: &Record) {
    let fields = fields(line.as_bytes());
    let text = |at: usize| String::from_utf8(fields[at].clone()).expect("names are ASCII");
    let full = match text(0).as_str() {
        "@" => DOMAIN.to_owned(),
        name => name.strip_suffix('.').map_or_else(|| format!("{name}.{DOMAIN}"), str::to_owned),
    };
    assert_eq!(full, record.name, "{line}");
    assert_eq!([text(1), text(2), text(3)], ["3600".to_owned(), "IN".to_owned(), record.kind.to_string()], "{line}");
    let dotted = |name: &String| format!("{name}.");
    match record.data.as_ref().expect("it has a value") {
        Data::Txt(value) => {
            assert!(fields[4..].iter().all(|part| part.len() <= 255), "{line}");
            assert_eq!(fields[4..].concat(), value.as_bytes(), "{line}");
        }
        Data::Caa { tag, value, .. } => {
            assert_eq!((text(5), fields[6].as_slice(), fields.len()), (tag.clone(), value.as_bytes(), 7), "{line}");
        }
        Data::Mx { host, .. } => assert_eq!((text(5), fields.len()), (dotted(host), 6), "{line}"),
        Data::Srv { target, .. } => assert_eq!((text(7), fields.len()), (dotted(target), 8), "{line}"),
        Data::Cname(target) => assert_eq!((text(4), fields.len()), (dotted(target), 5), "{line}"),
        other => unreachable!("{other:?} is not made here"),
    }
}

fn fields(line: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let (mut quoted, mut open) = (false, false);
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'"' if quoted => {
                (quoted, open) = (false, false);
                continue;
            }
            b'"' => {
                assert!(!open, "a quote within a word");
                quoted = true;
                fields.push(Vec::new());
                continue;
            }
            b' ' | b'\t' if !quoted => {
                open = false;
                continue;
            }
            b';' | b'(' | b')' if !quoted => panic!("it ends, or goes on in another line"),
            b'\\' => match bytes.next().expect("something is escaped") {
                digit @ b'0'..=b'9' => {
                    let mut number = u32::from(digit - b'0');
                    for _ in 0..2 {
                        number = number * 10 + u32::from(bytes.next().expect("three digits") - b'0');
                    }
                    u8::try_from(number).expect("a byte")
                }
                other => other,
            },
            byte => byte,
        };
        if !quoted && !open {
            open = true;
            fields.push(Vec::new());
        }
        fields.last_mut().expect("a field is open").push(byte);
    }
    assert!(!quoted, "the quotes are closed");
    fields
}
