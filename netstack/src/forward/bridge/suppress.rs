//! Questions of ARP and Neighbor Discovery that need not be asked behind the peers, because the answer is known.
//!
//! Which station has which address is read off what passes the bridge: senders of ARP packets, advertisements of Neighbor
//! Discovery. When a station of the LAN asks everyone for such an address, and the station that has it
//!
//! - is behind a peer, the question is answered here, in that station's name;
//! - is on the LAN itself, the question goes to the LAN alone.
//!
//! An answer is never wrong for long, and a doubtful one is not given: an entry holds for [`AGEING`] after it was last
//! heard, no longer than its station stays behind the bridge port by which it was heard, and not at all while two stations
//! claim the address. Announcements, and questions of who has no address yet (RFC 5227 §2.1, RFC 4862 §5.4), always go to
//! everyone: they ask whether an address is free. Of an advertisement it is remembered whether a router sent it, for
//! an answer that says otherwise would take a route from hosts (RFC 4861 §7.2.5).

use core::net::{IpAddr, Ipv6Addr};

use crate::arp;
use crate::forward::bridge::BridgePort;
use crate::frame::Frame;
use crate::id::Mac;
use crate::ndp::message::{Message, Packet};
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::{Header, ethertype};
use crate::wire::ipv6::{HEADER, ICMPV6};
use crate::wire::octets::u8_at;

/// Time for which an address is known after it was last heard of.
pub const AGEING: Duration = Duration::from_secs(60);

/// Most addresses known.
pub const ADDRESSES: usize = 16_384;

const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// How far a frame for everyone goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To every bridge port.
    Everyone,
    /// To the LAN's own ports.
    Ports,
    /// Nowhere: it is a question, and this is the answer.
    Answered(Answer),
}

/// The answer to a question, in the name of the station that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Of ARP.
    Arp(arp::Packet),
    /// Of Neighbor Discovery.
    Ndp {
        /// Who asked.
        asker: (Ipv6Addr, Mac),
        /// What was asked for.
        target: Ipv6Addr,
        /// Who has it.
        station: Mac,
        /// It is a router.
        is_router: bool,
    },
}

impl Answer {
    /// Room for any answer, in octets.
    pub const ROOM: usize = 128;

    /// Writes the Ethernet frame into an empty one. False when there is no room.
    pub fn emit(&self, frame: &mut Frame) -> bool {
        match *self {
            Answer::Arp(packet) => packet.emit(packet.target_mac, frame),
            Answer::Ndp { asker: (destination, mac), target, station, is_router } => {
                let message = Message::NeighbourAdvertisement {
                    target,
                    router: is_router,
                    solicited: true,
                    overrides: true,
                    target_link_layer: Some(station),
                };
                let header = Header { destination: mac, source: station, ethertype: ethertype::IPV6 };
                Packet { source: target, destination, message }.emit(frame) && header.push(frame)
            }
        }
    }
}

/// "Who has it?", asked of everyone by somebody who has an address.
enum Question {
    /// By ARP.
    Arp(arp::Packet),
    /// By Neighbor Discovery.
    Ndp { asker: Ipv6Addr, target: Ipv6Addr },
}

impl Question {
    fn target(&self) -> IpAddr {
        match self {
            Question::Arp(packet) => packet.target.into(),
            Question::Ndp { target, .. } => (*target).into(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Who has the address. `None` when two stations have said so.
    owner: Option<Owner>,
    /// When that was said last.
    heard: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    station: Mac,
    /// Where it was heard.
    port: BridgePort,
    is_router: bool,
}

/// The addresses known on a LAN.
#[derive(Debug)]
pub struct Suppressor {
    entries: Map<IpAddr, Entry>,
    next_sweep: Option<Instant>,
}

impl Suppressor {
    /// Without addresses.
    pub fn new(seed: Seed) -> Self {
        Suppressor { entries: Map::with_hasher(seed), next_sweep: None }
    }

    /// A frame has come by the bridge port `from`: notes what it claims, and says how far it goes if it is for everyone.
    /// `place` knows where a station is, `is_own` which addresses are the router's: it answers for them itself, and
    /// nobody else does.
    pub fn handle(
        &mut self,
        now: Instant,
        from: BridgePort,
        frame: &[u8],
        place: impl Fn(Mac) -> Option<BridgePort>,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Reach {
        let Some((header, payload)) = Header::parse(frame) else { return Reach::Everyone };
        let question = match header.ethertype {
            ethertype::ARP => self.arp(now, from, header, frame),
            ethertype::IPV6 => self.ndp(now, from, header, payload),
            _ => None,
        };
        let Some(question) = question.filter(|_| matches!(from, BridgePort::Port(_))) else {
            return Reach::Everyone;
        };
        let target = question.target();
        if is_own(target) {
            return Reach::Ports;
        }
        let fresh = self.entries.get(&target).filter(|entry| now.since(entry.heard) < AGEING);
        match fresh.and_then(|entry| entry.owner).filter(|owner| place(owner.station) == Some(owner.port)) {
            None => Reach::Everyone,
            Some(Owner { port: BridgePort::Port(_), .. }) => Reach::Ports,
            Some(Owner { station, is_router, .. }) => Reach::Answered(match question {
                Question::Arp(question) => Answer::Arp(arp::Packet {
                    operation: arp::Operation::Reply,
                    sender_mac: station,
                    sender: question.target,
                    target_mac: question.sender_mac,
                    target: question.sender,
                }),
                Question::Ndp { asker, target } => {
                    Answer::Ndp { asker: (asker, header.source), target, station, is_router }
                }
            }),
        }
    }

    /// What an ARP packet says; its sender is noted.
    fn arp(&mut self, now: Instant, from: BridgePort, header: Header, frame: &[u8]) -> Option<Question> {
        let packet = arp::Packet::parse(frame).ok().filter(|packet| packet.sender_mac == header.source)?;
        if packet.sender.is_unspecified() {
            return None;
        }
        self.note(now, packet.sender.into(), Owner { station: header.source, port: from, is_router: false });
        let asks = packet.operation == arp::Operation::Request && packet.sender != packet.target;
        (asks && header.destination.is_group()).then_some(Question::Arp(packet))
    }

    /// What a packet of Neighbor Discovery says; an advertised address is noted.
    fn ndp(&mut self, now: Instant, from: BridgePort, header: Header, payload: &[u8]) -> Option<Question> {
        let kind = u8_at(payload, HEADER)?;
        if u8_at(payload, 6)? != ICMPV6 || !matches!(kind, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT) {
            return None;
        }
        let packet = Packet::parse(payload).ok()?;
        match packet.message {
            Message::NeighbourAdvertisement { target, router, target_link_layer, .. }
                if target_link_layer == Some(header.source) =>
            {
                let owner = Owner { station: header.source, port: from, is_router: router };
                self.note(now, target.into(), owner);
                None
            }
            Message::NeighbourSolicitation { target, .. }
                if !packet.source.is_unspecified()
                    && packet.source != target
                    && header.destination.is_group() =>
            {
                Some(Question::Ndp { asker: packet.source, target })
            }
            _ => None,
        }
    }

    /// A station says that it has an address.
    fn note(&mut self, now: Instant, address: IpAddr, owner: Owner) {
        let is_full = self.entries.len() >= ADDRESSES;
        match self.entries.get_mut(&address) {
            Some(entry) => {
                let is_old = now.since(entry.heard) >= AGEING;
                let is_same = entry.owner.is_some_and(|known| known.station == owner.station);
                if is_old || entry.owner.is_some() {
                    *entry = Entry { owner: (is_old || is_same).then_some(owner), heard: now };
                }
            }
            None if is_full => {}
            None => {
                self.entries.insert(address, Entry { owner: Some(owner), heard: now });
                self.next_sweep.get_or_insert(now + AGEING);
            }
        }
    }

    /// When [`Suppressor::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Forgets what is old.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|at| at > now) {
            return;
        }
        self.entries.retain(|_, entry| now.since(entry.heard) < AGEING);
        self.next_sweep = (!self.entries.is_empty()).then(|| now + AGEING);
    }
}
