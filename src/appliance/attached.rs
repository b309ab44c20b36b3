//! Which networks the box is directly attached to, read from what the kernel tells in /proc/net. Pure: text in, networks out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks at the other end of the box's own cables and radios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    four: Vec<(u32, u32)>,
    six: Vec<(u128, u32)>,
    /// Whether there is a way out of the house.
    pub way_out: bool,
    /// Where that way begins, over IPv4.
    pub gateway: Option<Ipv4Addr>,
}

impl Attached {
    /// From the text of /proc/net/route and /proc/net/ipv6_route. Lines that are none are passed over.
    pub fn read(route: &str, ipv6_route: &str) -> Attached {
        let mut attached = Attached::default();
        for line in route.lines().skip(1) {
            // Iface Destination Gateway Flags RefCnt Use Metric Mask …, numbers as the machine has them in memory
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let hex = |at: usize| fields.get(at).and_then(|text| u32::from_str_radix(text, 16).ok()).map(u32::from_be);
            let (Some(to), Some(gateway), Some(mask)) = (hex(1), hex(2), hex(7)) else { continue };
            match (mask, gateway) {
                (0, gateway) => {
                    attached.way_out = true;
                    attached.gateway = Some(Ipv4Addr::from(gateway)).filter(|gateway| !gateway.is_unspecified());
                }
                (mask, 0) if fields[0] != "lo" => attached.four.push((to & mask, mask)),
                _ => {}
            }
        }
        for line in ipv6_route.lines() {
            // destination, its length, source, its length, next hop, metric, references, use, flags, device
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [to, length, _, _, hop, .., flags, device] = fields[..] else { continue };
            let wide = |text: &str| u128::from_str_radix(text, 16).ok();
            let (Some(to), Some(hop)) = (wide(to), wide(hop)) else { continue };
            let (Ok(length), Ok(flags)) = (u32::from_str_radix(length, 16), u32::from_str_radix(flags, 16)) else {
                continue;
            };
            if device == "lo" || length > 128 {
                continue;
            }
            const REJECT: u32 = 0x200;
            match (length, hop) {
                (0, _) if flags & REJECT == 0 => attached.way_out = true,
                (8.., 0) if to >> 120 != 0xff => attached.six.push((to, length)),
                _ => {}
            }
        }
        attached
    }

    /// The box itself counts.
    pub fn is_near(&self, peer: IpAddr) -> bool {
        match peer.to_canonical() {
            peer if peer.is_loopback() => true,
            IpAddr::V4(four) => self.four.iter().any(|(to, mask)| u32::from(four) & mask == *to),
            IpAddr::V6(six) => {
                let six = u128::from(six);
                // fe80::/10 goes through no router.
                six >> 118 == 0xfe80 >> 6
                    || self.six.iter().any(|(to, length)| {
                        let shift = 128 - length;
                        shift == 128 || (six >> shift) == (to >> shift)
                    })
            }
        }
    }
}

/// The box's own addresses that can be typed into a browser, from the text of /proc/net/fib_trie and /proc/net/if_inet6:
/// IPv4 first, nothing of loopback, no link-local IPv6.
pub fn own_addresses(fib_trie: &str, if_inet6: &str) -> Vec<IpAddr> {
    let mut out: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in fib_trie.lines() {
        let mut words = line.trim_start_matches([' ', '|', '-', '+']).split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(address), None, None) => last = address.parse::<Ipv4Addr>().ok(),
            (Some("/32"), Some("host"), Some("LOCAL")) => {
                if let Some(address) = last.filter(|address| !address.is_loopback())
                    && !out.contains(&address.into())
                {
                    out.push(address.into());
                }
            }
            _ => {}
        }
    }
    for line in if_inet6.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // address, index, length of the prefix, scope (00: global), flags, device
        if let [address, _, _, "00", ..] = fields[..]
            && let Ok(address) = u128::from_str_radix(address, 16)
        {
            out.push(Ipv6Addr::from(address).into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0114A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0014A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
eth0\t0000000A\t0114A8C0\t0003\t0\t0\t100\t000000FF\t0\t0\t0
";
    const ROUTE6: &str = "\
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn near_is_what_needs_no_router() {
        let attached = Attached::read(ROUTE, ROUTE6);
        assert!(attached.way_out);
        for near in ["192.168.20.7", "::ffff:192.168.20.7", "127.0.0.1", "::1", "2001:db8::7", "fe80::7"] {
            assert!(attached.is_near(ip(near)), "{near}");
        }
        for far in ["192.168.21.7", "10.0.0.1", "203.0.113.7", "2001:db8:0:1::7", "2a00::1", "ff02::1"] {
            assert!(!attached.is_near(ip(far)), "{far}");
        }
    }

    #[test]
    fn without_a_network_only_the_box_itself_is_near() {
        let attached = Attached::read("", "junk\n");
        assert!(!attached.way_out);
        assert!(attached.is_near(ip("127.0.0.1")) && !attached.is_near(ip("192.168.20.7")));
    }

    #[test]
    fn the_boxs_own_addresses() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 192.168.20.0/24 2 0 2\n        \
                    |-- 192.168.20.0\n           /24 link UNICAST\n        |-- 192.168.20.5\n           /32 host LOCAL\n        \
                    |-- 192.168.20.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n           /32 host LOCAL\n";
        let six = "fe800000000000000000000000000005 02 40 20 80     eth0\n20010db8000000000000000000000005 02 40 00 00     eth0\n\
                   00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(own_addresses(&format!("{trie}{trie}"), six), [ip("192.168.20.5"), ip("2001:db8::5")]);
    }
}
