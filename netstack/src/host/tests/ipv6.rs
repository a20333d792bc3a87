//! The same over IPv6.

use super::*;
use crate::wire::ipv6::{Header, MIN_MTU};

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => panic!("{address} is of IPv4"),
    }
}

fn header(from: IpAddr, to: IpAddr) -> Header {
    Header { source: v6(from), destination: v6(to), hop_limit: 64 }
}

fn written(write: impl Fn(&mut Frame) -> bool) -> Vec<u8> {
    let mut frame = Frame::with_capacity(crate::frame::LARGE);
    assert!(write(&mut frame));
    frame.bytes().to_vec()
}

fn ping(from: IpAddr, to: IpAddr, data: &[u8]) -> Vec<u8> {
    let message = [&[128, 0, 0, 0, 0xab, 0xcd, 0, 1], data].concat();
    written(|frame| header(from, to).write_icmp(&message, frame))
}

fn datagram(to: IpAddr, port: u16, data: &[u8]) -> Vec<u8> {
    written(|frame| header(CLIENT6, to).write_udp(40_000, port, data, frame))
}

/// The packet with `headers` between its header and the rest, the first of which has number `first`.
fn with_headers(packet: &[u8], first: u8, headers: &[u8]) -> Vec<u8> {
    let mut longer = [&packet[..40], headers, &packet[40..]].concat();
    longer[6] = first;
    let len = longer.len() as u16 - 40;
    set_u16(&mut longer, 4, len);
    longer
}

/// The messages of ICMPv6 that the router sends, each with its type, code and what follows the checksum.
fn said(bench: &mut Bench) -> Vec<(u8, u8, Vec<u8>)> {
    let packets = sent(&mut bench.router);
    let messages =
        packets.iter().map(|packet| Ipv6::parse(packet).unwrap().icmp().expect("its checksum is right"));
    messages.map(|message| (message[0], message[1], message[4..].to_vec())).collect()
}

/// RFC 7084 G-2.
#[test]
fn rfc4443_4_2_every_address_answers_an_echo_request_with_its_data() {
    let mut bench = Bench::new();
    for (from, to, len) in [
        (CLIENT6, ROUTER6, 0),
        (CLIENT_LINK, ROUTER_LINK, 56),
        (CLIENT6, ROUTER_LINK, 1),
        (CLIENT6, ROUTER6, 30_001),
    ] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        bench.receive(&ping(from, to, &data)).unwrap();
        let packets = sent(&mut bench.router);
        let reply = Ipv6::parse(&packets[0]).unwrap();
        assert_eq!((IpAddr::V6(reply.source()), IpAddr::V6(reply.destination())), (to, from));
        let message = reply.icmp().unwrap();
        assert_eq!((message[..2].to_vec(), &message[4..8]), (vec![129, 0], &[0xab, 0xcd, 0, 1][..]));
        assert_eq!(message[8..], data);
    }
}

#[test]
fn rfc4443_3_1_a_closed_udp_port_is_told_with_as_much_as_every_link_carries() {
    let mut bench = Bench::new();
    for len in [10, 1184, 1185, 9000] {
        let packet = datagram(ROUTER6, 33434, &vec![7; len]);
        bench.receive(&packet).unwrap();
        let packets = sent(&mut bench.router);
        let error = Ipv6::parse(&packets[0]).unwrap();
        assert_eq!((IpAddr::V6(error.source()), IpAddr::V6(error.destination())), (ROUTER6, CLIENT6));
        assert!(packets[0].len() <= usize::from(MIN_MTU));
        let message = error.icmp().unwrap();
        assert_eq!(message[..2], [1, 4]);
        assert_eq!(message[8..], packet[..packet.len().min(1232)]);
    }
    bench.receive(&datagram(ROUTER_LINK, 33434, b"x")).unwrap();
    assert_eq!(said(&mut bench).len(), 1, "from the address that was asked");
}

#[test]
fn a_closed_tcp_port_is_reset() {
    let mut bench = Bench::new();
    for (source, to) in [(CLIENT6, ROUTER6), (scoped(CLIENT_LINK, LAN), scoped(ROUTER_LINK, LAN))] {
        let id = bench.client.tcp_open(512, 512);
        assert!(bench.client.tcp_connect(&mut bench.rng, id, source, at(to, 80)));
        bench.run(Duration::from_secs(1));
        assert_eq!(bench.client.tcp_state(id), TcpState::Closed);
    }
}

#[test]
fn a_datagram_is_answered_from_the_address_that_it_was_sent_to() {
    let mut bench = Bench::new();
    let server = bench.router.udp_bind(53, 8).unwrap();
    let client = bench.client.udp_bind_any(&mut bench.rng).unwrap();
    let on_link = (scoped(CLIENT_LINK, LAN), scoped(ROUTER_LINK, LAN));
    for (source, to) in [(CLIENT6, ROUTER6), on_link, (CLIENT.into(), ROUTER.into())] {
        assert!(bench.client.udp_send(client, source, at(to, 53), b"question"));
        bench.run(Duration::from_secs(1));
        let question = bench.router.udp_receive(server).unwrap();
        assert_eq!((question.from.ip(), question.to), (source, to));
        assert!(bench.router.udp_send(server, question.to, question.from, b"answer"));
        bench.run(Duration::from_secs(1));
        let answer = bench.client.udp_receive(client).unwrap();
        assert_eq!((answer.from, answer.to, &answer.payload[..]), (at(to, 53), source, &b"answer"[..]));
    }
    assert!(!bench.router.udp_send(server, ROUTER6, at(CLIENT6, 53), &[0; UDP6_MAX + 1]));
    assert!(bench.router.udp_send(server, ROUTER6, at(CLIENT6, 53), &[0; UDP6_MAX]));
    assert!(!bench.router.udp_send(server, ROUTER.into(), at(CLIENT6, 53), b"x"), "of two families");
    bench.router.handle_timeout(&mut Cx { now: bench.now, rng: &mut bench.rng });
    assert_eq!(sent(&mut bench.router)[0].len(), MTU);
}

#[test]
fn a_tcp_connection_carries_data_in_segments_that_every_link_carries() {
    let mut bench = Bench::new();
    let server = bench.router.tcp_open(4096, 4096);
    assert!(bench.router.tcp_listen(server, 53));
    let client = bench.client.tcp_open(4096, 4096);
    assert!(bench.client.tcp_connect(&mut bench.rng, client, CLIENT6, at(ROUTER6, 53)));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.router.tcp_peer(server).map(|peer| peer.ip()), Some(CLIENT6));
    let data: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
    assert_eq!(bench.router.tcp_write(server, &data), data.len());
    bench.router.handle_timeout(&mut Cx { now: bench.now, rng: &mut bench.rng });
    let packets = sent(&mut bench.router);
    assert!(packets.len() >= 4 && packets.iter().all(|packet| packet.len() <= MTU));
    for packet in packets {
        let mut cx = Cx { now: bench.now, rng: &mut bench.rng };
        bench.client.receive(&mut cx, LAN, &Frame::from_bytes(&packet)).unwrap();
    }
    let mut got = Vec::new();
    bench.client.tcp_read(client, 4096, &mut got);
    assert_eq!(got, data);
}

/// RFC 7084 G-1: a node takes what extension headers say, or says why it cannot.
#[test]
fn rfc8200_4_extension_headers_are_walked_to_what_the_packet_is() {
    let mut bench = Bench::new();
    let server = bench.router.udp_bind(53, 8).unwrap();
    let packet = datagram(ROUTER6, 53, b"question");
    for (first, headers) in [
        (60, [17, 0, 1, 4, 0, 0, 0, 0].to_vec()),
        (0, [17, 0, 5, 2, 0, 0, 1, 0].to_vec()),
        (0, [60, 0, 0, 0, 0, 0, 0, 0, 17, 1, 0x3e, 12, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9].to_vec()),
        (43, [17, 0, 0, 0, 0, 0, 0, 0].to_vec()),
        (44, [17, 0, 0, 0, 0, 0, 0, 7].to_vec()),
    ] {
        bench.receive(&with_headers(&packet, first, &headers)).unwrap();
        assert_eq!(bench.router.udp_receive(server).unwrap().payload, b"question", "{first}");
    }
    bench.receive(&with_headers(&ping(CLIENT6, ROUTER6, b"x"), 60, &[58, 0, 1, 4, 0, 0, 0, 0])).unwrap();
    assert_eq!(said(&mut bench)[0].0, 129);
    for (first, headers, code, pointer) in [
        // An option that nobody knows, of the two kinds that are told.
        (60, [17, 0, 0x80, 4, 0, 0, 0, 0], 2, 42u32),
        (0, [17, 0, 1, 0, 0xc2, 2, 0, 0], 2, 44),
        // A route that would go on, RFC 5095 among them.
        (43, [17, 0, 0, 1, 0, 0, 0, 0], 0, 42),
        // Headers and protocols that nobody knows, and a header where it may not be.
        (99, [17, 0, 0, 0, 0, 0, 0, 0], 1, 6),
        (60, [132, 0, 1, 4, 0, 0, 0, 0], 1, 40),
        (60, [0, 0, 1, 4, 0, 0, 0, 0], 1, 40),
    ] {
        let packet = with_headers(&packet, first, &headers);
        bench.receive(&packet).unwrap();
        let rest = [&pointer.to_be_bytes()[..], &packet].concat();
        assert_eq!(said(&mut bench), [(4, code, rest)], "{first} {headers:?}");
    }
    for (first, headers) in [
        (60, [17, 0, 0x40, 4, 0, 0, 0, 0]),
        (60, [17, 0, 1, 5, 0, 0, 0, 0]),
        (60, [17, 99, 1, 4, 0, 0, 0, 0]),
        (44, [17, 0, 0, 1, 0, 0, 0, 7]),
        (44, [17, 0, 0, 8, 0, 0, 0, 7]),
    ] {
        assert!(bench.receive(&with_headers(&packet, first, &headers)).is_err());
    }
    bench.receive(&with_headers(&packet[..40], 59, &[])).unwrap();
    assert!(sent(&mut bench.router).is_empty() && bench.router.udp_receive(server).is_none());
}

#[test]
fn rfc4443_2_4_no_error_answers_an_error() {
    let mut bench = Bench::new();
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        let error =
            written(|frame| header(CLIENT6, ROUTER6).write_icmp(&[kind, 0, 0, 0, 0, 0, 0, 0, 1], frame));
        let _ = bench.receive(&error);
        let _ = bench.receive(&with_headers(&error, 60, &[58, 0, 0x80, 4, 0, 0, 0, 0]));
        assert!(sent(&mut bench.router).is_empty(), "type {kind}");
    }
}

#[test]
fn packets_that_no_host_should_see_are_dropped_with_a_reason() {
    let mut bench = Bench::new();
    assert_eq!(bench.receive(&ping(CLIENT6, CLIENT6, b"")), Err(DropReason::NotListening));
    assert_eq!(bench.receive(&ping(CLIENT6, "ff02::1".parse().unwrap(), b"")), Err(DropReason::NotListening));
    assert_eq!(bench.receive(&ping(ROUTER6, ROUTER6, b"")), Err(DropReason::Land));
    assert_eq!(bench.receive(&ping(ROUTER_LINK, ROUTER_LINK, b"")), Err(DropReason::Land));
    for bogon in ["::", "::1", "ff02::1", "::ffff:192.0.2.1", "fe80:0:0:1::20", "fe80:1::20"] {
        let from = bogon.parse().unwrap();
        assert_eq!(bench.receive(&ping(from, ROUTER6, b"")), Err(DropReason::BogonSource), "{bogon}");
    }
    let mut wrong = ping(CLIENT6, ROUTER6, b"x");
    wrong[48] ^= 1;
    assert_eq!(bench.receive(&wrong), Err(DropReason::IcmpChecksum));
    bench.router.udp_bind(53, 1).unwrap();
    let mut unsummed = datagram(ROUTER6, 53, b"x");
    set_u16(&mut unsummed, 46, 0);
    assert_eq!(bench.receive(&unsummed), Err(DropReason::TransportMalformed), "RFC 8200 8.1");
    assert!(sent(&mut bench.router).is_empty());
}

#[test]
fn the_host_discovers_nobody_and_says_nothing_of_its_own() {
    let mut bench = Bench::new();
    let target = v6(ROUTER6).octets();
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target].concat();
    let mut head = header(CLIENT6, ROUTER6);
    head.hop_limit = 255;
    let packet = written(|frame| head.write_icmp(&solicitation, frame));
    assert_eq!(bench.receive(&packet), Err(DropReason::NotListening));
    bench.run(Duration::from_secs(7200));
    assert!(sent(&mut bench.router).is_empty());
}

#[test]
fn a_partial_checksum_is_completed_before_it_is_checked() {
    let mut bench = Bench::new();
    let server = bench.router.udp_bind(53, 8).unwrap();
    let mut packet = datagram(ROUTER6, 53, b"offloaded");
    let len = packet.len() as u32 - 40;
    set_u16(&mut packet, 46, Sum::pseudo_v6(v6(CLIENT6), v6(ROUTER6), 17, len).value());
    assert!(bench.receive(&packet).is_err(), "as it stands the sum is wrong");
    packet.extend([9; 3]);
    let mut frame = Frame::from_bytes(&packet);
    frame.offload.checksum = Checksum::Partial { start: 40, offset: 6 };
    bench.router.receive(&mut Cx { now: bench.now, rng: &mut bench.rng }, LAN, &frame).unwrap();
    assert_eq!(bench.router.udp_receive(server).unwrap().payload, b"offloaded");
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    let mut bench = Bench::new();
    bench.router.udp_bind(53, 4).unwrap();
    let headers = [60, 0, 5, 2, 0, 0, 1, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    let seeds = [
        ping(CLIENT_LINK, ROUTER_LINK, b"ping"),
        datagram(ROUTER6, 53, b"question"),
        datagram(ROUTER6, 9, b"x"),
        with_headers(&datagram(ROUTER6, 53, b"question"), 0, &headers),
    ];
    for seed in &seeds {
        for len in 0..seed.len() {
            assert!(bench.receive(&seed[..len]).is_err(), "cut to {len}");
            let mut shorter = seed[..len].to_vec();
            if len >= 40 {
                set_u16(&mut shorter, 4, len as u16 - 40);
            }
            let _ = bench.receive(&shorter);
        }
        for bit in 0..seed.len() * 8 {
            let mut flipped = seed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = bench.receive(&flipped);
            for packet in sent(&mut bench.router) {
                assert!(Ipv6::parse(&packet).unwrap().icmp().is_some(), "a sound answer");
            }
        }
    }
    bench.receive(&ping(CLIENT6, ROUTER6, b"alive")).unwrap();
    assert_eq!(said(&mut bench).len(), 1);
}
