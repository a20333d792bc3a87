//! What `genkan status` shows: a snapshot of the gateway, in the words a user knows.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use data_encoding::BASE64;
use serde::{Serialize, Serializer};

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
    /// VPNs, in the configuration's order.
    pub vpns: Vec<VpnStatus>,
    /// Concentrators, in the configuration's order.
    pub concentrators: Vec<ConcentratorStatus>,
    /// Translation.
    pub nat: NatStatus,
    /// The DNS forwarder.
    pub dns: dns::Counters,
    /// What the kernel half has carried, by all interfaces.
    pub kernel: Usage,
    /// Every frame's fate, but of those that the kernel half has carried.
    pub frames: Ledger,
    /// Frames that wait at this moment: fragments, and packets for a neighbour that is being asked for.
    pub frames_held: usize,
}

/// An uplink.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WanStatus {
    /// Its name in the configuration.
    pub name: String,
    /// How it gets its addresses: `pppoe`, `dhcp` or `static`.
    pub kind: &'static str,
    /// The port that it runs on.
    pub port: String,
    /// True when traffic of any family passes.
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
    /// What is wrong with it, in one sentence, while it is down.
    pub problem: Option<String>,
    /// The concentrator's name.
    pub ac_name: Option<String>,
    /// The PPPoE session's id.
    pub session_id: Option<u16>,
    /// The concentrator's Ethernet address.
    pub peer_mac: Option<Mac>,
    /// Our address.
    pub address: Option<Ipv4Addr>,
    /// The network beyond it, with our address there. A PPPoE session has none.
    pub network: Option<Ipv4Cidr>,
    /// The default router's address; of a PPPoE session, the peer's.
    pub gateway: Option<Ipv4Addr>,
    /// The DHCP lease of the address, while there is one.
    pub lease: Option<WanLeaseStatus>,
    /// DNS servers that the ISP told us.
    pub dns: Vec<Ipv4Addr>,
    /// Largest IP packet, in octets.
    pub mtu: Option<u16>,
    /// What limits the MTU.
    pub mtu_limit: Option<String>,
    /// How often the address has changed since the start.
    pub epoch: u32,
    /// IPv6, when the uplink is to carry it.
    pub ipv6: Option<WanIpv6Status>,
    /// What it has carried.
    pub usage: Usage,
    /// What of that the kernel half has.
    pub kernel: Usage,
}

/// The DHCP lease of an uplink's address.
#[derive(Debug, Clone, Serialize)]
pub struct WanLeaseStatus {
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Seconds until an extension is asked for; `null` is never.
    pub renews_in_s: Option<u64>,
    /// Seconds until it ends; `null` is never.
    pub expires_in_s: Option<u64>,
}

/// IPv6 on an uplink.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WanIpv6Status {
    /// True when IPv6 traffic passes.
    pub up: bool,
    /// Our link-local address, while the link is up.
    pub link_local: Option<Ipv6Addr>,
    /// Our further addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// Where everything goes that is not on the link (RFC 7084 W-3).
    pub default_router: Option<Ipv6Addr>,
    /// Prefixes delegated to us (RFC 7084 WPD-1).
    pub prefixes: Vec<PrefixStatus>,
    /// DNS servers that advertisements and DHCPv6 told us.
    pub dns: Vec<Ipv6Addr>,
    /// The DHCPv6 client.
    pub dhcp: Option<Dhcp6Status>,
    /// How often prefixes or addresses have changed since the start.
    pub epoch: u32,
}

/// A delegated prefix.
#[derive(Debug, Clone, Serialize)]
pub struct PrefixStatus {
    /// The prefix.
    pub prefix: Ipv6Cidr,
    /// Seconds for which new connections may use it; `None` for ever.
    pub preferred_s: Option<u32>,
    /// Seconds for which it is ours; `None` for ever.
    pub valid_s: Option<u32>,
}

/// A DHCPv6 client.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Dhcp6Status {
    /// What it is doing, in a word: `idle`, `soliciting`, `requesting`, `bound`, `renewing`, `rebinding` …
    pub state: &'static str,
    /// The server that it has its lease from, by its DUID in hex.
    pub server: Option<String>,
    /// Seconds until it renews.
    pub renew_in_s: Option<u64>,
    /// Seconds until it asks any server (RFC 8415 §18.2.5).
    pub rebind_in_s: Option<u64>,
    /// Why the last exchange came to nothing.
    pub last_failure: Option<String>,
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
    /// IPv6, when the LAN has any.
    pub ipv6: Option<LanIpv6Status>,
    /// Its ports and peers that something is wrong with.
    pub troubles: Vec<BridgeTrouble>,
}

/// What is wrong with a port or peer of a LAN at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BridgeTrouble {
    /// Which: "port lan0", "peer anna".
    pub at: String,
    /// Seconds for which nothing passes by it yet, because of a loop.
    pub blocked_for_s: Option<u64>,
    /// It has brought more frames for everyone than may pass, within the last minute.
    pub storm: bool,
}

/// IPv6 on a LAN.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LanIpv6Status {
    /// The router's addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// The prefixes that are announced, old ones included.
    pub prefixes: Vec<LanPrefixStatus>,
    /// DHCPv6 leases.
    pub leases: Vec<Lease6Status>,
    /// Why a prefix that the configuration asks for is not there, as a sentence (RFC 7084 WPD-3).
    pub problem: Option<String>,
}

/// A prefix that a LAN's hosts hear of.
#[derive(Debug, Clone, Serialize)]
pub struct LanPrefixStatus {
    /// The prefix.
    pub prefix: Ipv6Cidr,
    /// Name of the uplink that it comes from, or `ula` for the site's own (RFC 7084 ULA-1).
    pub origin: String,
    /// How it stands.
    pub state: PrefixState,
    /// Seconds for which new connections may use it; `None` for ever.
    pub preferred_s: Option<u32>,
    /// Seconds for which addresses in it work; `None` for ever.
    pub valid_s: Option<u32>,
    /// Seconds for which it is still announced as old (RFC 9096 L-13); `None` for one that is current.
    pub announced_for_s: Option<u64>,
}

/// How a LAN's prefix stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PrefixState {
    /// New connections use it.
    Preferred,
    /// It is ours, but on its way out: only connections that are there use it (RFC 4862 §5.5.4).
    Deprecated,
    /// It is no longer ours: hosts are told to give it up (RFC 9096 L-13).
    Stale,
}

/// A DHCPv6 lease.
#[derive(Debug, Clone, Serialize)]
pub struct Lease6Status {
    /// The leased address.
    pub address: Ipv6Addr,
    /// Who holds it, by its DUID in hex.
    pub duid: String,
    /// The name it gave.
    pub hostname: Option<String>,
    /// Seconds until it expires.
    pub expires_in_s: u64,
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

/// A VPN.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VpnStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Our public key, as a peer's configuration has it. In base64 when it is serialized.
    #[serde(serialize_with = "base64")]
    pub public_key: [u8; 32],
    /// The UDP port that we listen on.
    pub listen_port: u16,
    /// Our IPv4 address and network inside.
    pub ipv4: Option<Ipv4Cidr>,
    /// Our IPv6 address and network inside.
    pub ipv6: Option<Ipv6Cidr>,
    /// The LAN that is carried to the peers.
    pub bridge: Option<VpnBridgeStatus>,
    /// Peers, in the configuration's order.
    pub peers: Vec<VpnPeerStatus>,
    /// The last one who asked for keys, knew ours, and is no peer.
    pub stranger: Option<VpnStrangerStatus>,
}

/// Somebody whose public key is in no peer's place: perhaps a typing error, or a peer that has made itself another key.
#[derive(Debug, Clone, Serialize)]
pub struct VpnStrangerStatus {
    /// Its public key, by its own word. In base64 when it is serialized.
    #[serde(serialize_with = "base64")]
    pub public_key: [u8; 32],
    /// From where it asked.
    pub from: SocketAddr,
    /// Seconds since then.
    pub age_s: u64,
}

/// What a VPN carries of a LAN.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VpnBridgeStatus {
    /// The LAN's name in the configuration.
    pub lan: String,
    /// The VXLAN network identifier.
    pub vni: u32,
}

/// A peer of a VPN.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VpnPeerStatus {
    /// Its name in the configuration; when it has none there, how its public key begins.
    pub name: String,
    /// Its public key. In base64 when it is serialized.
    #[serde(serialize_with = "base64")]
    pub public_key: [u8; 32],
    /// How it stands, in a sentence without a full stop.
    pub state: String,
    /// Where it is reached now.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake; `None` when there was none.
    pub handshake_age_s: Option<u64>,
    /// What the tunnel has carried, by the packets inside.
    pub usage: Usage,
    /// Packets of the peer's that never arrived: gaps in its counters.
    pub lost: u64,
    /// Stations of the LAN that are behind it, on a VPN that carries one.
    pub stations: Option<usize>,
}

/// A key as people write it.
fn base64<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&BASE64.encode_display(key))
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
    /// What of that the kernel half has.
    pub kernel: Usage,
}

/// Translation.
#[derive(Debug, Clone, Serialize)]
pub struct NatStatus {
    /// Flows in the table, translated or not.
    pub flows: usize,
    /// External ports in use.
    pub mappings: usize,
}
