//! IPv6 on one LAN: what its hosts are told by Router Advertisements and by DHCPv6.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::addressing::{Held, Lan, Origin, Source};
use super::duplicates::Duplicates;
use super::wan::lifetime;
use crate::control::{Event, Outbox};
use crate::dhcp6::server::{self, Lease, OfferedPrefix, Server, ServerSettings};
use crate::dhcp6::{Duid, Information};
use crate::forward;
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::{AdvertisedPrefix, AdvertisedRoute, Advertisement, Advertiser, OwnAddress};
use crate::settings::{self, Dhcp6};
use crate::status::{LanIpv6Status, LanPrefixStatus, Lease6Status, PrefixState};
use crate::time::{Instant, earliest};
use crate::wire::ipv6::{interface_id, link_local};

/// IPv6 on one LAN.
pub(super) struct LanIpv6 {
    name: Arc<str>,
    domain: String,
    /// The DHCPv6 server gives addresses, too.
    managed: bool,
    link_local: Ipv6Addr,
    /// Octets of an IP packet that the LAN carries.
    mtu: u16,
    /// Nobody else has the link-local address: hosts may be told.
    ready: bool,
    /// Addresses that another station on the LAN uses.
    duplicates: Duplicates,
    advertiser: Advertiser,
    server: Option<Server>,
}

/// Who the router is, for every LAN.
pub(super) struct Router<'a> {
    pub(super) duid: &'a Duid,
    pub(super) hostname: &'a str,
}

impl LanIpv6 {
    /// The IPv6 of `lan`, on which the router has the Ethernet address `mac`. Nothing is said before [`LanIpv6::set`].
    /// `leases` are those of the last run.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        lan: &settings::Lan,
        (mac, mtu): (Mac, u16),
        router: &Router<'_>,
        leases: Vec<Lease>,
    ) -> Self {
        let link_local = link_local(interface_id(mac));
        let managed = lan.dhcp6 == Dhcp6::Stateful;
        let server = (lan.dhcp6 != Dhcp6::Off).then(|| {
            let settings = ServerSettings {
                duid: router.duid.clone(),
                source: link_local,
                stateful: managed,
                hosts: lan.hosts.clone(),
                router_name: router.hostname.into(),
            };
            let mut server = Server::new(cx, settings);
            server.restore(cx, leases);
            server
        });
        LanIpv6 {
            name: lan.name.as_str().into(),
            domain: lan.domain.clone(),
            managed,
            link_local,
            mtu,
            ready: false,
            duplicates: Duplicates::default(),
            advertiser: Advertiser::new(cx, link_local, Some(mac)),
            server,
        }
    }

    /// Nobody else has this address of ours.
    pub(super) fn ready(&mut self, address: Ipv6Addr) {
        self.ready |= address == self.link_local;
        self.duplicates.remove(address);
    }

    /// Somebody else has this address.
    pub(super) fn duplicate(&mut self, address: Ipv6Addr) {
        self.duplicates.add(address);
    }

    /// Hosts are to know this from now on, or as soon as the router may speak.
    pub(super) fn set(
        &mut self,
        cx: &mut Cx<'_>,
        lan: &Lan,
        site: Option<Ipv6Cidr>,
        sources: &[Source],
        passed_on: &[(u16, Vec<u8>)],
    ) {
        if !self.ready {
            return;
        }
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
        let (dns, domains) = (Vec::from([self.dns_server(lan)]), Vec::from([self.domain.clone()]));
        let uplink_mtu = source.and_then(|source| source.mtu).filter(|mtu| *mtu < self.mtu);
        let advertisement = Advertisement {
            default_router: lan.is_online(cx.now, sources),
            managed: self.managed,
            other: self.server.is_some(),
            mtu: uplink_mtu.map(u32::from),
            prefixes: held.chain(stale).collect(),
            routes: routes.collect(),
            dns: dns.clone(),
            domains: domains.clone(),
        };
        self.advertiser.set(cx, advertisement);
        if let Some(server) = &mut self.server {
            let offered = lan.held.iter().map(|held| OfferedPrefix {
                prefix: held.prefix,
                preferred_until: held.preferred_until,
                valid_until: held.valid_until,
            });
            server.set_prefixes(&offered.collect::<Vec<_>>());
            server.set_information(Information { dns, domains, passed_on: passed_on.to_vec() });
        }
    }

    /// Where hosts send their DNS questions: to an address that no renumbering changes.
    fn dns_server(&self, lan: &Lan) -> Ipv6Addr {
        let lasting = lan.lasting_address().filter(|address| !self.duplicates.contains(address));
        lasting.unwrap_or(self.link_local)
    }

    /// A Router Solicitation, or another router's advertisement.
    pub(super) fn handle_ndp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        self.advertiser.handle(cx, packet)
    }

    /// A message of a DHCPv6 client.
    pub(super) fn handle_dhcp(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), DropReason> {
        self.server.as_mut().ok_or(DropReason::NotListening)?.handle(cx, packet)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.advertiser.handle_timeout(cx);
        if let Some(server) = &mut self.server {
            server.handle_timeout(cx);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.advertiser.poll_timeout(), self.server.as_ref().and_then(Server::poll_timeout))
    }

    /// Writes the next packet for the LAN.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> bool {
        self.advertiser.poll_transmit(frame)
            || self.server.as_mut().is_some_and(|server| server.poll_transmit(frame))
    }

    /// Passes on what the machines report. True when the names of the DHCPv6 leases may be others now.
    pub(super) fn drain(&mut self, outbox: &mut Outbox) -> bool {
        let mut renamed = false;
        while let Some(event) = self.server.as_mut().and_then(Server::poll_event) {
            renamed |= event == server::Event::LeasesChanged;
            outbox.events.push_back(Event::LanDhcp6 { lan: Arc::clone(&self.name), event });
        }
        while let Some(event) = self.advertiser.poll_event() {
            outbox.events.push_back(Event::LanRouter { lan: Arc::clone(&self.name), event });
        }
        renamed
    }

    /// The DHCPv6 server's leases.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.server.iter().flat_map(Server::leases)
    }

    /// The names of the leases, with an address in each prefix that hosts are to use.
    pub(super) fn lease_names(&self, now: Instant, lan: &Lan) -> Vec<(String, Ipv6Addr)> {
        let named = self.leases().filter_map(|lease| Some((lease.hostname.clone()?, lease.suffix)));
        let addresses = |(name, suffix): (String, Ipv6Addr)| {
            let of = move |held: &Held| (name.clone(), held.prefix.with_suffix(suffix));
            lan.held.iter().filter(|held| held.preferred_until > now).map(of).collect::<Vec<_>>()
        };
        named.flat_map(addresses).collect()
    }

    /// Hosts may have waited in vain: they are told anew.
    pub(super) fn repeat(&mut self, cx: &mut Cx<'_>) {
        self.advertiser.repeat(cx);
    }

    /// The router goes: hosts are told.
    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        self.advertiser.stop(cx);
    }

    pub(super) fn link_local(&self) -> Ipv6Addr {
        self.link_local
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The router's addresses, the link-local one first.
    pub(super) fn addresses(&self, lan: &Lan) -> Vec<Ipv6Addr> {
        let all = core::iter::once(self.link_local).chain(lan.held.iter().map(Held::router));
        all.filter(|address| !self.duplicates.contains(address)).collect()
    }

    /// The same, for Neighbor Discovery.
    pub(super) fn own_addresses(&self, lan: &Lan) -> Vec<OwnAddress> {
        let all = core::iter::once(self.link_local).chain(lan.held.iter().map(Held::router));
        all.map(|address| OwnAddress { address, dad: true }).collect()
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
            leases: self.leases().flat_map(|lease| lease_status(now, lan, lease)).collect(),
            problem: lan.problem.map(|problem| alloc::format!("{problem}")),
        }
    }
}

/// A lease's addresses: one in each prefix that is preferred.
fn lease_status(now: Instant, lan: &Lan, lease: &Lease) -> Vec<Lease6Status> {
    let preferred = lan.held.iter().filter(|held| held.preferred_until > now);
    let of = |held: &Held| Lease6Status {
        address: held.prefix.with_suffix(lease.suffix),
        duid: alloc::format!("{}", lease.client),
        hostname: lease.hostname.clone(),
        expires_in_s: lease.expires.since(now).as_secs(),
    };
    preferred.map(of).collect()
}
