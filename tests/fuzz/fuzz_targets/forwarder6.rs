//! A life of the IPv6 packet path between a LAN and an uplink. Every frame is accounted for, nothing leaves by the uplink
//! under a source that is not ours, and nothing is ever a fault of the router.
#![no_main]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use genkan_fuzz::{Numbers, Script, World, damage, packet};
use genkan_netstack::forward::{Forwarder, LanIpv6, NextHop, Session, SessionOwner, Update, WanIpv6};
use genkan_netstack::frame::{Batch, Egress, Frame};
use genkan_netstack::id::{Interface, Ipv4Cidr, Ipv6Cidr, LanId, Mac, PortId, WanId};
use genkan_netstack::ledger::DropReason;
use genkan_netstack::rng::SeededRng;
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{Authentication, Dhcp6, Echo, Lan, Port, PppoeClient, Settings, Uplink, Wan};
use genkan_netstack::time::Duration;
use genkan_netstack::wire::ipv6::Ipv6;
use libfuzzer_sys::fuzz_target;

const WAN: PortId = PortId(0);
const LAN: PortId = PortId(1);
const ISP: SessionOwner = SessionOwner::Wan(WanId(0));
const PEER: Mac = Mac([0x66, 0, 0, 0, 0, 1]);
const STATION: Mac = Mac([6, 0, 0, 0, 0, 9]);
const ID: u16 = 0x1234;

const OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 5);
const DELEGATED: Ipv6Cidr = Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0), prefix: 48 };
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn inside(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, u16::from(n & 3) + 1)
}

fn outside(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x8000, 0, 0, 0, 0, u16::from(n & 3))
}

fn mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, port.0 as u8])
}

fn settings() -> Settings {
    let port = |index: u16| Port {
        name: "port".into(),
        mac: mac(PortId(index)),
        mtu: 1500,
        vlan: None,
        offload: false,
    };
    Settings {
        hostname: "genkan".into(),
        ports: (0..2).map(port).collect(),
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
            ipv6: Some(Default::default()),
        }],
        lans: vec![Lan {
            name: "home".into(),
            ports: vec![LAN],
            address: Ipv4Cidr { address: [192, 168, 1, 1].into(), prefix: 24 },
            dhcp: None,
            prefix: None,
            dhcp6: Dhcp6::Off,
            domain: "home.arpa".into(),
            hosts: vec![],
        }],
        ..Settings::default()
    }
}

struct Net {
    world: World,
    forwarder: Forwarder,
    egress: Egress,
}

fuzz_target!(|data: &[u8]| {
    let settings = settings();
    let mut net = Net {
        world: World::default(),
        forwarder: Forwarder::new(&settings, &mut SeededRng::from_u64(3)),
        egress: Egress::new(&settings.ports),
    };
    let session = Session { port: WAN, id: ID, local: mac(WAN), peer: PEER };
    net.apply(Update::SessionOpened { owner: ISP, session });
    for what in [0, 2] {
        net.change(&[what]);
    }
    for step in Script(data) {
        match step.operation & 7 {
            0 => net.packet(LAN, step.data),
            1 => net.packet(WAN, step.data),
            2 | 3 => net.spoken(LAN, step.data),
            4 | 5 => net.spoken(WAN, step.data),
            6 => net.change(step.data),
            _ => net.pass(step.data),
        }
    }
    // All that is held ends in time.
    net.world.now += Duration::from_secs(3600);
    net.pass(&[]);
    assert_eq!(net.forwarder.held(), 0);
});

impl Net {
    /// A packet comes by a port, in what it has there for a wrapping.
    fn packet(&mut self, port: PortId, packet: &[u8]) {
        let frame = if port == LAN {
            packet::ethernet(mac(LAN).0, STATION.0, 0x86dd, packet)
        } else {
            let len = packet.len().min(65_000) as u16 + 2;
            let head = [&[0x11, 0][..], &ID.to_be_bytes(), &len.to_be_bytes(), &[0, 0x57]].concat();
            packet::ethernet(mac(WAN).0, PEER.0, 0x8864, &[&head, packet].concat())
        };
        self.egress.received(1);
        let mut batch = Batch::from([Frame::from_bytes(&frame)]);
        let mut punts = VecDeque::new();
        self.forwarder.receive(&mut self.world.cx(), port, &mut batch, &mut self.egress, &mut punts);
        for punt in punts {
            self.egress.consume(punt.frame);
        }
        self.settle();
    }

    /// One of a few hosts says something to one of a few others, with headers of any kind before it.
    fn spoken(&mut self, port: PortId, data: &[u8]) {
        let mut input = Numbers(data);
        let (who, whom, next_header) = (input.u8(), input.u8(), input.u8());
        let (source, destination) = match (port, whom & 0x80) {
            (LAN, 0) => (inside(who), outside(whom)),
            (LAN, _) => (inside(who), [inside(0), OURS, LOCAL, inside(whom)][usize::from(whom & 3)]),
            (_, 0) => (outside(who), inside(whom)),
            _ => (outside(who), OURS),
        };
        let edits = if who & 0x80 == 0 { &[] } else { input.take(6) };
        let mut packet = packet::ipv6(source, destination, next_header, input.0);
        damage(&mut packet, edits);
        self.packet(port, &packet);
    }

    fn pass(&mut self, data: &[u8]) {
        self.world.pass(data, self.forwarder.poll_timeout());
        for _ in 0..64 {
            self.forwarder.handle_timeout(&mut self.world.cx(), &mut self.egress);
        }
        self.settle();
    }

    /// Control has negotiated something, or a machine of its has something to say.
    fn change(&mut self, data: &[u8]) {
        let mut input = Numbers(data);
        let (wan, lan) = (WanId(0), LanId(0));
        let wan_ipv6 = |addresses, delegated| WanIpv6 {
            link_local: LOCAL,
            mtu: 1492,
            addresses,
            on_link: vec![],
            default_router: Some(NextHop::Peer),
            delegated,
            awaited: vec![],
        };
        let lan_ipv6 = |prefixes| LanIpv6 { addresses: vec![LOCAL, inside(0)], prefixes, stale: vec![] };
        match input.u8() % 6 {
            0 => self.apply(Update::WanIpv6 { wan, ipv6: Some(wan_ipv6(vec![OURS], vec![DELEGATED])) }),
            1 => self.apply(Update::WanIpv6 { wan, ipv6: None }),
            2 => self.apply(Update::LanIpv6 {
                lan,
                ipv6: lan_ipv6(vec![Ipv6Cidr { address: inside(0), prefix: 64 }]),
            }),
            3 => self.apply(Update::LanIpv6 { lan, ipv6: lan_ipv6(vec![]) }),
            4 => self.apply(Update::WanIpv6 { wan, ipv6: Some(wan_ipv6(vec![], vec![DELEGATED])) }),
            _ => {
                let mut frame = self.egress.originate(input.0.len());
                assert!(frame.extend(input.0));
                let interface = Interface::Lan(lan);
                self.forwarder.send_link(&mut self.world.cx(), interface, frame, &mut self.egress);
                self.settle();
            }
        }
    }

    fn apply(&mut self, update: Update) {
        self.forwarder.apply(&mut self.world.cx(), update, &mut self.egress);
        self.settle();
    }

    /// Answers for the stations, looks at what left, and at the books.
    fn settle(&mut self) {
        while let Some(resolve) = self.forwarder.poll_resolve() {
            if resolve.address == IpAddr::V6(inside(3)) {
                continue;
            }
            let (segment, address) = (resolve.segment, resolve.address);
            let update = Update::NeighbourFound { segment, address, mac: STATION };
            self.forwarder.apply(&mut self.world.cx(), update, &mut self.egress);
        }
        for port in [WAN, LAN] {
            let Some((queue, _)) = self.egress.outgoing(port) else { continue };
            for frame in std::mem::take(queue) {
                if port == WAN {
                    let view = Ipv6::parse(&frame.bytes()[22..]).expect("an IPv6 packet");
                    let source = view.source();
                    assert!(source == OURS || source == LOCAL || DELEGATED.contains(source), "{source} leaves by the uplink");
                    assert!(frame.len() <= 22 + 1492);
                }
                self.egress.pool.give(frame);
            }
        }
        let ledger = self.egress.ledger();
        assert!(ledger.balance(self.forwarder.held()).holds(), "{ledger:?}");
        assert_eq!(ledger.dropped(DropReason::Internal), 0, "a fault of the router");
    }
}
