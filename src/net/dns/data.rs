//! What a DNS record says: its type and value, as far as mail needs them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minicbor::{Decode, Encode};

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    A,
    Aaaa,
    Cname,
    Ns,
    Mx,
    Txt,
    Srv,
    Tlsa,
    Caa,
    Ptr,
}

impl Kind {
    /// As in a zone file.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Cname => "CNAME",
            Kind::Ns => "NS",
            Kind::Mx => "MX",
            Kind::Txt => "TXT",
            Kind::Srv => "SRV",
            Kind::Tlsa => "TLSA",
            Kind::Caa => "CAA",
            Kind::Ptr => "PTR",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record without its name. Names in it are full, in lower case and without the dot at the end; empty is the root.
///
/// It is also how a record lies in the store: numbers are never given out again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Data {
    #[n(0)]
    A(#[n(0)] Ipv4Addr),
    #[n(1)]
    Aaaa(#[n(0)] Ipv6Addr),
    #[n(2)]
    Cname(#[n(0)] String),
    #[n(3)]
    Ns(#[n(0)] String),
    #[n(4)]
    Mx {
        #[n(0)]
        priority: u16,
        #[n(1)]
        host: String,
    },
    /// The strings of the record one after another, which is what every reader of mail's records makes of them (RFC 7208
    /// 3.3, RFC 6376 3.6.2.2).
    #[n(5)]
    Txt(#[n(0)] String),
    #[n(6)]
    Srv {
        #[n(0)]
        priority: u16,
        #[n(1)]
        weight: u16,
        #[n(2)]
        port: u16,
        #[n(3)]
        target: String,
    },
    #[n(7)]
    Tlsa {
        #[n(0)]
        usage: u8,
        #[n(1)]
        selector: u8,
        #[n(2)]
        matching: u8,
        #[n(3)]
        #[cbor(with = "minicbor::bytes")]
        data: Vec<u8>,
    },
    #[n(8)]
    Caa {
        #[n(0)]
        flags: u8,
        #[n(1)]
        tag: String,
        #[n(2)]
        value: String,
    },
    #[n(9)]
    Ptr(#[n(0)] String),
}

impl Data {
    pub fn address(address: IpAddr) -> Data {
        match address {
            IpAddr::V4(v4) => Data::A(v4),
            IpAddr::V6(v6) => Data::Aaaa(v6),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Data::A(_) => Kind::A,
            Data::Aaaa(_) => Kind::Aaaa,
            Data::Cname(_) => Kind::Cname,
            Data::Ns(_) => Kind::Ns,
            Data::Mx { .. } => Kind::Mx,
            Data::Txt(_) => Kind::Txt,
            Data::Srv { .. } => Kind::Srv,
            Data::Tlsa { .. } => Kind::Tlsa,
            Data::Caa { .. } => Kind::Caa,
            Data::Ptr(_) => Kind::Ptr,
        }
    }

    /// Which forms at providers ask for in a field of its own.
    pub fn priority(&self) -> Option<u16> {
        match self {
            Data::Mx { priority, .. } | Data::Srv { priority, .. } => Some(*priority),
            _ => None,
        }
    }

    /// The value without the priority, as it is typed into a provider's form: names with the dot that ends them, a text
    /// whole and without quotation marks.
    pub fn value(&self) -> String {
        match self {
            Data::A(address) => address.to_string(),
            Data::Aaaa(address) => address.to_string(),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => format!("{name}."),
            Data::Mx { host, .. } => format!("{host}."),
            Data::Txt(text) => text.clone(),
            Data::Srv { weight, port, target, .. } => format!("{weight} {port} {target}."),
            Data::Tlsa { usage, selector, matching, data } => {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{usage} {selector} {matching} {hex}")
            }
            Data::Caa { flags, tag, value } => format!("{flags} {tag} \"{value}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it lies on disk: these bytes must always be readable.
    #[test]
    fn records_of_version_1_are_read() {
        for (data, version_1) in [
            (Data::A(Ipv4Addr::new(192, 0, 2, 1)), "82008144c0000201"),
            (Data::Aaaa(Ipv6Addr::LOCALHOST), "8201815000000000000000000000000000000001"),
            (Data::Cname("a.b".into()), "82028163612e62"),
            (Data::Ns("a.b".into()), "82038163612e62"),
            (Data::Mx { priority: 10, host: "a.b".into() }, "8204820a63612e62"),
            (Data::Txt("t".into()), "8205816174"),
            (Data::Srv { priority: 0, weight: 1, port: 993, target: "a".into() }, "82068400011903e16161"),
            (Data::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7] }, "820784030101 4107"),
            (Data::Caa { flags: 0, tag: "issue".into(), value: "c".into() }, "82088300656973737565 6163"),
            (Data::Ptr("a".into()), "8209816161"),
        ] {
            let version_1 = version_1.replace(' ', "");
            let bytes = minicbor::to_vec(&data).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, version_1, "{data:?}");
            assert_eq!(minicbor::decode::<Data>(&bytes).unwrap(), data);
        }
    }

    #[test]
    fn values_are_as_a_form_wants_them() {
        let srv = Data::Srv { priority: 0, weight: 0, port: 0, target: String::new() };
        assert_eq!((srv.priority(), srv.value().as_str()), (Some(0), "0 0 ."));
        assert_eq!(Data::Mx { priority: 10, host: "mail.a".into() }.value(), "mail.a.");
        assert_eq!(Data::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0, 255] }.value(), "3 1 1 00ff");
    }
}
