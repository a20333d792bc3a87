//! A life of the packet path between a LAN of two ports, an uplink and a subscriber. Every frame is accounted for, what
//! leaves is within the MTU with a right header (and, where everything that came was right, right throughout), nothing
//! leaves by the uplink under an address of the LAN, and nothing is ever a fault of the router.
#![no_main]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use genkan_fuzz::{Numbers, Script, World, damage, packet, sound};
use genkan_netstack::forward::{Forwarder, PuntKind, Session, SessionOwner, Update, WanIpv4};
use genkan_netstack::frame::{Batch, Checksum, Egress, Frame, Gso, GsoKind};
use genkan_netstack::id::{Ipv4Cidr, LanId, Mac, PortId, Segment, SubscriberId, WanId};
use genkan_netstack::ledger::DropReason;
use genkan_netstack::rng::SeededRng;
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{
    Action, Authentication, Concentrator, Dhcp4, Echo, Filtering, Lan, Port, PortForward, PppoeClient, Uplink, Dhcp6, Rule,
    RuleProtocol, Settings, Transport, Wan,
};
use genkan_netstack::time::Duration;
use genkan_netstack::wire::checksum::Sum;
use genkan_netstack::wire::ipv4::{ICMP, Ipv4, TCP, UDP, write_header_checksum};
use libfuzzer_sys::fuzz_target;

const WAN: PortId = PortId(0);
const LAN: PortId = PortId(1);
/// The other port of the LAN; it takes large segments.
const OFFLOAD: PortId = PortId(2);
const ACCESS: PortId = PortId(3);

const ISP: SessionOwner = SessionOwner::Wan(WanId(0));
const ALICE: SessionOwner = SessionOwner::Subscriber(SubscriberId(5));

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const ALICE_IP: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 10);
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 5), Ipv4Addr::new(203, 0, 113, 6)];

fn port_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, port.0 as u8])
}

fn host_mac(address: Ipv4Addr) -> Mac {
    Mac([6, 0, 0, 0, 0, address.octets()[3]])
}

fn session(owner: SessionOwner) -> Session {
    let (port, id) = if owner == ISP { (WAN, 0x1234) } else { (ACCESS, 0x4321) };
    Session { port, id, local: port_mac(port), peer: Mac([0x66, 0, 0, 0, 0, port.0 as u8]) }
}

fn settings(how: u8) -> Settings {
    let port = |index: u16| Port {
        name: "port".into(),
        mac: port_mac(PortId(index)),
        mtu: 1500,
        vlan: None, offload: PortId(index) == OFFLOAD,
    };
    let mut settings = Settings {
        hostname: "genkan".into(),
        ports: (0..4).map(port).collect(),
        wans: vec![Wan {
            name: "isp".into(),
            port: WAN,
            uplink: Uplink::Pppoe(PppoeClient {
                username: "alice".into(),
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
        }],
        lans: vec![Lan {
            name: "home".into(),
            ports: vec![LAN, OFFLOAD],
            address: Ipv4Cidr { address: ROUTER, prefix: 24 },
            dhcp: Some(Dhcp4 {
                range: Ipv4Addr::new(192, 168, 1, 2)..=Ipv4Addr::new(192, 168, 1, 9),
                lease: Duration::from_secs(600),
                ntp: vec![],
            }),
            prefix: None,
            dhcp6: Dhcp6::Off,
            domain: "home.arpa".into(),
            hosts: vec![],
        }],
        concentrators: vec![Concentrator {
            name: "bras".into(),
            port: ACCESS,
            ac_name: "bras1".into(),
            service_names: vec![],
            address: Ipv4Addr::new(100, 64, 0, 1),
            pool: Ipv4Cidr { address: Ipv4Addr::new(100, 64, 0, 0), prefix: 24 },
            prefix_pool: None,
            dns: vec![],
            authentication: vec![Authentication::Pap],
            users: vec![],
            mtu: 1492,
            echo: Echo::default(),
            sessions: 10,
            sessions_per_mac: 10,
        }],
        port_forwards: [(Transport::Tcp, 80, 8080), (Transport::Udp, 53, 53)]
            .map(|(protocol, port, to_port)| PortForward {
                wan: WanId(0),
                protocol,
                port,
                to: Ipv4Addr::new(192, 168, 1, 3),
                to_port,
            })
            .to_vec(),
        ..Settings::default()
    };
    settings.nat.filtering = match how % 4 {
        0 => Filtering::EndpointIndependent,
        1 => Filtering::AddressDependent,
        _ => Filtering::AddressAndPortDependent,
    };
    if how & 4 != 0 {
        (settings.nat.flows, settings.nat.flows_per_host) = (8, 4);
    }
    if how & 8 != 0 {
        settings.rules = vec![Rule {
            from: None,
            to: None,
            protocol: RuleProtocol::Udp,
            ports: vec![100..=200],
            source: None,
            destination: None,
            action: if how & 16 == 0 { Action::Reject } else { Action::Drop },
            line: None,
        }];
    }
    settings
}

struct Net {
    world: World,
    forwarder: Forwarder,
    egress: Egress,
    /// The uplink's address: the one that it has, or had last.
    ours: Ipv4Addr,
    /// Everything that came in so far had right checksums.
    sound: bool,
    /// The last packet that left by the uplink, for somebody to answer.
    last: Vec<u8>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, script)) = data.split_first() else { return };
    let settings = settings(how);
    let mut rng = SeededRng::from_u64(3);
    let mut net = Net {
        world: World::default(),
        forwarder: Forwarder::new(&settings, &mut rng),
        egress: Egress::new(&settings.ports),
        ours: OURS[0],
        sound: true,
        last: Vec::new(),
    };
    for owner in [ISP, ALICE] {
        net.apply(Update::SessionOpened { owner, session: session(owner) });
    }
    net.apply(Update::WanIpv4Up { wan: WanId(0), ipv4: WanIpv4 { address: OURS[0], mtu: 1492, segment: None } });
    net.apply(Update::SubscriberIpv4Up { subscriber: SubscriberId(5), address: ALICE_IP, mtu: 1400 });
    for step in Script(script) {
        let port = PortId(u16::from(step.operation >> 6));
        match step.operation & 0x0f {
            0 => {
                net.sound = false;
                net.frame(port, Frame::from_bytes(step.data));
            }
            1 => net.anything(port, step.data, false),
            2 => net.anything(port, step.data, true),
            3..=6 => net.packet(port, &spoken(port, step.data)),
            7 | 8 => net.answer(step.data, step.operation & 0x10 != 0),
            9 => net.large(step.data),
            10 | 11 => net.pass(step.data),
            12 | 13 => net.change(step.data),
            _ => net.own(step.data),
        }
    }
    // All that is held ends in time.
    net.world.now += Duration::from_secs(3600);
    net.pass(&[]);
    assert_eq!(net.forwarder.held(), 0);
});

impl Net {
    fn frame(&mut self, port: PortId, frame: Frame) {
        self.egress.received(1);
        let mut batch = Batch::from([frame]);
        let mut punts = VecDeque::new();
        self.forwarder.receive(&mut self.world.cx(), port, &mut batch, &mut self.egress, &mut punts);
        assert!(batch.is_empty());
        for punt in punts {
            if let PuntKind::Local { .. } = punt.kind {
                let view = sound::ipv4_header(punt.frame.bytes());
                assert!(!view.destination().is_loopback());
            }
            self.egress.consume(punt.frame);
        }
        self.settle();
    }

    /// An IPv4 packet comes by a port, in what it has there for a wrapping.
    fn packet(&mut self, port: PortId, packet: &[u8]) {
        let source = Ipv4::parse(packet).map_or(ROUTER, |view| view.source());
        let frame = match port {
            LAN | OFFLOAD => packet::ethernet(port_mac(LAN).0, host_mac(source).0, 0x0800, packet),
            _ => {
                let session = session(if port == WAN { ISP } else { ALICE });
                let [len, id] = [packet.len() as u16 + 2, session.id].map(u16::to_be_bytes);
                let payload = [&[0x11, 0], &id[..], &len, &[0, 0x21], packet].concat();
                packet::ethernet(session.local.0, session.peer.0, 0x8864, &payload)
            }
        };
        self.frame(port, Frame::from_bytes(&frame));
    }

    /// An IPv4 packet that is anything, maybe with addresses that belong there and what a sender sums made right.
    fn anything(&mut self, port: PortId, data: &[u8], repair: bool) {
        let mut bytes = data.to_vec();
        if repair && bytes.len() >= 20 {
            let (source, destination) = match port {
                WAN => (Ipv4Addr::new(192, 0, 2, bytes[15] & 7), self.ours),
                ACCESS => (ALICE_IP, Ipv4Addr::new(192, 0, 2, bytes[19] & 7)),
                _ => {
                    (Ipv4Addr::new(192, 168, 1, 2 + (bytes[15] & 7)), Ipv4Addr::new(192, 0, 2, bytes[19] & 7))
                }
            };
            bytes[12..16].copy_from_slice(&source.octets());
            bytes[16..20].copy_from_slice(&destination.octets());
            packet::repair(&mut bytes);
        }
        self.sound &=
            Ipv4::parse(&bytes).is_none_or(|view| !view.is_fragment() && sound::transport_is_right(view));
        self.packet(port, &bytes);
    }

    /// Somebody on the Internet answers the last packet that left, or complains of it.
    fn answer(&mut self, data: &[u8], complain: bool) {
        let last = std::mem::take(&mut self.last);
        let Some(view) = Ipv4::parse(&last) else { return };
        let answer = if complain {
            let mut input = Numbers(data);
            let [kind, code] =
                [[3, 0], [3, 1], [3, 3], [3, 4], [11, 0], [3, 13]][usize::from(input.u8()) % 6];
            let mut quoted = last.clone();
            let cut = 28 + usize::from(input.u8());
            quoted.truncate(cut);
            damage(&mut quoted, input.0);
            let message = [&[kind, code, 0, 0, 0, 0, 5, 0x78], &quoted[..]].concat();
            packet::ipv4(Ipv4Addr::new(198, 51, 100, 1), view.source(), ICMP, &[], &message)
        } else {
            let mut payload = view.payload().to_vec();
            match view.protocol() {
                TCP | UDP if payload.len() >= 4 => payload[..4].rotate_left(2),
                ICMP if !payload.is_empty() => payload[0] = 0,
                _ => {}
            }
            damage(&mut payload, data);
            packet::ipv4(view.destination(), view.source(), view.protocol(), &[], &payload)
        };
        self.sound &= !view.is_fragment();
        self.last = last;
        self.packet(WAN, &answer);
    }

    /// A large segment with a partial checksum comes by the port that knows them.
    fn large(&mut self, data: &[u8]) {
        let mut input = Numbers(data);
        let (host, size, copies) = (input.u8(), input.u16() % 1461, input.u8());
        let payload = input.0.repeat(usize::from(copies) + 1);
        let payload = &payload[..payload.len().min(60_000)];
        let mut segment =
            [&[0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0], payload].concat();
        let source = Ipv4Addr::new(192, 168, 1, 2 + (host & 7));
        let destination = Ipv4Addr::new(192, 0, 2, 1);
        // Its flow begins by a SYN.
        let syn = [0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0];
        self.packet(LAN, &packet::ipv4(source, destination, TCP, &[], &syn));
        let partial = Sum::pseudo_v4(source, destination, TCP, segment.len() as u16).value();
        segment[16..18].copy_from_slice(&partial.to_be_bytes());
        let mut packet = packet::ipv4(source, destination, 253, &[], &segment);
        packet[9] = TCP;
        write_header_checksum(&mut packet, 20);
        let frame = packet::ethernet(port_mac(LAN).0, host_mac(source).0, 0x0800, &packet);
        let mut frame = Frame::from_bytes(&frame);
        frame.offload.checksum = Checksum::Partial { start: 34, offset: 16 };
        frame.offload.gso = Some(Gso { kind: GsoKind::TcpV4, size, ecn: false });
        self.frame(OFFLOAD, frame);
    }

    /// The router's own endpoint says something.
    fn own(&mut self, data: &[u8]) {
        let packet = packet::ipv4(
            if data.len() & 1 == 0 { ROUTER } else { self.ours },
            Ipv4Addr::new(192, 0, 2, 53),
            UDP,
            &[],
            &packet::udp(5353, 53, data),
        );
        let mut frame = self.egress.originate(packet.len());
        assert!(frame.extend(&packet));
        self.forwarder.send_ip(&mut self.world.cx(), frame, &mut self.egress);
        self.settle();
    }

    fn pass(&mut self, data: &[u8]) {
        self.world.pass(data, self.forwarder.poll_timeout());
        for _ in 0..64 {
            self.forwarder.handle_timeout(&mut self.world.cx(), &mut self.egress);
        }
        let next = self.forwarder.poll_timeout();
        assert!(
            next.is_none_or(|at| at > self.world.now),
            "what is due is done: {next:?} at {}",
            self.world.now
        );
        self.settle();
    }

    /// Control has negotiated something.
    fn change(&mut self, data: &[u8]) {
        let mut input = Numbers(data);
        let (what, which) = (input.u8(), input.u8());
        let (wan, subscriber, segment) = (WanId(0), SubscriberId(5), Segment::Lan(LanId(0)));
        let address = Ipv4Addr::new(192, 168, 1, which & 15);
        let mtu = [1492, 1500, 576, 1280][usize::from(which >> 1) % 4];
        let update = match what % 10 {
            0 => Update::WanIpv4Down { wan },
            1 | 2 => {
                self.ours = OURS[usize::from(which) & 1];
                Update::WanIpv4Up { wan, ipv4: WanIpv4 { address: self.ours, mtu, segment: None } }
            }
            3 => Update::SubscriberIpv4Down { subscriber },
            4 => Update::SubscriberIpv4Up { subscriber, address: ALICE_IP, mtu },
            5 => Update::SessionClosed { owner: if which & 1 == 0 { ISP } else { ALICE } },
            6 | 7 => {
                let owner = if which & 1 == 0 { ISP } else { ALICE };
                Update::SessionOpened { owner, session: session(owner) }
            }
            8 => Update::NeighbourFound { segment, address: address.into(), mac: host_mac(address) },
            _ => Update::NeighbourFailed { segment, address: address.into() },
        };
        self.apply(update);
    }

    fn apply(&mut self, update: Update) {
        self.forwarder.apply(&mut self.world.cx(), update, &mut self.egress);
        self.settle();
    }

    /// Answers for the stations, looks at what left, and at the books.
    fn settle(&mut self) {
        while let Some(resolve) = self.forwarder.poll_resolve() {
            let (segment, IpAddr::V4(address)) = (resolve.segment, resolve.address) else { continue };
            // Station 4 is slow.
            if address.octets()[3] != 4 {
                let update = Update::NeighbourFound { segment, address: address.into(), mac: host_mac(address) };
                self.forwarder.apply(&mut self.world.cx(), update, &mut self.egress);
            }
        }
        for port in [WAN, LAN, OFFLOAD, ACCESS] {
            let Some((queue, _)) = self.egress.outgoing(port) else { continue };
            for frame in std::mem::take(queue) {
                self.judge(port, &frame);
                self.egress.pool.give(frame);
            }
        }
        let ledger = self.egress.ledger();
        assert!(ledger.balance(self.forwarder.held()).holds(), "{ledger:?}");
        assert_eq!(ledger.dropped(DropReason::Internal), 0, "a fault of the router");
    }

    fn judge(&mut self, port: PortId, frame: &Frame) {
        let bytes = frame.bytes();
        let plain =
            frame.offload.gso.is_none() && !matches!(frame.offload.checksum, Checksum::Partial { .. });
        assert!(plain || port == OFFLOAD, "work is left undone");
        let source = Mac::read(&bytes[6..]).expect("a whole frame");
        if source != port_mac(port) && source != port_mac(LAN) {
            assert!(port == LAN || port == OFFLOAD, "only a LAN is bridged");
            return;
        }
        let packet = match port {
            LAN | OFFLOAD => {
                assert_eq!(bytes[12..14], [8, 0]);
                &bytes[14..]
            }
            _ => {
                let owner = if port == WAN { ISP } else { ALICE };
                let session = session(owner);
                assert_eq!(Mac::read(bytes), Some(session.peer));
                assert_eq!(bytes[12..18], [0x88, 0x64, 0x11, 0, (session.id >> 8) as u8, session.id as u8]);
                assert_eq!(usize::from(u16::from_be_bytes([bytes[18], bytes[19]])), bytes.len() - 20);
                assert_eq!(bytes[20..22], [0, 0x21]);
                assert!(bytes.len() <= 22 + 1500);
                &bytes[22..]
            }
        };
        assert!(!plain || bytes.len() <= 14 + 1508, "{} octets are more than the MTU", bytes.len());
        let view = if self.sound && plain { sound::ipv4(packet) } else { sound::ipv4_header(packet) };
        if port == WAN {
            let from = view.source();
            assert!(from == ALICE_IP || OURS.contains(&from), "{from} leaves by the uplink");
            self.last = packet.to_vec();
        }
    }
}

/// What one of a few hosts sends to one of a few places.
fn spoken(port: PortId, data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (who, whom, kind) = (input.u8(), input.u8(), input.u8());
    let inside = Ipv4Addr::new(192, 168, 1, 2 + (who & 7));
    let source = match port {
        WAN => Ipv4Addr::new(192, 0, 2, who & 7),
        ACCESS => ALICE_IP,
        _ => inside,
    };
    let destination = match whom % 8 {
        0 => ROUTER,
        1 => OURS[usize::from(whom >> 7)],
        2 => Ipv4Addr::new(192, 168, 1, 3 + (whom >> 4 & 3)),
        3 => ALICE_IP,
        _ => Ipv4Addr::new(192, 0, 2, whom >> 4 & 7),
    };
    let [from, to] = [input.u8(), input.u8()].map(|choice| match choice {
        0..=9 => [53, 80, 8080, 67, 68, 443, 5060, 0, 65_535, 1024][usize::from(choice)],
        choice => u16::from(choice),
    });
    let ttl = input.u8();
    let field = if kind & 0x80 == 0 { [0x40, 0] } else { [input.u8() & 0x60, 0] };
    let copies = usize::from(input.u8() % 16) + 1;
    let flags = input.u8();
    let payload = input.0.repeat(copies);
    let payload = &payload[..payload.len().min(1480)];
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let (protocol, body) = match kind % 8 {
        0..=2 => (UDP, packet::udp(from, to, payload)),
        3..=5 => {
            let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x60, flags, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4];
            (TCP, [&ports[..], &rest, payload].concat())
        }
        6 => (
            ICMP,
            [&[if flags & 1 == 0 { 8 } else { flags }, 0, 0, 0], &ports[2..], &[0, 1], payload].concat(),
        ),
        _ => (flags, payload.to_vec()),
    };
    let mut packet = packet::ipv4(source, destination, protocol, &[], &body);
    packet[6..8].copy_from_slice(&field);
    packet[8] = if ttl < 4 { ttl } else { 64 };
    write_header_checksum(&mut packet, 20);
    packet
}
