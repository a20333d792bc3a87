//! Flows of an earlier run go on: what it handed over of a direction is enough to make the flow again, and so is what it
//! remembered of one that it carried itself.
//!
//! A flow is made as a packet of its first direction would make it now: the same questions are asked of addresses, routes, rules
//! and limits (`begin`). Only the external port is not drawn but taken over, and what the kernel half knew of stations is.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::forward::flow::{Direction, Flow, FlowId, FlowState, MappingId, Pair};
use crate::forward::ipv6::key::Key6;
use crate::forward::ipv6::parse::{ECHO_REQUEST, Packet6};
use crate::forward::key::{FlowKey, Key, Realm};
use crate::forward::nat::Inside;
use crate::forward::offload::{Ends, FlowHandle, NextHop, OffloadedFlow};
use crate::forward::parse::{Carries, Packet, SYN};
use crate::forward::tcp::TcpState;
use crate::forward::{Forwarder, Ingress, Turn};
use crate::frame::Egress;
use crate::id::{Family, Interface, Segment};
use crate::machine::Cx;
use crate::time::Instant;
use crate::wire::ipv4::{self, ICMP, TCP, UDP};
use crate::wire::ipv6::{self, ICMPV6};

/// How many flows are remembered: more take longer to write and to read than their packets would wait.
pub const LEFT: usize = 16_384;

/// A flow by its first direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// TCP, UDP, ICMP or ICMPv6, by number.
    pub protocol: u8,
    /// What its packets come in by.
    pub from: Interface,
    /// What they leave by.
    pub to: Interface,
    /// How they come in.
    pub before: Ends,
    /// How they leave; of an IPv6 flow the same.
    pub after: Ends,
}

impl Course {
    /// That of an open flow between LANs and uplinks, and whether the kernel half carries all of it.
    fn left<K: FlowKey>(flow: &Flow<K>) -> Option<(bool, Course)> {
        let Pair(from, to) = flow.interfaces();
        let lasts = |interface| matches!(interface, Interface::Lan(_) | Interface::Wan(_));
        let is_left = flow.is_settled() && lasts(from) && lasts(to);
        let course = || Course {
            protocol: flow.keys.0.number(),
            from,
            to,
            before: flow.keys.0.ends(),
            after: flow.keys.1.ends().reversed(),
        };
        is_left.then(|| (flow.in_kernel() == (true, true), course()))
    }

    fn of(flow: &OffloadedFlow) -> Course {
        let &OffloadedFlow { protocol, ingress, egress, before, after, .. } = flow;
        match flow.original {
            true => Course { protocol, from: ingress, to: egress, before, after },
            false => Course {
                protocol,
                from: egress,
                to: ingress,
                before: after.reversed(),
                after: before.reversed(),
            },
        }
    }

    /// What a packet that opens such a flow carries, and the state of a flow that is open.
    fn carries(&self) -> Option<(Carries, FlowState)> {
        match self.protocol {
            TCP => Some((Carries::Tcp(SYN), FlowState::Tcp(TcpState::Established))),
            UDP => Some((Carries::Udp, FlowState::Udp)),
            ICMP | ICMPV6 => Some((Carries::IcmpQuery, FlowState::Icmp)),
            _ => None,
        }
    }
}

impl Forwarder {
    /// What the next run needs to go on with open flows, [`LEFT`] at most, those first that nobody else remembers: what the kernel
    /// half carries it may not understand any more. One that came in by another flow's mapping is behind that.
    pub fn left(&self) -> Vec<Course> {
        let four = self.flows.iter().filter_map(Course::left);
        let mut left: Vec<_> = four.chain(self.v6.flows.iter().filter_map(Course::left)).collect();
        left.sort_by_key(|(is_carried, _)| *is_carried);
        left.truncate(LEFT);
        left.sort_by_key(|(_, course)| matches!(course.from, Interface::Wan(_)));
        left.into_iter().map(|(_, course)| course).collect()
    }

    /// Takes over a flow. `None` when it does not fit any more.
    pub fn adopt(&mut self, cx: &mut Cx<'_>, course: &Course) -> Option<FlowHandle> {
        let mut punts = Default::default();
        let mut egress = Egress::new(&[]);
        let mut turn = Turn::new(cx, &mut egress, &mut punts);
        match (course.before.source.0, course.before.destination.0) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                Some(FlowHandle { family: Family::Ipv4, id: self.adopt4(&mut turn, course)? })
            }
            (IpAddr::V6(_), IpAddr::V6(_)) => {
                Some(FlowHandle { family: Family::Ipv6, id: self.adopt6(&mut turn, course)? })
            }
            _ => None,
        }
    }

    /// Takes over a flow by one of its directions, in any order. `None` when it does not fit any more.
    pub fn adopt_flow(&mut self, cx: &mut Cx<'_>, flow: &OffloadedFlow) -> Option<FlowHandle> {
        let handle = self.adopt(cx, &Course::of(flow))?;
        self.adopt_station(cx.now, flow);
        Some(handle)
    }

    fn adopt4(&mut self, turn: &mut Turn<'_>, course: &Course) -> Option<FlowId> {
        let (before, after) = (ends4(course.before)?, ends4(course.after)?);
        let (carries, state) = course.carries().filter(|_| course.protocol != ICMPV6)?;
        let there = Key::of(realm(course.from), course.protocol, before.0, before.1);
        let back = Key::of(realm(course.to), course.protocol, after.1, after.0);
        if let Some((id, direction)) = self.flows.find(there) {
            let flow = self.flows.get(id)?;
            let is_same = direction == Direction::Original
                && flow.keys == Pair(there, back)
                && flow.interfaces() == Pair(course.from, course.to)
                && self.is_current(flow);
            return is_same.then_some(id);
        }
        let ingress = self.ingress_of(course.from, Family::Ipv4)?;
        let mapping = match course.to {
            Interface::Wan(wan) => {
                let at = Interface::Wan(wan);
                let inside = Inside { address: before.0.0, port: before.0.1, protocol: course.protocol, at };
                Some(self.nat.claim(inside, self.links.epoch(wan), after.0.1)?)
            }
            _ => None,
        };
        let total = ipv4::MIN_HEADER;
        let packet = Packet { header: total, total, ttl: u8::MAX, flags: 0, carries, key: there };
        let begun = self.begin(turn, ingress, &packet).ok();
        let id = begun.filter(|&id| self.is_as_it_was(id, back, course.to));
        match (id, begun) {
            (Some(id), _) => self.open4(turn, id, state),
            (None, Some(other)) => self.end(other),
            (None, None) => {
                mapping.into_iter().for_each(|mapping: MappingId| self.nat.release_unused(mapping))
            }
        }
        id
    }

    /// True for a flow whose packets leave by `to`, and whose answers have the key `back`.
    fn is_as_it_was(&self, id: FlowId, back: Key, to: Interface) -> bool {
        self.flows.get(id).is_some_and(|flow| flow.keys.1 == back && flow.interface(Direction::Reply) == to)
    }

    /// The flow is open: its inside host has sent by it.
    fn open4(&mut self, turn: &Turn<'_>, id: FlowId, state: FlowState) {
        if let Some(flow) = self.flows.get_mut(id) {
            flow.state = state;
            flow.refreshed = turn.second;
            if !core::mem::replace(&mut flow.confirmed, true) {
                self.confirm(id);
            }
        }
    }

    fn adopt6(&mut self, turn: &mut Turn<'_>, course: &Course) -> Option<FlowId> {
        let Ends { source: (IpAddr::V6(source), from), destination: (IpAddr::V6(destination), to) } =
            course.before
        else {
            return None;
        };
        let (carries, state) =
            course.carries().filter(|_| course.protocol != ICMP && course.before == course.after)?;
        let ports = u32::from(from) << 16 | u32::from(to);
        let there = Key6::new(realm(course.from), course.protocol, source, destination, ports);
        if let Some((id, direction)) = self.v6.flows.find(there) {
            let interfaces = self.v6.flows.get(id)?.interfaces();
            let is_same = direction == Direction::Original && interfaces == Pair(course.from, course.to);
            return (is_same && self.v6.renew(id)).then_some(id);
        }
        let ingress = self.ingress_of(course.from, Family::Ipv6)?;
        let packet = Packet6 {
            transport: ipv6::HEADER,
            total: ipv6::HEADER,
            hop_limit: u8::MAX,
            fragment: None,
            carries,
            icmp: if course.protocol == ICMPV6 { ECHO_REQUEST } else { 0 },
            key: there,
        };
        let id = self.begin6(turn, ingress, &packet).ok()?;
        let flow = self.v6.flows.get_mut(id)?;
        if flow.interface(Direction::Reply) != course.to {
            self.v6.end(id, &mut self.offloads);
            return None;
        }
        (flow.state, flow.confirmed, flow.refreshed) = (state, true, turn.second);
        Some(id)
    }

    /// What packets by an interface come in by now.
    fn ingress_of(&self, interface: Interface, family: Family) -> Option<Ingress> {
        match (interface, family) {
            (Interface::Lan(lan), Family::Ipv4) => Some(Ingress::lan(lan)),
            (Interface::Lan(lan), Family::Ipv6) => {
                Some(Ingress { epoch: self.epoch_if_up(interface)?, ..Ingress::lan(lan) })
            }
            (Interface::Wan(_) | Interface::Subscriber(_), _) => {
                self.ingress_by(self.links.at(interface)?, family)
            }
            (Interface::Vpn(_) | Interface::Router, _) => None,
        }
    }

    /// The station that a direction's packets went to, and the port that it was behind, where nothing newer is known.
    fn adopt_station(&mut self, now: Instant, flow: &OffloadedFlow) {
        let NextHop::Station { address, station, .. } = flow.next_hop else { return };
        let segment = match flow.egress {
            Interface::Lan(lan) => Segment::Lan(lan),
            Interface::Wan(wan) => Segment::Wan(wan),
            Interface::Subscriber(_) | Interface::Vpn(_) | Interface::Router => return,
        };
        if let Some(neighbours) = self.neighbours(segment) {
            neighbours.adopt(now, address, station);
        }
        if let Segment::Lan(lan) = segment
            && let Some(lan) = self.lans.get_mut(lan.index())
            && lan.ports.contains(&flow.egress_port)
            && lan.only.is_none()
        {
            lan.bridge.refresh(now, station, flow.egress_port);
        }
    }
}

fn realm(interface: Interface) -> Realm {
    match interface {
        Interface::Wan(wan) => Realm::outside(wan),
        Interface::Lan(_) | Interface::Subscriber(_) | Interface::Vpn(_) | Interface::Router => Realm::INSIDE,
    }
}

fn ends4(ends: Ends) -> Option<((Ipv4Addr, u16), (Ipv4Addr, u16))> {
    match (ends.source, ends.destination) {
        ((IpAddr::V4(source), from), (IpAddr::V4(destination), to)) => {
            Some(((source, from), (destination, to)))
        }
        _ => None,
    }
}
