//! What the Forwarder and the kernel half say to each other.
//!
//! The kernel half carries a direction of a flow once the short way (`super::hit`) has: then every question about it has
//! been answered, and [`Offload::Flow`] is the answers. A driver that has a kernel half takes [`Offload`]s out after each
//! call, in order, and acts on them before the next frame; one without never switches them on.
//!
//! The kernel half decides nothing. It carries what it was told while that holds (the interfaces have not been invalidated,
//! the station is where it was), and hands everything else to the Forwarder, which does the same to it, slower. What it has
//! carried comes back as [`Carried`], so that flows, sessions and stations in use do not age.

use core::net::IpAddr;

use crate::forward::message::Session;
use crate::id::{Family, Interface, LanId, Mac, PortId, Segment};
use crate::time::{Duration, Instant};

/// How long a driver may take to say what the kernel half has carried: a flow that is handed over lives that much longer.
pub const SWEEP: Duration = Duration::from_secs(2);

/// A flow. The number is used again after [`Offload::FlowEnded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowHandle {
    /// Which table it is in.
    pub family: Family,
    /// Its number there.
    pub id: u32,
}

/// Source and destination of a packet with their ports. Of an ICMP echo request the source port is the identifier and the
/// destination port the type, of its reply the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Source address and port.
    pub source: (IpAddr, u16),
    /// Destination address and port.
    pub destination: (IpAddr, u16),
}

impl Ends {
    /// Those of a packet the other way.
    pub fn reversed(self) -> Ends {
        Ends { source: self.destination, destination: self.source }
    }
}

/// Where the packets of a direction leave, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// By the PPPoE session of the interface.
    Session,
    /// As an Ethernet frame.
    Station {
        /// Of this address on the interface's segment.
        address: IpAddr,
        /// The station that has it.
        station: Mac,
        /// The router's own address there.
        own: Mac,
    },
}

/// A direction of a flow, with all that is needed to carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffloadedFlow {
    /// The flow.
    pub flow: FlowHandle,
    /// True for the direction of the packet that made the flow.
    pub original: bool,
    /// TCP, UDP, ICMP or ICMPv6, by number.
    pub protocol: u8,
    /// What its packets come in by.
    pub ingress: Interface,
    /// The port that they come by. On any other one they are not the kernel half's: a station has moved.
    pub ingress_port: PortId,
    /// How they come in.
    pub before: Ends,
    /// How they leave; of an IPv6 flow the same.
    pub after: Ends,
    /// Change of the checksum's sum by the change of addresses, as a number (RFC 1624).
    pub address_delta: u16,
    /// Change of the checksum's sum by the change of ports or identifier, as a number.
    pub port_delta: u16,
    /// What they leave by.
    pub egress: Interface,
    /// The port that they leave by.
    pub egress_port: PortId,
    /// To whom.
    pub next_hop: NextHop,
    /// Largest IP packet that leaves there, in octets. A larger one is not the kernel half's.
    pub mtu: u16,
}

/// What the Forwarder tells the kernel half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offload {
    /// PPPoE frames with this id between these stations are of this interface.
    SessionOpened {
        /// The interface.
        interface: Interface,
        /// The session.
        session: Session,
    },
    /// The interface has no session any more.
    SessionClosed {
        /// The interface.
        interface: Interface,
    },
    /// What was handed over of flows of this family from or to this interface holds no longer. The flows may come again.
    Invalidated {
        /// The interface.
        interface: Interface,
        /// The family.
        family: Family,
    },
    /// Another station has the address now; `None`: it is not known who does, or behind which port the station is.
    StationChanged {
        /// Where.
        segment: Segment,
        /// The address.
        address: IpAddr,
        /// The station.
        station: Option<Mac>,
    },
    /// A station of a LAN is behind another port now.
    StationMoved {
        /// The LAN.
        lan: LanId,
        /// The station.
        station: Mac,
        /// The port.
        port: PortId,
    },
    /// Carry this. It replaces what was handed over of the same direction of the same flow.
    Flow(OffloadedFlow),
    /// Carry neither direction of this flow any more.
    FlowEnded(FlowHandle),
}

/// What the kernel half has carried of a direction of a flow since it was last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// The flow.
    pub flow: FlowHandle,
    /// True for the direction of the packet that made the flow.
    pub original: bool,
    /// The port that its packets came by.
    pub ingress_port: PortId,
    /// Number of packets.
    pub packets: u32,
    /// When the last one came, to a second or so.
    pub last: Instant,
}
