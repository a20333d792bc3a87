//! How an IPv6 flow is told.

use core::hash::{Hash, Hasher};
use core::net::Ipv6Addr;

use crate::forward::key::{FlowKey, Realm};
use crate::forward::offload::Ends;
use crate::id::Family;

/// An IPv6 packet's key: what tells its flow and direction.
///
/// TCP, UDP, UDP-Lite, SCTP and DCCP have ports. An ICMPv6 echo request has its identifier in place of the source port and
/// its type in place of the destination port; its reply has them the other way round. Other protocols have zeros, ESP and
/// AH too (RFC 6092 REC-25).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key6 {
    source: u128,
    destination: u128,
    /// Realm (16 bits), protocol (8), source port (16), destination port (16).
    rest: u64,
}

impl Key6 {
    /// A key from its parts; the ports as they stand in the header, source first.
    #[inline(always)]
    pub fn new(realm: Realm, protocol: u8, source: Ipv6Addr, destination: Ipv6Addr, ports: u32) -> Key6 {
        let rest = u64::from(realm.number()) << 40 | u64::from(protocol) << 32 | u64::from(ports);
        Key6 { source: source.to_bits(), destination: destination.to_bits(), rest }
    }

    /// The source address.
    pub fn source(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.source)
    }

    /// The destination address.
    pub fn destination(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.destination)
    }

    /// The source port.
    pub fn source_port(self) -> u16 {
        (self.rest >> 16) as u16
    }

    /// The destination port.
    pub fn destination_port(self) -> u16 {
        self.rest as u16
    }

    /// The number of the protocol.
    pub fn protocol(self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// The key of a packet the other way, on side `realm`.
    pub fn reversed(self, realm: Realm) -> Key6 {
        let ports = (self.rest as u32).rotate_left(16);
        Key6::new(realm, self.protocol(), self.destination(), self.source(), ports)
    }
}

impl FlowKey for Key6 {
    const FAMILY: Family = Family::Ipv6;
    type Address = Ipv6Addr;
    type Translation = ();

    fn ends(self) -> Ends {
        Ends {
            source: (self.source().into(), self.source_port()),
            destination: (self.destination().into(), self.destination_port()),
        }
    }

    fn sender(self) -> Ipv6Addr {
        self.source()
    }

    fn number(self) -> u8 {
        self.protocol()
    }

    #[inline(always)]
    fn is_hairpin((): &()) -> bool {
        false
    }
}

impl Hash for Key6 {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.source);
        state.write_u128(self.destination);
        state.write_u64(self.rest);
    }
}
