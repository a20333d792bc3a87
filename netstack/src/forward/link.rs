//! What carries packets beyond the LANs: PPPoE sessions, told by port, peer and id together, and the Ethernet segments of
//! plain uplinks. Found by owner for the way out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::forward::message::{Ipv4Segment, Session, SessionOwner, Usage, WanIpv4};
use crate::forward::neighbour::Neighbourhood;
use crate::frame::Egress;
use crate::id::{Interface, Mac, PortId, SubscriberId, WanId};
use crate::ledger::DropReason;
use crate::rng::Rng;
use crate::settings::{Settings, Uplink};
use crate::table::{Map, Seed};
use crate::time::Instant;
use crate::wire::ethernet::{Header, ethertype};

/// Octets before the IP packet of a session: Ethernet, PPPoE and the PPP protocol field.
pub(crate) const ENCAPSULATION: usize = 22;

/// PPP's protocol number of IPv4.
pub(crate) const PPP_IPV4: u16 = 0x0021;

/// PPP's protocol number of IPv6.
pub(crate) const PPP_IPV6: u16 = 0x0057;

/// IPv4 on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkIpv4 {
    /// Ours on an uplink, the subscriber's on a subscriber's session.
    pub address: Ipv4Addr,
    /// Largest IP packet, in octets.
    pub mtu: u16,
    /// The epoch: that of the uplink's address, or a number that no other subscriber's session has had.
    pub epoch: u32,
    /// The network there, on Ethernet.
    pub segment: Option<Ipv4Segment>,
}

impl LinkIpv4 {
    /// True for an address of a neighbour.
    pub fn is_on_link(&self, destination: Ipv4Addr) -> bool {
        self.segment.is_some_and(|segment| segment.network.contains(destination))
    }

    /// The neighbour that a packet to `destination` goes to.
    #[inline]
    pub fn next_hop(&self, destination: Ipv4Addr) -> Ipv4Addr {
        match self.segment {
            Some(segment) if !segment.network.contains(destination) => segment.gateway,
            _ => destination,
        }
    }
}

/// A session or the segment of an uplink.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose it is.
    pub owner: SessionOwner,
    /// How its frames are told and made.
    pub carrier: Carrier,
    /// What it has carried.
    pub usage: Usage,
    /// What of that the kernel half has.
    pub kernel: Usage,
    /// Set while it has IPv4.
    pub ipv4: Option<LinkIpv4>,
}

/// What carries a link's packets.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A PPPoE session.
    Session(Pppoe),
    /// An Ethernet segment, for as long as the gateway runs.
    Ethernet(Box<Ethernet>),
}

/// A PPPoE session.
#[derive(Debug)]
pub(crate) struct Pppoe {
    /// How its frames are told.
    pub session: Session,
    header: [u8; ENCAPSULATION],
}

impl Pppoe {
    fn new(session: Session) -> Pppoe {
        let mut header = [0; ENCAPSULATION];
        let fields = session
            .peer
            .0
            .into_iter()
            .chain(session.local.0)
            .chain(ethertype::PPPOE_SESSION.to_be_bytes())
            .chain([0x11, 0])
            .chain(session.id.to_be_bytes())
            .chain([0, 0, 0, 0]);
        for (to, from) in header.iter_mut().zip(fields) {
            *to = from;
        }
        Pppoe { session, header }
    }

    /// The header of a frame with a packet of `len` octets of the PPP protocol `protocol`. `None` when the packet is longer
    /// than the length field can say.
    #[inline(always)]
    pub fn header(&self, len: usize, protocol: u16) -> Option<[u8; ENCAPSULATION]> {
        let [high, low] = u16::try_from(len.checked_add(2)?).ok()?.to_be_bytes();
        let mut header = self.header;
        header[18] = high;
        header[19] = low;
        [header[20], header[21]] = protocol.to_be_bytes();
        Some(header)
    }
}

/// The segment beyond a plain uplink.
#[derive(Debug)]
pub(crate) struct Ethernet {
    /// The port that leads there.
    pub port: PortId,
    /// Our address.
    pub mac: Mac,
    /// The uplink asks for its address by DHCP.
    pub asks_dhcp: bool,
    /// Who is there.
    pub neighbours: Neighbourhood,
}

impl Ethernet {
    /// The header of a frame for `station`.
    pub fn header(&self, station: Mac, ethertype: u16) -> Header {
        Header { destination: station, source: self.mac, ethertype }
    }
}

impl Link {
    fn new(owner: SessionOwner, carrier: Carrier) -> Link {
        Link { owner, carrier, usage: Usage::default(), kernel: Usage::default(), ipv4: None }
    }

    /// The port that its frames come and go by.
    pub fn port(&self) -> PortId {
        match &self.carrier {
            Carrier::Session(pppoe) => pppoe.session.port,
            Carrier::Ethernet(ethernet) => ethernet.port,
        }
    }

    /// Counts a packet of `octets` from the IP header on that came by the link.
    pub fn count_received(&mut self, octets: usize, now: Instant) {
        self.usage.rx_packets = self.usage.rx_packets.wrapping_add(1);
        self.usage.rx_octets = self.usage.rx_octets.wrapping_add(octets as u64);
        self.usage.last_received = Some(now);
    }

    /// Counts a packet of `octets` from the IP header on that leaves by the link.
    pub fn count_sent(&mut self, octets: usize) {
        self.usage.tx_packets = self.usage.tx_packets.wrapping_add(1);
        self.usage.tx_octets = self.usage.tx_octets.wrapping_add(octets as u64);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Peer {
    port: PortId,
    mac: Mac,
    id: u16,
}

/// An uplink's part that outlives its addresses.
#[derive(Debug, Clone, Copy, Default)]
struct WanState {
    link: Option<u32>,
    epoch: u32,
    /// The last address that it had.
    address: Option<Ipv4Addr>,
}

/// Every session and segment.
#[derive(Debug)]
pub(crate) struct Links {
    /// The segments of plain uplinks come first, and stay.
    links: Vec<Option<Link>>,
    segments: usize,
    free: Vec<u32>,
    peers: Map<Peer, u32>,
    wans: Vec<WanState>,
    subscribers: Map<SubscriberId, u32>,
    addresses: Map<Ipv4Addr, SubscriberId>,
    subscriber_epoch: u32,
}

impl Links {
    /// The segments of the plain uplinks, without addresses, and no sessions.
    pub fn new(settings: &Settings, rng: &mut dyn Rng) -> Links {
        let mut links = Vec::new();
        let mut wans = Vec::new();
        for (id, wan) in (0u16..).map(WanId).zip(&settings.wans) {
            let mut state = WanState::default();
            if wan.is_segment() {
                let ethernet = Ethernet {
                    port: wan.port,
                    mac: settings.ports.get(wan.port.index()).map(|port| port.mac).unwrap_or_default(),
                    asks_dhcp: matches!(wan.uplink, Uplink::Dhcp),
                    neighbours: Neighbourhood::new(rng),
                };
                state.link = u32::try_from(links.len()).ok();
                links.push(Some(Link::new(SessionOwner::Wan(id), Carrier::Ethernet(Box::new(ethernet)))));
            }
            wans.push(state);
        }
        Links {
            segments: links.len(),
            links,
            free: Vec::new(),
            peers: Map::with_hasher(Seed::draw(rng)),
            wans,
            subscribers: Map::with_hasher(Seed::draw(rng)),
            addresses: Map::with_hasher(Seed::draw(rng)),
            subscriber_epoch: 0,
        }
    }

    /// Number of uplinks.
    pub fn wans(&self) -> usize {
        self.wans.len()
    }

    /// A session exists. An older one of the same owner is gone.
    pub fn open(&mut self, owner: SessionOwner, session: Session) {
        self.close(owner);
        let peer = Peer { port: session.port, mac: session.peer, id: session.id };
        if let Some(older) = self.peers.get(&peer).and_then(|&index| self.get(index)).map(|link| link.owner) {
            self.close(older);
        }
        let link = Link::new(owner, Carrier::Session(Pppoe::new(session)));
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.links.push(None);
                u32::try_from(self.links.len().saturating_sub(1)).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.links.get_mut(index as usize) {
            *place = Some(link);
        }
        self.peers.insert(peer, index);
        match owner {
            SessionOwner::Wan(wan) => {
                if let Some(state) = self.wans.get_mut(wan.index()) {
                    state.link = Some(index);
                }
            }
            SessionOwner::Subscriber(subscriber) => {
                self.subscribers.insert(subscriber, index);
            }
        }
    }

    /// Whose session has this port, peer and id.
    pub fn owner_of(&self, session: &Session) -> Option<SessionOwner> {
        self.by_peer(session.port, session.peer, session.id).map(|(_, link)| link.owner)
    }

    /// Every session.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionOwner, Session)> + '_ {
        self.links.iter().flatten().filter_map(|link| match &link.carrier {
            Carrier::Session(pppoe) => Some((link.owner, pppoe.session)),
            Carrier::Ethernet(_) => None,
        })
    }

    /// The owner's session is gone.
    pub fn close(&mut self, owner: SessionOwner) {
        if let SessionOwner::Subscriber(subscriber) = owner {
            self.subscriber_down(subscriber);
        }
        let index = match owner {
            SessionOwner::Wan(wan) => self.wans.get(wan.index()).and_then(|state| state.link),
            SessionOwner::Subscriber(subscriber) => self.subscribers.get(&subscriber).copied(),
        };
        let Some(index) = index else { return };
        // A segment is nobody's to close.
        let Some(Carrier::Session(pppoe)) = self.get(index).map(|link| &link.carrier) else { return };
        let Session { port, id, peer: mac, .. } = pppoe.session;
        self.peers.remove(&Peer { port, mac, id });
        match owner {
            SessionOwner::Wan(wan) => {
                if let Some(state) = self.wans.get_mut(wan.index()) {
                    state.link = None;
                }
            }
            SessionOwner::Subscriber(subscriber) => {
                self.subscribers.remove(&subscriber);
            }
        }
        if let Some(place) = self.links.get_mut(index as usize) {
            *place = None;
            self.free.push(index);
        }
    }

    /// An uplink has IPv4. True when its address is another than its last one: a new epoch has begun.
    pub fn wan_up(&mut self, wan: WanId, ipv4: WanIpv4, egress: &mut Egress) -> bool {
        let Some(state) = self.wans.get_mut(wan.index()) else { return false };
        let WanIpv4 { address, mtu, segment } = ipv4;
        let changed = state.address.is_some_and(|last| last != address);
        if changed {
            state.epoch = state.epoch.wrapping_add(1);
        }
        state.address = Some(address);
        let (epoch, link) = (state.epoch, state.link);
        let Some(link) = link.and_then(|index| self.get_mut(index)) else { return changed };
        let before = link.ipv4.replace(LinkIpv4 { address, mtu, epoch, segment });
        if let Carrier::Ethernet(ethernet) = &mut link.carrier
            && before.is_none_or(|before| before.segment != segment)
        {
            ethernet.neighbours.v4.clear(DropReason::NeighbourUnreachable, egress);
        }
        changed
    }

    /// An uplink has no IPv4 any more.
    pub fn wan_down(&mut self, wan: WanId, egress: &mut Egress) {
        let Some(link) = self.wan_mut(wan) else { return };
        link.ipv4 = None;
        if let Carrier::Ethernet(ethernet) = &mut link.carrier {
            ethernet.neighbours.v4.clear(DropReason::WanDown, egress);
        }
    }

    /// IPCP is open on a subscriber's session.
    pub fn subscriber_up(&mut self, subscriber: SubscriberId, address: Ipv4Addr, mtu: u16) {
        self.subscriber_down(subscriber);
        let epoch = self.subscriber_epoch.wrapping_add(1);
        if let Some(link) = self.subscriber_mut(subscriber) {
            link.ipv4 = Some(LinkIpv4 { address, mtu, epoch, segment: None });
            self.subscriber_epoch = epoch;
            self.addresses.insert(address, subscriber);
        }
    }

    /// IPCP has closed on a subscriber's session. True when it was open.
    pub fn subscriber_down(&mut self, subscriber: SubscriberId) -> bool {
        let Some(ipv4) = self.subscriber_mut(subscriber).and_then(|link| link.ipv4.take()) else {
            return false;
        };
        if self.addresses.get(&ipv4.address) == Some(&subscriber) {
            self.addresses.remove(&ipv4.address);
        }
        true
    }

    /// The session that a frame belongs to: by port, source address and session id together. With it its number, for [`Links::get_mut`].
    pub fn by_peer(&self, port: PortId, mac: Mac, id: u16) -> Option<(u32, &Link)> {
        let index = *self.peers.get(&Peer { port, mac, id })?;
        Some((index, self.get(index)?))
    }

    /// The segment of a plain uplink, with its number for [`Links::get_mut`].
    pub fn segment(&self, wan: WanId) -> Option<(u32, &Link)> {
        let index = self.wans.get(wan.index())?.link?;
        let link = self.get(index)?;
        matches!(link.carrier, Carrier::Ethernet(_)).then_some((index, link))
    }

    /// The segment of a plain uplink, to change.
    pub fn segment_mut(&mut self, wan: WanId) -> Option<&mut Link> {
        let (index, _) = self.segment(wan)?;
        self.get_mut(index)
    }

    /// The segment of every plain uplink.
    pub fn segments(&self) -> impl Iterator<Item = &Ethernet> + '_ {
        self.links.iter().take(self.segments).flatten().filter_map(|link| match &link.carrier {
            Carrier::Ethernet(ethernet) => Some(&**ethernet),
            Carrier::Session(_) => None,
        })
    }

    /// The segment of every plain uplink, to change.
    pub fn segments_mut(&mut self) -> impl Iterator<Item = (WanId, &mut Ethernet)> + '_ {
        self.links.iter_mut().take(self.segments).flatten().filter_map(|link| {
            match (link.owner, &mut link.carrier) {
                (SessionOwner::Wan(wan), Carrier::Ethernet(ethernet)) => Some((wan, &mut **ethernet)),
                _ => None,
            }
        })
    }

    /// The link of an interface.
    pub fn at(&self, interface: Interface) -> Option<&Link> {
        match interface {
            Interface::Wan(wan) => self.wan(wan),
            Interface::Subscriber(subscriber) => self.subscriber(subscriber),
            Interface::Lan(_) | Interface::Vpn(_) | Interface::Router => None,
        }
    }

    /// The link of an interface, to change.
    #[inline(always)]
    pub fn at_mut(&mut self, interface: Interface) -> Option<&mut Link> {
        match interface {
            Interface::Wan(wan) => self.wan_mut(wan),
            Interface::Subscriber(subscriber) => self.subscriber_mut(subscriber),
            Interface::Lan(_) | Interface::Vpn(_) | Interface::Router => None,
        }
    }

    /// The uplink's session or segment.
    pub fn wan(&self, wan: WanId) -> Option<&Link> {
        self.get(self.wans.get(wan.index())?.link?)
    }

    /// The uplink's session or segment, to change.
    #[inline(always)]
    pub fn wan_mut(&mut self, wan: WanId) -> Option<&mut Link> {
        let index = self.wans.get(wan.index())?.link?;
        self.get_mut(index)
    }

    /// The subscriber's session.
    pub fn subscriber(&self, subscriber: SubscriberId) -> Option<&Link> {
        self.get(*self.subscribers.get(&subscriber)?)
    }

    /// The subscriber's session, to change.
    pub fn subscriber_mut(&mut self, subscriber: SubscriberId) -> Option<&mut Link> {
        let index = *self.subscribers.get(&subscriber)?;
        self.get_mut(index)
    }

    /// The owner's session or segment.
    pub fn of(&self, owner: SessionOwner) -> Option<&Link> {
        match owner {
            SessionOwner::Wan(wan) => self.wan(wan),
            SessionOwner::Subscriber(subscriber) => self.subscriber(subscriber),
        }
    }

    /// The subscriber that has `address`.
    pub fn subscriber_of(&self, address: Ipv4Addr) -> Option<SubscriberId> {
        self.addresses.get(&address).copied()
    }

    /// The epoch of an uplink's address, whether it is up or not.
    pub fn epoch(&self, wan: WanId) -> u32 {
        self.wans.get(wan.index()).map_or(0, |state| state.epoch)
    }

    /// The address of an uplink, or the last one that it had.
    pub fn last_address(&self, wan: WanId) -> Option<Ipv4Addr> {
        self.wans.get(wan.index())?.address
    }

    /// True when `address` is an uplink's, or the last one that it had.
    pub fn had_last(&self, address: Ipv4Addr) -> bool {
        self.wans.iter().any(|state| state.address == Some(address))
    }

    /// The uplinks that have IPv4, the preferred one first, with what they have.
    pub fn open_wans(&self) -> impl Iterator<Item = (WanId, LinkIpv4)> + '_ {
        self.wans.iter().enumerate().filter_map(|(index, state)| {
            let ipv4 = self.get(state.link?)?.ipv4?;
            Some((WanId(u16::try_from(index).ok()?), ipv4))
        })
    }

    fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(index as usize)?.as_ref()
    }

    /// The link with this number, to change.
    #[inline(always)]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(index as usize)?.as_mut()
    }
}
