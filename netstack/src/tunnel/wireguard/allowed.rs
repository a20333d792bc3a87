//! Cryptokey routing: whose an inner address is (whitepaper §2).
//!
//! The networks of all peers are cut into ranges that do not overlap, each with the peer of the longest network around it,
//! when the table is made. A lookup is a binary search over the beginnings of the ranges.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::id::IpCidr;

/// The networks behind the peers of one interface. It holds no more than twice as many ranges as it was given networks.
#[derive(Debug, Clone, Default)]
pub struct AllowedIps {
    ipv4: Ranges<u32>,
    ipv6: Ranges<u128>,
}

impl AllowedIps {
    /// A table of `networks`, each with the number of its peer. Of two that are the same, the later one holds. Bits behind
    /// a prefix do not matter.
    pub fn new(networks: impl IntoIterator<Item = (IpCidr, u16)>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (network, peer) in networks {
            match network {
                IpCidr::V4(network) => {
                    let first = u128::from(network.network().to_bits());
                    ipv4.push(Network { first, last: first | u128::from(!network.mask()), peer });
                }
                IpCidr::V6(network) => {
                    let first = network.network().address.to_bits();
                    ipv6.push(Network { first, last: first | !network.mask(), peer });
                }
            }
        }
        AllowedIps { ipv4: Ranges::new(ipv4, |n| n as u32), ipv6: Ranges::new(ipv6, |n| n) }
    }

    /// The peer whose networks hold `address`: that of the longest prefix.
    #[inline]
    pub fn peer_of(&self, address: IpAddr) -> Option<u16> {
        match address {
            IpAddr::V4(address) => self.ipv4.peer_of(address.to_bits()),
            IpAddr::V6(address) => self.ipv6.peer_of(address.to_bits()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Network {
    first: u128,
    last: u128,
    peer: u16,
}

/// Ranges that follow each other without a gap: each begins at its address and belongs to its peer, if any.
#[derive(Debug, Clone, Default)]
struct Ranges<T> {
    begins: Vec<T>,
    peers: Vec<Option<u16>>,
}

impl<T: Copy + Ord> Ranges<T> {
    fn new(mut networks: Vec<Network>, narrow: impl Fn(u128) -> T) -> Self {
        // A network comes after those around it; they are on the stack while it is looked at.
        networks.sort_by_key(|network| (network.first, core::cmp::Reverse(network.last)));
        let mut ranges: Vec<(u128, Option<u16>)> = vec![];
        let mut around: Vec<Network> = vec![];
        let mut begin = |first: u128, peer: Option<u16>| match ranges.last_mut() {
            Some(range) if range.0 == first => range.1 = peer,
            _ => ranges.push((first, peer)),
        };
        for network in networks.into_iter().map(Some).chain([None]) {
            let first = network.map_or(u128::MAX, |network| network.first);
            while let Some(ended) = around.pop_if(|inner| network.is_none() || inner.last < first) {
                if let Some(behind) = ended.last.checked_add(1) {
                    begin(behind, around.last().map(|outer| outer.peer));
                }
            }
            if let Some(network) = network {
                begin(network.first, Some(network.peer));
                around.push(network);
            }
        }
        // Behind the last IPv4 address there is nothing.
        ranges.retain(|&(first, peer)| peer.is_some() || first <= u128::from(u32::MAX) || size_of::<T>() > 4);
        Ranges {
            begins: ranges.iter().map(|&(first, _)| narrow(first)).collect(),
            peers: ranges.iter().map(|&(_, peer)| peer).collect(),
        }
    }

    #[inline]
    fn peer_of(&self, address: T) -> Option<u16> {
        let behind = self.begins.partition_point(|&begin| begin <= address);
        self.peers.get(behind.checked_sub(1)?).copied()?
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::id::{Ipv4Cidr, Ipv6Cidr};
    use crate::rng::{Rng, SeededRng};

    fn v4(address: [u8; 4], prefix: u8) -> IpCidr {
        IpCidr::V4(Ipv4Cidr { address: address.into(), prefix })
    }

    fn v6(text: &str) -> IpCidr {
        IpCidr::V6(text.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_says_whose_an_address_is() {
        let table = AllowedIps::new([
            (v4([0, 0, 0, 0], 0), 0),
            (v4([10, 0, 0, 0], 8), 1),
            (v4([10, 1, 0, 0], 16), 2),
            (v4([10, 1, 2, 3], 32), 3),
            (v4([255, 255, 255, 255], 32), 4),
            (v6("2001:db8::/32"), 5),
            (v6("2001:db8:1::/48"), 6),
        ]);
        let of = |text: &str| table.peer_of(text.parse().unwrap());
        assert_eq!((of("9.255.255.255"), of("11.0.0.0"), of("0.0.0.0")), (Some(0), Some(0), Some(0)));
        assert_eq!((of("10.0.0.0"), of("10.255.255.255")), (Some(1), Some(1)));
        assert_eq!((of("10.1.2.2"), of("10.1.2.3"), of("10.1.2.4")), (Some(2), Some(3), Some(2)));
        assert_eq!((of("255.255.255.254"), of("255.255.255.255")), (Some(0), Some(4)));
        assert_eq!((of("2001:db8::1"), of("2001:db8:1::1"), of("2001:db8:2::")), (Some(5), Some(6), Some(5)));
        assert_eq!((of("2001:db7::1"), of("2001:db9::"), of("::")), (None, None, None));
    }

    #[test]
    fn an_empty_table_knows_nobody_and_the_later_of_two_holds() {
        assert_eq!(AllowedIps::default().peer_of(Ipv4Addr::LOCALHOST.into()), None);
        let table = AllowedIps::new([(v4([10, 0, 0, 1], 24), 1), (v4([10, 0, 0, 2], 24), 2)]);
        assert_eq!(table.peer_of(Ipv4Addr::new(10, 0, 0, 9).into()), Some(2));
        let table = AllowedIps::new([(v6("::/0"), 7)]);
        assert_eq!(table.peer_of(Ipv6Addr::from_bits(u128::MAX).into()), Some(7));
        assert_eq!(table.peer_of(Ipv4Addr::LOCALHOST.into()), None);
    }

    #[test]
    fn a_table_says_what_a_look_at_every_network_would() {
        let mut rng = SeededRng::from_u64(3);
        for _ in 0..500 {
            let networks: Vec<(IpCidr, u16)> = (0..rng.below(30) as u16)
                .map(|peer| {
                    let bits = rng.next_u32() & 0x0303_0303;
                    if rng.below(2) == 0 {
                        (v4(bits.to_be_bytes(), rng.below(33) as u8), peer)
                    } else {
                        let address = Ipv6Addr::from_bits(u128::from(bits) << rng.below(97));
                        (IpCidr::V6(Ipv6Cidr { address, prefix: rng.below(129) as u8 }), peer)
                    }
                })
                .collect();
            let table = AllowedIps::new(networks.iter().copied());
            assert!(table.ipv4.begins.len() + table.ipv6.begins.len() <= networks.len() * 2);
            for _ in 0..100 {
                let bits = rng.next_u32() & 0x0303_0303;
                let addresses: [IpAddr; 2] = [
                    Ipv4Addr::from_bits(bits).into(),
                    Ipv6Addr::from_bits(u128::from(bits) << rng.below(97)).into(),
                ];
                for address in addresses {
                    let holding = networks.iter().filter(|(network, _)| network.contains(address));
                    let longest = holding.max_by_key(|(network, _)| network.prefix());
                    assert_eq!(
                        table.peer_of(address),
                        longest.map(|&(_, peer)| peer),
                        "{address} in {networks:?}"
                    );
                }
            }
        }
    }
}
