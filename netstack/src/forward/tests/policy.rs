//! Who may talk to whom: zones, rules, spoofed and impossible packets (TR-124 WAN.DoS, BCP 38), quotas.

use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use super::packet::{ACK, FIN, Packet, RST, SYN};
use crate::forward::SessionOwner;
use crate::id::{Interface, Zone};
use crate::ledger::DropReason;
use crate::settings::{Action, Network, Rule, RuleProtocol, Settings, Transport};

fn rule(from: Zone, to: Zone, protocol: RuleProtocol, action: Action) -> Rule {
    Rule {
        from: Some(from),
        to: Some(to),
        protocol,
        ports: Vec::new(),
        source: None,
        destination: None,
        action,
        line: None,
    }
}

fn with_rules(rules: Vec<Rule>) -> Settings {
    Settings { rules, ..with_forward(Transport::Tcp, 8443, HOST, 443) }
}

#[test]
fn inside_is_routed_without_translation() {
    let mut net = Net::new();
    let read = net.lan(Packet::udp((HOST, 1), (VISITOR, 2), b"")).only(At::Station(VISITOR));
    assert_eq!((read.source, read.ttl), ((HOST, 1), 63));
    net.lan(Packet::udp((VISITOR, 2), (HOST, 1), b"")).only(At::Station(HOST));
    let read = net.lan(Packet::udp((HOST, 1), (ALICE_IP, 2), b"")).only(At::ALICE);
    assert_eq!(read.source, (HOST, 1));
    net.subscriber(ALICE, Packet::udp((ALICE_IP, 2), (HOST, 1), b"")).only(At::Station(HOST));
    net.subscriber(ALICE, Packet::udp((ALICE_IP, 2), (BOB_IP, 3), b"")).only(At::BOB);
    let read = net.subscriber(ALICE, Packet::udp((ALICE_IP, 2), (SERVER, 3), b"")).only(At::ISP);
    assert_eq!(read.source.0, OURS);
    net.wan(Packet::udp((SERVER, 3), read.source, b"")).only(At::ALICE);
    assert_eq!(net.forwarder.mapping_count(), 1);
}

#[test]
fn the_built_in_rules_hold() {
    let mut net = Net::new();
    net.subscriber(ALICE, Packet::udp((ALICE_IP, 9), (HOST, 1), b"")).nothing();
    net.subscriber(ALICE, Packet::udp((ALICE_IP, 9), (ROUTER, 53), b"")).nothing();
    net.subscriber(ALICE, Packet::udp((ALICE_IP, 9), (BRAS, 53), b"")).nothing();
    net.wan(Packet::ping(SERVER, OURS, 1)).nothing();
    net.wan(Packet::tcp((SERVER, 1), (OURS, 22), SYN, b"")).nothing();
    net.wan(Packet::udp((SERVER, 1), (OURS, 53), b"")).nothing();
    net.wan(Packet::udp((SERVER, 1), (HOST, 53), b"")).nothing();
    net.wan(Packet::udp((SERVER, 1), (ALICE_IP, 53), b"")).nothing();
    assert_eq!(net.dropped(DropReason::FilterDefault), 8);
    let local = At::Local(Interface::Subscriber(ALICE));
    net.subscriber(ALICE, Packet::ping(ALICE_IP, BRAS, 1)).only(local);
    net.router(Packet::pong(BRAS, ALICE_IP, 1)).only(At::ALICE);
    net.lan(Packet::udp((HOST, 9), (ROUTER, 53), b"query")).only(At::Local(Interface::Lan(HOME)));
    net.router(Packet::udp((ROUTER, 53), (HOST, 9), b"answer")).only(At::Station(HOST));
    net.lan(Packet::ping(VISITOR, ROUTER, 9)).only(At::Local(Interface::Lan(GUEST)));
}

#[test]
fn the_users_rules_come_first() {
    let mut net = Net::with(with_rules(vec![
        Rule { ports: vec![25..=25], ..rule(Zone::Lan, Zone::Wan, RuleProtocol::Tcp, Action::Reject) },
        Rule { ports: vec![53..=53], ..rule(Zone::Lan, Zone::Wan, RuleProtocol::Udp, Action::Reject) },
        rule(Zone::Lan, Zone::Wan, RuleProtocol::Number(47), Action::Drop),
        rule(Zone::Wan, Zone::Router, RuleProtocol::Icmp, Action::Accept),
        Rule {
            source: Some(Network::V4(crate::id::Ipv4Cidr { address: SERVER_2, prefix: 32 })),
            ..rule(Zone::Wan, Zone::Lan, RuleProtocol::Any, Action::Drop)
        },
    ]));
    let read = net.lan(Packet::tcp((HOST, 1), (SERVER, 25), SYN, b"")).only(At::Station(HOST));
    assert_eq!(read.tcp_flags & RST, RST);
    let read = net.lan(Packet::udp((HOST, 1), (SERVER, 53), b"")).only(At::Station(HOST));
    assert_eq!(read.icmp(), (3, 3));
    net.lan(Packet::new(HOST, SERVER, 47, vec![0; 20])).nothing();
    assert_eq!((net.dropped(DropReason::FilterReject), net.dropped(DropReason::FilterDrop)), (2, 1));

    net.wan(Packet::ping(SERVER, OURS, 5)).only(At::Local(Interface::Wan(ISP)));
    let read = net.router(Packet::pong(OURS, SERVER, 5)).only(At::ISP);
    assert_eq!(read.source, (OURS, 5));

    net.wan(Packet::tcp((SERVER_2, 1), (OURS, 8443), SYN, b"")).nothing();
    net.wan(Packet::tcp((SERVER, 1), (OURS, 8443), SYN, b"")).only(At::Station(HOST));
    assert_eq!(net.forwarder.nat.len(), 1, "a refused flow leaves no mapping behind");
}

#[test]
fn rules_are_evaluated_once_for_a_flow() {
    let mut net = Net::with(with_rules(vec![rule(Zone::Wan, Zone::Lan, RuleProtocol::Any, Action::Drop)]));
    let external = net.map_udp((HOST, 1), (SERVER, 53));
    net.wan(Packet::udp((SERVER, 53), external, b"")).only(At::Station(HOST));
}

#[test]
fn tr124_wan_dos_impossible_sources_are_dropped() {
    let mut net = Net::new();
    let bogons = [
        ip(0, 0, 0, 0),
        ip(0, 1, 2, 3),
        ip(127, 0, 0, 1),
        ip(224, 0, 0, 1),
        ip(240, 0, 0, 1),
        ip(255, 255, 255, 255),
    ];
    for bogon in bogons {
        net.wan(Packet::udp((bogon, 1), (OURS, 53), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::BogonSource), 6);
    for inside in [HOST, ROUTER, VISITOR, ALICE_IP, BRAS, OURS_2] {
        net.wan(Packet::udp((inside, 1), (OURS, 53), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::Spoofed), 6, "inside addresses do not come from outside");
    // A user's fixed address need not be of the pool.
    net.subscriber_up(ALICE, ip(198, 18, 0, 7));
    net.wan(Packet::udp((ip(198, 18, 0, 7), 1), (OURS, 53), b"")).nothing();
    assert_eq!(net.dropped(DropReason::Spoofed), 7);
    for bogon in [ip(0, 0, 0, 0), ip(127, 0, 0, 1), ip(224, 0, 0, 251), ip(240, 0, 0, 1)] {
        net.lan(Packet::udp((HOST, 1), (bogon, 2), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::BogonDestination), 4);
    net.lan(Packet::udp((VISITOR, 1), (ip(192, 168, 1, 255), 2), b"")).nothing();
    net.lan(Packet::udp((VISITOR, 1), (ip(192, 168, 1, 0), 2), b"")).nothing();
    assert_eq!(net.dropped(DropReason::BogonDestination), 6, "nobody reaches a LAN's broadcast address");
}

#[test]
fn tr124_wan_dos_bcp38_sources_are_of_their_own_network() {
    let mut net = Net::new();
    for source in [SERVER, ip(192, 168, 3, 1), ROUTER, ip(192, 168, 1, 255), ip(192, 168, 1, 0)] {
        net.lan(Packet::udp((source, 1), (SERVER_2, 53), b"")).nothing();
    }
    net.subscriber(ALICE, Packet::udp((BOB_IP, 1), (SERVER, 53), b"")).nothing();
    net.subscriber(ALICE, Packet::udp((HOST, 1), (SERVER, 53), b"")).nothing();
    assert_eq!(net.dropped(DropReason::Spoofed), 7);
    // Nor may one ride on a flow of another's.
    net.subscriber(BOB, Packet::udp((BOB_IP, 1), (SERVER, 53), b"")).only(At::ISP);
    net.subscriber(ALICE, Packet::udp((BOB_IP, 1), (SERVER, 53), b"")).nothing();
    net.subscriber(BOB, Packet::udp((BOB_IP, 1), (SERVER, 53), b"")).only(At::ISP);
}

#[test]
fn tr124_wan_dos_land() {
    let mut net = Net::with(with_forward(Transport::Tcp, 80, HOST, 80));
    net.wan(Packet::tcp((OURS, 80), (OURS, 80), SYN, b"")).nothing();
    net.wan(Packet::tcp((OURS, 81), (OURS, 80), SYN, b"")).nothing();
    net.lan(Packet::tcp((HOST, 80), (HOST, 80), SYN, b"")).nothing();
    assert_eq!(net.dropped(DropReason::Land), 3);
}

#[test]
fn tr124_wan_dos_a_syn_flood_at_a_forwarded_port_leaves_the_host_its_own_flows() {
    let mut settings = with_forward(Transport::Tcp, 8443, HOST, 443);
    settings.nat.flows_per_host = 100;
    let mut net = Net::with(settings);
    for n in 0..300u16 {
        let source = ip(198, 18, (n >> 8) as u8, n as u8);
        net.wan(Packet::tcp((source, 1), (OURS, 8443), SYN, b""));
    }
    assert_eq!(net.forwarder.flow_count(), 100);
    assert_eq!(net.dropped(DropReason::HostQuota), 200);
    net.lan(Packet::tcp((HOST, 5), (SERVER, 80), SYN, b"")).only(At::ISP);
    net.pass(242);
    net.wan(Packet::tcp((SERVER, 1), (OURS, 8443), SYN, b"")).only(At::Station(HOST));
}

#[test]
fn a_host_has_its_quota_and_no_more() {
    let mut settings = settings();
    settings.nat.flows_per_host = 10;
    let mut net = Net::with(settings);
    for n in 0..20 {
        net.lan(Packet::udp((HOST, 100 + n), (SERVER, 53), b""));
    }
    assert_eq!((net.forwarder.flow_count(), net.forwarder.mapping_count()), (10, 10));
    assert_eq!(net.dropped(DropReason::HostQuota), 10);
    net.map_udp((HOST_2, 1), (SERVER, 53));
    net.pass(302);
    net.map_udp((HOST, 1), (SERVER, 53));
}

#[test]
fn a_full_table_drops_and_existing_flows_survive() {
    let mut settings = settings();
    settings.nat.flows = 5;
    let mut net = Net::with(settings);
    let externals: Vec<_> = (0..5).map(|n| net.map_udp((HOST, 100 + n), (SERVER, 53))).collect();
    for n in 0..50 {
        net.lan(Packet::udp((HOST_2, 100 + n), (SERVER, 53), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::FlowTableFull), 50);
    for external in externals {
        net.wan(Packet::udp((SERVER, 53), external, b"")).only(At::Station(HOST));
    }
    assert_eq!(net.forwarder.mapping_count(), 5);
}

#[test]
fn protocols_without_ports_have_one_inside_host_for_each_peer() {
    let mut net = Net::new();
    for protocol in [4, 47, 50] {
        let packet = |from, to| Packet::new(from, to, protocol, vec![protocol; 30]);
        let read = net.lan(packet(HOST, SERVER)).only(At::ISP);
        assert_eq!(read.source.0, OURS);
        assert_eq!(net.wan(packet(SERVER, OURS)).only(At::Station(HOST)).body(), &[protocol; 30]);
        net.lan(packet(HOST_2, SERVER)).nothing();
        net.lan(packet(HOST_2, SERVER_2)).only(At::ISP);
        net.wan(packet(ip(192, 0, 2, 99), OURS)).nothing();
        net.lan(packet(HOST, VISITOR)).only(At::Station(VISITOR));
    }
    assert_eq!(net.dropped(DropReason::NatProtocol), 3);
}

#[test]
fn malformed_packets_are_dropped_by_name() {
    let mut net = Net::new();
    let good = Packet::udp((HOST, 1), (SERVER, 53), b"12345678");
    let mut bad = good.build();
    bad[11] ^= 1;
    net.lan_bytes(&bad).nothing();
    assert_eq!(net.dropped(DropReason::Ipv4Checksum), 1);
    let route = [131, 7, 4, 1, 2, 3, 4, 0];
    net.lan(good.clone().options(&route)).nothing();
    net.lan(good.clone().options(&[1, 137, 3, 4])).nothing();
    assert_eq!(net.dropped(DropReason::SourceRoute), 2);
    for options in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 9, 4, 0], [1, 1, 1, 7]] {
        net.lan(good.clone().options(&options)).nothing();
    }
    assert_eq!(net.dropped(DropReason::Ipv4Malformed), 4);
    net.lan(good.clone().options(&[7, 4, 4, 0])).only(At::ISP);
    for flags in [SYN | FIN, SYN | RST] {
        net.lan(Packet::tcp((HOST, 1), (SERVER, 80), flags | ACK, b"")).nothing();
    }
    let mut short = Packet::tcp((HOST, 1), (SERVER, 80), SYN, b"");
    short.body[12] = 0x40;
    net.lan(short).nothing();
    let mut long = Packet::tcp((HOST, 1), (SERVER, 80), SYN, b"");
    long.body[12] = 0x60;
    net.lan(long).nothing();
    let mut udp = good;
    udp.body[5] = 200;
    net.lan(udp).nothing();
    assert_eq!(net.dropped(DropReason::TransportMalformed), 5);
}

#[test]
fn packets_cut_and_with_flipped_bits_are_harmless() {
    let packets = [
        Packet::udp((HOST, 1), (SERVER, 53), b"12345678").options(&[7, 4, 4, 0]),
        Packet::tcp_options((HOST, 1), (SERVER, 80), SYN, &[2, 4, 5, 0xb4], b"abc"),
        Packet::ping(HOST, SERVER, 1),
        Packet::error(HOST, 3, 3, &Packet::udp((SERVER, 9), (HOST, 1), b"12345678").build(), 100),
    ];
    for packet in packets {
        let good = packet.build();
        let mut net = Net::new();
        for len in 0..good.len() {
            // Both with the length field as it was and with one that agrees.
            let mut frame = Net::ethernet(port_mac(LAN_PORT), mac_of(HOST), 0x0800, &good[..len]);
            net.frame(LAN_PORT, crate::frame::Frame::from_bytes(&frame)).nothing();
            if len >= 20 {
                frame[16..18].copy_from_slice(&(len as u16).to_be_bytes());
                net.frame(LAN_PORT, crate::frame::Frame::from_bytes(&frame));
            }
            net.session(SessionOwner::Wan(ISP), &good[..len]).nothing();
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // With a header checksum that agrees, so that what lies behind it is looked at.
            bad[10..12].fill(0);
            let header = (usize::from(bad[0] & 15) * 4).clamp(20, bad.len());
            let checksum = !super::packet::sum(&bad[..header]);
            bad[10..12].copy_from_slice(&checksum.to_be_bytes());
            let frame = Net::ethernet(port_mac(LAN_PORT), mac_of(HOST), 0x0800, &bad);
            harmless(&mut net, &frame);
        }
    }
}

/// Sends a frame whose transport checksum may be wrong: translation keeps it as wrong as it was, so what comes out is not
/// read here.
fn harmless(net: &mut Net, frame: &[u8]) {
    net.egress.received(1);
    let mut batch = crate::frame::Batch::from([crate::frame::Frame::from_bytes(frame)]);
    let mut punts = alloc::collections::VecDeque::new();
    let mut rng = crate::rng::SeededRng::from_u64(1);
    let mut cx = crate::machine::Cx { now: net.now, rng: &mut rng };
    net.forwarder.receive(&mut cx, LAN_PORT, &mut batch, &mut net.egress, &mut punts);
    for punt in punts {
        net.egress.consume(punt.frame);
    }
    for port in 0..5 {
        net.egress.outgoing(crate::id::PortId(port)).unwrap().0.clear();
    }
    net.check_balance();
}
