//! A life of the DHCPv6 server of a LAN, and of the one of a concentrator, asked the same. Replies are sound, answer what was asked
//! and are read by another implementation; no address and no prefix is given twice, or is not theirs to give.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use dhcproto::v6::Message as Other;
use dhcproto::{Decodable, Decoder};
use genkan_fuzz::{Numbers, Script, World, packet6};
use genkan_netstack::dhcp6::delegate::{self, Delegator, DelegatorSettings};
use genkan_netstack::dhcp6::message::{Message, MessageType};
use genkan_netstack::dhcp6::option::{IaKind, code};
use genkan_netstack::dhcp6::server::{OfferedPrefix, Server, ServerSettings};
use genkan_netstack::dhcp6::{Duid, Information};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv6Cidr, Mac, SubscriberId};
use genkan_netstack::settings::{Host, PrefixPool};
use genkan_netstack::time::Duration;
use genkan_netstack::wire::ipv6::{ALL_DHCP_SERVERS, Ipv6};
use libfuzzer_sys::fuzz_target;

const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().expect("a network")
}

fn peer(session: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, u16::from(session))
}

fuzz_target!(|data: &[u8]| {
    let Some((how, script)) = data.split_first() else { return };
    let mut world = World::default();
    let host = Host {
        name: "nas".into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        ipv4: None,
        ipv6: Some("::10".parse().expect("an address")),
    };
    let settings = ServerSettings {
        duid: Duid::link_layer(OWN),
        source: US,
        stateful: how & 1 == 0,
        hosts: vec![host],
        router_name: "genkan".into(),
    };
    let mut server = Server::new(&mut world.cx(), settings);
    let pool = PrefixPool { prefix: cidr("2001:db8:aa00::/54"), delegate: 56 };
    let mut delegator = Delegator::new(DelegatorSettings {
        duid: Duid::link_layer(OWN),
        pool,
        fixed: [("u0".to_string(), cidr("2001:db8:aa00:100::/56"))].into_iter().collect(),
        dns: vec!["2001:db8::53".parse().expect("an address")],
    });
    prefixes(&mut server, &world, *how >> 1);
    server.set_information(Information {
        dns: vec!["2001:db8::53".parse().expect("an address")],
        domains: vec!["home.arpa".into()],
        passed_on: vec![(code::SNTP_SERVERS, vec![7; 16])],
    });
    for step in Script(script) {
        let session = step.operation >> 4 & 3;
        let subscriber = SubscriberId(u32::from(session));
        match step.operation % 8 {
            6 => {
                world.pass(step.data, server.poll_timeout());
                server.handle_timeout(&mut world.cx());
                delegator.handle_timeout(&mut world.cx());
                assert!(server.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
                assert!(delegator.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
            }
            7 => {
                let mut input = Numbers(step.data);
                prefixes(&mut server, &world, input.u8());
                let user = format!("u{}", input.u8() % 6);
                match input.u8() % 3 {
                    0 => delegator.close(&mut world.cx(), subscriber),
                    _ => delegator.open(&mut world.cx(), subscriber, &user, peer(session), US),
                }
            }
            operation => {
                let packet = match operation {
                    0 => step.data.to_vec(),
                    _ => packet6::udp(peer(session), ALL_DHCP_SERVERS, (546, 547), &asked(step.data)),
                };
                let handled = server.handle(&mut world.cx(), &packet);
                judge(handled.is_ok(), &packet, |frame| server.poll_transmit(frame));
                let handled = delegator.handle(&mut world.cx(), subscriber, &packet);
                judge(handled.is_ok(), &packet, |frame| {
                    let to = delegator.poll_transmit(frame);
                    assert!(to.is_none_or(|to| to == subscriber));
                    to.is_some()
                });
            }
        }
        hold(&mut server, &mut delegator, pool);
    }
});

fn prefixes(server: &mut Server, world: &World, which: u8) {
    let offered: Vec<_> = ["2001:db8:1::/64", "2001:db8:2::/64", "fd00::/60", "2001:db8:4::/65"]
        .iter()
        .enumerate()
        .filter(|(nth, _)| which >> nth & 1 == 0)
        .map(|(nth, prefix)| OfferedPrefix {
            prefix: cidr(prefix),
            preferred_until: world.now + Duration::from_secs(100 * nth as u64),
            valid_until: world.now + Duration::from_secs(300 * nth as u64 + 1),
        })
        .collect();
    server.set_prefixes(&offered);
}

fn judge(handled: bool, asked: &[u8], mut poll: impl FnMut(&mut Frame) -> bool) {
    let mut frame = Frame::with_capacity(2048);
    let mut replies = 0;
    while poll(&mut frame) {
        replies += 1;
        let packet = Ipv6::parse(asked).expect("there is something to answer");
        let question = Message::parse(packet.udp().expect("in a datagram").payload).expect("a message");
        let bytes = packet6::sound_udp(frame.bytes(), US, packet.source(), (547, 546));
        let reply = Message::parse(bytes).expect("a message");
        let advertises = reply.kind == MessageType::Advertise;
        assert!(advertises || reply.kind == MessageType::Reply);
        assert!(!advertises || question.kind == MessageType::Solicit);
        assert_eq!((reply.xid, reply.client()), (question.xid, question.client()));
        assert_eq!(reply.server(), Some(Duid::link_layer(OWN)));
        assert!(Other::decode(&mut Decoder::new(bytes)).is_ok(), "another implementation reads it");
        for kind in [IaKind::Addresses, IaKind::Prefixes] {
            let ids: Vec<_> = question.options.associations(kind).map(|ia| ia.iaid).collect();
            assert!(reply.options.associations(kind).all(|ia| ids.contains(&ia.iaid)), "what was asked for");
        }
        frame.reset();
    }
    assert!(replies <= usize::from(handled), "one question, one answer");
}

fn hold(server: &mut Server, delegator: &mut Delegator, pool: PrefixPool) {
    while let Some(event) = server.poll_event() {
        assert!(!event.to_string().contains(char::is_control));
    }
    while let Some(event) = delegator.poll_event() {
        assert!(!event.to_string().contains(char::is_control));
        if let delegate::Event::Delegated { prefix, .. } = event {
            assert!(pool.prefix.covers(prefix) && prefix.prefix == pool.delegate);
        }
    }
    let (mut suffixes, mut names) = (BTreeSet::new(), BTreeSet::new());
    for lease in server.leases() {
        assert!(suffixes.insert(lease.suffix), "{} is leased twice", lease.suffix);
        if let Some(name) = &lease.hostname {
            let harmless = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(harmless && !name.is_empty() && name.len() <= 63, "{name:?} is no name");
            assert!(name == "nas" || names.insert(name.clone()), "{name} is borne twice");
        }
    }
    let delegated: Vec<_> = delegator.delegations().map(|(_, prefix, _)| prefix).collect();
    assert_eq!(delegated.iter().collect::<BTreeSet<_>>().len(), delegated.len(), "no prefix twice");
    let bound: Vec<_> = delegator.bindings().map(|binding| binding.prefix).collect();
    assert_eq!(bound.iter().collect::<BTreeSet<_>>().len(), bound.len(), "no prefix to two users");
    assert!(!bound.contains(&cidr("2001:db8:aa00:100::/56")), "the fixed one is its user's");
}

/// What one of a few clients asks: type, client, flags, then options as they are.
fn asked(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (kind, who, flags) = (input.u8(), input.u8(), input.u8());
    let mut message = vec![1 + kind % 11, 4, 5, 6];
    message.extend([0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 8 + (who & 7)]);
    if flags & 1 != 0 {
        message.extend([0, 2, 0, 10, 0, 3, 0, 1]);
        message.extend(OWN.0);
    }
    if flags & 2 != 0 {
        message.extend([0, 14, 0, 0]);
    }
    if flags & 4 != 0 {
        message.extend([0, 3, 0, 12, 0, 0, 0, who >> 3 & 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    if flags & 8 != 0 {
        message.extend([0, 25, 0, 12, 0, 0, 0, who >> 3 & 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    if flags & 16 != 0 {
        message.extend([0, 6, 0, 12, 0, 23, 0, 24, 0, 31, 0, 32, 0, 82, 0, 83]);
    }
    message.extend(input.0);
    message
}
