//! What a packet that leaves the router must be.

use genkan_netstack::wire::checksum::Sum;
use genkan_netstack::wire::ipv4::{self, Ipv4};
use genkan_netstack::wire::ipv6::{self, Ipv6};

/// Panics unless `bytes` is exactly one IPv4 packet whose checksums are right: the header's and, where the packet is
/// whole, that of ICMP, UDP or TCP.
pub fn ipv4(bytes: &[u8]) -> Ipv4<'_> {
    let packet = ipv4_header(bytes);
    if !packet.is_fragment() {
        assert!(transport_is_right(packet), "the transport's checksum is right: {bytes:02x?}");
    }
    packet
}

/// The same, but for what the header is in front of.
pub fn ipv4_header(bytes: &[u8]) -> Ipv4<'_> {
    let packet = Ipv4::parse(bytes).unwrap_or_else(|| panic!("this is no IPv4 packet: {bytes:02x?}"));
    assert_eq!(packet.total_len(), bytes.len(), "the packet ends where its length says: {bytes:02x?}");
    assert!(Sum::of(packet.header()).is_right(), "the header's checksum is right: {bytes:02x?}");
    packet
}

/// Panics unless `bytes` is exactly one IPv6 packet, without extension headers, whose checksum of ICMPv6, UDP or TCP is right.
pub fn ipv6(bytes: &[u8]) -> Ipv6<'_> {
    let packet = Ipv6::parse(bytes).unwrap_or_else(|| panic!("this is no IPv6 packet: {bytes:02x?}"));
    let payload = packet.payload();
    assert_eq!(ipv6::HEADER + payload.len(), bytes.len(), "it ends where its length says: {bytes:02x?}");
    let (next_header, len) = (packet.next_header(), payload.len() as u32);
    assert!(matches!(next_header, ipv6::ICMPV6 | ipv6::UDP | ipv6::TCP), "{next_header}: {bytes:02x?}");
    let pseudo = Sum::pseudo_v6(packet.source(), packet.destination(), next_header, len);
    assert!(pseudo.plus(Sum::of(payload)).is_right(), "the transport's checksum is right: {bytes:02x?}");
    packet
}

/// True when the checksum of a whole packet's ICMP, UDP or TCP is right, or when it has none, for its header is cut.
pub fn transport_is_right(packet: Ipv4<'_>) -> bool {
    let payload = packet.payload();
    let pseudo = |protocol| {
        let len = u16::try_from(payload.len()).expect("an IPv4 packet is not longer");
        Sum::pseudo_v4(packet.source(), packet.destination(), protocol, len)
    };
    match packet.protocol() {
        ipv4::ICMP | ipv4::UDP if payload.len() < 8 => true,
        ipv4::TCP if payload.len() < 20 => true,
        ipv4::ICMP => Sum::of(payload).is_right(),
        ipv4::UDP if payload.get(6..8) == Some(&[0, 0]) => true,
        ipv4::UDP => pseudo(ipv4::UDP).plus(Sum::of(payload)).is_right(),
        ipv4::TCP => pseudo(ipv4::TCP).plus(Sum::of(payload)).is_right(),
        _ => true,
    }
}
