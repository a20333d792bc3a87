//! ICMP through NAT and by the router: RFC 5508, RFC 7857 §12, RFC 1812.

use alloc::vec;

use super::net::*;
use super::packet::{ACK, Packet, SYN};
use crate::forward::SessionOwner;
use crate::id::Interface;
use crate::ledger::DropReason;
use crate::settings::Transport;

#[test]
fn rfc5508_req_1_queries_are_translated_by_identifier() {
    let mut net = Net::new();
    for (kind, answer) in [(8, 0), (13, 14), (15, 16), (17, 18)] {
        let read = net.lan(Packet::query(HOST, SERVER, kind, 77)).only(At::ISP);
        assert_eq!(read.source.0, OURS);
        let id = read.source.1;
        let read = net.wan(Packet::query(SERVER, OURS, answer, id)).only(At::Station(HOST));
        assert_eq!(read.destination, (HOST, 77));
    }
    assert_eq!(net.forwarder.mapping_count(), 1, "RFC 5508 REQ-1a: one mapping whatever the destination");
    let a = net.lan(Packet::ping(HOST, SERVER_2, 77)).only(At::ISP).source;
    let b = net.lan(Packet::ping(HOST_2, SERVER_2, 77)).only(At::ISP).source;
    assert_ne!(a, b);
}

#[test]
fn rfc1624_an_answer_that_becomes_nothing_but_zeros_has_the_checksum_of_zeros() {
    let mut net = Net::new();
    let zeros = [0; 8];
    let sent = net.lan(Packet::icmp(HOST, SERVER, 8, 0, [0; 4], &zeros)).only(At::ISP);
    let [high, low] = sent.source.1.to_be_bytes();
    // What it was read by checks the sum.
    net.wan(Packet::icmp(SERVER, OURS, 0, 0, [high, low, 0, 0], &zeros)).only(At::Station(HOST));
}

#[test]
fn rfc5508_req_2_rfc7857_req_11_a_query_lives_60_s_and_its_mapping_ends_with_it() {
    let mut net = Net::new();
    let id = net.lan(Packet::ping(HOST, SERVER, 77)).only(At::ISP).source.1;
    net.pass(60);
    net.wan(Packet::pong(SERVER, OURS, id)).only(At::Station(HOST));
    net.pass(2);
    net.wan(Packet::pong(SERVER, OURS, id)).nothing();
    assert_eq!((net.forwarder.flow_count(), net.forwarder.mapping_count()), (0, 0));
    assert_eq!(net.dropped(DropReason::IcmpNoFlow), 1);
}

#[test]
fn rfc5508_req_3_errors_with_a_bad_checksum_are_dropped_and_options_skipped() {
    let mut net = Net::new();
    let sent = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"12345678")).only(At::ISP);
    let error = Packet::error(HOP, 11, 0, &sent.bytes, 8);
    let mut bad = error.clone();
    bad.body[20] ^= 1;
    net.wan(bad).nothing();
    // The quoted header's checksum is wrong, the message's own is right.
    let mut quote = sent.bytes.clone();
    quote[8] ^= 3;
    net.wan(Packet::error(HOP, 11, 0, &quote, 8)).nothing();
    assert_eq!(net.dropped(DropReason::IcmpChecksum), 2);
    net.wan(error).only(At::Station(HOST));

    let packet = Packet::udp((HOST, 5000), (SERVER, 53), b"12345678").options(&[1, 1, 1, 0]);
    let sent = net.lan(packet).only(At::ISP);
    let read = net.wan(Packet::error(HOP, 11, 0, &sent.bytes, 8)).only(At::Station(HOST));
    assert_eq!(read.quoted(), (17, (HOST, 5000), (SERVER, 53)));
}

#[test]
fn rfc5508_req_4_rfc5382_req_9_errors_inward_are_translated_with_what_they_quote() {
    let mut net = Net::new();
    let packets = [
        Packet::udp((HOST, 5000), (SERVER, 53), b"12345678"),
        Packet::tcp((HOST, 5000), (SERVER, 80), SYN, b""),
        Packet::ping(HOST, SERVER, 5000),
    ];
    for packet in packets {
        let sent = net.lan(packet.clone()).only(At::ISP);
        for quote in [8, 1000] {
            for (kind, code) in [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0)] {
                let read =
                    net.wan(Packet::error(HOP, kind, code, &sent.bytes, quote)).only(At::Station(HOST));
                assert_eq!(read.icmp(), (kind, code));
                assert_eq!(read.source.0, HOP, "a router on the way appears as itself: traceroute works");
                let (protocol, from, to) = read.quoted();
                assert_eq!((protocol, from.0, to.0), (packet.protocol, HOST, SERVER));
                assert_eq!(from.1, 5000);
            }
        }
    }
}

#[test]
fn rfc5508_req_5_errors_outward_come_from_our_address() {
    let mut net = Net::with(with_forward(Transport::Udp, 8080, HOST, 80));
    let arrived = net.wan(Packet::udp((SERVER, 9), (OURS, 8080), b"x")).only(At::Station(HOST));
    for from in [HOST, HOST_2] {
        let read = net.lan(Packet::error(from, 3, 3, &arrived.bytes, 100)).only(At::ISP);
        assert_eq!((read.source.0, read.destination.0), (OURS, SERVER));
        assert_eq!(read.quoted(), (17, (SERVER, 9), (OURS, 8080)));
    }
}

#[test]
fn rfc5508_req_6_rfc4787_req_12_rfc5382_req_10_errors_neither_refresh_nor_end() {
    let mut net = Net::new();
    let sent = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"x")).only(At::ISP);
    let tcp = net.lan(Packet::tcp((HOST, 5000), (SERVER, 80), SYN, b"")).only(At::ISP);
    for _ in 0..23 {
        net.pass(10);
        net.wan(Packet::error(SERVER, 3, 3, &sent.bytes, 100)).only(At::Station(HOST));
        net.wan(Packet::error(SERVER, 3, 1, &tcp.bytes, 100)).only(At::Station(HOST));
    }
    assert_eq!(net.forwarder.flow_count(), 2);
    net.pass(12);
    assert_eq!(net.forwarder.flow_count(), 1, "TCP's 4 minutes are over");
    net.pass(60);
    assert_eq!(net.forwarder.flow_count(), 0, "UDP's 5 minutes are over");
}

#[test]
fn rfc7857_req_7_outbound_errors_do_not_refresh() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    for _ in 0..29 {
        net.pass(10);
        let arrived = net.wan(Packet::udp((SERVER, 53), external, b"x")).only(At::Station(HOST));
        net.lan(Packet::error(HOST, 3, 3, &arrived.bytes, 100)).only(At::ISP);
    }
    net.pass(12);
    assert_eq!(net.forwarder.flow_count(), 0);
}

#[test]
fn rfc5508_req_7_rfc7857_req_12_errors_about_hairpinned_packets() {
    let mut net = Net::new();
    let a = net.map_udp((HOST, 5000), (SERVER, 53));
    let b = net.map_udp((HOST_2, 6000), (SERVER, 53));
    let arrived = net.lan(Packet::udp((HOST, 5000), b, b"hi")).only(At::Station(HOST_2));
    let read = net.lan(Packet::error(HOST_2, 3, 3, &arrived.bytes, 100)).only(At::Station(HOST));
    assert_eq!(read.source.0, OURS);
    assert_eq!(read.quoted(), (17, (HOST, 5000), b));
    let _external = a;
    // And a query to our own address is answered by the router, from inside.
    let read = net.lan(Packet::ping(HOST, OURS, 1)).only(At::Local(Interface::Lan(HOME)));
    assert_eq!(read.destination.0, OURS);
    let answer = net.router(Packet::pong(OURS, HOST, 1)).only(At::Station(HOST));
    assert_eq!(answer.source, (OURS, 1));
}

#[test]
fn rfc5508_req_8_exhaustion_is_told() {
    let mut net = Net::new();
    net.forwarder.nat.set_ranges(vec![4000..=4000]);
    net.lan(Packet::ping(HOST, SERVER, 1)).only(At::ISP);
    let read = net.lan(Packet::ping(HOST, SERVER, 2)).only(At::Station(HOST));
    assert_eq!((read.icmp(), read.source.0), ((3, 13), ROUTER));
    assert_eq!(net.dropped(DropReason::NatExhausted), 1);
}

#[test]
fn rfc5508_req_9_req_10_req_11_other_icmp_does_not_pass() {
    let mut net = Net::new();
    for kind in [4, 5, 9, 10, 30, 37, 40, 255] {
        net.lan(Packet::icmp(HOST, SERVER, kind, 0, [0; 4], b"12345678")).nothing();
        net.wan(Packet::icmp(SERVER, OURS, kind, 0, [0; 4], b"12345678")).nothing();
    }
    assert_eq!(net.dropped(DropReason::NatProtocol), 8);
    net.wan(Packet::ping(SERVER, OURS, 3)).nothing();
    assert_eq!(net.forwarder.flow_count(), 0);
}

#[test]
fn an_error_about_nothing_that_was_sent_is_dropped() {
    let mut net = Net::new();
    let sent = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"12345678")).only(At::ISP);
    let forged = Packet::udp((OURS, 1), (SERVER, 53), b"12345678").build();
    net.wan(Packet::error(HOP, 3, 3, &forged, 100)).nothing();
    // Quoting the packet from the wrong end, or addressed to someone else.
    net.lan(Packet::error(HOST_2, 3, 3, &sent.bytes, 100)).nothing();
    let mut elsewhere = Packet::error(HOP, 3, 3, &sent.bytes, 100);
    elsewhere.destination = OURS_2;
    net.wan(elsewhere).nothing();
    // By an uplink that the packet did not go out by.
    let other = Packet::error(HOP, 3, 3, &sent.bytes, 100).build();
    net.session(SessionOwner::Wan(ISP_2), &other).nothing();
    assert_eq!(net.dropped(DropReason::IcmpNoFlow), 4);
    net.wan(Packet::error(HOP, 3, 3, &sent.bytes, 3)).nothing();
}

#[test]
fn traceroute_sees_the_router_on_both_sides() {
    let mut net = Net::with(with_forward(Transport::Udp, 8080, HOST, 80));
    for packet in [
        Packet::udp((HOST, 5000), (SERVER, 33_434), b"12345678"),
        Packet::tcp((HOST, 5000), (SERVER, 80), SYN, b""),
        Packet::ping(HOST, SERVER, 9),
    ] {
        let read = net.lan(packet.clone().ttl(1)).only(At::Station(HOST));
        assert_eq!((read.icmp(), read.source.0, read.ttl), ((11, 0), ROUTER, 64));
        assert_eq!(read.quoted().2.0, SERVER);
        assert_eq!(net.lan(packet.ttl(2)).only(At::ISP).ttl, 1);
    }
    let read = net.wan(Packet::udp((SERVER, 9), (OURS, 8080), b"x").ttl(1)).only(At::ISP);
    assert_eq!((read.icmp(), read.source.0, read.destination.0), ((11, 0), OURS, SERVER));
    assert_eq!(read.quoted(), (17, (SERVER, 9), (OURS, 8080)));
    let read = net.subscriber(ALICE, Packet::ping(ALICE_IP, SERVER, 1).ttl(1)).only(At::ALICE);
    assert_eq!((read.icmp(), read.source.0), ((11, 0), BRAS));
    // What nothing lets in is not answered.
    net.wan(Packet::udp((SERVER, 9), (OURS, 8081), b"x").ttl(1)).nothing();
    assert_eq!(net.dropped(DropReason::TtlExceeded), 5);
}

#[test]
fn the_routers_own_errors_are_limited() {
    let mut net = Net::new();
    let answers: usize =
        (0..500).map(|n| net.lan(Packet::udp((HOST, n), (SERVER, 1), b"").ttl(1)).0.len()).sum();
    assert!((10..100).contains(&answers), "{answers}");
    net.pass(10);
    assert_eq!(net.lan(Packet::udp((HOST, 5), (SERVER, 1), b"").ttl(1)).0.len(), 1);
}

#[test]
fn the_routers_own_errors_reach_those_they_are_for() {
    let mut net = Net::new();
    let asked = net.lan(Packet::udp((HOST, 5000), (ROUTER, 9), b"x")).only(At::Local(Interface::Lan(HOME)));
    let read = net.router(Packet::error(ROUTER, 3, 3, &asked.bytes, 100)).only(At::Station(HOST));
    assert_eq!((read.source.0, read.quoted()), (ROUTER, (17, (HOST, 5000), (ROUTER, 9))));
    // Also where no flow is left to tell.
    net.pass(400);
    net.router(Packet::error(ROUTER, 3, 3, &asked.bytes, 100)).only(At::Station(HOST));
}

#[test]
fn an_error_about_what_the_router_sent_comes_to_the_router() {
    let mut net = Net::new();
    let sent = net.router(Packet::udp((OURS, 40_001), (SERVER, 53), b"query")).only(At::ISP);
    assert_eq!(sent.source, (OURS, 40_001), "the router keeps its port where it is free");
    assert_eq!(sent.ttl, 64);
    let read = net.wan(Packet::error(HOP, 3, 3, &sent.bytes, 100)).only(At::Local(Interface::Wan(ISP)));
    assert_eq!(read.quoted(), (17, (OURS, 40_001), (SERVER, 53)));
    net.wan(Packet::udp((SERVER, 53), (OURS, 40_001), b"answer")).only(At::Local(Interface::Wan(ISP)));
    net.wan(Packet::tcp((SERVER, 53), (OURS, 40_001), ACK, b"")).nothing();
}

#[test]
fn rfc5508_req_9_an_error_from_our_own_address_does_not_come_from_outside() {
    let mut net = Net::new();
    let sent = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"12345678")).only(At::ISP);
    net.wan(Packet::error(OURS, 3, 3, &sent.bytes, 8)).nothing();
    assert_eq!(net.dropped(DropReason::Land), 1);
}
