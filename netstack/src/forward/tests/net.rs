//! A forwarder between a LAN or two, two uplinks and a concentrator, in virtual time. When it is dropped it checks that
//! every frame is accounted for and that the tables agree.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ipv6::net::{At6, mac_of6};
use super::ipv6::packet::Read6;
use super::packet::{Packet, Read};
use crate::forward::adopt::Course;
use crate::forward::key::Realm;
use crate::forward::offload::{FlowHandle, OffloadedFlow};
use crate::forward::{
    Forwarder, Ingress, Ipv4Segment, PuntKind, Resolve, Session, SessionOwner, Turn, Update, WanIpv4,
};
use crate::frame::{Batch, Egress, Frame, HEADROOM, Offload, vlan};
use crate::id::{Interface, Ipv4Cidr, LanId, Mac, PeerId, PortId, SubscriberId, VpnId, WanId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::SeededRng;
use crate::secret::Secret;
use crate::settings::{
    Authentication, Concentrator, Dhcp4, Dhcp6, Echo, Filtering, Lan, Port, PortForward, PppoeClient,
    Settings, Transport, Uplink, Wan,
};
use crate::time::{Duration, Instant};

pub const WAN_PORT: PortId = PortId(0);
pub const LAN_PORT: PortId = PortId(1);
pub const LAN_PORT_2: PortId = PortId(2);
pub const GUEST_PORT: PortId = PortId(3);
pub const ACCESS_PORT: PortId = PortId(4);

pub const ISP: WanId = WanId(0);
pub const ISP_2: WanId = WanId(1);
pub const HOME: LanId = LanId(0);
pub const GUEST: LanId = LanId(1);
pub const ALICE: SubscriberId = SubscriberId(10);
pub const BOB: SubscriberId = SubscriberId(11);

pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// Hosts of the LAN, and one of the guests' LAN.
pub const HOST: Ipv4Addr = ip(192, 168, 1, 10);
pub const HOST_2: Ipv4Addr = ip(192, 168, 1, 11);
pub const VISITOR: Ipv4Addr = ip(192, 168, 2, 10);
pub const ROUTER: Ipv4Addr = ip(192, 168, 1, 1);
/// Our address on the uplink, the one after a redial, and that of the second uplink.
pub const OURS: Ipv4Addr = ip(203, 0, 113, 5);
pub const OURS_LATER: Ipv4Addr = ip(203, 0, 113, 6);
pub const OURS_2: Ipv4Addr = ip(198, 51, 100, 9);
/// The default router beyond a plain uplink, and another host there.
pub const GATEWAY: Ipv4Addr = ip(203, 0, 113, 1);
pub const NEIGHBOUR: Ipv4Addr = ip(203, 0, 113, 77);
/// Hosts of the Internet.
pub const SERVER: Ipv4Addr = ip(192, 0, 2, 80);
pub const SERVER_2: Ipv4Addr = ip(192, 0, 2, 81);
/// A router of the ISP's.
pub const HOP: Ipv4Addr = ip(10, 200, 0, 1);
/// Subscribers' addresses.
pub const ALICE_IP: Ipv4Addr = ip(100, 64, 0, 10);
pub const BOB_IP: Ipv4Addr = ip(100, 64, 0, 11);
pub const BRAS: Ipv4Addr = ip(100, 64, 0, 1);

/// Ethernet address of a station, made of its IPv4 address.
pub const fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    Mac([0x52, 0x54, a, b, c, d])
}

pub fn port_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, port.0 as u8 + 1])
}

pub fn peer_of(owner: SessionOwner) -> Session {
    let (port, id, last) = match owner {
        SessionOwner::Wan(wan) => (WAN_PORT, 0x1234 + wan.0, 1),
        SessionOwner::Subscriber(subscriber) => (ACCESS_PORT, subscriber.0 as u16, subscriber.0 as u8),
    };
    Session { port, id, local: port_mac(port), peer: Mac([0x66, 0, 0, 0, port.0 as u8, last]) }
}

pub fn settings() -> Settings {
    let port = |index: u16| Port {
        name: String::from("port"),
        mac: port_mac(PortId(index)),
        mtu: 1500,
        vlan: None,
        offload: false,
    };
    let wan = |name: &str| Wan {
        name: String::from(name),
        port: WAN_PORT,
        uplink: Uplink::Pppoe(PppoeClient {
            username: String::new(),
            password: Secret::new(*b"x"),
            service_name: vec![],
            ac_name: None,
            host_uniq: None,
            authentication: vec![Authentication::Pap],
            mtu: 1492,
            echo: Echo::default(),
        }),
        ipv4: true,
        ipv6: None,
    };
    let lan = |name: &str, ports: Vec<PortId>, address: Ipv4Addr| Lan {
        name: String::from(name),
        ports,
        address: Ipv4Cidr { address, prefix: 24 },
        dhcp: Some(Dhcp4 { range: HOST..=HOST_2, lease: Duration::from_secs(60), ntp: vec![] }),
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: String::from("home.arpa"),
        hosts: vec![],
    };
    Settings {
        hostname: String::from("genkan"),
        ports: (0..5).map(port).collect(),
        wans: vec![wan("isp"), wan("isp2")],
        lans: vec![lan("home", vec![LAN_PORT], ROUTER), lan("guest", vec![GUEST_PORT], ip(192, 168, 2, 1))],
        concentrators: vec![Concentrator {
            name: String::from("bras"),
            port: ACCESS_PORT,
            ac_name: String::from("bras1"),
            service_names: vec![],
            address: BRAS,
            pool: Ipv4Cidr { address: ip(100, 64, 0, 0), prefix: 16 },
            prefix_pool: None,
            dns: vec![],
            authentication: vec![Authentication::Pap],
            users: vec![],
            mtu: 1492,
            echo: Echo::default(),
            sessions: 10,
            sessions_per_mac: 10,
        }],
        ..Settings::default()
    }
}

/// The first uplink is plain Ethernet.
pub fn by_dhcp() -> Settings {
    let mut settings = with_forward(Transport::Tcp, 8443, HOST, 443);
    settings.wans[0].uplink = Uplink::Dhcp;
    settings
}

pub fn with_filtering(filtering: Filtering) -> Settings {
    let mut settings = settings();
    settings.nat.filtering = filtering;
    settings
}

pub fn with_forward(protocol: Transport, port: u16, to: Ipv4Addr, to_port: u16) -> Settings {
    let mut settings = settings();
    settings.port_forwards.push(PortForward { wan: ISP, protocol, port, to, to_port });
    settings
}

/// Where a packet came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Session(SessionOwner),
    Station(Ipv4Addr),
    /// A station on the segment of the plain uplink.
    Beyond(Mac),
    Local(Interface),
}

impl At {
    pub const ISP: At = At::Session(SessionOwner::Wan(ISP));
    pub const ISP_2: At = At::Session(SessionOwner::Wan(ISP_2));
    pub const ALICE: At = At::Session(SessionOwner::Subscriber(ALICE));
    pub const BOB: At = At::Session(SessionOwner::Subscriber(BOB));
}

/// What came out of the forwarder at one step.
#[derive(Debug, Default)]
pub struct Out(pub Vec<(At, Read)>);

impl Out {
    /// The only packet, which must have come out at `at`.
    #[track_caller]
    pub fn only(&self, at: At) -> Read {
        assert_eq!(self.0.len(), 1, "one packet expected: {:?}", self.0);
        assert_eq!(self.0[0].0, at);
        self.0[0].1.clone()
    }

    #[track_caller]
    pub fn nothing(&self) {
        assert!(self.0.is_empty(), "nothing expected: {:?}", self.0);
    }

    /// The packets that came out at `at`, which must be all.
    #[track_caller]
    pub fn all(&self, at: At) -> Vec<Read> {
        assert!(self.0.iter().all(|(there, _)| *there == at), "{:?}", self.0);
        self.0.iter().map(|(_, read)| read.clone()).collect()
    }
}

pub struct Net {
    pub settings: Settings,
    pub forwarder: Forwarder,
    pub egress: Egress,
    pub now: Instant,
    rng: SeededRng,
    owners: Vec<SessionOwner>,
    /// Stations that answer ARP not at all.
    pub silent: Vec<Ipv4Addr>,
    /// Stations that answer Neighbor Discovery not at all.
    pub silent6: Vec<Ipv6Addr>,
    /// IPv6 packets that came out, and where.
    pub six: Vec<(At6, Read6)>,
    /// What came in was damaged, so that what comes out may be.
    pub keep_damaged: bool,
    /// Frames handed up other than local packets.
    pub punts: Vec<(PuntKind, Vec<u8>)>,
    /// Ethernet frames that came out of a LAN's port and are not for a known station.
    pub bridged: Vec<(PortId, Vec<u8>)>,
    /// What was left undone in frames that came out, and by which port.
    pub undone: Vec<(PortId, Offload)>,
}

impl Drop for Net {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

impl Net {
    pub fn new() -> Net {
        Net::with(settings())
    }

    /// Both uplinks and both subscribers are online.
    pub fn with(settings: Settings) -> Net {
        let mut net = Net::offline(settings);
        net.wan_up(ISP, OURS);
        net.wan_up(ISP_2, OURS_2);
        net.subscriber_up(ALICE, ALICE_IP);
        net.subscriber_up(BOB, BOB_IP);
        net
    }

    pub fn offline(settings: Settings) -> Net {
        let mut rng = SeededRng::from_u64(7);
        Net {
            forwarder: Forwarder::new(&settings, &mut rng),
            egress: Egress::new(&settings.ports),
            settings,
            now: Instant::from_secs(1000),
            rng,
            owners: vec![],
            silent: vec![],
            silent6: vec![],
            six: vec![],
            keep_damaged: false,
            punts: vec![],
            bridged: vec![],
            undone: vec![],
        }
    }

    /// Every frame is accounted for.
    #[track_caller]
    pub fn check_balance(&self) {
        let balance = self.egress.ledger().balance(self.forwarder.held());
        assert!(balance.holds(), "{balance:?} {:?}", self.egress.ledger());
        assert_eq!(self.dropped(DropReason::Internal), 0, "a fault of the router");
    }

    /// Everything that must hold at any time.
    #[track_caller]
    pub fn check(&self) {
        self.check_balance();
        assert!(self.forwarder.flows.is_consistent());
        assert!(self.forwarder.nat.is_consistent());
        assert!(self.forwarder.v6.flows.is_consistent());
        let accounted = self.forwarder.v6.flows.iter().filter(|flow| flow.account().is_some()).count();
        assert_eq!(self.forwarder.v6.hosts.values().sum::<u32>() as usize, accounted);
        let flows = || self.forwarder.flows.iter();
        let uses: usize = flows()
            .map(|flow| {
                usize::from(flow.translated.mappings.0.is_some())
                    + usize::from(flow.translated.mappings.1.is_some())
            })
            .sum();
        let confirmed = flows()
            .filter(|flow| {
                flow.confirmed
                    && (flow.translated.mappings.0.is_some() || flow.translated.mappings.1.is_some())
            })
            .count();
        assert_eq!(self.forwarder.nat.uses(), (uses as u32, confirmed as u32));
        let accounted = flows().filter(|flow| flow.account().is_some()).count();
        assert_eq!(self.forwarder.hosts.values().sum::<u32>() as usize, accounted);
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.egress.ledger().dropped(reason)
    }

    pub fn apply(&mut self, update: Update) -> Out {
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.apply(&mut cx, update, &mut self.egress);
        self.collect(VecDeque::new())
    }

    /// Takes over a flow of an earlier run.
    pub fn adopt(&mut self, flow: &OffloadedFlow) -> Option<FlowHandle> {
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.adopt_flow(&mut cx, flow)
    }

    /// Makes flows again that an earlier run has left, and says of each whether it fits.
    pub fn adopt_left(&mut self, left: &[Course]) -> Vec<bool> {
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        left.iter().map(|course| self.forwarder.adopt(&mut cx, course).is_some()).collect()
    }

    fn session_up(&mut self, owner: SessionOwner) {
        self.owners.push(owner);
        self.apply(Update::SessionOpened { owner, session: peer_of(owner) });
    }

    fn is_plain(&self, wan: WanId) -> bool {
        self.settings.wans[wan.index()].is_segment()
    }

    pub fn wan_up(&mut self, wan: WanId, address: Ipv4Addr) {
        let ipv4 = if self.is_plain(wan) {
            let network = Ipv4Cidr { address, prefix: 24 };
            WanIpv4 { address, mtu: 1500, segment: Some(Ipv4Segment { network, gateway: GATEWAY }) }
        } else {
            self.session_up(SessionOwner::Wan(wan));
            WanIpv4 { address, mtu: 1492, segment: None }
        };
        self.apply(Update::WanIpv4Up { wan, ipv4 });
    }

    pub fn wan_down(&mut self, wan: WanId) {
        self.apply(Update::WanIpv4Down { wan });
        if !self.is_plain(wan) {
            self.apply(Update::SessionClosed { owner: SessionOwner::Wan(wan) });
        }
    }

    /// A packet as it comes down an uplink.
    pub fn on_uplink(&self, wan: WanId, packet: &[u8]) -> Vec<u8> {
        if !self.is_plain(wan) {
            return Net::pppoe(SessionOwner::Wan(wan), packet);
        }
        let mut bytes = Net::ethernet(port_mac(WAN_PORT), mac_of(GATEWAY), 0x0800, packet);
        bytes.resize(bytes.len().max(60), 0x55);
        bytes
    }

    pub fn subscriber_up(&mut self, subscriber: SubscriberId, address: Ipv4Addr) {
        self.session_up(SessionOwner::Subscriber(subscriber));
        self.apply(Update::SubscriberIpv4Up { subscriber, address, mtu: 1492 });
    }

    /// Lets time pass, with every timer on the way.
    pub fn pass(&mut self, seconds: u64) -> Out {
        let until = self.now + Duration::from_secs(seconds);
        for _ in 0..100_000 {
            match self.forwarder.poll_timeout() {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    let mut cx = Cx { now: self.now, rng: &mut self.rng };
                    self.forwarder.handle_timeout(&mut cx, &mut self.egress);
                }
                _ => {
                    self.now = until;
                    return self.collect(VecDeque::new());
                }
            }
        }
        panic!("a timer does not advance: {:?} at {}", self.forwarder.poll_timeout(), self.now);
    }

    /// A frame comes by a port, with the tag of its VLAN where it has one.
    pub fn frame(&mut self, port: PortId, mut frame: Frame) -> Out {
        if let Some(vlan) = self.settings.ports[port.index()].vlan {
            vlan::put_on(&mut frame, 0x8100, 0xb000 | vlan.id);
        }
        self.on_wire(port, frame)
    }

    /// A frame comes by a port as it is.
    pub fn on_wire(&mut self, port: PortId, frame: Frame) -> Out {
        self.egress.received(1);
        let mut batch = Batch::from([frame]);
        self.egress.untag(port, &mut batch);
        let mut punts = VecDeque::new();
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.receive(&mut cx, port, &mut batch, &mut self.egress, &mut punts);
        assert!(batch.is_empty());
        self.collect(punts)
    }

    pub fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(destination.0);
        bytes.extend(source.0);
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    pub fn pppoe(owner: SessionOwner, packet: &[u8]) -> Vec<u8> {
        let session = peer_of(owner);
        let mut payload = vec![0x11, 0];
        payload.extend(session.id.to_be_bytes());
        payload.extend((packet.len() as u16 + 2).to_be_bytes());
        payload.extend([0, 0x21]);
        payload.extend(packet);
        // What a switch adds to a short frame.
        payload.resize(payload.len().max(46), 0);
        Net::ethernet(session.local, session.peer, 0x8864, &payload)
    }

    /// A host on the LAN sends an IPv4 packet to the router.
    pub fn lan_bytes(&mut self, packet: &[u8]) -> Out {
        self.lan_offload(packet, Offload::default())
    }

    /// As `lan_bytes`, with work left undone; offsets are from the IPv4 header.
    pub fn lan_offload(&mut self, packet: &[u8], offload: Offload) -> Out {
        let source = ip(packet[12], packet[13], packet[14], packet[15]);
        let port = if source.octets()[..3] == [192, 168, 2] { GUEST_PORT } else { LAN_PORT };
        let mut frame = Frame::with_capacity(HEADROOM + packet.len().max(1900));
        frame.extend(packet);
        frame.offload = offload;
        frame.push(14).unwrap().copy_from_slice(&Net::ethernet(port_mac(port), mac_of(source), 0x0800, &[]));
        self.frame(port, frame)
    }

    pub fn lan(&mut self, packet: Packet) -> Out {
        self.lan_bytes(&packet.build())
    }

    /// A packet comes by a session.
    pub fn session(&mut self, owner: SessionOwner, packet: &[u8]) -> Out {
        self.frame(peer_of(owner).port, Frame::from_bytes(&Net::pppoe(owner, packet)))
    }

    pub fn wan_bytes(&mut self, packet: &[u8]) -> Out {
        let bytes = self.on_uplink(ISP, packet);
        self.frame(WAN_PORT, Frame::from_bytes(&bytes))
    }

    pub fn wan(&mut self, packet: Packet) -> Out {
        self.wan_bytes(&packet.build())
    }

    pub fn subscriber(&mut self, subscriber: SubscriberId, packet: Packet) -> Out {
        self.session(SessionOwner::Subscriber(subscriber), &packet.build())
    }

    /// The router's own endpoint sends.
    pub fn router(&mut self, packet: Packet) -> Out {
        self.router_bytes(&packet.build())
    }

    pub fn router_bytes(&mut self, bytes: &[u8]) -> Out {
        let mut frame = self.egress.originate(bytes.len());
        frame.extend(bytes);
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.send_ip(&mut cx, frame, &mut self.egress);
        self.collect(VecDeque::new())
    }

    /// One of the router's machines sends on a link.
    pub fn link_bytes(&mut self, interface: Interface, bytes: &[u8]) -> Out {
        let mut frame = self.egress.originate(bytes.len());
        frame.extend(bytes);
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.send_link(&mut cx, interface, frame, &mut self.egress);
        self.collect(VecDeque::new())
    }

    /// A peer of a VPN sends an IP packet in it, to whomever.
    pub fn vpn(&mut self, vpn: VpnId, packet: &[u8]) -> Out {
        self.egress.received(1);
        let mut punts = VecDeque::new();
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        let mut turn = Turn::new(&mut cx, &mut self.egress, &mut punts);
        let ingress = Ingress { interface: Interface::Vpn(vpn), realm: Realm::INSIDE, epoch: 0 };
        self.forwarder.ipv4(&mut turn, ingress, Frame::from_bytes(packet));
        self.collect(punts)
    }

    /// A peer of a VPN sends an IP packet of its bridge's in it.
    pub fn through_tunnel(&mut self, peer: PeerId, packet: &[u8]) -> Out {
        self.egress.received(1);
        let mut punts = VecDeque::new();
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        let frame = Frame::from_bytes(packet);
        self.forwarder.receive_for_bridge(&mut cx, peer, frame, &mut self.egress, &mut punts);
        self.collect(punts)
    }

    /// The router sends an Ethernet frame on a LAN.
    pub fn send_lan(&mut self, lan: LanId, bytes: &[u8]) -> Out {
        let mut frame = self.egress.originate(bytes.len());
        frame.extend(bytes);
        self.forwarder.send_lan(self.now, lan, frame, &mut self.egress);
        self.collect(VecDeque::new())
    }

    /// Opens a UDP flow from inside; returns the external address and port.
    #[track_caller]
    pub fn map_udp(&mut self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> (Ipv4Addr, u16) {
        self.lan(Packet::udp(from, to, b"out")).only(At::ISP).source
    }

    /// Answers ARP and takes what came out.
    fn collect(&mut self, punts: VecDeque<crate::forward::Punt>) -> Out {
        let mut out = Out::default();
        for punt in punts {
            match punt.kind {
                PuntKind::Local { interface } => {
                    assert_eq!(punt.frame.offload, Offload::default());
                    match punt.frame.bytes()[0] >> 4 {
                        6 => self.six.push((At6::Local(interface), self.read6(punt.frame.bytes()))),
                        _ => out.0.push((At::Local(interface), Read::new(punt.frame.bytes()))),
                    }
                }
                kind => self.punts.push((kind, punt.frame.bytes().to_vec())),
            }
            self.egress.consume(punt.frame);
        }
        while let Some(resolve) = self.forwarder.poll_resolve() {
            let Resolve { segment, address } = resolve;
            let (mac, is_silent) = match address {
                IpAddr::V4(address) => (mac_of(address), self.silent.contains(&address)),
                IpAddr::V6(address) => (mac_of6(address), self.silent6.contains(&address)),
            };
            if !is_silent {
                let mut cx = Cx { now: self.now, rng: &mut self.rng };
                let update = Update::NeighbourFound { segment, address, mac };
                self.forwarder.apply(&mut cx, update, &mut self.egress);
            }
        }
        for index in 0..self.settings.ports.len() as u16 {
            let port = PortId(index);
            let frames: Vec<Frame> = self.egress.outgoing(port).unwrap().0.drain(..).collect();
            for frame in frames {
                self.take(port, &frame, &mut out);
                self.egress.pool.give(frame);
            }
        }
        self.check_balance();
        out
    }

    fn read6(&self, bytes: &[u8]) -> Read6 {
        if self.keep_damaged { Read6::unread(bytes) } else { Read6::new(bytes) }
    }

    fn take(&mut self, port: PortId, frame: &Frame, out: &mut Out) {
        let (vlan, offload) =
            (self.settings.ports[port.index()].vlan, self.settings.ports[port.index()].offload);
        let offload = offload && vlan.is_none();
        let untagged = vlan.map(|vlan| {
            let (addresses, rest) = frame.bytes().split_at(12);
            let [_, id @ ..] = u32::from(vlan.id).to_be_bytes();
            assert_eq!(rest[..4], [0x81, 0, id[1], id[2]], "data bears the tag and no priority");
            [addresses, &rest[4..]].concat()
        });
        let bytes = untagged.as_deref().unwrap_or(frame.bytes());
        if !offload {
            assert!(frame.offload.gso.is_none(), "a segment left uncut");
            assert!(!matches!(frame.offload.checksum, crate::frame::Checksum::Partial { .. }));
            let mtu = usize::from(self.settings.ports[port.index()].mtu);
            assert!(bytes.len() <= 14 + mtu, "{} octets are more than the MTU", bytes.len());
        }
        if frame.offload != Offload::default() {
            self.undone.push((port, frame.offload));
        }
        let (destination, source) = (Mac::read(bytes).unwrap(), Mac::read(&bytes[6..]).unwrap());
        match u16::from_be_bytes([bytes[12], bytes[13]]) {
            0x8864 if source == port_mac(port) => {
                let owner = *self
                    .owners
                    .iter()
                    .find(|&&owner| {
                        let session = peer_of(owner);
                        (session.port, session.local, session.peer, session.id)
                            == (port, source, destination, u16::from_be_bytes([bytes[16], bytes[17]]))
                    })
                    .expect("a session's frame");
                assert_eq!(bytes[14..16], [0x11, 0]);
                assert_eq!(usize::from(u16::from_be_bytes([bytes[18], bytes[19]])), bytes.len() - 20);
                assert!(bytes.len() <= 22 + 1492, "more than the session's MTU");
                match bytes[20..22] {
                    [0, 0x21] => out.0.push((At::Session(owner), Read::new(&bytes[22..]))),
                    [0, 0x57] => self.six.push((At6::Session(owner), self.read6(&bytes[22..]))),
                    _ => panic!("no network protocol"),
                }
            }
            0x0800 if source == port_mac(port) && offload && frame.offload != Offload::default() => {
                self.bridged.push((port, bytes.to_vec()));
            }
            0x0800 if port == WAN_PORT && source == port_mac(port) => {
                out.0.push((At::Beyond(destination), Read::new(&bytes[14..])));
            }
            0x86dd if source == port_mac(port) && frame.offload == Offload::default() => {
                self.six.push((At6::Station(port, destination), self.read6(&bytes[14..])));
            }
            0x0800 if source == port_mac(port) => {
                let read = Read::new(&bytes[14..]);
                assert_eq!(destination, mac_of(read.destination.0));
                out.0.push((At::Station(read.destination.0), read));
            }
            _ => self.bridged.push((port, bytes.to_vec())),
        }
    }
}
