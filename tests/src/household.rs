//! A household and its ISP in the simulated network: client — gateway — line — concentrator — server.

use std::net::Ipv4Addr;

use genkan_netstack::id::{Ipv4Cidr, Mac, PortId};
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{
    Action, Authentication, Concentrator, Dhcp4, Dhcp6, Echo, Lan, Port, PppoeClient, Rule, RuleProtocol,
    Settings, Uplink, User, Wan,
};
use genkan_netstack::sim::{CableId, End, HostSettings, NodeId, World};
use genkan_netstack::time::Duration;

/// The server on the far side.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The client on the LAN.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
/// The gateway's Ethernet address on the line.
pub const GATEWAY_WAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 0]);
/// The gateway's Ethernet address on the LAN.
pub const GATEWAY_LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
/// The gateway's port on the line, and the concentrator's.
pub const LINE: PortId = PortId(0);
/// The gateway's port on the LAN, and the ISP's on the far side.
pub const INSIDE: PortId = PortId(1);

fn cidr(address: [u8; 4], prefix: u8) -> Ipv4Cidr {
    Ipv4Cidr { address: address.into(), prefix }
}

fn port(name: &str, mac: Mac) -> Port {
    Port { name: name.into(), mac, mtu: 1500, vlan: None, offload: false }
}

/// A gateway with one uplink on [`LINE`] and a LAN with DHCP on [`INSIDE`].
pub fn gateway() -> Settings {
    Settings {
        hostname: "genkan".into(),
        ports: vec![port("wan0", GATEWAY_WAN_MAC), port("lan0", GATEWAY_LAN_MAC)],
        wans: vec![Wan {
            name: "isp".into(),
            port: LINE,
            uplink: Uplink::Pppoe(PppoeClient {
                username: "user@isp.example".into(),
                password: Secret::new("correct horse"),
                service_name: Vec::new(),
                ac_name: None,
                host_uniq: None,
                authentication: vec![Authentication::ChapMd5, Authentication::MsChapV2, Authentication::Pap],
                mtu: 1492,
                echo: Echo::default(),
            }),
            ipv4: true,
            ipv6: None,
        }],
        lans: vec![Lan {
            name: "home".into(),
            ports: vec![INSIDE],
            address: cidr([192, 168, 1, 1], 24),
            dhcp: Some(Dhcp4 {
                range: Ipv4Addr::new(192, 168, 1, 100)..=Ipv4Addr::new(192, 168, 1, 199),
                lease: Duration::from_secs(12 * 3600),
            }),
            prefix: None,
            dhcp6: Dhcp6::Off,
            domain: "home.arpa".into(),
            hosts: Vec::new(),
        }],
        ..Settings::default()
    }
}

/// An ISP: a concentrator on [`LINE`], and the far side as a LAN on [`INSIDE`].
pub fn isp() -> Settings {
    Settings {
        hostname: "isp".into(),
        ports: vec![port("access0", Mac([2, 0, 0, 0, 2, 0])), port("core0", Mac([2, 0, 0, 0, 2, 1]))],
        lans: vec![Lan {
            name: "core".into(),
            ports: vec![INSIDE],
            address: cidr([203, 0, 113, 1], 24),
            dhcp: None,
            prefix: None,
            dhcp6: Dhcp6::Off,
            domain: "isp.example".into(),
            hosts: Vec::new(),
        }],
        concentrators: vec![Concentrator {
            name: "bras".into(),
            port: LINE,
            ac_name: "bras1".into(),
            service_names: Vec::new(),
            address: Ipv4Addr::new(198, 51, 100, 1),
            pool: cidr([198, 51, 100, 0], 24),
            prefix_pool: None,
            dns: vec![SERVER.into()],
            authentication: vec![Authentication::ChapMd5],
            users: vec![User {
                name: "user@isp.example".into(),
                password: Secret::new("correct horse"),
                ipv4: None,
                prefix: None,
            }],
            mtu: 1500,
            echo: Echo::default(),
            sessions: 1000,
            sessions_per_mac: 4,
        }],
        rules: vec![Rule {
            from: Some(genkan_netstack::id::Zone::Concentrator),
            to: Some(genkan_netstack::id::Zone::Lan),
            protocol: RuleProtocol::Any,
            ports: Vec::new(),
            source: None,
            destination: None,
            action: Action::Accept,
        }],
        ..Settings::default()
    }
}

/// The whole simulated household.
pub struct Household {
    /// The network.
    pub world: World,
    /// The ISP's gateway.
    pub isp: NodeId,
    /// The household's gateway.
    pub gateway: NodeId,
    /// The client, which pings the server once a second.
    pub client: NodeId,
    /// The server.
    pub server: NodeId,
    /// The cable between the gateway and the concentrator.
    pub line: CableId,
}

impl Household {
    /// A household in which everything has just been switched on.
    pub fn new(seed: u64) -> Self {
        Household::with(seed, &gateway(), &isp())
    }

    /// The same with settings of the caller's.
    pub fn with(seed: u64, gateway: &Settings, isp: &Settings) -> Self {
        let mut world = World::new(seed);
        let isp = world.add_gateway(isp);
        let gateway = world.add_gateway(gateway);
        let client = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 3, 0]),
            address: Ipv4Cidr { address: CLIENT, prefix: 24 },
            router: Ipv4Addr::new(192, 168, 1, 1),
            target: Some(SERVER),
        });
        let server = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 4, 0]),
            address: Ipv4Cidr { address: SERVER, prefix: 24 },
            router: Ipv4Addr::new(203, 0, 113, 1),
            target: None,
        });
        let line = world.connect(End(gateway, LINE), End(isp, LINE));
        world.connect(End(gateway, INSIDE), End(client, PortId(0)));
        world.connect(End(isp, INSIDE), End(server, PortId(0)));
        Household { world, isp, gateway, client, server, line }
    }

    /// True when the server has answered the client within the last `span`.
    pub fn online_within(&mut self, span: Duration) -> bool {
        let now = self.world.now();
        self.world
            .host(self.client)
            .and_then(|host| host.last_reply())
            .is_some_and(|at| now.since(at) <= span)
    }

    /// Panics unless every frame of both gateways is accounted for.
    pub fn assert_balance(&mut self) {
        for (name, node) in [("gateway", self.gateway), ("isp", self.isp)] {
            if let Some(gateway) = self.world.gateway(node) {
                let balance = gateway.balance();
                assert!(balance.holds(), "{name}: {balance:?}, {:?}", gateway.ledger());
                assert_eq!(
                    gateway.ledger().dropped(genkan_netstack::ledger::DropReason::Internal),
                    0,
                    "{name}: a frame was dropped for a fault of the router"
                );
            }
        }
    }
}
