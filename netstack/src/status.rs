//! What `genkan status` shows: a snapshot of the gateway, in the words a user knows.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::dns;
use crate::forward::Usage;
use crate::id::{Ipv4Cidr, Ipv6Cidr, Mac};
use crate::ledger::Ledger;

/// A snapshot of the whole gateway.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The router's own name.
    pub hostname: String,
    /// Uplinks, in the configuration's order.
    pub wans: Vec<WanStatus>,
    /// LANs, in the configuration's order.
    pub lans: Vec<LanStatus>,
    /// Concentrators, in the configuration's order.
    pub concentrators: Vec<ConcentratorStatus>,
    /// Translation.
    pub nat: NatStatus,
    /// The DNS forwarder.
    pub dns: dns::Counters,
    /// Every frame's fate.
    pub frames: Ledger,
    /// Frames that wait at this moment: fragments, and packets for a neighbour that is being asked for.
    pub frames_held: usize,
}

/// An uplink.
#[derive(Debug, Clone, Serialize)]
pub struct WanStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The port that it dials on.
    pub port: String,
    /// True when IPv4 traffic passes.
    pub up: bool,
    /// What it is doing, in a word: `idle`, `discovering`, `establishing`, `authenticating`, `configuring`, `up`,
    /// `waiting`.
    pub state: &'static str,
    /// Seconds since it entered that state.
    pub since_s: u64,
    /// Seconds until it dials again, while it waits.
    pub retry_in_s: Option<u64>,
    /// Why the last attempt or session ended.
    pub last_failure: Option<String>,
    /// The concentrator's name.
    pub ac_name: Option<String>,
    /// The PPPoE session's id.
    pub session_id: Option<u16>,
    /// The concentrator's Ethernet address.
    pub peer_mac: Option<Mac>,
    /// Our address.
    pub address: Option<Ipv4Addr>,
    /// The peer's address.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers that the ISP told us.
    pub dns: Vec<Ipv4Addr>,
    /// Largest IP packet, in octets.
    pub mtu: Option<u16>,
    /// What limits the MTU.
    pub mtu_limit: Option<String>,
    /// How often the address has changed since the start.
    pub epoch: u32,
    /// What the session has carried.
    pub usage: Usage,
}

/// A LAN.
#[derive(Debug, Clone, Serialize)]
pub struct LanStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Names of its ports.
    pub ports: Vec<String>,
    /// The router's address and the network.
    pub address: Ipv4Cidr,
    /// DHCPv4 leases.
    pub leases: Vec<LeaseStatus>,
}

/// A DHCPv4 lease.
#[derive(Debug, Clone, Serialize)]
pub struct LeaseStatus {
    /// The leased address.
    pub address: Ipv4Addr,
    /// Who holds it.
    pub mac: Mac,
    /// The name it gave.
    pub hostname: Option<String>,
    /// Seconds until it expires.
    pub expires_in_s: u64,
    /// It comes from the configuration.
    pub fixed: bool,
}

/// A concentrator.
#[derive(Debug, Clone, Serialize)]
pub struct ConcentratorStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The port on which it serves.
    pub port: String,
    /// Its sessions.
    pub sessions: Vec<SubscriberStatus>,
}

/// A concentrator's session.
#[derive(Debug, Clone, Serialize)]
pub struct SubscriberStatus {
    /// The subscriber's name, once it has authenticated.
    pub user: Option<String>,
    /// The PPPoE session's id.
    pub session_id: u16,
    /// The subscriber's Ethernet address.
    pub mac: Mac,
    /// The subscriber's address, once IPCP is open.
    pub address: Option<Ipv4Addr>,
    /// The subscriber's link-local address, once IPV6CP is open.
    pub link_local: Option<Ipv6Addr>,
    /// The prefixes delegated to the subscriber.
    pub prefixes: Vec<Ipv6Cidr>,
    /// What the session has carried.
    pub usage: Usage,
}

/// Translation.
#[derive(Debug, Clone, Serialize)]
pub struct NatStatus {
    /// Flows in the table, translated or not.
    pub flows: usize,
    /// External ports in use.
    pub mappings: usize,
}
