//! Names of things by number: each is an index into the list of the same name in [`crate::settings::Settings`].

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl $name {
            /// The index it stands for.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A port: where frames come from and go to.
    PortId(u16)
);
id!(
    /// A LAN: one or more bridged ports and the router's address on them.
    LanId(u16)
);
id!(
    /// An uplink.
    WanId(u16)
);
id!(
    /// A session of a concentrator: unique among all concentrators of the gateway while it lasts.
    SubscriberId(u32)
);
id!(
    /// A VPN: a WireGuard interface with its peers.
    VpnId(u16)
);

/// A peer of a VPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId {
    /// The VPN.
    pub vpn: VpnId,
    /// Index into its peers.
    pub peer: u16,
}

/// What a routed packet comes in by or goes out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Interface {
    /// A LAN.
    Lan(LanId),
    /// An uplink.
    Wan(WanId),
    /// A subscriber's session at a concentrator.
    Subscriber(SubscriberId),
    /// A VPN: some peer of it.
    Vpn(VpnId),
    /// The router itself.
    Router,
}

impl Interface {
    /// The zone that filter rules know it by.
    pub const fn zone(self) -> Zone {
        match self {
            Interface::Lan(_) => Zone::Lan,
            Interface::Wan(_) => Zone::Wan,
            Interface::Subscriber(_) => Zone::Concentrator,
            Interface::Vpn(_) => Zone::Vpn,
            Interface::Router => Zone::Router,
        }
    }
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

/// An Ethernet segment on which the router has neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A LAN.
    Lan(LanId),
    /// The network beyond an uplink without PPPoE.
    Wan(WanId),
}

impl From<Segment> for Interface {
    fn from(segment: Segment) -> Interface {
        match segment {
            Segment::Lan(lan) => Interface::Lan(lan),
            Segment::Wan(wan) => Interface::Wan(wan),
        }
    }
}

/// A filter zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// Every LAN.
    Lan,
    /// Every uplink.
    Wan,
    /// The subscribers of every concentrator.
    Concentrator,
    /// The peers of every VPN.
    Vpn,
    /// The router's own addresses.
    Router,
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// True for broadcast and multicast addresses.
    pub const fn is_group(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 1
    }

    /// True for an address that can be a station's: neither a group's nor all zeros.
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }

    /// The address in the first six octets of `bytes`.
    pub fn read(bytes: &[u8]) -> Option<Mac> {
        bytes.first_chunk::<6>().copied().map(Mac)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(MacError)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Mac(octets)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not an Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacError;

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an Ethernet address like 02:00:00:00:00:01")
    }
}

impl core::error::Error for MacError {}

/// An IPv4 address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ipv4Cidr {
    /// The address.
    pub address: core::net::Ipv4Addr,
    /// Length of the network's prefix in bits, 0 to 32.
    pub prefix: u8,
}

impl Ipv4Cidr {
    /// The netmask as a number.
    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32u32.saturating_sub(u32::from(self.prefix))).unwrap_or(0)
    }

    /// True when `address` lies in the network.
    pub fn contains(self, address: core::net::Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// The network's directed broadcast address; `None` in networks of one or two addresses (RFC 3021).
    pub fn broadcast(self) -> Option<core::net::Ipv4Addr> {
        (self.prefix < 31).then(|| (self.address.to_bits() | !self.mask()).into())
    }

    /// The network's first address.
    pub fn network(self) -> core::net::Ipv4Addr {
        (self.address.to_bits() & self.mask()).into()
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An IPv6 address with the length of its network's prefix. Written `2001:db8::/56`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Cidr {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of the network's prefix in bits, 0 to 128.
    pub prefix: u8,
}

impl Ipv6Cidr {
    /// The netmask as a number.
    pub fn mask(self) -> u128 {
        u128::MAX.checked_shl(128u32.saturating_sub(u32::from(self.prefix))).unwrap_or(0)
    }

    /// True when `address` lies in the network.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// True when all of `other` lies in the network.
    pub fn covers(self, other: Ipv6Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// The network alone: the bits after the prefix are zero.
    pub fn network(self) -> Ipv6Cidr {
        Ipv6Cidr { address: Ipv6Addr::from_bits(self.address.to_bits() & self.mask()), prefix: self.prefix }
    }

    /// The address in this network that ends like `suffix`.
    pub fn with_suffix(self, suffix: Ipv6Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.address.to_bits() & self.mask() | suffix.to_bits() & !self.mask())
    }

    /// The part with number `number` of the parts of length `prefix` that the network divides into, the first being 0.
    /// `None` when there are not so many.
    pub fn subnet(self, prefix: u8, number: u64) -> Option<Ipv6Cidr> {
        let bits = u32::from(prefix.checked_sub(self.prefix)?);
        if prefix > 128 || (bits < 64 && number >> bits != 0) {
            return None;
        }
        let place = 128u32.saturating_sub(u32::from(prefix));
        let address = self.network().address.to_bits() | u128::from(number).checked_shl(place).unwrap_or(0);
        Some(Ipv6Cidr { address: Ipv6Addr::from_bits(address), prefix })
    }
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Ipv6Cidr {
    type Err = Ipv6CidrError;

    fn from_str(text: &str) -> Result<Self, Ipv6CidrError> {
        let (address, prefix) = text.split_once('/').ok_or(Ipv6CidrError)?;
        let address = address.parse().map_err(|_| Ipv6CidrError)?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 128).ok_or(Ipv6CidrError)?;
        Ok(Ipv6Cidr { address, prefix })
    }
}

impl Serialize for Ipv6Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ipv6Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An address of either family with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpCidr {
    /// IPv4.
    V4(Ipv4Cidr),
    /// IPv6.
    V6(Ipv6Cidr),
}

impl IpCidr {
    /// True when `address` lies in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (IpCidr::V4(network), IpAddr::V4(address)) => network.contains(address),
            (IpCidr::V6(network), IpAddr::V6(address)) => network.contains(address),
            _ => false,
        }
    }

    /// Length of the network's prefix in bits.
    pub const fn prefix(self) -> u8 {
        match self {
            IpCidr::V4(network) => network.prefix,
            IpCidr::V6(network) => network.prefix,
        }
    }

    /// The one address that it holds: of a /32 or /128.
    pub fn host(self) -> Option<IpAddr> {
        match self {
            IpCidr::V4(network) => (network.prefix == 32).then_some(network.address.into()),
            IpCidr::V6(network) => (network.prefix == 128).then_some(network.address.into()),
        }
    }
}

impl fmt::Display for IpCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpCidr::V4(network) => network.fmt(f),
            IpCidr::V6(network) => network.fmt(f),
        }
    }
}

/// The text is not an IPv6 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6CidrError;

impl fmt::Display for Ipv6CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an IPv6 network like 2001:db8::/56")
    }
}

impl core::error::Error for Ipv6CidrError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn cidr(text: &str) -> Ipv6Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn rfc7084_wpd_2_a_prefix_divides_into_numbered_subnets() {
        let delegated = cidr("2001:db8:0:ff00::/56");
        assert_eq!(delegated.subnet(64, 0), Some(cidr("2001:db8:0:ff00::/64")));
        assert_eq!(delegated.subnet(64, 255), Some(cidr("2001:db8:0:ffff::/64")));
        assert_eq!(delegated.subnet(64, 256), None);
        assert_eq!(cidr("2001:db8::/64").subnet(64, 0), Some(cidr("2001:db8::/64")));
        assert_eq!(cidr("2001:db8::/64").subnet(64, 1), None);
        assert_eq!(cidr("2001:db8::/65").subnet(64, 0), None);
        assert_eq!(cidr("::/0").subnet(64, u64::MAX), Some(cidr("ffff:ffff:ffff:ffff::/64")));
    }

    #[test]
    fn a_network_contains_what_begins_like_it() {
        let network = cidr("2001:db8:1::5/48");
        assert!(network.contains("2001:db8:1:ffff::1".parse().unwrap()));
        assert!(!network.contains("2001:db8:2::1".parse().unwrap()));
        assert!(cidr("::/0").contains("ff02::1".parse().unwrap()));
        assert!(!cidr("::1/128").contains(Ipv6Addr::UNSPECIFIED));
        assert_eq!(network.network(), cidr("2001:db8:1::/48"));
        assert!(network.covers(cidr("2001:db8:1:2::/64")) && !network.covers(cidr("2001:db8::/32")));
        let suffix = "ffff::10".parse().unwrap();
        assert_eq!(cidr("2001:db8:1:2::/64").with_suffix(suffix).to_string(), "2001:db8:1:2::10");
    }
}
