//! A life of Neighbor Discovery: the router's station on a LAN and on an uplink, its advertisements, and what it learns as
//! a host. Nobody is taken in unasked, nobody is told more than the uplink gives, and nothing grows without end.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use genkan_fuzz::{Numbers, Script, World};
use genkan_netstack::forward::{Resolve, Update};
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv6Cidr, LanId, Mac, Segment, WanId};
use genkan_netstack::ndp::message::{Message, Packet};
use genkan_netstack::ndp::neighbour::{Event, Input};
use genkan_netstack::ndp::{
    AdvertisedPrefix, AdvertisedRoute, Advertisement, Advertiser, Neighbours, OwnAddress, RouterDiscovery,
    advertise, discover, mld,
};
use genkan_netstack::time::{Duration, Instant};
use genkan_netstack::wire::ipv6::{
    ALL_DHCP_SERVERS, ALL_NODES, ALL_ROUTERS, HOP_BY_HOP, Header, ICMPV6, Ipv6, MIN_MTU, address_at,
    solicited_node,
};
use libfuzzer_sys::fuzz_target;

const LAN: Segment = Segment::Lan(LanId(0));
const WAN: Segment = Segment::Wan(WanId(0));
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The addresses that the router may have; the last one is its anycast address.
const OURS: [Ipv6Addr; 4] = [LOCAL, on_lan(1), on_lan(2), on_lan(0)];

const fn on_lan(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last as u16)
}

struct Life {
    world: World,
    neighbours: Neighbours,
    own: [BTreeSet<Ipv6Addr>; 2],
    /// Addresses that somebody asked for, or that asked for us.
    asked: BTreeSet<Ipv6Addr>,
    advertiser: Advertiser,
    advertised: Advertisement,
    advertising: bool,
    /// RAs to all hosts that it still says good-bye with. Until then it listens to nobody.
    good_byes: u8,
    /// The last RA to all hosts.
    told: Option<Instant>,
    discovery: RouterDiscovery,
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    let neighbours = Neighbours::new(&mut world.cx(), [(LAN, MAC), (WAN, MAC)]);
    let advertiser = Advertiser::new(&mut world.cx(), LOCAL, Some(MAC));
    let mut discovery = RouterDiscovery::new(None);
    discovery.start(&mut world.cx(), LOCAL, 1492);
    let mut life = Life {
        world,
        neighbours,
        own: Default::default(),
        asked: BTreeSet::new(),
        advertiser,
        advertised: Advertisement::default(),
        advertising: false,
        good_byes: 0,
        told: None,
        discovery,
    };
    for step in Script(data) {
        let segment = if step.operation & 0x80 == 0 { LAN } else { WAN };
        let mut stopped = false;
        match step.operation % 8 {
            0 => life.hear(segment, step.data),
            1 => life.hear(segment, &spoken(step.data)),
            2 => life.hear(segment, &with_options(step.data)),
            3 => {
                let last = step.data.first().copied().unwrap_or(0);
                life.asked.insert(on_lan(last));
                let question = Resolve { segment, address: IpAddr::V6(on_lan(last)) };
                let _ = life.neighbours.handle(&mut life.world.cx(), Input::Resolve(question));
            }
            4 => life.number(segment, step.data),
            5 => {
                let advertisement = advertisement(life.world.now, step.data);
                life.advertiser.set(&mut life.world.cx(), advertisement.clone());
                if life.good_byes == 0 {
                    life.advertised = advertisement;
                    life.advertising = true;
                }
            }
            6 => life.pass(step.data),
            _ => match step.data.first() {
                Some(0) => life.discovery.start(&mut life.world.cx(), LOCAL, 1500),
                Some(1) => life.discovery.stop(),
                Some(2) => {
                    stopped = true;
                    life.advertiser.stop(&mut life.world.cx());
                    if std::mem::take(&mut life.advertising) {
                        life.advertised.default_router = false;
                        life.good_byes = advertise::REPEATS;
                    }
                }
                _ => life.neighbours.set_groups(&mut life.world.cx(), segment, &[ALL_DHCP_SERVERS]),
            },
        }
        life.judge_neighbours();
        life.judge_advertiser(stopped);
        life.judge_discovery();
    }
});

impl Life {
    fn hear(&mut self, segment: Segment, packet: &[u8]) {
        if let Ok(Packet { source, message: Message::NeighbourSolicitation { target, .. }, .. }) =
            Packet::parse(packet)
            && OURS.contains(&target)
        {
            self.asked.insert(source);
        }
        let cx = &mut self.world.cx();
        let _ = self.neighbours.handle(cx, Input::Packet { segment, packet });
        let _ = self.advertiser.handle(cx, packet);
        let _ = self.discovery.handle(cx, packet);
    }

    fn number(&mut self, segment: Segment, data: &[u8]) {
        let mut input = Numbers(data);
        let (which, dad) = (input.u8(), input.u8());
        let chosen = OURS.iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1);
        let own: Vec<OwnAddress> =
            chosen.map(|(bit, &address)| OwnAddress { address, dad: dad >> bit & 1 == 1 }).collect();
        self.own[usize::from(segment == WAN)] = own.iter().map(|own| own.address).collect();
        self.neighbours.set_addresses(&mut self.world.cx(), segment, &own);
    }

    fn pass(&mut self, data: &[u8]) {
        let due =
            [self.neighbours.poll_timeout(), self.advertiser.poll_timeout(), self.discovery.poll_timeout()];
        self.world.pass(data, due.into_iter().flatten().min());
        let cx = &mut self.world.cx();
        self.neighbours.handle_timeout(cx);
        self.advertiser.handle_timeout(cx);
        self.discovery.handle_timeout(cx);
        let due =
            [self.neighbours.poll_timeout(), self.advertiser.poll_timeout(), self.discovery.poll_timeout()];
        assert!(due.into_iter().flatten().all(|at| at > self.world.now), "what is due is done");
    }

    fn judge_neighbours(&mut self) {
        let mut frame = Frame::with_capacity(2048);
        while let Some(segment) = self.neighbours.poll_transmit(&mut frame) {
            let own = &self.own[usize::from(segment == WAN)];
            let view = Ipv6::parse(frame.bytes()).expect("an IPv6 packet");
            assert!(view.source().is_unspecified() || own.contains(&view.source()), "in our own name");
            if mld::is_mld(frame.bytes()) {
                assert!(view.icmp_after_hop_by_hop().is_some() && view.hop_limit() == 1);
                assert!(frame.len() <= usize::from(MIN_MTU));
            } else {
                match Packet::parse(frame.bytes()).expect("we speak Neighbor Discovery").message {
                    Message::NeighbourSolicitation { source_link_layer, .. } => {
                        assert_eq!(source_link_layer.is_none(), view.source().is_unspecified());
                        assert!(source_link_layer.is_none_or(|mac| mac == MAC));
                    }
                    Message::NeighbourAdvertisement { target, router, target_link_layer, .. } => {
                        assert_eq!((target_link_layer, router), (Some(MAC), segment == LAN));
                        assert!(own.contains(&target), "we answer for nobody else");
                    }
                    other => panic!("a station does not say {other:?}"),
                }
            }
            frame.reset();
        }
        while let Some(event) = self.neighbours.poll_event() {
            let _ = event.to_string();
            match event {
                Event::Neighbour(Update::NeighbourFound { address: IpAddr::V6(address), mac, .. }) => {
                    assert!(self.asked.contains(&address), "{address} was taken in unasked");
                    assert!(mac.is_station() && mac != MAC);
                }
                Event::Neighbour(Update::NeighbourFailed { address: IpAddr::V6(address), .. }) => {
                    assert!(self.asked.contains(&address));
                }
                Event::Neighbour(other) => panic!("Neighbor Discovery does not say {other:?}"),
                Event::AddressReady { segment, address }
                | Event::Duplicate { segment, address, .. }
                | Event::Conflict { segment, address, .. } => {
                    assert!(self.own[usize::from(segment == WAN)].contains(&address));
                }
            }
        }
    }

    fn judge_advertiser(&mut self, stopped: bool) {
        let now = self.world.now;
        let mut frame = Frame::with_capacity(2048);
        while self.advertiser.poll_transmit(&mut frame) {
            assert!(frame.len() <= usize::from(MIN_MTU));
            let packet = Packet::parse(frame.bytes()).expect("we speak Neighbor Discovery");
            let Message::RouterAdvertisement(read) = packet.message else { panic!("{packet:?}") };
            assert!(read.router_lifetime == 0 || self.advertised.default_router);
            for prefix in &read.prefixes {
                let known = self.advertised.prefixes.iter().filter(|known| known.prefix == prefix.prefix);
                let left = known.map(|known| known.valid_until.lifetime(now)).max();
                assert!(left.is_some_and(|left| prefix.valid <= left.min(5400)), "RFC 9096 L-15, L-16");
                assert!(prefix.preferred <= prefix.valid.min(2700));
            }
            if packet.destination == ALL_NODES {
                let rested = self.told.is_none_or(|at| now.since(at) >= Duration::from_secs(1));
                assert!(rested || stopped, "the link is not flooded");
                self.told = Some(now);
                self.good_byes = self.good_byes.saturating_sub(1);
            }
            frame.reset();
        }
        while let Some(event) = self.advertiser.poll_event() {
            let _ = event.to_string();
        }
    }

    fn judge_discovery(&mut self) {
        let now = self.world.now;
        let mut frame = Frame::with_capacity(2048);
        while self.discovery.poll_transmit(&mut frame) {
            let packet = Packet::parse(frame.bytes()).expect("we speak Neighbor Discovery");
            let answer = matches!(packet.message, Message::NeighbourAdvertisement { .. });
            assert!(answer || (packet.source, packet.destination) == (LOCAL, ALL_ROUTERS));
            frame.reset();
        }
        while let Some(event) = self.discovery.poll_event() {
            let _ = event.to_string();
        }
        let discovery = &self.discovery;
        assert!(discovery.routers().len() <= discover::ROUTERS);
        assert!(
            discovery
                .routers()
                .iter()
                .all(|router| router.address.is_unicast_link_local() && router.until > now)
        );
        assert!(discovery.addresses().len() <= discover::PREFIXES);
        for address in discovery.addresses() {
            assert_eq!(address.address.to_bits() as u64, LOCAL.to_bits() as u64, "the identifier is ours");
            assert!(address.valid_until > now && address.preferred_until <= address.valid_until.max(now));
        }
        assert!(discovery.on_link().count() <= discover::PREFIXES);
        assert!(discovery.dns().count().max(discovery.domains().count()) <= discover::SERVERS);
        assert!(discovery.mtu().is_none_or(|mtu| (MIN_MTU..=1500).contains(&mtu)));
    }
}

/// What one of a few stations says of one of a few addresses.
fn spoken(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let address = |n: u8| match n & 15 {
        0..8 => on_lan(n & 7),
        8 => LOCAL,
        9 => Ipv6Addr::UNSPECIFIED,
        n => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n.into()),
    };
    let (kind, source, target) = (input.u8(), address(input.u8()), address(input.u8()));
    let mac = Some(Mac([2, 0, 0, 0, input.u8() & 1, input.u8() & 7])).filter(|_| kind & 0x80 == 0);
    let (router, solicited, overrides) = (kind & 0x10 != 0, kind & 0x20 != 0, kind & 0x40 != 0);
    let target_link_layer = mac;
    let (destination, message) = match kind % 3 {
        0 => (solicited_node(target), Message::NeighbourSolicitation { target, source_link_layer: mac }),
        1 => (
            if solicited { LOCAL } else { ALL_NODES },
            Message::NeighbourAdvertisement { target, router, solicited, overrides, target_link_layer },
        ),
        _ => (ALL_ROUTERS, Message::RouterSolicitation { source_link_layer: mac }),
    };
    let mut frame = Frame::with_capacity(2048);
    Packet { source, destination, message }.emit(&mut frame);
    frame.bytes().to_vec()
}

/// A message of any type with whatever behind it, and a right checksum: an RA, or what MLD says.
fn with_options(data: &[u8]) -> Vec<u8> {
    let mut input = Numbers(data);
    let (kind, last) = (input.u8(), input.u8());
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into());
    let mut frame = Frame::with_capacity(8192);
    if matches!(kind, 130..=132 | 143) {
        // The checksum that MLD wants, found by writing the message without the hop-by-hop header first.
        let message = [&[kind, 0, 0, 0], input.0].concat();
        Header { source, destination: ALL_NODES, hop_limit: 1 }.write_icmp(&message, &mut frame);
        let message = frame.bytes().get(40..).unwrap_or_default().to_vec();
        frame.reset();
        let alert = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];
        Header { source, destination: ALL_NODES, hop_limit: 1 }.write(
            HOP_BY_HOP,
            &[&alert, &message],
            &mut frame,
        );
    } else {
        let message = [&[134, 0, 0, 0], input.0].concat();
        Header { source, destination: ALL_NODES, hop_limit: 255 }.write_icmp(&message, &mut frame);
    }
    frame.bytes().to_vec()
}

/// What a router may be told to advertise.
fn advertisement(now: Instant, data: &[u8]) -> Advertisement {
    let mut input = Numbers(data);
    let flags = input.u8();
    let until =
        |n: u8| if n == 255 { Instant::FOREVER } else { now + Duration::from_secs(u64::from(n) * 60) };
    let mut advertisement = Advertisement {
        default_router: flags & 1 != 0,
        managed: flags & 2 != 0,
        other: flags & 4 != 0,
        mtu: (flags & 8 != 0).then_some(1492),
        ..Advertisement::default()
    };
    for n in 0..input.u8() % 64 {
        let address = address_at(&[0x20, 1, 0xd, 0xb8, 0, n, input.u8(), 0, 0, 0, 0, 0, 0, 0, 0, 0], 0);
        advertisement.prefixes.push(AdvertisedPrefix {
            prefix: Ipv6Cidr { address, prefix: 64 },
            on_link: true,
            autonomous: flags & 16 != 0,
            preferred_until: until(input.u8()),
            valid_until: until(input.u8()),
        });
    }
    for _ in 0..input.u8() % 16 {
        let prefix = Ipv6Cidr { address: on_lan(input.u8()), prefix: input.u8() % 129 };
        advertisement.routes.push(AdvertisedRoute { prefix, until: until(input.u8()) });
        advertisement.dns.push(on_lan(input.u8()));
        advertisement.domains.push(String::from_utf8_lossy(input.take(5)).into_owned());
    }
    advertisement
}
