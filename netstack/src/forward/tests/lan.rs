//! LANs: several ports bridged, what is handed up, neighbours.

use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use super::packet::{Packet, SYN};
use crate::forward::{PuntKind, Resolve, Update};
use crate::frame::Frame;
use crate::id::{Interface, Mac, PortId, Segment};
use crate::ledger::DropReason;
use crate::settings::{Settings, Transport};

/// The home LAN has two ports.
fn bridged() -> Settings {
    let mut settings = with_forward(Transport::Tcp, 80, HOST, 80);
    settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
    settings
}

fn frame(destination: Mac, source: Mac, ethertype: u16) -> Vec<u8> {
    Net::ethernet(destination, source, ethertype, &[0x60; 46])
}

impl Net {
    /// What came out of the LAN's ports when a frame came by `port`.
    fn bridge(&mut self, port: PortId, bytes: &[u8]) -> Vec<PortId> {
        self.frame(port, Frame::from_bytes(bytes)).nothing();
        let out = core::mem::take(&mut self.bridged);
        assert!(out.iter().all(|(_, frame)| frame == bytes), "bridged as it is");
        out.into_iter().map(|(port, _)| port).collect()
    }
}

#[test]
fn stations_on_two_ports_reach_each_other_with_any_ethertype() {
    let mut net = Net::with(bridged());
    let (a, b) = (mac_of(HOST), mac_of(HOST_2));
    assert_eq!(net.bridge(LAN_PORT, &frame(b, a, 0x88b5)), [LAN_PORT_2], "unknown: by all others");
    assert_eq!(net.bridge(LAN_PORT_2, &frame(a, b, 0x86dd)), [LAN_PORT], "IPv6 within a LAN");
    assert_eq!(net.bridge(LAN_PORT, &frame(b, mac_of(VISITOR), 0x0800)), [LAN_PORT_2]);
    assert!(net.bridge(LAN_PORT, &frame(a, mac_of(VISITOR), 0x0800)).is_empty());
    assert_eq!(net.dropped(DropReason::BridgeSamePort), 1);
    assert_eq!(net.bridge(LAN_PORT, &frame(Mac::BROADCAST, a, 0x86dd)), [LAN_PORT_2]);
    assert_eq!(net.dropped(DropReason::Ipv6Off), 1, "and the router's own copy");
}

#[test]
fn packets_for_a_station_leave_by_its_port() {
    let mut net = Net::with(bridged());
    let arp = frame(Mac::BROADCAST, mac_of(HOST), 0x0806);
    assert_eq!(net.bridge(LAN_PORT_2, &arp), [LAN_PORT], "ARP is flooded");
    assert_eq!(net.punts.pop(), Some((PuntKind::Arp { segment: Segment::Lan(HOME) }, arp)), "and handed up");
    net.egress.received(1);
    let syn = Packet::tcp((SERVER, 9), (OURS, 80), SYN, b"").build();
    let mut batch = crate::frame::Batch::from([Frame::from_bytes(&Net::pppoe(
        crate::forward::SessionOwner::Wan(ISP),
        &syn,
    ))]);
    let mut rng = crate::rng::SeededRng::from_u64(1);
    let mut cx = crate::machine::Cx { now: net.now, rng: &mut rng };
    let mut punts = alloc::collections::VecDeque::new();
    net.forwarder.receive(&mut cx, WAN_PORT, &mut batch, &mut net.egress, &mut punts);
    let Resolve { segment, address } = net.forwarder.poll_resolve().unwrap();
    assert_eq!((segment, address, net.forwarder.held()), (Segment::Lan(HOME), HOST.into(), 1));
    let found = Update::NeighbourFound { segment, address, mac: mac_of(HOST) };
    net.forwarder.apply(&mut cx, found, &mut net.egress);
    assert_eq!(net.egress.outgoing(LAN_PORT).unwrap().0.len(), 0);
    assert_eq!(net.egress.outgoing(LAN_PORT_2).unwrap().0.len(), 1);
    assert_eq!(net.forwarder.stations(HOME).collect::<Vec<_>>(), [(HOST.into(), mac_of(HOST))]);
}

#[test]
fn the_routers_frames_go_where_they_belong() {
    let mut net = Net::with(bridged());
    net.bridge(LAN_PORT_2, &frame(Mac::BROADCAST, mac_of(HOST), 0x88b5));
    let mut send = |destination, expected: &[PortId]| {
        let bytes = frame(destination, port_mac(LAN_PORT), 0x0806);
        let mut own = net.egress.originate(bytes.len());
        own.extend(&bytes);
        net.forwarder.send_lan(net.now, HOME, own, &mut net.egress);
        for port in [LAN_PORT, LAN_PORT_2] {
            let sent = net.egress.outgoing(port).unwrap().0.drain(..).count();
            assert_eq!(sent, usize::from(expected.contains(&port)), "{destination} by {port:?}");
        }
    };
    send(mac_of(HOST), &[LAN_PORT_2]);
    send(Mac::BROADCAST, &[LAN_PORT, LAN_PORT_2]);
    send(mac_of(HOST_2), &[LAN_PORT, LAN_PORT_2]);
}

#[test]
fn tr124_wan_dos_frames_that_cannot_be_are_dropped_by_name() {
    let mut net = Net::new();
    let router = port_mac(LAN_PORT);
    for (bytes, reason) in [
        (frame(router, mac_of(HOST), 0x0800)[..13].to_vec(), DropReason::EthernetTruncated),
        (frame(router, Mac::BROADCAST, 0x0800), DropReason::BadSourceMac),
        (frame(router, Mac([0; 6]), 0x0800), DropReason::BadSourceMac),
        (frame(router, router, 0x0800), DropReason::OwnSourceMac),
        (frame(router, port_mac(WAN_PORT), 0x0800), DropReason::OwnSourceMac),
        (frame(mac_of(HOST_2), mac_of(HOST), 0x0800), DropReason::OtherStation),
        (frame(router, mac_of(HOST), 0x88b5), DropReason::UnknownEthertype),
        (frame(router, mac_of(HOST), 0x86dd), DropReason::Ipv6Off),
        (frame(Mac::BROADCAST, mac_of(HOST), 0x88b5), DropReason::UnknownEthertype),
    ] {
        let before = net.dropped(reason);
        assert!(net.bridge(LAN_PORT, &bytes).is_empty());
        assert_eq!(net.dropped(reason), before + 1, "{reason:?}");
    }
    for ethertype in [0x0800, 0x0806, 0x8100] {
        net.bridge(WAN_PORT, &frame(port_mac(WAN_PORT), mac_of(SERVER), ethertype));
    }
    assert_eq!(net.dropped(DropReason::UnknownEthertype), 5);
    // TR-124: a station of the LAN has no business on the uplink's port.
    net.bridge(WAN_PORT, &frame(port_mac(WAN_PORT), mac_of(HOST), 0x8864));
    net.bridge(LAN_PORT_2, &frame(router, mac_of(HOST), 0x0800));
    assert_eq!(net.dropped(DropReason::UnknownEthertype), 6, "a port without a part");
}

#[test]
fn dhcp_is_handed_up_with_its_ethernet_header() {
    let mut net = Net::new();
    let everyone = ip(255, 255, 255, 255);
    let client = |from, to| Packet::udp((from, 68), (to, 67), &[1; 240]).build();
    let nobody = ip(0, 0, 0, 0);
    for (destination, packet) in [
        (Mac::BROADCAST, client(nobody, everyone)),
        (port_mac(LAN_PORT), client(HOST, ROUTER)),
        (Mac::BROADCAST, client(HOST, ip(192, 168, 1, 255))),
    ] {
        let bytes = Net::ethernet(destination, mac_of(HOST), 0x0800, &packet);
        assert!(net.bridge(LAN_PORT, &bytes).is_empty());
        assert_eq!(net.punts.pop(), Some((PuntKind::Dhcp4 { segment: Segment::Lan(HOME) }, bytes)));
    }
    // To another server it is a packet like any other.
    net.lan_bytes(&client(HOST, SERVER)).only(At::ISP);
    let mut bad = client(nobody, everyone);
    bad[200] ^= 1;
    net.bridge(LAN_PORT, &Net::ethernet(Mac::BROADCAST, mac_of(HOST), 0x0800, &bad));
    assert_eq!(net.dropped(DropReason::TransportMalformed), 1);
    let whole = Net::ethernet(Mac::BROADCAST, mac_of(HOST), 0x0800, &client(nobody, everyone));
    for len in 0..whole.len() {
        net.bridge(LAN_PORT, &whole[..len]);
    }
    assert!(net.punts.is_empty());
    let before = net.dropped(DropReason::BogonDestination);
    let other = Packet::udp((HOST, 137), (ip(192, 168, 1, 255), 137), b"name").build();
    net.bridge(LAN_PORT, &Net::ethernet(Mac::BROADCAST, mac_of(HOST), 0x0800, &other));
    assert_eq!(net.dropped(DropReason::BogonDestination), before + 1);
}

#[test]
fn dhcp_on_a_lan_without_a_server_is_not_listened_to() {
    let mut settings = settings();
    settings.lans[0].dhcp = None;
    let mut net = Net::with(settings);
    let packet = Packet::udp((ip(0, 0, 0, 0), 68), (ip(255, 255, 255, 255), 67), &[1; 240]).build();
    net.bridge(LAN_PORT, &Net::ethernet(Mac::BROADCAST, mac_of(HOST), 0x0800, &packet));
    assert_eq!(net.dropped(DropReason::NotListening), 1);
}

#[test]
fn a_host_that_does_not_answer_is_told_of_to_senders_inside() {
    let mut net = Net::new();
    let gone = ip(192, 168, 1, 99);
    net.silent.push(gone);
    net.lan(Packet::udp((VISITOR, 5), (gone, 6), b"")).nothing();
    assert_eq!(net.forwarder.held(), 1);
    let read = net
        .apply(Update::NeighbourFailed { segment: Segment::Lan(HOME), address: gone.into() })
        .only(At::Station(VISITOR));
    assert_eq!((read.icmp(), read.source.0), ((3, 1), ip(192, 168, 2, 1)));
    assert_eq!(net.dropped(DropReason::NeighbourUnreachable), 1);
    net.lan(Packet::udp((VISITOR, 5), (gone, 6), b"")).nothing();
    net.pass(30).nothing();
    assert_eq!((net.forwarder.held(), net.dropped(DropReason::NeighbourUnreachable)), (0, 2));
}

#[test]
fn a_packet_with_ethernet_padding_is_forwarded_without() {
    let mut net = Net::new();
    let packet = Packet::udp((HOST, 5), (SERVER, 6), b"x").build();
    let mut bytes = Net::ethernet(port_mac(LAN_PORT), mac_of(HOST), 0x0800, &packet);
    bytes.resize(60, 0x55);
    assert_eq!(net.frame(LAN_PORT, Frame::from_bytes(&bytes)).only(At::ISP).payload(), b"x");
}

#[test]
fn status_lists_flows() {
    let mut net = Net::new();
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    let flows: Vec<_> = net.forwarder.flows().collect();
    assert_eq!(flows.len(), 1);
    let external = (external.0.into(), external.1);
    assert_eq!((flows[0].source, flows[0].translated_source), ((HOST.into(), 5000), external));
    assert_eq!(flows[0].destination, (SERVER.into(), 53));
    assert_eq!((flows[0].from, flows[0].to), (Interface::Lan(HOME), Interface::Wan(ISP)));
}
