//! The address resolution protocol (RFC 826) for every Ethernet segment of the gateway: LANs, and what is beyond plain
//! uplinks.
//!
//! How it works:
//!
//! 1. The router announces its address on each segment, twice (RFC 5227 §2.3): on a LAN on start, beyond an uplink when
//!    it gets one there. Beyond an uplink, without an address, nothing is said or listened to.
//! 2. A frame is taken apart by [`Packet::parse`] and judged: a sender that bears the router's address, or one that the
//!    segment does not hold, teaches nothing (`DropReason::ArpSpoofed`).
//! 3. A request for the router's address is answered, and its sender learnt on a LAN. Everything else that a station
//!    says only refreshes what is known already, so that an unasked reply cannot plant a neighbour.
//! 4. Beyond an uplink are strangers: there only the answer to a question teaches. A station that claims a known address
//!    unasked makes the router ask everyone whose it is.
//! 5. The Forwarder asks by [`Resolve`]. An unknown address is asked for by broadcast, once a second, three times; a
//!    known one is told at once, and when it has not been heard of for [`REACHABLE`] it is probed by unicast first and
//!    by broadcast then. The Forwarder repeats its question while it uses an address; that keeps the entry fresh. After
//!    something that we have not seen ([`Arp::reconfirm`]) every station is probed before it counts as heard of.
//! 6. Someone who claims the router's address is reported, and answered with an announcement (RFC 5227 §2.4).
//!
//! Memory is bounded by [`NEIGHBOURS`] for each segment and [`PENDING`] questions in all.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use crate::forward::{Resolve, Update};
use crate::frame::Frame;
use crate::id::{Ipv4Cidr, Mac, Segment};
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
/// Most stations known on one segment.
pub const NEIGHBOURS: usize = 4096;
/// Most addresses asked for at once, on all segments.
pub const PENDING: usize = 1024;

/// Announcements of an address, and the time between them (RFC 5227 §1.1).
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

/// The router on one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station {
    /// Where it is.
    pub segment: Segment,
    /// Its Ethernet address there.
    pub mac: Mac,
    /// Its address there, and the segment's network. `None` until it has one.
    pub address: Option<Ipv4Cidr>,
}

/// What can happen to the machine.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// An ARP frame came in; the bytes begin at its Ethernet header.
    Frame {
        /// Where it came in.
        segment: Segment,
        /// The frame.
        frame: &'a [u8],
    },
    /// The router's address on a segment, and the network there, are these now.
    Address {
        /// The segment.
        segment: Segment,
        /// The address; `None` when it has none any more.
        address: Option<Ipv4Cidr>,
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
        /// Where.
        segment: Segment,
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
                "the station {mac} also uses the router's address {address}; the router keeps it and tells everyone there"
            ),
        }
    }
}

/// What is known of one address.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Asked for by broadcast; no station is known.
    Incomplete { tries: u8, next: Instant },
    /// The station was `heard` of then, or before something that we have not seen.
    Known { mac: Mac, heard: Option<Instant> },
    /// The station is known and has been silent for long; it is being asked.
    Probing { mac: Mac, tries: u8, next: Instant },
}

#[derive(Debug)]
struct Attached {
    mac: Mac,
    address: Option<Ipv4Cidr>,
    neighbours: Map<Ipv4Addr, State>,
    announcements: u8,
    next_announcement: Instant,
    last_defence: Option<Instant>,
}

/// The address resolution protocol on every segment.
#[derive(Debug)]
pub struct Arp {
    segments: BTreeMap<Segment, Attached>,
    /// Deadlines of the addresses that are being asked for.
    pending: BTreeSet<(Instant, Segment, Ipv4Addr)>,
    transmit: VecDeque<(Segment, Mac, Packet)>,
    events: VecDeque<Event>,
}

impl Arp {
    /// A machine for `stations`, one for each segment. It announces those that have an address at once.
    pub fn new(cx: &mut Cx<'_>, stations: impl IntoIterator<Item = Station>) -> Self {
        let mut segments = BTreeMap::new();
        for Station { segment, mac, address } in stations {
            let attached = Attached {
                mac,
                address,
                neighbours: Map::with_hasher(Seed::draw(cx.rng)),
                announcements: if address.is_some() { ANNOUNCEMENTS } else { 0 },
                next_announcement: cx.now,
                last_defence: None,
            };
            segments.insert(segment, attached);
        }
        let mut arp =
            Arp { segments, pending: BTreeSet::new(), transmit: VecDeque::new(), events: VecDeque::new() };
        arp.handle_timeout(cx);
        arp
    }

    /// Something happened. An error says why a frame was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        match input {
            Input::Frame { segment, frame } => return self.receive(cx, segment, &Packet::parse(frame)?),
            Input::Address { segment, address } => self.set_address(cx, segment, address),
            Input::Resolve(Resolve { segment, address: IpAddr::V4(address) }) => {
                self.resolve(cx, segment, address);
            }
            Input::Resolve(Resolve { address: IpAddr::V6(_), .. }) => {}
        }
        Ok(())
    }

    /// The stations of these segments may be others by now, or have forgotten us: they are told of us again, and each is
    /// probed when it is asked for next.
    pub fn reconfirm(&mut self, cx: &mut Cx<'_>, which: impl Fn(Segment) -> bool) {
        for (_, attached) in self.segments.iter_mut().filter(|(segment, _)| which(**segment)) {
            for state in attached.neighbours.values_mut() {
                if let State::Known { heard, .. } = state {
                    *heard = None;
                }
            }
            if attached.address.is_some() {
                (attached.announcements, attached.next_announcement) = (ANNOUNCEMENTS, cx.now);
            }
        }
        self.handle_timeout(cx);
    }

    /// Announces, asks again, gives up: whatever is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let mut due = VecDeque::new();
        for (&segment, attached) in &mut self.segments {
            if attached.announcements > 0 && attached.next_announcement <= cx.now {
                attached.announcements -= 1;
                attached.next_announcement = cx.now + ANNOUNCE_INTERVAL;
                due.push_back(segment);
            }
        }
        due.into_iter().for_each(|segment| self.send_announcement(segment));
        while let Some(&(due, segment, address)) = self.pending.first() {
            if due > cx.now {
                break;
            }
            self.pending.pop_first();
            self.ask_again(cx, segment, address);
        }
    }

    /// When the machine wants to be called next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let announcements = self
            .segments
            .values()
            .filter(|attached| attached.announcements > 0)
            .map(|attached| attached.next_announcement);
        announcements.chain(self.pending.first().map(|&(due, ..)| due)).min()
    }

    /// Writes the next Ethernet frame into `frame` and says where it goes.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Segment> {
        let (segment, destination, packet) = self.transmit.pop_front()?;
        packet.emit(destination, frame).then_some(segment)
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Another address is another network, of which nothing is known.
    fn set_address(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Option<Ipv4Cidr>) {
        let Some(attached) = self.segments.get_mut(&segment) else { return };
        if attached.address == address {
            return;
        }
        attached.address = address;
        attached.neighbours.clear();
        attached.announcements = if address.is_some() { ANNOUNCEMENTS } else { 0 };
        attached.next_announcement = cx.now;
        attached.last_defence = None;
        self.pending.retain(|&(_, of, _)| of != segment);
        self.transmit.retain(|&(of, ..)| of != segment);
        self.handle_timeout(cx);
    }

    fn receive(&mut self, cx: &mut Cx<'_>, segment: Segment, packet: &Packet) -> Result<(), DropReason> {
        let attached = self.segments.get(&segment).ok_or(DropReason::ArpMalformed)?;
        let network = attached.address.ok_or(DropReason::WanDown)?;
        let (mac, own) = (attached.mac, network.address);
        if packet.sender_mac == mac {
            return Err(DropReason::OwnSourceMac);
        }
        if packet.sender == own {
            self.defend(cx, segment, packet.sender_mac);
            return Err(DropReason::ArpSpoofed);
        }
        let probe = packet.sender.is_unspecified();
        if !probe && !may_be_neighbour(segment, network, packet.sender) {
            return Err(DropReason::ArpSpoofed);
        }
        let asked = packet.operation == Operation::Request && packet.target == own;
        if !probe {
            match segment {
                Segment::Lan(_) => self.learn(cx, segment, packet.sender, packet.sender_mac, asked),
                Segment::Wan(_) => self.learn_from_stranger(cx, segment, own, packet),
            }
        }
        if asked {
            let reply = Packet {
                operation: Operation::Reply,
                sender_mac: mac,
                sender: own,
                target_mac: packet.sender_mac,
                target: packet.sender,
            };
            if !self.send(segment, packet.sender_mac, reply) {
                return Err(DropReason::ServiceOverload);
            }
            if probe {
                self.report_conflict(cx, segment, packet.sender_mac);
            }
        }
        Ok(())
    }

    /// Takes note of a station. An unknown one is taken in only when it `asked` for us.
    fn learn(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv4Addr, mac: Mac, asked: bool) {
        let Some(attached) = self.segments.get_mut(&segment) else { return };
        let known = State::Known { mac, heard: Some(cx.now) };
        let news = match attached.neighbours.get_mut(&address) {
            Some(state) => {
                let before = core::mem::replace(state, known);
                match before {
                    State::Incomplete { next, .. } => {
                        self.pending.remove(&(next, segment, address));
                        true
                    }
                    State::Probing { next, mac: old, .. } => {
                        self.pending.remove(&(next, segment, address));
                        old != mac
                    }
                    State::Known { mac: old, .. } => old != mac,
                }
            }
            None if asked => {
                self.make_room(segment);
                if let Some(attached) = self.segments.get_mut(&segment) {
                    attached.neighbours.insert(address, known);
                }
                true
            }
            None => false,
        };
        if news {
            self.tell_found(segment, address, mac);
        }
    }

    /// Takes note of a station beyond an uplink, if we have asked for it.
    fn learn_from_stranger(&mut self, cx: &mut Cx<'_>, segment: Segment, own: Ipv4Addr, packet: &Packet) {
        let Packet { sender: address, sender_mac: mac, .. } = *packet;
        let answers = packet.operation == Operation::Reply && packet.target == own;
        let state =
            self.segments.get(&segment).and_then(|attached| attached.neighbours.get(&address).copied());
        match state {
            Some(State::Known { mac: old, heard }) if old != mac => {
                let is_old = heard.is_none_or(|heard| cx.now.since(heard) >= RETRY);
                let may_ask = is_old && self.pending.len() < PENDING;
                if may_ask {
                    // Everyone at once: the one that is known may have gone.
                    self.ask(cx, segment, address, Some(old), TRIES);
                }
            }
            Some(State::Probing { mac: old, .. }) if old != mac && !answers => {}
            Some(State::Incomplete { .. }) if !answers => {}
            Some(_) => self.learn(cx, segment, address, mac, false),
            None => {}
        }
    }

    fn resolve(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv4Addr) {
        let Some(attached) = self.segments.get(&segment) else { return };
        let reachable =
            |network: Ipv4Cidr| address != network.address && may_be_neighbour(segment, network, address);
        if !attached.address.is_some_and(reachable) {
            return self.tell_failed(segment, address);
        }
        match attached.neighbours.get(&address).copied() {
            Some(State::Incomplete { .. }) => {}
            Some(State::Probing { mac, .. }) => self.tell_found(segment, address, mac),
            Some(State::Known { mac, heard }) => {
                self.tell_found(segment, address, mac);
                let is_old = heard.is_none_or(|heard| cx.now.since(heard) >= REACHABLE);
                if is_old && self.pending.len() < PENDING {
                    self.ask(cx, segment, address, Some(mac), 0);
                }
            }
            None if self.pending.len() >= PENDING => self.tell_failed(segment, address),
            None => {
                self.make_room(segment);
                self.ask(cx, segment, address, None, 0);
            }
        }
    }

    /// The deadline of an address that is being asked for has come.
    fn ask_again(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv4Addr) {
        let Some(attached) = self.segments.get_mut(&segment) else { return };
        match attached.neighbours.get(&address).copied() {
            Some(State::Incomplete { tries, .. }) if tries < TRIES => {
                self.ask(cx, segment, address, None, tries);
            }
            Some(State::Probing { mac, tries, .. }) if tries < 2 * TRIES => {
                self.ask(cx, segment, address, Some(mac), tries);
            }
            Some(State::Incomplete { .. } | State::Probing { .. }) => {
                attached.neighbours.remove(&address);
                self.tell_failed(segment, address);
            }
            Some(State::Known { .. }) | None => {}
        }
    }

    /// Sends the question number `tries` for an address: by unicast to a station that is known, at first.
    fn ask(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv4Addr, mac: Option<Mac>, tries: u8) {
        let Some(attached) = self.segments.get_mut(&segment) else { return };
        let Some(own) = attached.address else { return };
        let next = cx.now + RETRY;
        let tries = tries.saturating_add(1);
        let state = match mac {
            Some(mac) => State::Probing { mac, tries, next },
            None => State::Incomplete { tries, next },
        };
        attached.neighbours.insert(address, state);
        self.pending.insert((next, segment, address));
        let request = Packet {
            operation: Operation::Request,
            sender_mac: attached.mac,
            sender: own.address,
            target_mac: Mac::default(),
            target: address,
        };
        let destination = mac.filter(|_| tries <= TRIES).unwrap_or(Mac::BROADCAST);
        self.send(segment, destination, request);
    }

    /// Forgets some station when the table is full. Which one is up to the hash: nobody can choose.
    fn make_room(&mut self, segment: Segment) {
        let Some(attached) = self.segments.get_mut(&segment) else { return };
        if attached.neighbours.len() < NEIGHBOURS {
            return;
        }
        let known = |state: &State| matches!(state, State::Known { .. });
        let victim = attached.neighbours.iter().find(|(_, state)| known(state)).map(|(&address, _)| address);
        if let Some(address) = victim {
            attached.neighbours.remove(&address);
        }
    }

    fn defend(&mut self, cx: &mut Cx<'_>, segment: Segment, mac: Mac) {
        if self.report_conflict(cx, segment, mac) {
            self.send_announcement(segment);
        }
    }

    /// Reports a station that wants the router's address; false when the last report is too fresh.
    fn report_conflict(&mut self, cx: &mut Cx<'_>, segment: Segment, mac: Mac) -> bool {
        let Some(attached) = self.segments.get_mut(&segment) else { return false };
        let Some(own) = attached.address else { return false };
        if attached.last_defence.is_some_and(|last| cx.now.since(last) < DEFEND_INTERVAL) {
            return false;
        }
        attached.last_defence = Some(cx.now);
        self.tell(Event::Conflict { segment, address: own.address, mac });
        true
    }

    fn send_announcement(&mut self, segment: Segment) {
        let Some(Attached { mac, address: Some(own), .. }) = self.segments.get(&segment) else { return };
        let announcement = Packet {
            operation: Operation::Request,
            sender_mac: *mac,
            sender: own.address,
            target_mac: Mac::default(),
            target: own.address,
        };
        self.send(segment, Mac::BROADCAST, announcement);
    }

    fn send(&mut self, segment: Segment, destination: Mac, packet: Packet) -> bool {
        let room = self.transmit.len() < QUEUE;
        if room {
            self.transmit.push_back((segment, destination, packet));
        }
        room
    }

    fn tell_found(&mut self, segment: Segment, address: Ipv4Addr, mac: Mac) {
        self.tell(Event::Neighbour(Update::NeighbourFound { segment, address: address.into(), mac }));
    }

    fn tell_failed(&mut self, segment: Segment, address: Ipv4Addr) {
        self.tell(Event::Neighbour(Update::NeighbourFailed { segment, address: address.into() }));
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

/// True for an address that a station on the segment can have. Beyond an uplink that may be one outside the network: some
/// providers give a network of one address, with the default router elsewhere.
fn may_be_neighbour(segment: Segment, network: Ipv4Cidr, address: Ipv4Addr) -> bool {
    match segment {
        Segment::Wan(_) if !network.contains(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast())
        }
        _ => is_host(network, address),
    }
}

/// True for an address of the network that a host can have.
fn is_host(network: Ipv4Cidr, address: Ipv4Addr) -> bool {
    let edge = network.prefix < 31 && (address == network.network() || Some(address) == network.broadcast());
    network.contains(address) && !edge && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::id::{LanId, WanId};
    use crate::rng::SeededRng;

    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const HOST: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
    const LAN: Segment = Segment::Lan(LanId(0));
    const WAN: Segment = Segment::Wan(WanId(0));
    const GATEWAY: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, last)
    }

    struct Bench {
        arp: Arp,
        rng: SeededRng,
        now: Instant,
        /// What is listened and spoken on.
        segment: Segment,
    }

    impl Bench {
        fn new() -> Self {
            let mut rng = SeededRng::from_u64(1);
            let station = Station { segment: LAN, mac: ROUTER, address: Some(network(ip(1))) };
            let now = Instant::from_secs(100);
            let uplink = Station { segment: WAN, mac: ROUTER, address: None };
            let arp = Arp::new(&mut Cx { now, rng: &mut rng }, [station, uplink]);
            let mut bench = Bench { arp, rng, now, segment: LAN };
            assert_eq!(bench.sent().len(), 1, "the announcement on start");
            bench.wait(ANNOUNCE_INTERVAL);
            assert_eq!(bench.sent().len(), 1, "and its repetition");
            bench
        }

        fn receive(&mut self, frame: &[u8]) -> Result<(), DropReason> {
            let mut cx = Cx { now: self.now, rng: &mut self.rng };
            self.arp.handle(&mut cx, Input::Frame { segment: self.segment, frame })
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
            let question = Resolve { segment: self.segment, address: address.into() };
            self.arp.handle(&mut cx, Input::Resolve(question)).unwrap();
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
                let Some(segment) = self.arp.poll_transmit(&mut frame) else { return out };
                assert_eq!(segment, self.segment);
                assert_eq!(frame.len(), FRAME_LEN);
                out.push((Mac::read(frame.bytes()).unwrap(), Packet::parse(frame.bytes()).unwrap()));
            }
        }

        fn events(&mut self) -> Vec<Event> {
            core::iter::from_fn(|| self.arp.poll_event()).collect()
        }
    }

    fn network(address: Ipv4Addr) -> Ipv4Cidr {
        Ipv4Cidr { address, prefix: 24 }
    }

    fn wan(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, last)
    }

    fn frame(packet: Packet) -> Vec<u8> {
        let mut frame = Frame::with_capacity(2048);
        assert!(packet.emit(Mac::BROADCAST, &mut frame));
        frame.bytes().to_vec()
    }

    fn found(address: Ipv4Addr, mac: Mac) -> Event {
        Event::Neighbour(Update::NeighbourFound { segment: LAN, address: address.into(), mac })
    }

    fn failed(address: Ipv4Addr) -> Event {
        Event::Neighbour(Update::NeighbourFailed { segment: LAN, address: address.into() })
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
        assert_eq!(bench.events(), [Event::Conflict { segment: LAN, address: ip(1), mac: HOST }]);
        let (destination, defence) = bench.sent()[0];
        assert_eq!((destination, defence.sender, defence.target), (Mac::BROADCAST, ip(1), ip(1)));
        assert!(bench.sent().is_empty());
    }

    #[test]
    fn rfc5227_a_probe_for_the_routers_address_is_answered() {
        let mut bench = Bench::new();
        bench.hear(Operation::Request, HOST, Ipv4Addr::UNSPECIFIED, ip(1)).unwrap();
        assert_eq!(bench.sent()[0].1.operation, Operation::Reply);
        assert_eq!(bench.events(), [Event::Conflict { segment: LAN, address: ip(1), mac: HOST }]);
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

    /// The router has 203.0.113.5 beyond its uplink.
    fn beyond_the_uplink() -> Bench {
        let mut bench = Bench::new();
        bench.segment = WAN;
        bench.set_address(Some(wan(5)));
        assert_eq!(bench.sent().len(), 1);
        bench.wait(ANNOUNCE_INTERVAL);
        assert_eq!(bench.sent().len(), 1);
        bench
    }

    impl Bench {
        fn set_address(&mut self, address: Option<Ipv4Addr>) {
            let input = Input::Address { segment: WAN, address: address.map(network) };
            self.arp.handle(&mut Cx { now: self.now, rng: &mut self.rng }, input).unwrap();
        }
    }

    fn found_beyond(address: Ipv4Addr, mac: Mac) -> Event {
        Event::Neighbour(Update::NeighbourFound { segment: WAN, address: address.into(), mac })
    }

    #[test]
    fn rfc5227_an_address_beyond_an_uplink_is_announced_when_it_comes_and_not_defended_when_it_is_gone() {
        let mut bench = Bench::new();
        bench.segment = WAN;
        assert_eq!(bench.hear(Operation::Request, GATEWAY, wan(1), wan(5)), Err(DropReason::WanDown));
        bench.resolve(wan(1));
        let failed = Event::Neighbour(Update::NeighbourFailed { segment: WAN, address: wan(1).into() });
        assert_eq!(bench.events(), [failed]);
        for _ in 0..2 {
            bench.set_address(Some(wan(5)));
            bench.wait(Duration::from_secs(10));
        }
        let sent = bench.sent();
        assert_eq!(sent.len(), 2, "told twice, and the same address again is no news");
        assert!(sent.iter().all(|(to, packet)| *to == Mac::BROADCAST && packet.sender == wan(5)));
        bench.set_address(Some(wan(6)));
        assert_eq!(bench.sent()[0].1.sender, wan(6));
        bench.set_address(None);
        bench.wait(Duration::from_secs(10));
        assert_eq!(bench.hear(Operation::Reply, GATEWAY, wan(6), wan(6)), Err(DropReason::WanDown));
        assert!(bench.sent().is_empty() && bench.events().is_empty());
        assert_eq!(bench.arp.poll_timeout(), None);
    }

    #[test]
    fn another_address_beyond_an_uplink_begins_with_no_neighbours() {
        let mut bench = beyond_the_uplink();
        bench.resolve(wan(1));
        bench.hear(Operation::Reply, GATEWAY, wan(1), wan(5)).unwrap();
        bench.resolve(wan(2));
        bench.events();
        bench.set_address(Some(wan(6)));
        bench.sent();
        bench.resolve(wan(1));
        assert!(bench.events().is_empty(), "nothing is known");
        assert_eq!(bench.sent()[0].1.target, wan(1));
    }

    #[test]
    fn strangers_beyond_an_uplink_teach_only_what_was_asked() {
        let mut bench = beyond_the_uplink();
        // One that asks for us is answered, and not taken in.
        bench.hear(Operation::Request, HOST, wan(20), wan(5)).unwrap();
        assert_eq!(bench.sent()[0].0, HOST);
        assert!(bench.events().is_empty());
        bench.resolve(wan(1));
        assert_eq!(bench.sent().len(), 1);
        for (operation, target) in
            [(Operation::Request, wan(5)), (Operation::Request, wan(1)), (Operation::Reply, wan(9))]
        {
            bench.hear(operation, HOST, wan(1), target).unwrap();
        }
        assert!(bench.events().is_empty(), "none of these is an answer");
        bench.sent();
        bench.hear(Operation::Reply, GATEWAY, wan(1), wan(5)).unwrap();
        assert_eq!(bench.events(), [found_beyond(wan(1), GATEWAY)]);
        // Who claims the gateway's address does not get its traffic; everyone is asked whose it is.
        bench.wait(Duration::from_secs(5));
        bench.hear(Operation::Reply, HOST, wan(1), wan(5)).unwrap();
        bench.hear(Operation::Request, HOST, wan(1), wan(1)).unwrap();
        assert!(bench.events().is_empty());
        let sent = bench.sent();
        assert_eq!((sent.len(), sent[0].0, sent[0].1.target), (1, Mac::BROADCAST, wan(1)));
        bench.hear(Operation::Reply, GATEWAY, wan(1), wan(5)).unwrap();
        assert!(bench.events().is_empty(), "it is where it was");
        // A gateway that was replaced answers.
        bench.wait(Duration::from_secs(5));
        bench.hear(Operation::Request, HOST, wan(1), wan(1)).unwrap();
        bench.hear(Operation::Reply, HOST, wan(1), wan(5)).unwrap();
        assert_eq!(bench.events(), [found_beyond(wan(1), HOST)]);
    }

    #[test]
    fn a_gateway_outside_the_network_is_found_beyond_an_uplink() {
        let mut bench = beyond_the_uplink();
        let far = Ipv4Addr::new(10, 0, 0, 1);
        bench.resolve(far);
        bench.hear(Operation::Reply, GATEWAY, far, wan(5)).unwrap();
        assert_eq!(bench.events(), [found_beyond(far, GATEWAY)]);
        for address in [wan(0), wan(255), Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1), wan(5)] {
            bench.resolve(address);
            let failed = Event::Neighbour(Update::NeighbourFailed { segment: WAN, address: address.into() });
            assert_eq!(bench.events(), [failed]);
        }
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_senders_and_questions() {
        let mut rng = SeededRng::from_u64(2);
        let now = Instant::ZERO;
        let station = Station {
            segment: LAN,
            mac: ROUTER,
            address: Some(Ipv4Cidr { address: Ipv4Addr::new(10, 0, 0, 1), prefix: 8 }),
        };
        let mut arp = Arp::new(&mut Cx { now, rng: &mut rng }, [station]);
        for n in 0..20_000u32 {
            let address = Ipv4Addr::from(0x0a01_0000 + n);
            let mut cx = Cx { now, rng: &mut rng };
            arp.handle(&mut cx, Input::Resolve(Resolve { segment: LAN, address: address.into() })).unwrap();
            let target_mac = Mac::default();
            let target = Ipv4Addr::new(10, 0, 0, 1);
            let sender = Ipv4Addr::from(0x0a02_0000 + n);
            let request =
                Packet { operation: Operation::Request, sender_mac: HOST, sender, target_mac, target };
            let _ = arp.handle(&mut cx, Input::Frame { segment: LAN, frame: &frame(request) });
        }
        assert!(arp.pending.len() <= PENDING);
        assert!(arp.segments[&LAN].neighbours.len() <= NEIGHBOURS);
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
