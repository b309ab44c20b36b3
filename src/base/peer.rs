//! Who a peer is, where it matters how often it comes.

use std::net::{IpAddr, Ipv6Addr};

/// What is counted as one: an IPv4 address, an IPv6 /64 (which one person is given whole); nothing for this machine's own
/// addresses.
pub fn counted(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        own if own.is_loopback() => None,
        IpAddr::V4(four) => Some(four.into()),
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Some(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_this_machine_not_at_all() {
        let counted = |text: &str| counted(text.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(counted("2001:db8:0:1:2:3:4:5").as_deref(), Some("2001:db8:0:1::"));
        assert_eq!(counted("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(counted("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!([counted("127.0.0.9"), counted("::1"), counted("::ffff:127.0.0.1")], [None, None, None]);
    }
}
