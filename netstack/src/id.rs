//! Names of things by number: each is an index into the list of the same name in [`crate::settings::Settings`].

use core::fmt;

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

/// What a routed packet comes in by or goes out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Interface {
    /// A LAN.
    Lan(LanId),
    /// An uplink.
    Wan(WanId),
    /// A subscriber's session at a concentrator.
    Subscriber(SubscriberId),
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
            Interface::Router => Zone::Router,
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
