//! A life of the DHCP server. Its replies fit the port, another implementation reads them, they answer what was asked, and
//! no address is leased twice or outside the configuration.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder};
use genkan_fuzz::{Numbers, Script, World, packet, sound};
use genkan_netstack::dhcp4::Dhcp4;
use genkan_netstack::dhcp4::message::Request;
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv4Cidr, Mac, PortId};
use genkan_netstack::settings;
use genkan_netstack::time::Duration;
use genkan_netstack::wire::ethernet::Header;
use genkan_netstack::wire::ipv4::UDP;
use libfuzzer_sys::fuzz_target;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const NAS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 100);
const LAST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 103);

fuzz_target!(|data: &[u8]| {
    let lan = settings::Lan {
        name: "home".into(),
        ports: vec![PortId(0)],
        address: Ipv4Cidr { address: ROUTER, prefix: 24 },
        dhcp: Some(settings::Dhcp4 { range: FIRST..=LAST, lease: Duration::from_secs(600), ntp: vec![] }),
        prefix: None,
        dhcp6: settings::Dhcp6::Off,
        domain: "home.arpa".into(),
        hosts: vec![settings::Host {
            name: "nas".into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            ipv4: Some(NAS), ipv6: None,
        }],
    };
    let mut world = World::default();
    let mut server = Dhcp4::new(&lan, Mac([2, 0, 0, 0, 0, 1]), 1500, "genkan").expect("the LAN has a server");
    for step in Script(data) {
        let frame = match step.operation % 4 {
            0 => step.data.to_vec(),
            1 | 2 => asked(step.data),
            _ => {
                world.pass(step.data, server.poll_timeout());
                server.handle_timeout(&mut world.cx());
                assert!(server.poll_timeout().is_none_or(|at| at > world.now), "what is due is done");
                Vec::new()
            }
        };
        if !frame.is_empty() {
            let handled = server.handle(&mut world.cx(), &frame);
            let request = Request::parse(&frame);
            assert!(handled.is_err() || request.is_ok());
            let mut reply = Frame::with_capacity(2048);
            let mut replies = 0;
            while server.poll_transmit(&mut reply) {
                replies += 1;
                judge(reply.bytes(), request.as_ref().expect("there is something to answer"));
                reply.reset();
            }
            assert!(replies <= 1, "one question, one answer");
        }
        while let Some(event) = server.poll_event() {
            let _ = event.to_string();
        }
        let mut addresses = BTreeSet::new();
        let mut names = BTreeSet::new();
        for lease in server.leases() {
            assert!(
                lease.address == NAS || (FIRST..=LAST).contains(&lease.address),
                "{} is not ours",
                lease.address
            );
            assert!(addresses.insert(lease.address), "{} is leased twice", lease.address);
            if let Some(name) = &lease.hostname {
                let harmless = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
                assert!(harmless && !name.is_empty() && name.len() <= 63, "{name:?} is no name");
                assert!(names.insert(name.clone()), "{name} is borne twice");
            }
        }
    }
});

fn judge(frame: &[u8], request: &Request) {
    let (_, payload) = Header::parse(frame).expect("an Ethernet frame");
    assert!(payload.len() <= 1500, "a reply of {} octets", frame.len());
    let view = sound::ipv4(payload);
    assert_eq!((view.source(), view.protocol()), (ROUTER, UDP));
    let datagram = view.payload();
    assert_eq!(datagram[..2], [0, 67]);
    let message =
        Message::decode(&mut Decoder::new(&datagram[8..])).expect("another implementation reads it");
    assert_eq!((message.xid(), message.chaddr()), (request.xid, &request.chaddr.0[..]));
    let kind = message.opts().msg_type().expect("it has a type");
    let gives = message.yiaddr();
    match kind {
        MessageType::Offer => assert!(!gives.is_unspecified()),
        MessageType::Ack => {}
        MessageType::Nak => assert!(gives.is_unspecified()),
        other => panic!("a server does not say {other:?}"),
    }
    assert!(gives.is_unspecified() || gives == NAS || (FIRST..=LAST).contains(&gives), "{gives} is not ours");
    let server = message.opts().get(OptionCode::ServerIdentifier);
    assert_eq!(server, Some(&DhcpOption::ServerIdentifier(ROUTER)));
}

/// What one of a few clients asks.
fn asked(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (who, kind, flags, about) = (input.u8(), input.u8(), input.u8(), input.u8());
    let chaddr = [2, 0, 0, 0, 0, 8 + (who & 7)];
    let address = Ipv4Addr::new(192, 168, 1, if about & 0x80 == 0 { 98 + (about & 7) } else { 10 });
    let mut message = vec![1, 1, 6, 0, 0, 0, 0, who, 0, 0, if flags & 1 == 0 { 0 } else { 0x80 }, 0];
    message.extend(if flags & 2 == 0 { [0; 4] } else { address.octets() });
    message.extend([0; 12]);
    message.extend(chaddr);
    message.extend([0; 202]);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1 + kind % 8]);
    if flags & 4 != 0 {
        message.extend([50, 4]);
        message.extend(address.octets());
    }
    if flags & 8 != 0 {
        message.extend([54, 4, 192, 168, 1, 1]);
    }
    message.extend(input.0);
    message.push(255);
    let source = if flags & 2 == 0 { Ipv4Addr::UNSPECIFIED } else { address };
    let datagram = packet::udp(68, 67, &message);
    let packet = packet::ipv4(source, Ipv4Addr::BROADCAST, UDP, &[], &datagram);
    packet::ethernet([0xff; 6], chaddr, 0x0800, &packet)
}
