//! What only several tables together can get wrong. Readers note [`Facts`]; [`check`] compares them.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use genkan_netstack::id::{IpCidr, Ipv4Cidr};
use genkan_netstack::settings::Transport;

use crate::report::{Sink, Span};
use crate::tunnel;

/// What the readers noted, each with its place.
#[derive(Default)]
pub(super) struct Facts {
    /// Ports that exist.
    pub(super) ports: Vec<Item>,
    /// Devices that ports are.
    pub(super) devices: Vec<Item>,
    /// Who uses which port.
    pub(super) uses: Vec<Use>,
    /// The uplinks without PPPoE, and their ports.
    pub(super) plain: Vec<Use>,
    /// Uplinks.
    pub(super) wans: Vec<WanFacts>,
    /// Networks of LANs; `None` for one that is not known because it is wrong.
    pub(super) lans: Vec<Option<Ipv4Cidr>>,
    /// Networks that must not overlap.
    pub(super) networks: Vec<Net>,
    /// LANs' parts of delegated prefixes.
    pub(super) prefixes: Vec<Prefix>,
    /// Port forwards.
    pub(super) forwards: Vec<Forward>,
    /// Hosts that port forwards lead to.
    pub(super) targets: Vec<(Ipv4Addr, Span)>,
    /// Uplinks that something needs IPv4 on.
    pub(super) ipv4_users: Vec<(String, Span)>,
    /// VPNs.
    pub(super) vpns: Vec<tunnel::Facts>,
}

/// An uplink.
pub(super) struct WanFacts {
    pub(super) name: String,
    /// It carries IPv4.
    pub(super) ipv4: bool,
    /// It carries IPv6.
    pub(super) ipv6: bool,
    /// Length of the IPv6 prefix that it brings, as far as the file tells.
    pub(super) prefix_length: Option<u8>,
}

/// A name and where it stands.
pub(super) struct Item {
    name: String,
    span: Span,
}

impl Item {
    pub(super) fn new(name: &str, span: &Span) -> Item {
        Item { name: name.to_owned(), span: span.clone() }
    }
}

/// A port's use.
pub(super) struct Use {
    port: String,
    span: Span,
    user: User,
}

impl Use {
    pub(super) fn new(port: &str, span: &Span, user: User) -> Use {
        Use { port: port.to_owned(), span: span.clone(), user }
    }
}

/// Who uses a port.
#[derive(PartialEq)]
pub(super) enum User {
    Lan(String),
    Wan(String),
    Concentrator(String),
}

impl User {
    fn table(&self) -> String {
        match self {
            User::Lan(name) => format!("lan.{name}"),
            User::Wan(name) => format!("wan.{name}"),
            User::Concentrator(name) => format!("concentrator.{name}"),
        }
    }

    /// Several uplinks may dial on one port; nothing else goes together.
    fn shares_with(&self, other: &User) -> bool {
        matches!((self, other), (User::Wan(_), User::Wan(_)))
    }
}

/// A network of ours.
pub(super) struct Net {
    table: String,
    cidr: IpCidr,
    span: Span,
}

impl Net {
    pub(super) fn new(table: &str, cidr: IpCidr, span: &Span) -> Net {
        Net { table: table.to_owned(), cidr, span: span.clone() }
    }

    fn overlaps(&self, other: &Net) -> bool {
        match (self.cidr, other.cidr) {
            (IpCidr::V4(a), IpCidr::V4(b)) => a.contains(b.address) || b.contains(a.address),
            (IpCidr::V6(a), IpCidr::V6(b)) => a.covers(b) || b.covers(a),
            _ => false,
        }
    }
}

/// A LAN's part of a delegated prefix.
pub(super) struct Prefix {
    pub(super) lan: String,
    pub(super) from: String,
    pub(super) from_span: Span,
    pub(super) subnet: u64,
    pub(super) subnet_span: Span,
}

/// The outside of a port forward.
pub(super) struct Forward {
    pub(super) wan: String,
    pub(super) protocol: Transport,
    pub(super) port: u16,
    pub(super) span: Span,
}

/// Complains about everything that does not go together.
pub(super) fn check(facts: &Facts, sink: &Sink) {
    ports(facts, sink);
    devices(facts, sink);
    networks(facts, sink);
    prefixes(facts, sink);
    forwards(facts, sink);
    vpns(facts, sink);
}

fn ports(facts: &Facts, sink: &Sink) {
    let mut first: HashMap<&str, &Use> = HashMap::new();
    for used in in_order(&facts.uses, |u| &u.span) {
        let Some(before) = first.get(used.port.as_str()) else {
            first.insert(&used.port, used);
            continue;
        };
        if used.user.shares_with(&before.user) {
            continue;
        }
        if used.user == before.user {
            let message = format!("port {:?} is listed twice", used.port);
            sink.error(&used.span, message, "delete one of them");
        } else {
            let message = format!("port {:?} is used by `{}` already", used.port, before.user.table());
            let help = "only uplinks may share a port; a LAN or a concentrator has its ports to itself";
            sink.error(&used.span, message, help);
        }
    }
    let plain: Vec<&Use> = in_order(&facts.plain, |u| &u.span);
    for (index, used) in plain.iter().enumerate() {
        if let Some(before) = plain.iter().take(index).find(|before| before.port == used.port) {
            let message =
                format!("port {:?} carries `{}` without PPPoE already", used.port, before.user.table());
            let help = "an uplink by DHCP or with static addresses shares its port with PPPoE uplinks only";
            sink.error(&used.span, message, help);
        }
    }
    for port in facts.ports.iter().filter(|port| !first.contains_key(port.name.as_str())) {
        let help = format!(
            "name {:?} in the `ports` of a LAN or as the `port` of an uplink, or delete it",
            port.name
        );
        sink.warning(&port.span, format!("`port.{}` is not used by anything", port.name), help);
    }
}

fn devices(facts: &Facts, sink: &Sink) {
    let mut seen: Vec<&str> = Vec::new();
    for device in in_order(&facts.devices, |d| &d.span) {
        if seen.contains(&device.name.as_str()) {
            let help = "several uplinks may share one [port.NAME]";
            sink.error(&device.span, format!("another port is the device {:?} already", device.name), help);
        }
        seen.push(&device.name);
    }
}

fn networks(facts: &Facts, sink: &Sink) {
    let networks: Vec<&Net> = in_order(&facts.networks, |n| &n.span);
    for (index, network) in networks.iter().enumerate() {
        let earlier = networks.iter().take(index);
        if let Some(other) = earlier.into_iter().find(|other| network.overlaps(other)) {
            let message = format!("{} overlaps {} of `{}`", network.cidr, other.cidr, other.table);
            let help = format!("give `{}` a network of its own", network.table);
            sink.error(&network.span, message, help);
        }
    }
}

fn prefixes(facts: &Facts, sink: &Sink) {
    let mut seen: Vec<&Prefix> = Vec::new();
    for prefix in in_order(&facts.prefixes, |p| &p.subnet_span) {
        let wan = facts.wans.iter().find(|wan| wan.name == prefix.from);
        if let Some(WanFacts { name, ipv6: false, .. }) = wan {
            let message = format!("`from`: `wan.{name}` carries no IPv6, so no prefix comes from it");
            sink.absence(&prefix.from_span, message, format!("add ipv6 = true to [wan.{name}]"));
        }
        if let Some(length) = wan.and_then(|wan| wan.prefix_length) {
            let subnets = 1u64 << (64 - length.min(64));
            if prefix.subnet >= subnets {
                let message = format!("`subnet`: a /{length} has no subnet {}", prefix.subnet);
                sink.error(&prefix.subnet_span, message, format!("it may be 0 to {}", subnets - 1));
            }
        }
        if let Some(other) = seen.iter().find(|p| p.from == prefix.from && p.subnet == prefix.subnet) {
            let message = format!("`subnet`: `lan.{}` has subnet {} already", other.lan, other.subnet);
            sink.error(&prefix.subnet_span, message, "give each LAN a number of its own");
        }
        seen.push(prefix);
    }
}

fn forwards(facts: &Facts, sink: &Sink) {
    let mut seen: Vec<&Forward> = Vec::new();
    for forward in in_order(&facts.forwards, |f| &f.span) {
        let same =
            |f: &&&Forward| (&f.wan, f.protocol, f.port) == (&forward.wan, forward.protocol, forward.port);
        if seen.iter().any(|f| same(&f)) {
            let protocol = match forward.protocol {
                Transport::Tcp => "TCP",
                Transport::Udp => "UDP",
            };
            let message =
                format!("{protocol} port {} of `wan.{}` is forwarded already", forward.port, forward.wan);
            sink.error(&forward.span, message, "one port leads to one host");
        }
        seen.push(forward);
    }
    for (to, span) in &facts.targets {
        // A LAN that could not be read might be the one.
        let inside = facts.lans.iter().any(|lan| lan.is_none_or(|lan| lan.contains(*to)))
            || facts.vpns.iter().any(|vpn| vpn.is_behind_a_peer((*to).into()));
        let router = facts.lans.iter().flatten().any(|lan| lan.address == *to);
        if router {
            sink.error(
                span,
                format!("`to`: {to} is the router itself"),
                "forward to a host of a LAN".to_owned(),
            );
        } else if !inside {
            let nets: Vec<String> =
                facts.lans.iter().flatten().map(|lan| format!("{}/{}", lan.network(), lan.prefix)).collect();
            let help = if nets.is_empty() {
                "there is no LAN".to_owned()
            } else {
                format!("LANs are: {}", nets.join(", "))
            };
            sink.absence(span, format!("`to`: {to} is in no LAN, and behind no peer of a VPN"), help);
        }
    }
    for (wan, span) in &facts.ipv4_users {
        if facts.wans.iter().any(|uplink| uplink.name == *wan && !uplink.ipv4) {
            let help = "forwards are of IPv4; for IPv6 write a [[filter]] that accepts";
            sink.error(span, format!("`wan`: `wan.{wan}` carries no IPv4"), help);
        }
    }
}

fn vpns(facts: &Facts, sink: &Sink) {
    let networks: Vec<(&str, IpCidr)> =
        facts.networks.iter().map(|network| (network.table.as_str(), network.cidr)).collect();
    tunnel::check_all(&facts.vpns, &networks, sink);
    for forward in facts.forwards.iter().filter(|forward| forward.protocol == Transport::Udp) {
        if let Some(vpn) = facts.vpns.iter().find(|vpn| vpn.listen_port == Some(forward.port)) {
            let message = format!("`port`: `vpn.{}` listens on UDP port {}", vpn.name, forward.port);
            sink.error(&forward.span, message, "forward another one, or give the VPN another listen-port");
        }
    }
}

/// Values in the order in which they stand in the file.
fn in_order<T>(values: &[T], span: impl Fn(&T) -> &Span) -> Vec<&T> {
    let mut values: Vec<&T> = values.iter().collect();
    values.sort_by_key(|value| span(value).start);
    values
}
