use core::ops::RangeInclusive;

use super::*;
use crate::id::{LanId, WanId};
use crate::rng::SeededRng;

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOST: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
const MOVED: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
const LAN: Segment = Segment::Lan(LanId(0));
const WAN: Segment = Segment::Wan(WanId(0));
const NONE: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

fn host(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last)
}

fn own(address: Ipv6Addr, dad: bool) -> OwnAddress {
    OwnAddress { address, dad }
}

struct Bench {
    neighbours: Neighbours,
    rng: SeededRng,
    now: Instant,
}

impl Bench {
    /// The router with no address.
    fn bare() -> Self {
        let mut rng = SeededRng::from_u64(1);
        let now = Instant::from_secs(100);
        let neighbours = Neighbours::new(&mut Cx { now, rng: &mut rng }, [(LAN, ROUTER), (WAN, ROUTER)]);
        Bench { neighbours, rng, now }
    }

    /// The router with a link-local and a global address, ready, on both segments.
    fn new() -> Self {
        let mut bench = Bench::bare();
        for segment in [LAN, WAN] {
            bench.set(segment, &[own(LOCAL, false), own(GLOBAL, false)]);
        }
        bench.wait(Duration::from_secs(2));
        bench.sent();
        bench.events();
        bench
    }

    fn set(&mut self, segment: Segment, addresses: &[OwnAddress]) {
        self.neighbours.set_addresses(&mut Cx { now: self.now, rng: &mut self.rng }, segment, addresses);
    }

    fn receive(&mut self, segment: Segment, packet: &[u8]) -> Result<(), DropReason> {
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        self.neighbours.handle(&mut cx, Input::Packet { segment, packet })
    }

    fn hear(&mut self, packet: Packet) -> Result<(), DropReason> {
        self.receive(LAN, &bytes(&packet))
    }

    fn resolve(&mut self, address: Ipv6Addr) {
        let mut cx = Cx { now: self.now, rng: &mut self.rng };
        let question = Resolve { segment: LAN, address: address.into() };
        self.neighbours.handle(&mut cx, Input::Resolve(question)).unwrap();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.neighbours.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.neighbours.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
        }
        self.now = end;
    }

    /// What was sent: Neighbor Discovery, and the rest.
    fn sent_all(&mut self) -> (Vec<(Segment, Packet)>, Vec<Vec<u8>>) {
        let (mut discovery, mut reports) = (Vec::new(), Vec::new());
        loop {
            let mut frame = Frame::with_capacity(2048);
            let Some(segment) = self.neighbours.poll_transmit(&mut frame) else {
                return (discovery, reports);
            };
            match Packet::parse(frame.bytes()) {
                Ok(packet) => discovery.push((segment, packet)),
                Err(_) => reports.push(frame.bytes().to_vec()),
            }
        }
    }

    fn sent(&mut self) -> Vec<Packet> {
        self.sent_all().0.into_iter().map(|(_, packet)| packet).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.neighbours.poll_event()).collect()
    }
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut frame = Frame::with_capacity(2048);
    assert!(packet.emit(&mut frame));
    frame.bytes().to_vec()
}

fn solicitation(source: Ipv6Addr, mac: Option<Mac>, target: Ipv6Addr) -> Packet {
    let message = Message::NeighbourSolicitation { target, source_link_layer: mac };
    Packet { source, destination: solicited_node(target), message }
}

fn advertisement(target: Ipv6Addr, mac: Mac, solicited: bool, overrides: bool) -> Packet {
    let target_link_layer = Some(mac);
    let message =
        Message::NeighbourAdvertisement { target, router: false, solicited, overrides, target_link_layer };
    Packet { source: target, destination: if solicited { LOCAL } else { ALL_NODES }, message }
}

fn found(address: Ipv6Addr, mac: Mac) -> Event {
    Event::Neighbour(Update::NeighbourFound { segment: LAN, address: address.into(), mac })
}

fn failed(address: Ipv6Addr) -> Event {
    Event::Neighbour(Update::NeighbourFailed { segment: LAN, address: address.into() })
}

#[test]
fn rfc4861_a_solicitation_for_the_router_is_answered_and_teaches_its_sender() {
    let mut bench = Bench::new();
    let question = solicitation(host(9), Some(HOST), GLOBAL);
    bench.hear(question.clone()).unwrap();
    let answer = |router| Packet {
        source: GLOBAL,
        destination: host(9),
        message: Message::NeighbourAdvertisement {
            target: GLOBAL,
            router,
            solicited: true,
            overrides: true,
            target_link_layer: Some(ROUTER),
        },
    };
    assert_eq!(bench.sent(), [answer(true)], "on a LAN it is a router");
    assert_eq!(bench.events(), [found(host(9), HOST)]);
    bench.receive(WAN, &bytes(&question)).unwrap();
    assert_eq!(bench.sent_all().0, [(WAN, answer(false))], "on its uplink it is a host");
    bench.events();
    bench.hear(solicitation(host(9), Some(HOST), host(8))).unwrap();
    bench.hear(solicitation(host(7), None, GLOBAL)).unwrap();
    assert_eq!(bench.sent().len(), 1, "it answers for nobody else");
    assert!(bench.events().is_empty(), "who does not say its Ethernet address teaches nothing");
}

#[test]
fn rfc4861_a_question_is_repeated_three_times_and_then_fails() {
    let mut bench = Bench::new();
    bench.resolve(host(7));
    bench.resolve(host(7));
    assert_eq!(bench.sent(), [solicitation(LOCAL, Some(ROUTER), host(7))]);
    bench.wait(Duration::from_millis(2500));
    assert_eq!(bench.sent().len(), 2);
    assert!(bench.events().is_empty());
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.events(), [failed(host(7))]);
    assert_eq!(bench.neighbours.poll_timeout(), None);
}

#[test]
fn rfc4861_an_advertisement_ends_the_question() {
    let mut bench = Bench::new();
    bench.resolve(host(7));
    bench.hear(advertisement(host(7), HOST, true, true)).unwrap();
    assert_eq!(bench.events(), [found(host(7), HOST)]);
    assert_eq!(bench.neighbours.poll_timeout(), None);
    bench.resolve(host(7));
    assert_eq!(bench.events(), [found(host(7), HOST)], "a fresh entry is told at once");
    assert_eq!(bench.sent().len(), 1, "and not asked for again");
}

#[test]
fn a_silent_station_is_probed_by_unicast_then_by_multicast_then_given_up() {
    let mut bench = Bench::new();
    bench.resolve(host(7));
    bench.hear(advertisement(host(7), HOST, true, true)).unwrap();
    bench.wait(REACHABLE);
    bench.sent();
    bench.events();
    bench.resolve(host(7));
    assert_eq!(bench.events(), [found(host(7), HOST)], "traffic goes on while it is probed");
    bench.wait(Duration::from_secs(10));
    let destinations: Vec<Ipv6Addr> = bench.sent().iter().map(|packet| packet.destination).collect();
    let group = solicited_node(host(7));
    assert_eq!(destinations, [host(7), host(7), host(7), group, group, group]);
    assert_eq!(bench.events(), [failed(host(7))]);
}

#[test]
fn a_probed_station_that_answers_stays() {
    let mut bench = Bench::new();
    bench.hear(solicitation(host(9), Some(HOST), LOCAL)).unwrap();
    bench.sent();
    bench.events();
    bench.resolve(host(9));
    assert_eq!(bench.sent()[0].destination, host(9), "that it asked is no proof that it hears us");
    bench.events();
    let mut answer = advertisement(host(9), HOST, true, true);
    let Message::NeighbourAdvertisement { target_link_layer, .. } = &mut answer.message else { panic!() };
    *target_link_layer = None;
    bench.hear(answer).unwrap();
    assert_eq!(bench.neighbours.poll_timeout(), None, "a unicast answer needs no address");
    assert!(bench.events().is_empty());
}

#[test]
fn rfc4861_an_unasked_advertisement_moves_a_known_station_and_plants_no_unknown_one() {
    let mut bench = Bench::new();
    for overrides in [false, true] {
        bench.hear(advertisement(host(9), MOVED, false, overrides)).unwrap();
        bench.hear(advertisement(host(9), MOVED, true, overrides)).unwrap();
    }
    assert!(bench.events().is_empty());
    bench.resolve(host(9));
    bench.hear(advertisement(host(9), HOST, true, true)).unwrap();
    bench.hear(advertisement(host(9), MOVED, false, false)).unwrap();
    assert_eq!(bench.events(), [found(host(9), HOST)], "it does not override");
    bench.sent();
    bench.resolve(host(9));
    assert_eq!(bench.sent()[0].destination, host(9), "but it raises doubt");
    bench.hear(advertisement(host(9), MOVED, false, true)).unwrap();
    assert_eq!(bench.events(), [found(host(9), HOST), found(host(9), MOVED)]);
}

/// RFC 7084 W-2, the first half; the other one is in `discover`.
#[test]
fn rfc4862_an_address_is_probed_for_before_it_is_used() {
    let mut bench = Bench::bare();
    bench.set(LAN, &[own(LOCAL, true), own(GLOBAL, false)]);
    assert_eq!(bench.sent(), [solicitation(NONE, None, LOCAL)]);
    assert_eq!(bench.events(), [Event::AddressReady { segment: LAN, address: GLOBAL }]);
    bench.hear(solicitation(host(9), Some(HOST), LOCAL)).unwrap();
    assert!(bench.sent().is_empty() && bench.events().is_empty(), "it is not ours yet");
    bench.wait(Duration::from_millis(999));
    assert!(bench.events().is_empty());
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.events(), [Event::AddressReady { segment: LAN, address: LOCAL }]);
    bench.set(LAN, &[own(LOCAL, true), own(GLOBAL, true)]);
    assert!(bench.sent().is_empty() && bench.events().is_empty(), "what was ready stays so");
    bench.hear(solicitation(host(9), Some(HOST), LOCAL)).unwrap();
    assert_eq!(bench.sent().len(), 1);
    bench.set(LAN, &[own(GLOBAL, true)]);
    bench.hear(solicitation(host(9), Some(HOST), LOCAL)).unwrap();
    assert!(bench.sent().is_empty(), "it is ours no longer");
}

#[test]
fn rfc4862_an_address_that_somebody_else_has_is_not_used() {
    let claims =
        [(advertisement(LOCAL, HOST, false, true), Some(HOST)), (solicitation(NONE, None, LOCAL), None)];
    for (claim, mac) in claims {
        let mut bench = Bench::bare();
        bench.set(LAN, &[own(LOCAL, true)]);
        bench.sent();
        bench.hear(claim.clone()).unwrap();
        assert_eq!(bench.events(), [Event::Duplicate { segment: LAN, address: LOCAL, mac }]);
        bench.hear(claim).unwrap();
        bench.wait(Duration::from_secs(5));
        bench.hear(solicitation(host(9), Some(HOST), LOCAL)).unwrap();
        assert!(bench.sent().is_empty() && bench.events().is_empty(), "nor fought about");
        bench.set(LAN, &[]);
        bench.set(LAN, &[own(LOCAL, true)]);
        assert_eq!(bench.sent(), [solicitation(NONE, None, LOCAL)], "a new start is a new chance");
    }
}

#[test]
fn rfc4862_a_probe_for_the_routers_address_is_answered_to_all() {
    let mut bench = Bench::new();
    bench.hear(solicitation(NONE, None, GLOBAL)).unwrap();
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].destination), (1, ALL_NODES));
    let Message::NeighbourAdvertisement { target, solicited, overrides, target_link_layer, .. } =
        sent[0].message
    else {
        panic!("{sent:?}")
    };
    assert_eq!((target, solicited, overrides, target_link_layer), (GLOBAL, false, true, Some(ROUTER)));
    assert!(bench.events().is_empty());
}

#[test]
fn rfc4291_the_routers_anycast_address_is_shared() {
    let anycast = host(0);
    let mut bench = Bench::new();
    bench.set(LAN, &[own(LOCAL, false), own(anycast, false)]);
    bench.events();
    bench.sent();
    bench.hear(solicitation(host(9), Some(HOST), anycast)).unwrap();
    let message = bench.sent().remove(0).message;
    assert!(matches!(message, Message::NeighbourAdvertisement { solicited: true, overrides: false, .. }));
    bench.events();
    bench.hear(advertisement(anycast, HOST, false, false)).unwrap();
    assert!(bench.events().is_empty(), "another router has it, too");
}

#[test]
fn a_claim_of_the_routers_address_is_refused_told_and_answered_once() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        assert_eq!(bench.hear(advertisement(GLOBAL, HOST, false, true)), Err(DropReason::NdpSpoofed));
        assert_eq!(bench.hear(solicitation(GLOBAL, Some(HOST), LOCAL)), Err(DropReason::NdpSpoofed));
    }
    assert_eq!(bench.events(), [Event::Conflict { segment: LAN, address: GLOBAL, mac: Some(HOST) }]);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].source, sent[0].destination), (1, GLOBAL, ALL_NODES));
    assert_eq!(bench.hear(solicitation(host(9), Some(ROUTER), LOCAL)), Err(DropReason::NdpSpoofed));
    assert_eq!(bench.hear(advertisement(host(9), ROUTER, true, true)), Err(DropReason::NdpSpoofed));
    assert!(bench.events().is_empty());
}

#[test]
fn an_address_that_no_neighbour_can_have_fails_at_once() {
    let mut bench = Bench::new();
    for address in [LOCAL, GLOBAL, NONE, Ipv6Addr::LOCALHOST, ALL_NODES] {
        bench.resolve(address);
        assert_eq!(bench.events(), [failed(address)]);
    }
    assert!(bench.sent().is_empty());
}

#[test]
fn a_question_waits_for_the_routers_first_address() {
    let mut bench = Bench::bare();
    bench.set(LAN, &[own(LOCAL, true)]);
    bench.sent();
    bench.resolve(host(7));
    assert!(bench.sent().is_empty(), "nobody could answer");
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.sent(), [solicitation(LOCAL, Some(ROUTER), host(7))]);
}

/// RFC 6583; MikroTik CVE-2018-19299: scanning a /64.
#[test]
fn memory_is_bounded_under_a_scan_and_known_stations_are_still_confirmed() {
    let mut bench = Bench::new();
    bench.resolve(host(7));
    bench.hear(advertisement(host(7), HOST, true, true)).unwrap();
    bench.wait(REACHABLE);
    bench.sent();
    for n in 0..3000u32 {
        bench.resolve(Ipv6Addr::from_bits(GLOBAL.to_bits() + (1 << 32) + u128::from(n)));
    }
    assert!(bench.neighbours.pending.len() <= PENDING);
    assert_eq!(bench.sent().len(), PENDING);
    bench.events();
    bench.resolve(host(7));
    assert_eq!(bench.events(), [found(host(7), HOST)]);
    assert_eq!(bench.sent()[0].destination, host(7), "the scan takes no known station's place");
    for n in 0..6000u32 {
        let address = Ipv6Addr::from_bits(GLOBAL.to_bits() + (2 << 32) + u128::from(n));
        let _ = bench.hear(solicitation(address, Some(HOST), GLOBAL));
        bench.resolve(address);
    }
    let link = &bench.neighbours.links[&LAN];
    assert!(link.neighbours.len() <= NEIGHBOURS);
    assert!(bench.neighbours.pending.len() <= 2 * PENDING);
    assert!(bench.neighbours.transmit.len() <= QUEUE);
    assert!(bench.neighbours.events.len() <= EVENTS);
    bench.wait(Duration::from_secs(60));
    let link = &bench.neighbours.links[&LAN];
    assert_eq!((link.incomplete, link.probing, bench.neighbours.pending.len()), (0, 0, 0));
}

#[test]
fn one_segments_flood_leaves_the_other_its_places() {
    let mut bench = Bench::new();
    for n in 0..2000u32 {
        bench.resolve(Ipv6Addr::from_bits(GLOBAL.to_bits() + (1 << 32) + u128::from(n)));
    }
    bench.sent();
    let mut cx = Cx { now: bench.now, rng: &mut bench.rng };
    let question = Resolve { segment: WAN, address: host(5).into() };
    bench.neighbours.handle(&mut cx, Input::Resolve(question)).unwrap();
    assert_eq!(bench.sent_all().0, [(WAN, solicitation(LOCAL, Some(ROUTER), host(5)))]);
}

/// Addresses of the groups in a report of version 2, and what it says of them.
fn records(report: &[u8]) -> (Ipv6Addr, Vec<(u8, Ipv6Addr)>) {
    let source = crate::wire::ipv6::address_at(report, 8);
    let records = report[56..].chunks(20);
    (source, records.map(|record| (record[0], crate::wire::ipv6::address_at(record, 4))).collect())
}

#[test]
fn rfc3810_the_groups_of_the_routers_addresses_are_reported() {
    let mut bench = Bench::bare();
    bench.set(LAN, &[own(LOCAL, true), own(host(2), false)]);
    let joined = |groups: &[&str]| groups.iter().map(|group| (4, group.parse().unwrap())).collect::<Vec<_>>();
    let groups = joined(&["ff02::2", "ff02::1:ff00:1", "ff02::1:ff00:2"]);
    let (_, reports) = bench.sent_all();
    assert_eq!(reports.iter().map(|report| records(report)).collect::<Vec<_>>(), [(NONE, groups.clone())]);
    bench.wait(Duration::from_secs(10));
    let (_, reports) = bench.sent_all();
    let from: Vec<(Ipv6Addr, usize)> =
        reports.iter().map(|report| records(report)).map(|(source, groups)| (source, groups.len())).collect();
    assert_eq!(
        from,
        [(NONE, 3), (LOCAL, 3), (LOCAL, 3)],
        "again, and twice when there is a name to sign with"
    );
    let dhcp = crate::wire::ipv6::ALL_DHCP_SERVERS;
    bench.neighbours.set_groups(&mut Cx { now: bench.now, rng: &mut bench.rng }, LAN, &[dhcp]);
    let (_, reports) = bench.sent_all();
    assert_eq!(records(&reports[0]), (LOCAL, joined(&["ff02::1:2"])));
    bench.wait(Duration::from_secs(10));
    bench.set(WAN, &[own(LOCAL, false)]);
    bench.sent_all();
    bench.set(LAN, &[own(LOCAL, false)]);
    let (_, reports) = bench.sent_all();
    assert_eq!(records(&reports[0]).1, [(3, "ff02::1:ff00:2".parse().unwrap())], "a group is left");
}

#[test]
fn a_host_reports_no_routers_group() {
    let mut bench = Bench::bare();
    bench.set(WAN, &[own(LOCAL, false)]);
    let (_, reports) = bench.sent_all();
    assert_eq!(records(&reports[0]).1, [(4, solicited_node(LOCAL))]);
}

#[test]
fn every_truncation_and_bit_flip_is_survived() {
    let mut bench = Bench::new();
    let packets = [
        solicitation(host(9), Some(HOST), GLOBAL),
        solicitation(NONE, None, GLOBAL),
        advertisement(host(9), HOST, true, true),
    ];
    for whole in packets.iter().map(bytes) {
        for len in 0..whole.len() {
            assert!(bench.receive(LAN, &whole[..len]).is_err(), "cut to {len}");
        }
        const HEADER: RangeInclusive<usize> = 40..=43;
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if !HEADER.contains(&(bit / 8)) {
                let _ = bench.receive(LAN, &flipped);
            }
        }
    }
    assert_eq!(bench.receive(Segment::Lan(LanId(7)), &[]), Err(DropReason::NdpMalformed), "no such LAN");
}

#[test]
fn events_are_sentences() {
    use alloc::string::ToString;
    let (segment, address) = (LAN, GLOBAL);
    for (event, sentence) in [
        (found(host(9), HOST), "2001:db8:1::9 is at 02:00:00:00:00:10"),
        (failed(host(9)), "no station answers for 2001:db8:1::9"),
        (Event::AddressReady { segment, address }, "nobody else has 2001:db8:1::1; the router uses it"),
        (
            Event::Duplicate { segment, address, mac: Some(HOST) },
            "the station 02:00:00:00:00:10 already has 2001:db8:1::1; the router does not use this address",
        ),
        (
            Event::Conflict { segment, address, mac: None },
            "another station also uses the router's address 2001:db8:1::1; the router keeps it and says so to everybody",
        ),
    ] {
        assert_eq!(event.to_string(), sentence);
    }
}
