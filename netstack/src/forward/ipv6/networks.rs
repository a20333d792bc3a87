//! The addresses and prefixes of each interface, as Control has told them last; where a destination is; which uplink a
//! source may use.
//!
//! Each interface has an epoch, which is bumped when it loses an address or prefix. A flow of an earlier epoch is looked at
//! again: it goes on where the ends' addresses are still theirs, and has ended where one is not.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::forward::ipv6::icmp::Icmp6Error;
use crate::forward::ipv6::parse::{is_link_local, is_ula};
use crate::forward::message::{LanIpv6, NextHop, SubscriberIpv6, WanIpv6};
use crate::forward::peers::{Behind, PeerNetworks};
use crate::forward::refuse::Refusal;
use crate::id::{Interface, Ipv6Cidr, LanId, SubscriberId, WanId};
use crate::ledger::DropReason;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::table::{Map, Seed};

#[derive(Debug, Default)]
struct Lan {
    ipv6: LanIpv6,
    epoch: u32,
}

#[derive(Debug, Default)]
struct Wan {
    ipv6: Option<WanIpv6>,
    /// What is delegated over it or awaited, or was when it was last up.
    delegated: Vec<Ipv6Cidr>,
    /// Our addresses on it, or the last ones that we had.
    addresses: Vec<Ipv6Addr>,
    epoch: u32,
}

impl Wan {
    /// True for a source that may leave by it, or might when it was last up.
    fn may_bear(&self, source: Ipv6Addr) -> bool {
        self.delegated.iter().any(|prefix| prefix.contains(source)) || self.addresses.contains(&source)
    }

    /// True for a source that may leave by it now.
    fn carries(&self, source: Ipv6Addr) -> bool {
        self.ipv6.as_ref().is_some_and(|ipv6| {
            ipv6.delegated.iter().any(|prefix| prefix.contains(source)) || ipv6.addresses.contains(&source)
        })
    }
}

#[derive(Debug)]
struct Subscriber {
    ipv6: SubscriberIpv6,
    epoch: u32,
}

/// What IPv6 has on each interface.
#[derive(Debug)]
pub(crate) struct Networks {
    lans: Vec<Lan>,
    wans: Vec<Wan>,
    subscribers: Map<SubscriberId, Subscriber>,
    /// What is delegated to subscribers, by the first address. No two overlap.
    delegated: BTreeMap<Ipv6Addr, (Ipv6Cidr, SubscriberId)>,
    peers: PeerNetworks,
    subscriber_epoch: u32,
}

impl Networks {
    /// No addresses yet but those in VPNs.
    pub fn new(settings: &Settings, rng: &mut dyn Rng) -> Networks {
        Networks {
            lans: settings.lans.iter().map(|_| Lan::default()).collect(),
            wans: settings.wans.iter().map(|_| Wan::default()).collect(),
            peers: PeerNetworks::new(settings),
            subscribers: Map::with_hasher(Seed::draw(rng)),
            delegated: BTreeMap::new(),
            subscriber_epoch: 0,
        }
    }

    /// A LAN's IPv6 is this now. True when an epoch has ended.
    pub fn set_lan(&mut self, lan: LanId, ipv6: LanIpv6) -> bool {
        let Some(state) = self.lans.get_mut(lan.index()) else { return false };
        let lost = state.ipv6.prefixes.iter().any(|prefix| !ipv6.prefixes.contains(prefix))
            || state.ipv6.addresses.iter().any(|address| !ipv6.addresses.contains(address));
        if lost {
            state.epoch = state.epoch.wrapping_add(1);
        }
        state.ipv6 = ipv6;
        lost
    }

    /// An uplink's IPv6 is this now. True when an epoch has ended: not by going down, nor while a prefix is awaited, for it
    /// may come back as it was.
    pub fn set_wan(&mut self, wan: WanId, ipv6: Option<WanIpv6>) -> bool {
        let Some(state) = self.wans.get_mut(wan.index()) else { return false };
        let mut lost = false;
        if let Some(ipv6) = &ipv6 {
            let delegated: Vec<Ipv6Cidr> = ipv6.delegated.iter().chain(&ipv6.awaited).copied().collect();
            lost = state.delegated.iter().any(|prefix| !delegated.contains(prefix));
            state.delegated = delegated;
            // Right after the link has come up there are none yet.
            if !(ipv6.addresses.is_empty() && ipv6.delegated.is_empty()) {
                lost |= state.addresses.iter().any(|address| !ipv6.addresses.contains(address));
                state.addresses.clone_from(&ipv6.addresses);
            }
            if lost {
                state.epoch = state.epoch.wrapping_add(1);
            }
        }
        state.ipv6 = ipv6;
        lost
    }

    /// The IPv6 of a subscriber's session is this now. True when an epoch has ended.
    pub fn set_subscriber(&mut self, subscriber: SubscriberId, ipv6: Option<SubscriberIpv6>) -> bool {
        let before = self.subscribers.remove(&subscriber);
        for prefix in before.iter().flat_map(|before| &before.ipv6.delegated) {
            let first = prefix.network().address;
            if self.delegated.get(&first).is_some_and(|(_, owner)| *owner == subscriber) {
                self.delegated.remove(&first);
            }
        }
        let Some(ipv6) = ipv6 else { return before.is_some() };
        for prefix in &ipv6.delegated {
            self.delegated.insert(prefix.network().address, (*prefix, subscriber));
        }
        let kept = before.as_ref().filter(|before| {
            before.ipv6.delegated.iter().all(|prefix| ipv6.delegated.contains(prefix))
                && (before.ipv6.local, before.ipv6.peer) == (ipv6.local, ipv6.peer)
        });
        let epoch = kept.map_or(self.subscriber_epoch.wrapping_add(1), |before| before.epoch);
        let lost = before.is_some() && kept.is_none();
        self.subscriber_epoch = self.subscriber_epoch.max(epoch);
        self.subscribers.insert(subscriber, Subscriber { ipv6, epoch });
        lost
    }

    /// What a LAN has, when the router has an address on it.
    pub fn lan(&self, lan: LanId) -> Option<&LanIpv6> {
        self.lans.get(lan.index()).map(|lan| &lan.ipv6).filter(|ipv6| !ipv6.addresses.is_empty())
    }

    /// What an uplink has, while it is up.
    pub fn wan(&self, wan: WanId) -> Option<&WanIpv6> {
        self.wans.get(wan.index())?.ipv6.as_ref()
    }

    /// What a subscriber's session has.
    pub fn subscriber(&self, subscriber: SubscriberId) -> Option<&SubscriberIpv6> {
        self.subscribers.get(&subscriber).map(|subscriber| &subscriber.ipv6)
    }

    /// The epoch of an uplink, whether it is up or not.
    pub fn epoch(&self, wan: WanId) -> u32 {
        self.wans.get(wan.index()).map_or(0, |wan| wan.epoch)
    }

    /// The epoch of an interface. An uplink has one even while it is down; a subscriber has none then.
    #[inline(always)]
    pub fn epoch_of(&self, interface: Interface) -> Option<u32> {
        match interface {
            Interface::Lan(lan) => self.lans.get(lan.index()).map(|lan| lan.epoch),
            Interface::Wan(wan) => self.wans.get(wan.index()).map(|wan| wan.epoch),
            Interface::Subscriber(subscriber) => self.subscribers.get(&subscriber).map(|state| state.epoch),
            Interface::Vpn(_) | Interface::Router => Some(0),
        }
    }

    /// What is behind the peers of VPNs.
    pub fn peers(&self) -> &PeerNetworks {
        &self.peers
    }

    /// True for an address of the router that is good on every link: those of LANs, uplinks and VPNs.
    pub fn is_router(&self, address: Ipv6Addr) -> bool {
        !is_link_local(address)
            && (self.lans.iter().any(|lan| lan.ipv6.addresses.contains(&address))
                || self.open_wans().any(|(_, wan)| wan.addresses.contains(&address))
                || self.peers.is_router(address.into()))
    }

    /// True for an address of the router as seen from `interface`: link-local ones are those of that link alone.
    pub fn is_router_at(&self, interface: Interface, address: Ipv6Addr) -> bool {
        if !is_link_local(address) {
            return self.is_router(address);
        }
        match interface {
            Interface::Lan(lan) => self.lan(lan).is_some_and(|lan| lan.addresses.contains(&address)),
            Interface::Wan(wan) => self.wan(wan).is_some_and(|wan| wan.link_local == address),
            Interface::Subscriber(subscriber) => {
                self.subscriber(subscriber).is_some_and(|ipv6| ipv6.local == address)
            }
            Interface::Vpn(_) | Interface::Router => false,
        }
    }

    /// The LAN whose prefix an address is in.
    pub fn lan_of(&self, address: Ipv6Addr) -> Option<LanId> {
        let holds = |lan: &Lan| lan.ipv6.prefixes.iter().any(|prefix| prefix.contains(address));
        let index = self.lans.iter().position(holds)?;
        u16::try_from(index).ok().map(LanId)
    }

    /// The subscriber to whom an address is delegated.
    pub fn subscriber_of(&self, address: Ipv6Addr) -> Option<SubscriberId> {
        let (_, (prefix, subscriber)) = self.delegated.range(..=address).next_back()?;
        prefix.contains(address).then_some(*subscriber)
    }

    /// True for an address in a prefix that is delegated to us, or was over an uplink that is down.
    pub fn is_delegated(&self, address: Ipv6Addr) -> bool {
        self.wans.iter().any(|wan| wan.may_bear(address))
    }

    /// True when `source` may leave by an uplink now.
    #[inline(always)]
    pub fn carries(&self, wan: WanId, source: Ipv6Addr) -> bool {
        self.wans.get(wan.index()).is_some_and(|wan| wan.carries(source))
    }

    /// True when `source` may leave by an uplink, or might when it was last up.
    pub fn may_leave(&self, wan: WanId, source: Ipv6Addr) -> bool {
        self.wans.get(wan.index()).is_some_and(|wan| wan.may_bear(source))
    }

    fn open_wans(&self) -> impl Iterator<Item = (WanId, &WanIpv6)> + '_ {
        self.wans
            .iter()
            .enumerate()
            .filter_map(|(index, wan)| Some((WanId(u16::try_from(index).ok()?), wan.ipv6.as_ref()?)))
    }

    /// True while `address` may be at that end of a flow that comes by `interface`; the other end's is `other`.
    pub fn is_end(&self, interface: Interface, address: Ipv6Addr, other: Ipv6Addr) -> bool {
        if is_link_local(address) || (is_link_local(other) && interface != Interface::Router) {
            return true;
        }
        match interface {
            Interface::Lan(lan) => self.lan_of(address) == Some(lan),
            Interface::Wan(wan) => self.may_leave(wan, other),
            Interface::Subscriber(subscriber) => self.subscriber_of(address) == Some(subscriber),
            Interface::Vpn(vpn) => self.peers.is_behind(vpn, address.into()),
            Interface::Router => self.is_router(address) || self.is_delegated(address),
        }
    }

    /// Where `destination` is on this side of the uplinks, the router itself included. `None` when it is beyond one.
    pub fn inside(&self, destination: Ipv6Addr) -> Option<Interface> {
        if self.is_router(destination) {
            return Some(Interface::Router);
        }
        let subscriber = || self.subscriber_of(destination).map(Interface::Subscriber);
        let peer = || match self.peers.find(destination.into()) {
            Some(Behind::Peer(vpn)) => Some(Interface::Vpn(vpn)),
            _ => None,
        };
        self.lan_of(destination).map(Interface::Lan).or_else(subscriber).or_else(peer)
    }

    /// The uplink for a packet from `source`: the first that is up and of which `source` is (BCP 84 §4.3, RFC 7084 S-2).
    ///
    /// # Errors
    /// The source is of no uplink, or the uplink leads nowhere.
    pub fn uplink(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<WanId, Refusal<Icmp6Error>> {
        let found = self.open_wans().find(|&(wan, _)| self.carries(wan, source));
        let Some((wan, ipv6)) = found else {
            return Err(match self.is_delegated(source) {
                true => Refusal::error(DropReason::WanDown, Icmp6Error::NoRoute),
                false => Refusal::error(DropReason::Spoofed, Icmp6Error::SourcePolicy),
            });
        };
        match next_hop(ipv6, destination) {
            Some(_) => Ok(wan),
            None => Err(Refusal::error(DropReason::NoRoute, Icmp6Error::NoRoute)),
        }
    }

    /// By what a message of a tunnel leaves for `destination`: everything but VPNs. `None` when there is no way now.
    pub fn way_out(&self, destination: Ipv6Addr) -> Option<Interface> {
        match self.inside(destination) {
            Some(Interface::Router) => None,
            Some(out @ (Interface::Lan(_) | Interface::Subscriber(_))) => Some(out),
            _ => {
                let (wan, _) = self.open_wans().find(|&(wan, ipv6)| {
                    next_hop(ipv6, destination).is_some()
                        && self.address_for(Interface::Wan(wan), destination).is_some()
                })?;
                Some(Interface::Wan(wan))
            }
        }
    }

    /// The next hop on the way to `destination` over an interface: itself, or a router.
    pub fn next_hop(&self, out: Interface, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        match out {
            Interface::Wan(wan) => next_hop(self.wan(wan)?, destination),
            _ => Some(destination),
        }
    }

    /// Largest IP packet that an interface carries by its own account; a LAN has none here.
    pub fn mtu(&self, interface: Interface) -> Option<u16> {
        match interface {
            Interface::Wan(wan) => self.wan(wan).map(|wan| wan.mtu),
            Interface::Subscriber(subscriber) => self.subscriber(subscriber).map(|ipv6| ipv6.mtu),
            Interface::Lan(_) | Interface::Vpn(_) | Interface::Router => None,
        }
    }

    /// The router's address to speak of a packet from `peer` that came in by `interface`: on the way that the answer goes,
    /// and of a scope that `peer` can answer to.
    pub fn address_for(&self, interface: Interface, peer: Ipv6Addr) -> Option<Ipv6Addr> {
        let global = |address: &Ipv6Addr| !is_link_local(*address);
        match interface {
            Interface::Lan(lan) => {
                let ipv6 = self.lan(lan)?;
                let prefix = ipv6.prefixes.iter().find(|prefix| prefix.contains(peer));
                let same = |address: &&Ipv6Addr| prefix.is_some_and(|prefix| prefix.contains(**address));
                let addresses = || ipv6.addresses.iter().filter(|address| global(address));
                addresses().find(same).or_else(|| addresses().next()).or(ipv6.addresses.first()).copied()
            }
            Interface::Wan(wan) => {
                let ipv6 = self.wan(wan)?;
                // Without an address of its own there, one of a LAN's (RFC 7084 WAA-9).
                let of_lan = || {
                    let addresses = self.lans.iter().flat_map(|lan| &lan.ipv6.addresses);
                    addresses.copied().find(|address| global(address) && self.may_leave(wan, *address))
                };
                match is_link_local(peer) {
                    true => Some(ipv6.link_local),
                    false => ipv6.addresses.first().copied().or_else(of_lan),
                }
            }
            Interface::Subscriber(subscriber) => {
                let local = self.subscriber(subscriber)?.local;
                // A link-local one goes no further than the subscriber's router (RFC 4291 §2.5.6).
                let far = |address: &Ipv6Addr| global(address) && !is_ula(*address);
                let of_wans = self.open_wans().flat_map(|(_, wan)| wan.addresses.iter().copied());
                let of_lans = self.lans.iter().flat_map(|lan| lan.ipv6.addresses.iter().copied());
                let beyond = (!is_link_local(peer)).then(|| of_wans.chain(of_lans).find(far)).flatten();
                Some(beyond.unwrap_or(local))
            }
            Interface::Vpn(vpn) => self.peers.ipv6(vpn),
            Interface::Router => None,
        }
    }
}

fn next_hop(ipv6: &WanIpv6, destination: Ipv6Addr) -> Option<Ipv6Addr> {
    if ipv6.on_link.iter().any(|prefix| prefix.contains(destination)) {
        return Some(destination);
    }
    match ipv6.default_router? {
        NextHop::Peer => Some(destination),
        NextHop::Router(router) => Some(router),
    }
}
