//! A life of a LAN that is bridged to two peers of a VPN: frames and VXLAN of any kind from both sides. Every frame is
//! accounted for; what goes to a peer fits, is right, and is VXLAN of the network; nothing goes from peer to peer unless
//! the VPN is a hub; no Router Advertisement of a peer's gets past the guard; and nothing is ever a fault of the router.
#![no_main]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use genkan_fuzz::{Numbers, Script, World, packet};
use genkan_netstack::forward::{Forwarder, LanIpv6, Update};
use genkan_netstack::frame::{Batch, Egress, Frame};
use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr, LanId, Mac, PeerId, PortId, VpnId};
use genkan_netstack::ledger::DropReason;
use genkan_netstack::rng::SeededRng;
use genkan_netstack::settings::{Dhcp6, Lan, Port, Settings, Vpn, VpnBridge, VpnPeer};
use genkan_netstack::time::Duration;
use genkan_netstack::tunnel::vxlan;
use genkan_netstack::tunnel::wireguard::{PrivateKey, PublicKey};
use genkan_netstack::wire::checksum::Sum;
use genkan_netstack::wire::ethernet::{self, ethertype};
use genkan_netstack::wire::ipv4::{Ipv4, UDP};
use genkan_netstack::wire::ipv6::{FRAGMENT, Ipv6};
use libfuzzer_sys::fuzz_target;

const PORTS: [PortId; 2] = [PortId(0), PortId(1)];
const PEERS: [PeerId; 2] = [PeerId { vpn: VpnId(0), peer: 0 }, PeerId { vpn: VpnId(0), peer: 1 }];
const LAN: LanId = LanId(0);
const VNI: u32 = 42;
const MTU: u16 = 1420;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const INNER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const INNER6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);

fn inner(peer: PeerId) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, peer.peer as u8 + 2)
}

fn inner6(peer: PeerId) -> Ipv6Addr {
    Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, peer.peer + 2)
}

fn port_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, port.0 as u8])
}

/// One of a few stations.
fn station(n: u8) -> [u8; 6] {
    match n % 8 {
        0 => Mac::BROADCAST.0,
        1 => [0x33, 0x33, 0, 0, 0, 1],
        2 => port_mac(PORTS[0]).0,
        n => [6, 0, 0, 0, 0, n],
    }
}

fn settings(how: u8) -> Settings {
    let is_v6 = how & 16 != 0;
    let bridge = VpnBridge {
        lan: LAN,
        vni: VNI,
        ra_guard: how & 1 != 0,
        isolate_dhcp: how & 2 != 0,
        suppress: how & 4 != 0,
        hub: how & 8 != 0,
    };
    let peer = |id: PeerId| VpnPeer {
        name: "peer".into(),
        public_key: PublicKey([id.peer as u8; 32]),
        preshared_key: None,
        endpoint: None,
        allowed_ips: vec![match is_v6 {
            true => IpCidr::V6(Ipv6Cidr { address: inner6(id), prefix: 128 }),
            false => IpCidr::V4(Ipv4Cidr { address: inner(id), prefix: 32 }),
        }],
        keepalive: None,
    };
    Settings {
        hostname: "genkan".into(),
        ports: PORTS
            .map(|port| Port { name: "port".into(), mac: port_mac(port), mtu: 1500, vlan: None, offload: false })
            .to_vec(),
        lans: vec![Lan {
            name: "home".into(),
            ports: PORTS.to_vec(),
            address: Ipv4Cidr { address: ROUTER, prefix: 24 },
            dhcp: None,
            prefix: None,
            dhcp6: Dhcp6::Off,
            domain: "home.arpa".into(),
            hosts: vec![],
        }],
        vpns: vec![Vpn {
            name: "friends".into(),
            private_key: PrivateKey::new([1; 32]),
            listen_port: 51820,
            ipv4: Some(Ipv4Cidr { address: INNER, prefix: 24 }),
            ipv6: Some(Ipv6Cidr { address: INNER6, prefix: 64 }),
            mtu: Some(MTU),
            masquerade: false,
            bridge: Some(bridge),
            peers: PEERS.map(peer).to_vec(),
        }],
        ..Settings::default()
    }
}

struct Net {
    world: World,
    forwarder: Forwarder,
    egress: Egress,
    bridge: VpnBridge,
    is_v6: bool,
    /// Where the last frame came from.
    from: Option<PeerId>,
    /// What has come of a datagram to a peer.
    parts: Vec<u8>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, script)) = data.split_first() else { return };
    let settings = settings(how);
    let mut net = Net {
        world: World::default(),
        forwarder: Forwarder::new(&settings, &mut SeededRng::from_u64(3)),
        egress: Egress::new(&settings.ports),
        bridge: settings.vpns[0].bridge.expect("it is bridged"),
        is_v6: how & 16 != 0,
        from: None,
        parts: Vec::new(),
    };
    let ipv6 = LanIpv6 { addresses: vec![ROUTER6], ..LanIpv6::default() };
    net.forwarder.apply(&mut net.world.cx(), Update::LanIpv6 { lan: LAN, ipv6 }, &mut net.egress);
    for step in Script(script) {
        let which = usize::from(step.operation >> 7);
        let (port, peer) = (PORTS[which], PEERS[which]);
        match step.operation & 7 {
            0 => net.by_port(port, step.data),
            1 => net.by_port(port, &spoken(step.data)),
            2 => net.by_peer(peer, step.data),
            3 => net.datagram(peer, step.data, 0),
            4 => net.datagram(peer, &[&vxlan::Header { vni: VNI }.to_bytes(), step.data].concat(), 0),
            5 => {
                let size = usize::from(step.operation >> 3 & 15) * 64;
                net.datagram(peer, &[&vxlan::Header { vni: VNI }.to_bytes(), &spoken(step.data)[..]].concat(), size);
            }
            6 => net.by_router(step.data),
            _ => net.pass(step.data),
        }
    }
    // All that is held ends in time.
    net.world.now += Duration::from_secs(3600);
    net.pass(&[]);
    assert_eq!(net.forwarder.held(), 0);
});

/// What one of a few stations says to one of a few others: of any type, ARP and IPv6 that get past the first check among it.
fn spoken(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (to, from, kind) = (input.u8(), input.u8(), input.u8());
    let address = |n: u8| Ipv4Addr::new(192, 168, 1, n % 4);
    let link_local = |n: u8| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(n % 4));
    let copies = usize::from(input.u8() % 24) + 1;
    let (ethertype, payload) = match kind % 6 {
        0 => {
            let (sender, target) = (address(input.u8()), address(input.u8()));
            let head = [0, 1, 8, 0, 6, 4, 0, 1 + (input.u8() & 1)];
            let payload =
                [&head[..], &station(from), &sender.octets(), &station(to), &target.octets()].concat();
            (ethertype::ARP, payload)
        }
        1 => {
            let (source, destination) = (link_local(input.u8()), link_local(input.u8()));
            let next = input.u8();
            let mut packet = packet::ipv6(source, destination, next, input.0);
            packet[7] = 255;
            (ethertype::IPV6, packet)
        }
        2 => {
            let body = packet::udp(input.u16(), input.u16(), &input.0.repeat(copies));
            (ethertype::IPV4, packet::ipv4(address(from), address(to), UDP, &[], &body))
        }
        3 => (input.u16(), input.0.repeat(copies)),
        4 => (u16::from(input.u8()), [&[0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd], input.0].concat()),
        _ => (ethertype::IPV6, input.0.to_vec()),
    };
    packet::ethernet(station(to), station(from), ethertype, &payload[..payload.len().min(1500)])
}

impl Net {
    fn by_port(&mut self, port: PortId, frame: &[u8]) {
        // No device has such frames.
        let frame = &frame[..frame.len().min(1514)];
        self.from = None;
        self.egress.received(1);
        let mut batch = Batch::from([Frame::from_bytes(frame)]);
        let mut punts = VecDeque::new();
        self.forwarder.receive(&mut self.world.cx(), port, &mut batch, &mut self.egress, &mut punts);
        self.settle(punts);
    }

    fn by_router(&mut self, frame: &[u8]) {
        self.from = None;
        let frame = &frame[..frame.len().min(1514)];
        let mut own = self.egress.originate(frame.len());
        assert!(own.extend(frame));
        self.forwarder.send_lan(self.world.now, LAN, own, &mut self.egress);
        self.settle(VecDeque::new());
    }

    /// A packet inside the VPN.
    fn by_peer(&mut self, peer: PeerId, packet: &[u8]) {
        self.from = Some(peer);
        self.egress.received(1);
        let mut punts = VecDeque::new();
        let frame = Frame::from_bytes(packet);
        self.forwarder.receive_for_bridge(&mut self.world.cx(), peer, frame, &mut self.egress, &mut punts);
        self.settle(punts);
    }

    /// A datagram from a peer's address to ours; in fragments of `size` octets where that is not 0.
    fn datagram(&mut self, peer: PeerId, payload: &[u8], size: usize) {
        let mut body = packet::udp(50_000, vxlan::PORT, payload);
        if self.is_v6 {
            let len = body.len() as u32;
            body[6..8].fill(0);
            let sum = Sum::pseudo_v6(inner6(peer), INNER6, UDP, len).plus(Sum::of(&body)).udp_checksum();
            body[6..8].copy_from_slice(&sum.to_be_bytes());
            let mut packet = packet::ipv6(inner6(peer), INNER6, UDP, &[]);
            packet.extend(&body);
            packet[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
            return self.by_peer(peer, &packet);
        }
        body[6..8].fill(0);
        let size = if size == 0 { body.len().max(1) } else { size };
        let count = body.len().div_ceil(size);
        for (index, part) in body.chunks(size).enumerate() {
            let mut packet = packet::ipv4(inner(peer), INNER, UDP, &[], part);
            let more = if index + 1 < count { 0x2000 } else { 0 };
            packet[6..8].copy_from_slice(&(more | (index * size / 8) as u16).to_be_bytes());
            genkan_netstack::wire::ipv4::write_header_checksum(&mut packet, 20);
            self.by_peer(peer, &packet);
        }
    }

    fn pass(&mut self, data: &[u8]) {
        self.world.pass(data, self.forwarder.poll_timeout());
        for _ in 0..4 {
            self.forwarder.handle_timeout(&mut self.world.cx(), &mut self.egress);
        }
        self.settle(VecDeque::new());
    }

    /// Looks at what left, and at the books.
    fn settle(&mut self, punts: VecDeque<genkan_netstack::forward::Punt>) {
        for punt in punts {
            self.egress.consume(punt.frame);
        }
        while let Some(resolve) = self.forwarder.poll_resolve() {
            let mac = Mac([6, 0, 0, 0, 0, 5]);
            let (segment, address) = (resolve.segment, resolve.address);
            if address == IpAddr::V4(Ipv4Addr::new(192, 168, 1, 3)) {
                continue;
            }
            let update = Update::NeighbourFound { segment, address, mac };
            self.forwarder.apply(&mut self.world.cx(), update, &mut self.egress);
        }
        while let Some((peer, packet)) = self.forwarder.poll_for_peer() {
            self.to_peer(peer, packet.bytes());
            self.egress.consume(packet);
        }
        assert!(self.parts.is_empty(), "a fragment is missing");
        for port in PORTS {
            let frames = self.egress.outgoing(port).map(|(queue, _)| std::mem::take(queue)).unwrap_or_default();
            for frame in frames {
                self.out_of_port(frame.bytes());
                self.egress.pool.give(frame);
            }
        }
        let told = std::iter::from_fn(|| self.forwarder.poll_notice()).count();
        assert!(told <= 64);
        let ledger = self.egress.ledger();
        assert!(ledger.balance(self.forwarder.held()).holds(), "{ledger:?}");
        assert_eq!(ledger.dropped(DropReason::Internal), 0, "a fault of the router");
    }

    fn out_of_port(&self, frame: &[u8]) {
        assert!(frame.len() <= 1514, "{} octets", frame.len());
        if self.from.is_none() || !self.bridge.ra_guard {
            return;
        }
        let Some((header, payload)) = ethernet::Header::parse(frame) else { return };
        if header.ethertype == ethertype::IPV6
            && let Some(view) = Ipv6::parse(payload)
        {
            let message = view.icmp().or_else(|| view.icmp_after_hop_by_hop());
            let kind = message.and_then(|message| message.first());
            assert!(!matches!(kind, Some(134 | 137)), "past the guard");
        }
    }

    fn to_peer(&mut self, peer: PeerId, packet: &[u8]) {
        assert!(packet.len() <= usize::from(MTU));
        let (part, more) = if self.is_v6 {
            let view = Ipv6::parse(packet).expect("an IPv6 packet");
            assert_eq!((view.source(), view.destination()), (INNER6, inner6(peer)));
            match view.next_header() {
                FRAGMENT => (&view.payload()[8..], view.payload()[3] & 1 != 0),
                _ => (view.payload(), false),
            }
        } else {
            let view = Ipv4::parse(packet).expect("an IPv4 packet");
            assert!(Sum::of(view.header()).is_right() && !view.dont_fragment());
            assert_eq!((view.source(), view.destination()), (INNER, inner(peer)));
            (view.payload(), view.more_fragments())
        };
        self.parts.extend(part);
        if more {
            return;
        }
        let datagram = std::mem::take(&mut self.parts);
        let len = u16::from_be_bytes([datagram[4], datagram[5]]);
        assert_eq!(usize::from(len), datagram.len());
        let pseudo = match self.is_v6 {
            true => Sum::pseudo_v6(INNER6, inner6(peer), UDP, u32::from(len)),
            false => Sum::pseudo_v4(INNER, inner(peer), UDP, len),
        };
        assert!(datagram[6..8] == [0, 0] || pseudo.plus(Sum::of(&datagram)).is_right());
        let (header, frame) = vxlan::Header::parse(&datagram[8..]).expect("VXLAN");
        assert_eq!(header.vni, VNI);
        // What the router itself says to a peer's station goes back, too.
        let is_own = frame.get(6..12) == Some(&port_mac(PORTS[0]).0[..]);
        let from = self.from.filter(|from| *from != peer && !self.bridge.hub);
        assert!(is_own || from.is_none(), "{from:?} to {peer:?}");
    }
}
