//! What senders leave undone: partial checksums and large segments, on ports with and without offload. Whatever comes out
//! without an offload of its own is checked in full by the harness.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::net::*;
use super::packet::{ACK, Packet, SYN, pseudo, sum};
use crate::frame::{Checksum, Frame, Gso, GsoKind, Offload};
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::settings::{Settings, Transport};

const CLIENT: (Ipv4Addr, u16) = (HOST, 5000);
const WEB: (Ipv4Addr, u16) = (SERVER, 80);

/// A packet as a sender with checksum offload leaves it, and its offload; offsets from the IPv4 header.
pub(super) fn partial(packet: &Packet) -> (Vec<u8>, Offload) {
    let offset = if packet.protocol == 6 { 16 } else { 6 };
    let mut packet = packet.clone();
    let field = sum(&pseudo(packet.source, packet.destination, packet.protocol, packet.body.len()));
    packet.body[offset..offset + 2].copy_from_slice(&field.to_be_bytes());
    let checksum = Checksum::Partial { start: 20, offset: offset as u16 };
    (packet.build(), Offload { checksum, gso: None })
}

pub(super) fn large(packet: &Packet, size: u16) -> (Vec<u8>, Offload) {
    let (bytes, offload) = partial(packet);
    let kind = if packet.protocol == 6 { GsoKind::TcpV4 } else { GsoKind::Udp };
    (bytes, Offload { gso: Some(Gso { kind, size, ecn: false }), ..offload })
}

/// A frame with such a packet behind `header`, which is `front` octets long.
pub(super) fn framed(bytes: &[u8], front: usize, offload: Offload) -> Frame {
    let (header, packet) = bytes.split_at(front);
    let mut frame = Frame::from_bytes(packet);
    frame.offload = offload;
    frame.push(front).unwrap().copy_from_slice(header);
    frame
}

pub(super) fn offloading() -> Settings {
    let mut settings = with_forward(Transport::Tcp, 8443, HOST, 443);
    for port in [LAN_PORT, LAN_PORT_2, GUEST_PORT] {
        settings.ports[usize::from(port.0)].offload = true;
    }
    settings
}

#[test]
fn a_partial_checksum_is_right_behind_nat_and_pppoe() {
    let mut net = Net::new();
    let packets = [
        Packet::udp(CLIENT, (SERVER, 53), b"odd"),
        Packet::tcp(CLIENT, WEB, SYN, b""),
        Packet::tcp_options((HOST, 9), WEB, SYN, &[2, 4, 0x22, 0xd8], b"x"),
    ];
    for packet in packets {
        let (bytes, offload) = partial(&packet);
        let read = net.lan_offload(&bytes, offload).only(At::ISP);
        assert_eq!(read.source.0, OURS);
    }
}

#[test]
fn a_partial_checksum_is_right_between_lans_and_to_the_router() {
    let mut net = Net::new();
    for to in [VISITOR, ROUTER] {
        let (bytes, offload) = partial(&Packet::udp(CLIENT, (to, 53), b"odd"));
        assert_eq!(net.lan_offload(&bytes, offload).0.len(), 1);
    }
    let (bytes, offload) = partial(&Packet::udp(CLIENT, (VISITOR, 53), b"odd").ttl(1));
    net.lan_offload(&bytes, offload).only(At::Station(HOST));
}

#[test]
fn large_segments_are_cut_before_pppoe() {
    let mut net = Net::new();
    net.lan(Packet::tcp(CLIENT, WEB, SYN, b"")).only(At::ISP);
    let payload: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
    let (bytes, offload) = large(&Packet::tcp(CLIENT, WEB, ACK, &payload), 1452);
    let pieces = net.lan_offload(&bytes, offload).all(At::ISP);
    assert_eq!(pieces.len(), 40_000usize.div_ceil(1452));
    let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.payload().to_vec()).collect();
    assert_eq!(joined, payload);
    assert!(pieces.iter().all(|piece| piece.source.0 == OURS && piece.ttl == 63));
}

#[test]
fn segments_too_large_for_the_uplink_are_answered() {
    let mut net = Net::new();
    net.lan(Packet::tcp(CLIENT, WEB, SYN, b"")).only(At::ISP);
    let packet = Packet::tcp(CLIENT, WEB, ACK, &[5; 10_000]);
    let (bytes, offload) = large(&packet, 1460);
    let read = net.lan_offload(&bytes, offload).only(At::Station(HOST));
    assert_eq!(read.icmp(), (3, 4));
    assert_eq!(read.body()[6..8], 1492u16.to_be_bytes());
    let (bytes, offload) = large(&packet.may_fragment(), 1460);
    let pieces = net.lan_offload(&bytes, offload).all(At::ISP);
    assert_eq!(pieces.len(), 2 * 7 - 1, "six segments in two fragments each, and the last");
}

#[test]
fn a_port_with_offload_gets_segments_whole_and_one_without_cut() {
    let payload = [7; 20_000];
    for offload_out in [true, false] {
        let mut settings = offloading();
        settings.ports[usize::from(GUEST_PORT.0)].offload = offload_out;
        let mut net = Net::with(settings);
        let to = (VISITOR, 80);
        net.lan(Packet::tcp(CLIENT, to, SYN, b"")).only(At::Station(VISITOR));
        let (bytes, offload) = large(&Packet::tcp(CLIENT, to, ACK, &payload), 1460);
        let out = net.lan_offload(&bytes, offload);
        if offload_out {
            let (port, frame) = net.bridged.pop().unwrap();
            assert_eq!((port, frame.len()), (GUEST_PORT, 14 + bytes.len()));
            // Complete what was left, as the device would: the field follows the addresses, not the ports.
            let mut frame = Frame::from_bytes(&frame[14..]);
            frame.offload.checksum = offload.checksum;
            assert!(crate::forward::segment::complete_checksum(&mut frame));
            super::packet::Read::new(frame.bytes());
        } else {
            assert_eq!(out.all(At::Station(VISITOR)).len(), 14);
        }
    }
}

#[test]
fn a_partial_checksum_follows_a_hairpin_on_a_port_with_offload() {
    let mut net = Net::with(offloading());
    let (bytes, offload) = partial(&Packet::tcp((HOST_2, 5), (OURS, 8443), SYN, b""));
    net.lan_offload(&bytes, offload).nothing();
    let (_, frame) = net.bridged.pop().unwrap();
    let mut frame = Frame::from_bytes(&frame[14..]);
    frame.offload.checksum = offload.checksum;
    assert!(crate::forward::segment::complete_checksum(&mut frame));
    let read = super::packet::Read::new(frame.bytes());
    assert_eq!((read.source.0, read.destination), (OURS, (HOST, 443)));
}

#[test]
fn bridged_frames_are_finished_for_a_port_without_offload() {
    let mut settings = offloading();
    settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
    settings.ports[usize::from(LAN_PORT_2.0)].offload = false;
    let mut net = Net::with(settings);
    let (bytes, mut offload) = large(&Packet::tcp(CLIENT, (HOST_2, 80), ACK, &[3; 5000]), 1460);
    let mut frame = Frame::with_capacity(8000);
    frame.extend(&Net::ethernet(mac_of(HOST_2), mac_of(HOST), 0x0800, &bytes));
    offload.checksum = Checksum::Partial { start: 34, offset: 16 };
    frame.offload = offload;
    net.frame(LAN_PORT, frame).nothing();
    assert_eq!(net.bridged.len(), 4);
    for (port, frame) in &net.bridged {
        assert_eq!(*port, LAN_PORT_2);
        super::packet::Read::new(&frame[14..]);
    }
}

#[test]
fn a_large_segment_for_the_router_is_one_segment() {
    let mut net = Net::new();
    let to = (ROUTER, 80);
    net.lan(Packet::tcp(CLIENT, to, SYN, b"")).only(At::Local(Interface::Lan(HOME)));
    let (bytes, offload) = large(&Packet::tcp(CLIENT, to, ACK, &[1; 9000]), 1460);
    let read = net.lan_offload(&bytes, offload).only(At::Local(Interface::Lan(HOME)));
    assert_eq!(read.payload().len(), 9000);
}

#[test]
fn an_offload_that_contradicts_its_packet_is_harmless() {
    for start in [0, 1, 19, 20, 28, 39, 40, 41, 2000, u16::MAX] {
        for offset in [0, 2, 6, 16, 17, 30, u16::MAX] {
            for gso in [None, Some(GsoKind::TcpV4), Some(GsoKind::TcpV6), Some(GsoKind::Udp)] {
                let mut came: Vec<Vec<Vec<u8>>> = Vec::new();
                for only_long_way in [false, true] {
                    let mut net = Net::new();
                    let external = net.lan(Packet::tcp(CLIENT, WEB, SYN, b"")).only(At::ISP).source;
                    net.wan(Packet::tcp(WEB, external, SYN | ACK, b"")).only(At::Station(HOST));
                    net.lan(Packet::tcp(CLIENT, WEB, ACK, b"")).only(At::ISP);
                    net.forwarder.only_long_way = only_long_way;
                    let mut frame = Frame::with_capacity(3000);
                    let packet = Packet::tcp(CLIENT, WEB, ACK, &[1; 500]).build();
                    frame.extend(&Net::ethernet(port_mac(LAN_PORT), mac_of(HOST), 0x0800, &packet));
                    let gso = gso.map(|kind| Gso { kind, size: 100, ecn: true });
                    frame.offload = Offload { checksum: Checksum::Partial { start, offset }, gso };
                    // Octets that a foreign sum is written over are the sender's own affair: compare, but do not read.
                    net.egress.received(1);
                    let mut batch = crate::frame::Batch::from([frame]);
                    let mut punts = alloc::collections::VecDeque::new();
                    let mut rng = crate::rng::SeededRng::from_u64(1);
                    let mut cx = crate::machine::Cx { now: net.now, rng: &mut rng };
                    net.forwarder.receive(&mut cx, LAN_PORT, &mut batch, &mut net.egress, &mut punts);
                    let sent = net.egress.outgoing(WAN_PORT).unwrap().0.drain(..);
                    came.push(sent.map(|frame| frame.bytes().to_vec()).collect());
                }
                assert_eq!(came[0], came[1], "start {start}, offset {offset}, {gso:?}");
            }
        }
    }
    let mut net = Net::new();
    let (bytes, offload) = large(&Packet::udp(CLIENT, WEB, &[1; 500]), 100);
    let foreign = Offload { gso: Some(Gso { kind: GsoKind::TcpV4, size: 100, ecn: false }), ..offload };
    net.lan_offload(&bytes, foreign).nothing();
    assert_eq!(net.dropped(DropReason::GsoMalformed), 1);
    assert_eq!(net.lan_offload(&bytes, offload).all(At::ISP).len(), 5);
}
