//! A Forwarder with a kernel half, without anything around them.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use genkan::fastpath::layout::{NO_LINK, Port as PortRecord, SAMPLE, SampleHead};
use genkan::fastpath::load::{Kernel, Options, Sizes};
use genkan::fastpath::mirror::{Device, Links, Mirror};
use genkan::fastpath::table::Table;
use genkan::fastpath::{Arrival, SharedMemory};
use genkan::netns;
use genkan_netstack::forward::{
    Forwarder, Ipv4Segment, LanIpv6, NextHop, Session, SessionOwner, SubscriberIpv6, Update, WanIpv4, WanIpv6,
};
use genkan_netstack::frame::{Batch, Egress, Frame};
use genkan_netstack::id::{Interface, Ipv4Cidr, Ipv6Cidr, LanId, Mac, PortId, Segment, SubscriberId, WanId};
use genkan_netstack::machine::Cx;
use genkan_netstack::rng::{Rng, SeededRng};
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{
    self, Authentication, Concentrator, Dhcp6, Echo, Lan, PppoeClient, Settings, StaticUplink, Wan,
};
use genkan_netstack::time::{Duration, Instant};

use crate::packet::{ACK, Kind, Packet, SYN};

/// Ports: of the LAN, the uplink, the guests' LAN and the subscribers.
pub const PORTS: usize = 4;
const HOME: usize = 0;
const LINE: usize = 1;
const GUESTS: usize = 2;
const ACCESS: usize = 3;

const ISP: WanId = WanId(0);
const SUBSCRIBER: SubscriberId = SubscriberId(7);

const HOST: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 168, 1, 100), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100));
const GUEST: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 168, 2, 100), Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, 0x100));
const SUBSCRIBED: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(100, 64, 0, 10), Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x100));
const SERVER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 9), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9));
/// The default routers on the segment of a plain uplink.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

const fn own(port: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, port as u8 + 1])
}

/// What the uplink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uplink {
    Pppoe,
    Ethernet,
}

/// By what a frame enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Xdp,
    Classifier,
}

/// A frame of an established flow, and the port that it comes by.
#[derive(Debug, Clone)]
pub struct Seed {
    pub name: String,
    pub port: usize,
    pub frame: Vec<u8>,
}

/// A network namespace that ends with the test.
pub struct Namespace(String);

impl Namespace {
    pub fn new(name: &str) -> Self {
        let name = format!("genkan-{}-{name}", std::process::id());
        netns::create(&name)
            .unwrap_or_else(|error| panic!("cannot make namespace {name} (run as root): {error}"));
        Namespace(name)
    }

    /// Runs `work` in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::run(&self.0, work).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = netns::delete(&self.0);
    }
}

/// A device of this namespace, by its number: frames come in by it, and are never sent.
fn device(port: usize) -> u32 {
    let command =
        format!("ip link add g{port} type veth peer name h{port} && cat /sys/class/net/g{port}/ifindex");
    let command = format!("mount -t sysfs genkan /sys && {command}");
    let output = Command::new("unshare").args(["-m", "sh", "-ec", &command]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// Who is where in this life.
#[derive(Debug, Clone, Copy)]
struct Life {
    address: Ipv4Addr,
    /// Our sessions on the line and at the access, and who is there.
    sessions: [u16; 2],
    peers: [Mac; PORTS],
}

pub struct World {
    uplink: Uplink,
    forwarder: Forwarder,
    egress: Egress,
    rng: SeededRng,
    now: Instant,
    mirror: Mirror<Kernel>,
    devices: [u32; PORTS],
    life: Life,
    seeds: Vec<Seed>,
    after: Vec<u8>,
}

impl World {
    pub fn new(uplink: Uplink) -> World {
        let settings = settings(uplink);
        let mut rng = SeededRng::from_u64(9);
        let devices = std::array::from_fn(device);
        let mut world = World {
            uplink,
            forwarder: Forwarder::new(&settings, &mut rng),
            egress: Egress::new(&settings.ports),
            rng,
            now: Instant::from_secs(1),
            mirror: half(uplink, devices),
            devices,
            life: Life { address: ROUTER, sessions: [0; 2], peers: [Mac::default(); PORTS] },
            seeds: Vec::new(),
            after: vec![0; 4096],
        };
        world.forwarder.set_offload(true);
        world
    }

    /// The sessions end, and there are others with others; addresses and stations are new.
    pub fn begin_life(&mut self, rng: &mut dyn Rng) {
        let mut station =
            |port: usize| Mac([0x52, 0x54, port as u8, rng.next_u32() as u8, rng.next_u32() as u8, 1]);
        let peers = std::array::from_fn(&mut station);
        self.life = Life {
            address: Ipv4Addr::new(198, 51, 100, 2 + (rng.next_u32() % 200) as u8),
            sessions: [rng.next_u16() | 1, rng.next_u16() | 1],
            peers,
        };
        self.now += Duration::from_secs(10);
        let subscriber = SessionOwner::Subscriber(SUBSCRIBER);
        self.apply(Update::SessionClosed { owner: subscriber });
        self.open(subscriber, ACCESS, 1);
        if self.uplink == Uplink::Pppoe {
            self.apply(Update::SessionClosed { owner: SessionOwner::Wan(ISP) });
            self.open(SessionOwner::Wan(ISP), LINE, 0);
        }
        self.bring_up(1492);
    }

    fn open(&mut self, owner: SessionOwner, port: usize, session: usize) {
        let session = Session {
            port: PortId(port as u16),
            id: self.life.sessions[session],
            local: own(port),
            peer: self.life.peers[port],
        };
        self.apply(Update::SessionOpened { owner, session });
    }

    /// IP on everything, and who has which address.
    fn bring_up(&mut self, mtu: u16) {
        let is_segment = self.uplink == Uplink::Ethernet;
        let network = Ipv4Cidr { address: Ipv4Addr::new(198, 51, 100, 0), prefix: 24 };
        let segment = is_segment.then_some(Ipv4Segment { network, gateway: ROUTER });
        self.apply(Update::WanIpv4Up {
            wan: ISP,
            ipv4: WanIpv4 { address: self.life.address, mtu, segment },
        });
        let ipv6 = WanIpv6 {
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            mtu,
            addresses: vec![],
            on_link: vec![],
            default_router: Some(if is_segment { NextHop::Router(ROUTER6) } else { NextHop::Peer }),
            delegated: vec![prefix(HOST.1, 48), prefix(SUBSCRIBED.1, 48)],
            awaited: vec![],
        };
        self.apply(Update::WanIpv6 { wan: ISP, ipv6: Some(ipv6) });
        for (lan, host) in [(LanId(0), HOST), (LanId(1), GUEST)] {
            let [a, b, c, d, ..] = host.1.segments();
            let ipv6 = LanIpv6 {
                addresses: vec![
                    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
                    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 1),
                ],
                prefixes: vec![prefix(host.1, 64)],
                stale: vec![],
            };
            self.apply(Update::LanIpv6 { lan, ipv6 });
        }
        self.apply(Update::SubscriberIpv4Up { subscriber: SUBSCRIBER, address: SUBSCRIBED.0, mtu });
        let ipv6 = SubscriberIpv6 {
            local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            peer: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
            mtu,
            delegated: vec![prefix(SUBSCRIBED.1, 64)],
        };
        self.apply(Update::SubscriberIpv6 { subscriber: SUBSCRIBER, ipv6: Some(ipv6) });
        self.find_stations();
    }

    fn find_stations(&mut self) {
        let known = [
            (Segment::Lan(LanId(0)), HOME, [HOST.0.into(), HOST.1.into()]),
            (Segment::Lan(LanId(1)), GUESTS, [GUEST.0.into(), GUEST.1.into()]),
            (Segment::Wan(ISP), LINE, [ROUTER.into(), ROUTER6.into()]),
        ];
        for (segment, port, addresses) in known {
            for address in addresses {
                self.apply(Update::NeighbourFound { segment, address, mac: self.life.peers[port] });
            }
        }
    }

    fn apply(&mut self, update: Update) {
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.apply(cx, update, &mut self.egress);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while let Some(offload) = self.forwarder.poll_offload() {
            self.mirror.apply(&offload);
        }
    }

    /// Something changes, and goes on.
    pub fn invalidate(&mut self, rng: &mut dyn Rng) {
        match rng.next_u32() % 5 {
            0 => {
                self.apply(Update::WanIpv4Down { wan: ISP });
                self.bring_up(1492);
            }
            1 => self.bring_up(100 + rng.next_u16() % 1400),
            2 => self.life.peers[HOME].0[3] ^= 0x40,
            3 => self.life.peers[GUESTS].0[3] ^= 0x40,
            _ => {
                self.apply(Update::WanIpv6 { wan: ISP, ipv6: None });
                self.bring_up(1492);
            }
        }
        self.find_stations();
        self.now += Duration::from_secs(2);
        for seed in self.seeds.clone() {
            self.send(seed.port, &seed.frame);
        }
    }

    /// Flows of every kind; the frames are the next ones of both ways.
    pub fn establish(&mut self, rng: &mut dyn Rng) -> Vec<Seed> {
        let both = |(v4, v6): (Ipv4Addr, Ipv6Addr)| [IpAddr::V4(v4), IpAddr::V6(v6)];
        let ends = [
            ("from the LAN to the uplink", HOME, HOST, SERVER),
            ("from the LAN to the guests", HOME, HOST, GUEST),
            ("from the LAN to the subscriber", HOME, HOST, SUBSCRIBED),
            ("from the subscriber to the uplink", ACCESS, SUBSCRIBED, SERVER),
        ];
        let mut seeds = Vec::new();
        for (name, port, source, destination) in ends {
            for (source, destination) in both(source).into_iter().zip(both(destination)) {
                for kind in [Kind::DATA, Kind::Udp, Kind::Echo { reply: false }] {
                    let number = 1024 + rng.next_u16() % 60_000;
                    let packet = Packet {
                        destination_mac: own(port),
                        source_mac: self.life.peers[port],
                        session: (port == ACCESS).then_some(self.life.sessions[1]),
                        source: (source, number),
                        destination: (
                            destination,
                            if matches!(kind, Kind::Echo { .. }) { number } else { 9 },
                        ),
                        kind,
                        data: (rng.next_u32() % 60) as usize,
                    };
                    let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
                    let [there, back] = self.converse(&format!("{kind:?} {name} by {family}"), port, packet);
                    for seed in [there, back] {
                        if kind == Kind::Udp && source.is_ipv4() {
                            seeds.extend(self.odd_checksums(&seed));
                        }
                        seeds.push(seed);
                    }
                }
            }
        }
        self.seeds = seeds.clone();
        seeds
    }

    fn converse(&mut self, name: &str, port: usize, packet: Packet) -> [Seed; 2] {
        let (opening, answering, answer) = match packet.kind {
            Kind::Tcp(_) => (Kind::Tcp(SYN), Kind::Tcp(SYN | ACK), Kind::DATA),
            Kind::Udp => (Kind::Udp, Kind::Udp, Kind::Udp),
            Kind::Echo { .. } => (packet.kind, Kind::Echo { reply: true }, Kind::Echo { reply: true }),
        };
        let mut seeds = None;
        for turn in 0..5 {
            let [kind, back] = if turn == 0 { [opening, answering] } else { [packet.kind, answer] };
            let there = Packet { kind, ..packet }.to_frame();
            let (exit, out) = self.only(name, port, &there);
            let answer = Packet::read(&out).answer(back).to_frame();
            let (entry, _) = self.only(name, exit, &answer);
            assert_eq!(entry, port, "{name}");
            let seed = |port, frame| Seed { name: name.to_owned(), port, frame };
            seeds = Some([seed(port, there), seed(exit, answer)]);
        }
        seeds.unwrap()
    }

    /// The same without a checksum (RFC 768), and with the one that an update would make 0 of.
    fn odd_checksums(&mut self, seed: &Seed) -> [Seed; 2] {
        let (_, out) = self.only(&seed.name, seed.port, &seed.frame);
        let checksum = |frame: &[u8]| {
            let at = Packet::read(frame).checksum_at();
            u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]]))
        };
        // The sum changes by the same, whatever it is: from this one to 0xffff.
        let sum = (checksum(&seed.frame) + 0xffff - checksum(&out)) % 0xffff;
        [("none", 0), ("that becomes 0", !(sum as u16))].map(|(what, checksum)| {
            let at = Packet::read(&seed.frame).checksum_at();
            let mut frame = seed.frame.clone();
            frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
            Seed { name: format!("{}, checksum {what}", seed.name), port: seed.port, frame }
        })
    }

    /// Gives the Forwarder a frame; what leaves, and by which port.
    fn send(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut batch = Batch::new();
        batch.push_back(Frame::from_bytes(frame));
        let mut punts = VecDeque::new();
        self.egress.received(1);
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        self.forwarder.receive(cx, PortId(port as u16), &mut batch, &mut self.egress, &mut punts);
        self.hand_over();
        let mut sent = Vec::new();
        for port in 0..PORTS {
            let Some((queue, pool)) = self.egress.outgoing(PortId(port as u16)) else { continue };
            for frame in queue.drain(..) {
                sent.push((port, frame.bytes().to_vec()));
                pool.give(frame);
            }
        }
        sent
    }

    fn only(&mut self, name: &str, port: usize, frame: &[u8]) -> (usize, Vec<u8>) {
        let mut sent = self.send(port, frame);
        assert_eq!(sent.len(), 1, "{name}: one frame leaves for {frame:02x?}, not {sent:02x?}");
        sent.remove(0)
    }

    /// Runs a frame through the kernel half and, when that has carried it, through the Forwarder. Says whether it has.
    pub fn compare(&mut self, entry: Entry, port: usize, frame: &[u8]) -> bool {
        const XDP_PASS: u32 = 2;
        const XDP_REDIRECT: u32 = 4;
        const TC_ACT_OK: u32 = 0;
        const TC_ACT_SHOT: u32 = 2;
        const TC_ACT_REDIRECT: u32 = 7;
        if entry == Entry::Classifier && is_refused(frame) {
            return false;
        }
        let device = self.devices[port];
        let arrival = match entry {
            Entry::Xdp => Arrival::Xdp(device),
            Entry::Classifier => Arrival::Classifier(device),
        };
        let mut after = std::mem::take(&mut self.after);
        let ran = self.mirror.maps().rehearse(arrival, frame, &mut after).unwrap();
        let carried = match (entry, ran.verdict) {
            (Entry::Xdp, XDP_REDIRECT) | (Entry::Classifier, TC_ACT_REDIRECT) => true,
            (Entry::Xdp, XDP_PASS) | (Entry::Classifier, TC_ACT_OK | TC_ACT_SHOT) => false,
            _ => panic!("{entry:?} says {} of {frame:02x?}", ran.verdict),
        };
        let octets = &after[..ran.length];
        if carried {
            let sent = self.send(port, frame);
            let is_same = matches!(&sent[..], [(_, sent)] if sent == octets);
            assert!(is_same, "{entry:?} makes of {frame:02x?}\n{octets:02x?}, the core\n{sent:02x?}");
            // Every port has an address of its own, so it is the right port, too.
            assert_eq!(octets[6..12], own(sent[0].0).0);
            let mut samples = 0;
            self.mirror.maps().samples(2, |sample| {
                samples += 1;
                assert_eq!(parts(sample), (frame, octets), "a sample is the frame before and after");
            });
            assert_eq!(samples, 1, "every frame that is carried is a sample");
        } else {
            assert_eq!(octets, frame, "what {entry:?} does not carry is as it was");
        }
        self.after = after;
        carried
    }
}

/// The kernel runs no classifier over an IP packet without a whole header.
fn is_refused(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame.len() < 34,
        [0x86, 0xdd] => frame.len() < 54,
        _ => false,
    }
}

/// The frames in a `struct sample`.
fn parts(sample: &[u8]) -> (&[u8], &[u8]) {
    let number = |at: usize| u32::from_ne_bytes(*sample[at..].first_chunk().unwrap()) as usize;
    let (before, after) = sample[size_of::<SampleHead>()..].split_at(SAMPLE);
    (&before[..number(8)], &after[..number(12)])
}

fn prefix(address: Ipv6Addr, prefix: u8) -> Ipv6Cidr {
    let bits = address.to_bits() & (u128::MAX << (128 - prefix));
    Ipv6Cidr { address: Ipv6Addr::from_bits(bits), prefix }
}

/// The kernel half, and the mirror of it.
fn half(uplink: Uplink, devices: [u32; PORTS]) -> Mirror<Kernel> {
    let sizes =
        Sizes { flows4: 65_536, flows6: 65_536, links: 16, adjacencies: 64, sessions: 16, samples: 1 << 20 };
    let options = Options { seed: [0x0123_4567_89ab_cdef, 0x0fed_cba9_8765_4321], sample_mask: 0 };
    let (mut kernel, tables) = Kernel::load(&sizes, &options, None).unwrap();
    let links = Links { lans: 2, wans: 1, subscribers: 4 };
    let link = |port: usize| match (port, uplink) {
        (HOME, _) => 0,
        (GUESTS, _) => 1,
        (LINE, Uplink::Ethernet) => 2,
        _ => NO_LINK,
    };
    for (port, ifindex) in devices.into_iter().enumerate() {
        let number = port as u16;
        let record = PortRecord {
            ifindex,
            number,
            link: link(port),
            own: own(port).0,
            pppoe: u8::from(link(port) == NO_LINK),
            sampled: 1,
        };
        kernel.set_port(&record).unwrap();
        kernel.set_exit(number, ifindex).unwrap();
    }
    let table = |flows: SharedMemory, index| Table::new(flows, index, options.seed);
    let flows4 = table(tables.flows4, tables.index4);
    let flows6 = Table::new(tables.flows6, tables.index6, options.seed);
    let devices = devices.map(|ifindex| Some(Device { ifindex, xdp: true, tap: false, checksum: false }));
    Mirror::new(kernel, flows4, flows6, devices.to_vec(), links, |_: Interface| 0)
}

fn settings(uplink: Uplink) -> Settings {
    let ports = ["home", "line", "guests", "access"];
    let port = |(index, name): (usize, &str)| settings::Port {
        name: name.into(),
        mac: own(index),
        mtu: 1500,
        vlan: None,
        offload: false,
    };
    let lan = |name: &str, port: usize, network: u8| Lan {
        name: name.into(),
        ports: vec![PortId(port as u16)],
        address: Ipv4Cidr { address: Ipv4Addr::new(192, 168, network, 1), prefix: 24 },
        dhcp: None,
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![],
    };
    let uplink = match uplink {
        Uplink::Pppoe => settings::Uplink::Pppoe(PppoeClient {
            username: String::new(),
            password: Secret::new(*b"x"),
            service_name: vec![],
            ac_name: None,
            host_uniq: None,
            authentication: vec![Authentication::Pap],
            mtu: 1492,
            echo: Echo::default(),
        }),
        Uplink::Ethernet => settings::Uplink::Static(StaticUplink::default()),
    };
    Settings {
        hostname: "genkan".into(),
        ports: ports.into_iter().enumerate().map(port).collect(),
        wans: vec![Wan { name: "isp".into(), port: PortId(LINE as u16), uplink, ipv4: true, ipv6: None }],
        lans: vec![lan("home", HOME, 1), lan("guests", GUESTS, 2)],
        concentrators: vec![Concentrator {
            name: "access".into(),
            port: PortId(ACCESS as u16),
            ac_name: "access".into(),
            service_names: vec![],
            address: Ipv4Addr::new(100, 64, 0, 1),
            pool: Ipv4Cidr { address: Ipv4Addr::new(100, 64, 0, 0), prefix: 16 },
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
