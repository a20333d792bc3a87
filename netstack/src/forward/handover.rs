//! Handing flows over to the kernel half, and taking in what it has done with them.
//!
//! 1. When the short way has carried a packet of a direction that is not handed over, `hand_over` says all that it knows of it
//!    ([`Offload::Flow`]). Packets that still come by it afterwards show that the kernel half has lost it, or had no room:
//!    it is handed over again, once a second.
//! 2. What an [`Update`](super::Update) changes is called back for the whole interface ([`Offload::Invalidated`]); what
//!    becomes of a flow, for the flow ([`Offload::FlowEnded`]); what becomes of a station, for the station.
//! 3. What was carried comes back by `note_carried` and `note_usage`, and counts as if it had come by the short way.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use crate::forward::flow::{Direction, Flow, FlowId, Pair};
use crate::forward::hit::Moment;
use crate::forward::key::FlowKey;
use crate::forward::link::Carrier;
use crate::forward::message::{Session, SessionOwner, Usage};
use crate::forward::neighbour::Neighbourhood;
use crate::forward::offload::{Carried, Ends, FlowHandle, NextHop, Offload, OffloadedFlow};
use crate::forward::{Forwarder, Ingress};
use crate::id::{Family, Interface, LanId, Mac, PortId, Segment};
use crate::time::Instant;
use crate::wire::ipv4::{ICMP, TCP, UDP};
use crate::wire::ipv6::ICMPV6;

/// What the kernel half is to be told.
#[derive(Debug, Default)]
pub(super) struct Offloads {
    /// There is a kernel half.
    pub on: bool,
    queue: VecDeque<Offload>,
}

impl Offloads {
    /// Says something, if there is somebody to hear it.
    pub fn tell(&mut self, offload: Offload) {
        if self.on {
            self.queue.push_back(offload);
        }
    }

    /// A flow that may have been handed over is no longer for the kernel half.
    pub fn call_back<K: FlowKey>(&mut self, id: FlowId, flow: &mut Flow<K>) {
        if flow.handed.is_handed() {
            flow.handed = Handed::default();
            self.tell(Offload::FlowEnded(FlowHandle { family: K::FAMILY, id }));
        }
    }

    /// What a station has done.
    pub fn tell_moved(&mut self, lan: LanId, station: Mac, port: PortId) {
        self.tell(Offload::StationMoved { lan, station, port });
    }

    /// Another station has an address, or none.
    pub fn tell_changed(&mut self, segment: Segment, address: IpAddr, station: Option<Mac>) {
        self.tell(Offload::StationChanged { segment, address, station });
    }

    /// Nobody knows behind which port a station is any more: nor where its addresses are.
    pub fn tell_silent(&mut self, segment: Segment, station: Mac, neighbours: &Neighbourhood) {
        if self.on {
            let of_station = neighbours.stations().filter(|(_, mac)| *mac == station);
            of_station.for_each(|(address, _)| self.tell_changed(segment, address, None));
        }
    }

    /// What a family has on an interface is another.
    pub fn tell_invalid(&mut self, interface: Interface, family: Family) {
        self.tell(Offload::Invalidated { interface, family });
    }

    /// The owner has a session.
    pub fn tell_opened(&mut self, owner: SessionOwner, session: Session) {
        self.tell(Offload::SessionOpened { interface: Ingress::link(owner, 0).interface, session });
    }

    /// The owner has no session any more.
    pub fn tell_closed(&mut self, owner: SessionOwner) {
        let interface = Ingress::link(owner, 0).interface;
        self.tell_invalid(interface, Family::Ipv4);
        self.tell_invalid(interface, Family::Ipv6);
        self.tell(Offload::SessionClosed { interface });
    }
}

/// What the kernel half has been told of a flow: for each direction the second in which it was handed over last, plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handed(Pair<u32>);

impl Default for Handed {
    fn default() -> Handed {
        Handed(Pair(0, 0))
    }
}

impl Handed {
    /// Never to be handed over.
    const BARRED: Handed = Handed(Pair(u32::MAX, u32::MAX));

    /// True when a packet of `direction` that comes in `second` is a reason to hand it over.
    #[inline(always)]
    pub fn is_due(&self, direction: Direction, second: u32) -> bool {
        self.0.of(direction) <= second
    }

    /// True when a direction is handed over.
    #[inline(always)]
    pub fn has(&self, direction: Direction) -> bool {
        !matches!(self.0.of(direction), 0 | u32::MAX)
    }

    /// True when either is.
    pub fn is_handed(&self) -> bool {
        self.has(Direction::Original) || self.has(Direction::Reply)
    }

    fn forget(&mut self) {
        if *self != Handed::BARRED {
            *self = Handed::default();
        }
    }

    fn set(&mut self, direction: Direction, second: u32) {
        let told = second.saturating_add(1).min(u32::MAX.saturating_sub(1));
        match direction {
            Direction::Original => self.0.0 = told,
            Direction::Reply => self.0.1 = told,
        }
    }
}

impl Forwarder {
    /// There is a kernel half now, or none any more. A new one knows nothing: it is told the sessions, and the flows as they
    /// come along.
    pub fn set_offload(&mut self, on: bool) {
        self.offloads = Offloads { on, queue: VecDeque::new() };
        self.flows.iter_mut().for_each(|flow| flow.handed.forget());
        self.v6.flows.iter_mut().for_each(|flow| flow.handed.forget());
        for (owner, session) in self.links.sessions() {
            self.offloads.tell_opened(owner, session);
        }
    }

    /// What the kernel half is to do next.
    pub fn poll_offload(&mut self) -> Option<Offload> {
        self.offloads.queue.pop_front()
    }

    /// The short way has carried a packet of `direction`, which came by `port`.
    #[cold]
    #[inline(never)]
    pub(super) fn hand_over(
        &mut self,
        moment: Moment,
        handle: FlowHandle,
        direction: Direction,
        port: PortId,
    ) {
        let Some(flow) = self.describe(moment.now, handle, direction, port) else { return };
        let is_known = matches!(flow.protocol, TCP | UDP | ICMP | ICMPV6);
        let handed = match handle.family {
            Family::Ipv4 => self.flows.get_mut(handle.id).map(|flow| &mut flow.handed),
            Family::Ipv6 => self.v6.flows.get_mut(handle.id).map(|flow| &mut flow.handed),
        };
        match handed {
            Some(handed) if is_known => {
                handed.set(direction, moment.second);
                self.offloads.tell(Offload::Flow(flow));
            }
            Some(handed) => *handed = Handed::BARRED,
            None => {}
        }
    }

    /// Another station has an address now. On a bridge that is of use while it is known where it is.
    pub(super) fn tell_station(&mut self, now: Instant, segment: Segment, address: IpAddr, station: Mac) {
        let bridge = match segment {
            Segment::Lan(lan) => {
                self.lans.get(lan.index()).filter(|state| state.only.is_none()).map(|state| (lan, state))
            }
            Segment::Wan(_) => None,
        };
        let port = bridge.map(|(lan, state)| (lan, state.bridge.local_port(now, station)));
        match port {
            None => self.offloads.tell_changed(segment, address, Some(station)),
            Some((_, None)) => self.offloads.tell_changed(segment, address, None),
            Some((lan, Some(port))) => {
                self.offloads.tell_changed(segment, address, Some(station));
                self.offloads.tell_moved(lan, station, port);
            }
        }
    }

    /// All that is known of a direction of a flow.
    fn describe(
        &self,
        now: Instant,
        handle: FlowHandle,
        direction: Direction,
        ingress_port: PortId,
    ) -> Option<OffloadedFlow> {
        let course = match handle.family {
            Family::Ipv4 => {
                let flow = self.flows.get(handle.id)?;
                let translation = flow.translation(direction);
                let deltas = (translation.address_delta, translation.port_delta);
                Course::new(flow, direction, (deltas.0.value(), deltas.1.value()))
            }
            Family::Ipv6 => Course::new(self.v6.flows.get(handle.id)?, direction, (0, 0)),
        };
        let (egress_port, next_hop, mtu) = self.way_out(now, course.egress, course.after.destination.0)?;
        Some(OffloadedFlow {
            flow: handle,
            original: direction == Direction::Original,
            protocol: course.protocol,
            ingress: course.ingress,
            ingress_port,
            before: course.before,
            after: course.after,
            address_delta: course.deltas.0,
            port_delta: course.deltas.1,
            egress: course.egress,
            egress_port,
            next_hop,
            mtu,
        })
    }

    /// How packets to `destination` leave by `out`, when no question is open: the port, to whom, and the largest one.
    fn way_out(&self, now: Instant, out: Interface, destination: IpAddr) -> Option<(PortId, NextHop, u16)> {
        if let Interface::Lan(lan) = out {
            let state = self.lans.get(lan.index())?;
            let station = state.neighbours.known(destination)?;
            let port = match state.only {
                Some(only) => only,
                None => state.bridge.local_port(now, station)?,
            };
            return Some((
                port,
                NextHop::Station { address: destination, station, own: state.mac },
                state.mtu,
            ));
        }
        let link = self.links.at(out)?;
        let (address, mtu) = match destination {
            IpAddr::V4(destination) => (link.ipv4?.next_hop(destination).into(), link.ipv4?.mtu),
            IpAddr::V6(destination) => {
                let next_hop = self.v6.networks.next_hop(out, destination)?;
                (next_hop.into(), self.v6.networks.mtu(out)?)
            }
        };
        let next_hop = match &link.carrier {
            Carrier::Session(_) => NextHop::Session,
            Carrier::Ethernet(ethernet) => {
                let station = ethernet.neighbours.known(address)?;
                NextHop::Station { address, station, own: ethernet.mac }
            }
        };
        Some((link.port(), next_hop, mtu))
    }

    /// This flow is never handed over again.
    pub fn bar(&mut self, flow: FlowHandle) {
        let (id, offloads) = (flow.id, &mut self.offloads);
        match flow.family {
            Family::Ipv4 => {
                if let Some(flow) = self.flows.get_mut(id) {
                    offloads.call_back(id, flow);
                    flow.handed = Handed::BARRED;
                }
            }
            Family::Ipv6 => {
                if let Some(flow) = self.v6.flows.get_mut(id) {
                    offloads.call_back(id, flow);
                    flow.handed = Handed::BARRED;
                }
            }
        }
    }

    /// The kernel half has carried packets of a direction that it was given: the flow, the station that they went to and the
    /// one that they came from are as alive as if they had come this way.
    pub fn note_carried(&mut self, now: Instant, carried: &Carried) {
        let direction = if carried.original { Direction::Original } else { Direction::Reply };
        let last = carried.last.min(now);
        let id = carried.flow.id;
        let course = match carried.flow.family {
            Family::Ipv4 => {
                self.flows.get_mut(id).and_then(|flow| Course::noted(flow, direction, carried, last))
            }
            Family::Ipv6 => {
                self.v6.flows.get_mut(id).and_then(|flow| Course::noted(flow, direction, carried, last))
            }
        };
        let Some(Course { ingress, egress, before, after, .. }) = course else { return };
        let next_hop = match after.destination.0 {
            IpAddr::V4(address) => self
                .links
                .at(egress)
                .and_then(|link| link.ipv4)
                .map_or(address, |ipv4| ipv4.next_hop(address))
                .into(),
            IpAddr::V6(address) => self.v6.networks.next_hop(egress, address).unwrap_or(address).into(),
        };
        let segment = match egress {
            Interface::Lan(lan) => Some(Segment::Lan(lan)),
            Interface::Wan(wan) => Some(Segment::Wan(wan)),
            Interface::Subscriber(_) | Interface::Vpn(_) | Interface::Router => None,
        };
        if let Some(neighbours) = segment.and_then(|segment| self.neighbours(segment)) {
            neighbours.station(last, next_hop);
        }
        if let Interface::Lan(lan) = ingress
            && let Some(lan) = self.lans.get_mut(lan.index())
            && lan.only.is_none()
            && let Some(station) = lan.neighbours.known(before.source.0)
        {
            lan.bridge.refresh(last, station, carried.ingress_port);
        }
    }

    /// The kernel half has carried this much by an interface.
    pub fn note_usage(&mut self, now: Instant, interface: Interface, carried: Usage) {
        self.kernel.add(&carried);
        if let Some(link) = self.links.at_mut(interface) {
            link.usage.add(&carried);
            link.kernel.add(&carried);
            if carried.rx_packets > 0 {
                link.usage.last_received = Some(now);
                link.kernel.last_received = Some(now);
            }
        }
    }

    /// What the kernel half has carried in all: received by and sent by any interface.
    pub fn kernel_usage(&self) -> Usage {
        self.kernel
    }
}

/// A direction of a flow, as both families have it.
struct Course {
    protocol: u8,
    ingress: Interface,
    egress: Interface,
    before: Ends,
    after: Ends,
    deltas: (u16, u16),
}

impl Course {
    fn new<K: FlowKey>(flow: &Flow<K>, direction: Direction, deltas: (u16, u16)) -> Course {
        let (from, to) = (flow.keys.of(direction), flow.keys.of(direction.opposite()));
        let back = to.ends();
        Course {
            protocol: from.number(),
            ingress: flow.interface(direction),
            egress: flow.interface(direction.opposite()),
            before: from.ends(),
            after: Ends { source: back.destination, destination: back.source },
            deltas,
        }
    }

    /// Takes down in the flow what was carried of it. `None` when this direction is not the kernel half's.
    fn noted<K: FlowKey>(
        flow: &mut Flow<K>,
        direction: Direction,
        carried: &Carried,
        last: Instant,
    ) -> Option<Course> {
        if !flow.handed.has(direction) {
            return None;
        }
        flow.kernel_packets = flow.kernel_packets.saturating_add(u64::from(carried.packets));
        if flow.refreshes.of(direction) {
            let second = u32::try_from(last.as_secs()).unwrap_or(u32::MAX);
            flow.refreshed = flow.refreshed.max(second);
        }
        Some(Course::new(flow, direction, (0, 0)))
    }
}
