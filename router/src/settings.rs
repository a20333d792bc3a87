//! From a configuration to what the core and the ports are told: names become numbers, and the opened ports add what
//! only they know.
//!
//! Everything with a name has a number, in the order of the file.

use genkan_config::schema::{self, Config, Zone};
use genkan_netstack::id::{self, LanId, Mac, PortId, WanId};
use genkan_netstack::settings::{
    Concentrator, Lan, LanPrefix, Port, PortForward, Rule, Settings, Uplink, Vlan, Vpn, VpnBridge, Wan,
    WanIpv6,
};

use crate::fastpath::entry::Entry;
use crate::port::{Device, Port as OpenPort, Spec};

/// Octets of an Ethernet payload that PPPoE and PPP take for themselves (RFC 2516 §7).
const PPPOE_OVERHEAD: u16 = 8;

/// Largest Ethernet payload that every device can send.
const ETHERNET_MTU: u16 = 1500;

/// What an opened port knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortFacts {
    /// The address that the router uses on it.
    pub mac: Mac,
    /// Largest Ethernet payload in octets.
    pub mtu: u16,
    /// It sends large segments and completes partial checksums.
    pub offload: bool,
}

impl From<&OpenPort> for PortFacts {
    fn from(port: &OpenPort) -> Self {
        PortFacts { mac: port.mac(), mtu: port.mtu(), offload: port.offload() }
    }
}

/// What to open, in the order of the configuration.
pub fn specs(config: &Config) -> Vec<Spec> {
    config.ports.iter().map(|port| spec(config, port)).collect()
}

fn spec(config: &Config, port: &schema::Port) -> Spec {
    let device = match &port.device {
        schema::Device::Nic(device) => Device::Nic { device: device.clone() },
        schema::Device::Tap(device) => Device::Tap { device: device.clone(), offload: true },
    };
    let dialled =
        config.wans.iter().filter(|wan| wan.port == port.name).filter_map(|wan| match &wan.uplink {
            schema::Uplink::Pppoe(pppoe) => Some(pppoe.mtu),
            schema::Uplink::Dhcp | schema::Uplink::Static(_) => None,
        });
    let served = config.concentrators.iter().filter(|c| c.port == port.name).map(|c| c.mtu);
    let wanted = dialled.chain(served).max().map(|mtu| mtu.saturating_add(PPPOE_OVERHEAD));
    let bridged = config.lans.iter().any(|lan| lan.ports.len() > 1 && lan.ports.contains(&port.name));
    Spec {
        name: port.name.clone(),
        device,
        mac: port.mac,
        pppoe: wanted.is_some(),
        wanted_mtu: wanted.filter(|mtu| *mtu > ETHERNET_MTU),
        promiscuous: bridged || port.vlan.is_some(),
        state_dir: config.system.state_dir.clone(),
        entry: Entry::None,
        pins: None,
    }
}

/// What the core is told. `facts` are those of the opened ports, in the order of the configuration.
pub fn settings(config: &Config, facts: &[PortFacts]) -> Settings {
    Settings {
        hostname: config.system.hostname.clone(),
        ula: config.system.ula,
        ports: config.ports.iter().zip(facts).map(|(port, facts)| open_port(port, *facts)).collect(),
        wans: config.wans.iter().filter_map(|wan| uplink(config, wan)).collect(),
        lans: config.lans.iter().map(|lan| local(config, lan)).collect(),
        concentrators: config.concentrators.iter().filter_map(|c| concentrator(config, c)).collect(),
        vpns: config.vpns.iter().map(|vpn| tunnel(config, vpn)).collect(),
        nat: config.nat.clone(),
        port_forwards: config.port_forwards.iter().filter_map(|f| port_forward(config, f)).collect(),
        rules: config.filters.iter().map(rule).collect(),
    }
}

fn open_port(port: &schema::Port, facts: PortFacts) -> Port {
    let control_priority = port.vlan_priority.unwrap_or(0);
    Port {
        name: port.name.clone(),
        mac: facts.mac,
        mtu: facts.mtu,
        vlan: port.vlan.map(|id| Vlan { id, control_priority }),
        offload: facts.offload,
    }
}

fn uplink(config: &Config, wan: &schema::Wan) -> Option<Wan> {
    let uplink = match &wan.uplink {
        schema::Uplink::Pppoe(pppoe) => Uplink::Pppoe(pppoe.clone()),
        schema::Uplink::Dhcp => Uplink::Dhcp,
        schema::Uplink::Static(given) => Uplink::Static(given.clone()),
    };
    // A LAN that takes a part of a prefix needs one, whatever its length.
    let taken =
        config.lans.iter().any(|lan| lan.prefix.as_ref().is_some_and(|prefix| prefix.from == wan.name));
    let prefix = wan.prefix_delegation.or_else(|| taken.then(Default::default));
    Some(Wan {
        name: wan.name.clone(),
        port: port_id(config, &wan.port)?,
        uplink,
        ipv4: wan.ipv4,
        ipv6: wan.ipv6.then_some(WanIpv6 { prefix }),
    })
}

fn local(config: &Config, lan: &schema::Lan) -> Lan {
    Lan {
        name: lan.name.clone(),
        ports: lan.ports.iter().filter_map(|port| port_id(config, port)).collect(),
        address: lan.address,
        dhcp: lan.dhcp.clone(),
        prefix: lan.prefix.as_ref().and_then(|prefix| {
            Some(LanPrefix { from: wan_id(config, &prefix.from)?, subnet: prefix.subnet })
        }),
        dhcp6: lan.dhcp6,
        domain: lan.domain.clone(),
        hosts: lan.hosts.clone(),
    }
}

fn concentrator(config: &Config, from: &schema::Concentrator) -> Option<Concentrator> {
    Some(Concentrator {
        name: from.name.clone(),
        port: port_id(config, &from.port)?,
        ac_name: from.ac_name.clone(),
        service_names: from.service_names.clone(),
        address: from.address,
        pool: from.pool,
        prefix_pool: from.prefix_pool,
        dns: from.dns.clone(),
        authentication: from.authentication.clone(),
        users: from.users.clone(),
        mtu: from.mtu,
        echo: from.echo,
        sessions: from.sessions,
        sessions_per_mac: from.sessions_per_mac,
    })
}

fn port_forward(config: &Config, from: &schema::PortForward) -> Option<PortForward> {
    Some(PortForward {
        wan: wan_id(config, &from.wan)?,
        protocol: from.protocol,
        port: from.port,
        to: from.to,
        to_port: from.to_port,
    })
}

fn tunnel(config: &Config, from: &schema::Vpn) -> Vpn {
    let bridge = from.bridge.as_ref().and_then(|bridge| {
        Some(VpnBridge {
            lan: lan_id(config, &bridge.lan)?,
            vni: bridge.vni,
            ra_guard: bridge.ra_guard,
            isolate_dhcp: bridge.isolate_dhcp,
            suppress: bridge.suppress,
            hub: bridge.hub,
        })
    });
    Vpn {
        name: from.name.clone(),
        private_key: from.private_key.clone(),
        listen_port: from.listen_port,
        ipv4: from.ipv4,
        ipv6: from.ipv6,
        mtu: from.mtu,
        masquerade: from.masquerade,
        bridge,
        peers: from.peers.clone(),
    }
}

fn rule(from: &schema::Filter) -> Rule {
    Rule {
        from: zone(from.from),
        to: zone(from.to),
        protocol: from.protocol,
        ports: from.ports.clone(),
        source: from.source,
        destination: from.destination,
        action: from.action,
        line: Some(from.line),
    }
}

/// A zone as the core knows it, any being `None`.
fn zone(zone: Zone) -> Option<id::Zone> {
    match zone {
        Zone::Any => None,
        Zone::Lan => Some(id::Zone::Lan),
        Zone::Wan => Some(id::Zone::Wan),
        Zone::Concentrator => Some(id::Zone::Concentrator),
        Zone::Router => Some(id::Zone::Router),
        Zone::Vpn => Some(id::Zone::Vpn),
    }
}

fn port_id(config: &Config, name: &str) -> Option<PortId> {
    let index = config.ports.iter().position(|port| port.name == name)?;
    u16::try_from(index).ok().map(PortId)
}

fn lan_id(config: &Config, name: &str) -> Option<LanId> {
    let index = config.lans.iter().position(|lan| lan.name == name)?;
    u16::try_from(index).ok().map(LanId)
}

fn wan_id(config: &Config, name: &str) -> Option<WanId> {
    let index = config.wans.iter().position(|wan| wan.name == name)?;
    u16::try_from(index).ok().map(WanId)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use genkan_config::{Host, HostFile};
    use genkan_netstack::settings::{
        Action, Dhcp6, Endpoint, Network, PppoeClient, PrefixPool, PrefixRequest, RuleProtocol, Ula,
    };

    use super::*;

    /// A machine where every secret is the same.
    struct Machine(&'static str);

    impl Host for Machine {
        fn read(&self, path: &Path) -> io::Result<HostFile> {
            let content = match path.extension().and_then(|e| e.to_str()) {
                Some("toml") if path.ends_with("users.toml") => {
                    "[[user]]\nname = \"a\"\npassword = \"b\"\nprefix = \"2001:db8:0:ff00::/56\"\n"
                }
                Some("toml") => self.0,
                Some("key") => "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n",
                _ => "secret\n",
            };
            Ok(HostFile { content: content.into(), mode: 0o600 })
        }

        fn devices(&self) -> Option<Vec<String>> {
            None
        }
    }

    fn config(text: &'static str) -> Config {
        match Config::load_on("gateway.toml", &Machine(text)) {
            Ok(loaded) => loaded.config,
            Err(report) => panic!("{report}"),
        }
    }

    const GATEWAY: &str = r#"
        [system]
        ula = "fd00:1:2::/48"
        [port.lan0]
        tap = "tap0"
        [port.lan1]
        nic = "eth1"
        [port.wan0]
        nic = "eth0"
        mac = "02:00:00:00:00:01"
        [port.access0]
        tap = "tap1"
        [port.lan2]
        tap = "tap2"

        [wan.v6]
        port = "wan0"
        pppoe = { username = "six", password-file = "isp.secret", mtu = 1500 }
        ipv4 = false
        ipv6 = true
        prefix-delegation = { length = 56 }
        [wan.cable]
        port = "wan0"
        dhcp = true
        ipv6 = true
        [wan.isp]
        port = "wan0"
        pppoe = { username = "four", password-file = "isp.secret", mtu = 1496 }
        [wan.backup]
        port = "wan0"
        pppoe = { username = "other", password-file = "isp.secret" }

        [lan.home]
        ports = ["lan1", "lan0"]
        address = "192.168.1.1/24"
        prefix = { from = "cable", subnet = 3 }
        dhcp6 = "stateful"
        [[lan.home.host]]
        name = "nas"
        ipv6 = "::10"

        [concentrator.bras]
        port = "access0"
        pool = "100.64.0.0/24"
        prefix-pool = { prefix = "2001:db8::/48", delegate = 56 }
        dns = ["100.64.0.1", "2001:db8::53"]
        users-file = "users.toml"

        [[port-forward]]
        wan = "cable"
        protocol = "tcp"
        port = 80
        to = "192.168.1.2:80"
        [[port-forward]]
        wan = "backup"
        protocol = "udp"
        port = 53
        to = "192.168.1.2:5353"

        [lan.games]
        ports = ["lan2"]
        address = "192.168.2.1/24"

        [vpn.office]
        private-key-file = "office.key"
        address = ["10.77.0.1/24", "fd00:77::1/64"]
        listen-port = 443
        mtu = 1400
        [[vpn.office.peer]]
        public-key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
        preshared-key-file = "office.psk.key"
        endpoint = "[2001:db8::7]:51820"
        allowed-ips = ["10.77.0.2/32", "10.1.0.0/16"]
        keepalive = "25s"
        [vpn.friends]
        private-key-file = "friends.key"
        address = "10.78.0.1/24"
        bridge = { lan = "games", vni = 42, isolate-dhcp = true, hub = true }

        [[filter]]
        from = "vpn"
        action = "accept"
        [[filter]]
        destination = "::10/64"
        action = "accept"
        [[filter]]
        from = "concentrator"
        to = "lan"
        protocol = "tcp"
        port = [22, "80-90"]
        source = "100.64.0.0/24"
        action = "reject"
    "#;

    fn facts(config: &Config) -> Vec<PortFacts> {
        let fact =
            |n: u8| PortFacts { mac: Mac([2, 0, 0, 0, 0, n]), mtu: 1500 + u16::from(n), offload: n == 1 };
        (0..).map(fact).take(config.ports.len()).collect()
    }

    #[test]
    fn names_become_the_numbers_of_what_they_name() {
        let config = config(GATEWAY);
        let settings = settings(&config, &facts(&config));
        let ports: Vec<&str> = settings.ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(ports, ["lan0", "lan1", "wan0", "access0", "lan2"]);
        assert_eq!((settings.ports[2].mtu, settings.ports[1].offload), (1502, true));
        assert_eq!(settings.lans[0].ports, [PortId(1), PortId(0)]);
        assert_eq!(settings.concentrators[0].port, PortId(3));
        assert_eq!(settings.concentrators[0].users[0].password.expose(), b"b");
        assert_eq!(settings.concentrators[0].sessions, 253);
    }

    fn pppoe(wan: &Wan) -> &PppoeClient {
        match &wan.uplink {
            Uplink::Pppoe(pppoe) => pppoe,
            other => panic!("{other:?} is not dialled"),
        }
    }

    #[test]
    fn every_uplink_has_a_number_in_the_order_of_the_file() {
        let config = config(GATEWAY);
        let settings = settings(&config, &facts(&config));
        let wans: Vec<&str> = settings.wans.iter().map(|wan| wan.name.as_str()).collect();
        assert_eq!(wans, ["v6", "cable", "isp", "backup"]);
        assert_eq!(settings.wans[1].uplink, Uplink::Dhcp);
        assert_eq!(settings.wans[2].port, PortId(2));
        assert_eq!(pppoe(&settings.wans[2]).password.expose(), b"secret");
        let forwards: Vec<(WanId, u16)> = settings.port_forwards.iter().map(|f| (f.wan, f.to_port)).collect();
        assert_eq!(forwards, [(WanId(1), 80), (WanId(3), 5353)]);
    }

    /// RFC 7084 WPD-1, WPD-2.
    #[test]
    fn a_prefix_is_asked_for_with_the_length_that_is_written_or_because_a_lan_needs_one() {
        let config = config(GATEWAY);
        let settings = settings(&config, &facts(&config));
        let asked: Vec<Option<Option<PrefixRequest>>> =
            settings.wans.iter().map(|wan| wan.ipv6.map(|ipv6| ipv6.prefix)).collect();
        let hinted = PrefixRequest { length: Some(56) };
        let unhinted = PrefixRequest { length: None };
        assert_eq!(asked, [Some(Some(hinted)), Some(Some(unhinted)), None, None]);
        assert_eq!(settings.lans[0].prefix, Some(LanPrefix { from: WanId(1), subnet: 3 }));
    }

    #[test]
    fn ipv6_of_lans_and_subscribers_is_handed_on() {
        let config = config(GATEWAY);
        let settings = settings(&config, &facts(&config));
        assert_eq!(settings.ula, Ula::Given("fd00:1:2::/48".parse().unwrap()));
        assert_eq!(settings.lans[0].dhcp6, Dhcp6::Stateful);
        assert_eq!(settings.lans[0].hosts[0].ipv6, Some("::10".parse().unwrap()));
        let concentrator = &settings.concentrators[0];
        let pool = PrefixPool { prefix: "2001:db8::/48".parse().unwrap(), delegate: 56 };
        assert_eq!(concentrator.prefix_pool, Some(pool));
        assert_eq!(concentrator.dns[1], "2001:db8::53".parse::<std::net::IpAddr>().unwrap());
        assert_eq!(concentrator.users[0].prefix, Some("2001:db8:0:ff00::/56".parse().unwrap()));
    }

    #[test]
    fn rules_are_handed_on_with_their_zones() {
        let config = config(GATEWAY);
        let settings = settings(&config, &facts(&config));
        let [vpn, suffix, rule] = settings.rules.as_slice() else { panic!("{:?}", settings.rules) };
        assert_eq!((vpn.from, vpn.to), (Some(id::Zone::Vpn), None));
        assert_eq!(suffix.destination, Some(Network::V6Suffix("::10/64".parse().unwrap())));
        assert_eq!((rule.from, rule.to), (Some(id::Zone::Concentrator), Some(id::Zone::Lan)));
        assert_eq!((rule.protocol, rule.action), (RuleProtocol::Tcp, Action::Reject));
        assert_eq!(rule.ports, [22..=22, 80..=90]);
        let source = id::Ipv4Cidr { address: "100.64.0.0".parse().unwrap(), prefix: 24 };
        assert_eq!(rule.source, Some(Network::V4(source)));
        assert_eq!(rule.destination, None);
    }

    #[test]
    fn a_vpn_is_handed_on_with_its_peers_and_the_lan_that_it_carries() {
        let config = config(GATEWAY);
        let settings = settings(&config, &facts(&config));
        let [office, friends] = settings.vpns.as_slice() else { panic!("{:?}", settings.vpns) };
        assert_eq!((office.name.as_str(), office.listen_port, office.mtu), ("office", 443, Some(1400)));
        assert_eq!(office.ipv4.map(|cidr| cidr.to_string()).as_deref(), Some("10.77.0.1/24"));
        assert_eq!(office.ipv6, Some("fd00:77::1/64".parse().unwrap()));
        assert_eq!(office.bridge, None);
        let key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
        assert_eq!(genkan_config::key::text(office.private_key.expose()).as_str(), key);
        let [peer] = office.peers.as_slice() else { panic!("{:?}", office.peers) };
        assert_eq!(peer.name, "xTIBA5rb…");
        assert_eq!(peer.preshared_key.as_ref().unwrap().expose(), office.private_key.expose());
        assert_eq!(peer.endpoint, Some(Endpoint::Address("[2001:db8::7]:51820".parse().unwrap())));
        assert_eq!(peer.allowed_ips[1].to_string(), "10.1.0.0/16");
        assert_eq!(peer.keepalive, Some(std::time::Duration::from_secs(25)));
        let bridge = VpnBridge {
            lan: LanId(1),
            vni: 42,
            ra_guard: true,
            isolate_dhcp: true,
            suppress: true,
            hub: true,
        };
        assert_eq!((friends.listen_port, friends.mtu, friends.bridge), (51820, None, Some(bridge)));
    }

    /// RFC 4638: the device below an MTU over 1492 must carry eight octets more. Lesson 11: it is raised.
    #[test]
    fn rfc4638_a_port_is_raised_for_the_largest_session_that_is_dialled_on_it() {
        let config = config(GATEWAY);
        let wanted: Vec<Option<u16>> = specs(&config).iter().map(|spec| spec.wanted_mtu).collect();
        assert_eq!(wanted, [None, None, Some(1508), None, None]);
    }

    /// Lesson 5.
    #[test]
    fn a_port_has_the_vlan_that_is_written() {
        let of = |lines: &str| {
            let config =
                config(GATEWAY.replace("nic = \"eth0\"\n", &format!("nic = \"eth0\"\n{lines}")).leak());
            let facts = vec![PortFacts { mac: Mac([2, 0, 0, 0, 0, 9]), mtu: 1500, offload: true }; 5];
            (settings(&config, &facts).ports[2].vlan, specs(&config)[2].promiscuous)
        };
        assert_eq!(of(""), (None, false));
        assert_eq!(of("vlan = 6\n"), (Some(Vlan { id: 6, control_priority: 0 }), true));
        let both = of("vlan = 4094\nvlan-priority = 7\n");
        assert_eq!(both, (Some(Vlan { id: 4094, control_priority: 7 }), true));
    }

    #[test]
    fn ports_are_opened_as_the_configuration_says() {
        let config = config(GATEWAY);
        let specs = specs(&config);
        assert_eq!(specs[0].device, Device::Tap { device: "tap0".to_owned(), offload: true });
        assert_eq!(specs[2].device, Device::Nic { device: "eth0".to_owned() });
        assert_eq!(specs[2].mac, Some(Mac([2, 0, 0, 0, 0, 1])));
        let promiscuous: Vec<bool> = specs.iter().map(|spec| spec.promiscuous).collect();
        assert_eq!(promiscuous, [true, true, false, false, false]);
    }
}
