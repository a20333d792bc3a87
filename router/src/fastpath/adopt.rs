//! What an earlier run has handed over: its flows are read out of the maps that it left, so that they go on.
//!
//! Numbers of links and ports are that run's. A link is known again by its identity, a port by its device. What is not
//! known again, or no longer carried, is left out.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::net::IpAddr;

use fnv::FnvHasher;
use genkan_netstack::forward::offload::{Ends, FlowHandle, NextHop, OffloadedFlow};
use genkan_netstack::id::{Family, Interface, Mac, PortId};

use super::layout::{Adjacency, Course, Flow4, Flow6, IPV4, IPV6, Link, Port};
use super::table::{self, Memory};

/// The maps of an earlier run.
#[derive(Debug)]
pub struct Maps<'a, M> {
    /// Directions of IPv4 flows.
    pub flows4: &'a M,
    /// Directions of IPv6 flows.
    pub flows6: &'a M,
    /// Links.
    pub links: &'a M,
    /// Adjacencies.
    pub adjacencies: &'a M,
    /// Every port.
    pub ports: &'a [Port],
}

/// What the names of the configuration stand for now.
#[derive(Debug)]
pub struct Names {
    /// Interfaces by their identity.
    pub interfaces: HashMap<u64, Interface>,
    /// Ports by their device's number.
    pub ports: HashMap<u32, PortId>,
}

/// The identity of an interface: of its kind and name in the configuration (FNV-1a, 64 bits).
pub fn identity(kind: &str, name: &str) -> u64 {
    let mut hash = FnvHasher::default();
    for part in [kind, ".", name] {
        hash.write(part.as_bytes());
    }
    hash.finish()
}

/// The directions of flows that are carried by what an earlier run left. Two of one flow bear the same handle, which means
/// nothing else.
pub fn flows<M: Memory>(left: &Maps<'_, M>, names: &Names) -> Vec<OffloadedFlow> {
    let mut found = Vec::new();
    for number in 0..count::<Flow4>(left.flows4) {
        let flow: Flow4 = table::load(left.flows4, number * size_of::<Flow4>());
        if !is_used(flow.sequence) {
            continue;
        }
        let ends = |source: [u8; 4], destination: [u8; 4], ports: [[u8; 2]; 2]| {
            let [from, to] = ports.map(u16::from_be_bytes);
            Ends { source: (IpAddr::from(source), from), destination: (IpAddr::from(destination), to) }
        };
        let key = flow.key;
        let direction = Direction {
            family: Family::Ipv4,
            number,
            link: key.link,
            protocol: key.protocol,
            before: ends(key.source, key.destination, key.ports),
            after: ends(flow.source, flow.destination, flow.ports),
            address_delta: u16::from_be_bytes(flow.address_delta),
            port_delta: u16::from_be_bytes(flow.port_delta),
            course: flow.course,
        };
        found.extend(direction.read(left, names));
    }
    for number in 0..count::<Flow6>(left.flows6) {
        let flow: Flow6 = table::load(left.flows6, number * size_of::<Flow6>());
        if !is_used(flow.sequence) {
            continue;
        }
        let key = flow.key;
        let [from, to] = key.ports.map(u16::from_be_bytes);
        let ends = Ends {
            source: (IpAddr::from(key.source), from),
            destination: (IpAddr::from(key.destination), to),
        };
        let direction = Direction {
            family: Family::Ipv6,
            number,
            link: key.link,
            protocol: key.protocol,
            before: ends,
            after: ends,
            address_delta: 0,
            port_delta: 0,
            course: flow.course,
        };
        found.extend(direction.read(left, names));
    }
    found
}

/// A record, of either family.
struct Direction {
    family: Family,
    number: usize,
    link: u16,
    protocol: u8,
    before: Ends,
    after: Ends,
    address_delta: u16,
    port_delta: u16,
    course: Course,
}

impl Direction {
    fn read<M: Memory>(&self, left: &Maps<'_, M>, names: &Names) -> Option<OffloadedFlow> {
        let adjacency = adjacency(left, self.course.adjacency)?;
        let version = if self.family == Family::Ipv4 { IPV4 } else { IPV6 };
        let (from, to) = (link(left, self.link)?, link(left, adjacency.link)?);
        let epochs = [(from, self.course.ingress_epoch), (to, self.course.egress_epoch)];
        if epochs.iter().any(|(link, epoch)| link.epoch.get(version) != Some(epoch)) {
            return None;
        }
        let port = |number: u16| {
            let port = left.ports.iter().find(|port| port.ifindex != 0 && port.number == number)?;
            names.ports.get(&port.ifindex).copied()
        };
        let next_hop = match adjacency.length {
            14 => NextHop::Station {
                address: match self.family {
                    Family::Ipv4 => IpAddr::from(*adjacency.address.first_chunk::<4>()?),
                    Family::Ipv6 => IpAddr::from(adjacency.address),
                },
                station: Mac::read(&adjacency.header)?,
                own: Mac::read(adjacency.header.get(6..)?)?,
            },
            _ => NextHop::Session,
        };
        Some(OffloadedFlow {
            flow: FlowHandle { family: self.family, id: u32::try_from(self.number >> 1).ok()? },
            original: self.number & 1 == 0,
            protocol: self.protocol,
            ingress: *names.interfaces.get(&from.identity)?,
            ingress_port: port(self.course.ingress_port)?,
            before: self.before,
            after: self.after,
            address_delta: self.address_delta,
            port_delta: self.port_delta,
            egress: *names.interfaces.get(&to.identity)?,
            egress_port: port(adjacency.port)?,
            next_hop,
            mtu: adjacency.mtu,
        })
    }
}

fn count<T>(memory: &impl Memory) -> usize {
    memory.len() / size_of::<T>()
}

/// False for a record that was never used, is unused, or was being written when its writer died.
fn is_used(sequence: u32) -> bool {
    sequence != 0 && sequence.is_multiple_of(2)
}

fn link<M: Memory>(left: &Maps<'_, M>, number: u16) -> Option<Link> {
    let number = usize::from(number);
    (number < count::<Link>(left.links)).then(|| table::load(left.links, number * size_of::<Link>()))
}

fn adjacency<M: Memory>(left: &Maps<'_, M>, number: u32) -> Option<Adjacency> {
    let number =
        usize::try_from(number).ok().filter(|number| *number < count::<Adjacency>(left.adjacencies))?;
    let adjacency: Adjacency = table::load(left.adjacencies, number * size_of::<Adjacency>());
    is_used(adjacency.sequence).then_some(adjacency)
}
