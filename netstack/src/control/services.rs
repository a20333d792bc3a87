//! What the router does for its LANs: ARP, DHCP, and as a host DNS and ping.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use super::{Event, Exit, Outbox};
use crate::arp::{self, Arp, Station};
use crate::dhcp4::{self, Dhcp4};
use crate::dns::{Counters, Dns, Upstream};
use crate::forward::Resolve;
use crate::frame::Frame;
use crate::host::{Host, Way};
use crate::id::{Interface, Ipv4Cidr, Ipv6Cidr, LanId, PortId, Segment, WanId};
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::settings::{Lan, Settings};
use crate::state::{LanLease, State};
use crate::status::{LanStatus, LeaseStatus};
use crate::time::{Instant, earliest};

/// A LAN and its DHCP server, when it has one.
struct Served {
    name: Arc<str>,
    settings: Lan,
    dhcp: Option<Dhcp4>,
}

/// The services, for all LANs.
pub(super) struct Services {
    lans: Vec<Served>,
    /// Name and port of each uplink.
    wans: Vec<(Arc<str>, PortId)>,
    /// Addresses that are the router's whatever the uplinks do.
    own: Vec<IpAddr>,
    arp: Arp,
    host: Host,
    dns: Dns,
}

impl Services {
    pub(super) fn new(settings: &Settings, state: &State, cx: &mut Cx<'_>) -> Self {
        let port_of = |lan: &Lan| lan.ports.first().and_then(|port| settings.ports.get(port.index()));
        let on_lans = (0u16..).map(LanId).zip(&settings.lans).map(|(id, lan)| Station {
            segment: Segment::Lan(id),
            mac: port_of(lan).map(|port| port.mac).unwrap_or_default(),
            address: Some(lan.address),
        });
        let uplinks = (0u16..).map(WanId).zip(&settings.wans).filter(|(_, wan)| wan.is_segment());
        let beyond_uplinks = uplinks.map(|(id, wan)| Station {
            segment: Segment::Wan(id),
            mac: settings.ports.get(wan.port.index()).map(|port| port.mac).unwrap_or_default(),
            address: None,
        });
        let arp = Arp::new(cx, on_lans.chain(beyond_uplinks));
        let wans = settings.wans.iter().map(|wan| (wan.name.as_str().into(), wan.port)).collect();
        let lans = settings.lans.iter().map(|lan| {
            let mut dhcp =
                port_of(lan).and_then(|port| Dhcp4::new(lan, port.mac, port.mtu, &settings.hostname));
            if let Some(dhcp) = &mut dhcp {
                let old = state.leases.iter().filter(|old| old.lan == lan.name);
                dhcp.restore(cx, old.map(|old| old.lease.clone()).collect());
            }
            Served { name: lan.name.as_str().into(), settings: lan.clone(), dhcp }
        });
        let lans: Vec<Served> = lans.collect();
        let own = settings.lans.iter().map(|lan| lan.address.address);
        let own = own.chain(settings.concentrators.iter().map(|concentrator| concentrator.address));
        let own = own.chain(settings.vpns.iter().filter_map(|vpn| Some(vpn.ipv4?.address)));
        let own6 = settings.vpns.iter().filter_map(|vpn| Some(vpn.ipv6?.address.into()));
        let own: Vec<IpAddr> = own.map(IpAddr::from).chain(own6).collect();
        let mut host = Host::new(cx);
        host.set_addresses(own.iter().copied());
        let mut dns = Dns::new(settings, &mut host);
        for (id, lan) in (0u16..).map(LanId).zip(&lans) {
            name_leases(&mut dns, id, lan);
        }
        Services { lans, wans, own, arp, host, dns }
    }

    pub(super) fn handle_arp(
        &mut self,
        cx: &mut Cx<'_>,
        segment: Segment,
        frame: &[u8],
    ) -> Result<(), DropReason> {
        self.arp.handle(cx, arp::Input::Frame { segment, frame })
    }

    /// Which address the router has beyond a plain uplink.
    pub(super) fn set_segment(&mut self, cx: &mut Cx<'_>, wan: WanId, address: Option<Ipv4Cidr>) {
        // Only frames can be refused.
        let _ = self.arp.handle(cx, arp::Input::Address { segment: Segment::Wan(wan), address });
    }

    /// What is known of the stations on these segments may hold no longer.
    pub(super) fn reconfirm(&mut self, cx: &mut Cx<'_>, which: impl Fn(Segment) -> bool) {
        self.arp.reconfirm(cx, which);
    }

    /// Nobody knows how old the answers are that the DNS forwarder keeps.
    pub(super) fn forget_answers(&mut self) {
        self.dns.forget_answers();
    }

    pub(super) fn resolve(&mut self, cx: &mut Cx<'_>, resolve: Resolve) {
        // Only frames can be refused.
        let _ = self.arp.handle(cx, arp::Input::Resolve(resolve));
    }

    pub(super) fn handle_dhcp(
        &mut self,
        cx: &mut Cx<'_>,
        lan: LanId,
        frame: &[u8],
    ) -> Result<(), DropReason> {
        match self.lans.get_mut(lan.index()).and_then(|lan| lan.dhcp.as_mut()) {
            Some(dhcp) => dhcp.handle(cx, frame),
            None => Err(DropReason::NotListening),
        }
    }

    /// A packet to one of the router's addresses.
    pub(super) fn handle_local(
        &mut self,
        cx: &mut Cx<'_>,
        interface: Interface,
        packet: &Frame,
    ) -> Result<(), DropReason> {
        let received = self.host.receive(cx, interface, packet);
        self.dns.poll(cx, &mut self.host);
        received
    }

    /// Which addresses the router has by its uplinks, and which DNS servers to ask.
    pub(super) fn set_uplinks(&mut self, cx: &mut Cx<'_>, addresses: &[IpAddr], upstreams: Vec<Upstream>) {
        self.host.set_addresses(self.own.iter().chain(addresses).copied());
        self.dns.set_upstreams(cx, &mut self.host, upstreams);
    }

    /// Asks for the addresses of a host. The answer comes from [`Services::poll_found`], under `ticket`.
    pub(super) fn look_up(&mut self, cx: &mut Cx<'_>, host: &str, ipv6: bool, ticket: u64) {
        self.dns.look_up(cx, &mut self.host, host, ipv6, ticket);
    }

    /// The next answer.
    pub(super) fn poll_found(&mut self) -> Option<(u64, Vec<IpAddr>)> {
        self.dns.poll_found()
    }

    /// Which IPv6 prefixes a LAN has, and the names of its DHCPv6 leases.
    pub(super) fn set_names(&mut self, lan: LanId, prefixes: Vec<Ipv6Cidr>, leases: &[(String, Ipv6Addr)]) {
        self.dns.set_prefixes(lan, prefixes);
        self.dns.set_leases6(lan, leases.iter().map(|(name, address)| (name.as_str(), *address)));
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.arp.handle_timeout(cx);
        for dhcp in self.lans.iter_mut().filter_map(|lan| lan.dhcp.as_mut()) {
            dhcp.handle_timeout(cx);
        }
        self.host.handle_timeout(cx);
        self.dns.poll(cx, &mut self.host);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let dhcp = self.lans.iter().filter_map(|lan| lan.dhcp.as_ref()?.poll_timeout()).min();
        let dns = earliest(self.dns.poll_timeout(), self.host.poll_timeout());
        earliest(earliest(self.arp.poll_timeout(), dhcp), dns)
    }

    /// Octets that the next packet of the router's own needs, when it has one.
    pub(super) fn next_len(&self) -> Option<usize> {
        self.host.next_len()
    }

    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<Exit> {
        match self.arp.poll_transmit(frame) {
            Some(Segment::Lan(lan)) => return Some(Exit::Lan(lan)),
            Some(Segment::Wan(wan)) => {
                return self.wans.get(wan.index()).map(|&(_, port)| Exit::Port(port));
            }
            None => {}
        }
        for (id, lan) in (0u16..).map(LanId).zip(&mut self.lans) {
            if lan.dhcp.as_mut().is_some_and(|dhcp| dhcp.poll_transmit(frame)) {
                return Some(Exit::Lan(id));
            }
        }
        self.host.poll_transmit(frame).map(|way| match way {
            Way::Routed => Exit::Routed,
            Way::Link(interface) => Exit::Link(interface),
        })
    }

    /// Passes on what the services report.
    pub(super) fn drain(&mut self, outbox: &mut Outbox) {
        while let Some(event) = self.arp.poll_event() {
            match event {
                arp::Event::Neighbour(update) => outbox.updates.push_back(update),
                arp::Event::Conflict { segment: Segment::Wan(wan), .. } => {
                    let name = self.wans.get(wan.index()).map(|(name, _)| Arc::clone(name));
                    outbox.events.push_back(Event::WanArp { wan: name.unwrap_or_default(), event });
                }
                arp::Event::Conflict { segment: Segment::Lan(lan), .. } => {
                    let name =
                        self.lans.get(lan.index()).map(|lan| Arc::clone(&lan.name)).unwrap_or_default();
                    outbox.events.push_back(Event::Arp { lan: name, event });
                }
            }
        }
        for (id, lan) in (0u16..).map(LanId).zip(&mut self.lans) {
            let mut changed = false;
            while let Some(event) = lan.dhcp.as_mut().and_then(Dhcp4::poll_event) {
                changed |= event == dhcp4::Event::LeasesChanged;
                outbox.events.push_back(Event::Dhcp { lan: Arc::clone(&lan.name), event });
            }
            if changed {
                name_leases(&mut self.dns, id, lan);
            }
        }
        while let Some(event) = self.dns.poll_event() {
            outbox.events.push_back(Event::Dns(event));
        }
    }

    /// Every lease, for the state file.
    pub(super) fn leases(&self) -> Vec<LanLease> {
        let of_lan = |lan: &Served| -> Vec<LanLease> {
            let leases = lan.dhcp.iter().flat_map(Dhcp4::leases);
            leases.map(|lease| LanLease { lan: lan.name.as_ref().into(), lease: lease.clone() }).collect()
        };
        self.lans.iter().flat_map(of_lan).collect()
    }

    pub(super) fn lan_status(&self, now: Instant, ports: &[String]) -> Vec<LanStatus> {
        let of_lan = |lan: &Served| LanStatus {
            name: lan.name.as_ref().into(),
            ports: lan.settings.ports.iter().filter_map(|port| ports.get(port.index()).cloned()).collect(),
            address: lan.settings.address,
            leases: lan
                .dhcp
                .iter()
                .flat_map(Dhcp4::leases)
                .map(|lease| LeaseStatus {
                    address: lease.address,
                    mac: lease.mac,
                    hostname: lease.hostname.clone(),
                    expires_in_s: lease.expires.since(now).as_secs(),
                    fixed: lan.settings.hosts.iter().any(|host| host.mac == Some(lease.mac)),
                })
                .collect(),
            ipv6: None,
            troubles: Vec::new(),
        };
        self.lans.iter().map(of_lan).collect()
    }

    pub(super) fn dns_status(&self) -> Counters {
        self.dns.counters()
    }
}

/// Tells the DNS forwarder the names of a LAN's leases.
fn name_leases(dns: &mut Dns, id: LanId, lan: &Served) {
    let leases = lan.dhcp.iter().flat_map(Dhcp4::leases);
    dns.set_leases(id, leases.filter_map(|lease| Some((lease.hostname.as_deref()?, lease.address))));
}
