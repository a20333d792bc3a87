//! The address resolution protocol (RFC 826) for every LAN of the gateway.
//!
//! How it works:
//!
//! 1. On start the router announces its address on each LAN, twice (RFC 5227 §2.3).
//! 2. A frame is taken apart by [`Packet::parse`] and judged: a sender that bears the router's address, or one that the
//!    LAN does not hold, teaches nothing (`DropReason::ArpSpoofed`).
//! 3. A request for the router's address is answered, and its sender learnt. Everything else that a station says only
//!    refreshes what is known already, so that an unasked reply cannot plant a neighbour.
//! 4. The Forwarder asks by [`Resolve`]. An unknown address is asked for by broadcast, once a second, three times; a
//!    known one is told at once, and when it has not been heard of for [`REACHABLE`] it is probed by unicast first and
//!    by broadcast then. The Forwarder repeats its question while it uses an address; that keeps the entry fresh.
//! 5. Someone who claims the router's address is reported, and answered with an announcement (RFC 5227 §2.4).
//!
//! Memory is bounded by [`NEIGHBOURS`] for each LAN and [`PENDING`] questions in all.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use crate::forward::{Resolve, Update};
use crate::frame::Frame;
use crate::id::{Ipv4Cidr, LanId, Mac, Segment};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};

/// Time for which an address that was heard of needs no probe.
pub const REACHABLE: Duration = Duration::from_secs(60);
/// Time between two requests for one address.
pub const RETRY: Duration = Duration::from_secs(1);
/// Requests by broadcast before an address counts as unreachable; as many probes by unicast come before when a station
/// is known.
pub const TRIES: u8 = 3;
/// Most stations known on one LAN.
pub const NEIGHBOURS: usize = 4096;
/// Most addresses asked for at once, on all LANs.
pub const PENDING: usize = 1024;

/// Announcements on start, and the time between them (RFC 5227 §1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Least time between two defences of the router's address (RFC 5227 §1.1), and between two reports.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Most frames waiting to be sent.
const QUEUE: usize = 1024;
/// Most facts waiting to be told.
const EVENTS: usize = 8192;

const ETHERTYPE: [u8; 2] = [0x08, 0x06];

/// An ARP operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet for Ethernet and IPv4 (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's Ethernet address; a station's.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe (RFC 5227 §2.1).
    pub sender: Ipv4Addr,
    /// The target's Ethernet address; without meaning in a request.
    pub target_mac: Mac,
    /// The target's address.
    pub target: Ipv4Addr,
}

/// Length of an Ethernet frame with an ARP packet, without padding.
pub const FRAME_LEN: usize = 42;

impl Packet {
    /// The packet in an Ethernet frame. Padding behind it is ignored.
    pub fn parse(frame: &[u8]) -> Result<Packet, DropReason> {
        let malformed = DropReason::ArpMalformed;
        let (_, rest) = frame.split_first_chunk::<12>().ok_or(DropReason::EthernetTruncated)?;
        let (kind, rest) = rest.split_first_chunk::<10>().ok_or(malformed)?;
        // Ethertype, hardware type 1, protocol type IPv4, address lengths 6 and 4.
        let [0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, operation] = *kind else { return Err(malformed) };
        let operation = match operation {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(malformed),
        };
        let (sender_mac, rest) = rest.split_first_chunk::<6>().ok_or(malformed)?;
        let (sender, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        let (target_mac, rest) = rest.split_first_chunk::<6>().ok_or(malformed)?;
        let (target, _) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        let sender_mac = Mac(*sender_mac);
        if !sender_mac.is_station() {
            return Err(malformed);
        }
        Ok(Packet {
            operation,
            sender_mac,
            sender: Ipv4Addr::from(*sender),
            target_mac: Mac(*target_mac),
            target: Ipv4Addr::from(*target),
        })
    }

    /// Appends the Ethernet frame that carries the packet to `destination`. False when `frame` has no room.
    pub fn emit(&self, destination: Mac, frame: &mut Frame) -> bool {
        let operation = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let len = frame.len();
        let written = frame.extend(&destination.0)
            && frame.extend(&self.sender_mac.0)
            && frame.extend(&ETHERTYPE)
            && frame.extend(&[0, 1, 0x08, 0x00, 6, 4, 0, operation])
            && frame.extend(&self.sender_mac.0)
            && frame.extend(&self.sender.octets())
            && frame.extend(&self.target_mac.0)
            && frame.extend(&self.target.octets());
        if !written {
            frame.truncate(len);
        }
        written
    }
}

/// The router on one LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station {
    /// Its Ethernet address there.
    pub mac: Mac,
    /// Its address there, and the LAN's network.
    pub address: Ipv4Cidr,
}

/// What can happen to the machine.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// An ARP frame came in by a LAN; the bytes begin at its Ethernet header.
    Frame {
        /// The LAN.
        lan: LanId,
        /// The frame.
        frame: &'a [u8],
    },
    /// The Forwarder wants to know a station.
    Resolve(Resolve),
}

/// A fact of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Tell the Forwarder: a neighbour was found or has failed.
    Neighbour(Update),
    /// Another station claims the router's address.
    Conflict {
        /// The LAN.
        lan: LanId,
        /// The router's address there.
        address: Ipv4Addr,
        /// The station.
        mac: Mac,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Neighbour(Update::NeighbourFound { address, mac, .. }) => {
                write!(f, "{address} is at {mac}")
            }
            Event::Neighbour(Update::NeighbourFailed { address, .. }) => {
                write!(f, "no station answers for {address}")
            }
            Event::Neighbour(_) => f.write_str("a neighbour changed"),
            Event::Conflict { address, mac, .. } => write!(
                f,
                "the station {mac} also uses the router's address {address}; the router keeps it and says so to the LAN"
            ),
        }
    }
}

/// What is known of one address.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Asked for by broadcast; no station is known.
    Incomplete { tries: u8, next: Instant },
    /// The station was heard of at `heard`.
    Known { mac: Mac, heard: Instant },
    /// The station is known and has been silent for long; it is being asked.
    Probing { mac: Mac, tries: u8, next: Instant },
}

#[derive(Debug)]
struct Lan {
    station: Station,
    neighbours: Map<Ipv4Addr, State>,
    announcements: u8,
    next_announcement: Instant,
    last_defence: Option<Instant>,
}

/// The address resolution protocol on every LAN.
#[derive(Debug)]
pub struct Arp {
    lans: Vec<Lan>,
    /// Deadlines of the addresses that are being asked for.
    pending: BTreeSet<(Instant, LanId, Ipv4Addr)>,
    transmit: VecDeque<(LanId, Mac, Packet)>,
    events: VecDeque<Event>,
}

impl Arp {
    /// A machine for `stations`, indexed by [`LanId`]. It announces them at once.
    pub fn new(cx: &mut Cx<'_>, stations: impl IntoIterator<Item = Station>) -> Self {
        let lans = stations
            .into_iter()
            .map(|station| Lan {
                station,
                neighbours: Map::with_hasher(Seed::draw(cx.rng)),
                announcements: ANNOUNCEMENTS,
                next_announcement: cx.now,
                last_defence: None,
            })
            .collect();
        let mut arp =
            Arp { lans, pending: BTreeSet::new(), transmit: VecDeque::new(), events: VecDeque::new() };
        arp.handle_timeout(cx);
        arp
    }

    /// Something happened. An error says why a frame was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        match input {
            Input::Frame { lan, frame } => self.receive(cx, lan, &Packet::parse(frame)?),
            Input::Resolve(question) => {
                self.resolve(cx, question);
                Ok(())
            }
        }
    }

    /// Announces, asks again, gives up: whatever is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        for index in 0..self.lans.len() {
            let Some(lan) = self.lans.get_mut(index) else { break };
            if lan.announcements > 0 && lan.next_announcement <= cx.now {
                lan.announcements -= 1;
                lan.next_announcement = cx.now + ANNOUNCE_INTERVAL;
                let station = lan.station;
                if let Ok(id) = u16::try_from(index) {
                    self.send_announcement(LanId(id), station);
                }
            }
        }
        while let Some(&(due, lan, address)) = self.pending.first() {
            if due > cx.now {
                break;
            }
            self.pending.pop_first();
            self.ask_again(cx, lan, address);
        }
    }

    /// When the machine wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let announcements =
            self.lans.iter().filter(|lan| lan.announcements > 0).map(|lan| lan.next_announcement);
        announcements.chain(self.pending.first().map(|&(due, ..)| due)).min()
    }

    /// Writes the next Ethernet frame into `frame` and says by which LAN it goes.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<LanId> {
        let (lan, destination, packet) = self.transmit.pop_front()?;
        packet.emit(destination, frame).then_some(lan)
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, id: LanId, packet: &Packet) -> Result<(), DropReason> {
        let lan = self.lans.get_mut(id.index()).ok_or(DropReason::ArpMalformed)?;
        let station = lan.station;
        let own = station.address.address;
        if packet.sender_mac == station.mac {
            return Err(DropReason::OwnSourceMac);
        }
        if packet.sender == own {
            self.defend(cx, id, packet.sender_mac);
            return Err(DropReason::ArpSpoofed);
        }
        let probe = packet.sender.is_unspecified();
        if !probe && !is_host(station.address, packet.sender) {
            return Err(DropReason::ArpSpoofed);
        }
        let asked = packet.operation == Operation::Request && packet.target == own;
        if !probe {
            self.learn(cx, id, packet.sender, packet.sender_mac, asked);
        }
        if asked {
            let reply = Packet {
                operation: Operation::Reply,
                sender_mac: station.mac,
                sender: own,
                target_mac: packet.sender_mac,
                target: packet.sender,
            };
            if !self.send(id, packet.sender_mac, reply) {
                return Err(DropReason::ServiceOverload);
            }
            if probe {
                self.report_conflict(cx, id, packet.sender_mac);
            }
        }
        Ok(())
    }

    /// Takes note of a station. An unknown one is taken in only when it `asked` for us.
    fn learn(&mut self, cx: &mut Cx<'_>, id: LanId, address: Ipv4Addr, mac: Mac, asked: bool) {
        let Some(lan) = self.lans.get_mut(id.index()) else { return };
        let known = State::Known { mac, heard: cx.now };
        let news = match lan.neighbours.get_mut(&address) {
            Some(state) => {
                let before = core::mem::replace(state, known);
                match before {
                    State::Incomplete { next, .. } => {
                        self.pending.remove(&(next, id, address));
                        true
                    }
                    State::Probing { next, mac: old, .. } => {
                        self.pending.remove(&(next, id, address));
                        old != mac
                    }
                    State::Known { mac: old, .. } => old != mac,
                }
            }
            None if asked => {
                self.make_room(id);
                if let Some(lan) = self.lans.get_mut(id.index()) {
                    lan.neighbours.insert(address, known);
                }
                true
            }
            None => false,
        };
        if news {
            self.tell(Event::Neighbour(Update::NeighbourFound {
                segment: Segment::Lan(id),
                address: address.into(),
                mac,
            }));
        }
    }

    fn resolve(&mut self, cx: &mut Cx<'_>, Resolve { segment, address }: Resolve) {
        let (Segment::Lan(id), IpAddr::V4(address)) = (segment, address) else { return };
        let Some(lan) = self.lans.get_mut(id.index()) else { return };
        if !is_host(lan.station.address, address) || address == lan.station.address.address {
            return self.tell(Event::Neighbour(Update::NeighbourFailed {
                segment: Segment::Lan(id),
                address: address.into(),
            }));
        }
        match lan.neighbours.get(&address).copied() {
            Some(State::Incomplete { .. }) => {}
            Some(State::Probing { mac, .. }) => {
                self.tell(Event::Neighbour(Update::NeighbourFound {
                    segment: Segment::Lan(id),
                    address: address.into(),
                    mac,
                }));
            }
            Some(State::Known { mac, heard }) => {
                self.tell(Event::Neighbour(Update::NeighbourFound {
                    segment: Segment::Lan(id),
                    address: address.into(),
                    mac,
                }));
                if cx.now.since(heard) >= REACHABLE && self.pending.len() < PENDING {
                    self.ask(cx, id, address, Some(mac), 0);
                }
            }
            None if self.pending.len() >= PENDING => {
                self.tell(Event::Neighbour(Update::NeighbourFailed {
                    segment: Segment::Lan(id),
                    address: address.into(),
                }));
            }
            None => {
                self.make_room(id);
                self.ask(cx, id, address, None, 0);
            }
        }
    }

    /// The deadline of an address that is being asked for has come.
    fn ask_again(&mut self, cx: &mut Cx<'_>, id: LanId, address: Ipv4Addr) {
        let Some(lan) = self.lans.get_mut(id.index()) else { return };
        match lan.neighbours.get(&address).copied() {
            Some(State::Incomplete { tries, .. }) if tries < TRIES => self.ask(cx, id, address, None, tries),
            Some(State::Probing { mac, tries, .. }) if tries < 2 * TRIES => {
                self.ask(cx, id, address, Some(mac), tries);
            }
            Some(State::Incomplete { .. } | State::Probing { .. }) => {
                lan.neighbours.remove(&address);
                self.tell(Event::Neighbour(Update::NeighbourFailed {
                    segment: Segment::Lan(id),
                    address: address.into(),
                }));
            }
            Some(State::Known { .. }) | None => {}
        }
    }

    /// Sends the question number `tries` for an address: by unicast to a station that is known, at first.
    fn ask(&mut self, cx: &mut Cx<'_>, id: LanId, address: Ipv4Addr, mac: Option<Mac>, tries: u8) {
        let Some(lan) = self.lans.get_mut(id.index()) else { return };
        let next = cx.now + RETRY;
        let tries = tries.saturating_add(1);
        let state = match mac {
            Some(mac) => State::Probing { mac, tries, next },
            None => State::Incomplete { tries, next },
        };
        lan.neighbours.insert(address, state);
        self.pending.insert((next, id, address));
        let station = lan.station;
        let request = Packet {
            operation: Operation::Request,
            sender_mac: station.mac,
            sender: station.address.address,
            target_mac: Mac::default(),
            target: address,
        };
        let destination = mac.filter(|_| tries <= TRIES).unwrap_or(Mac::BROADCAST);
        self.send(id, destination, request);
    }

    /// Forgets some station when the table is full. Which one is up to the hash: nobody can choose.
    fn make_room(&mut self, id: LanId) {
        let Some(lan) = self.lans.get_mut(id.index()) else { return };
        if lan.neighbours.len() < NEIGHBOURS {
            return;
        }
        let known = |state: &State| matches!(state, State::Known { .. });
        let victim = lan.neighbours.iter().find(|(_, state)| known(state)).map(|(&address, _)| address);
        if let Some(address) = victim {
            lan.neighbours.remove(&address);
        }
    }

    fn defend(&mut self, cx: &mut Cx<'_>, id: LanId, mac: Mac) {
        if self.report_conflict(cx, id, mac)
            && let Some(station) = self.lans.get(id.index()).map(|lan| lan.station)
        {
            self.send_announcement(id, station);
        }
    }

    /// Reports a station that wants the router's address; false when the last report is too fresh.
    fn report_conflict(&mut self, cx: &mut Cx<'_>, id: LanId, mac: Mac) -> bool {
        let Some(lan) = self.lans.get_mut(id.index()) else { return false };
        if lan.last_defence.is_some_and(|last| cx.now.since(last) < DEFEND_INTERVAL) {
            return false;
        }
        lan.last_defence = Some(cx.now);
        let address = lan.station.address.address;
        self.tell(Event::Conflict { lan: id, address, mac });
        true
    }

    fn send_announcement(&mut self, id: LanId, station: Station) {
        let own = station.address.address;
        let announcement = Packet {
            operation: Operation::Request,
            sender_mac: station.mac,
            sender: own,
            target_mac: Mac::default(),
            target: own,
        };
        self.send(id, Mac::BROADCAST, announcement);
    }

    fn send(&mut self, id: LanId, destination: Mac, packet: Packet) -> bool {
        let room = self.transmit.len() < QUEUE;
        if room {
            self.transmit.push_back((id, destination, packet));
        }
        room
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

/// True for an address of the network that a host can have.
fn is_host(network: Ipv4Cidr, address: Ipv4Addr) -> bool {
    let edge = network.prefix < 31 && (address == network.network() || Some(address) == network.broadcast());
    network.contains(address) && !edge && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const HOST: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
    const LAN: LanId = LanId(0);

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, last)
    }

    struct Bench {
        arp: Arp,
        rng: SeededRng,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let mut rng = SeededRng::from_u64(1);
            let station = Station { mac: ROUTER, address: Ipv4Cidr { address: ip(1), prefix: 24 } };
            let now = Instant::from_secs(100);
            let arp = Arp::new(&mut Cx { now, rng: &mut rng }, [station]);
            let mut bench = Bench { arp, rng, now };
            assert_eq!(bench.sent().len(), 1, "the announcement on start");
            bench.wait(ANNOUNCE_INTERVAL);
            assert_eq!(bench.sent().len(), 1, "and its repetition");
            bench
        }

        fn receive(&mut self, frame: &[u8]) -> Result<(), DropReason> {
            let mut cx = Cx { now: self.now, rng: &mut self.rng };
            self.arp.handle(&mut cx, Input::Frame { lan: LAN, frame })
        }

        fn hear(
            &mut self,
            operation: Operation,
            mac: Mac,
            sender: Ipv4Addr,
            target: Ipv4Addr,
        ) -> Result<(), DropReason> {
            let target_mac = Mac::default();
            self.receive(&frame(Packet { operation, sender_mac: mac, sender, target_mac, target }))
        }

        fn resolve(&mut self, address: Ipv4Addr) {
            let mut cx = Cx { now: self.now, rng: &mut self.rng };
            self.arp
                .handle(
                    &mut cx,
                    Input::Resolve(Resolve { segment: Segment::Lan(LAN), address: address.into() }),
                )
                .unwrap();
        }

        fn wait(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(due) = self.arp.poll_timeout().filter(|&due| due <= end) {
                self.now = self.now.max(due);
                self.arp.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
            }
            self.now = end;
        }

        fn sent(&mut self) -> Vec<(Mac, Packet)> {
            let mut out = Vec::new();
            loop {
                let mut frame = Frame::with_capacity(2048);
                let Some(lan) = self.arp.poll_transmit(&mut frame) else { return out };
                assert_eq!(lan, LAN);
                assert_eq!(frame.len(), FRAME_LEN);
                out.push((Mac::read(frame.bytes()).unwrap(), Packet::parse(frame.bytes()).unwrap()));
            }
        }

        fn events(&mut self) -> Vec<Event> {
            core::iter::from_fn(|| self.arp.poll_event()).collect()
        }
    }

    fn frame(packet: Packet) -> Vec<u8> {
        let mut frame = Frame::with_capacity(2048);
        assert!(packet.emit(Mac::BROADCAST, &mut frame));
        frame.bytes().to_vec()
    }

    fn found(address: Ipv4Addr, mac: Mac) -> Event {
        Event::Neighbour(Update::NeighbourFound { segment: Segment::Lan(LAN), address: address.into(), mac })
    }

    fn failed(address: Ipv4Addr) -> Event {
        Event::Neighbour(Update::NeighbourFailed { segment: Segment::Lan(LAN), address: address.into() })
    }

    #[test]
    fn rfc826_a_request_for_the_router_is_answered_and_teaches_its_sender() {
        let mut bench = Bench::new();
        bench.hear(Operation::Request, HOST, ip(20), ip(1)).unwrap();
        let sent = bench.sent();
        let (destination, reply) = sent[0];
        assert_eq!((sent.len(), destination), (1, HOST));
        assert_eq!((reply.operation, reply.sender, reply.sender_mac), (Operation::Reply, ip(1), ROUTER));
        assert_eq!((reply.target, reply.target_mac), (ip(20), HOST));
        assert_eq!(bench.events(), [found(ip(20), HOST)]);
        bench.hear(Operation::Request, HOST, ip(20), ip(30)).unwrap();
        assert!(bench.sent().is_empty(), "the router answers for nobody else");
    }

    #[test]
    fn rfc826_a_question_is_repeated_three_times_and_then_fails() {
        let mut bench = Bench::new();
        bench.resolve(ip(7));
        bench.resolve(ip(7));
        let (destination, request) = bench.sent()[0];
        assert_eq!(
            (destination, request.operation, request.target),
            (Mac::BROADCAST, Operation::Request, ip(7))
        );
        bench.wait(Duration::from_millis(2500));
        assert_eq!(bench.sent().len(), 2);
        assert!(bench.events().is_empty());
        bench.wait(Duration::from_secs(1));
        assert_eq!(bench.events(), [failed(ip(7))]);
        assert_eq!(bench.arp.poll_timeout(), None);
    }

    #[test]
    fn rfc826_a_reply_ends_the_question() {
        let mut bench = Bench::new();
        bench.resolve(ip(7));
        bench.hear(Operation::Reply, HOST, ip(7), ip(1)).unwrap();
        assert_eq!(bench.events(), [found(ip(7), HOST)]);
        assert_eq!(bench.arp.poll_timeout(), None);
        bench.resolve(ip(7));
        assert_eq!(bench.events(), [found(ip(7), HOST)], "a fresh entry is told at once");
        assert_eq!(bench.sent().len(), 1, "and not asked for again");
    }

    #[test]
    fn a_silent_station_is_probed_by_unicast_then_by_broadcast_then_given_up() {
        let mut bench = Bench::new();
        bench.hear(Operation::Request, HOST, ip(20), ip(1)).unwrap();
        bench.wait(REACHABLE);
        bench.sent();
        bench.events();
        bench.resolve(ip(20));
        assert_eq!(bench.events(), [found(ip(20), HOST)], "traffic goes on while it is probed");
        bench.wait(Duration::from_secs(10));
        let destinations: Vec<Mac> = bench.sent().iter().map(|(to, _)| *to).collect();
        assert_eq!(destinations, [HOST, HOST, HOST, Mac::BROADCAST, Mac::BROADCAST, Mac::BROADCAST]);
        assert_eq!(bench.events(), [failed(ip(20))]);
    }

    #[test]
    fn a_probed_station_that_answers_stays() {
        let mut bench = Bench::new();
        bench.hear(Operation::Request, HOST, ip(20), ip(1)).unwrap();
        bench.wait(REACHABLE);
        bench.resolve(ip(20));
        bench.events();
        bench.hear(Operation::Reply, HOST, ip(20), ip(1)).unwrap();
        assert_eq!(bench.arp.poll_timeout(), None);
        assert!(bench.events().is_empty());
    }

    #[test]
    fn a_gratuitous_arp_moves_a_known_station_and_plants_no_unknown_one() {
        let mut bench = Bench::new();
        let moved = Mac([2, 0, 0, 0, 0, 0x11]);
        bench.hear(Operation::Request, HOST, ip(20), ip(20)).unwrap();
        bench.hear(Operation::Reply, HOST, ip(20), ip(1)).unwrap();
        assert!(bench.events().is_empty());
        bench.hear(Operation::Request, HOST, ip(20), ip(1)).unwrap();
        bench.hear(Operation::Request, moved, ip(20), ip(20)).unwrap();
        assert_eq!(bench.events(), [found(ip(20), HOST), found(ip(20), moved)]);
    }

    #[test]
    fn rfc5227_a_claim_of_the_routers_address_is_refused_told_and_answered_once() {
        let mut bench = Bench::new();
        for _ in 0..5 {
            assert_eq!(bench.hear(Operation::Reply, HOST, ip(1), ip(20)), Err(DropReason::ArpSpoofed));
        }
        assert_eq!(bench.events(), [Event::Conflict { lan: LAN, address: ip(1), mac: HOST }]);
        let (destination, defence) = bench.sent()[0];
        assert_eq!((destination, defence.sender, defence.target), (Mac::BROADCAST, ip(1), ip(1)));
        assert!(bench.sent().is_empty());
    }

    #[test]
    fn rfc5227_a_probe_for_the_routers_address_is_answered() {
        let mut bench = Bench::new();
        bench.hear(Operation::Request, HOST, Ipv4Addr::UNSPECIFIED, ip(1)).unwrap();
        assert_eq!(bench.sent()[0].1.operation, Operation::Reply);
        assert_eq!(bench.events(), [Event::Conflict { lan: LAN, address: ip(1), mac: HOST }]);
        bench.hear(Operation::Request, HOST, Ipv4Addr::UNSPECIFIED, ip(9)).unwrap();
        assert!(bench.sent().is_empty());
    }

    #[test]
    fn a_sender_outside_the_network_teaches_nothing() {
        let mut bench = Bench::new();
        for sender in [Ipv4Addr::new(10, 0, 0, 1), ip(0), ip(255), Ipv4Addr::BROADCAST] {
            assert_eq!(bench.hear(Operation::Request, HOST, sender, ip(1)), Err(DropReason::ArpSpoofed));
        }
        assert_eq!(bench.hear(Operation::Request, ROUTER, ip(9), ip(1)), Err(DropReason::OwnSourceMac));
        assert_eq!(
            bench.hear(Operation::Request, Mac::BROADCAST, ip(9), ip(1)),
            Err(DropReason::ArpMalformed)
        );
        assert!(bench.events().is_empty());
        assert!(bench.sent().is_empty());
    }

    #[test]
    fn an_address_that_no_host_can_have_fails_at_once() {
        let mut bench = Bench::new();
        for address in [ip(1), ip(0), ip(255), Ipv4Addr::new(10, 0, 0, 1)] {
            bench.resolve(address);
            assert_eq!(bench.events(), [failed(address)]);
        }
        assert!(bench.sent().is_empty());
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_senders_and_questions() {
        let mut rng = SeededRng::from_u64(2);
        let now = Instant::ZERO;
        let station =
            Station { mac: ROUTER, address: Ipv4Cidr { address: Ipv4Addr::new(10, 0, 0, 1), prefix: 8 } };
        let mut arp = Arp::new(&mut Cx { now, rng: &mut rng }, [station]);
        for n in 0..20_000u32 {
            let address = Ipv4Addr::from(0x0a01_0000 + n);
            let mut cx = Cx { now, rng: &mut rng };
            arp.handle(
                &mut cx,
                Input::Resolve(Resolve { segment: Segment::Lan(LAN), address: address.into() }),
            )
            .unwrap();
            let target_mac = Mac::default();
            let target = Ipv4Addr::new(10, 0, 0, 1);
            let sender = Ipv4Addr::from(0x0a02_0000 + n);
            let request =
                Packet { operation: Operation::Request, sender_mac: HOST, sender, target_mac, target };
            let _ = arp.handle(&mut cx, Input::Frame { lan: LAN, frame: &frame(request) });
        }
        assert!(arp.pending.len() <= PENDING);
        assert!(arp.lans[0].neighbours.len() <= NEIGHBOURS);
        assert!(arp.transmit.len() <= QUEUE);
        assert!(arp.events.len() <= EVENTS);
    }

    #[test]
    fn every_truncation_and_bit_flip_is_survived() {
        let mut bench = Bench::new();
        let target_mac = Mac::default();
        let whole = frame(Packet {
            operation: Operation::Request,
            sender_mac: HOST,
            sender: ip(20),
            target_mac,
            target: ip(1),
        });
        for len in 0..whole.len() {
            assert!(bench.receive(&whole[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = bench.receive(&flipped);
        }
        for room in 0..FRAME_LEN {
            let mut small = Frame::with_capacity(crate::frame::HEADROOM + room);
            assert!(!Packet::parse(&whole).unwrap().emit(HOST, &mut small));
            assert!(small.is_empty(), "no half of a frame");
        }
        let mut padded = whole.clone();
        padded.resize(60, 0xaa);
        assert_eq!(Packet::parse(&padded), Packet::parse(&whole));
    }
}
