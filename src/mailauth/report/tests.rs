use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use proptest::prelude::*;

use super::*;

/// As Google writes it: namespace-less, one record an address.
const GOOGLE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n  <version>1.0</version>\n  <report_metadata>\n    \
<org_name>google.com</org_name>\n    <email>noreply-dmarc-support@google.com</email>\n    \
<extra_contact_info>https://support.google.com/a/answer/2466580</extra_contact_info>\n    <report_id>1234567890123456789</report_id>\n    \
<date_range>\n      <begin>1790000000</begin>\n      <end>1790086399</end>\n    </date_range>\n  </report_metadata>\n  \
<policy_published>\n    <domain>Example.test</domain>\n    <adkim>r</adkim>\n    <aspf>r</aspf>\n    <p>none</p>\n    <sp>none</sp>\n    \
<pct>100</pct>\n    <np>none</np>\n  </policy_published>\n  <record>\n    <row>\n      <source_ip>192.0.2.25</source_ip>\n      \
<count>13</count>\n      <policy_evaluated>\n        <disposition>none</disposition>\n        <dkim>pass</dkim>\n        <spf>pass</spf>\n      \
</policy_evaluated>\n    </row>\n    <identifiers>\n      <header_from>example.test</header_from>\n    </identifiers>\n    \
<auth_results>\n      <dkim>\n        <domain>example.test</domain>\n        <result>pass</result>\n        <selector>202611e</selector>\n      \
</dkim>\n      <spf>\n        <domain>example.test</domain>\n        <result>pass</result>\n      </spf>\n    </auth_results>\n  </record>\n  \
<record>\n    <row>\n      <source_ip>203.0.113.9</source_ip>\n      <count>1</count>\n      <policy_evaluated>\n        \
<disposition>reject</disposition>\n        <dkim>fail</dkim>\n        <spf>fail</spf>\n      </policy_evaluated>\n    </row>\n    \
<identifiers>\n      <header_from>example.test</header_from>\n    </identifiers>\n    <auth_results>\n      <spf>\n        \
<domain>bulk.test</domain>\n        <result>pass</result>\n      </spf>\n    </auth_results>\n  </record>\n</feedback>\n";

/// As Microsoft writes it: schema attributes, envelope_to, no white space, fractions.
const MICROSOFT: &str = "<?xml version=\"1.0\"?><feedback xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><version>1.0</version><report_metadata><org_name>Outlook.com</org_name>\
<email>dmarcreport@microsoft.com</email><report_id>0a1b</report_id><date_range><begin>1790000000.0</begin><end>1790086400</end>\
</date_range></report_metadata><policy_published><domain>example.test</domain><adkim>r</adkim><aspf>r</aspf><p>quarantine</p>\
<sp>quarantine</sp><pct>100</pct><fo>0</fo></policy_published><record><row><source_ip>2001:db8::25</source_ip><count>2</count>\
<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers>\
<envelope_to>hotmail.test</envelope_to><envelope_from>example.test</envelope_from><header_from>example.test</header_from>\
</identifiers><auth_results><dkim><domain>example.test</domain><selector>r</selector><result>pass</result></dkim><spf>\
<domain>example.test</domain><scope>mfrom</scope><result>softfail</result></spf></auth_results></record></feedback>";

/// As Yahoo writes it, and RFC 9990: a namespace, a prefix, a comment, an entity.
const YAHOO: &str = "<?xml version=\"1.0\"?>\n<!-- daily -->\n<d:feedback xmlns:d=\"urn:ietf:params:xml:ns:dmarc-2.0\"><d:report_metadata>\
<d:org_name>Yahoo &amp; friends</d:org_name><d:report_id>1</d:report_id><d:date_range><d:begin>1790000000</d:begin><d:end>1790086399</d:end>\
</d:date_range></d:report_metadata><d:policy_published><d:domain>example.test</d:domain><d:p>reject</d:p><d:testing>n</d:testing>\
</d:policy_published><d:record><d:row><d:source_ip>192.0.2.25</d:source_ip><d:count>4</d:count><d:policy_evaluated>\
<d:disposition>pass</d:disposition><d:dkim>pass</d:dkim><d:spf>pass</d:spf></d:policy_evaluated></d:row></d:record></d:feedback>";

const TLS: &str = r#"{"organization-name":"Google Inc.","date-range":{"start-datetime":"2026-09-21T00:00:00Z","end-datetime":"2026-09-21T23:59:59Z"},
"contact-info":"smtp-tls-reporting@google.com","report-id":"2026-09-21T00:00:00Z_example.test","policies":[{"policy":{"policy-type":"sts",
"policy-string":["version: STSv1","mode: enforce","mx: mail.example.test","max_age: 86400"],"policy-domain":"example.test",
"mx-host":["mail.example.test"]},"summary":{"total-successful-session-count":7,"total-failure-session-count":3},
"failure-details":[{"result-type":"certificate-expired","sending-mta-ip":"192.0.2.1","receiving-mx-hostname":"mail.example.test.","failed-session-count":2},
{"result-type":"validation-failure","receiving-mx-hostname":"mail.example.test","failed-session-count":1,"failure-reason-code":"x"}]}]}"#;

const ARF: &str = "From: <fbl@isp.test>\r\nTo: postmaster@example.test\r\nSubject: FW: offer\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nabuse\r\n--b\r\n\
Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: X/1\r\nVersion: 1\r\nOriginal-Mail-From: <anna@example.test>\r\n\
Arrival-Date: Tue, 22 Sep 2026 10:00:00 +0000\r\nSource-IP: 192.0.2.25\r\nReported-Domain: example.test\r\nReporting-MTA: dns; mx.isp.test\r\n\
--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: anna@example.test\r\nSubject: offer\r\n\r\nhello\r\n--b--\r\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files with their sizes left out of their own headers, as streaming writers do.
fn zip(files: &[(&str, &[u8])], says: Option<u32>) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        let packed = encoder.finish().unwrap();
        let at = out.len() as u32;
        out.extend_from_slice(b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
        directory.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\x08\0\x08\0\0\0\0\0\0\0\0\0");
        directory.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        directory.extend_from_slice(&says.unwrap_or(bytes.len() as u32).to_le_bytes());
        directory.extend_from_slice(&(name.len() as u16).to_le_bytes());
        directory.extend_from_slice(&[0; 12]);
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (at, size, count) = (out.len() as u32, directory.len() as u32, files.len() as u16);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn letter(kind: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let body: Vec<String> =
        STANDARD.encode(bytes).as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!(
        "From: reports@google.test\r\nTo: postmaster@example.test\r\nSubject: Report Domain: example.test Submitter: google.com \
         Report-ID: <1>\r\nMIME-Version: 1.0\r\nContent-Type: {kind}; name=\"{name}\"\r\nContent-Disposition: attachment; \
         filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        body.join("\r\n")
    )
    .into_bytes()
}

fn aggregate(found: Result<Option<Report>, Unread>) -> Aggregate {
    match found {
        Ok(Some(Report::Aggregate(report))) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reports_of_the_large_ones_are_read_however_they_are_packed() {
    let google = aggregate(find(&letter(
        "application/zip",
        "google.com!example.test!1!2.zip",
        &zip(&[("google.com!example.test!1!2.xml", GOOGLE.as_bytes())], None),
    )));
    assert_eq!(
        (google.reporter.as_str(), google.domain.as_str(), google.policy.as_str()),
        ("google.com", "example.test", "none")
    );
    assert_eq!((google.letters, google.passed, google.begin, google.end), (14, 13, 1_790_000_000, 1_790_086_399));
    let worst = &google.rows[0];
    assert_eq!(
        (worst.source, worst.letters, worst.done),
        (Some("203.0.113.9".parse().unwrap()), 1, Disposition::Refused)
    );
    assert!(!worst.passed() && google.rows[1].passed());

    let microsoft = aggregate(find(&letter(
        "application/gzip",
        "protection.outlook.com!example.test.xml.gz",
        &gzip(MICROSOFT.as_bytes()),
    )));
    assert_eq!((microsoft.letters, microsoft.passed, microsoft.begin), (2, 2, 1_790_000_000));
    assert_eq!(microsoft.rows[0].source, Some("2001:db8::25".parse().unwrap()));
    assert!(microsoft.rows[0].dkim && !microsoft.rows[0].spf);

    // With a type that says nothing, by its name; and not packed at all.
    for (kind, name) in [("application/octet-stream", "report.xml.gz"), ("application/x-gzip", "x")] {
        assert_eq!(aggregate(find(&letter(kind, name, &gzip(YAHOO.as_bytes())))).reporter, "Yahoo & friends");
    }
    assert_eq!(aggregate(find(&letter("text/xml", "report.xml", YAHOO.as_bytes()))).passed, 4);
    // An archive with a note beside the report.
    let beside = zip(&[("readme.txt", b"hello"), ("r.xml", GOOGLE.as_bytes())], None);
    assert_eq!(aggregate(find(&letter("application/x-zip-compressed", "r.zip", &beside))).letters, 14);
}

#[test]
fn tls_reports_are_read() {
    for (kind, name, bytes) in [
        ("application/tlsrpt+gzip", "r.json.gz", gzip(TLS.as_bytes())),
        ("application/tlsrpt+json", "r.json", TLS.as_bytes().to_vec()),
    ] {
        let Ok(Some(Report::Tls(report))) = find(&letter(kind, name, &bytes)) else { panic!("{kind}") };
        assert_eq!((report.reporter.as_str(), report.domain.as_str()), ("Google Inc.", "example.test"));
        assert_eq!((report.good, report.failed, report.end - report.begin), (7, 3, 86_399));
        assert_eq!(
            report.failures[0],
            TlsFailure { what: "certificate-expired".into(), host: "mail.example.test".into(), connections: 2 }
        );
    }
}

#[test]
fn feedback_is_read() {
    let Ok(Some(Report::Feedback(report))) = find(ARF.as_bytes()) else { panic!("no report") };
    assert_eq!(
        (report.about, report.reporter.as_str(), report.from.as_str()),
        (About::Abuse, "mx.isp.test", "anna@example.test")
    );
    assert_eq!((report.source, report.arrived), (Some("192.0.2.25".parse().unwrap()), 1_790_071_200));
    let failure = ARF.replace("abuse\r\nUser", "auth-failure\r\nAuth-Failure: dmarc\r\nUser");
    let Ok(Some(Report::Feedback(report))) = find(failure.as_bytes()) else { panic!("no report") };
    assert_eq!((report.about, report.failed.as_str()), (About::AuthFailure, "dmarc"));
}

#[test]
fn a_letter_is_no_report_unless_it_says_so() {
    assert_eq!(find(b"From: a@b.test\r\nSubject: hello\r\n\r\nhello\r\n"), Ok(None));
    // A picture, a document, an XML of something else.
    let svg = letter("text/xml", "picture.xml", b"<svg><path/></svg>");
    let svg = String::from_utf8(svg).unwrap().replace("Report Domain:", "Picture:");
    assert_eq!(find(svg.as_bytes()), Ok(None));
    assert_eq!(find(&letter("text/xml", "r.xml", b"<svg><path/></svg>")), Err(Unread::Xml));
    assert_eq!(find(&letter("application/gzip", "r.gz", b"\x1f\x8bnonsense")), Err(Unread::Packed));
    assert_eq!(find(&letter("application/zip", "r.zip", b"PK\x03\x04nonsense")), Err(Unread::Packed));
    assert_eq!(find(&letter("application/json", "r.json", b"{\"a\":1}")), Err(Unread::Json));
}

/// E1
#[test]
fn what_unpacks_without_end_is_given_up() {
    let bomb = vec![b' '; UNPACKED_BYTES + 1];
    assert!(gzip(&bomb).len() < 20_000, "it is small when it comes");
    assert_eq!(find(&letter("application/gzip", "r.xml.gz", &gzip(&bomb))), Err(Unread::TooLong));
    // It may lie about its size.
    for says in [None, Some(10)] {
        assert_eq!(find(&letter("application/zip", "r.zip", &zip(&[("r.xml", &bomb)], says))), Err(Unread::TooLong));
    }
    // Within the limit, but of more elements than a report has.
    let wide = format!("<feedback>{}</feedback>", "<a/>".repeat(1_000_000));
    assert_eq!(find(&letter("application/gzip", "r.xml.gz", &gzip(wide.as_bytes()))), Err(Unread::Xml));
    let deep = format!("<feedback>{}", "<a>".repeat(100_000));
    assert_eq!(find(&letter("application/gzip", "r.xml.gz", &gzip(deep.as_bytes()))), Err(Unread::Xml));
    let deep = "[".repeat(100_000);
    assert_eq!(
        find(&letter("application/json", "r.json", format!("{{\"policies\":{deep}").as_bytes())),
        Err(Unread::Json)
    );
}

/// E1: a thousand laughs, and a file of ours.
#[test]
fn entities_lead_nowhere() {
    let typed =
        GOOGLE.replacen("<feedback>", "<!DOCTYPE feedback [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><feedback>", 1);
    assert_eq!(find(&letter("text/xml", "r.xml", typed.as_bytes())), Err(Unread::Xml));
    let used = GOOGLE.replacen("google.com</org_name>", "&x;&#0;&lol9;</org_name>", 1);
    assert_eq!(aggregate(find(&letter("text/xml", "r.xml", used.as_bytes()))).reporter, "&x;&#0;&lol9;");
}

/// E2
#[test]
fn no_more_is_kept_than_can_be_shown() {
    let record = |n: u32| {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>2</count><policy_evaluated><dkim>fail</dkim></policy_evaluated></row></record>"
        )
    };
    let records: String = (0..6000).map(record).collect();
    let name = format!("evil\u{1b}[2J\n\n{}", "x".repeat(5000));
    let long = format!(
        "<feedback><report_metadata><org_name>{name}</org_name></report_metadata><policy_published><domain>example.test</domain>\
         </policy_published>{records}</feedback>"
    );
    let report = aggregate(find(&letter("application/gzip", "r.xml.gz", &gzip(long.as_bytes()))));
    assert_eq!((report.rows.len(), report.letters, report.passed), (ROWS, 12_000, 0));
    assert_eq!(report.reporter.chars().count(), TEXT);
    assert!(report.reporter.starts_with("evil[2J x"), "{}", report.reporter);
    assert!(serde_json::to_vec(&report).unwrap().len() < 32 * 1024);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in 0..4usize) {
        let start: [&[u8]; 4] = [b"", b"\x1f\x8b\x08\0", b"PK\x03\x04", b"<feedback>"];
        let bytes = [start[kind], &bytes].concat();
        reads_anything(&bytes);
        let _ = find(&letter("application/octet-stream", "r.gz", &bytes));
    }

    /// One byte of a good report is another.
    #[test]
    fn a_damaged_report_is_read_or_refused(at in 0..4000usize, to in any::<u8>(), which in 0..5usize) {
        let whole = [GOOGLE.as_bytes().to_vec(), TLS.as_bytes().to_vec(), ARF.as_bytes().to_vec(), gzip(YAHOO.as_bytes()), zip(&[("r.xml", MICROSOFT.as_bytes())], None)];
        let mut bytes = whole[which].clone();
        let at = at % bytes.len();
        bytes[at] = to;
        reads_anything(&bytes);
        let _ = find(&letter("application/octet-stream", "r.gz", &bytes));
    }
}

/// What we report is of others' making: a header with bare CRs, with lines that look like ours and like the ends of parts, is in
/// its part and writes no field of the report.
#[test]
fn a_hostile_header_stays_in_its_part_of_a_failure_report() {
    let evil = "x\r\nFeedback-Type: abuse\r\n\r\n--=00=\r\n";
    let failed = Failed {
        source: "192.0.2.1".parse().unwrap(),
        from: evil.to_owned(),
        arrived: 1_790_000_000_000,
        result: "reject".to_owned(),
        dkim: false,
        spf: false,
        signature: Some((evil.to_owned(), evil.to_owned())),
        found: "Authentication-Results: mail.example.test;\r\n\tdkim=fail header.s=\"a\u{fc}\"\r\n".to_owned(),
        head: "Subject: a\rFeedback-Type: abuse\r\n--=0000000000000000\r\n--=00000000000000010000000000000003=--\r\n--\r\nX: \u{fc}\0\r\n\r\nbody"
            .to_owned(),
    };
    let writer = Writer {
        reporter: "example.test",
        hostname: "mail.example.test",
        to: "d@x.test",
        domain: "x.test",
        now: crate::message::Date::utc(crate::base::Time(1_790_000_000_000)),
        chance: [1, 2],
    };
    let bytes = failure_letter(&writer, &failed);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
    assert!(text.contains("\r\nSubject: a Feedback-Type: abuse\r\n") && !text.contains("\nbody"), "{text}");
    assert_eq!(text.matches("\r\nFeedback-Type:").count(), 1, "{text}");
    let message = crate::message::parse(&bytes, &crate::message::Limits::default()).unwrap();
    let crate::message::Content::Multipart(parts) = &message.body.content else { panic!("{text}") };
    let kinds: Vec<bool> = [("text", "plain"), ("message", "feedback-report"), ("text", "rfc822-headers")]
        .iter()
        .zip(parts)
        .map(|((kind, sub), part)| part.is(kind, sub))
        .collect();
    assert_eq!((parts.len(), kinds), (3, vec![true; 3]), "{text}");
    let Ok(Some(Report::Feedback(read))) = find(&bytes) else { panic!("{text}") };
    assert_eq!((read.about, read.failed.as_str(), read.domain.as_str()), (About::AuthFailure, "dmarc", "x.test"));
}

/// Names of strangers are text in our aggregate reports, and come back as the same text.
#[test]
fn hostile_names_are_text_in_an_aggregate_report() {
    let evil = "a<b&\"'>]]></domain><x>.test";
    let counted = Counted {
        source: "192.0.2.1".parse().unwrap(),
        done: Disposition::Refused,
        dkim: false,
        spf: false,
        vouched: false,
        author: evil.to_owned(),
        from: evil.to_owned(),
        signatures: vec![(evil.to_owned(), evil.to_owned(), "fail".to_owned())],
        sender: (evil.to_owned(), "pass".to_owned()),
    };
    let heading = Heading {
        reporter: evil.to_owned(),
        contact: evil.to_owned(),
        hostname: "mail.example.test".into(),
        domain: evil.to_owned(),
        id: evil.to_owned(),
        begin: 0,
        end: 1,
    };
    let record = crate::mailauth::DmarcRecord::read(b"v=DMARC1; p=reject").unwrap();
    let report = crate::mailauth::report::aggregate(&heading, &record, &[(counted, 3)]);
    for raw in ["a<b", "<x>", "b&\"", "]]>"] {
        assert!(!report.contains(raw), "{raw}: {report}");
    }
    let read = aggregate(find(&letter("text/xml", "report.xml", report.as_bytes())));
    assert_eq!((read.reporter.as_str(), read.id.as_str(), read.domain.as_str()), (evil, evil, evil));
    assert_eq!((read.letters, read.passed, read.rows.len()), (3, 0, 1));
}
