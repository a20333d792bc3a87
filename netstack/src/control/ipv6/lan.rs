//! IPv6 on one LAN: what its hosts are told by Router Advertisements and by DHCPv6.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::addressing::{Lan, Origin, Source};
use super::wan::lifetime;
use crate::control::{Event, Outbox};
use crate::forward;
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::{AdvertisedPrefix, AdvertisedRoute, Advertisement, Advertiser, OwnAddress};
use crate::settings::{self, Dhcp6};
use crate::status::{LanIpv6Status, LanPrefixStatus, PrefixState};
use crate::time::Instant;
use crate::wire::ipv6::{interface_id, link_local};

/// IPv6 on one LAN.
pub(super) struct LanIpv6 {
    name: Arc<str>,
    domain: String,
    dhcp6: Dhcp6,
    link_local: Ipv6Addr,
    /// Octets of an IP packet that the LAN carries.
    mtu: u16,
    advertiser: Advertiser,
}

impl LanIpv6 {
    /// The IPv6 of `lan`, on which the router has the Ethernet address `mac`. Nothing is said before [`LanIpv6::set`].
    pub(super) fn new(cx: &mut Cx<'_>, lan: &settings::Lan, mac: Mac, mtu: u16) -> Self {
        let link_local = link_local(interface_id(mac));
        LanIpv6 {
            name: lan.name.as_str().into(),
            domain: lan.domain.clone(),
            dhcp6: lan.dhcp6,
            link_local,
            mtu,
            advertiser: Advertiser::new(cx, link_local, Some(mac)),
        }
    }

    /// Hosts are to know this from now on.
    pub(super) fn set(&mut self, cx: &mut Cx<'_>, lan: &Lan, site: Option<Ipv6Cidr>, sources: &[Source]) {
        let advertised = |prefix, preferred_until, valid_until| AdvertisedPrefix {
            prefix,
            on_link: true,
            autonomous: true,
            preferred_until,
            valid_until,
        };
        let held =
            lan.held.iter().map(|held| advertised(held.prefix, held.preferred_until, held.valid_until));
        let stale = lan.stale.iter().map(|stale| advertised(stale.prefix, Instant::ZERO, Instant::ZERO));
        let source = sources.get(lan.uplink().index());
        // The whole of what is ours is reached by us, whatever part of it is here (RFC 7084 L-3).
        let delegated = source.into_iter().flat_map(|source| &source.delegations);
        let routes = delegated
            .map(|delegation| AdvertisedRoute { prefix: delegation.prefix, until: delegation.valid_until })
            .chain(site.map(|prefix| AdvertisedRoute { prefix, until: Instant::FOREVER }));
        // Hosts that know how much the uplink carries need not be told by Packet Too Big.
        let uplink_mtu = source.and_then(|source| source.mtu).filter(|mtu| *mtu < self.mtu);
        let advertisement = Advertisement {
            default_router: lan.is_online(cx.now, sources),
            managed: self.dhcp6 == Dhcp6::Stateful,
            other: self.dhcp6 != Dhcp6::Off,
            mtu: uplink_mtu.map(u32::from),
            prefixes: held.chain(stale).collect(),
            routes: routes.collect(),
            dns: Vec::from([self.dns_server(lan)]),
            domains: Vec::from([self.domain.clone()]),
        };
        self.advertiser.set(cx, advertisement);
    }

    /// Where hosts send their DNS questions: to an address that no renumbering changes.
    fn dns_server(&self, lan: &Lan) -> Ipv6Addr {
        lan.lasting_address().unwrap_or(self.link_local)
    }

    /// A Router Solicitation, or another router's advertisement.
    pub(super) fn handle_ndp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        self.advertiser.handle(cx, packet)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.advertiser.handle_timeout(cx);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.advertiser.poll_timeout()
    }

    /// Writes the next packet for the LAN.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        self.advertiser.poll_transmit(frame)
    }

    pub(super) fn drain(&mut self, outbox: &mut Outbox) {
        while let Some(event) = self.advertiser.poll_event() {
            outbox.events.push_back(Event::LanRouter { lan: Arc::clone(&self.name), event });
        }
    }

    /// The router goes: hosts are told.
    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        self.advertiser.stop(cx);
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The router's addresses, the link-local one first.
    pub(super) fn addresses(&self, lan: &Lan) -> Vec<Ipv6Addr> {
        core::iter::once(self.link_local).chain(lan.held.iter().map(|held| held.router())).collect()
    }

    /// The same, for Neighbor Discovery.
    pub(super) fn own_addresses(&self, lan: &Lan) -> Vec<OwnAddress> {
        self.addresses(lan).into_iter().map(|address| OwnAddress { address, dad: true }).collect()
    }

    /// What the Forwarder is to know.
    pub(super) fn forwarding(&self, lan: &Lan) -> forward::LanIpv6 {
        forward::LanIpv6 {
            addresses: self.addresses(lan),
            prefixes: lan.held.iter().map(|held| held.prefix).collect(),
            stale: lan.stale.iter().map(|stale| stale.prefix).collect(),
        }
    }

    pub(super) fn status(&self, now: Instant, lan: &Lan, uplink: &str) -> LanIpv6Status {
        let held = lan.held.iter().map(|held| LanPrefixStatus {
            prefix: held.prefix,
            origin: match held.origin {
                Origin::Wan(_) => uplink.into(),
                Origin::Ula => "ula".into(),
            },
            state: if held.preferred_until > now { PrefixState::Preferred } else { PrefixState::Deprecated },
            preferred_s: lifetime(held.preferred_until, now),
            valid_s: lifetime(held.valid_until, now),
            announced_for_s: None,
        });
        let stale = lan.stale.iter().map(|stale| LanPrefixStatus {
            prefix: stale.prefix,
            origin: uplink.into(),
            state: PrefixState::Stale,
            preferred_s: Some(0),
            valid_s: Some(0),
            announced_for_s: Some(stale.until.since(now).as_secs()),
        });
        LanIpv6Status {
            addresses: self.addresses(lan),
            prefixes: held.chain(stale).collect(),
            leases: Vec::new(),
            problem: lan.problem.map(|problem| alloc::format!("{problem}")),
        }
    }
}
