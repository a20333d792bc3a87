//! What a WireGuard interface is made of, whichever kind of file it is written in: the values that have a form of their
//! own, and what its peers must not have in common. `read::vpn` reads TOML, `wg_quick` the files of others; both complain
//! in the same words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use genkan_netstack::settings::Endpoint;
use genkan_netstack::tunnel::wireguard::PublicKey;

use crate::key;
use crate::report::{Sink, Span};
use crate::value::{is_domain, parse_cidr, why_not_unicast, why_not_unicast6};

/// The UDP port of a VPN that names none.
pub(crate) const DEFAULT_PORT: u16 = 51_820;
/// Smallest and largest packet inside, in octets (RFC 791 §3.2: what every host takes; a jumbo frame).
pub(crate) const MTU: std::ops::RangeInclusive<u16> = 576..=9000;
/// Smallest MTU for IPv6 (RFC 8200 §5).
pub(crate) const IPV6_MTU: u16 = 1280;

/// Why a value is not what it should be, to follow the name of its key and a colon; and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) help: String,
}

fn wrong<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { what: what.into(), help: help.into() })
}

/// A peer's public key.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, Wrong> {
    let help = || format!("write it like {}, as `genkan vpn pubkey` prints it", key::EXAMPLE);
    match key::parse(text.as_bytes()) {
        Some(key) if *key == [0; 32] => wrong("this key is all zeros; nobody has it", help()),
        Some(key) => Ok(PublicKey(*key)),
        None => wrong(format!("expected a WireGuard key, found {text:?}"), help()),
    }
}

/// Our own address inside, with the prefix length of the network there: a single address, too, may be all there is.
pub(crate) fn address(text: &str) -> Result<IpCidr, Wrong> {
    const EXPECTED: &str = "an address with its prefix length";
    match parse_cidr(text) {
        Some(cidr) => address_of(cidr),
        None => match text.parse() {
            Ok(IpAddr::V4(address)) => wrong(
                format!("expected {EXPECTED}, found {text:?}"),
                format!("add the prefix length: \"{address}/24\""),
            ),
            Ok(IpAddr::V6(address)) => wrong(
                format!("expected {EXPECTED}, found {text:?}"),
                format!("add the prefix length: \"{address}/64\""),
            ),
            Err(_) => wrong(
                format!("expected {EXPECTED}, found {text:?}"),
                "write it like \"10.77.0.1/24\" or \"fd00:77::1/64\"",
            ),
        },
    }
}

/// The same, of what has the form already.
pub(crate) fn address_of(cidr: IpCidr) -> Result<IpCidr, Wrong> {
    match cidr {
        IpCidr::V4(cidr) => {
            if let Some(why) = why_not_unicast(cidr.address) {
                return wrong(
                    format!("{} {why}; no host can have it", cidr.address),
                    "write an address like \"10.77.0.1/24\"",
                );
            }
            if cidr.prefix < 8 {
                let help = format!("write \"{}/24\"", cidr.address);
                return wrong(format!("/{} is larger than any network of hosts", cidr.prefix), help);
            }
            let first = Ipv4Addr::from(cidr.network().to_bits().saturating_add(1));
            let help = format!("write \"{first}/{}\"", cidr.prefix);
            if cidr.prefix < 31 && cidr.address == cidr.network() {
                return wrong(format!("{} is the network itself, not a host in it", cidr.address), help);
            }
            if cidr.broadcast() == Some(cidr.address) {
                return wrong(format!("{} is the network's broadcast address", cidr.address), help);
            }
        }
        IpCidr::V6(cidr) => {
            if let Some(why) = why_not_unicast6(cidr.address) {
                return wrong(
                    format!("{} {why}; no host can have it", cidr.address),
                    "write an address like \"fd00:77::1/64\"",
                );
            }
            if cidr.prefix < 8 {
                let help = format!("write \"{}/64\"", cidr.address);
                return wrong(format!("/{} is larger than any network of hosts", cidr.prefix), help);
            }
            if cidr.prefix < 127 && cidr == cidr.network() {
                let first = Ipv6Addr::from(cidr.address.to_bits() | 1);
                let help = format!("write \"{first}/{}\"", cidr.prefix);
                return wrong(format!("{} is the network itself, not a host in it", cidr.address), help);
            }
        }
    }
    Ok(cidr)
}

/// A network behind a peer.
pub(crate) fn allowed(text: &str) -> Result<IpCidr, Wrong> {
    let Some(cidr) = parse_cidr(text) else {
        let found = format!("expected a network, found {text:?}");
        return match text.parse::<IpAddr>() {
            Ok(address) => wrong(
                found,
                format!(
                    "for this host alone, write \"{address}/{}\"",
                    if address.is_ipv4() { 32 } else { 128 }
                ),
            ),
            Err(_) => wrong(found, "write it like \"10.77.0.2/32\" or \"2001:db8::/32\""),
        };
    };
    let network = network_of(cidr);
    if network == cidr {
        return Ok(cidr);
    }
    let host = match cidr {
        IpCidr::V4(cidr) => format!("{}/32", cidr.address),
        IpCidr::V6(cidr) => format!("{}/128", cidr.address),
    };
    wrong(
        format!("{cidr} is not a network: it has host bits"),
        format!("write \"{host}\" for the host alone, or \"{network}\""),
    )
}

/// The network alone: the bits after the prefix are zero.
pub(crate) fn network_of(cidr: IpCidr) -> IpCidr {
    match cidr {
        IpCidr::V4(cidr) => IpCidr::V4(Ipv4Cidr { address: cidr.network(), ..cidr }),
        IpCidr::V6(cidr) => IpCidr::V6(cidr.network()),
    }
}

/// True when all of `inner` lies in `outer`.
fn covers(outer: IpCidr, inner: IpCidr) -> bool {
    let first = match inner {
        IpCidr::V4(Ipv4Cidr { address, .. }) => IpAddr::V4(address),
        IpCidr::V6(Ipv6Cidr { address, .. }) => IpAddr::V6(address),
    };
    outer.prefix() <= inner.prefix() && outer.contains(first)
}

/// Where a peer is reached: `friend.example:51820`, `192.0.2.7:51820`, `[2001:db8::7]:51820`.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let like = "write it like \"friend.example:51820\", \"192.0.2.7:51820\" or \"[2001:db8::7]:51820\"";
    let expected = || format!("expected a host and a port, found {text:?}");
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return wrong(expected(), format!("write \"[{address}]:{DEFAULT_PORT}\""));
    }
    let Some((host, digits)) = text.rsplit_once(':') else {
        return match text.parse::<Ipv4Addr>() {
            Ok(address) => wrong(expected(), format!("add the port: \"{address}:{DEFAULT_PORT}\"")),
            Err(_) if is_domain(text) => {
                wrong(expected(), format!("add the port: \"{text}:{DEFAULT_PORT}\""))
            }
            Err(_) => wrong(expected(), like),
        };
    };
    let port = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let Some(port) = port.and_then(|digits| digits.parse::<u16>().ok()).filter(|port| *port > 0) else {
        return wrong(expected(), "ports are 1 to 65535");
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = match bracketed {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    if let Some(address) = address {
        let why = match address {
            IpAddr::V4(address) => why_not_unicast(address),
            IpAddr::V6(address) => why_not_unicast6(address),
        };
        return match why {
            Some(why) => wrong(format!("{address} {why}; no peer can have it"), like),
            None => Ok(Endpoint::Address(SocketAddr::new(address, port))),
        };
    }
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return wrong(expected(), format!("an IPv6 address stands in brackets: \"[{address}]:{port}\""));
    }
    // What ends in a number is an address that went wrong, not a name.
    let last = host.rsplit('.').next().unwrap_or("");
    if !is_domain(host) || last.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(expected(), like);
    }
    Ok(Endpoint::Name { host: host.to_owned(), port })
}

/// Where a peer is reached, as somebody writes it on a command line: `port` stands for one that is not written.
///
/// # Errors
/// What it should look like.
pub fn parse_endpoint(text: &str, port: u16) -> Result<Endpoint, String> {
    let completed = match text.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{text}:{port}"),
    };
    endpoint(text)
        .or_else(|wrong| endpoint(&completed).map_err(|_| wrong))
        .map_err(|wrong| format!("{}; {}", wrong.what, wrong.help))
}

/// A network behind a peer, as somebody writes it on a command line.
///
/// # Errors
/// What it should look like.
pub fn parse_network(text: &str) -> Result<IpCidr, String> {
    allowed(text).map_err(|wrong| format!("{}; {}", wrong.what, wrong.help))
}

/// A VPN, and where in the file its parts stand.
#[derive(Default)]
pub(crate) struct Facts {
    /// Its name.
    pub(crate) name: String,
    /// Our own public key.
    pub(crate) public_key: Option<PublicKey>,
    /// The port that it listens on; `None` for one that is wrong.
    pub(crate) listen_port: Option<u16>,
    pub(crate) listen_port_span: Span,
    /// Our own addresses inside.
    pub(crate) addresses: Vec<IpCidr>,
    /// VXLAN network identifier of what it carries.
    pub(crate) vni: Option<(u32, Span)>,
    /// It carries Ethernet, whether or not that is written rightly.
    pub(crate) is_bridged: bool,
    pub(crate) peers: Vec<PeerFacts>,
}

/// A peer, as far as it could be read.
#[derive(Default)]
pub(crate) struct PeerFacts {
    /// What to call it.
    pub(crate) name: String,
    /// The name that is written.
    pub(crate) own_name: Option<Span>,
    pub(crate) public_key: Option<(PublicKey, Span)>,
    pub(crate) allowed: Vec<(IpCidr, Span)>,
    /// Where all of them stand; `None` when some could not be read.
    pub(crate) allowed_span: Option<Span>,
}

impl Facts {
    /// True for an address of a network that is a peer's. Everything is nobody's in particular.
    pub(crate) fn is_behind_a_peer(&self, address: IpAddr) -> bool {
        let networks = self.peers.iter().flat_map(|peer| &peer.allowed);
        networks.into_iter().any(|(network, _)| network.prefix() > 0 && network.contains(address))
    }

    /// Complains of peers that cannot be told apart, or from us.
    pub(crate) fn check(&self, sink: &Sink) {
        for (index, peer) in self.peers.iter().enumerate() {
            let earlier = || self.peers.iter().take(index);
            if let Some(span) = &peer.own_name
                && earlier().any(|other| other.own_name.is_some() && other.name == peer.name)
            {
                let message =
                    format!("another peer of `vpn.{}` is called {:?} already", self.name, peer.name);
                sink.error(span, message, "give each peer a name of its own");
            }
            if let Some((key, span)) = &peer.public_key {
                let same = |other: &&PeerFacts| other.public_key.as_ref().is_some_and(|(k, _)| k == key);
                if self.public_key == Some(*key) {
                    let help = "write the peer's key here; ours belongs into the peer's file";
                    sink.error(span, format!("this is the public key of `vpn.{}` itself", self.name), help);
                } else if let Some(other) = earlier().find(same) {
                    let message = format!("the peer {} has this public key already", other.name);
                    sink.error(span, message, "each peer has a key of its own; name all its networks once");
                }
            }
            for (at, (network, span)) in peer.allowed.iter().enumerate() {
                self.check_allowed(*network, span, peer.allowed.iter().take(at), earlier(), sink);
            }
        }
    }

    /// Complains of a peer's network that is ours or another peer's.
    fn check_allowed<'a>(
        &self,
        network: IpCidr,
        span: &Span,
        mut own: impl Iterator<Item = &'a (IpCidr, Span)>,
        mut earlier: impl Iterator<Item = &'a PeerFacts>,
        sink: &Sink,
    ) {
        let is_same = |(other, _): &(IpCidr, Span)| *other == network;
        if own.any(is_same) {
            sink.error(span, format!("{network} is listed twice"), "delete one of them");
        } else if let Some(other) = earlier.find(|other| other.allowed.iter().any(is_same)) {
            let message = format!("{network} is behind the peer {} already", other.name);
            sink.error(span, message, "a packet goes to one peer: give each its own networks");
        } else if let Some(address) =
            network.host().filter(|host| self.addresses.iter().any(|a| is_at(*a, *host)))
        {
            let help = "write the peer's own address";
            sink.error(span, format!("{address} is our own address in `vpn.{}`", self.name), help);
        }
    }
}

/// True when `cidr` gives this very address.
fn is_at(cidr: IpCidr, host: IpAddr) -> bool {
    match (cidr, host) {
        (IpCidr::V4(cidr), IpAddr::V4(host)) => cidr.address == host,
        (IpCidr::V6(cidr), IpAddr::V6(host)) => cidr.address == host,
        _ => false,
    }
}

/// What several VPNs, or a VPN and the rest of the house, can get wrong together. `networks` are those of all tables, with
/// the tables' names.
pub(crate) fn check_all(vpns: &[Facts], networks: &[(&str, IpCidr)], sink: &Sink) {
    for (index, vpn) in vpns.iter().enumerate() {
        let earlier = || vpns.iter().take(index);
        vpn.check(sink);
        check_port(vpn, vpns, index, sink);
        if let Some((vni, span)) = &vpn.vni
            && let Some(other) = earlier().find(|o| o.vni.as_ref().is_some_and(|(other, _)| other == vni))
        {
            let message = format!("`vni`: `vpn.{}` carries {vni} already", other.name);
            sink.error(span, message, "give each VPN a number of its own");
        }
        for peer in &vpn.peers {
            check_networks(vpn, peer, earlier(), networks, sink);
            check_host_route(vpn, peer, sink);
        }
    }
}

/// UDP ports that the router itself answers on.
const TAKEN: [(u16, &str); 5] = [(53, "DNS"), (67, "DHCP"), (68, "DHCP"), (546, "DHCPv6"), (547, "DHCPv6")];

fn check_port(vpn: &Facts, vpns: &[Facts], index: usize, sink: &Sink) {
    let Some(port) = vpn.listen_port else { return };
    let span = &vpn.listen_port_span;
    let free = (DEFAULT_PORT..).find(|port| vpns.iter().all(|vpn| vpn.listen_port != Some(*port)));
    let help = format!("write for example: listen-port = {}", free.unwrap_or(DEFAULT_PORT));
    if let Some((_, service)) = TAKEN.iter().find(|(taken, _)| *taken == port) {
        sink.error(span, format!("`listen-port`: UDP port {port} is the router's own, for {service}"), help);
    } else if let Some(other) = vpns.iter().take(index).find(|other| other.listen_port == Some(port)) {
        let message = format!("`listen-port`: `vpn.{}` listens on UDP port {port} already", other.name);
        sink.error(span, message, help);
    }
}

/// A peer's network must be nobody else's. A larger one, such as 0.0.0.0/0, may be around others: the smallest wins.
fn check_networks<'a>(
    vpn: &Facts,
    peer: &PeerFacts,
    earlier: impl Iterator<Item = &'a Facts>,
    networks: &[(&str, IpCidr)],
    sink: &Sink,
) {
    let own = format!("vpn.{}", vpn.name);
    let earlier: Vec<&Facts> = earlier.collect();
    for (network, span) in &peer.allowed {
        let within = networks.iter().find(|(table, other)| *table != own && covers(*other, *network));
        if let Some((table, other)) = within {
            let message = format!("`allowed-ips`: {network} overlaps {other} of `{table}`");
            let help = "a network is in one place; where two sites have the same one, renumber one of them";
            sink.error(span, message, help);
            continue;
        }
        let same = earlier.iter().find_map(|vpn| {
            let peer =
                vpn.peers.iter().find(|peer| peer.allowed.iter().any(|(other, _)| other == network))?;
            Some((&vpn.name, &peer.name))
        });
        if let Some((vpn, peer)) = same {
            let message =
                format!("`allowed-ips`: {network} is behind the peer {peer} of `vpn.{vpn}` already");
            sink.error(span, message, "a packet goes to one peer: give each its own networks");
        }
    }
}

/// Ethernet goes to an address of the peer's, which its first host route tells.
fn check_host_route(vpn: &Facts, peer: &PeerFacts, sink: &Sink) {
    let Some(span) = peer.allowed_span.as_ref().filter(|_| vpn.is_bridged && !vpn.addresses.is_empty())
    else {
        return;
    };
    let reachable = |host: IpAddr| vpn.addresses.iter().any(|a| matches!(a, IpCidr::V4(_)) == host.is_ipv4());
    if peer.allowed.iter().filter_map(|(network, _)| network.host()).any(reachable) {
        return;
    }
    let message = format!("`allowed-ips`: no address of the peer {} to carry Ethernet to", peer.name);
    let like = match vpn.addresses.first() {
        Some(IpCidr::V6(cidr)) => {
            format!("{}/128", Ipv6Addr::from(cidr.address.to_bits() ^ 3))
        }
        Some(IpCidr::V4(cidr)) => format!("{}/32", Ipv4Addr::from(cidr.address.to_bits() ^ 3)),
        None => return,
    };
    sink.absence(span, message, format!("add its address inside the VPN, such as \"{like}\""));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str, port: u16) -> Result<Endpoint, Wrong> {
        Ok(Endpoint::Name { host: host.to_owned(), port })
    }

    #[test]
    fn endpoints_are_names_or_addresses_with_a_port() {
        assert_eq!(endpoint("friend.example:51820"), named("friend.example", 51820));
        assert_eq!(endpoint("nas:1"), named("nas", 1));
        for text in ["192.0.2.7:51820", "[2001:db8::7]:65535"] {
            assert_eq!(endpoint(text), Ok(Endpoint::Address(text.parse().unwrap())));
            assert_eq!(endpoint(text).unwrap().to_string(), text);
        }
        assert_eq!(endpoint("friend.example:51820").unwrap().to_string(), "friend.example:51820");
    }

    #[test]
    fn what_is_no_endpoint_is_told_how_to_become_one() {
        for (text, help) in [
            ("friend.example", "add the port: \"friend.example:51820\""),
            ("192.0.2.7", "add the port: \"192.0.2.7:51820\""),
            ("2001:db8::7", "write \"[2001:db8::7]:51820\""),
            ("2001:db8:0:0:0:0:0:7:51820", "an IPv6 address stands in brackets: \"[2001:db8::7]:51820\""),
            ("friend.example:0", "ports are 1 to 65535"),
            ("friend.example:+1", "ports are 1 to 65535"),
            ("friend.example:65536", "ports are 1 to 65535"),
            ("friend.example:", "ports are 1 to 65535"),
        ] {
            assert_eq!(endpoint(text).unwrap_err().help, help, "{text}");
        }
        for text in [
            "",
            ":51820",
            "[]:1",
            "[friend.example]:1",
            "192.0.2.300:1",
            "fri end:1",
            "224.0.0.1:1",
            "[::]:1",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn on_a_command_line_the_port_may_be_left_out() {
        for (text, endpoint) in [
            ("home.example", "home.example:7"),
            ("home.example:1", "home.example:1"),
            ("192.0.2.7", "192.0.2.7:7"),
            ("2001:db8::7", "[2001:db8::7]:7"),
            ("[2001:db8::7]", "[2001:db8::7]:7"),
            ("[2001:db8::7]:1", "[2001:db8::7]:1"),
        ] {
            assert_eq!(parse_endpoint(text, 7).map(|endpoint| endpoint.to_string()).as_deref(), Ok(endpoint));
        }
        for text in ["", "home.example:", "home.example:0", "a b", "[home]"] {
            assert!(parse_endpoint(text, 7).is_err(), "{text}");
        }
    }

    #[test]
    fn our_address_may_be_alone_in_its_network() {
        for text in ["10.77.0.1/24", "10.77.0.1/32", "10.77.0.0/31", "fd00:77::1/64", "fd00:77::1/128"] {
            assert_eq!(address(text).map(|cidr| cidr.to_string()), Ok(text.to_owned()));
        }
        for (text, help) in [
            ("10.77.0.1", "add the prefix length: \"10.77.0.1/24\""),
            ("fd00:77::1", "add the prefix length: \"fd00:77::1/64\""),
            ("10.77.0.0/24", "write \"10.77.0.1/24\""),
            ("10.77.0.255/24", "write \"10.77.0.1/24\""),
            ("fd00:77::/64", "write \"fd00:77::1/64\""),
            ("10.77.0.1/7", "write \"10.77.0.1/24\""),
            ("fd00:77::1/7", "write \"fd00:77::1/64\""),
        ] {
            assert_eq!(address(text).unwrap_err().help, help, "{text}");
        }
        for text in ["", "::1/128", "127.0.0.1/8", "224.0.0.1/24", "ff02::1/64", "::ffff:10.0.0.1/120"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_behind_a_peer_have_no_host_bits() {
        for text in ["0.0.0.0/0", "::/0", "10.77.0.2/32", "192.168.2.0/24", "2001:db8::/32"] {
            assert_eq!(allowed(text).map(|cidr| cidr.to_string()), Ok(text.to_owned()));
        }
        let host_bits = allowed("10.77.0.2/24").unwrap_err();
        assert_eq!(host_bits.help, "write \"10.77.0.2/32\" for the host alone, or \"10.77.0.0/24\"");
        assert_eq!(allowed("10.77.0.2").unwrap_err().help, "for this host alone, write \"10.77.0.2/32\"");
        assert_eq!(allowed("fd00::2").unwrap_err().help, "for this host alone, write \"fd00::2/128\"");
    }
}
