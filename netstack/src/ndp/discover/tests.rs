use alloc::vec;

use super::*;
use crate::id::{Segment, WanId};
use crate::ndp::message::{DnsServer, SearchDomain};
use crate::ndp::neighbour::{self, Neighbours, OwnAddress};
use crate::rng::SeededRng;
use crate::wire::ipv6::ALL_NODES;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER: &str = "fe80::ff";
const OTHER: &str = "fe80::fe";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn local() -> Ipv6Addr {
    ip("fe80::5:6:7:8")
}

/// An RA of an ordinary ISP.
fn ordinary() -> RouterAdvertisement {
    RouterAdvertisement {
        other: true,
        router_lifetime: 1800,
        mtu: Some(1480),
        prefixes: vec![prefix("2001:db8:1::/64", true, true, 7 * 86_400, 86_400)],
        dns: vec![DnsServer { address: ip("2001:db8::53"), lifetime: 600 }],
        domains: vec![SearchDomain { name: "example.net".into(), lifetime: 500 }],
        ..RouterAdvertisement::default()
    }
}

fn prefix(text: &str, on_link: bool, autonomous: bool, valid: u32, preferred: u32) -> PrefixInformation {
    PrefixInformation { prefix: cidr(text), on_link, autonomous, valid, preferred }
}

struct Bench {
    discovery: RouterDiscovery,
    rng: SeededRng,
    now: Instant,
}

impl Bench {
    fn new(mac: Option<Mac>) -> Self {
        let mut rng = SeededRng::from_u64(1);
        let now = Instant::from_secs(1000);
        let mut discovery = RouterDiscovery::new(mac);
        discovery.start(&mut Cx { now, rng: &mut rng }, local(), 1492);
        Bench { discovery, rng, now }
    }

    fn receive(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.discovery.handle(&mut Cx { now: self.now, rng: &mut self.rng }, packet)
    }

    fn hear(&mut self, source: &str, advertisement: RouterAdvertisement) {
        assert_eq!(self.receive(&packet(source, advertisement)), Ok(()));
    }

    /// The solicitations of this time, and when.
    fn wait(&mut self, time: Duration) -> Vec<(Instant, Packet)> {
        let end = self.now + time;
        let mut sent = self.sent();
        while let Some(due) = self.discovery.poll_timeout().filter(|&due| due <= end) {
            assert!(due >= self.now, "what is due is done");
            self.now = due;
            self.discovery.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }

    fn sent(&mut self) -> Vec<(Instant, Packet)> {
        let mut sent = Vec::new();
        let mut frame = Frame::with_capacity(2048);
        while self.discovery.poll_transmit(&mut frame) {
            sent.push((self.now, Packet::parse(frame.bytes()).unwrap()));
            frame.reset();
        }
        sent
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.discovery.poll_event()).collect()
    }

    fn routers(&self) -> Vec<Ipv6Addr> {
        self.discovery.routers().iter().map(|router| router.address).collect()
    }
}

fn packet(source: &str, advertisement: RouterAdvertisement) -> Vec<u8> {
    let message = Message::RouterAdvertisement(advertisement);
    let mut frame = Frame::with_capacity(2048);
    assert!(Packet { source: ip(source), destination: ALL_NODES, message }.emit(&mut frame));
    frame.bytes().to_vec()
}

/// RFC 7084 W-1, W-3, WAA-1, WAA-2.
#[test]
fn rfc7084_w_1_w_3_waa_1_waa_2_an_ra_makes_the_router_a_host_of_its_uplink() {
    let mut bench = Bench::new(None);
    assert!(bench.events().is_empty());
    bench.hear(ROUTER, ordinary());
    assert_eq!(bench.events(), [Event::FlagsSeen { managed: false, other: true }, Event::Changed]);
    let discovery = &bench.discovery;
    let until = |secs| bench.now + Duration::from_secs(secs);
    assert_eq!(
        discovery.routers(),
        [Router { address: ip(ROUTER), preference: Preference::Medium, until: until(1800) }]
    );
    assert_eq!(
        discovery.addresses(),
        [Address {
            address: ip("2001:db8:1::5:6:7:8"),
            preferred_until: until(86_400),
            valid_until: until(7 * 86_400)
        }]
    );
    assert!(discovery.on_link().eq([cidr("2001:db8:1::/64")]));
    assert!(discovery.dns().eq([ip("2001:db8::53")]));
    assert!(discovery.domains().eq(["example.net"]));
    assert_eq!((discovery.mtu(), discovery.managed(), discovery.other()), (Some(1480), false, true));
}

/// RFC 7084 WAA-2: without the L flag a prefix is not on the link.
#[test]
fn rfc7084_waa_2_only_the_l_flag_puts_a_prefix_on_the_link() {
    let mut bench = Bench::new(None);
    let mut advertisement = ordinary();
    advertisement.prefixes = vec![
        prefix("2001:db8:1::/64", false, true, 9000, 9000),
        prefix("2001:db8:2::/56", true, false, 9000, 9000),
        prefix("fe80::/64", true, true, 9000, 9000),
        prefix("ff00::/64", true, true, 9000, 9000),
    ];
    bench.hear(ROUTER, advertisement.clone());
    assert!(bench.discovery.on_link().eq([cidr("2001:db8:2::/56")]));
    assert_eq!(bench.discovery.addresses().len(), 1);
    advertisement.prefixes[1].on_link = false;
    bench.hear(ROUTER, advertisement.clone());
    assert!(bench.discovery.on_link().eq([cidr("2001:db8:2::/56")]), "its absence does not take it away");
    advertisement.prefixes[1] = prefix("2001:db8:2::/56", true, false, 0, 0);
    bench.hear(ROUTER, advertisement);
    assert_eq!(bench.discovery.on_link().count(), 0, "a lifetime of 0 does");
}

/// RFC 7084 W-2: a router is solicited when the link-local address is known to be ours alone, and not before.
#[test]
fn rfc7084_w_2_duplicate_detection_comes_before_solicitation() {
    let (mut rng, mut now) = (SeededRng::from_u64(1), Instant::from_secs(1));
    let wan = Segment::Wan(WanId(0));
    let mut discovery = RouterDiscovery::new(Some(MAC));
    let mut neighbours = Neighbours::new(&mut Cx { now, rng: &mut rng }, [(wan, MAC)]);
    let own = [OwnAddress { address: local(), dad: true }];
    neighbours.set_addresses(&mut Cx { now, rng: &mut rng }, wan, &own);
    let mut solicited = None;
    for _ in 0..100 {
        now += Duration::from_millis(50);
        let cx = &mut Cx { now, rng: &mut rng };
        neighbours.handle_timeout(cx);
        discovery.handle_timeout(cx);
        while let Some(event) = neighbours.poll_event() {
            assert_eq!(event, neighbour::Event::AddressReady { segment: wan, address: local() });
            assert_eq!(now, Instant::from_secs(2));
            discovery.start(cx, local(), 1500);
        }
        let mut frame = Frame::with_capacity(2048);
        if discovery.poll_transmit(&mut frame) && solicited.is_none() {
            solicited = Some(now);
            let packet = Packet::parse(frame.bytes()).unwrap();
            assert_eq!((packet.source, packet.destination), (local(), ALL_ROUTERS));
            assert_eq!(packet.message, Message::RouterSolicitation { source_link_layer: Some(MAC) });
        }
    }
    assert!(solicited.unwrap() >= Instant::from_secs(2));
}

#[test]
fn rfc7559_routers_are_solicited_ever_more_seldom_until_one_answers() {
    let mut bench = Bench::new(None);
    let sent = bench.wait(Duration::from_secs(40_000));
    let gaps: Vec<f64> = sent.windows(2).map(|pair| pair[1].0.since(pair[0].0).as_secs_f64()).collect();
    assert_eq!(sent[0].0, Instant::from_secs(1000), "on PPP nobody is in the way");
    for (gap, expected) in
        gaps.iter().zip([4.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0])
    {
        assert!((gap - expected).abs() <= expected / 10.0, "{gaps:?}");
    }
    assert!(gaps[11..].iter().all(|gap| (3240.0..=3960.0).contains(gap)), "{gaps:?}");
    let no_default = RouterAdvertisement { router_lifetime: 0, ..ordinary() };
    bench.hear(ROUTER, no_default);
    assert!(!bench.wait(Duration::from_secs(4000)).is_empty(), "it is no default router");
    bench.hear(ROUTER, ordinary());
    assert!(bench.wait(Duration::from_secs(1700)).is_empty());
    let sent = bench.wait(Duration::from_secs(104));
    assert_eq!(sent.len(), 1, "it has not been heard of again");
}

/// RFC 7084 W-3: an RA with router lifetime 0 takes the default route away at once.
#[test]
fn rfc7084_w_3_a_router_that_steps_down_is_gone_at_once() {
    let mut bench = Bench::new(Some(MAC));
    bench.hear(ROUTER, ordinary());
    bench.hear(OTHER, ordinary());
    bench.events();
    bench.hear(ROUTER, RouterAdvertisement { router_lifetime: 0, ..ordinary() });
    assert_eq!(bench.events(), [Event::Changed]);
    assert_eq!(bench.routers(), [ip(OTHER)]);
    assert_eq!(bench.discovery.addresses().len(), 1, "its prefixes stay");
    bench.hear(OTHER, RouterAdvertisement { router_lifetime: 9, ..ordinary() });
    assert!(bench.events().is_empty(), "a lifetime alone is no news");
    bench.wait(Duration::from_nanos(8_999_999_999));
    assert_eq!((bench.routers().len(), bench.events().len()), (1, 0));
    bench.wait(Duration::from_nanos(1));
    assert_eq!((bench.routers().len(), bench.events()), (0, vec![Event::Changed]));
}

#[test]
fn rfc4191_the_preferred_router_comes_first() {
    let mut bench = Bench::new(Some(MAC));
    bench.hear(ROUTER, ordinary());
    bench.hear(OTHER, RouterAdvertisement { preference: Preference::High, ..ordinary() });
    bench.hear("fe80::fd", ordinary());
    bench.hear("fe80::fc", RouterAdvertisement { preference: Preference::Low, ..ordinary() });
    assert_eq!(bench.routers(), [OTHER, ROUTER, "fe80::fd", "fe80::fc"].map(ip));
    bench.events();
    bench.hear(ROUTER, ordinary());
    assert!(bench.events().is_empty(), "the order does not swing");
    bench.hear(OTHER, RouterAdvertisement { preference: Preference::Low, ..ordinary() });
    assert_eq!(bench.routers()[0], ip(ROUTER));
    assert_eq!(bench.events(), [Event::Changed]);
}

/// RFC 4862 §5.5.3 e: a forged RA can shorten an address's life to two hours, not end it.
#[test]
fn rfc4862_the_two_hour_rule() {
    let left = |bench: &Bench| {
        let address = bench.discovery.addresses()[0];
        (address.preferred_until.since(bench.now).as_secs(), address.valid_until.since(bench.now).as_secs())
    };
    let say = |bench: &mut Bench, valid, preferred| {
        let prefixes = vec![prefix("2001:db8:1::/64", false, true, valid, preferred)];
        bench.hear(ROUTER, RouterAdvertisement { prefixes, ..ordinary() });
    };
    let mut bench = Bench::new(None);
    say(&mut bench, 0, 0);
    assert!(bench.discovery.addresses().is_empty(), "nothing to begin with");
    say(&mut bench, 10_000, 5000);
    assert_eq!(left(&bench), (5000, 10_000));
    say(&mut bench, 9000, 0);
    assert_eq!(left(&bench), (0, 9000), "more than two hours is believed");
    say(&mut bench, 0, 0);
    assert_eq!(left(&bench), (0, 7200));
    bench.wait(Duration::from_secs(200));
    say(&mut bench, 60, 60);
    assert_eq!(left(&bench), (60, 7000), "less than is left is not");
    say(&mut bench, 7100, 9999);
    assert_eq!(left(&bench), (60, 7000), "nor what contradicts itself");
    say(&mut bench, 7100, 7100);
    assert_eq!(left(&bench), (7100, 7100), "more than is left is");
    bench.wait(Duration::from_secs(7099));
    assert_eq!(bench.discovery.addresses().len(), 1);
    bench.wait(Duration::from_secs(1));
    assert!(bench.discovery.addresses().is_empty());
    say(&mut bench, u32::MAX, u32::MAX);
    assert_eq!(bench.discovery.addresses()[0].valid_until, Instant::FOREVER);
}

#[test]
fn an_address_that_ceases_to_be_preferred_is_told() {
    let mut bench = Bench::new(None);
    let prefixes = vec![prefix("2001:db8:1::/64", false, true, 1000, 100)];
    bench.hear(ROUTER, RouterAdvertisement { prefixes, dns: vec![], domains: vec![], ..ordinary() });
    bench.events();
    bench.wait(Duration::from_secs(99));
    assert!(bench.events().is_empty());
    bench.wait(Duration::from_secs(1));
    assert_eq!((bench.events(), bench.discovery.addresses().len()), (vec![Event::Changed], 1));
    bench.wait(Duration::from_secs(900));
    assert_eq!((bench.events(), bench.discovery.addresses().len()), (vec![Event::Changed], 0));
}

#[test]
fn rfc8106_servers_and_domains_end_with_their_lifetimes() {
    let mut bench = Bench::new(None);
    bench.hear(ROUTER, ordinary());
    bench.wait(Duration::from_secs(500));
    assert_eq!((bench.discovery.dns().count(), bench.discovery.domains().count()), (1, 0));
    let dns = vec![DnsServer { address: ip("2001:db8::53"), lifetime: 0 }];
    bench.hear(ROUTER, RouterAdvertisement { dns, ..ordinary() });
    assert_eq!((bench.discovery.dns().count(), bench.discovery.domains().count()), (0, 1));
    for address in ["::", "::1", "ff02::fb"] {
        let dns = vec![DnsServer { address: ip(address), lifetime: 9 }];
        bench.hear(ROUTER, RouterAdvertisement { dns, ..ordinary() });
    }
    assert_eq!(bench.discovery.dns().count(), 0, "none of these is a server");
}

#[test]
fn rfc4861_an_mtu_is_taken_within_its_bounds() {
    let mut bench = Bench::new(None);
    for (mtu, taken) in [
        (Some(1279), None),
        (Some(1493), None),
        (Some(u32::MAX), None),
        (Some(1280), Some(1280)),
        (None, Some(1280)),
    ] {
        bench.hear(ROUTER, RouterAdvertisement { mtu, ..ordinary() });
        assert_eq!(bench.discovery.mtu(), taken, "{mtu:?}");
    }
    bench.hear(ROUTER, RouterAdvertisement { mtu: Some(1492), ..ordinary() });
    assert_eq!(bench.discovery.mtu(), Some(1492), "the link's own");
}

#[test]
fn an_ra_that_is_not_a_routers_is_dropped() {
    let mut bench = Bench::new(Some(MAC));
    let whole = packet(ROUTER, ordinary());
    for len in 0..whole.len() {
        assert_eq!(bench.receive(&whole[..len]), Err(DropReason::NdpMalformed), "cut to {len}");
    }
    assert_eq!(bench.receive(&packet("2001:db8::1", ordinary())), Err(DropReason::NdpMalformed));
    assert_eq!(bench.receive(&packet("fe80::5:6:7:8", ordinary())), Err(DropReason::NdpSpoofed));
    assert!(bench.events().is_empty());
    bench.discovery.stop();
    bench.hear(ROUTER, ordinary());
    assert!(bench.events().is_empty() && bench.routers().is_empty(), "it is not asked for");
    assert_eq!(bench.discovery.poll_timeout(), None);
}

#[test]
fn memory_is_bounded_and_a_flood_drives_out_nobody() {
    let mut bench = Bench::new(Some(MAC));
    bench.hear(ROUTER, ordinary());
    for n in 0..200u16 {
        let net = |n: u16| alloc::format!("2001:db9:{n:x}::/64");
        let advertisement = RouterAdvertisement {
            prefixes: (0..20).map(|m| prefix(&net(n * 20 + m), true, true, 9000, 9000)).collect(),
            dns: (0..9).map(|m| DnsServer { address: Ipv6Addr::from(9u128 + m), lifetime: 9000 }).collect(),
            domains: vec![SearchDomain { name: alloc::format!("d{n}.example"), lifetime: 9000 }],
            preference: Preference::High,
            ..ordinary()
        };
        bench.hear(&alloc::format!("fe80::bad:{n:x}"), advertisement);
    }
    let discovery = &bench.discovery;
    assert_eq!((discovery.routers().len(), discovery.addresses().len()), (ROUTERS, PREFIXES));
    assert_eq!((discovery.on_link().count(), discovery.dns().count()), (PREFIXES, SERVERS));
    assert_eq!(discovery.domains().count(), SERVERS);
    assert!(discovery.routers().iter().any(|router| router.address == ip(ROUTER)));
    assert_eq!(discovery.addresses()[0].address, ip("2001:db8:1::5:6:7:8"));
}

#[test]
fn flags_are_told_when_they_change() {
    let mut bench = Bench::new(None);
    let mut flags = |managed, other| {
        bench.hear(ROUTER, RouterAdvertisement { managed, other, ..ordinary() });
        bench.events().into_iter().find(|event| matches!(event, Event::FlagsSeen { .. }))
    };
    assert_eq!(flags(false, false), Some(Event::FlagsSeen { managed: false, other: false }));
    assert_eq!(flags(false, false), None);
    assert_eq!(flags(true, false), Some(Event::FlagsSeen { managed: true, other: false }));
    assert_eq!(flags(true, true), Some(Event::FlagsSeen { managed: true, other: true }));
}

#[test]
fn on_ppp_a_solicitation_for_the_router_is_answered() {
    for (mac, answers) in [(None, 2), (Some(MAC), 0)] {
        let mut bench = Bench::new(mac);
        bench.hear(ROUTER, ordinary());
        bench.wait(Duration::from_secs(1));
        for target in [local(), ip("2001:db8:1::5:6:7:8"), ip("2001:db8:1::1")] {
            let message = Message::NeighbourSolicitation { target, source_link_layer: None };
            let mut frame = Frame::with_capacity(2048);
            assert!(Packet { source: ip(ROUTER), destination: target, message }.emit(&mut frame));
            assert_eq!(bench.receive(frame.bytes()), Ok(()));
        }
        let sent = bench.sent();
        assert_eq!(sent.len(), answers, "on Ethernet others do it");
        for (_, packet) in sent {
            assert!(matches!(
                packet.message,
                Message::NeighbourAdvertisement {
                    router: false,
                    solicited: true,
                    target_link_layer: None,
                    ..
                }
            ));
        }
    }
}

/// After a pause or a cut nobody knows what still holds: routers are asked, and only what they name is kept.
#[test]
fn what_no_router_advertises_after_a_doubt_is_forgotten_and_the_rest_stays() {
    let renumbered = || RouterAdvertisement {
        prefixes: vec![prefix("2001:db8:2::/64", true, true, 7 * 86_400, 86_400)],
        ..ordinary()
    };
    for advertised in [ordinary(), renumbered()] {
        let mut bench = Bench::new(Some(MAC));
        bench.wait(Duration::from_secs(2));
        bench.hear(ROUTER, ordinary());
        bench.hear(OTHER, RouterAdvertisement { router_lifetime: 1800, ..RouterAdvertisement::default() });
        bench.wait(Duration::from_secs(100));
        bench.events();
        let before = bench.discovery.addresses()[0].address;
        bench.discovery.reconfirm(&mut Cx { now: bench.now, rng: &mut bench.rng });
        assert_eq!(bench.sent().len(), 1, "asked at once");
        assert_eq!((bench.routers().len(), bench.discovery.addresses().len()), (2, 1), "as it was");
        let asked = bench.wait(Duration::from_secs(9));
        assert_eq!(asked.len(), 2, "and again until somebody answers");
        assert_eq!(bench.routers().len(), 2, "silence says nothing");
        bench.hear(ROUTER, advertised.clone());
        bench.wait(REVIEW);
        assert_eq!(bench.routers(), [ip(ROUTER)], "the other one did not answer");
        let after: Vec<Ipv6Addr> = bench.discovery.addresses().iter().map(|made| made.address).collect();
        assert_eq!(after.len(), 1);
        assert_eq!(after == [before], advertised == ordinary());
        assert!(bench.wait(Duration::from_secs(1000)).is_empty());
    }
    // When all is as it was, nobody hears a word of it.
    let mut bench = Bench::new(Some(MAC));
    bench.hear(ROUTER, ordinary());
    bench.events();
    bench.discovery.reconfirm(&mut Cx { now: bench.now, rng: &mut bench.rng });
    bench.hear(ROUTER, ordinary());
    bench.wait(Duration::from_secs(60));
    assert!(bench.events().is_empty());
}
