//! A house with friends elsewhere: the gateway has a VPN, and each friend is a host with wireguard-go.
//!
//! ```text
//!  nas  eth0 ── lan0 ┐                                       ┌ friend0 ── eth0 anna
//!                    ├ router: genkan ── wan0 ── access0 isp ┼ friend1 ── eth0 ben
//!  desk eth0 ── lan1 ┘                                       └ core0 ── eth0 far host
//! ```
//!
//! | | outside | inside |
//! |---|---|---|
//! | the gateway | 198.51.100.2, 2001:db8:fffe::2 | 10.77.0.1, 2001:db8:77::1 |
//! | anna | 192.0.2.2, 2001:db8:fffd::2 | 10.77.0.2, 2001:db8:77::2 |
//! | ben | 192.0.2.18, 2001:db8:fffd:1::2 | 10.77.0.3, 2001:db8:77::3 |
//!
//! The LAN is 192.168.1.0/24 and 2001:db8:100:1::/64. Everybody listens on port 51820.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::client6::Client6;
use crate::ethernet_isp::{EthernetIsp, ROUTER};
use crate::gateway::Genkan;
use crate::internet::Internet;
use crate::lab::{Lab, WEB};
use crate::netns::{Namespace, text, veth};
use crate::peers::{Keys, Peer, WireGuardGo};
use crate::topology::{House, Port};
use crate::wait_for;

/// The port that everybody listens on.
pub const PORT: u16 = 51_820;
/// The gateway's address outside.
pub const OUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The same over IPv6.
pub const OUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 2);
/// The gateway's address inside.
pub const INNER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The same over IPv6.
pub const INNER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
/// The LAN's prefix.
pub const LAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 1, 0, 0, 0, 0);
/// All that is behind the gateway: the networks inside, and the LAN.
pub const BEHIND: &str = "10.77.0.0/24,2001:db8:77::/64,192.168.1.0/24,2001:db8:100::/56";
/// Lets friends into the LAN.
pub const INVITED: &str = "[[filter]]\nfrom = \"vpn\"\nto = \"lan\"\naction = \"accept\"\n\n";

/// A host with wireguard-go, and the services of the far side on it.
#[derive(Debug)]
pub struct Friend {
    /// Its name in the gateway's configuration.
    pub name: &'static str,
    /// Its services.
    pub internet: Internet,
    /// Its tunnel.
    pub go: WireGuardGo,
    /// Where it is.
    pub host: Namespace,
    number: u8,
}

impl Friend {
    /// A friend with a cable to the ISP.
    #[track_caller]
    fn new(lab: &Lab, isp: &Namespace, name: &'static str, number: u8, mtu: u16) -> Friend {
        let (host, port) = (Namespace::new(name), format!("friend{number}"));
        veth((isp, &port), (&host, "eth0"));
        isp.speak_ipv6(&port);
        host.speak_ipv6("eth0");
        let (router, router6) = (place(number, 1), place6(number, 1));
        isp.ip(&["address", "add", &format!("{router}/28"), "dev", &port]);
        isp.ip(&["address", "add", &format!("{router6}/64"), "dev", &port, "nodad"]);
        move_in(&host, number, 2);
        let go = WireGuardGo::start(lab, &host, PORT, mtu);
        host.speak_ipv6(&go.device);
        let (inner, inner6) = (inner(number), inner6(number));
        host.ip(&["address", "add", &format!("{inner}/32"), "dev", &go.device]);
        host.ip(&["address", "add", &format!("{inner6}/128"), "dev", &go.device, "nodad"]);
        for network in BEHIND.split(',') {
            host.ip(&["route", "add", network, "dev", &go.device]);
        }
        Friend { name, internet: Internet::start(&host, inner), go, host, number }
    }

    /// Its address inside.
    pub fn inner(&self) -> Ipv4Addr {
        inner(self.number)
    }

    /// The same over IPv6.
    pub fn inner6(&self) -> Ipv6Addr {
        inner6(self.number)
    }

    /// Both, with a port.
    pub fn both(&self, port: u16) -> [SocketAddr; 2] {
        [(self.inner(), port).into(), (self.inner6(), port).into()]
    }

    /// Where it is at first.
    pub fn endpoint(&self) -> SocketAddr {
        (place(self.number, 2), PORT).into()
    }

    /// The same over IPv6.
    pub fn endpoint6(&self) -> SocketAddr {
        (place6(self.number, 2), PORT).into()
    }

    /// Moves from its address that ends in `from` to that which ends in `to`, over both families: 2 is the first.
    #[track_caller]
    pub fn relocate(&self, from: u8, to: u8) {
        let (old, old6) = (place(self.number, from), place6(self.number, from));
        self.host.ip(&["address", "del", &format!("{old}/28"), "dev", "eth0"]);
        self.host.ip(&["address", "del", &format!("{old6}/64"), "dev", "eth0"]);
        move_in(&self.host, self.number, to);
    }

    /// Where it is when its addresses end in `last`.
    pub fn endpoint_at(&self, last: u8, port: u16) -> SocketAddr {
        (place(self.number, last), port).into()
    }

    /// Its table in the gateway's configuration: its own addresses inside are its networks, `more` are more lines.
    pub fn table(&self, more: &str) -> String {
        self.table_of(&[format!("{}/32", self.inner()), format!("{}/128", self.inner6())], more)
    }

    /// The same with these networks.
    pub fn table_of(&self, allowed: &[String], more: &str) -> String {
        format!(
            "[[vpn.friends.peer]]\nname = \"{}\"\npublic-key = \"{}\"\nallowed-ips = {allowed:?}\n{more}\n",
            self.name, self.go.keys.public
        )
    }

    /// Tells it of the gateway, with which it shares `preshared`; it calls `endpoint`, or waits.
    #[track_caller]
    pub fn meet(&self, lab: &Lab, gateway: &Keys, preshared: Option<&str>, endpoint: Option<SocketAddr>) {
        let peer = Peer { public: &gateway.public, preshared, endpoint, allowed: BEHIND, keepalive: 0 };
        self.go.meet(lab, peer);
    }
}

fn inner(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 2 + number)
}

fn inner6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 2 + u16::from(number))
}

fn place(number: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 16 * number + last)
}

fn place6(number: u8, last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xfffd, number.into(), 0, 0, 0, last.into())
}

/// Gives a friend's host its addresses and its ways.
#[track_caller]
fn move_in(host: &Namespace, number: u8, last: u8) {
    host.ip(&["address", "add", &format!("{}/28", place(number, last)), "dev", "eth0"]);
    host.ip(&["address", "add", &format!("{}/64", place6(number, last)), "dev", "eth0", "nodad"]);
    for router in [IpAddr::V4(place(number, 1)), IpAddr::V6(place6(number, 1))] {
        host.ip(&["route", "replace", "default", "via", &router.to_string(), "dev", "eth0"]);
    }
}

/// The house and its friends; nobody knows anybody yet.
#[derive(Debug)]
pub struct Friends {
    /// MTU of its tunnel: 1440, for the way to it is IPv4.
    pub anna: Friend,
    /// MTU of its tunnel: 1420, for the way to it is IPv6.
    pub ben: Friend,
    /// The ISP, and the far host.
    pub isp: EthernetIsp,
    /// The house; the desk has no address yet.
    pub house: House,
    /// The gateway's keys.
    pub keys: Keys,
    /// The lab of it all.
    pub lab: Lab,
}

impl Friends {
    /// Builds it.
    #[track_caller]
    pub fn new(name: &str) -> Friends {
        let lab = Lab::new(name);
        let house = House::new(Port::Nic, Port::Nic);
        let isp = EthernetIsp::new(&house.router);
        isp.namespace.ip(&["address", "add", "2001:db8:fffe::1/64", "dev", "access0", "nodad"]);
        isp.namespace.ip(&[
            "route",
            "add",
            "2001:db8:100::/56",
            "via",
            &OUTER6.to_string(),
            "dev",
            "access0",
        ]);
        let friend = |name, number, mtu| Friend::new(&lab, &isp.namespace, name, number, mtu);
        Friends {
            anna: friend("anna", 0, 1440),
            ben: friend("ben", 1, 1420),
            isp,
            house,
            keys: Keys::generate(),
            lab,
        }
    }

    /// Runs the gateway, whose name server is `dns`, and waits until it is up. `more` are more lines of the VPN's table,
    /// `tables` are those of the peers and whatever else.
    #[track_caller]
    pub fn run(&self, more: &str, tables: &str, dns: Ipv4Addr) -> Genkan {
        self.open(&(vpn(&self.lab, &self.keys, more) + tables), dns)
    }

    /// The same with another VPN, or none: `tables` are all that there is besides the uplink and the LAN.
    #[track_caller]
    pub fn open(&self, tables: &str, dns: Ipv4Addr) -> Genkan {
        let uplink = format!(
            "[wan.isp]\nport = \"wan0\"\nipv6 = true\nstatic = {{ address = \"{OUTER}/24\", gateway = \"{ROUTER}\", \
             address6 = \"{OUTER6}/64\", gateway6 = \"2001:db8:fffe::1\", prefix6 = \"2001:db8:100::/56\", dns = [\"{dns}\"] }}\n"
        );
        let lan = "prefix = { from = \"isp\", subnet = 1 }\n";
        let gateway = self.house.run(&self.lab, &uplink, lan, tables);
        gateway.wait_up("isp", Duration::from_secs(10));
        gateway
    }

    /// The same with the far host's name server and no more lines.
    #[track_caller]
    pub fn start(&self, tables: &str) -> Genkan {
        self.run("", tables, WEB)
    }

    /// Brings the desk online, and returns its addresses.
    #[track_caller]
    pub fn desk(&self) -> (Ipv4Addr, Ipv6Addr) {
        let desk = Client6::slaac(&self.house.desk);
        let leased = self.lab.lease(&self.house.desk, "eth0").address;
        (leased, desk.wait_address_in(LAN6, 64, Duration::from_secs(10)).address)
    }
}

/// The table of a gateway's VPN "friends" without its peers; its own addresses are those of [`Friends`].
#[track_caller]
pub fn vpn(lab: &Lab, keys: &Keys, more: &str) -> String {
    let file = lab.secret("friends.key", &keys.private);
    format!(
        "[vpn.friends]\nprivate-key-file = {:?}\nlisten-port = {PORT}\naddress = [\"{INNER}/24\", \"{INNER6}/64\"]\n{more}\n",
        file.display().to_string()
    )
}

/// A peer of the gateway's VPN, as `genkan status --json` tells of it.
pub fn peer_status(gateway: &Genkan, name: &str) -> Result<Value, String> {
    let status = gateway.status()?;
    let peers = status["vpns"][0]["peers"].as_array().into_iter().flatten();
    let found = peers.into_iter().find(|peer| peer["name"] == name).cloned();
    found.ok_or_else(|| format!("the status has no peer {name}: {}", status["vpns"]))
}

/// Where a gateway says that a peer of its VPN is.
pub fn seen_at(gateway: &Genkan, name: &str) -> Result<SocketAddr, String> {
    let peer = peer_status(gateway, name)?;
    peer["endpoint"].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| peer.to_string())
}

/// How many frames a gateway has dropped for this reason.
#[track_caller]
pub fn dropped(gateway: &Genkan, reason: &str) -> u64 {
    gateway.status().expect("a status")["frames"]["dropped"][reason].as_u64().unwrap_or(0)
}

/// Waits until `to` answers a ping.
#[track_caller]
pub fn reach(host: &Namespace, to: impl Into<IpAddr>) {
    let to = to.into();
    wait_for(&format!("{to} to answer {}", host.name()), Duration::from_secs(20), || host.pings(to));
}

/// Two pings stay without an answer.
#[track_caller]
pub fn unreachable(host: &Namespace, to: impl Into<IpAddr>) {
    let to = to.into();
    let output = host.try_run(&format!("ping -c 2 -i 0.3 -W 1 {to}"));
    assert!(!output.status.success(), "{to} answers {}: {}", host.name(), text(&output));
}
