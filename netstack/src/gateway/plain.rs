//! Uplinks without PPPoE, each behind another of our gateways: a real double router.

use alloc::string::String;
use alloc::vec;
use core::net::Ipv4Addr;

use crate::gateway::Gateway;
use crate::id::{Ipv4Cidr, Mac, PortId, WanId};
use crate::settings::{
    Dhcp4, Dhcp6, Lan, Port, PortForward, Settings, StaticIpv4, StaticUplink, Transport, Uplink, Wan,
};
use crate::sim::{End, HostSettings, NodeId, World};
use crate::time::Duration;

const HOUR: u64 = 3600;

fn ip(third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, third, last)
}

fn port(mac: u8, mtu: u16) -> Port {
    Port { name: String::from("port"), mac: Mac([2, 0, 0, 0, mac, 0]), mtu, vlan: None, offload: false }
}

fn lan(port: u16, third: u8) -> Lan {
    Lan {
        name: "home".into(),
        ports: vec![PortId(port)],
        address: Ipv4Cidr { address: ip(third, 1), prefix: 24 },
        dhcp: Some(Dhcp4 {
            range: ip(third, 100)..=ip(third, 103),
            lease: Duration::from_secs(HOUR),
            ntp: vec![],
        }),
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![],
    }
}

/// The router nearer to the Internet.
fn outer() -> Settings {
    Settings { ports: vec![port(1, 1480)], lans: vec![lan(0, 1)], ..Settings::default() }
}

fn inner(uplink: Uplink) -> Settings {
    let forward =
        PortForward { wan: WanId(0), protocol: Transport::Tcp, port: 80, to: ip(2, 50), to_port: 80 };
    let wan = Wan { name: "cable".into(), port: PortId(0), uplink, ipv4: true, ipv6: None };
    Settings {
        hostname: "genkan".into(),
        ports: vec![port(2, 1500), port(3, 1500)],
        wans: vec![wan],
        lans: vec![lan(1, 2)],
        port_forwards: vec![forward],
        ..Settings::default()
    }
}

/// Two routers one behind the other, a host on the inner one's LAN that pings the outer one, and the way between.
struct Street {
    world: World,
    outer: NodeId,
    inner: NodeId,
    host: NodeId,
    settings: Settings,
}

impl Street {
    fn new(settings: Settings) -> Street {
        let mut world = World::new(11);
        let outer = world.add_gateway(&outer());
        let inner = world.add_gateway(&settings);
        let host = world.add_host(HostSettings {
            mac: Mac([2, 0, 0, 0, 9, 9]),
            address: Ipv4Cidr { address: ip(2, 50), prefix: 24 },
            router: ip(2, 1),
            target: Some(ip(1, 1)),
            ipv6: None,
            target_ipv6: None,
        });
        world.connect(End(outer, PortId(0)), End(inner, PortId(0)));
        world.connect(End(inner, PortId(1)), End(host, PortId(0)));
        Street { world, outer, inner, host, settings }
    }

    fn run(&mut self, seconds: u64) {
        self.world.run_for(Duration::from_secs(seconds));
    }

    fn online(&mut self) -> bool {
        let now = self.world.now();
        let last = self.world.host(self.host).unwrap().last_reply();
        last.is_some_and(|last| now.since(last) <= Duration::from_secs(3))
    }

    fn gateway(&mut self) -> &mut Gateway {
        self.world.gateway(self.inner).unwrap()
    }

    fn wan(&mut self) -> crate::status::WanStatus {
        let now = self.world.now();
        self.gateway().status(now).wans.remove(0)
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for node in [self.outer, self.inner] {
                assert!(self.world.gateway(node).unwrap().balance().holds());
            }
        }
    }
}

#[test]
fn a_host_behind_two_routers_is_online_by_dhcp_and_stays_so() {
    let mut street = Street::new(inner(Uplink::Dhcp));
    street.run(20);
    assert!(street.online(), "{}", street.world.story());
    let wan = street.wan();
    assert_eq!((wan.kind, wan.up, wan.state), ("dhcp", true, "up"));
    let address = wan.address.unwrap();
    assert!((ip(1, 100)..=ip(1, 103)).contains(&address));
    assert_eq!(wan.network, Some(Ipv4Cidr { address, prefix: 24 }));
    assert_eq!((wan.gateway, wan.dns), (Some(ip(1, 1)), vec![ip(1, 1)]));
    assert_eq!(wan.mtu, Some(1480), "as the DHCP server says");
    let lease = wan.lease.unwrap();
    assert_eq!(lease.server, ip(1, 1));
    assert!(lease.renews_in_s.unwrap() <= HOUR / 2 && lease.expires_in_s.unwrap() > HOUR - 30);
    let outer = street.outer;
    let now = street.world.now();
    let leases = &street.world.gateway(outer).unwrap().status(now).lans[0].leases;
    assert_eq!(leases[0].hostname.as_deref(), Some("genkan"));

    // Some renewals.
    street.run(3 * HOUR);
    assert!(street.online());
    let wan = street.wan();
    assert_eq!((wan.address, wan.epoch), (Some(address), 0));
    assert!(wan.since_s <= HOUR / 2 + 1 && wan.usage.rx_packets > 10_000);
}

#[test]
fn rfc2131_the_address_is_the_same_after_a_restart() {
    let mut street = Street::new(inner(Uplink::Dhcp));
    street.run(20);
    let address = street.wan().address;
    let inner = street.inner;
    let state = street.world.crash(inner).without_adoption();
    assert_eq!(state.uplink_leases.len(), 1);
    let settings = street.settings.clone();
    street.run(60);
    street.world.start(inner, &settings, &state);
    street.run(12);
    assert!(street.online(), "{}", street.world.story());
    assert_eq!(street.wan().address, address);
}

#[test]
fn after_a_crash_of_the_program_the_lease_goes_on_at_once() {
    let mut street = Street::new(inner(Uplink::Dhcp));
    street.run(20);
    let (inner, host) = (street.inner, street.host);
    let now = street.world.now();
    street.world.host(host).unwrap().ping_every(now, Duration::from_millis(100));
    street.run(1);
    let before = street.wan();
    let state = street.world.crash(inner);
    let settings = street.settings.clone();
    street.run(2);
    street.world.start(inner, &settings, &state);
    let after = street.wan();
    assert!(after.up && after.state == "confirming");
    let of =
        |wan: &crate::status::WanStatus| (wan.address, wan.network, wan.gateway, wan.dns.clone(), wan.mtu);
    assert_eq!(of(&after), of(&before));
    let started = street.world.now();
    street.world.run_for(Duration::from_millis(250));
    let last = street.world.host(host).unwrap().last_reply();
    assert!(last.is_some_and(|last| last > started), "{}", street.world.story());
    street.run(10);
    assert_eq!((street.wan().state, street.wan().address, street.wan().epoch), ("up", before.address, 0));
}

#[test]
fn an_address_that_is_lost_and_another_that_comes_are_one_epoch() {
    let mut street = Street::new(inner(Uplink::Dhcp));
    street.run(20);
    let before = street.wan().address;
    // The outer router starts again with another network and knows no leases.
    let outer = street.outer;
    let _ = street.world.crash(outer);
    let mut settings = self::outer();
    settings.lans[0].dhcp =
        Some(Dhcp4 { range: ip(1, 150)..=ip(1, 151), lease: Duration::from_secs(HOUR), ntp: vec![] });
    street.world.start(outer, &settings, &crate::state::State::default());
    street.run(HOUR);
    let wan = street.wan();
    assert!(wan.up && wan.address != before, "{}", street.world.story());
    assert_eq!(wan.epoch, 1);
    assert!(street.online());
    let flows = |street: &mut Street| street.gateway().status(crate::time::Instant::ZERO).nat.flows;
    assert!(flows(&mut street) <= 2, "what was translated to the old address is gone");
}

#[test]
fn rfc5227_an_address_that_somebody_uses_is_declined() {
    let mut world = World::new(12);
    let settings = inner(Uplink::Dhcp);
    let gateway = world.add_gateway(&settings);
    // Two gateways on one cable: the squatter has every address of the pool but the last.
    let mut outer = outer();
    outer.ports.push(port(7, 1500));
    outer.lans[0].ports.push(PortId(1));
    outer.lans[0].dhcp =
        Some(Dhcp4 { range: ip(1, 100)..=ip(1, 101), lease: Duration::from_secs(HOUR), ntp: vec![] });
    let outer = world.add_gateway(&outer);
    let squatter = world.add_host(HostSettings {
        mac: Mac([2, 0, 0, 0, 8, 8]),
        address: Ipv4Cidr { address: ip(1, 100), prefix: 24 },
        router: ip(1, 1),
        target: None,
        ipv6: None,
        target_ipv6: None,
    });
    world.connect(End(gateway, PortId(0)), End(outer, PortId(0)));
    world.connect(End(outer, PortId(1)), End(squatter, PortId(0)));
    world.run_for(Duration::from_secs(60));
    let now = world.now();
    let status = world.gateway(gateway).unwrap().status(now);
    assert_eq!(status.wans[0].address, Some(ip(1, 101)), "{}", world.story());
}

#[test]
fn a_static_uplink_is_up_from_the_start_and_serves() {
    let given = StaticUplink {
        ipv4: Some(StaticIpv4 { address: Ipv4Cidr { address: ip(1, 9), prefix: 24 }, gateway: ip(1, 1) }),
        ipv6: None,
        dns: vec![ip(1, 1).into()],
    };
    let mut street = Street::new(inner(Uplink::Static(given)));
    street.run(5);
    assert!(street.online(), "{}", street.world.story());
    let wan = street.wan();
    assert_eq!((wan.kind, wan.up, wan.state), ("static", true, "up"));
    assert_eq!((wan.address, wan.gateway), (Some(ip(1, 9)), Some(ip(1, 1))));
    let now = street.world.now();
    assert_eq!(street.gateway().status(now).lans[0].address.address, ip(2, 1));
}

#[test]
fn an_uplink_without_a_server_goes_on_asking_and_says_so() {
    let mut street = Street::new(inner(Uplink::Dhcp));
    let outer = street.outer;
    let _ = street.world.crash(outer);
    street.run(HOUR);
    let wan = street.wan();
    assert!(!wan.up);
    assert_eq!(wan.state, "selecting");
    assert!(wan.last_failure.unwrap().contains("no DHCP server"));
    street.world.start(outer, &self::outer(), &crate::state::State::default());
    street.run(80);
    assert!(street.online(), "{}", street.world.story());
}
