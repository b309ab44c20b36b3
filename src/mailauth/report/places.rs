//! Where a domain wants its reports, and whether that place wants them (RFC 9990 4, RFC 8460 3).

use crate::mailauth::dmarc::{Record, Walk};
use crate::mailauth::names::{Names, host};

/// Places of one domain that are reported to (RFC 9990 3.5 asks for two at least).
const PLACES: usize = 3;
const ADDRESS: usize = 254;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Mail {
        address: String,
        domain: String,
        /// Bytes of the report as it is sent, that it takes at most.
        limit: Option<u64>,
    },
    Https(String),
}

/// What can be read of a list of URIs, as `mailto:a@x.test!10m`.
pub fn places<'a>(uris: impl IntoIterator<Item = &'a str>) -> Vec<Place> {
    uris.into_iter().filter_map(place).take(PLACES).collect()
}

fn place(uri: &str) -> Option<Place> {
    let uri = uri.trim();
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("https") {
        let fine = uri.len() <= 1024 && uri.bytes().all(|b| b.is_ascii_graphic());
        return fine.then(|| Place::Https(uri.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        return None;
    }
    let (rest, limit) = match rest.split_once('!') {
        Some((rest, limit)) => (rest, Some(size(limit)?)),
        None => (rest, None),
    };
    let address = unescaped(rest.split('?').next().unwrap_or_default())?;
    let (local, domain) = address.rsplit_once('@')?;
    let of_local = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let domain = host(domain)?;
    if local.is_empty() || !local.bytes().all(of_local) || local.starts_with('.') || local.ends_with('.') {
        return None;
    }
    let address = format!("{local}@{domain}");
    (address.len() <= ADDRESS && domain.contains('.')).then_some(Place::Mail { address, domain, limit })
}

/// RFC 9990 4: a number, with k, m, g or t for powers of 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// RFC 3986 2.1.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok().filter(|text| text.is_ascii())
}

/// The record of a place that letters were judged by, as it is now. `Ok(None)`: it has none any more.
pub async fn record(names: &dyn Names, place: &str) -> Result<Option<Record>, ()> {
    use crate::mailauth::names::Missing;
    match names.txt(&format!("_dmarc.{place}")).await {
        Ok(found) => {
            let mut records = found.iter().filter_map(|record| Record::read(record));
            // RFC 9989 4.10, 2: of several none counts, whatever stands behind their `v=`.
            Ok(records.next().filter(|one| records.next().is_none() && !one.silent))
        }
        Err(Missing::Unknown) => Err(()),
        Err(_) => Ok(None),
    }
}

/// RFC 9990 4: whoever is named and is of another organization has to say that it takes reports about `about`; else anybody
/// could have somebody else flooded. What cannot be found out is no consent.
pub async fn wants(names: &dyn Names, about: &str, domain: &str) -> bool {
    let (ours, theirs) = tokio::join!(Walk::from(names, about), Walk::from(names, domain));
    if let (Ok(ours), Ok(theirs)) = (ours, theirs)
        && ours.organization() == theirs.organization()
    {
        return true;
    }
    let asked = names.txt(&format!("{about}._report._dmarc.{domain}")).await.unwrap_or_default();
    asked.iter().any(|text| crate::mailauth::tags::Tags::read_what_can_be(text).first() == Some(("v", "DMARC1")))
}

/// RFC 8460 3: where a domain wants reports of TLS; of several records none counts.
pub async fn tls(names: &dyn Names, domain: &str) -> Vec<Place> {
    let found = names.txt(&format!("_smtp._tls.{domain}")).await.unwrap_or_default();
    let read = |text: &Vec<u8>| -> Option<Vec<Place>> {
        let tags = crate::mailauth::tags::Tags::read_what_can_be(text);
        if tags.first() != Some(("v", "TLSRPTv1")) {
            return None;
        }
        Some(places(tags.get("rua")?.split(',')))
    };
    let mut records = found.iter().filter_map(read);
    match (records.next(), records.next()) {
        (Some(places), None) => places,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailauth::names::fake::Zone;

    #[test]
    fn addresses_of_reports_are_read() {
        let read = |uri: &str| places([uri]).pop();
        let mail = |address: &str, limit| {
            let domain = address.split_once('@').unwrap().1.to_owned();
            Some(Place::Mail { address: address.into(), domain, limit })
        };
        assert_eq!(read("mailto:d@X.test"), mail("d@x.test", None));
        assert_eq!(read(" MAILTO:d%2Be@x.test!10M"), mail("d+e@x.test", Some(10 << 20)));
        assert_eq!(read("mailto:d@x.test!50k?subject=x"), None, "the size is last");
        assert_eq!(read("mailto:d@x.test?subject=x"), mail("d@x.test", None));
        assert_eq!(read("https://x.test/v1"), Some(Place::Https("https://x.test/v1".into())));
        for wrong in [
            "http://x.test",
            "d@x.test",
            "mailto:",
            "mailto:@x.test",
            "mailto:d@",
            "mailto:d%0d%0aRCPT@x.test",
            "mailto:d e@x.test",
            "mailto:d@x",
            "mailto:d@x.test!",
            "mailto:d@x.test!99999999999999999999",
            "https://x.test/a b",
            "mailto:<d>@x.test",
            "mailto:a%0D%0ABcc:x@y.test",
            "mailto:a%00@x.test",
            "mailto:d@x.test%0d%0aBcc:y",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_is_flooded_who_has_not_said_that_he_wants_reports() {
        let zone = Zone::default()
            .with_txt("_dmarc.x.test", "v=DMARC1; p=none")
            .with_txt("x.test._report._dmarc.y.test", "v=DMARC1;")
            .with_txt("x.test._report._dmarc.z.test", "v=spf1");
        assert!(wants(&zone, "x.test", "x.test").await && wants(&zone, "x.test", "in.x.test").await);
        assert!(wants(&zone, "x.test", "y.test").await);
        assert!(!wants(&zone, "x.test", "z.test").await && !wants(&zone, "x.test", "victim.test").await);
        assert!(!wants(&zone, "w.test", "y.test").await, "for another domain");
    }

    #[tokio::test]
    async fn a_policy_that_is_not_there_any_more_asks_for_nothing() {
        let fine = "v=DMARC1; p=none; rua=mailto:d@x.test";
        let zone = Zone::default()
            .with_txt("_dmarc.one.test", fine)
            .with_txt("_dmarc.one.test", "v=spf1 -all")
            .with_txt("_dmarc.two.test", fine)
            .with_txt("_dmarc.two.test", "v=DMARC1; p=destroy")
            .with_txt("_dmarc.silent.test", "v=DMARC1; ruf=mailto:d@x.test")
            .with_txt("_dmarc.late.test", "hello; v=DMARC1; p=none; rua=mailto:d@x.test");
        for (place, found) in [("one", true), ("two", false), ("silent", false), ("late", false), ("no", false)] {
            assert_eq!(record(&zone, &format!("{place}.test")).await.unwrap().is_some(), found, "{place}");
        }
        assert!(!wants(&zone, "x.test", "late.test").await);
    }

    #[tokio::test]
    async fn of_several_records_none_counts() {
        let one = Zone::default().with_txt("_smtp._tls.x.test", "v=TLSRPTv1; rua=mailto:t@x.test,https://x.test/t");
        assert_eq!(tls(&one, "x.test").await.len(), 2);
        let two = one.with_txt("_smtp._tls.x.test", "v=TLSRPTv1; rua=mailto:u@x.test");
        assert_eq!(tls(&two, "x.test").await, []);
    }
}
