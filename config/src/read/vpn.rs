//! `[vpn.NAME]`.

use std::time::Duration;

use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use genkan_netstack::settings::VpnPeer;
use genkan_netstack::tunnel::wireguard::{PresharedKey, PrivateKey};
use toml::de::DeValue;
use zeroize::Zeroizing;

use super::across::Net;
use super::{Cx, secret};
use crate::reader::{Form, Node, Table, is_name};
use crate::report::Span;
use crate::schema::{Bridge, Vpn};
use crate::tunnel::{self, Facts, PeerFacts, Wrong};
use crate::{key, value};

pub(super) fn read(name: &str, table: &Table, cx: &Cx) -> Option<Vpn> {
    let private_key =
        table.required("private-key-file", "private-key-file = \"/etc/genkan/friends.key\"", |node| {
            let help = "make one with: genkan vpn keygen --out FILE";
            Some(PrivateKey::new(*key_file(node, help, cx)?))
        });
    let listen_port = match table.get("listen-port") {
        Some(node) => value::integer(1..=u16::MAX)(node),
        None => Some(tunnel::DEFAULT_PORT),
    };
    let addresses = table.required("address", "address = \"10.77.0.1/24\"", |node| addresses(node, name, cx));
    let (ipv4, ipv6) = addresses.unwrap_or_default();
    let mtu = table.optional("mtu", |node| {
        let mtu = value::integer(tunnel::MTU)(node)?;
        if ipv6.is_some() && mtu < tunnel::IPV6_MTU {
            let help = format!("write at least {}", tunnel::IPV6_MTU);
            return node.fail(format!("`mtu`: {mtu} is too small for IPv6"), help);
        }
        Some(mtu)
    });
    let masquerade = table.or("masquerade", false, |node| {
        let masquerade = value::boolean(node)?;
        if masquerade && addresses.is_some() && ipv4.is_none() {
            let help = "add an IPv4 address to `address`, or delete the line: IPv6 is not translated";
            return node.fail("`masquerade`: there is no IPv4 address to put on".to_owned(), help);
        }
        Some(masquerade)
    });
    let mut vni = None;
    let bridge = table.sub("bridge", |t| bridge(t, &mut vni, cx)).flatten();
    let mut facts = Facts {
        name: name.to_owned(),
        public_key: private_key.as_ref().map(PrivateKey::public),
        listen_port,
        listen_port_span: table.span_of("listen-port"),
        addresses: ipv4.map(IpCidr::V4).into_iter().chain(ipv6.map(IpCidr::V6)).collect(),
        vni,
        is_bridged: table.has("bridge"),
        peers: Vec::new(),
    };
    let peers: Vec<Option<VpnPeer>> = (table.each("peer").into_iter())
        .map(|node| {
            let read = |t: &Table| {
                let mut noted = PeerFacts::default();
                let peer = peer(t, &mut noted, cx);
                facts.peers.push(noted);
                peer
            };
            node.table(&format!("vpn.{name}.peer"), read).flatten()
        })
        .collect();
    cx.facts.borrow_mut().vpns.push(facts);
    let peers: Option<Vec<VpnPeer>> = peers.into_iter().collect();
    addresses?;
    Some(Vpn {
        name: name.to_owned(),
        private_key: private_key?,
        listen_port: listen_port?,
        ipv4,
        ipv6,
        mtu,
        masquerade,
        bridge,
        peers: peers?,
    })
}

/// The key in the file that `node` names.
fn key_file(node: Node, help: &str, cx: &Cx) -> Option<Zeroizing<[u8; 32]>> {
    let text = secret::load(node, cx)?;
    match key::parse(text.expose()) {
        Some(key) if *key == [0; 32] => {
            node.fail(format!("`{}`: the key in the file is all zeros", node.key), help)
        }
        Some(key) => Some(key),
        None => {
            let message = format!("`{}`: the file holds no WireGuard key: 32 octets in base64", node.key);
            node.fail(message, help)
        }
    }
}

/// One address, or a list of one of each family.
fn addresses(node: Node, vpn: &str, cx: &Cx) -> Option<(Option<Ipv4Cidr>, Option<Ipv6Cidr>)> {
    const EXPECTED: Form = Form::new("an address with its prefix length", "\"10.77.0.1/24\"");
    const BOTH: &str = "it may be one of each family: [\"10.77.0.1/24\", \"fd00:77::1/64\"]";
    let items = match node.value() {
        DeValue::Array(_) => node.items()?,
        _ => vec![node],
    };
    if items.is_empty() {
        return node.fail(format!("`{}` must not be empty", node.key), BOTH);
    }
    let (mut ipv4, mut ipv6, mut right) = (None, None, true);
    for item in items {
        let Some(cidr) = parsed(item, &EXPECTED, tunnel::address) else {
            right = false;
            continue;
        };
        let family = match cidr {
            IpCidr::V4(cidr) => ipv4.replace(cidr).map(|_| "IPv4"),
            IpCidr::V6(cidr) => ipv6.replace(cidr).map(|_| "IPv6"),
        };
        if let Some(family) = family {
            right = false;
            item.fail::<()>(format!("`{}`: a second {family} address", node.key), BOTH);
        }
        cx.facts.borrow_mut().networks.push(Net::new(&format!("vpn.{vpn}"), cidr, &item.span()));
    }
    right.then_some((ipv4, ipv6))
}

fn bridge(table: &Table, noted: &mut Option<(u32, Span)>, cx: &Cx) -> Option<Bridge> {
    let lan = table.required("lan", "lan = \"home\"", |node| cx.lan(node));
    let vni = table.required("vni", "vni = 42", value::integer(1..=0x00ff_ffff));
    let ra_guard = table.or("ra-guard", true, value::boolean);
    let isolate_dhcp = table.or("isolate-dhcp", false, value::boolean);
    let suppress = table.or("suppress", true, value::boolean);
    let hub = table.or("hub", false, value::boolean);
    *noted = vni.map(|vni| (vni, table.span_of("vni")));
    Some(Bridge { lan: lan?, vni: vni?, ra_guard, isolate_dhcp, suppress, hub })
}

fn peer(table: &Table, noted: &mut PeerFacts, cx: &Cx) -> Option<VpnPeer> {
    let name = table.optional("name", name);
    let public_key = table.required("public-key", "public-key = \"…\"", |node| {
        const EXPECTED: Form = Form::new("a WireGuard key", key::EXAMPLE);
        let key = parsed(node, &EXPECTED, tunnel::public_key)?;
        noted.public_key = Some((key, node.span()));
        Some(key)
    });
    let preshared_key = table.optional("preshared-key-file", |node| {
        let help = "make one with: genkan vpn keygen --preshared --out FILE";
        Some(PresharedKey::new(*key_file(node, help, cx)?))
    });
    let endpoint = table.optional("endpoint", |node| {
        const EXPECTED: Form = Form::new("a host and a port", "\"friend.example:51820\"");
        parsed(node, &EXPECTED, tunnel::endpoint)
    });
    let allowed_ips = table.required("allowed-ips", "allowed-ips = [\"10.77.0.2/32\"]", |node| {
        const EXPECTED: Form = Form::new("a network", "\"10.77.0.2/32\" or \"2001:db8::/32\"");
        let networks = node.items()?.into_iter().map(|item| {
            let network = parsed(item, &EXPECTED, tunnel::allowed)?;
            noted.allowed.push((network, item.span()));
            Some(network)
        });
        // All of them are read, whichever is wrong.
        let networks: Vec<Option<IpCidr>> = networks.collect();
        let networks: Vec<IpCidr> = networks.into_iter().collect::<Option<_>>()?;
        noted.allowed_span = Some(node.span());
        Some(networks)
    });
    let keepalive = Duration::from_secs(1)..=Duration::from_secs(65_535);
    let keepalive = table.optional("keepalive", value::duration(keepalive, "1s to 65535s"));
    noted.own_name = name.as_ref().map(|_| table.span_of("name"));
    noted.name = (name.clone())
        .or_else(|| public_key.map(key::nickname))
        .unwrap_or_else(|| "without a name".to_owned());
    Some(VpnPeer {
        name: noted.name.clone(),
        public_key: public_key?,
        preshared_key,
        endpoint,
        allowed_ips: allowed_ips?,
        keepalive,
    })
}

/// A peer's name, as tables have them.
fn name(node: Node) -> Option<String> {
    let name = value::str(&node, &Form::new("a name", "\"anna\""))?;
    if is_name(name) {
        return Some(name.to_owned());
    }
    let help = "a name is of up to 32 letters, digits, `-` and `_`";
    node.fail(format!("`name`: {name:?} cannot be the name of a peer"), help)
}

/// What the string that `node` must be stands for.
fn parsed<T>(node: Node, form: &Form, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
    match parse(value::str(&node, form)?) {
        Ok(value) => Some(value),
        Err(wrong) => node.fail(format!("`{}`: {}", node.key, wrong.what), wrong.help),
    }
}
