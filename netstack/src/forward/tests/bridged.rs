//! A LAN with peers of a VPN on it: what goes to them, in what, and what of theirs comes in.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ipv6::net::ip6;
use super::ipv6::packet::Packet6;
use super::net::*;
use super::offload::{framed, large, partial};
use super::packet::{ACK, Packet, SYN, pseudo, sum};
use crate::arp;
use crate::forward::bridge::{BLOCK, BridgePort, FROM_PEER, MOVES, Notice, STATIONS_PER_PORT, TO_PEERS};
use crate::forward::offload::Offload as Kernel;
use crate::forward::{PuntKind, SessionOwner, Update};
use crate::frame::Frame;
use crate::id::{IpCidr, Ipv4Cidr, Ipv6Cidr, Mac, PeerId, PortId, Segment, VpnId};
use crate::ledger::DropReason;
use crate::ndp::message::{Message, PrefixInformation, RouterAdvertisement};
use crate::settings::{Settings, Transport, Vpn, VpnBridge, VpnPeer};
use crate::time::Duration;
use crate::tunnel::wireguard::{PrivateKey, PublicKey};
use crate::wire::ipv6;

const BOB_SITE: PeerId = PeerId { vpn: VpnId(0), peer: 0 };
const CAROL_SITE: PeerId = PeerId { vpn: VpnId(0), peer: 1 };
const VNI: u32 = 0x12_34_56;
const INNER: Ipv4Addr = ip(10, 9, 0, 1);
const INNER6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
const MTU: u16 = 1420;

/// A station of the LAN, and stations behind the peers.
const ANN: Mac = Mac([0x52, 0x54, 192, 168, 1, 10]);
const BEN: Mac = Mac([0x52, 0x54, 192, 168, 1, 66]);
const CAT: Mac = Mac([6, 0, 0, 0, 0, 0xc0]);
const BEN_IP: Ipv4Addr = ip(192, 168, 1, 66);

fn inner(peer: PeerId) -> Ipv4Addr {
    ip(10, 9, 0, peer.peer as u8 + 2)
}

fn inner6(peer: PeerId) -> Ipv6Addr {
    Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, peer.peer + 2)
}

/// The home LAN has two ports and two peers. Everything optional is off.
fn bridged() -> Settings {
    with_bridge(|_| ())
}

fn with_bridge(change: impl FnOnce(&mut VpnBridge)) -> Settings {
    let mut bridge =
        VpnBridge { lan: HOME, vni: VNI, ra_guard: false, isolate_dhcp: false, suppress: false, hub: false };
    change(&mut bridge);
    let mut settings = with_forward(Transport::Tcp, 80, HOST, 80);
    settings.lans[0].ports = vec![LAN_PORT, LAN_PORT_2];
    let peer = |name: &str, id: PeerId| VpnPeer {
        name: name.into(),
        public_key: PublicKey([id.peer as u8; 32]),
        preshared_key: None,
        endpoint: None,
        allowed_ips: vec![IpCidr::V4(Ipv4Cidr { address: inner(id), prefix: 32 })],
        keepalive: None,
    };
    settings.vpns = vec![Vpn {
        name: "friends".into(),
        private_key: PrivateKey::new([1; 32]),
        listen_port: 51820,
        ipv4: Some(Ipv4Cidr { address: INNER, prefix: 24 }),
        ipv6: None,
        mtu: Some(MTU),
        masquerade: false,
        bridge: Some(bridge),
        peers: vec![peer("bob", BOB_SITE), peer("carol", CAROL_SITE)],
    }];
    settings
}

/// The peers are reached by IPv6 inside.
fn by_ipv6(mut settings: Settings) -> Settings {
    let vpn = &mut settings.vpns[0];
    vpn.ipv6 = Some(Ipv6Cidr { address: INNER6, prefix: 64 });
    for (id, peer) in [BOB_SITE, CAROL_SITE].into_iter().zip(&mut vpn.peers) {
        let network = IpCidr::V6(Ipv6Cidr { address: ip6("fd09:1::"), prefix: 64 });
        peer.allowed_ips = vec![network, IpCidr::V6(Ipv6Cidr { address: inner6(id), prefix: 128 })];
    }
    settings
}

/// What came out of the bridge: Ethernet frames, and where.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bridged {
    ports: Vec<(PortId, Vec<u8>)>,
    peers: Vec<(PeerId, Vec<u8>)>,
}

impl Bridged {
    /// Where `frame` came out, and nothing else did.
    #[track_caller]
    fn of(&self, frame: &[u8]) -> (Vec<PortId>, Vec<PeerId>) {
        let all = self.ports.iter().map(|(_, bytes)| bytes).chain(self.peers.iter().map(|(_, bytes)| bytes));
        assert!(all.into_iter().all(|bytes| bytes == frame), "as it was: {self:?}");
        (
            self.ports.iter().map(|(port, _)| *port).collect(),
            self.peers.iter().map(|(peer, _)| *peer).collect(),
        )
    }
}

fn on(settings: Settings) -> Net {
    Net::with(settings)
}

fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat()
}

/// A frame as a peer sends it.
fn from_peer(peer: PeerId, frame: &[u8]) -> Packet {
    Packet::udp((inner(peer), 50_000), (INNER, 4789), &vxlan(VNI, frame)).may_fragment()
}

fn frame(destination: Mac, source: Mac, ethertype: u16) -> Vec<u8> {
    Net::ethernet(destination, source, ethertype, &[0x60; 46])
}

fn ipv4(destination: Mac, source: Mac, packet: &Packet) -> Vec<u8> {
    Net::ethernet(destination, source, 0x0800, &packet.build())
}

fn ipv6_of(destination: Mac, source: Mac, packet: &[u8]) -> Vec<u8> {
    Net::ethernet(destination, source, 0x86dd, packet)
}

/// Reads what goes to a peer as the far end would, its fragments put together. Panics where that would drop it.
fn far_end(packets: &[(PeerId, Vec<u8>)]) -> Vec<(PeerId, Vec<u8>)> {
    let mut frames = vec![];
    let mut parts: Vec<u8> = vec![];
    let mut id = 0;
    for (peer, packet) in packets {
        assert!(packet.len() <= usize::from(MTU), "{} octets are more than the VPN carries", packet.len());
        let (body, more, is_whole, pseudo) = if packet[0] >> 4 == 4 {
            assert_eq!(sum(&packet[..20]), 0xffff, "header checksum");
            assert_eq!(
                (packet[0], usize::from(packet[2]) << 8 | usize::from(packet[3])),
                (0x45, packet.len())
            );
            assert_eq!((&packet[12..16], &packet[16..20]), (&INNER.octets()[..], &inner(*peer).octets()[..]));
            let field = u16::from_be_bytes([packet[6], packet[7]]);
            assert_eq!(field & 0x4000, 0, "it may be fragmented");
            assert_eq!(usize::from(field & 0x1fff) * 8, parts.len(), "in order");
            let this = u16::from_be_bytes([packet[4], packet[5]]);
            assert!(parts.is_empty() || this == id, "one identification");
            id = this;
            let whole = field & 0x3fff == 0;
            (&packet[20..], field & 0x2000 != 0, whole, None)
        } else {
            let (payload, next) = (&packet[40..], packet[6]);
            assert_eq!(usize::from(packet[4]) << 8 | usize::from(packet[5]), payload.len());
            assert_eq!(packet[8..24], INNER6.octets());
            assert_eq!(packet[24..40], inner6(*peer).octets());
            let addresses = Some(packet[8..40].to_vec());
            match next {
                17 => (payload, false, true, addresses),
                44 => {
                    let field = u16::from_be_bytes([payload[2], payload[3]]);
                    assert_eq!((payload[0], usize::from(field & !7)), (17, parts.len()));
                    (&payload[8..], field & 1 != 0, false, addresses)
                }
                other => panic!("next header {other}"),
            }
        };
        parts.extend(body);
        if more {
            continue;
        }
        let datagram = core::mem::take(&mut parts);
        let port = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        assert!(port(0) >= 49_152, "a dynamic source port");
        assert_eq!((port(2), usize::from(port(4))), (4789, datagram.len()));
        match (port(6), pseudo) {
            (0, None) => assert!(is_whole, "RFC 4963: fragments are protected"),
            (_, None) => {
                let head = super::packet::pseudo(INNER, inner(*peer), 17, datagram.len());
                assert_eq!(sum(&[head, datagram.clone()].concat()), 0xffff, "UDP checksum");
            }
            (_, Some(addresses)) => {
                let len = (datagram.len() as u32).to_be_bytes();
                let all = [&addresses[..], &len, &[0, 0, 0, 17], &datagram].concat();
                assert_eq!(sum(&all), 0xffff, "UDP checksum");
            }
        }
        assert_eq!(datagram[8..16], vxlan(VNI, &[]));
        frames.push((*peer, datagram[16..].to_vec()));
    }
    assert!(parts.is_empty(), "a fragment is missing");
    frames
}

impl Net {
    /// What has been put into VXLAN.
    fn for_peers(&mut self) -> Vec<(PeerId, Vec<u8>)> {
        let mut packets = vec![];
        while let Some((peer, packet)) = self.forwarder.poll_for_peer() {
            packets.push((peer, packet.bytes().to_vec()));
            self.egress.consume(packet);
        }
        packets
    }

    fn taken(&mut self) -> Bridged {
        let packets = self.for_peers();
        Bridged { ports: core::mem::take(&mut self.bridged), peers: far_end(&packets) }
    }

    /// A station on a port of the LAN sends a frame.
    fn by_port(&mut self, port: PortId, bytes: &[u8]) -> Bridged {
        self.frame(port, Frame::from_bytes(bytes)).nothing();
        self.taken()
    }

    /// A station behind a peer does.
    fn by_peer(&mut self, peer: PeerId, bytes: &[u8]) -> Bridged {
        self.by_peer_packet(peer, &from_peer(peer, bytes).build())
    }

    fn by_peer_packet(&mut self, peer: PeerId, packet: &[u8]) -> Bridged {
        self.through_tunnel(peer, packet).nothing();
        self.taken()
    }

    fn told(&mut self) -> Vec<Notice> {
        core::iter::from_fn(|| self.forwarder.poll_notice()).collect()
    }
}

#[test]
fn rfc7348_4_frames_go_to_the_peer_behind_which_their_station_is() {
    let mut net = on(bridged());
    let broadcast = frame(Mac::BROADCAST, ANN, 0x88b5);
    let everywhere = (vec![LAN_PORT_2], vec![BOB_SITE, CAROL_SITE]);
    assert_eq!(net.by_port(LAN_PORT, &broadcast).of(&broadcast), everywhere);
    let unknown = frame(BEN, ANN, 0x0800);
    assert_eq!(net.by_port(LAN_PORT, &unknown).of(&unknown), everywhere, "unknown: to all others");
    let answer = frame(ANN, BEN, 0x0800);
    assert_eq!(net.by_peer(BOB_SITE, &answer).of(&answer), (vec![LAN_PORT], vec![]));
    assert_eq!(net.by_port(LAN_PORT, &unknown).of(&unknown), (vec![], vec![BOB_SITE]), "known now");
    let hello = frame(Mac::BROADCAST, CAT, 0x88b5);
    assert_eq!(net.by_peer(CAROL_SITE, &hello).of(&hello), (vec![LAN_PORT, LAN_PORT_2], vec![]));
    let across = frame(BEN, CAT, 0x0800);
    assert_eq!(net.by_peer(CAROL_SITE, &across), Bridged::default());
    assert_eq!(net.dropped(DropReason::BridgeSplitHorizon), 1);
}

#[test]
fn a_hub_passes_frames_from_one_peer_to_the_others() {
    let mut net = on(with_bridge(|bridge| bridge.hub = true));
    let hello = frame(Mac::BROADCAST, BEN, 0x88b5);
    let out = net.by_peer(BOB_SITE, &hello);
    assert_eq!(out.of(&hello), (vec![LAN_PORT, LAN_PORT_2], vec![CAROL_SITE]));
    let across = frame(BEN, CAT, 0x0800);
    assert_eq!(net.by_peer(CAROL_SITE, &across).of(&across), (vec![], vec![BOB_SITE]));
}

#[test]
fn frames_of_any_size_pass_in_fragments_and_none_is_too_large() {
    for settings in [bridged as fn() -> Settings, || by_ipv6(bridged())] {
        let mut settings = settings();
        settings.ports.iter_mut().for_each(|port| port.mtu = 9000);
        let mut net = on(settings);
        net.by_peer(BOB_SITE, &frame(Mac::BROADCAST, BEN, 0x88b5));
        for len in [46, 1300, 1369, 1370, 1371, 1372, 1373, 1393, 1500, 4000, 9000] {
            let payload: Vec<u8> = (0..len).map(|n| (n * 7 + n / 256) as u8).collect();
            let bytes = Net::ethernet(Mac::BROADCAST, ANN, 0x88b5, &payload);
            let out = net.by_port(LAN_PORT, &bytes);
            assert_eq!(out.of(&bytes), (vec![LAN_PORT_2], vec![BOB_SITE, CAROL_SITE]), "{len} octets");
        }
    }
}

#[test]
fn fragments_of_a_peers_frames_are_put_together_in_any_order() {
    let mut settings = bridged();
    settings.ports.iter_mut().for_each(|port| port.mtu = 9000);
    let mut net = on(settings);
    let bytes = Net::ethernet(Mac::BROADCAST, BEN, 0x88b5, &vec![0x55; 9000]);
    let mut pieces = from_peer(BOB_SITE, &bytes).fragments(1400);
    pieces.reverse();
    pieces.swap(0, 3);
    let last = pieces.pop().unwrap();
    for piece in &pieces {
        assert_eq!(net.by_peer_packet(BOB_SITE, piece), Bridged::default());
    }
    assert_eq!(net.forwarder.held(), pieces.len());
    let out = net.by_peer_packet(BOB_SITE, &last);
    assert_eq!(out.of(&bytes), (vec![LAN_PORT, LAN_PORT_2], vec![]));
    assert_eq!(net.forwarder.held(), 0);
}

#[test]
fn lost_fragments_do_not_stop_those_that_come_after_them() {
    let mut net = on(bridged());
    let bytes = Net::ethernet(Mac::BROADCAST, BEN, 0x88b5, &vec![0x55; 1500]);
    for id in 0..900 {
        let pieces = Packet { id, ..from_peer(BOB_SITE, &bytes) }.fragments(1400);
        assert_eq!(net.by_peer_packet(BOB_SITE, &pieces[0]), Bridged::default());
    }
    let pieces = Packet { id: 1000, ..from_peer(BOB_SITE, &bytes) }.fragments(1400);
    assert_eq!(net.by_peer_packet(BOB_SITE, &pieces[1]), Bridged::default());
    assert_eq!(net.by_peer_packet(BOB_SITE, &pieces[0]).ports.len(), 2);
    net.pass(2).nothing();
    assert_eq!((net.forwarder.held(), net.dropped(DropReason::FragmentTimeout)), (0, 900));
}

#[test]
fn rfc4963_4_pieces_of_two_frames_that_meet_are_found_out() {
    let mut net = on(bridged());
    let of = |octet: u8| {
        let bytes = Net::ethernet(Mac::BROADCAST, BEN, 0x88b5, &vec![octet; 1500]);
        from_peer(BOB_SITE, &bytes).fragments(1400)
    };
    net.by_peer_packet(BOB_SITE, &of(1)[0]);
    assert_eq!(net.by_peer_packet(BOB_SITE, &of(2)[1]), Bridged::default());
    assert_eq!(net.dropped(DropReason::VxlanMalformed), 1);
}

#[test]
fn what_a_sender_leaves_to_its_card_is_done_before_it_goes_to_a_peer() {
    let mut settings = bridged();
    for port in [LAN_PORT, LAN_PORT_2] {
        settings.ports[port.index()].offload = true;
    }
    let mut net = on(settings);
    net.by_peer(BOB_SITE, &frame(Mac::BROADCAST, BEN, 0x88b5));
    let header = Net::ethernet(BEN, ANN, 0x0800, &[]);
    let (bytes, offload) = partial(&Packet::udp((HOST, 5), (BEN_IP, 6), b"odd"));
    net.frame(LAN_PORT, framed(&[header.clone(), bytes].concat(), 14, offload)).nothing();
    let [(_, only)] = net.taken().peers.try_into().unwrap();
    assert_eq!(super::packet::Read::new(&only[14..]).payload(), b"odd");
    let (bytes, offload) = large(&Packet::tcp((HOST, 5), (BEN_IP, 6), ACK, &[7; 5000]), 1460);
    net.frame(LAN_PORT, framed(&[header, bytes].concat(), 14, offload)).nothing();
    let cut = net.taken().peers;
    let sizes: Vec<usize> =
        cut.iter().map(|(_, bytes)| super::packet::Read::new(&bytes[14..]).payload().len()).collect();
    assert_eq!(sizes, [1460, 1460, 1460, 620]);
}

#[test]
fn rfc7348_5_flows_have_source_ports_of_their_own() {
    let mut net = on(bridged());
    let mut source_port = |from: u16, size: usize| {
        let packet = Packet::udp((HOST, from), (BEN_IP, 9), &vec![0; size]);
        net.frame(LAN_PORT, Frame::from_bytes(&ipv4(BEN, ANN, &packet))).nothing();
        let packets = net.for_peers();
        net.bridged.clear();
        u16::from_be_bytes([packets[0].1[20], packets[0].1[21]])
    };
    let ports: Vec<u16> = (1000..1020).map(|from| source_port(from, 10)).collect();
    let again: Vec<u16> = (1000..1020).map(|from| source_port(from, 30)).collect();
    assert_eq!(ports, again);
    let distinct: std::collections::BTreeSet<u16> = ports.into_iter().collect();
    assert!(distinct.len() > 15, "{distinct:?}");
}

#[test]
fn every_vxlan_packet_truncated_and_flipped_is_dropped_by_name_or_is_a_frame() {
    let mut net = on(bridged());
    net.keep_damaged = true;
    let bytes = frame(Mac::BROADCAST, BEN, 0x88b5);
    let packet = from_peer(BOB_SITE, &bytes).build();
    for len in 0..packet.len() {
        assert_eq!(net.by_peer_packet(BOB_SITE, &packet[..len]), Bridged::default(), "{len} octets");
    }
    for len in 0..22 {
        let cut = Packet::udp((inner(BOB_SITE), 50_000), (INNER, 4789), &vxlan(VNI, &bytes)[..len]).build();
        let before = net.dropped(DropReason::VxlanMalformed);
        assert_eq!(net.by_peer_packet(BOB_SITE, &cut), Bridged::default());
        assert_eq!(net.dropped(DropReason::VxlanMalformed), before + 1, "{len} octets");
    }
    let mut unsummed = packet.clone();
    unsummed[26..28].fill(0);
    for bit in 28 * 8..36 * 8 {
        let mut flipped = unsummed.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        let reason = match bit - 28 * 8 {
            4 => Some(DropReason::VxlanMalformed),
            32..56 => Some(DropReason::VxlanUnknownNetwork),
            _ => None,
        };
        let before = reason.map(|reason| net.dropped(reason));
        let out = net.by_peer_packet(BOB_SITE, &flipped);
        assert_eq!(out.ports.is_empty(), reason.is_some(), "bit {bit}");
        assert_eq!(reason.map(|reason| net.dropped(reason)), before.map(|before| before + 1), "bit {bit}");
    }
    for bit in 0..packet.len() * 8 {
        let mut flipped = packet.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        net.through_tunnel(BOB_SITE, &flipped);
        net.bridged.clear();
    }
}

#[test]
fn only_the_peers_own_address_speaks_vxlan_and_only_to_ours() {
    let mut net = on(bridged());
    let inside = vxlan(VNI, &frame(Mac::BROADCAST, BEN, 0x88b5));
    for (source, destination) in
        [(ip(10, 9, 0, 77), INNER), (inner(CAROL_SITE), INNER), (inner(BOB_SITE), ROUTER)]
    {
        let packet = Packet::udp((source, 50_000), (destination, 4789), &inside);
        assert_eq!(net.by_peer_packet(BOB_SITE, &packet.build()), Bridged::default());
    }
    let other = Packet::udp((inner(BOB_SITE), 50_000), (INNER, 53), &inside);
    assert_eq!(net.by_peer_packet(BOB_SITE, &other.build()), Bridged::default());
    assert_eq!(net.dropped(DropReason::NotListening), 4, "they are given back");
}

#[test]
fn frames_of_a_peers_that_cannot_be_are_dropped_by_name() {
    let mut net = on(bridged());
    let pause = Mac([1, 0x80, 0xc2, 0, 0, 1]);
    for (bytes, reason) in [
        (frame(Mac::BROADCAST, Mac::BROADCAST, 0x0800), DropReason::BadSourceMac),
        (frame(Mac::BROADCAST, Mac([0; 6]), 0x0800), DropReason::BadSourceMac),
        (frame(Mac::BROADCAST, port_mac(LAN_PORT), 0x0800), DropReason::OwnSourceMac),
        (frame(Mac::BROADCAST, port_mac(WAN_PORT), 0x0800), DropReason::OwnSourceMac),
        (frame(pause, BEN, 0x8808), DropReason::BridgeSite),
        (frame(Mac([1, 0x80, 0xc2, 0, 0, 14]), BEN, 0x88cc), DropReason::BridgeSite),
        (frame(Mac::BROADCAST, BEN, 0x8863), DropReason::BridgeSite),
        (frame(ANN, BEN, 0x8864), DropReason::BridgeSite),
        (frame(Mac::BROADCAST, BEN, 0x8100), DropReason::VlanMismatch),
        (frame(Mac::BROADCAST, BEN, 0x88a8), DropReason::VlanMismatch),
        (frame(port_mac(LAN_PORT), BEN, 0x88b5), DropReason::UnknownEthertype),
        (Net::ethernet(Mac::BROADCAST, BEN, 0x88b5, &[0; 1501]), DropReason::TooBig),
    ] {
        let before = net.dropped(reason);
        assert_eq!(net.by_peer(BOB_SITE, &bytes), Bridged::default());
        assert_eq!(net.dropped(reason), before + 1, "{reason:?}");
    }
}

#[test]
fn what_is_of_the_site_alone_does_not_go_to_peers() {
    let mut net = on(bridged());
    for ethertype in [0x8863, 0x8864, 0x8100, 0x88a8] {
        let bytes = frame(Mac::BROADCAST, ANN, ethertype);
        assert_eq!(net.by_port(LAN_PORT, &bytes).of(&bytes), (vec![LAN_PORT_2], vec![]), "{ethertype:#x}");
    }
    net.by_peer(BOB_SITE, &frame(Mac::BROADCAST, BEN, 0x88b5));
    assert_eq!(net.by_port(LAN_PORT, &frame(BEN, ANN, 0x8864)), Bridged::default());
    assert_eq!(net.dropped(DropReason::BridgeSite), 1);
    let spanning_tree = frame(Mac([1, 0x80, 0xc2, 0, 0, 0]), ANN, 0x0026);
    assert_eq!(net.by_port(LAN_PORT, &spanning_tree), Bridged::default());
}

/// The outer packet to an endpoint on the LAN itself must not be bridged into the VPN again, for ever.
#[test]
fn a_vpn_does_not_travel_in_itself() {
    let mut net = on(bridged());
    let outer = Packet::udp((ROUTER, 51820), (BEN_IP, 51820), &[4; 100]);
    let bytes = ipv4(BEN, port_mac(LAN_PORT), &outer);
    net.send_lan(HOME, &bytes);
    assert!(net.taken().peers.is_empty());
    net.by_peer(BOB_SITE, &frame(Mac::BROADCAST, BEN, 0x88b5));
    net.send_lan(HOME, &bytes);
    assert!(net.taken().peers.is_empty());
    assert_eq!(net.dropped(DropReason::BridgeSite), 1);
    let other = Packet::udp((ROUTER, 53), (BEN_IP, 51820), &[4; 100]);
    net.send_lan(HOME, &ipv4(BEN, port_mac(LAN_PORT), &other));
    assert_eq!(net.taken().peers.len(), 1);
}

#[test]
fn ten_thousand_stations_behind_a_peer_are_each_reached_there() {
    let mut net = on(bridged());
    let station = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        Mac([6, 1, a, b, c, d])
    };
    for n in 0..10_000 {
        net.now += Duration::from_millis(2);
        let bytes = frame(Mac::BROADCAST, station(n), 0x88b5);
        assert_eq!(net.by_peer(BOB_SITE, &bytes).ports.len(), 2);
    }
    for n in 0..10_000 {
        let bytes = frame(station(n), ANN, 0x0800);
        assert_eq!(net.by_port(LAN_PORT, &bytes).of(&bytes), (vec![], vec![BOB_SITE]), "station {n}");
    }
    // A hundred thousand more that are invented take no more than the peer's part.
    for n in 0..100_000 {
        net.now += Duration::from_millis(1);
        net.by_peer(BOB_SITE, &frame(ANN, station(1 << 20 | n), 0x0800));
    }
    let known = net.forwarder.lans[0].bridge.len();
    assert!(known <= STATIONS_PER_PORT + 1, "{known} stations");
    let bytes = frame(Mac::BROADCAST, ANN, 0x88b5);
    assert_eq!(net.by_port(LAN_PORT, &bytes).ports.len(), 1);
}

#[test]
fn a_loop_between_two_ports_is_stopped_and_named() {
    let mut net = on(bridged());
    // Both ports are plugged into one switch: it gives what a station says to both, and to one what leaves by the other.
    let hello = frame(Mac::BROADCAST, ANN, 0x88b5);
    let mut waiting = vec![(LAN_PORT, hello.clone()), (LAN_PORT_2, hello)];
    let mut carried = 0;
    for _ in 0..1000 {
        let mut next = vec![];
        for (port, bytes) in waiting {
            for (port, bytes) in net.by_port(port, &bytes).ports {
                carried += 1;
                next.push((if port == LAN_PORT { LAN_PORT_2 } else { LAN_PORT }, bytes));
            }
        }
        waiting = next;
    }
    assert!(waiting.is_empty() && carried <= usize::from(MOVES) + 1, "{carried} frames");
    let blocked = BridgePort::Port(LAN_PORT);
    let told = net.told();
    let [Notice::Loop { lan, station, between, blocked: named }] = told[..] else {
        panic!("one sentence is enough: {told:?}");
    };
    assert_eq!((lan, station, named), (HOME, ANN, between[1]));
    assert!(between.contains(&blocked) && between.contains(&BridgePort::Port(LAN_PORT_2)));
    let open = if named == blocked { LAN_PORT_2 } else { LAN_PORT };
    let shut = if named == blocked { LAN_PORT } else { LAN_PORT_2 };
    let hello = frame(Mac::BROADCAST, CAT, 0x88b5);
    assert_eq!(net.by_port(open, &hello).of(&hello), (vec![], vec![BOB_SITE, CAROL_SITE]));
    assert_eq!(net.by_port(shut, &hello), Bridged::default());
    assert!(net.dropped(DropReason::BridgeLoop) > 0);
    net.pass(BLOCK.as_secs());
    assert_eq!(net.by_port(open, &hello).of(&hello), (vec![shut], vec![BOB_SITE, CAROL_SITE]), "it is over");
}

#[test]
fn a_loop_by_way_of_a_peer_cuts_off_the_peer_and_not_the_lan() {
    let mut net = on(bridged());
    // The two sites are joined by another cable: what we send to bob comes back by the LAN, and the other way round.
    let mut waiting = vec![(None, frame(Mac::BROADCAST, ANN, 0x88b5))];
    for _ in 0..100 {
        let mut next = vec![];
        for (from, bytes) in waiting {
            let out = match from {
                None => net.by_port(LAN_PORT, &bytes),
                Some(peer) => net.by_peer(peer, &bytes),
            };
            let by_lan = out.ports.iter().filter(|(port, _)| *port == LAN_PORT);
            next.extend(by_lan.map(|(_, bytes)| (Some(BOB_SITE), bytes.clone())));
            let by_bob = out.peers.iter().filter(|(peer, _)| *peer == BOB_SITE);
            next.extend(by_bob.map(|(_, bytes)| (None, bytes.clone())));
            // And it goes round at once on the other cable, too.
            if from.is_none() {
                next.push((Some(BOB_SITE), bytes));
            }
        }
        next.truncate(50);
        waiting = next;
    }
    let bob = BridgePort::Peer(BOB_SITE);
    let told = net.told();
    assert!(matches!(told[..], [Notice::Loop { station: ANN, blocked, .. }] if blocked == bob), "{told:?}");
    let hello = frame(Mac::BROADCAST, CAT, 0x88b5);
    assert_eq!(net.by_port(LAN_PORT, &hello).of(&hello), (vec![LAN_PORT_2], vec![CAROL_SITE]));
}

/// Carol speaks in the name of a station of bob's: she takes it for a moment, and bob stays where he is.
#[test]
fn a_peer_that_claims_anothers_stations_does_not_cut_it_off() {
    let mut net = on(bridged());
    let hello = frame(Mac::BROADCAST, BEN, 0x88b5);
    net.by_peer(BOB_SITE, &hello);
    net.pass(20);
    for _ in 0..50 {
        net.by_peer(CAROL_SITE, &hello);
        net.by_peer(BOB_SITE, &hello);
    }
    let [bob, carol] = [BOB_SITE, CAROL_SITE].map(BridgePort::Peer);
    let told = net.told();
    let [Notice::Held { lan: HOME, station: BEN, between, at }] = told[..] else { panic!("{told:?}") };
    assert!(at == bob && between.contains(&carol), "{told:?}");
    let to_ben = frame(BEN, ANN, 0x0800);
    assert_eq!(net.by_port(LAN_PORT, &to_ben).of(&to_ben), (vec![], vec![BOB_SITE]));
    assert!(net.dropped(DropReason::BridgeLoop) >= 40);
    // Carol's own station is heard as before.
    let other = frame(Mac::BROADCAST, CAT, 0x88b5);
    assert_eq!(net.by_peer(CAROL_SITE, &other).of(&other), (vec![LAN_PORT, LAN_PORT_2], vec![]));
}

/// What a connection begins with is told what travels in one piece, both ways; all else stays as it was.
#[test]
fn tcp_over_a_bridge_begins_with_what_fits_whole() {
    let (host, far) = ((ip(192, 168, 1, 10), 4000), (BEN_IP, 80));
    let syn = |mss: u16| {
        let [high, low] = mss.to_be_bytes();
        Packet::tcp_options(host, far, SYN, &[2, 4, high, low], b"")
    };
    for (settings, room) in [
        (bridged as fn() -> Settings, usize::from(MTU) - 20 - 8 - 8 - 14),
        (|| by_ipv6(bridged()), usize::from(MTU) - 40 - 8 - 8 - 14),
    ] {
        let mut net = on(settings());
        net.by_peer(BOB_SITE, &frame(Mac::BROADCAST, BEN, 0x88b5));
        net.by_port(LAN_PORT, &frame(Mac::BROADCAST, ANN, 0x88b5));
        let fits = (room - 40) as u16;
        for (said, heard) in [(1460, fits), (fits + 1, fits), (fits, fits), (536, 536)] {
            let out = net.by_port(LAN_PORT, &ipv4(BEN, ANN, &syn(said)));
            let expected = ipv4(BEN, ANN, &syn(heard));
            let to_bob = out.peers.iter().find(|(peer, _)| *peer == BOB_SITE);
            assert_eq!(to_bob, Some(&(BOB_SITE, expected)), "{said}");
        }
        // A full segment after it: one packet to each.
        let segment = ipv4(BEN, ANN, &Packet::tcp(host, far, ACK, &vec![7; usize::from(fits)]));
        net.frame(LAN_PORT, Frame::from_bytes(&segment)).nothing();
        let sent = net.for_peers();
        assert_eq!(sent.iter().filter(|(peer, _)| *peer == BOB_SITE).count(), 1);
    }
    let mut net = on(bridged());
    net.by_port(LAN_PORT, &frame(Mac::BROADCAST, ANN, 0x88b5));
    let answer = |mss: u16| {
        let [high, low] = mss.to_be_bytes();
        ipv4(ANN, BEN, &Packet::tcp_options(far, host, SYN | ACK, &[2, 4, high, low], b""))
    };
    let fits = MTU - 20 - 8 - 8 - 14 - 40;
    assert_eq!(net.by_peer(BOB_SITE, &answer(1460)).of(&answer(fits)), (vec![LAN_PORT], vec![]));
    // Of IPv6 stations as well.
    let syn = |mss: u16| {
        let (from, to) = ((ip6("2001:db8::a"), 4000), (ip6("2001:db8::b"), 80));
        let [high, low] = mss.to_be_bytes();
        ipv6_of(BEN, ANN, &Packet6::tcp_options(from, to, SYN, &[2, 4, high, low], b"").build())
    };
    let expected = syn(MTU - 20 - 8 - 8 - 14 - 60);
    assert_eq!(net.by_port(LAN_PORT, &syn(1440)).of(&expected), (vec![], vec![BOB_SITE]));
}

#[test]
fn a_storm_from_a_peer_is_limited_and_named_and_unicast_still_passes() {
    let mut net = on(bridged());
    net.by_port(LAN_PORT, &frame(Mac::BROADCAST, ANN, 0x88b5));
    let storm = frame(Mac::BROADCAST, BEN, 0x88b5);
    let passed = (0..5000).filter(|_| !net.by_peer(BOB_SITE, &storm).ports.is_empty()).count();
    assert_eq!(passed, FROM_PEER.burst as usize);
    assert_eq!(net.dropped(DropReason::BridgeStorm), 4000);
    assert_eq!(net.told(), [Notice::Storm { lan: HOME, from: BridgePort::Peer(BOB_SITE) }]);
    let unicast = frame(ANN, BEN, 0x0800);
    assert_eq!(net.by_peer(BOB_SITE, &unicast).ports, [(LAN_PORT, unicast)]);
}

#[test]
fn a_storm_on_the_lan_does_not_fill_the_uplink_with_copies_for_peers() {
    let mut net = on(bridged());
    let storm = frame(Mac::BROADCAST, ANN, 0x88b5);
    let out: Vec<Bridged> = (0..3000).map(|_| net.by_port(LAN_PORT, &storm)).collect();
    assert_eq!(out.iter().filter(|out| !out.ports.is_empty()).count(), 3000, "the LAN still hears it");
    assert_eq!(out.iter().filter(|out| !out.peers.is_empty()).count(), TO_PEERS.burst as usize);
    assert_eq!(net.dropped(DropReason::BridgeStorm), 2000);
}

#[test]
fn multicast_discovery_and_the_query_of_a_game_reach_everyone() {
    let mut net = on(bridged());
    let mdns = Packet::udp((HOST, 5353), (ip(224, 0, 0, 251), 5353), b"_printer._tcp.local").build();
    let mdns6 = Packet6::udp((ip6("fe80::9"), 5353), (ip6("ff02::fb"), 5353), b"_printer").build();
    let game =
        Packet::udp((HOST, 27015), (ip(255, 255, 255, 255), 27015), b"\xff\xff\xff\xffTSource").build();
    for (destination, ethertype, packet) in [
        (Mac([1, 0, 0x5e, 0, 0, 251]), 0x0800, mdns),
        (Mac([0x33, 0x33, 0, 0, 0, 0xfb]), 0x86dd, mdns6),
        (Mac::BROADCAST, 0x0800, game),
    ] {
        let bytes = Net::ethernet(destination, ANN, ethertype, &packet);
        let out = net.by_port(LAN_PORT, &bytes);
        assert_eq!(out.of(&bytes), (vec![LAN_PORT_2], vec![BOB_SITE, CAROL_SITE]));
        let bytes = Net::ethernet(destination, BEN, ethertype, &packet);
        let out = net.by_peer(BOB_SITE, &bytes);
        assert_eq!(out.of(&bytes), (vec![LAN_PORT, LAN_PORT_2], vec![]));
    }
}

/// A host behind a peer is a host of the LAN: the router answers it, and carries its packets.
#[test]
fn a_station_behind_a_peer_uses_the_router_as_those_of_the_lan_do() {
    let mut net = on(bridged());
    let ask = arp_of(arp::Operation::Request, (BEN, BEN_IP), (Mac([0; 6]), ROUTER), Mac::BROADCAST);
    net.by_peer(BOB_SITE, &ask);
    assert_eq!(net.punts.pop(), Some((PuntKind::Arp { segment: Segment::Lan(HOME) }, ask)));
    net.apply(Update::NeighbourFound { segment: Segment::Lan(HOME), address: BEN_IP.into(), mac: BEN });
    let out = ipv4(port_mac(LAN_PORT), BEN, &Packet::udp((BEN_IP, 5000), (SERVER, 53), b"query"));
    let external = net.through_tunnel(BOB_SITE, &from_peer(BOB_SITE, &out).build()).only(At::ISP).source;
    assert_eq!(external.0, OURS);
    net.wan(Packet::udp((SERVER, 53), external, b"answer")).nothing();
    let [(peer, bytes)] = net.taken().peers.try_into().unwrap();
    assert_eq!((peer, &bytes[..6]), (BOB_SITE, &BEN.0[..]));
    let read = super::packet::Read::new(&bytes[14..]);
    assert_eq!((read.destination, read.payload()), ((BEN_IP, 5000), &b"answer"[..]));
}

#[test]
fn flows_of_a_station_that_moves_behind_a_peer_leave_the_kernel() {
    let mut net = on(bridged());
    net.forwarder.set_offload(true);
    let told =
        |net: &mut Net| -> Vec<Kernel> { core::iter::from_fn(|| net.forwarder.poll_offload()).collect() };
    net.by_port(LAN_PORT, &frame(Mac::BROADCAST, ANN, 0x88b5));
    let external = net.map_udp((HOST, 5000), (SERVER, 53));
    for _ in 0..3 {
        net.map_udp((HOST, 5000), (SERVER, 53));
        net.wan(Packet::udp((SERVER, 53), external, b"in")).only(At::Station(HOST));
    }
    assert_eq!(told(&mut net).iter().filter(|told| matches!(told, Kernel::Flow(_))).count(), 2);
    net.by_peer(BOB_SITE, &frame(Mac::BROADCAST, ANN, 0x88b5));
    let segment = Segment::Lan(HOME);
    let gone = Kernel::StationChanged { segment, address: IpAddr::V4(HOST), station: None };
    assert_eq!(told(&mut net), [gone]);
    for _ in 0..3 {
        net.wan(Packet::udp((SERVER, 53), external, b"in")).nothing();
    }
    assert_eq!(net.taken().peers.len(), 3, "by user space");
    assert_eq!(told(&mut net), []);
    net.by_port(LAN_PORT, &frame(Mac::BROADCAST, ANN, 0x88b5));
    let back = Kernel::StationMoved { lan: HOME, station: ANN, port: LAN_PORT };
    assert_eq!(told(&mut net), [back]);
}

fn arp_of(
    operation: arp::Operation,
    (sender_mac, sender): (Mac, Ipv4Addr),
    (target_mac, target): (Mac, Ipv4Addr),
    destination: Mac,
) -> Vec<u8> {
    let mut frame = Frame::from_bytes(&[]);
    let packet = arp::Packet { operation, sender_mac, sender, target_mac, target };
    assert!(packet.emit(destination, &mut frame));
    frame.bytes().to_vec()
}

fn who_has(asker: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    arp_of(arp::Operation::Request, asker, (Mac([0; 6]), target), Mac::BROADCAST)
}

#[test]
fn a_known_address_behind_a_peer_is_not_asked_for_over_there_again() {
    let mut net = on(with_bridge(|bridge| bridge.suppress = true));
    let ann = (ANN, HOST);
    let question = who_has(ann, BEN_IP);
    let everywhere = (vec![LAN_PORT_2], vec![BOB_SITE, CAROL_SITE]);
    assert_eq!(net.by_port(LAN_PORT, &question).of(&question), everywhere, "nobody knows yet");
    let reply = arp_of(arp::Operation::Reply, (BEN, BEN_IP), ann, ANN);
    assert_eq!(net.by_peer(BOB_SITE, &reply).of(&reply), (vec![LAN_PORT], vec![]));
    assert_eq!(net.by_port(LAN_PORT, &question).of(&reply), (vec![LAN_PORT], vec![]), "answered here");
    assert_eq!(net.punts.len(), 2, "the router hears every question");
    // Of the LAN's own stations, and of the router, peers are not asked either.
    let other = (Mac([6, 0, 0, 0, 0, 9]), ip(192, 168, 1, 9));
    let of_ann = who_has(other, HOST);
    assert_eq!(net.by_port(LAN_PORT_2, &of_ann).of(&of_ann), (vec![LAN_PORT], vec![]));
    let of_router = who_has(ann, ROUTER);
    assert_eq!(net.by_port(LAN_PORT, &of_router).of(&of_router), (vec![LAN_PORT_2], vec![]));
    // What a peer asks is asked.
    let from_afar = who_has((CAT, ip(192, 168, 1, 77)), BEN_IP);
    assert_eq!(net.by_peer(CAROL_SITE, &from_afar).ports.len(), 2);
}

#[test]
fn an_answer_is_never_wrong() {
    let ann = (ANN, HOST);
    let question = who_has(ann, BEN_IP);
    let ready = || {
        let mut net = on(with_bridge(|bridge| bridge.suppress = true));
        net.by_port(LAN_PORT, &who_has(ann, ROUTER));
        net.by_peer(BOB_SITE, &arp_of(arp::Operation::Reply, (BEN, BEN_IP), ann, ANN));
        assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 0, "it is known");
        net
    };
    // It is old.
    let mut net = ready();
    net.pass(60);
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 2);
    // The station has moved.
    let mut net = ready();
    net.by_peer(CAROL_SITE, &frame(ANN, BEN, 0x0800));
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 2);
    // Another one claims the address: neither is believed.
    let mut net = ready();
    let claim = arp_of(arp::Operation::Request, (CAT, BEN_IP), (Mac([0; 6]), BEN_IP), Mac::BROADCAST);
    assert_eq!(net.by_peer(CAROL_SITE, &claim).of(&claim).0.len(), 2);
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 2);
    // Who asks whether it is free (RFC 5227 §2.1), and who announces it, speaks to everyone.
    let mut net = ready();
    for asker in [ip(0, 0, 0, 0), BEN_IP] {
        assert_eq!(net.by_port(LAN_PORT, &who_has((ANN, asker), BEN_IP)).peers.len(), 2);
    }
    // A sender that is not who its frame says teaches nothing.
    let mut net = on(with_bridge(|bridge| bridge.suppress = true));
    let mut forged = arp_of(arp::Operation::Reply, (BEN, BEN_IP), ann, ANN);
    forged[6..12].copy_from_slice(&CAT.0);
    net.by_peer(BOB_SITE, &forged);
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 2);
}

fn ndp(source: Ipv6Addr, destination: Ipv6Addr, message: Message) -> Vec<u8> {
    let mut frame = Frame::from_bytes(&[]);
    assert!(crate::ndp::message::Packet { source, destination, message }.emit(&mut frame));
    frame.bytes().to_vec()
}

fn solicit(source: Ipv6Addr, target: Ipv6Addr, source_link_layer: Option<Mac>) -> Vec<u8> {
    let to = ipv6::solicited_node(target);
    let packet = ndp(source, to, Message::NeighbourSolicitation { target, source_link_layer });
    ipv6_of(ipv6::group_mac(to), ANN, &packet)
}

fn advertise(station: Mac, target: Ipv6Addr, to: Ipv6Addr, router: bool) -> Vec<u8> {
    let message = Message::NeighbourAdvertisement {
        target,
        router,
        solicited: true,
        overrides: true,
        target_link_layer: Some(station),
    };
    ipv6_of(ANN, station, &ndp(target, to, message))
}

#[test]
fn neighbor_discovery_passes_and_is_answered_as_arp_is() {
    let mut net = on(with_bridge(|bridge| bridge.suppress = true));
    let (ann, ben) = (ip6("fe80::a"), ip6("fe80::b"));
    let question = solicit(ann, ben, Some(ANN));
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 2);
    for router in [true, false] {
        let answer = advertise(BEN, ben, ann, router);
        assert_eq!(net.by_peer(BOB_SITE, &answer).of(&answer), (vec![LAN_PORT], vec![]));
        assert_eq!(net.by_port(LAN_PORT, &question).of(&answer), (vec![LAN_PORT], vec![]), "as it was said");
    }
    // RFC 4862 §5.4: whether an address is free is asked of everyone.
    let probe = solicit(Ipv6Addr::UNSPECIFIED, ben, None);
    assert_eq!(net.by_port(LAN_PORT, &probe).peers.len(), 2);
    net.by_peer(CAROL_SITE, &advertise(CAT, ben, ann, false));
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 2, "two claim it");
    net.pass(60);
    net.by_peer(CAROL_SITE, &advertise(CAT, ben, ann, false));
    assert_eq!(net.by_port(LAN_PORT, &question).peers.len(), 0, "one of them is left");
}

fn advertisement() -> Packet6 {
    let message = Message::RouterAdvertisement(RouterAdvertisement {
        router_lifetime: 1800,
        prefixes: vec![PrefixInformation {
            prefix: "2001:db8:77::/64".parse().unwrap(),
            on_link: true,
            autonomous: true,
            valid: 3600,
            preferred: 1800,
        }],
        ..RouterAdvertisement::default()
    });
    let bytes = ndp(ip6("fe80::66"), ipv6::ALL_NODES, message);
    let mut body = bytes[40..].to_vec();
    body[2..4].fill(0);
    Packet6::new(ip6("fe80::66"), ipv6::ALL_NODES, 58, body, Some(2)).hops(255)
}

#[test]
fn rfc6105_advertisements_of_a_peer_pass_only_without_the_guard() {
    let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let redirect = Packet6::icmp(ip6("fe80::66"), ip6("fe80::a"), 137, 0, [0; 4], &[0; 32]).hops(255);
    let disguises: Vec<Vec<u8>> = vec![
        advertisement().build(),
        redirect.build(),
        // RFC 7113 §2: behind extension headers, in fragments, and with headers that nobody knows.
        advertisement().extension(0, &[0, 0, 1, 4, 0, 0, 0, 0]).build(),
        advertisement().extension(60, &[0, 0, 1, 4, 0, 0, 0, 0]).build(),
        advertisement().extension(60, &[0; 8]).extension(60, &[0; 8]).build(),
        advertisement().extension(44, &[0; 8]).build(),
        advertisement().fragments(16, 7)[0].clone(),
        advertisement().extension(60, &[0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).fragments(8, 7)[0]
            .clone(),
        advertisement().extension(135, &[0, 0, 0, 0, 0, 0, 0, 0]).build(),
        advertisement().extension(253, &[0; 8]).build(),
    ];
    let mut tested = 0;
    for packet in &disguises {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd][..], packet].concat();
        for bytes in [
            Net::ethernet(all, BEN, 0x86dd, packet),
            Net::ethernet(ANN, BEN, 0x86dd, packet),
            Net::ethernet(all, BEN, snap.len() as u16, &snap),
        ] {
            let mut guarded = on(with_bridge(|bridge| bridge.ra_guard = true));
            guarded.keep_damaged = true;
            assert_eq!(guarded.by_peer(BOB_SITE, &bytes), Bridged::default());
            assert_eq!(guarded.dropped(DropReason::BridgeGuard), 1, "{bytes:x?}");
            // Ours go to the peers.
            assert_eq!(guarded.by_port(LAN_PORT, &bytes).peers.len(), 2);
            let mut open = on(bridged());
            open.keep_damaged = true;
            assert_eq!(open.by_peer(BOB_SITE, &bytes).of(&bytes), (vec![LAN_PORT, LAN_PORT_2], vec![]));
            tested += 1;
        }
    }
    assert_eq!(tested, 30);
    // CVE-2021-27853: behind a tag, whatever its number.
    let tagged = [&[0, 0, 0x86, 0xdd][..], &advertisement().build()].concat();
    let mut net = on(with_bridge(|bridge| bridge.ra_guard = true));
    assert_eq!(net.by_peer(BOB_SITE, &Net::ethernet(all, BEN, 0x8100, &tagged)), Bridged::default());
    assert_eq!(net.dropped(DropReason::VlanMismatch), 1);
}

#[test]
fn the_guard_lets_everything_else_of_ipv6_pass() {
    let mut net = on(with_bridge(|bridge| (bridge.ra_guard, bridge.isolate_dhcp) = (true, true)));
    let (ann, ben) = (ip6("fe80::a"), ip6("fe80::b"));
    net.by_port(LAN_PORT, &frame(Mac::BROADCAST, ANN, 0x88b5));
    for packet in [
        ndp(ben, ann, Message::RouterSolicitation { source_link_layer: Some(BEN) }),
        ndp(ben, ann, Message::NeighbourSolicitation { target: ann, source_link_layer: Some(BEN) }),
        Packet6::ping(ben, ann, 7).build(),
        Packet6::udp((ben, 5353), (ann, 5353), b"x").build(),
        Packet6::tcp((ben, 5), (ann, 6), ACK, b"x").extension(60, &[0; 8]).build(),
        Packet6::udp((ben, 5), (ann, 6), &[0; 100]).fragments(64, 3)[1].clone(),
        Packet6::sctp((ben, 5), (ann, 6), 1).build(),
        Packet6::new(ben, ann, 89, vec![0; 20], None).build(),
    ] {
        let bytes = ipv6_of(ANN, BEN, &packet);
        assert_eq!(net.by_peer(BOB_SITE, &bytes).of(&bytes), (vec![LAN_PORT], vec![]));
    }
}

#[test]
fn dhcp_passes_both_ways_or_neither() {
    let everyone = ip(255, 255, 255, 255);
    let discover = Packet::udp((ip(0, 0, 0, 0), 68), (everyone, 67), &[1; 240]);
    let offer = Packet::udp((ip(192, 168, 1, 250), 67), (everyone, 68), &[2; 240]);
    let relayed = Packet::udp((ip(192, 168, 1, 250), 67), (BEN_IP, 67), &[2; 240]).options(&[1, 1, 1, 1]);
    let solicit = Packet6::udp((ip6("fe80::a"), 546), (ipv6::ALL_DHCP_SERVERS, 547), &[1; 40]);
    let advertise = Packet6::udp((ip6("fe80::b"), 547), (ip6("fe80::a"), 546), &[2; 40]);
    let behind = advertise.clone().extension(60, &[0; 8]);
    for (ethertype, packet) in [
        (0x0800, discover.build()),
        (0x0800, offer.build()),
        (0x0800, relayed.build()),
        (0x0800, offer.clone().may_fragment().fragments(64)[0].clone()),
        (0x86dd, solicit.build()),
        (0x86dd, advertise.build()),
        (0x86dd, behind.build()),
    ] {
        let there = Net::ethernet(Mac::BROADCAST, ANN, ethertype, &packet);
        let back = Net::ethernet(Mac::BROADCAST, BEN, ethertype, &packet);
        let mut net = on(bridged());
        assert_eq!(net.by_port(LAN_PORT, &there).of(&there), (vec![LAN_PORT_2], vec![BOB_SITE, CAROL_SITE]));
        assert_eq!(net.by_peer(BOB_SITE, &back).of(&back), (vec![LAN_PORT, LAN_PORT_2], vec![]));
        let mut net = on(with_bridge(|bridge| bridge.isolate_dhcp = true));
        assert_eq!(net.by_port(LAN_PORT, &there).of(&there), (vec![LAN_PORT_2], vec![]), "{packet:x?}");
        assert_eq!(net.by_peer(BOB_SITE, &back), Bridged::default());
        assert_eq!(net.dropped(DropReason::BridgeGuard), 1);
    }
    // Nor does our own server's answer go there.
    let mut net = on(with_bridge(|bridge| bridge.isolate_dhcp = true));
    let ours = Packet::udp((ROUTER, 67), (everyone, 68), &[2; 240]);
    net.send_lan(HOME, &Net::ethernet(Mac::BROADCAST, Mac([2, 0, 0, 0, 0, 9]), 0x0800, &ours.build()));
    let out = net.taken();
    assert_eq!((out.ports.len(), out.peers.len()), (2, 0));
}

/// IPv6 is set up across the bridge: a far router's advertisement reaches the LAN, and its hosts talk to it.
#[test]
fn slaac_and_neighbor_discovery_work_over_the_bridge() {
    let mut net = on(bridged());
    let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let advertisement = ipv6_of(all, BEN, &advertisement().build());
    assert_eq!(net.by_peer(BOB_SITE, &advertisement).of(&advertisement).0, [LAN_PORT, LAN_PORT_2]);
    let (ann, ben) = (ip6("2001:db8:77::a"), ip6("fe80::66"));
    let probe = solicit(Ipv6Addr::UNSPECIFIED, ann, None);
    assert_eq!(net.by_port(LAN_PORT, &probe).of(&probe).1, [BOB_SITE, CAROL_SITE]);
    let question = solicit(ann, ben, Some(ANN));
    assert_eq!(net.by_port(LAN_PORT, &question).of(&question).1, [BOB_SITE, CAROL_SITE]);
    let answer = advertise(BEN, ben, ann, true);
    assert_eq!(net.by_peer(BOB_SITE, &answer).of(&answer), (vec![LAN_PORT], vec![]));
    let ping = ipv6_of(BEN, ANN, &Packet6::ping(ann, ip6("2001:db8:8000::80"), 1).build());
    assert_eq!(net.by_port(LAN_PORT, &ping).of(&ping), (vec![], vec![BOB_SITE]));
}

#[test]
fn a_peer_without_an_address_of_its_own_is_not_part_of_the_lan() {
    let mut settings = bridged();
    settings.vpns[0].peers[1].allowed_ips =
        vec![IpCidr::V4(Ipv4Cidr { address: ip(10, 9, 1, 0), prefix: 24 })];
    let mut net = on(settings);
    let hello = frame(Mac::BROADCAST, ANN, 0x88b5);
    assert_eq!(net.by_port(LAN_PORT, &hello).of(&hello), (vec![LAN_PORT_2], vec![BOB_SITE]));
    let packet = from_peer(CAROL_SITE, &hello).build();
    assert_eq!(net.by_peer_packet(CAROL_SITE, &packet), Bridged::default());
    assert_eq!(net.dropped(DropReason::NotListening), 1);
}

#[test]
fn the_other_lan_does_not_hear_of_it() {
    let mut net = on(bridged());
    let hello = frame(Mac::BROADCAST, mac_of(VISITOR), 0x88b5);
    assert_eq!(net.by_port(GUEST_PORT, &hello), Bridged::default());
    net.lan(Packet::udp((VISITOR, 5), (SERVER, 6), b"")).only(At::Session(SessionOwner::Wan(ISP)));
}

#[test]
fn rfc768_a_wrong_checksum_over_a_frame_is_found_out_and_none_is_right() {
    let mut net = on(bridged());
    let bytes = frame(Mac::BROADCAST, BEN, 0x88b5);
    let mut packet = from_peer(BOB_SITE, &bytes).build();
    let head = pseudo(inner(BOB_SITE), INNER, 17, packet.len() - 20);
    assert_eq!(sum(&[&head, &packet[20..]].concat()), 0xffff);
    packet[26] ^= 1;
    assert_eq!(net.by_peer_packet(BOB_SITE, &packet), Bridged::default());
    assert_eq!(net.dropped(DropReason::VxlanMalformed), 1);
    packet[26..28].fill(0);
    assert_eq!(net.by_peer_packet(BOB_SITE, &packet).ports.len(), 2);
}
