//! `[nat]` and `[[port-forward]]`.

use std::time::Duration;

use genkan_netstack::settings::{Filtering, Nat, Timeouts, Transport};

use super::Cx;
use super::across::Forward;
use crate::reader::Table;
use crate::schema::PortForward;
use crate::value;

const FILTERING: &[(&str, Filtering)] = &[
    ("address-and-port-dependent", Filtering::AddressAndPortDependent),
    ("address-dependent", Filtering::AddressDependent),
    ("endpoint-independent", Filtering::EndpointIndependent),
];

const TRANSPORTS: &[(&str, Transport)] = &[("tcp", Transport::Tcp), ("udp", Transport::Udp)];

pub(super) fn read(table: &Table) -> Nat {
    let default = Nat::default();
    table.hint(
        "mapping",
        "mapping is always endpoint-independent (RFC 4787 REQ-1); `filtering` can be chosen",
    );
    table.hint("hairpin", "hairpinning is always on (RFC 4787 REQ-9); delete the line");
    let nat = Nat {
        filtering: table.or("filtering", default.filtering, value::one_of(FILTERING)),
        flows_per_host: table.or("flows-per-host", default.flows_per_host, value::integer(16..=16_777_216)),
        flows: table.or("flows", default.flows, value::integer(16..=16_777_216)),
        timeouts: table.sub("timeouts", timeouts).unwrap_or(default.timeouts),
    };
    if nat.flows_per_host > nat.flows {
        let key = if table.has("flows-per-host") { "flows-per-host" } else { "flows" };
        let message =
            format!("`flows-per-host` is {}, more than all `flows`, {}", nat.flows_per_host, nat.flows);
        table.sink.error(&table.span_of(key), message, "one host must not fill the table");
    }
    nat
}

fn timeouts(table: &Table) -> Timeouts {
    let default = Timeouts::default();
    let read = |key: &'static str, default: Duration, least: Duration, rule: &str| {
        let sane = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
        table.or(key, default, |node| {
            let timeout = value::duration(sane, "1s to 30d")(node)?;
            if timeout < least {
                let message = format!("`{key}`: flows end sooner than {rule} allows, {} s", least.as_secs());
                table.sink.warning(&node.span(), message, "idle connections may break");
            }
            Some(timeout)
        })
    };
    let seconds = Duration::from_secs;
    Timeouts {
        tcp_closing: default.tcp_closing,
        udp: read("udp", default.udp, seconds(120), "RFC 4787 REQ-5"),
        tcp_established: read("tcp-established", default.tcp_established, seconds(7440), "RFC 5382 REQ-5"),
        tcp_transitory: read("tcp-transitory", default.tcp_transitory, seconds(240), "RFC 5382 REQ-5"),
        icmp: read("icmp", default.icmp, seconds(60), "RFC 5508 REQ-2"),
        other: read("other", default.other, Duration::ZERO, ""),
    }
}

pub(super) fn port_forward(table: &Table, cx: &Cx) -> Option<PortForward> {
    let wan = table.required("wan", "wan = \"isp\"", |node| cx.wan(node));
    let protocol = table.required("protocol", "protocol = \"tcp\"", value::one_of(TRANSPORTS));
    let port = table.required("port", "port = 8443", value::integer(1..=u16::MAX));
    let to = table.required("to", "to = \"192.168.1.10:443\"", value::endpoint);
    if let Some((to, _)) = to {
        cx.facts.borrow_mut().targets.push((to, table.span_of("to")));
    }
    if let Some(wan) = &wan {
        cx.facts.borrow_mut().ipv4_users.push((wan.clone(), table.span_of("wan")));
    }
    let (wan, protocol, port, (to, to_port)) = (wan?, protocol?, port?, to?);
    cx.facts.borrow_mut().forwards.push(Forward {
        wan: wan.clone(),
        protocol,
        port,
        span: table.span_of("port"),
    });
    Some(PortForward { wan, protocol, port, to, to_port })
}
