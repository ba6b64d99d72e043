//! Whom an address stands for, and who makes room where many come from one place.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;

use heliograph_domain::block_of;

/// Whom an `address:port` stands for: the address, of IPv6 its /64, since whoever has
/// one has all of it. The port says nothing.
pub(crate) fn host_of(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) => block_of(address.ip()).to_string(),
        Err(_) => address.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
    }
}

/// Entries with their hosts and bytes, from the oldest, in the order in which they
/// make room: first those of the host that has most, in entries, then in bytes.
pub(crate) fn crowds_first<T>(mut entries: Vec<(String, u64, T)>) -> impl Iterator<Item = T> {
    let mut crowds: HashMap<String, (usize, u64)> = HashMap::new();
    for (host, bytes, _) in &entries {
        let crowd = crowds.entry(host.clone()).or_default();
        *crowd = (crowd.0 + 1, crowd.1 + bytes);
    }
    // Stable: of a host the oldest stays the first.
    entries.sort_by_key(|(host, ..)| Reverse(crowds.get(host).copied()));
    entries.into_iter().map(|(.., entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_by_its_address_and_of_ipv6_by_its_first_half() {
        assert_eq!(host_of("192.0.2.7:4000"), host_of("192.0.2.7:4001"));
        assert_ne!(host_of("192.0.2.7:4000"), host_of("192.0.2.70:4000"));
        assert_eq!(host_of("[::ffff:192.0.2.7]:1"), host_of("192.0.2.7:2"));
        assert_eq!(host_of("[2001:db8:1:2::1]:4000"), host_of("[2001:db8:1:2:ffff::9]:1"));
        assert_ne!(host_of("[2001:db8:1:2::1]:4000"), host_of("[2001:db8:1:3::1]:4000"));
        assert_eq!(host_of("demo:4000"), host_of("demo:1"));
    }

    #[test]
    fn the_oldest_of_the_largest_crowd_makes_room_first() {
        let of = |host: &str, bytes, name| (host.to_owned(), bytes, name);
        let entries = vec![of("a", 9, "a1"), of("b", 1, "b1"), of("c", 1, "c1"), of("b", 1, "b2"), of("c", 9, "c2")];
        assert_eq!(crowds_first(entries).collect::<Vec<_>>(), ["c1", "c2", "b1", "b2", "a1"]);
    }
}
