//! The packet path: every frame that comes in is transmitted, handed up, held or dropped under a name, at once.
//!
//! [`Forwarder::receive`] takes a batch. A frame goes through these files, in this order:
//! 1. `ingress`: Ethernet; a LAN's bridge; an uplink's segment; PPPoE off, session found. What is not plain traffic becomes a [`Punt`].
//! 2. `parse`: the IPv4 packet is looked at, once. Later fragments learn the ports of the first one (`fragment`).
//! 3. `path`: its flow is looked up (`flow`). Without one, `begin` asks `filter`, `route` and `nat`, and makes one.
//! 4. `path`: hops, size, TCP state (`tcp`), then `rewrite` makes the packet what it is on the other side.
//! 5. `emit`: large segments cut where they must be, PPPoE or Ethernet on, out.
//!
//! Most traffic needs none of those questions again. Step 1 notes at its port how a routed packet came in (`WayIn`: the
//! octets that a frame must begin with to be from the same place, and what they mean); any [`Update`] of a session or its
//! addresses makes every port forget. When a frame begins alike, `hit` does steps 2 to 5 in one function, without moving
//! the frame: it parses, looks the flow up, and if the flow is confirmed, open and current, and the packet neither begins
//! nor ends anything, translates it and exchanges the front of the frame. Anything else goes the long way, which begins at
//! step 1. Frames that leave by the same port one after the other are queued together.
//!
//! ICMP errors that pass are translated in `errors`; those that the router sends itself come from `refuse`.
//! [`Update`]s from Control change the tables; nothing here negotiates.

pub mod adopt;
mod begin;
pub mod bridge;
mod emit;
mod errors;
mod filter;
mod flow;
mod follow;
pub mod fragment;
mod handover;
mod hit;
pub mod icmp;
mod ingress;
pub(crate) mod inquiry;
pub(crate) mod ipv6;
mod key;
pub mod limit;
mod link;
mod merge;
pub mod message;
pub mod mtu;
mod nat;
pub mod neighbour;
pub mod offload;
mod parse;
mod path;
mod peers;
pub mod reassemble;
mod refuse;
pub mod reset;
mod rewrite;
mod route;
pub mod segment;
mod side;
mod tcp;
mod tunnel;
mod way;
mod wheel;

#[cfg(test)]
mod tests;

pub use message::{
    Ipv4Segment, LanIpv6, NextHop, Punt, PuntKind, Resolve, Session, SessionOwner, SubscriberIpv6, Update,
    Usage, WanIpv4, WanIpv6,
};
pub use tunnel::{MessageTo, TunnelUpdate};

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::forward::bridge::overlay::Overlay;
use crate::forward::bridge::{Bridge, Notice};
use crate::forward::flow::{Account, Direction, FlowId, FlowTable, Pair};
use crate::forward::follow::Decision;
use crate::forward::fragment::Fragments;
use crate::forward::handover::Offloads;
use crate::forward::hit::Moment;
use crate::forward::ipv6::Ipv6;
use crate::forward::key::Realm;
use crate::forward::limit::Limiter;
use crate::forward::link::{Carrier, Links};
use crate::forward::nat::{Inside, Nat};
use crate::forward::neighbour::{Neighbourhood, Origin};
use crate::forward::reassemble::Reassembler;
use crate::forward::route::Networks;
use crate::forward::side::Side;
use crate::forward::tunnel::Tunnels;
use crate::forward::way::WayIn;
use crate::frame::{Batch, Egress, Frame};
use crate::id::{Family, Interface, LanId, Mac, PeerId, PortId, Segment, VpnId, WanId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::rng::Rng;
use crate::settings::{Rule, Settings, Transport};
use crate::table::{Map, Seed};
use crate::time::{Instant, earliest};
use crate::tunnel::vxlan;
use crate::wire::ipv4::{TCP, UDP};

/// Slab records that one call looks at when flows of a lost address are swept out.
const SWEEP: u32 = 512;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A LAN's.
    Lan(LanId),
    /// PPPoE, as a client or as a concentrator; plain Ethernet beside it, for the uplink that is named.
    Outside(Option<WanId>),
    /// Nothing.
    Unused,
}

/// A port.
#[derive(Debug)]
struct Port {
    role: Role,
    mac: Mac,
    mtu: u16,
    offload: bool,
    /// How the last routed packet came in by it.
    way_in: Option<WayIn>,
    /// How the last routed IPv6 packet did.
    way_in6: Option<WayIn>,
}

/// A LAN.
#[derive(Debug)]
struct Lan {
    ports: Vec<PortId>,
    /// The one port that is all of the LAN: there is nothing to bridge.
    only: Option<PortId>,
    /// The router's station address: that of the first port.
    mac: Mac,
    mtu: u16,
    serves_dhcp: bool,
    bridge: Bridge,
    neighbours: Neighbourhood,
}

/// The packet path and its tables.
#[derive(Debug)]
pub struct Forwarder {
    ports: Vec<Port>,
    lans: Vec<Lan>,
    networks: Networks,
    links: Links,
    rules: Vec<Rule>,
    flows: FlowTable,
    nat: Nat,
    fragments: Fragments<Decision>,
    reassembler: Reassembler,
    hosts: Map<Account<Ipv4Addr>, u32>,
    flows_per_host: u32,
    limiter: Limiter,
    /// Where the sweep for flows of lost addresses has come to, and since when it wants to go on.
    sweep: Option<(FlowId, Instant)>,
    v6: Ipv6,
    tunnels: Tunnels,
    offloads: Offloads,
    overlay: Overlay,
    /// What is to be told of the LANs' bridges.
    notices: VecDeque<Notice>,
    /// What the kernel half has carried in all.
    kernel: Usage,
    /// For a test that compares the two ways.
    #[cfg(test)]
    only_long_way: bool,
}

/// What a packet came in by.
#[derive(Debug, Clone, Copy)]
struct Ingress {
    interface: Interface,
    realm: Realm,
    epoch: u32,
}

impl Ingress {
    const ROUTER: Ingress = Ingress { interface: Interface::Router, realm: Realm::INSIDE, epoch: 0 };

    /// By a LAN.
    fn lan(lan: LanId) -> Ingress {
        Ingress { interface: Interface::Lan(lan), realm: Realm::INSIDE, epoch: 0 }
    }

    /// By a session or segment on which IPv4 has this epoch.
    fn link(owner: SessionOwner, epoch: u32) -> Ingress {
        let (interface, realm) = match owner {
            SessionOwner::Wan(wan) => (Interface::Wan(wan), Realm::outside(wan)),
            SessionOwner::Subscriber(subscriber) => (Interface::Subscriber(subscriber), Realm::INSIDE),
        };
        Ingress { interface, realm, epoch }
    }

    /// True when its packets are shown as they come in. What a tunnel opens is shown with its peer, and the router's own
    /// when it says it.
    fn is_shown_on_arrival(self) -> bool {
        !matches!(self.interface, Interface::Vpn(_) | Interface::Router)
    }

    /// The side of flows that its packets come in by.
    fn side(self) -> Side {
        Side::new(self.interface, self.epoch)
    }

    /// Whose packets may fill which part of a neighbour table.
    fn origin(self) -> Origin {
        match self.interface {
            Interface::Lan(_) | Interface::Router => Origin::Inside,
            Interface::Wan(_) | Interface::Subscriber(_) | Interface::Vpn(_) => Origin::Outside,
        }
    }
}

/// What every step of one call needs.
struct Turn<'a> {
    now: Instant,
    /// `now` in whole seconds: the grain of flow timers.
    second: u32,
    rng: &'a mut dyn Rng,
    egress: &'a mut Egress,
    punts: &'a mut VecDeque<Punt>,
}

impl<'a> Turn<'a> {
    fn new<'c: 'a>(cx: &'a mut Cx<'c>, egress: &'a mut Egress, punts: &'a mut VecDeque<Punt>) -> Turn<'a> {
        let second = u32::try_from(cx.now.as_secs()).unwrap_or(u32::MAX);
        Turn { now: cx.now, second, rng: &mut *cx.rng, egress, punts }
    }
}

/// A flow as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FlowSummary {
    /// IP protocol number.
    pub protocol: u8,
    /// What its first packet came in by.
    pub from: Interface,
    /// What its first packet went out by.
    pub to: Interface,
    /// Source of its first packet, with the port or ICMP identifier.
    pub source: (IpAddr, u16),
    /// Destination of its first packet.
    pub destination: (IpAddr, u16),
    /// Source of its first packet on the other side.
    pub translated_source: (IpAddr, u16),
    /// Destination of its first packet on the other side.
    pub translated_destination: (IpAddr, u16),
    /// Whether the kernel half carries packets of the first one's direction, and of the other one.
    pub in_kernel: (bool, bool),
    /// Packets that have come through the Forwarder, modulo 2^32.
    pub packets: u32,
    /// Packets that the kernel half has carried.
    pub kernel_packets: u64,
}

impl Forwarder {
    /// A forwarder without sessions. Hash seeds are drawn from `rng`.
    pub fn new(settings: &Settings, rng: &mut dyn Rng) -> Forwarder {
        let mut nat = Nat::new(settings.wans.len(), settings.vpns.len(), settings.nat.filtering, rng);
        for forward in &settings.port_forwards {
            let protocol = match forward.protocol {
                Transport::Tcp => TCP,
                Transport::Udp => UDP,
            };
            let at = Interface::Wan(forward.wan);
            let inside = Inside { address: forward.to, port: forward.to_port, protocol, at };
            nat.forward(inside, forward.port);
        }
        // What comes to a VPN's port is the tunnel's, and inside it VXLAN is the bridge's: no host's mapping gets it.
        let reserved = |at, port| (Inside { address: Ipv4Addr::UNSPECIFIED, port, protocol: UDP, at }, port);
        let wans = (0u16..).map(WanId).take(settings.wans.len());
        let tunnels = wans.flat_map(|wan| {
            settings.vpns.iter().map(move |vpn| reserved(Interface::Wan(wan), vpn.listen_port))
        });
        let bridges = (0u16..).zip(&settings.vpns).filter(|(_, vpn)| vpn.bridge.is_some());
        let bridges = bridges.map(|(vpn, _)| reserved(Interface::Vpn(VpnId(vpn)), vxlan::PORT));
        tunnels.chain(bridges).for_each(|(inside, port)| nat.forward(inside, port));
        let ports: Vec<Port> = (0u16..)
            .zip(&settings.ports)
            .map(|(index, port)| Port {
                role: role(settings, PortId(index)),
                mac: port.mac,
                mtu: port.mtu,
                // Devices cut and sum behind a tag each in its way: what leaves with one is whole.
                offload: port.offload && port.vlan.is_none(),
                way_in: None,
                way_in6: None,
            })
            .collect();
        let overlay = Overlay::new(settings, rng);
        let lans = (0u16..).map(LanId).zip(&settings.lans);
        let lans = lans.map(|(id, lan)| new_lan(settings, id, lan, &overlay, rng)).collect();
        Forwarder {
            ports,
            lans,
            networks: Networks::new(settings),
            links: Links::new(settings, rng),
            rules: settings.rules.clone(),
            flows: FlowTable::new(Seed::draw(rng), settings.nat.timeouts, settings.nat.flows),
            nat,
            fragments: Fragments::new(fragment::PASSING, Seed::draw(rng)),
            reassembler: Reassembler::new(reassemble::LOCAL, Seed::draw(rng)),
            hosts: Map::with_hasher(Seed::draw(rng)),
            flows_per_host: settings.nat.flows_per_host,
            limiter: Limiter::new(limit::PER_SOURCE, limit::OVERALL, Seed::draw(rng)),
            sweep: None,
            v6: Ipv6::new(settings, rng),
            tunnels: Tunnels::new(settings, rng),
            offloads: Offloads::default(),
            overlay,
            notices: VecDeque::new(),
            kernel: Usage::default(),
            #[cfg(test)]
            only_long_way: false,
        }
    }

    /// Runs the frames of `batch`, which came by `port` and bear no tag of its VLAN any more, to their ends. Frames for Control are appended to `punts`. After a
    /// discovery frame it returns, with the rest left in `batch`: what follows may belong to the session that Control is
    /// to open for it.
    pub fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        port: PortId,
        batch: &mut Batch,
        egress: &mut Egress,
        punts: &mut VecDeque<Punt>,
    ) {
        let mut turn = Turn::new(cx, egress, punts);
        self.expire(turn.second);
        self.sweep(turn.now);
        self.v6.expire(turn.now, &mut self.offloads);
        let moment = Moment { now: turn.now, second: turn.second };
        let role = self.ports.get(port.index()).map_or(Role::Unused, |port| port.role);
        // The frames at the front of the batch that are ready to leave, and by which port.
        let (mut ready, mut exit) = (0, None);
        loop {
            let waiting = batch.make_contiguous().get_mut(ready..).unwrap_or_default();
            let (count, next) = match turn.egress.is_watched() {
                // The long way tells what it does.
                true => (0, waiting.first().map(|_| None)),
                false => self.run(moment, port, exit, waiting),
            };
            ready += count;
            turn.egress.transmit_first(exit, batch, ready);
            match next {
                None => return,
                Some(Some(port)) => (ready, exit) = (1, Some(port)),
                Some(None) => {
                    (ready, exit) = (0, None);
                    if let Some(frame) = batch.pop_front() {
                        self.receive_one(&mut turn, port, role, frame);
                    }
                    let punt = turn.punts.back();
                    if punt.is_some_and(|punt| matches!(punt.kind, PuntKind::Discovery { .. })) {
                        return;
                    }
                }
            }
        }
    }

    /// Goes on with those of `frames` that the short way sends by `exit`, up to the first other one. Says how many they are,
    /// and of the other one by which port it is to leave, if the short way has taken it.
    fn run(
        &mut self,
        moment: Moment,
        port: PortId,
        exit: Option<PortId>,
        frames: &mut [Frame],
    ) -> (usize, Option<Option<PortId>>) {
        // No port has this number.
        let exit = exit.map_or(u32::MAX, |exit| u32::from(exit.0));
        let mut count = 0;
        for frame in frames {
            match self.hit::<false>(moment, port, frame) {
                Some(hit) if u32::from(hit.0) == exit => count += 1,
                hit => return (count, Some(hit)),
            }
        }
        (count, None)
    }

    /// A frame's long way.
    #[inline(never)]
    fn receive_one(&mut self, turn: &mut Turn<'_>, port: PortId, role: Role, frame: Frame) {
        match role {
            Role::Lan(lan) => self.receive_lan(turn, port, lan, frame),
            Role::Outside(uplink) => self.receive_outside(turn, port, uplink, frame),
            Role::Unused => turn.egress.drop(frame, DropReason::UnknownEthertype),
        }
    }

    /// Takes a fact that Control has negotiated.
    pub fn apply(&mut self, cx: &mut Cx<'_>, update: Update, egress: &mut Egress) {
        if !matches!(update, Update::NeighbourFound { .. } | Update::NeighbourFailed { .. }) {
            self.ports.iter_mut().for_each(|port| (port.way_in, port.way_in6) = (None, None));
            self.take(cx, update, egress);
            return self.forget_ways(cx.now);
        }
        self.take(cx, update, egress);
    }

    fn take(&mut self, cx: &mut Cx<'_>, update: Update, egress: &mut Egress) {
        match update {
            Update::SessionOpened { owner, session } => {
                let others = self.links.owner_of(&session).into_iter().filter(|other| *other != owner);
                others.chain([owner]).for_each(|owner| self.offloads.tell_closed(owner));
                self.links.open(owner, session);
                self.offloads.tell_opened(owner, session);
            }
            Update::SessionClosed { owner } => {
                self.offloads.tell_closed(owner);
                self.links.close(owner);
                let interface6 = match owner {
                    SessionOwner::Wan(wan) => Update::WanIpv6 { wan, ipv6: None },
                    SessionOwner::Subscriber(subscriber) => Update::SubscriberIpv6 { subscriber, ipv6: None },
                };
                self.v6.apply(cx.now, interface6);
                if matches!(owner, SessionOwner::Subscriber(_)) {
                    self.start_sweep(cx.now);
                }
            }
            Update::WanIpv4Up { wan, ipv4 } => {
                self.offloads.tell_invalid(Interface::Wan(wan), Family::Ipv4);
                if self.links.wan_up(wan, ipv4, egress) {
                    self.start_sweep(cx.now);
                }
            }
            Update::WanIpv4Down { wan } => {
                self.offloads.tell_invalid(Interface::Wan(wan), Family::Ipv4);
                self.links.wan_down(wan, egress);
            }
            Update::SubscriberIpv4Up { subscriber, address, mtu } => {
                self.offloads.tell_invalid(Interface::Subscriber(subscriber), Family::Ipv4);
                self.links.subscriber_up(subscriber, address, mtu);
                self.start_sweep(cx.now);
            }
            Update::SubscriberIpv4Down { subscriber } => {
                self.offloads.tell_invalid(Interface::Subscriber(subscriber), Family::Ipv4);
                if self.links.subscriber_down(subscriber) {
                    self.start_sweep(cx.now);
                }
            }
            Update::WanIpv6 { wan, .. } => self.apply6(cx.now, Interface::Wan(wan), update),
            Update::LanIpv6 { lan, .. } => self.apply6(cx.now, Interface::Lan(lan), update),
            Update::SubscriberIpv6 { subscriber, .. } => {
                self.apply6(cx.now, Interface::Subscriber(subscriber), update);
            }
            Update::NeighbourFound { segment, address, mac } => {
                let Some(neighbours) = self.neighbours(segment) else { return };
                let before = neighbours.known(address);
                let waiting = neighbours.found(cx.now, address, mac);
                if before.is_some_and(|before| before != mac) {
                    self.tell_station(cx.now, segment, address, mac);
                }
                for frame in waiting {
                    match segment {
                        Segment::Lan(lan) => self.transmit_to_station(cx.now, lan, mac, frame, egress),
                        Segment::Wan(wan) => {
                            self.transmit_to_neighbour(Interface::Wan(wan), mac, frame, egress)
                        }
                    }
                }
            }
            Update::NeighbourFailed { segment, address } => {
                let Some(neighbours) = self.neighbours(segment) else { return };
                let was_known = neighbours.known(address).is_some();
                let waiting = neighbours.failed(address);
                neighbours.note_silent(cx.now, address);
                if was_known {
                    self.offloads.tell_changed(segment, address, None);
                }
                let mut punts = VecDeque::new();
                let mut turn = Turn::new(cx, egress, &mut punts);
                for frame in waiting {
                    self.undeliverable(&mut turn, frame, DropReason::NeighbourUnreachable);
                }
            }
        }
    }

    /// What IPv6 has on an interface is this now.
    fn apply6(&mut self, now: Instant, interface: Interface, update: Update) {
        self.offloads.tell_invalid(interface, Family::Ipv6);
        self.v6.apply(now, update);
    }

    /// What the short way would make of a frame that came by `port`, and by which port it would leave. Nothing is noted,
    /// counted or learned.
    pub fn rehearse(&mut self, now: Instant, port: PortId, frame: &mut Frame) -> Option<PortId> {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        self.hit::<true>(Moment { now, second }, port, frame)
    }

    /// Who is on a segment.
    fn neighbours(&mut self, segment: Segment) -> Option<&mut Neighbourhood> {
        match segment {
            Segment::Lan(lan) => self.lans.get_mut(lan.index()).map(|lan| &mut lan.neighbours),
            Segment::Wan(wan) => match &mut self.links.segment_mut(wan)?.carrier {
                Carrier::Ethernet(ethernet) => Some(&mut ethernet.neighbours),
                Carrier::Session(_) => None,
            },
        }
    }

    /// Sends an IP packet of the router's own, which begins at its IP header: it is routed, translated and encapsulated as
    /// any other, and keeps its port where that is free. One of IPv6 leaves by the uplink that its source is of.
    pub fn send_ip(&mut self, cx: &mut Cx<'_>, packet: Frame, egress: &mut Egress) {
        let mut punts = VecDeque::new();
        let mut turn = Turn::new(cx, egress, &mut punts);
        match packet.bytes().first().map(|first| first >> 4) {
            Some(6) => self.ipv6(&mut turn, Ingress::ROUTER, false, packet),
            _ => self.ipv4(&mut turn, Ingress::ROUTER, packet),
        }
        for punt in punts {
            egress.drop(punt.frame, DropReason::NotListening);
        }
    }

    /// Sends an Ethernet frame of the router's own on a LAN: by the port behind which its destination is, or by all.
    pub fn send_lan(&mut self, now: Instant, lan: LanId, frame: Frame, egress: &mut Egress) {
        self.transmit_on_lan(now, lan, frame, egress);
    }

    /// Ends flows whose time is over, and packets that have waited too long.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>, egress: &mut Egress) {
        let now = cx.now;
        self.expire(u32::try_from(now.as_secs()).unwrap_or(u32::MAX));
        self.sweep(now);
        self.fragments.handle_timeout(now, egress);
        self.reassembler.handle_timeout(now, egress);
        self.overlay.fragments().handle_timeout(now, egress);
        let offloads = &mut self.offloads;
        for (id, lan) in (0u16..).map(LanId).zip(&mut self.lans) {
            let neighbours = &lan.neighbours;
            lan.bridge
                .handle_timeout(now, |station| offloads.tell_silent(Segment::Lan(id), station, neighbours));
            let lost = |address| offloads.tell_changed(Segment::Lan(id), address, None);
            lan.neighbours.handle_timeout(now, egress, lost);
        }
        for (wan, segment) in self.links.segments_mut() {
            let lost = |address| offloads.tell_changed(Segment::Wan(wan), address, None);
            segment.neighbours.handle_timeout(now, egress, lost);
        }
        self.handle_timeout_tunnels(cx, egress);
        self.handle_timeout6(cx, egress);
    }

    /// When [`Forwarder::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lans = self.lans.iter().fold(None, |at, lan| {
            earliest(at, earliest(lan.bridge.poll_timeout(), lan.neighbours.poll_timeout()))
        });
        let uplinks =
            self.links.segments().fold(None, |at, segment| earliest(at, segment.neighbours.poll_timeout()));
        let sweep = self.sweep.map(|(_, since)| since);
        let local = earliest(self.reassembler.poll_timeout(), self.overlay.poll_timeout());
        let fragments = earliest(self.fragments.poll_timeout(), local);
        let v4 = earliest(earliest(self.flows.poll_timeout(), fragments), sweep);
        let here = earliest(self.v6.poll_timeout(), self.tunnels.poll_timeout());
        earliest(earliest(v4, here), earliest(lans, uplinks))
    }

    /// The next address that ARP or Neighbor Discovery is to ask for.
    pub fn poll_resolve(&mut self) -> Option<Resolve> {
        let lans =
            (0u16..).map(LanId).zip(&mut self.lans).map(|(id, lan)| (Segment::Lan(id), &mut lan.neighbours));
        let uplinks =
            self.links.segments_mut().map(|(wan, uplink)| (Segment::Wan(wan), &mut uplink.neighbours));
        lans.chain(uplinks)
            .find_map(|(segment, neighbours)| Some(Resolve { segment, address: neighbours.poll_resolve()? }))
    }

    /// What the owner's session or segment has carried. `None` when it has none.
    pub fn usage(&self, owner: SessionOwner) -> Option<Usage> {
        self.links.of(owner).map(|link| link.usage)
    }

    /// What the kernel half has carried of that.
    pub fn usage_in_kernel(&self, owner: SessionOwner) -> Option<Usage> {
        self.links.of(owner).map(|link| link.kernel)
    }

    /// Frames that wait: for a neighbour, or for the first fragment.
    pub fn held(&self) -> usize {
        let fragments = self.fragments.held().saturating_add(self.reassembler.held());
        let lans = self.lans.iter().map(|lan| lan.neighbours.held());
        let uplinks = self.links.segments().map(|segment| segment.neighbours.held());
        let own = self.overlay.held().saturating_add(self.tunnels.held());
        let waiting = fragments.saturating_add(self.v6.held()).saturating_add(own);
        lans.chain(uplinks).fold(waiting, usize::saturating_add)
    }

    /// The epoch of an uplink: how often its IPv4 address has changed.
    pub fn epoch(&self, wan: WanId) -> u32 {
        self.links.epoch(wan)
    }

    /// The epoch of an uplink's IPv6: how often it has lost an address or a delegated prefix.
    pub fn epoch6(&self, wan: WanId) -> u32 {
        self.v6.networks.epoch(wan)
    }

    /// Number of flows, those of a lost address included until they are swept out.
    pub fn flow_count(&self) -> usize {
        self.flows.len().saturating_add(self.v6.flows.len())
    }

    /// Number of NAT mappings, port forwards included.
    pub fn mapping_count(&self) -> usize {
        self.nat.len()
    }

    /// Every flow.
    pub fn flows(&self) -> impl Iterator<Item = FlowSummary> + '_ {
        let v4 = self.flows.iter().map(|flow| {
            let Pair(there, back) = flow.keys;
            FlowSummary {
                protocol: there.protocol(),
                from: flow.interface(Direction::Original),
                to: flow.interface(Direction::Reply),
                source: (there.source().into(), there.source_port()),
                destination: (there.destination().into(), there.destination_port()),
                translated_source: (back.destination().into(), back.destination_port()),
                translated_destination: (back.source().into(), back.source_port()),
                in_kernel: flow.in_kernel(),
                packets: flow.packets,
                kernel_packets: flow.kernel_packets,
            }
        });
        v4.chain(self.v6.summaries())
    }

    /// The stations known on a LAN, in no order.
    pub fn stations(&self, lan: LanId) -> impl Iterator<Item = (IpAddr, Mac)> + '_ {
        self.lans.get(lan.index()).into_iter().flat_map(|lan| lan.neighbours.stations())
    }

    /// How many of a LAN's stations are known to be behind a peer.
    pub fn stations_behind(&self, lan: LanId, peer: PeerId) -> usize {
        self.lans.get(lan.index()).map_or(0, |lan| lan.bridge.behind(bridge::BridgePort::Peer(peer)))
    }

    /// What is wrong with the bridge ports of a LAN.
    pub fn bridge_troubles(&self, now: Instant, lan: LanId) -> impl Iterator<Item = bridge::Trouble> + '_ {
        self.lans.get(lan.index()).into_iter().flat_map(move |lan| lan.bridge.troubles(now))
    }

    /// Ends a flow and gives back what it used.
    fn end(&mut self, id: FlowId) {
        let Some(mut flow) = self.flows.remove(id) else { return };
        self.offloads.call_back(id, &mut flow);
        let Pair(source, destination) = flow.translated.mappings;
        if let Some(mapping) = source {
            self.nat.detach(mapping, flow.keys.0.destination(), flow.confirmed);
        }
        if let Some(mapping) = destination {
            let confirmed = flow.confirmed && source.is_none();
            self.nat.detach(mapping, flow.keys.0.source(), confirmed);
        }
        if let Some(account) = flow.account()
            && let Some(count) = self.hosts.get_mut(&account)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.hosts.remove(&account);
            }
        }
    }

    fn expire(&mut self, second: u32) {
        while let Some(id) = self.flows.expired(second) {
            self.end(id);
        }
    }

    /// Flows of a lost address are stale at once; this lets the sweep take them out, a part at a time.
    fn start_sweep(&mut self, now: Instant) {
        self.sweep = Some((0, now));
    }

    fn sweep(&mut self, now: Instant) {
        let Some((from, _)) = self.sweep else { return };
        let to = from.saturating_add(SWEEP).min(self.flows.records());
        for id in from..to {
            if self.flows.get(id).is_some_and(|flow| !self.is_current(flow)) {
                self.end(id);
            }
        }
        self.sweep = (to < self.flows.records()).then_some((to, now));
    }
}

fn role(settings: &Settings, port: PortId) -> Role {
    let plain = (0u16..)
        .zip(&settings.wans)
        .find(|(_, wan)| wan.port == port && wan.is_segment())
        .map(|(index, _)| index);
    if let Some(lan) = settings.lan_of_port(port) {
        Role::Lan(lan)
    } else if let Some(plain) = plain {
        Role::Outside(Some(WanId(plain)))
    } else if settings.wans.iter().any(|wan| wan.port == port)
        || settings.concentrators.iter().any(|concentrator| concentrator.port == port)
    {
        Role::Outside(None)
    } else {
        Role::Unused
    }
}

fn new_lan(
    settings: &Settings,
    id: LanId,
    lan: &crate::settings::Lan,
    overlay: &Overlay,
    rng: &mut dyn Rng,
) -> Lan {
    let ports = || lan.ports.iter().filter_map(|port| settings.ports.get(port.index()));
    let own = ports().map(|port| port.mac).collect();
    let peers = overlay.peers().filter(|(_, via)| via.lan == id);
    let bridge = Bridge::new(own, lan.ports.iter().copied(), peers, rng);
    Lan {
        ports: lan.ports.clone(),
        only: bridge.only(),
        mac: ports().next().map(|port| port.mac).unwrap_or_default(),
        mtu: ports().map(|port| port.mtu).min().unwrap_or(1500),
        serves_dhcp: lan.dhcp.is_some(),
        bridge,
        neighbours: Neighbourhood::new(rng),
    }
}
