//! A life of the DHCPv6 client. What it sends is sound and read by another implementation, what is due is done, what it holds is
//! bounded and valid, and what it says is harmless.
#![no_main]

use std::net::Ipv6Addr;

use dhcproto::v6::Message as Other;
use dhcproto::{Decodable, Decoder};
use genkan_fuzz::{Numbers, Script, World, packet6};
use genkan_netstack::dhcp6::Duid;
use genkan_netstack::dhcp6::client::{Client, ClientSettings, Delegation};
use genkan_netstack::dhcp6::message::Message;
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv6Cidr, Mac};
use genkan_netstack::settings::PrefixRequest;
use genkan_netstack::wire::ipv6::ALL_DHCP_SERVERS;
use libfuzzer_sys::fuzz_target;

const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ISP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fuzz_target!(|data: &[u8]| {
    let Some((how, script)) = data.split_first() else { return };
    let duid = Duid::link_layer(Mac([2, 0, 0, 0, 0, 2]));
    let prefix = (how & 1 == 0).then_some(PrefixRequest { length: (how & 2 != 0).then_some(56) });
    let mut world = World::default();
    let mut client = Client::new(ClientSettings { duid: duid.clone(), iaid: 1, prefix });
    if how & 4 != 0 {
        let until = world.now.after_lifetime(7200);
        let prefix = Ipv6Cidr { address: "2001:db8::".parse().expect("an address"), prefix: 56 };
        let lease = Delegation { prefix, preferred_until: until, valid_until: until, exclude: None };
        client.restore(&mut world.cx(), vec![lease]);
    }
    client.start(&mut world.cx(), US);
    // The last message that the client sent, for a server can only answer that.
    let mut asked = Vec::new();
    let mut heard = Vec::new();
    drain(&mut client, &mut asked);
    for step in Script(script) {
        match step.operation % 8 {
            0 => heard = step.data.to_vec(),
            1..=3 => heard = answer(step.operation, &asked, &duid, step.data),
            // The same again.
            4 => {}
            5 => {
                act(&mut client, &mut world, step.data);
                heard.clear();
            }
            _ => {
                world.pass(step.data, client.poll_timeout());
                client.handle_timeout(&mut world.cx());
                heard.clear();
            }
        }
        if !heard.is_empty() {
            let _ = client.handle(&mut world.cx(), &heard);
        }
        assert!(client.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
        drain(&mut client, &mut asked);
        assert!(client.prefixes().len() <= 8 && client.addresses().len() <= 8);
        for lease in client.prefixes() {
            assert!(lease.valid_until > world.now && lease.preferred_until <= lease.valid_until);
            assert!(!lease.prefix.address.is_multicast() && !lease.prefix.address.is_unicast_link_local());
            assert!(lease.exclude.is_none_or(|part| lease.prefix.covers(part)));
        }
        assert!(client.addresses().iter().all(|lease| lease.valid_until > world.now));
        let information = client.information();
        assert!(information.dns.len() <= 8 && information.domains.len() <= 16);
        assert!(information.passed_on.iter().all(|(_, value)| value.len() <= 512));
        if let Some(failure) = client.status().failure {
            assert!(!failure.contains(char::is_control), "{failure:?}");
        }
    }
});

/// What the client sends must be sound.
fn drain(client: &mut Client, asked: &mut Vec<u8>) {
    let mut frame = Frame::with_capacity(2048);
    while client.poll_transmit(&mut frame) {
        let message = packet6::sound_udp(frame.bytes(), US, ALL_DHCP_SERVERS, (546, 547));
        assert!(Message::parse(message).is_some());
        assert!(Other::decode(&mut Decoder::new(message)).is_ok(), "another implementation reads it");
        *asked = message.to_vec();
        frame.reset();
    }
    while let Some(event) = client.poll_event() {
        assert!(!event.to_string().contains(char::is_control));
    }
}

/// A server's message: its type, the transaction of the last question, both identifiers, then options as they are in `data`.
fn answer(operation: u8, asked: &[u8], client: &Duid, data: &[u8]) -> Vec<u8> {
    let kind = [7, 2, 10][usize::from(operation % 8 - 1)];
    let mut message = vec![kind];
    message.extend(asked.get(1..4).unwrap_or(&[0; 3]));
    message.extend([0, 1, 0, client.as_bytes().len() as u8]);
    message.extend(client.as_bytes());
    message.extend([0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 9, operation >> 6]);
    // It commits, so that it need not be asked twice.
    if operation & 8 != 0 {
        message.extend([0, 14, 0, 0]);
    }
    // A prefix, so that there is something to lose.
    if operation & 16 != 0 {
        message.extend([0, 25, 0, 41, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 0, 25]);
        message.extend([
            0, 0, 14, 16, 0, 0, 28, 32, 56, 0x20, 1, 0x0d, 0xb8, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
    }
    message.extend(data);
    packet6::udp(ISP, US, (547, 546), &message)
}

fn act(client: &mut Client, world: &mut World, data: &[u8]) {
    let mut input = Numbers(data);
    let cx = &mut world.cx();
    match input.u8() % 6 {
        0 => client.stop(cx),
        1 => client.start(cx, US),
        2 => {
            let flags = input.u8();
            client.advise(cx, flags & 1 != 0, flags & 2 != 0);
        }
        3 => {
            if let Some(lease) = client.addresses().first().copied() {
                client.decline(cx, lease.address);
            }
        }
        4 => client.release(cx),
        _ => {
            client.stop(cx);
            let remembered = client.remembered().to_vec();
            client.restore(cx, remembered);
            client.start(cx, US);
        }
    }
}
