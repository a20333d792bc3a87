//! What a valid configuration holds. Every name in it refers to something that exists, every secret is loaded.
//!
//! Values that the core knows have the core's types. Lists are in the order of the file.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use genkan_netstack::id::{Ipv4Cidr, Ipv6Cidr, Mac};
use genkan_netstack::settings::{
    Action, Authentication, Dhcp4, Dhcp6, Echo, Host, Nat, Network, PppoeClient, PrefixPool, PrefixRequest,
    RuleProtocol, StaticUplink, Transport, Ula, User, VpnPeer,
};
use genkan_netstack::tunnel::wireguard::PrivateKey;

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[system]`.
    pub system: System,
    /// `[port.NAME]`.
    pub ports: Vec<Port>,
    /// `[wan.NAME]`. The first that is up carries the default route.
    pub wans: Vec<Wan>,
    /// `[lan.NAME]`.
    pub lans: Vec<Lan>,
    /// `[nat]`.
    pub nat: Nat,
    /// `[[port-forward]]`.
    pub port_forwards: Vec<PortForward>,
    /// `[[filter]]`: the first match wins.
    pub filters: Vec<Filter>,
    /// `[vpn.NAME]`.
    pub vpns: Vec<Vpn>,
    /// `[concentrator.NAME]`.
    pub concentrators: Vec<Concentrator>,
    /// `[fast-path] mode`.
    pub fast_path: FastPath,
    /// `[capture] ring`: octets of memory for the ring of captured frames. Default 8 MiB; 0 turns it off.
    pub capture_ring: u64,
}

/// `[system]`: the router itself.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// Its name, a single DNS label. Default "genkan".
    pub hostname: String,
    /// Directory for what must survive a restart. Default `/var/lib/genkan`.
    pub state_dir: PathBuf,
    /// Path of the control socket. Default `/run/genkan/control.sock`.
    pub control: PathBuf,
    /// Where the site's own IPv6 addresses come from. Default: a prefix of its own making (RFC 4193).
    pub ula: Ula,
}

impl Default for System {
    fn default() -> Self {
        System {
            hostname: "genkan".to_owned(),
            state_dir: PathBuf::from("/var/lib/genkan"),
            control: PathBuf::from("/run/genkan/control.sock"),
            ula: Ula::Generated,
        }
    }
}

/// `[port.NAME]`: where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it is on this machine.
    pub device: Device,
    /// The Ethernet address to use; the device's own when absent.
    pub mac: Option<Mac>,
    /// 802.1Q tag, 1 to 4094.
    pub vlan: Option<u16>,
    /// 802.1Q priority of PPP control frames, 0 to 7.
    pub vlan_priority: Option<u8>,
}

/// A device of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Device {
    /// A network card to take over.
    Nic(String),
    /// A tap device to create or attach to.
    Tap(String),
}

impl Device {
    /// The device's name on this machine.
    pub fn name(&self) -> &str {
        match self {
            Device::Nic(name) | Device::Tap(name) => name,
        }
    }
}

/// `[wan.NAME]`: an uplink.
#[derive(Debug, Clone, PartialEq)]
pub struct Wan {
    /// Its name.
    pub name: String,
    /// Name of its port; several uplinks may share one.
    pub port: String,
    /// How it gets its addresses.
    pub uplink: Uplink,
    /// It carries IPv4. Default true.
    pub ipv4: bool,
    /// It carries IPv6. Default false.
    pub ipv6: bool,
    /// It asks for an IPv6 prefix, whether or not a LAN takes a part of it (RFC 8415 §6.3).
    pub prefix_delegation: Option<PrefixRequest>,
}

/// How an uplink gets its addresses.
#[derive(Debug, Clone, PartialEq)]
pub enum Uplink {
    /// By a PPPoE session.
    Pppoe(PppoeClient),
    /// By DHCP.
    Dhcp,
    /// They are given.
    Static(StaticUplink),
}

/// `[lan.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lan {
    /// Its name.
    pub name: String,
    /// Names of its ports, bridged. Never empty.
    pub ports: Vec<String>,
    /// The router's address and the network.
    pub address: Ipv4Cidr,
    /// The DHCP server's part.
    pub dhcp: Option<Dhcp4>,
    /// Where its IPv6 prefix comes from.
    pub prefix: Option<LanPrefix>,
    /// What the DHCPv6 server does. Default stateless.
    pub dhcp6: Dhcp6,
    /// Domain of its names. Default "home.arpa" (RFC 8375).
    pub domain: String,
    /// Hosts with names and fixed leases.
    pub hosts: Vec<Host>,
}

/// A LAN's part of a delegated prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct LanPrefix {
    /// Name of the uplink that it is delegated over.
    pub from: String,
    /// Number of the /64 in the delegated prefix. Default 0.
    pub subnet: u64,
}

/// `[[port-forward]]`: a port opened to the outside.
#[derive(Debug, Clone, PartialEq)]
pub struct PortForward {
    /// Name of the uplink.
    pub wan: String,
    /// TCP or UDP.
    pub protocol: Transport,
    /// Port on the outside.
    pub port: u16,
    /// Host on the inside.
    pub to: Ipv4Addr,
    /// Port on the inside.
    pub to_port: u16,
}

/// `[[filter]]`: a rule, evaluated once for each flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Where the flow comes from. Default any.
    pub from: Zone,
    /// Where it goes to. Default any.
    pub to: Zone,
    /// Its protocol. Default any.
    pub protocol: RuleProtocol,
    /// Its destination port; empty is any.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Its source.
    pub source: Option<Network>,
    /// Its destination.
    pub destination: Option<Network>,
    /// What to do with it.
    pub action: Action,
    /// The line of the file at which it stands, from 1.
    pub line: u32,
}

/// A filter zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Every zone.
    Any,
    /// Every LAN.
    Lan,
    /// Every uplink.
    Wan,
    /// The subscribers of every concentrator.
    Concentrator,
    /// The router's own addresses.
    Router,
    /// The peers of every VPN.
    Vpn,
}

/// `[vpn.NAME]`: a WireGuard interface.
#[derive(Debug, Clone, PartialEq)]
pub struct Vpn {
    /// Its name.
    pub name: String,
    /// Its private key.
    pub private_key: PrivateKey,
    /// UDP port that it listens on. Default 51820.
    pub listen_port: u16,
    /// The router's IPv4 address inside and the network there. It has an address of one family at least.
    pub ipv4: Option<Ipv4Cidr>,
    /// The router's IPv6 address inside and the network there.
    pub ipv6: Option<Ipv6Cidr>,
    /// Largest packet inside in octets, 576 to 9000. Default: what the way to the peers leaves room for.
    pub mtu: Option<u16>,
    /// The peers know our IPv4 address inside alone: whoever is behind us bears it towards them. Default false.
    pub masquerade: bool,
    /// A LAN to carry over it.
    pub bridge: Option<Bridge>,
    /// `[[vpn.NAME.peer]]`. One without a name is called by how its public key begins.
    pub peers: Vec<VpnPeer>,
}

/// Ethernet over a VPN (VXLAN, RFC 7348).
#[derive(Debug, Clone, PartialEq)]
pub struct Bridge {
    /// Name of the LAN.
    pub lan: String,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Routers at the peers are none for this LAN: their Router Advertisements and Redirects are dropped. Default true.
    pub ra_guard: bool,
    /// DHCP does not pass, either way. Default false.
    pub isolate_dhcp: bool,
    /// Questions for neighbours that are known are answered here, not carried. Default true.
    pub suppress: bool,
    /// Frames of one peer go on to the others. Default false: each peer knows all others.
    pub hub: bool,
}

/// `[concentrator.NAME]`: the ISP's side of PPPoE.
#[derive(Debug, Clone, PartialEq)]
pub struct Concentrator {
    /// Its name.
    pub name: String,
    /// Name of its port, which nothing else uses.
    pub port: String,
    /// AC-Name that it offers. Default: its name.
    pub ac_name: String,
    /// Service-Names that it serves besides the empty one. Default none.
    pub service_names: Vec<String>,
    /// Addresses for subscribers.
    pub pool: Ipv4Cidr,
    /// Its own address on every session, never given to a subscriber. Default: the pool's first host address.
    pub address: Ipv4Addr,
    /// Prefixes for subscribers.
    pub prefix_pool: Option<PrefixPool>,
    /// DNS servers to tell subscribers, up to two of each family. Default none.
    pub dns: Vec<IpAddr>,
    /// Authentication protocols to ask for, the first one first. Default CHAP-MD5, MS-CHAPv2, PAP.
    pub authentication: Vec<Authentication>,
    /// Largest MTU to grant, 576 to 1500. Default 1492.
    pub mtu: u16,
    /// Keepalive.
    pub echo: Echo,
    /// Most sessions at once. Default: as many as the pool has addresses, up to 65,535.
    pub sessions: u32,
    /// Most sessions of one station (Ethernet address) at once. Default 8.
    pub sessions_per_mac: u32,
    /// Who may come in.
    pub users: Vec<User>,
}

/// `[fast-path] mode`: whether established traffic moves in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FastPath {
    /// Where the machine can.
    #[default]
    Auto,
    /// It must.
    Xdp,
    /// Never.
    Off,
}
