use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::frame::HEADROOM;

/// An RA with a prefix, an unknown option (25 with one server), two of each DNS option, an MTU and a source address, as a
/// router on the Internet sent it.
const RA_DNS: &str = "6000000000b03afffe80000000000000b29928fffec8d66cff020000000000000000000000000001\
    860024014020000f0000000000000000\
    030448c000278d0000093a8000000000222233334444555566000000000000001905000000000005abcd000000000000000000000000efef\
    123456780000000000000000000000011f07000000000005076578616d706c6503636f6d00076578616d706c65036f72670004646f6d3104\
    646f6d3203746c64000000000000000005010000000000640101b09928c8d66c070100000000138808010000c351000f";
/// An RA with a route (RFC 4191), DNS server and search domain, as another one sent it.
const RA_ROUTE: &str = "6000000000783afffe8000000000000016cf92fffe8723d6ff020000000000000000000000000001\
    8600688200c00000000000000000000001\
    0114cf928723d605010000000005dc030440c000001c200000070800000000fd8d4fb35b2e000000000000000000001802300000001c20fd\
    8d4fb35b2e00001903000000000708fd8d4fb35b2e000000000000000000011f02000000000708036c616e00000000";
/// A probe for a duplicate address, with a nonce (RFC 7527).
const DAD: &str = "6000000000203aff00000000000000000000000000000000ff0200000000000000000001ffe1000f\
    8700566e00000000fe80000000000000546ff7fffee1000f0e016069604c0aaa";

pub(in crate::ndp) fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn emitted(packet: &Packet) -> Vec<u8> {
    let mut frame = Frame::with_capacity(2048);
    assert!(packet.emit(&mut frame));
    frame.bytes().to_vec()
}

/// A packet with an ICMPv6 message of whatever octets; its checksum is right.
fn raw(source: &str, destination: &str, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = Frame::with_capacity(4096);
    let header = Header { source: ip(source), destination: ip(destination), hop_limit };
    assert!(header.write_icmp(message, &mut frame));
    frame.bytes().to_vec()
}

fn advertisement(packet: &[u8]) -> RouterAdvertisement {
    match Packet::parse(packet).unwrap().message {
        Message::RouterAdvertisement(advertisement) => advertisement,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc4861_an_ra_of_another_router_is_read() {
    let ra = advertisement(&octets(RA_ROUTE));
    assert_eq!((ra.hop_limit, ra.managed, ra.other, ra.router_lifetime), (0, true, true, 0));
    assert_eq!(ra.source_link_layer, Some(Mac([0x14, 0xcf, 0x92, 0x87, 0x23, 0xd6])));
    assert_eq!(ra.mtu, Some(1500));
    let prefix = cidr("fd8d:4fb3:5b2e::/64");
    assert_eq!(
        ra.prefixes,
        [PrefixInformation { prefix, on_link: true, autonomous: true, valid: 7200, preferred: 1800 }]
    );
    let route = cidr("fd8d:4fb3:5b2e::/48");
    assert_eq!(
        ra.routes,
        [RouteInformation { prefix: route, preference: Preference::Medium, lifetime: 7200 }]
    );
    assert_eq!(ra.dns, [DnsServer { address: ip("fd8d:4fb3:5b2e::1"), lifetime: 1800 }]);
    assert_eq!(ra.domains, [SearchDomain { name: "lan".into(), lifetime: 1800 }]);
}

#[test]
fn rfc8106_lists_of_servers_and_domains_are_read_and_unknown_options_skipped() {
    let ra = advertisement(&octets(RA_DNS));
    assert_eq!((ra.hop_limit, ra.router_lifetime, ra.mtu), (64, 15, Some(100)));
    assert_eq!(ra.prefixes[0].prefix, cidr("2222:3333:4444:5555:6600::/72"));
    let servers = [ip("abcd::efef"), ip("1234:5678::1")].map(|address| DnsServer { address, lifetime: 5 });
    assert_eq!(ra.dns, servers);
    let names: Vec<&str> = ra.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(names, ["example.com", "example.org", "dom1.dom2.tld"]);
}

#[test]
fn what_others_wrote_is_written_octet_for_octet() {
    let packet = Packet::parse(&octets(RA_ROUTE)).unwrap();
    let (mut ours, theirs) = (emitted(&packet), octets(RA_ROUTE));
    assert_eq!((&ours[..40], &ours[44..52]), (&theirs[..40], &theirs[44..52]));
    assert_eq!(ours[52..56], [0; 4], "the retransmission timer, 1 ms in theirs, is left to the hosts");
    ours[52..56].copy_from_slice(&theirs[52..56]);
    assert_eq!(ours[56..], theirs[56..]);
    let packet = Packet::parse(&octets(DAD)).unwrap();
    assert_eq!(packet.source, Ipv6Addr::UNSPECIFIED);
    let target = ip("fe80::546f:f7ff:fee1:f");
    assert_eq!(packet.message, Message::NeighbourSolicitation { target, source_link_layer: None });
    assert_eq!(emitted(&packet)[44..], octets(DAD)[44..64], "without the nonce, which we do not know");
}

/// dhcpcd CVE-2026-14258, FreeBSD CVE-2020-25577: zero-length options.
#[test]
fn rfc4861_an_option_without_length_or_beyond_the_end_discards_the_packet() {
    let rs = |options: &[u8]| {
        let message = [&[133, 0, 0, 0, 0, 0, 0, 0], options].concat();
        Packet::parse(&raw("fe80::2", "ff02::2", 255, &message))
    };
    let mac = [1, 1, 2, 0, 0, 0, 0, 9];
    assert!(rs(&mac).is_ok());
    for kind in 0..=255 {
        assert_eq!(rs(&[&mac[..], &[kind, 0, 0, 0, 0, 0, 0, 0]].concat()), Err(DropReason::NdpMalformed));
        assert_eq!(
            rs(&[&[kind, 2, 0, 0, 0, 0, 0, 0][..], &mac[..7]].concat()),
            Err(DropReason::NdpMalformed)
        );
        let skipped = rs(&[&[kind.max(2), 1, 0, 0, 0, 0, 0, 0][..], &mac].concat()).unwrap();
        let source_link_layer = Some(Mac([2, 0, 0, 0, 0, 9]));
        assert_eq!(skipped.message, Message::RouterSolicitation { source_link_layer }, "option {kind}");
    }
    assert_eq!(rs(&mac[..1]), Err(DropReason::NdpMalformed));
}

/// MikroTik CVE-2023-32154: an option of every length, with every kind of body, is harmless and brings what fits in it.
#[test]
fn every_option_of_every_length_is_survived() {
    for kind in [1, 2, 3, 5, 24, 25, 31, 200] {
        for units in 1..=140u8 {
            for fill in [0, 1, 0x3f, 0xff] {
                let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, kind, units];
                message.resize(16 + usize::from(units) * 8, fill);
                let ra = advertisement(&raw("fe80::2", "ff02::1", 255, &message));
                assert_eq!(ra.prefixes.len(), usize::from(kind == 3 && units == 4 && fill < 0xff));
                assert_eq!(ra.mtu.is_some(), kind == 5 && units == 1);
                let servers = if kind == 25 && units % 2 == 1 { usize::from(units) / 2 } else { 0 };
                assert_eq!(ra.dns.len(), servers);
                assert!(ra.domains.len() <= usize::from(kind == 31));
                assert!(ra.routes.len() <= usize::from(kind == 24 && units <= 3));
            }
        }
    }
}

#[test]
fn rfc4191_a_route_needs_the_octets_of_its_prefix() {
    for (prefix, units, good) in [
        (0, 1, true),
        (1, 1, false),
        (64, 2, true),
        (65, 2, false),
        (65, 3, true),
        (128, 3, true),
        (129, 3, false),
    ] {
        let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 24, units, prefix, 8];
        message.extend([0, 0, 0, 99]);
        message.resize(16 + usize::from(units) * 8, 0x20);
        let routes = advertisement(&raw("fe80::2", "ff02::1", 255, &message)).routes;
        assert_eq!(routes.len(), usize::from(good), "/{prefix} in {units} units");
        assert!(routes.iter().all(|route| route.preference == Preference::High && route.lifetime == 99));
        message[19] = 0x10;
        assert!(advertisement(&raw("fe80::2", "ff02::1", 255, &message)).routes.is_empty(), "reserved");
    }
}

/// RFC 4861 §6.1 and §7.1.
#[test]
fn rfc4861_what_makes_a_message_invalid() {
    let (rs, ra) = ([133, 0, 0, 0, 0, 0, 0, 0], [&[134][..], &[0; 15]].concat());
    let to = |kind: u8, flags: u8, target: &str| {
        [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &ip(target).octets()].concat()
    };
    let (ns, na) = (to(135, 0, "fe80::1"), to(136, 0x60, "fe80::1"));
    let redirect = [&to(137, 0, "fe80::9")[..], &ip("2001:db8::1").octets()].concat();
    let mac = [1, 1, 2, 0, 0, 0, 0, 9];
    let with_mac = |message: &[u8]| [message, &mac].concat();
    for (source, destination, message) in [
        ("fe80::2", "ff02::2", with_mac(&rs)),
        ("::", "ff02::2", rs.to_vec()),
        ("fe80::2", "ff02::1", ra.clone()),
        ("2001:db8::2", "fe80::1", with_mac(&ns)),
        ("::", "ff02::1:ff00:1", ns.clone()),
        ("fe80::2", "fe80::1", na.clone()),
        ("fe80::2", "fe80::1", redirect.clone()),
    ] {
        assert!(Packet::parse(&raw(source, destination, 255, &message)).is_ok());
        let bad = [
            raw(source, destination, 254, &message),
            raw(source, destination, 255, &message[..message.len() - 1]),
            raw(source, destination, 255, &[&[message[0], 1], &message[2..]].concat()),
            raw("ff02::1", destination, 255, &message),
        ];
        for packet in bad {
            assert_eq!(Packet::parse(&packet), Err(DropReason::NdpMalformed), "type {}", message[0]);
        }
    }
    for (source, destination, message, why) in [
        ("::", "ff02::2", with_mac(&rs), "a source without address has no station"),
        ("2001:db8::1", "ff02::1", ra, "a router speaks by its link-local address"),
        ("fe80::2", "fe80::1", to(135, 0, "ff02::1"), "nobody has a group's address"),
        ("::", "ff02::1:ff00:1", with_mac(&ns), "a probe has no station"),
        ("::", "fe80::1", ns.clone(), "a probe goes to the group"),
        ("::", "ff02::1:ff00:2", ns, "and to the right one"),
        ("::", "ff02::1", to(136, 0, "fe80::1"), "somebody must say it"),
        ("fe80::2", "ff02::1", na, "what answers all answers nobody"),
        ("fe80::2", "ff02::1", to(136, 0, "ff02::5"), "nobody has a group's address"),
        ("2001:db8::2", "fe80::1", redirect, "only a router redirects"),
    ] {
        assert_eq!(
            Packet::parse(&raw(source, destination, 255, &message)),
            Err(DropReason::NdpMalformed),
            "{why}"
        );
    }
}

#[test]
fn what_does_not_fit_into_an_ra_is_left_out_and_counted() {
    let mut ra = RouterAdvertisement { router_lifetime: 1800, ..RouterAdvertisement::default() };
    for n in 0..100u16 {
        let prefix = Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 0), prefix: 64 };
        ra.prefixes.push(PrefixInformation {
            prefix,
            on_link: true,
            autonomous: true,
            valid: 9,
            preferred: 9,
        });
    }
    // 16 octets of head and 38 prefixes of 32.
    let (bytes, left_out) = ra.to_bytes();
    assert_eq!((bytes.len(), left_out), (16 + 38 * 32, 62));
    ra.prefixes.truncate(30);
    ra.dns = (0..30).map(|n| DnsServer { address: Ipv6Addr::from(n), lifetime: u32::from(n > 2) }).collect();
    // 264 octets are left: two lists, of 3 servers and of 12.
    let (bytes, left_out) = ra.to_bytes();
    assert_eq!((bytes.len(), left_out), (16 + 30 * 32 + 56 + 200, 15));
    ra.dns.clear();
    ra.domains =
        (0..40).map(|n| SearchDomain { name: alloc::format!("d{n:02}.example"), lifetime: 1 }).collect();
    ra.domains.push(SearchDomain { name: "no..name".into(), lifetime: 1 });
    // 8 octets of head and 13 for each name, rounded up.
    let (bytes, left_out) = ra.to_bytes();
    assert_eq!((bytes.len(), left_out), (16 + 30 * 32 + 256, 22));
    assert!(bytes.len() <= ADVERTISEMENT);
    assert_eq!(
        advertisement(&raw("fe80::1", "ff02::1", 255, &bytes)).domains.len(),
        16,
        "the reader's bound"
    );
}

#[test]
fn every_truncation_and_bit_flip_is_survived_and_no_half_packet_is_written() {
    for whole in [RA_DNS, RA_ROUTE, DAD].map(octets) {
        let packet = Packet::parse(&whole).unwrap();
        for len in 0..whole.len() {
            assert!(Packet::parse(&whole[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Packet::parse(&flipped);
            // The same behind a right checksum.
            if let Some(view) = Ipv6::parse(&flipped) {
                let _ = Message::parse(view.payload());
            }
        }
        let len = emitted(&packet).len();
        for room in 0..=len {
            let mut small = Frame::with_capacity(HEADROOM + room);
            assert_eq!(packet.emit(&mut small), room == len);
            assert_eq!(small.len(), if room == len { len } else { 0 });
        }
    }
}

fn any_cidr() -> impl Strategy<Value = Ipv6Cidr> {
    (any::<u128>(), 0..=128u8)
        .prop_map(|(bits, prefix)| Ipv6Cidr { address: Ipv6Addr::from_bits(bits), prefix }.network())
}

fn any_mac() -> impl Strategy<Value = Option<Mac>> {
    proptest::option::of(any::<[u8; 6]>().prop_map(|[_, b, c, d, e, f]| Mac([2, b, c, d, e, f])))
}

prop_compose! {
    fn any_advertisement()(
        (hop_limit, managed, other, router_lifetime, mtu) in any::<(u8, bool, bool, u16, Option<u32>)>(),
        source_link_layer in any_mac(),
        best in 0..3u8,
        prefixes in proptest::collection::vec((any_cidr(), any::<(bool, bool, u32, u32)>()), 0..12),
        routes in proptest::collection::vec((any_cidr(), any::<u32>()), 0..6),
        dns in proptest::collection::vec((any::<u128>(), 0..3u32), 0..6),
        domains in proptest::collection::btree_set("[a-z0-9-]{1,9}(\\.[a-z_]{1,9}){0,3}", 0..5),
    ) -> RouterAdvertisement {
        let preference = match best {
            0 => Preference::Low,
            1 if router_lifetime > 0 => Preference::High,
            _ => Preference::Medium,
        };
        RouterAdvertisement {
            hop_limit,
            managed,
            other,
            preference: if router_lifetime > 0 { preference } else { Preference::Medium },
            router_lifetime,
            source_link_layer,
            mtu,
            prefixes: prefixes.into_iter().map(|(prefix, (on_link, autonomous, valid, preferred))| {
                PrefixInformation { prefix, on_link, autonomous, valid, preferred }
            }).collect(),
            routes: routes.into_iter().map(|(prefix, lifetime)| {
                RouteInformation { prefix, preference, lifetime }
            }).collect(),
            dns: dns.into_iter().map(|(bits, lifetime)| {
                DnsServer { address: Ipv6Addr::from_bits(bits), lifetime }
            }).collect(),
            domains: domains.into_iter().map(|name| SearchDomain { name, lifetime: 7 }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(ra in any_advertisement()) {
        let message = Message::RouterAdvertisement(ra);
        let packet = Packet { source: ip("fe80::1"), destination: ip("ff02::1"), message };
        prop_assert_eq!(Packet::parse(&emitted(&packet)), Ok(packet));
    }

    #[test]
    fn neighbours_messages_are_written_and_read_again(
        target in any::<u128>(), mac in any_mac(), (router, overrides) in any::<(bool, bool)>(),
    ) {
        let target = Ipv6Addr::from_bits(target & !(1 << 127));
        for message in [
            Message::NeighbourSolicitation { target, source_link_layer: mac },
            Message::NeighbourAdvertisement { target, router, solicited: true, overrides, target_link_layer: mac },
            Message::RouterSolicitation { source_link_layer: mac },
            Message::Redirect { target, destination: target },
        ] {
            let packet = Packet { source: ip("fe80::1"), destination: ip("fe80::2"), message };
            prop_assert_eq!(Packet::parse(&emitted(&packet)), Ok(packet));
        }
    }

    #[test]
    fn any_octets_are_survived(message in proptest::collection::vec(any::<u8>(), 0..300), kind in 133..138u8) {
        let mut message = message;
        if let Some(first) = message.first_mut() {
            *first = kind;
        }
        if let Some(code) = message.get_mut(1) {
            *code = 0;
        }
        let _ = Message::parse(&message);
    }
}
