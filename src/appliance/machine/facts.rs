//! What the kernel and the scripts of the box write, read.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Of `/proc/cmdline`.
pub(super) fn slot(command_line: &str) -> Option<String> {
    let slot = command_line.split_ascii_whitespace().find_map(|word| word.strip_prefix("homepost.slot="))?;
    matches!(slot, "a" | "b").then(|| slot.to_owned())
}

/// What the loader says of this start by itself: GRUB on the kernel's command line, a Raspberry Pi's firmware in the device tree
/// (`/chosen/bootloader/tryboot`, a number of four bytes).
pub(super) fn is_trial(command_line: &str, tryboot: Option<&[u8]>) -> bool {
    command_line.split_ascii_whitespace().any(|word| word == "homepost.trial=1") || tryboot == Some(&[0, 0, 0, 1])
}

/// Of `/proc/PID/net/fib_trie`: an address of ours is a leaf (`|-- 192.0.2.7`) followed by `/32 host LOCAL`.
pub(super) fn addresses_v4(trie: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !address.is_loopback()
        {
            let address = address.to_string();
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

/// Of `/proc/PID/net/if_inet6`: address, interface, prefix, scope (00 is global), flags, name. Local ones (fd00::/8) are
/// global to the kernel.
pub(super) fn addresses_v6(table: &str) -> Vec<String> {
    let rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"00"))
        .filter_map(|row| u128::from_str_radix(row.first()?, 16).ok())
        .map(|bits| Ipv6Addr::from_bits(bits).to_string())
        .collect()
}

/// Of `/proc/PID/net/dev`: whether there is an interface but the one that leads nowhere.
pub(super) fn has_network(table: &str) -> bool {
    table.lines().skip(2).filter_map(|line| line.split_once(':')).any(|(name, _)| name.trim() != "lo")
}

/// The user id of a name in the text of `/etc/passwd`.
pub(super) fn user(table: &str, name: &str) -> Option<u32> {
    field(table, name, 2)
}

/// The same of the user's first group.
pub(super) fn group(table: &str, name: &str) -> Option<u32> {
    field(table, name, 3)
}

fn field(table: &str, name: &str, at: usize) -> Option<u32> {
    let mut rows = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    rows.find(|row| row.first() == Some(&name))?.get(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_a_or_b() {
        assert_eq!(slot("BOOT_IMAGE=/x quiet homepost.slot=b ro\n").as_deref(), Some("b"));
        assert_eq!(slot("homepost.slot=../x"), None);
        assert_eq!(slot("root=/dev/sda1"), None);
    }

    #[test]
    fn the_loader_says_that_a_start_is_a_trial() {
        assert!(is_trial("quiet homepost.trial=1 ro\n", None) && is_trial("quiet", Some(&[0, 0, 0, 1])));
        assert!(!is_trial("homepost.trial=10 xhomepost.trial=1", Some(&[0, 0, 0, 0])));
        assert!(!is_trial("", Some(&[1])));
    }

    #[test]
    fn addresses_are_those_of_the_machine_and_each_once() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n        |-- 127.0.0.1\n           \
                    /32 host LOCAL\n        |-- 192.0.2.2\n           /32 host LOCAL\n        |-- 192.0.2.255\n           /32 \
                    link BROADCAST\nLocal:\n        |-- 192.0.2.2\n           /32 host LOCAL\n        |-- 10.0.2.15\n           \
                    /32 host LOCAL\n";
        assert_eq!(addresses_v4(trie), ["192.0.2.2", "10.0.2.15"]);
        let table = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
                     20010db8000000000000000000000002 04 40 00 82     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\nrubbish\n";
        assert_eq!(addresses_v6(table), ["2001:db8::2"]);
        assert!(addresses_v4("|-- x\n/32 host LOCAL").is_empty());
    }

    #[test]
    fn a_network_is_an_interface_but_lo() {
        let head = "Inter-|   Receive\n face |bytes\n";
        assert!(!has_network(&format!("{head}    lo:  1 2\n")));
        assert!(has_network(&format!("{head}    lo:  1 2\n  eth0: 1\n")));
    }

    #[test]
    fn a_user_has_a_number() {
        let table = "root:x:0:0:root:/:/bin/false\nhomepost:x:990:990:mail:/data:/bin/false\n";
        assert_eq!(user(table, "homepost"), Some(990));
        assert_eq!(user(table, "home"), None);
    }
}
