//! Ports with a VLAN: a tag on all that leaves, and nothing in without it.

use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use super::offload::{large, partial};
use super::packet::{ACK, Packet, SYN};
use crate::forward::SessionOwner;
use crate::frame::Frame;
use crate::id::Mac;
use crate::ledger::DropReason;
use crate::settings::{Settings, Vlan};

const LINE: Vlan = Vlan { id: 6, control_priority: 6 };
const HOUSE: Vlan = Vlan { id: 0xabc, control_priority: 0 };

/// Both sides are tagged, by devices that would cut and sum.
fn tagged() -> Settings {
    let mut settings = settings();
    for (port, vlan) in [(WAN_PORT, LINE), (LAN_PORT, HOUSE), (GUEST_PORT, HOUSE)] {
        let port = &mut settings.ports[port.index()];
        (port.vlan, port.offload) = (Some(vlan), true);
    }
    settings
}

/// [`Net`] looks at the tag of all that leaves.
#[test]
fn packets_cross_tagged_ports_both_ways_the_long_way_and_the_short_one() {
    for plain in [false, true] {
        let mut settings = tagged();
        if plain {
            settings.wans[0].uplink = crate::settings::Uplink::Dhcp;
        }
        let mut net = Net::offline(settings);
        net.wan_up(ISP, OURS);
        let there = if plain { At::Beyond(mac_of(GATEWAY)) } else { At::ISP };
        for _ in 0..4 {
            let out = net.lan(Packet::udp((HOST, 4000), (SERVER, 53), &[1; 1464])).only(there);
            let answer = Packet::udp((SERVER, 53), out.source, &[2; 1464]);
            assert_eq!(net.wan(answer).only(At::Station(HOST)).payload(), [2; 1464]);
        }
        let ways = [WAN_PORT, LAN_PORT].map(|port| net.forwarder.ports[port.index()].way_in.is_some());
        assert_eq!(ways, [true; 2], "both know the short way");
        assert_eq!(net.dropped(DropReason::VlanMismatch), 0);
    }
}

#[test]
fn what_comes_in_without_the_tag_is_dropped_and_counted() {
    let mut net = Net::with(tagged());
    let external = net.map_udp((HOST, 4000), (SERVER, 53));
    let answer = Packet::udp((SERVER, 53), external, b"answer").build();
    let bytes = Net::pppoe(SessionOwner::Wan(ISP), &answer);
    let with = |tag: [u8; 4]| [&bytes[..12], &tag[..], &bytes[12..]].concat();
    for other in [
        bytes.clone(),
        with([0x81, 0, 0, 7]),
        with([0x81, 0, 0, 0]),
        with([0x81, 0, 0x10, 0x06 | 0x80]),
        with([0x88, 0xa8, 0, 6]),
    ] {
        net.on_wire(WAN_PORT, Frame::from_bytes(&other)).nothing();
    }
    assert_eq!(net.dropped(DropReason::VlanMismatch), 5);
    let whole = with([0x81, 0, 0xe0, 6]);
    for len in 0..18 {
        net.on_wire(WAN_PORT, Frame::from_bytes(&whole[..len])).nothing();
    }
    assert_eq!(net.dropped(DropReason::EthernetTruncated), 18);
    net.on_wire(WAN_PORT, Frame::from_bytes(&whole)).only(At::Station(HOST));
    // One tag is taken off, and no more.
    let twice = [&whole[..12], &[0x81, 0, 0, 6], &whole[12..]].concat();
    net.on_wire(WAN_PORT, Frame::from_bytes(&twice)).nothing();
    assert_eq!(net.dropped(DropReason::UnknownEthertype), 1);
    let untagged = &Net::pppoe(SessionOwner::Subscriber(ALICE), &answer);
    net.on_wire(ACCESS_PORT, Frame::from_bytes(&[&untagged[..12], &whole[12..]].concat())).nothing();
    assert_eq!(net.dropped(DropReason::UnknownEthertype), 2, "a tag on a port without a VLAN");
}

#[test]
fn what_a_sender_left_undone_is_done_before_the_tag() {
    let mut net = Net::with(tagged());
    for (to, at) in [((SERVER, 80), At::ISP), ((VISITOR, 80), At::Station(VISITOR))] {
        net.lan(Packet::tcp((HOST, 4000), to, SYN, b"")).only(at);
        let (bytes, offload) = partial(&Packet::tcp((HOST, 4000), to, ACK, &[3; 900]));
        assert_eq!(net.lan_offload(&bytes, offload).only(at).payload(), [3; 900]);
        let (bytes, offload) = large(&Packet::tcp((HOST, 4000), to, ACK, &[4; 14_000]), 1400);
        let pieces = net.lan_offload(&bytes, offload).all(at);
        assert_eq!(pieces.iter().map(|piece| piece.payload().len()).collect::<Vec<_>>(), [1400; 10]);
    }
}

#[test]
fn a_bridge_takes_tags_off_and_puts_them_on() {
    let mut settings = tagged();
    settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
    let mut net = Net::with(settings);
    let bytes = Net::ethernet(Mac::BROADCAST, mac_of(HOST), 0x88cc, &[5; 46]);
    for (from, to) in [(LAN_PORT, LAN_PORT_2), (LAN_PORT_2, LAN_PORT)] {
        net.frame(from, Frame::from_bytes(&bytes)).nothing();
        assert_eq!(net.bridged.pop(), Some((to, bytes.clone())));
        assert!(net.bridged.is_empty());
    }
}
