//! Keeps the maps of the kernel half as the Forwarder says ([`Offload`]), and tells it what was carried.
//!
//! Interfaces and next hops become numbers here: *links* and *adjacencies*. A link has an epoch for each version of IP,
//! which goes up when what was handed over of it holds no longer; so one number stops all its flows at once, and each is
//! handed over anew when it proves itself again.

use std::collections::HashMap;
use std::net::IpAddr;

use bytemuck::Zeroable as _;
use genkan_netstack::forward::offload::{Carried, Ends, FlowHandle, NextHop, Offload, OffloadedFlow};
use genkan_netstack::forward::{Session, Usage};
use genkan_netstack::id::{Family, Interface, LanId, Mac, PortId, WanId};
use genkan_netstack::time::{Duration, Instant};

use super::layout::{
    ADJACENT_CHECKSUM, ADJACENT_TAP, ADJACENT_XDP, Adjacency, Course, Flow4, Flow6, IPV4, IPV6, Key4, Key6,
    Link, SessionKey,
};
use super::table::{self, Memory, Record, Table};

/// The unit of the kernel half's coarse time is two to this power of nanoseconds.
pub const UNIT_BITS: u32 = 30;

/// Octets of an Ethernet header.
const ETHERNET: u8 = 14;
/// Octets of Ethernet, PPPoE and PPP headers.
const PPPOE: u8 = 22;

/// Where the mirror writes.
pub trait Maps {
    /// Memory that the kernel half reads.
    type Memory: Memory;
    /// The memory of `links`.
    fn links(&self) -> &Self::Memory;
    /// The memory of `adjacencies`.
    fn adjacencies(&self) -> &Self::Memory;
    /// Frames of this session are of this link.
    fn add_session(&mut self, session: &SessionKey, link: u32) -> std::io::Result<()>;
    /// Frames of this session are nobody's.
    fn remove_session(&mut self, session: &SessionKey);
}

/// What the kernel half needs to know of a port's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub ifindex: u32,
    /// XDP programs can send to it.
    pub xdp: bool,
    /// It is a tap, whose other end is the host's.
    pub tap: bool,
    /// Partial checksums behind a PPPoE header are completed after we have sent them.
    pub checksum: bool,
}

/// To whom packets leave: by this link, as packets of this family, to this station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Hop {
    link: u16,
    family: Family,
    address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Adjacencies {
    numbers: HashMap<Hop, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    hop: Hop,
    /// Directions that leave by it.
    uses: u32,
    /// What is written in the map, its sequence apart.
    adjacency: Adjacency,
}

/// The maps' contents, as the program knows them.
#[derive(Debug)]
pub struct Mirror<M: Maps> {
    maps: M,
    flows4: Table<Flow4, M::Memory>,
    flows6: Table<Flow6, M::Memory>,
    /// Devices of the ports, in their order; `None` while a port has none that the kernel half may use.
    devices: Vec<Option<Device>>,
    lans: u16,
    /// LANs and uplinks: their links come first.
    fixed: u16,
    /// Every link's epochs.
    links: Vec<Link>,
    /// Links of subscribers, and numbers that none has.
    subscribers: HashMap<Interface, u16>,
    free_links: Vec<u16>,
    sessions: HashMap<Interface, (SessionKey, Session)>,
    adjacencies: Adjacencies,
    /// What each link had carried when it was last told.
    told: HashMap<u16, Usage>,
}

/// How many links there are to be.
#[derive(Debug, Clone, Copy)]
pub struct Links {
    /// LANs.
    pub lans: u16,
    /// Uplinks.
    pub wans: u16,
    /// Subscribers.
    pub subscribers: u16,
}

impl Links {
    /// All of them.
    pub fn total(self) -> u16 {
        self.lans.saturating_add(self.wans).saturating_add(self.subscribers)
    }
}

impl<M: Maps> Mirror<M> {
    /// A mirror of empty maps. `identity` names a LAN or uplink, for the next program.
    pub fn new(
        maps: M,
        flows4: Table<Flow4, M::Memory>,
        flows6: Table<Flow6, M::Memory>,
        devices: Vec<Option<Device>>,
        links: Links,
        identity: impl Fn(Interface) -> u64,
    ) -> Self {
        let fixed = links.lans.saturating_add(links.wans);
        let interface = |number: u16| match number.checked_sub(links.lans) {
            None => Interface::Lan(LanId(number)),
            Some(wan) => Interface::Wan(WanId(wan)),
        };
        let named = (0..fixed).map(|number| Link { epoch: [1; 2], identity: identity(interface(number)) });
        let unnamed = (fixed..links.total()).map(|_| Link { epoch: [1; 2], identity: 0 });
        let mirror = Mirror {
            maps,
            flows4,
            flows6,
            devices,
            lans: links.lans,
            fixed,
            links: named.chain(unnamed).collect(),
            subscribers: HashMap::new(),
            free_links: (fixed..links.total()).rev().collect(),
            sessions: HashMap::new(),
            adjacencies: Adjacencies::default(),
            told: HashMap::new(),
        };
        for number in 0..links.total() {
            mirror.write_link(number);
        }
        mirror
    }

    /// The maps.
    pub fn maps(&mut self) -> &mut M {
        &mut self.maps
    }

    /// The maps alone.
    pub fn into_maps(self) -> M {
        self.maps
    }

    /// Number of directions that there is room for, of IPv4 and of IPv6.
    pub fn room(&self) -> [u32; 2] {
        [self.flows4.capacity(), self.flows6.capacity()]
    }

    /// Number of directions that are handed over, of both families.
    pub fn len(&self) -> usize {
        self.flows4.len() + self.flows6.len()
    }

    /// True when nothing is handed over.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of an interface's link, if it has one.
    pub fn link_of(&self, interface: Interface) -> Option<u16> {
        match interface {
            Interface::Lan(lan) => Some(lan.0),
            Interface::Wan(wan) => Some(self.lans.saturating_add(wan.0)),
            Interface::Subscriber(_) => self.subscribers.get(&interface).copied(),
            Interface::Vpn(_) | Interface::Router => None,
        }
        .filter(|link| usize::from(*link) < self.links.len())
    }

    /// Does as the Forwarder says. False when a direction could not be handed over: its table is full, or its port is none
    /// of the kernel half's.
    pub fn apply(&mut self, offload: &Offload) -> bool {
        match *offload {
            Offload::SessionOpened { interface, session } => self.open_session(interface, session),
            Offload::SessionClosed { interface } => {
                self.close_session(interface);
                true
            }
            Offload::Invalidated { interface, family } => {
                if let Some(link) = self.link_of(interface) {
                    self.bump(link, family);
                }
                true
            }
            Offload::StationChanged { segment, address, station } => {
                if let Some(link) = self.link_of(segment.into()) {
                    let family = family_of(address);
                    self.change_station(Hop { link, family, address: Some(address) }, station);
                }
                true
            }
            Offload::StationMoved { lan, station, port } => {
                self.move_station(lan, station, port);
                true
            }
            Offload::Flow(ref flow) => self.put(flow),
            Offload::FlowEnded(flow) => {
                self.remove(flow, true);
                self.remove(flow, false);
                true
            }
        }
    }

    /// The port's device is this now: another one with the same name, or none.
    pub fn set_device(&mut self, port: PortId, device: Option<Device>) {
        if let Some(place) = self.devices.get_mut(port.index()) {
            *place = device;
        }
        for number in 0..self.adjacencies.entries.len() {
            if let Some(entry) = self.adjacencies.entries.get_mut(number)
                && entry.adjacency.port == port.0
                && entry.uses > 0
            {
                direct(&mut entry.adjacency, device);
                self.write_adjacency(number as u32);
            }
        }
    }

    /// What was carried of up to `most` directions from place `cursor` on; `cursor` becomes the place to go on at, and 0 when
    /// all have been looked at. `coarse` is the kernel's coarse time at `now`.
    pub fn carried(
        &mut self,
        now: Instant,
        coarse: u32,
        cursor: &mut u32,
        most: u32,
        told: &mut Vec<Carried>,
    ) {
        let (end4, end6) = (self.flows4.end(), self.flows6.end());
        let stop = cursor.saturating_add(most).min(end4.saturating_add(end6));
        for place in *cursor..stop {
            let (family, number, carried) = match place.checked_sub(end4) {
                None => (Family::Ipv4, place, self.flows4.carried(place)),
                Some(number) => (Family::Ipv6, number, self.flows6.carried(number)),
            };
            if let Some((packets, course)) = carried {
                told.push(Carried {
                    flow: FlowHandle { family, id: number >> 1 },
                    original: number & 1 == 0,
                    ingress_port: PortId(course.ingress_port),
                    packets,
                    last: at(now, coarse, course.last),
                });
            }
        }
        *cursor = if stop >= end4.saturating_add(end6) { 0 } else { stop };
    }

    /// The interfaces that have links, in no order.
    pub fn interfaces(&self) -> Vec<(Interface, u16)> {
        let lans = (0..self.lans).map(|link| (Interface::Lan(LanId(link)), link));
        let wans = (self.lans..self.fixed).map(|link| (Interface::Wan(WanId(link - self.lans)), link));
        lans.chain(wans).chain(self.subscribers.iter().map(|(interface, link)| (*interface, *link))).collect()
    }

    /// What a link has carried since it was last told, when it has carried `total`; nothing when that is nothing.
    pub fn used(&mut self, link: u16, total: Usage) -> Option<Usage> {
        let before = self.told.insert(link, total).unwrap_or_default();
        let new = Usage {
            rx_packets: total.rx_packets.wrapping_sub(before.rx_packets),
            rx_octets: total.rx_octets.wrapping_sub(before.rx_octets),
            tx_packets: total.tx_packets.wrapping_sub(before.tx_packets),
            tx_octets: total.tx_octets.wrapping_sub(before.tx_octets),
            last_received: None,
        };
        (new != Usage::default()).then_some(new)
    }

    fn open_session(&mut self, interface: Interface, session: Session) -> bool {
        self.close_session(interface);
        if let Interface::Subscriber(_) = interface {
            let Some(link) = self.free_links.pop() else { return false };
            self.subscribers.insert(interface, link);
        }
        let Some(link) = self.link_of(interface) else { return false };
        let key = SessionKey {
            port: session.port.0,
            id: session.id.to_be_bytes(),
            peer: session.peer.0,
            own: session.local.0,
        };
        if self.maps.add_session(&key, u32::from(link)).is_err() {
            return false;
        }
        self.sessions.insert(interface, (key, session));
        true
    }

    fn close_session(&mut self, interface: Interface) {
        if let Some((key, _)) = self.sessions.remove(&interface) {
            self.maps.remove_session(&key);
        }
        if let Some(link) = self.link_of(interface) {
            self.bump(link, Family::Ipv4);
            self.bump(link, Family::Ipv6);
        }
        if let Some(link) = self.subscribers.remove(&interface) {
            self.free_links.push(link);
        }
    }

    /// What was handed over of this link holds no longer.
    fn bump(&mut self, link: u16, family: Family) {
        if let Some(state) = self.links.get_mut(usize::from(link))
            && let Some(epoch) = state.epoch.get_mut(index_of(family))
        {
            *epoch = epoch.wrapping_add(1);
            self.write_link(link);
        }
    }

    fn write_link(&self, number: u16) {
        if let Some(link) = self.links.get(usize::from(number)) {
            table::store(self.maps.links(), usize::from(number) * size_of::<Link>(), link);
        }
    }

    fn epoch(&self, link: u16, family: Family) -> u32 {
        let link = self.links.get(usize::from(link));
        link.and_then(|link| link.epoch.get(index_of(family))).copied().unwrap_or(0)
    }

    fn put(&mut self, flow: &OffloadedFlow) -> bool {
        let family = flow.flow.family;
        let number = flow.flow.id << 1 | u32::from(!flow.original);
        self.remove(flow.flow, flow.original);
        let (Some(ingress), Some(egress)) = (self.link_of(flow.ingress), self.link_of(flow.egress)) else {
            return false;
        };
        let Some(adjacency) = self.adjacency(flow, egress) else { return false };
        let course = Course {
            adjacency,
            ingress_epoch: self.epoch(ingress, family),
            egress_epoch: self.epoch(egress, family),
            ingress_port: flow.ingress_port.0,
            ..Course::default()
        };
        let ports = |ends: &Ends| [ends.source.1.to_be_bytes(), ends.destination.1.to_be_bytes()];
        let put = match (flow.before.source.0, flow.before.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (IpAddr::V4(new_source), IpAddr::V4(new_destination)) =
                    (flow.after.source.0, flow.after.destination.0)
                else {
                    return self.release(adjacency);
                };
                let key = Key4 {
                    source: source.octets(),
                    destination: destination.octets(),
                    ports: ports(&flow.before),
                    link: ingress,
                    protocol: flow.protocol,
                    zero: 0,
                };
                self.flows4.put(
                    number,
                    &Flow4 {
                        sequence: 0,
                        key,
                        course,
                        source: new_source.octets(),
                        destination: new_destination.octets(),
                        ports: ports(&flow.after),
                        address_delta: flow.address_delta.to_be_bytes(),
                        port_delta: flow.port_delta.to_be_bytes(),
                    },
                )
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let key = Key6 {
                    source: source.octets(),
                    destination: destination.octets(),
                    ports: ports(&flow.before),
                    link: ingress,
                    protocol: flow.protocol,
                    zero: 0,
                };
                self.flows6.put(number, &Flow6 { sequence: 0, key, course })
            }
            _ => false,
        };
        put || self.release(adjacency)
    }

    fn remove(&mut self, flow: FlowHandle, original: bool) {
        let number = flow.id << 1 | u32::from(!original);
        let course = match flow.family {
            Family::Ipv4 => self.flows4.remove(number).map(|flow| *flow.course()),
            Family::Ipv6 => self.flows6.remove(number).map(|flow| *flow.course()),
        };
        if let Some(course) = course {
            self.release(course.adjacency);
        }
    }

    /// The adjacency of a flow, in use once more, as the flow says it is.
    fn adjacency(&mut self, flow: &OffloadedFlow, link: u16) -> Option<u32> {
        let device = (*self.devices.get(flow.egress_port.index())?)?;
        let family = flow.flow.family;
        let mut adjacency =
            Adjacency { link, port: flow.egress_port.0, mtu: flow.mtu, ..Adjacency::zeroed() };
        direct(&mut adjacency, Some(device));
        let address = match flow.next_hop {
            NextHop::Station { address, station, own } => {
                let ethertype: u16 = if family == Family::Ipv4 { 0x0800 } else { 0x86dd };
                adjacency.length = ETHERNET;
                fill(
                    &mut adjacency.header,
                    station.0.into_iter().chain(own.0).chain(ethertype.to_be_bytes()),
                );
                match address {
                    IpAddr::V4(address) => fill(&mut adjacency.address, address.octets()),
                    IpAddr::V6(address) => fill(&mut adjacency.address, address.octets()),
                }
                Some(address)
            }
            NextHop::Session => {
                let (_, session) = self.sessions.get(&flow.egress)?;
                let protocol: u16 = if family == Family::Ipv4 { 0x0021 } else { 0x0057 };
                let front = session.peer.0.into_iter().chain(session.local.0).chain([0x88, 0x64, 0x11, 0]);
                let rest = session.id.to_be_bytes().into_iter().chain([0, 0]).chain(protocol.to_be_bytes());
                adjacency.length = PPPOE;
                fill(&mut adjacency.header, front.chain(rest));
                None
            }
        };
        let hop = Hop { link, family, address };
        let number = match self.adjacencies.numbers.get(&hop) {
            Some(number) => *number,
            None => self.new_adjacency(hop)?,
        };
        let entry = self.adjacencies.entries.get_mut(number as usize)?;
        let is_new = entry.uses == 0 || entry.adjacency != adjacency;
        entry.uses += 1;
        entry.adjacency = adjacency;
        // What was closed because the station was lost is open again.
        if is_new || self.is_closed(number) {
            self.write_adjacency(number);
        }
        Some(number)
    }

    fn new_adjacency(&mut self, hop: Hop) -> Option<u32> {
        let room = self.maps.adjacencies().len() / size_of::<Adjacency>();
        let entry = Entry { hop, uses: 0, adjacency: Adjacency::zeroed() };
        let number = match self.adjacencies.free.pop() {
            Some(number) => {
                *self.adjacencies.entries.get_mut(number as usize)? = entry;
                number
            }
            None if self.adjacencies.entries.len() < room => {
                self.adjacencies.entries.push(entry);
                u32::try_from(self.adjacencies.entries.len() - 1).ok()?
            }
            None => return None,
        };
        self.adjacencies.numbers.insert(hop, number);
        Some(number)
    }

    /// A direction leaves by this adjacency no longer. Always false: it was not handed over.
    fn release(&mut self, number: u32) -> bool {
        let Some(entry) = self.adjacencies.entries.get_mut(number as usize) else { return false };
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            self.adjacencies.numbers.remove(&entry.hop);
            self.close_adjacency(number);
            self.adjacencies.free.push(number);
        }
        false
    }

    fn change_station(&mut self, hop: Hop, station: Option<Mac>) {
        let Some(&number) = self.adjacencies.numbers.get(&hop) else { return };
        let Some(entry) = self.adjacencies.entries.get_mut(number as usize) else { return };
        match station {
            Some(station) => {
                fill(&mut entry.adjacency.header, station.0);
                self.write_adjacency(number);
            }
            None => self.close_adjacency(number),
        }
    }

    fn move_station(&mut self, lan: LanId, station: Mac, port: PortId) {
        let device = self.devices.get(port.index()).copied().flatten();
        for number in 0..self.adjacencies.entries.len() {
            let Some(entry) = self.adjacencies.entries.get_mut(number) else { continue };
            let adjacency = &mut entry.adjacency;
            if entry.uses > 0 && entry.hop.link == lan.0 && adjacency.header.starts_with(&station.0) {
                adjacency.port = port.0;
                direct(adjacency, device);
                self.write_adjacency(number as u32);
            }
        }
    }

    /// Writes an adjacency as it is known; one without a device is closed.
    fn write_adjacency(&self, number: u32) {
        let Some(entry) = self.adjacencies.entries.get(number as usize) else { return };
        match entry.adjacency.ifindex {
            0 => self.close_adjacency(number),
            _ => table::write(self.maps.adjacencies(), place(number), &entry.adjacency),
        }
    }

    fn close_adjacency(&self, number: u32) {
        table::close(self.maps.adjacencies(), place(number));
    }

    fn is_closed(&self, number: u32) -> bool {
        self.maps.adjacencies().load(place(number)) % 2 == 1
    }
}

/// Octets at which an adjacency is.
fn place(number: u32) -> usize {
    number as usize * size_of::<Adjacency>()
}

/// Lets frames leave by a device.
fn direct(adjacency: &mut Adjacency, device: Option<Device>) {
    adjacency.ifindex = device.map_or(0, |device| device.ifindex);
    let flags = device.map_or([(false, 0); 3], |device| {
        [(device.xdp, ADJACENT_XDP), (device.tap, ADJACENT_TAP), (device.checksum, ADJACENT_CHECKSUM)]
    });
    adjacency.flags = flags.iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag);
}

/// Writes octets over the front of a header.
fn fill(header: &mut [u8], octets: impl IntoIterator<Item = u8>) {
    for (to, from) in header.iter_mut().zip(octets) {
        *to = from;
    }
}

fn index_of(family: Family) -> usize {
    match family {
        Family::Ipv4 => IPV4,
        Family::Ipv6 => IPV6,
    }
}

fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// The end of the unit of coarse time `last`, on the core's clock, of which `now` is in the unit `coarse`.
fn at(now: Instant, coarse: u32, last: u32) -> Instant {
    let units = u64::from(coarse.wrapping_sub(last).saturating_sub(1));
    let ago = if coarse.wrapping_sub(last) > u32::MAX / 2 { 0 } else { units << UNIT_BITS };
    Instant::ZERO + now.since(Instant::ZERO).saturating_sub(Duration::from_nanos(ago))
}

#[cfg(test)]
mod tests;
