//! What becomes of a connection: the flow that it has, or what its first packet would meet.
//!
//! A first packet is made and taken the way of any other ([`Forwarder::begin`]); the flow that comes of it is taken out again
//! within the same call, so that nothing is changed but what random numbers it would have drawn: those are others than the
//! router's.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::forward::filter::{Candidate, deciding};
use crate::forward::flow::{Account, Direction, Flow, FlowState, Pair};
use crate::forward::ipv6::key::Key6;
use crate::forward::ipv6::parse::Packet6;
use crate::forward::key::{Key, Realm};
use crate::forward::link::Carrier;
use crate::forward::parse::{Packet, SYN};
use crate::forward::peers::Behind;
use crate::forward::tcp::TcpState;
use crate::forward::{Forwarder, Ingress, SessionOwner, Turn};
use crate::frame::Egress;
use crate::id::{Interface, LanId, Mac, Segment, WanId};
use crate::ledger::DropReason;
use crate::rng::SeededRng;
use crate::settings::{Action, RuleId};
use crate::sight::{Fact, Names, Watch};
use crate::time::Instant;
use crate::wire::ipv4::{self, UDP};
use crate::wire::ipv6;

/// Octets of the longer of the two headers.
const HEADER: usize = 20;

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// It has a flow, which its first packet has made before.
    pub flow: Option<Known>,
    /// Why it is not let pass, when it is not.
    pub refused: Option<DropReason>,
    /// What its first packet comes in by.
    pub from: Interface,
    /// What it goes out by.
    pub to: Option<Interface>,
    /// Which of the configuration's rules decides, and what it says. `None`: the built-in ones.
    pub rule: Option<(RuleId, Action)>,
    /// What was decided on the way of a first packet.
    pub facts: Vec<Fact>,
    /// Source and destination on the other side.
    pub beyond: Option<(SocketAddr, SocketAddr)>,
    /// A port forward leads it inside.
    pub forwarded: bool,
    /// The station that its packets go to on Ethernet, and what is known of it.
    pub station: Option<(IpAddr, Station)>,
    /// Flows of the inside host, and the most that it may have.
    pub quota: Option<(u32, u32)>,
}

/// What is known of a flow that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The packets that were asked for are those of its other direction.
    pub reply: bool,
    /// Its state, in a word.
    pub state: &'static str,
    /// Seconds since a packet kept it alive.
    pub idle_s: u32,
    /// The epochs of its two ends when it was made, and the present ones.
    pub epochs: (u32, u32),
    /// Its ends, and the address that it is translated to, are what they were.
    pub current: bool,
    /// The kernel half carries its first direction, and its other one.
    pub in_kernel: (bool, bool),
    /// Packets that came through here.
    pub packets: u32,
    /// Packets that the kernel half has carried.
    pub kernel_packets: u64,
}

/// What is known of a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Station {
    /// It answers.
    Known(Mac),
    /// It was asked for in vain, so many seconds ago.
    Silent(u64),
    /// It was not asked for lately.
    Unknown,
}

impl Forwarder {
    /// What becomes of packets from `source` to `destination`; `protocol` is TCP or UDP.
    pub(crate) fn inquire(
        &mut self,
        now: Instant,
        names: &Names,
        protocol: u8,
        (source, destination): (SocketAddr, SocketAddr),
    ) -> Found {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        match (source, destination) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let there = ((*from.ip(), from.port()), (*to.ip(), to.port()));
                let keys = self.realms().into_iter().map(|realm| Key::of(realm, protocol, there.0, there.1));
                let found = keys.filter_map(|key| self.flows.find(key)).next();
                match found.and_then(|(id, direction)| Some((self.flows.get(id)?, direction))) {
                    Some((flow, direction)) => self.of_flow(now, second, flow, direction),
                    None => self.rehearse_first(now, names, protocol, there),
                }
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                let there = ((*from.ip(), from.port()), (*to.ip(), to.port()));
                let ports = u32::from(there.0.1) << 16 | u32::from(there.1.1);
                let keys = self.realms().into_iter();
                let keys = keys.map(|realm| Key6::new(realm, protocol, there.0.0, there.1.0, ports));
                let found = keys.filter_map(|key| self.v6.flows.find(key)).next();
                match found.and_then(|(id, direction)| Some((self.v6.flows.get(id)?, direction))) {
                    Some((flow, direction)) => self.of_flow6(now, second, flow, direction),
                    None => self.rehearse_first6(now, names, protocol, there),
                }
            }
            _ => Found::refused(Interface::Router, DropReason::NoRoute),
        }
    }

    /// Every side that packets come in by.
    fn realms(&self) -> Vec<Realm> {
        let wans = (0u16..).map(WanId).take(self.links.wans());
        core::iter::once(Realm::INSIDE).chain(wans.map(Realm::outside)).collect()
    }

    fn of_flow(&self, now: Instant, second: u32, flow: &Flow, direction: Direction) -> Found {
        let Pair(there, back) = flow.keys;
        let Pair(from, to) = flow.interfaces();
        let beyond = (
            SocketAddr::new(back.destination().into(), back.destination_port()),
            SocketAddr::new(back.source().into(), back.source_port()),
        );
        let forwarded = flow.translated.mappings.1.is_some() && to != Interface::Router;
        let candidate = Candidate {
            from: from.zone(),
            to: to.zone(),
            protocol: there.protocol(),
            source: there.source().into(),
            destination: beyond.1.ip(),
            port: Some(back.source_port()),
            echo: false,
            forwarded,
            outside: self.networks.peers().is_outside(from),
        };
        let quota = flow.account().map(|account| self.quota(account));
        Found {
            flow: Some(known(flow, second, direction, self.is_current(flow), |at| self.epoch_of(at))),
            rule: deciding(&self.rules, &candidate),
            beyond: Some(beyond),
            forwarded,
            station: self.station_to(now, to, beyond.1.ip()),
            quota,
            ..Found::by(from, to)
        }
    }

    fn of_flow6(&self, now: Instant, second: u32, flow: &Flow<Key6>, direction: Direction) -> Found {
        let Pair(there, _) = flow.keys;
        let Pair(from, to) = flow.interfaces();
        let candidate = Candidate {
            from: from.zone(),
            to: to.zone(),
            protocol: there.protocol(),
            source: there.source().into(),
            destination: there.destination().into(),
            port: Some(there.destination_port()),
            echo: false,
            forwarded: false,
            outside: self.v6.networks.peers().is_outside(from),
        };
        let epoch = |at| self.v6.networks.epoch_of(at);
        let sides = flow.sides;
        let current = epoch(from) == Some(sides.0.epoch()) && epoch(to) == Some(sides.1.epoch());
        let quota = flow.account().map(|account| self.quota6(account));
        Found {
            flow: Some(known(flow, second, direction, current, epoch)),
            rule: deciding(&self.rules, &candidate),
            station: self.station_to(now, to, there.destination().into()),
            quota,
            ..Found::by(from, to)
        }
    }

    /// What a first packet of IPv4 meets.
    fn rehearse_first(
        &mut self,
        now: Instant,
        names: &Names,
        protocol: u8,
        (source, destination): ((Ipv4Addr, u16), (Ipv4Addr, u16)),
    ) -> Found {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let ingress = self.entry_of(source.0, destination.0);
        let from = ingress.interface;
        let segment = segment(protocol, source.1, destination.1);
        let header = ipv4::Header {
            source: source.0,
            destination: destination.0,
            protocol,
            hops: 64,
            identification: 0,
        };
        let total = u16::try_from(segment.len().saturating_add(ipv4::MIN_HEADER)).unwrap_or(u16::MAX);
        let bytes = [&header.to_bytes(total)[..], &segment].concat();
        let packet = match Packet::parse(&bytes, ingress.realm) {
            Ok(packet) => packet,
            Err(reason) => return Found::refused(from, reason),
        };
        let mut rng = SeededRng::new([0; 32]);
        let (mut egress, mut punts) = (Egress::new(&[]), Default::default());
        egress.watch(Watch::Everything, names);
        let mut turn = Turn { now, second, rng: &mut rng, egress: &mut egress, punts: &mut punts };
        match self.begin(&mut turn, ingress, &packet) {
            Ok(id) => {
                let found =
                    self.flows.get(id).map(|flow| self.of_flow(now, second, flow, Direction::Original));
                self.end(id);
                let found = found.unwrap_or_else(|| Found::refused(from, DropReason::Internal));
                Found { flow: None, facts: egress.facts(), ..found }
            }
            Err(refusal) => {
                let host = Account { host: source.0, inbound: false };
                let quota = Some(self.quota(host)).filter(|_| refusal.reason == DropReason::HostQuota);
                let facts = egress.facts();
                Found { rule: rule_in(&facts), facts, quota, ..Found::refused(from, refusal.reason) }
            }
        }
    }

    /// What a first packet of IPv6 meets.
    fn rehearse_first6(
        &mut self,
        now: Instant,
        names: &Names,
        protocol: u8,
        (source, destination): ((Ipv6Addr, u16), (Ipv6Addr, u16)),
    ) -> Found {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let interface = self.interface_of6(source.0, destination.0);
        let realm = match interface {
            Interface::Wan(wan) => Realm::outside(wan),
            _ => Realm::INSIDE,
        };
        let epoch = self.v6.networks.epoch_of(interface).unwrap_or(0);
        let ingress = Ingress { interface, realm, epoch };
        let segment = segment(protocol, source.1, destination.1);
        let header = ipv6::Header { source: source.0, destination: destination.0, hop_limit: 64 };
        let len = u16::try_from(segment.len()).unwrap_or(u16::MAX);
        let bytes = [&header.to_bytes(protocol, len)[..], &segment].concat();
        let packet = match Packet6::parse(&bytes, realm) {
            Ok(packet) => packet,
            Err(reason) => return Found::refused(interface, reason),
        };
        let mut rng = SeededRng::new([0; 32]);
        let (mut egress, mut punts) = (Egress::new(&[]), Default::default());
        egress.watch(Watch::Everything, names);
        let mut turn = Turn { now, second, rng: &mut rng, egress: &mut egress, punts: &mut punts };
        match self.begin6(&mut turn, ingress, &packet) {
            Ok(id) => {
                let flow = self.v6.flows.get(id);
                let found = flow.map(|flow| self.of_flow6(now, second, flow, Direction::Original));
                self.v6.end(id, &mut self.offloads);
                let found = found.unwrap_or_else(|| Found::refused(interface, DropReason::Internal));
                Found { flow: None, facts: egress.facts(), ..found }
            }
            Err(refusal) => {
                let host = Account { host: source.0, inbound: false };
                let quota = Some(self.quota6(host)).filter(|_| refusal.reason == DropReason::HostQuota);
                let facts = egress.facts();
                Found { rule: rule_in(&facts), facts, quota, ..Found::refused(interface, refusal.reason) }
            }
        }
    }

    fn quota(&self, account: Account<Ipv4Addr>) -> (u32, u32) {
        (self.hosts.get(&account).copied().unwrap_or(0), self.flows_per_host)
    }

    fn quota6(&self, account: Account<Ipv6Addr>) -> (u32, u32) {
        (self.v6.hosts.get(&account).copied().unwrap_or(0), self.flows_per_host)
    }

    /// What packets with this source come in by.
    fn entry_of(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Ingress {
        let lans = (0u16..).map(LanId).take(self.lans.len());
        let mut lans =
            lans.filter(|lan| self.networks.lan(*lan).is_some_and(|network| network.contains(source)));
        let own = || self.links.open_wans().any(|(_, ipv4)| ipv4.address == source);
        if self.networks.is_router(source) || own() {
            return Ingress::ROUTER;
        }
        if let Some(lan) = lans.next() {
            return Ingress::lan(lan);
        }
        if let Some(subscriber) = self.links.subscriber_of(source) {
            let epoch = self.epoch_of(Interface::Subscriber(subscriber)).unwrap_or(0);
            return Ingress::link(SessionOwner::Subscriber(subscriber), epoch);
        }
        if let Some(Behind::Peer(vpn)) = self.networks.peers().find(source.into()) {
            return Ingress { interface: Interface::Vpn(vpn), realm: Realm::INSIDE, epoch: 0 };
        }
        let there = self.links.open_wans().find(|(_, ipv4)| ipv4.address == destination);
        let wan = there.or_else(|| self.links.open_wans().next()).map_or(WanId(0), |(wan, _)| wan);
        Ingress::link(SessionOwner::Wan(wan), self.links.epoch(wan))
    }

    fn interface_of6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Interface {
        let networks = &self.v6.networks;
        if let Some(inside) = networks.inside(source) {
            return inside;
        }
        let wans = (0u16..).map(WanId).take(self.links.wans());
        let mut reached = wans.filter(|wan| networks.may_leave(*wan, destination));
        Interface::Wan(reached.next().unwrap_or(WanId(0)))
    }

    /// The station that packets to `destination` go to beyond `out`, and what is known of it. `None` where there are none.
    fn station_to(&self, now: Instant, out: Interface, destination: IpAddr) -> Option<(IpAddr, Station)> {
        let (segment, address) = match (out, destination) {
            (Interface::Lan(lan), _) => (Segment::Lan(lan), destination),
            (Interface::Wan(wan), IpAddr::V4(destination)) => {
                let ipv4 = self.links.wan(wan)?.ipv4.filter(|ipv4| ipv4.segment.is_some())?;
                (Segment::Wan(wan), ipv4.next_hop(destination).into())
            }
            (Interface::Wan(wan), IpAddr::V6(destination)) => {
                self.links.segment(wan)?;
                (Segment::Wan(wan), self.v6.networks.next_hop(out, destination)?.into())
            }
            _ => return None,
        };
        let neighbours = match segment {
            Segment::Lan(lan) => &self.lans.get(lan.index())?.neighbours,
            Segment::Wan(wan) => match &self.links.segment(wan)?.1.carrier {
                Carrier::Ethernet(ethernet) => &ethernet.neighbours,
                Carrier::Session(_) => return None,
            },
        };
        let station = match (neighbours.known(address), neighbours.silent(address)) {
            (Some(mac), _) => Station::Known(mac),
            (None, Some(at)) => Station::Silent(now.since(at).as_secs()),
            (None, None) => Station::Unknown,
        };
        Some((address, station))
    }
}

impl Found {
    fn by(from: Interface, to: Interface) -> Found {
        Found {
            flow: None,
            refused: None,
            from,
            to: Some(to),
            rule: None,
            facts: Vec::new(),
            beyond: None,
            forwarded: false,
            station: None,
            quota: None,
        }
    }

    fn refused(from: Interface, reason: DropReason) -> Found {
        Found { refused: Some(reason), to: None, ..Found::by(from, from) }
    }
}

fn rule_in(facts: &[Fact]) -> Option<(RuleId, Action)> {
    facts.iter().find_map(|fact| match fact {
        Fact::Rule { rule, action } => Some((*rule, *action)),
        _ => None,
    })
}

fn known<K: crate::forward::key::FlowKey>(
    flow: &Flow<K>,
    second: u32,
    direction: Direction,
    current: bool,
    epoch: impl Fn(Interface) -> Option<u32>,
) -> Known {
    // The end that has an epoch of its own is the one outside.
    let outside = match flow.interfaces() {
        Pair(Interface::Wan(_), _) => Direction::Original,
        _ => Direction::Reply,
    };
    Known {
        reply: direction == Direction::Reply,
        state: state_name(flow.state),
        idle_s: second.saturating_sub(flow.refreshed),
        epochs: (flow.sides.of(outside).epoch(), epoch(flow.interface(outside)).unwrap_or(0)),
        current,
        in_kernel: flow.in_kernel(),
        packets: flow.packets,
        kernel_packets: flow.kernel_packets,
    }
}

fn state_name(state: FlowState) -> &'static str {
    match state {
        FlowState::Tcp(state) | FlowState::Connection(state) => match state {
            TcpState::Opening => "opening: no answer yet",
            TcpState::Answered => "opening: answered",
            TcpState::Established => "open",
            TcpState::HalfClosed(_) => "half closed",
            TcpState::Closing => "closing",
            TcpState::Reset => "reset",
        },
        FlowState::Udp | FlowState::DnsQuestion | FlowState::Icmp | FlowState::Other => "open",
    }
}

/// The beginning of a TCP connection, or an empty UDP datagram. Its checksum is nobody's concern.
fn segment(protocol: u8, source: u16, destination: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    match protocol {
        UDP => bytes.extend([0, 8, 0, 0]),
        _ => bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, SYN, 0xff, 0xff, 0, 0, 0, 0]),
    }
    bytes
}
