//! A life of ARP on two LANs and beyond an uplink. Nobody is taken in unasked, nobody gets the router's address, and nothing
//! is said but what a station may hear.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use genkan_fuzz::{Numbers, Script, World};
use genkan_netstack::arp::{Arp, Event, Input, Operation, Packet, Station};
use genkan_netstack::forward::{Resolve, Update};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv4Cidr, LanId, Mac, Segment, WanId};
use libfuzzer_sys::fuzz_target;

/// Two LANs, an uplink, and one that does not exist.
const SEGMENTS: [Segment; 4] =
    [Segment::Lan(LanId(0)), Segment::Lan(LanId(1)), Segment::Wan(WanId(0)), Segment::Wan(WanId(1))];

/// The third octet of a segment's addresses.
fn subnet(segment: Segment) -> u8 {
    SEGMENTS.iter().position(|other| *other == segment).expect("a segment of ours") as u8
}

fn network(segment: Segment) -> Ipv4Cidr {
    let subnet = subnet(segment);
    Ipv4Cidr { address: Ipv4Addr::new(192, 168, subnet, 1), prefix: if subnet == 1 { 29 } else { 24 } }
}

fn station(segment: Segment) -> Station {
    let address = matches!(segment, Segment::Lan(_)).then(|| network(segment));
    Station { segment, mac: Mac([2, 0, 0, 0, 0, subnet(segment)]), address }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    let mut arp = Arp::new(&mut world.cx(), SEGMENTS[..3].iter().copied().map(station));
    // Addresses that somebody asked for, or that asked for us.
    let mut asked: BTreeSet<(Segment, Ipv4Addr)> = BTreeSet::new();
    for step in Script(data) {
        let segment = SEGMENTS[usize::from(step.operation >> 4) % 4];
        match step.operation % 5 {
            0 => heard(&mut arp, &mut world, &mut asked, segment, step.data),
            1 => heard(&mut arp, &mut world, &mut asked, segment, &spoken(segment, step.data)),
            2 => {
                let Some(octets) = step.data.first_chunk::<2>() else { continue };
                let address = Ipv4Addr::new(192, 168, octets[0] & 3, octets[1]);
                asked.insert((segment, address));
                let question = Resolve { segment, address: address.into() };
                let _ = arp.handle(&mut world.cx(), Input::Resolve(question));
            }
            3 => {
                let up = step.data.first().is_some_and(|octet| octet & 1 == 1);
                let uplink = SEGMENTS[2];
                let input = Input::Address { segment: uplink, address: up.then(|| network(uplink)) };
                let _ = arp.handle(&mut world.cx(), input);
            }
            _ => {
                world.pass(step.data, arp.poll_timeout());
                arp.handle_timeout(&mut world.cx());
                assert!(arp.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
            }
        }
        let mut frame = Frame::with_capacity(256);
        while let Some(segment) = arp.poll_transmit(&mut frame) {
            let packet = Packet::parse(frame.bytes()).expect("we speak ARP");
            let own = (station(segment).mac, network(segment).address);
            assert_eq!((packet.sender_mac, packet.sender), own, "in our own name");
            let to = Mac::read(frame.bytes()).expect("a frame");
            assert!(to.is_station() || to == Mac::BROADCAST);
            assert!(packet.operation == Operation::Request || to != Mac::BROADCAST, "an answer is for one");
            frame.reset();
        }
        while let Some(event) = arp.poll_event() {
            let _ = event.to_string();
            match event {
                Event::Neighbour(Update::NeighbourFound { segment, address: IpAddr::V4(address), mac }) => {
                    let own = network(segment);
                    let inside = own.contains(address) || matches!(segment, Segment::Wan(_));
                    assert!(inside && address != own.address, "{address} is no host");
                    assert!(mac.is_station() && mac != station(segment).mac);
                    assert!(asked.contains(&(segment, address)), "{address} was taken in unasked");
                }
                Event::Neighbour(Update::NeighbourFailed { segment, address: IpAddr::V4(address) }) => {
                    assert!(asked.contains(&(segment, address)));
                }
                Event::Neighbour(other) => panic!("ARP does not say {other:?}"),
                Event::Conflict { segment, address, mac } => {
                    assert_eq!(address, network(segment).address);
                    assert_ne!(mac, station(segment).mac);
                }
            }
        }
    }
});

fn heard(
    arp: &mut Arp,
    world: &mut World,
    asked: &mut BTreeSet<(Segment, Ipv4Addr)>,
    segment: Segment,
    frame: &[u8],
) {
    if let Ok(packet) = Packet::parse(frame)
        && packet.operation == Operation::Request
        && packet.target == network(segment).address
        && matches!(segment, Segment::Lan(_))
    {
        asked.insert((segment, packet.sender));
    }
    let _ = arp.handle(&mut world.cx(), Input::Frame { segment, frame });
}

/// What one of a few stations says about one of a few addresses.
fn spoken(segment: Segment, data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let subnet = subnet(segment);
    let packet = Packet {
        operation: if input.u8() & 1 == 0 { Operation::Request } else { Operation::Reply },
        sender_mac: Mac([2, 0, 0, 0, input.u8() & 1, input.u8() & 7]),
        sender: Ipv4Addr::new(192, 168, subnet, input.u8() & 15),
        target_mac: Mac([0; 6]),
        target: Ipv4Addr::new(192, 168, subnet, input.u8() & 15),
    };
    let mut frame = Frame::with_capacity(256);
    packet.emit(Mac::BROADCAST, &mut frame);
    frame.bytes().to_vec()
}
