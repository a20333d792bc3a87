//! DHCPv6 (RFC 8415): how a router gets a prefix from its ISP, and tells its own hosts what they need.
//!
//! How it works: `message`, `option`, `domain` and `duid` take messages apart and put them together. [`client`] asks on an
//! uplink, `retransmit` says when to ask again, `reconfigure` knows a server that wakes the client up. `exchange` is what
//! every server does alike with what a client sends; [`server`] serves a LAN's hosts, [`delegate`] gives prefixes to the
//! subscribers of a concentrator.
//!
//! The machines take and give whole IPv6 packets, from the IPv6 header on.

pub mod client;
pub mod delegate;
pub(crate) mod domain;
pub mod duid;
mod exchange;
mod information;
pub mod message;
pub mod option;
mod reconfigure;
mod retransmit;
pub mod server;
#[cfg(test)]
mod tests;

pub use duid::Duid;
pub use information::Information;

/// UDP port of clients (RFC 8415 §7.2).
pub const CLIENT_PORT: u16 = 546;
/// UDP port of servers.
pub const SERVER_PORT: u16 = 547;

/// Hop limit of our packets, which never leave the link.
const HOP_LIMIT: u8 = 64;
