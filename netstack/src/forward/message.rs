//! What Control and the Forwarder say to each other.
//!
//! Control sends an [`Update`] when something was negotiated. The Forwarder sends a [`Punt`] for every frame that is not
//! plain traffic.

use core::net::Ipv4Addr;

use crate::frame::Frame;
use crate::id::{Interface, LanId, Mac, PortId, SubscriberId, WanId};
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

/// A fact that Control has negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// IPCP is open on an uplink. When `address` differs from the uplink's last one, its epoch is bumped and all that
    /// was translated to the old address ends.
    WanIpv4Up {
        /// The uplink.
        wan: WanId,
        /// Our address on it, from IPCP.
        address: Ipv4Addr,
        /// Largest IP packet that the session carries, in octets.
        mtu: u16,
    },
    /// IPCP has closed on an uplink. Its flows stay, for the case that the same address comes back.
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
    /// A station on a LAN has this address; packets that wait for it can go.
    NeighbourFound {
        /// The LAN.
        lan: LanId,
        /// The station's IPv4 address.
        address: Ipv4Addr,
        /// Its Ethernet address.
        mac: Mac,
    },
    /// No station on the LAN answers for this address; packets that wait for it end.
    NeighbourFailed {
        /// The LAN.
        lan: LanId,
        /// The address that was asked for.
        address: Ipv4Addr,
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
    /// A PPP packet other than plain IPv4 of an open session; the frame begins at the PPP protocol field, padding cut.
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
        /// The LAN that it came by.
        lan: LanId,
    },
    /// A message to the DHCPv4 server; the frame begins at its Ethernet header. IPv4 and UDP have been checked.
    Dhcp {
        /// The LAN that it came by.
        lan: LanId,
    },
    /// A packet to one of the router's own addresses that the filter lets in; the frame begins at its IPv4 header.
    Local {
        /// What it came in by.
        interface: Interface,
    },
}

/// A frame for Control.
#[derive(Debug)]
pub struct Punt {
    /// What it is, and where its bytes begin.
    pub kind: PuntKind,
    /// The frame.
    pub frame: Frame,
}

/// An address on a LAN for which the Forwarder has packets and no station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolve {
    /// The LAN.
    pub lan: LanId,
    /// The address.
    pub address: Ipv4Addr,
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
