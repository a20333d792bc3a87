//! Flows on their way: states and timers, sizes, errors, fragments.

use alloc::vec;
use alloc::vec::Vec;

use super::net::*;
use super::packet::{Packet6, Read6};
use crate::forward::tests::net::{HOME, ISP, LAN_PORT, Net, settings};
use crate::forward::tests::packet::{ACK, FIN, RST, SYN};
use crate::forward::{LanIpv6, Update, WanIpv6};
use crate::frame::{Checksum, Gso, GsoKind, Offload};
use crate::id::Interface;
use crate::ledger::DropReason;

fn udp_out() -> Packet6 {
    Packet6::udp((host(), 5000), (server(), 53_000), b"out")
}

fn udp_back() -> Packet6 {
    Packet6::udp((server(), 53_000), (host(), 5000), b"back")
}

fn tcp_out(flags: u8) -> Packet6 {
    Packet6::tcp((host(), 5000), (server(), 80), flags, b"")
}

fn tcp_back(flags: u8) -> Packet6 {
    Packet6::tcp((server(), 80), (host(), 5000), flags, b"")
}

fn tcp_open(net: &mut Net) {
    net.lan6(tcp_out(SYN)).only(ISP6);
    net.wan6(tcp_back(SYN | ACK)).only(at(host()));
    net.lan6(tcp_out(ACK)).only(ISP6);
}

/// RFC 6092 REC-14 and REC-16: 5 minutes, and what comes from outside alone does not lengthen them.
#[test]
fn rfc6092_rec_14_and_rec_16_a_udp_flow_lives_five_minutes_from_what_went_out() {
    let mut net = Net::dual();
    net.lan6(udp_out()).only(ISP6);
    net.pass6(290).nothing();
    net.lan6(udp_out()).only(ISP6);
    net.pass6(299).nothing();
    net.wan6(udp_back()).only(at(host()));
    net.pass6(3).nothing();
    net.wan6(udp_back()).nothing();
}

/// RFC 6092 REC-12: of a protocol that is not known.
#[test]
fn rfc6092_rec_12_another_protocols_flow_lives_two_minutes() {
    let mut net = Net::dual();
    let out = Packet6::new(host(), server(), 253, vec![1; 8], None);
    let back = Packet6::new(server(), host(), 253, vec![1; 8], None);
    net.lan6(out).only(ISP6);
    net.pass6(120).nothing();
    net.wan6(back.clone()).only(at(host()));
    net.pass6(3).nothing();
    net.wan6(back).nothing();
}

/// RFC 6092 REC-31 and REC-32: a connection opens from both sides at once, and no window is asked after.
#[test]
fn rfc6092_rec_31_and_rec_32_tcp_opens_simultaneously_too() {
    let mut net = Net::dual();
    tcp_open(&mut net);
    let far = Packet6::tcp((server(), 80), (host(), 5000), ACK, &[0; 900]);
    net.wan6(far).only(at(host()));
    let out = Packet6::tcp((host(), 6000), (server(), 6000), SYN, b"");
    let back = Packet6::tcp((server(), 6000), (host(), 6000), SYN, b"");
    net.lan6(out).only(ISP6);
    net.wan6(back).only(at(host()));
    net.lan6(Packet6::tcp((host(), 6000), (server(), 6000), SYN | ACK, b"")).only(ISP6);
    net.wan6(Packet6::tcp((server(), 6000), (host(), 6000), ACK, b"")).only(at(host()));
    net.pass6(300).nothing();
    net.wan6(Packet6::tcp((server(), 6000), (host(), 6000), ACK, b"")).only(at(host()));
}

/// RFC 6092 REC-35: 2 h 4 min when open, 4 min while opening and closing.
#[test]
fn rfc6092_rec_35_tcp_idles_two_hours_and_four_minutes() {
    let mut net = Net::dual();
    tcp_open(&mut net);
    net.pass6(2 * 3600 + 240).nothing();
    net.wan6(tcp_back(ACK)).only(at(host()));
    net.lan6(tcp_out(FIN | ACK)).only(ISP6);
    net.wan6(tcp_back(FIN | ACK)).only(at(host()));
    net.pass6(240).nothing();
    net.wan6(tcp_back(ACK)).only(at(host()));
    net.pass6(2).nothing();
    net.wan6(tcp_back(ACK)).nothing();
    net.lan6(tcp_out(SYN)).only(ISP6);
    net.pass6(242).nothing();
    net.wan6(tcp_back(SYN | ACK)).nothing();
}

/// RFC 6092 REC-34: after 6 s, and not before; with a policy's error.
#[test]
fn rfc6092_rec_34_an_unasked_connection_is_refused_after_six_seconds() {
    let mut net = Net::dual();
    let syn = tcp_back(SYN);
    net.wan6(syn.clone()).nothing();
    assert_eq!(net.forwarder.held(), 1);
    net.pass6(5).nothing();
    let read = net.pass6(1).error(ISP6, 1, 1);
    assert_eq!(read.quoted(), syn.build());
    assert_eq!(read.source.0, ours());
    assert_eq!(net.dropped(DropReason::FilterDefault), 1);

    // Unless the inside opens it too.
    net.wan6(syn).nothing();
    net.pass6(2).nothing();
    net.lan6(tcp_out(SYN)).only(ISP6);
    net.pass6(10).nothing();
    net.wan6(tcp_back(SYN)).only(at(host()));
    // A flood waits no longer than there is room.
    for port in 0..1000 {
        net.wan6(Packet6::tcp((server(), port), (host(), 22), SYN, b"")).nothing();
    }
    assert!(net.forwarder.held() <= 64);
    assert!(net.pass6_all(7).len() <= 64);
    // Other protocols' are dropped in silence.
    net.wan6(Packet6::udp((server(), 1), (host(), 2), b"")).nothing();
    net.pass6(10).nothing();
}

/// RFC 6092 REC-38, REC-39 and REC-40.
#[test]
fn rfc6092_rec_38_rec_39_and_rec_40_sctp_associations() {
    const INIT: u8 = 1;
    const INIT_ACK: u8 = 2;
    const COOKIE_ECHO: u8 = 10;
    const DATA: u8 = 0;
    let mut net = Net::dual();
    let out = |chunk| Packet6::sctp((host(), 5000), (server(), 36_412), chunk);
    let back = |chunk| Packet6::sctp((server(), 36_412), (host(), 5000), chunk);
    net.wan6(back(DATA)).nothing();
    net.wan6(back(INIT)).nothing();
    net.pass6(5).nothing();
    net.pass6(1).error(ISP6, 1, 1);
    net.lan6(out(INIT)).only(ISP6);
    net.wan6(back(INIT_ACK)).only(at(host()));
    net.pass6(240).nothing();
    net.lan6(out(COOKIE_ECHO)).only(ISP6);
    net.wan6(back(DATA)).only(at(host()));
    net.pass6(2 * 3600 + 240).nothing();
    net.wan6(back(DATA)).only(at(host()));
    net.wan6(Packet6::sctp((server(), 36_412), (host(), 5001), DATA)).nothing();
}

/// RFC 6092 REC-43 and REC-44.
#[test]
fn rfc6092_rec_43_and_rec_44_dccp_connections() {
    let mut net = Net::dual();
    let out = |kind| Packet6::dccp((host(), 5000), (server(), 5001), kind);
    let back = |kind| Packet6::dccp((server(), 5001), (host(), 5000), kind);
    net.lan6(out(0)).only(ISP6);
    net.pass6(480).nothing();
    net.wan6(back(1)).only(at(host()));
    net.lan6(out(3)).only(ISP6);
    net.pass6(2 * 3600 + 240).nothing();
    net.wan6(back(2)).only(at(host()));
    net.wan6(Packet6::dccp((server(), 5002), (host(), 5000), 2)).nothing();
}

#[test]
fn udp_lite_is_told_by_its_ports() {
    let mut net = Net::dual();
    let packet = |from: (core::net::Ipv6Addr, u16), to: (core::net::Ipv6Addr, u16)| {
        let body = [from.1.to_be_bytes(), to.1.to_be_bytes(), [0, 8], [1, 2]].concat();
        Packet6::new(from.0, to.0, 136, body, None)
    };
    net.lan6(packet((host(), 1), (server(), 2))).only(ISP6);
    net.wan6(packet((server(), 2), (host(), 1))).only(at(host()));
    net.wan6(packet((server(), 3), (host(), 1))).nothing();
}

/// RFC 6092 REC-18, 23, 36, 41, 45: errors pass; REC-19, 37, 42, 46: they end nothing; REC-10: not without a flow.
#[test]
fn rfc6092_rec_10_rec_18_rec_23_rec_36_rec_41_and_rec_45_errors_pass_by_their_flows() {
    let mut net = Net::dual();
    let hop = ip6("2001:db8:7777::1");
    let flows: Vec<(Packet6, Packet6)> = vec![
        (udp_out(), udp_back()),
        (tcp_out(SYN), tcp_back(SYN | ACK)),
        (Packet6::ping(host(), server(), 9), Packet6::pong(server(), host(), 9)),
        (Packet6::sctp((host(), 1), (server(), 2), 1), Packet6::sctp((server(), 2), (host(), 1), 2)),
        (Packet6::dccp((host(), 1), (server(), 2), 0), Packet6::dccp((server(), 2), (host(), 1), 1)),
        (
            Packet6::new(host(), server(), 50, vec![1; 8], None),
            Packet6::new(server(), host(), 50, vec![1; 8], None),
        ),
    ];
    for (out, back) in flows {
        let sent = net.lan6(out).only(ISP6);
        for (kind, code) in [(1, 0), (1, 3), (2, 0), (3, 0), (4, 1)] {
            let read = net.wan6(Packet6::error(hop, kind, code, &sent.bytes)).only(at(host()));
            assert_eq!((read.source.0, read.icmp(), read.hop_limit), (hop, (kind, code), 63));
            assert_eq!(read.quoted(), sent.bytes);
        }
        // REC-19, REC-37, REC-42, REC-46.
        net.wan6(back).only(at(host()));
    }
    // REC-10: what quotes no flow, a wrong quotation, a wrong checksum, a wrong receiver.
    let stranger = Packet6::udp((host(), 5000), (server(), 9), b"").build();
    net.wan6(Packet6::error(hop, 1, 0, &stranger)).nothing();
    let mut other = Packet6::error(hop, 1, 0, &udp_out().build());
    other.body[8] ^= 1;
    net.wan6(other).nothing();
    assert_eq!((net.dropped(DropReason::IcmpNoFlow), net.dropped(DropReason::IcmpChecksum)), (1, 1));
    let quoted = udp_out().build();
    let body = Packet6::error(hop, 1, 0, &quoted).body;
    net.wan6(Packet6::new(hop, host_2(), 58, body, Some(2))).nothing();
}

/// RFC 6092 REC-19, REC-37, REC-42 and REC-46.
#[test]
fn rfc6092_rec_19_rec_37_rec_42_and_rec_46_errors_lengthen_no_flow_either() {
    let mut net = Net::dual();
    let sent = net.lan6(udp_out()).only(ISP6);
    net.pass6(299).nothing();
    net.wan6(Packet6::error(server(), 1, 4, &sent.bytes)).only(at(host()));
    net.pass6(3).nothing();
    assert_eq!(net.forwarder.flow_count(), 0);
}

#[test]
fn rfc8200_3_the_hop_limit_runs_out() {
    let mut net = Net::dual();
    let packet = udp_out().hops(1);
    let read = net.lan6(packet.clone()).error(at(host()), 3, 0);
    assert_eq!((read.source.0, read.quoted()), (router(), &packet.build()[..]));
    net.lan6(Packet6::ping(host(), router(), 1).hops(1)).only(At6::Local(Interface::Lan(HOME)));
}

#[test]
fn rfc4443_3_2_what_does_not_fit_is_not_fragmented() {
    let mut net = Net::dual();
    let packet = Packet6::udp((host(), 1), (server(), 2), &[7; 1445]);
    let read = net.lan6(packet.clone()).error(at(host()), 2, 0);
    assert_eq!(read.word(), 1492);
    assert_eq!(read.bytes.len(), 1280);
    net.lan6(Packet6::udp((host(), 1), (server(), 2), &[7; 1444])).only(ISP6);
    assert_eq!(net.dropped(DropReason::TooBig), 1);
}

/// RFC 4443 §2.4 (e): not about errors; (f): not too often.
#[test]
fn rfc4443_2_4_errors_are_not_sent_about_errors_nor_too_often() {
    let mut net = Net::dual();
    let sent = net.guest6(Packet6::udp((visitor(), 5), (host(), 6), b"")).only(at(host()));
    net.lan6(Packet6::error(host(), 1, 4, &sent.bytes).hops(1)).nothing();
    let answers = (0..1000).filter(|_| !net.lan6(udp_out().hops(1)).0.is_empty()).count();
    assert_eq!(answers, 40);
}

#[test]
fn the_mss_is_clamped_to_what_the_uplink_takes() {
    let mut net = Net::dual();
    let mss = |read: &Read6| u16::from_be_bytes([read.body()[22], read.body()[23]]);
    let options = [2, 4, 0x05, 0xa0];
    let syn = |from, to, flags| Packet6::tcp_options(from, to, flags, &options, b"");
    let read = net.lan6(syn((host(), 1), (server(), 2), SYN)).only(ISP6);
    assert_eq!(mss(&read), 1432);
    let read = net.wan6(syn((server(), 2), (host(), 1), SYN | ACK)).only(at(host()));
    assert_eq!(mss(&read), 1432);
    let read = net.lan6(syn((host(), 1), (visitor(), 2), SYN)).only(at_guest(visitor()));
    assert_eq!(mss(&read), 1440);
}

#[test]
fn large_segments_are_cut_and_partial_checksums_completed() {
    let mut net = Net::dual();
    tcp_open(&mut net);
    let pseudo = |len: usize, protocol| {
        let bytes =
            [&host().octets()[..], &server().octets(), &(len as u32).to_be_bytes(), &[0, 0, 0, protocol]];
        crate::forward::tests::packet::sum(&bytes.concat())
    };
    let mut packet = Packet6::tcp((host(), 5000), (server(), 80), ACK, &[9; 5000]);
    packet.body[16..18].copy_from_slice(&pseudo(5020, 6).to_be_bytes());
    let offload = Offload {
        checksum: Checksum::Partial { start: 40, offset: 16 },
        gso: Some(Gso { kind: GsoKind::TcpV6, size: 1400, ecn: false }),
    };
    let out = net.lan6_bytes(LAN_PORT, &packet.build(), offload);
    let sizes: Vec<usize> = out.0.iter().map(|(_, read)| read.body().len() - 20).collect();
    assert_eq!(sizes, [1400, 1400, 1400, 800]);
    assert!(out.0.iter().all(|(place, read)| *place == ISP6 && read.hop_limit == 63));

    let mut packet = Packet6::udp((host(), 5000), (server(), 443), &[9; 3000]);
    packet.body[6..8].copy_from_slice(&pseudo(3008, 17).to_be_bytes());
    let offload = Offload {
        checksum: Checksum::Partial { start: 40, offset: 6 },
        gso: Some(Gso { kind: GsoKind::Udp, size: 1200, ecn: false }),
    };
    let out = net.lan6_bytes(LAN_PORT, &packet.build(), offload);
    assert_eq!(out.0.len(), 3);
    // Segments that would not fit are answered as a packet of their size.
    let offload = Offload { gso: Some(Gso { kind: GsoKind::Udp, size: 1452, ecn: false }), ..offload };
    let out = net.lan6_bytes(LAN_PORT, &packet.build(), offload);
    assert_eq!(out.error(at(host()), 2, 0).word(), 1492);
}

/// RFC 6092 REC-4 and RFC 5095.
#[test]
fn rfc6092_rec_4_routing_headers_of_type_0_do_not_pass() {
    let mut net = Net::dual();
    let routing = |kind| [0, 2, kind, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    net.lan6(udp_out().extension(43, &routing(0))).nothing();
    net.lan6(udp_out().extension(60, &[0; 8]).extension(43, &routing(0))).nothing();
    assert_eq!(net.dropped(DropReason::RoutingHeader), 2);
    net.lan6(udp_out().extension(43, &routing(2))).only(ISP6);
}

#[test]
fn extension_headers_are_skipped_and_checked() {
    let mut net = Net::dual();
    let options = [0, 0, 1, 4, 0, 0, 0, 0];
    let read = net.lan6(udp_out().extension(0, &options).extension(60, &options)).only(ISP6);
    assert_eq!((read.source.1, read.destination.1), (5000, 53_000));
    net.wan6(udp_back().extension(60, &options)).only(at(host()));
    // Hop-by-hop options come first; a chain is not endless, and ends within the packet.
    net.lan6(udp_out().extension(60, &options).extension(0, &options)).nothing();
    let long = (0..9).fold(udp_out(), |packet, _| packet.extension(60, &options));
    net.lan6(long).nothing();
    net.lan6(udp_out().extension(60, &[0, 200, 1, 4, 0, 0, 0, 0])).nothing();
    assert_eq!(net.dropped(DropReason::Ipv6Malformed), 3);
    // A jumbogram.
    let mut jumbo = udp_out().extension(0, &[0, 0, 0xc2, 4, 0, 1, 0, 0]).build();
    jumbo[4..6].copy_from_slice(&[0, 0]);
    net.lan6_bytes(LAN_PORT, &jumbo, Offload::default()).nothing();
    assert_eq!(net.dropped(DropReason::Ipv6Malformed), 4);
    // UDP without a checksum (RFC 8200 §8.1).
    let mut bare = udp_out();
    bare.body[6..8].copy_from_slice(&[0, 0]);
    net.lan6(bare).nothing();
    assert_eq!(net.dropped(DropReason::TransportMalformed), 1);
}

#[test]
fn every_cut_of_a_packet_is_harmless() {
    let mut net = Net::dual();
    let options = [0, 0, 1, 4, 0, 0, 0, 0];
    let whole = udp_out().extension(0, &options).extension(60, &options).build();
    for len in 40..whole.len() {
        net.lan6_bytes(LAN_PORT, &whole[..len], Offload::default()).nothing();
        let mut shorter = whole[..len].to_vec();
        shorter[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        net.lan6_bytes(LAN_PORT, &shorter, Offload::default());
    }
}

#[test]
fn fragments_follow_their_first_one_in_any_order() {
    let mut net = Net::dual();
    let packet = Packet6::udp((host(), 5000), (server(), 53_000), &[5; 3000]);
    let fragments = packet.fragments(1200, 77);
    assert_eq!(fragments.len(), 3);
    let send = |net: &mut Net, index: usize| net.lan6_bytes(LAN_PORT, &fragments[index], Offload::default());
    send(&mut net, 2).nothing();
    assert_eq!(send(&mut net, 0).0.len(), 2);
    send(&mut net, 1).only(ISP6);
    assert_eq!(net.forwarder.flow_count(), 1);
    // From outside without a flow, none passes.
    let packet = Packet6::udp((server(), 1), (host(), 2), &[5; 3000]);
    for fragment in packet.fragments(1200, 78) {
        net.session6(crate::forward::SessionOwner::Wan(ISP), &fragment).nothing();
    }
    net.pass6(60).nothing();
    assert_eq!(net.forwarder.held(), 0);
}

/// RFC 7112 §5.
#[test]
fn rfc7112_5_a_first_fragment_holds_every_header() {
    let mut net = Net::dual();
    let mut packet = Packet6::new(host(), server(), 60, vec![17, 1], None);
    packet.body.extend([0; 14]);
    packet.body.extend(Packet6::udp((host(), 5000), (server(), 9), &[0; 100]).body);
    for fragment in packet.fragments(8, 5).iter().take(2) {
        net.lan6_bytes(LAN_PORT, fragment, Offload::default()).nothing();
    }
    assert_eq!(net.dropped(DropReason::FragmentMalformed), 1);
}

/// RFC 5722 §4: the datagram of a fragment that overlaps is lost, whole.
#[test]
fn rfc5722_4_overlapping_fragments_end_their_datagram() {
    let mut net = Net::dual();
    let packet = Packet6::udp((host(), 5000), (router(), 7), &[5; 1000]);
    let fragments = packet.fragments(504, 9);
    let mut overlap = fragments[1].clone();
    overlap[42] = 0;
    net.lan6_bytes(LAN_PORT, &fragments[0], Offload::default()).nothing();
    net.lan6_bytes(LAN_PORT, &overlap, Offload::default()).nothing();
    net.lan6_bytes(LAN_PORT, &fragments[1], Offload::default()).nothing();
    net.pass6(60).nothing();
    assert_eq!(net.forwarder.held(), 0);
}

#[test]
fn fragments_for_the_router_are_put_together() {
    let mut net = Net::dual();
    let packet = Packet6::udp((host(), 5000), (router(), 7), &[5; 3000]);
    let fragments = packet.fragments(1200, 99);
    for index in [2, 0] {
        net.lan6_bytes(LAN_PORT, &fragments[index], Offload::default()).nothing();
    }
    let out = net.lan6_bytes(LAN_PORT, &fragments[1], Offload::default());
    let read = out.only(At6::Local(Interface::Lan(HOME)));
    assert_eq!((read.at, read.body()), (40, &packet.body[..]));
    // One that is whole in itself (RFC 6946) comes up without its fragment header.
    let packet = Packet6::udp((host(), 5000), (router(), 7), b"atomic");
    let read = net.lan6(packet.clone().extension(44, &[0; 8])).only(At6::Local(Interface::Lan(HOME)));
    assert_eq!(read.bytes, packet.build());
    net.lan6(udp_out().extension(44, &[0; 8])).only(ISP6);
}

#[test]
fn a_lost_prefix_ends_its_flows_and_no_others() {
    let mut net = Net::dual();
    net.lan6(udp_out()).only(ISP6);
    net.guest6(Packet6::udp((visitor(), 1), (server(), 2), b"")).only(ISP6);
    net.router6(Packet6::udp((ours(), 1), (server(), 2), b"")).only(ISP6);
    // The uplink's own address goes: only what bore it ends.
    net.set_wan6(ISP, Some(wan_ipv6("2001:db8:1::/48")));
    assert_eq!(net.forwarder.epoch6(ISP), 1);
    net.pass6(1).nothing();
    assert_eq!(net.forwarder.flow_count(), 2);
    net.wan6(udp_back()).only(at(host()));
    // The LAN has its prefix no more.
    net.apply(Update::LanIpv6 { lan: HOME, ipv6: LanIpv6 { prefixes: vec![], ..home_ipv6() } });
    net.pass6(1).nothing();
    assert_eq!(net.forwarder.flow_count(), 1);
    net.wan6(udp_back()).error(ISP6, 1, 0);
    net.wan6(Packet6::udp((server(), 2), (visitor(), 1), b"")).only(at_guest(visitor()));
    // Another prefix is delegated in place of the old one.
    net.set_wan6(ISP, Some(wan_ipv6("2001:db8:3::/48")));
    assert_eq!(net.forwarder.epoch6(ISP), 2);
    net.pass6(1).nothing();
    assert_eq!(net.forwarder.flow_count(), 0);
}

#[test]
fn the_same_prefix_resumes_every_flow() {
    let mut net = Net::dual();
    tcp_open(&mut net);
    net.set_wan6(ISP, None);
    net.lan6(tcp_out(ACK)).error(at(host()), 1, 0);
    net.pass6(100).nothing();
    net.set_wan6(ISP, Some(isp_ipv6()));
    assert_eq!(net.forwarder.epoch6(ISP), 0);
    net.wan6(tcp_back(ACK)).only(at(host()));
}

/// RFC 7084 G-3: a session that has come back carries nothing before its prefix is confirmed, and has lost nothing.
#[test]
fn rfc7084_g_3_flows_wait_until_their_prefix_is_confirmed() {
    let mut net = Net::dual();
    tcp_open(&mut net);
    net.set_wan6(ISP, None);
    // The router's advertisement comes before the DHCPv6 server's answer.
    let awaited = isp_ipv6().delegated;
    for addresses in [vec![], vec!["2001:db8:ff::77".parse().unwrap()]] {
        let waiting = WanIpv6 { delegated: vec![], awaited: awaited.clone(), addresses, ..isp_ipv6() };
        net.set_wan6(ISP, Some(waiting));
        net.pass6(5).nothing();
        net.lan6(tcp_out(ACK)).error(at(host()), 1, 0);
        net.lan6(udp_out()).error(at(host()), 1, 0);
    }
    assert_eq!(net.forwarder.flow_count(), 1);
    net.set_wan6(ISP, Some(WanIpv6 { addresses: vec!["2001:db8:ff::77".parse().unwrap()], ..isp_ipv6() }));
    net.lan6(tcp_out(ACK)).only(ISP6);
    net.wan6(tcp_back(ACK)).only(at(host()));
}

/// IPsec may come in to every address of a /64, which has more of them than the table has room.
#[test]
fn outsiders_leave_half_of_the_flow_table_to_the_inside() {
    let mut settings = settings();
    settings.nat.flows = 64;
    let mut net = Net::dual_with(settings);
    for last in 0..200u16 {
        let segments = host().segments();
        let address = [segments[0], segments[1], segments[2], segments[3], 7, 7, 7, last];
        net.wan6(Packet6::udp((server(), 500), (address.into(), 500), b"ike"));
    }
    assert_eq!((net.forwarder.flow_count(), net.dropped(DropReason::HostQuota)), (32, 168));
    net.lan6(udp_out()).only(ISP6);
    net.pass6(400);
    assert_eq!(net.forwarder.flow_count(), 0);
    net.wan6(Packet6::udp((server(), 500), (host(), 500), b"ike")).only(at(host()));
}

#[test]
fn a_connection_that_nobody_knows_is_reset_inside_and_ignored_outside() {
    let mut net = Net::dual();
    let read = net.lan6(tcp_out(ACK)).only(at(host()));
    assert_eq!((read.source, read.body()[13] & RST), ((server(), 80), RST));
    net.wan6(tcp_back(ACK)).nothing();
}

#[test]
fn a_host_has_its_share_of_flows_and_no_more() {
    let mut settings = settings();
    settings.nat.flows_per_host = 10;
    let mut net = Net::dual_with(settings);
    for port in 0..20 {
        net.lan6(Packet6::udp((host(), port), (server(), 53_000), b""));
    }
    assert_eq!((net.forwarder.flow_count(), net.dropped(DropReason::HostQuota)), (10, 10));
    net.lan6(Packet6::udp((host_2(), 1), (server(), 53_000), b"")).only(ISP6);
}

#[test]
fn a_neighbour_that_does_not_answer_is_told_of() {
    let mut net = Net::dual();
    net.silent6 = vec![host()];
    net.guest6(Packet6::udp((visitor(), 1), (host(), 2), b"")).nothing();
    let segment = crate::id::Segment::Lan(HOME);
    net.apply(Update::NeighbourFailed { segment, address: host().into() });
    net.pass6(0).error(at_guest(visitor()), 1, 3);
    assert_eq!(net.dropped(DropReason::NeighbourUnreachable), 1);
}
