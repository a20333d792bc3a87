//! The packet path alone, in memory: LAN → PPPoE or back, with NAT and filter, for benchmarks.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use genkan::capture::ring::Ring;
use genkan::capture::{Direction as Way, Points};
use genkan::clock;
use genkan_netstack::forward::{Forwarder, Session, SessionOwner, Update, WanIpv4};
use genkan_netstack::frame::{Batch, Egress};
use genkan_netstack::id::{LanId, Mac, PortId, Segment, WanId};
use genkan_netstack::machine::Cx;
use genkan_netstack::rng::SeededRng;
use genkan_netstack::settings::{Action, Rule, RuleProtocol};
use genkan_netstack::sight::{Names, Watch};
use genkan_netstack::time::{Duration, Instant};

use crate::household::{self, GATEWAY_LAN_MAC, GATEWAY_WAN_MAC, INSIDE, LINE};

const CONCENTRATOR_MAC: Mac = Mac([2, 0, 0, 0, 2, 0]);
const STATION_MAC: Mac = Mac([2, 0, 0, 0, 3, 0]);
/// Octets from the start of a PPPoE frame to the IPv4 packet.
const ENCAPSULATION: usize = 22;

/// Packets in one batch, as the data thread takes them from a port.
pub const BATCH: usize = 64;

/// Which way the packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// LAN → PPPoE.
    Up,
    /// PPPoE → LAN.
    Down,
}

impl Direction {
    /// The port that packets come in by, the one that they leave by, and the ethertype that they then have.
    fn ends(self) -> (PortId, PortId, [u8; 2]) {
        match self {
            Direction::Up => (INSIDE, LINE, [0x88, 0x64]),
            Direction::Down => (LINE, INSIDE, [0x08, 0x00]),
        }
    }
}

/// Who looks at the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looking {
    /// Nobody.
    Off,
    /// The ring, as in a gateway that nobody captures at.
    Ring,
    /// A capture of everything, at every point.
    Everything,
}

/// A forwarder with a live session and a number of established flows.
pub struct PacketPath {
    forwarder: Forwarder,
    egress: Egress,
    rng: SeededRng,
    now: Instant,
    direction: Direction,
    packets: Vec<Vec<u8>>,
    next: usize,
    batch: Batch,
    punts: VecDeque<genkan_netstack::forward::Punt>,
    ring: Option<Ring>,
}

impl PacketPath {
    /// `flows` UDP flows of `size`-octet Ethernet frames (no FCS, as they are on the LAN), each already in the flow table.
    ///
    /// # Panics
    /// When a packet does not come out on the other side: the benchmark would measure something else.
    pub fn new(direction: Direction, flows: usize, size: usize) -> Self {
        let mut settings = household::gateway();
        settings.nat.flows_per_host = 1 << 20;
        settings.nat.flows = 1 << 20;
        settings.rules = (0..8)
            .map(|index| Rule {
                from: None,
                to: None,
                protocol: RuleProtocol::Tcp,
                ports: vec![10_000 + index..=10_000 + index],
                source: None,
                destination: None,
                action: Action::Drop,
                line: None,
            })
            .collect();
        let mut rng = SeededRng::from_u64(1);
        let mut path = PacketPath {
            forwarder: Forwarder::new(&settings, &mut rng),
            egress: Egress::new(&settings.ports),
            rng,
            now: Instant::from_secs(1),
            direction: Direction::Up,
            packets: (0..flows).map(|flow| packet(flow, size)).collect(),
            next: 0,
            batch: Batch::new(),
            punts: VecDeque::new(),
            ring: None,
        };
        path.bring_up();
        for _ in 0..flows.div_ceil(BATCH).max(2) {
            assert_eq!(path.run_batch(), BATCH, "each packet leaves as a PPPoE frame");
        }
        if direction == Direction::Down {
            path.turn_round();
            assert_eq!(path.run_batch(), BATCH, "each answer leaves on the LAN");
        }
        path
    }

    /// Has somebody look from now on.
    pub fn look(&mut self, looking: Looking) {
        let names = Names::new(&household::gateway());
        self.ring = (looking == Looking::Ring).then(|| Ring::new(Points::of_ports(2), 8 << 20)).flatten();
        self.egress.watch(
            match looking {
                Looking::Off => Watch::Nothing,
                Looking::Ring => Watch::Drops,
                Looking::Everything => Watch::Everything,
            },
            &names,
        );
    }

    fn bring_up(&mut self) {
        let owner = SessionOwner::Wan(WanId(0));
        let session = Session { port: LINE, id: 7, local: GATEWAY_WAN_MAC, peer: CONCENTRATOR_MAC };
        let address = Ipv4Addr::new(198, 51, 100, 9);
        let line = [
            Update::SessionOpened { owner, session },
            Update::WanIpv4Up { wan: WanId(0), ipv4: WanIpv4 { address, mtu: 1492, segment: None } },
        ];
        let hosts = (0..100).map(|host| Update::NeighbourFound {
            segment: Segment::Lan(LanId(0)),
            address: Ipv4Addr::new(192, 168, 1, 100 + host).into(),
            mac: STATION_MAC,
        });
        for update in line.into_iter().chain(hosts) {
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            self.forwarder.apply(cx, update, &mut self.egress);
        }
    }

    /// Goes on with the answers to the packets so far.
    fn turn_round(&mut self) {
        let mut answers = Vec::new();
        for _ in 0..self.packets.len().div_ceil(BATCH) {
            self.send();
            let (queue, pool) = self.egress.outgoing(LINE).expect("the line is a port");
            for frame in queue.drain(..) {
                answers.push(answer(frame.bytes()));
                pool.give(frame);
            }
        }
        answers.truncate(self.packets.len());
        (self.direction, self.packets, self.next) = (Direction::Down, answers, 0);
    }

    /// Sends the next [`BATCH`] packets through, round robin over the flows, and says how many left on the other side. The
    /// copy into the receive buffer is part of it, as it is part of receiving.
    pub fn run_batch(&mut self) -> usize {
        self.send();
        let (_, out, ethertype) = self.direction.ends();
        let mut sent = 0;
        while let Some(sighting) = self.egress.poll_sighting() {
            std::hint::black_box(sighting);
        }
        if let Some((queue, pool)) = self.egress.outgoing(out) {
            if let Some(ring) = &mut self.ring {
                ring.take(out.0, Way::Sent, clock::wall(), queue.iter());
            }
            for frame in queue.drain(..) {
                sent += usize::from(frame.bytes()[12..14] == ethertype);
                pool.give(frame);
            }
        }
        sent
    }

    fn send(&mut self) {
        for _ in 0..BATCH {
            let packet = &self.packets[self.next];
            self.next = if self.next + 1 == self.packets.len() { 0 } else { self.next + 1 };
            let mut frame = self.egress.pool.take(packet.len());
            frame.extend(packet);
            self.batch.push_back(frame);
        }
        self.now += Duration::from_micros(64);
        self.egress.received(BATCH);
        let cx = &mut Cx { now: self.now, rng: &mut self.rng };
        let (port, ..) = self.direction.ends();
        if let Some(ring) = &mut self.ring {
            ring.take(port.0, Way::Received, clock::wall(), self.batch.iter());
        }
        self.forwarder.receive(cx, port, &mut self.batch, &mut self.egress, &mut self.punts);
    }
}

/// The answer to a packet that has left as PPPoE: both ends change places in every header, which leaves the checksums.
fn answer(frame: &[u8]) -> Vec<u8> {
    let mut answer = frame.to_vec();
    let (ethernet, packet) = answer.split_at_mut(ENCAPSULATION);
    ethernet[..12].rotate_left(6);
    packet[12..20].rotate_left(4);
    packet[20..24].rotate_left(2);
    answer
}

fn packet(flow: usize, size: usize) -> Vec<u8> {
    let flow = u32::try_from(flow).expect("fewer flows than addresses");
    // A hundred hosts on the LAN with 400 sockets each, and as many servers as it takes: every socket has one external
    // port (RFC 4787 REQ-1), and there are fewer than 65,536 of these.
    let source = [192, 168, 1, 100 + (flow % 100) as u8];
    let destination = (u32::from_be_bytes([203, 0, 113, 0]) + flow / 40_000).to_be_bytes();
    let port = 1024 + u16::try_from(flow / 100 % 400).expect("below 400");
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(STATION_MAC.0, GATEWAY_LAN_MAC.0)
        .ipv4(source, destination, 64)
        .udp(port, 9)
        .write(&mut bytes, &vec![0; size - 42])
        .expect("a vector takes it all");
    bytes
}
