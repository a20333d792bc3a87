//! The flow table: one record, two keys.
//!
//! A flow is a slab record with the key of each direction as its packets come in. Because the key of one direction,
//! turned round, is what the other direction's packets look like on their way out, the two keys are the translation: only
//! the checksum deltas are kept beside them. The index holds four octets per key and compares with the record.

use alloc::vec::Vec;

use core::hash::BuildHasher;
use core::net::Ipv4Addr;
use core::num::NonZeroU32;

use hashbrown::HashTable;

use crate::forward::handover::Handed;
use crate::forward::key::{FlowKey, Key};
use crate::forward::offload::SWEEP;
use crate::forward::parse::Carries;
use crate::forward::side::Side;
use crate::forward::tcp::{Clock, TcpState};
use crate::forward::wheel::Wheel;
use crate::id::Interface;
use crate::settings::Timeouts;
use crate::table::Seed;
use crate::time::{Duration, Instant};
use crate::wire::checksum::Delta;

/// Idle time after which a DNS question's flow ends: longer than the DNS forwarder waits for a server.
const DNS_QUESTION: Duration = Duration::from_secs(5);

/// Least idle time after which a connection other than TCP's ends, be it opening or closing (RFC 6092 REC-40, REC-44).
const CONNECTION: Duration = Duration::from_secs(480);

/// A direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// That of the packet that made the flow.
    Original,
    /// The other one.
    Reply,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }

    /// 0 or 1.
    pub fn index(self) -> u8 {
        self as u8
    }
}

/// Two of a thing: one for each direction, or for each end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair<T>(pub T, pub T);

impl<T: Copy> Pair<T> {
    /// The one that belongs to `direction`.
    pub fn of(&self, direction: Direction) -> T {
        match direction {
            Direction::Original => self.0,
            Direction::Reply => self.1,
        }
    }
}

/// What a flow's clock depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlowState {
    /// TCP.
    Tcp(TcpState),
    /// An association of SCTP or a connection of DCCP, which begin and end much like TCP's.
    Connection(TcpState),
    /// UDP.
    Udp,
    /// A DNS question to the router or of its own. Each has a port of its own and one answer, which comes soon or not at
    /// all; RFC 4787 REQ-5a lets well-known ports have shorter timers.
    DnsQuestion,
    /// An ICMP query and its answers.
    Icmp,
    /// Another protocol.
    Other,
}

impl FlowState {
    /// The state of a flow that begins with such a packet.
    pub fn opening(carries: Carries) -> FlowState {
        match carries {
            Carries::Tcp(_) => FlowState::Tcp(TcpState::Opening),
            Carries::Connection(_) => FlowState::Connection(TcpState::Opening),
            Carries::Udp => FlowState::Udp,
            Carries::IcmpQuery | Carries::IcmpAnswer | Carries::IcmpError | Carries::IcmpOther => {
                FlowState::Icmp
            }
            Carries::Other | Carries::LaterFragment => FlowState::Other,
        }
    }

    fn timeout(self, timeouts: &Timeouts) -> Duration {
        match self {
            FlowState::Tcp(state) => state.timeout(timeouts),
            FlowState::Connection(state) => state.timeout(timeouts).max(CONNECTION),
            FlowState::Udp => timeouts.udp,
            FlowState::DnsQuestion => DNS_QUESTION.min(timeouts.udp),
            FlowState::Icmp => timeouts.icmp,
            FlowState::Other => timeouts.other,
        }
    }
}

/// A mapping of the translation table that an end of a flow is translated by. None is as short as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MappingId(NonZeroU32);

impl MappingId {
    /// That of the record with this index.
    pub fn of(index: usize) -> MappingId {
        let number = u32::try_from(index.saturating_add(1)).unwrap_or(u32::MAX);
        MappingId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    /// The index of its record.
    pub fn index(self) -> usize {
        (self.0.get() as usize).saturating_sub(1)
    }
}

/// Whom a flow is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Account<A> {
    /// The inside host's address.
    pub host: A,
    /// The flow was opened towards the host from outside: counted apart, lest outsiders use up what it may open itself.
    pub inbound: bool,
}

/// A flow.
#[derive(Debug, Clone)]
pub(crate) struct Flow<K: FlowKey = Key> {
    /// The keys of the two directions, as packets come in.
    pub keys: Pair<K>,
    /// What the two directions come in by, in its epoch when the flow was made; the other one is what they go out by.
    pub sides: Pair<Side>,
    /// What its translation needs, besides the keys.
    pub translated: K::Translation,
    /// Which directions' packets keep the flow alive: those from inside (RFC 4787 REQ-6).
    pub refreshes: Pair<bool>,
    /// An inside host has sent by it: it counts as a use of its mappings.
    pub confirmed: bool,
    /// Its state.
    pub state: FlowState,
    /// The second in which it was last refreshed.
    pub refreshed: u32,
    /// Set when it is counted against its inside host: whether it was opened towards it from outside.
    pub inbound: Option<bool>,
    /// What the kernel half has been told of it.
    pub handed: Handed,
    /// Packets that have come through here, modulo 2^32.
    pub packets: u32,
    /// Packets that the kernel half has carried.
    pub kernel_packets: u64,
}

/// What a flow keeps of its translation to another IPv4 address.
#[derive(Debug, Clone)]
pub(crate) struct Translated {
    /// Change of the sum over the addresses, for each direction.
    pub addresses: Pair<Delta>,
    /// Change of the sum over ports or identifier, for each direction.
    pub ports: Pair<Delta>,
    /// The mappings of the original source and of the original destination.
    pub mappings: Pair<Option<MappingId>>,
}

impl Translated {
    /// By `mappings`; the deltas are filled in by [`Flow::with_deltas`].
    pub fn by(mappings: Pair<Option<MappingId>>) -> Translated {
        Translated {
            addresses: Pair(Delta::NONE, Delta::NONE),
            ports: Pair(Delta::NONE, Delta::NONE),
            mappings,
        }
    }
}

impl Flow {
    /// The translation of packets in `direction`.
    pub fn translation(&self, direction: Direction) -> Translation {
        let to = self.keys.of(direction.opposite());
        Translation {
            addresses: to.addresses.rotate_left(32),
            ports: to.ports().rotate_left(16),
            address_delta: self.translated.addresses.of(direction),
            port_delta: self.translated.ports.of(direction),
        }
    }

    /// Fills in the deltas from the keys.
    pub fn with_deltas(mut self) -> Flow {
        let delta = |from: Key, to: Key| {
            let out = to.reversed(crate::forward::key::Realm::INSIDE);
            let addresses = Delta::of_address(from.source(), out.source())
                .and(Delta::of_address(from.destination(), out.destination()));
            // In an ICMP key one "port" is the query's type, which does not change: its delta is nothing.
            let ports = Delta::of(from.source_port(), out.source_port())
                .and(Delta::of(from.destination_port(), out.destination_port()));
            (addresses, ports)
        };
        let (there, back) = (delta(self.keys.0, self.keys.1), delta(self.keys.1, self.keys.0));
        self.translated.addresses = Pair(there.0, back.0);
        self.translated.ports = Pair(there.1, back.1);
        self
    }
}

impl<K: FlowKey> Flow<K> {
    /// True when a packet of either direction that neither begins nor ends anything changes the flow's clock alone, and when
    /// the epochs of its ends tell whether it is current.
    #[inline(always)]
    pub fn is_settled(&self) -> bool {
        use TcpState::{Established, HalfClosed};
        self.confirmed
            && matches!(
                self.state,
                FlowState::Udp | FlowState::Icmp | FlowState::Tcp(Established | HalfClosed(_))
            )
            && !K::is_hairpin(&self.translated)
    }

    /// What packets of `direction` come in by.
    #[inline(always)]
    pub fn interface(&self, direction: Direction) -> Interface {
        self.sides.of(direction).interface()
    }

    /// What the two directions come in by.
    pub fn interfaces(&self) -> Pair<Interface> {
        Pair(self.sides.0.interface(), self.sides.1.interface())
    }

    /// Whom it is counted against.
    pub fn account(&self) -> Option<Account<K::Address>> {
        let inbound = self.inbound?;
        // The inside host sends the packets of the one direction or those of the other.
        let from = if inbound { self.keys.1 } else { self.keys.0 };
        Some(Account { host: from.sender(), inbound })
    }

    /// For each direction: the kernel half carries it.
    pub fn in_kernel(&self) -> (bool, bool) {
        (self.handed.has(Direction::Original), self.handed.has(Direction::Reply))
    }

    fn due(&self, timeouts: &Timeouts) -> u32 {
        let mut timeout = self.state.timeout(timeouts);
        if self.handed.is_handed() {
            timeout = timeout.saturating_add(SWEEP);
        }
        let timeout = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
        self.refreshed.saturating_add(timeout).saturating_add(1)
    }
}

/// What the packets of one direction of a flow become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Translation {
    /// New source and destination address, as they stand in the header.
    pub addresses: u64,
    /// New source and destination port, as they stand in the header.
    pub ports: u32,
    /// Change of the sum over the addresses.
    pub address_delta: Delta,
    /// Change of the sum over ports or identifier.
    pub port_delta: Delta,
}

impl Translation {
    /// The new destination address.
    pub fn destination(&self) -> Ipv4Addr {
        (self.addresses as u32).into()
    }
}

/// A slab record's number.
pub(crate) type FlowId = u32;

/// The table.
#[derive(Debug)]
pub(crate) struct FlowTable<K: FlowKey = Key> {
    records: Vec<Option<Flow<K>>>,
    free: Vec<FlowId>,
    /// Record number and direction in one: `id << 1 | direction`.
    index: HashTable<u32>,
    seed: Seed,
    wheel: Wheel,
    timeouts: Timeouts,
    limit: usize,
}

/// Why a flow cannot be put into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The table is full.
    Full,
    /// Another flow has one of its keys.
    Collision,
}

impl<K: FlowKey> FlowTable<K> {
    /// An empty table for at most `limit` flows.
    pub fn new(seed: Seed, timeouts: Timeouts, limit: u32) -> FlowTable<K> {
        FlowTable {
            records: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            seed,
            wheel: Wheel::new(0),
            timeouts,
            limit: usize::try_from(limit.min(u32::MAX >> 2)).unwrap_or(usize::MAX),
        }
    }

    /// Number of flows.
    pub fn len(&self) -> usize {
        self.records.len().saturating_sub(self.free.len())
    }

    /// Most flows.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// True when no further flow fits.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// The flow and direction that `key` tells.
    #[inline(always)]
    pub fn find(&self, key: K) -> Option<(FlowId, Direction)> {
        let slot =
            *self.index.find(self.seed.hash_one(key), |&slot| key_of(&self.records, slot) == Some(key))?;
        Some((slot >> 1, direction_of(slot)))
    }

    /// The flow that `key` tells, to change, with its number and the direction.
    #[inline(always)]
    pub fn find_mut(&mut self, key: K) -> Option<(FlowId, &mut Flow<K>, Direction)> {
        let (id, direction) = self.find(key)?;
        Some((id, self.records.get_mut(id as usize)?.as_mut()?, direction))
    }

    /// The flow `id`.
    pub fn get(&self, id: FlowId) -> Option<&Flow<K>> {
        self.records.get(id as usize)?.as_ref()
    }

    /// The flow `id`, to change.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<K>> {
        self.records.get_mut(id as usize)?.as_mut()
    }

    /// Every flow.
    pub fn iter(&self) -> impl Iterator<Item = &Flow<K>> + '_ {
        self.records.iter().flatten()
    }

    /// Every flow, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flow<K>> + '_ {
        self.records.iter_mut().flatten()
    }

    /// Number of slab records, used and free, for a sweep by [`FlowTable::get`].
    pub fn records(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// Puts a flow in.
    pub fn insert(&mut self, flow: Flow<K>) -> Result<FlowId, Refused> {
        let Pair(there, back) = flow.keys;
        if there == back || self.find(there).is_some() || self.find(back).is_some() {
            return Err(Refused::Collision);
        }
        if self.is_full() {
            return Err(Refused::Full);
        }
        let due = flow.due(&self.timeouts);
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.records.push(None);
                self.records().saturating_sub(1)
            }
        };
        if let Some(record) = self.records.get_mut(id as usize) {
            *record = Some(flow);
        }
        for (key, slot) in [(there, id << 1), (back, id << 1 | 1)] {
            let (records, seed) = (&self.records, &self.seed);
            self.index.insert_unique(seed.hash_one(key), slot, |&slot| match key_of(records, slot) {
                Some(key) => seed.hash_one(key),
                None => 0,
            });
        }
        self.wheel.set(id, due);
        Ok(id)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow<K>> {
        let Pair(there, back) = self.get(id)?.keys;
        for (key, slot) in [(there, id << 1), (back, id << 1 | 1)] {
            if let Ok(entry) = self.index.find_entry(self.seed.hash_one(key), |&other| other == slot) {
                entry.remove();
            }
        }
        self.wheel.cancel(id);
        self.free.push(id);
        self.records.get_mut(id as usize)?.take()
    }

    /// A packet of `id` went by in `direction`: its state and its clock move on. True when it has for the first time been
    /// sent by from inside, and so uses its mappings.
    pub fn advance(&mut self, id: FlowId, direction: Direction, carries: Carries, now: u32) -> bool {
        let Some(flow) = self.records.get_mut(id as usize).and_then(Option::as_mut) else { return false };
        flow.packets = flow.packets.wrapping_add(1);
        let mut clock = Clock::Refresh;
        let opened = match (flow.state, carries) {
            (FlowState::Tcp(state), Carries::Tcp(flags))
            | (FlowState::Connection(state), Carries::Connection(flags)) => Some((state, flags)),
            _ => None,
        };
        if let Some((state, flags)) = opened {
            let before = flow.state;
            let (next, moved) = state.after(flags, direction.index());
            clock = moved;
            if next != state {
                flow.state = match before {
                    FlowState::Connection(_) => FlowState::Connection(next),
                    _ => FlowState::Tcp(next),
                };
                let sooner = flow.state.timeout(&self.timeouts) < before.timeout(&self.timeouts);
                if clock == Clock::Restart || sooner {
                    // The deadline comes nearer than the wheel knows.
                    if clock == Clock::Restart {
                        flow.refreshed = now;
                    }
                    let due = flow.due(&self.timeouts);
                    self.wheel.set(id, due);
                }
            }
        }
        if !flow.refreshes.of(direction) || clock == Clock::Leave {
            return false;
        }
        flow.refreshed = now;
        !core::mem::replace(&mut flow.confirmed, true)
    }

    /// The next flow whose time is over at second `now`. It is still in the table.
    pub fn expired(&mut self, now: u32) -> Option<FlowId> {
        while let Some(id) = self.wheel.pop(now) {
            let Some(due) = self.get(id).map(|flow| flow.due(&self.timeouts)) else { continue };
            if due <= now {
                return Some(id);
            }
            self.wheel.set(id, due);
        }
        None
    }

    /// When a flow may next be over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next().map(|second| Instant::from_secs(u64::from(second)))
    }

    /// True when the two keys of every flow, and nothing else, are in the index.
    #[cfg(test)]
    pub fn is_consistent(&self) -> bool {
        self.index.len() == 2 * self.len()
            && self.iter().count() == self.len()
            && self.records.iter().enumerate().all(|(id, flow)| {
                flow.as_ref().is_none_or(|flow| {
                    self.find(flow.keys.0) == Some((id as u32, Direction::Original))
                        && self.find(flow.keys.1) == Some((id as u32, Direction::Reply))
                })
            })
    }
}

fn direction_of(slot: u32) -> Direction {
    if slot & 1 == 0 { Direction::Original } else { Direction::Reply }
}

fn key_of<K: FlowKey>(records: &[Option<Flow<K>>], slot: u32) -> Option<K> {
    let flow = records.get((slot >> 1) as usize)?.as_ref()?;
    Some(flow.keys.of(direction_of(slot)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::ipv6::key::Key6;

    /// There may be millions.
    #[test]
    fn a_flow_is_short() {
        assert_eq!([size_of::<Option<Flow>>(), size_of::<Option<Flow<Key6>>>()], [96, 144]);
    }
}
