//! Two sites with one LAN: its frames go through the VPN.

use alloc::format;

use super::*;
use crate::id::LanId;
use crate::ledger::DropReason;
use crate::settings::VpnBridge;

/// A site of the common LAN, with `ports` ports on it.
fn bridged_site(n: u8, calls: Option<u8>, ports: u16) -> Settings {
    let mut settings = site(n, 2, calls);
    settings.lans =
        vec![Lan { ports: (1..=ports).map(PortId).collect(), ..lan(1, cidr([192, 168, 7, n], 24)) }];
    settings.ports.extend((2..=ports).map(|index| port(10 * n + index as u8)));
    for (index, port) in settings.ports.iter_mut().enumerate() {
        port.name = format!("lan{index}");
    }
    let vpn = &mut settings.vpns[0];
    let (lan, vni) = (LanId(0), 7);
    let bridge = VpnBridge { lan, vni, ra_guard: true, isolate_dhcp: true, suppress: true, hub: false };
    vpn.bridge = Some(bridge);
    vpn.peers[0].allowed_ips.truncate(1);
    settings
}

struct Common {
    world: World,
    sites: [NodeId; 2],
    hosts: [NodeId; 2],
}

impl Common {
    /// The host of each site pings the other's.
    fn new(one: &Settings, two: &Settings) -> Common {
        let mut world = World::new(7);
        let between = world.add_gateway(&internet());
        let sites = [world.add_gateway(one), world.add_gateway(two)];
        let hosts = [1, 2].map(|n: u8| {
            world.add_host(HostSettings {
                mac: Mac([2, 0, 0, 0, 99, n]),
                address: cidr([192, 168, 7, 50 + n], 24),
                router: [192, 168, 7, n].into(),
                target: Some([192, 168, 7, 53 - n].into()),
                ipv6: None,
                target_ipv6: None,
            })
        });
        for n in [0, 1] {
            let site = sites[usize::from(n)];
            world.connect(End(site, PortId(1)), End(hosts[usize::from(n)], PortId(0)));
            world.connect(End(between, PortId(n)), End(site, PortId(0)));
        }
        Common { world, sites, hosts }
    }

    fn replies(&mut self) -> u64 {
        self.world.host(self.hosts[0]).unwrap().replies()
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for site in self.sites {
                let gateway = self.world.gateway(site).unwrap();
                assert!(gateway.balance().holds());
                assert_eq!(gateway.ledger().dropped(DropReason::Internal), 0);
            }
        }
    }
}

#[test]
fn hosts_of_one_lan_at_two_sites_reach_each_other_as_neighbours() {
    let mut common = Common::new(&bridged_site(1, Some(2), 1), &bridged_site(2, None, 1));
    common.world.run_for(Duration::from_secs(600));
    assert!(common.replies() >= 598, "{} {}", common.replies(), common.world.story());
    for site in common.sites {
        let now = common.world.now();
        let gateway = common.world.gateway(site).unwrap();
        assert_eq!(gateway.status(now).nat.flows, 0, "nothing is routed");
    }
}

#[test]
fn a_second_way_between_the_sites_is_a_loop_that_is_named_and_does_not_stop_the_lan() {
    let mut sites = [bridged_site(1, Some(2), 2), bridged_site(2, None, 2)];
    for bridge in sites.iter_mut().filter_map(|site| site.vpns[0].bridge.as_mut()) {
        bridge.suppress = false;
    }
    let mut common = Common::new(&sites[0], &sites[1]);
    common.world.run_for(Duration::from_secs(90));
    let [one, two] = common.sites;
    common.world.connect(End(one, PortId(2)), End(two, PortId(2)));
    // The host has forgotten everything, and asks everyone.
    common.world.restart_host(common.hosts[0]);
    common.world.run_for(Duration::from_secs(120));
    let story = common.world.story();
    assert!(story.contains("lan home: there is a loop: 02:00:00:00:63:0"), "{story}");
    assert!(story.contains("in turn; nothing passes by peer other for 60 s"), "{story}");
    let before = common.replies();
    common.world.run_for(Duration::from_secs(60));
    assert!(common.replies() >= before + 55, "{} of 60 {story}", common.replies() - before);
    for site in common.sites {
        let sent = common.world.gateway(site).unwrap().ledger().transmitted;
        assert!(sent < 20_000, "{sent} frames are a storm");
    }
}
