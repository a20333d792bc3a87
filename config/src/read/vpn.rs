//! `[vpn.NAME]`.

use std::time::Duration;

use super::across::Net;
use super::{Cx, secret};
use crate::reader::{Form, Node, Table};
use crate::schema::{Bridge, IpCidr, Peer, Vpn};
use crate::value;

pub(super) fn read(name: &str, table: &Table, cx: &Cx) -> Option<Vpn> {
    let private_key =
        table.required("private-key-file", "private-key-file = \"/etc/genkan/friends.key\"", |node| {
            let key = secret::load(node, cx)?;
            if std::str::from_utf8(key.expose()).is_ok_and(value::is_wireguard_key) {
                return Some(key);
            }
            let message = format!("`{}`: the file holds no WireGuard key: 32 octets in base64", node.key);
            node.fail(message, "make one with: wg genkey")
        });
    let listen_port = table.or("listen-port", 51_820, value::integer(1..=u16::MAX));
    let address = table.required("address", "address = \"10.77.0.1/24\"", value::host_cidr);
    if let Some(cidr) = address {
        let span = table.span_of("address");
        cx.facts.borrow_mut().networks.push(Net::new(&format!("vpn.{name}"), IpCidr::V4(cidr), &span));
    }
    let bridge = table.sub("bridge", |t| bridge(t, cx)).flatten();
    let peers: Vec<Option<Peer>> = (table.each("peer").into_iter())
        .map(|node| node.table(&format!("vpn.{name}.peer"), peer).flatten())
        .collect();
    let peers: Option<Vec<Peer>> = peers.into_iter().collect();
    Some(Vpn {
        name: name.to_owned(),
        private_key: private_key?,
        listen_port,
        address: address?,
        bridge,
        peers: peers?,
    })
}

fn bridge(table: &Table, cx: &Cx) -> Option<Bridge> {
    let lan = table.required("lan", "lan = \"home\"", |node| cx.lan(node));
    let vni = table.required("vni", "vni = 42", value::integer(1..=0x00ff_ffff));
    Some(Bridge { lan: lan?, vni: vni? })
}

fn peer(table: &Table) -> Option<Peer> {
    let public_key = table.required("public-key", "public-key = \"…\"", |node| {
        const EXPECTED: Form = Form::new(
            "a WireGuard key",
            "\"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\", as wg pubkey prints it",
        );
        let key = value::str(&node, &EXPECTED)?;
        if value::is_wireguard_key(key) { Some(key.to_owned()) } else { node.mismatch(&EXPECTED) }
    });
    let endpoint = table.optional("endpoint", endpoint);
    let allowed_ips =
        table.required("allowed-ips", "allowed-ips = [\"10.77.0.2/32\"]", value::list(value::ip_cidr));
    let keepalive = Duration::from_secs(1)..=Duration::from_secs(65_535);
    let keepalive = table.optional("keepalive", value::duration(keepalive, "1s to 65535s"));
    Some(Peer { public_key: public_key?, endpoint, allowed_ips: allowed_ips?, keepalive })
}

/// A host by name or address, and its port.
fn endpoint(node: Node) -> Option<String> {
    const EXPECTED: Form = Form::new("a host and a port", "\"friend.example:51820\"");
    let text = value::str(&node, &EXPECTED)?;
    let good = (text.rsplit_once(':'))
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if good { Some(text.to_owned()) } else { node.mismatch(&EXPECTED) }
}
