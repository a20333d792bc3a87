//! IPv6 on a plain uplink: neighbours, the default router, groups.

use alloc::vec;

use super::net::*;
use super::packet::Packet6;
use crate::forward::tests::net::{ISP, Net, WAN_PORT, by_dhcp, port_mac};
use crate::forward::{NextHop, PuntKind, WanIpv6};
use crate::frame::Frame;
use crate::id::{Interface, Mac};
use crate::ledger::DropReason;

fn beyond(address: core::net::Ipv6Addr) -> At6 {
    At6::Station(WAN_PORT, mac_of6(address))
}

fn net() -> Net {
    let mut net = Net::dual_with(by_dhcp());
    net.set_wan6(
        ISP,
        Some(WanIpv6 {
            mtu: 1500,
            addresses: vec![ours()],
            on_link: vec![cidr("2001:db8:ff::/64")],
            default_router: Some(NextHop::Router(isp_local())),
            ..wan_ipv6("2001:db8:1::/48")
        }),
    );
    net
}

impl Net {
    fn segment6(&mut self, to: Mac, packet: Packet6) -> Out6 {
        let frame = Net::ethernet(to, mac_of6(isp_local()), 0x86dd, &packet.build());
        self.frame(WAN_PORT, Frame::from_bytes(&frame)).nothing();
        Out6(core::mem::take(&mut self.six))
    }
}

#[test]
fn packets_go_to_the_default_router_or_the_neighbour() {
    let mut net = net();
    net.lan6(Packet6::udp((host(), 1), (server(), 2), b"")).only(beyond(isp_local()));
    net.lan6(Packet6::udp((host(), 1), (server(), 2), b"")).only(beyond(isp_local()));
    let neighbour = ip6("2001:db8:ff::9");
    net.lan6(Packet6::udp((host(), 1), (neighbour, 2), b"")).only(beyond(neighbour));
    for _ in 0..2 {
        net.segment6(port_mac(WAN_PORT), Packet6::udp((server(), 2), (host(), 1), b"")).only(at(host()));
    }
    assert_eq!(net.forwarder.usage(crate::forward::SessionOwner::Wan(ISP)).unwrap().rx_packets, 2);
    net.segment6(port_mac(WAN_PORT), Packet6::udp((server(), 9), (host(), 1), b"")).nothing();
    // A refusal goes back by the same router.
    let nobody = ip6("2001:db8:1:77::1");
    let unreachable = net.segment6(port_mac(WAN_PORT), Packet6::udp((server(), 9), (nobody, 1), b""));
    unreachable.error(beyond(isp_local()), 1, 0);
}

#[test]
fn discovery_comes_and_goes_by_groups() {
    let mut net = net();
    let group = crate::wire::ipv6::group_mac(ip6("ff02::1"));
    let advertisement = Packet6::icmp(isp_local(), ip6("ff02::1"), 134, 0, [0; 4], &[0; 8]).hops(255);
    net.segment6(group, advertisement).nothing();
    assert_eq!(net.punted(), [PuntKind::Ndp { interface: Interface::Wan(ISP) }]);
    let all_routers = ip6("ff02::2");
    let solicitation = Packet6::icmp(ours_local(), all_routers, 133, 0, [0; 4], &[]).hops(255);
    let group = At6::Station(WAN_PORT, crate::wire::ipv6::group_mac(all_routers));
    net.link6(Interface::Wan(ISP), solicitation).only(group);
    // What is for one host and was sent to many stations is nobody's.
    let frame_to_all = Packet6::udp((server(), 2), (host(), 1), b"");
    net.segment6(Mac::BROADCAST, frame_to_all.clone()).nothing();
    assert_eq!(net.dropped(DropReason::BogonDestination), 1);
    net.segment6(Mac([2, 9, 9, 9, 9, 9]), frame_to_all).nothing();
    assert_eq!(net.dropped(DropReason::OtherStation), 1);
}
