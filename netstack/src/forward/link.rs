//! PPPoE sessions as the packet path knows them: told by port, peer and id together; found by owner for the way out.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::forward::message::{Session, SessionOwner, Usage};
use crate::id::{Interface, Mac, PortId, SubscriberId, WanId};
use crate::rng::Rng;
use crate::table::{Map, Seed};
use crate::time::Instant;
use crate::wire::ethernet::ethertype;

/// Octets before the IP packet: Ethernet, PPPoE and the PPP protocol field.
pub(crate) const ENCAPSULATION: usize = 22;

/// PPP's protocol number of IPv4.
pub(crate) const PPP_IPV4: u16 = 0x0021;

/// IPv4 on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkIpv4 {
    /// Ours on an uplink, the subscriber's on a subscriber's session.
    pub address: Ipv4Addr,
    /// Largest IP packet, in octets.
    pub mtu: u16,
    /// The epoch: that of the uplink's address, or a number that no other subscriber's session has had.
    pub epoch: u32,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose it is.
    pub owner: SessionOwner,
    /// How its frames are told.
    pub session: Session,
    /// What it has carried.
    pub usage: Usage,
    /// Set while IPCP is open.
    pub ipv4: Option<LinkIpv4>,
    header: [u8; ENCAPSULATION],
}

impl Link {
    fn new(owner: SessionOwner, session: Session) -> Link {
        let mut header = [0; ENCAPSULATION];
        let fields = session
            .peer
            .0
            .into_iter()
            .chain(session.local.0)
            .chain(ethertype::PPPOE_SESSION.to_be_bytes())
            .chain([0x11, 0])
            .chain(session.id.to_be_bytes())
            .chain([0, 0])
            .chain(PPP_IPV4.to_be_bytes());
        for (to, from) in header.iter_mut().zip(fields) {
            *to = from;
        }
        Link { owner, session, usage: Usage::default(), ipv4: None, header }
    }

    /// Counts a packet of `octets` from the IP header on that came by the session.
    pub fn count_received(&mut self, octets: usize, now: Instant) {
        self.usage.rx_packets = self.usage.rx_packets.wrapping_add(1);
        self.usage.rx_octets = self.usage.rx_octets.wrapping_add(octets as u64);
        self.usage.last_received = Some(now);
    }

    /// Counts a packet of `octets` from the IP header on that leaves by the session.
    pub fn count_sent(&mut self, octets: usize) {
        self.usage.tx_packets = self.usage.tx_packets.wrapping_add(1);
        self.usage.tx_octets = self.usage.tx_octets.wrapping_add(octets as u64);
    }

    /// The header of a frame with an IPv4 packet of `len` octets. `None` when the packet is longer than the length field
    /// can say.
    pub fn header(&self, len: usize) -> Option<[u8; ENCAPSULATION]> {
        let [high, low] = u16::try_from(len.checked_add(2)?).ok()?.to_be_bytes();
        let mut header = self.header;
        header[18] = high;
        header[19] = low;
        Some(header)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Peer {
    port: PortId,
    mac: Mac,
    id: u16,
}

/// An uplink's part that outlives its sessions.
#[derive(Debug, Clone, Copy, Default)]
struct WanState {
    link: Option<u32>,
    epoch: u32,
    /// The last address that IPCP gave.
    address: Option<Ipv4Addr>,
}

/// Every session.
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    peers: Map<Peer, u32>,
    wans: Vec<WanState>,
    subscribers: Map<SubscriberId, u32>,
    addresses: Map<Ipv4Addr, SubscriberId>,
    subscriber_epoch: u32,
}

impl Links {
    /// No sessions yet, for `wans` uplinks.
    pub fn new(wans: usize, rng: &mut dyn Rng) -> Links {
        Links {
            links: Vec::new(),
            free: Vec::new(),
            peers: Map::with_hasher(Seed::draw(rng)),
            wans: (0..wans).map(|_| WanState::default()).collect(),
            subscribers: Map::with_hasher(Seed::draw(rng)),
            addresses: Map::with_hasher(Seed::draw(rng)),
            subscriber_epoch: 0,
        }
    }

    /// A session exists. An older one of the same owner is gone.
    pub fn open(&mut self, owner: SessionOwner, session: Session) {
        self.close(owner);
        let peer = Peer { port: session.port, mac: session.peer, id: session.id };
        if let Some(older) = self.peers.get(&peer).and_then(|&index| self.get(index)).map(|link| link.owner) {
            self.close(older);
        }
        let link = Link::new(owner, session);
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

    /// The owner's session is gone.
    pub fn close(&mut self, owner: SessionOwner) {
        if let SessionOwner::Subscriber(subscriber) = owner {
            self.subscriber_down(subscriber);
        }
        let index = match owner {
            SessionOwner::Wan(wan) => self.wans.get_mut(wan.index()).and_then(|state| state.link.take()),
            SessionOwner::Subscriber(subscriber) => self.subscribers.remove(&subscriber),
        };
        let Some(index) = index else { return };
        if let Some(link) = self.links.get_mut(index as usize).and_then(Option::take) {
            let Session { port, id, peer: mac, .. } = link.session;
            self.peers.remove(&Peer { port, mac, id });
            self.free.push(index);
        }
    }

    /// IPCP is open on an uplink. True when its address is another than its last one: a new epoch has begun.
    pub fn wan_up(&mut self, wan: WanId, address: Ipv4Addr, mtu: u16) -> bool {
        let Some(state) = self.wans.get_mut(wan.index()) else { return false };
        let changed = state.address.is_some_and(|last| last != address);
        if changed {
            state.epoch = state.epoch.wrapping_add(1);
        }
        state.address = Some(address);
        let (epoch, link) = (state.epoch, state.link);
        if let Some(link) = link.and_then(|index| self.get_mut(index)) {
            link.ipv4 = Some(LinkIpv4 { address, mtu, epoch });
        }
        changed
    }

    /// IPCP has closed on an uplink.
    pub fn wan_down(&mut self, wan: WanId) {
        if let Some(link) = self.wan_mut(wan) {
            link.ipv4 = None;
        }
    }

    /// IPCP is open on a subscriber's session.
    pub fn subscriber_up(&mut self, subscriber: SubscriberId, address: Ipv4Addr, mtu: u16) {
        self.subscriber_down(subscriber);
        let epoch = self.subscriber_epoch.wrapping_add(1);
        if let Some(link) = self.subscriber_mut(subscriber) {
            link.ipv4 = Some(LinkIpv4 { address, mtu, epoch });
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
    pub fn by_peer(&mut self, port: PortId, mac: Mac, id: u16) -> Option<(u32, &mut Link)> {
        let index = *self.peers.get(&Peer { port, mac, id })?;
        Some((index, self.get_mut(index)?))
    }

    /// The session of an interface, to change.
    #[inline(always)]
    pub fn at_mut(&mut self, interface: Interface) -> Option<&mut Link> {
        match interface {
            Interface::Wan(wan) => self.wan_mut(wan),
            Interface::Subscriber(subscriber) => self.subscriber_mut(subscriber),
            Interface::Lan(_) | Interface::Router => None,
        }
    }

    /// The uplink's session.
    pub fn wan(&self, wan: WanId) -> Option<&Link> {
        self.get(self.wans.get(wan.index())?.link?)
    }

    /// The uplink's session, to change.
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

    /// The owner's session.
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

    /// The uplinks on which IPCP is open, the preferred one first, with what they have.
    pub fn open_wans(&self) -> impl Iterator<Item = (WanId, LinkIpv4)> + '_ {
        self.wans.iter().enumerate().filter_map(|(index, state)| {
            let ipv4 = self.get(state.link?)?.ipv4?;
            Some((WanId(u16::try_from(index).ok()?), ipv4))
        })
    }

    fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(index as usize)?.as_ref()
    }

    /// The session with this number, to change.
    #[inline(always)]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(index as usize)?.as_mut()
    }
}
