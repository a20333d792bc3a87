//! What a gateway is told to be: every name resolved, every secret loaded, every value valid.
//!
//! The program makes a [`Settings`] out of the validated configuration file; tests build one by hand. The lists are
//! indexed by the ids of [`crate::id`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::id::{IpCidr, Ipv4Cidr, Ipv6Cidr, LanId, Mac, PortId, WanId, Zone};
use crate::secret::Secret;
use crate::time::Duration;
use crate::tunnel::wireguard::{PresharedKey, PrivateKey, PublicKey};

/// A whole gateway.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The router's own name, without a domain.
    pub hostname: String,
    /// The site's own addresses (RFC 4193).
    pub ula: Ula,
    /// Where frames come from, indexed by [`PortId`].
    pub ports: Vec<Port>,
    /// Uplinks, indexed by [`WanId`]. The first that is up carries the default route.
    pub wans: Vec<Wan>,
    /// LANs, indexed by [`LanId`].
    pub lans: Vec<Lan>,
    /// Access concentrators.
    pub concentrators: Vec<Concentrator>,
    /// VPNs, indexed by [`VpnId`](crate::id::VpnId).
    pub vpns: Vec<Vpn>,
    /// Translation.
    pub nat: Nat,
    /// Ports opened to the outside.
    pub port_forwards: Vec<PortForward>,
    /// Filter rules; the first match wins, the built-in ones come after.
    pub rules: Vec<Rule>,
}

/// A VPN: a WireGuard interface.
#[derive(Debug, Clone)]
pub struct Vpn {
    /// Its name in the configuration.
    pub name: String,
    /// Our own key.
    pub private_key: PrivateKey,
    /// UDP port that it listens on, at every address of the router.
    pub listen_port: u16,
    /// The router's IPv4 address inside, and the network there.
    pub ipv4: Option<Ipv4Cidr>,
    /// The router's IPv6 address inside, and the network there.
    pub ipv6: Option<Ipv6Cidr>,
    /// Largest IP packet inside, in octets. `None`: what the way to the peers leaves room for.
    pub mtu: Option<u16>,
    /// What goes to the peers bears the router's IPv4 address inside, and nothing begins from there.
    pub masquerade: bool,
    /// A LAN that is carried over it.
    pub bridge: Option<VpnBridge>,
    /// Its peers.
    pub peers: Vec<VpnPeer>,
}

/// Ethernet over a VPN (VXLAN, RFC 7348).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VpnBridge {
    /// The LAN that the peers join.
    pub lan: LanId,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Router Advertisements and Redirects of the far side are dropped (RFC 6105).
    pub ra_guard: bool,
    /// DHCP does not pass, in either direction.
    pub isolate_dhcp: bool,
    /// Questions of ARP and Neighbor Discovery whose answer is known are answered here.
    pub suppress: bool,
    /// Frames of one peer go to the others, too.
    pub hub: bool,
}

/// A peer of a VPN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpnPeer {
    /// Its name.
    pub name: String,
    /// Its static key.
    pub public_key: PublicKey,
    /// A key that we share.
    pub preshared_key: Option<PresharedKey>,
    /// Where it is reached first. `None` for one that only calls in.
    pub endpoint: Option<Endpoint>,
    /// The networks behind it: where packets to it go, and the only sources that its packets may bear.
    pub allowed_ips: Vec<IpCidr>,
    /// Longest silence towards it.
    pub keepalive: Option<Duration>,
}

/// Where a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At this address.
    Address(SocketAddr),
    /// At the address of a host whose name is to be asked for.
    Name {
        /// The host's name.
        host: String,
        /// Its UDP port.
        port: u16,
    },
}

/// `friend.example:51820`, `[2001:db8::7]:51820`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Address(address) => address.fmt(f),
            Endpoint::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Where the site's unique local addresses come from (RFC 7084 ULA-1 to ULA-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ula {
    /// From a prefix that is drawn once and kept.
    #[default]
    Generated,
    /// From this /48.
    Given(Ipv6Cidr),
    /// There are none.
    Off,
}

/// A port.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name in the configuration.
    pub name: String,
    /// The address that the router uses on it.
    pub mac: Mac,
    /// Largest Ethernet payload that it can send, in octets. 1500 unless the device can do more.
    pub mtu: u16,
    /// Its frames bear a tag.
    pub vlan: Option<Vlan>,
    /// The device takes large segments and partial checksums (virtio-net header); otherwise the router cuts and
    /// completes them before transmission.
    pub offload: bool,
}

/// A tag of IEEE 802.1Q. What leaves by the port bears it, and nothing else comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The VLAN's identifier, 1 to 4094.
    pub id: u16,
    /// Priority of the control frames of PPPoE and PPP, 0 to 7. All others have 0.
    pub control_priority: u8,
}

/// An uplink.
#[derive(Debug, Clone)]
pub struct Wan {
    /// Its name in the configuration.
    pub name: String,
    /// The port it runs on. Several uplinks may share one, but at most one without PPPoE.
    pub port: PortId,
    /// How it gets its addresses.
    pub uplink: Uplink,
    /// It carries IPv4 (by PPPoE: IPCP).
    pub ipv4: bool,
    /// It carries IPv6 (by PPPoE: IPV6CP).
    pub ipv6: Option<WanIpv6>,
}

impl Wan {
    /// True when it is plain Ethernet, with neighbours.
    pub fn is_segment(&self) -> bool {
        !matches!(self.uplink, Uplink::Pppoe(_))
    }

    /// Which families it carries.
    pub fn families(&self) -> Families {
        Families { ipv4: self.ipv4, ipv6: self.ipv6.is_some() }
    }
}

/// Which families a session carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

/// How an uplink gets its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uplink {
    /// By a PPPoE session.
    Pppoe(PppoeClient),
    /// On plain Ethernet, by DHCP; IPv6 by Router Advertisements and DHCPv6.
    Dhcp,
    /// On plain Ethernet, as given.
    Static(StaticUplink),
}

/// The addresses of an uplink that asks nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StaticUplink {
    /// IPv4.
    pub ipv4: Option<StaticIpv4>,
    /// IPv6.
    pub ipv6: Option<StaticIpv6>,
    /// DNS servers of either family.
    pub dns: Vec<IpAddr>,
}

/// IPv4 on an uplink that asks nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticIpv4 {
    /// Our address and the network.
    pub address: Ipv4Cidr,
    /// The default router, in that network.
    pub gateway: Ipv4Addr,
}

/// IPv6 on an uplink that asks nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticIpv6 {
    /// Our address and the network.
    pub address: Ipv6Cidr,
    /// The default router, in that network or link-local.
    pub gateway: Ipv6Addr,
    /// The prefix that is routed to us.
    pub prefix: Option<Ipv6Cidr>,
}

/// IPv6 on an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WanIpv6 {
    /// What prefix to ask for (RFC 8415 §6.3); `None` asks for none.
    pub prefix: Option<PrefixRequest>,
}

/// A prefix to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefixRequest {
    /// The length to hint at, in bits (RFC 8415 §18.2.1).
    pub length: Option<u8>,
}

/// An authentication protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// Password Authentication Protocol (RFC 1334).
    Pap,
    /// Challenge Handshake with MD5 (RFC 1994).
    ChapMd5,
    /// Microsoft's CHAP, version 2 (RFC 2759).
    MsChapV2,
}

/// How a PPPoE session is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PppoeClient {
    /// Name that the ISP knows the customer by.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Service-Name to ask for; empty accepts any (RFC 2516 §5.1).
    pub service_name: Vec<u8>,
    /// Take only an offer by this concentrator.
    pub ac_name: Option<Vec<u8>>,
    /// Host-Uniq to send; drawn at random otherwise.
    pub host_uniq: Option<Vec<u8>>,
    /// Authentication protocols to agree to, the preferred one first. Never empty.
    pub authentication: Vec<Authentication>,
    /// MTU to ask for, 576 to 1500. Above 1492 asks for RFC 4638.
    pub mtu: u16,
    /// Keepalive.
    pub echo: Echo,
}

/// LCP keepalive (RFC 1661 §5.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Silence after which an Echo-Request is sent, and the time between requests. Default 10 s.
    pub interval: Duration,
    /// Unanswered requests in a row that mean the peer is gone. Default 3.
    pub failures: u8,
}

impl Default for Echo {
    fn default() -> Self {
        Echo { interval: Duration::from_secs(10), failures: 3 }
    }
}

/// A LAN.
#[derive(Debug, Clone)]
pub struct Lan {
    /// Its name in the configuration.
    pub name: String,
    /// Its ports, bridged. Never empty.
    pub ports: Vec<PortId>,
    /// The router's address and the LAN's network.
    pub address: Ipv4Cidr,
    /// The DHCP server's part, when it serves here.
    pub dhcp: Option<Dhcp4>,
    /// Where its IPv6 prefixes come from.
    pub prefix: Option<LanPrefix>,
    /// What the DHCPv6 server does.
    pub dhcp6: Dhcp6,
    /// Domain of the LAN's names, without a leading or trailing dot.
    pub domain: String,
    /// Hosts with fixed leases and names.
    pub hosts: Vec<Host>,
}

/// A DHCPv4 server's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp4 {
    /// Addresses to lease, inside the LAN's network.
    pub range: RangeInclusive<Ipv4Addr>,
    /// Lease time.
    pub lease: Duration,
    /// Servers that tell the time (NTP), the preferred one first.
    pub ntp: Vec<Ipv4Addr>,
}

/// A LAN's part of a delegated prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanPrefix {
    /// The uplink that it is delegated over.
    pub from: WanId,
    /// Number of the /64 in the delegated prefix.
    pub subnet: u64,
}

/// What the DHCPv6 server does on a LAN (RFC 7084 L-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dhcp6 {
    /// Tells DNS servers and the like; hosts make their addresses themselves.
    #[default]
    Stateless,
    /// Gives addresses, too.
    Stateful,
    /// Nothing.
    Off,
}

/// A host that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, a single DNS label.
    pub name: String,
    /// Its Ethernet address, when a lease is to be fixed.
    pub mac: Option<Mac>,
    /// Its address.
    pub ipv4: Option<Ipv4Addr>,
    /// The end of its IPv6 addresses, the first 64 bits being zero: it has a name in every prefix of the LAN, and gets the
    /// address from a DHCPv6 server that gives any.
    pub ipv6: Option<Ipv6Addr>,
}

/// Which packets from outside may use a mapping (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    /// Only from an address and port that the host has sent to.
    #[default]
    AddressAndPortDependent,
    /// From any port of an address that the host has sent to.
    AddressDependent,
    /// From anywhere.
    EndpointIndependent,
}

/// Translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// Filtering behaviour; mapping is always endpoint-independent (RFC 4787 REQ-1).
    pub filtering: Filtering,
    /// Most flows that one inside host may have.
    pub flows_per_host: u32,
    /// Most flows in all.
    pub flows: u32,
    /// Idle times after which flows end.
    pub timeouts: Timeouts,
}

impl Default for Nat {
    fn default() -> Self {
        Nat {
            filtering: Filtering::default(),
            flows_per_host: 4096,
            flows: 262_144,
            timeouts: Timeouts::default(),
        }
    }
}

/// Idle times after which flows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP. Default 5 min (RFC 4787 REQ-5).
    pub udp: Duration,
    /// TCP once established. Default 2 h 4 min (RFC 5382 REQ-5).
    pub tcp_established: Duration,
    /// TCP while opening. Default 4 min (RFC 5382 REQ-5, RFC 7857 §2.1).
    pub tcp_transitory: Duration,
    /// TCP while closing, and after RST. Default 4 min (RFC 7857 §2.1, §2.2).
    pub tcp_closing: Duration,
    /// ICMP queries. Default 60 s (RFC 5508 REQ-2).
    pub icmp: Duration,
    /// Other protocols, not translated. Default 2 min.
    pub other: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            udp: Duration::from_secs(300),
            tcp_established: Duration::from_secs(2 * 3600 + 240),
            tcp_transitory: Duration::from_secs(240),
            tcp_closing: Duration::from_secs(240),
            icmp: Duration::from_secs(60),
            other: Duration::from_secs(120),
        }
    }
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port opened to the outside.
#[derive(Debug, Clone)]
pub struct PortForward {
    /// The uplink whose address it listens on.
    pub wan: WanId,
    /// TCP or UDP.
    pub protocol: Transport,
    /// Port on the outside.
    pub port: u16,
    /// Host on the inside.
    pub to: Ipv4Addr,
    /// Port on the inside.
    pub to_port: u16,
}

/// A filter rule's condition on the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleProtocol {
    /// Any protocol.
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, and ICMPv6.
    Icmp,
    /// An IP protocol by number.
    Number(u8),
}

/// What a filter rule says of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Let it pass.
    Accept,
    /// Discard silently.
    Drop,
    /// Discard and tell the sender.
    Reject,
}

/// What a filter rule compares an address with. A rule with one is for packets of its family alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// An IPv4 network.
    V4(Ipv4Cidr),
    /// An IPv6 network.
    V6(Ipv6Cidr),
    /// The part of an IPv6 address after the prefix, whatever the prefix is just now.
    V6Suffix(Ipv6Cidr),
}

/// A filter rule, evaluated once for each flow.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Zone that the flow comes from; `None` is any.
    pub from: Option<Zone>,
    /// Zone that the flow goes to; `None` is any.
    pub to: Option<Zone>,
    /// The protocol.
    pub protocol: RuleProtocol,
    /// Destination ports (after a port forward: the inside port); empty is any.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Source network; `None` is any.
    pub source: Option<Network>,
    /// Destination network (after a port forward: the inside address); `None` is any.
    pub destination: Option<Network>,
    /// What to do.
    pub action: Action,
    /// The line of the configuration at which it stands, from 1, when it stands in a file.
    pub line: Option<u32>,
}

/// A rule of the configuration, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId {
    /// Which `[[filter]]`, from 1.
    pub number: usize,
    /// The line at which it stands, from 1.
    pub line: Option<u32>,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[[filter]] number {}", self.number)?;
        self.line.map_or(Ok(()), |line| write!(f, " at line {line}"))
    }
}

/// An access concentrator: the ISP's side of PPPoE.
#[derive(Debug, Clone)]
pub struct Concentrator {
    /// Its name in the configuration.
    pub name: String,
    /// The port on which it serves.
    pub port: PortId,
    /// AC-Name that it offers.
    pub ac_name: String,
    /// Service-Names that it serves besides the empty one.
    pub service_names: Vec<String>,
    /// Its own address on every session (the peer's side of IPCP).
    pub address: Ipv4Addr,
    /// Addresses for subscribers; `address` is not given out.
    pub pool: Ipv4Cidr,
    /// Prefixes for subscribers; `None` gives no IPv6.
    pub prefix_pool: Option<PrefixPool>,
    /// DNS servers to tell subscribers; of IPv4, the first two are told.
    pub dns: Vec<IpAddr>,
    /// Authentication protocols to ask for, the first one first. Never empty.
    pub authentication: Vec<Authentication>,
    /// Who may come in.
    pub users: Vec<User>,
    /// Largest MTU to grant, up to 1500 (RFC 4638).
    pub mtu: u16,
    /// Keepalive.
    pub echo: Echo,
    /// Most sessions at once.
    pub sessions: u32,
    /// Most sessions of one subscriber station (Ethernet address) at once.
    pub sessions_per_mac: u32,
}

/// IPv6 prefixes to delegate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixPool {
    /// The prefix that they are taken from.
    pub prefix: Ipv6Cidr,
    /// Length of each delegated prefix in bits, from that of `prefix` to 64.
    pub delegate: u8,
}

/// A subscriber of a concentrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name that the subscriber gives.
    pub name: String,
    /// Password.
    pub password: Secret,
    /// Address that the subscriber always gets.
    pub ipv4: Option<Ipv4Addr>,
    /// Prefix that the subscriber always gets.
    pub prefix: Option<Ipv6Cidr>,
}

impl Settings {
    /// The LAN that `port` belongs to.
    pub fn lan_of_port(&self, port: PortId) -> Option<LanId> {
        let index = self.lans.iter().position(|lan| lan.ports.contains(&port))?;
        u16::try_from(index).ok().map(LanId)
    }
}
