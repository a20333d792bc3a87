//! What crosses the border between inside and outside: sources, destinations, prefixes.

use alloc::vec;

use super::net::*;
use super::packet::Packet6;
use crate::forward::tests::net::{ALICE, BOB, HOME, ISP, ISP_2, LAN_PORT, Net};
use crate::forward::tests::packet::{ACK, SYN};
use crate::forward::{LanIpv6, PuntKind, SessionOwner, Update, WanIpv6};
use crate::frame::Offload;
use crate::id::Interface;
use crate::ledger::DropReason;

#[test]
fn packets_go_out_by_the_session_and_answers_come_back() {
    let mut net = Net::dual();
    let read = net.lan6(Packet6::udp((host(), 5000), (server(), 53), b"out")).only(ISP6);
    assert_eq!((read.source, read.destination), ((host(), 5000), (server(), 53)), "nothing is translated");
    assert_eq!(read.hop_limit, 63);
    let read = net.wan6(Packet6::udp((server(), 53), (host(), 5000), b"back")).only(at(host()));
    assert_eq!((read.hop_limit, &read.body()[8..]), (63, &b"back"[..]));
    assert_eq!(net.forwarder.flow_count(), 1);
    let flow = net.forwarder.flows().next().unwrap();
    assert_eq!((flow.source, flow.translated_source), ((host().into(), 5000), (host().into(), 5000)));
    net.lan6(Packet6::ping(host(), server(), 7)).only(ISP6);
    net.wan6(Packet6::pong(server(), host(), 7)).only(at(host()));
    net.wan6(Packet6::pong(server(), host(), 8)).nothing();
}

/// RFC 7084 S-1: the rules of RFC 6092 hold.
#[test]
fn rfc7084_s_1_nothing_comes_in_that_was_not_asked_for() {
    let mut net = Net::dual();
    net.wan6(Packet6::udp((server(), 53), (host(), 5000), b"")).nothing();
    net.wan6(Packet6::tcp((server(), 80), (host(), 5000), ACK, b"")).nothing();
    net.wan6(Packet6::ping(server(), host(), 1)).nothing();
    net.wan6(Packet6::ping(server(), ours(), 1)).nothing();
    assert_eq!(net.forwarder.flow_count(), 0);
    assert_eq!(net.dropped(DropReason::FilterDefault), 3);
    net.guest6(Packet6::ping(visitor(), host(), 1)).only(at(host()));
    net.lan6(Packet6::pong(host(), visitor(), 1)).only(at_guest(visitor()));
}

/// RFC 7084 G-3; TR-124 WAN.DoS: IPv6 source must be delegated; no upstream IPv6 before the prefix.
#[test]
fn rfc7084_g_3_nothing_is_forwarded_before_there_is_a_prefix() {
    let mut net = Net::dual();
    let mut net_2 = Net::new();
    net_2.lan6(Packet6::udp((host(), 5000), (server(), 53), b"")).nothing();
    assert_eq!(net_2.dropped(DropReason::Ipv6Off), 1);
    net_2.session6(SessionOwner::Wan(ISP), &Packet6::udp((server(), 1), (host(), 2), b"").build()).nothing();
    assert_eq!(net_2.punted(), [PuntKind::Ppp { owner: SessionOwner::Wan(ISP) }], "PPP knows what to say");

    net.set_wan6(ISP, Some(WanIpv6 { delegated: vec![], ..isp_ipv6() }));
    let packet = Packet6::udp((host(), 5000), (server(), 53), b"");
    net.lan6(packet.clone()).error(at(host()), 1, 5);
    net.set_wan6(ISP, Some(isp_ipv6()));
    net.lan6(packet).only(ISP6);
}

/// RFC 7084 S-2 and RFC 6092 REC-5: what leaves bears a source of the LAN that it comes from.
#[test]
fn rfc6092_rec_5_and_rfc7084_s_2_sources_from_inside_are_those_of_the_lan() {
    let mut net = Net::dual();
    let to = (server(), 53);
    for source in [visitor(), alice(), router(), ours()] {
        net.lan6(Packet6::udp((source, 5000), to, b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::Spoofed), 4);
    net.lan6(Packet6::udp((server(), 5000), (host_2(), 53), b"")).error(at(server()), 1, 5);
    // Not even within an established flow.
    net.lan6(Packet6::udp((host(), 5000), to, b"")).only(ISP6);
    net.guest6(Packet6::udp((host(), 5000), to, b"")).nothing();
    net.wan6(Packet6::udp(to, (host(), 5000), b"")).only(at(host()));
}

/// RFC 6092 REC-6: what comes from outside bears no source of ours.
#[test]
fn rfc6092_rec_6_sources_from_outside_are_not_ours() {
    let mut net = Net::dual();
    net.lan6(Packet6::udp((host(), 5000), (server(), 53), b"")).only(ISP6);
    for source in [host_2(), router(), ours(), ip6("2001:db8:1:99::1"), alice()] {
        net.wan6(Packet6::udp((source, 53), (host(), 5000), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::Spoofed), 5);
    net.wan6_2(Packet6::udp((server(), 53), (host(), 5000), b"")).nothing();
    assert_eq!(net.dropped(DropReason::NoRoute), 1, "that prefix is not reached by this uplink");
}

/// RFC 6092 REC-7 and RFC 7084 ULA-4.
#[test]
fn rfc6092_rec_7_and_rfc7084_ula_4_unique_local_addresses_stay_inside() {
    let mut net = Net::dual();
    net.lan6(Packet6::udp((host_ula(), 1), (server(), 2), b"")).error(at(host_ula()), 1, 1);
    net.lan6(Packet6::udp((host(), 1), (ip6("fd99::1"), 2), b"")).error(at(host()), 1, 1);
    net.wan6(Packet6::udp((ip6("fd99::1"), 1), (host(), 2), b"")).nothing();
    net.wan6(Packet6::udp((server(), 1), (host_ula(), 2), b"")).nothing();
    assert_eq!(net.dropped(DropReason::UlaLeak), 4);
    // Between LANs they are good.
    let visitor = ip6("fd00:1:1:2::10");
    net.lan6(Packet6::udp((host_ula(), 1), (visitor, 2), b"")).only(at_guest(visitor));
}

/// RFC 6092 REC-1 and REC-2: no group's packet crosses the router, whatever its scope, and no source is a group.
#[test]
fn rfc6092_rec_1_and_rec_2_multicast_does_not_pass() {
    let mut net = Net::dual();
    for group in ["ff02::fb", "ff05::1", "ff08::1", "ff0e::1"] {
        net.lan6(Packet6::udp((host(), 1), (ip6(group), 2), b"")).nothing();
        net.wan6(Packet6::udp((server(), 1), (ip6(group), 2), b"")).nothing();
        net.lan6(Packet6::udp((ip6(group), 1), (server(), 2), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::BogonDestination), 8);
    assert_eq!(net.dropped(DropReason::BogonSource), 4);
}

/// RFC 6092 REC-3.
#[test]
fn rfc6092_rec_3_addresses_that_nobody_has_do_not_pass() {
    let mut net = Net::dual();
    for address in ["::1", "::ffff:192.0.2.1", "::192.0.2.1", "fec0::1", "2001:10::1", "::"] {
        net.wan6(Packet6::udp((ip6(address), 1), (host(), 2), b"")).nothing();
        net.lan6(Packet6::udp((host(), 1), (ip6(address), 2), b"")).nothing();
    }
    assert_eq!(net.dropped(DropReason::BogonSource), 6);
    assert_eq!(net.dropped(DropReason::BogonDestination), 6);
    net.lan6(Packet6::udp((host(), 1), (host(), 2), b"")).nothing();
    assert_eq!(net.dropped(DropReason::Land), 1);
}

#[test]
fn link_local_packets_are_never_forwarded() {
    let mut net = Net::dual();
    let local = ip6("fe80::10");
    net.lan6(Packet6::udp((local, 1), (server(), 2), b"")).error(at(local), 1, 2);
    net.lan6(Packet6::udp((host(), 1), (ip6("fe80::99"), 2), b"")).nothing();
    net.wan6(Packet6::udp((isp_local(), 1), (host(), 2), b"")).nothing();
    net.lan6(Packet6::ping(local, router_local(), 1)).only(At6::Local(Interface::Lan(HOME)));
    net.router6(Packet6::pong(router_local(), local, 1)).only(at(local));
    net.lan6(Packet6::ping(local, ours_local(), 1)).nothing();
}

/// RFC 7084 L-14.
#[test]
fn rfc7084_l_14_a_stale_source_is_told_that_it_is() {
    let mut net = Net::dual();
    let packet = Packet6::udp((host(), 5000), (server(), 53), b"question");
    net.lan6(packet.clone()).only(ISP6);
    let old = home_ipv6();
    let renumbered = LanIpv6 {
        addresses: vec![router_local(), ip6("2001:db8:3:1::1")],
        prefixes: vec![cidr("2001:db8:3:1::/64")],
        stale: old.prefixes.clone(),
    };
    net.set_wan6(ISP, Some(wan_ipv6("2001:db8:3::/48")));
    net.apply(Update::LanIpv6 { lan: HOME, ipv6: renumbered });
    let read = net.lan6(packet.clone()).error(at(host()), 1, 5);
    assert_eq!(read.quoted(), packet.build());
    assert_eq!(read.source.0, ip6("2001:db8:3:1::1"));
    net.wan6(Packet6::udp((server(), 53), (host(), 5000), b"late")).nothing();
    net.lan6(Packet6::udp((ip6("2001:db8:3:1::10"), 5000), (server(), 53), b"")).only(ISP6);
}

/// RFC 7084 WPD-5.
#[test]
fn rfc7084_wpd_5_what_no_lan_has_of_a_delegated_prefix_is_unreachable() {
    let mut net = Net::dual();
    let nobody = ip6("2001:db8:1:77::1");
    net.wan6(Packet6::udp((server(), 1), (nobody, 2), b"")).error(ISP6, 1, 0);
    net.lan6(Packet6::udp((host(), 1), (nobody, 2), b"")).error(at(host()), 1, 0);
    assert_eq!(net.dropped(DropReason::NoRoute), 2);
}

/// RFC 7084 WAA-9: without an address on the uplink, the router speaks there from a LAN's, and is spoken to there.
#[test]
fn rfc7084_waa_9_the_router_uses_a_lans_address_on_an_uplink_that_has_none() {
    let mut net = Net::dual();
    net.set_wan6(ISP, Some(wan_ipv6("2001:db8:1::/48")));
    net.router6(Packet6::udp((router(), 5353), (server(), 53), b"")).only(ISP6);
    net.wan6(Packet6::udp((server(), 53), (router(), 5353), b"")).only(At6::Local(Interface::Wan(ISP)));
    let read = net.wan6(Packet6::udp((server(), 1), (ip6("2001:db8:1:77::1"), 2), b"")).error(ISP6, 1, 0);
    assert_eq!(read.source.0, router());
}

#[test]
fn the_source_chooses_the_uplink() {
    let mut net = Net::dual();
    let mut home = home_ipv6();
    home.prefixes.push(cidr("2001:db8:2:1::/64"));
    net.apply(Update::LanIpv6 { lan: HOME, ipv6: home });
    net.lan6(Packet6::udp((host(), 1), (server(), 2), b"")).only(ISP6);
    let second = ip6("2001:db8:2:1::10");
    net.lan6(Packet6::udp((second, 1), (server(), 2), b"")).only(ISP6_2);
    net.wan6_2(Packet6::udp((server(), 2), (second, 1), b"")).only(at(second));
    net.router6(Packet6::udp((ours(), 1), (server(), 2), b"")).only(ISP6);
    // Without its uplink, or without a router there, a source goes nowhere.
    net.set_wan6(ISP, Some(WanIpv6 { default_router: None, ..isp_ipv6() }));
    net.lan6(Packet6::udp((host(), 3), (server(), 2), b"")).error(at(host()), 1, 0);
    net.set_wan6(ISP, None);
    net.lan6(Packet6::udp((host(), 4), (server(), 2), b"")).error(at(host()), 1, 0);
    net.lan6(Packet6::udp((host(), 1), (server(), 2), b"")).error(at(host()), 1, 0);
    assert_eq!(net.dropped(DropReason::WanDown), 2);
}

#[test]
fn subscribers_speak_with_the_internet_and_each_other_from_what_is_delegated_to_them() {
    let mut net = Net::dual();
    let to = (server(), 2);
    net.subscriber6(ALICE, Packet6::udp((alice(), 1), to, b"")).only(ISP6_2);
    let alices = At6::Session(SessionOwner::Subscriber(ALICE));
    let bobs = At6::Session(SessionOwner::Subscriber(BOB));
    net.wan6_2(Packet6::udp(to, (alice(), 1), b"")).only(alices);
    net.subscriber6(ALICE, Packet6::udp((alice(), 1), (bob(), 2), b"")).only(bobs);
    net.subscriber6(BOB, Packet6::udp((alice(), 1), to, b"")).nothing();
    net.subscriber6(BOB, Packet6::udp((bob(), 1), (host(), 2), b"")).nothing();
    net.wan6_2(Packet6::udp((server(), 9), (bob(), 1), b"")).nothing();
    net.subscriber6(BOB, Packet6::udp((ip6("2001:db8:9::1"), 1), to, b"")).error(bobs, 1, 5);
    // To the router a subscriber may say ping, and nothing else.
    let local = ip6("fe80::cccc");
    net.subscriber6(ALICE, Packet6::ping(alice(), local, 1)).only(At6::Local(Interface::Subscriber(ALICE)));
    net.subscriber6(ALICE, Packet6::udp((alice(), 1), (local, 53), b"")).nothing();
    // Who has gone is gone.
    net.set_subscriber6(ALICE, None);
    net.wan6_2(Packet6::udp(to, (alice(), 1), b"")).nothing();
}

/// RFC 6092 REC-8 and REC-50: nothing of the router answers outside; REC-9: no DHCPv6 server does.
#[test]
fn rfc6092_rec_8_rec_9_and_rec_50_the_router_serves_nobody_outside() {
    let mut net = Net::dual();
    for port in [53, 22, 80, 443, 547] {
        for to in [ours(), router(), ours_local()] {
            net.wan6(Packet6::udp((server(), 4000), (to, port), b"")).nothing();
            net.wan6(Packet6::tcp((server(), 4000), (to, port), SYN, b"")).nothing();
        }
    }
    net.wan6(Packet6::udp((isp_local(), 546), (ip6("ff02::1:2"), 547), b"")).nothing();
    assert!(net.punted().is_empty());
    net.lan6(Packet6::udp((host(), 4000), (router(), 53), b"")).only(At6::Local(Interface::Lan(HOME)));
}

#[test]
fn discovery_and_dhcpv6_are_handed_up_whatever_flows_there_are() {
    let mut net = Net::dual();
    let wan = Interface::Wan(ISP);
    let lan = Interface::Lan(HOME);
    let local = ip6("fe80::10");
    let nd = |from, to: &str, kind| Packet6::icmp(from, ip6(to), kind, 0, [0; 4], &[0; 16]).hops(255);
    net.wan6(nd(isp_local(), "ff02::1", 134)).nothing();
    net.wan6(nd(isp_local(), "fe80::aaaa", 134)).nothing();
    net.lan6(nd(ip6("::"), "ff02::2", 133)).nothing();
    net.lan6(nd(ip6("::"), "ff02::1:ff00:1", 135)).nothing();
    net.lan6(nd(local, "fe80::1", 136)).nothing();
    let alert = [0, 0, 5, 2, 0, 0, 1, 0];
    let report = Packet6::icmp(local, ip6("ff02::16"), 143, 0, [0; 4], &[]).hops(1);
    net.lan6(report.clone().extension(0, &alert)).nothing();
    net.wan6(Packet6::udp((isp_local(), 547), (ours_local(), 546), b"reply")).nothing();
    net.lan6(Packet6::udp((local, 546), (ip6("ff02::1:2"), 547), b"solicit")).nothing();
    let ndp = |interface| PuntKind::Ndp { interface };
    let dhcp = |interface| PuntKind::Dhcp6 { interface };
    let all = [ndp(wan), ndp(wan), ndp(lan), ndp(lan), ndp(lan), ndp(lan), dhcp(wan), dhcp(lan)];
    assert_eq!(net.punted(), all);

    // Not what has come from afar, has a wrong checksum, code or source, or came in fragments.
    let right = nd(isp_local(), "ff02::1", 134);
    let mut wrong = right.clone();
    wrong.body[20] ^= 1;
    net.wan6(wrong).nothing();
    net.wan6(right.clone().hops(254)).nothing();
    net.wan6(right.clone().extension(44, &[0; 8])).nothing();
    net.wan6(nd(server(), "ff02::1", 134)).nothing();
    net.lan6(nd(ip6("::"), "fe80::1", 135)).nothing();
    net.lan6(Packet6::icmp(local, ip6("fe80::1"), 136, 1, [0; 4], &[0; 16]).hops(255)).nothing();
    net.lan6(report.hops(2).extension(0, &alert)).nothing();
    assert_eq!(net.dropped(DropReason::NdpMalformed), 7);
    let mut wrong = Packet6::udp((isp_local(), 547), (ours_local(), 546), b"reply");
    wrong.body[9] ^= 1;
    net.wan6(wrong).nothing();
    assert_eq!(net.dropped(DropReason::DhcpMalformed), 1);
    assert!(net.punted().is_empty());
    // And none of it is forwarded.
    net.lan6(nd(host(), "2001:db8:8000::80", 136)).nothing();
}

#[test]
fn what_the_router_says_on_a_link_goes_to_the_group_or_the_neighbour() {
    let mut net = Net::dual();
    let advertisement = Packet6::icmp(router_local(), ip6("ff02::1"), 134, 0, [0; 4], &[0; 8]).hops(255);
    let read = net.link6(Interface::Lan(HOME), advertisement);
    let group = crate::wire::ipv6::group_mac(ip6("ff02::1"));
    assert_eq!(read.only(At6::Station(LAN_PORT, group)).hop_limit, 255, "no hop is taken off");
    let reply = Packet6::udp((router_local(), 547), (ip6("fe80::10"), 546), b"");
    net.link6(Interface::Lan(HOME), reply).only(at(ip6("fe80::10")));
    let solicitation = Packet6::icmp(ours_local(), ip6("ff02::2"), 133, 0, [0; 4], &[]).hops(255);
    net.link6(Interface::Wan(ISP_2), solicitation).only(ISP6_2);
    let unicast = Packet6::udp((ip6("fe80::cccc"), 547), (ip6("fe80::dddd"), 546), b"");
    net.link6(Interface::Subscriber(BOB), unicast).only(At6::Session(SessionOwner::Subscriber(BOB)));
}

/// Compare CVE-2018-19299: who scans a /64 from outside does not keep the LAN's own traffic from its neighbours.
#[test]
fn a_scan_of_a_lan_leaves_room_for_its_own_traffic() {
    let mut settings = crate::forward::tests::net::settings();
    settings.rules = vec![super::filter::accept_all()];
    settings.nat.flows_per_host = 1 << 20;
    let mut net = Net::dual_with(settings);
    let base = ip6("2001:db8:1:1:dead::").to_bits();
    for n in 0..1u128 << 16 {
        let address = core::net::Ipv6Addr::from_bits(base | n);
        net.silent6 = vec![address];
        net.wan6(Packet6::udp((server(), 1), (address, 2), b"")).nothing();
    }
    assert!(net.forwarder.held() <= 512, "{} frames wait", net.forwarder.held());
    net.guest6(Packet6::udp((visitor(), 1), (host(), 2), b"")).only(at(host()));
    net.lan6_bytes(LAN_PORT, &Packet6::udp((host(), 3), (server(), 2), b"").build(), Offload::default())
        .only(ISP6);
}
