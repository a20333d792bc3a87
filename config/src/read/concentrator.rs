//! `[concentrator.NAME]`.

use std::net::Ipv4Addr;

use genkan_netstack::id::Ipv4Cidr;

use super::across::{Net, Use, User};
use super::{Cx, users, wan};
use crate::reader::Table;
use crate::schema::{Concentrator, PrefixPool};
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
        cx.facts.borrow_mut().networks.push(Net::new(&format!("concentrator.{name}"), pool, &node.span()));
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
    let prefix_pool = table.sub("prefix-pool", prefix_pool).flatten();
    let dns = table.or("dns", Vec::new(), |node| {
        let servers = value::list(value::ipv4)(node)?;
        if servers.len() > 2 {
            let help = "keep the two that answer best";
            return node.fail("`dns`: subscribers can be told two servers at most (RFC 1877)", help);
        }
        Some(servers)
    });
    let authentication = table.or("authentication", wan::default_authentication(), wan::authentication);
    let mtu = table.or("mtu", wan::DEFAULT_MTU, value::integer(576..=1500));
    let echo = wan::echo(table);
    let users = table.required("users-file", "users-file = \"/etc/genkan/users.toml\"", |node| {
        users::load(node, address, cx)
    });
    Some(Concentrator {
        name: name.to_owned(),
        port: port?,
        ac_name,
        service_names,
        pool: pool?,
        address: address?,
        prefix_pool,
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

fn prefix_pool(table: &Table) -> Option<PrefixPool> {
    let prefix = table.required("prefix", "prefix = \"2001:db8::/32\"", value::ipv6_prefix);
    let delegate = table.or("delegate", 56, value::integer(32..=64));
    let (prefix, length) = prefix?;
    if length > delegate {
        let message = format!("`delegate`: a /{delegate} does not fit into the pool's /{length}");
        table.sink.error(&table.span_of("delegate"), message, format!("it may be {length} to 64"));
    }
    Some(PrefixPool { prefix, length, delegate })
}
