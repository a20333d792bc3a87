//! `[[filter]]`.

use genkan_netstack::settings::{Action, Network, RuleProtocol};
use toml::de::DeValue;

use super::Cx;
use crate::reader::{Node, Table};
use crate::schema::{Filter, Zone};
use crate::value;

const ZONES: &[(&str, Zone)] = &[
    ("any", Zone::Any),
    ("lan", Zone::Lan),
    ("wan", Zone::Wan),
    ("concentrator", Zone::Concentrator),
    ("router", Zone::Router),
    ("vpn", Zone::Vpn),
];

const ACTIONS: &[(&str, Action)] =
    &[("accept", Action::Accept), ("drop", Action::Drop), ("reject", Action::Reject)];

const PROTOCOLS: &[(&str, RuleProtocol)] = &[
    ("any", RuleProtocol::Any),
    ("tcp", RuleProtocol::Tcp),
    ("udp", RuleProtocol::Udp),
    ("icmp", RuleProtocol::Icmp),
    ("icmpv6", RuleProtocol::Number(58)),
    ("gre", RuleProtocol::Number(47)),
    ("esp", RuleProtocol::Number(50)),
    ("ah", RuleProtocol::Number(51)),
];

pub(super) fn read(table: &Table, cx: &Cx) -> Option<Filter> {
    let from = table.or("from", Zone::Any, value::one_of(ZONES));
    let to = table.or("to", Zone::Any, value::one_of(ZONES));
    let protocol = table.optional("protocol", protocol);
    let ports = table.or("port", Vec::new(), |node| match node.value() {
        DeValue::Array(_) => value::list(value::port_range)(node),
        _ => value::port_range(node).map(|range| vec![range]),
    });
    let has_ports = matches!(protocol, Some(RuleProtocol::Tcp | RuleProtocol::Udp));
    let protocol_is_wrong = table.has("protocol") && protocol.is_none();
    if table.has("port") && !has_ports && !protocol_is_wrong {
        let help = "add protocol = \"tcp\" or protocol = \"udp\"";
        table.sink.absence(&table.span_of("port"), "`port`: only TCP and UDP have ports", help);
    }
    let source = table.optional("source", value::network);
    let destination = table.optional("destination", value::network);
    if let (Some(a), Some(b)) = (source, destination)
        && is_ipv4(a) != is_ipv4(b)
    {
        let message = "`source` and `destination` are of different families: the rule can never match";
        table.sink.error(&table.span_of("destination"), message, "write one rule for each family");
    }
    let action = table.required("action", "action = \"accept\"", value::one_of(ACTIONS));
    let protocol = protocol.unwrap_or(RuleProtocol::Any);
    let line = cx.line(&table.span);
    Some(Filter { from, to, protocol, ports, source, destination, action: action?, line })
}

/// A protocol by its name or number.
fn protocol(node: Node) -> Option<RuleProtocol> {
    match node.value() {
        DeValue::Integer(_) => value::integer(0..=255)(node).map(|number: u8| match number {
            1 => RuleProtocol::Icmp,
            6 => RuleProtocol::Tcp,
            17 => RuleProtocol::Udp,
            number => RuleProtocol::Number(number),
        }),
        _ => value::one_of(PROTOCOLS)(node),
    }
}

fn is_ipv4(network: Network) -> bool {
    matches!(network, Network::V4(_))
}
