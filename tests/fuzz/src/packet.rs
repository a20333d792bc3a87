//! Packets that get past the first check.

use std::net::{Ipv4Addr, Ipv6Addr};

use genkan_netstack::wire::checksum::Sum;
use genkan_netstack::wire::ipv4::{self, Ipv4};
use genkan_netstack::wire::ipv6::{self, Ipv6};

/// An IPv4 packet with a header of `options` behind the first 20 octets (padded to a multiple of 4, at most 40).
pub fn ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let options = &options[..options.len().min(40)];
    let header = 20 + options.len().next_multiple_of(4);
    let payload = &payload[..payload.len().min(65_535 - header)];
    let mut packet = vec![0; header];
    packet[0] = 0x40 | (header / 4) as u8;
    packet[4..6].copy_from_slice(&[0x12, 0x34]);
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    packet[20..20 + options.len()].copy_from_slice(options);
    packet.extend(payload);
    repair(&mut packet);
    packet
}

/// Makes the lengths and checksums of the IPv4 packet in `bytes` right, as far as it has such fields: total length, header
/// checksum, and for a whole packet UDP's length and the checksum of ICMP, UDP or TCP.
pub fn repair(bytes: &mut [u8]) {
    if bytes.len() < 20 {
        return;
    }
    let total = bytes.len().min(65_535);
    bytes[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    bytes[0] = 0x40 | (bytes[0] & 0x0f).max(5);
    let header = usize::from(bytes[0] & 0x0f) * 4;
    if !ipv4::write_header_checksum(bytes, header) {
        return;
    }
    let Some(packet) = Ipv4::parse(bytes) else { return };
    let (protocol, len) = (packet.protocol(), packet.payload().len());
    let pseudo = Sum::pseudo_v4(packet.source(), packet.destination(), protocol, len as u16);
    if packet.is_fragment() {
        return;
    }
    let payload = &mut bytes[header..total];
    let (at, pseudo) = match protocol {
        ipv4::ICMP => (2, Sum::default()),
        ipv4::UDP => (6, pseudo),
        ipv4::TCP => (16, pseudo),
        _ => return,
    };
    if payload.len() < at + 2 {
        return;
    }
    if protocol == ipv4::UDP {
        payload[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    }
    payload[at..at + 2].fill(0);
    let sum = pseudo.plus(Sum::of(payload));
    let checksum = if protocol == ipv4::UDP { sum.udp_checksum() } else { sum.checksum() };
    payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// An IPv6 packet whose first header behind its own has number `next_header`.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(65_535)];
    let header = ipv6::Header { source, destination, hop_limit: 64 };
    let mut packet = header.to_bytes(next_header, payload.len() as u16).to_vec();
    packet.extend(payload);
    repair6(&mut packet);
    packet
}

/// Makes the version, the length and the checksum of the IPv6 packet in `bytes` right, as far as it has such fields: that of
/// ICMPv6, UDP (and its length) or TCP right behind the header.
pub fn repair6(bytes: &mut [u8]) {
    if bytes.len() < ipv6::HEADER {
        return;
    }
    let len = (bytes.len() - ipv6::HEADER).min(65_535);
    bytes[0] = 0x60 | bytes[0] & 0x0f;
    bytes[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    let Some(packet) = Ipv6::parse(bytes) else { return };
    let next_header = packet.next_header();
    let pseudo = Sum::pseudo_v6(packet.source(), packet.destination(), next_header, len as u32);
    let payload = &mut bytes[ipv6::HEADER..ipv6::HEADER + len];
    let at = match next_header {
        ipv6::ICMPV6 => 2,
        ipv6::UDP => 6,
        ipv6::TCP => 16,
        _ => return,
    };
    if payload.len() < at + 2 {
        return;
    }
    if next_header == ipv6::UDP {
        payload[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    }
    payload[at..at + 2].fill(0);
    let sum = pseudo.plus(Sum::of(payload));
    let checksum = if next_header == ipv6::UDP { sum.udp_checksum() } else { sum.checksum() };
    payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// A UDP datagram, without checksum.
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(65_507)];
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An Ethernet frame.
pub fn ethernet(destination: [u8; 6], source: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(destination);
    frame.extend(source);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}
