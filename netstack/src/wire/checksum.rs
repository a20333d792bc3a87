//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A [`Sum`] is a ones-complement sum of 16-bit words; the checksum field of a packet is the sum's complement. When a
//! field of a packet changes, the sum changes by `new - old`: that is a [`Delta`], which a flow computes once and applies
//! to every packet.
//!
//! A *partial* checksum (what a sender with checksum offload leaves) is the pseudo-header's sum, not complemented. A
//! change of address therefore applies to it with the other sign, and a change of port does not apply at all: the device
//! will sum the ports itself.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::octets::set_u16;

/// A ones-complement sum of 16-bit words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u16);

impl Sum {
    /// The sum of `bytes`, taken as big-endian words; an odd last octet is followed by a zero.
    pub fn of(bytes: &[u8]) -> Self {
        // Ones-complement addition does not care for the order of octets (RFC 1071 §2 B), so the words are added as
        // the machine reads them, eight octets at a time, and the result is turned round once.
        let (blocks, tail) = bytes.as_chunks::<32>();
        let mut lanes = [0u128; 4];
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = lane.wrapping_add(u128::from(u64::from_ne_bytes(*word)));
            }
        }
        let mut total = lanes.iter().fold(0u128, |total, lane| total.wrapping_add(*lane));
        let (words, tail) = tail.as_chunks::<8>();
        for word in words {
            total = total.wrapping_add(u128::from(u64::from_ne_bytes(*word)));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        total = total.wrapping_add(u128::from(u64::from_ne_bytes(last)));
        let folded = fold((total as u64 & 0xffff_ffff) + (total as u64 >> 32) + (total >> 64) as u64);
        Sum(u16::from_be(folded))
    }

    /// The sum of the pseudo-header of a TCP segment or UDP datagram of `len` octets over IPv4 (RFC 9293 §3.1).
    pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> Self {
        Sum::of(&source.octets())
            .plus(Sum::of(&destination.octets()))
            .plus(Sum(u16::from(protocol)))
            .plus(Sum(len))
    }

    /// The sum of the pseudo-header of an upper-layer packet of `len` octets over IPv6 (RFC 8200 §8.1).
    pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, len: u32) -> Self {
        Sum::of(&source.octets())
            .plus(Sum::of(&destination.octets()))
            .plus(Sum(u16::from(next_header)))
            .plus(Sum(fold(u64::from(len))))
    }

    /// Both sums together. The octets of the first must be an even number, or be the last to be summed.
    pub fn plus(self, other: Sum) -> Self {
        Sum(add(self.0, other.0))
    }

    /// The sum itself, as a partial checksum's field holds it.
    pub fn value(self) -> u16 {
        self.0
    }

    /// The complement, as a checksum field holds it.
    pub fn checksum(self) -> u16 {
        !self.0
    }

    /// The complement as UDP's field holds it, where 0 would mean "no checksum" (RFC 768).
    pub fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }

    /// True when this is the sum of data that include their own, right checksum.
    pub fn is_right(self) -> bool {
        self.0 == 0xffff
    }
}

/// The change of a sum by the change of some of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Delta = Delta(0);

    /// The change of an aligned 16- or 32-bit field from `old` to `new`.
    pub fn of(old: impl Into<u32>, new: impl Into<u32>) -> Self {
        Delta(fold(u64::from(!fold(u64::from(old.into()))) + u64::from(new.into())))
    }

    /// The change of an IPv4 address from `old` to `new`.
    pub fn of_address(old: Ipv4Addr, new: Ipv4Addr) -> Self {
        Delta::of(old, new)
    }

    /// The change as a number, to be added to a sum.
    pub fn value(self) -> u16 {
        self.0
    }

    /// Both changes together.
    pub fn and(self, other: Delta) -> Self {
        Delta(add(self.0, other.0))
    }

    /// The checksum field after the change (RFC 1624 equation 3).
    pub fn apply(self, field: u16) -> u16 {
        !add(!field, self.0)
    }

    /// A UDP checksum field after the change: 0 stays 0, for there is no checksum; and none becomes 0 (RFC 768).
    pub fn apply_udp(self, field: u16) -> u16 {
        match field {
            0 => 0,
            field => match self.apply(field) {
                0 => 0xffff,
                field => field,
            },
        }
    }

    /// A partial checksum field after the change. The change must be one of the pseudo-header alone.
    pub fn apply_partial(self, field: u16) -> u16 {
        add(field, self.0)
    }
}

/// The checksum field after an aligned 16- or 32-bit field under it changed from `old` to `new` (RFC 1624).
pub fn update(field: u16, old: impl Into<u32>, new: impl Into<u32>) -> u16 {
    Delta::of(old, new).apply(field)
}

/// Ones-complement addition.
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(u16::from(carry))
}

/// Gives data that an update has left nothing but zeros their checksum at `at`. It is 0xffff, and an update says 0: it cannot
/// tell data whose sum is 0 from those whose sum is 0xffff, and only zeros have the former (RFC 1624 §3). A pseudo-header is
/// never zeros, so this is for ICMP alone.
pub fn mend_zeros(data: &mut [u8], at: usize) {
    if data.iter().all(|&octet| octet == 0) {
        set_u16(data, at, 0xffff);
    }
}

/// Adds the carries back in until none are left. `value` is below 2⁶⁰.
fn fold(value: u64) -> u16 {
    let value = (value & 0xffff_ffff) + (value >> 32);
    let value = (value & 0xffff) + (value >> 16);
    let value = (value & 0xffff) + (value >> 16);
    let value = (value & 0xffff) + (value >> 16);
    value as u16
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn rfc1071_section_3_example() {
        assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).value(), 0xddf2);
    }

    #[test]
    fn rfc1624_section_4_example() {
        assert_eq!(update(0xdd2f, 0x5555u16, 0x3285u16), 0x0000);
    }

    #[test]
    fn the_sum_of_the_largest_words_keeps_every_carry() {
        for len in [31, 32, 33, 65_535, 65_536, 200_000] {
            let bytes = alloc::vec![0xff; len];
            assert_eq!(Sum::of(&bytes).value(), reference(&bytes), "{len} octets");
        }
    }

    #[test]
    fn rfc768_a_udp_checksum_never_becomes_zero_and_none_stays_none() {
        assert_eq!(Sum(0xffff).udp_checksum(), 0xffff);
        assert_eq!(Delta::of(1u16, 2u16).apply_udp(0), 0);
        // 0xfffe - 0xfffe: the plain update gives 0.
        assert_eq!(Delta::of(0u16, 0xfffeu16).apply(0xfffe), 0);
        assert_eq!(Delta::of(0u16, 0xfffeu16).apply_udp(0xfffe), 0xffff);
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..300), skip in 0usize..9) {
            let bytes = bytes.get(skip..).unwrap_or_default();
            prop_assert_eq!(Sum::of(bytes).value(), reference(bytes));
        }

        #[test]
        fn sums_of_parts_add_up(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..150) {
            let at = (at * 2).min(bytes.len() & !1);
            let (a, b) = bytes.split_at(at);
            prop_assert_eq!(Sum::of(a).plus(Sum::of(b)).value(), reference(&bytes));
        }

        #[test]
        fn an_update_equals_full_recomputation(
            mut words in prop::collection::vec(any::<u16>(), 3..40),
            at in any::<prop::sample::Index>(),
            new in any::<u32>(),
        ) {
            let octets = |words: &[u16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
            words[0] |= 1; // the sum of all zeros is the one that has no second zero
            let before = Sum::of(&octets(&words));
            let at = 1 + at.index(words.len() - 2);
            let old = u32::from(words[at]) << 16 | u32::from(words[at + 1]);
            words[at] = (new >> 16) as u16;
            words[at + 1] = new as u16;
            let after = Sum::of(&octets(&words));
            prop_assert_eq!(update(before.checksum(), old, new), after.checksum());
            prop_assert_eq!(Delta::of(old, new).apply_partial(before.value()), after.value());

            // and back, and twice at once
            prop_assert_eq!(update(after.checksum(), new, old), before.checksum());
            let there_and_back = Delta::of(old, new).and(Delta::of(new, old));
            prop_assert_eq!(there_and_back.apply(before.checksum()), before.checksum());
        }

        #[test]
        fn a_udp_update_equals_full_recomputation(
            source in any::<[u8; 4]>(), new_source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(),
            port in any::<u16>(), new_port in any::<u16>(), payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let whole = |source: [u8; 4], port: u16| {
                let len = 8 + payload.len() as u16;
                let head = [port.to_be_bytes(), [0, 53], len.to_be_bytes(), [0, 0]].concat();
                Sum::pseudo_v4(source.into(), destination.into(), 17, len).plus(Sum::of(&head)).plus(Sum::of(&payload))
            };
            let delta = Delta::of_address(source.into(), new_source.into()).and(Delta::of(port, new_port));
            prop_assert_eq!(delta.apply_udp(whole(source, port).udp_checksum()), whole(new_source, new_port).udp_checksum());
        }

        #[test]
        fn a_partial_checksum_follows_the_addresses_and_completes_to_the_right_one(
            source in any::<[u8; 4]>(), new_source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(),
            payload in prop::collection::vec(any::<u8>(), 1..64),
        ) {
            let len = payload.len() as u16;
            let before = Sum::pseudo_v4(source.into(), destination.into(), 6, len);
            let after = Sum::pseudo_v4(new_source.into(), destination.into(), 6, len);
            let field = Delta::of_address(source.into(), new_source.into()).apply_partial(before.value());
            prop_assert_eq!(field, after.value());
            prop_assert_eq!(Sum(field).plus(Sum::of(&payload)), after.plus(Sum::of(&payload)));
        }
    }

    #[test]
    fn pseudo_headers_are_those_of_the_rfcs() {
        let (a, b) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7));
        let bytes = [192, 0, 2, 1, 198, 51, 100, 7, 0, 17, 0x12, 0x34];
        assert_eq!(Sum::pseudo_v4(a, b, 17, 0x1234).value(), reference(&bytes));

        let (a, b): (Ipv6Addr, Ipv6Addr) = ("2001:db8::1".parse().unwrap(), "fe80::1:2".parse().unwrap());
        let bytes = [&a.octets()[..], &b.octets()[..], &[0, 1, 0x12, 0x34, 0, 0, 0, 6]].concat();
        assert_eq!(Sum::pseudo_v6(a, b, 6, 0x1_1234).value(), reference(&bytes));
    }
}
