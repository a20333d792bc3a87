//! What Control and the Forwarder say to each other.
//!
//! Control sends an [`Update`] when something was negotiated. The Forwarder sends a [`Punt`] for every frame that is not
//! plain traffic.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::id::{Interface, Ipv4Cidr, Ipv6Cidr, LanId, Mac, PortId, Segment, SubscriberId, VpnId, WanId};
use crate::time::Instant;

/// Whose PPPoE session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionOwner {
    /// An uplink's.
    Wan(WanId),
    /// A concentrator's subscriber's.
    Subscriber(SubscriberId),
}

/// A PPPoE session as the packet path needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The port it runs on.
    pub port: PortId,
    /// Its id, 1 to 65,535 (RFC 2516 §5.4).
    pub id: u16,
    /// Our address.
    pub local: Mac,
    /// The peer's address. Only frames that bear it and the id belong to the session.
    pub peer: Mac,
}

/// IPv4 on an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WanIpv4 {
    /// Our address on it.
    pub address: Ipv4Addr,
    /// Largest IP packet that it carries, in octets.
    pub mtu: u16,
    /// On plain Ethernet: the network there and the default router in it. A PPP session has neither.
    pub segment: Option<Ipv4Segment>,
}

/// An Ethernet segment beyond an uplink, as IPv4 sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Segment {
    /// Whose addresses are reached without a router.
    pub network: Ipv4Cidr,
    /// The default router.
    pub gateway: Ipv4Addr,
}

/// IPv6 on an uplink, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WanIpv6 {
    /// Our link-local address: the only one of its kind that is used there.
    pub link_local: Ipv6Addr,
    /// Largest IP packet that it carries, in octets.
    pub mtu: u16,
    /// Our further addresses on it: by SLAAC, DHCPv6 or configuration.
    pub addresses: Vec<Ipv6Addr>,
    /// Prefixes whose addresses are reached there without a router. Empty on a PPP session.
    pub on_link: Vec<Ipv6Cidr>,
    /// Where everything else goes.
    pub default_router: Option<NextHop>,
    /// Prefixes delegated to us over it: sources that may leave by it. What no LAN has of them is unreachable (RFC 7084
    /// WPD-5).
    pub delegated: Vec<Ipv6Cidr>,
    /// Prefixes that were delegated to us, and are not confirmed yet since the link came up: nothing leaves with them, and
    /// the flows that use them wait.
    pub awaited: Vec<Ipv6Cidr>,
}

/// The next hop of a route over an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// The other end of the PPP session.
    Peer,
    /// The router with this address on the segment.
    Router(Ipv6Addr),
}

/// IPv6 on a LAN, whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanIpv6 {
    /// The router's addresses: link-local first, then one in each prefix.
    pub addresses: Vec<Ipv6Addr>,
    /// The LAN's prefixes, deprecated ones included.
    pub prefixes: Vec<Ipv6Cidr>,
    /// Prefixes that the LAN had and that are no longer ours: whoever still uses one is told (RFC 7084 L-14).
    pub stale: Vec<Ipv6Cidr>,
}

/// IPv6 on a subscriber's session, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberIpv6 {
    /// Our link-local address.
    pub local: Ipv6Addr,
    /// The subscriber's.
    pub peer: Ipv6Addr,
    /// Largest IP packet that the session carries, in octets.
    pub mtu: u16,
    /// What was delegated to the subscriber: routed to it, and the only sources that its packets may bear.
    pub delegated: Vec<Ipv6Cidr>,
}

/// A fact that Control has negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A session exists. PPP control passes; network data does not yet.
    SessionOpened {
        /// Whose it is.
        owner: SessionOwner,
        /// How its frames are told.
        session: Session,
    },
    /// A session is gone, and with it IPv4 on it.
    SessionClosed {
        /// Whose it was.
        owner: SessionOwner,
    },
    /// An uplink has IPv4. When its address differs from the last one that it had, its epoch is bumped and all that was
    /// translated to the old address ends.
    WanIpv4Up {
        /// The uplink.
        wan: WanId,
        /// What it has.
        ipv4: WanIpv4,
    },
    /// An uplink has no IPv4 any more. Its flows stay, for the case that the same address comes back.
    WanIpv4Down {
        /// The uplink.
        wan: WanId,
    },
    /// IPCP is open on a subscriber's session.
    SubscriberIpv4Up {
        /// The subscriber's session.
        subscriber: SubscriberId,
        /// The subscriber's address: the only source that its packets may bear.
        address: Ipv4Addr,
        /// Largest IP packet that the session carries, in octets.
        mtu: u16,
    },
    /// IPCP has closed on a subscriber's session.
    SubscriberIpv4Down {
        /// The subscriber's session.
        subscriber: SubscriberId,
    },
    /// An uplink's IPv6 is this now; `None` is none. When a delegated prefix or an address is gone, the epoch of the
    /// uplink's IPv6 is bumped.
    WanIpv6 {
        /// The uplink.
        wan: WanId,
        /// All that it has.
        ipv6: Option<WanIpv6>,
    },
    /// A LAN's IPv6 is this now.
    LanIpv6 {
        /// The LAN.
        lan: LanId,
        /// All that it has.
        ipv6: LanIpv6,
    },
    /// The IPv6 of a subscriber's session is this now; `None` is none.
    SubscriberIpv6 {
        /// The subscriber's session.
        subscriber: SubscriberId,
        /// All that it has.
        ipv6: Option<SubscriberIpv6>,
    },
    /// A station has this address; packets that wait for it can go.
    NeighbourFound {
        /// Where it is.
        segment: Segment,
        /// The station's address.
        address: IpAddr,
        /// Its Ethernet address.
        mac: Mac,
    },
    /// No station answers for this address; packets that wait for it end.
    NeighbourFailed {
        /// Where it was asked for.
        segment: Segment,
        /// The address that was asked for.
        address: IpAddr,
    },
}

/// What kind of frame is handed up to Control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PuntKind {
    /// PPPoE discovery; the frame begins at its Ethernet header.
    Discovery {
        /// The port that it came by.
        port: PortId,
    },
    /// A PPP packet other than plain IP of an open network protocol; the frame begins at the PPP protocol field, padding cut.
    Ppp {
        /// Whose session it came by.
        owner: SessionOwner,
    },
    /// Session data for our address under a session that does not exist: somebody believes in it still.
    Stray {
        /// The port that it came by.
        port: PortId,
        /// Who sent it.
        peer: Mac,
        /// The session's id.
        session: u16,
    },
    /// ARP; the frame begins at its Ethernet header.
    Arp {
        /// The segment that it came by.
        segment: Segment,
    },
    /// Neighbor Discovery or Multicast Listener Discovery; the frame begins at its IPv6 header. Header, length and
    /// checksum have been checked, and for Neighbor Discovery that it has made no hop (RFC 4861 §6.1).
    Ndp {
        /// What it came in by.
        interface: Interface,
    },
    /// A DHCPv6 message, to a client on an uplink or to a server elsewhere; the frame begins at its IPv6 header. IPv6 and
    /// UDP have been checked.
    Dhcp6 {
        /// What it came in by.
        interface: Interface,
    },
    /// A message to the DHCPv4 server of a LAN or the client of an uplink; the frame begins at its Ethernet header. IPv4
    /// and UDP have been checked.
    Dhcp4 {
        /// The segment that it came by.
        segment: Segment,
    },
    /// A message of a WireGuard handshake; the frame begins at its first octet.
    WireGuard {
        /// The VPN on whose port it came.
        vpn: VpnId,
        /// Who says to have sent it.
        from: SocketAddr,
    },
    /// A packet to one of the router's own addresses that the filter lets in; the frame begins at its IP header.
    Local {
        /// What it came in by.
        interface: Interface,
    },
}

impl PuntKind {
    /// True for an IP packet, which begins at its header.
    pub fn is_packet(&self) -> bool {
        matches!(self, PuntKind::Ndp { .. } | PuntKind::Dhcp6 { .. } | PuntKind::Local { .. })
    }

    /// What it is, in a few words.
    pub fn describe(&self) -> &'static str {
        match self {
            PuntKind::Discovery { .. } => "PPPoE discovery",
            PuntKind::Ppp { .. } => "PPP of a session",
            PuntKind::Stray { .. } => "PPPoE of a session that does not exist",
            PuntKind::Arp { .. } => "ARP",
            PuntKind::Ndp { .. } => "Neighbor Discovery or MLD",
            PuntKind::Dhcp6 { .. } => "DHCPv6",
            PuntKind::Dhcp4 { .. } => "DHCPv4",
            PuntKind::WireGuard { .. } => "a WireGuard handshake",
            PuntKind::Local { .. } => "a packet to an address of its own",
        }
    }
}

/// A frame for Control.
#[derive(Debug)]
pub struct Punt {
    /// What it is, and where its bytes begin.
    pub kind: PuntKind,
    /// The frame.
    pub frame: Frame,
}

/// An address for which the Forwarder has packets and no station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolve {
    /// Where it is asked for.
    pub segment: Segment,
    /// The address.
    pub address: IpAddr,
}

/// How much a session has carried, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Usage {
    /// Packets received by it.
    pub rx_packets: u64,
    /// Octets of those packets, from the IP header on.
    pub rx_octets: u64,
    /// Packets sent by it.
    pub tx_packets: u64,
    /// Octets of those packets, from the IP header on.
    pub tx_octets: u64,
    /// When a valid frame of the session was last received: proof that the peer lives.
    pub last_received: Option<Instant>,
}

impl Usage {
    /// Adds the packets and octets of `more`.
    pub fn add(&mut self, more: &Usage) {
        self.rx_packets = self.rx_packets.wrapping_add(more.rx_packets);
        self.rx_octets = self.rx_octets.wrapping_add(more.rx_octets);
        self.tx_packets = self.tx_packets.wrapping_add(more.tx_packets);
        self.tx_octets = self.tx_octets.wrapping_add(more.tx_octets);
    }
}
