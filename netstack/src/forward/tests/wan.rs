//! Sessions and epochs: what happens to flows when an uplink goes, comes back, or comes back with another address.

use alloc::vec::Vec;

use super::net::*;
use super::packet::{ACK, Packet, RST, SYN};
use crate::forward::{PuntKind, SessionOwner, Update};
use crate::frame::Frame;
use crate::id::{Interface, Mac};
use crate::ledger::DropReason;
use crate::settings::{Filtering, PortForward, Transport};
use crate::time::Instant;

#[test]
fn an_address_that_changes_on_redial_ends_what_was_translated_to_the_old_one() {
    let mut settings = with_forward(Transport::Tcp, 8443, HOST_2, 443);
    settings.nat.filtering = Filtering::EndpointIndependent;
    let mut net = Net::with(settings);
    let old = net.map_udp((HOST, 5000), (SERVER, 51_820));
    net.lan(Packet::tcp((HOST, 6000), (SERVER, 80), SYN, b"")).only(At::ISP);
    net.wan(Packet::tcp((SERVER, 7), (OURS, 8443), SYN, b"")).only(At::Station(HOST_2));
    assert_eq!(net.forwarder.epoch(ISP), 0);
    net.wan_down(ISP);
    net.wan_up(ISP, OURS_LATER);
    assert_eq!(net.forwarder.epoch(ISP), 1);

    // Nothing goes out under the old address, and nothing for it comes in.
    net.wan(Packet::udp((SERVER, 51_820), old, b"late")).nothing();
    net.wan(Packet::udp((SERVER, 51_820), (OURS_LATER, old.1), b"guess")).nothing();
    net.wan(Packet::tcp((SERVER, 7), (OURS, 8443), ACK, b"")).nothing();
    let new = net.map_udp((HOST, 5000), (SERVER, 51_820));
    assert_eq!(new.0, OURS_LATER);
    net.wan(Packet::udp((SERVER, 51_820), new, b"")).only(At::Station(HOST));
    let read = net.lan(Packet::tcp((HOST, 6000), (SERVER, 80), ACK, b"")).only(At::Station(HOST));
    assert_eq!(read.tcp_flags & RST, RST, "the connection is told at once that it is over");
    net.wan(Packet::tcp((SERVER, 7), (OURS_LATER, 8443), SYN, b"")).only(At::Station(HOST_2));

    net.pass(1);
    assert_eq!(net.forwarder.flow_count(), 2, "the old ones are swept out");
}

#[test]
fn the_same_address_resumes_every_flow() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 51_820));
    net.lan(Packet::tcp((HOST, 6000), (SERVER, 80), SYN, b"")).only(At::ISP);
    net.wan_down(ISP);
    net.pass(100);
    net.wan_up(ISP, OURS);
    assert_eq!(net.forwarder.epoch(ISP), 0);
    net.wan(Packet::udp((SERVER, 51_820), external, b"")).only(At::Station(HOST));
    net.lan(Packet::tcp((HOST, 6000), (SERVER, 80), ACK, b"")).only(At::ISP);
}

#[test]
fn an_address_that_comes_back_later_does_not_bring_old_flows_back() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    for address in [OURS_LATER, OURS] {
        net.wan_down(ISP);
        net.wan_up(ISP, address);
    }
    net.wan(Packet::udp((SERVER, 53), external, b"")).nothing();
}

#[test]
fn hairpinned_flows_end_with_the_address_they_go_through() {
    let mut net = Net::with(with_forward(Transport::Udp, 8080, HOST_2, 80));
    net.lan(Packet::udp((HOST, 5000), (OURS, 8080), b"")).only(At::Station(HOST_2));
    net.wan_down(ISP);
    net.wan_up(ISP, OURS_LATER);
    let read = net.lan(Packet::udp((HOST, 5000), (OURS, 8080), b"")).only(At::ISP);
    assert_eq!(read.source.0, OURS_LATER, "the old address is a stranger's now");
}

/// A host's port forward translates it whatever the address, and so tells no epoch.
#[test]
fn hairpinned_flows_of_a_port_forward_end_with_the_address_they_go_through() {
    let mut settings = with_forward(Transport::Udp, 8080, HOST_2, 80);
    let own = PortForward { to: HOST, to_port: 5000, port: 9090, ..settings.port_forwards[0].clone() };
    settings.port_forwards.push(own);
    let mut net = Net::with(settings);
    net.lan(Packet::udp((HOST, 5000), (OURS, 8080), b"")).only(At::Station(HOST_2));
    net.lan(Packet::udp((VISITOR, 9), (OURS, 9), b"")).only(At::Local(Interface::Lan(GUEST)));
    net.wan_down(ISP);
    net.lan(Packet::udp((HOST, 5000), (OURS, 8080), b"")).only(At::Station(HOST_2));
    net.wan_up(ISP, OURS_LATER);
    let read = net.lan(Packet::udp((HOST, 5000), (OURS, 8080), b"")).only(At::ISP);
    assert_eq!(read.source, (OURS_LATER, 9090), "the old address is a stranger's now");
    net.lan(Packet::udp((VISITOR, 9), (OURS, 9), b"")).only(At::ISP);
    net.pass(1);
    assert_eq!(net.forwarder.flow_count(), 2);
}

#[test]
fn while_the_uplink_is_down_hosts_are_told() {
    let mut settings = settings();
    settings.wans.truncate(1);
    let mut net = Net::offline(settings);
    let read = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"x")).only(At::Station(HOST));
    assert_eq!((read.icmp(), read.source.0), ((3, 0), ROUTER));
    net.wan_up(ISP, OURS);
    net.map_udp((HOST, 5000), (SERVER, 53));
    net.wan_down(ISP);
    let read = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"x")).only(At::Station(HOST));
    assert_eq!(read.icmp(), (3, 0));
    assert_eq!(net.dropped(DropReason::WanDown), 2);
    net.router(Packet::udp((OURS, 1), (SERVER, 53), b"x")).nothing();
}

#[test]
fn the_default_route_is_the_first_uplink_that_is_up() {
    let mut net = Net::new();
    net.wan_down(ISP);
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"x")).only(At::ISP_2);
    net.wan_up(ISP, OURS);
    net.lan(Packet::udp((HOST, 5001), (SERVER, 53), b"x")).only(At::ISP);
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"x")).only(At::ISP_2);
    // The router's own packets leave by the uplink whose address they bear.
    net.router(Packet::udp((OURS_2, 5), (SERVER, 53), b"x")).only(At::ISP_2);
    net.router(Packet::udp((OURS, 5), (SERVER, 53), b"x")).only(At::ISP);
}

#[test]
fn the_sweep_takes_many_flows_out_a_part_at_a_time() {
    let mut net = Net::new();
    let mut last = (OURS, 0);
    for n in 0..1500 {
        last = net.map_udp((HOST, 1000 + n), (SERVER, 53));
    }
    net.wan_down(ISP);
    net.wan_up(ISP, OURS_LATER);
    assert_eq!(net.forwarder.flow_count(), 1500);
    let external = net.map_udp((HOST, 1000), (SERVER, 53));
    assert_eq!(external.0, OURS_LATER);
    net.wan(Packet::udp((SERVER, 53), last, b"late")).nothing();
    assert_eq!(net.dropped(DropReason::StaleEpoch), 1, "stale before it is swept out");
    let left = net.forwarder.flow_count();
    assert!(left > 400 && left < 1500, "{left}");
    net.pass(1);
    assert_eq!((net.forwarder.flow_count(), net.forwarder.mapping_count()), (1, 1));
}

#[test]
fn a_subscriber_that_comes_anew_inherits_nothing() {
    let mut net = Net::new();
    let read = net.subscriber(ALICE, Packet::udp((ALICE_IP, 5), (SERVER, 53), b"")).only(At::ISP);
    net.lan(Packet::udp((HOST, 5), (ALICE_IP, 6), b"")).only(At::ALICE);
    net.apply(Update::SessionClosed { owner: SessionOwner::Subscriber(ALICE) });
    net.subscriber_up(ALICE, ALICE_IP);
    net.wan(Packet::udp((SERVER, 53), read.source, b"")).nothing();
    net.pass(1);
    assert_eq!(net.forwarder.flow_count(), 0);
}

#[test]
fn a_session_is_told_by_port_peer_and_id_together() {
    let mut net = Net::new();
    let good = Net::pppoe(SessionOwner::Wan(ISP), &Packet::udp((SERVER, 1), (OURS, 1), b"").build());
    let is_stray = |net: &mut Net| matches!(net.punts.pop(), Some((PuntKind::Stray { .. }, _)));
    for at in [11, 16, 17] {
        let mut other = good.clone();
        other[at] ^= 0x40;
        net.frame(WAN_PORT, Frame::from_bytes(&other)).nothing();
        assert!(is_stray(&mut net));
    }
    let mut elsewhere = good.clone();
    elsewhere[..6].copy_from_slice(&port_mac(ACCESS_PORT).0);
    net.frame(ACCESS_PORT, Frame::from_bytes(&elsewhere)).nothing();
    assert!(is_stray(&mut net));
    let mut broadcast = good;
    broadcast[..6].fill(0xff);
    net.frame(WAN_PORT, Frame::from_bytes(&broadcast)).nothing();
    assert_eq!(net.dropped(DropReason::OtherStation), 1);
}

/// RFC 2516 MALFORMED, RFC 1661 COMPRESSED-PROTOCOL.
#[test]
fn rfc2516_a_malformed_header_is_dropped_and_padding_is_not_data() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    let good = Net::pppoe(SessionOwner::Wan(ISP), &Packet::udp((SERVER, 53), external, b"x").build());
    for (at, value) in [(14, 0x12), (14, 0x21), (15, 1), (15, 0x09), (18, 1), (19, 0xff)] {
        let mut bad = good.clone();
        bad[at] = value;
        net.frame(WAN_PORT, Frame::from_bytes(&bad)).nothing();
    }
    assert_eq!(net.dropped(DropReason::PppoeMalformed), 6);
    // One-octet protocol fields, and impossible ones.
    for protocol in [[0x21, 0x45], [0x00, 0x20], [0x01, 0x21]] {
        let mut bad = good.clone();
        bad[20..22].copy_from_slice(&protocol);
        net.frame(WAN_PORT, Frame::from_bytes(&bad)).nothing();
    }
    assert_eq!(net.dropped(DropReason::PppMalformed), 3);
    let end = 20 + usize::from(good[19]);
    for len in 0..good.len() {
        let out = net.frame(WAN_PORT, Frame::from_bytes(&good[..len]));
        assert_eq!(out.0.len(), usize::from(len >= end), "{len} octets");
    }
    let mut padded = good;
    padded.resize(200, 0xaa);
    let read = net.frame(WAN_PORT, Frame::from_bytes(&padded)).only(At::Station(HOST));
    assert_eq!(read.payload(), b"x");
}

/// RFC 1332 IPCP.
#[test]
fn rfc1332_ppp_control_is_handed_up_and_ip_before_ipcp_is_not() {
    let mut net = Net::offline(settings());
    let owner = SessionOwner::Wan(ISP);
    net.apply(Update::SessionOpened { owner, session: peer_of(owner) });
    net.wan(Packet::udp((SERVER, 53), (OURS, 1), b"")).nothing();
    assert_eq!(net.dropped(DropReason::PppPhase), 1);
    for protocol in [0xc021u16, 0xc023, 0xc223, 0x8021, 0x8057, 0x0057] {
        let mut frame = Net::pppoe(owner, &[1, 1, 0, 4]);
        frame[20..22].copy_from_slice(&protocol.to_be_bytes());
        net.frame(WAN_PORT, Frame::from_bytes(&frame)).nothing();
        let (kind, bytes) = net.punts.pop().unwrap();
        assert_eq!(kind, PuntKind::Ppp { owner });
        let expected: Vec<u8> = [&protocol.to_be_bytes()[..], &[1, 1, 0, 4]].concat();
        assert_eq!(bytes, expected, "from the protocol field, padding cut");
    }
    let usage = net.forwarder.usage(owner).unwrap();
    assert_eq!((usage.rx_packets, usage.last_received), (7, Some(Instant::from_secs(1000))));
}

#[test]
fn discovery_is_handed_up_whole() {
    let mut net = Net::new();
    let peer = Mac([0x66, 0, 0, 0, 0, 1]);
    for destination in [Mac::BROADCAST, port_mac(WAN_PORT)] {
        let bytes = Net::ethernet(destination, peer, 0x8863, &[0x11, 7, 0, 0, 0, 0]);
        net.frame(WAN_PORT, Frame::from_bytes(&bytes)).nothing();
        assert_eq!(net.punts.pop(), Some((PuntKind::Discovery { port: WAN_PORT }, bytes)));
    }
    let other = Net::ethernet(Mac([0x66; 6]), peer, 0x8863, &[0x11, 7, 0, 0, 0, 0]);
    net.frame(WAN_PORT, Frame::from_bytes(&other)).nothing();
    assert_eq!(net.dropped(DropReason::OtherStation), 1);
}

#[test]
fn usage_counts_packets_and_octets_both_ways() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    net.wan(Packet::udp((SERVER, 53), external, &[0; 100])).only(At::Station(HOST));
    let usage = net.forwarder.usage(SessionOwner::Wan(ISP)).unwrap();
    assert_eq!((usage.tx_packets, usage.tx_octets), (1, 31));
    assert_eq!((usage.rx_packets, usage.rx_octets), (1, 128));
    net.wan_down(ISP);
    assert!(net.forwarder.usage(SessionOwner::Wan(ISP)).is_none());
}

/// A concentrator's first LCP packet comes right behind its PADS: it belongs to the session that Control is to open.
#[test]
fn what_follows_a_discovery_frame_waits_until_control_has_seen_that() {
    let mut net = Net::new();
    let pads = Net::ethernet(port_mac(WAN_PORT), Mac([2, 0, 0, 0, 9, 9]), 0x8863, &[0x11, 0x65, 0, 7, 0, 0]);
    let data = Net::pppoe(SessionOwner::Wan(ISP), &Packet::udp((SERVER, 1), (OURS, 1), b"").build());
    let mut batch = crate::frame::Batch::from([&data, &pads, &data].map(|bytes| Frame::from_bytes(bytes)));
    let mut rng = crate::rng::SeededRng::from_u64(1);
    let mut cx = crate::machine::Cx { now: net.now, rng: &mut rng };
    let mut punts = alloc::collections::VecDeque::new();
    net.egress.received(batch.len());
    net.forwarder.receive(&mut cx, WAN_PORT, &mut batch, &mut net.egress, &mut punts);
    assert_eq!(batch.len(), 1, "the frame behind it is left");
    assert!(matches!(punts.back().map(|punt| punt.kind), Some(PuntKind::Discovery { .. })));
    let left = punts.into_iter().map(|punt| punt.frame).chain(batch);
    left.for_each(|frame| net.egress.consume(frame));
}
