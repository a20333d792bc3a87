//! NAT44: which inside address and port stands behind which external port of an uplink, or of a VPN that masquerades
//! (RFC 4787, 5382, 5508, 7857).
//!
//! Mapping is endpoint-independent: an inside address and port keeps one external port towards everyone, for as long as
//! one of its flows lives. External ports are drawn at random (RFC 7857 §9), keep the parity of the inside port where
//! they can (RFC 4787 REQ-4), and are never shared (RFC 4787 REQ-3). A mapping belongs to the epoch of the uplink's
//! address; one of an earlier epoch is retired where it is met.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use crate::forward::flow::MappingId;
use crate::id::Interface;
use crate::rng::Rng;
use crate::settings::Filtering;
use crate::table::{Map, Seed};
use crate::wire::ipv4::{ICMP, TCP};

/// An inside address and port (or ICMP identifier), as one uplink or VPN translates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Inside {
    /// Address of the host.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// TCP, UDP or ICMP.
    pub protocol: u8,
    /// The uplink or VPN.
    pub at: Interface,
}

/// An external port (or ICMP identifier) of an uplink or VPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    /// The uplink or VPN.
    pub at: Interface,
    /// TCP, UDP or ICMP.
    pub protocol: u8,
    /// The external port.
    pub port: u16,
}

/// How long a mapping lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// A port forward: as long as the configuration.
    Static,
    /// As long as its flows, and the epoch in which it was made.
    Dynamic {
        /// The uplink's epoch.
        epoch: u32,
    },
}

impl Life {
    /// True for a mapping that is good in `epoch`.
    pub fn is_of(self, epoch: u32) -> bool {
        match self {
            Life::Static => true,
            Life::Dynamic { epoch: made } => made == epoch,
        }
    }
}

/// A mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping {
    /// Who is inside.
    pub inside: Inside,
    /// The external port.
    pub port: u16,
    /// How long it lasts.
    pub life: Life,
    /// Flows that use it.
    flows: u32,
    /// Flows by which the inside host has sent.
    confirmed: u32,
}

impl Mapping {
    /// The external port and its uplink.
    pub fn outside(&self) -> Outside {
        Outside { at: self.inside.at, protocol: self.inside.protocol, port: self.port }
    }
}

/// External ports in use, one bit each.
#[derive(Debug, Clone)]
struct Ports(Box<[u64]>);

impl Ports {
    fn new() -> Ports {
        Ports(vec![0; 1024].into_boxed_slice())
    }

    fn set(&mut self, port: u16, used: bool) {
        if let Some(word) = self.0.get_mut(usize::from(port >> 6)) {
            let bit = 1 << (port & 63);
            *word = if used { *word | bit } else { *word & !bit };
        }
    }

    fn is_free(&self, port: u16) -> bool {
        self.0.get(usize::from(port >> 6)).is_some_and(|word| word & 1 << (port & 63) == 0)
    }

    /// The first free port of `range` from `start` on, round the range, among those whose bits are in `mask`.
    fn first_free(&self, range: &RangeInclusive<u16>, start: u16, mask: u64) -> Option<u16> {
        let find = |from: u16, to: u16| {
            (from >> 6..=to >> 6).find_map(|index| {
                let mut free = !self.0.get(usize::from(index)).copied().unwrap_or(u64::MAX) & mask;
                if index == from >> 6 {
                    free &= u64::MAX << (from & 63);
                }
                if index == to >> 6 {
                    free &= u64::MAX >> (63 - (to & 63));
                }
                (free != 0).then(|| index << 6 | free.trailing_zeros() as u16)
            })
        };
        let before = start.checked_sub(1).filter(|before| before >= range.start());
        find(start, *range.end()).or_else(|| find(*range.start(), before?))
    }
}

const EVEN: u64 = 0x5555_5555_5555_5555;

/// The translation table.
#[derive(Debug)]
pub(crate) struct Nat {
    mappings: Vec<Option<Mapping>>,
    free: Vec<MappingId>,
    inside: Map<Inside, MappingId>,
    outside: Map<Outside, MappingId>,
    /// For each uplink, then for each VPN: ports of TCP, UDP, ICMP.
    ports: Vec<[Ports; 3]>,
    /// Number of uplinks.
    wans: usize,
    /// The disjoint ranges that external ports are drawn from.
    ranges: Vec<RangeInclusive<u16>>,
    filtering: Filtering,
    /// Addresses that the inside host of a mapping has sent to, with the number of flows. Kept for address-dependent
    /// filtering alone.
    peers: Map<(MappingId, Ipv4Addr), u32>,
}

impl Nat {
    /// An empty table for `wans` uplinks and `vpns` VPNs.
    pub fn new(wans: usize, vpns: usize, filtering: Filtering, rng: &mut dyn Rng) -> Nat {
        Nat {
            mappings: Vec::new(),
            free: Vec::new(),
            inside: Map::with_hasher(Seed::draw(rng)),
            outside: Map::with_hasher(Seed::draw(rng)),
            ports: (0..wans.saturating_add(vpns))
                .map(|_| [Ports::new(), Ports::new(), Ports::new()])
                .collect(),
            wans,
            ranges: vec![1024..=u16::MAX],
            filtering,
            peers: Map::with_hasher(Seed::draw(rng)),
        }
    }

    /// Draws external ports from these disjoint ranges from now on. Empty ranges do not count.
    #[cfg(test)]
    pub fn set_ranges(&mut self, ranges: Vec<RangeInclusive<u16>>) {
        self.ranges = ranges;
    }

    /// Number of mappings, port forwards included.
    pub fn len(&self) -> usize {
        self.mappings.len().saturating_sub(self.free.len())
    }

    /// The mapping `id`.
    pub fn get(&self, id: MappingId) -> Option<&Mapping> {
        self.mappings.get(id.index())?.as_ref()
    }

    /// Opens a port for good. The first forward to an inside port is also what that port's own flows go out by.
    pub fn forward(&mut self, inside: Inside, port: u16) {
        let mapping = Mapping { inside, port, life: Life::Static, flows: 0, confirmed: 0 };
        let outside = mapping.outside();
        if self.outside.contains_key(&outside) {
            return;
        }
        let id = self.store(mapping);
        self.mark(outside, true);
        self.outside.insert(outside, id);
        self.inside.entry(inside).or_insert(id);
    }

    /// The mapping of an inside port in the uplink's present epoch.
    pub fn by_inside(&mut self, inside: Inside, epoch: u32) -> Option<MappingId> {
        let id = *self.inside.get(&inside)?;
        self.current(id, epoch)
    }

    /// The mapping of an external port in the uplink's present epoch.
    pub fn by_outside(&mut self, outside: Outside, epoch: u32) -> Option<MappingId> {
        let id = *self.outside.get(&outside)?;
        self.current(id, epoch)
    }

    /// Maps an inside port anew: to `keep` if that is asked for and free, to a random one otherwise. `None` when no port
    /// is free.
    pub fn map(
        &mut self,
        inside: Inside,
        epoch: u32,
        keep: Option<u16>,
        rng: &mut dyn Rng,
    ) -> Option<MappingId> {
        let ports = self.ports.get(self.place(inside.at)?)?.get(class(inside.protocol))?;
        let port = match keep.filter(|&port| ports.is_free(port)) {
            Some(port) => port,
            None => {
                let same = if inside.port & 1 == 0 { EVEN } else { !EVEN };
                // Identifiers have no parity worth keeping.
                let masks = if inside.protocol == ICMP { [u64::MAX; 2] } else { [same, u64::MAX] };
                masks.into_iter().find_map(|mask| self.draw(ports, mask, rng))?
            }
        };
        Some(self.install(inside, epoch, port))
    }

    /// The mapping of an inside port to this very external port, a new one if need be. `None` when either has another.
    pub fn claim(&mut self, inside: Inside, epoch: u32, port: u16) -> Option<MappingId> {
        if let Some(id) = self.by_inside(inside, epoch) {
            return self.get(id).is_some_and(|mapping| mapping.port == port).then_some(id);
        }
        let outside = Outside { at: inside.at, protocol: inside.protocol, port };
        if port == 0 || self.by_outside(outside, epoch).is_some() {
            return None;
        }
        Some(self.install(inside, epoch, port))
    }

    fn install(&mut self, inside: Inside, epoch: u32, port: u16) -> MappingId {
        let id = self.store(Mapping { inside, port, life: Life::Dynamic { epoch }, flows: 0, confirmed: 0 });
        let outside = Outside { at: inside.at, protocol: inside.protocol, port };
        self.mark(outside, true);
        self.outside.insert(outside, id);
        self.inside.insert(inside, id);
        id
    }

    /// A random free port of the ranges, among those whose bits are in `mask`.
    fn draw(&self, ports: &Ports, mask: u64, rng: &mut dyn Rng) -> Option<u16> {
        let size = |range: &RangeInclusive<u16>| u64::from(range.end().saturating_sub(*range.start())) + 1;
        let ranges = || self.ranges.iter().filter(|range| !range.is_empty());
        let mut at = rng.below(ranges().map(size).sum());
        let mut first = 0;
        for (index, range) in ranges().enumerate() {
            if at < size(range) {
                first = index;
                break;
            }
            at -= size(range);
        }
        let count = ranges().count();
        ranges().chain(ranges()).skip(first).take(count).enumerate().find_map(|(turn, range)| {
            let ahead = if turn == 0 { at as u16 } else { 0 };
            ports.first_free(range, range.start().saturating_add(ahead), mask)
        })
    }

    /// A flow uses the mapping.
    pub fn attach(&mut self, id: MappingId) {
        if let Some(mapping) = self.entry(id) {
            mapping.flows = mapping.flows.saturating_add(1);
        }
    }

    /// The inside host has sent to `peer` by one of the mapping's flows.
    pub fn confirm(&mut self, id: MappingId, peer: Ipv4Addr) {
        if let Some(mapping) = self.entry(id) {
            mapping.confirmed = mapping.confirmed.saturating_add(1);
            if self.filtering == Filtering::AddressDependent {
                *self.peers.entry((id, peer)).or_insert(0) += 1;
            }
        }
    }

    /// A flow with `peer` has ended; a mapping ends with its last flow (RFC 7857 §11).
    pub fn detach(&mut self, id: MappingId, peer: Ipv4Addr, confirmed: bool) {
        let Some(mapping) = self.entry(id) else { return };
        mapping.flows = mapping.flows.saturating_sub(1);
        if confirmed {
            mapping.confirmed = mapping.confirmed.saturating_sub(1);
        }
        if confirmed && let Some(count) = self.peers.get_mut(&(id, peer)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.peers.remove(&(id, peer));
            }
        }
        self.release_unused(id);
    }

    /// Ends a mapping that no flow uses, or came to use, unless it is a port forward.
    pub fn release_unused(&mut self, id: MappingId) {
        if self.get(id).is_some_and(|mapping| mapping.flows == 0 && mapping.life != Life::Static) {
            self.retire(id);
            if let Some(place) = self.mappings.get_mut(id.index()) {
                *place = None;
                self.free.push(id);
            }
        }
    }

    /// Whether a packet from `peer`, by no flow, may use the mapping (RFC 4787 §5). One that its inside host no longer
    /// uses lets nobody in: inbound packets alone keep nothing open.
    pub fn admits(&self, id: MappingId, peer: Ipv4Addr) -> bool {
        let Some(mapping) = self.get(id) else { return false };
        if mapping.life == Life::Static {
            return true;
        }
        match self.filtering {
            Filtering::EndpointIndependent => mapping.confirmed > 0,
            Filtering::AddressDependent => self.peers.contains_key(&(id, peer)),
            Filtering::AddressAndPortDependent => false,
        }
    }

    /// The mapping, unless it is of an earlier epoch: then it is retired.
    fn current(&mut self, id: MappingId, epoch: u32) -> Option<MappingId> {
        if self.get(id)?.life.is_of(epoch) {
            Some(id)
        } else {
            self.retire(id);
            None
        }
    }

    /// Takes a mapping out of the tables. Its record stays until its last flow ends.
    fn retire(&mut self, id: MappingId) {
        let Some(mapping) = self.get(id).copied() else { return };
        if self.inside.get(&mapping.inside) == Some(&id) {
            self.inside.remove(&mapping.inside);
        }
        if self.outside.get(&mapping.outside()) == Some(&id) {
            self.outside.remove(&mapping.outside());
            self.mark(mapping.outside(), false);
        }
    }

    fn store(&mut self, mapping: Mapping) -> MappingId {
        if let Some(id) = self.free.pop()
            && let Some(place) = self.mappings.get_mut(id.index())
        {
            *place = Some(mapping);
            return id;
        }
        self.mappings.push(Some(mapping));
        MappingId::of(self.mappings.len().saturating_sub(1))
    }

    fn entry(&mut self, id: MappingId) -> Option<&mut Mapping> {
        self.mappings.get_mut(id.index())?.as_mut()
    }

    fn mark(&mut self, outside: Outside, used: bool) {
        let place = self.place(outside.at).and_then(|place| self.ports.get_mut(place));
        if let Some(ports) = place.and_then(|ports| ports.get_mut(class(outside.protocol))) {
            ports.set(outside.port, used);
        }
    }

    /// Where the ports of an interface are.
    fn place(&self, at: Interface) -> Option<usize> {
        match at {
            Interface::Wan(wan) => Some(wan.index()),
            Interface::Vpn(vpn) => self.wans.checked_add(vpn.index()),
            _ => None,
        }
    }

    /// True when the two tables, the port bits and the records agree.
    #[cfg(test)]
    pub fn is_consistent(&self) -> bool {
        let listed = |id: MappingId, mapping: &Mapping| self.outside.get(&mapping.outside()) == Some(&id);
        self.outside.iter().all(|(outside, &id)| {
            self.get(id).is_some_and(|mapping| mapping.outside() == *outside)
                && !self.ports[self.place(outside.at).unwrap()][class(outside.protocol)].is_free(outside.port)
        }) && self.inside.iter().all(|(inside, &id)| {
            self.get(id).is_some_and(|mapping| mapping.inside == *inside && listed(id, mapping))
        }) && self
            .ports
            .iter()
            .flatten()
            .map(|ports| ports.0.iter().map(|w| w.count_ones()).sum::<u32>())
            .sum::<u32>() as usize
            == self.outside.len()
            && self.mappings.iter().flatten().count() == self.len()
    }

    /// Flows that the mappings say use them, for a test to compare with the flow table.
    #[cfg(test)]
    pub fn uses(&self) -> (u32, u32) {
        let all = || self.mappings.iter().flatten();
        (all().map(|mapping| mapping.flows).sum(), all().map(|mapping| mapping.confirmed).sum())
    }
}

fn class(protocol: u8) -> usize {
    match protocol {
        TCP => 0,
        ICMP => 2,
        _ => 1,
    }
}
