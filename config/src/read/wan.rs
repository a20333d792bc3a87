//! `[wan.NAME]`.

use std::time::Duration;

use genkan_netstack::settings::{
    Authentication, Echo, PppoeClient, PrefixRequest, StaticIpv4, StaticIpv6, StaticUplink,
};

use super::across::{Use, User, WanFacts};
use super::{Cx, secret};
use crate::reader::{Node, Table};
use crate::schema::{Uplink, Wan};
use crate::value;

const AUTHENTICATION: &[(&str, Authentication)] = &[
    ("chap-md5", Authentication::ChapMd5),
    ("ms-chap-v2", Authentication::MsChapV2),
    ("pap", Authentication::Pap),
];

/// Largest MTU of a PPPoE session that needs no RFC 4638 (RFC 2516 §7).
pub(super) const DEFAULT_MTU: u16 = 1492;

pub(super) fn read(name: &str, table: &Table, cx: &Cx) -> Option<Wan> {
    let port = table.required("port", "port = \"wan0\"", |node| {
        let port = cx.port(node)?;
        let used = || Use::new(&port, &node.span(), User::Wan(name.to_owned()));
        let mut facts = cx.facts.borrow_mut();
        facts.uses.push(used());
        if !table.has("pppoe") {
            facts.plain.push(used());
        }
        drop(facts);
        Some(port)
    });
    let uplink = uplink(table, cx);
    let ipv4 = table.or("ipv4", true, value::boolean);
    let ipv6 = table.or("ipv6", false, value::boolean);
    if !ipv4 && !ipv6 {
        let help = "set ipv4 = true or ipv6 = true, or delete the table";
        table.sink.error(&table.span_of("ipv4"), format!("`wan.{name}` carries neither IPv4 nor IPv6"), help);
    }
    let delegation = table.optional("prefix-delegation", |node| {
        let path = table.path_of("prefix-delegation");
        let length = node.table(&path, |t| t.optional("length", value::integer(32..=64)))?;
        if !ipv6 {
            node.sink.absence(&node.span(), "`prefix-delegation` needs IPv6", "add ipv6 = true");
        }
        Some(PrefixRequest { length })
    });
    for (wrong, help) in [
        ("username", "did you mean `pppoe.username`?"),
        ("password-file", "did you mean `pppoe.password-file`?"),
        ("mtu", "did you mean `pppoe.mtu`?"),
        ("authentication", "did you mean `pppoe.authentication`?"),
        ("password", SECRETS_ARE_FILES),
    ] {
        table.hint(wrong, help);
    }
    let prefix_length = delegation.and_then(|request| request.length);
    cx.facts.borrow_mut().wans.push(WanFacts { name: name.to_owned(), ipv4, ipv6, prefix_length });
    Some(Wan {
        name: name.to_owned(),
        port: port?,
        uplink: uplink?,
        ipv4,
        ipv6,
        prefix_delegation: delegation,
    })
}

const SECRETS_ARE_FILES: &str =
    "passwords are not written in this file: name a file of mode 0600 with `pppoe.password-file`";

/// Exactly one of `pppoe`, `dhcp = true` and `static`.
fn uplink(table: &Table, cx: &Cx) -> Option<Uplink> {
    let session = table.sub("pppoe", |t| pppoe(t, cx)).flatten().map(Uplink::Pppoe);
    let by_dhcp = table.optional("dhcp", value::boolean);
    let fixed = table.sub("static", fixed).flatten();
    let pppoe = table.has("pppoe").then_some(session);
    // `dhcp = false` is as good as nothing.
    let dhcp = (table.has("dhcp") && by_dhcp != Some(false)).then_some(by_dhcp.map(|_| Uplink::Dhcp));
    let fixed = table.has("static").then_some(fixed);
    match (pppoe, dhcp, fixed) {
        (Some(only), None, None) | (None, Some(only), None) | (None, None, Some(only)) => only,
        (None, None, None) => {
            let help = "add pppoe.username and pppoe.password-file (or dhcp = true, or static = { … })";
            table.sink.absence(
                &table.span,
                format!("`{}` does not say how it gets its address", table.path),
                help,
            );
            None
        }
        _ => {
            let help = "leave one of `pppoe`, `dhcp` and `static`";
            table.sink.error(&table.span, format!("`{}` gets its address in several ways", table.path), help);
            None
        }
    }
}

fn pppoe(table: &Table, cx: &Cx) -> Option<PppoeClient> {
    let username =
        table.required("username", "pppoe.username = \"user@isp.example\"", value::bounded(1..=255));
    let password =
        table.required("password-file", "pppoe.password-file = \"/etc/genkan/isp.secret\"", |node| {
            secret::load(node, cx)
        });
    let service_name = table.or("service-name", String::new(), value::bounded(0..=255));
    let ac_name = table.optional("ac-name", value::bounded(1..=255));
    let host_uniq = table.optional("host-uniq", |node| {
        let octets = value::hex(node)?;
        // The whole PADI has at most 1484 octets (RFC 2516 §5.1).
        if !(1..=1024).contains(&octets.len()) {
            let message = format!("`host-uniq` has {} octets", octets.len());
            return node.fail(message, "it may have 1 to 1024");
        }
        Some(octets)
    });
    let authentication = table.or("authentication", default_authentication(), authentication);
    let mtu = table.or("mtu", DEFAULT_MTU, value::integer(576..=1500));
    let echo = echo(table);

    table.hint("password", SECRETS_ARE_FILES);
    table.hint("user", "did you mean `username`?");
    Some(PppoeClient {
        username: username?,
        password: password?,
        service_name: service_name.into_bytes(),
        ac_name: ac_name.map(String::into_bytes),
        host_uniq,
        authentication,
        mtu,
        echo,
    })
}

/// Every protocol, the strongest that is widely used first.
pub(super) fn default_authentication() -> Vec<Authentication> {
    AUTHENTICATION.iter().map(|(_, protocol)| *protocol).collect()
}

/// A list of authentication protocols, not empty, each once.
pub(super) fn authentication(node: Node) -> Option<Vec<Authentication>> {
    let protocols = value::list(value::one_of(AUTHENTICATION))(node)?;
    if protocols.is_empty() {
        let help = "leave the key out to allow \"chap-md5\", \"ms-chap-v2\" and \"pap\"";
        return node.fail("`authentication` is empty: no protocol would do", help);
    }
    let twice = protocols.iter().enumerate().any(|(i, p)| protocols.iter().take(i).any(|q| q == p));
    if twice {
        return node.fail("`authentication` names a protocol twice", "delete one of them");
    }
    Some(protocols)
}

/// LCP keepalive, under the key `echo`.
pub(super) fn echo(table: &Table) -> Echo {
    let default = Echo::default();
    let interval = Duration::from_secs(1)..=Duration::from_secs(3600);
    let echo = table.sub("echo", |t| Echo {
        interval: t.or("interval", default.interval, value::duration(interval, "1s to 1h")),
        failures: t.or("failures", default.failures, value::integer(1..=255)),
    });
    echo.unwrap_or(default)
}

/// `address` and `gateway`, `address6` and `gateway6`, or both pairs.
fn fixed(table: &Table) -> Option<Uplink> {
    let has_ipv6 = ["address6", "gateway6", "prefix6"].iter().any(|key| table.has(key));
    let has_ipv4 = table.has("address") || table.has("gateway") || !has_ipv6;
    let ipv4 = has_ipv4.then(|| fixed_ipv4(table)).flatten();
    let ipv6 = has_ipv6.then(|| fixed_ipv6(table)).flatten();
    let dns = table.or("dns", Vec::new(), value::list(value::ip));
    if (has_ipv4 && ipv4.is_none()) || (has_ipv6 && ipv6.is_none()) {
        return None;
    }
    Some(Uplink::Static(StaticUplink { ipv4, ipv6, dns }))
}

fn fixed_ipv4(table: &Table) -> Option<StaticIpv4> {
    let address = table.required("address", "address = \"203.0.113.2/24\"", value::host_cidr);
    let gateway = table.required("gateway", "gateway = \"203.0.113.1\"", value::ipv4);
    let (address, gateway) = (address?, gateway?);
    if !address.contains(gateway) || gateway == address.address {
        let what = if address.contains(gateway) { "is our own address" } else { "is not in our network" };
        let help = format!("it is another host of {}/{}", address.network(), address.prefix);
        table.sink.error(&table.span_of("gateway"), format!("`gateway`: {gateway} {what}"), help);
    }
    Some(StaticIpv4 { address, gateway })
}

fn fixed_ipv6(table: &Table) -> Option<StaticIpv6> {
    let address = table.required("address6", "address6 = \"2001:db8::2/64\"", value::host_cidr6);
    let gateway = table.required("gateway6", "gateway6 = \"2001:db8::1\"", value::ipv6);
    let prefix = table.optional("prefix6", value::ipv6_prefix);
    let (address, gateway) = (address?, gateway?);
    if gateway == address.address || !(address.contains(gateway) || gateway.is_unicast_link_local()) {
        let ours = gateway == address.address;
        let what = if ours { "is our own address" } else { "is not in our network" };
        let help = format!("it is another host of {}, or one of fe80::/10", address.network());
        table.sink.error(&table.span_of("gateway6"), format!("`gateway6`: {gateway} {what}"), help);
    }
    Some(StaticIpv6 { address, gateway, prefix })
}
