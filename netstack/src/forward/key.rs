//! How a flow is told: addresses, ports, protocol and the side that the packet came in by.

use core::hash::{Hash, Hasher};
use core::net::Ipv4Addr;

use crate::forward::flow::{Pair, Translated};
use crate::forward::offload::Ends;
use crate::id::{Family, WanId};

/// The side that a packet comes in by. Each uplink is a side of its own, for addresses outside may be the same as inside
/// (RFC 4787 REQ-7); LANs, subscribers and the router share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Realm(u16);

impl Realm {
    /// LANs, subscribers and the router itself.
    pub const INSIDE: Realm = Realm(0);

    /// Beyond an uplink.
    pub const fn outside(wan: WanId) -> Realm {
        Realm(wan.0.wrapping_add(1))
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// An IPv4 packet's key: what tells its flow and direction.
///
/// TCP and UDP have ports. An ICMP query has its identifier in place of the source port and its type in place of the
/// destination port; its answer has them the other way round. Other protocols have zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Source address, then destination address, as they stand in the header.
    pub addresses: u64,
    /// Realm (16 bits), protocol (8), source port (16), destination port (16).
    rest: u64,
}

impl Key {
    /// A key from numbers as they stand in the packet: the two addresses and the two ports, source first.
    pub fn new(realm: Realm, protocol: u8, addresses: u64, ports: u32) -> Key {
        Key { addresses, rest: u64::from(realm.0) << 40 | u64::from(protocol) << 32 | u64::from(ports) }
    }

    /// A key from its parts.
    pub fn of(realm: Realm, protocol: u8, source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Key {
        Key::new(
            realm,
            protocol,
            u64::from(source.0.to_bits()) << 32 | u64::from(destination.0.to_bits()),
            u32::from(source.1) << 16 | u32::from(destination.1),
        )
    }

    /// The source address.
    pub fn source(self) -> Ipv4Addr {
        ((self.addresses >> 32) as u32).into()
    }

    /// The destination address.
    pub fn destination(self) -> Ipv4Addr {
        (self.addresses as u32).into()
    }

    /// The source port.
    pub fn source_port(self) -> u16 {
        (self.rest >> 16) as u16
    }

    /// The destination port.
    pub fn destination_port(self) -> u16 {
        self.rest as u16
    }

    /// Both ports, the source port first, as they stand in the header.
    pub fn ports(self) -> u32 {
        self.rest as u32
    }

    /// The IP protocol number.
    pub fn protocol(self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// The key of a packet the other way, on side `realm`.
    pub fn reversed(self, realm: Realm) -> Key {
        Key::new(realm, self.protocol(), self.addresses.rotate_left(32), self.ports().rotate_left(16))
    }
}

/// What tells a flow and direction of one family.
pub(crate) trait FlowKey: Copy + Eq + Hash + core::fmt::Debug {
    /// The family.
    const FAMILY: Family;
    /// An address of the family.
    type Address: Copy + Eq + Hash + core::fmt::Debug;
    /// What a flow of the family keeps of its translation.
    type Translation: Clone + core::fmt::Debug;

    /// Source and destination, each with its port.
    fn ends(self) -> Ends;

    /// The source address.
    fn sender(self) -> Self::Address;

    /// The IP protocol number.
    fn number(self) -> u8;

    /// True for a flow between two inside hosts by way of an uplink's address: the epochs of its ends do not tell whether
    /// it is current.
    fn is_hairpin(translation: &Self::Translation) -> bool;
}

impl FlowKey for Key {
    const FAMILY: Family = Family::Ipv4;
    type Address = Ipv4Addr;
    type Translation = Translated;

    fn ends(self) -> Ends {
        Ends {
            source: (self.source().into(), self.source_port()),
            destination: (self.destination().into(), self.destination_port()),
        }
    }

    fn sender(self) -> Ipv4Addr {
        self.source()
    }

    fn number(self) -> u8 {
        self.protocol()
    }

    #[inline(always)]
    fn is_hairpin(translation: &Translated) -> bool {
        matches!(translation.mappings, Pair(Some(_), Some(_)))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(self.addresses) << 64 | u128::from(self.rest));
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{}:{} > {}:{} protocol {} realm {}",
            self.source(),
            self.source_port(),
            self.destination(),
            self.destination_port(),
            self.protocol(),
            (self.rest >> 40) as u16
        )
    }
}
