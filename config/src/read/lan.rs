//! `[lan.NAME]`: its ports, network, DHCP range and hosts.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::time::Duration;

use genkan_netstack::id::{IpCidr, Ipv4Cidr};
use genkan_netstack::settings::{Dhcp4, Dhcp6, Host};

use super::Cx;
use super::across::{Net, Prefix, Use, User};
use crate::reader::{Node, Table};
use crate::schema::{Lan, LanPrefix};
use crate::value;

const DHCP6: &[(&str, Dhcp6)] =
    &[("stateless", Dhcp6::Stateless), ("stateful", Dhcp6::Stateful), ("off", Dhcp6::Off)];

const DEFAULT_LEASE: Duration = Duration::from_secs(12 * 3600);
/// Most servers that a LAN's hosts are told to ask for the time.
const NTP_SERVERS: usize = 4;

pub(super) fn read(name: &str, table: &Table, cx: &Cx) -> Option<Lan> {
    let ports = table.required("ports", "ports = [\"lan0\"]", |node| ports(node, name, cx));
    let address = table.required("address", "address = \"192.168.1.1/24\"", value::host_cidr);
    let span = table.span_of("address");
    cx.facts.borrow_mut().lans.push(address);
    if let Some(cidr) = address {
        cx.facts.borrow_mut().networks.push(Net::new(&format!("lan.{name}"), IpCidr::V4(cidr), &span));
    }
    let dhcp = table.sub("dhcp", |t| dhcp(t, address)).flatten();
    let prefix = table.sub("prefix", |t| prefix(t, name, cx)).flatten();
    let dhcp6 = table.or("dhcp6", Dhcp6::default(), value::one_of(DHCP6));
    let domain = table.or("domain", "home.arpa".to_owned(), value::domain);
    let hosts = hosts(table, address);
    Some(Lan {
        name: name.to_owned(),
        ports: ports?,
        address: address?,
        dhcp,
        prefix,
        dhcp6,
        domain,
        hosts: hosts?,
    })
}

fn ports(node: Node, lan: &str, cx: &Cx) -> Option<Vec<String>> {
    let ports = value::list(|item| {
        let port = cx.port(item)?;
        cx.facts.borrow_mut().uses.push(Use::new(&port, &item.span(), User::Lan(lan.to_owned())));
        Some(port)
    })(node)?;
    if ports.is_empty() {
        return node.fail("`ports` is empty: nothing would be connected", "write [\"lan0\"]");
    }
    Some(ports)
}

fn dhcp(table: &Table, address: Option<Ipv4Cidr>) -> Option<Dhcp4> {
    let range = table.required("range", "range = \"192.168.1.100-192.168.1.199\"", |node| {
        let range = value::ipv4_range(node)?;
        let Some(lan) = address else { return Some(range) };
        let (first, last) = (*range.start(), *range.end());
        let outside = [first, last].into_iter().find(|a| !lan.contains(*a));
        if let Some(outside) = outside {
            let message = format!("`range`: {outside} is outside the LAN's network {}", network(lan));
            return node.fail(message, suggested_range(lan));
        }
        if range.contains(&lan.address) {
            let message = format!("`range` contains the router's own address {}", lan.address);
            return node.fail(message, suggested_range(lan));
        }
        if first == lan.network() || Some(last) == lan.broadcast() {
            let what = if first == lan.network() { "network" } else { "broadcast" };
            return node.fail(format!("`range` contains the {what} address"), suggested_range(lan));
        }
        Some(range)
    });
    let lease = Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);
    let lease = table.or("lease", DEFAULT_LEASE, value::duration(lease, "1m to 365d"));
    let ntp = table.or("ntp", Vec::new(), ntp);
    Some(Dhcp4 { range: range?, lease, ntp })
}

/// The addresses of a few servers.
fn ntp(node: Node) -> Option<Vec<Ipv4Addr>> {
    let servers = value::list(value::ipv4)(node)?;
    if servers.len() > NTP_SERVERS {
        return node.fail(
            format!("`ntp` has {} servers; {NTP_SERVERS} are as many as a client asks", servers.len()),
            "name fewer",
        );
    }
    Some(servers)
}

/// The half of the network that the router is not in, more or less.
fn suggested_range(lan: Ipv4Cidr) -> String {
    let (first, last) = (lan.network().to_bits(), lan.network().to_bits() | !lan.mask());
    let middle = first + (last - first) / 2;
    let (from, to) = if lan.address.to_bits() <= middle {
        (middle.max(lan.address.to_bits()) + 1, last - 1)
    } else {
        (first + 1, middle.min(lan.address.to_bits() - 1))
    };
    format!("write for example \"{}-{}\"", Ipv4Addr::from(from), Ipv4Addr::from(to))
}

fn network(lan: Ipv4Cidr) -> Ipv4Cidr {
    Ipv4Cidr { address: lan.network(), ..lan }
}

fn prefix(table: &Table, lan: &str, cx: &Cx) -> Option<LanPrefix> {
    let from = table.required("from", "from = \"isp\"", |node| cx.wan(node));
    let subnet = table.or("subnet", 0, value::integer(0..=u64::from(u32::MAX)));
    let from = from?;
    cx.facts.borrow_mut().prefixes.push(Prefix {
        lan: lan.to_owned(),
        from: from.clone(),
        from_span: table.span_of("from"),
        subnet,
        subnet_span: table.span_of("subnet"),
    });
    Some(LanPrefix { from, subnet })
}

/// Hosts with names of their own, addresses of their own and no way to be mistaken for one another.
fn hosts(table: &Table, lan: Option<Ipv4Cidr>) -> Option<Vec<Host>> {
    let mut names = Once::new("name");
    let mut macs = Once::new("mac");
    let mut addresses = Once::new("ipv4");
    let mut suffixes = Once::new("ipv6");
    let hosts: Vec<Option<Host>> = (table.each("host").into_iter())
        .map(|node| {
            node.table(&table.path_of("host"), |t| {
                let host = host(t, lan)?;
                names.check(t, host.name.to_lowercase(), &host.name);
                host.mac.inspect(|mac| macs.check(t, *mac, &mac.to_string()));
                host.ipv4.inspect(|ipv4| addresses.check(t, *ipv4, &ipv4.to_string()));
                host.ipv6.inspect(|ipv6| suffixes.check(t, *ipv6, &ipv6.to_string()));
                Some(host)
            })
            .flatten()
        })
        .collect();
    hosts.into_iter().collect()
}

fn host(table: &Table, lan: Option<Ipv4Cidr>) -> Option<Host> {
    let name = table.required("name", "name = \"nas\"", value::label);
    let mac = table.optional("mac", value::mac);
    let ipv4 = table.optional("ipv4", |node| {
        let address = value::ipv4(node)?;
        let Some(lan) = lan else { return Some(address) };
        let complaint = if !lan.contains(address) {
            format!("{address} is outside the LAN's network {}", network(lan))
        } else if address == lan.address {
            format!("{address} is the router's own address")
        } else if address == lan.network() || Some(address) == lan.broadcast() {
            format!("{address} is the network's or the broadcast address")
        } else {
            return Some(address);
        };
        let (first, last) = (lan.network().to_bits() + 1, (lan.network().to_bits() | !lan.mask()) - 1);
        let help = format!("hosts are {} to {}", Ipv4Addr::from(first), Ipv4Addr::from(last));
        node.fail(format!("`ipv4`: {complaint}"), help)
    });
    let ipv6 = table.optional("ipv6", value::suffix);
    if !["mac", "ipv4", "ipv6"].into_iter().any(|key| table.has(key)) {
        let help = "add mac = \"…\" for a name of whatever lease it has, ipv4 or ipv6 = \"…\" for a name, both for a \
                    fixed lease";
        let message = format!("`{}` has neither `mac` nor `ipv4` nor `ipv6`", table.path);
        table.sink.absence(&table.span, message, help.to_owned());
    }
    Some(Host { name: name?, mac, ipv4, ipv6 })
}

/// Values that may occur once in a list of tables.
pub(super) struct Once<T> {
    key: &'static str,
    seen: HashSet<T>,
}

impl<T: Eq + Hash> Once<T> {
    pub(super) fn new(key: &'static str) -> Once<T> {
        Once { key, seen: HashSet::new() }
    }

    /// Complains when `value`, the one of the key in `table`, was there before.
    pub(super) fn check(&mut self, table: &Table, value: T, shown: &str) {
        if self.seen.insert(value) {
            return;
        }
        let message = format!("`{}`: {shown} is taken by another `{}` above", self.key, table.path);
        let help = format!("give each `{}` its own `{}`", table.path, self.key);
        table.sink.error(&table.span_of(self.key), message, help);
    }
}
