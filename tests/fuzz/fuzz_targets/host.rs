//! A life of the router as a host. Whatever comes in, what it says is a sound packet in its own name, to a single host, and
//! never more than one answer to one packet.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use genkan_fuzz::{Numbers, Script, World, packet, sound};
use genkan_netstack::frame::{Checksum, Frame, LARGE};
use genkan_netstack::host::{Host, MTU, TcpState};
use genkan_netstack::wire::ipv4::{ICMP, Ipv4, TCP, UDP};
use libfuzzer_sys::fuzz_target;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    let mut host = Host::new(&mut world.cx());
    host.set_addresses([ROUTER]);
    let udp = host.udp_bind(53, 4).expect("the port is free");
    let listener = host.tcp_open(2048, 2048);
    assert!(host.tcp_listen(listener, 53));
    let dialler = host.tcp_open(2048, 2048);
    let mut rng = genkan_netstack::rng::SeededRng::from_u64(2);
    assert!(host.tcp_connect(&mut rng, dialler, ROUTER, SocketAddrV4::new(SERVER, 53)));
    host.handle_timeout(&mut world.cx());
    // The last segment that the host sent, for its peer to answer.
    let mut last: Option<Vec<u8>> = None;
    for step in Script(data) {
        let mut largest = MTU;
        match step.operation % 8 {
            0..=3 => {
                let bytes = match step.operation % 8 {
                    0 => step.data.to_vec(),
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
                let _ = host.receive(&mut world.cx(), &frame);
            }
            4 => {
                world.pass(step.data, host.poll_timeout());
                host.handle_timeout(&mut world.cx());
            }
            5 => {
                let to = SocketAddrV4::new(CLIENT, 4000);
                host.udp_send(udp, ROUTER, to, step.data);
                host.tcp_write(listener, step.data);
                host.tcp_write(dialler, step.data);
                host.handle_timeout(&mut world.cx());
            }
            6 => {
                let mut into = Vec::new();
                let max = step.data.len();
                for id in [listener, dialler] {
                    into.clear();
                    host.tcp_read(id, max, &mut into);
                    assert!(into.len() <= max);
                }
                while let Some(datagram) = host.udp_receive(udp) {
                    assert_eq!(datagram.to, ROUTER);
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
            assert!(host.poll_transmit(&mut frame), "there is room");
            assert_eq!(frame.len(), len);
            assert!(len <= largest, "a packet of {len} octets");
            let view = sound::ipv4(frame.bytes());
            assert_eq!(view.source(), ROUTER, "in its own name");
            let to = view.destination();
            assert!(
                !to.is_multicast() && !to.is_broadcast() && !to.is_unspecified() && to != ROUTER,
                "to {to}"
            );
            if view.protocol() == TCP {
                last = Some(frame.bytes().to_vec());
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

/// What the peer of the last segment says to it: its numbers are right, its flags, window and data are the input's.
fn answer(last: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
    let Some(view) = last.and_then(Ipv4::parse) else { return Vec::new() };
    let segment = view.payload();
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
    packet::ipv4(view.destination(), ROUTER, TCP, &[], &back)
}
