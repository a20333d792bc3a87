//! Where an address is: ours, on a LAN, a subscriber's, or beyond an uplink.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::forward::icmp::IcmpError;
use crate::forward::link::Links;
use crate::forward::peers::{Behind, PeerNetworks};
use crate::id::{Interface, Ipv4Cidr, LanId, PortId, WanId};
use crate::ledger::DropReason;
use crate::settings::Settings;

/// The networks of the configuration.
#[derive(Debug)]
pub(crate) struct Networks {
    lans: Vec<Ipv4Cidr>,
    concentrators: Vec<Pool>,
    peers: PeerNetworks,
    /// Some uplink is to have IPv4.
    has_uplink: bool,
}

#[derive(Debug)]
struct Pool {
    port: PortId,
    address: Ipv4Addr,
    network: Ipv4Cidr,
}

/// Where a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// By this interface, the router itself included.
    To(Interface),
    /// It is the address of an uplink that is up: the router, or whoever it is translated to.
    Uplink(WanId),
    /// Nowhere.
    Nowhere(DropReason, Option<IcmpError>),
}

impl Networks {
    /// The networks of `settings`.
    pub fn new(settings: &Settings) -> Networks {
        Networks {
            lans: settings.lans.iter().map(|lan| lan.address).collect(),
            concentrators: settings
                .concentrators
                .iter()
                .map(|c| Pool { port: c.port, address: c.address, network: c.pool })
                .collect(),
            peers: PeerNetworks::new(settings),
            has_uplink: settings.wans.iter().any(|wan| wan.ipv4),
        }
    }

    /// The router's address and network on a LAN.
    pub fn lan(&self, lan: LanId) -> Option<Ipv4Cidr> {
        self.lans.get(lan.index()).copied()
    }

    /// The router's address towards the subscribers on `port`.
    pub fn concentrator(&self, port: PortId) -> Option<Ipv4Addr> {
        self.concentrators.iter().find(|pool| pool.port == port).map(|pool| pool.address)
    }

    /// What is behind the peers of VPNs.
    pub fn peers(&self) -> &PeerNetworks {
        &self.peers
    }

    /// True for an address that belongs to a LAN, to a concentrator's subscribers, to a VPN, or to the router on their side.
    pub fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.is_local(address) || self.peers.holds(address.into())
    }

    /// As [`Networks::is_inside`], but for VPNs.
    pub fn is_local(&self, address: Ipv4Addr) -> bool {
        self.lans.iter().any(|lan| lan.contains(address))
            || self.concentrators.iter().any(|pool| pool.address == address || pool.network.contains(address))
    }

    /// True for an address of the router on a LAN, towards subscribers or in a VPN.
    pub fn is_router(&self, address: Ipv4Addr) -> bool {
        self.lans.iter().any(|lan| lan.address == address)
            || self.concentrators.iter().any(|pool| pool.address == address)
            || self.peers.is_router(address.into())
    }

    /// Where `destination` is, as seen from inside.
    pub fn route(&self, links: &Links, destination: Ipv4Addr) -> Route {
        if self.is_router(destination) {
            return Route::To(Interface::Router);
        }
        if let Some((wan, _)) = links.open_wans().find(|(_, ipv4)| ipv4.address == destination) {
            return Route::Uplink(wan);
        }
        for (index, lan) in (0u16..).zip(&self.lans) {
            if lan.contains(destination) {
                let is_group =
                    lan.broadcast() == Some(destination) || (lan.prefix < 31 && lan.network() == destination);
                return match is_group {
                    true => Route::Nowhere(DropReason::BogonDestination, None),
                    false => Route::To(Interface::Lan(LanId(index))),
                };
            }
        }
        if let Some(subscriber) = links.subscriber_of(destination) {
            return Route::To(Interface::Subscriber(subscriber));
        }
        if self.concentrators.iter().any(|pool| pool.network.contains(destination)) {
            return Route::Nowhere(DropReason::NoRoute, Some(IcmpError::HostUnreachable));
        }
        let on_link = links.open_wans().find(|(_, ipv4)| ipv4.is_on_link(destination));
        match (on_link, self.peers.find(destination.into())) {
            (None, Some(Behind::Peer(vpn) | Behind::Default(vpn))) => return Route::To(Interface::Vpn(vpn)),
            (None, Some(Behind::Nobody)) => {
                return Route::Nowhere(DropReason::WireguardNoPeer, Some(IcmpError::HostUnreachable));
            }
            _ => {}
        }
        match on_link.or_else(|| links.open_wans().next()) {
            Some((wan, _)) => Route::To(Interface::Wan(wan)),
            None if self.has_uplink => Route::Nowhere(DropReason::WanDown, Some(IcmpError::NetUnreachable)),
            None => Route::Nowhere(DropReason::NoRoute, Some(IcmpError::NetUnreachable)),
        }
    }
}

impl Networks {
    /// By what a message of a tunnel leaves for `destination`: everything but VPNs. `None` when there is no way now.
    pub fn way_out(&self, links: &Links, destination: Ipv4Addr) -> Option<Interface> {
        match self.route(links, destination) {
            Route::To(Interface::Vpn(_)) => links.open_wans().next().map(|(wan, _)| Interface::Wan(wan)),
            Route::To(Interface::Router) | Route::Uplink(_) => None,
            Route::To(out) => Some(out),
            Route::Nowhere(DropReason::WireguardNoPeer, _) => {
                links.open_wans().next().map(|(wan, _)| Interface::Wan(wan))
            }
            Route::Nowhere(..) => None,
        }
    }
}

/// True for an address that can be no host's: of network 0, loopback, a group's, reserved, everyone's (RFC 1812 §5.3.7).
pub(crate) fn is_bogon(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0 || first == 127 || first >= 224
}
