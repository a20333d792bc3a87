//! A life of the router as a host. Whatever comes in, what it says is a sound packet in its own name, to a single host, out by
//! the link that it is for, and no error answers an error.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use genkan_fuzz::{Numbers, Script, World, packet, sound};
use genkan_netstack::frame::{Checksum, Frame, LARGE};
use genkan_netstack::host::{Host, MTU, TcpState, Way, scoped};
use genkan_netstack::id::{Interface, LanId};
use genkan_netstack::wire::ipv4::{ICMP, Ipv4, TCP, UDP};
use genkan_netstack::wire::ipv6::{ICMPV6, Ipv6};
use libfuzzer_sys::fuzz_target;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0x50);
const ROUTER_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const CLIENT_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x50);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x3fff, 0xf, 0, 0, 0, 0, 0, 0x53);
const LAN: Interface = Interface::Lan(LanId(2));

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    let mut host = Host::new(&mut world.cx());
    host.set_addresses([ROUTER.into(), ROUTER6.into(), ROUTER_LINK.into()]);
    let udp = host.udp_bind(53, 4).expect("the port is free");
    let listener = host.tcp_open(2048, 2048);
    assert!(host.tcp_listen(listener, 53));
    let dialler = host.tcp_open(2048, 2048);
    let mut rng = genkan_netstack::rng::SeededRng::from_u64(2);
    assert!(host.tcp_connect(&mut rng, dialler, ROUTER.into(), SocketAddr::new(SERVER.into(), 53)));
    let dialler6 = host.tcp_open(2048, 2048);
    assert!(host.tcp_connect(&mut rng, dialler6, ROUTER6.into(), SocketAddr::new(SERVER6.into(), 53)));
    host.handle_timeout(&mut world.cx());
    // The last segment that the host sent, for its peer to answer.
    let mut last: Option<Vec<u8>> = None;
    let mut last6: Option<Vec<u8>> = None;
    for step in Script(data) {
        let mut largest = MTU;
        match step.operation % 12 {
            kind @ (0..=3 | 8..) => {
                let bytes = match kind {
                    0 => step.data.to_vec(),
                    8 => {
                        let mut bytes = step.data.to_vec();
                        if let Some(destination) = bytes.get_mut(24..40) {
                            destination.copy_from_slice(&ROUTER6.octets());
                        }
                        packet::repair6(&mut bytes);
                        bytes
                    }
                    9 | 10 => sent6(step.data),
                    11 => answer6(last6.as_deref(), step.data),
                    1 => {
                        let mut bytes = step.data.to_vec();
                        if let Some(destination) = bytes.get_mut(16..20) {
                            destination.copy_from_slice(&ROUTER.octets());
                        }
                        packet::repair(&mut bytes);
                        bytes
                    }
                    2 => sent(step.data),
                    _ => answer(last.as_deref(), step.data),
                };
                largest = largest.max(bytes.len());
                let mut frame = Frame::from_bytes(&bytes);
                if step.operation & 0x80 != 0 {
                    let [start, offset] = step.data.first_chunk().copied().unwrap_or_default();
                    frame.offload.checksum = Checksum::Partial { start: start.into(), offset: offset.into() };
                }
                let error = bytes.len() > 40 && bytes[0] >> 4 == 6 && bytes[6] == ICMPV6 && bytes[40] < 128;
                // The sockets may have had something to say before.
                let waiting = host.next_len();
                let _ = host.receive(&mut world.cx(), LAN, &frame);
                if error {
                    assert_eq!(host.next_len(), waiting, "an error is answered: {bytes:02x?}");
                }
            }
            4 => {
                world.pass(step.data, host.poll_timeout());
                host.handle_timeout(&mut world.cx());
            }
            5 => {
                for (source, to) in [
                    (IpAddr::V4(ROUTER), IpAddr::V4(CLIENT)),
                    (ROUTER6.into(), CLIENT6.into()),
                    (scoped(ROUTER_LINK.into(), LAN), scoped(CLIENT_LINK.into(), LAN)),
                    (ROUTER.into(), CLIENT6.into()),
                ] {
                    host.udp_send(udp, source, SocketAddr::new(to, 4000), step.data);
                }
                host.tcp_write(dialler6, step.data);
                host.tcp_write(listener, step.data);
                host.tcp_write(dialler, step.data);
                host.handle_timeout(&mut world.cx());
            }
            6 => {
                let mut into = Vec::new();
                let max = step.data.len();
                for id in [listener, dialler, dialler6] {
                    into.clear();
                    host.tcp_read(id, max, &mut into);
                    assert!(into.len() <= max);
                }
                while let Some(datagram) = host.udp_receive(udp) {
                    let ours = [ROUTER.into(), ROUTER6.into(), scoped(ROUTER_LINK.into(), LAN)];
                    assert!(ours.contains(&datagram.to), "to {}", datagram.to);
                }
                host.handle_timeout(&mut world.cx());
            }
            _ => {
                match step.data.first().copied().unwrap_or(0) % 4 {
                    0 => host.tcp_close(listener),
                    1 => host.tcp_abort(dialler),
                    2 => host.tcp_close(dialler),
                    _ => {
                        if host.tcp_state(listener) == TcpState::Closed {
                            host.tcp_listen(listener, 53);
                        }
                    }
                }
                host.handle_timeout(&mut world.cx());
            }
        }
        let mut frame = Frame::with_capacity(LARGE);
        while let Some(len) = host.next_len() {
            let way = host.poll_transmit(&mut frame).expect("there is room");
            assert_eq!(frame.len(), len);
            assert!(len <= largest, "a packet of {len} octets");
            match frame.bytes()[0] >> 4 {
                6 => {
                    let view = sound::ipv6(frame.bytes());
                    let (from, to) = (view.source(), view.destination());
                    assert!(from == ROUTER6 || from == ROUTER_LINK, "in its own name, not {from}");
                    assert!(!to.is_multicast() && !to.is_unspecified() && to != from, "to {to}");
                    let link = from == ROUTER_LINK || to.is_unicast_link_local();
                    assert_eq!(way, if link { Way::Link(LAN) } else { Way::Routed });
                    if view.next_header() == TCP {
                        last6 = Some(frame.bytes().to_vec());
                    }
                }
                _ => {
                    let view = sound::ipv4(frame.bytes());
                    assert_eq!(view.source(), ROUTER, "in its own name");
                    let to = view.destination();
                    assert!(
                        !to.is_multicast() && !to.is_broadcast() && !to.is_unspecified() && to != ROUTER,
                        "to {to}"
                    );
                    assert_eq!(way, Way::Routed);
                    if view.protocol() == TCP {
                        last = Some(frame.bytes().to_vec());
                    }
                }
            }
            frame.reset();
        }
    }
});

/// A packet of one of a few kinds that gets past the first check.
fn sent(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (kind, rest) = (input.u8(), input.0);
    let source = if kind & 0x80 == 0 { CLIENT } else { SERVER };
    match kind % 4 {
        0 => packet::ipv4(
            source,
            ROUTER,
            UDP,
            &[],
            &packet::udp(4000, if kind & 4 == 0 { 53 } else { 99 }, rest),
        ),
        1 => packet::ipv4(source, ROUTER, ICMP, &[], &[&[8, 0, 0, 0, 1, 2, 3, 4], rest].concat()),
        2 => {
            let mut segment = vec![0x0f, 0xa0, 0, if kind & 4 == 0 { 53 } else { 99 }];
            segment.extend(rest);
            segment.resize(segment.len().max(20), 0);
            segment[12] = segment[12].max(0x50);
            packet::ipv4(source, ROUTER, TCP, &[], &segment)
        }
        _ => packet::ipv4(source, ROUTER, rest.first().copied().unwrap_or(0), &[], rest),
    }
}

/// The same of IPv6, perhaps behind an extension header.
fn sent6(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (kind, rest) = (input.u8(), input.0);
    let (source, to) = match kind >> 6 {
        0 => (CLIENT6, ROUTER6),
        1 => (CLIENT_LINK, ROUTER_LINK),
        2 => (CLIENT6, ROUTER_LINK),
        _ => (SERVER6, ROUTER6),
    };
    let port = if kind & 4 == 0 { 53 } else { 99 };
    let packet = match kind % 4 {
        0 => packet::ipv6(source, to, UDP, &packet::udp(4000, port, rest)),
        1 => packet::ipv6(source, to, ICMPV6, &[&[128, 0, 0, 0, 1, 2, 3, 4], rest].concat()),
        2 => {
            let mut segment = vec![0x0f, 0xa0, 0, port as u8];
            segment.extend(rest);
            segment.resize(segment.len().max(20), 0);
            segment[12] = segment[12].max(0x50);
            packet::ipv6(source, to, TCP, &segment)
        }
        _ => packet::ipv6(source, to, rest.first().copied().unwrap_or(0), rest),
    };
    let header = [0, 60, 43, 44][usize::from(kind >> 4 & 3)];
    if kind & 8 == 0 || rest.len() < 7 {
        return packet;
    }
    let mut longer = [&packet[..40], &[packet[6], 0], &rest[1..7], &packet[40..]].concat();
    longer[6] = header;
    packet::repair6(&mut longer);
    longer
}

/// What the peer of the last segment over IPv6 says to it.
fn answer6(last: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
    let Some(view) = last.and_then(Ipv6::parse) else { return Vec::new() };
    packet::ipv6(view.destination(), view.source(), TCP, &reply(view.payload(), data))
}

/// What the peer of the last segment over IPv4 says to it.
fn answer(last: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
    let Some(view) = last.and_then(Ipv4::parse) else { return Vec::new() };
    packet::ipv4(view.destination(), ROUTER, TCP, &[], &reply(view.payload(), data))
}

/// A segment's answer: its numbers are right, its flags, window and data are the input's.
fn reply(segment: &[u8], data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (flags, offset, window) = (input.u8(), input.u8(), input.u16());
    let number =
        |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    let header = usize::from(segment[12] >> 4) * 4;
    let marks = u32::from(segment[13] & 2 != 0) + u32::from(segment[13] & 1 != 0);
    let acknowledges = number(4).wrapping_add((segment.len() - header) as u32).wrapping_add(marks);
    let mut back = [&segment[2..4], &segment[..2]].concat();
    back.extend(number(8).wrapping_add(u32::from(offset & 3)).to_be_bytes());
    back.extend(acknowledges.wrapping_sub(u32::from(offset >> 2 & 3)).to_be_bytes());
    back.extend([0x50, flags]);
    back.extend(window.to_be_bytes());
    back.extend([0; 4]);
    back.extend(input.0);
    back
}
