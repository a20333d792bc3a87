//! Neighbor Discovery written into buffers of every size around the right one: what is written is whole, fits every link,
//! and is read again as it was meant.
#![no_main]

use std::net::Ipv6Addr;

use genkan_fuzz::Numbers;
use genkan_netstack::frame::{Frame, HEADROOM};
use genkan_netstack::id::{Ipv6Cidr, Mac};
use genkan_netstack::ndp::message::{
    DnsServer, Message, Packet, Preference, PrefixInformation, RouteInformation, RouterAdvertisement,
    SearchDomain,
};
use libfuzzer_sys::fuzz_target;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fuzz_target!(|data: &[u8]| {
    let mut input = Numbers(data);
    let kind = input.u8();
    let mac = (kind & 0x80 != 0).then_some(Mac([2, 0, 0, 0, 0, input.u8()]));
    let message = match kind % 4 {
        0 => Message::RouterSolicitation { source_link_layer: mac },
        1 => Message::NeighbourSolicitation { target: SOURCE, source_link_layer: mac },
        2 => Message::NeighbourAdvertisement {
            target: SOURCE,
            router: kind & 8 != 0,
            solicited: kind & 16 != 0,
            overrides: kind & 32 != 0,
            target_link_layer: mac,
        },
        _ => Message::RouterAdvertisement(advertisement(&mut input, kind, mac)),
    };
    let packet = Packet { source: SOURCE, destination: SOURCE, message };
    let mut frame = Frame::with_capacity(HEADROOM + 1280);
    assert!(packet.emit(&mut frame), "every link carries it");
    let whole = frame.bytes().to_vec();
    for room in [whole.len() - 1, whole.len(), whole.len() + 1] {
        let mut frame = Frame::with_capacity(HEADROOM + room);
        frame.spare_mut().fill(0xa5);
        assert_eq!(packet.emit(&mut frame), room >= whole.len());
        let expected: &[u8] = if room >= whole.len() { &whole } else { &[] };
        assert_eq!(frame.bytes(), expected, "no half packet, no stale octets");
    }
    let read = Packet::parse(&whole).expect("we read what we write");
    match (&read.message, &packet.message) {
        (Message::RouterAdvertisement(read), Message::RouterAdvertisement(written)) => judge(read, written),
        (read, written) => assert_eq!(read, written),
    }
});

fn judge(read: &RouterAdvertisement, written: &RouterAdvertisement) {
    assert_eq!((read.router_lifetime, read.mtu), (written.router_lifetime, written.mtu));
    assert_eq!(read.source_link_layer, written.source_link_layer);
    assert!(written.prefixes.starts_with(&read.prefixes) && written.dns.starts_with(&read.dns));
    assert!(read.routes.iter().all(|route| written.routes.contains(route)));
    let known = |name: &str| {
        written.domains.iter().any(|domain| domain.name.trim_end_matches('.').eq_ignore_ascii_case(name))
    };
    assert!(read.domains.iter().all(|domain| known(&domain.name)));
    let count = |ra: &RouterAdvertisement| ra.prefixes.len() + ra.dns.len() + ra.routes.len();
    let (_, left_out) = written.to_bytes();
    // Of the domains some are no names, and the reader takes a few of them only.
    assert!(count(written) - count(read) <= left_out);
    assert!(left_out <= count(written) - count(read) + written.domains.len());
}

fn advertisement(input: &mut Numbers<'_>, kind: u8, source_link_layer: Option<Mac>) -> RouterAdvertisement {
    let mut ra = RouterAdvertisement {
        router_lifetime: input.u16(),
        source_link_layer,
        mtu: (kind & 4 != 0).then_some(input.u16().into()),
        ..RouterAdvertisement::default()
    };
    let address =
        |input: &mut Numbers<'_>| Ipv6Addr::new(0x2001, input.u16(), input.u16(), 0, 0, 0, input.u16(), 1);
    let cidr =
        |input: &mut Numbers<'_>| Ipv6Cidr { address: address(input), prefix: input.u8() % 129 }.network();
    for _ in 0..input.u8() % 64 {
        let (prefix, flags) = (cidr(input), input.u8());
        let (valid, preferred) = (input.u16().into(), input.u8().into());
        let (on_link, autonomous) = (flags & 1 != 0, flags & 2 != 0);
        ra.prefixes.push(PrefixInformation { prefix, on_link, autonomous, valid, preferred });
    }
    for _ in 0..input.u8() % 64 {
        ra.routes.push(RouteInformation {
            prefix: cidr(input),
            preference: Preference::High,
            lifetime: input.u8().into(),
        });
    }
    for _ in 0..input.u8() % 128 {
        ra.dns.push(DnsServer { address: address(input), lifetime: (input.u8() & 3).into() });
    }
    for _ in 0..input.u8() % 64 {
        let (len, lifetime) = (input.u8().into(), (input.u8() & 1).into());
        let name = String::from_utf8_lossy(input.take(len)).into_owned();
        ra.domains.push(SearchDomain { name, lifetime });
    }
    ra
}
