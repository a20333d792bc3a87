//! A plain uplink: IPv4 on the Ethernet segment beyond it, and PPPoE beside it.

use alloc::vec;

use super::net::*;
use super::packet::{ACK, Packet, SYN, pseudo, sum};
use crate::forward::{Ipv4Segment, PuntKind, SessionOwner, Update, WanIpv4};
use crate::frame::{Checksum, Frame, Gso, GsoKind, Offload};
use crate::id::{Interface, Ipv4Cidr, Mac, Segment};
use crate::ledger::DropReason;
use crate::settings::{Settings, StaticUplink, Uplink};

/// What the gateway sends.
const FAR: At = At::Beyond(mac_of(GATEWAY));

fn online(settings: Settings) -> Net {
    let mut net = Net::offline(settings);
    net.wan_up(ISP, OURS);
    net
}

impl Net {
    /// A frame from the gateway, to everyone or to us.
    fn beyond(&mut self, destination: Mac, packet: &[u8]) -> Out {
        let mut bytes = self.on_uplink(ISP, packet);
        bytes[..6].copy_from_slice(&destination.0);
        self.frame(WAN_PORT, Frame::from_bytes(&bytes))
    }
}

#[test]
fn the_world_is_behind_the_gateway_and_neighbours_are_reached_directly() {
    let mut net = online(by_dhcp());
    let read = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"far")).only(FAR);
    assert_eq!((read.source.0, read.destination), (OURS, (SERVER, 53)));
    let external = read.source;
    let back = net.wan(Packet::udp((SERVER, 53), external, b"x")).only(At::Station(HOST));
    assert_eq!((back.payload(), back.destination), (&b"x"[..], (HOST, 5000)));
    net.lan(Packet::udp((HOST, 5000), (NEIGHBOUR, 53), b"near")).only(At::Beyond(mac_of(NEIGHBOUR)));
    let usage = net.forwarder.usage(SessionOwner::Wan(ISP)).unwrap();
    assert_eq!((usage.tx_packets, usage.tx_octets), (2, 28 + 3 + 28 + 4));
    assert_eq!((usage.rx_packets, usage.rx_octets), (1, 28 + 1), "without Ethernet's padding");
}

#[test]
fn a_network_beyond_the_second_uplink_is_reached_by_it() {
    let mut settings = settings();
    settings.wans[1].uplink = Uplink::Static(StaticUplink::default());
    let mut net = Net::offline(settings);
    net.wan_up(ISP, OURS_2);
    net.wan_up(ISP_2, OURS);
    let modem = net.lan(Packet::udp((HOST, 5000), (NEIGHBOUR, 80), b"")).only(At::Beyond(mac_of(NEIGHBOUR)));
    assert_eq!(modem.source.0, OURS);
    net.lan(Packet::udp((HOST, 5000), (SERVER, 80), b"")).only(At::ISP);
}

#[test]
fn packets_wait_for_the_gateway_and_end_when_it_does_not_answer() {
    let mut net = online(by_dhcp());
    net.silent.push(GATEWAY);
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"1")).nothing();
    net.lan(Packet::udp((HOST_2, 5000), (SERVER_2, 53), b"2")).nothing();
    assert_eq!(net.forwarder.held(), 2, "for one address");
    let (segment, address) = (Segment::Wan(ISP), GATEWAY.into());
    let out = net.apply(Update::NeighbourFound { segment, address, mac: mac_of(GATEWAY) });
    assert_eq!(out.all(FAR).len(), 2);
    assert_eq!(net.forwarder.usage(SessionOwner::Wan(ISP)).unwrap().tx_packets, 2);

    let gone = ip(203, 0, 113, 9);
    net.silent.push(gone);
    net.lan(Packet::udp((HOST, 5000), (gone, 53), b"3")).nothing();
    net.apply(Update::NeighbourFailed { segment, address: gone.into() }).nothing();
    assert_eq!((net.forwarder.held(), net.dropped(DropReason::NeighbourUnreachable)), (0, 1));
    net.lan(Packet::udp((HOST, 5000), (gone, 53), b"4")).nothing();
    net.pass(30).nothing();
    assert_eq!((net.forwarder.held(), net.dropped(DropReason::NeighbourUnreachable)), (0, 2));
}

#[test]
fn another_network_has_other_neighbours_and_no_address_has_none() {
    let mut net = online(by_dhcp());
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"")).only(FAR);
    net.wan_up(ISP, OURS);
    assert!(net.forwarder.poll_resolve().is_none());
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"")).only(FAR);

    net.silent.push(GATEWAY);
    net.wan_down(ISP);
    net.wan(Packet::udp((SERVER, 53), (OURS, 5000), b"")).nothing();
    assert_eq!(net.dropped(DropReason::WanDown), 1);
    net.wan_up(ISP, OURS_LATER);
    net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"")).nothing();
    assert_eq!(net.forwarder.held(), 1, "the gateway is asked for again");
    net.wan_down(ISP);
    assert_eq!((net.forwarder.held(), net.dropped(DropReason::WanDown)), (0, 2));
}

#[test]
fn an_address_that_changes_by_dhcp_ends_what_was_translated_to_the_old_one() {
    let mut net = online(by_dhcp());
    let old = net.lan(Packet::udp((HOST, 5000), (SERVER, 51_820), b"")).only(FAR).source;
    net.wan(Packet::tcp((SERVER, 7), (OURS, 8443), SYN, b"")).only(At::Station(HOST));
    net.wan_up(ISP, OURS_LATER);
    assert_eq!(net.forwarder.epoch(ISP), 1);
    net.wan(Packet::udp((SERVER, 51_820), old, b"late")).nothing();
    net.wan(Packet::tcp((SERVER, 7), (OURS, 8443), ACK, b"")).nothing();
    assert_eq!(net.lan(Packet::udp((HOST, 5000), (SERVER, 51_820), b"")).only(FAR).source.0, OURS_LATER);
    net.wan(Packet::tcp((SERVER, 7), (OURS_LATER, 8443), SYN, b"")).only(At::Station(HOST));
}

#[test]
fn replies_to_the_dhcp_client_are_handed_up_before_there_is_an_address() {
    let mut net = Net::offline(by_dhcp());
    let reply = |to| Packet::udp((GATEWAY, 67), (to, 68), &[2; 240]).build();
    let kind = PuntKind::Dhcp4 { segment: Segment::Wan(ISP) };
    for (mac, to) in [(Mac::BROADCAST, ip(255, 255, 255, 255)), (port_mac(WAN_PORT), OURS)] {
        let bytes = Net::ethernet(mac, mac_of(GATEWAY), 0x0800, &reply(to));
        net.frame(WAN_PORT, Frame::from_bytes(&bytes)).nothing();
        assert_eq!(net.punts.pop(), Some((kind, bytes)), "with its Ethernet header");
    }
    let mut bad = reply(OURS);
    bad[100] ^= 1;
    net.beyond(port_mac(WAN_PORT), &bad).nothing();
    assert_eq!(net.dropped(DropReason::TransportMalformed), 1);
    net.beyond(mac_of(NEIGHBOUR), &reply(OURS)).nothing();
    assert_eq!(net.dropped(DropReason::OtherStation), 1);
    // After packets of a flow came by the same way, too.
    net.wan_up(ISP, OURS);
    let external = net.lan(Packet::udp((HOST, 5000), (SERVER, 53), b"")).only(FAR).source;
    for _ in 0..3 {
        net.wan(Packet::udp((SERVER, 53), external, b"x")).only(At::Station(HOST));
    }
    net.beyond(port_mac(WAN_PORT), &reply(OURS)).nothing();
    assert_eq!(net.punts.pop().unwrap().0, kind);

    let mut settings = by_dhcp();
    settings.wans[0].uplink = Uplink::Static(StaticUplink::default());
    let mut net = online(settings);
    net.beyond(port_mac(WAN_PORT), &reply(OURS)).nothing();
    assert!(net.punts.is_empty(), "nobody has asked");
}

#[test]
fn arp_is_handed_up_and_nobody_who_speaks_to_everyone_is_answered() {
    let mut net = online(by_dhcp());
    let arp = Net::ethernet(Mac::BROADCAST, mac_of(GATEWAY), 0x0806, &[0; 46]);
    net.frame(WAN_PORT, Frame::from_bytes(&arp)).nothing();
    assert_eq!(net.punts.pop(), Some((PuntKind::Arp { segment: Segment::Wan(ISP) }, arp)));
    let ping = Packet::udp((NEIGHBOUR, 9), (ip(203, 0, 113, 255), 7), b"echo").build();
    for group in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 251])] {
        net.beyond(group, &ping).nothing();
    }
    assert_eq!(net.dropped(DropReason::BogonDestination), 2);
    net.beyond(Mac::BROADCAST, &Packet::udp((NEIGHBOUR, 9), (OURS, 8443), b"").build()).nothing();
    assert_eq!(net.dropped(DropReason::BogonDestination), 3);
}

#[test]
fn tr124_wan_dos_what_the_segment_must_not_send_is_dropped_by_name() {
    let mut net = online(by_dhcp());
    net.wan(Packet::tcp((HOST_2, 9), (OURS, 8443), SYN, b"")).nothing();
    assert_eq!(net.dropped(DropReason::Spoofed), 1, "a LAN's address");
    net.wan(Packet::tcp((OURS, 9), (OURS, 8443), SYN, b"")).nothing();
    assert_eq!(net.dropped(DropReason::Land), 1);
    net.wan(Packet::udp((NEIGHBOUR, 9), (HOST, 9), b"")).nothing();
    assert_eq!(net.dropped(DropReason::FilterDefault), 1, "there is no way in but by translation");
    let foreign = Net::ethernet(port_mac(WAN_PORT), mac_of(GATEWAY), 0x8100, &[0; 46]);
    net.frame(WAN_PORT, Frame::from_bytes(&foreign)).nothing();
    assert_eq!(net.dropped(DropReason::UnknownEthertype), 1);
}

#[test]
fn pppoe_runs_beside_a_plain_uplink_on_the_same_port() {
    let mut settings = by_dhcp();
    settings.wans.swap(0, 1);
    let mut net = Net::offline(settings);
    net.wan_up(ISP, OURS_2);
    net.wan_up(ISP_2, OURS);
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    net.wan(Packet::udp((SERVER, 53), external, b"")).only(At::Station(HOST));
    let near = net.lan(Packet::udp((HOST, 5000), (NEIGHBOUR, 53), b"")).only(At::Beyond(mac_of(NEIGHBOUR)));
    let answer = net.on_uplink(ISP_2, &Packet::udp((NEIGHBOUR, 53), near.source, b"").build());
    net.frame(WAN_PORT, Frame::from_bytes(&answer)).only(At::Station(HOST));
    let padi = Net::ethernet(Mac::BROADCAST, mac_of(GATEWAY), 0x8863, &[0x11, 7, 0, 0, 0, 0]);
    net.frame(WAN_PORT, Frame::from_bytes(&padi)).nothing();
    assert_eq!(net.punts.pop().unwrap().0, PuntKind::Discovery { port: WAN_PORT });
}

#[test]
fn the_uplinks_mtu_is_told_and_large_segments_pass_whole_where_the_port_takes_them() {
    let mut settings = by_dhcp();
    settings.ports[usize::from(WAN_PORT.0)].offload = true;
    for (settings, whole) in [(settings, true), (by_dhcp(), false)] {
        let mut net = online(settings);
        net.lan(Packet::tcp((HOST, 6000), (SERVER, 80), SYN, b"")).only(FAR);
        let packet = Packet::tcp((HOST, 6000), (SERVER, 80), ACK, &vec![7; 4000]);
        let mut bytes = packet.clone();
        let field = sum(&pseudo(packet.source, packet.destination, 6, packet.body.len()));
        bytes.body[16..18].copy_from_slice(&field.to_be_bytes());
        let offload = Offload {
            checksum: Checksum::Partial { start: 20, offset: 16 },
            gso: Some(Gso { kind: GsoKind::TcpV4, size: 1460, ecn: false }),
        };
        // The harness checks the segments' lengths and checksums.
        let out = net.lan_offload(&bytes.build(), offload);
        assert_eq!((out.0.len(), net.bridged.len()), if whole { (0, 1) } else { (3, 0) });
    }
    let mut net = online(by_dhcp());
    let ipv4 = WanIpv4 {
        address: OURS,
        mtu: 1400,
        segment: Some(Ipv4Segment { network: Ipv4Cidr { address: OURS, prefix: 24 }, gateway: GATEWAY }),
    };
    net.apply(Update::WanIpv4Up { wan: ISP, ipv4 }).nothing();
    let large = Packet::udp((HOST, 5000), (SERVER, 53), &[0; 1373]);
    let told = net.lan(large).only(At::Station(HOST));
    assert_eq!(told.icmp(), (3, 4));
}

#[test]
fn the_router_itself_reaches_the_world_by_its_gateway() {
    let mut net = online(by_dhcp());
    let read = net.router(Packet::udp((OURS, 40_000), (SERVER, 53), b"?")).only(FAR);
    let answer = net.wan(Packet::udp((SERVER, 53), read.source, b"!"));
    answer.only(At::Local(Interface::Wan(ISP)));
}
