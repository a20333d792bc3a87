//! Neighbor Discovery (RFC 4861, 4862) and Multicast Listener Discovery (RFC 3810).
//!
//! [`message`] reads and writes the packets; every machine here takes and gives whole IPv6 packets. Whoever hands a
//! packet in has checked its headers and its checksum.
//!
//! - [`Neighbours`] is the router as a station of every Ethernet segment: it answers for the router's addresses, sees to it
//!   that nobody else has them, finds neighbours for the Forwarder, and reports the groups that the router listens to.
//! - [`Advertiser`] is the router of one link: it tells the hosts of a LAN, or one subscriber, what they need to know.
//! - [`RouterDiscovery`] is the router as a host of its uplink: it learns routers, prefixes and DNS servers there.

pub mod advertise;
pub mod discover;
pub mod message;
pub mod mld;
pub mod neighbour;

pub use advertise::{AdvertisedPrefix, AdvertisedRoute, Advertisement, Advertiser};
pub use discover::RouterDiscovery;
pub use neighbour::{Neighbours, OwnAddress};
