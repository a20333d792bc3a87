//! IPv6 packets that get past the first check.

use std::net::Ipv6Addr;

use genkan_netstack::frame::Frame;
use genkan_netstack::wire::ipv6::{Header, Ipv6};

/// A UDP datagram in an IPv6 packet; at most 60,000 octets of `payload`.
pub fn udp(source: Ipv6Addr, destination: Ipv6Addr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(60_000)];
    let mut frame = Frame::with_capacity(payload.len() + 256);
    let header = Header { source, destination, hop_limit: 64 };
    assert!(header.write_udp(ports.0, ports.1, payload, &mut frame), "there is room");
    frame.bytes().to_vec()
}

/// What the datagram in an IPv6 packet says. Panics unless `bytes` is exactly one such packet, with right lengths and checksum,
/// that every link can carry.
pub fn sound_udp(bytes: &[u8], from: Ipv6Addr, to: Ipv6Addr, ports: (u16, u16)) -> &[u8] {
    assert!(bytes.len() <= 1280, "{} octets", bytes.len());
    let packet = Ipv6::parse(bytes).expect("an IPv6 packet");
    assert_eq!(packet.payload_len() + 40, bytes.len(), "it ends where its length says");
    assert_eq!((packet.source(), packet.destination()), (from, to));
    let udp = packet.udp().expect("lengths and checksum are right");
    assert_eq!((udp.source_port, udp.destination_port), ports);
    assert_eq!(udp.payload.len() + 48, bytes.len());
    udp.payload
}
