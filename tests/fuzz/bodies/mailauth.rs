//! What strangers write of themselves: Authentication-Results, tag lists (DKIM, ARC, DMARC), SPF records, policies (MTA-STS),
//! TLSA records, whole letters that are checked in a world without answers.

use std::future::Future;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use homepost::mailauth::dane::Tlsa;
use homepost::mailauth::sts;
use homepost::mailauth::{
    DmarcRecord, Found, Handed, Letter, Missing, Names, SpfRecord, Tags, authentication_results, gather, is_forged,
    received_spf, without_forged,
};
use homepost::message::header;

const OURS: &str = "mail.example.test";

/// A DNS in which every name has the same text and nothing else.
struct Same<'a>(&'a [u8]);

impl Names for Same<'_> {
    fn txt<'a>(&'a self, _: &'a str) -> Found<'a, Vec<u8>> {
        Box::pin(std::future::ready(Ok(vec![self.0.to_vec()])))
    }

    fn a<'a>(&'a self, _: &'a str) -> Found<'a, IpAddr> {
        Box::pin(std::future::ready(Err(Missing::NoData)))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Found<'a, IpAddr> {
        self.a(name)
    }

    fn mx<'a>(&'a self, _: &'a str) -> Found<'a, String> {
        Box::pin(std::future::ready(Ok(vec!["x.test".to_owned()])))
    }

    fn ptr(&self, _: IpAddr) -> Found<'_, String> {
        Box::pin(std::future::ready(Err(Missing::NoName)))
    }
}

pub fn run(input: &[u8]) {
    let _ = (is_forged(input, OURS), Tags::read(input), SpfRecord::read(input), DmarcRecord::read(input));
    let all = String::from_utf8_lossy(input);
    if let Ok(policy) = sts::Policy::read(&all) {
        assert!(
            policy.mode == sts::Mode::None || policy.mx.iter().any(|pattern| policy.names(&pattern.replace('*', "x")))
        );
        let again = sts::Policy::read(&policy.lines.join("\n"));
        assert_eq!(
            again.map(|again| (again.mode, again.max_age, again.mx)),
            Ok((policy.mode, policy.max_age, policy.mx))
        );
    }
    let _ = sts::id(all.split('\n'));
    if let [usage, selector, matching, data @ ..] = input
        && let Some(record) = Tlsa::new(*usage, *selector, *matching, data)
    {
        assert_eq!(record.fits(data, data), *matching == 0);
    }
    let head = &input[..header::end(input)];
    if let Some(left) = without_forged(head, OURS) {
        assert!(left.len() < head.len());
        assert_eq!(without_forged(&left, OURS), None, "all at once");
    }
    // The first line is what the DNS says, the rest is the letter.
    let at = input.iter().position(|b| *b == b'\n').map_or(input.len(), |at| at + 1);
    let (record, letter) = input.split_at(at);
    let names = Same(record.trim_ascii());
    let text = String::from_utf8_lossy(record);
    let handed = Handed { peer: IpAddr::from([192, 0, 2, 1]), helo: &text, from: Some(&text), now: None };
    let letter = Letter::read(letter);
    let gathered = gather(&names, handed, &letter, Duration::from_secs(20));
    // Time-outs want a clock of tokio's; nothing here waits for one.
    let runtime = tokio_without_threads();
    let _inside = runtime.enter();
    let mut gathered = Box::pin(gathered);
    let Poll::Ready(evidence) = gathered.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits for nobody")
    };
    for field in [authentication_results(&evidence, OURS), received_spf(&evidence, handed, OURS)] {
        assert_eq!(header::fields(&field).count(), 1, "one field, whatever was said");
        assert_eq!(header::end(&field), field.len());
    }
}

fn tokio_without_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}
