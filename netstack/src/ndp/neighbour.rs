//! The router as a station of every Ethernet segment: address resolution (RFC 4861 §7) and duplicate address detection
//! (RFC 4862 §5.4). The IPv6 sibling of [`crate::arp`].
//!
//! How it works:
//!
//! 1. [`Neighbours::set_addresses`] says which addresses the router has on a segment. A new one that wants it is probed
//!    first: one solicitation from the unspecified address, and a second of silence. Then it is ready; or somebody else
//!    has it, and the router does not use it.
//! 2. A solicitation for an address that is ready is answered, and its sender learnt. Everything else that a station says
//!    only changes what is known already, so that an unasked advertisement cannot plant a neighbour.
//! 3. The Forwarder asks by [`Resolve`]. An unknown address is asked for by multicast, once a second, three times; a
//!    known one is told at once, and when it was not confirmed for [`REACHABLE`] it is probed by unicast first and by
//!    multicast then. The Forwarder repeats its question while it uses an address; that keeps the entry fresh.
//! 4. Someone who claims an address of the router is reported, and the router says that it has it.
//! 5. [`mld`] reports the groups that all this makes the router a member of.
//!
//! A neighbour's address is not compared with the segment's prefixes: a host may still use an address whose prefix is gone,
//! and must reach the router to be told. The Forwarder looks a neighbour up only when a route says that it is on the link.
//!
//! Whoever scans a /64 makes the router ask for addresses without end (RFC 6583). So a segment has [`NEIGHBOURS`] stations
//! and [`PENDING`] questions about unknown ones at most; those about known ones have as many places of their own.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use super::message::{Message, Packet};
use super::mld::{self, Listener, Report};
use crate::forward::{Resolve, Update};
use crate::frame::Frame;
use crate::id::{Mac, Segment};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::table::{Map, Seed};
use crate::time::{Duration, Instant};
use crate::wire::ipv6::{ALL_NODES, ALL_ROUTERS, solicited_node};

/// Time for which a station that answered needs no probe.
pub const REACHABLE: Duration = Duration::from_secs(60);
/// Time between two solicitations for one address (RFC 4861 §10 RETRANS_TIMER), and the time that an address is probed
/// before it is used (RFC 4862 §5.1 DupAddrDetectTransmits 1).
pub const RETRY: Duration = Duration::from_secs(1);
/// Solicitations by multicast before an address counts as unreachable (RFC 4861 §10 MAX_MULTICAST_SOLICIT); as many by
/// unicast come before when a station is known.
pub const TRIES: u8 = 3;
/// Most stations known on one segment.
pub const NEIGHBOURS: usize = 4096;
/// Most unknown addresses asked for at once on one segment, and most known stations.
pub const PENDING: usize = 512;
/// Most addresses of the router on one segment.
pub const OWN: usize = 64;

/// Time after which an address that somebody else had is asked for again.
const RETRY_DUPLICATE: Duration = Duration::from_secs(300);
/// Least time between two defences of the router's addresses on a segment, and between two reports.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Most packets waiting to be sent.
const QUEUE: usize = 1024;
/// Most facts waiting to be told.
const EVENTS: usize = 8192;

/// An address of the router on a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Ask first whether somebody else has it.
    pub dad: bool,
}

/// What can happen to the machine.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A packet of Neighbor Discovery or MLD came in; the bytes begin at its IPv6 header.
    Packet {
        /// Where it came in.
        segment: Segment,
        /// The packet.
        packet: &'a [u8],
    },
    /// The Forwarder wants to know a station.
    Resolve(Resolve),
}

/// A fact of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Tell the Forwarder: a neighbour was found or has failed.
    Neighbour(Update),
    /// An address of the router may be used now.
    AddressReady {
        /// The segment.
        segment: Segment,
        /// The router's address there.
        address: Ipv6Addr,
    },
    /// Another station has the address that the router was to have; the router does not use it.
    Duplicate {
        /// The segment.
        segment: Segment,
        /// The address.
        address: Ipv6Addr,
        /// The station, when it has said so.
        mac: Option<Mac>,
    },
    /// Another station claims an address that the router uses.
    Conflict {
        /// The segment.
        segment: Segment,
        /// The router's address there.
        address: Ipv6Addr,
        /// The station, when it has said so.
        mac: Option<Mac>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let station = |f: &mut fmt::Formatter<'_>, mac: &Option<Mac>| match mac {
            Some(mac) => write!(f, "the station {mac}"),
            None => f.write_str("another station"),
        };
        match self {
            Event::Neighbour(Update::NeighbourFound { address, mac, .. }) => {
                write!(f, "{address} is at {mac}")
            }
            Event::Neighbour(Update::NeighbourFailed { address, .. }) => {
                write!(f, "no station answers for {address}")
            }
            Event::Neighbour(_) => f.write_str("a neighbour changed"),
            Event::AddressReady { address, .. } => {
                write!(f, "nobody else has {address}; the router uses it")
            }
            Event::Duplicate { address, mac, .. } => {
                station(f, mac)?;
                write!(f, " already has {address}; the router does not use this address")
            }
            Event::Conflict { address, mac, .. } => {
                station(f, mac)?;
                write!(
                    f,
                    " also uses the router's address {address}; the router keeps it and says so to everybody"
                )
            }
        }
    }
}

/// What is known of one address.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Asked for by multicast; no station is known.
    Incomplete { tries: u8, next: Instant },
    /// The station has this Ethernet address; it answered when it was last `confirmed`.
    Known { mac: Mac, confirmed: Option<Instant> },
    /// The station is known and has been silent for long; it is being asked.
    Probing { mac: Mac, tries: u8, next: Instant },
}

impl State {
    fn deadline(self) -> Option<Instant> {
        match self {
            State::Incomplete { next, .. } | State::Probing { next, .. } => Some(next),
            State::Known { .. } => None,
        }
    }
}

/// An address of the router.
#[derive(Debug, Clone, Copy)]
struct Own {
    address: Ipv6Addr,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody else may have it; known at `until`.
    Tentative { until: Instant },
    /// The router's.
    Ready,
    /// Somebody else's; asked for again at `retry`.
    Duplicate { retry: Instant },
}

/// The router on one segment.
#[derive(Debug)]
struct Link {
    mac: Mac,
    own: Vec<Own>,
    /// Groups that somebody listens to besides Neighbor Discovery.
    groups: Vec<Ipv6Addr>,
    listener: Listener,
    neighbours: Map<Ipv6Addr, State>,
    /// How many of them are [`State::Incomplete`], and how many [`State::Probing`].
    incomplete: usize,
    probing: usize,
    last_defence: Option<Instant>,
}

impl Link {
    fn stage(&self, address: Ipv6Addr) -> Option<Stage> {
        self.own.iter().find(|own| own.address == address).map(|own| own.stage)
    }

    fn ready(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.own.iter().filter(|own| own.stage == Stage::Ready).map(|own| own.address)
    }

    fn link_local(&self) -> Option<Ipv6Addr> {
        self.ready().find(Ipv6Addr::is_unicast_link_local)
    }

    /// The address to ask for `target` from: the link-local one, or what there is until that is ready.
    fn source(&self) -> Option<Ipv6Addr> {
        self.link_local().or_else(|| self.ready().next())
    }
}

/// A packet to be sent.
#[derive(Debug)]
enum Outgoing {
    Discovery(Packet),
    Listener(Report),
}

/// Neighbor Discovery on every Ethernet segment.
#[derive(Debug)]
pub struct Neighbours {
    links: BTreeMap<Segment, Link>,
    /// Deadlines of the addresses that are being asked for.
    pending: BTreeSet<(Instant, Segment, Ipv6Addr)>,
    transmit: VecDeque<(Segment, Outgoing)>,
    events: VecDeque<Event>,
}

impl Neighbours {
    /// A machine for `stations`: the segments, and the router's Ethernet address on each. It has no address yet.
    pub fn new(cx: &mut Cx<'_>, stations: impl IntoIterator<Item = (Segment, Mac)>) -> Self {
        let links = stations.into_iter().map(|(segment, mac)| {
            let link = Link {
                mac,
                own: Vec::new(),
                groups: Vec::new(),
                listener: Listener::default(),
                neighbours: Map::with_hasher(Seed::draw(cx.rng)),
                incomplete: 0,
                probing: 0,
                last_defence: None,
            };
            (segment, link)
        });
        Neighbours {
            links: links.collect(),
            pending: BTreeSet::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The router's addresses on a segment are these now, [`OWN`] at most. What it had before and keeps goes on as it is;
    /// each new one is [`Event::AddressReady`] once nobody else has it, or [`Event::Duplicate`].
    pub fn set_addresses(&mut self, cx: &mut Cx<'_>, segment: Segment, addresses: &[OwnAddress]) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        link.own.retain(|own| addresses.iter().any(|wanted| wanted.address == own.address));
        let mut news = Vec::new();
        for wanted in addresses {
            if link.stage(wanted.address).is_none() && link.own.len() < OWN {
                let stage = match wanted.dad {
                    true => Stage::Tentative { until: cx.now + RETRY },
                    false => Stage::Ready,
                };
                let own = Own { address: wanted.address, stage };
                link.own.push(own);
                news.push(own);
            }
        }
        // The group must hear before the question is asked in it (RFC 4862 §5.4.2).
        self.update_groups(cx, segment);
        for Own { address, stage } in news {
            self.put(segment, address, None);
            match stage {
                Stage::Ready => self.tell(Event::AddressReady { segment, address }),
                _ => self.solicit(segment, Ipv6Addr::UNSPECIFIED, solicited_node(address), address, None),
            }
        }
    }

    /// The router had these addresses on a segment in an earlier life and ever since: nobody has to be asked. Those that
    /// [`Neighbours::set_addresses`] does not name then are given up.
    pub fn adopt(&mut self, segment: Segment, addresses: impl IntoIterator<Item = Ipv6Addr>) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        let own = addresses.into_iter().map(|address| Own { address, stage: Stage::Ready });
        link.own = own.take(OWN).collect();
        let ready: Vec<Ipv6Addr> = link.ready().collect();
        for address in ready {
            self.tell(Event::AddressReady { segment, address });
        }
    }

    /// The router's addresses on a segment that nobody else has.
    pub fn own_addresses(&self, segment: Segment) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.links.get(&segment).into_iter().flat_map(Link::ready)
    }

    /// Groups that a service of the router listens to on a segment, besides those of Neighbor Discovery.
    pub fn set_groups(&mut self, cx: &mut Cx<'_>, segment: Segment, groups: &[Ipv6Addr]) {
        if let Some(link) = self.links.get_mut(&segment) {
            link.groups = groups.iter().copied().take(OWN).collect();
            self.update_groups(cx, segment);
        }
    }

    /// Something happened. An error says why a packet was of no use.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Result<(), DropReason> {
        match input {
            Input::Packet { segment, packet } => {
                let link = self.links.get_mut(&segment).ok_or(DropReason::NdpMalformed)?;
                match mld::is_mld(packet) {
                    true => link.listener.handle(cx, packet),
                    false => self.receive(cx, segment, &Packet::parse(packet)?),
                }
            }
            Input::Resolve(Resolve { segment, address: IpAddr::V6(address) }) => {
                self.resolve(cx, segment, address);
                Ok(())
            }
            Input::Resolve(Resolve { address: IpAddr::V4(_), .. }) => Ok(()),
        }
    }

    /// The stations of these segments may be others by now, and switches may have forgotten our groups: those are reported
    /// again, and each station is probed when it is asked for next.
    pub fn reconfirm(&mut self, cx: &mut Cx<'_>, which: impl Fn(Segment) -> bool) {
        for (_, link) in self.links.iter_mut().filter(|(segment, _)| which(**segment)) {
            for state in link.neighbours.values_mut() {
                if let State::Known { confirmed, .. } = state {
                    *confirmed = None;
                }
            }
            link.listener.repeat(cx);
        }
        self.handle_timeout(cx);
    }

    /// Asks again, gives up, reports, finds an address free: whatever is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let segments: Vec<Segment> = self.links.keys().copied().collect();
        for segment in segments {
            self.finish_probes(cx, segment);
            self.report(cx, segment);
        }
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
        let probes = self.links.values().flat_map(|link| &link.own).filter_map(|own| match own.stage {
            Stage::Tentative { until } | Stage::Duplicate { retry: until } => Some(until),
            Stage::Ready => None,
        });
        let reports = self.links.values().filter_map(|link| link.listener.poll_timeout());
        probes.chain(reports).chain(self.pending.first().map(|&(due, ..)| due)).min()
    }

    /// Writes the next IPv6 packet into `frame` and says where it goes.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Segment> {
        let (segment, outgoing) = self.transmit.pop_front()?;
        let written = match outgoing {
            Outgoing::Discovery(packet) => packet.emit(frame),
            Outgoing::Listener(report) => report.emit(frame),
        };
        written.then_some(segment)
    }

    /// The next fact.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, segment: Segment, packet: &Packet) -> Result<(), DropReason> {
        let link = self.links.get(&segment).ok_or(DropReason::NdpMalformed)?;
        match packet.message {
            Message::NeighbourSolicitation { target, source_link_layer } => {
                if source_link_layer == Some(link.mac) {
                    return Err(DropReason::NdpSpoofed);
                }
                if link.stage(packet.source) == Some(Stage::Ready) {
                    self.defend(cx, segment, packet.source, source_link_layer);
                    return Err(DropReason::NdpSpoofed);
                }
                self.solicited(cx, segment, packet, target, source_link_layer)
            }
            Message::NeighbourAdvertisement { target, solicited, overrides, target_link_layer, .. } => {
                if target_link_layer == Some(link.mac) {
                    return Err(DropReason::NdpSpoofed);
                }
                match link.stage(target) {
                    // Others may have the routers' anycast address, too.
                    Some(Stage::Ready) if is_anycast(target) => {}
                    Some(Stage::Ready) => {
                        self.defend(cx, segment, target, target_link_layer);
                        return Err(DropReason::NdpSpoofed);
                    }
                    Some(Stage::Tentative { .. }) => self.refuse(cx, segment, target, target_link_layer),
                    Some(Stage::Duplicate { .. }) => {}
                    None => self.advertised(cx, segment, target, target_link_layer, solicited, overrides),
                }
                Ok(())
            }
            // Not for a station, or not for a router (RFC 4861 §8.2).
            Message::RouterSolicitation { .. }
            | Message::RouterAdvertisement(_)
            | Message::Redirect { .. } => Ok(()),
        }
    }

    /// Somebody asks for an address that may be the router's (RFC 4861 §7.2.3, RFC 4862 §5.4.3).
    fn solicited(
        &mut self,
        cx: &mut Cx<'_>,
        segment: Segment,
        packet: &Packet,
        target: Ipv6Addr,
        mac: Option<Mac>,
    ) -> Result<(), DropReason> {
        let Some(link) = self.links.get(&segment) else { return Ok(()) };
        let probe = packet.source.is_unspecified();
        match link.stage(target) {
            // Two stations want the same address at the same time: neither gets it.
            Some(Stage::Tentative { .. }) if probe => self.refuse(cx, segment, target, None),
            Some(Stage::Ready) => {
                let router = matches!(segment, Segment::Lan(_));
                let answer = packet.answer(Some(link.mac), router).ok_or(DropReason::NdpMalformed)?;
                if let (false, Some(mac)) = (probe, mac) {
                    self.learn(segment, packet.source, mac);
                }
                if !self.send(segment, answer) {
                    return Err(DropReason::ServiceOverload);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A station asked for us. What it says of itself is taken in but needs a confirmation when it is used (RFC 4861
    /// §7.2.3).
    fn learn(&mut self, segment: Segment, address: Ipv6Addr, mac: Mac) {
        let Some(link) = self.links.get(&segment) else { return };
        match link.neighbours.get(&address).copied() {
            Some(State::Known { mac: old, .. } | State::Probing { mac: old, .. }) if old == mac => return,
            None if !self.make_room(segment) => return,
            _ => {}
        }
        self.put(segment, address, Some(State::Known { mac, confirmed: None }));
        self.tell_found(segment, address, mac);
    }

    /// A station says where an address is (RFC 4861 §7.2.5).
    fn advertised(
        &mut self,
        cx: &mut Cx<'_>,
        segment: Segment,
        address: Ipv6Addr,
        mac: Option<Mac>,
        solicited: bool,
        overrides: bool,
    ) {
        let Some(link) = self.links.get(&segment) else { return };
        let confirmed = solicited.then_some(cx.now);
        let (old, before) = match link.neighbours.get(&address).copied() {
            Some(State::Incomplete { .. }) => {
                let Some(mac) = mac else { return };
                self.put(segment, address, Some(State::Known { mac, confirmed }));
                return self.tell_found(segment, address, mac);
            }
            Some(State::Known { mac, confirmed }) => (mac, confirmed),
            Some(State::Probing { mac, .. }) => (mac, None),
            None => return,
        };
        let new = mac.unwrap_or(old);
        if new == old {
            if solicited {
                self.put(segment, address, Some(State::Known { mac: old, confirmed }));
            }
        } else if overrides {
            self.put(segment, address, Some(State::Known { mac: new, confirmed }));
            self.tell_found(segment, address, new);
        } else if before.is_some() {
            // Two stations speak for one address: the first is kept, and asked when it is used next.
            self.put(segment, address, Some(State::Known { mac: old, confirmed: None }));
        }
    }

    fn resolve(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv6Addr) {
        let Some(link) = self.links.get(&segment) else { return };
        let host = !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
        if !host || link.stage(address).is_some_and(|stage| !matches!(stage, Stage::Duplicate { .. })) {
            return self.tell_failed(segment, address);
        }
        match link.neighbours.get(&address).copied() {
            Some(State::Incomplete { .. }) => {}
            Some(State::Probing { mac, .. }) => self.tell_found(segment, address, mac),
            Some(State::Known { mac, confirmed }) => {
                let doubtful = confirmed.is_none_or(|at| cx.now.since(at) >= REACHABLE);
                let probe = doubtful && link.probing < PENDING;
                self.tell_found(segment, address, mac);
                if probe {
                    self.ask(cx, segment, address, Some(mac), 0);
                }
            }
            None if link.incomplete < PENDING && self.make_room(segment) => {
                self.ask(cx, segment, address, None, 0);
            }
            None => self.tell_failed(segment, address),
        }
    }

    /// The deadline of an address that is being asked for has come.
    fn ask_again(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv6Addr) {
        let state = self.links.get(&segment).and_then(|link| link.neighbours.get(&address)).copied();
        match state {
            Some(State::Incomplete { tries, .. }) if tries < TRIES => {
                self.ask(cx, segment, address, None, tries);
            }
            Some(State::Probing { mac, tries, .. }) if tries < 2 * TRIES => {
                self.ask(cx, segment, address, Some(mac), tries);
            }
            _ => {
                self.put(segment, address, None);
                self.tell_failed(segment, address);
            }
        }
    }

    /// Sends the question number `tries` for an address: by unicast to a station that is known, at first.
    fn ask(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv6Addr, mac: Option<Mac>, tries: u8) {
        let next = cx.now + RETRY;
        let tries = tries.saturating_add(1);
        let state = match mac {
            Some(mac) => State::Probing { mac, tries, next },
            None => State::Incomplete { tries, next },
        };
        self.put(segment, address, Some(state));
        let Some(link) = self.links.get(&segment) else { return };
        // Without an address of our own nobody could answer; the next try may have one.
        let Some(source) = link.source() else { return };
        let unicast = mac.is_some() && tries <= TRIES;
        let destination = if unicast { address } else { solicited_node(address) };
        self.solicit(segment, source, destination, address, Some(link.mac));
    }

    /// Replaces what is known of an address, and its deadline.
    fn put(&mut self, segment: Segment, address: Ipv6Addr, state: Option<State>) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        let old = match state {
            Some(state) => link.neighbours.insert(address, state),
            None => link.neighbours.remove(&address),
        };
        match state {
            Some(State::Incomplete { .. }) => link.incomplete += 1,
            Some(State::Probing { .. }) => link.probing += 1,
            Some(State::Known { .. }) | None => {}
        }
        match old {
            Some(State::Incomplete { .. }) => link.incomplete = link.incomplete.saturating_sub(1),
            Some(State::Probing { .. }) => link.probing = link.probing.saturating_sub(1),
            Some(State::Known { .. }) | None => {}
        }
        if let Some(due) = old.and_then(State::deadline) {
            self.pending.remove(&(due, segment, address));
        }
        if let Some(due) = state.and_then(State::deadline) {
            self.pending.insert((due, segment, address));
        }
    }

    /// Forgets some station when the table is full. Which one is up to the hash: nobody can choose. False when all are
    /// being asked for.
    fn make_room(&mut self, segment: Segment) -> bool {
        let Some(link) = self.links.get(&segment) else { return false };
        if link.neighbours.len() < NEIGHBOURS {
            return true;
        }
        let known = |state: &State| matches!(state, State::Known { .. });
        let victim = link.neighbours.iter().find(|(_, state)| known(state)).map(|(&address, _)| address);
        if let Some(address) = victim {
            self.put(segment, address, None);
        }
        victim.is_some()
    }

    /// The addresses that nobody else has said to have are the router's.
    fn finish_probes(&mut self, cx: &mut Cx<'_>, segment: Segment) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        let (mut ready, mut again) = (Vec::new(), Vec::new());
        for own in &mut link.own {
            if matches!(own.stage, Stage::Duplicate { retry } if retry <= cx.now) {
                own.stage = Stage::Tentative { until: cx.now + RETRY };
                again.push(own.address);
            }
            if matches!(own.stage, Stage::Tentative { until } if until <= cx.now) {
                own.stage = Stage::Ready;
                ready.push(own.address);
            }
        }
        // Reports from the unspecified address do not count everywhere (RFC 3590 §4).
        if ready.iter().any(Ipv6Addr::is_unicast_link_local) {
            link.listener.repeat(cx);
        }
        for address in ready {
            self.tell(Event::AddressReady { segment, address });
        }
        if !again.is_empty() {
            self.update_groups(cx, segment);
        }
        for address in again {
            self.solicit(segment, Ipv6Addr::UNSPECIFIED, solicited_node(address), address, None);
        }
    }

    /// Somebody else has an address that the router was about to use.
    fn refuse(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv6Addr, mac: Option<Mac>) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        if let Some(own) = link.own.iter_mut().find(|own| own.address == address) {
            own.stage = Stage::Duplicate { retry: cx.now + RETRY_DUPLICATE };
        }
        self.update_groups(cx, segment);
        self.tell(Event::Duplicate { segment, address, mac });
    }

    /// Reports a station that claims an address of the router, and says whose it is; not again and again.
    fn defend(&mut self, cx: &mut Cx<'_>, segment: Segment, address: Ipv6Addr, mac: Option<Mac>) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        if link.last_defence.is_some_and(|last| cx.now.since(last) < DEFEND_INTERVAL) {
            return;
        }
        link.last_defence = Some(cx.now);
        let message = Message::NeighbourAdvertisement {
            target: address,
            router: matches!(segment, Segment::Lan(_)),
            solicited: false,
            overrides: true,
            target_link_layer: Some(link.mac),
        };
        self.send(segment, Packet { source: address, destination: ALL_NODES, message });
        self.tell(Event::Conflict { segment, address, mac });
    }

    /// Tells the listener which groups there are: one for the addresses that end alike, all routers', and the services'.
    fn update_groups(&mut self, cx: &mut Cx<'_>, segment: Segment) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        let own = link.own.iter().filter(|own| !matches!(own.stage, Stage::Duplicate { .. }));
        let mut groups: BTreeSet<Ipv6Addr> = own.map(|own| solicited_node(own.address)).collect();
        if !groups.is_empty() {
            groups.extend(&link.groups);
            if matches!(segment, Segment::Lan(_)) {
                groups.insert(ALL_ROUTERS);
            }
        }
        link.listener.set_groups(cx, &groups);
        self.report(cx, segment);
    }

    fn report(&mut self, cx: &mut Cx<'_>, segment: Segment) {
        let Some(link) = self.links.get_mut(&segment) else { return };
        let source = link.link_local().unwrap_or(Ipv6Addr::UNSPECIFIED);
        for report in link.listener.handle_timeout(cx, source) {
            if self.transmit.len() < QUEUE {
                self.transmit.push_back((segment, Outgoing::Listener(report)));
            }
        }
    }

    fn solicit(
        &mut self,
        segment: Segment,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        target: Ipv6Addr,
        source_link_layer: Option<Mac>,
    ) {
        let message = Message::NeighbourSolicitation { target, source_link_layer };
        self.send(segment, Packet { source, destination, message });
    }

    fn send(&mut self, segment: Segment, packet: Packet) -> bool {
        let room = self.transmit.len() < QUEUE;
        if room {
            self.transmit.push_back((segment, Outgoing::Discovery(packet)));
        }
        room
    }

    fn tell_found(&mut self, segment: Segment, address: Ipv6Addr, mac: Mac) {
        self.tell(Event::Neighbour(Update::NeighbourFound { segment, address: address.into(), mac }));
    }

    fn tell_failed(&mut self, segment: Segment, address: Ipv6Addr) {
        self.tell(Event::Neighbour(Update::NeighbourFailed { segment, address: address.into() }));
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

/// True for the address that every router of a /64 has (RFC 4291 §2.6.1).
fn is_anycast(address: Ipv6Addr) -> bool {
    address.to_bits() as u64 == 0
}

#[cfg(test)]
mod tests;
