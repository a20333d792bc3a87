//! Fragments through NAT, in any order (RFC 4787 REQ-14), and to the router.

use alloc::vec::Vec;

use super::net::*;
use super::packet::{Packet, Read, SYN, sum};
use crate::id::Interface;
use crate::ledger::DropReason;

/// The body of the datagram whose fragments came out.
fn join(pieces: &[Read]) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces {
        let start = usize::from(piece.flags & 0x1fff) * 8;
        body.resize(body.len().max(start + piece.body().len()), 0);
        body[start..start + piece.body().len()].copy_from_slice(piece.body());
    }
    body
}

#[test]
fn rfc4787_req_14_fragments_pass_in_any_order_both_ways() {
    let payload: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
    let orders: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let mut net = Net::new();
        let mut datagram = Packet::udp((HOST, 5000), (SERVER, 53), &payload).may_fragment();
        datagram.id = 99;
        let fragments = datagram.fragments(1400);
        let mut out = Vec::new();
        for index in order {
            out.extend(net.lan_bytes(&fragments[index]).all(At::ISP));
        }
        assert_eq!(out.len(), 3, "{order:?}");
        assert!(out.iter().all(|piece| piece.source.0 == OURS && piece.destination.0 == SERVER));
        let first = out.iter().find(|piece| piece.flags & 0x1fff == 0).unwrap();
        let external = (OURS, first.source.1);
        let whole = Packet::udp(external, (SERVER, 53), &payload);
        assert_eq!(join(&out), whole.body, "{order:?}: addresses, port and checksum are right");

        let mut answer = Packet::udp((SERVER, 53), external, &payload).may_fragment();
        answer.id = 1;
        let fragments = answer.fragments(1400);
        let mut out = Vec::new();
        for index in order {
            out.extend(net.wan_bytes(&fragments[index]).all(At::Station(HOST)));
        }
        assert_eq!(join(&out), Packet::udp((SERVER, 53), (HOST, 5000), &payload).body);
        assert_eq!(net.forwarder.held(), 0);
        assert_eq!(net.forwarder.flow_count(), 1);
    }
}

#[test]
fn rfc5508_a_large_ping_passes_in_fragments() {
    let mut net = Net::new();
    let ping = Packet::icmp(HOST, SERVER, 8, 0, [0, 77, 0, 1], &[9; 3000]).may_fragment();
    let mut out = Vec::new();
    for fragment in ping.fragments(1480) {
        out.extend(net.lan_bytes(&fragment).all(At::ISP));
    }
    assert!(out.len() >= 3);
    assert_eq!(sum(&join(&out)), 0xffff);
}

#[test]
fn fragments_of_what_is_refused_are_refused() {
    let mut net = Net::new();
    let datagram = Packet::udp((SERVER, 1), (OURS, 53), &[7; 3000]).may_fragment();
    for fragment in datagram.fragments(1400).iter().rev() {
        net.wan_bytes(fragment).nothing();
    }
    assert_eq!(net.dropped(DropReason::FilterDefault), 3);
    assert_eq!(net.forwarder.held(), 0);
}

#[test]
fn fragments_without_a_first_one_end_in_time_and_take_bounded_room() {
    let mut net = Net::new();
    for id in 0..3000 {
        let mut datagram = Packet::udp((HOST, 5000), (SERVER, 53), &[7; 2000]).may_fragment();
        datagram.id = id;
        net.lan_bytes(&datagram.fragments(1400)[1]).nothing();
    }
    assert!(net.forwarder.held() > 0 && net.forwarder.held() < 1100);
    assert!(net.dropped(DropReason::FragmentOverflow) > 1000);
    net.pass(60).nothing();
    assert_eq!(net.forwarder.held(), 0);
    assert!(net.dropped(DropReason::FragmentTimeout) > 0);
}

#[test]
fn tr124_wan_dos_ping_of_death_and_tiny_fragments() {
    let mut net = Net::new();
    let ping = Packet::icmp(SERVER, OURS, 8, 0, [0, 1, 0, 1], &[9; 1000]);
    let mut death = ping.clone();
    death.flags = 0x1fff;
    net.wan(death).nothing();
    let mut odd = ping;
    odd.flags = 0x2000 | 10;
    odd.body.truncate(1001);
    net.wan(odd).nothing();
    let mut tiny = Packet::tcp((HOST, 1), (SERVER, 80), SYN, b"");
    tiny.flags = 0x2000;
    tiny.body.truncate(16);
    net.lan(tiny.clone()).nothing();
    tiny.flags = 1;
    net.lan(tiny).nothing();
    assert_eq!(net.dropped(DropReason::FragmentMalformed), 4);
}

#[test]
fn a_fragmented_datagram_for_the_router_is_handed_up_whole() {
    for backwards in [false, true] {
        let mut net = Net::new();
        let ping = Packet::icmp(HOST, ROUTER, 8, 0, [0, 1, 0, 1], &[9; 4000]).may_fragment();
        let mut fragments = ping.fragments(1480);
        if backwards {
            fragments.reverse();
        }
        let last = fragments.pop().unwrap();
        for fragment in fragments {
            net.lan_bytes(&fragment).nothing();
        }
        let read = net.lan_bytes(&last).only(At::Local(Interface::Lan(HOME)));
        assert_eq!(read.body(), ping.body);
        assert_eq!(net.forwarder.held(), 0);
    }
}

#[test]
fn what_may_be_fragmented_is() {
    let mut net = Net::new();
    let payload: Vec<u8> = (0..1472u32).map(|n| n as u8).collect();
    let out = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), &payload).may_fragment()).all(At::ISP);
    assert_eq!(out.len(), 2);
    let external = (OURS, out[0].source.1);
    assert_eq!(join(&out), Packet::udp(external, (SERVER, 53), &payload).body);
}

#[test]
fn an_icmp_error_in_fragments_is_dropped_with_all_of_them() {
    let mut net = Net::new();
    let sent = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), &[1; 1000])).only(At::ISP);
    let error = Packet::error(HOP, 3, 3, &sent.bytes, 1008).may_fragment();
    for fragment in error.fragments(512) {
        net.wan_bytes(&fragment).nothing();
    }
    assert_eq!(net.dropped(DropReason::FragmentMalformed), 3);
}
