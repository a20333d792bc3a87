//! Which addresses are behind the peers of VPNs, by the configuration alone: the routes to them, and what is the router's own
//! there. Which peer it is, the tunnel itself says.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::id::{Interface, IpCidr, Ipv4Cidr, Ipv6Cidr, VpnId};
use crate::settings::{Settings, Vpn};

/// The networks of every VPN. They are asked when a flow begins, not for each packet.
#[derive(Debug, Clone)]
pub(crate) struct PeerNetworks {
    own: Vec<Own>,
    /// What is behind a peer, the longest prefix first.
    routes: Vec<(IpCidr, VpnId)>,
}

/// The router's address in a VPN, and the network there.
#[derive(Debug, Clone, Copy)]
struct Own {
    ipv4: Option<Ipv4Cidr>,
    ipv6: Option<Ipv6Cidr>,
    /// The peers know the router's address alone.
    masquerades: bool,
}

/// How an address is reached by a VPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// A peer, by a route of its own.
    Peer(VpnId),
    /// A peer that everything goes to which has no other way.
    Default(VpnId),
    /// The VPN's network, but no peer.
    Nobody,
}

impl PeerNetworks {
    /// Those of `settings`.
    pub fn new(settings: &Settings) -> PeerNetworks {
        let own = |vpn: &Vpn| Own { ipv4: vpn.ipv4, ipv6: vpn.ipv6, masquerades: vpn.masquerade };
        let own = settings.vpns.iter().map(own).collect();
        let vpns = (0u16..).map(VpnId).zip(&settings.vpns);
        let mut routes: Vec<(IpCidr, VpnId)> = vpns
            .flat_map(|(id, vpn)| {
                vpn.peers.iter().flat_map(|peer| &peer.allowed_ips).map(move |net| (*net, id))
            })
            .collect();
        routes.sort_by_key(|(network, _)| core::cmp::Reverse(network.prefix()));
        PeerNetworks { own, routes }
    }

    /// How `address` is reached by a VPN, if it is.
    pub fn find(&self, address: IpAddr) -> Option<Behind> {
        let route = self.routes.iter().find(|(network, _)| network.contains(address));
        let own = || (0u16..).map(VpnId).zip(&self.own).find(|(_, own)| own.contains(address));
        match route {
            Some(&(network, vpn)) if network.prefix() > 0 => Some(Behind::Peer(vpn)),
            // Whoever is the way to everywhere is the way to the VPN's own network, too.
            _ => match own() {
                Some((vpn, _)) if self.has_default(vpn, address) => Some(Behind::Peer(vpn)),
                Some(_) => Some(Behind::Nobody),
                None => route.map(|&(_, vpn)| Behind::Default(vpn)),
            },
        }
    }

    /// True when a peer of this VPN's is the way to everywhere, for the family of `address`.
    fn has_default(&self, vpn: VpnId, address: IpAddr) -> bool {
        self.routes
            .iter()
            .any(|&(network, by)| network.prefix() == 0 && by == vpn && network.contains(address))
    }

    /// True for an address that is reached by this VPN.
    pub fn is_behind(&self, vpn: VpnId, address: IpAddr) -> bool {
        matches!(self.find(address), Some(Behind::Peer(by) | Behind::Default(by)) if by == vpn)
    }

    /// True for an address of a VPN's: such come from nowhere else.
    pub fn holds(&self, address: IpAddr) -> bool {
        matches!(self.find(address), Some(Behind::Peer(_) | Behind::Nobody))
    }

    /// True for an address of the router.
    pub fn is_router(&self, address: IpAddr) -> bool {
        self.own.iter().any(|own| match address {
            IpAddr::V4(address) => own.ipv4.is_some_and(|own| own.address == address),
            IpAddr::V6(address) => own.ipv6.is_some_and(|own| own.address == address),
        })
    }

    /// The address that packets to a VPN's peers bear, whoever has sent them. `None` when they keep their own.
    pub fn masquerade(&self, vpn: VpnId) -> Option<Ipv4Addr> {
        self.own.get(vpn.index()).filter(|own| own.masquerades)?.ipv4.map(|own| own.address)
    }

    /// True for an interface from which nothing begins: those there know the router, and nobody behind it.
    pub fn is_outside(&self, interface: Interface) -> bool {
        matches!(interface, Interface::Vpn(vpn) if self.masquerade(vpn).is_some())
    }

    /// True when the peers of a VPN know no IPv6 address here but the router's. IPv6 is not translated.
    pub fn knows_one_ipv6(&self, vpn: VpnId) -> bool {
        self.masquerade(vpn).is_some()
            && self.own.get(vpn.index()).and_then(|own| own.ipv6).is_none_or(|own| own.prefix == 128)
    }

    /// The router's IPv4 address in a VPN.
    pub fn ipv4(&self, vpn: VpnId) -> Option<Ipv4Addr> {
        self.own.get(vpn.index())?.ipv4.map(|own| own.address)
    }

    /// The router's IPv6 address in a VPN.
    pub fn ipv6(&self, vpn: VpnId) -> Option<Ipv6Addr> {
        self.own.get(vpn.index())?.ipv6.map(|own| own.address)
    }
}

impl Own {
    fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4.is_some_and(|own| own.contains(address)),
            IpAddr::V6(address) => self.ipv6.is_some_and(|own| own.contains(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn v4(address: [u8; 4], prefix: u8) -> IpCidr {
        IpCidr::V4(Ipv4Cidr { address: address.into(), prefix })
    }

    fn networks(routes: Vec<(IpCidr, VpnId)>) -> PeerNetworks {
        let own = |third| Own {
            ipv4: Some(Ipv4Cidr { address: [10, 77, third, 1].into(), prefix: 24 }),
            ipv6: None,
            masquerades: false,
        };
        PeerNetworks { own: vec![own(0), own(1)], routes }
    }

    #[test]
    fn the_way_to_everywhere_is_the_way_to_the_vpns_own_network_too() {
        let exit = networks(vec![(v4([192, 168, 9, 0], 24), VpnId(1)), (v4([0, 0, 0, 0], 0), VpnId(0))]);
        let find = |address: [u8; 4]| exit.find(IpAddr::from(address));
        assert_eq!(find([10, 77, 0, 2]), Some(Behind::Peer(VpnId(0))));
        assert_eq!(find([10, 77, 1, 2]), Some(Behind::Nobody), "another VPN's network");
        assert_eq!(find([192, 168, 9, 2]), Some(Behind::Peer(VpnId(1))));
        assert_eq!(find([198, 51, 100, 2]), Some(Behind::Default(VpnId(0))));
        assert_eq!(exit.find(Ipv6Addr::LOCALHOST.into()), None);
        assert_eq!(networks(Vec::new()).find([10, 77, 0, 2].into()), Some(Behind::Nobody));
    }
}
