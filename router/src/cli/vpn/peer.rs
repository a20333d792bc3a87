//! `genkan vpn peer`: in this order, what the new peer is given (keys, addresses, where to find us), its own file, and the
//! lines that let it in.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use genkan_config::schema::{Config, Uplink, Vpn};
use genkan_config::wg_quick::WgQuick;
use genkan_config::{is_name, key, parse_endpoint, parse_network};
use genkan_netstack::id::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use genkan_netstack::settings::{Endpoint, VpnPeer};
use genkan_netstack::tunnel::wireguard::{PresharedKey, PrivateKey};

use super::{qr, refused, rng, write_secret};
use crate::cli::{colour, failed, load};
use crate::control;

pub(super) const ABOUT: &str = "\
Make a new peer of a VPN in FILE. On standard output: its whole configuration, with a new private key, the next free address, and \
this gateway as its peer; wg-quick and the WireGuard apps read it. On standard error: the same as a QR code for a telephone's \
camera, and the lines to add to FILE. The private key is printed this once and kept nowhere.

The peer sends everything through the VPN, or what --allowed-ips names; a peer of a VPN that carries a LAN only what is for the \
VPN. It asks this gateway for names, or those that --dns names.";

/// Long enough for the NAT that most peers are behind (RFC 4787 REQ-5: two minutes at least; many keep 30 seconds).
const KEEPALIVE: Duration = Duration::from_secs(25);

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The configuration of the gateway
    file: PathBuf,
    /// What to call the peer
    name: String,
    /// The VPN, when FILE has several
    #[arg(long)]
    vpn: Option<String>,
    /// Where the peer reaches this gateway: a host or an address, and a port if it is not the one in FILE
    /// [default: a fixed address in FILE, or the present one of the running gateway]
    #[arg(long, value_name = "HOST[:PORT]")]
    endpoint: Option<String>,
    /// DNS servers of the peer, or "none" [default: this gateway]
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    dns: Vec<String>,
    /// What the peer sends through the VPN [default: everything]
    #[arg(long, value_name = "NETWORK,…", value_delimiter = ',')]
    allowed_ips: Vec<String>,
    /// Also make a preshared key, and keep our copy in this new file
    #[arg(long, value_name = "FILE")]
    preshared_key_file: Option<PathBuf>,
}

pub(super) fn peer(arguments: &Arguments) -> ExitCode {
    let config = match load(&arguments.file) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let plan = match Plan::make(&config, arguments) {
        Ok(plan) => plan,
        Err(what) => return refused(what),
    };
    let mut rng = match rng() {
        Ok(rng) => rng,
        Err(error) => return failed(format_args!("the system has no random octets: {error}")),
    };
    let private_key = PrivateKey::generate(&mut rng);
    let preshared_key =
        arguments.preshared_key_file.as_ref().map(|path| (path, PresharedKey::generate(&mut rng)));
    if let Some((path, key)) = &preshared_key
        && let Err(error) = write_secret(path, &key::text(key.expose()))
    {
        return failed(format_args!("{}: {error}", path.display()));
    }
    let file = plan.file(&config, private_key, preshared_key.as_ref().map(|(_, key)| key.clone()));
    let text = file.text();

    let mut out = std::io::stdout().lock();
    let head = plan.head();
    if let Err(error) = write!(out, "{head}{}", *text).and_then(|()| out.flush()) {
        return failed(format_args!("the configuration could not be printed: {error}"));
    }
    eprintln!("\nFor the camera of a telephone with the WireGuard app:\n");
    match qr::draw(&text, colour()) {
        Some(code) => eprint!("{code}"),
        None => eprintln!("(the configuration is too long for a QR code)"),
    }
    eprintln!("\nAdd to {}, and start the gateway again:\n", arguments.file.display());
    eprint!("{}", plan.lines(&file, preshared_key.map(|(path, _)| path)));
    if std::io::stdout().is_terminal() {
        eprintln!("\nThe private key above is kept nowhere else.");
    }
    ExitCode::SUCCESS
}

/// What a new peer is given.
#[derive(Debug)]
struct Plan<'a> {
    vpn: &'a Vpn,
    name: String,
    addresses: Vec<IpCidr>,
    endpoint: Endpoint,
    dns: Vec<String>,
    allowed_ips: Vec<IpCidr>,
}

impl<'a> Plan<'a> {
    fn make(config: &'a Config, arguments: &Arguments) -> Result<Plan<'a>, String> {
        let vpn = choose(config, arguments.vpn.as_deref())?;
        let name = &arguments.name;
        if !is_name(name) {
            return Err(format!(
                "{name:?} cannot be the name of a peer: up to 32 letters, digits, `-` and `_`"
            ));
        }
        if vpn.peers.iter().any(|peer| peer.name == *name) {
            return Err(format!("vpn.{} has a peer {name} already", vpn.name));
        }
        let endpoint = match &arguments.endpoint {
            Some(text) => {
                parse_endpoint(text, vpn.listen_port).map_err(|what| format!("--endpoint: {what}"))?
            }
            None => own_endpoint(config, vpn.listen_port)?,
        };
        Ok(Plan {
            vpn,
            name: name.clone(),
            addresses: free_addresses(vpn)?,
            endpoint,
            dns: dns(vpn, &arguments.dns)?,
            allowed_ips: allowed_ips(vpn, &arguments.allowed_ips)?,
        })
    }

    /// What stands above the peer's file. Telephones have no use for it.
    fn head(&self) -> String {
        let mut head = format!("# {}, a peer of vpn.{}\n", self.name, self.vpn.name);
        if let (Some(bridge), Some(own), Some(theirs)) =
            (&self.vpn.bridge, self.vpn_host(), self.hosts().next())
        {
            let _ = writeln!(
                head,
                "# To join lan {} from Linux, afterwards: ip link add genkan0 type vxlan id {} local {theirs} remote {own} \
                 dstport 4789",
                bridge.lan, bridge.vni
            );
        }
        head.push('\n');
        head
    }

    /// Our address inside, of the family in which Ethernet is carried.
    fn vpn_host(&self) -> Option<IpAddr> {
        let ipv4 = self.vpn.ipv4.map(|cidr| cidr.address.into());
        ipv4.or_else(|| self.vpn.ipv6.map(|cidr| cidr.address.into()))
    }

    /// The peer's addresses, IPv4 first.
    fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter_map(|cidr| cidr.host())
    }

    /// The peer's own file.
    fn file(&self, config: &Config, private_key: PrivateKey, preshared_key: Option<PresharedKey>) -> WgQuick {
        WgQuick {
            private_key,
            listen_port: None,
            addresses: self.addresses.clone(),
            dns: self.dns.clone(),
            mtu: self.vpn.mtu,
            peers: vec![VpnPeer {
                name: config.system.hostname.clone(),
                public_key: self.vpn.private_key.public(),
                preshared_key,
                endpoint: Some(self.endpoint.clone()),
                allowed_ips: self.allowed_ips.clone(),
                keepalive: Some(KEEPALIVE),
            }],
        }
    }

    /// The lines for our file.
    fn lines(&self, file: &WgQuick, preshared_key_file: Option<&PathBuf>) -> String {
        let public_key = key::text(&file.private_key.public().0);
        let allowed: Vec<String> = self.addresses.iter().map(|cidr| format!("\"{cidr}\"")).collect();
        let mut lines = format!(
            "[[vpn.{}.peer]]\nname        = \"{}\"\npublic-key  = \"{}\"\nallowed-ips = [{}]\n",
            self.vpn.name,
            self.name,
            *public_key,
            allowed.join(", ")
        );
        if let Some(path) = preshared_key_file {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let _ = writeln!(lines, "preshared-key-file = {:?}", path.display().to_string());
        }
        lines
    }
}

/// The VPN that is named, or the only one.
fn choose<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Vpn, String> {
    let names: Vec<&str> = config.vpns.iter().map(|vpn| vpn.name.as_str()).collect();
    match (name, config.vpns.as_slice()) {
        (_, []) => {
            Err("the configuration has no [vpn.NAME]: add one, with a key by `genkan vpn keygen --out FILE`"
                .to_owned())
        }
        (None, [vpn]) => Ok(vpn),
        (None, _) => Err(format!("say which VPN: --vpn {}", names.join(", or --vpn "))),
        (Some(name), vpns) => vpns
            .iter()
            .find(|vpn| vpn.name == name)
            .ok_or_else(|| format!("there is no [vpn.{name}]; there is: {}", names.join(", "))),
    }
}

/// The next address of each family that nobody has.
fn free_addresses(vpn: &Vpn) -> Result<Vec<IpCidr>, String> {
    let ipv4 =
        vpn.ipv4.map(|own| free_ipv4(vpn, own).map(|address| IpCidr::V4(Ipv4Cidr { address, prefix: 32 })));
    let ipv6 =
        vpn.ipv6.map(|own| free_ipv6(vpn, own).map(|address| IpCidr::V6(Ipv6Cidr { address, prefix: 128 })));
    let addresses: Option<Vec<IpCidr>> = [ipv4, ipv6].into_iter().flatten().collect();
    addresses.ok_or_else(|| {
        format!("the network of vpn.{} has no free address: give its `address` a shorter prefix", vpn.name)
    })
}

fn free_ipv4(vpn: &Vpn, own: Ipv4Cidr) -> Option<Ipv4Addr> {
    let first = own.network().to_bits();
    let last = first | !own.mask();
    let hosts = if own.prefix < 31 { first.checked_add(1)?..=last.checked_sub(1)? } else { first..=last };
    hosts
        .map(Ipv4Addr::from)
        .find(|address| *address != own.address && is_free(vpn, (*address).into(), own.prefix))
}

fn free_ipv6(vpn: &Vpn, own: Ipv6Cidr) -> Option<Ipv6Addr> {
    /// Peers in a VPN: what an id has room for.
    const MOST: u128 = 1 << 16;
    // The network's own address is that of any router in it (RFC 4291 §2.6.1).
    let first = own.network().address.to_bits();
    let last = (first | !own.mask()).min(first.saturating_add(MOST));
    let hosts = first.checked_add(1)?..=last;
    hosts
        .map(Ipv6Addr::from)
        .find(|address| *address != own.address && is_free(vpn, (*address).into(), own.prefix))
}

/// True when no peer has the address. A peer that has the whole network, `prefix` long, or more has none in particular.
fn is_free(vpn: &Vpn, address: IpAddr, prefix: u8) -> bool {
    let networks = vpn.peers.iter().flat_map(|peer| &peer.allowed_ips);
    networks.filter(|network| network.prefix() > prefix).all(|network| !network.contains(address))
}

/// DNS servers of the peer.
fn dns(vpn: &Vpn, given: &[String]) -> Result<Vec<String>, String> {
    match given {
        [] => {
            let own = vpn.ipv4.map(|cidr| cidr.address.to_string());
            Ok(own.or_else(|| vpn.ipv6.map(|cidr| cidr.address.to_string())).into_iter().collect())
        }
        [none] if none == "none" => Ok(Vec::new()),
        servers => {
            let parse = |text: &String| {
                text.parse::<IpAddr>()
                    .map(|address| address.to_string())
                    .map_err(|_| format!("--dns: expected an address, found {text:?}; write it like 9.9.9.9"))
            };
            servers.iter().map(parse).collect()
        }
    }
}

/// What the peer sends to us.
fn allowed_ips(vpn: &Vpn, given: &[String]) -> Result<Vec<IpCidr>, String> {
    if !given.is_empty() {
        return given
            .iter()
            .map(|text| parse_network(text).map_err(|what| format!("--allowed-ips: {what}")))
            .collect();
    }
    let is_whole = vpn.bridge.is_none();
    let ipv4 = vpn.ipv4.map(|own| match is_whole {
        true => Ipv4Cidr { address: Ipv4Addr::UNSPECIFIED, prefix: 0 },
        false => Ipv4Cidr { address: own.network(), ..own },
    });
    let ipv6 = vpn.ipv6.map(|own| match is_whole {
        true => Ipv6Cidr { address: Ipv6Addr::UNSPECIFIED, prefix: 0 },
        false => own.network(),
    });
    Ok(ipv4.map(IpCidr::V4).into_iter().chain(ipv6.map(IpCidr::V6)).collect())
}

/// Where the Internet reaches us: a fixed address, or the one that the running gateway has now.
fn own_endpoint(config: &Config, port: u16) -> Result<Endpoint, String> {
    let fixed = config.wans.iter().find_map(|wan| match &wan.uplink {
        Uplink::Static(given) => {
            let ipv4 = given.ipv4.map(|ipv4| IpAddr::V4(ipv4.address.address));
            ipv4.or_else(|| given.ipv6.map(|ipv6| ipv6.address.address.into())).filter(is_public)
        }
        Uplink::Pppoe(_) | Uplink::Dhcp => None,
    });
    if let Some(address) = fixed {
        return Ok(Endpoint::Address(SocketAddr::new(address, port)));
    }
    let why = match control::status(&config.system.control) {
        Ok(status) => match present_address(&status) {
            Some(address) => {
                eprintln!(
                    "genkan: the peer is told the present address {address}; --endpoint HOST tells it a name"
                );
                return Ok(Endpoint::Address(SocketAddr::new(address, port)));
            }
            None => "the running gateway has no address that the Internet reaches".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    Err(format!("say where the peer reaches this gateway: --endpoint HOST[:PORT] ({why})"))
}

/// The first uplink's address in a status, IPv4 before IPv6.
fn present_address(status: &serde_json::Value) -> Option<IpAddr> {
    let wans = status["wans"].as_array()?;
    let address = |value: &serde_json::Value| value.as_str()?.parse().ok().filter(is_public);
    let ipv6 = |wan: &serde_json::Value| wan["ipv6"]["addresses"].as_array()?.iter().find_map(address);
    wans.iter().find_map(|wan| address(&wan["address"])).or_else(|| wans.iter().find_map(ipv6))
}

/// True for an address that others than our neighbours can reach (RFC 1918, RFC 6598, RFC 4193).
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            !address.is_private()
                && !address.is_link_local()
                && !address.is_loopback()
                && (a, b & 0xc0) != (100, 64)
        }
        IpAddr::V6(address) => {
            !address.is_unique_local() && !address.is_unicast_link_local() && !address.is_loopback()
        }
    }
}

#[cfg(test)]
mod tests {
    use genkan_netstack::tunnel::wireguard::PublicKey;

    use super::*;

    fn vpn(ipv4: Option<&str>, ipv6: Option<&str>, peers: &[&[&str]]) -> Vpn {
        let peers = peers.iter().zip(1..).map(|(networks, number)| VpnPeer {
            name: format!("peer{number}"),
            public_key: PublicKey([number; 32]),
            preshared_key: None,
            endpoint: None,
            allowed_ips: networks.iter().map(|network| parse_network(network).unwrap()).collect(),
            keepalive: None,
        });
        Vpn {
            name: "friends".to_owned(),
            private_key: PrivateKey::new([9; 32]),
            listen_port: 51820,
            ipv4: ipv4.map(|text| {
                let (address, prefix) = text.split_once('/').unwrap();
                Ipv4Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
            }),
            ipv6: ipv6.map(|text| text.parse().unwrap()),
            mtu: None,
            masquerade: false,
            bridge: None,
            peers: peers.collect(),
        }
    }

    fn free(ipv4: Option<&str>, ipv6: Option<&str>, peers: &[&[&str]]) -> Vec<String> {
        let addresses = free_addresses(&vpn(ipv4, ipv6, peers)).unwrap_or_default();
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_peer_gets_the_next_address_that_nobody_has() {
        let both = (Some("10.77.0.1/24"), Some("fd00:77::1/64"));
        assert_eq!(free(both.0, both.1, &[]), ["10.77.0.2/32", "fd00:77::2/128"]);
        let peers: [&[&str]; 3] = [&["10.77.0.2/32", "fd00:77::2/128"], &["10.77.0.4/30"], &["0.0.0.0/0"]];
        assert_eq!(free(both.0, both.1, &peers), ["10.77.0.3/32", "fd00:77::3/128"]);
        let peers: [&[&str]; 2] = [&["10.77.0.2/31", "10.77.0.4/30"], &["10.77.0.0/24", "fd00:77::/120"]];
        assert_eq!(free(both.0, both.1, &peers), ["10.77.0.8/32", "fd00:77::100/128"]);
        assert_eq!(free(Some("10.77.0.254/24"), None, &[]), ["10.77.0.1/32"]);
        assert_eq!(free(None, Some("fd00:77::ff/64"), &[]), ["fd00:77::1/128"]);
        assert_eq!(free(Some("10.77.0.1/31"), None, &[]), ["10.77.0.0/32"]);
    }

    #[test]
    fn a_full_network_gives_no_address() {
        assert!(free(Some("10.77.0.1/30"), None, &[&["10.77.0.2/32"]]).is_empty());
        assert!(free(Some("10.77.0.1/32"), None, &[]).is_empty());
        assert!(free(Some("10.77.0.1/24"), Some("fd00:77::1/128"), &[]).is_empty());
        assert!(free(None, Some("fd00::1/8"), &[&["fd00::/16"]]).is_empty());
    }

    #[test]
    fn a_peer_sends_everything_or_what_is_for_a_bridged_vpn() {
        let shown = |vpn: &Vpn, given: &[String]| -> Vec<String> {
            allowed_ips(vpn, given).unwrap().iter().map(ToString::to_string).collect()
        };
        let mut vpn = vpn(Some("10.77.0.1/24"), Some("fd00:77::1/64"), &[]);
        assert_eq!(shown(&vpn, &[]), ["0.0.0.0/0", "::/0"]);
        assert_eq!(shown(&vpn, &["192.168.1.0/24".to_owned()]), ["192.168.1.0/24"]);
        assert!(allowed_ips(&vpn, &["192.168.1.9/24".to_owned()]).unwrap_err().contains("192.168.1.0/24"));
        vpn.bridge = Some(genkan_config::schema::Bridge {
            lan: "home".to_owned(),
            vni: 42,
            ra_guard: true,
            isolate_dhcp: false,
            suppress: true,
            hub: false,
        });
        assert_eq!(shown(&vpn, &[]), ["10.77.0.0/24", "fd00:77::/64"]);
    }

    #[test]
    fn a_peer_asks_us_for_names_or_those_that_are_named() {
        let six = vpn(None, Some("fd00:77::1/64"), &[]);
        assert_eq!(dns(&six, &[]).unwrap(), ["fd00:77::1"]);
        assert_eq!(dns(&vpn(Some("10.77.0.1/24"), None, &[]), &[]).unwrap(), ["10.77.0.1"]);
        assert_eq!(
            dns(&six, &["9.9.9.9".to_owned(), "2620:fe::9".to_owned()]).unwrap(),
            ["9.9.9.9", "2620:fe::9"]
        );
        assert!(dns(&six, &["none".to_owned()]).unwrap().is_empty());
        assert!(dns(&six, &["dns.example".to_owned()]).unwrap_err().starts_with("--dns: "));
    }

    #[test]
    fn the_present_address_is_one_that_the_internet_reaches() {
        let status = serde_json::json!({ "wans": [
            { "address": null, "ipv6": null },
            { "address": "100.64.0.7", "ipv6": { "addresses": ["fd00::1", "2001:db8::1"] } },
            { "address": "192.168.1.7" },
        ]});
        assert_eq!(present_address(&status), Some("2001:db8::1".parse().unwrap()));
        let status =
            serde_json::json!({ "wans": [{ "address": "10.0.0.1" }, { "address": "198.51.100.2" }] });
        assert_eq!(present_address(&status), Some("198.51.100.2".parse().unwrap()));
        assert_eq!(present_address(&serde_json::json!({})), None);
    }
}
