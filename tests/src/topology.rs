//! The houses and ISPs of the tests.
//!
//! ```text
//!  nas  eth0 ── lan0 ┐                                        ┌ eth0  far host 203.0.113.80
//!                    ├ router: genkan ── wan0 ── access0  isp ┤
//!  desk eth0 ── lan1 ┘ 192.168.1.1/24        PPPoE            └ core0 203.0.113.1/24
//! ```
//!
//! The ISP is a genkan with a concentrator ([`Isp`]), or the guest ([`guest_isp`]).

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::gateway::Genkan;
use crate::guest::Guest;
use crate::internet::Internet;
use crate::lab::{CORE, CORE6, GATEWAY, Lab, NAS, NAS_MAC, PASSWORD, USERNAME, WEB, WEB6};
use crate::netns::{Namespace, veth};
use crate::peers::Authentication;

/// What a port of the router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// A network card: one end of a virtual cable.
    Nic,
    /// A tap device, given to the other side as its card.
    Tap,
}

/// How the router dials.
#[derive(Debug, Clone, Copy)]
pub struct Dial<'a> {
    /// The password that it gives.
    pub password: &'a str,
    /// The only protocol that it agrees to; `None` leaves the default.
    pub authentication: Option<Authentication>,
    /// The MTU that it asks for; `None` leaves the default, 1492.
    pub mtu: Option<u16>,
    /// More lines of `[wan.isp]`.
    pub wan: &'a str,
    /// More lines of `[lan.home]`.
    pub lan: &'a str,
}

impl Default for Dial<'_> {
    fn default() -> Self {
        Dial { password: PASSWORD, authentication: None, mtu: None, wan: "", lan: "" }
    }
}

impl Dial<'_> {
    /// The table `[wan.isp]` on `wan0`.
    fn uplink(&self, lab: &Lab) -> String {
        let password = lab.secret("isp.secret", self.password);
        let mut config = format!(
            "[wan.isp]\nport = \"wan0\"\npppoe.username = \"{USERNAME}\"\npppoe.password-file = {:?}\n\
             pppoe.echo = {{ interval = \"1s\", failures = 3 }}\n",
            password.display().to_string()
        );
        if let Some(authentication) = self.authentication {
            config.push_str(&format!("pppoe.authentication = [\"{authentication}\"]\n"));
        }
        if let Some(mtu) = self.mtu {
            config.push_str(&format!("pppoe.mtu = {mtu}\n"));
        }
        config + self.wan
    }
}

/// A router with a LAN of two bridged ports and a host on each.
#[derive(Debug)]
pub struct House {
    /// Where genkan runs. Its `wan0` is the caller's to wire up, unless it is a tap.
    pub router: Namespace,
    /// A host with a fixed lease, on the first LAN port.
    pub nas: Namespace,
    /// A host with any lease, on the second LAN port.
    pub desk: Namespace,
    /// The VLAN of `wan0`, and the priority of control frames in it.
    pub vlan: Option<(u16, u8)>,
    wan: Port,
    lan: Port,
}

impl House {
    /// Builds it; the LAN's cables are laid.
    pub fn new(wan: Port, lan: Port) -> House {
        let house = House {
            router: Namespace::new("router"),
            nas: Namespace::new("nas"),
            desk: Namespace::new("desk"),
            vlan: None,
            wan,
            lan,
        };
        if lan == Port::Nic {
            for (number, host) in [&house.nas, &house.desk].into_iter().enumerate() {
                veth((&house.router, &format!("lan{number}")), (host, "eth0"));
            }
            house.nas.ip(&["link", "set", "eth0", "address", NAS_MAC]);
        }
        house
    }

    /// Starts genkan, which dials as `isp`, and plugs its taps in. `more` is added to the configuration.
    #[track_caller]
    pub fn start(&self, lab: &Lab, dial: Dial<'_>, more: &str) -> Genkan {
        self.run(lab, &dial.uplink(lab), dial.lan, more)
    }

    /// Starts genkan with these uplinks, whole tables, and plugs its taps in. `lan` is added to `[lan.home]`, `more` to the
    /// configuration.
    #[track_caller]
    pub fn run(&self, lab: &Lab, uplinks: &str, lan: &str, more: &str) -> Genkan {
        let genkan = Genkan::start(lab, &self.router, "router", &(self.config(uplinks, lan) + more));
        if self.lan == Port::Tap {
            self.hand_over("lan0", &self.nas, "eth0");
            self.hand_over("lan1", &self.desk, "eth0");
            self.nas.ip(&["link", "set", "eth0", "address", NAS_MAC]);
        }
        genkan
    }

    /// Gives a tap of the router's to another namespace, as its card.
    #[track_caller]
    pub fn hand_over(&self, tap: &str, to: &Namespace, device: &str) {
        self.router.ip(&["link", "set", tap, "down"]);
        self.router.ip(&["link", "set", tap, "netns", to.name(), "name", device]);
        to.ip(&["link", "set", device, "up"]);
    }

    fn config(&self, uplinks: &str, lan: &str) -> String {
        let mut config = String::new();
        for (port, kind) in [("wan0", self.wan), ("lan0", self.lan), ("lan1", self.lan)] {
            let key = if kind == Port::Nic { "nic" } else { "tap" };
            config.push_str(&format!("[port.{port}]\n{key} = \"{port}\"\n\n"));
            if let Some((id, priority)) = self.vlan.filter(|_| port == "wan0") {
                config.push_str(&format!("vlan = {id}\nvlan-priority = {priority}\n\n"));
            }
        }
        config.push_str(uplinks);
        config.push_str(&format!(
            "\n[lan.home]\nports = [\"lan0\", \"lan1\"]\naddress = \"{GATEWAY}/24\"\n\
             dhcp = {{ range = \"192.168.1.100-192.168.1.199\", lease = \"12h\", ntp = [\"{NAS}\"] }}\ndomain = \"home.arpa\"\n{lan}\n\
             [[lan.home.host]]\nname = \"nas\"\nmac = \"{NAS_MAC}\"\nipv4 = \"{NAS}\"\n\n"
        ));
        config
    }
}

/// The far host, with its services; its `eth0` is the caller's to make.
pub(crate) fn far_host(namespace: &Namespace) -> Internet {
    namespace.ip(&["address", "add", &format!("{WEB}/24"), "dev", "eth0"]);
    namespace.ip(&["route", "add", "default", "via", &CORE.to_string()]);
    // Every probe is to be answered, and as it is: datagrams leave without DF, so the way has to cut them.
    namespace.sysctl("net.ipv4.icmp_ratelimit", "0");
    namespace.sysctl("net.ipv4.ip_no_pmtu_disc", "1");
    namespace.speak_ipv6("eth0");
    namespace.ip(&["address", "add", &format!("{WEB6}/64"), "dev", "eth0", "nodad"]);
    namespace.ip(&["route", "add", "default", "via", &CORE6.to_string(), "dev", "eth0"]);
    Internet::start(namespace, WEB)
}

/// The far side of an ISP.
#[derive(Debug)]
pub struct Far {
    /// The services.
    pub internet: Internet,
    /// The host that runs them.
    pub host: Namespace,
}

/// Makes the guest a router between its eth0, where subscribers are, and a far host behind its eth1.
#[track_caller]
pub fn guest_isp(guest: &mut Guest) -> Far {
    let host = Namespace::new("far");
    guest.plug(1, &host, "eth0");
    guest.run(&format!("ip address add {CORE}/24 dev eth1; ip address add {CORE6}/64 dev eth1"));
    Far { internet: far_host(&host), host }
}

/// How an [`Isp`] treats its subscribers.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// What it asks subscribers for.
    pub authentication: Authentication,
    /// The largest MTU that it grants.
    pub mtu: u16,
    /// Where addresses come from.
    pub pool: &'a str,
    /// Whether subscribers get IPv6, and a /56 of 2001:db8:100::/40.
    pub ipv6: bool,
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Terms { authentication: Authentication::ChapMd5, mtu: 1492, pool: "100.64.0.0/16", ipv6: false }
    }
}

/// An ISP made of genkan's concentrator.
#[derive(Debug)]
pub struct Isp {
    /// The far side.
    pub far: Far,
    /// Where genkan runs: `access0` towards subscribers is the caller's to wire up, `core0` leads to the far host.
    pub namespace: Namespace,
}

impl Default for Isp {
    fn default() -> Self {
        let (namespace, host) = (Namespace::new("isp"), Namespace::new("far"));
        veth((&namespace, "core0"), (&host, "eth0"));
        Isp { far: Far { internet: far_host(&host), host }, namespace }
    }
}

/// Lines of `[concentrator.bras]`.
const PREFIXES: &str = "prefix-pool = { prefix = \"2001:db8:100::/40\", delegate = 56 }\n";
/// The ISP's own uplink, over which the pool is routed to it.
const UPLINK6: &str = "\n[port.core6]\nnic = \"core6\"\n\n[wan.core6]\nport = \"core6\"\nipv4 = false\nipv6 = true\n\
                       static = { address6 = \"2001:db8:fffe::2/64\", gateway6 = \"2001:db8:fffe::1\", \
                       prefix6 = \"2001:db8:100::/40\" }\n\n\
                       [[filter]]\nfrom = \"concentrator\"\nto = \"wan\"\naction = \"accept\"\n";

impl Isp {
    /// Lays the cable that [`Terms::ipv6`] needs: the far host is the ISP's router to the rest of IPv6.
    #[track_caller]
    pub fn with_ipv6(self) -> Isp {
        let host = &self.far.host;
        veth((&self.namespace, "core6"), (host, "eth6"));
        host.speak_ipv6("eth6");
        host.ip(&["address", "add", "2001:db8:fffe::1/64", "dev", "eth6", "nodad"]);
        host.ip(&["route", "add", "2001:db8:100::/40", "via", "2001:db8:fffe::2", "dev", "eth6"]);
        self
    }

    /// Starts genkan. Subscribers are [`USERNAME`] with [`PASSWORD`].
    #[track_caller]
    pub fn start(&self, lab: &Lab, terms: Terms<'_>) -> Genkan {
        let users: PathBuf = lab.secret("users.toml", &users(USERNAME, PASSWORD, None));
        let Terms { authentication, mtu, pool, ipv6 } = terms;
        let (prefixes, uplink) = if ipv6 { (PREFIXES, UPLINK6) } else { ("", "") };
        let config = format!(
            "[port.access0]\nnic = \"access0\"\n\n[port.core0]\nnic = \"core0\"\n\n\
             [lan.core]\nports = [\"core0\"]\naddress = \"{CORE}/24\"\n\n\
             [concentrator.bras]\nport = \"access0\"\nac-name = \"bras1\"\npool = \"{pool}\"\ndns = [\"{WEB}\"]\n\
             users-file = {:?}\nauthentication = [\"{authentication}\"]\nmtu = {mtu}\n{prefixes}\n\
             [[filter]]\nfrom = \"concentrator\"\nto = \"lan\"\naction = \"accept\"\n{uplink}",
            users.display().to_string()
        );
        Genkan::start(lab, &self.namespace, "isp", &config)
    }
}

/// A users file with one user.
fn users(name: &str, password: &str, address: Option<Ipv4Addr>) -> String {
    let address = address.map_or_else(String::new, |address| format!("ipv4 = \"{address}\"\n"));
    format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n{address}")
}
