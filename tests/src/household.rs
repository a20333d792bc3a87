//! A household and its ISP in the simulated network: client — gateway — line — concentrator — servers.
//!
//! [`Household::new`] has IPv4 alone. [`Household::dual_stack`] has IPv6, too, over a session of its own or over the same;
//! its ISP delegates prefixes, and sends what is for elsewhere by an uplink without PPPoE, on which there is a server.

use std::net::{Ipv4Addr, Ipv6Addr};

use genkan_netstack::id::{Ipv4Cidr, Ipv6Cidr, Mac, PortId, WanId};
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{
    Action, Authentication, Concentrator, Dhcp4, Dhcp6, Echo, Lan, LanPrefix, Port, PppoeClient, PrefixPool,
    PrefixRequest, Rule, RuleProtocol, Settings, StaticIpv6, StaticUplink, Uplink, User, Wan, WanIpv6,
};
use genkan_netstack::sim::{CableId, End, HostIpv6Settings, HostSettings, NodeId, World};
use genkan_netstack::time::Duration;

/// The server on the far side.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The server on the far side of the ISP's uplink.
pub const SERVER_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
/// The ISP's address there.
const ISP_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
/// What the Internet routes to the ISP.
pub const ISP_PREFIX: Ipv6Cidr =
    Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), prefix: 34 };
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
/// The ISP's port towards the rest of the Internet.
pub const CORE: PortId = PortId(2);

/// The login that carries IPv4.
pub const USER: &str = "user@isp.example";
/// The login that carries IPv6, when that has a session of its own.
pub const USER_IPV6: &str = "user@v6.isp.example";
/// The password of both.
const PASSWORD: &str = "correct horse";

/// Which sessions carry a dual-stack household's families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// One carries both.
    One,
    /// Each has its own, on the same port and with a login of its own.
    Two,
}

/// A host that does nothing of its own accord.
fn host() -> HostSettings {
    HostSettings {
        mac: Mac::default(),
        address: cidr([0; 4], 0),
        router: Ipv4Addr::UNSPECIFIED,
        target: None,
        ipv6: None,
        target_ipv6: None,
    }
}

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
            uplink: Uplink::Pppoe(pppoe(USER)),
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
                ntp: Vec::new(),
            }),
            prefix: None,
            dhcp6: Dhcp6::Off,
            domain: "home.arpa".into(),
            hosts: Vec::new(),
        }],
        ..Settings::default()
    }
}

fn pppoe(username: &str) -> PppoeClient {
    PppoeClient {
        username: username.into(),
        password: Secret::new(PASSWORD),
        service_name: Vec::new(),
        ac_name: None,
        host_uniq: None,
        authentication: vec![Authentication::ChapMd5, Authentication::MsChapV2, Authentication::Pap],
        mtu: 1492,
        echo: Echo::default(),
    }
}

/// The same with IPv6 on the LAN, out of a prefix that the ISP delegates.
pub fn dual_stack_gateway(sessions: Sessions) -> Settings {
    let mut settings = gateway();
    let ipv6 = Some(WanIpv6 { prefix: Some(PrefixRequest::default()) });
    if sessions == Sessions::Two {
        settings.wans.push(Wan {
            name: "isp6".into(),
            port: LINE,
            uplink: Uplink::Pppoe(pppoe(USER_IPV6)),
            ipv4: false,
            ipv6: None,
        });
    }
    let carrier = settings.wans.len() - 1;
    settings.wans[carrier].ipv6 = ipv6;
    settings.lans[0].prefix = Some(LanPrefix { from: WanId(carrier as u16), subnet: 0 });
    settings
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
            users: vec![user(USER)],
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
            line: None,
        }],
        ..Settings::default()
    }
}

fn user(name: &str) -> User {
    User { name: name.into(), password: Secret::new(PASSWORD), ipv4: None, prefix: None }
}

/// The same with prefixes to delegate and an uplink to the rest of the Internet on [`CORE`].
pub fn dual_stack_isp() -> Settings {
    let mut settings = isp();
    settings.ports.push(port("transit0", Mac([2, 0, 0, 0, 2, 2])));
    settings.wans.push(Wan {
        name: "transit".into(),
        port: CORE,
        uplink: Uplink::Static(StaticUplink {
            ipv4: None,
            ipv6: Some(StaticIpv6 {
                address: Ipv6Cidr { address: ISP_IPV6, prefix: 64 },
                gateway: SERVER_IPV6,
                prefix: Some(ISP_PREFIX),
            }),
            dns: Vec::new(),
        }),
        ipv4: false,
        ipv6: Some(WanIpv6::default()),
    });
    let bras = &mut settings.concentrators[0];
    bras.prefix_pool = Some(PrefixPool {
        prefix: Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 0x1000, 0, 0, 0, 0, 0), prefix: 36 },
        delegate: 56,
    });
    bras.users.push(user(USER_IPV6));
    settings
}

/// The whole simulated household.
pub struct Household {
    /// The network.
    pub world: World,
    /// The ISP's gateway.
    pub isp: NodeId,
    /// The household's gateway.
    pub gateway: NodeId,
    /// The client, which pings the servers once a second.
    pub client: NodeId,
    /// The server.
    pub server: NodeId,
    /// The cable between the gateway and the concentrator.
    pub line: CableId,
    /// The cable between the gateway and the client.
    pub lan: CableId,
}

impl Household {
    /// A household in which everything has just been switched on.
    pub fn new(seed: u64) -> Self {
        Household::with(seed, &gateway(), &isp())
    }

    /// The same with settings of the caller's.
    pub fn with(seed: u64, gateway: &Settings, isp: &Settings) -> Self {
        Household::build(seed, gateway, isp, None)
    }

    /// A dual-stack household in which everything has just been switched on.
    pub fn dual_stack(seed: u64, sessions: Sessions) -> Self {
        Household::dual_stack_with(seed, &dual_stack_gateway(sessions), &dual_stack_isp())
    }

    /// The same with settings of the caller's.
    pub fn dual_stack_with(seed: u64, gateway: &Settings, isp: &Settings) -> Self {
        let mut household = Household::build(seed, gateway, isp, Some(HostIpv6Settings::Autoconfigured));
        let world = &mut household.world;
        let server = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 5, 0]),
            ipv6: Some(HostIpv6Settings::Static {
                address: Ipv6Cidr { address: SERVER_IPV6, prefix: 64 },
                router: ISP_IPV6,
            }),
            ..host()
        });
        world.connect(End(household.isp, CORE), End(server, PortId(0)));
        household
    }

    fn build(seed: u64, gateway: &Settings, isp: &Settings, ipv6: Option<HostIpv6Settings>) -> Self {
        let mut world = World::new(seed);
        let isp = world.add_gateway(isp);
        let gateway = world.add_gateway(gateway);
        let client = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 3, 0]),
            address: Ipv4Cidr { address: CLIENT, prefix: 24 },
            router: Ipv4Addr::new(192, 168, 1, 1),
            target: Some(SERVER),
            ipv6,
            target_ipv6: ipv6.map(|_| SERVER_IPV6),
        });
        let server = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 4, 0]),
            address: Ipv4Cidr { address: SERVER, prefix: 24 },
            router: Ipv4Addr::new(203, 0, 113, 1),
            ..host()
        });
        let line = world.connect(End(gateway, LINE), End(isp, LINE));
        let lan = world.connect(End(gateway, INSIDE), End(client, PortId(0)));
        world.connect(End(isp, INSIDE), End(server, PortId(0)));
        Household { world, isp, gateway, client, server, line, lan }
    }

    /// True when the server has answered the client within the last `span`.
    pub fn online_within(&mut self, span: Duration) -> bool {
        let now = self.world.now();
        self.world
            .host(self.client)
            .and_then(|host| host.last_reply())
            .is_some_and(|at| now.since(at) <= span)
    }

    /// True when the IPv6 server has answered the client within the last `span`, at an address that new connections could
    /// have then.
    pub fn online_by_ipv6_within(&mut self, span: Duration) -> bool {
        let now = self.world.now();
        let ipv6 = self.world.host(self.client).and_then(|host| host.ipv6());
        let replies = ipv6.map(|ipv6| ipv6.replies()).unwrap_or_default();
        replies.iter().any(|reply| reply.preferred && now.since(reply.at) <= span)
    }

    /// The client's addresses for new connections, but those of the site's own (RFC 4193).
    pub fn preferred_addresses(&mut self) -> Vec<Ipv6Addr> {
        let now = self.world.now();
        let Some(ipv6) = self.world.host(self.client).and_then(|host| host.ipv6()) else { return Vec::new() };
        let preferred = ipv6.addresses().filter(|own| own.is_preferred(now)).map(|own| own.address);
        preferred.filter(|address| !address.is_unique_local()).collect()
    }

    /// The prefixes that the ISP routes to the household.
    pub fn routed_prefixes(&mut self) -> Vec<Ipv6Cidr> {
        let now = self.world.now();
        let Some(isp) = self.world.gateway(self.isp) else { return Vec::new() };
        let sessions = isp.status(now).concentrators.into_iter().flat_map(|bras| bras.sessions);
        sessions.flat_map(|session| session.prefixes).collect()
    }

    /// What is to be known of the household when a test fails.
    pub fn report(&mut self) -> String {
        let now = self.world.now();
        let routed = self.routed_prefixes();
        let story = self.world.story();
        let wans = self.world.gateway(self.gateway).map(|gateway| gateway.status(now).wans);
        let client = self.world.host(self.client).and_then(|host| host.ipv6());
        let addresses: Vec<_> = client.iter().flat_map(|client| client.addresses()).collect();
        let replies = client.map(|client| client.replies()).unwrap_or_default();
        format!(
            "{story}at {now} the ISP routes {routed:?};\nthe client has {addresses:#?},\nand had answers at {replies:?};\n\
             the gateway's uplinks: {wans:#?}"
        )
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
