//! IPv6 on one uplink: the link's routers and addresses by Router Advertisements, prefixes by DHCPv6; or all as given.
//!
//! 1. The link comes up with our link-local address: the one that IPV6CP has negotiated, or on Ethernet one that nobody
//!    else has.
//! 2. Routers are solicited, and a prefix is asked for, at once; neither waits for the other.
//! 3. What they bring is read by [`WanIpv6::forwarding`] (for the Forwarder), [`WanIpv6::source`] (for the LANs) and the
//!    rest, whenever [`WanIpv6::drain`] says that it has changed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::addressing::{Source, name_number};
use super::duplicates::Duplicates;
use crate::control::{Event, Outbox};
use crate::dhcp6::Duid;
use crate::dhcp6::client::{Client, ClientSettings, Delegation};
use crate::forward::{self, NextHop};
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::discover;
use crate::ndp::{OwnAddress, RouterDiscovery};
use crate::settings::{self, StaticIpv6};
use crate::status::{Dhcp6Status, PrefixStatus, WanIpv6Status};
use crate::time::{Instant, earliest};

/// How an uplink comes by its IPv6.
enum Means {
    /// It asks routers and DHCPv6 servers.
    Asked { discovery: Box<RouterDiscovery>, dhcp: Box<Client> },
    /// It has what it was given.
    Given(StaticIpv6),
}

/// The link while it is up.
#[derive(Debug, Clone, Copy)]
struct Link {
    link_local: Ipv6Addr,
    /// The other end's link-local address, on a PPP session.
    peer: Option<Ipv6Addr>,
    mtu: u16,
    /// Nobody else has our link-local address.
    ready: bool,
}

/// IPv6 on one uplink.
pub(super) struct WanIpv6 {
    name: Arc<str>,
    means: Means,
    /// Beyond a PPP session there is one router, and no neighbours.
    ppp: bool,
    link: Option<Link>,
    /// A router has advertised something on the link.
    heard: bool,
    /// Addresses that another node on the link uses.
    duplicates: Duplicates,
    /// The time of the last call.
    now: Instant,
    changed: bool,
}

impl WanIpv6 {
    /// The IPv6 of `wan`, whose link is down. `delegations` are what the last run was delegated over it.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        wan: &settings::Wan,
        mac: Mac,
        duid: Duid,
        delegations: Vec<Delegation>,
    ) -> Option<Self> {
        let ipv6 = wan.ipv6?;
        let ppp = !wan.is_segment();
        let means = match &wan.uplink {
            settings::Uplink::Static(given) => Means::Given(given.ipv6?),
            settings::Uplink::Pppoe(_) | settings::Uplink::Dhcp => {
                let iaid = name_number(&wan.name);
                let mut dhcp = Client::new(ClientSettings { duid, iaid, prefix: ipv6.prefix });
                dhcp.restore(cx, delegations);
                Means::Asked {
                    discovery: Box::new(RouterDiscovery::new((!ppp).then_some(mac))),
                    dhcp: Box::new(dhcp),
                }
            }
        };
        Some(WanIpv6 {
            name: wan.name.as_str().into(),
            means,
            ppp,
            link: None,
            heard: false,
            duplicates: Duplicates::default(),
            now: cx.now,
            changed: true,
        })
    }

    /// The link is up, or carries packets of another size than before; `peer` is the other end of a PPP session. On Ethernet
    /// nothing is said before [`WanIpv6::ready`].
    pub(super) fn up(&mut self, cx: &mut Cx<'_>, link_local: Ipv6Addr, peer: Option<Ipv6Addr>, mtu: u16) {
        match &mut self.link {
            Some(link) if link.link_local == link_local && link.peer == peer => link.mtu = mtu,
            link => {
                *link = Some(Link { link_local, peer, mtu, ready: false });
                if self.ppp {
                    self.ready(cx, link_local);
                }
            }
        }
        self.changed = true;
    }

    /// The link of a PPP session was up in the last run of the program, and ever since: what was delegated then is good.
    pub(super) fn kept(&mut self, cx: &mut Cx<'_>, link_local: Ipv6Addr, peer: Ipv6Addr, mtu: u16) {
        if let Means::Asked { dhcp, .. } = &mut self.means {
            dhcp.resume(cx, link_local);
        }
        self.up(cx, link_local, Some(peer), mtu);
    }

    /// What routers and servers have said may hold no longer: they are asked again.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        if let (Means::Asked { discovery, dhcp }, true) =
            (&mut self.means, self.link.is_some_and(|link| link.ready))
        {
            discovery.reconfirm(cx);
            dhcp.reconfirm(cx);
        }
    }

    /// Nobody else has this address of ours.
    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, address: Ipv6Addr) {
        self.changed = true;
        self.duplicates.remove(address);
        let Some(link) = self.link.as_mut().filter(|link| link.link_local == address && !link.ready) else {
            return;
        };
        link.ready = true;
        if let Means::Asked { discovery, dhcp } = &mut self.means {
            discovery.start(cx, link.link_local, link.mtu);
            dhcp.start(cx, link.link_local);
        }
    }

    /// Somebody else has this address.
    pub(super) fn duplicate(&mut self, cx: &mut Cx<'_>, address: Ipv6Addr) {
        self.changed = true;
        self.duplicates.add(address);
        if let Means::Asked { dhcp, .. } = &mut self.means {
            dhcp.decline(cx, address);
        }
    }

    /// The link is down. What was delegated is kept until it ends, and counts for nothing until it is confirmed.
    pub(super) fn down(&mut self, cx: &mut Cx<'_>) {
        if self.link.take().is_none() {
            return;
        }
        self.changed = true;
        self.heard = false;
        self.duplicates.clear();
        if let Means::Asked { discovery, dhcp } = &mut self.means {
            discovery.stop();
            dhcp.stop(cx);
        }
    }

    /// A Router Advertisement, or on a PPP session anything else of Neighbor Discovery.
    pub(super) fn handle_ndp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        match &mut self.means {
            Means::Asked { discovery, .. } => discovery.handle(cx, packet),
            Means::Given(_) => Err(DropReason::NotListening),
        }
    }

    /// A message of a DHCPv6 server.
    pub(super) fn handle_dhcp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        match &mut self.means {
            Means::Asked { dhcp, .. } => dhcp.handle(cx, packet),
            Means::Given(_) => Err(DropReason::NotListening),
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if let Means::Asked { discovery, dhcp } = &mut self.means {
            discovery.handle_timeout(cx);
            dhcp.handle_timeout(cx);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.means {
            Means::Asked { discovery, dhcp } => earliest(discovery.poll_timeout(), dhcp.poll_timeout()),
            Means::Given(_) => None,
        }
    }

    /// Writes the next packet for the link.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        match &mut self.means {
            Means::Asked { discovery, dhcp } => discovery.poll_transmit(frame) || dhcp.poll_transmit(frame),
            Means::Given(_) => false,
        }
    }

    /// Passes on what the machines report. True when something that others build on has changed.
    pub(super) fn drain(&mut self, cx: &mut Cx<'_>, outbox: &mut Outbox) -> bool {
        self.now = cx.now;
        if let Means::Asked { discovery, dhcp } = &mut self.means {
            let mut news = false;
            while let Some(event) = discovery.poll_event() {
                news = true;
                self.heard |= matches!(event, discover::Event::FlagsSeen { .. });
                outbox.events.push_back(Event::WanRouters { name: Arc::clone(&self.name), event });
            }
            if news {
                dhcp.advise(cx, discovery.managed(), discovery.other());
                self.changed = true;
            }
            while let Some(event) = dhcp.poll_event() {
                self.changed = true;
                outbox.events.push_back(Event::WanDhcp6 { name: Arc::clone(&self.name), event });
            }
        }
        core::mem::take(&mut self.changed)
    }

    /// The link's addresses that are ours, for Neighbor Discovery on Ethernet.
    pub(super) fn own_addresses(&self) -> Vec<OwnAddress> {
        let link_local = self.link.map(|link| link.link_local);
        let all = link_local.into_iter().chain(self.addresses());
        all.map(|address| OwnAddress { address, dad: true }).collect()
    }

    /// Our addresses on the link besides the link-local one.
    pub(super) fn addresses(&self) -> Vec<Ipv6Addr> {
        if self.usable().is_none() {
            return Vec::new();
        }
        match &self.means {
            Means::Asked { discovery, dhcp } => {
                let made = discovery.addresses().iter().map(|made| (made.address, made.preferred_until));
                let leased = dhcp.addresses().iter().map(|leased| (leased.address, leased.preferred_until));
                let all = made.chain(leased).filter(|(address, _)| !self.duplicates.contains(address));
                let mut all: Vec<_> = all.collect();
                // The first is the one that the router speaks from.
                all.sort_by_key(|(_, preferred_until)| *preferred_until <= self.now);
                all.into_iter().map(|(address, _)| address).collect()
            }
            Means::Given(given) => Vec::from([given.address.address]),
        }
    }

    /// The link while something can be sent on it.
    fn usable(&self) -> Option<Link> {
        self.link.filter(|link| link.ready)
    }

    /// Where everything goes that is nowhere else. On a PPP session that is the peer, unless it has said by Router
    /// Advertisements that it is no default router; ISPs that send none route all the same.
    fn default_router(&self) -> Option<NextHop> {
        self.usable()?;
        match &self.means {
            Means::Asked { discovery, .. } if self.ppp => {
                (!discovery.routers().is_empty() || !self.heard).then_some(NextHop::Peer)
            }
            Means::Asked { discovery, .. } => {
                discovery.routers().first().map(|router| NextHop::Router(router.address))
            }
            Means::Given(given) => Some(NextHop::Router(given.gateway)),
        }
    }

    fn mtu(&self) -> Option<u16> {
        let link = self.usable()?;
        let told = match &self.means {
            Means::Asked { discovery, .. } => discovery.mtu(),
            Means::Given(_) => None,
        };
        Some(told.map_or(link.mtu, |mtu| mtu.min(link.mtu)))
    }

    /// What was delegated, and whether this session carries it.
    fn delegations(&self) -> (Vec<Delegation>, bool) {
        match &self.means {
            Means::Asked { dhcp, .. } if dhcp.prefixes().is_empty() => (dhcp.remembered().to_vec(), false),
            Means::Asked { dhcp, .. } => (dhcp.prefixes().to_vec(), self.usable().is_some()),
            Means::Given(given) => {
                let (preferred_until, valid_until) = (Instant::FOREVER, Instant::FOREVER);
                let delegation = given.prefix.map(|prefix| Delegation {
                    prefix,
                    preferred_until,
                    valid_until,
                    exclude: None,
                });
                (delegation.into_iter().collect(), self.usable().is_some())
            }
        }
    }

    /// What the state file remembers.
    pub(super) fn remembered(&self) -> &[Delegation] {
        match &self.means {
            Means::Asked { dhcp, .. } => dhcp.remembered(),
            Means::Given(_) => &[],
        }
    }

    /// What there is for the LANs.
    pub(super) fn source(&self) -> Source {
        let (delegations, carries) = self.delegations();
        Source { delegations, carries, default_route: self.default_router().is_some(), mtu: self.mtu() }
    }

    /// What the Forwarder is to know. While it is not known whether anybody else has the link-local address, it is there for
    /// those who say so.
    pub(super) fn forwarding(&self) -> Option<forward::WanIpv6> {
        let link = self.link?;
        let on_link: Vec<Ipv6Cidr> = match &self.means {
            Means::Asked { .. } if self.ppp => Vec::new(),
            Means::Asked { discovery, .. } => discovery.on_link().collect(),
            Means::Given(given) => Vec::from([given.address.network()]),
        };
        let (delegations, carries) = self.delegations();
        let prefixes = delegations.iter().map(|delegation| delegation.prefix).collect();
        let (delegated, awaited) = if carries { (prefixes, Vec::new()) } else { (Vec::new(), prefixes) };
        Some(forward::WanIpv6 {
            link_local: link.link_local,
            mtu: self.mtu().unwrap_or(link.mtu),
            addresses: self.addresses(),
            on_link,
            default_router: self.default_router(),
            delegated,
            awaited,
        })
    }

    /// DNS servers: those of DHCPv6 first.
    pub(super) fn dns(&self) -> Vec<Ipv6Addr> {
        let mut servers = Vec::new();
        if let (Means::Asked { discovery, dhcp }, Some(_)) = (&self.means, self.usable()) {
            for server in dhcp.information().dns.iter().copied().chain(discovery.dns()) {
                if !servers.contains(&server) {
                    servers.push(server);
                }
            }
        }
        servers
    }

    /// Options of DHCPv6 for the LANs' hosts, each with its code (RFC 7084 L-12).
    pub(super) fn passed_on(&self) -> &[(u16, Vec<u8>)] {
        match &self.means {
            Means::Asked { dhcp, .. } => &dhcp.information().passed_on,
            Means::Given(_) => &[],
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its link is a PPP session.
    pub(super) fn is_ppp(&self) -> bool {
        self.ppp
    }

    fn is_up(&self) -> bool {
        self.usable().is_some()
    }

    pub(super) fn status(&self, now: Instant, epoch: u32) -> WanIpv6Status {
        let (delegations, _) = self.delegations();
        let seconds = |until: Instant| (until != Instant::FOREVER).then(|| until.since(now).as_secs());
        let dhcp = match &self.means {
            Means::Asked { dhcp, .. } => {
                let status = dhcp.status();
                Some(Dhcp6Status {
                    state: status.state,
                    server: status.server.map(|duid| alloc::format!("{duid}")),
                    renew_in_s: status.renew_at.and_then(seconds),
                    rebind_in_s: status.rebind_at.and_then(seconds),
                    last_failure: status.failure,
                })
            }
            Means::Given(_) => None,
        };
        WanIpv6Status {
            up: self.is_up(),
            link_local: self.link.map(|link| link.link_local),
            addresses: self.addresses(),
            default_router: self.default_router().and_then(|hop| match hop {
                NextHop::Router(address) => Some(address),
                NextHop::Peer => self.link?.peer,
            }),
            prefixes: delegations
                .iter()
                .map(|delegation| PrefixStatus {
                    prefix: delegation.prefix,
                    preferred_s: lifetime(delegation.preferred_until, now),
                    valid_s: lifetime(delegation.valid_until, now),
                })
                .collect(),
            dns: self.dns(),
            dhcp,
            epoch,
        }
    }
}

/// Seconds from `now` to `until`, for the status; `None` when it never comes.
pub(super) fn lifetime(until: Instant, now: Instant) -> Option<u32> {
    (until != Instant::FOREVER).then(|| until.lifetime(now))
}
