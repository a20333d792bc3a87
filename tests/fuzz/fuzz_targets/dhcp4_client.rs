//! A life of the DHCPv4 client of a plain uplink. What it sends is sound and read by another implementation, a buffer too
//! small for it stays empty, what is due is done, and what it has leased is an address of a host with a router beside it.
#![no_main]

use std::net::Ipv4Addr;

use dhcproto::v4::Message;
use dhcproto::{Decodable, Decoder};
use genkan_fuzz::{Numbers, Script, World, packet, sound};
use genkan_netstack::arp;
use genkan_netstack::dhcp4::client::{Client, Input, Remembered, Way};
use genkan_netstack::frame::{Frame, HEADROOM};
use genkan_netstack::id::Mac;
use genkan_netstack::wire::ethernet::Header;
use genkan_netstack::wire::ipv4::UDP;
use libfuzzer_sys::fuzz_target;

const US: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ISP: [u8; 6] = [2, 0, 0, 0, 0, 9];
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

fuzz_target!(|data: &[u8]| {
    let Some((&how, script)) = data.split_first() else { return };
    let mut world = World::default();
    let remembered = (how & 1 != 0).then(|| Remembered {
        address: Ipv4Addr::new(203, 0, 113, 7),
        expires: world.now.after_lifetime(7200),
        kept: None,
    });
    let hostname = if how & 2 == 0 { "genkan" } else { "" };
    let mut client = Client::new(&mut world.cx(), Mac(US), 1500, hostname, remembered);
    // The transaction of the last question, for a server can only answer that.
    let mut asked = [0; 4];
    for step in Script(script) {
        match step.operation % 8 {
            0 => {
                let _ = client.handle(&mut world.cx(), Input::Dhcp(step.data));
            }
            1..=3 => {
                let message = answer(step.operation, asked, step.data);
                let _ = client.handle(&mut world.cx(), Input::Dhcp(&message));
            }
            4 => {
                let _ = client.handle(&mut world.cx(), Input::Arp(step.data));
            }
            5 => {
                let _ = client.handle(&mut world.cx(), Input::Arp(&neighbour(step.data)));
            }
            _ => {
                world.pass(step.data, client.poll_timeout());
                client.handle_timeout(&mut world.cx());
                assert!(client.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
            }
        }
        drain(&mut client, &mut asked, how);
        if let Some(lease) = client.lease() {
            let address = lease.address();
            assert!(!address.is_unspecified() && !address.is_multicast() && !address.is_broadcast());
            assert!(lease.grant.segment.gateway != address, "we are not our own router");
            assert!(lease.renews <= lease.rebinds && lease.rebinds <= lease.expires);
            assert!(lease.grant.dns.len() <= 4 && lease.grant.mtu.is_none_or(|mtu| mtu >= 576));
            assert_eq!(client.remembered().map(|lease| lease.address), Some(address));
        }
        if let Some(failure) = client.status().last_failure {
            assert!(!failure.contains(char::is_control), "{failure:?}");
        }
    }
});

/// What the client sends must be sound. Some drivers have little room.
fn drain(client: &mut Client, asked: &mut [u8; 4], how: u8) {
    let room = if how & 4 == 0 { 2048 } else { HEADROOM + 2 * usize::from(how) };
    let mut frame = Frame::with_capacity(room);
    for _ in 0..64 {
        match client.poll_transmit(&mut frame) {
            Some(Way::Port) => {
                let (header, payload) = Header::parse(frame.bytes()).expect("an Ethernet frame");
                assert_eq!(header.source, Mac(US));
                match header.ethertype {
                    0x0806 => assert!(arp::Packet::parse(frame.bytes()).is_ok()),
                    _ => *asked = question(payload),
                }
            }
            Some(Way::Routed) => *asked = question(frame.bytes()),
            None => assert!(frame.is_empty(), "nothing, and not a part of it"),
        }
        frame.reset();
    }
    while let Some(event) = client.poll_event() {
        assert!(!event.to_string().contains(char::is_control));
    }
}

/// The transaction of a message that must be sound.
fn question(bytes: &[u8]) -> [u8; 4] {
    let view = sound::ipv4(bytes);
    assert_eq!(view.protocol(), UDP);
    let datagram = view.payload();
    assert_eq!(datagram[..4], [0, 68, 0, 67]);
    let message =
        Message::decode(&mut Decoder::new(&datagram[8..])).expect("another implementation reads it");
    assert_eq!(message.chaddr(), US);
    message.xid().to_be_bytes()
}

/// A server's message: an offer, an acknowledgement or a refusal, with what a lease needs and then options as they are in
/// `data`.
fn answer(operation: u8, asked: [u8; 4], data: &[u8]) -> Vec<u8> {
    let kind = [2, 5, 6][usize::from(operation % 8 - 1)];
    let ours = Ipv4Addr::new(203, 0, 113, 7 + (operation >> 6));
    let mut message = vec![2, 1, 6, 0];
    message.extend(asked);
    message.extend([0; 8]);
    message.extend(if kind == 6 { [0; 4] } else { ours.octets() });
    message.extend([0; 8]);
    message.extend(US);
    message.extend([0; 202]);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    if operation & 8 == 0 {
        message.extend([54, 4, 203, 0, 113, 1]);
    }
    if operation & 16 == 0 && kind != 6 {
        message.extend([1, 4, 255, 255, 255, 0, 3, 4, 203, 0, 113, 1, 51, 4, 0, 0, 14, 16]);
    }
    message.extend(data);
    message.push(255);
    let packet = packet::ipv4(SERVER, Ipv4Addr::BROADCAST, UDP, &[], &packet::udp(67, 68, &message));
    packet::ethernet(US, ISP, 0x0800, &packet)
}

/// An ARP frame of somebody on the segment.
fn neighbour(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (operation, from, to, who) = (input.u8() % 4, input.u8(), input.u8(), input.u8());
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend([2, 0, 0, 0, 0, who, 203, 0, 113, from]);
    packet.extend([0, 0, 0, 0, 0, 0, 203, 0, 113, to]);
    packet::ethernet([0xff; 6], [2, 0, 0, 0, 0, who], 0x0806, &packet)
}
