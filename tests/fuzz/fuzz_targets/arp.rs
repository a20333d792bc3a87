//! A life of ARP on two LANs. Nobody is taken in unasked, nobody gets the router's address, and nothing is said but what a
//! station may hear.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use genkan_fuzz::{Numbers, Script, World};
use genkan_netstack::arp::{Arp, Event, Input, Operation, Packet, Station};
use genkan_netstack::forward::{Resolve, Update};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv4Cidr, LanId, Mac, Segment};
use libfuzzer_sys::fuzz_target;

fn station(lan: u16) -> Station {
    Station {
        mac: Mac([2, 0, 0, 0, 0, lan as u8]),
        address: Ipv4Cidr { address: Ipv4Addr::new(192, 168, lan as u8, 1), prefix: 24 + 5 * lan as u8 },
    }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    let mut arp = Arp::new(&mut world.cx(), [station(0), station(1)]);
    // Addresses that somebody asked for, or that asked for us.
    let mut asked: BTreeSet<(LanId, Ipv4Addr)> = BTreeSet::new();
    for step in Script(data) {
        let lan = LanId(u16::from(step.operation >> 4) % 3);
        match step.operation % 4 {
            0 => heard(&mut arp, &mut world, &mut asked, lan, step.data),
            1 => heard(&mut arp, &mut world, &mut asked, lan, &spoken(lan, step.data)),
            2 => {
                let Some(octets) = step.data.first_chunk::<2>() else { continue };
                let address = Ipv4Addr::new(192, 168, octets[0] & 1, octets[1]);
                asked.insert((lan, address));
                let _ = arp.handle(&mut world.cx(), Input::Resolve(Resolve { segment: Segment::Lan(lan), address: address.into() }));
            }
            _ => {
                world.pass(step.data, arp.poll_timeout());
                arp.handle_timeout(&mut world.cx());
                assert!(arp.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
            }
        }
        let mut frame = Frame::with_capacity(256);
        while let Some(lan) = arp.poll_transmit(&mut frame) {
            let packet = Packet::parse(frame.bytes()).expect("we speak ARP");
            let own = station(lan.0);
            assert_eq!((packet.sender_mac, packet.sender), (own.mac, own.address.address), "in our own name");
            let to = Mac::read(frame.bytes()).expect("a frame");
            assert!(to.is_station() || to == Mac::BROADCAST);
            assert!(packet.operation == Operation::Request || to != Mac::BROADCAST, "an answer is for one");
            frame.reset();
        }
        while let Some(event) = arp.poll_event() {
            let _ = event.to_string();
            match event {
                Event::Neighbour(Update::NeighbourFound {
                    segment: Segment::Lan(lan),
                    address: IpAddr::V4(address),
                    mac,
                }) => {
                    let own = station(lan.0);
                    assert!(
                        own.address.contains(address) && address != own.address.address,
                        "{address} is no host"
                    );
                    assert!(mac.is_station() && mac != own.mac);
                    assert!(asked.contains(&(lan, address)), "{address} was taken in unasked");
                }
                Event::Neighbour(Update::NeighbourFailed { segment: Segment::Lan(lan), address: IpAddr::V4(address) }) => {
                    assert!(asked.contains(&(lan, address)));
                }
                Event::Neighbour(other) => panic!("ARP does not say {other:?}"),
                Event::Conflict { lan, address, mac } => {
                    assert_eq!(address, station(lan.0).address.address);
                    assert_ne!(mac, station(lan.0).mac);
                }
            }
        }
    }
});

fn heard(
    arp: &mut Arp,
    world: &mut World,
    asked: &mut BTreeSet<(LanId, Ipv4Addr)>,
    lan: LanId,
    frame: &[u8],
) {
    if let Ok(packet) = Packet::parse(frame)
        && packet.operation == Operation::Request
        && packet.target == station(lan.0).address.address
    {
        asked.insert((lan, packet.sender));
    }
    let _ = arp.handle(&mut world.cx(), Input::Frame { lan, frame });
}

/// What one of a few stations says about one of a few addresses.
fn spoken(lan: LanId, data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let subnet = lan.0 as u8;
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
