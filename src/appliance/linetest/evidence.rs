//! What was measured, and what single measurements mean.

use std::net::{IpAddr, Ipv4Addr};

use crate::filter::Listing;

/// One try to reach a mail server elsewhere on port 25.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The mail server's name.
    pub target: String,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has no address, or nobody answers for its name.
    NoName,
    /// The machine has no way there: no address of this family, no route.
    NoRoute,
    /// Nothing came back.
    Silence,
    /// The connection was refused, or cut before a word.
    Refused,
    /// It said a reply code: 220, or why it does not want us.
    Spoke(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    Open,
    /// The way is open; this one does not want letters from our address. The reply code.
    TargetRefuses {
        target: String,
        code: u16,
    },
    /// All of several are silent or refuse: somebody on the way does not let port 25 through.
    ProviderBlocks,
    /// No name could be looked up, so nothing is known about the port.
    NoNames,
    /// This family of addresses is not there.
    NoAddress,
    Unknown,
}

/// Several targets of different owners belong to a fair trial: one that is silent is one that is silent.
pub fn outbound(attempts: &[Attempt]) -> Outbound {
    let ends = |wanted: fn(&End) -> bool| attempts.iter().filter(|attempt| wanted(&attempt.end)).count();
    if attempts.is_empty() {
        return Outbound::Unknown;
    }
    // RFC 5321 3.1: 220 is a server that listens; 421 and 554 are words from one all the same.
    if attempts.iter().any(|attempt| attempt.end == End::Spoke(220)) {
        return Outbound::Open;
    }
    if let Some((target, code)) = attempts.iter().find_map(|attempt| match attempt.end {
        End::Spoke(code) => Some((attempt.target.clone(), code)),
        _ => None,
    }) {
        return Outbound::TargetRefuses { target, code };
    }
    if ends(|end| *end == End::NoName) == attempts.len() {
        return Outbound::NoNames;
    }
    if ends(|end| matches!(end, End::NoRoute | End::NoName)) == attempts.len() {
        return Outbound::NoAddress;
    }
    match ends(|end| matches!(end, End::Silence | End::Refused)) {
        2.. => Outbound::ProviderBlocks,
        _ => Outbound::Unknown,
    }
}

/// Whether others can open a connection to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    Open,
    Closed,
    /// It can only be seen from outside, and nobody outside looked.
    Unknown,
}

/// The name of the address (RFC 1912 2.1), and whether it leads back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ptr {
    Right,
    Missing,
    /// The provider's own name for it, or one that leads elsewhere.
    Other(String),
    Unknown,
}

/// Whether an address cannot be reached from the internet: private (RFC 1918), or the provider's shared range (RFC 6598).
pub fn is_shared(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || address.is_loopback() || address.is_link_local() || (a == 100 && (64..128).contains(&b))
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// There is a way out of the house.
    pub online: bool,
    /// How the world sees us.
    pub seen: Option<Ipv4Addr>,
    /// The address that the router says it has on its outer side.
    pub router: Option<Ipv4Addr>,
    /// The box's own IPv6 address that can be reached.
    pub six: Option<IpAddr>,
    pub out_four: Outbound,
    pub out_six: Outbound,
    pub in_four: Inbound,
    pub in_six: Inbound,
    pub ptr_four: Ptr,
    pub ptr_six: Ptr,
    /// The list's name and what it says of the IPv4 address.
    pub lists: Vec<(String, Listing)>,
    /// Whether the router lets us reach our own outer address from inside.
    pub hairpin: Option<bool>,
    /// Whether the outer address has changed since it was seen first.
    pub changes: Option<bool>,
}

impl Evidence {
    /// Nothing is known but that there is, or is not, a way out.
    pub fn nothing(online: bool) -> Evidence {
        Evidence {
            online,
            seen: None,
            router: None,
            six: None,
            out_four: Outbound::Unknown,
            out_six: Outbound::Unknown,
            in_four: Inbound::Unknown,
            in_six: Inbound::Unknown,
            ptr_four: Ptr::Unknown,
            ptr_six: Ptr::Unknown,
            lists: Vec::new(),
            hairpin: None,
            changes: None,
        }
    }

    /// Carrier-grade NAT: the router's outer address is not one of the internet, or not the one the world sees.
    pub fn is_behind_shared_address(&self) -> bool {
        match (self.router, self.seen) {
            (Some(router), _) if is_shared(router) => true,
            (Some(router), Some(seen)) => router != seen,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(ends: &[End]) -> Vec<Attempt> {
        ends.iter().enumerate().map(|(n, end)| Attempt { target: format!("mx{n}.example"), end: *end }).collect()
    }

    #[test]
    fn a_blocked_port_a_target_that_refuses_and_no_names_are_told_apart() {
        use End::*;
        assert_eq!(outbound(&tries(&[Silence, Refused, Spoke(220)])), Outbound::Open, "one that listens is enough");
        let refused = Outbound::TargetRefuses { target: "mx1.example".into(), code: 554 };
        assert_eq!(outbound(&tries(&[Silence, Spoke(554), Silence])), refused);
        assert_eq!(outbound(&tries(&[Silence, Silence, Refused])), Outbound::ProviderBlocks);
        assert_eq!(outbound(&tries(&[NoName, NoName])), Outbound::NoNames);
        assert_eq!(outbound(&tries(&[NoRoute, NoName])), Outbound::NoAddress);
        assert_eq!(outbound(&tries(&[Silence])), Outbound::Unknown, "one silent server proves nothing");
        assert_eq!(outbound(&tries(&[NoName, Silence])), Outbound::Unknown);
        assert_eq!(outbound(&[]), Outbound::Unknown);
    }

    #[test]
    fn shared_addresses_are_known() {
        for shared in ["100.64.0.1", "100.127.255.255", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.1.1"] {
            assert!(is_shared(shared.parse().unwrap()), "{shared}");
        }
        for own in ["100.63.255.255", "100.128.0.0", "172.32.0.1", "203.0.113.7"] {
            assert!(!is_shared(own.parse().unwrap()), "{own}");
        }
    }
}
