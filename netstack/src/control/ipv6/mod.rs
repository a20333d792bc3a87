//! IPv6 of the whole site: who brings together what the uplinks get with what the LANs have.
//!
//! [`addressing`] decides which LAN has which prefix. [`wan`] is one uplink, [`lan`] one LAN. [`Ipv6::update`] is the one
//! place where a change becomes a change everywhere: the Forwarder, Router Advertisements, DHCPv6, Neighbor Discovery and
//! names follow in the same step.

pub mod addressing;
mod duplicates;
mod lan;
mod wan;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use addressing::{Addressing, Source};
use lan::{LanIpv6, Router};
use wan::WanIpv6;

use super::{Event, Outbox};
use crate::dhcp6::Duid;
use crate::dhcp6::client::Delegation;
use crate::dhcp6::server::Lease;
use crate::forward::{self, Resolve, Update};
use crate::frame::Frame;
use crate::id::{Interface, Ipv6Cidr, LanId, PortId, Segment, WanId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::message::kind;
use crate::ndp::neighbour::Input;
use crate::ndp::{self, Neighbours};
use crate::settings::Settings;
use crate::state::{LanAddress, LanLease6, LanPrefix, RememberedDelegation, State};
use crate::status::{LanIpv6Status, WanIpv6Status};
use crate::time::{Instant, earliest};
use crate::wire;
use crate::wire::ipv6::{ALL_DHCP_SERVERS, ICMPV6, interface_id, link_local};

/// IPv6 of the site.
pub(super) struct Ipv6 {
    /// Who the router is for DHCPv6.
    duid: Duid,
    addressing: Addressing,
    neighbours: Neighbours,
    wans: Vec<Option<WanIpv6>>,
    lans: Vec<Option<LanIpv6>>,
    changed: bool,
    /// What the Forwarder was told of each uplink.
    told_wans: Vec<Option<forward::WanIpv6>>,
    /// What it was told of each LAN.
    told_lans: Vec<forward::LanIpv6>,
}

impl Ipv6 {
    pub(super) fn new(settings: &Settings, state: &State, cx: &mut Cx<'_>) -> Self {
        let mac_of = |port: PortId| settings.ports.get(port.index()).map(|port| port.mac);
        let lans = (0u16..).map(LanId).zip(&settings.lans).filter(|(_, lan)| lan.prefix.is_some());
        let lans = lans.filter_map(|(id, lan)| Some((Segment::Lan(id), mac_of(*lan.ports.first()?)?)));
        let wans = (0u16..).map(WanId).zip(&settings.wans).filter(|(_, wan)| wan.ipv6.is_some());
        let wans = wans.filter(|(_, wan)| wan.is_segment());
        let wans = wans.filter_map(|(id, wan)| Some((Segment::Wan(id), mac_of(wan.port)?)));
        let stations: Vec<_> = lans.chain(wans).collect();
        let duid = state.duid.clone().unwrap_or_else(|| {
            let first = settings.wans.first().map(|wan| wan.port).unwrap_or(PortId(0));
            Duid::link_layer(mac_of(first).unwrap_or_default())
        });
        let router = Router { duid: &duid, hostname: &settings.hostname };
        let mut neighbours = Neighbours::new(cx, stations);
        let lans = (0u16..).map(LanId).zip(&settings.lans).map(|(id, lan)| {
            let ports = || lan.ports.iter().filter_map(|port| settings.ports.get(port.index()));
            lan.prefix?;
            if lan.dhcp6 != crate::settings::Dhcp6::Off {
                neighbours.set_groups(cx, Segment::Lan(id), &[ALL_DHCP_SERVERS]);
            }
            let mtu = ports().map(|port| port.mtu).min().unwrap_or(1500);
            let leases = state.leases6.iter().filter(|old| old.lan == lan.name);
            let leases = leases.map(|old| old.lease.clone()).collect();
            Some(LanIpv6::new(cx, lan, (ports().next()?.mac, mtu), &router, leases))
        });
        let lans = lans.collect();
        let wans = settings.wans.iter().map(|wan| {
            let old = state.delegations.iter().filter(|old| old.wan == wan.name);
            let delegations = old.map(|old| old.delegation).collect();
            WanIpv6::new(cx, wan, mac_of(wan.port)?, duid.clone(), delegations)
        });
        let wans = wans.collect();
        let mut ipv6 = Ipv6 {
            duid,
            addressing: Addressing::new(settings, state, cx),
            neighbours,
            wans,
            lans,
            changed: true,
            told_wans: settings.wans.iter().map(|_| None).collect(),
            told_lans: settings.lans.iter().map(|_| forward::LanIpv6::default()).collect(),
        };
        for (id, lan) in (0u16..).map(LanId).zip(&settings.lans) {
            let kept = state.lan_addresses.iter().filter(|old| old.lan == lan.name).map(|old| old.address);
            let link_local = ipv6.lans.get(id.index()).and_then(Option::as_ref).map(LanIpv6::link_local);
            // Another card is another station.
            if link_local.is_some_and(|link_local| kept.clone().any(|address| address == link_local)) {
                ipv6.neighbours.adopt(Segment::Lan(id), kept);
            }
        }
        // On Ethernet there is a link from the start.
        for (id, wan) in (0u16..).map(WanId).zip(&settings.wans).filter(|(_, wan)| wan.is_segment()) {
            if let (Some(port), Some(state)) = (settings.ports.get(wan.port.index()), ipv6.wan_mut(id)) {
                state.up(cx, link_local(interface_id(port.mac)), None, port.mtu);
            }
        }
        ipv6
    }

    /// The link of an uplink is up or down for IPv6.
    pub(super) fn link_changed(&mut self, cx: &mut Cx<'_>, wan: WanId, link: LinkIpv6) {
        let Some(wan) = self.wan_mut(wan) else { return };
        match link {
            LinkIpv6::Up { link_local, peer, mtu } => wan.up(cx, link_local, Some(peer), mtu),
            LinkIpv6::Kept { link_local, peer, mtu } => wan.kept(cx, link_local, peer, mtu),
            LinkIpv6::Down => wan.down(cx),
        }
    }

    /// Time has passed that nobody has counted: everybody is asked, and told, anew.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>) {
        self.wans.iter_mut().flatten().for_each(|wan| wan.reconfirm(cx));
        self.lans.iter_mut().flatten().for_each(|lan| lan.repeat(cx));
        self.neighbours.reconfirm(cx, |_| true);
    }

    /// An uplink's line was cut: who is beyond it is asked anew.
    pub(super) fn reconfirm_wan(&mut self, cx: &mut Cx<'_>, wan: WanId) {
        if let Some(wan) = self.wan_mut(wan) {
            wan.reconfirm(cx);
        }
        self.neighbours.reconfirm(cx, |segment| segment == Segment::Wan(wan));
    }

    /// A packet of Neighbor Discovery or MLD.
    pub(super) fn handle_ndp(
        &mut self,
        cx: &mut Cx<'_>,
        interface: Interface,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let is_routers = is_router_discovery(packet);
        let segment = match interface {
            Interface::Lan(lan) => Segment::Lan(lan),
            Interface::Wan(wan) => Segment::Wan(wan),
            Interface::Subscriber(_) | Interface::Vpn(_) | Interface::Router => {
                return Err(DropReason::NotListening);
            }
        };
        match interface {
            Interface::Lan(lan) if is_routers => {
                self.lan_mut(lan).ok_or(DropReason::NotListening)?.handle_ndp(cx, packet)
            }
            Interface::Wan(wan) => match self.wan_mut(wan) {
                Some(wan) if is_routers || wan.is_ppp() => wan.handle_ndp(cx, packet),
                Some(_) => self.neighbours.handle(cx, Input::Packet { segment, packet }),
                None => Err(DropReason::NotListening),
            },
            _ => self.neighbours.handle(cx, Input::Packet { segment, packet }),
        }
    }

    /// A DHCPv6 message.
    pub(super) fn handle_dhcp(
        &mut self,
        cx: &mut Cx<'_>,
        interface: Interface,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        match interface {
            Interface::Wan(wan) => match self.wan_mut(wan) {
                Some(wan) => wan.handle_dhcp(cx, packet),
                None => Err(DropReason::NotListening),
            },
            Interface::Lan(lan) => match self.lan_mut(lan) {
                Some(lan) => lan.handle_dhcp(cx, packet),
                None => Err(DropReason::NotListening),
            },
            Interface::Subscriber(_) | Interface::Vpn(_) | Interface::Router => Err(DropReason::NotListening),
        }
    }

    pub(super) fn resolve(&mut self, cx: &mut Cx<'_>, resolve: Resolve) {
        // Only packets can be refused.
        let _ = self.neighbours.handle(cx, Input::Resolve(resolve));
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.neighbours.handle_timeout(cx);
        self.wans.iter_mut().flatten().for_each(|wan| wan.handle_timeout(cx));
        self.lans.iter_mut().flatten().for_each(|lan| lan.handle_timeout(cx));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let wans = self.wans.iter().flatten().filter_map(WanIpv6::poll_timeout).min();
        let lans = self.lans.iter().flatten().filter_map(LanIpv6::poll_timeout).min();
        let links = earliest(earliest(wans, lans), self.neighbours.poll_timeout());
        earliest(links, self.addressing.poll_timeout())
    }

    /// Writes the next packet, and says which link it is for.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Interface> {
        for (id, wan) in (0u16..).map(WanId).zip(&mut self.wans) {
            if wan.as_mut().is_some_and(|wan| wan.poll_transmit(frame)) {
                return Some(Interface::Wan(id));
            }
        }
        for (id, lan) in (0u16..).map(LanId).zip(&mut self.lans) {
            if lan.as_mut().is_some_and(|lan| lan.poll_transmit(frame)) {
                return Some(Interface::Lan(id));
            }
        }
        self.neighbours.poll_transmit(frame).map(Interface::from)
    }

    /// Makes everything follow from what the uplinks have now.
    fn update(&mut self, cx: &mut Cx<'_>, outbox: &mut Outbox) {
        let source = |wan: &Option<WanIpv6>| wan.as_ref().map(WanIpv6::source).unwrap_or_default();
        let sources: Vec<Source> = self.wans.iter().map(source).collect();
        for (id, events) in self.addressing.update(cx.now, &sources) {
            let name = self.lans.get(id.index()).and_then(Option::as_ref).map(|lan| Arc::clone(lan.name()));
            for event in events {
                outbox.events.push_back(Event::LanPrefix { lan: name.clone().unwrap_or_default(), event });
            }
            outbox.events.push_back(Event::PrefixesChanged);
        }

        for ((id, wan), told) in (0u16..).map(WanId).zip(&self.wans).zip(&mut self.told_wans) {
            let Some(wan) = wan else { continue };
            let new = wan.forwarding();
            if new != *told {
                outbox.updates.push_back(Update::WanIpv6 { wan: id, ipv6: new.clone() });
                *told = new;
            }
            if !wan.is_ppp() {
                self.neighbours.set_addresses(cx, Segment::Wan(id), &wan.own_addresses());
            }
        }
        let site = self.addressing.ula();
        for (((id, lan), new), told) in
            (0u16..).map(LanId).zip(&self.addressing.lans).zip(&mut self.lans).zip(&mut self.told_lans)
        {
            let (Some(lan), Some(new)) = (lan, new) else { continue };
            let forwarding = new.forwarding(lan);
            if forwarding != *told {
                outbox.updates.push_back(Update::LanIpv6 { lan: id, ipv6: forwarding.clone() });
                *told = forwarding;
            }
            self.neighbours.set_addresses(cx, Segment::Lan(id), &new.own_addresses(lan));
            let passed_on = self.wans.get(lan.uplink().index()).and_then(Option::as_ref);
            new.set(cx, lan, site, &sources, passed_on.map_or(&[], WanIpv6::passed_on));
        }
    }

    /// Passes on what the machines report, and makes everything follow from it. True when the router's addresses, its DNS
    /// servers or the LANs' prefixes may be others now.
    pub(super) fn drain(&mut self, cx: &mut Cx<'_>, outbox: &mut Outbox) -> bool {
        let mut any = false;
        loop {
            self.drain_neighbours(cx, outbox);
            for wan in self.wans.iter_mut().flatten() {
                self.changed |= wan.drain(cx, outbox);
            }
            let due = self.addressing.poll_timeout().is_some_and(|at| at <= cx.now);
            if !core::mem::take(&mut self.changed) && !due {
                break;
            }
            self.update(cx, outbox);
            any = true;
        }
        for lan in self.lans.iter_mut().flatten() {
            any |= lan.drain(outbox);
        }
        any
    }

    fn drain_neighbours(&mut self, cx: &mut Cx<'_>, outbox: &mut Outbox) {
        while let Some(event) = self.neighbours.poll_event() {
            let segment = match event {
                ndp::neighbour::Event::Neighbour(update) => {
                    outbox.updates.push_back(update);
                    continue;
                }
                ndp::neighbour::Event::AddressReady { segment, address } => {
                    match segment {
                        Segment::Wan(wan) => {
                            self.wan_mut(wan).into_iter().for_each(|wan| wan.ready(cx, address))
                        }
                        Segment::Lan(lan) => self.lan_mut(lan).into_iter().for_each(|lan| lan.ready(address)),
                    }
                    self.changed = true;
                    segment
                }
                ndp::neighbour::Event::Duplicate { segment, address, .. } => {
                    match segment {
                        Segment::Wan(wan) => {
                            self.wan_mut(wan).into_iter().for_each(|wan| wan.duplicate(cx, address));
                        }
                        Segment::Lan(lan) => {
                            self.lan_mut(lan).into_iter().for_each(|lan| lan.duplicate(address))
                        }
                    }
                    self.changed = true;
                    segment
                }
                ndp::neighbour::Event::Conflict { segment, .. } => segment,
            };
            let name = match segment {
                Segment::Wan(wan) => self.wan_mut(wan).map(|wan| Arc::clone(wan.name())),
                Segment::Lan(lan) => {
                    self.lans.get(lan.index()).and_then(Option::as_ref).map(|lan| Arc::clone(lan.name()))
                }
            };
            let name = name.unwrap_or_default();
            outbox.events.push_back(Event::Ndp { segment, name, event });
        }
    }

    /// The router goes: hosts are told.
    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        self.lans.iter_mut().flatten().for_each(|lan| lan.shut_down(cx));
    }

    /// The router's addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        let lans = self.told_lans.iter().flat_map(|lan| lan.addresses.iter().copied());
        let wans = self.told_wans.iter().flatten();
        lans.chain(wans.flat_map(|wan| wan.addresses.iter().copied().chain([wan.link_local])))
    }

    /// The router's own address for what it asks beyond an uplink: the uplink's, or where it has none one of a LAN in a prefix
    /// that the uplink carries (RFC 7084 WAA-7).
    pub(super) fn source(&self, wan: WanId) -> Option<Ipv6Addr> {
        let told = self.told_wans.get(wan.index())?.as_ref()?;
        told.default_router?;
        let mut on_lans = self.told_lans.iter().flat_map(|lan| lan.addresses.iter().copied());
        let delegated = |address: &Ipv6Addr| told.delegated.iter().any(|prefix| prefix.contains(*address));
        told.addresses.first().copied().or_else(|| on_lans.find(delegated))
    }

    /// The DNS servers that an uplink's routers and DHCPv6 servers have told.
    pub(super) fn dns(&self, wan: WanId) -> Vec<Ipv6Addr> {
        self.wans.get(wan.index()).and_then(Option::as_ref).map(WanIpv6::dns).unwrap_or_default()
    }

    /// The state of the uplinks' delegations, for the state file.
    pub(super) fn delegations(&self) -> Vec<RememberedDelegation> {
        let of_wan = |wan: &WanIpv6| -> Vec<RememberedDelegation> {
            let name = |delegation: &Delegation| RememberedDelegation {
                wan: wan.name().as_ref().into(),
                delegation: *delegation,
            };
            wan.remembered().iter().map(name).collect()
        };
        self.wans.iter().flatten().flat_map(of_wan).collect()
    }

    /// Who the router is for DHCPv6, for the state file.
    pub(super) fn duid(&self) -> Duid {
        self.duid.clone()
    }

    pub(super) fn wan_status(&self, now: Instant, wan: WanId, epoch: u32) -> Option<WanIpv6Status> {
        Some(self.wans.get(wan.index())?.as_ref()?.status(now, epoch))
    }

    /// For the names of each LAN: the router's address in each prefix that hosts are to use, and the addresses of the DHCPv6
    /// leases with a name.
    pub(super) fn names(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (LanId, Vec<Ipv6Cidr>, Vec<(String, Ipv6Addr)>)> + '_ {
        let preferred = move |lan: &addressing::Lan| {
            let held = lan.held.iter().filter(|held| held.preferred_until > now);
            held.map(|held| Ipv6Cidr { address: held.router(), ..held.prefix }).collect()
        };
        let lans = self.addressing.lans().zip(self.lans.iter().flatten());
        lans.map(move |((id, held), lan)| (id, preferred(held), lan.lease_names(now, held)))
    }

    /// The DHCPv6 servers' leases, for the state file.
    pub(super) fn leases(&self) -> Vec<LanLease6> {
        let of_lan = |lan: &LanIpv6| -> Vec<LanLease6> {
            let named = |lease: &Lease| LanLease6 { lan: lan.name().as_ref().into(), lease: lease.clone() };
            lan.leases().map(named).collect()
        };
        self.lans.iter().flatten().flat_map(of_lan).collect()
    }

    pub(super) fn ula(&self) -> Option<Ipv6Cidr> {
        self.addressing.ula()
    }

    /// The router's addresses on the LANs that nobody else has, for the state file.
    pub(super) fn ready_addresses(&self) -> Vec<LanAddress> {
        let lans = (0u16..).map(LanId).zip(&self.lans);
        let lans = lans.filter_map(|(id, lan)| Some((Segment::Lan(id), lan.as_ref()?.name())));
        let of = |(segment, lan): (Segment, &Arc<str>)| -> Vec<LanAddress> {
            let named = |address| LanAddress { lan: lan.as_ref().into(), address };
            self.neighbours.own_addresses(segment).map(named).collect()
        };
        lans.flat_map(of).collect()
    }

    /// What hosts were told, for the state file.
    pub(super) fn announced(&self) -> Vec<LanPrefix> {
        self.addressing.announced()
    }

    pub(super) fn lan_status(&self, now: Instant, lan: LanId, wans: &[String]) -> Option<LanIpv6Status> {
        let held = self.addressing.lan(lan)?;
        let uplink = wans.get(held.uplink().index()).map_or("", String::as_str);
        Some(self.lans.get(lan.index())?.as_ref()?.status(now, held, uplink))
    }

    fn lan_mut(&mut self, lan: LanId) -> Option<&mut LanIpv6> {
        self.lans.get_mut(lan.index())?.as_mut()
    }

    fn wan_mut(&mut self, wan: WanId) -> Option<&mut WanIpv6> {
        self.wans.get_mut(wan.index())?.as_mut()
    }
}

/// What became of the link of an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkIpv6 {
    /// IPV6CP is open.
    Up {
        /// Our address.
        link_local: Ipv6Addr,
        /// The peer's address.
        peer: Ipv6Addr,
        /// Largest IP packet, in octets.
        mtu: u16,
    },
    /// IPV6CP is open, and was so in the last run of the program already.
    Kept {
        /// Our address.
        link_local: Ipv6Addr,
        /// The peer's address.
        peer: Ipv6Addr,
        /// Largest IP packet, in octets.
        mtu: u16,
    },
    /// It is not.
    Down,
}

/// True for what routers and those who look for one say to each other.
fn is_router_discovery(packet: &[u8]) -> bool {
    let number = wire::ipv6::Ipv6::parse(packet).filter(|packet| packet.next_header() == ICMPV6);
    let number = number.and_then(|packet| packet.payload().first().copied());
    matches!(number, Some(kind::ROUTER_SOLICITATION | kind::ROUTER_ADVERTISEMENT))
}
