//! Where an address is: ours, on a LAN, a subscriber's, or beyond an uplink.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::forward::icmp::IcmpError;
use crate::forward::link::Links;
use crate::id::{Interface, Ipv4Cidr, LanId, PortId, WanId};
use crate::ledger::DropReason;
use crate::settings::Settings;

/// The networks of the configuration.
#[derive(Debug)]
pub(crate) struct Networks {
    lans: Vec<Ipv4Cidr>,
    concentrators: Vec<Pool>,
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

    /// True for an address that belongs to a LAN, to a concentrator's subscribers, or to the router on their side.
    pub fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.lans.iter().any(|lan| lan.contains(address))
            || self.concentrators.iter().any(|pool| pool.address == address || pool.network.contains(address))
    }

    /// True for an address of the router on a LAN or towards subscribers.
    pub fn is_router(&self, address: Ipv4Addr) -> bool {
        self.lans.iter().any(|lan| lan.address == address)
            || self.concentrators.iter().any(|pool| pool.address == address)
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
        match on_link.or_else(|| links.open_wans().next()) {
            Some((wan, _)) => Route::To(Interface::Wan(wan)),
            None if self.has_uplink => Route::Nowhere(DropReason::WanDown, Some(IcmpError::NetUnreachable)),
            None => Route::Nowhere(DropReason::NoRoute, Some(IcmpError::NetUnreachable)),
        }
    }
}

/// True for an address that can be no host's: of network 0, loopback, a group's, reserved, everyone's (RFC 1812 §5.3.7).
pub(crate) fn is_bogon(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0 || first == 127 || first >= 224
}
