//! Two hosts that talk to each other through their packets, and hostile packets.

mod ipv6;

use core::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::frame::Checksum;
use crate::id::LanId;
use crate::rng::SeededRng;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::Ipv6;
use crate::wire::octets::set_u16;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 1, 0, 0, 0, 0, 0, 1));
const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 1, 0, 0, 0, 0, 0, 0x20));
const ROUTER_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const CLIENT_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x20));
const LAN: Interface = Interface::Lan(LanId(3));

struct Bench {
    router: Host,
    client: Host,
    rng: SeededRng,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut rng = SeededRng::from_u64(3);
        let now = Instant::from_secs(50);
        let mut cx = Cx { now, rng: &mut rng };
        let mut router = Host::new(&mut cx);
        router.set_addresses([ROUTER.into(), WAN.into(), ROUTER6, ROUTER_LINK]);
        let mut client = Host::new(&mut cx);
        client.set_addresses([CLIENT.into(), CLIENT6, CLIENT_LINK]);
        Bench { router, client, rng, now }
    }

    fn receive(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.router.receive(&mut Cx { now: self.now, rng: &mut self.rng }, LAN, &Frame::from_bytes(packet))
    }

    /// Carries packets to and fro until there are none, and lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut cx = Cx { now: self.now, rng: &mut self.rng };
            self.router.handle_timeout(&mut cx);
            self.client.handle_timeout(&mut cx);
            let (to_client, to_router) = (sent(&mut self.router), sent(&mut self.client));
            if to_client.is_empty() && to_router.is_empty() {
                let due = crate::time::earliest(self.router.poll_timeout(), self.client.poll_timeout());
                match due.filter(|&due| due <= end) {
                    Some(due) => self.now = self.now.max(due),
                    None => break,
                }
            }
            for packet in to_client {
                let _ = self.client.receive(&mut cx, LAN, &Frame::from_bytes(&packet));
            }
            for packet in to_router {
                let _ = self.router.receive(&mut cx, LAN, &Frame::from_bytes(&packet));
            }
        }
        self.now = end;
    }
}

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn sent(host: &mut Host) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(len) = host.next_len() {
        let mut frame = Frame::with_capacity(crate::frame::HEADROOM + len);
        let way = host.poll_transmit(&mut frame).unwrap();
        if let Some(packet) = Ipv6::parse(frame.bytes()) {
            let on_link =
                packet.source().is_unicast_link_local() || packet.destination().is_unicast_link_local();
            assert_eq!(way, if on_link { Way::Link(LAN) } else { Way::Routed });
        } else {
            assert!(Sum::of(Ipv4::parse(frame.bytes()).unwrap().header()).is_right());
        }
        packets.push(frame.bytes().to_vec());
    }
    packets
}

fn packet(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    ipv4::write_header_checksum(&mut packet, 20);
    packet.extend(payload);
    packet
}

fn echo_request(to: Ipv4Addr, data: &[u8]) -> Vec<u8> {
    let mut message = [&[8, 0, 0, 0, 0xab, 0xcd, 0, 1], data].concat();
    let checksum = Sum::of(&message).checksum();
    set_u16(&mut message, 2, checksum);
    packet(ipv4::ICMP, CLIENT, to, &message)
}

fn udp(to_port: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    let head = [40_000u16.to_be_bytes(), to_port.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    let mut datagram = [&head, data].concat();
    let sum = Sum::pseudo_v4(CLIENT, ROUTER, ipv4::UDP, len).plus(Sum::of(&datagram));
    set_u16(&mut datagram, 6, sum.udp_checksum());
    packet(ipv4::UDP, CLIENT, ROUTER, &datagram)
}

#[test]
fn rfc1122_3_2_2_6_every_address_answers_an_echo_request_with_its_data() {
    let mut bench = Bench::new();
    for (to, len) in [(ROUTER, 0), (WAN, 56), (ROUTER, 1473), (ROUTER, 30_001)] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        bench.receive(&echo_request(to, &data)).unwrap();
        let packets = sent(&mut bench.router);
        let reply = Ipv4::parse(&packets[0]).unwrap();
        assert_eq!((reply.source(), reply.destination(), reply.protocol()), (to, CLIENT, ipv4::ICMP));
        assert!(Sum::of(reply.payload()).is_right());
        assert_eq!(reply.payload()[..2], [0, 0]);
        assert_eq!(reply.payload()[4..8], [0xab, 0xcd, 0, 1]);
        assert_eq!(reply.payload()[8..], data);
    }
}

#[test]
fn rfc1624_a_reply_of_nothing_but_zeros_has_the_checksum_of_zeros() {
    let mut bench = Bench::new();
    bench.receive(&packet(ipv4::ICMP, CLIENT, ROUTER, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0, 0, 0])).unwrap();
    let packets = sent(&mut bench.router);
    assert_eq!(Ipv4::parse(&packets[0]).unwrap().payload(), &[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn rfc1122_3_2_2_1_a_closed_udp_port_is_told_from_the_address_that_was_asked() {
    let mut bench = Bench::new();
    bench.receive(&udp(33434, b"traceroute")).unwrap();
    let packets = sent(&mut bench.router);
    let error = Ipv4::parse(&packets[0]).unwrap();
    assert_eq!((error.source(), error.destination()), (ROUTER, CLIENT));
    assert_eq!(error.payload()[..2], [3, 3]);
}

#[test]
fn a_closed_tcp_port_is_reset() {
    let mut bench = Bench::new();
    let id = bench.client.tcp_open(512, 512);
    assert!(bench.client.tcp_connect(&mut bench.rng, id, CLIENT.into(), at(ROUTER, 80)));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.client.tcp_state(id), TcpState::Closed);
}

#[test]
fn a_datagram_is_answered_from_the_address_that_it_was_sent_to() {
    let mut bench = Bench::new();
    let server = bench.router.udp_bind(53, 8).unwrap();
    assert_eq!(bench.router.udp_bind(53, 8), None, "the port is taken");
    let client = bench.client.udp_bind_any(&mut bench.rng).unwrap();
    for address in [ROUTER, WAN] {
        assert!(bench.client.udp_send(client, CLIENT.into(), at(address, 53), b"question"));
        bench.run(Duration::from_secs(1));
        let question = bench.router.udp_receive(server).unwrap();
        assert_eq!((question.to, &question.payload[..]), (address.into(), &b"question"[..]));
        assert!(bench.router.udp_send(server, question.to, question.from, b"answer"));
        bench.run(Duration::from_secs(1));
        let answer = bench.client.udp_receive(client).unwrap();
        assert_eq!((answer.from, &answer.payload[..]), (at(address, 53), &b"answer"[..]));
    }
    bench.client.udp_close(client);
    assert!(!bench.client.udp_send(client, CLIENT.into(), at(ROUTER, 53), b"x"), "a closed socket is gone");
    assert_eq!(bench.client.udp_receive(client), None);
    assert!(!bench.router.udp_send(server, ROUTER.into(), at(CLIENT, 53), &[0; UDP4_MAX + 1]));
    assert!(bench.router.udp_send(server, ROUTER.into(), at(CLIENT, 53), &[0; UDP4_MAX]));
}

#[test]
fn rfc5452_9_2_ports_of_our_questions_are_spread() {
    let mut bench = Bench::new();
    let mut ports = BTreeSet::new();
    for _ in 0..64 {
        let id = bench.router.udp_bind_any(&mut bench.rng).unwrap();
        ports.insert(bench.router.udp[&id].1 / 8192);
    }
    assert_eq!(ports.len(), 8, "every eighth of the range is used");
}

#[test]
fn a_tcp_connection_carries_data_both_ways_and_closes() {
    let mut bench = Bench::new();
    let server = bench.router.tcp_open(1024, 1024);
    assert!(bench.router.tcp_listen(server, 53));
    assert_eq!(bench.router.tcp_state(server), TcpState::Listening);
    let client = bench.client.tcp_open(1024, 4096);
    assert!(bench.client.tcp_connect(&mut bench.rng, client, CLIENT.into(), at(ROUTER, 53)));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.router.tcp_state(server), TcpState::Open);
    assert_eq!(bench.router.tcp_peer(server).map(|peer| peer.ip()), Some(CLIENT.into()));
    let data: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
    assert_eq!(bench.client.tcp_write(client, &data), data.len());
    let mut got = Vec::new();
    for _ in 0..20 {
        bench.run(Duration::from_millis(100));
        bench.router.tcp_read(server, 4096, &mut got).unwrap();
    }
    assert_eq!(got, data, "more than the buffer holds, in order");
    assert_eq!(bench.router.tcp_write(server, b"answer"), 6);
    bench.router.tcp_close(server);
    bench.run(Duration::from_secs(1));
    let mut answer = Vec::new();
    assert_eq!(bench.client.tcp_read(client, 3, &mut answer), Some(3));
    assert_eq!(bench.client.tcp_read(client, 99, &mut answer), Some(3));
    assert_eq!(answer, b"answer");
    assert_eq!(bench.client.tcp_read(client, 99, &mut answer), None, "the peer has closed");
    bench.client.tcp_close(client);
    bench.run(Duration::from_secs(30));
    assert_eq!(bench.router.tcp_state(server), TcpState::Closed);
    bench.router.tcp_remove(server);
    assert_eq!(bench.router.tcp_write(server, b"x"), 0);
    assert_eq!(bench.router.tcp_state(server), TcpState::Closed);
}

#[test]
fn a_partial_checksum_is_completed_before_it_is_checked() {
    let mut bench = Bench::new();
    let server = bench.router.udp_bind(53, 8).unwrap();
    let mut packet = udp(53, b"offloaded");
    let len = packet.len() as u16 - 20;
    set_u16(&mut packet, 26, Sum::pseudo_v4(CLIENT, ROUTER, ipv4::UDP, len).value());
    assert_eq!(bench.receive(&packet), Ok(()));
    assert_eq!(bench.router.udp_receive(server), None, "as it stands the sum is wrong");
    let mut frame = Frame::from_bytes(&packet);
    frame.offload.checksum = Checksum::Partial { start: 20, offset: 6 };
    bench.router.receive(&mut Cx { now: bench.now, rng: &mut bench.rng }, LAN, &frame).unwrap();
    assert_eq!(bench.router.udp_receive(server).unwrap().payload, b"offloaded");
}

#[test]
fn packets_that_no_host_should_see_are_dropped_with_a_reason() {
    let mut bench = Bench::new();
    let ping = |from, to| {
        let mut message = vec![8, 0, 0, 0, 0, 0, 0, 0];
        let checksum = Sum::of(&message).checksum();
        set_u16(&mut message, 2, checksum);
        packet(ipv4::ICMP, from, to, &message)
    };
    assert_eq!(bench.receive(&ping(CLIENT, CLIENT)), Err(DropReason::NotListening));
    assert_eq!(bench.receive(&ping(ROUTER, ROUTER)), Err(DropReason::Land));
    for bogon in
        [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)]
    {
        assert_eq!(bench.receive(&ping(bogon, ROUTER)), Err(DropReason::BogonSource));
    }
    let mut fragment = ping(CLIENT, ROUTER);
    set_u16(&mut fragment, 6, ipv4::MORE_FRAGMENTS);
    ipv4::write_header_checksum(&mut fragment, 20);
    assert_eq!(bench.receive(&fragment), Err(DropReason::TransportMalformed));
    let mut wrong = echo_request(ROUTER, b"x");
    wrong[28] ^= 1;
    assert_eq!(bench.receive(&wrong), Err(DropReason::IcmpChecksum));
    let mut wrong = echo_request(ROUTER, b"x");
    wrong[8] ^= 1;
    assert_eq!(bench.receive(&wrong), Err(DropReason::Ipv4Checksum));
    assert!(sent(&mut bench.router).is_empty());
}

#[test]
fn a_flood_of_pings_is_bounded() {
    let mut bench = Bench::new();
    let overloaded = (0..5000).filter(|_| bench.receive(&echo_request(ROUTER, b"x")).is_err()).count();
    assert!(overloaded > 3000);
    assert!(sent(&mut bench.router).len() < 2000);
    assert_eq!(bench.receive(&echo_request(ROUTER, b"x")), Ok(()));
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    let mut bench = Bench::new();
    bench.router.udp_bind(53, 4).unwrap();
    let server = bench.router.tcp_open(256, 256);
    bench.router.tcp_listen(server, 53);
    // A SYN with every option that smoltcp reads: MSS, window scale, SACK, timestamps.
    let mut segment = vec![0x9c, 0x40, 0, 53, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0, 2, 0x10, 0, 0, 0, 0, 0];
    segment.extend([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);
    let fix = |segment: &mut [u8]| {
        set_u16(segment, 16, 0);
        let sum = Sum::pseudo_v4(CLIENT, ROUTER, ipv4::TCP, segment.len() as u16).plus(Sum::of(segment));
        set_u16(segment, 16, sum.checksum());
    };
    fix(&mut segment);
    let seeds = [
        echo_request(ROUTER, b"ping"),
        udp(53, b"question"),
        udp(9, b"x"),
        packet(ipv4::TCP, CLIENT, ROUTER, &segment),
    ];
    for seed in &seeds {
        for len in 0..seed.len() {
            assert!(bench.receive(&seed[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..seed.len() * 8 {
            let mut flipped = seed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = bench.receive(&flipped);
            // The same with checksums that are right, so that what lies behind them is reached.
            ipv4::write_header_checksum(&mut flipped, 20);
            if flipped[9] == ipv4::TCP {
                fix(&mut flipped[20..]);
            } else if flipped[9] == ipv4::UDP {
                set_u16(&mut flipped, 26, 0);
            }
            let _ = bench.receive(&flipped);
            bench.run(Duration::from_millis(100));
        }
    }
    bench.run(Duration::from_secs(60));
    bench.receive(&echo_request(ROUTER, b"alive")).unwrap();
    assert!(!sent(&mut bench.router).is_empty());
}

#[test]
fn a_partial_checksum_that_points_anywhere_is_survived() {
    let mut bench = Bench::new();
    for (start, offset) in [(0, 0), (20, 6), (20, u16::MAX), (u16::MAX, u16::MAX), (28, 0), (35, 1)] {
        let mut frame = Frame::from_bytes(&udp(53, b"question"));
        frame.offload.checksum = Checksum::Partial { start, offset };
        let _ = bench.router.receive(&mut Cx { now: bench.now, rng: &mut bench.rng }, LAN, &frame);
    }
}

#[test]
fn segments_with_noise_in_them_cannot_upset_a_live_connection_or_the_host() {
    let mut bench = Bench::new();
    let mut noise = SeededRng::from_u64(77);
    for _ in 0..40 {
        let server = bench.router.tcp_open(600, 600);
        bench.router.tcp_listen(server, 53);
        let client = bench.client.tcp_open(600, 600);
        bench.client.tcp_connect(&mut bench.rng, client, CLIENT.into(), at(ROUTER, 53));
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for round in 0..60 {
            let mut cx = Cx { now: bench.now, rng: &mut bench.rng };
            bench.client.handle_timeout(&mut cx);
            bench.router.handle_timeout(&mut cx);
            for packet in sent(&mut bench.client) {
                let _ = bench.router.receive(&mut cx, LAN, &Frame::from_bytes(&packet));
                seen.push(packet);
            }
            for packet in sent(&mut bench.router) {
                let _ = bench.client.receive(&mut cx, LAN, &Frame::from_bytes(&packet));
            }
            for _ in 0..8 {
                let Some(mut packet) = seen.get(noise.below(seen.len() as u64) as usize).cloned() else {
                    break;
                };
                for _ in 0..=noise.below(4) {
                    let at = 24 + noise.below(packet.len() as u64 - 24) as usize;
                    packet[at] = noise.next_u64() as u8;
                }
                let end = packet.len();
                set_u16(&mut packet, 36, 0);
                let sum =
                    Sum::pseudo_v4(CLIENT, ROUTER, ipv4::TCP, end as u16 - 20).plus(Sum::of(&packet[20..]));
                set_u16(&mut packet, 36, sum.checksum());
                let _ = bench.router.receive(&mut cx, LAN, &Frame::from_bytes(&packet));
            }
            bench.client.tcp_write(client, &[round; 100]);
            bench.router.tcp_write(server, &[round; 100]);
            bench.router.tcp_read(server, 4096, &mut Vec::new());
            if round == 50 {
                bench.client.tcp_close(client);
                bench.router.tcp_close(server);
            }
            bench.now += Duration::from_millis(noise.below(400));
        }
        bench.client.tcp_remove(client);
        bench.router.tcp_remove(server);
        bench.run(Duration::from_secs(1));
    }
    bench.receive(&echo_request(ROUTER, b"alive")).unwrap();
    assert!(!sent(&mut bench.router).is_empty());
}
