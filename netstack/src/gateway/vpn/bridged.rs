//! Two sites with one LAN: its frames go through the VPN.

use alloc::format;

use super::*;
use crate::id::LanId;
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

/// The host of each site pings the other's.
fn common(one: &Settings, two: &Settings) -> Sites {
    Sites::between(&internet(), one, two, &[1, 2])
}

#[test]
fn hosts_of_one_lan_at_two_sites_reach_each_other_as_neighbours() {
    let mut common = common(&bridged_site(1, Some(2), 1), &bridged_site(2, None, 1));
    common.run(600);
    assert!(common.replies() >= 598, "{} {}", common.replies(), common.world.story());
    let now = common.world.now();
    for site in [0, 1] {
        assert_eq!(common.gateway(site).status(now).nat.flows, 0, "nothing is routed");
    }
}

#[test]
fn a_second_way_between_the_sites_is_a_loop_that_is_named_and_does_not_stop_the_lan() {
    let mut sites = [bridged_site(1, Some(2), 2), bridged_site(2, None, 2)];
    for bridge in sites.iter_mut().filter_map(|site| site.vpns[0].bridge.as_mut()) {
        bridge.suppress = false;
    }
    let mut common = common(&sites[0], &sites[1]);
    common.run(90);
    let [one, two] = common.sites;
    common.world.connect(End(one, PortId(2)), End(two, PortId(2)));
    // The host has forgotten everything, and asks everyone.
    common.world.restart_host(common.hosts[0]);
    common.run(120);
    let story = common.world.story();
    assert!(story.contains("lan home: there is a loop: 02:00:00:00:63:0"), "{story}");
    assert!(story.contains("in turn; nothing passes by peer other for 60 s"), "{story}");
    let before = common.replies();
    common.run(60);
    assert!(common.replies() >= before + 55, "{} of 60 {story}", common.replies() - before);
    for site in [0, 1] {
        let sent = common.gateway(site).ledger().transmitted;
        assert!(sent < 20_000, "{sent} frames are a storm");
    }
}

/// Both sites are one LAN: the hosts are neighbours, and fill their frames.
#[test]
fn hosts_of_a_bridged_lan_are_neighbours_across_the_sites() {
    let mut sites = Sites::new(&bridged_site(1, Some(2), 1), &bridged_site(2, None, 1));
    sites.run(30);
    assert!(sites.replies() >= 28, "{}", sites.world.story());
    let packet = udp([192, 168, 7, 51], [192, 168, 7, 52], 1500);
    let (host, before) = (sites.host, sites.peer(1).usage.rx_packets);
    sites.world.host(host).unwrap().send_ip([192, 168, 7, 52].into(), &packet);
    sites.run(2);
    // The pings of two seconds, ARP perhaps, and the two pieces of a frame that is larger than the VPN's packets.
    let after = sites.peer(1).usage.rx_packets - before;
    assert!((4..=6).contains(&after), "{after}");
    // The host there, and the router.
    assert_eq!((sites.peer(0).stations, sites.peer(1).stations), (Some(2), Some(2)));
}
