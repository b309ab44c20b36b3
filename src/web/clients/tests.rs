//! What programs ask, without a socket.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::appliance::dnsguide::{pacc, policy};
use crate::settings::Settings;
use crate::web::home::Household;
use crate::web::home::tests::{answered, household};

async fn get(household: &Arc<Household>, host: &str, target: &str) -> (u16, String) {
    let request = Request::builder().uri(target).header("host", host).body(Body::empty()).unwrap();
    let (status, text) = answered(household, request).await;
    (status.as_u16(), text)
}

async fn post(household: &Arc<Household>, target: &str, body: &str) -> (u16, String) {
    let request = Request::builder().method("POST").uri(target).header("host", "autodiscover.example.test");
    let request = request.header("content-type", "text/xml").body(Body::from(body.to_owned())).unwrap();
    let (status, text) = answered(household, request).await;
    (status.as_u16(), text)
}

fn set(household: &Arc<Household>, lines: &str) {
    let settings = Settings::parse(&format!("hostname = \"mail.example.test\"\n{lines}")).unwrap();
    household.settings.store(Arc::new(settings));
}

/// The values of these elements, in their order.
fn values<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    document.split(open.as_str()).skip(1).filter_map(|rest| Some(rest.split_once(close.as_str())?.0)).collect()
}

const WELL_KNOWN: &str = "/.well-known/autoconfig/mail/config-v1.1.xml";

/// K1, K2.
#[tokio::test]
async fn thunderbirds_document_is_one_for_each_domain_of_ours_and_says_nothing_of_people() {
    let (_folder, household) = household();
    let (status, one) =
        get(&household, "autoconfig.example.test", "/mail/config-v1.1.xml?emailaddress=anna%40example.test").await;
    assert_eq!(status, 200);
    assert_eq!(values(&one, "port"), ["993", "465"]);
    assert_eq!(values(&one, "socketType"), ["SSL", "SSL"]);
    assert_eq!(values(&one, "hostname"), ["mail.example.test"; 2]);
    assert_eq!(values(&one, "username"), ["%EMAILADDRESS%"; 2]);
    assert_eq!(values(&one, "domain"), ["example.test"]);
    for (host, target) in [
        ("autoconfig.example.test", "/mail/config-v1.1.xml?emailaddress=nobody%40example.test"),
        ("autoconfig.example.test", "/mail/config-v1.1.xml"),
        ("example.test", "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ANNA@EXAMPLE.TEST"),
        ("mail.example.test", WELL_KNOWN),
        ("192.168.1.2", "/mail/config-v1.1.xml?EmailAddress=x%40example.test"),
    ] {
        assert_eq!(get(&household, host, target).await, (200, one.clone()), "{host} {target}");
    }
    for (target, status) in [
        ("?emailaddress=anna%40other.example", 404),
        ("?emailaddress=anna%40example.test%0d%0aX:y", 400),
        ("?emailaddress=an%00na%40example.test", 400),
        ("?emailaddress=anna", 400),
        ("?emailaddress=", 400),
        ("?emailaddress=a@example.test&emailaddress=b@example.test", 400),
    ] {
        let (got, text) = get(&household, "example.test", &format!("{WELL_KNOWN}{target}")).await;
        assert_eq!((got, text.as_str()), (status, ""), "{target}");
    }
    assert_eq!(get(&household, "autoconfig.other.example", "/mail/config-v1.1.xml").await.0, 421);
}

/// K3.
#[tokio::test]
async fn only_what_is_open_is_named_and_half_a_set_up_is_none() {
    let (_folder, household) = household();
    set(&household, "listeners.imap.on = true\nlisteners.submission.on = true\nlisteners.imaps.port = 1993");
    let (_, all) = get(&household, "example.test", WELL_KNOWN).await;
    assert_eq!(values(&all, "port"), ["1993", "143", "465", "587"]);
    assert_eq!(values(&all, "socketType"), ["SSL", "STARTTLS", "SSL", "STARTTLS"]);
    let (_, outlook) = post(&household, "/autodiscover/autodiscover.xml", &request("anna@example.test", OUTLOOK)).await;
    assert_eq!(values(&outlook, "Type"), ["IMAP", "IMAP", "SMTP", "SMTP"]);
    assert_eq!(values(&outlook, "Port"), ["1993", "143", "465", "587"]);
    assert_eq!(values(&outlook, "Encryption"), ["SSL", "TLS", "SSL", "TLS"]);
    assert_eq!(values(&outlook, "SSL"), ["on", "off", "on", "off"]);
    set(&household, "listeners.imaps.on = false");
    assert_eq!(get(&household, "example.test", WELL_KNOWN).await.0, 404);
    assert_eq!(post(&household, "/autodiscover/autodiscover.xml", &request("anna@example.test", OUTLOOK)).await.0, 404);
}

const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

fn request(address: &str, schema: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/\
         outlook/requestschema/2006\">\r\n  <Request>\r\n    <EMailAddress>{address}</EMailAddress>\r\n    \
         <AcceptableResponseSchema>{schema}</AcceptableResponseSchema>\r\n  </Request>\r\n</Autodiscover>\r\n"
    )
}

#[tokio::test]
async fn outlook_is_answered_at_every_spelling_of_its_place() {
    let (_folder, household) = household();
    let body = request("Anna@Example.Test", OUTLOOK);
    for target in [
        "/autodiscover/autodiscover.xml",
        "/Autodiscover/Autodiscover.xml",
        "/AutoDiscover/AutoDiscover.xml",
        "/AUTODISCOVER/autodiscover.XML",
    ] {
        let (status, text) = post(&household, target, &body).await;
        assert_eq!(status, 200, "{target}");
        assert_eq!(values(&text, "Type"), ["IMAP", "SMTP"], "{target}");
        assert_eq!(values(&text, "LoginName"), ["anna@example.test"; 2], "{target}");
        assert_eq!(values(&text, "Action"), ["settings"], "{target}");
    }
    // K1: but for the address itself nobody can tell one from another.
    let (_, anna) = post(&household, "/autodiscover/autodiscover.xml", &request("anna@example.test", OUTLOOK)).await;
    let (_, nobody) = post(&household, "/autodiscover/autodiscover.xml", &request("nobo@example.test", OUTLOOK)).await;
    assert_eq!(anna.replace("anna", "nobo"), nobody);
}

/// K2.
#[tokio::test]
async fn outlook_is_refused_in_its_own_words_and_nothing_of_the_request_comes_back() {
    let (_folder, household) = household();
    let mobile = "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006";
    let entity =
        format!("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/hostname\">]>{}", request("&x;@example.test", OUTLOOK));
    for (body, code) in [
        (String::new(), "600"),
        ("{}".to_owned(), "600"),
        (entity, "600"),
        (request("anna", OUTLOOK), "600"),
        (request("an&#10;na@example.test", OUTLOOK), "600"),
        (request("a@example.test</EMailAddress><EMailAddress>b@example.test", OUTLOOK), "600"),
        (request("anna@example.test", mobile), "601"),
    ] {
        let (status, text) = post(&household, "/autodiscover/autodiscover.xml", &body).await;
        assert_eq!((status, values(&text, "ErrorCode")), (200, vec![code]), "{body}");
        assert!(!text.contains("anna"), "{text}");
    }
    let looked = get(&household, "autodiscover.example.test", "/autodiscover/autodiscover.xml").await;
    assert_eq!((looked.0, values(&looked.1, "ErrorCode")), (200, vec!["600"]));
    assert_eq!(post(&household, "/autodiscover/autodiscover.xml", &request("a@other.example", OUTLOOK)).await.0, 404);
    let long = request(&"x".repeat(super::BODY), OUTLOOK);
    assert_eq!(post(&household, "/autodiscover/autodiscover.xml", &long).await.0, 413);
    let odd = request("&quot;&lt;b&gt;&amp;&quot;@example.test", OUTLOOK);
    let (_, text) = post(&household, "/autodiscover/autodiscover.xml", &odd).await;
    assert_eq!(values(&text, "DisplayName"), ["&lt;b&gt;&amp;@example.test"], "{text}");
}

#[tokio::test]
async fn outlooks_json_says_where_the_rest_is() {
    let (_folder, household) = household();
    let ask = async |target: &str| {
        let (status, text) = get(&household, "autodiscover.example.test", target).await;
        (status, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    for target in [
        "/autodiscover/autodiscover.json?Email=anna%40example.test&Protocol=AutodiscoverV1&RedirectCount=1",
        "/Autodiscover/Autodiscover.json?email=anna@example.test&protocol=autodiscoverv1",
        "/autodiscover/autodiscover.json/v1.0/anna%40example.test?Protocol=AutodiscoverV1",
        "/autodiscover/autodiscover.json/v1.0/nobody@example.test?Protocol=AutodiscoverV1",
    ] {
        let (status, answer) = ask(target).await;
        assert_eq!((status, answer["Protocol"].as_str()), (200, Some("AutodiscoverV1")), "{target}");
        assert_eq!(answer["Url"], "https://mail.example.test/autodiscover/autodiscover.xml", "{target}");
    }
    for (target, status, code) in [
        ("?Email=a@example.test&Protocol=ActiveSync", 400, "InvalidProtocol"),
        ("?Email=a@example.test", 400, "MandatoryParameterMissing"),
        ("?Protocol=AutodiscoverV1", 400, "MandatoryParameterMissing"),
        ("?Email=anna&Protocol=AutodiscoverV1", 400, "MandatoryParameterMissing"),
        ("?Email=a@other.example&Protocol=AutodiscoverV1", 404, "UserNotFound"),
    ] {
        let (got, answer) = ask(&format!("/autodiscover/autodiscover.json{target}")).await;
        assert_eq!((got, answer["ErrorCode"].as_str()), (status, Some(code)), "{target}");
    }
    set(&household, "listeners.https.port = 8443");
    let (_, answer) = ask("/autodiscover/autodiscover.json?Email=a@example.test&Protocol=AutodiscoverV1").await;
    assert_eq!(answer["Url"], "https://mail.example.test:8443/autodiscover/autodiscover.xml");
}

#[tokio::test]
async fn documents_are_those_that_the_records_are_made_of() {
    let (_folder, household) = household();
    let here = "/.well-known/user-agent-configuration.json";
    for host in ["ua-auto-config.example.test", "example.test", "mail.example.test"] {
        let document = pacc::document(&household.settings.load(), "example.test").unwrap();
        assert_eq!(get(&household, host, here).await, (200, document), "{host}");
    }
    let sts = "/.well-known/mta-sts.txt";
    let (status, text) = get(&household, "mta-sts.example.test", sts).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text, "version: STSv1\r\nmode: testing\r\nmx: mail.example.test\r\nmax_age: 86400\r\n");
    for host in ["example.test", "mail.example.test", "autoconfig.example.test"] {
        assert_eq!(get(&household, host, sts).await.0, 404, "{host}");
    }
    let before = policy::of(&household.settings.load()).id();
    set(&household, "listeners.imap.on = true");
    assert_eq!(policy::of(&household.settings.load()).id(), before, "another setting is no matter");
    set(&household, "mta_sts.mode = \"enforce\"");
    let (_, text) = get(&household, "mta-sts.example.test", sts).await;
    assert!(text.contains("mode: enforce\r\n"), "{text}");
    assert_ne!(policy::of(&household.settings.load()).id(), before);
}
