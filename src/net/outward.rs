//! Which addresses of ours are the world's.

use std::net::IpAddr;

/// The addresses from which this machine speaks to the internet, as far as the world can answer them: none behind a router
/// that translates. Sends nothing.
pub fn outward_addresses() -> Vec<IpAddr> {
    // A datagram socket that is connected knows its own side; documentation prefixes, RFC 5737 and RFC 3849.
    let towards = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let own = towards.into_iter().filter_map(|(from, to)| {
        let socket = std::net::UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.filter(|address| is_public(*address)).collect()
}

/// Whether an address is one that strangers can reach: not of a house (RFC 1918, RFC 4193), a provider's shared ones
/// (RFC 6598), a link's own, loopback, documentation's or several hosts'.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a == 192 && b == 0 && c == 0))
        }
        // Only 2000::/3 is given out to networks (RFC 4291 2.4).
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000 && v6.segments()[..2] != [0x2001, 0xdb8],
    }
}
