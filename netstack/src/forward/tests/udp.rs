//! NAT of UDP: RFC 4787, and what RFC 7857 adds.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use super::packet::Packet;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::settings::{Filtering, Transport};

#[test]
fn rfc4787_req_1_mapping_is_endpoint_independent() {
    let mut net = Net::new();
    let first = net.map_udp((HOST, 5000), (SERVER, 53));
    assert_eq!(first.0, OURS);
    assert_eq!(net.map_udp((HOST, 5000), (SERVER_2, 123)), first);
    assert_ne!(net.map_udp((HOST_2, 5000), (SERVER, 53)), first);
    let read = net.wan(Packet::udp((SERVER, 53), first, b"back")).only(At::Station(HOST));
    assert_eq!((read.source, read.destination, read.payload()), ((SERVER, 53), (HOST, 5000), &b"back"[..]));
    assert_eq!(read.ttl, 63);
}

#[test]
fn rfc4787_req_2_pooling_is_paired() {
    let mut net = Net::new();
    let address = net.map_udp((HOST, 5000), (SERVER, 53)).0;
    for port in 5001..5050 {
        assert_eq!(net.map_udp((HOST, port), (SERVER_2, port)).0, address);
    }
}

#[test]
fn rfc4787_req_3_rfc7857_req_3_no_external_port_is_shared() {
    let mut net = Net::new();
    let mut seen = BTreeSet::new();
    for port in 2000..2400 {
        for host in [HOST, HOST_2] {
            assert!(seen.insert(net.map_udp((host, port), (SERVER, 53))));
        }
    }
    assert!(seen.iter().all(|(_, port)| *port >= 1024));
}

#[test]
fn rfc4787_req_4_port_parity_is_kept() {
    let mut net = Net::new();
    for port in (1..=65_535).step_by(409) {
        assert_eq!(net.map_udp((HOST, port), (SERVER, 53)).1 % 2, port % 2);
    }
}

#[test]
fn rfc4787_req_4_parity_gives_way_before_a_port_is_refused() {
    let mut net = Net::new();
    net.forwarder.nat.set_ranges(vec![4000..=4003]);
    let ports: BTreeSet<u16> = (0..4).map(|n| net.map_udp((HOST, 6000 + 2 * n), (SERVER, 53)).1).collect();
    assert_eq!(ports, (4000..=4003).collect());
}

#[test]
fn rfc7857_req_9_external_ports_are_random() {
    let mut net = Net::new();
    let ports: Vec<u16> = (0..64).map(|n| net.map_udp((HOST, 6000 + n), (SERVER, 53)).1).collect();
    let steps = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 2).count();
    assert!(steps < 4, "not one after the other: {ports:?}");
    assert!(ports.iter().any(|port| *port < 20_000) && ports.iter().any(|port| *port > 50_000));
    assert!(ports.iter().enumerate().filter(|(n, port)| **port == 6000 + *n as u16).count() < 2);
}

#[test]
fn ports_are_drawn_from_every_one_of_several_disjoint_ranges() {
    let mut net = Net::new();
    net.forwarder.nat.set_ranges(vec![2000..=2007, 9000..=9007, 30_000..=30_007]);
    let mut ports: Vec<u16> = (0..24).map(|n| net.map_udp((HOST, 6000 + n), (SERVER, 53)).1).collect();
    ports.sort_unstable();
    assert_eq!(ports, (2000..=2007).chain(9000..=9007).chain(30_000..=30_007).collect::<Vec<_>>());
    net.lan(Packet::udp((HOST, 7000), (SERVER, 53), b"")).nothing();
}

#[test]
fn rfc7857_req_4_an_exhausted_pool_drops() {
    let mut net = Net::new();
    net.forwarder.nat.set_ranges(vec![4000..=4001]);
    net.map_udp((HOST, 1), (SERVER, 53));
    net.map_udp((HOST, 2), (SERVER, 53));
    net.lan(Packet::udp((HOST, 3), (SERVER, 53), b"")).nothing();
    assert_eq!(net.dropped(DropReason::NatExhausted), 1);
    net.map_udp((HOST, 2), (SERVER_2, 53));
    net.pass(302);
    net.map_udp((HOST, 3), (SERVER, 53));
}

#[test]
fn rfc7857_req_5_rfc7857_req_6_each_protocol_has_mappings_ports_and_filters_of_its_own() {
    let mut net = Net::with(with_filtering(Filtering::EndpointIndependent));
    net.forwarder.nat.set_ranges(vec![4001..=4001]);
    let external = net.map_udp((HOST, 3), (SERVER, 53));
    let syn = Packet::tcp((HOST_2, 3), (SERVER, 80), super::packet::SYN, b"");
    assert_eq!(net.lan(syn).only(At::ISP).source, external, "one port, two protocols, two hosts");
    assert_eq!(net.lan(Packet::ping(VISITOR, SERVER, 3)).only(At::ISP).source, external);
    net.wan(Packet::udp((SERVER_2, 9), external, b"")).only(At::Station(HOST));
    net.wan(Packet::tcp((SERVER_2, 9), external, super::packet::SYN, b"")).only(At::Station(HOST_2));
    net.wan(Packet::pong(SERVER, OURS, 4001)).only(At::Station(VISITOR));
    net.wan(Packet::pong(SERVER_2, OURS, 4001)).nothing();
}

#[test]
fn rfc4787_req_5_a_mapping_lives_five_minutes() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    net.pass(300);
    net.wan(Packet::udp((SERVER, 53), external, b"")).only(At::Station(HOST));
    net.pass(2);
    net.wan(Packet::udp((SERVER, 53), external, b"")).nothing();
    assert_eq!((net.forwarder.flow_count(), net.forwarder.mapping_count()), (0, 0));
}

#[test]
fn rfc4787_req_6_outbound_refreshes_and_inbound_alone_does_not() {
    for filtering in
        [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]
    {
        let mut net = Net::with(with_filtering(filtering));
        let external = net.map_udp((HOST, 5000), (SERVER, 53));
        net.pass(200);
        assert_eq!(net.map_udp((HOST, 5000), (SERVER, 53)), external);
        for _ in 0..29 {
            net.pass(10);
            net.wan(Packet::udp((SERVER, 53), external, b"")).only(At::Station(HOST));
        }
        net.pass(12);
        net.wan(Packet::udp((SERVER, 53), external, b"")).nothing();
    }
}

#[test]
fn rfc4787_req_6_rfc7857_req_7_strangers_keep_no_mapping_open() {
    let mut net = Net::with(with_filtering(Filtering::EndpointIndependent));
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    let mut port = 1000;
    let mut stranger = |net: &mut Net| {
        port += 1;
        net.wan(Packet::udp((SERVER_2, port), external, b"")).0.len()
    };
    for _ in 0..6 {
        net.pass(50);
        assert_eq!(stranger(&mut net), 1);
    }
    net.pass(2);
    assert_eq!(stranger(&mut net), 0, "the host has been silent for five minutes");
    net.pass(302);
    assert_eq!(net.forwarder.mapping_count(), 0);
}

#[test]
fn rfc4787_req_7_an_uplink_address_inside_the_lan_network_works() {
    let mut net = Net::offline(settings());
    let ours = ip(192, 168, 1, 77);
    net.wan_up(ISP, ours);
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    assert_eq!(external.0, ours);
    let read = net.wan(Packet::udp((SERVER, 53), external, b"")).only(At::Station(HOST));
    assert_eq!(read.destination, (HOST, 5000));
    // A host of the LAN has the number that the router has outside.
    net.lan(Packet::udp((VISITOR, 1), (HOST, 1), b"")).only(At::Station(HOST));
}

#[test]
fn rfc4787_req_7_two_uplinks_with_one_address_are_told_apart() {
    let mut net = Net::offline(settings());
    net.wan_up(ISP, OURS);
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    net.wan_up(ISP_2, OURS);
    let packet = Packet::udp((SERVER, 53), external, b"").build();
    net.session(crate::forward::SessionOwner::Wan(ISP_2), &packet).nothing();
    net.wan_bytes(&packet).only(At::Station(HOST));
}

#[test]
fn rfc4787_req_8_filtering_is_as_configured() {
    for (filtering, other_port, other_host) in [
        (Filtering::EndpointIndependent, 1, 1),
        (Filtering::AddressDependent, 1, 0),
        (Filtering::AddressAndPortDependent, 0, 0),
    ] {
        let mut net = Net::with(with_filtering(filtering));
        let external = net.map_udp((HOST, 5000), (SERVER, 53));
        assert_eq!(net.wan(Packet::udp((SERVER, 53), external, b"")).0.len(), 1);
        assert_eq!(net.wan(Packet::udp((SERVER, 54), external, b"")).0.len(), other_port, "{filtering:?}");
        assert_eq!(net.wan(Packet::udp((SERVER_2, 53), external, b"")).0.len(), other_host, "{filtering:?}");
        assert_eq!(net.dropped(DropReason::FilterDefault), 2 - (other_port + other_host) as u64);
        // To an external port that is nobody's, from whomever.
        let nobody = (OURS, external.1 ^ 1);
        net.wan(Packet::udp((SERVER, 53), nobody, b"")).nothing();
    }
}

#[test]
fn rfc4787_req_9_hairpin_comes_from_the_external_address_and_port() {
    for filtering in [Filtering::EndpointIndependent, Filtering::AddressAndPortDependent] {
        let mut net = Net::with(with_filtering(filtering));
        let a = net.map_udp((HOST, 5000), (SERVER, 53));
        let b = net.map_udp((HOST_2, 6000), (SERVER, 53));
        let read = net.lan(Packet::udp((HOST, 5000), b, b"hi")).only(At::Station(HOST_2));
        assert_eq!((read.source, read.destination), (a, (HOST_2, 6000)));
        let read = net.lan(Packet::udp((HOST_2, 6000), a, b"ho")).only(At::Station(HOST));
        assert_eq!((read.source, read.destination), (b, (HOST, 5000)));
    }
}

#[test]
fn rfc4787_req_9_the_end_of_a_hairpinned_flow_leaves_its_targets_mapping_as_it_was() {
    let mut net = Net::with(with_filtering(Filtering::EndpointIndependent));
    let b = net.map_udp((HOST_2, 6000), (SERVER, 53));
    net.lan(Packet::udp((HOST, 5000), b, b"hi")).only(At::Station(HOST_2));
    for _ in 0..4 {
        net.pass(100);
        assert_eq!(net.map_udp((HOST_2, 6000), (SERVER, 53)), b);
    }
    assert_eq!(net.forwarder.flow_count(), 1);
    net.check();
    net.wan(Packet::udp((SERVER_2, 1), b, b"")).only(At::Station(HOST_2));
}

#[test]
fn rfc4787_req_9_hairpin_reaches_a_port_forward_even_of_the_sender() {
    let mut net = Net::with(with_forward(Transport::Udp, 8080, HOST_2, 80));
    let read = net.lan(Packet::udp((HOST, 5000), (OURS, 8080), b"hi")).only(At::Station(HOST_2));
    assert_eq!((read.source.0, read.destination), (OURS, (HOST_2, 80)));
    let external = read.source;
    let read = net.lan(Packet::udp((HOST_2, 80), external, b"ho")).only(At::Station(HOST));
    assert_eq!((read.source, read.destination), ((OURS, 8080), (HOST, 5000)));
    let read = net.lan(Packet::udp((HOST_2, 7000), (OURS, 8080), b"me")).only(At::Station(HOST_2));
    assert_eq!((read.source.0, read.destination), (OURS, (HOST_2, 80)));
}

#[test]
fn rfc4787_req_9_a_subscriber_reaches_a_lan_by_hairpin_only_where_it_is_open() {
    let mut net = Net::with(with_forward(Transport::Udp, 8080, HOST_2, 80));
    let dynamic = net.map_udp((HOST, 5000), (SERVER, 53));
    net.subscriber(ALICE, Packet::udp((ALICE_IP, 9), dynamic, b"")).nothing();
    let read = net.subscriber(ALICE, Packet::udp((ALICE_IP, 9), (OURS, 8080), b"")).only(At::Station(HOST_2));
    assert_eq!(read.source.0, OURS);
}

#[test]
fn rfc4787_req_10_rfc5382_req_6_nat_slipstreaming_opens_nothing() {
    let mut net = Net::new();
    let sip = b"REGISTER sip:a SIP/2.0\r\nContact: <sip:u@192.168.1.10:22>\r\n\r\n";
    let external = net.map_udp((HOST, 5060), (SERVER, 5060));
    let read = net.lan(Packet::udp((HOST, 5060), (SERVER, 5060), sip)).only(At::ISP);
    assert_eq!(read.payload(), sip, "the payload is nobody's business");
    let ftp = b"PORT 192,168,1,10,0,22\r\n";
    net.lan(Packet::tcp((HOST, 3000), (SERVER, 21), super::packet::SYN, b"")).only(At::ISP);
    let read = net.lan(Packet::tcp((HOST, 3000), (SERVER, 21), super::packet::ACK, ftp)).only(At::ISP);
    assert_eq!(read.payload(), ftp);
    let flows = net.forwarder.flow_count();
    for port in [22, 5060, 1720] {
        net.wan(Packet::tcp((SERVER, 5060), (OURS, port), super::packet::SYN, b"")).nothing();
    }
    net.wan(Packet::udp((SERVER, 22), external, b"")).nothing();
    assert_eq!(net.forwarder.flow_count(), flows);
}

#[test]
fn rfc4787_req_11_the_same_seed_behaves_the_same() {
    let life = || {
        let mut net = Net::new();
        (0..50).map(|n| net.map_udp((HOST, 3000 + n), (SERVER, 53))).collect::<Vec<_>>()
    };
    assert_eq!(life(), life());
    // And the behaviour does not change when ports become scarce.
    let mut net = Net::new();
    net.forwarder.nat.set_ranges(vec![4000..=4009]);
    for n in 0..10 {
        let external = net.map_udp((HOST, 100 + n), (SERVER, 53));
        assert_eq!(net.map_udp((HOST, 100 + n), (SERVER_2, 99)), external);
        net.wan(Packet::udp((SERVER, 54), external, b"")).nothing();
    }
}

#[test]
fn rfc4787_req_13_too_big_and_not_to_be_fragmented_is_answered() {
    let mut net = Net::new();
    let big = Packet::udp((HOST, 5000), (SERVER, 53), &[7; 1465]);
    let read = net.lan(big.clone()).only(At::Station(HOST));
    assert_eq!((read.icmp(), read.source.0), ((3, 4), ROUTER));
    assert_eq!(read.body()[6..8], 1492u16.to_be_bytes());
    assert_eq!(read.quoted(), (17, (HOST, 5000), (SERVER, 53)));
    assert_eq!(net.dropped(DropReason::TooBig), 1);
    let fragments = net.lan(big.may_fragment()).all(At::ISP);
    assert_eq!(fragments.len(), 2);
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let mut net = Net::new();
    let mut packet = Packet::udp((HOST, 5000), (SERVER, 53), b"x");
    packet.body[6..8].fill(0);
    assert_eq!(net.lan(packet).only(At::ISP).body()[6..8], [0, 0]);
}

#[test]
fn rfc7857_req_10_identifications_pass_as_they_are() {
    let mut net = Net::new();
    for id in [0, 1, 0xffff] {
        let mut packet = Packet::udp((HOST, 5000), (SERVER, 53), b"x");
        packet.id = id;
        assert_eq!(net.lan(packet).only(At::ISP).bytes[4..6], id.to_be_bytes());
    }
}

#[test]
fn a_port_forward_is_open_to_all_and_its_host_answers_from_it() {
    let mut net = Net::with(with_forward(Transport::Udp, 8080, HOST, 80));
    let read = net.wan(Packet::udp((SERVER, 9), (OURS, 8080), b"in")).only(At::Station(HOST));
    assert_eq!(read.destination, (HOST, 80));
    let read = net.lan(Packet::udp((HOST, 80), (SERVER, 9), b"out")).only(At::ISP);
    assert_eq!(read.source, (OURS, 8080));
    assert_eq!(net.map_udp((HOST, 80), (SERVER_2, 9)), (OURS, 8080), "its own flows leave by it, too");
    net.wan(Packet::tcp((SERVER, 9), (OURS, 8080), super::packet::SYN, b"")).nothing();
    net.session(
        crate::forward::SessionOwner::Wan(ISP_2),
        &Packet::udp((SERVER, 9), (OURS_2, 8080), b"").build(),
    )
    .nothing();
    net.pass(400);
    assert_eq!((net.forwarder.flow_count(), net.forwarder.mapping_count()), (0, 1));
    for n in 0..300 {
        let external = net.map_udp((HOST_2, 1000 + n), (SERVER, 53));
        assert_ne!(external.1, 8080, "a forwarded port is not given to another");
    }
}

#[test]
fn two_forwards_to_one_inside_port_both_work() {
    let mut settings = with_forward(Transport::Udp, 8080, HOST, 80);
    settings
        .port_forwards
        .push(crate::settings::PortForward { port: 80, ..settings.port_forwards[0].clone() });
    let mut net = Net::with(settings);
    for port in [80, 8080] {
        let read = net.wan(Packet::udp((SERVER, port), (OURS, port), b"in")).only(At::Station(HOST));
        assert_eq!(read.destination, (HOST, 80));
        let read = net.lan(Packet::udp((HOST, 80), (SERVER, port), b"out")).only(At::ISP);
        assert_eq!(read.source, (OURS, port));
    }
}

/// RFC 4787 REQ-5a lets the timers of well-known ports be shorter. Each question to a DNS server has a port of its own,
/// and most questions to the router too: kept for minutes, they would use up the uplink's ports and the hosts' quotas.
#[test]
fn rfc4787_req_5a_the_routers_dns_questions_leave_no_flows_behind() {
    let mut settings = settings();
    settings.nat.flows_per_host = 10;
    let mut net = Net::with(settings);
    let local = At::Local(Interface::Lan(HOME));
    for n in 0..10 {
        net.lan(Packet::udp((HOST, 4000 + n), (ROUTER, 53), b"question")).only(local);
        net.router(Packet::udp((OURS, 4000 + n), (SERVER, 53), b"question")).only(At::ISP);
    }
    net.pass(3);
    net.wan(Packet::udp((SERVER, 53), (OURS, 4000), b"answer")).only(At::Local(Interface::Wan(ISP)));
    net.router(Packet::udp((ROUTER, 53), (HOST, 4000), b"answer")).only(At::Station(HOST));
    net.pass(7);
    assert_eq!((net.forwarder.flow_count(), net.forwarder.mapping_count()), (0, 0));
    // A host's own questions to others are flows as any.
    net.map_udp((HOST, 4000), (SERVER, 53));
    net.pass(299);
    assert_eq!(net.forwarder.flow_count(), 1);
}
