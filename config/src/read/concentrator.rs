//! `[concentrator.NAME]`.

use std::net::Ipv4Addr;

use genkan_netstack::id::{IpCidr, Ipv4Cidr};
use genkan_netstack::settings::PrefixPool;

use super::across::{Net, Use, User};
use super::{Cx, users, wan};
use crate::reader::Table;
use crate::schema::Concentrator;
use crate::value;

/// Session ids of PPPoE: 16 bits, 0 and 65,535 being reserved (RFC 2516 §4).
const MOST_SESSIONS: u32 = 65_534;

pub(super) fn read(name: &str, table: &Table, cx: &Cx) -> Option<Concentrator> {
    let port = table.required("port", "port = \"access0\"", |node| {
        let port = cx.port(node)?;
        cx.facts.borrow_mut().uses.push(Use::new(&port, &node.span(), User::Concentrator(name.to_owned())));
        Some(port)
    });
    let ac_name = table.or("ac-name", name.to_owned(), value::bounded(1..=255));
    let service_names = table.or("service-names", Vec::new(), value::list(value::bounded(1..=255)));
    let pool = table.required("pool", "pool = \"100.64.0.0/16\"", |node| {
        let pool = value::network_cidr(node)?;
        if !(8..=30).contains(&pool.prefix) {
            let message =
                format!("`pool`: a prefix length of {} is out of range; it may be 8 to 30", pool.prefix);
            return node.fail(message, "a /30 serves one subscriber besides our own address");
        }
        let net = Net::new(&format!("concentrator.{name}"), IpCidr::V4(pool), &node.span());
        cx.facts.borrow_mut().networks.push(net);
        Some(pool)
    });
    let address = address(table, pool);
    let most = pool.zip(address).map_or(MOST_SESSIONS, |(pool, address)| capacity(pool, address));
    let sessions = table.or("sessions", most, |node| {
        let sessions = value::integer(1..=MOST_SESSIONS)(node)?;
        if sessions > most {
            let message =
                format!("`sessions`: {sessions} sessions, but the pool has only {most} addresses for them");
            return node.fail(message, "widen `pool` or lower `sessions`");
        }
        Some(sessions)
    });
    let sessions_per_mac = table.or("sessions-per-mac", 8, value::integer(1..=MOST_SESSIONS));
    let prefix_pool = table.sub("prefix-pool", |t| prefix_pool(t, name, cx));
    let dns = table.or("dns", Vec::new(), |node| {
        let servers = value::list(value::ip)(node)?;
        let ipv4 = servers.iter().filter(|server| server.is_ipv4()).count();
        if ipv4.max(servers.len() - ipv4) > 2 {
            let help = "keep the two that answer best";
            let message = "`dns`: subscribers can be told two servers of each family at most (RFC 1877)";
            return node.fail(message, help);
        }
        if ipv4 < servers.len() && !table.has("prefix-pool") {
            let help =
                "add prefix-pool = { prefix = \"2001:db8::/32\", delegate = 56 }, or leave those of IPv6 out";
            node.sink.absence(&node.span(), "`dns`: subscribers without IPv6 reach no server of IPv6", help);
        }
        Some(servers)
    });
    let authentication = table.or("authentication", wan::default_authentication(), wan::authentication);
    let mtu = table.or("mtu", wan::DEFAULT_MTU, value::integer(576..=1500));
    let echo = wan::echo(table);
    let users = table.required("users-file", "users-file = \"/etc/genkan/users.toml\"", |node| {
        users::load(node, users::Ours { address, prefix_pool }, cx)
    });
    Some(Concentrator {
        name: name.to_owned(),
        port: port?,
        ac_name,
        service_names,
        pool: pool?,
        address: address?,
        prefix_pool: prefix_pool.flatten(),
        dns,
        authentication,
        mtu,
        echo,
        sessions,
        sessions_per_mac,
        users: users?,
    })
}

/// The address on our side of every session.
fn address(table: &Table, pool: Option<Ipv4Cidr>) -> Option<Ipv4Addr> {
    let first = pool.map(|pool| Ipv4Addr::from(pool.network().to_bits().saturating_add(1)));
    let Some(node) = table.get("address") else { return first };
    let address = value::ipv4(node)?;
    let Some((pool, first)) = pool.zip(first) else { return Some(address) };
    if address == pool.network() || Some(address) == pool.broadcast() {
        let message = format!("`address`: {address} is the pool's network or broadcast address");
        return node.fail(message, format!("write \"{first}\", or leave the key out"));
    }
    Some(address)
}

/// How many subscribers can have an address.
fn capacity(pool: Ipv4Cidr, ours: Ipv4Addr) -> u32 {
    let hosts = 2u32.saturating_pow(32 - u32::from(pool.prefix)) - 2;
    (hosts - u32::from(pool.contains(ours))).min(MOST_SESSIONS)
}

fn prefix_pool(table: &Table, concentrator: &str, cx: &Cx) -> Option<PrefixPool> {
    let prefix = table.required("prefix", "prefix = \"2001:db8::/32\"", |node| {
        let prefix = value::ipv6_prefix(node)?;
        if prefix.prefix > 64 {
            let message = format!("`prefix`: a /{} has no prefix to delegate", prefix.prefix);
            return node.fail(message, "a subscriber's LAN takes a /64; write a shorter one, such as a /48");
        }
        let net = Net::new(&format!("concentrator.{concentrator}"), IpCidr::V6(prefix), &node.span());
        cx.facts.borrow_mut().networks.push(net);
        Some(prefix)
    });
    let delegate = table.or("delegate", 56, value::integer(32..=64));
    let prefix = prefix?;
    if prefix.prefix > delegate {
        let message = format!("`delegate`: a /{delegate} does not fit into the pool's /{}", prefix.prefix);
        table.sink.error(&table.span_of("delegate"), message, format!("it may be {} to 64", prefix.prefix));
        return None;
    }
    Some(PrefixPool { prefix, delegate })
}
