//! Two sites joined by WireGuard across an Internet: hosts reach each other, whatever happens in between.

use alloc::string::String;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::gateway::Gateway;
use crate::id::{IpCidr, Ipv4Cidr, Mac, PortId, Zone};
use crate::settings::{
    Action, Dhcp6, Endpoint, Lan, Port, Rule, RuleProtocol, Settings, StaticIpv4, StaticUplink, Uplink, Vpn,
    VpnPeer, Wan,
};
use crate::sim::{CableId, End, HostSettings, Impairment, NodeId, World};
use crate::status::VpnPeerStatus;
use crate::time::Duration;
use crate::tunnel::wireguard::PrivateKey;

const PORT: u16 = 51_820;

fn cidr(address: [u8; 4], prefix: u8) -> Ipv4Cidr {
    Ipv4Cidr { address: address.into(), prefix }
}

fn port(mac: u8) -> Port {
    Port { name: String::from("port"), mac: Mac([2, 0, 0, 0, mac, 0]), mtu: 1500, vlan: None, offload: false }
}

fn lan(port: u16, address: Ipv4Cidr) -> Lan {
    Lan {
        name: "home".into(),
        ports: vec![PortId(port)],
        address,
        dhcp: None,
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![],
    }
}

fn key(n: u8) -> PrivateKey {
    PrivateKey::new([n; 32])
}

/// The network that the Internet gives a site: site 1 or 2.
fn outside(site: u8, host: u8) -> [u8; 4] {
    [198, 51, 99 + site, host]
}

/// Routes between the two sites' uplinks.
fn internet() -> Settings {
    Settings {
        ports: vec![port(1), port(2)],
        lans: vec![lan(0, cidr(outside(1, 1), 24)), lan(1, cidr(outside(2, 1), 24))],
        ..Settings::default()
    }
}

/// A site: its uplink's host number, and which host number it calls the other one at.
fn site(n: u8, host: u8, calls: Option<u8>) -> Settings {
    let other = 3 - n;
    let uplink = Uplink::Static(StaticUplink {
        ipv4: Some(StaticIpv4 { address: cidr(outside(n, host), 24), gateway: outside(n, 1).into() }),
        ..StaticUplink::default()
    });
    let peer = VpnPeer {
        name: "other".into(),
        public_key: key(other).public(),
        preshared_key: None,
        endpoint: calls
            .map(|host| Endpoint::Address(SocketAddr::new(IpAddr::from(outside(other, host)), PORT))),
        allowed_ips: vec![
            IpCidr::V4(cidr([10, 77, 0, other], 32)),
            IpCidr::V4(cidr([192, 168, other, 0], 24)),
        ],
        keepalive: calls.map(|_| Duration::from_secs(25)),
    };
    let from_vpn = Rule {
        from: Some(Zone::Vpn),
        to: Some(Zone::Lan),
        protocol: RuleProtocol::Any,
        ports: vec![],
        source: None,
        destination: None,
        action: Action::Accept,
    };
    Settings {
        hostname: "genkan".into(),
        ports: vec![port(10 * n), port(10 * n + 1)],
        wans: vec![Wan { name: "net".into(), port: PortId(0), uplink, ipv4: true, ipv6: None }],
        lans: vec![lan(1, cidr([192, 168, n, 1], 24))],
        vpns: vec![Vpn {
            name: "sites".into(),
            private_key: key(n),
            listen_port: PORT,
            ipv4: Some(cidr([10, 77, 0, n], 24)),
            ipv6: None,
            mtu: None,
            bridge: None,
            peers: vec![peer],
        }],
        rules: vec![from_vpn],
        ..Settings::default()
    }
}

/// The sites, the Internet between them, and a host at site 1 that pings one at site 2 every second.
struct Sites {
    world: World,
    sites: [NodeId; 2],
    /// From the Internet to each site.
    lines: [CableId; 2],
    host: NodeId,
}

impl Sites {
    fn new(one: &Settings, two: &Settings) -> Sites {
        let mut world = World::new(5);
        let between = world.add_gateway(&internet());
        let sites = [world.add_gateway(one), world.add_gateway(two)];
        let mut host = |n: u8, target: Option<Ipv4Addr>| {
            world.add_host(HostSettings {
                mac: Mac([2, 0, 0, 0, 99, n]),
                address: cidr([192, 168, n, 50], 24),
                router: [192, 168, n, 1].into(),
                target,
                ipv6: None,
                target_ipv6: None,
            })
        };
        let hosts = [host(1, Some([192, 168, 2, 50].into())), host(2, None)];
        let lines = [0, 1].map(|n: u16| {
            let site = sites[usize::from(n)];
            world.connect(End(site, PortId(1)), End(hosts[usize::from(n)], PortId(0)));
            world.connect(End(between, PortId(n)), End(site, PortId(0)))
        });
        Sites { world, sites, lines, host: hosts[0] }
    }

    fn run(&mut self, seconds: u64) {
        self.world.run_for(Duration::from_secs(seconds));
    }

    fn replies(&mut self) -> u64 {
        self.world.host(self.host).unwrap().replies()
    }

    fn gateway(&mut self, site: usize) -> &mut Gateway {
        self.world.gateway(self.sites[site]).unwrap()
    }

    /// The other site, as one of them sees it.
    fn peer(&mut self, site: usize) -> VpnPeerStatus {
        let now = self.world.now();
        self.gateway(site).status(now).vpns.remove(0).peers.remove(0)
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for site in [0, 1] {
                assert!(self.gateway(site).balance().holds());
            }
        }
    }
}

#[test]
fn hosts_of_two_sites_reach_each_other_and_no_ping_is_lost() {
    let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
    sites.run(600);
    // The first ones wait for ARP and keys; none is dropped.
    assert!(sites.replies() >= 599, "{} {}", sites.replies(), sites.world.story());
    for n in [0, 1] {
        let peer = sites.peer(n);
        assert_eq!(peer.state, "up");
        assert_eq!(peer.endpoint, Some(SocketAddr::new(outside(2 - n as u8, 2).into(), PORT)));
        assert!(peer.handshake_age_s.unwrap() <= 125, "keys are renewed");
        assert!(peer.usage.rx_packets >= 599 && peer.usage.tx_packets >= 599);
        assert_eq!(peer.lost, 0);
    }
}

#[test]
fn a_site_with_another_address_is_found_within_a_keepalive() {
    let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
    sites.run(30);
    let state = sites.world.crash(sites.sites[0]);
    sites.world.start(sites.sites[0], &site(1, 77, Some(2)), &state);
    let before = sites.replies();
    sites.run(25);
    assert!(sites.replies() >= before + 20, "{}", sites.world.story());
    assert_eq!(sites.peer(1).endpoint, Some(SocketAddr::new(outside(1, 77).into(), PORT)));
}

#[test]
fn a_peer_that_does_not_answer_is_named_with_the_reason_and_comes_back() {
    let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
    sites.run(30);
    let line = sites.lines[1];
    sites.world.impair(line, Impairment::cut());
    sites.run(300);
    let peer = sites.peer(0);
    assert!(peer.state.starts_with("the peer did not answer"), "{}", peer.state);
    assert!(
        sites.world.story().contains("vpn sites: other is down: the peer did not answer"),
        "{}",
        sites.world.story()
    );
    sites.world.impair(line, Impairment::default());
    sites.run(30);
    let before = sites.replies();
    sites.run(10);
    assert!(sites.replies() >= before + 9, "{}", sites.world.story());
    assert_eq!(sites.peer(0).state, "up");
}

#[test]
fn what_no_rule_lets_in_from_a_peer_stays_out() {
    let closed = Settings { rules: vec![], ..site(2, 2, None) };
    let mut sites = Sites::new(&site(1, 2, Some(2)), &closed);
    sites.run(30);
    assert_eq!(sites.replies(), 0);
    assert_eq!(sites.peer(0).state, "up");
    let dropped = sites.gateway(1).ledger().dropped(crate::ledger::DropReason::FilterDefault);
    assert!(dropped >= 25, "{dropped}");
}

#[test]
fn a_peer_may_be_the_way_to_everywhere() {
    let mut one = site(1, 2, Some(2));
    one.vpns[0].peers[0].allowed_ips = vec![IpCidr::V4(cidr([0, 0, 0, 0], 0))];
    let mut sites = Sites::new(&one, &site(2, 2, None));
    sites.run(30);
    let answered = sites.replies();
    assert!(answered >= 28, "{answered}: the host at the other site is behind everything, too");
    let now = sites.world.now();
    let uplink = sites.gateway(0).status(now).wans.remove(0);
    let inside = sites.peer(0).usage;
    assert!(inside.tx_packets >= answered);
    assert_eq!(
        sites.gateway(0).status(now).nat.mappings,
        1,
        "the VPN's port, and nothing of the host's: {uplink:?}"
    );
}
