//! Two sites joined by WireGuard across an Internet: hosts reach each other, whatever happens in between.

mod bridged;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::gateway::{Gateway, tests};
use crate::id::{Interface, IpCidr, Ipv4Cidr, Ipv6Cidr, Mac, PortId, VpnId, Zone};
use crate::ledger::DropReason;
use crate::settings::{
    Action, Dhcp6, Endpoint, Lan, Port, Rule, RuleProtocol, Settings, StaticIpv4, StaticIpv6, StaticUplink,
    Uplink, Vpn, VpnPeer, Wan, WanIpv6,
};
use crate::sight::{Point, Sighting, Watch};
use crate::sim::{CableId, End, HostSettings, Impairment, NodeId, World};
use crate::state::State;
use crate::status::VpnPeerStatus;
use crate::time::Duration;
use crate::tunnel::wireguard::PrivateKey;
use crate::wire::ipv4::{self, Ipv4};

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

fn accept_to_lan() -> Rule {
    Rule {
        from: None,
        to: Some(Zone::Lan),
        protocol: RuleProtocol::Any,
        ports: vec![],
        source: None,
        destination: None,
        action: Action::Accept,
        line: None,
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
            masquerade: false,
            bridge: None,
            peers: vec![peer],
        }],
        rules: vec![Rule { from: Some(Zone::Vpn), ..accept_to_lan() }],
        ..Settings::default()
    }
}

/// The sites, the Internet between them, and a host at each.
struct Sites {
    world: World,
    internet: NodeId,
    sites: [NodeId; 2],
    /// From the Internet to each site.
    lines: [CableId; 2],
    hosts: [NodeId; 2],
    /// The first host that pings the other one, once a second.
    host: NodeId,
}

impl Sites {
    /// The host at site 1 pings.
    fn new(one: &Settings, two: &Settings) -> Sites {
        Sites::between(&internet(), one, two, &[1])
    }

    /// The hosts at the sites `pinging` do.
    fn between(internet: &Settings, one: &Settings, two: &Settings, pinging: &[u8]) -> Sites {
        let mut world = World::new(5);
        let between = world.add_gateway(internet);
        let sites = [world.add_gateway(one), world.add_gateway(two)];
        let lan = |n: u8| [one, two][usize::from(n) - 1].lans[0].address.address;
        let address = |n: u8| {
            let [a, b, c, _] = lan(n).octets();
            [a, b, c, 50 + n]
        };
        let hosts = [1, 2].map(|n: u8| {
            let target = pinging.contains(&n).then(|| Ipv4Addr::from(address(3 - n)));
            world.add_host(HostSettings {
                mac: Mac([2, 0, 0, 0, 99, n]),
                address: cidr(address(n), 24),
                router: lan(n),
                target,
                ipv6: None,
                target_ipv6: None,
            })
        });
        let lines = [0, 1].map(|n: u16| {
            let site = sites[usize::from(n)];
            world.connect(End(site, PortId(1)), End(hosts[usize::from(n)], PortId(0)));
            world.connect(End(between, PortId(n)), End(site, PortId(0)))
        });
        let host = hosts[usize::from(pinging[0]) - 1];
        Sites { world, internet: between, sites, lines, hosts, host }
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
                assert_eq!(self.gateway(site).ledger().dropped(DropReason::Internal), 0);
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
    let dropped = sites.gateway(1).ledger().dropped(DropReason::FilterDefault);
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

/// The Internet, with a concentrator for site 1 that gives it an address of this network.
fn provider(network: u8) -> Settings {
    let mut settings = internet();
    settings.lans.remove(0);
    settings.concentrators = tests::isp().concentrators;
    settings.concentrators[0].address = [198, 51, network, 1].into();
    settings.concentrators[0].pool = cidr([198, 51, network, 0], 24);
    settings.rules = vec![Rule { from: Some(Zone::Concentrator), ..accept_to_lan() }];
    settings
}

fn dialling() -> Settings {
    Settings { wans: vec![tests::wan("net")], ..site(1, 0, Some(2)) }
}

/// Only the other site has something to say, and says it to where this one was.
#[test]
fn a_site_that_is_given_another_address_says_so_at_once() {
    let mut sites = Sites::between(&provider(100), &dialling(), &site(2, 2, None), &[2]);
    sites.run(60);
    let before = sites.peer(1).endpoint.unwrap();
    assert!(sites.replies() > 30, "{}", sites.world.story());
    let internet = sites.internet;
    sites.world.crash(internet);
    sites.world.start(internet, &provider(110), &State::default());
    while !sites.world.story().contains("198.51.110.") {
        sites.run(1);
    }
    let answered = sites.replies();
    sites.run(4);
    assert!(sites.replies() >= answered + 3, "{}", sites.world.story());
    assert_ne!(sites.peer(1).endpoint.unwrap().ip(), before.ip());
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_a_site_out() {
    let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
    let noon = Duration::from_secs(1_700_000_000);
    let now = sites.world.now();
    sites.gateway(0).set_clock(now, noon);
    sites.run(30);
    let state = sites.world.crash(sites.sites[0]);
    sites.world.start(sites.sites[0], &site(1, 2, Some(2)), &state);
    let now = sites.world.now();
    sites.gateway(0).set_clock(now, noon - Duration::from_secs(3600));
    let before = sites.replies();
    sites.run(10);
    assert!(sites.replies() >= before + 8, "{}", sites.world.story());
}

/// Keys end after three minutes, and after a pause nobody knows how old they are.
#[test]
fn after_a_pause_nothing_is_sent_by_the_old_keys_and_new_ones_are_there_at_once() {
    // Who calls and who is called; the other site's clock counts everything.
    for paused in [0, 1] {
        let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, Some(2)));
        let noon = Duration::from_secs(1_700_000_000);
        let now = sites.world.now();
        sites.gateway(paused).set_clock(now, noon);
        sites.run(30);
        let node = sites.sites[paused];
        sites.world.pause(node);
        sites.run(600);
        // Its wall clock has not gone on either, or was set back a day.
        let now = sites.world.clock(node);
        sites.gateway(paused).set_clock(now, noon - Duration::from_secs(86_400));
        let refused = |sites: &mut Sites| {
            let ledger = sites.gateway(1 - paused).ledger();
            [DropReason::WireguardNoKeys, DropReason::WireguardUnknownIndex, DropReason::WireguardReplay]
                .map(|reason| ledger.dropped(reason))
        };
        let before = refused(&mut sites);
        sites.world.resume(node);
        let replies = sites.replies();
        sites.run(5);
        assert!(sites.replies() >= replies + 4, "{}", sites.world.story());
        assert_eq!(refused(&mut sites), before, "nothing by keys that the other one has given up");
        let now = sites.world.clock(node);
        let peer = sites.gateway(paused).status(now).vpns.remove(0).peers.remove(0);
        assert!(peer.handshake_age_s.unwrap() <= 5, "{peer:?}");
        assert_eq!(peer.state, "up");
        sites.run(400);
        assert_eq!(sites.peer(1 - paused).state, "up");
    }
}

/// A pause that was none costs a handshake, and no packet.
#[test]
fn a_pause_of_no_length_costs_a_vpn_no_packet() {
    let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
    sites.run(30);
    let replies = sites.replies();
    let node = sites.sites[0];
    for _ in 0..3 {
        sites.world.pause(node);
        sites.world.resume(node);
        sites.run(10);
        assert!(sites.peer(0).handshake_age_s.unwrap() <= 10);
    }
    assert_eq!(sites.replies(), replies + 30, "{}", sites.world.story());
}

#[test]
fn packets_inside_are_shown_to_who_looks_and_only_then() {
    let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
    sites.run(5);
    assert!(sites.gateway(0).poll_sighting().is_none());
    sites.gateway(0).watch(Watch::Everything);
    sites.run(3);
    let mut shown = [0, 0];
    while let Some(Sighting { point, sent, frame, .. }) = sites.gateway(0).poll_sighting() {
        if point != Point::Interface(Interface::Vpn(VpnId(0))) {
            continue;
        }
        let packet = Ipv4::parse(&frame.bytes()[14..]).unwrap();
        let ends = [Ipv4Addr::from([192, 168, 1, 51]), [192, 168, 2, 52].into()];
        assert_eq!([packet.source(), packet.destination()], if sent { ends } else { [ends[1], ends[0]] });
        assert_eq!(packet.protocol(), 1, "the ping, and not what it travels in");
        shown[usize::from(sent)] += 1;
    }
    assert_eq!(shown, [3, 3]);
}

#[test]
fn looking_changes_nothing() {
    let story = |watch| {
        let mut sites = Sites::new(&site(1, 2, Some(2)), &site(2, 2, None));
        for site in [0, 1] {
            sites.gateway(site).watch(watch);
        }
        for _ in 0..20 {
            sites.run(1);
            for site in [0, 1] {
                while sites.gateway(site).poll_sighting().is_some() {}
            }
        }
        let ledger = |sites: &mut Sites, site| sites.gateway(site).ledger().clone();
        (sites.replies(), ledger(&mut sites, 0), ledger(&mut sites, 1), sites.world.story())
    };
    assert_eq!(story(Watch::Everything), story(Watch::Nothing));
    assert_eq!(story(Watch::Drops), story(Watch::Nothing));
}

/// The sites' uplinks have no IPv4 at all.
#[test]
fn ipv6_outside_carries_ipv4_inside() {
    // No router between them: the sites are neighbours, and each is the other's gateway.
    let outside = |n: u8| alloc::format!("2001:db8::{n}").parse::<Ipv6Addr>().unwrap();
    let settings = [1, 2].map(|n: u8| {
        let mut settings = site(n, 2, None);
        let other = 3 - n;
        let address = Ipv6Cidr { address: outside(n), prefix: 64 };
        settings.wans[0].uplink = Uplink::Static(StaticUplink {
            ipv6: Some(StaticIpv6 { address, gateway: outside(other), prefix: None }),
            ..StaticUplink::default()
        });
        (settings.wans[0].ipv4, settings.wans[0].ipv6) = (false, Some(WanIpv6::default()));
        let at = SocketAddr::new(outside(other).into(), PORT);
        settings.vpns[0].peers[0].endpoint = (n == 1).then_some(Endpoint::Address(at));
        settings
    });
    let mut world = World::new(9);
    let sites = [0, 1].map(|n| world.add_gateway(&settings[n]));
    world.connect(End(sites[0], PortId(0)), End(sites[1], PortId(0)));
    let host = world.add_host(HostSettings {
        mac: Mac([2, 0, 0, 0, 99, 1]),
        address: cidr([192, 168, 1, 50], 24),
        router: [192, 168, 1, 1].into(),
        target: Some([10, 77, 0, 2].into()),
        ipv6: None,
        target_ipv6: None,
    });
    world.connect(End(sites[0], PortId(1)), End(host, PortId(0)));
    world.run_for(Duration::from_secs(30));
    assert!(world.host(host).unwrap().replies() >= 25, "{}", world.story());
    let gateway = world.gateway(sites[0]).unwrap();
    assert!(gateway.balance().holds() && world.gateway(sites[1]).unwrap().balance().holds());
}

/// A way between the sites is narrower than both ends know: messages come in fragments, and go on.
#[test]
fn messages_in_fragments_are_put_together() {
    let mut narrow = internet();
    narrow.ports[1].mtu = 900;
    let mut sites = Sites::between(&narrow, &site(1, 2, Some(2)), &site(2, 2, None), &[1]);
    sites.run(5);
    let before = sites.peer(1).usage.rx_octets;
    let packet = udp([192, 168, 1, 51], [192, 168, 2, 52], 1300);
    let host = sites.host;
    sites.world.host(host).unwrap().send_ip([192, 168, 2, 52].into(), &packet);
    sites.run(5);
    assert!(sites.peer(1).usage.rx_octets >= before + 1300, "{}", sites.world.story());
    assert_eq!(sites.peer(1).lost, 0);
}

/// A UDP packet with `len` octets from the IP header on.
fn udp(source: [u8; 4], destination: [u8; 4], len: u16) -> Vec<u8> {
    let mut packet = vec![0; usize::from(len)];
    packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet[20..28].copy_from_slice(&[0x10, 0, 0x20, 0, 0, 0, 0, 0]);
    packet[24..26].copy_from_slice(&(len - 20).to_be_bytes());
    ipv4::write_header_checksum(&mut packet, 20);
    packet
}
