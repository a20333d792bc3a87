use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::rng::SeededRng;

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOST: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const START: Instant = Instant::from_secs(100);
const DAY: Duration = Duration::from_secs(86_400);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn prefix(text: &str, preferred: u64, valid: u64) -> AdvertisedPrefix {
    AdvertisedPrefix {
        prefix: cidr(text),
        on_link: true,
        autonomous: true,
        preferred_until: START + Duration::from_secs(preferred),
        valid_until: START + Duration::from_secs(valid),
    }
}

/// An ordinary LAN: a prefix of the uplink for a day, and the household's own for ever.
fn ordinary() -> Advertisement {
    let own = AdvertisedPrefix {
        preferred_until: Instant::FOREVER,
        valid_until: Instant::FOREVER,
        ..prefix("fd00:1:2:3::/64", 0, 0)
    };
    Advertisement {
        default_router: true,
        managed: false,
        other: true,
        mtu: Some(1492),
        prefixes: vec![prefix("2001:db8:1:1::/64", 43_200, 86_400), own],
        routes: vec![
            AdvertisedRoute { prefix: cidr("2001:db8:1::/56"), until: START + DAY },
            AdvertisedRoute { prefix: cidr("fd00:1:2::/48"), until: Instant::FOREVER },
        ],
        dns: vec![ip("fd00:1:2:3::1")],
        domains: vec!["home.arpa".into()],
    }
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    destination: Ipv6Addr,
    read: RouterAdvertisement,
}

struct Bench {
    advertiser: Advertiser,
    rng: SeededRng,
    now: Instant,
}

impl Bench {
    fn new(mac: Option<Mac>) -> Self {
        let mut rng = SeededRng::from_u64(1);
        let advertiser = Advertiser::new(&mut Cx { now: START, rng: &mut rng }, SOURCE, mac);
        Bench { advertiser, rng, now: START }
    }

    /// A router whose first RAs are out.
    fn settled() -> Self {
        let mut bench = Bench::new(Some(ROUTER));
        bench.set(ordinary());
        assert_eq!(bench.wait(Duration::from_secs(100)).len(), 3);
        bench
    }

    fn set(&mut self, advertisement: Advertisement) {
        self.advertiser.set(&mut Cx { now: self.now, rng: &mut self.rng }, advertisement);
    }

    fn stop(&mut self) {
        self.advertiser.stop(&mut Cx { now: self.now, rng: &mut self.rng });
    }

    fn hear(&mut self, source: Ipv6Addr, message: Message) {
        let mut frame = Frame::with_capacity(2048);
        assert!(Packet { source, destination: ip("ff02::2"), message }.emit(&mut frame));
        self.advertiser.handle(&mut Cx { now: self.now, rng: &mut self.rng }, frame.bytes()).unwrap();
    }

    fn solicit(&mut self, source: &str, mac: Option<Mac>) {
        self.hear(ip(source), Message::RouterSolicitation { source_link_layer: mac });
    }

    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut frame = Frame::with_capacity(2048);
        while self.advertiser.poll_transmit(&mut frame) {
            assert!(frame.len() <= 1280, "every link carries it");
            let packet = Packet::parse(frame.bytes()).unwrap();
            assert_eq!(packet.source, SOURCE);
            let Message::RouterAdvertisement(read) = packet.message else { panic!("{packet:?}") };
            sent.push(Sent { at: self.now, destination: packet.destination, read });
            frame.reset();
        }
        sent
    }

    /// What is sent in this time.
    fn wait(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = self.sent();
        while let Some(due) = self.advertiser.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.advertiser.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.advertiser.poll_event()).collect()
    }
}

/// Seconds between one and the next.
fn gaps(sent: &[Sent]) -> Vec<u64> {
    sent.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect()
}

/// RFC 7084 L-3 (RIO), L-6 (A = L = 1), L-9 (M 0, O 1), L-11 (RDNSS and DNSSL).
#[test]
fn rfc7084_l_3_l_6_l_9_l_11_hosts_are_told_all_they_need() {
    let mut bench = Bench::new(Some(ROUTER));
    assert_eq!(bench.advertiser.poll_timeout(), None, "silent until it has something to say");
    bench.set(ordinary());
    let sent = bench.sent();
    let [Sent { destination, read, .. }] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(*destination, ALL_NODES);
    assert_eq!((read.managed, read.other, read.router_lifetime), (false, true, 1800));
    assert_eq!((read.source_link_layer, read.mtu, read.hop_limit), (Some(ROUTER), Some(1492), 64));
    assert!(read.prefixes.iter().all(|prefix| prefix.on_link && prefix.autonomous));
    let routes: Vec<(Ipv6Cidr, u32)> =
        read.routes.iter().map(|route| (route.prefix, route.lifetime)).collect();
    assert_eq!(routes, [(cidr("2001:db8:1::/56"), 1800), (cidr("fd00:1:2::/48"), 1800)]);
    assert_eq!(read.dns, [DnsServer { address: ip("fd00:1:2:3::1"), lifetime: 1800 }]);
    assert_eq!(read.domains, [SearchDomain { name: "home.arpa".into(), lifetime: 1800 }]);
}

#[test]
fn rfc4861_an_ra_goes_out_three_times_at_first_and_then_every_200_to_600_seconds() {
    let mut bench = Bench::new(Some(ROUTER));
    bench.set(ordinary());
    let sent = bench.wait(Duration::from_secs(7200));
    let gaps = gaps(&sent);
    assert_eq!(gaps[..2], [3, 3]);
    assert!(gaps[2..].iter().all(|gap| (200..=600).contains(gap)), "{gaps:?}");
    assert!(gaps[2..].windows(2).any(|pair| pair[0] != pair[1]), "not in step with other routers");
}

/// RFC 9096 L-16: at most 2,700 and 5,400 s, whatever the uplink gives.
#[test]
fn rfc9096_l_16_lifetimes_are_capped() {
    let mut bench = Bench::new(Some(ROUTER));
    bench.set(ordinary());
    for sent in bench.wait(Duration::from_secs(20_000)) {
        for prefix in sent.read.prefixes {
            assert_eq!((prefix.preferred, prefix.valid), (2700, 5400));
        }
    }
}

/// RFC 9096 L-15: never beyond what is left of the uplink's lifetimes, to the last second.
#[test]
fn rfc9096_l_15_lifetimes_shrink_with_the_uplinks() {
    let mut bench = Bench::new(Some(ROUTER));
    let (preferred, valid) = (3600, 7200);
    bench.set(Advertisement { prefixes: vec![prefix("2001:db8::/64", preferred, valid)], ..ordinary() });
    let sent = bench.wait(Duration::from_secs(8000));
    assert!(sent.len() > 13);
    for Sent { at, read, .. } in &sent {
        let passed = at.since(START).as_secs_f64();
        let prefix = read.prefixes[0];
        let left = |lifetime: u64| (lifetime as f64 - passed).max(0.0);
        assert!(f64::from(prefix.preferred) <= left(preferred) && f64::from(prefix.valid) <= left(valid));
        assert!(f64::from(prefix.valid) > left(valid).min(5400.0) - 1.0, "and no less than need be");
        assert!(f64::from(prefix.preferred) > left(preferred).min(2700.0) - 1.0);
    }
    let last = sent.last().unwrap().read.prefixes[0];
    assert_eq!((last.preferred, last.valid), (0, 0));
}

/// RFC 9096 L-13: a stale prefix is announced with 0 and 0 and the flags that it had, in every RA for 5,400 s.
#[test]
fn rfc9096_l_13_a_stale_prefix_is_withdrawn_at_once_and_for_as_long_as_it_is_listed() {
    let mut bench = Bench::settled();
    let mut renumbered = ordinary();
    let gone = bench.now;
    renumbered.prefixes[0] = AdvertisedPrefix {
        autonomous: false,
        preferred_until: gone,
        valid_until: gone,
        ..renumbered.prefixes[0]
    };
    renumbered.prefixes.insert(0, prefix("2001:db8:2:1::/64", 43_200, 86_400));
    bench.set(renumbered);
    let sent = bench.wait(Duration::from_secs(5400));
    assert_eq!(sent[0].at, gone, "at once");
    assert_eq!(gaps(&sent)[..2], [3, 3], "and twice more");
    for Sent { read, .. } in &sent {
        let [new, old, _] = read.prefixes[..] else { panic!("{read:?}") };
        assert_eq!((new.prefix, new.preferred, new.valid), (cidr("2001:db8:2:1::/64"), 2700, 5400));
        assert_eq!((old.prefix, old.preferred, old.valid), (cidr("2001:db8:1:1::/64"), 0, 0));
        assert_eq!((old.on_link, old.autonomous), (true, false), "flags are the caller's");
    }
}

/// RFC 7084 G-4, G-5, L-4 and ULA-5: without a default route the router says so at once, and still serves the household's
/// own prefix.
#[test]
fn rfc7084_g_4_g_5_l_4_ula_5_the_loss_of_the_uplink_is_told_at_once() {
    let mut bench = Bench::settled();
    let mut alone = ordinary();
    alone.default_router = false;
    alone.prefixes.remove(0);
    alone.routes.remove(0);
    bench.set(alone);
    let sent = bench.wait(Duration::from_secs(3000));
    assert_eq!(sent[0].at, START + Duration::from_secs(100));
    for Sent { read, .. } in &sent {
        assert_eq!(read.router_lifetime, 0);
        assert_eq!(read.prefixes[0].prefix, cidr("fd00:1:2:3::/64"));
        let own = read.routes.iter().find(|route| route.prefix == cidr("fd00:1:2::/48")).unwrap();
        assert_eq!(own.lifetime, 1800, "the way to the rest of the site stays");
    }
    bench.set(ordinary());
    assert_eq!(bench.sent()[0].read.router_lifetime, 1800, "and so is its return");
}

/// RFC 7084 L-4: a LAN that gets no prefix has no router.
#[test]
fn rfc7084_l_4_without_a_prefix_the_lifetime_is_0() {
    let mut bench = Bench::new(Some(ROUTER));
    bench.set(Advertisement { default_router: false, prefixes: vec![], routes: vec![], ..ordinary() });
    let sent = bench.sent();
    assert_eq!((sent[0].read.router_lifetime, sent[0].read.prefixes.len()), (0, 0));
}

#[test]
fn changes_in_one_instant_make_one_ra_and_the_next_waits_a_second_at_most() {
    let mut bench = Bench::settled();
    for mtu in 1300..1310 {
        bench.set(Advertisement { mtu: Some(mtu), ..ordinary() });
    }
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].read.mtu), (1, Some(1309)));
    bench.wait(Duration::from_millis(400));
    for mtu in 1310..1320 {
        bench.set(Advertisement { mtu: Some(mtu), ..ordinary() });
    }
    let sent = bench.wait(Duration::from_millis(600));
    assert_eq!((sent.len(), sent[0].read.mtu), (1, Some(1319)));
    assert_eq!(gaps(&bench.wait(Duration::from_secs(60))), [3], "each change is told three times");
}

#[test]
fn a_flapping_uplink_does_not_flood_the_link() {
    let mut bench = Bench::settled();
    let mut sent = 0;
    for n in 0..600 {
        bench.set(Advertisement { default_router: n % 2 == 0, ..ordinary() });
        sent += bench.wait(Duration::from_millis(100)).len();
    }
    assert!(sent <= 61, "{sent} in a minute");
}

#[test]
fn what_hosts_would_not_notice_is_not_told() {
    let mut bench = Bench::settled();
    bench.set(ordinary());
    let mut renewed = ordinary();
    renewed.prefixes[0].valid_until += DAY;
    renewed.prefixes[0].preferred_until += DAY;
    renewed.routes[0].until += DAY;
    bench.set(renewed);
    assert!(bench.sent().is_empty(), "it lasts beyond the caps either way");
}

/// RFC 8106 §5.3.2, RFC 4191 §3.1: what is gone is withdrawn, or hosts would use it for half an hour.
#[test]
fn dns_servers_domains_and_routes_that_are_gone_are_withdrawn() {
    let mut bench = Bench::settled();
    let mut other = ordinary();
    other.dns = vec![ip("2001:db8::53")];
    other.domains = vec!["example.com".into()];
    other.routes.remove(0);
    bench.set(other);
    let sent = bench.wait(Duration::from_secs(700));
    for (n, Sent { read, .. }) in sent.iter().enumerate() {
        let dns: Vec<u32> = read.dns.iter().map(|server| server.lifetime).collect();
        let domains: Vec<u32> = read.domains.iter().map(|domain| domain.lifetime).collect();
        let routes: Vec<u32> = read.routes.iter().map(|route| route.lifetime).collect();
        let expected: &[u32] = if n < 3 { &[1800, 0] } else { &[1800] };
        assert_eq!((&dns[..], &domains[..], &routes[..]), (expected, expected, expected), "RA {n}");
    }
    assert!(sent.len() > 3);
}

#[test]
fn rfc4861_a_solicitation_is_answered_to_all_within_half_a_second_and_seldom() {
    let mut bench = Bench::settled();
    for source in ["::", "fe80::9"] {
        bench.solicit(source, None);
        bench.solicit(source, None);
        let asked = bench.now;
        let sent = bench.wait(Duration::from_secs(5));
        assert_eq!((sent.len(), sent[0].destination), (1, ALL_NODES));
        assert!(sent[0].at <= asked + Duration::from_millis(500));
    }
    let mut sent = Vec::new();
    for n in 0..600 {
        bench.solicit(&alloc::format!("fe80::{n:x}"), None);
        sent.extend(bench.wait(Duration::from_millis(100)));
    }
    assert!(gaps(&sent).iter().all(|gap| *gap >= 3), "MIN_DELAY_BETWEEN_RAS");
    assert!(sent.len() >= 15);
}

#[test]
fn rfc4861_a_host_that_says_its_ethernet_address_is_answered_alone() {
    let mut bench = Bench::settled();
    bench.solicit("fe80::9", Some(HOST));
    bench.solicit("fe80::9", Some(HOST));
    let sent = bench.wait(Duration::from_millis(500));
    assert_eq!((sent.len(), sent[0].destination), (1, ip("fe80::9")));
    for n in 0..1000 {
        bench.solicit(&alloc::format!("fe80::{n:x}"), Some(HOST));
    }
    let sent = bench.wait(Duration::from_secs(4));
    let alone = sent.iter().filter(|sent| sent.destination != ALL_NODES).count();
    assert_eq!((alone, sent.len()), (ANSWERS, ANSWERS + 1), "a crowd is answered at once");
}

#[test]
fn rfc4861_a_router_that_stops_says_so_and_is_silent() {
    let mut bench = Bench::settled();
    bench.set(Advertisement { mtu: None, ..ordinary() });
    bench.sent();
    bench.stop();
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].read.router_lifetime), (1, 0), "at once: there may be no later");
    let sent = bench.wait(Duration::from_secs(10_000));
    assert_eq!(sent.iter().map(|sent| sent.read.router_lifetime).collect::<Vec<_>>(), [0, 0]);
    bench.solicit("fe80::9", Some(HOST));
    bench.stop();
    assert_eq!(bench.advertiser.poll_timeout(), None);
    assert!(bench.sent().is_empty());
    bench.set(ordinary());
    assert_eq!(bench.sent()[0].read.router_lifetime, 1800, "it can begin again");
}

#[test]
fn what_is_set_while_a_router_says_good_bye_is_not_told() {
    let mut bench = Bench::settled();
    bench.stop();
    bench.set(Advertisement { prefixes: vec![prefix("2001:db8:2::/64", 60, 60)], ..ordinary() });
    let sent = bench.wait(Duration::from_secs(10));
    assert_eq!(sent.len(), usize::from(REPEATS));
    let known: Vec<_> = ordinary().prefixes.iter().map(|known| known.prefix).collect();
    for sent in sent {
        assert_eq!(sent.read.router_lifetime, 0);
        assert_eq!(sent.read.prefixes.iter().map(|told| told.prefix).collect::<Vec<_>>(), known);
    }
}

#[test]
fn what_has_no_room_is_told_once() {
    let mut bench = Bench::new(Some(ROUTER));
    let prefixes = (0..50).map(|n| prefix(&alloc::format!("2001:db8:{n:x}::/64"), 9999, 9999)).collect();
    let long = Advertisement { prefixes, ..ordinary() };
    bench.set(long.clone());
    // 16 octets of head, 8 of Ethernet address, 8 of MTU, 37 prefixes of 32, and a route of 16 in what is left.
    assert_eq!(bench.events(), [Event::LeftOut { count: 13 + 1 + 1 + 1 }]);
    assert_eq!(bench.sent()[0].read.prefixes.len(), 37);
    bench.set(Advertisement { mtu: Some(1300), ..long });
    assert!(bench.events().is_empty());
}

#[test]
fn another_default_router_is_told_once_an_hour() {
    let mut bench = Bench::settled();
    let other = |router_lifetime| {
        Message::RouterAdvertisement(RouterAdvertisement {
            router_lifetime,
            ..RouterAdvertisement::default()
        })
    };
    bench.hear(ip("fe80::bad"), other(0));
    bench.hear(SOURCE, other(9));
    assert!(bench.events().is_empty());
    for _ in 0..3 {
        bench.hear(ip("fe80::bad"), other(9));
    }
    assert_eq!(bench.events(), [Event::OtherRouter { address: ip("fe80::bad") }]);
    bench.wait(Duration::from_secs(3600));
    bench.hear(ip("fe80::bad"), other(9));
    let event = bench.events().remove(0);
    assert_eq!(
        event.to_string(),
        "another router, fe80::bad, also says to the hosts here that it is a default router"
    );
}

#[test]
fn on_ppp_it_has_no_ethernet_address_and_answers_for_its_own() {
    let mut bench = Bench::new(None);
    bench.set(ordinary());
    assert_eq!(bench.sent()[0].read.source_link_layer, None);
    for target in [SOURCE, ip("fe80::9")] {
        let message = Message::NeighbourSolicitation { target, source_link_layer: None };
        let question = Packet { source: ip("fe80::2"), destination: target, message };
        let mut frame = Frame::with_capacity(2048);
        assert!(question.emit(&mut frame));
        bench.advertiser.handle(&mut Cx { now: bench.now, rng: &mut bench.rng }, frame.bytes()).unwrap();
        frame.reset();
        assert_eq!(bench.advertiser.poll_transmit(&mut frame), target == SOURCE);
        if target == SOURCE {
            assert_eq!(Packet::parse(frame.bytes()).ok(), question.answer(None, true));
        }
    }
}
